/*
 * lx debug sandbox: what a hole in a parser could still do, tried one by one from inside
 *
 *     lx debug sandbox FOLDER [--children|--worker] [--abi N] [--no_seccomp]
 *
 * In FOLDER are made in/file, out/ and secret/file. The process confines itself as a command does that reads in/ and
 * writes to out/ (--children: and decodes pictures; --worker: as the decoder itself does), then prints a line an
 * attempt: its name, and "done" or the errno that the kernel gave. --abi and --no_seccomp stand for older kernels.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cmd/bounds.h"
#include "cmd/debug.h"
#include "src/base/file.h"

/* ---- attempts: 0, or -1 with errno ------------------------------------------------------- */

static int open_and_close(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

static int read_input(void)
{
    return open_and_close("in/file", O_RDONLY);
}

static int write_input(void)
{
    return open_and_close("in/file", O_WRONLY);
}

static int empty_input(void)
{
    return open_and_close("in/file", O_RDONLY | O_TRUNC);
}

static int empty_input_by_name(void)
{
    return truncate("in/file", 0);
}

static int make_beside_input(void)
{
    return open_and_close("in/new", O_WRONLY | O_CREAT);
}

static int remove_input(void)
{
    return unlink("in/file");
}

static int move_input(void)
{
    return rename("in/file", "out/moved");
}

static int make_output(void)
{
    return open_and_close("out/new", O_WRONLY | O_CREAT | O_EXCL);
}

static int replace_output(void)
{
    return rename("out/new", "out/result");
}

static int make_folder_in_output(void)
{
    return mkdir("out/folder", 0700);
}

static int link_from_output(void)
{
    return symlink("../secret/file", "out/link");
}

static int hard_link_from_output(void)
{
    return link("secret/file", "out/hard_link");
}

static int make_pipe_in_output(void)
{
    return mkfifo("out/pipe", 0600);
}

static int read_secret(void)
{
    return open_and_close("secret/file", O_RDONLY);
}

static int list_secret(void)
{
    return open_and_close("secret", O_RDONLY | O_DIRECTORY);
}

static int write_secret(void)
{
    return open_and_close("secret/file", O_WRONLY);
}

static int make_in_secret(void)
{
    return open_and_close("secret/new", O_WRONLY | O_CREAT);
}

static int empty_secret_by_name(void)
{
    return truncate("secret/file", 0);
}

static int remove_secret(void)
{
    return unlink("secret/file");
}

static int change_mode(void)
{
    return chmod("secret/file", 0666);
}

static int change_owner(void)
{
    return chown("secret/file", getuid(), getgid());
}

static int change_times(void)
{
    return utimensat(AT_FDCWD, "secret/file", NULL, 0);
}

static int change_attribute(void)
{
    return setxattr("secret/file", "user.lx", "x", 1, 0);
}

static int open_by_handle(void)
{
    struct {
        struct file_handle head;
        unsigned char bytes[128];
    } handle = {.head.handle_bytes = 128};
    int mount_id;

    return name_to_handle_at(AT_FDCWD, "secret/file", &handle.head, &mount_id, 0);
}

static int read_parent_environment(void)
{
    char path[64], byte;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/environ", (int)getppid());
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return -1;
    n = read(fd, &byte, 1);
    close(fd);
    return n == 1 ? 0 : -1;
}

static int make_socket(int domain, int type)
{
    int fd = socket(domain, type | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

static int make_internet_socket(void)
{
    return make_socket(AF_INET, SOCK_STREAM);
}

static int make_datagram_socket(void)
{
    return make_socket(AF_INET6, SOCK_DGRAM);
}

static int make_local_socket(void)
{
    return make_socket(AF_UNIX, SOCK_STREAM);
}

/* From a socket that was there before, as one on standard input may be. */
static int held_socket = -1;

static int connect_held_socket(void)
{
    const struct sockaddr_in nobody = {.sin_family = AF_INET,
                                       .sin_port = htons(1),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    return connect(held_socket, (const struct sockaddr *)&nobody, sizeof nobody);
}

static int bind_held_socket(void)
{
    const struct sockaddr_in any = {.sin_family = AF_INET};

    return bind(held_socket, (const struct sockaddr *)&any, sizeof any);
}

/* What a child of ours comes to: its errno is its exit status. */
static int of_child(pid_t child)
{
    int status = 0;

    if (child < 0)
        return -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
    return errno ? -1 : 0;
}

static int start_process(void)
{
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    return of_child(child);
}

/* Where no process can be started, this one is put at stake: exec must fail for it to go on. */
static int run_program(void)
{
    char *const argv[] = {(char *)"true", NULL};
    pid_t child = fork();

    if (child > 0)
        return of_child(child);
    execv("/bin/true", argv);
    if (child == 0)
        _exit(errno);
    return -1;
}

static int run_output(void)
{
    char *const argv[] = {(char *)"program", NULL};
    pid_t child = fork();

    if (child > 0)
        return of_child(child);
    execv("out/program", argv);
    if (child == 0)
        _exit(errno);
    return -1;
}

static int run_by_descriptor(void)
{
    return (int)syscall(SYS_execveat, -1, "/bin/true", NULL, NULL, 0);
}

static void *do_nothing(void *unused)
{
    return unused;
}

static int start_thread(void)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, do_nothing, NULL);

    if (!error)
        pthread_join(thread, NULL);
    errno = error;
    return error ? -1 : 0;
}

static int be_traced(void)
{
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int trace_parent(void)
{
    return (int)ptrace(PTRACE_SEIZE, getppid(), NULL, NULL);
}

static int read_parent_memory(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)0x1000, 1};

    return process_vm_readv(getppid(), &here, 1, &there, 1, 0) < 0 ? -1 : 0;
}

static int signal_parent(void)
{
    return kill(getppid(), 0);
}

static int signal_parents_thread(void)
{
    return (int)syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static int limit_parent(void)
{
    struct rlimit now;

    return prlimit(getppid(), RLIMIT_NOFILE, NULL, &now);
}

static int leave_namespaces(void)
{
    return unshare(CLONE_NEWUSER);
}

static int start_in_namespace(void)
{
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

    if (child == 0)
        _exit(0);
    return of_child((pid_t)child);
}

static int enter_namespace(void)
{
    return setns(0, CLONE_NEWNET);
}

static int mount_something(void)
{
    return mount("none", "out", "tmpfs", 0, NULL);
}

static int change_root(void)
{
    return chroot("out");
}

static int read_keys(void)
{
    return (int)syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1);
}

static int add_key(void)
{
    return (int)syscall(SYS_add_key, "user", "lx", "x", 1, KEY_SPEC_PROCESS_KEYRING);
}

static int load_bpf(void)
{
    return (int)syscall(SYS_bpf, 0, NULL, 0);
}

static int watch_events(void)
{
    return (int)syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0);
}

