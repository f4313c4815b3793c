/* Repositories of strangers: versions that are no runs, objects that are not what their names say, refs of other shapes,
 * locks that stay, versions that go while they are fetched; and what is remembered of a remote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "src/base/arena.h"
#include "src/base/file.h"
#include "src/base/json.h"
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

    snprintf(folder, sizeof folder, "/tmp/lx-remote-XXXXXX");
    if (!mkdtemp(folder) || chdir(folder) < 0)
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

static void stage(lx_remote_version *out, const char *name)
{
    const lx_run_start start = {.name = name, .kind = "run"};
    lx_arena *arena = lx_arena_new();
    lx_privacy *privacy;
    lx_transfer *one;
    lx_run_row row;
    lx_run *run;
    lx_error err = {0};
    int64_t seq;

    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    seq = lx_run_seq(run);
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    lx_assert_ok(lx_privacy_new(&privacy, true, &err), &err);
    lx_assert_ok(lx_query_run(&row, store, seq, arena, &err), &err);
    lx_assert_ok(lx_transfer_new(&one, store, privacy, arena, &err), &err);
    lx_assert_ok(lx_transfer_add(one, &row, &err), &err);
    lx_assert_ok(lx_remote_stage(out, remote, one, &err), &err);
    lx_transfer_free(one);
    lx_privacy_free(privacy);
    lx_arena_free(arena);
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
    lx_assert_ok(lx_remote_open(&remote, "./runs.git", "scratch", &err), &err);
    if (lx_remote_list(&there, &n, remote, &err) < 0)
        assert_non_null(strstr(err.text, "safe.directory"));
}

/* ---- what is known of a remote ---------------------------------------------------------- */

#define COMMIT "00112233445566778899aabbccddeeff00112233"

static void test_store_synced__lines_that_are_none_are_passed_over(void **state)
{
    const lx_remote_version v = {RUN, COMMIT}, other = {RUN, "1" COMMIT};
    lx_synced *s;
    lx_error err = {0};
    (void)state;

    lx_assert_ok(lx_synced_open(&s, store, "url", &err), &err);
    lx_assert_ok(lx_synced_save(s, &err), &err); /* nothing to save */
    assert_null(lx_synced_pushed(s, RUN, "m"));
    lx_assert_ok(lx_synced_add(s, &v, NULL, &err), &err);
    assert_null(lx_synced_pushed(s, RUN, "m"));
    lx_assert_ok(lx_synced_add(s, &v, "m", &err), &err);
    lx_assert_ok(lx_synced_save(s, &err), &err);
    lx_synced_close(s);
    lx_assert_shell("cd store/remotes && f=$(ls) && (echo short; echo " RUN
                    " 0011; seq -s ' ' 200; echo 0123 " COMMIT "; echo; printf " RUN
                    " ) >>$f");
    lx_assert_ok(lx_synced_open(&s, store, "url", &err), &err);
    assert_true(lx_synced_has(s, &v));
    assert_false(lx_synced_has(s, &other));
    assert_string_equal(lx_synced_pushed(s, RUN, "m"), COMMIT);
    assert_null(lx_synced_pushed(s, RUN, "n"));
    assert_null(lx_synced_pushed(s, "fedcba9876543210", "m"));
    lx_synced_close(s);
    lx_assert_shell("cd store/remotes && f=$(ls) && rm $f && mkdir $f");
    lx_assert_ok(lx_synced_open(&s, store, "url", &err), &err); /* only time is lost */
    assert_false(lx_synced_has(s, &v));
    lx_synced_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test_setup_teardown(test_store_remote__names_and_addresses, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_store_synced__lines_that_are_none_are_passed_over, set_up, tear_down)};

    if (system("git --version >/dev/null 2>&1") != 0)
        return 77; /* skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
