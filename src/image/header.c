#include "src/image/header.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/io.h"

enum { FIRST_READ = 1 << 15 };

/* The bytes at hand; the file may go on behind them. */
struct view {
    const unsigned char *at;
    size_t n;
    uint64_t file_size;
};

static uint32_t be16(const unsigned char *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const unsigned char *p)
{
    return be16(p) << 16 | be16(p + 2);
}

static uint32_t le16(const unsigned char *p)
{
    return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t le24(const unsigned char *p)
{
    return le16(p) | (uint32_t)p[2] << 16;
}

static uint32_t le32(const unsigned char *p)
{
    return le16(p) | le16(p + 2) << 16;
}

const char *lx_image_kind_name(lx_image_kind kind)
{
    static const char *const names[] = {"unknown", "PNG", "JPEG", "WebP", "BMP"};
    return names[kind];
}

/* Whether n bytes at `at` are at hand: 0, LX_EFORMAT when the file ends before them, LX_ELIMIT
 * when only what was read of it does. */
static int need(const struct view *v, uint64_t at, uint64_t n, lx_error *err)
{
    if (at + n <= v->n)
        return 0;
    if (at + n > v->file_size)
        return lx_fail(err, LX_EFORMAT, "cut: the header needs byte %llu, the file has %llu",
                       (unsigned long long)(at + n), (unsigned long long)v->file_size);
    return lx_fail(err, LX_ELIMIT, "the size is not told in the first %zu bytes", v->n);
}

static int set_size(lx_image_header *h, uint32_t width, uint32_t height, uint64_t at,
                    lx_error *err)
{
    if (width == 0 || height == 0)
        return lx_fail(err, LX_EFORMAT, "byte %llu: %u x %u pixels is no image",
                       (unsigned long long)at, width, height);
    if (width > LX_IMAGE_MAX_SIDE || height > LX_IMAGE_MAX_SIDE ||
        (uint64_t)width * height > LX_IMAGE_MAX_PIXELS)
        return lx_fail(err, LX_ELIMIT,
                       "byte %llu: %u x %u pixels; the limit is %d a side and %d in all",
                       (unsigned long long)at, width, height, (int)LX_IMAGE_MAX_SIDE,
                       (int)LX_IMAGE_MAX_PIXELS);
    h->width = (int)width;
    h->height = (int)height;
    return 0;
}

/* The orientation in a TIFF structure (EXIF), 1 if there is none to be found. Looks at the first
 * directory only and follows no link, so nothing can send it in circles. */
static int exif_orientation(const unsigned char *p, size_t n)
{
    bool is_little;
    uint32_t at, count;

    if (n < 8 || !(memcmp(p, "II*\0", 4) == 0 || memcmp(p, "MM\0*", 4) == 0))
        return 1;
    is_little = p[0] == 'I';
    at = is_little ? le32(p + 4) : be32(p + 4);
    if (at > n - 2)
        return 1;
    count = is_little ? le16(p + at) : be16(p + at);
    for (uint32_t i = 0; i < count; i++) {
        size_t entry = (size_t)at + 2 + 12 * (size_t)i;
        uint32_t value;
        if (entry + 12 > n)
            break;
        if ((is_little ? le16(p + entry) : be16(p + entry)) != 0x112)
            continue;
        value = is_little ? le16(p + entry + 8) : be16(p + entry + 8);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

static int png_ihdr(lx_image_header *h, const struct view *v, lx_error *err)
{
    static const unsigned char channels[] = {1, 0, 3, 1, 2, 0, 4};
    static const unsigned char depths[] = {1 | 2 | 4 | 8 | 16, 0, 8 | 16, 1 | 2 | 4 | 8, 8 | 16, 0,
                                           8 | 16};
    unsigned depth, colour;
    int rc;

    if ((rc = need(v, 8, 25, err)) < 0)
        return rc;
    if (be32(v->at + 8) != 13 || memcmp(v->at + 12, "IHDR", 4) != 0)
        return lx_fail(err, LX_EFORMAT, "byte 8: PNG without IHDR in front");
    depth = v->at[24];
    colour = v->at[25];
    if (colour > 6 || !channels[colour] || (depth & (depth - 1)) || !(depths[colour] & depth))
        return lx_fail(err, LX_EFORMAT, "byte 24: no PNG has %u bits of colour type %u", depth,
                       colour);
    if (v->at[26] != 0 || v->at[27] != 0 || v->at[28] > 1)
        return lx_fail(err, LX_EFORMAT, "byte 26: unknown PNG compression, filter or interlace");
    h->bits = (int)depth;
    h->channels = channels[colour];
    h->is_palette = colour == 3;
    h->is_grey = colour == 0 || colour == 4;
    h->has_alpha = colour >= 4;
    return set_size(h, be32(v->at + 16), be32(v->at + 20), 16, err);
}

static int png_parse(lx_image_header *h, const struct view *v, lx_error *err)
{
    bool has_palette = false, has_data = false;
    uint64_t at = 33;
    int rc;

    if ((rc = png_ihdr(h, v, err)) < 0)
        return rc;
    while (!has_data && at + 8 <= v->n) {
        const unsigned char *p = v->at + at;
        uint32_t length = be32(p);
        size_t here = v->n - at - 8 < length ? (size_t)(v->n - at - 8) : length;
        if (length > 0x7FFFFFFF || at + 12 + length > v->file_size)
            return lx_fail(err, LX_EFORMAT,
                           "byte %llu: a PNG chunk of %u bytes runs past the end of the file",
                           (unsigned long long)at, length);
        if (memcmp(p + 4, "PLTE", 4) == 0)
            has_palette = true;
        else if (memcmp(p + 4, "tRNS", 4) == 0)
            h->has_alpha = true;
        else if (memcmp(p + 4, "acTL", 4) == 0 && here >= 8)
            h->frames = be32(p + 8) > 1 && be32(p + 8) < 1 << 20 ? (int)be32(p + 8) : 1;
        else if (memcmp(p + 4, "eXIf", 4) == 0)
            h->orientation = exif_orientation(p + 8, here);
        else if (memcmp(p + 4, "IDAT", 4) == 0)
            has_data = true;
        else if (memcmp(p + 4, "IEND", 4) == 0)
            break;
        at += 12 + (uint64_t)length;
    }
    if (!has_data && (at + 8 > v->file_size || at + 8 <= v->n))
        return lx_fail(err, LX_EFORMAT, "PNG without image data");
    if (has_data && h->is_palette && !has_palette)
        return lx_fail(err, LX_EFORMAT, "palette PNG without its palette");
    return 0;
}

static int jpeg_frame(lx_image_header *h, const struct view *v, uint64_t at, unsigned marker,
                      uint32_t length, lx_error *err)
{
    const unsigned char *p = v->at + at;
    int rc;

    if (length < 8)
        return lx_fail(err, LX_EFORMAT, "byte %llu: JPEG frame header of %u bytes",
                       (unsigned long long)at, length);
    if ((rc = need(v, at, 8, err)) < 0)
        return rc;
    if (marker > 0xC2)
        return lx_fail(err, LX_EUNSUPPORTED, "byte %llu: %s JPEG; save it as an ordinary one",
                       (unsigned long long)at,
                       marker == 0xC3  ? "lossless"
                       : marker > 0xC8 ? "arithmetic-coded"
                                       : "hierarchical");
    if (p[2] != 8)
        return lx_fail(err, LX_EUNSUPPORTED, "byte %llu: JPEG of %u bits; 8 are supported",
                       (unsigned long long)at + 2, p[2]);
    if (p[7] != 1 && p[7] != 3 && p[7] != 4)
        return lx_fail(err, LX_EFORMAT, "byte %llu: JPEG of %u components",
                       (unsigned long long)at + 7, p[7]);
    h->bits = 8;
    h->channels = p[7];
    h->is_grey = p[7] == 1;
    h->is_cmyk = p[7] == 4;
    return set_size(h, be16(p + 5), be16(p + 3), at + 3, err);
}

static int jpeg_parse(lx_image_header *h, const struct view *v, lx_error *err)
{
    uint64_t at = 2;
    int rc;

    for (;;) {
        unsigned marker;
        uint32_t length;
        if ((rc = need(v, at, 2, err)) < 0)
            return rc;
        if (v->at[at] != 0xFF)
            return lx_fail(err, LX_EFORMAT, "byte %llu: no JPEG marker where one must be",
                           (unsigned long long)at);
        marker = v->at[at + 1];
        if (marker == 0xFF) { /* fill */
            at++;
            continue;
        }
        at += 2;
        if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7))
            continue;
        if (marker == 0xD9 || marker == 0xDA || marker == 0xD8 || marker == 0)
            return lx_fail(err, LX_EFORMAT, "byte %llu: JPEG without a frame header",
                           (unsigned long long)at - 2);
        if ((rc = need(v, at, 2, err)) < 0)
            return rc;
        length = be16(v->at + at);
        if (length < 2 || at + length > v->file_size)
            return lx_fail(err, LX_EFORMAT,
                           "byte %llu: a JPEG segment of %u bytes runs past the end of the file",
                           (unsigned long long)at, length);
        if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC)
            return jpeg_frame(h, v, at, marker, length, err);
        if (marker == 0xE1 && length >= 8 && at + length <= v->n &&
            memcmp(v->at + at + 2, "Exif\0", 6) == 0)
            h->orientation = exif_orientation(v->at + at + 8, length - 8);
        at += length;
    }
}

