#include "src/lora/merge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/format/tensor_file_build.h"
#include "src/lora/layer.h"
#include "src/lora/merge_internal.h"
#include "src/lora/spell.h"

const char *const lx_merge_method_names[LX_MERGE_METHODS] = {
    "linear", "magnitude_prune", "ties", "dare", "dare_ties", "knots",
};

int lx_merge_new(lx_merge **out, lx_error *err)
{
    lx_merge *m = lx_calloc(1, sizeof *m);
    if (!m || !(m->arena = lx_arena_new())) {
        lx_free(m);
        return lx_oom(err);
    }
    *out = m;
    return LX_OK;
}

void lx_merge_free(lx_merge *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_buffers; i++)
        lx_free(m->buffers[i]);
    lx_free(m->buffers);
    lx_free_aligned(m->block);
    lx_free(m->slots);
    lx_free(m->targets);
    lx_arena_free(m->arena);
    lx_free(m);
}

/* ---- layers ------------------------------------------------------------------------------ */

static int index_targets(lx_merge *m, size_t n_slots, lx_error *err)
{
    uint32_t *slots = lx_calloc(n_slots, sizeof *slots);

    if (!slots)
        return lx_oom(err);
    lx_free(m->slots);
    m->slots = slots;
    m->n_slots = n_slots;
    for (size_t i = 0; i < m->n_targets; i++) {
        size_t at = lx_hash_name(m->targets[i].layer) % n_slots;
        while (slots[at])
            at = (at + 1) % n_slots;
        slots[at] = (uint32_t)i + 1;
    }
    return LX_OK;
}

/* The slot where the layer is, or where it would go. */
static size_t find_slot(const lx_merge *m, const char *layer)
{
    size_t at = lx_hash_name(layer) % m->n_slots;

    while (m->slots[at] && strcmp(m->targets[m->slots[at] - 1].layer, layer) != 0)
        at = (at + 1) % m->n_slots;
    return at;
}

const lx_merge_target *lx_merge__find(const lx_merge *m, const char *layer)
{
    size_t at = m->n_slots ? find_slot(m, layer) : 0;

    return m->n_slots && m->slots[at] ? &m->targets[m->slots[at] - 1] : NULL;
}

static int find_target(lx_merge_target **out, lx_merge *m, const char *layer,
                       lx_error *err)
{
    size_t at = 0;
    int rc;

    if (2 * (m->n_targets + 1) > m->n_slots &&
        (rc = index_targets(m, m->n_slots ? 4 * m->n_slots : 1024, err)) < 0)
        return rc;
    at = find_slot(m, layer);
    if (!m->slots[at]) {
        lx_merge_target *t;
        if (lx_grow(&m->targets, &m->capacity, m->n_targets + 1, sizeof *m->targets) < 0)
            return lx_oom(err);
        t = &m->targets[m->n_targets];
        *t = (lx_merge_target){.layer = lx_arena_strdup(m->arena, layer)};
        if (!t->layer)
            return lx_oom(err);
        m->slots[at] = (uint32_t)++m->n_targets;
    }
    *out = &m->targets[m->slots[at] - 1];
    return LX_OK;
}

bool lx_merge__is_excessive(const lx_merge_target *t)
{
    bool is_expanded = false;

    for (const lx_merge_part *p = t->first; p; p = p->next)
        is_expanded |= p->entry->kind == LX_KIND_LOHA || p->entry->kind == LX_KIND_LOKR;
    return is_expanded && t->shape.in &&
           t->rank > (t->shape.out < t->shape.in ? t->shape.out : t->shape.in);
}

size_t lx_merge__exact_rank(const lx_merge_target *t)
{
    return t->is_dense                      ? 0
           : !lx_merge__is_excessive(t)     ? t->rank
           : t->shape.out < t->shape.in     ? t->shape.out
                                            : t->shape.in;
}

int lx_merge__within(int rc, const lx_merge_part *p, lx_error *err)
{
    if (rc < 0 && rc != LX_ENOMEM && p->source->label)
        lx_within(err, "%s", p->source->label);
    return rc;
}

