#include "src/image/phash.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/alloc.h"
#include "src/image/resize.h"

enum { SIDE = 32, LOW = 8 };

/* What a pattern of one grey level comes to in the unscaled transform. */
static const double one_level = SIDE * SIDE;

static int on_white(int colour, int alpha)
{
    return alpha == 255 ? colour : (alpha * colour + (255 - alpha) * 255 + 127) / 255;
}

/* In three equal channels, since that is what is resized. */
static int grey_of(lx_pixels *out, const lx_pixels *in, lx_error *err)
{
    const size_t n = (size_t)in->width * (size_t)in->height;

    *out = (lx_pixels){lx_alloc(n * 3), in->width, in->height, 3};
    if (!out->data)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = in->data + i * (size_t)in->channels;
        const int alpha = in->channels == 4 ? p[3] : 255;
        const int r = on_white(p[0], alpha), g = on_white(p[1], alpha),
                  b = on_white(p[2], alpha);
        const uint8_t grey = (uint8_t)((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
        out->data[3 * i] = out->data[3 * i + 1] = out->data[3 * i + 2] = grey;
    }
    return LX_OK;
}

static double cosine(int k, int n)
{
    return cos(M_PI * k * (2 * n + 1) / (2.0 * SIDE));
}

/* The 8 x 8 lowest frequencies; columns first, as the source does. */
static void transform(double low[LOW][LOW], const lx_pixels *small)
{
    double columns[LOW][SIDE];

    for (int k = 0; k < LOW; k++)
        for (int x = 0; x < SIDE; x++) {
            columns[k][x] = 0;
            for (int y = 0; y < SIDE; y++)
                columns[k][x] += 2 * small->data[3 * (y * SIDE + x)] * cosine(k, y);
        }
    for (int k = 0; k < LOW; k++)
        for (int l = 0; l < LOW; l++) {
            low[k][l] = 0;
            for (int x = 0; x < SIDE; x++)
                low[k][l] += 2 * columns[k][x] * cosine(l, x);
        }
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void take_bits(lx_phash *out, double low[LOW][LOW])
{
    double sorted[LOW * LOW], median, most = 0;

    for (int i = 0; i < LOW * LOW; i++) {
        sorted[i] = low[i / LOW][i % LOW];
        if (i > 0 && fabs(sorted[i]) > most)
            most = fabs(sorted[i]);
    }
    qsort(sorted, LOW * LOW, sizeof *sorted, by_value);
    median = (sorted[LOW * LOW / 2 - 1] + sorted[LOW * LOW / 2]) / 2;
    *out = (lx_phash){.is_flat = most < one_level};
    for (int i = 0; i < LOW * LOW; i++)
        out->bits = out->bits << 1 | (low[i / LOW][i % LOW] > median);
}

int lx_phash_of(lx_phash *out, const lx_pixels *pixels, lx_error *err)
{
    lx_pixels grey = {0}, small = {0};
    double low[LOW][LOW];
    int rc = grey_of(&grey, pixels, err);

    if (rc == LX_OK &&
        (rc = lx_resize(&small, &grey, SIDE, SIDE, LX_RESIZE_LANCZOS, err)) == LX_OK) {
        transform(low, &small);
        take_bits(out, low);
    }
    lx_pixels_release(&grey);
    lx_pixels_release(&small);
    return rc;
}

int lx_phash_distance(uint64_t a, uint64_t b)
{
    return __builtin_popcountll(a ^ b);
}
