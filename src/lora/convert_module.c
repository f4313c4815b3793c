/* One module in another spelling: its name, the suffixes of its tensors, and where its alpha goes. */
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/lora/convert_internal.h"
#include "src/lora/delta.h"

/* ---- suffixes ------------------------------------------------------------------------------- */

/* LyCORIS' and sd-scripts', which ComfyUI reads too. NULL: sd-scripts' spelling has no such tensor. */
static const char *const plain_suffixes[LX_ROLE_COUNT] = {
    [LX_ROLE_DOWN] = ".lora_down.weight",
    [LX_ROLE_UP] = ".lora_up.weight",
    [LX_ROLE_MID] = ".lora_mid.weight",
    [LX_ROLE_ALPHA] = ".alpha",
    [LX_ROLE_DORA] = ".dora_scale",
    [LX_ROLE_HADA_W1_A] = ".hada_w1_a",
    [LX_ROLE_HADA_W1_B] = ".hada_w1_b",
    [LX_ROLE_HADA_W2_A] = ".hada_w2_a",
    [LX_ROLE_HADA_W2_B] = ".hada_w2_b",
    [LX_ROLE_HADA_T1] = ".hada_t1",
    [LX_ROLE_HADA_T2] = ".hada_t2",
    [LX_ROLE_LOKR_W1] = ".lokr_w1",
    [LX_ROLE_LOKR_W1_A] = ".lokr_w1_a",
    [LX_ROLE_LOKR_W1_B] = ".lokr_w1_b",
    [LX_ROLE_LOKR_W2] = ".lokr_w2",
    [LX_ROLE_LOKR_W2_A] = ".lokr_w2_a",
    [LX_ROLE_LOKR_W2_B] = ".lokr_w2_b",
    [LX_ROLE_LOKR_T2] = ".lokr_t2",
    [LX_ROLE_DIFF] = ".diff",
    [LX_ROLE_DIFF_B] = ".diff_b",
    [LX_ROLE_W_NORM] = ".w_norm",
    [LX_ROLE_B_NORM] = ".b_norm",
    [LX_ROLE_IA3_WEIGHT] = ".weight",
    [LX_ROLE_IA3_ON_INPUT] = ".on_input",
    [LX_ROLE_GLORA_A1] = ".a1.weight",
    [LX_ROLE_GLORA_A2] = ".a2.weight",
    [LX_ROLE_GLORA_B1] = ".b1.weight",
    [LX_ROLE_GLORA_B2] = ".b2.weight",
    [LX_ROLE_GLORA_BM] = ".bm.weight",
    [LX_ROLE_OFT_BLOCKS] = ".oft_blocks",
    [LX_ROLE_OFT_RESCALE] = ".rescale",
};

static bool has_alphas(lx_spelling s)
{
    return s == LX_SPELL_KOHYA || s == LX_SPELL_COMFYUI;
}

static bool is_text(const lx_module_place *p)
{
    return p->part == LX_LORA_TEXT_ENCODER || p->part == LX_LORA_TEXT_ENCODER_2 ||
           p->part == LX_LORA_TEXT_ENCODER_3;
}

/* NULL: the spelling has none. */
static const char *suffix_of(lx_lora_role r, lx_spelling s, const lx_module_place *p,
                             const lx_lora_entry *e)
{
    const bool is_down = r == LX_ROLE_DOWN;

    if (s == LX_SPELL_COMFYUI && e->kind == LX_KIND_LORA && (is_down || r == LX_ROLE_UP))
        return is_down ? ".lora_A.weight" : ".lora_B.weight";
    if (has_alphas(s))
        return r == LX_ROLE_UP_BIAS ? ".diff_b" : plain_suffixes[r];
    if (r == LX_ROLE_DORA && s != LX_SPELL_DIFFUSERS_OLD)
        return ".lora_magnitude_vector";
    if (r == LX_ROLE_UP_BIAS && (s == LX_SPELL_PEFT || (!p->is_unet && !is_text(p))))
        return ".lora_B.bias";
    if (!is_down && r != LX_ROLE_UP)
        return NULL;
    if (s == LX_SPELL_DIFFUSERS_OLD)
        return is_down ? "_lora.down.weight" : "_lora.up.weight";
    if (s == LX_SPELL_DIFFUSERS && is_text(p))
        return is_down ? ".lora_linear_layer.down.weight"
                       : ".lora_linear_layer.up.weight";
    if (s == LX_SPELL_DIFFUSERS && p->is_unet)
        return is_down ? ".lora.down.weight" : ".lora.up.weight";
    return is_down ? ".lora_A.weight" : ".lora_B.weight";
}

