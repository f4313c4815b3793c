/* lx tag-run - tags, name, group and pin of a run */
#include <string.h>

#include "cmd/cli.h"
#include "cmd/run_find.h"
#include "store/query.h"

struct tag_args {
    bool pin, unpin, trash, untrash;
    const char *name, *group;
    lx_words words;
};

static const lx_option options[] = {
    LX_TEXT(struct tag_args, name, 0, "name", "NAME", "rename the run"),
    LX_TEXT(struct tag_args, group, 0, "group", "GROUP",
            "put it into a group; '' takes it out"),
    LX_FLAG(struct tag_args, pin, 0, "pin", "lx gc keeps it whatever else is said"),
    LX_FLAG(struct tag_args, unpin, 0, "unpin", "it may go again"),
    LX_FLAG(struct tag_args, trash, 0, "trash",
            "leave it out of lists; lx gc may remove it"),
    LX_FLAG(struct tag_args, untrash, 0, "untrash", "take it out of the trash"),
    LX_ARGS(struct tag_args, words, "RUN", "the run, then +TAG, +TAG=VALUE or -TAG"),
    LX_OPTION_END,
};

/* -tag is a tag to take off; -q, -v and -h stay what they are everywhere. */
static bool is_removal(const char *word)
{
    return word[0] == '-' && word[1] && word[1] != '-' && strcmp(word, "-q") != 0 &&
           strcmp(word, "-v") != 0 && strcmp(word, "-h") != 0;
}

/* Options first, then the words that are not: "--" between them keeps -tag from the
 * parser. */
static int parse(struct tag_args *args, lx_cli *cli, lx_words *removals, lx_error *err)
{
    lx_globals globals = {0};
    lx_option_set sets[] = {{options, args}, {lx_global_options, &globals}};
    char **kept = lx_arena_calloc(cli->arena, (size_t)cli->argc + 1, sizeof *kept);
    int n = 0, rc;

    removals->items =
        lx_arena_calloc(cli->arena, (size_t)cli->argc + 1, sizeof *removals->items);
    if (!kept || !removals->items)
        return lx_oom(err);
    for (int i = 0; i < cli->argc; i++) {
        bool is_value = i > 0 && (!strcmp(cli->argv[i - 1], "--name") ||
                                  !strcmp(cli->argv[i - 1], "--group"));
        if (!is_value && is_removal(cli->argv[i]))
            removals->items[removals->count++] = cli->argv[i] + 1;
        else
            kept[n++] = cli->argv[i];
    }
    if ((rc = lx_option_sets_parse(sets, 2, n, kept, NULL, cli->arena, err)) < 0)
        return rc;
    lx_cli_apply_globals(cli, &globals);
    return LX_OK;
}

static int check(const struct tag_args *args, lx_error *err)
{
    if (!args->words.count)
        return lx_fail(err, LX_EUSAGE, "a run is wanted, then +TAG or -TAG");
    if ((args->pin && args->unpin) || (args->trash && args->untrash))
        return lx_fail(err, LX_EUSAGE, "do and undo at once");
    for (size_t i = 1; i < args->words.count; i++)
        if (args->words.items[i][0] != '+' || !args->words.items[i][1] ||
            args->words.items[i][1] == '=')
            return lx_fail(err, LX_EUSAGE, "\"%s\": +TAG adds a tag, -TAG takes one off",
                           args->words.items[i]);
    return LX_OK;
}

static int add_tag(lx_cli *cli, lx_store *store, int64_t run, const char *word,
                   lx_error *err)
{
    const char *value = strchr(word, '=');
    const char *tag =
        value ? lx_arena_strndup(cli->arena, word, (size_t)(value - word)) : word;

    return tag ? lx_run_tag(store, run, tag, value ? value + 1 : "", err) : lx_oom(err);
}

static int has_tag(bool *out, lx_cli *cli, lx_store *store, int64_t run, const char *tag,
                   lx_error *err)
{
    lx_remark_row *rows;
    size_t n;
    int rc = lx_query_remarks(&rows, &n, store, run, "tag", cli->arena, err);

    *out = false;
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        *out = *out || strcmp(rows[i].key, tag) == 0;
    return rc;
}

static int take_off(lx_cli *cli, lx_store *store, int64_t run, const char *tag,
                    lx_error *err)
{
    bool is_there;
    int rc = has_tag(&is_there, cli, store, run, tag, err);

    if (rc == LX_OK && !is_there)
        return lx_fail(err, LX_ENOTFOUND, "the run has no tag \"%s\"", tag);
    return rc < 0 ? rc : lx_run_untag(store, run, tag, err);
}

static int apply(lx_cli *cli, lx_store *store, int64_t run, const struct tag_args *args,
                 const lx_words *removals, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < removals->count && rc == LX_OK; i++)
        rc = take_off(cli, store, run, removals->items[i], err);
    for (size_t i = 1; i < args->words.count && rc == LX_OK; i++)
        rc = add_tag(cli, store, run, args->words.items[i] + 1, err);
    if (rc == LX_OK && args->name)
        rc = lx_run_name(store, run, args->name, err);
    if (rc == LX_OK && args->group)
        rc = lx_run_group(store, run, *args->group ? args->group : NULL, err);
    if (rc == LX_OK && (args->pin || args->unpin))
        rc = lx_run_pin(store, run, args->pin, err);
    if (rc == LX_OK && (args->trash || args->untrash))
        rc = lx_run_trash(store, run, args->trash, err);
    return rc;
}

static int show_tags(lx_cli *cli, lx_store *store, const lx_run_row *run, lx_error *err)
{
    lx_remark_row *rows;
    size_t n;
    int rc = lx_query_remarks(&rows, &n, store, run->seq, "tag", cli->arena, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        lx_print(cli, "%s%s%s\n", lx_safe(cli, rows[i].key), *rows[i].value ? "=" : "",
                 lx_safe(cli, rows[i].value));
    return rc;
}

static int run(lx_cli *cli, void *unused, lx_error *err)
{
    struct tag_args args = {0};
    lx_words removals = {0};
    lx_store *store = NULL;
    bool is_reading;
    lx_run_row row;
    int rc;

    (void)unused;
    if ((rc = parse(&args, cli, &removals, err)) < 0 || (rc = check(&args, err)) < 0)
        return rc;
    is_reading = args.words.count == 1 && !removals.count && !args.name && !args.group &&
                 !args.pin && !args.unpin && !args.trash && !args.untrash;
    if ((rc = is_reading ? lx_store_open(&store, cli->store_path, true, err)
                         : lx_store_open_existing(&store, cli->store_path, err)) < 0)
        return rc;
    if ((rc = lx_run_find(&row, cli, store, args.words.items[0], err)) == LX_OK)
        rc = is_reading ? show_tags(cli, store, &row, err)
                        : apply(cli, store, row.seq, &args, &removals, err);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_tag_run = {
    .name = "tag-run",
    .summary = "tag, rename, group or pin a run",
    .usage = "RUN [+TAG[=VALUE]|-TAG]...",
    .help = "Without anything to do the tags of the run are printed. `lx runs 'tag = "
            "good'` finds them\n"
            "again. Nothing is edited: each change is a record of its own.\n"
            "\n"
            "Examples:\n"
            "  lx tag-run 4fa3 +good +for=forum -draft\n"
            "  lx tag-run 4fa3 --name hifumi-v3 --group hifumi --pin\n",
    .options = options,
    .parses_itself = true,
    .run = run,
};
