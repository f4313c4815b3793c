#include "kernels/attention.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    ROWS = 96,           /* rows of a tile of scores: a multiple of every register tile */
    KEYS = 256,          /* its columns going forward, */
    QUERIES = 128,       /* and backward, where a tile is turned: rows are keys */
    FORWARD_STEP = KEYS + 16,
    BACKWARD_STEP = QUERIES + 16,
    TURNED_STEP = ROWS + 16
};

typedef struct shape {
    int64_t B, T, S, N, d, row; /* row = N * d: floats from one token to the next */
    float scale;
    bool is_causal;
    int64_t panels; /* of nr columns that hold d */
} shape;

/* Of `products` products of queries with keys or values. */
static double flops_of(const shape *s, double products)
{
    return 2 * products * (double)s->B * (double)s->T * (double)s->S * (double)s->row;
}

static shape shape_of(const lx_device *dev, const lx_call *call)
{
    const int64_t nr = lx_cpu_isa(dev)->nr;
    shape s = {.B = call->in[0].shape[0],
               .T = call->in[0].shape[1],
               .S = call->in[1].shape[1],
               .row = call->in[0].shape[2],
               .N = call->attrs.attention.n_heads,
               .scale = call->attrs.attention.scale,
               .is_causal = call->attrs.attention.is_causal};
    s.d = s.row / s.N;
    s.panels = (s.d + nr - 1) / nr;
    return s;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* ---- tokens laid out for the registers ---------------------------------------------------- */

/* n tokens of one head as panels of nr tokens: [n/nr][d][nr]. */
static void lay_turned(const lx_isa *isa, float *dst, const float *x, const shape *s, int64_t n)
{
    static const int as_it_is[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                                     32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                     48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

    for (int64_t t = 0; t < n; t += isa->nr)
        for (int64_t c = 0; c < s->d; c += 64)
            isa->pack_turned(dst + t * s->d + c * isa->nr, x + t * s->row + c, s->row,
                             (int)min64(isa->nr, n - t), (int)min64(64, s->d - c), as_it_is);
}

/* n tokens of one head as panels of nr channels: [panels][n][nr]. */
static void lay_straight(const lx_isa *isa, float *dst, const float *x, const shape *s, int64_t n)
{
    for (int64_t c = 0; c < s->d; c += isa->nr)
        for (int64_t t = 0; t < n; t++, dst += isa->nr) {
            const int64_t cols = min64(isa->nr, s->d - c);
            memcpy(dst, x + t * s->row + c, (size_t)cols * sizeof *dst);
            memset(dst + cols, 0, (size_t)(isa->nr - cols) * sizeof *dst);
        }
}

/* n tokens as rows of d, zeros up to ROWS. */
static void lay_rows(float *dst, const float *x, const shape *s, int64_t n)
{
    for (int64_t t = 0; t < n; t++)
        memcpy(dst + t * s->d, x + t * s->row, (size_t)s->d * sizeof *dst);
    memset(dst + n * s->d, 0, (size_t)((ROWS - n) * s->d) * sizeof *dst);
}

/* sum[m][c] += a[m][..k] b[..k][c] for `rows` rows (a multiple of mr is read), c < d. */
static void accumulate(const lx_isa *isa, float *sum, int64_t sum_step, int64_t rows, const float *a,
                       int64_t a_step, int64_t k, const float *b, int64_t b_panel, int64_t d)
{
    for (int64_t c = 0; c < d; c += isa->nr, b += b_panel)
        for (int64_t m = 0; m < rows; m += isa->mr)
            isa->product(sum + m * sum_step + c, sum_step, a + m * a_step, a_step, b, isa->nr, k,
                         d - c <= isa->nr / 2, true);
}

/* Scores of `rows` rows of a and n columns of turned panels. */
static void scores(const lx_isa *isa, float *tile, int64_t tile_step, const float *a, int64_t rows,
                   const float *panels, int64_t n, int64_t d)
{
    for (int64_t j = 0; j < n; j += isa->nr)
        for (int64_t m = 0; m < rows; m += isa->mr)
            isa->product(tile + m * tile_step + j, tile_step, a + m * d, d, panels + j * d, isa->nr,
                         d, n - j <= isa->nr / 2, false);
}

/* ---- forward ------------------------------------------------------------------------------ */

/* One thread's memory: the keys and values of the head at hand, and a tile of queries. */
typedef struct forward {
    const lx_isa *isa;
    const shape *s;
    float *k, *v, *q, *p, *o;
    float max[ROWS], sum[ROWS];
} forward;

static int64_t forward_floats(const shape *s, const lx_isa *isa)
{
    const int64_t wide = s->panels * isa->nr;

    return round_up(s->S, isa->nr) * round_up(s->d, 16) + s->S * wide + ROWS * round_up(s->d, 16) +
           ROWS * FORWARD_STEP + ROWS * wide;
}

static void forward_place(forward *f, float *memory)
{
    const int64_t wide = f->s->panels * f->isa->nr;

    f->k = memory;
    f->v = f->k + round_up(f->s->S, f->isa->nr) * round_up(f->s->d, 16);
    f->q = f->v + f->s->S * wide;
    f->p = f->q + ROWS * round_up(f->s->d, 16);
    f->o = f->p + ROWS * FORWARD_STEP;
}

/*
 * Row i's scores of n keys become exp(score - running maximum); what was summed before is scaled to
 * the new maximum. Keys from `visible` on are none of its business.
 */
static void soften(forward *f, int64_t i, int64_t n, int64_t visible)
{
    float *p = f->p + i * FORWARD_STEP;
    const int64_t wide = f->s->panels * f->isa->nr;

    visible = visible < 0 ? 0 : min64(visible, n);
    memset(p + visible, 0, (size_t)(n - visible) * sizeof *p);
    if (!visible)
        return;
    const float here = f->isa->row_max(p, visible) * f->s->scale;
    const float max = here > f->max[i] ? here : f->max[i];
    const float keep = expf(f->max[i] - max);
    const float sum = f->isa->row_exp(p, p, visible, f->s->scale, max);
    if (keep != 1)
        f->isa->row_scale(f->o + i * wide, f->o + i * wide, keep, wide);
    f->sum[i] = f->sum[i] * keep + sum;
    f->max[i] = max;
}

/* Queries t0 .. t0+n-1 of one head. */
static void forward_tile(forward *f, float *o, float *lse, const float *q, int64_t t0, int64_t n)
{
    const shape *s = f->s;
    const int64_t wide = s->panels * f->isa->nr, rows = round_up(n, f->isa->mr);
    const int64_t last = s->is_causal ? min64(s->S, t0 + n) : s->S;

    lay_rows(f->q, q, s, n);
    memset(f->o, 0, (size_t)(ROWS * wide) * sizeof *f->o);
    for (int64_t i = 0; i < ROWS; i++) {
        f->max[i] = -INFINITY;
        f->sum[i] = 0;
    }
    for (int64_t k0 = 0; k0 < last; k0 += KEYS) {
        const int64_t keys = min64(KEYS, last - k0);
        scores(f->isa, f->p, FORWARD_STEP, f->q, rows, f->k + k0 * s->d, keys, s->d);
        for (int64_t i = 0; i < n; i++)
            soften(f, i, keys, s->is_causal ? t0 + i + 1 - k0 : keys);
        accumulate(f->isa, f->o, wide, rows, f->p, FORWARD_STEP, keys, f->v + k0 * f->isa->nr,
                   s->S * f->isa->nr, s->d);
    }
    for (int64_t i = 0; i < n; i++) {
        f->isa->row_scale(o + i * s->row, f->o + i * wide, 1 / f->sum[i], s->d);
        if (lse)
            lse[i] = f->max[i] + logf(f->sum[i]);
    }
}

static int prepare_attention(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const shape s = shape_of(dev, call);

    call->scratch_bytes = (size_t)(lx_cpu_threads(dev) *
                                   round_up(forward_floats(&s, lx_cpu_isa(dev)), 16)) *
                          sizeof(float);
    return LX_OK;
}

static void run_attention(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(dev, call);
    const lx_isa *isa = lx_cpu_isa(dev);
    const int64_t tiles = (s.T + ROWS - 1) / ROWS, n = s.B * s.N * tiles;
    const int threads = lx_cpu_threads_for(dev, flops_of(&s, 2));
    const float *q = lx_in_f32(call, 0), *k = lx_in_f32(call, 1), *v = lx_in_f32(call, 2);
    float *o = lx_out_f32(call, 0), *lse = lx_out_f32(call, 1);

#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++) {
        forward f = {.isa = isa, .s = &s};
        int64_t laid = -1; /* the head whose keys and values are laid out */

        forward_place(&f, (float *)call->scratch + thread * round_up(forward_floats(&s, isa), 16));
        for (int64_t i = n * thread / threads; i < n * (thread + 1) / threads; i++) {
            const int64_t head = i / tiles, t = i % tiles * ROWS;
            const int64_t b = head / s.N, at = head % s.N * s.d;
            if (head != laid) {
                lay_turned(isa, f.k, k + b * s.S * s.row + at, &s, s.S);
                lay_straight(isa, f.v, v + b * s.S * s.row + at, &s, s.S);
                laid = head;
            }
            forward_tile(&f, o + (b * s.T + t) * s.row + at, lse ? lse + head * s.T + t : NULL,
                         q + (b * s.T + t) * s.row + at, t, min64(ROWS, s.T - t));
        }
    }
}

/* ---- backward ----------------------------------------------------------------------------- */

/*
 * One thread's memory for one head. Tiles are turned, rows are keys: then exp(s - lse) and ds are
 * rows over queries, dv and dk are plain products of them, and dq is summed turned, [d][T].
 */
typedef struct backward {
    const lx_isa *isa;
    const shape *s;
    float *q_turned, *g_turned, *q, *g; /* queries and do, of the whole head */
    float *dot;                         /* [T] do . o */
    float *dq;                          /* [d up to mr][T up to nr] */
    float *k_rows, *v_rows, *k_turned;  /* one tile of keys */
    float *p, *ds, *dk, *dv;
} backward;

/* Places every buffer from `memory` on, or only counts with memory NULL. */
static int64_t backward_place(backward *w, float *memory)
{
    const shape *s = w->s;
    const int64_t nr = w->isa->nr, T = round_up(s->T, nr), d = round_up(s->d, LX_MR_MAX);
    const int64_t wide = s->panels * nr;
    const struct {
        float **place;
        int64_t n;
    } parts[] = {
        {&w->q_turned, T * s->d}, {&w->g_turned, T * s->d}, {&w->q, T * wide},
        {&w->g, T * wide},        {&w->dot, T},             {&w->dq, d * T},
        {&w->k_rows, ROWS * s->d}, {&w->v_rows, ROWS * s->d}, {&w->k_turned, d * TURNED_STEP},
        {&w->p, ROWS * BACKWARD_STEP}, {&w->ds, ROWS * BACKWARD_STEP},
        {&w->dk, ROWS * wide},    {&w->dv, ROWS * wide},
    };
    int64_t n = 0;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (memory)
            *parts[i].place = memory + n;
        n += round_up(parts[i].n, 16);
    }
    return n;
}

