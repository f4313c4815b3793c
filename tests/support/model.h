/*
 * support/model - a model opened for a test, and its outputs compared with a golden's
 */
#ifndef LX_TESTS_MODEL_H
#define LX_TESTS_MODEL_H

#include "src/lora/lora.h"
#include "src/model/eval.h"
#include "tests/support/expect.h"

typedef struct lx_model_fixture {
    lx_device *dev;
    lx_checkpoint *checkpoint;
    lx_sd_config config;
    lx_lora *lora; /* NULL = none; freed with the rest */
} lx_model_fixture;

/* Fails the test when it cannot be opened. */
void lx_model_fixture_open(lx_model_fixture *f, const char *path, int text_heads);
void lx_model_fixture_close(lx_model_fixture *f);

lx_tensor_file *lx_open_tensors(const char *path); /* fails the test; lx_tensor_file_close */

/* Runs `kind` on the golden's inputs "<prefix>x" and so on; lx_eval_free the result. */
lx_eval *lx_run_golden(const lx_model_fixture *f, lx_eval_kind kind, const lx_tensor_file *golden,
                       const char *prefix, int clip_skip, bool has_trace);

/* Fails the test unless the output equals the golden's tensor within the relative error. */
void lx_check_output(lx_eval *eval, const char *output, const lx_tensor_file *golden,
                     const char *expected, double limit);

#endif
