/* --network_args of networks.lora: convolutions, ranks and rates by block, LoRA+, dropouts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/train_flag.h"
#include "src/base/python.h"
#include "src/base/str.h"

int lx_set_network_args(lx_flags *f, const lx_flag_value *v, lx_error *err)
{
    (void)f; /* when --network_dim is known: lx_flags_resolve_network */
    (void)v;
    (void)err;
    return LX_OK;
}

/* "key=value", split at the first '='; *value points behind it. */
int lx_flags_split_pair(const char **key, const char **value, lx_arena *arena,
                        const char *pair, lx_error *err)
{
    const char *equals = strchr(pair, '=');

    if (!equals)
        return lx_fail(err, LX_EUSAGE, "'%s' is not key=value", pair);
    *value = equals + 1;
    *key = lx_arena_strndup(arena, pair, (size_t)(equals - pair));
    return *key ? LX_OK : lx_oom(err);
}

static int within(int rc, const char *what, lx_error *err)
{
    lx_within(err, "%s", what);
    return rc;
}

/* The values as text, NULL where not given. */
typedef struct network_args {
    const char *conv_dim, *conv_alpha;
    const char *block_dims, *block_alphas, *conv_block_dims, *conv_block_alphas;
    const char *down_lr_weight, *mid_lr_weight, *up_lr_weight, *block_lr_zero_threshold;
    const char *loraplus_lr_ratio, *loraplus_unet_lr_ratio,
        *loraplus_text_encoder_lr_ratio;
    const char *dropout, *rank_dropout, *module_dropout;
} network_args;

#define ARG(name)                           \
    {                                       \
#name, offsetof(network_args, name) \
    }
static const struct {
    const char *key;
    size_t at;
} keys[] = {
    ARG(conv_dim),
    ARG(conv_alpha),
    ARG(block_dims),
    ARG(block_alphas),
    ARG(conv_block_dims),
    ARG(conv_block_alphas),
    ARG(down_lr_weight),
    ARG(mid_lr_weight),
    ARG(up_lr_weight),
    ARG(block_lr_zero_threshold),
    ARG(loraplus_lr_ratio),
    ARG(loraplus_unet_lr_ratio),
    ARG(loraplus_text_encoder_lr_ratio),
    ARG(dropout),
    ARG(rank_dropout),
    ARG(module_dropout),
};

int lx_flags_fail_argument(const char *module, const char *key, const char *nearest, lx_error *err)
{
    if (lx_name_distance(key, nearest) * 2 > (int)strlen(key))
        return lx_fail(err, LX_EUSAGE, "%s has no such argument", module);
    return lx_fail(err, LX_EUSAGE, "%s has no such argument; did you mean %s?", module, nearest);
}

static int take(network_args *args, const char *key, const char *value, lx_error *err)
{
    const char *nearest = keys[0].key;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(key, keys[i].key) == 0) {
            *(const char **)((char *)args + keys[i].at) = value;
            return LX_OK;
        }
        if (lx_name_distance(key, keys[i].key) < lx_name_distance(key, nearest))
            nearest = keys[i].key;
    }
    if (lx_flags_is_of_lycoris(key))
        return lx_fail(
            err, LX_EUSAGE,
            "networks.lora has no such argument; --network_module lycoris.kohya has");
    return lx_flags_fail_argument("networks.lora", key, nearest, err);
}

/* ---- numbers and lists of them ---------------------------------------------------- */

static int read_rank(int *out, const char *text, lx_error *err)
{
    int64_t whole;
    int rc = lx_parse_int(&whole, text, err);

    if (rc < 0)
        return rc;
    if (whole < 0 || whole > 4096)
        return lx_fail(err, LX_EUSAGE, "'%s' is not between 0 and 4096", text);
    *out = (int)whole;
    return LX_OK;
}

