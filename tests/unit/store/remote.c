/* Repositories of strangers: versions that are no runs, objects that are not what their names say, refs of other shapes,
 * locks that stay, versions that go while they are fetched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "src/base/alloc.h"
#include "src/base/arena.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/git2_late.h"
#include "store/internal.h"
#include "store/privacy.h"
#include "store/query.h"
#include "store/remote.h"
#include "tests/support/expect.h"

#define RUN "0123456789abcdef"
#define RECORD                                                                          \
    "{\"id\":\"" RUN "\",\"kind\":\"train\",\"started\":1,\"texts\":{},\"remarks\":[]," \
    "\"artifacts\":[],\"curves\":[]}"

static char folder[64];
static lx_store *store;
static lx_remote *remote;

/* The working folder has a store, and runs.git is a repository. */
static int set_up(void **state)
{
    lx_error err = {0};
    (void)state;

    lx_make_folder(folder, sizeof folder, "lx-remote");
    if (chdir(folder) < 0)
        return -1;
    setenv("HOME", folder, 1);
    unsetenv("LX_STORE");
    lx_assert_shell(
        "git config --global user.name wren && git config --global user.email "
        "wren@nowhere && git init -q --bare runs.git");
    lx_assert_ok(lx_store_open(&store, "store", false, &err), &err);
    lx_assert_ok(lx_remote_open(&remote, "runs.git", "scratch", &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lx_remote_close(remote);
    remote = NULL;
    lx_store_close(store);
    if (chdir("/") < 0)
        return -1;
    lx_assert_shell("rm -rf '%s'", folder);
    return 0;
}

/* A line that a command prints. */
static void read_line(char *out, size_t n, const char *command)
{
    FILE *f = popen(command, "r");

    assert_non_null(f);
    assert_non_null(fgets(out, (int)n, f));
    assert_int_equal(pclose(f), 0);
    out[strcspn(out, "\n")] = '\0';
}

/* A commit of a tree as git mktree takes it, in the scratch repository, as if it was fetched. $blob and $tree are blobs
 * and trees of it. */
static lx_remote_version version_of(const char *record, const char *tree)
{
    lx_remote_version v = {RUN, ""};
    char command[2048];

    snprintf(
        command, sizeof command,
        "export GIT_DIR=%s; blob=$(printf '%%s' '%s' | git hash-object -w --stdin); "
        "other=$("
        "printf other | git hash-object -w --stdin); empty=$(git mktree </dev/null); git "
        "commit-tree -m x $(printf \"%s\" | git mktree --missing)",
        lx_remote_scratch(remote), record, tree);
    read_line(v.commit, sizeof v.commit, command);
    return v;
}

static int record_of(const lx_remote_version *v, lx_error *err)
{
    cJSON *record;
    int rc = lx_remote_record(&record, remote, v, err);

    assert_true((rc == LX_OK) == (record != NULL));
    cJSON_Delete(record);
    return rc;
}

static void check_version(const char *record, const char *tree, int code,
                          const char *problem)
{
    lx_remote_version v = version_of(record, tree);
    lx_error err = {0};

    assert_int_equal(record_of(&v, &err), code);
    if (problem && !strstr(err.text, problem))
        fail_msg("%s: \"%s\" does not say \"%s\"", tree, err.text, problem);
}

/* A loose object with a header that says how many bytes it has, and three of them. */
static void plant(char hex[41], char first, const char *size)
{
    unsigned char packed[128], plain[64];
    int n = snprintf((char *)plain, sizeof plain, "blob %s%cabc", size, 0);
    uLongf n_packed = sizeof packed;
    char path[256];
    lx_error err = {0};

    memset(hex, first, 40);
    hex[40] = '\0';
    assert_int_equal(compress(packed, &n_packed, plain, (uLong)n), Z_OK);
    snprintf(path, sizeof path, "%s/objects/%.2s", lx_remote_scratch(remote), hex);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/objects/%.2s/%s", lx_remote_scratch(remote), hex,
             hex + 2);
    lx_assert_ok(lx_file_write(path, packed, n_packed, &err), &err);
}

static void test_store_remote__versions_that_are_no_runs(void **state)
{
    lx_remote_version gone = {RUN, "ffffffffffffffffffffffffffffffffffffffff"};
    char large[41], tree[128];
    lx_error err = {0};
    (void)state;

    check_version(RECORD, "100644 blob $blob\\trecord.json\\n", LX_OK, NULL);
    check_version(RECORD, "100644 blob $blob\\tother.json\\n", LX_EFORMAT,
                  "no run of lx");
    check_version(RECORD, "040000 tree $empty\\trecord.json\\n", LX_EFORMAT,
                  "no run of lx");
    check_version("{", "100644 blob $blob\\trecord.json\\n", LX_EFORMAT, RUN);
    check_version("{\"id\":1}", "100644 blob $blob\\trecord.json\\n", LX_EFORMAT,
                  "16 hex");
    check_version("{\"id\":\"fedcba9876543210\",\"kind\":\"train\",\"started\":1,"
                  "\"texts\":{},\"remarks\":[],\"artifacts\":[],\"curves\":[]}",
                  "100644 blob $blob\\trecord.json\\n", LX_EFORMAT, "of run fedcba98");
    check_version(RECORD,
                  "100644 blob 1111111111111111111111111111111111111111\\trecord.json\\n",
                  LX_EFORMAT, "no run of lx");
    plant(large, 'a', "300000000");
    snprintf(tree, sizeof tree, "100644 blob %s\\trecord.json\\n", large);
    check_version(RECORD, tree, LX_ELIMIT, "more than 256 MiB");
    assert_int_equal(record_of(&gone, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "is gone from it"));
}

static void check_object(const char *entry, int code, const char *problem)
{
    lx_hash hash = lx_sha256_of("other", 5);
    char hex[LX_HASH_HEX + 1], command[1024], tree[160], id[41];
    lx_error err = {0};
    lx_remote_version v;
    const void *data;
    size_t n;
    int rc;

    lx_hash_hex(hex, &hash);
    v = version_of("other",
                   "100644 blob $blob\\tx\\n"); /* the objects that entries name */
    snprintf(
        command, sizeof command,
        "export GIT_DIR=%s; other=$(printf other | git hash-object -w --stdin); empty=$("
        "git mktree </dev/null); printf \"%s\\t%s\\n\" | git mktree --missing",
        lx_remote_scratch(remote), entry, hex);
    read_line(id, sizeof id, command);
    snprintf(tree, sizeof tree,
             "100644 blob $blob\\trecord.json\\n040000 tree %s\\tobjects\\n", id);
    v = version_of(RECORD, tree);
    lx_assert_ok(record_of(&v, &err), &err);
    rc = lx_remote_object(remote, &data, &n, &hash, &err);
    if (rc != code || (problem && !strstr(err.text, problem)))
        fail_msg("%s: code %d: %s", entry, rc, err.text);
    if (code == LX_OK)
        assert_int_equal(n, 5);
}

static void test_store_remote__objects_that_are_others(void **state)
{
    lx_hash hash = lx_sha256_of("other", 5);
    char planted[41], entry[64];
    lx_error err = {0};
    lx_remote_version v;
    const void *data;
    size_t n;
    (void)state;

    check_object("100644 blob $other", LX_OK, NULL);
    check_object("100644 blob $(printf another | git hash-object -w --stdin)", LX_EFORMAT,
                 "hashes to another name");
    check_object("040000 tree $empty", LX_ENOTFOUND, "not in this version");
    check_object("100644 blob 1111111111111111111111111111111111111111", LX_ENOTFOUND,
                 "not in this version");
    plant(planted, 'b', "9000000000");
    snprintf(entry, sizeof entry, "100644 blob %s", planted);
    check_object(entry, LX_ELIMIT, "more than 8 GiB");
    plant(planted, 'c', "100");
    snprintf(entry, sizeof entry, "100644 blob %s", planted);
    check_object(entry, LX_EFORMAT, "cannot be read");
    v = version_of(RECORD,
                   "100644 blob $blob\\trecord.json\\n100644 blob $other\\tobjects\\n");
    lx_assert_ok(record_of(&v, &err), &err);
    assert_int_equal(lx_remote_object(remote, &data, &n, &hash, &err), LX_ENOTFOUND);
}

static void test_store_remote__refs_of_other_shapes_are_passed_over(void **state)
{
    const lx_remote_version *there;
    lx_error err = {0};
    size_t n;
    (void)state;

    lx_assert_shell(
        "cd runs.git && c=$(git commit-tree -m x $(git mktree </dev/null)) && d=$(git "
        "commit-tree "
        "-m y $(git mktree </dev/null)) && for ref in heads/main lx/runs/x lx/runs/" RUN
        "/$c "
        "lx/runs/" RUN "/$d lx/runs/0123456789ABCDEF/$c lx/runs/0123456789abcde/0$c "
        "lx/runs/" RUN "/g${c#?}; do git update-ref refs/$ref $c; done");
    lx_assert_ok(lx_remote_list(&there, &n, remote, &err), &err);
    assert_int_equal(n, 1);
    assert_string_equal(there[0].run, RUN);
}

/* Between list and fetch another push has replaced it. */
static void test_store_remote__a_version_goes_before_it_is_fetched(void **state)
{
    const lx_remote_version *there;
    lx_error err = {0};
    size_t n;
    (void)state;

    lx_assert_shell(
        "cd runs.git && c=$(git commit-tree -m x $(git mktree </dev/null)) && git "
        "update-ref refs/lx/runs/" RUN "/$c $c");
    lx_assert_ok(lx_remote_list(&there, &n, remote, &err), &err);
    assert_int_equal(n, 1);
    lx_assert_shell("cd runs.git && git for-each-ref --format='delete %%(refname)' | git "
                    "update-ref --stdin");
    lx_assert_ok(lx_remote_fetch(remote, there, n, &err), &err);
    assert_int_equal(record_of(&there[0], &err), LX_ENOTFOUND);
}

/* ---- leaving --------------------------------------------------------------------------- */

static void stage_run(lx_remote_version *out, int64_t seq)
{
    lx_arena *arena = lx_arena_new();
    lx_privacy *privacy;
    lx_transfer *one;
    lx_run_row row;
    lx_error err = {0};

    lx_assert_ok(lx_privacy_new(&privacy, true, &err), &err);
    lx_assert_ok(lx_query_run(&row, store, seq, arena, &err), &err);
    lx_assert_ok(lx_transfer_new(&one, store, privacy, arena, &err), &err);
    lx_assert_ok(lx_transfer_add(one, &row, &err), &err);
    lx_assert_ok(lx_remote_stage(out, remote, one, &err), &err);
    lx_transfer_free(one);
    lx_privacy_free(privacy);
    lx_arena_free(arena);
}

static void stage(lx_remote_version *out, const char *name)
{
    const lx_run_start start = {.name = name, .kind = "run"};
    lx_run *run;
    lx_error err = {0};
    int64_t seq;

    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    seq = lx_run_seq(run);
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    stage_run(out, seq);
}

/* As a push leaves it that was killed: a lock that is old goes, so that the next push gets through. */
static void check_lock(const char *url, const char *name, bool is_old)
{
    lx_remote_version v;
    lx_error err = {0};

    lx_remote_close(remote);
    lx_assert_ok(lx_remote_open(&remote, url, "scratch", &err), &err);
    stage(&v, name);
    lx_assert_shell("mkdir -p runs.git/refs/lx/runs/%s && touch %s "
                    "runs.git/refs/lx/runs/%s/%s.lock",
                    v.run, is_old ? "-d '1 hour ago'" : "", v.run, v.commit);
    assert_int_equal(lx_remote_push(remote, &v, 1, NULL, 0, &err), LX_EBUSY);
    lx_assert_ok(lx_remote_push(remote, &v, 1, NULL, 0, &err), &err);
    lx_assert_ok(lx_remote_push(remote, NULL, 0, &v, 1, &err), &err);
    lx_assert_ok(lx_remote_push(remote, NULL, 0, &v, 1, &err), &err); /* it is gone */
}

static void test_store_remote__locks_of_the_dead_go(void **state)
{
    char url[96];
    (void)state;

    snprintf(url, sizeof url, "file://%s/runs.git", folder);
    check_lock("runs.git", "a", true);
    check_lock(url, "b", true);
    check_lock("runs.git", "c", false); /* when it is old enough */
}

/* libgit2 finds this one before the C library's. */
static char synced[65536];

int fsync(int fd)
{
    char link[64], path[1024];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if ((n = readlink(link, path, sizeof path - 1)) > 0 &&
        strlen(synced) + (size_t)n + 2 < sizeof synced) {
        path[n] = '\0';
        strcat(strcat(synced, path), "\n");
    }
    return fdatasync(fd);
}

static void check_synced(const char *path, bool is_synced)
{
    char line[1100];

    snprintf(line, sizeof line, "%s/%s\n", folder, path);
    if (strstr(synced, line) ? !is_synced : is_synced)
        fail_msg("%s of\n%s", path, synced);
}

/* What was pushed into a folder of this machine is durable before what it replaces goes. */
static void test_store_remote__what_is_pushed_is_synced(void **state)
{
    const lx_remote_version *there;
    lx_remote_version v;
    lx_error err = {0};
    char ref[128];
    size_t n;
    (void)state;

    synced[0] = '\0';
    stage(&v, "a");
    assert_null(strstr(synced, "/scratch/")); /* what is staged need not be */
    synced[0] = '\0';
    lx_assert_ok(lx_remote_push(remote, &v, 1, NULL, 0, &err), &err);
    assert_null(strstr(synced, "/scratch/"));
    snprintf(ref, sizeof ref, "runs.git/refs/lx/runs/%s", v.run);
    check_synced(ref, true);
    check_synced("runs.git/refs/lx/runs", true);
    check_synced("runs.git/refs/lx", true);
    check_synced("runs.git/refs", true);
    check_synced("runs.git/objects/pack", true);
    assert_non_null(
        strstr(synced, "/runs.git/objects/pack/pack")); /* or its temporary name */
    synced[0] = '\0';
    lx_assert_ok(lx_remote_list(&there, &n, remote, &err), &err);
    lx_assert_ok(lx_remote_fetch(remote, there, n, &err), &err);
    assert_string_equal(synced, "");
}

/* A push that was killed leaves what it had staged, which may be large. */
static void test_store_remote__what_the_dead_have_staged_goes(void **state)
{
    lx_error err = {0};
    pid_t dead = fork();
    (void)state;

    if (!dead)
        _exit(0);
    assert_int_equal(waitpid(dead, NULL, 0), dead);
    lx_remote_close(remote);
    lx_assert_shell("mkdir -p scratch/sync-%ld.git/objects scratch/sync-1.git "
                    "scratch/sync-%ld.other scratch/sync-.git scratch/sync--7.git "
                    "scratch/sync-99999999999999999999.git scratch/sync-4294967297.git "
                    "scratch/another && touch "
"scratch/sync-99999999999999999999.git && touch "
                    "scratch/sync-%ld.git/objects/x",
                    (long)dead, (long)dead, (long)dead);
    lx_assert_ok(lx_remote_open(&remote, "runs.git", "scratch", &err), &err);
    lx_assert_shell("test ! -e scratch/sync-%ld.git && cd scratch && test -e "
                    "sync-1.git -a -e sync-%ld.other -a -e sync-.git -a -e sync--7.git "
                    "-a -e sync-99999999999999999999.git -a -e sync-4294967297.git "
                    "-a -e another -a -e sync-%ld.git",
                    (long)dead, (long)dead, (long)getpid());
}

static void test_store_remote__names_and_addresses(void **state)
{
    const lx_remote_version *there;
    lx_error err = {0};
    size_t n;
    (void)state;

    lx_remote_close(remote);
    lx_assert_shell("git init -q . && git remote add wrens runs.git && mkdir -p "
                    "scratch/sync-%ld.git/x "
                    "&& touch scratch/sync-%ld.git/x/y",
                    (long)getpid(), (long)getpid());
    lx_assert_ok(lx_remote_open(&remote, "wrens", "scratch", &err), &err);
    assert_string_equal(lx_remote_url(remote), "runs.git");
    lx_assert_ok(lx_remote_list(&there, &n, remote, &err), &err);
    assert_int_equal(n, 0);
    lx_remote_close(remote);
    lx_assert_ok(lx_remote_open(&remote, "nobody", "scratch", &err), &err);
    assert_int_equal(lx_remote_list(&there, &n, remote, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "there is no such folder"));
    lx_remote_close(remote);
    lx_assert_ok(lx_remote_open(&remote, "store/store.db/x", "scratch", &err), &err);
    assert_true(lx_remote_list(&there, &n, remote, &err) < 0);
    assert_null(
        strstr(err.text, "there is no such folder")); /* who knows what there is */
    lx_remote_close(remote);
    lx_assert_shell("git config remote.out.pushurl runs.git");
    lx_assert_ok(lx_remote_open(&remote, "out", "scratch", &err), &err);
    assert_string_equal(lx_remote_url(remote), "out"); /* nothing can be had from there */
    lx_remote_close(remote);
    lx_assert_ok(lx_remote_open(&remote, "store", "scratch", &err), &err);
    assert_true(lx_remote_list(&there, &n, remote, &err) < 0); /* no repository */
    lx_remote_close(remote);
    remote = NULL;
    assert_int_equal(lx_remote_open(&remote, "runs.git", "store/store.db/x", &err),
                     LX_EEXISTS);
    assert_null(remote);
    if (getuid() != 0)
        return;
    lx_assert_shell("chown -R 54321:54321 .git runs.git");
    assert_int_equal(lx_remote_open(&remote, "nobody", "scratch", &err), LX_EPERM);
    assert_non_null(strstr(err.text, "belongs to another user"));
    lx_assert_ok(lx_remote_open(&remote, "store", "scratch", &err), &err);
    lx_remote_close(remote); /* that is a folder */
    lx_assert_ok(lx_remote_open(&remote, "./runs.git", "scratch", &err), &err);
    if (lx_remote_list(&there, &n, remote, &err) < 0)
        assert_non_null(strstr(err.text, "safe.directory"));
}

/* ---- libgit2 says no ---------------------------------------------------------------------- */

static store__git2_functions usual;
static struct {
    int code; /* of every call below */
    int klass;
    const char *message; /* NULL: none; "-": no error at all */
    int n_calls;
} answer;

static const git_error *say_error(void)
{
    static git_error error;

    error = (git_error){(char *)(uintptr_t)answer.message, answer.klass};
    return answer.message && strcmp(answer.message, "-") == 0 ? NULL : &error;
}

static int no_connection(git_remote *r, git_direction d, const git_remote_callbacks *c,
                         const git_proxy_options *p, const git_strarray *h)
{
    (void)r, (void)d, (void)c, (void)p, (void)h;
    answer.n_calls++;
    return answer.code;
}

static int no_fetch(git_remote *r, const git_strarray *s, const git_fetch_options *o,
                    const char *m)
{
    (void)r, (void)s, (void)o, (void)m;
    answer.n_calls++;
    return answer.code;
}

/* As a server that sends without end. */
static int endless_fetch(git_remote *r, const git_strarray *s, const git_fetch_options *o,
                         const char *m)
{
    git_indexer_progress so_far = {.received_bytes = 1 << 20};
    int code = o->callbacks.transfer_progress(&so_far, o->callbacks.payload);
    (void)r, (void)s, (void)m;

    assert_int_equal(code, 0);
    so_far.received_bytes = (1ULL << 36) + 1;
    return o->callbacks.transfer_progress(&so_far, o->callbacks.payload);
}

static int no_push(git_remote *r, const git_strarray *s, const git_push_options *o)
{
    (void)r, (void)s, (void)o;
    answer.n_calls++;
    return answer.code;
}

static int no_start(void)
{
    return -1;
}

static int spoil(void **state)
{
    usual = store__git2;
    return set_up(state);
}

static int mend(void **state)
{
    store__git2 = usual;
    return tear_down(state);
}

/* What it says becomes ours: the code, and words without secrets. */
static void test_store_remote__errors_of_libgit2(void **state)
{
    static const struct {
        int code, klass;
        const char *message;
        int rc;
        const char *text;
    } cases[] = {
        {GIT_ERROR, GIT_ERROR_NET, "no route", LX_EIO, "listing its runs: no route"},
        {GIT_ENOTFOUND, GIT_ERROR_NET, NULL, LX_ENOTFOUND, "git failed"},
        {GIT_ERROR, GIT_ERROR_NET, "", LX_EIO, "git failed"},
        {GIT_ERROR, GIT_ERROR_NET, "-", LX_EIO, "git failed"},
        {GIT_EAUTH, GIT_ERROR_NET, "of https://a:hunter2@h", LX_EPERM, "***@h"},
        {GIT_ECERTIFICATE, GIT_ERROR_SSH, "unknown key", LX_EPERM, "known_hosts"},
        {GIT_ECERTIFICATE, GIT_ERROR_SSL, "self-signed", LX_EPERM, "self-signed"},
        {GIT_ECERTIFICATE, 0, "-", LX_EPERM, "git failed"},
        {GIT_ENONFASTFORWARD, GIT_ERROR_NET, "later", LX_EBUSY, "later"},
        {GIT_ELOCKED, GIT_ERROR_NET, "locked", LX_EBUSY, "locked"},
        {GIT_EOWNER, GIT_ERROR_NET, "theirs", LX_EPERM, "safe.directory"}};
    const lx_remote_version *there;
    size_t n;
    (void)state;

    store__git2.remote_connect = no_connection;
    store__git2.error_last = say_error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_error err = {0};
        int rc;
        answer.code = cases[i].code;
        answer.klass = cases[i].klass;
        answer.message = cases[i].message;
        rc = lx_remote_list(&there, &n, remote, &err);
        if (rc != cases[i].rc || !strstr(err.text, cases[i].text) ||
            strstr(err.text, "hunter2") ||
            (cases[i].klass == GIT_ERROR_SSL && strstr(err.text, "known_hosts")))
            fail_msg("%d %s: %d %s", cases[i].code, cases[i].message, rc, err.text);
    }
}

