#include "tests/support/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/golden.h"
#include "tests/support/kernel_case.h"

void lx_model_fixture_open(lx_model_fixture *f, const char *path, int text_heads)
{
    lx_error err = {0};

    *f = (lx_model_fixture){.dev = NULL};
    lx_assert_ok(lx_test_device_open(&f->dev, &err), &err);
    lx_assert_ok(lx_checkpoint_open(&f->checkpoint, path, NULL, &err), &err);
    lx_assert_ok(lx_checkpoint_config(&f->config, f->checkpoint, text_heads, &err), &err);
}

void lx_model_fixture_close(lx_model_fixture *f)
{
    lx_lora_free(f->lora);
    lx_checkpoint_close(f->checkpoint);
    lx_device_close(f->dev);
}

lx_tensor_file *lx_open_tensors(const char *path)
{
    lx_tensor_file *file = NULL;
    lx_error err = {0};

    lx_assert_ok(lx_tensor_file_open(&file, path, &err), &err);
    return file;
}

lx_eval *lx_run_golden(const lx_model_fixture *f, lx_eval_kind kind, const lx_tensor_file *golden,
                       const char *prefix, int clip_skip, bool has_trace)
{
    lx_eval_model model = {
        .checkpoint = f->checkpoint,
        .config = &f->config,
        .dev = f->dev,
        .hook = f->lora ? lx_lora_inject : NULL,
        .hook_context = f->lora,
        .clip_skip = clip_skip,
        .has_trace = has_trace,
    };
    lx_eval *eval = NULL;
    lx_error err = {0};

    lx_assert_ok(lx_eval_run(&eval, &model, kind, golden, prefix, &err), &err);
    return eval;
}

void lx_check_output(lx_eval *eval, const char *output, const lx_tensor_file *golden,
                     const char *expected, double limit)
{
    lx_tensor_view view;
    lx_error err = {0};
    size_t n;
    float *values = lx_golden_f32(&n, golden, "%s", expected);

    lx_assert_ok(lx_eval_get(&view, eval, output, &err), &err);
    if (view.n_elements != n)
        fail_msg("%s: %zu values, expected %zu", expected, view.n_elements, n);
    lx_assert_close(expected, view.data, values, n, limit);
    free(values);
}
