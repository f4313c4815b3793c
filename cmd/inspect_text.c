#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>

#include "cmd/inspect_one.h"
#include "src/lora/counts.h"
#include "src/lora/group.h"

/* ---- lines ------------------------------------------------------------------------------- */

void lx_inspect__line(lx_cli *cli, const char *name, const char *text)
{
    lx_print(cli, "  %-13s %s\n", name, text);
}

/* Formatted, then made safe. */
static void line(lx_cli *cli, const char *name, const char *fmt, ...) LX_PRINTF(3, 4);

static void line(lx_cli *cli, const char *name, const char *fmt, ...)
{
    char small[512], *large = NULL;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n >= (int)sizeof small && (large = lx_arena_alloc(cli->arena, (size_t)n + 1))) {
        va_start(args, fmt);
        vsnprintf(large, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    lx_inspect__line(cli, name, lx_safe(cli, large ? large : small));
}

static const char *range(lx_arena *arena, const char *name, double least, double most)
{
    const char *text = least == most
                           ? lx_arena_printf(arena, "%s %g", name, least)
                           : lx_arena_printf(arena, "%s %g..%g", name, least, most);
    return text ? text : "?";
}

const char *lx_inspect__size(lx_arena *arena, double bytes)
{
    const char *text = bytes < 1e6   ? lx_arena_printf(arena, "%.1f kB", bytes / 1e3)
                       : bytes < 1e9 ? lx_arena_printf(arena, "%.1f MB", bytes / 1e6)
                                     : lx_arena_printf(arena, "%.2f GB", bytes / 1e9);
    return text ? text : "?";
}

static const char *dtypes(lx_arena *arena, const size_t counts[LX_DTYPE_COUNT])
{
    const char *text = NULL;

    for (int d = 0; d < LX_DTYPE_COUNT; d++)
        if (counts[d])
            text = text
                       ? lx_arena_printf(arena, "%s+%s", text, lx_dtype_name((lx_dtype)d))
                       : lx_dtype_name((lx_dtype)d);
    return text ? text : "no tensors";
}

/* ---- what it is -------------------------------------------------------------------------- */

/* The step and the optimizer are metadata, which may be missing; the run stands under "recorded". */
static void show_state(lx_cli *cli, const lx_inspected *x)
{
    const char *step = lx_tensor_file_metadata(x->file->file, "lx.step"),
               *optimizer = lx_tensor_file_metadata(x->file->file, "lx.optimizer");

    line(cli, "what", "the state of a training of lx%s%s%s%s, %s: lx resume goes on from it; no LoRA to use",
         step ? " at step " : "", step ? step : "", optimizer ? ", with " : "",
         optimizer ? optimizer : "",
         lx_inspect__size(cli->arena, (double)x->summary.data_bytes));
}

static void show_what(lx_cli *cli, const lx_inspected *x)
{
    const lx_lora_summary *s = &x->summary;
    const char *size = lx_inspect__size(cli->arena, (double)s->data_bytes);
    const char *base = strcmp(s->base, "unknown") == 0 ? "an unknown model" : s->base;

    if (x->file->is_state)
        show_state(cli, x);
    else if (x->file->n_modules)
        line(cli, "what", "%s for %s, %s keys, %s, %zu module%s, %s", x->what, base,
             x->file->family, dtypes(cli->arena, s->n_dtypes), s->n_modules,
             s->n_modules == 1 ? "" : "s", size);
    else if (x->file->n_embeddings)
        line(cli, "what", "a textual inversion (embedding) for %s, no LoRA", base);
    else if (x->model)
        line(cli, "what", "a whole model (checkpoint): %s, %zu tensors, %s", x->model,
             s->n_tensors, size);
    else
        line(cli, "what", "no LoRA: no key of it is one of a known family");
    if (*x->trainer && x->file->n_modules)
        line(cli, "made by", "%s", x->trainer);
    if (s->base_note)
        line(cli, "", "%s", s->base_note);
}

static void show_parts(lx_cli *cli, const lx_inspected *x)
{
    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        const lx_part_summary *part = &x->summary.parts[p];
        const char *alpha;
        if (!part->n_modules)
            continue;
        alpha = part->n_without_alpha == part->n_modules
                    ? "alpha not stored (read as the rank)"
                : !isfinite(part->alpha_min) || !isfinite(part->alpha_max)
                    ? "alpha is no number"
                    : range(cli->arena, "alpha", part->alpha_min, part->alpha_max);
        if (!part->rank_max) /* kinds without a rank */
            line(cli, lx_lora_part_label((lx_lora_part)p, x->summary.base),
                 "%zu module%s", part->n_modules, part->n_modules == 1 ? "" : "s");
        else
            line(
                cli, lx_lora_part_label((lx_lora_part)p, x->summary.base),
                "%zu module%s, %s, %s", part->n_modules, part->n_modules == 1 ? "" : "s",
                range(cli->arena, "rank", (double)part->rank_min, (double)part->rank_max),
                alpha);
    }
    if (x->file->config)
        line(cli, "", "alphas by %s", x->file->config);
    if (x->file->config_problem)
        line(cli, "", "%s", x->file->config_problem);
}

