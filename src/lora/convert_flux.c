/* Layers that Flux.1, SD 3 and HunyuanVideo have fused and diffusers has not: one module becomes several, or several
 * one. */
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/base.h"
#include "src/lora/convert_internal.h"
#include "src/lora/flux.h"

/* ---- apart --------------------------------------------------------------------------------------- */

static double value_at(const lx_tensor_view *t, size_t i)
{
    double x = 0;

    lx_to_f64(&x, (const char *)t->data + i * ((size_t)lx_dtype_bits(t->dtype) / 8),
              t->dtype, 1);
    return x;
}

/* uses[k][r]: has part k's share of up anything in column r? True when no column is used by two parts and some are
 * used at all: ups along a diagonal, as separate modules were fused. */
static bool find_columns(bool *uses, const lx_tensor_view *up, const size_t *rows, int n,
                         size_t rank)
{
    bool is_used = false;
    size_t row = 0;

    for (int k = 0; k < n; k++)
        for (size_t i = 0; i < rows[k]; i++, row++)
            for (size_t r = 0; r < rank; r++)
                if (!uses[(size_t)k * rank + r] && value_at(up, row * rank + r) != 0)
                    uses[(size_t)k * rank + r] = true;
    for (size_t r = 0; r < rank; r++) {
        int parts = 0;
        for (int k = 0; k < n; k++)
            parts += uses[(size_t)k * rank + r];
        if (parts > 1)
            return false;
        is_used |= parts == 1;
    }
    return is_used;
}

static lx_tensor_view *copy_view(lx_convert *c, const lx_tensor_view *t)
{
    lx_tensor_view *copy = lx_arena_alloc(c->arena, sizeof *copy);

    if (copy)
        *copy = *t;
    return copy;
}

static void set_size(lx_tensor_view *t, size_t rows, size_t columns)
{
    t->shape[0] = (int64_t)rows;
    t->shape[1] = (int64_t)columns;
    t->n_elements = rows * columns;
    t->bytes = t->n_elements * (size_t)lx_dtype_bits(t->dtype) / 8;
}

/* The columns of up's share and the rows of down that a part uses. */
static int take_columns(lx_tensor_view *up, lx_tensor_view *down, lx_convert *c,
                        const bool *uses, size_t rank, lx_error *err)
{
    const size_t in = (size_t)down->shape[1], rows = (size_t)up->shape[0];
    const size_t a = (size_t)lx_dtype_bits(up->dtype) / 8,
                 b = (size_t)lx_dtype_bits(down->dtype) / 8;
    const char *from_up = up->data, *from_down = down->data;
    char *to_up = lx_convert__own(c, up->bytes, err),
         *to_down = lx_convert__own(c, down->bytes, err);
    size_t n = 0;

    if (!to_up || !to_down)
        return LX_ENOMEM;
    for (size_t r = 0; r < rank; r++)
        if (uses[r])
            memcpy(to_down + n++ * in * b, from_down + r * in * b, in * b);
    for (size_t i = 0; i < rows; i++)
        for (size_t r = 0, k = 0; r < rank; r++)
            if (uses[r])
                memcpy(to_up + (i * n + k++) * a, from_up + (i * rank + r) * a, a);
    up->data = to_up;
    down->data = to_down;
    set_size(up, rows, n);
    set_size(down, n, in);
    return LX_OK;
}

/* uses: the part's columns when it has its own, else NULL. */
static int make_part(lx_lora_entry *part, lx_convert *c, const lx_lora_entry *e,
                     size_t first, size_t rows, const bool *uses, lx_error *err)
{
    const size_t rank = (size_t)e->rank;
    lx_tensor_view *up = copy_view(c, e->tensors[LX_ROLE_UP]),
                   *down = copy_view(c, e->tensors[LX_ROLE_DOWN]);
    int rc = LX_OK;

    if (!up || !down)
        return lx_oom(err);
    *part = *e;
    up->data =
        (const char *)up->data + first * rank * (size_t)lx_dtype_bits(up->dtype) / 8;
    set_size(up, rows, rank);
    if (uses && (rc = take_columns(up, down, c, uses, rank, err)) == LX_OK) {
        part->rank = down->shape[0];
        part->alpha = lx_lora_entry_scale(e) * (double)part->rank;
    }
    part->tensors[LX_ROLE_UP] = up;
    part->tensors[LX_ROLE_DOWN] = down;
    return rc;
}

