/* Names of the optimizers, and --optimizer_args: which options each has, with its
 * package's defaults. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/python.h"
#include "src/train/optimizer.h"

/* ---- names ------------------------------------------------------------------------ */

static const struct {
    const char *name, *class;
} table[LX_OPTIMIZER_COUNT] = {
    [LX_OPTIMIZER_ADAMW] = {"AdamW", "torch.optim.adamw.AdamW"},
    [LX_OPTIMIZER_PAGED_ADAMW] = {"PagedAdamW", "bitsandbytes.optim.adamw.PagedAdamW"},
    [LX_OPTIMIZER_PAGED_ADAMW_32BIT] = {"PagedAdamW32bit",
                                        "bitsandbytes.optim.adamw.PagedAdamW32bit"},
    [LX_OPTIMIZER_ADAMW_8BIT] = {"AdamW8bit", "bitsandbytes.optim.adamw.AdamW8bit"},
    [LX_OPTIMIZER_PAGED_ADAMW_8BIT] = {"PagedAdamW8bit",
                                       "bitsandbytes.optim.adamw.PagedAdamW8bit"},
    [LX_OPTIMIZER_LION] = {"Lion", "lion_pytorch.lion_pytorch.Lion"},
    [LX_OPTIMIZER_LION_8BIT] = {"Lion8bit", "bitsandbytes.optim.lion.Lion8bit"},
    [LX_OPTIMIZER_PAGED_LION_8BIT] = {"PagedLion8bit",
                                      "bitsandbytes.optim.lion.PagedLion8bit"},
    [LX_OPTIMIZER_SGD_NESTEROV] = {"SGDNesterov", "torch.optim.sgd.SGD"},
    [LX_OPTIMIZER_SGD_NESTEROV_8BIT] = {"SGDNesterov8bit",
                                        "bitsandbytes.optim.sgd.SGD8bit"},
    [LX_OPTIMIZER_ADAFACTOR] = {"Adafactor", "transformers.optimization.Adafactor"},
    [LX_OPTIMIZER_PRODIGY] = {"Prodigy", "prodigyopt.prodigy.Prodigy"},
    [LX_OPTIMIZER_DADAPT_ADAM_PREPRINT] =
        {"DAdaptAdamPreprint",
         "dadaptation.experimental.dadapt_adam_preprint.DAdaptAdamPreprint"},
    [LX_OPTIMIZER_DADAPT_ADAGRAD] = {"DAdaptAdaGrad",
                                     "dadaptation.dadapt_adagrad.DAdaptAdaGrad"},
    [LX_OPTIMIZER_DADAPT_ADAM] = {"DAdaptAdam", "dadaptation.dadapt_adam.DAdaptAdam"},
    [LX_OPTIMIZER_DADAPT_ADAN] = {"DAdaptAdan", "dadaptation.dadapt_adan.DAdaptAdan"},
    [LX_OPTIMIZER_DADAPT_ADAN_IP] =
        {"DAdaptAdanIP", "dadaptation.experimental.dadapt_adan_ip.DAdaptAdanIP"},
    [LX_OPTIMIZER_DADAPT_LION] = {"DAdaptLion", "dadaptation.dadapt_lion.DAdaptLion"},
    [LX_OPTIMIZER_DADAPT_SGD] = {"DAdaptSGD", "dadaptation.dadapt_sgd.DAdaptSGD"},
    [LX_OPTIMIZER_ADAMW_SCHEDULE_FREE] =
        {"AdamWScheduleFree", "schedulefree.adamw_schedulefree.AdamWScheduleFree"},
    [LX_OPTIMIZER_RADAM_SCHEDULE_FREE] =
        {"RAdamScheduleFree", "schedulefree.radam_schedulefree.RAdamScheduleFree"},
    [LX_OPTIMIZER_SGD_SCHEDULE_FREE] = {"SGDScheduleFree",
                                        "schedulefree.sgd_schedulefree.SGDScheduleFree"},
};

const char *lx_optimizer_name(lx_optimizer_type type)
{
    return table[type].name;
}

const char *lx_optimizer_class(lx_optimizer_type type)
{
    return table[type].class;
}