/* Up to `most` numbers between commas; an empty one is 0, as the peer reads it. */
static int read_list(double *out, int *n, int most, const char *text, lx_error *err)
{
    const char *at = text;

    for (*n = 0; *n < most;) {
        char *end;
        out[*n] = strtod(at, &end);
        if (end == at)
            out[*n] = 0;
        ++*n;
        if (!isfinite(out[*n - 1]) || (*end && *end != ','))
            return lx_fail(err, LX_EUSAGE, "'%s' is no list of numbers between commas",
                           text);
        if (!*end)
            return LX_OK;
        at = end + 1;
    }
    return lx_fail(err, LX_EUSAGE, "'%s' has more than %d numbers", text, most);
}

static int read_blocks(double out[LX_LORA_BLOCKS], const char *text, lx_error *err)
{
    int n, rc = read_list(out, &n, LX_LORA_BLOCKS, text, err);

    if (rc == LX_OK && n != LX_LORA_BLOCKS)
        rc = lx_fail(err, LX_EUSAGE,
                     "it needs %d numbers (block 0, 1-11 down, 12 mid, 13-24 up), not %d",
                     LX_LORA_BLOCKS, n);
    return rc;
}

static int read_block_ranks(int out[LX_LORA_BLOCKS], const char *text, lx_error *err)
{
    double ranks[LX_LORA_BLOCKS];
    int rc = read_blocks(ranks, text, err);

    for (int i = 0; i < LX_LORA_BLOCKS && rc == LX_OK; i++) {
        out[i] = (int)fmin(fmax(ranks[i], -1), 5000);
        if (out[i] != ranks[i] || out[i] < 0 || out[i] > 4096)
            rc = lx_fail(err, LX_EUSAGE, "%g is no rank between 0 and 4096", ranks[i]);
    }
    return rc;
}

/* ---- ranks by block --------------------------------------------------------------- */

static void fill(int *ranks, double *alphas, int rank, double alpha)
{
    for (int i = 0; i < LX_LORA_BLOCKS; i++) {
        ranks[i] = rank;
        alphas[i] = alpha;
    }
}

static int set_block_ranks(lx_lora_spec *s, const network_args *a, lx_error *err)
{
    int rc;

    fill(s->block_rank, s->block_alpha, s->rank, s->alpha);
    fill(s->conv_block_rank, s->conv_block_alpha, s->conv_rank, s->conv_alpha);
    if (a->block_dims && (rc = read_block_ranks(s->block_rank, a->block_dims, err)) < 0)
        return within(rc, "block_dims", err);
    if (a->block_alphas && (rc = read_blocks(s->block_alpha, a->block_alphas, err)) < 0)
        return within(rc, "block_alphas", err);
    s->has_block_dims = a->block_dims != NULL;
    s->has_block_alphas = a->block_alphas != NULL;
    if (a->conv_block_dims &&
        (rc = read_block_ranks(s->conv_block_rank, a->conv_block_dims, err)) < 0)
        return within(rc, "conv_block_dims", err);
    if (a->conv_block_dims && a->conv_block_alphas &&
        (rc = read_blocks(s->conv_block_alpha, a->conv_block_alphas, err)) < 0)
        return within(rc, "conv_block_alphas", err);
    s->has_conv |= a->conv_block_dims != NULL;
    s->has_conv_alpha |= a->conv_block_dims && a->conv_block_alphas;
    for (int i = 0; i < LX_LORA_BLOCKS && s->has_block_lr; i++)
        if (s->block_lr[i] == 0) /* what would not be trained is not there */
            s->block_rank[i] = s->conv_block_rank[i] = 0;
    s->has_block_ranks = true;
    return LX_OK;
}

/* ---- rates by block --------------------------------------------------------------- */

enum { SIDE = 12 }; /* blocks down and up */

