#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "src/import/wandb.h"
#include "tests/fuzz/fuzz.h"

static void import(const uint8_t *data, size_t size)
{
    lx_history *h;
    lx_error err;

    if (lx_history_new(&h, &err) < 0)
        return;
    lx_import_wandb(h, fuzz_file(data, size, ".wandb"), &err);
    for (size_t i = 0; i < h->count; i++)
        if (!h->runs[i]->origin || !h->runs[i]->name)
            abort();
    lx_history_free(h);
}

/* As a file, and as a record whose crc is right. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t head[] = {':', 'W', '&', 'B', 0xe1, 0xbe, 0};
    size_t n = size < 32000 ? size : 32000;
    uint8_t *file = malloc(n + 14);
    unsigned long crc;

    if (!file)
        return 0;
    import(data, size);
    memcpy(file, head, 7);
    file[11] = (uint8_t)n;
    file[12] = (uint8_t)(n >> 8);
    file[13] = 1;
    if (n)
        memcpy(file + 14, data, n);
    crc = crc32(0, file + 13, (uInt)(n + 1));
    for (int i = 0; i < 4; i++)
        file[7 + i] = (uint8_t)(crc >> (8 * i));
    import(file, n + 14);
    free(file);
    return 0;
}
