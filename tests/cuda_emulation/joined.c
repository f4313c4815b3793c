/*
 * Calls that the backend joins into one launch, against the same calls one by one: layers with LoRA of one x, the
 * sum of their gradients, gradients of all factors; LayerNorms, activations and attentions around layers; what is
 * around a GroupNorm; the begin and the end of a step. In three orders that agree to the bit.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/ends.h"
#include "kernels/cuda/join.h"
#include "kernels/cuda/norms.h"
#include "src/base/rng.h"
#include "src/graph/node.h"
#include "src/graph/op.h"
#include "tests/cuda_emulation/control.h"
#include "tests/support/kernel_case.h"
#include "tests/support/model.h"

enum { LAYERS = 3, PARAMS = 4, MOST_LAYERS = 8 }; /* w, bias, down, up */

typedef struct sizes {
    int64_t rows, K, N, R;
    bool has_bias, has_lora[LAYERS];
} sizes;

/* Ranks that are no multiple of 8, edges of tiles, both tiles, layers without LoRA. */
static const sizes cases[] = {
    {77, 40, 64, 4, true, {true, true, true}},
    {33, 64, 72, 20, false, {true, false, true}},
    {130, 24, 136, 64, true, {true, true, false}},
    {20, 96, 16, 32, false, {false, false, false}},
    {6, 32, 8, 1, true, {true, true, true}},
    {1500, 8, 1288, 8, true, {true, false, false}},
};

typedef struct world {
    lx_device *dev;
    lx_dtype dtype;
    lx_param params[MOST_LAYERS][PARAMS];
    int n_layers;
    lx_graph *graph;
    lx_plan *plan;
} world;

/* What is built: its inputs with their sizes, and its outputs. */
typedef struct model {
    void (*build)(world *w, const sizes *s);
    const char *in[8], *out[6];
} model;

/* What a run gives: y of all layers, dx, gradients of all factors. */
typedef struct result {
    float *values;
    size_t n;
} result;

static void *to_device(world *w, const void *bytes, size_t n)
{
    lx_error err = {0};
    void *memory;

    assert_int_equal(w->dev->alloc(w->dev, &memory, n, &err), 0);
    assert_int_equal(w->dev->upload(w->dev, memory, bytes, n, &err), 0);
    return memory;
}

static float *normals(size_t n, double std, uint64_t stream)
{
    lx_rng rng = lx_rng_stream(5, LX_RNG_TEST, 0, stream);
    float *values = malloc((n + 1) * sizeof *values);

    assert_non_null(values);
    lx_rng_normal(values, n, 0, &rng);
    for (size_t i = 0; i < n; i++)
        values[i] *= (float)std;
    return values;
}

/* A frozen F16 weight, a frozen F32 bias, or a factor that is trained. */
static lx_param make_param(world *w, int which, int64_t a, int64_t b, uint64_t stream)
{
    const size_t n = (size_t)(a * b);
    float *values = normals(n, which == 1 ? 1 : 1 / sqrt((double)b), stream);
    uint16_t *narrow = malloc((n + 1) * sizeof *narrow);
    lx_param p = {.name = "param", .dtype = LX_F32, .n_dims = b ? 2 : 1, .shape = {a, b}};

    assert_non_null(narrow);
    if (which == 0) {
        p.dtype = LX_F16;
        lx_from_f32(narrow, LX_F16, values, n);
        p.value = to_device(w, narrow, n * sizeof *narrow);
    } else {
        p.value = to_device(w, values, n * sizeof *values);
    }
    if (which >= 2) {
        p.gradient = to_device(w, values, n * sizeof *values);
        lx_from_f32(narrow, w->dtype, values, n);
        p.narrow = to_device(w, narrow, n * sizeof *narrow);
        p.narrow_dtype = w->dtype;
    }
    free(values);
    free(narrow);
    return p;
}

static lx_tensor *layer(world *w, int64_t N, int64_t K, int64_t R, bool has_bias,
                        bool has_lora, lx_tensor *x)
{
    lx_graph *g = w->graph;
    const uint64_t stream = (uint64_t)w->n_layers * PARAMS;
    lx_param *p = w->params[w->n_layers++];
    lx_tensor *y, *h;

    p[0] = make_param(w, 0, N, K, stream);
    p[1] = make_param(w, 1, N, 1, stream + 1);
    p[1].n_dims = 1;
    y = lx_op_linear(g, x, lx_graph_param(g, &p[0]),
                     has_bias ? lx_graph_param(g, &p[1]) : NULL, 1);
    if (!has_lora)
        return y;
    p[2] = make_param(w, 2, R, K, stream + 2);
    p[3] = make_param(w, 3, N, R, stream + 3);
    h = lx_op_linear(g, x, lx_graph_param(g, &p[2]), NULL, 1);
    return lx_op_linear_add(g, h, lx_graph_param(g, &p[3]), y, 0.7f);
}

