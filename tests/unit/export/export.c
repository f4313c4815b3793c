/* Runs for other programs; their own readers check the same in tests/peers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/export/mlflow.h"
#include "src/export/tensorboard.h"
#include "src/import/tfevents.h"

static const int64_t one_step[] = {1};
static const double eighth[] = {0.125};

static lx_export_run plain_run(void)
{
    return (lx_export_run){.id = "0123456789abcdef",
                           .name = "r",
                           .kind = "train",
                           .status = "finished",
                           .message = "",
                           .group = "",
                           .started = 1.7e9,
                           .ended = 1.7e9 + 1};
}

static void to_hex(lx_str *out, const lx_str *bytes)
{
    for (size_t i = 0; i < bytes->len; i++)
        lx_str_printf(out, "%02x", (unsigned char)bytes->data[i]);
}

/* Bytes that TensorBoard 2.21 was seen to read. */
static void test_export_tensorboard__the_bytes_are_those_that_were_tried(void **state)
{
    const lx_export_curve curve = {"loss/average", one_step, eighth, 1};
    lx_export_run run = plain_run();
    lx_str bytes = LX_STR_INIT, hex = LX_STR_INIT;

    run.curves = &curve;
    run.n_curves = 1;
    assert_int_equal(lx_tensorboard_file(&bytes, &run, NULL, 0, NULL, 0, NULL), 0);
    to_hex(&hex, &bytes);
    assert_string_equal(
        hex.data, "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e74"
                  "3a32eced8f9d"
                  "220000000000000078113dfd0900004040fc54d94110012a150a130a0c6c6f73732f"
                  "61766572616765150000003e89b22fc6");
    lx_str_release(&bytes);
    lx_str_release(&hex);
}

typedef struct seen {
    size_t n_scalars, n_texts, n_parameters, n_bools;
    double last_value, rank;
    int64_t last_step;
    char text[64];
} seen;

static int on_event(void *context, const lx_tfevent *e, lx_error *err)
{
    seen *s = context;
    (void)err;
    if (e->kind == LX_TFEVENT_SCALAR) {
        assert_true(e->step >= s->last_step); /* curves side by side */
        s->n_scalars++;
        s->last_step = e->step;
        s->last_value = e->value;
    } else if (e->kind == LX_TFEVENT_TEXT) {
        s->n_texts++;
        snprintf(s->text, sizeof s->text, "%.*s", (int)e->n, e->text);
    } else if (e->kind == LX_TFEVENT_PARAMETER) {
        s->n_parameters++;
        s->n_bools += e->is_bool;
        if (strcmp(e->tag, "network_dim") == 0)
            s->rank = e->value;
    }
    return LX_OK;
}

static void test_export_tensorboard__reads_back(void **state)
{
    const int64_t steps[] = {1, 2, 3};
    const double loss[] = {0.5, (double)NAN, 0.25}, rate[] = {1e-4, 1e-4, 0};
    const lx_export_curve curves[] = {{"loss", steps, loss, 3},
                                      {"lr/unet", steps, rate, 3}};
    const lx_export_flag flags[] = {{"cache_latents", "true", 1, true},
                                    {"network_dim", "16", 16, false},
                                    {"learning_rate", "1e-4", (double)NAN, false}};
    const char *const notes[] = {"a \xC3\xA9 note"};
    lx_export_run runs[2] = {plain_run(), plain_run()};
    lx_tensorboard_param *params = NULL;
    lx_str bytes = LX_STR_INIT;
    size_t n_params, used;
    seen s = {0};

    runs[0].curves = curves;
    runs[0].n_curves = 2;
    runs[0].flags = flags;
    runs[0].n_flags = 3;
    runs[0].notes = notes;
    runs[0].n_notes = 1;
    runs[1].flags = flags + 1; /* has no cache_latents */
    runs[1].n_flags = 2;
    assert_int_equal(lx_tensorboard_params(&params, &n_params, runs, 2, NULL), 0);
    assert_int_equal(n_params, 3);
    assert_string_equal(params[2].key, "network_dim");
    assert_int_equal(params[2].type, LX_PARAM_NUMBER);
    assert_int_equal(params[1].type, LX_PARAM_TEXT);
    assert_int_equal(
        lx_tensorboard_file(&bytes, &runs[0], params, n_params, NULL, 0, NULL), 0);
    assert_int_equal(lx_tfevents_read(&used, NULL, (unsigned char *)bytes.data, bytes.len,
                                      0, on_event, &s, NULL),
                     0);
    assert_int_equal(used, bytes.len);
    assert_int_equal(s.n_scalars, 6);
    assert_int_equal(s.n_texts, 1);
    assert_string_equal(s.text, notes[0]);
    assert_int_equal(s.n_parameters, 3);
    assert_int_equal(s.n_bools, 1);
    assert_true(s.rank == 16 && s.last_step == 3);
    lx_free(params);
    lx_str_release(&bytes);
}

