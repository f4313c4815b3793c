/*
 * Objects: bytes under their SHA-256.
 *
 * They are hashed, compressed and written to their files without the lock; the
 * transaction only adds rows. A file without a row is harmless: gc takes it when it is
 * old (store/gc.c), and a file that is written again gets a new age.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <zstd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/chunk.h"
#include "store/internal.h"

enum {
    RAW = 0,
    ZSTD = 1,
    LEVEL = 3,
    SAMPLE = 1 << 20,
    IN_MEMORY = 16 << 20,
    PIECE = 1 << 18,
    A_DAY = 86400
};

struct store__object {
    store__object *next;
    lx_hash hash;
    int64_t size; /* raw */
    int encoding;
    bool is_file, is_known; /* known: a row was there when we looked */
    size_t n;
    unsigned char data[]; /* as stored, unless it is a file or known */
};

void store__object_path(lx_str *out, const lx_store *s, const lx_hash *hash)
{
    char hex[LX_HASH_HEX + 1];
    lx_hash_hex(hex, hash);
    lx_str_clear(out);
    lx_str_printf(out, "%s/objects/%.2s/%s", s->path, hex, hex + 2);
}

int lx_object_exists(bool *out, lx_store *s, const lx_hash *hash, lx_error *err)
{
    int64_t id;
    int rc =
        store__number(&id, 0, s, err, "SELECT id FROM object WHERE hash=?1", "h", hash);
    *out = id != 0;
    return rc;
}

/* ---- staging: without the lock ---------------------------------------------------- */

/* Is it worth compressing? Saves an eighth of a sample. Weights do not. */
static bool pays(const void *data, size_t n)
{
    size_t sample = n < SAMPLE ? n : SAMPLE, bound = ZSTD_compressBound(sample), got;
    void *packed;
    bool does;

    if (n < 64 || !(packed = lx_alloc(bound)))
        return false;
    got = ZSTD_compress(packed, bound, data, sample, 1);
    does = !ZSTD_isError(got) && got <= sample - sample / 8;
    lx_free(packed);
    return does;
}

static store__object *new_object(const lx_hash *hash, size_t size, size_t room)
{
    store__object *o = lx_alloc(sizeof *o + room);
    if (o)
        *o = (store__object){.hash = *hash, .size = (int64_t)size, .encoding = RAW};
    return o;
}

static int encode(store__object **out, const lx_hash *hash, const void *data, size_t n,
                  lx_error *err)
{
    bool packs = pays(data, n);
    size_t room = packs ? ZSTD_compressBound(n) : n;
    store__object *o = new_object(hash, n, room);

    if (!o)
        return lx_oom(err);
    o->encoding = packs ? ZSTD : RAW;
    o->n = packs ? ZSTD_compress(o->data, room, data, n, LEVEL) : n;
    if (ZSTD_isError(o->n)) {
        lx_free(o);
        return lx_oom(err); /* the room is enough: it has no other reason to fail */
    }
    if (!packs)
        memcpy(o->data, data, n);
    *out = o;
    return LX_OK;
}

/* The folder is there from the store's beginning; one that was taken away is made again
 * (3). */
static int make_folder(const lx_store *s, const char *path, lx_error *err)
{
    const char *slash = strrchr(path, '/');
    lx_str folder = LX_STR_INIT;
    int rc;

    lx_str_append(&folder, path, (size_t)(slash - path));
    if ((rc = lx_str_check(&folder, err)) == LX_OK && !lx_file_is_dir(folder.data)) {
        if ((rc = lx_make_dirs(folder.data, err)) == LX_OK) {
            lx_str_clear(&folder);
            lx_str_printf(&folder, "%s/objects", s->path);
            if ((rc = lx_str_check(&folder, err)) == LX_OK &&
                (rc = store__sync_folder(folder.data, err)) == LX_OK)
                rc = store__sync_folder(s->path, err);
        }
    }
    lx_str_release(&folder);
    return rc;
}

/* A failed sync must not be followed by another try (4). */
static int poison(lx_store *s, int rc)
{
    if (rc == LX_EIO && errno != ENOSPC && errno != EDQUOT && errno != EFBIG) {
        pthread_mutex_lock(&s->mutex);
        s->is_poisoned = true;
        pthread_mutex_unlock(&s->mutex);
    }
    return rc;
}

