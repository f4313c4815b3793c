#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "src/report/report.h"

/* What a stranger may put into any text of a run. */
static const char BAD[] =
    "</td></script><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\x1b[2J\x1b]52;c;YQ==\x07 \xC2\x9B"
    "31m \xE2\x80\xAE"
    "gnp.\n=1+1|`[a](b)\xFF";

enum { STEPS = 600, LINE = 1 << 20 };
static double steps[STEPS], loss[STEPS], rate[STEPS];
static char long_line[LINE + 1];

static void fill_curves(void)
{
    for (int i = 0; i < STEPS; i++) {
        steps[i] = i + 1;
        loss[i] = 0.09 + 0.05 * exp(-i / 90.0) + 0.02 * sin(i * 1.7) * cos(i * 0.37);
        rate[i] = 1e-4 * (i < 60 ? i / 60.0 : 1);
    }
    memset(long_line, '<', LINE);
}

/* A run whose every text is `bad` when that is given. */
static void fill(lx_report *report, const char *bad)
{
    static lx_report_curve curves[2];
    static lx_report_pair settings[3], facts[2];
    static lx_report_folder folders[1];
    static lx_report_tag tags[2];
    static lx_report_picture pictures[2];
    static lx_report_finding findings[1];
    static lx_report_lora loras[1];
    static lx_report_row rows[1];
    static lx_report_run runs[2];
    static const char *texts[2], *values[2];
    static const double ends[] = {200, 400, 600};
#define TEXT(good) (bad ? bad : (good))

    fill_curves();
    texts[0] =
        TEXT("A LoRA of rank 4 was trained on 15 images of \"hifumi\" for 600 steps.");
    texts[1] = TEXT("The loss fell from 0.141 to 0.0902.");
    values[0] = TEXT("0.0001");
    values[1] = NULL;
    curves[0] = (lx_report_curve){"loss", steps, loss, STEPS};
    curves[1] = (lx_report_curve){bad ? bad : "lr/unet", steps, rate, STEPS};
    settings[0] = (lx_report_pair){TEXT("network_dim"), TEXT("4")};
    settings[1] = (lx_report_pair){"train_data_dir", TEXT("~/img")};
    settings[2] = (lx_report_pair){"text", long_line};
    facts[0] = (lx_report_pair){TEXT("rank"), TEXT("4")};
    facts[1] = (lx_report_pair){"base", TEXT("SD 1.x")};
    folders[0] = (lx_report_folder){
        TEXT("10_hifumi 1girl"), TEXT("hifumi 1girl"), 15, 15, 10, false};
    tags[0] = (lx_report_tag){TEXT("hifumi"), 15};
    tags[1] = (lx_report_tag){TEXT("1girl"), 14};
    pictures[0] = (lx_report_picture){TEXT("01.png"),
                                      TEXT("hifumi, 1girl"),
                                      "\xFF\xD8\xFF",
                                      3,
                                      96,
                                      96,
                                      NULL,
                                      100,
                                      NULL,
                                      NULL};
    pictures[1] = (lx_report_picture){TEXT("02.png"),
                                      TEXT("hifumi"),
                                      NULL,
                                      0,
                                      0,
                                      0,
                                      TEXT("no longer there"),
                                      100,
                                      NULL,
                                      NULL};
    findings[0] = (lx_report_finding){LX_TONE_GOOD, TEXT("The captions were read.")};
    loras[0] = (lx_report_lora){
        TEXT("hifumi.safetensors"), "00ff", 600, 3300000, {facts, 2}, findings, 1};
    rows[0] = (lx_report_row){TEXT("learning_rate"), values};
    for (int i = 0; i < 2; i++)
        runs[i] = (lx_report_run){.id = TEXT("3f2a000000000000"),
                                  .name = TEXT("hifumi"),
                                  .kind = TEXT("train"),
                                  .status = TEXT("finished"),
                                  .message = bad,
                                  .started = TEXT("2026-03-01 12:00"),
                                  .seconds = 4000,
                                  .steps = 600,
                                  .loss = 0.0902,
                                  .best_loss = 0.0871,
                                  .best_step = 512,
                                  .summary = {texts, 2},
                                  .tags = {texts, 1},
                                  .notes = {texts, 1},
                                  .settings = {settings, 2},
                                  .resolved = {settings, bad ? 3 : 2},
                                  .inputs = {facts, 2},
                                  .folders = folders,
                                  .n_folders = 1,
                                  .frequencies = tags,
                                  .n_frequencies = 2,
                                  .images = pictures,
                                  .n_images = 2,
                                  .curves = curves,
                                  .n_curves = 2,
                                  .epoch_ends = ends,
                                  .n_epochs = 3,
                                  .samples = pictures,
                                  .n_samples = 2,
                                  .loras = loras,
                                  .n_loras = 1,
                                  .repeat = {texts, 2},
                                  .diff = TEXT("+a\n-b\n")};
    *report = (lx_report){.title = TEXT("hifumi"),
                          .made = TEXT("made by lx"),
                          .runs = runs,
                          .n_runs = 1,
                          .differences = rows,
                          .n_differences = 1,
                          .is_scrubbed = true,
                          .scrubbed = {texts, 1}};
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

/* Nothing that acts on a terminal, reorders text, or is no UTF-8. */
static void assert_inert(const lx_str *out)
{
    assert_int_equal(strlen(out->data), out->len);
    assert_int_equal(lx_utf8_check(out->data, out->len), out->len);
    assert_null(strchr(out->data, '\x1b'));
    assert_null(strchr(out->data, '\x07'));
    assert_null(strstr(out->data, "\xC2\x9B"));
    assert_null(strstr(out->data, "\xE2\x80\xAE"));
}

static void test_report_html__is_one_page_that_fetches_nothing(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_report report;
    const char *path = getenv("LX_REPORT_OUT");

    fill(&report, NULL);
    assert_int_equal(lx_report_html(&out, &report, NULL), 0);
    assert_inert(&out);
    assert_non_null(strstr(out.data, "default-src &#39;none&#39;"));
    assert_int_equal(count(out.data, "<script>"), 3);
    assert_int_equal(count(out.data, "&#39;sha256-"), 3);
    assert_int_equal(count(out.data, "</html>"), 1);
    assert_null(strstr(out.data, "sourceMappingURL"));
    assert_null(strstr(out.data, "<link"));
    assert_null(strstr(out.data, " src=\"http"));
    assert_non_null(strstr(out.data, "src=\"data:image/jpeg;base64,/9j/\""));
    assert_non_null(strstr(out.data, "Permission is hereby granted"));
    if (path) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fwrite(out.data, 1, out.len, f);
        fclose(f);
    }
    lx_str_release(&out);
}

