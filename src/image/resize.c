#include "src/image/resize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/alloc.h"

int lx_interpolation_from_name(lx_interpolation *out, const char *name, lx_error *err)
{
    static const struct {
        const char *name;
        lx_interpolation how;
    } names[] = {
        {"lanczos", LX_RESIZE_LANCZOS},   {"lanczos4", LX_RESIZE_LANCZOS},
        {"nearest", LX_RESIZE_NEAREST},   {"bilinear", LX_RESIZE_BILINEAR},
        {"linear", LX_RESIZE_BILINEAR},   {"bicubic", LX_RESIZE_BICUBIC},
        {"cubic", LX_RESIZE_BICUBIC},     {"area", LX_RESIZE_AREA},
        {"box", LX_RESIZE_BOX},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].name, name) == 0) {
            *out = names[i].how;
            return 0;
        }
    return lx_fail(err, LX_EUSAGE,
                   "no interpolation '%s'; there are lanczos, nearest, bilinear, bicubic, area "
                   "and box",
                   name);
}

static int new_pixels(lx_pixels *out, int width, int height, int channels, lx_error *err)
{
    size_t bytes;

    if (width <= 0 || height <= 0 || width > LX_IMAGE_MAX_SIDE || height > LX_IMAGE_MAX_SIDE)
        return lx_fail(err, LX_ELIMIT, "%d x %d pixels; a side is 1 to %d", width, height,
                       (int)LX_IMAGE_MAX_SIDE);
    if (!lx_mul_size(&bytes, (size_t)width * (size_t)height, (size_t)channels) ||
        !(out->data = lx_alloc(bytes)))
        return lx_oom(err);
    out->width = width;
    out->height = height;
    out->channels = channels;
    return 0;
}

