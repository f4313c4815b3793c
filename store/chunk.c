#include "store/chunk.h"

#include <math.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "src/base/alloc.h"

enum { VERSION = 1, MOST_ORDER = 4, LEVEL = 3, SAMPLE = 1024 };

static unsigned char *put_varint(unsigned char *p, uint64_t x)
{
    while (x >= 0x80) {
        *p++ = (unsigned char)(x | 0x80);
        x >>= 7;
    }
    *p++ = (unsigned char)x;
    return p;
}

static bool get_varint(uint64_t *out, const unsigned char **p, const unsigned char *end)
{
    uint64_t x = 0;
    for (int shift = 0; *p < end && shift < 64; shift += 7) {
        unsigned char byte = *(*p)++;
        x |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = x;
            return true;
        }
    }
    return false;
}

/* Differences wrap, so every pair of steps has one. */
static uint64_t zigzag(uint64_t x)
{
    return x << 1 ^ (0 - (x >> 63));
}

static uint64_t unzigzag(uint64_t x)
{
    return x >> 1 ^ (0 - (x & 1));
}

/* Magnitude and sign; 1, which no other has, is -2^63. */
static uint64_t fold(uint64_t x)
{
    return x >> 63 ? (0 - x) << 1 | 1 : x << 1;
}

static uint64_t unfold(uint64_t x)
{
    if (x == 1)
        return (uint64_t)1 << 63;
    return x & 1 ? 0 - (x >> 1) : x >> 1;
}

static void make_words(uint64_t *words, const double *values, size_t n, int order)
{
    uint64_t before[MOST_ORDER] = {0}; /* [k]: the last difference of order k */
    for (size_t i = 0; i < n; i++) {
        uint64_t x, bits;
        memcpy(&bits, &values[i], sizeof bits);
        if (!order) {
            words[i] = bits ^ before[0];
            before[0] = bits;
            continue;
        }
        x = bits;
        for (int k = 0; k < order; k++) {
            uint64_t difference = x - before[k];
            before[k] = x;
            x = difference;
        }
        words[i] = fold(x);
    }
}

static void read_words(double *values, const uint64_t *words, size_t n, int order)
{
    uint64_t before[MOST_ORDER] = {0};
    for (size_t i = 0; i < n; i++) {
        uint64_t x = words[i];
        if (!order) {
            x = before[0] ^= x;
        } else {
            x = unfold(x);
            for (int k = order - 1; k >= 0; k--)
                x = before[k] += x;
        }
        memcpy(&values[i], &x, sizeof x);
    }
}

/* Bits that an order-0 coder needs for the planes, near enough to compare. */
static float cost(const uint64_t *words, size_t n)
{
    float bits = 0;
    for (int plane = 0; plane < 8; plane++) {
        unsigned count[256] = {0};
        for (size_t i = 0; i < n; i++)
            count[words[i] >> (8 * plane) & 0xff]++;
        for (int k = 0; k < 256; k++)
            if (count[k])
                bits -= (float)count[k] * log2f((float)count[k] / (float)n);
    }
    return bits;
}

/* The best order, by a stretch in the middle; all words are in `words` then. */
static int choose(uint64_t *words, const double *values, size_t n)
{
    size_t sample = n < SAMPLE ? n : SAMPLE;
    const double *from = values + (n - sample) / 2;
    float least = INFINITY;
    int best = 0;
    for (int order = 0; order <= MOST_ORDER; order++) {
        float bits;
        make_words(words, from, sample, order);
        if ((bits = cost(words, sample)) < least) {
            least = bits;
            best = order;
        }
    }
    make_words(words, values, n, best);
    return best;
}

static size_t put_all(unsigned char *raw, uint64_t *words, const int64_t *steps,
                      const double *values, size_t n)
{
    uint64_t last = 0, last_difference = 0;
    unsigned char *p = raw;

    *p++ = VERSION;
    *p++ = (unsigned char)choose(words, values, n);
    p = put_varint(p, n);
    for (size_t i = 0; i < n; i++) {
        uint64_t difference = (uint64_t)steps[i] - last;
        p = put_varint(p, zigzag(difference - last_difference));
        last = (uint64_t)steps[i];
        last_difference = difference;
    }
    for (int plane = 7; plane >= 0; plane--)
        for (size_t i = 0; i < n; i++)
            *p++ = (unsigned char)(words[i] >> (8 * plane));
    return (size_t)(p - raw);
}

