/* libFuzzer entry: no bytes may upset the header parsers. */
#include <stddef.h>
#include <stdint.h>

#include "src/image/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lx_image_header header;
    lx_error err;

    lx_image_header_parse(&header, data, size, size, &err);
    lx_image_header_parse(&header, data, size, (uint64_t)size * 2, &err);
    return 0;
}
