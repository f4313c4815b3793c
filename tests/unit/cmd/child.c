#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/child.h"
#include "src/base/str.h"

/* lx_child_run in a process of its own whose streams are pipes or a terminal; what it
 * prints comes through `from`, its last line being what the view saw and how the child
 * ended. */
typedef struct fixture {
    pid_t pid;
    int from, to;
    lx_str seen;
} fixture;

static int see(void *context, const void *bytes, size_t n, lx_error *err)
{
    *(size_t *)context += n;
    return memchr(bytes, '!', n) ? lx_fail(err, LX_EIO, "no more of it") : LX_OK;
}

static void run_inside(const char *script)
{
    char *argv[] = {"sh", "-c", (char *)script, NULL};
    size_t n_seen = 0;
    const lx_child_view view = {.context = &n_seen, .on_output = see};
    lx_child_end end;
    lx_error err = {0};
    int rc;

    if (lx_child_prepare(&err) < 0)
        _exit(99);
    rc = lx_child_run(&end, argv, &view, &err);
    dprintf(STDOUT_FILENO, "[rc %d status %d signal %d asked %d seen %zu]", rc,
            end.exit_status, end.signal, end.asked, n_seen);
    _exit(0);
}

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void begin_pipes(fixture *f, const char *script)
{
    int out[2];

    memset(f, 0, sizeof *f);
    assert_int_equal(pipe(out), 0);
    if ((f->pid = fork()) == 0) {
        int null = open("/dev/null", O_RDONLY);
        reset_signals();
        setpgid(0, 0);
        dup2(null, STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        run_inside(script);
    }
    close(out[1]);
    f->from = out[0];
    f->to = -1;
}

static void begin_terminal(fixture *f, const char *script)
{
    struct winsize size = {.ws_row = 33, .ws_col = 77};
    int master;

    memset(f, 0, sizeof *f);
    f->pid = forkpty(&master, NULL, NULL, &size);
    if (f->pid < 0) /* a root without /dev/pts */
        skip();
    if (f->pid == 0) {
        reset_signals();
        run_inside(script);
    }
    f->from = f->to = master;
}

/* Reads until the text was seen; fails after ten seconds. */
static void wait_text(fixture *f, const char *text)
{
    for (int tries = 0; tries < 100; tries++) {
        struct pollfd p = {f->from, POLLIN, 0};
        char bytes[4096];
        ssize_t n;
        if (strstr(lx_str_text(&f->seen), text))
            return;
        if (poll(&p, 1, 100) <= 0)
            continue;
        if ((n = read(f->from, bytes, sizeof bytes)) <= 0)
            break;
        lx_str_append(&f->seen, bytes, (size_t)n);
    }
    if (!strstr(lx_str_text(&f->seen), text))
        fail_msg("\"%s\" lacks \"%s\"", lx_str_text(&f->seen), text);
}

static void finish(fixture *f)
{
    int status;

    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(f->from);
    lx_str_release(&f->seen);
}

static void expect_pipes(const char *script, const char *text)
{
    fixture f;

    begin_pipes(&f, script);
    wait_text(&f, text);
    finish(&f);
}

static void test_cmd_child__exit_status_and_output(void **state)
{
    (void)state;
    expect_pipes("printf out; printf err >&2; exit 7",
                 "[rc 0 status 7 signal 0 asked 0 seen 6]");
    expect_pipes("kill -9 $$", "[rc 0 status 137 signal 9 asked 0 seen 0]");
    expect_pipes("head -c 300000 /dev/zero | tr '\\0' x", "seen 300000]");
    /* streams are pipes, and it leads a group of its own */
    expect_pipes("test -t 1 || test -t 2 || echo pipes; ps -o pgid= -p $$ | grep -qw $$ "
                 "&& echo group",
                 "pipes\ngroup\n");
}

/* What the view could not do once is told, and it goes on seeing. */
static void test_cmd_child__a_view_that_fails_sees_the_rest(void **state)
{
    char text[64];

    (void)state;
    snprintf(text, sizeof text, "[rc %d status 0 signal 0 asked 0 seen 8]", LX_EIO);
    expect_pipes("printf 'one!'; sleep 0.3; printf 'more'", text);
}

/* A process that it leaves behind holds the pipe: we end all the same. */
static void test_cmd_child__does_not_wait_for_grandchildren(void **state)
{
    time_t start = time(NULL);

    (void)state;
    expect_pipes("sleep 20 & echo done", "seen 5]");
    assert_true(time(NULL) - start < 10);
}

static void test_cmd_child__passes_signals_on(void **state)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        fixture f;
        char script[256], wanted[64];
        int asked = numbers[i] == SIGUSR1 || numbers[i] == SIGUSR2 ? 0 : numbers[i];
        snprintf(
            script, sizeof script,
            "trap 'echo got %d; exit 5' %d; echo ready; while :; do sleep 0.05; done",
            numbers[i], numbers[i]);
        begin_pipes(&f, script);
        wait_text(&f, "ready");
        kill(f.pid, numbers[i]);
        snprintf(wanted, sizeof wanted, "got %d\n", numbers[i]);
        wait_text(&f, wanted);
        snprintf(wanted, sizeof wanted, "status 5 signal 0 asked %d", asked);
        wait_text(&f, wanted);
        finish(&f);
    }
}

