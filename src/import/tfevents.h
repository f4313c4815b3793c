/*
 * import/tfevents - scalars, texts and hyperparameters of TensorBoard event files
 *
 * A file is a row of records (TFRecord), each an Event of tensorflow's event.proto:
 *
 *     u64 length | u32 masked crc32c of the length | data | u32 masked crc32c of data
 *
 * Scalars come as `simple_value` (torch, tensorboardX) or as a tensor of plugin
 * "scalars"; both are read. Texts are string tensors of plugin "text"; hyperparameters
 * the session_start_info of plugin "hparams". Images, histograms and graphs are passed
 * over. A length is believed only after its crc was checked and the bytes are there.
 * Source: tensorflow core/util/event.proto, core/framework/summary.proto,
 * core/lib/io/record_writer.cc. Goldens: lora/tensorboard.
 */
#ifndef LX_IMPORT_TFEVENTS_H
#define LX_IMPORT_TFEVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

enum { LX_TFEVENTS_TAG = 256 }; /* bytes of a tag; longer ones are lost */

typedef enum lx_tfevent_kind {
    LX_TFEVENT_START, /* the file's first record; only time */
    LX_TFEVENT_SCALAR,
    LX_TFEVENT_TEXT,
    LX_TFEVENT_PARAMETER, /* a hyperparameter: tag is its name */
    LX_TFEVENT_RESTART, /* a training was resumed: what has a step from here on is replaced
                         */
    LX_TFEVENT_LOST /* a value or an event that cannot be read: text says why; at */
} lx_tfevent_kind;

typedef struct lx_tfevent {
    lx_tfevent_kind kind;
    double time; /* seconds since 1970 */
    int64_t step;
    char tag[LX_TFEVENTS_TAG]; /* valid UTF-8, no control characters */
    double value;              /* SCALAR, PARAMETER of a number or a bool */
    const char *text;          /* TEXT, PARAMETER of a string, LOST: n bytes, else NULL */
    size_t n;
    bool is_bool; /* PARAMETER */
    uint64_t at;  /* LOST: the byte of its record in the file */
} lx_tfevent;

typedef int (*lx_tfevents_sink)(void *context, const lx_tfevent *event, lx_error *err);

/*
 * Reads whole records of bytes[0, n), which begin at `offset` of the file; *used is how
 * many bytes they were. The rest is a record that is not complete yet, or (at the end of
 * a file) cut short. *wanted, when not NULL: how many bytes from *used on the next record
 * needs, 0 if not even that is known.
 *
 *   LX_EFORMAT  a crc does not match: "record at byte N ...". *used is what was sound
 * before it.
 */
int lx_tfevents_read(size_t *used, size_t *wanted, const unsigned char *bytes, size_t n,
                     uint64_t offset, lx_tfevents_sink sink, void *context,
                     lx_error *err);

/* "tfevents" occurs in the file's name: TensorBoard's own rule. */
bool lx_tfevents_is_name(const char *base_name);
/* The first record's frame is sound. */
bool lx_tfevents_is_content(const unsigned char *bytes, size_t n);

/* CRC-32C (Castagnoli), and the masked form that the records carry. */
uint32_t lx_crc32c(const void *bytes, size_t n);
uint32_t lx_crc32c_masked(const void *bytes, size_t n);

#endif
