/* lx share - a LoRA with all that a model site asks for, in a folder of its own */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/bounds.h"
#include "cmd/cli.h"
#include "cmd/inspect_one.h"
#include "cmd/report_collect.h"
#include "cmd/settings.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/safetensors.h"
#include "src/lora/counts.h"
#include "src/report/card.h"

struct share_args {
    bool keeps_private, has_n_samples;
    int64_t n_samples;
    const char *output, *title, *author, *license, *description, *run;
    lx_words triggers, loras;
};

static const lx_option options[] = {
    LX_TEXT(struct share_args, output, 'o', "output", "DIR", "the folder to make"),
    LX_TEXT(struct share_args, title, 0, "title", "TEXT",
            "instead of the name it was trained under"),
    LX_REPEAT(struct share_args, triggers, 0, "trigger", "WORDS",
              "trigger words instead of those found; may be repeated"),
    LX_TEXT(struct share_args, license, 0, "license", "NAME",
            "cc-by-4.0, creativeml-openrail-m, ... (the file's own, else none)"),
    LX_TEXT(struct share_args, author, 0, "author", "NAME", "who is to be named"),
    LX_TEXT(struct share_args, description, 0, "description", "TEXT",
            "a sentence for the top"),
    LX_TEXT(struct share_args, run, 0, "run", "RUN",
            "take samples and settings from this run (the one that wrote the file)"),
    {LX_OPTION_INT, 0, "samples", "N", "at most N sample pictures (8); 0: none",
     offsetof(struct share_args, n_samples),
     (int)offsetof(struct share_args, has_n_samples)},
    LX_FLAG(struct share_args, keeps_private, 0, "no-scrub",
            "leave names, folders and addresses in"),
    LX_ARGS(struct share_args, loras, "LORA", "the file to share"),
    LX_OPTION_END,
};

enum { MOST_CONFIG = 4 << 20 };
enum { MOST_TAGS = 40, MOST_TRIGGERS = 6, MOST_PAIRS = 24 };
enum { MOST_SAMPLES = 200 }; /* unless more are asked for */

typedef struct sharing {
    lx_cli *cli;
    const struct share_args *args;
    lx_inspected x;
    lx_collector c; /* store NULL: there is none */
    bool has_run;
    lx_report_run run;
    const char *name;   /* of the LoRA in the folder */
    const char *config; /* PEFT's beside it, if that tells its alphas; or NULL */
    lx_model_hashes hashes;
    lx_card card;
} sharing;

static const char *get(const sharing *s, const char *key)
{
    const char *text = lx_tensor_file_metadata(s->x.file->file, key);
    return text && *text && strcmp(text, "None") != 0 ? text : NULL;
}

/* Scrubbed. */
static const char *safe(sharing *s, const char *text)
{
    return lx_privacy_text(s->c.privacy, text, s->cli->arena);
}

/* ---- PEFT's config ----------------------------------------------------------------- */

/* The alphas of PEFT's adapters are in no tensor: without its config the file would be another LoRA. */
static int read_config(sharing *s, const char *path, lx_error *err)
{
    const char *base = lx_path_base(path);
    lx_str name = LX_STR_INIT, text = LX_STR_INIT;
    int rc;

    if (!s->x.file->config || strcmp(s->x.file->config, "adapter_config.json") != 0)
        return LX_OK;
    lx_str_append(&name, path, (size_t)(base - path));
    lx_str_puts(&name, s->x.file->config);
    if ((rc = lx_str_check(&name, err)) == LX_OK &&
        (rc = lx_file_read(&text, lx_str_text(&name), MOST_CONFIG, err)) == LX_OK) {
        lx_privacy_learn(s->c.privacy, text.data, text.len);
        s->config = lx_arena_strndup(s->cli->arena, text.data, text.len);
        rc = s->config ? LX_OK : lx_oom(err);
    }
    lx_str_release(&text);
    lx_str_release(&name);
    return rc;
}

/* ---- the run --------------------------------------------------------------------- */

