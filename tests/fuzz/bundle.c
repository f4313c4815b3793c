#include <stdlib.h>

#include "store/bundle.h"
#include "tests/fuzz/fuzz.h"

/* What opens has sound records, and every object is there under its hash. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lx_bundle *bundle = NULL;
    lx_error err = {0};
    const cJSON *run;

    if (lx_bundle_open_bytes(&bundle, data, size, &err) < 0) {
        if (err.code >= 0 || !err.text[0])
            abort();
        return 0;
    }
    cJSON_ArrayForEach(run, lx_bundle_runs(bundle))
    {
        const char *id;
        if (lx_transfer_check(&id, run, NULL) < 0)
            abort();
    }
    lx_bundle_close(bundle);
    return 0;
}