static uint8_t clip(int v)
{
    return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

static int clamp(int v, int high)
{
    return v < 0 ? 0 : v > high ? high : v;
}

/*
 * One direction of a separable filter: output i is the sum over k of weight[i][k] times input
 * at[i][k]. Taps lie at any place, borders repeated.
 */
struct taps {
    int n, n_taps;  /* outputs, taps of each */
    int *at;        /* [n][n_taps] */
    int32_t *weight; /* [n][n_taps], fixed point */
};

static void taps_release(struct taps *t)
{
    lx_free(t->at);
    lx_free(t->weight);
}

static int taps_new(struct taps *t, int n, int n_taps, lx_error *err)
{
    t->n = n;
    t->n_taps = n_taps;
    t->at = lx_calloc((size_t)n * (size_t)n_taps, sizeof(int));
    t->weight = lx_calloc((size_t)n * (size_t)n_taps, sizeof(int32_t));
    return t->at && t->weight ? 0 : lx_oom(err);
}

/* OpenCV: nearest, linear, cubic. Weights have 11 bits. */

enum { CV_BITS = 11, CV_ONE = 1 << CV_BITS };

static int32_t cv_weight(float w)
{
    return (int32_t)lrintf(w * CV_ONE);
}

static void cv_cubic(float w[4], float x)
{
    const float a = -0.75f;

    w[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
    w[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
    w[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
    w[3] = 1.f - w[0] - w[1] - w[2];
}

/* OpenCV's INTER_NEAREST_EXACT, the one the peer calls nearest: centres, 16 bits of fraction. */
static int nearest_exact(int in, int out, int i)
{
    const int64_t step = (((int64_t)in << 16) + out / 2) / out;
    return (int)((step * i + step / 2 - in % 2) >> 16);
}

static int cv_taps(struct taps *t, int in, int out, lx_interpolation how, lx_error *err)
{
    const double inverse = (double)out / in, scale = 1.0 / inverse;
    const int n_taps = how == LX_RESIZE_BICUBIC ? 4 : how == LX_RESIZE_NEAREST ? 1 : 2;
    int rc = taps_new(t, out, n_taps, err);

    for (int i = 0; rc == 0 && i < out; i++) {
        float w[4] = {1, 0, 0, 0}, x;
        int s, first = 0;
        if (how == LX_RESIZE_NEAREST) {
            s = nearest_exact(in, out, i);
        } else if (how == LX_RESIZE_AREA) { /* growing: linear, but flat inside a source pixel */
            s = (int)floor(i * scale);
            x = (float)((i + 1) - (s + 1) * inverse);
            x = x <= 0 ? 0.f : x - floorf(x);
        } else {
            x = (float)((i + 0.5) * scale - 0.5);
            s = (int)floorf(x);
            x -= (float)s;
        }
        if (how == LX_RESIZE_BICUBIC) {
            cv_cubic(w, x);
            first = -1;
        } else if (how != LX_RESIZE_NEAREST) {
            if (s < 0 || s >= in - 1) {
                x = 0;
                s = clamp(s, in - 1);
            }
            w[0] = 1.f - x;
            w[1] = x;
        }
        for (int k = 0; k < n_taps; k++) {
            t->at[i * n_taps + k] = clamp(s + first + k, in - 1);
            t->weight[i * n_taps + k] = cv_weight(w[k]);
        }
    }
    return rc;
}

static void cv_horizontal(int32_t *row, const lx_pixels *in, int y, const struct taps *t)
{
    const int C = in->channels;
    const uint8_t *s = in->data + (size_t)y * (size_t)in->width * (size_t)C;

    for (int x = 0; x < t->n; x++)
        for (int c = 0; c < C; c++) {
            int32_t sum = 0;
            for (int k = 0; k < t->n_taps; k++)
                sum += t->weight[x * t->n_taps + k] * s[t->at[x * t->n_taps + k] * C + c];
            row[x * C + c] = sum;
        }
}

/* Rows are combined with OpenCV's roundings: linear cuts 4 bits of the row and 16 of the product,
 * cubic sums in f32 (as its vector code does) and rounds once at the end. */
static uint8_t cv_vertical(int32_t *const rows[4], const int32_t *w, int n_taps, size_t i)
{
    const float unit = 1.f / (CV_ONE * CV_ONE);
    float sum = 0;

    if (n_taps == 2)
        return clip((((w[0] * (rows[0][i] >> 4)) >> 16) + ((w[1] * (rows[1][i] >> 4)) >> 16) + 2) >>
                    2);
    for (int k = n_taps - 1; k >= 0; k--)
        sum += (float)rows[k][i] * ((float)w[k] * unit);
    return clip((int)lrintf(sum));
}

static int cv_resize(lx_pixels *out, const lx_pixels *in, lx_interpolation how, lx_error *err)
{
    struct taps across = {0}, down = {0};
    const size_t n_row = (size_t)out->width * (size_t)in->channels;
    int32_t *memory = NULL, *rows[4];
    int held[4] = {-1, -1, -1, -1}; /* which input row is in rows[] */
    int rc;

    if ((rc = cv_taps(&across, in->width, out->width, how, err)) < 0 ||
        (rc = cv_taps(&down, in->height, out->height, how, err)) < 0)
        goto done;
    if (!(memory = lx_calloc(4 * n_row, sizeof(int32_t)))) {
        rc = lx_oom(err);
        goto done;
    }
    for (int y = 0; y < out->height; y++) {
        int32_t *use[4] = {NULL, NULL, NULL, NULL};
        for (int k = 0; k < down.n_taps; k++) {
            int from = down.at[y * down.n_taps + k], slot = from % 4;
            rows[slot] = memory + (size_t)slot * n_row;
            if (held[slot] != from)
                cv_horizontal(rows[slot], in, from, &across);
            held[slot] = from;
            use[k] = rows[slot];
        }
        for (size_t i = 0; i < n_row; i++)
            out->data[(size_t)y * n_row + i] =
                cv_vertical(use, down.weight + y * down.n_taps, down.n_taps, i);
    }
    rc = 0;
done:
    taps_release(&across);
    taps_release(&down);
    lx_free(memory);
    return rc;
}

/* OpenCV's INTER_AREA, shrinking. By whole factors: plain sums. */
static void area_whole(lx_pixels *out, const lx_pixels *in, int fx, int fy)
{
    const int C = in->channels;
    const float scale = 1.f / (float)(fx * fy);

    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++)
            for (int c = 0; c < C; c++) {
                int sum = 0;
                for (int j = 0; j < fy; j++)
                    for (int i = 0; i < fx; i++)
                        sum += in->data[((size_t)(y * fy + j) * (size_t)in->width +
                                         (size_t)(x * fx + i)) *
                                            (size_t)C +
                                        (size_t)c];
                out->data[((size_t)y * (size_t)out->width + (size_t)x) * (size_t)C + (size_t)c] =
                    fx == 2 && fy == 2 ? (uint8_t)((sum + 2) >> 2)
                                       : clip((int)lrintf((float)sum * scale));
            }
}

/* The share of one source pixel in one output. */
struct share {
    int from, to;
    float weight;
};

static int area_shares(struct share **out, int *n, int in, int n_out, lx_error *err)
{
    const double scale = 1.0 / ((double)n_out / in);
    struct share *s = lx_calloc((size_t)in * 2 + (size_t)n_out * 2, sizeof(*s));

    *out = s;
    *n = 0;
    if (!s)
        return lx_oom(err);
    for (int i = 0; i < n_out; i++) {
        double first = i * scale, last = first + scale;
        double cell = scale < in - first ? scale : in - first;
        int from = (int)ceil(first), to = (int)floor(last);
        to = to < in - 1 ? to : in - 1;
        from = from < to ? from : to;
        if (from - first > 1e-3)
            s[(*n)++] = (struct share){from - 1, i, (float)((from - first) / cell)};
        for (int k = from; k < to; k++)
            s[(*n)++] = (struct share){k, i, (float)(1.0 / cell)};
        if (last - to > 1e-3) {
            double rest = last - to < 1.0 ? last - to : 1.0;
            s[(*n)++] = (struct share){to, i, (float)((rest < cell ? rest : cell) / cell)};
        }
    }
    return 0;
}

static void area_row(float *row, const lx_pixels *in, int y, const struct share *s, int n, int width)
{
    const int C = in->channels;
    const uint8_t *p = in->data + (size_t)y * (size_t)in->width * (size_t)C;

    memset(row, 0, (size_t)width * (size_t)C * sizeof(float));
    for (int k = 0; k < n; k++)
        for (int c = 0; c < C; c++)
            row[s[k].to * C + c] += (float)p[s[k].from * C + c] * s[k].weight;
}

static int area_resize(lx_pixels *out, const lx_pixels *in, lx_error *err)
{
    const size_t n_row = (size_t)out->width * (size_t)in->channels;
    struct share *across = NULL, *down = NULL;
    float *row = NULL, *sum = NULL;
    int n_across, n_down, rc;

    if (in->width % out->width == 0 && in->height % out->height == 0) {
        area_whole(out, in, in->width / out->width, in->height / out->height);
        return 0;
    }
    if ((rc = area_shares(&across, &n_across, in->width, out->width, err)) < 0 ||
        (rc = area_shares(&down, &n_down, in->height, out->height, err)) < 0)
        goto done;
    row = lx_calloc(n_row, sizeof(float));
    sum = lx_calloc(n_row, sizeof(float));
    if (!row || !sum) {
        rc = lx_oom(err);
        goto done;
    }
    for (int k = 0; k < n_down; k++) {
        bool is_first = k == 0 || down[k - 1].to != down[k].to;
        bool is_last = k == n_down - 1 || down[k + 1].to != down[k].to;
        area_row(row, in, down[k].from, across, n_across, out->width);
        for (size_t i = 0; i < n_row; i++)
            sum[i] = is_first ? down[k].weight * row[i] : sum[i] + down[k].weight * row[i];
        for (size_t i = 0; is_last && i < n_row; i++)
            out->data[(size_t)down[k].to * n_row + i] = clip((int)lrintf(sum[i]));
    }
    rc = 0;
done:
    lx_free(across);
    lx_free(down);
    lx_free(row);
    lx_free(sum);
    return rc;
}

/* Pillow: windows that widen when shrinking, weights of 22 bits, each pass rounded to 8 bits. */

enum { PIL_BITS = 22 };

static double lanczos(double x)
{
    const double pi = 3.14159265358979323846;

    if (x == 0)
        return 1;
    if (x < -3 || x >= 3)
        return 0;
    return sin(x * pi) / (x * pi) * (sin(x / 3 * pi) / (x / 3 * pi));
}

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1 : 0;
}

/* Of every output: the first input, how many, and their weights. */
struct windows {
    int n_taps;      /* room for each */
    int *first;      /* [n] */
    int *count;      /* [n] */
    int32_t *weight; /* [n][n_taps] */
};

static void windows_release(struct windows *w)
{
    lx_free(w->first);
    lx_free(w->count);
    lx_free(w->weight);
}

static int pil_windows(struct windows *t, int in, int out, lx_interpolation how, lx_error *err)
{
    const double scale = (double)in / out, wide = scale < 1 ? 1 : scale;
    const double support = (how == LX_RESIZE_BOX ? 0.5 : 3.0) * wide;
    const int n_taps = (int)ceil(support) * 2 + 1;
    double *w = lx_calloc((size_t)n_taps, sizeof(double));

    t->n_taps = n_taps;
    t->first = lx_calloc((size_t)out, sizeof(int));
    t->count = lx_calloc((size_t)out, sizeof(int));
    t->weight = lx_calloc((size_t)out * (size_t)n_taps, sizeof(int32_t));
    if (!w || !t->first || !t->count || !t->weight) {
        lx_free(w);
        return lx_oom(err);
    }
    for (int i = 0; i < out; i++) {
        double center = (i + 0.5) * scale, total = 0;
        int first = (int)(center - support + 0.5), last = (int)(center + support + 0.5);
        first = first < 0 ? 0 : first;
        last = last > in ? in : last;
        for (int k = 0; k < last - first; k++) {
            double x = (k + first - center + 0.5) * (1.0 / wide);
            w[k] = how == LX_RESIZE_BOX ? box(x) : lanczos(x);
            total += w[k];
        }
        for (int k = 0; k < last - first; k++) {
            double v = (total != 0 ? w[k] / total : w[k]) * (1 << PIL_BITS);
            t->weight[(size_t)i * (size_t)n_taps + (size_t)k] =
                (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
        t->first[i] = first;
        t->count[i] = last - first;
    }
    lx_free(w);
    return 0;
}

/* out: as high as in, of its own width. */
static int pil_across(lx_pixels *out, const lx_pixels *in, lx_interpolation how, lx_error *err)
{
    const int C = in->channels;
    struct windows t = {0};
    int rc = pil_windows(&t, in->width, out->width, how, err);

    for (int y = 0; rc == 0 && y < in->height; y++) {
        const uint8_t *row = in->data + (size_t)y * (size_t)in->width * (size_t)C;
        uint8_t *to = out->data + (size_t)y * (size_t)out->width * (size_t)C;
        for (int x = 0; x < out->width; x++, to += C) {
            const int32_t *w = t.weight + (size_t)x * (size_t)t.n_taps;
            const uint8_t *s = row + t.first[x] * C;
            int32_t sum[4] = {1 << (PIL_BITS - 1), 1 << (PIL_BITS - 1), 1 << (PIL_BITS - 1),
                              1 << (PIL_BITS - 1)};
            for (int k = 0; k < t.count[x]; k++, s += C)
                for (int c = 0; c < C; c++)
                    sum[c] += w[k] * s[c];
            for (int c = 0; c < C; c++)
                to[c] = clip(sum[c] >> PIL_BITS);
        }
    }
    windows_release(&t);
    return rc;
}

/* out: as wide as in, of its own height. */
static int pil_down(lx_pixels *out, const lx_pixels *in, lx_interpolation how, lx_error *err)
{
    const size_t n_row = (size_t)in->width * (size_t)in->channels;
    int32_t *sum = lx_calloc(n_row, sizeof(int32_t));
    struct windows t = {0};
    int rc = sum ? pil_windows(&t, in->height, out->height, how, err) : lx_oom(err);

    for (int y = 0; rc == 0 && y < out->height; y++) {
        const int32_t *w = t.weight + (size_t)y * (size_t)t.n_taps;
        for (size_t i = 0; i < n_row; i++)
            sum[i] = 1 << (PIL_BITS - 1);
        for (int k = 0; k < t.count[y]; k++) {
            const uint8_t *s = in->data + (size_t)(t.first[y] + k) * n_row;
            for (size_t i = 0; i < n_row; i++)
                sum[i] += w[k] * s[i];
        }
        for (size_t i = 0; i < n_row; i++)
            out->data[(size_t)y * n_row + i] = clip(sum[i] >> PIL_BITS);
    }
    windows_release(&t);
    lx_free(sum);
    return rc;
}

/* With alpha, colours are weighted by it while they are mixed. */
static void premultiply(lx_pixels *p)
{
    for (size_t i = 0; i < (size_t)p->width * (size_t)p->height; i++)
        for (int c = 0; c < 3; c++) {
            unsigned t = p->data[i * 4 + (size_t)c] * (unsigned)p->data[i * 4 + 3] + 128;
            p->data[i * 4 + (size_t)c] = (uint8_t)(((t >> 8) + t) >> 8);
        }
}

static void unpremultiply(lx_pixels *p)
{
    for (size_t i = 0; i < (size_t)p->width * (size_t)p->height; i++) {
        int a = p->data[i * 4 + 3];
        for (int c = 0; c < 3 && a != 0 && a != 255; c++)
            p->data[i * 4 + (size_t)c] = clip(255 * p->data[i * 4 + (size_t)c] / a);
    }
}

/*
 * Two passes with 8 bits between them, so their order shows in the result. Pillow 13 goes down
 * first when the height shrinks by more than twice what the width does (or the width grows), else
 * across first; measured on 6,000 random sizes, all of them to the bit.
 */
static int pil_resize(lx_pixels *out, const lx_pixels *in, lx_interpolation how, lx_error *err)
{
    const bool is_down_first =
        in->height > out->height && in->height - out->height > 2 * (in->width - out->width);
    lx_pixels source = {0}, half = {0};
    const lx_pixels *from = in;
    int rc = 0;

    if (in->channels == 4) {
        if ((rc = new_pixels(&source, in->width, in->height, 4, err)) < 0)
            return rc;
        memcpy(source.data, in->data, (size_t)in->width * (size_t)in->height * 4);
        premultiply(&source);
        from = &source;
    }
    if (in->width == out->width)
        rc = pil_down(out, from, how, err);
    else if (in->height == out->height)
        rc = pil_across(out, from, how, err);
    else if ((rc = new_pixels(&half, is_down_first ? in->width : out->width,
                              is_down_first ? out->height : in->height, in->channels, err)) < 0)
        ;
    else if (is_down_first)
        rc = (rc = pil_down(&half, from, how, err)) < 0 ? rc : pil_across(out, &half, how, err);
    else
        rc = (rc = pil_across(&half, from, how, err)) < 0 ? rc : pil_down(out, &half, how, err);
    if (rc == 0 && in->channels == 4)
        unpremultiply(out);
    lx_pixels_release(&source);
    lx_pixels_release(&half);
    return rc;
}

int lx_resize(lx_pixels *out, const lx_pixels *in, int width, int height, lx_interpolation how,
              lx_error *err)
{
    const bool shrinks = in->width >= width && in->height >= height;
    int rc;

    *out = (lx_pixels){0};
    if (how == LX_RESIZE_AUTO)
        how = shrinks ? LX_RESIZE_AREA : LX_RESIZE_LANCZOS;
    if ((rc = new_pixels(out, width, height, in->channels, err)) < 0)
        return rc;
    if (in->width == width && in->height == height)
        memcpy(out->data, in->data, (size_t)width * (size_t)height * (size_t)in->channels);
    else if (how == LX_RESIZE_LANCZOS || how == LX_RESIZE_BOX)
        rc = pil_resize(out, in, how, err);
    else if ((how == LX_RESIZE_AREA && shrinks) ||
             (how == LX_RESIZE_BILINEAR && in->width == 2 * width && in->height == 2 * height))
        rc = area_resize(out, in, err); /* OpenCV too takes areas for linear by exactly two */
    else
        rc = cv_resize(out, in, how, err);
    if (rc < 0)
        lx_pixels_release(out);
    return rc;
}

int lx_crop(lx_pixels *p, int x, int y, int width, int height, lx_error *err)
{
    const size_t C = (size_t)p->channels;

    if (x < 0 || y < 0 || width <= 0 || height <= 0 || width > p->width - x ||
        height > p->height - y)
        return lx_fail(err, LX_EINTERNAL, "a crop of %d x %d at %d, %d is not inside %d x %d",
                       width, height, x, y, p->width, p->height);
    for (int row = 0; row < height; row++)
        memmove(p->data + (size_t)row * (size_t)width * C,
                p->data + ((size_t)(row + y) * (size_t)p->width + (size_t)x) * C,
                (size_t)width * C);
    p->width = width;
    p->height = height;
    return 0;
}

int lx_crop_center(lx_pixels *p, int width, int height, lx_error *err)
{
    width = p->width < width ? p->width : width;
    height = p->height < height ? p->height : height;
    return lx_crop(p, (p->width - width) / 2, (p->height - height) / 2, width, height, err);
}

/*
 * Where the pixel at (x, y) of the turned picture is in the stored one of w x h. Source: EXIF 2.3, tag
 * 0x0112: 2 mirrored, 3 half a turn, 4 upside down, 5 to 8 on the side.
 */
static size_t stored_at(int orientation, int x, int y, int w, int h)
{
    switch (orientation) {
    case 2:
        return (size_t)y * (size_t)w + (size_t)(w - 1 - x);
    case 3:
        return (size_t)(h - 1 - y) * (size_t)w + (size_t)(w - 1 - x);
    case 4:
        return (size_t)(h - 1 - y) * (size_t)w + (size_t)x;
    case 5:
        return (size_t)x * (size_t)w + (size_t)y;
    case 6:
        return (size_t)(h - 1 - x) * (size_t)w + (size_t)y;
    case 7:
        return (size_t)(h - 1 - x) * (size_t)w + (size_t)(w - 1 - y);
    case 8:
        return (size_t)x * (size_t)w + (size_t)(w - 1 - y);
    default:
        return (size_t)y * (size_t)w + (size_t)x;
    }
}

int lx_turn(lx_pixels *pixels, int orientation, lx_error *err)
{
    const int w = pixels->width, h = pixels->height;
    const size_t channels = (size_t)pixels->channels;
    const bool is_on_side = orientation >= 5 && orientation <= 8;
    uint8_t *turned;

    if (orientation < 2 || orientation > 8)
        return LX_OK;
    if (!(turned = lx_alloc((size_t)w * (size_t)h * channels)))
        return lx_oom(err);
    pixels->width = is_on_side ? h : w;
    pixels->height = is_on_side ? w : h;
    for (int y = 0; y < pixels->height; y++)
        for (int x = 0; x < pixels->width; x++)
            memcpy(turned + ((size_t)y * (size_t)pixels->width + (size_t)x) * channels,
                   pixels->data + stored_at(orientation, x, y, w, h) * channels,
                   channels);
    lx_free(pixels->data);
    pixels->data = turned;
    return LX_OK;
}

void lx_flip_horizontal(lx_pixels *p)
{
    const size_t C = (size_t)p->channels, W = (size_t)p->width;

    for (size_t y = 0; y < (size_t)p->height; y++)
        for (size_t x = 0; x < W / 2; x++)
            for (size_t c = 0; c < C; c++) {
                uint8_t *a = p->data + (y * W + x) * C + c, *b = p->data + (y * W + W - 1 - x) * C + c;
                uint8_t t = *a;
                *a = *b;
                *b = t;
            }
}

/* OpenCV's 8-bit BGR2HSV: H in 0..179. */
static void to_hsv(int hsv[3], const uint8_t bgr[3])
{
    const int b = bgr[0], g = bgr[1], r = bgr[2];
    const int max = b > g ? (b > r ? b : r) : (g > r ? g : r);
    const int min = b < g ? (b < r ? b : r) : (g < r ? g : r);
    const int diff = max - min;
    const int per_value = max ? (int)lrint((255 << 12) / (double)max) : 0;
    const int per_diff = diff ? (int)lrint((180 << 12) / (6.0 * diff)) : 0;
    int h = max == r ? g - b : max == g ? b - r + 2 * diff : r - g + 4 * diff;

    h = (h * per_diff + (1 << 11)) >> 12;
    hsv[0] = h < 0 ? h + 180 : h;
    hsv[1] = (diff * per_value + (1 << 11)) >> 12;
    hsv[2] = max;
}

static void from_hsv(uint8_t bgr[3], const int hsv[3])
{
    static const unsigned char sectors[6][3] = {{1, 3, 0}, {1, 0, 2}, {3, 0, 1},
                                                {0, 2, 1}, {0, 1, 3}, {2, 1, 0}};
    float h = (float)hsv[0] * (6.f / 180.f), s = (float)hsv[1] / 255.f, v = (float)hsv[2] / 255.f;
    float table[4];
    int sector;

    h = h >= 6.f ? h - 6.f : h;
    sector = (int)h;
    h -= (float)sector;
    table[0] = v;
    table[1] = v * (1.f - s);
    table[2] = v * (1.f - s * h);
    table[3] = v * (1.f - s * (1.f - h));
    for (int c = 0; c < 3; c++) /* OpenCV cuts here, it does not round */
        bgr[c] = clip((int)(table[sectors[sector][c]] * 255.f));
}

int lx_shift_hue(lx_pixels *p, double shift, lx_error *err)
{
    if (!(shift >= -180 && shift <= 180))
        return lx_fail(err, LX_EINTERNAL, "hue shift %g", shift);
    if (shift < 0)
        shift += 180;
    for (size_t i = 0; i < (size_t)p->width * (size_t)p->height; i++) {
        uint8_t *pixel = p->data + i * (size_t)p->channels;
        int hsv[3];
        to_hsv(hsv, pixel);
        hsv[0] = (int)fmod(hsv[0] + shift, 180.0);
        from_hsv(pixel, hsv);
    }
    return 0;
}

void lx_apply_gamma(lx_pixels *p, double gamma)
{
    uint8_t table[256];

    for (int v = 0; v < 256; v++) {
        double x = pow(v, gamma);
        table[v] = x < 0 ? 0 : x > 255 ? 255 : (uint8_t)x;
    }
    for (size_t i = 0; i < (size_t)p->width * (size_t)p->height; i++)
        for (int c = 0; c < 3; c++) {
            uint8_t *v = p->data + i * (size_t)p->channels + c;
            *v = table[*v];
        }
}

static void to_tensor(float *out, const lx_pixels *p, bool flipped)
{
    const size_t W = (size_t)p->width, H = (size_t)p->height;

    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < H; y++)
            for (size_t x = 0; x < W; x++) {
                size_t from = flipped ? W - 1 - x : x;
                float v = (float)p->data[(y * W + from) * (size_t)p->channels + c];
                out[(c * H + y) * W + x] = (v / 255.f - 0.5f) / 0.5f;
            }
}

void lx_pixels_to_tensor(float *out, const lx_pixels *pixels)
{
    to_tensor(out, pixels, false);
}

void lx_pixels_to_tensor_flipped(float *out, const lx_pixels *pixels)
{
    to_tensor(out, pixels, true);
}
