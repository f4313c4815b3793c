#include "src/import/protobuf.h"

#include <string.h>

lx_protobuf lx_protobuf_of(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    return (lx_protobuf){.at = p, .end = n ? p + n : p};
}

lx_protobuf lx_protobuf_inside(const lx_protobuf *m)
{
    return lx_protobuf_of(m->bytes, m->wire == LX_WIRE_BYTES ? m->n : 0);
}

bool lx_protobuf_varint(uint64_t *out, const unsigned char **at, const unsigned char *end)
{
    uint64_t x = 0;

    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        unsigned char byte = *(*at)++;
        x |= (uint64_t)(byte & 0x7f)
             << shift; /* bits past the 64th are lost, as in the original */
        if (!(byte & 0x80)) {
            *out = x;
            return true;
        }
    }
    return false;
}

static bool read_fixed(lx_protobuf *m, size_t n)
{
    m->number = 0;
    if ((size_t)(m->end - m->at) < n)
        return false;
    for (size_t i = 0; i < n; i++)
        m->number |= (uint64_t)m->at[i] << (8 * i);
    m->at += n;
    return true;
}

static bool read_value(lx_protobuf *m)
{
    uint64_t n;

    switch (m->wire) {
    case LX_WIRE_VARINT:
        return lx_protobuf_varint(&m->number, &m->at, m->end);
    case LX_WIRE_64:
        return read_fixed(m, 8);
    case LX_WIRE_32:
        return read_fixed(m, 4);
    case LX_WIRE_BYTES:
        if (!lx_protobuf_varint(&n, &m->at, m->end) || n > (size_t)(m->end - m->at))
            return false;
        m->bytes = m->at;
        m->n = (size_t)n;
        m->at += n;
        return true;
    default:
        return false;
    }
}

bool lx_protobuf_next(lx_protobuf *m)
{
    uint64_t tag;

    if (m->is_damaged || m->at == m->end)
        return false;
    m->bytes = NULL;
    m->n = 0;
    m->number = 0;
    if (lx_protobuf_varint(&tag, &m->at, m->end) && tag >> 3 > 0 &&
        tag >> 3 <= 0x1fffffff) {
        m->field = (uint32_t)(tag >> 3);
        m->wire = (int)(tag & 7);
        if (read_value(m))
            return true;
    }
    m->is_damaged = true;
    return false;
}

double lx_protobuf_double(const lx_protobuf *m)
{
    double x;
    memcpy(&x, &m->number, sizeof x);
    return x;
}

double lx_protobuf_float(const lx_protobuf *m)
{
    uint32_t bits = (uint32_t)m->number;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

bool lx_protobuf_is_bytes(const lx_protobuf *m, uint32_t field)
{
    return m->field == field && m->wire == LX_WIRE_BYTES;
}
