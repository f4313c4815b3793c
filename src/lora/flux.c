#include "src/lora/flux.h"

#include <stdio.h>
#include <string.h>

static const struct {
    bool is_single;
    const char *original;
    const char *parts[LX_FLUX_PARTS];
} layers[] = {
    {false, "img_attn.qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
    {false, "txt_attn.qkv", {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"}},
    {false, "img_attn.proj", {"attn.to_out.0"}},
    {false, "txt_attn.proj", {"attn.to_add_out"}},
    {false, "img_mlp.0", {"ff.net.0.proj"}},
    {false, "img_mlp.2", {"ff.net.2"}},
    {false, "txt_mlp.0", {"ff_context.net.0.proj"}},
    {false, "txt_mlp.2", {"ff_context.net.2"}},
    {false, "img_mod.lin", {"norm1.linear"}},
    {false, "txt_mod.lin", {"norm1_context.linear"}},
    {true, "linear1", {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}},
    {true, "linear2", {"proj_out"}},
    {true, "modulation.lin", {"norm.linear"}},
};
enum { N_LAYERS = sizeof layers / sizeof *layers };

enum { DOUBLE_BLOCKS = 19, SINGLE_BLOCKS = 38 };

static int count_parts(size_t i)
{
    int n = 0;

    while (n < LX_FLUX_PARTS && layers[i].parts[n])
        n++;
    return n;
}

/* What stands behind "HEAD.N."; NULL when the path does not begin so or Flux.1 has no such block. */
static const char *behind(int *block, const char *path, const char *head, int n_blocks)
{
    const size_t n = strlen(head);
    int used = 0;

    if (strncmp(path, head, n) != 0 || sscanf(path + n, ".%d.%n", block, &used) != 1 ||
        !used || *block < 0 || *block >= n_blocks)
        return NULL;
    return path + n + used;
}

int lx_flux_split(lx_str names[LX_FLUX_PARTS], const char *path)
{
    int block;

    for (int single = 0; single < 2; single++) {
        const char *rest =
            behind(&block, path, single ? "single_blocks" : "double_blocks",
                   single ? SINGLE_BLOCKS : DOUBLE_BLOCKS);
        for (size_t i = 0; rest && i < N_LAYERS; i++) {
            const int n = count_parts(i);
            if (layers[i].is_single != single || strcmp(rest, layers[i].original) != 0)
                continue;
            for (int k = 0; k < n; k++)
                lx_str_printf(&names[k], "%s.%d.%s",
                              single ? "single_transformer_blocks" : "transformer_blocks",
                              block, layers[i].parts[k]);
            return n;
        }
    }
    return 0;
}

bool lx_flux_join(lx_str *out, int *part, int *n_parts, const char *path)
{
    int block;

    for (int single = 0; single < 2; single++) {
        const char *rest = behind(
            &block, path, single ? "single_transformer_blocks" : "transformer_blocks",
            single ? SINGLE_BLOCKS : DOUBLE_BLOCKS);
        for (size_t i = 0; rest && i < N_LAYERS; i++)
            for (int k = 0; layers[i].is_single == single && k < count_parts(i); k++)
                if (strcmp(rest, layers[i].parts[k]) == 0) {
                    lx_str_printf(out, "%s.%d.%s",
                                  single ? "single_blocks" : "double_blocks", block,
                                  layers[i].original);
                    *part = k;
                    *n_parts = count_parts(i);
                    return true;
                }
    }
    return false;
}

void lx_flux_rows(size_t rows[LX_FLUX_PARTS], int n_parts, size_t in, size_t out)
{
    for (int k = 0; k < n_parts; k++)
        rows[k] = n_parts == 4 ? in : out / (size_t)n_parts;
    if (n_parts == 4)
        rows[3] = out > 3 * in ? out - 3 * in : 0;
}
