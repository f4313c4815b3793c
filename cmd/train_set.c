/* What the SET and OWN rows of the table do with their values; one function a row. */
#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "cmd/record.h"
#include "cmd/path_map.h"
#include "cmd/train_flag.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/report/html.h"

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

SETTER(sample_compat)
{
    f->config->sample_compat = v->is_on;
    return LX_OK;
}

/* ---- network -------------------------------------------------------------------------------- */

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

SETTER(base_weights)
{
    lx_train_config *c = f->config;
    const size_t n = v->words.count;
    const char **paths = lx_arena_calloc(f->arena, n + 1, sizeof *paths);
    int rc = paths ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = lx_path_map(&paths[i], v->words.items[i], &f->given[LX_AT_path_map].words,
                         f->arena, err);
    c->base_weights = paths;
    c->n_base_weights = rc == LX_OK ? n : 0;
    return rc;
}

/* Comes after base_weights in the table. */
SETTER(base_weights_multiplier)
{
    lx_train_config *c = f->config;
    double *factors = lx_arena_calloc(f->arena, c->n_base_weights + 1, sizeof *factors);

    if (!factors)
        return lx_oom(err);
    if (v->words.count > c->n_base_weights)
        return lx_fail(err, LX_EUSAGE, "%zu number%s for %zu file%s of --base_weights",
                       v->words.count, lx_plural(v->words.count), c->n_base_weights, lx_plural(c->n_base_weights));
    for (size_t i = 0; i < c->n_base_weights; i++)
        factors[i] = i < v->words.count ? v->numbers[i] : 1;
    c->base_weights_multiplier = factors;
    return LX_OK;
}

/* A file becomes what the peer makes of it. */
SETTER(metadata_thumbnail)
{
    enum { MOST = 4 << 20 };
    lx_str bytes = LX_STR_INIT, uri = LX_STR_INIT;
    const char *path, *ending;
    int rc;

    if (v->is_null)
        return LX_OK;
    f->config->metadata_thumbnail = v->text;
    if (lx_starts_with(v->text, "data:"))
        return LX_OK;
    if ((rc = lx_path_map(&path, v->text, &f->given[LX_AT_path_map].words, f->arena,
                          err)) < 0 ||
        (rc = lx_file_read(&bytes, path, MOST, err)) < 0)
        goto done;
    ending = lx_path_ext(path);
    lx_data_uri(&uri,
                strcasecmp(ending, ".png") == 0    ? "image/png"
                : strcasecmp(ending, ".jpg") == 0  ? "image/jpeg"
                : strcasecmp(ending, ".jpeg") == 0 ? "image/jpeg"
                : strcasecmp(ending, ".webp") == 0 ? "image/webp"
                                                   : "application/octet-stream",
                lx_str_text(&bytes), bytes.len);
    if ((rc = lx_str_check(&uri, err)) == LX_OK &&
        !(f->config->metadata_thumbnail = lx_arena_strdup(f->arena, lx_str_text(&uri))))
        rc = lx_oom(err);
done:
    lx_str_release(&bytes);
    lx_str_release(&uri);
    return rc;
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
        return lx_fail(err, LX_EUSAGE,
                       "'%s' is neither a size nor width,height (1 to 16384)", v->text);
    f->config->data.width = (int)sides[0];
    f->config->data.height = (int)sides[n - 1];
    return LX_OK;
}

/* Both above 0, for the peer divides by them. */
SETTER(face_crop_aug_range)
{
    double *range = f->config->data.face_crop_aug_range;
    char rest;

    if (v->is_null)
        return LX_OK;
    if (sscanf(v->text, " %lf , %lf %c", &range[0], &range[1], &rest) != 2 ||
        !(range[0] > 0) || !(range[0] <= range[1]) || !(range[1] <= 1000))
        return lx_fail(err, LX_EUSAGE, "'%s' is no low,high with 0 < low <= high",
                       v->text);
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

/* $XDG_CACHE_HOME/lx/latents, or --latent_cache_dir. */
SETTER(cache_latents_to_disk)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    lx_dataset_config *data = &f->config->data;

    if (!v->is_on)
        return LX_OK;
    data->cache_latents = true;
    if (cache && *cache)
        data->latent_cache_dir = lx_arena_printf(f->arena, "%s/lx/latents", cache);
    else if (home && *home)
        data->latent_cache_dir = lx_arena_printf(f->arena, "%s/.cache/lx/latents", home);
    else
        return LX_OK; /* nowhere to keep them: --latent_cache_dir says where */
    return data->latent_cache_dir ? LX_OK : lx_oom(err);
}