/* What stands beside factors is numbers that can be multiplied and rounded. */
static int check_bias(const lx_lora_entry *e, lx_error *err)
{
    const lx_tensor_view *t = e->tensors[LX_ROLE_UP_BIAS]; /* the factors' own are in `problem` */

    if (t && !lx_convert__is_number(t->dtype))
        return lx_fail(err, LX_EUNSUPPORTED, "%s: values of type %s are no factors",
                       t->name, lx_dtype_name(t->dtype));
    return LX_OK;
}

/* Can the spelling say it at all? */
static int check_kind(const lx_lora_entry *e, lx_spelling s, lx_error *err)
{
    int rc;

    if (e->problem)
        return lx_fail(err, LX_EFORMAT, "%s: %s", e->name, e->problem);
    if ((rc = check_bias(e, err)) < 0)
        return rc;
    if (has_alphas(s) || e->kind == LX_KIND_LORA) {
        if (!e->has_dora || s != LX_SPELL_DIFFUSERS_OLD)
            return LX_OK;
    }
    if (lx_delta_needs_base(e))
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "%s: %s has no names for %s: lx merge --into BASE and lx extract make it "
            "a LoRA",
            e->name, lx_spelling_names[s],
            e->has_dora ? "DoRA" : lx_lora_kind_name(e->kind));
    return lx_fail(err, LX_EUNSUPPORTED,
                   "%s: %s has no names for %s: lx resize --error 1%% makes it a LoRA",
                   e->name, lx_spelling_names[s], lx_lora_kind_name(e->kind));
}

/* ---- values that change ----------------------------------------------------------------------- */

static double rounded(double x, lx_dtype dtype)
{
    const float narrow = (float)x;
    double bits = 0;

    if (dtype == LX_F64)
        return x;
    lx_from_f32(&bits, dtype, &narrow, 1);
    lx_to_f64(&x, &bits, dtype, 1);
    return x;
}

/*
 * The view's values times (or over) a factor, in `dtype`. *is_exact stays true when the inverse, rounded to the
 * dtype that the values had, gives their bits again.
 */
static int scale_tensor(lx_tensor_view *view, bool *is_exact, lx_convert *c,
                        lx_dtype dtype, double factor, bool is_divided, lx_error *err)
{
    const size_t width = (size_t)lx_dtype_bits(view->dtype) / 8,
                 new_width = (size_t)lx_dtype_bits(dtype) / 8;
    const char *from = view->data;
    char *to;
    double x;

    if (lx_to_f64(&x, from, view->dtype, 0) < 0)
        return lx_fail(err, LX_EUNSUPPORTED, "%s: values of type %s cannot be read",
                       view->name, lx_dtype_name(view->dtype));
    if (!(to = lx_convert__own(c, view->n_elements * new_width, err)))
        return LX_ENOMEM;
    for (size_t i = 0; i < view->n_elements; i++) {
        float narrow;
        double y;
        lx_to_f64(&x, from + i * width, view->dtype, 1);
        y = rounded(is_divided ? x / factor : x * factor, dtype);
        if (isfinite(x) && !isfinite(y))
            return lx_fail(
                err, LX_ELIMIT,
                "%s: with alpha / rank = %g it is too large for %s: add --precision "
                "f32",
                view->name, factor, lx_dtype_name(dtype));
        *is_exact &= rounded(is_divided ? y * factor : y / factor, view->dtype) == x;
        narrow = (float)y;
        if (dtype == LX_F64)
            memcpy(to + i * new_width, &y, sizeof y);
        else
            lx_from_f32(to + i * new_width, dtype, &narrow, 1);
    }
    view->data = to;
    view->dtype = dtype;
    view->bytes = view->n_elements * new_width;
    return LX_OK;
}