static int write_object_file(lx_store *s, store__object *o, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;

    store__object_path(&path, s, &o->hash);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (rc = make_folder(s, path.data, err)) == LX_OK)
        rc = poison(s, lx_file_write(path.data, o->data, o->n, err));
    o->is_file = rc == LX_OK;
    lx_str_release(&path);
    return rc;
}

static void append(store__batch *batch, store__object *o)
{
    if (!batch->last)
        batch->last = &batch->first;
    o->next = NULL;
    *batch->last = o;
    batch->last = &o->next;
}

int store__batch_known(store__batch *batch, const lx_hash *hash, lx_error *err)
{
    store__object *o = new_object(hash, 0, 0);
    if (!o)
        return lx_oom(err);
    o->is_known = true;
    append(batch, o);
    return LX_OK;
}

store__batch store__batch_of(lx_store *store)
{
    return (store__batch){.store = store};
}

int store__batch_put(lx_hash *out, store__batch *batch, const void *data, size_t n,
                     lx_error *err)
{
    lx_store *s = batch->store;
    store__object *o = NULL;
    bool is_known;
    int rc;

    *out = lx_sha256_of(data, n);
    if ((rc = lx_object_exists(&is_known, s, out, err)) < 0)
        return rc;
    if (is_known)
        return store__batch_known(batch, out, err);
    if ((rc = encode(&o, out, data, n, err)) < 0)
        return rc;
    /* Invariant (3): the file is durable under its name before the row that names it. */
    if (o->n > STORE_LARGE && (rc = write_object_file(s, o, err)) < 0) {
        lx_free(o);
        return rc;
    }
    append(batch, o);
    return LX_OK;
}

/* ---- files too large for memory --------------------------------------------------- */

/* Copies a file as it is and hashes what was copied: it may be written to meanwhile. */
static int copy_hashed(lx_hash *hash, int64_t *size, lx_new_file *to, const char *from,
                       lx_error *err)
{
    const lx_io *io = lx_io_get();
    char *piece = lx_alloc(PIECE);
    lx_sha256 h;
    size_t unused;
    ssize_t got;
    int fd = -1, rc;

    *size = 0;
    if (!piece)
        return lx_oom(err);
    if ((rc = lx_file_open_regular(&fd, &unused, from, err)) < 0)
        goto done;
    lx_sha256_init(&h);
    while (rc == LX_OK && (got = io->read(fd, piece, PIECE)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = lx_fail_errno(err, errno, "cannot read");
            break;
        }
        lx_sha256_update(&h, piece, (size_t)got);
        *size += got;
        rc = lx_new_file_write(to, piece, (size_t)got, err);
    }
    *hash = lx_sha256_final(&h);
    io->close(fd);
done:
    if (rc < 0)
        lx_within(err, "%s", from);
    lx_free(piece);
    return rc;
}

static int stage_large(store__batch *batch, const lx_hash *hash, const char *path,
                       lx_error *err)
{
    lx_store *s = batch->store;
    lx_str to = LX_STR_INIT;
    lx_new_file *file = NULL;
    store__object *o = NULL;
    lx_hash copied;
    int64_t size;
    int rc;

    store__object_path(&to, s, hash);
    if ((rc = lx_str_check(&to, err)) < 0 || (rc = make_folder(s, to.data, err)) < 0 ||
        (rc = lx_new_file_open(&file, to.data, err)) < 0 ||
        (rc = copy_hashed(&copied, &size, file, path, err)) < 0)
        goto done;
    if (!lx_hash_equal(&copied, hash))
        rc = lx_fail(err, LX_EFORMAT, "%s: changes while it is read", path);
    else if (!(o = new_object(hash, (size_t)size, 0)))
        rc = lx_oom(err);
    else
        rc = poison(s, lx_new_file_commit(file, err));
    if (rc == LX_OK) {
        o->is_file = true;
        append(batch, o);
    } else {
        lx_free(o);
    }
done:
    lx_new_file_close(file);
    lx_str_release(&to);
    return rc;
}