static void show_embeddings(lx_cli *cli, const lx_inspected *x)
{
    for (size_t i = 0; i < x->file->n_embeddings; i++) {
        const lx_tensor_view *t = x->file->embeddings[i];
        const int64_t width = t->n_dims ? t->shape[t->n_dims - 1] : 0;
        const long long n = width ? (long long)((int64_t)t->n_elements / width) : 0;
        line(cli, i ? "" : "embeddings", "%s: %lld vector%s of width %lld, %s", t->name,
             n, n == 1 ? "" : "s", (long long)width, lx_dtype_name(t->dtype));
    }
}

static void show_model(lx_cli *cli, const lx_inspected *x)
{
    for (int p = 0; p < LX_PIECE_COUNT; p++) {
        const lx_model_part *part = &x->parts[p];
        if (!part->n_tensors)
            continue;
        line(cli, lx_model_piece_name((lx_model_piece)p, x->model),
             "%zu tensors, %.1f million values, %s, %s", part->n_tensors,
             (double)part->n_elements / 1e6, dtypes(cli->arena, part->n_dtypes),
             lx_inspect__size(cli->arena, (double)part->bytes));
    }
    if (x->parts[LX_PIECE_EMA].n_tensors)
        line(cli, "",
             "the EMA copy is for going on with a training; pictures need it not");
}

/* ---- captions ---------------------------------------------------------------------------- */

/* What the verdict rests on: each folder, its images and how often its own words were a tag. */
static void show_proof(lx_cli *cli, const lx_inspected *x)
{
    lx_verdict_folder *folders;
    size_t n;

    if (lx_lora_verdict_folders(&folders, &n, x->file->file, cli->arena, NULL) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        const lx_verdict_folder *f = &folders[i];
        const char *name = i ? "" : "proof", *reg = f->is_reg ? " (regularisation)" : "";
        const char *s = f->n_tags == 1 ? "" : "s";
        if (f->n_images < 0)
            line(cli, name, "\"%s\"%s: %zu distinct tag%s", f->name, reg, f->n_tags, s);
        else if (!f->words)
            line(cli, name, "\"%s\"%s: %g images, %zu distinct tag%s", f->name, reg, f->n_images, f->n_tags, s);
        else
            line(cli, name, "\"%s\"%s: %g images, %zu distinct tag%s; its words \"%s\" are the tag of %g", f->name, reg,
                 f->n_images, f->n_tags, s, f->words, f->n_words);
    }
}

static void show_captions(lx_cli *cli, const lx_inspected *x)
{
    const lx_verdict *v = &x->summary.verdict;

    if (!x->file->n_modules)
        return;
    line(cli, "captions", "%s - %s (%s, rule %s)", lx_caption_verdict_name(v->captions),
         v->text, v->strength, v->rule);
    if (v->captions != LX_CAPTIONS_UNKNOWN)
        show_proof(cli, x);
}

/* ---- training ---------------------------------------------------------------------------- */

/* Labelled metadata on one line, absent and "None" ones left out. */
static void show_fields(lx_cli *cli, const lx_tensor_file *f, const char *name,
                        const char *const (*fields)[2], size_t n)
{
    lx_str out = LX_STR_INIT;
    for (size_t i = 0; i < n; i++) {
        const char *value = lx_tensor_file_metadata(f, fields[i][1]);
        if (!value || !*value || strcmp(value, "None") == 0)
            continue;
        lx_str_printf(&out, "%s%s%s%s", out.len ? ", " : "", fields[i][0],
                      *fields[i][0] ? " " : "", value);
    }
    if (out.len)
        line(cli, name, "%s", lx_str_text(&out));
    lx_str_release(&out);
}

