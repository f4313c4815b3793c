#include "src/selftest/selftest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/selftest/rows.h"
#include "src/selftest/synth.h"
#include "src/selftest/training.h"

/* Seconds that a call is timed for. */
static const double budget = 0.2;

typedef enum precision { F32, F16, BF16, BF16_PRODUCTS } precision;

static const char *const precision_names[] = {"f32", "f16", "bf16", "bf16"};

typedef struct selftest {
    const lx_selftest_options *options;
    lx_device *dev;
    lx_device *plain; /* a CPU with one thread */
    lx_device *cpu;   /* what large calls are compared with */
    lx_selftest_counts *counts;
    const char *shape;
} selftest;

static bool is_wanted(const lx_selftest_options *o, const char *name)
{
    for (size_t i = 0; i < o->n_ops; i++)
        if (strcmp(o->ops[i], name) == 0)
            return true;
    return o->n_ops == 0;
}

static void tell(selftest *t, const lx_selftest_result *result)
{
    t->counts->n_checks++;
    t->counts->n_failed += !result->is_ok;
    t->options->tell(t->options->context, result);
}

static bool is_stopped(const selftest *t)
{
    return t->options->stops && t->options->stops(t->options->context);
}

/* ---- ops -------------------------------------------------------------------------- */

static bool has_precision(const selftest *t, lx_op_id op, precision p)
{
    switch (p) {
    case F16:
        return t->dev->has_f16;
    case BF16:
        return t->dev->has_bf16;
    case BF16_PRODUCTS:
        return t->dev->computes_bf16 && lx_selftest_has_arithmetic(op);
    default:
        return true;
    }
}

/*
 * In bf16 an attention's weight that f32 leaves near the middle of two numbers may go to either: a
 * rounding more, of the size of the others. On the CPU a large call is compared with the same kernels.
 */
static double limit_of(const selftest *t, const lx_selftest_row *row, precision p)
{
    const bool is_attention =
        row->op == LX_OP_attention || row->op == LX_OP_attention_bwd;

    if (row->is_large && t->dev->uses_host_memory)
        return 0;
    if (p == F16 || p == BF16)
        return lx_case_f16_limit(row->op) * (p == F16 ? 1 : 8);
    return p == BF16_PRODUCTS && is_attention ? 2e-3 : row->limit;
}

/* What the result must be, from the same rounded numbers. */
static int make_wanted(lx_case_results *out, const selftest *t,
                       const lx_selftest_row *row, lx_case *wide, lx_error *err)
{
    const lx_case_on on =
        row->is_large ? (lx_case_on){t->cpu, t->cpu->kernels, false, false}
                      : (lx_case_on){t->plain, lx_cpu_plain_kernels, false, false};
    const int rc = lx_case_run(wide, &on, err);

    if (rc == LX_OK)
        *out = lx_case_take(wide);
    return rc;
}

/* Twice on the device. */
static int run_twice(double *error, lx_case *c, const lx_case_on *on,
                     const lx_case_results *wanted, double limit, lx_error *err)
{
    lx_case_results first = {{0}};
    int rc;

    if ((rc = lx_case_run(c, on, err)) < 0 ||
        (rc = lx_case_compare(error, c, wanted, limit, err)) < 0)
        return rc;
    first = lx_case_take(c);
    if ((rc = lx_case_run(c, on, err)) == LX_OK && lx_case_differs(c, &first) >= 0)
        rc = lx_fail(err, LX_ECHECK, "a second run gave other bits in output %d",
                     lx_case_differs(c, &first));
    lx_case_results_free(&first);
    return rc;
}

static void add_speed(lx_selftest_result *result, const selftest *t, const lx_case *c,
                      precision p, double seconds)
{
    const lx_peak *peak = &t->counts->peak;
    const double rates[] = {peak->f32, peak->f16, peak->bf16, peak->bf16};
    const bool is_product = lx_selftest_has_arithmetic(lx_case_op(c)) ||
                            lx_case_op(c) == LX_OP_linear_dw ||
                            lx_case_op(c) == LX_OP_conv2d_dw;
    const double by_flops = is_product && rates[p] > 0 ? lx_case_flops(c) / rates[p] : 0;
    const double by_bytes = peak->copy > 0 ? lx_case_bytes(c) / peak->copy : 0;

    result->seconds = seconds;
    result->flops = is_product ? lx_case_flops(c) : 0;
    result->bytes = lx_case_bytes(c);
    result->share = fmax(by_flops, by_bytes) / seconds;
}

