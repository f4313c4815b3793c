/* lx compare: what is known of each run. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/compare.h"
#include "cmd/run_field.h"
#include "cmd/train_flag.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/query/cell.h"
#include "src/stats/smooth.h"

/* ---- one run ------------------------------------------------------------- */

static int read_loss(lx_compared *r, lx_comparison *c, lx_error *err)
{
    static const char *const keys[] = {"loss", "loss/average"};
    lx_arena *arena = c->arena;
    lx_curve curve;
    int rc;

    r->curve = "";
    for (size_t i = 0; i < 2 && !r->loss.n; i++) {
        if ((rc = lx_query_curve(&curve, c->store, r->row.seq, keys[i], 0, arena, err)) <
                0 ||
            (rc = lx_loss_order(&r->loss, curve.steps, curve.values, curve.n, arena,
                                err)) < 0)
            return rc;
        r->curve = r->loss.n ? keys[i] : "";
    }
    if (!(r->smooth = lx_arena_calloc(arena, r->loss.n + 1, sizeof *r->smooth)))
        return lx_oom(err);
    lx_smooth(r->smooth, r->loss.values, r->loss.n, c->smoothing);
    return LX_OK;
}

/* Another curve at the steps of the loss; NULL when it is not there at every one of them.
 */
static int read_axis(double **out, lx_comparison *c, const lx_compared *r,
                     const char *key, lx_error *err)
{
    lx_arena *arena = c->arena;
    lx_loss_curve axis;
    lx_curve curve;
    int rc;

    *out = NULL;
    if ((rc = lx_query_curve(&curve, c->store, r->row.seq, key, 0, arena, err)) < 0 ||
        (rc = lx_loss_order(&axis, curve.steps, curve.values, curve.n, arena, err)) < 0)
        return rc;
    if (axis.n && axis.n == r->loss.n &&
        memcmp(axis.steps, r->loss.steps, axis.n * sizeof *axis.steps) == 0)
        *out = axis.values;
    return LX_OK;
}

static double flag_number(const cJSON *flags, const char *key, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(flags, key);
    double x = cJSON_IsNumber(item)   ? item->valuedouble
               : cJSON_IsString(item) ? lx_text_number(item->valuestring)
                                      : (double)NAN;
    return isnan(x) ? otherwise : x;
}

cJSON *lx_compare_parse(lx_comparison *c, const char *text)
{
    cJSON *value = NULL;
    int rc = text ? lx_json_parse(&value, text, strlen(text), NULL) : LX_OK;

    c->is_out_of_memory |= rc == LX_ENOMEM;
    return rc < 0 ? NULL : value;
}

enum { MOST_EPOCHS = 100000 };

/* From 1, as lx and sd-scripts count; others count from 0, or log the share that is done,
 * of which any in (0, 1] is the first epoch. */
static int number_epochs(lx_compared *r, lx_comparison *c, lx_error *err)
{
    double least = MOST_EPOCHS;
    bool are_whole = true;

    if (!r->epochs)
        return LX_OK;
    for (size_t i = 0; i < r->loss.n; i++) {
        if (!(r->epochs[i] >= 0 && r->epochs[i] <= MOST_EPOCHS)) {
            r->epochs = NULL;
            return LX_OK;
        }
        least = fmin(least, r->epochs[i]);
        are_whole = are_whole && r->epochs[i] == floor(r->epochs[i]);
    }
    if (are_whole && least >= 1)
        return LX_OK;
    if (!are_whole) {
        if (!(r->epoch_axis =
                  lx_arena_calloc(c->arena, r->loss.n, sizeof *r->epoch_axis)))
            return lx_oom(err);
        memcpy(r->epoch_axis, r->epochs, r->loss.n * sizeof *r->epoch_axis);
    }
    for (size_t i = 0; i < r->loss.n; i++)
        r->epochs[i] = are_whole ? r->epochs[i] + 1 : fmax(1, ceil(r->epochs[i]));
    return LX_OK;
}

/* What the curves do not say follows from the flags, as other trainers count: images from
 * the batch, epochs from their number in a run that went to its end. */
