#include "src/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef lx_fail /* for analyzers these are macros */
#undef lx_fail_errno
#undef lx_oom

int lx_fail(lx_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
    }
    return code;
}

int lx_fail_as(lx_error *err, int rc, const lx_error *why)
{
    if (err && rc < 0)
        *err = *why;
    return rc;
}

void lx_within(lx_error *err, const char *fmt, ...)
{
    char front[sizeof err->text];
    size_t n, text;
    va_list args;
    int got;

    if (!err)
        return;
    va_start(args, fmt);
    got = vsnprintf(front, sizeof front - 3, fmt, args);
    va_end(args);
    if (got < 0)
        return;
    n = strlen(front);
    front[n++] = ':';
    front[n++] = ' ';
    text = strlen(err->text);
    if (text > sizeof err->text - 1 - n)
        text = sizeof err->text - 1 - n;
    memmove(err->text + n, err->text, text);
    memcpy(err->text, front, n);
    err->text[n + text] = '\0';
}

int lx_oom(lx_error *err)
{
    return lx_fail(err, LX_ENOMEM, "out of memory");
}

static int code_of_errno(int e)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return LX_ENOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return LX_EPERM;
    case EEXIST:
        return LX_EEXISTS;
    case ENOMEM:
        return LX_ENOMEM;
    default:
        return LX_EIO;
    }
}

int lx_fail_errno(lx_error *err, int saved_errno, const char *fmt, ...)
{
    int code = code_of_errno(saved_errno);
    if (err) {
        va_list args;
        size_t n;
        va_start(args, fmt);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        n = strlen(err->text);
        snprintf(err->text + n, sizeof err->text - n, ": %s", strerror(saved_errno));
    }
    return code;
}

int lx_exit_status(int code)
{
    switch (code) {
    case LX_OK:
        return 0;
    case LX_ECHECK:
        return 1;
    case LX_EUSAGE:
        return 2;
    case LX_EFORMAT:
    case LX_EMISMATCH:
    case LX_ELIMIT:
    case LX_EUNSUPPORTED:
        return 65;
    case LX_ENOTFOUND:
        return 66;
    case LX_EPLACE:
        return 69;
    case LX_EEXISTS:
        return 73;
    case LX_EIO:
        return 74;
    case LX_EBUSY:
        return 75;
    case LX_EPERM:
        return 77;
    case LX_ECONFIG:
        return 78;
    case LX_EINTERRUPTED:
        return 130;
    default:
        return 70;
    }
}

void lx_assert_failed(const char *claim, const char *file, int line)
{
    fprintf(stderr, "lx: internal error: %s is false at %s:%d\n", claim, file, line);
    abort();
}
