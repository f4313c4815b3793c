/*
 * lora/lora - the modules of one LoRA, in memory
 *
 * A module is a low-rank update of one layer:  delta = strength * (alpha / rank) * up x down
 *     down   [rank, in]   or [rank, in, kh, kw]   `lora_down.weight`
 *     up     [out, rank]  or [out, rank, 1, 1]    `lora_up.weight`
 *     alpha  scalar; a module without one has alpha = rank
 * Source: Hu et al. 2021, arXiv:2106.09685; names and targets as in sd-scripts networks/lora.py.
 *
 * Two other families can be trained (lora/lycoris.h): LoHa, the elementwise product of two such products, and
 * LoKr, a Kronecker product. Their factors stand in the same places as down and up.
 *
 * Two views: lx_lora (this file) holds trainable device parameters for a base model; lora/file.h
 * reads any LoRA file of any dialect on the host for inspect, merge and convert.
 */
#ifndef LX_LORA_LORA_H
#define LX_LORA_LORA_H

#include "src/format/safetensors.h"
#include "src/lora/file.h"
#include "src/model/builder.h"

/* A LoHa has four, a LoKr two to four. */
enum { LX_LORA_FACTORS = 4 };

typedef struct lx_lora_module {
    const char *name;  /* "lora_unet_down_blocks_0_attentions_0_proj_in" */
    const char *layer; /* "down_blocks.0.attentions.0.proj_in" */
    lx_part part;
    lx_lora_kind kind; /* LX_KIND_LORA, LX_KIND_LOHA or LX_KIND_LOKR */
    int rank;
    float alpha;
    bool is_alpha_whole; /* the peer has it as an integer where network_alpha is (lx_lora_save) */
    union { /* f32; gradient buffers when trainable */
        struct {
            lx_param down, up; /* of a plain LoRA */
        };
        lx_param factors[LX_LORA_FACTORS];
    };
    lx_lora_role roles[LX_LORA_FACTORS]; /* which is which */
    int n_factors;
    size_t first;      /* its first factor's place in lx_lora.params */
    bool is_conv;      /* of a kh x kw convolution */
    int64_t window[2]; /* kh, kw; 1, 1 of others */
} lx_lora_module;

typedef struct lx_lora {
    lx_lora_module
        *modules; /* text encoder first, then UNet down, up, mid: the peer's order */
    size_t count;
    lx_param **params; /* all factors, in module order (down, up) */
    size_t n_params;
    float *values, *gradients; /* one slab each, in the order of params; device memory */
    /* Of a trainable LoRA, what the host reads and changes: the slabs themselves where the device
     * uses host memory, else copies, kept equal by lx_lora_send and lx_lora_fetch. */
    float *host_values, *host_gradients;
    void *narrow; /* lx_lora_narrow's copy of the values; NULL = none */
    size_t narrow_bytes;
    size_t n_values;
    float multiplier; /* 1 while training */
    lx_device *dev;
    struct lx_arena *arena; /* names */
} lx_lora;

/*
 * The UNet's blocks as network_args counts them: down_blocks.L attentions or resnets J is 1 + 3L + J,
 * its downsampler 3 + 3L, the middle 12, up_blocks.L attentions or resnets J is 13 + 3L + J, its
 * upsampler 15 + 3L. Nothing is in block 0.
 */
enum { LX_LORA_BLOCKS = 25 };

/* Which layers a network of LyCORIS takes: its presets. */
typedef enum lx_lycoris_preset {
    LX_PRESET_FULL,
    LX_PRESET_FULL_LIN,
    LX_PRESET_ATTN_MLP,
    LX_PRESET_ATTN_ONLY,
    LX_PRESET_UNET_ONLY,
    LX_PRESET_UNET_TRANSFORMER_ONLY,
    LX_PRESET_UNET_CONVBLOCK_ONLY,
    LX_PRESET_COUNT
} lx_lycoris_preset;

/* What --network_dim and friends ask for. */
typedef struct lx_lora_spec {
    bool
        is_lycoris; /* lycoris.kohya; else networks.lora, and the next two are not read */
    lx_lora_kind kind; /* LX_KIND_LORA (also locon), LX_KIND_LOHA, LX_KIND_LOKR */
    lx_lycoris_preset preset;
    int factor; /* LoKr: how many parts a dimension is cut into; -1 = near its root */
    bool decompose_both; /* LoKr: the smaller matrix too is a product */
    bool full_matrix;    /* LoKr: neither is */
    bool is_unbalanced;  /* LoKr: the larger part of `out` goes to the smaller matrix */
    bool is_rs;          /* scale by alpha / sqrt(rank), told as a larger alpha */

    int rank;      /* network_dim; 4 when not given */
    double alpha;  /* network_alpha; 0 = rank */
    bool has_conv; /* conv_dim was given: resnets and samplers are targets, with a conv_rank of 0, too */
    int conv_rank; /* of kh x kw convolutions; 0 = none of them */
    double conv_alpha;
    bool has_unet, has_text_encoder;

    bool has_block_ranks; /* then these rule the UNet; rank 0 = no module */
    int block_rank[LX_LORA_BLOCKS], conv_block_rank[LX_LORA_BLOCKS];
    double block_alpha[LX_LORA_BLOCKS], conv_block_alpha[LX_LORA_BLOCKS];
    bool has_block_dims, has_block_alphas; /* these were given, and are not network_dim's and network_alpha's */
    bool has_conv_alpha;                   /* conv_alpha or conv_block_alphas were given */
    bool has_block_lr;
    double block_lr[LX_LORA_BLOCKS]; /* factors of unet_lr */
    double unet_plus, text_plus;     /* LoRA+: the up's rate over the down's; 0 = off */
    double neuron_dropout, rank_dropout,
        module_dropout; /* probabilities below 1; 0 = off */
} lx_lora_spec;

