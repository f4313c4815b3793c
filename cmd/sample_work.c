/* Making the pictures of a plan. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd/progress.h"
#include "cmd/sample.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/png.h"
#include "src/sample/describe.h"

typedef struct job {
    lx_sample_plan *plan;
    const lx_sample_args *args;
    lx_cli *cli;
    lx_device *dev;
    lx_checkpoint *checkpoint;
    lx_sd_config config;
    lx_tokenizer *tokenizer;
    lx_pipeline *pipeline;
    lx_lora_stack *stack;
    const lx_picture *stack_of; /* whose LoRAs are on */
    const char *model, *vae;
    char model_hash[11], sha256[65];
    lx_store *store;
    lx_run *run;
    lx_sheet sheet;
    bool has_sheet;
    const char *folder; /* NULL: args->out is the one file */
    int next_number;
    size_t n_done;
    lx_progress_view progress;
    float *latents, *decoded;
    unsigned char *rgb;
} job;

/* ---- opening ----------------------------------------------------------------------- */

static void compare_model(const job *j)
{
    const char *hash = j->plan->model_hash_from;

    if (hash && *j->model_hash &&
        strncmp(hash, j->model_hash, strlen(hash) < 10 ? 8 : 10) != 0 &&
        strlen(hash) >= 10 && !j->cli->is_quiet)
        lx_message(j->cli,
                   "note: the picture was made with model %s (%s), this one is %s (%s)\n",
                   lx_safe(j->cli, j->plan->model_from ? j->plan->model_from : "?"),
                   lx_safe(j->cli, hash), lx_safe(j->cli, j->model), j->model_hash);
}

/* Before any graph: the vectors become rows of the text encoder's table. */
static int load_embeddings(job *j, lx_error *err)
{
    lx_embeddings *words = &j->plan->embeddings;
    lx_arena *arena = j->cli->arena;
    int rc = LX_OK;

    for (size_t i = 0; i < j->plan->n && rc == LX_OK; i++) {
        lx_sample_settings *s = &j->plan->pictures[i].settings;
        s->embeddings = words;
        if (s->is_peer)
            continue;
        if ((rc = lx_embeddings_find(words, arena, s->prompt, j->args->embeddings,
                                     err)) == LX_OK)
            rc = lx_embeddings_find(words, arena, s->negative, j->args->embeddings, err);
    }
    return rc < 0 ? rc : lx_embeddings_load(words, j->checkpoint, &j->config, err);
}

static int open_model(job *j, lx_error *err)
{
    const lx_sample_args *a = j->args;
    char old_hash[9];
    int rc;

    if ((rc = lx_device_open(&j->dev, a->device, (int)a->threads, err)) < 0 ||
        (rc = lx_precision_check(j->plan->precision, j->dev, err)) < 0 ||
        (rc = lx_checkpoint_open(&j->checkpoint, a->base, a->vae, err)) < 0)
        return rc;
    if ((rc = lx_checkpoint_config(&j->config, j->checkpoint, (int)a->text_encoder_heads,
                                   err)) < 0 ||
        (rc = lx_pipeline_new(&j->pipeline, j->dev, j->checkpoint, &j->config, err)) <
            0) {
        lx_within(err, "%s", a->base);
        return rc;
    }
    lx_pipeline_set_precision(j->pipeline, j->plan->precision, j->plan->has_half_vae);
    if ((rc = load_embeddings(j, err)) < 0 ||
        (rc = lx_tokenizer_new(&j->tokenizer, err)) < 0 ||
        (rc = lx_checkpoint_hashes(old_hash, j->sha256, a->base, err)) < 0)
        return rc;
    snprintf(j->model_hash, sizeof j->model_hash, "%.10s", j->sha256);
    j->model = lx_path_stem(j->cli->arena, a->base);
    j->vae = a->vae ? lx_path_base(a->vae) : NULL;
    if (!j->model)
        return lx_oom(err);
    compare_model(j);
    return LX_OK;
}

/* Each file once, however many pictures use it. */
static int hash_loras(lx_sample_plan *plan, lx_error *err)
{
    const lx_lora_use *last = NULL;

    for (size_t i = 0; i < plan->n; i++)
        for (size_t k = 0; k < plan->pictures[i].n_loras; k++) {
            lx_lora_use *use = &plan->pictures[i].loras[k];
            const lx_lora_use *known =
                last && strcmp(last->path, use->path) == 0 ? last : NULL;
            int rc = LX_OK;
            for (size_t m = 0; m < i && !known; m++)
                for (size_t n = 0; n < plan->pictures[m].n_loras; n++)
                    if (strcmp(plan->pictures[m].loras[n].path, use->path) == 0)
                        known = &plan->pictures[m].loras[n];
            if (known)
                memcpy(use->hash, known->hash, sizeof use->hash);
            else if ((rc = lx_lora_short_hash(use->hash, use->path, err)) < 0)
                return rc;
            last = use;
        }
    return LX_OK;
}

