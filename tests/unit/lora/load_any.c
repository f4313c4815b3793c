/* Files of every spelling and family on a model. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/rng.h"
#include "src/lora/delta.h"
#include "src/lora/module.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

enum { MOST = 1024, NAME = 200 };

/* A file under construction. */
typedef struct draft {
    lx_tensor_view views[MOST];
    char names[MOST][NAME];
    size_t n;
} draft;

static draft file; /* too large for a stack */

static void add(const char *name, const void *data, int n_dims, const int64_t *shape)
{
    lx_tensor_view *v = &file.views[file.n];

    assert_true(file.n < MOST);
    snprintf(file.names[file.n], NAME, "%s", name);
    *v = (lx_tensor_view){.name = file.names[file.n++],
                          .dtype = LX_F32,
                          .n_dims = n_dims,
                          .n_elements = 1,
                          .data = data};
    for (int i = 0; i < n_dims; i++) {
        v->shape[i] = shape[i];
        v->n_elements *= (size_t)shape[i];
    }
    v->bytes = v->n_elements * sizeof(float);
}

static const char *path_of(void)
{
    static char path[600];

    snprintf(path, sizeof path, "%s.load_any.safetensors", lx_synth_checkpoint("nano"));
    return path;
}

static lx_lora *load(lx_model_fixture *f, bool is_trainable)
{
    lx_lora *lora;
    lx_error err = {0};

    lx_assert_ok(lx_safetensors_write(path_of(), file.views, file.n, NULL, 0, &err),
                 &err);
    lx_assert_ok(lx_lora_open_any(&lora, f->dev, f->checkpoint, &f->config, path_of(),
                                  is_trainable, &err),
                 &err);
    return lora;
}

static void fill(float *x, size_t n, uint64_t stream)
{
    lx_rng rng = lx_rng_stream(11, LX_RNG_TEST, stream, 0);

    lx_rng_normal(x, n, 0, &rng);
}

/* ---- spellings ---------------------------------------------------------------------------- */

static void underline(char *text)
{
    for (; *text; text++)
        if (*text == '.')
            *text = '_';
}

static void spell_diffusers(char *stem, const char **down, const char **up,
                            const lx_lora_module *m)
{
    const bool is_unet = m->part == LX_UNET;

    snprintf(stem, NAME, "%s%s", is_unet ? "unet." : "text_encoder.", m->layer);
    *down = is_unet ? ".lora.down.weight" : ".lora_linear_layer.down.weight";
    *up = is_unet ? ".lora.up.weight" : ".lora_linear_layer.up.weight";
}

static void spell_peft(char *stem, const char **down, const char **up,
                       const lx_lora_module *m)
{
    snprintf(stem, NAME, "base_model.model.%s", m->layer);
    *down = ".lora_A.weight";
    *up = ".lora_B.weight";
}

static void spell_lycoris(char *stem, const char **down, const char **up,
                          const lx_lora_module *m)
{
    snprintf(stem, NAME, "lycoris_%s", m->layer);
    underline(stem);
    *down = ".lora_down.weight";
    *up = ".lora_up.weight";
}

/* "...attn1.to_out.0" -> "...attn1.processor.to_out_lora.down.weight" */
static void spell_processors(char *stem, const char **down, const char **up,
                             const lx_lora_module *m)
{
    const char *to = strstr(m->layer, ".to_");

    spell_diffusers(stem, down, up, m);
    if (!to)
        return;
    snprintf(stem, NAME, "unet.%.*s.processor%.5s", (int)(to - m->layer), m->layer, to);
    if (strncmp(to, ".to_out", 7) == 0)
        strcat(stem, "ut");
    *down = "_lora.down.weight";
    *up = "_lora.up.weight";
}

typedef void (*speller)(char *stem, const char **down, const char **up,
                        const lx_lora_module *m);

static void check_spelling(lx_model_fixture *f, speller spell)
{
    lx_lora *again;

    file.n = 0;
    for (size_t i = 0; i < f->lora->count; i++) {
        lx_lora_module *m = &f->lora->modules[i];
        const char *down, *up;
        char stem[NAME], name[2 * NAME];
        spell(stem, &down, &up, m);
        snprintf(name, sizeof name, "%s%s", stem, down);
        add(name, m->down.value, m->down.n_dims, m->down.shape);
        snprintf(name, sizeof name, "%s%s", stem, up);
        add(name, m->up.value, m->up.n_dims, m->up.shape);
    }
    again = load(f, false);
    assert_int_equal(again->count, f->lora->count);
    assert_int_equal(again->n_values, f->lora->n_values);
    for (size_t i = 0; i < again->count; i++) {
        assert_string_equal(again->modules[i].layer, f->lora->modules[i].layer);
        assert_true(again->modules[i].alpha == (float)again->modules[i].rank);
    }
    assert_memory_equal(again->values, f->lora->values, again->n_values * sizeof(float));
    lx_lora_free(again);
}

