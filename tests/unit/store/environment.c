/* What is recorded of the machine and of who calls, and whether a process still lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/internal.h"
#include "tests/support/refuse.h"

extern char **environ;

static cJSON *environment(void)
{
    char *text = store__environment();
    lx_error err = {0};
    cJSON *json = NULL;

    assert_non_null(text);
    assert_int_equal(lx_json_parse(&json, text, strlen(text), &err), LX_OK);
    lx_free(text);
    return json;
}

/* Some were put there by whoever calls, without setenv's help. */
static void test_store_environment__variables_that_are_none(void **state)
{
    static char long_name[200] = "LX_";
    static char *const some[] = {"LX_THREADS=2",
                                 "LX_TOKEN=hunter2hunter2",
                                 "LX_BYTES=\xff",
                                 "LX_NO_EQUALS",
                                 "AWS_SECRET_KEY=abc",
                                 long_name,
                                 "TZ=",
                                 NULL};
    char **usual = environ;
    cJSON *json;
    const cJSON *variables;
    (void)state;

    memset(long_name + 3, 'X', sizeof long_name - 6);
    memcpy(long_name + sizeof long_name - 3, "=1", 3);
    environ = (char **)(uintptr_t)some;
    json = environment();
    environ = usual;
    variables = cJSON_GetObjectItem(json, "variables");
    assert_int_equal(cJSON_GetArraySize(variables), 2);
    assert_string_equal(lx_json_text(variables, "LX_THREADS"), "2");
    assert_string_equal(lx_json_text(variables, "TZ"), "");
    assert_non_null(lx_json_text(json, "kernel"));
    cJSON_Delete(json);
    environ = NULL;
    json = environment();
    environ = usual;
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "variables")), 0);
    cJSON_Delete(json);
}

/* Without a descriptor nothing of /proc can be read: what is known otherwise is told all the same, and nobody is taken
 * for dead. */
static int see_nothing(void *context)
{
    struct rlimit usual, none;
    store__process us;
    bool is_alive;
    char *text;
    (void)context;

    getrlimit(RLIMIT_NOFILE, &usual);
    none = usual;
    none.rlim_cur = (rlim_t)dup(0);
    close((int)none.rlim_cur);
    setrlimit(RLIMIT_NOFILE, &none);
    text = store__environment();
    us = store__process_of(0);
    is_alive = store__is_alive("of any day", getpid(), 1) &&
               !store__is_alive("of any day", getpid(), 0);
    setrlimit(RLIMIT_NOFILE, &usual);
    return text && strstr(text, "\"cores\"") && !strstr(text, "\"cpu\"") &&
           !*us.boot_id && us.start == 0 && us.pid == getpid() && is_alive;
}

static void test_store_environment__nothing_can_be_read(void **state)
{
    (void)state;
    in_child(see_nothing, NULL);
}

static void test_store_environment__who_lives(void **state)
{
    const store__process us = store__process_of(0);
    pid_t child = fork();
    store__process its;
    siginfo_t ended;
    (void)state;

    if (child == 0) {
        pause();
        _exit(0);
    }
    its = store__process_of(child);
    assert_string_equal(its.boot_id, us.boot_id);
    assert_true(its.start >= us.start && us.start > 0);
    assert_true(store__is_alive(us.boot_id, us.pid, us.start));
    assert_true(store__is_alive(its.boot_id, its.pid, its.start));
    assert_false(store__is_alive(NULL, us.pid, us.start));
    assert_false(store__is_alive("of another day", us.pid, us.start));
    assert_false(
        store__is_alive(us.boot_id, us.pid, us.start + 1)); /* its number again */
    assert_false(store__is_alive(us.boot_id, us.pid, 0));
    kill(child, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT), 0); /* a zombie now */
    assert_false(store__is_alive(its.boot_id, its.pid, its.start));
    assert_true(WIFSIGNALED(store__wait_for(child)));
    assert_false(store__is_alive(its.boot_id, its.pid, its.start));
    assert_int_equal(store__wait_for(child), -1); /* that was told already */
}

static void test_store_environment__time_that_is_left(void **state)
{
    (void)state;
    assert_int_equal(store__poll_time(store__deadline(-1)), 0);
    assert_in_range(store__poll_time(store__deadline(100)), 90000, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_environment__nothing_can_be_read),
        cmocka_unit_test(test_store_environment__variables_that_are_none),
        cmocka_unit_test(test_store_environment__who_lives),
        cmocka_unit_test(test_store_environment__time_that_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
