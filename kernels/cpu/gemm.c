#include "kernels/cpu/gemm.h"

#include <omp.h>
#include <string.h>

enum {
    KC = 320,      /* most terms of a block */
    KC_BF16 = 640, /* the same bytes: sums go through memory half as often */
    MC = 96,       /* rows of a block of A (120 KB): stays in the second cache */
    NC = 1024,     /* columns of a block of B */
    PAD = 16, /* terms between rows of A: no power of two, which would put all of them
                    * into the same cache lines */
    KC_MAX = KC_BF16
};

/* One thread's scratch, in bytes. */
typedef struct room {
    size_t a, b, panel, wide; /* panel and wide: f32 on the way to bf16, and from F16 */
} room;

static room room_of(const lx_isa *isa, lx_compute compute)
{
    const bool is_bf16 = compute == LX_COMPUTE_BF16;
    const size_t k = is_bf16 ? KC_BF16 : KC,
                 item = is_bf16 ? (size_t)isa->bf16_bytes : sizeof(float);

    return (room){.a = MC * (k + PAD) * item,
                  .b = k * NC * item,
                  .panel = is_bf16 ? LX_NR_MAX * k * sizeof(float) : 0,
                  .wide = LX_NR_MAX * k * sizeof(float)};
}

static size_t room_bytes(const room *r)
{
    return r->a + r->b + r->panel + r->wide;
}

size_t lx_gemm_scratch(const lx_device *dev, lx_compute compute)
{
    const room r = room_of(lx_cpu_isa(dev), compute);

    return (size_t)lx_cpu_threads(dev) * room_bytes(&r);
}

/* A run of channels under all taps: the terms of one block, tap by tap. */
typedef struct block {
    int64_t c0;
    int c, terms; /* terms = c * T */
    int laid;     /* terms of a row of A and B: up to a pair in bf16 */
} block;

/* What one thread works with. */
typedef struct worker {
    const lx_isa *isa;
    const lx_gemm *g;
    bool is_bf16;
    int item;       /* bytes of a term in a and b */
    int64_t a_step; /* terms from row to row */
    char *a, *b;
    float *panel, *wide;
    int order[KC_MAX]; /* term in the weight's order -> term in the block's */
} worker;

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Channels per block: even parts of C, a multiple of 8 where there are that many. */
static int channels_per_block(const lx_gemm *g)
{
    int64_t most = (g->compute == LX_COMPUTE_BF16 ? KC_BF16 : KC) / g->T, parts, each;

    if (most >= 8)
        most -= most % 8;
    parts = (g->C + most - 1) / most;
    each = (g->C + parts - 1) / parts;
    return (int)min64((each + 7) / 8 * 8, most);
}

/* ---- A ----------------------------------------------------------------------------------- */

/* Where grid cell m stands: its source under the tap (0, 0), and the start of its image. */
typedef struct cell {
    int64_t u, v, i, j;
    const float *image;
} cell;

static cell cell_at(const lx_pixels *p, const float *x, int64_t m)
{
    const int64_t v = m % p->gw, u = m / p->gw % p->gh, b = m / p->gw / p->gh;

    return (cell){u, v, u * p->step, v * p->step, x + b * p->h * p->w * p->width};
}

/* The next one; without the divisions, which would cost as much as the copying. */
static void cell_advance(cell *c, const lx_pixels *p)
{
    c->j += p->step;
    if (++c->v < p->gw)
        return;
    c->v = c->j = 0;
    c->i += p->step;
    if (++c->u < p->gh)
        return;
    c->u = c->i = 0;
    c->image += p->h * p->w * p->width;
}

/* Source of a cell under tap t, or NULL outside the image. */
static const float *cell_pixel(const cell *c, const lx_pixels *p, int t)
{
    const int64_t i = c->i + p->down[t], j = c->j + p->right[t];

    if ((uint64_t)i >= (uint64_t)p->h || (uint64_t)j >= (uint64_t)p->w)
        return NULL;
    return c->image + (i * p->w + j) * p->width;
}

static void copy_or_zero(float *dst, const float *src, int64_t n)
{
    if (src)
        memcpy(dst, src, (size_t)n * sizeof *dst);
    else
        memset(dst, 0, (size_t)n * sizeof *dst);
}