/* A magnitude per output row, as the spelling shapes it: [out], of a convolution [1, out, 1, 1]; with alphas
 * [out, 1(, 1, 1)]. */
static int shape_magnitude(lx_tensor_view *view, const lx_lora_entry *e, lx_spelling s,
                           lx_error *err)
{
    const lx_tensor_view *up = e->tensors[LX_ROLE_UP];
    const bool is_per_row =
        up && view->n_elements == (size_t)up->shape[0] &&
        (view->n_dims < 2 || lx_delta_has_row_magnitudes(view, (size_t)up->shape[0]));
    const int64_t out = up ? up->shape[0] : 0;

    if (has_alphas(s) && (!is_per_row || (view->n_dims >= 2 && view->shape[0] == out)))
        return LX_OK; /* as it is */
    if (!is_per_row)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s: magnitudes per input column, for which %s has no name",
                       view->name, lx_spelling_names[s]);
    view->n_dims = up->n_dims == 4 ? 4 : has_alphas(s) ? 2 : 1;
    for (int i = 0; i < view->n_dims; i++)
        view->shape[i] = 1;
    view->shape[!has_alphas(s) && view->n_dims == 4 ? 1 : 0] = out;
    return LX_OK;
}

/* ---- alphas ------------------------------------------------------------------------------------- */

/* What went into up when the file was made, by its own note. */
static double noted_scale(const lx_convert_source *s, const lx_lora_entry *e)
{
    const cJSON *one = cJSON_GetObjectItemCaseSensitive(s->scales, e->name);
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(s->scales, "*");
    const double scale = cJSON_IsNumber(one)   ? one->valuedouble
                         : cJSON_IsNumber(all) ? all->valuedouble
                                               : 1;

    return isnormal((float)scale) ? scale : 1;
}

/* In the dtype of the factors where that has the number, else in F32. */
static int put_alpha(lx_convert *c, int part, const lx_convert_source *s,
                     const lx_lora_entry *e, const char *module, double alpha,
                     lx_error *err)
{
    const lx_tensor_view *old = e->tensors[LX_ROLE_ALPHA],
                         *like = e->tensors[LX_ROLE_DOWN];
    lx_tensor_view view = {.name = e->name,
                           .dtype = old              ? old->dtype
                                    : s->alphas >= 0 ? (lx_dtype)s->alphas
                                    : like           ? like->dtype
                                                     : LX_F32,
                           .n_elements = 1};
    const float value = (float)alpha;
    double now = 0, kept;

    if (old && lx_to_f64(&now, old->data, old->dtype, 1) == 0 && now == alpha)
        return lx_convert__put(c, part, old->name, module, ".alpha", old, err);
    if (lx_from_f32(&now, view.dtype, &value, 1) < 0 || lx_dtype_bits(view.dtype) < 16 ||
        lx_to_f64(&kept, &now, view.dtype, 1) < 0 || kept != (double)value)
        view.dtype = LX_F32;
    view.bytes = (size_t)lx_dtype_bits(view.dtype) / 8;
    if (!(view.data = lx_convert__own(c, view.bytes, err)))
        return LX_ENOMEM;
    lx_from_f32((void *)view.data, view.dtype, &value, 1);
    return lx_convert__put(c, part, old ? old->name : NULL, module, ".alpha", &view, err);
}

/* What happens to alpha / rank of a LoRA. */
typedef struct scale_plan {
    double scale; /* into up, or out of it again */
    double alpha; /* of the result */
    bool is_fold, is_restore;
} scale_plan;

