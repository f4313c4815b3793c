/*
 * Single ops and small modules of the UNet against PyTorch: outputs, gradients of inputs and, in a
 * second pass with trainable weights, gradients of weights. Built from the ops alone, so that a
 * kernel, its gradient rule and the planner are seen together.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/model/checkpoint.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

static const double limit = 2e-5;

enum { MOST_WEIGHTS = 48 };

/* One module of the golden file being built. */
typedef struct module {
    const char *golden, *place; /* "geglu_ff", and where its weights are in the UNet */
    const lx_tensor_file *file;
    lx_checkpoint *checkpoint;
    lx_device *dev;
    lx_graph *graph;
    bool is_trainable;
    int n_weights;
    lx_param weights[MOST_WEIGHTS];
    char names[MOST_WEIGHTS][128];
} module;

static void *device_copy(module *m, const lx_tensor_view *view)
{
    lx_error err = {0};
    void *memory;

    lx_assert_ok(m->dev->alloc(m->dev, &memory, view->n_elements * sizeof(float), &err), &err);
    if (view->data)
        assert_int_equal(lx_to_f32(memory, view->data, view->dtype, view->n_elements), 0);
    return memory;
}

/* The weight `name` of the module; NULL when the model has none of it. */
static lx_tensor *weight(module *m, const char *fmt, ...) LX_PRINTF(2, 3);

static lx_tensor *weight(module *m, const char *fmt, ...)
{
    char full[256];
    const lx_tensor_view *view;
    lx_param *p = &m->weights[m->n_weights];
    va_list args;

    assert_true(m->n_weights < MOST_WEIGHTS);
    va_start(args, fmt);
    vsnprintf(m->names[m->n_weights], sizeof m->names[0], fmt, args);
    va_end(args);
    snprintf(full, sizeof full, "%s.%s", m->place, m->names[m->n_weights]);
    if (!(view = lx_checkpoint_find(m->checkpoint, LX_UNET, full)))
        return NULL;
    *p = (lx_param){.name = m->names[m->n_weights], .dtype = LX_F32, .n_dims = view->n_dims};
    memcpy(p->shape, view->shape, sizeof p->shape);
    p->value = device_copy(m, view);
    if (m->is_trainable) {
        lx_tensor_view zeros = *view;
        zeros.data = NULL;
        p->gradient = device_copy(m, &zeros);
    }
    m->n_weights++;
    return lx_graph_param(m->graph, p);
}

static lx_tensor *input(module *m, const char *name)
{
    const lx_tensor_view *view = lx_golden_find(m->file, "%s.in.%s", m->golden, name);
    lx_tensor *t = lx_graph_input(m->graph, name, LX_F32, view->n_dims, view->shape);

    lx_graph_want_gradient(m->graph, t);
    return t;
}

static lx_tensor *to_nhwc(module *m, lx_tensor *x)
{
    return lx_op_permute(m->graph, x, (const int[]){0, 2, 3, 1});
}

static lx_tensor *to_nchw(module *m, lx_tensor *x)
{
    return lx_op_permute(m->graph, x, (const int[]){0, 3, 1, 2});
}

static lx_tensor *linear(module *m, const char *name, lx_tensor *x)
{
    lx_tensor *w = weight(m, "%s.weight", name);
    return lx_op_linear(m->graph, x, w, weight(m, "%s.bias", name), 1);
}

static lx_tensor *conv(module *m, const char *name, lx_tensor *x, int stride)
{
    lx_tensor *w = weight(m, "%s.weight", name);
    return lx_op_conv2d(m->graph, x, w, weight(m, "%s.bias", name), stride,
                        (const int[]){1, 1, 1, 1});
}

/* Trainable norms take their SiLU as an op of its own: norm_dwb does not go through it. */
static lx_tensor *group_norm(module *m, const char *prefix, lx_tensor *x, float eps, bool has_silu)
{
    lx_tensor *w = weight(m, "%sweight", prefix), *b = weight(m, "%sbias", prefix), *y;

    y = lx_op_group_norm(m->graph, x, w, b, 32, eps, has_silu && !m->is_trainable);
    return has_silu && m->is_trainable ? lx_op_silu(m->graph, y) : y;
}

