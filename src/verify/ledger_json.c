#include "src/verify/ledger_json.h"

#include <math.h>
#include <string.h>

#include "src/base/str.h"

/* JSON is UTF-8; a name that is not is shown escaped. */
static void add_text(cJSON *object, const char *key, const char *text)
{
    lx_str safe = LX_STR_INIT;

    if (!text) {
        cJSON_AddNullToObject(object, key);
    } else if (lx_utf8_check(text, strlen(text)) == strlen(text)) {
        cJSON_AddStringToObject(object, key, text);
    } else {
        lx_escape_terminal(&safe, text, strlen(text), true);
        cJSON_AddStringToObject(object, key, lx_str_text(&safe));
        lx_str_release(&safe);
    }
}

/* What is not a number is null. */
static void add_number(cJSON *object, const char *key, double x)
{
    if (isfinite(x))
        cJSON_AddNumberToObject(object, key, x);
    else
        cJSON_AddNullToObject(object, key);
}

static cJSON *number_or_null(double x)
{
    return isfinite(x) ? cJSON_CreateNumber(x) : cJSON_CreateNull();
}

static void add_estimate(cJSON *object, const lx_estimate *e)
{
    add_number(object, "estimate", e->value);
    add_number(object, "low", e->low);
    add_number(object, "high", e->high);
}

static void add_ledger(cJSON *out, const lx_ledger *ledger)
{
    cJSON *list = cJSON_AddArrayToObject(out, "evidence");

    for (size_t i = 0; i < ledger->count; i++) {
        const lx_evidence *row = &ledger->rows[i];
        cJSON *o = cJSON_CreateObject();
        add_text(o, "id", row->id);
        add_text(o, "question", row->question);
        add_text(o, "standing", lx_standing_name(row->standing));
        add_text(o, "subject", row->subject);
        add_text(o, "text", row->text);
        if (row->unit) {
            add_text(o, "unit", row->unit);
            add_estimate(o, &row->estimate);
            add_number(o, "p", row->p);
            add_number(o, "p_adjusted", row->adjusted);
            cJSON_AddNumberToObject(o, "n", (double)row->n);
            add_number(o, "noise_share", row->noise_share);
            cJSON_AddNumberToObject(o, "forwards", (double)row->cost);
        }
        cJSON_AddItemToArray(list, o);
    }
}

static void add_tags(cJSON *out, const lx_verify_result *r)
{
    cJSON *list = cJSON_AddArrayToObject(out, "tags");

    for (size_t i = 0; i < r->n_tags; i++) {
        const lx_verify_tag *t = &r->tags[i];
        cJSON *o = cJSON_CreateObject();
        add_text(o, "tag", t->text);
        add_text(o, "pieces", t->pieces);
        cJSON_AddNumberToObject(o, "images", (double)t->n_captions);
        cJSON_AddBoolToObject(o, "constant", t->is_constant);
        add_estimate(o, &t->effect);
        add_number(o, "p", t->p);
        add_number(o, "q", t->q);
        add_number(o, "alone", t->alone);
        add_number(o, "reach", t->reach);
        cJSON_AddItemToArray(list, o);
    }
}

static void add_points(cJSON *out, const char *key, const char *x,
                       const lx_verify_point *points, size_t n)
{
    cJSON *list = cJSON_AddArrayToObject(out, key);

    for (size_t i = 0; i < n; i++) {
        cJSON *o = cJSON_CreateObject();
        add_number(o, x, points[i].x);
        add_estimate(o, &points[i].y);
        cJSON_AddItemToArray(list, o);
    }
}

static void add_images(cJSON *out, const lx_verify_result *r,
                       const lx_verify_images *images)
{
    cJSON *list = cJSON_AddArrayToObject(out, "images");
    size_t k = 0;

    for (size_t i = 0; images && i < images->count && k < r->n_images; i++) {
        cJSON *o;
        if (images->items[i].role != LX_IMAGES_TRAINING)
            continue;
        o = cJSON_CreateObject();
        add_text(o, "path", images->items[i].path);
        add_number(o, "gain", r->image_gain[k]);
        add_number(o, "caption_use", r->image_use ? r->image_use[k] : NAN);
        cJSON_AddItemToArray(list, o);
        k++;
    }
}

static void add_answers(cJSON *out, const lx_verify_result *r)
{
    static const char *const keys[LX_N_QUESTIONS] = {"Q1", "Q2", "Q3", "Q4",
                                                     "Q5", "Q6", "Q7", "Q8"};
    cJSON *answers = cJSON_AddObjectToObject(out, "answers");

    for (int q = 0; q < LX_N_QUESTIONS; q++) {
        cJSON *o = cJSON_AddObjectToObject(answers, keys[q]);
        add_text(o, "answer", r->answers[q].word);
        add_text(o, "text", r->answers[q].text);
    }
}