static void build_layers(world *w, const sizes *s)
{
    const int64_t in[3] = {1, s->rows, s->K}, out[3] = {1, s->rows, s->N};
    lx_graph *g = w->graph;
    lx_tensor *x = lx_graph_input(g, "x", w->dtype, 3, in);
    lx_tensor *seed = lx_graph_input(g, "seed", w->dtype, 3, out), *sum = NULL, *y;
    lx_error err = {0};

    lx_graph_want_gradient(g, x);
    for (int i = 0; i < LAYERS; i++) {
        static const char *const names[LAYERS] = {"y0", "y1", "y2"};
        y = layer(w, s->N, s->K, s->R, s->has_bias, s->has_lora[i], x);
        lx_graph_output(g, names[i], y);
        y = lx_op_silu(g, y);
        sum = sum ? lx_op_add(g, sum, y) : y;
    }
    assert_int_equal(lx_graph_backward_from(g, sum, seed, &err), 0);
}

/* Weights of a norm of C channels: two frozen F32 vectors, the one about 1. */
static void norm_params(world *w, lx_tensor *out[2], int64_t C)
{
    lx_param *p = w->params[w->n_layers];
    const uint64_t stream = (uint64_t)w->n_layers++ * PARAMS;

    for (int i = 0; i < 2; i++) {
        p[i] = make_param(w, 1, C, 1, stream + (uint64_t)i);
        p[i].n_dims = 1;
        out[i] = lx_graph_param(w->graph, &p[i]);
    }
}

static lx_tensor *layer_norm(world *w, lx_tensor *x)
{
    lx_tensor *p[2];

    norm_params(w, p, x->shape[2]);
    return lx_op_layer_norm(w->graph, x, p[0], p[1], 1e-5f);
}

/* A transformer's second half, and a text encoder's: x + W1 geglu(W0 norm(x)), W3 quick_gelu(W2 norm(that)). */
static void build_transformer(world *w, const sizes *s)
{
    const int64_t shape[3] = {1, s->rows, s->K};
    lx_graph *g = w->graph;
    lx_tensor *x = lx_graph_input(g, "x", w->dtype, 3, shape), *h;
    lx_tensor *seed = lx_graph_input(g, "seed", w->dtype, 3, shape);
    lx_error err = {0};

    lx_graph_want_gradient(g, x);
    h = layer(w, 2 * s->N, s->K, s->R, s->has_bias, true, layer_norm(w, x));
    h = layer(w, s->K, s->N, s->R, s->has_bias, true, lx_op_geglu(g, h));
    x = lx_op_add(g, x, h);
    h = layer(w, s->N, s->K, s->R, s->has_bias, true, layer_norm(w, x));
    h = layer(w, s->K, s->N, s->R, s->has_bias, true, lx_op_quick_gelu(g, h));
    lx_graph_output(g, "y", h);
    assert_int_equal(lx_graph_backward_from(g, h, seed, &err), 0);
}

static lx_tensor *group_norm(world *w, lx_tensor *x)
{
    lx_tensor *p[2];

    norm_params(w, p, x->shape[3]);
    return lx_op_group_norm(w->graph, x, p[0], p[1], 4, 1e-5f, true);
}

static lx_tensor *convolution(world *w, lx_tensor *x)
{
    static const int pad[4] = {1, 1, 1, 1};
    const int64_t C = x->shape[3];
    lx_param *p = w->params[w->n_layers];
    const uint64_t stream = (uint64_t)w->n_layers++ * PARAMS;

    p[0] = make_param(w, 0, C, 9 * C, stream);
    p[0].n_dims = 4;
    p[0].shape[1] = C;
    p[0].shape[2] = p[0].shape[3] = 3;
    p[1] = make_param(w, 1, C, 1, stream + 1);
    p[1].n_dims = 1;
    return lx_op_conv2d(w->graph, x, lx_graph_param(w->graph, &p[0]),
                        lx_graph_param(w->graph, &p[1]), 1, pad);
}