/* The extended header has been read; what follows may tell the orientation. */
static void webp_exif(lx_image_header *h, const struct view *v)
{
    uint64_t at = 12;

    while (at + 8 <= v->n) {
        uint64_t length = le32(v->at + at + 4);
        size_t here = v->n - at - 8 < length ? (size_t)(v->n - at - 8) : (size_t)length;
        const unsigned char *p = v->at + at + 8;
        if (memcmp(v->at + at, "EXIF", 4) == 0) {
            bool has_prefix = here >= 6 && memcmp(p, "Exif\0", 6) == 0;
            h->orientation = exif_orientation(p + (has_prefix ? 6 : 0), here - (has_prefix ? 6 : 0));
        }
        at += 8 + length + (length & 1);
    }
}

static int webp_parse(lx_image_header *h, const struct view *v, lx_error *err)
{
    const unsigned char *p = v->at;
    uint64_t length;
    int rc;

    if ((rc = need(v, 0, 30 <= v->file_size ? 30 : 25, err)) < 0)
        return rc;
    if ((uint64_t)le32(p + 4) + 8 > v->file_size)
        return lx_fail(err, LX_EFORMAT, "byte 4: the WebP says %llu bytes, the file has %llu",
                       (unsigned long long)le32(p + 4) + 8, (unsigned long long)v->file_size);
    length = le32(p + 16);
    if (20 + length > v->file_size)
        return lx_fail(err, LX_EFORMAT, "byte 16: a WebP chunk runs past the end of the file");
    h->bits = 8;
    h->channels = 3;
    if (memcmp(p + 12, "VP8 ", 4) == 0) {
        if (length < 10 || v->n < 30 || (p[20] & 1) || memcmp(p + 23, "\x9d\x01\x2a", 3) != 0)
            return lx_fail(err, LX_EFORMAT, "byte 20: no WebP key frame");
        return set_size(h, le16(p + 26) & 0x3FFF, le16(p + 28) & 0x3FFF, 26, err);
    }
    if (memcmp(p + 12, "VP8L", 4) == 0) {
        if (length < 5 || p[20] != 0x2F || p[24] >> 5)
            return lx_fail(err, LX_EFORMAT, "byte 20: no lossless WebP");
        h->has_alpha = p[24] >> 4 & 1;
        h->channels = h->has_alpha ? 4 : 3;
        return set_size(h, (le32(p + 21) & 0x3FFF) + 1, (le32(p + 21) >> 14 & 0x3FFF) + 1, 21,
                        err);
    }
    if (memcmp(p + 12, "VP8X", 4) != 0 || length < 10 || v->n < 30)
        return lx_fail(err, LX_EFORMAT, "byte 12: no WebP image in front");
    h->has_alpha = p[20] >> 4 & 1;
    h->channels = h->has_alpha ? 4 : 3;
    h->frames = p[20] >> 1 & 1 ? 0 : 1;
    webp_exif(h, v);
    return set_size(h, le24(p + 24) + 1, le24(p + 27) + 1, 24, err);
}