/* ---- adding ------------------------------------------------------------------------------ */

/* Parts are added file by file: the last of them is of the same file, if any is. */
static int check_fit(const lx_merge_target *t, const lx_merge_part *p, lx_error *err)
{
    const lx_delta_shape *a = &t->shape, *b = &p->shape;

    if (t->last && t->last->source == p->source)
        return lx_fail(err, LX_EFORMAT,
                       "%s and %s are the same layer: lx convert --drop PATTERN leaves "
                       "one of them out",
                       t->last->entry->name, p->entry->name);
    if (!a->in || !b->in || (a->out == b->out && a->in == b->in))
        return LX_OK;
    return lx_fail(
        err, LX_EMISMATCH,
        "%s: the layer is %zu x %zu in %s and %zu x %zu in %s: the LoRAs are for "
        "different base models",
        p->entry->name, a->out, a->in, t->first->source->label, b->out, b->in,
        p->source->label);
}

/* Not only what a sum takes (--into has the base weights): see lx_merge_finish. */
static int add_module(lx_merge *m, const lx_merge_source *s, const lx_lora_entry *e,
                      lx_error *err)
{
    lx_merge_part *p = lx_arena_calloc(m->arena, 1, sizeof *p);
    lx_str layer = LX_STR_INIT;
    lx_merge_target *t = NULL;
    size_t path = 0;
    int rc;

    if (!p)
        return lx_oom(err);
    *p = (lx_merge_part){.entry = e, .source = s, .n_source = m->n_sources - 1};
    if ((rc = lx_delta_shape_of(&p->shape, e, err)) < 0 ||
        (rc = lx_lora_layer(&layer, &path, e->name, err)) < 0 ||
        (rc = find_target(&t, m, lx_str_text(&layer), err)) < 0 ||
        (rc = check_fit(t, p, err)) < 0)
        goto done;
    const lx_lora_part part = lx_lora_layer_part(t->layer);
    m->n_unet += part == LX_LORA_UNET;
    m->n_in_blocks += part == LX_LORA_UNET && s->blocks &&
                      lx_block_weights_know(s->blocks, part, t->layer + path);
    p->strength = (part == LX_LORA_UNET ? s->unet : s->text) *
                  (s->blocks ? lx_block_weights_of(s->blocks, part, t->layer + path) : 1);
    t->rank += p->shape.rank;
    t->is_dense |= p->shape.in && !p->shape.rank;
    t->is_norm |= e->kind == LX_KIND_NORM;
    t->has_bias |= e->tensors[LX_ROLE_UP_BIAS] || e->tensors[LX_ROLE_DIFF_B] ||
                   e->tensors[LX_ROLE_B_NORM];
    if (p->shape.in && (!t->shape.in || p->shape.n_dims > t->shape.n_dims))
        t->shape = p->shape;
    *(t->last ? &t->last->next : &t->first) = p;
    t->last = p;
    t->n_parts++;
done:
    lx_str_release(&layer);
    return rc;
}

int lx_merge_add(lx_merge *m, const lx_merge_source *source, lx_error *err)
{
    const lx_lora_file *file = source->file;
    lx_merge_source *s = lx_arena_alloc(m->arena, sizeof *s);
    lx_spell_model model;
    int rc;

    if (!s)
        return lx_oom(err);
    *s = *source;
    if (!file->n_modules)
        return lx_lora_file_fail_empty(file, err);
    if (file->n_unknown)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "%zu tensors are not understood, the first is %s: they would be lost",
            file->n_unknown,
            lx_show(file->unknown[0]->name, strlen(file->unknown[0]->name)).text);
    m->is_mixed |= strcmp(file->family, "cloneofsimo") == 0 ||
                   strstr(file->family, "damaged") ||
                   (m->n_sources &&
                    strcmp(m->targets[0].first->source->file->family, file->family) != 0);
    m->n_sources++;
    model = lx_spell_model_of(file, m->arena);
    m->is_sdxl |= model.is_sdxl;
    lx_merge__learn_network(m, model.fused);
    m->n_unet = m->n_in_blocks = 0;
    for (size_t i = 0; i < file->n_modules; i++)
        if ((rc = add_module(m, s, &file->modules[i], err)) < 0)
            return rc;
    if (s->blocks && m->n_unet && !m->n_in_blocks)
        return lx_fail(err, LX_EUSAGE,
                       "none of its layers is in a block that %d weights are for: those of SD 1.x are "
                       "17 or 26, of SDXL 12 or 20, of Flux 61",
                       s->blocks->n);
    return LX_OK;
}

