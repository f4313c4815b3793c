/*
 * The seccomp filter, as a program for the kernel's classic BPF machine.
 *
 * It goes through a list: the call is one that passes, or one whose argument decides, or it is refused.
 * The kernel works out which calls pass whatever their arguments are and no longer runs the program
 * for them (since 5.11), so its length costs nothing.
 */
#include "src/base/sandbox_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_PROCESSOR AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_PROCESSOR AUDIT_ARCH_AARCH64
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define IS_SANITIZED true
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED false
#endif

#ifdef THIS_PROCESSOR

/* Calls up to this one are known here; later ones do not exist for those inside. (set_mempolicy_home_node, 5.17) */
enum { LAST_KNOWN = 450, CLONE3 = 435 };
enum { NEW_NAMESPACES = 0x7E020000 };

/* Computing, memory, threads, time, and what is already open. */
static const int computing[] = {
    __NR_read,
    __NR_write,
    __NR_readv,
    __NR_writev,
    __NR_pread64,
    __NR_pwrite64,
    __NR_preadv,
    __NR_pwritev,
    __NR_close,
    __NR_close_range,
    __NR_lseek,
    __NR_fstat,
    __NR_ftruncate,
    __NR_fallocate,
    __NR_fsync,
    __NR_fdatasync,
    __NR_sync_file_range,
    __NR_fadvise64,
    __NR_readahead,
    __NR_copy_file_range,
    __NR_sendfile,
    __NR_splice,
    __NR_fcntl,
    __NR_flock,
    __NR_dup,
    __NR_dup3,
    __NR_pipe2,
    __NR_eventfd2,
    __NR_memfd_create,
    __NR_ppoll,
    __NR_pselect6,
    __NR_mmap,
    __NR_munmap,
    __NR_mprotect,
    __NR_mremap,
    __NR_madvise,
    __NR_msync,
    __NR_mincore,
    __NR_mlock,
    __NR_munlock,
    __NR_brk,
    __NR_membarrier,
    __NR_futex,
    __NR_set_robust_list,
    __NR_get_robust_list,
    __NR_set_tid_address,
    __NR_sched_yield,
    __NR_sched_getaffinity,
    __NR_sched_setaffinity,
    __NR_sched_getparam,
    __NR_sched_getscheduler,
    __NR_getcpu,
    __NR_rt_sigaction,
    __NR_rt_sigprocmask,
    __NR_rt_sigreturn,
    __NR_rt_sigsuspend,
    __NR_rt_sigtimedwait,
    __NR_rt_sigpending,
    __NR_sigaltstack,
    __NR_restart_syscall,
    __NR_clock_gettime,
    __NR_clock_getres,
    __NR_clock_nanosleep,
    __NR_nanosleep,
    __NR_gettimeofday,
    __NR_times,
    __NR_getrandom,
    __NR_getpid,
    __NR_gettid,
    __NR_getppid,
    __NR_getpgid,
    __NR_getsid,
    __NR_getuid,
    __NR_geteuid,
    __NR_getgid,
    __NR_getegid,
    __NR_getresuid,
    __NR_getresgid,
    __NR_getgroups,
    __NR_getrusage,
    __NR_getpriority,
    __NR_sysinfo,
    __NR_uname,
    __NR_exit,
    __NR_exit_group,
    __NR_wait4,
    __NR_waitid,
    __NR_sendmsg,
    __NR_recvmsg,
    __NR_sendto,
    __NR_recvfrom,
    __NR_shutdown,
    __NR_getsockopt,
    __NR_seccomp,
    444,
    445,
    446, /* Landlock: a child may narrow itself further */
#ifdef __NR_rseq
    __NR_rseq,
#endif
#ifdef __x86_64__
    __NR_arch_prctl,
    __NR_dup2,
    __NR_pipe,
    __NR_poll,
    __NR_select,
    __NR_time,
    __NR_getpgrp,
    __NR_pause,
#endif
};

/* Names of files; which ones is Landlock's to judge. */
static const int files[] = {
    __NR_newfstatat,
    __NR_statx,
    __NR_faccessat,
    __NR_faccessat2,
    __NR_readlinkat,
    __NR_getdents64,
    __NR_getcwd,
    __NR_chdir,
    __NR_fchdir,
    __NR_renameat,
    __NR_renameat2,
    __NR_linkat,
    __NR_unlinkat,
    __NR_mkdirat,
    __NR_statfs,
    __NR_fstatfs,
    __NR_umask,
    /* of what is open, which SQLite does to a journal to make it as its database is */
    __NR_fchmod,
    __NR_fchown,
#ifdef __x86_64__
    __NR_stat,
    __NR_lstat,
    __NR_access,
    __NR_readlink,
    __NR_rename,
    __NR_link,
    __NR_unlink,
    __NR_mkdir,
    __NR_rmdir,
#endif
};

static const int children[] = {
    __NR_execve,
    __NR_kill,
#ifdef __x86_64__
    __NR_fork,
    __NR_vfork,
#endif
};

/* The leak checker stops the other threads by a process that traces them. */
static const int sanitizers[] = {__NR_ptrace, __NR_personality, __NR_process_vm_readv,
                                 __NR_kill,
#ifdef __NR_getdents
                                 __NR_getdents,
#endif
};

typedef struct program {
    struct sock_filter code[600];
    unsigned n;
} program;

static void put(program *p, uint16_t code, uint32_t k, unsigned if_true,
                unsigned if_false)
{
    if (p->n < sizeof p->code / sizeof *p->code)
        p->code[p->n] =
            (struct sock_filter){code, (uint8_t)if_true, (uint8_t)if_false, k};
    p->n++;
}

