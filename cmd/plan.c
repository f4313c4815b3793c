/* lx plan - what a training would do, before anything is loaded */
#include <stdio.h>
#include <string.h>

#include "cmd/cli.h"
#include "cmd/train_flags.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/data/dataset.h"
#include "src/train/session.h"

struct plan_args {
    bool json;
};

static const lx_option options[] = {
    LX_FLAG(struct plan_args, json, 'j', "json", "print one JSON object"),
    LX_OPTION_END,
};

typedef struct plan {
    lx_cli *cli;
    lx_train_config config;
    lx_train_flags flags;
    lx_dataset *dataset;
    bool is_counted; /* there are images, and buckets for them */
    lx_step_count steps;
    bool is_estimated; /* a model was given: memory is known */
    lx_footprint memory;
    size_t n_modules, n_values; /* of the LoRA */
    lx_error refusal; /* why not, when the data were read and no more can be said */
} plan;

static const char *const kind_words[] = {[LX_FINDING_NOTE] = "note",
                                         [LX_FINDING_WARNING] = "warning",
                                         [LX_FINDING_STOP] = "stop"};

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- reading ----------------------------------------------------------------------------- */

/* --json is ours, everything else is the training's. */
static void take_own_words(struct plan_args *args, lx_cli *cli)
{
    int n = 0;

    for (int i = 0; i < cli->argc; i++)
        if (strcmp(cli->argv[i], "--json") == 0 || strcmp(cli->argv[i], "-j") == 0)
            args->json = true;
        else
            cli->argv[n++] = cli->argv[i];
    cli->argc = n;
}

static size_t count_stops(const lx_dataset *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n_findings; i++)
        n += d->findings[i].kind == LX_FINDING_STOP;
    return n;
}

static int count(plan *p, lx_error *err)
{
    const lx_train_config *c = &p->config;
    int rc;

    if (p->dataset->n_images == 0) /* a finding says why */
        return LX_OK;
    if ((rc = lx_dataset_plan(p->dataset, &p->refusal)) == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0)
        return LX_OK;
    p->is_counted = true;
    p->steps = lx_dataset_steps(p->dataset, c->max_train_steps, c->max_train_epochs,
                                c->gradient_accumulation_steps);
    return LX_OK;
}

/* With a model, what its largest batch takes: the graph is built and placed, nothing is run. */
static int estimate(plan *p, lx_error *err)
{
    const lx_train_identity identity = {0};
    const lx_observer observer = {0};
    lx_train *train = NULL;
    int rc;

    if (!p->is_counted || !p->config.pretrained_model_name_or_path)
        return LX_OK;
    rc = lx_train_open(&train, &p->config, p->dataset, &identity, &observer, &p->refusal);
    if (rc == LX_OK &&
        (rc = lx_train_estimate(&p->memory, train, &p->refusal)) == LX_OK) {
        p->is_estimated = true;
        p->n_modules = lx_train_lora(train)->count;
        p->n_values = lx_train_lora(train)->n_values;
    }
    lx_train_close(train);
    return rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
}

static int read_plan(plan *p, lx_error *err)
{
    lx_cli *cli = p->cli;
    lx_dataset_config *data = &p->config.data;
    int rc = lx_train_flags_parse(&p->config, &p->flags, cli, cli->argc, cli->argv, err);

    if (rc < 0 || p->flags.is_done)
        return rc;
    if (!data->train_data_dir && data->n_subsets == 0)
        return lx_fail(err, LX_EUSAGE, "a plan needs --train_data_dir FOLDER");
    if (data->width < 1)
        return lx_fail(err, LX_EUSAGE, "a plan needs --resolution 512,512");
    data->check_pixels = true;
    if ((rc = lx_dataset_scan(&p->dataset, data, err)) < 0)
        return rc;
    if ((rc = count(p, err)) < 0)
        return rc;
    return estimate(p, err);
}

/* ---- words ------------------------------------------------------------------------------- */

static void show_folders(const plan *p, int part)
{
    const lx_dataset *d = p->dataset;

    for (size_t i = 0; i < d->n_folders; i++) {
        const lx_folder *f = &d->folders[i];
        if (f->n_images == 0 || f->part != part)
            continue;
        lx_print(p->cli, "  %s%s\n", lx_safe(p->cli, f->path),
                 f->is_reg ? "  (regularisation)" : "");
        lx_print(p->cli, "      %zu image%s x %d repeat%s = %zu sample%s; ", f->n_images,
                 plural(f->n_images), f->repeats, plural((size_t)f->repeats),
                 f->n_images * (size_t)f->repeats,
                 plural(f->n_images * (size_t)f->repeats));
        if (f->n_held_out)
            lx_print(p->cli, "%zu held out; ", f->n_held_out);
        if (f->n_captions < f->n_images)
            lx_print(p->cli, "%zu captions read, %zu from the folder's words \"%s\"\n",
                     f->n_captions, f->n_images - f->n_captions,
                     lx_safe(p->cli, f->class_tokens));
        else
            lx_print(p->cli, "all captions read (%s)\n",
                     f->is_metadata ? "from the file"
                                    : lx_safe(p->cli, f->config->caption_extension));
    }
}

