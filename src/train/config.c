#include "src/train/config.h"

#include <string.h>

void lx_train_config_defaults(lx_train_config *c)
{
    memset(c, 0, sizeof *c);
    lx_dataset_config_defaults(&c->data);
    c->save_dtype = LX_F32;
    c->save_model_as = "safetensors";
    c->mixed_precision = "no";
    c->sample_sampler = "ddim";
    c->autosave_minutes = 10;
    c->max_data_loader_n_workers = 8;
    c->network = (lx_lora_spec){.rank = 4,
                                .alpha = 1,
                                .conv_alpha = 1,
                                .has_unet = true,
                                .has_text_encoder = true};
    c->learning_rate = c->unet_lr = c->text_encoder_lr = 2e-6;
    lx_optimizer_defaults(&c->optimizer, LX_OPTIMIZER_ADAMW);
    c->max_grad_norm = 1.0;
    c->lr_scheduler = LX_LR_CONSTANT;
    c->lr_scheduler_num_cycles = 1;
    c->lr_scheduler_power = 1;
    c->lr_scheduler_min_lr_ratio = -1;
    c->max_train_steps = 1600;
    c->gradient_accumulation_steps = 1;
    c->max_token_length = 75;
    c->prior_loss_weight = 1;
    c->max_timestep = 1000;
    c->multires_noise_discount = 0.3;
    c->loss_type = LX_LOSS_L2;
    c->huber_schedule = LX_HUBER_SNR;
    c->huber_c = 0.1;
    c->huber_scale = 1;
}

bool lx_train_is_on_gpu(const lx_train_config *c)
{
    return c->device && strncmp(c->device, "cuda", 4) == 0;
}

bool lx_train_has_two_teams(const lx_train_config *c, int cores)
{
    return c->threads > 0 && c->threads <= cores / 2;
}

bool lx_train_encodes_ahead(const lx_train_config *c, int cores)
{
    const bool is_wanted = c->encode_ahead == LX_AHEAD_AUTO
                               ? lx_train_has_two_teams(c, cores)
                               : c->encode_ahead == LX_AHEAD_TRUE;

    return is_wanted && !c->data.cache_latents && c->max_data_loader_n_workers > 0 &&
           !lx_train_is_on_gpu(c);
}

lx_precision lx_train_precision(const lx_train_config *c)
{
    lx_precision precision = LX_PRECISION_F32;

    lx_precision_find(&precision, c->mixed_precision, NULL); /* checked as a flag */
    return precision;
}

lx_dtype lx_train_narrow(const lx_train_config *c, const lx_device *dev)
{
    return lx_precision_narrow(lx_train_precision(c), dev);
}

lx_arithmetic lx_train_arithmetic(const lx_train_config *c)
{
    lx_arithmetic arithmetic = lx_precision_arithmetic(lx_train_precision(c));

    arithmetic.no_winograd = c->no_winograd;
    return arithmetic;
}

static bool is_share(double p)
{
    return p >= 0 && p < 1;
}

/* Each row is a claim that must hold and what to say when it does not. */
static int check_numbers(const lx_train_config *c, lx_error *err)
{
    const struct {
        bool holds;
        const char *text;
    } claims[] = {
        {c->network.rank >= 1 && c->network.rank <= 4096,
         "--network_dim must be between 1 and 4096"},
        {c->network.alpha >= 0, "--network_alpha must not be negative"},
        {c->network.conv_rank >= 0 && c->network.conv_rank <= 4096,
         "--network_args conv_dim must be between 0 and 4096"},
        {c->gradient_accumulation_steps >= 1,
         "--gradient_accumulation_steps must be at least 1"},
        {c->max_train_epochs >= 0, "--max_train_epochs must not be negative"},
        {c->max_train_epochs > 0 || c->max_train_steps >= 1,
         "--max_train_steps must be at least 1"},
        {c->max_grad_norm >= 0,
         "--max_grad_norm must not be negative (0 turns clipping off)"},
        {c->learning_rate >= 0, "--learning_rate must not be negative"},
        {c->unet_lr >= 0, "--unet_lr must not be negative"},
        {c->text_encoder_lr >= 0, "--text_encoder_lr must not be negative"},
        {c->min_snr_gamma >= 0, "--min_snr_gamma must not be negative (0 turns it off)"},
        {c->ip_noise_gamma >= 0, "--ip_noise_gamma must not be negative (0 turns it off)"},
        {c->v_pred_like_loss >= 0,
         "--v_pred_like_loss must not be negative (0 turns it off)"},
        {c->huber_c > 0, "--huber_c must be above 0"},
        {c->scale_weight_norms >= 0,
         "--scale_weight_norms must not be negative (0 turns it off)"},
        {c->clip_skip >= 0, "--clip_skip must not be negative"},
        {c->max_data_loader_n_workers >= 0,
         "--max_data_loader_n_workers must not be negative"},
        {c->autosave_minutes >= 0,
         "--autosave_minutes must not be negative (0 turns it off)"},
        {c->max_token_length == 75 || c->max_token_length == 150 ||
             c->max_token_length == 225,
         "--max_token_length must be 150 or 225 (75 when it is left out)"},
        {c->min_timestep >= 0 && c->max_timestep <= 1000 &&
             c->min_timestep <= c->max_timestep && c->min_timestep < 1000,
         "--min_timestep and --max_timestep must lie in 0..1000, the first not above the "
         "second"},
        {is_share(c->network.neuron_dropout),
         "--network_dropout must be at least 0 and below 1"},
        {is_share(c->network.rank_dropout),
         "--network_args rank_dropout must be at least 0 and below 1"},
        {is_share(c->network.module_dropout),
         "--network_args module_dropout must be at least 0 and below 1"},
    };
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++)
        if (!claims[i].holds)
            return lx_fail(err, LX_EUSAGE, "%s", claims[i].text);
    return LX_OK;
}

