/* Noise, gradient norms and updates on the emulated device have the CPU's bits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/train.h"
#include "src/base/rng.h"
#include "src/train/optimizer.h"
#include "src/train/optimizer/eight_bit.h"
#include "tests/support/kernel_case.h"

enum { TENSORS = 3, STEPS = 3 };

/* The last one is not reached by any gradient. */
static const int64_t sizes[TENSORS] = {5003, 300, 64};

static lx_device *open_device(int variant)
{
    lx_device *dev;
    lx_error err = {0};

    assert_int_equal(lx_case_device_used->open(&dev, variant, &err), 0);
    return dev;
}

static void *to_device(lx_device *dev, const void *bytes, size_t size)
{
    lx_error err = {0};
    void *memory;

    assert_int_equal(dev->alloc(dev, &memory, size, &err), 0);
    assert_int_equal(dev->upload(dev, memory, bytes, size, &err), 0);
    return memory;
}

static void from_device(lx_device *dev, void *bytes, const void *memory, size_t size)
{
    lx_error err = {0};

    if (dev->sync(dev, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(dev->download(dev, bytes, memory, size, &err), 0);
}

static void test_noise__is_the_cpu_s(void **state)
{
    enum { B = 3, N = 1027 };
    static float expected[B * N], got[B * N];
    lx_cuda_draw draws[B];

    for (int b = 0; b < B; b++) {
        const lx_rng rng = lx_rng_stream(77, LX_RNG_NOISE, 5, (uint64_t)b);
        memcpy(draws[b].key, rng.key, sizeof draws[b].key);
        memcpy(draws[b].counter, rng.counter + 1, sizeof draws[b].counter);
        lx_rng_normal(expected + b * N, N, 0, &rng);
    }
    for (int variant = 1; variant <= 3; variant++) {
        lx_device *dev = open_device(variant);
        lx_cuda_draw *on_device = to_device(dev, draws, sizeof draws);
        float *out = to_device(dev, got, sizeof got);
        lx_cuda_noise(dev, out, on_device, B, N);
        from_device(dev, got, out, sizeof got);
        assert_memory_equal(got, expected, sizeof got);
        dev->free(dev, out);
        dev->free(dev, on_device);
        lx_device_close(dev);
    }
}

/* ---- updates -------------------------------------------------------------------------- */

typedef struct world {
    lx_device *dev;
    lx_trainable cpu[TENSORS];
    lx_cuda_tensor gpu[TENSORS];
    lx_cuda_tensor *gpu_table;
    lx_cuda_trainables all;
    lx_cuda_rates *rates;
    lx_cuda_gradients *found;
    float *maps, *loss_scale;
    double *scratch;
    bool has_codes;
} world;

static void make_tensor(world *w, int i)
{
    const size_t n = (size_t)sizes[i], bytes = n * sizeof(float);
    const lx_rng rng = lx_rng_stream(1, LX_RNG_TEST, 0, (uint64_t)i);
    lx_trainable *t = &w->cpu[i];
    lx_cuda_tensor *g = &w->gpu[i];
    void *zeros = calloc(n, sizeof(float));
    const size_t blocks = (n + LX_CUDA_CODES - 1) / LX_CUDA_CODES;

    *t = (lx_trainable){.value = malloc(bytes),
                        .gradient = malloc(bytes),
                        .n = n,
                        .has_gradient = i < 2,
                        .lr = 1e-2};
    lx_rng_normal(t->value, n, 0, &rng);
    *g = (lx_cuda_tensor){.n = sizes[i], .narrow_dtype = LX_BF16};
    g->value = to_device(w->dev, t->value, bytes);
    g->gradient = to_device(w->dev, zeros, bytes);
    g->narrow = to_device(w->dev, zeros, n * 2);
    if (w->has_codes &&
        n >= 4096) { /* zero states whatever the codes: the largest is 0 */
        g->m_codes = to_device(w->dev, zeros, n);
        g->v_codes = to_device(w->dev, zeros, n);
        g->m_most = to_device(w->dev, zeros, blocks * sizeof(float));
        g->v_most = to_device(w->dev, zeros, blocks * sizeof(float));
    } else {
        g->m = to_device(w->dev, zeros, bytes);
        g->v = to_device(w->dev, zeros, bytes);
    }
    free(zeros);
}

static void make_world(world *w, int variant, bool has_codes)
{
    lx_cuda_chunk chunks[64];
    float maps[2][256], scale = 4;

    *w = (world){.dev = open_device(variant), .has_codes = has_codes};
    for (int i = 0; i < TENSORS; i++)
        make_tensor(w, i);
    for (int i = 0; i < TENSORS; i++)
        for (int64_t at = 0; w->cpu[i].has_gradient && at < sizes[i]; at += LX_CUDA_CHUNK)
            chunks[w->all.n_chunks++] = (lx_cuda_chunk){i, (int)(at / LX_CUDA_CHUNK)};
    w->gpu_table = to_device(w->dev, w->gpu, sizeof w->gpu);
    w->all.tensors = w->gpu_table;
    w->all.chunks = to_device(w->dev, chunks, (size_t)w->all.n_chunks * sizeof *chunks);
    w->rates = to_device(w->dev, &(lx_cuda_rates){0}, sizeof *w->rates);
    w->found = to_device(w->dev, &(lx_cuda_gradients){0}, sizeof *w->found);
    w->scratch = to_device(w->dev, chunks, (size_t)w->all.n_chunks * sizeof(double));
    w->loss_scale = to_device(w->dev, &scale, sizeof scale);
    lx_eight_bit_map(maps[0], true);
    lx_eight_bit_map(maps[1], false);
    w->maps = to_device(w->dev, maps, sizeof maps);
}

static void end_world(world *w)
{
    void *all[] = {w->gpu_table, (void *)w->all.chunks, w->rates, w->found,
                   w->scratch,   w->loss_scale,         w->maps};

    for (int i = 0; i < TENSORS; i++) {
        const lx_cuda_tensor *g = &w->gpu[i];
        void *of[] = {g->value,   g->gradient, g->narrow, g->m,     g->v,
                      g->m_codes, g->v_codes,  g->m_most, g->v_most};
        for (size_t k = 0; k < sizeof of / sizeof *of; k++)
            w->dev->free(w->dev, of[k]);
        free(w->cpu[i].value);
        free(w->cpu[i].gradient);
    }
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        w->dev->free(w->dev, all[k]);
    assert_int_equal(w->dev->bytes_now, 0);
    lx_device_close(w->dev);
}

/* New gradients on both sides; the device's are times the loss scale, a power of two. */
static void draw_gradients(world *w, int step, float poison)
{
    lx_error err = {0};

    for (int i = 0; i < TENSORS; i++) {
        const size_t n = (size_t)sizes[i];
        const lx_rng rng = lx_rng_stream(2, LX_RNG_TEST, (uint64_t)step, (uint64_t)i);
        float *scaled = malloc(n * sizeof *scaled);
        lx_rng_normal(w->cpu[i].gradient, n, 0, &rng);
        for (size_t j = 0; j < n; j++)
            scaled[j] = 4 * w->cpu[i].gradient[j];
        scaled[n / 2] += poison;
        assert_int_equal(
            w->dev->upload(w->dev, w->gpu[i].gradient, scaled, n * sizeof *scaled, &err),
            0);
        free(scaled);
    }
}

static void set_rates(world *w, const lx_optimizer_config *c, int updates, bool is_lion)
{
    const double lr = 1e-2;
    lx_error err = {0};
    lx_cuda_rates r = {.keep = (float)(1 - lr * c->weight_decay), .step = (float)lr};

    if (!is_lion) {
        r.step = (float)(lr / (1 - pow(c->betas[0], updates)));
        r.root = (float)sqrt(1 - pow(c->betas[1], updates));
    }
    assert_int_equal(w->dev->upload(w->dev, w->rates, &r, sizeof r, &err), 0);
}

static void update(world *w, const lx_optimizer_config *c, bool is_lion, float max_norm)
{
    const lx_cuda_betas b = {(float)c->betas[0], (float)(1 - c->betas[0]),
                             (float)c->betas[1], (float)(1 - c->betas[1]), (float)c->eps};

    lx_cuda_gradient_norm(w->dev, w->found, &w->all, w->loss_scale, max_norm, w->scratch);
    (is_lion ? lx_cuda_lion : lx_cuda_adamw)(w->dev, &w->all, w->rates, b, w->found,
                                             w->has_codes ? w->maps : NULL);
}

static void compare_values(world *w)
{
    for (int i = 0; i < TENSORS; i++) {
        const size_t n = (size_t)sizes[i];
        float *value = malloc(n * sizeof *value), *gradient = malloc(n * sizeof *value);
        uint16_t *narrow = malloc(n * sizeof *narrow);
        from_device(w->dev, value, w->gpu[i].value, n * sizeof *value);
        from_device(w->dev, gradient, w->gpu[i].gradient, n * sizeof *value);
        from_device(w->dev, narrow, w->gpu[i].narrow, n * sizeof *narrow);
        for (size_t j = 0; j < n; j++) {
            if (value[j] != w->cpu[i].value[j])
                fail_msg("tensor %d, element %zu: %.9g, on the CPU %.9g", i, j,
                         (double)value[j], (double)w->cpu[i].value[j]);
            if (w->cpu[i].has_gradient) {
                assert_true(gradient[j] == 0);
                assert_int_equal(narrow[j], lx_bf16_from_f32(value[j]));
            }
        }
        free(value);
        free(gradient);
        free(narrow);
    }
}

/* Clipped in the second step only: the norm of so many standard normals is about 73. */
static void check_updates(lx_optimizer_type type, bool is_lion, bool has_codes,
                          int variant)
{
    lx_optimizer_config config;
    lx_optimizer *optimizer;
    lx_error err = {0};
    lx_cuda_gradients found;
    world w;

    lx_optimizer_defaults(&config, type);
    make_world(&w, variant, has_codes);
    assert_int_equal(lx_optimizer_new(&optimizer, &config, w.cpu, TENSORS, &err), 0);
    for (int step = 1; step <= STEPS; step++) {
        const float most = step == 2 ? 1 : 1000;
        draw_gradients(&w, step, 0);
        set_rates(&w, &config, step, is_lion);
        update(&w, &config, is_lion, most);
        const double norm = lx_gradient_norm(w.cpu, TENSORS);
        from_device(w.dev, &found, w.found, sizeof found);
        assert_true(found.is_finite);
        assert_true(fabs(found.norm - norm) < 1e-12 * norm);
        /* by: clip, over the loss scale; exactly what the CPU multiplies by, times a power of 2 */
        lx_gradient_clip(w.cpu, TENSORS, norm, most);
        lx_optimizer_step(optimizer, w.cpu, 1);
        compare_values(&w);
    }
    lx_optimizer_free(optimizer);
    end_world(&w);
}

static void test_updates__have_the_cpu_s_bits(void **state)
{
    for (int variant = 1; variant <= 3; variant++) {
        check_updates(LX_OPTIMIZER_ADAMW, false, false, variant);
        check_updates(LX_OPTIMIZER_ADAMW_8BIT, false, true, variant);
        check_updates(LX_OPTIMIZER_LION, true, false, variant);
        check_updates(LX_OPTIMIZER_LION_8BIT, true, true, variant);
    }
}

static void test_update__skips_what_is_not_finite(void **state)
{
    lx_optimizer_config config;
    lx_cuda_gradients found;
    int zero[2] = {0}, steps[2];
    float scale;
    world w;

    lx_optimizer_defaults(&config, LX_OPTIMIZER_ADAMW);
    make_world(&w, 1, false);
    int *counted = to_device(w.dev, zero, sizeof zero);
    for (int i = 0; i < 2; i++) {
        draw_gradients(&w, 1, i ? NAN : INFINITY);
        set_rates(&w, &config, 1, false);
        update(&w, &config, false, 1);
        lx_cuda_scale_update(w.dev, w.loss_scale, counted, w.found, 2);
        from_device(w.dev, &found, w.found, sizeof found);
        assert_false(found.is_finite);
    }
    from_device(w.dev, &scale, w.loss_scale, sizeof scale);
    assert_true(scale == 1);
    float *value = malloc((size_t)sizes[0] * sizeof *value);
    from_device(w.dev, value, w.gpu[0].value, (size_t)sizes[0] * sizeof *value);
    assert_memory_equal(value, w.cpu[0].value, (size_t)sizes[0] * sizeof *value);
    from_device(w.dev, value, w.gpu[0].gradient, (size_t)sizes[0] * sizeof *value);
    for (int64_t i = 0; i < sizes[0]; i++)
        assert_true(value[i] == 0);
    for (int i = 0; i < 2; i++) { /* two good ones in a row double it */
        draw_gradients(&w, 1, 0);
        update(&w, &config, false, 1);
        lx_cuda_scale_update(w.dev, w.loss_scale, counted, w.found, 2);
    }
    from_device(w.dev, &scale, w.loss_scale, sizeof scale);
    from_device(w.dev, steps, counted, sizeof steps);
    assert_true(scale == 2 && steps[0] == 0 && steps[1] == 2);
    free(value);
    w.dev->free(w.dev, counted);
    end_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise__is_the_cpu_s),
        cmocka_unit_test(test_updates__have_the_cpu_s_bits),
        cmocka_unit_test(test_update__skips_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
