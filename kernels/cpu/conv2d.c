#include "kernels/conv2d.h"

#include <string.h>

#include "kernels/cpu/winograd.h"

/* x is the larger side, y the strided one. */
typedef struct shape {
    int64_t B, h, w, Ci, oh, ow, Co;
    int kh, kw, stride, top, left;
} shape;

static shape shape_of(const lx_call *call, const lx_arg *x, const lx_arg *y,
                      const lx_arg *weight)
{
    return (shape){
        .B = x->shape[0],
        .h = x->shape[1],
        .w = x->shape[2],
        .Ci = x->shape[3],
        .oh = y->shape[1],
        .ow = y->shape[2],
        .Co = y->shape[3],
        .kh = (int)weight->shape[2],
        .kw = (int)weight->shape[3],
        .stride = call->attrs.conv.stride,
        .top = call->attrs.conv.pad_top,
        .left = call->attrs.conv.pad_left,
    };
}

static bool is_3x3(const lx_arg *weight, int stride)
{
    return weight->shape[2] == 3 && weight->shape[3] == 3 && stride == 1;
}

/* For a result y of the channels of `x` under `weight`, in either direction. */
static bool takes_winograd(const lx_call *call, const lx_arg *x, const lx_arg *y)
{
    const lx_arithmetic *how = &call->attrs.conv.arithmetic;

    return !how->no_winograd && is_3x3(&call->in[1], call->attrs.conv.stride) &&
           lx_winograd_pays(y->shape[0], y->shape[1], y->shape[2], x->shape[3],
                            y->shape[3], how->compute);
}

static int prepare(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_arg *x = &call->in[0], *y = &call->out[0];

    call->scratch_bytes = takes_winograd(call, x, y)
                              ? lx_winograd_scratch(dev, y->shape[0], y->shape[1],
                                                    y->shape[2], x->shape[3], y->shape[3])
                              : lx_gemm_scratch(dev, call->attrs.conv.arithmetic.compute);
    return LX_OK;
}

/*
 * A product being put together tap by tap. It runs when it is full and at the end, so that a window
 * of more than LX_GEMM_MAX_TAPS taps is summed in several products into y.
 */
typedef struct product {
    lx_device *dev;
    void *scratch;
    lx_gemm g;
    lx_pixels pixels;
    int window; /* taps of the weight */
    bool is_winograd;
} product;

static void flush(product *p)
{
    lx_gemm *g = &p->g;

    if (!g->T)
        return;
    g->pixels = &p->pixels;
    g->b_t = 1;
    g->has_all_taps = g->T == p->window;
    if (p->is_winograd)
        lx_winograd_run(p->dev, g, p->scratch);
    else
        lx_gemm_run(p->dev, g, p->scratch);
    g->add = g->y;
    g->bias = NULL;
    g->T = 0;
}

static void add_tap(product *p, int tap, int64_t down, int64_t right)
{
    lx_gemm *g = &p->g;

    p->pixels.down[g->T] = (int32_t)down;
    p->pixels.right[g->T] = (int32_t)right;
    g->tap_of[g->T++] = tap;
    if (g->T == LX_GEMM_MAX_TAPS)
        flush(p);
}

static void run_conv2d(lx_device *dev, const lx_call *call)
{
    const lx_arg *weight = &call->in[1];
    const shape s = shape_of(call, &call->in[0], &call->out[0], weight);
    product p = {
        .dev = dev,
        .scratch = call->scratch,
        .window = s.kh * s.kw,
        .is_winograd = takes_winograd(call, &call->in[0], &call->out[0]),
        .pixels =
            {.gh = s.oh, .gw = s.ow, .h = s.h, .w = s.w, .width = s.Ci, .step = s.stride},
        .g = {.M = s.B * s.oh * s.ow,
              .N = s.Co,
              .C = s.Ci,
              .compute = call->attrs.conv.arithmetic.compute,
              .a_kind = LX_A_PIXELS,
              .a = lx_in_f32(call, 0),
              .b = weight->data,
              .b_dtype = weight->dtype,
              .b_n = s.Ci * s.kh * s.kw,
              .b_c = s.kh * s.kw,
              .y = lx_out_f32(call, 0),
              .bias = lx_in_f32(call, 2),
              .add = lx_in_f32(call, 3),
              .scale = 1,
              .y_step = s.Co},
    };

    for (int r = 0; r < s.kh; r++)
        for (int q = 0; q < s.kw; q++)
            add_tap(&p, r * s.kw + q, r - s.top, q - s.left);
    flush(&p);
}

