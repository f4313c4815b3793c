#include "store/chunk.h"

#include <string.h>
#include <zstd.h>

#include "src/base/alloc.h"

static void put_varint(lx_str *out, uint64_t x)
{
    while (x >= 0x80) {
        lx_str_putc(out, (char)(x | 0x80));
        x >>= 7;
    }
    lx_str_putc(out, (char)x);
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

static void put_values(lx_str *out, const double *values, size_t n)
{
    for (int plane = 7; plane >= 0; plane--) {
        uint64_t before = 0;
        for (size_t i = 0; i < n; i++) {
            uint64_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            lx_str_putc(out, (char)((bits ^ before) >> (8 * plane)));
            before = bits;
        }
    }
}

static int pack(lx_str *out, const lx_str *raw, lx_error *err)
{
    size_t bound = ZSTD_compressBound(raw->len), got;
    char *packed = lx_alloc(bound);
    if (!packed)
        return lx_oom(err);
    got = ZSTD_compress(packed, bound, raw->data, raw->len, 3);
    lx_str_clear(out);
    if (ZSTD_isError(got))
        out->failed = true;
    else
        lx_str_append(out, packed, got);
    lx_free(packed);
    return lx_str_check(out, err);
}

int store__chunk_encode(lx_str *out, const int64_t *steps, const double *values, size_t n,
                        lx_error *err)
{
    lx_str raw = LX_STR_INIT;
    uint64_t last = 0, last_difference = 0;
    int rc;

    lx_str_putc(&raw, 1);
    put_varint(&raw, n);
    for (size_t i = 0; i < n; i++) {
        uint64_t difference = (uint64_t)steps[i] - last;
        put_varint(&raw, zigzag(difference - last_difference));
        last = (uint64_t)steps[i];
        last_difference = difference;
    }
    put_values(&raw, values, n);
    rc = raw.failed ? lx_oom(err) : pack(out, &raw, err);
    lx_str_release(&raw);
    return rc;
}

static int decode_raw(int64_t *steps, double *values, size_t *n, size_t capacity,
                      const unsigned char *p, const unsigned char *end, lx_error *err)
{
    uint64_t count, last = 0, difference = 0, delta;

    if (p >= end || *p++ != 1 || !get_varint(&count, &p, end))
        return lx_fail(err, LX_EFORMAT, "a chunk of a curve has an unknown form");
    if (count > capacity)
        return lx_fail(err, LX_ELIMIT, "a chunk of a curve claims %llu points, its row %zu",
                       (unsigned long long)count, capacity);
    for (uint64_t i = 0; i < count; i++) {
        if (!get_varint(&delta, &p, end))
            return lx_fail(err, LX_EFORMAT, "a chunk of a curve is cut off");
        difference += unzigzag(delta);
        last += difference;
        steps[i] = (int64_t)last;
    }
    if ((uint64_t)(end - p) != count * 8)
        return lx_fail(err, LX_EFORMAT, "a chunk of a curve has %zu bytes of values for %llu",
                       (size_t)(end - p), (unsigned long long)count);
    for (uint64_t i = 0, before = 0; i < count; i++) {
        uint64_t bits = 0;
        for (int plane = 0; plane < 8; plane++)
            bits |= (uint64_t)p[(uint64_t)(7 - plane) * count + i] << (8 * plane);
        before ^= bits;
        memcpy(&values[i], &before, sizeof before);
    }
    *n = (size_t)count;
    return LX_OK;
}

int store__chunk_decode(int64_t *steps, double *values, size_t *n, size_t capacity,
                        const void *data, size_t bytes, lx_error *err)
{
    unsigned long long size = ZSTD_getFrameContentSize(data, bytes);
    unsigned char *raw;
    int rc;

    /* A point is at most 10 + 8 bytes. */
    if (size > 16 + (unsigned long long)capacity * 18)
        return lx_fail(err, LX_EFORMAT, "a chunk of a curve is damaged");
    if (!(raw = lx_alloc((size_t)size + 1)))
        return lx_oom(err);
    if (ZSTD_decompress(raw, (size_t)size, data, bytes) != size)
        rc = lx_fail(err, LX_EFORMAT, "a chunk of a curve is damaged");
    else
        rc = decode_raw(steps, values, n, capacity, raw, raw + size, err);
    lx_free(raw);
    return rc;
}
