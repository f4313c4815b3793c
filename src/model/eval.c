#include "src/model/eval.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"

enum { MAX_INPUTS = 3 };

static const int to_nhwc[4] = {0, 2, 3, 1}, to_nchw[4] = {0, 3, 1, 2};

typedef struct eval_input {
    const char *name;
    lx_dtype dtype; /* LX_F32 or LX_I64 */
    lx_tensor_view view;
    lx_tensor *tensor;
} eval_input;

struct lx_eval {
    lx_arena *arena;
    lx_graph *graph;
    lx_plan *plan;
    eval_input inputs[MAX_INPUTS];
    int n_inputs;
    lx_str traces;
    const char **names;
    size_t n_names;
};

/* ---- inputs ------------------------------------------------------------------------------- */

static int add_input(lx_tensor **out, lx_eval *eval, const lx_tensor_file *file,
                     const char *prefix, const char *name, lx_dtype dtype, int n_dims,
                     lx_error *err)
{
    eval_input *input = &eval->inputs[eval->n_inputs++];
    char *full = lx_arena_printf(eval->arena, "%s%s", prefix, name);
    const lx_tensor_view *view;

    if (!full)
        return lx_oom(err);
    if (!(view = lx_tensor_file_find(file, full)))
        return lx_fail(err, LX_EFORMAT, "no tensor \"%s\" among the inputs", full);
    *input = (eval_input){.name = name, .dtype = dtype, .view = *view};
    if (n_dims == 3 && view->n_dims == 2 && dtype == LX_I64) { /* ids of one chunk each */
        input->view.n_dims = 3;
        input->view.shape[2] = view->shape[1];
        input->view.shape[1] = 1;
    }
    if (input->view.n_dims != n_dims || view->n_elements == 0)
        return lx_fail(err, LX_EFORMAT, "\"%s\" must have %d dimensions and not be empty", full,
                       n_dims);
    if (dtype == LX_I64 && view->dtype != LX_I64)
        return lx_fail(err, LX_EFORMAT, "\"%s\" is of type %s, not I64", full,
                       lx_dtype_name(view->dtype));
    *out = input->tensor =
        lx_graph_input(eval->graph, name, dtype, n_dims, input->view.shape);
    return 0;
}

/* The bytes as the graph wants them: aligned, F32 or I64. */
static int set_input(lx_eval *eval, const eval_input *input, const lx_sd_config *config,
                     lx_error *err)
{
    size_t n = input->view.n_elements;
    size_t bytes = n * (input->dtype == LX_I64 ? sizeof(int64_t) : sizeof(float));
    void *data = lx_alloc(bytes);
    int rc = 0;

    if (!data)
        return lx_oom(err);
    if (input->dtype == LX_I64)
        memcpy(data, input->view.data, bytes);
    else if ((rc = lx_to_f32(data, input->view.data, input->view.dtype, n)) < 0)
        lx_fail(err, rc, "\"%s\": values of type %s cannot be read", input->view.name,
                lx_dtype_name(input->view.dtype));
    for (size_t i = 0; rc == 0 && strcmp(input->name, "input_ids") == 0 && i < n; i++) {
        int64_t id = ((const int64_t *)data)[i];

        if (id < 0 || id >= config->vocab_size)
            rc = lx_fail(err, LX_EFORMAT, "\"%s\": token %lld is not in the vocabulary of %d",
                         input->view.name, (long long)id, config->vocab_size);
    }
    if (rc == 0)
        rc = lx_plan_set(eval->plan, input->name, data, bytes, err);
    lx_free(data);
    return rc;
}

/* ---- graphs ------------------------------------------------------------------------------- */

static void put_output(lx_eval *eval, const char *name, lx_tensor *x)
{
    lx_graph_output(eval->graph, name,
                    x->n_dims == 4 ? lx_op_permute(eval->graph, x, to_nchw) : x);
    eval->names[eval->n_names++] = name;
}

static int build(lx_eval *eval, lx_builder *b, lx_eval_kind kind, const lx_tensor_file *file,
                 const char *prefix, int clip_skip, lx_error *err)
{
    lx_graph *g = eval->graph;
    lx_tensor *x, *t, *context;
    int rc;

    switch (kind) {
    case LX_EVAL_TEXT:
        if ((rc = add_input(&x, eval, file, prefix, "input_ids", LX_I64, 3, err)) < 0)
            return rc;
        b->part = LX_TEXT_ENCODER;
        put_output(eval, "context", lx_clip_text_build(b, x, clip_skip ? clip_skip : 1, NULL));
        return 0;
    case LX_EVAL_UNET:
        if ((rc = add_input(&x, eval, file, prefix, "x", LX_F32, 4, err)) < 0 ||
            (rc = add_input(&t, eval, file, prefix, "t", LX_I64, 1, err)) < 0 ||
            (rc = add_input(&context, eval, file, prefix, "context", LX_F32, 3, err)) < 0)
            return rc;
        b->part = LX_UNET;
        put_output(eval, "out", lx_unet_build(b, lx_op_permute(g, x, to_nhwc), t, context));
        return 0;
    case LX_EVAL_VAE_ENCODE:
        if ((rc = add_input(&x, eval, file, prefix, "x", LX_F32, 4, err)) < 0)
            return rc;
        b->part = LX_VAE;
        x = lx_vae_encode_build(b, lx_op_permute(g, x, to_nhwc));
        put_output(eval, "mean", lx_op_slice(g, x, 3, 0, 4));
        put_output(eval, "logvar", lx_op_slice(g, x, 3, 4, 8));
        return 0;
    case LX_EVAL_VAE_DECODE:
        if ((rc = add_input(&x, eval, file, prefix, "z", LX_F32, 4, err)) < 0)
            return rc;
        b->part = LX_VAE;
        put_output(eval, "x", lx_vae_decode_build(b, lx_op_permute(g, x, to_nhwc)));
        return 0;
    case LX_EVAL_KIND_COUNT:
        break;
    }
    return lx_fail(err, LX_EINTERNAL, "no such evaluation");
}

