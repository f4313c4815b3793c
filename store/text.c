/* Files that are settings, a console or a log: texts, whatever their encoding, and scrubbed before they are kept. */
#include <string.h>

#include "src/base/scrub.h"
#include "store/internal.h"

bool store__is_text_role(const char *role)
{
    static const char *const roles[] = {"config", "console", "log"};

    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0)
            return true;
    return false;
}

/* ---- UTF-16, as a Windows shell writes what is sent to a file ----------------------- */

static uint32_t unit_at(const unsigned char *p, bool is_big)
{
    return is_big ? (uint32_t)(p[0] << 8 | p[1]) : (uint32_t)(p[1] << 8 | p[0]);
}

/* Halves of nothing become U+FFFD, an odd byte at the end too. */
static void put_utf16(lx_str *out, const unsigned char *p, size_t n, bool is_big)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        uint32_t c = unit_at(p + i, is_big);
        if (c >= 0xD800 && c < 0xE000) {
            uint32_t low = c < 0xDC00 && i + 3 < n ? unit_at(p + i + 2, is_big) : 0;
            bool is_pair = low >= 0xDC00 && low < 0xE000;
            c = is_pair ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
            i += is_pair ? 2 : 0;
        }
        lx_str_put_utf8(out, c);
    }
    if (n % 2)
        lx_str_put_utf8(out, 0xFFFD);
}

static bool has_mark(const unsigned char *p, size_t n)
{
    return n >= 2 && ((p[0] == 0xFF && p[1] == 0xFE) || (p[0] == 0xFE && p[1] == 0xFF));
}

/* ASCII whose characters stand apart by zeros, where no secret would be recognised. */
static bool has_spaced_letters(const char *p, size_t n)
{
    enum { ENOUGH = 8 };
    size_t run = 0;

    for (size_t i = 1; i < n && run < 2 * ENOUGH; i++)
        run = !p[i] != !p[i - 1] ? run + 1 : 0;
    return run >= 2 * ENOUGH;
}

/* ---- any ---------------------------------------------------------------------------- */

int store__clean_text(lx_str *out, const char *role, const char *text, size_t n, lx_error *err)
{
    const unsigned char *bytes = (const unsigned char *)text;
    const char *zero = n ? memchr(text, '\0', n) : NULL;
    lx_str decoded = LX_STR_INIT;
    int rc;

    if (zero && has_mark(bytes, n)) {
        put_utf16(&decoded, bytes + 2, n - 2, bytes[0] == 0xFE);
        text = lx_str_text(&decoded);
        n = decoded.len;
        zero = n ? memchr(text, '\0', n) : NULL;
    }
    /* A few zeros, as a machine that went down leaves them at a log's end, hide nothing. */
    if ((rc = lx_str_check(&decoded, err)) == LX_OK && zero &&
        (lx_utf8_check(text, n) < n || has_spaced_letters(text, n)))
        rc = lx_fail(err, LX_EFORMAT,
                     "byte %zu is zero: no text that could be scrubbed, as a file of role %s is; make it "
                     "UTF-8, or give it another role (file) and it is kept as it is",
                     (size_t)(zero - text), role);
    if (rc == LX_OK) {
        lx_scrub_text(out, text, n);
        rc = lx_str_check(out, err);
    }
    lx_str_release(&decoded);
    return rc;
}
