#include "src/train/metadata.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/base/scrub.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/python.h"
#include "src/data/facts.h"
#include "src/model/checkpoint.h"

void lx_metadata_init(lx_metadata *m, lx_arena *arena)
{
    *m = (lx_metadata){.arena = arena};
}

void lx_metadata_release(lx_metadata *m)
{
    lx_free(m->entries);
    *m = (lx_metadata){0};
}

static lx_metadata_entry *find(const lx_metadata *m, const char *key)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].key, key) == 0)
            return &m->entries[i];
    return NULL;
}

void lx_metadata_set(lx_metadata *m, const char *key, const char *value)
{
    lx_metadata_entry *entry = find(m, key);
    lx_str clean = LX_STR_INIT; /* a comment, a name or a path may hold a token */
    char *text;

    if (!value) {
        m->failed = true;
        return;
    }
    lx_scrub_text(&clean, value, strlen(value));
    text = clean.failed ? NULL : lx_arena_strdup(m->arena, lx_str_text(&clean));
    lx_str_release(&clean);
    if (!entry && text &&
        lx_grow(&m->entries, &m->capacity, m->count + 1, sizeof *m->entries) == 0 &&
        (m->entries[m->count].key = lx_arena_strdup(m->arena, key)))
        entry = &m->entries[m->count++];
    if (!entry || !text) {
        m->failed = true;
        return;
    }
    entry->value = text;
}

const char *lx_metadata_get(const lx_metadata *m, const char *key)
{
    const lx_metadata_entry *entry = find(m, key);
    return entry ? entry->value : NULL;
}

static void set_float(lx_metadata *m, const char *key, double x)
{
    char text[40];
    lx_python_float(text, x);
    lx_metadata_set(m, key, text);
}

static void set_int(lx_metadata *m, const char *key, int64_t x)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)x);
    lx_metadata_set(m, key, text);
}

static void set_bool(lx_metadata *m, const char *key, bool x)
{
    lx_metadata_set(m, key, x ? "True" : "False");
}

static void set_text(lx_metadata *m, const char *key, const char *x)
{
    lx_metadata_set(m, key, x ? x : "None");
}

/* 0 means that the flag was not given, but where is_given. */
static void set_float_or_none(lx_metadata *m, const char *key, double x, bool is_given)
{
    if (x != 0 || is_given)
        set_float(m, key, x);
    else
        lx_metadata_set(m, key, "None");
}

static void set_int_or_none(lx_metadata *m, const char *key, int64_t x)
{
    if (x != 0)
        set_int(m, key, x);
    else
        lx_metadata_set(m, key, "None");
}

static void set_steps_or_share(lx_metadata *m, const char *key, double x)
{
    if (x >= 1 || x == 0)
        set_int(m, key, (int64_t)x);
    else
        set_float(m, key, x < 0 ? 1.0 : x); /* LX_ALL_STEPS */
}

/* Features lx does not have: the peer writes their defaults, and readers expect the keys.
 */
static void set_absent_features(lx_metadata *m)
{
    static const char *const off[] = {"ss_full_fp16", "ss_fp8_base", "ss_fp8_base_unet",
                                      "ss_v2"};

    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        lx_metadata_set(m, off[i], "False");
}

static void set_network(lx_metadata *m, const lx_train_config *c)
{
    lx_metadata_set(m, "ss_network_module",
                    c->network.is_lycoris ? "lycoris.kohya" : "networks.lora");
    if (c->network_dim_given)
        set_int(m, "ss_network_dim", c->network.rank);
    else
        lx_metadata_set(m, "ss_network_dim", "None");
    if (c->network_alpha_given)
        set_float(m, "ss_network_alpha", c->network.alpha);
    else
        lx_metadata_set(m, "ss_network_alpha", "1");
    set_float_or_none(m, "ss_network_dropout", c->network.neuron_dropout, c->zeros.network_dropout);
    if (c->network_args)
        lx_metadata_set(m, "ss_network_args", c->network_args);
    lx_metadata_set(m, "ss_base_model_version",
                    c->v_parameterization ? "sd_v1_v" : "sd_v1");
}