static scale_plan plan_scale(lx_convert_result *out, const lx_convert_source *s,
                             const lx_lora_entry *e, lx_spelling to)
{
    const double scale = lx_lora_entry_scale(e), rank = (double)e->rank;
    scale_plan p = {.scale = 1, .alpha = scale * rank};
    double stored;

    /* alpha / rank * rank need not be alpha to the last bit. */
    if (!e->tensors[LX_ROLE_SCALE])
        p.alpha = e->alpha;
    if (e->kind != LX_KIND_LORA)
        return p;
    if (e->tensors[LX_ROLE_ALPHA] && lx_to_f64(&stored, e->tensors[LX_ROLE_ALPHA]->data,
                                               e->tensors[LX_ROLE_ALPHA]->dtype, 1) == 0)
        out->n_zero_alphas += stored == 0;
    if (to == LX_SPELL_DIFFUSERS || to == LX_SPELL_DIFFUSERS_OLD) {
        p.is_fold = scale != 1;
        p.scale = scale;
        p.alpha = rank;
    } else if (scale == 1 && !e->tensors[LX_ROLE_ALPHA] && noted_scale(s, e) != 1) {
        p.is_restore = true;
        p.scale = noted_scale(s, e);
        p.alpha = noted_scale(s, e) * rank;
    }
    return p;
}

/* Is every product a number of the view's type? */
static bool holds_products(const lx_tensor_view *view, double scale)
{
    const size_t width = (size_t)lx_dtype_bits(view->dtype) / 8;

    for (size_t i = 0; i < view->n_elements; i++) {
        double x;
        lx_to_f64(&x, (const char *)view->data + i * width, view->dtype, 1);
        if (rounded(x * scale, view->dtype) != x * scale)
            return false;
    }
    return true;
}

/* Half precision that cannot hold the product exactly is widened, unless a precision is asked for anyway. */
static int fold_tensor(lx_tensor_view *view, bool *is_exact, lx_convert *c, double scale,
                       bool may_widen, lx_error *err)
{
    const bool is_narrow = view->dtype == LX_F16 || view->dtype == LX_BF16;
    const bool widens = is_narrow && may_widen && !holds_products(view, scale);

    return scale_tensor(view, is_exact, c, widens ? LX_F32 : view->dtype, scale, false, err);
}

static int fold_scale(lx_convert_result *out, lx_tensor_view *view, lx_convert *c,
                      const scale_plan *plan, bool may_widen, lx_error *err)
{
    const lx_dtype old = view->dtype;
    bool is_exact = true;
    int rc = fold_tensor(view, &is_exact, c, plan->scale, may_widen, err);

    out->n_widened += view->dtype != old;
    out->n_folded++;
    out->n_inexact += !is_exact;
    return rc;
}

/* In the precision of down, which it had before it was widened, else in its own; otherwise nothing is done. */
static int restore_tensor(bool *is_exact, lx_tensor_view *view, lx_convert *c,
                          const lx_lora_entry *e, double scale, lx_error *err)
{
    const lx_tensor_view old = *view;
    const lx_dtype tries[2] = {e->tensors[LX_ROLE_DOWN]->dtype, old.dtype};

    for (int i = 0; i < 2; i++) {
        *is_exact = true;
        const int rc = scale_tensor(view, is_exact, c, tries[i], scale, true, err);
        if (rc < 0 && rc != LX_ELIMIT)
            return rc;
        if (rc == LX_OK && *is_exact)
            return LX_OK;
        *view = old;
    }
    *is_exact = false;
    return LX_OK;
}

static int restore_scale(lx_convert_result *out, lx_tensor_view *view, lx_convert *c,
                         const lx_lora_entry *e, scale_plan *plan, lx_error *err)
{
    bool is_exact;
    int rc = restore_tensor(&is_exact, view, c, e, plan->scale, err);

    if (rc < 0)
        return rc;
    out->n_restored += is_exact;
    if (!is_exact) {
        plan->alpha = (double)e->rank;
        plan->is_restore = false;
    }
    return LX_OK;
}