/* n terms of row m from term `at` on; zeros where there is no src. */
static void put(const worker *w, int64_t m, int64_t at, const float *src, int64_t n)
{
    char *dst = w->a + (m * w->a_step + at) * w->item;

    if (!src)
        memset(dst, 0, (size_t)(n * w->item));
    else if (w->is_bf16)
        w->isa->narrow_bf16(dst, src, n);
    else
        memcpy(dst, src, (size_t)n * sizeof *src);
}

static void lay_pixels(const worker *w, const block *k, int64_t m0, int64_t n)
{
    const lx_gemm *g = w->g;
    cell c = cell_at(g->pixels, g->a, m0);

    for (int64_t m = 0; m < n; m++, cell_advance(&c, g->pixels))
        for (int t = 0; t < g->T; t++) {
            const float *pixel = cell_pixel(&c, g->pixels, t);
            put(w, m, (int64_t)t * k->c, pixel ? pixel + k->c0 : NULL, k->c);
        }
}

/* Only gradients of trained weights read columns, and those are f32. */
static void lay_columns(const worker *w, const block *k, int64_t m0, int64_t n)
{
    const lx_gemm *g = w->g;
    float *a = (float *)w->a;

    for (int64_t c = 0; c < k->c; c++) {
        const float *from = g->a + (k->c0 + c) * g->a_step + m0;
        for (int64_t m = 0; m < n; m++)
            a[m * w->a_step + c] = from[m];
    }
}

/* Rows m0 .. m0+n-1 of A, and zeros up to a whole register tile. */
static void lay_a(const worker *w, const block *k, int64_t m0, int64_t n)
{
    const lx_gemm *g = w->g;

    if (g->a_kind == LX_A_PIXELS)
        lay_pixels(w, k, m0, n);
    else if (g->a_kind == LX_A_COLUMNS)
        lay_columns(w, k, m0, n);
    else
        for (int64_t m = 0; m < n; m++) {
            const float *row = g->a + (m0 + m) * g->a_step + k->c0;
            for (int c = 0; m + 1 < n && c < k->c; c += 16)
                __builtin_prefetch(row + g->a_step + c);
            put(w, m, 0, row, k->c);
        }
    for (int64_t m = 0; k->laid > k->terms && m < n; m++)
        put(w, m, k->terms, NULL, 1);
    for (; n % w->isa->mr; n++)
        put(w, n, 0, NULL, k->laid);
}

/* ---- B ----------------------------------------------------------------------------------- */

/* A panel to be laid out: channels c0 .. c0+c-1 of columns n0 .. n0+cols-1. */
typedef struct panel {
    const lx_isa *isa;
    const lx_gemm *g;
    float *dst, *wide;
    const int *order;
    int64_t c0, n0;
    int c, cols;
} panel;

/* `n` elements at index `at` of the weight, as f32: in place, or widened into `wide`. */
static const float *weight_run(const panel *p, float *wide, int64_t at, int64_t n)
{
    const size_t item = p->g->b_dtype == LX_F16 ? 2 : 4;
    const char *next = (const char *)p->g->b + (size_t)(at + n) * item;

    /* What follows is wanted for the next block; nothing else would fetch rows so far apart. */
    for (size_t i = 0; i < (size_t)n * item; i += 64)
        __builtin_prefetch(next + i);
    if (p->g->b_dtype == LX_F16) {
        p->isa->widen_f16(wide, (const uint16_t *)p->g->b + at, n);
        return wide;
    }
    return (const float *)p->g->b + at;
}

/* Each column's terms lie together in memory: [c][t] of one n. Turns them into rows of columns. */
static void lay_turned(const panel *p)
{
    const lx_gemm *g = p->g;
    const int64_t first = p->n0 * g->b_n + p->c0 * g->b_c;
    const int terms = p->c * g->T;
    const float *src;
    int64_t step = g->b_n;

    if (g->b_dtype == LX_F16) {
        for (int n = 0; n < p->cols; n++)
            weight_run(p, p->wide + n * terms, first + n * g->b_n, terms);
        src = p->wide;
        step = terms;
    } else {
        src = (const float *)g->b + first;
    }
    p->isa->pack_turned(p->dst, src, step, p->cols, terms, p->order);
}