/* "None" where the peer has forgotten the rate: not given, or the optimizer's own affair.
 */
static void set_rate(lx_metadata *m, const char *key, double rate, bool is_given)
{
    if (is_given)
        set_float(m, key, rate);
    else
        lx_metadata_set(m, key, "None");
}

static void set_optimizer(lx_metadata *m, const lx_train_config *c)
{
    const bool has_own_rate = lx_optimizer_has_own_rate(&c->optimizer);
    const char *name = lx_optimizer_class(c->optimizer.type);
    const char *with = c->optimizer_args
                           ? lx_arena_printf(m->arena, "%s(%s)", name, c->optimizer_args)
                           : name;
    const char *scheduler = lx_lr_scheduler_names[c->lr_scheduler];
    char rate[40];

    lx_python_float(rate, c->learning_rate);
    if (has_own_rate)
        scheduler = lx_arena_printf(m->arena, "adafactor:%s", rate);
    if (!with || !scheduler) {
        m->failed = true;
        return;
    }
    lx_metadata_set(m, "ss_optimizer", with);
    set_rate(m, "ss_learning_rate", c->learning_rate, !has_own_rate);
    set_rate(m, "ss_unet_lr", c->unet_lr, c->unet_lr_given && !has_own_rate);
    set_rate(m, "ss_text_encoder_lr", c->text_encoder_lr,
             c->text_encoder_lr_given && !has_own_rate);
    lx_metadata_set(m, "ss_lr_scheduler", scheduler);
    set_steps_or_share(m, "ss_lr_warmup_steps", c->lr_warmup_steps);
    set_float(m, "ss_max_grad_norm", c->max_grad_norm);
    set_float_or_none(m, "ss_scale_weight_norms", c->scale_weight_norms, c->zeros.scale_weight_norms);
    set_int(m, "ss_gradient_accumulation_steps", c->gradient_accumulation_steps);
    set_bool(m, "ss_gradient_checkpointing", c->gradient_checkpointing);
    set_bool(m, "ss_lowram", c->lowram);
    set_text(m, "ss_mixed_precision", c->mixed_precision);
}

static void set_loss(lx_metadata *m, const lx_train_config *c)
{
    static const char *const losses[] = {"l2", "l1", "huber", "smooth_l1"};
    static const char *const schedules[] = {"snr", "constant", "exponential"};

    set_float_or_none(m, "ss_noise_offset", c->noise_offset, c->zeros.noise_offset);
    set_bool(m, "ss_noise_offset_random_strength", c->noise_offset_random_strength);
    set_float_or_none(m, "ss_adaptive_noise_scale", c->adaptive_noise_scale, c->zeros.adaptive_noise_scale);
    if (c->zeros.multires_noise_iterations)
        set_int(m, "ss_multires_noise_iterations", c->multires_noise_iterations);
    else
        set_int_or_none(m, "ss_multires_noise_iterations", c->multires_noise_iterations);
    set_float(m, "ss_multires_noise_discount", c->multires_noise_discount);
    set_float_or_none(m, "ss_ip_noise_gamma", c->ip_noise_gamma, c->zeros.ip_noise_gamma);
    set_bool(m, "ss_ip_noise_gamma_random_strength", c->ip_noise_gamma_random_strength);
    set_bool(m, "ss_zero_terminal_snr", c->zero_terminal_snr);
    set_float_or_none(m, "ss_min_snr_gamma", c->min_snr_gamma, c->zeros.min_snr_gamma);
    set_bool(m, "ss_debiased_estimation", c->debiased_estimation_loss);
    lx_metadata_set(m, "ss_loss_type", losses[c->loss_type]);
    lx_metadata_set(m, "ss_huber_schedule", schedules[c->huber_schedule]);
    set_float(m, "ss_huber_c", c->huber_c);
    set_float(m, "ss_huber_scale", c->huber_scale);
    set_float(m, "ss_prior_loss_weight", c->prior_loss_weight);
}