static int use_io_uring(void)
{
    return (int)syscall(SYS_io_uring_setup, 1, NULL);
}

static int handle_faults(void)
{
    return (int)syscall(SYS_userfaultfd, O_CLOEXEC);
}

static int load_module(void)
{
    return (int)syscall(SYS_init_module, NULL, 0, "");
}

static int type_into_terminal(void)
{
    return ioctl(STDERR_FILENO, TIOCSTI, "x");
}

static int change_user(void)
{
    return (int)syscall(SYS_setresuid, getuid(), getuid(), getuid());
}

static int be_dumped(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int use_memory(void)
{
    void *p =
        mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? -1 : munmap(p, 1 << 20);
}

typedef struct attempt {
    const char *name;
    int (*function)(void);
} attempt;

static const attempt attempts[] = {
    {"read an input", read_input},
    {"write to an input", write_input},
    {"empty an input", empty_input},
    {"empty an input by its name", empty_input_by_name},
    {"make a file beside an input", make_beside_input},
    {"remove an input", remove_input},
    {"move an input", move_input},
    {"make an output", make_output},
    {"replace an output", replace_output},
    {"make a folder in the output", make_folder_in_output},
    {"make a link in the output", link_from_output},
    {"make a hard link in the output", hard_link_from_output},
    {"make a pipe in the output", make_pipe_in_output},
    {"read a secret", read_secret},
    {"list a secret folder", list_secret},
    {"write to a secret", write_secret},
    {"make a file beside a secret", make_in_secret},
    {"empty a secret by its name", empty_secret_by_name},
    {"remove a secret", remove_secret},
    {"change the mode of a secret", change_mode},
    {"change the owner of a secret", change_owner},
    {"change the times of a secret", change_times},
    {"change an attribute of a secret", change_attribute},
    {"ask for a file's handle", open_by_handle},
    {"read the parent's environment", read_parent_environment},
    {"make an internet socket", make_internet_socket},
    {"make a datagram socket", make_datagram_socket},
    {"make a local socket", make_local_socket},
    {"connect a socket that was open", connect_held_socket},
    {"bind a socket that was open", bind_held_socket},
    {"start a process", start_process},
    {"run a program", run_program},
    {"run what was written", run_output},
    {"run a program by descriptor", run_by_descriptor},
    {"start a thread", start_thread},
    {"be traced", be_traced},
    {"trace the parent", trace_parent},
    {"read the parent's memory", read_parent_memory},
    {"signal the parent", signal_parent},
    {"signal a thread of the parent", signal_parents_thread},
    {"read the parent's limits", limit_parent},
    {"leave the namespaces", leave_namespaces},
    {"start a process in a namespace", start_in_namespace},
    {"enter a namespace", enter_namespace},
    {"mount something", mount_something},
    {"change the root", change_root},
    {"read keys", read_keys},
    {"add a key", add_key},
    {"load a BPF program", load_bpf},
    {"watch events", watch_events},
    {"use io_uring", use_io_uring},
    {"handle page faults", handle_faults},
    {"load a module", load_module},
    {"type into the terminal", type_into_terminal},
    {"change the user", change_user},
    {"make dumps possible", be_dumped},
    {"use memory", use_memory},
};

/* ---- the command ---------------------------------------------------------------------------- */

struct sandbox_args {
    bool is_worker, has_children, has_no_seccomp;
    int64_t abi;
    lx_words folders;
};

static const lx_option options[] = {
    LX_FLAG(struct sandbox_args, has_children, 0, "children",
            "as a command that decodes pictures"),
    LX_FLAG(struct sandbox_args, is_worker, 0, "worker", "as the decoder"),
    LX_INT(struct sandbox_args, abi, 0, "abi", "N",
           "as if the kernel had this ABI of Landlock"),
    LX_FLAG(struct sandbox_args, has_no_seccomp, 0, "no_seccomp",
            "as if it had no seccomp"),
    LX_ARGS(struct sandbox_args, folders, "FOLDER", "where to try"),
    LX_OPTION_END,
};

static int prepare(const char *folder, lx_error *err)
{
    static const char *const folders[] = {"in", "out", "secret"};
    int rc;

    if (chdir(folder) < 0)
        return lx_fail_errno(err, errno, "%s", folder);
    for (size_t i = 0; i < 3; i++)
        if ((rc = lx_make_dirs(folders[i], err)) < 0)
            return rc;
    if ((rc = lx_file_write("in/file", "input", 5, err)) < 0 ||
        (rc = lx_file_write("secret/file", "secret", 6, err)) < 0 ||
        (rc = lx_file_copy("out/program", "/bin/true", err)) < 0)
        return rc;
    chmod("out/program", 0700);
    held_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return LX_OK;
}

static int confine(lx_cli *cli, const struct sandbox_args *args, lx_error *err)
{
    lx_bounds b = {.cli = cli, .has_children = args->has_children};
    lx_sandbox_state state;

    if (args->is_worker)
        return lx_sandbox_enter(&state, &(lx_sandbox){.has_no_files = true}, err);
    lx_bounds_read(&b, "in");
    lx_bounds_write(&b, "out/result");
    return lx_bounds_enter(&b, err);
}

int lx_debug_sandbox(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    struct sandbox_args args = {.abi = -1};
    int rc;

    if ((rc = lx_options_parse(&args, options, argc, argv, cli->arena, err)) < 0)
        return rc;
    if (args.folders.count != 1)
        return lx_fail(err, LX_EUSAGE, "one folder is wanted");
    cli->is_verbose = true;
    lx_sandbox_pretend((int)args.abi, !args.has_no_seccomp);
    if ((rc = prepare(args.folders.items[0], err)) < 0 ||
        (rc = confine(cli, &args, err)) < 0)
        return rc;
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        if (args.has_no_seccomp && attempts[i].function == make_internet_socket)
            break; /* the rest is what only seccomp refuses: as root it would be done */
        int failed = attempts[i].function();
        lx_print(cli, "%-34s %s\n", attempts[i].name, failed ? strerror(errno) : "done");
        fflush(cli->out); /* in case the next one ends us */
    }
    return LX_OK;
}
