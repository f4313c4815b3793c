/* LoRA files of every family and spelling, as up and down on a model. */
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/delta.h"
#include "src/lora/factors.h"
#include "src/lora/module.h"

enum { MAX_RANK = 1 << 16 };

/* How a module becomes up and down. */
typedef enum form {
    FORM_AS_IT_IS, /* the file's own factors: a plain LoRA */
    FORM_FACTORS,  /* exact factors of another family (lora/delta) */
    FORM_UNIT_UP,  /* the whole change as down, beside a unit matrix */
    FORM_UNIT_DOWN /* the whole change as up */
} form;

typedef struct found_module {
    const lx_lora_entry *entry; /* NULL: the target has none */
    lx_delta_shape shape;
    form form;
    size_t out, in, window; /* of the layer: in with the window */
    size_t rank;
} found_module;

/* ---- what is in the file ------------------------------------------------------------------ */

static void measure_layer(found_module *f, const lx_tensor_view *w)
{
    f->out = (size_t)w->shape[0];
    f->in = w->n_elements / f->out;
    f->window = w->n_dims == 4 ? (size_t)(w->shape[2] * w->shape[3]) : 1;
}

/* A change of full rank is as exact as its shorter side; a convolution's goes into down. */
static void choose_form(found_module *f)
{
    if (lx_lora_is_plain(f->entry) && !f->entry->has_dora) {
        f->form = FORM_AS_IT_IS;
        f->rank = (size_t)f->entry->rank;
    } else if (f->shape.rank) {
        f->form = FORM_FACTORS;
        f->rank = f->shape.rank;
    } else if (f->window > 1 || f->out <= f->in) {
        f->form = FORM_UNIT_UP;
        f->rank = f->out;
    } else {
        f->form = FORM_UNIT_DOWN;
        f->rank = f->in;
    }
}

static int examine(found_module *f, const lx_lora_target *target, lx_error *err)
{
    const lx_lora_entry *e = f->entry;
    int rc;

    if ((rc = lx_delta_shape_of(&f->shape, e, err)) < 0)
        return rc;
    measure_layer(f, target->weight);
    if ((f->shape.out && f->shape.out != f->out) || (f->shape.in && f->shape.in != f->in))
        return lx_fail(err, LX_EMISMATCH,
                       "%s changes a layer of %zu x %zu, the base model's is %zu x %zu",
                       e->name, f->shape.out, f->shape.in, f->out, f->in);
    choose_form(f);
    if (f->rank < 1 || f->rank > MAX_RANK)
        return lx_fail(err, LX_EFORMAT, "%s: a rank of %zu makes no sense", e->name,
                       f->rank);
    return LX_OK;
}

/* Biases and norms are no layers that a LoRA hooks into. */
static bool changes_more_than_weights(const lx_lora_entry *e)
{
    return e->kind == LX_KIND_NORM || e->tensors[LX_ROLE_DIFF_B] ||
           e->tensors[LX_ROLE_B_NORM] || e->tensors[LX_ROLE_UP_BIAS];
}

static int sort_modules(found_module *found, const lx_lora_targets *targets,
                        const lx_lora_file *file, lx_error *err)
{
    if (file->n_unknown)
        return lx_fail(err, LX_EUNSUPPORTED, "\"%s\" is no part of a LoRA that lx knows",
                       file->unknown[0]->name);
    if (!file->n_modules)
        return lx_lora_file_fail_empty(file, err);
    for (size_t i = 0; i < file->n_modules; i++) {
        const lx_lora_entry *e = &file->modules[i];
        size_t target;
        int rc;

        if (changes_more_than_weights(e))
            return lx_fail(err, LX_EUNSUPPORTED,
                           "%s: it changes a bias or a norm, which cannot be done on a "
                           "loaded model",
                           e->name);
        if ((rc = lx_lora__match(&target, targets, e->name, err)) < 0)
            return rc;
        if (found[target].entry)
            return lx_fail(err, LX_EFORMAT, "\"%s\" and \"%s\" are the same layer",
                           found[target].entry->name, e->name);
        found[target].entry = e;
        if ((rc = examine(&found[target], &targets->items[target], err)) < 0)
            return rc;
    }
    return LX_OK;
}

/* ---- values ------------------------------------------------------------------------------- */

static int upload(lx_lora *lora, const lx_param *param, const double *values,
                  lx_error *err)
{
    const size_t n = lx_lora__size(param);
    float *rounded = lx_alloc(n * sizeof *rounded);
    int rc;

    if (!rounded)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        rounded[i] = (float)values[i];
    rc = lx_lora__put(lora, param, rounded, err);
    lx_free(rounded);
    return rc;
}

