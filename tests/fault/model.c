/* Memory runs out while a model is opened, built or given a LoRA: an error, no crash, no leak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

/* Everything from the file to the result, on the smallest model. */
static int use_model(const lx_tensor_file *inputs, lx_error *err)
{
    const lx_lora_spec spec = {.rank = 2, .conv_rank = 1, .has_unet = true,
                               .has_text_encoder = true};
    lx_device *dev = NULL;
    lx_checkpoint *checkpoint = NULL;
    lx_sd_config config;
    lx_lora *lora = NULL;
    lx_eval *eval = NULL;
    lx_eval_model model;
    lx_tensor_view view;
    int rc;

    if ((rc = lx_device_open_cpu(&dev, 1, err)) < 0 ||
        (rc = lx_checkpoint_open(&checkpoint, lx_synth_checkpoint("nano"), NULL, err)) < 0 ||
        (rc = lx_checkpoint_config(&config, checkpoint, 2, err)) < 0 ||
        (rc = lx_lora_create(&lora, dev, checkpoint, &config, &spec, 1, err)) < 0)
        goto done;
    model = (lx_eval_model){.checkpoint = checkpoint, .config = &config, .dev = dev,
                            .hook = lx_lora_inject, .hook_context = lora, .has_trace = true};
    if ((rc = lx_eval_run(&eval, &model, LX_EVAL_TEXT, inputs, "", err)) == 0)
        rc = lx_eval_get(&view, eval, "context", err);
done:
    lx_eval_free(eval);
    lx_lora_free(lora);
    lx_checkpoint_close(checkpoint);
    lx_device_close(dev);
    return rc;
}

static void test_fault_model__every_allocation_may_fail(void **state)
{
    lx_tensor_file *inputs = lx_golden_open("model/nano_forward.safetensors");
    lx_error err = {0};
    size_t n = 1;
    int rc;

    lx_synth_checkpoint("nano");
    do {
        lx_alloc_fail_at(n, false);
        rc = use_model(inputs, &err);
        lx_alloc_fail_at(0, false);
        if (rc < 0 && rc != LX_ENOMEM)
            fail_msg("allocation %zu failed and gave %d: %s", n, rc, err.text);
        n += 1 + n / 16; /* all of the first ones, then samples: there are many thousands */
    } while (rc < 0 || n < 2000);
    lx_tensor_file_close(inputs);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_model__every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
