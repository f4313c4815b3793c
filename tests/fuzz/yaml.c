/* The flat mappings of MLflow's meta.yaml and accelerate's configuration. */
#include <stdlib.h>

#include "src/import/yaml.h"
#include "tests/fuzz/fuzz.h"

static int check(void *context, const char *key, const char *value, bool is_plain,
                 lx_error *err)
{
    if (!key || !value)
        abort();
    return LX_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lx_error err = {0};

    if (lx_yaml_read(fuzz_file(data, size, ".yaml"), check, NULL, &err) < 0 &&
        (err.code >= 0 || !err.text[0]))
        abort();
    return 0;
}
