/* The state of a git repository, as a child reads it and its parent takes it: repositories of every kind, children that
 * say too much, too little or nothing, and a child that fails at each of its writes and allocations. This program is its
 * own child, as lx is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/git.h"
#include "store/git2_late.h"
#include "store/store.h"
#include "tests/support/expect.h"
#include "tests/support/refuse.h"

static char folder[64];
static lx_store *store;

static const char *in_folder(const char *name)
{
    static char path[160];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int set_up(void **state)
{
    lx_error err = {0};
    (void)state;

    lx_make_folder(folder, sizeof folder, "lx-git");
    setenv("HOME", folder, 1);
    unsetenv("LX_STORE");
    lx_assert_shell(
        "git config --global user.name wren && git config --global user.email "
        "wren@nowhere && git config --global init.defaultBranch main");
    return lx_store_open(&store, in_folder("store"), false, &err);
}

static int tear_down(void **state)
{
    (void)state;
    lx_store_close(store);
    lx_assert_shell("rm -rf '%s'", folder);
    return 0;
}

/* A repository with one commit of one file. */
static const char *make_repository(const char *name)
{
    lx_assert_shell(
        "git init -q %s/%s && cd %s/%s && echo 'int x;' >a.c && git add a.c && git "
        "commit -q -m one",
        folder, name, folder, name);
    return in_folder(name);
}

static cJSON *state_of(char **diff, const char *path)
{
    lx_error err = {0};
    cJSON *json = NULL;
    char *text;

    lx_assert_ok(lx_git_state(&text, diff, store, path, &err), &err);
    if (text)
        lx_assert_ok(lx_json_parse(&json, text, strlen(text), &err), &err);
    lx_free(text);
    return json;
}

static void check_problem(const char *name, const char *problem)
{
    char *diff;
    cJSON *json = state_of(&diff, in_folder(name));

    assert_non_null(json);
    if (!strstr(lx_json_text(json, "problem"), problem))
        fail_msg("%s: \"%s\" does not say \"%s\"", name, lx_json_text(json, "problem"),
                 problem);
    cJSON_Delete(json);
    lx_free(diff);
}

/* ---- children of ours that misbehave: the folder's name says how --------------------- */

static void say(char kind, uint32_t n, const char *data, size_t n_data)
{
    unsigned char head[5] = {(unsigned char)kind, (unsigned char)n,
                             (unsigned char)(n >> 8), (unsigned char)(n >> 16),
                             (unsigned char)(n >> 24)};

    if (write(1, head, 5) != 5 || write(1, data, n_data) != (ssize_t)n_data)
        _exit(1);
}

static bool misbehaves(const char *path)
{
    static const char zeros[65536];
    const char *name = strrchr(path, '/');

    if (!name)
        return false;
    name++;
    if (strcmp(name, "endless") == 0)
        for (;;)
            say('d', sizeof zeros, zeros, sizeof zeros);
    if (strcmp(name, "half") == 0)
        say('j', 16, "{\"branch\":\"main\"}", 17);
    else if (strcmp(name, "boasts") == 0)
        say('j', 1000, "{}", 2);
    else if (strcmp(name, "babbles") == 0)
        say('j', 1, "{", 1);
    else if (strcmp(name, "newer") == 0) {
        say('z', 1, "?", 1);
        say('j', 17, "{\"branch\":\"main\"}", 17);
        say('e', 0, "", 0);
    } else if (strcmp(name, "rings") == 0) { /* while it is waited for */
        usleep(100 * 1000);
        kill(getppid(), SIGUSR1);
        usleep(100 * 1000);
        say('j', 17, "{\"branch\":\"main\"}", 17);
        say('e', 0, "", 0);
    } else if (strcmp(name, "slow") == 0)
        raise(SIGALRM); /* as its own clock does */
    else if (strcmp(name, "dies") == 0)
        raise(SIGKILL);
    else
        return false;
    return true;
}

