#include "src/lora/verdict.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/str.h"
#include "src/base/unicode.h"
#include "src/lora/counts.h"

/* Counts of a metadata key; of an unsound text none, and *problem says why. */
static int read_counts(lx_counts *out, const char **problem, const lx_tensor_file *file,
                       const char *key, lx_arena *arena, lx_error *err)
{
    lx_error local;
    int rc = lx_counts_parse(out, lx_tensor_file_metadata(file, key), arena, &local);

    if (rc == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0) {
        *out = (lx_counts){0};
        if (problem &&
            !(*problem = lx_arena_printf(arena, "%s is damaged: %s", key, local.text)))
            return lx_oom(err);
    }
    return LX_OK;
}

/* ---- tags -------------------------------------------------------------------------------- */

/* A file may say anything: no more than what can be summed over all the tags that it may have (2^24). */
static int64_t tag_count(double x)
{
    const int64_t most = (int64_t)1 << 38, n = lx_json_whole(x);
    return n > most ? most : n < -most ? -most : n;
}

int lx_lora_tags(lx_tag_list *out, const lx_tensor_file *file, lx_arena *arena,
                 lx_error *err)
{
    lx_counts counts;
    size_t n = 0;
    int rc;

    *out = (lx_tag_list){0};
    if ((rc = read_counts(&counts, &out->problem, file, "ss_tag_frequency", arena, err)) <
        0)
        return rc;
    for (size_t g = 0; g < counts.n_groups; g++)
        n += counts.groups[g].n_items;
    if (!(out->tags = lx_arena_calloc(arena, n, sizeof *out->tags)))
        return lx_oom(err);
    for (size_t g = 0; g < counts.n_groups; g++)
        for (size_t i = 0; i < counts.groups[g].n_items; i++) {
            const lx_counted *item = &counts.groups[g].items[i];
            lx_tag_count *t = &out->tags[out->count++];
            t->folder = counts.groups[g].name;
            t->count = tag_count(item->count);
            if (!(t->tag = lx_arena_strndup(arena, item->name, item->n)))
                return lx_oom(err);
        }
    return LX_OK;
}

const char *lx_caption_verdict_name(lx_caption_verdict verdict)
{
    static const char *const names[] = {
        [LX_CAPTIONS_UNKNOWN] = "cannot be told",
        [LX_CAPTIONS_READ] = "read",
        [LX_CAPTIONS_FOLDER_WORDS] = "not read (folder words only)",
        [LX_CAPTIONS_PARTLY] = "read in part",
        [LX_CAPTIONS_EMPTY] = "empty",
        [LX_CAPTIONS_DROPPED] = "dropped in training",
    };
    return names[verdict];
}

/* ---- the rules --------------------------------------------------------------------------- */

static int decide(lx_verdict *v, lx_caption_verdict captions, const char *strength,
                  const char *rule, char *text, lx_error *err)
{
    if (!text)
        return lx_oom(err);
    *v = (lx_verdict){captions, strength, rule, text};
    return LX_OK;
}

/* As str.lower() has it, which is how the trainer counts tags. NULL without memory. */
static const char *lower_case(lx_arena *arena, const char *text)
{
    lx_str lower = LX_STR_INIT;
    const char *words;

    lx_str_put_lower(&lower, text, strlen(text));
    words = lower.failed ? NULL : lx_arena_strdup(arena, lx_str_text(&lower));
    lx_str_release(&lower);
    return words;
}

/* "10_nhh 1girl" -> "nhh 1girl", lower-cased; NULL if it has no N_ form. */
static int folder_words(const char **out, lx_arena *arena, const char *folder, lx_error *err)
{
    const char *end = strchr(folder, '_');
    int64_t repeats;

    *out = NULL;
    if (!end || !lx_unicode_int(&repeats, folder, (size_t)(end - folder)))
        return LX_OK;
    return (*out = lower_case(arena, end + 1)) ? LX_OK : lx_oom(err);
}

/* ---- configured folders ------------------------------------------------------------------ */

typedef struct subset {
    const char *folder;
    const char *words; /* class tokens, lower-cased: what an image without a caption is trained on; or NULL */
    bool is_reg;
} subset;

/* Of a training by --dataset_config. */
typedef struct subset_list {
    subset *items; /* by folder */
    size_t n;
    bool keeps_tags; /* the first tags of a caption, whatever is dropped */
} subset_list;

/* Is there a value of this key that begins with one of those? Most subsets have `null` and `false`, beside all their
 * tags once more. */
