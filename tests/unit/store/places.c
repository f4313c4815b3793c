/* Where a store is: found, made, refused, read on a medium that takes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/internal.h"
#include "tests/support/expect.h"
#include "tests/support/sqlite_shim.h"
#include "tests/support/tree.h"

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-places");
    unsetenv("LX_STORE");
    return chdir(folder);
}

static int tear_down(void **state)
{
    (void)state;
    lx_io_set(NULL);
    lx_remove_tree(folder);
    return chdir("/");
}

/* ---- finding ----------------------------------------------------------------------- */

static void finds(const char *path, const char *wanted)
{
    lx_str out = LX_STR_INIT;
    lx_error err = {0};

    lx_assert_ok(lx_store_find(&out, path, &err), &err);
    assert_string_equal(lx_str_text(&out), wanted);
    lx_str_release(&out);
}

static void test_store_places__the_nearest_is_found(void **state)
{
    lx_str out = LX_STR_INIT;
    char above[80];
    lx_error err = {0};

    (void)state;
    setenv("HOME", "/home/wren", 1);
    setenv("XDG_DATA_HOME", "", 1);
    finds(NULL, "/home/wren/.local/share/lx");
    setenv("XDG_DATA_HOME", "/data", 1);
    finds("", "/data/lx");
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", "", 1);
    assert_int_equal(lx_store_find(&out, NULL, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "HOME is not set"));
    unsetenv("HOME");
    assert_int_equal(lx_store_find(&out, NULL, &err), LX_ENOTFOUND);
    lx_assert_shell("mkdir -p .lx a/b");
    assert_int_equal(chdir("a/b"), 0);
    snprintf(above, sizeof above, "%s/.lx", folder);
    finds(NULL, above);
    setenv("LX_STORE", "", 1);
    finds(NULL, above);
    setenv("LX_STORE", "/other", 1);
    finds(NULL, "/other");
    finds("given", "given");
    unsetenv("LX_STORE");
    setenv("HOME", "/home/wren", 1);
    assert_int_equal(chdir("/"), 0);
    finds(NULL, "/home/wren/.local/share/lx");
    lx_str_release(&out);
}

static void test_store_places__nothing_is_found_without_memory(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_error err = {0};

    (void)state;
    lx_assert_shell("mkdir .lx");
    lx_alloc_fail_at(1, true);
    assert_int_equal(lx_store_find(&out, NULL, &err), LX_ENOMEM);
    lx_alloc_fail_at(0, false);
    lx_str_release(&out);
}

static void test_store_places__a_working_folder_that_is_gone_has_none_above(void **state)
{
    (void)state;
    setenv("HOME", "/home/wren", 1);
    lx_assert_shell("mkdir .lx gone");
    assert_int_equal(chdir("gone"), 0);
    lx_assert_shell("rmdir ../gone");
    finds(NULL, "/home/wren/.local/share/lx");
}

/* ---- places that cannot hold one ---------------------------------------------------- */

static long file_system; /* what the next look says; 0: the truth; -1: nothing */

int statfs(const char *path, struct statfs *out)
{
    (void)path;
    memset(out, 0, sizeof *out);
    out->f_type = file_system;
    return file_system < 0 ? -1 : 0;
}

static int refusal(lx_error *err)
{
    lx_store *s = NULL;
    int rc = lx_store_open(&s, "store", false, err);

    lx_store_close(s);
    return rc;
}

static void test_store_places__network_file_systems_are_refused_by_name(void **state)
{
    static const struct {
        long magic;
        const char *name;
    } bad[] = {{0x6969, "on NFS,"}, {0x01021997, "on 9p,"}, {0x47504653, "on GPFS,"}};
    lx_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        file_system = bad[i].magic;
        assert_int_equal(refusal(&err), LX_EPLACE);
        assert_non_null(strstr(err.text, bad[i].name));
        assert_false(lx_file_exists("store/store.db"));
    }
    file_system = -1; /* nothing is known of it: so be it */
    lx_assert_ok(refusal(&err), &err);
    file_system = 0;
}

/* This way SQLite locks by other files, and its write-ahead log has no shared memory. */
static void test_store_places__without_shared_memory_there_is_no_log(void **state)
{
    sqlite3_vfs *usual = sqlite3_vfs_find(NULL);
    lx_error err = {0};

    (void)state;
    sqlite3_vfs_register(sqlite3_vfs_find("unix-dotfile"), 1);
    assert_int_equal(refusal(&err), LX_EPLACE);
    assert_non_null(strstr(err.text, "write-ahead log"));
    sqlite3_vfs_register(usual, 1);
}

/* As another process sees it, for a descriptor of ours would drop the locks that are looked for. */
static bool is_locked(const char *path)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (!child) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000, .l_len = 512};
        int fd = open(path, O_RDWR | O_CLOEXEC);
        _exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

