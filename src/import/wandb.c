#include "src/import/wandb.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/import/protobuf.h"

/* ---- the log ----------------------------------------------------------------------- */

enum { BLOCK = 32768, CHUNK_HEAD = 7, FILE_HEAD = 7 };
enum { WHOLE = 1, FIRST, MIDDLE, LAST };
enum { MOST_RECORD = 64 << 20 };

static const unsigned char file_head[FILE_HEAD] = {':', 'W', '&', 'B', 0xe1, 0xbe, 0};

bool lx_wandb_is_content(const unsigned char *bytes, size_t n)
{
    return n >= FILE_HEAD && memcmp(bytes, file_head, FILE_HEAD) == 0;
}

typedef struct chunk {
    int type;
    const unsigned char *data;
    size_t n;
} chunk;

/* The chunk at *at, which moves behind it. 0: the end of what is whole; -1: damage, *at
 * is at the next block. */
static int next_chunk(chunk *out, size_t *at, const unsigned char *bytes, size_t n)
{
    size_t left = BLOCK - *at % BLOCK, length;
    const unsigned char *p;
    uint32_t crc;

    if (left < CHUNK_HEAD) {
        *at += left;
        left = BLOCK;
    }
    if (*at > n || n - *at < CHUNK_HEAD)
        return 0;
    p = bytes + *at;
    crc = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
          (uint32_t)p[3] << 24;
    length = (size_t)p[4] | (size_t)p[5] << 8;
    if (length <= left - CHUNK_HEAD && n - *at - CHUNK_HEAD < length)
        return 0; /* not all written */
    if (length > left - CHUNK_HEAD || p[6] < WHOLE || p[6] > LAST ||
        crc32(0, p + 6, (uInt)(length + 1)) != crc) {
        *at += left;
        return -1;
    }
    *out = (chunk){p[6], p + CHUNK_HEAD, length};
    *at += CHUNK_HEAD + length;
    return 1;
}

int lx_wandb_read(size_t *damaged, size_t *first_damage, const unsigned char *bytes, size_t n,
                  lx_wandb_sink sink, void *context, lx_error *err)
{
    lx_str record = LX_STR_INIT;
    bool is_open = false;
    size_t at = FILE_HEAD, lost = 0, before;
    chunk c;
    int rc = LX_OK, got;

    if (!lx_wandb_is_content(bytes, n))
        return lx_fail(err, LX_EFORMAT, "no W&B log: its first bytes are others");
    while (rc == LX_OK && (before = at, got = next_chunk(&c, &at, bytes, n)) != 0) {
        bool is_start = got > 0 && (c.type == WHOLE || c.type == FIRST);
        if (got < 0 || is_open == is_start || record.len + c.n > MOST_RECORD) {
            if ((got < 0 || is_open) && !lost && first_damage)
                *first_damage = before;
            lost += got < 0 ||
                    is_open; /* the end of a record whose start was lost counts once */
            is_open = false;
            if (!is_start)
                continue;
        }
        if (c.type == WHOLE) {
            rc = sink(context, c.data, c.n, err);
            continue;
        }
        if (c.type == FIRST)
            lx_str_clear(&record);
        lx_str_append(&record, (const char *)c.data, c.n);
        if ((rc = lx_str_check(&record, err)) < 0)
            break;
        is_open = c.type != LAST;
        if (!is_open)
            rc = sink(context, (const unsigned char *)record.data, record.len, err);
    }
    lx_str_release(&record);
    if (damaged)
        *damaged = lost;
    return rc;
}

/* ---- records ----------------------------------------------------------------------- */

typedef struct reader {
    lx_history *history;
    lx_history_run *run;
    const char *id, *project;
    const char *note; /* the record of a run is repeated, whole, when anything in it changes */
    bool has_exit;
    int64_t exit_code;
    int64_t n_rows; /* of history: the step of rows that name none */
    double last_time;
} reader;

/* HistoryItem, ConfigItem: the key (nested ones joined by '.') and its value as JSON
 * text. */
typedef struct item {
    char key[LX_HISTORY_KEY];
    const char *json;
    size_t n;
} item;

static void append_key(item *out, const lx_protobuf *m)
{
    size_t used = strlen(out->key), n = m->n;

    if (used && used + 1 < sizeof out->key)
        out->key[used++] = '.';
    n = n < sizeof out->key - 1 - used ? n : sizeof out->key - 1 - used;
    memcpy(out->key + used, m->bytes, n);
    out->key[used + n] = '\0';
}

