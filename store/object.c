/* Objects: bytes under their SHA-256. */
#include <string.h>
#include <zstd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/internal.h"

enum { RAW = 0, ZSTD = 1, LEVEL = 3 };

static void object_path(lx_str *out, const lx_store *s, const lx_hash *hash)
{
    char hex[LX_HASH_HEX + 1];
    lx_hash_hex(hex, hash);
    lx_str_clear(out);
    lx_str_printf(out, "%s/objects/%.2s/%s", s->path, hex, hex + 2);
}

static sqlite3_stmt *find(lx_store *s, const lx_hash *hash)
{
    sqlite3_stmt *stmt;
    if (store__prepare(&stmt, s, "SELECT size, encoding, data FROM object WHERE hash=?1", NULL) < 0)
        return NULL;
    sqlite3_bind_blob(stmt, 1, hash->bytes, 32, SQLITE_STATIC);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        return stmt;
    sqlite3_finalize(stmt);
    return NULL;
}

bool lx_object_exists(lx_store *s, const lx_hash *hash)
{
    sqlite3_stmt *stmt = find(s, hash);
    sqlite3_finalize(stmt);
    return stmt != NULL;
}

/* Compressed into *packed when that saves at least an eighth; else *packed stays NULL. */
static int compress(void **packed, size_t *n_packed, const void *data, size_t n, lx_error *err)
{
    size_t bound = ZSTD_compressBound(n), got;
    *packed = NULL;
    if (n < 64 || ZSTD_isError(bound))
        return LX_OK;
    if (!(*packed = lx_alloc(bound)))
        return lx_oom(err);
    got = ZSTD_compress(*packed, bound, data, n, LEVEL);
    if (ZSTD_isError(got) || got > n - n / 8) {
        lx_free(*packed);
        *packed = NULL;
        return LX_OK;
    }
    *n_packed = got;
    return LX_OK;
}

static int write_file(lx_store *s, const lx_hash *hash, const void *data, size_t n, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    char *slash;
    int rc;

    object_path(&path, s, hash);
    if ((rc = lx_str_check(&path, err)) == LX_OK) {
        slash = strrchr(path.data, '/');
        *slash = '\0';
        rc = lx_make_dirs(path.data, err);
        *slash = '/';
    }
    if (rc == LX_OK && (rc = lx_file_write(path.data, data, n, err)) < 0 && rc == LX_EIO)
        s->is_poisoned = true;
    lx_str_release(&path);
    return rc;
}

static int add_row(lx_store *s, const lx_hash *hash, size_t n, int encoding, const void *data,
                   size_t n_data, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__prepare(
        &stmt, s, "INSERT INTO object(hash, size, encoding, data) VALUES(?1, ?2, ?3, ?4)", err);
    if (rc < 0)
        return rc;
    sqlite3_bind_blob(stmt, 1, hash->bytes, 32, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)n);
    sqlite3_bind_int(stmt, 3, encoding);
    if (n_data <= STORE_LARGE)
        sqlite3_bind_blob64(stmt, 4, data ? data : "", n_data, SQLITE_STATIC);
    return store__run(s, stmt, "storing an object", err);
}

int store__put(lx_hash *out, lx_store *s, const void *data, size_t n, lx_error *err)
{
    void *packed = NULL;
    const void *stored = data;
    size_t n_stored = n, n_packed = 0;
    int rc;

    *out = lx_sha256_of(data, n);
    if (lx_object_exists(s, out))
        return LX_OK;
    if ((rc = compress(&packed, &n_packed, data, n, err)) < 0)
        return rc;
    if (packed) {
        stored = packed;
        n_stored = n_packed;
    }
    /* Invariant (3): the file is durable under its name before the row that names it. */
    if (n_stored > STORE_LARGE)
        rc = write_file(s, out, stored, n_stored, err);
    if (rc == LX_OK)
        rc = add_row(s, out, n, packed ? ZSTD : RAW, stored, n_stored, err);
    lx_free(packed);
    return rc;
}

int lx_object_put(lx_hash *out, lx_store *s, const void *data, size_t n, lx_error *err)
{
    int rc = store__begin(s, err);
    if (rc < 0)
        return rc;
    if ((rc = store__put(out, s, data, n, err)) == LX_OK)
        return store__commit(s, err);
    store__rollback(s);
    return rc;
}

int lx_object_put_file(lx_hash *out, lx_store *s, const char *path, lx_error *err)
{
    lx_mapping map;
    int rc = lx_file_map(&map, path, err);
    if (rc < 0)
        return rc;
    rc = lx_object_put(out, s, map.data, map.size, err);
    lx_file_unmap(&map);
    return rc;
}

static int unpack(lx_str *out, size_t size, int encoding, const void *data, size_t n,
                  lx_error *err)
{
    char *raw;
    if (encoding == RAW) {
        lx_str_append(out, data, n);
        return lx_str_check(out, err);
    }
    if (ZSTD_getFrameContentSize(data, n) != size)
        return lx_fail(err, LX_EFORMAT, "compressed size disagrees");
    if (!(raw = lx_alloc(size + 1)))
        return lx_oom(err);
    if (ZSTD_decompress(raw, size, data, n) == size)
        lx_str_append(out, raw, size);
    lx_free(raw);
    return lx_str_check(out, err);
}

static int load(lx_str *out, lx_store *s, sqlite3_stmt *stmt, const lx_hash *hash, lx_error *err)
{
    size_t size = (size_t)sqlite3_column_int64(stmt, 0);
    int encoding = sqlite3_column_int(stmt, 1), rc;
    lx_str path = LX_STR_INIT;
    lx_mapping map;

    if (sqlite3_column_type(stmt, 2) != SQLITE_NULL)
        return unpack(out, size, encoding, sqlite3_column_blob(stmt, 2),
                      (size_t)sqlite3_column_bytes(stmt, 2), err);
    object_path(&path, s, hash);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (rc = lx_file_map(&map, lx_str_text(&path), err)) == LX_OK) {
        rc = unpack(out, size, encoding, map.data, map.size, err);
        lx_file_unmap(&map);
    }
    lx_str_release(&path);
    return rc;
}

int lx_object_get(lx_str *out, lx_store *s, const lx_hash *hash, lx_error *err)
{
    char hex[LX_HASH_HEX + 1];
    sqlite3_stmt *stmt = find(s, hash);
    lx_hash got;
    int rc;

    lx_hash_hex(hex, hash);
    lx_str_clear(out);
    if (!stmt)
        return lx_fail(err, LX_ENOTFOUND, "%s: no object %s", s->path, hex);
    rc = load(out, s, stmt, hash, err);
    sqlite3_finalize(stmt);
    if (rc < 0) {
        lx_within(err, "object %s", hex);
        return rc;
    }
    got = lx_sha256_of(lx_str_text(out), out->len);
    if (!lx_hash_equal(&got, hash))
        return lx_fail(err, LX_EFORMAT,
                       "%s: object %s is damaged: its bytes hash to another name; lx fsck lists "
                       "all that are",
                       s->path, hex);
    return LX_OK;
}
