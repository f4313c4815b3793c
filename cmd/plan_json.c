/* A plan as JSON. */
#include <string.h>

#include "cmd/plan.h"
#include "src/base/str.h"

/* File names need not be UTF-8, JSON must be. */
static void add_text(cJSON *object, const char *key, const char *text, lx_cli *cli)
{
    bool is_sound = lx_utf8_check(text, strlen(text)) == strlen(text);

    cJSON_AddStringToObject(object, key, is_sound ? text : lx_safe(cli, text));
}

static void add_findings(cJSON *out, const lx_planned *p)
{
    cJSON *list = cJSON_AddArrayToObject(out, "findings");

    for (size_t i = 0; i < p->dataset->n_findings; i++) {
        const lx_finding *f = &p->dataset->findings[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "kind", lx_plan_kind_word(f->kind));
        cJSON_AddStringToObject(item, "code", f->code);
        add_text(item, "text", f->text, p->cli);
        cJSON_AddItemToArray(list, item);
    }
}

static void add_folders(cJSON *out, const lx_planned *p)
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

static void add_arithmetic(cJSON *out, const lx_planned *p)
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

static void add_span(cJSON *out, const char *key, lx_span s)
{
    cJSON *o = cJSON_AddObjectToObject(out, key);

    cJSON_AddNumberToObject(o, "seconds", s.seconds);
    cJSON_AddNumberToObject(o, "low", s.low);
    cJSON_AddNumberToObject(o, "high", s.high);
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
        {"encoder_bytes", m->encoder},     {"reading_bytes", m->reading},
        {"saving_bytes", m->saving},       {"program_bytes", m->program},
    };

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cJSON_AddNumberToObject(out, parts[i].key, (double)parts[i].bytes);
    cJSON_AddBoolToObject(out, "encodes_ahead", m->encodes_ahead);
    if (!m->device)
        return;
    cJSON_AddNumberToObject(out, "device_bytes", (double)m->device);
    cJSON_AddNumberToObject(out, "device_weight_bytes", (double)m->device_weights);
    cJSON_AddNumberToObject(out, "device_packed_bytes", (double)m->packed);
    cJSON_AddNumberToObject(out, "device_context_bytes", (double)m->context);
}

static void add_forecast(cJSON *out, const lx_forecast *e)
{
    if (e->file_bytes)
        cJSON_AddNumberToObject(out, "file_bytes", (double)e->file_bytes);
    cJSON_AddNumberToObject(out, "files", (double)e->n_files);
    if (!e->is_timed)
        return;
    add_span(out, "caching", e->caching);
    add_span(out, "step", e->step);
    add_span(out, "all", e->all);
    cJSON_AddNumberToObject(out, "timed_share", e->timed_share);
    cJSON_AddBoolToObject(out, "is_busy", e->is_busy);
}

static void add_fit(cJSON *out, const lx_plan_fit *fit)
{
    cJSON *o = cJSON_AddObjectToObject(out, fit->is_memory ? "fit_memory" : "fit_time");
    cJSON *list;

    cJSON_AddNumberToObject(o, "limit", fit->limit);
    cJSON_AddNumberToObject(o, "need", fit->need);
    cJSON_AddBoolToObject(o, "fits", fit->fits);
    list = cJSON_AddArrayToObject(o, "changes");
    for (size_t i = 0; i < fit->n_changes; i++) {
        const lx_plan_change *c = &fit->changes[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "flags", c->flags);
        cJSON_AddStringToObject(item, "note", c->note);
        cJSON_AddNumberToObject(item, "total_steps", (double)c->steps.total_steps);
        add_memory(item, &c->memory);
        add_forecast(item, &c->forecast);
        cJSON_AddItemToArray(list, item);
    }
}

int lx_plan_show_json(const lx_planned *p, const lx_plan_fit *fits, size_t n_fits,
                      lx_error *err)
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
        add_forecast(out, &p->forecast);
        for (size_t i = 0; i < n_fits; i++)
            add_fit(out, &fits[i]);
    }
    if ((rc = lx_json_pretty(&text, out, err)) == LX_OK)
        lx_print(p->cli, "%s\n", lx_str_text(&text));
    lx_str_release(&text);
    cJSON_Delete(out);
    return rc;
}