static void set_validation(lx_metadata *m, const lx_train_config *c,
                           const lx_dataset *dataset)
{
    const lx_dataset_config *d = &c->data;

    set_int(m, "ss_num_validation_images", (int64_t)dataset->n_held_out);
    set_float(m, "ss_validation_split", d->validation_split);
    if (d->validation_seed_given)
        set_int(m, "ss_validation_seed", d->validation_seed);
    else
        lx_metadata_set(m, "ss_validation_seed", "None");
    set_int_or_none(m, "ss_max_validation_steps", c->max_validation_steps);
    set_int_or_none(m, "ss_validate_every_n_epochs", c->validate_every_n_epochs);
    set_int_or_none(m, "ss_validate_every_n_steps", c->validate_every_n_steps);
}

/* The peer writes the flag, whatever a dataset_config says. */
static void set_face_crop(lx_metadata *m, const lx_dataset_config *d)
{
    char low[40], high[40], text[96];

    lx_python_float(low, d->face_crop_aug_range[0]);
    lx_python_float(high, d->face_crop_aug_range[1]);
    snprintf(text, sizeof text, "(%s, %s)", low, high);
    lx_metadata_set(m, "ss_face_crop_aug_range",
                    d->face_crop_aug_range[1] != 0 ? text : "None");
}

static void set_data(lx_metadata *m, const lx_dataset_config *d)
{
    set_text(m, "ss_resize_interpolation", d->resize_interpolation);
    set_bool(m, "ss_cache_latents", d->cache_latents);
    set_face_crop(m, d);
    set_float(m, "ss_caption_dropout_rate", d->caption_dropout_rate);
    set_int(m, "ss_caption_dropout_every_n_epochs", d->caption_dropout_every_n_epochs);
    set_float(m, "ss_caption_tag_dropout_rate", d->caption_tag_dropout_rate);
    lx_metadata_set(m, "lx.caption_extension", d->caption_extension);
}

/* Of all datasets together only without a dataset_config; else ss_datasets says it of each. */
static void set_images(lx_metadata *m, const lx_train_config *config,
                       const lx_dataset *dataset)
{
    const lx_data_part *part = &dataset->parts[0];
    const lx_dataset_config *d = part->config;
    char text[64];

    if (dataset->config.has_dataset_config)
        return;
    set_bool(m, "ss_shuffle_caption", d->shuffle_caption);
    set_int(m, "ss_keep_tokens", d->keep_tokens);
    snprintf(text, sizeof text, "(%d, %d)", d->width, d->height);
    lx_metadata_set(m, "ss_resolution", text);
    set_bool(m, "ss_color_aug", d->color_aug);
    set_bool(m, "ss_flip_aug", d->flip_aug);
    set_bool(m, "ss_random_crop", d->random_crop);
    set_bool(m, "ss_enable_bucket", d->enable_bucket);
    set_bool(m, "ss_bucket_no_upscale", d->bucket_no_upscale);
    if (d->enable_bucket) {
        set_int(m, "ss_min_bucket_reso", part->min_bucket_reso);
        set_int(m, "ss_max_bucket_reso", part->max_bucket_reso);
    } else {
        lx_metadata_set(m, "ss_min_bucket_reso", "None");
        lx_metadata_set(m, "ss_max_bucket_reso", "None");
    }
    set_int(m, "ss_batch_size_per_device", d->batch_size);
    set_int(m, "ss_total_batch_size",
            (int64_t)d->batch_size * config->gradient_accumulation_steps);
}

/* What a later reader of the images must know. */
static void set_turned(lx_metadata *m, const lx_dataset *dataset)
{
    for (size_t i = 0; i < dataset->n_images; i++)
        if (dataset->images[i].orientation > 1) {
            lx_metadata_set(m, "lx.exif", "applied");
            return;
        }
}

static int set_dataset_facts(lx_metadata *m, const lx_dataset *dataset, lx_error *err)
{
    lx_dataset_facts facts;
    int rc = lx_dataset_facts_of(&facts, dataset, m->arena, err);
    if (rc < 0)
        return rc;
    set_int(m, "ss_num_train_images", facts.n_train_images);
    set_int(m, "ss_num_reg_images", facts.n_reg_images);
    lx_metadata_set(m, "ss_dataset_dirs", facts.dataset_dirs);
    lx_metadata_set(m, "ss_tag_frequency", facts.tag_frequency);
    if (dataset->config.has_dataset_config)
        lx_metadata_set(m, "ss_datasets", facts.datasets);
    if (dataset->config.has_dataset_config) /* ss_datasets has them */
        return LX_OK;
    lx_metadata_set(m, "ss_reg_dataset_dirs", facts.reg_dataset_dirs);
    lx_metadata_set(m, "ss_bucket_info", facts.bucket_info);
    return LX_OK;
}

