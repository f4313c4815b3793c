#include "src/train/footprint.h"

#include "src/data/prefetch.h"

/* A page that is read brings its neighbours that are in memory anyway: 16 of 4 KiB on Linux. */
enum { ROW_BYTES = 1 << 16, ROWS_PER_CAPTION = 20 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Of a table of tokens only the rows of the captions' are read. */
static size_t touched_of(const lx_footprint_of *of, const lx_checkpoint_weight *weight)
{
    const size_t rows = (of->dataset->n_images + 1) * ROWS_PER_CAPTION;

    return weight->is_embedding ? least(weight->bytes, rows * ROW_BYTES) : weight->bytes;
}

static void count_weights(lx_footprint *f, const lx_footprint_of *of)
{
    const bool is_vae_there = of->has_own_memory && !of->encodes_ahead;

    for (lx_part part = 0; part < LX_PART_COUNT; part++) {
        lx_checkpoint_weight weight;
        for (size_t at = 0; lx_checkpoint_held(&weight, of->checkpoint, part, &at);) {
            const size_t touched = touched_of(of, &weight);
            if (part == LX_VAE) {
                if (is_vae_there)
                    continue;
                f->encoder += weight.is_mapped ? touched : weight.bytes;
            } else if (weight.is_mapped) {
                f->mapped += weight.bytes;
                f->touched += touched;
            } else if (!of->has_own_memory) {
                f->copied += weight.bytes;
            }
        }
    }
    if (of->has_own_memory)
        f->copied = of->held;
    if (is_vae_there)
        f->encoder += of->encoder_held;
}

static size_t latent_bytes(const lx_footprint_of *of)
{
    size_t total = 0;

    for (size_t i = 0; of->config->data.cache_latents && i < of->dataset->n_images; i++) {
        const lx_image *image = &of->dataset->images[i];
        const lx_bucket *b = &of->dataset->buckets[image->bucket];
        const size_t cells = (size_t)(b->width / 8) * (size_t)(b->height / 8);
        if (image->repeats)
            total += cells * 5 * sizeof(float) *
                     (lx_dataset_settings(of->dataset, image)->flip_aug ? 2 : 1);
    }
    return total;
}

static int optimizer_bytes(size_t *out, const lx_footprint_of *of, lx_error *err)
{
    lx_optimizer *optimizer = NULL;
    const lx_optimizer_state *states;
    size_t n;
    int rc = lx_optimizer_new(&optimizer, &of->config->optimizer, of->tensors,
                              of->n_tensors, err);

    *out = 0;
    if (rc < 0)
        return rc;
    states = lx_optimizer_states(optimizer, &n);
    for (size_t i = 0; i < n; i++)
        *out += states[i].n * (size_t)lx_dtype_bits(states[i].dtype) / 8;
    lx_optimizer_free(optimizer);
    return LX_OK;
}

size_t lx_footprint_beside_arena(const lx_footprint *f)
{
    return f->program + f->touched + f->copied + f->lora + f->optimizer + f->latents +
           f->saving + (f->is_cached ? 0 : f->encoder + f->reading);
}

int lx_footprint_count(lx_footprint *out, const lx_footprint_of *of, lx_error *err)
{
    const size_t n = of->lora->n_values;
    lx_footprint f = {.program = of->program,
                      .arena = of->arena,
                      .encoder = of->encoder_arena,
                      .encodes_ahead = of->encodes_ahead,
                      .is_cached = of->config->data.cache_latents};
    int rc;

    count_weights(&f, of);
    f.lora = 2 * n * sizeof(float);
    f.latents = latent_bytes(of);
    if (of->config->max_data_loader_n_workers)
        f.reading = lx_prefetch_bytes(of->dataset, f.encodes_ahead);
    if (of->has_own_memory || of->config->save_dtype != LX_F32)
        f.saving = n * (size_t)lx_dtype_bits(of->config->save_dtype) / 8;
    if ((rc = optimizer_bytes(&f.optimizer, of, err)) < 0)
        return rc;
    f.peak = most(lx_footprint_beside_arena(&f) + f.arena,
                  f.program + f.lora + f.latents + f.encoder + f.reading);
    *out = f;
    return LX_OK;
}