static bool has_value(const char *text, const char *key, const char *firsts)
{
    const char *at = text ? strstr(text, key) : NULL;

    for (; at; at = strstr(at, key)) {
        at += strlen(key);
        at += strspn(at, " :");
        if (*at && strchr(firsts, *at))
            return true;
    }
    return false;
}

static int by_folder(const void *a, const void *b)
{
    const subset *x = a, *y = b;
    const int order = strcmp(x->folder, y->folder);

    return order ? order : strcmp(x->words ? x->words : "", y->words ? y->words : "");
}

static int add_subset(subset_list *list, const cJSON *json, lx_arena *arena, lx_error *err)
{
    const char *folder = lx_json_text(json, "image_dir"), *words = lx_json_text(json, "class_tokens");
    const char *separator = lx_json_text(json, "keep_tokens_separator");
    subset *s = &list->items[list->n];

    list->keeps_tags |= lx_json_number(json, "keep_tokens", 0) > 0 || (separator && *separator);
    if (!folder)
        return LX_OK;
    s->is_reg = lx_json_bool(json, "is_reg", false);
    if (!(s->folder = lx_arena_strdup(arena, folder)) || (words && !(s->words = lower_case(arena, words))))
        return lx_oom(err);
    list->n++;
    return LX_OK;
}

/* Of sd-scripts' ss_datasets: [{"subsets": [{"image_dir": ..., "class_tokens": ...}]}]. What is no such text tells
 * none. */
static int read_subsets(subset_list *list, const lx_tensor_file *file, lx_arena *arena, lx_error *err)
{
    const char *text = lx_tensor_file_metadata(file, "ss_datasets");
    const cJSON *dataset, *json;
    cJSON *root = NULL;
    size_t n = 0;
    int rc;

    *list = (subset_list){0};
    if (!has_value(text, "\"class_tokens\"", "\"") && !has_value(text, "\"is_reg\"", "t") &&
        !has_value(text, "\"keep_tokens\"", "123456789") && !has_value(text, "\"keep_tokens_separator\"", "\""))
        return LX_OK;
    if ((rc = lx_json_parse(&root, text, strlen(text), NULL)) < 0)
        return rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
    cJSON_ArrayForEach(dataset, root) n +=
        (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(dataset, "subsets"));
    rc = (list->items = lx_arena_calloc(arena, n + 1, sizeof *list->items)) ? LX_OK : lx_oom(err);
    cJSON_ArrayForEach(dataset, root)
    {
        cJSON_ArrayForEach(json, cJSON_GetObjectItemCaseSensitive(dataset, "subsets"))
        {
            if (rc == LX_OK)
                rc = add_subset(list, json, arena, err);
        }
    }
    if (rc == LX_OK && list->n)
        qsort(list->items, list->n, sizeof *list->items, by_folder);
    cJSON_Delete(root);
    return rc;
}

/* The class tokens of a folder, or NULL; and whether only regularisation images lie in it. */
static const char *find_subset(bool *is_reg, const subset_list *list, const char *folder)
{
    size_t low = 0, high = list->n, n_reg = 0, n = 0;
    const char *words = NULL;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(list->items[middle].folder, folder) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < list->n && strcmp(list->items[low].folder, folder) == 0; low++, n++) {
        const subset *s = &list->items[low];
        n_reg += s->is_reg;
        if (!words && !s->is_reg)
            words = s->words;
    }
    *is_reg = n && n_reg == n;
    return words;
}

/* ---- one folder -------------------------------------------------------------------------- */

/* The next comma part of *rest, stripped. */
static bool next_part(const char **rest, const char **part, size_t *n)
{
    const char *end;

    if (!*rest)
        return false;
    *part = *rest;
    end = strchr(*part, ',');
    *n = end ? (size_t)(end - *part) : strlen(*part);
    *rest = end ? end + 1 : NULL;
    lx_unicode_strip(part, n);
    return true;
}

typedef enum folder_state {
    FOLDER_CAPTIONS,
    FOLDER_WORDS_ONLY,
    FOLDER_WORDS_PARTLY,
    FOLDER_EMPTY,
    FOLDER_UNKNOWN
} folder_state;

/* key: lower-cased */
static bool is_same_but_case(const char *s, size_t m, const char *key, size_t n)
{
    const char *const end = s + m, *const key_end = key + n;

    while (s < end && key < key_end)
        if (lx_unicode_lower(lx_utf8_next(&s, end)) != lx_utf8_next(&key, key_end))
            return false;
    return s == end && key == key_end;
}

static bool is_plain(char c)
{
    return c > ' ' && c < 0x7f;
}