int store__batch_put_file(lx_hash *out, int64_t *size, store__batch *batch,
                          const char *path, lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    struct stat st;
    bool is_known;
    int rc;

    if (lx_io_get()->stat(path, &st) != 0)
        return lx_fail_errno(err, errno, "%s", path);
    if (st.st_size <= IN_MEMORY) {
        if ((rc = lx_file_read(&bytes, path, IN_MEMORY, err)) == LX_OK)
            rc = store__batch_put(out, batch, bytes.data, bytes.len, err);
        *size = (int64_t)bytes.len;
        lx_str_release(&bytes);
        return rc;
    }
    *size = st.st_size;
    if ((rc = lx_file_hash(out, path, err)) < 0 ||
        (rc = lx_object_exists(&is_known, batch->store, out, err)) < 0)
        return rc;
    return is_known ? store__batch_known(batch, out, err)
                    : stage_large(batch, out, path, err);
}

/* ---- adding: in a transaction ----------------------------------------------------- */

/* gc takes files of the same name under the lock, so here the last look is certain (3).
 */
static int check_file(const lx_store *s, const store__object *o, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;
    store__object_path(&path, s, &o->hash);
    if ((rc = lx_str_check(&path, err)) == LX_OK && !lx_file_exists(path.data))
        rc = lx_fail(err, LX_EBUSY, "%s: lx gc ran at this moment; try again", s->path);
    lx_str_release(&path);
    return rc;
}

static int add_row(lx_store *s, const store__object *o, lx_error *err)
{
    int rc = o->is_file ? check_file(s, o, err) : LX_OK;
    if (rc < 0)
        return rc;
    return store__do(s, err,
                     "INSERT OR IGNORE INTO object(hash, size, encoding, added, data)"
                     " VALUES(?1, ?2, ?3, ?4, ?5)",
                     "hiiib", &o->hash, o->size, (int64_t)o->encoding,
                     (int64_t)store__now(), o->is_file ? NULL : (const void *)o->data,
                     o->is_file ? (size_t)0 : o->n);
}

/* One that was there when we looked: gc may have run since. It is young again, so that gc
 * leaves it alone until a run names it; once a day is enough (gc spares two). */
static int keep_known(lx_store *s, const store__object *o, lx_error *err)
{
    int64_t added, now = (int64_t)store__now();
    int rc = store__number(&added, -1, s, err, "SELECT added FROM object WHERE hash=?1",
                           "h", &o->hash);
    if (rc == LX_OK && added < 0)
        return lx_fail(err, LX_EBUSY, "%s: lx gc ran at this moment; try again", s->path);
    if (rc == LX_OK && added < now - A_DAY)
        rc = store__do(s, err, "UPDATE object SET added=?2 WHERE hash=?1", "hi", &o->hash,
                       now);
    return rc;
}

int store__batch_add(store__batch *batch, lx_error *err)
{
    int rc = LX_OK;
    for (store__object *o = batch->first; o && rc == LX_OK; o = o->next)
        rc = o->is_known ? keep_known(batch->store, o, err)
                         : add_row(batch->store, o, err);
    return rc;
}

void store__batch_release(store__batch *batch)
{
    for (store__object *o = batch->first, *next; o; o = next) {
        next = o->next;
        lx_free(o);
    }
    *batch = (store__batch){.store = batch->store};
}

static int add_batch(store__batch *batch, int rc, lx_error *err)
{
    if (rc == LX_OK && (rc = store__begin(batch->store, err)) == LX_OK)
        rc = store__end(batch->store, store__batch_add(batch, err), err);
    store__batch_release(batch);
    return rc;
}

int lx_object_put(lx_hash *out, lx_store *s, const void *data, size_t n, lx_error *err)
{
    store__batch batch = store__batch_of(s);
    return add_batch(&batch, store__batch_put(out, &batch, data, n, err), err);
}

int lx_object_put_file(lx_hash *out, lx_store *s, const char *path, lx_error *err)
{
    store__batch batch = store__batch_of(s);
    int64_t size;
    return add_batch(&batch, store__batch_put_file(out, &size, &batch, path, err), err);
}

/* ---- reading ---------------------------------------------------------------------- */

static int unpack(lx_str *out, size_t size, int encoding, const void *data, size_t n,
                  lx_error *err)
{
    size_t got;
    char *raw;
    if (encoding == RAW) {
        lx_str_append(out, data, n);
        return lx_str_check(out, err);
    }
    if (ZSTD_getFrameContentSize(data, n) != size)
        return lx_fail(err, LX_EFORMAT, "compressed size disagrees");
    if (!(raw = lx_alloc(size + 1)))
        return lx_oom(err);
    got = ZSTD_decompress(raw, size, data, n);
    if (got == size)
        lx_str_append(out, raw,
                      size); /* else its hash will not be the one it should be */
    lx_free(raw);
    return store__zstd_is_oom(got) ? lx_oom(err) : lx_str_check(out, err);
}

