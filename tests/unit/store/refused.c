/* Calls of the system that are hardly ever refused are: it is told, nothing is left, and the next try gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/privacy.h"
#include "store/store.h"
#include "tests/support/expect.h"
#include "tests/support/tree.h"

/* What is refused from now on; NULL: nothing. */
static const char *refused;

static bool is_refused(const char *name)
{
    return refused && strcmp(refused, name) == 0;
}

/* The true function behind one that stands in this file. */
#define TRUE(type, name) ((type)dlsym(RTLD_NEXT, name))

int pthread_mutexattr_init(pthread_mutexattr_t *attr)
{
    typedef int (*call)(pthread_mutexattr_t *);
    return is_refused(__func__) ? ENOMEM : TRUE(call, __func__)(attr);
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
    typedef int (*call)(pthread_mutex_t *, const pthread_mutexattr_t *);
    return is_refused(__func__) ? EAGAIN : TRUE(call, __func__)(mutex, attr);
}

int pthread_condattr_init(pthread_condattr_t *attr)
{
    typedef int (*call)(pthread_condattr_t *);
    return is_refused(__func__) ? ENOMEM : TRUE(call, __func__)(attr);
}

int pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
    typedef int (*call)(pthread_cond_t *, const pthread_condattr_t *);
    return is_refused(__func__) ? EAGAIN : TRUE(call, __func__)(cond, attr);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                   void *arg)
{
    typedef int (*call)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    return is_refused(__func__) ? EAGAIN : TRUE(call, __func__)(thread, attr, start, arg);
}

ssize_t getrandom(void *bytes, size_t n, unsigned flags)
{
    typedef ssize_t (*call)(void *, size_t, unsigned);
    if (!is_refused(__func__))
        return TRUE(call, __func__)(bytes, n, flags);
    errno = ENOSYS;
    return -1;
}

int gethostname(char *name, size_t n)
{
    typedef int (*call)(char *, size_t);
    if (!is_refused(__func__))
        return TRUE(call, __func__)(name, n);
    errno = EPERM;
    return -1;
}

/* Who uses this machine, as its files and its services say. */
static struct passwd users[3];
static int n_users = -1, at_user; /* -1: as it is */
static struct passwd *known;      /* to the name service */

struct passwd *fgetpwent(FILE *file)
{
    typedef struct passwd *(*call)(FILE *);
    if (n_users < 0)
        return TRUE(call, __func__)(file);
    return at_user < n_users ? &users[at_user++] : NULL;
}

struct passwd *getpwuid(uid_t uid)
{
    typedef struct passwd *(*call)(uid_t);
    return n_users < 0 ? TRUE(call, __func__)(uid) : known;
}

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-refused");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lx_remove_tree(folder);
    return 0;
}

static void test_store_refused__a_store_is_not_opened(void **state)
{
    static const char *const calls[] = {"pthread_mutexattr_init", "pthread_mutex_init"};
    lx_store *s;
    lx_error err;

    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        err = (lx_error){0};
        refused = calls[i];
        assert_int_equal(lx_store_open(&s, folder, false, &err), LX_ENOMEM);
        refused = NULL;
        assert_null(s);
        assert_true(err.text[0]);
    }
    lx_assert_ok(lx_store_open(&s, folder, false, &err), &err);
    lx_store_close(s);
}

static void test_store_refused__a_run_is_not_begun(void **state)
{
    static const struct {
        const char *call;
        int code;
    } rows[] = {{"pthread_condattr_init", LX_ENOMEM},
                {"pthread_mutex_init", LX_ENOMEM},
                {"pthread_cond_init", LX_ENOMEM},
                {"getrandom", LX_EIO}};
    const lx_run_start start = {.kind = "train"};
    lx_store *s;
    lx_run *run;
    lx_error err;

    (void)state;
    lx_assert_ok(lx_store_open(&s, folder, false, &err), &err);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err = (lx_error){0};
        refused = rows[i].call;
        assert_int_equal(lx_run_begin(&run, s, &start, &err), rows[i].code);
        refused = NULL;
        assert_null(run);
        assert_true(err.text[0]);
    }
    lx_assert_ok(lx_run_begin(&run, s, &start, &err), &err);
    assert_int_equal(lx_run_seq(run), 1); /* none of the others was */
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    lx_store_close(s);
}

/* Without the thread points are taken all the same, and it is said. */
static void test_store_refused__points_without_a_thread(void **state)
{
    const lx_run_start start = {.kind = "train"};
    lx_store *s;
    lx_run *run;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_store_open(&s, folder, false, &err), &err);
    lx_assert_ok(lx_run_begin(&run, s, &start, &err), &err);
    refused = "pthread_create";
    assert_int_equal(lx_run_log(run, "loss", 1, 0.5, &err), LX_EIO);
    assert_non_null(strstr(err.text, "the thread that writes curves"));
    refused = NULL;
    lx_assert_ok(lx_run_log(run, "loss", 2, 0.25, &err), &err);
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    lx_store_close(s);
}

static void test_store_refused__a_machine_without_a_name(void **state)
{
    lx_privacy *p;
    lx_error err = {0};

    (void)state;
    refused = "gethostname";
    lx_assert_ok(lx_privacy_new(&p, false, &err), &err);
    refused = NULL;
    lx_privacy_free(p);
}

static void check_scrubbed(const char *text, const char *wanted)
{
    lx_str out = LX_STR_INIT;
    lx_privacy *p;
    lx_error err = {0};

    at_user = 0;
    lx_assert_ok(lx_privacy_new(&p, false, &err), &err);
    lx_privacy_scrub(&out, p, text, strlen(text));
    assert_string_equal(lx_str_text(&out), wanted);
    lx_str_release(&out);
    lx_privacy_free(p);
}

static void test_store_refused__users_that_nobody_knows(void **state)
{
    static const char text[] = "wren, Wilhelmina Wren, finch, Finch Fink";
    struct rlimit files, none;

    (void)state;
    unsetenv("USER");
    unsetenv("LOGNAME");
    users[0] = (struct passwd){
        .pw_name = "finch", .pw_gecos = "Finch Fink", .pw_uid = getuid() + 1};
    users[1] = (struct passwd){
        .pw_name = "wren", .pw_gecos = "Wilhelmina Wren,1,2", .pw_uid = getuid()};
    n_users = 2;
    check_scrubbed(text, "user, user, finch, Finch Fink");
    users[1].pw_gecos = NULL;
    check_scrubbed(text, "user, Wilhelmina user, finch, Finch Fink");
    n_users = 1; /* it stands elsewhere, or nowhere */
    known = &users[1];
    check_scrubbed(text, "user, Wilhelmina user, finch, Finch Fink");
    known = NULL;
    check_scrubbed(text, text);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0); /* the file cannot be opened */
    none = files;
    none.rlim_cur = 0;
    n_users = 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    check_scrubbed(text, text);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    n_users = -1;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_refused__a_store_is_not_opened),
        TEST(test_store_refused__a_run_is_not_begun),
        TEST(test_store_refused__points_without_a_thread),
        TEST(test_store_refused__a_machine_without_a_name),
        TEST(test_store_refused__users_that_nobody_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