static lx_tensor *layer_norm(module *m, const char *prefix, lx_tensor *x)
{
    lx_tensor *w = weight(m, "%sweight", prefix);
    return lx_op_layer_norm(m->graph, x, w, weight(m, "%sbias", prefix), 1e-5f);
}

static lx_tensor *attention(module *m, const char *prefix, lx_tensor *x, lx_tensor *context)
{
    lx_tensor *q = lx_op_linear(m->graph, x, weight(m, "%sto_q.weight", prefix), NULL, 1);
    lx_tensor *k = lx_op_linear(m->graph, context, weight(m, "%sto_k.weight", prefix), NULL, 1);
    lx_tensor *v = lx_op_linear(m->graph, context, weight(m, "%sto_v.weight", prefix), NULL, 1);
    char out[64];

    snprintf(out, sizeof out, "%sto_out.0", prefix);
    return linear(m, out, lx_op_attention(m->graph, q, k, v, 8, false));
}

static lx_tensor *feed_forward(module *m, const char *prefix, lx_tensor *x)
{
    char name[64];

    snprintf(name, sizeof name, "%snet.0.proj", prefix);
    x = lx_op_geglu(m->graph, linear(m, name, x));
    snprintf(name, sizeof name, "%snet.2", prefix);
    return linear(m, name, x);
}

/* ---- the modules of the golden file ------------------------------------------------------- */

static lx_tensor *build_gelu_exact(module *m)
{
    return lx_op_gelu(m->graph, input(m, "x"));
}

static lx_tensor *build_quick_gelu(module *m)
{
    return lx_op_quick_gelu(m->graph, input(m, "x"));
}

static lx_tensor *build_silu(module *m)
{
    return lx_op_silu(m->graph, input(m, "x"));
}

static lx_tensor *build_softmax(module *m)
{
    return lx_op_softmax(m->graph, input(m, "x"));
}

static lx_tensor *build_groupnorm_silu(module *m)
{
    return to_nchw(m, group_norm(m, "", to_nhwc(m, input(m, "x")), 1e-5f, true));
}

static lx_tensor *build_layernorm(module *m)
{
    return layer_norm(m, "", input(m, "x"));
}

static lx_tensor *build_geglu_ff(module *m)
{
    return feed_forward(m, "", input(m, "x"));
}

static lx_tensor *build_downsample(module *m)
{
    return to_nchw(m, conv(m, "conv", to_nhwc(m, input(m, "x")), 2));
}

/* Also to a size that is no multiple: as large as the output. */
static lx_tensor *build_upsample(module *m)
{
    const lx_tensor_view *out = lx_golden_find(m->file, "%s.out", m->golden);
    lx_tensor *x = to_nhwc(m, input(m, "x"));

    x = lx_op_upsample_nearest(m->graph, x, out->shape[2], out->shape[3]);
    return to_nchw(m, conv(m, "conv", x, 1));
}

static lx_tensor *build_time_embedding(module *m)
{
    return linear(m, "linear_2", lx_op_silu(m->graph, linear(m, "linear_1", input(m, "x"))));
}

static lx_tensor *build_self_attention(module *m)
{
    lx_tensor *x = input(m, "x");
    return attention(m, "", x, x);
}

static lx_tensor *build_cross_attention(module *m)
{
    lx_tensor *x = input(m, "x");
    return attention(m, "", x, input(m, "context"));
}

static lx_tensor *build_resblock(module *m)
{
    lx_tensor *x = to_nhwc(m, input(m, "x")), *y;
    lx_tensor *time = lx_op_silu(m->graph, input(m, "temb"));

    y = conv(m, "conv1", group_norm(m, "norm1.", x, 1e-5f, true), 1);
    y = lx_op_add(m->graph, y, linear(m, "time_emb_proj", time));
    y = conv(m, "conv2", group_norm(m, "norm2.", y, 1e-5f, true), 1);
    if (y->shape[3] != x->shape[3])
        x = linear(m, "conv_shortcut", x);
    return to_nchw(m, lx_op_add(m->graph, x, y));
}

