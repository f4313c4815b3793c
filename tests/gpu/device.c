/*
 * A device for tests of kernels and goldens: the GPU that is there, through the real runtime.
 *
 * Linked into a program of tests/kernels or tests/unit it takes the CPU's place (support/kernel_case.h);
 * its variants are three openings of the same GPU, which must agree to the bit. LX_TEST_GPU is its
 * number. Where there is none the program says why and is skipped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/kernel_case.h"

static int open_gpu(lx_device **out, int variant, lx_error *err)
{
    const char *index = getenv("LX_TEST_GPU");

    return lx_device_open_cuda(out, index ? atoi(index) : 0, err);
}

static lx_case_device gpu = {.open = open_gpu, .has_guards = true};

__attribute__((constructor)) static void use_gpu(void)
{
    lx_device *dev;
    lx_error err = {0};

    if (open_gpu(&dev, 1, &err) < 0) {
        fprintf(stderr, "skip: %s\n", err.text);
        _exit(77);
    }
    gpu.has_f16 = dev->has_f16;
    gpu.has_bf16 = dev->has_bf16;
    lx_case_device_used = &gpu;
    lx_device_close(dev);
}
