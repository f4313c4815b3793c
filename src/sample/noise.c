#include "src/sample/noise.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/sample/brownian.h"
#include "src/sample/torch_random.h"

struct lx_noise {
    lx_noise_kind kind;
    uint64_t seed;
    int64_t ensd;
    size_t n;
    lx_torch_random torch;
    uint64_t fresh_seed;
    uint32_t call;
    lx_brownian *path;
};

static const char *const names[] = {
    [LX_NOISE_TORCH] = "a1111-cpu", [LX_NOISE_CUDA] = "a1111-gpu", [LX_NOISE_LX] = "lx"};

int lx_noise_kind_find(lx_noise_kind *out, const char *name, lx_error *err)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (lx_noise_kind)i;
            return LX_OK;
        }
    return lx_fail(err, LX_EUSAGE,
                   "there is no noise \"%s\"; there are a1111-cpu, a1111-gpu, lx", name);
}

const char *lx_noise_kind_name(lx_noise_kind kind)
{
    return names[kind];
}

int lx_noise_new(lx_noise **out, lx_noise_kind kind, uint64_t seed, int64_t ensd,
                 size_t n, lx_error *err)
{
    lx_noise *noise = lx_calloc(1, sizeof *noise);

    *out = noise;
    if (!noise)
        return lx_oom(err);
    noise->kind = kind;
    noise->seed = noise->fresh_seed = seed;
    noise->ensd = ensd;
    noise->n = n;
    lx_torch_seed(&noise->torch, seed);
    return LX_OK;
}

void lx_noise_free(lx_noise *noise)
{
    if (noise)
        lx_brownian_free(noise->path);
    lx_free(noise);
}

void lx_noise_fresh(float *out, lx_noise *noise)
{
    lx_rng stream;

    switch (noise->kind) {
    case LX_NOISE_TORCH:
        lx_torch_normal(out, noise->n, &noise->torch);
        break;
    case LX_NOISE_CUDA:
        lx_cuda_normal(out, noise->n, noise->fresh_seed, noise->call);
        break;
    case LX_NOISE_LX:
        stream = lx_rng_stream(noise->fresh_seed, LX_RNG_SAMPLE, noise->call, 0);
        lx_rng_normal(out, noise->n, 0, &stream);
        break;
    }
    noise->call++;
}

void lx_noise_start(float *out, lx_noise *noise)
{
    lx_noise_fresh(out, noise);
    if (noise->ensd == 0)
        return;
    noise->fresh_seed = noise->seed + (uint64_t)noise->ensd;
    noise->call = 0;
    lx_torch_seed(&noise->torch, noise->fresh_seed);
}

static void draw_torch(float *out, size_t n, uint32_t seed)
{
    lx_torch_random random;

    lx_torch_seed(&random, seed);
    lx_torch_normal(out, n, &random);
}

static void draw_cuda(float *out, size_t n, uint32_t seed)
{
    lx_cuda_normal(out, n, seed, 0);
}

static void draw_lx(float *out, size_t n, uint32_t seed)
{
    lx_rng stream = lx_rng_stream(seed, LX_RNG_SAMPLE, UINT32_MAX, 0);

    lx_rng_normal(out, n, 0, &stream);
}

int lx_noise_between(float *out, lx_noise *noise, double from, double to, double least,
                     double most, lx_error *err)
{
    static const lx_brownian_draw draws[] = {draw_torch, draw_cuda, draw_lx};
    int rc;

    if (!noise->path && (rc = lx_brownian_new(&noise->path, noise->seed, noise->n, least,
                                              most, draws[noise->kind], err)) < 0)
        return rc;
    return lx_brownian_noise(out, noise->path, from, to, err);
}