static void open_random(lx_model_fixture *f)
{
    const lx_lora_spec spec = {.rank = 2, .has_unet = true, .has_text_encoder = true};
    lx_error err = {0};

    lx_model_fixture_open(f, lx_synth_checkpoint("nano"), 2);
    lx_assert_ok(
        lx_lora_create(&f->lora, f->dev, f->checkpoint, &f->config, &spec, 1, &err),
        &err);
    fill(f->lora->values, f->lora->n_values, 1);
}

static void test_load_any__one_lora_in_every_spelling(void **state)
{
    static const speller all[] = {spell_diffusers, spell_peft, spell_lycoris,
                                  spell_processors};
    lx_model_fixture f;

    (void)state;
    open_random(&f);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check_spelling(&f, all[i]);
    lx_model_fixture_close(&f);
}

/* cloneofsimo's trainer numbers what it adapts: attention and the first linear of ff. */
static void test_load_any__numbered_layers(void **state)
{
    lx_model_fixture f;
    lx_lora *again;
    size_t n[2] = {0};
    char name[NAME];

    (void)state;
    open_random(&f);
    file.n = 0;
    for (size_t i = 0; i < f.lora->count; i++) {
        lx_lora_module *m = &f.lora->modules[i];
        const bool is_unet = m->part == LX_UNET;
        if (is_unet ? !strstr(m->layer, ".attn") && !strstr(m->layer, "ff.net.0")
                    : !strstr(m->layer, "self_attn"))
            continue;
        snprintf(name, sizeof name, "%s:%zu:down", is_unet ? "unet" : "text_encoder",
                 n[is_unet]);
        add(name, m->down.value, m->down.n_dims, m->down.shape);
        snprintf(name, sizeof name, "%s:%zu:up", is_unet ? "unet" : "text_encoder",
                 n[is_unet]++);
        add(name, m->up.value, m->up.n_dims, m->up.shape);
    }
    assert_int_equal(n[1], 16 * 9);
    again = load(&f, false);
    for (size_t i = 0, k = 0; i < again->count; i++, k++) {
        while (strcmp(f.lora->modules[k].layer, again->modules[i].layer) != 0)
            assert_true(++k < f.lora->count);
        assert_memory_equal(again->modules[i].up.value, f.lora->modules[k].up.value,
                            lx_lora__size(&again->modules[i].up) * sizeof(float));
    }
    lx_lora_free(again);
    lx_model_fixture_close(&f);
}

