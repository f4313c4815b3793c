/* lx verify - did this LoRA learn its captions? */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cli.h"
#include "cmd/derived.h"
#include "cmd/progress.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/verify/ledger_json.h"
#include "src/verify/page.h"
#include "src/verify/series.h"

struct verify_args {
    const char *base, *vae, *data, *held_out, *class_images, *foreign;
    const char *identifier, *class_words, *caption_extension, *resolution, *time, *html,
        *device, *mixed_precision;
    int64_t text_encoder_heads, seed, budget, images, draws, tags, threads;
    double strength, te_strength, delta;
    bool has_strength, has_te_strength, has_delta, has_tags, has_seed, has_budget, has_images, has_draws;
    bool ignore_metadata, json;
    lx_words files;
};

/* An option that tells whether it was given. */
#define GIVEN(kind_, member, given, name, value, help)                     \
    {                                                                      \
        kind_, 0, name, value, help, offsetof(struct verify_args, member), \
            (int)offsetof(struct verify_args, given)                       \
    }

static const lx_option options[] = {
    LX_TEXT(struct verify_args, base, 0, "base", "MODEL",
            "the base model: measures, not only reads"),
    LX_TEXT(struct verify_args, data, 0, "data", "DIR",
            "the training images with their captions"),
    LX_TEXT(struct verify_args, held_out, 0, "held-out", "DIR",
            "images of the same source that were not trained on (memorisation)"),
    LX_TEXT(struct verify_args, class_images, 0, "class-images", "DIR",
            "other images of the same kind (what was damaged)"),
    LX_TEXT(struct verify_args, foreign, 0, "foreign", "DIR",
            "images of something else (must not gain)"),
    LX_TEXT(struct verify_args, identifier, 0, "identifier", "WORD",
            "the tag that stands for what was trained (found from the folder's name)"),
    LX_TEXT(struct verify_args, class_words, 0, "class", "WORDS",
            "a prompt to compare the captions with (the folder's words)"),
    LX_TEXT(struct verify_args, caption_extension, 0, "caption_extension", "EXT",
            "ending of the caption files (found out)"),
    LX_TEXT(struct verify_args, resolution, 0, "resolution", "W,H",
            "size of the images (as trained); smaller is faster"),
    LX_TEXT(struct verify_args, vae, 0, "vae", "FILE", "a VAE in place of the base's"),
    LX_INT(struct verify_args, text_encoder_heads, 0, "text_encoder_heads", "N",
           "attention heads of the text encoder, where the weights cannot tell"),
    GIVEN(LX_OPTION_NUMBER, strength, has_strength, "strength", "S",
          "strength of the LoRA (1)"),
    GIVEN(LX_OPTION_NUMBER, te_strength, has_te_strength, "te-strength", "S",
          "strength in the text encoder (as --strength)"),
    GIVEN(LX_OPTION_NUMBER, delta, has_delta, "delta", "PERCENT",
          "smallest gain that counts, in percent of the loss (0.5)"),
    GIVEN(LX_OPTION_INT, budget, has_budget, "budget", "N",
          "UNet forwards to spend on the first file"),
    LX_TEXT(struct verify_args, time, 0, "time", "TIME",
            "time to spend (90s, 10m, 1h): becomes a budget by timing this machine"),
    GIVEN(LX_OPTION_INT, images, has_images, "images", "N", "training images to use (20)"),
    GIVEN(LX_OPTION_INT, draws, has_draws, "draws", "N",
          "draws of noise for each image, even (8)"),
    GIVEN(LX_OPTION_INT, tags, has_tags, "tags", "N", "tags to replace one by one (10)"),
    GIVEN(LX_OPTION_INT, seed, has_seed, "seed", "N", "seed of all draws (0)"),
    LX_FLAG(struct verify_args, ignore_metadata, 0, "ignore-metadata",
            "judge by what is measured alone"),
    LX_INT(struct verify_args, threads, 0, "threads", "N", "processor threads (0 = all)"),
    LX_TEXT(struct verify_args, device, 0, "device", "WHERE",
            "cpu, or cuda or cuda:N in a build with CUDA (cpu)"),
    LX_TEXT(
        struct verify_args, mixed_precision, 0, "mixed_precision", "TYPE",
        "no, fp16, bf16: what text encoder and UNet compute in (no); on the CPU bf16 is "
        "of their products alone, and there is no fp16"),
    LX_TEXT(struct verify_args, html, 0, "html", "FILE", "write a page with plots"),
    LX_FLAG(struct verify_args, json, 'j', "json",
            "print one JSON object: the whole ledger"),
    LX_ARGS(struct verify_args, files, "LORA", "a LoRA, or several of one run in order"),
    LX_OPTION_END,
};

