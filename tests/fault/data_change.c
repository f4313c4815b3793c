/* A change of lx data stops at any rename, link or unlink: lx data undo puts back what was done of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/data.h"
#include "src/base/file.h"
#include "src/base/io.h"

static int n_calls, fail_at;

/* Only what happens to the data: the store keeps its own promises (fault/store). */
static bool fails(const char *path)
{
    if (!strstr(path, "/img/") && !strstr(path, "/out/"))
        return false;
    errno = EIO;
    return ++n_calls == fail_at;
}

static int failing_rename(const char *from, const char *to)
{
    return fails(to) ? -1 : lx_io_system.rename(from, to);
}

static int failing_link(const char *from, const char *to)
{
    return fails(to) ? -1 : lx_io_system.link(from, to);
}

static int failing_unlink(const char *path)
{
    return fails(path) ? -1 : lx_io_system.unlink(path);
}

static const char *const names[] = {"a.txt", "b.txt", "c.txt", "gone.txt", "moved.png"};

static void make_files(void)
{
    char path[32];

    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "img/%s", names[i]);
        assert_int_equal(lx_file_write(path, names[i], strlen(names[i]), NULL), 0);
    }
}

static void check_files(void)
{
    char path[32];

    for (size_t i = 0; i < 5; i++) {
        lx_str text;
        snprintf(path, sizeof path, "img/%s", names[i]);
        if (lx_file_read(&text, path, 100, NULL) < 0)
            fail_msg("call %d: %s is gone", fail_at, path);
        assert_string_equal(lx_str_text(&text), names[i]);
        lx_str_release(&text);
    }
    assert_false(lx_file_exists("img/new.txt"));
    assert_false(lx_file_exists("out/moved.png"));
}

/* Edits, a new file, one that goes; or a move: the two shapes that changes have. */
static int change(lx_cli *cli, bool is_move, lx_error *err)
{
    lx_change *c;
    int rc;

    assert_int_equal(lx_change_new(&c, cli, "img", is_move ? "out" : NULL, "test", err),
                     0);
    if (is_move) {
        rc = lx_change_move(c, "img/moved.png", "out/moved.png", err);
    } else {
        rc = LX_OK;
        for (size_t i = 0; i < 3 && rc == LX_OK; i++) {
            char path[32];
            snprintf(path, sizeof path, "img/%s", names[i]);
            rc = lx_change_edit(c, path, NULL, "other", 5, err);
        }
        if (rc == LX_OK)
            rc = lx_change_create(c, "img/new.txt", "new", 3, err);
        if (rc == LX_OK)
            rc = lx_change_remove(c, "img/gone.txt", err);
    }
    if (rc < 0)
        fail_msg("%s", err->text);
    rc = lx_change_apply(c, NULL, err);
    lx_change_free(c);
    return rc;
}

static void undo(lx_cli *cli)
{
    lx_change *inverse;
    const char *id;
    lx_error err = {0};

    if (lx_change_inverse(&inverse, &id, cli, NULL, &err) < 0)
        fail_msg("call %d: %s", fail_at, err.text);
    if (lx_change_apply(inverse, NULL, &err) < 0)
        fail_msg("call %d: %s", fail_at, err.text);
    lx_change_free(inverse);
}

static int run_until_it_succeeds(lx_cli *cli, bool is_move)
{
    lx_io io = lx_io_system;
    lx_error err = {0};
    int rc, n_failed = 0;

    io.rename = failing_rename;
    io.link = failing_link;
    io.unlink = failing_unlink;
    for (fail_at = 1;; fail_at++) {
        make_files();
        n_calls = 0;
        lx_io_set(&io);
        rc = change(cli, is_move, &err);
        lx_io_set(NULL);
        /* That a link fails is no failure: the bytes are copied. */
        n_failed += rc < 0;
        undo(cli);
        check_files();
        if (n_calls < fail_at)
            break;
    }
    assert_int_equal(rc, 0);
    return n_failed;
}

static void test_fault_data_change__is_taken_back_from_anywhere(void **state)
{
    lx_cli cli = {.name = "data test", .store_path = "store"};
    char folder[] = "/tmp/lx-change-XXXXXX", command[64];

    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(lx_make_dirs("img", NULL), 0);
    assert_int_equal(lx_make_dirs("out", NULL), 0);
    cli.arena = lx_arena_new();
    assert_true(run_until_it_succeeds(&cli, false) >= 5);
    assert_true(run_until_it_succeeds(&cli, true) >= 1);
    lx_arena_free(cli.arena);
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_data_change__is_taken_back_from_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
