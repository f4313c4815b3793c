/*
 * Convolutions by cuDNN's backend: an operation graph of one node, the first engine of the library's
 * advice that keeps to our rules, and its execution plan.
 *
 * The rules: results do not change from run to run, sums are f32, F32 operands are not rounded to
 * TF32, and no more memory is wanted than LX_CUDA_CONV_WORKSPACE. Source: cuDNN 9 backend API reference.
 */
#include "kernels/cuda/nvidia/nvidia.h"

#include "src/base/alloc.h"

/* Names of the three tensors in the variant pack. */
enum { X_ID = 1, W_ID = 2, Y_ID = 3 };
enum { MOST_ADVICE = 64, ALIGNMENT = 16 };

typedef cudnnBackendDescriptor_t descriptor;

/* Everything that is made on the way, freed together. */
typedef struct maker {
    lx_nvidia *lib;
    lx_error *err;
    int rc;
    descriptor made[16 + MOST_ADVICE];
    int n_made;
} maker;

static void check(maker *m, cudnnStatus_t status, const char *what)
{
    if (status && m->rc >= 0)
        m->rc = lx_fail(m->err, LX_EINTERNAL, "cuDNN: %s: %s", what,
                        m->lib->cudnn.cudnnGetErrorString(status));
}

static descriptor make(maker *m, cudnnBackendDescriptorType_t type)
{
    descriptor d = NULL;

    if (m->rc >= 0)
        check(m, m->lib->cudnn.cudnnBackendCreateDescriptor(type, &d), "a descriptor");
    if (d)
        m->made[m->n_made++] = d;
    return d;
}

static void set(maker *m, descriptor d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    if (m->rc >= 0)
        check(m, m->lib->cudnn.cudnnBackendSetAttribute(d, name, type, n, values),
              "an attribute");
}

static void finish(maker *m, descriptor d, const char *what)
{
    if (m->rc >= 0)
        check(m, m->lib->cudnn.cudnnBackendFinalize(d), what);
}

static cudnnDataType_t type_of(lx_dtype dtype)
{
    return dtype == LX_F32   ? CUDNN_DATA_FLOAT
           : dtype == LX_F16 ? CUDNN_DATA_HALF
                             : CUDNN_DATA_BFLOAT16;
}