static lx_tensor *build_transformer(module *m)
{
    lx_tensor *image = to_nhwc(m, input(m, "x")), *context = input(m, "context");
    const int64_t B = image->shape[0], T = image->shape[1] * image->shape[2], C = image->shape[3];
    lx_tensor *x = linear(m, "proj_in", group_norm(m, "norm.", image, 1e-6f, false)), *y;

    x = lx_op_reshape(m->graph, x, 3, (const int64_t[]){B, T, C});
    y = layer_norm(m, "transformer_blocks.0.norm1.", x);
    x = lx_op_add(m->graph, attention(m, "transformer_blocks.0.attn1.", y, y), x);
    y = layer_norm(m, "transformer_blocks.0.norm2.", x);
    x = lx_op_add(m->graph, attention(m, "transformer_blocks.0.attn2.", y, context), x);
    y = layer_norm(m, "transformer_blocks.0.norm3.", x);
    x = lx_op_add(m->graph, feed_forward(m, "transformer_blocks.0.ff.", y), x);
    x = lx_op_reshape(m->graph, linear(m, "proj_out", x), 4, image->shape);
    return to_nchw(m, lx_op_add(m->graph, x, image));
}

static const struct {
    const char *golden, *place;
    lx_tensor *(*build)(module *m);
} modules[] = {
    {"gelu_exact", "", build_gelu_exact},
    {"quick_gelu", "", build_quick_gelu},
    {"silu", "", build_silu},
    {"softmax", "", build_softmax},
    {"groupnorm_silu", "down_blocks.1.resnets.0.norm2", build_groupnorm_silu},
    {"layernorm", "down_blocks.0.attentions.0.transformer_blocks.0.norm1", build_layernorm},
    {"resblock_same", "down_blocks.0.resnets.0", build_resblock},
    {"resblock_shortcut", "down_blocks.1.resnets.0", build_resblock},
    {"transformer2d", "down_blocks.0.attentions.0", build_transformer},
    {"self_attention", "down_blocks.0.attentions.0.transformer_blocks.0.attn1", build_self_attention},
    {"cross_attention", "down_blocks.1.attentions.0.transformer_blocks.0.attn2",
     build_cross_attention},
    {"geglu_ff", "down_blocks.0.attentions.0.transformer_blocks.0.ff", build_geglu_ff},
    {"downsample", "down_blocks.0.downsamplers.0", build_downsample},
    {"upsample_x2", "up_blocks.2.upsamplers.0", build_upsample},
    {"upsample_to_size", "up_blocks.2.upsamplers.0", build_upsample},
    {"time_embedding", "time_embedding", build_time_embedding},
};

/* ---- running them ------------------------------------------------------------------------- */

/*
 * With one channel per group a shift of a channel is normalised away, so these gradients are zero
 * but for rounding, in the golden too: both must be small beside what flows (the seed is about 1).
 */
static bool is_zero_but_for_rounding(const char *name)
{
    static const char *const names[] = {"resblock_same.gin.temb", "resblock_same.gw.conv1.bias",
                                        "resblock_same.gw.time_emb_proj.bias"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static void check_close(const char *name, const float *got, const float *want, size_t n)
{
    if (!is_zero_but_for_rounding(name)) {
        lx_assert_close(name, got, want, n, limit);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i]) <= 2e-5f && fabsf(want[i]) <= 2e-5f))
            fail_msg("%s: %g and %g at %zu are not zero", name, (double)got[i], (double)want[i], i);
}