/* One `lx verify` under way. */
typedef struct job {
    lx_cli *cli;
    const struct verify_args *args;
    lx_verify_options options;
    lx_verify *verify;
    const lx_verify_result **results;
    size_t n;
    lx_sweep sweep;
    lx_progress_view progress;
} job;

/* ---- options ------------------------------------------------------------------- */

/* "512" or "512,768". */
static int parse_resolution(int *width, int *height, const char *text, lx_error *err)
{
    char *end;
    long w = strtol(text, &end, 10), h = w;

    if (*end == ',' || *end == 'x')
        h = strtol(end + 1, &end, 10);
    if (*end || w < 64 || w > 8192 || h < 64 || h > 8192)
        return lx_fail(err, LX_EUSAGE,
                       "--resolution %s: give WIDTH,HEIGHT in pixels, 64 to 8192", text);
    *width = (int)w;
    *height = (int)h;
    return LX_OK;
}

static int parse_time(double *seconds, const char *text, lx_error *err)
{
    char *end;
    double x = strtod(text, &end);
    double unit = strcmp(end, "s") == 0 || !*end ? 1 : strcmp(end, "m") == 0 ? 60 : 3600;

    if (end == text || !(x > 0 && x < 1e7) || (unit == 3600 && strcmp(end, "h") != 0))
        return lx_fail(err, LX_EUSAGE, "--time %s: give seconds, or 90s, 10m, 1h", text);
    *seconds = x * unit;
    return LX_OK;
}

static int check_ranges(const struct verify_args *a, lx_error *err)
{
    const struct {
        const char *name;
        int64_t value, most;
    } ranges[] = {
        {"text_encoder_heads", a->text_encoder_heads, 4096},
        {"seed", a->seed, INT64_MAX},
        {"budget", a->budget, 1000000000},
        {"images", a->images, 100000},
        {"draws", a->draws, 1000},
        {"tags", a->tags, 1000},
        {"threads", a->threads, 4096},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < 0 || ranges[i].value > ranges[i].most)
            return lx_fail(err, LX_EUSAGE, "--%s: %lld is out of range", ranges[i].name,
                           (long long)ranges[i].value);
    if (a->has_budget && !a->budget)
        return lx_fail(err, LX_EUSAGE, "--budget 0: give 1 or more UNet forwards, or leave it out");
    if (a->has_images && !a->images)
        return lx_fail(err, LX_EUSAGE, "--images 0: give 1 or more training images, or leave it out");
    if (a->has_draws && !a->draws)
        return lx_fail(err, LX_EUSAGE, "--draws 0: give 2 or more, or leave it out");
    if (a->draws % 2)
        return lx_fail(err, LX_EUSAGE,
                       "--draws: %lld is odd; draws come in pairs of opposite noise",
                       (long long)a->draws);
    if (a->time && a->budget)
        return lx_fail(err, LX_EUSAGE, "--time and --budget: give one of them");
    if (a->has_delta && !(a->delta > 0 && a->delta < 100))
        return lx_fail(err, LX_EUSAGE, "--delta: %g is no percentage above 0", a->delta);
    if (!(fabs(a->strength) <= 100) || !(fabs(a->te_strength) <= 100))
        return lx_fail(err, LX_EUSAGE, "--strength: from -100 to 100");
    return LX_OK;
}