static void test_export_tensorboard__memory_failures_are_told(void **state)
{
    const lx_export_curve curve = {"loss", one_step, eighth, 1};
    const lx_export_flag flag = {"network_dim", "16", 16, false};
    const lx_tensorboard_param param = {"network_dim", LX_PARAM_NUMBER};
    lx_export_run run = plain_run();
    int rc = LX_ENOMEM;

    run.curves = &curve;
    run.n_curves = 1;
    run.flags = &flag;
    run.n_flags = 1;
    for (size_t n = 1; rc == LX_ENOMEM; n++) {
        lx_str bytes = LX_STR_INIT;
        lx_alloc_fail_at(n, false);
        rc = lx_tensorboard_file(&bytes, &run, &param, 1, NULL, 0, NULL);
        lx_alloc_fail_at(0, false);
        lx_str_release(&bytes);
    }
    assert_int_equal(rc, LX_OK);
}

/* ---- MLflow ------------------------------------------------------------------------ */

static void assert_file(const char *folder, const char *pattern, const char *wanted)
{
    char command[400];
    lx_str found = LX_STR_INIT, text = LX_STR_INIT;
    FILE *list;
    int c;

    snprintf(command, sizeof command, "ls %s/%s", folder, pattern);
    assert_non_null(list = popen(command, "r"));
    while ((c = fgetc(list)) != EOF && c != '\n')
        lx_str_putc(&found, (char)c);
    assert_int_equal(pclose(list), 0);
    assert_int_equal(lx_file_read(&text, found.data, 1 << 20, NULL), 0);
    assert_string_equal(lx_str_text(&text), wanted);
    lx_str_release(&found);
    lx_str_release(&text);
}

