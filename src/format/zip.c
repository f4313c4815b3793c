#include "src/format/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/format/tensor_file_build.h"

enum {
    END_SIZE = 22,
    END64_SIZE = 56,
    LOCATOR_SIZE = 20,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    MOST_RATIO = 200,
    SMALL = 1 << 20
};

/* General purpose flags: deflate's effort, sizes behind the data, UTF-8 names. All others change
 * what the bytes mean (encryption, patches). */
static const uint16_t known_flags = 0x0002 | 0x0004 | 0x0008 | 0x0800;

static uint16_t u16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const unsigned char *p)
{
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}

static uint64_t u64(const unsigned char *p)
{
    return (uint64_t)u32(p) | (uint64_t)u32(p + 4) << 32;
}

static int fail_at(lx_error *err, size_t at, const char *what)
{
    return lx_fail(err, LX_EFORMAT, "zip: %s at byte %zu", what, at);
}

/* Where the central directory is, from the records behind it. */
typedef struct directory {
    size_t at, size, count;
} directory;

/* The last record that ends where the file ends, its comment counted. */
static int find_end(size_t *out, const lx_zip *z, lx_error *err)
{
    size_t lowest;

    if (z->n < END_SIZE)
        return fail_at(err, z->n, "ends before its directory");
    lowest = z->n > END_SIZE + 65535 ? z->n - END_SIZE - 65535 : 0;
    for (size_t at = z->n - END_SIZE + 1; at-- > lowest;)
        if (!memcmp(z->bytes + at, "PK\5\6", 4) && at + END_SIZE + u16(z->bytes + at + 20) == z->n) {
            *out = at;
            return LX_OK;
        }
    return fail_at(err, z->n, "no directory (cut short?), the file ends");
}

static bool agrees(uint64_t wide, uint64_t narrow, uint64_t sentinel)
{
    return narrow == sentinel || narrow == wide;
}

/* With zip64 the locator stands right before the end record and names the 64-bit one. */
static int read_end64(directory *d, size_t *before, const lx_zip *z, size_t end, lx_error *err)
{
    const unsigned char *e = z->bytes + end, *w;
    uint64_t at = u64(z->bytes + end - LOCATOR_SIZE + 8);

    if (at > end - LOCATOR_SIZE || end - LOCATOR_SIZE - at < END64_SIZE ||
        memcmp(z->bytes + at, "PK\6\6", 4))
        return fail_at(err, end - LOCATOR_SIZE, "zip64 locator that leads nowhere");
    w = z->bytes + at;
    if (u32(w + 16) || u32(w + 20) || u64(w + 24) != u64(w + 32))
        return fail_at(err, at, "archive of several disks");
    if (!agrees(u64(w + 32), u16(e + 10), 0xFFFF) ||
        !agrees(u64(w + 40), u32(e + 12), 0xFFFFFFFF) ||
        !agrees(u64(w + 48), u32(e + 16), 0xFFFFFFFF))
        return fail_at(err, at, "two end records that differ");
    d->count = u64(w + 32);
    d->size = u64(w + 40);
    d->at = u64(w + 48);
    *before = at;
    return LX_OK;
}

static int find_directory(directory *d, const lx_zip *z, lx_error *err)
{
    const unsigned char *e;
    size_t end = 0, before, sum;
    int rc;

    if ((rc = find_end(&end, z, err)) < 0)
        return rc;
    e = z->bytes + end;
    if (u16(e + 4) || u16(e + 6) || u16(e + 8) != u16(e + 10))
        return fail_at(err, end, "archive of several disks");
    *d = (directory){u32(e + 16), u32(e + 12), u16(e + 10)};
    before = end;
    if (end >= LOCATOR_SIZE && !memcmp(e - LOCATOR_SIZE, "PK\6\7", 4) &&
        (rc = read_end64(d, &before, z, end, err)) < 0)
        return rc;
    if (!lx_add_size(&sum, d->at, d->size) || sum > before)
        return fail_at(err, end, "directory that is past its end");
    if (sum < before) /* every offset is off by as much: something was put in front */
        return lx_fail(err, LX_EFORMAT,
                       "zip: %zu bytes before the first member or within, at byte 0",
                       before - sum);
    if (d->count > d->size / CENTRAL_SIZE)
        return fail_at(err, end, "more members than the directory can hold");
    return LX_OK;
}

/* 64-bit values stand in extra field 1 for those of the fixed part that are all ones. */
static int read_zip64(lx_zip_entry *e, const unsigned char *extra, size_t n, size_t at,
                      lx_error *err)
{
    size_t *const fields[] = {&e->size, &e->packed, &e->at};

    for (size_t i = 0; i + 4 <= n;) {
        size_t id = u16(extra + i), length = u16(extra + i + 2), from = i + 4;
        if (length > n - from)
            return fail_at(err, at, "extra field that is too long");
        i = from + length;
        for (size_t k = 0; id == 1 && k < 3; k++) {
            if (*fields[k] != 0xFFFFFFFF)
                continue;
            if (i - from < 8)
                return fail_at(err, at, "zip64 field that is too short");
            *fields[k] = u64(extra + from);
            from += 8;
        }
    }
    return LX_OK;
}

