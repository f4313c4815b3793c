#include "store/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "store/chunk.h"
#include "store/tar.h"

enum { VERSION = 1, LEVEL = 3, END = 2 * LX_TAR_BLOCK };
static const uint64_t MOST_BYTES = 1ULL << 36; /* unpacked */
static const uint64_t MOST_MANIFEST = 1U << 30;
static const uint64_t MOST_RATIO = 2000; /* more is a bomb and no bundle */
/* A block holds no more than the window, and takes 4 bytes at least: packed so, nothing becomes 2000 times smaller. */
enum { SHORT_WINDOW_LOG = 12 };

static const char MANIFEST[] = "manifest/", OBJECTS[] = "objects/";

/* ---- writing ----------------------------------------------------------------------- */

/* Bytes on their way through zstd into a file. */
typedef struct sink {
    lx_new_file *file;
    ZSTD_CCtx *zstd;
    uint64_t n_packed;
    char buffer[128 * 1024];
} sink;

static int push(sink *s, const void *data, size_t n, ZSTD_EndDirective mode,
                lx_error *err)
{
    ZSTD_inBuffer in = {data, n, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {s->buffer, sizeof s->buffer, 0};
        int rc;
        left = ZSTD_compressStream2(s->zstd, &out, &in, mode);
        if (store__zstd_is_oom(left))
            return lx_oom(err);
        lx_assert(!ZSTD_isError(left)); /* the size that was pledged is what comes */
        s->n_packed += out.pos;
        if ((rc = lx_new_file_write(s->file, s->buffer, out.pos, err)) < 0)
            return rc;
    } while (mode == ZSTD_e_end ? left > 0 : in.pos < in.size);
    return LX_OK;
}

static int push_member(sink *s, const char *folder, const lx_hash *hash, const void *data,
                       size_t n, lx_error *err)
{
    static const unsigned char zeros[LX_TAR_BLOCK];
    unsigned char header[LX_TAR_BLOCK];
    char name[LX_TAR_NAME], hex[LX_HASH_HEX + 1];
    int rc;

    lx_hash_hex(hex, hash);
    snprintf(name, sizeof name, "%s%s", folder, hex);
    if ((rc = lx_tar_header(header, name, n, err)) < 0 ||
        (rc = push(s, header, sizeof header, ZSTD_e_continue, err)) < 0 ||
        (rc = push(s, data, n, ZSTD_e_continue, err)) < 0)
        return rc;
    return push(s, zeros, lx_tar_padding(n), ZSTD_e_continue, err);
}

static int make_manifest(lx_str *out, lx_transfer *t, lx_privacy *privacy,
                         lx_arena *arena, lx_error *err)
{
    size_t n_objects, n_told;
    const lx_transfer_object *objects = lx_transfer_objects(t, &n_objects);
    const char *const *told;
    cJSON *root = cJSON_CreateObject(), *list;
    int rc = lx_privacy_told(&told, &n_told, privacy, arena, err);

    cJSON_AddNumberToObject(root, "lx_bundle", VERSION);
    cJSON_AddStringToObject(root, "made_by", "lx " LX_VERSION);
    cJSON_AddBoolToObject(root, "is_scrubbed", !lx_privacy_is_off(privacy));
    list = cJSON_AddArrayToObject(root, "scrubbed");
    for (size_t i = 0; rc == LX_OK && i < n_told; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(told[i]));
    list = cJSON_AddArrayToObject(root, "objects");
    for (size_t i = 0; i < n_objects; i++) {
        cJSON *item = cJSON_CreateArray();
        char hex[LX_HASH_HEX + 1];
        lx_hash_hex(hex, &objects[i].hash);
        cJSON_AddItemToArray(list, item);
        cJSON_AddItemToArray(item, cJSON_CreateString(hex));
        cJSON_AddItemToArray(item, cJSON_CreateNumber((double)objects[i].size));
    }
    /* Borrowed; a reference is not freed with the root. */
    if (rc == LX_OK && (cJSON_GetArraySize(list) != (int)n_objects ||
                        !cJSON_AddItemReferenceToObject(
                            root, "runs", (cJSON *)(uintptr_t)lx_transfer_records(t))))
        rc = lx_oom(err);
    if (rc == LX_OK)
        rc = lx_json_canonical(out, root, err);
    cJSON_Delete(root);
    return rc;
}