/* POSIX locks are the process's: a second look at the file must not let go those of the first. */
static void test_store_places__a_second_handle_leaves_the_first_ones_locks(void **state)
{
    lx_store *first, *second, *reader;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_store_open(&first, "store", false, &err), &err);
    assert_true(is_locked("store/store.db"));
    lx_assert_ok(lx_store_open(&second, "store", false, &err), &err);
    assert_true(is_locked("store/store.db"));
    lx_assert_ok(lx_store_open(&reader, "store", true, &err), &err);
    lx_store_close(reader);
    lx_store_close(second);
    assert_true(is_locked("store/store.db"));
    lx_store_close(first);
    assert_false(is_locked("store/store.db"));
}

static void test_store_places__files_in_the_way_are_told(void **state)
{
    lx_error err = {0};

    (void)state;
    lx_assert_shell("mkdir -p store && : >store/objects");
    assert_int_equal(refusal(&err), LX_EEXISTS);
    assert_non_null(strstr(err.text, "store/objects: is a file"));
    lx_assert_shell("rm -r store && : >store");
    assert_true(refusal(&err) < 0);
    assert_true(lx_file_exists("store"));
}

static void test_store_places__a_path_may_have_slashes_upon_slashes(void **state)
{
    lx_store *s;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_store_open(&s, "a//b///c", false, &err), &err);
    lx_store_close(s);
    assert_true(lx_file_exists("a/b/c/store.db"));
}

static int n_roots;

static int pretending_mkdir(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    return 0;
}

static int counting_open(const char *path, int flags, mode_t mode)
{
    n_roots += strcmp(path, "/") == 0;
    return lx_io_system.open(path, flags, mode);
}

/* The parent of a store in the root is the root: it is what is synced. */
static void test_store_places__right_below_the_root(void **state)
{
    lx_io io = lx_io_system;
    lx_store *s;
    lx_error err = {0};

    (void)state;
    io.mkdir = pretending_mkdir;
    io.open = counting_open;
    lx_io_set(&io);
    assert_int_equal(lx_store_open(&s, "/lx-that-is-not-there", false, &err),
                     LX_ENOTFOUND);
    lx_io_set(NULL);
    assert_int_equal(n_roots, 1);
}

/* ---- what is no store of this lx ---------------------------------------------------- */

static void test_store_places__of_before_the_first_release(void **state)
{
    lx_error err = {0};

    (void)state;
    lx_assert_ok(refusal(&err), &err);
    for (int version = 0; version < 2; version++) {
        sqlite3 *db;
        assert_int_equal(sqlite3_open("store/store.db", &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db,
                                      version ? "PRAGMA application_id=0x6c780000"
                                              : "PRAGMA application_id=0x6c780001",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
        sqlite3_close(db);
        assert_int_equal(refusal(&err), version ? LX_EFORMAT : LX_ECONFIG);
        assert_non_null(strstr(err.text, version ? "no store of lx" : "move it away"));
    }
}

static void test_store_places__nothing_is_no_store_to_read(void **state)
{
    lx_store *s;
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_store_open(&s, "store", true, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "nothing was recorded yet"));
    lx_assert_shell("mkdir store");
    assert_int_equal(lx_store_open(&s, "store", true, &err), LX_ENOTFOUND);
    lx_assert_shell(": >store/store.db"); /* whoever made it was killed right then */
    assert_int_equal(lx_store_open(&s, "store", true, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "holds no runs yet"));
    lx_assert_ok(refusal(&err), &err);
    lx_assert_shell(
        "rm store/store.db* && yes 'no database' | head -c 5000 >store/store.db");
    assert_int_equal(refusal(&err), LX_EFORMAT);
    assert_int_equal(lx_store_open(&s, "store", true, &err), LX_EFORMAT);
}

/* ---- media that take nothing -------------------------------------------------------- */

/* A store with one object, left with what its last writer did not move from the log, if `has_log`. */
static void lay_store(const char *name, bool has_log)
{
    lx_store *s;
    lx_hash hash;
    lx_error err = {0};

    lx_assert_ok(lx_store_open(&s, name, false, &err), &err);
    lx_assert_ok(lx_object_put(&hash, s, "kept", 4, &err), &err);
    lx_assert_shell("mkdir -p aside && cp '%s'/store.db* aside", name);
    lx_store_close(s);
    if (has_log)
        lx_assert_shell("cp aside/store.db aside/store.db-wal '%s'", name);
    lx_assert_shell("rm -rf aside '%s'/store.db-shm && ln -s nowhere/x '%s'/store.db-shm",
                    name, name);
    if (!has_log)
        lx_assert_shell("rm -f '%s'/store.db-wal", name);
}

static void reads(const char *name)
{
    lx_hash hash = lx_sha256_of("kept", 4);
    lx_str bytes = LX_STR_INIT;
    lx_store *s = NULL;
    lx_error err = {0};

    lx_assert_ok(lx_store_open(&s, name, true, &err), &err);
    lx_assert_ok(lx_object_get(&bytes, s, &hash, &err), &err);
    assert_string_equal(bytes.data, "kept");
    lx_str_release(&bytes);
    lx_store_close(s);
}

static void test_store_places__is_read_where_nothing_can_be_written(void **state)
{
    (void)state;
    lay_store("a %41?b#c",
              false); /* a path that SQLite's addresses could take for more */
    reads("a %41?b#c");
    lay_store("with log", true);
    setenv("TMPDIR", "", 1);
    reads("with log");
    setenv("TMPDIR", folder, 1);
    reads("with log");
    lx_assert_shell("rm 'with log'/lock"); /* nobody else can be at work there */
    reads("with log");
    lx_assert_shell("! ls -d lx-copy-* 2>/dev/null"); /* no copy stays */
    unsetenv("TMPDIR");
}

static int map_code;

static int coded_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    if (map_code && !strstr(((shim_file *)f)->path, "lx-copy-"))
        return map_code;
    return shim_real(f)->pMethods->xShmMap(shim_real(f), page, size, extend, out);
}

