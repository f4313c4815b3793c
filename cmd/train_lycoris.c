/* --network_module lycoris.kohya: its --network_args, and what to use for what is not here. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd/train_flag.h"
#include "src/base/str.h"
#include "src/lora/lycoris.h"

/* LyCORIS' str_bool: everything but "false" is true. */
static bool is_on(const char *value)
{
    return strcasecmp(value, "false") != 0;
}

/* ---- what else there is --------------------------------------------------------------- */

/* Names and sentences between which stands what to write instead. */
typedef struct instead {
    const char *name, *sentence;
} instead;

static const instead modules[] = {
    {"networks.dylora", "it trains all ranks up to --network_dim in turn; use "
                        "networks.lora and cut the file to "
                        "any rank afterwards with lx resize"},
    {"networks.lora_fa",
     "it trains the ups alone to save memory; use networks.lora and --max_memory"},
    {"networks.oft",
     "it rotates weights; use lycoris.kohya with --network_args algo=lokr"},
    {"networks.control_net_lllite", "it trains a control network; lx trains LoRAs"},
    {"networks.control_net_lllite_for_train",
     "it trains a control network; lx trains LoRAs"},
    {"lycoris.locon",
     "it is the old name; use lycoris.kohya with --network_args algo=locon"},
    {"locon.locon_kohya",
     "it is the old name; use lycoris.kohya with --network_args algo=locon"},
    {"lycoris", "use lycoris.kohya"},
    {"networks.loha", "use lycoris.kohya with --network_args algo=loha"},
    {"networks.lokr", "use lycoris.kohya with --network_args algo=lokr"},
};

static const instead algos[] = {
    {"full",
     "it trains the weights themselves; use algo=lokr full_matrix=True factor=4, which "
     "comes nearest"},
    {"ia3", "it scales activations; use algo=lora preset=attn-mlp"},
    {"dylora",
     "it trains all ranks in turn; use algo=lora and cut the file with lx resize"},
    {"glora", "it depends on the base weights; use algo=lora or algo=loha"},
    {"diag-oft", "it rotates weights; use algo=lokr"},
    {"boft", "it rotates weights; use algo=lokr"},
    {"tlora", "its rank depends on the timestep; use algo=lora"},
};

static const instead switches[] = {
    {"use_tucker",
     "cores of 3x3 convolutions are not trained; leave it out, and use a smaller "
     "conv_dim to save as much"},
    {"use_cp", "it is use_tucker's old name, and cores are not trained; leave it out"},
    {"use_conv_cp",
     "it is use_tucker's old name, and cores are not trained; leave it out"},
    {"use_scalar",
     "a factor that begins as zeros does what the scalar is for; leave it out"},
    {"train_norm",
     "norms are not trained; leave it out, or preset=full to train more layers"},
    {"dora_wd",
     "magnitudes are not trained (DoRA); leave it out, algo=loha and algo=lokr are "
     "the stronger families"},
    {"bypass_mode",
     "the change is computed in one way here, with the same result; leave it out"},
    {"rescaled", "it is of algo=diag-oft; leave it out"},
    {"train_t5xxl", "Stable Diffusion 1.x has no T5; leave it out"},
    {"train_llm_adapter", "Stable Diffusion 1.x has no such adapter; leave it out"},
};

static const char *sentence_of(const instead *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].sentence;
    return NULL;
}

#define SENTENCE(list, name) sentence_of(list, sizeof(list) / sizeof *(list), name)

int lx_set_network_module(lx_flags *f, const lx_flag_value *v, lx_error *err)
{
    const char *sentence;

    f->config->network.is_lycoris = !v->is_null && strcmp(v->text, "lycoris.kohya") == 0;
    if (v->is_null || f->config->network.is_lycoris ||
        strcmp(v->text, "networks.lora") == 0)
        return LX_OK;
    if ((sentence = SENTENCE(modules, v->text)))
        return lx_fail(err, LX_EUNSUPPORTED, "'%s' is not in lx: %s", v->text, sentence);
    if (lx_starts_with(v->text, "networks.lora_") ||
        lx_starts_with(v->text, "networks.oft_"))
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "'%s' is for another kind of model: lx trains Stable Diffusion 1.x, "
            "with networks.lora",
            v->text);
    return lx_fail(err, LX_EUNSUPPORTED,
                   "'%s' is not in lx: networks.lora is, and lycoris.kohya with "
                   "--network_args algo=lora, locon, loha or lokr",
                   v->text);
}

/* ---- the pairs -------------------------------------------------------------------------- */

static int take_algo(lx_lora_spec *s, const char *value, lx_error *err)
{
    const char *sentence;

    if (strcasecmp(value, "lora") == 0 || strcasecmp(value, "locon") == 0)
        s->kind = LX_KIND_LORA;
    else if (strcasecmp(value, "loha") == 0)
        s->kind = LX_KIND_LOHA;
    else if (strcasecmp(value, "lokr") == 0)
        s->kind = LX_KIND_LOKR;
    else if ((sentence = SENTENCE(algos, value)))
        return lx_fail(err, LX_EUNSUPPORTED, "algo=%s is not in lx: %s", value, sentence);
    else
        return lx_fail(err, LX_EUSAGE, "algo=%s is none of lora, locon, loha and lokr",
                       value);
    return LX_OK;
}