/* A name becomes that of files: NAME-step00000200.safetensors, NAME-autosave, NAME_20260101..._00_7.png. */
static int check_name(const lx_train_config *c, lx_error *err)
{
    enum { MOST = 200 }; /* bytes; file systems have 255 for a name */
    const char *name = c->output_name;

    if (!name)
        return LX_OK;
    if (!*name)
        return lx_fail(err, LX_EUSAGE,
                       "--output_name is empty: give the files a name, or leave it out "
                       "(last.safetensors)");
    if (strchr(name, '/'))
        return lx_fail(err, LX_EUSAGE,
                       "--output_name %s: a name of files has no slash (--output_dir "
                       "names their folder)",
                       name);
    if (strlen(name) > MOST)
        return lx_fail(err, LX_EUSAGE,
                       "--output_name has %zu bytes, and at most %d leave room for "
                       "numbers and endings of files",
                       strlen(name), MOST);
    return LX_OK;
}

/* A rate after all others that are not 0: they must be one. */
static bool is_one_rate(double *rate, double other)
{
    if (*rate == 0)
        *rate = other;
    return other == 0 || other == *rate;
}

/* LoRA+ and weights of blocks make several rates of one. */
static bool has_one_rate(const lx_train_config *c)
{
    const lx_lora_spec *s = &c->network;
    const double text_plus = s->text_plus != 0 ? s->text_plus : 1;
    const double unet_plus = s->unet_plus != 0 ? s->unet_plus : 1;
    double rate = 0;
    bool is_one = true;

    if (s->has_text_encoder)
        is_one = is_one_rate(&rate, c->text_encoder_lr) &&
                 is_one_rate(&rate, c->text_encoder_lr * text_plus);
    for (int i = 0; s->has_unet && i < LX_LORA_BLOCKS; i++) {
        const double lr = c->unet_lr * (s->has_block_lr ? s->block_lr[i] : 1);
        is_one = is_one && is_one_rate(&rate, lr) && is_one_rate(&rate, lr * unet_plus);
    }
    return is_one;
}

/* Adaptive optimizers have one distance for all tensors, and so one rate. */
static int check_optimizer(const lx_train_config *c, lx_error *err)
{
    const lx_optimizer_config *o = &c->optimizer;
    const bool has_both = c->network.has_unet && c->network.has_text_encoder;

    if (lx_optimizer_is_adaptive(o->type) && has_both && c->unet_lr != 0 &&
        c->text_encoder_lr != 0 && c->unet_lr != c->text_encoder_lr)
        return lx_fail(err, LX_EUSAGE,
                       "--optimizer_type %s finds one rate for all: --unet_lr %g and "
                       "--text_encoder_lr %g must be equal, or one of them 0",
                       lx_optimizer_name(o->type), c->unet_lr, c->text_encoder_lr);
    if (lx_optimizer_is_adaptive(o->type) && !has_one_rate(c))
        return lx_fail(err, LX_EUSAGE,
                       "--optimizer_type %s finds one rate for all: leave out LoRA+ and "
                       "weights of blocks (--network_args) that make several of it",
                       lx_optimizer_name(o->type));
    if (o->decoupled_weight_decay && !(o->initial_lr > 0))
        return lx_fail(err, LX_EUSAGE,
                       "--optimizer_args decoupled_weight_decay divides by "
                       "--learning_rate, which must be above 0");
    if (o->type == LX_OPTIMIZER_SGD_SCHEDULE_FREE && !(o->momentum > 0))
        return lx_fail(err, LX_EUSAGE,
                       "--optimizer_args momentum must be above 0 for SGDScheduleFree");
    if (o->warmup_init && !o->relative_step)
        return lx_fail(err, LX_EUSAGE,
                       "--optimizer_args warmup_init needs relative_step");
    return LX_OK;
}

