/* What the SET and OWN rows of the table do with their values; one function a row. */
#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "cmd/train_flag.h"
#include "src/base/alloc.h"
#include "src/base/json.h"

#define SETTER(name) int lx_set_##name(lx_flags *f, const lx_flag_value *v, lx_error *err)

/* Read by the parser itself. */
SETTER(config_file)
{
    return LX_OK;
}
SETTER(dataset_config)
{
    return LX_OK;
}
SETTER(output_config)
{
    return LX_OK;
}
SETTER(like)
{
    return LX_OK;
}
SETTER(path_map)
{
    return LX_OK;
}

/* ---- network -------------------------------------------------------------------------------- */

SETTER(network_module)
{
    if (v->is_null || strcmp(v->text, "networks.lora") == 0)
        return LX_OK;
    return lx_fail(err, LX_EUNSUPPORTED, "'%s' is not in this version; networks.lora is", v->text);
}

SETTER(network_dim)
{
    if (v->is_null)
        return LX_OK;
    if (v->whole < 1 || v->whole > 4096)
        return lx_fail(err, LX_EUSAGE, "'%s' is not between 1 and 4096", v->text);
    f->config->network.rank = (int)v->whole;
    f->config->network_dim_given = true;
    return LX_OK;
}

SETTER(network_alpha)
{
    f->config->network.alpha = v->number;
    f->config->network_alpha_given = v->given;
    return LX_OK;
}

static const char *const later_network_args[] = {
    "rank_dropout", "module_dropout", "dropout", "block_dims", "block_alphas",
    "conv_block_dims", "conv_block_alphas", "down_lr_weight", "mid_lr_weight", "up_lr_weight",
    "block_lr_zero_threshold", "loraplus_lr_ratio", "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio", NULL};

static int set_network_arg(lx_lora_spec *spec, const char *key, const char *value, lx_error *err)
{
    int64_t whole;
    double zero;
    int rc;

    if (strcmp(key, "conv_dim") == 0) {
        if ((rc = lx_parse_int(&whole, value, err)) < 0)
            return rc;
        if (whole < 0 || whole > 4096)
            return lx_fail(err, LX_EUSAGE, "'%s' is not between 0 and 4096", value);
        spec->conv_rank = (int)whole;
        return LX_OK;
    }
    if (strcmp(key, "conv_alpha") == 0)
        return lx_parse_number(&spec->conv_alpha, value, err);
    for (const char *const *later = later_network_args; *later; later++)
        if (strcmp(*later, key) == 0) {
            if (strstr(key, "dropout") && lx_parse_number(&zero, value, NULL) == 0 && zero == 0)
                return LX_OK;
            return lx_fail(err, LX_EUNSUPPORTED, "not in this version; leave it out");
        }
    return lx_fail(err, LX_EUSAGE, "networks.lora has no such argument; lx reads conv_dim and "
                                   "conv_alpha");
}

/* "key=value", split at the first '='; *value points behind it. */
static int split_pair(const char **key, const char **value, lx_arena *arena, const char *pair,
                      lx_error *err)
{
    const char *equals = strchr(pair, '=');

    if (!equals)
        return lx_fail(err, LX_EUSAGE, "'%s' is not key=value", pair);
    *value = equals + 1;
    *key = lx_arena_strndup(arena, pair, (size_t)(equals - pair));
    return *key ? LX_OK : lx_oom(err);
}