static int upload_plain(lx_lora *lora, lx_lora_module *m, const lx_lora_entry *e,
                        lx_error *err)
{
    lx_lora_factors f = {0};
    int rc = lx_lora_factors_read(&f, e, err);

    if (rc > 0)
        rc = lx_fail(err, LX_EUNSUPPORTED, "%s: values of type %s cannot be read",
                     e->name, lx_dtype_name(e->tensors[LX_ROLE_DOWN]->dtype));
    if (rc == LX_OK && (rc = lx_lora__put(lora, &m->down, f.down, err)) == LX_OK)
        rc = lx_lora__put(lora, &m->up, f.up, err);
    lx_lora_factors_release(&f);
    return rc;
}

/* The change [out, in] as values and a unit matrix [rank, rank]. */
static int make_dense(double *up, double *down, const found_module *f,
                      const lx_lora_target *target, lx_error *err)
{
    double *whole = f->form == FORM_UNIT_UP ? down : up;
    double *unit = f->form == FORM_UNIT_UP ? up : down, *base = NULL;
    lx_delta_base layer = {.out = f->out, .in = f->in, .window = f->window};
    int rc = LX_OK;

    if (lx_delta_needs_base(f->entry) &&
        (rc = lx_delta_read(&base, target->weight, err)) < 0)
        return rc;
    layer.values = base;
    rc = lx_delta_dense(whole, f->entry, &f->shape, base ? &layer : NULL, err);
    lx_free(base);
    for (size_t i = 0; i < f->rank; i++)
        unit[i * f->rank + i] = 1;
    return rc;
}

static int upload_made(lx_lora *lora, lx_lora_module *m, const found_module *f,
                       const lx_lora_target *target, lx_error *err)
{
    double *down = lx_calloc(f->rank * f->in, sizeof *down);
    double *up = lx_calloc(f->out * f->rank, sizeof *up);
    int rc = up && down ? LX_OK : lx_oom(err);

    if (rc == LX_OK)
        rc = f->form == FORM_FACTORS
                 ? lx_delta_factors(up, down, f->entry, &f->shape, err)
                 : make_dense(up, down, f, target, err);
    if (rc == LX_OK && (rc = upload(lora, &m->down, down, err)) == LX_OK)
        rc = upload(lora, &m->up, up, err);
    lx_free(up);
    lx_free(down);
    return rc;
}

/* A scale of its own stands for alpha / rank. */
static float alpha_of(const lx_lora_entry *e)
{
    return (float)(e->tensors[LX_ROLE_SCALE] ? lx_lora_entry_scale(e) * (double)e->rank
                                             : e->alpha);
}

/* lora/delta's values have the scale in them already. */
static int add_found(lx_lora *lora, const lx_lora_targets *targets,
                     const found_module *found, bool is_trainable, lx_error *err)
{
    size_t next = 0;
    int rc = LX_OK;

    for (size_t i = 0; i < targets->count && rc == LX_OK; i++)
        if (found[i].entry)
            rc = lx_lora__add(lora, &targets->items[i], (int)found[i].rank,
                              found[i].form == FORM_AS_IT_IS ? alpha_of(found[i].entry)
                                                             : (float)found[i].rank,
                              err);
    if (rc < 0 || (rc = lx_lora__place(lora, is_trainable, err)) < 0)
        return rc;
    for (size_t i = 0; i < targets->count && rc == LX_OK; i++) {
        lx_lora_module *m = &lora->modules[next];
        if (!found[i].entry)
            continue;
        rc = found[i].form == FORM_AS_IT_IS
                 ? upload_plain(lora, m, found[i].entry, err)
                 : upload_made(lora, m, &found[i], &targets->items[i], err);
        next++;
    }
    return rc;
}

int lx_lora_open_any(lx_lora **out, lx_device *dev, lx_checkpoint *ckpt,
                     const lx_sd_config *config, const char *path, bool is_trainable,
                     lx_error *err)
{
    const lx_lora_targets *targets;
    found_module *found;
    lx_lora_opening opening;
    lx_lora_file *file = NULL;
    lx_lora *lora = NULL;
    int rc;

    *out = NULL;
    if ((rc = lx_lora__begin(&opening, ckpt, config, sizeof *found, err)) < 0)
        goto done;
    found = opening.found;
    targets = &opening.targets;
    if ((rc = lx_lora_file_open(&file, path, err)) < 0 ||
        (rc = sort_modules(found, targets, file, err)) < 0 ||
        (rc = lx_lora__new(&lora, dev, targets->count, err)) < 0 ||
        (rc = add_found(lora, targets, found, is_trainable, err)) < 0) {
        lx_within(err, "%s", path);
        goto done;
    }
    *out = lora;
    lora = NULL;
done:
    lx_lora_free(lora);
    lx_lora_file_close(file);
    lx_lora__end(&opening);
    return rc;
}