/* The next free number among files called 00012-42.png. */
static int number_after(int *out, const char *folder, lx_error *err)
{
    lx_dir list;
    int most = -1, rc = lx_dir_list(&list, folder, err);

    for (size_t i = 0; i < list.count; i++) {
        char *end;
        long n = strtol(list.names[i], &end, 10);
        if (end == list.names[i] + 5 && *end == '-' && n > most)
            most = (int)n;
    }
    lx_dir_free(&list);
    *out = most + 1;
    return rc;
}

/* The name of a file in another format; a folder may have any name once it is there. */
static bool is_other_picture(const char *path)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".png"};

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(lx_path_ext(path), endings[i]) == 0)
            return !lx_file_is_dir(path);
    return false;
}

static const char *output_of(const job *j)
{
    return j->args->out ? j->args->out : "samples";
}

/* Before the model is opened. */
static int check_output(const job *j, lx_error *err)
{
    const char *out = output_of(j);

    if (lx_ends_with(out, ".png") && j->plan->n > 1)
        return lx_fail(err, LX_EUSAGE,
                       "--out %s is one file, %zu pictures come; give a folder", out,
                       j->plan->n);
    if (!lx_ends_with(out, ".png") && is_other_picture(out))
        return lx_fail(err, LX_EUSAGE, "--out %s: pictures are written as PNG; name a .png file, or a folder", out);
    return LX_OK;
}

static int open_output(job *j, lx_error *err)
{
    const char *out = output_of(j);
    int rc;

    if (lx_ends_with(out, ".png"))
        return LX_OK;
    j->folder = out;
    if ((rc = lx_make_dirs(out, err)) < 0)
        return rc;
    return number_after(&j->next_number, out, err);
}

static int take_memory(job *j, lx_error *err)
{
    size_t most = 0;

    for (size_t i = 0; i < j->plan->n; i++) {
        const lx_sample_settings *s = &j->plan->pictures[i].settings;
        size_t pixels = (size_t)s->width * (size_t)s->height;
        most = pixels > most ? pixels : most;
    }
    j->latents = lx_alloc((size_t)j->args->batch * most / 16 * sizeof *j->latents);
    j->decoded = lx_alloc(3 * most * sizeof *j->decoded);
    j->rgb = lx_alloc(3 * most);
    return j->latents && j->decoded && j->rgb ? LX_OK : lx_oom(err);
}

static void close_job(job *j)
{
    lx_pipeline_free(j->pipeline);
    lx_lora_stack_close(j->stack);
    lx_tokenizer_free(j->tokenizer);
    lx_checkpoint_close(j->checkpoint);
    lx_device_close(j->dev);
    lx_sheet_release(&j->sheet);
    lx_store_close(j->store);
    lx_free(j->latents);
    lx_free(j->decoded);
    lx_free(j->rgb);
}

/* ---- one batch --------------------------------------------------------------------- */

static bool same_loras(const lx_picture *a, const lx_picture *b)
{
    if (a->n_loras != b->n_loras)
        return false;
    for (size_t i = 0; i < a->n_loras; i++) {
        const lx_lora_use *x = &a->loras[i], *y = &b->loras[i];
        if (strcmp(x->path, y->path) != 0 || x->text_encoder != y->text_encoder ||
            x->unet != y->unet || (x->blocks != NULL) != (y->blocks != NULL) ||
            (x->blocks && strcmp(x->blocks, y->blocks) != 0))
            return false;
    }
    return true;
}

/* Whether two pictures differ in nothing but the seed. */
static bool same_kind(const lx_picture *a, const lx_picture *b)
{
    const lx_sample_settings *x = &a->settings, *y = &b->settings;

    return strcmp(a->prompt, b->prompt) == 0 && strcmp(x->negative, y->negative) == 0 &&
           x->width == y->width && x->height == y->height && x->steps == y->steps &&
           x->cfg == y->cfg && x->clip_skip == y->clip_skip &&
           memcmp(&x->sampler, &y->sampler, sizeof x->sampler) == 0 && same_loras(a, b);
}

static int put_loras_on(job *j, const lx_picture *p, lx_error *err)
{
    int rc;

    if (j->stack_of && same_loras(j->stack_of, p))
        return LX_OK;
    lx_pipeline_set_hook(j->pipeline, NULL, NULL);
    lx_lora_stack_close(j->stack);
    j->stack = NULL;
    if ((rc = lx_lora_stack_open(&j->stack, j->dev, j->checkpoint, &j->config, p->loras,
                                 p->n_loras, err)) < 0 ||
        (rc = lx_lora_stack_narrow(
             j->stack, lx_precision_narrow(j->plan->precision, j->dev), err)) < 0)
        return rc;
    lx_pipeline_set_hook(j->pipeline, lx_lora_stack_inject, j->stack);
    j->stack_of = p;
    return LX_OK;
}

