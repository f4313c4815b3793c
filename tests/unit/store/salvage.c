/* A new database of all rows that can be read: trees that lead in circles, rows that cannot be, pages that nobody can
 * read. */
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
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/io.h"
#include "store/internal.h"
#include "store/repair.h"
#include "tests/support/expect.h"
#include "tests/support/sqlite_shim.h"
#include "tests/support/tree.h"

enum { PAGE = 4096, N_NOTES = 60, N_POINTS = 3000 };

static char folder[64];
static lx_salvage_report report;
static lx_str told = LX_STR_INIT;

static void keep_line(void *context, const char *line)
{
    (void)context;
    lx_str_printf(&told, "%s\n", line);
}

static int salvage(lx_error *err)
{
    lx_str_clear(&told);
    *err = (lx_error){0};
    return lx_store_salvage(&report, "store", keep_line, NULL, err);
}

static bool tells(const char *text)
{
    return strstr(lx_str_text(&told), text) != NULL;
}

/* ---- the sound store ----------------------------------------------------------------- */

/* Tables of several pages: notes by rowid, some of them over pages of their own, points by their key. */
static int make_sound(void **state)
{
    const lx_run_start start = {.name = "a", .kind = "train", .flags = "{\"a\":1}"};
    char note[10001];
    lx_store *store;
    lx_run *run;
    lx_error err = {0};

    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-salvage");
    if (chdir(folder) < 0)
        return -1;
    memset(note, 'n', sizeof note);
    lx_assert_ok(lx_store_open(&store, "sound", false, &err), &err);
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_assert_ok(lx_store_group_begin(store, &err), &err);
    for (int i = 0; i < N_NOTES; i++) {
        note[i % 10 == 9 ? 10000 : 900] = '\0';
        lx_assert_ok(lx_run_note(store, 1, note, &err), &err);
        note[i % 10 == 9 ? 10000 : 900] = 'n';
    }
    lx_assert_ok(lx_store_group_end(store, LX_OK, &err), &err);
    for (int i = 0; i < N_POINTS; i++)
        lx_assert_ok(lx_run_log(run, "loss", i, 1.0 / (i + 1), &err), &err);
    lx_assert_ok(lx_run_flush(run, &err), &err);
    lx_run_abandon(run);
    lx_store_close(store);
    return 0;
}

static int drop_all(void **state)
{
    (void)state;
    lx_str_release(&told);
    lx_remove_tree(folder);
    return chdir("/");
}

static int set_up(void **state)
{
    (void)state;
    lx_remove_tree("store");
    lx_copy_tree("sound", "store");
    return 0;
}

/* SQL on the database as any program would run it; the first column of its last row. */
static int64_t change(const char *sql)
{
    int64_t number = -1;
    sqlite3 *db;

    assert_int_equal(sqlite3_open("store/store.db", &db), SQLITE_OK);
    while (*sql) {
        sqlite3_stmt *stmt;
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, &sql) != SQLITE_OK)
            fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        while (sqlite3_step(stmt) == SQLITE_ROW)
            number = sqlite3_column_int64(stmt, 0);
        sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
    return number;
}

/* ---- pages (SQLite file format, 1.6) -------------------------------------------------- */

static unsigned char page[PAGE];

static int64_t root_of(const char *table)
{
    char sql[128];
    snprintf(sql, sizeof sql,
             "PRAGMA wal_checkpoint(TRUNCATE); SELECT rootpage FROM sqlite_schema WHERE "
             "name='%s'",
             table);
    return change(sql);
}

static void read_page(int64_t number)
{
    int fd = open("store/store.db", O_RDONLY);
    assert_int_equal(pread(fd, page, PAGE, (number - 1) * PAGE), PAGE);
    close(fd);
}

static void write_page(int64_t number)
{
    int fd = open("store/store.db", O_WRONLY);
    assert_int_equal(pwrite(fd, page, PAGE, (number - 1) * PAGE), PAGE);
    close(fd);
}

/* Where the child of cell k of the inner page in `page` is named: four bytes, big-endian. */
static unsigned char *child(int k)
{
    assert_true(page[0] == 0x05 || page[0] == 0x02);
    assert_true(k < (page[3] << 8 | page[4]));
    return page + (page[12 + 2 * k] << 8 | page[13 + 2 * k]);
}

