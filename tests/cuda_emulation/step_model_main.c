/*
 * lx_cuda_step_model [--size PIXELS] [--batch N] [--rank R] [--mixed_precision bf16|fp16] CHECKPOINT
 *
 * What a training step (text encoder, UNet, loss, gradients of the LoRA) would take on a GPU: planned on the emulated
 * device, which computes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/train/step.h"
#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/step_model.h"

typedef struct options {
    int size, batch, rank;
    const char *precision, *checkpoint;
} options;

static int run(const options *o, lx_error *err)
{
    const lx_lora_spec spec = {
        .rank = o->rank, .has_unet = true, .has_text_encoder = true};
    lx_device *dev = NULL;
    lx_checkpoint *checkpoint = NULL;
    lx_sd_config sd;
    lx_lora *lora = NULL;
    lx_step *step = NULL;
    lx_train_config config = {0};
    lx_step_model model;
    lx_plan_memory memory;
    int rc;

    lx_train_config_defaults(&config);
    config.network = spec;
    config.unet_lr = config.text_encoder_lr = 1e-4;
    config.mixed_precision = o->precision;
    if ((rc = lx_device_open(&dev, "cuda", 1, err)) < 0 ||
        (rc = lx_checkpoint_open(&checkpoint, o->checkpoint, NULL, err)) < 0 ||
        (rc = lx_checkpoint_config(&sd, checkpoint, 0, err)) < 0 ||
        (rc = lx_lora_create(&lora, dev, checkpoint, &sd, &spec, 1, err)) < 0 ||
        (rc = lx_lora_narrow(lora, strcmp(o->precision, "bf16") ? LX_F16 : LX_BF16,
                             err)) < 0)
        return rc;
    model = (lx_step_model){
        .dev = dev, .checkpoint = checkpoint, .sd = &sd, .lora = lora, .config = &config};
    if ((rc = lx_step_new(&step, &model, err)) < 0 ||
        (rc = lx_step_prepare(step, o->batch, o->size / 8, o->size / 8, 1, &memory,
                              err)) < 0 ||
        (rc = lx_step_take(step, err)) < 0)
        return rc;
    lx_step_model_tell(lx_step_last_plan(step));
    lx_step_free(step);
    lx_lora_free(lora);
    lx_checkpoint_close(checkpoint);
    lx_device_close(dev);
    return LX_OK;
}

static int parse(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            o->checkpoint = argv[i];
            continue;
        }
        if (i + 1 >= argc)
            return -1;
        if (!strcmp(argv[i], "--size"))
            o->size = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--batch"))
            o->batch = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--rank"))
            o->rank = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--mixed_precision"))
            o->precision = argv[++i];
        else
            return -1;
    }
    return o->checkpoint && o->size >= 64 && o->size % 64 == 0 && o->batch > 0 &&
                   o->rank > 0
               ? 0
               : -1;
}

int main(int argc, char **argv)
{
    options o = {.size = 512, .batch = 1, .rank = 32, .precision = "bf16"};
    lx_error err = {0};

    if (parse(&o, argc, argv) < 0) {
        fprintf(stderr,
                "usage: lx_cuda_step_model [--size PIXELS] [--batch N] [--rank R]\n"
                "                          [--mixed_precision bf16|fp16] CHECKPOINT\n");
        return 2;
    }
    lx_emu_options_get()->dry = 1;
    if (run(&o, &err) < 0) {
        fprintf(stderr, "lx_cuda_step_model: %s\n", err.text);
        return lx_exit_status(err.code);
    }
    return 0;
}
