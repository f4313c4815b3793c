#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/format/tensor_file.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 4 };
static char links[MOST][128];

static void remove_links(void)
{
    for (int i = 0; i < MOST && *links[i]; i++)
        unlink(links[i]);
}

/* A memory file has a name under /proc, but no ending: a link gives it one. */
const char *fuzz_file(const uint8_t *data, size_t size, const char *ending)
{
    static int fd = -1;
    char wanted[128], target[64];
    int i = 0;

    if (fd < 0) {
        fd = memfd_create("lx-fuzz", 0);
        atexit(remove_links);
    }
    snprintf(wanted, sizeof wanted, "/tmp/lx-fuzz-%ld%s", (long)getpid(), ending);
    while (i < MOST && *links[i] && strcmp(links[i], wanted) != 0)
        i++;
    if (i == MOST)
        abort();
    if (!*links[i]) {
        snprintf(target, sizeof target, "/proc/%ld/fd/%d", (long)getpid(), fd);
        unlink(wanted);
        if (symlink(target, wanted) < 0)
            abort();
        memcpy(links[i], wanted, sizeof wanted);
    }
    if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    return links[i];
}

void fuzz_tensor_file(const char *path)
{
    lx_tensor_file *file;
    lx_error err;
    unsigned sum = 0;

    if (lx_tensor_file_open(&file, path, &err) < 0) {
        if (err.code >= 0 || !err.text[0])
            abort();
        return;
    }
    for (size_t i = 0; i < lx_tensor_file_count(file); i++) {
        const lx_tensor_view *view = lx_tensor_file_at(file, i);
        const unsigned char *bytes = view->data;
        for (size_t k = 0; k < view->bytes; k++)
            sum += bytes[k];
        if (lx_tensor_file_find(file, view->name) != view)
            abort();
    }
    for (size_t i = 0; i < lx_tensor_file_metadata_count(file); i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(file, i, &key, &value);
        sum += (unsigned)(strlen(key) + strlen(value));
    }
    for (size_t i = 0; i < lx_tensor_file_note_count(file); i++)
        sum += (unsigned)strlen(lx_tensor_file_note(file, i));
    *(volatile unsigned *)&sum = sum;
    lx_tensor_file_close(file);
}
