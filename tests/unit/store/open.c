/* Opening: versions, migration, what a store must survive, who else is writing. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/internal.h"
#include "store/query.h"

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-store-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static lx_store *open_store(bool is_readonly)
{
    lx_store *store;
    lx_error err;
    if (lx_store_open(&store, folder, is_readonly, &err) < 0)
        fail_msg("%s", err.text);
    return store;
}

/* A run with one point; its seq. */
static int64_t record(lx_store *store, const char *name)
{
    const lx_run_start start = {.name = name, .kind = "train", .flags = "{\"a\":1}"};
    lx_run *run;
    lx_error err;
    int64_t seq;
    if (lx_run_begin(&run, store, &start, &err) < 0)
        fail_msg("%s", err.text);
    seq = lx_run_seq(run);
    if (lx_run_log(run, "loss", 1, 0.5, &err) < 0 ||
        lx_run_end(run, "finished", NULL, &err) < 0)
        fail_msg("%s", err.text);
    return seq;
}

static void change_database(const char *sql)
{
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/store.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static lx_hash hash_of(const char *name)
{
    char path[128];
    lx_hash hash = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (lx_file_exists(path))
        assert_int_equal(lx_file_hash(&hash, path, NULL), 0);
    return hash;
}

static void keep_line(void *context, const char *line)
{
    snprintf(context, 1024, "%s", line);
}

/* fsck's last finding, or "". */
static const char *finding(void)
{
    static char line[1024];
    lx_store *store = open_store(true);
    lx_check_report report;
    lx_error err;
    line[0] = '\0';
    if (lx_store_check(&report, store, keep_line, line, &err) < 0)
        fail_msg("%s", err.text);
    lx_store_close(store);
    return line;
}

/* ---- versions -------------------------------------------------------------------------
 */

static void check_refused(const char *version)
{
    lx_hash db = hash_of("store.db"), wal = hash_of("store.db-wal"), now;
    lx_store *store;
    lx_error err;
    for (int is_readonly = 0; is_readonly < 2; is_readonly++) {
        assert_int_equal(lx_store_open(&store, folder, is_readonly, &err), LX_ECONFIG);
        assert_non_null(strstr(err.text, version));
        now = hash_of("store.db");
        assert_true(lx_hash_equal(&db, &now));
        now = hash_of("store.db-wal");
        assert_true(lx_hash_equal(&wal, &now));
    }
}

static void test_store_open__newer_one_is_refused_and_not_touched(void **state)
{
    lx_store *store = open_store(false);
    (void)state;
    record(store, "a");
    lx_store_close(store);
    change_database("PRAGMA user_version=999; PRAGMA wal_checkpoint(TRUNCATE)");
    check_refused("999"); /* told by the file's header */
    change_database("PRAGMA user_version=2; PRAGMA wal_checkpoint(TRUNCATE);");
    change_database("PRAGMA user_version=998");
    check_refused("998"); /* told by the WAL alone */
}

static void bind_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

static void test_store_open__another_database_is_refused(void **state)
{
    char path[128];
    lx_store *store;
    lx_error err;
    (void)state;
    snprintf(path, sizeof path, "%s/store.db", folder);
    assert_int_equal(lx_file_write(path, "SQLite format 1, once upon a time", 33, NULL),
                     0);
    assert_int_equal(lx_store_open(&store, folder, false, &err), LX_EFORMAT);
    unlink(path);
    bind_socket(path); /* nothing that could be opened at all */
    assert_int_equal(lx_store_open(&store, folder, false, &err), LX_EIO);
    assert_non_null(strstr(err.text, path));
    unlink(path);
    change_database("CREATE TABLE t(a); PRAGMA user_version=1");
    assert_int_equal(lx_store_open(&store, folder, false, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "no store of lx"));
}

/* A schema of one version more than ours, whose last step is `sql`. */
static void use_future(const char *sql)
{
    static const char *list[16];
    memcpy(list, store__the_schema.sql, (size_t)store__the_schema.count * sizeof *list);
    list[store__the_schema.count] = sql;
    store__the_schema = (store__schema){list, store__the_schema.count + 1};
}

static void test_store_open__older_one_is_backed_up_and_migrated(void **state)
{
    const store__schema ours = store__the_schema;
    char backup[128], command[256];
    lx_store *store = open_store(false);
    int64_t n;
    lx_error err;
    (void)state;
    record(store, "kept");
    lx_store_close(store);

    use_future("ALTER TABLE run ADD COLUMN mood TEXT; UPDATE run SET mood='good'");
    assert_int_equal(lx_store_open(&store, folder, true, &err), LX_ECONFIG);
    store = open_store(false);
    assert_int_equal(store__number(&n, 0, store, NULL,
                                   "SELECT count(*) FROM run WHERE mood='good'", ""),
                     0);
    assert_int_equal(n, 1);
    lx_store_close(store);
    snprintf(backup, sizeof backup, "%s/store.before-v3.db", folder);
    assert_true(lx_file_exists(backup));
    assert_string_equal(finding(), "");

    store__the_schema = ours; /* the older lx refuses what the newer one made ... */
    assert_int_equal(lx_store_open(&store, folder, false, &err), LX_ECONFIG);
    snprintf(command, sizeof command,
             "cd '%s' && rm store.db-* && mv store.before-v3.db store.db", folder);
    assert_int_equal(system(command), 0); /* ... and reads the backup */
    assert_string_equal(finding(), "");
}

static void test_store_open__failed_migration_leaves_the_old_one(void **state)
{
    const store__schema ours = store__the_schema;
    lx_store *store = open_store(false);
    lx_error err;
    (void)state;
    record(store, "kept");
    lx_store_close(store);
    use_future("ALTER TABLE run ADD COLUMN mood TEXT; UPDATE nothing SET a=1");
    assert_true(lx_store_open(&store, folder, false, &err) < 0);
    store__the_schema = ours;
    assert_string_equal(finding(), "");
    store = open_store(false);
    assert_int_equal(store__exec(store, "SELECT mood FROM run", NULL), LX_EIO);
    record(store, "goes on");
    lx_store_close(store);
}

/* Ends the process at the n-th sync. */
static int syncs_left;
static int deadly_sync(int fd)
{
    if (--syncs_left < 0)
        _exit(9);
    return lx_io_system.sync(fd);
}

static void test_store_open__cut_off_migration_leaves_old_or_new(void **state)
{
    const store__schema ours = store__the_schema;
    lx_store *held = open_store(false); /* stays open: there is a WAL, too */
    (void)state;
    record(held, "kept");
    use_future("ALTER TABLE run ADD COLUMN mood TEXT");
    for (int n = 0;; n++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            lx_io io = lx_io_system;
            lx_store *store;
            io.sync = deadly_sync;
            lx_io_set(&io);
            syncs_left = n;
            _exit(lx_store_open(&store, folder, false, NULL) < 0);
        }
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 0)
            break;
        assert_int_equal(WEXITSTATUS(status), 9);
    }
    lx_store_close(held);
    assert_string_equal(finding(), "");
    store__the_schema = ours;
}

