#include "src/lora/verdict.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
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

static char *lower_case(lx_arena *arena, const char *text)
{
    char *words = lx_arena_strdup(arena, text);

    for (char *p = words; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return words;
}

/* "10_nhh 1girl" -> "nhh 1girl", lower-cased; NULL if it has no N_ form. */
static const char *folder_words(lx_arena *arena, const char *folder)
{
    const char *at = folder;
    while (*at == ' ' || *at == '+')
        at++;
    if (!isdigit((unsigned char)*at))
        return NULL;
    while (isdigit((unsigned char)*at))
        at++;
    if (*at != '_')
        return NULL;
    return lower_case(arena, at + 1);
}

/* ---- class tokens ------------------------------------------------------------------------ */

/* What a configured folder's images without a caption were trained on, whatever the folder is called. */
typedef struct class_tokens {
    const char *folder;
    char *words; /* lower-cased */
} class_tokens;

typedef struct class_list {
    class_tokens *items; /* by folder */
    size_t n;
} class_list;

/* Most have `null` there: a caption for every image. */
static bool has_class_tokens(const char *text)
{
    static const char key[] = "\"class_tokens\"";

    while (text && (text = strstr(text, key))) {
        text += sizeof key - 1;
        text += strspn(text, " :");
        if (*text == '"')
            return true;
    }
    return false;
}

static int by_folder(const void *a, const void *b)
{
    const class_tokens *x = a, *y = b;
    const int order = strcmp(x->folder, y->folder);

    return order ? order : strcmp(x->words, y->words);
}

static int add_subset(class_list *list, const cJSON *subset, lx_arena *arena,
                      lx_error *err)
{
    const cJSON *folder = cJSON_GetObjectItemCaseSensitive(subset, "image_dir");
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(subset, "class_tokens");
    class_tokens *t = &list->items[list->n];

    if (!cJSON_IsString(folder) || !cJSON_IsString(words) ||
        cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(subset, "is_reg")))
        return LX_OK;
    t->folder = lx_arena_strdup(arena, folder->valuestring);
    t->words = lower_case(arena, words->valuestring);
    list->n++;
    return t->folder && t->words ? LX_OK : lx_oom(err);
}

/* Of sd-scripts' ss_datasets: [{"subsets": [{"image_dir": ..., "class_tokens": ...}]}]. What is no such text tells none. */
static int read_class_tokens(class_list *list, const lx_tensor_file *file,
                             lx_arena *arena, lx_error *err)
{
    const char *text = lx_tensor_file_metadata(file, "ss_datasets");
    const cJSON *dataset, *subset;
    cJSON *root = NULL;
    size_t n = 0;
    int rc;

    *list = (class_list){0};
    if (!has_class_tokens(text))
        return LX_OK;
    if ((rc = lx_json_parse(&root, text, strlen(text), NULL)) < 0)
        return rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
    cJSON_ArrayForEach(dataset, root) n +=
        (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(dataset, "subsets"));
    rc = (list->items = lx_arena_calloc(arena, n + 1, sizeof *list->items)) ? LX_OK
                                                                            : lx_oom(err);
    cJSON_ArrayForEach(dataset, root)
    {
        cJSON_ArrayForEach(subset, cJSON_GetObjectItemCaseSensitive(dataset, "subsets"))
        {
            if (rc == LX_OK)
                rc = add_subset(list, subset, arena, err);
        }
    }
    if (rc == LX_OK && list->n)
        qsort(list->items, list->n, sizeof *list->items, by_folder);
    cJSON_Delete(root);
    return rc;
}

static const char *find_class_tokens(const class_list *list, const char *folder)
{
    size_t low = 0, high = list->n;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(list->items[middle].folder, folder) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < list->n && strcmp(list->items[low].folder, folder) == 0
               ? list->items[low].words
               : NULL;
}

/* ---- one folder -------------------------------------------------------------------------- */

/* Does the comma part at *rest equal the tag? Parts are stripped. */
static bool next_part(const char **rest, const char **part, size_t *n)
{
    const char *start, *end;
    if (!*rest)
        return false;
    start = *rest;
    end = strchr(start, ',');
    *rest = end ? end + 1 : NULL;
    if (!end)
        end = start + strlen(start);
    while (start < end && isspace((unsigned char)*start))
        start++;
    while (end > start && isspace((unsigned char)end[-1]))
        end--;
    *part = start;
    *n = (size_t)(end - start);
    return true;
}

typedef enum folder_state {
    FOLDER_CAPTIONS,
    FOLDER_WORDS_ONLY,
    FOLDER_WORDS_PARTLY,
    FOLDER_EMPTY,
    FOLDER_UNKNOWN
} folder_state;

/* The item of that name but for case and spaces around it. */
static const lx_counted *member_fold(const lx_count_group *group, const char *key,
                                     size_t n)
{
    for (size_t i = 0; i < group->n_items; i++) {
        const char *s = group->items[i].name;
        size_t m = group->items[i].n;
        if (m != n && m && (*s > ' ' && s[m - 1] > ' '))
            continue; /* nearly all */
        while (m > n && *s <= ' ' && isspace((unsigned char)*s))
            s++, m--;
        while (m > n && s[m - 1] <= ' ' && isspace((unsigned char)s[m - 1]))
            m--;
        /* Letters differ by bit 5 when they differ by case: most items are told apart by their first. */
        if (m == n && (m == 0 || !((s[0] ^ key[0]) & ~0x20)) &&
            strncasecmp(s, key, n) == 0)
            return &group->items[i];
    }
    return NULL;
}