int lx_optimizer_type_from_name(lx_optimizer_type *type, const char *name, lx_error *err)
{
    lx_str all = LX_STR_INIT;

    for (int i = 0; i < LX_OPTIMIZER_COUNT; i++)
        if (strcasecmp(name, table[i].name) == 0) {
            *type = (lx_optimizer_type)i;
            return LX_OK;
        }
    if (strcasecmp(name, "DAdaptation") == 0) {
        *type = LX_OPTIMIZER_DADAPT_ADAM_PREPRINT;
        return LX_OK;
    }
    if (strcmp(name, "torch.optim.AdamW") == 0) {
        *type = LX_OPTIMIZER_ADAMW;
        return LX_OK;
    }
    for (int i = 0; i < LX_OPTIMIZER_COUNT; i++)
        lx_str_printf(&all, "%s%s", i ? ", " : "", table[i].name);
    lx_fail(err, LX_EUNSUPPORTED, "'%.80s' is no optimizer of lx, which has %s", name,
            lx_str_text(&all));
    lx_str_release(&all);
    return LX_EUNSUPPORTED;
}

bool lx_optimizer_is_adaptive(lx_optimizer_type type)
{
    return type >= LX_OPTIMIZER_PRODIGY && type <= LX_OPTIMIZER_DADAPT_SGD;
}

bool lx_optimizer_has_own_rate(const lx_optimizer_config *c)
{
    return c->type == LX_OPTIMIZER_ADAFACTOR && c->relative_step;
}

bool lx_optimizer_has_own_schedule(const lx_optimizer_config *c)
{
    return c->type >= LX_OPTIMIZER_ADAMW_SCHEDULE_FREE;
}

/* ---- defaults --------------------------------------------------------------------- */

static void set_betas(lx_optimizer_config *c, double b1, double b2, double b3)
{
    c->betas[0] = b1;
    c->betas[1] = b2;
    c->betas[2] = b3;
}

void lx_optimizer_defaults(lx_optimizer_config *c, lx_optimizer_type type)
{
    *c = (lx_optimizer_config){.type = type,
                               .betas = {0.9, 0.999, 0},
                               .eps = 1e-8,
                               .momentum = 0,
                               .beta1 = -1,
                               .d0 = 1e-6,
                               .d_coef = 1,
                               .growth_rate = INFINITY,
                               .beta3 = -1};
    switch (type) {
    case LX_OPTIMIZER_ADAMW:
    case LX_OPTIMIZER_PAGED_ADAMW:
    case LX_OPTIMIZER_PAGED_ADAMW_32BIT:
    case LX_OPTIMIZER_ADAMW_8BIT:
    case LX_OPTIMIZER_PAGED_ADAMW_8BIT:
        c->weight_decay = 0.01;
        break;
    case LX_OPTIMIZER_LION:
    case LX_OPTIMIZER_LION_8BIT:
    case LX_OPTIMIZER_PAGED_LION_8BIT:
    case LX_OPTIMIZER_DADAPT_LION:
        set_betas(c, 0.9, 0.99, 0);
        break;
    case LX_OPTIMIZER_SGD_NESTEROV:
    case LX_OPTIMIZER_SGD_NESTEROV_8BIT:
        c->momentum = 0.9;
        break;
    case LX_OPTIMIZER_ADAFACTOR:
        c->eps = 1e-30;
        c->eps2 = 1e-3;
        c->clip_threshold = 1;
        c->decay_rate = -0.8;
        c->scale_parameter = c->relative_step = true;
        break;
    case LX_OPTIMIZER_PRODIGY:
        c->decouple = true;
        break;
    case LX_OPTIMIZER_DADAPT_ADAGRAD:
        c->eps = 1e-6;
        break;
    case LX_OPTIMIZER_DADAPT_ADAN:
    case LX_OPTIMIZER_DADAPT_ADAN_IP:
        set_betas(c, 0.98, 0.92, 0.99);
        c->weight_decay = 0.02;
        break;
    case LX_OPTIMIZER_SGD_SCHEDULE_FREE:
        c->momentum = 0.9;
        c->weight_lr_power = 2;
        break;
    case LX_OPTIMIZER_RADAM_SCHEDULE_FREE:
        c->silent_sgd_phase = true;
        c->weight_lr_power = 2;
        break;
    case LX_OPTIMIZER_ADAMW_SCHEDULE_FREE:
        c->weight_lr_power = 2;
        break;
    default:
        break;
    }
}

/* ---- Python literals -------------------------------------------------------------- */