static int decode(job *j, const float *latents, const lx_sample_settings *s,
                  lx_error *err)
{
    int rc = lx_pipeline_decode(j->decoded, j->pipeline, latents, s->height / 8,
                                s->width / 8, err);

    if (rc == LX_OK)
        rc = lx_pixels_from_decoded(j->rgb, j->decoded, s->height, s->width, err);
    if (rc == LX_ECHECK && j->plan->precision != LX_PRECISION_F32)
        return lx_fail(err, rc, "the picture came out as not-a-number in %s; try it %s",
                       lx_precision_name(j->plan->precision),
                       j->plan->has_half_vae ? "without --half_vae"
                                             : "with --mixed_precision no");
    return rc;
}

static int write_preview(job *j, const float *denoised, lx_error *err)
{
    const lx_sample_settings *s = &j->plan->pictures[j->n_done].settings;
    lx_str png = LX_STR_INIT;
    const char *path = lx_arena_printf(j->cli->arena, "%s%spreview.png",
                                       j->folder ? j->folder : "", j->folder ? "/" : "");
    int rc = path ? decode(j, denoised, s, err) : lx_oom(err);

    if (rc == LX_OK &&
        (rc = lx_png_encode(&png, j->rgb, s->width, s->height, NULL, NULL, err)) == LX_OK)
        rc = lx_file_write(path, png.data, png.len, err);
    lx_str_release(&png);
    return rc;
}

static int on_step(void *context, int step, int n_steps, const float *denoised,
                   lx_error *err)
{
    job *j = context;
    char text[64];

    if (lx_signals_pending())
        return lx_fail(err, LX_EINTERRUPTED, "stopped at step %d of picture %zu",
                       step + 1, j->n_done + 1);
    snprintf(text, sizeof text, "picture %zu/%zu, step", j->n_done + 1, j->plan->n);
    if (j->cli->is_terminal) /* a line a picture is printed anyway */
        lx_progress_phase(&j->progress, text, step + 1, n_steps);
    if (j->args->preview > 0 && (step + 1) % j->args->preview == 0 && step + 1 < n_steps)
        return write_preview(j, denoised, err);
    return LX_OK;
}