static int check_fused(const lx_lora_entry *e, const size_t *rows, int n, lx_error *err)
{
    const lx_tensor_view *up = e->tensors[LX_ROLE_UP], *down = e->tensors[LX_ROLE_DOWN];
    size_t sum = 0;

    for (int k = 0; k < n; k++)
        sum += rows[k];
    if (e->has_dora || e->tensors[LX_ROLE_UP_BIAS] || e->tensors[LX_ROLE_DIFF_B])
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s: DoRA or a bias of a fused layer, which is not taken apart",
                       e->name);
    if (up->n_dims != 2 || down->n_dims != 2 || sum != (size_t)up->shape[0] ||
        !rows[n - 1] || lx_dtype_bits(up->dtype) % 8 || lx_dtype_bits(down->dtype) % 8)
        return lx_fail(err, LX_EFORMAT,
                       "%s: is not as large as that layer, which is fused", e->name);
    return LX_OK;
}

/* One module as n of diffusers'. */
static int split_module(lx_convert_result *out, lx_convert *c, const lx_convert_source *s,
                        const lx_lora_entry *e, const lx_convert_options *o,
                        const lx_str *names, int n, lx_error *err)
{
    const size_t rank = (size_t)e->rank;
    size_t rows[LX_FLUX_PARTS], first = 0;
    bool *uses = lx_arena_calloc(c->arena, rank * LX_FLUX_PARTS, sizeof *uses),
         is_diagonal;
    int rc;

    if (!uses)
        return lx_oom(err);
    lx_flux_rows(rows, n, (size_t)e->tensors[LX_ROLE_DOWN]->shape[1],
                 (size_t)e->tensors[LX_ROLE_UP]->shape[0]);
    if ((rc = check_fused(e, rows, n, err)) < 0)
        return rc;
    is_diagonal = find_columns(uses, e->tensors[LX_ROLE_UP], rows, n, rank);
    for (int k = 0; k < n && rc == LX_OK; first += rows[k++]) {
        const bool *own = is_diagonal ? uses + (size_t)k * rank : NULL;
        lx_module_place place = {.part = LX_LORA_UNET, .path = names[k]};
        lx_lora_entry part;
        if (own && !memchr(own, 1, rank))
            continue; /* it changes nothing there */
        if ((rc = make_part(&part, c, e, first, rows[k], own, err)) == LX_OK)
            rc = lx_convert__place(out, c, s, &part, o, &place, err);
    }
    return rc;
}

/* ---- together --------------------------------------------------------------------------------------- */

/* Modules of one fused layer; NULL where there is none. */
typedef struct lx_convert_fusion {
    const char *path; /* the original layer's */
    const lx_convert_source *source;
    const lx_lora_entry *parts[LX_FLUX_PARTS];
    int n;
} fusion;

static int add_part(lx_convert *c, const lx_convert_source *s, const lx_lora_entry *e,
                    const char *path, int part, int n, lx_error *err)
{
    fusion *f = NULL;

    if (e->has_dora || e->tensors[LX_ROLE_UP_BIAS] || e->tensors[LX_ROLE_DIFF_B] ||
        e->kind != LX_KIND_LORA || e->tensors[LX_ROLE_UP]->n_dims != 2 ||
        e->tensors[LX_ROLE_DOWN]->n_dims != 2)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s: only plain LoRA of linears is put together to %s", e->name,
                       path);
    for (size_t i = 0; i < c->n_fusions && !f; i++)
        f = strcmp(c->fusions[i].path, path) == 0 ? &c->fusions[i] : NULL;
    if (!f) {
        if (lx_grow(&c->fusions, &c->fusions_capacity, c->n_fusions + 1,
                    sizeof *c->fusions) < 0)
            return lx_oom(err);
        f = &c->fusions[c->n_fusions];
        *f = (fusion){.path = lx_arena_strdup(c->arena, path), .source = s, .n = n};
        if (!f->path)
            return lx_oom(err);
        c->n_fusions++;
    }
    if (f->parts[part])
        return lx_fail(err, LX_EFORMAT, "%s and %s are the same layer",
                       f->parts[part]->name, e->name);
    f->parts[part] = e;
    return LX_OK;
}

