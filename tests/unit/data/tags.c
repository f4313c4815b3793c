#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/data/tags.h"

static lx_tags tags_of(const char *text)
{
    lx_tags tags = {0};

    assert_int_equal(lx_tags_split(&tags, text, strlen(text), NULL, NULL), 0);
    return tags;
}

static void test_data_tags__split_strips_and_leaves_empty_ones_out(void **state)
{
    lx_tags tags = tags_of(" a b ,, c,\xE3\x80\x80 d\xC2\xA0,");

    assert_int_equal(tags.count, 3);
    assert_int_equal(tags.items[0].n, 3);
    assert_memory_equal(tags.items[0].text, "a b", 3);
    assert_memory_equal(tags.items[2].text, "d", 1);
    lx_tags_release(&tags);
    tags = tags_of("");
    assert_int_equal(tags.count, 0);
    lx_tags_release(&tags);
    assert_int_equal(lx_tags_split(&tags, "a; b;c", 6, ";", NULL), 0);
    assert_int_equal(tags.count, 3);
    lx_tags_release(&tags);
}

static void test_data_tags__fold_is_what_people_see(void **state)
{
    static const char *const same[] = {"long_hair", "Long Hair", "long  hair",
                                       "long\\_hair"};
    lx_arena *arena = lx_arena_new();

    for (size_t i = 0; i < 4; i++) {
        const lx_tag tag = {same[i], strlen(same[i])};
        assert_string_equal(lx_tag_fold(&tag, arena), "long hair");
    }
    lx_arena_free(arena);
}

static void edited(lx_tag_edit_kind kind, const char *what, const char *before,
                   const char *wanted, size_t n_changed)
{
    lx_tag_edit edit = {.kind = kind, .tags = tags_of(what)};
    lx_str out = LX_STR_INIT;
    size_t n;

    assert_int_equal(lx_tags_edit(&out, &n, &edit, before, strlen(before), NULL), 0);
    assert_string_equal(lx_str_text(&out), wanted);
    assert_int_equal(n, n_changed);
    lx_str_release(&out);
    lx_tags_release(&edit.tags);
}

static void test_data_tags__edits(void **state)
{
    edited(LX_TAG_PREPEND, "x, y", "a, b", "x, y, a, b", 1);
    edited(LX_TAG_PREPEND, "x", "a, x,b", "x, a, b", 1);
    edited(LX_TAG_PREPEND, "x", "x,b ", "x,b ", 0);
    edited(LX_TAG_PREPEND, "x", "", "x", 1);
    edited(LX_TAG_APPEND, "x", "a,b", "a, b, x", 1);
    edited(LX_TAG_APPEND, "x", "x,b", "x,b", 0);
    edited(LX_TAG_REMOVE, "a, c", "a,b,c,a", "b", 1);
    edited(LX_TAG_REMOVE, "A", "a,b", "a,b", 0);
    edited(LX_TAG_REPLACE, "a, b", "x, a, y", "x, b, y", 1);
    edited(LX_TAG_REPLACE, "a, b", "b, a, y", "b, y", 1);
    edited(LX_TAG_REPLACE, "a, b", "b, b", "b, b", 0);
    edited(LX_TAG_DEDUPE, "", "a, b, a,c,b", "a, b, c", 1);
    edited(LX_TAG_SORT, "", "c, b,a", "a, b, c", 1);
    edited(LX_TAG_SORT, "", "a,b", "a,b", 0);
}

static void test_data_tags__lines_ends_and_mark_stay(void **state)
{
    edited(LX_TAG_APPEND, "x",
           "\xEF\xBB\xBF"
           "a\r\n\r\nb, x\r\n c \n",
           "\xEF\xBB\xBF"
           "a, x\r\n\r\nb, x\r\nc, x\n",
           2);
    edited(LX_TAG_APPEND, "x", "\na\r\rb", "x\na, x\r\rb, x", 3);
}

static void test_data_tags__kept_and_case(void **state)
{
    lx_tag_edit edit = {.kind = LX_TAG_SORT, .n_kept = 1};
    lx_str out = LX_STR_INIT;
    size_t n;

    assert_int_equal(lx_tags_edit(&out, &n, &edit, "iwl, c, b", 9, NULL), 0);
    assert_string_equal(lx_str_text(&out), "iwl, b, c");
    lx_str_clear(&out);
    edit = (lx_tag_edit){
        .kind = LX_TAG_REMOVE, .tags = tags_of("Red Hair"), .ignores_case = true};
    assert_int_equal(lx_tags_edit(&out, &n, &edit, "a, red hair", 11, NULL), 0);
    assert_string_equal(lx_str_text(&out), "a");
    lx_str_release(&out);
    lx_tags_release(&edit.tags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_tags__split_strips_and_leaves_empty_ones_out),
        cmocka_unit_test(test_data_tags__fold_is_what_people_see),
        cmocka_unit_test(test_data_tags__edits),
        cmocka_unit_test(test_data_tags__lines_ends_and_mark_stay),
        cmocka_unit_test(test_data_tags__kept_and_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