static int take_preset(lx_lora_spec *s, const char *value, lx_error *err)
{
    const int preset = lx_lycoris_preset_of(value);

    if (preset < 0)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "preset=%s is none of full, full-lin, attn-mlp, attn-only, unet-only, "
            "unet-transformer-only and unet-convblock-only%s",
            value,
            lx_ends_with(value, ".toml")
                ? " (files with presets are not read: use the nearest of these)"
                : "");
    s->preset = (lx_lycoris_preset)preset;
    return LX_OK;
}

static int take_number(double *out, const char *value, double least, double most,
                       lx_error *err)
{
    int rc = lx_parse_number(out, value, err);

    if (rc == LX_OK && !(*out >= least && *out <= most))
        rc = lx_fail(err, LX_EUSAGE, "'%s' is not between %g and %g", value, least, most);
    return rc;
}

static int take_whole(int *out, const char *value, int least, int most, lx_error *err)
{
    int64_t whole;
    int rc = lx_parse_int(&whole, value, err);

    if (rc == LX_OK && (whole < least || whole > most))
        rc = lx_fail(err, LX_EUSAGE, "'%s' is not between %d and %d", value, least, most);
    *out = rc == LX_OK ? (int)whole : 0;
    return rc;
}

static int take_ratio(double *out, const char *value, lx_error *err)
{
    return take_number(out, value, 1e-6, 1e6, err);
}

/* LyCORIS computes with it only where lx does not compute as it does. */
static int take_dropout(const char *value, lx_error *err)
{
    double share;

    if (strcmp(value, "None") == 0 ||
        (lx_parse_number(&share, value, err) == LX_OK && share == 0))
        return LX_OK;
    return lx_fail(err, LX_EUNSUPPORTED,
                   "lycoris.kohya takes it and does nothing with it; use rank_dropout or "
                   "module_dropout");
}

static const char *const names[] = {
    "algo",
    "preset",
    "conv_dim",
    "conv_alpha",
    "factor",
    "decompose_both",
    "full_matrix",
    "unbalanced_factorization",
    "rs_lora",
    "dropout",
    "rank_dropout",
    "module_dropout",
    "loraplus_lr_ratio",
    "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio",
};

bool lx_flags_is_of_lycoris(const char *key)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], key) == 0)
            return true;
    return SENTENCE(switches, key) != NULL;
}

static int fail_name(const char *key, lx_error *err)
{
    const char *nearest = names[0];

    for (size_t i = 1; i < sizeof names / sizeof *names; i++)
        if (lx_name_distance(key, names[i]) < lx_name_distance(key, nearest))
            nearest = names[i];
    return lx_flags_fail_argument("lycoris.kohya", key, nearest, err);
}

int lx_flags_take_lycoris(lx_lora_spec *s, const char *key, const char *value,
                          lx_error *err)
{
    const char *sentence = SENTENCE(switches, key);
    enum { MOST = 4096 };

    if (sentence)
        return is_on(value) ? lx_fail(err, LX_EUNSUPPORTED, "%s", sentence) : LX_OK;
    if (strcmp(key, "disable_conv_cp") == 0 || strcmp(key, "wd_on_output") == 0 ||
        strcmp(key, "block_size") == 0 || strcmp(key, "constraint") == 0)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "it says how to do what lx does not: leave it out");
    if (strcmp(key, "algo") == 0)
        return take_algo(s, value, err);
    if (strcmp(key, "preset") == 0)
        return take_preset(s, value, err);
    if (strcmp(key, "conv_dim") == 0)
        return take_whole(&s->conv_rank, value, 0, MOST, err);
    if (strcmp(key, "conv_alpha") == 0)
        return take_number(&s->conv_alpha, value, 0, 1e9, err);
    if (strcmp(key, "factor") == 0)
        return take_whole(&s->factor, value, -1, 1 << 20, err);
    if (strcmp(key, "decompose_both") == 0)
        s->decompose_both = is_on(value);
    else if (strcmp(key, "full_matrix") == 0)
        s->full_matrix = is_on(value);
    else if (strcmp(key, "unbalanced_factorization") == 0)
        s->is_unbalanced = is_on(value);
    else if (strcmp(key, "rs_lora") == 0)
        s->is_rs = is_on(value);
    else if (strcmp(key, "dropout") == 0)
        return take_dropout(value, err);
    else if (strcmp(key, "rank_dropout") == 0)
        return take_number(&s->rank_dropout, value, 0, 1, err);
    else if (strcmp(key, "module_dropout") == 0)
        return take_number(&s->module_dropout, value, 0, 1, err);
    else if (strcmp(key, "loraplus_unet_lr_ratio") == 0)
        return take_ratio(&s->unet_plus, value, err);
    else if (strcmp(key, "loraplus_text_encoder_lr_ratio") == 0)
        return take_ratio(&s->text_plus, value, err);
    else
        return fail_name(key, err);
    return LX_OK;
}

void lx_flags_begin_lycoris(lx_lora_spec *s)
{
    s->kind = LX_KIND_LORA;
    s->preset = LX_PRESET_FULL;
    s->factor = -1;
    s->conv_rank = s->rank;
    s->conv_alpha = s->alpha;
}

int lx_flags_check_lycoris(const lx_lora_spec *s, lx_error *err)
{
    if (s->neuron_dropout != 0)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "--network_dropout: lycoris.kohya takes it and does nothing with it; use "
            "--network_args rank_dropout=%g or module_dropout=%g",
            s->neuron_dropout, s->neuron_dropout);
    return LX_OK;
}
