#include "cmd/inspect_one.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/inspect_picture.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/lora/summary.h"

/* ---- lines ------------------------------------------------------------------------------- */

static void line(lx_cli *cli, const char *name, const char *text)
{
    lx_print(cli, "  %-13s %s\n", name, text);
}

static const char *range(lx_arena *arena, const char *name, double least, double most)
{
    const char *text = least == most
                           ? lx_arena_printf(arena, "%s %g", name, least)
                           : lx_arena_printf(arena, "%s %g..%g", name, least, most);
    return text ? text : "?";
}

static const char *size_text(lx_arena *arena, double bytes)
{
    const char *text = bytes < 1e6   ? lx_arena_printf(arena, "%.1f kB", bytes / 1e3)
                       : bytes < 1e9 ? lx_arena_printf(arena, "%.1f MB", bytes / 1e6)
                                     : lx_arena_printf(arena, "%.2f GB", bytes / 1e9);
    return text ? text : "?";
}

static void put_dtypes(lx_str *out, const lx_lora_summary *s)
{
    for (int d = 0, n = 0; d < LX_DTYPE_COUNT; d++)
        if (s->n_dtypes[d])
            lx_str_printf(out, "%s%s", n++ ? "+" : "", lx_dtype_name((lx_dtype)d));
}

static void put_kinds(lx_str *out, const lx_lora_summary *s)
{
    size_t n_kinds[LX_KIND_COUNT] = {0}, n_dora = 0;
    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        for (int k = 0; k < LX_KIND_COUNT; k++)
            n_kinds[k] += s->parts[p].n_kinds[k];
        n_dora += s->parts[p].n_dora;
    }
    for (int k = 0, n = 0; k < LX_KIND_COUNT; k++)
        if (n_kinds[k])
            lx_str_printf(out, "%s%s", n++ ? " + " : "",
                          lx_lora_kind_name((lx_lora_kind)k));
    if (n_dora)
        lx_str_puts(out, " (DoRA)");
}

static void show_what(lx_cli *cli, const lx_lora_file *f, const lx_lora_summary *s)
{
    lx_str out = LX_STR_INIT;
    if (!f->n_modules) {
        line(cli, "what",
             f->n_embeddings ? "a textual inversion (embedding), no LoRA"
                             : "no LoRA: no key of it is one of a known family");
    } else {
        put_kinds(&out, s);
        lx_str_printf(&out, " for %s, %s keys, ", s->base, f->family);
        put_dtypes(&out, s);
        lx_str_printf(&out, ", %zu modules, %s", s->n_modules,
                      size_text(cli->arena, (double)s->data_bytes));
        line(cli, "what", lx_safe(cli, lx_str_text(&out)));
    }
    lx_str_release(&out);
    if (s->base_note)
        line(cli, "", lx_safe(cli, s->base_note));
}

static void show_parts(lx_cli *cli, const lx_lora_summary *s)
{
    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        const lx_part_summary *part = &s->parts[p];
        lx_str out = LX_STR_INIT;
        if (!part->n_modules)
            continue;
        lx_str_printf(&out, "%zu modules, ", part->n_modules);
        lx_str_puts(&out, range(cli->arena, "rank", (double)part->rank_min,
                                (double)part->rank_max));
        if (part->n_without_alpha == part->n_modules)
            lx_str_puts(&out, ", alpha not stored (read as the rank)");
        else
            lx_str_printf(&out, ", %s",
                          range(cli->arena, "alpha", part->alpha_min, part->alpha_max));
        line(cli, lx_lora_part_name((lx_lora_part)p), lx_str_text(&out));
        lx_str_release(&out);
    }
}

/* ---- training ---------------------------------------------------------------------------- */

/* Labelled metadata on one line, absent and "None" ones left out. */
static void show_fields(lx_cli *cli, const lx_lora_file *f, const char *name,
                        const char *const (*fields)[2], size_t n)
{
    lx_str out = LX_STR_INIT;
    for (size_t i = 0; i < n; i++) {
        const char *value = lx_tensor_file_metadata(f->file, fields[i][1]);
        if (!value || !*value || strcmp(value, "None") == 0)
            continue;
        lx_str_printf(&out, "%s%s%s%s", out.len ? ", " : "", fields[i][0],
                      *fields[i][0] ? " " : "", value);
    }
    if (out.len)
        line(cli, name, lx_safe(cli, lx_str_text(&out)));
    lx_str_release(&out);
}

static void show_training(lx_cli *cli, const lx_lora_file *f)
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

