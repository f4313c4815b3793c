#include "kernels/cpu/winograd.h"

#include <string.h>

enum {
    POINTS = 16, /* of a transformed tile */
    KC = 128,    /* channels of a block at most, in f32; as many bytes in bf16 */
    LAY = 32,    /* channels whose windows are laid out at a time */
    COLS = 128,  /* output channels of a block: fewer and the inputs are read too often */
    MOST_TILES =
        300, /* tiles of a block, and at most so many that their inputs are 12 MB */
    V_FLOATS = 3 << 20
};

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Plain products in bf16 are twice as fast, the transforms are not. */
bool lx_winograd_pays(int64_t B, int64_t oh, int64_t ow, int64_t Ci, int64_t Co,
                      lx_compute compute)
{
    const int64_t least = compute == LX_COMPUTE_BF16 ? 192 : 48;

    return Ci >= 32 && Co >= 32 && B * ((oh + 1) / 2) * ((ow + 1) / 2) >= least;
}

/* Tiles of a block; a multiple of every register tile's rows. */
static int64_t tiles_per_block(int64_t Ci)
{
    const int64_t n = V_FLOATS / (POINTS * Ci) / LX_MR_MAX * LX_MR_MAX;
    return n < 2 * LX_MR_MAX ? 2 * LX_MR_MAX : min64(n, MOST_TILES);
}

/* Even parts of C, of as many bytes as KC floats at most. */
static int64_t channels_per_block(int64_t C, int item)
{
    const int64_t most = KC * (int64_t)sizeof(float) / item,
                  parts = (C + most - 1) / most;

    return ((C + parts - 1) / parts + LAY - 1) / LAY * LAY;
}

/* Floats per thread of each part of the scratch. */
typedef struct room {
    int64_t v, u, m, window, wide, zeros, f32;
} room;

static room room_of(int64_t n_tiles, int64_t Ci)
{
    const int64_t tiles =
        min64(tiles_per_block(Ci), (n_tiles + LX_MR_MAX - 1) / LX_MR_MAX * LX_MR_MAX);
    const int64_t channels = (Ci + KC - 1) / KC * KC;

    return (room){
        .v = POINTS * tiles * channels,
        .u = POINTS * KC * COLS,
        .m = POINTS * tiles * COLS,
        .window = 9 * LAY * LX_NR_MAX,
        .wide = 9 * LAY * LX_NR_MAX + 16 * LX_NR_MAX * 9,
        .zeros = 2 * KC,
        .f32 = POINTS * LAY * LX_NR_MAX,
    };
}

static int64_t room_floats(const room *r)
{
    return r->v + r->u + r->m + r->window + r->wide + r->zeros + r->f32;
}

static int64_t count_tiles(int64_t B, int64_t oh, int64_t ow)
{
    return B * ((oh + 1) / 2) * ((ow + 1) / 2);
}

size_t lx_winograd_scratch(const lx_device *dev, int64_t B, int64_t oh, int64_t ow,
                           int64_t Ci, int64_t Co)
{
    const room r = room_of(count_tiles(B, oh, ow), Ci);
    return (size_t)(lx_cpu_threads(dev) * room_floats(&r)) * sizeof(float);
}

/* One thread's work: some tiles, some output channels. */
typedef struct worker {
    const lx_isa *isa;
    const lx_gemm *g;
    int64_t th, tw; /* tiles of an image */
    int first_down, first_right;
    int tap_at[9]; /* which of the gemm's taps is at row-major place i of the window */
    bool is_bf16;
    int item;   /* bytes of a term of v and u, whose room is that of floats */
    int64_t kc; /* channels of a block: even parts of C */
    char *v, *u;
    float *m, *window, *wide, *zeros;
    float *f32;         /* what is rounded to v or u next */
    int order[9 * LAY]; /* as lx_gemm_lay_panel wants it */
    int64_t v_tiles;    /* tiles a block of v and m has room for */
} worker;

/* Inputs of the tile under its 4 x 4 points, zeros outside the image. */
static void tile_inputs(const float *d[POINTS], const worker *w, int64_t tile, int64_t c0)
{
    const lx_pixels *p = w->g->pixels;
    const int64_t tx = tile % w->tw, ty = tile / w->tw % w->th, b = tile / w->tw / w->th;

    for (int r = 0; r < 4; r++)
        for (int q = 0; q < 4; q++) {
            const int64_t i = 2 * ty + r + w->first_down, j = 2 * tx + q + w->first_right;
            const bool is_inside = i >= 0 && i < p->h && j >= 0 && j < p->w;
            d[4 * r + q] = is_inside
                               ? w->g->a + ((b * p->h + i) * p->w + j) * p->width + c0
                               : w->zeros;
        }
}