/* The item of that name but for case and spaces around it; n > 0. */
static const lx_counted *member_fold(const lx_count_group *group, const char *key, size_t n)
{
    for (size_t i = 0; i < group->n_items; i++) {
        const char *s = group->items[i].name;
        size_t m = group->items[i].n;
        if (m && !(is_plain(s[0]) && is_plain(s[m - 1])))
            lx_unicode_strip(&s, &m);
        /* Letters differ by bit 5 when they differ by case: most items are told apart by their first. */
        if (m && !((s[0] | key[0]) & 0x80) && ((s[0] ^ key[0]) & ~0x20))
            continue;
        if (is_same_but_case(s, m, key, n))
            return &group->items[i];
    }
    return NULL;
}

/* How often the rarest comma part of the words is a tag; 0 if one is none. */
static double count_words(const lx_count_group *tags, const char *words, size_t *n_parts)
{
    const char *rest = words, *part;
    double least = -1;
    size_t n;

    *n_parts = 0;
    while (next_part(&rest, &part, &n)) {
        const lx_counted *item;
        if (!n)
            continue;
        ++*n_parts;
        if (!(item = member_fold(tags, part, n)))
            return 0;
        least = least < 0 || item->count < least ? item->count : least;
    }
    return least < 0 ? 0 : least;
}

/* *n_lost: how many of a folder's images were trained on its words as one unit, beside others with captions. */
static folder_state look_at_folder(const lx_count_group *tags, const char *words,
                                   double n_images, double *n_lost)
{
    const size_t n_tags = tags->n_items;
    double least;
    size_t n_parts;

    *n_lost = 0;
    if (!n_tags)
        return FOLDER_EMPTY;
    if (!words || n_images <= 0)
        return FOLDER_UNKNOWN;
    least = count_words(tags, words, &n_parts);
    if (!n_parts)
        return FOLDER_UNKNOWN;
    if (n_parts == n_tags && least >= n_images)
        return FOLDER_WORDS_ONLY;
    if (n_parts < n_tags && least < n_images && least > 0 && strchr(words, ' ')) {
        *n_lost = least;
        return FOLDER_WORDS_PARTLY;
    }
    return FOLDER_CAPTIONS;
}

typedef struct census {
    size_t n_folders, n_words_only, n_empty, n_partly, n_captions;
    size_t n_metadata_files; /* among the empty */
    double n_images, n_lost;
    const char *example, *words; /* of a folder with words only */
    bool is_class;               /* the words are its class tokens */
} census;

static void add_folder(census *c, folder_state state, const char *folder,
                       const char *words, bool is_class, double lost)
{
    switch (state) {
    case FOLDER_WORDS_ONLY:
        c->n_words_only++;
        c->example = folder;
        c->words = words;
        c->is_class = is_class;
        break;
    case FOLDER_WORDS_PARTLY:
        c->n_partly++;
        c->n_lost += lost;
        c->example = folder;
        c->words = words;
        c->is_class = is_class;
        break;
    case FOLDER_EMPTY:
        c->n_empty++;
        c->n_metadata_files += lx_ends_with(folder, ".json");
        break;
    case FOLDER_CAPTIONS:
        c->n_captions++;
        break;
    default:
        break;
    }
}

/* What a file says of its folders. */
typedef struct folders {
    lx_counts frequency, dirs, reg;
    subset_list subsets;
} folders;

static int read_folders(folders *f, const char **problem, const lx_tensor_file *file, lx_arena *arena, lx_error *err)
{
    int rc;

    if ((rc = read_counts(&f->frequency, problem, file, "ss_tag_frequency", arena, err)) < 0 ||
        (rc = read_counts(&f->dirs, NULL, file, "ss_dataset_dirs", arena, err)) < 0)
        return rc;
    return read_counts(&f->reg, NULL, file, "ss_reg_dataset_dirs", arena, err);
}

/* The words that an image without a caption is trained on there, or NULL. */
static int words_of(const char **out, bool *is_class, bool *is_reg, const folders *f, const char *folder,
                    lx_arena *arena, lx_error *err)
{
    *out = find_subset(is_reg, &f->subsets, folder);
    *is_class = *out != NULL;
    *is_reg |= lx_counts_find(&f->reg, folder) != NULL;
    return *out ? LX_OK : folder_words(out, arena, folder, err);
}