static int put_up(lx_convert_result *out, lx_convert *c, int part, const lx_lora_entry *e,
                  const char *module, const char *suffix, scale_plan *plan,
                  bool may_widen, lx_error *err)
{
    lx_tensor_view view = *e->tensors[LX_ROLE_UP];
    int rc = LX_OK;

    if (plan->is_fold)
        rc = fold_scale(out, &view, c, plan, may_widen, err);
    else if (plan->is_restore)
        rc = restore_scale(out, &view, c, e, plan, err);
    return rc < 0 ? rc : lx_convert__put(c, part, view.name, module, suffix, &view, err);
}

/* ---- the module ----------------------------------------------------------------------------------- */

/*
 * A bias behind up is scaled with it, `.diff_b` is not: so what goes into up, or out of it, goes into the bias. up comes
 * first and knows whether it does. A bias that cannot be divided without loss is divided as well as it can be.
 */
static int scale_bias(lx_tensor_view *view, lx_convert *c, const lx_lora_entry *e,
                      const scale_plan *plan, const lx_convert_options *o, lx_error *err)
{
    bool is_exact = true;
    int rc = LX_OK;

    if (has_alphas(o->to) && lx_lora_entry_scale(e) != 1)
        return scale_tensor(view, &is_exact, c, view->dtype, lx_lora_entry_scale(e),
                            false, err);
    if (plan->is_fold)
        return fold_tensor(view, &is_exact, c, plan->scale, !o->has_dtype, err);
    if (!plan->is_restore || has_alphas(o->to))
        return LX_OK;
    rc = restore_tensor(&is_exact, view, c, e, plan->scale, err);
    if (rc == LX_OK && !is_exact)
        rc = scale_tensor(view, &is_exact, c, view->dtype, plan->scale, true, err);
    return rc;
}

static int put_tensor(lx_convert *c, int part, const lx_lora_entry *e, lx_lora_role r,
                      const char *module, const char *suffix, const scale_plan *plan,
                      const lx_convert_options *o, lx_error *err)
{
    lx_tensor_view view = *e->tensors[r];
    int rc = LX_OK;

    if (r == LX_ROLE_DORA)
        rc = shape_magnitude(&view, e, o->to, err);
    else if (r == LX_ROLE_UP_BIAS)
        rc = scale_bias(&view, c, e, plan, o, err);
    return rc < 0 ? rc : lx_convert__put(c, part, view.name, module, suffix, &view, err);
}

static int put_module(lx_convert_result *out, lx_convert *c, const lx_convert_source *s,
                      const lx_lora_entry *e, const lx_convert_options *o,
                      const lx_module_place *p, const char *module, int part,
                      lx_error *err)
{
    const lx_spelling to = o->to;
    scale_plan plan = plan_scale(out, s, e, to);
    int rc = LX_OK;

    for (int r = 0; r < LX_ROLE_COUNT && rc == LX_OK; r++) {
        const char *suffix = suffix_of((lx_lora_role)r, to, p, e);
        if (!e->tensors[r] || r == LX_ROLE_ALPHA || r == LX_ROLE_SCALE)
            continue;
        if (!suffix)
            rc = lx_fail(err, LX_EUNSUPPORTED,
                         "%s: %s has no name for it: --drop '%s' leaves it out",
                         e->tensors[r]->name, lx_spelling_names[to], e->tensors[r]->name);
        else if (r == LX_ROLE_UP && e->kind == LX_KIND_LORA)
            rc = put_up(out, c, part, e, module, suffix, &plan, !o->has_dtype, err);
        else
            rc = put_tensor(c, part, e, (lx_lora_role)r, module, suffix, &plan, o, err);
    }
    if (rc < 0)
        return rc;
    out->n_lora += e->kind == LX_KIND_LORA;
    out->rank = out->n_modules == 0 || out->rank == e->rank ? e->rank : 0;
    out->has_uneven_ranks |= out->ranks[p->part] && out->ranks[p->part] != e->rank;
    out->ranks[p->part] = e->rank;
    out->alpha = out->n_modules == 0 || out->alpha == plan.alpha ? plan.alpha : 0;
    out->n_modules++;
    if (has_alphas(to) && e->rank)
        rc = put_alpha(c, part, s, e, module, plan.alpha, err);
    else if (has_alphas(to) && e->tensors[LX_ROLE_ALPHA]) /* OFT's constraint */
        rc = lx_convert__put(c, part, e->tensors[LX_ROLE_ALPHA]->name, module, ".alpha",
                             e->tensors[LX_ROLE_ALPHA], err);
    if (rc < 0 || e->kind != LX_KIND_LORA)
        return rc;
    if (lx_grow(&c->facts, &c->facts_capacity, c->n_facts + 1, sizeof *c->facts) < 0)
        return lx_oom(err);
    c->facts[c->n_facts] =
        (lx_convert_fact){.module = module,
                          .path = lx_arena_strdup(c->arena, lx_str_text(&p->path)),
                          .part = part,
                          .rank = e->rank,
                          .alpha = plan.alpha,
                          .scale = plan.is_fold ? plan.scale : 1,
                          .has_dora = e->has_dora,
                          .has_bias = e->tensors[LX_ROLE_UP_BIAS] != NULL};
    return c->facts[c->n_facts++].path ? LX_OK : lx_oom(err);
}