/* The run that wrote the file, by its bytes or its tensors. No store and no such run are no error. */
static int find_run(const char **id, sharing *s, const char *path, lx_error *err)
{
    lx_artifact_row *rows;
    lx_hash bytes, tensors;
    bool has_tensors;
    lx_run_row row;
    lx_error problem = {0};
    size_t n;
    int rc;

    *id = s->args->run;
    if (*id)
        return lx_store_open(&s->c.store, s->cli->store_path, true, err);
    if ((rc = lx_store_open(&s->c.store, s->cli->store_path, true, &problem)) < 0) {
        if (rc != LX_ENOMEM && rc != LX_EIO)
            return LX_OK;
        return lx_fail_as(err, rc, &problem);
    }
    if ((rc = lx_lora_tensor_hash_if(&has_tensors, &tensors, path, err)) < 0 ||
        (rc = lx_file_hash(&bytes, path, err)) < 0 ||
        (rc = lx_query_artifacts_of(&rows, &n, s->c.store, &bytes,
                                    has_tensors ? &tensors : NULL, s->cli->arena, err)) <
            0)
        return rc;
    if (n &&
        (rc = lx_query_run(&row, s->c.store, rows[0].run, s->cli->arena, err)) == LX_OK)
        *id = row.id;
    return rc;
}

static int read_run(sharing *s, const char *path, lx_error *err)
{
    lx_collected found;
    const char *id;
    int rc = find_run(&id, s, path, err);

    if (rc < 0 || !id)
        return rc;
    if ((rc = lx_report_find(&found, &s->c, id, err)) < 0)
        return rc;
    lx_report_learn(&s->c, &found);
    if ((rc = lx_report_collect(&s->run, &s->c, &found, err)) == LX_OK)
        s->has_run = true;
    return rc;
}

static void learn_metadata(sharing *s)
{
    const lx_tensor_file *file = s->x.file->file;

    for (size_t i = 0; i < lx_tensor_file_metadata_count(file); i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(file, i, &key, &value);
        lx_privacy_learn(s->c.privacy, value, strlen(value));
    }
}

/* ---- words ----------------------------------------------------------------------- */

static int more_frequent(const void *a, const void *b)
{
    const lx_report_tag *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->tag, y->tag);
}

/* Tags of all folders together; regularisation images are not what it learned. */
static int add_tags(sharing *s, const lx_counts *reg, lx_error *err)
{
    const lx_tag_list *tags = &s->x.summary.tags;
    lx_report_tag *sum = lx_arena_calloc(s->cli->arena, tags->count, sizeof *sum);
    size_t n = 0, k;

    if (!sum)
        return lx_oom(err);
    for (size_t i = 0; i < tags->count; i++) {
        const char *tag = tags->tags[i].tag;
        if (lx_counts_find(reg, tags->tags[i].folder))
            continue;
        for (k = 0; k < n && tags->count < 5000 && strcmp(sum[k].tag, tag) != 0; k++)
            ;
        if (tags->count >= 5000) /* many: folders side by side are good enough */
            k = n;
        if (k == n)
            sum[n++] = (lx_report_tag){tag, 0};
        sum[k].count += tags->tags[i].count;
    }
    qsort(sum, n, sizeof *sum, more_frequent);
    for (k = 0; k < n && k < MOST_TAGS; k++)
        sum[k].tag = safe(s, sum[k].tag);
    s->card.tags = sum;
    s->card.n_tags = k;
    return LX_OK;
}

static void add_trigger(sharing *s, const char **words, const char *word)
{
    for (size_t i = 0; i < s->card.triggers.count; i++)
        if (strcmp(words[i], word) == 0)
            return;
    if (s->card.triggers.count < MOST_TRIGGERS)
        words[s->card.triggers.count++] = word;
}

/* "10_nhh 1girl" -> "nhh 1girl" */
static const char *words_of(const char *folder)
{
    size_t n = strspn(folder, "0123456789");
    return n && folder[n] == '_' ? folder + n + 1 : folder;
}

