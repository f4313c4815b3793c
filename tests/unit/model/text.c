/* The text encoder against transformers, through sd-scripts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

static const double limit = 1e-5;

/* "cap3.ids75" -> input_ids of its own: the goldens name inputs by caption and length. */
static void check_caption(const lx_model_fixture *f, const lx_tensor_file *golden,
                          const char *ids_name, const char *context_name, int clip_skip)
{
    lx_eval_model model = {
        .checkpoint = f->checkpoint, .config = &f->config, .dev = f->dev, .clip_skip = clip_skip};
    const lx_tensor_view *ids = lx_tensor_file_find(golden, ids_name);
    lx_tensor_view input = *ids;
    lx_tensor_file *file;
    lx_eval *eval = NULL;
    lx_error err = {0};
    char path[256];

    snprintf(path, sizeof(path), "%s.ids.safetensors", lx_synth_checkpoint("tiny"));
    input.name = "input_ids";
    lx_assert_ok(lx_safetensors_write(path, &input, 1, NULL, 0, &err), &err);
    file = lx_open_tensors(path);
    remove(path);
    lx_assert_ok(lx_eval_run(&eval, &model, LX_EVAL_TEXT, file, "", &err), &err);
    lx_check_output(eval, "context", golden, context_name, limit);
    lx_eval_free(eval);
    lx_tensor_file_close(file);
}

static void test_model_text__every_golden_caption(void **state)
{
    lx_tensor_file *golden = lx_golden_open("text/text_encoder.safetensors");
    lx_model_fixture f;
    int n = 0;

    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    for (size_t i = 0; i < lx_tensor_file_count(golden); i++) {
        const char *name = lx_tensor_file_at(golden, i)->name;
        int caption, length;
        char skip_text[16], ids[64];

        if (sscanf(name, "cap%d.len%d.skip%15s", &caption, &length, skip_text) != 3)
            continue;
        snprintf(ids, sizeof(ids), "cap%d.ids%d", caption, length);
        check_caption(&f, golden, ids, name, strcmp(skip_text, "none") == 0 ? 0 : 2);
        n++;
    }
    assert_true(n > 0);
    lx_model_fixture_close(&f);
    lx_tensor_file_close(golden);
}

static void test_model_text__skip_beyond_the_layers_is_refused(void **state)
{
    lx_tensor_file *golden = lx_golden_open("model/nano_forward.safetensors");
    lx_model_fixture f;
    lx_eval *eval = NULL;
    lx_eval_model model;
    lx_error err = {0};

    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    model = (lx_eval_model){
        .checkpoint = f.checkpoint, .config = &f.config, .dev = f.dev, .clip_skip = 4};
    assert_int_equal(lx_eval_run(&eval, &model, LX_EVAL_TEXT, golden, "", &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "--clip_skip 4"));
    lx_model_fixture_close(&f);
    lx_tensor_file_close(golden);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_text__every_golden_caption),
        cmocka_unit_test(test_model_text__skip_beyond_the_layers_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
