/* What a training will hold, for lx plan and for --max_memory. */
#include "src/train/session_internal.h"

int lx_train__encoder_memory(lx_plan_memory *out, const lx_train *t, lx_error *err)
{
    int64_t most = 0;
    int rc = LX_OK;

    *out = (lx_plan_memory){0};
    for (size_t i = 0; i < t->dataset->n_buckets && rc == LX_OK; i++) {
        const lx_bucket *b = &t->dataset->buckets[i];
        if ((int64_t)b->width * b->height <= most)
            continue;
        most = (int64_t)b->width * b->height;
        rc = lx_latents_memory(out, t->latents, b->width, b->height, err);
    }
    return rc;
}

/* What of the process is neither LoRA nor weight nor latents, which are counted on their own. */
static size_t program_bytes(const lx_train *t, size_t counted)
{
    const size_t now = lx_resident_now().anonymous;

    return t->before.file + (now > counted ? now - counted : 0);
}

static size_t all_of(const lx_plan_memory *m)
{
    return m->arena_bytes + m->packed_bytes + m->weight_bytes;
}

/* Plans say which weights are there, and how. The VAE is gone before the first step where latents are cached, and never
 * there where it encodes beside the steps. */
static void count_device(lx_footprint *f, const lx_train *t,
                         const lx_plan_memory *encoder)
{
    const lx_plan_memory none = {0}, *vae = t->encoder_dev ? &none : encoder,
                         *beside = f->is_cached ? &none : vae;
    size_t caching;

    f->lora += t->lora->narrow_bytes;
    f->device_weights = t->memory.weight_bytes + beside->weight_bytes;
    f->packed = t->memory.packed_bytes + beside->packed_bytes;
    f->context = LX_FOOTPRINT_CONTEXT;
    f->device_beside = all_of(beside) + f->lora + f->optimizer + f->context;
    f->device = all_of(&t->memory) + f->device_beside;
    caching = all_of(vae) + f->lora + f->context;
    if (f->device < caching)
        f->device = caching;
}

int lx_train__count_footprint(lx_footprint *out, lx_train *t,
                              const lx_plan_memory *encoder, lx_error *err)
{
    const bool is_beside = !t->dev->uses_host_memory;
    lx_footprint_of of = {.config = t->config,
                          .dataset = t->dataset,
                          .checkpoint = t->checkpoint,
                          .lora = t->lora,
                          .arena = t->memory.arena_bytes,
                          .encoder_arena = encoder->arena_bytes,
                          .encodes_ahead = t->encoder_dev != NULL,
                          .has_own_memory = is_beside,
                          .held = t->memory.weight_bytes + t->memory.packed_bytes,
                          .encoder_held = encoder->weight_bytes + encoder->packed_bytes};
    size_t counted;
    int rc;

    of.tensors = lx_step_trainables(t->step, &of.n_tensors);
    if ((rc = lx_footprint_count(out, &of, err)) < 0)
        return rc;
    counted = t->lora_resident + (is_beside ? 0 : out->copied);
    if (t->loader && t->config->data.cache_latents)
        counted += out->latents;
    of.program = program_bytes(t, counted);
    if ((rc = lx_footprint_count(out, &of, err)) == LX_OK && is_beside)
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
    lx_plan_memory encoder = {0};
    int rc;

    if (!t->beside_arena) {
        if (t->latents && (rc = lx_train__encoder_memory(&encoder, t, err)) < 0)
            return rc;
        if ((rc = lx_train__count_footprint(&f, t, &encoder, err)) < 0)
            return rc;
        t->beside_arena =
            f.device ? f.device_beside : lx_footprint_beside_arena(&f) + PLANS_TO_COME;
    }
    *out = t->beside_arena;
    return LX_OK;
}
