/*
 * compare/data - what changed between two sets of images and captions
 *
 * Images are matched by folder and name, the rest by their bytes (moved or renamed); what
 * is left was added or removed. Captions are compared as tags: text between commas, white
 * space around dropped.
 */
#ifndef LX_COMPARE_DATA_H
#define LX_COMPARE_DATA_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/arena.h"
#include "src/base/error.h"

typedef struct lx_data_image {
    const char *folder, *name;
    const char *hash;    /* of its bytes, hex */
    const char *caption; /* hash of its text, hex; "" = none */
    bool is_reg;
    const char *latents; /* hash of the file that gave its latents; NULL or "" = its pixels did */
} lx_data_image;

typedef enum lx_data_change_kind {
    LX_DATA_ADDED,   /* only b */
    LX_DATA_REMOVED, /* only a */
    LX_DATA_MOVED,   /* the same bytes under another folder or name */
    LX_DATA_BYTES,   /* the same name, other bytes */
    LX_DATA_LATENTS, /* latents out of another file, or out of one and out of none */
    LX_DATA_CAPTION  /* another caption; may come beside the three above */
} lx_data_change_kind;

typedef struct lx_data_change {
    lx_data_change_kind kind;
    const lx_data_image *a, *b; /* NULL where there is none */
} lx_data_change;

typedef struct lx_data_changes {
    lx_data_change *items; /* by kind, then by folder and name */
    size_t count;
    size_t n_same; /* images with nothing to tell */
} lx_data_changes;

/* Both lists are sorted in place. In the arena; the images must outlive it. LX_ENOMEM. */
int lx_compare_data(lx_data_changes *out, lx_data_image *a, size_t n_a, lx_data_image *b,
                    size_t n_b, lx_arena *arena, lx_error *err);

typedef struct lx_tag_changes {
    const char **added, **removed; /* in the order of their caption */
    size_t n_added, n_removed;
    bool is_reordered; /* the same tags in another order, or written with other white
                          space */
} lx_tag_changes;

/* a or b NULL: no caption. */
int lx_compare_tags(lx_tag_changes *out, const char *a, const char *b, lx_arena *arena,
                    lx_error *err);

#endif