static void tell_picture(const job *j, const lx_picture *p)
{
    lx_str out = LX_STR_INIT;

    if (!j->args->json) {
        lx_print(j->cli, "%s\n", lx_safe(j->cli, p->path));
        return;
    }
    lx_str_puts(&out, "{\"path\":");
    lx_escape_json(&out, p->path, strlen(p->path));
    lx_str_printf(&out, ",\"seed\":%llu,\"sha256\":\"%s\"}\n",
                  (unsigned long long)p->seed, p->sha256);
    lx_print(j->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
}

static int write_picture(job *j, lx_picture *p, lx_error *err)
{
    const lx_sample_settings *s = &p->settings;
    lx_str text = LX_STR_INIT, png = LX_STR_INIT;
    char *hex = lx_arena_alloc(j->cli->arena, LX_HASH_HEX + 1);
    lx_hash hash;
    int rc;

    p->path = j->folder ? lx_arena_printf(j->cli->arena, "%s/%05d-%llu.png", j->folder,
                                          j->next_number++, (unsigned long long)p->seed)
                        : j->args->out;
    if (!p->path || !hex)
        return lx_oom(err);
    if ((rc = lx_sample_infotext(&text, j->plan, (size_t)(p - j->plan->pictures),
                                 j->model, j->model_hash, j->vae, j->cli->arena, err)) <
            0 ||
        (rc = lx_png_encode(&png, j->rgb, s->width, s->height, "parameters",
                            lx_str_text(&text), err)) < 0 ||
        (rc = lx_file_write(p->path, png.data, png.len, err)) < 0 ||
        (j->run && (rc = lx_run_artifact(j->run, "sample", lx_path_base(p->path),
                                         png.data, png.len, 0, err)) < 0))
        goto done;
    hash = lx_sha256_of(png.data, png.len);
    lx_hash_hex(hex, &hash);
    p->sha256 = hex;
    if (j->has_sheet)
        lx_sheet_put(&j->sheet, p, j->rgb);
    lx_progress_close(&j->progress);
    tell_picture(j, p);
done:
    lx_str_release(&text);
    lx_str_release(&png);
    return rc;
}

static int make_batch(job *j, size_t first, size_t n, lx_error *err)
{
    enum { MOST = 64 };
    lx_picture *p = &j->plan->pictures[first];
    const lx_sample_watch watch = {j, on_step};
    const size_t cells =
        4 * (size_t)(p->settings.width / 8) * (size_t)(p->settings.height / 8);
    uint64_t seeds[MOST];
    size_t n_cut = 0;
    int rc;

    for (size_t i = 0; i < n; i++)
        seeds[i] = p[i].seed;
    if ((rc = put_loras_on(j, p, err)) < 0 ||
        (rc = lx_sample_run(j->latents, &p->settings, seeds, (int)n, j->pipeline,
                            j->tokenizer, &watch, &n_cut, err)) < 0)
        return rc;
    if (n_cut > 0 && !j->cli->is_quiet)
        lx_message(j->cli, "note: %zu token%s of a prompt did not fit and had no effect\n",
                   n_cut, lx_plural(n_cut));
    for (size_t i = 0; i < n; i++) {
        if ((rc = decode(j, j->latents + i * cells, &p->settings, err)) < 0 ||
            (rc = write_picture(j, &p[i], err)) < 0)
            return rc;
        j->n_done++;
    }
    return LX_OK;
}

/* ---- the whole --------------------------------------------------------------------- */

static int write_sheet(job *j, lx_error *err)
{
    const char *png =
        lx_arena_printf(j->cli->arena, "%s/%05d-grid.png", j->folder, j->next_number);
    const char *html =
        lx_arena_printf(j->cli->arena, "%s/%05d-grid.html", j->folder, j->next_number);
    lx_str text = LX_STR_INIT;
    int rc;

    if (!png || !html)
        return lx_oom(err);
    rc = lx_sample_infotext(&text, j->plan, 0, j->model, j->model_hash, j->vae,
                            j->cli->arena, err);
    if (rc == LX_OK &&
        (rc = lx_sheet_write_png(&j->sheet, png, lx_str_text(&text), err)) == LX_OK &&
        (rc = lx_sheet_write_html(j->plan, html, err)) == LX_OK && j->run &&
        (rc = lx_run_artifact_file(j->run, "sample", lx_path_base(png), png, 0, err)) ==
            LX_OK)
        rc = lx_run_artifact_file(j->run, "sample", lx_path_base(html), html, 0, err);
    if (rc == LX_OK && !j->args->json)
        lx_print(j->cli, "%s\n%s\n", lx_safe(j->cli, png), lx_safe(j->cli, html));
    lx_str_release(&text);
    return rc;
}

static int make_all(job *j, lx_error *err)
{
    const size_t most = (size_t)j->args->batch;
    int rc = LX_OK;

    for (size_t i = 0, n; i < j->plan->n && rc == LX_OK; i += n) {
        for (n = 1; n < most && i + n < j->plan->n &&
                    same_kind(&j->plan->pictures[i], &j->plan->pictures[i + n]);)
            n++;
        rc = make_batch(j, i, n, err);
    }
    return rc == LX_OK && j->has_sheet ? write_sheet(j, err) : rc;
}

/* The run ends as the work did; a store that fails now does not hide the work's own
 * error. */
static int end_run(job *j, int rc, lx_error *err)
{
    lx_error ending = {0};
    int ended;

    if (!j->run)
        return rc;
    ended = lx_run_end(j->run,
                       rc == LX_OK             ? "finished"
                       : rc == LX_EINTERRUPTED ? "interrupted"
                                               : "failed",
                       rc < 0 && err ? err->text : NULL, &ending);
    return rc < 0 ? rc : lx_fail_as(err, ended, &ending);
}

int lx_sample_work(lx_sample_plan *plan, const lx_sample_args *args, lx_cli *cli,
                   lx_error *err)
{
    job j = {.plan = plan, .args = args, .cli = cli};
    lx_error local = {0};
    int rc;

    err = err ? err : &local;
    lx_progress_init(&j.progress, cli);
    j.has_sheet = plan->columns != NULL;
    if ((rc = check_output(&j, err)) < 0 || (rc = open_model(&j, err)) < 0 || (rc = hash_loras(plan, err)) < 0 ||
        (rc = open_output(&j, err)) < 0 || (rc = take_memory(&j, err)) < 0 ||
        (j.has_sheet && (rc = lx_sheet_init(&j.sheet, plan, err)) < 0))
        goto done;
    if (!args->no_record &&
        ((rc = lx_store_open(&j.store, cli->store_path, false, err)) < 0 ||
         (rc = lx_sample_record(&j.run, j.store, plan, args, j.sha256, j.model,
                                j.model_hash, cli, err)) < 0))
        goto done;
    rc = make_all(&j, err);
    lx_progress_close(&j.progress);
    rc = end_run(&j, rc, err);
done:
    close_job(&j);
    return rc;
}
