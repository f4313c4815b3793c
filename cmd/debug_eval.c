/* lx debug eval - run a model or a training step on given tensors (docs/testing.md) */
#include <string.h>

#include "cmd/debug.h"
#include "src/format/safetensors.h"
#include "src/lora/lora.h"
#include "src/model/eval.h"

struct eval_args {
    const char *base, *vae, *lora, *inputs, *outputs;
    int64_t text_encoder_heads, clip_skip, max_token_length, threads;
    bool has_trace;
};

static const lx_option options[] = {
    LX_TEXT(struct eval_args, base, 0, "base", "FILE", "the base model"),
    LX_TEXT(struct eval_args, vae, 0, "vae", "FILE", "a VAE in place of the base's"),
    LX_TEXT(struct eval_args, lora, 0, "lora", "FILE", "a LoRA on top of it"),
    LX_TEXT(struct eval_args, inputs, 0, "inputs", "FILE", "tensors to read"),
    LX_TEXT(struct eval_args, outputs, 0, "outputs", "FILE", "tensors to write"),
    LX_INT(struct eval_args, text_encoder_heads, 0, "text_encoder_heads", "N",
           "attention heads of the text encoder, where the weights cannot tell"),
    LX_INT(struct eval_args, clip_skip, 0, "clip_skip", "N", "use the Nth layer from the end"),
    LX_INT(struct eval_args, max_token_length, 0, "max_token_length", "N", "75, 150 or 225"),
    LX_INT(struct eval_args, threads, 0, "threads", "N", "processor threads (0 = all)"),
    LX_FLAG(struct eval_args, has_trace, 0, "trace", "write the output of every block too"),
    LX_OPTION_END};

/* What a forward evaluation holds open. */
typedef struct eval_session {
    lx_device *dev;
    lx_checkpoint *checkpoint;
    lx_sd_config config;
    lx_lora *lora;
    lx_tensor_file *inputs;
} eval_session;

static int check_args(const struct eval_args *a, lx_error *err)
{
    if (!a->base || !a->inputs || !a->outputs)
        return lx_fail(err, LX_EUSAGE, "--base, --inputs and --outputs are needed");
    if (a->text_encoder_heads < 0 || a->text_encoder_heads > 4096)
        return lx_fail(err, LX_EUSAGE, "--text_encoder_heads: %lld is out of range",
                       (long long)a->text_encoder_heads);
    if (a->clip_skip < 0 || a->clip_skip > 256)
        return lx_fail(err, LX_EUSAGE, "--clip_skip: %lld is out of range",
                       (long long)a->clip_skip);
    if (a->max_token_length != 0 && a->max_token_length != 75 && a->max_token_length != 150 &&
        a->max_token_length != 225)
        return lx_fail(err, LX_EUSAGE, "--max_token_length: %lld is not 75, 150 or 225",
                       (long long)a->max_token_length);
    if (a->threads < 0 || a->threads > 4096)
        return lx_fail(err, LX_EUSAGE, "--threads: %lld is out of range", (long long)a->threads);
    return 0;
}

static int open_session(eval_session *s, const struct eval_args *a, lx_error *err)
{
    int rc;

    if ((rc = lx_device_open_cpu(&s->dev, (int)a->threads, err)) < 0 ||
        (rc = lx_checkpoint_open(&s->checkpoint, a->base, a->vae, err)) < 0)
        return rc;
    if ((rc = lx_checkpoint_config(&s->config, s->checkpoint, (int)a->text_encoder_heads,
                                   err)) < 0) {
        lx_within(err, "%s", a->base);
        return rc;
    }
    if (a->lora && (rc = lx_lora_open(&s->lora, s->dev, s->checkpoint, &s->config, a->lora,
                                      false, err)) < 0)
        return rc;
    if ((rc = lx_tensor_file_open(&s->inputs, a->inputs, err)) < 0)
        lx_within(err, "%s", a->inputs);
    return rc;
}

static void close_session(eval_session *s)
{
    lx_tensor_file_close(s->inputs);
    lx_lora_free(s->lora);
    lx_checkpoint_close(s->checkpoint);
    lx_device_close(s->dev);
}

/* The chunks of the ids must be what the flag says. */
static int check_chunks(const eval_session *s, const struct eval_args *a, lx_error *err)
{
    const lx_tensor_view *ids = lx_tensor_file_find(s->inputs, "input_ids");
    int64_t n = ids && ids->n_dims == 3 ? ids->shape[1] : 1;

    if (a->max_token_length != 0 && n != a->max_token_length / 75)
        return lx_fail(err, LX_EMISMATCH,
                       "%s: input_ids has %lld chunks of 75, --max_token_length says %lld",
                       a->inputs, (long long)n, (long long)a->max_token_length / 75);
    return 0;
}

static int write_outputs(lx_cli *cli, lx_eval *eval, const char *path, lx_error *err)
{
    size_t n = lx_eval_count(eval);
    lx_tensor_view *views = lx_arena_calloc(cli->arena, n, sizeof(*views));
    int rc;

    if (!views)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        if ((rc = lx_eval_get(&views[i], eval, lx_eval_name(eval, i), err)) < 0)
            return rc;
    return lx_safetensors_write(path, views, n, NULL, 0, err);
}

static int run_forward(lx_cli *cli, lx_eval_kind kind, int argc, char **argv, lx_error *err)
{
    struct eval_args args = {0};
    eval_session session = {0};
    lx_eval *eval = NULL;
    lx_eval_model model;
    int rc;

    if ((rc = lx_options_parse(&args, options, argc, argv, cli->arena, err)) < 0 ||
        (rc = check_args(&args, err)) < 0 || (rc = open_session(&session, &args, err)) < 0)
        goto done;
    if (kind == LX_EVAL_TEXT && (rc = check_chunks(&session, &args, err)) < 0)
        goto done;
    model = (lx_eval_model){
        .checkpoint = session.checkpoint,
        .config = &session.config,
        .dev = session.dev,
        .hook = session.lora ? lx_lora_inject : NULL,
        .hook_context = session.lora,
        .clip_skip = (int)args.clip_skip,
        .has_trace = args.has_trace,
    };
    if ((rc = lx_eval_run(&eval, &model, kind, session.inputs, "", err)) == 0)
        rc = write_outputs(cli, eval, args.outputs, err);
done:
    lx_eval_free(eval);
    close_session(&session);
    return rc;
}

int lx_debug_eval(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    static const char *const forward[LX_EVAL_KIND_COUNT] = {"text", "unet", "vae-encode",
                                                            "vae-decode"};

    if (argc < 1)
        return lx_fail(err, LX_EUSAGE, "what to evaluate is missing: text, unet, vae-encode, "
                                       "vae-decode, step, train or sample");
    for (int kind = 0; kind < LX_EVAL_KIND_COUNT; kind++)
        if (strcmp(argv[0], forward[kind]) == 0)
            return run_forward(cli, (lx_eval_kind)kind, argc - 1, argv + 1, err);
    if (strcmp(argv[0], "step") == 0 || strcmp(argv[0], "train") == 0)
        return lx_debug_eval_train(cli, argv[0][0] == 't', argc - 1, argv + 1, err);
    if (strcmp(argv[0], "sample") == 0)
        return lx_debug_eval_sample(cli, argc - 1, argv + 1, err);
    return lx_fail(err, LX_EUSAGE,
                   "eval %s: there is text, unet, vae-encode, vae-decode, step, train and sample",
                   argv[0]);
}