/* The row says how the file is encoded, but two processes that put the same bytes at the same moment by two
 * ways (whole, or piece by piece) write one row and two files, of which the later stays: the hash decides. */
static int encoding_of_file(int encoding, size_t size, const void *head, size_t n_head,
                            size_t n)
{
    bool is_frame = ZSTD_getFrameContentSize(head, n_head) == size;

    return encoding == RAW && n != size && is_frame     ? ZSTD
           : encoding == ZSTD && n == size && !is_frame ? RAW
                                                        : encoding;
}

static ssize_t read_piece(int fd, char *to, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = lx_io_get()->read(fd, to + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int open_object(int *fd, size_t *n, const lx_store *s, const lx_hash *hash,
                       lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;

    *fd = -1;
    *n = 0;
    store__object_path(&path, s, hash);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (rc = lx_file_open_regular(fd, n, lx_str_text(&path), err)) < 0)
        lx_within(err, "%s", lx_str_text(&path));
    lx_str_release(&path);
    return rc;
}

/* Read and not mapped: a sector that cannot be read is an error then, and not the end of the process. */
static int read_object(lx_str *out, int fd, size_t n, lx_error *err)
{
    ssize_t got;

    if (!(out->data = lx_alloc(n + 1)))
        return lx_oom(err);
    out->capacity = n + 1;
    if ((got = read_piece(fd, out->data, n)) < 0)
        return lx_fail_errno(err, errno, "cannot read its file");
    out->len = (size_t)got;
    out->data[out->len] = '\0';
    return LX_OK;
}

static int load_file(lx_str *out, const lx_store *s, size_t size, int encoding,
                     const lx_hash *hash, lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    size_t n;
    int fd, rc;

    if ((rc = open_object(&fd, &n, s, hash, err)) < 0)
        return rc;
    rc = n > ZSTD_compressBound(size)
             ? lx_fail(err, LX_EFORMAT, "its file is larger than all it holds")
             : read_object(&bytes, fd, n, err);
    lx_io_get()->close(fd);
    if (rc == LX_OK &&
        encoding_of_file(encoding, size, bytes.data, bytes.len, bytes.len) == RAW) {
        lx_str_release(out);
        *out = bytes;
        return LX_OK;
    }
    if (rc == LX_OK)
        rc = unpack(out, size, ZSTD, bytes.data, bytes.len, err);
    lx_str_release(&bytes);
    return rc;
}

/* LX_ENOTFOUND without a text of its own: no such row. */
static int load(lx_str *out, lx_store *s, const lx_hash *hash, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, s, err,
                     "SELECT size, encoding, data FROM object WHERE hash=?1", "h", hash);
    if (store__row(&rc, s, stmt, err)) {
        size_t size = (size_t)sqlite3_column_int64(stmt, 0);
        int encoding = sqlite3_column_int(stmt, 1);
        const void *data = sqlite3_column_blob(stmt, 2);
        if (sqlite3_column_int64(stmt, 0) < 0)
            rc = lx_fail(err, LX_EFORMAT, "its size is damaged");
        else if (sqlite3_column_type(stmt, 2) == SQLITE_NULL)
            rc = load_file(out, s, size, encoding, hash, err);
        else if (!data && sqlite3_column_bytes(stmt, 2))
            rc = lx_oom(err);
        else
            rc = unpack(out, size, encoding, data ? data : "",
                        (size_t)sqlite3_column_bytes(stmt, 2), err);
    } else if (rc == LX_OK) {
        rc = lx_fail(err, LX_ENOTFOUND, "%s holds no such object", s->path);
    }
    store__finish(s, stmt);
    return rc;
}

static int verify(const lx_store *s, const lx_hash *got, const lx_hash *hash,
                  lx_error *err)
{
    char hex[LX_HASH_HEX + 1];

    if (lx_hash_equal(got, hash))
        return LX_OK;
    lx_hash_hex(hex, hash);
    return lx_fail(
        err, LX_EFORMAT,
        "%s: object %s is damaged: its bytes hash to another name; lx fsck lists "
        "all that are",
        s->path, hex);
}