static uint64_t member_size(uint64_t n)
{
    return LX_TAR_BLOCK + n + lx_tar_padding(n);
}

static int push_objects(sink *s, lx_transfer *t, lx_error *err)
{
    size_t n;
    const lx_transfer_object *objects = lx_transfer_objects(t, &n);
    lx_str room = LX_STR_INIT;
    int rc = LX_OK;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        const void *data;
        size_t size;
        if ((rc = lx_transfer_bytes(&data, &size, &room, t, &objects[i], err)) == LX_OK)
            rc = push_member(s, OBJECTS, &objects[i].hash, data, size, err);
    }
    lx_str_release(&room);
    return rc;
}

static int find_total(uint64_t *out, lx_transfer *t, const lx_str *manifest, lx_error *err)
{
    size_t n;
    const lx_transfer_object *objects = lx_transfer_objects(t, &n);
    uint64_t total = member_size(manifest->len) + END;

    for (size_t i = 0; i < n; i++)
        total += member_size((uint64_t)objects[i].size);
    *out = total;
    return total <= MOST_BYTES && manifest->len <= MOST_MANIFEST
               ? LX_OK
               : lx_fail(err, LX_ELIMIT,
                         "a bundle holds at most 64 GiB, and a list of 1 GiB; choose fewer runs");
}

