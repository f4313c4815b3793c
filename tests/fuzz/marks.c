/* A contact sheet's list, and what of it must hold whatever it says; captions as lists of tags. */
#include <stdlib.h>
#include <string.h>

#include "src/data/marks.h"
#include "src/data/tags.h"
#include "tests/fuzz/fuzz.h"

static void check_marks(const char *text, size_t size)
{
    lx_arena *arena = lx_arena_new();
    lx_error err = {0};
    lx_marks marks;

    if (lx_marks_parse(&marks, text, size, arena, &err) < 0 &&
        (err.code >= 0 || !err.text[0]))
        abort();
    for (size_t i = 0; i < marks.count && err.code == 0; i++) {
        lx_str name = LX_STR_INIT;
        char *back;
        lx_name_escape(&name, marks.items[i].path);
        if (!lx_name_is_inside(marks.items[i].path) ||
            lx_utf8_check(name.data, name.len) < name.len ||
            lx_name_unescape(&back, name.data, name.len, arena, NULL) < 0 ||
            strcmp(back, marks.items[i].path) != 0)
            abort();
        lx_str_release(&name);
    }
    lx_arena_free(arena);
}

/* An edit that was made has nothing more to do. (Not so where a mark from within comes to stand in front.) */
static void check_edit(const char *text, size_t size, lx_tag_edit_kind kind)
{
    lx_tag tags[] = {{"a", 1}, {"b c", 3}};
    const lx_tag_edit edit = {.kind = kind,
                              .tags = {tags, kind == LX_TAG_REPLACE ? 2 : 1, 2}};
    lx_str once = LX_STR_INIT, twice = LX_STR_INIT;
    size_t n;

    if (lx_tags_edit(&once, &n, &edit, text, size, NULL) < 0 ||
        lx_tags_edit(&twice, &n, &edit, lx_str_text(&once), once.len, NULL) < 0 ||
        n != 0 || once.len != twice.len ||
        memcmp(lx_str_text(&once), lx_str_text(&twice), once.len) != 0)
        abort();
    lx_str_release(&once);
    lx_str_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Whole pictures and tensors say nothing new here. */
    if (size < 65536)
        check_marks((const char *)data, size);
    if (size < 400 && lx_utf8_check((const char *)data, size) == size &&
        (size < 3 || !memmem(data + 1, size - 1, "\xEF\xBB\xBF", 3)))
        for (int kind = LX_TAG_PREPEND; kind <= LX_TAG_SORT; kind++)
            check_edit((const char *)data, size, (lx_tag_edit_kind)kind);
    return 0;
}