static bool have_one_down(const fusion *f)
{
    const lx_lora_entry *first = NULL;

    for (int k = 0; k < f->n; k++) {
        const lx_lora_entry *e = f->parts[k];
        const lx_tensor_view *a, *b;
        if (!e)
            continue;
        first = first ? first : e;
        a = first->tensors[LX_ROLE_DOWN];
        b = e->tensors[LX_ROLE_DOWN];
        if (a->dtype != b->dtype || a->bytes != b->bytes ||
            memcmp(a->data, b->data, a->bytes) != 0 ||
            lx_lora_entry_scale(first) != lx_lora_entry_scale(e))
            return false;
    }
    return true;
}

/* The sizes of the whole; parts that are not there have the usual sizes. */
typedef struct fused_size {
    size_t rows[LX_FLUX_PARTS], out, in, rank;
    lx_dtype up, down;
} fused_size;

/* Of tensors that have one type: that; else f32. */
static lx_dtype common(lx_dtype so_far, lx_dtype one)
{
    return so_far == LX_DTYPE_COUNT || so_far == one ? one : LX_F32;
}

static int measure_fusion(fused_size *z, const fusion *f, bool has_one_down,
                          lx_error *err)
{
    *z = (fused_size){.up = LX_DTYPE_COUNT, .down = LX_DTYPE_COUNT};
    for (int k = 0; k < f->n; k++) {
        const lx_lora_entry *e = f->parts[k];
        if (!e)
            continue;
        const lx_tensor_view *up = e->tensors[LX_ROLE_UP],
                             *down = e->tensors[LX_ROLE_DOWN];
        if (z->in && z->in != (size_t)down->shape[1])
            return lx_fail(err, LX_EFORMAT, "%s: its parts have different inputs",
                           e->name);
        z->in = (size_t)down->shape[1];
        z->rank = has_one_down ? (size_t)e->rank : z->rank + (size_t)e->rank;
        z->rows[k] = (size_t)up->shape[0];
        z->up = common(z->up, up->dtype);
        z->down = common(z->down, down->dtype);
    }
    for (int k = 0; k < f->n; k++) {
        const size_t usual = k == 3 ? 4 * z->in : z->in;
        if (f->parts[k] && z->rows[k] != usual)
            return lx_fail(err, LX_EFORMAT,
                           "%s: is not as large as its part of the fused layer",
                           f->parts[k]->name);
        z->rows[k] = usual;
        z->out += usual;
    }
    return LX_OK;
}

static void copy_values(char *to, lx_dtype dtype, const lx_tensor_view *from, size_t at,
                        size_t n, double factor)
{
    const size_t width = (size_t)lx_dtype_bits(dtype) / 8;

    if (dtype == from->dtype && factor == 1) {
        memcpy(to, (const char *)from->data + at * width, n * width);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const float x = (float)(value_at(from, at + i) * factor);
        lx_from_f32(to + i * width, dtype, &x, 1);
    }
}

