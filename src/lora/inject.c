/* Where the LoRA meets the model. */
#include <string.h>

#include "src/lora/lora.h"

static lx_lora_module *module_of(lx_lora *lora, const lx_layer *layer)
{
    for (size_t i = 0; i < lora->count; i++)
        if (lora->modules[i].part == layer->part &&
            strcmp(lora->modules[i].layer, layer->name) == 0)
            return &lora->modules[i];
    return NULL;
}

lx_tensor *lx_lora_inject(void *context, lx_builder *b, const lx_layer *layer, lx_tensor *x,
                          lx_tensor *y)
{
    lx_graph *g = b->graph;
    lx_lora *lora = context;
    lx_lora_module *module = module_of(lora, layer);
    lx_tensor *down, *up, *h;
    float scale;

    if (!module)
        return y;
    scale = lora->multiplier * module->alpha / (float)module->rank;
    lx_graph_push(g, "lora");
    down = lx_graph_param(g, &module->down);
    up = lx_graph_param(g, &module->up);
    h = module->is_conv ? lx_op_conv2d(g, x, down, NULL, layer->stride, layer->pad)
                        : lx_op_linear(g, x, down, NULL, 1.0f);
    y = lx_op_linear_add(g, h, up, y, scale);
    lx_graph_pop(g);
    return y;
}
