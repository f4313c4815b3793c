#include <stdlib.h>
#include <string.h>

#include "src/query/filter.h"
#include "tests/fuzz/fuzz.h"

/* Names get a column by their length, types by their first letter: every path of a
 * comparison. */
static int bind(int *column, lx_field_type *type, void *context, const char *name,
                const char *part, lx_error *err)
{
    (void)context;
    (void)part;
    if (!*name)
        return lx_fail(err, LX_EUSAGE, "no name");
    *column = (int)(strlen(name) % 4);
    *type = (lx_field_type)((unsigned char)*name % (LX_FIELD_DURATION + 1));
    return LX_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const words[] = {"a", "tag two"};
    const lx_cell row[] = {lx_cell_number(0.5),
                           lx_cell_text("4"),
                           lx_cell_text(NULL),
                           {.kind = LX_CELL_WORDS, .n_words = 2, .words = words}};
    const lx_filter_host host = {.bind = bind, .now = 1.7e9};
    lx_arena *arena = lx_arena_new();
    lx_filter *filter;
    lx_error err = {0};

    if (lx_filter_parse(&filter, (const char *)data, size, &host, arena, &err) == 0)
        lx_filter_matches(filter, row);
    else if (err.code >= 0 || !err.text[0])
        abort();
    lx_arena_free(arena);
    return 0;
}