static int64_t big_endian(const unsigned char *p)
{
    return (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void spoil_page(int64_t number)
{
    memset(page, 0xa5, PAGE);
    write_page(number);
}

/* ---- damage ---------------------------------------------------------------------------- */

static bool has_lost(void)
{
    lx_error err = {0};
    bool has;

    lx_assert_ok(store__has_lost(&has, "store", &err), &err);
    return has;
}

static void test_store_salvage__a_sound_one_stays_as_it_is(void **state)
{
    lx_error err;

    (void)state;
    lx_assert_ok(salvage(&err), &err);
    assert_false(report.has_lost);
    assert_int_equal(report.n_lost, 0);
    assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES);
    assert_int_equal(change("SELECT count(*) FROM tail_point"), N_POINTS);
    assert_false(has_lost());
    assert_int_equal(system("rm -rf store/damaged && : >store/damaged"), 0);
    assert_false(has_lost()); /* a file holds no mark */
}

/* A page is named twice: its rows come once, and reading ends. */
static void test_store_salvage__a_tree_that_leads_in_circles(void **state)
{
    static const char *const tables[] = {"remark", "tail_point", "remark"};
    lx_error err;

    (void)state;
    for (int i = 0; i < 3; i++) {
        int64_t root = root_of(tables[i]);
        read_page(root);
        if (i < 2)
            memcpy(child(3), child(2), 4);
        else /* and at its very end */
            memcpy(page + 8, child((page[3] << 8 | page[4]) - 1), 4);
        write_page(root);
        lx_assert_ok(salvage(&err), &err);
        assert_true(tells(tables[i]));
        assert_true(report.has_lost);
        assert_true(has_lost());
        set_up(NULL);
    }
}

/* One page of the tree cannot be read: what is before it and behind it is there. */
static void test_store_salvage__rows_on_both_sides_of_a_damaged_page(void **state)
{
    static const char *const tables[] = {"remark", "tail_point"};
    lx_error err;

    (void)state;
    for (int i = 0; i < 2; i++) {
        char sql[64];
        int64_t n, all = i ? N_POINTS : N_NOTES;
        read_page(root_of(tables[i]));
        spoil_page(big_endian(child(2)));
        lx_assert_ok(salvage(&err), &err);
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
        n = change(sql);
        assert_true(n < all && n > all / 2);
        assert_true(tells("parts of it cannot be"));
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE %s=%d", tables[i],
                 i ? "at" : "seq", i ? N_POINTS - 1 : N_NOTES);
        assert_int_equal(change(sql), 1);
        set_up(NULL);
    }
}

/* Where neither end of a table can be read, its rows are asked for one by one. */
static void test_store_salvage__a_table_whose_root_is_damaged(void **state)
{
    static const char *const tables[] = {"remark", "tail_point", "series",
                                         "sqlite_sequence"};
    lx_error err;

    (void)state;
    for (int i = 0; i < 4; i++) {
        spoil_page(root_of(tables[i]));
        lx_assert_ok(salvage(&err), &err);
        assert_int_equal(change("SELECT count(*) FROM run"), 1);
        assert_int_equal(change("SELECT count(*) FROM remark"), i ? N_NOTES : 0);
        assert_int_equal(report.has_lost, i < 3);
        set_up(NULL);
    }
}

/* First and last page are damaged: what is between is found by asking for each row; one of them was never there. */
static void test_store_salvage__rows_in_the_middle(void **state)
{
    int64_t root, first, last;
    lx_error err;

    (void)state;
    change("DELETE FROM remark WHERE seq=30");
    root = root_of("remark");
    read_page(root);
    first = big_endian(child(0));
    last = big_endian(page + 8);
    spoil_page(first);
    spoil_page(last);
    lx_assert_ok(salvage(&err), &err);
    assert_true(tells("table remark: "));
    assert_true(change("SELECT count(*) FROM remark") > N_NOTES / 2);
    assert_int_equal(change("SELECT count(*) FROM remark WHERE seq=29 OR seq=31"), 2);
    assert_int_equal(change("SELECT seq FROM sqlite_sequence WHERE name='remark'"),
                     N_NOTES);
}

/* The pages that one long note goes on in are gone: it alone is lost. */
static void test_store_salvage__one_row_of_many(void **state)
{
    lx_error err;
    int64_t first;

    (void)state;
    root_of("remark");
    first = change("SELECT pageno FROM dbstat WHERE name='remark' AND pagetype='overflow'"
                   " ORDER BY pageno LIMIT 1");
    read_page(first);
    memset(page, 0xff, 4);
    write_page(first);
    lx_assert_ok(salvage(&err), &err);
    assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES - 1);
    assert_int_equal(report.n_lost, 1);
    assert_true(tells("table remark: 1 row is damaged"));
}

static void test_store_salvage__rows_that_the_schema_refuses(void **state)
{
    lx_error err;

    (void)state;
    change("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql, 'NOT "
           "NULL', '')"
           " WHERE name='remark'; PRAGMA writable_schema=RESET;"
           "UPDATE remark SET at=NULL WHERE seq<3");
    lx_assert_ok(salvage(&err), &err);
    assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES - 2);
    assert_int_equal(report.n_lost, 2);
    assert_true(report.has_lost);
}

