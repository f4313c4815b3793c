/*
 * --dataset_config: [general], [[datasets]], [[datasets.subsets]]
 *
 * A setting is looked for in the subset, the dataset, [general] and at last the command line. This
 * version trains one dataset, whose subsets may differ in image_dir, num_repeats, class_tokens and
 * is_reg; what they share becomes a flag. Source of keys and levels: sd-scripts
 * library/config_util.py.
 */
#include <cjson/cJSON.h>
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
    {"metadata_file", SUBSET, LX_AT_in_json},
    {"conditioning_data_dir", SUBSET, LX_AT_conditioning_data_dir},
    {"num_repeats", EVERYWHERE, -1},
    {"class_tokens", EVERYWHERE, -1},
    {"image_dir", SUBSET, -1},
    {"is_reg", SUBSET, -1},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

typedef struct reader {
    lx_flags *flags;
    lx_config_tree tree;
    const cJSON *general, *dataset, *subsets;
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
        rc = lx_fail(err, LX_EFORMAT, "unknown key%s%s%s", nearest ? "; did you mean " : "",
                     nearest ? nearest : "", nearest ? "?" : "");
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
            strcmp(item->string, "network_multiplier") != 0) /* no effect in the peer either */
            rc = check_key(r, item, level, err);
    return rc;
}

/* The only element of [[datasets]], and its subsets. */
static int find_levels(reader *r, lx_error *err)
{
    const cJSON *datasets = NULL;
    int rc;

    for (const cJSON *item = r->tree.root->child; item; item = item->next) {
        if (strcmp(item->string, "general") == 0)
            r->general = item;
        else if (strcmp(item->string, "datasets") == 0)
            datasets = item;
        else
            return at(r, item, lx_fail(err, LX_EFORMAT, "only [general] and [[datasets]] stand "
                                                        "at the top"), err);
    }
    if (!cJSON_IsArray(datasets) || !datasets->child)
        return lx_fail(err, LX_EFORMAT, "%s: no [[datasets]] in it", r->tree.path);
    if (datasets->child->next)
        return at(r, datasets->child->next,
                  lx_fail(err, LX_EUNSUPPORTED, "a second [[datasets]] is not in this version; put "
                                                "its subsets under the first, or train them one "
                                                "after the other with --network_weights"), err);
    r->dataset = datasets->child;
    if (r->general && (rc = check_level(r, r->general, GENERAL, "", err)) < 0)
        return rc;
    if ((rc = check_level(r, r->dataset, DATASET, "subsets", err)) < 0)
        return rc;
    r->subsets = cJSON_GetObjectItemCaseSensitive(r->dataset, "subsets");
    if (!cJSON_IsArray(r->subsets) || !r->subsets->child)
        return lx_fail(err, LX_EFORMAT, "%s: no [[datasets.subsets]] in it", r->tree.path);
    for (const cJSON *subset = r->subsets->child; subset; subset = subset->next)
        if ((rc = check_level(r, subset, SUBSET, "", err)) < 0)
            return rc;
    return LX_OK;
}

/* Subset, dataset, [general]; NULL: the command line. */
static const cJSON *find_value(const reader *r, const cJSON *subset, const char *name)
{
    const cJSON *tables[] = {subset, r->dataset, r->general};

    for (int i = 0; i < 3; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(tables[i], name);
        if (value)
            return value;
    }
    return NULL;
}

static int share_key(reader *r, const struct dataset_key *key, lx_error *err)
{
    const cJSON *first = find_value(r, r->subsets->child, key->name);
    lx_flag_words words;
    int rc;

    for (const cJSON *subset = r->subsets->child->next; subset; subset = subset->next) {
        const cJSON *value = find_value(r, subset, key->name);
        if (value == first || (value && first && cJSON_Compare(value, first, true)))
            continue;
        rc = lx_fail(err, LX_EUNSUPPORTED, "subsets that differ in it are not in this version; give "
                                           "all of them the same");
        return at(r, value ? value : first, rc, err);
    }
    if (!first)
        return LX_OK;
    if ((rc = lx_config_words(&words, &lx_flag_table[key->flag], first, r->flags->arena, err)) < 0)
        return at(r, first, rc, err);
    words.place = lx_config_place(&r->tree, first, r->flags->arena);
    r->flags->given[key->flag] = words;
    if (key->flag == LX_AT_caption_extension) /* the old spelling of the command line too */
        r->flags->given[LX_AT_caption_extention] = (lx_flag_words){0};
    return LX_OK;
}