/* window_log 0: as zstd has it for the level. */
static int push_all(sink *s, lx_transfer *t, const lx_str *manifest, uint64_t total,
                    int window_log, lx_error *err)
{
    static const unsigned char end[END];
    lx_hash name = lx_sha256_of(manifest->data, manifest->len);
    int rc;

    s->n_packed = 0;
    ZSTD_CCtx_reset(s->zstd, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setPledgedSrcSize(s->zstd, total);
    if ((rc = push_member(s, MANIFEST, &name, manifest->data, manifest->len, err)) < 0 ||
        (rc = push_objects(s, t, err)) < 0)
        return rc;
    return push(s, end, sizeof end, ZSTD_e_end, err);
}

/* A console of one line said a million times packs better than what a reader takes. */
static bool is_too_dense(uint64_t total, uint64_t n_packed)
{
    return total / MOST_RATIO > n_packed;
}

static int write_file(sink *s, const char *path, lx_transfer *t, const lx_str *manifest,
                      lx_error *err)
{
    uint64_t total;
    int rc;

    if ((rc = find_total(&total, t, manifest, err)) < 0 ||
        (rc = lx_new_file_open(&s->file, path, err)) < 0 ||
        (rc = push_all(s, t, manifest, total, 0, err)) < 0)
        return rc;
    if (is_too_dense(total, s->n_packed)) {
        lx_new_file_close(s->file);
        s->file = NULL;
        if ((rc = lx_new_file_open(&s->file, path, err)) < 0 ||
            (rc = push_all(s, t, manifest, total, SHORT_WINDOW_LOG, err)) < 0)
            return rc;
        lx_assert(!is_too_dense(total, s->n_packed));
    }
    return lx_new_file_commit(s->file, err);
}

int lx_bundle_write(const char *path, lx_transfer *t, lx_privacy *privacy,
                    lx_arena *arena, lx_error *err)
{
    lx_str manifest = LX_STR_INIT;
    sink *s = lx_calloc(1, sizeof *s);
    int rc;

    if (!s || !(s->zstd = ZSTD_createCCtx())) {
        rc = lx_oom(err);
        goto done;
    }
    if ((rc = make_manifest(&manifest, t, privacy, arena, err)) == LX_OK)
        rc = write_file(s, path, t, &manifest, err);
done:
    if (s) {
        ZSTD_freeCCtx(s->zstd);
        lx_new_file_close(s->file);
    }
    lx_free(s);
    lx_str_release(&manifest);
    return rc;
}

/* ---- reading ----------------------------------------------------------------------- */

typedef struct entry {
    lx_hash hash;
    const void *data;
    size_t n;
} entry;

struct lx_bundle {
    lx_mapping file, unpacked; /* data NULL: not mapped */
    cJSON *manifest;
    entry *objects; /* sorted by hash */
    size_t n_objects;
};

bool lx_bundle_is(const void *head, size_t n, const char *path)
{
    static const unsigned char zstd[] = {0x28, 0xB5, 0x2F, 0xFD};
    const char *ending = lx_path_ext(path);
    return (n >= 4 && memcmp(head, zstd, 4) == 0) || lx_tar_is(head, n) ||
           strcmp(ending, ".lxb") == 0 || strcmp(ending, ".tar") == 0;
}

void lx_bundle_close(lx_bundle *b)
{
    if (!b)
        return;
    cJSON_Delete(b->manifest);
    lx_free(b->objects);
    if (b->unpacked.data)
        lx_file_unmap(&b->unpacked);
    if (b->file.data)
        lx_file_unmap(&b->file);
    lx_free(b);
}

/* "objects/HEX" -> HEX, and that it is the SHA-256 of the bytes. */
static int check_hash(lx_hash *out, const lx_tar_member *m, const char *folder,
                      lx_error *err)
{
    lx_hash found;
    if (!lx_starts_with(m->name, folder) ||
        !lx_hash_from_hex(out, m->name + strlen(folder)))
        return lx_fail(err, LX_EFORMAT,
                       "member \"%s\" at byte %zu has no place in a bundle of runs",
                       m->name, m->offset);
    found = lx_sha256_of(m->data, m->n);
    if (!lx_hash_equal(&found, out))
        return lx_fail(err, LX_EFORMAT,
                       "member \"%s\" at byte %zu: its bytes hash to another name",
                       m->name, m->offset);
    return LX_OK;
}

static int read_manifest(lx_bundle *b, lx_tar *tar, lx_error *err)
{
    lx_tar_member m;
    lx_hash hash;
    const cJSON *version;
    int rc = lx_tar_next(&m, tar, err);

    if (rc == 0)
        return lx_fail(err, LX_EFORMAT, "an archive without members");
    /* A lone object is told by its hash; anything else has no place here. */
    if (rc > 0 && lx_starts_with(m.name, OBJECTS) &&
        (rc = check_hash(&hash, &m, OBJECTS, err)) == 0)
        rc = lx_fail(err, LX_EFORMAT, "the manifest is not the first member");
    if (rc >= 0 && m.n > MOST_MANIFEST)
        return lx_fail(err, LX_ELIMIT, "a manifest of %zu bytes; the most is 1 GiB", m.n);
    if (rc < 0 || (rc = check_hash(&hash, &m, MANIFEST, err)) < 0)
        return rc;
    if ((rc = lx_json_parse(&b->manifest, (const char *)m.data, m.n, err)) < 0) {
        lx_within(err, "manifest");
        return rc;
    }
    version = cJSON_GetObjectItemCaseSensitive(b->manifest, "lx_bundle");
    if (!cJSON_IsNumber(version) || version->valuedouble < 1)
        return lx_fail(err, LX_EFORMAT, "the manifest is not of a bundle");
    if (version->valuedouble > VERSION)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "a bundle of version %g; this lx reads up to %d, a newer one reads it",
            version->valuedouble, VERSION);
    if (!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(b->manifest, "runs")))
        return lx_fail(err, LX_EFORMAT, "the manifest lists no runs");
    rc = LX_OK;
    for (const cJSON *r = lx_bundle_runs(b)->child; r && rc == LX_OK; r = r->next)
        rc = lx_transfer_check(&(const char *){NULL}, r, err);
    return rc;
}

