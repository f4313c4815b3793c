#include "src/model/builder.h"

#include <stdio.h>
#include <string.h>

#include "src/base/str.h"

enum { N_GROUPS = 32 };
static const float layer_norm_eps = 1e-5f;
static const lx_arithmetic in_f32 = {LX_COMPUTE_F32, false};

/* ---- where the walk is -------------------------------------------------------------------- */

void lx_build_push(lx_builder *b, const char *fmt, ...)
{
    int end = (int)strlen(b->path), begin = end, n;
    va_list args;

    lx_assert(b->depth < LX_LAYER_DEPTH && end < LX_LAYER_NAME - 2);
    b->path_ends[b->depth++] = end;
    if (end > 0)
        b->path[begin++] = '.';
    va_start(args, fmt);
    n = vsnprintf(b->path + begin, (size_t)(LX_LAYER_NAME - begin), fmt, args);
    va_end(args);
    lx_assert(n > 0 && begin + n < LX_LAYER_NAME);
    lx_graph_push(b->graph, b->path + begin);
}

/* "path.name", or the longer of the two alone. */
static const char *full_name(const lx_builder *b, char out[LX_LAYER_NAME],
                             const char *name)
{
    int n = snprintf(out, LX_LAYER_NAME, "%s%s%s", b->path, b->path[0] ? "." : "", name);

    lx_assert(n > 0 && n < LX_LAYER_NAME);
    return out;
}

void lx_build_trace(lx_builder *b, const char *name, lx_tensor *x)
{
    char full[LX_LAYER_NAME], label[LX_LAYER_NAME + 8];

    if (!b->traces)
        return;
    snprintf(label, sizeof(label), "trace.%s", name ? full_name(b, full, name) : b->path);
    lx_graph_output(b->graph, label, x);
    lx_str_printf(b->traces, "%s\n", label);
}

lx_tensor *lx_build_pop(lx_builder *b, lx_tensor *result)
{
    lx_assert(b->depth > 0);
    lx_build_trace(b, NULL, result);
    b->path[b->path_ends[--b->depth]] = 0;
    lx_graph_pop(b->graph);
    return result;
}

/* ---- weights ------------------------------------------------------------------------------ */

bool lx_build_has(const lx_builder *b, const char *name)
{
    char full[LX_LAYER_NAME];

    return lx_checkpoint_find(b->checkpoint, b->part, full_name(b, full, name)) != NULL;
}

lx_tensor *lx_build_narrowed(lx_builder *b, lx_tensor *x)
{
    return b->narrow == LX_F16 || b->narrow == LX_BF16
               ? lx_op_cast(b->graph, x, b->narrow)
               : x;
}

/* Stands for a weight that could not be had: the graph has failed and will say so. */
static lx_tensor *no_weight(lx_builder *b, const char *full, const lx_error *err)
{
    static const int64_t one[1] = {1};

    lx_graph_fail(b->graph, err->code, "%s", err->text);
    return lx_graph_input(b->graph, full, b->dtype, 1, one);
}

static lx_tensor *weight_as(lx_builder *b, const char *name, bool may_be_narrow)
{
    char full[LX_LAYER_NAME];
    const lx_tensor_view *view;
    lx_dtype dtype = b->dtype;
    lx_param *param;
    lx_error err = {0};

    full_name(b, full, name);
    view = lx_checkpoint_find(b->checkpoint, b->part, full);
    if (may_be_narrow && view && view->dtype == LX_F16)
        dtype = LX_F16;
    if (lx_checkpoint_param(&param, b->checkpoint, b->dev, b->part, full, dtype, &err) <
        0)
        return no_weight(b, full, &err);
    return lx_graph_param(b->graph, param);
}

lx_tensor *lx_build_weight(lx_builder *b, const char *name)
{
    return weight_as(b, name, false);
}

lx_tensor *lx_build_table(lx_builder *b, const char *name)
{
    return weight_as(b, name, true);
}

static lx_tensor *weight_of(lx_builder *b, const char *layer, const char *suffix)
{
    char name[LX_LAYER_NAME];

    snprintf(name, sizeof(name), "%s.%s", layer, suffix);
    return lx_build_weight(b, name);
}

/* Of a linear or a convolution. */
static lx_tensor *matrix_of(lx_builder *b, const char *layer)
{
    char name[LX_LAYER_NAME];

    snprintf(name, sizeof(name), "%s.weight", layer);
    return lx_build_table(b, name);
}

