/* {"folder": {"tag": n}}: the quick way and the strict way agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "src/base/str.h"
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

/* A long group by the usual way, and, with a fraction behind it, by the strict one. */
static void compare_ways(const char *items, size_t n, lx_arena *arena)
{
    lx_counts quick, strict;

    assert_int_equal(lx_counts_parse(&quick,
                                     lx_arena_printf(arena, "{\"10_a\": {%s}}", items),
                                     arena, NULL),
                     0);
    assert_int_equal(
        lx_counts_parse(&strict,
                        lx_arena_printf(arena, "{\"10_a\": {%s, \"z\": 0.5}}", items),
                        arena, NULL),
        0);
    assert_int_equal(quick.groups[0].n_items, n);
    assert_int_equal(strict.groups[0].n_items, n + 1);
    for (size_t i = 0; i < n; i++) {
        const lx_counted *a = &quick.groups[0].items[i], *b = &strict.groups[0].items[i];
        assert_int_equal(a->n, b->n);
        assert_memory_equal(a->name, b->name, a->n);
        assert_true(a->count == b->count);
    }
}

static void test_lora_counts__long_groups_by_either_way(void **state)
{
    static const struct {
        const char *letter, *colon;
    } spellings[] = {{"", ": "},
                     {"", ":"},
                     {"\\u5c71", ": "},
                     {"\\\"", " : "},
                     {"\xE5\xB1\xB1", ": "}};
    enum { N = 700 };
    char letters[130];

    memset(letters, 'x', sizeof letters);
    for (size_t spelling = 0; spelling < 3 * sizeof spellings / sizeof *spellings;
         spelling++) {
        lx_arena *arena = lx_arena_new();
        lx_str items = LX_STR_INIT;
        for (int i = 0; i < N; i++) {
            /* Now and then another spelling among many of the first, or all of one. */
            const size_t s = spelling % 5, k = spelling < 5 || i % 50 == 7 ? s : 0;
            lx_str_puts(&items, i ? ", " : "");
            lx_str_printf(&items, "\"%.*s%s%d\"%s%d", i * i % 40 + (i % 97 == 0 ? 80 : 0),
                          letters, spellings[k].letter, i, spellings[k].colon,
                          (i * 7919 % 1000003) >> i % 20);
        }
        compare_ways(lx_str_text(&items), N, arena);
        lx_str_release(&items);
        lx_arena_free(arena);
    }
}

/* Wherever among many, what is no JSON is refused. */
static void test_lora_counts__damage_in_long_groups(void **state)
{
    static const char *const wrong[] = {
        "\"a\": 012", "\"a\": 1 2", "\"a\" 3",    "\"a\": ", "\"a: 3",     "\"a\": 4,",
        "\"\n\": 3",  "\"a\": \"",  "\"\\x\": 3", "a\": 1",  "\"\xFF\": 1"};
    enum { N = 120 };

    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++)
        for (int at = 0; at < N; at += 13) {
            lx_arena *arena = lx_arena_new();
            lx_str text = LX_STR_INIT;
            lx_counts c;
            lx_str_puts(&text, "{\"10_a\": {");
            for (int i = 0; i < N; i++) {
                lx_str_puts(&text, i ? ", " : "");
                if (i == at)
                    lx_str_puts(&text, wrong[w]);
                else
                    lx_str_printf(&text, "\"tag number %d\": %d", i, i);
            }
            lx_str_puts(&text, "}}");
            assert_int_equal(lx_counts_parse(&c, lx_str_text(&text), arena, NULL),
                             LX_EFORMAT);
            lx_str_release(&text);
            lx_arena_free(arena);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_counts__any_spelling_of_the_same),
        cmocka_unit_test(test_lora_counts__what_is_no_count_is_zero),
        cmocka_unit_test(test_lora_counts__damaged_texts_are_refused),
        cmocka_unit_test(test_lora_counts__long_groups_by_either_way),
        cmocka_unit_test(test_lora_counts__damage_in_long_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