/* Term i of v or u. */
static void *term(const worker *w, char *base, int64_t i)
{
    return base + i * w->item;
}

/* Channels of a block as they are laid out: in bf16 in pairs. */
static int64_t laid(const worker *w, int64_t channels)
{
    return w->is_bf16 ? (channels + 1) / 2 * 2 : channels;
}

/* The 16 points of a tile, rounded. */
static void narrow_tile(const worker *w, char *v, int64_t plane, int64_t channels)
{
    for (int point = 0; point < POINTS; point++) {
        char *to = term(w, v, point * plane);
        w->isa->narrow_bf16(to, w->f32 + point * w->kc, channels);
        if (channels % 2)
            memset(term(w, to, channels), 0, (size_t)w->item);
    }
}

/* v[block of channels][point][tile][kc] of tiles t0 .. t0+n-1, for all channels. */
static void transform_inputs(const worker *w, int64_t t0, int64_t n)
{
    const int64_t plane = w->v_tiles * w->kc;
    const int64_t rows = (n + w->isa->mr - 1) / w->isa->mr * w->isa->mr;

    for (int64_t c0 = 0; c0 < w->g->C; c0 += w->kc) {
        char *v = term(w, w->v, c0 / w->kc * POINTS * plane);
        const int64_t channels = min64(w->kc, w->g->C - c0);
        for (int64_t t = 0; t < n; t++) {
            const float *d[POINTS];
            tile_inputs(d, w, t0 + t, c0);
            if (!w->is_bf16) {
                w->isa->winograd_input((float *)v + t * w->kc, plane, d, channels);
                continue;
            }
            w->isa->winograd_input(w->f32, w->kc, d, channels);
            narrow_tile(w, term(w, v, t * w->kc), plane, channels);
        }
        for (int point = 0; point < POINTS; point++)
            memset(term(w, v, point * plane + n * w->kc), 0,
                   (size_t)((rows - n) * w->kc * w->item));
    }
}

/* u[point][panel][channel][nr] of `channels` channels from c0 and columns n0 .. n1-1. */
static void transform_weights(worker *w, int64_t c0, int64_t channels, int64_t n0,
                              int64_t n1)
{
    const int nr = w->isa->nr;

    for (int64_t n = n0; n < n1; n += nr)
        for (int64_t c = 0; c < channels; c += LAY) {
            const int64_t k = min64(LAY, channels - c);
            const float *windows[9];

            for (int i = 0; i < 9 * k; i++)
                w->order[i] = (int)(i % 9 * k + i / 9);
            lx_gemm_lay_panel(w->isa, w->g, w->window, w->wide, w->order, c0 + c, (int)k,
                              n, (int)min64(nr, n1 - n));
            for (int i = 0; i < 9; i++)
                windows[i] = w->window + w->tap_at[i] * k * nr;
            const int64_t at = (n - n0) * laid(w, channels) + c * nr;
            if (!w->is_bf16) {
                w->isa->winograd_weights((float *)w->u + at, w->kc * COLS, windows,
                                         k * nr);
                continue;
            }
            w->isa->winograd_weights(w->f32, LAY * nr, windows, k * nr);
            for (int point = 0; point < POINTS; point++)
                w->isa->pair_bf16(term(w, w->u, point * w->kc * COLS + at),
                                  w->f32 + point * LAY * nr, nr, k);
        }
}

/* m[point][tile][COLS] += v u over one block of channels. */
static void multiply(const worker *w, char *v, int64_t channels, int64_t n, int64_t cols,
                     bool is_first)
{
    const lx_isa *isa = w->isa;
    const int64_t k = laid(w, channels);

    for (int point = 0; point < POINTS; point++) {
        char *plane = term(w, v, point * w->v_tiles * w->kc);
        for (int64_t j = 0; j < cols; j += isa->nr)
            for (int64_t t = 0; t < n; t += isa->mr) {
                const void *a = term(w, plane, t * w->kc);
                const void *u = term(w, w->u, point * w->kc * COLS + j * k);
                float *m = w->m + (point * w->v_tiles + t) * COLS + j;
                if (w->is_bf16)
                    isa->product_bf16(m, COLS, a, w->kc, u, k, n - t, isa->nr, !is_first);
                else
                    isa->product(m, COLS, a, w->kc, u, isa->nr, k, n - t, isa->nr,
                                 !is_first);
            }
    }
}