/* The columns of a term lie b_n apart, with the taps between them: [n][t] of one c. */
static void lay_spread(const panel *p)
{
    const lx_gemm *g = p->g;
    const int nr = p->isa->nr;

    for (int c = 0; c < p->c; c++) {
        const float *src = weight_run(p, p->wide, p->n0 * g->b_n + (p->c0 + c) * g->b_c,
                                      p->cols * g->b_n);
        if (g->b_n == 9 && g->has_all_taps) {
            p->isa->pack_windows(p->dst + (int64_t)c * nr, (int64_t)p->c * nr, src,
                                 p->cols);
            continue;
        }
        for (int t = 0; t < g->T; t++) {
            float *to = p->dst + (int64_t)(t * p->c + c) * nr;
            if (g->b_n == 1 && p->cols == nr)
                memcpy(to, src, (size_t)nr * sizeof *to);
            else
                p->isa->pack_spread(to, src + g->tap_of[t] * g->b_t, g->b_n, p->cols);
        }
    }
}

/* B(n, c) is channel n of pixel c. */
static void lay_channels(const panel *p)
{
    const int nr = p->isa->nr;
    float *dst = p->dst;
    cell at = cell_at(p->g->pixels, p->g->b, p->c0);

    for (int c = 0; c < p->c; c++, dst += nr, cell_advance(&at, p->g->pixels)) {
        const float *pixel = cell_pixel(&at, p->g->pixels, 0);
        copy_or_zero(dst, pixel ? pixel + p->n0 : NULL, p->cols);
        copy_or_zero(dst + p->cols, NULL, nr - p->cols);
    }
}

/* Any strides, element by element: windows of which only some taps take part. */
static void lay_any(const panel *p)
{
    const lx_gemm *g = p->g;
    const int nr = p->isa->nr;
    float *dst = p->dst, one;

    for (int t = 0; t < g->T; t++)
        for (int c = 0; c < p->c; c++, dst += nr)
            for (int n = 0; n < nr; n++)
                dst[n] = n >= p->cols
                             ? 0
                             : *weight_run(p, &one,
                                           (p->n0 + n) * g->b_n + (p->c0 + c) * g->b_c +
                                               g->tap_of[t] * g->b_t,
                                           1);
}

void lx_gemm_lay_panel(const lx_isa *isa, const lx_gemm *g, float *dst, float *wide,
                       const int *order, int64_t c0, int c, int64_t n0, int cols)
{
    const panel p = {isa, g, dst, wide, order, c0, n0, c, cols};

    if (g->b_kind == LX_B_PIXELS)
        lay_channels(&p);
    else if (g->has_all_taps && g->b_c == g->T)
        lay_turned(&p);
    else if (g->b_n < g->b_c && g->b_n <= LX_GEMM_MAX_TAPS)
        lay_spread(&p);
    else
        lay_any(&p);
}

/* A whole panel straight to pairs, if the machine and the weight allow it. */
static bool lay_pairs(const worker *w, const block *k, char *to, int64_t n, int64_t cols)
{
    const lx_gemm *g = w->g;
    const lx_isa *isa = w->isa;
    const bool is_f16 = g->b_dtype == LX_F16;
    const char *src;

    if (!isa->pairs_turned || !w->is_bf16 || g->b_kind != LX_B_STRIDES ||
        !g->has_all_taps || cols != isa->nr || (g->T != 1 && g->T != 9))
        return false;
    src = (const char *)g->b + (n * g->b_n + k->c0 * g->b_c) * (is_f16 ? 2 : 4);
    if (g->b_c == g->T && (g->T == 1 || k->c % 32 == 0)) {
        const bool is_last =
            k->c0 + k->c >= g->C; /* then the next panel follows, else the next block */
        isa->pairs_turned(to, src, is_f16, g->b_n, k->c, g->T,
                          is_last ? cols * g->b_n : k->terms);
        return true;
    }
    if (g->b_n == g->T && k->c % 2 == 0) {
        isa->pairs_straight(to, src, is_f16, g->b_c, k->c, g->T, cols * g->b_n);
        return true;
    }
    return false;
}