/* Which file of PEFT's a module goes to. */
static int part_of(const lx_module_place *p, lx_spelling to)
{
    if (to != LX_SPELL_PEFT)
        return 0;
    return p->part == LX_LORA_TEXT_ENCODER     ? 1
           : p->part == LX_LORA_TEXT_ENCODER_2 ? 2
           : p->part == LX_LORA_TEXT_ENCODER_3 ? 3
           : p->is_unet                        ? 0
                                               : 4;
}

/* Names that a conversion doubled the prefix of, or took the dot before the suffix from. */
static bool is_damaged(const lx_lora_entry *e)
{
    const lx_tensor_view *down = e->tensors[LX_ROLE_DOWN];

    return lx_starts_with(e->name, "lora_unet_unet_") ||
           lx_starts_with(e->name, "lora_te_text_encoder_") ||
           (lx_starts_with(e->name, "lora_") && down &&
            lx_ends_with(down->name, "_lora_down.weight"));
}

int lx_convert__place(lx_convert_result *out, lx_convert *c, const lx_convert_source *s,
                      const lx_lora_entry *e, const lx_convert_options *o,
                      const lx_module_place *place, lx_error *err)
{
    lx_str name = LX_STR_INIT;
    const char *module;
    int rc = lx_lora_spell(&name, o->to, place, &out->model, e->name, err);

    if (rc == LX_OK && !(module = lx_arena_strdup(c->arena, lx_str_text(&name))))
        rc = lx_oom(err);
    if (rc == LX_OK)
        rc = put_module(out, c, s, e, o, place, module, part_of(place, o->to), err);
    out->n_t5 += place->part == LX_LORA_TEXT_ENCODER_3;
    lx_str_release(&name);
    return rc;
}

int lx_convert__module(lx_convert_result *out, lx_convert *c, const lx_convert_source *s,
                       const lx_lora_entry *e, const lx_convert_options *o, lx_error *err)
{
    lx_module_place place = {0};
    bool is_done = false;
    int rc;

    if ((rc = check_kind(e, o->to, err)) < 0 ||
        (rc = lx_module_place_of(&place, e->name, err)) < 0)
        return rc;
    if (s->part != LX_LORA_PART_COUNT)
        place.part = s->part;
    if (place.part == LX_LORA_TEXT_ENCODER_2 &&
        lx_starts_with(lx_str_text(&place.path), "encoder.block."))
        place.part = LX_LORA_TEXT_ENCODER_3; /* Flux.1's T5, its second one */
    place.is_unet &= !is_text(&place);
    out->n_repaired += is_damaged(e);
    rc = lx_convert__flux(&is_done, out, c, s, e, o, &place, err);
    if (rc == LX_OK && !is_done)
        rc = lx_convert__place(out, c, s, e, o, &place, err);
    lx_str_release(&place.path);
    return rc;
}