/* up [out, rank] and down [rank, in]; the scale of each part goes into its up unless all have the same. */
static void fill_fusion(char *up, char *down, const fusion *f, const fused_size *z,
                        bool has_one_down, double scale)
{
    const size_t up_width = (size_t)lx_dtype_bits(z->up) / 8,
                 down_width = (size_t)lx_dtype_bits(z->down) / 8;
    size_t row = 0, column = 0;

    memset(up, 0, z->out * z->rank * up_width);
    for (int k = 0; k < f->n; row += z->rows[k++]) {
        const lx_lora_entry *e = f->parts[k];
        if (!e)
            continue;
        const size_t rank = (size_t)e->rank;
        for (size_t i = 0; i < z->rows[k]; i++)
            copy_values(up + ((row + i) * z->rank + column) * up_width, z->up,
                        e->tensors[LX_ROLE_UP], i * rank, rank,
                        lx_lora_entry_scale(e) / scale);
        copy_values(down + column * z->in * down_width, z->down, e->tensors[LX_ROLE_DOWN],
                    0, rank * z->in, 1);
        column += has_one_down ? 0 : rank;
    }
}

static int fuse(lx_convert_result *out, lx_convert *c, const fusion *f,
                const lx_convert_options *o, lx_error *err)
{
    const bool has_one_down = have_one_down(f);
    const lx_lora_entry *first = NULL;
    lx_module_place place = {.part = LX_LORA_UNET};
    lx_tensor_view up = {.n_dims = 2}, down = {.n_dims = 2};
    lx_lora_entry whole;
    fused_size z;
    double scale;
    int rc = measure_fusion(&z, f, has_one_down, err);

    if (rc < 0)
        return rc;
    for (int k = f->n - 1; k >= 0; k--)
        first = f->parts[k] ? f->parts[k] : first;
    scale = lx_lora_entry_scale(first);
    for (int k = 0; k < f->n; k++)
        if (f->parts[k] && lx_lora_entry_scale(f->parts[k]) != scale)
            scale = 1;
    up.dtype = z.up;
    down.dtype = z.down;
    set_size(&up, z.out, z.rank);
    set_size(&down, z.rank, z.in);
    up.name = first->tensors[LX_ROLE_UP]->name;
    down.name = first->tensors[LX_ROLE_DOWN]->name;
    if (!(up.data = lx_convert__own(c, up.bytes, err)) ||
        !(down.data = lx_convert__own(c, down.bytes, err)))
        return LX_ENOMEM;
    fill_fusion((char *)up.data, (char *)down.data, f, &z, has_one_down, scale);
    whole = (lx_lora_entry){.name = first->name,
                            .kind = LX_KIND_LORA,
                            .rank = (int64_t)z.rank,
                            .alpha = scale * (double)z.rank,
                            .has_alpha = true};
    whole.tensors[LX_ROLE_UP] = &up;
    whole.tensors[LX_ROLE_DOWN] = &down;
    whole.tensors[LX_ROLE_ALPHA] = first->tensors[LX_ROLE_ALPHA];
    lx_str_puts(&place.path, f->path);
    if ((rc = lx_str_check(&place.path, err)) == LX_OK)
        rc = lx_convert__place(out, c, f->source, &whole, o, &place, err);
    lx_str_release(&place.path);
    return rc;
}

int lx_convert__fuse_all(lx_convert_result *out, lx_convert *c,
                         const lx_convert_options *o, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < c->n_fusions && rc == LX_OK; i++) {
        out->n_fused++;
        rc = fuse(out, c, &c->fusions[i], o, err);
    }
    return rc;
}

/* ---- halves that change places ------------------------------------------------------------------------------ */

/* Rows are outermost: the second half of the bytes, then the first. */
static int swap_halves(lx_tensor_view *t, lx_convert *c, lx_error *err)
{
    const size_t half = t->bytes / 2;
    char *to = lx_convert__own(c, t->bytes, err);

    if (!to)
        return LX_ENOMEM;
    memcpy(to, (const char *)t->data + half, half);
    memcpy(to + half, t->data, half);
    t->data = to;
    return LX_OK;
}

/* The module at a place whose shift and scale stand the other way round. Besides up these have a number a row: the
 * biases, and magnitudes unless they are by columns. */
