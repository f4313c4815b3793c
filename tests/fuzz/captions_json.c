/* Captions and tags of images in one file (--in_json): .json, or .jsonl when there is a line break. */
#include <stdlib.h>
#include <string.h>

#include "src/base/str.h"
#include "src/data/metadata_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bool is_lines = size && memchr(data, '\n', size);
    const char *path = fuzz_file(data, size, is_lines ? ".jsonl" : ".json");
    lx_arena *arena = lx_arena_new();
    lx_metadata_file file = {0};
    lx_error err = {0};

    if (!arena)
        abort();
    if (lx_metadata_file_read(&file, path, arena, &err) < 0) {
        if (err.code >= 0 || !err.text[0])
            abort();
        file.count = 0;
    }
    for (size_t i = 0; i < file.count; i++) {
        const char *text = lx_metadata_caption(&file.images[i], ",", i % 2 != 0, arena);
        if (!file.images[i].key || !text ||
            lx_utf8_check(text, strlen(text)) != strlen(text))
            abort();
    }
    lx_arena_free(arena);
    return 0;
}
