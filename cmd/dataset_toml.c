/*
 * --dataset_config: [general], [[datasets]], [[datasets.subsets]]
 *
 * A setting is looked for in the subset, the dataset, [general] and at last the command line. What all
 * subsets share becomes a flag; where they differ each gets settings of its own, made by the very
 * functions that read the flags (lx_flags_resolve_dataset). Source of keys and levels: sd-scripts
 * library/config_util.py.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "cmd/path_map.h"
#include "cmd/train_flag.h"

enum { GENERAL = 1, DATASET = 2, SUBSET = 4, EVERYWHERE = GENERAL | DATASET | SUBSET };

/* Keys that are flags under another name or the same; the refused ones are refused as flags. */
static const struct dataset_key {
    const char *name;
    int levels, flag; /* flag -1: read by read_subset */
} keys[] = {
    {"batch_size", GENERAL | DATASET, LX_AT_train_batch_size},
    {"resolution", GENERAL | DATASET, LX_AT_resolution},
    {"enable_bucket", GENERAL | DATASET, LX_AT_enable_bucket},
    {"bucket_no_upscale", GENERAL | DATASET, LX_AT_bucket_no_upscale},
    {"min_bucket_reso", GENERAL | DATASET, LX_AT_min_bucket_reso},
    {"max_bucket_reso", GENERAL | DATASET, LX_AT_max_bucket_reso},
    {"bucket_reso_steps", GENERAL | DATASET, LX_AT_bucket_reso_steps},
    {"validation_split", GENERAL | DATASET, LX_AT_validation_split},
    {"validation_seed", GENERAL | DATASET, LX_AT_validation_seed},
    {"resize_interpolation", EVERYWHERE, LX_AT_resize_interpolation},
    {"shuffle_caption", EVERYWHERE, LX_AT_shuffle_caption},
    {"color_aug", EVERYWHERE, LX_AT_color_aug},
    {"flip_aug", EVERYWHERE, LX_AT_flip_aug},
    {"random_crop", EVERYWHERE, LX_AT_random_crop},
    {"face_crop_aug_range", EVERYWHERE, LX_AT_face_crop_aug_range},
    {"enable_wildcard", EVERYWHERE, LX_AT_enable_wildcard},
    {"keep_tokens", EVERYWHERE, LX_AT_keep_tokens},
    {"token_warmup_min", EVERYWHERE, LX_AT_token_warmup_min},
    {"token_warmup_step", EVERYWHERE, LX_AT_token_warmup_step},
    {"caption_separator", EVERYWHERE, LX_AT_caption_separator},
    {"keep_tokens_separator", EVERYWHERE, LX_AT_keep_tokens_separator},
    {"secondary_separator", EVERYWHERE, LX_AT_secondary_separator},
    {"caption_prefix", EVERYWHERE, LX_AT_caption_prefix},
    {"caption_suffix", EVERYWHERE, LX_AT_caption_suffix},
    {"caption_dropout_rate", EVERYWHERE, LX_AT_caption_dropout_rate},
    {"caption_tag_dropout_rate", EVERYWHERE, LX_AT_caption_tag_dropout_rate},
    {"caption_dropout_every_n_epochs", EVERYWHERE, LX_AT_caption_dropout_every_n_epochs},
    {"caption_extension", EVERYWHERE, LX_AT_caption_extension},
    {"cache_info", EVERYWHERE, LX_AT_cache_info},
    {"alpha_mask", SUBSET, LX_AT_alpha_mask},
    {"metadata_file", SUBSET, -1},
    {"conditioning_data_dir", SUBSET, LX_AT_conditioning_data_dir},
    {"num_repeats", EVERYWHERE, -1},
    {"class_tokens", EVERYWHERE, -1},
    {"image_dir", SUBSET, -1},
    {"is_reg", SUBSET, -1},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

/* One subset and where it stands. */
typedef struct spot {
    const cJSON *dataset, *subset;
    int part;
} spot;

typedef struct reader {
    lx_flags *flags;
    lx_config_tree tree;
    const cJSON *general;
    spot *places;
    size_t n_places;
    lx_subset_config *subsets; /* of the places that count */
} reader;

/* "data.toml:3: keep_tokens: " in front of the error. */
static int at(const reader *r, const cJSON *item, int rc, lx_error *err)
{
    const char *place = lx_config_place(&r->tree, item, r->flags->arena);

    if (item->string)
        lx_within(err, "%s: %s", place, item->string);
    else
        lx_within(err, "%s", place);
    return rc;
}

static int check_key(const reader *r, const cJSON *item, int level, lx_error *err)
{
    const char *nearest = NULL;
    int least = 6, rc;

    for (int i = 0; i < N_KEYS; i++) {
        int distance = lx_name_distance(keys[i].name, item->string);
        if (strcmp(keys[i].name, item->string) == 0) {
            if (keys[i].levels & level)
                return LX_OK;
            rc = lx_fail(err, LX_EFORMAT, "it stands %s",
                         keys[i].levels == SUBSET ? "in [[datasets.subsets]]"
                                                  : "in [general] or [[datasets]]");
            return at(r, item, rc, err);
        }
        if (distance * 2 > (int)strlen(item->string) &&
            lx_starts_with(keys[i].name, item->string))
            distance = 5; /* a shortened name */
        if ((keys[i].levels & level) && distance < least &&
            (distance == 5 || distance * 2 <= (int)strlen(item->string))) {
            least = distance;
            nearest = keys[i].name;
        }
    }
    if (strcmp(item->string, "custom_attributes") == 0)
        rc = lx_fail(err, LX_EUNSUPPORTED, "not in this version; leave it out");
    else
        rc = lx_fail(err, LX_EFORMAT, "unknown key%s%s%s",
                     nearest ? "; did you mean " : "", nearest ? nearest : "",
                     nearest ? "?" : "");
    return at(r, item, rc, err);
}

static int check_level(const reader *r, const cJSON *table, int level, const char *below,
                       lx_error *err)
{
    int rc = LX_OK;

    if (!cJSON_IsObject(table))
        return at(r, table, lx_fail(err, LX_EFORMAT, "a table is wanted here"), err);
    for (const cJSON *item = table->child; item && rc == 0; item = item->next)
        if (strcmp(item->string, below) != 0 &&
            strcmp(item->string, "network_multiplier") !=
                0) /* no effect in the peer either */
            rc = check_key(r, item, level, err);
    return rc;
}

static int find_tables(const cJSON **datasets, reader *r, lx_error *err)
{
    *datasets = NULL;
    for (const cJSON *item = r->tree.root->child; item; item = item->next) {
        if (strcmp(item->string, "general") == 0)
            r->general = item;
        else if (strcmp(item->string, "datasets") == 0)
            *datasets = item;
        else
            return at(r, item,
                      lx_fail(err, LX_EFORMAT,
                              "only [general] and [[datasets]] stand "
                              "at the top"),
                      err);
    }
    if (!cJSON_IsArray(*datasets) || !(*datasets)->child)
        return lx_fail(err, LX_EFORMAT, "%s: no [[datasets]] in it", r->tree.path);
    return r->general ? check_level(r, r->general, GENERAL, "", err) : LX_OK;
}

/* The subsets of one dataset; what a dataset is made of is one kind. */
static int find_subsets(reader *r, const cJSON *dataset, int part, lx_error *err)
{
    const cJSON *subsets;
    bool has_metadata = false, has_other = false;
    int rc;

    if ((rc = check_level(r, dataset, DATASET, "subsets", err)) < 0)
        return rc;
    subsets = cJSON_GetObjectItemCaseSensitive(dataset, "subsets");
    if (!cJSON_IsArray(subsets) || !subsets->child)
        return at(r, dataset, lx_fail(err, LX_EFORMAT, "no [[datasets.subsets]] in it"),
                  err);
    for (const cJSON *subset = subsets->child; subset; subset = subset->next) {
        const bool is_metadata =
            cJSON_GetObjectItemCaseSensitive(subset, "metadata_file") != NULL;

        if ((rc = check_level(r, subset, SUBSET, "", err)) < 0)
            return rc;
        has_metadata = has_metadata || is_metadata;
        has_other = has_other || !is_metadata;
        if (has_metadata && has_other)
            return at(r, subset,
                      lx_fail(err, LX_EFORMAT,
                              "subsets with metadata_file and without "
                              "stand in [[datasets]] of their own"),
                      err);
        r->places[r->n_places++] = (spot){dataset, subset, part};
    }
    return LX_OK;
}

static int find_levels(reader *r, lx_error *err)
{
    const cJSON *datasets;
    size_t most = 0;
    int rc = find_tables(&datasets, r, err), part = 0;

    if (rc < 0)
        return rc;
    for (const cJSON *dataset = datasets->child; dataset; dataset = dataset->next)
        most += (size_t)cJSON_GetArraySize(
            cJSON_GetObjectItemCaseSensitive(dataset, "subsets"));
    if (!(r->places = lx_arena_calloc(r->flags->arena, most + 1, sizeof *r->places)))
        return lx_oom(err);
    for (const cJSON *dataset = datasets->child; dataset; dataset = dataset->next)
        if ((rc = find_subsets(r, dataset, part++, err)) < 0)
            return rc;
    return LX_OK;
}

/* Subset, dataset, [general]; NULL: the command line. */
static const cJSON *find_value(const reader *r, const spot *p, const char *name)
{
    const cJSON *tables[] = {p->subset, p->dataset, r->general};

    for (int i = 0; i < 3; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(tables[i], name);
        if (value)
            return value;
    }
    return NULL;
}

static bool is_shared(const reader *r, const char *name)
{
    const cJSON *first = find_value(r, &r->places[0], name);

    for (size_t i = 1; i < r->n_places; i++) {
        const cJSON *value = find_value(r, &r->places[i], name);
        if (value != first && !(value && first && cJSON_Compare(value, first, true)))
            return false;
    }
    return true;
}

static int read_words(lx_flag_words *words, const reader *r, int flag, const cJSON *value,
                      lx_error *err)
{
    int rc = lx_config_words(words, &lx_flag_table[flag], value, r->flags->arena, err);

    if (rc < 0)
        return at(r, value, rc, err);
    words->place = lx_config_place(&r->tree, value, r->flags->arena);
    return LX_OK;
}

/* What all subsets share is a flag. */
static int share_key(reader *r, const struct dataset_key *key, lx_error *err)
{
    const cJSON *value = find_value(r, &r->places[0], key->name);
    lx_flag_words words;
    int rc;

    if (!value)
        return LX_OK;
    if ((rc = read_words(&words, r, key->flag, value, err)) < 0)
        return rc;
    r->flags->given[key->flag] = words;
    if (key->flag ==
        LX_AT_caption_extension) /* the old spelling of the command line too */
        r->flags->given[LX_AT_caption_extention] = (lx_flag_words){0};
    return LX_OK;
}

/* Where they differ, each subset remembers its own for later. */
static int split_key(reader *r, const struct dataset_key *key, lx_error *err)
{
    lx_flags *f = r->flags;

    for (size_t i = 0; i < r->n_places; i++) {
        const cJSON *value = find_value(r, &r->places[i], key->name);
        lx_flag_split *split = &f->splits[f->n_splits];
        int rc;

        if (!value)
            continue;
        if ((rc = read_words(&split->words, r, key->flag, value, err)) < 0)
            return rc;
        split->subset = i;
        split->flag = key->flag;
        f->n_splits++;
    }
    return LX_OK;
}

static int read_keys(reader *r, lx_error *err)
{
    lx_flags *f = r->flags;
    int rc = LX_OK;

    if (!(f->splits = lx_arena_calloc(f->arena, N_KEYS * r->n_places, sizeof *f->splits)))
        return lx_oom(err);
    for (int i = 0; i < N_KEYS && rc == 0; i++)
        if (keys[i].flag >= 0)
            rc = is_shared(r, keys[i].name) ? share_key(r, &keys[i], err)
                                            : split_key(r, &keys[i], err);
    return rc;
}

static int read_repeats(lx_subset_config *out, const reader *r, const cJSON *value,
                        lx_error *err)
{
    double x = cJSON_IsNumber(value) ? value->valuedouble : NAN;

    if (!(fabs(x) <= 1000000) || x != (int)x)
        return at(r, value,
                  lx_fail(err, LX_EFORMAT,
                          "a whole number from 1 to 1000000 is wanted here; 0 leaves the subset out"),
                  err);
    out->repeats = x < 1 ? -1 : (int)x; /* 0: not given */
    return LX_OK;
}

/* A path of the file, mapped; NULL when it is not there. */
static int read_path(const char **out, const reader *r, const cJSON *subset,
                     const char *name, lx_error *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(subset, name);
    lx_flags *f = r->flags;
    const char *path;
    int rc;

    *out = NULL;
    if (!value)
        return LX_OK;
    if (!cJSON_IsString(value) || !*value->valuestring)
        return at(r, value,
                  lx_fail(err, LX_EFORMAT, "a text between quotes is wanted here"), err);
    if ((rc = lx_path_map(&path, value->valuestring, &f->given[LX_AT_path_map].words,
                          f->arena, err)) < 0)
        return at(r, value, rc, err);
    *out = lx_arena_strdup(f->arena, path);
    return *out ? LX_OK : lx_oom(err);
}

static int read_subset(lx_subset_config *out, const reader *r, const spot *p,
                       lx_error *err)
{
    const cJSON *is_reg = cJSON_GetObjectItemCaseSensitive(p->subset, "is_reg");
    const cJSON *tokens = find_value(r, p, "class_tokens");
    const cJSON *repeats = find_value(r, p, "num_repeats");
    lx_arena *arena = r->flags->arena;
    int rc;

    *out = (lx_subset_config){.part = p->part, .is_reg = cJSON_IsTrue(is_reg)};
    if (is_reg && !cJSON_IsBool(is_reg))
        return at(r, is_reg, lx_fail(err, LX_EFORMAT, "true or false is wanted here"),
                  err);
    if ((rc = read_path(&out->image_dir, r, p->subset, "image_dir", err)) < 0 ||
        (rc = read_path(&out->metadata_file, r, p->subset, "metadata_file", err)) < 0)
        return rc;
    if (!out->image_dir && !out->metadata_file)
        return at(r, p->subset, lx_fail(err, LX_EFORMAT, "the subset has no image_dir"),
                  err);
    if (out->is_reg && out->metadata_file)
        return at(r, is_reg,
                  lx_fail(err, LX_EFORMAT,
                          "images of a metadata_file cannot be "
                          "regularisation images"),
                  err);
    if (tokens && !cJSON_IsString(tokens))
        return at(r, tokens,
                  lx_fail(err, LX_EFORMAT, "a text between quotes is wanted here"), err);
    if (repeats && (rc = read_repeats(out, r, repeats, err)) < 0)
        return rc;
    out->class_tokens = tokens ? lx_arena_strdup(arena, tokens->valuestring) : NULL;
    return out->class_tokens || !tokens ? LX_OK : lx_oom(err);
}

static const char *named(const lx_subset_config *subset)
{
    return subset->metadata_file ? subset->metadata_file : subset->image_dir;
}

/* As the peer: of two subsets of a dataset with one folder the first counts. */
static bool is_known(const lx_subset_config *subsets, size_t n,
                     const lx_subset_config *one)
{
    for (size_t i = 0; i < n; i++)
        if (subsets[i].part == one->part && strcmp(named(&subsets[i]), named(one)) == 0)
            return true;
    return false;
}

static int read_subsets(reader *r, lx_error *err)
{
    enum { TOLD = 20 }; /* one by one; the rest is counted */
    lx_dataset_config *data = &r->flags->config->data;
    size_t n = 0, n_twice = 0;
    int rc = LX_OK;

    if (!(r->subsets = lx_arena_calloc(r->flags->arena, r->n_places, sizeof *r->subsets)))
        return lx_oom(err);
    for (size_t i = 0; i < r->n_places; i++) {
        if ((rc = read_subset(&r->subsets[n], r, &r->places[i], err)) < 0)
            return rc;
        if (!is_known(r->subsets, n, &r->subsets[n]))
            r->places[n++] = r->places[i];
        else if (n_twice++ < TOLD &&
                 lx_flags_note(
                     r->flags, "%s: \"%s\" is named twice; the first counts",
                     lx_config_place(&r->tree, r->places[i].subset, r->flags->arena),
                     named(&r->subsets[n])) < 0)
            return lx_oom(err);
    }
    if (n_twice > TOLD &&
        lx_flags_note(r->flags, "%zu more folder%s named twice; the first counts", n_twice - TOLD,
                      n_twice - TOLD == 1 ? " is" : "s are") < 0)
        return lx_oom(err);
    r->n_places = n;
    data->subsets = r->subsets;
    data->n_subsets = n;
    data->has_dataset_config = true;
    return LX_OK;
}

/* The peer warns of them; a line pasted from a GUI often has both. */
static int drop_folders(lx_flags *f, lx_error *err)
{
    static const int folders[] = {LX_AT_train_data_dir, LX_AT_reg_data_dir,
                                  LX_AT_in_json};

    for (int i = 0; i < 3; i++) {
        if (!f->given[folders[i]].given)
            continue;
        f->given[folders[i]] = (lx_flag_words){0};
        if (lx_flags_note(f, "--%s is not used: --dataset_config names the folders",
                          lx_flag_table[folders[i]].name) < 0)
            return lx_oom(err);
    }
    return LX_OK;
}

int lx_flags_read_dataset(lx_flags *f, const char *path, lx_error *err)
{
    reader r = {.flags = f};
    int rc = lx_config_read(&r.tree, path, err);

    if (rc < 0)
        return rc;
    if ((rc = find_levels(&r, err)) == 0 && (rc = drop_folders(f, err)) == 0 &&
        (rc = read_subsets(&r, err)) == 0)
        rc = read_keys(&r, err);
    f->subsets = r.subsets;
    lx_config_release(&r.tree);
    return rc;
}

/* ---- when the flags are read --------------------------------------------------------------- */

/* The settings of one subset: the whole's, and over them its own. */
static int settle_subset(lx_flags *f, size_t index, lx_error *err)
{
    lx_train_config *whole = f->config, own = *whole;
    lx_dataset_config *settings = lx_arena_alloc(f->arena, sizeof *settings);
    int rc = settings ? LX_OK : lx_oom(err);

    f->config = &own;
    for (size_t i = 0; i < f->n_splits && rc == 0; i++) {
        const lx_flag_split *split = &f->splits[i];
        if (split->subset == index &&
            (rc = lx_flags_take_words(f, split->flag, &split->words, err)) < 0)
            lx_within(err, "%s: %s", split->words.place, lx_flag_table[split->flag].name);
    }
    f->config = whole;
    if (rc < 0)
        return rc;
    *settings = own.data;
    f->subsets[index].config = settings;
    return LX_OK;
}

/* --in_json is one subset. */
static int make_json_subset(lx_flags *f, lx_error *err)
{
    lx_dataset_config *data = &f->config->data;
    lx_subset_config *subset = lx_arena_calloc(f->arena, 1, sizeof *subset);

    if (!subset)
        return lx_oom(err);
    *subset = (lx_subset_config){.image_dir = data->train_data_dir,
                                 .metadata_file = data->in_json};
    f->subsets = subset;
    data->subsets = subset;
    data->n_subsets = 1;
    if (data->reg_data_dir &&
        lx_flags_note(
            f, "--reg_data_dir is not used: --in_json has no regularisation images") < 0)
        return lx_oom(err);
    return LX_OK;
}

static bool has_mask(const lx_dataset_config *c)
{
    return c->alpha_mask || (c->masked_loss && c->conditioning_data_dir);
}

/* Masks in any subset are masks for the graph. */
static int resolve_masks(lx_flags *f, lx_error *err)
{
    lx_dataset_config *data = &f->config->data;
    bool has_any = has_mask(data), has_folder = data->conditioning_data_dir != NULL;

    for (size_t i = 0; i < data->n_subsets; i++)
        if (data->subsets[i].config) {
            has_any = has_any || has_mask(data->subsets[i].config);
            has_folder = has_folder || data->subsets[i].config->conditioning_data_dir;
        }
    data->has_masks = has_any;
    if (data->masked_loss && !has_any)
        return lx_fail(err, LX_EUSAGE,
                       "--masked_loss needs masks: --conditioning_data_dir FOLDER (or in "
                       "the subsets "
                       "of --dataset_config), or --alpha_mask");
    if (has_folder && !data->masked_loss)
        return lx_fail(err, LX_EUSAGE,
                       "--conditioning_data_dir belongs to --masked_loss; add it");
    return LX_OK;
}

static const char *map_name(const void *maps, const char *name, lx_arena *arena)
{
    const char *mapped;

    return lx_path_map(&mapped, name, maps, arena, NULL) == LX_OK ? mapped : NULL;
}

static int resolve_maps(lx_flags *f, lx_error *err)
{
    lx_words *maps = lx_arena_alloc(f->arena, sizeof *maps);

    if (!maps)
        return lx_oom(err);
    *maps = f->given[LX_AT_path_map].words;
    f->config->data.map_path = map_name;
    f->config->data.maps = maps;
    return LX_OK;
}

int lx_flags_resolve_dataset(lx_flags *f, lx_error *err)
{
    lx_dataset_config *data = &f->config->data;
    int rc = resolve_maps(f, err);

    if (rc < 0)
        return rc;
    if (data->in_json && !data->n_subsets && (rc = make_json_subset(f, err)) < 0)
        return rc;
    if (data->dataset_repeats != 1 && !data->n_subsets)
        return lx_fail(
            err, LX_EUSAGE,
            "--dataset_repeats belongs to --in_json or --dataset_config: the N of a "
            "folder N_name gives the repeats");
    if (data->dataset_repeats < 1)
        return lx_fail(err, LX_EUSAGE, "--dataset_repeats must be at least 1");
    for (size_t i = 0; i < data->n_subsets; i++)
        if (!f->subsets[i].repeats)
            f->subsets[i].repeats = data->dataset_repeats;
    for (size_t i = 0; i < data->n_subsets && f->n_splits; i++)
        if ((rc = settle_subset(f, i, err)) < 0)
            return rc;
    if (data->n_subsets && f->n_splits) { /* what is told of the whole is the first's */
        data->width = f->subsets[0].config->width;
        data->height = f->subsets[0].config->height;
        for (size_t i = 0; i < data->n_subsets; i++)
            if (f->subsets[i].config->width < 1)
                return lx_fail(err, LX_EFORMAT, "dataset %d has no resolution",
                               f->subsets[i].part + 1);
    }
    return resolve_masks(f, err);
}

/* [{"dataset": 0, "keep_tokens": "2"}]: what no flag tells, for the record of the run. */
int lx_flags_tell_dataset(cJSON **out, const lx_flags *f, lx_error *err)
{
    const lx_dataset_config *data = &f->config->data;
    cJSON *list = cJSON_CreateArray();

    *out = NULL;
    for (size_t i = 0; i < data->n_subsets; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "dataset", data->subsets[i].part);
        for (size_t k = 0; k < f->n_splits; k++) {
            const lx_flag_split *split = &f->splits[k];
            const lx_words *words = &split->words.words;
            if (split->subset == i)
                cJSON_AddStringToObject(item, lx_flag_table[split->flag].name,
                                        words->count         ? words->items[0]
                                        : split->words.is_on ? "true"
                                                             : "false");
        }
        if (!cJSON_AddItemToArray(list, item)) {
            cJSON_Delete(item);
            cJSON_Delete(list);
            return lx_oom(err);
        }
    }
    *out = list;
    return list ? LX_OK : lx_oom(err);
}
