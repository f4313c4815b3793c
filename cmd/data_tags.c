/* lx data tags - the tags of all captions: seen, counted and changed */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/data.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/unicode.h"
#include "src/data/caption_file.h"
#include "src/data/tags.h"
#include "src/report/table.h"

struct tags_args {
    bool write, all, json, ignores_case, has_undo;
    int64_t n_kept;
    const char *extension, *separator;
    lx_words words, undo;
};

static const lx_option options[] = {
    LX_FLAG(struct tags_args, write, 'w', "write",
            "change the files; without, only what would change is shown"),
    LX_TEXT(struct tags_args, extension, 0, "caption_extension", "EXT",
            "ending of the caption files (what the folders have)"),
    LX_TEXT(struct tags_args, separator, 0, "caption_separator", "TEXT",
            "between tags (,)"),
    LX_FLAG(struct tags_args, ignores_case, 'i', "ignore-case",
            "\"Red Hair\" is \"red hair\""),
    LX_INT(struct tags_args, n_kept, 0, "keep_tokens", "N",
           "sort: the first N tags stay where they are"),
    LX_FLAG(struct tags_args, all, 'a', "all",
            "every tag and every file, not the first of them"),
    LX_FLAG(struct tags_args, json, 'j', "json", "list and count: print JSON"),
    {LX_OPTION_LIST, 0, "undo", "RUN",
     "take a change back, the newest without RUN: lx data undo",
     offsetof(struct tags_args, undo), offsetof(struct tags_args, has_undo)},
    LX_ARGS(struct tags_args, words,
            "DIR [list | count | prepend | append | remove | replace | dedupe | sort] "
            "[TAG...]",
            "the folder, and what to do; list when left out"),
    LX_OPTION_END,
};

enum { TAGS_SHOWN = 50, FILES_SHOWN = 20 };

typedef struct caption {
    const char *path;
    lx_str bytes;
} caption;

typedef struct captions {
    lx_cli *cli;
    const struct tags_args *args;
    lx_dataset *dataset;
    caption *items; /* one a file, in the order of names */
    size_t count, n_images, n_without;
} captions;

/* ---- reading ------------------------------------------------------------------------------ */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const caption *)a)->path, ((const caption *)b)->path);
}

static int read_one(caption *c, lx_error *err)
{
    size_t bad;
    int rc = lx_file_read(&c->bytes, c->path, LX_CAPTION_BYTES, err);

    if (rc < 0)
        return rc;
    bad = lx_utf8_check(lx_str_text(&c->bytes), c->bytes.len);
    if (bad < c->bytes.len || strlen(lx_str_text(&c->bytes)) < c->bytes.len)
        return lx_fail(err, LX_EFORMAT,
                       "%s: is not UTF-8 text (it looks like %s): lx data check --fix "
                       "mends it first",
                       c->path,
                       lx_caption_guess_encoding(lx_str_text(&c->bytes), c->bytes.len));
    return LX_OK;
}

/* Two images may have one caption file. */
static int read_captions(captions *c, const char *dir, lx_error *err)
{
    size_t n = 0;
    int rc;

    if ((rc = lx_data_open(&c->dataset, c->cli, dir, c->args->extension, err)) < 0)
        return rc;
    if (!(c->items = lx_calloc(c->dataset->n_images + 1, sizeof *c->items)))
        return lx_oom(err);
    c->n_images = c->dataset->n_images;
    for (size_t i = 0; i < c->n_images; i++)
        if (c->dataset->images[i].caption_path)
            c->items[n++].path = c->dataset->images[i].caption_path;
        else
            c->n_without++;
    if (n)
        qsort(c->items, n, sizeof *c->items, by_path);
    for (size_t i = 0; i < n; i++)
        if (!c->count || strcmp(c->items[c->count - 1].path, c->items[i].path) != 0)
            c->items[c->count++].path = c->items[i].path;
    if (c->count == 0)
        return lx_fail(err, LX_ENOTFOUND, "no captions (%s) beside the images of \"%s\"",
                       c->dataset->config.caption_extension, dir);
    for (size_t i = 0; i < c->count && rc == LX_OK; i++)
        rc = read_one(&c->items[i], err);
    return rc;
}