static void lay_b(const worker *w, const block *k, int64_t n0, int64_t n1)
{
    const int nr = w->isa->nr;

    for (int64_t n = n0; n < n1; n += nr) {
        char *to = w->b + (n - n0) * k->laid * w->item;
        const int64_t cols = min64(nr, n1 - n);
        if (lay_pairs(w, k, to, n, cols))
            continue;
        lx_gemm_lay_panel(w->isa, w->g, w->is_bf16 ? w->panel : (float *)to, w->wide,
                          w->order, k->c0, k->c, n, (int)cols);
        if (w->is_bf16)
            w->isa->pair_bf16(to, w->panel, nr, k->terms);
    }
}

/* ---- y ----------------------------------------------------------------------------------- */

static int64_t row_of_y(const lx_gemm *g, const lx_pixels *p, int64_t m)
{
    if (!g->out_step)
        return m * g->y_step;
    const int64_t v = m % p->gw, u = m / p->gw % p->gh, b = m / p->gw / p->gh;
    const int64_t i = u * g->out_step + g->out_down, j = v * g->out_step + g->out_right;
    return ((b * g->out_h + i) * g->out_w + j) * g->y_step;
}

/* acc = A B of the register tile at row m of the block and column n of its columns, or acc += */
static void tile_product(const worker *w, const block *k, float *acc, int64_t ld,
                         int64_t m, int64_t n, int rows, int cols, bool is_added)
{
    const char *a = w->a + m * w->a_step * w->item, *b = w->b + n * k->laid * w->item;

    if (w->is_bf16)
        w->isa->product_bf16(acc, ld, a, w->a_step, b, k->laid, rows, cols, is_added);
    else
        w->isa->product(acc, ld, (const float *)a, w->a_step, (const float *)b,
                        w->isa->nr, k->terms, rows, cols, is_added);
}

/* Where a tile's results go, and what is added to them, is fetched while a tile is multiplied: the same one
 * where they are wanted after its product, the next one where it goes on from them. */
static void prefetch_tile(const lx_gemm *g, const float *from, const int64_t *at,
                          int64_t rows, int64_t n, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = n; j < n + cols; j += 16) {
            __builtin_prefetch(g->y + at[i] + j, 1);
            if (from && from != g->y)
                __builtin_prefetch(from + at[i] + j);
        }
}

/*
 * One block of A (n_rows from m0) times one block of B (columns n0..n1), added to y. Later blocks go
 * on in y itself, or in a copy of it at the edges: an element's sum is the same wherever it stands
 * and however large the register tile is.
 */
static void multiply(const worker *w, const block *k, int64_t m0, int64_t n_rows,
                     int64_t n0, int64_t n1)
{
    const lx_gemm *g = w->g;
    const lx_isa *isa = w->isa;
    const bool is_first = k->c0 == 0;
    const bool goes_on = !is_first && g->scale == 1 && !g->out_step;
    /* A whole tile that nothing is added to needs no copy either. */
    const bool is_bare = is_first && g->scale == 1 && !g->bias && !g->add && !g->out_step;
    const float *from = is_first ? g->add : goes_on ? NULL : g->y;
    float acc[LX_MR_MAX * LX_NR_MAX] __attribute__((aligned(64))) = {0};
    int64_t at[MC];

    for (int64_t m = 0; m < n_rows; m++)
        at[m] = row_of_y(g, g->pixels, m0 + m);
    for (int64_t n = n0; n < n1; n += isa->nr) {
        const int cols = (int)min64(isa->nr, n1 - n);

        for (int64_t m = 0; m < n_rows; m += isa->mr) {
            const int rows = (int)min64(isa->mr, n_rows - m);
            float *y[LX_MR_MAX];
            const float *add[LX_MR_MAX];

            for (int i = 0; i < rows; i++) {
                y[i] = g->y + at[m + i] + n;
                add[i] = from ? from + at[m + i] + n : NULL;
            }
            if (is_first)
                prefetch_tile(g, from, at + m, rows, n, cols);
            else if (m + isa->mr < n_rows)
                prefetch_tile(g, from, at + m + isa->mr,
                              min64(isa->mr, n_rows - m - isa->mr), n, cols);
            if ((goes_on || is_bare) && (rows == isa->mr || rows == 4) &&
                cols == isa->nr) {
                tile_product(w, k, y[0], g->y_step, m, n - n0, rows, cols, goes_on);
                continue;
            }
            for (int i = 0; goes_on && i < rows; i++)
                memcpy(acc + i * isa->nr, y[i], (size_t)cols * sizeof *acc);
            tile_product(w, k, acc, isa->nr, m, n - n0, rows, cols, goes_on);
            isa->store(y, from ? add : NULL, is_first && g->bias ? g->bias + n : NULL,
                       g->scale, acc, rows, cols);
        }
    }
}