static int place_swapped(lx_convert_result *out, lx_convert *c,
                         const lx_convert_source *s, const lx_lora_entry *e,
                         const lx_convert_options *o, const lx_module_place *place,
                         lx_error *err)
{
    static const lx_lora_role roles[] = {LX_ROLE_UP, LX_ROLE_UP_BIAS, LX_ROLE_DIFF_B,
                                         LX_ROLE_DORA};
    const lx_tensor_view *up = e->tensors[LX_ROLE_UP];
    lx_lora_entry swapped = *e;

    if (e->kind != LX_KIND_LORA || up->shape[0] % 2)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s: diffusers has the two halves of this layer in the other "
                       "order, which lx converts for plain LoRA only: --drop '%s*' "
                       "leaves it out",
                       e->name, e->name);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        const lx_tensor_view *from = e->tensors[roles[i]];
        lx_tensor_view *t;
        int rc;
        if (!from || (from != up && from->n_elements != (size_t)up->shape[0]))
            continue;
        if (!(t = copy_view(c, from)))
            return lx_oom(err);
        if ((rc = swap_halves(t, c, err)) < 0)
            return rc;
        swapped.tensors[roles[i]] = t;
    }
    out->n_swapped++;
    return lx_convert__place(out, c, s, &swapped, o, place, err);
}

/* A layer that is renamed and no more, or swapped: *is_done says that it is in the result. */
static int rename_module(bool *is_done, lx_convert_result *out, lx_convert *c,
                         const lx_convert_source *s, const lx_lora_entry *e,
                         const lx_convert_options *o, lx_module_place *place,
                         lx_str *name, lx_error *err)
{
    lx_str_release(&place->path);
    place->path = *name;
    *name = (lx_str)LX_STR_INIT;
    if (!lx_flux_is_swapped(out->model.fused, lx_str_text(&place->path),
                            lx_lora_in_features(e), lx_lora_out_features(e)))
        return LX_OK;
    *is_done = true;
    return place_swapped(out, c, s, e, o, place, err);
}

/* ---- which of it ----------------------------------------------------------------------------------------- */

/* Names of a fused or renamed network that is none of these. */
static int refuse(const lx_lora_entry *e, lx_spelling to, lx_error *err)
{
    return lx_fail(err, LX_EUNSUPPORTED,
                   "%s: %s names the layers of this network otherwise, which lx converts "
                   "for Flux.1, SD 3 and HunyuanVideo only",
                   e->name, lx_spelling_names[to]);
}

/* Names that only the other side has. The layers of Wan's blocks and of Lumina's are called otherwise, too. */
static bool is_original_name(const char *path)
{
    static const char *const heads[] = {
        "double_blocks.", "single_blocks.", "joint_blocks.", "final_layer.",
        "x_embedder.",    "t_embedder.",    "y_embedder.",   "img_in",
        "txt_in",         "time_in",        "vector_in",     "guidance_in"};

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (lx_starts_with(path, heads[i]))
            return true;
    return lx_ends_with(path, ".attention.qkv") || lx_ends_with(path, ".attention.out") ||
           (lx_starts_with(path, "blocks.") &&
            (strstr(path, ".self_attn.") || strstr(path, ".cross_attn.") ||
             lx_ends_with(path, ".ffn.0") || lx_ends_with(path, ".ffn.2")));
}

static bool is_diffusers_name(const char *path, lx_fused network)
{
    if (lx_starts_with(path, "single_transformer_blocks.") ||
        lx_starts_with(path, "time_text_embed."))
        return true;
    if (lx_starts_with(path, "transformer_blocks."))
        return network != LX_FUSED_NONE; /* Qwen-Image's are called so everywhere */
    return lx_starts_with(path, "blocks.") &&
           (strstr(path, ".attn1.") || strstr(path, ".attn2.") ||
            strstr(path, ".ffn.net."));
}

