#include "src/lora/summary.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/lora/base.h"

/* ---- values ------------------------------------------------------------------------------ */

enum { SLICE = 4096 };

/* Counts elements that are not finite; *is_zero when all are 0. */
static size_t scan(const lx_tensor_view *t, bool *is_zero)
{
    const unsigned char *at = t->data;
    const size_t width = (size_t)lx_dtype_bits(t->dtype) / 8;
    size_t bad = 0;

    *is_zero = true;
    for (size_t i = 0; i < t->n_elements; i += SLICE) {
        float values[SLICE];
        size_t n = t->n_elements - i < SLICE ? t->n_elements - i : SLICE;
        if (lx_to_f32(values, at + i * width, t->dtype, n) < 0)
            return 0;
        for (size_t j = 0; j < n; j++) {
            bad += !isfinite(values[j]);
            *is_zero = *is_zero && values[j] == 0;
        }
    }
    return bad;
}

/* The factor that training starts at zero, by kind: zero still means that nothing was learned. */
static const lx_tensor_view *zero_started(const lx_lora_entry *e)
{
    switch (e->kind) {
    case LX_KIND_LORA:
    case LX_KIND_TUCKER:
        return e->tensors[LX_ROLE_UP];
    case LX_KIND_LOHA:
        return e->tensors[LX_ROLE_HADA_W2_A];
    case LX_KIND_LOKR:
        return e->tensors[LX_ROLE_LOKR_W2] ? e->tensors[LX_ROLE_LOKR_W2]
                                           : e->tensors[LX_ROLE_LOKR_W2_B];
    case LX_KIND_FULL:
        return e->tensors[LX_ROLE_DIFF];
    case LX_KIND_IA3:
        return e->tensors[LX_ROLE_IA3_WEIGHT];
    case LX_KIND_OFT:
        return e->tensors[LX_ROLE_OFT_BLOCKS] ? e->tensors[LX_ROLE_OFT_BLOCKS]
                                              : e->tensors[LX_ROLE_OFT_R];
    default:
        return NULL;
    }
}

static void scan_values(lx_lora_summary *s, const lx_lora_file *f)
{
    for (size_t i = 0; i < f->n_modules; i++) {
        const lx_lora_entry *e = &f->modules[i];
        const lx_tensor_view *start = zero_started(e);
        for (int r = 0; r < LX_ROLE_COUNT; r++) {
            bool is_zero;
            size_t bad;
            if (!e->tensors[r])
                continue;
            bad = scan(e->tensors[r], &is_zero);
            if (bad && !s->n_not_finite)
                s->first_not_finite = e->tensors[r]->name;
            s->n_not_finite += bad;
            if (is_zero && e->tensors[r] == start && start->n_elements) {
                s->parts[e->part].n_untrained++;
                s->n_untrained++;
            }
        }
    }
}

/* The tensor area: the views of a safetensors file lie side by side without a hole. */
static void hash_data(lx_lora_summary *s, const lx_lora_file *f)
{
    const char *said = lx_tensor_file_metadata(f->file, "sshs_model_hash");
    const unsigned char *start = NULL;
    lx_hash hash;

    if (strcmp(lx_tensor_file_format(f->file), "safetensors") != 0)
        return;
    for (size_t i = 0; i < lx_tensor_file_count(f->file); i++) {
        const lx_tensor_view *t = lx_tensor_file_at(f->file, i);
        if (t->bytes && (!start || (const unsigned char *)t->data < start))
            start = t->data;
    }
    hash = lx_sha256_of(start ? start : (const unsigned char *)"", s->data_bytes);
    lx_hash_hex(s->data_hash, &hash);
    if (said && said[0])
        s->hash = strcmp(said, s->data_hash) == 0 ? LX_HASH_MATCHES : LX_HASH_DIFFERS;
}

/* ---- the whole --------------------------------------------------------------------------- */

/* Ranks and alphas are those of the modules that have a rank; of a part where none has, what there is. */
static void count_rank(lx_part_summary *p, const lx_lora_entry *e)
{
    const bool is_first = e->rank ? !p->rank_max : !p->n_modules;

    if (!e->rank && p->rank_max)
        return; /* a norm */
    if (is_first) {
        p->rank_min = e->rank;
        p->alpha_min = e->alpha;
        p->alpha_max = 0;
    }
    if (e->rank < p->rank_min)
        p->rank_min = e->rank;
    if (e->rank > p->rank_max)
        p->rank_max = e->rank;
    if (e->alpha < p->alpha_min)
        p->alpha_min = e->alpha;
    if (e->alpha > p->alpha_max)
        p->alpha_max = e->alpha;
}

