/*
 * cuDNN has a plan that keeps our rules (kernels/cuda/nvidia/conv.c) for every convolution of SD 1.5 at 512 x 512 and
 * 768 x 768, forward and backward, in every type, on GPUs that are only described (devices/), and none works in more
 * memory than plans without a GPU count for it (workspace.h): the real library, which needs no driver for that.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/cuda/nvidia/nvidia.h"
#include "tests/cuda_emulation/workspace.h"

/* SD 1.5's, in latent cells at a level (-3: the image): the UNet's, then the VAE's, whose downsamplers pad after
 * the image alone. */
typedef struct convolution {
    int channels_in, channels_out, level, stride, pad_before;
} convolution;

static const convolution of_unet[] = {
    {4, 320, 0, 1, 1},     {320, 320, 0, 1, 1},   {640, 320, 0, 1, 1},
    {960, 320, 0, 1, 1},   {640, 640, 0, 1, 1},   {320, 4, 0, 1, 1},
    {320, 320, 0, 2, 1},   {320, 640, 1, 1, 1},   {640, 640, 1, 1, 1},
    {960, 640, 1, 1, 1},   {1280, 640, 1, 1, 1},  {1920, 640, 1, 1, 1},
    {1280, 1280, 1, 1, 1}, {640, 640, 1, 2, 1},   {640, 1280, 2, 1, 1},
    {1280, 1280, 2, 1, 1}, {1920, 1280, 2, 1, 1}, {2560, 1280, 2, 1, 1},
    {1280, 1280, 2, 2, 1}, {1280, 1280, 3, 1, 1}, {2560, 1280, 3, 1, 1},
};
static const convolution of_vae[] = {
    {3, 128, -3, 1, 1},   {128, 128, -3, 1, 1}, {128, 128, -3, 2, 0},
    {128, 256, -2, 1, 1}, {256, 256, -2, 1, 1}, {256, 256, -2, 2, 0},
    {256, 512, -1, 1, 1}, {512, 512, -1, 1, 1}, {512, 512, -1, 2, 0},
    {512, 512, 0, 1, 1},  {512, 8, 0, 1, 1},    {4, 512, 0, 1, 1},
    {512, 512, -2, 1, 1}, {512, 256, -2, 1, 1}, {256, 256, -3, 1, 1},
    {256, 128, -3, 1, 1}, {128, 3, -3, 1, 1},
};

/* A GPU, and the most that was wanted for one of its plans, by type. */
typedef struct world {
    lx_nvidia lib;
    size_t n_plans, most[LX_DTYPE_COUNT];
} world;

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

static void check(world *w, const convolution *c, int pixels, int batch, lx_dtype dtype,
                  lx_conv_kind kind, bool adds)
{
    const int cells = pixels / 8,
              size = c->level < 0 ? cells << -c->level : cells >> c->level,
              out = (size + c->pad_before + 1 - 3) / c->stride + 1;
    lx_cuda_plan plan = {.is_conv = true,
                         .conv = {.kind = kind,
                                  .batch = batch,
                                  .h = size,
                                  .w = size,
                                  .channels_in = c->channels_in,
                                  .h_out = out,
                                  .w_out = out,
                                  .channels_out = c->channels_out,
                                  .kh = 3,
                                  .kw = 3,
                                  .stride = c->stride,
                                  .pad_top = c->pad_before,
                                  .pad_left = c->pad_before,
                                  .pad_bottom = 1,
                                  .pad_right = 1,
                                  .in = dtype,
                                  .out = dtype,
                                  .adds = adds}};
    const size_t taken_to = lx_emu_conv_workspace(&plan.conv);
    lx_error err = {0};

    if (lx_nvidia_conv_plan(&w->lib, &plan, &err) < 0)
        fail_msg("%s: %s", lx_dtype_name(dtype), err.text);
    if (plan.workspace > taken_to)
        fail_msg(
            "%s, kind %d, %d x %dx%d, %d to %d channels: cuDNN wants %zu bytes, plans "
            "without a GPU take it to want %zu",
            lx_dtype_name(dtype), (int)kind, batch, size, size, c->channels_in,
            c->channels_out, plan.workspace, taken_to);
    if (w->most[dtype] < plan.workspace)
        w->most[dtype] = plan.workspace;
    w->n_plans++;
    lx_nvidia_conv_free(&w->lib, &plan);
}

static void check_unet(world *w, int pixels, int batch, lx_dtype dtype)
{
    for (size_t i = 0; i < sizeof of_unet / sizeof *of_unet; i++) {
        check(w, &of_unet[i], pixels, batch, dtype, LX_CONV_FORWARD, false);
        check(w, &of_unet[i], pixels, batch, dtype, LX_CONV_FORWARD, true);
        check(w, &of_unet[i], pixels, batch, dtype, LX_CONV_DATA, false);
        check(w, &of_unet[i], pixels, batch, dtype, LX_CONV_WEIGHT, false);
    }
}

/* Nothing is trained in it, and it is computed in F32. */
static void check_vae(world *w, int pixels)
{
    for (size_t i = 0; i < sizeof of_vae / sizeof *of_vae; i++) {
        check(w, &of_vae[i], pixels, 1, LX_F32, LX_CONV_FORWARD, false);
        check(w, &of_vae[i], pixels, 1, LX_F32, LX_CONV_FORWARD, true);
    }
}

static void check_device(const char *device)
{
    const lx_dtype dtypes[] = {LX_F32, LX_F16, LX_BF16};
    world w = {0};

    load(&w.lib);
    describe(&w.lib, device);
    for (int pixels = 512; pixels <= 768; pixels += 256) {
        for (int t = 0; t < 3; t++)
            for (int batch = 1; batch <= 4; batch += 3)
                check_unet(&w, pixels, batch, dtypes[t]);
        check_vae(&w, pixels);
    }
    print_message(
        "%s: %zu plans; the most that one works in: F32 %.1f MB, F16 %.1f MB, BF16 "
        "%.1f MB\n",
        device, w.n_plans, (double)w.most[LX_F32] / 1e6, (double)w.most[LX_F16] / 1e6,
        (double)w.most[LX_BF16] / 1e6);
    w.lib.cudnn.cudnnBackendDestroyDescriptor(w.lib.cudnn_device);
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