/* ---- before the sum ---------------------------------------------------------------------- */

/* sd-scripts numbers the text encoders of a model that has several. */
static bool has_many_encoders(const lx_merge *m)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        if (lx_lora_layer_part(m->targets[i].layer) == LX_LORA_TEXT_ENCODER_2)
            return true;
        for (const lx_merge_part *p = m->targets[i].first; p; p = p->next)
            if (lx_starts_with(p->entry->name, "lora_te1_"))
                return true;
    }
    return false;
}

/* A convolution's LoHa or LoKr may not tell its window; the layer's name does, as far as SD has it. */
static void complete_shape(lx_merge_target *t)
{
    const int64_t side =
        lx_ends_with(t->layer, "_conv_shortcut") ? 1
        : lx_ends_with(t->layer, "_conv1") || lx_ends_with(t->layer, "_conv2") ||
                lx_ends_with(t->layer, "_conv") || lx_ends_with(t->layer, "_conv_in") ||
                lx_ends_with(t->layer, "_conv_out")
            ? 3
            : 0;

    for (const lx_merge_part *p = t->first; p; p = p->next)
        if (p->entry->kind != LX_KIND_LOHA && p->entry->kind != LX_KIND_LOKR)
            return;
    if (!side || t->shape.n_dims != 2 || t->shape.shape[1] % (side * side))
        return;
    t->shape.n_dims = 4;
    t->shape.shape[1] /= side * side;
    t->shape.shape[2] = t->shape.shape[3] = side;
}

/* sd-scripts has the original paths for SDXL's UNet and numbers both encoders. A layer without such a name keeps its. */
static int name_as_sdxl(lx_merge_target *t, lx_merge *m, lx_error *err)
{
    const lx_spell_model model = {.is_sdxl = true, .numbers_encoders = true};
    lx_module_place place;
    lx_str name = LX_STR_INIT;
    int rc = lx_module_place_of(&place, t->layer, err);

    if (rc == LX_OK)
        rc = lx_lora_spell(&name, LX_SPELL_KOHYA, &place, &model, t->layer, err);
    if (rc == LX_OK && !(t->name = lx_arena_strdup(m->arena, lx_str_text(&name))))
        rc = lx_oom(err);
    lx_str_release(&place.path);
    lx_str_release(&name);
    return rc == LX_EUNSUPPORTED ? LX_OK : rc;
}

static int name_targets(lx_merge *m, lx_error *err)
{
    const bool is_numbered = m->is_mixed && has_many_encoders(m);
    int rc = LX_OK;

    for (size_t i = 0; i < m->n_targets && rc == LX_OK; i++) {
        lx_merge_target *t = &m->targets[i];
        complete_shape(t);
        t->name = m->is_mixed ? t->layer : t->first->entry->name;
        if (m->is_mixed && m->is_sdxl)
            rc = name_as_sdxl(t, m, err);
        else if (is_numbered && lx_starts_with(t->layer, "lora_te_") &&
                 !(t->name = lx_arena_printf(m->arena, "lora_te1_%s",
                                             t->layer + strlen("lora_te_"))))
            rc = lx_oom(err);
    }
    return rc;
}