/* Numbers of "1e-3", "0.9,0.99", "(0.9, 0.99)", "[..]"; False when it is none of these.
 */
static bool read_numbers(double *numbers, int *n, int most, const char *text)
{
    const char *at = text + strspn(text, " ");
    const char close = *at == '(' ? ')' : *at == '[' ? ']' : '\0';
    char *end;

    at += close != '\0';
    for (*n = 0; *n < most; ++*n) {
        numbers[*n] = strtod(at, &end);
        if (end == at || !isfinite(numbers[*n]))
            return false;
        at = end + strspn(end, " ");
        if (*at != ',') {
            ++*n;
            break;
        }
        at += 1 + strspn(at + 1, " ");
        if (!*at || *at == close) { /* (0.9,) */
            ++*n;
            break;
        }
    }
    if (close && *at++ != close)
        return false;
    return !at[strspn(at, " ")];
}

/* One number as Python prints it: 1e-3 is 0.001, 1 stays 1. */
static void put_number(lx_str *out, const char *word, size_t n)
{
    char text[64], python[40];
    double value;

    if (n >= sizeof text) {
        lx_str_append(out, word, n);
        return;
    }
    memcpy(text, word, n);
    text[n] = '\0';
    value = strtod(text, NULL);
    if (text[strspn(text, "+-0123456789")] == '\0' || !isfinite(value)) {
        lx_str_append(out, text, n);
    } else {
        lx_python_float(python, value);
        lx_str_puts(out, python);
    }
}

void lx_optimizer_put_literal(lx_str *out, const char *value)
{
    const char *at = value + strspn(value, " ([");
    double numbers[8];
    int n;

    if (!read_numbers(numbers, &n, 8, value)) {
        lx_str_puts(out, value);
        return;
    }
    const bool is_list = value[strspn(value, " ")] == '[';
    const bool is_tuple = !is_list && (n > 1 || strchr(value, ','));
    if (is_list || is_tuple)
        lx_str_putc(out, is_list ? '[' : '(');
    for (int i = 0; i < n; i++) {
        const size_t length = strcspn(at, ", )]");
        if (i)
            lx_str_puts(out, ", ");
        put_number(out, at, length);
        at += length;
        at += strspn(at, ", )]");
    }
    if (is_tuple && n == 1)
        lx_str_putc(out, ',');
    if (is_list || is_tuple)
        lx_str_putc(out, is_list ? ']' : ')');
}

/* ---- options ---------------------------------------------------------------------- */

enum {
    ADAMW = 1,
    EIGHT = 2,
    LION = 4,
    SGD = 8,
    ADAFACTOR = 16,
    PRODIGY = 32,
    DA_ADAM = 64,
    DA_ADAGRAD = 128,
    DA_ADAN = 256,
    DA_LION = 512,
    DA_SGD = 1024,
    FREE = 2048,
    SGD8 = 4096,
    DA_PREPRINT = 8192,
    RADAM_FREE = 16384,
    SGD_FREE = 32768,
    ALL_FREE = FREE | RADAM_FREE | SGD_FREE
};

static int family_of(lx_optimizer_type type)
{
    switch (type) {
    case LX_OPTIMIZER_ADAMW:
        return ADAMW;
    case LX_OPTIMIZER_PAGED_ADAMW:
    case LX_OPTIMIZER_PAGED_ADAMW_32BIT:
    case LX_OPTIMIZER_ADAMW_8BIT:
    case LX_OPTIMIZER_PAGED_ADAMW_8BIT:
    case LX_OPTIMIZER_LION_8BIT:
    case LX_OPTIMIZER_PAGED_LION_8BIT:
        return EIGHT;
    case LX_OPTIMIZER_LION:
        return LION;
    case LX_OPTIMIZER_SGD_NESTEROV:
        return SGD;
    case LX_OPTIMIZER_SGD_NESTEROV_8BIT:
        return SGD8;
    case LX_OPTIMIZER_ADAFACTOR:
        return ADAFACTOR;
    case LX_OPTIMIZER_PRODIGY:
        return PRODIGY;
    case LX_OPTIMIZER_DADAPT_ADAM_PREPRINT:
        return DA_PREPRINT;
    case LX_OPTIMIZER_DADAPT_ADAM:
        return DA_ADAM;
    case LX_OPTIMIZER_DADAPT_ADAGRAD:
        return DA_ADAGRAD;
    case LX_OPTIMIZER_DADAPT_ADAN:
    case LX_OPTIMIZER_DADAPT_ADAN_IP:
        return DA_ADAN;
    case LX_OPTIMIZER_DADAPT_LION:
        return DA_LION;
    case LX_OPTIMIZER_DADAPT_SGD:
        return DA_SGD;
    case LX_OPTIMIZER_RADAM_SCHEDULE_FREE:
        return RADAM_FREE;
    case LX_OPTIMIZER_SGD_SCHEDULE_FREE:
        return SGD_FREE;
    default:
        return FREE;
    }
}

