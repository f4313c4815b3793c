/*
 * cmd/train_spec - what of a training decides its result
 *
 * The canonical JSON of the resolved flags without names, paths and remarks, of the root of the dataset's tree, the
 * hashes of all other files that are read, and the version of lx's arithmetic. Its hash is the identity of the experiment.
 */
#ifndef LX_CMD_TRAIN_SPEC_H
#define LX_CMD_TRAIN_SPEC_H

#include <cjson/cJSON.h>

#include "src/base/error.h"
#include "src/base/sha256.h"
#include "src/data/dataset.h"

/* What it is made of; NULL where there is none. */
typedef struct lx_train_spec {
    const char *flags, *dataset; /* JSON: as resolved; the tree's root */
    const cJSON *base, *vae;     /* with sha256 */
    const cJSON *merged;         /* hashes of base_weights */
    const char *network_weights; /* hash of that file */
    const char *masks;           /* of lx_train_spec_masks */
    const char *order;           /* of lx_train_spec_order */
    const char *resumed;         /* hash of a state of another spec */
} lx_train_spec;

/* *out: lx_free. */
int lx_train_spec_make(char **out, const lx_train_spec *of, lx_error *err);

/* Of the contents of all masks, in the order of the images. */
int lx_train_spec_masks(bool *has_any, lx_hash *out, const lx_dataset *dataset, lx_error *err);

/*
 * Of the images in the order in which they are trained, and of whose folder each is: which settings a folder has hangs on
 * that. The tree knows names only, so this is told where folders come from a file (--dataset_config, --in_json).
 */
bool lx_train_spec_order(lx_hash *out, const lx_dataset *dataset);

/* What two of them do not have in common, as a list in words; NULL: nothing. *out: lx_free. */
int lx_train_spec_difference(char **out, const char *a, const char *b, lx_error *err);

#endif