static int refuse_base(const lx_merge_part *p, lx_error *err)
{
    return lx_fail(err, LX_EUNSUPPORTED,
                   "%s: %s is %s, whose change depends on the base model's weights: it "
                   "has a sum with "
                   "others only in a checkpoint (--into BASE)",
                   p->source->label, p->entry->name,
                   p->entry->has_dora ? "DoRA" : lx_lora_kind_name(p->entry->kind));
}

static int refuse_ranks(const lx_merge_target *t, const lx_merge_part *first,
                        const lx_merge_part *p, lx_error *err)
{
    return lx_fail(err, LX_EMISMATCH,
                   "%s has rank %zu but %s has rank %zu (%s): add --rank exact to merge "
                   "them without "
                   "loss at rank %zu, or --rank N or --error 1%% for a smaller file",
                   first->source->label, first->shape.rank, p->source->label,
                   p->shape.rank, p->entry->name, lx_merge__exact_rank(t));
}

static int check_targets(const lx_merge *m, const lx_merge_options *o, lx_error *err)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        const lx_merge_target *t = &m->targets[i];
        const lx_merge_part *first = NULL; /* with factors; others are only a bias */
        for (const lx_merge_part *p = t->first; p; p = p->next) {
            if (lx_delta_needs_base(p->entry))
                return refuse_base(p, err);
            if (!first && p->shape.rank)
                first = p;
            if (o->rank_rule == LX_RANK_EQUAL && o->method == LX_MERGE_LINEAR &&
                !t->is_dense && p->shape.rank && p->shape.rank != first->shape.rank)
                return refuse_ranks(t, first, p, err);
        }
    }
    return LX_OK;
}

/* ---- views ------------------------------------------------------------------------------- */

/* Only kohya's and LyCORIS' readers look for `.alpha`. */
bool lx_merge__has_alphas(const lx_merge *m)
{
    const char *family = m->targets[0].first->source->file->family;

    return m->is_mixed || strcmp(family, "kohya") == 0 || strcmp(family, "LyCORIS") == 0;
}

static const char *suffix_in(const lx_merge_target *t, lx_lora_role role)
{
    for (const lx_merge_part *p = t->first; p; p = p->next)
        if (p->entry->tensors[role])
            return p->entry->tensors[role]->name + strlen(p->entry->name);
    return NULL;
}

/*
 * The suffix with which the layer's own modules spell a role, else others of its network (diffusers has one suffix for
 * UNets and another for text encoders), else any; else sd-scripts' or the family's own.
 */
static const char *suffix_of(const lx_merge *m, const lx_merge_target *of,
                             lx_lora_role role, const char *otherwise)
{
    const lx_lora_part part = lx_lora_layer_part(of->layer);
    const char *found, *other = NULL;

    if (m->is_mixed)
        return otherwise;
    found = suffix_in(of, role);
    for (size_t i = 0; !found && i < m->n_targets; i++) {
        const lx_merge_target *t = &m->targets[i];
        const char *suffix = suffix_in(t, role);
        if (lx_lora_layer_part(t->layer) == part)
            found = suffix;
        else if (!other)
            other = suffix;
    }
    return found ? found : other ? other : otherwise;
}

/*
 * Where no alpha scales it a bias behind up keeps its name (`.lora_B.bias`), which the readers of such files look for;
 * otherwise, or without factors, it is a plain difference.
 */
static const char *bias_suffix(const lx_merge *m, const lx_merge_target *t)
{
    const char *const suffix = suffix_in(t, LX_ROLE_UP_BIAS);

    return t->is_norm ? ".b_norm"
           : !suffix || suffix_in(t, LX_ROLE_DIFF_B) || m->is_mixed || t->is_dense ||
                   !t->rank || lx_merge__has_alphas(m)
               ? ".diff_b"
               : suffix;
}

