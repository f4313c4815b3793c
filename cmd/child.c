#include "cmd/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_MS = 250,
    LINGER_MS = 400, /* for what grandchildren still print after the child's end */
    PIECE = 64 * 1024
};

static const int watched[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1,
                              SIGUSR2, SIGTSTP, SIGCONT, SIGCHLD, SIGWINCH};

typedef struct child {
    pid_t pid;
    int master;          /* of the pseudo-terminal, or -1 */
    int terminal;        /* our stream that it stands for */
    bool is_hung_up;     /* no process has the pseudo-terminal open any more */
    int out, err;        /* read ends of pipes, or -1 */
    int signals;         /* signalfd */
    bool is_group;       /* leads a process group */
    bool reads_terminal; /* our input goes to the pseudo-terminal */
    bool is_raw;         /* our terminal is */
    struct termios ours; /* as it was, while it is raw */
    bool has_ended, was_quiet;
    int status; /* of waitpid */
    lx_child_end *end;
    const lx_child_view *view;
    int view_rc; /* of the view's first error */
    lx_error view_err;
} child;

static void sigset_of_watched(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++)
        sigaddset(set, watched[i]);
}

int lx_child_prepare(lx_error *err)
{
    sigset_t set;

    sigset_of_watched(&set);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return lx_fail_errno(err, errno, "blocking signals");
    signal(SIGTTOU,
           SIG_IGN); /* setting our terminal from the background must not stop us */
    return LX_OK;
}

/* ---- finding it -------------------------------------------------------------------- */

static int try_path(const char *path, bool *is_there)
{
    struct stat st;

    if (stat(path, &st) < 0 || S_ISDIR(st.st_mode))
        return -1;
    *is_there = true;
    return access(path, X_OK);
}

int lx_child_find(char *out, size_t capacity, const char *command, lx_error *err)
{
    const char *path = getenv("PATH"), *end;
    bool is_there = false;

    if (strchr(command, '/')) {
        snprintf(out, capacity, "%s", command);
        if (try_path(out, &is_there) == 0)
            return LX_OK;
    } else {
        for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *command && path;
             path = end) {
            end = strchr(path, ':');
            snprintf(out, capacity, "%.*s%s%s",
                     (int)(end ? end - path : (ptrdiff_t)strlen(path)), path,
                     *path && *path != ':' ? "/" : "./", command);
            if (try_path(out, &is_there) == 0)
                return LX_OK;
            end = end ? end + 1 : NULL;
        }
    }
    if (is_there)
        return lx_fail(err, LX_EPERM, "%s: it may not be executed", command);
    return lx_fail(err, LX_ENOTFOUND, "%s: no such command", command);
}

/* ---- starting it ------------------------------------------------------------------- */

/* In the child: only calls that are safe between fork and exec. */
static void exec_child(const child *c, int slave, int out, int err, char *const *argv,
                       int failure)
{
    sigset_t none;
    int saved;

    if (slave >= 0) {
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        if (c->reads_terminal)
            dup2(slave, STDIN_FILENO);
    } else if (c->is_group) {
        setpgid(0, 0);
    }
    if (dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGXFSZ, SIG_DFL);
        signal(SIGTTOU, SIG_DFL);
        execvp(argv[0], argv);
    }
    saved = errno;
    if (write(failure, &saved, sizeof saved) < 0)
        _exit(126);
    _exit(saved == ENOENT ? 127 : 126);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int open_terminal(child *c, int *slave, lx_error *err)
{
    struct termios settings;
    struct winsize size;
    bool has_settings = tcgetattr(c->terminal, &settings) == 0;
    bool has_size = ioctl(c->terminal, TIOCGWINSZ, &size) == 0;

    if (openpty(&c->master, slave, NULL, has_settings ? &settings : NULL,
                has_size ? &size : NULL) < 0)
        return lx_fail_errno(err, errno, "opening a pseudo-terminal");
    fcntl(c->master, F_SETFD, FD_CLOEXEC);
    fcntl(*slave, F_SETFD, FD_CLOEXEC);
    return LX_OK;
}

/* What the child writes to: the pseudo-terminal, or pipes whose other ends we keep. */
static int open_streams(child *c, int *slave, int ends[2], lx_error *err)
{
    int *const ours[2] = {&c->out, &c->err};
    const bool is_terminal[2] = {isatty(STDOUT_FILENO) == 1, isatty(STDERR_FILENO) == 1};
    int both[2], rc;

    c->terminal = is_terminal[0] ? STDOUT_FILENO : STDERR_FILENO;
    if ((is_terminal[0] || is_terminal[1]) && (rc = open_terminal(c, slave, err)) < 0)
        return rc;
    for (int i = 0; i < 2; i++) {
        if (is_terminal[i]) {
            ends[i] = *slave;
            continue;
        }
        if (pipe2(both, O_CLOEXEC) < 0)
            return lx_fail_errno(err, errno, "opening a pipe");
        *ours[i] = both[0];
        ends[i] = both[1];
    }
    return LX_OK;
}