/* What fails ends with its batch: the other side is not asked again. */
static void test_store_remote__a_batch_that_fails_is_the_last(void **state)
{
    static lx_remote_version many[120];
    lx_error err = {0};
    (void)state;

    for (size_t i = 0; i < 120; i++)
        many[i] = (lx_remote_version){RUN, "00112233445566778899aabbccddeeff00112233"};
    store__git2.remote_fetch = no_fetch;
    store__git2.remote_push = no_push;
    answer.code = GIT_ERROR;
    answer.n_calls = 0;
    assert_int_equal(lx_remote_fetch(remote, many, 120, &err), LX_EIO);
    assert_int_equal(lx_remote_push(remote, many, 120, NULL, 0, &err), LX_EIO);
    assert_int_equal(answer.n_calls, 2);
    answer.code = 0;
    answer.n_calls = 0;
    lx_assert_ok(lx_remote_fetch(remote, many, 120, &err), &err);
    assert_int_equal(answer.n_calls, 3);
    store__git2.remote_fetch = endless_fetch;
    assert_int_equal(lx_remote_fetch(remote, many, 1, &err), LX_EIO);
    assert_non_null(strstr(err.text, "more than 64 GiB"));
}

/* Locks are looked for where the other side is a folder of this machine, and a repository. */
static void test_store_remote__locks_elsewhere_are_no_matter_of_ours(void **state)
{
    static const char *const urls[] = {"https://localhost:1/r.git", "store", "runs.git"};
    const lx_remote_version v = {RUN, "00112233445566778899aabbccddeeff00112233"};
    lx_error err = {0};
    (void)state;

    store__git2.remote_push = no_push;
    answer.code = GIT_ELOCKED;
    lx_assert_shell("mkdir -p runs.git/refs/lx/runs/" RUN " && "
                    "touch -d '1 hour' runs.git/refs/lx/runs/" RUN "/%s.lock",
                    v.commit);
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        lx_remote_close(remote);
        lx_assert_ok(lx_remote_open(&remote, urls[i], "scratch", &err), &err);
        assert_int_equal(lx_remote_push(remote, &v, 1, NULL, 0, &err), LX_EBUSY);
    }
    /* One from the future is not old, however long one waits. */
    lx_assert_shell("test -e runs.git/refs/lx/runs/" RUN "/%s.lock", v.commit);
    lx_assert_shell("rm runs.git/refs/lx/runs/" RUN "/*.lock");
    assert_int_equal(lx_remote_push(remote, &v, 1, NULL, 0, &err), LX_EBUSY);
}