int lx_merge__name_views(lx_merge *m, lx_merge_output *out, lx_error *err)
{
    const lx_merge_target *t = out->target;
    const char *const down =
        suffix_of(m, t, LX_ROLE_DOWN,
                  lx_merge__has_alphas(m) ? ".lora_down.weight" : ".lora_A.weight");
    const char *const up = suffix_of(
        m, t, LX_ROLE_UP, lx_merge__has_alphas(m) ? ".lora_up.weight" : ".lora_B.weight");
    const char *const suffixes[LX_MERGE_VIEWS] = {
        [LX_VIEW_DOWN] = down,
        [LX_VIEW_UP] = up,
        [LX_VIEW_ALPHA] = ".alpha",
        [LX_VIEW_DENSE] = t->is_norm ? ".w_norm" : ".diff",
        [LX_VIEW_BIAS] = bias_suffix(m, t),
    };

    for (int i = 0; i < LX_MERGE_VIEWS; i++)
        if (!(out->views[i].name =
                  lx_arena_printf(m->arena, "%s%s", t->name, suffixes[i])))
            return lx_oom(err);
    return LX_OK;
}

int lx_merge__describe_view(lx_tensor_view *view, lx_dtype dtype, int n_dims,
                            const int64_t *shape, lx_error *err)
{
    view->dtype = dtype;
    view->n_dims = n_dims;
    view->n_elements = 1;
    for (int i = 0; i < n_dims; i++) {
        view->shape[i] = shape[i];
        if (!lx_mul_size(&view->n_elements, view->n_elements, (size_t)shape[i]))
            return lx_oom(err);
    }
    return lx_mul_size(&view->bytes, view->n_elements, (size_t)lx_dtype_bits(dtype) / 8)
               ? LX_OK
               : lx_oom(err);
}

int lx_merge__shape_view(lx_tensor_view *view, lx_dtype dtype, int n_dims,
                         const int64_t *shape, lx_error *err)
{
    int rc = lx_merge__describe_view(view, dtype, n_dims, shape, err);

    if (rc == LX_OK && !(view->data = lx_alloc(view->bytes)))
        return lx_oom(err);
    return rc;
}

/* ---- the sum ----------------------------------------------------------------------------- */

static bool is_stacked(const lx_merge_target *t, const lx_merge_options *o)
{
    return o->method == LX_MERGE_LINEAR && t->rank && !t->is_dense &&
           !lx_merge__is_excessive(t) &&
           (o->rank_rule == LX_RANK_EQUAL || o->rank_rule == LX_RANK_EXACT);
}

/* The views that were filled, one after the other; the merge owns their memory from here. */
void lx_merge__gather(lx_merge_result *r, const lx_merge *m, const lx_merge_output *outs)
{
    double lost = 0, all = 0;

    r->is_plain = true;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lx_merge_output *out = &outs[i];
        for (int v = 0; v < LX_MERGE_VIEWS; v++)
            if (out->views[v].data) {
                r->tensors[r->n_tensors++] = out->views[v];
                r->is_plain &= v < LX_VIEW_DENSE;
            }
        r->rank = i == 0 || r->rank == out->module->rank ? out->module->rank : 0;
        r->alpha = i == 0 || r->alpha == (double)out->alpha ? (double)out->alpha : 0;
        r->n_dense += out->module->rank == 0;
        lost += out->lost;
        all += out->module->norm * out->module->norm;
    }
    r->error = all > 0 ? sqrt(lost / all) : 0;
}

void lx_merge__keep(lx_merge *m, lx_merge_output *outs)
{
    for (size_t i = 0; i < m->n_targets; i++)
        for (int v = 0; v < LX_MERGE_VIEWS; v++) {
            void *data = (void *)outs[i].views[v].data;
            const size_t at = (size_t)((uintptr_t)data - (uintptr_t)m->block);
            if (!m->block || at >= m->block_bytes)
                m->buffers[m->n_buffers++] = data;
        }
}

static bool has_dense(const lx_merge *m)
{
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].is_dense && !m->targets[i].is_norm)
            return true;
    return false;
}

