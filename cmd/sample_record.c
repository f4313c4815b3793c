/* What is written about pictures: into the PNG and into the store. */
#include <string.h>
#include <unistd.h>

#include "cmd/sample.h"
#include "src/base/json.h"
#include "src/sample/describe.h"
#include "src/base/scrub.h"

/* Raised when lx's arithmetic changes so that the same settings give another picture. */
enum { ARITHMETIC_VERSION = 1 };

/* ---- the PNG's text ---------------------------------------------------------------- */

/* The prompt with the tags that make these very LoRAs. */
static const char *prompt_of(const lx_picture *p, lx_arena *arena)
{
    const char *text = p->settings.prompt;

    if (!p->has_other_loras)
        return p->prompt;
    for (size_t i = 0; i < p->n_loras && text; i++) {
        const lx_lora_use *use = &p->loras[i];
        const char *name = lx_path_stem(arena, use->path);
        if (!name)
            return NULL;
        text = use->text_encoder == use->unet && !use->blocks
                   ? lx_arena_printf(arena, "%s <lora:%s:%.9g>", text, name, use->unet)
                   : lx_arena_printf(arena, "%s <lora:%s:%.9g:%.9g%s%s>", text, name,
                                     use->text_encoder, use->unet,
                                     use->blocks ? ":lbw=" : "",
                                     use->blocks ? use->blocks : "");
    }
    return text;
}

static int lora_hashes(const char **out, const lx_picture *p, lx_arena *arena,
                       lx_error *err)
{
    const char *text = "";

    *out = NULL;
    for (size_t i = 0; i < p->n_loras; i++) {
        const char *name = lx_path_stem(arena, p->loras[i].path);
        if (!name || !(text = lx_arena_printf(arena, "%s%s%s: %s", text, i ? ", " : "",
                                              name, p->loras[i].hash)))
            return lx_oom(err);
    }
    *out = *text ? text : NULL;
    return LX_OK;
}

/* Of the words that this picture's prompts have. */
static int embedding_hashes(const char **out, const lx_picture *p, lx_arena *arena,
                            lx_error *err)
{
    const lx_embeddings *words = p->settings.embeddings;
    const char *text = "";

    *out = NULL;
    for (size_t i = 0; words && !p->settings.is_peer && i < words->count; i++) {
        const lx_embedding *e = &words->items[i];
        if (!lx_embedding_is_in(e, p->settings.prompt) &&
            !lx_embedding_is_in(e, p->settings.negative))
            continue;
        text = lx_arena_printf(arena, "%s%s%s: %s", text, *text ? ", " : "", e->name,
                               e->hash);
        if (!text)
            return lx_oom(err);
    }
    *out = *text ? text : NULL;
    return LX_OK;
}

int lx_sample_infotext(lx_str *out, const lx_sample_plan *plan, size_t i,
                       const char *model, const char *model_hash, const char *vae,
                       lx_arena *arena, lx_error *err)
{
    const lx_picture *p = &plan->pictures[i];
    lx_sample_origin origin = {.prompt = prompt_of(p, arena),
                               .seed = p->seed,
                               .model = model,
                               .model_hash = model_hash,
                               .vae = vae,
                               .precision = plan->precision,
                               .has_half_vae = plan->has_half_vae};
    lx_str text =
        LX_STR_INIT; /* as it is: what is written is scrubbed, here and in the run */
    int rc = lora_hashes(&origin.lora_hashes, p, arena, err);

    if (rc < 0 || (rc = embedding_hashes(&origin.embedding_hashes, p, arena, err)) < 0)
        return rc;
    if (!origin.prompt)
        return lx_oom(err);
    if ((rc = lx_sample_describe(&text, &p->settings, &origin, err)) == LX_OK)
        lx_scrub_text(out, lx_str_text(&text), text.len);
    lx_str_release(&text);
    return rc < 0 ? rc : lx_str_check(out, err);
}

/* ---- the run ----------------------------------------------------------------------- */

/* Of a VAE in place of the model's: its hash, or its path where it is a folder and has none; NULL without one. */
static int identify_vae(const char **out, const lx_sample_args *a, lx_arena *arena,
                        lx_error *err)
{
    char old_hash[9], sha256[65];
    int rc;

    *out = NULL;
    if (!a->vae)
        return LX_OK;
    if ((rc = lx_checkpoint_hashes(old_hash, sha256, a->vae, err)) < 0)
        return rc;
    *out = *sha256 ? lx_arena_strdup(arena, sha256) : a->vae;
    return *out ? LX_OK : lx_oom(err);
}