static void check_output(module *m, lx_plan *plan, const char *output, const char *expected)
{
    size_t n;
    float *want = lx_golden_f32(&n, m->file, "%s.%s", m->golden, expected);
    float *got = malloc(n * sizeof *got);
    char what[256];
    lx_error err = {0};

    assert_non_null(got);
    lx_assert_ok(lx_plan_get(plan, output, got, n * sizeof *got, &err), &err);
    snprintf(what, sizeof what, "%s.%s", m->golden, expected);
    check_close(what, got, want, n);
    free(got);
    free(want);
}

static void check_weight_gradients(module *m)
{
    for (int i = 0; i < m->n_weights; i++) {
        char name[256];
        size_t n;
        float *want;

        snprintf(name, sizeof name, "%s.gw.%s", m->golden, m->names[i]);
        if (!lx_tensor_file_find(m->file, name))
            continue;
        want = lx_golden_f32(&n, m->file, "%s", name);
        check_close(name, m->weights[i].gradient, want, n);
        free(want);
    }
}

static void set_input(lx_plan *plan, const module *m, const char *input_name, const char *golden)
{
    size_t n;
    float *x = lx_golden_f32(&n, m->file, "%s.%s", m->golden, golden);
    lx_error err = {0};

    lx_assert_ok(lx_plan_set(plan, input_name, x, n * sizeof *x, &err), &err);
    free(x);
}

static void run_module(module *m, lx_tensor *(*build)(module *m))
{
    static const char *const inputs[] = {"x", "temb", "context"};
    const lx_plan_options options = {0};
    lx_error err = {0};
    lx_tensor *out, *seed;
    lx_plan *plan;
    char name[128];

    m->graph = lx_graph_new();
    m->n_weights = 0;
    out = build(m);
    lx_assert_ok(lx_graph_check(m->graph, &err), &err);
    lx_graph_output(m->graph, "out", out);
    seed = lx_graph_input(m->graph, "gout", LX_F32, out->n_dims, out->shape);
    lx_assert_ok(lx_graph_backward_from(m->graph, out, seed, &err), &err);
    lx_assert_ok(lx_plan_new(&plan, m->graph, m->dev, &options, &err), &err);
    set_input(plan, m, "gout", "gout");
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s.in.%s", m->golden, inputs[i]);
        if (lx_tensor_file_find(m->file, name))
            set_input(plan, m, inputs[i], strstr(name, "in."));
    }
    lx_assert_ok(lx_plan_run(plan, &err), &err);
    check_output(m, plan, "out", "out");
    for (size_t i = 0; i < 3; i++) {
        char expected[32];
        snprintf(name, sizeof name, "%s.gin.%s", m->golden, inputs[i]);
        snprintf(expected, sizeof expected, "gin.%s", inputs[i]);
        if (!lx_tensor_file_find(m->file, name))
            continue;
        snprintf(name, sizeof name, "grad.%s", inputs[i]);
        check_output(m, plan, name, expected);
    }
    if (m->is_trainable)
        check_weight_gradients(m);
    lx_plan_free(plan);
    lx_graph_free(m->graph);
    for (int i = 0; i < m->n_weights; i++) {
        m->dev->free(m->dev, m->weights[i].value);
        m->dev->free(m->dev, m->weights[i].gradient);
    }
}

static void run_modules(bool is_trainable)
{
    module m = {.file = lx_golden_open("unet/ops.safetensors"), .is_trainable = is_trainable};
    lx_error err = {0};

    lx_assert_ok(lx_device_open_cpu(&m.dev, 2, &err), &err);
    lx_assert_ok(lx_checkpoint_open(&m.checkpoint, lx_synth_checkpoint("tiny"), NULL, &err), &err);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        m.golden = modules[i].golden;
        m.place = modules[i].place;
        run_module(&m, modules[i].build);
    }
    lx_checkpoint_close(m.checkpoint);
    lx_device_close(m.dev);
    lx_tensor_file_close((lx_tensor_file *)m.file);
}

static void test_goldens__modules_with_frozen_weights(void **state)
{
    run_modules(false);
}

static void test_goldens__modules_with_trainable_weights(void **state)
{
    run_modules(true);
}

