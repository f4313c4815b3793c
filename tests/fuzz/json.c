#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "tests/fuzz/fuzz.h"

/* What parses has a canonical form, and that is its own canonical form. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lx_str once = LX_STR_INIT, twice = LX_STR_INIT;
    cJSON *tree, *again;

    if (lx_json_parse(&tree, (const char *)data, size, NULL) < 0)
        return 0;
    if (lx_json_canonical(&once, tree, NULL) < 0 ||
        lx_json_parse(&again, once.data, once.len, NULL) < 0 ||
        lx_json_canonical(&twice, again, NULL) < 0 || once.len != twice.len ||
        memcmp(once.data, twice.data, once.len))
        abort();
    cJSON_Delete(tree);
    cJSON_Delete(again);
    lx_str_release(&once);
    lx_str_release(&twice);
    return 0;
}