static void count_module(lx_lora_summary *s, const lx_lora_entry *e)
{
    lx_part_summary *p = &s->parts[e->part];
    count_rank(p, e);
    p->n_without_alpha += !e->has_alpha;
    p->n_kinds[e->kind]++;
    p->n_dora += e->has_dora;
    p->n_modules++;
    for (int r = 0; r < LX_ROLE_COUNT; r++)
        if (e->tensors[r] && r != LX_ROLE_ALPHA && r != LX_ROLE_SCALE)
            s->n_dtypes[e->tensors[r]->dtype]++;
}

/* A LoRA that adapts convolutions with a window is called LoCon; OFT in several factors BOFT. */
static const char *kind_name(const lx_lora_entry *e)
{
    const lx_tensor_view *down = e->tensors[LX_ROLE_DOWN], *blocks = e->tensors[LX_ROLE_OFT_BLOCKS];

    if (e->kind == LX_KIND_LORA && down && down->n_dims == 4 && down->shape[2] > 1)
        return "LoCon";
    if (e->kind == LX_KIND_OFT && blocks && blocks->n_dims == 4)
        return "BOFT";
    return lx_lora_kind_name(e->kind);
}

const char *lx_lora_what(const lx_lora_file *f, const char *model, lx_arena *arena)
{
    enum { MOST = LX_KIND_COUNT + 2 };
    const char *names[MOST], *text = NULL;
    bool has_dora = false;
    size_t n = 0, k;

    if (f->is_state)
        return "training state";
    if (!f->n_modules)
        return f->n_embeddings ? "textual inversion" : model ? "checkpoint" : "no LoRA";
    for (size_t i = 0; i < f->n_modules; i++) {
        const char *name = kind_name(&f->modules[i]);
        has_dora |= f->modules[i].has_dora;
        for (k = 0; k < n && names[k] != name; k++)
            ;
        if (k == n && n < MOST)
            names[n++] = name;
    }
    /* LoCon says that the file has plain ones too */
    for (k = 0; k < n; k++) {
        bool is_said = false;
        for (size_t j = 0; strcmp(names[k], "LoRA") == 0 && j < n; j++)
            is_said |= strcmp(names[j], "LoCon") == 0;
        if (is_said)
            continue;
        text = text ? lx_arena_printf(arena, "%s + %s", text, names[k]) : names[k];
        if (!text)
            return NULL;
    }
    return has_dora ? lx_arena_printf(arena, "%s (DoRA)", text) : text;
}

int lx_lora_summarise_shapes(lx_lora_summary *s, const lx_lora_file *f, lx_arena *arena,
                             lx_error *err)
{
    memset(s, 0, sizeof *s);
    s->n_modules = f->n_modules;
    s->n_tensors = lx_tensor_file_count(f->file);
    for (size_t i = 0; i < s->n_tensors; i++)
        s->data_bytes += lx_tensor_file_at(f->file, i)->bytes;
    for (size_t i = 0; i < f->n_modules; i++)
        count_module(s, &f->modules[i]);
    s->base = lx_lora_base(f, arena);
    return s->base ? LX_OK : lx_oom(err);
}

int lx_lora_summarise_metadata(lx_lora_summary *s, const lx_tensor_file *file, lx_arena *arena,
                               lx_error *err)
{
    s->base = lx_lora_base_said(s->base, file);
    s->base_note = lx_lora_base_note(file, s->base, arena);
    return lx_lora_verdict(&s->verdict, file, arena, err);
}

int lx_lora_summarise(lx_lora_summary *s, const lx_lora_file *f, bool reads_values,
                      lx_arena *arena, lx_error *err)
{
    int rc;

    if ((rc = lx_lora_summarise_shapes(s, f, arena, err)) < 0 ||
        (rc = lx_lora_summarise_metadata(s, f->file, arena, err)) < 0)
        return rc;
    if (reads_values) {
        scan_values(s, f);
        hash_data(s, f);
    }
    return lx_lora_tags(&s->tags, f->file, arena, err);
}