static void test_store_salvage__no_database_at_all(void **state)
{
    lx_error err;

    (void)state;
    lx_assert_shell("rm store/store.db* && printf 'no database, whatever it is called' "
                    ">store/store.db");
    lx_assert_ok(salvage(&err), &err);
    assert_int_equal(report.n_rows, 0);
    assert_int_equal(change("SELECT count(*) FROM run"), 0);
    lx_assert_shell("rm store/store.db*");
    assert_int_equal(salvage(&err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "store/store.db"));
    assert_false(lx_file_exists("store/store.db"));
}

static void test_store_salvage__no_place_for_the_new_one(void **state)
{
    lx_error err;

    (void)state;
    lx_assert_shell("mkdir -p store/store.db.new/x");
    assert_int_equal(salvage(&err), LX_EIO);
    assert_non_null(strstr(err.text, "store.db.new: making it"));
    assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES);
}

static void test_store_salvage__another_version_is_left_alone(void **state)
{
    lx_error err;

    (void)state;
    change("PRAGMA user_version=999");
    assert_int_equal(salvage(&err), LX_ECONFIG);
    assert_non_null(strstr(err.text, "999"));
    assert_int_equal(change("PRAGMA user_version"), 999);
}

/* ---- what is not the bytes' fault ------------------------------------------------------- */

static int read_code, n_reads, reads_left;

static int coded_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    const char *path = ((shim_file *)f)->path;

    if (read_code && strstr(path, "salvage.db") && n_reads++ >= reads_left)
        return read_code;
    return shim_real(f)->pMethods->xRead(shim_real(f), data, n, at);
}

/* A sector that cannot be read is damage; that it may not be read, or not now, is none: sound rows would be given up. */
static void test_store_salvage__what_cannot_be_read_and_what_may_not(void **state)
{
    static const struct {
        int code, wanted;
    } rows[] = {{SQLITE_IOERR_READ, LX_OK},
                {SQLITE_IOERR_NOMEM, LX_ENOMEM},
                {SQLITE_NOMEM, LX_ENOMEM},
                {SQLITE_PERM, LX_EIO}};
    const shim_changes changes = {.methods = {.xRead = coded_read}};
    lx_error err;

    (void)state;
    shim_install(&changes);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        /* At every moment of it; rows of what cannot be read are asked for one by one, which takes time. */
        for (reads_left = 0;; reads_left += rows[i].code == SQLITE_IOERR_READ ? 30 : 1) {
            int rc;
            n_reads = 0;
            read_code = rows[i].code;
            rc = salvage(&err);
            read_code = 0;
            if (rc == LX_OK)
                set_up(NULL);
            if (n_reads <= reads_left) {
                lx_assert_ok(rc, &err);
                break;
            }
            /* A file whose beginning cannot be read is not even opened. */
            if (rc != rows[i].wanted && rc != LX_OK && (reads_left || rc != LX_EIO))
                fail_msg("%d at read %d: %d %s", rows[i].code, reads_left, rc, err.text);
            if (rc < 0)
                assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES);
        }
    }
    shim_remove();
}

static int64_t bad_from, bad_to; /* bytes of a bad sector of the database */
static struct stat bad_file;

static ssize_t bad_pread(int fd, void *data, size_t n, off_t at)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && st.st_ino == bad_file.st_ino && at < bad_to &&
        at + (off_t)n > bad_from) {
        errno = EIO;
        return -1;
    }
    return lx_io_system.pread(fd, data, n, at);
}

/* A sector of the database that cannot be read is like a damaged page; what was read of it is not all there is. */
static void test_store_salvage__a_sector_that_cannot_be_read(void **state)
{
    int64_t root = root_of("tail_point");
    lx_io io = lx_io_system;
    lx_error err = {0};

    (void)state;
    assert_int_equal(stat("store/store.db", &bad_file), 0);
    io.pread = bad_pread;
    lx_io_set(&io);
    bad_from = (root - 1) * PAGE + 512;
    bad_to = bad_from + 512;
    lx_assert_ok(salvage(&err), &err);
    assert_true(tells("1 blocks of store/store.db cannot be read"));
    assert_true(report.has_lost);
    assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES);
    lx_assert_shell("ls store/damaged/*.unread >/dev/null");
    set_up(state);
    assert_int_equal(stat("store/store.db", &bad_file), 0);
    bad_from = 0; /* hardly anything of it can be */
    bad_to = bad_file.st_size;
    assert_int_equal(salvage(&err), LX_EIO);
    assert_non_null(strstr(err.text, "blocks cannot be read"));
    lx_io_set(NULL);
    assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES);
}

