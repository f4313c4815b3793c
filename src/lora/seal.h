/*
 * lora/seal - a LoRA file that carries the hashes of its own tensors
 *
 * sshs_model_hash stands in the header, in front of the tensors that it is of, and the file's own hash is of both:
 * two passes of SHA-256 over the bytes that cannot overlap. All else happens beside them, taken up by whichever
 * thread is free:
 *
 *     first   hash of the tensors, as far as they are made   |  making them; the room for the header and the
 *             and of other texts, in the same instructions   |  tensors, on their way to the disk
 *     then    hash of the file                               |  the header over its room, what the caller has to do
 *                                                            |  beside, sync, rename
 *
 * The room has the right size because a hash has as many digits before it is known. A disk that is busy delays the right
 * column and not the left one.
 */
#ifndef LX_LORA_SEAL_H
#define LX_LORA_SEAL_H

#include <stdbool.h>

#include "src/base/sha256.h"
#include "src/format/safetensors.h"

/* What else is to be hashed before the header is complete. */
typedef struct lx_seal_text {
    const void *data;
    size_t n;
    lx_hash *hash;
} lx_seal_text;

typedef struct lx_seal {
    const char *path;
    const lx_tensor_view *tensors;
    size_t n_tensors;
    /*
     * The tensors' bytes that are yet to be made: pieces of work, done by any thread, the earlier ones begun first.
     * When those up to i are done, the first ends[i] bytes of the tensors are there, in the file's order; ends rises, and
     * the last is all of them. Without pieces all are there.
     */
    int (*make)(void *context, size_t i, lx_error *err);
    const size_t *ends;
    size_t n_pieces;
    const lx_seal_text *texts;
    size_t n_texts;
    /*
     * The metadata without the two hashes. Asked for twice, before anything and when the texts' hashes are there: these
     * may change letters of a value but no length, and nothing of the ss_ entries, which the old hash is of.
     */
    int (*metadata)(const lx_metadata_entry **entries, size_t *n, void *context,
                    lx_error *err);
    /* Something that takes its time, while the disk does; or NULL. What it returns becomes the result when the file is
     * in its place: it does not keep it from getting there. */
    int (*beside)(void *context, lx_error *err);
    void *context;   /* of all three */
    bool wants_hash; /* of the file; costs the second pass */
} lx_seal;

typedef struct lx_sealed {
    char tensors[LX_HASH_HEX + 1]; /* sshs_model_hash */
    char legacy[9];                /* sshs_legacy_hash */
    lx_hash file;                  /* when it was wanted */
} lx_sealed;

/* The file appears whole or not at all. Errors of the file name its path; of several, the first in the order above. */
int lx_lora_seal(lx_sealed *out, const lx_seal *seal, lx_error *err);

#endif