static void lay_keys(backward *w, const float *k, const float *v, int64_t n)
{
    const shape *s = w->s;

    lay_rows(w->k_rows, k, s, n);
    lay_rows(w->v_rows, v, s, n);
    for (int64_t j = 0; j < ROWS; j++)
        for (int64_t c = 0; c < s->d; c++)
            w->k_turned[c * TURNED_STEP + j] = w->k_rows[j * s->d + c];
    memset(w->dk, 0, (size_t)(ROWS * s->panels * w->isa->nr) * sizeof *w->dk);
    memset(w->dv, 0, (size_t)(ROWS * s->panels * w->isa->nr) * sizeof *w->dv);
}

/* dq[c][t0..] += k_turned[c][..keys] ds[..keys][..n] */
static void add_dq(backward *w, int64_t t0, int64_t n, int64_t keys)
{
    const lx_isa *isa = w->isa;
    const int64_t step = round_up(w->s->T, isa->nr);

    for (int64_t j = 0; j < n; j += isa->nr)
        for (int64_t c = 0; c < w->s->d; c += isa->mr)
            isa->product(w->dq + c * step + t0 + j, step, w->k_turned + c * TURNED_STEP, TURNED_STEP,
                         w->ds + j, BACKWARD_STEP, keys, false, true);
}

