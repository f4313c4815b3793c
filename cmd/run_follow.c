#include "cmd/run_follow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/proc.h"
#include "src/format/tensor_file.h"

typedef struct stamp {
    int64_t size, seconds, nanoseconds;
    uint64_t inode;
} stamp;

static bool read_stamp(stamp *out, const char *path)
{
    struct stat st;

    if (lx_io_get()->stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    *out = (stamp){st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ino};
    return true;
}

static bool is_same(const stamp *a, const stamp *b)
{
    return a->size == b->size && a->seconds == b->seconds &&
           a->nanoseconds == b->nanoseconds && a->inode == b->inode;
}

static bool has_ending(const char *name, const char *const *endings)
{
    for (; *endings; endings++)
        if (strcmp(lx_path_ext(name), *endings) == 0)
            return true;
    return false;
}

typedef enum moment { FIRST, MIDWAY, LAST } moment;

/*
 * No names where the folder is not there yet. What the system refuses may be told at the next look; the first says what
 * is not this run's, and after the last comes none.
 */
static int list_folder(lx_dir *out, const char *folder, moment when, lx_error *err)
{
    lx_error problem;
    int rc = lx_dir_list(out, folder, &problem);

    return rc == LX_ENOMEM || (rc == LX_EIO && when != MIDWAY) ? lx_fail_as(err, rc, &problem) : LX_OK;
}

/* ---- whole files ------------------------------------------------------------------- */

typedef struct known_file {
    char *path;
    stamp seen;
    bool is_told; /* as it was seen */
} known_file;

struct lx_follow_files {
    const char *folder, *prefix;
    const char *const *endings;
    lx_follow_file on_file;
    void *context;
    known_file *files;
    size_t count, capacity;
};

static known_file *find_file(const lx_follow_files *f, const char *path)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->files[i].path, path) == 0)
            return &f->files[i];
    return NULL;
}

static int add_file(known_file **out, lx_follow_files *f, const char *path,
                    const stamp *seen, lx_error *err)
{
    if (lx_grow(&f->files, &f->capacity, f->count + 1, sizeof *f->files) < 0)
        return lx_oom(err);
    f->files[f->count] = (known_file){.path = lx_strdup(path), .seen = *seen};
    if (!f->files[f->count].path)
        return lx_oom(err);
    *out = &f->files[f->count++];
    return LX_OK;
}

/* Others than safetensors have no length in them to compare with. */
static bool is_whole(const char *path, moment when)
{
    lx_tensor_file *file = NULL;
    int rc;

    if (strcmp(lx_path_ext(path), ".safetensors") != 0)
        return true;
    rc = lx_tensor_file_open(&file, path, NULL);
    lx_tensor_file_close(file);
    return rc == LX_OK || (rc == LX_EIO && when == LAST); /* whoever reads it says why it cannot be */
}

static int look_at_file(lx_follow_files *f, const char *path, moment when, lx_error *err)
{
    known_file *known = find_file(f, path);
    stamp seen;
    bool is_stable;
    int rc;

    if (!read_stamp(&seen, path))
        return LX_OK; /* gone again */
    is_stable = known && is_same(&known->seen, &seen);
    if (!known && (rc = add_file(&known, f, path, &seen, err)) < 0)
        return rc;
    if (!is_stable)
        known->is_told = when == FIRST;
    known->seen = seen;
    if (known->is_told || (!is_stable && when != LAST) || !is_whole(path, when))
        return LX_OK;
    known->is_told = true;
    return f->on_file(f->context, path, err);
}

static int look_at_files(lx_follow_files *f, moment when, lx_error *err)
{
    lx_dir dir;
    int rc = list_folder(&dir, f->folder, when, err);

    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        lx_str path = LX_STR_INIT;
        if (!has_ending(dir.names[i], f->endings) ||
            !lx_starts_with(dir.names[i], f->prefix))
            continue;
        lx_str_printf(&path, "%s%s%s", f->folder, lx_ends_with(f->folder, "/") ? "" : "/",
                      dir.names[i]);
        if ((rc = lx_str_check(&path, err)) == LX_OK)
            rc = look_at_file(f, lx_str_text(&path), when, err);
        lx_str_release(&path);
    }
    lx_dir_free(&dir);
    return rc;
}

