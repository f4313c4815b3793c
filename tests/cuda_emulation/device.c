/*
 * A device for tests of kernels: CUDA's own kernels over the emulated runtime.
 *
 * Linked into a program of tests/kernels, it takes the CPU's place there (support/kernel_case.h);
 * variants are the orders in which lanes, warps, blocks and streams run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/cuda/cuda.h"
#include "tests/cuda_emulation/control.h"
#include "tests/support/kernel_case.h"

/* Cases of more elements take too long, with and without the checker. */
enum { MOST_ELEMENTS = 90000, MOST_ELEMENTS_CHECKED = 25000 };

static int (*device_sync)(lx_device *dev, lx_error *err);

/* A fault of the emulation fails the test. */
static int sync_without_fault(lx_device *dev, lx_error *err)
{
    const int rc = device_sync(dev, err);

    if (rc >= 0 && lx_emu_faults())
        return lx_fail(err, LX_EINTERNAL, "%u faults", lx_emu_faults());
    return rc;
}

static int open_emulated(lx_device **out, int variant, lx_error *err)
{
    int rc;

    lx_emu_options_get()->order = (uint64_t)variant - 1;
    if ((rc = lx_device_open_cuda(out, 0, err)) < 0)
        return rc;
    device_sync = (*out)->sync;
    (*out)->sync = sync_without_fault;
    return LX_OK;
}

static bool skips(lx_op_id op, int64_t elements)
{
    lx_kernel table[LX_OP_COUNT] = {0};

    lx_cuda_fill_kernels(table);
    return !table[op].run ||
           elements > (lx_emu_is_checked() ? MOST_ELEMENTS_CHECKED : MOST_ELEMENTS);
}

static const lx_case_device emulated = {
    .open = open_emulated, .skips = skips, .has_f16 = true, .has_bf16 = true};

__attribute__((constructor)) static void use_emulation(void)
{
    lx_case_device_used = &emulated;
    /* Some of a program's tests, where all would take minutes. */
    cmocka_set_test_filter(getenv("LX_CUDA_TESTS"));
}

/* A program that is there for nvcc's PTX must have run some. */
#ifdef LX_NEEDS_PTX
__attribute__((destructor)) static void need_ptx(void)
{
    if (!lx_emu_counts_get()->ptx_launches) {
        fputs("no kernel ran as PTX\n", stderr);
        _exit(1);
    }
}
#endif
