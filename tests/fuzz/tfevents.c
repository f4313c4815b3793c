#include <stdlib.h>
#include <string.h>

#include "src/import/tfevents.h"
#include "tests/fuzz/fuzz.h"

static unsigned sum;

static int read_all(void *context, const lx_tfevent *e, lx_error *err)
{
    (void)context;
    (void)err;
    for (size_t i = 0; e->text && i < e->n; i++)
        sum += (unsigned char)e->text[i];
    sum += (unsigned)strlen(e->tag);
    return LX_OK;
}

static void put_le(uint8_t *out, uint64_t x, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = (uint8_t)(x >> (8 * i));
}

/* As a file, and as the data of a record whose crcs are right: else nothing would come
 * past them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *record = malloc(size + 16);
    size_t used;
    lx_error err;

    if (!record)
        return 0;
    lx_tfevents_read(&used, NULL, data, size, 0, read_all, NULL, &err);
    if (used > size)
        abort();
    put_le(record, size, 8);
    put_le(record + 8, lx_crc32c_masked(record, 8), 4);
    if (size)
        memcpy(record + 12, data, size);
    put_le(record + 12 + size, lx_crc32c_masked(data, size), 4);
    if (lx_tfevents_read(&used, NULL, record, size + 16, 0, read_all, NULL, &err) < 0 ||
        used != size + 16)
        abort();
    free(record);
    return 0;
}
