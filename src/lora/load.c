/* LoRA files in the kohya dialect. Names: docs/formats, "kohya". */
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/module.h"

/* What a file holds for one target. */
typedef struct found_module {
    const lx_tensor_view *down, *up, *alpha;
    bool is_left_out; /* there is to be none */
    bool is_new;      /* nothing, and yet there is to be one */
} found_module;

/* "NAME.lora_down.weight" -> the slot for it; NULL when the suffix is not one of kohya's. */
static const lx_tensor_view **slot_of(found_module *found, const char *suffix)
{
    if (strcmp(suffix, ".lora_down.weight") == 0)
        return &found->down;
    if (strcmp(suffix, ".lora_up.weight") == 0)
        return &found->up;
    if (strcmp(suffix, ".alpha") == 0)
        return &found->alpha;
    return NULL;
}

static int target_of(const lx_lora_targets *targets, const char *name, size_t n)
{
    for (size_t i = 0; i < targets->count; i++)
        if (strncmp(targets->items[i].name, name, n) == 0 &&
            targets->items[i].name[n] == 0)
            return (int)i;
    return -1;
}

static int sort_tensors(found_module *found, const lx_lora_targets *targets,
                        const lx_tensor_file *file, lx_error *err)
{
    for (size_t i = 0; i < lx_tensor_file_count(file); i++) {
        const lx_tensor_view *view = lx_tensor_file_at(file, i);
        const char *suffix = strchr(view->name, '.');
        const lx_tensor_view **slot = NULL;
        found_module none;
        int target;

        if (strncmp(view->name, "lora_", 5) != 0 || !suffix)
            return lx_fail(err, LX_EUNSUPPORTED,
                           "\"%s\" is not a name of a LoRA in kohya's format",
                           view->name);
        if (!slot_of(&none, suffix))
            return lx_fail(
                err, LX_EUNSUPPORTED,
                "\"%s\" is not part of a plain LoRA, a LoHa or a LoKr (DoRA and the like "
                "cannot be trained further)",
                view->name);
        target = target_of(targets, view->name, (size_t)(suffix - view->name));
        if (target < 0)
            return lx_fail(
                err, LX_EMISMATCH,
                "\"%s\": the base model has no such layer (a LoRA of another kind of "
                "model?)",
                view->name);
        slot = slot_of(&found[target], suffix);
        *slot = view;
    }
    return 0;
}

/* The dimension, or 1 beyond the last, so that [r, n] and [r, n, 1, 1] are the same. */
static int64_t dim(const lx_tensor_view *view, int i)
{
    return i < view->n_dims ? view->shape[i] : 1;
}

static int check_shapes(const found_module *found, const lx_lora_target *target,
                        lx_error *err)
{
    enum { MAX_RANK = 1 << 16 };
    const lx_tensor_view *down = found->down, *up = found->up, *w = target->weight;

    if (!down || !up)
        return lx_fail(err, LX_EFORMAT, "%s has no lora_%s.weight", target->name,
                       down ? "up" : "down");
    if ((down->n_dims != 2 && down->n_dims != 4) || (up->n_dims != 2 && up->n_dims != 4))
        return lx_fail(err, LX_EFORMAT,
                       "%s: up has %d dimensions, down %d; both must be matrices "
                       "or convolutions",
                       target->name, up->n_dims, down->n_dims);
    if (down->shape[0] != up->shape[1])
        return lx_fail(err, LX_EMISMATCH, "%s: up has rank %lld, down has rank %lld",
                       target->name, (long long)up->shape[1], (long long)down->shape[0]);
    if (down->shape[0] < 1 || down->shape[0] > MAX_RANK)
        return lx_fail(err, LX_EFORMAT, "%s: a rank of %lld makes no sense", target->name,
                       (long long)down->shape[0]);
    for (int i = 1; i < 4; i++)
        if (dim(down, i) != dim(w, i))
            return lx_fail(err, LX_EMISMATCH,
                           "%s: down takes [%lld, %lld, %lld], the base model's layer "
                           "[%lld, %lld, %lld]",
                           target->name, (long long)dim(down, 1), (long long)dim(down, 2),
                           (long long)dim(down, 3), (long long)dim(w, 1),
                           (long long)dim(w, 2), (long long)dim(w, 3));
    if (up->shape[0] != w->shape[0] || dim(up, 2) != 1 || dim(up, 3) != 1)
        return lx_fail(err, LX_EMISMATCH,
                       "%s: up gives %lld values, the base model's layer %lld",
                       target->name, (long long)up->shape[0], (long long)w->shape[0]);
    return 0;
}

