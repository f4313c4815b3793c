#include "src/sample/brownian.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"

enum { POOL = 24, MAX_DEPTH = 60 };

struct lx_brownian {
    uint64_t seed;
    size_t n;
    double least, most;
    lx_brownian_draw draw;
    float *whole;                 /* W over all of it */
    float *levels[MAX_DEPTH + 1]; /* W of the interval at each depth of a descent */
    float *noise;
};

/* ---- SeedSequence ------------------------------------------------------------------ */

static uint32_t hash_mix(uint32_t value, uint32_t *constant)
{
    value ^= *constant;
    *constant *= 0x931E8875u;
    value *= *constant;
    return value ^ value >> 16;
}

static uint32_t mix(uint32_t x, uint32_t y)
{
    uint32_t result = 0xCA01F9DDu * x - 0x4973F715u * y;

    return result ^ result >> 16;
}

/* The words of an integer, least first, at least one. */
static int put_words(uint32_t *out, uint64_t value)
{
    out[0] = (uint32_t)value;
    out[1] = (uint32_t)(value >> 32);
    return out[1] ? 2 : 1;
}

void lx_seed_sequence(uint32_t *out, int n, uint64_t entropy, const uint64_t *key,
                      int n_key)
{
    uint32_t words[POOL + 8] = {0}, pool[POOL], constant = 0x43B0D7E5u;
    int n_words = put_words(words, entropy);

    if (n_key > 0)
        n_words = POOL; /* entropy is padded before a spawn key follows it */
    for (int i = 0; i < n_key && n_words + 2 <= POOL + 8; i++)
        n_words += put_words(words + n_words, key[i]);
    for (int i = 0; i < POOL; i++)
        pool[i] = hash_mix(i < n_words ? words[i] : 0, &constant);
    for (int from = 0; from < POOL; from++)
        for (int to = 0; to < POOL; to++)
            if (from != to)
                pool[to] = mix(pool[to], hash_mix(pool[from], &constant));
    for (int from = POOL; from < n_words; from++)
        for (int to = 0; to < POOL; to++)
            pool[to] = mix(pool[to], hash_mix(words[from], &constant));
    constant = 0x8B51F9DDu;
    for (int i = 0; i < n; i++) {
        uint32_t value = pool[i % POOL] ^ constant;
        constant *= 0x58F38DEDu;
        value *= constant;
        out[i] = value ^ value >> 16;
    }
}

/* ---- the path ---------------------------------------------------------------------- */

/* Python's round(x, 6): the nearest decimal, ties by the exact value. */
static double round6(double x)
{
    char text[64];

    snprintf(text, sizeof text, "%.6f", x);
    return strtod(text, NULL);
}

int lx_brownian_new(lx_brownian **out, uint64_t seed, size_t n, double least, double most,
                    lx_brownian_draw draw, lx_error *err)
{
    lx_brownian *b = lx_calloc(1, sizeof *b);
    uint32_t seeds[3];
    float scale;

    *out = NULL;
    if (!b || !(b->whole = lx_calloc(n, sizeof(float))) ||
        !(b->noise = lx_calloc(n, sizeof(float)))) {
        lx_brownian_free(b);
        return lx_oom(err);
    }
    b->seed = seed;
    b->n = n;
    b->least = round6(least);
    b->most = round6(most);
    b->draw = draw;
    lx_seed_sequence(seeds, 3, seed, NULL, 0);
    draw(b->whole, n, seeds[0]);
    scale = (float)sqrt(most - least);
    for (size_t i = 0; i < n; i++)
        b->whole[i] *= scale;
    *out = b;
    return LX_OK;
}

void lx_brownian_free(lx_brownian *b)
{
    if (!b)
        return;
    for (int i = 0; i <= MAX_DEPTH; i++)
        lx_free(b->levels[i]);
    lx_free(b->whole);
    lx_free(b->noise);
    lx_free(b);
}

/* An interval of the tree and what is known of it. */
typedef struct node {
    double start, end;
    uint64_t place; /* the spawn key: 2 * parent's + (is right) */
    int depth;
} node;

/* The increment over the left half into left[n]; parent[n] is that over all of it. */
static void bridge(lx_brownian *b, float *left, const float *parent, const node *at,
                   double middle)
{
    const uint64_t key[2] = {at->place, (uint64_t)at->depth};
    const double reciprocal = 1 / (at->end - at->start);
    const double to_left = middle - at->start, to_right = at->end - middle;
    const float share = (float)to_left, back = (float)reciprocal;
    const float spread = (float)sqrt(to_left * to_right * reciprocal);
    uint32_t seeds[4];

    lx_seed_sequence(seeds, 4, b->seed, key, 2);
    b->draw(b->noise, b->n, seeds[0]);
    for (size_t i = 0; i < b->n; i++)
        left[i] = share * parent[i] * back + spread * b->noise[i];
}

/* out += the increments over the parts of [from, to] that lie in this interval, in order.
 * The depth is bounded by the halvings from the whole range down to 1e-6. */
static int collect(float *out, lx_brownian *b, const float *w, const node *at,
                   double from, double to, lx_error *err)
{
    double middle = round6(0.5 * (at->end + at->start));
    node left, right;
    float *half;
    int rc = LX_OK;

    if (from <= at->start && to >= at->end) {
        for (size_t i = 0; i < b->n; i++)
            out[i] += w[i];
        return LX_OK;
    }
    if (at->depth >= MAX_DEPTH || middle <= at->start || middle >= at->end)
        return lx_fail(err, LX_EINTERNAL,
                       "a Brownian path cannot be halved between %.9g and %.9g",
                       at->start, at->end);
    if (!b->levels[at->depth] && !(b->levels[at->depth] = lx_calloc(b->n, sizeof(float))))
        return lx_oom(err);
    half = b->levels[at->depth];
    left = (node){at->start, middle, 2 * at->place, at->depth + 1};
    right = (node){middle, at->end, 2 * at->place + 1, at->depth + 1};
    bridge(b, half, w, at, middle);
    if (from < middle)
        rc = collect(out, b, half, &left, from, to < middle ? to : middle, err);
    if (rc == LX_OK && to > middle) {
        for (size_t i = 0; i < b->n; i++)
            half[i] = w[i] - half[i];
        rc = collect(out, b, half, &right, from > middle ? from : middle, to, err);
    }
    return rc;
}

static double hold(double x, double least, double most)
{
    x = round6(x);
    return x < least ? least : x > most ? most : x;
}

int lx_brownian_noise(float *out, lx_brownian *b, double from, double to, lx_error *err)
{
    const node whole = {b->least, b->most, 0, 0};
    const double low = hold(from < to ? from : to, b->least, b->most);
    const double high = hold(from < to ? to : from, b->least, b->most);
    const float length = (float)fabs((double)((float)to - (float)from));
    const float scale = (from < to ? 1.0f : -1.0f);
    const float root = (float)sqrt((double)length);
    int rc;

    memset(out, 0, b->n * sizeof(float));
    if (low >= high)
        return LX_OK;
    if ((rc = collect(out, b, b->whole, &whole, low, high, err)) < 0)
        return rc;
    for (size_t i = 0; i < b->n; i++)
        out[i] = scale * out[i] / root;
    return LX_OK;
}
