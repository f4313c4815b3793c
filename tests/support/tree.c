#include "tests/support/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST_PATH = 4096, PIECE = 1 << 16 };

static void check(int result, const char *path)
{
    if (result < 0)
        fail_msg("%s: %s", path, strerror(errno));
}

/* Calls `use` with the path of every entry of a folder, and with the same name below `other`. */
static void each_entry(const char *path, const char *other,
                       void (*use)(const char *path, const char *other))
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    check(dir ? 0 : -1, path);
    while ((entry = readdir(dir))) {
        char inner[MOST_PATH], beside[MOST_PATH];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        snprintf(beside, sizeof beside, "%s/%s", other, entry->d_name);
        use(inner, beside);
    }
    closedir(dir);
}

static void copy_file(const char *from, const char *to, const struct stat *st)
{
    static char piece[PIECE];
    int in = open(from, O_RDONLY | O_CLOEXEC),
        out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 0777);
    ssize_t got;

    check(in, from);
    check(out, to);
    while ((got = read(in, piece, sizeof piece)) > 0)
        check(write(out, piece, (size_t)got) == got ? 0 : -1, to);
    check((int)got, from);
    check(futimens(out, (struct timespec[2]){st->st_atim, st->st_mtim}), to);
    close(in);
    close(out);
}

void lx_copy_tree(const char *from, const char *to)
{
    struct stat st;
    char target[MOST_PATH];
    ssize_t n;

    check(lstat(from, &st), from);
    if (S_ISDIR(st.st_mode)) {
        check(mkdir(to, st.st_mode & 0777), to);
        each_entry(from, to, lx_copy_tree);
    } else if (S_ISLNK(st.st_mode)) {
        n = readlink(from, target, sizeof target - 1);
        check((int)n, from);
        target[n] = '\0';
        check(symlink(target, to), to);
    } else {
        copy_file(from, to, &st);
    }
}

static void remove_one(const char *path, const char *unused)
{
    (void)unused;
    if (unlink(path) == 0)
        return;
    each_entry(path, "", remove_one);
    check(rmdir(path), path);
}

void lx_remove_tree(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0)
        remove_one(path, "");
}