static void release(captions *c)
{
    for (size_t i = 0; i < c->count; i++)
        lx_str_release(&c->items[i].bytes);
    lx_free(c->items);
    lx_dataset_free(c->dataset);
}

/* ---- list and count ----------------------------------------------------------------------- */

typedef struct counted {
    const char *tag;
    size_t n, last; /* captions; the one it was seen in last, + 1 */
} counted;

typedef struct counts {
    counted *items;
    size_t count, capacity, n_uses;
} counts;

/* The tags of the line that is read, without a byte order mark. */
static int split_first_line(lx_tags *out, const captions *c, const caption *one,
                            lx_error *err)
{
    const char *text = lx_str_text(&one->bytes);

    if (lx_starts_with(text, "\xEF\xBB\xBF"))
        text += 3;
    return lx_tags_split(out, text, strcspn(text, "\r\n"), c->args->separator, err);
}

static int add_tag(counts *all, const captions *c, const lx_tag *tag, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    counted *new;

    if (lx_grow(&all->items, &all->capacity, all->count + 1, sizeof *all->items) < 0)
        return lx_oom(err);
    if (c->args->ignores_case)
        lx_str_put_lower(&text, tag->text, tag->n);
    else
        lx_str_append(&text, tag->text, tag->n);
    new = &all->items[all->count++];
    *new = (counted){
        .tag = text.failed ? NULL : lx_arena_strdup(c->cli->arena, lx_str_text(&text))};
    lx_str_release(&text);
    return new->tag ? LX_OK : lx_oom(err);
}

static int by_tag(const void *a, const void *b)
{
    const counted *x = a, *y = b;
    const int order = strcmp(x->tag, y->tag);

    return order ? order : (x->last > y->last) - (x->last < y->last);
}

static int most_first(const void *a, const void *b)
{
    const counted *x = a, *y = b;
    return x->n != y->n ? (x->n > y->n ? -1 : 1) : strcmp(x->tag, y->tag);
}

/* Captions that have each tag; one that has it twice counts once. */
static int count_tags(counts *all, const captions *c, lx_error *err)
{
    size_t n = 0;
    int rc = LX_OK;

    for (size_t i = 0; i < c->count && rc == LX_OK; i++) {
        lx_tags tags = {0};
        rc = split_first_line(&tags, c, &c->items[i], err);
        for (size_t t = 0; t < tags.count && rc == LX_OK; t++)
            if ((rc = add_tag(all, c, &tags.items[t], err)) == LX_OK)
                all->items[all->count - 1].last = i + 1;
        all->n_uses += tags.count;
        lx_tags_release(&tags);
    }
    if (rc < 0 || !all->count)
        return rc;
    qsort(all->items, all->count, sizeof *all->items, by_tag);
    for (size_t i = 0; i < all->count; i++) {
        const bool is_new = !n || strcmp(all->items[n - 1].tag, all->items[i].tag) != 0;
        if (is_new)
            all->items[n++] = (counted){all->items[i].tag, 0, 0};
        if (all->items[n - 1].last != all->items[i].last || is_new)
            all->items[n - 1].n++;
        all->items[n - 1].last = all->items[i].last;
    }
    all->count = n;
    return LX_OK;
}

static int show_json(const captions *c, const counts *all, lx_error *err)
{
    cJSON *root = cJSON_CreateObject(), *list;
    lx_str out = LX_STR_INIT;
    int rc;

    cJSON_AddNumberToObject(root, "images", (double)c->n_images);
    cJSON_AddNumberToObject(root, "captions", (double)c->count);
    cJSON_AddNumberToObject(root, "uses", (double)all->n_uses);
    list = cJSON_AddArrayToObject(root, "tags");
    for (size_t i = 0; i < all->count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "tag", all->items[i].tag);
        cJSON_AddNumberToObject(o, "captions", (double)all->items[i].n);
    }
    if ((rc = lx_json_pretty(&out, root, err)) == LX_OK)
        lx_print(c->cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}