static void test_load_any__original_names(void **state)
{
    static const char stem[] =
        "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q";
    float down[2 * 64], up[64 * 2];
    lx_model_fixture f;
    const lx_tensor_view *w;
    lx_lora *lora;
    char name[NAME];

    (void)state;
    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    w = lx_checkpoint_find(
        f.checkpoint, LX_UNET,
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight");
    fill(down, 128, 1);
    fill(up, 128, 2);
    file.n = 0;
    snprintf(name, sizeof name, "%s.lora_down.weight", stem);
    add(name, down, 2, (int64_t[]){2, w->shape[1]});
    snprintf(name, sizeof name, "%s.lora_up.weight", stem);
    add(name, up, 2, (int64_t[]){w->shape[0], 2});
    lora = load(&f, false);
    assert_int_equal(lora->count, 1);
    assert_string_equal(lora->modules[0].layer,
                        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q");
    lx_lora_free(lora);
    lx_model_fixture_close(&f);
}

/* ---- families ----------------------------------------------------------------------------- */

#define LINEAR "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
#define CONV "mid_block.resnets.0.conv1"

/* alpha / rank up x down of the only module against the change that lora/delta defines. */
static void check_change(lx_model_fixture *f, const char *layer)
{
    const lx_lora_entry *e;
    lx_lora *lora = load(f, true);
    const lx_lora_module *m = &lora->modules[0];
    const size_t rank = (size_t)m->rank, out = lx_lora__size(&m->up) / rank;
    const size_t in = lx_lora__size(&m->down) / rank;
    const float *up = m->up.value, *down = m->down.value;
    double *base, *wanted = calloc(out * in, sizeof *wanted), gap = 0, size = 0;
    const lx_tensor_view *w;
    lx_delta_shape shape;
    lx_lora_file *again;
    lx_error err = {0};
    char name[NAME];

    assert_int_equal(lora->count, 1);
    assert_string_equal(m->layer, layer);
    snprintf(name, sizeof name, "%s.weight", layer);
    w = lx_checkpoint_find(f->checkpoint, LX_UNET, name);
    lx_assert_ok(lx_delta_read(&base, w, &err), &err);
    const lx_delta_base of = {base, out, in,
                              w->n_dims == 4 ? (size_t)(w->shape[2] * w->shape[3]) : 1};
    lx_assert_ok(lx_lora_file_open(&again, path_of(), &err), &err);
    e = &again->modules[0];
    lx_assert_ok(lx_delta_shape_of(&shape, e, &err), &err);
    lx_assert_ok(lx_delta_dense(wanted, e, &shape, &of, &err), &err);
    for (size_t i = 0; i < out; i++)
        for (size_t j = 0; j < in; j++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++)
                sum += (double)up[i * rank + k] * down[k * in + j];
            sum *= m->alpha / (double)m->rank;
            gap += (sum - wanted[i * in + j]) * (sum - wanted[i * in + j]);
            size += wanted[i * in + j] * wanted[i * in + j];
        }
    if (!(size > 0 && sqrt(gap / size) < 2e-6))
        fail_msg("%s: off by %.3g of %.3g", file.names[0], sqrt(gap), sqrt(size));
    lx_lora_file_close(again);
    free(base);
    free(wanted);
    lx_lora_free(lora);
}

static float values[8][64 * 64 * 9];

static void add_to(const char *layer, const char *suffix, int which, int n_dims,
                   const int64_t *shape)
{
    char name[NAME];

    snprintf(name, sizeof name, "lora_unet_%s", layer);
    underline(name);
    strcat(name, suffix);
    add(name, values[which], n_dims, shape);
}

static void check_families(lx_model_fixture *f, const char *layer)
{
    char name[NAME];
    const lx_tensor_view *w;
    int64_t out, in, kernel, wide;

    snprintf(name, sizeof name, "%s.weight", layer);
    w = lx_checkpoint_find(f->checkpoint, LX_UNET, name);
    out = w->shape[0];
    in = w->shape[1];
    kernel = w->n_dims == 4 ? w->shape[2] : 1;
    wide = in * kernel * kernel;

    file.n = 0; /* LoHa */
    add_to(layer, ".hada_w1_a", 0, 2, (int64_t[]){out, 3});
    add_to(layer, ".hada_w1_b", 1, 2, (int64_t[]){3, wide});
    add_to(layer, ".hada_w2_a", 2, 2, (int64_t[]){out, 3});
    add_to(layer, ".hada_w2_b", 3, 2, (int64_t[]){3, wide});
    check_change(f, layer);

    file.n = 0; /* LoKr, the second part whole */
    add_to(layer, ".lokr_w1", 0, 2, (int64_t[]){4, 4});
    add_to(layer, ".lokr_w2", 1, w->n_dims, (int64_t[]){out / 4, in / 4, kernel, kernel});
    check_change(f, layer);

    file.n = 0; /* the difference itself */
    add_to(layer, ".diff", 0, w->n_dims, w->shape);
    check_change(f, layer);

    file.n = 0; /* DoRA */
    add_to(layer, ".lora_down.weight", 0, w->n_dims, (int64_t[]){2, in, kernel, kernel});
    add_to(layer, ".lora_up.weight", 1, w->n_dims, (int64_t[]){out, 2, 1, 1});
    add_to(layer, ".dora_scale", 2, w->n_dims, (int64_t[]){out, 1, 1, 1});
    check_change(f, layer);
}

static void test_load_any__every_family_changes_what_delta_says(void **state)
{
    lx_model_fixture f;

    (void)state;
    for (int i = 0; i < 8; i++)
        fill(values[i], sizeof values[i] / sizeof(float), 20 + (uint64_t)i);
    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    check_families(&f, LINEAR);
    check_families(&f, CONV);
    lx_model_fixture_close(&f);
}

static void check_refused(lx_model_fixture *f, int code, const char *word)
{
    lx_lora *lora;
    lx_error err = {0};

    lx_assert_ok(lx_safetensors_write(path_of(), file.views, file.n, NULL, 0, &err),
                 &err);
    assert_int_equal(lx_lora_open_any(&lora, f->dev, f->checkpoint, &f->config, path_of(),
                                      false, &err),
                     code);
    assert_null(lora);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say %s", err.text, word);
}

static void test_load_any__what_is_refused(void **state)
{
    lx_model_fixture f;

    (void)state;
    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    file.n = 0;
    add("unet:9999:down", values[0], 2, (int64_t[]){2, 8});
    add("unet:9999:up", values[0], 2, (int64_t[]){8, 2});
    check_refused(&f, LX_EMISMATCH, "unet:9999");
    file.n = 0;
    add_to("mid_block.resnets.0.norm1", ".w_norm", 0, 1, (int64_t[]){8});
    check_refused(&f, LX_EUNSUPPORTED, "norm");
    file.n = 0;
    add_to(LINEAR, ".lora_down.weight", 0, 2, (int64_t[]){2, 7});
    add_to(LINEAR, ".lora_up.weight", 0, 2, (int64_t[]){7, 2});
    check_refused(&f, LX_EMISMATCH, "7 x 7");
    file.n = 0;
    add("something.else", values[0], 1, (int64_t[]){8});
    check_refused(&f, LX_EUNSUPPORTED, "something.else");
    remove(path_of());
    lx_model_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_any__one_lora_in_every_spelling),
        cmocka_unit_test(test_load_any__numbered_layers),
        cmocka_unit_test(test_load_any__original_names),
        cmocka_unit_test(test_load_any__every_family_changes_what_delta_says),
        cmocka_unit_test(test_load_any__what_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