/* Block of a UNet layer; -1 when it is in none. */
int lx_lora_block(const char *layer);
/* Does the spec speak of convolutions, by which resnets and samplers become targets? */
bool lx_lora_spec_has_conv(const lx_lora_spec *spec);
/* Factor of the part's rate for the down or the up of a layer: block and LoRA+. */
double lx_lora_rate_factor(const lx_lora_spec *spec, lx_part part, const char *layer,
                           bool is_up);
/* Has a LoKr no rank, both of its matrices being whole? */
bool lx_lokr_is_whole(const lx_lora_module *module);
/* Its shape in the file: LoHa's and LoKr's factors are matrices even where a layer has a window. */
int lx_lora_file_shape(int64_t shape[LX_MAX_DIMS], const lx_lora_module *module,
                       int factor);

/*
 * Modules for every target layer of the checkpoint (192 + 72 for SD 1.5 and rank only; 278 UNet
 * modules with conv_rank). down: uniform +-1/sqrt(fan_in) (Kaiming, a = sqrt 5) from the stream
 * (seed, LX_RNG_INIT, 0, hash of name); up: zeros.
 */
int lx_lora_create(lx_lora **out, lx_device *dev, lx_checkpoint *ckpt,
                   const lx_sd_config *config, const lx_lora_spec *spec, uint64_t seed,
                   lx_error *err);
/*
 * From a file in the kohya dialect or of LyCORIS' LoHa and LoKr; families, ranks and alphas from the file.
 * is_trainable false: no gradient buffers (sampling).
 */
int lx_lora_open(lx_lora **out, lx_device *dev, lx_checkpoint *ckpt,
                 const lx_sd_config *config, const char *path, bool is_trainable,
                 lx_error *err);
/*
 * The LoRA of a file, to be trained on by a spec: with modules of the parts and blocks that it trains alone, and with
 * new ones (as by lx_lora_create) for layers that it trains and the file has not, unless has_no_more. Of LoHa and LoKr
 * all modules are taken, and there must be none of a part that is not trained.
 */
typedef struct lx_lora_start {
    const lx_lora_spec *spec;
    bool has_rank;    /* the spec's rank was asked for; else new modules have that of the file's first */
    bool has_no_more; /* sd-scripts' dim_from_weights */
    uint64_t seed;
    size_t n_left_out, n_new; /* of modules; set */
    bool has_idle_blocks;     /* some were left out because their block's rate is 0; set */
} lx_lora_start;
int lx_lora_open_on(lx_lora **out, lx_lora_start *start, lx_device *dev, lx_checkpoint *ckpt,
                    const lx_sd_config *config, const char *path, lx_error *err);
/*
 * From a file of any spelling and family, for sampling and verifying: what is no plain LoRA becomes one
 * that makes the same change, of the rank that it takes (LoHa: the square of its own; what is dense or
 * depends on the base weight: the layer's shorter side). is_trainable is for graphs whose values change
 * between runs; training goes on from the file's own factors only (lx_lora_open). Textual inversions that
 * come with it are left aside.
 *
 *   LX_EMISMATCH     a layer that the base model has not, or has in other sizes
 *   LX_EUNSUPPORTED  changes of biases and norms; keys that no family explains
 */
int lx_lora_open_any(lx_lora **out, lx_device *dev, lx_checkpoint *ckpt,
                     const lx_sd_config *config, const char *path, bool is_trainable,
                     lx_error *err);
void lx_lora_free(lx_lora *lora);
/*
 * Adds multiplier times the change of a LoRA file of any family to the checkpoint's weights, which become
 * F32 (--base_weights). Before any parameter of them is made. Errors of lx_lora_open_any.
 * Source: sd-scripts networks/lora.py (merge_to), linear in the multiplier.
 */
int lx_lora_merge_into(lx_checkpoint *ckpt, const lx_sd_config *config, const char *path,
                       double multiplier, lx_error *err);