/* "cosine+0.1" and its like. */
static bool read_curve(double out[SIDE], const char *text)
{
    static const char *const names[] = {"cosine", "sine", "linear", "reverse_linear",
                                        "zeros"};
    const size_t n = strcspn(text, "+");
    double base = 0;

    if (text[n] && lx_parse_number(&base, text + n + 1, NULL) < 0)
        return false;

    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (strlen(names[k]) != n || strncmp(text, names[k], n) != 0)
            continue;
        for (int i = 0; i < SIDE; i++) {
            const double x = (double)(k == 0 || k == 3 ? SIDE - 1 - i : i) / (SIDE - 1);
            out[i] = base + (k < 2 ? sin(acos(-1.0) / 2 * x) : k < 4 ? x : 0);
        }
        return true;
    }
    return false;
}

static int read_weights(double *out, int count, const char *text, double threshold,
                        lx_error *err)
{
    int n = count, rc;

    for (int i = 0; i < count; i++)
        out[i] = 1;
    if (text && count == SIDE && !strchr(text, ',')) {
        if (!read_curve(out, text))
            return lx_fail(
                err, LX_EUSAGE,
                "'%s' is neither %d numbers between commas nor cosine, sine, linear, "
                "reverse_linear or zeros, each with +base if you like",
                text, SIDE);
    } else if (text && (rc = read_list(out, &n, count, text, err)) < 0) {
        return rc;
    }
    for (int i = 0; i < count; i++)
        if (text && !(out[i] > threshold))
            out[i] = 0;
    return LX_OK;
}

static int set_block_lr(lx_lora_spec *s, const network_args *a, lx_error *err)
{
    double threshold = 0;
    int rc;

    if (!a->down_lr_weight && !a->mid_lr_weight && !a->up_lr_weight)
        return LX_OK;
    if (a->block_lr_zero_threshold &&
        (rc = lx_parse_number(&threshold, a->block_lr_zero_threshold, err)) < 0)
        return within(rc, "block_lr_zero_threshold", err);
    if ((rc = read_weights(s->block_lr, SIDE, a->down_lr_weight, threshold, err)) < 0)
        return within(rc, "down_lr_weight", err);
    if ((rc = read_weights(s->block_lr + SIDE, 1, a->mid_lr_weight, threshold, err)) < 0)
        return within(rc, "mid_lr_weight", err);
    if ((rc = read_weights(s->block_lr + SIDE + 1, SIDE, a->up_lr_weight, threshold,
                           err)) < 0)
        return within(rc, "up_lr_weight", err);
    s->has_block_lr = true;
    return LX_OK;
}

/* ---- the rest --------------------------------------------------------------------- */

static int read_ratio(double *out, const char *key, const char *text, lx_error *err)
{
    int rc = text ? lx_parse_number(out, text, err) : LX_OK;

    if (rc == LX_OK && text && !(*out > 0))
        rc = lx_fail(err, LX_EUSAGE, "'%s' is not above 0", text);
    return rc < 0 ? within(rc, key, err) : rc;
}

static int set_loraplus(lx_lora_spec *s, const network_args *a, lx_error *err)
{
    double both = 0;
    int rc;

    if ((rc = read_ratio(&both, "loraplus_lr_ratio", a->loraplus_lr_ratio, err)) < 0)
        return rc;
    s->unet_plus = s->text_plus = both;
    if ((rc = read_ratio(&s->unet_plus, "loraplus_unet_lr_ratio",
                         a->loraplus_unet_lr_ratio, err)) < 0)
        return rc;
    return read_ratio(&s->text_plus, "loraplus_text_encoder_lr_ratio",
                      a->loraplus_text_encoder_lr_ratio, err);
}

static int set_dropout(lx_lora_spec *s, const network_args *a, lx_error *err)
{
    double p = 0;
    int rc;

    if (a->dropout && (lx_parse_number(&p, a->dropout, NULL) < 0 || p != 0))
        return lx_fail(err, LX_EUSAGE,
                       "dropout: networks.lora does not read it; use "
                       "--network_dropout %s",
                       a->dropout);
    if (a->rank_dropout &&
        (rc = lx_parse_number(&s->rank_dropout, a->rank_dropout, err)) < 0)
        return within(rc, "rank_dropout", err);
    if (a->module_dropout &&
        (rc = lx_parse_number(&s->module_dropout, a->module_dropout, err)) < 0)
        return within(rc, "module_dropout", err);
    return LX_OK;
}