#define FIELD(name) offsetof(lx_optimizer_config, name)
enum {
    HAS_D = PRODIGY | DA_PREPRINT | DA_ADAM | DA_ADAGRAD | DA_ADAN | DA_LION | DA_SGD
};

typedef enum range { UNIT /* [0, 1) */, POSITIVE, NOT_NEGATIVE, ANY } range;

/* What a number stands for; `families` have it. */
static const struct {
    const char *key;
    size_t field;
    range range;
    int families;
} numbers[] = {
    {"weight_decay", FIELD(weight_decay), NOT_NEGATIVE, ~0},
    {"eps", FIELD(eps), POSITIVE,
     ADAMW | EIGHT | PRODIGY | DA_PREPRINT | DA_ADAM | DA_ADAGRAD | DA_ADAN | FREE |
         RADAM_FREE},
    {"momentum", FIELD(momentum), UNIT, SGD | SGD8 | DA_ADAGRAD | DA_SGD | SGD_FREE},
    {"clip_threshold", FIELD(clip_threshold), POSITIVE, ADAFACTOR},
    {"decay_rate", FIELD(decay_rate), ANY, ADAFACTOR},
    {"beta1", FIELD(beta1), UNIT, ADAFACTOR},
    {"beta3", FIELD(beta3), UNIT, PRODIGY},
    {"d0", FIELD(d0), POSITIVE, HAS_D},
    {"d_coef", FIELD(d_coef), POSITIVE, PRODIGY},
    {"growth_rate", FIELD(growth_rate), POSITIVE, HAS_D & ~DA_LION},
    {"r", FIELD(r), ANY, ALL_FREE},
    {"weight_lr_power", FIELD(weight_lr_power), ANY, ALL_FREE},
};

static const struct {
    const char *key;
    size_t field;
    int families;
} switches[] = {
    {"scale_parameter", FIELD(scale_parameter), ADAFACTOR},
    {"relative_step", FIELD(relative_step), ADAFACTOR},
    {"warmup_init", FIELD(warmup_init), ADAFACTOR},
    {"decouple", FIELD(decouple), PRODIGY | DA_PREPRINT | DA_ADAM},
    {"use_bias_correction", FIELD(use_bias_correction), PRODIGY | DA_ADAM},
    {"safeguard_warmup", FIELD(safeguard_warmup), PRODIGY},
    {"no_prox", FIELD(no_prox), DA_ADAN},
    {"silent_sgd_phase", FIELD(silent_sgd_phase), RADAM_FREE},
    {"decoupled_weight_decay", FIELD(decoupled_weight_decay), LION},
};

/* Read and without effect on the numbers: ways of the packages to run. */
static const struct {
    const char *key;
    int families;
} neutral[] = {
    {"foreach", ADAMW | SGD | ALL_FREE},
    {"fused", ADAMW | SGD},
    {"use_triton", LION},
    {"log_every", HAS_D & ~PRODIGY},
};

static int check_range(double value, range wanted, const char *text, lx_error *err)
{
    if (wanted == UNIT && !(value >= 0 && value < 1))
        return lx_fail(err, LX_EUSAGE, "%s must lie in [0, 1)", text);
    if (wanted == POSITIVE && !(value > 0))
        return lx_fail(err, LX_EUSAGE, "%s must be above 0", text);
    if (wanted == NOT_NEGATIVE && !(value >= 0))
        return lx_fail(err, LX_EUSAGE, "%s must not be negative", text);
    return LX_OK;
}

