/* A header read alone and the whole file: the same verdict, the same message, the same names. What
 * opens is opened once more, from the layouts that are known by then. */
#include <stdlib.h>
#include <string.h>

#include "src/format/header_cache.h"
#include "src/lora/counts.h"
#include "tests/fuzz/fuzz.h"

static void compare(const lx_tensor_file *a, const lx_tensor_file *b)
{
    if (lx_tensor_file_count(a) != lx_tensor_file_count(b) ||
        lx_tensor_file_metadata_count(a) != lx_tensor_file_metadata_count(b))
        abort();
    for (size_t i = 0; i < lx_tensor_file_count(a); i++) {
        const lx_tensor_view *x = lx_tensor_file_at(a, i), *y = lx_tensor_file_at(b, i);
        double number;
        if (strcmp(x->name, y->name) || x->bytes != y->bytes || x->dtype != y->dtype)
            abort();
        if (x->n_elements == 1)
            lx_tensor_file_number(&number, a, x, NULL);
    }
    for (size_t i = 0; i < lx_tensor_file_metadata_count(a); i++) {
        const char *key, *value, *other_key, *other;
        lx_arena *arena = lx_arena_new();
        lx_counts counts;
        lx_tensor_file_metadata_at(a, i, &key, &value);
        lx_tensor_file_metadata_at(b, i, &other_key, &other);
        if (strcmp(key, other_key) || strcmp(value, other))
            abort();
        lx_counts_parse(&counts, value, arena, NULL);
        lx_arena_free(arena);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lx_header_cache *cache;
    const char *path = fuzz_file(data, size, ".safetensors");

    if (!cache && lx_header_cache_new(&cache, NULL, NULL) < 0)
        abort();
    for (int round = 0; round < 2; round++) {
        lx_tensor_file *whole = NULL, *header = NULL;
        lx_error a = {0}, b = {0};
        int rc = lx_tensor_file_open(&whole, path, &a);
        if (lx_tensor_file_open_header(&header, cache, path, &b) != rc ||
            strcmp(a.text, b.text))
            abort();
        if (rc == 0)
            compare(header, whole);
        lx_tensor_file_close(whole);
        lx_tensor_file_close(header);
    }
    return 0;
}
