/*
 * Gradients of LoRA's factors, many in a launch: join.h has the formula.
 *
 * A block has 64 columns of the wide side and up to 64 of the thin one, and walks all rows, which pass through
 * shared memory, fetched ahead. A warp has 16 of the wide columns. Each element of a gradient belongs to one
 * lane, which adds to it at the end.
 */
#include "kernels/cuda/dialect.cuh"

extern "C" {
#include "kernels/cuda/join.h"
}

enum {
    THREADS = 128,
    COLUMNS = LX_CUDA_THIN_COLUMNS,
    ROWS = LX_CUDA_THIN_ROWS,
    PITCH = COLUMNS + 8
};

template <int WIDTH> struct thin_tile {
    enum {
        THIN_PITCH = WIDTH + 8,
        WIDE = ROWS * PITCH,
        STAGE = WIDE + ROWS * THIN_PITCH
    };
};

/* Rows row.. of the columns column.. of a matrix [n, width] begin to come; zeros beyond its ends. */
template <class T, int N>
LX_DEVICE void fetch_columns(T *to, int pitch, const T *from, int n, int width, int row,
                             int column)
{
    if (width % 8 == 0) {
        for (int i = threadIdx.x; i < ROWS * (N / 8); i += THREADS) {
            const int r = i / (N / 8), c = i % (N / 8) * 8;
            const bool is_there = row + r < n && column + c < width;
            lx_copy_async(to + r * pitch + c,
                          from + (is_there ? (int64_t)(row + r) * width + column + c : 0),
                          is_there);
        }
        return;
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < ROWS * N; i += THREADS) {
        const int r = i / N, c = i % N;
        T value = {};
        if (row + r < n && column + c < width)
            value = from[(int64_t)(row + r) * width + column + c];
        to[r * pitch + c] = value;
    }
}

LX_DEVICE int gradient_of_block(const lx_cuda_thin *all, int n, int block)
{
    int low = 0, high = n - 1;

    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (all[middle].first_block <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(THREADS) thin_gradients(const lx_cuda_thin *all, int n)
{
    typedef thin_tile<WIDTH> M;
    LX_DYNAMIC_SHARED(T, shared);
    const lx_cuda_thin g = all[gradient_of_block(all, n, (int)blockIdx.x)];
    const int tile = (int)blockIdx.x - g.first_block;
    const int wide0 = tile % g.n_columns * COLUMNS, thin0 = tile / g.n_columns * WIDTH;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int n_slices = (g.rows + ROWS - 1) / ROWS;
    float sum[WIDTH / 8][4];
    auto fetch = [&](int slice) {
        T *to = shared + slice % 2 * M::STAGE;
        if (slice < n_slices) {
            fetch_columns<T, COLUMNS>(to, PITCH, static_cast<const T *>(g.wide), g.rows,
                                      g.W, slice * ROWS, wide0);
            fetch_columns<T, WIDTH>(to + M::WIDE, M::THIN_PITCH,
                                    static_cast<const T *>(g.thin), g.rows, g.R,
                                    slice * ROWS, thin0);
        }
        lx_copy_commit();
    };

#pragma unroll
    for (int j = 0; j < WIDTH / 8; j++)
        sum[j][0] = sum[j][1] = sum[j][2] = sum[j][3] = 0;
    fetch(0);
    for (int i = 0; i < n_slices; i++) {
        const T *wide = shared + i % 2 * M::STAGE, *thin = wide + M::WIDE;
        lx_copy_wait<0>();
        __syncthreads();
        fetch(i + 1);
#pragma unroll
        for (int step = 0; step < ROWS / 16; step++) {
            uint32_t a[4], b[4];
            lx_load_matrix_transposed(
                a, wide + (step * 16 + lane / 16 * 8 + lane % 8) * PITCH + warp * 16 +
                       lane / 8 % 2 * 8);
#pragma unroll
            for (int j = 0; j < WIDTH / 16; j++) {
                lx_load_matrix_transposed(b, thin +
                                                 (step * 16 + lane % 16) * M::THIN_PITCH +
                                                 j * 16 + lane / 16 * 8);
                lx_mma(sum[2 * j], a, b, T());
                lx_mma(sum[2 * j + 1], a, b + 2, T());
            }
        }
    }
    lx_copy_wait<0>();
#pragma unroll
    for (int j = 0; j < WIDTH / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int w = wide0 + warp * 16 + lane / 4 + e / 2 * 8,
                      t = thin0 + j * 8 + lane % 4 * 2 + e % 2;
            if (w < g.W && t < g.R)
                g.out[(int64_t)w * g.wide_step + (int64_t)t * g.thin_step] +=
                    g.scale * sum[j][e];
        }
}

void lx_cuda_thin_gradients(lx_device *dev, const lx_cuda_thin *all, int n, int n_blocks,
                            int width, lx_dtype dtype)
{
    auto launch = [&](auto type, auto size) {
        typedef decltype(type) T;
        constexpr int WIDTH = decltype(size)::value;
        LX_LAUNCH_SHARED(dev, (thin_gradients<T, WIDTH>), (unsigned)n_blocks, THREADS,
                         2 * thin_tile<WIDTH>::STAGE * sizeof(T), all, n);
    };
    auto with_width = [&](auto type) {
        if (width == 16)
            launch(type, std::integral_constant<int, 16>());
        else if (width == 32)
            launch(type, std::integral_constant<int, 32>());
        else
            launch(type, std::integral_constant<int, 64>());
    };

    if (n_blocks < 1)
        return;
    if (dtype == LX_F16)
        with_width(lx_f16());
    else
        with_width(lx_bf16());
}
