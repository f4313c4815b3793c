#include "tests/support/made_lora.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/format/safetensors.h"
#include "tests/support/expect.h"

enum { MAX_VALUES = 4096 };

const lx_made_module lx_made_modules[LX_N_MADE] = {
    {"lora_unet_down_blocks_0_attentions_0_proj_in", 24, 20, 1},
    {"lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", 16, 40, 0},
    {"lora_unet_up_blocks_1_resnets_0_conv1", 18, 10, 3},
    {"lora_te_text_model_encoder_layers_0_mlp_fc1", 32, 12, 0},
};

static void add_view(lx_tensor_view *v, char *name, const char *module,
                     const char *suffix, lx_dtype dtype, int n_dims, const int64_t *shape,
                     const float *values)
{
    sprintf(name, "%s%s", module, suffix);
    *v =
        (lx_tensor_view){.name = name, .dtype = dtype, .n_dims = n_dims, .n_elements = 1};
    for (int i = 0; i < n_dims; i++) {
        v->shape[i] = shape[i];
        v->n_elements *= (size_t)shape[i];
    }
    v->bytes = v->n_elements * (size_t)lx_dtype_bits(dtype) / 8;
    v->data = malloc(v->bytes);
    lx_from_f32((void *)v->data, dtype, values, v->n_elements);
}

void lx_make_lora_of(lx_made_lora *f, uint64_t seed, int rank, const double alphas[LX_N_MADE],
                     lx_dtype dtype)
{
    lx_tensor_view views[3 * LX_N_MADE];
    static char names[3 * LX_N_MADE][160];
    static float values[MAX_VALUES];
    size_t n = 0;
    lx_error err;
    int fd;

    for (int i = 0; i < LX_N_MADE; i++) {
        const lx_made_module *m = &lx_made_modules[i];
        const int dims = m->window ? 4 : 2;
        int64_t down[4] = {rank, m->in, m->window, m->window},
                up[4] = {m->out, rank, 1, 1};
        for (int k = 0; k < 2; k++) {
            lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, (uint64_t)(2 * i + k), 0);
            for (int j = 0; j < MAX_VALUES; j++)
                values[j] = (float)(lx_rng_uniform(&rng) - 0.5);
            add_view(&views[n], names[n], m->name,
                     k ? ".lora_up.weight" : ".lora_down.weight", dtype, dims,
                     k ? up : down, values);
            n++;
        }
        if (alphas[i] != LX_NO_ALPHA) {
            const float stored = (float)alphas[i];
            add_view(&views[n], names[n], m->name, ".alpha", LX_F32, 0, NULL, &stored);
            n++;
        }
    }
    strcpy(f->path, "/tmp/lx-merge-XXXXXX");
    fd = mkstemp(f->path);
    close(fd);
    lx_assert_ok(lx_safetensors_write(f->path, views, n, NULL, 0, &err), &err);
    for (size_t i = 0; i < n; i++)
        free((void *)views[i].data);
    lx_assert_ok(lx_lora_file_open(&f->file, f->path, &err), &err);
}

void lx_make_lora(lx_made_lora *f, uint64_t seed, int rank, double alpha, lx_dtype dtype)
{
    double alphas[LX_N_MADE];

    for (int i = 0; i < LX_N_MADE; i++)
        alphas[i] = alpha;
    lx_make_lora_of(f, seed, rank, alphas, dtype);
}

void lx_drop_lora(lx_made_lora *f)
{
    lx_lora_file_close(f->file);
    unlink(f->path);
}


const lx_tensor_view *lx_find_part(const lx_tensor_view *tensors, size_t n,
                                  const char *module, const char *suffix)
{
    for (size_t i = 0; i < n; i++)
        if (lx_starts_with(tensors[i].name, module) &&
            strcmp(tensors[i].name + strlen(module), suffix) == 0)
            return &tensors[i];
    return NULL;
}

double *lx_values_of(const lx_tensor_view *t)
{
    double *x = calloc(t->n_elements + 1, sizeof *x);
    assert_int_equal(lx_to_f64(x, t->data, t->dtype, t->n_elements), 0);
    return x;
}
