/*
 * base/sandbox - a process gives up, for good, what it will not need
 *
 * Files of strangers are parsed in this process. Should a parser have a hole after all, the kernel
 * still refuses what the command has no business with. Two parts, each of which holds alone:
 *
 *     Landlock   files: only below the paths that were named, and only in the way that was named.
 *                From its ABI 4 on no TCP, from 6 on no signals to processes outside.
 *     seccomp    calls: those of an ordinary computing process pass; sockets, exec, ptrace, other
 *                namespaces, mounts, keys, bpf, io_uring, changes of modes and owners by path get
 *                EPERM. Calls that are newer than this list get ENOSYS, as from an old kernel, and
 *                libraries then take their older way.
 *
 * What was open before stays open: standard streams, a pipe. stat, readlink and the names of the
 * environment are not hidden. A folder that may be written to may be written to the bottom.
 *
 * Root gives up its privileges but those over files. Children inherit everything.
 *
 * What the kernel cannot do is left out and told (lx_sandbox_state): nothing fails for it. Neither
 * part needs a privilege or a library: libseccomp would build the same program, at every start, from a
 * list as long as the one here.
 *
 * Sources: Documentation/userspace-api/landlock.rst and seccomp_filter.rst of Linux 6.12.
 */
#ifndef LX_BASE_SANDBOX_H
#define LX_BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"

enum {
    LX_SANDBOX_READ = 1,  /* a file, or all below a folder */
    LX_SANDBOX_WRITE = 2, /* also make, replace and remove files below a folder */
    LX_SANDBOX_EXECUTE = 4,
    LX_SANDBOX_RMDIR = 8 /* remove empty folders below a folder */
};

typedef struct lx_sandbox_rule {
    const char *path; /* what is not there, or cannot be looked at, is left out */
    int rights;
} lx_sandbox_rule;

typedef struct lx_sandbox {
    const lx_sandbox_rule *rules;
    size_t n_rules;
    bool has_children; /* fork, exec, a pair of sockets, signals to what was started */
    bool
        has_no_files; /* seccomp refuses to open any, so that it holds without Landlock too */
} lx_sandbox;

/* What holds after entering. */
typedef struct lx_sandbox_state {
    int landlock_abi; /* 0: not there, and why: landlock_error, an errno */
    int landlock_error;
    bool has_seccomp;
    int seccomp_error;
    const char *off; /* why it was not tried at all; NULL = it was */
} lx_sandbox_state;

/*
 * Call it before any thread is started: Landlock binds the calling thread and those it starts (with
 * several threads it is left out, errno EBUSY). May be called again, which narrows what there is.
 * LX_OK whatever the kernel can do; LX_ENOMEM.
 */
int lx_sandbox_enter(lx_sandbox_state *out, const lx_sandbox *sandbox, lx_error *err);

/* "Landlock ABI 3, seccomp"; "seccomp; no Landlock: Function not implemented". */
void lx_sandbox_describe(char *out, size_t n, const lx_sandbox_state *state);

/* For tests: a kernel of that ABI (0: without Landlock; -1: as it is), with or without seccomp. */
void lx_sandbox_pretend(int landlock_abi, bool has_seccomp);

#endif