static void test_store_remote__libgit2_does_not_start(void **state)
{
    lx_remote *other;
    lx_error err = {0};
    (void)state;

    store__git2.libgit2_init = no_start;
    assert_int_equal(lx_remote_open(&other, "runs.git", "scratch", &err), LX_ENOMEM);
    assert_null(other);
}

/* Before anything else has loaded it. */
static void test_store_remote__without_libgit2(void **state)
{
    struct rlimit many, none;
    lx_error err = {0};
    (void)state;

    assert_null(store__git2.libgit2_init);
    getrlimit(RLIMIT_NOFILE, &many);
    none = (struct rlimit){0, many.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    assert_int_equal(lx_remote_open(&remote, "runs.git", "scratch", &err), LX_EPLACE);
    setrlimit(RLIMIT_NOFILE, &many);
    assert_null(remote);
    assert_non_null(strstr(err.text, "libgit2"));
}

/* ---- lx has no memory (libgit2 has) --------------------------------------------------------- */

static lx_remote_version staged, both[2];
static lx_transfer *leaving;

static int open_again(lx_error *err)
{
    lx_remote *other;
    int rc = lx_remote_open(&other, "runs.git", "other", err);

    lx_remote_close(other);
    return rc;
}

static int stage_again(lx_error *err)
{
    return lx_remote_stage(&staged, remote, leaving, err);
}

static int push_again(lx_error *err)
{
    return lx_remote_push(remote, both, 2, NULL, 0, err);
}

/* Where a lock may stand must be put together, too. */
static int push_locked(lx_error *err)
{
    const store__git2_functions usual_ones = store__git2;
    int rc;

    store__git2.remote_push = no_push;
    answer.code = GIT_ELOCKED;
    rc = lx_remote_push(remote, both, 1, NULL, 0, err);
    store__git2 = usual_ones;
    return rc == LX_EBUSY ? LX_OK : rc;
}

static int take(lx_error *err)
{
    const lx_remote_version *there;
    cJSON *record = NULL;
    size_t n;
    int rc = lx_remote_list(&there, &n, remote, err);

    if (rc == LX_OK && (rc = lx_remote_fetch(remote, there, n, err)) == LX_OK)
        rc = lx_remote_record(&record, remote, there, err);
    cJSON_Delete(record);
    return rc;
}

static int remember(lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_synced *s = NULL;
    const char *mark;
    lx_run_row row;
    int rc = arena ? LX_OK : lx_oom(err);

    if (rc < 0 || (rc = lx_synced_open(&s, store, "url", err)) < 0 ||
        (rc = lx_query_run(&row, store, 1, arena, err)) < 0 ||
        (rc = lx_transfer_mark(&mark, store, &row, false, arena, err)) < 0 ||
        (rc = lx_transfer_mark(&mark, store, &row, true, arena, err)) < 0 ||
        (rc = lx_synced_add(s, &staged, mark, err)) < 0)
        goto done;
    rc = lx_synced_save(s, err);
done:
    lx_synced_close(s);
    lx_arena_free(arena);
    return rc;
}

static void test_store_remote__no_memory_for_what_is_ours(void **state)
{
    static int (*const works[])(lx_error *) = {
        open_again, stage_again, push_again, push_locked, take, remember, remember};
    lx_arena *arena = lx_arena_new();
    lx_privacy *privacy;
    lx_run_row row;
    lx_error err = {0};
    (void)state;

    stage(&both[0], "a");
    stage(&both[1], "b");
    lx_assert_ok(lx_privacy_new(&privacy, true, &err), &err);
    lx_assert_ok(lx_query_run(&row, store, 1, arena, &err), &err);
    lx_assert_ok(lx_transfer_new(&leaving, store, privacy, arena, &err), &err);
    lx_assert_ok(lx_transfer_add(leaving, &row, &err), &err);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        bool has_failed = true;
        for (size_t n = 1; has_failed; n++) {
            int rc;
            lx_alloc_fail_at(n, false);
            rc = works[i](&err);
            has_failed = lx_alloc_has_failed();
            lx_alloc_fail_at(0, false);
            if (rc < 0 && (rc != LX_ENOMEM || !*err.text))
                fail_msg("work %zu, allocation %zu: %d %s", i, n, rc, err.text);
            assert_in_range(n, 1, 3000);
        }
    }
    lx_transfer_free(leaving);
    lx_privacy_free(privacy);
    lx_arena_free(arena);
}

