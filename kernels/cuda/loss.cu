/*
 * The loss and its gradient (kernels/loss.h): one block a sample, then one thread for the mean. A
 * step's prediction is small, and is summed in f64 as on the CPU.
 */
#include "kernels/cuda/dialect.cuh"

enum { THREADS = 256, STEPS = 1000 };

/* One sample's numbers; tables [STEPS] or NULL. */
struct loss_tables {
    int type;
    const float *huber_c, *weight;
};

/* f(d) and its slope. */
LX_DEVICE double loss_at(double *slope, int type, double d, double c)
{
    const double root = sqrt(d * d + c * c);
    const double direction = root > 0 ? d / root : d;

    if (type == LX_LOSS_L1) {
        *slope = d > 0 ? 1 : d < 0 ? -1 : d;
        return fabs(d);
    }
    if (type == LX_LOSS_HUBER) {
        *slope = 2 * c * direction;
        return 2 * c * (root - c);
    }
    if (type == LX_LOSS_SMOOTH_L1) {
        *slope = 2 * direction;
        return 2 * (root - c);
    }
    *slope = 2 * d;
    return d * d;
}

LX_DEVICE double at_timestep(const float *table, int64_t t)
{
    return !table ? 1 : t >= 0 && t < STEPS ? table[t] : NAN;
}

/* sums [B]: the sample's share of the loss, which is *loss where it is the only one. mask [B, n / C] or NULL. */
template <class T>
__global__ void __launch_bounds__(THREADS, 2)
    loss_of_sample(double *sums, float *loss, T *dpred, const T *pred, lx_weight target,
                   const int64_t *timesteps, const float *weights, const float *mask,
                   loss_tables tables, int64_t n, int C)
{
    __shared__ double shared[THREADS];
    const int b = blockIdx.x;
    const double c = at_timestep(tables.huber_c, timesteps[b]);
    const double weight = (weights ? weights[b] : 1) *
                          at_timestep(tables.weight, timesteps[b]) /
                          ((double)gridDim.x * n);
    double sum = 0, slope;

    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
        const int64_t at = b * n + i;
        const double d = (double)lx_widen(pred[at]) - lx_weight_at(target, at);
        const double m = mask ? mask[at / C] : 1;
        sum += m * loss_at(&slope, tables.type, d, c);
        if (dpred)
            dpred[at] = lx_narrow<T>((float)(weight * m * slope));
    }
    shared[threadIdx.x] = sum;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half)
            shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) {
        sums[b] = weight * shared[0];
        if (gridDim.x == 1)
            *loss = (float)sums[b];
    }
}

__global__ void loss_of_batch(float *loss, const double *sums, int B)
{
    double total = 0;

    for (int b = 0; b < B; b++)
        total += sums[b];
    *loss = (float)total;
}

/* The tables are the host's: a copy of both is this call's state, huber_c first. */
static int prepare_loss(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const float *tables[2] = {call->attrs.loss.huber_c, call->attrs.loss.weight};
    const size_t bytes = STEPS * sizeof(float);
    void *copy;
    int rc = lx_check_types_of(call, &call->in[0], err);

    if (rc < 0)
        return rc;
    if (is_sizing) {
        call->scratch_bytes = (size_t)call->in[0].shape[0] * sizeof(double);
        return LX_OK;
    }
    if ((rc = dev->alloc(dev, &copy, 2 * bytes, err)) < 0)
        return rc;
    call->state = copy;
    for (int i = 0; i < 2 && rc >= 0; i++)
        if (tables[i])
            rc = dev->upload(dev, static_cast<float *>(copy) + i * STEPS, tables[i],
                             bytes, err);
    return rc;
}

static void run_loss(lx_device *dev, const lx_call *call)
{
    const int64_t B = call->in[0].shape[0], n = B ? lx_arg_count(&call->in[0]) / B : 0;
    const float *copy = static_cast<const float *>(call->state);
    double *sums = static_cast<double *>(call->scratch);
    const loss_tables tables = {call->attrs.loss.type,
                                call->attrs.loss.huber_c ? copy : nullptr,
                                call->attrs.loss.weight ? copy + STEPS : nullptr};

    if (!B)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, loss_of_sample<T>, (unsigned)B, THREADS, 0, sums,
                  lx_out<float>(call, 0), lx_out<T>(call, 1), lx_in<T>(call, 0),
                  lx_weight_of(call, 1), lx_in<int64_t>(call, 2), lx_in<float>(call, 3),
                  lx_in<float>(call, 4), tables, n, (int)lx_arg_width(&call->in[0]));
    });
    if (B > 1)
        LX_LAUNCH(dev, loss_of_batch, 1, 1, 0, lx_out<float>(call, 0), sums, (int)B);
}

static void release_loss(lx_device *dev, lx_call *call)
{
    dev->free(dev, call->state);
    call->state = nullptr;
}

const lx_kernel lx_cuda_loss = {prepare_loss, run_loss, release_loss};