/* All that is made before the numbers. */
int lx_merge__prepare(lx_merge_result *r, lx_merge_output **outs, lx_merge *m,
                      lx_error *err)
{
    const size_t n = m->n_targets;
    lx_tensor_view *views =
        lx_arena_calloc(m->arena, n, 2 * LX_MERGE_VIEWS * sizeof *views);
    int rc;

    *r = (lx_merge_result){.n_modules = n};
    *outs = lx_arena_calloc(m->arena, n, sizeof **outs);
    r->modules = lx_arena_calloc(m->arena, n, sizeof *r->modules);
    m->buffers = lx_calloc(n, LX_MERGE_VIEWS * sizeof *m->buffers);
    if (!views || !*outs || !r->modules || !m->buffers)
        return lx_oom(err);
    r->tensors = views + n * LX_MERGE_VIEWS;
    if ((rc = lx_merge__check_names(m, err)) < 0 || (rc = name_targets(m, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        lx_merge_output *out = &(*outs)[i];
        const lx_merge_target *t = &m->targets[i];
        r->modules[i] =
            (lx_merge_module){.name = t->name,
                              .sources = t->n_parts,
                              .exact_rank = (int64_t)lx_merge__exact_rank(t)};
        *out = (lx_merge_output){.target = &m->targets[i],
                                 .module = &r->modules[i],
                                 .views = views + i * LX_MERGE_VIEWS};
        if ((rc = lx_merge__name_views(m, out, err)) < 0)
            return rc;
    }
    return LX_OK;
}

static int by_place(const void *a, const void *b)
{
    return lx_safetensors_order(*(lx_tensor_view *const *)a, *(lx_tensor_view *const *)b);
}

/* One block for n views, in the order in which a file has them: it is written in large pieces. */
static int place_views(lx_merge *m, lx_tensor_view **views, size_t n, lx_error *err)
{
    size_t total = 0;

    qsort(views, n, sizeof *views, by_place);
    for (size_t i = 0; i < n; i++)
        if (!lx_add_size(&total, total, views[i]->bytes))
            return lx_oom(err);
    if (!(m->block = lx_alloc_large(total)))
        return lx_oom(err);
    m->block_bytes = total;
    total = 0;
    for (size_t i = 0; i < n; i++) {
        views[i]->data = m->block + total;
        total += views[i]->bytes;
    }
    return LX_OK;
}

/* Factors side by side have sizes that are known. */
static int place_stacks(lx_merge *m, lx_merge_output *outs, const lx_merge_options *o,
                        lx_error *err)
{
    lx_tensor_view **views = lx_calloc(m->n_targets, LX_MERGE_VIEWS * sizeof *views);
    size_t n = 0;
    int rc = views ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < m->n_targets && rc == LX_OK; i++) {
        if (!is_stacked(outs[i].target, o))
            continue;
        rc = lx_merge__describe_stack(&outs[i], m, o->dtype, err);
        for (int v = 0; v < LX_MERGE_VIEWS; v++)
            if (outs[i].views[v].bytes)
                views[n++] = &outs[i].views[v];
    }
    if (rc == LX_OK && n)
        rc = place_views(m, views, n, err);
    lx_free(views);
    return rc;
}

/* ---- values that are made later ---------------------------------------------------------- */

static bool is_all_stacked(const lx_merge *m, const lx_merge_options *o)
{
    for (size_t i = 0; i < m->n_targets; i++)
        if (!is_stacked(&m->targets[i], o) || m->targets[i].has_bias)
            return false;
    return true;
}

/* Where the first of its factors is; the alphas are elsewhere, and there already. */
static const char *begin_of(const lx_merge_output *out)
{
    const char *down = out->views[LX_VIEW_DOWN].data, *up = out->views[LX_VIEW_UP].data;

    return down < up ? down : up;
}

static int by_begin(const void *a, const void *b)
{
    const char *x = begin_of(*(lx_merge_output *const *)a),
               *y = begin_of(*(lx_merge_output *const *)b);

    return x < y ? -1 : x > y;
}

/* What lies before all pieces that come later is there when a piece is. */
static int order_pieces(lx_merge_result *r, lx_merge *m, lx_merge_output *outs,
                        lx_dtype dtype, lx_error *err)
{
    const size_t n = m->n_targets;
    size_t *ends = lx_arena_calloc(m->arena, n, sizeof *ends);

    if (!ends || !(m->pieces = lx_arena_calloc(m->arena, n, sizeof *m->pieces)))
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        m->pieces[i] = &outs[i];
        lx_merge__put_alpha(&outs[i]);
    }
    qsort(m->pieces, n, sizeof *m->pieces, by_begin);
    for (size_t i = 0; i < n; i++)
        ends[i] =
            i + 1 < n ? (size_t)(begin_of(m->pieces[i + 1]) - m->block) : m->block_bytes;
    m->dtype = dtype;
    r->n_pieces = n;
    r->ends = ends;
    return LX_OK;
}

