/* LoRAs merged into the base model before a training: --base_weights. */
#include <math.h>

#include "src/base/alloc.h"
#include "src/lora/module.h"

/* values [out, in] += scale up [out, rank] down [rank, in]. */
static void add_product(float *values, const lx_lora_module *m, double scale)
{
    const size_t out = (size_t)m->up.shape[0], rank = (size_t)m->rank;
    const size_t in = lx_lora__size(&m->down) / rank;
    const float *up = m->up.value, *down = m->down.value;

    for (size_t o = 0; o < out; o++)
        for (size_t k = 0; k < rank; k++) {
            const float factor = (float)(scale * up[o * rank + k]);
            for (size_t i = 0; i < in; i++)
                values[o * in + i] += factor * down[k * in + i];
        }
}

static int merge(lx_checkpoint *ckpt, const lx_lora_module *m, double multiplier,
                 lx_error *err)
{
    const lx_tensor_view *weight = lx_checkpoint_find_weight(ckpt, m->part, m->layer);
    float *values;
    int rc;

    if (!weight)
        return lx_fail(err, LX_EMISMATCH, "%s: the base model has no such layer",
                       m->name);
    if (!(values = lx_alloc(weight->n_elements * sizeof *values)))
        return lx_oom(err);
    if ((rc = lx_to_f32(values, weight->data, weight->dtype, weight->n_elements)) < 0)
        lx_fail(err, rc, "%s: weights of type %s cannot be read", weight->name,
                lx_dtype_name(weight->dtype));
    else {
        add_product(values, m, multiplier * m->alpha / m->rank);
        rc = lx_checkpoint_change(ckpt, m->part, m->layer, values, err);
    }
    lx_free(values);
    return rc;
}

int lx_lora_merge_into(lx_checkpoint *ckpt, const lx_sd_config *config, const char *path,
                       double multiplier, lx_error *err)
{
    lx_device *host = NULL; /* factors where they can be read, whatever trains */
    lx_lora *lora = NULL;
    int rc;

    if ((rc = lx_device_open_cpu(&host, 1, err)) < 0)
        return rc;
    if ((rc = lx_lora_open_any(&lora, host, ckpt, config, path, true, err)) == LX_OK)
        for (size_t i = 0; i < lora->count && rc == LX_OK; i++)
            rc = merge(ckpt, &lora->modules[i], multiplier, err);
    lx_lora_free(lora);
    lx_device_close(host);
    return rc;
}
