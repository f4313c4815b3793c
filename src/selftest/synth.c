#include "src/selftest/synth.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/rng.h"

enum { NAME = 128, CHUNK = 1 << 20 };

static const lx_synth_profile profiles[] = {
    {"tiny",
     1234,
     {32, 64, 96, 96},
     40,
     {32, 64, 96, 96},
     40,
     3,
     4,
     "b4ec759edaa896de40801a0f525f3cacee8999dfc0081dceb1ef4516e37563f8"},
    {"nano", 99, {32, 32, 32, 32}, 8, {32, 32, 32, 32}, 8, 2, 2, NULL},
    {"sd15", 15, {320, 640, 1280, 1280}, 768, {128, 256, 512, 512}, 768, 12, 12, NULL},
};

const lx_synth_profile *lx_synth_profile_find(const char *name)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}

/* ---- the list of tensors ------------------------------------------------------------------ */

typedef struct weight {
    char key[NAME];
    int n_dims;
    int shape[4];
} weight;

typedef struct weight_list {
    weight *items;
    size_t count, capacity;
    bool is_broken; /* ran out of memory */
} weight_list;

static size_t size_of(const weight *w)
{
    size_t n = 1;

    for (int i = 0; i < w->n_dims; i++)
        n *= (size_t)w->shape[i];
    return n;
}

static bool is_position_ids(const weight *w)
{
    return lx_ends_with(w->key, "position_ids");
}

/* Dimensions up to the first 0. */
static void add(weight_list *list, const char *path, const char *suffix, int a, int b,
                int c, int d)
{
    weight *w;

    if (lx_grow(&list->items, &list->capacity, list->count + 1, sizeof(*w)) < 0) {
        list->is_broken = true;
        return;
    }
    w = &list->items[list->count++];
    snprintf(w->key, NAME, "%s%s", path, suffix);
    w->shape[0] = a;
    w->shape[1] = b;
    w->shape[2] = c;
    w->shape[3] = d;
    for (w->n_dims = 0; w->n_dims < 4 && w->shape[w->n_dims] > 0; w->n_dims++)
        ;
}

typedef enum layer_kind { LINEAR, LINEAR_NO_BIAS, CONV1, CONV3, NORM } layer_kind;

/* fmt names the layer: "%s.norm1". `in` is not used by norms. */
static void layer(weight_list *list, layer_kind kind, int out, int in, const char *fmt,
                  ...)
{
    char path[NAME];
    int window = kind == CONV1 ? 1 : kind == CONV3 ? 3 : 0;
    va_list args;

    va_start(args, fmt);
    vsnprintf(path, NAME, fmt, args);
    va_end(args);
    add(list, path, ".weight", out, kind == NORM ? 0 : in, window, window);
    if (kind != LINEAR_NO_BIAS)
        add(list, path, ".bias", out, 0, 0, 0);
}

static void unet_resnet(weight_list *list, const char *path, int in, int out, int time)
{
    layer(list, NORM, in, 0, "%s.in_layers.0", path);
    layer(list, CONV3, out, in, "%s.in_layers.2", path);
    layer(list, LINEAR, out, time, "%s.emb_layers.1", path);
    layer(list, NORM, out, 0, "%s.out_layers.0", path);
    layer(list, CONV3, out, out, "%s.out_layers.3", path);
    if (in != out)
        layer(list, CONV1, out, in, "%s.skip_connection", path);
}

static void unet_transformer(weight_list *list, const char *path, int n, int context)
{
    char block[NAME];

    snprintf(block, NAME, "%.80s.transformer_blocks.0", path);
    layer(list, NORM, n, 0, "%s.norm", path);
    layer(list, CONV1, n, n, "%s.proj_in", path);
    for (int i = 1; i <= 2; i++) {
        int in = i == 1 ? n : context;

        layer(list, LINEAR_NO_BIAS, n, n, "%s.attn%d.to_q", block, i);
        layer(list, LINEAR_NO_BIAS, n, in, "%s.attn%d.to_k", block, i);
        layer(list, LINEAR_NO_BIAS, n, in, "%s.attn%d.to_v", block, i);
        layer(list, LINEAR, n, n, "%s.attn%d.to_out.0", block, i);
    }
    layer(list, LINEAR, 8 * n, n, "%s.ff.net.0.proj", block);
    layer(list, LINEAR, n, 4 * n, "%s.ff.net.2", block);
    for (int i = 1; i <= 3; i++)
        layer(list, NORM, n, 0, "%s.norm%d", block, i);
    layer(list, CONV1, n, n, "%s.proj_out", path);
}