/* Comes after cache_latents_to_disk in the table. */
SETTER(latent_cache_dir)
{
    if (v->is_null)
        return LX_OK;
    f->config->data.cache_latents = true;
    f->config->data.latent_cache_dir = v->text;
    return LX_OK;
}

/* Comes after those two: what the peer's flag does is to read them. */
SETTER(latents_npz)
{
    static const char *const words[] = {[LX_NPZ_OFF] = "off",
                                        [LX_NPZ_READ] = "read",
                                        [LX_NPZ_WRITE] = "write",
                                        [LX_NPZ_REPLACE] = "replace"};
    lx_dataset_config *data = &f->config->data;

    if (v->is_null) {
        data->npz_latents =
            f->values[LX_AT_cache_latents_to_disk].is_on ? LX_NPZ_READ : LX_NPZ_OFF;
        return LX_OK;
    }
    for (lx_npz_use i = LX_NPZ_OFF; i <= LX_NPZ_REPLACE; i++)
        if (strcmp(v->text, words[i]) == 0)
            data->npz_latents = i;
    if (data->npz_latents != LX_NPZ_OFF)
        data->cache_latents = true;
    return LX_OK;
}

SETTER(validation_seed)
{
    f->config->data.validation_seed_given = !v->is_null;
    f->config->data.validation_seed = v->is_null ? 0 : v->whole;
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

SETTER(autosave_minutes)
{
    f->config->autosave_minutes = v->number;
    return LX_OK;
}

SETTER(skip_bad_images)
{
    f->config->data.skip_bad_images = v->is_on;
    return LX_OK;
}

SETTER(ignore_exif)
{
    f->config->data.ignore_exif = v->is_on;
    return LX_OK;
}

SETTER(resize_interpolation)
{
    if (v->is_null)
        return LX_OK;
    f->config->data.resize_interpolation = v->text;
    return lx_interpolation_from_name(&f->config->data.resize, v->text, err);
}

SETTER(background)
{
    f->config->data.background = v->text;
    return LX_OK;
}

/* ---- optimizer and schedule ----------------------------------------------------------------- */

SETTER(lr_scheduler)
{
    if (strncmp(v->text, "adafactor", 9) ==
        0) /* Adafactor's own way; asked for by its name only */
        return LX_OK;
    for (int i = 0; i < LX_LR_SCHEDULER_COUNT; i++)
        if (strcmp(lx_lr_scheduler_names[i], v->text) == 0) {
            f->config->lr_scheduler = (lx_lr_scheduler)i;
            return LX_OK;
        }
    return lx_fail(err, LX_EUNSUPPORTED, "'%s' is not in this version", v->text);
}

/* A text as Python writes it, in quotes (the peer reads it so), or bare. */
static const char *unquoted(const char *text, lx_arena *arena)
{
    const size_t n = strlen(text);

    if (n < 2 || (*text != '\'' && *text != '"') || text[n - 1] != *text)
        return text;
    return lx_arena_printf(arena, "%.*s", (int)n - 2, text + 1);
}

/* Comes after lr_scheduler in the table. */
SETTER(lr_scheduler_args)
{
    const char *key, *value;

    for (size_t i = 0; i < v->words.count; i++) {
        int rc = lx_flags_split_pair(&key, &value, f->arena, v->words.items[i], err);
        if (rc < 0)
            return rc;
        if (f->config->lr_scheduler != LX_LR_PIECEWISE_CONSTANT || strcmp(key, "step_rules") != 0)
            return lx_fail(err, LX_EUNSUPPORTED,
                           "'%s' is not taken: piecewise_constant has step_rules=..., other schedules "
                           "--lr_scheduler_num_cycles, --lr_scheduler_power, --lr_scheduler_min_lr_ratio, "
                           "--lr_scheduler_timescale and --lr_decay_steps",
                           v->words.items[i]);
        if (!(value = unquoted(value, f->arena)))
            return lx_oom(err);
        if ((rc = lx_schedule_rules_parse(&f->config->lr_rules, f->arena, value, err)) < 0)
            return rc;
    }
    return LX_OK;
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
    f->config->huber_schedule = strcmp(v->text, "constant") == 0 ? LX_HUBER_CONSTANT
                                : strcmp(v->text, "exponential") == 0
                                    ? LX_HUBER_EXPONENTIAL
                                    : LX_HUBER_SNR;
    return LX_OK;
}

/* ---- output --------------------------------------------------------------------------------- */

SETTER(save_model_as)
{
    f->config->save_model_as = v->text;
    if (strcmp(v->text, "safetensors") == 0)
        return LX_OK;
    if (lx_flags_note(
            f,
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
    return lx_fail(err, LX_EUNSUPPORTED,
                   "'%s': lx sends nothing to W&B; --log_with tensorboard writes event "
                   "files, and every "
                   "run is in the store",
                   v->text);
}

SETTER(name)
{
    f->facts->name = v->text;
    return LX_OK;
}

SETTER(group)
{
    if (v->given && !*v->text)
        return lx_fail(err, LX_EUSAGE, "a group has a name");
    f->facts->group = v->text;
    return LX_OK;
}

SETTER(fact)
{
    for (size_t i = 0; i < v->words.count; i++)
        if (!lx_record_is_fact(v->words.items[i]))
            return lx_fail(err, LX_EUSAGE, "'%s' is no fact; write KEY=VALUE",
                           v->words.items[i]);
    f->facts->facts = v->words;
    return LX_OK;
}

SETTER(stop_after_steps)
{
    if (!v->is_null && v->whole < 1)
        return lx_fail(err, LX_EUSAGE, "'%s' is no step to stop after", v->text);
    f->facts->stop_after_steps = v->is_null ? 0 : v->whole;
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
    if (v->whole < 0 || v->whole > 4096)
        return lx_fail(err, LX_EUSAGE, "'%s' is not between 0 (all) and 4096", v->text);
    f->config->threads = (int)v->whole;
    return LX_OK;
}

SETTER(encode_ahead)
{
    f->config->encode_ahead = strcmp(v->text, "true") == 0    ? LX_AHEAD_TRUE
                              : strcmp(v->text, "false") == 0 ? LX_AHEAD_FALSE
                                                              : LX_AHEAD_AUTO;
    return LX_OK;
}

SETTER(no_winograd)
{
    f->config->no_winograd = v->is_on;
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
    f->config->device = v->text;
    return LX_OK;
}

/* ---- together ------------------------------------------------------------------------------- */

static void note_zeros(lx_flags *f)
{
#define GIVEN(name) .name = !f->values[LX_AT_##name].is_null
    f->config->zeros = (lx_zeros_given){GIVEN(network_dropout), GIVEN(scale_weight_norms), GIVEN(noise_offset),
                                        GIVEN(adaptive_noise_scale), GIVEN(multires_noise_iterations),
                                        GIVEN(ip_noise_gamma), GIVEN(min_snr_gamma), GIVEN(min_timestep),
                                        GIVEN(max_timestep)};
#undef GIVEN
}

int lx_flags_resolve(lx_flags *f, lx_error *err)
{
    lx_train_config *c = f->config;
    uint32_t drawn;
    int rc;

    note_zeros(f);
    if (!c->unet_lr_given)
        c->unet_lr = c->learning_rate;
    if (!c->text_encoder_lr_given)
        c->text_encoder_lr = c->learning_rate;
    if (!c->seed_given) { /* 32 bits, as sd-scripts draws it */
        if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
            return lx_fail(err, LX_EIO, "the system gives no random seed; give --seed");
        c->seed = drawn;
    }
    c->data.seed = c->seed;
    if (!f->values[LX_AT_log_with].is_null && !c->logging_dir)
        return lx_fail(err, LX_EUSAGE,
                       "--log_with tensorboard needs --logging_dir FOLDER");
    if (c->dim_from_weights && !c->network_weights)
        return lx_fail(err, LX_EUSAGE, "--dim_from_weights needs --network_weights FILE");
    if ((rc = lx_flags_resolve_dataset(f, err)) < 0 ||
        (rc = lx_flags_resolve_network(f, err)) < 0 ||
        (rc = lx_flags_resolve_optimizer(f, err)) < 0)
        return rc;
    return lx_train_config_check(c, err);
}