static int apply(lx_lora_spec *s, const network_args *a, lx_error *err)
{
    int rc;

    if ((rc = set_dropout(s, a, err)) < 0)
        return within(rc, "--network_args", err);
    if (a->conv_dim && (rc = read_rank(&s->conv_rank, a->conv_dim, err)) < 0)
        return within(rc, "--network_args: conv_dim", err);
    s->has_conv = a->conv_dim != NULL;
    if (a->conv_alpha && (rc = lx_parse_number(&s->conv_alpha, a->conv_alpha, err)) < 0)
        return within(rc, "--network_args: conv_alpha", err);
    s->has_conv_alpha = a->conv_alpha != NULL;
    if ((rc = set_loraplus(s, a, err)) < 0 || (rc = set_block_lr(s, a, err)) < 0 ||
        ((a->block_dims || s->has_block_lr) && (rc = set_block_ranks(s, a, err)) < 0))
        return within(rc, "--network_args", err);
    return LX_OK;
}

/* loraplus_lr_ratio is what the ratios of the two parts fall back to, wherever it stands. */
static int take_lycoris(lx_lora_spec *s, double *plus, const char *key, const char *value,
                        lx_error *err)
{
    if (strcmp(key, "loraplus_lr_ratio") == 0)
        return read_ratio(plus, key, value, err);
    return lx_flags_take_lycoris(s, key, value, err);
}

static int apply_lycoris(lx_lora_spec *s, double plus, lx_error *err)
{
    if (plus > 0 && s->unet_plus == 0)
        s->unet_plus = plus;
    if (plus > 0 && s->text_plus == 0)
        s->text_plus = plus;
    return lx_flags_check_lycoris(s, err);
}

int lx_flags_resolve_network(lx_flags *f, lx_error *err)
{
    lx_lora_spec *spec = &f->config->network;
    double plus = 0;
    bool has_dropout = false;
    const lx_words *words = &f->values[LX_AT_network_args].words;
    lx_str text = LX_STR_INIT;
    network_args args = {0};
    const char *key, *value;
    int rc = LX_OK;

    if (spec->is_lycoris)
        lx_flags_begin_lycoris(spec);
    for (size_t i = 0; i < words->count && rc == LX_OK; i++) {
        if ((rc = lx_flags_split_pair(&key, &value, f->arena, words->items[i], err)) <
            0) {
            lx_within(err, "--network_args");
            break;
        }
        has_dropout |= strcmp(key, "dropout") == 0;
        rc = spec->is_lycoris ? take_lycoris(spec, &plus, key, value, err)
                              : take(&args, key, value, err);
        if (rc < 0)
            lx_within(err, "--network_args: %s", key);
        lx_str_puts(&text, i ? ", " : "{");
        lx_escape_json(&text, key, strlen(key));
        lx_str_puts(&text, ": ");
        lx_escape_json(&text, value, strlen(value));
    }
    if (rc == LX_OK && words->count > 0) {
        if (!has_dropout && !f->config->dim_from_weights) { /* the peer fills it in */
            char share[40] = "null";
            if (f->config->network.neuron_dropout != 0)
                lx_python_float(share, f->config->network.neuron_dropout);
            lx_str_printf(&text, ", \"dropout\": %s", share);
        }
        lx_str_puts(&text, "}");
        if ((rc = lx_str_check(&text, err)) == LX_OK &&
            !(f->config->network_args = lx_arena_strdup(f->arena, lx_str_text(&text))))
            rc = lx_oom(err);
    }
    lx_str_release(&text);
    if (rc < 0)
        return rc;
    return spec->is_lycoris ? apply_lycoris(spec, plus, err) : apply(spec, &args, err);
}
