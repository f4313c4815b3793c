/*
 * import/protobuf - the fields of a protocol buffer message, one after the other
 *
 * A reader of our own: protobuf-c would bring generated code and build a tree of what a
 * stranger's file says, where three formats need a dozen fields. Nothing is allocated,
 * nothing recurses: a message inside a message is bytes, read by another reader. Unknown
 * fields are skipped by wire type; groups, which proto3 does not have, end the reading as
 * damage does.
 *
 *     lx_protobuf m = lx_protobuf_of(bytes, n);
 *     while (lx_protobuf_next(&m))
 *         if (m.field == 2 && m.wire == LX_WIRE_VARINT) step = (int64_t)m.number;
 *     if (m.is_damaged) ...
 *
 * Source: protobuf.dev, "Encoding".
 */
#ifndef LX_IMPORT_PROTOBUF_H
#define LX_IMPORT_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LX_WIRE_VARINT = 0, LX_WIRE_64 = 1, LX_WIRE_BYTES = 2, LX_WIRE_32 = 5 };

typedef struct lx_protobuf {
    const unsigned char *at, *end;
    bool is_damaged;
    /* The field last read. */
    uint32_t field;
    int wire;
    uint64_t number;            /* VARINT, 64, 32: the bits */
    const unsigned char *bytes; /* BYTES */
    size_t n;
} lx_protobuf;

lx_protobuf lx_protobuf_of(const void *bytes, size_t n);
/* The message that the field last read holds; of no bytes if it holds none. */
lx_protobuf lx_protobuf_inside(const lx_protobuf *m);
/* false at the end, or with is_damaged. */
bool lx_protobuf_next(lx_protobuf *m);

/* The next of a packed row of varints; false at the end of [*at, end) or on damage. */
bool lx_protobuf_varint(uint64_t *out, const unsigned char **at,
                        const unsigned char *end);

/* The field last read as a number: a double in 64, a float in 32, bits as they are. */
double lx_protobuf_double(const lx_protobuf *m);
double lx_protobuf_float(const lx_protobuf *m);
/* Is it this field, of bytes? */
bool lx_protobuf_is_bytes(const lx_protobuf *m, uint32_t field);

#endif