static int check_files(const struct verify_args *a, lx_error *err)
{
    if (!a->files.count)
        return lx_fail(err, LX_EUSAGE,
                       "no file given: lx verify LORA --base MODEL --data DIR");
    if (a->data && !a->base)
        return lx_fail(err, LX_EUSAGE,
                       "--data needs --base MODEL: the model it was trained on");
    if (!a->data && (a->held_out || a->class_images || a->foreign))
        return lx_fail(err, LX_EUSAGE,
                       "other images are compared with the training images: give "
                       "--data DIR too");
    if (a->files.count > 1 && !a->data)
        return lx_fail(err, LX_EUSAGE,
                       "several files are compared by what they gain: give --base "
                       "and --data");
    return LX_OK;
}

static int on_progress(void *context, const char *phase, int64_t done, int64_t total,
                       lx_error *err)
{
    job *j = context;

    lx_progress_phase(&j->progress, phase, done, total);
    return lx_signals_pending() ? lx_fail(err, LX_EINTERRUPTED, "stopped while measuring")
                                : LX_OK;
}

static int read_options(job *j, lx_error *err)
{
    const struct verify_args *a = j->args;
    int rc;

    if ((rc = check_files(a, err)) < 0 || (rc = check_ranges(a, err)) < 0)
        return rc;
    j->options = (lx_verify_options){
        .base = a->base,
        .vae = a->vae,
        .text_encoder_heads = (int)a->text_encoder_heads,
        .folders = {a->data, a->held_out, a->class_images, a->foreign},
        .caption_extension = a->caption_extension,
        .identifier = a->identifier,
        .class_words = a->class_words,
        .delta = a->has_delta ? a->delta / 100 : 0.005,
        .strength = a->has_strength ? a->strength : 1,
        .seed = (uint64_t)a->seed,
        .budget = a->budget,
        .images = (size_t)a->images,
        .tags = a->has_tags ? (size_t)a->tags : SIZE_MAX,
        .draws = (int)a->draws,
        .ignores_metadata = a->ignore_metadata,
        .threads = (int)a->threads,
        .device = a->device,
        .progress = on_progress,
        .progress_context = j,
    };
    if (a->mixed_precision &&
        (rc = lx_precision_find(&j->options.precision, a->mixed_precision, err)) < 0)
        return rc;
    j->options.te_strength = a->has_te_strength ? a->te_strength : j->options.strength;
    if (a->resolution && (rc = parse_resolution(&j->options.width, &j->options.height,
                                                a->resolution, err)) < 0)
        return rc;
    return a->time ? parse_time(&j->options.seconds, a->time, err) : LX_OK;
}

/* ---- words --------------------------------------------------------------------- */

static void show_result(lx_cli *cli, const lx_verify_result *r)
{
    static const char *const questions[LX_N_QUESTIONS] = {
        "Q1 captions read?", "Q2 weights moved?", "Q3 learned?", "Q4 uses caption?",
        "Q5 identifier?",    "Q6 memorised?",     "Q7 damaged?", "Q8 strength?"};

    lx_print(cli, "%s\n", lx_safe(cli, r->path));
    for (int q = 0; q < LX_N_QUESTIONS; q++)
        lx_print(cli, "  %-18s %-13s %s\n", questions[q], r->answers[q].word,
                 lx_safe(cli, r->answers[q].text));
    for (size_t i = 0; i < r->ledger.count; i++)
        if (r->ledger.rows[i].standing == LX_PROVES && r->ledger.rows[i].id[0] == 'A')
            lx_print(cli, "  proved (%s): %s\n", r->ledger.rows[i].id,
                     lx_safe(cli, r->ledger.rows[i].text));
    lx_print(cli, "-> %s%s: %s.\n", lx_label_name(r->verdict.label),
             r->verdict.is_certain ? " (proved)" : "", r->verdict.why);
    if (r->verdict.n_needed)
        lx_print(cli, "   about %zu images would decide\n", r->verdict.n_needed);
    for (size_t i = 0; i < r->n_flags; i++)
        lx_print(cli, "   %s\n", r->flags[i]);
}

