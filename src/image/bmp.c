#include "src/image/bmp.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"

struct bmp {
    unsigned bits;
    uint64_t data_at, stride;
    bool from_top;
    uint32_t masks[4]; /* red, green, blue, alpha */
    uint8_t palette[256][3];
};

static uint32_t le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int read_at(void *out, int fd, size_t n, uint64_t at, lx_error *err)
{
    for (size_t got = 0; got < n;) {
        ssize_t k = pread(fd, (char *)out + got, n - got, (off_t)(at + got));
        if (k < 0)
            return lx_fail_errno(err, errno, "read");
        if (k == 0)
            return lx_fail(err, LX_EFORMAT, "cut: byte %llu is missing",
                           (unsigned long long)(at + got));
        got += (size_t)k;
    }
    return 0;
}

static int read_palette(struct bmp *b, int fd, uint64_t at, size_t entry, uint32_t count,
                        lx_error *err)
{
    unsigned char bytes[256 * 4];
    uint32_t most = 1u << b->bits;
    int rc;

    count = count == 0 || count > most ? most : count;
    if (at + count * entry > b->data_at && b->data_at > at) /* a short one ends at the pixels */
        count = (uint32_t)((b->data_at - at) / entry);
    if ((rc = read_at(bytes, fd, count * entry, at, err)) < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            b->palette[i][c] = bytes[i * entry + (size_t)(2 - c)];
    return 0;
}

static int read_header(struct bmp *b, int fd, const lx_image_header *h, lx_error *err)
{
    unsigned char head[14 + 124] = {0};
    uint32_t size, compression = 0;
    int rc;

    if ((rc = read_at(head, fd, 18, 0, err)) < 0)
        return rc;
    size = le32(head + 14);
    if (size > 124 || size < 12)
        return lx_fail(err, LX_EFORMAT, "byte 14: BMP header of %u bytes", size);
    if ((rc = read_at(head + 18, fd, size - 4, 18, err)) < 0)
        return rc;
    b->data_at = le32(head + 10);
    if (size == 12) {
        b->bits = head[24];
    } else {
        b->bits = head[28];
        compression = le32(head + 30);
        b->from_top = le32(head + 22) > 0x7FFFFFFF;
    }
    b->stride = ((uint64_t)h->width * b->bits + 31) / 32 * 4;
    if (b->bits == 16)
        memcpy(b->masks, (uint32_t[]){0x7C00, 0x3E0, 0x1F, 0}, sizeof(b->masks));
    else
        memcpy(b->masks, (uint32_t[]){0xFF0000, 0xFF00, 0xFF, 0}, sizeof(b->masks));
    if (compression == 3) {
        if (size == 40 && (rc = read_at(head + 54, fd, 12, 54, err)) < 0)
            return rc;
        for (int c = 0; c < (size >= 56 ? 4 : 3); c++)
            b->masks[c] = le32(head + 54 + 4 * c);
    }
    if (b->bits > 8)
        return 0;
    return read_palette(b, fd, 14 + size, size == 12 ? 3 : 4, size == 12 ? 0 : le32(head + 46),
                        err);
}

/* The field under the mask, spread to 0..255 and cut, as Pillow has it: 5 bits of 3 are 24, which are nearer to 25. */
static uint8_t field(uint32_t pixel, uint32_t mask)
{
    uint32_t most;

    if (!mask)
        return 255;
    pixel &= mask;
    while (!(mask & 1)) {
        mask >>= 1;
        pixel >>= 1;
    }
    most = mask;
    return (uint8_t)((uint64_t)pixel * 255 / most);
}

static void decode_row(uint8_t *out, const unsigned char *row, const struct bmp *b,
                       const lx_image_header *h)
{
    const int C = h->has_alpha ? 4 : 3;

    for (int x = 0; x < h->width; x++, out += C) {
        if (b->bits <= 8) {
            unsigned bit = (unsigned)x * b->bits;
            unsigned index = row[bit / 8] >> (8 - b->bits - bit % 8) & ((1u << b->bits) - 1);
            memcpy(out, b->palette[index], 3);
        } else if (b->bits == 24) {
            out[0] = row[3 * x + 2];
            out[1] = row[3 * x + 1];
            out[2] = row[3 * x];
        } else {
            uint32_t pixel = b->bits == 16 ? row[2 * x] | (uint32_t)row[2 * x + 1] << 8
                                           : le32(row + 4 * (size_t)x);
            for (int c = 0; c < C; c++)
                out[c] = field(pixel, b->masks[c]);
        }
    }
}

int lx_bmp_decode(uint8_t *out, int fd, const lx_image_header *h, lx_error *err)
{
    struct bmp b = {0};
    unsigned char *row = NULL;
    const size_t n_row = (size_t)h->width * (h->has_alpha ? 4 : 3);
    int rc;

    if ((rc = read_header(&b, fd, h, err)) < 0)
        return rc;
    if (!(row = lx_alloc(b.stride)))
        return lx_oom(err);
    for (int y = 0; y < h->height && rc == 0; y++) {
        int to = b.from_top ? y : h->height - 1 - y;
        if ((rc = read_at(row, fd, b.stride, b.data_at + b.stride * (uint64_t)y, err)) == 0)
            decode_row(out + (size_t)to * n_row, row, &b, h);
    }
    lx_free(row);
    return rc;
}
