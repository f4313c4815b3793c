#include <stdlib.h>
#include <string.h>

#include "src/format/infotext.h"
#include "src/format/picture_text.h"
#include "tests/fuzz/fuzz.h"

/* The text of a picture is sound UTF-8, and what is read out of it can be written again.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lx_str text = LX_STR_INIT, again = LX_STR_INIT;
    lx_arena *arena = lx_arena_new();
    lx_infotext info;
    lx_error err;
    bool is_there;

    if (lx_picture_text_parse(&text, &is_there, data, size, &err) == 0 && is_there &&
        lx_utf8_check(lx_str_text(&text), text.len) != text.len)
        abort();
    if (!is_there) {
        lx_str_clear(&text);
        lx_str_append(&text, (const char *)data, size);
    }
    if (arena && lx_infotext_parse(&info, arena, lx_str_text(&text), &err) == 0)
        lx_infotext_write(&again, &info);
    lx_str_release(&text);
    lx_str_release(&again);
    lx_arena_free(arena);
    return 0;
}
