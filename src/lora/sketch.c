#include "src/lora/sketch.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/lora/factors.h"

/* splitmix64's last steps: every bit of the input moves every bit of the output. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t hash_name(const char *name)
{
    return mix(lx_hash_name(name));
}

static double sign_of(uint64_t seed, size_t i)
{
    return mix(seed + (i + 1) * 0x9E3779B97F4A7C15u) & 1 ? 1.0 : -1.0;
}

/* D x, [rank] */
static void project(double *out, const lx_lora_factors *f, uint64_t seed)
{
    memset(out, 0, f->rank * sizeof *out);
    for (size_t j = 0; j < f->in; j++) {
        const double x = sign_of(seed, j);
        for (size_t k = 0; k < f->rank; k++)
            out[k] += x * f->down[k * f->in + j];
    }
}

static void add_module(double *sum, const lx_lora_factors *f, const double *projected,
                       double scale, uint64_t seed)
{
    for (size_t i = 0; i < f->out; i++) {
        const uint64_t h = mix(seed + (i + 1) * 0xD1B54A32D192ED03u);
        double y = 0;
        for (size_t k = 0; k < f->rank; k++)
            y += f->up[i * f->rank + k] * projected[k];
        sum[h % LX_SKETCH] += (h >> 63 ? scale : -scale) * y;
    }
}

/* One module into the sum; not at all when it has a value that is not finite. */
static int take(double *sum, lx_sketch *out, const lx_lora_entry *e, lx_lora_factors *f,
                lx_error *err)
{
    const uint64_t seed = hash_name(e->name);
    double *projected, check = 0;
    int rc = lx_lora_factors_read(f, e, err);

    if (rc != LX_OK)
        return rc < 0 ? rc : LX_OK;
    for (size_t i = 0; i < f->out * f->rank; i++)
        check += fabs(f->up[i]);
    for (size_t i = 0; i < f->in * f->rank; i++)
        check += fabs(f->down[i]);
    if (!isfinite(check))
        return LX_OK;
    if (!(projected = lx_alloc(f->rank * sizeof *projected)))
        return lx_oom(err);
    project(projected, f, seed);
    add_module(sum, f, projected, lx_lora_entry_scale(e), ~seed);
    lx_free(projected);
    out->n_modules++;
    return LX_OK;
}

int lx_lora_sketch(lx_sketch *out, const lx_lora_file *file, lx_error *err)
{
    double *sum = lx_calloc(LX_SKETCH, sizeof *sum), square = 0;
    lx_lora_factors f = {0};
    int rc = sum ? LX_OK : lx_oom(err);

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < file->n_modules && rc == LX_OK; i++)
        if (lx_lora_is_plain(&file->modules[i]))
            rc = take(sum, out, &file->modules[i], &f, err);
    for (size_t i = 0; i < LX_SKETCH && rc == LX_OK; i++)
        square += sum[i] * sum[i];
    for (size_t i = 0; i < LX_SKETCH && square > 0 && rc == LX_OK; i++)
        out->values[i] = (float)(sum[i] / sqrt(square));
    lx_lora_factors_release(&f);
    lx_free(sum);
    return rc;
}

double lx_sketch_cosine(const lx_sketch *a, const lx_sketch *b)
{
    double sum = 0;

    for (size_t i = 0; i < LX_SKETCH; i++)
        sum += (double)a->values[i] * b->values[i];
    return sum;
}