/* All that the pictures are a function of. What is not given is left out. */
static int make_spec(char **out, const lx_sample_plan *plan, const lx_sample_args *a,
                     const char *base_sha256, const char *vae, const char *model,
                     const char *model_hash, lx_arena *arena, lx_error *err)
{
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "pictures");
    lx_str text = LX_STR_INIT;
    int rc = LX_OK;

    cJSON_AddStringToObject(root, "base_model", base_sha256);
    cJSON_AddNumberToObject(root, "arithmetic", ARITHMETIC_VERSION);
    if (vae)
        cJSON_AddStringToObject(root, "vae", vae);
    if (a->text_encoder_heads)
        cJSON_AddNumberToObject(root, "text_encoder_heads", (double)a->text_encoder_heads);
    for (size_t i = 0; i < plan->n && rc == LX_OK; i++) {
        lx_str_clear(&text);
        rc = lx_sample_infotext(&text, plan, i, model, model_hash, NULL, arena, err);
        if (rc == LX_OK)
            cJSON_AddItemToArray(list, cJSON_CreateString(lx_str_text(&text)));
    }
    lx_str_clear(&text);
    if (rc == LX_OK && (rc = lx_json_canonical(&text, root, err)) == LX_OK &&
        !(*out = lx_arena_strdup(arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

/* What all pictures have in common is read off the first. */
static int make_flags(char **out, const lx_sample_plan *plan, const lx_sample_args *a,
                      lx_arena *arena, lx_error *err)
{
    const lx_picture *p = &plan->pictures[0];
    const lx_sample_settings *s = &p->settings;
    char sampler[LX_SAMPLER_NAME];
    cJSON *root = cJSON_CreateObject();
    lx_str text = LX_STR_INIT;
    int rc;

    cJSON_AddStringToObject(root, "prompt", p->prompt);
    cJSON_AddStringToObject(root, "negative_prompt", s->negative);
    cJSON_AddNumberToObject(root, "width", s->width);
    cJSON_AddNumberToObject(root, "height", s->height);
    cJSON_AddNumberToObject(root, "steps", s->steps);
    cJSON_AddNumberToObject(root, "cfg", s->cfg);
    cJSON_AddStringToObject(root, "sampler", lx_sampler_text(sampler, &s->sampler));
    cJSON_AddNumberToObject(root, "seed", (double)p->seed);
    cJSON_AddNumberToObject(root, "clip_skip", s->clip_skip);
    cJSON_AddNumberToObject(root, "ensd", (double)s->ensd);
    cJSON_AddStringToObject(root, "noise", lx_noise_kind_name(s->noise));
    cJSON_AddNumberToObject(root, "pictures", (double)plan->n);
    if (plan->precision != LX_PRECISION_F32)
        cJSON_AddStringToObject(root, "mixed_precision",
                                lx_precision_name(plan->precision));
    if (plan->has_half_vae)
        cJSON_AddTrueToObject(root, "half_vae");
    if (s->v_parameterization)
        cJSON_AddTrueToObject(root, "v_parameterization");
    if (s->zero_terminal_snr)
        cJSON_AddTrueToObject(root, "zero_terminal_snr");
    for (size_t i = 0; i < a->grids.count; i++) {
        cJSON *grid = cJSON_GetObjectItem(root, "grid");
        if (!grid)
            grid = cJSON_AddArrayToObject(root, "grid");
        cJSON_AddItemToArray(grid, cJSON_CreateString(a->grids.items[i]));
    }
    if ((rc = lx_json_canonical(&text, root, err)) == LX_OK &&
        !(*out = lx_arena_strdup(arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

static int make_base(char **out, const lx_sample_args *a, const char *sha256,
                     const char *vae, lx_arena *arena, lx_error *err)
{
    cJSON *root = cJSON_CreateObject();
    lx_str text = LX_STR_INIT;
    int rc;

    cJSON_AddStringToObject(root, "path", a->base);
    cJSON_AddStringToObject(root, "sha256", sha256);
    if (vae) {
        cJSON *object = cJSON_AddObjectToObject(root, "vae");
        cJSON_AddStringToObject(object, "path", a->vae);
        cJSON_AddStringToObject(object, "sha256", vae == a->vae ? "" : vae);
    }
    if ((rc = lx_json_canonical(&text, root, err)) == LX_OK &&
        !(*out = lx_arena_strdup(arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

int lx_sample_record(lx_run **out, lx_store *store, const lx_sample_plan *plan,
                     const lx_sample_args *args, const char *base_sha256,
                     const char *model, const char *model_hash, lx_cli *cli,
                     lx_error *err)
{
    char *spec, *flags, *base, folder[4096];
    const char *vae;
    const char **words =
        lx_arena_calloc(cli->arena, (size_t)cli->argc + 3, sizeof *words);
    lx_str line = LX_STR_INIT;
    lx_run_start start = {.name = args->name, .kind = "sample", .has_seed = true};
    int rc;

    if (!words)
        return lx_oom(err);
    words[0] = "lx";
    words[1] = "sample";
    memcpy(words + 2, cli->argv, (size_t)cli->argc * sizeof *words);
    lx_scrub_command(&line, cli->argc + 2, words);
    if ((rc = lx_str_check(&line, err)) < 0 ||
        (rc = identify_vae(&vae, args, cli->arena, err)) < 0 ||
        (rc = make_spec(&spec, plan, args, base_sha256, vae, model, model_hash,
                        cli->arena, err)) < 0 ||
        (rc = make_flags(&flags, plan, args, cli->arena, err)) < 0 ||
        (rc = make_base(&base, args, base_sha256, vae, cli->arena, err)) < 0)
        goto done;
    start.command_line = lx_str_text(&line);
    start.flags_given = flags;
    start.flags = flags;
    start.spec = spec;
    start.base_model = base;
    start.seed = plan->pictures[0].seed;
    start.work_dir = getcwd(folder, sizeof folder);
    rc = lx_run_begin(out, store, &start, err);
done:
    lx_str_release(&line);
    return rc;
}
