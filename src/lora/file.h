/*
 * lora/file - any LoRA file, as modules on the host
 *
 * Every tensor of the file becomes a role of one module or is listed as not understood; nothing is
 * dropped in silence. The suffix of a key tells the role (`.lora_down.weight`, `.lora_A.weight`,
 * `:down`, ...), what stands before it names the module. Names are kept as the file spells them.
 *
 *     LoRA / LoCon   delta = alpha/rank * up x down, down [rank, in(, kh, kw)], up [out, rank(, 1, 1)]
 *     Tucker         up, mid [rank, rank, kh, kw], down [rank, in, 1, 1]
 *     LoHa           alpha/rank * (w1a w1b) o (w2a w2b)
 *     LoKr           scale * kron(w1, w2)
 *     others         see lx_lora_kind
 *
 * A missing alpha means alpha = rank. Sources of the spellings: sd-scripts networks/lora.py, LyCORIS,
 * diffusers lora_conversion_utils, PEFT, cloneofsimo/lora.
 */
#ifndef LX_LORA_FILE_H
#define LX_LORA_FILE_H

#include <stdbool.h>

#include "src/base/arena.h"
#include "src/format/tensor_file.h"

typedef enum lx_lora_kind {
    LX_KIND_LORA,   /* up and down; also LoCon */
    LX_KIND_TUCKER, /* with a mid */
    LX_KIND_LOHA,
    LX_KIND_LOKR,
    LX_KIND_FULL, /* diff, diff_b */
    LX_KIND_NORM, /* w_norm, b_norm */
    LX_KIND_IA3,
    LX_KIND_GLORA,
    LX_KIND_OFT, /* and BOFT */
    LX_KIND_COUNT
} lx_lora_kind;

typedef enum lx_lora_role {
    LX_ROLE_DOWN, LX_ROLE_UP, LX_ROLE_MID, LX_ROLE_ALPHA, LX_ROLE_SCALE, LX_ROLE_DORA,
    LX_ROLE_HADA_W1_A, LX_ROLE_HADA_W1_B, LX_ROLE_HADA_W2_A, LX_ROLE_HADA_W2_B,
    LX_ROLE_HADA_T1, LX_ROLE_HADA_T2,
    LX_ROLE_LOKR_W1, LX_ROLE_LOKR_W1_A, LX_ROLE_LOKR_W1_B, LX_ROLE_LOKR_W2, LX_ROLE_LOKR_W2_A,
    LX_ROLE_LOKR_W2_B, LX_ROLE_LOKR_T2,
    LX_ROLE_DIFF, LX_ROLE_DIFF_B, LX_ROLE_W_NORM, LX_ROLE_B_NORM,
    LX_ROLE_IA3_WEIGHT, LX_ROLE_IA3_ON_INPUT,
    LX_ROLE_GLORA_A1, LX_ROLE_GLORA_A2, LX_ROLE_GLORA_B1, LX_ROLE_GLORA_B2, LX_ROLE_GLORA_BM,
    LX_ROLE_OFT_BLOCKS, LX_ROLE_OFT_RESCALE, LX_ROLE_OFT_R,
    LX_ROLE_UP_BIAS,
    LX_ROLE_COUNT
} lx_lora_role;

/* Which of the model's networks a module belongs to. */
typedef enum lx_lora_part {
    LX_LORA_UNET, LX_LORA_TEXT_ENCODER, LX_LORA_TEXT_ENCODER_2, LX_LORA_TEXT_ENCODER_3,
    LX_LORA_OTHER, /* a transformer, or a name that does not tell */
    LX_LORA_PART_COUNT
} lx_lora_part;

typedef struct lx_lora_entry {
    const char *name; /* the file's key without the suffix */
    lx_lora_part part;
    lx_lora_kind kind;
    const lx_tensor_view *tensors[LX_ROLE_COUNT]; /* NULL where the module has none */
    int64_t rank;  /* 0 where the kind has none */
    double alpha;  /* rank when absent */
    bool has_alpha, has_dora; /* alpha: a tensor, or the config beside the file */
    const char *problem; /* why the module cannot be used (ranks that differ ...); NULL = sound */
} lx_lora_entry;

typedef struct lx_lora_file {
    lx_tensor_file *file;
    lx_arena *arena;
    const char *family;     /* "kohya", "diffusers", "diffusers (old)", "PEFT", "cloneofsimo", ... */
    lx_lora_entry *modules; /* file order of first appearance */
    size_t n_modules;
    const lx_tensor_view **unknown; /* keys that no role explains */
    size_t n_unknown;
    const lx_tensor_view **embeddings; /* textual inversions, alone or bundled */
    size_t n_embeddings;
    size_t n_problems; /* modules with a problem */
    bool is_state;     /* of a training (train/state): a LoRA, its optimizer and more, to go on from; no modules
                          and nothing unknown then */
    const char *config; /* what told alphas that no tensor has (lora/peft_config), or NULL */
    const char *config_problem; /* a literal, or NULL */
} lx_lora_file;

/* A file without any LoRA opens too: n_modules is 0 then. What is wrong with a module is told in its
 * `problem`, so that inspect can show all of it; whoever computes with it must refuse. */
int lx_lora_file_open(lx_lora_file **out, const char *path, lx_error *err);
/* Of an open file, which it takes (but for an error). Of a header alone alphas are not known: NAN. */
int lx_lora_file_of(lx_lora_file **out, lx_tensor_file *file, lx_error *err);
void lx_lora_file_close(lx_lora_file *file);

/* What a file without modules is: "the state of a training", "a textual inversion", "a whole model"; NULL: not known. A literal. */
const char *lx_lora_file_instead(const lx_lora_file *file);
/* LX_EFORMAT, for whoever needs modules: that there are none, and what the file is instead. */
int lx_lora_file_fail_empty(const lx_lora_file *file, lx_error *err);

const char *lx_lora_kind_name(lx_lora_kind kind);
const char *lx_lora_part_name(lx_lora_part part);
/* alpha / rank; 1 for a module without rank. */
double lx_lora_entry_scale(const lx_lora_entry *module);
const lx_lora_entry *lx_lora_file_find(const lx_lora_file *file, const char *name);

#endif