static void show_folders(lx_cli *cli, const lx_lora_file *f, const char *key,
                         const char *name)
{
    const char *text = lx_tensor_file_metadata(f->file, key);
    const cJSON *folder;
    cJSON *dirs = NULL;
    if (!text || lx_json_parse(&dirs, text, strlen(text), NULL) < 0)
        return;
    cJSON_ArrayForEach(folder, dirs)
    {
        char *shown = lx_arena_printf(cli->arena, "\"%s\": %g images x %g repeats",
                                      folder->string ? folder->string : "",
                                      lx_json_number(folder, "img_count", 0),
                                      lx_json_number(folder, "n_repeats", 0));
        line(cli, name, lx_safe(cli, shown ? shown : "?"));
    }
    cJSON_Delete(dirs);
}

static int more_frequent(const void *a, const void *b)
{
    const lx_tag_count *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->tag, y->tag);
}

static void show_tags(lx_cli *cli, lx_lora_summary *s, int64_t most)
{
    lx_str out = LX_STR_INIT;
    if (s->tags.problem)
        line(cli, "tags", lx_safe(cli, s->tags.problem));
    if (!s->tags.count)
        return;
    qsort(s->tags.tags, s->tags.count, sizeof *s->tags.tags, more_frequent);
    for (size_t i = 0; i < s->tags.count && (int64_t)i < most; i++)
        lx_str_printf(&out, "%s%s %lld", i ? ", " : "", s->tags.tags[i].tag,
                      (long long)s->tags.tags[i].count);
    if ((int64_t)s->tags.count > most)
        lx_str_printf(&out, " ... and %lld more",
                      (long long)((int64_t)s->tags.count - most));
    line(cli, "tags", lx_safe(cli, lx_str_text(&out)));
    lx_str_release(&out);
}

/* ---- checks ------------------------------------------------------------------------------ */

static void show_checks(lx_cli *cli, const lx_lora_file *f, const lx_lora_summary *s)
{
    static const char *const hashes[] = {
        [LX_HASH_ABSENT] = "no training hash in the file",
        [LX_HASH_MATCHES] = "the data is what was trained (sshs_model_hash matches)",
        [LX_HASH_DIFFERS] =
            "the data was changed after training (sshs_model_hash differs)"};
    char *text;

    line(cli, "integrity", hashes[s->hash]);
    if (s->n_not_finite) {
        text = lx_arena_printf(cli->arena, "%zu values are NaN or infinite, first in %s",
                               s->n_not_finite, s->first_not_finite);
        line(cli, "values", lx_safe(cli, text ? text : "?"));
    } else {
        line(cli, "values", "all finite");
    }
    if (s->n_untrained) {
        text =
            s->n_untrained == s->n_modules
                ? lx_arena_strdup(cli->arena,
                                  "nothing was learned: every module's update "
                                  "is zero")
                : lx_arena_printf(cli->arena, "%zu of %zu modules have an update of zero",
                                  s->n_untrained, s->n_modules);
        line(cli, "untrained", text ? text : "?");
    }
    for (size_t i = 0, shown = 0; i < f->n_modules && shown < 5; i++)
        if (f->modules[i].problem) {
            text = lx_arena_printf(cli->arena, "%s: %s", f->modules[i].name,
                                   f->modules[i].problem);
            line(cli, shown++ ? "" : "damaged", lx_safe(cli, text ? text : "?"));
        }
    if (f->n_embeddings) {
        text =
            lx_arena_printf(cli->arena, "%zu textual inversion tensors", f->n_embeddings);
        line(cli, "embeddings", text ? text : "?");
    }
    for (size_t i = 0; i < f->n_unknown && i < 5; i++)
        line(cli, i ? "" : "not understood", lx_safe(cli, f->unknown[i]->name));
    if (f->n_unknown > 5) {
        text = lx_arena_printf(cli->arena, "... and %zu more", f->n_unknown - 5);
        line(cli, "", text ? text : "?");
    }
    for (size_t i = 0; i < lx_tensor_file_note_count(f->file); i++)
        line(cli, "note", lx_safe(cli, lx_tensor_file_note(f->file, i)));
}

static void show_metadata(lx_cli *cli, const lx_lora_file *f)
{
    for (size_t i = 0; i < lx_tensor_file_metadata_count(f->file); i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(f->file, i, &key, &value);
        lx_print(cli, "  %s = %s\n", lx_safe(cli, key), lx_safe(cli, value));
    }
}

