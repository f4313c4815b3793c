#include <stdlib.h>

#include "src/format/toml.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lx_toml_places places;
    lx_error err;
    cJSON *tree;

    if (lx_toml_parse(&tree, &places, (const char *)data, size, &err) < 0)
        return 0;
    for (const cJSON *item = tree->child; item; item = item->next)
        if (!lx_toml_find_place(&places, item))
            abort();
    lx_toml_places_release(&places);
    cJSON_Delete(tree);
    return 0;
}