static void test_export_mlflow__a_curve_that_is_a_folder_gets_another_name(void **state)
{
    const int64_t steps[] = {1, 2};
    const double loss[] = {0.5, (double)INFINITY};
    const lx_export_curve curves[] = {{"loss", steps, loss, 2},
                                      {"loss/average", one_step, eighth, 1},
                                      {"../up", one_step, eighth, 1},
                                      {"/", one_step, eighth, 1}};
    const lx_export_flag flags[] = {{"a\nb", "line\nline", (double)NAN, false}};
    const lx_export_file file = {"lora", "../../x", 1, (char[]){"abc"}, 3};
    char folder[] = "/tmp/lx-mlflow-XXXXXX", command[80];
    lx_export_run run = plain_run();
    lx_error err = {0};

    assert_non_null(mkdtemp(folder));
    run.name = "it's \xC2\x9B"
               "1m: #1";
    run.curves = curves;
    run.n_curves = 4;
    run.flags = flags;
    run.n_flags = 1;
    for (int twice = 0; twice < 2; twice++)
        if (lx_mlflow_write(folder, &run, &file, 1, &err) < 0)
            fail_msg("%s", err.text);
    assert_file(folder, "*/*/metrics/loss/current",
                "1700000000500 0.5 1\n1700000001000 inf 2\n");
    assert_file(folder, "*/*/metrics/loss/average", "1700000001000 0.125 1\n");
    assert_file(folder, "*/*/metrics/_../up", "1700000001000 0.125 1\n");
    assert_file(folder, "*/*/params/a_b", "line\nline");
    assert_file(folder, "*/*/artifacts/lora/_._.._x", "abc");
    snprintf(command, sizeof command,
             "grep -q \"run_name: 'it''s .u{9b}1m: #1'\" %s/*/*/meta.yaml", folder);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* Keys of other alphabets, and long ones, lose what tells them apart. */
static void test_export_mlflow__no_key_takes_the_place_of_another(void **state)
{
    char a[300], b[300], folder[] = "/tmp/lx-mlflow-XXXXXX", command[80];
    const lx_export_flag flags[] = {
        {"\xE8\x89\xAF\xE3\x81\x84", "good", (double)NAN, false},
        {"\xE6\x82\xAA\xE3\x81\x84", "bad", (double)NAN, false},
        {"\xE6\x9A\x97\xE3\x81\x84", "dark", (double)NAN, false},
        {a, "a", (double)NAN, false},
        {b, "b", (double)NAN, false}};
    const lx_export_pair tags[] = {{"f(x)", "round"}, {"f[x]", "square"}};
    const lx_export_file files[] = {{"sample", "\xC3\xA9.png", 1, (char[]){"e"}, 1},
                                    {"sample", "\xC3\xA8.png", 1, (char[]){"g"}, 1}};
    lx_export_run run = plain_run();
    lx_error err = {0};

    (void)state;
    memset(a, 'k', sizeof a);
    memset(b, 'k', sizeof b);
    a[299] = b[299] = '\0';
    b[298] = 'l';
    assert_non_null(mkdtemp(folder));
    run.flags = flags;
    run.n_flags = 5;
    run.tags = tags;
    run.n_tags = 2;
    for (int twice = 0; twice < 2; twice++)
        if (lx_mlflow_write(folder, &run, files, 2, &err) < 0)
            fail_msg("%s", err.text);
    assert_file(folder, "*/*/params/______", "good");
    assert_file(folder, "*/*/params/______-2", "bad");
    assert_file(folder, "*/*/params/______-3", "dark");
    assert_file(folder, "*/*/params/kk*[!2]", "a");
    assert_file(folder, "*/*/params/kk*-2", "b");
    assert_file(folder, "*/*/tags/f_x_", "round");
    assert_file(folder, "*/*/tags/f_x_-2", "square");
    assert_file(folder, "*/*/artifacts/sample/__.png", "e");
    assert_file(folder, "*/*/artifacts/sample/__-2.png", "g");
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* ---- tables ------------------------------------------------------------------------ */

static void test_export_csv__is_exact_and_acts_nowhere(void **state)
{
    const int64_t steps[] = {1, -2, 3};
    const double values[] = {0.1, (double)NAN, -(double)INFINITY};
    const lx_export_curve curve = {"=cmd|' /C calc'!A0", steps, values, 3};
    lx_export_run run = plain_run();
    lx_str out = LX_STR_INIT;

    run.name = "a,\"b\"";
    run.curves = &curve;
    run.n_curves = 1;
    assert_int_equal(lx_export_csv(&out, &run, 1, NULL), 0);
    assert_string_equal(
        out.data,
        "run,name,key,step,value\n"
        "0123456789abcdef,\"a,\"\"b\"\"\",\"'=cmd|' /C calc'!A0\",1,0.10000000000000001\n"
        "0123456789abcdef,\"a,\"\"b\"\"\",\"'=cmd|' /C calc'!A0\",-2,nan\n"
        "0123456789abcdef,\"a,\"\"b\"\"\",\"'=cmd|' /C calc'!A0\",3,-inf\n");
    lx_str_release(&out);
}

static void test_export_name__stays_inside_its_folder(void **state)
{
    static const char *const cases[][2] = {
        {"a b-1.png", "a b-1.png"}, {"", "_"},        {"..", "___"},
        {"../x", "_._x"},           {".git", "_git"}, {"-rf", "_rf"},
        {"\xC3\xA9\n", "___"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_str out = LX_STR_INIT;
        lx_export_name(&out, cases[i][0]);
        assert_null(strchr(out.data, '/'));
        assert_true(out.data[0] != '.' && out.data[0] != '-');
        if (i != 2)
            assert_string_equal(out.data, cases[i][1]);
        lx_str_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_tensorboard__the_bytes_are_those_that_were_tried),
        cmocka_unit_test(test_export_tensorboard__reads_back),
        cmocka_unit_test(test_export_mlflow__a_curve_that_is_a_folder_gets_another_name),
        cmocka_unit_test(test_export_mlflow__no_key_takes_the_place_of_another),
        cmocka_unit_test(test_export_csv__is_exact_and_acts_nowhere),
        cmocka_unit_test(test_export_name__stays_inside_its_folder),
        cmocka_unit_test(test_export_tensorboard__memory_failures_are_told), /* the last: what failed once is remembered */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
