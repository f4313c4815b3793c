#include "src/verify/dose.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/lora/module.h"
#include "src/lora/spectrum.h"
#include "src/lora/weights.h"

enum { STREAM_SIGNS = 1 << 24 }; /* steps of LX_RNG_VERIFY from here are sign patterns */

struct lx_dose {
    lx_lora *lora;
    float *loaded, *now; /* [n_values] */
};

int lx_dose_new(lx_dose **out, lx_lora *lora, lx_error *err)
{
    lx_dose *d = lx_calloc(1, sizeof *d);
    int rc = LX_OK;

    *out = NULL;
    if (!d || !(d->loaded = lx_alloc(lora->n_values * sizeof(float))) ||
        !(d->now = lx_alloc(lora->n_values * sizeof(float))))
        rc = lx_oom(err);
    if (rc == LX_OK)
        rc = lora->dev->download(lora->dev, d->loaded, lora->values,
                                 lora->n_values * sizeof(float), err);
    for (size_t i = 0; i < lora->n_values && rc == LX_OK; i++)
        if (!isfinite(d->loaded[i]))
            rc = lx_fail(err, LX_EFORMAT,
                         "the LoRA has values that are not finite numbers "
                         "(lx inspect names them)");
    if (rc < 0) {
        lx_dose_free(d);
        return rc;
    }
    d->lora = lora;
    *out = d;
    return LX_OK;
}

void lx_dose_free(lx_dose *d)
{
    if (!d)
        return;
    lx_free(d->loaded);
    lx_free(d->now);
    lx_free(d);
}

/* Where a factor begins in the slab. */
static size_t offset_of(const lx_dose *d, const lx_param *param)
{
    return (size_t)((const float *)param->value - d->lora->values);
}

static int upload(lx_dose *d, lx_error *err)
{
    memcpy(d->lora->host_values, d->now, d->lora->n_values * sizeof(float));
    return lx_lora_send(d->lora, err);
}

double lx_dose_unit(double strength, double te_strength)
{
    return strength != 0 ? strength : te_strength;
}

int lx_dose_set(lx_dose *d, double strength, double te_strength, lx_error *err)
{
    memcpy(d->now, d->loaded, d->lora->n_values * sizeof(float));
    for (size_t i = 0; i < d->lora->count; i++) {
        const lx_lora_module *m = &d->lora->modules[i];
        const float by = (float)(m->part == LX_UNET ? strength : te_strength);
        float *up = d->now + offset_of(d, &m->up);

        for (size_t k = 0; by != 1.0f && k < lx_lora__size(&m->up); k++)
            up[k] = by == 0 ? 0 : by * up[k];
    }
    return upload(d, err);
}

/* down -> down V diag(signs) V^T */
static void turn_signs(float *down, const double *right, double *shares, size_t rank,
                       size_t in, lx_rng rng)
{
    for (size_t i = 0; i < rank; i++) {
        const double sign = lx_rng_u32(&rng) & 1 ? -1 : 1;
        for (size_t r = 0; r < rank; r++) {
            double sum = 0;
            for (size_t l = 0; l < in; l++)
                sum += (double)down[r * in + l] * right[i * in + l];
            shares[r * rank + i] = sign * sum;
        }
    }
    for (size_t r = 0; r < rank; r++)
        for (size_t l = 0; l < in; l++) {
            double sum = 0;
            for (size_t i = 0; i < rank; i++)
                sum += shares[r * rank + i] * right[i * in + l];
            down[r * in + l] = (float)sum;
        }
}

/* up -> diag(signs) up: where a decomposition would take too long. */
static void turn_outputs(float *up, size_t out, size_t rank, lx_rng rng)
{
    for (size_t i = 0; i < out; i++)
        if (lx_rng_u32(&rng) & 1)
            for (size_t r = 0; r < rank; r++)
                up[i * rank + r] = -up[i * rank + r];
}

static int scramble_module(lx_dose *d, const lx_lora_module *m, uint64_t seed,
                           uint64_t pattern, lx_error *err)
{
    const lx_rng rng =
        lx_rng_stream(seed, LX_RNG_VERIFY, STREAM_SIGNS + pattern, lx_hash_name(m->name));
    const size_t rank = (size_t)m->rank, out = lx_lora__size(&m->up) / rank;
    const size_t in = lx_lora__size(&m->down) / rank;
    float *down = d->now + offset_of(d, &m->down);
    double *memory, *right, *shares;
    int rc;

    if (rank > LX_SPECTRUM_RANK) {
        turn_outputs(d->now + offset_of(d, &m->up), out, rank, rng);
        return LX_OK;
    }
    if (!(memory = lx_alloc((rank + rank * in + rank * rank) * sizeof *memory)))
        return lx_oom(err);
    right = memory + rank;
    shares = right + rank * in;
    rc = lx_spectrum(memory, right, d->now + offset_of(d, &m->up), down, out, rank, in,
                     err);
    if (rc == LX_OK)
        turn_signs(down, right, shares, rank, in, rng);
    lx_free(memory);
    return rc;
}

int lx_dose_scramble(lx_dose *d, uint64_t seed, uint64_t pattern, lx_error *err)
{
    int rc = LX_OK;

    memcpy(d->now, d->loaded, d->lora->n_values * sizeof(float));
    for (size_t i = 0; i < d->lora->count && rc == LX_OK; i++)
        rc = scramble_module(d, &d->lora->modules[i], seed, pattern, err);
    return rc < 0 ? rc : upload(d, err);
}