/* Keys k0 .. k0+keys-1 against queries t0 .. t0+n-1. */
static void backward_tile(backward *w, const float *lse, int64_t k0, int64_t keys, int64_t t0,
                          int64_t n)
{
    const lx_isa *isa = w->isa;
    const shape *s = w->s;
    const int64_t wide = s->panels * isa->nr, rows = round_up(keys, isa->mr);

    scores(isa, w->p, BACKWARD_STEP, w->k_rows, rows, w->q_turned + t0 * s->d, n, s->d);
    scores(isa, w->ds, BACKWARD_STEP, w->v_rows, rows, w->g_turned + t0 * s->d, n, s->d);
    for (int64_t j = 0; j < keys; j++) {
        float *p = w->p + j * BACKWARD_STEP, *ds = w->ds + j * BACKWARD_STEP;
        int64_t blind = s->is_causal ? k0 + j - t0 : 0; /* queries before this key */
        blind = blind < 0 ? 0 : min64(blind, n);
        isa->row_exp_each(p, p, n, s->scale, lse + t0);
        memset(p, 0, (size_t)blind * sizeof *p);
        isa->row_score_slope(ds, p, ds, w->dot + t0, s->scale, n);
    }
    accumulate(isa, w->dv, wide, rows, w->p, BACKWARD_STEP, n, w->g + t0 * isa->nr, s->T * isa->nr,
               s->d);
    accumulate(isa, w->dk, wide, rows, w->ds, BACKWARD_STEP, n, w->q + t0 * isa->nr, s->T * isa->nr,
               s->d);
    add_dq(w, t0, n, keys);
}