/* Of a BMP's palette, as Pillow has it: more than pixels can name, which some writers say. */
enum { MOST_COLOURS = 65536 };

static int bmp_parse(lx_image_header *h, const struct view *v, lx_error *err)
{
    const unsigned char *p = v->at;
    uint32_t header, width, height, bits, compression = 0;
    int rc;

    if ((rc = need(v, 0, 26, err)) < 0)
        return rc;
    header = le32(p + 14);
    if (header != 12 && (header < 40 || header > 124))
        return lx_fail(err, LX_EFORMAT, "byte 14: BMP header of %u bytes", header);
    if ((rc = need(v, 0, 14 + header, err)) < 0)
        return rc;
    if (header == 12) {
        width = le16(p + 18);
        height = le16(p + 20);
        bits = le16(p + 24);
    } else {
        width = le32(p + 18);
        height = le32(p + 22);
        height = height > 0x7FFFFFFF ? 0u - height : height; /* negative: rows from the top */
        bits = le16(p + 28);
        compression = le32(p + 30);
    }
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
        return lx_fail(err, LX_EFORMAT, "byte 28: BMP of %u bits a pixel", bits);
    if (compression != 0 && compression != 3)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "byte 30: compressed BMP (method %u); save it as PNG", compression);
    if (bits <= 8 && header >= 40 && le32(p + 46) > MOST_COLOURS)
        return lx_fail(err, LX_EFORMAT, "byte 46: BMP with a palette of %u colours", le32(p + 46));
    h->bits = bits <= 8 ? (int)bits : 8;
    h->is_palette = bits <= 8;
    h->channels = bits <= 8 ? 1 : 3;
    if (compression == 3 && bits == 32 && header >= 56 && le32(p + 66) != 0) {
        h->channels = 4;
        h->has_alpha = true;
    }
    return set_size(h, width, height, 18, err);
}

