/* Frozen weights that are on a device only while something there reads them. */
#include "src/graph/graph.h"

static size_t item_bytes(const lx_param *param)
{
    return (size_t)lx_dtype_bits(param->dtype) / 8;
}

size_t lx_param_bytes(const lx_param *param)
{
    size_t bytes = item_bytes(param);

    for (int i = 0; i < param->n_dims; i++)
        bytes *= (size_t)param->shape[i];
    return bytes;
}

int lx_param_hold(lx_param *param, lx_device *dev, lx_error *err)
{
    const lx_arg weight = {.source = param->source};
    const size_t bytes = lx_param_bytes(param);
    bool is_new;
    int rc;

    if (!param->source)
        return LX_OK;
    if ((rc = lx_pack_get(dev, &weight, LX_PACK_AS_IS, bytes, &param->value, &is_new,
                          err)) < 0)
        return rc;
    if (is_new && (rc = param->source->read(param->source, param->value, 0,
                                            bytes / item_bytes(param), err)) < 0) {
        lx_pack_spoil(dev, &weight, LX_PACK_AS_IS);
        param->value = NULL;
        return rc;
    }
    param->n_holders++;
    return LX_OK;
}

void lx_param_let_go(lx_param *param, lx_device *dev)
{
    const lx_arg weight = {.source = param->source};

    if (!param->source)
        return;
    lx_pack_put(dev, &weight, LX_PACK_AS_IS);
    if (--param->n_holders == 0)
        param->value = NULL;
}
