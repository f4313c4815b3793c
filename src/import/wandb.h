/*
 * import/wandb - the log of an offline W&B run
 *
 * run-<id>.wandb is LevelDB's log format with a header of its own and another crc: blocks
 * of 32 KiB from the start of the file, in them chunks
 *
 *     u32 crc | u16 length | u8 type (1 whole, 2 first, 3 middle, 4 last) | data
 *
 * with zlib's CRC-32 over type and data. The records are `Record` messages of
 * wandb_internal.proto: the run, its config, history rows (values as JSON text), the
 * exit. A file of a live or killed run ends in the middle: what is whole counts. After
 * damage the reader goes on at the next block. Source: wandb/wandb core,
 * wandb/proto/wandb_internal.proto.
 */
#ifndef LX_IMPORT_WANDB_H
#define LX_IMPORT_WANDB_H

#include "src/import/history.h"

/* Whole records of a log; *damaged (may be NULL) counts the places where one was lost,
 * *first_damage (may be NULL) is the byte of the first. A sink that returns negative ends it.
 * LX_EFORMAT: no W&B log. */
typedef int (*lx_wandb_sink)(void *context, const unsigned char *record, size_t n,
                             lx_error *err);
int lx_wandb_read(size_t *damaged, size_t *first_damage, const unsigned char *bytes, size_t n,
                  lx_wandb_sink sink, void *context, lx_error *err);
bool lx_wandb_is_content(const unsigned char *bytes, size_t n);

/* The run of a .wandb file; its output.log beside it (files/) is kept with it. */
int lx_import_wandb(lx_history *history, const char *path, lx_error *err);

#endif
