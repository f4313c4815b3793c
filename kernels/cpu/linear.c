#include "kernels/linear.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/thin.h"

static int prepare(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_compute compute = call->attrs.linear.arithmetic.compute;

    call->scratch_bytes = lx_thin_fits(&call->in[1], compute)
                              ? lx_thin_scratch(&call->in[1])
                              : lx_gemm_scratch(dev, compute);
    return LX_OK;
}

static void run_linear(lx_device *dev, const lx_call *call)
{
    if (lx_thin_fits(&call->in[1], call->attrs.linear.arithmetic.compute)) {
        lx_thin_linear(dev, call);
        return;
    }
    const int64_t K = lx_arg_width(&call->in[0]), N = call->in[1].shape[0];
    const lx_gemm g = {
        .M = lx_arg_rows(&call->in[0]),
        .N = N,
        .compute = call->attrs.linear.arithmetic.compute,
        .C = K,
        .T = 1,
        .a_kind = LX_A_ROWS,
        .a = lx_in_f32(call, 0),
        .a_step = K,
        .b = call->in[1].data,
        .b_dtype = call->in[1].dtype,
        .b_n = K,
        .b_c = 1,
        .b_t = 1,
        .has_all_taps = true,
        .y = lx_out_f32(call, 0),
        .bias = lx_in_f32(call, 2),
        .add = lx_in_f32(call, 3),
        .scale = call->attrs.linear.scale,
        .y_step = N,
    };
    lx_gemm_run(dev, &g, call->scratch);
}

static void run_linear_dx(lx_device *dev, const lx_call *call)
{
    if (lx_thin_fits(&call->in[1], call->attrs.linear.arithmetic.compute)) {
        lx_thin_linear_dx(dev, call);
        return;
    }
    const int64_t K = lx_arg_width(&call->out[0]), N = call->in[1].shape[0];
    const lx_gemm g = {
        .M = lx_arg_rows(&call->in[0]),
        .N = K,
        .compute = call->attrs.linear.arithmetic.compute,
        .C = N,
        .T = 1,
        .a_kind = LX_A_ROWS,
        .a = lx_in_f32(call, 0),
        .a_step = N,
        .b = call->in[1].data,
        .b_dtype = call->in[1].dtype,
        .b_n = 1,
        .b_c = K,
        .b_t = 1,
        .has_all_taps = true,
        .y = lx_out_f32(call, 0),
        .add = lx_in_f32(call, 2),
        .scale = call->attrs.linear.scale,
        .y_step = K,
    };
    lx_gemm_run(dev, &g, call->scratch);
}

static void run_linear_dw(lx_device *dev, const lx_call *call)
{
    if (lx_thin_fits(&call->out[0], LX_COMPUTE_F32)) {
        if (call->attrs.linear.sets) /* it only adds */
            memset(call->out[0].data, 0,
                   (size_t)lx_arg_count(&call->out[0]) * sizeof(float));
        lx_thin_linear_dw(dev, call);
        return;
    }
    const int64_t N = lx_arg_width(&call->in[0]), K = lx_arg_width(&call->in[1]);
    const lx_gemm g = {
        .M = N,
        .N = K,
        .C = lx_arg_rows(&call->in[0]),
        .T = 1,
        .a_kind = LX_A_COLUMNS,
        .a = lx_in_f32(call, 0),
        .a_step = N,
        .b = call->in[1].data,
        .b_dtype = LX_F32,
        .b_n = 1,
        .b_c = K,
        .b_t = 1,
        .has_all_taps = true,
        .y = lx_out_f32(call, 0),
        .add = call->attrs.linear.sets ? NULL : lx_out_f32(call, 0),
        .scale = call->attrs.linear.scale,
        .y_step = K,
    };
    lx_gemm_run(dev, &g, call->scratch);
}

static int prepare_dw(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    call->scratch_bytes = lx_thin_fits(&call->out[0], LX_COMPUTE_F32)
                              ? lx_thin_scratch(&call->out[0])
                              : lx_gemm_scratch(dev, LX_COMPUTE_F32);
    return LX_OK;
}

const lx_kernel lx_cpu_linear = {.prepare = prepare, .run = run_linear};
const lx_kernel lx_cpu_linear_dx = {.prepare = prepare, .run = run_linear_dx};
const lx_kernel lx_cpu_linear_dw = {.prepare = prepare_dw, .run = run_linear_dw};