static bool is_safe_name(const char *name, size_t n)
{
    if (!n || name[0] == '/' || memchr(name, '\\', n) || memchr(name, '\0', n) ||
        lx_utf8_check(name, n) != n || (n > 1 && name[1] == ':'))
        return false;
    for (size_t from = 0, i = 0; i <= n; i++)
        if (i == n || name[i] == '/') {
            if (i - from == 2 && name[from] == '.' && name[from + 1] == '.')
                return false;
            from = i + 1;
        }
    return true;
}

static int refuse(lx_error *err, const lx_zip_entry *e, int code, const char *what)
{
    return lx_fail(err, code, "zip: member \"%s\" %s at byte %zu",
                   lx_show(e->name, strlen(e->name)).text, what, e->at);
}

/* Reads the directory's entry at *at and moves behind it. */
static int read_central(lx_zip_entry *e, size_t *at, const lx_zip *z, size_t end,
                        lx_arena *arena, lx_error *err)
{
    const unsigned char *c = z->bytes + *at;
    size_t name_n, extra_n, total;
    int rc;

    if (end - *at < CENTRAL_SIZE || memcmp(c, "PK\1\2", 4))
        return fail_at(err, *at, "damaged directory");
    name_n = u16(c + 28);
    extra_n = u16(c + 30);
    total = CENTRAL_SIZE + name_n + extra_n + u16(c + 32);
    if (total > end - *at)
        return fail_at(err, *at, "damaged directory");
    if (!is_safe_name((const char *)c + CENTRAL_SIZE, name_n))
        return lx_fail(err, LX_EFORMAT, "zip: unsafe member name \"%s\" at byte %zu",
                       lx_show((const char *)c + CENTRAL_SIZE, name_n).text, *at);
    if (!(e->name = lx_arena_strndup(arena, (const char *)c + CENTRAL_SIZE, name_n)))
        return lx_oom(err);
    e->flags = u16(c + 8);
    e->method = u16(c + 10);
    e->crc = u32(c + 16);
    e->packed = u32(c + 20);
    e->size = u32(c + 24);
    e->at = u32(c + 42);
    e->data = NULL;
    if ((rc = read_zip64(e, c + CENTRAL_SIZE + name_n, extra_n, *at, err)) < 0)
        return rc;
    *at += total;
    return LX_OK;
}

static int check_entry(const lx_zip_entry *e, lx_error *err)
{
    if (e->flags & ~known_flags)
        return refuse(err, e, LX_EFORMAT, "is encrypted or has unknown flags");
    if (e->method != LX_ZIP_STORED && e->method != LX_ZIP_DEFLATED)
        return refuse(err, e, LX_EUNSUPPORTED, "is neither stored nor deflated");
    if (e->method == LX_ZIP_STORED && e->packed != e->size)
        return refuse(err, e, LX_EFORMAT, "is stored but has two sizes");
    if (e->size > SMALL && e->size / MOST_RATIO > e->packed)
        return refuse(err, e, LX_ELIMIT,
                      "inflates more than 200 times (a zip bomb? store it uncompressed)");
    return LX_OK;
}

/* The local header must say what the directory says, or nothing (sizes behind the data). */
static int check_local(lx_zip_entry *e, const lx_zip *z, size_t end, lx_error *err)
{
    const unsigned char *p;
    size_t name_n = strlen(e->name), begin;
    uint32_t packed, size, crc;

    if (e->at > end || end - e->at < LOCAL_SIZE || memcmp(z->bytes + e->at, "PK\3\4", 4))
        return refuse(err, e, LX_EFORMAT, "has no local header");
    p = z->bytes + e->at;
    begin = e->at + LOCAL_SIZE + u16(p + 26) + u16(p + 28);
    if (begin > end || e->packed > end - begin)
        return refuse(err, e, LX_EFORMAT, "reaches past the directory");
    if (u16(p + 26) != name_n || memcmp(p + LOCAL_SIZE, e->name, name_n))
        return refuse(err, e, LX_EFORMAT, "has another name in its local header");
    if (u16(p + 6) != e->flags || u16(p + 8) != e->method)
        return refuse(err, e, LX_EFORMAT, "has other flags or method in its local header");
    crc = u32(p + 14);
    packed = u32(p + 18);
    size = u32(p + 22);
    if (!(e->flags & 8 && !crc && !packed && !size) &&
        (crc != e->crc || !agrees(e->packed, packed, 0xFFFFFFFF) ||
         !agrees(e->size, size, 0xFFFFFFFF)))
        return refuse(err, e, LX_EFORMAT, "has other sizes or CRC in its local header");
    e->data_at = begin;
    return LX_OK;
}