static void transform_outputs(const worker *w, int64_t t0, int64_t n, int64_t n0,
                              int64_t cols)
{
    const lx_gemm *g = w->g;
    const int64_t oh = g->pixels->gh, ow = g->pixels->gw;

    for (int64_t t = 0; t < n; t++) {
        const int64_t tile = t0 + t;
        const int64_t tx = tile % w->tw, ty = tile / w->tw % w->th,
                      b = tile / w->tw / w->th;
        float *y[4];
        const float *add[4];

        for (int i = 0; i < 4; i++) {
            const int64_t r = 2 * ty + i / 2, q = 2 * tx + i % 2;
            const int64_t at = ((b * oh + r) * ow + q) * g->y_step + n0;
            const bool is_inside = r < oh && q < ow;
            y[i] = is_inside ? g->y + at : NULL;
            add[i] = is_inside && g->add ? g->add + at : NULL;
        }
        w->isa->winograd_output(y, add, g->bias ? g->bias + n0 : NULL, w->m + t * COLS,
                                w->v_tiles * COLS, cols);
    }
}

static void run_part(worker *w, int64_t t0, int64_t t1, int64_t n0, int64_t n1)
{
    for (int64_t t = t0; t < t1; t += w->v_tiles) {
        const int64_t n = min64(w->v_tiles, t1 - t);
        transform_inputs(w, t, n);
        for (int64_t nb = n0; nb < n1; nb += COLS) {
            const int64_t cols = min64(COLS, n1 - nb);
            for (int64_t c0 = 0; c0 < w->g->C; c0 += w->kc) {
                const int64_t channels = min64(w->kc, w->g->C - c0);
                transform_weights(w, c0, channels, nb, nb + cols);
                multiply(w, term(w, w->v, c0 / w->kc * POINTS * w->v_tiles * w->kc),
                         channels, n, cols, c0 == 0);
            }
            transform_outputs(w, t, n, nb, cols);
        }
    }
}

/* The window's corner, and where each of its nine taps is in the gemm's list. */
static void order_taps(worker *w)
{
    const lx_pixels *p = w->g->pixels;

    w->first_down = p->down[0];
    w->first_right = p->right[0];
    for (int t = 1; t < 9; t++) {
        w->first_down = p->down[t] < w->first_down ? p->down[t] : w->first_down;
        w->first_right = p->right[t] < w->first_right ? p->right[t] : w->first_right;
    }
    for (int t = 0; t < 9; t++)
        w->tap_at[3 * (p->down[t] - w->first_down) + p->right[t] - w->first_right] = t;
}

void lx_winograd_run(lx_device *dev, const lx_gemm *g, void *scratch)
{
    const lx_isa *isa = lx_cpu_isa(dev);
    const lx_pixels *p = g->pixels;
    const int threads = lx_cpu_threads(dev);
    const int64_t B = g->M / (p->gh * p->gw), n_tiles = count_tiles(B, p->gh, p->gw);
    const room r = room_of(n_tiles, g->C);
    const int item = g->compute == LX_COMPUTE_BF16 ? isa->bf16_bytes : (int)sizeof(float);
    const int rows = lx_gemm_threads_along_rows(n_tiles, g->N, isa, threads),
              cols = threads / rows;

#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int i = 0; i < threads; i++) {
        float *mine = (float *)scratch + i * room_floats(&r);
        worker w = {.isa = isa,
                    .g = g,
                    .th = (p->gh + 1) / 2,
                    .tw = (p->gw + 1) / 2,
                    .is_bf16 = g->compute == LX_COMPUTE_BF16,
                    .item = g->compute == LX_COMPUTE_BF16 ? isa->bf16_bytes
                                                          : (int)sizeof(float),
                    .kc = channels_per_block(g->C, item),
                    .v = (char *)mine,
                    .u = (char *)(mine + r.v),
                    .m = mine + r.v + r.u,
                    .window = mine + r.v + r.u + r.m,
                    .wide = mine + r.v + r.u + r.m + r.window,
                    .zeros = mine + r.v + r.u + r.m + r.window + r.wide,
                    .f32 = mine + r.v + r.u + r.m + r.window + r.wide + r.zeros,
                    .v_tiles = r.m / (POINTS * COLS)};
        order_taps(&w);
        memset(w.zeros, 0, (size_t)r.zeros * sizeof *w.zeros);
        run_part(&w, lx_gemm_part(n_tiles, isa->mr, i / cols, rows),
                 lx_gemm_part(n_tiles, isa->mr, i / cols + 1, rows),
                 lx_gemm_part(g->N, isa->nr, i % cols, cols),
                 lx_gemm_part(g->N, isa->nr, i % cols + 1, cols));
    }
}