#define UNET "model.diffusion_model."
#define VAE "first_stage_model."
#define TEXT "cond_stage_model.transformer.text_model."

static void unet_weights(weight_list *list, const lx_synth_profile *p)
{
    const int *ch = p->channels;
    int skips[12], n_skips = 0, n = 1, cur = ch[0], time = 4 * ch[0];
    char path[NAME];

    layer(list, LINEAR, time, ch[0], UNET "time_embed.0");
    layer(list, LINEAR, time, time, UNET "time_embed.2");
    layer(list, CONV3, cur, 4, UNET "input_blocks.0.0");
    skips[n_skips++] = cur;
    for (int level = 0; level < 4; level++) {
        for (int j = 0; j < 2; j++, n++) {
            snprintf(path, NAME, UNET "input_blocks.%d.0", n);
            unet_resnet(list, path, cur, ch[level], time);
            cur = ch[level];
            snprintf(path, NAME, UNET "input_blocks.%d.1", n);
            if (level < 3)
                unet_transformer(list, path, cur, p->context_size);
            skips[n_skips++] = cur;
        }
        if (level < 3) {
            layer(list, CONV3, cur, cur, UNET "input_blocks.%d.0.op", n++);
            skips[n_skips++] = cur;
        }
    }
    unet_resnet(list, UNET "middle_block.0", cur, cur, time);
    unet_transformer(list, UNET "middle_block.1", cur, p->context_size);
    unet_resnet(list, UNET "middle_block.2", cur, cur, time);
    for (int level = 3, out = 0; level >= 0; level--) {
        for (int j = 0; j < 3; j++, out++) {
            snprintf(path, NAME, UNET "output_blocks.%d.0", out);
            unet_resnet(list, path, cur + skips[--n_skips], ch[level], time);
            cur = ch[level];
            snprintf(path, NAME, UNET "output_blocks.%d.1", out);
            if (level < 3)
                unet_transformer(list, path, cur, p->context_size);
            if (level > 0 && j == 2)
                layer(list, CONV3, cur, cur, UNET "output_blocks.%d.%d.conv", out,
                      level < 3 ? 2 : 1);
        }
    }
    layer(list, NORM, cur, 0, UNET "out.0");
    layer(list, CONV3, 4, cur, UNET "out.2");
}

static void vae_resnet(weight_list *list, const char *path, int in, int out)
{
    layer(list, NORM, in, 0, "%s.norm1", path);
    layer(list, CONV3, out, in, "%s.conv1", path);
    layer(list, NORM, out, 0, "%s.norm2", path);
    layer(list, CONV3, out, out, "%s.conv2", path);
    if (in != out)
        layer(list, CONV1, out, in, "%s.nin_shortcut", path);
}

static void vae_middle(weight_list *list, const char *side, int n)
{
    static const char *const parts[] = {"q", "k", "v", "proj_out"};
    char path[NAME];

    snprintf(path, NAME, VAE "%s.mid.block_1", side);
    vae_resnet(list, path, n, n);
    layer(list, NORM, n, 0, VAE "%s.mid.attn_1.norm", side);
    for (int i = 0; i < 4; i++)
        layer(list, CONV1, n, n, VAE "%s.mid.attn_1.%s", side, parts[i]);
    snprintf(path, NAME, VAE "%s.mid.block_2", side);
    vae_resnet(list, path, n, n);
}

static void vae_weights(weight_list *list, const lx_synth_profile *p)
{
    const int *ch = p->vae_channels;
    int cur = ch[0];
    char path[NAME];

    layer(list, CONV3, ch[0], 3, VAE "encoder.conv_in");
    for (int level = 0; level < 4; level++) {
        for (int j = 0; j < 2; j++) {
            snprintf(path, NAME, VAE "encoder.down.%d.block.%d", level, j);
            vae_resnet(list, path, cur, ch[level]);
            cur = ch[level];
        }
        if (level < 3)
            layer(list, CONV3, cur, cur, VAE "encoder.down.%d.downsample.conv", level);
    }
    vae_middle(list, "encoder", ch[3]);
    layer(list, NORM, ch[3], 0, VAE "encoder.norm_out");
    layer(list, CONV3, 8, ch[3], VAE "encoder.conv_out");
    layer(list, CONV3, ch[3], 4, VAE "decoder.conv_in");
    vae_middle(list, "decoder", ch[3]);
    for (int level = 3; level >= 0; level--) {
        for (int j = 0; j < 3; j++) {
            snprintf(path, NAME, VAE "decoder.up.%d.block.%d", level, j);
            vae_resnet(list, path, cur, ch[level]);
            cur = ch[level];
        }
        if (level > 0)
            layer(list, CONV3, cur, cur, VAE "decoder.up.%d.upsample.conv", level);
    }
    layer(list, NORM, ch[0], 0, VAE "decoder.norm_out");
    layer(list, CONV3, 3, ch[0], VAE "decoder.conv_out");
    layer(list, CONV1, 8, 8, VAE "quant_conv");
    layer(list, CONV1, 4, 4, VAE "post_quant_conv");
}