static void test_report_html__without_curves_there_is_no_script(void **state)
{
    lx_report_run run = {.id = "1",
                         .status = "failed",
                         .seconds = (double)NAN,
                         .steps = -1,
                         .loss = (double)NAN,
                         .best_loss = (double)NAN};
    lx_report report = {.title = "x", .runs = &run, .n_runs = 1};
    lx_str out = LX_STR_INIT;

    assert_int_equal(lx_report_html(&out, &report, NULL), 0);
    assert_null(strstr(out.data, "<script"));
    assert_null(strstr(out.data, "nan"));
    lx_str_release(&out);
}

static void test_report_html__hostile_texts_are_inert(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_report report;

    fill(&report, BAD);
    report.n_runs = 2;
    assert_int_equal(lx_report_html(&out, &report, NULL), 0);
    assert_inert(&out);
    assert_int_equal(count(out.data, "<script>"), 3); /* ours */
    assert_null(strstr(out.data, "<img src=x"));
    assert_null(strstr(out.data, "alert(1)</script"));
    assert_int_equal(count(out.data, "<table"), count(out.data, "</table>"));
    assert_int_equal(count(out.data, "<div"), count(out.data, "</div>"));
    lx_str_release(&out);
}

/* ---- Markdown, JSON ---------------------------------------------------------------- */

static int save(void *context, const char *name, const void *bytes, size_t n,
                lx_error *err)
{
    size_t *n_files = context;
    assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-."),
                     strlen(name));
    assert_true(n > 0);
    (void)bytes;
    (void)err;
    ++*n_files;
    return LX_OK;
}

static void test_report_markdown__pictures_lie_beside_it_or_inside(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_report report;
    size_t n_files = 0;

    fill(&report, NULL);
    assert_int_equal(lx_report_markdown(&out, &report, "a b.files", save, &n_files, NULL),
                     0);
    assert_inert(&out);
    assert_int_equal(n_files, 4); /* two charts, two pictures */
    assert_non_null(strstr(out.data, "](<a b.files/loss.svg>)"));
    assert_null(strstr(out.data, "data:image"));
    lx_str_clear(&out);
    assert_int_equal(lx_report_markdown(&out, &report, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(count(out.data, "](data:image/"), 4);
    lx_str_release(&out);
}

static void test_report_markdown__hostile_texts_are_inert(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_report report;

    fill(&report, BAD);
    report.n_runs = 2;
    assert_int_equal(lx_report_markdown(&out, &report, NULL, NULL, NULL, NULL), 0);
    assert_inert(&out);
    assert_int_equal(count(out.data, "[a](b)"),
                     2 * 3); /* in fences: the diff, how to repeat it */
    lx_str_release(&out);
}

static void test_report_json__reads_back(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_report report;
    cJSON *root = NULL, *run;

    fill(&report, BAD);
    report.n_runs = 2;
    loss[7] = (double)NAN;
    assert_int_equal(lx_report_json(&out, &report, NULL), 0);
    assert_inert(&out);
    assert_int_equal(lx_json_parse(&root, out.data, out.len, NULL), 0);
    run = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "runs"), 1);
    assert_true(lx_json_number(run, "steps", 0) == 600);
    assert_int_equal(
        cJSON_GetArraySize(cJSON_GetObjectItem(
            cJSON_GetObjectItem(cJSON_GetObjectItem(run, "curves"), "loss"), "values")),
        STEPS);
    cJSON_Delete(root);
    lx_str_release(&out);
}

static void test_report_html__memory_failures_are_told(void **state)
{
    lx_report report;
    int rc = LX_ENOMEM;

    fill(&report, NULL);
    for (size_t n = 1; rc == LX_ENOMEM; n++) {
        lx_str out = LX_STR_INIT;
        lx_alloc_fail_at(n, false);
        rc = lx_report_html(&out, &report, NULL);
        lx_alloc_fail_at(0, false);
        lx_str_release(&out);
    }
    assert_int_equal(rc, LX_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_html__is_one_page_that_fetches_nothing),
        cmocka_unit_test(test_report_html__without_curves_there_is_no_script),
        cmocka_unit_test(test_report_html__hostile_texts_are_inert),
        cmocka_unit_test(test_report_markdown__pictures_lie_beside_it_or_inside),
        cmocka_unit_test(test_report_markdown__hostile_texts_are_inert),
        cmocka_unit_test(test_report_json__reads_back),
        cmocka_unit_test(test_report_html__memory_failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
