/*
 * cuDNN has a plan that keeps our rules (kernels/cuda/nvidia/conv.c) for every kind of convolution in
 * SD 1.5, forward and backward, in every type, on GPUs that are only described (devices/): the real
 * library, which needs no driver for that.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/cuda/nvidia/nvidia.h"

/* SD 1.5 at 512 x 512: UNet, then VAE, whose downsamplers pad after the image alone. */
static const struct {
    int channels_in, channels_out, size, k, stride, pad_before, pad_after;
} convolutions[] = {
    {4, 320, 64, 3, 1, 1, 1},    {320, 320, 64, 3, 1, 1, 1},  {320, 320, 64, 3, 2, 1, 1},
    {320, 640, 32, 3, 1, 1, 1},  {640, 640, 32, 3, 2, 1, 1},  {640, 1280, 16, 3, 1, 1, 1},
    {1280, 1280, 8, 3, 1, 1, 1}, {2560, 1280, 8, 3, 1, 1, 1}, {2560, 1280, 8, 1, 1, 0, 0},
    {1920, 640, 32, 3, 1, 1, 1}, {960, 320, 64, 1, 1, 0, 0},  {320, 4, 64, 3, 1, 1, 1},
    {3, 128, 512, 3, 1, 1, 1},   {128, 128, 512, 3, 2, 0, 1}, {128, 256, 256, 3, 1, 1, 1},
    {512, 512, 64, 3, 1, 1, 1},  {512, 8, 64, 3, 1, 1, 1},    {8, 8, 64, 1, 1, 0, 0},
    {512, 512, 256, 3, 1, 1, 1}, {128, 3, 512, 3, 1, 1, 1},
};

static void load(lx_nvidia *lib)
{
    void *file = dlopen("libcudnn.so." LX_CUDNN_MAJOR, RTLD_NOW | RTLD_LOCAL);

    if (!file)
        file =
            dlopen(LX_CUDNN_FOLDER "/libcudnn.so." LX_CUDNN_MAJOR, RTLD_NOW | RTLD_LOCAL);
    if (!file) {
        print_message("cuDNN cannot be loaded: %s\n", dlerror());
        skip();
    }
#define LX_FUNCTION(name) *(void **)&lib->cudnn.name = dlsym(file, #name);
#include "kernels/cuda/nvidia/cudnn.def"
#undef LX_FUNCTION
}

static void describe(lx_nvidia *lib, const char *device)
{
    char path[512], json[8192];
    FILE *file;
    size_t n;

    snprintf(path, sizeof path, LX_TEST_DIR "/cuda_emulation/devices/%s.json", device);
    assert_non_null(file = fopen(path, "r"));
    n = fread(json, 1, sizeof json, file);
    fclose(file);
    if (lib->cudnn.cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR,
                                                &lib->cudnn_device) ||
        lib->cudnn.cudnnBackendSetAttribute(lib->cudnn_device,
                                            CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                            CUDNN_TYPE_CHAR, (int64_t)n, json) ||
        lib->cudnn.cudnnBackendFinalize(lib->cudnn_device)) {
        print_message("this cuDNN takes no description of a GPU\n");
        skip();
    }
}

static void check(lx_nvidia *lib, size_t i, lx_dtype dtype, lx_conv_kind kind, bool adds)
{
    const int size = convolutions[i].size, k = convolutions[i].k,
              out = (size + convolutions[i].pad_before + convolutions[i].pad_after - k) /
                        convolutions[i].stride +
                    1;
    lx_cuda_plan plan = {.is_conv = true,
                         .conv = {.kind = kind,
                                  .batch = 1,
                                  .h = size,
                                  .w = size,
                                  .channels_in = convolutions[i].channels_in,
                                  .h_out = out,
                                  .w_out = out,
                                  .channels_out = convolutions[i].channels_out,
                                  .kh = k,
                                  .kw = k,
                                  .stride = convolutions[i].stride,
                                  .pad_top = convolutions[i].pad_before,
                                  .pad_left = convolutions[i].pad_before,
                                  .pad_bottom = convolutions[i].pad_after,
                                  .pad_right = convolutions[i].pad_after,
                                  .in = dtype,
                                  .out = dtype,
                                  .adds = adds}};
    lx_error err = {0};

    if (lx_nvidia_conv_plan(lib, &plan, &err) < 0)
        fail_msg("%s: %s", lx_dtype_name(dtype), err.text);
    lx_nvidia_conv_free(lib, &plan);
}

static void check_device(const char *device)
{
    const lx_dtype dtypes[] = {LX_F32, LX_F16, LX_BF16};
    lx_nvidia lib = {0};

    load(&lib);
    describe(&lib, device);
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++)
        for (int t = 0; t < 3; t++) {
            check(&lib, i, dtypes[t], LX_CONV_FORWARD, false);
            check(&lib, i, dtypes[t], LX_CONV_FORWARD, true);
            check(&lib, i, dtypes[t], LX_CONV_DATA, false);
            check(&lib, i, dtypes[t], LX_CONV_WEIGHT, false);
        }
    lib.cudnn.cudnnBackendDestroyDescriptor(lib.cudnn_device);
}

static void test_cudnn_plans__rtx_3060(void **state)
{
    check_device("rtx3060");
}

static void test_cudnn_plans__h100(void **state)
{
    check_device("h100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cudnn_plans__rtx_3060),
        cmocka_unit_test(test_cudnn_plans__h100),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