/* A residual block with its time, joined to a skip connection: [K, rows / K] pixels of N channels, R of the skip. */
static void build_resnet(world *w, const sizes *s)
{
    const int64_t h = s->rows / s->K, B = 2;
    const int64_t in[4] = {B, s->K, h, s->N}, skip[4] = {B, s->K, h, s->R},
                  out[4] = {B, s->K, h, 2 * s->N + s->R}, time[2] = {B, s->N};
    lx_graph *g = w->graph;
    lx_tensor *x = lx_graph_input(g, "x", w->dtype, 4, in), *y;
    lx_tensor *other = lx_graph_input(g, "skip", w->dtype, 4, skip);
    lx_tensor *t = lx_graph_input(g, "t", w->dtype, 2, time);
    lx_tensor *seed = lx_graph_input(g, "seed", w->dtype, 4, out);
    lx_error err = {0};

    lx_graph_want_gradient(g, x);
    lx_graph_want_gradient(g, other);
    y = group_norm(w, lx_op_add(g, convolution(w, group_norm(w, x)), t));
    y = group_norm(w, lx_op_add(g, x, convolution(w, y)));
    y = convolution(w, y);
    y = group_norm(w, lx_op_concat(g, y, other));
    y = group_norm(w, lx_op_concat(g, y, x)); /* x has a gradient of three terms */
    lx_graph_output(g, "y", y);
    assert_int_equal(lx_graph_backward_from(g, y, seed, &err), 0);
}

/* Attention to something else: x [2, rows, K], heads of N, R of the LoRA. */
static void build_crossed(world *w, const sizes *s)
{
    const int64_t B = 2, in[3] = {B, s->rows, s->K}, other[3] = {B, 19, 24};
    lx_graph *g = w->graph;
    lx_tensor *x = lx_graph_input(g, "x", w->dtype, 3, in), *q, *k, *v;
    lx_tensor *context = lx_graph_input(g, "context", w->dtype, 3, other);
    lx_tensor *seed = lx_graph_input(g, "seed", w->dtype, 3, in);
    lx_error err = {0};

    lx_graph_want_gradient(g, x);
    context = lx_op_silu(g, context);
    q = layer(w, s->K, s->K, s->R, s->has_bias, true, layer_norm(w, x));
    k = layer(w, s->K, 24, s->R, s->has_bias, true, context);
    v = layer(w, s->K, 24, s->R, s->has_bias, true, context);
    k = lx_op_attention(g, q, k, v, (int)(s->K / s->N), false);
    x = lx_op_add(g, x, layer(w, s->K, s->K, s->R, s->has_bias, true, k));
    lx_graph_output(g, "y", x);
    assert_int_equal(lx_graph_backward_from(g, x, seed, &err), 0);
}

/* A layer whose gradient is a sum of two: of a convolution, and of what goes past it. */
static void build_split(world *w, const sizes *s)
{
    const int64_t in[4] = {2, s->rows / s->K, s->K, s->N};
    lx_graph *g = w->graph;
    lx_tensor *x = lx_graph_input(g, "x", w->dtype, 4, in), *y;
    lx_tensor *seed = lx_graph_input(g, "seed", w->dtype, 4, in);
    lx_error err = {0};

    lx_graph_want_gradient(g, x);
    x = layer(w, s->N, s->N, s->R, s->has_bias, true, x);
    y = lx_op_add(g, convolution(w, x), lx_op_silu(g, x));
    lx_graph_output(g, "y", y);
    assert_int_equal(lx_graph_backward_from(g, y, seed, &err), 0);
}

/* Tokens, the time, noise and the loss: `rows` samples, K tokens, vectors of N. */
static void build_ends(world *w, const sizes *s)
{
    static const int channels_last[4] = {0, 2, 3, 1};
    const int64_t B = s->rows, latent[4] = {B, 4, 3, 5}, each[1] = {B},
                  tokens[2] = {B, s->K}, flat[2] = {B, s->K * s->N},
                  row[1] = {s->K * s->N}, pixels[3] = {B, 15, 4};
    lx_graph *g = w->graph;
    lx_tensor *latents = lx_graph_input(g, "latents", LX_F32, 4, latent);
    lx_tensor *noise = lx_graph_input(g, "noise", LX_F32, 4, latent);
    lx_tensor *signal = lx_graph_input(g, "signal", LX_F32, 1, each);
    lx_tensor *sigma = lx_graph_input(g, "sigma", LX_F32, 1, each);
    lx_tensor *t = lx_graph_input(g, "t", LX_I64, 1, each);
    lx_tensor *ids = lx_graph_input(g, "ids", LX_I64, 2, tokens), *x;
    lx_param *p = w->params[w->n_layers++];
    lx_error err = {0};

    p[0] = make_param(w, 0, 1000, s->N, 90);
    p[1] = make_param(w, 1, s->K * s->N, 1, 91);
    p[1].n_dims = 1;
    x = lx_op_reshape(g, lx_op_embedding(g, ids, lx_graph_param(g, &p[0])), 2, flat);
    x = lx_op_add(g, x, lx_op_reshape(g, lx_graph_param(g, &p[1]), 1, row));
    lx_graph_output(g, "embedded", lx_op_cast(g, x, w->dtype));
    latents = lx_op_permute(g, latents, channels_last);
    noise = lx_op_permute(g, noise, channels_last);
    x = lx_op_cast(g, lx_op_mul_add(g, signal, latents, sigma, noise), w->dtype);
    lx_graph_output(g, "noisy", x);
    latents = lx_op_cast(g, lx_op_timestep_embedding(g, t, s->N), w->dtype);
    latents = layer(w, 24, s->N, 0, s->has_bias, false, latents);
    lx_graph_output(g, "time", lx_op_silu(g, latents));
    x = layer(w, 4, 4, s->R, s->has_bias, true, lx_op_reshape(g, x, 3, pixels));
    x = lx_op_cast(g, lx_op_reshape(g, x, 4, noise->shape), LX_F32);
    x = lx_op_loss(g, x, noise, t, signal, LX_LOSS_L2, NULL, NULL);
    lx_graph_output(g, "loss", x);
    assert_int_equal(lx_graph_backward(g, x, &err), 0);
}