int lx_merge_make(lx_merge *m, size_t piece, lx_error *err)
{
    return lx_merge__stack(m->pieces[piece], m->dtype, err);
}

/* ---- all of them now --------------------------------------------------------------------- */

typedef struct failure {
    size_t first; /* which work */
    int rc;
    lx_error err;
} failure;

static void note_failure(failure *f, size_t i, int rc, const lx_error *own)
{
#pragma omp critical(lx_merge_error)
    if (rc < 0 && (f->rc == LX_OK || i < f->first))
        *f = (failure){i, rc, *own};
}

static int tell_failure(const failure *f, lx_error *err)
{
    return lx_fail_as(err, f->rc, &f->err);
}

static int make_all(lx_merge *m, lx_merge_output *outs, const lx_merge_options *o,
                    lx_error *err)
{
    failure failed = {0};

/* What works on dense deltas shares the threads within a module, for memory's sake. */
#pragma omp parallel for schedule(dynamic, \
                                  1) if (o->method == LX_MERGE_LINEAR && !has_dense(m))
    for (size_t i = 0; i < m->n_targets; i++) {
        lx_error own;
        int rc;
        if (is_stacked(outs[i].target, o)) {
            lx_merge__put_alpha(&outs[i]);
            rc = lx_merge__stack(&outs[i], o->dtype, &own);
        } else {
            rc = lx_merge__combine(&outs[i], m, o, &own);
        }
        note_failure(&failed, i, rc, &own);
    }
    return tell_failure(&failed, err);
}

int lx_merge_begin(lx_merge_result *r, lx_merge *m, const lx_merge_options *o,
                   lx_error *err)
{
    const bool is_made_later = is_all_stacked(m, o);
    lx_merge_output *outs;
    int rc;

    lx_assert(o->dtype == LX_F32 || o->dtype == LX_F16 || o->dtype == LX_BF16);
    if ((rc = check_targets(m, o, err)) < 0 ||
        (rc = lx_merge__prepare(r, &outs, m, err)) < 0 ||
        (rc = place_stacks(m, outs, o, err)) < 0)
        return rc;
    rc = is_made_later ? order_pieces(r, m, outs, o->dtype, err)
                       : make_all(m, outs, o, err);
    lx_merge__keep(m, outs);
    if (rc == LX_OK)
        lx_merge__gather(r, m, outs);
    return rc;
}

int lx_merge_finish(lx_merge_result *r, lx_merge *m, const lx_merge_options *o,
                    lx_error *err)
{
    failure failed = {0};
    int rc = lx_merge_begin(r, m, o, err);

    if (rc < 0)
        return rc;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < r->n_pieces; i++) {
        lx_error own;
        note_failure(&failed, i, lx_merge_make(m, i, &own), &own);
    }
    r->n_pieces = 0;
    return tell_failure(&failed, err);
}

int lx_merge_finish_like(lx_merge_result *r, lx_merge *m, const lx_merge_options *o,
                         const lx_merge_like *like, lx_error *err)
{
    lx_merge_output *outs;
    int rc = lx_merge__prepare(r, &outs, m, err);

    if (rc < 0)
        return rc;
    rc = lx_merge__run_like(outs, m, o->dtype, like, err);
    lx_merge__keep(m, outs);
    if (rc == LX_OK)
        lx_merge__gather(r, m, outs);
    return rc;
}
