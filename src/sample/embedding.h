/*
 * sample/embedding - textual inversions: words whose vectors were learned
 *
 * A file holds n vectors [n, D] of the text encoder's width, which stand where the pieces of
 * a word would. They are appended to the encoder's table of tokens, so that everything
 * behind it takes their ids as any other's. In a prompt:
 *
 *     embedding:NAME   ComfyUI's way; NAME must be there
 *     NAME             the web UI's way: a word that is the name of a file in the folder
 *
 * Names are read in any case, the longest that fits counts, and a weight in brackets holds
 * for all of a word's vectors. A word that does not fit into a chunk begins the next.
 *
 * Files: .safetensors, .pt, .bin with one tensor of the right width, whatever its name
 * (emb_params of sd-scripts, string_to_param.* of the web UI, the word itself of
 * diffusers); of those for two encoders (clip_l, clip_g) the one that fits.
 *
 * Order of use: lx_embeddings_find per prompt, lx_embeddings_load before a graph of the
 * text encoder is built, then lx_prompt_chunk with them.
 * Source: Gal et al. 2022, arXiv:2208.01618.
 */
#ifndef LX_SAMPLE_EMBEDDING_H
#define LX_SAMPLE_EMBEDDING_H

#include "src/base/arena.h"
#include "src/model/checkpoint.h"

enum {
    LX_EMBEDDINGS = 64,
    LX_EMBEDDING_VECTORS = 75
}; /* at most: words; vectors of one */

typedef struct lx_embedding {
    const char *name, *path;
    int32_t first; /* id of its first vector, after lx_embeddings_load */
    int n;         /* vectors */
    char hash[13]; /* the file's, as web UIs write it */
} lx_embedding;

typedef struct lx_embeddings {
    lx_embedding items[LX_EMBEDDINGS];
    size_t count;
} lx_embeddings;

/* Adds the words that `text` has. dir: where files are looked for, with the folders in it;
 * NULL = only embedding:NAME, in the current folder. LX_ENOTFOUND, LX_ELIMIT. */
int lx_embeddings_find(lx_embeddings *out, lx_arena *arena, const char *text,
                       const char *dir, lx_error *err);

/* Reads the files and appends their vectors to the text encoder. LX_EFORMAT,
 * LX_EMISMATCH (another width), naming the file. */
int lx_embeddings_load(lx_embeddings *words, lx_checkpoint *checkpoint,
                       const lx_sd_config *config, lx_error *err);

/* The first word in text[0, n): where it begins and how many bytes it takes there. NULL:
 * there is none, or words is NULL. */
const lx_embedding *lx_embeddings_next(size_t *start, size_t *bytes,
                                       const lx_embeddings *words, const char *text,
                                       size_t n);

bool lx_embedding_is_in(const lx_embedding *word, const char *text);

#endif