static const model layers = {build_layers, {"x", "seed"}, {"y0", "y1", "y2", "grad.x"}},
                   transformer = {build_transformer, {"x", "seed"}, {"y", "grad.x"}},
                   resnet = {build_resnet,
                             {"x", "skip", "t", "seed"},
                             {"y", "grad.x", "grad.skip"}},
                   crossed = {build_crossed, {"x", "context", "seed"}, {"y", "grad.x"}},
                   split = {build_split, {"x", "seed"}, {"y", "grad.x"}},
                   ends = {build_ends,
                           {"latents", "noise", "signal", "sigma", "t", "ids"},
                           {"embedded", "noisy", "time", "loss"}};

static const lx_tensor *input_of(const world *w, const char *name)
{
    for (size_t i = 0; i < w->graph->n_inputs; i++)
        if (!strcmp(w->graph->inputs[i].name, name))
            return w->graph->inputs[i].tensor;
    fail_msg("no input %s", name);
    return NULL;
}

static void set(world *w, const char *name, double std, uint64_t stream)
{
    const lx_tensor *t = input_of(w, name);
    const size_t n = (size_t)lx_tensor__count(t),
                 bytes = n * (size_t)lx_dtype_bits(t->dtype) / 8;
    float *values = normals(n, std, stream);
    int64_t *numbers = malloc((n + 1) * sizeof *numbers);
    lx_error err = {0};

    assert_non_null(numbers);
    for (size_t i = 0; i < n && t->dtype == LX_I64; i++)
        numbers[i] = (int64_t)(i * 37 + stream) % 1000;
    if (t->dtype == LX_F32)
        memcpy(numbers, values, bytes);
    else if (t->dtype != LX_I64)
        lx_from_f32((uint16_t *)(void *)numbers, t->dtype, values, n);
    assert_int_equal(lx_plan_set(w->plan, name, numbers, bytes, &err), 0);
    free(values);
    free(numbers);
}

static float *append(result *r, size_t n)
{
    r->values = realloc(r->values, (r->n + n + 1) * sizeof *r->values);
    assert_non_null(r->values);
    r->n += n;
    return r->values + r->n - n;
}

static void get(result *r, world *w, const char *name)
{
    const lx_tensor *t = lx_plan_output(w->plan, name);
    const size_t n = (size_t)lx_tensor__count(t),
                 bytes = n * (size_t)lx_dtype_bits(t->dtype) / 8;
    void *values = malloc(bytes + 1);
    lx_error err = {0};

    assert_non_null(values);
    assert_int_equal(lx_plan_get(w->plan, name, values, bytes, &err), 0);
    lx_to_f32(append(r, n), values, t->dtype, n);
    free(values);
}

static void close_world(world *w)
{
    lx_plan_free(w->plan);
    lx_graph_free(w->graph);
    for (int i = 0; i < w->n_layers; i++)
        for (int k = 0; k < PARAMS; k++) {
            w->dev->free(w->dev, w->params[i][k].value);
            w->dev->free(w->dev, w->params[i][k].gradient);
            w->dev->free(w->dev, w->params[i][k].narrow);
        }
    lx_device_close(w->dev);
}

static void begin(world *w, const model *m, const sizes *s, int variant, bool is_joined)
{
    lx_error err = {0};

    assert_int_equal(lx_case_device_used->open(&w->dev, variant, &err), 0);
    if (!is_joined)
        w->dev->joining = NULL;
    w->graph = lx_graph_new();
    m->build(w, s);
    if (lx_plan_new(&w->plan, w->graph, w->dev, &(lx_plan_options){0}, &err) < 0)
        fail_msg("%s", err.text);
}

