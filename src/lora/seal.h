/*
 * lora/seal - a LoRA file that carries the hashes of its own tensors
 *
 * sshs_model_hash stands in the header, in front of the tensors that it is of, and the file's own hash is of both:
 * two passes of SHA-256 over the bytes that cannot overlap. All else happens beside them:
 *
 *     first   hash of the tensors   |  room for the header, the tensors, on their way to the disk; chores
 *     then    hash of the file      |  the header over its room, what the caller has to do beside, sync, rename
 *
 * The room has the right size because a hash has as many digits before it is known. A disk that is busy delays the right
 * column and not the left one.
 */
#ifndef LX_LORA_SEAL_H
#define LX_LORA_SEAL_H

#include <stdbool.h>

#include "src/base/sha256.h"
#include "src/format/safetensors.h"

typedef struct lx_seal {
    const char *path;
    const lx_tensor_view *tensors;
    size_t n_tensors;
    /*
     * The metadata without the two hashes. Asked for twice, before and after the chores: what these find out may
     * change letters of a value but no length, and nothing of the ss_ entries, which the old hash is of. The texts of
     * the first asking are read while the chores go on.
     */
    int (*metadata)(const lx_metadata_entry **entries, size_t *n, void *context,
                    lx_error *err);
    /* Independent pieces of work that the metadata need, done beside the first pass by any thread; or NULL. */
    int (*chore)(void *context, size_t i, lx_error *err);
    size_t n_chores;
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

/* The file appears whole or not at all. Errors of the file name its path. */
int lx_lora_seal(lx_sealed *out, const lx_seal *seal, lx_error *err);

#endif
