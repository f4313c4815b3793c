#include "src/import/tfevents.h"

#include <math.h>
#include <string.h>

#include "src/base/dtype.h"
#include "src/base/str.h"
#include "src/import/protobuf.h"

/* ---- crc --------------------------------------------------------------------------- */

/* Slicing by 4: tables of the reflected polynomial 0x82F63B78, filled on first use.
 * Filling them twice at once writes the same numbers. */
static uint32_t tables[4][256];

static void fill_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        tables[0][i] = crc;
    }
    for (int t = 1; t < 4; t++)
        for (uint32_t i = 0; i < 256; i++)
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xff];
}

uint32_t lx_crc32c(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint32_t crc = 0xffffffffu;

    if (!tables[0][1])
        fill_tables();
    for (; n >= 4; n -= 4, p += 4) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
               (uint32_t)p[3] << 24;
        crc = tables[3][crc & 0xff] ^ tables[2][crc >> 8 & 0xff] ^
              tables[1][crc >> 16 & 0xff] ^ tables[0][crc >> 24];
    }
    for (; n > 0; n--)
        crc = crc >> 8 ^ tables[0][(crc ^ *p++) & 0xff];
    return ~crc;
}

uint32_t lx_crc32c_masked(const void *bytes, size_t n)
{
    uint32_t crc = lx_crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static uint64_t read_le(const unsigned char *p, int n)
{
    uint64_t x = 0;
    for (int i = 0; i < n; i++)
        x |= (uint64_t)p[i] << (8 * i);
    return x;
}

/* ---- values ------------------------------------------------------------------------ */

/* Who is told of one record, and what is known of it. */
typedef struct teller {
    lx_tfevents_sink sink;
    void *context;
    uint64_t at; /* of the record */
    double time;
    int64_t step;
    lx_error *err;
} teller;

static int tell(const teller *t, const lx_tfevent *e)
{
    return t->sink(t->context, e, t->err);
}

static int tell_lost(const teller *t, const char *why)
{
    const lx_tfevent e = {.kind = LX_TFEVENT_LOST, .at = t->at, .text = why, .n = strlen(why)};
    return tell(t, &e);
}

static const char damaged[] = "its protocol buffer is damaged";

/* Into the event's tag; else what is wrong with it. */
static const char *set_tag(lx_tfevent *e, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;

    if (n == 0)
        return "its tag is empty";
    if (n >= LX_TFEVENTS_TAG)
        return "its tag is too long";
    if (lx_utf8_check(bytes, n) != n)
        return "its tag is not UTF-8";
    for (size_t i = 0; i < n; i++)
        if (p[i] < ' ' || p[i] == 0x7f)
            return "its tag has control characters";
    memcpy(e->tag, bytes, n);
    e->tag[n] = '\0';
    return NULL;
}

enum {
    TENSOR_FLOAT = 1,
    TENSOR_DOUBLE = 2,
    TENSOR_STRING = 7,
    TENSOR_BF16 = 14,
    TENSOR_HALF = 19
};

/* The first element of raw little-endian contents. */
static bool read_content(double *out, uint64_t dtype, const unsigned char *p, size_t n)
{
    const lx_dtype type = dtype == TENSOR_FLOAT    ? LX_F32
                          : dtype == TENSOR_DOUBLE ? LX_F64
                          : dtype == TENSOR_BF16   ? LX_BF16
                                                   : LX_F16;

    return n == (size_t)lx_dtype_bits(type) / 8 && lx_to_f64(out, p, type, 1) == 0;
}

/* A number in a list that is packed, or stands alone with its own wire type. */
static bool read_listed(double *out, const lx_protobuf *m, int wire)
{
    const size_t n = wire == LX_WIRE_64 ? 8 : 4;
    lx_protobuf one = *m;

    if (m->wire == LX_WIRE_BYTES) {
        if (m->n < n)
            return false;
        one.number = read_le(m->bytes, (int)n);
    } else if (m->wire != wire) {
        return false;
    }
    *out = wire == LX_WIRE_64 ? lx_protobuf_double(&one) : lx_protobuf_float(&one);
    return true;
}

/* half_val: bits of 16 in varints, of either type. */
static bool read_half(double *out, const lx_protobuf *m, uint64_t dtype)
{
    const unsigned char *at = m->bytes;
    uint64_t bits = m->number;

    if (m->wire == LX_WIRE_BYTES && !lx_protobuf_varint(&bits, &at, m->bytes + m->n))
        return false;
    *out = dtype == TENSOR_BF16 ? lx_f32_from_bf16((uint16_t)bits)
                                : lx_f32_from_f16((uint16_t)bits);
    return true;
}

/* The first element of a tensor: a number, or a text. */
static bool read_tensor(lx_tfevent *e, lx_protobuf m)
{
    uint64_t dtype = 0;
    bool is_there = false;

    while (lx_protobuf_next(&m)) {
        if (m.field == 1 && m.wire == LX_WIRE_VARINT)
            dtype = m.number;
        else if (lx_protobuf_is_bytes(&m, 4))
            is_there |= read_content(&e->value, dtype, m.bytes, m.n);
        else if (m.field == 5)
            is_there |= read_listed(&e->value, &m, LX_WIRE_32);
        else if (m.field == 6)
            is_there |= read_listed(&e->value, &m, LX_WIRE_64);
        else if (m.field == 13)
            is_there |= read_half(&e->value, &m, dtype);
        else if (lx_protobuf_is_bytes(&m, 8) && dtype == TENSOR_STRING && !e->text) {
            e->text = (const char *)m.bytes;
            e->n = m.n;
        }
    }
    return !m.is_damaged && (is_there || e->text);
}

/* ---- hyperparameters --------------------------------------------------------------- */

/* google.protobuf.Value */
static bool read_parameter_value(lx_tfevent *e, lx_protobuf m)
{
    bool is_there = false;

    while (lx_protobuf_next(&m)) {
        if (m.field == 2 && m.wire == LX_WIRE_64) {
            e->value = lx_protobuf_double(&m);
            is_there = true;
        } else if (lx_protobuf_is_bytes(&m, 3)) {
            e->text = (const char *)m.bytes;
            e->n = m.n;
            is_there = true;
        } else if (m.field == 4 && m.wire == LX_WIRE_VARINT) {
            e->value = m.number != 0;
            e->is_bool = is_there = true;
        }
    }
    return is_there && !m.is_damaged;
}

/* One entry of SessionStartInfo.hparams. */
static int tell_parameter(lx_protobuf m, const teller *t)
{
    lx_tfevent e = {.kind = LX_TFEVENT_PARAMETER, .time = t->time};
    const char *problem = "its parameter has no name";
    bool has_value = false;

    while (lx_protobuf_next(&m)) {
        if (lx_protobuf_is_bytes(&m, 1))
            problem = set_tag(&e, m.bytes, m.n);
        else if (lx_protobuf_is_bytes(&m, 2))
            has_value = read_parameter_value(&e, lx_protobuf_inside(&m));
    }
    if (m.is_damaged || problem)
        return tell_lost(t, m.is_damaged ? damaged : problem);
    return has_value ? tell(t, &e) : LX_OK;
}

/* HParamsPluginData: field 3 is SessionStartInfo, whose field 1 is the map. */
static int tell_parameters(lx_protobuf m, const teller *t)
{
    int rc = LX_OK;

    while (rc == LX_OK && lx_protobuf_next(&m)) {
        if (!lx_protobuf_is_bytes(&m, 3))
            continue;
        lx_protobuf start = lx_protobuf_inside(&m);
        while (rc == LX_OK && lx_protobuf_next(&start))
            if (lx_protobuf_is_bytes(&start, 1))
                rc = tell_parameter(lx_protobuf_inside(&start), t);
        if (rc == LX_OK && start.is_damaged)
            rc = tell_lost(t, damaged);
    }
    return rc == LX_OK && m.is_damaged ? tell_lost(t, damaged) : rc;
}

/* ---- events ------------------------------------------------------------------------ */

static bool is_text(const unsigned char *bytes, size_t n, const char *text)
{
    return n == strlen(text) && memcmp(bytes, text, n) == 0;
}

/* SummaryMetadata.plugin_data */
static void read_plugin(lx_protobuf *name, lx_protobuf *content, lx_protobuf m)
{
    while (lx_protobuf_next(&m)) {
        if (!lx_protobuf_is_bytes(&m, 1))
            continue;
        lx_protobuf plugin = lx_protobuf_inside(&m);
        while (lx_protobuf_next(&plugin))
            if (lx_protobuf_is_bytes(&plugin, 1))
                *name = lx_protobuf_inside(&plugin);
            else if (lx_protobuf_is_bytes(&plugin, 2))
                *content = lx_protobuf_inside(&plugin);
    }
}

/* Summary.Value. Pictures and the like are passed over without a word. */
static int tell_value(lx_protobuf m, const teller *t)
{
    lx_protobuf plugin = {0}, content = {0};
    lx_tfevent e = {.kind = LX_TFEVENT_SCALAR, .time = t->time, .step = t->step};
    const char *problem = "it has no tag";
    bool is_simple = false, is_tensor = false, is_scalar, is_words;
    size_t plugin_n;

    while (lx_protobuf_next(&m)) {
        if (lx_protobuf_is_bytes(&m, 1))
            problem = set_tag(&e, m.bytes, m.n);
        else if (lx_protobuf_is_bytes(&m, 9))
            read_plugin(&plugin, &content, lx_protobuf_inside(&m));
        else if (lx_protobuf_is_bytes(&m, 8))
            is_tensor = read_tensor(&e, lx_protobuf_inside(&m));
        else if (m.field == 2 && m.wire == LX_WIRE_32) {
            e.value = lx_protobuf_float(&m);
            is_simple = true;
        }
    }
    if (m.is_damaged)
        return tell_lost(t, damaged);
    plugin_n = (size_t)(plugin.end - plugin.at);
    is_scalar = is_text(plugin.at, plugin_n, "scalars");
    is_words = is_text(plugin.at, plugin_n, "text");
    if (problem)
        return is_simple || is_scalar || is_words ? tell_lost(t, problem) : LX_OK;
    if (is_simple)
        return tell(t, &e);
    if (is_text(plugin.at, plugin_n, "hparams"))
        return tell_parameters(content, t);
    if (!is_tensor)
        return is_scalar || is_words ? tell_lost(t, "its tensor holds no value") : LX_OK;
    if (e.text && is_words)
        e.kind = LX_TFEVENT_TEXT;
    else if (e.text || !is_scalar)
        return LX_OK;
    return tell(t, &e);
}

static int tell_summary(lx_protobuf m, const teller *t)
{
    int rc = LX_OK;

    while (rc == LX_OK && lx_protobuf_next(&m))
        if (lx_protobuf_is_bytes(&m, 1))
            rc = tell_value(lx_protobuf_inside(&m), t);
    return rc == LX_OK && m.is_damaged ? tell_lost(t, damaged) : rc;
}

static bool is_session_start(lx_protobuf m)
{
    while (lx_protobuf_next(&m))
        if (m.field == 1 && m.wire == LX_WIRE_VARINT)
            return m.number == 1;
    return false;
}

/* Time and step may stand behind the summary: the first pass finds them. */
static int tell_event(teller *t, const unsigned char *bytes, size_t n)
{
    lx_protobuf m = lx_protobuf_of(bytes, n), summary = {0};
    lx_tfevent e = {.kind = LX_TFEVENT_START};
    bool is_first = false, is_restart = false;

    while (lx_protobuf_next(&m)) {
        if (m.field == 1 && m.wire == LX_WIRE_64)
            e.time = lx_protobuf_double(&m);
        else if (m.field == 2 && m.wire == LX_WIRE_VARINT)
            e.step = (int64_t)m.number;
        else if (lx_protobuf_is_bytes(&m, 3))
            is_first = true;
        else if (lx_protobuf_is_bytes(&m, 5))
            summary = lx_protobuf_inside(&m);
        else if (lx_protobuf_is_bytes(&m, 7))
            is_restart = is_session_start(lx_protobuf_inside(&m));
    }
    if (m.is_damaged || !isfinite(e.time))
        return tell_lost(t, m.is_damaged ? damaged : "its time is no number");
    if (is_first || is_restart) {
        e.kind = is_first ? LX_TFEVENT_START : LX_TFEVENT_RESTART;
        return tell(t, &e);
    }
    t->time = e.time;
    t->step = e.step;
    return tell_summary(summary, t);
}

/* ---- records ----------------------------------------------------------------------- */

enum { HEAD = 12, TAIL = 4 };

/* Is the head of a record sound? */
static bool check_head(uint64_t *length, const unsigned char *p)
{
    *length = read_le(p, 8);
    return lx_crc32c_masked(p, 8) == read_le(p + 8, 4) && *length < UINT32_MAX;
}

int lx_tfevents_read(size_t *used, size_t *wanted, const unsigned char *bytes, size_t n,
                     uint64_t offset, lx_tfevents_sink sink, void *context, lx_error *err)
{
    teller t = {.sink = sink, .context = context, .err = err};
    size_t at = 0, need = 0;
    int rc = LX_OK;

    while (rc == LX_OK && n - at >= HEAD) {
        const unsigned char *p = bytes + at;
        uint64_t length;
        need = 0;
        if (!check_head(&length, p)) {
            rc = lx_fail(err, LX_EFORMAT, "record at byte %llu: its length is damaged",
                         (unsigned long long)(offset + at));
            break;
        }
        need = HEAD + (size_t)length + TAIL;
        if (n - at < need)
            break;
        if (lx_crc32c_masked(p + HEAD, (size_t)length) != read_le(p + HEAD + length, 4)) {
            rc = lx_fail(err, LX_EFORMAT, "record at byte %llu: its data are damaged",
                         (unsigned long long)(offset + at));
            break;
        }
        t.at = offset + at;
        if ((rc = tell_event(&t, p + HEAD, (size_t)length)) == LX_OK) {
            at += need;
            need = 0;
        }
    }
    *used = at;
    if (wanted)
        *wanted = need;
    return rc;
}

bool lx_tfevents_is_name(const char *base_name)
{
    return strstr(base_name, "tfevents") != NULL;
}

bool lx_tfevents_is_content(const unsigned char *bytes, size_t n)
{
    uint64_t length;
    return n >= HEAD && check_head(&length, bytes);
}
