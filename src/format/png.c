#include "src/format/png.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "src/base/alloc.h"

enum { N_FILTERS = 5 };

static void put_u32(lx_str *out, uint32_t x)
{
    const char bytes[4] = {(char)(x >> 24), (char)(x >> 16), (char)(x >> 8), (char)x};

    lx_str_append(out, bytes, 4);
}

static void put_chunk(lx_str *out, const char type[4], const char *data, size_t n)
{
    size_t from;

    put_u32(out, (uint32_t)n);
    from = out->len;
    lx_str_append(out, type, 4);
    lx_str_append(out, data, n);
    if (!out->failed)
        put_u32(out, (uint32_t)crc32(0, (const Bytef *)out->data + from, (uInt)(n + 4)));
}

static int paeth(int a, int b, int c)
{
    int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);

    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/* One row by one filter; its sum of absolute differences. */
static long filter_row(unsigned char *out, int filter, const unsigned char *row,
                       const unsigned char *above, size_t n)
{
    long sum = 0;

    for (size_t i = 0; i < n; i++) {
        int a = i >= 3 ? row[i - 3] : 0, b = above ? above[i] : 0;
        int c = i >= 3 && above ? above[i - 3] : 0;
        int guess = filter == 0   ? 0
                    : filter == 1 ? a
                    : filter == 2 ? b
                    : filter == 3 ? (a + b) / 2
                                  : paeth(a, b, c);
        out[i] = (unsigned char)(row[i] - guess);
        sum += abs((signed char)out[i]);
    }
    return sum;
}

/* The rows with their filters in front: what is deflated. */
static void filter_all(unsigned char *out, unsigned char *spare, const unsigned char *rgb,
                       size_t n, size_t height)
{
    for (size_t y = 0; y < height; y++, out += n + 1) {
        const unsigned char *row = rgb + y * n, *above = y ? row - n : NULL;
        long least = -1;
        for (int filter = 0; filter < N_FILTERS; filter++) {
            long sum = filter_row(spare, filter, row, above, n);
            if (least >= 0 && sum >= least)
                continue;
            least = sum;
            out[0] = (unsigned char)filter;
            memcpy(out + 1, spare, n);
        }
    }
}

static int put_pixels(lx_str *out, const unsigned char *rgb, size_t width, size_t height,
                      lx_error *err)
{
    const size_t row = 3 * width, n = (row + 1) * height;
    uLongf packed_size = compressBound((uLong)n);
    unsigned char *filtered = lx_alloc(n + row), *packed = lx_alloc(packed_size);
    int rc = LX_OK;

    if (!filtered || !packed) {
        rc = lx_oom(err);
        goto done;
    }
    filter_all(filtered, filtered + n, rgb, row, height);
    if (compress2(packed, &packed_size, filtered, (uLong)n, Z_DEFAULT_COMPRESSION) !=
        Z_OK) {
        rc = lx_oom(err);
        goto done;
    }
    put_chunk(out, "IDAT", (char *)packed, packed_size);
done:
    lx_free(filtered);
    lx_free(packed);
    return rc;
}

/* The text in Latin-1; false when it has other characters. */
static bool to_latin1(lx_str *out, const char *text)
{
    const char *end = text + strlen(text);

    while (text < end) {
        uint32_t c = lx_utf8_next(&text, end);
        if (c > 0xFF)
            return false;
        lx_str_putc(out, (char)c);
    }
    return true;
}

static int put_text(lx_str *out, const char *keyword, const char *text, lx_error *err)
{
    lx_str data = LX_STR_INIT;
    bool is_latin1;
    int rc;

    lx_str_append(&data, keyword, strlen(keyword) + 1);
    is_latin1 = to_latin1(&data, text);
    if (!is_latin1) {
        lx_str_clear(&data);
        lx_str_append(&data, keyword, strlen(keyword) + 1);
        lx_str_append(&data, "\0\0\0\0",
                      4); /* not packed, no language, no other keyword */
        lx_str_puts(&data, text);
    }
    if ((rc = lx_str_check(&data, err)) == LX_OK)
        put_chunk(out, is_latin1 ? "tEXt" : "iTXt", data.data, data.len);
    lx_str_release(&data);
    return rc;
}

int lx_png_encode(lx_str *out, const unsigned char *rgb, int64_t width, int64_t height,
                  const char *keyword, const char *text, lx_error *err)
{
    enum { MOST = 1 << 16 };
    lx_str header = LX_STR_INIT;
    int rc;

    if (width < 1 || height < 1 || width > MOST || height > MOST)
        return lx_fail(err, LX_ELIMIT, "a PNG of %lldx%lld is not written",
                       (long long)width, (long long)height);
    put_u32(&header, (uint32_t)width);
    put_u32(&header, (uint32_t)height);
    lx_str_append(&header, "\x08\x02\0\0\0",
                  5); /* 8 bits, RGB, deflate, adaptive, not interlaced */
    if ((rc = lx_str_check(&header, err)) < 0)
        goto done;
    lx_str_append(out, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(out, "IHDR", header.data, header.len);
    if (keyword && text && (rc = put_text(out, keyword, text, err)) < 0)
        goto done;
    if ((rc = put_pixels(out, rgb, (size_t)width, (size_t)height, err)) < 0)
        goto done;
    put_chunk(out, "IEND", "", 0);
    rc = lx_str_check(out, err);
done:
    lx_str_release(&header);
    return rc;
}