static void show_training(lx_cli *cli, const lx_tensor_file *f)
{
    static const char *const training[][2] = {
        {"steps", "ss_steps"},
        {"of", "ss_max_train_steps"},
        {"epoch", "ss_epoch"},
        {"of", "ss_num_epochs"},
        {"batch", "ss_total_batch_size"},
        {"resolution", "ss_resolution"},
        {"seed", "ss_seed"},
        {"clip skip", "ss_clip_skip"},
    };
    static const char *const rates[][2] = {
        {"", "ss_optimizer"},
        {"learning rate", "ss_learning_rate"},
        {"UNet", "ss_unet_lr"},
        {"text encoder", "ss_text_encoder_lr"},
        {"scheduler", "ss_lr_scheduler"},
        {"warm-up", "ss_lr_warmup_steps"},
        {"min-SNR gamma", "ss_min_snr_gamma"},
        {"noise offset", "ss_noise_offset"},
    };
    static const char *const base[][2] = {
        {"", "ss_sd_model_name"}, {"hash", "ss_sd_model_hash"}, {"VAE", "ss_vae_name"}};
    static const char *const origin[][2] = {{"", "modelspec.title"},
                                            {"dated", "modelspec.date"},
                                            {"merged from", "modelspec.merged_from"},
                                            {"comment:", "ss_training_comment"}};
    static const char *const run[][2] = {{"run", "lx.run_id"},
                                         {"captions from", "lx.caption_extension"},
                                         {"lx", "lx.version"}};
    show_fields(cli, f, "title", origin, sizeof origin / sizeof *origin);
    show_fields(cli, f, "base model", base, sizeof base / sizeof *base);
    show_fields(cli, f, "training", training, sizeof training / sizeof *training);
    show_fields(cli, f, "optimizer", rates, sizeof rates / sizeof *rates);
    show_fields(cli, f, "recorded", run, sizeof run / sizeof *run);
}

/* ---- data -------------------------------------------------------------------------------- */

static void show_folders(lx_cli *cli, const lx_tensor_file *f, const char *key,
                         const char *name)
{
    lx_counts dirs;

    if (lx_counts_parse(&dirs, lx_tensor_file_metadata(f, key), cli->arena, NULL) < 0)
        return;
    for (size_t i = 0; i < dirs.n_groups; i++)
        line(cli, i ? "" : name, "\"%s\": %g images x %g repeats", dirs.groups[i].name,
             lx_counted_get(&dirs.groups[i], "img_count", 0),
             lx_counted_get(&dirs.groups[i], "n_repeats", 0));
}

static int more_frequent(const void *a, const void *b)
{
    const lx_tag_count *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->tag, y->tag);
}

static int by_folder(const void *a, const void *b)
{
    const lx_tag_count *x = a, *y = b;
    int order = strcmp(x->folder, y->folder);
    return order ? order : more_frequent(a, b);
}

/* A line of the most frequent of all. */
static void show_tags(lx_cli *cli, lx_tag_list *tags)
{
    enum { MOST = 20 };
    lx_str out = LX_STR_INIT;

    qsort(tags->tags, tags->count, sizeof *tags->tags, more_frequent);
    for (size_t i = 0; i < tags->count && i < MOST; i++)
        lx_str_printf(&out, "%s%s %lld", i ? ", " : "", tags->tags[i].tag,
                      (long long)tags->tags[i].count);
    if (tags->count > MOST)
        lx_str_printf(&out, " ... and %zu more (--tags N)", tags->count - MOST);
    line(cli, "tags", "%s", lx_str_text(&out));
    lx_str_release(&out);
}

/* --tags N: folder by folder, one a line. */
static void show_tags_of_folders(lx_cli *cli, lx_tag_list *tags, int64_t most)
{
    const char *folder = NULL;
    int64_t n = 0;

    qsort(tags->tags, tags->count, sizeof *tags->tags, by_folder);
    for (size_t i = 0; i < tags->count; i++) {
        const lx_tag_count *t = &tags->tags[i];
        if (!folder || strcmp(folder, t->folder) != 0) {
            folder = t->folder;
            n = 0;
            line(cli, "tags of", "\"%s\"", folder);
        }
        if (n++ < most)
            line(cli, "", "%6lld  %s", (long long)t->count, t->tag);
    }
}

/* ---- checks ------------------------------------------------------------------------------ */