/* Words that every picture of a person has: they call nothing that the base would not draw. */
static bool is_common(const char *tag)
{
    static const char *const common[] = {"1girl",
                                         "1boy",
                                         "solo",
                                         "girl",
                                         "boy",
                                         "woman",
                                         "man",
                                         "person",
                                         "simple background",
                                         "white background",
                                         "looking at viewer"};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (strcmp(tag, common[i]) == 0)
            return true;
    return false;
}

/* On every image of its folder: such tags carry what the images have in common. */
static void add_constants(sharing *s, const char **words, const lx_counts *dirs,
                          const lx_counts *reg)
{
    const lx_tag_list *tags = &s->x.summary.tags;

    for (size_t i = 0; i < tags->count; i++) {
        const lx_tag_count *t = &tags->tags[i];
        if (!lx_counts_find(reg, t->folder) && !is_common(t->tag) &&
            lx_counted_get(lx_counts_find(dirs, t->folder), "img_count", -1) ==
                (double)t->count)
            add_trigger(s, words, safe(s, t->tag));
    }
}

/* Words that only this file knows: cloneofsimo's <s1>, <s2>. */
static void add_embeddings(sharing *s, const char **words)
{
    const lx_lora_file *file = s->x.file;
    const size_t before = s->card.triggers.count;

    for (size_t i = 0; i < file->n_embeddings; i++) {
        const char *name = file->embeddings[i]->name;
        if (*name == '<' && lx_ends_with(name, ">"))
            add_trigger(s, words, safe(s, name));
    }
    if (s->card.triggers.count > before && !before)
        s->card.why = "Embeddings in the file; a program that reads only its LoRA does "
                      "not know them.";
}

static int add_triggers(sharing *s, const lx_counts *dirs, const lx_counts *reg,
                        lx_error *err)
{
    const char **words = lx_arena_calloc(s->cli->arena, MOST_TRIGGERS, sizeof *words),
               *given;

    if (!words)
        return lx_oom(err);
    s->card.triggers.items = words;
    for (size_t i = 0; i < s->args->triggers.count; i++)
        add_trigger(s, words, s->args->triggers.items[i]);
    if (s->card.triggers.count)
        return LX_OK;
    if ((given = get(s, "modelspec.trigger_phrase")) ||
        (given = get(s, "trained_words"))) {
        add_trigger(s, words, safe(s, given));
        s->card.why = "As the file says itself.";
        return LX_OK;
    }
    if (s->x.summary.verdict.captions == LX_CAPTIONS_FOLDER_WORDS) {
        for (size_t i = 0; i < dirs->n_groups; i++)
            if (!lx_counts_find(reg, dirs->groups[i].name))
                add_trigger(s, words, safe(s, words_of(dirs->groups[i].name)));
        s->card.why =
            "The captions were not read in training: these words stood for every image.";
        return LX_OK;
    }
    add_constants(s, words, dirs, reg);
    if (s->card.triggers.count)
        s->card.why = "On every training image.";
    add_embeddings(s, words);
    return LX_OK;
}

/* ---- facts ----------------------------------------------------------------------- */

static int add_settings(sharing *s, lx_error *err)
{
    static const char *const keys[][2] = {{"Steps", "ss_steps"},
                                          {"Epochs", "ss_num_epochs"},
                                          {"Batch size", "ss_total_batch_size"},
                                          {"Resolution", "ss_resolution"},
                                          {"Learning rate", "ss_learning_rate"},
                                          {"UNet", "ss_unet_lr"},
                                          {"Text encoder", "ss_text_encoder_lr"},
                                          {"Scheduler", "ss_lr_scheduler"},
                                          {"Warm-up steps", "ss_lr_warmup_steps"},
                                          {"Optimizer", "ss_optimizer"},
                                          {"Clip skip", "ss_clip_skip"},
                                          {"Min-SNR gamma", "ss_min_snr_gamma"},
                                          {"Noise offset", "ss_noise_offset"},
                                          {"Seed", "ss_seed"},
                                          {"Trained on", "ss_sd_model_name"},
                                          {"Hash of that model", "ss_sd_model_hash"},
                                          {"VAE", "ss_vae_name"}};
    lx_report_pair *pairs = lx_arena_calloc(s->cli->arena, MOST_PAIRS, sizeof *pairs);
    size_t n = 0;

    if (!pairs)
        return lx_oom(err);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        pairs[n++] = (lx_report_pair){keys[i][0], safe(s, get(s, keys[i][1]))};
    if (*s->x.trainer)
        pairs[n++] = (lx_report_pair){"Made by", s->x.trainer};
    if (s->has_run)
        pairs[n++] = (lx_report_pair){"Run of lx", s->run.id};
    s->card.settings = (lx_report_pairs){pairs, n};
    return LX_OK;
}

