/* Whatever the names are, their keys are files that can lie side by side, and MLflow takes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/export/mlflow_keys.h"

enum { N = 400 };

static void assert_takes(const char *key)
{
    assert_in_range(strlen(key), 1, 250);
    assert_true(key[0] != '/' && strncmp(key, "..", 2) != 0);
    for (const char *p = key;; p++) {
        size_t n = strcspn(p, "/");
        assert_true(n > 0 && !(n == 1 && *p == '.') && !(n == 2 && strncmp(p, "..", 2) == 0));
        for (size_t i = 0; i < n; i++)
            assert_true(isalnum((unsigned char)p[i]) || strchr("_-. :", p[i]));
        if (!*(p += n))
            break;
    }
}

static bool is_in_the_way(const char *a, const char *b)
{
    size_t n = strlen(a);
    return strncmp(a, b, n) == 0 && (!b[n] || b[n] == '/');
}

static void test_mlflow_keys__lie_side_by_side(void **state)
{
    static const char *const parts[] = {"a",  "b", "/",  "/", ".", "..", "\xC3\xA9", "current", "-2",
                                        ".x", "",  "\n", ":", " "};
    unsigned x = 7; /* the seed */
    lx_str name = LX_STR_INIT;

    (void)state;
    for (int round = 0; round < 20; round++) {
        lx_arena *arena = lx_arena_new();
        lx_mlflow_key keys[N];
        for (int i = 0; i < N; i++) {
            lx_str_clear(&name);
            for (int k = i % 7 == 0 ? 120 : 4; k >= 0; k--) {
                x = x * 1664525u + 1013904223u;
                lx_str_puts(&name, parts[(x >> 16) % (sizeof parts / sizeof *parts)]);
            }
            keys[i] = (lx_mlflow_key){.name = lx_arena_strdup(arena, lx_str_text(&name)), .is_fixed = i < 3};
        }
        assert_int_equal(lx_mlflow_keys(keys, N, "current", NULL, arena, NULL), 0);
        for (int i = 0; i < N; i++) {
            assert_takes(keys[i].key);
            for (int k = 0; k < N; k++)
                if (k != i && is_in_the_way(keys[i].key, keys[k].key))
                    fail_msg("round %d: \"%s\" and \"%s\"", round, keys[i].key, keys[k].key);
        }
        lx_arena_free(arena);
    }
    lx_str_release(&name);
}

static void test_mlflow_keys__go_around_what_is_there(void **state)
{
    char folder[] = "/tmp/lx-mlflow-XXXXXX", command[160];
    lx_arena *arena = lx_arena_new();
    lx_mlflow_key keys[] = {
        {.name = "file/x"}, {.name = "folder"}, {.name = "file"}, {.name = "lx.id", .is_fixed = true}};

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "cd %s && touch file lx.id && mkdir folder && touch folder/value", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(lx_mlflow_keys(keys, 2, "value", folder, arena, NULL), 0);
    assert_string_equal(keys[0].key, "file_x");
    assert_string_equal(keys[1].key, "folder/value"); /* is written anew */
    assert_int_equal(lx_mlflow_keys(keys + 2, 2, "value", folder, arena, NULL), 0);
    assert_string_equal(keys[2].key, "file");
    assert_string_equal(keys[3].key, "lx.id");
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    lx_arena_free(arena);
}

static void test_mlflow_keys__memory_failures_are_told(void **state)
{
    int rc = LX_ENOMEM;

    (void)state;
    for (size_t n = 1; rc == LX_ENOMEM; n++) {
        lx_mlflow_key keys[] = {{.name = "a"}, {.name = "a/b"}, {.name = "a/b"}};
        lx_arena *arena = lx_arena_new();
        lx_alloc_fail_at(n, false);
        rc = lx_mlflow_keys(keys, 3, "value", "/nowhere", arena, NULL);
        lx_alloc_fail_at(0, false);
        lx_arena_free(arena);
    }
    assert_int_equal(rc, LX_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mlflow_keys__lie_side_by_side),
        cmocka_unit_test(test_mlflow_keys__go_around_what_is_there),
        cmocka_unit_test(test_mlflow_keys__memory_failures_are_told), /* the last: what failed once is remembered */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
