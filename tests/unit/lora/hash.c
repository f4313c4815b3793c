/* The names that web UIs and model sites give a file, against those that their own code gave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/lora/hash.h"
#include "tests/support/golden.h"

static const char *text(const cJSON *o, const char *key)
{
    const char *value = lx_json_text(o, key);
    return value ? value : "";
}

static void test_lora_hash__as_the_web_uis_compute_them(void **state)
{
    const char *folder = lx_golden_need("lora/files");
    cJSON *all = lx_golden_json("lora/metadata/hashes.json");
    const cJSON *file;
    size_t n = 0;

    cJSON_ArrayForEach(file, all)
    {
        lx_model_hashes h;
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, file->string);
        assert_int_equal(lx_model_hashes_of(&h, path, NULL), 0);
        assert_string_equal(h.sha256, text(file, "sha256_whole_file"));
        assert_string_equal(h.autov1, text(file, "ss_sd_model_hash__old_webui_hash"));
        assert_string_equal(h.autov2, text(file, "autov2_sha256_10"));
        if (lx_ends_with(path, ".safetensors")) {
            assert_string_equal(h.tensors, text(file, "addnet_hash_safetensors_of_file"));
            assert_string_equal(h.autov3, text(file, "autov3_addnet_12"));
        } else {
            assert_string_equal(h.autov3, "");
        }
        n++;
    }
    assert_true(n > 30);
    cJSON_Delete(all);
}

/* Byte i is i * 31 + 7. From 1 MiB on AutoV1 has something to hash; the values are those of
 * sd-scripts' train_util.model_hash. */
static void test_lora_hash__short_files_share_a_name(void **state)
{
    static const struct {
        size_t size;
        const char *autov1, *autov2;
    } cases[] = {{0, "e3b0c442", "e3b0c44298"},
                 {1, "e3b0c442", "ca358758f6"},
                 {1048575, "e3b0c442", "4ddf525d0f"},
                 {1048576, "e3b0c442", "06b7bbfb78"}};
    char path[] = "/tmp/lx-hash-XXXXXX";
    unsigned char *bytes = malloc(1048576);
    int fd = mkstemp(path);

    assert_true(fd >= 0 && bytes);
    close(fd);
    for (size_t i = 0; i < 1048576; i++)
        bytes[i] = (unsigned char)(i * 31 + 7);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_model_hashes h;
        assert_int_equal(lx_file_write(path, bytes, cases[i].size, NULL), 0);
        assert_int_equal(lx_model_hashes_of(&h, path, NULL), 0);
        assert_string_equal(h.autov1, cases[i].autov1);
        assert_string_equal(h.autov2, cases[i].autov2);
    }
    unlink(path);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_hash__as_the_web_uis_compute_them),
        cmocka_unit_test(test_lora_hash__short_files_share_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
