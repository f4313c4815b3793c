/* Products with one side of a few columns, a LoRA's rank; for isa_body.h. */

/* Of each block of 2*width lanes of a and b the halves added: a's sums in the lower half, b's above. */
INLINE vf add_halves(vf a, vf b, int width)
{
    const vi i = LANE_NUMBERS, is_above = (i & width) != 0;
    const vi lower = (i & ~width) + (is_above & VL);
    return shuffle(a, b, lower) + shuffle(a, b, lower + width);
}

/* Lane i of the result: the sum of the lanes of v[i]. */
INLINE vf sums_of(vf v[VL])
{
    _Pragma("GCC unroll 8") for (int width = VL / 2; width; width /= 2)
    {
        _Pragma("GCC unroll 16") for (int i = 0; i < width; i++) v[i] =
            add_halves(v[i], v[i + width], width);
    }
    return v[0];
}

/* VL / 4 rows by four of R; where there are fewer, the last is taken again. */
enum { THIN_ROWS = VL / 4 };

#define THIN_REDUCE_STEP(get)                                                    \
    {                                                                            \
        vf q[4];                                                                 \
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) q[j] = get(p[j]);    \
        _Pragma("GCC unroll 4") for (int a = 0; a < THIN_ROWS; a++)              \
        {                                                                        \
            const vf v = get(x[a]);                                              \
            _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) acc[4 * a + j] = \
                FMA(v, q[j], acc[4 * a + j]);                                    \
        }                                                                        \
    }
#define WHOLE(row) load((row) + i)
#define REST(row) load_some((row) + i, n - i)

INLINE vf thin_sums(const float *const x[THIN_ROWS], const float *const p[4], int64_t n)
{
    vf acc[VL] = {0};
    int64_t i = 0;

    for (; i + VL <= n; i += VL)
        THIN_REDUCE_STEP(WHOLE)
    if (i < n)
        THIN_REDUCE_STEP(REST)
    return sums_of(acc);
}

static void isa_thin_reduce(float *y, const float *x, const float *p, int64_t rows, int R,
                            int64_t n)
{
    for (int64_t m = 0; m < rows; m += THIN_ROWS)
        for (int r = 0; r < R; r += 4) {
            const float *xs[THIN_ROWS], *ps[4];
            float sums[VL];
            for (int64_t a = 0; a < THIN_ROWS; a++)
                xs[a] = x + (m + a < rows ? m + a : rows - 1) * n;
            for (int j = 0; j < 4; j++)
                ps[j] = p + (r + j < R ? r + j : R - 1) * n;
            store(sums, thin_sums(xs, ps, n));
            for (int64_t a = 0; a < THIN_ROWS && m + a < rows; a++)
                for (int j = 0; j < 4 && r + j < R; j++)
                    y[(m + a) * R + r + j] = sums[4 * a + j];
        }
}

INLINE void thin_expand_rows(float *y, const float *add, const float *bias,
                             const float *h, const float *q, int rows, int R, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const vf first = bias ? load_some(bias + i, n - i) : (vf){0};
        vf acc[4];
        for (int a = 0; a < rows; a++)
            acc[a] = first;
        for (int r = 0; r < R; r++) {
            const vf v = load_some(q + r * n + i, n - i);
            for (int a = 0; a < rows; a++)
                acc[a] = FMA(all(h[a * R + r]), v, acc[a]);
        }
        for (int a = 0; a < rows; a++)
            store_some(y + a * n + i,
                       add ? load_some(add + a * n + i, n - i) + acc[a] : acc[a], n - i);
    }
}

static void isa_thin_expand(float *y, const float *add, const float *bias, const float *h,
                            const float *q, int64_t rows, int R, int64_t n)
{
    for (; rows >= 4; rows -= 4, y += 4 * n, h += 4 * R) {
        if (R == 4)
            thin_expand_rows(y, add, bias, h, q, 4, 4, n);
        else
            thin_expand_rows(y, add, bias, h, q, 4, R, n);
        add = add ? add + 4 * n : NULL;
    }
    for (; rows; rows--, y += n, h += R) {
        thin_expand_rows(y, add, bias, h, q, 1, R, n);
        add = add ? add + n : NULL;
    }
}

/* Four of y's rows are added to at once, eight rows of x one after the other. */
INLINE void thin_outer_rows(float *y, int64_t y_step, const float *h, const float *x,
                            int64_t x_step, int rows, int R, int ranks, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf acc[4];
        for (int r = 0; r < ranks; r++)
            acc[r] = load_some(y + r * y_step + i, n - i);
        for (int a = 0; a < rows; a++) {
            const vf v = load_some(x + a * x_step + i, n - i);
            for (int r = 0; r < ranks; r++)
                acc[r] = FMA(all(h[a * R + r]), v, acc[r]);
        }
        for (int r = 0; r < ranks; r++)
            store_some(y + r * y_step + i, acc[r], n - i);
    }
}

static void isa_thin_outer(float *y, int64_t y_step, const float *h, const float *x,
                           int64_t x_step, int64_t rows, int R, int64_t n)
{
    for (int64_t m = 0; m < rows; m += 8) {
        const int some = rows - m < 8 ? (int)(rows - m) : 8;
        for (int r = 0; r < R; r += 4) {
            const int ranks = R - r < 4 ? R - r : 4;
            float *to = y + r * y_step;
            const float *from = x + m * x_step, *factors = h + m * R + r;
            if (some == 8 && ranks == 4)
                thin_outer_rows(to, y_step, factors, from, x_step, 8, R, 4, n);
            else
                thin_outer_rows(to, y_step, factors, from, x_step, some, R, ranks, n);
        }
    }
}
