/* Archives of strangers: each field of a header is changed alone, and refused with the byte where it stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/tar.h"

enum { BLOCK = LX_TAR_BLOCK, TYPE = 156, CHECKSUM = 148, SIZE = 124, PREFIX = 345 };

/* One member of three bytes, and the end. */
static unsigned char archive[4 * BLOCK];

static void make_archive(const char *name)
{
    memset(archive, 0, sizeof archive);
    assert_int_equal(lx_tar_header(archive, "a", 3, NULL), LX_OK);
    memset(archive, 0, LX_TAR_NAME);
    memcpy(archive, name, strlen(name));
    memcpy(archive + BLOCK, "abc", 3);
}

static void sign(void)
{
    unsigned sum = 0;

    memset(archive + CHECKSUM, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += archive[i];
    snprintf((char *)archive + CHECKSUM, 7, "%06o", sum);
}

/* problem NULL: it is one member, and then the end. */
static void check_archive(const char *problem, size_t n)
{
    lx_tar tar = lx_tar_of(archive, n);
    lx_tar_member m;
    lx_error err = {0};
    int rc = lx_tar_next(&m, &tar, &err);

    if (!problem && (rc != 1 || m.n != 3 || memcmp(m.data, "abc", 3) != 0))
        fail_msg("\"%s\": code %d: %s", archive, rc, err.text);
    if (rc == 1)
        rc = lx_tar_next(&m, &tar, &err);
    if (rc != (problem ? LX_EFORMAT : 0) || (problem && !strstr(err.text, problem)))
        fail_msg("\"%.*s\": code %d: \"%s\" and not \"%s\"", LX_TAR_NAME, archive, rc,
                 err.text, problem ? problem : "");
}

static void test_store_tar__names_that_lead_nowhere_else(void **state)
{
    static const char long_name[] = "a234567890123456789012345678901234567890123456789/"
                                    "b234567890123456789012345678901234567890123456789b";
    static const char *const good[] = {"a",       "objects/0f", "a.b_c-d", "..a/b..",
                                       ".gitx/a", "a/.b",       long_name};
    static const struct {
        const char *name, *problem;
    } bad[] = {{"", "empty"},
               {"/etc/passwd", "root"},
               {"a b", "characters"},
               {"a\\b", "characters"},
               {"a\x1b[2J", "characters"},
               {"..", "elsewhere"},
               {"a/../b", "elsewhere"},
               {"./a", "elsewhere"},
               {"a//b", "elsewhere"},
               {"a/", "elsewhere"},
               {"a/.GIT/config", "git folder"},
               {".git", "git folder"}};

    (void)state;
    assert_int_equal(strlen(long_name), LX_TAR_NAME);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        make_archive(good[i]);
        sign();
        check_archive(NULL, sizeof archive);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make_archive(bad[i].name);
        sign();
        check_archive(bad[i].problem, sizeof archive);
    }
    make_archive("a");
    archive[50] = 'b';
    sign();
    check_archive("behind a NUL", sizeof archive);
}

static void test_store_tar__kinds_and_sizes(void **state)
{
    static const char *const kinds[] = {"1hard link", "2symbolic", "3device",
                                        "4device",    "5folder",   "6pipe",
                                        "xextended",  "gextended", "7no regular"};
    static const struct {
        const char *size, *problem;
    } sizes[] = {{"00000000003", NULL},
                 {"3           ", NULL},
                 {"     3", NULL},
                 {"00000000003 ", NULL},
                 {"           ", "octal"},
                 {"0000000003x", "octal"},
                 {"00000000009", "octal"},
                 {"-0000000003", "octal"},
                 {"77777777777", "are left"},
                 {"00000003001", "are left"},
                 {"000000000003", NULL},
                 {"            ", "octal"}};
    lx_tar tar = lx_tar_of(archive, sizeof archive);
    lx_tar_member m;
    lx_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        make_archive("a");
        archive[TYPE] = (unsigned char)kinds[i][0];
        sign();
        check_archive(kinds[i] + 1, sizeof archive);
    }
    make_archive("a");
    archive[TYPE] = 0; /* as the oldest tars wrote a file */
    sign();
    check_archive(NULL, sizeof archive);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        make_archive("a");
        memset(archive + SIZE, 0, 12);
        memcpy(archive + SIZE, sizes[i].size, strlen(sizes[i].size));
        sign();
        check_archive(sizes[i].problem, sizeof archive);
    }
    make_archive("a");
    memcpy(archive + SIZE, "777777777777",
           12); /* what twelve digits can say, and ustar not */
    sign();
    assert_int_equal(lx_tar_next(&m, &tar, &err), LX_ELIMIT);
    make_archive("a");
    memcpy(archive + SIZE, "00000001130",
           12); /* 600 bytes are there, and not what pads them */
    sign();
    check_archive("are left", 2 * BLOCK + 100);
}

static void test_store_tar__nothing_hides(void **state)
{
    (void)state;
    make_archive("a");
    sign();
    check_archive(NULL, sizeof archive);
    archive[0]++;
    check_archive("checksum", sizeof archive);
    archive[0]--;
    archive[CHECKSUM] = 'x';
    check_archive("checksum", sizeof archive);
    make_archive("a");
    archive[PREFIX] = 'p';
    sign();
    check_archive("two parts", sizeof archive);
    make_archive("a");
    archive[257] = 'x';
    sign();
    check_archive("ustar", sizeof archive);
    make_archive("a");
    sign();
    archive[BLOCK + 3] = 1;
    check_archive("hides", sizeof archive);
    archive[BLOCK + 3] = 0;
    archive[3 * BLOCK + 5] = 1;
    check_archive("behind the archive's end", sizeof archive);
    archive[3 * BLOCK + 5] = 0;
    check_archive("cut", 3 * BLOCK);
    check_archive("cut", 2 * BLOCK + 7);
    check_archive("cut", 100);
    assert_false(lx_tar_is(archive, 200));
    assert_false(lx_tar_is("no archive", 10));
}

static void test_store_tar__what_is_written_is_read(void **state)
{
    char name[LX_TAR_NAME + 2];
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_tar_padding(0), 0);
    assert_int_equal(lx_tar_padding(1), BLOCK - 1);
    assert_int_equal(lx_tar_padding(BLOCK), 0);
    assert_int_equal(lx_tar_header(archive, "a", 1ULL << 33, &err), LX_ELIMIT);
    assert_int_equal(lx_tar_header(archive, "../a", 1, &err), LX_EINTERNAL);
    memset(name, 'a', sizeof name);
    name[LX_TAR_NAME + 1] = '\0';
    assert_int_equal(lx_tar_header(archive, name, 1, &err), LX_EINTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_tar__names_that_lead_nowhere_else),
        cmocka_unit_test(test_store_tar__kinds_and_sizes),
        cmocka_unit_test(test_store_tar__nothing_hides),
        cmocka_unit_test(test_store_tar__what_is_written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
