/*
 * base/error - what went wrong, as a value
 *
 * Functions that can fail return 0 or a negative LX_E code and take the caller's lx_error last.
 * The text says what, where and what to do; whoever knows the file or the key puts it in front
 * with lx_within. The buffer is fixed, so an error can be told when memory has run out. Passing
 * err = NULL is allowed everywhere: the code is still returned.
 */
#ifndef LX_BASE_ERROR_H
#define LX_BASE_ERROR_H

#include <stdarg.h>

enum {
    LX_OK = 0,
    LX_ECHECK = -1,       /* a check found something; exit 1 */
    LX_EUSAGE = -2,       /* flags or arguments that make no sense; exit 2 */
    LX_EFORMAT = -3,      /* bytes of a file are not what they must be; exit 65 */
    LX_EMISMATCH = -4,    /* two inputs do not fit together; exit 65 */
    LX_ELIMIT = -5,       /* larger than a stated limit; exit 65 */
    LX_EUNSUPPORTED = -6, /* sound, but lx does not do it; exit 65 */
    LX_ENOTFOUND = -7,    /* no such file, run or key; exit 66 */
    LX_EPLACE = -8,       /* a file system or kernel that cannot hold the promise; exit 69 */
    LX_ENOMEM = -9,       /* out of memory; exit 70 */
    LX_EINTERNAL = -10,   /* our bug; exit 70 */
    LX_EEXISTS = -11,     /* would overwrite; exit 73 */
    LX_EIO = -12,         /* the system refused a read or a write; exit 74 */
    LX_EBUSY = -13,       /* someone else holds it, try again; exit 75 */
    LX_EPERM = -14,       /* no permission; exit 77 */
    LX_ECONFIG = -15,     /* store of a newer version, bad configuration; exit 78 */
    LX_EINTERRUPTED = -16 /* asked to stop; exit 130 */
};

typedef struct lx_error {
    int code;
    char text[1536];
} lx_error;

#define LX_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Sets code and text; returns code, so that `return lx_fail(...)` reads as it should. */
int lx_fail(lx_error *err, int code, const char *fmt, ...) LX_PRINTF(3, 4);

/* `why`, which was caught, becomes the caller's error unless rc is LX_OK; returns rc. */
int lx_fail_as(lx_error *err, int rc, const lx_error *why);

/* "context: " in front of the text already there. */
void lx_within(lx_error *err, const char *fmt, ...) LX_PRINTF(2, 3);

/* LX_ENOMEM with a text that needs no memory. */
int lx_oom(lx_error *err);

/*
 * From errno: ENOENT and ENOTDIR become LX_ENOTFOUND, EACCES and EPERM LX_EPERM, EEXIST
 * LX_EEXISTS, ENOMEM LX_ENOMEM, anything else LX_EIO. The text is "what: strerror".
 */
int lx_fail_errno(lx_error *err, int saved_errno, const char *fmt, ...) LX_PRINTF(3, 4);

/* What tools that read the sources (script/analyze) cannot see from here: these never return LX_OK. */
#ifdef LX_ANALYZE
#define lx_fail(err, code, ...) (lx_fail(err, code, __VA_ARGS__), (code))
#define lx_fail_errno(err, ...) (lx_fail_errno(err, __VA_ARGS__), LX_EIO)
#define lx_oom(err) (lx_oom(err), LX_ENOMEM)
#endif

/* The exit status of a code, as docs/exit-codes say (sysexits). 0 for LX_OK. */
int lx_exit_status(int code);

/* For our own bugs only; files, flags and devices are never our bugs. */
#define lx_assert(claim)                                                                 \
    ((claim) ? (void)0 : lx_assert_failed(#claim, __FILE__, __LINE__))
void lx_assert_failed(const char *claim, const char *file, int line)
    __attribute__((noreturn));

#endif
