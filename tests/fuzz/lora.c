/* A LoRA as safetensors: its modules, its summary, its weights, a merge. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_lora_file(fuzz_file(data, size, ".safetensors"));
    return 0;
}