static int add_data(sharing *s, const lx_counts *dirs, const lx_counts *reg,
                    lx_error *err)
{
    lx_report_pair *pairs =
        lx_arena_calloc(s->cli->arena, dirs->n_groups + reg->n_groups + 1, sizeof *pairs);
    size_t n = 0;

    if (!pairs)
        return lx_oom(err);
    for (size_t i = 0; i < dirs->n_groups + reg->n_groups && n < MOST_PAIRS; i++) {
        const bool is_reg = i >= dirs->n_groups;
        const lx_count_group *g =
            is_reg ? &reg->groups[i - dirs->n_groups] : &dirs->groups[i];
        pairs[n++] =
            (lx_report_pair){safe(s, words_of(g->name)),
                             lx_arena_printf(s->cli->arena, "%g images, %g repeats%s",
                                             lx_counted_get(g, "img_count", 0),
                                             lx_counted_get(g, "n_repeats", 0),
                                             is_reg ? " (regularisation)" : "")};
    }
    s->card.data = (lx_report_pairs){pairs, n};
    return LX_OK;
}

static void add_finding(lx_report_finding *list, size_t *n, lx_report_tone tone,
                        const char *text)
{
    if (text)
        list[(*n)++] = (lx_report_finding){tone, text};
}

static int add_findings(sharing *s, lx_error *err)
{
    const lx_lora_summary *m = &s->x.summary;
    const lx_caption_verdict captions = m->verdict.captions;
    lx_report_finding *list = lx_arena_calloc(s->cli->arena, 7, sizeof *list);
    lx_arena *arena = s->cli->arena;
    size_t n = 0;

    if (!list)
        return lx_oom(err);
    add_finding(list, &n,
                captions == LX_CAPTIONS_READ      ? LX_TONE_GOOD
                : captions == LX_CAPTIONS_UNKNOWN ? LX_TONE_PLAIN
                                                  : LX_TONE_WARN,
                lx_arena_printf(arena, "Captions: %s.", safe(s, m->verdict.text)));
    if (s->config)
        add_finding(list, &n, LX_TONE_PLAIN,
                    "Its alphas are in adapter_config.json, which belongs beside it.");
    if (m->n_not_finite)
        add_finding(
            list, &n, LX_TONE_BAD,
            lx_arena_printf(arena, "%zu value%s not finite.", m->n_not_finite,
                            m->n_not_finite == 1 ? " is" : "s are"));
    if (m->n_untrained)
        add_finding(list, &n, LX_TONE_WARN,
                    lx_arena_printf(arena, "%zu of %zu modules add nothing.",
                                    m->n_untrained, m->n_modules));
    if (s->x.file->n_unknown)
        add_finding(list, &n, LX_TONE_WARN,
                    lx_arena_printf(arena, "%zu tensor%s of no known kind.", s->x.file->n_unknown,
                                    s->x.file->n_unknown == 1 ? " is" : "s are"));
    if (m->base_note)
        add_finding(list, &n, LX_TONE_WARN, safe(s, m->base_note));
    s->card.findings = list;
    s->card.n_findings = n;
    return LX_OK;
}