SETTER(network_args)
{
    cJSON *pairs = cJSON_CreateObject();
    lx_str text = LX_STR_INIT;
    const char *key, *value;
    int rc = pairs ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < v->words.count && rc == 0; i++) {
        if ((rc = split_pair(&key, &value, f->arena, v->words.items[i], err)) < 0)
            break;
        if ((rc = set_network_arg(&f->config->network, key, value, err)) < 0)
            lx_within(err, "%s", key);
        cJSON_DeleteItemFromObjectCaseSensitive(pairs, key);
        if (rc == 0 && !cJSON_AddStringToObject(pairs, key, value))
            rc = lx_oom(err);
    }
    if (rc == 0 && v->words.count > 0 && (rc = lx_json_canonical(&text, pairs, err)) == 0 &&
        !(f->config->network_args = lx_arena_strdup(f->arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    cJSON_Delete(pairs);
    return rc;
}

SETTER(network_train_unet_only)
{
    f->config->network.has_text_encoder = !v->is_on;
    return LX_OK;
}

SETTER(network_train_text_encoder_only)
{
    f->config->network.has_unet = !v->is_on;
    return LX_OK;
}

SETTER(unet_lr)
{
    f->config->unet_lr_given = !v->is_null;
    f->config->unet_lr = v->number;
    return LX_OK;
}

SETTER(text_encoder_lr)
{
    f->config->text_encoder_lr_given = !v->is_null;
    if (!v->is_null)
        f->config->text_encoder_lr = v->numbers[0];
    return LX_OK;
}

/* ---- data ----------------------------------------------------------------------------------- */

SETTER(resolution)
{
    int64_t sides[2];
    const char *at = v->text;
    size_t n = 0;

    if (v->is_null)
        return LX_OK;
    for (; n < 2 && at; n++) {
        char *end;
        sides[n] = strtoll(at, &end, 10);
        end += strspn(end, " ");
        if (end == at || (*end && *end != ',') || sides[n] < 1 || sides[n] > 16384)
            break;
        at = *end ? end + 1 : NULL;
    }
    if (at || n == 0)
        return lx_fail(err, LX_EUSAGE, "'%s' is neither a size nor width,height (1 to 16384)",
                       v->text);
    f->config->data.width = (int)sides[0];
    f->config->data.height = (int)sides[n - 1];
    return LX_OK;
}

static int set_extension(lx_flags *f, const char *text, lx_error *err)
{
    const char *with_dot = text[0] == '.' ? text : lx_arena_printf(f->arena, ".%s", text);

    if (!with_dot)
        return lx_oom(err);
    if (strchr(text, '/'))
        return lx_fail(err, LX_EUSAGE, "'%s' is no file name ending", text);
    f->config->data.caption_extension = with_dot;
    return LX_OK;
}

SETTER(caption_extension)
{
    if (v->given)
        f->config->data.caption_extension_given = true;
    return set_extension(f, v->text, err);
}

/* Comes after caption_extension in the table, so it wins, as in sd-scripts. */
SETTER(caption_extention)
{
    if (v->is_null)
        return LX_OK;
    f->config->data.caption_extension_given = true;
    return set_extension(f, v->text, err);
}

SETTER(cache_latents_to_disk)
{
    if (v->is_on)
        f->config->data.cache_latents = true;
    return LX_OK;
}

SETTER(max_token_length)
{
    f->config->max_token_length = v->is_null ? 75 : (int)v->whole;
    return LX_OK;
}

SETTER(allow_untagged)
{
    f->config->data.allow_untagged = v->is_on;
    return LX_OK;
}

SETTER(skip_bad_images)
{
    f->config->data.skip_bad_images = v->is_on;
    return LX_OK;
}

SETTER(background)
{
    f->config->data.background = v->text;
    return LX_OK;
}

/* ---- optimizer and schedule ----------------------------------------------------------------- */

SETTER(optimizer_type)
{
    if (!*v->text || strcasecmp(v->text, "AdamW") == 0 || strcmp(v->text, "torch.optim.AdamW") == 0)
        return LX_OK;
    if (strcasecmp(v->text, "AdamW8bit") == 0 || strcasecmp(v->text, "PagedAdamW8bit") == 0)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "'%s' is not in this version; use AdamW: the same update with states in "
                       "f32", v->text);
    return lx_fail(err, LX_EUNSUPPORTED, "'%s' is not in this version; AdamW is", v->text);
}

SETTER(use_8bit_adam)
{
    return v->is_on ? lx_fail(err, LX_EUNSUPPORTED,
                              "AdamW8bit is not in this version; use --optimizer_type AdamW: the "
                              "same update with states in f32")
                    : LX_OK;
}

SETTER(use_lion_optimizer)
{
    return v->is_on ? lx_fail(err, LX_EUNSUPPORTED,
                              "Lion is not in this version; use --optimizer_type AdamW")
                    : LX_OK;
}

/* "0.9,0.99", "(0.9, 0.99)" or "[0.9, 0.99]": a Python literal of two numbers. */
static int read_betas(lx_train_config *c, const char *text, lx_error *err)
{
    double betas[2];
    const char *at = text + strspn(text, "([ ");
    char *end;

    for (int i = 0; i < 2; i++) {
        betas[i] = strtod(at, &end);
        end += strspn(end, i ? ")], " : " ");
        if (end == at || (i == 0 ? *end != ',' : *end != '\0') || !(betas[i] >= 0) || betas[i] >= 1)
            return lx_fail(err, LX_EUSAGE, "'%s' is not two numbers in [0, 1) as in 0.9,0.999",
                           text);
        at = end + 1;
    }
    c->beta1 = betas[0];
    c->beta2 = betas[1];
    return LX_OK;
}

static int set_optimizer_arg(lx_train_config *c, const char *key, const char *value,
                             lx_error *err)
{
    if (strcmp(key, "betas") == 0)
        return read_betas(c, value, err);
    if (strcmp(key, "eps") == 0)
        return lx_parse_number(&c->eps, value, err);
    if (strcmp(key, "weight_decay") == 0)
        return lx_parse_number(&c->weight_decay, value, err);
    return lx_fail(err, LX_EUNSUPPORTED, "lx reads betas, eps and weight_decay of AdamW");
}

SETTER(optimizer_args)
{
    lx_str all = LX_STR_INIT;
    const char *key, *value;
    int rc = LX_OK;

    for (size_t i = 0; i < v->words.count && rc == 0; i++) {
        if ((rc = split_pair(&key, &value, f->arena, v->words.items[i], err)) < 0)
            break;
        if ((rc = set_optimizer_arg(f->config, key, value, err)) < 0)
            lx_within(err, "%s", key);
        lx_str_printf(&all, "%s%s", i ? "," : "", v->words.items[i]);
    }
    if (rc == 0 && v->words.count > 0 && (rc = lx_str_check(&all, err)) == 0 &&
        !(f->config->optimizer_args = lx_arena_strdup(f->arena, lx_str_text(&all))))
        rc = lx_oom(err);
    lx_str_release(&all);
    return rc;
}

SETTER(lr_scheduler)
{
    for (int i = 0; i < LX_LR_SCHEDULER_COUNT; i++)
        if (strcmp(lx_lr_scheduler_names[i], v->text) == 0) {
            f->config->lr_scheduler = (lx_lr_scheduler)i;
            return LX_OK;
        }
    return lx_fail(err, LX_EUNSUPPORTED, "'%s' is not in this version", v->text);
}

SETTER(seed)
{
    if (v->is_null)
        return LX_OK;
    if (v->whole < 0)
        return lx_fail(err, LX_EUSAGE, "'%s' is negative", v->text);
    f->config->seed = (uint64_t)v->whole;
    f->config->seed_given = true;
    return LX_OK;
}

SETTER(mixed_precision)
{
    f->config->mixed_precision = v->text;
    return LX_OK;
}

SETTER(loss_type)
{
    static const struct {
        const char *name;
        lx_loss_type type;
    } types[] = {{"l1", LX_LOSS_L1},
                 {"l2", LX_LOSS_L2},
                 {"huber", LX_LOSS_HUBER},
                 {"smooth_l1", LX_LOSS_SMOOTH_L1}};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, v->text) == 0)
            f->config->loss_type = types[i].type;
    return LX_OK;
}

