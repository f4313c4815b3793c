/* A plan in words. */
#include <stdio.h>

#include "cmd/plan.h"
#include "src/base/str.h"
#include "src/query/when.h"

static void show_folders(const lx_planned *p, int part)
{
    const lx_dataset *d = p->dataset;

    for (size_t i = 0; i < d->n_folders; i++) {
        const lx_folder *f = &d->folders[i];
        if (f->n_images == 0 || f->part != part)
            continue;
        lx_print(p->cli, "  %s%s\n", lx_safe(p->cli, f->path),
                 f->is_reg ? "  (regularisation)" : "");
        lx_print(p->cli, "      %zu image%s x %d repeat%s = %zu sample%s; ", f->n_images,
                 lx_plural(f->n_images), f->repeats, lx_plural((size_t)f->repeats),
                 f->n_images * (size_t)f->repeats,
                 lx_plural(f->n_images * (size_t)f->repeats));
        if (f->n_held_out)
            lx_print(p->cli, "%zu held out; ", f->n_held_out);
        if (f->n_captions < f->n_images)
            lx_print(p->cli, "%zu caption%s read, %zu from the folder's words \"%s\"\n",
                     f->n_captions, lx_plural(f->n_captions), f->n_images - f->n_captions,
                     lx_safe(p->cli, f->class_tokens));
        else
            lx_print(p->cli, "all captions read (%s)\n",
                     f->is_metadata ? "from the file"
                                    : lx_safe(p->cli, f->config->caption_extension));
    }
}

static void show_samples(const lx_planned *p, int index)
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

static void show_buckets(const lx_planned *p, const lx_data_part *part)
{
    const lx_dataset *d = p->dataset;
    const size_t batch = (size_t)part->config->batch_size;

    lx_print(p->cli,
             "buckets               batches hold %zu image%s of one size; the last of a "
             "bucket may be short\n",
             batch, lx_plural(batch));
    for (size_t i = part->first_bucket; i < part->first_bucket + part->n_buckets; i++) {
        const lx_bucket *b = &d->buckets[i];
        size_t n = (b->n_samples + batch - 1) / batch;
        if (!b->n_samples) /* of images that are held out */
            continue;
        lx_print(p->cli,
                 "  %5d x %-5d       %zu image%s, %zu sample%s / %zu -> %zu batch%s\n",
                 b->width, b->height, b->n_images, lx_plural(b->n_images), b->n_samples,
                 lx_plural(b->n_samples), batch, n, n == 1 ? "" : "es");
    }
}

/* One dataset says it all; of several each has its own arithmetic up to its batches. */
static void show_parts(const lx_planned *p)
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

static void show_steps(const lx_planned *p)
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
        lx_print(p->cli, "steps                 %lld epoch%s x %lld = %lld\n",
                 (long long)s->epochs, lx_plural((size_t)s->epochs), steps, (long long)s->total_steps);
    else
        lx_print(p->cli,
                 "steps                 %lld (--max_train_steps), that is %lld epoch%s\n",
                 (long long)s->total_steps, (long long)s->epochs,
                 lx_plural((size_t)s->epochs));
}

/* Of a GPU. */
static void show_device(const lx_planned *p)
{
    const lx_footprint *m = &p->memory;
    const struct {
        size_t bytes;
        const char *what;
    } parts[] = {
        {m->device_weights, "the model's weights that are read as they are in its file"},
        {m->packed, "its other weights, in the type and order of the GPU's libraries"},
        {m->arena, "activations and gradients of the largest batch, workspaces"},
        {m->lora, "the LoRA and its gradient"},
        {m->optimizer, "the optimizer"},
        {m->context, "CUDA and its libraries (an estimate)"},
    };

    lx_print(p->cli, "LoRA                  %zu module%s, %zu numbers\n", p->n_modules,
             lx_plural(p->n_modules), p->n_values);
    lx_print(p->cli, "memory of the GPU     %.1f MB at the peak:\n",
             (double)m->device / 1e6);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lx_print(p->cli, "  %18.1f MB %s\n", (double)parts[i].bytes / 1e6, parts[i].what);
}

static void show_memory(const lx_planned *p)
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
        {m->is_cached ? 0 : m->reading, m->encodes_ahead
                                            ? "the next images, as they are encoded"
                                            : "pixels of the next images"},
        {m->saving, "the LoRA once more while it is saved"},
        {m->is_cached ? 0 : m->encoder,
         m->encodes_ahead ? "the VAE, which encodes beside the steps"
                          : "the VAE, which stays without --cache_latents"},
        {m->program, "the program, its libraries and tables"},
    };

    lx_print(p->cli, "LoRA                  %zu module%s, %zu numbers\n", p->n_modules,
             lx_plural(p->n_modules), p->n_values);
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