int lx_follow_files_open(lx_follow_files **out, const char *folder, const char *prefix,
                         const char *const *endings, lx_follow_file on_file,
                         void *context, lx_error *err)
{
    lx_follow_files *f = lx_calloc(1, sizeof *f);
    int rc;

    *out = NULL;
    if (!f)
        return lx_oom(err);
    *f = (lx_follow_files){.folder = folder,
                           .prefix = prefix,
                           .endings = endings,
                           .on_file = on_file,
                           .context = context};
    if ((rc = look_at_files(f, FIRST, err)) < 0)
        lx_follow_files_close(f);
    else
        *out = f;
    return rc;
}

void lx_follow_files_close(lx_follow_files *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++)
        lx_free(f->files[i].path);
    lx_free(f->files);
    lx_free(f);
}

int lx_follow_files_look(lx_follow_files *f, bool is_last, lx_error *err)
{
    return f ? look_at_files(f, is_last ? LAST : MIDWAY, err) : LX_OK;
}

/* ---- event files ------------------------------------------------------------------- */

enum {
    MOST_DEPTH = 4,
    MOST_EVENT_FILES = 1024,
    MOST_ANCESTORS = 64,
    MOST_RECORD = 16 << 20, /* a larger one (an image) is passed over */
    PIECE = 1 << 20
};

typedef struct event_file {
    char *path;
    uint64_t at;    /* read up to here */
    lx_str rest;    /* of a record that is not complete */
    uint64_t skip;  /* bytes of a record that is passed over */
    bool is_closed; /* was there at the start, is another program's, or damaged */
} event_file;

struct lx_follow_events {
    const char *folder;
    int child; /* 0: not known */
    unsigned long long child_began;
    lx_tfevents_sink sink;
    void *context;
    event_file *files;
    size_t count, capacity;
};

static event_file *find_event_file(const lx_follow_events *f, const char *path)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->files[i].path, path) == 0)
            return &f->files[i];
    return NULL;
}

/* Whole records out of what has gathered; the rest stays. */
static int take_records(lx_follow_events *f, event_file *file, lx_error *err)
{
    lx_error damage = {0};
    size_t used = 0, wanted = 0;
    int rc = lx_tfevents_read(&used, &wanted, (const unsigned char *)file->rest.data,
                              file->rest.len, file->at - file->rest.len, f->sink,
                              f->context, &damage);

    if (rc == LX_EFORMAT) { /* nothing after it can be trusted */
        file->is_closed = true;
        lx_str_release(&file->rest);
        return LX_OK;
    }
    if (rc < 0)
        return lx_fail_as(err, rc, &damage);
    memmove(file->rest.data, file->rest.data + used, file->rest.len - used);
    file->rest.len -= used;
    if (wanted > MOST_RECORD) {
        file->skip = wanted - file->rest.len;
        lx_str_clear(&file->rest);
    }
    return LX_OK;
}

static int take_bytes(lx_follow_events *f, event_file *file, const char *bytes, size_t n,
                      lx_error *err)
{
    size_t skipped = file->skip < n ? (size_t)file->skip : n;
    int rc;

    file->at += n;
    file->skip -= skipped;
    lx_str_append(&file->rest, bytes + skipped, n - skipped);
    if ((rc = lx_str_check(&file->rest, err)) < 0)
        return rc;
    return file->rest.len ? take_records(f, file, err) : LX_OK;
}

static int read_more(lx_follow_events *f, event_file *file, lx_error *err)
{
    const lx_io *io = lx_io_get();
    char *bytes;
    ssize_t n = 1;
    int fd, rc = LX_OK;

    if (file->is_closed || (fd = io->open(file->path, O_RDONLY | O_NONBLOCK, 0)) < 0)
        return LX_OK;
    if (!(bytes = lx_alloc(PIECE)))
        rc = lx_oom(err);
    while (rc == LX_OK && n > 0 && !file->is_closed) {
        n = io->pread(fd, bytes, PIECE, (off_t)file->at);
        if (n > 0)
            rc = take_bytes(f, file, bytes, (size_t)n, err);
    }
    lx_free(bytes);
    io->close(fd);
    return rc;
}

typedef struct process {
    int parent, group, session;
    unsigned long long began; /* clock ticks after the machine did */
    bool is_init;             /* a systemd: of the machine, or of a user */
} process;

/* false: it is gone, or not ours to see. */
static bool read_process(process *out, int pid)
{
    char path[64], text[512], *at;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (lx_proc_read(text, sizeof text, path) <= 0 || !(at = strrchr(text, ')')))
        return false;
    out->is_init = strstr(text, "(systemd)") != NULL;
    return sscanf(at,
                  ") %*c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
                  "%*d %*d %llu",
                  &out->parent, &out->group, &out->session, &out->began) == 4;
}

