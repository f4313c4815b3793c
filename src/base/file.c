#include "src/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/io.h"

static atomic_bool was_refused;

/* An errno on its way to whoever reports it. */
static int noted(int error)
{
    if (error == EIO)
        atomic_store(&was_refused, true);
    if (error == ENOMEM)
        lx_alloc_note_failure();
    return error;
}

bool lx_file_was_refused(void)
{
    return atomic_load(&was_refused);
}

/* What the name stands for is told apart from what a disk refuses: a socket cannot be opened as a FIFO can. */
static int fail_open(int error, lx_error *err)
{
    if (error == ENXIO || error == ENODEV)
        return lx_fail(err, LX_EFORMAT, "is not a regular file");
    if (error == ELOOP)
        return lx_fail(err, LX_EFORMAT, "cannot open: %s", strerror(error));
    if (error == ENAMETOOLONG) /* so there is none */
        return lx_fail(err, LX_ENOTFOUND, "cannot open: %s", strerror(error));
    return lx_fail_errno(err, noted(error), "cannot open");
}

/* O_NONBLOCK so that a FIFO in place of a file is refused and does not hang us. */
int lx_file_open_regular(int *out, size_t *size, const char *path, lx_error *err)
{
    const lx_io *io = lx_io_get();
    struct stat st;
    int fd = io->open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0), rc;

    if (fd < 0)
        return fail_open(errno, err);
    if (io->fstat(fd, &st) < 0)
        rc = lx_fail_errno(err, noted(errno), "cannot examine");
    else if (S_ISDIR(st.st_mode))
        rc = lx_fail(err, LX_EFORMAT, "is a folder, not a file");
    else if (!S_ISREG(st.st_mode))
        rc = lx_fail(err, LX_EFORMAT, "is not a regular file");
    else
        rc = LX_OK;
    if (rc < 0) {
        io->close(fd);
        return rc;
    }
    *out = fd;
    *size = (size_t)st.st_size;
    return LX_OK;
}

static ssize_t read_some(int fd, void *data, size_t n)
{
    ssize_t got;
    do
        got = lx_io_get()->read(fd, data, n);
    while (got < 0 && errno == EINTR);
    return got;
}

static int read_all(lx_str *out, int fd, size_t size, size_t limit, lx_error *err)
{
    char chunk[16384];
    ssize_t got;

    if (size > limit)
        return lx_fail(err, LX_ELIMIT, "has %zu bytes, more than the limit of %zu", size,
                       limit);
    /* The file may grow while it is read, so the limit is enforced again here. */
    while ((got = read_some(fd, chunk, sizeof chunk)) > 0) {
        if ((size_t)got > limit - out->len)
            return lx_fail(err, LX_ELIMIT, "has more than the limit of %zu bytes", limit);
        lx_str_append(out, chunk, (size_t)got);
        if (out->failed)
            return lx_oom(err);
    }
    if (got < 0)
        return lx_fail_errno(err, noted(errno), "cannot read");
    return LX_OK;
}

int lx_file_read(lx_str *out, const char *path, size_t limit, lx_error *err)
{
    size_t size;
    int fd, rc;

    *out = (lx_str)LX_STR_INIT;
    if ((rc = lx_file_open_regular(&fd, &size, path, err)) == LX_OK) {
        rc = read_all(out, fd, size, limit, err);
        lx_io_get()->close(fd);
    }
    if (rc == LX_OK && !out->data) { /* an empty file: data "" and not NULL */
        lx_str_append(out, "", 0);
        rc = lx_str_check(out, err);
    }
    if (rc < 0) {
        lx_str_release(out);
        lx_within(err, "%s", path);
    }
    return rc;
}

int lx_file_map_fd(lx_mapping *out, int fd, size_t size, lx_error *err)
{
    void *data;

    *out = (lx_mapping){(const unsigned char *)"", 0};
    if (!size)
        return LX_OK;
    data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return lx_fail_errno(err, noted(errno), "cannot map %zu bytes", size);
    out->data = data;
    out->size = size;
    return LX_OK;
}

int lx_file_map(lx_mapping *out, const char *path, lx_error *err)
{
    size_t size;
    int fd, rc;

    *out = (lx_mapping){NULL, 0};
    if ((rc = lx_file_open_regular(&fd, &size, path, err)) == LX_OK) {
        rc = lx_file_map_fd(out, fd, size, err);
        lx_io_get()->close(fd);
    }
    if (rc < 0)
        lx_within(err, "%s", path);
    return rc;
}

