/* Memory runs out between the folder and the batch: an error, no crash, no leak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/data/check.h"
#include "src/data/facts.h"
#include "src/data/loader.h"
#include "src/report/sheet.h"
#include "tests/support/golden.h"

static int encode(void *context, const float *x, int width, int height, float *mean,
                  float *logvar, lx_error *err)
{
    size_t n = 4 * (size_t)(width / 8) * (size_t)(height / 8);

    (void)context;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        mean[i] = x[i];
        logvar[i] = 0;
    }
    return LX_OK;
}

typedef enum ahead { NOTHING, READING, ENCODING } ahead;

static int use_data(const lx_dataset_config *c, ahead by_thread, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_dataset *d = NULL;
    lx_loader *loader = NULL;
    lx_dataset_facts facts;
    const lx_batch *batch;
    int rc;

    if (arena == NULL)
        return lx_oom(err);
    if ((rc = lx_dataset_scan(&d, c, err)) < 0 || (rc = lx_dataset_check(d, err)) < 0 ||
        (rc = lx_dataset_plan(d, err)) < 0 || (rc = lx_dataset_hash(d, err)) < 0 ||
        (rc = lx_dataset_facts_of(&facts, d, arena, err)) < 0 ||
        (rc = lx_loader_new(&loader, d, 1, 1.0, 10, encode, NULL, err)) < 0 ||
        (by_thread == READING && (rc = lx_loader_read_ahead(loader, err)) < 0) ||
        (by_thread == ENCODING &&
         (rc = lx_loader_encode_ahead(loader, d->n_batches, err)) < 0) ||
        (c->cache_latents && (rc = lx_loader_cache_latents(loader, NULL, NULL, err)) < 0))
        goto done;
    for (size_t i = 0; i < d->n_batches && rc == LX_OK; i++)
        rc = lx_loader_batch(&batch, loader, 0, (int64_t)i, (int64_t)i, err);
done:
    lx_loader_free(loader);
    lx_dataset_free(d);
    lx_arena_free(arena);
    return rc;
}

/* Every allocation at first, then each `stride`th share of those before it. */
static void fail_everywhere(ahead by_thread, size_t stride)
{
    const char *path = lx_golden_need("data/dataset/parse/hobby_txt.json");
    lx_dataset_config c;
    lx_error err = {0};
    char folder[1024];
    size_t n = 1, n_failed = 0;
    bool was_reached;

    snprintf(folder, sizeof folder, "%.*s", (int)(strstr(path, "/parse/") - path), path);
    assert_int_equal(chdir(folder), 0);
    lx_dataset_config_defaults(&c);
    c.train_data_dir = "tree/hobby/train";
    c.reg_data_dir = "tree/hobby/reg";
    c.caption_extension = ".txt";
    c.width = c.height = 64;
    c.min_bucket_reso = 64;
    c.max_bucket_reso = 128;
    c.enable_bucket = c.shuffle_caption = c.enable_wildcard = true;
    c.cache_latents = by_thread != ENCODING;
    c.batch_size = 4;
    do {
        int rc;
        lx_alloc_fail_at(n, false);
        rc = use_data(&c, by_thread, &err);
        was_reached = lx_alloc_count() >= n;
        lx_alloc_fail_at(0, false);
        if (rc < 0 && rc != LX_ENOMEM)
            fail_msg("allocation %zu failed and gave %d: %s", n, rc, err.text);
        n_failed += rc < 0;
        n += 1 + n / stride;
    } while (was_reached);
    assert_true(n_failed > 5);
}

static void test_fault_data__every_allocation_may_fail(void **state)
{
    fail_everywhere(NOTHING, 16);
}

/* Also those of the thread: its errors are those of the requests. */
static void test_fault_data__and_those_of_the_thread_that_reads_ahead(void **state)
{
    fail_everywhere(READING, 4);
}

static void test_fault_data__and_those_of_the_thread_that_encodes_ahead(void **state)
{
    fail_everywhere(ENCODING, 2);
}

static int use_check(const lx_dataset_config *c, lx_error *err)
{
    const lx_check_options options = {
        .data = c, .max_token_length = 75, .near = 6, .thumbnail = 64};
    lx_data_check *check = NULL;
    lx_sheet_image image = {.name = "a", .shown = "a"};
    lx_str html = LX_STR_INIT;
    int rc = lx_data_check_run(&check, &options, err);

    if (rc == LX_OK) {
        const lx_sheet_flag flag = {LX_TONE_BAD, check->findings[0].code,
                                    check->findings[0].text, NULL, 0};
        const lx_sheet sheet = {.title = "t",
                                .id = "i",
                                .command = "c",
                                .images = &image,
                                .n_images = 1,
                                .flags = &flag,
                                .n_flags = 1,
                                .side = 64};
        image.bytes = check->images[0].thumbnail.data;
        image.n_bytes = check->images[0].thumbnail.len;
        rc = lx_sheet_html(&html, &sheet, err);
    }
    lx_str_release(&html);
    lx_data_check_free(check);
    return rc;
}

/* The caption trap, so that it is scanned twice. */
static void test_fault_data__every_allocation_of_a_check_may_fail(void **state)
{
    const char *path =
        lx_golden_need("data/dataset/tree/simple/train/4_iwl 1girl/s0.png");
    lx_dataset_config c;
    lx_error err = {0};
    char folder[1024];
    size_t n = 1, n_failed = 0, n_tried = 0;
    bool was_reached;

    snprintf(folder, sizeof folder, "%.*s", (int)(strstr(path, "/4_iwl") - path), path);
    lx_dataset_config_defaults(&c);
    c.train_data_dir = folder;
    c.width = c.height = 64;
    do {
        int rc;
        lx_alloc_fail_at(n, false);
        rc = use_check(&c, &err);
        was_reached = lx_alloc_count() >= n;
        lx_alloc_fail_at(0, false);
        if (rc < 0 && rc != LX_ENOMEM)
            fail_msg("allocation %zu failed and gave %d: %s", n, rc, err.text);
        n_failed += rc < 0;
        n_tried++;
        n += 1 + n / 4;
    } while (was_reached);
    assert_true(n_failed > n_tried / 2); /* some are harmless */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_data__every_allocation_may_fail),
        cmocka_unit_test(test_fault_data__and_those_of_the_thread_that_reads_ahead),
        cmocka_unit_test(test_fault_data__and_those_of_the_thread_that_encodes_ahead),
        cmocka_unit_test(test_fault_data__every_allocation_of_a_check_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