/* Any dtype: F16, BF16 and F32 from trainers, I64 when the peer's default 1 was saved. 0 is the rank, as where the peer
 * makes a module (networks/lora.py). */
static int read_alpha(float *out, const found_module *found, const char *name,
                      lx_error *err)
{
    int rc;

    *out = (float)found->down->shape[0];
    if (!found->alpha)
        return 0;
    if (found->alpha->n_elements != 1)
        return lx_fail(err, LX_EFORMAT, "%s.alpha has %zu values, not one", name,
                       found->alpha->n_elements);
    if ((rc = lx_to_f32(out, found->alpha->data, found->alpha->dtype, 1)) < 0)
        return lx_fail(err, rc, "%s.alpha: a number of type %s cannot be read", name,
                       lx_dtype_name(found->alpha->dtype));
    if (!isfinite(*out))
        return lx_fail(err, LX_EFORMAT, "%s.alpha is not a finite number", name);
    if (*out == 0)
        *out = (float)found->down->shape[0];
    return 0;
}

static int upload(lx_lora *lora, const lx_param *param, const lx_tensor_view *view,
                  lx_error *err)
{
    float *values = lx_alloc(view->n_elements * sizeof(float));
    int rc;

    if (!values)
        return lx_oom(err);
    if ((rc = lx_to_f32(values, view->data, view->dtype, view->n_elements)) < 0)
        lx_fail(err, rc, "%s: values of type %s cannot be read", view->name,
                lx_dtype_name(view->dtype));
    else
        rc = lx_lora__put(lora, param, values, err);
    lx_free(values);
    return rc;
}

/* A layer that the file has and that is not trained. */
static bool is_left_out(lx_lora_start *start, const lx_lora_target *target)
{
    const lx_lora_spec *spec = start->spec;
    double alpha;
    int rank;

    if (!(target->part == LX_UNET ? spec->has_unet : spec->has_text_encoder))
        return true;
    if (!spec->has_block_ranks || target->part != LX_UNET || target->kind != LX_TARGET_LINEAR ||
        lx_lora__choose(&rank, &alpha, spec, target))
        return false;
    start->has_idle_blocks = true;
    return true;
}

/* One that it has not and that is. first: a module of the file. */
static int add_new(lx_lora *lora, found_module *found, lx_lora_start *start,
                   const lx_lora_target *target, const found_module *first, lx_error *err)
{
    double alpha;
    float first_alpha;
    int rank, rc = LX_OK;

    if (start->has_no_more || !lx_lora__choose(&rank, &alpha, start->spec, target))
        return LX_OK;
    if (!start->has_rank && target->kind != LX_TARGET_CONV &&
        !start->spec->has_block_ranks) {
        if ((rc = read_alpha(&first_alpha, first, "the first module", err)) < 0)
            return rc;
        rank = (int)first->down->shape[0];
        alpha = (double)first_alpha;
    }
    found->is_new = true;
    start->n_new++;
    return lx_lora__add(lora, target, rank, (float)alpha, err);
}

/* start NULL: what the file has and nothing else. */
static int add_found(lx_lora *lora, const lx_lora_targets *targets, found_module *found,
                     lx_lora_start *start, lx_error *err)
{
    const found_module *first = NULL;

    for (size_t i = 0; i < targets->count; i++) {
        const lx_lora_target *target = &targets->items[i];
        int rc;

        if (!found[i].down && !found[i].up && !found[i].alpha)
            continue;
        if ((rc = check_shapes(&found[i], target, err)) < 0)
            return rc;
        if (!first && target->kind != LX_TARGET_CONV)
            first = &found[i];
    }
    for (size_t i = 0; i < targets->count; i++) {
        const lx_lora_target *target = &targets->items[i];
        float alpha;
        int rc = LX_OK;

        if (!found[i].down) {
            if (start && first)
                rc = add_new(lora, &found[i], start, target, first, err);
        } else if (start && is_left_out(start, target)) {
            found[i].is_left_out = true;
            start->n_left_out++;
        } else if ((rc = read_alpha(&alpha, &found[i], target->name, err)) == LX_OK) {
            rc = lx_lora__add(lora, target, (int)found[i].down->shape[0], alpha, err);
        }
        if (rc < 0)
            return rc;
    }
    if (lora->count == 0)
        return lx_fail(err, LX_EFORMAT,
                       first ? "none of its modules is trained"
                             : "no LoRA modules in it");
    return 0;
}

static int upload_new(lx_lora *lora, const lx_lora_module *module, uint64_t seed,
                      lx_error *err)
{
    float *values = lx_alloc(lx_lora__size(&module->down) * sizeof *values);
    int rc;

    if (!values)
        return lx_oom(err);
    lx_lora__draw_down(values, module, seed);
    rc = lx_lora__put(lora, &module->down, values, err);
    lx_free(values);
    return rc;
}

