/*
 * lx debug eval sample - a picture from given noise (docs/testing.md)
 *
 * inputs   xT [1, 4, h, w] of variance 1; cond, uncond [1, T, D], or ids_prompt,
 * ids_negative [1, chunks, 77]; noise_list [n, 1, 4, h, w] or [n, 4, h, w] for samplers
 * that draw; sigmas [steps + 1] in place of the sampler's own outputs  latents [1, 4, h,
 * w] times 0.18215; x [1, 3, 8h, 8w] in -1..1; rgb u8 [1, 8h, 8w, 3]
 */
#include <string.h>

#include "cmd/debug.h"
#include "src/base/alloc.h"
#include "src/format/safetensors.h"
#include "src/sample/lora_stack.h"
#include "src/sample/sample.h"

struct sample_args {
    const char *base, *vae, *inputs, *outputs, *sampler;
    lx_words loras;
    int64_t text_encoder_heads, clip_skip, threads, steps;
    double cfg;
    bool is_compat, v_parameterization, zero_terminal_snr;
};

static const lx_option options[] = {
    LX_TEXT(struct sample_args, base, 0, "base", "FILE", "the base model"),
    LX_TEXT(struct sample_args, vae, 0, "vae", "FILE", "a VAE in place of the base's"),
    LX_REPEAT(struct sample_args, loras, 0, "lora", "FILE[:S]",
              "a LoRA on top, at strength S"),
    LX_TEXT(struct sample_args, inputs, 0, "inputs", "FILE", "tensors to read"),
    LX_TEXT(struct sample_args, outputs, 0, "outputs", "FILE", "tensors to write"),
    LX_TEXT(struct sample_args, sampler, 0, "sampler", "NAME", "as for lx sample"),
    LX_FLAG(struct sample_args, is_compat, 0, "sample_compat", "sd-scripts' samplers"),
    LX_INT(struct sample_args, steps, 0, "steps", "N", "steps (20)"),
    LX_NUMBER(struct sample_args, cfg, 0, "cfg", "X", "guidance (7)"),
    LX_INT(struct sample_args, clip_skip, 0, "clip_skip", "N", "for ids (1)"),
    LX_FLAG(struct sample_args, v_parameterization, 0, "v_parameterization", "velocity"),
    LX_FLAG(struct sample_args, zero_terminal_snr, 0, "zero_terminal_snr",
            "zero terminal SNR"),
    LX_INT(struct sample_args, text_encoder_heads, 0, "text_encoder_heads", "N",
           "attention heads of the text encoder"),
    LX_INT(struct sample_args, threads, 0, "threads", "N", "processor threads (0 = all)"),
    LX_OPTION_END};

typedef struct eval {
    lx_cli *cli;
    const struct sample_args *args;
    lx_device *dev;
    lx_checkpoint *checkpoint;
    lx_sd_config config;
    lx_lora_stack *stack;
    lx_pipeline *pipeline;
    lx_tensor_file *inputs;
    lx_sample_given given;
    lx_sample_settings settings;
} eval;

static int read_floats(float **out, const eval *e, const char *name,
                       const lx_tensor_view *view, lx_error *err)
{
    if (!(*out = lx_arena_alloc(e->cli->arena, view->n_elements * sizeof **out + 1)))
        return lx_oom(err);
    return lx_to_f32(*out, view->data, view->dtype, view->n_elements) < 0
               ? lx_fail(err, LX_EFORMAT, "%s: values of type %s cannot be read", name,
                         lx_dtype_name(view->dtype))
               : LX_OK;
}