static int derive_axes(lx_compared *r, lx_comparison *c, lx_error *err)
{
    cJSON *flags =
        lx_compare_parse(c, r->texts.flags ? r->texts.flags : r->texts.flags_given);
    double batch = flag_number(flags, "train_batch_size", 0) *
                   flag_number(flags, "gradient_accumulation_steps", 1);
    double epochs = flag_number(flags, "max_train_epochs", 0);
    double last = r->loss.n ? r->loss.steps[r->loss.n - 1] : 0;
    size_t n = r->loss.n;

    cJSON_Delete(flags);
    if (!r->images && batch > 0 && n) {
        if (!(r->images = lx_arena_calloc(c->arena, n, sizeof *r->images)))
            return lx_oom(err);
        for (size_t i = 0; i < n; i++)
            r->images[i] = r->loss.steps[i] * batch;
    }
    if (!r->epochs && epochs >= 1 && last >= epochs && fmod(last, epochs) == 0 &&
        strcmp(r->row.status, "finished") == 0) {
        if (!(r->epochs = lx_arena_calloc(c->arena, n, sizeof *r->epochs)))
            return lx_oom(err);
        for (size_t i = 0; i < n; i++)
            r->epochs[i] = fmax(1, floor((r->loss.steps[i] - 1) / (last / epochs)) + 1);
    }
    return LX_OK;
}

/* Epochs as a place to draw at: each point between the ends of its epoch, by its order in
 * it. */
static int spread_epochs(lx_compared *r, lx_comparison *c, lx_error *err)
{
    size_t n = r->loss.n;

    if (!r->epochs || r->epoch_axis)
        return LX_OK;
    if (!(r->epoch_axis = lx_arena_calloc(c->arena, n + 1, sizeof *r->epoch_axis)))
        return lx_oom(err);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && r->epochs[end] == r->epochs[i];)
            end++;
        for (size_t k = i; k < end; k++)
            r->epoch_axis[k] = r->epochs[i] - 1 + (double)(k - i + 1) / (double)(end - i);
    }
    return LX_OK;
}

const double *lx_compare_axis(const lx_comparison *c, const lx_compared *r)
{
    return c->axis && strcmp(c->axis, "images") == 0   ? r->images
           : c->axis && strcmp(c->axis, "epochs") == 0 ? r->epoch_axis
                                                       : r->loss.steps;
}

static int read_epochs(lx_compared *r, lx_comparison *c, lx_error *err)
{
    size_t *counts, most = 0;

    for (size_t i = 0; r->epochs && i < r->loss.n; i++) {
        if (!(r->epochs[i] >= 1 && r->epochs[i] <= MOST_EPOCHS + 1))
            r->epochs = NULL; /* derived from a flag that is no number of epochs */
        else
            most = (size_t)fmax((double)most, r->epochs[i]);
    }
    if (!r->epochs || !most)
        return LX_OK;
    counts = lx_arena_calloc(c->arena, most + 1, sizeof *counts);
    r->epoch_means = lx_arena_calloc(c->arena, most + 1, sizeof *r->epoch_means);
    if (!counts || !r->epoch_means)
        return lx_oom(err);
    for (size_t i = 0; i < r->loss.n; i++) {
        size_t epoch = (size_t)r->epochs[i] - 1;
        r->epoch_means[epoch] += r->loss.values[i];
        counts[epoch]++;
    }
    r->n_epochs = most;
    for (size_t i = 0; i < most; i++) {
        r->epoch_means[i] =
            counts[i] ? r->epoch_means[i] / (double)counts[i] : (double)NAN;
        if (counts[i] &&
            (!r->best_epoch || r->epoch_means[i] < r->epoch_means[r->best_epoch - 1]))
            r->best_epoch = i + 1;
    }
    return LX_OK;
}

int lx_compare_run(lx_compared *r, lx_comparison *c, lx_error *err)
{
    lx_arena *arena = c->arena;
    int rc;

    if ((rc = lx_query_texts(&r->texts, c->store, &r->row, arena, err)) < 0 ||
        (rc = lx_query_artifacts(&r->artifacts, &r->n_artifacts, c->store, &r->row, arena,
                                 err)) < 0 ||
        (rc = read_loss(r, c, err)) < 0 ||
        (rc = lx_compare_read_validation(r, c, err)) < 0 ||
        (rc = read_axis(&r->images, c, r, "images", err)) < 0 ||
        (rc = read_axis(&r->epochs, c, r, "epoch", err)) < 0 ||
        (rc = number_epochs(r, c, err)) < 0 || (rc = derive_axes(r, c, err)) < 0 ||
        (rc = read_epochs(r, c, err)) < 0 || (rc = spread_epochs(r, c, err)) < 0)
        return rc;
    if (r->loss.n && !lx_compare_axis(c, r))
        return lx_fail(err, LX_EUSAGE, "run %.10s does not say its %s: --axis steps",
                       r->row.id, c->axis);
    if (r->texts.dataset) {
        if ((rc = lx_store_dataset_get(&r->data, c->store, r->texts.dataset, arena,
                                       err)) < 0)
            return rc;
        r->has_data = true;
    }
    r->label = *r->row.name ? lx_arena_printf(arena, "%s (%.10s)", r->row.name, r->row.id)
                            : lx_arena_printf(arena, "%.10s", r->row.id);
    return r->label ? LX_OK : lx_oom(err);
}