static result run(const model *m, const sizes *s, lx_dtype dtype, int variant,
                  bool is_joined)
{
    world w = {.dtype = dtype};
    result r = {0};
    lx_error err = {0};

    begin(&w, m, s, variant, is_joined);
    for (int i = 0; i < 8 && m->in[i]; i++)
        set(&w, m->in[i], 1, 100 + (uint64_t)i);
    for (int i = 0; i < 3; i++) /* plain, recorded, replayed */
        lx_assert_ok(lx_plan_run(w.plan, &err), &err);
    for (int i = 0; i < 6 && m->out[i]; i++)
        get(&r, &w, m->out[i]);
    for (int i = 0; i < w.n_layers; i++)
        for (int k = 2; k < PARAMS; k++) {
            const lx_param *p = &w.params[i][k];
            const size_t n = (size_t)(p->shape[0] * p->shape[1]);
            if (p->gradient)
                assert_int_equal(w.dev->download(w.dev, append(&r, n), p->gradient,
                                                 n * sizeof(float), &err),
                                 0);
        }
    close_world(&w);
    return r;
}

static double distance(const result *a, const result *b)
{
    double d2 = 0, b2 = 0;

    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const double d = (double)a->values[i] - b->values[i];
        d2 += d * d;
        b2 += (double)b->values[i] * b->values[i];
    }
    return sqrt(d2 / b2);
}

/* `limit`: one by one some values are rounded on their way that are not when joined. */
static void check(const model *m, const sizes *s, lx_dtype dtype, double limit)
{
    const int step = s->rows > 1000 ? 2 : 1; /* they take long */
    const uint64_t before = lx_emu_counts_get()->launches;
    result apart = run(m, s, dtype, 1, false), together = {0};

    for (int variant = 1; variant <= 3; variant += step) {
        result r = run(m, s, dtype, variant, true);
        if (variant == 1) {
            together = r;
            continue;
        }
        assert_int_equal(r.n, together.n);
        assert_memory_equal(r.values, together.values, r.n * sizeof(float));
        free(r.values);
    }
    if (distance(&together, &apart) > limit)
        fail_msg("[%d, %d] x %d, rank %d: %.1e off", (int)s->rows, (int)s->K, (int)s->N,
                 (int)s->R, distance(&together, &apart));
    assert_true(lx_emu_counts_get()->launches > before);
    free(apart.values);
    free(together.values);
}

/* Minutes under the checker, where LX_CUDA_LONG asks for them. */
static bool is_too_long(const sizes *s)
{
    return s->rows > 1000 && lx_emu_is_checked() && !getenv("LX_CUDA_LONG");
}

static void test_joined__products_are_those_one_by_one(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (is_too_long(&cases[i]))
            continue;
        check(&layers, &cases[i], LX_F16, 1e-3);
        if (cases[i].rows <= 1000)
            check(&layers, &cases[i], LX_BF16, 8e-3);
    }
}

static void test_joined__norms_and_activations_go_with_products(void **state)
{
    static const sizes some[] = {{77, 40, 64, 4, true, {0}},
                                 {33, 64, 72, 20, false, {0}},
                                 {130, 328, 24, 33, true, {0}},
                                 {1500, 8, 1032, 8, true, {0}}};

    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        if (is_too_long(&some[i]))
            continue;
        check(&transformer, &some[i], LX_F16, 2e-3);
        if (some[i].rows <= 1000)
            check(&transformer, &some[i], LX_BF16, 1.6e-2);
    }
}

/* Groups of one block, and of many; parts whose rows are whole 16 bytes, or are not. */
static void test_joined__what_is_around_a_group_norm(void **state)
{
    static const sizes some[] = {{30, 5, 16, 8, true, {0}},
                                 {12, 3, 24, 16, true, {0}},
                                 {12, 3, 8, 24, true, {0}},
                                 {1200, 40, 56, 8, true, {0}},
                                 {4200, 60, 12, 4, true, {0}}};

    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        check(&resnet, &some[i], LX_F16, 1e-3);
        if (some[i].rows <= 1000)
            check(&resnet, &some[i], LX_BF16, 8e-3);
    }
}

