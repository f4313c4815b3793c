#include "src/base/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/base/sandbox_calls.h"

/* By number: the headers of the machine that builds may know fewer of them than the kernel that runs.
 * (The three calls have the same number on every processor.) */
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446 };
enum { ASK_VERSION = 1, PATH_BENEATH = 1 };

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_FIRST_ABI = (1 << 13) - 1,
    FS_REFER = 1 << 13,     /* ABI 2: links and renames from one folder to another */
    FS_TRUNCATE = 1 << 14,  /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
    FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE
};

typedef struct ruleset_attr {
    uint64_t handled_fs;
    uint64_t handled_net; /* ABI 4: bind and connect of TCP */
    uint64_t scoped;      /* ABI 6: abstract sockets, signals */
} ruleset_attr;

typedef struct path_attr {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed)) path_attr;

static int pretended_abi = -1;
static bool pretends_no_seccomp;

void lx_sandbox_pretend(int landlock_abi, bool has_seccomp)
{
    pretended_abi = landlock_abi;
    pretends_no_seccomp = !has_seccomp;
}

/* 0, and errno, where there is none. */
static int find_abi(void)
{
    long abi = syscall(CREATE_RULESET, NULL, 0, ASK_VERSION);

    if (pretended_abi >= 0 && abi > pretended_abi)
        abi = pretended_abi;
    if (abi > 0)
        return (int)abi;
    errno = abi == 0 ? ENOSYS : errno;
    return 0;
}

static int make_ruleset(int abi, uint64_t *handled)
{
    ruleset_attr attr = {.handled_fs = FS_FIRST_ABI};
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;

    if (abi >= 2)
        attr.handled_fs |= FS_REFER;
    if (abi >= 3)
        attr.handled_fs |= FS_TRUNCATE;
    if (abi >= 4)
        attr.handled_net = 3;
    if (abi >= 5)
        attr.handled_fs |= FS_IOCTL_DEV;
    if (abi >= 6)
        attr.scoped = 3;
    *handled = attr.handled_fs;
    return (int)syscall(CREATE_RULESET, &attr, size, 0);
}

static uint64_t bits_of(int rights)
{
    uint64_t bits = 0;

    if (rights & LX_SANDBOX_READ)
        bits |= FS_READ_FILE | FS_READ_DIR;
    if (rights & LX_SANDBOX_WRITE)
        bits |= FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR |
                FS_MAKE_REG | FS_REFER | FS_TRUNCATE;
    if (rights & LX_SANDBOX_EXECUTE)
        bits |= FS_EXECUTE;
    if (rights & LX_SANDBOX_RMDIR)
        bits |= FS_REMOVE_DIR;
    return bits;
}

/* What cannot be opened is not allowed: the command will say so when it tries. */
static void add_rule(int ruleset, uint64_t handled, const lx_sandbox_rule *rule)
{
    int fd = open(rule->path, O_PATH | O_CLOEXEC);
    path_attr attr = {.allowed = bits_of(rule->rights) & handled, .fd = fd};
    struct stat st;

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0) {
        if (!S_ISDIR(st.st_mode))
            attr.allowed &= FS_OF_FILES;
        syscall(ADD_RULE, ruleset, PATH_BENEATH, &attr, 0);
    }
    close(fd);
}

static bool has_threads(void)
{
    struct stat st;

    /* Links of /proc/self/task: itself, its parent, one a thread. */
    return stat("/proc/self/task", &st) == 0 && st.st_nlink > 3;
}

/* The ABI that holds now; 0 and errno. */
static int restrict_files(const lx_sandbox *sandbox)
{
    int abi = find_abi(), ruleset, saved = 0;
    uint64_t handled;

    if (abi && has_threads()) {
        errno = EBUSY;
        abi = 0;
    }
    if (!abi || (ruleset = make_ruleset(abi, &handled)) < 0)
        return 0;
    for (size_t i = 0; i < sandbox->n_rules; i++)
        add_rule(ruleset, handled, &sandbox->rules[i]);
    if (syscall(RESTRICT_SELF, ruleset, 0) < 0) {
        saved = errno;
        abi = 0;
    }
    close(ruleset);
    errno = saved;
    return abi;
}

/* Root keeps what it needs to read and write files of others, as before, and nothing else. */
static void drop_capabilities(void)
{
    const uint32_t kept = 1U << CAP_CHOWN | 1U << CAP_DAC_OVERRIDE |
                          1U << CAP_DAC_READ_SEARCH | 1U << CAP_FOWNER;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &header, sets) < 0)
        return;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        sets[i].effective &= i == 0 ? kept : 0;
        sets[i].permitted &= i == 0 ? kept : 0;
        sets[i].inheritable = 0;
    }
    syscall(SYS_capset, &header, sets);
}

/* A program that is measured writes its counts where it was built, at its end. */
extern void __gcov_init(void *) __attribute__((weak));

static const char *why_off(void)
{
    const char *variable = getenv("LX_SANDBOX");

    if (variable && (strcmp(variable, "off") == 0 || strcmp(variable, "0") == 0))
        return "LX_SANDBOX";
    return __gcov_init ? "built to measure coverage" : NULL;
}

int lx_sandbox_enter(lx_sandbox_state *out, const lx_sandbox *sandbox, lx_error *err)
{
    *out = (lx_sandbox_state){.off = why_off()};
    if (out->off)
        return LX_OK;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        out->landlock_error = out->seccomp_error = errno;
        return LX_OK;
    }
    drop_capabilities();
    if (!(out->landlock_abi = restrict_files(sandbox)))
        out->landlock_error = errno;
    out->seccomp_error = pretends_no_seccomp ? ENOSYS : lx_sandbox__filter_calls(sandbox);
    out->has_seccomp = out->seccomp_error == 0;
    return out->landlock_error == ENOMEM || out->seccomp_error == ENOMEM ? lx_oom(err)
                                                                         : LX_OK;
}

void lx_sandbox_describe(char *out, size_t n, const lx_sandbox_state *state)
{
    char missing[160] = "", holds[64] = "none";

    if (state->off) {
        snprintf(out, n, "off (%s)", state->off);
        return;
    }
    if (state->landlock_abi)
        snprintf(holds, sizeof holds, "Landlock ABI %d%s", state->landlock_abi,
                 state->has_seccomp ? ", seccomp" : "");
    else if (state->has_seccomp)
        snprintf(holds, sizeof holds, "seccomp");
    if (!state->landlock_abi)
        snprintf(missing, sizeof missing, "; no Landlock: %s",
                 strerror(state->landlock_error));
    if (!state->has_seccomp)
        snprintf(missing + strlen(missing), sizeof missing - strlen(missing),
                 "; no seccomp: %s", strerror(state->seccomp_error));
    snprintf(out, n, "%s%s", holds, missing);
}