static int add_hashes(sharing *s, lx_error *err)
{
    lx_report_pair *pairs = lx_arena_calloc(s->cli->arena, 4, sizeof *pairs);

    if (!pairs)
        return lx_oom(err);
    pairs[0] = (lx_report_pair){"AutoV1", s->hashes.autov1};
    pairs[1] = (lx_report_pair){"AutoV2", s->hashes.autov2};
    pairs[2] = (lx_report_pair){"AutoV3", s->hashes.autov3};
    pairs[3] = (lx_report_pair){"SHA-256", s->hashes.sha256};
    s->card.hashes = (lx_report_pairs){pairs, 4};
    return LX_OK;
}

/* "LoRA, rank 8, alpha 4, F16, 9.6 MB" */
static const char *kind_of(sharing *s)
{
    const lx_lora_summary *m = &s->x.summary;
    lx_arena *arena = s->cli->arena;
    const char *text = s->x.what;
    int64_t rank = 0;
    double alpha = NAN;

    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        rank = m->parts[p].rank_max > rank ? m->parts[p].rank_max : rank;
        if (m->parts[p].n_modules && m->parts[p].n_without_alpha < m->parts[p].n_modules)
            alpha = m->parts[p].alpha_max;
    }
    if (rank && text)
        text = lx_arena_printf(arena, "%s, rank %lld", text, (long long)rank);
    if (isfinite(alpha) && text)
        text = lx_arena_printf(arena, "%s, alpha %g", text, alpha);
    for (int d = 0; d < LX_DTYPE_COUNT && text; d++)
        if (m->n_dtypes[d])
            text = lx_arena_printf(arena, "%s, %s", text, lx_dtype_name((lx_dtype)d));
    return text ? lx_arena_printf(arena, "%s, %s", text,
                                  lx_inspect__size(arena, (double)m->data_bytes))
                : NULL;
}

/* ---- files ----------------------------------------------------------------------- */

static const char *in_folder(sharing *s, const char *name)
{
    return lx_arena_printf(s->cli->arena, "%s/%s", s->args->output, name);
}

static int write_into(sharing *s, const char *name, const void *data, size_t n,
                      lx_error *err)
{
    const char *path = in_folder(s, name);
    return path && !lx_alloc_has_failed() ? lx_file_write(path, data, n, err)
                                          : lx_oom(err);
}

/* A safetensors file keeps its tensors byte for byte, its metadata are scrubbed; a pickle becomes one. */
static int write_lora(sharing *s, const char *path, lx_error *err)
{
    const lx_tensor_file *file = s->x.file->file;
    const char *out = in_folder(s, s->name);
    lx_str changed = LX_STR_INIT;
    lx_mapping map = {0};
    int rc;

    if (!out)
        return lx_oom(err);
    if (strcmp(lx_tensor_file_format(file), "safetensors") != 0) {
        rc = lx_safetensors_write(out, lx_tensor_file_at(file, 0),
                                  lx_tensor_file_count(file), NULL, 0, err);
    } else if ((rc = lx_file_map(&map, path, err)) == LX_OK) {
        const bool is_changed = lx_privacy_scrub_file(&changed, s->c.privacy, map.data,
                                                      map.size) == LX_SCRUB_CHANGED;
        rc = lx_str_check(&changed, err);
        if (rc == LX_OK)
            rc = lx_file_write(out, is_changed ? (const void *)changed.data : map.data,
                               is_changed ? changed.len : map.size, err);
    }
    lx_file_unmap(&map);
    lx_str_release(&changed);
    return rc < 0 ? rc : lx_model_hashes_of(&s->hashes, out, err);
}

static int write_config(sharing *s, lx_error *err)
{
    const char *text = safe(s, s->config);

    return text ? write_into(s, "adapter_config.json", text, strlen(text), err) : LX_OK;
}