/* Adds the names that the builder listed. */
static int list_traces(lx_eval *eval, lx_error *err)
{
    size_t n = eval->n_names;
    const char **names;
    char *text, *end;

    for (const char *c = lx_str_text(&eval->traces); *c; c++)
        n += *c == '\n';
    names = lx_arena_calloc(eval->arena, n, sizeof(*names));
    text = lx_arena_strdup(eval->arena, lx_str_text(&eval->traces));
    if (!names || !text)
        return lx_oom(err);
    memcpy(names, eval->names, eval->n_names * sizeof(*names));
    for (; (end = strchr(text, '\n')); text = end + 1) {
        *end = 0;
        names[eval->n_names++] = text;
    }
    eval->names = names;
    return lx_str_check(&eval->traces, err);
}

int lx_eval_run(lx_eval **out, const lx_eval_model *model, lx_eval_kind kind,
                const lx_tensor_file *inputs, const char *prefix, lx_error *err)
{
    lx_eval *eval = lx_calloc(1, sizeof(*eval));
    lx_plan_options options = {0};
    lx_builder b = {
        .checkpoint = model->checkpoint,
        .dev = model->dev,
        .config = model->config,
        .dtype = LX_F32,
        .hook = model->hook,
        .hook_context = model->hook_context,
    };
    int rc;

    *out = NULL;
    if (!eval || !(eval->arena = lx_arena_new()) || !(eval->graph = lx_graph_new()) ||
        !(eval->names = lx_arena_calloc(eval->arena, 2, sizeof(*eval->names)))) {
        rc = lx_oom(err);
        goto done;
    }
    b.graph = eval->graph;
    b.traces = model->has_trace ? &eval->traces : NULL;
    if ((rc = build(eval, &b, kind, inputs, prefix, model->clip_skip, err)) < 0 ||
        (rc = list_traces(eval, err)) < 0 || (rc = lx_graph_check(eval->graph, err)) < 0 ||
        (rc = lx_plan_new(&eval->plan, eval->graph, model->dev, &options, err)) < 0)
        goto done;
    for (int i = 0; i < eval->n_inputs; i++)
        if ((rc = set_input(eval, &eval->inputs[i], model->config, err)) < 0)
            goto done;
    if ((rc = lx_plan_run(eval->plan, err)) < 0)
        goto done;
    *out = eval;
    eval = NULL;
done:
    lx_eval_free(eval);
    return rc;
}

void lx_eval_free(lx_eval *eval)
{
    if (!eval)
        return;
    lx_plan_free(eval->plan);
    lx_graph_free(eval->graph);
    lx_str_release(&eval->traces);
    lx_arena_free(eval->arena);
    lx_free(eval);
}

/* ---- outputs ------------------------------------------------------------------------------ */

size_t lx_eval_count(const lx_eval *eval)
{
    return eval->n_names;
}

const char *lx_eval_name(const lx_eval *eval, size_t i)
{
    return eval->names[i];
}

/* [B, h, w, C] -> [B, C, h, w] */
static void channels_first(float *out, const float *x, const int64_t shape[4])
{
    int64_t cells = shape[1] * shape[2], depth = shape[3];

    for (int64_t b = 0; b < shape[0]; b++)
        for (int64_t i = 0; i < cells; i++)
            for (int64_t c = 0; c < depth; c++)
                out[(b * depth + c) * cells + i] = x[(b * cells + i) * depth + c];
}

/* Traces come as the graph has them. */
static int turn(lx_tensor_view *view, lx_arena *arena, lx_error *err)
{
    const int64_t shape[4] = {view->shape[0], view->shape[1], view->shape[2], view->shape[3]};
    float *data = lx_arena_alloc(arena, view->bytes);

    if (!data)
        return lx_oom(err);
    channels_first(data, view->data, shape);
    for (int i = 0; i < 4; i++)
        view->shape[i] = shape[to_nchw[i]];
    view->data = data;
    return 0;
}

int lx_eval_get(lx_tensor_view *out, lx_eval *eval, const char *name, lx_error *err)
{
    const lx_tensor *tensor = lx_plan_output(eval->plan, name);
    float *data;
    int rc;

    if (!tensor)
        return lx_fail(err, LX_ENOTFOUND, "no output \"%s\"", name);
    *out = (lx_tensor_view){
        .name = name, .dtype = LX_F32, .n_dims = tensor->n_dims, .n_elements = 1};
    memcpy(out->shape, tensor->shape, sizeof(out->shape));
    for (int i = 0; i < tensor->n_dims; i++)
        out->n_elements *= (size_t)tensor->shape[i];
    out->bytes = out->n_elements * sizeof(float);
    if (!(data = lx_arena_alloc(eval->arena, out->bytes)))
        return lx_oom(err);
    out->data = data;
    if ((rc = lx_plan_get(eval->plan, name, data, out->bytes, err)) < 0)
        return rc;
    if (strcmp(name, "logvar") == 0) /* as every reader of the moments does */
        for (size_t i = 0; i < out->n_elements; i++)
            data[i] = data[i] < -30.0f ? -30.0f : data[i] > 20.0f ? 20.0f : data[i];
    return lx_starts_with(name, "trace.") && out->n_dims == 4 ? turn(out, eval->arena, err) : 0;
}