static void test_goldens__timestep_embedding(void **state)
{
    static const int64_t dims[] = {32, 320};
    lx_tensor_file *file = lx_golden_open("unet/ops.safetensors");
    size_t n_t, n;
    int64_t *t = lx_golden_i64(&n_t, file, "timestep_embedding.t");
    lx_device *dev;
    lx_error err = {0};

    lx_assert_ok(lx_device_open_cpu(&dev, 1, &err), &err);
    for (size_t i = 0; i < 2; i++) {
        char name[64];
        float *want, *got;
        lx_call call = {.op = LX_OP_timestep_embedding, .n_in = 1, .n_out = 1};

        snprintf(name, sizeof name, "timestep_embedding.dim%d", (int)dims[i]);
        want = lx_golden_f32(&n, file, "%s", name);
        got = malloc(n * sizeof *got);
        assert_non_null(got);
        call.in[0] = (lx_arg){.data = t, .dtype = LX_I64, .n_dims = 1, .shape = {(int64_t)n_t}};
        call.out[0] = (lx_arg){.data = got, .n_dims = 2, .shape = {(int64_t)n_t, dims[i]}};
        dev->kernels[call.op].run(dev, &call);
        lx_assert_close(name, got, want, n, limit);
        free(want);
        free(got);
    }
    lx_device_close(dev);
    free(t);
    lx_tensor_file_close(file);
}

/* ---- the loss ----------------------------------------------------------------------------- */

/* Loss and gradient of the batch's mean for one type and table of huber_c. */
static void check_loss(const lx_tensor_file *file, lx_device *dev, lx_loss_type type,
                       const char *name, const char *table)
{
    size_t n, B, n_weights;
    float *pred = lx_golden_f32(&n, file, "pred"), *target = lx_golden_f32(NULL, file, "noise");
    float *huber_c = table ? lx_golden_f32(NULL, file, "%s", table) : NULL;
    float *per_sample = lx_golden_f32(&B, file, "%s.per_sample", name);
    float *gradient = lx_golden_f32(NULL, file, "%s.grad", name);
    float *weights = lx_golden_f32(&n_weights, file, "loss_weights");
    int64_t *t = lx_golden_i64(NULL, file, "t");
    float *dpred = malloc(n * sizeof *dpred);
    float loss, mean = 0, weighted = 0;
    const int64_t shape[] = {(int64_t)B, (int64_t)(n / B)};
    lx_call call = {.op = LX_OP_loss, .n_in = 4, .n_out = 2};

    assert_non_null(dpred);
    assert_int_equal(n_weights, B);
    call.attrs.loss.type = type;
    call.attrs.loss.huber_c = huber_c;
    call.in[0] = (lx_arg){.data = pred, .n_dims = 2, .shape = {shape[0], shape[1]}};
    call.in[1] = (lx_arg){.data = target, .n_dims = 2, .shape = {shape[0], shape[1]}};
    call.in[2] = (lx_arg){.data = t, .n_dims = 1, .shape = {shape[0]}};
    call.in[3] = (lx_arg){.n_dims = -1};
    call.out[0] = (lx_arg){.data = &loss, .n_dims = 1, .shape = {1}};
    call.out[1] = (lx_arg){.data = dpred, .n_dims = 2, .shape = {shape[0], shape[1]}};
    dev->kernels[call.op].run(dev, &call);
    for (size_t b = 0; b < B; b++) {
        mean += per_sample[b] / (float)B;
        weighted += weights[b] * per_sample[b] / (float)B;
    }
    lx_assert_close(name, &loss, &mean, 1, 1e-5);
    lx_assert_close(name, dpred, gradient, n, 1e-5);

    call.in[3] = (lx_arg){.data = weights, .n_dims = 1, .shape = {shape[0]}};
    call.out[1] = (lx_arg){.n_dims = -1};
    dev->kernels[call.op].run(dev, &call);
    lx_assert_close(name, &loss, &weighted, 1, 1e-5);
    free(pred);
    free(target);
    free(huber_c);
    free(per_sample);
    free(gradient);
    free(weights);
    free(t);
    free(dpred);
}