/* The members must be those of the list, in its order, and the list must rise. */
static int read_objects(lx_bundle *b, lx_tar *tar, lx_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(b->manifest, "objects");
    lx_tar_member m;
    int rc;

    if (!cJSON_IsArray(list))
        return lx_fail(err, LX_EFORMAT, "the manifest lists no objects");
    b->objects = lx_calloc((size_t)cJSON_GetArraySize(list), sizeof *b->objects);
    if (!b->objects)
        return lx_oom(err);
    for (const cJSON *item = list->child; item; item = item->next) {
        entry *e = &b->objects[b->n_objects];
        const char *hex = cJSON_GetStringValue(cJSON_GetArrayItem(item, 0));
        lx_hash listed;
        if (!hex || !lx_hash_from_hex(&listed, hex))
            return lx_fail(err, LX_EFORMAT,
                           "the manifest lists an object without a hash");
        if ((rc = lx_tar_next(&m, tar, err)) <= 0)
            return rc < 0 ? rc
                          : lx_fail(err, LX_EFORMAT, "object %s is listed and not there",
                                    hex);
        if ((rc = check_hash(&e->hash, &m, OBJECTS, err)) < 0)
            return rc;
        if (!lx_hash_equal(&listed, &e->hash))
            return lx_fail(err, LX_EFORMAT,
                           "object %s at byte %zu is not the one that is listed",
                           m.name + strlen(OBJECTS), m.offset);
        if (b->n_objects &&
            memcmp(e[-1].hash.bytes, e->hash.bytes, sizeof e->hash.bytes) >= 0)
            return lx_fail(err, LX_EFORMAT, "object %s at byte %zu is out of order", hex,
                           m.offset);
        e->data = m.data;
        e->n = m.n;
        b->n_objects++;
    }
    if ((rc = lx_tar_next(&m, tar, err)) > 0)
        return lx_fail(err, LX_EFORMAT, "member \"%s\" at byte %zu is not listed", m.name,
                       m.offset);
    return rc;
}

static int read_members(lx_bundle *b, const void *data, size_t n, lx_error *err)
{
    lx_tar tar = lx_tar_of(data, n);
    int rc = read_manifest(b, &tar, err);
    return rc < 0 ? rc : read_objects(b, &tar, err);
}

/* ---- unpacking --------------------------------------------------------------------- */

static int check_frame(const lx_mapping *file, lx_error *err)
{
    unsigned long long size = ZSTD_getFrameContentSize(file->data, file->size);
    const size_t packed = ZSTD_findFrameCompressedSize(file->data, file->size);

    if (size == ZSTD_CONTENTSIZE_ERROR)
        return lx_fail(err, LX_EFORMAT, "neither a bundle of runs nor a tar archive");
    if (size == ZSTD_CONTENTSIZE_UNKNOWN)
        return lx_fail(err, LX_EFORMAT,
                       "the compressed data do not say how large they are");
    /* The little that is left of a large bundle would seem to be packed too densely. */
    if (size <= MOST_BYTES && ZSTD_getErrorCode(packed) == ZSTD_error_srcSize_wrong)
        return lx_fail(err, LX_EFORMAT,
                       "the file is cut off: it ends after %zu bytes, in the middle of the compressed data; "
                       "copy or export it again",
                       file->size);
    if (size > MOST_BYTES || is_too_dense(size, file->size))
        return lx_fail(
            err, LX_ELIMIT,
            "%zu bytes that would unpack to %llu; a bundle has at most 64 GiB, "
            "and 2000 times its packed size",
            file->size, size);
    if (ZSTD_isError(packed))
        return lx_fail(err, LX_EFORMAT, "the compressed data are damaged: %s", ZSTD_getErrorName(packed));
    if (packed != file->size)
        return lx_fail(err, LX_EFORMAT, "something stands behind the compressed data: %zu bytes",
                       file->size - packed);
    return LX_OK;
}

