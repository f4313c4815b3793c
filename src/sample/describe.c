#include "src/sample/describe.h"

#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/format/infotext.h"

enum { MOST_SETTINGS = 24, MOST_DIGITS = 40 };

/* The settings so far; numbers are written into `digits`. */
typedef struct table {
    lx_infotext_pair pairs[MOST_SETTINGS];
    char digits[MOST_SETTINGS][MOST_DIGITS];
    size_t n;
} table;

static void add(table *t, const char *key, const char *value)
{
    if (value && *value && t->n < MOST_SETTINGS)
        t->pairs[t->n++] = (lx_infotext_pair){key, value};
}

static void add_number(table *t, const char *key, double x)
{
    snprintf(t->digits[t->n], MOST_DIGITS, "%.9g", x);
    add(t, key, t->digits[t->n]);
}

static void add_whole(table *t, const char *key, int64_t x)
{
    snprintf(t->digits[t->n], MOST_DIGITS, "%lld", (long long)x);
    add(t, key, t->digits[t->n]);
}

static const char *rng_name(lx_noise_kind kind)
{
    return kind == LX_NOISE_TORCH ? "CPU" : kind == LX_NOISE_CUDA ? "NV" : "lx";
}

int lx_sample_describe(lx_str *out, const lx_sample_settings *s,
                       const lx_sample_origin *o, lx_error *err)
{
    table t = {.n = 0};
    char sampler[LX_SAMPLER_NAME], size[MOST_DIGITS], seed[MOST_DIGITS];
    lx_infotext info = {
        .prompt = o->prompt, .negative = s->negative, .settings = t.pairs};

    snprintf(size, sizeof size, "%dx%d", s->width, s->height);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    add_whole(&t, "Steps", s->steps);
    add(&t, "Sampler", lx_sampler_text(sampler, &s->sampler));
    add_number(&t, "CFG scale", s->cfg);
    add(&t, "Seed", seed);
    add(&t, "Size", size);
    add(&t, "Model hash", o->model_hash);
    add(&t, "Model", o->model);
    add(&t, "VAE", o->vae);
    if (s->clip_skip > 1)
        add_whole(&t, "Clip skip", s->clip_skip);
    if (s->ensd)
        add_whole(&t, "ENSD", s->ensd);
    if (s->emphasis != LX_EMPHASIS_WEB_UI)
        add(&t, "Emphasis",
            s->emphasis == LX_EMPHASIS_PLAIN ? "No norm" : "Whole prompt");
    if (s->v_parameterization)
        add(&t, "Prediction", "v");
    if (s->zero_terminal_snr)
        add(&t, "Noise Schedule", "Zero Terminal SNR");
    add(&t, "RNG", rng_name(s->noise));
    if (s->is_peer)
        add(&t, "Compat", "sd-scripts");
    if (o->precision != LX_PRECISION_F32)
        add(&t, "Precision", lx_precision_name(o->precision));
    if (o->has_half_vae)
        add(&t, "VAE precision", lx_precision_name(o->precision));
    add(&t, "Lora hashes", o->lora_hashes);
    add(&t, "TI hashes", o->embedding_hashes);
    add(&t, "Version", "lx " LX_VERSION);
    info.n_settings = t.n;
    lx_infotext_write(out, &info);
    return lx_str_check(out, err);
}

const char *lx_path_stem(lx_arena *arena, const char *path)
{
    size_t n = strlen(path);
    const char *base;

    while (n > 1 && path[n - 1] == '/')
        n--;
    if (!(path = lx_arena_strndup(arena, path, n)))
        return NULL;
    base = lx_path_base(path);
    n = strlen(base) - strlen(lx_path_ext(base));
    return lx_arena_strndup(arena, base, n ? n : strlen(base));
}
