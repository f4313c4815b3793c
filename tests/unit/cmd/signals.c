#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/cli.h"

/* What a child that runs `body` ends with, as waitpid tells it. */
static int status_of_child(void (*body)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        body();
        _exit(3);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void one_interrupt(void)
{
    lx_signals_install();
    raise(SIGINT);
    _exit(lx_signals_pending() == SIGINT ? 0 : 1);
}

static void two_signals(void)
{
    lx_signals_install();
    raise(SIGTERM);
    raise(SIGINT);
}

/* By the kernel, by the shell, and by whoever ends the session. */
static void hung_up(void)
{
    lx_signals_install();
    raise(SIGHUP);
    raise(SIGHUP);
    raise(SIGTERM);
    _exit(lx_signals_pending() == SIGTERM ? 0 : 1);
}

static void hung_up_while_stopping(void)
{
    lx_signals_install();
    raise(SIGINT);
    raise(SIGHUP);
    _exit(lx_signals_pending() == SIGINT ? 0 : 1);
}

static void impatient_after_all(void)
{
    lx_signals_install();
    raise(SIGHUP);
    raise(SIGTERM);
    raise(SIGTERM);
}

static void without_hangup(void)
{
    signal(SIGHUP, SIG_IGN);
    lx_signals_install();
    raise(SIGHUP);
    _exit(lx_signals_pending() == 0 ? 0 : 1);
}

static void resize(void)
{
    bool first;

    lx_signals_install();
    raise(SIGWINCH);
    first = lx_signals_resized();
    _exit(first && !lx_signals_resized() && !lx_signals_pending() ? 0 : 1);
}

static void broken_pipe(void)
{
    int ends[2];

    lx_signals_ignore_writing();
    if (pipe(ends) < 0)
        _exit(1);
    close(ends[0]);
    if (write(ends[1], "x", 1) != -1) /* an error, and no death */
        _exit(1);
    lx_signals_die_of_pipe();
}

static void test_signals__the_first_sets_a_flag(void **state)
{
    assert_int_equal(WEXITSTATUS(status_of_child(one_interrupt)), 0);
}

static void test_signals__the_second_leaves_at_once_with_130(void **state)
{
    int status = status_of_child(two_signals);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
}

static void test_signals__a_closed_terminal_stops_and_leaves_time_to_save(void **state)
{
    assert_int_equal(status_of_child(hung_up), 0);
    assert_int_equal(status_of_child(hung_up_while_stopping), 0);
    assert_int_equal(WEXITSTATUS(status_of_child(impatient_after_all)), 130);
}

static void test_signals__nohup_is_obeyed(void **state)
{
    assert_int_equal(status_of_child(without_hangup), 0);
}

static void test_signals__a_resize_is_told_once_and_stops_nothing(void **state)
{
    assert_int_equal(WEXITSTATUS(status_of_child(resize)), 0);
}

static void test_signals__a_closed_pipe_ends_the_process_only_when_asked(void **state)
{
    int status = status_of_child(broken_pipe);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGPIPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals__the_first_sets_a_flag),
        cmocka_unit_test(test_signals__the_second_leaves_at_once_with_130),
        cmocka_unit_test(test_signals__a_closed_terminal_stops_and_leaves_time_to_save),
        cmocka_unit_test(test_signals__nohup_is_obeyed),
        cmocka_unit_test(test_signals__a_resize_is_told_once_and_stops_nothing),
        cmocka_unit_test(test_signals__a_closed_pipe_ends_the_process_only_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