/* `narrow` on the device against `wide` by the reference. */
static int check_cases(lx_selftest_result *result, selftest *t,
                       const lx_selftest_row *row, precision p, lx_case *narrow,
                       lx_case *wide, lx_error *err)
{
    const lx_case_on on = {t->dev, t->dev->kernels, false, true};
    lx_case_results wanted = {{0}};
    double seconds = 0;
    int rc;

    if (!narrow || !wide)
        return lx_oom(err);
    if (!on.kernels[row->op].run)
        return lx_fail(err, LX_ECHECK, "the device has no such kernel");
    if ((rc = make_wanted(&wanted, t, row, wide, err)) < 0)
        return rc;
    rc = run_twice(&result->error, narrow, &on, &wanted, result->limit, err);
    lx_case_results_free(&wanted);
    if (rc == LX_OK && row->is_large &&
        (rc = lx_case_time(&seconds, narrow, &on, budget, err)) == LX_OK)
        add_speed(result, t, narrow, p, seconds);
    return rc;
}

static void check_row(selftest *t, const lx_selftest_row *row, precision p)
{
    const lx_compute compute = p == BF16_PRODUCTS ? LX_COMPUTE_BF16 : LX_COMPUTE_F32;
    const lx_dtype dtype = p == F16 ? LX_F16 : LX_BF16;
    const bool is_half = p == F16 || p == BF16;
    lx_case *made = lx_selftest_case(row, compute);
    lx_case *narrow = made && is_half ? lx_case_round(made, dtype, false) : made;
    lx_case *wide = made && is_half ? lx_case_round(made, dtype, true)
                                    : lx_selftest_case(row, compute);
    char shape[256] = "";
    lx_error err = {0};
    lx_selftest_result result = {.what = lx_op_name(row->op),
                                 .shape = shape,
                                 .precision = precision_names[p],
                                 .limit = limit_of(t, row, p),
                                 .why = err.text};

    if (made)
        lx_case_shapes(shape, sizeof shape, made);
    result.is_ok = check_cases(&result, t, row, p, narrow, wide, &err) == LX_OK;
    tell(t, &result);
    lx_case_free(wide);
    if (narrow != made)
        lx_case_free(narrow);
    lx_case_free(made);
}

static int check_ops(selftest *t, lx_error *err)
{
    for (size_t i = 0; i < lx_selftest_n_rows; i++) {
        const lx_selftest_row *row = &lx_selftest_rows[i];
        if (!is_wanted(t->options, lx_op_name(row->op)) ||
            (row->is_large && t->options->is_quick))
            continue;
        for (precision p = F32; p <= BF16_PRODUCTS; p++) {
            if (is_stopped(t))
                return lx_fail(err, LX_EINTERRUPTED, "interrupted");
            if (has_precision(t, row->op, p))
                check_row(t, row, p);
        }
    }
    return LX_OK;
}

/* ---- training --------------------------------------------------------------------- */

/* Of the losses: how far the worst is off. */
static double worst_loss(const double *losses, const double *wanted)
{
    double worst = 0;

    for (int i = 0; i < LX_SELFTEST_STEPS; i++) {
        const double off = fabs(losses[i] / wanted[i] - 1);
        worst = off <= worst ? worst : off; /* a NaN too */
    }
    return worst;
}

static void tell_training(selftest *t, const char *shape, const char *in, double error,
                          double limit, double seconds, const char *why)
{
    const lx_selftest_result result = {.what = "training",
                                       .shape = shape,
                                       .precision = in,
                                       .is_ok = error <= limit && !*why,
                                       .error = error,
                                       .limit = limit,
                                       .seconds = seconds,
                                       .why = *why || error <= limit ? why : "is off"};

    tell(t, &result);
}

/* Of a training in half precision, and of one in f32, beside the CPU's in f32. */
typedef struct training_limits {
    double loss, distance;
} training_limits;

static training_limits limits_of(precision p)
{
    static const training_limits limits[] = {[F32] = {1e-5, 1e-3},
                                             [F16] = {2e-2, 0.2},
                                             [BF16] = {5e-2, 0.5},
                                             [BF16_PRODUCTS] = {5e-2, 0.5}};

    return limits[p];
}

