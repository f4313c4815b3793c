#include "src/format/picture_text.h"

#include <string.h>
#include <zlib.h>

#include "src/base/alloc.h"
#include "src/base/file.h"

/* Part of the file, checked. */
typedef struct span {
    const unsigned char *data;
    size_t n;
} span;

static uint32_t u32_big(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t u32_little(const unsigned char *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* ---- text ------------------------------------------------------------------------- */

static void put_latin1(lx_str *out, span s)
{
    for (size_t i = 0; i < s.n; i++)
        lx_str_put_utf8(out, s.data[i]);
}

/* What is not sound becomes U+FFFD. */
static void put_utf8(lx_str *out, span s)
{
    const char *p = (const char *)s.data, *end = p + s.n;

    while (p < end) {
        uint32_t c = lx_utf8_next(&p, end);
        lx_str_put_utf8(out, c == UINT32_MAX ? 0xFFFD : c);
    }
}

static void put_utf16(lx_str *out, span s, bool is_big)
{
    for (size_t i = 0; i + 1 < s.n; i += 2) {
        uint32_t c = is_big ? (uint32_t)(s.data[i] << 8 | s.data[i + 1])
                            : (uint32_t)(s.data[i + 1] << 8 | s.data[i]);
        if (c >= 0xD800 && c < 0xDC00 && i + 3 < s.n) {
            uint32_t low = is_big ? (uint32_t)(s.data[i + 2] << 8 | s.data[i + 3])
                                  : (uint32_t)(s.data[i + 3] << 8 | s.data[i + 2]);
            if (low >= 0xDC00 && low < 0xE000) {
                c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
                i += 2;
            }
        }
        if (c == 0)
            break;
        lx_str_put_utf8(out, c >= 0xD800 && c < 0xE000 ? 0xFFFD : c);
    }
}

static int inflate_text(lx_str *out, span packed, lx_error *err)
{
    unsigned char block[16384];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.data, .avail_in = (uInt)packed.n};
    int status = inflateInit(&z), rc = LX_OK;

    if (status != Z_OK)
        return lx_oom(err);
    while (rc == LX_OK && status == Z_OK) {
        z.next_out = block;
        z.avail_out = sizeof block;
        status = inflate(&z, Z_NO_FLUSH);
        if (status != Z_OK && status != Z_STREAM_END)
            rc = lx_fail(err, LX_EFORMAT, "a packed text in the picture is broken");
        else if (out->len + (sizeof block - z.avail_out) > LX_PICTURE_TEXT_MAX)
            rc = lx_fail(err, LX_ELIMIT,
                         "a packed text in the picture inflates beyond %d MB",
                         LX_PICTURE_TEXT_MAX >> 20);
        else
            lx_str_append(out, (char *)block, sizeof block - z.avail_out);
    }
    inflateEnd(&z);
    return rc;
}

/* ---- PNG -------------------------------------------------------------------------- */

/* What follows a NUL-terminated word; false when there is no NUL. */
static bool after_word(span *s)
{
    const unsigned char *nul = memchr(s->data, 0, s->n);

    if (!nul)
        return false;
    s->n -= (size_t)(nul + 1 - s->data);
    s->data = nul + 1;
    return true;
}

static int put_packed(lx_str *out, span s, bool is_utf8, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc = inflate_text(&text, s, err);
    span plain = {(const unsigned char *)lx_str_text(&text), text.len};

    if (rc == LX_OK && (rc = lx_str_check(&text, err)) == LX_OK) {
        if (is_utf8)
            put_utf8(out, plain);
        else
            put_latin1(out, plain);
    }
    lx_str_release(&text);
    return rc;
}

/* The text of a chunk whose keyword is "parameters". */
static int read_chunk(lx_str *out, const unsigned char *type, span s, lx_error *err)
{
    if (!after_word(&s))
        return lx_fail(err, LX_EFORMAT, "a text chunk of the PNG has no keyword");
    if (memcmp(type, "tEXt", 4) == 0) {
        put_latin1(out, s);
        return LX_OK;
    }
    if (memcmp(type, "zTXt", 4) == 0) {
        if (s.n < 1 || s.data[0] != 0)
            return lx_fail(err, LX_EFORMAT, "a zTXt chunk is packed in an unknown way");
        return put_packed(out, (span){s.data + 1, s.n - 1}, false, err);
    }
    if (s.n < 2 || s.data[0] > 1 || (s.data[0] == 1 && s.data[1] != 0))
        return lx_fail(err, LX_EFORMAT, "an iTXt chunk is packed in an unknown way");
    const bool is_packed = s.data[0] == 1;
    s = (span){s.data + 2, s.n - 2};
    if (!after_word(&s) || !after_word(&s))
        return lx_fail(err, LX_EFORMAT, "an iTXt chunk ends too early");
    if (is_packed)
        return put_packed(out, s, true, err);
    put_utf8(out, s);
    return LX_OK;
}

static int read_png(lx_str *out, bool *is_there, span file, lx_error *err)
{
    static const char keyword[] = "parameters";
    size_t at = 8;

    while (file.n - at >= 12) {
        const unsigned char *type = file.data + at + 4;
        const size_t n = u32_big(file.data + at);
        const span chunk = {file.data + at + 8, n};

        if (n > file.n - at - 12)
            return lx_fail(err, LX_EFORMAT,
                           "a chunk of the PNG at byte %zu ends after the file", at);
        if (memcmp(type, "IEND", 4) == 0)
            return LX_OK;
        if ((memcmp(type, "tEXt", 4) == 0 || memcmp(type, "zTXt", 4) == 0 ||
             memcmp(type, "iTXt", 4) == 0) &&
            n > sizeof keyword && memcmp(chunk.data, keyword, sizeof keyword) == 0) {
            if (n > LX_PICTURE_TEXT_MAX)
                return lx_fail(err, LX_ELIMIT,
                               "a text chunk of %zu bytes in the PNG; the most is %d", n,
                               LX_PICTURE_TEXT_MAX);
            *is_there = true;
            return read_chunk(out, type, chunk, err);
        }
        at += n + 12;
    }
    return LX_OK;
}

/* ---- EXIF ------------------------------------------------------------------------- */

/* A TIFF block and its byte order. */
typedef struct tiff {
    span s;
    bool is_big;
} tiff;

static uint32_t get_u32(const tiff *t, size_t at)
{
    return t->is_big ? u32_big(t->s.data + at) : u32_little(t->s.data + at);
}

static unsigned get_u16(const tiff *t, size_t at)
{
    const unsigned char *p = t->s.data + at;

    return t->is_big ? (unsigned)(p[0] << 8 | p[1]) : (unsigned)(p[1] << 8 | p[0]);
}

/* Where the 12 bytes of a tag's entry are in the directory at `at`; 0 = none. */
static size_t find_tag(const tiff *t, size_t at, unsigned tag)
{
    size_t n;

    if (at < 8 || at + 2 > t->s.n)
        return 0;
    n = get_u16(t, at);
    for (size_t i = 0; i < n && at + 2 + 12 * (i + 1) <= t->s.n; i++)
        if (get_u16(t, at + 2 + 12 * i) == tag)
            return at + 2 + 12 * i;
    return 0;
}

/* piexif writes UTF-16BE whatever the block's order; others write the block's own. */
static bool looks_big_endian(span s, bool otherwise)
{
    size_t even = 0, odd = 0;

    for (size_t i = 0; i + 1 < s.n && i < 512; i += 2) {
        even += s.data[i] == 0;
        odd += s.data[i + 1] == 0;
    }
    return even == odd ? otherwise : even > odd;
}

static int read_exif(lx_str *out, bool *is_there, span s, lx_error *err)
{
    enum { TAG_EXIF = 0x8769, TAG_USER_COMMENT = 0x9286, CODE = 8 };
    tiff t = {.s = s};
    size_t entry, at, n;

    if (s.n >= 6 && memcmp(s.data, "Exif\0\0", 6) == 0)
        t.s = (span){s.data + 6, s.n - 6};
    if (t.s.n < 8 || (memcmp(t.s.data, "II", 2) != 0 && memcmp(t.s.data, "MM", 2) != 0))
        return LX_OK;
    t.is_big = t.s.data[0] == 'M';
    if (!(entry = find_tag(&t, get_u32(&t, 4), TAG_EXIF)) ||
        !(entry = find_tag(&t, get_u32(&t, entry + 8), TAG_USER_COMMENT)))
        return LX_OK;
    n = get_u32(&t, entry + 4);
    at = get_u32(&t, entry + 8);
    if (n <= CODE)
        return LX_OK;
    if (n > LX_PICTURE_TEXT_MAX)
        return lx_fail(err, LX_ELIMIT, "an EXIF comment of %zu bytes; the most is %d", n,
                       LX_PICTURE_TEXT_MAX);
    if (at > t.s.n || n > t.s.n - at)
        return lx_fail(err, LX_EFORMAT, "the EXIF comment ends after the file");
    const span text = {t.s.data + at + CODE, n - CODE};
    *is_there = true;
    if (memcmp(t.s.data + at, "UNICODE", 7) == 0)
        put_utf16(out, text, looks_big_endian(text, t.is_big));
    else
        put_utf8(out, text);
    return LX_OK;
}

static int read_jpeg(lx_str *out, bool *is_there, span file, lx_error *err)
{
    for (size_t at = 2; at + 4 <= file.n && !*is_there;) {
        const unsigned char *p = file.data + at;
        size_t n = (size_t)p[2] << 8 | p[3];
        int rc;

        if (p[0] != 0xFF || p[1] == 0xDA || p[1] == 0xD9)
            return LX_OK;
        if (n < 2 || n > file.n - at - 2)
            return lx_fail(err, LX_EFORMAT,
                           "a segment of the JPEG at byte %zu ends after the file", at);
        if (p[1] == 0xE1 && n > 8 && memcmp(p + 4, "Exif\0\0", 6) == 0 &&
            (rc = read_exif(out, is_there, (span){p + 4, n - 2}, err)) < 0)
            return rc;
        at += n + 2;
    }
    return LX_OK;
}

static int read_webp(lx_str *out, bool *is_there, span file, lx_error *err)
{
    for (size_t at = 12; at + 8 <= file.n;) {
        const size_t n = u32_little(file.data + at + 4);

        if (n > file.n - at - 8)
            return lx_fail(err, LX_EFORMAT,
                           "a chunk of the WebP at byte %zu ends after the file", at);
        if (memcmp(file.data + at, "EXIF", 4) == 0)
            return read_exif(out, is_there, (span){file.data + at + 8, n}, err);
        at += 8 + n + (n & 1);
    }
    return LX_OK;
}

/* ---- the whole -------------------------------------------------------------------- */

int lx_picture_text_parse(lx_str *out, bool *is_there, const unsigned char *bytes,
                          size_t n, lx_error *err)
{
    const span file = {bytes, n};
    int rc;

    *is_there = false;
    if (n >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
        rc = read_png(out, is_there, file, err);
    else if (n >= 3 && memcmp(bytes, "\xFF\xD8\xFF", 3) == 0)
        rc = read_jpeg(out, is_there, file, err);
    else if (n >= 12 && memcmp(bytes, "RIFF", 4) == 0 &&
             memcmp(bytes + 8, "WEBP", 4) == 0)
        rc = read_webp(out, is_there, file, err);
    else
        return lx_fail(err, LX_EFORMAT, "not a PNG, JPEG or WebP picture");
    return rc < 0 ? rc : lx_str_check(out, err);
}

int lx_picture_text_read(lx_str *out, bool *is_there, const char *path, lx_error *err)
{
    lx_mapping map;
    int rc = lx_file_map(&map, path, err);

    if (rc < 0)
        return rc;
    if ((rc = lx_picture_text_parse(out, is_there, map.data, map.size, err)) < 0)
        lx_within(err, "%s", path);
    lx_file_unmap(&map);
    return rc;
}