/* The last ones: those of the finished LoRA. */
static int write_samples(sharing *s, lx_error *err)
{
    const size_t most = s->args->has_n_samples ? (size_t)s->args->n_samples : 8;
    lx_report_picture *kept;
    const char *folder = in_folder(s, "samples");
    size_t n = 0, first;
    int rc = LX_OK;

    if (!s->has_run || !s->run.n_samples || !most)
        return LX_OK;
    first = s->run.n_samples > most ? s->run.n_samples - most : 0;
    if (!folder || !(kept = lx_arena_calloc(s->cli->arena, s->run.n_samples - first, sizeof *kept)))
        return lx_oom(err);
    for (size_t i = first; i < s->run.n_samples && rc == LX_OK; i++) {
        lx_report_picture *p = &kept[n];
        const char *name;
        *p = s->run.samples[i];
        if (!p->bytes)
            continue;
        if (n == 0 && (rc = lx_make_dirs(folder, err)) < 0)
            break;
        p->name = lx_arena_printf(s->cli->arena, "%zu.jpg", n + 1);
        name = lx_arena_printf(s->cli->arena, "samples/%zu.jpg", n + 1);
        rc = p->name && name ? write_into(s, name, p->bytes, p->n_bytes, err)
                             : lx_oom(err);
        n++;
    }
    s->card.samples = kept;
    s->card.n_samples = n;
    return rc;
}

static void add_list(cJSON *root, const char *name, lx_report_texts texts)
{
    cJSON *list = cJSON_AddArrayToObject(root, name);
    for (size_t i = 0; i < texts.count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(texts.items[i]));
}

static void add_object(cJSON *root, const char *name, lx_report_pairs pairs)
{
    cJSON *o = cJSON_AddObjectToObject(root, name);
    for (size_t i = 0; i < pairs.count; i++)
        if (pairs.items[i].value && *pairs.items[i].value)
            cJSON_AddStringToObject(o, pairs.items[i].key, pairs.items[i].value);
}

