/* What a checkpoint is: sizes from shapes, hashes from bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/model/checkpoint_internal.h"

enum { MAX_SIZE = 1 << 20, MAX_TEXT_LAYERS = 256, N_GROUPS = 32 };

/* One dimension of a weight that must be there with `n_dims` dimensions. */
static int read_size(int *out, const lx_checkpoint *ckpt, lx_part part, const char *name,
                     int n_dims, int dim, lx_error *err)
{
    const lx_tensor_view *view = lx_checkpoint_find(ckpt, part, name);

    if (!view)
        return lx_fail(err, LX_EFORMAT, "the %s has no weight %s", lx_part_name(part), name);
    if (view->n_dims != n_dims)
        return lx_fail(err, LX_EFORMAT, "%s: %d dimensions where %d are expected", view->name,
                       view->n_dims, n_dims);
    if (view->shape[dim] < 1 || view->shape[dim] > MAX_SIZE)
        return lx_fail(err, LX_EFORMAT, "%s: a dimension of %lld makes no sense", view->name,
                       (long long)view->shape[dim]);
    *out = (int)view->shape[dim];
    return 0;
}

/* Widths of the four levels of a UNet or VAE encoder. */
static int read_levels(int out[4], const lx_checkpoint *ckpt, lx_part part, const char *prefix,
                       int divisor, lx_error *err)
{
    for (int i = 0; i < 4; i++) {
        char name[96];
        int rc;

        snprintf(name, sizeof(name), "%sdown_blocks.%d.resnets.0.conv1.weight", prefix, i);
        if ((rc = read_size(&out[i], ckpt, part, name, 4, 0, err)) < 0)
            return rc;
        if (out[i] % divisor != 0)
            return lx_fail(err, LX_EUNSUPPORTED, "%s: a width of %d is not a multiple of %d",
                           name, out[i], divisor);
    }
    return 0;
}

static int read_unet(lx_sd_config *config, const lx_checkpoint *ckpt, lx_error *err)
{
    static const char key[] =
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight";
    int in_channels = 0, rc;

    config->unet_heads = 8;
    config->latent_channels = 4;
    if ((rc = read_levels(config->unet_channels, ckpt, LX_UNET, "", N_GROUPS, err)) < 0 ||
        (rc = read_size(&config->context_size, ckpt, LX_UNET, key, 2, 1, err)) < 0 ||
        (rc = read_size(&in_channels, ckpt, LX_UNET, "conv_in.weight", 4, 1, err)) < 0)
        return rc;
    if (in_channels != config->latent_channels)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "a UNet with %d input channels (an inpainting or depth model); lx trains "
                       "those with %d",
                       in_channels, config->latent_channels);
    return 0;
}

static int count_text_layers(const lx_checkpoint *ckpt)
{
    int n = 0;
    char name[96];

    do
        snprintf(name, sizeof(name), "text_model.encoder.layers.%d.layer_norm1.weight", n);
    while (lx_checkpoint_find(ckpt, LX_TEXT_ENCODER, name) && ++n < MAX_TEXT_LAYERS);
    return n;
}

static int read_heads(int *out, const lx_checkpoint *ckpt, int asked, int width, lx_error *err)
{
    const char *text = lx_checkpoint_metadata(ckpt, "lx.text_encoder_heads");
    const char *origin = "--text_encoder_heads";
    int heads = asked;

    if (heads == 0 && text) {
        char *end;
        long value = strtol(text, &end, 10);

        heads = *end == 0 && value > 0 && value <= MAX_SIZE ? (int)value : -1;
        origin = "metadata lx.text_encoder_heads";
    }
    if (heads == 0) {
        heads = ckpt->folder_text_heads;
        origin = "text_encoder/config.json";
    }
    if (heads == 0 && width == 768)
        heads = 12;
    if (heads == 0)
        return lx_fail(err, LX_EUSAGE,
                       "a text encoder of width %d: its number of attention heads cannot be read "
                       "from the weights; give it with --text_encoder_heads N",
                       width);
    if (heads < 0 || width % heads != 0)
        return lx_fail(err, LX_EUSAGE, "%s: %d heads do not divide the text encoder's width %d",
                       origin, heads, width);
    *out = heads;
    return 0;
}

static int read_text(lx_sd_config *config, const lx_checkpoint *ckpt, int text_heads,
                     lx_error *err)
{
    static const char tokens[] = "text_model.embeddings.token_embedding.weight";
    static const char positions[] = "text_model.embeddings.position_embedding.weight";
    int rc;

    if ((rc = read_size(&config->vocab_size, ckpt, LX_TEXT_ENCODER, tokens, 2, 0, err)) < 0 ||
        (rc = read_size(&config->text_width, ckpt, LX_TEXT_ENCODER, tokens, 2, 1, err)) < 0 ||
        (rc = read_size(&config->text_positions, ckpt, LX_TEXT_ENCODER, positions, 2, 0,
                        err)) < 0 ||
        (rc = read_heads(&config->text_heads, ckpt, text_heads, config->text_width, err)) < 0)
        return rc;
    config->text_layers = count_text_layers(ckpt);
    if (config->text_layers == 0)
        return lx_fail(err, LX_EFORMAT, "the text encoder has no layers");
    if (config->text_width != config->context_size)
        return lx_fail(err, LX_EMISMATCH,
                       "the text encoder is %d wide, the UNet expects a context of %d",
                       config->text_width, config->context_size);
    return 0;
}

int lx_checkpoint_config(lx_sd_config *out, const lx_checkpoint *ckpt, int text_heads,
                         lx_error *err)
{
    lx_sd_config config = {.unet_heads = 0};
    int rc;

    if ((rc = read_unet(&config, ckpt, err)) < 0 ||
        (rc = read_text(&config, ckpt, text_heads, err)) < 0)
        return rc;
    if (lx_checkpoint_count(ckpt, LX_VAE) > 0 &&
        (rc = read_levels(config.vae_channels, ckpt, LX_VAE, "encoder.", N_GROUPS, err)) < 0)
        return rc;
    *out = config;
    return 0;
}

/* Source: library/train_util.py model_hash and calculate_sha256 of sd-scripts. */
int lx_checkpoint_hashes(char old_hash[9], char sha256[65], const char *path, lx_error *err)
{
    enum { OLD_BEGIN = 0x100000, OLD_BYTES = 0x10000 };
    lx_mapping map = {0};
    char hex[LX_HASH_HEX + 1];
    lx_hash whole, old;
    size_t n = 0;
    int rc;

    old_hash[0] = sha256[0] = 0;
    if (lx_file_is_dir(path))
        return 0;
    if ((rc = lx_file_map(&map, path, err)) < 0)
        return rc;
    if (map.size > OLD_BEGIN)
        n = map.size - OLD_BEGIN < OLD_BYTES ? map.size - OLD_BEGIN : OLD_BYTES;
    old = lx_sha256_of(n ? map.data + OLD_BEGIN : map.data, n);
    lx_file_unmap(&map);
    if ((rc = lx_file_hash(&whole, path, err)) < 0)
        return rc;
    lx_hash_hex(sha256, &whole);
    lx_hash_hex(hex, &old);
    memcpy(old_hash, hex, 8);
    old_hash[8] = 0;
    return 0;
}
