/* The report as JSON: schema/report.schema.json describes it. Pictures are left out. */
#include <math.h>
#include <string.h>

#include "src/base/json.h"
#include "src/report/report.h"

/* "key": in front of what follows; key NULL in an array. */
static void put_key(lx_str *out, const char *key)
{
    char last = out->len ? out->data[out->len - 1] : '{';
    if (last != '{' && last != '[')
        lx_str_putc(out, ',');
    if (key) {
        lx_escape_json(out, key, strlen(key));
        lx_str_putc(out, ':');
    }
}

static void put_text(lx_str *out, const char *key, const char *text)
{
    if (key && !(text && *text))
        return;
    put_key(out, key);
    if (text)
        lx_escape_json(out, text, strlen(text));
    else
        lx_str_puts(out, "null");
}

static void put_number(lx_str *out, const char *key, double value)
{
    char text[32];
    put_key(out, key);
    lx_format_double(text, value);
    lx_str_puts(out, isfinite(value) ? text : "null");
}

static void put_texts(lx_str *out, const char *key, lx_report_texts texts)
{
    put_key(out, key);
    lx_str_putc(out, '[');
    for (size_t i = 0; i < texts.count; i++)
        put_text(out, NULL, texts.items[i]);
    lx_str_putc(out, ']');
}

static void put_pairs(lx_str *out, const char *key, lx_report_pairs pairs)
{
    put_key(out, key);
    lx_str_putc(out, '{');
    for (size_t i = 0; i < pairs.count; i++) {
        put_key(out, pairs.items[i].key);
        lx_escape_json(out, pairs.items[i].value ? pairs.items[i].value : "",
                       pairs.items[i].value ? strlen(pairs.items[i].value) : 0);
    }
    lx_str_putc(out, '}');
}

static void put_numbers(lx_str *out, const char *key, const double *values, size_t n)
{
    put_key(out, key);
    lx_str_putc(out, '[');
    for (size_t i = 0; i < n; i++)
        put_number(out, NULL, values[i]);
    lx_str_putc(out, ']');
}

static void put_curves(lx_str *out, const lx_report_run *r)
{
    put_key(out, "curves");
    lx_str_putc(out, '{');
    for (size_t i = 0; i < r->n_curves; i++) {
        put_key(out, r->curves[i].key);
        lx_str_putc(out, '{');
        put_numbers(out, "steps", r->curves[i].steps, r->curves[i].n);
        put_numbers(out, "values", r->curves[i].values, r->curves[i].n);
        lx_str_putc(out, '}');
    }
    lx_str_putc(out, '}');
}

static void put_data(lx_str *out, const lx_report_run *r)
{
    put_key(out, "folders");
    lx_str_putc(out, '[');
    for (size_t i = 0; i < r->n_folders; i++) {
        put_key(out, NULL);
        lx_str_putc(out, '{');
        put_text(out, "name", r->folders[i].name);
        put_text(out, "class_tokens", r->folders[i].class_tokens);
        put_number(out, "images", (double)r->folders[i].images);
        put_number(out, "captioned", (double)r->folders[i].captioned);
        put_number(out, "repeats", (double)r->folders[i].repeats);
        lx_str_puts(out,
                    r->folders[i].is_reg ? ",\"is_reg\":true}" : ",\"is_reg\":false}");
    }
    lx_str_putc(out, ']');
    put_key(out, "tag_frequencies");
    lx_str_putc(out, '[');
    for (size_t i = 0; i < r->n_frequencies; i++) {
        put_key(out, NULL);
        lx_str_putc(out, '[');
        put_text(out, NULL, r->frequencies[i].tag);
        put_number(out, NULL, (double)r->frequencies[i].count);
        lx_str_putc(out, ']');
    }
    lx_str_putc(out, ']');
}