/* Of a GroupNorm over x [2, rows, K] in 4 groups: sum = dx + more, and dx too if `keeps`. */
static uint16_t *sum_of_gradients(lx_device *dev, const sizes *s, bool keeps)
{
    const size_t n = (size_t)(2 * s->rows * s->K), bytes = n * sizeof(uint16_t);
    lx_call call = {.op = LX_OP_group_norm_dx,
                    .n_in = 6,
                    .n_out = 1,
                    .attrs.norm = {.n_groups = 4, .eps = 1e-5f}};
    lx_cuda_norm_parts parts = {.width = (int)s->K};
    world w = {.dev = dev, .dtype = LX_F16};
    lx_param vectors[3] = {make_param(&w, 1, s->K, 1, 3), make_param(&w, 1, s->K, 1, 4),
                           make_param(&w, 1, 16, 1, 5)};
    void *tensors[5], *scratch;
    uint16_t *sum = malloc(bytes);
    lx_error err = {0};

    assert_non_null(sum);
    for (int i = 0; i < 5; i++) { /* dy, x, more, sum, dx */
        float *values = normals(n, 1, (uint64_t)i);
        lx_from_f32(sum, LX_F16, values, n);
        tensors[i] = to_device(&w, sum, bytes);
        free(values);
    }
    for (int i = 0; i < 6; i++)
        call.in[i] =
            i < 2   ? (lx_arg){.data = tensors[i], .dtype = LX_F16, .n_dims = 3}
            : i < 5 ? (lx_arg){.data = vectors[i - 2].value, .dtype = LX_F32, .n_dims = 1}
                    : (lx_arg){.n_dims = -1};
    call.in[0].shape[0] = call.in[1].shape[0] = 2;
    call.in[0].shape[1] = call.in[1].shape[1] = s->rows;
    call.in[0].shape[2] = call.in[1].shape[2] = s->K;
    parts.more = tensors[2];
    parts.sum = tensors[3];
    parts.a = keeps ? tensors[4] : NULL;
    assert_int_equal(dev->alloc(dev, &scratch, 1 << 16, &err), 0);
    lx_cuda_group_norm_dx_to(dev, &call, scratch, &parts);
    assert_int_equal(dev->download(dev, sum, tensors[3], bytes, &err), 0);
    for (int i = 0; i < 5; i++)
        dev->free(dev, tensors[i]);
    for (int i = 0; i < 3; i++)
        dev->free(dev, vectors[i].value);
    dev->free(dev, scratch);
    return sum;
}

/* Small groups and large ones. */
static void test_joined__a_gradient_that_only_its_sum_reads(void **state)
{
    static const sizes some[] = {{.rows = 5, .K = 24}, {.rows = 1100, .K = 64}};
    lx_device *dev;
    lx_error err = {0};

    assert_int_equal(lx_case_device_used->open(&dev, 1, &err), 0);
    for (size_t i = 0; i < 2; i++) {
        uint16_t *with = sum_of_gradients(dev, &some[i], true),
                 *without = sum_of_gradients(dev, &some[i], false);
        assert_memory_equal(with, without,
                            (size_t)(2 * some[i].rows * some[i].K) * sizeof *with);
        free(with);
        free(without);
    }
    lx_device_close(dev);
}

/* All sizes of heads, both ranks of the kernel, the rows of a sample that are no whole tiles, samples apart. */
static void test_joined__queries_go_with_their_attention(void **state)
{
    static const sizes some[] = {{70, 80, 40, 4, true, {0}},
                                 {64, 64, 64, 40, false, {0}},
                                 {9, 160, 80, 20, true, {0}},
                                 {20, 160, 160, 64, false, {0}}};

    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        check(&crossed, &some[i], LX_F16, 2e-3);
        check(&crossed, &some[i], LX_BF16, 1.6e-2);
    }
}

static void test_joined__the_sum_of_gradients_goes_with_the_product(void **state)
{
    static const sizes some[] = {{30, 5, 16, 8, true, {0}}, {77, 7, 24, 20, false, {0}}};

    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        check(&split, &some[i], LX_F16, 1e-3);
        check(&split, &some[i], LX_BF16, 8e-3);
    }
}

static void test_joined__begin_and_end_of_a_step(void **state)
{
    static const sizes some[] = {{1, 7, 24, 4, true, {0}}, {3, 5, 16, 8, false, {0}}};

    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        check(&ends, &some[i], LX_F16, 1e-3);
        check(&ends, &some[i], LX_BF16, 8e-3);
    }
}

/* How many of the calls for which `counts` says so are there, and how many have a launch of their own. */
static void count_calls(size_t *n_calls, size_t *n_launched, const model *m,
                        const sizes *s, bool (*counts)(lx_op_id op))
{
    world w = {.dtype = LX_F16};
    lx_error err = {0};

    begin(&w, m, s, 1, true);
    assert_int_equal(lx_plan_profile(w.plan, true, &err), 0);
    lx_assert_ok(lx_plan_run(w.plan, &err), &err);
    *n_calls = *n_launched = 0;
    for (size_t i = 0; i < lx_plan_memory_of(w.plan).n_calls; i++) {
        const lx_profile_row row = lx_plan_profile_row(w.plan, i);
        *n_calls += counts(row.op);
        *n_launched += counts(row.op) && row.seconds > 0;
    }
    close_world(&w);
}