static int set_model(lx_metadata *m, const char *path, const char *name_key,
                     const char *old_key, const char *new_key, lx_error *err)
{
    char old_hash[9], sha256[LX_HASH_HEX + 1];
    int rc = lx_checkpoint_hashes(old_hash, sha256, path, err);
    if (rc < 0)
        return rc;
    lx_metadata_set(m, name_key, lx_path_base(path));
    if (old_hash[0])
        lx_metadata_set(m, old_key, old_hash);
    if (sha256[0])
        lx_metadata_set(m, new_key, sha256);
    return LX_OK;
}

static void set_modelspec(lx_metadata *m, const lx_train_config *c)
{
    const struct {
        const char *key, *value;
    } given[] = {{"modelspec.author", c->metadata_author},
                 {"modelspec.description", c->metadata_description},
                 {"modelspec.license", c->metadata_license},
                 {"modelspec.tags", c->metadata_tags},
                 {"modelspec.usage_hint", c->metadata_usage_hint},
                 {"modelspec.thumbnail", c->metadata_thumbnail},
                 {"modelspec.merged_from", c->metadata_merged_from},
                 {"modelspec.trigger_phrase", c->metadata_trigger_phrase},
                 {"modelspec.preprocessor", c->metadata_preprocessor},
                 {"modelspec.is_negative_embedding", c->metadata_is_negative_embedding}};
    char text[64];

    lx_metadata_set(m, "modelspec.sai_model_spec", "1.0.1");
    lx_metadata_set(m, "modelspec.architecture", "stable-diffusion-v1/lora");
    lx_metadata_set(m, "modelspec.implementation", "diffusers");
    lx_metadata_set(m, "modelspec.implementation_version", "lx/" LX_VERSION);
    lx_metadata_set(m, "modelspec.prediction_type",
                    c->v_parameterization ? "v" : "epsilon");
    snprintf(text, sizeof text, "%dx%d", c->data.width, c->data.height);
    lx_metadata_set(m, "modelspec.resolution", text);
    lx_metadata_set(m, "modelspec.title",
                    c->metadata_title ? c->metadata_title
                    : c->output_name  ? c->output_name
                                      : "LoRA");
    if (c->clip_skip)
        set_int(m, "modelspec.encoder_layer", c->clip_skip);
    if (c->min_timestep != 0 || c->max_timestep != 1000 || c->zeros.min_timestep || c->zeros.max_timestep) {
        snprintf(text, sizeof text, "%d,%d", c->min_timestep, c->max_timestep);
        lx_metadata_set(m, "modelspec.timestep_range", text);
    }
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i].value)
            lx_metadata_set(m, given[i].key, given[i].value);
}

static void set_identity(lx_metadata *m, const lx_train_identity *identity)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)identity->session_id);
    lx_metadata_set(m, "ss_session_id", text);
    lx_metadata_set(m, "ss_training_started_at", identity->started_at);
    lx_metadata_set(m, "lx.version", LX_VERSION);
    if (identity->run_id)
        lx_metadata_set(m, "lx.run_id", identity->run_id);
    if (identity->spec_hash)
        lx_metadata_set(m, "lx.spec_hash", identity->spec_hash);
}