/* To the whole group, as a terminal or a batch system does it: the child gets it once. */
static void test_cmd_child__a_signal_to_the_group_comes_once(void **state)
{
    fixture f;

    (void)state;
    begin_pipes(&f, "n=0; trap 'n=$((n+1))' INT; echo ready; i=0; while [ $i -lt 15 ]; "
                    "do sleep 0.05; "
                    "i=$((i+1)); done; echo times $n");
    wait_text(&f, "ready");
    kill(-f.pid, SIGINT);
    wait_text(&f, "times 1\n");
    finish(&f);
}

static void test_cmd_child__stops_and_continues(void **state)
{
    fixture f;
    int status;

    (void)state;
    begin_pipes(&f, "echo ready; sleep 0.3; echo over");
    wait_text(&f, "ready");
    kill(f.pid, SIGTSTP);
    assert_int_equal(waitpid(f.pid, &status, WUNTRACED), f.pid);
    assert_true(WIFSTOPPED(status));
    usleep(500000);
    kill(f.pid, SIGCONT);
    wait_text(&f, "over");
    wait_text(&f, "status 0");
    finish(&f);
}

static void test_cmd_child__a_terminal_of_its_own(void **state)
{
    fixture f;

    (void)state;
    begin_terminal(&f, "test -t 0 && test -t 1 && test -t 2 && echo terminal; stty size");
    wait_text(&f, "terminal\r\n");
    wait_text(&f, "33 77\r\n");
    wait_text(&f, "status 0");
    finish(&f);
}

static void test_cmd_child__keys_and_size(void **state)
{
    struct winsize size = {.ws_row = 10, .ws_col = 40};
    fixture f;

    (void)state;
    begin_terminal(
        &f,
        "trap 'stty size' WINCH; echo ready; read a; echo got $a; "
        "trap 'echo interrupted; exit 3' INT; echo again; while :; do sleep 0.05; done");
    wait_text(&f, "ready");
    assert_int_equal(write(f.to, "hello\r", 6), 6);
    wait_text(&f, "got hello");
    ioctl(f.to, TIOCSWINSZ, &size);
    kill(f.pid, SIGWINCH);
    wait_text(&f, "10 40");
    wait_text(&f, "again");
    assert_int_equal(write(f.to, "\003", 1), 1);
    wait_text(&f, "interrupted");
    wait_text(&f, "status 3 signal 0 asked 2");
    finish(&f);
}

static void test_cmd_child__the_terminal_is_left_as_the_child_set_it(void **state)
{
    struct termios after;
    fixture f;

    (void)state;
    begin_terminal(&f, "stty -echo; echo set");
    wait_text(&f, "status 0");
    assert_int_equal(tcgetattr(f.to, &after), 0);
    assert_false(after.c_lflag & ECHO);
    assert_true(after.c_lflag & ICANON); /* and not raw */
    finish(&f);
}

/* Ctrl-Z stops both; the terminal is as before meanwhile. */
static void test_cmd_child__ctrl_z(void **state)
{
    struct termios t;
    fixture f;
    int status;

    (void)state;
    begin_terminal(&f, "echo ready; sleep 0.3; echo over");
    wait_text(&f, "ready");
    tcgetattr(f.to, &t);
    assert_false(t.c_lflag & ICANON);
    assert_int_equal(write(f.to, "\032", 1), 1);
    assert_int_equal(waitpid(f.pid, &status, WUNTRACED), f.pid);
    assert_true(WIFSTOPPED(status));
    tcgetattr(f.to, &t);
    assert_true(t.c_lflag & ICANON);
    kill(f.pid, SIGCONT);
    wait_text(&f, "over");
    wait_text(&f, "status 0");
    finish(&f);
}

static void test_cmd_child__commands_that_are_none(void **state)
{
    char path[256];
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_child_find(path, sizeof path, "sh", &err), LX_OK);
    assert_int_equal(lx_child_find(path, sizeof path, "/bin/sh", &err), LX_OK);
    assert_int_equal(lx_child_find(path, sizeof path, "no-such-command-at-all", &err),
                     LX_ENOTFOUND);
    assert_int_equal(lx_child_find(path, sizeof path, "", &err), LX_ENOTFOUND);
    assert_int_equal(lx_child_find(path, sizeof path, "/etc/passwd", &err), LX_EPERM);
    assert_int_equal(lx_child_find(path, sizeof path, "/tmp", &err), LX_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmd_child__exit_status_and_output),
        cmocka_unit_test(test_cmd_child__a_view_that_fails_sees_the_rest),
        cmocka_unit_test(test_cmd_child__does_not_wait_for_grandchildren),
        cmocka_unit_test(test_cmd_child__passes_signals_on),
        cmocka_unit_test(test_cmd_child__a_signal_to_the_group_comes_once),
        cmocka_unit_test(test_cmd_child__stops_and_continues),
        cmocka_unit_test(test_cmd_child__a_terminal_of_its_own),
        cmocka_unit_test(test_cmd_child__keys_and_size),
        cmocka_unit_test(test_cmd_child__the_terminal_is_left_as_the_child_set_it),
        cmocka_unit_test(test_cmd_child__ctrl_z),
        cmocka_unit_test(test_cmd_child__commands_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