int store__chunk_encode(lx_str *out, const int64_t *steps, const double *values, size_t n,
                        lx_error *err)
{
    size_t most = 12 + n * 18, bound = ZSTD_compressBound(most), got;
    unsigned char *raw = lx_alloc(most), *packed = lx_alloc(bound);
    uint64_t *words = lx_calloc(n, sizeof *words);
    int rc = LX_OK;

    lx_str_clear(out);
    if (!raw || !packed || !words) {
        rc = lx_oom(err);
    } else {
        got = ZSTD_compress(packed, bound, raw, put_all(raw, words, steps, values, n),
                            LEVEL);
        if (ZSTD_isError(got)) /* the room is enough: it has no other reason */
            rc = lx_oom(err);
        else
            lx_str_append(out, (const char *)packed, got);
    }
    lx_free(raw);
    lx_free(packed);
    lx_free(words);
    return rc < 0 ? rc : lx_str_check(out, err);
}

static int decode_raw(int64_t *steps, double *values, size_t *n, size_t capacity,
                      const unsigned char *p, const unsigned char *end, lx_error *err)
{
    uint64_t count, last = 0, difference = 0, delta, *words;
    int order;

    if (end - p < 3 || p[0] != VERSION || p[1] > MOST_ORDER)
        return lx_fail(err, LX_EFORMAT, "a chunk of a curve has an unknown form");
    order = p[1];
    p += 2;
    if (!get_varint(&count, &p, end))
        return lx_fail(err, LX_EFORMAT, "a chunk of a curve is cut off");
    if (count > capacity)
        return lx_fail(err, LX_ELIMIT,
                       "a chunk of a curve claims %llu points, its row %zu",
                       (unsigned long long)count, capacity);
    for (uint64_t i = 0; i < count; i++) {
        if (!get_varint(&delta, &p, end))
            return lx_fail(err, LX_EFORMAT, "a chunk of a curve is cut off");
        difference += unzigzag(delta);
        last += difference;
        steps[i] = (int64_t)last;
    }
    if ((uint64_t)(end - p) != count * 8)
        return lx_fail(err, LX_EFORMAT,
                       "a chunk of a curve has %zu bytes of values for %llu",
                       (size_t)(end - p), (unsigned long long)count);
    if (!(words = lx_calloc(count, sizeof *words)))
        return lx_oom(err);
    for (int plane = 7; plane >= 0; plane--)
        for (uint64_t i = 0; i < count; i++)
            words[i] |= (uint64_t)*p++ << (8 * plane);
    read_words(values, words, count, order);
    lx_free(words);
    *n = (size_t)count;
    return LX_OK;
}

bool store__zstd_is_oom(size_t result)
{
    return ZSTD_isError(result) &&
           ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation;
}

int store__chunk_decode(int64_t *steps, double *values, size_t *n, size_t capacity,
                        const void *data, size_t bytes, lx_error *err)
{
    unsigned long long size = ZSTD_getFrameContentSize(data, bytes);
    unsigned char *raw;
    size_t got;
    int rc;

    /* A point is at most 10 + 8 bytes. */
    if (size > 16 + (unsigned long long)capacity * 18)
        return lx_fail(err, LX_EFORMAT, "a chunk of a curve is damaged");
    if (!(raw = lx_alloc((size_t)size + 1)))
        return lx_oom(err);
    got = ZSTD_decompress(raw, (size_t)size, data, bytes);
    if (store__zstd_is_oom(got))
        rc = lx_oom(err);
    else if (got != size)
        rc = lx_fail(err, LX_EFORMAT, "a chunk of a curve is damaged");
    else
        rc = decode_raw(steps, values, n, capacity, raw, raw + size, err);
    lx_free(raw);
    return rc;
}