static int to_diffusers(bool *is_done, lx_convert_result *out, lx_convert *c,
                        const lx_convert_source *s, const lx_lora_entry *e,
                        const lx_convert_options *o, lx_module_place *place,
                        lx_error *err)
{
    const char *path = lx_str_text(&place->path);
    lx_str names[LX_FLUX_PARTS] = {LX_STR_INIT, LX_STR_INIT, LX_STR_INIT, LX_STR_INIT};
    int n = lx_flux_split(names, out->model.fused, path), rc = LX_OK;

    for (int k = 0; k < n && rc == LX_OK; k++)
        rc = lx_str_check(&names[k], err);
    if (rc == LX_OK && n > 1) {
        *is_done = true;
        out->n_split++;
        rc = split_module(out, c, s, e, o, names, n, err);
    } else if (rc == LX_OK && n == 1) {
        rc = rename_module(is_done, out, c, s, e, o, place, &names[0], err);
    } else if (rc == LX_OK && is_original_name(path)) {
        rc = refuse(e, o->to, err);
    }
    for (int k = 0; k < LX_FLUX_PARTS; k++)
        lx_str_release(&names[k]);
    return rc;
}

/* Whether the two networks that it may be have the same name for a layer of diffusers'. */
static bool is_named_alike(const char *path, lx_spelling to)
{
    lx_str flux = LX_STR_INIT, hunyuan = LX_STR_INIT;
    int part, n;
    bool is = to == LX_SPELL_KOHYA &&
              lx_flux_join(&flux, &part, &n, LX_FUSED_FLUX, path) &&
              lx_flux_join(&hunyuan, &part, &n, LX_FUSED_HUNYUAN_VIDEO, path) &&
              flux.len == hunyuan.len;

    for (size_t i = 0; is && i < flux.len; i++) /* kohya has '_' for '.' */
        is = flux.data[i] == hunyuan.data[i] ||
             (strchr("._", flux.data[i]) && strchr("._", hunyuan.data[i]));
    lx_str_release(&flux);
    lx_str_release(&hunyuan);
    return is;
}

static int refuse_unsure(const lx_lora_entry *e, lx_fused network, lx_error *err)
{
    return lx_fail(
        err, LX_EUNSUPPORTED,
        "%s: the file does not tell whether it is for %s, which name this layer "
        "otherwise: add --base flux%s",
        e->name,
        network == LX_FUSED_UNSURE ? LX_BASE_FLUX_HUNYUAN_OR_QWEN
                                   : LX_BASE_FLUX_OR_HUNYUAN,
        network == LX_FUSED_UNSURE ? ", hunyuan-video or qwen-image"
                                   : " or hunyuan-video");
}

/* HunyuanVideo for ComfyUI, which tells points from underscores: the original name, where it is given without. */
static int put_points(lx_module_place *place, lx_error *err)
{
    lx_str parts[LX_FLUX_PARTS] = {LX_STR_INIT, LX_STR_INIT, LX_STR_INIT, LX_STR_INIT},
           original = LX_STR_INIT;
    int part, n_parts, rc = LX_OK;

    if (lx_flux_split(parts, LX_FUSED_HUNYUAN_VIDEO, lx_str_text(&place->path)) &&
        (rc = lx_str_check(&parts[0], err)) == LX_OK &&
        lx_flux_join(&original, &part, &n_parts, LX_FUSED_HUNYUAN_VIDEO,
                     lx_str_text(&parts[0])) &&
        (rc = lx_str_check(&original, err)) == LX_OK) {
        lx_str_release(&place->path);
        place->path = original;
        original = (lx_str)LX_STR_INIT;
    }
    lx_str_release(&original);
    for (int k = 0; k < LX_FLUX_PARTS; k++)
        lx_str_release(&parts[k]);
    return rc;
}

static int check_comfyui_name(const char *original, const char *name, lx_error *err)
{
    if (lx_flux_has_comfyui_name(original))
        return LX_OK;
    return lx_fail(err, LX_EUNSUPPORTED,
                   "%s: ComfyUI has a name of its own for this layer of HunyuanVideo, "
                   "which lx does not write: --drop '%s*' leaves it out",
                   name, name);
}

