#include "src/lora/summary.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"

/* ---- shapes ------------------------------------------------------------------------------ */

static int64_t in_features(const lx_lora_entry *e)
{
    const lx_tensor_view *down = e->tensors[LX_ROLE_DOWN], *t;
    if (down)
        return down->n_dims > 1 ? down->shape[1] : 0;
    if ((t = e->tensors[LX_ROLE_HADA_W1_B]))
        return t->n_dims > 1 ? t->shape[1] : 0;
    if ((t = e->tensors[LX_ROLE_DIFF]))
        return t->n_dims > 1 ? t->shape[1] : 0;
    return 0;
}

static bool names_context(const char *name)
{
    return strstr(name, "attn2_to_k") || strstr(name, "attn2_to_v") ||
           strstr(name, "attn2.to_k") || strstr(name, "attn2.to_v") ||
           strstr(name, "attn2.processor.to_k") || strstr(name, "attn2.processor.to_v");
}

/* cloneofsimo names layers by number; the widths of the text side tell all the same. */
static bool may_be_context(const lx_lora_file *f, const lx_lora_entry *e)
{
    return names_context(e->name) ||
           (strcmp(f->family, "cloneofsimo") == 0 && e->part == LX_LORA_UNET);
}

static const char *base_of_context(int64_t width)
{
    switch (width) {
    case 768:
        return "SD 1.x";
    case 1024:
        return "SD 2.x";
    case 2048:
        return "SDXL";
    default:
        return NULL;
    }
}

static const char *base_from_names(const lx_lora_file *f)
{
    static const struct {
        const char *part, *base;
    } marks[] = {{"joint_blocks", "SD 3"},
                 {"double_blocks", "Flux"},
                 {"single_transformer_blocks", "Flux"},
                 {"add_k_proj", "Qwen-Image"},
                 {"lora_te2_", "SDXL"}};
    for (size_t i = 0; i < f->n_modules; i++)
        for (size_t k = 0; k < sizeof marks / sizeof *marks; k++)
            if (strstr(f->modules[i].name, marks[k].part))
                return marks[k].base;
    return NULL;
}

static const char *base_of(const lx_lora_file *f, lx_arena *arena)
{
    const char *base;
    int64_t other = 0;
    for (size_t i = 0; i < f->n_modules; i++) {
        const lx_lora_entry *e = &f->modules[i];
        int64_t width;
        if (!may_be_context(f, e))
            continue;
        width = in_features(e);
        if ((base = base_of_context(width)))
            return base;
        if (names_context(e->name))
            other = width;
    }
    if ((base = base_from_names(f)))
        return base;
    for (size_t i = 0; i < f->n_modules; i++)
        if (f->modules[i].part == LX_LORA_TEXT_ENCODER &&
            (base = base_of_context(in_features(&f->modules[i]))))
            return base;
    if (other && (base = lx_arena_printf(arena, "SD 1.x layout of context width %lld",
                                         (long long)other)))
        return base;
    return "unknown";
}

static const char *note_on_base(const lx_lora_file *f, const char *base, lx_arena *arena)
{
    const char *said = lx_tensor_file_metadata(f->file, "ss_base_model_version");
    static const struct {
        const char *prefix, *base;
    } names[] = {{"sd_v1", "SD 1.x"}, {"sd_v2", "SD 2.x"}, {"sdxl_", "SDXL"}};
    for (size_t i = 0; said && i < sizeof names / sizeof *names; i++)
        if (lx_starts_with(said, names[i].prefix) && !lx_starts_with(base, names[i].base) &&
            strcmp(base, "unknown") != 0)
            return lx_arena_printf(arena, "the metadata say %s, the shapes say %s", said, base);
    return NULL;
}

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

static void count_module(lx_lora_summary *s, const lx_lora_entry *e)
{
    lx_part_summary *p = &s->parts[e->part];
    if (!p->n_modules || e->rank < p->rank_min)
        p->rank_min = e->rank;
    if (e->rank > p->rank_max)
        p->rank_max = e->rank;
    if (!p->n_modules || e->alpha < p->alpha_min)
        p->alpha_min = e->alpha;
    if (e->alpha > p->alpha_max)
        p->alpha_max = e->alpha;
    p->n_without_alpha += !e->has_alpha;
    p->n_kinds[e->kind]++;
    p->n_dora += e->has_dora;
    p->n_modules++;
    for (int r = 0; r < LX_ROLE_COUNT; r++)
        if (e->tensors[r] && r != LX_ROLE_ALPHA && r != LX_ROLE_SCALE)
            s->n_dtypes[e->tensors[r]->dtype]++;
}

int lx_lora_summarise(lx_lora_summary *s, const lx_lora_file *f, bool reads_values,
                      lx_arena *arena, lx_error *err)
{
    int rc;

    memset(s, 0, sizeof *s);
    s->n_modules = f->n_modules;
    s->n_tensors = lx_tensor_file_count(f->file);
    for (size_t i = 0; i < s->n_tensors; i++)
        s->data_bytes += lx_tensor_file_at(f->file, i)->bytes;
    for (size_t i = 0; i < f->n_modules; i++)
        count_module(s, &f->modules[i]);
    s->base = base_of(f, arena);
    s->base_note = note_on_base(f, s->base, arena);
    if (reads_values) {
        scan_values(s, f);
        hash_data(s, f);
    }
    if ((rc = lx_lora_verdict(&s->verdict, f->file, arena, err)) < 0)
        return rc;
    return lx_lora_tags(&s->tags, f->file, arena, err);
}