int lx_object_get(lx_str *out, lx_store *s, const lx_hash *hash, lx_error *err)
{
    char hex[LX_HASH_HEX + 1];
    lx_hash got;
    int rc;

    lx_hash_hex(hex, hash);
    lx_str_clear(out);
    if ((rc = load(out, s, hash, err)) < 0) {
        lx_within(err, "object %s", hex);
        return rc;
    }
    got = lx_sha256_of(lx_str_text(out), out->len);
    return verify(s, &got, hash, err);
}

int lx_object_get_file(lx_store *s, const lx_hash *hash, const char *path, lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    int rc = lx_object_get(&bytes, s, hash, err);
    if (rc == LX_OK)
        rc = lx_file_write(path, lx_str_text(&bytes), bytes.len, err);
    lx_str_release(&bytes);
    return rc;
}

/* ---- reading piece by piece ------------------------------------------------------- */

typedef struct stream {
    store__see see;
    void *context;
    bool has_seen_enough;
    lx_sha256 hash;
} stream;

static int pass(stream *t, const void *bytes, size_t n, lx_error *err)
{
    int rc = t->has_seen_enough || !n ? LX_OK : t->see(t->context, bytes, n, err);

    t->has_seen_enough |= rc > 0;
    lx_sha256_update(&t->hash, bytes, n);
    return rc < 0 ? rc : LX_OK;
}

static int stream_raw(stream *t, int fd, char *piece, size_t n, lx_error *err)
{
    ssize_t got = (ssize_t)n;
    int rc = LX_OK;

    while (rc == LX_OK && got > 0 && !t->has_seen_enough)
        if ((rc = pass(t, piece, (size_t)got, err)) == LX_OK &&
            (got = read_piece(fd, piece, PIECE)) < 0)
            rc = lx_fail_errno(err, errno, "cannot read its file");
    return rc;
}

static int stream_packed(stream *t, int fd, char *piece, size_t n, lx_error *err)
{
    ZSTD_DCtx *unpacker = ZSTD_createDCtx();
    char *raw = lx_alloc(PIECE);
    int rc = unpacker && raw ? LX_OK : lx_oom(err);
    ssize_t got = (ssize_t)n;

    while (rc == LX_OK && got > 0) {
        ZSTD_inBuffer in = {piece, (size_t)got, 0};
        ZSTD_outBuffer out = {raw, PIECE, 0};
        do {
            size_t left;
            out.pos = 0;
            left = ZSTD_decompressStream(unpacker, &out, &in);
            if (ZSTD_isError(left))
                rc = store__zstd_is_oom(left)
                         ? lx_oom(err)
                         : lx_fail(err, LX_EFORMAT, "its compressed bytes are damaged");
            else
                rc = pass(t, raw, out.pos, err);
        } while (rc == LX_OK && (in.pos < in.size || out.pos == PIECE));
        if (rc == LX_OK && (got = read_piece(fd, piece, PIECE)) < 0)
            rc = lx_fail_errno(err, errno, "cannot read its file");
    }
    ZSTD_freeDCtx(unpacker);
    lx_free(raw);
    return rc;
}

static int stream_file(stream *t, lx_store *s, const lx_hash *hash, size_t size,
                       int encoding, lx_error *err)
{
    char *piece = lx_alloc(PIECE);
    ssize_t got;
    size_t n;
    int fd, rc;

    if (!piece)
        return lx_oom(err);
    if ((rc = open_object(&fd, &n, s, hash, err)) == LX_OK) {
        if ((got = read_piece(fd, piece, PIECE)) < 0)
            rc = lx_fail_errno(err, errno, "cannot read its file");
        else if (encoding_of_file(encoding, size, piece, (size_t)got, n) == RAW)
            rc = stream_raw(t, fd, piece, (size_t)got, err);
        else {
            rc = stream_packed(t, fd, piece, (size_t)got, err);
            t->has_seen_enough = false; /* all of it was read: it is verified */
        }
        lx_io_get()->close(fd);
    }
    lx_free(piece);
    return rc;
}