static int link_error;

static int failing_link(const char *from, const char *to)
{
    (void)from;
    (void)to;
    errno = link_error;
    return -1;
}

static int n_preads, fails_from; /* calls of pread; from which on there is no right to read: 0: behind a bad sector */
static bool was_bad;

static ssize_t forbidden_pread(int fd, void *data, size_t n, off_t at)
{
    ssize_t got = -1;

    if (fails_from ? ++n_preads < fails_from : !was_bad) {
        got = bad_pread(fd, data, n, at);
        was_bad |= got < 0;
        return got;
    }
    errno = EACCES;
    return got;
}

/* Whose sector is bad, and whose name is taken or refused; and whose reading is refused on the way. */
static void test_store_salvage__a_bad_sector_and_more(void **state)
{
    int64_t root = root_of("tail_point");
    lx_io io = lx_io_system;
    bool has_failed = true;
    lx_error err = {0};

    bad_from = (root - 1) * PAGE + 512;
    bad_to = bad_from + 512;
    io.pread = bad_pread;
    io.link = failing_link;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stat("store/store.db", &bad_file), 0);
        link_error = i ? EEXIST : EPERM;
        lx_io_set(&io);
        assert_int_equal(salvage(&err), i ? LX_OK : LX_EPERM);
        lx_io_set(NULL);
        assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES);
        set_up(state);
    }
    io = lx_io_system;
    io.pread = forbidden_pread;
    assert_int_equal(stat("store/store.db", &bad_file), 0);
    lx_io_set(&io);
    assert_int_equal(salvage(&err), LX_EPERM);
    lx_io_set(NULL);
    assert_true(was_bad);
    set_up(state);
    for (fails_from = 1; has_failed; fails_from += 1 + fails_from / 8) {
        int rc;
        assert_int_equal(stat("store/store.db", &bad_file), 0);
        n_preads = 0;
        lx_io_set(&io);
        rc = salvage(&err);
        lx_io_set(NULL);
        has_failed = n_preads >= fails_from;
        assert_int_equal(rc, has_failed ? LX_EPERM : LX_OK);
        assert_int_equal(change("SELECT count(*) FROM remark"), N_NOTES);
        set_up(state);
    }
}

static int refusing_lock(int fd, int exclusive, int wait)
{
    (void)fd;
    (void)exclusive;
    (void)wait;
    errno = EAGAIN;
    return -1;
}

static void test_store_salvage__someone_is_at_work(void **state)
{
    lx_io io = lx_io_system;
    lx_store *store;
    lx_error err;

    (void)state;
    io.lock = refusing_lock;
    lx_io_set(&io);
    assert_int_equal(salvage(&err), LX_EBUSY);
    assert_non_null(strstr(err.text, "another process writes"));
    lx_io_set(NULL);
    lx_assert_ok(lx_store_open(&store, "store", false, &err), &err);
    assert_int_equal(salvage(&err), LX_EBUSY);
    assert_non_null(strstr(err.text, "is open in another program"));
    lx_store_close(store);
    lx_assert_ok(salvage(&err), &err);
}

static void test_store_salvage__without_a_place_there_is_none(void **state)
{
    lx_error err = {0};

    (void)state;
    unsetenv("HOME");
    unsetenv("LX_STORE");
    unsetenv("XDG_DATA_HOME");
    assert_int_equal(lx_store_salvage(&report, NULL, keep_line, NULL, &err),
                     LX_ENOTFOUND);
    assert_int_equal(lx_store_salvage(&report, "nowhere", keep_line, NULL, &err),
                     LX_ENOTFOUND);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, set_up)
    const struct CMUnitTest tests[] = {
        TEST(test_store_salvage__a_sound_one_stays_as_it_is),
        TEST(test_store_salvage__a_tree_that_leads_in_circles),
        TEST(test_store_salvage__rows_on_both_sides_of_a_damaged_page),
        TEST(test_store_salvage__a_table_whose_root_is_damaged),
        TEST(test_store_salvage__rows_in_the_middle),
        TEST(test_store_salvage__one_row_of_many),
        TEST(test_store_salvage__rows_that_the_schema_refuses),
        TEST(test_store_salvage__no_database_at_all),
        TEST(test_store_salvage__no_place_for_the_new_one),
        TEST(test_store_salvage__another_version_is_left_alone),
        TEST(test_store_salvage__what_cannot_be_read_and_what_may_not),
        TEST(test_store_salvage__a_sector_that_cannot_be_read),
        TEST(test_store_salvage__a_bad_sector_and_more),
        TEST(test_store_salvage__someone_is_at_work),
        TEST(test_store_salvage__without_a_place_there_is_none),
    };
    return cmocka_run_group_tests(tests, make_sound, drop_all);
}