static int start(child *c, char *const *argv, lx_error *err)
{
    int slave = -1, ends[2] = {-1, -1}, failure[2] = {-1, -1}, why = 0, rc;

    if ((rc = open_streams(c, &slave, ends, err)) < 0)
        goto done;
    if (pipe2(failure, O_CLOEXEC) < 0) {
        rc = lx_fail_errno(err, errno, "opening a pipe");
        goto done;
    }
    c->reads_terminal = slave >= 0 && isatty(STDIN_FILENO) == 1;
    c->is_group = slave >= 0 || isatty(STDIN_FILENO) != 1;
    c->pid = fork();
    if (c->pid == 0)
        exec_child(c, slave, ends[0], ends[1], argv, failure[1]);
    if (c->pid < 0) {
        rc = lx_fail_errno(err, errno, "starting %s", argv[0]);
        goto done;
    }
    if (c->is_group && slave < 0)
        setpgid(c->pid, c->pid); /* whoever comes first */
    close_fd(&failure[1]);
    if (read(failure[0], &why, sizeof why) == sizeof why) {
        waitpid(c->pid, &c->status, 0);
        rc = lx_fail_errno(err, why, "starting %s", argv[0]);
    }
done:
    if (ends[0] != slave)
        close_fd(&ends[0]);
    if (ends[1] != slave)
        close_fd(&ends[1]);
    close_fd(&slave);
    close_fd(&failure[0]);
    close_fd(&failure[1]);
    return rc;
}

/* ---- our terminal ------------------------------------------------------------------ */

static bool is_foreground(void)
{
    return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void set_raw(child *c)
{
    struct termios raw;

    if (!c->reads_terminal || c->is_raw || !is_foreground() ||
        tcgetattr(STDIN_FILENO, &c->ours) < 0)
        return;
    raw = c->ours;
    cfmakeraw(&raw);
    c->is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

/* Back to what it was, or at the end to what the child left on its own terminal. */
static void leave_raw(child *c, bool is_end)
{
    struct termios left;

    if (!c->is_raw)
        return;
    c->is_raw = false;
    if (!is_end || tcgetattr(c->master, &left) < 0)
        left = c->ours;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &left);
}

static void pass_size(const child *c)
{
    struct winsize size;

    if (c->master >= 0 && ioctl(c->terminal, TIOCGWINSZ, &size) == 0)
        ioctl(c->master, TIOCSWINSZ, &size);
}

/* ---- signals ----------------------------------------------------------------------- */

static void pass_signal(const child *c, int number)
{
    if (!c->has_ended)
        kill(c->is_group ? -c->pid : c->pid, number);
}

/* Stops the child, then this process until somebody continues it, then the child goes on.
 * A group that leads its session is orphaned, and TSTP means nothing to it: STOP does. */
static void stop_both(child *c)
{
    pass_signal(c, c->master >= 0 ? SIGSTOP : SIGTSTP);
    leave_raw(c, false);
    raise(SIGSTOP);
    set_raw(c);
    pass_size(c);
    pass_signal(c, SIGCONT);
}

static void reap(child *c)
{
    int status;
    pid_t got;

    while ((got = waitpid(c->pid, &status, WNOHANG)) > 0 || (got < 0 && errno == EINTR))
        if (got == c->pid && (WIFEXITED(status) || WIFSIGNALED(status))) {
            c->has_ended = true;
            c->status = status;
            return;
        }
}

static void take_signal(child *c)
{
    struct signalfd_siginfo info;
    int number;

    if (read(c->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    number = (int)info.ssi_signo;
    if (number == SIGCHLD)
        reap(c);
    else if (number == SIGWINCH)
        pass_size(c);
    else if (number == SIGTSTP)
        stop_both(c);
    else if (number == SIGCONT) {
        set_raw(c); /* we may have come to the foreground */
        pass_signal(c, SIGCONT);
    } else {
        if (number != SIGUSR1 && number != SIGUSR2)
            c->end->asked = number;
        /* In one group with us the child has what the terminal sent. */
        if (c->is_group || info.ssi_code != SI_KERNEL)
            pass_signal(c, number);
    }
}

/* ---- bytes ------------------------------------------------------------------------- */

static bool write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, -1);
            continue;
        }
        if (done < 0 && errno != EINTR)
            return false; /* nobody reads any more: the child goes on, and so does the
                             record */
        if (done > 0) {
            bytes += done;
            n -= (size_t)done;
        }
    }
    return true;
}

/* An error of the view does not end the viewing: the next call may well succeed. The first is told at the end. */
static void note(child *c, int rc, const lx_error *why)
{
    if (c->view_rc == LX_OK)
        c->view_rc = lx_fail_as(&c->view_err, rc, why);
}

static void show(child *c, const char *bytes, size_t n)
{
    lx_error why = {0};

    if (c->view->on_output)
        note(c, c->view->on_output(c->view->context, bytes, n, &why), &why);
    c->was_quiet = false;
}