static bool is_product(lx_op_id op)
{
    return op == LX_OP_linear || op == LX_OP_linear_dx || op == LX_OP_linear_dw;
}

static bool is_any(lx_op_id op)
{
    return true;
}

/* Of 3 layers with LoRA: one launch forward, one for dx, one for all six gradients. */
static void test_joined__three_launches_where_there_were_twenty_four(void **state)
{
    size_t n_calls, n_launched;

    count_calls(&n_calls, &n_launched, &layers, &cases[0], is_product);
    assert_int_equal(n_calls, 24);
    assert_int_equal(n_launched, 3);
}

/* Forward four layers with what is before and behind them; backwards the same, the norm at the end alone, and the
 * gradients of factors. */
static void test_joined__ten_launches_of_a_transformer(void **state)
{
    size_t n_calls, n_launched;

    count_calls(&n_calls, &n_launched, &transformer, &(sizes){77, 40, 64, 4, true, {0}},
                is_any);
    assert_int_equal(n_launched, 10);
}

/* Norm, convolution and norm three times, norm of all; backwards norm, norm, convolution and norm three times. */
static void test_joined__thirteen_calls_of_a_residual_block(void **state)
{
    size_t n_calls, n_launched;

    count_calls(&n_calls, &n_launched, &resnet, &(sizes){30, 5, 16, 8, true, {0}},
                is_any);
    assert_int_equal(n_launched, 13);
}

/* What is attended to; keys and values; norm, queries and attention; the layer; backwards the layer, the attention,
 * the queries, the norm, what the factors of keys and values need, and the gradients of factors. */
static void test_joined__ten_launches_of_a_cross_attention(void **state)
{
    size_t n_calls, n_launched;

    count_calls(&n_calls, &n_launched, &crossed, &(sizes){70, 80, 40, 8, true, {0}},
                is_any);
    assert_int_equal(n_launched, 10);
}

/* Tokens; noise; the time and its layer; the loss; gradients of factors; and four products of a layer that is too
 * narrow to be joined. */
static void test_joined__ten_launches_of_begin_and_end(void **state)
{
    size_t n_calls, n_launched;

    count_calls(&n_calls, &n_launched, &ends, &(sizes){1, 7, 24, 8, true, {0}}, is_any);
    assert_int_equal(n_launched, 10);
}

static void attend_once(lx_device *dev, int head, int rank, lx_dtype dtype)
{
    lx_call call = {.op = LX_OP_attention, .n_in = 3, .n_out = 2};

    for (int i = 0; i < 3; i++)
        call.in[i] = (lx_arg){.dtype = dtype, .n_dims = 3, .shape = {1, 1, head}};
    call.attrs.attention.n_heads = 1;
    lx_cuda_attend_queries(dev, &(lx_cuda_sums){.most_rank = rank, .dtype = dtype},
                           &call);
}

/* Whatever the rank, type and tile: the launch is one that the device takes, whose limits the runtime knows.
 * script/cuda_budget reads from here how much shared memory each asks for. */
static void test_joined__every_kernel_can_be_launched(void **state)
{
    static const lx_cuda_tile tiles[] = {{64, 64}, {128, 128}};
    static const int heads[] = {40, 64, 80, 160};
    lx_device *dev;
    lx_error err = {0};

    assert_int_equal(lx_case_device_used->open(&dev, 1, &err), 0);
    lx_emu_options_get()->dry = 1;
    for (int width = 16; width <= LX_CUDA_MOST_RANK; width *= 2)
        for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
            const lx_dtype dtype = is_bf16 ? LX_BF16 : LX_F16;
            for (int i = 0; i < 8; i++)
                lx_cuda_add_products(dev, &(lx_cuda_sums){.n_blocks = 1,
                                                          .most_rank = width,
                                                          .is_reversed = i / 2 % 2,
                                                          .has_norm = i / 4,
                                                          .tile = tiles[i % 2],
                                                          .dtype = dtype});
            lx_cuda_thin_gradients(dev, NULL, 0, 1, width, dtype);
            for (int i = 0; i < 4; i++)
                attend_once(dev, heads[i], width, dtype);
        }
    lx_assert_ok(dev->sync(dev, &err), &err);
    lx_emu_options_get()->dry = 0;
    lx_device_close(dev);
}