static int read_repeats(lx_subset_config *out, const reader *r, const cJSON *value, lx_error *err)
{
    double x = cJSON_IsNumber(value) ? value->valuedouble : 0;

    if (!(x >= 1 && x <= 1000000) || x != (int)x)
        return at(r, value, lx_fail(err, LX_EFORMAT, "a whole number from 1 to 1000000 is wanted "
                                                     "here"), err);
    out->repeats = (int)x;
    return LX_OK;
}

static int read_subset(lx_subset_config *out, const reader *r, const cJSON *subset, lx_error *err)
{
    const cJSON *dir = cJSON_GetObjectItemCaseSensitive(subset, "image_dir");
    const cJSON *is_reg = cJSON_GetObjectItemCaseSensitive(subset, "is_reg");
    const cJSON *tokens = find_value(r, subset, "class_tokens");
    const cJSON *repeats = find_value(r, subset, "num_repeats");
    lx_arena *arena = r->flags->arena;
    const char *path;
    int rc;

    *out = (lx_subset_config){.repeats = 1, .is_reg = cJSON_IsTrue(is_reg)};
    if (is_reg && !cJSON_IsBool(is_reg))
        return at(r, is_reg, lx_fail(err, LX_EFORMAT, "true or false is wanted here"), err);
    if (!dir)
        return at(r, subset, lx_fail(err, LX_EFORMAT, "the subset has no image_dir"), err);
    if (!cJSON_IsString(dir) || !*dir->valuestring)
        return at(r, dir, lx_fail(err, LX_EFORMAT, "a text between quotes is wanted here"), err);
    if (tokens && !cJSON_IsString(tokens))
        return at(r, tokens, lx_fail(err, LX_EFORMAT, "a text between quotes is wanted here"), err);
    if (repeats && (rc = read_repeats(out, r, repeats, err)) < 0)
        return rc;
    if ((rc = lx_path_map(&path, dir->valuestring, &r->flags->given[LX_AT_path_map].words, arena,
                          err)) < 0)
        return at(r, dir, rc, err);
    out->image_dir = lx_arena_strdup(arena, path);
    out->class_tokens = tokens ? lx_arena_strdup(arena, tokens->valuestring) : NULL;
    return out->image_dir && (out->class_tokens || !tokens) ? LX_OK : lx_oom(err);
}

/* As the peer: of two subsets with one folder the first counts. */
static bool is_known(const lx_subset_config *subsets, size_t n, const char *image_dir)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(subsets[i].image_dir, image_dir) == 0)
            return true;
    return false;
}

static int read_subsets(reader *r, lx_error *err)
{
    lx_dataset_config *data = &r->flags->config->data;
    size_t most = (size_t)cJSON_GetArraySize(r->subsets), n = 0;
    lx_subset_config *subsets = lx_arena_calloc(r->flags->arena, most, sizeof *subsets);
    int rc = subsets ? LX_OK : lx_oom(err);

    for (const cJSON *item = r->subsets->child; item && rc == 0; item = item->next) {
        if ((rc = read_subset(&subsets[n], r, item, err)) < 0)
            break;
        if (!is_known(subsets, n, subsets[n].image_dir))
            n++;
        else if (lx_flags_note(r->flags, "%s: \"%s\" is named twice; the first counts",
                               lx_config_place(&r->tree, item, r->flags->arena),
                               subsets[n].image_dir) < 0)
            rc = lx_oom(err);
    }
    data->subsets = subsets;
    data->n_subsets = n;
    return rc;
}

/* The peer warns of them; a line pasted from a GUI often has both. */
static int drop_folders(lx_flags *f, lx_error *err)
{
    static const int folders[] = {LX_AT_train_data_dir, LX_AT_reg_data_dir, LX_AT_in_json};

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
    if ((rc = find_levels(&r, err)) == 0 && (rc = drop_folders(f, err)) == 0)
        rc = read_subsets(&r, err);
    for (int i = 0; i < N_KEYS && rc == 0; i++)
        if (keys[i].flag >= 0)
            rc = share_key(&r, &keys[i], err);
    lx_config_release(&r.tree);
    return rc;
}
