#include "tests/support/snapshot.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

char *lx_test_read(size_t *n, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes;

    *n = 0;
    if (fd < 0 || fstat(fd, &st) < 0 || !(bytes = malloc((size_t)st.st_size + 1)))
        die(path);
    for (ssize_t k; *n < (size_t)st.st_size; *n += (size_t)k)
        if ((k = read(fd, bytes + *n, (size_t)st.st_size - *n)) < 0)
            die(path);
        else if (k == 0)
            break; /* it became shorter */
    bytes[*n] = '\0';
    close(fd);
    return bytes;
}

void lx_test_write(const char *path, const char *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
        die(path);
    close(fd);
}

lx_kept *lx_snapshot_find(lx_snapshot *s, const char *name)
{
    for (size_t n = 0, i = s->next; n < s->count; n++, i++) {
        i = i < s->count ? i : 0;
        if (strcmp(s->items[i].name, name) == 0) {
            s->next = i + 1;
            return &s->items[i];
        }
    }
    return NULL;
}

static bool is_untouched(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mode == b->st_mode &&
           memcmp(&a->st_mtim, &b->st_mtim, sizeof a->st_mtim) == 0 &&
           memcmp(&a->st_ctim, &b->st_ctim, sizeof a->st_ctim) == 0;
}

static void keep(lx_snapshot *out, lx_snapshot *base, const char *folder,
                 const char *name, bool is_folder)
{
    lx_kept *k = &out->items[out->count++];
    const lx_kept *old;
    char path[600];

    if (out->count >= sizeof out->items / sizeof *out->items)
        die("too many files");
    *k = (lx_kept){.is_folder = is_folder};
    snprintf(k->name, sizeof k->name, "%.255s", name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (lstat(path, &k->st) < 0)
        die(path);
    if (is_folder)
        return;
    old = out != base ? lx_snapshot_find(base, k->name) : NULL;
    if (old && is_untouched(&old->st, &k->st)) {
        k->is_borrowed = true;
        k->bytes = old->bytes;
        k->n = old->n;
    } else {
        k->bytes = lx_test_read(&k->n, path);
    }
}

/* All that is below folder/under, folders after what they hold. */
static void walk(lx_snapshot *out, lx_snapshot *base, const char *folder,
                 const char *under)
{
    char path[600];
    DIR *dir;

    snprintf(path, sizeof path, "%s%s%s", folder, *under ? "/" : "", under);
    if (!(dir = opendir(path)))
        die(path);
    for (const struct dirent *e; (e = readdir(dir));) {
        char name[512];
        const bool is_folder = e->d_type == DT_DIR;

        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(name, sizeof name, "%s%s%s", under, *under ? "/" : "", e->d_name);
        if (is_folder)
            walk(out, base, folder, name);
        keep(out, base, folder, name, is_folder);
    }
    closedir(dir);
}

void lx_snapshot_take(lx_snapshot *out, const char *folder, lx_snapshot *base)
{
    for (size_t i = 0; i < out->count; i++)
        if (!out->items[i].is_borrowed)
            free(out->items[i].bytes);
    out->count = 0;
    walk(out, base, folder, "");
}

void lx_snapshot_put_back(lx_snapshot *base, const char *folder, lx_snapshot *room)
{
    char path[600];

    lx_snapshot_take(room, folder, base);
    for (size_t i = 0; i < room->count; i++) {
        const lx_kept *k = &room->items[i];
        snprintf(path, sizeof path, "%s/%s", folder, k->name);
        if (!lx_snapshot_find(base, k->name) &&
            (k->is_folder ? rmdir(path) : unlink(path)) < 0)
            die(path);
    }
    for (size_t i = base->count; i-- > 0;) {
        lx_kept *k = &base->items[i];
        const lx_kept *now = lx_snapshot_find(room, k->name);
        snprintf(path, sizeof path, "%s/%s", folder, k->name);
        if (k->is_folder && !now && mkdir(path, k->st.st_mode & 07777) < 0)
            die(path);
        if (k->is_folder || (now && now->is_borrowed))
            continue;
        unlink(path); /* it may be a link to an object */
        lx_test_write(path, k->bytes, k->n);
        chmod(path, k->st.st_mode & 07777);
        if (lstat(path, &k->st) < 0)
            die(path);
    }
}
