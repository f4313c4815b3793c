/* Prompt files: .json, .toml and .txt by the first byte. */
#include <stdlib.h>

#include "src/sample/prompt_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const endings[] = {".txt", ".toml", ".json"};
    const char *path =
        fuzz_file(data + (size > 0), size - (size > 0), endings[size ? *data % 3 : 0]);
    lx_arena *arena = lx_arena_new();
    lx_prompt_list list = {0};
    lx_error err = {0};

    if (!arena)
        abort();
    if (lx_prompt_file_read(&list, arena, path, &err) < 0 &&
        (err.code >= 0 || !err.text[0]))
        abort();
    lx_prompt_list_release(&list);
    lx_arena_free(arena);
    return 0;
}