static bool read_item(item *out, lx_protobuf m)
{
    *out = (item){.json = NULL};
    while (lx_protobuf_next(&m)) {
        if (lx_protobuf_is_bytes(&m, 1) || lx_protobuf_is_bytes(&m, 2)) {
            append_key(out, &m);
        } else if (lx_protobuf_is_bytes(&m, 16)) {
            out->json = (const char *)m.bytes;
            out->n = m.n;
        }
    }
    return !m.is_damaged && out->json && out->key[0];
}

/* A JSON number, or the NaN and Infinity that W&B writes without quotes. */
static bool read_number(double *out, const item *i)
{
    static const struct {
        const char *text;
        double value;
    } words[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    char text[64], *end;

    if (i->n == 0 || i->n >= sizeof text)
        return false;
    memcpy(text, i->json, i->n);
    text[i->n] = '\0';
    for (size_t k = 0; k < 3; k++)
        if (strcmp(text, words[k].text) == 0) {
            *out = words[k].value;
            return true;
        }
    if (!strchr("-0123456789", text[0]) || strpbrk(text, "xX"))
        return false;
    *out = strtod(text, &end);
    return end > text && !*end;
}

static int take_history(reader *r, lx_protobuf m, lx_error *err)
{
    const lx_protobuf row = m;
    int64_t step = r->n_rows++;
    item i;
    double x;
    int rc = LX_OK;

    for (lx_protobuf p = row; lx_protobuf_next(&p);) {
        if (lx_protobuf_is_bytes(&p, 2)) { /* HistoryStep */
            lx_protobuf s = lx_protobuf_inside(&p);
            while (lx_protobuf_next(&s))
                if (s.field == 1 && s.wire == LX_WIRE_VARINT)
                    step = (int64_t)s.number;
        } else if (lx_protobuf_is_bytes(&p, 1) && read_item(&i, lx_protobuf_inside(&p)) &&
                   read_number(&x, &i) && fabs(x) < 0x1p53) {
            if (strcmp(i.key, "_step") == 0)
                step = (int64_t)x;
            else if (strcmp(i.key, "_timestamp") == 0)
                r->last_time = x;
        }
    }
    while (rc == LX_OK && lx_protobuf_next(&m))
        if (lx_protobuf_is_bytes(&m, 1) && read_item(&i, lx_protobuf_inside(&m)) &&
            i.key[0] != '_' && read_number(&x, &i))
            rc = lx_history_point(r->history, r->run, i.key, step, x, err);
    return rc;
}

/* W&B wraps what config.yaml shows as {desc, value}; in the log the value is bare. */
static void take_config(reader *r, lx_protobuf m)
{
    lx_history *h = r->history;
    item i;

    while (lx_protobuf_next(&m)) {
        cJSON *value = NULL;
        if (!lx_protobuf_is_bytes(&m, 1) || !read_item(&i, lx_protobuf_inside(&m)) ||
            i.key[0] == '_')
            continue;
        if (lx_json_parse(&value, i.json, i.n, NULL) < 0)
            value = cJSON_CreateString(lx_history_text(h, i.json, i.n));
        lx_history_flag_item(h, r->run, lx_history_text(h, i.key, strlen(i.key)), value);
    }
}

static double read_timestamp(lx_protobuf m)
{
    double seconds = 0;

    while (lx_protobuf_next(&m)) {
        if (m.field == 1 && m.wire == LX_WIRE_VARINT)
            seconds += (double)(int64_t)m.number;
        else if (m.field == 2 && m.wire == LX_WIRE_VARINT)
            seconds += (double)(int64_t)m.number * 1e-9;
    }
    return seconds;
}

static void take_git(reader *r, lx_protobuf m)
{
    while (lx_protobuf_next(&m))
        if (lx_protobuf_is_bytes(&m, 2))
            lx_history_fact(r->history, r->run, "git.commit",
                            lx_history_text(r->history, m.bytes, m.n));
}

static void take_run(reader *r, lx_protobuf m)
{
    lx_history *h = r->history;

    while (lx_protobuf_next(&m)) {
        const char *text = m.wire == LX_WIRE_BYTES && m.field != 4 && m.field != 17
                               ? lx_history_text(h, m.bytes, m.n)
                               : "";
        if (m.wire != LX_WIRE_BYTES)
            continue;
        switch (m.field) {
        case 1:
            r->id = text;
            break;
        case 3:
            r->project = text;
            break;
        case 4:
            take_config(r, lx_protobuf_inside(&m));
            break;
        case 6:
            r->run->group = text;
            break;
        case 8:
            r->run->name = text;
            break;
        case 9:
            r->note = text;
            break;
        case 10:
            lx_history_tag(h, r->run, text, "");
            break;
        case 13:
            if (h->keeps_private)
                lx_history_fact(h, r->run, "host", text);
            break;
        case 17:
            r->run->started = read_timestamp(lx_protobuf_inside(&m));
            break;
        case 21:
            take_git(r, lx_protobuf_inside(&m));
            break;
        default:
            break;
        }
    }
}

static void take_exit(reader *r, lx_protobuf m)
{
    r->has_exit = true;
    r->exit_code = 0; /* proto3 leaves a zero out */
    while (lx_protobuf_next(&m))
        if (m.field == 1 && m.wire == LX_WIRE_VARINT)
            r->exit_code = (int32_t)m.number;
}

static int take_record(void *context, const unsigned char *record, size_t n,
                       lx_error *err)
{
    reader *r = context;
    lx_protobuf m = lx_protobuf_of(record, n);
    int rc = LX_OK;

    while (rc == LX_OK && lx_protobuf_next(&m)) {
        if (lx_protobuf_is_bytes(&m, 2))
            rc = take_history(r, lx_protobuf_inside(&m), err);
        else if (lx_protobuf_is_bytes(&m, 5))
            take_config(r, lx_protobuf_inside(&m));
        else if (lx_protobuf_is_bytes(&m, 17))
            take_run(r, lx_protobuf_inside(&m));
        else if (lx_protobuf_is_bytes(&m, 18))
            take_exit(r, lx_protobuf_inside(&m));
    }
    return rc;
}

/* ---- the run ----------------------------------------------------------------------- */

static int keep_output(reader *r, const char *path, lx_error *err)
{
    const char *base = lx_path_base(path);
    lx_str log = LX_STR_INIT;
    lx_history_file *file;
    int rc;

    lx_str_printf(&log, "%.*sfiles", (int)(base - path), path);
    if ((rc = lx_str_check(&log, err)) < 0 ||
        lx_history_is_link(r->history, lx_str_text(&log))) {
        lx_str_release(&log);
        return rc;
    }
    lx_str_puts(&log, "/output.log");
    if ((rc = lx_str_check(&log, err)) == LX_OK && lx_file_exists(lx_str_text(&log)) &&
        !lx_history_is_link(r->history, lx_str_text(&log)) &&
        (file = lx_history_add_file(r->history, r->run, "log", "output.log")))
        file->path = lx_history_text(r->history, lx_str_text(&log), log.len);
    lx_str_release(&log);
    return rc;
}

static int conclude(reader *r, const char *path, size_t damaged, size_t first_damage, lx_error *err)
{
    lx_history *h = r->history;

    if (damaged)
        lx_history_problem(h,
                           "%s: damaged in %zu place%s%s at byte %zu, or a record has more than "
                           "%d MiB; the rest was read",
                           path, damaged, damaged == 1 ? "" : "s", damaged == 1 ? "" : ", first",
                           first_damage, MOST_RECORD >> 20);
    if (!r->id) {
        lx_history_drop(h);
        lx_history_problem(h, "%s: no run is described in it", path);
        return LX_OK;
    }
    r->run->origin = lx_history_printf(
        h, "wandb:%s/%s@%.0f", r->project ? r->project : "", r->id, r->run->started);
    if (!r->run->name || !*r->run->name)
        r->run->name = r->id;
    if (r->note && *r->note)
        lx_history_note(h, r->run, r->note);
    r->run->ended = r->last_time;
    r->run->status = !r->has_exit        ? "interrupted"
                     : r->exit_code == 0 ? "finished"
                                         : "failed";
    if (r->has_exit && r->exit_code)
        r->run->message = lx_history_printf(h, "exit code %lld", (long long)r->exit_code);
    return keep_output(r, path, err);
}

int lx_import_wandb(lx_history *h, const char *path, lx_error *err)
{
    reader r = {.history = h};
    lx_mapping map;
    size_t damaged = 0, first_damage = 0;
    int rc;

    if ((rc = lx_file_map(&map, path, err)) < 0)
        return rc;
    if (!(r.run = lx_history_add(h, "W&B", path)))
        rc = lx_oom(err);
    else if ((rc = lx_wandb_read(&damaged, &first_damage, map.data, map.size, take_record, &r,
                                 err)) < 0 ||
             (rc = conclude(&r, path, damaged, first_damage, err)) < 0) {
        lx_within(err, "%s", path);
        lx_history_drop(h);
    }
    lx_file_unmap(&map);
    return rc < 0 ? rc : lx_history_check(h, err);
}