static int show_table(const captions *c, const counts *all, size_t n, lx_error *err)
{
    static const lx_table_column columns[] = {
        {"captions", true, false}, {"share", true, false}, {"tag", false, true}};
    const char **cells = lx_arena_calloc(c->cli->arena, 3 * n + 1, sizeof *cells);
    const lx_table table = {columns, 3, n, cells};
    lx_str out = LX_STR_INIT;
    int rc;

    if (!cells)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        cells[3 * i] = lx_arena_printf(c->cli->arena, "%zu", all->items[i].n);
        cells[3 * i + 1] = lx_arena_printf(
            c->cli->arena, "%.0f %%", 100 * (double)all->items[i].n / (double)c->count);
        cells[3 * i + 2] = all->items[i].tag;
        if (!cells[3 * i] || !cells[3 * i + 1])
            return lx_oom(err);
    }
    rc = lx_table_text(&out, &table, isatty(fileno(c->cli->out)) ? c->cli->columns : 0, 0,
                       err);
    if (rc == LX_OK)
        lx_print(c->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

static int list(const captions *c, lx_error *err)
{
    counts all = {0};
    size_t n;
    int rc = count_tags(&all, c, err);

    if (rc == LX_OK && all.count)
        qsort(all.items, all.count, sizeof *all.items, most_first);
    n = c->args->all || all.count < TAGS_SHOWN ? all.count : TAGS_SHOWN;
    if (rc == LX_OK)
        rc = c->args->json ? show_json(c, &all, err) : show_table(c, &all, n, err);
    if (rc == LX_OK && !c->args->json && n < all.count)
        lx_print(c->cli, "... and %zu more (--all shows them)\n", all.count - n);
    lx_free(all.items);
    return rc;
}

/* Those that were named, with 0 where there is none; else how much there is. */
static int count(const captions *c, const lx_tags *named, lx_error *err)
{
    counts all = {0}, chosen = {0};
    int rc = count_tags(&all, c, err);

    for (size_t i = 0; i < named->count && rc == LX_OK; i++) {
        if ((rc = add_tag(&chosen, c, &named->items[i], err)) < 0)
            break;
        chosen.items[i].n = 0;
        for (size_t k = 0; k < all.count; k++)
            if (strcmp(all.items[k].tag, chosen.items[i].tag) == 0)
                chosen.items[i].n = all.items[k].n;
    }
    if (rc == LX_OK && named->count)
        rc = c->args->json ? show_json(c, &chosen, err)
                           : show_table(c, &chosen, chosen.count, err);
    else if (rc == LX_OK && c->args->json)
        rc = show_json(c, &all, err);
    else if (rc == LX_OK)
        lx_print(
            c->cli, "%zu image%s, %zu caption%s (%s), %zu different tag%s, %.1f a caption\n",
            c->n_images, lx_plural(c->n_images), c->count, lx_plural(c->count),
            lx_safe(c->cli, c->dataset->config.caption_extension), all.count, lx_plural(all.count),
            (double)all.n_uses / (double)c->count);
    lx_free(all.items);
    lx_free(chosen.items);
    return rc;
}

/* ---- changing ----------------------------------------------------------------------------- */

static void show_line(lx_cli *cli, char sign, const char *line, size_t n)
{
    lx_str safe = LX_STR_INIT;

    lx_escape_terminal(&safe, line, n, true);
    if (cli->has_color)
        lx_print(cli, "\033[%dm%c %s\033[0m\n", sign == '-' ? 31 : 32, sign,
                 lx_str_text(&safe));
    else
        lx_print(cli, "%c %s\n", sign, lx_str_text(&safe));
    lx_str_release(&safe);
}

/* An edit changes lines and neither their number nor their ends. */
static void show_diff(lx_cli *cli, const char *path, const lx_str *before,
                      const lx_str *after)
{
    const char *a = lx_str_text(before), *b = lx_str_text(after);

    lx_print(cli, "%s\n", lx_safe(cli, path));
    for (;;) {
        const size_t n = strcspn(a, "\r\n"), m = strcspn(b, "\r\n");
        if (n != m || memcmp(a, b, n) != 0) {
            show_line(cli, '-', a, n);
            show_line(cli, '+', b, m);
        }
        a += n;
        b += m;
        if (!*a || !*b)
            return;
        a++;
        b++;
    }
}

static int edit_all(captions *c, lx_change *change, const lx_tag_edit *edit,
                    lx_error *err)
{
    const size_t most = c->args->all ? SIZE_MAX : FILES_SHOWN;
    int rc = LX_OK;

    for (size_t i = 0; i < c->count && rc == LX_OK; i++) {
        const caption *one = &c->items[i];
        lx_str after = LX_STR_INIT;
        size_t n;
        rc =
            lx_tags_edit(&after, &n, edit, lx_str_text(&one->bytes), one->bytes.len, err);
        if (rc == LX_OK && n) {
            rc = lx_change_edit(change, one->path, &one->bytes, lx_str_text(&after),
                                after.len, err);
            if (rc == LX_OK && !c->cli->is_quiet && lx_change_count(change) <= most)
                show_diff(c->cli, one->path, &one->bytes, &after);
        }
        lx_str_release(&after);
    }
    if (rc == LX_OK && lx_change_count(change) > most)
        lx_print(c->cli, "... and %zu more (--all shows them)\n",
                 lx_change_count(change) - most);
    return rc;
}

static int change(captions *c, const char *dir, const lx_tag_edit *edit, const char *what,
                  lx_error *err)
{
    lx_change *changes = NULL;
    const char *id;
    size_t n;
    int rc;

    if ((rc = lx_change_new(&changes, c->cli, dir, NULL, what, err)) < 0 ||
        (rc = edit_all(c, changes, edit, err)) < 0)
        goto done;
    n = lx_change_count(changes);
    if (c->n_without)
        lx_data_say(c->cli, "%zu image%s no caption file and %s left alone\n",
                    c->n_without, c->n_without == 1 ? " has" : "s have",
                    c->n_without == 1 ? "is" : "are");
    if (n == 0)
        lx_data_say(c->cli, "nothing to change in %zu caption%s\n", c->count, lx_plural(c->count));
    else if (!c->args->write)
        lx_data_say(c->cli, "would change %zu of %zu caption%s; --write does it\n", n,
                    c->count, lx_plural(c->count));
    else if ((rc = lx_change_apply(changes, &id, err)) == LX_OK)
        lx_data_say(
            c->cli,
            "changed %zu of %zu caption%s; lx data undo %s --write takes it back\n", n,
            c->count, lx_plural(c->count), id);
done:
    lx_change_free(changes);
    return rc;
}

/* ---- the command -------------------------------------------------------------------------- */

/* How many tags each takes; -1: any number from 1, -2: any number. */
static const struct {
    const char *name;
    int kind, n_tags;
} verbs[] = {
    {"list", -1, 0},
    {"count", -2, -2},
    {"prepend", LX_TAG_PREPEND, -1},
    {"append", LX_TAG_APPEND, -1},
    {"remove", LX_TAG_REMOVE, -1},
    {"replace", LX_TAG_REPLACE, 2},
    {"dedupe", LX_TAG_DEDUPE, 0},
    {"sort", LX_TAG_SORT, 0},
};
enum { N_VERBS = sizeof verbs / sizeof *verbs };

/* Of each word the tags in it: "a, b" is two. A replacement is of one by one. */
static int take_tags(lx_tags *out, const struct tags_args *args, size_t verb,
                     lx_error *err)
{
    const size_t n_words = args->words.count > 2 ? args->words.count - 2 : 0;
    const int wanted = verbs[verb].n_tags;
    int rc = LX_OK;

    for (size_t i = 0; i < n_words && rc == LX_OK; i++) {
        const char *word = args->words.items[i + 2];
        const size_t before = out->count;
        if (lx_utf8_check(word, strlen(word)) < strlen(word) || strpbrk(word, "\r\n"))
            return lx_fail(err, LX_EUSAGE, "a tag is UTF-8 text of one line");
        rc = lx_tags_split(out, word, strlen(word), args->separator, err);
        if (rc == LX_OK &&
            (out->count == before || (wanted == 2 && out->count > before + 1)))
            return lx_fail(err, LX_EUSAGE, "'%s' is not one tag", word);
    }
    if (rc == LX_OK &&
        ((wanted == -1 && !out->count) || (wanted >= 0 && out->count != (size_t)wanted)))
        return lx_fail(err, LX_EUSAGE,
                       wanted == 2    ? "replace takes two tags, the old and the new"
                       : wanted == -1 ? "%s takes the tags to %s"
                                      : "%s takes no tags",
                       verbs[verb].name, verbs[verb].name);
    return rc;
}

/* An option that the verb does not look at would be passed over in silence. */
static int check_options(const struct tags_args *args, size_t verb, lx_error *err)
{
    const bool is_edit = verbs[verb].kind >= 0;
    const char *name = verbs[verb].name;

    if (args->n_kept < 0)
        return lx_fail(err, LX_EUSAGE, "--keep_tokens must not be negative");
    if (args->n_kept && verbs[verb].kind != LX_TAG_SORT)
        return lx_fail(err, LX_EUSAGE, "--keep_tokens belongs to sort; %s goes without it", name);
    if (args->write && !is_edit)
        return lx_fail(err, LX_EUSAGE,
                       "--write: %s changes no files; it goes with prepend, append, remove, replace, dedupe and sort",
                       name);
    if (args->json && is_edit)
        return lx_fail(err, LX_EUSAGE, "--json belongs to list and count; %s shows differences as text", name);
    return LX_OK;
}

static int do_verb(captions *c, size_t verb, lx_error *err)
{
    const struct tags_args *args = c->args;
    lx_tag_edit edit = {.n_kept = (size_t)args->n_kept,
                        .ignores_case = args->ignores_case,
                        .separator = args->separator};
    int rc = take_tags(&edit.tags, args, verb, err);

    if (rc == LX_OK)
        rc = read_captions(c, args->words.items[0], err);
    if (rc == LX_OK && verbs[verb].kind == -1)
        rc = list(c, err);
    else if (rc == LX_OK && verbs[verb].kind == -2)
        rc = count(c, &edit.tags, err);
    else if (rc == LX_OK) {
        edit.kind = (lx_tag_edit_kind)verbs[verb].kind;
        rc = change(c, args->words.items[0], &edit, verbs[verb].name, err);
    }
    lx_tags_release(&edit.tags);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct tags_args *args = args_;
    captions c = {.cli = cli, .args = args};
    size_t verb = 0;
    int rc;

    if (args->has_undo) {
        if (args->undo.count + args->words.count > 1)
            return lx_fail(err, LX_EUSAGE,
                           "--undo takes one run, and nothing else is done");
        if (args->json)
            return lx_fail(err, LX_EUSAGE, "--json belongs to list and count, not to --undo");
        return lx_data_undo(cli, args->undo.count ? args->undo.items[0] : NULL,
                            args->write, err);
    }
    if (args->words.count == 0)
        return lx_fail(err, LX_EUSAGE, "name the folder");
    while (args->words.count > 1 && verb < N_VERBS &&
           strcmp(verbs[verb].name, args->words.items[1]) != 0)
        verb++;
    if (verb == N_VERBS)
        return lx_fail(err, LX_EUSAGE,
                       "'%s': list, count, prepend, append, remove, replace, dedupe or "
                       "sort is wanted",
                       args->words.items[1]);
    if ((rc = check_options(args, verb, err)) == LX_OK)
        rc = do_verb(&c, verb, err);
    release(&c);
    return rc;
}

const lx_command lx_cmd_data_tags = {
    .name = "data tags",
    .summary = "the tags of all captions: list, count, prepend, append, remove, replace, "
               "dedupe, sort",
    .usage = "DIR [list | count [TAG...] | prepend TAG... | append TAG... | remove "
             "TAG... | replace OLD NEW | dedupe | sort]",
    .help = "DIR is a folder as --train_data_dir has it, or one folder of images. Every "
            "line of a caption\n"
            "is changed; lines that need no change keep every byte. prepend moves a tag "
            "to the front if it\n"
            "is there already, append leaves it where it is; replace keeps the place; "
            "dedupe keeps the first\n"
            "of equal tags. Without --write the differences are shown and nothing is "
            "changed. With it files\n"
            "are replaced one by one, as a whole, and `lx data undo` takes it back: the "
            "old bytes are in\n"
            "the store.\n"
            "\n"
            "Examples:\n"
            "  lx data tags img\n"
            "  lx data tags img count iwl 1girl\n"
            "  lx data tags img prepend iwl\n"
            "  lx data tags img replace long_hair 'long hair' --write\n"
            "  lx data tags img sort --keep_tokens 1 --write\n"
            "  lx data tags --undo --write\n",
    .options = options,
    .args_size = sizeof(struct tags_args),
    .run = run,
};