/* One that has a rank, or convolutions that have, and a rate. */
static bool has_a_block(const lx_lora_spec *s)
{
    bool has_one = false;

    for (int i = 0; i < LX_LORA_BLOCKS; i++) {
        const bool has_rank = !s->has_block_ranks || s->block_rank[i] > 0 || (s->has_conv && s->conv_block_rank[i] > 0);
        has_one |= has_rank && (!s->has_block_lr || s->block_lr[i] != 0);
    }
    return has_one;
}

/* A part whose rate is 0 is not trained (src/train/step.c), nor is a UNet without blocks; one must be left. */
static int check_rates(const lx_train_config *c, lx_error *err)
{
    const bool has_unet = c->network.has_unet, has_text = c->network.has_text_encoder;
    const char *unet = c->unet_lr_given ? "--unet_lr" : "--learning_rate";
    const char *text = c->text_encoder_lr_given ? "--text_encoder_lr" : "--learning_rate";

    if ((has_unet && c->unet_lr != 0 && has_a_block(&c->network)) || (has_text && c->text_encoder_lr != 0))
        return LX_OK;
    if (has_unet && c->unet_lr != 0)
        return lx_fail(err, LX_EUSAGE,
                       "nothing would be trained: %s (--network_args) are 0 for every block of the UNet, and the text "
                       "encoder is %s",
                       !c->network.has_block_lr     ? "block_dims"
                       : !c->network.has_block_dims ? "down_lr_weight, mid_lr_weight and up_lr_weight"
                                                    : "block_dims or the weights of rates",
                       has_text ? "not trained either" : "left out");
    if (has_unet && has_text && unet != text)
        return lx_fail(err, LX_EUSAGE,
                       "nothing would be trained: %s is 0 for the UNet, and %s for the text encoder; one must be "
                       "above 0",
                       unet, text);
    return lx_fail(err, LX_EUSAGE, "nothing would be trained: %s is 0 for %s; it must be above 0",
                   has_unet ? unet : text,
                   !has_text   ? "the UNet, and the text encoder is left out"
                   : !has_unet ? "the text encoder, and the UNet is left out"
                               : "both the UNet and the text encoder");
}

int lx_train_config_check(const lx_train_config *c, lx_error *err)
{
    int rc = check_numbers(c, err);
    if (rc < 0 || (rc = check_name(c, err)) < 0 || (rc = check_optimizer(c, err)) < 0)
        return rc;
    if (!c->network.has_unet && !c->network.has_text_encoder)
        return lx_fail(
            err, LX_EUSAGE,
            "--network_train_unet_only and --network_train_text_encoder_only exclude "
            "each other: nothing would be trained");
    if ((rc = check_rates(c, err)) < 0)
        return rc;
    if (!c->sample_prompts && (c->sample_every_n_steps > 0 ||
                               c->sample_every_n_epochs > 0 || c->sample_at_first))
        return lx_fail(err, LX_EUSAGE, "sample images need --sample_prompts FILE");
    if (c->encode_ahead == LX_AHEAD_TRUE && c->max_data_loader_n_workers == 0)
        return lx_fail(err, LX_EUSAGE,
                       "--encode_ahead true needs the thread that "
                       "--max_data_loader_n_workers 0 leaves out");
    if (c->adaptive_noise_scale != 0 && c->noise_offset == 0)
        return lx_fail(err, LX_EUSAGE, "--adaptive_noise_scale needs --noise_offset");
    if (c->scale_v_pred_loss_like_noise_pred && !c->v_parameterization)
        return lx_fail(err, LX_EUSAGE,
                       "--scale_v_pred_loss_like_noise_pred needs --v_parameterization");
    if (c->v_pred_like_loss > 0 && c->v_parameterization)
        return lx_fail(err, LX_EUSAGE,
                       "--v_pred_like_loss cannot be used with --v_parameterization");
    return LX_OK;
}

bool lx_train_has_integer_alpha(const lx_train_config *c)
{
    return !c->network_alpha_given && !c->save_dtype_given && !c->network.is_lycoris &&
           !c->dim_from_weights;
}

lx_schedule lx_train_schedule(const lx_train_config *c, int64_t total)
{
    if (lx_optimizer_has_own_rate(&c->optimizer) ||
        lx_optimizer_has_own_schedule(&c->optimizer))
        return (lx_schedule){.kind = LX_LR_CONSTANT,
                             .total = total,
                             .cycles = 1,
                             .power = 1,
                             .learning_rate = c->learning_rate,
                             .min_lr_ratio = -1};
    return (lx_schedule){
        .kind = c->lr_scheduler,
        .total = total,
        .warmup = lx_schedule_steps(c->lr_warmup_steps, total),
        .decay = lx_schedule_steps(c->lr_decay_steps, total),
        .cycles = c->lr_scheduler_num_cycles,
        .power = c->lr_scheduler_power,
        .learning_rate = c->learning_rate,
        .timescale = c->lr_scheduler_timescale,
        .min_lr_ratio = c->lr_scheduler_min_lr_ratio,
        .rules = c->lr_rules,
    };
}