static void put_loras(lx_str *out, const lx_report_run *r)
{
    static const char *const tones[] = {"plain", "good", "warn", "bad"};
    put_key(out, "loras");
    lx_str_putc(out, '[');
    for (size_t i = 0; i < r->n_loras; i++) {
        const lx_report_lora *l = &r->loras[i];
        put_key(out, NULL);
        lx_str_putc(out, '{');
        put_text(out, "name", l->name);
        put_text(out, "sha256", l->sha256);
        put_number(out, "step", l->step < 0 ? (double)NAN : (double)l->step);
        put_number(out, "bytes", (double)l->bytes);
        put_pairs(out, "facts", l->facts);
        put_key(out, "findings");
        lx_str_putc(out, '[');
        for (size_t k = 0; k < l->n_findings; k++) {
            put_key(out, NULL);
            lx_str_putc(out, '{');
            put_text(out, "tone", tones[l->findings[k].tone]);
            put_text(out, "text", l->findings[k].text);
            lx_str_putc(out, '}');
        }
        lx_str_puts(out, "]}");
    }
    lx_str_putc(out, ']');
}

static void put_samples(lx_str *out, const lx_report_run *r)
{
    put_key(out, "samples");
    lx_str_putc(out, '[');
    for (size_t i = 0; i < r->n_samples; i++) {
        put_key(out, NULL);
        lx_str_putc(out, '{');
        put_text(out, "name", r->samples[i].name);
        put_text(out, "prompt", r->samples[i].text);
        put_number(out, "step",
                   r->samples[i].step < 0 ? (double)NAN : (double)r->samples[i].step);
        lx_str_putc(out, '}');
    }
    lx_str_putc(out, ']');
}

static void put_run(lx_str *out, const lx_report_run *r)
{
    put_key(out, NULL);
    lx_str_putc(out, '{');
    put_text(out, "id", r->id);
    put_text(out, "name", r->name);
    put_text(out, "kind", r->kind);
    put_text(out, "status", r->status);
    put_text(out, "message", r->message);
    put_text(out, "started", r->started);
    put_number(out, "seconds", r->seconds);
    put_number(out, "steps", r->steps < 0 ? (double)NAN : (double)r->steps);
    put_number(out, "loss", r->loss);
    put_number(out, "best_loss", r->best_loss);
    put_number(out, "best_step",
               isfinite(r->best_loss) ? (double)r->best_step : (double)NAN);
    put_texts(out, "summary", r->summary);
    put_texts(out, "tags", r->tags);
    put_texts(out, "notes", r->notes);
    put_pairs(out, "settings", r->settings);
    put_pairs(out, "resolved", r->resolved);
    put_pairs(out, "inputs", r->inputs);
    put_data(out, r);
    put_numbers(out, "epoch_ends", r->epoch_ends, r->n_epochs);
    put_curves(out, r);
    put_samples(out, r);
    put_loras(out, r);
    put_texts(out, "repeat", r->repeat);
    put_text(out, "diff", r->diff);
    lx_str_putc(out, '}');
}

static void put_differences(lx_str *out, const lx_report *report)
{
    put_key(out, "differences");
    lx_str_putc(out, '{');
    for (size_t i = 0; i < report->n_differences; i++) {
        put_key(out, report->differences[i].key);
        lx_str_putc(out, '[');
        for (size_t k = 0; k < report->n_runs; k++)
            put_text(out, NULL, report->differences[i].values[k]);
        lx_str_putc(out, ']');
    }
    lx_str_putc(out, '}');
}

int lx_report_json(lx_str *out, const lx_report *report, lx_error *err)
{
    lx_str_puts(out, "{\"lx_report\":1");
    put_text(out, "title", report->title);
    put_text(out, "made", report->made);
    lx_str_printf(out, ",\"is_scrubbed\":%s", report->is_scrubbed ? "true" : "false");
    put_texts(out, "scrubbed", report->scrubbed);
    put_differences(out, report);
    put_key(out, "runs");
    lx_str_putc(out, '[');
    for (size_t i = 0; i < report->n_runs; i++)
        put_run(out, &report->runs[i]);
    lx_str_puts(out, "]}\n");
    return lx_str_check(out, err);
}