static void show_samples(const plan *p, int index)
{
    const lx_dataset *d = p->dataset;
    const lx_data_part *part = &d->parts[index];
    size_t n_all = part->n_train_samples + part->n_reg_samples, n_unused = 0;

    if (part->n_reg_samples == 0) {
        lx_print(p->cli, "samples in an epoch   %zu\n", n_all);
        return;
    }
    for (size_t i = 0; i < d->n_images; i++)
        n_unused += d->images[i].is_reg && d->images[i].repeats == 0 &&
                    d->folders[d->images[i].folder].part == index;
    lx_print(p->cli, "samples in an epoch   %zu training + %zu regularisation = %zu\n",
             part->n_train_samples, part->n_reg_samples, n_all);
    lx_print(
        p->cli,
        "                      regularisation images are taken again in turn until "
        "they are as\n"
        "                      many as the training samples: they double the epoch\n");
    if (n_unused > 0)
        lx_print(
            p->cli,
            "                      %zu of them %s not used: there are more than needed\n",
            n_unused, n_unused == 1 ? "is" : "are");
}

static void show_buckets(const plan *p, const lx_data_part *part)
{
    const lx_dataset *d = p->dataset;
    const size_t batch = (size_t)part->config->batch_size;

    lx_print(p->cli,
             "buckets               batches hold %zu image%s of one size; the last of a "
             "bucket may be short\n",
             batch, plural(batch));
    for (size_t i = part->first_bucket; i < part->first_bucket + part->n_buckets; i++) {
        const lx_bucket *b = &d->buckets[i];
        size_t n = (b->n_samples + batch - 1) / batch;
        if (!b->n_samples) /* of images that are held out */
            continue;
        lx_print(p->cli,
                 "  %5d x %-5d       %zu image%s, %zu sample%s / %zu -> %zu batch%s\n",
                 b->width, b->height, b->n_images, plural(b->n_images), b->n_samples,
                 plural(b->n_samples), batch, n, n == 1 ? "" : "es");
    }
}

/* One dataset says it all; of several each has its own arithmetic up to its batches. */
static void show_parts(const plan *p)
{
    const lx_dataset *d = p->dataset;

    for (size_t i = 0; i < d->n_parts; i++) {
        const lx_data_part *part = &d->parts[i];
        if (d->n_parts > 1)
            lx_print(p->cli, "dataset %-13zu %d x %d\n", i + 1, part->config->width,
                     part->config->height);
        else
            lx_print(p->cli, "folders\n");
        show_folders(p, (int)i);
        show_samples(p, (int)i);
        show_buckets(p, part);
        if (d->n_parts > 1)
            lx_print(p->cli, "batches               %zu\n", part->n_batches);
    }
}

static void show_steps(const plan *p)
{
    const lx_step_count *s = &p->steps;
    const lx_train_config *c = &p->config;
    long long batches = (long long)s->batches_per_epoch,
              steps = (long long)s->steps_per_epoch;

    lx_print(p->cli, "batches in an epoch   %lld\n", batches);
    if (c->gradient_accumulation_steps > 1)
        lx_print(p->cli, "steps in an epoch     %lld / %d accumulated = %lld\n", batches,
                 c->gradient_accumulation_steps, steps);
    else
        lx_print(p->cli, "steps in an epoch     %lld\n", steps);
    if (c->max_train_epochs > 0)
        lx_print(p->cli, "steps                 %lld epochs x %lld = %lld\n",
                 (long long)s->epochs, steps, (long long)s->total_steps);
    else
        lx_print(p->cli,
                 "steps                 %lld (--max_train_steps), that is %lld epoch%s\n",
                 (long long)s->total_steps, (long long)s->epochs,
                 plural((size_t)s->epochs));
}

/* Of a GPU. */
static void show_device(const plan *p)
{
    const lx_footprint *m = &p->memory;
    const struct {
        size_t bytes;
        const char *what;
    } parts[] = {
        {m->device_weights, "the model's weights"},
        {m->packed, "weights once more, in the type and order of the GPU's libraries"},
        {m->arena, "activations and gradients of the largest batch, workspaces"},
        {m->lora, "the LoRA and its gradient"},
        {m->optimizer, "the optimizer"},
        {m->context, "CUDA and its libraries (an estimate)"},
    };

    lx_print(p->cli, "LoRA                  %zu modules, %zu numbers\n", p->n_modules,
             p->n_values);
    lx_print(p->cli, "memory of the GPU     %.1f MB at the peak:\n", (double)m->device / 1e6);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lx_print(p->cli, "  %18.1f MB %s\n", (double)parts[i].bytes / 1e6, parts[i].what);
}

