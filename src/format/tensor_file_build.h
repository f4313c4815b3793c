/*
 * format/tensor_file_build - how the readers of this folder fill an lx_tensor_file, and
 * what the writers share
 *
 * A reader gets the file with its bytes mapped and everything else empty, adds views and
 * notes, and returns; tensor_file.c then sorts the names and refuses doubles. Nobody else
 * includes this.
 */
#ifndef LX_FORMAT_TENSOR_FILE_BUILD_H
#define LX_FORMAT_TENSOR_FILE_BUILD_H

#include "src/base/arena.h"
#include "src/base/file.h"
#include "src/format/tensor_file.h"

typedef struct lx_tensor_metadata {
    const char *key, *value;
    size_t key_n;
    size_t offset; /* of the key in the file */
} lx_tensor_metadata;

typedef struct lx_layout lx_layout;

struct lx_tensor_file {
    lx_mapping map;
    size_t size;    /* of the file: that of the mapping, but for a header alone */
    bool is_header; /* map is borrowed and ends with the header (format/header_cache) */
    int fd;         /* of a header alone, else -1 */
    struct lx_header_cache *cache; /* whose buffer and arena a header lies in, or NULL */
    size_t *begins; /* of a header alone: of each view, where its bytes begin in the data area */
    size_t begins_capacity;
    lx_layout *layout; /* whose views and names are borrowed; NULL = own ones */
    lx_arena *arena; /* names, metadata, notes */
    size_t n_long_dims; /* numbers of shapes of more than LX_MAX_DIMS dimensions */
    const char *format;
    lx_tensor_view *views; /* in the order of the file */
    size_t count, capacity;
    const lx_tensor_view **by_name; /* sorted, once all are known */
    lx_tensor_metadata *metadata;
    size_t n_metadata, metadata_capacity;
    const char **notes;
    size_t n_notes, notes_capacity;
    void **owned; /* inflated or contiguised data */
    size_t n_owned, owned_capacity;
};

int lx_tensor_file__add(lx_tensor_file *file, const lx_tensor_view *view, lx_error *err);
int lx_tensor_file__note(lx_tensor_file *file, lx_error *err, const char *fmt, ...)
    LX_PRINTF(3, 4);
/* Memory for data that lives as long as the file, 64-byte aligned; NULL when there is
 * none. */
void *lx_tensor_file__own(lx_tensor_file *file, size_t bytes);

/* qsort, but files are mostly written in order, and then one pass sees it. */
void lx_tensor_file__sort(void *items, size_t n, size_t item,
                          int (*compare)(const void *, const void *));

/*
 * Elements and bytes of a shape. False when a product passes 2^63 - 1, zero dimensions
 * counted as one (their strides would overflow all the same), or the bits fill no whole
 * bytes.
 */
bool lx_tensor_file__measure(lx_tensor_view *view);
/*
 * A view's shape: at most LX_MAX_FILE_DIMS numbers, none negative. Of more than LX_MAX_DIMS the
 * last ones become one, and a note says so. 1: their product passes 2^63 - 1. LX_ENOMEM, LX_ELIMIT (numbers of
 * such shapes in one file).
 */
int lx_tensor_file__shape(lx_tensor_view *view, lx_tensor_file *file, const int64_t *dims, int n,
                          lx_error *err);

/* What the writers ask of a text: UTF-8. */
int lx_tensor_file__check_text(const char *text, lx_error *err);
/*
 * The tensors to be written, checked and by name: names UTF-8 and unique, bytes that fit
 * the shape (LX_EFORMAT, LX_EINTERNAL). sorted has room for n.
 */
int lx_tensor_file__order(const lx_tensor_view **sorted, const lx_tensor_view *tensors,
                          size_t n, lx_error *err);

/* A name from a file, cut and made safe for a message: printable ASCII stays, the rest is
 * \xNN. */
typedef struct lx_shown {
    char text[136];
} lx_shown;
lx_shown lx_show(const char *text, size_t n);

enum { LX_SAFETENSORS_HEADER = 100000000 }; /* bytes, at most */
/* What the first bytes say: a header's length that fits, then '{'. No pickle or zip looks
 * like that. n: how many there are, of a file of `size`. */
bool lx_safetensors__fits(const unsigned char *data, size_t n, size_t size);

/*
 * Headers whose tensors may be known (format/header_cache): `rest` is the text of the
 * header from its first tensor on. find: 1 when the file now borrows the views of such a
 * header, 0 when there is none, LX_ENOMEM. begin after 0 and before the tensors are read,
 * keep after they were found sound; without memory for it nothing is kept.
 */
int lx_header_cache__find(lx_tensor_file *file, const char *rest, size_t n,
                          size_t data_size, lx_error *err);
void lx_header_cache__begin(lx_tensor_file *file, const char *rest, size_t n,
                            size_t data_size);
void lx_header_cache__keep(lx_tensor_file *file);

/* by_name, of one name the first one first; for a reader that tells doubles itself. */
int lx_tensor_file__sort_names(lx_tensor_file *file, lx_error *err);
/* Names in order, if they are not yet; doubles refused: the last step of opening. */
int lx_tensor_file__index(lx_tensor_file *file, lx_error *err);

/* The readers. */
int lx_safetensors__read(lx_tensor_file *file, lx_error *err);
int lx_torch__read_zip(lx_tensor_file *file, lx_error *err);
int lx_torch__read_legacy(lx_tensor_file *file, lx_error *err);
int lx_npz__read(lx_tensor_file *file, lx_error *err);
/* A zip whose first member is named as numpy's are. */
bool lx_npz__fits(const unsigned char *data, size_t n);

#endif