SETTER(huber_schedule)
{
    f->config->huber_schedule = strcmp(v->text, "constant") == 0      ? LX_HUBER_CONSTANT
                                : strcmp(v->text, "exponential") == 0 ? LX_HUBER_EXPONENTIAL
                                                                      : LX_HUBER_SNR;
    return LX_OK;
}

/* ---- output --------------------------------------------------------------------------------- */

SETTER(save_model_as)
{
    f->config->save_model_as = v->text;
    if (strcmp(v->text, "safetensors") == 0)
        return LX_OK;
    if (lx_flags_note(f,
                      "a .%s has no place for metadata: what the LoRA was trained with will be in "
                      "the store (`lx show`) and not in the file",
                      v->text) < 0)
        return lx_oom(err);
    return LX_OK;
}

SETTER(save_precision)
{
    if (v->is_null)
        return LX_OK;
    f->config->save_dtype = strcmp(v->text, "fp16") == 0   ? LX_F16
                            : strcmp(v->text, "bf16") == 0 ? LX_BF16
                                                           : LX_F32;
    f->config->save_dtype_given = true;
    return LX_OK;
}

SETTER(log_with)
{
    if (v->is_null || strcmp(v->text, "tensorboard") == 0)
        return LX_OK;
    return lx_fail(err, LX_EUNSUPPORTED, "'%s': lx sends nothing to W&B; every run is in the store",
                   v->text);
}

SETTER(name)
{
    f->facts->name = v->text;
    return LX_OK;
}

/* ---- machine -------------------------------------------------------------------------------- */

SETTER(text_encoder_heads)
{
    if (v->is_null)
        return LX_OK;
    if (v->whole < 1 || v->whole > 1024)
        return lx_fail(err, LX_EUSAGE, "'%s' is not between 1 and 1024", v->text);
    f->config->text_encoder_heads = (int)v->whole;
    return LX_OK;
}

SETTER(threads)
{
    if (v->is_null)
        return LX_OK;
    if (v->whole < 1 || v->whole > 4096)
        return lx_fail(err, LX_EUSAGE, "'%s' is not between 1 and 4096", v->text);
    f->config->threads = (int)v->whole;
    return LX_OK;
}

SETTER(max_memory)
{
    f->config->max_memory = v->is_null ? 0 : (size_t)v->whole;
    return LX_OK;
}

SETTER(device)
{
    f->facts->device = v->text;
    return LX_OK;
}

/* ---- together ------------------------------------------------------------------------------- */

int lx_flags_resolve(lx_flags *f, lx_error *err)
{
    lx_train_config *c = f->config;
    uint32_t drawn;

    if (!c->unet_lr_given)
        c->unet_lr = c->learning_rate;
    if (!c->text_encoder_lr_given)
        c->text_encoder_lr = c->learning_rate;
    if (!c->seed_given) { /* 32 bits, as sd-scripts draws it */
        if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
            return lx_fail(err, LX_EIO, "the system gives no random seed; give --seed");
        c->seed = drawn;
    }
    return lx_train_config_check(c, err);
}