int lx_metadata_of_settings(lx_metadata *m, const lx_train_config *c,
                            const lx_dataset *dataset, const lx_step_count *steps,
                            const lx_train_identity *identity, lx_error *err)
{
    int rc;

    set_identity(m, identity);
    set_absent_features(m);
    set_network(m, c);
    set_optimizer(m, c);
    set_loss(m, c);
    set_data(m, &dataset->config);
    set_images(m, c, dataset);
    set_validation(m, c, dataset);
    set_turned(m, dataset);
    set_modelspec(m, c);
    set_int(m, "ss_num_batches_per_epoch", steps->batches_per_epoch);
    set_int(m, "ss_num_epochs", steps->epochs);
    set_int(m, "ss_max_train_steps", steps->total_steps);
    set_int_or_none(m, "ss_clip_skip", c->clip_skip);
    if (c->max_token_length != 75)
        set_int(m, "ss_max_token_length", c->max_token_length);
    else
        lx_metadata_set(m, "ss_max_token_length", "None");
    lx_metadata_set(m, "ss_seed",
                    lx_arena_printf(m->arena, "%llu", (unsigned long long)c->seed));
    set_text(m, "ss_output_name", c->output_name);
    set_text(m, "ss_training_comment", c->training_comment);
    /* Not trained by the peer: the key stays so that readers find it, and says who did.
     */
    lx_metadata_set(m, "ss_sd_scripts_commit_hash", "(unknown)");
    if ((rc = set_dataset_facts(m, dataset, err)) < 0)
        return rc;
    return m->failed ? lx_oom(err) : LX_OK;
}

int lx_metadata_of_training(lx_metadata *m, const lx_train_config *c,
                            const lx_dataset *dataset, const lx_step_count *steps,
                            const lx_train_identity *identity, lx_error *err)
{
    int rc;

    if ((rc = lx_metadata_of_settings(m, c, dataset, steps, identity, err)) < 0 ||
        (rc = set_model(m, c->pretrained_model_name_or_path, "ss_sd_model_name",
                        "ss_sd_model_hash", "ss_new_sd_model_hash", err)) < 0)
        return rc;
    if (c->vae && (rc = set_model(m, c->vae, "ss_vae_name", "ss_vae_hash",
                                  "ss_new_vae_hash", err)) < 0)
        return rc;
    return m->failed ? lx_oom(err) : LX_OK;
}

void lx_metadata_of_weights(lx_metadata *m, const lx_train_config *c, const lx_lora *lora)
{
    const lx_lora_module *first = NULL;
    bool is_one_rank = true, is_one_alpha = true;

    for (size_t i = 0; i < lora->count; i++) {
        const lx_lora_module *module = &lora->modules[i];
        if (module->is_conv)
            continue;
        first = first ? first : module;
        is_one_rank &= module->rank == first->rank;
        is_one_alpha &= module->alpha == first->alpha;
    }
    if (!c->network_weights || !first)
        return;
    if (is_one_rank)
        set_int(m, "ss_network_dim", first->rank);
    else
        lx_metadata_set(m, "ss_network_dim", "Dynamic");
    if (is_one_alpha)
        set_float(m, "ss_network_alpha", (double)first->alpha);
    else
        lx_metadata_set(m, "ss_network_alpha", "Dynamic");
}

double lx_metadata_time(void)
{
    struct timespec t;
    long micro;

    clock_gettime(CLOCK_REALTIME, &t);
    micro = t.tv_nsec / 1000;
    return (double)t.tv_sec + (double)(micro % 10 ? micro : micro + 1) * 1e-6;
}

void lx_metadata_of_save(lx_metadata *m, const lx_train_config *c, int epoch,
                         int64_t step, double finished_at)
{
    time_t now = (time_t)finished_at;
    struct tm local;
    char text[64];

    set_int(m, "ss_epoch", epoch);
    set_int(m, "ss_steps", step);
    set_float(m, "ss_training_finished_at", finished_at);
    if (localtime_r(&now, &local)) {
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &local);
        lx_metadata_set(m, "modelspec.date", text);
    }
}

void lx_metadata_reduce(lx_metadata *m)
{
    static const char *const kept[] = {
        "ss_v2",          "ss_base_model_version", "ss_network_module",
        "ss_network_dim", "ss_network_alpha",      "ss_network_args"};
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        bool keeps = lx_starts_with(m->entries[i].key, "modelspec.");
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
            keeps = keeps || strcmp(m->entries[i].key, kept[k]) == 0;
        if (keeps)
            m->entries[n++] = m->entries[i];
    }
    m->count = n;
}