void lx_file_unmap(lx_mapping *map)
{
    if (map->size)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (lx_mapping){NULL, 0};
}

void lx_file_let_go(const void *data, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data;
    const uintptr_t first = (begin + page - 1) / page * page,
                    end = (begin + size) / page * page;

    if (first < end) /* a wish: nothing is lost when it is not granted */
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

int lx_file_hash(lx_hash *out, const char *path, lx_error *err)
{
    enum { CHUNK = 1 << 18 };
    char *chunk = lx_alloc(CHUNK);
    lx_sha256 h;
    ssize_t got;
    size_t size;
    int fd = -1, rc;

    if (!chunk)
        return lx_oom(err);
    if ((rc = lx_file_open_regular(&fd, &size, path, err)) < 0)
        goto done;
    lx_sha256_init(&h);
    while ((got = read_some(fd, chunk, CHUNK)) > 0)
        lx_sha256_update(&h, chunk, (size_t)got);
    if (got < 0)
        rc = lx_fail_errno(err, noted(errno), "cannot read");
    else
        *out = lx_sha256_final(&h);
    lx_io_get()->close(fd);
done:
    if (rc < 0)
        lx_within(err, "%s", path);
    lx_free(chunk);
    return rc;
}

bool lx_file_exists(const char *path)
{
    struct stat st;
    return lx_io_get()->stat(path, &st) == 0 ||
           (noted(errno) != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG);
}

bool lx_file_is_link(const char *path)
{
    char ignored[1];
    return readlink(path, ignored, sizeof ignored) >= 0;
}

bool lx_file_is_dir(const char *path)
{
    struct stat st;
    if (lx_io_get()->stat(path, &st) == 0)
        return S_ISDIR(st.st_mode);
    noted(errno);
    return false;
}

const char *lx_temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");

    return folder && *folder ? folder : "/tmp";
}

static int make_dir(const char *path, lx_error *err)
{
    struct stat st;

    if (lx_io_get()->mkdir(path, 0777) == 0)
        return LX_OK;
    if (errno != EEXIST)
        return lx_fail_errno(err, errno, "%s: cannot make the folder", path);
    if (lx_io_get()->stat(path, &st) < 0)
        return lx_fail_errno(err, errno, "%s", path);
    return S_ISDIR(st.st_mode)
               ? LX_OK
               : lx_fail(err, LX_EEXISTS, "%s: is a file, a folder is needed", path);
}

int lx_make_dirs(const char *path, lx_error *err)
{
    char *copy;
    int rc = LX_OK;

    if (!path[0] || lx_file_is_dir(path))
        return LX_OK;
    if (!(copy = lx_strdup(path)))
        return lx_oom(err);
    for (char *p = copy + 1; rc == LX_OK; p++) {
        char c = *p;
        if (c != '/' && c)
            continue;
        *p = '\0';
        rc = make_dir(copy, err);
        *p = c;
        if (!c)
            break;
    }
    lx_free(copy);
    return rc;
}

/* Replacing a file. Small writes are gathered; a failed write or sync is final. */
enum { BUFFER = 64 * 1024 };

struct lx_new_file {
    char *path, *folder, *temporary;
    int fd;
    bool is_failed, is_committed;
    size_t n_buffered;
    unsigned char buffer[BUFFER];
};

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return lx_strdup(".");
    return slash == path ? lx_strdup("/") : lx_strndup(path, (size_t)(slash - path));
}