static int upload_found(lx_lora *lora, const lx_lora_targets *targets,
                        const found_module *found, const lx_lora_start *start,
                        lx_error *err)
{
    size_t next = 0;
    int rc;

    for (size_t i = 0; i < targets->count; i++) {
        lx_lora_module *module = &lora->modules[next];

        if (found[i].is_left_out || (!found[i].down && !found[i].is_new))
            continue;
        if (found[i].is_new)
            rc = upload_new(lora, module, start->seed, err);
        else if ((rc = upload(lora, &module->down, found[i].down, err)) == LX_OK)
            rc = upload(lora, &module->up, found[i].up, err);
        if (rc < 0)
            return rc;
        next++;
    }
    return 0;
}

static bool is_of_lycoris(const lx_tensor_file *file)
{
    for (size_t i = 0; i < lx_tensor_file_count(file); i++) {
        const char *name = lx_tensor_file_at(file, i)->name;
        if (strstr(name, ".hada_") || strstr(name, ".lokr_"))
            return true;
    }
    return false;
}

/* Takes *file. */
static int open_lycoris(lx_lora **out, lx_device *dev, const lx_lora_targets *targets,
                        lx_tensor_file **file, bool is_trainable, lx_error *err)
{
    lx_lora_file *of = NULL;
    int rc = lx_lora_file_of(&of, *file, err);

    if (rc < 0)
        return rc;
    *file = NULL;
    rc = lx_lora__open_lycoris(out, dev, targets, of, is_trainable, err);
    lx_lora_file_close(of);
    return rc;
}

/* Modules of LoHa and LoKr are all trained or none. */
static int check_parts(const lx_lora *lora, const lx_lora_spec *spec, lx_error *err)
{
    for (size_t i = 0; i < lora->count; i++)
        if (!(lora->modules[i].part == LX_UNET ? spec->has_unet : spec->has_text_encoder))
            return lx_fail(err, LX_EUNSUPPORTED,
                           "it has modules of the %s, which is not trained: those of a "
                           "LoHa or LoKr cannot be left out",
                           lora->modules[i].part == LX_UNET ? "UNet" : "text encoder");
    return LX_OK;
}

/* start NULL: all of it. */
static int open_file(lx_lora **out, lx_lora_start *start, lx_device *dev,
                     lx_checkpoint *ckpt, const lx_sd_config *config, const char *path,
                     bool is_trainable, lx_error *err)
{
    const lx_lora_targets *targets;
    found_module *found;
    lx_lora_opening opening;
    lx_tensor_file *file = NULL;
    lx_lora *lora = NULL;
    int rc;

    *out = NULL;
    if ((rc = lx_lora__begin(&opening, ckpt, config, sizeof *found, err)) < 0)
        goto done;
    found = opening.found;
    targets = &opening.targets;
    if ((rc = lx_tensor_file_open(&file, path, err)) == LX_OK && is_of_lycoris(file)) {
        if ((rc = open_lycoris(&lora, dev, targets, &file, is_trainable, err)) == LX_OK &&
            (!start || (rc = check_parts(lora, start->spec, err)) == LX_OK)) {
            *out = lora;
            lora = NULL;
        } else {
            lx_within(err, "%s", path);
        }
        goto done;
    }
    if (rc < 0 || (rc = sort_tensors(found, targets, file, err)) < 0 ||
        (rc = lx_lora__new(&lora, dev, targets->count, err)) < 0 ||
        (rc = add_found(lora, targets, found, start, err)) < 0 ||
        (rc = lx_lora__place(lora, is_trainable, err)) < 0 ||
        (rc = upload_found(lora, targets, found, start, err)) < 0) {
        lx_within(err, "%s", path);
        goto done;
    }
    *out = lora;
    lora = NULL;
done:
    lx_lora_free(lora);
    lx_tensor_file_close(file);
    lx_lora__end(&opening);
    return rc;
}

int lx_lora_open(lx_lora **out, lx_device *dev, lx_checkpoint *ckpt,
                 const lx_sd_config *config, const char *path, bool is_trainable,
                 lx_error *err)
{
    return open_file(out, NULL, dev, ckpt, config, path, is_trainable, err);
}

int lx_lora_open_on(lx_lora **out, lx_lora_start *start, lx_device *dev,
                    lx_checkpoint *ckpt, const lx_sd_config *config, const char *path,
                    lx_error *err)
{
    start->n_left_out = start->n_new = 0;
    return open_file(out, start, dev, ckpt, config, path, true, err);
}
