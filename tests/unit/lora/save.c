/* The hashes that a saved LoRA carries, against sd-scripts' own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/lora/lora.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

static void check_file(const char *path, const cJSON *facts)
{
    lx_tensor_file *file = lx_open_tensors(path);
    lx_lora_tensors tensors = {.count = lx_tensor_file_count(file)};
    size_t n_metadata = lx_tensor_file_metadata_count(file);
    lx_metadata_entry *metadata = calloc(n_metadata + 1, sizeof(*metadata));
    char model_hash[65], legacy_hash[9];
    bool has_training = false;
    lx_error err = {0};

    tensors.views = calloc(tensors.count + 1, sizeof(*tensors.views));
    assert_true(metadata && tensors.views);
    for (size_t i = 0; i < tensors.count; i++)
        tensors.views[i] = *lx_tensor_file_at(file, i);
    for (size_t i = 0; i < n_metadata; i++) {
        lx_tensor_file_metadata_at(file, i, &metadata[i].key, &metadata[i].value);
        has_training |= lx_starts_with(metadata[i].key, "ss_");
    }
    lx_assert_ok(lx_lora_hashes(model_hash, legacy_hash, &tensors, metadata, n_metadata, &err),
                 &err);
    assert_string_equal(model_hash, lx_json_text(facts, "precalculate_model_hash"));
    if (has_training)
        assert_string_equal(legacy_hash,
                            lx_json_text(facts, "precalculate_legacy_hash"));
    free(metadata);
    free(tensors.views);
    lx_tensor_file_close(file);
}

static void test_lora_save__hashes_are_the_peers(void **state)
{
    lx_str text = LX_STR_INIT;
    cJSON *all = NULL;
    const cJSON *item;
    int n = 0;
    lx_error err = {0};

    lx_assert_ok(lx_file_read(&text, lx_golden_need("lora/metadata/hashes.json"), 1 << 24, &err),
                 &err);
    lx_assert_ok(lx_json_parse(&all, text.data, text.len, &err), &err);
    cJSON_ArrayForEach(item, all) {
        char sub[256];
        const char *path;

        snprintf(sub, sizeof(sub), "lora/files/%s", item->string);
        path = lx_golden(sub);
        if (!path || !lx_json_text(item, "precalculate_model_hash"))
            continue;
        check_file(path, item);
        n++;
    }
    assert_true(n > 0);
    cJSON_Delete(all);
    lx_str_release(&text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_save__hashes_are_the_peers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