/* Pixels (i, j) of dx with i % stride = down, j % stride = right, that no tap reaches. */
static void clear_class(float *dx, const shape *s, int down, int right)
{
    for (int64_t b = 0; b < s->B; b++)
        for (int64_t i = down; i < s->h; i += s->stride)
            for (int64_t j = right; j < s->w; j += s->stride)
                memset(dx + ((b * s->h + i) * s->w + j) * s->Ci, 0,
                       (size_t)s->Ci * sizeof *dx);
}

/*
 * With a stride the pixels of dx fall into stride^2 classes, each reached by its own taps and a
 * plain convolution of dy by them.
 */
static void run_dx_class(lx_device *dev, const lx_call *call, const shape *s, int down,
                         int right)
{
    const lx_arg *weight = &call->in[1];
    const int64_t gh = (s->h - down + s->stride - 1) / s->stride;
    const int64_t gw = (s->w - right + s->stride - 1) / s->stride;
    bool is_reached = false;
    product p = {
        .dev = dev,
        .scratch = call->scratch,
        .window = s->kh * s->kw,
        .is_winograd = takes_winograd(call, &call->in[0], &call->out[0]),
        .pixels = {.gh = gh, .gw = gw, .h = s->oh, .w = s->ow, .width = s->Co, .step = 1},
        .g = {.M = s->B * gh * gw,
              .N = s->Ci,
              .C = s->Co,
              .compute = call->attrs.conv.arithmetic.compute,
              .a_kind = LX_A_PIXELS,
              .a = lx_in_f32(call, 0),
              .b = weight->data,
              .b_dtype = weight->dtype,
              .b_n = s->kh * s->kw,
              .b_c = s->Ci * s->kh * s->kw,
              .y = lx_out_f32(call, 0),
              .scale = 1,
              .y_step = s->Ci,
              .out_step = s->stride > 1 ? s->stride : 0,
              .out_down = down,
              .out_right = right,
              .out_h = s->h,
              .out_w = s->w},
    };

    for (int r = 0; r < s->kh; r++)
        for (int q = 0; q < s->kw; q++) {
            const int i = down + s->top - r, j = right + s->left - q;
            if (i % s->stride || j % s->stride)
                continue;
            is_reached = true;
            add_tap(&p, r * s->kw + q, i / s->stride, j / s->stride);
        }
    flush(&p);
    if (!is_reached)
        clear_class(lx_out_f32(call, 0), s, down, right);
}

static void run_conv2d_dx(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call, &call->out[0], &call->in[0], &call->in[1]);

    for (int down = 0; down < s.stride && down < s.h; down++)
        for (int right = 0; right < s.stride && right < s.w; right++)
            run_dx_class(dev, call, &s, down, right);
}

/* Bytes of one tap's gradient [Co, Ci], which has to be spread over the window. */
static size_t one_tap_bytes(const lx_call *call)
{
    return (size_t)(call->out[0].shape[0] * call->out[0].shape[1]) * sizeof(float);
}

static int prepare_conv2d_dw(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    call->scratch_bytes = lx_gemm_scratch(dev, LX_COMPUTE_F32) + one_tap_bytes(call);
    return LX_OK;
}

static void run_conv2d_dw(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call, &call->in[1], &call->in[0], &call->out[0]);
    const int window = s.kh * s.kw;
    const bool sets = call->attrs.conv.sets;
    float *dw = lx_out_f32(call, 0);
    float *one = (float *)((char *)call->scratch + lx_gemm_scratch(dev, LX_COMPUTE_F32));

    for (int t = 0; t < window; t++) {
        const lx_pixels pixels = {.gh = s.oh,
                                  .gw = s.ow,
                                  .h = s.h,
                                  .w = s.w,
                                  .width = s.Ci,
                                  .step = s.stride,
                                  .down = {t / s.kw - s.top},
                                  .right = {t % s.kw - s.left}};
        const lx_gemm g = {.M = s.Co,
                           .N = s.Ci,
                           .C = s.B * s.oh * s.ow,
                           .T = 1,
                           .a_kind = LX_A_COLUMNS,
                           .a = lx_in_f32(call, 0),
                           .a_step = s.Co,
                           .pixels = &pixels,
                           .b_kind = LX_B_PIXELS,
                           .b = call->in[1].data,
                           .y = one,
                           .scale = 1,
                           .y_step = s.Ci};
        lx_gemm_run(dev, &g, call->scratch);
        for (int64_t i = 0; i < s.Co * s.Ci; i++)
            dw[i * window + t] = sets ? one[i] : dw[i * window + t] + one[i];
    }
}

const lx_kernel lx_cpu_conv2d = {.prepare = prepare, .run = run_conv2d};
const lx_kernel lx_cpu_conv2d_dx = {.prepare = prepare, .run = run_conv2d_dx};
const lx_kernel lx_cpu_conv2d_dw = {.prepare = prepare_conv2d_dw, .run = run_conv2d_dw};
