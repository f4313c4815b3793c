#include "tests/support/kernel_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int open_cpu(lx_device **out, int variant, lx_error *err)
{
    return lx_device_open_cpu(out, variant ? variant : 1, err);
}

const lx_case_device *lx_case_device_used = &(const lx_case_device){.open = open_cpu};

static int open_isa(lx_device **out, int variant, lx_error *err)
{
    static const char *const names[] = {"base", "avx2"};
    int rc;

    if (variant < 3)
        setenv("LX_CPU_ISA", names[variant - 1], 1);
    rc = lx_device_open_cpu(out, 1, err);
    unsetenv("LX_CPU_ISA");
    return rc;
}

const lx_case_device lx_case_isas = {.open = open_isa};

int lx_test_device_open(lx_device **out, lx_error *err)
{
    return lx_case_device_used->open == open_cpu ? lx_device_open_cpu(out, 0, err)
                                                 : lx_case_device_used->open(out, 1, err);
}

lx_compute lx_case_compute(bool is_bf16)
{
    lx_device *dev = NULL;
    lx_error err = {0};
    bool has_bf16;

    if (!is_bf16)
        return LX_COMPUTE_F32;
    assert_int_equal(lx_test_device_open(&dev, &err), 0);
    has_bf16 = dev->computes_bf16;
    lx_device_close(dev);
    return has_bf16 ? LX_COMPUTE_BF16 : LX_COMPUTE_F32;
}

/* variant 0: the plain kernel. */
static void run(lx_case *c, int variant)
{
    lx_case_on on = {.is_in_place = variant > 0,
                     .has_guards = lx_case_device_used->has_guards};
    lx_error err = {0};

    assert_non_null(c);
    assert_int_equal(
        (variant ? lx_case_device_used->open : open_cpu)(&on.dev, variant, &err), 0);
    on.kernels = variant ? on.dev->kernels : lx_cpu_plain_kernels;
    if (lx_case_run(c, &on, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(on.dev->bytes_now, 0);
    lx_device_close(on.dev);
}

/* Every step-th variant against the plain results, and variants against each other. */
static void check_variants(lx_case *c, const lx_case_results *plain, int step,
                           const char *what, double limit)
{
    lx_case_results one = {{0}};
    lx_error err = {0};
    double error;

    for (int variant = 1; variant <= 3; variant += step) {
        run(c, variant);
        if (lx_case_compare(&error, c, plain, limit, &err) < 0)
            fail_msg("%s: %s", what, err.text);
        if (variant == 1)
            one = lx_case_take(c);
        else if (lx_case_differs(c, &one) >= 0)
            fail_msg("%s: output %d differs between variants 1 and %d", what,
                     lx_case_differs(c, &one), variant);
    }
    lx_case_results_free(&one);
}

static void check_half(const lx_case *c, lx_dtype dtype, const char *what, double limit)
{
    lx_case *wide = lx_case_round(c, dtype, true),
            *narrow = lx_case_round(c, dtype, false);
    lx_case_results plain;
    char name[600];

    snprintf(name, sizeof name, "%s in %s", what, lx_dtype_name(dtype));
    run(wide, 0);
    plain = lx_case_take(wide);
    check_variants(narrow, &plain, 2, name, limit);
    lx_case_results_free(&plain);
    lx_case_free(wide);
    lx_case_free(narrow);
}

void lx_case_check(lx_case *c, double limit)
{
    const lx_case_device *device = lx_case_device_used;
    const lx_op_id op = lx_case_op(c);
    lx_case_results plain;
    char shapes[400], what[512];

    lx_case_shapes(shapes, sizeof shapes, c);
    snprintf(what, sizeof what, "%s | %s", lx_op_name(op), shapes);
    if (device->skips && device->skips(op, lx_case_elements(c)))
        return;
    run(c, 0);
    plain = lx_case_take(c);
    check_variants(c, &plain, 1, what, limit);
    lx_case_results_free(&plain);
    if (device->has_f16)
        check_half(c, LX_F16, what, lx_case_f16_limit(op));
    if (device->has_bf16)
        check_half(c, LX_BF16, what, 8 * lx_case_f16_limit(op));
}

void lx_case_run_one(lx_case *c)
{
    const lx_case_device *used = lx_case_device_used, cpu = {.open = open_cpu};

    if (used->skips && used->skips(lx_case_op(c), 0))
        lx_case_device_used = &cpu;
    run(c, 1);
    lx_case_device_used = used;
}
