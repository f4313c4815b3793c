#include "src/format/picture_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "src/base/alloc.h"
#include "src/base/file.h"

/* Part of the file, checked. */
typedef struct span {
    const unsigned char *data;
    size_t n;
} span;

/* A picture being read. With notes, a text that is not sound is told and left out; without, it is the error. */
typedef struct reading {
    lx_str *out;
    bool *is_there;
    lx_str *notes; /* NULL: the first thing that is wrong ends it */
    size_t n_notes;
    span file;
    lx_error *err;
} reading;

/* The story of a text, with where it is in the file; 0 with notes. */
static int odd(reading *r, int code, const char *fmt, ...) LX_PRINTF(3, 4);
static int odd(reading *r, int code, const char *fmt, ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!r->notes)
        return lx_fail(r->err, code, "%s", text);
    if (r->n_notes++ < LX_PICTURE_NOTES_MAX)
        lx_str_printf(r->notes, "%s\n", text);
    return LX_OK;
}

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

/* What is not sound becomes U+FFFD; false when there was any. */
static bool put_utf8(lx_str *out, span s)
{
    const char *p = (const char *)s.data, *end = p + s.n;
    bool is_sound = true;

    while (p < end) {
        uint32_t c = lx_utf8_next(&p, end);
        is_sound &= c != UINT32_MAX;
        lx_str_put_utf8(out, c == UINT32_MAX ? 0xFFFD : c);
    }
    return is_sound;
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
            rc = lx_fail(err, LX_EFORMAT, "its packed text is damaged");
        else if (out->len + (sizeof block - z.avail_out) > LX_PICTURE_PACKED_MAX)
            rc = lx_fail(err, LX_ELIMIT, "its packed text inflates beyond %d MiB",
                         LX_PICTURE_PACKED_MAX >> 20);
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

static int put_packed(lx_str *out, bool *is_sound, span s, bool is_utf8, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc = inflate_text(&text, s, err);
    span plain = {(const unsigned char *)lx_str_text(&text), text.len};

    if (rc == LX_OK && (rc = lx_str_check(&text, err)) == LX_OK) {
        if (is_utf8)
            *is_sound = put_utf8(out, plain);
        else
            put_latin1(out, plain);
    }
    lx_str_release(&text);
    return rc;
}

/* Without its keyword. The errors say what is wrong with the chunk; *is_sound: that its UTF-8 is. */
static int read_chunk(lx_str *out, bool *is_sound, const unsigned char *type, span s, lx_error *err)
{
    *is_sound = true;
    if (memcmp(type, "tEXt", 4) == 0) {
        put_latin1(out, s);
        return LX_OK;
    }
    if (memcmp(type, "zTXt", 4) == 0) {
        if (s.n < 1 || s.data[0] != 0)
            return lx_fail(err, LX_EFORMAT, "its text is packed in an unknown way");
        return put_packed(out, is_sound, (span){s.data + 1, s.n - 1}, false, err);
    }
    if (s.n < 2 || s.data[0] > 1 || (s.data[0] == 1 && s.data[1] != 0))
        return lx_fail(err, LX_EFORMAT, "its text is packed in an unknown way");
    const bool is_packed = s.data[0] == 1;
    s = (span){s.data + 2, s.n - 2};
    if (!after_word(&s) || !after_word(&s))
        return lx_fail(err, LX_EFORMAT, "it ends before its text");
    if (is_packed)
        return put_packed(out, is_sound, s, true, err);
    *is_sound = put_utf8(out, s);
    return LX_OK;
}

/* The settings in the text chunk at byte `at`. What is left out is told. */
static int take_settings(reading *r, const unsigned char *type, span s, size_t at)
{
    lx_str text = LX_STR_INIT;
    lx_error why = {0};
    bool is_sound;
    size_t n;
    int rc;

    if (*r->is_there)
        return odd(r, LX_EFORMAT, "the %.4s chunk at byte %zu has parameters once more: not read",
                   (const char *)type, at);
    if (s.n > LX_PICTURE_TEXT_MAX)
        rc = lx_fail(&why, LX_ELIMIT, "it has %zu bytes, the most is %d", s.n, LX_PICTURE_TEXT_MAX);
    else
        rc = read_chunk(&text, &is_sound, type, s, &why);
    if (rc == LX_OK)
        rc = lx_str_check(&text, &why);
    if (rc == LX_ENOMEM) {
        rc = lx_oom(r->err);
    } else if (rc < 0) {
        rc = odd(r, rc, "the %.4s chunk at byte %zu is not read: %s", (const char *)type, at,
                 why.text);
    } else {
        n = strlen(lx_str_text(&text));
        lx_str_append(r->out, lx_str_text(&text), n);
        *r->is_there = true;
        if (r->notes && n < text.len)
            rc = odd(r, LX_EFORMAT, "the text of the %.4s chunk at byte %zu is read to its NUL only",
                     (const char *)type, at);
        if (r->notes && !is_sound)
            odd(r, LX_EFORMAT, "the iTXt chunk at byte %zu is not UTF-8 throughout: what is not is "
                "shown as \xEF\xBF\xBD", at);
    }
    lx_str_release(&text);
    return rc;
}

static int read_text_chunk(reading *r, const unsigned char *type, span s, size_t at)
{
    enum { LONGEST = 79 }; /* of a keyword */
    const unsigned char *nul = s.n ? memchr(s.data, 0, s.n) : NULL;
    const size_t n = nul ? (size_t)(nul - s.data) : s.n;

    if (n == 10 && nul && memcmp(s.data, "parameters", 10) == 0)
        return take_settings(r, type, (span){nul + 1, s.n - n - 1}, at);
    if (r->notes && (!n || n > LONGEST || !nul))
        return odd(r, LX_EFORMAT, "the %.4s chunk at byte %zu has %s: not read", (const char *)type,
                   at, !n ? "no keyword" : n > LONGEST ? "a keyword of more than 79 bytes"
                                                       : "a keyword without its end");
    return LX_OK;
}

static int read_png(reading *r)
{
    const span file = r->file;
    size_t at = 8;
    int rc = LX_OK;

    while (rc == LX_OK && file.n - at >= 12 && (r->notes || !*r->is_there)) {
        const unsigned char *type = file.data + at + 4;
        const size_t n = u32_big(file.data + at);

        if (n > file.n - at - 12)
            return lx_fail(r->err, LX_EFORMAT,
                           "a chunk of the PNG at byte %zu ends after the file", at);
        if (memcmp(type, "IEND", 4) == 0)
            return LX_OK;
        if (memcmp(type, "tEXt", 4) == 0 || memcmp(type, "zTXt", 4) == 0 ||
            memcmp(type, "iTXt", 4) == 0)
            rc = read_text_chunk(r, type, (span){file.data + at + 8, n}, at);
        at += n + 12;
    }
    return rc;
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

/* To the first NUL. */
static void put_utf16(lx_str *out, span s, bool is_big)
{
    size_t n = 0;

    while (n + 1 < s.n && (s.data[n] || s.data[n + 1]))
        n += 2;
    lx_str_put_utf16(out, s.data, n, is_big);
}

static int read_exif(reading *r, span s)
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
        return odd(r, LX_ELIMIT,
                   "the EXIF comment of byte %zu is not read: it has %zu bytes, the most is %d",
                   (size_t)(t.s.data + entry - r->file.data), n, LX_PICTURE_TEXT_MAX);
    if (at > t.s.n || n > t.s.n - at)
        return odd(r, LX_EFORMAT,
                   "the EXIF comment of byte %zu is not read: it ends after its block",
                   (size_t)(t.s.data + entry - r->file.data));
    const span text = {t.s.data + at + CODE, n - CODE};
    *r->is_there = true;
    if (memcmp(t.s.data + at, "UNICODE", 7) == 0)
        put_utf16(r->out, text, looks_big_endian(text, t.is_big));
    else
        put_utf8(r->out, text);
    return LX_OK;
}

static int read_jpeg(reading *r)
{
    const span file = r->file;

    for (size_t at = 2; at + 4 <= file.n && !*r->is_there;) {
        const unsigned char *p = file.data + at;
        size_t n = (size_t)p[2] << 8 | p[3];
        int rc;

        if (p[0] != 0xFF || p[1] == 0xDA || p[1] == 0xD9)
            return LX_OK;
        if (n < 2 || n > file.n - at - 2)
            return lx_fail(r->err, LX_EFORMAT,
                           "a segment of the JPEG at byte %zu ends after the file", at);
        if (p[1] == 0xE1 && n > 8 && memcmp(p + 4, "Exif\0\0", 6) == 0 &&
            (rc = read_exif(r, (span){p + 4, n - 2})) < 0)
            return rc;
        at += n + 2;
    }
    return LX_OK;
}

static int read_webp(reading *r)
{
    const span file = r->file;


    for (size_t at = 12; at + 8 <= file.n;) {
        const size_t n = u32_little(file.data + at + 4);

        if (n > file.n - at - 8)
            return lx_fail(r->err, LX_EFORMAT,
                           "a chunk of the WebP at byte %zu ends after the file", at);
        if (memcmp(file.data + at, "EXIF", 4) == 0)
            return read_exif(r, (span){file.data + at + 8, n});
        at += 8 + n + (n & 1);
    }
    return LX_OK;
}

/* ---- the whole -------------------------------------------------------------------- */

static int parse(lx_str *out, bool *is_there, lx_str *notes, const unsigned char *bytes, size_t n,
                 lx_error *err)
{
    reading r = {.out = out, .is_there = is_there, .notes = notes, .file = {bytes, n}, .err = err};
    int rc;

    *is_there = false;
    if (n >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
        rc = read_png(&r);
    else if (n >= 3 && memcmp(bytes, "\xFF\xD8\xFF", 3) == 0)
        rc = read_jpeg(&r);
    else if (n >= 12 && memcmp(bytes, "RIFF", 4) == 0 &&
             memcmp(bytes + 8, "WEBP", 4) == 0)
        rc = read_webp(&r);
    else
        return lx_fail(err, LX_EFORMAT, "not a PNG, JPEG or WebP picture");
    if (rc == LX_OK && r.n_notes > LX_PICTURE_NOTES_MAX)
        lx_str_printf(notes, "%zu more texts are not read\n", r.n_notes - LX_PICTURE_NOTES_MAX);
    if (rc == LX_OK && notes)
        rc = lx_str_check(notes, err);
    return rc < 0 ? rc : lx_str_check(out, err);
}

int lx_picture_text_parse(lx_str *out, bool *is_there, const unsigned char *bytes,
                          size_t n, lx_error *err)
{
    return parse(out, is_there, NULL, bytes, n, err);
}

int lx_picture_text_look(lx_str *out, bool *is_there, lx_str *notes, const char *path,
                         lx_error *err)
{
    lx_mapping map;
    int rc = lx_file_map(&map, path, err);

    if (rc < 0)
        return rc;
    if ((rc = parse(out, is_there, notes, map.data, map.size, err)) < 0)
        lx_within(err, "%s", path);
    lx_file_unmap(&map);
    return rc;
}

int lx_picture_text_read(lx_str *out, bool *is_there, const char *path, lx_error *err)
{
    return lx_picture_text_look(out, is_there, NULL, path, err);
}