int store__object_stream(lx_store *s, const lx_hash *hash, store__see see, void *context,
                         lx_error *err)
{
    stream t = {.see = see, .context = context};
    char hex[LX_HASH_HEX + 1];
    lx_hash got;
    sqlite3_stmt *stmt;
    int64_t size = -1;
    int encoding = RAW;
    int rc = store__query(
        &stmt, s, err, "SELECT size, encoding FROM object WHERE hash=?1 AND data IS NULL",
        "h", hash);

    if (store__row(&rc, s, stmt, err)) {
        size = sqlite3_column_int64(stmt, 0);
        encoding = sqlite3_column_int(stmt, 1);
    }
    store__finish(s, stmt);
    if (rc < 0)
        return rc;
    if (size < 0) { /* in its row, or it cannot be at all */
        lx_str bytes = LX_STR_INIT;
        if ((rc = lx_object_get(&bytes, s, hash, err)) == LX_OK && bytes.len)
            rc = see(context, bytes.data, bytes.len, err);
        lx_str_release(&bytes);
        return rc < 0 ? rc : LX_OK;
    }
    lx_sha256_init(&t.hash);
    if ((rc = stream_file(&t, s, hash, (size_t)size, encoding, err)) < 0) {
        lx_hash_hex(hex, hash);
        lx_within(err, "object %s", hex);
    }
    got = lx_sha256_final(&t.hash);
    return rc < 0 || t.has_seen_enough ? rc : verify(s, &got, hash, err);
}

/* ---- in the place of a damaged one ------------------------------------------------ */

/* Where it goes; *out is empty when one of that name is there. */
static int find_aside(lx_str *out, const lx_store *s, const char *name, lx_error *err)
{
    int rc;

    lx_str_printf(out, "%s/damaged", s->path);
    if ((rc = lx_str_check(out, err)) < 0 || (rc = lx_make_dirs(out->data, err)) < 0)
        return rc;
    lx_str_printf(out, "/%s", name);
    if ((rc = lx_str_check(out, err)) == LX_OK && lx_file_exists(out->data))
        lx_str_clear(out);
    return rc;
}

int store__keep_aside(lx_store *s, const char *name, const void *data, size_t n,
                      lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc = find_aside(&path, s, name, err);

    if (rc == LX_OK && path.len)
        rc = lx_file_write(path.data, data, n, err);
    lx_str_release(&path);
    return rc;
}

/* What cannot be read of it is zeros there. */
static int keep_file_aside(lx_store *s, const char *name, const char *from, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int64_t n_lost;
    int rc = find_aside(&path, s, name, err);

    if (rc == LX_OK && path.len)
        rc = store__copy_readable(&n_lost, path.data, from, err);
    lx_str_release(&path);
    return rc;
}

/* The bytes as they are stored, whatever they are. */
static int keep_damaged(lx_store *s, const lx_hash *hash, lx_error *err)
{
    char name[LX_HASH_HEX + 16] = "object-";
    lx_str path = LX_STR_INIT;
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, s, err, "SELECT data FROM object WHERE hash=?1", "h", hash);

    lx_hash_hex(name + strlen(name), hash);
    if (store__row(&rc, s, stmt, err) && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        rc = store__keep_aside(s, name, sqlite3_column_blob(stmt, 0),
                               (size_t)sqlite3_column_bytes(stmt, 0), err);
    store__finish(s, stmt);
    store__object_path(&path, s, hash);
    if (rc == LX_OK && (rc = lx_str_check(&path, err)) == LX_OK &&
        lx_file_exists(path.data))
        rc = keep_file_aside(s, name, path.data, err);
    lx_str_release(&path);
    return rc;
}

int store__object_mend(lx_store *s, const lx_hash *hash, const void *data, size_t n,
                       lx_error *err)
{
    store__object *o = NULL;
    int rc;

    if ((rc = keep_damaged(s, hash, err)) < 0 ||
        (rc = encode(&o, hash, data, n, err)) < 0 ||
        (o->n > STORE_LARGE && (rc = write_object_file(s, o, err)) < 0) ||
        (rc = store__begin(s, err)) < 0)
        goto done;
    rc = store__do(s, err,
                   "INSERT INTO object(hash, size, encoding, added, data)"
                   " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(hash) DO UPDATE SET"
                   " size=excluded.size, encoding=excluded.encoding,"
                   " added=excluded.added, data=excluded.data",
                   "hiiib", hash, o->size, (int64_t)o->encoding, (int64_t)store__now(),
                   o->is_file ? NULL : (const void *)o->data,
                   o->is_file ? (size_t)0 : o->n);
    rc = store__end(s, rc, err);
done:
    lx_free(o);
    return rc;
}