/* Only the projections of the UNet's attention have none; elsewhere a missing one is damage. */
static lx_tensor *bias_of(lx_builder *b, const char *layer)
{
    bool may_lack = b->part == LX_UNET &&
                    (lx_ends_with(layer, "to_q") || lx_ends_with(layer, "to_k") ||
                     lx_ends_with(layer, "to_v"));
    char name[LX_LAYER_NAME];

    snprintf(name, sizeof(name), "%s.bias", layer);
    return may_lack && !lx_build_has(b, name) ? NULL : lx_build_weight(b, name);
}

/* ---- layers ------------------------------------------------------------------------------- */

static lx_tensor *hooked(lx_builder *b, const char *name, bool is_conv, int stride,
                         const int pad[4], lx_tensor *x, lx_tensor *y)
{
    char full[LX_LAYER_NAME];
    lx_layer layer = {
        .part = b->part,
        .name = full_name(b, full, name),
        .is_conv = is_conv,
        .stride = stride,
        .pad = {pad[0], pad[1], pad[2], pad[3]},
    };

    return b->hook ? b->hook(b->hook_context, b, &layer, x, y) : y;
}

lx_tensor *lx_build_linear(lx_builder *b, const char *name, lx_tensor *x)
{
    lx_tensor *w, *bias, *y;

    lx_graph_push(b->graph, name);
    w = matrix_of(b, name);
    bias = bias_of(b, name);
    lx_graph_arithmetic(b->graph, b->arithmetic);
    y = lx_op_linear(b->graph, x, w, bias, 1.0f);
    lx_graph_arithmetic(b->graph, in_f32);
    y = hooked(b, name, false, 1, lx_pad_none, x, y);
    lx_build_trace(b, name, y);
    lx_graph_pop(b->graph);
    return y;
}

lx_tensor *lx_build_conv(lx_builder *b, const char *name, lx_tensor *x, int stride,
                         const int pad[4])
{
    char weight[LX_LAYER_NAME], full[LX_LAYER_NAME];
    const lx_tensor_view *view;
    lx_tensor *y, *w, *bias;

    snprintf(weight, sizeof(weight), "%s.weight", name);
    view = lx_checkpoint_find(b->checkpoint, b->part, full_name(b, full, weight));
    if (stride == 1 && memcmp(pad, lx_pad_none, sizeof(lx_pad_none)) == 0 && view &&
        (view->n_dims == 2 ||
         (view->n_dims == 4 && view->shape[2] == 1 && view->shape[3] == 1)))
        return lx_build_linear(b, name, x);
    lx_graph_push(b->graph, name);
    w = matrix_of(b, name);
    bias = bias_of(b, name);
    lx_graph_arithmetic(b->graph, b->arithmetic);
    y = lx_op_conv2d(b->graph, x, w, bias, stride, pad);
    lx_graph_arithmetic(b->graph, in_f32);
    y = hooked(b, name, true, stride, pad, x, y);
    lx_build_trace(b, name, y);
    lx_graph_pop(b->graph);
    return y;
}

lx_tensor *lx_build_group_norm(lx_builder *b, const char *name, lx_tensor *x, float eps,
                               bool has_silu)
{
    lx_tensor *w, *bias, *y;

    lx_graph_push(b->graph, name);
    w = weight_of(b, name, "weight");
    bias = weight_of(b, name, "bias");
    y = lx_op_group_norm(b->graph, x, w, bias, N_GROUPS, eps, has_silu);
    lx_build_trace(b, name, y);
    lx_graph_pop(b->graph);
    return y;
}

lx_tensor *lx_build_layer_norm(lx_builder *b, const char *name, lx_tensor *x)
{
    lx_tensor *w, *bias, *y;

    lx_graph_push(b->graph, name);
    w = weight_of(b, name, "weight");
    bias = weight_of(b, name, "bias");
    y = lx_op_layer_norm(b->graph, x, w, bias, layer_norm_eps);
    lx_build_trace(b, name, y);
    lx_graph_pop(b->graph);
    return y;
}

lx_tensor *lx_build_attention(lx_builder *b, lx_tensor *q, lx_tensor *k, lx_tensor *v,
                              int n_heads, bool is_causal)
{
    lx_tensor *y;

    lx_graph_arithmetic(b->graph, b->arithmetic);
    y = lx_op_attention(b->graph, q, k, v, n_heads, is_causal);
    lx_graph_arithmetic(b->graph, in_f32);
    return y;
}