static int look_at_all(census *c, const folders *f, lx_arena *arena, lx_error *err)
{
    for (size_t i = 0; i < f->frequency.n_groups; i++) {
        const lx_count_group *folder = &f->frequency.groups[i], *facts;
        bool is_class, is_reg;
        folder_state state;
        double n_images, lost;
        const char *words;
        int rc;
        if ((rc = words_of(&words, &is_class, &is_reg, f, folder->name, arena, err)) < 0)
            return rc;
        facts = lx_counts_find(&f->dirs, folder->name);
        n_images = lx_counted_get(facts, "img_count", 0);
        if (is_reg || (facts && n_images == 0))
            continue; /* a folder without images says nothing */
        c->n_folders++;
        c->n_images += n_images;
        state = look_at_folder(folder, words, n_images, &lost);
        add_folder(c, state, folder->name, words, is_class, lost);
    }
    return LX_OK;
}

static double number_of(const lx_tensor_file *file, const char *key)
{
    const char *text = lx_tensor_file_metadata(file, key);
    return text ? strtod(text, NULL) : 0;
}

static int decide_from_tags(lx_verdict *v, const census *c, lx_arena *arena,
                            lx_error *err)
{
    if (c->n_words_only && c->n_words_only == c->n_folders)
        return decide(
            v, LX_CAPTIONS_FOLDER_WORDS, "proves", "A1",
            lx_arena_printf(arena,
                            "no caption was read: every image was trained on the "
                            "%s \"%s\" alone. If there were caption files, "
                            "train again with --caption_extension (.txt)",
                            c->is_class ? "class tokens" : "folder's words", c->words),
            err);
    if (c->n_words_only || c->n_partly)
        return decide(
            v, LX_CAPTIONS_PARTLY, c->n_words_only ? "proves" : "suggests",
            c->n_words_only ? "A1" : "A2",
            c->n_words_only
                ? lx_arena_printf(arena,
                                  "in %zu of %zu folders (for example \"%s\") no "
                                  "caption was read",
                                  c->n_words_only, c->n_folders, c->example)
                : lx_arena_printf(arena,
                                  "%.0f images of \"%s\" seem to have been trained on "
                                  "\"%s\" alone, for want of a caption file",
                                  c->n_lost, c->example, c->words),
            err);
    if (c->n_empty && c->n_empty == c->n_folders)
        return decide(v, LX_CAPTIONS_EMPTY, "proves", "A3",
                      lx_arena_strdup(arena, "all captions were empty"), err);
    if (c->n_captions)
        return decide(v, LX_CAPTIONS_READ, "proves", "A0",
                      lx_arena_printf(arena, "captions were read in %zu of %zu folders",
                                      c->n_captions, c->n_folders),
                      err);
    return decide(v, LX_CAPTIONS_UNKNOWN, "silent", "A4",
                  lx_arena_strdup(arena, "the tag frequencies do not tell"), err);
}

/* --keep_tokens and --keep_tokens_separator: dropping tags leaves the first ones. */
static bool keeps_tags(const lx_tensor_file *file, const subset_list *subsets)
{
    return subsets->keeps_tags || number_of(file, "ss_keep_tokens") > 0;
}

static int decide_dropped(lx_verdict *v, const lx_tensor_file *file, const subset_list *subsets, lx_arena *arena,
                          lx_error *err)
{
    const char *flag = NULL;
    if (number_of(file, "ss_caption_dropout_rate") >= 0.99)
        flag = "--caption_dropout_rate";
    else if (number_of(file, "ss_caption_dropout_every_n_epochs") == 1)
        flag = "--caption_dropout_every_n_epochs 1";
    else if (number_of(file, "ss_caption_tag_dropout_rate") >= 0.99 && !keeps_tags(file, subsets))
        flag = "--caption_tag_dropout_rate";
    if (!flag)
        return 1;
    return decide(v, LX_CAPTIONS_DROPPED, "proves", "A7",
                  lx_arena_printf(arena, "%s dropped the captions in training", flag),
                  err);
}

bool lx_lora_is_fine_tuning(const lx_tensor_file *file)
{
    const char *text = lx_tensor_file_metadata(file, "ss_datasets");
    return text && strstr(text, "\"is_dreambooth\": false");
}

bool lx_lora_has_reg(const lx_tensor_file *file)
{
    const char *reg = lx_tensor_file_metadata(file, "ss_reg_dataset_dirs");

    return (reg && strcmp(reg, "{}") != 0) ||
           has_value(lx_tensor_file_metadata(file, "ss_datasets"), "\"is_reg\"", "t");
}