static int set_betas_from(lx_optimizer_config *c, const char *value, lx_error *err)
{
    const int wanted = family_of(c->type) == DA_ADAN ? 3 : 2;
    double betas[4];
    int n, rc;

    if (!read_numbers(betas, &n, 4, value) || n != wanted)
        return lx_fail(err, LX_EUSAGE, "'%s' is not %d numbers as in %s", value, wanted,
                       wanted == 3 ? "0.98,0.92,0.99" : "0.9,0.999");
    for (int i = 0; i < n; i++)
        if ((rc = check_range(betas[i], UNIT, value, err)) < 0)
            return rc;
    for (int i = 0; i < n; i++)
        c->betas[i] = betas[i];
    return LX_OK;
}

/* Adafactor has two: "1e-30,1e-3". */
static int set_two_eps(lx_optimizer_config *c, const char *value, lx_error *err)
{
    double eps[3];
    int n;

    if (!read_numbers(eps, &n, 3, value) || n != 2 || !(eps[0] >= 0) || !(eps[1] >= 0))
        return lx_fail(err, LX_EUSAGE, "'%s' is not two numbers as in 1e-30,1e-3", value);
    c->eps = eps[0];
    c->eps2 = eps[1];
    return LX_OK;
}

static int set_switch(bool *field, const char *value, lx_error *err)
{
    if (strcmp(value, "True") != 0 && strcmp(value, "False") != 0)
        return lx_fail(err, LX_EUSAGE, "'%s' is neither True nor False", value);
    *field = value[0] == 'T';
    return LX_OK;
}

static int set_number(lx_optimizer_config *c, size_t i, const char *value, lx_error *err)
{
    const size_t field = numbers[i].field;
    double number[2];
    int n, rc;

    if (strcmp(value, "None") == 0 && (field == FIELD(beta1) || field == FIELD(beta3))) {
        number[0] = -1; /* the package's own way */
    } else if (field == FIELD(growth_rate) &&
               (strcmp(value, "float('inf')") == 0 || strcmp(value, "inf") == 0)) {
        number[0] = INFINITY;
    } else {
        if (!read_numbers(number, &n, 2, value) || n != 1)
            return lx_fail(err, LX_EUSAGE, "'%s' is not a number", value);
        if ((rc = check_range(number[0], numbers[i].range, value, err)) < 0)
            return rc;
    }
    *(double *)((char *)c + field) = number[0];
    return LX_OK;
}

static bool has_betas(int family)
{
    return !(family & (SGD | SGD8 | SGD_FREE | ADAFACTOR | DA_ADAGRAD | DA_SGD));
}

static int unknown_option(const lx_optimizer_config *c, int family, lx_error *err)
{
    lx_str all = LX_STR_INIT;

    if (has_betas(family))
        lx_str_puts(&all, "betas, ");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].families & family)
            lx_str_printf(&all, "%s, ", numbers[i].key);
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (switches[i].families & family)
            lx_str_printf(&all, "%s, ", switches[i].key);
    lx_fail(err, LX_EUSAGE, "%s has no such option; it has %.*s", table[c->type].name,
            all.len > 2 ? (int)(all.len - 2) : 0, lx_str_text(&all));
    lx_str_release(&all);
    return LX_EUSAGE;
}

int lx_optimizer_set(lx_optimizer_config *c, const char *key, const char *value,
                     lx_error *err)
{
    const int family = family_of(c->type);

    if (strcmp(key, "betas") == 0 && has_betas(family))
        return set_betas_from(c, value, err);
    if (strcmp(key, "eps") == 0 && family == ADAFACTOR)
        return set_two_eps(c, value, err);
    if (strcmp(key, "warmup_steps") == 0 && (family == FREE || family == SGD_FREE)) {
        double steps[2];
        int n;
        if (!read_numbers(steps, &n, 2, value) || n != 1 || !(steps[0] >= 0) ||
            steps[0] > 1e9)
            return lx_fail(err, LX_EUSAGE, "'%s' is not a number of steps", value);
        c->warmup_steps = (int64_t)steps[0];
        return LX_OK;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(key, numbers[i].key) == 0 && (numbers[i].families & family))
            return set_number(c, i, value, err);
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (strcmp(key, switches[i].key) == 0 && (switches[i].families & family))
            return set_switch((bool *)((char *)c + switches[i].field), value, err);
    for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++)
        if (strcmp(key, neutral[i].key) == 0 && (neutral[i].families & family))
            return LX_OK;
    return unknown_option(c, family, err);
}