static void text_weights(weight_list *list, const lx_synth_profile *p)
{
    static const char *const projections[] = {"k_proj", "v_proj", "q_proj", "out_proj"};
    int w = p->text_width;

    add(list, TEXT "embeddings.position_ids", "", 1, 77, 0, 0);
    add(list, TEXT "embeddings.token_embedding.weight", "", 49408, w, 0, 0);
    add(list, TEXT "embeddings.position_embedding.weight", "", 77, w, 0, 0);
    for (int i = 0; i < p->text_layers; i++) {
        for (int k = 0; k < 4; k++)
            layer(list, LINEAR, w, w, TEXT "encoder.layers.%d.self_attn.%s", i,
                  projections[k]);
        layer(list, NORM, w, 0, TEXT "encoder.layers.%d.layer_norm1", i);
        layer(list, LINEAR, 4 * w, w, TEXT "encoder.layers.%d.mlp.fc1", i);
        layer(list, LINEAR, w, 4 * w, TEXT "encoder.layers.%d.mlp.fc2", i);
        layer(list, NORM, w, 0, TEXT "encoder.layers.%d.layer_norm2", i);
    }
    layer(list, NORM, w, 0, TEXT "final_layer_norm");
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const weight *)a)->key, ((const weight *)b)->key);
}

/* ---- values ------------------------------------------------------------------------------- */

/* w_i = (mean + spread * t_i) * factor + shift, factor and shift by half of the tensor. */
typedef struct law {
    double mean, spread;
    double factor[2], shift[2]; /* of the first and second half of the elements */
} law;

static bool has(const char *key, const char *part)
{
    return strstr(key, part) != NULL;
}

static double gain_of(const char *key)
{
    static const char *const sharp[] = {".to_q.",        ".to_k.",     "q_proj",
                                        "k_proj",        ".attn_1.q.", ".attn_1.k.",
                                        ".emb_layers.1."};
    static const char *const residual[] = {".out_layers.3.", ".conv2.",  ".proj_out.",
                                           "to_out.0",       "ff.net.2", "fc2",
                                           "out_proj"};

    for (size_t i = 0; i < sizeof(sharp) / sizeof(sharp[0]); i++)
        if (has(key, sharp[i]))
            return 1.5;
    for (size_t i = 0; i < sizeof(residual) / sizeof(residual[0]); i++)
        if (has(key, residual[i]))
            return 0.7;
    if (lx_ends_with(key, "diffusion_model.out.2.weight"))
        return 0.5;
    return has(key, "decoder.conv_out") ? 0.45 : 1.0;
}

static law law_of(const weight *w)
{
    static const char *const norms[] = {".in_layers.0.", ".out_layers.0.", ".out.0.",
                                        "norm"};
    bool is_weight = lx_ends_with(w->key, "weight"), is_norm = false;
    law l = {.mean = 0, .factor = {1, 1}};
    double std;

    for (size_t i = 0; i < sizeof(norms) / sizeof(norms[0]); i++)
        is_norm |= has(w->key, norms[i]);
    if (is_norm) {
        std = is_weight ? 0.1 : 0.05;
        l.mean = is_weight ? 1.0 : 0.0;
    } else if (!is_weight) {
        std = 0.05;
        if (lx_ends_with(w->key, ".quant_conv.bias")) { /* a narrow log variance */
            std = 0.2;
            l.shift[1] = -4.0;
        }
    } else if (has(w->key, "token_embedding")) {
        std = 0.5;
    } else if (has(w->key, "position_embedding")) {
        std = 0.25;
    } else if (lx_ends_with(w->key, "first_stage_model.quant_conv.weight")) {
        std = 1.0 / sqrt(8.0); /* latents about as wide as SD's */
        l.factor[0] = 5.0;
        l.factor[1] = 0.5;
    } else {
        std = gain_of(w->key) / sqrt((double)(size_of(w) / (size_t)w->shape[0]));
    }
    l.spread = std * sqrt(6.0);
    return l;
}

static const uint64_t golden = 0x9E3779B97F4A7C15u;

