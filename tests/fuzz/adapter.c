/* A pickled adapter (.pt), as lora.c. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_lora_file(fuzz_file(data, size, ".pt"));
    return 0;
}
