/* A self-test passes with the device's kernels, and finds each way in which one can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/arg.h"
#include "src/selftest/rows.h"
#include "src/selftest/selftest.h"
#include "tests/support/kernel_case.h"

/* The kernels of a device, one of them replaced. */
static lx_kernel kernels[LX_OP_COUNT];
static lx_kernel right; /* the one that was */
static unsigned n_runs;

static size_t bytes_of(const lx_arg *arg)
{
    return (size_t)lx_arg_count(arg) * (size_t)lx_dtype_bits(arg->dtype) / 8;
}

static void overwrite(lx_device *dev, void *memory, size_t at, size_t n, int byte)
{
    char bytes[16];
    lx_error err = {0};

    memset(bytes, byte, sizeof bytes);
    assert_int_equal(dev->sync(dev, &err), 0);
    assert_int_equal(dev->upload(dev, (char *)memory + at, bytes, n, &err), 0);
}

static void leaves_out_the_last(lx_device *dev, const lx_call *call)
{
    right.run(dev, call);
    overwrite(dev, call->out[0].data, bytes_of(&call->out[0]) - 4, 4, 0);
}

static void writes_behind_the_end(lx_device *dev, const lx_call *call)
{
    right.run(dev, call);
    overwrite(dev, call->out[0].data, bytes_of(&call->out[0]), 2, 0);
}

static void changes_its_input(lx_device *dev, const lx_call *call)
{
    right.run(dev, call);
    overwrite(dev, call->in[0].data, 0, 2, 0);
}

/* By one bit of one element, in every other run: within any limit. */
static void is_different_every_time(lx_device *dev, const lx_call *call)
{
    uint16_t low;
    lx_error err = {0};

    right.run(dev, call);
    assert_int_equal(dev->sync(dev, &err), 0);
    assert_int_equal(dev->download(dev, &low, call->out[0].data, sizeof low, &err), 0);
    low = (uint16_t)(low ^ (n_runs++ & 1));
    assert_int_equal(dev->upload(dev, call->out[0].data, &low, sizeof low, &err), 0);
}

typedef struct seen {
    size_t n, n_failed;
    char why[256]; /* of the first that failed */
} seen;

static void note(void *context, const lx_selftest_result *result)
{
    seen *s = context;

    s->n++;
    if (!result->is_ok && !s->n_failed++)
        snprintf(s->why, sizeof s->why, "%s", result->why);
}

static seen run_ops(const char *const *ops, size_t n, lx_op_id op,
                    void (*wrong)(lx_device *dev, const lx_call *call))
{
    lx_selftest_counts counts;
    seen s = {0};
    const lx_selftest_options how = {.is_quick = true,
                                     .ops = ops,
                                     .n_ops = n,
                                     .tell = note,
                                     .context = &s,
                                     .folder =
                                         getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp"};
    lx_device *dev;
    lx_error err = {0};

    assert_int_equal(lx_test_device_open(&dev, &err), 0);
    memcpy(kernels, dev->kernels, sizeof kernels);
    right = kernels[op];
    if (wrong)
        kernels[op].run = wrong;
    dev->kernels = kernels;
    if (lx_selftest_run(&counts, dev, &how, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(counts.n_checks, s.n);
    assert_int_equal(counts.n_failed, s.n_failed);
    lx_device_close(dev);
    return s;
}

static void check_found(lx_op_id op, void (*wrong)(lx_device *dev, const lx_call *call),
                        const char *why)
{
    const char *const name[] = {lx_op_name(op)};
    const seen s = run_ops(name, 1, op, wrong);

    if (!s.n_failed || !strstr(s.why, why))
        fail_msg("%s: %zu of %zu failed: '%s', not '%s'", *name, s.n_failed, s.n, s.why,
                 why);
}

static void test_selftest__passes_with_right_kernels(void **state)
{
    static const char *const ops[] = {"group_norm", "linear", "silu", "attention_bwd",
                                      "loss"};
    const seen s = run_ops(ops, 5, LX_OP_silu, NULL);

    if (s.n_failed)
        fail_msg("%zu failed: %s", s.n_failed, s.why);
    assert_true(s.n >= 11);
}

static void test_selftest__finds_wrong_kernels(void **state)
{
    check_found(LX_OP_group_norm, leaves_out_the_last, "output 0 is off");
    check_found(LX_OP_linear_dx, leaves_out_the_last, "output 0 is off");
    check_found(LX_OP_silu, writes_behind_the_end, "bytes outside of it");
    check_found(LX_OP_permute, writes_behind_the_end, "bytes outside of it");
    check_found(LX_OP_geglu, changes_its_input, "input 0 was changed");
    check_found(LX_OP_attention, is_different_every_time, "other bits");
    check_found(LX_OP_scale, is_different_every_time, "");
}

/* A gradient that only a training asks for in this way: not where steps are recorded, which a test that
 * waits would break. */
static void test_selftest__finds_a_wrong_training(void **state)
{
    static const char *const training[] = {"training"};
    lx_device *dev;
    lx_error err = {0};
    bool records;

    assert_int_equal(lx_test_device_open(&dev, &err), 0);
    records = dev->record_begin != NULL;
    lx_device_close(dev);
    if (records)
        skip();
    assert_int_equal(run_ops(training, 1, LX_OP_silu, NULL).n_failed, 0);
    assert_true(run_ops(training, 1, LX_OP_layer_norm_dx, leaves_out_the_last).n_failed >
                0);
}

static void test_selftest__knows_its_ops(void **state)
{
    static const char *const name[] = {"atention"};
    const lx_selftest_options how = {
        .is_quick = true, .ops = name, .n_ops = 1, .tell = note};
    lx_selftest_counts counts;
    lx_device *dev;
    lx_error err = {0};

    assert_int_equal(lx_test_device_open(&dev, &err), 0);
    assert_int_equal(lx_selftest_run(&counts, dev, &how, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "atention"));
    lx_device_close(dev);
}

/* No op is without a small call. */
static void test_selftest__has_every_op(void **state)
{
    for (int op = 0; op < LX_OP_COUNT; op++) {
        bool is_there = false;
        for (size_t i = 0; i < lx_selftest_n_rows; i++)
            is_there |=
                (int)lx_selftest_rows[i].op == op && !lx_selftest_rows[i].is_large;
        if (!is_there)
            fail_msg("%s has no call", lx_op_name((lx_op_id)op));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selftest__passes_with_right_kernels),
        cmocka_unit_test(test_selftest__finds_wrong_kernels),
        cmocka_unit_test(test_selftest__finds_a_wrong_training),
        cmocka_unit_test(test_selftest__knows_its_ops),
        cmocka_unit_test(test_selftest__has_every_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