/* ---- several at once ------------------------------------------------------------------
 */

static void write_runs(int who, int n)
{
    lx_store *store = open_store(false);
    for (int i = 0; i < n; i++) {
        char name[32];
        lx_run_start start = {.name = name, .kind = "train", .flags = "{\"shared\":1}"};
        lx_run *run;
        lx_error err;
        snprintf(name, sizeof name, "%d-%d", who, i);
        if (lx_run_begin(&run, store, &start, &err) < 0 ||
            lx_run_log(run, "loss", i, who, &err) < 0 ||
            lx_run_artifact(run, "log", "same", "the same for all", 16, -1, &err) < 0 ||
            lx_run_end(run, "finished", NULL, &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            _exit(1);
        }
    }
    lx_store_close(store);
    _exit(0);
}

static void run_writers(int n_writers, int n_runs)
{
    lx_store *store;
    int64_t n;
    int status;
    for (int k = 0; k < n_writers; k++)
        if (fork() == 0)
            write_runs(k, n_runs);
    for (int k = 0; k < n_writers; k++) {
        wait(&status);
        assert_int_equal(status, 0);
    }
    store = open_store(true);
    assert_int_equal(
        store__number(&n, 0, store, NULL, "SELECT count(DISTINCT name) FROM run", ""), 0);
    assert_int_equal(n, n_writers * n_runs);
    assert_int_equal(store__number(&n, 0, store, NULL,
                                   "SELECT count(*) FROM object WHERE size=16", ""),
                     0);
    assert_int_equal(n, 1);
    lx_store_close(store);
    assert_string_equal(finding(), "");
}

static void test_store_open__two_writers_lose_nothing(void **state)
{
    (void)state;
    run_writers(2, 40); /* the store itself is made by both at once */
}

static void test_store_open__eight_writers_lose_nothing(void **state)
{
    (void)state;
    run_writers(8, 10);
}

static void test_store_open__reader_sees_a_live_writer(void **state)
{
    lx_store *writer = open_store(false), *reader;
    lx_arena *arena = lx_arena_new();
    lx_run_list list;
    int64_t before, after;
    (void)state;
    record(writer, "a");
    reader = open_store(true);
    assert_int_equal(lx_query_version(&before, reader, NULL), 0);
    record(writer, "b");
    assert_int_equal(lx_query_version(&after, reader, NULL), 0);
    assert_int_not_equal(before, after);
    assert_int_equal(lx_query_runs(&list, reader, NULL, arena, NULL), 0);
    assert_int_equal(list.count, 2);
    lx_store_close(reader);
    lx_store_close(writer);
    lx_arena_free(arena);
}

/* ---- the clock ------------------------------------------------------------------------
 */

static void test_store_open__order_is_the_record_s_and_not_the_clock_s(void **state)
{
    lx_store *store = open_store(false);
    lx_arena *arena = lx_arena_new();
    const lx_run_start future = {.name = "first", .kind = "train", .started = 4e9};
    lx_run_list list;
    lx_run *run;
    (void)state;
    assert_int_equal(lx_run_begin(&run, store, &future, NULL),
                     0); /* then the clock is set back */
    assert_int_equal(lx_run_end_at(run, "finished", NULL, 1e9, NULL), 0);
    record(store, "second");
    assert_int_equal(lx_query_runs(&list, store, NULL, arena, NULL), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.rows[0].name, "second");
    assert_string_equal(list.rows[1].name, "first");
    lx_store_close(store);
    lx_arena_free(arena);
    assert_string_equal(finding(), "");
}

/* ---- damage ---------------------------------------------------------------------------
 */

static void flip(const char *name, long at)
{
    char path[256];
    FILE *f;
    int byte;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    byte = fgetc(f);
    fseek(f, -1, SEEK_CUR);
    fputc(byte ^ 0x10, f);
    fclose(f);
}

static void test_store_check__damaged_file_and_chunk_are_named(void **state)
{
    static unsigned char bytes[100 * 1024];
    const lx_run_start start = {.name = "a", .kind = "train"};
    lx_store *store = open_store(false);
    char hex[65], name[128];
    lx_run *run;
    lx_hash hash;
    uint32_t x = 7;
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    assert_int_equal(lx_run_begin(&run, store, &start, NULL), 0);
    assert_int_equal(lx_run_artifact(run, "lora", "l", bytes, sizeof bytes, 1, NULL), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(lx_run_log(run, "loss", i, i * 0.37, NULL), 0);
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
    lx_store_close(store);
    hash = lx_sha256_of(bytes, sizeof bytes);
    lx_hash_hex(hex, &hash);
    snprintf(name, sizeof name, "objects/%.2s/%s", hex, hex + 2);
    flip(name, 777);
    assert_non_null(strstr(finding(), hex));
    flip(name, 777);
    assert_string_equal(finding(), "");
    change_database("UPDATE chunk SET data=substr(data, 1, length(data)-3)");
    assert_non_null(strstr(finding(), "curve loss"));
}

static void test_store_check__damaged_summary_is_told_and_made_again(void **state)
{
    lx_store *store = open_store(false);
    (void)state;
    record(store, "a");
    lx_store_close(store);
    change_database("UPDATE series_now SET last_value=7");
    assert_non_null(strstr(finding(), "--rebuild"));
    store = open_store(false);
    assert_int_equal(lx_store_rebuild(store, NULL), 0);
    lx_store_close(store);
    assert_string_equal(finding(), "");
    change_database("DROP TABLE run_flag; DROP VIEW runs"); /* even that */
    store = open_store(false);
    assert_int_equal(lx_store_rebuild(store, NULL), 0);
    lx_store_close(store);
    assert_string_equal(finding(), "");
}

/* Any byte of a small store flipped: told, or without effect on what is read. */
static void test_store_check__flipped_pages_never_pass_as_another_content(void **state)
{
    lx_store *store = open_store(false);
    lx_arena *arena = lx_arena_new();
    char path[128];
    struct stat st;
    (void)state;
    record(store, "flipped");
    lx_store_close(store);
    snprintf(path, sizeof path, "%s/store.db", folder);
    assert_int_equal(stat(path, &st), 0);
    for (long at = 100; at < st.st_size; at += 331) {
        lx_check_report report;
        lx_error err;
        char line[1024] = "";
        lx_run_list list;
        flip("store.db", at);
        if (lx_store_open(&store, folder, true, &err) == LX_OK) {
            if (lx_store_check(&report, store, keep_line, line, &err) == LX_OK &&
                !report.n_problems &&
                (lx_query_runs(&list, store, NULL, arena, &err) < 0 || list.count != 1))
                fail_msg("byte %ld: fsck finds nothing, the list fails", at);
            lx_store_close(store);
        }
        flip("store.db", at);
    }
    lx_arena_free(arena);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_open__newer_one_is_refused_and_not_touched),
        TEST(test_store_open__another_database_is_refused),
        TEST(test_store_open__older_one_is_backed_up_and_migrated),
        TEST(test_store_open__failed_migration_leaves_the_old_one),
        TEST(test_store_open__cut_off_migration_leaves_old_or_new),
        TEST(test_store_open__two_writers_lose_nothing),
        TEST(test_store_open__eight_writers_lose_nothing),
        TEST(test_store_open__reader_sees_a_live_writer),
        TEST(test_store_open__order_is_the_record_s_and_not_the_clock_s),
        TEST(test_store_check__damaged_file_and_chunk_are_named),
        TEST(test_store_check__damaged_summary_is_told_and_made_again),
        TEST(test_store_check__flipped_pages_never_pass_as_another_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
