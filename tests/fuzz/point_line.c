#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/point_line.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lx_arena *arena = lx_arena_new();
    lx_point_line line;
    lx_error err = {0};

    if (lx_point_line_parse(&line, (const char *)data, size, arena, &err) < 0) {
        if (err.code >= 0 || !err.text[0])
            abort();
    } else {
        for (size_t i = 0; i < line.n; i++)
            if (!*line.points[i].key || strlen(line.points[i].key) > LX_POINT_KEY_BYTES)
                abort();
        if (line.has_step && line.step < 0)
            abort();
    }
    lx_arena_free(arena);
    return 0;
}
