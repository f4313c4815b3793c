#include "kernels/attention.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    ROWS = 96,     /* rows of a tile of scores: a multiple of every register tile */
    KEYS = 256,    /* its columns going forward, */
    QUERIES = 128, /* and backward, where a tile is turned: rows are keys */
    TURNED = 16,   /* tokens of dq turned at a time: a cache line */
    LAID = 64,     /* tokens laid out at a time on the way to bf16 */
    FORWARD_STEP = KEYS + 16,
    BACKWARD_STEP = QUERIES + 16,
    TURNED_STEP = ROWS + 16
};

typedef struct shape {
    int64_t B, T, S, N, d, row; /* row = N * d: floats from one token to the next */
    float scale;
    bool is_causal;
    int64_t panels; /* of nr columns that hold d */
    /* What products read: f32, or bf16 in pairs. Terms of a sum come in multiples of `unit`. */
    const lx_isa *isa;
    bool is_bf16;
    int unit, item;                 /* item: bytes of a term */
    int64_t d_laid, T_laid, S_laid; /* in whole units */
} shape;

/* Of `products` products of queries with keys or values. */
static double flops_of(const shape *s, double products)
{
    return 2 * products * (double)s->B * (double)s->T * (double)s->S * (double)s->row;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static shape shape_of(const lx_device *dev, const lx_call *call)
{
    const lx_isa *isa = lx_cpu_isa(dev);
    shape s = {.B = call->in[0].shape[0],
               .T = call->in[0].shape[1],
               .S = call->in[1].shape[1],
               .row = call->in[0].shape[2],
               .N = call->attrs.attention.n_heads,
               .scale = call->attrs.attention.scale,
               .is_causal = call->attrs.attention.is_causal,
               .isa = isa,
               .is_bf16 = call->attrs.attention.arithmetic.compute == LX_COMPUTE_BF16};
    s.d = s.row / s.N;
    s.panels = (s.d + isa->nr - 1) / isa->nr;
    s.unit = s.is_bf16 ? 2 : 1;
    s.item = s.is_bf16 ? isa->bf16_bytes : (int)sizeof(float);
    s.d_laid = round_up(s.d, s.unit);
    s.T_laid = round_up(s.T, s.unit);
    s.S_laid = round_up(s.S, s.unit);
    return s;
}

/* Term i of what is laid out in `base`. */
static void *term(const shape *s, void *base, int64_t i)
{
    return (char *)base + i * s->item;
}

/* Terms from row to row of a tile of f32 whose rows were narrowed where they stand. */
static int64_t terms_of(const shape *s, int64_t floats)
{
    return floats * (int64_t)sizeof(float) / s->item;
}

/* acc = a b, or acc += a b, of a register tile; b has nr columns, ldb floats apart in f32. */
static void product(const shape *s, float *acc, int64_t ld, const void *a, int64_t lda,
                    const void *b, int64_t ldb, int64_t k, int64_t rows, int64_t cols,
                    bool is_added)
{
    if (s->is_bf16)
        s->isa->product_bf16(acc, ld, a, lda, b, k, rows, cols, is_added);
    else
        s->isa->product(acc, ld, a, lda, b, ldb, k, rows, cols, is_added);
}

/* A row of n f32 becomes terms, where it stands; f32 stays. */
static void narrow(const shape *s, float *row, int64_t n)
{
    if (!s->is_bf16)
        return;
    s->isa->narrow_bf16(row, row, n);
    if (n % s->unit)
        memset(term(s, row, n), 0, (size_t)s->item);
}

/* ---- tokens laid out for the registers ---------------------------------------------------- */

/* Floats of `wide` below. */
static int64_t wide_floats(const shape *s)
{
    return s->is_bf16 ? s->isa->nr * (s->d > LAID ? s->d : LAID) : 0;
}

/* n tokens of one head as panels of nr tokens: [n/nr][d_laid][nr]. */
static void lay_turned(const shape *s, float *dst, float *wide, const float *x, int64_t n)
{
    static const int as_it_is[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                     13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                                     26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
                                     39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
                                     52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const lx_isa *isa = s->isa;

    for (int64_t t = 0; t < n; t += isa->nr) {
        float *panel = s->is_bf16 ? wide : dst + t * s->d;
        for (int64_t c = 0; c < s->d; c += 64)
            isa->pack_turned(panel + c * isa->nr, x + t * s->row + c, s->row,
                             (int)min64(isa->nr, n - t), (int)min64(64, s->d - c),
                             as_it_is);
        if (s->is_bf16)
            isa->pair_bf16(term(s, dst, t * s->d_laid), wide, isa->nr, s->d);
    }
}

/* n tokens of one head as panel p of nr channels: [n in whole units][nr]. */
static void lay_panel(const shape *s, float *dst, float *wide, const float *x, int64_t n,
                      int64_t p)
{
    const int64_t nr = s->isa->nr, panel = round_up(n, s->unit) * nr, c = p * nr;

    for (int64_t t = 0; t < n; t += LAID) {
        const int64_t cols = min64(nr, s->d - c), rows = min64(LAID, n - t);
        float *to = s->is_bf16 ? wide : dst + p * panel + t * nr;
        for (int64_t i = 0; i < rows; i++) {
            memcpy(to + i * nr, x + (t + i) * s->row + c, (size_t)cols * sizeof *to);
            memset(to + i * nr + cols, 0, (size_t)(nr - cols) * sizeof *to);
        }
        if (s->is_bf16)
            s->isa->pair_bf16(term(s, dst, p * panel + t * nr), wide, nr, rows);
    }
}

/* All of its panels. */
static void lay_straight(const shape *s, float *dst, float *wide, const float *x,
                         int64_t n)
{
    for (int64_t p = 0; p < s->panels; p++)
        lay_panel(s, dst, wide, x, n, p);
}

/* n tokens as rows of d_laid, zeros up to ROWS. */
static void lay_rows(const shape *s, float *dst, const float *x, int64_t n)
{
    for (int64_t t = 0; t < n; t++) {
        void *row = term(s, dst, t * s->d_laid);
        if (s->is_bf16)
            s->isa->narrow_bf16(row, x + t * s->row, s->d);
        else
            memcpy(row, x + t * s->row, (size_t)s->d * sizeof *x);
        memset(term(s, row, s->d), 0, (size_t)((s->d_laid - s->d) * s->item));
    }
    memset(term(s, dst, n * s->d_laid), 0, (size_t)((ROWS - n) * s->d_laid * s->item));
}

/* sum[m][c] += a[m][..k] b[..k][c] for `rows` rows (a multiple of mr is read), c < d; b in panels of
 * b_panel terms, a_step terms from row to row of a. */
static void accumulate(const shape *s, float *sum, int64_t sum_step, int64_t rows,
                       float *a, int64_t a_step, int64_t k, float *b, int64_t b_first,
                       int64_t b_panel)
{
    const lx_isa *isa = s->isa;

    for (int64_t c = 0; c < s->d; c += isa->nr, b_first += b_panel)
        for (int64_t m = 0; m < rows; m += isa->mr)
            product(s, sum + m * sum_step + c, sum_step, term(s, a, m * a_step), a_step,
                    term(s, b, b_first), isa->nr, k, rows - m, s->d - c, true);
}

/* Scores of `rows` rows of a and n columns of turned panels, from column `first` on. */
static void scores(const shape *s, float *tile, int64_t tile_step, float *a, int64_t rows,
                   float *panels, int64_t first, int64_t n)
{
    const lx_isa *isa = s->isa;

    for (int64_t j = 0; j < n; j += isa->nr)
        for (int64_t m = 0; m < rows; m += isa->mr)
            product(s, tile + m * tile_step + j, tile_step, term(s, a, m * s->d_laid),
                    s->d_laid, term(s, panels, (first + j) * s->d_laid), isa->nr, s->d,
                    rows - m, n - j, false);
}

/* ---- forward ------------------------------------------------------------------------------ */

/* One thread's memory: a tile of queries; and where the keys and values of the head at hand are. */
typedef struct forward {
    const lx_isa *isa;
    const shape *s;
    float *k, *v, *q, *p, *o, *wide;
    float max[ROWS], sum[ROWS];
} forward;

/* Places every buffer from `memory` on, or only counts with memory NULL. */
static int64_t forward_place(forward *f, float *memory)
{
    const shape *s = f->s;
    const int64_t wide = s->panels * f->isa->nr, d = round_up(s->d, 16);
    const struct {
        float **place;
        int64_t n;
    } parts[] = {
        {&f->q, ROWS * d},
        {&f->p, LX_MR_MAX * FORWARD_STEP},
        {&f->o, ROWS * wide},
        {&f->wide, wide_floats(s)},
    };
    int64_t n = 0;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (memory)
            *parts[i].place = memory + n;
        n += round_up(parts[i].n, 16);
    }
    return n;
}

/* Floats of a head's keys, laid out. */
static int64_t key_floats(const shape *s)
{
    return round_up(round_up(s->S, s->isa->nr) * round_up(s->d, 16), 16);
}

/* Of its keys and values. */
static int64_t head_floats(const shape *s)
{
    return key_floats(s) + round_up(s->S_laid * s->panels * s->isa->nr, 16);
}

/* Heads whose keys and values are laid out at a time: one for each thread, or all of them, which threads share. */
static int64_t count_laid(const shape *s, int threads)
{
    return min64(s->B * s->N, threads);
}

/* Row i's running maximum over n more scores p; what was summed before is scaled to it. */
static void raise_maximum(forward *f, int64_t i, const float *p, int64_t n)
{
    const int64_t wide = f->s->panels * f->isa->nr;
    const float here = n ? f->isa->row_max(p, n) * f->s->scale : -INFINITY;

    if (!(here > f->max[i]))
        return;
    const float keep = expf(f->max[i] - here);
    if (keep != 1)
        f->isa->row_scale(f->o + i * wide, f->o + i * wide, keep, wide);
    f->sum[i] = f->sum[i] * keep;
    f->max[i] = here;
}

/*
 * Row i's scores p of n keys become exp(score - running maximum), as terms. Keys from `visible` on are none of
 * its business.
 */
static void soften(forward *f, int64_t i, float *p, int64_t n, int64_t visible)
{
    if (visible < n)
        memset(p + visible, 0, (size_t)(n - visible) * sizeof *p);
    if (visible)
        f->sum[i] += f->isa->row_exp(p, p, visible, f->s->scale, f->max[i]);
    narrow(f->s, p, n);
}

/* Rows m .. m+n-1 of the queries from t0 on against some keys: all that is done to their scores while
 * those are in the first cache. Maxima come first: a row's exponentials need not wait for the row before. */
static void forward_rows(forward *f, int64_t m, int64_t n, int64_t t0, int64_t k0,
                         int64_t keys)
{
    const shape *s = f->s;
    const int64_t wide = s->panels * f->isa->nr;
    int64_t visible[LX_MR_MAX];

    scores(s, f->p, FORWARD_STEP, term(s, f->q, m * s->d_laid), n, f->k, k0, keys);
    for (int64_t i = 0; i < n; i++) {
        const int64_t before = t0 + m + i + 1 - k0; /* keys up to the query itself */
        visible[i] = s->is_causal && before < keys ? (before < 0 ? 0 : before) : keys;
        raise_maximum(f, m + i, f->p + i * FORWARD_STEP, visible[i]);
    }
    for (int64_t i = 0; i < n; i++)
        soften(f, m + i, f->p + i * FORWARD_STEP, keys, visible[i]);
    accumulate(s, f->o + m * wide, wide, n, f->p, terms_of(s, FORWARD_STEP), keys, f->v,
               k0 * f->isa->nr, s->S_laid * f->isa->nr);
}

/* Queries t0 .. t0+n-1 of one head. */
static void forward_tile(forward *f, float *o, float *lse, const float *q, int64_t t0,
                         int64_t n)
{
    const shape *s = f->s;
    const int64_t wide = s->panels * f->isa->nr;
    const int64_t last = s->is_causal ? min64(s->S, t0 + n) : s->S;

    lay_rows(s, f->q, q, n);
    memset(f->o, 0, (size_t)(ROWS * wide) * sizeof *f->o);
    for (int64_t i = 0; i < ROWS; i++) {
        f->max[i] = -INFINITY;
        f->sum[i] = 0;
    }
    for (int64_t k0 = 0; k0 < last; k0 += KEYS) {
        const int64_t keys = min64(KEYS, last - k0);
        for (int64_t m = 0; m < n; m += f->isa->mr)
            forward_rows(f, m, min64(f->isa->mr, n - m), t0, k0, keys);
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
    forward f = {.isa = s.isa, .s = &s};

    const int threads = lx_cpu_threads(dev);

    call->scratch_bytes = (size_t)(count_laid(&s, threads) * head_floats(&s) +
                                   threads * forward_place(&f, NULL)) *
                          sizeof(float);
    return LX_OK;
}

/* Of a run: what every thread knows. */
typedef struct forward_run {
    const lx_call *call;
    const shape *s;
    int threads;
    float *laid, *memory; /* heads that are laid out; behind them the threads' */
    bool is_shared;       /* head i is at i, else that of thread i */
} forward_run;

/* The first key or value of a head. */
static const float *keys_of(const forward_run *r, int operand, int64_t head)
{
    const shape *s = r->s;

    return lx_in_f32(r->call, operand) + head / s->N * s->S * s->row + head % s->N * s->d;
}

static forward forward_of(const forward_run *r, int thread)
{
    forward f = {.isa = r->s->isa, .s = r->s};

    forward_place(&f, r->memory + thread * forward_place(&f, NULL));
    return f;
}

static void point_at(forward *f, const forward_run *r, int64_t i)
{
    f->k = r->laid + i * head_floats(r->s);
    f->v = f->k + key_floats(r->s);
}

/* A thread's share of the panels of all heads. */
static void lay_share(const forward_run *r, int thread)
{
    const shape *s = r->s;
    const int64_t nr = s->isa->nr, heads = s->B * s->N, panels = (s->S + nr - 1) / nr;
    const int64_t n_k = heads * panels, n_v = heads * s->panels;
    forward f = forward_of(r, thread);

    for (int64_t i = n_k * thread / r->threads; i < n_k * (thread + 1) / r->threads;
         i++) {
        const int64_t t = i % panels * nr;
        point_at(&f, r, i / panels);
        lay_turned(s, term(s, f.k, t * s->d_laid), f.wide,
                   keys_of(r, 1, i / panels) + t * s->row, min64(nr, s->S - t));
    }
    for (int64_t i = n_v * thread / r->threads; i < n_v * (thread + 1) / r->threads;
         i++) {
        point_at(&f, r, i / s->panels);
        lay_panel(s, f.v, f.wide, keys_of(r, 2, i / s->panels), s->S, i % s->panels);
    }
}

/* A thread's share of the tiles of all heads. */
static void forward_share(const forward_run *r, int thread)
{
    const shape *s = r->s;
    const int64_t tiles = (s->T + ROWS - 1) / ROWS, n = s->B * s->N * tiles;
    const float *q = lx_in_f32(r->call, 0);
    float *o = lx_out_f32(r->call, 0), *lse = lx_out_f32(r->call, 1);
    forward f = forward_of(r, thread);
    int64_t laid = -1; /* the head at hand */

    for (int64_t i = n * thread / r->threads; i < n * (thread + 1) / r->threads; i++) {
        const int64_t head = i / tiles, t = i % tiles * ROWS;
        const int64_t at = (head / s->N * s->T + t) * s->row + head % s->N * s->d;
        if (head != laid) {
            point_at(&f, r, r->is_shared ? head : thread);
            if (!r->is_shared) {
                lay_turned(s, f.k, f.wide, keys_of(r, 1, head), s->S);
                lay_straight(s, f.v, f.wide, keys_of(r, 2, head), s->S);
            }
            laid = head;
        }
        forward_tile(&f, o + at, lse ? lse + head * s->T + t : NULL, q + at, t,
                     min64(ROWS, s->T - t));
    }
}

/* Where there are fewer heads than threads, all lay them out together. */
static void run_attention(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(dev, call);
    const int threads = lx_cpu_threads_for(dev, flops_of(&s, 2));
    const int64_t n_laid = count_laid(&s, threads);
    const forward_run r = {.call = call,
                           .s = &s,
                           .threads = threads,
                           .laid = call->scratch,
                           .memory = (float *)call->scratch + n_laid * head_floats(&s),
                           .is_shared = n_laid < threads};

    if (r.is_shared) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int thread = 0; thread < threads; thread++)
            lay_share(&r, thread);
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++)
        forward_share(&r, thread);
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
    float *ds_pairs, *wide; /* ds as the right side of dq, in bf16; lay_turned's */
} backward;

