/*
 * format/pickle - what torch.save pickled, as a tree; nothing is ever called or imported
 *
 * The machine knows the opcodes of protocols 0 to 5 that build data. A GLOBAL must be on the list
 * in pickle_object.c: those with a meaning for tensors, and a few inert ones whose objects become opaque
 * leaves. Any other name is refused, named, before anything that follows it is read. EXT, INST,
 * OBJ, text PERSID and buffer opcodes are refused.
 *
 * Values are shared as the pickle shares them (memo), so a tree may have cycles: whoever walks it
 * marks what it has seen. Limits: a million values and memo slots.
 * Source: CPython's Lib/pickletools.py (the format), torch/serialization.py and torch/_utils.py
 * (what the globals mean).
 */
#ifndef LX_FORMAT_PICKLE_H
#define LX_FORMAT_PICKLE_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/dtype.h"
#include "src/base/error.h"

typedef enum lx_pickle_kind {
    LX_PICKLE_NONE,
    LX_PICKLE_BOOL,
    LX_PICKLE_INT,
    LX_PICKLE_FLOAT,
    LX_PICKLE_TEXT,
    LX_PICKLE_BYTES, /* also integers of more than 64 bits, as they stand in the file */
    LX_PICKLE_LIST,
    LX_PICKLE_TUPLE,
    LX_PICKLE_DICT, /* items: key, value, key, value ... */
    LX_PICKLE_CLASS,
    LX_PICKLE_STORAGE,
    LX_PICKLE_TENSOR,
    LX_PICKLE_OPAQUE
} lx_pickle_kind;

typedef struct lx_pickle_storage {
    const char *key;
    lx_dtype dtype;       /* U8 when untyped: numel counts bytes */
    uint64_t numel;       /* of the whole storage of that key */
    uint64_t view_offset; /* legacy: the elements of it that this one has, as a view */
    uint64_t view_size;
    bool is_view;
    size_t at; /* byte in the pickle */
} lx_pickle_storage;

typedef struct lx_pickle_tensor {
    const lx_pickle_storage *storage;
    lx_dtype dtype;
    int n_dims;
    int64_t offset; /* in elements */
    const int64_t *size, *stride; /* n_dims of each, at most LX_MAX_FILE_DIMS */
} lx_pickle_tensor;

typedef struct lx_pickle lx_pickle;
struct lx_pickle {
    unsigned char kind;
    bool is_seen;  /* for walkers */
    short meaning; /* of a class: private to pickle_object.c */
    union {
        int64_t integer;
        double number;
        struct {
            const char *bytes;
            size_t n;
        } text;
        struct {
            lx_pickle **items;
            uint32_t count, capacity;
        } list;
        const lx_pickle_storage *storage;
        const lx_pickle_tensor *tensor;
    } as;
};

/* What else came out of a pickle. */
typedef struct lx_pickle_facts {
    const lx_pickle_storage **storages; /* in order of appearance, keys may repeat */
    size_t n_storages, capacity;
    const char *inert[64]; /* "module.name" of inert globals, each once */
    size_t n_inert;
} lx_pickle_facts;

/*
 * Reads one pickle at the beginning of bytes; *used is its length. The tree lives in the arena and
 * borrows bytes. `facts` grows; release it with lx_pickle_facts_release. `base` is added to the
 * offsets in messages.
 *
 *   LX_EFORMAT   a damaged stream, or a global that is not on the list
 *   LX_ELIMIT    larger than the limits
 */
int lx_pickle_read(lx_pickle **out, size_t *used, lx_pickle_facts *facts, lx_arena *arena,
                   const unsigned char *bytes, size_t n, size_t base, lx_error *err);
void lx_pickle_facts_release(lx_pickle_facts *facts);

/* What torch calls a storage of these: "FloatStorage", in its module "torch"; NULL where it has no
 * class of its own (they became untyped before the 8-bit floats came). */
const char *lx_pickle_storage_class(lx_dtype dtype);

#endif