static int write_fd(int fd, const char *data, size_t n, lx_error *err)
{
    while (n) {
        ssize_t got = lx_io_get()->write(fd, data, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return lx_fail_errno(err, got < 0 ? errno : EIO, "unpacking");
        data += got;
        n -= (size_t)got;
    }
    return LX_OK;
}

static int unpack_to(int fd, const lx_mapping *file, uint64_t *total, lx_error *err)
{
    uint64_t most = ZSTD_getFrameContentSize(file->data, file->size);
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    char *buffer = lx_alloc(128 * 1024);
    ZSTD_inBuffer in = {file->data, file->size, 0};
    size_t left = 1;
    int rc = zstd && buffer ? LX_OK : lx_oom(err);

    while (rc == LX_OK && left) { /* zstd itself ends one that gets nowhere */
        ZSTD_outBuffer out = {buffer, 128 * 1024, 0};
        left = ZSTD_decompressStream(zstd, &out, &in);
        if (store__zstd_is_oom(left))
            rc = lx_oom(err);
        else if (ZSTD_isError(left))
            rc = lx_fail(err, LX_EFORMAT,
                         "the compressed data are damaged near byte %zu: %s", in.pos,
                         ZSTD_getErrorName(left));
        else if ((*total += out.pos) > most)
            rc = lx_fail(err, LX_EFORMAT, "the compressed data are larger than they say");
        else
            rc = write_fd(fd, buffer, out.pos, err);
    }
    ZSTD_freeDCtx(zstd);
    lx_free(buffer);
    return rc;
}

/* Into a file that has no name once it is open: nothing stays behind, whatever happens.
 */
static int unpack(lx_bundle *b, const char *scratch, lx_error *err)
{
    const lx_io *io = lx_io_get();
    lx_str path = LX_STR_INIT;
    uint64_t total = 0;
    int fd = -1, rc;

    if ((rc = check_frame(&b->file, err)) < 0)
        return rc;
    lx_str_printf(&path, "%s/bundle-%lld", scratch, (long long)getpid());
    if ((rc = lx_str_check(&path, err)) < 0 || (rc = lx_make_dirs(scratch, err)) < 0)
        goto done;
    io->unlink(lx_str_text(&path)); /* left by one that was killed and had our number */
    fd = io->open(lx_str_text(&path), O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        rc = lx_fail_errno(err, errno, "%s", lx_str_text(&path));
        goto done;
    }
    io->unlink(lx_str_text(&path));
    if ((rc = unpack_to(fd, &b->file, &total, err)) == LX_OK)
        rc = lx_file_map_fd(&b->unpacked, fd, (size_t)total, err);
done:
    if (fd >= 0)
        io->close(fd);
    lx_str_release(&path);
    return rc;
}

int lx_bundle_open(lx_bundle **out, const char *path, const char *scratch, lx_error *err)
{
    lx_bundle *b = lx_calloc(1, sizeof *b);
    int rc;

    *out = NULL;
    if (!b)
        return lx_oom(err);
    if ((rc = lx_file_map(&b->file, path, err)) < 0)
        goto done; /* it names the path */
    if (lx_tar_is(b->file.data, b->file.size))
        rc = read_members(b, b->file.data, b->file.size, err);
    else if ((rc = unpack(b, scratch, err)) == LX_OK)
        rc = read_members(b, b->unpacked.data, b->unpacked.size, err);
    if (rc < 0)
        lx_within(err, "%s", path);
done:
    if (rc < 0)
        lx_bundle_close(b);
    else
        *out = b;
    return rc;
}

int lx_bundle_open_bytes(lx_bundle **out, const void *data, size_t n, lx_error *err)
{
    lx_bundle *b = lx_calloc(1, sizeof *b);
    int rc;

    *out = NULL;
    if (!b)
        return lx_oom(err);
    if ((rc = read_members(b, data, n, err)) < 0)
        lx_bundle_close(b);
    else
        *out = b;
    return rc;
}

const cJSON *lx_bundle_runs(const lx_bundle *b)
{
    return cJSON_GetObjectItemCaseSensitive(b->manifest, "runs");
}

bool lx_bundle_is_scrubbed(const lx_bundle *b)
{
    return lx_json_bool(b->manifest, "is_scrubbed", false);
}

int lx_bundle_fetch(void *bundle, const void **data, size_t *n, const lx_hash *hash,
                    lx_error *err)
{
    const lx_bundle *b = bundle;
    size_t low = 0, high = b->n_objects;
    char hex[LX_HASH_HEX + 1];

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order =
            memcmp(b->objects[middle].hash.bytes, hash->bytes, sizeof hash->bytes);
        if (order == 0) {
            *data = b->objects[middle].data;
            *n = b->objects[middle].n;
            return LX_OK;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    lx_hash_hex(hex, hash);
    return lx_fail(err, LX_ENOTFOUND, "object %s is not in the bundle", hex);
}