int lx_image_header_parse(lx_image_header *out, const void *bytes, size_t n, uint64_t file_size,
                          lx_error *err)
{
    const struct view v = {bytes, n, file_size > n ? file_size : n};

    *out = (lx_image_header){.orientation = 1, .frames = 1};
    if (v.file_size == 0)
        return lx_fail(err, LX_EFORMAT, "the file is empty");
    if (n >= 8 && memcmp(v.at, "\x89PNG\r\n\x1a\n", 8) == 0) {
        out->kind = LX_IMAGE_PNG;
        return png_parse(out, &v, err);
    }
    if (n >= 2 && v.at[0] == 0xFF && v.at[1] == 0xD8) {
        out->kind = LX_IMAGE_JPEG;
        return jpeg_parse(out, &v, err);
    }
    if (n >= 12 && memcmp(v.at, "RIFF", 4) == 0 && memcmp(v.at + 8, "WEBP", 4) == 0) {
        out->kind = LX_IMAGE_WEBP;
        return webp_parse(out, &v, err);
    }
    if (n >= 2 && v.at[0] == 'B' && v.at[1] == 'M') {
        out->kind = LX_IMAGE_BMP;
        return bmp_parse(out, &v, err);
    }
    return lx_fail(err, LX_EFORMAT, "byte 0: no PNG, JPEG, WebP or BMP");
}

/* A socket or a link to itself is as little of an image as a FIFO, and no fault of the disk. */
static int fail_open(int error, lx_error *err)
{
    if (error == ENXIO || error == ENODEV)
        return lx_fail(err, LX_EFORMAT, "not a regular file");
    if (error == ELOOP)
        return lx_fail(err, LX_EFORMAT, "open: %s", strerror(error));
    return lx_fail_errno(err, error, "open");
}

int lx_image_header_read(lx_image_header *out, const char *path, lx_error *err)
{
    const lx_io *io = lx_io_get();
    unsigned char *bytes = NULL;
    size_t limit = FIRST_READ, n = 0;
    struct stat info;
    ssize_t got = 0;
    int fd, rc;

    if ((fd = io->open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0)) < 0)
        return fail_open(errno, err);
    if (io->fstat(fd, &info) < 0) {
        rc = lx_fail_errno(err, errno, "stat");
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        rc = lx_fail(err, LX_EFORMAT, "not a regular file");
        goto done;
    }
    if (!(bytes = lx_alloc(LX_IMAGE_HEADER_READ))) {
        rc = lx_oom(err);
        goto done;
    }
    for (;;) {
        while (n < limit && (got = io->pread(fd, bytes + n, limit - n, (off_t)n)) > 0)
            n += (size_t)got;
        if (got < 0) {
            rc = lx_fail_errno(err, errno, "read");
            goto done;
        }
        rc = lx_image_header_parse(out, bytes, n, (uint64_t)info.st_size, err);
        if (rc != LX_ELIMIT || out->width || limit == LX_IMAGE_HEADER_READ || n < limit)
            goto done;
        limit = LX_IMAGE_HEADER_READ;
    }
done:
    lx_free(bytes);
    io->close(fd);
    return rc;
}