static void check_training(selftest *t, const lx_synth_profile *model,
                           const char *checkpoint, precision p,
                           const lx_selftest_trained *wanted)
{
    static const char *const names[] = {"no", "fp16", "bf16", "bf16"};
    const training_limits limits = limits_of(p);
    lx_selftest_trained one = {.n = 0}, two = {.n = 0};
    lx_error err = {0};

    if (lx_selftest_train(&one, t->dev, model, checkpoint, names[p], &err) == LX_OK)
        lx_selftest_train(&two, t->dev, model, checkpoint, names[p], &err);
    tell_training(t, "twice, the same bits", precision_names[p],
                  err.code ? INFINITY : lx_selftest_distance(&one, &two), 0, one.seconds,
                  err.text);
    if (!err.code) {
        tell_training(t, "losses beside the CPU's", precision_names[p],
                      worst_loss(one.losses, wanted->losses), limits.loss, 0, "");
        tell_training(t, "the LoRA beside the CPU's", precision_names[p],
                      lx_selftest_distance(&one, wanted), limits.distance, 0, "");
    }
    lx_selftest_trained_free(&one);
    lx_selftest_trained_free(&two);
}

/* One thread of this CPU is what all else is compared with, and is itself with what is written down. */
static void check_trainings(selftest *t, const lx_synth_profile *model,
                            const char *checkpoint)
{
    const double *known = lx_selftest_losses(model);
    lx_selftest_trained wanted = {.n = 0};
    lx_error err = {0};

    lx_selftest_train(&wanted, t->plain, model, checkpoint, "no", &err);
    tell_training(t, "losses as they are known", "f32",
                  err.code ? INFINITY : worst_loss(wanted.losses, known), 1e-5,
                  wanted.seconds, err.text);
    for (precision p = F32; p <= BF16_PRODUCTS && !err.code && !is_stopped(t); p++)
        if (has_precision(t, LX_OP_linear, p))
            check_training(t, model, checkpoint, p, &wanted);
    lx_selftest_trained_free(&wanted);
}

static int check_whole(selftest *t, lx_error *err)
{
    const lx_synth_profile *model =
        lx_synth_profile_find(t->options->is_quick ? "nano" : "tiny");
    lx_str path = LX_STR_INIT;
    int rc;

    lx_str_printf(&path, "%s/lx-selftest-%ld.safetensors", t->options->folder,
                  (long)getpid());
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (rc = lx_synth_write(path.data, model, err)) == LX_OK) {
        check_trainings(t, model, path.data);
        unlink(path.data);
    }
    lx_str_release(&path);
    return rc == LX_OK && is_stopped(t) ? lx_fail(err, LX_EINTERRUPTED, "interrupted")
                                        : rc;
}

/* ---- all -------------------------------------------------------------------------- */

static int check_names(const lx_selftest_options *o, lx_error *err)
{
    for (size_t i = 0; i < o->n_ops; i++) {
        int op = 0;
        while (op < LX_OP_COUNT && strcmp(o->ops[i], lx_op_name((lx_op_id)op)) != 0)
            op++;
        if (op == LX_OP_COUNT && strcmp(o->ops[i], "training") != 0)
            return lx_fail(
                err, LX_EUSAGE,
                "there is no op '%s': they are those of lx selftest, and training",
                o->ops[i]);
    }
    return LX_OK;
}

int lx_selftest_run(lx_selftest_counts *out, lx_device *dev,
                    const lx_selftest_options *options, lx_error *err)
{
    selftest t = {.options = options, .dev = dev, .counts = out};
    int rc;

    *out = (lx_selftest_counts){0};
    if ((rc = check_names(options, err)) < 0 ||
        (rc = lx_device_open_cpu(&t.plain, 1, err)) < 0 ||
        (rc = lx_device_open_cpu(&t.cpu, dev->uses_host_memory ? 1 : 0, err)) < 0 ||
        (!options->is_quick && (rc = lx_peak_measure(&out->peak, dev, err)) < 0) ||
        (rc = check_ops(&t, err)) < 0 ||
        (is_wanted(options, "training") && (rc = check_whole(&t, err)) < 0))
        goto done;
done:
    lx_device_close(t.plain);
    lx_device_close(t.cpu);
    return rc;
}
