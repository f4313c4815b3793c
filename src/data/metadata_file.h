/*
 * data/metadata_file - captions and tags of images in one JSON file (--in_json, metadata_file)
 *
 *     {"a.png": {"caption": "a girl", "tags": "1girl, solo"}, "/abs/b.jpg": {...}}
 *     .jsonl: {"image_path": "a.png", "caption": ..., "tags": ...} in each line
 *
 * Names that do not begin with '/' are looked for in the image folder; one without an ending takes the
 * first of the endings of images (as older versions of the peer did and the present one does not).
 * The text that is trained is the caption, caption_separator and the tags; with wildcards the tags come
 * after every line of the caption. Of lines about one image the last holds. "image_size" is not read: the image's header knows.
 * Source: sd-scripts library/train_util.py (FineTuningDataset).
 */
#ifndef LX_DATA_METADATA_FILE_H
#define LX_DATA_METADATA_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/arena.h"
#include "src/base/error.h"

enum { LX_METADATA_FILE_BYTES = 1 << 28 };

typedef struct lx_metadata_image {
    const char *key;            /* as it stands there */
    const char *caption, *tags; /* NULL = not said */
} lx_metadata_image;

typedef struct lx_metadata_file {
    lx_metadata_image *images;
    size_t count;
} lx_metadata_file;

/* All of it lives in the arena. LX_EFORMAT with the entry or the line; errors carry the path. */
int lx_metadata_file_read(lx_metadata_file *out, const char *path, lx_arena *arena,
                          lx_error *err);

/* The text to be trained, in the arena; NULL when out of memory. enable_wildcard: the tags behind each line of the
 * caption that is not blank, so without a caption there is no text. Source: sd-scripts library/train_util.py,
 * FineTuningDataset. */
const char *lx_metadata_caption(const lx_metadata_image *image, const char *separator,
                                bool enable_wildcard, lx_arena *arena);
/* The tags that ss_tag_frequency counts, "" without any; NULL when out of memory. */
const char *lx_metadata_tags(const lx_metadata_image *image, const char *separator,
                             bool enable_wildcard, lx_arena *arena);

#endif