/* Of an import there may be nothing but the record. */
static void test_store_remote__a_run_without_objects(void **state)
{
    const lx_run_start start = {
        .kind = "import", .origin = "x:1", .started = 1e9, .is_historic = true};
    const lx_remote_version *there;
    lx_remote_version v;
    lx_run *run;
    lx_error err = {0};
    size_t n;
    (void)state;

    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_assert_ok(lx_run_end_at(run, "finished", NULL, 1e9 + 1, &err), &err);
    stage_run(&v, 1);
    lx_assert_ok(lx_remote_push(remote, &v, 1, NULL, 0, &err), &err);
    lx_assert_ok(lx_remote_list(&there, &n, remote, &err), &err);
    lx_assert_ok(lx_remote_fetch(remote, there, n, &err), &err);
    lx_assert_ok(record_of(there, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_remote__without_libgit2),
        cmocka_unit_test_setup_teardown(test_store_remote__versions_that_are_no_runs,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_remote__objects_that_are_others,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_store_remote__refs_of_other_shapes_are_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_store_remote__a_version_goes_before_it_is_fetched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_remote__locks_of_the_dead_go, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_remote__what_is_pushed_is_synced,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_remote__what_the_dead_have_staged_goes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_remote__names_and_addresses, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_remote__errors_of_libgit2, spoil,
                                        mend),
        cmocka_unit_test_setup_teardown(test_store_remote__a_batch_that_fails_is_the_last,
                                        spoil, mend),
        cmocka_unit_test_setup_teardown(
            test_store_remote__locks_elsewhere_are_no_matter_of_ours, spoil, mend),
        cmocka_unit_test_setup_teardown(test_store_remote__libgit2_does_not_start, spoil,
                                        mend),
        cmocka_unit_test_setup_teardown(test_store_remote__no_memory_for_what_is_ours,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_remote__a_run_without_objects, set_up,
                                        tear_down)};

    if (system("git --version >/dev/null 2>&1") != 0)
        return 77; /* skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