static void show(lx_cli *cli, const lx_inspect_options *options, const char *path,
                 const lx_lora_file *f, lx_lora_summary *s)
{
    char *verdict = lx_arena_printf(
        cli->arena, "%s - %s (%s, rule %s)", lx_caption_verdict_name(s->verdict.captions),
        s->verdict.text, s->verdict.strength, s->verdict.rule);
    lx_print(cli, "%s\n", lx_safe(cli, path));
    show_what(cli, f, s);
    show_parts(cli, s);
    if (f->n_modules)
        line(cli, "captions", lx_safe(cli, verdict ? verdict : "?"));
    show_training(cli, f);
    show_folders(cli, f, "ss_dataset_dirs", "images");
    show_folders(cli, f, "ss_reg_dataset_dirs", "reg images");
    show_tags(cli, s, options->n_tags);
    show_checks(cli, f, s);
    if (options->metadata)
        show_metadata(cli, f);
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void add_parts(cJSON *root, const lx_lora_summary *s)
{
    cJSON *parts = cJSON_AddObjectToObject(root, "parts");
    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        const lx_part_summary *part = &s->parts[p];
        cJSON *o;
        if (!part->n_modules)
            continue;
        o = cJSON_AddObjectToObject(parts, lx_lora_part_name((lx_lora_part)p));
        cJSON_AddNumberToObject(o, "modules", (double)part->n_modules);
        cJSON_AddNumberToObject(o, "rank_min", (double)part->rank_min);
        cJSON_AddNumberToObject(o, "rank_max", (double)part->rank_max);
        cJSON_AddNumberToObject(o, "alpha_min", part->alpha_min);
        cJSON_AddNumberToObject(o, "alpha_max", part->alpha_max);
        cJSON_AddNumberToObject(o, "without_alpha", (double)part->n_without_alpha);
        cJSON_AddNumberToObject(o, "untrained", (double)part->n_untrained);
    }
}

static void add_tags(cJSON *root, const lx_lora_summary *s)
{
    cJSON *tags = cJSON_AddObjectToObject(root, "tags"), *folder = NULL;
    for (size_t i = 0; i < s->tags.count; i++) {
        const lx_tag_count *t = &s->tags.tags[i];
        folder = cJSON_GetObjectItemCaseSensitive(tags, t->folder);
        if (!folder)
            folder = cJSON_AddObjectToObject(tags, t->folder);
        cJSON_AddNumberToObject(folder, t->tag, (double)t->count);
    }
}

static void add_metadata(cJSON *root, const lx_lora_file *f)
{
    cJSON *metadata = cJSON_AddObjectToObject(root, "metadata");
    for (size_t i = 0; i < lx_tensor_file_metadata_count(f->file); i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(f->file, i, &key, &value);
        cJSON_AddStringToObject(metadata, key, value);
    }
}

static int show_json(lx_cli *cli, const char *path, const lx_lora_file *f,
                     const lx_lora_summary *s, lx_error *err)
{
    static const char *const hashes[] = {"absent", "matches", "differs"};
    static const char *const verdicts[] = {"unknown", "read",  "folder_words",
                                           "partly",  "empty", "dropped"};
    cJSON *root = cJSON_CreateObject(), *captions, *unknown;
    lx_str out = LX_STR_INIT;
    int rc;

    cJSON_AddStringToObject(root, "file", path);
    cJSON_AddStringToObject(root, "family", f->family);
    cJSON_AddStringToObject(root, "base", s->base);
    cJSON_AddNumberToObject(root, "modules", (double)s->n_modules);
    cJSON_AddNumberToObject(root, "data_bytes", (double)s->data_bytes);
    cJSON_AddStringToObject(root, "data_sha256", s->data_hash);
    cJSON_AddStringToObject(root, "training_hash", hashes[s->hash]);
    cJSON_AddNumberToObject(root, "not_finite", (double)s->n_not_finite);
    cJSON_AddNumberToObject(root, "untrained", (double)s->n_untrained);
    cJSON_AddNumberToObject(root, "damaged", (double)f->n_problems);
    add_parts(root, s);
    captions = cJSON_AddObjectToObject(root, "captions");
    cJSON_AddStringToObject(captions, "verdict", verdicts[s->verdict.captions]);
    cJSON_AddStringToObject(captions, "strength", s->verdict.strength);
    cJSON_AddStringToObject(captions, "rule", s->verdict.rule);
    cJSON_AddStringToObject(captions, "text", s->verdict.text);
    unknown = cJSON_AddArrayToObject(root, "not_understood");
    for (size_t i = 0; i < f->n_unknown; i++)
        cJSON_AddItemToArray(unknown, cJSON_CreateString(f->unknown[i]->name));
    add_tags(root, s);
    add_metadata(root, f);
    rc = lx_json_pretty(&out, root, err);
    if (rc == LX_OK)
        lx_print(cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}

/* ---- either ------------------------------------------------------------------------------ */

int lx_inspect_one(lx_cli *cli, const lx_inspect_options *options, const char *path,
                   lx_error *err)
{
    lx_lora_file *f = NULL;
    lx_lora_summary s;
    int rc;

    if (lx_is_picture_name(path))
        return lx_inspect_picture(cli, path, options->json, err);
    if ((rc = lx_lora_file_open(&f, path, err)) < 0 ||
        (rc = lx_lora_summarise(&s, f, true, cli->arena, err)) < 0)
        lx_within(err, "%s", path);
    else if (options->json)
        rc = show_json(cli, path, f, &s, err);
    else
        show(cli, options, path, f, &s);
    lx_lora_file_close(f);
    return rc;
}