/* ---- what is written beside the tensors ------------------------------------------------------------ */

static int to_text(const char **out, lx_convert *c, const cJSON *root, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc = lx_json_canonical(&text, root, err);

    if (rc == LX_OK && !(*out = lx_arena_strdup(c->arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    return rc;
}

int lx_convert__scales(const char **out, lx_convert *c, lx_error *err)
{
    cJSON *root;
    bool is_one = true, is_any = false;
    int rc;

    *out = NULL;
    for (size_t i = 0; i < c->n_facts; i++) {
        is_one &= c->facts[i].scale == c->facts[0].scale;
        is_any |= c->facts[i].scale != 1;
    }
    if (!is_any)
        return LX_OK;
    root = cJSON_CreateObject();
    for (size_t i = 0; i < (is_one ? 1 : c->n_facts); i++)
        cJSON_AddNumberToObject(root, is_one ? "*" : c->facts[i].module,
                                c->facts[i].scale);
    rc = to_text(out, c, root, err);
    cJSON_Delete(root);
    return rc;
}

/* The rank that most modules of the part have (or alpha: what their most have). */
static double most_common(const lx_convert *c, int part, bool of_alpha)
{
    double best = 0;
    size_t most = 0;

    for (size_t i = 0; i < c->n_facts; i++) {
        const double x = of_alpha ? c->facts[i].alpha : (double)c->facts[i].rank;
        size_t n = 0;
        if (c->facts[i].part != part || (most && x == best))
            continue;
        for (size_t k = 0; k < c->n_facts; k++)
            n += c->facts[k].part == part &&
                 (of_alpha ? c->facts[k].alpha : (double)c->facts[k].rank) == x;
        if (n > most) {
            most = n;
            best = x;
        }
    }
    return best;
}

int lx_convert__config(const char **out, lx_convert *c, int part, lx_error *err)
{
    const double rank = most_common(c, part, false), alpha = most_common(c, part, true);
    cJSON *root = cJSON_CreateObject();
    cJSON *targets = cJSON_AddArrayToObject(root, "target_modules");
    cJSON *ranks = cJSON_AddObjectToObject(root, "rank_pattern");
    cJSON *alphas = cJSON_AddObjectToObject(root, "alpha_pattern");
    bool has_dora = false, has_bias = false;
    cJSON *item;
    int rc;

    for (size_t i = 0; i < c->n_facts; i++) {
        const lx_convert_fact *f = &c->facts[i];
        if (f->part != part)
            continue;
        item = cJSON_CreateString(f->path);
        if (!cJSON_AddItemToArray(targets, item))
            cJSON_Delete(item);
        if ((double)f->rank != rank)
            cJSON_AddNumberToObject(ranks, f->path, (double)f->rank);
        if (f->alpha != alpha)
            cJSON_AddNumberToObject(alphas, f->path, f->alpha);
        has_dora |= f->has_dora;
        has_bias |= f->has_bias;
    }
    cJSON_AddStringToObject(root, "peft_type", "LORA");
    cJSON_AddNullToObject(root, "task_type");
    cJSON_AddNullToObject(root, "base_model_name_or_path");
    cJSON_AddNumberToObject(root, "r", rank);
    cJSON_AddNumberToObject(root, "lora_alpha", alpha);
    cJSON_AddNumberToObject(root, "lora_dropout", 0);
    cJSON_AddStringToObject(root, "bias", "none");
    cJSON_AddFalseToObject(root, "fan_in_fan_out");
    cJSON_AddTrueToObject(root, "inference_mode");
    cJSON_AddTrueToObject(root, "init_lora_weights");
    cJSON_AddNullToObject(root, "modules_to_save");
    cJSON_AddFalseToObject(root, "use_rslora");
    cJSON_AddBoolToObject(root, "use_dora", has_dora);
    if (has_bias)
        cJSON_AddTrueToObject(root, "lora_bias");
    rc = to_text(out, c, root, err);
    cJSON_Delete(root);
    return rc;
}