static int by_place(const void *pa, const void *pb)
{
    const lx_zip_entry *a = pa, *b = pb;
    return a->at < b->at ? -1 : a->at > b->at;
}

static int by_name(const void *pa, const void *pb)
{
    return strcmp(((const lx_zip_entry *)pa)->name, ((const lx_zip_entry *)pb)->name);
}

static int check_order(const lx_zip *z, lx_error *err)
{
    if (!z->count)
        return fail_at(err, 0, "no members");
    qsort(z->entries, z->count, sizeof *z->entries, by_place);
    if (z->entries[0].at)
        return lx_fail(err, LX_EFORMAT, "zip: %zu bytes before the first member at byte 0",
                       z->entries[0].at);
    for (size_t i = 1; i < z->count; i++) {
        const lx_zip_entry *a = &z->entries[i - 1], *b = &z->entries[i];
        if (a->data_at + a->packed > b->at)
            return refuse(err, b, LX_EFORMAT, "overlaps another one");
    }
    qsort(z->entries, z->count, sizeof *z->entries, by_name);
    for (size_t i = 1; i < z->count; i++)
        if (!strcmp(z->entries[i - 1].name, z->entries[i].name))
            return refuse(err, &z->entries[i], LX_EFORMAT, "is there twice");
    return LX_OK;
}

int lx_zip_open(lx_zip *out, lx_arena *arena, const unsigned char *bytes, size_t n,
                lx_error *err)
{
    directory d = {0};
    size_t at;
    int rc;

    *out = (lx_zip){.bytes = bytes, .n = n};
    if ((rc = find_directory(&d, out, err)) < 0)
        return rc;
    if (!(out->entries = lx_arena_calloc(arena, d.count, sizeof *out->entries)))
        return lx_oom(err);
    at = d.at;
    for (out->count = 0; out->count < d.count; out->count++) {
        lx_zip_entry *e = &out->entries[out->count];
        if ((rc = read_central(e, &at, out, d.at + d.size, arena, err)) < 0 ||
            (rc = check_entry(e, err)) < 0 || (rc = check_local(e, out, d.at, err)) < 0)
            return rc;
    }
    if (at != d.at + d.size)
        return fail_at(err, at, "something after the last entry of the directory");
    return check_order(out, err);
}

lx_zip_entry *lx_zip_find(const lx_zip *zip, const char *name)
{
    lx_zip_entry wanted = {.name = name};
    return zip->count ? bsearch(&wanted, zip->entries, zip->count, sizeof wanted, by_name) : NULL;
}

static int check_crc(const void *data, const lx_zip_entry *e, lx_error *err)
{
    uLong got = crc32_z(crc32_z(0, NULL, 0), data, e->size);
    if (got != e->crc)
        return lx_fail(err, LX_EFORMAT,
                       "zip: member \"%s\" is damaged: CRC %08lx, %08lx was written, at byte %zu",
                       lx_show(e->name, strlen(e->name)).text, got, (unsigned long)e->crc,
                       e->data_at);
    return LX_OK;
}

int lx_zip_check(const lx_zip *zip, const lx_zip_entry *entry, lx_error *err)
{
    return check_crc(zip->bytes + entry->data_at, entry, err);
}

static voidpf zlib_alloc(voidpf opaque, uInt items, uInt size)
{
    return lx_calloc(items, size);
}

static void zlib_free(voidpf opaque, voidpf memory)
{
    lx_free(memory);
}

int lx_zip_inflate(void *dst, const lx_zip *zip, const lx_zip_entry *entry, lx_error *err)
{
    z_stream s = {.zalloc = zlib_alloc, .zfree = zlib_free};
    size_t in_left = entry->packed, out_left = entry->size;
    int status;

    s.next_in = (Bytef *)(uintptr_t)(zip->bytes + entry->data_at);
    s.next_out = dst;
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK)
        return lx_oom(err);
    do {
        uInt in = in_left > 1 << 30 ? 1 << 30 : (uInt)in_left;
        uInt out = out_left > 1 << 30 ? 1 << 30 : (uInt)out_left;
        s.avail_in = in;
        s.avail_out = out;
        status = inflate(&s, Z_NO_FLUSH);
        in_left -= in - s.avail_in;
        out_left -= out - s.avail_out;
        if (status == Z_OK && s.avail_in == in && s.avail_out == out)
            status = Z_BUF_ERROR; /* no progress: the member has more or less than it says */
    } while (status == Z_OK);
    inflateEnd(&s);
    if (status == Z_MEM_ERROR)
        return lx_oom(err);
    if (status != Z_STREAM_END || in_left || out_left)
        return refuse(err, entry, LX_EFORMAT, "does not inflate to the size it has");
    return check_crc(dst, entry, err);
}
