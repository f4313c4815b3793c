/*
 * base/file - whole files: read, map, and write so that a half-written one is never seen
 *
 * Writing: a temporary file in the same folder, fsync, rename over the name, fsync of the folder.
 * The old file stays whole until the rename.
 *
 * Errors name the path, except those of the two functions that say so.
 */
#ifndef LX_BASE_FILE_H
#define LX_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/sha256.h"
#include "src/base/str.h"

/* All of a regular file of at most `limit` bytes. LX_ELIMIT beyond it. */
int lx_file_read(lx_str *out, const char *path, size_t limit, lx_error *err);

/* A read-only mapping of a regular file (an empty file maps to data "" and size 0). */
typedef struct lx_mapping {
    const unsigned char *data;
    size_t size;
} lx_mapping;
int lx_file_map(lx_mapping *out, const char *path, lx_error *err);
void lx_file_unmap(lx_mapping *map);
/* Bytes of a mapping that are not wanted for now: they leave memory and are read again if they are. */
void lx_file_let_go(const void *data, size_t size);

/* The two halves of lx_file_map, for those whose callers name the path. LX_EFORMAT: a folder, FIFO, socket, device, or
 * a link that leads to itself; LX_ENOTFOUND: also where the name is too long for a file. *fd is to be closed with
 * lx_io_get()->close. */
int lx_file_open_regular(int *fd, size_t *size, const char *path, lx_error *err);
int lx_file_map_fd(lx_mapping *out, int fd, size_t size, lx_error *err);

int lx_file_hash(lx_hash *out, const char *path, lx_error *err);
/* What cannot be looked at counts as there: whoever opens it then says why it cannot be read. Under a name that is too
 * long nothing is. */
bool lx_file_exists(const char *path);
bool lx_file_is_dir(const char *path);
/* A symbolic link, wherever it leads. */
bool lx_file_is_link(const char *path);
/* Did the system ever fail (EIO) to read a file or folder here, or to look whether one is there? A command that goes on
 * without what it could not read asks at its end. */
bool lx_file_was_refused(void);
int lx_make_dirs(const char *path, lx_error *err); /* like mkdir -p */

/* A file being replaced. Write, then commit or abort (abort after commit does nothing). */
typedef struct lx_new_file lx_new_file;
int lx_new_file_open(lx_new_file **out, const char *path, lx_error *err);
int lx_new_file_write(lx_new_file *file, const void *data, size_t n, lx_error *err);
/* n bytes at `at`, over some that were written before. */
int lx_new_file_write_over(lx_new_file *file, size_t at, const void *data, size_t n,
                           lx_error *err);
/* What was written so far begins its way to the disk, so that the commit has less to wait for. */
int lx_new_file_hurry(lx_new_file *file, lx_error *err);
int lx_new_file_commit(lx_new_file *file, lx_error *err); /* durable when it returns 0 */
void lx_new_file_close(lx_new_file *file);                /* removes what was not committed */

int lx_file_write(const char *path, const void *data, size_t n, lx_error *err);
/* A new one is for its owner alone (0600), one that is there lets nobody else in than before. */
int lx_file_write_private(const char *path, const void *data, size_t n, lx_error *err);
int lx_file_copy(const char *to, const char *from, lx_error *err); /* regular files; replaces */

const char *lx_temporary_folder(void); /* TMPDIR, or /tmp */

/* Sorted (bytewise) names in a folder, "." and ".." left out. Free with lx_dir_free. */
typedef struct lx_dir {
    char **names;
    size_t count, capacity;
    bool has_links; /* or the system does not say what some are */
} lx_dir;
int lx_dir_list(lx_dir *out, const char *path, lx_error *err);
void lx_dir_free(lx_dir *dir);

const char *lx_path_base(const char *path); /* after the last '/' */
const char *lx_path_ext(const char *path);  /* ".png" with its dot, or "" */

#endif
