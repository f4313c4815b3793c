/*
 * store/bundle - runs as one file
 *
 * A tar archive (store/tar) in one zstd frame that knows its size; .lxb by custom. Its
 * members:
 *
 *     manifest/HEX     JSON; HEX is the SHA-256 of its bytes
 *     objects/HEX      in the order of their hashes, each once
 *
 *     {"lx_bundle": 1, "made_by": "lx 0.1.0", "is_scrubbed": true, "scrubbed": ["..."],
 *      "objects": [[HEX, size], ...], "runs": [record, ...]}     records: store/transfer.h
 *
 * Every byte is under a hash, so nothing changes on the way unnoticed; that says nothing
 * of who made it. Equal runs give equal bundles. A plain tar of the same members is read
 * as well. What would pack to less than a 2000th, which a reader refuses, is packed in a
 * window of 4 KiB.
 *
 * Reading trusts nothing: sizes are checked before memory is asked for, names before
 * anything else, every object against its hash, every record before a row is written. No
 * name from a bundle is ever used as a path.
 */
#ifndef LX_STORE_BUNDLE_H
#define LX_STORE_BUNDLE_H

#include "store/transfer.h"

/* A file that comes into being whole or not at all. LX_EIO ... */
int lx_bundle_write(const char *path, lx_transfer *transfer, lx_privacy *privacy,
                    lx_arena *arena, lx_error *err);

typedef struct lx_bundle lx_bundle;

/* Maps and checks all of it: LX_EFORMAT (with the byte), LX_ELIMIT. The bytes of a
 * compressed one are unpacked into a file without a name in `scratch` (a folder; the
 * store's tmp). */
int lx_bundle_open(lx_bundle **out, const char *path, const char *scratch, lx_error *err);
/* The same of bytes in memory, which are borrowed. */
int lx_bundle_open_bytes(lx_bundle **out, const void *data, size_t n, lx_error *err);
void lx_bundle_close(lx_bundle *bundle);
bool lx_bundle_is(const void *head, size_t n, const char *path);

/* Records, borrowed. */
const cJSON *lx_bundle_runs(const lx_bundle *bundle);
bool lx_bundle_is_scrubbed(const lx_bundle *bundle);
/* An lx_transfer_fetch; context is the bundle. */
int lx_bundle_fetch(void *bundle, const void **data, size_t *n, const lx_hash *hash,
                    lx_error *err);

#endif