/* The same for programs. */
static int write_json(sharing *s, lx_error *err)
{
    const lx_card *c = &s->card;
    cJSON *root = cJSON_CreateObject(), *tags;
    lx_str text = LX_STR_INIT;
    int rc;

    cJSON_AddStringToObject(root, "title", c->title);
    cJSON_AddStringToObject(root, "file", c->file);
    cJSON_AddStringToObject(root, "base", c->base);
    cJSON_AddStringToObject(root, "kind", c->kind);
    if (c->base_model)
        cJSON_AddStringToObject(root, "base_model", c->base_model);
    if (c->author)
        cJSON_AddStringToObject(root, "author", c->author);
    if (c->license)
        cJSON_AddStringToObject(root, "license", c->license);
    add_list(root, "trigger_words", c->triggers);
    tags = cJSON_AddObjectToObject(root, "tags");
    for (size_t i = 0; i < c->n_tags; i++)
        if (!cJSON_GetObjectItemCaseSensitive(tags, c->tags[i].tag))
            cJSON_AddNumberToObject(tags, c->tags[i].tag, (double)c->tags[i].count);
    add_object(root, "training", c->settings);
    add_object(root, "data", c->data);
    add_object(root, "hashes", c->hashes);
    add_list(root, "scrubbed", c->scrubbed);
    if ((rc = lx_json_pretty(&text, root, err)) == LX_OK) {
        lx_str_putc(&text, '\n');
        if ((rc = lx_str_check(&text, err)) == LX_OK)
            rc = write_into(s, "share.json", text.data, text.len, err);
    }
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

static int write_cards(sharing *s, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc;

    if ((rc = lx_card_markdown(&text, &s->card, err)) == LX_OK &&
        (rc = write_into(s, "README.md", text.data, text.len, err)) == LX_OK) {
        lx_str_clear(&text);
        if ((rc = lx_card_html(&text, &s->card, err)) == LX_OK)
            rc = write_into(s, "card.html", text.data, text.len, err);
    }
    lx_str_release(&text);
    return rc < 0 ? rc : write_json(s, err);
}

/* ---- the command ----------------------------------------------------------------- */

static int describe(sharing *s, lx_error *err)
{
    const lx_tensor_file *file = s->x.file->file;
    lx_arena *arena = s->cli->arena;
    lx_card *c = &s->card;
    const char *title = s->args->title;
    lx_counts dirs, reg;
    int rc;

    if (lx_counts_parse(&dirs, lx_tensor_file_metadata(file, "ss_dataset_dirs"), arena,
                        NULL) < 0)
        dirs = (lx_counts){0};
    if (lx_counts_parse(&reg, lx_tensor_file_metadata(file, "ss_reg_dataset_dirs"), arena,
                        NULL) < 0)
        reg = (lx_counts){0};
    if (!title && !(title = safe(s, get(s, "modelspec.title"))) &&
        !(title = safe(s, get(s, "ss_output_name"))))
        title = lx_arena_strndup(arena, s->name, lx_card_stem(s->name));
    c->title = title;
    c->author = s->args->author ? s->args->author : safe(s, get(s, "modelspec.author"));
    c->license =
        s->args->license ? s->args->license : safe(s, get(s, "modelspec.license"));
    c->description = s->args->description ? s->args->description
                                          : safe(s, get(s, "modelspec.description"));
    c->file = s->name;
    c->base = s->x.summary.base;
    c->base_model = safe(s, get(s, "ss_sd_model_name"));
    c->kind = kind_of(s);
    c->made = "Described by lx " LX_VERSION " from the file itself.";
    if (!c->kind || !c->title)
        return lx_oom(err);
    if ((rc = add_tags(s, &reg, err)) < 0 ||
        (rc = add_triggers(s, &dirs, &reg, err)) < 0 || (rc = add_settings(s, err)) < 0 ||
        (rc = add_data(s, &dirs, &reg, err)) < 0 || (rc = add_findings(s, err)) < 0)
        return rc;
    return add_hashes(s, err);
}

/* Nothing that is there is touched. */
static int make_folder(const char *path, lx_error *err)
{
    lx_dir dir = {0};
    int rc;

    if (!lx_file_is_dir(path)) {
        if (lx_file_exists(path))
            return lx_fail(err, LX_EEXISTS, "%s: is there already", path);
        return lx_make_dirs(path, err);
    }
    if ((rc = lx_dir_list(&dir, path, err)) == LX_OK && dir.count)
        rc =
            lx_fail(err, LX_EEXISTS, "%s: is not empty; name a new folder with -o", path);
    lx_dir_free(&dir);
    return rc;
}

static int share(sharing *s, const char *path, lx_error *err)
{
    const lx_inspect_options how = {0};
    const char *base = lx_path_base(path);
    int rc;

    if ((rc = lx_inspected_open(&s->x, s->cli, &how, path, path, err)) < 0)
        return rc;
    if (!s->x.file->n_modules) {
        const char *instead = lx_lora_file_instead(s->x.file);
        return lx_fail(err, LX_EFORMAT, "%s: is %s, no LoRA to share", path,
                       instead ? instead : "of no known kind");
    }
    s->name = lx_arena_printf(s->cli->arena, "%.*s.safetensors", (int)lx_card_stem(base), base);
    if (!s->name)
        return lx_oom(err);
    learn_metadata(s);
    if ((rc = read_config(s, path, err)) < 0)
        return rc;
    if ((rc = read_run(s, path, err)) == LX_OK && lx_file_was_refused())
        rc = lx_fail(
            err, LX_EIO,
            "%s: not all that is to be said of it could be read: Input/output error",
            path);
    if (rc < 0 || (rc = make_folder(s->args->output, err)) < 0 ||
        (rc = write_lora(s, path, err)) < 0 || (rc = write_config(s, err)) < 0 ||
        (rc = describe(s, err)) < 0 || (rc = write_samples(s, err)) < 0 ||
        (rc = lx_privacy_told(&s->card.scrubbed.items, &s->card.scrubbed.count,
                              s->c.privacy, s->cli->arena, err)) < 0)
        return rc;
    return write_cards(s, err);
}

static void tell(const sharing *s)
{
    lx_cli *cli = s->cli;
    const lx_card *c = &s->card;

    lx_print(cli, "%s/\n", lx_safe(cli, s->args->output));
    lx_print(cli, "  %s  AutoV2 %s%s%s\n", lx_safe(cli, s->name), s->hashes.autov2,
             *s->hashes.autov3 ? ", AutoV3 " : "", s->hashes.autov3);
    lx_print(cli, "  README.md, card.html, share.json%s\n",
             s->config ? ", adapter_config.json" : "");
    if (c->n_samples)
        lx_print(cli, "  samples/  %zu picture%s of run %.10s\n", c->n_samples,
                 c->n_samples == 1 ? "" : "s", s->run.id);
    for (size_t i = 0; i < c->triggers.count; i++)
        lx_print(cli, "%s%s%s",
                 i ? ", " : "  trigger words: ", lx_safe(cli, c->triggers.items[i]),
                 i + 1 == c->triggers.count ? "\n" : "");
    for (size_t i = 0; i < c->scrubbed.count; i++)
        lx_print(cli, "  taken out: %s\n", lx_safe(cli, c->scrubbed.items[i]));
    if (!c->license)
        lx_print(cli, "  no licence is named: --license NAME\n");
}

/* Where the run's pictures lie is known only when its record has been read: any file may be read. */
static int confine(lx_cli *cli, const char *output, lx_error *err)
{
    lx_bounds b = {.cli = cli, .has_children = true};
    int rc;

    lx_bounds_read_all(&b);
    lx_bounds_write(&b, output);
    if ((rc = lx_bounds_store(&b, false, err)) < 0)
        return rc;
    return lx_bounds_enter(&b, err);
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct share_args *args = args_;
    sharing s = {.cli = cli, .args = args, .c = {.arena = cli->arena}};
    int rc;

    if (args->loras.count != 1)
        return lx_fail(err, LX_EUSAGE, "one LoRA file is wanted: lx share FILE -o DIR");
    if (!args->output || !*args->output)
        return lx_fail(err, LX_EUSAGE, "-o DIR is needed: the folder to make");
    if (args->n_samples < 0)
        return lx_fail(err, LX_EUSAGE, "--samples is a number from 0 on");
    s.c.options = (lx_report_options){.n_samples = MOST_SAMPLES, .most_text = 2000};
    if (args->n_samples > MOST_SAMPLES)
        s.c.options.n_samples = (size_t)args->n_samples;
    if ((rc = lx_privacy_new(&s.c.privacy, args->keeps_private, err)) == LX_OK) {
        lx_settings_learn(cli->settings, s.c.privacy);
        if ((rc = lx_decoder_new(&s.c.decoder, err)) == LX_OK &&
            (rc = confine(cli, args->output, err)) == LX_OK)
            rc = share(&s, args->loras.items[0], err);
    }
    if (rc == LX_OK)
        tell(&s);
    lx_inspected_close(&s.x);
    lx_store_close(s.c.store);
    lx_decoder_free(s.c.decoder);
    lx_privacy_free(s.c.privacy);
    return rc;
}

const lx_command lx_cmd_share = {
    .name = "share",
    .summary = "a LoRA with card, hashes and samples in a folder, for a model site",
    .usage = "LORA -o DIR",
    .help = "Makes a folder with the file (tensors byte for byte; home folders, user and "
            "host names,\n"
            "addresses and tokens taken out of its metadata), a model card as README.md "
            "and as\n"
            "card.html, share.json with the same facts for programs, and sample pictures "
            "when the\n"
            "store has the run that wrote it. Trigger words are those on every training "
            "image; when\n"
            "the captions were not read, the words of the folder. A pickle becomes a "
            "safetensors file.\n"
            "Nothing is overwritten.\n"
            "\n"
            "Examples:\n"
            "  lx share out/hifumi.safetensors -o share/hifumi --license cc-by-4.0\n"
            "  lx share style.safetensors -o up --trigger 'in the style of xyz' --author "
            "me\n",
    .options = options,
    .args_size = sizeof(struct share_args),
    .run = run,
};
