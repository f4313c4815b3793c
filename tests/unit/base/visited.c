/* Folders are known again, however many there are, and by device as well as by inode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/visited.h"

static struct stat folder(dev_t device, ino_t inode)
{
    return (struct stat){.st_dev = device, .st_ino = inode};
}

static void test_base_visited__each_folder_is_new_once(void **state)
{
    enum { N = 5000 };
    lx_visited v = {0};
    lx_error err;

    (void)state;
    for (int turn = 0; turn < 2; turn++)
        for (ino_t i = 1; i <= N; i++) {
            const struct stat here = folder(1, i), there = folder(2, i << 32);
            assert_int_equal(lx_visited_add(&v, &here, &err), turn == 0);
            assert_int_equal(lx_visited_add(&v, &there, &err), turn == 0);
        }
    lx_visited_release(&v);
    assert_int_equal(lx_visited_add(&v, &(struct stat){.st_ino = 1}, &err), 1);
    lx_visited_release(&v);
}

static void test_base_visited__without_memory_nothing_is_remembered(void **state)
{
    const struct stat here = folder(1, 1);
    lx_visited v = {0};
    lx_error err;

    (void)state;
    lx_alloc_fail_at(1, false);
    assert_int_equal(lx_visited_add(&v, &here, &err), LX_ENOMEM);
    lx_alloc_fail_at(0, false);
    assert_int_equal(lx_visited_add(&v, &here, &err), 1);
    lx_visited_release(&v);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_visited__each_folder_is_new_once),
        cmocka_unit_test(test_base_visited__without_memory_nothing_is_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