static void answer(program *p, uint32_t action)
{
    put(p, BPF_RET | BPF_K, action, 0, 0);
}

static uint32_t refusal(int error)
{
    return SECCOMP_RET_ERRNO | (uint32_t)error;
}

static void load(program *p, size_t offset)
{
    put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* The lower half of an argument: both processors have the lowest byte first. */
static void load_argument(program *p, unsigned i)
{
    load(p, offsetof(struct seccomp_data, args) + 8 * i);
}

static void allow_all(program *p, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
        answer(p, SECCOMP_RET_ALLOW);
    }
}
#define ALLOW_ALL(p, calls) allow_all(p, calls, sizeof(calls) / sizeof *(calls))

/* The call passes when (argument & mask) == value, or when it is not, and gets EPERM else. */
static void allow_masked(program *p, int call, unsigned i, uint32_t mask, uint32_t value,
                         bool is_equal)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 5);
    load_argument(p, i);
    put(p, BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, value, is_equal ? 1 : 0, is_equal ? 0 : 1);
    answer(p, refusal(EPERM));
    answer(p, SECCOMP_RET_ALLOW);
}

/* The call passes with one of these values. */
static void allow_values(program *p, int call, unsigned i, const uint32_t *values,
                         unsigned n)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 2 * n + 2);
    load_argument(p, i);
    for (unsigned v = 0; v < n; v++) {
        put(p, BPF_JMP | BPF_JEQ | BPF_K, values[v], 0, 1);
        answer(p, SECCOMP_RET_ALLOW);
    }
    answer(p, refusal(EPERM));
}

static void decide_by_argument(program *p, const lx_sandbox *sandbox)
{
    /* TIOCSTI and others would type into the terminal that started us. */
    static const uint32_t requests[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIOCLEX, FIONCLEX};
    static const uint32_t settings[] = {
        PR_SET_NAME,         PR_GET_NAME,    PR_SET_PDEATHSIG, PR_GET_DUMPABLE,
        PR_SET_NO_NEW_PRIVS, PR_GET_SECCOMP, 0x53564d41 /* PR_SET_VMA */};
    const bool has_children = sandbox->has_children || IS_SANITIZED;

    allow_values(p, __NR_ioctl, 1, requests, sizeof requests / sizeof *requests);
    if (IS_SANITIZED)
        allow_all(p, (const int[]){__NR_prctl}, 1);
    allow_values(p, __NR_prctl, 0, settings, sizeof settings / sizeof *settings);
    allow_masked(p, __NR_prlimit64, 0, 0xFFFFFFFF, 0, true); /* of this process only */
    allow_masked(p, __NR_clone, 0, NEW_NAMESPACES | (has_children ? 0 : CLONE_THREAD),
                 has_children ? 0 : CLONE_THREAD, true);
    if (has_children)
        allow_masked(p, __NR_tgkill, 0, 0, 0, true);
    else /* raise and abort */
        allow_masked(p, __NR_tgkill, 0, 0xFFFFFFFF, (uint32_t)getpid(), true);
    if (has_children)
        allow_masked(p, __NR_socketpair, 0, 0xFFFFFFFF, AF_UNIX, true);
    if (sandbox->has_no_files)
        return;
    /* Landlock before its ABI 3 would let a file that may be read be emptied so. */
    allow_masked(p, __NR_openat, 2, O_TRUNC | O_ACCMODE, O_TRUNC, false);
#ifdef __x86_64__
    allow_masked(p, __NR_open, 1, O_TRUNC | O_ACCMODE, O_TRUNC, false);
#endif
}

static void write_program(program *p, const lx_sandbox *sandbox)
{
    load(p, offsetof(struct seccomp_data, arch));
    put(p, BPF_JMP | BPF_JEQ | BPF_K, THIS_PROCESSOR, 1, 0);
    answer(p,
           SECCOMP_RET_KILL_PROCESS); /* calls of a 32-bit program have other numbers */
    load(p, offsetof(struct seccomp_data, nr));
    ALLOW_ALL(p, computing);
    if (!sandbox->has_no_files)
        ALLOW_ALL(p, files);
    if (sandbox
            ->has_no_files) /* fstat is this call with an empty name in newer C libraries */
        allow_masked(p, __NR_newfstatat, 3, 0x1000 /* AT_EMPTY_PATH */, 0x1000, true);
    if (sandbox->has_children)
        ALLOW_ALL(p, children);
    if (IS_SANITIZED)
        ALLOW_ALL(p, sanitizers);
    if (IS_SANITIZED && sandbox->has_no_files)
        ALLOW_ALL(p, files);
    decide_by_argument(p, sandbox);
    /* Its flags are in memory, where a filter cannot look; the C library then calls clone. */
    put(p, BPF_JMP | BPF_JEQ | BPF_K, CLONE3, 0, 1);
    answer(p, refusal(ENOSYS));
    put(p, BPF_JMP | BPF_JGT | BPF_K, LAST_KNOWN, 0, 1);
    answer(p, refusal(ENOSYS));
    answer(p, refusal(EPERM));
}

int lx_sandbox__filter_calls(const lx_sandbox *sandbox)
{
    program p = {.n = 0};
    struct sock_fprog fprog;

    write_program(&p, sandbox);
    if (p.n > sizeof p.code / sizeof *p.code)
        return E2BIG;
    fprog = (struct sock_fprog){(unsigned short)p.n, p.code};
    /* Above 0: a thread that has a filter of its own, so that nothing was done. */
    const long status =
        syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &fprog);

    return status == 0 ? 0 : status > 0 ? EBUSY : errno;
}

#else

int lx_sandbox__filter_calls(const lx_sandbox *sandbox)
{
    return ENOSYS; /* the numbers of this processor's calls are not listed here */
}

#endif
