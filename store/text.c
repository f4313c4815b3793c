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

/* The mark of UTF-16, as a Windows shell writes what is sent to a file. */
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

int store__clean_text(lx_str *out, const char *role, const char *text, size_t n, lx_error *err)
{
    const unsigned char *bytes = (const unsigned char *)text;
    const char *zero = n ? memchr(text, '\0', n) : NULL; /* text may be NULL then */
    lx_str decoded = LX_STR_INIT;
    int rc;

    if (zero && has_mark(bytes, n)) {
        lx_str_put_utf16(&decoded, bytes + 2, n - 2, bytes[0] == 0xFE);
        text = lx_str_text(&decoded);
        n = decoded.len;
        zero = memchr(text, '\0', n);
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
