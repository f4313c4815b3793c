#include "src/data/mend.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/data/caption_file.h"
#include "src/format/png.h"
#include "src/image/resize.h"

/* ---- captions ----------------------------------------------------------------------------- */

/* iconv's name for what lx_caption_guess_encoding says; NULL: that is not sure enough. */
static const char *iconv_name(const char *guess)
{
    static const char *const names[][2] = {
        {"Shift-JIS", "CP932"}, /* Shift-JIS with what Windows adds to it */
        {"UTF-16", "UTF-16"},
        {"UTF-32", "UTF-32"},
        {"Latin-1 (Windows-1252)", "CP1252"},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i][0], guess) == 0)
            return names[i][1];
    return NULL;
}

/* A letter that a mark may follow (CP1258, TCVN) is kept back until what comes next: here nothing. */
static void flush(lx_str *out, iconv_t cd)
{
    char part[64], *to = part;
    size_t room = sizeof part;

    iconv(cd, NULL, NULL, &to, &room);
    lx_str_append(out, part, sizeof part - room);
}

static int convert(lx_str *out, iconv_t cd, const char *bytes, size_t n, lx_error *err)
{
    char *in = (char *)(uintptr_t)bytes, part[4096];
    size_t left = n;

    while (left) {
        char *to = part;
        size_t room = sizeof part;
        size_t rc = iconv(cd, &in, &left, &to, &room);
        lx_str_append(out, part, sizeof part - room);
        if (rc == (size_t)-1 && errno != E2BIG)
            return lx_fail(err, LX_EFORMAT, "the bytes at offset %zu are no text of it",
                           n - left);
    }
    flush(out, cd);
    return lx_str_check(out, err);
}

static int recode(lx_str *out, const char *encoding, const char *bytes, size_t n,
                  lx_error *err)
{
    iconv_t cd = iconv_open("UTF-8", encoding);
    int rc;

    if (cd == (iconv_t)-1)
        return lx_fail(err, LX_EUNSUPPORTED, "this machine's iconv knows no %s",
                       encoding);
    rc = convert(out, cd, bytes, n, err);
    iconv_close(cd);
    if (rc == LX_EFORMAT)
        lx_within(err, "%s", encoding);
    return rc;
}

/* No mark, and LF only. */
static void tidy(lx_str *out, const char *bytes, size_t n)
{
    size_t i = n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;

    for (; i < n; i++) {
        if (bytes[i] == '\r' && i + 1 < n && bytes[i + 1] == '\n')
            continue;
        lx_str_putc(out, bytes[i] == '\r' ? '\n' : bytes[i]);
    }
}

int lx_mend_caption(lx_str *out, const char **was, const char *bytes, size_t n,
                    const char *encoding, lx_error *err)
{
    const bool is_sound = lx_utf8_check(bytes, n) == n && !(n && memchr(bytes, 0, n));
    lx_str text = LX_STR_INIT;
    int rc = LX_OK;

    if (!encoding && !is_sound) {
        const char *guess = lx_caption_guess_encoding(bytes, n);
        if (!(encoding = iconv_name(guess)))
            return lx_fail(
                err, LX_EUNSUPPORTED,
                "it looks like %s, which is not sure enough: --encoding NAME says it",
                guess);
    }
    if (was)
        *was = encoding ? encoding : "UTF-8";
    if (encoding)
        rc = recode(&text, encoding, bytes, n, err);
    else
        lx_str_append(&text, bytes, n);
    lx_str_clear(out);
    if (rc == LX_OK) {
        tidy(out, lx_str_text(&text), text.len);
        out->failed |= text.failed;
        rc = lx_str_check(out, err);
    }
    lx_str_release(&text);
    return rc;
}

/* ---- images ------------------------------------------------------------------------------- */

/* Opaque pixels in three channels, in place. */
static bool drop_alpha(lx_pixels *p)
{
    const size_t n = (size_t)p->width * (size_t)p->height;

    if (p->channels != 4)
        return true;
    for (size_t i = 0; i < n; i++)
        if (p->data[4 * i + 3] != 255)
            return false;
    for (size_t i = 0; i < n; i++)
        memmove(p->data + 3 * i, p->data + 4 * i, 3);
    p->channels = 3;
    return true;
}

int lx_mend_image(lx_str *out, lx_decoder *decoder, const char *path, lx_error *err)
{
    const lx_decode_options keep = {.alpha = LX_ALPHA_KEEP};
    lx_image_header header;
    lx_pixels pixels = {0};
    int rc;

    lx_str_clear(out);
    if ((rc = lx_decode(&pixels, &header, decoder, path, &keep, err)) < 0)
        return rc;
    if (!drop_alpha(&pixels))
        rc = lx_fail(err, LX_EUNSUPPORTED, "it is transparent in part");
    else if ((rc = lx_turn(&pixels, header.orientation, err)) == LX_OK)
        rc =
            lx_png_encode(out, pixels.data, pixels.width, pixels.height, NULL, NULL, err);
    lx_pixels_release(&pixels);
    return rc;
}