/* The name does not contain the target's, which may already be as long as a name can be. */
static int open_temporary(lx_new_file *file, mode_t mode, lx_error *err)
{
    static _Atomic unsigned counter;
    size_t room = strlen(file->folder) + 64;

    if (!(file->temporary = lx_alloc(room)))
        return lx_oom(err);
    for (int attempt = 0; attempt < 1000; attempt++) {
        snprintf(file->temporary, room, "%s/.lx-%ld-%u.tmp", file->folder, (long)getpid(),
                 atomic_fetch_add(&counter, 1));
        file->fd = lx_io_get()->open(file->temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
        if (file->fd >= 0)
            return LX_OK;
        if (errno != EEXIST)
            break;
    }
    return lx_fail_errno(err, errno, "cannot create a file in %s", file->folder);
}

/* Does the link lead to what the process has open, as /dev/stdout does? */
static bool is_own_descriptor(const char *path)
{
    char target[64];
    const ssize_t n = readlink(path, target, sizeof target);

    return n > 6 && memcmp(target, "/proc/", 6) == 0;
}

/* A rename would put a file in the place of a folder's name, a device, a pipe. */
static int check_place(const char *path, lx_error *err)
{
    struct stat st;

    if (!*path)
        return lx_fail(err, LX_EUSAGE, "an empty name is given for a file to be written");
    if (strcmp(path, "-") == 0)
        return lx_fail(err, LX_EUSAGE, "is not standard output here; ./- is a file of that name");
    if (is_own_descriptor(path))
        return lx_fail(err, LX_EUSAGE, "is no place of a file: leave the option out, or give a file's name");
    if (lx_io_get()->stat(path, &st) < 0) {
        noted(errno);
        return LX_OK;
    }
    if (S_ISDIR(st.st_mode))
        return lx_fail(err, LX_EEXISTS, "is a folder, a file is to be written");
    if (!S_ISREG(st.st_mode))
        return lx_fail(err, LX_EEXISTS,
                       "is a device, a pipe or a socket; lx writes whole files, to be renamed into place");
    return LX_OK;
}

static int open_new(lx_new_file **out, const char *path, mode_t mode, lx_error *err)
{
    lx_new_file *file = lx_calloc(1, sizeof *file);
    int rc;

    *out = NULL;
    if (!file)
        return lx_oom(err);
    file->fd = -1;
    if (!(file->path = lx_strdup(path)) || !(file->folder = folder_of(path)))
        rc = lx_oom(err);
    else if ((rc = check_place(path, err)) == LX_OK)
        rc = open_temporary(file, mode, err);
    if (rc < 0) {
        if (*path)
            lx_within(err, "%s", path);
        lx_new_file_close(file);
        return rc;
    }
    *out = file;
    return LX_OK;
}

int lx_new_file_open(lx_new_file **out, const char *path, lx_error *err)
{
    return open_new(out, path, 0666, err);
}

enum { BEHIND = -1 }; /* what was written before */

static int write_all(lx_new_file *file, const unsigned char *data, size_t n, off_t at,
                     lx_error *err)
{
    const lx_io *io = lx_io_get();

    while (n) {
        ssize_t put = at == BEHIND ? io->write(file->fd, data, n)
                                   : io->pwrite(file->fd, data, n, at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            file->is_failed = true;
            return lx_fail_errno(err, put < 0 ? errno : ENOSPC, "%s: cannot write",
                                 file->path);
        }
        data += put;
        at += at == BEHIND ? 0 : put;
        n -= (size_t)put;
    }
    return LX_OK;
}

static int flush(lx_new_file *file, lx_error *err)
{
    size_t n = file->n_buffered;
    file->n_buffered = 0;
    return write_all(file, file->buffer, n, BEHIND, err);
}

int lx_new_file_write(lx_new_file *file, const void *data, size_t n, lx_error *err)
{
    int rc;

    if (file->is_failed)
        return lx_fail(err, LX_EIO, "%s: an earlier write failed", file->path);
    if (!n)
        return LX_OK;
    if (n > BUFFER - file->n_buffered && (rc = flush(file, err)) < 0)
        return rc;
    if (n >= BUFFER)
        return write_all(file, data, n, BEHIND, err);
    memcpy(file->buffer + file->n_buffered, data, n);
    file->n_buffered += n;
    return LX_OK;
}

int lx_new_file_write_over(lx_new_file *file, size_t at, const void *data, size_t n,
                           lx_error *err)
{
    int rc;

    if (file->is_failed)
        return lx_fail(err, LX_EIO, "%s: an earlier write failed", file->path);
    if ((rc = flush(file, err)) < 0)
        return rc;
    return write_all(file, data, n, (off_t)at, err);
}

int lx_new_file_hurry(lx_new_file *file, lx_error *err)
{
    int rc;

    if (file->is_failed)
        return lx_fail(err, LX_EIO, "%s: an earlier write failed", file->path);
    if ((rc = flush(file, err)) == LX_OK)
        (void)lx_io_get()->begin_sync(
            file->fd); /* a wish; the commit syncs for certain */
    return rc;
}

/* The rename is durable when the folder is. A folder that cannot be opened for reading (no
 * permission) or synced (some network file systems: EINVAL) cannot hold the promise. */
static int sync_folder(const char *folder, lx_error *err)
{
    const lx_io *io = lx_io_get();
    int fd = io->open(folder, O_RDONLY | O_DIRECTORY, 0), rc = LX_OK;

    if (fd < 0)
        return lx_fail_errno(err, errno, "%s: cannot open the folder to sync it", folder);
    if (io->sync(fd) < 0)
        rc = lx_fail_errno(err, errno, "%s: cannot sync the folder", folder);
    io->close(fd);
    return rc;
}

int lx_new_file_commit(lx_new_file *file, lx_error *err)
{
    const lx_io *io = lx_io_get();
    int fd = file->fd, rc;

    if (file->is_failed || fd < 0)
        return lx_fail(err, LX_EIO, "%s: an earlier write failed", file->path);
    if ((rc = flush(file, err)) < 0)
        return rc;
    file->is_failed = true; /* until all of the following succeeded */
    if (io->sync(fd) < 0)
        return lx_fail_errno(err, errno, "%s: cannot sync", file->path);
    file->fd = -1;
    if (io->close(fd) < 0)
        return lx_fail_errno(err, errno, "%s: cannot close", file->path);
    if (io->rename(file->temporary, file->path) < 0)
        return lx_fail_errno(err, errno, "%s: cannot rename into place", file->path);
    file->is_committed = true;
    if ((rc = sync_folder(file->folder, err)) < 0)
        return rc;
    file->is_failed = false;
    return LX_OK;
}

void lx_new_file_close(lx_new_file *file)
{
    bool is_created;

    if (!file)
        return;
    is_created = file->fd >= 0 || (file->is_failed && file->temporary);
    if (file->fd >= 0)
        lx_io_get()->close(file->fd);
    if (is_created && !file->is_committed)
        lx_io_get()->unlink(file->temporary);
    lx_free(file->path);
    lx_free(file->folder);
    lx_free(file->temporary);
    lx_free(file);
}

static int write_whole(const char *path, const void *data, size_t n, mode_t mode,
                       lx_error *err)
{
    lx_new_file *file;
    int rc;

    if ((rc = open_new(&file, path, mode, err)) < 0)
        return rc;
    if ((rc = lx_new_file_write(file, data, n, err)) == LX_OK)
        rc = lx_new_file_commit(file, err);
    lx_new_file_close(file);
    return rc;
}

int lx_file_write(const char *path, const void *data, size_t n, lx_error *err)
{
    return write_whole(path, data, n, 0666, err);
}

int lx_file_write_private(const char *path, const void *data, size_t n, lx_error *err)
{
    struct stat st;
    const bool is_there = lx_io_get()->stat(path, &st) == 0;

    return write_whole(path, data, n, is_there ? st.st_mode & 0777 : 0600, err);
}

int lx_file_copy(const char *to, const char *from, lx_error *err)
{
    lx_mapping map;
    int rc = lx_file_map(&map, from, err);

    if (rc < 0)
        return rc;
    rc = lx_file_write(to, map.data, map.size, err);
    lx_file_unmap(&map);
    return rc;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int collect_names(lx_dir *out, DIR *dir, lx_error *err)
{
    struct dirent *entry;

    while ((void)(errno = 0), (entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (lx_grow(&out->names, &out->capacity, out->count + 1, sizeof *out->names) <
                0 ||
            !(out->names[out->count] = lx_strdup(entry->d_name)))
            return lx_oom(err);
        out->count++;
        out->has_links |= entry->d_type != DT_REG && entry->d_type != DT_DIR;
    }
    return errno ? lx_fail_errno(err, noted(errno), "cannot read the folder") : LX_OK;
}

int lx_dir_list(lx_dir *out, const char *path, lx_error *err)
{
    DIR *dir;
    int fd, rc;

    *out = (lx_dir){0};
    fd = lx_io_get()->open(path, O_RDONLY | O_DIRECTORY, 0);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        rc = lx_fail_errno(err, noted(errno), "%s: cannot open the folder", path);
        if (fd >= 0)
            lx_io_get()->close(fd);
        return rc;
    }
    rc = collect_names(out, dir, err);
    closedir(dir);
    if (rc < 0) {
        lx_within(err, "%s", path);
        lx_dir_free(out);
        return rc;
    }
    if (out->count)
        qsort(out->names, out->count, sizeof *out->names, compare_names);
    return LX_OK;
}

void lx_dir_free(lx_dir *dir)
{
    for (size_t i = 0; i < dir->count; i++)
        lx_free(dir->names[i]);
    lx_free(dir->names);
    *dir = (lx_dir){0};
}

const char *lx_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ".hidden" has no extension. */
const char *lx_path_ext(const char *path)
{
    const char *base = lx_path_base(path), *dot = strrchr(base, '.');
    return dot && dot != base ? dot : "";
}