/* Does it surely belong to another program than the child? Ours are the child's descendants, in whatever session, and
 * its group. One whose parent has ended is init's: it may be ours if it began after the child. */
static bool is_process_of_others(const lx_follow_events *f, int pid)
{
    process writer, at;

    if (!read_process(&writer, pid))
        return false;
    at = writer;
    for (int i = 0; i < MOST_ANCESTORS; i++) {
        if (pid == f->child || at.group == f->child || at.session == f->child)
            return false;
        pid = at.parent;
        if (pid <= 0)
            break;
        if (!read_process(&at, pid))
            return false; /* it ended meanwhile */
        if (i == 0 && (pid == 1 || at.is_init) && writer.began >= f->child_began)
            return false;
    }
    return true;
}

/* "events.out.tfevents.TIME.HOST.PID.N"; a name that does not tell may be ours. */
static bool is_of_others(const lx_follow_events *f, const char *path)
{
    const char *name = lx_path_base(path), *end = name + strlen(name);
    int dots = 0, pid;

    while (end > name && dots < 2)
        dots += *--end == '.';
    if (!f->child || dots < 2 || sscanf(end, ".%d.", &pid) != 1 || pid <= 0)
        return false;
    return is_process_of_others(f, pid);
}

static int look_at_event_file(lx_follow_events *f, const char *path, bool is_first,
                              lx_error *err)
{
    event_file *file = find_event_file(f, path);

    if (!file) {
        if (f->count == MOST_EVENT_FILES)
            return LX_OK;
        if (lx_grow(&f->files, &f->capacity, f->count + 1, sizeof *f->files) < 0)
            return lx_oom(err);
        file = &f->files[f->count];
        *file = (event_file){.path = lx_strdup(path),
                             .is_closed = is_first || is_of_others(f, path)};
        if (!file->path)
            return lx_oom(err);
        f->count++;
    }
    return read_more(f, file, err);
}

static int look_at_events(lx_follow_events *f, const char *folder, moment when,
                          int depth, lx_error *err)
{
    lx_dir dir = {0};
    int rc = depth < MOST_DEPTH ? list_folder(&dir, folder, when, err) : LX_OK;

    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        lx_str path = LX_STR_INIT;
        lx_str_printf(&path, "%s/%s", folder, dir.names[i]);
        if ((rc = lx_str_check(&path, err)) < 0)
            ;
        else if (lx_tfevents_is_name(dir.names[i]))
            rc = look_at_event_file(f, lx_str_text(&path), when == FIRST, err);
        else if (dir.names[i][0] != '.')
            rc = look_at_events(f, lx_str_text(&path), when, depth + 1, err);
        lx_str_release(&path);
    }
    lx_dir_free(&dir);
    return rc;
}

int lx_follow_events_open(lx_follow_events **out, const char *folder,
                          lx_tfevents_sink sink, void *context, lx_error *err)
{
    lx_follow_events *f = lx_calloc(1, sizeof *f);
    int rc;

    *out = NULL;
    if (!f)
        return lx_oom(err);
    *f = (lx_follow_events){.folder = folder, .sink = sink, .context = context};
    if ((rc = look_at_events(f, folder, FIRST, 0, err)) < 0)
        lx_follow_events_close(f);
    else
        *out = f;
    return rc;
}

void lx_follow_events_close(lx_follow_events *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++) {
        lx_free(f->files[i].path);
        lx_str_release(&f->files[i].rest);
    }
    lx_free(f->files);
    lx_free(f);
}

void lx_follow_events_of(lx_follow_events *f, int child)
{
    process p = {0};

    if (!f)
        return;
    f->child = child;
    f->child_began = read_process(&p, child) ? p.began : 0;
}

int lx_follow_events_look(lx_follow_events *f, bool is_last, lx_error *err)
{
    return f ? look_at_events(f, f->folder, is_last ? LAST : MIDWAY, 0, err) : LX_OK;
}

int lx_follow_events_each(lx_follow_events *f, lx_follow_file on_file, void *context,
                          lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; f && i < f->count && rc == LX_OK; i++)
        if (f->files[i].at > 0)
            rc = on_file(context, f->files[i].path, err);
    return rc;
}
