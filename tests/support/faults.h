/*
 * support/faults - the n-th allocation or file call of a process fails
 *
 * faults_prepare once; faults_arm in the process that is to fail, best right before the code in
 * question. The count is kept in memory that forked processes share, so that whoever started one can
 * read how far it came, however it ended. A process that an armed one forks is not armed,
 * but for FAULT_GIT.
 *
 * What is an allocation: every call of malloc and its like by lx itself, SQLite, cJSON, zstd, libjpeg,
 * libyaml, and by libc and zlib on their behalf. Left out are libraries that end the process when memory
 * runs out and that lx therefore calls in children of its own or cannot do without: libgomp, GLib and
 * libvips, libgit2, OpenSSL's start, the dynamic loader. Under sanitizers that have malloc to themselves
 * (faults_find_leaks) it is every call of the project's allocator (src/base/alloc.h), SQLite's and
 * cJSON's included.
 *
 * What is a file call: those of the io table (src/base/io.h) and of SQLite's own files.
 */
#ifndef LX_TESTS_FAULTS_H
#define LX_TESTS_FAULTS_H

#include <stdbool.h>

typedef enum fault_kind {
    FAULT_NONE,
    FAULT_MEMORY, /* an allocation returns NULL */
    FAULT_IO,     /* a file call fails with EIO; of a write, half of it got there */
    FAULT_SPACE,  /* one that needs room fails with ENOSPC, after half of a write */
    FAULT_SHORT, /* a read or write does half of what it was asked to do, without an error */
    FAULT_GIT    /* a call of libgit2 fails (support/git_faults) */
} fault_kind;

/* Is a leak an error in this build? (AddressSanitizer, or -fsanitize=leak with LX_FINDS_LEAKS) */
bool faults_find_leaks(void);

/* Must be called before the first call of SQLite; aborts when it cannot. */
void faults_prepare(void);

/* The n-th from now fails, with `forever` all later ones too. n 0: only counted. With LX_FAULT_PLACE in the environment
 * its frames are written to standard error. */
void faults_arm(fault_kind kind, long n, bool forever);
void faults_disarm(void);
long faults_count(void); /* since faults_arm, whoever called it last */
/* For kinds of calls that stand elsewhere: counts one of them and says whether it is to fail. */
bool faults_fail_now(fault_kind kind);

/* Where the n-th call came from, as a hash of the innermost frames: of a process that was armed with
 * n 0. 0 past the end, and of what is not remembered (the first million is). */
unsigned long faults_place(long n);
/* The same by the frames of the program alone, at any depth: whatever a library does for one call of ours is
 * one place. */
unsigned long faults_own_place(long n);

#endif
