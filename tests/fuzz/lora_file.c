#include <stdlib.h>

#include "src/lora/merge.h"
#include "src/lora/summary.h"
#include "src/lora/weights.h"
#include "tests/fuzz/fuzz.h"

/* A merge of the file with itself: every module is read, or refused with a reason. */
static void merge_twice(const lx_lora_file *file)
{
    const lx_merge_source source = {file, "fuzz", 0.5, 0.5, NULL};
    const lx_merge_options options = {.dtype = LX_F16};
    lx_merge_result result;
    lx_merge *merge = NULL;
    lx_error err = {0};
    int rc;

    if (lx_merge_new(&merge, &err) < 0)
        abort();
    if ((rc = lx_merge_add(merge, &source, &err)) == LX_OK &&
        (rc = lx_merge_add(merge, &source, &err)) == LX_OK)
        rc = lx_merge_finish(&result, merge, &options, &err);
    if (rc < 0 && !err.text[0])
        abort();
    lx_merge_free(merge);
}

void fuzz_lora_file(const char *path)
{
    lx_arena *arena = lx_arena_new();
    lx_lora_file *file = NULL;
    lx_lora_summary summary;
    lx_lora_weights weights;
    lx_error err = {0};

    if (!arena)
        abort();
    if (lx_lora_file_open(&file, path, &err) < 0) {
        if (err.code >= 0 || !err.text[0])
            abort();
        lx_arena_free(arena);
        return;
    }
    if (lx_lora_summarise(&summary, file, true, arena, &err) < 0 && !err.text[0])
        abort();
    if (lx_lora_weigh(&weights, file, arena, &err) < 0 && !err.text[0])
        abort();
    if (!lx_lora_what(file, "", arena))
        abort();
    merge_twice(file);
    lx_lora_file_close(file);
    lx_arena_free(arena);
}
