/* What a training will hold, for lx plan and for --max_memory. */
#include "src/train/session_internal.h"

/* The VAE's arena for the largest image; its weights stay listed, to be counted. */
int lx_train__encoder_arena(size_t *out, const lx_train *t, lx_error *err)
{
    int64_t most = 0;
    int rc = LX_OK;

    *out = 0;
    for (size_t i = 0; i < t->dataset->n_buckets && rc == LX_OK; i++) {
        const lx_bucket *b = &t->dataset->buckets[i];
        if ((int64_t)b->width * b->height <= most)
            continue;
        most = (int64_t)b->width * b->height;
        rc = lx_latents_arena(out, t->latents, b->width, b->height, err);
    }
    return rc;
}

/* What of the process is neither LoRA nor weight nor latents, which are counted on their own. */
static size_t program_bytes(const lx_train *t, size_t counted)
{
    const size_t now = lx_resident_now().anonymous;

    return t->before.file + (now > counted ? now - counted : 0);
}

/* Weights and LoRA are on the device when a graph has been built; the optimizer's states will be. The
 * VAE's weights, which may be there too, are gone before the first step where latents are cached. */
static void count_device(lx_footprint *f, const lx_train *t, size_t encoder_arena)
{
    const size_t held = t->dev->bytes_now, vae = f->encoder - encoder_arena,
                 beside = f->lora + t->lora->narrow_bytes + (f->is_cached ? vae : 0);

    f->device_weights = held > beside ? held - beside : 0;
    f->lora += t->lora->narrow_bytes;
    f->packed = t->memory.packed_bytes;
    f->context = LX_FOOTPRINT_CONTEXT;
    f->device = f->device_weights + f->packed + f->arena + f->lora + f->optimizer +
                f->context + (f->is_cached ? 0 : encoder_arena);
}

int lx_train__count_footprint(lx_footprint *out, lx_train *t, size_t encoder,
                              lx_error *err)
{
    lx_footprint_of of = {.config = t->config,
                          .dataset = t->dataset,
                          .checkpoint = t->checkpoint,
                          .lora = t->lora,
                          .arena = t->memory.arena_bytes,
                          .encoder_arena = encoder,
                          .encodes_ahead = t->encoder_dev != NULL,
                          .is_copied_to_save = !t->dev->uses_host_memory};
    size_t counted;
    int rc;

    of.tensors = lx_step_trainables(t->step, &of.n_tensors);
    if ((rc = lx_footprint_count(out, &of, err)) < 0)
        return rc;
    counted = t->lora_resident + out->copied;
    if (t->loader && t->config->data.cache_latents)
        counted += out->latents;
    of.program = program_bytes(t, counted);
    if ((rc = lx_footprint_count(out, &of, err)) == LX_OK && !t->dev->uses_host_memory)
        count_device(out, t, encoder);
    return rc;
}

/* Bytes for the tables of plans that are made after the limit was asked for. */
enum { PLANS_TO_COME = 8 << 20 };

/* Asked by the first shape, when no arena is there yet, and the same for all. */
int lx_train__beside_arena(void *context, size_t *out, lx_error *err)
{
    lx_train *t = context;
    lx_footprint f;
    size_t encoder = 0;
    int rc;

    if (!t->beside_arena) {
        if (t->latents && (rc = lx_train__encoder_arena(&encoder, t, err)) < 0)
            return rc;
        if ((rc = lx_train__count_footprint(&f, t, encoder, err)) < 0)
            return rc;
        t->beside_arena =
            f.device ? f.device - f.arena : lx_footprint_beside_arena(&f) + PLANS_TO_COME;
    }
    *out = t->beside_arena;
    return LX_OK;
}