static void show_memory(const plan *p)
{
    const lx_footprint *m = &p->memory;
    const struct {
        size_t bytes;
        const char *what;
    } parts[] = {
        {m->touched, "the model's weights, as they stand in its file"},
        {m->copied, "weights held as f32"},
        {m->arena, "activations and gradients of the largest batch"},
        {m->lora, "the LoRA and its gradient"},
        {m->optimizer, "the optimizer"},
        {m->latents, "latents of the images"},
        {m->saving, "the LoRA once more while it is saved"},
        {m->is_cached ? 0 : m->encoder, "the VAE, which stays without --cache_latents"},
        {m->program, "the program, its libraries and tables"},
    };

    lx_print(p->cli, "LoRA                  %zu modules, %zu numbers\n", p->n_modules,
             p->n_values);
    lx_print(p->cli, "memory                %.1f MB at the peak:\n",
             (double)m->peak / 1e6);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].bytes)
            lx_print(p->cli, "  %18.1f MB %s\n", (double)parts[i].bytes / 1e6,
                     parts[i].what);
    if (m->is_cached)
        lx_print(p->cli,
                 "                      before it, while latents are cached, the VAE: "
                 "%.1f MB\n",
                 (double)m->encoder / 1e6);
    if (p->config.sample_prompts || p->config.data.validation_split > 0)
        lx_print(
            p->cli,
            "                      pictures and validation on the way come on top\n");
}

static void show_words(const plan *p)
{
    const lx_dataset *d = p->dataset;

    for (size_t i = 0; i < p->flags.notes.count; i++)
        lx_print(p->cli, "note: %s\n", lx_safe(p->cli, p->flags.notes.items[i]));
    for (size_t i = 0; i < d->n_findings; i++)
        lx_print(p->cli, "%s: %s\n", kind_words[d->findings[i].kind],
                 lx_safe(p->cli, d->findings[i].text));
    if (!p->is_counted)
        return;
    show_parts(p);
    show_steps(p);
    if (p->is_estimated)
        (p->memory.device ? show_device : show_memory)(p);
}

/* ---- JSON -------------------------------------------------------------------------------- */

/* File names need not be UTF-8, JSON must be. */
static void add_text(cJSON *object, const char *key, const char *text, lx_cli *cli)
{
    bool is_sound = lx_utf8_check(text, strlen(text)) == strlen(text);

    cJSON_AddStringToObject(object, key, is_sound ? text : lx_safe(cli, text));
}

static void add_findings(cJSON *out, const plan *p)
{
    cJSON *list = cJSON_AddArrayToObject(out, "findings");

    for (size_t i = 0; i < p->dataset->n_findings; i++) {
        const lx_finding *f = &p->dataset->findings[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "kind", kind_words[f->kind]);
        cJSON_AddStringToObject(item, "code", f->code);
        add_text(item, "text", f->text, p->cli);
        cJSON_AddItemToArray(list, item);
    }
}

static void add_folders(cJSON *out, const plan *p)
{
    cJSON *list = cJSON_AddArrayToObject(out, "folders");

    for (size_t i = 0; i < p->dataset->n_folders; i++) {
        const lx_folder *f = &p->dataset->folders[i];
        cJSON *item = cJSON_CreateObject();
        add_text(item, "path", f->path, p->cli);
        add_text(item, "class_tokens", f->class_tokens, p->cli);
        cJSON_AddNumberToObject(item, "images", (double)f->n_images);
        if (f->n_held_out)
            cJSON_AddNumberToObject(item, "held_out", (double)f->n_held_out);
        cJSON_AddNumberToObject(item, "captions", (double)f->n_captions);
        cJSON_AddNumberToObject(item, "repeats", f->repeats);
        cJSON_AddBoolToObject(item, "is_reg", f->is_reg);
        cJSON_AddItemToArray(list, item);
    }
}

static void add_buckets(cJSON *out, const lx_dataset *d)
{
    cJSON *list = cJSON_AddArrayToObject(out, "buckets");

    for (size_t i = 0; i < d->n_buckets; i++) {
        const lx_bucket *b = &d->buckets[i];
        const size_t batch = lx_dataset_batch_size(d, b);
        cJSON *item = cJSON_CreateObject();
        if (d->n_parts > 1)
            cJSON_AddNumberToObject(item, "dataset", b->part);
        cJSON_AddNumberToObject(item, "width", b->width);
        cJSON_AddNumberToObject(item, "height", b->height);
        cJSON_AddNumberToObject(item, "images", (double)b->n_images);
        cJSON_AddNumberToObject(item, "samples", (double)b->n_samples);
        cJSON_AddNumberToObject(item, "batches",
                                (double)((b->n_samples + batch - 1) / batch));
        cJSON_AddItemToArray(list, item);
    }
}

