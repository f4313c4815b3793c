#include "cmd/train_spec.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/train_flag.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"

/* Raised when lx's arithmetic changes so that an old spec gives another result. */
enum { ARITHMETIC_VERSION = 1 };

/* Names, places and remarks change nothing of the result; content stands for paths. */
static bool is_beside_the_result(const char *flag)
{
    static const char *const names[] = {"pretrained_model_name_or_path",
                                        "vae",
                                        "train_data_dir",
                                        "reg_data_dir",
                                        "output_dir",
                                        "in_json",
                                        "base_weights",
                                        "network_weights",
                                        "cache_latents_to_disk",
                                        "latent_cache_dir",
                                        "latents_npz",
                                        "output_name",
                                        "training_comment",
                                        "config_file",
                                        "dataset_config",
                                        "output_config",
                                        "logging_dir",
                                        "log_prefix",
                                        "log_with",
                                        "log_tracker_name",
                                        "log_tracker_config",
                                        "log_config",
                                        "tokenizer_cache_dir",
                                        "no_metadata",
                                        "name",
                                        "store",
                                        "path_map",
                                        "path-map",
                                        "group",
                                        "fact",
                                        "stop_after_steps",
                                        "threads",
                                        "encode_ahead",
                                        "max_memory",
                                        "device",
                                        "save_every_n_epochs",
                                        "save_every_n_steps",
                                        "save_n_epoch_ratio",
                                        "save_last_n_epochs",
                                        "save_last_n_steps",
                                        "save_last_n_epochs_state",
                                        "save_last_n_steps_state",
                                        "save_state",
                                        "save_state_on_train_end",
                                        "autosave_minutes",
                                        "resume",
                                        "skip_until_initial_step",
                                        "console_log_level",
                                        "console_log_file",
                                        "console_log_simple",
                                        "xformers",
                                        "sdpa",
                                        "mem_eff_attn",
                                        "gradient_checkpointing",
                                        "lowram",
                                        "highvram",
                                        "validate_every_n_steps",
                                        "validate_every_n_epochs",
                                        "max_validation_steps",
                                        "max_data_loader_n_workers",
                                        "persistent_data_loader_workers"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(flag, names[i]) == 0)
            return true;
    return strncmp(flag, "metadata_", 9) == 0 || strncmp(flag, "sample_", 7) == 0;
}

/* What lx has nothing to do with stands there as when it is not given. */
static int reset_idle(cJSON *item, lx_error *err)
{
    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        const lx_flag *flag = &lx_flag_table[i];
        if (strcmp(flag->name, item->string) != 0 || flag->action != LX_ACTION_IDLE)
            continue;
        if (cJSON_IsBool(item))
            item->type = cJSON_False;
        else if (!flag->otherwise)
            item->type = cJSON_NULL;
        else if (cJSON_IsNumber(item))
            cJSON_SetNumberValue(item, strtod(flag->otherwise, NULL));
        else if (!cJSON_SetValuestring(item, flag->otherwise))
            return lx_oom(err);
    }
    return LX_OK;
}

int lx_train_spec_make(char **out, const lx_train_spec *of, lx_error *err)
{
    cJSON *root = cJSON_CreateObject(), *flags = NULL, *item, *next;
    lx_str text = LX_STR_INIT;
    char hex[LX_HASH_HEX + 1];
    lx_hash hash = lx_sha256_of(of->dataset, strlen(of->dataset));
    int rc;

    if ((rc = lx_json_parse(&flags, of->flags, strlen(of->flags), err)) < 0)
        goto done;
    for (item = flags->child; item; item = next) {
        next = item->next;
        if ((rc = reset_idle(item, err)) < 0)
            goto done;
        if (cJSON_IsNull(item) || is_beside_the_result(item->string))
            cJSON_Delete(cJSON_DetachItemViaPointer(flags, item));
    }
    lx_hash_hex(hex, &hash);
    cJSON_AddItemToObject(root, "flags", flags);
    flags = NULL;
    cJSON_AddStringToObject(root, "dataset", hex);
    cJSON_AddStringToObject(root, "base_model", lx_json_text(of->base, "sha256"));
    if (of->vae)
        cJSON_AddStringToObject(root, "vae", lx_json_text(of->vae, "sha256"));
    if (of->merged)
        cJSON_AddItemToObject(root, "base_weights", cJSON_Duplicate(of->merged, true));
    if (of->network_weights)
        cJSON_AddStringToObject(root, "network_weights", of->network_weights);
    if (of->masks)
        cJSON_AddStringToObject(root, "masks", of->masks);
    if (of->order)
        cJSON_AddStringToObject(root, "order", of->order);
    if (of->resumed)
        cJSON_AddStringToObject(root, "resumed", of->resumed);
    cJSON_AddNumberToObject(root, "arithmetic", ARITHMETIC_VERSION);
    if ((rc = lx_json_canonical(&text, root, err)) == LX_OK &&
        !(*out = lx_str_detach(&text)))
        rc = lx_oom(err);
done:
    lx_str_release(&text);
    cJSON_Delete(flags);
    cJSON_Delete(root);
    return rc;
}

