#include "src/lora/matrix.h"

#include <string.h>

#include "src/base/fast.h"

enum { ROWS = 4, COLS = 16, DEPTH = 256, LANES = 8, ROW_BLOCK = 128 };

typedef double lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(8)));

/* panel [depth][COLS]: columns j .. j + cols of b, zero beyond. */
static void pack(double *panel, const double *b, size_t k0, size_t depth, size_t k,
                 size_t j, size_t cols, size_t n, int b_turned)
{
    for (size_t p = 0; p < depth; p++)
        for (size_t q = 0; q < COLS; q++)
            panel[p * COLS + q] = q >= cols  ? 0
                                  : b_turned ? b[(j + q) * k + k0 + p]
                                             : b[(k0 + p) * n + j + q];
}

/* tile [ROWS][COLS] += rows of a times the panel; sums go on in the order of p. */
LX_FAST static void add_tile(double *tile, const double *const a[ROWS],
                             const double *panel, size_t depth)
{
    lanes sum[ROWS][COLS / LANES];

    memcpy(sum, tile, sizeof sum);
    for (size_t p = 0; p < depth; p++) {
        lanes left, right;
        memcpy(&left, panel + p * COLS, sizeof left);
        memcpy(&right, panel + p * COLS + LANES, sizeof right);
        for (int i = 0; i < ROWS; i++) {
            sum[i][0] += a[i][p] * left;
            sum[i][1] += a[i][p] * right;
        }
    }
    memcpy(tile, sum, sizeof sum);
}

/* One block of rows of c under one panel. */
static void multiply_block(double *c, const double *a, const double *panel, size_t rows,
                           size_t cols, size_t k0, size_t depth, size_t k, size_t n)
{
    for (size_t i = 0; i < rows; i += ROWS) {
        const size_t here = rows - i < ROWS ? rows - i : ROWS;
        double tile[ROWS * COLS] = {0};
        const double *from[ROWS];

        for (size_t r = 0; r < ROWS; r++) {
            from[r] = a + (i + (r < here ? r : 0)) * k + k0;
            if (k0 && r < here)
                memcpy(tile + r * COLS, c + (i + r) * n, cols * sizeof *c);
        }
        add_tile(tile, from, panel, depth);
        for (size_t r = 0; r < here; r++)
            memcpy(c + (i + r) * n, tile + r * COLS, cols * sizeof *c);
    }
}

void lx_matrix_multiply(double *c, const double *a, const double *b, size_t m, size_t k,
                        size_t n, int b_turned)
{
    const size_t wide = (n + COLS - 1) / COLS, high = (m + ROW_BLOCK - 1) / ROW_BLOCK;

    if (!k)
        memset(c, 0, m * n * sizeof *c);
#pragma omp parallel for schedule(static) if ((double)m * (double)n * (double)k > 1e6)
    for (size_t t = 0; t < wide * high; t++) {
        const size_t j = t / high * COLS, i = t % high * ROW_BLOCK;
        const size_t cols = n - j < COLS ? n - j : COLS;
        const size_t rows = m - i < ROW_BLOCK ? m - i : ROW_BLOCK;
        double panel[DEPTH * COLS];

        for (size_t k0 = 0; k0 < k; k0 += DEPTH) {
            const size_t depth = k - k0 < DEPTH ? k - k0 : DEPTH;
            pack(panel, b, k0, depth, k, j, cols, n, b_turned);
            multiply_block(c + i * n + j, a + i * k, panel, rows, cols, k0, depth, k, n);
        }
    }
}

void lx_matrix_turn(double *to, const double *from, size_t rows, size_t cols)
{
    enum { TILE = 16 };

    for (size_t i0 = 0; i0 < rows; i0 += TILE)
        for (size_t j0 = 0; j0 < cols; j0 += TILE)
            for (size_t i = i0; i < rows && i < i0 + TILE; i++)
                for (size_t j = j0; j < cols && j < j0 + TILE; j++)
                    to[j * rows + i] = from[i * cols + j];
}

LX_FAST double lx_matrix_dot(const double *a, const double *b, size_t n)
{
    lanes sum = {0};
    double total = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        lanes x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        sum += x * y;
    }
    for (int l = 0; l < LANES; l++)
        total += sum[l];
    for (; i < n; i++)
        total += a[i] * b[i];
    return total;
}

LX_FAST void lx_matrix_add(double *y, double factor, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += factor * x[i];
}
