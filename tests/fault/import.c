/* Every allocation of an import fails once, and then for ever: an error, no crash, no
 * leak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/import/console_log.h"
#include "src/import/lora_files.h"
#include "src/import/mlflow.h"
#include "src/import/tensorboard.h"

static char folder[64];

static void put(const char *name, const void *bytes, size_t n)
{
    char path[256];
    lx_error err = {0};

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (lx_file_write(path, bytes, n, &err) < 0)
        fail_msg("%s", err.text);
}

static void put_lora(void)
{
    static const char header[] =
        "{\"__metadata__\":{\"ss_session_id\":\"1\",\"ss_training_started_at\":"
        "\"1700000000.5\","
        "\"ss_optimizer\":\"torch.optim.AdamW(weight_decay=0.1,eps=1e-8)\",\"ss_network_"
        "dim\":\"4\","
        "\"ss_network_args\":\"{\\\"conv_dim\\\": \\\"4\\\"}\",\"ss_resolution\":\"(512, "
        "512)\","
        "\"ss_epoch\":\"1\",\"ss_steps\":\"10\",\"ss_sd_model_name\":\"a.ckpt\",\"ss_"
        "seed\":\"42\","
        "\"ss_tag_frequency\":\"{\\\"1_a b\\\": {\\\"a b\\\": 1}}\"},"
        "\"a.alpha\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}       ";
    unsigned char bytes[1024] = {0};
    size_t n = (sizeof header - 1) / 8 * 8;

    bytes[0] = (unsigned char)n;
    bytes[1] = (unsigned char)(n >> 8);
    memcpy(bytes + 8, header, n);
    put("a.safetensors", bytes, 8 + n + 4);
}

static int setup(void **state)
{
    static const char log[] =
        "running training / x\n  num epochs / x: 2\nepoch 1/2\n"
        "\rsteps:  50%|#| 1/2 [00:01<00:01,  1.00it/s, avr_loss=0.5]\n"
        "saving checkpoint: a.safetensors\nmodel saved.\n";
    char path[256];
    lx_str events = LX_STR_INIT;
    lx_error err = {0};

    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-fault-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    put("train.log", log, sizeof log - 1);
    put_lora();
    assert_int_equal(
        lx_file_read(&events, LX_TEST_DIR "/fuzz/corpus/tfevents/file", 1 << 20, &err),
        LX_OK);
    put("events.out.tfevents.1.h.1.0", events.data, events.len);
    lx_str_release(&events);
    snprintf(path, sizeof path, "%s/1/r/metrics", folder);
    assert_int_equal(lx_make_dirs(path, &err), LX_OK);
    put("1/meta.yaml", "name: e\nlifecycle_stage: active\n", 32);
    put("1/r/meta.yaml", "run_id: r\nstatus: 3\n", 20);
    put("1/r/metrics/loss", "1 0.5 1\n2 0.25 2\n", 17);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static int import_log(lx_history *h, lx_error *err)
{
    char path[256];
    snprintf(path, sizeof path, "%s/train.log", folder);
    return lx_import_console_log(h, path, err);
}

static int import_lora(lx_history *h, lx_error *err)
{
    lx_lora_files *files = NULL;
    char path[256];
    int rc;

    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    if ((rc = lx_lora_files_new(&files, h, err)) == LX_OK &&
        (rc = lx_lora_files_add(files, path, err)) == LX_OK)
        rc = lx_lora_files_finish(files, err);
    lx_lora_files_free(files);
    return rc;
}

static int import_events(lx_history *h, lx_error *err)
{
    return lx_import_tensorboard(h, folder, err);
}

static int import_mlflow(lx_history *h, lx_error *err)
{
    return lx_import_mlflow(h, folder, err);
}

typedef int (*import_function)(lx_history *h, lx_error *err);

static int attempt(import_function import, size_t *n_runs)
{
    lx_history *h = NULL;
    lx_error err = {0};
    int rc = lx_history_new(&h, &err);

    if (rc == LX_OK)
        rc = import(h, &err);
    if (rc == LX_OK)
        rc = lx_history_check(h, &err);
    if (rc < 0 && (err.code != rc || !err.text[0]))
        fail_msg("%d without its story: %d \"%s\"", rc, err.code, err.text);
    *n_runs = h ? h->count : 0;
    lx_history_free(h);
    return rc;
}

/* base/json remembers for the next document that memory ran out: it is told here. */
static void forget_failure(void)
{
    lx_str none = LX_STR_INIT;
    lx_alloc_fail_at(0, false);
    lx_json_canonical(&none, NULL, NULL);
    lx_str_release(&none);
}

/* To the first n that no allocation has: then the import is whole. */
static void fail_each(import_function import)
{
    size_t n_runs;

    for (int forever = 0; forever < 2; forever++) {
        size_t n = 0;
        int rc;
        do {
            forget_failure();
            lx_alloc_fail_at(++n, forever != 0);
            rc = attempt(import, &n_runs);
            assert_true(rc == LX_OK || rc == LX_ENOMEM);
        } while (lx_alloc_count() >= n && n < 5000);
        lx_alloc_fail_at(0, false);
        assert_true(n > 5 && n < 5000);
        assert_int_equal(rc, LX_OK);
        assert_int_equal(n_runs, 1);
    }
}

static void test_fault_import__console_log(void **state)
{
    (void)state;
    fail_each(import_log);
}

static void test_fault_import__lora_files(void **state)
{
    (void)state;
    fail_each(import_lora);
}

static void test_fault_import__tensorboard(void **state)
{
    (void)state;
    fail_each(import_events);
}

static void test_fault_import__mlflow(void **state)
{
    (void)state;
    fail_each(import_mlflow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_import__console_log),
        cmocka_unit_test(test_fault_import__lora_files),
        cmocka_unit_test(test_fault_import__tensorboard),
        cmocka_unit_test(test_fault_import__mlflow),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