static uint64_t base_of(const char *key, uint64_t seed)
{
    return lx_hash_name(key) ^ (seed * golden);
}

static double triangular(uint64_t base, uint64_t i)
{
    uint64_t z = base + (i + 1) * golden;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return ((double)(z >> 40) - (double)((z >> 16) & 0xFFFFFF)) / 16777216.0;
}

/* Straight from f64, to nearest even: by way of f32 would round twice. |x| below 65504 only. */
static uint16_t half_of(double x)
{
    double a = fabs(x);
    uint64_t sign = x < 0 ? 0x8000u : 0, bits;

    if (a < 0x1p-14) /* subnormal halves are multiples of 2^-24 */
        return (uint16_t)(sign | (uint64_t)rint(a * 0x1p24));
    memcpy(&bits, &a, sizeof(bits));
    bits += ((uint64_t)1 << 41) - 1 + ((bits >> 42) & 1); /* 52 bits of fraction to 10 */
    return (uint16_t)(sign | ((bits >> 42) - ((1023 - 15) << 10)));
}

static void fill(uint16_t *out, const weight *w, const law *l, uint64_t base,
                 size_t first, size_t n)
{
    size_t half = size_of(w) / 2;

#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
        int second = first + i >= half;
        double x = l->mean + l->spread * triangular(base, first + i);

        out[i] = half_of(x * l->factor[second] + l->shift[second]);
    }
}

/* ---- file --------------------------------------------------------------------------------- */

static size_t bytes_of(const weight *w)
{
    return size_of(w) * (is_position_ids(w) ? sizeof(int64_t) : sizeof(uint16_t));
}

static void put_header(lx_str *out, const weight_list *list)
{
    size_t offset = 0, begin = out->len;

    lx_str_putc(out, '{');
    for (size_t i = 0; i < list->count; i++) {
        const weight *w = &list->items[i];

        lx_str_printf(out, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", w->key,
                      is_position_ids(w) ? "I64" : "F16");
        for (int d = 0; d < w->n_dims; d++)
            lx_str_printf(out, "%s%d", d ? "," : "", w->shape[d]);
        lx_str_printf(out, "],\"data_offsets\":[%zu,%zu]}", offset, offset + bytes_of(w));
        offset += bytes_of(w);
    }
    lx_str_putc(out, '}');
    while ((out->len - begin) % 8)
        lx_str_putc(out, ' ');
}

static int write_weight(lx_new_file *file, const weight *w, uint64_t seed,
                        uint16_t *chunk, lx_error *err)
{
    law l = law_of(w);
    uint64_t base = base_of(w->key, seed);
    size_t n = size_of(w);
    int64_t ids[77];
    int rc = 0;

    if (is_position_ids(w)) {
        for (int i = 0; i < 77; i++)
            ids[i] = i;
        return lx_new_file_write(file, ids, sizeof(ids), err);
    }
    for (size_t first = 0; first < n && rc == 0; first += CHUNK) {
        size_t count = n - first < CHUNK ? n - first : CHUNK;

        fill(chunk, w, &l, base, first, count);
        rc = lx_new_file_write(file, chunk, count * sizeof(*chunk), err);
    }
    return rc;
}

int lx_synth_write(const char *path, const lx_synth_profile *profile, lx_error *err)
{
    weight_list list = {0};
    lx_str header = LX_STR_INIT;
    lx_new_file *file = NULL;
    uint16_t *chunk = lx_alloc(CHUNK * sizeof(*chunk));
    uint64_t length;
    int rc;

    unet_weights(&list, profile);
    vae_weights(&list, profile);
    text_weights(&list, profile);
    qsort(list.items, list.count, sizeof(list.items[0]), by_key);
    put_header(&header, &list);
    length = header.len;
    if (!chunk || list.is_broken) {
        rc = lx_oom(err);
        goto done;
    }
    if ((rc = lx_str_check(&header, err)) < 0 ||
        (rc = lx_new_file_open(&file, path, err)) < 0 ||
        (rc = lx_new_file_write(file, &length, sizeof(length), err)) < 0 ||
        (rc = lx_new_file_write(file, header.data, header.len, err)) < 0)
        goto done;
    for (size_t i = 0; i < list.count; i++)
        if ((rc = write_weight(file, &list.items[i], profile->seed, chunk, err)) < 0)
            goto done;
    rc = lx_new_file_commit(file, err);
done:
    lx_new_file_close(file);
    lx_str_release(&header);
    lx_free(list.items);
    lx_free(chunk);
    return rc;
}