/* A context that is given, or made of ids; absent where it may be. */
static int read_context(const float **out, int *n_tokens, const eval *e, const char *name,
                        const char *ids_name, lx_error *err)
{
    const lx_tensor_view *view = lx_tensor_file_find(e->inputs, name);
    const lx_tensor_view *ids = lx_tensor_file_find(e->inputs, ids_name);
    lx_prompt_chunks chunks = {0};
    float *values;
    int rc;

    if (view) {
        if (view->n_dims < 2 || view->shape[view->n_dims - 1] != e->config.context_size)
            return lx_fail(err, LX_EFORMAT, "%s must be [1, T, %d]", name,
                           e->config.context_size);
        *n_tokens = (int)view->shape[view->n_dims - 2];
        rc = read_floats(&values, e, name, view, err);
        *out = values;
        return rc;
    }
    if (!ids)
        return LX_OK;
    if (ids->dtype != LX_I64 || ids->n_elements % LX_CHUNK || ids->n_elements == 0 ||
        ids->n_elements / LX_CHUNK > LX_PROMPT_CHUNKS)
        return lx_fail(err, LX_EFORMAT, "%s must be I64 [1, chunks, 77]", ids_name);
    if (!(chunks.ids = lx_arena_alloc(e->cli->arena, ids->bytes)))
        return lx_oom(err);
    memcpy(chunks.ids, ids->data, ids->bytes);
    for (size_t i = 0; i < ids->n_elements; i++)
        if (chunks.ids[i] < 0 || chunks.ids[i] >= e->config.vocab_size)
            return lx_fail(err, LX_EFORMAT, "%s: a token that is not in the vocabulary",
                           ids_name);
    chunks.n = (int)(ids->n_elements / LX_CHUNK);
    rc = lx_pipeline_encode(&values, n_tokens, e->pipeline, &chunks, 0,
                            e->settings.clip_skip, LX_EMPHASIS_PLAIN, err);
    if (rc == LX_OK) {
        const size_t bytes =
            (size_t)*n_tokens * (size_t)e->config.context_size * sizeof(float);
        float *copy = lx_arena_alloc(e->cli->arena, bytes);
        if (copy)
            memcpy(copy, values, bytes);
        *out = copy;
        lx_free(values);
        rc = copy ? LX_OK : lx_oom(err);
    }
    return rc;
}

static int read_inputs(eval *e, lx_error *err)
{
    const lx_tensor_view *start = lx_tensor_file_find(e->inputs, "xT");
    const lx_tensor_view *noise = lx_tensor_file_find(e->inputs, "noise_list");
    const lx_tensor_view *sigmas = lx_tensor_file_find(e->inputs, "sigmas");
    lx_sample_given *g = &e->given;
    float *values;
    int rc;

    if (!start || start->n_dims != 4 || start->shape[0] != 1 || start->shape[1] != 4 ||
        start->shape[2] < 1 || start->shape[3] < 1 || start->shape[2] > 512 ||
        start->shape[3] > 512)
        return lx_fail(err, LX_EFORMAT, "xT [1, 4, h, w] is missing among the inputs");
    g->h = start->shape[2];
    g->w = start->shape[3];
    if ((rc = read_floats(&values, e, "xT", start, err)) < 0)
        return rc;
    g->start = values;
    if (noise) {
        g->n_noise = (int)(noise->n_elements / start->n_elements);
        if (noise->n_elements % start->n_elements)
            return lx_fail(err, LX_EFORMAT, "noise_list is not of xT's shape");
        if ((rc = read_floats(&values, e, "noise_list", noise, err)) < 0)
            return rc;
        g->noise = values;
    }
    if (sigmas) {
        if (sigmas->n_elements < 2 || sigmas->n_elements > LX_MAX_STEPS + 1)
            return lx_fail(err, LX_EFORMAT, "sigmas: 2 to %d are possible",
                           LX_MAX_STEPS + 1);
        if ((rc = read_floats(&values, e, "sigmas", sigmas, err)) < 0)
            return rc;
        g->sigmas = values;
        g->n_sigmas = (int)sigmas->n_elements;
    }
    if ((rc = read_context(&g->cond, &g->n_tokens, e, "cond", "ids_prompt", err)) < 0 ||
        (rc = read_context(&g->uncond, &g->n_uncond_tokens, e, "uncond", "ids_negative",
                           err)) < 0)
        return rc;
    return g->cond ? LX_OK
                   : lx_fail(err, LX_EFORMAT,
                             "cond or ids_prompt is missing among the inputs");
}

static int put_loras_on(eval *e, lx_error *err)
{
    const lx_words *words = &e->args->loras;
    lx_lora_use *uses = lx_arena_calloc(e->cli->arena, words->count + 1, sizeof *uses);
    int rc;

    if (!uses)
        return lx_oom(err);
    for (size_t i = 0; i < words->count; i++) {
        const char *word = words->items[i], *colon = strrchr(word, ':');
        double strength = 1;
        uses[i].path = word;
        if (colon && lx_parse_number(&strength, colon + 1, NULL) == 0)
            uses[i].path = lx_arena_strndup(e->cli->arena, word, (size_t)(colon - word));
        uses[i].name = uses[i].path;
        uses[i].text_encoder = uses[i].unet = strength;
    }
    if ((rc = lx_lora_stack_open(&e->stack, e->dev, e->checkpoint, &e->config, uses,
                                 words->count, err)) == LX_OK)
        lx_pipeline_set_hook(e->pipeline, lx_lora_stack_inject, e->stack);
    return rc;
}