static void test_store_git__children_that_misbehave(void **state)
{
    static const struct {
        const char *name, *problem;
    } cases[] = {{"endless", "larger than 64 MiB"},
                 {"half", "reading the git state failed"},
                 {"boasts", "failed"},
                 {"babbles", "failed"},
                 {"slow", "more than 20 s"},
                 {"dies", "failed"}};
    char *diff;
    cJSON *json;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_assert_shell("mkdir -p %s/%s/.git", folder, cases[i].name);
        check_problem(cases[i].name, cases[i].problem);
    }
    lx_assert_shell("mkdir -p %s/newer/.git", folder);
    json = state_of(&diff, in_folder("newer")); /* what is not known is passed over */
    assert_string_equal(lx_json_text(json, "branch"), "main");
    assert_null(lx_json_text(json, "problem"));
    cJSON_Delete(json);
    lx_free(diff);
}

/* ---- repositories --------------------------------------------------------------------- */

static void test_store_git__without_a_commit_or_a_tree(void **state)
{
    char *diff;
    cJSON *json;
    (void)state;

    lx_assert_shell("git init -q %s/unborn && echo 'int x;' >%s/unborn/new.c", folder,
                    folder);
    json = state_of(&diff, in_folder("unborn"));
    assert_null(lx_json_text(json, "commit"));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "untracked")), 1);
    cJSON_Delete(json);
    lx_free(diff);
    lx_assert_shell("git init -q --bare %s/bare.git", folder);
    json = state_of(&diff, in_folder("bare.git"));
    assert_non_null(json);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "untracked")), 0);
    cJSON_Delete(json);
    lx_free(diff);
    assert_null(state_of(&diff, "/"));
    assert_null(diff);
}

static void test_store_git__limits(void **state)
{
    char *diff;
    cJSON *json;
    (void)state;

    make_repository("large");
    lx_assert_shell(
        "cd %s/large && for i in $(seq 205); do echo $i >u$i.py; done && head -c 300000 "
        "/dev/zero >0.json && ln -s /etc/passwd 1.sh && printf '\\0' >2.bin && seq "
        "700000 >a.c",
        folder);
    json = state_of(&diff, in_folder("large"));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "untracked")), 200);
    assert_int_equal((int)lx_json_number(json, "untracked_left_out", 0), 7);
    assert_int_equal((int)lx_json_number(json, "diff_cut_at", 0), 4 << 20);
    assert_in_range(strlen(diff), 1, 4 << 20);
    cJSON_Delete(json);
    lx_free(diff);
}

static void test_store_git__what_cannot_be_read_is_a_problem(void **state)
{
    (void)state;
    make_repository("broken");
    lx_assert_shell(
        "printf '[core]\\n\\trepositoryformatversion = 99\\n' >%s/broken/.git/config",
        folder);
    check_problem("broken", "version");
    if (getuid() != 0)
        return;
    make_repository("theirs");
    lx_assert_shell("chown -R 54321:54321 %s/theirs", folder);
    check_problem("theirs", "belongs to another user");
}

/* The reader that was started before is the one that is asked, where it was started for. */
static void test_store_git__prepared_readers(void **state)
{
    char *diff;
    cJSON *json;
    (void)state;

    make_repository("early");
    make_repository("late");
    lx_git_prepare(in_folder("early"));
    lx_git_prepare(in_folder("late")); /* one at a time */
    for (int i = 0; i < 2; i++) {
        json = state_of(&diff, in_folder(i ? "early" : "late"));
        assert_string_equal(lx_json_text(json, "branch"), "main");
        cJSON_Delete(json);
        lx_free(diff);
    }
    lx_git_prepare("/");
    lx_git_prepare("/usr");
    assert_null(state_of(&diff, "/"));
    lx_git_prepare("/");
    assert_null(state_of(&diff, "/"));
    lx_git_prepare("nowhere"); /* what cannot be told is left to the reader */
    json = state_of(&diff, "nowhere");
    cJSON_Delete(json);
    lx_free(diff);
}