/* From the child to where it would have written. false at the stream's end. */
static bool pump_out(child *c, int from, int to)
{
    static char bytes[PIECE];
    ssize_t n = read(from, bytes, sizeof bytes);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n <= 0) /* EIO: the last process has closed the pseudo-terminal */
        return false;
    write_all(to, bytes, (size_t)n);
    show(c, bytes, (size_t)n);
    return true;
}

/* Does this key stop the child? As its own terminal is set. */
static bool is_suspend_key(const child *c, char key, int *sent)
{
    struct termios t;

    *sent = 0;
    if (tcgetattr(c->master, &t) < 0 || !(t.c_lflag & ISIG))
        return false;
    if ((cc_t)key == t.c_cc[VINTR])
        *sent = SIGINT;
    else if ((cc_t)key == t.c_cc[VQUIT])
        *sent = SIGQUIT;
    return (cc_t)key == t.c_cc[VSUSP] && t.c_cc[VSUSP] != _POSIX_VDISABLE;
}

/* Keys to the child. false when our input has ended. */
static bool pump_in(child *c)
{
    char keys[4096];
    ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
    ssize_t from = 0;
    int sent;

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n <= 0)
        return false;
    for (ssize_t i = 0; i < n; i++) {
        if (is_suspend_key(c, keys[i], &sent)) {
            write_all(c->master, keys + from, (size_t)(i - from));
            from = i + 1;
            stop_both(c);
        } else if (sent) {
            c->end->asked = sent;
        }
    }
    write_all(c->master, keys + from, (size_t)(n - from));
    return true;
}

/* ---- the loop ---------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void tick(child *c, int64_t *last)
{
    int64_t now = now_ms();
    lx_error why = {0};

    if (now - *last < TICK_MS)
        return;
    *last = now;
    if (c->view->on_tick)
        note(c, c->view->on_tick(c->view->context, c->was_quiet, &why), &why);
    c->was_quiet = true;
}

static bool is_open(const child *c)
{
    return (c->master >= 0 && !c->is_hung_up) || c->out >= 0 || c->err >= 0;
}

/* One round. *has_output: the child printed something. */
static void watch_once(child *c, bool *has_output)
{
    enum { SIGNALS, MASTER, OUT, ERR, IN, N };
    struct pollfd p[N] = {
        [SIGNALS] = {c->signals, POLLIN, 0},
        [MASTER] = {c->is_hung_up ? -1 : c->master, POLLIN, 0},
        [OUT] = {c->out, POLLIN, 0},
        [ERR] = {c->err, POLLIN, 0},
        [IN] = {c->is_raw && !c->is_hung_up ? STDIN_FILENO : -1, POLLIN, 0}};
    int n = poll(p, N, c->has_ended ? LINGER_MS / 4 : TICK_MS);

    *has_output = n > 0 && (p[MASTER].revents || p[OUT].revents || p[ERR].revents);
    if (n <= 0)
        return;
    if (p[SIGNALS].revents)
        take_signal(c);
    if (p[MASTER].revents && !pump_out(c, c->master, c->terminal))
        c->is_hung_up = true; /* kept open: it holds the settings that the child left */
    if (p[OUT].revents && !pump_out(c, c->out, STDOUT_FILENO))
        close_fd(&c->out);
    if (p[ERR].revents && !pump_out(c, c->err, STDERR_FILENO))
        close_fd(&c->err);
    if (p[IN].revents && !pump_in(c))
        leave_raw(c, false); /* our terminal is gone */
}

/* To the end of the child and of what it prints; a process that it left behind may hold
 * the streams open for ever. */
static void watch(child *c)
{
    int64_t ticked = now_ms(), quiet_since = 0;

    while (!c->has_ended || is_open(c)) {
        bool has_output;
        watch_once(c, &has_output);
        tick(c, &ticked);
        if (!c->has_ended || has_output)
            quiet_since = now_ms();
        else if (now_ms() - quiet_since >= LINGER_MS)
            break;
    }
}

static void fill_end(const child *c)
{
    if (WIFSIGNALED(c->status)) {
        c->end->signal = WTERMSIG(c->status);
        c->end->exit_status = 128 + c->end->signal;
    } else {
        c->end->exit_status = WEXITSTATUS(c->status);
    }
}

int lx_child_run(lx_child_end *end, char *const *argv, const lx_child_view *view,
                 lx_error *err)
{
    child c = {
        .master = -1, .out = -1, .err = -1, .signals = -1, .end = end, .view = view};
    sigset_t set;
    int rc;

    *end = (lx_child_end){0};
    sigset_of_watched(&set);
    if ((c.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return lx_fail_errno(err, errno, "signalfd");
    if ((rc = start(&c, argv, err)) == LX_OK) {
        end->was_started = true;
        if (view->on_start)
            view->on_start(view->context, (int)c.pid);
        set_raw(&c);
        watch(&c);
        leave_raw(&c, true);
        fill_end(&c);
        rc = lx_fail_as(err, c.view_rc, &c.view_err);
    }
    close_fd(&c.master);
    close_fd(&c.out);
    close_fd(&c.err);
    close_fd(&c.signals);
    return rc;
}
