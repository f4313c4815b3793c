/*
 * lora/convert - a LoRA in another program's spelling, or in another precision
 *
 * Every key of the file becomes one of the result, is dropped because it was asked for, or the conversion is
 * refused with the key named. Values keep their bits unless a precision is asked for.
 *
 *                 names          LoRA                                         alpha
 *     kohya       lora/spell     .lora_down.weight .lora_up.weight            .alpha
 *     comfyui                    .lora_A.weight .lora_B.weight (Tucker: kohya's)   .alpha
 *     diffusers                  UNet .lora.down.weight .lora.up.weight, text encoder .lora_linear_layer.down.weight
 *                                ..., other networks .lora_A.weight ...       in up
 *     diffusers-old              _lora.down.weight _lora.up.weight            in up
 *     peft                       .lora_A.weight .lora_B.weight                adapter_config.json
 *
 * kohya and ComfyUI have LyCORIS' suffixes for the other kinds; the rest have plain LoRA, and diffusers and PEFT
 * DoRA of output rows (.lora_magnitude_vector). What a spelling cannot say is refused.
 *
 * diffusers' files have no alphas: alpha / rank is multiplied into up, in F32 where half precision cannot hold the
 * product (unless a precision is asked for), and remembered in the metadata (LX_CONVERT_SCALES), so that a
 * spelling with alphas gets the very factors back. A file without an alpha gets alpha = rank where one is
 * expected; an alpha of 0 means the same, as sd-scripts reads it.
 *
 * Fused layers of Flux.1, SD 3 and HunyuanVideo are taken apart for diffusers and PEFT and put together for the others,
 * and shift and scale change places where the two disagree (lora/flux), exactly.
 *
 * Bundled embeddings go along to kohya and ComfyUI (cloneofsimo's `<s1>` as bundle_emb.s1.string_to_param.*).
 *
 * Order of use: lx_convert_new, lx_convert_add per file, lx_convert_run, lx_convert_free.
 */
#ifndef LX_LORA_CONVERT_H
#define LX_LORA_CONVERT_H

#include "src/format/safetensors.h"
#include "src/lora/spell.h"

/* Of the metadata: {"*": 0.5} or {module: scale, ...}, for modules as this file names them. */
#define LX_CONVERT_SCALES "lx.convert.scales"

/* Likewise: the type that the alphas had, "F32". */
#define LX_CONVERT_ALPHAS "lx.convert.alphas"

typedef struct lx_convert_options {
    lx_spelling to;
    bool keeps_names;         /* instead of `to`: all keys as they are */
    bool has_dtype;           /* cast all numbers but alphas to: */
    lx_dtype dtype;           /* LX_F32, LX_F16, LX_BF16, LX_F8_E4M3 or LX_F8_E5M2 */
    const char *const *drops; /* shell patterns of keys */
    size_t n_drops;
    bool has_network; /* the caller knows whose layers these are: */
    lx_fused network; /* LX_FUSED_NONE: a network that all name alike */
} lx_convert_options;

/* One key of the result. */
typedef struct lx_convert_key {
    const char *from; /* key of the file; NULL: made (an alpha that was not there) */
    lx_tensor_view to;
} lx_convert_key;

/* What is one file: all of it, but for PEFT, which has one for each network. */
typedef struct lx_convert_part {
    const char *folder; /* "unet", "text_encoder", ...; literal */
    const char *config; /* PEFT's adapter_config.json, or NULL */
    const char *scales; /* LX_CONVERT_SCALES, or NULL */
    lx_convert_key *keys;
    size_t n_keys, capacity;
} lx_convert_part;

enum { LX_CONVERT_PARTS = 5 };

typedef struct lx_convert_result {
    lx_convert_part parts[LX_CONVERT_PARTS]; /* those with keys first */
    size_t n_parts;
    const char **dropped; /* keys */
    size_t n_dropped;
    size_t n_modules, n_lora; /* n_lora: plain ones */
    int64_t rank;             /* of all modules, or 0 when they differ */
    int64_t ranks[LX_LORA_PART_COUNT]; /* of the last module of each network, 0 without one */
    bool has_uneven_ranks;             /* within one of them */
    double alpha;             /* likewise */
    size_t n_folded,
        n_inexact; /* modules whose scale went into up; those rounded by it */
    size_t
        n_widened; /* those whose up is F32 now, as half precision could not hold the product */
    size_t n_restored;       /* modules whose scale came out of up again */
    size_t n_split, n_fused; /* fused layers that were taken apart, or put together */
    size_t n_swapped;        /* layers whose shift and scale changed places */
    size_t n_t5;             /* modules of the text encoder T5 */
    size_t n_repaired;       /* damaged names that are sound now */
    size_t n_zero_alphas;    /* alphas of 0, which are the rank now */
    double rounding;   /* relative, of the cast, over all values; 0: none was rounded */
    size_t n_vanished; /* values that the cast made 0 */
    const char *
        alphas; /* LX_CONVERT_ALPHAS: where the spelling has none for alphas that were there; or NULL */
    lx_spell_model model;
    const char *base; /* as lora/base says */
} lx_convert_result;

typedef struct lx_convert lx_convert;

int lx_convert_new(lx_convert **out, lx_error *err);
void lx_convert_free(lx_convert *convert);

/* A file, which must outlive the conversion and whose modules are changed by what is dropped. part: the network
 * that it is for when its names do not say, else LX_LORA_PART_COUNT. */
int lx_convert_add(lx_convert *convert, lx_lora_file *file, lx_lora_part part,
                   lx_error *err);

/*
 *   LX_EUNSUPPORTED  a key that is not understood, or that the spelling has no name for
 *   LX_EFORMAT       no modules, a module's own problem, values that are not finite, two keys that become one
 *   LX_ELIMIT        a value beyond the precision's range
 *   LX_EUSAGE        a pattern that no key matches; keys as they are, whose alphas are in a config beside the file
 * After an error the conversion can only be freed. Keys and buffers live until then.
 */
int lx_convert_run(lx_convert_result *out, lx_convert *convert,
                   const lx_convert_options *options, lx_error *err);

#endif