static void show_tags(lx_cli *cli, const lx_verify_result *r)
{
    if (!r->n_tags)
        return;
    lx_print(cli, "  %-28s %7s %24s %8s %7s %7s\n", "tag", "images",
             "gain lost without it", "q", "alone", "reach");
    for (size_t i = 0; i < r->n_tags; i++) {
        const lx_verify_tag *t = &r->tags[i];
        char effect[64] = "", q[16] = "", alone[16] = "", reach[16] = "";
        if (!isnan(t->effect.value))
            lx_estimate_percent(effect, t->effect);
        if (!isnan(t->q))
            snprintf(q, sizeof q, "%.2g", t->q);
        if (!isnan(t->alone))
            snprintf(alone, sizeof alone, "%.0f%%", 100 * t->alone);
        if (!isnan(t->reach))
            snprintf(reach, sizeof reach, "%.1f", t->reach);
        lx_print(cli, "  %-28.60s %3zu/%-3zu %24s %8s %7s %7s\n", lx_safe(cli, t->text),
                 t->n_captions, t->n_all, effect, q, alone, reach);
    }
}

static void show_plan(const job *j)
{
    const lx_verify_plan *plan = lx_verify_plan_of(j->verify);
    const lx_verify_images *images = lx_verify_images_of(j->verify);

    if (!images || j->cli->is_quiet)
        return;
    lx_message(j->cli,
               "%zu of %zu training images, %d draws each, %s files as captions; %lld "
               "UNet forwards "
               "planned%s\n",
               plan->n_images, images->n_found[LX_IMAGES_TRAINING], plan->n_draws,
               lx_safe(j->cli, lx_verify_facts(j->verify)->data.caption_extension),
               (long long)plan->cost,
               images->n_twins ? "; pictures that are the same count once" : "");
}

static void show_sweep(const job *j)
{
    lx_print(j->cli, "%-40s %-28s %22s %10s %8s %7s %7s\n", "file", "label", "gain",
             "held-out", "p", "cosine", "step");
    for (size_t i = 0; i < j->n; i++) {
        const lx_verify_result *r = j->results[i];
        char gain[64], held[16] = "", cosine[16] = "", step[16] = "";
        lx_estimate_percent(gain, r->facts.gain);
        if (r->n_held)
            snprintf(held, sizeof held, "%.2f%%",
                     100 * lx_mean(r->held_gains, r->n_held));
        if (!isnan(r->cosine))
            snprintf(cosine, sizeof cosine, "%.3f", r->cosine);
        if (!isnan(r->step))
            snprintf(step, sizeof step, "%.0f%%", 100 * r->step);
        lx_print(j->cli, "%-40s %-28s %22s %10s %8.2g %7s %7s\n",
                 lx_safe(j->cli, lx_path_base(r->path)), lx_label_name(r->verdict.label),
                 gain, held, j->sweep.p[i], cosine, step);
    }
    const char *best = lx_safe(j->cli, lx_path_base(j->results[j->sweep.best]->path)),
               *images = j->sweep.is_held_out ? "held-out" : "training";
    if (j->sweep.is_few)
        lx_print(
            j->cli,
            "best: %s - the highest gain on %s images; fewer than 5 (here %zu) cannot "
            "tell whether another file is as good\n\n",
            best, images, j->sweep.n_images);
    else
        lx_print(j->cli,
                 "best: %s - the first whose gain on %s images is not below the highest "
                 "(%s)\n\n",
                 best, images,
                 lx_safe(j->cli, lx_path_base(j->results[j->sweep.highest]->path)));
}

static void show_words(const job *j)
{
    const lx_verify_result *r = j->results[j->n > 1 ? j->sweep.best : 0];

    if (j->n > 1)
        show_sweep(j);
    show_result(j->cli, r);
    show_tags(j->cli, r);
}

/* ---- files --------------------------------------------------------------------- */

static const lx_sweep *sweep_of(const job *j)
{
    return j->n > 1 ? &j->sweep : NULL;
}