/* A grid's y ends at 65535: longer batches of tokens and samples go in turns. */
static void test_joined__rows_beyond_a_grid(void **state)
{
    enum { ROWS = 70000 };
    lx_call embedding = {.op = LX_OP_embedding,
                         .in[0] = {.dtype = LX_I64, .n_dims = 1, .shape = {ROWS}},
                         .in[1] = {.n_dims = 2, .shape = {5, 3}},
                         .out[0] = {.n_dims = 2, .shape = {ROWS, 3}}},
            add = {.op = LX_OP_add, .in[1] = {.n_dims = 1, .shape = {3}}},
            mul_add = {.op = LX_OP_mul_add,
                       .in[1] = {.n_dims = 2, .shape = {ROWS, 4}},
                       .out[0] = {.n_dims = 2, .shape = {ROWS, 4}}};
    lx_device *dev;
    lx_error err = {0};

    assert_int_equal(lx_case_device_used->open(&dev, 1, &err), 0);
    lx_emu_options_get()->dry = 1;
    dev->kernels[LX_OP_embedding].run(dev, &embedding);
    lx_assert_ok(dev->sync(dev, &err), &err);
    lx_cuda_embed(dev, &embedding, &add, &embedding.out[0]);
    lx_assert_ok(dev->sync(dev, &err), &err);
    dev->kernels[LX_OP_mul_add].run(dev, &mul_add);
    lx_assert_ok(dev->sync(dev, &err), &err);
    lx_emu_options_get()->dry = 0;
    lx_device_close(dev);
}

/* Factors stand back to back in the memory of a LoRA: a part that is not trained as one that is. */
static void test_joined__factors_lie_anywhere(void **state)
{
    enum { M = 5, K = 7, N = 9 };
    float *values = normals(M * K + N * K + 1, 1, 1);

    for (int is_frozen = 0; is_frozen < 2; is_frozen++) {
        const int64_t shape[3] = {1, M, K}, out[3] = {1, M, N};
        world w = {.dtype = LX_F32};
        lx_param *p = w.params[0];
        lx_tensor *x, *y;
        float got[M * N], grad[M * K];
        lx_error err = {0};

        assert_int_equal(lx_case_device_used->open(&w.dev, 1, &err), 0);
        p[0] = (lx_param){.name = "base", .dtype = LX_F32, .n_dims = 2, .shape = {N, K}};
        p[0].value = to_device(&w, values, (N * K + 1) * sizeof *values);
        p[1] = p[0];
        p[1].value = (float *)p[0].value + 1;
        if (!is_frozen)
            p[1].gradient = to_device(&w, values, N * K * sizeof *values);
        w.graph = lx_graph_new();
        x = lx_graph_input(w.graph, "x", LX_F32, 3, shape);
        lx_graph_want_gradient(w.graph, x);
        y = lx_op_linear(w.graph, x, lx_graph_param(w.graph, &p[1]), NULL, 1);
        lx_graph_output(w.graph, "y", y);
        assert_int_equal(
            lx_graph_backward_from(w.graph, y,
                                   lx_graph_input(w.graph, "seed", LX_F32, 3, out), &err),
            0);
        lx_assert_ok(lx_plan_new(&w.plan, w.graph, w.dev, &(lx_plan_options){0}, &err),
                     &err);
        set(&w, "x", 1, 1);
        set(&w, "seed", 1, 2);
        lx_assert_ok(lx_plan_run(w.plan, &err), &err);
        assert_int_equal(lx_plan_get(w.plan, "y", got, sizeof got, &err), 0);
        assert_int_equal(lx_plan_get(w.plan, "grad.x", grad, sizeof grad, &err), 0);
        lx_plan_free(w.plan);
        lx_graph_free(w.graph);
        w.dev->free(w.dev, p[0].value);
        w.dev->free(w.dev, p[1].gradient);
        lx_device_close(w.dev);
    }
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joined__products_are_those_one_by_one),
        cmocka_unit_test(test_joined__norms_and_activations_go_with_products),
        cmocka_unit_test(test_joined__what_is_around_a_group_norm),
        cmocka_unit_test(test_joined__a_gradient_that_only_its_sum_reads),
        cmocka_unit_test(test_joined__queries_go_with_their_attention),
        cmocka_unit_test(test_joined__the_sum_of_gradients_goes_with_the_product),
        cmocka_unit_test(test_joined__begin_and_end_of_a_step),
        cmocka_unit_test(test_joined__ten_launches_of_a_cross_attention),
        cmocka_unit_test(test_joined__ten_launches_of_begin_and_end),
        cmocka_unit_test(test_joined__ten_launches_of_a_transformer),
        cmocka_unit_test(test_joined__thirteen_calls_of_a_residual_block),
        cmocka_unit_test(test_joined__three_launches_where_there_were_twenty_four),
        cmocka_unit_test(test_joined__every_kernel_can_be_launched),
        cmocka_unit_test(test_joined__rows_beyond_a_grid),
        cmocka_unit_test(test_joined__factors_lie_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