/* Not as it was trained: lx made it of other files, and wrote a hash of what came of it. */
static bool is_made_of_others(const lx_tensor_file *file)
{
    static const char *const keys[] = {"lx.merge", "lx.resize", "lx.convert", "lx.extract"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (lx_tensor_file_metadata(file, keys[i]))
            return true;
    return false;
}

static void show_values(lx_cli *cli, const lx_inspected *x)
{
    static const char *const hashes[] = {
        [LX_HASH_ABSENT] = "no training hash in the file",
        [LX_HASH_MATCHES] = "the data is what was trained (sshs_model_hash matches)",
        [LX_HASH_DIFFERS] =
            "the data was changed after training (sshs_model_hash differs)"};
    const lx_lora_summary *s = &x->summary;

    lx_inspect__line(cli, "integrity",
                     !is_made_of_others(x->file->file) ? hashes[s->hash]
                     : s->hash == LX_HASH_MATCHES
                         ? "the data is what was written (sshs_model_hash matches)"
                     : s->hash == LX_HASH_DIFFERS
                         ? "the data was changed after it was written (sshs_model_hash differs)"
                         : hashes[s->hash]);
    if (s->n_not_finite)
        line(cli, "values", "%zu value%s NaN or infinite, first in %s", s->n_not_finite,
             s->n_not_finite == 1 ? " is" : "s are", s->first_not_finite);
    else
        lx_inspect__line(cli, "values", "all finite");
    if (s->n_untrained && s->n_untrained == s->n_modules)
        lx_inspect__line(cli, "untrained",
                         "nothing was learned: every module's update is zero");
    else if (s->n_untrained)
        line(cli, "untrained", "%zu of %zu modules have an update of zero",
             s->n_untrained, s->n_modules);
}

static void show_problems(lx_cli *cli, const lx_inspected *x, bool is_all)
{
    const lx_lora_file *f = x->file;
    const size_t most = is_all ? SIZE_MAX : 5;

    for (size_t i = 0, shown = 0; i < f->n_modules && shown < 5; i++)
        if (f->modules[i].problem)
            line(cli, shown++ ? "" : "damaged", "%s: %s", f->modules[i].name,
                 f->modules[i].problem);
    for (size_t i = 0; i < f->n_unknown && i < most && !x->model; i++)
        line(cli, i ? "" : "not understood", "%s", f->unknown[i]->name);
    if (f->n_unknown > most && !x->model)
        line(cli, "", "... and %zu more (--tree lists them)", f->n_unknown - most);
    for (size_t i = 0; i < lx_tensor_file_note_count(f->file); i++)
        line(cli, "note", "%s", lx_tensor_file_note(f->file, i));
}

static void show_hashes(lx_cli *cli, const lx_model_hashes *h)
{
    if (!*h->sha256)
        return;
    lx_inspect__line(cli, "SHA-256", h->sha256);
    line(cli, "hashes", "AutoV1 %s, AutoV2 %s%s%s", h->autov1, h->autov2,
         *h->autov3 ? ", AutoV3 " : "", h->autov3);
}

static void show_metadata(lx_cli *cli, const lx_tensor_file *f)
{
    for (size_t i = 0; i < lx_tensor_file_metadata_count(f); i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(f, i, &key, &value);
        lx_print(cli, "  %s = %s\n", lx_safe(cli, key), lx_safe(cli, value));
    }
}

void lx_inspect__text(lx_cli *cli, const lx_inspect_options *options, lx_inspected *x)
{
    const lx_tensor_file *file = x->file->file;
    lx_tag_list *tags = &x->summary.tags;

    lx_print(cli, "%s\n", lx_safe(cli, x->path));
    show_what(cli, x);
    show_parts(cli, x);
    show_embeddings(cli, x);
    if (x->model)
        show_model(cli, x);
    show_captions(cli, x);
    show_training(cli, file);
    show_folders(cli, file, "ss_dataset_dirs", "images");
    show_folders(cli, file, "ss_reg_dataset_dirs", "reg images");
    if (tags->problem)
        line(cli, "tags", "%s", tags->problem);
    if (tags->count && options->n_tags)
        show_tags_of_folders(cli, tags, options->n_tags);
    else if (tags->count)
        show_tags(cli, tags);
    if (x->file->n_modules)
        show_values(cli, x);
    show_problems(cli, x, options->tree);
    show_hashes(cli, &x->hashes);
    if (x->weights.modules)
        lx_inspect__weights(cli, x);
    if (options->metadata)
        show_metadata(cli, file);
}