static cJSON *result_json(const lx_verify_result *r, const lx_verify_images *images)
{
    cJSON *o = cJSON_CreateObject(), *flags;

    add_text(o, "file", r->path);
    add_text(o, "sha256", r->sha256);
    add_text(o, "label", lx_label_key(r->verdict.label));
    cJSON_AddNumberToObject(o, "exit_status", lx_label_exit_status(r->verdict.label));
    cJSON_AddBoolToObject(o, "certain", r->verdict.is_certain);
    add_text(o, "label_by_measurement", lx_label_key(r->by_measurement.label));
    add_text(o, "why", r->verdict.why);
    if (r->verdict.n_needed)
        cJSON_AddNumberToObject(o, "images_needed", (double)r->verdict.n_needed);
    flags = cJSON_AddArrayToObject(o, "flags");
    for (size_t i = 0; i < r->n_flags; i++)
        cJSON_AddItemToArray(flags, cJSON_CreateString(r->flags[i]));
    add_text(o, "identifier", r->identifier);
    add_answers(o, r);
    add_ledger(o, &r->ledger);
    add_tags(o, r);
    add_points(o, "gain_by_timestep", "timestep", r->bins, r->n_bins);
    add_points(o, "gain_by_strength", "strength", r->strengths, r->n_strengths);
    add_images(o, r, images);
    cJSON_AddNumberToObject(o, "forwards", (double)r->cost);
    return o;
}

static void add_plan(cJSON *out, const lx_verify *v, const lx_verify_options *options)
{
    const lx_verify_plan *plan = lx_verify_plan_of(v);
    const lx_training_facts *facts = lx_verify_facts(v);
    cJSON *o = cJSON_AddObjectToObject(out, "plan");

    cJSON_AddNumberToObject(o, "seed", (double)options->seed);
    add_number(o, "delta", options->delta);
    add_number(o, "strength", options->strength);
    add_number(o, "te_strength", options->te_strength);
    add_text(o, "mixed_precision", lx_precision_name(options->precision));
    if (!lx_verify_images_of(v))
        return;
    cJSON_AddNumberToObject(o, "images", (double)plan->n_images);
    cJSON_AddNumberToObject(o, "draws", plan->n_draws);
    cJSON_AddNumberToObject(o, "other_captions", plan->n_others);
    cJSON_AddNumberToObject(o, "controls", plan->n_controls);
    cJSON_AddNumberToObject(o, "tags", (double)plan->n_tags);
    cJSON_AddNumberToObject(o, "forwards_planned", (double)plan->cost);
    cJSON_AddNumberToObject(o, "forwards_of_base", (double)lx_verify_base_cost(v));
    cJSON_AddNumberToObject(o, "twins_left_out", (double)lx_verify_images_of(v)->n_twins);
    cJSON_AddNumberToObject(o, "width", facts->data.width);
    cJSON_AddNumberToObject(o, "height", facts->data.height);
    add_text(o, "caption_extension", facts->data.caption_extension);
}

cJSON *lx_verify_json(const lx_verify *v, const lx_verify_options *options,
                      const lx_verify_result *const *results, size_t n,
                      const lx_sweep *sweep)
{
    cJSON *out = cJSON_CreateObject(), *files;

    cJSON_AddNumberToObject(out, "format", 1);
    add_plan(out, v, options);
    files = cJSON_AddArrayToObject(out, "files");
    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(files, result_json(results[i], lx_verify_images_of(v)));
    if (sweep) {
        cJSON *o = cJSON_AddObjectToObject(out, "sweep"), *p, *cosine, *step;
        cJSON_AddStringToObject(o, "compared_by",
                                sweep->is_held_out ? "held_out" : "training");
        cJSON_AddNumberToObject(o, "images", (double)sweep->n_images);
        cJSON_AddBoolToObject(o, "too_few_images", sweep->is_few);
        add_text(o, "best", results[sweep->best]->path);
        add_text(o, "highest", results[sweep->highest]->path);
        p = cJSON_AddArrayToObject(o, "p_as_good");
        cosine = cJSON_AddArrayToObject(o, "cosine_with_last");
        step = cJSON_AddArrayToObject(o, "step_from_before");
        for (size_t i = 0; i < n; i++) {
            cJSON_AddItemToArray(p, cJSON_CreateNumber(sweep->p[i]));
            cJSON_AddItemToArray(cosine, number_or_null(results[i]->cosine));
            cJSON_AddItemToArray(step, number_or_null(results[i]->step));
        }
    }
    return out;
}
