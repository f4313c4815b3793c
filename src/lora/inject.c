/* Where the LoRA meets the model. */
#include <string.h>

#include "src/base/rng.h"
#include "src/lora/lycoris.h"

static lx_lora_module *module_of(lx_lora *lora, const lx_layer *layer)
{
    for (size_t i = 0; i < lora->count; i++)
        if (lora->modules[i].part == layer->part &&
            strcmp(lora->modules[i].layer, layer->name) == 0)
            return &lora->modules[i];
    return NULL;
}

uint64_t lx_lora_dropout_stream(const lx_lora_module *module)
{
    return lx_hash_name(module->name);
}

static lx_tensor *apply(lx_graph *g, const lx_layer *layer, lx_lora_module *module,
                        lx_tensor *x, lx_tensor *y, float scale,
                        const lx_lora_dropout *dropout)
{
    lx_tensor *down = lx_graph_param(g, &module->down);
    lx_tensor *up = lx_graph_param(g, &module->up);
    lx_tensor *h = module->is_conv
                       ? lx_op_conv2d(g, x, down, NULL, layer->stride, layer->pad)
                       : lx_op_linear(g, x, down, NULL, 1.0f);

    if (dropout->moment)
        h = lx_op_dropout(g, h, dropout->moment, (float)dropout->neuron,
                          (float)dropout->rank, (float)dropout->module,
                          lx_lora_dropout_stream(module));
    return lx_op_linear_add(g, h, up, y, scale);
}

lx_tensor *lx_lora_inject_dropout(lx_lora *lora, lx_builder *b, const lx_layer *layer,
                                  lx_tensor *x, lx_tensor *y,
                                  const lx_lora_dropout *dropout)
{
    lx_graph *g = b->graph;
    lx_lora_module *module = module_of(lora, layer);
    float scale;

    if (!module)
        return y;
    scale = lora->multiplier * module->alpha / (float)module->rank;
    lx_graph_push(g, "lora");
    if (module->kind != LX_KIND_LORA || dropout->by_row)
        y = lx_lycoris__apply(g, b, layer, module, x, y, scale, dropout);
    else
        y = apply(g, layer, module, x, y, scale, dropout);
    lx_graph_pop(g);
    return y;
}

lx_tensor *lx_lora_inject(void *lora, lx_builder *b, const lx_layer *layer, lx_tensor *x,
                          lx_tensor *y)
{
    static const lx_lora_dropout none = {.moment = NULL};

    return lx_lora_inject_dropout(lora, b, layer, x, y, &none);
}