static void write_rows(float *to, const float *from, const shape *s, int64_t step, int64_t n)
{
    for (int64_t i = 0; to && i < n; i++)
        memcpy(to + i * s->row, from + i * step, (size_t)s->d * sizeof *to);
}

static void backward_head(backward *w, const lx_call *call, int64_t head)
{
    const shape *s = w->s;
    const int64_t b = head / s->N, at = head % s->N * s->d;
    const int64_t query = b * s->T * s->row + at, key = b * s->S * s->row + at;
    const int64_t wide = s->panels * w->isa->nr, step = round_up(s->T, w->isa->nr);
    const float *q = lx_in_f32(call, 0) + query, *g = lx_in_f32(call, 5) + query;
    const float *o = lx_in_f32(call, 3) + query, *lse = lx_in_f32(call, 4) + head * s->T;
    float *dq = lx_out_f32(call, 0), *dk = lx_out_f32(call, 1), *dv = lx_out_f32(call, 2);

    lay_turned(w->isa, w->q_turned, q, s, s->T);
    lay_turned(w->isa, w->g_turned, g, s, s->T);
    lay_straight(w->isa, w->q, q, s, s->T);
    lay_straight(w->isa, w->g, g, s, s->T);
    for (int64_t t = 0; t < s->T; t++)
        w->dot[t] = w->isa->row_dot(g + t * s->row, o + t * s->row, s->d);
    memset(w->dq, 0, (size_t)(s->d * step) * sizeof *w->dq);
    for (int64_t k0 = 0; k0 < s->S; k0 += ROWS) {
        const int64_t keys = min64(ROWS, s->S - k0);
        const int64_t first = s->is_causal ? min64(k0, s->T) / QUERIES * QUERIES : 0;
        lay_keys(w, lx_in_f32(call, 1) + key + k0 * s->row, lx_in_f32(call, 2) + key + k0 * s->row,
                 keys);
        for (int64_t t0 = first; t0 < s->T; t0 += QUERIES)
            backward_tile(w, lse, k0, keys, t0, min64(QUERIES, s->T - t0));
        write_rows(dk ? dk + key + k0 * s->row : NULL, w->dk, s, wide, keys);
        write_rows(dv ? dv + key + k0 * s->row : NULL, w->dv, s, wide, keys);
    }
    for (int64_t t = 0; dq && t < s->T; t++)
        for (int64_t c = 0; c < s->d; c++)
            dq[query + t * s->row + c] = w->dq[c * step + t];
}

/*
 * With one key its weight is 1 whatever q and k are: dq and dk are exactly zero, as the rounding
 * errors of dp - D would not be, and Adam would take those for a direction.
 */
static void backward_one_key(const shape *s, const lx_call *call)
{
    const float *g = lx_in_f32(call, 5);
    float *dq = lx_out_f32(call, 0), *dk = lx_out_f32(call, 1), *dv = lx_out_f32(call, 2);

    if (dq)
        memset(dq, 0, (size_t)(s->B * s->T * s->row) * sizeof *dq);
    if (dk)
        memset(dk, 0, (size_t)(s->B * s->row) * sizeof *dk);
    if (dv)
        memset(dv, 0, (size_t)(s->B * s->row) * sizeof *dv);
    for (int64_t b = 0; dv && b < s->B; b++)
        for (int64_t t = 0; t < s->T; t++)
            for (int64_t c = 0; c < s->row; c++)
                dv[b * s->row + c] += g[(b * s->T + t) * s->row + c];
}

static int prepare_attention_bwd(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const shape s = shape_of(dev, call);
    backward w = {.isa = lx_cpu_isa(dev), .s = &s};

    call->scratch_bytes = (size_t)(lx_cpu_threads(dev) * backward_place(&w, NULL)) * sizeof(float);
    return LX_OK;
}

static void run_attention_bwd(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(dev, call);
    const int threads = lx_cpu_threads_for(dev, flops_of(&s, 5));

    if (s.S == 1) {
        backward_one_key(&s, call);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++) {
        backward w = {.isa = lx_cpu_isa(dev), .s = &s};
        backward_place(&w, (float *)call->scratch + thread * backward_place(&w, NULL));
        for (int64_t head = thread; head < s.B * s.N; head += threads)
            backward_head(&w, call, head);
    }
}

const lx_kernel lx_cpu_attention = {.prepare = prepare_attention, .run = run_attention};
const lx_kernel lx_cpu_attention_bwd = {.prepare = prepare_attention_bwd, .run = run_attention_bwd};
