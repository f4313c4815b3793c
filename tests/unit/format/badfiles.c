/* Every file of tests/badfiles that is a model gets the verdict of its manifest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "tests/support/golden.h"

static cJSON *read_manifest(void)
{
    lx_str text;
    lx_error err = {0};
    cJSON *tree = NULL;
    if (lx_file_read(&text, lx_badfile_need("manifest.json"), 1 << 20, &err) < 0 ||
        lx_json_parse(&tree, text.data, text.len, &err) < 0)
        fail_msg("%s", err.text);
    lx_str_release(&text);
    return tree;
}

static bool names_byte(const char *text, double at)
{
    char want[40];
    const char *p;
    snprintf(want, sizeof want, "byte %.0f", at);
    p = strstr(text, want);
    return p && (p[strlen(want)] < '0' || p[strlen(want)] > '9');
}

static int check(const cJSON *item)
{
    const char *name = lx_json_text(item, "file"), *expect = lx_json_text(item, "expect");
    const char *path = lx_badfile(name);
    const cJSON *at = cJSON_GetObjectItemCaseSensitive(item, "at");
    lx_tensor_file *file = NULL;
    lx_error err = {0};
    int rc;

    if (!path) {
        print_message("%s is not here\n", name);
        return 0;
    }
    rc = lx_tensor_file_open(&file, path, &err);
    if (getenv("LX_VERBOSE"))
        print_message("%s (%s): %d %s\n", name, lx_json_text(item, "why"), rc, err.text);
    lx_tensor_file_close(file);
    if (!strcmp(expect, "reject")) {
        bool is_exit_65 = lx_exit_status(rc) == 65;
        if (!is_exit_65 || (at && !names_byte(err.text, at->valuedouble))) {
            print_error("%s (%s): %d, \"%s\"\n", name, lx_json_text(item, "why"), rc, err.text);
            return 1;
        }
    } else if (rc != LX_OK) {
        print_error("%s (%s): refused: %s\n", name, lx_json_text(item, "why"), err.text);
        return 1;
    }
    return 0;
}

static void verdicts(const char *kind)
{
    cJSON *manifest = read_manifest(), *item;
    int n_wrong = 0, n = 0;

    cJSON_ArrayForEach(item, manifest)
    {
        if (strcmp(lx_json_text(item, "kind"), kind))
            continue;
        n_wrong += check(item);
        n++;
    }
    cJSON_Delete(manifest);
    assert_true(n > 0);
    assert_int_equal(n_wrong, 0);
}

static void test_format_badfiles__safetensors_get_their_verdicts(void **state)
{
    verdicts("safetensors");
}

static void test_format_badfiles__pickles_get_their_verdicts(void **state)
{
    verdicts("ckpt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_badfiles__safetensors_get_their_verdicts),
        cmocka_unit_test(test_format_badfiles__pickles_get_their_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