/* How many of a folder's images were trained on its words; -1 if not as one unit. */
static folder_state look_at_folder(const lx_count_group *tags, const char *words,
                                   double n_images, double *n_lost)
{
    const char *rest = words, *part;
    size_t n, n_parts = 0, n_tags = tags->n_items;
    double least = n_images;

    *n_lost = 0;
    if (!n_tags)
        return FOLDER_EMPTY;
    if (!words || n_images <= 0)
        return FOLDER_UNKNOWN;
    while (next_part(&rest, &part, &n)) {
        const lx_counted *item;
        if (!n)
            continue;
        n_parts++;
        if (!(item = member_fold(tags, part, n)))
            return FOLDER_CAPTIONS;
        least = item->count < least ? item->count : least;
    }
    if (!n_parts)
        return FOLDER_UNKNOWN;
    if (n_parts == n_tags && least == n_images)
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

static void look_at_all(census *c, const lx_counts *frequency, const lx_counts *dirs,
                        const lx_counts *reg, const class_list *classes, lx_arena *arena)
{
    for (size_t i = 0; i < frequency->n_groups; i++) {
        const lx_count_group *folder = &frequency->groups[i], *facts;
        folder_state state;
        double n_images, lost;
        const char *words, *class_words;
        if (lx_counts_find(reg, folder->name))
            continue;
        facts = lx_counts_find(dirs, folder->name);
        n_images = lx_counted_get(facts, "img_count", 0);
        class_words = find_class_tokens(classes, folder->name);
        words = class_words ? class_words : folder_words(arena, folder->name);
        if (facts && n_images == 0)
            continue; /* a folder without images says nothing */
        c->n_folders++;
        c->n_images += n_images;
        state = look_at_folder(folder, words, n_images, &lost);
        add_folder(c, state, folder->name, words, class_words != NULL, lost);
    }
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

static int decide_dropped(lx_verdict *v, const lx_tensor_file *file, lx_arena *arena,
                          lx_error *err)
{
    const char *flag = NULL;
    if (number_of(file, "ss_caption_dropout_rate") >= 0.99)
        flag = "--caption_dropout_rate";
    else if (number_of(file, "ss_caption_dropout_every_n_epochs") == 1)
        flag = "--caption_dropout_every_n_epochs 1";
    else if (number_of(file, "ss_caption_tag_dropout_rate") >= 0.99)
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

/* Captions that were read and often dropped: it is said, and decides nothing. */
static int tell_dropout(lx_verdict *v, const lx_tensor_file *file, lx_arena *arena,
                        lx_error *err)
{
    const double rate = number_of(file, "ss_caption_dropout_rate");
    const double tags = number_of(file, "ss_caption_tag_dropout_rate");

    if (v->captions != LX_CAPTIONS_READ || (!(rate >= 0.3) && !(tags >= 0.3)))
        return LX_OK;
    v->text = rate >= 0.3
                  ? lx_arena_printf(arena, "%s, and dropped in %.0f %% of the steps",
                                    v->text, 100 * rate)
                  : lx_arena_printf(arena, "%s, and %.0f %% of their tags were dropped",
                                    v->text, 100 * tags);
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

int lx_lora_verdict(lx_verdict *v, const lx_tensor_file *file, lx_arena *arena,
                    lx_error *err)
{
    const char *problem = NULL;
    lx_counts frequency, dirs, reg;
    class_list classes;
    census c = {0};
    int rc;

    if (!has_training_keys(file))
        return decide(v, LX_CAPTIONS_UNKNOWN, "silent", "A5",
                      lx_arena_strdup(arena, "the file carries no training metadata"),
                      err);
    if ((rc = decide_dropped(v, file, arena, err)) <= 0)
        return rc;
    /* ai-toolkit writes a made-up {"1_TRIGGER": {"TRIGGER": 1}} whatever was trained. */
    if (lx_tensor_file_metadata(file, "software"))
        return decide(
            v, LX_CAPTIONS_UNKNOWN, "silent", "A4",
            lx_arena_strdup(arena, "this trainer's tag frequencies are made up"), err);
    if ((rc = read_counts(&frequency, &problem, file, "ss_tag_frequency", arena, err)) <
            0 ||
        (rc = read_counts(&dirs, NULL, file, "ss_dataset_dirs", arena, err)) < 0 ||
        (rc = read_counts(&reg, NULL, file, "ss_reg_dataset_dirs", arena, err)) < 0 ||
        (rc = read_class_tokens(&classes, file, arena, err)) < 0)
        return rc;
    if (problem || !lx_tensor_file_metadata(file, "ss_tag_frequency"))
        return decide(v, LX_CAPTIONS_UNKNOWN, "silent", "A4",
                      lx_arena_strdup(arena, problem
                                                 ? problem
                                                 : "the file carries no tag frequencies"),
                      err);
    look_at_all(&c, &frequency, &dirs, &reg, &classes, arena);
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
    return tell_dropout(v, file, arena, err);
}