static void show_time(const lx_planned *p)
{
    const lx_forecast *e = &p->forecast;
    char all[32], low[32], high[32], caching[32], step[32];

    lx_duration_format(all, e->all.seconds);
    lx_duration_format(low, e->all.low);
    lx_duration_format(high, e->all.high);
    lx_duration_format(caching, e->caching.seconds);
    lx_print(p->cli, "time                  about %s, between %s and %s:\n", all, low,
             high);
    if (e->caching.seconds > 0)
        lx_print(p->cli, "                      %s to cache latents, then\n", caching);
    if (e->step.seconds < 10)
        snprintf(step, sizeof step, "%.3gs", e->step.seconds);
    else
        lx_duration_format(step, e->step.seconds);
    lx_print(p->cli, "                      %lld step%s of %s\n",
             (long long)p->steps.total_steps, lx_plural((size_t)p->steps.total_steps), step);
    lx_print(p->cli,
             "                      an estimate, from timing the kernels of these shapes "
             "on this machine for a\n"
             "                      second (%.0f %% of a step); without samples, "
             "validation and saving\n",
             100 * e->timed_share);
    if (e->is_busy)
        lx_print(p->cli,
                 "                      other programs are busy here now: without "
                 "them it takes less\n");
}

static void show_files(const lx_planned *p)
{
    const lx_forecast *e = &p->forecast;

    if (!e->file_bytes)
        return;
    lx_print(p->cli, "file                  %.1f MB (%zu bytes)",
             (double)e->file_bytes / 1e6, e->file_bytes);
    if (e->n_files > 1)
        lx_print(p->cli, ", %lld of them in the end: %.1f MB", (long long)e->n_files,
                 (double)e->n_files * (double)e->file_bytes / 1e6);
    lx_print(p->cli, "\n");
}

/* ---- to make it fit -------------------------------------------------------------------- */

static void put_amount(char out[40], bool is_memory, double amount)
{
    char text[32];

    if (is_memory && amount < 1e9) {
        snprintf(out, 40, "%.0f MB", amount / 1e6);
        return;
    }
    if (is_memory) {
        snprintf(out, 40, "%.2f GB", amount / 1e9);
        return;
    }
    lx_duration_format(text, amount);
    snprintf(out, 40, "%s", text);
}

static void show_change(const lx_planned *p, const lx_plan_change *c)
{
    char took[32], peak[40];

    put_amount(peak, true, lx_plan_peak(&c->memory));
    lx_print(p->cli, "  %s\n      %s", lx_safe(p->cli, c->flags), peak);
    if (c->forecast.is_timed) {
        lx_duration_format(took, c->forecast.all.seconds);
        lx_print(p->cli, ", about %s", took);
    }
    lx_print(p->cli, ", %lld step%s%s%s\n", (long long)c->steps.total_steps,
             lx_plural((size_t)c->steps.total_steps), *c->note ? ": " : "", c->note);
}

static void show_fit(const lx_planned *p, const lx_plan_fit *fit)
{
    char limit[40], need[40];

    put_amount(limit, fit->is_memory, fit->limit);
    put_amount(need, fit->is_memory, fit->need);
    if (fit->fits) {
        lx_print(p->cli, "it fits in %s: %s\n", limit, need);
        return;
    }
    lx_print(p->cli, "to fit in %s instead of %s, %s\n", limit, need,
             fit->n_changes ? "add one of these, each planned like the above:"
                            : "no change of one or two flags is enough");
    for (size_t i = 0; i < fit->n_changes; i++)
        show_change(p, &fit->changes[i]);
}

void lx_plan_show_words(const lx_planned *p, const lx_plan_fit *fits, size_t n_fits)
{
    const lx_dataset *d = p->dataset;

    for (size_t i = 0; i < p->flags.notes.count && !p->cli->is_quiet; i++)
        lx_print(p->cli, "note: %s\n", lx_safe(p->cli, p->flags.notes.items[i]));
    for (size_t i = 0; i < d->n_findings; i++)
        lx_print(p->cli, "%s: %s\n", lx_plan_kind_word(d->findings[i].kind),
                 lx_safe(p->cli, d->findings[i].text));
    if (!p->is_counted)
        return;
    show_parts(p);
    show_steps(p);
    if (!p->is_estimated)
        return;
    (p->memory.device ? show_device : show_memory)(p);
    if (p->forecast.is_timed)
        show_time(p);
    show_files(p);
    for (size_t i = 0; i < n_fits; i++)
        show_fit(p, &fits[i]);
}
