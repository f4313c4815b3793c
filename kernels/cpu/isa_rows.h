/* Rows: sums, largest value, exponentials, norms and their gradients; for isa_body.h. */

static void isa_row_scale(float *y, const float *x, float factor, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(x + i) * all(factor));
    for (; i < n; i++)
        y[i] = x[i] * factor;
}

static void isa_add(float *y, const float *a, const float *b, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(a + i) + load(b + i));
    for (; i < n; i++)
        y[i] = a[i] + b[i];
}

/* A NaN is passed over here and comes out of the exponentials that follow. */
static float isa_row_max(const float *x, int64_t n)
{
    float max;
    int64_t i = 0;
    vf best = all(-INFINITY);

    for (; i + VL <= n; i += VL) {
        vf v = load(x + i);
        best = at_least(v, best);
    }
    UNROLL for (int step = VL / 2; step; step /= 2) best =
        at_least(shifted(best, step), best);
    max = best[0];
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

static float isa_row_dot(const float *x, const float *y, int64_t n)
{
    vf s0 = {0}, s1 = {0};
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        s0 = FMA(load(x + i), load(y + i), s0);
        s1 = FMA(load(x + i + VL), load(y + i + VL), s1);
    }
    for (; i < n; i += VL) {
        int64_t m = n - i < VL ? n - i : VL;
        s0 = FMA(load_some(x + i, m), load_some(y + i, m), s0);
    }
    return lane_sum(s0 + s1);
}

static float isa_row_exp(float *y, const float *x, int64_t n, float scale, float shift)
{
    vf sum = {0};
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf v = vexp(FMA(load(x + i), all(scale), all(-shift)));
        store(y + i, v);
        sum += v;
    }
    if (i < n) {
        vf v = vexp(FMA(load_some(x + i, n - i), all(scale), all(-shift)));
        store_some(y + i, v, n - i);
        sum += load_some(y + i, n - i);
    }
    return lane_sum(sum);
}

static void isa_row_exp_each(float *y, const float *x, int64_t n, float scale,
                             const float *shift)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, vexp(FMA(load(x + i), all(scale), -load(shift + i))));
    if (i < n)
        store_some(
            y + i,
            vexp(FMA(load_some(x + i, n - i), all(scale), -load_some(shift + i, n - i))),
            n - i);
}

static void isa_row_score_slope(float *y, const float *p, const float *x, const float *d,
                                float scale, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(p + i) * (load(x + i) - load(d + i)) * all(scale));
    for (; i < n; i++)
        y[i] = p[i] * (x[i] - d[i]) * scale;
}

static void isa_column_sum(double *sum, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += x[i];
}

static void isa_column_moments(double *sum, double *squares, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double v = x[i];
        sum[i] += v;
        squares[i] += v * v;
    }
}

INLINE vf norm_of(vf x, const lx_norm_rows *r, int64_t i, int64_t m)
{
    return FMA(x - load_some(r->mean + i, m), load_some(r->w + i, m),
               load_some(r->b + i, m));
}

static void isa_norm_row(float *y, const float *x, const lx_norm_rows *r, bool has_silu,
                         int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf z = norm_of(load_some(x + i, n - i), r, i, n - i);
        store_some(y + i, has_silu ? silu_of(z) : z, n - i);
    }
}

INLINE vf norm_gradient(vf dy, vf x, const lx_norm_rows *r, bool has_silu, int64_t i,
                        int64_t m)
{
    vf w = load_some(r->w + i, m);
    return has_silu ? dy * silu_slope(norm_of(x, r, i, m)) * w : dy * w;
}

static void isa_norm_sums(double *sum, double *dot, const float *dy, const float *x,
                          const lx_norm_rows *r, bool has_silu, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t m = n - i < VL ? n - i : VL;
        const vf v = load_some(x + i, m);
        float g[VL], d[VL];
        store(g, norm_gradient(load_some(dy + i, m), v, r, has_silu, i, m));
        store(d, v - load_some(r->mean + i, m));
        for (int64_t j = 0; j < m; j++) {
            sum[i + j] += g[j];
            dot[i + j] += (double)g[j] * d[j];
        }
    }
}

static void isa_norm_finish(float *dx, const float *dy, const float *x,
                            const lx_norm_rows *r, const float *p, const float *q,
                            const float *add, bool has_silu, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t m = n - i;
        vf v = load_some(x + i, m);
        vf g = norm_gradient(load_some(dy + i, m), v, r, has_silu, i, m);
        g = g -
            FMA(load_some(q + i, m), v - load_some(r->mean + i, m), load_some(p + i, m));
        store_some(dx + i, add ? load_some(add + i, m) + g : g, m);
    }
}

/*
 * The mean is corrected by the mean of what is left when it is taken off: a sum of f32 is off by
 * some of its last bits, which is much where the values lie close together.
 */
static void isa_layer_norm_row(float *y, float stats[2], const float *x, const float *w,
                               const float *b, float eps, int64_t n)
{
    vf sum = {0}, squares = {0}, d;
    float mean, rest, rstd;
    int64_t i;

    for (i = 0; i < n; i += VL)
        sum += load_some(x + i, n - i);
    mean = lane_sum(sum) / (float)n;
    sum = all(0);
    for (i = 0; i + VL <= n; i += VL) {
        d = load(x + i) - all(mean);
        sum += d;
        squares = FMA(d, d, squares);
    }
    if (i < n) {
        float tail[VL] = {0};
        for (int64_t j = 0; j < n - i; j++)
            tail[j] = x[i + j] - mean;
        d = load(tail);
        sum += d;
        squares = FMA(d, d, squares);
    }
    rest = lane_sum(sum) / (float)n;
    rstd = 1 / sqrtf(lane_sum(squares) / (float)n - rest * rest + eps);
    for (i = 0; i < n; i += VL) {
        d = (load_some(x + i, n - i) - all(mean) - all(rest)) * all(rstd);
        store_some(y + i, FMA(d, load_some(w + i, n - i), load_some(b + i, n - i)),
                   n - i);
    }
    stats[0] = mean + rest;
    stats[1] = rstd;
}

static void isa_layer_norm_dx_row(float *dx, const float *dy, const float *x,
                                  const float *w, const float *add, const float stats[2],
                                  int64_t n)
{
    const vf mean = all(stats[0]), rstd = all(stats[1]);
    vf sum = {0}, dot = {0};

    for (int64_t i = 0; i < n; i += VL) {
        int64_t m = n - i < VL ? n - i : VL;
        vf g = load_some(dy + i, m) * load_some(w + i, m);
        sum += g;
        dot = FMA(g, (load_some(x + i, m) - mean) * rstd, dot);
    }
    const vf mean_g = all(lane_sum(sum) / (float)n),
             mean_dot = all(lane_sum(dot) / (float)n);
    for (int64_t i = 0; i < n; i += VL) {
        int64_t m = n - i < VL ? n - i : VL;
        vf xhat = (load_some(x + i, m) - mean) * rstd;
        vf g = load_some(dy + i, m) * load_some(w + i, m);
        g = rstd * (g - FMA(xhat, mean_dot, mean_g));
        store_some(dx + i, add ? load_some(add + i, m) + g : g, m);
    }
}

static void isa_softmax_dx_row(float *dx, const float *dy, const float *y, int64_t n)
{
    const float dot = isa_row_dot(dy, y, n);
    for (int64_t i = 0; i < n; i++)
        dx[i] = y[i] * (dy[i] - dot);
}