static void test_store_git__no_descriptor_is_left(void **state)
{
    struct rlimit usual, none;
    char *json, *diff;
    lx_error err = {0};
    int rc;
    (void)state;

    make_repository("poor");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = usual;
    none.rlim_cur = (rlim_t)dup(0);
    close((int)none.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    lx_git_prepare(in_folder("poor"));
    rc = lx_git_state(&json, &diff, store, in_folder("poor"), &err);
    setrlimit(RLIMIT_NOFILE, &usual);
    assert_int_equal(rc, LX_EIO);
    assert_non_null(strstr(err.text, "a pipe for the git state"));
    assert_null(json);
    assert_null(diff);
}

/* ---- the child fails ------------------------------------------------------------------- */

typedef struct fault {
    rlim_t most;       /* bytes that it may write; 0: any */
    size_t n;          /* the allocation that fails; 0: none */
    bool forever;      /* and all later ones */
    bool has_no_files; /* it can open nothing, libgit2 neither */
    void (*damage)(void);
} fault;

/* Its exit status. */
static int serve(const char *path, const fault *f)
{
    char *words[] = {"lx", "__git", (char *)(uintptr_t)path, NULL};
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        int out = open(in_folder("said"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        struct rlimit limit = {f->most, RLIM_INFINITY}, files, none;

        dup2(out, 1);
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_NOFILE, &files);
        none = (struct rlimit){0, files.rlim_max};
        if (f->damage)
            f->damage();
        if (f->most)
            setrlimit(RLIMIT_FSIZE, &limit);
        if (f->has_no_files)
            setrlimit(RLIMIT_NOFILE, &none);
        lx_alloc_fail_at(f->n, f->forever);
        if (!lx_git_is_worker(&status, 3, words))
            status = 1;
        lx_alloc_fail_at(0, false);
        setrlimit(RLIMIT_NOFILE, &files);
        limit.rlim_cur = RLIM_INFINITY;
        setrlimit(RLIMIT_FSIZE, &limit);
        _exit(status);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_store_git__a_child_fails_anywhere(void **state)
{
    struct stat st;
    int n_failed = 0;
    (void)state;

    make_repository("code");
    lx_assert_shell("cd %s/code && echo 'int y;' >a.c && echo new >b.py", folder);
    assert_int_equal(serve("code", &(fault){0}), 0); /* of no repository: one frame */
    if (chdir(folder) < 0)
        fail();
    assert_int_equal(serve("code", &(fault){0}), 0);
    assert_int_equal(stat("said", &st), 0);
    for (off_t most = 1; most < st.st_size; most += most < 60 ? 7 : 23)
        assert_int_equal(serve("code", &(fault){.most = (rlim_t)most}), 70);
    assert_int_equal(serve("code", &(fault){.most = (rlim_t)st.st_size - 2}), 70);
    for (size_t n = 1; n < 60; n++) {
        n_failed += serve("code", &(fault){.n = n, .forever = true}) != 0;
        n_failed += serve("code", &(fault){.n = n}) != 0;
    }
    assert_true(n_failed > 0);
}

static void check_said(const char *problem)
{
    lx_str said = LX_STR_INIT;
    lx_error err = {0};

    lx_assert_ok(lx_file_read(&said, in_folder("said"), 1 << 20, &err), &err);
    assert_int_equal(said.data[0], 'j');
    assert_non_null(strstr(said.data + 5, problem));
    lx_str_release(&said);
}

static void test_store_git__a_child_without_libgit2(void **state)
{
    static const fault poor = {.has_no_files = true};
    struct stat st;
    int n_failed = 0;
    (void)state;

    make_repository("none");
    assert_int_equal(serve(in_folder("none"), &poor), 0);
    check_said("libgit2");
    assert_int_equal(stat(in_folder("said"), &st), 0);
    for (off_t most = 1; most < st.st_size; most += 3)
        assert_int_equal(
            serve("code", &(fault){.has_no_files = true, .most = (rlim_t)most}), 70);
    for (size_t n = 1; n < 12; n++)
        n_failed += serve("code", &(fault){.has_no_files = true, .n = n}) != 0;
    assert_true(n_failed > 0);
}

static int cannot_open(git_repository **out, const char *path, unsigned flags,
                       const char *ceiling)
{
    (void)out;
    (void)path;
    (void)flags;
    (void)ceiling;
    return GIT_ERROR;
}

static const git_error *says_nothing(void)
{
    return NULL;
}

static void make_silent(void)
{
    if (store__git2_load(NULL) < 0)
        _exit(1);
    store__git2.repository_open_ext = cannot_open;
    store__git2.error_last = says_nothing;
}

static void test_store_git__libgit2_that_does_not_say_why(void **state)
{
    (void)state;
    assert_int_equal(serve("code", &(fault){.damage = make_silent}), 0);
    check_said("cannot be opened");
}

/* ---- its parent fails -------------------------------------------------------------------- */

static int waits_too_long(void *context)
{
    cJSON *json;
    char *diff;
    (void)context;

    refuse_call(CALL_OF_POLL, 0); /* whose time is over, then */
    json = state_of(&diff, in_folder("parent"));
    return strstr(lx_json_text(json, "problem"), "more than 20 s") != NULL;
}

static int has_no_process(void *context)
{
    char *json, *diff;
    lx_error err = {0};
    (void)context;

    refuse_processes();
    return lx_git_state(&json, &diff, store, in_folder("parent"), &err) == LX_EIO &&
           strstr(err.text, "a process for the git state") && !json && !diff;
}

static void test_store_git__the_system_refuses(void **state)
{
    (void)state;
    make_repository("parent");
    in_child(waits_too_long, NULL);
    in_child(has_no_process, NULL);
}

static void take_note(int number)
{
    (void)number;
}

/* Descriptors for a pipe and none for the child's own, and a signal meanwhile: neither is in its way. */
static void test_store_git__little_room_and_a_signal(void **state)
{
    const struct sigaction noted = {.sa_handler = take_note};
    struct rlimit usual, few;
    char *diff;
    cJSON *json;
    (void)state;

    lx_assert_shell("mkdir -p %s/rings/.git", folder);
    getrlimit(RLIMIT_NOFILE, &usual);
    few = usual;
    few.rlim_cur = (rlim_t)dup(0);
    close((int)few.rlim_cur);
    few.rlim_cur += 2;
    setrlimit(RLIMIT_NOFILE, &few);
    sigaction(SIGUSR1, &noted, NULL);
    json = state_of(&diff, in_folder("rings"));
    signal(SIGUSR1, SIG_DFL);
    setrlimit(RLIMIT_NOFILE, &usual);
    assert_string_equal(lx_json_text(json, "branch"), "main");
    cJSON_Delete(json);
    lx_free(diff);
}

static void test_store_git__a_parent_without_memory(void **state)
{
    char *none;
    (void)state;
    make_repository("dear");
    lx_assert_shell("echo new >%s/dear/b.py; mkdir -p %s/dies/.git", folder, folder);
    for (int dies = 0; dies < 2; dies++) {
        bool has_failed = true;
        char *json = NULL, *diff = NULL;
        for (size_t n = 1; has_failed; n++) {
            lx_error err = {0};
            int rc;
            lx_free(json);
            lx_free(diff);
            lx_alloc_fail_at(n, false);
            rc = lx_git_state(&json, &diff, store, in_folder(dies ? "dies" : "dear"),
                              &err);
            has_failed = lx_alloc_has_failed();
            lx_alloc_fail_at(0, false);
            if (rc != LX_OK && (rc != LX_ENOMEM || json || diff))
                fail_msg("allocation %zu: %d %s", n, rc, err.text);
            assert_in_range(n, 1, 200);
        }
        assert_non_null(strstr(json, dies ? "problem" : "b.py"));
        assert_true(dies ? !diff : !*diff);
        lx_free(json);
        lx_free(diff);
    }
    for (size_t n = 1; n < 4; n++) { /* what cannot be told is left to the child */
        lx_alloc_fail_at(n, n == 1);
        lx_git_prepare("/usr");
        lx_alloc_fail_at(0, false);
        assert_null(state_of(&none, "/usr"));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_git__children_that_misbehave),
        cmocka_unit_test(test_store_git__without_a_commit_or_a_tree),
        cmocka_unit_test(test_store_git__limits),
        cmocka_unit_test(test_store_git__what_cannot_be_read_is_a_problem),
        cmocka_unit_test(test_store_git__prepared_readers),
        cmocka_unit_test(test_store_git__no_descriptor_is_left),
        cmocka_unit_test(test_store_git__a_child_fails_anywhere),
        cmocka_unit_test(test_store_git__a_child_without_libgit2),
        cmocka_unit_test(test_store_git__libgit2_that_does_not_say_why),
        cmocka_unit_test(test_store_git__the_system_refuses),
        cmocka_unit_test(test_store_git__little_room_and_a_signal),
        cmocka_unit_test(test_store_git__a_parent_without_memory)};
    int status;

    lx_git_prepare("nowhere"); /* nothing yet: who is not lx is not its own child */

    if (argc == 3 && strcmp(argv[1], "__git") == 0 && misbehaves(argv[2]))
        return 0;
    if (lx_git_is_worker(&status, argc, argv))
        return status;
    if (system("git --version >/dev/null 2>&1") != 0)
        return 77; /* skipped */
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