/* The peer's masked loss: the mask of pixels averaged over the cells, the mean over all elements. */
static void test_goldens__masked_loss(void **state)
{
    enum { B = 4, C = 4, H = 6, W = 5, CELLS = H * W };
    lx_tensor_file *file = lx_golden_open("noise/noise.safetensors");
    size_t n, n_mask;
    float *pred = lx_golden_f32(&n, file, "pred"),
          *target = lx_golden_f32(NULL, file, "noise");
    float *pixels = lx_golden_f32(&n_mask, file, "mask");
    float *wanted = lx_golden_f32(NULL, file, "loss.masked_l2.per_sample");
    float x[2][CELLS * C], mask[CELLS] = {0}, loss;
    int64_t t = 0;
    lx_call call = {.op = LX_OP_loss, .n_in = 5, .n_out = 2};
    lx_device *dev;
    lx_error err = {0};

    assert_int_equal(n, B * C * CELLS);
    assert_int_equal(n_mask, B * CELLS * 64);
    lx_assert_ok(lx_device_open_cpu(&dev, 1, &err), &err);
    for (int b = 0; b < B; b++) {
        for (int i = 0; i < CELLS; i++) {
            double sum = 0;
            for (int k = 0; k < 64; k++)
                sum += pixels[b * CELLS * 64 + (i / W * 8 + k / 8) * W * 8 + i % W * 8 +
                              k % 8];
            mask[i] = (float)(sum / 64);
            for (int c = 0; c < C; c++) {
                x[0][i * C + c] = pred[(b * C + c) * CELLS + i];
                x[1][i * C + c] = target[(b * C + c) * CELLS + i];
            }
        }
        for (int k = 0; k < 2; k++)
            call.in[k] = (lx_arg){.data = x[k], .n_dims = 4, .shape = {1, H, W, C}};
        call.in[2] = (lx_arg){.data = &t, .n_dims = 1, .shape = {1}};
        call.in[3] = call.out[1] = (lx_arg){.n_dims = -1};
        call.in[4] = (lx_arg){.data = mask, .n_dims = 3, .shape = {1, H, W}};
        call.out[0] = (lx_arg){.data = &loss, .n_dims = 1, .shape = {1}};
        dev->kernels[call.op].run(dev, &call);
        lx_assert_close("masked_l2", &loss, &wanted[b], 1, 1e-5);
    }
    lx_device_close(dev);
    lx_tensor_file_close(file);
    free(pred);
    free(target);
    free(pixels);
    free(wanted);
}

static void test_goldens__loss(void **state)
{
    static const char *const schedules[] = {"constant", "exponential", "snr"};
    lx_tensor_file *file = lx_golden_open("noise/noise.safetensors");
    lx_device *dev;
    lx_error err = {0};

    lx_assert_ok(lx_device_open_cpu(&dev, 1, &err), &err);
    check_loss(file, dev, LX_LOSS_L2, "loss.l2", NULL);
    check_loss(file, dev, LX_LOSS_L1, "loss.l1", NULL);
    for (size_t i = 0; i < 3; i++) {
        char name[64], table[64];
        snprintf(table, sizeof table, "huber_c.%s.c0.1.scale1", schedules[i]);
        snprintf(name, sizeof name, "loss.huber.%s", schedules[i]);
        check_loss(file, dev, LX_LOSS_HUBER, name, table);
        snprintf(name, sizeof name, "loss.smooth_l1.%s", schedules[i]);
        check_loss(file, dev, LX_LOSS_SMOOTH_L1, name, table);
    }
    lx_device_close(dev);
    lx_tensor_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens__modules_with_frozen_weights),
        cmocka_unit_test(test_goldens__modules_with_trainable_weights),
        cmocka_unit_test(test_goldens__timestep_embedding),
        cmocka_unit_test(test_goldens__loss),
        cmocka_unit_test(test_goldens__masked_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