/* Rows m0..m1 and columns n0..n1 of y, by one thread. */
static void run_part(worker *w, int64_t m0, int64_t m1, int64_t n0, int64_t n1)
{
    const lx_gemm *g = w->g;
    const int per_block = channels_per_block(g);

    for (int64_t nb = n0; nb < n1; nb += NC) {
        const int64_t ne = min64(nb + NC, n1);
        for (int64_t c0 = 0; c0 < g->C; c0 += per_block) {
            block k = {.c0 = c0, .c = (int)min64(per_block, g->C - c0)};
            k.terms = k.c * g->T;
            k.laid = w->is_bf16 ? (k.terms + 1) / 2 * 2 : k.terms;
            for (int i = 0; i < k.terms; i++)
                w->order[i] = i % g->T * k.c + i / g->T;
            lay_b(w, &k, nb, ne);
            for (int64_t mb = m0; mb < m1; mb += MC) {
                lay_a(w, &k, mb, min64(MC, m1 - mb));
                multiply(w, &k, mb, min64(MC, m1 - mb), nb, ne);
            }
        }
    }
}

/* Each thread lays out its own A and B, so the cost of a division is the largest part's: products,
 * 0.1 of a product's time per 16 columns for a term of A, three times that for one of B. */
int lx_gemm_threads_along_rows(int64_t M, int64_t N, const lx_isa *isa, int threads)
{
    double best = 0;
    int chosen = 1;

    for (int rows = 1; rows <= threads; rows++) {
        if (threads % rows)
            continue;
        const int cols = threads / rows;
        const int64_t tiles = (M + isa->mr - 1) / isa->mr;
        const int64_t panels = (N + isa->nr - 1) / isa->nr;
        const double m = (double)((tiles + rows - 1) / rows) * isa->mr;
        const double n = (double)((panels + cols - 1) / cols) * isa->nr;
        const double cost = m * n + 1.6 * m + 5 * n;
        if (best == 0 || cost < best) {
            best = cost;
            chosen = rows;
        }
    }
    return chosen;
}

int64_t lx_gemm_part(int64_t end, int unit, int i, int n)
{
    return min64((end + unit - 1) / unit * i / n * unit, end);
}

void lx_gemm_run(lx_device *dev, const lx_gemm *g, void *scratch)
{
    const lx_isa *isa = lx_cpu_isa(dev);
    const int threads =
        lx_cpu_threads_for(dev, 2.0 * (double)g->M * (double)g->N * (double)g->C * g->T);
    const int rows = lx_gemm_threads_along_rows(g->M, g->N, isa, threads),
              cols = threads / rows;
    const bool is_bf16 = g->compute == LX_COMPUTE_BF16;
    const room r = room_of(isa, g->compute);

    lx_assert(!is_bf16 || g->a_kind != LX_A_COLUMNS);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int i = 0; i < threads; i++) {
        char *mine = (char *)scratch + (size_t)i * room_bytes(&r);
        worker w = {.isa = isa,
                    .g = g,
                    .is_bf16 = is_bf16,
                    .item = is_bf16 ? isa->bf16_bytes : (int)sizeof(float),
                    .a_step = (is_bf16 ? KC_BF16 : KC) + PAD,
                    .a = mine,
                    .b = mine + r.a,
                    .panel = (float *)(mine + r.a + r.b),
                    .wide = (float *)(mine + r.a + r.b + r.panel)};
        run_part(&w, lx_gemm_part(g->M, isa->mr, i / cols, rows),
                 lx_gemm_part(g->M, isa->mr, i / cols + 1, rows),
                 lx_gemm_part(g->N, isa->nr, i % cols, cols),
                 lx_gemm_part(g->N, isa->nr, i % cols + 1, cols));
    }
}
