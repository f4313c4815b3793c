#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/serve/console.h"
#include "src/serve/request.h"
#include "tests/fuzz/fuzz.h"

/* A target, and the same bytes as a host, an origin and what a command printed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"localhost", "[::1]", "box:9000"};
    const lx_serve_names ours = {8417, names, 3, size % 2 != 0};
    const char *bytes = (const char *)data;
    char *text = lx_strndup(bytes, size);
    lx_arena *arena = lx_arena_new();
    lx_str lines = LX_STR_INIT;
    lx_serve_console console = {0};
    lx_serve_request r;
    lx_error err = {0};

    if (!text || !arena)
        abort();
    if (lx_serve_request_parse(&r, bytes, size, arena, &err) == LX_OK) {
        for (size_t i = 0; i < r.n_parts; i++)
            if (!*r.parts[i] || strcmp(r.parts[i], "..") == 0)
                abort();
        lx_serve_number(&r, "first", 0, 1000, 0);
    } else if (err.code >= 0 || !err.text[0]) {
        abort();
    }
    lx_serve_host_is_ours(&ours, text);
    lx_serve_origin_is_ours(&ours, text);
    lx_serve_console_take(&lines, &console, bytes, size / 2);
    lx_serve_console_take(&lines, &console, bytes + size / 2, size - size / 2);
    if (lx_serve_console_tail(bytes, size, 16) > size ||
        lx_serve_console_whole(bytes, size) > size)
        abort();
    if (lines.len && memchr(lines.data, 0x1b, lines.len))
        abort();
    lx_str_release(&lines);
    lx_arena_free(arena);
    lx_free(text);
    return 0;
}
