/* A new LoRA for a checkpoint. */
#include <math.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/lora/lycoris.h"

bool lx_lora__choose(int *rank, double *alpha, const lx_lora_spec *spec,
                     const lx_lora_target *target)
{
    const bool has_part =
        target->part == LX_UNET ? spec->has_unet : spec->has_text_encoder;
    const bool is_conv = target->kind == LX_TARGET_CONV;
    const int block = target->part == LX_UNET && spec->has_block_ranks
                          ? lx_lora_block(target->layer)
                          : -1;

    if (!has_part || target->kind == LX_TARGET_OTHER ||
        (target->kind != LX_TARGET_LINEAR && !lx_lora_spec_has_conv(spec)))
        return false;
    *rank = is_conv ? spec->conv_rank : spec->rank;
    *alpha = is_conv ? spec->conv_alpha : spec->alpha;
    if (block >= 0) {
        *rank = is_conv ? spec->conv_block_rank[block] : spec->block_rank[block];
        *alpha = is_conv ? spec->conv_block_alpha[block] : spec->block_alpha[block];
    }
    if (*alpha == 0)
        *alpha = *rank;
    return *rank > 0;
}

static int add(lx_lora *lora, const lx_lora_target *target, const lx_lora_spec *spec,
               lx_error *err)
{
    double alpha;
    int rank, rc;

    if (!lx_lora__choose(&rank, &alpha, spec, target))
        return LX_OK;
    rc = lx_lora__add(lora, target, rank, (float)alpha, err);
    if (rc == LX_OK && spec->has_block_alphas && target->part == LX_UNET)
        lora->modules[lora->count - 1].is_alpha_whole = false;
    return rc;
}

void lx_lora__draw_down(float *out, const lx_lora_module *module, uint64_t seed)
{
    lx_rng rng = lx_rng_stream(seed, LX_RNG_INIT, 0, lx_hash_name(module->name));
    size_t n = lx_lora__size(&module->down);
    double bound = 1.0 / sqrt((double)(n / (size_t)module->rank));

    for (size_t i = 0; i < n; i++)
        out[i] = (float)((2.0 * lx_rng_uniform(&rng) - 1.0) * bound);
}

/* Ups are zero already. */
static int initialise(lx_lora *lora, uint64_t seed, lx_error *err)
{
    for (size_t i = 0; i < lora->count; i++) {
        lx_lora_module *m = &lora->modules[i];

        if (m->kind == LX_KIND_LORA)
            lx_lora__draw_down(lx_lora_host_value(lora, &m->down), m, seed);
        else
            lx_lycoris__initialise(lora, m, seed);
    }
    return lx_lora_send(lora, err);
}

int lx_lora_create(lx_lora **out, lx_device *dev, lx_checkpoint *ckpt,
                   const lx_sd_config *config, const lx_lora_spec *spec, uint64_t seed,
                   lx_error *err)
{
    enum { MAX_RANK = 1 << 16 };
    lx_lora_targets targets = {0};
    lx_arena *arena = lx_arena_new();
    lx_lora *lora = NULL;
    int rc;

    *out = NULL;
    if (!arena) {
        rc = lx_oom(err);
        goto done;
    }
    if (spec->rank < 1 || spec->rank > MAX_RANK || spec->conv_rank > MAX_RANK) {
        rc = lx_fail(err, LX_EUSAGE, "a rank of %d makes no sense: 1 to %d is possible",
                     spec->conv_rank > MAX_RANK ? spec->conv_rank : spec->rank, MAX_RANK);
        goto done;
    }
    if ((rc = lx_lora__targets(&targets, arena, ckpt, config, err)) < 0 ||
        (rc = lx_lora__new(&lora, dev, targets.count, err)) < 0)
        goto done;
    for (size_t i = 0; i < targets.count; i++) {
        if ((rc = spec->is_lycoris ? lx_lycoris__add(lora, &targets.items[i], spec, err)
                                   : add(lora, &targets.items[i], spec, err)) < 0)
            goto done;
    }
    if ((rc = lx_lora__place(lora, true, err)) < 0 ||
        (rc = initialise(lora, seed, err)) < 0)
        goto done;
    *out = lora;
    lora = NULL;
done:
    lx_lora_free(lora);
    lx_free(targets.items);
    lx_arena_free(arena);
    return rc;
}
