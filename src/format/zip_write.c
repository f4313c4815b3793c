#include "src/format/zip_write.h"

#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "src/base/alloc.h"
#include "src/base/file.h"

enum { ALIGNMENT = 64 };

/* What was written goes to the file, the directory is kept for its end. */
struct lx_zip_writer {
    lx_new_file *file;
    lx_str directory;
    size_t at, n_members;
};

int lx_zip_writer_open(lx_zip_writer **out, const char *path, lx_error *err)
{
    lx_zip_writer *w = lx_calloc(1, sizeof *w);
    int rc;

    if (!w)
        return lx_oom(err);
    if ((rc = lx_new_file_open(&w->file, path, err)) < 0) {
        lx_free(w);
        return rc;
    }
    *out = w;
    return LX_OK;
}

void lx_zip_writer_close(lx_zip_writer *w)
{
    if (!w)
        return;
    lx_new_file_close(w->file);
    lx_str_release(&w->directory);
    lx_free(w);
}

/* Little endian. */
static void put(lx_str *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8)
        lx_str_putc(out, (char)value);
}

static int write_bytes(lx_zip_writer *w, const void *data, size_t n, lx_error *err)
{
    if (n > UINT32_MAX - w->at)
        return lx_fail(err, LX_ELIMIT, "zip archives are written up to 4 GiB");
    w->at += n;
    return n ? lx_new_file_write(w->file, data, n, err) : LX_OK;
}

/* What the local header and the directory say of a member in the same words. */
static void put_facts(lx_str *out, uint32_t crc, size_t n, const char *name)
{
    put(out, 20, 2);       /* version that reads it: 2.0 */
    put(out, 0, 2 + 2);    /* flags; method: stored */
    put(out, 0x210000, 4); /* 1980-01-01 00:00: no times */
    put(out, crc, 4);
    put(out, n, 4);
    put(out, n, 4);
    put(out, strlen(name), 2);
}

static void put_local(lx_str *head, const lx_zip_writer *w, const char *name,
                      uint32_t crc, size_t n)
{
    const size_t begin = w->at + 30 + strlen(name),
                 fill = (ALIGNMENT - (begin + 4) % ALIGNMENT) % ALIGNMENT;

    lx_str_puts(head, "PK\3\4");
    put_facts(head, crc, n, name);
    put(head, 4 + fill, 2);
    lx_str_puts(head, name);
    lx_str_puts(head, "FB");
    put(head, fill, 2);
    for (size_t i = 0; i < fill; i++)
        lx_str_putc(head, 'Z');
}

static void put_central(lx_zip_writer *w, const char *name, uint32_t crc, size_t n)
{
    lx_str *out = &w->directory;

    lx_str_puts(out, "PK\1\2");
    put(out, 20, 2); /* version that made it */
    put_facts(out, crc, n, name);
    put(out, 0, 2 + 2 + 2 + 2 + 4); /* extra, comment, disk, attributes */
    put(out, w->at, 4);
    lx_str_puts(out, name);
}

int lx_zip_writer_add(lx_zip_writer *w, const char *name, const void *data, size_t n,
                      const void *more, size_t n_more, lx_error *err)
{
    uLong crc = crc32_z(crc32_z(0, NULL, 0), data, n);
    lx_str head = LX_STR_INIT;
    size_t total;
    int rc;

    if (!lx_add_size(&total, n, n_more) || total > UINT32_MAX ||
        w->n_members == UINT16_MAX)
        return lx_fail(err, LX_ELIMIT,
                       "zip archives are written up to 4 GiB and 65,535 members");
    if (n_more)
        crc = crc32_z(crc, more, n_more);
    put_local(&head, w, name, (uint32_t)crc, total);
    put_central(w, name, (uint32_t)crc, total);
    w->n_members++;
    if ((rc = lx_str_check(&head, err)) == LX_OK &&
        (rc = write_bytes(w, head.data, head.len, err)) == LX_OK &&
        (rc = write_bytes(w, data, n, err)) == LX_OK)
        rc = write_bytes(w, more, n_more, err);
    lx_str_release(&head);
    return rc;
}

int lx_zip_writer_commit(lx_zip_writer *w, lx_error *err)
{
    const size_t begin = w->at, n = w->directory.len;
    int rc;

    lx_str_puts(&w->directory, "PK\5\6");
    put(&w->directory, 0, 2 + 2); /* disks */
    put(&w->directory, w->n_members, 2);
    put(&w->directory, w->n_members, 2);
    put(&w->directory, n, 4);
    put(&w->directory, begin, 4);
    put(&w->directory, 0, 2); /* comment */
    if ((rc = lx_str_check(&w->directory, err)) < 0 ||
        (rc = write_bytes(w, w->directory.data, w->directory.len, err)) < 0)
        return rc;
    return lx_new_file_commit(w->file, err);
}
