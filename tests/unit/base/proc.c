/* Small files of the system: whole, cut off, absent, and with no descriptor left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "src/base/proc.h"
#include "src/base/resident.h"

static void test_base_proc__what_fits_is_read(void **state)
{
    char text[4096], start[8], expected[32];

    (void)state;
    snprintf(expected, sizeof expected, "%d (", (int)getpid());
    assert_true(lx_proc_read(text, sizeof text, "/proc/self/stat") > 20);
    assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
    assert_int_equal(lx_proc_read(start, sizeof start, "/proc/self/stat"), 7);
    assert_int_equal(strncmp(start, text, 7), 0);
    assert_int_equal(start[7], '\0');
}

static void test_base_proc__what_cannot_be_read_is_empty(void **state)
{
    struct rlimit usual;
    char text[16] = "old";
    lx_resident now;
    int error;

    (void)state;
    assert_int_equal(lx_proc_read(text, sizeof text, "/proc/none"), -1);
    assert_int_equal(errno, ENOENT);
    assert_string_equal(text, "");
    assert_int_equal(lx_proc_read(text, sizeof text, "/proc"), -1); /* a folder */
    assert_int_equal(errno, EISDIR);
    getrlimit(RLIMIT_NOFILE, &usual);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, usual.rlim_max});
    assert_int_equal(lx_proc_read(text, sizeof text, "/proc/self/stat"), -1);
    error = errno;
    now = lx_resident_now();
    setrlimit(RLIMIT_NOFILE, &usual);
    assert_int_equal(error, EMFILE);
    assert_int_equal(now.anonymous + now.file, 0);
    assert_true(lx_resident_now().anonymous > 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_proc__what_fits_is_read),
        cmocka_unit_test(test_base_proc__what_cannot_be_read_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