/* The host's values of a parameter of a trainable LoRA; its gradient, NULL when it has none. */
float *lx_lora_host_value(const lx_lora *lora, const lx_param *param);
float *lx_lora_host_gradient(const lx_lora *lora, const lx_param *param);
/* Host to device: after the host changed values; after it zeroed gradients. */
int lx_lora_send(lx_lora *lora, lx_error *err);
/*
 * From now on the values are kept on the device in F16 or BF16 too, for products with activations of that
 * type; lx_lora_send and whoever updates there keep them equal. Before any graph is built on it.
 */
int lx_lora_narrow(lx_lora *lora, lx_dtype dtype, lx_error *err);
int lx_lora_send_gradients(lx_lora *lora, lx_error *err);
/* Device to host: after gradients were added to. */
int lx_lora_fetch_gradients(lx_lora *lora, lx_error *err);

/* |delta| of a module with its alpha: the Frobenius norm, by the host's values. */
double lx_lora_module_norm(const lx_lora *lora, const lx_lora_module *module);
/*
 * Makes no module's norm exceed `most` (--scale_weight_norms): its factors are scaled alike. How many
 * were, and mean and largest norm afterwards. Changes the host's values.
 * Source: sd-scripts networks/lora.py apply_max_norm_regularization; LyCORIS' apply_max_norm.
 */
typedef struct lx_lora_norms {
    size_t n_scaled;
    double mean, largest;
} lx_lora_norms;
lx_lora_norms lx_lora_limit_norms(lx_lora *lora, double most);

/* The hook for lx_builder: y + multiplier * delta(x), alpha/rank * up(down(x)) of a plain LoRA, for layers with
 * a module. hook_context is the lx_lora. */
lx_tensor *lx_lora_inject(void *lora, lx_builder *b, const lx_layer *layer, lx_tensor *x,
                          lx_tensor *y);

/*
 * The same while training with dropout (kernels/dropout.h), on the module's own stream: what leaves the down
 * goes through it; of a network of LyCORIS (`by_row`) what the whole module adds, where rank_dropout leaves
 * out rows of the change, the same for the whole batch and not made good for.
 */
typedef struct lx_lora_dropout {
    double neuron, rank, module; /* probabilities */
    bool by_row;
    lx_tensor *moment; /* I64 [2]: seed and micro-step; NULL = no dropout */
} lx_lora_dropout;
lx_tensor *lx_lora_inject_dropout(lx_lora *lora, lx_builder *b, const lx_layer *layer,
                                  lx_tensor *x, lx_tensor *y,
                                  const lx_lora_dropout *dropout);
/* Names the draws of a module. */
uint64_t lx_lora_dropout_stream(const lx_lora_module *module);

/* ---- saving ------------------------------------------------------------------------------- */

/* The file's tensors in host memory, for the writer and for hashes of the data. F32 of a device whose memory is
 * the host's are the LoRA's own values, which must not change meanwhile; others are copied, a factor at a time. */
typedef struct lx_lora_tensors {
    lx_tensor_view *
        views; /* by module: NAME.lora_down.weight, NAME.lora_up.weight (or its factors), NAME.alpha */
    size_t count;
    void *data; /* of the factors that were copied; NULL = none were */
    struct lx_arena *arena;
} lx_lora_tensors;

/*
 * dtype: of the factors and alphas. has_integer_alpha: alphas as I64, which is what the peer writes
 * when network_alpha was left at its default (a Python int) and no save_precision casts it; but for those of
 * convolutions and blocks, which are numbers with a point there, and those that are not whole.
 */
int lx_lora_tensors_new(lx_lora_tensors **out, const lx_lora *lora, lx_dtype dtype,
                        bool has_integer_alpha, lx_error *err);
void lx_lora_tensors_free(lx_lora_tensors *tensors);

/*
 * What the peer writes of a file into its metadata: sshs_model_hash, the SHA-256 of the tensors'
 * bytes, and sshs_legacy_hash, 8 digits of 64 KiB at 1 MiB of the file as it would be with the
 * `ss_` entries alone (of which there is at least one, as in every trained LoRA).
 * Source: sd-scripts library/train_util.py precalculate_safetensors_hashes.
 */
int lx_lora_hashes(char model_hash[65], char legacy_hash[9],
                   const lx_lora_tensors *tensors, const lx_metadata_entry *metadata,
                   size_t n_metadata, lx_error *err);
/* The second alone. */
int lx_lora_legacy_hash(char legacy_hash[9], const lx_tensor_view *tensors,
                        size_t n_tensors, const lx_metadata_entry *metadata,
                        size_t n_metadata, lx_error *err);

/* Writes the file. Both hashes are added to the metadata unless that is empty. */
int lx_lora_save(const char *path, const lx_lora *lora, lx_dtype dtype,
                 bool has_integer_alpha, const lx_metadata_entry *metadata,
                 size_t n_metadata, lx_error *err);
/* The same tensors in torch's format (.ckpt, .pt), which has no place for metadata. */
int lx_lora_save_torch(const char *path, const lx_lora *lora, lx_dtype dtype,
                       bool has_integer_alpha, lx_error *err);

#endif