static int open_all(eval *e, lx_error *err)
{
    const struct sample_args *a = e->args;
    int rc;

    e->settings = (lx_sample_settings){.steps = (int)a->steps,
                                       .clip_skip = (int)a->clip_skip,
                                       .cfg = a->cfg,
                                       .v_parameterization = a->v_parameterization,
                                       .zero_terminal_snr = a->zero_terminal_snr};
    if ((rc = lx_sampler_find(&e->settings.sampler, a->sampler ? a->sampler : "euler_a",
                              a->is_compat, err)) < 0 ||
        (rc = lx_device_open_cpu(&e->dev, (int)a->threads, err)) < 0 ||
        (rc = lx_checkpoint_open(&e->checkpoint, a->base, a->vae, err)) < 0 ||
        (rc = lx_checkpoint_config(&e->config, e->checkpoint, (int)a->text_encoder_heads,
                                   err)) < 0 ||
        (rc = lx_pipeline_new(&e->pipeline, e->dev, e->checkpoint, &e->config, err)) <
            0 ||
        (rc = lx_tensor_file_open(&e->inputs, a->inputs, err)) < 0 ||
        (rc = put_loras_on(e, err)) < 0)
        return rc;
    /* As k-diffusion by itself; the web UI's habit of leaving one level out is lx
     * sample's. */
    e->settings.sampler.skips_one = false;
    return read_inputs(e, err);
}

static void describe(lx_tensor_view *out, const char *name, lx_dtype dtype,
                     const void *data, int64_t b, int64_t c, int64_t d)
{
    *out = (lx_tensor_view){.name = name,
                            .dtype = dtype,
                            .n_dims = 4,
                            .shape = {1, b, c, d},
                            .n_elements = (size_t)(b * c * d),
                            .data = data};
    out->bytes = out->n_elements * (dtype == LX_U8 ? 1 : sizeof(float));
}

static int run_eval(eval *e, lx_error *err)
{
    const int64_t h = e->given.h, w = e->given.w;
    float *latents = lx_arena_alloc(e->cli->arena, (size_t)(4 * h * w) * sizeof *latents);
    float *x = lx_arena_alloc(e->cli->arena, (size_t)(192 * h * w) * sizeof *x);
    unsigned char *rgb = lx_arena_alloc(e->cli->arena, (size_t)(192 * h * w));
    lx_tensor_view views[3];
    int rc;

    if (!latents || !x || !rgb)
        return lx_oom(err);
    if ((rc = lx_sample_run_given(latents, &e->given, &e->settings, e->pipeline, err)) <
            0 ||
        (rc = lx_pipeline_decode(x, e->pipeline, latents, h, w, err)) < 0 ||
        (rc = lx_pixels_from_decoded(rgb, x, 8 * h, 8 * w, err)) < 0)
        return rc;
    describe(&views[0], "latents", LX_F32, latents, 4, h, w);
    describe(&views[1], "x", LX_F32, x, 3, 8 * h, 8 * w);
    describe(&views[2], "rgb", LX_U8, rgb, 8 * h, 8 * w, 3);
    return lx_safetensors_write(e->args->outputs, views, 3, NULL, 0, err);
}

int lx_debug_eval_sample(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    struct sample_args args = {.steps = 20, .cfg = 7, .clip_skip = 1};
    eval e = {.cli = cli, .args = &args};
    int rc;

    if ((rc = lx_options_parse(&args, options, argc, argv, cli->arena, err)) < 0)
        return rc;
    if (!args.base || !args.inputs || !args.outputs)
        return lx_fail(err, LX_EUSAGE, "--base, --inputs and --outputs are needed");
    if (args.steps < 1 || args.steps >= LX_MAX_STEPS || args.clip_skip < 1 ||
        args.clip_skip > 64 || args.threads < 0 || args.threads > 4096 ||
        args.text_encoder_heads < 0 || args.text_encoder_heads > 4096)
        return lx_fail(err, LX_EUSAGE, "a number is out of range");
    if ((rc = open_all(&e, err)) == LX_OK)
        rc = run_eval(&e, err);
    lx_tensor_file_close(e.inputs);
    lx_pipeline_free(e.pipeline);
    lx_lora_stack_close(e.stack);
    lx_checkpoint_close(e.checkpoint);
    lx_device_close(e.dev);
    return rc;
}