/* Floats from row to row of dq: no power of two, which would put all rows into the same cache lines. */
static int64_t dq_step(const shape *s)
{
    return round_up(s->T, s->isa->nr) + 16;
}

/* A thread does whole heads. */
static int backward_threads(const shape *s, int threads)
{
    const int64_t heads = s->B * s->N;

    return heads < 1 ? 1 : (int)min64(heads, threads);
}

/* Places every buffer from `memory` on, or only counts with memory NULL. */
static int64_t backward_place(backward *w, float *memory)
{
    const shape *s = w->s;
    const int64_t nr = w->isa->nr, T = round_up(s->T, nr), d = round_up(s->d, LX_MR_MAX);
    const int64_t wide = s->panels * nr, tile = s->is_bf16 ? ROWS * QUERIES : 0;
    const struct {
        float **place;
        int64_t n;
    } parts[] = {
        {&w->q_turned, T * s->d_laid},
        {&w->g_turned, T * s->d_laid},
        {&w->q, T * wide},
        {&w->g, T * wide},
        {&w->dot, T},
        {&w->dq, d * dq_step(s)},
        {&w->k_rows, ROWS * s->d_laid},
        {&w->v_rows, ROWS * s->d_laid},
        {&w->k_turned, d * TURNED_STEP},
        {&w->p, LX_MR_MAX * BACKWARD_STEP},
        {&w->ds, (s->is_bf16 ? LX_MR_MAX : ROWS) * BACKWARD_STEP},
        {&w->dk, ROWS * wide},
        {&w->dv, ROWS * wide},
        {&w->ds_pairs, tile},
        {&w->wide, wide_floats(s)},
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

    lay_rows(s, w->k_rows, k, n);
    lay_rows(s, w->v_rows, v, n);
    for (int64_t j = 0; j < ROWS; j++)
        for (int64_t c = 0; c < s->d; c++)
            w->k_turned[c * TURNED_STEP + j] = j < n ? k[j * s->row + c] : 0;
    for (int64_t c = 0; c < s->d; c++)
        narrow(s, w->k_turned + c * TURNED_STEP, ROWS);
    memset(w->dk, 0, (size_t)(ROWS * s->panels * w->isa->nr) * sizeof *w->dk);
    memset(w->dv, 0, (size_t)(ROWS * s->panels * w->isa->nr) * sizeof *w->dv);
}

/* dq[c][t0..] += k_turned[c][..keys] ds[..keys][..n] */
static void add_dq(backward *w, int64_t t0, int64_t n, int64_t keys)
{
    const lx_isa *isa = w->isa;
    const int64_t step = dq_step(w->s);

    for (int64_t j = 0; j < n; j += isa->nr)
        for (int64_t c = 0; c < w->s->d; c += isa->mr)
            product(w->s, w->dq + c * step + t0 + j, step, w->k_turned + c * TURNED_STEP,
                    terms_of(w->s, TURNED_STEP),
                    w->s->is_bf16 ? term(w->s, w->ds_pairs, j * ROWS) : w->ds + j,
                    BACKWARD_STEP, keys, w->s->d - c, n - j, true);
}

/*
 * Rows of p and ds become terms; ds also pairs of keys, which add_dq sums over. `first` is the row's
 * place among the keys.
 */
static void narrow_rows(backward *w, float *p, float *ds, int64_t first, int64_t keys,
                        int64_t n)
{
    const shape *s = w->s;
    const int64_t nr = s->isa->nr;

    if (!s->is_bf16)
        return;
    for (int64_t j = 0; j < n; j += nr)
        s->isa->pair_bf16(term(s, w->ds_pairs, j * ROWS + first * nr), ds + j,
                          BACKWARD_STEP, keys);
    for (int64_t j = 0; j < keys; j++) {
        narrow(s, p + j * BACKWARD_STEP, n);
        narrow(s, ds + j * BACKWARD_STEP, n);
    }
}

/* Keys k0+m .. k0+m+keys-1, a register tile's rows at most, against queries t0 .. t0+n-1: dk and dv, and ds
 * for dq. What is done to their scores is done while those are in the first cache. */
static void backward_rows(backward *w, const float *lse, int64_t k0, int64_t m,
                          int64_t keys, int64_t t0, int64_t n)
{
    const lx_isa *isa = w->isa;
    const shape *s = w->s;
    const int64_t wide = s->panels * isa->nr;
    float *p = w->p, *ds = w->ds + (s->is_bf16 ? 0 : m * BACKWARD_STEP);

    scores(s, p, BACKWARD_STEP, term(s, w->k_rows, m * s->d_laid), keys, w->q_turned, t0,
           n);
    scores(s, ds, BACKWARD_STEP, term(s, w->v_rows, m * s->d_laid), keys, w->g_turned, t0,
           n);
    for (int64_t j = 0; j < keys; j++) {
        float *pj = p + j * BACKWARD_STEP, *dsj = ds + j * BACKWARD_STEP;
        int64_t blind = s->is_causal ? k0 + m + j - t0 : 0; /* queries before this key */
        blind = blind < 0 ? 0 : min64(blind, n);
        isa->row_exp_each(pj, pj, n, s->scale, lse + t0);
        if (blind)
            memset(pj, 0, (size_t)blind * sizeof *pj);
        isa->row_score_slope(dsj, pj, dsj, w->dot + t0, s->scale, n);
    }
    narrow_rows(w, p, ds, m, keys, n);
    accumulate(s, w->dv + m * wide, wide, keys, p, terms_of(s, BACKWARD_STEP), n, w->g,
               t0 * isa->nr, s->T_laid * isa->nr);
    accumulate(s, w->dk + m * wide, wide, keys, ds, terms_of(s, BACKWARD_STEP), n, w->q,
               t0 * isa->nr, s->T_laid * isa->nr);
}

/* Keys k0 .. k0+keys-1 against queries t0 .. t0+n-1. */
static void backward_tile(backward *w, const float *lse, int64_t k0, int64_t keys,
                          int64_t t0, int64_t n)
{
    for (int64_t m = 0; m < keys; m += w->isa->mr)
        backward_rows(w, lse, k0, m, min64(w->isa->mr, keys - m), t0, n);
    add_dq(w, t0, n, keys);
}

static void write_rows(float *to, const float *from, const shape *s, int64_t step,
                       int64_t n)
{
    for (int64_t i = 0; to && i < n; i++)
        memcpy(to + i * s->row, from + i * step, (size_t)s->d * sizeof *to);
}

static void backward_head(backward *w, const lx_call *call, int64_t head)
{
    const shape *s = w->s;
    const int64_t b = head / s->N, at = head % s->N * s->d;
    const int64_t query = b * s->T * s->row + at, key = b * s->S * s->row + at;
    const int64_t wide = s->panels * w->isa->nr, step = dq_step(s);
    const float *q = lx_in_f32(call, 0) + query, *g = lx_in_f32(call, 5) + query;
    const float *o = lx_in_f32(call, 3) + query, *lse = lx_in_f32(call, 4) + head * s->T;
    float *dq = lx_out_f32(call, 0), *dk = lx_out_f32(call, 1), *dv = lx_out_f32(call, 2);

    lay_turned(s, w->q_turned, w->wide, q, s->T);
    lay_turned(s, w->g_turned, w->wide, g, s->T);
    lay_straight(s, w->q, w->wide, q, s->T);
    lay_straight(s, w->g, w->wide, g, s->T);
    for (int64_t t = 0; t < s->T; t++)
        w->dot[t] = w->isa->row_dot(g + t * s->row, o + t * s->row, s->d);
    memset(w->dq, 0, (size_t)(s->d * step) * sizeof *w->dq);
    for (int64_t k0 = 0; k0 < s->S; k0 += ROWS) {
        const int64_t keys = min64(ROWS, s->S - k0);
        const int64_t first = s->is_causal ? min64(k0, s->T) / QUERIES * QUERIES : 0;
        lay_keys(w, lx_in_f32(call, 1) + key + k0 * s->row,
                 lx_in_f32(call, 2) + key + k0 * s->row, keys);
        for (int64_t t0 = first; t0 < s->T; t0 += QUERIES)
            backward_tile(w, lse, k0, keys, t0, min64(QUERIES, s->T - t0));
        write_rows(dk ? dk + key + k0 * s->row : NULL, w->dk, s, wide, keys);
        write_rows(dv ? dv + key + k0 * s->row : NULL, w->dv, s, wide, keys);
    }
    for (int64_t t = 0; dq && t < s->T; t += TURNED)
        for (int64_t c = 0; c < s->d; c++)
            for (int64_t j = t; j < s->T && j < t + TURNED; j++)
                dq[query + j * s->row + c] = w->dq[c * step + j];
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

static int prepare_attention_bwd(lx_device *dev, lx_call *call, bool is_sizing,
                                 lx_error *err)
{
    const shape s = shape_of(dev, call);
    backward w = {.isa = lx_cpu_isa(dev), .s = &s};

    call->scratch_bytes =
        (size_t)(backward_threads(&s, lx_cpu_threads(dev)) * backward_place(&w, NULL)) *
        sizeof(float);
    return LX_OK;
}

static void run_attention_bwd(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(dev, call);
    const int threads = backward_threads(&s, lx_cpu_threads_for(dev, flops_of(&s, 5)));

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
const lx_kernel lx_cpu_attention_bwd = {.prepare = prepare_attention_bwd,
                                        .run = run_attention_bwd};
