#include <stdlib.h>
#include <string.h>

#include "src/lora/block_weights.h"
#include "tests/fuzz/fuzz.h"

/* The text twice: as a list, and as a layer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    lx_block_weights list = {0};
    lx_error err = {0};

    memcpy(text, data, size);
    text[size] = 0;
    if (lx_block_weights_parse(&list, text, &err) < 0 && !err.text[0])
        abort();
    list.n = 26;
    lx_block_weights_of(&list, LX_LORA_UNET, text);
    list.n = LX_BLOCK_WEIGHTS;
    lx_block_weights_of(&list, LX_LORA_UNET, text);
    free(text);
    return 0;
}