/* Captions that were read and often dropped: it is said, and decides nothing. */
static int tell_dropout(lx_verdict *v, const lx_tensor_file *file, const subset_list *subsets, lx_arena *arena,
                        lx_error *err)
{
    const double rate = number_of(file, "ss_caption_dropout_rate");
    const double tags = number_of(file, "ss_caption_tag_dropout_rate");

    if (v->captions != LX_CAPTIONS_READ || (!(rate >= 0.3) && !(tags >= 0.3)))
        return LX_OK;
    v->text = rate >= 0.3
                  ? lx_arena_printf(arena, "%s, and dropped in %.0f %% of the steps",
                                    v->text, 100 * rate)
                  : lx_arena_printf(arena, "%s, and %.0f %% of their tags%s were dropped",
                                    v->text, 100 * tags,
                                    keeps_tags(file, subsets) ? " behind those kept" : "");
    return v->text ? LX_OK : lx_oom(err);
}

static bool has_training_keys(const lx_tensor_file *file)
{
    for (size_t i = 0; i < lx_tensor_file_metadata_count(file); i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(file, i, &key, &value);
        if (strncmp(key, "ss_", 3) == 0)
            return true;
    }
    return false;
}

static int decide_all(lx_verdict *v, folders *f, const lx_tensor_file *file, lx_arena *arena, lx_error *err)
{
    const char *problem = NULL;
    census c = {0};
    int rc;

    if ((rc = decide_dropped(v, file, &f->subsets, arena, err)) <= 0)
        return rc;
    /* ai-toolkit writes a made-up {"1_TRIGGER": {"TRIGGER": 1}} whatever was trained. */
    if (lx_tensor_file_metadata(file, "software"))
        return decide(
            v, LX_CAPTIONS_UNKNOWN, "silent", "A4",
            lx_arena_strdup(arena, "this trainer's tag frequencies are made up"), err);
    if ((rc = read_folders(f, &problem, file, arena, err)) < 0)
        return rc;
    if (problem || !lx_tensor_file_metadata(file, "ss_tag_frequency"))
        return decide(v, LX_CAPTIONS_UNKNOWN, "silent", "A4",
                      lx_arena_strdup(arena, problem
                                                 ? problem
                                                 : "the file carries no tag frequencies"),
                      err);
    if ((rc = look_at_all(&c, f, arena, err)) < 0)
        return rc;
    /* A merge does not say ss_datasets, but the file's name. */
    if (c.n_empty && c.n_empty == c.n_folders &&
        (c.n_metadata_files || lx_lora_is_fine_tuning(file)))
        return decide(
            v, LX_CAPTIONS_UNKNOWN, "silent", "A4",
            lx_arena_strdup(arena, "of metadata files only tags are counted: captions in "
                                   "sentences leave no trace"),
            err);
    if ((rc = decide_from_tags(v, &c, arena, err)) < 0)
        return rc;
    return tell_dropout(v, file, &f->subsets, arena, err);
}

int lx_lora_verdict(lx_verdict *v, const lx_tensor_file *file, lx_arena *arena,
                    lx_error *err)
{
    folders f = {0};
    int rc;

    if (!has_training_keys(file))
        return decide(v, LX_CAPTIONS_UNKNOWN, "silent", "A5",
                      lx_arena_strdup(arena, "the file carries no training metadata"),
                      err);
    if ((rc = read_subsets(&f.subsets, file, arena, err)) < 0)
        return rc;
    return decide_all(v, &f, file, arena, err);
}

int lx_lora_verdict_folders(lx_verdict_folder **out, size_t *n, const lx_tensor_file *file, lx_arena *arena,
                            lx_error *err)
{
    folders f = {0};
    int rc;

    if ((rc = read_subsets(&f.subsets, file, arena, err)) < 0 ||
        (rc = read_folders(&f, NULL, file, arena, err)) < 0)
        return rc;
    *n = f.frequency.n_groups;
    if (!(*out = lx_arena_calloc(arena, *n + 1, sizeof **out)))
        return lx_oom(err);
    for (size_t i = 0; i < *n; i++) {
        const lx_count_group *g = &f.frequency.groups[i], *facts = lx_counts_find(&f.dirs, g->name);
        lx_verdict_folder *to = &(*out)[i];
        size_t n_parts;
        bool is_class;
        if ((rc = words_of(&to->words, &is_class, &to->is_reg, &f, g->name, arena, err)) < 0)
            return rc;
        to->name = g->name;
        to->n_tags = g->n_items;
        to->n_images = lx_counted_get(facts ? facts : lx_counts_find(&f.reg, g->name), "img_count", -1);
        to->n_words = to->words ? count_words(g, to->words, &n_parts) : 0;
    }
    return LX_OK;
}

