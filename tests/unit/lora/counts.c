/* {"folder": {"tag": n}}: the quick way and the strict way agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "src/lora/counts.h"

static void check(const lx_counts *c, size_t group, size_t item, const char *name,
                  double count)
{
    const lx_counted *i = &c->groups[group].items[item];

    assert_int_equal(i->n, strlen(name));
    assert_memory_equal(i->name, name, i->n);
    assert_true(i->count == count);
}

static void test_lora_counts__any_spelling_of_the_same(void **state)
{
    static const char *const texts[] = {
        "{\"10_a b\": {\"red hair\": 3, \"a\": 12}, \"x\": {}}",
        "{\"10_a b\":{\"red hair\":3,\"a\":12},\"x\":{}}",
        " { \"10_a b\" : { \"red hair\" : 3 , \"a\" : 12 } , \"x\" : { } } ",
        "{\"10_a b\": {\"red h\\u0061ir\": 3, \"a\": 1.2e1}, \"x\": {}}",
        "{\"10_a b\":\n{\"red hair\": 3.0, \"\\u0061\": 12}, \"x\": null}",
    };
    lx_arena *arena = lx_arena_new();

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        lx_counts c;
        assert_int_equal(lx_counts_parse(&c, texts[i], arena, NULL), 0);
        assert_int_equal(c.n_groups, 2);
        assert_string_equal(c.groups[0].name, "10_a b");
        assert_int_equal(c.groups[0].n_items, 2);
        check(&c, 0, 0, "red hair", 3);
        check(&c, 0, 1, "a", 12);
        assert_int_equal(c.groups[1].n_items, 0);
        assert_ptr_equal(lx_counts_find(&c, "x"), &c.groups[1]);
        assert_null(lx_counts_find(&c, "y"));
        assert_true(lx_counted_get(&c.groups[0], "a", 0) == 12);
        assert_true(lx_counted_get(&c.groups[0], "b", -1) == -1);
    }
    lx_arena_free(arena);
}

static void test_lora_counts__what_is_no_count_is_zero(void **state)
{
    lx_arena *arena = lx_arena_new();
    lx_counts c;

    assert_int_equal(
        lx_counts_parse(&c, "{\"a\": {\"x\": null, \"y\": [1, {\"z\": 2}], \"w\": 4}}",
                        arena, NULL),
        0);
    assert_int_equal(c.groups[0].n_items, 3);
    check(&c, 0, 0, "x", 0);
    check(&c, 0, 1, "y", 0);
    check(&c, 0, 2, "w", 4);
    assert_int_equal(lx_counts_parse(&c, NULL, arena, NULL), 0);
    assert_int_equal(c.n_groups, 0);
    assert_int_equal(lx_counts_parse(&c, "null", arena, NULL), 0);
    assert_int_equal(lx_counts_parse(&c, "[1, 2]", arena, NULL), 0);
    assert_int_equal(c.n_groups, 0);
    assert_int_equal(lx_counts_parse(&c, "{\"a\": {\"x\": 12345678901}}", arena, NULL),
                     0);
    check(&c, 0, 0, "x", 12345678901.0);
    lx_arena_free(arena);
}

static void test_lora_counts__damaged_texts_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "{\"a\"",
        "{\"a\": {\"x\": 1}",
        "{\"a\": {\"x\": 01}}",
        "{\"a\": {\"x\": 1,}}",
        "{\"a\": {\"x\" 1}}",
        "{\"a\": {\"x\": 1}} {",
        "{\"a\": {\"x\": NaN}}",
        "{\"a\": {\"x\": 1},}",
        "{\"a\": {\"\\ud800\": 1}}",
        "{\"a\": {\"x\": -}}",
        "{'a': {}}",
    };
    lx_arena *arena = lx_arena_new();

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        lx_counts c;
        assert_int_equal(lx_counts_parse(&c, texts[i], arena, NULL), LX_EFORMAT);
    }
    lx_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_counts__any_spelling_of_the_same),
        cmocka_unit_test(test_lora_counts__what_is_no_count_is_zero),
        cmocka_unit_test(test_lora_counts__damaged_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