/* [n, c, h, w] that lies in memory as [n, h, w, c]. */
static descriptor tensor(maker *m, int64_t id, lx_dtype dtype, int64_t n, int64_t c,
                         int64_t h, int64_t w)
{
    descriptor d = make(m, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t dims[4] = {n, c, h, w}, strides[4] = {h * w * c, 1, w * c, c},
                  alignment = ALIGNMENT;
    const cudnnDataType_t type = type_of(dtype);

    set(m, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(m, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(m, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(m, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(m, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    finish(m, d, "a tensor");
    return d;
}

static descriptor geometry(maker *m, const lx_conv_spec *s)
{
    descriptor d = make(m, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const int64_t n = 2, before[2] = {s->pad_top, s->pad_left},
                  after[2] = {s->pad_bottom, s->pad_right},
                  strides[2] = {s->stride, s->stride}, dilations[2] = {1, 1};
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;

    set(m, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &n);
    set(m, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(m, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(m, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    set(m, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
    set(m, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    set(m, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations);
    finish(m, d, "a convolution");
    return d;
}

/* The attribute names of one kind of operation. */
typedef struct operation {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t x, w, y, geometry, alpha, beta;
} operation;

static const operation operations[] = {
    [LX_CONV_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [LX_CONV_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [LX_CONV_WEIGHT] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

/* The graph of the one operation. */
static descriptor graph_of(maker *m, const lx_conv_spec *s)
{
    const operation *o = &operations[s->kind];
    descriptor x = tensor(m, X_ID, s->kind == LX_CONV_DATA ? s->out : s->in, s->batch,
                          s->channels_in, s->h, s->w);
    descriptor w = tensor(m, W_ID, s->kind == LX_CONV_WEIGHT ? s->out : s->in,
                          s->channels_out, s->channels_in, s->kh, s->kw);
    descriptor y = tensor(m, Y_ID, s->kind == LX_CONV_FORWARD ? s->out : s->in, s->batch,
                          s->channels_out, s->h_out, s->w_out);
    descriptor how = geometry(m, s), one = make(m, o->type),
               graph = make(m, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    const float alpha = 1, beta = s->adds ? 1 : 0;

    set(m, one, o->x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    set(m, one, o->w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &w);
    set(m, one, o->y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    set(m, one, o->geometry, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &how);
    set(m, one, o->alpha, CUDNN_TYPE_FLOAT, 1, &alpha);
    set(m, one, o->beta, CUDNN_TYPE_FLOAT, 1, &beta);
    finish(m, one, "the operation");
    set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one);
    if (m->lib->cudnn_handle)
        set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
            &m->lib->cudnn_handle);
    finish(m, graph, "the graph");
    return graph;
}

/* Does the engine of this advice keep to the rules at the head of this file? */
static bool is_allowed(maker *m, descriptor advice, const lx_conv_spec *s)
{
    const lx_cudnn_api *api = &m->lib->cudnn;
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    descriptor engine = NULL;
    int64_t n = 0;
    bool is_good = true;

    if (api->cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine))
        return false;
    if (api->cudnnBackendGetAttribute(advice, CUDNN_ATTR_ENGINECFG_ENGINE,
                                      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) ||
        api->cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                      CUDNN_TYPE_NUMERICAL_NOTE,
                                      CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, notes))
        is_good = false;
    for (int64_t i = 0; i < n && is_good; i++)
        is_good =
            notes[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC &&
            notes[i] != CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION &&
            (s->in != LX_F32 || (notes[i] != CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS &&
                                 notes[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
    api->cudnnBackendDestroyDescriptor(engine);
    return is_good;
}

/* Tries one piece of advice; false = pass it over. */
static bool try_advice(maker *m, lx_cuda_plan *plan, descriptor advice)
{
    const lx_cudnn_api *api = &m->lib->cudnn;
    descriptor d = NULL;
    int64_t workspace = 0, n = 0;

    if (!is_allowed(m, advice, &plan->conv) ||
        api->cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &d))
        return false;
    if (!api->cudnnBackendSetAttribute(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &advice) &&
        !(m->lib->cudnn_handle &&
          api->cudnnBackendSetAttribute(d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
                                        CUDNN_TYPE_HANDLE, 1, &m->lib->cudnn_handle)) &&
        !(m->lib->cudnn_device &&
          api->cudnnBackendSetAttribute(d, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                                        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                        &m->lib->cudnn_device)) &&
        !api->cudnnBackendFinalize(d) &&
        !api->cudnnBackendGetAttribute(d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                       CUDNN_TYPE_INT64, 1, &n, &workspace) &&
        workspace >= 0 && workspace <= LX_CUDA_CONV_WORKSPACE) {
        plan->execution = d;
        plan->workspace = (size_t)workspace;
        return true;
    }
    api->cudnnBackendDestroyDescriptor(d);
    return false;
}

/* The library's advice for the graph, best first; true when one was taken. */
static bool take_advice(maker *m, lx_cuda_plan *plan, descriptor graph,
                        cudnnBackendHeurMode_t mode)
{
    descriptor heuristics = make(m, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR),
               advice[MOST_ADVICE];
    int64_t count = 0;
    bool is_taken = false;

    set(m, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph);
    set(m, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (m->lib->cudnn_device)
        set(m, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
            CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &m->lib->cudnn_device);
    finish(m, heuristics, "advice");
    for (int i = 0; i < MOST_ADVICE; i++)
        advice[i] = make(m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (m->rc >= 0)
        check(m,
              m->lib->cudnn.cudnnBackendGetAttribute(
                  heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                  CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_ADVICE, &count, advice),
              "advice");
    for (int64_t i = 0; i < count && m->rc >= 0 && !is_taken; i++)
        is_taken = try_advice(m, plan, advice[i]);
    for (int i = 0; i < MOST_ADVICE && m->n_made > 0 && advice[i]; i++)
        m->lib->cudnn.cudnnBackendDestroyDescriptor(m->made[--m->n_made]);
    return is_taken;
}

int lx_nvidia_conv_plan(lx_nvidia *lib, lx_cuda_plan *plan, lx_error *err)
{
    const lx_conv_spec *s = &plan->conv;
    maker m = {.lib = lib, .err = err};
    descriptor graph = graph_of(&m, s);

    if (m.rc >= 0 && !take_advice(&m, plan, graph, CUDNN_HEUR_MODE_A) && m.rc >= 0 &&
        !take_advice(&m, plan, graph, CUDNN_HEUR_MODE_FALLBACK) && m.rc >= 0)
        m.rc =
            lx_fail(err, LX_EUNSUPPORTED,
                    "cuDNN has no way to do it that keeps our rules and works in %d MiB",
                    LX_CUDA_CONV_WORKSPACE >> 20);
    if (m.rc < 0)
        lx_within(err, "a convolution of %lldx%lld, %lld to %lld channels, of %lldx%lld",
                  (long long)s->kh, (long long)s->kw, (long long)s->channels_in,
                  (long long)s->channels_out, (long long)s->h, (long long)s->w);
    while (m.n_made > 0)
        lib->cudnn.cudnnBackendDestroyDescriptor(m.made[--m.n_made]);
    return m.rc;
}

void lx_nvidia_conv_free(lx_nvidia *lib, lx_cuda_plan *plan)
{
    if (plan->execution)
        lib->cudnn.cudnnBackendDestroyDescriptor(plan->execution);
}

void lx_nvidia_conv_run(lx_cuda_library *base, lx_cuda_plan *plan, lx_cuda_queue *queue,
                        void *out, const void *first, const void *second, void *workspace)
{
    lx_nvidia *lib = (lx_nvidia *)base;
    lx_error err;
    maker m = {.lib = lib, .err = &err};
    descriptor pack = make(&m, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    const int64_t forward[3] = {Y_ID, X_ID, W_ID}, data[3] = {X_ID, Y_ID, W_ID},
                  weight[3] = {W_ID, Y_ID, X_ID};
    const int64_t *ids = plan->conv.kind == LX_CONV_FORWARD ? forward
                         : plan->conv.kind == LX_CONV_DATA  ? data
                                                            : weight;
    const void *pointers[3] = {out, first, second};
    void *space = plan->workspace ? workspace : NULL;

    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids);
    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3,
        pointers);
    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &space);
    finish(&m, pack, "addresses");
    if (m.rc >= 0)
        check(&m, lib->cudnn.cudnnSetStream(lib->cudnn_handle, queue->stream),
              "the stream");
    if (m.rc >= 0)
        check(&m,
              lib->cudnn.cudnnBackendExecute(lib->cudnn_handle, plan->execution, pack),
              "running");
    if (m.rc < 0 && !queue->error) {
        queue->error = cudaErrorUnknown;
        queue->where = "cuDNN convolution";
    }
    while (m.n_made > 0)
        lib->cudnn.cudnnBackendDestroyDescriptor(m.made[--m.n_made]);
}