static void add_arithmetic(cJSON *out, const plan *p)
{
    const lx_dataset *d = p->dataset;
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"train_samples", (double)d->n_train_samples},
        {"reg_samples", (double)d->n_reg_samples},
        {"batch_size", (double)lx_dataset_largest_batch(d)},
        {"batches_per_epoch", (double)p->steps.batches_per_epoch},
        {"gradient_accumulation_steps", p->config.gradient_accumulation_steps},
        {"steps_per_epoch", (double)p->steps.steps_per_epoch},
        {"epochs", (double)p->steps.epochs},
        {"total_steps", (double)p->steps.total_steps},
        {"mean_ar_error", d->mean_ar_error},
    };

    add_buckets(out, d);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        cJSON_AddNumberToObject(out, numbers[i].key, numbers[i].value);
}

static void add_memory(cJSON *out, const lx_footprint *m)
{
    const struct {
        const char *key;
        size_t bytes;
    } parts[] = {
        {"arena_bytes", m->arena},         {"peak_bytes", m->peak},
        {"mapped_bytes", m->mapped},       {"touched_bytes", m->touched},
        {"copied_bytes", m->copied},       {"lora_bytes", m->lora},
        {"optimizer_bytes", m->optimizer}, {"latent_bytes", m->latents},
        {"encoder_bytes", m->encoder},     {"saving_bytes", m->saving},
        {"program_bytes", m->program},
    };

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cJSON_AddNumberToObject(out, parts[i].key, (double)parts[i].bytes);
    if (!m->device)
        return;
    cJSON_AddNumberToObject(out, "device_bytes", (double)m->device);
    cJSON_AddNumberToObject(out, "device_weight_bytes", (double)m->device_weights);
    cJSON_AddNumberToObject(out, "device_packed_bytes", (double)m->packed);
    cJSON_AddNumberToObject(out, "device_context_bytes", (double)m->context);
}

static int show_json(const plan *p, lx_error *err)
{
    cJSON *out = cJSON_CreateObject();
    lx_str text = LX_STR_INIT;
    int rc;

    add_findings(out, p);
    add_folders(out, p);
    if (p->is_counted)
        add_arithmetic(out, p);
    if (p->is_estimated) {
        cJSON_AddNumberToObject(out, "lora_modules", (double)p->n_modules);
        cJSON_AddNumberToObject(out, "lora_values", (double)p->n_values);
        add_memory(out, &p->memory);
    }
    if ((rc = lx_json_pretty(&text, out, err)) == LX_OK)
        lx_print(p->cli, "%s\n", lx_str_text(&text));
    lx_str_release(&text);
    cJSON_Delete(out);
    return rc;
}

/* ---- the command ------------------------------------------------------------------------- */

static int judge(const plan *p, lx_error *err)
{
    size_t n_stops = count_stops(p->dataset);

    if (n_stops > 0)
        return lx_fail(err, LX_ECHECK, "%zu finding%s would stop the training", n_stops,
                       plural(n_stops));
    if (p->refusal.code < 0) {
        if (err)
            *err = p->refusal;
        return p->refusal.code;
    }
    return LX_OK;
}

static int run(lx_cli *cli, void *unused, lx_error *err)
{
    struct plan_args args = {0};
    plan p = {.cli = cli};
    int rc;

    (void)unused;
    take_own_words(&args, cli);
    if ((rc = read_plan(&p, err)) < 0 || p.flags.is_done)
        goto done;
    if (args.json)
        rc = show_json(&p, err);
    else
        show_words(&p);
    if (rc == LX_OK)
        rc = judge(&p, err);
done:
    lx_dataset_free(p.dataset);
    return rc;
}

const lx_command lx_cmd_plan = {
    .name = "plan",
    .summary = "say what a training would do, before anything is loaded",
    .usage = "FLAGS OF lx train ...",
    .help =
        "Takes the flags of `lx train` (also from a --config_file or a pasted line), "
        "reads the\n"
        "folders, and prints what is wrong with them and how many steps come out, term "
        "by term:\n"
        "images x repeats, regularisation images, batches of each bucket, epochs, steps. "
        "Every\n"
        "image is decoded once. With --pretrained_model_name_or_path also the memory "
        "at\n"
        "its peak, part by part. Nothing is trained or recorded. Exit status 1 when\n"
        "something found would stop the training.\n"
        "\n"
        "Examples:\n"
        "  lx plan --train_data_dir img --resolution 512 --enable_bucket \\\n"
        "          --caption_extension .txt --max_train_epochs 10\n"
        "  lx plan --config_file run.toml --json\n",
    .options = options,
    .parses_itself = true,
    .run = run,
};