static int show_json(const job *j, lx_error *err)
{
    cJSON *root = lx_verify_json(j->verify, &j->options, j->results, j->n, sweep_of(j));
    lx_str text = LX_STR_INIT;
    int rc = root ? lx_json_pretty(&text, root, err) : lx_oom(err);

    if (rc == LX_OK)
        lx_print(j->cli, "%s\n", lx_str_text(&text));
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

static int write_page(const job *j, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc =
        lx_verify_page(&text, j->verify, &j->options, j->results, j->n, sweep_of(j), err);

    if (rc == LX_OK)
        rc = lx_alloc_has_failed()
                 ? lx_oom(err)
                 : lx_file_write(j->args->html, lx_str_text(&text), text.len, err);
    if (rc == LX_OK)
        lx_message(j->cli, "wrote %s\n", lx_safe(j->cli, j->args->html));
    lx_str_release(&text);
    return rc;
}

/* That the page can be written is found out before hours of measuring, not after. */
static int check_page(const struct verify_args *a, lx_error *err)
{
    const char *others[] = {a->base, a->vae};
    lx_new_file *file;
    int rc;

    for (size_t i = 0; i < a->files.count; i++)
        if (lx_is_same_file(a->html, a->files.items[i]))
            return lx_fail(err, LX_EEXISTS, "--html %s is the LoRA: choose another file",
                           a->html);
    for (size_t i = 0; i < 2; i++)
        if (others[i] && lx_is_same_file(a->html, others[i]))
            return lx_fail(err, LX_EEXISTS, "--html %s is the %s: choose another file",
                           a->html, i ? "VAE" : "base model");
    if ((rc = lx_new_file_open(&file, a->html, err)) < 0)
        lx_within(err, "--html");
    else
        lx_new_file_close(file);
    return rc;
}

/* ---- the whole ----------------------------------------------------------------- */

static int judge_all(job *j, lx_error *err)
{
    const lx_words *files = &j->args->files;
    int rc;

    if (!(j->results = lx_arena_calloc(j->cli->arena, files->count, sizeof *j->results)))
        return lx_oom(err);
    if ((rc = lx_verify_open(&j->verify, &j->options, files->items[0], err)) < 0)
        return rc;
    show_plan(j);
    for (; j->n < files->count; j->n++)
        if ((rc = lx_verify_judge(&j->results[j->n], j->verify, files->items[j->n],
                                  err)) < 0)
            return rc;
    if (j->n < 2)
        return LX_OK;
    if ((rc = lx_series_of(j->results, j->n, err)) < 0)
        return rc;
    return lx_sweep_of(&j->sweep, j->results, j->n, j->options.seed, j->cli->arena, err);
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    job j = {.cli = cli, .args = args};
    int rc;

    lx_progress_init(&j.progress, cli);
    if ((rc = read_options(&j, err)) < 0 ||
        (j.args->html && (rc = check_page(j.args, err)) < 0))
        return rc;
    lx_signals_install();
    rc = judge_all(&j, err);
    lx_progress_close(&j.progress);
    if (rc == LX_OK && j.args->json)
        rc = show_json(&j, err);
    else if (rc == LX_OK)
        show_words(&j);
    if (rc == LX_OK && j.args->html) /* last: what was measured is told though the disk is full */
        rc = write_page(&j, err);
    if (rc == LX_OK)
        cli->exit_status =
            lx_label_exit_status(j.results[j.n > 1 ? j.sweep.best : 0]->verdict.label);
    lx_verify_close(j.verify);
    return rc;
}

const lx_command lx_cmd_verify = {
    .name = "verify",
    .summary = "say whether a LoRA learned its captions, with the evidence",
    .usage = "LORA... --base MODEL --data DIR",
    .help = "From the file alone: whether its captions were read, whether its weights "
            "moved. With\n"
            "--base and --data it denoises the training images with and without the "
            "LoRA, with the\n"
            "same noise, under their captions and under others, and says with intervals "
            "what was\n"
            "learned, whether it depends on the caption, which tags carry it, at which "
            "strength it\n"
            "is best, and what else changed. Several files of one run: which is best.\n"
            "\n"
            "Exit status: 0 learned, 10 weak, 11 not learned, 12 learned without its "
            "caption,\n"
            "13 harmful or wrong base, 14 undetermined; 65 when a file, or what the model "
            "gives with\n"
            "it, holds values that are not numbers.\n"
            "\n"
            "Examples:\n"
            "  lx verify style.safetensors\n"
            "  lx verify iwl.safetensors --base base.safetensors --data img --time 5m\n"
            "  lx verify out/iwl-*.safetensors --base base.safetensors --data img \\\n"
            "            --held-out held --html verify.html\n",
    .options = options,
    .args_size = sizeof(struct verify_args),
    .computes = true,
    .run = run,
};