/* ---- files ------------------------------------------------------------------------------- */

int lx_train_spec_masks(bool *has_any, lx_hash *out, const lx_dataset *d, lx_error *err)
{
    lx_sha256 all;
    int rc = LX_OK;

    *has_any = false;
    lx_sha256_init(&all);
    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++) {
        lx_hash hash = {0};
        if (d->images[i].mask) {
            *has_any = true;
            rc = lx_file_hash(&hash, d->images[i].mask, err);
        }
        lx_sha256_update(&all, hash.bytes, sizeof hash.bytes);
    }
    *out = lx_sha256_final(&all);
    return rc;
}

bool lx_train_spec_order(lx_hash *out, const lx_dataset *d)
{
    lx_sha256 all;

    if (!d->config.n_subsets)
        return false;
    lx_sha256_init(&all);
    for (size_t i = 0; i < d->n_images; i++) {
        const char *name = lx_path_base(d->images[i].path);
        const uint8_t folder[4] = {(uint8_t)d->images[i].folder,
                                   (uint8_t)(d->images[i].folder >> 8),
                                   (uint8_t)(d->images[i].folder >> 16),
                                   (uint8_t)(d->images[i].folder >> 24)};
        lx_sha256_update(&all, folder, sizeof folder);
        lx_sha256_update(&all, name, strlen(name) + 1);
        lx_sha256_update(&all, d->images[i].hash.bytes, sizeof d->images[i].hash.bytes);
    }
    *out = lx_sha256_final(&all);
    return true;
}

/* ---- differences ------------------------------------------------------------------------- */

enum { MOST_NAMED = 8 };

typedef struct naming {
    lx_str text;
    size_t n;
} naming;

static void name_one(naming *to, const char *name)
{
    if (to->n < MOST_NAMED)
        lx_str_printf(&to->text, "%s%s", to->n ? ", " : "", name);
    to->n++;
}

/* Members that one of two objects has, or has otherwise: those of a, then what b has alone. */
static void compare(naming *to, const cJSON *a, const cJSON *b,
                    const char *(*word)(const char *key))
{
    const cJSON *item, *other;

    for (item = a ? a->child : NULL; item; item = item->next) {
        other = cJSON_GetObjectItemCaseSensitive(b, item->string);
        if (!cJSON_Compare(item, other, true) && word(item->string))
            name_one(to, word(item->string));
    }
    for (item = b ? b->child : NULL; item; item = item->next)
        if (!cJSON_GetObjectItemCaseSensitive(a, item->string) && word(item->string))
            name_one(to, word(item->string));
}

static const char *flag_word(const char *key)
{
    return key;
}

static const char *part_word(const char *key)
{
    static const char *const words[][2] = {
        {"dataset", "the images or captions"},
        {"base_model", "the base model"},
        {"vae", "the VAE"},
        {"base_weights", "the files of base_weights"},
        {"network_weights", "the file of network_weights"},
        {"masks", "the masks"},
        {"order", "the order of folders or images"},
        {"resumed", "the state it began with"},
        {"arithmetic", "lx's arithmetic"}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(key, words[i][0]) == 0)
            return words[i][1];
    return NULL; /* flags: one by one */
}

int lx_train_spec_difference(char **out, const char *a, const char *b, lx_error *err)
{
    naming to = {LX_STR_INIT, 0};
    cJSON *x = NULL, *y = NULL;
    int rc;

    *out = NULL;
    if ((rc = lx_json_parse(&x, a, strlen(a), err)) == LX_OK &&
        (rc = lx_json_parse(&y, b, strlen(b), err)) == LX_OK) {
        compare(&to, x, y, part_word);
        compare(&to, cJSON_GetObjectItemCaseSensitive(x, "flags"),
                cJSON_GetObjectItemCaseSensitive(y, "flags"), flag_word);
        if (to.n > MOST_NAMED)
            lx_str_printf(&to.text, " and %zu more", to.n - MOST_NAMED);
        if (to.n && !(*out = lx_str_detach(&to.text)))
            rc = lx_oom(err);
    }
    lx_str_release(&to.text);
    cJSON_Delete(x);
    cJSON_Delete(y);
    return rc;
}