static int to_original(bool *is_done, lx_convert_result *out, lx_convert *c,
                       const lx_convert_source *s, const lx_lora_entry *e,
                       const lx_convert_options *o, lx_module_place *place, lx_error *err)
{
    const lx_fused network = out->model.fused;
    const bool is_hunyuan_for_comfyui =
        network == LX_FUSED_HUNYUAN_VIDEO && o->to == LX_SPELL_COMFYUI;
    const char *path;
    lx_str original = LX_STR_INIT;
    int part = 0, n = 0, rc = LX_OK;

    if (is_hunyuan_for_comfyui && (rc = put_points(place, err)) < 0)
        return rc;
    path = lx_str_text(&place->path);
    if ((network == LX_FUSED_UNSURE ||
         (network == LX_FUSED_FLUX_OR_HUNYUAN && !is_named_alike(path, o->to))) &&
        is_diffusers_name(path, network))
        return refuse_unsure(e, network, err);
    if (!lx_flux_join(&original, &part, &n, network, path)) {
        if (is_diffusers_name(path, network))
            rc = refuse(e, o->to, err);
        else if (is_hunyuan_for_comfyui)
            rc = check_comfyui_name(path, e->name, err);
    } else if ((rc = lx_str_check(&original, err)) < 0 ||
               (is_hunyuan_for_comfyui &&
                (rc = check_comfyui_name(lx_str_text(&original), e->name, err)) < 0)) {
        /* the error is told */
    } else if (n > 1) {
        *is_done = true;
        rc = add_part(c, s, e, lx_str_text(&original), part, n, err);
    } else {
        rc = rename_module(is_done, out, c, s, e, o, place, &original, err);
    }
    lx_str_release(&original);
    return rc;
}

/* OneTrainer's parts of a fused layer, qkv.0 to qkv.2 and linear1.0 to linear1.3, by diffusers' names. */
static int name_numbered(lx_module_place *place, const char *name, lx_error *err)
{
    lx_str names[LX_FLUX_PARTS] = {LX_STR_INIT, LX_STR_INIT, LX_STR_INIT, LX_STR_INIT},
           whole = LX_STR_INIT;
    const char *path = lx_str_text(&place->path), *dot = strrchr(path, '.');
    const int part = dot && dot[1] >= '0' && dot[1] <= '3' && !dot[2] ? dot[1] - '0' : -1;
    int n = 0, rc = LX_OK;

    if (part < 0)
        return LX_OK;
    lx_str_append(&whole, path, (size_t)(dot - path));
    if (lx_ends_with(lx_str_text(&whole), ".qkv") ||
        lx_ends_with(lx_str_text(&whole), ".linear1")) {
        n = lx_flux_split(names, LX_FUSED_FLUX, lx_str_text(&whole));
        if (part >= n)
            rc = lx_fail(err, LX_EUNSUPPORTED, "%s: no part of a layer of Flux.1", name);
        else if ((rc = lx_str_check(&names[part], err)) == LX_OK) {
            lx_str_release(&place->path);
            place->path = names[part];
            names[part] = (lx_str)LX_STR_INIT;
        }
    }
    rc = rc == LX_OK ? lx_str_check(&whole, err) : rc;
    lx_str_release(&whole);
    for (int k = 0; k < LX_FLUX_PARTS; k++)
        lx_str_release(&names[k]);
    return rc;
}

int lx_convert__flux(bool *is_done, lx_convert_result *out, lx_convert *c,
                     const lx_convert_source *s, const lx_lora_entry *e,
                     const lx_convert_options *o, lx_module_place *place, lx_error *err)
{
    int rc;

    *is_done = false;
    if (place->part != LX_LORA_UNET || place->is_unet)
        return LX_OK;
    if (out->model.fused == LX_FUSED_FLUX &&
        (rc = name_numbered(place, e->name, err)) < 0)
        return rc;
    return o->to == LX_SPELL_DIFFUSERS || o->to == LX_SPELL_PEFT
               ? to_diffusers(is_done, out, c, s, e, o, place, err)
               : to_original(is_done, out, c, s, e, o, place, err);
}