/* Whatever the system says of the memory that it does not share. */
static void test_store_places__media_refuse_in_several_ways(void **state)
{
    static const struct {
        int code;
        bool reads;
    } rows[] = {{SQLITE_CANTOPEN, true},
                {SQLITE_IOERR_SHMMAP, true},
                {SQLITE_READONLY_DIRECTORY, true},
                {SQLITE_CORRUPT, false}};
    const shim_changes changes = {.methods = {.xShmMap = coded_map}};
    lx_store *s = NULL;
    lx_error err = {0};

    (void)state;
    lay_store("store", true);
    lx_assert_shell("rm store/store.db-shm");
    shim_install(&changes);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc;
        map_code = rows[i].code;
        rc = lx_store_open(&s, "store", true, &err);
        lx_store_close(s);
        map_code = 0;
        if (rc != (rows[i].reads ? LX_OK : LX_EFORMAT))
            fail_msg("%d: %d %s", rows[i].code, rc, err.text);
    }
    shim_remove();
}

/* Another program's database that says nothing of a version. */
static void test_store_places__a_database_without_a_version_holds_no_runs(void **state)
{
    lx_store *s = NULL;
    sqlite3 *db;
    lx_error err = {0};

    (void)state;
    lx_assert_shell("mkdir store");
    assert_int_equal(sqlite3_open("store/store.db", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(a)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(lx_store_open(&s, "store", true, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "holds no runs yet"));
}

static void test_store_places__a_copy_needs_a_place_and_what_it_copies(void **state)
{
    lx_store *s = NULL;
    lx_error err = {0};

    (void)state;
    lay_store("store", true);
    setenv("TMPDIR", "/nowhere/at/all", 1);
    assert_int_equal(lx_store_open(&s, "store", true, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    setenv("TMPDIR", folder, 1);
    for (int what = 0; what < 2; what++) {
        lx_assert_shell(what ? "rm store/store.db-wal && mkdir store/store.db-wal"
                             : "mkdir keep && mv store/store.db-wal keep && ln -s "
                               "../keep/store.db-wal store/store.db-wal");
        assert_int_equal(lx_store_open(&s, "store", true, &err) < 0, what);
        lx_store_close(s);
    }
    lx_assert_shell("! ls -d lx-copy-* 2>/dev/null");
    unsetenv("TMPDIR");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_places__the_nearest_is_found),
        TEST(test_store_places__nothing_is_found_without_memory),
        TEST(test_store_places__a_working_folder_that_is_gone_has_none_above),
        TEST(test_store_places__network_file_systems_are_refused_by_name),
        TEST(test_store_places__without_shared_memory_there_is_no_log),
        TEST(test_store_places__a_second_handle_leaves_the_first_ones_locks),
        TEST(test_store_places__files_in_the_way_are_told),
        TEST(test_store_places__a_path_may_have_slashes_upon_slashes),
        TEST(test_store_places__right_below_the_root),
        TEST(test_store_places__of_before_the_first_release),
        TEST(test_store_places__nothing_is_no_store_to_read),
        TEST(test_store_places__is_read_where_nothing_can_be_written),
        TEST(test_store_places__media_refuse_in_several_ways),
        TEST(test_store_places__a_database_without_a_version_holds_no_runs),
        TEST(test_store_places__a_copy_needs_a_place_and_what_it_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
