#include "src/lora/flux.h"

#include <stdio.h>
#include <string.h>

typedef struct layer {
    const char *original;
    const char *parts[LX_FLUX_PARTS]; /* diffusers' */
} layer;

/* Blocks with a number each; without a name: layers that there are once. */
typedef struct stack {
    const char *original, *diffusers;
    int n_blocks;
    const layer *layers; /* ends with {0} */
} stack;

/* ---- Flux.1 --------------------------------------------------------------------------------- */

static const layer flux_double[] = {
    {"img_attn.qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
    {"txt_attn.qkv", {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"}},
    {"img_attn.proj", {"attn.to_out.0"}},
    {"txt_attn.proj", {"attn.to_add_out"}},
    {"img_mlp.0", {"ff.net.0.proj"}},
    {"img_mlp.2", {"ff.net.2"}},
    {"txt_mlp.0", {"ff_context.net.0.proj"}},
    {"txt_mlp.2", {"ff_context.net.2"}},
    {"img_mod.lin", {"norm1.linear"}},
    {"txt_mod.lin", {"norm1_context.linear"}},
    {0}};

static const layer flux_single[] = {
    {"linear1", {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}},
    {"linear2", {"proj_out"}},
    {"modulation.lin", {"norm.linear"}},
    {0}};

static const layer flux_once[] = {
    {"img_in", {"x_embedder"}},
    {"txt_in", {"context_embedder"}},
    {"time_in.in_layer", {"time_text_embed.timestep_embedder.linear_1"}},
    {"time_in.out_layer", {"time_text_embed.timestep_embedder.linear_2"}},
    {"vector_in.in_layer", {"time_text_embed.text_embedder.linear_1"}},
    {"vector_in.out_layer", {"time_text_embed.text_embedder.linear_2"}},
    {"guidance_in.in_layer", {"time_text_embed.guidance_embedder.linear_1"}},
    {"guidance_in.out_layer", {"time_text_embed.guidance_embedder.linear_2"}},
    {"final_layer.linear", {"proj_out"}},
    {"final_layer.adaLN_modulation.1", {"norm_out.linear"}},
    {0}};

static const stack flux[] = {
    {"double_blocks", "transformer_blocks", 19, flux_double},
    {"single_blocks", "single_transformer_blocks", 38, flux_single},
    {NULL, NULL, 0, flux_once},
    {0}};

/* ---- SD 3 ----------------------------------------------------------------------------------- */

static const layer sd3_joint[] = {
    {"x_block.attn.qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
    {"x_block.attn2.qkv", {"attn2.to_q", "attn2.to_k", "attn2.to_v"}},
    {"context_block.attn.qkv", {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"}},
    {"x_block.attn.proj", {"attn.to_out.0"}},
    {"x_block.attn2.proj", {"attn2.to_out.0"}},
    {"context_block.attn.proj", {"attn.to_add_out"}},
    {"x_block.mlp.fc1", {"ff.net.0.proj"}},
    {"x_block.mlp.fc2", {"ff.net.2"}},
    {"context_block.mlp.fc1", {"ff_context.net.0.proj"}},
    {"context_block.mlp.fc2", {"ff_context.net.2"}},
    {"x_block.adaLN_modulation.1", {"norm1.linear"}},
    {"context_block.adaLN_modulation.1", {"norm1_context.linear"}},
    {0}};

static const layer sd3_once[] = {
    {"x_embedder.proj", {"pos_embed.proj"}},
    {"context_embedder", {"context_embedder"}},
    {"t_embedder.mlp.0", {"time_text_embed.timestep_embedder.linear_1"}},
    {"t_embedder.mlp.2", {"time_text_embed.timestep_embedder.linear_2"}},
    {"y_embedder.mlp.0", {"time_text_embed.text_embedder.linear_1"}},
    {"y_embedder.mlp.2", {"time_text_embed.text_embedder.linear_2"}},
    {"final_layer.linear", {"proj_out"}},
    {"final_layer.adaLN_modulation.1", {"norm_out.linear"}},
    {0}};

static const stack sd3[] = {{"joint_blocks", "transformer_blocks", 38, sd3_joint},
                            {NULL, NULL, 0, sd3_once},
                            {0}};

/* ---- HunyuanVideo --------------------------------------------------------------------------- */

static const layer hunyuan_double[] = {
    {"img_attn_qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
    {"txt_attn_qkv", {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"}},
    {"img_attn_proj", {"attn.to_out.0"}},
    {"txt_attn_proj", {"attn.to_add_out"}},
    {"img_mlp.fc1", {"ff.net.0.proj"}},
    {"img_mlp.fc2", {"ff.net.2"}},
    {"txt_mlp.fc1", {"ff_context.net.0.proj"}},
    {"txt_mlp.fc2", {"ff_context.net.2"}},
    {"img_mod.linear", {"norm1.linear"}},
    {"txt_mod.linear", {"norm1_context.linear"}},
    {0}};

static const layer hunyuan_single[] = {
    {"linear1", {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}},
    {"linear2", {"proj_out"}},
    {"modulation.linear", {"norm.linear"}},
    {0}};

static const layer hunyuan_refiner[] = {
    {"self_attn_qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
    {"self_attn_proj", {"attn.to_out.0"}},
    {"mlp.fc1", {"ff.net.0.proj"}},
    {"mlp.fc2", {"ff.net.2"}},
    {"adaLN_modulation.1", {"norm_out.linear"}},
    {0}};

static const layer hunyuan_once[] = {
    {"img_in.proj", {"x_embedder.proj"}},
    {"time_in.mlp.0", {"time_text_embed.timestep_embedder.linear_1"}},
    {"time_in.mlp.2", {"time_text_embed.timestep_embedder.linear_2"}},
    {"vector_in.in_layer", {"time_text_embed.text_embedder.linear_1"}},
    {"vector_in.out_layer", {"time_text_embed.text_embedder.linear_2"}},
    {"guidance_in.mlp.0", {"time_text_embed.guidance_embedder.linear_1"}},
    {"guidance_in.mlp.2", {"time_text_embed.guidance_embedder.linear_2"}},
    {"txt_in.input_embedder", {"context_embedder.proj_in"}},
    {"txt_in.t_embedder.mlp.0",
     {"context_embedder.time_text_embed.timestep_embedder.linear_1"}},
    {"txt_in.t_embedder.mlp.2",
     {"context_embedder.time_text_embed.timestep_embedder.linear_2"}},
    {"txt_in.c_embedder.linear_1",
     {"context_embedder.time_text_embed.text_embedder.linear_1"}},
    {"txt_in.c_embedder.linear_2",
     {"context_embedder.time_text_embed.text_embedder.linear_2"}},
    {"final_layer.linear", {"proj_out"}},
    {"final_layer.adaLN_modulation.1", {"norm_out.linear"}},
    {0}};

static const stack hunyuan_video[] = {
    {"double_blocks", "transformer_blocks", 20, hunyuan_double},
    {"single_blocks", "single_transformer_blocks", 40, hunyuan_single},
    {"txt_in.individual_token_refiner.blocks",
     "context_embedder.token_refiner.refiner_blocks", 2, hunyuan_refiner},
    {NULL, NULL, 0, hunyuan_once},
    {0}};

static const stack *const networks[] = {[LX_FUSED_FLUX] = flux,
                                        [LX_FUSED_SD3] = sd3,
                                        [LX_FUSED_HUNYUAN_VIDEO] = hunyuan_video,
                                        [LX_FUSED_FLUX_OR_HUNYUAN] = flux,
                                        [LX_FUSED_UNSURE] = flux};

/* ---- both ways ------------------------------------------------------------------------------ */

static int count_parts(const layer *l)
{
    int n = 0;

    while (n < LX_FLUX_PARTS && l->parts[n])
        n++;
    return n;
}

static bool is_same(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && !(a[i] && b[i] && strchr("._", a[i]) && strchr("._", b[i])))
            return false;
    return true;
}

static bool is_same_name(const char *a, const char *b)
{
    return strlen(a) == strlen(b) && is_same(a, b, strlen(a));
}

/* What stands behind "HEAD.N."; NULL when the path does not begin so or there is no such block. */
static const char *behind(int *block, const char *path, const char *head, int n_blocks)
{
    const size_t n = head ? strlen(head) : 0;
    int used = 0;

    if (!head)
        return path;
    if (strlen(path) < n || !is_same(path, head, n) ||
        sscanf(path + n, ".%d.%n", block, &used) != 1 || !used || *block < 0 ||
        *block >= n_blocks)
        return NULL;
    return path + n + used;
}

static void put_name(lx_str *out, const char *head, int block, const char *name)
{
    if (head)
        lx_str_printf(out, "%s.%d.%s", head, block, name);
    else
        lx_str_puts(out, name);
}

int lx_flux_split(lx_str names[LX_FLUX_PARTS], lx_fused network, const char *path)
{
    int block = 0;

    for (const stack *s = network ? networks[network] : NULL; s && s->layers; s++) {
        const char *rest = behind(&block, path, s->original, s->n_blocks);
        for (const layer *l = s->layers; rest && l->original; l++) {
            const int n = count_parts(l);
            if (!is_same_name(rest, l->original))
                continue;
            for (int k = 0; k < n; k++)
                put_name(&names[k], s->diffusers, block, l->parts[k]);
            return n;
        }
    }
    return 0;
}

bool lx_flux_join(lx_str *out, int *part, int *n_parts, lx_fused network,
                  const char *path)
{
    int block = 0;

    for (const stack *s = network ? networks[network] : NULL; s && s->layers; s++) {
        const char *rest = behind(&block, path, s->diffusers, s->n_blocks);
        for (const layer *l = s->layers; rest && l->original; l++)
            for (int k = 0; k < count_parts(l); k++)
                if (is_same_name(rest, l->parts[k])) {
                    put_name(out, s->original, block, l->original);
                    *part = k;
                    *n_parts = count_parts(l);
                    return true;
                }
    }
    return false;
}

bool lx_flux_is_swapped(lx_fused network, const char *path, int64_t in, int64_t out)
{
    if (!network)
        return false;
    if (is_same_name(path, "final_layer.adaLN_modulation.1") ||
        is_same_name(path, "norm_out.linear"))
        return true;
    return network == LX_FUSED_SD3 && out == 2 * in &&
           (lx_ends_with(path, "context_block.adaLN_modulation.1") ||
            lx_ends_with(path, "norm1_context.linear"));
}

bool lx_flux_has_comfyui_name(const char *original)
{
    static const char *const others[] = {"time_in.mlp.", "guidance_in.mlp.",
                                         "txt_in.t_embedder.", "txt_in.c_embedder."};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (lx_starts_with(original, others[i]))
            return false;
    return true;
}

void lx_flux_rows(size_t rows[LX_FLUX_PARTS], int n_parts, size_t in, size_t out)
{
    for (int k = 0; k < n_parts; k++)
        rows[k] = n_parts == 4 ? in : out / (size_t)n_parts;
    if (n_parts == 4)
        rows[3] = out > 3 * in ? out - 3 * in : 0;
}
