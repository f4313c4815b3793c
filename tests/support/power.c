#include "tests/support/power.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/io.h"
#include "tests/support/sqlite_shim.h"

static void die(const char *what)
{
    fprintf(stderr, "power: %s\n", what);
    abort();
}

/* ---- the trace -------------------------------------------------------------------- */

typedef enum kind {
    CREATE, /* path -> inode */
    WRITE,  /* inode, at, bytes */
    CUT,    /* inode, at: the new size */
    SYNC,   /* inode */
    RENAME, /* path -> other */
    UNLINK, /* path */
    MKDIR,  /* path */
    SYNC_FOLDER,
    MARK /* inode: the moment */
} kind;

typedef struct event {
    kind kind;
    int inode;
    char path[160], other[160]; /* relative to the folder */
    int64_t at;
    size_t n;
    unsigned char *bytes;
} event;

enum { MAX_EVENTS = 65536, MAX_NAMES = 8192, MAX_FILES = 1024 };

static event events[MAX_EVENTS];
static size_t n_events;
static int n_inodes;
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
static char traced[128]; /* the folder, with a slash */
static bool is_tracing;

/* The folder itself counts as well. */
static bool is_below(const char *path)
{
    size_t n = strlen(traced);

    return strncmp(path, traced, n - 1) == 0 && (path[n - 1] == '/' || !path[n - 1]);
}

static const char *relative(const char *path)
{
    return is_below(path) ? path + strlen(traced) - 1 : path;
}

static event *add(kind k, int inode, const char *path)
{
    event *e = &events[n_events];

    if (++n_events == MAX_EVENTS)
        die("too many events");
    *e = (event){.kind = k, .inode = inode};
    snprintf(e->path, sizeof e->path, "%s", relative(path));
    return e;
}

static void trace(kind k, int inode, const char *path, int64_t at, const void *bytes,
                  size_t n)
{
    event *e;
    if (!is_tracing)
        return;
    pthread_mutex_lock(&trace_lock);
    e = add(k, inode, path);
    e->at = at;
    e->n = n;
    if (bytes) {
        e->bytes = malloc(n + 1);
        memcpy(e->bytes, bytes, n);
    }
    pthread_mutex_unlock(&trace_lock);
}

static void folder_of(char out[160], const char *path)
{
    char *slash;
    snprintf(out, 160, "%s", relative(path));
    slash = strrchr(out, '/');
    *(slash ? slash : out) = '\0';
}

/* Files that are there already have an inode by their path. */
static struct {
    char path[160];
    int inode;
} names[MAX_NAMES];
static size_t n_names;

static int inode_of(const char *path, bool is_new)
{
    const char *name = relative(path);
    for (size_t i = 0; i < n_names && !is_new; i++)
        if (strcmp(names[i].path, name) == 0)
            return names[i].inode;
    if (n_names == MAX_NAMES)
        die("too many names");
    snprintf(names[n_names].path, sizeof names->path, "%s", name);
    return names[n_names++].inode = n_inodes++;
}

static void forget(const char *path)
{
    for (size_t i = 0; i < n_names; i++)
        if (strcmp(names[i].path, relative(path)) == 0)
            names[i].path[0] = '\0';
}

/* ---- the io table ----------------------------------------------------------------- */

static struct {
    int inode; /* -1: a folder, -2: not traced */
    int64_t at;
    char path[160];
} files[MAX_FILES];

static int tracing_open(const char *path, int flags, mode_t mode)
{
    struct stat st;
    bool was_there = stat(path, &st) == 0;
    int fd = lx_io_system.open(path, flags, mode);
    if (fd < 0)
        return fd;
    if (fd >= MAX_FILES)
        die("too many open files");
    files[fd].inode = -2;
    if (!is_tracing || !is_below(path))
        return fd;
    snprintf(files[fd].path, sizeof files[fd].path, "%s", path);
    files[fd].at = 0;
    if (flags & O_DIRECTORY) {
        files[fd].inode = -1;
    } else {
        files[fd].inode = inode_of(path, !was_there);
        if (!was_there)
            trace(CREATE, files[fd].inode, path, 0, NULL, 0);
        else if (flags & O_TRUNC)
            trace(CUT, files[fd].inode, "", 0, NULL, 0);
    }
    return fd;
}
static ssize_t tracing_write(int fd, const void *data, size_t n)
{
    ssize_t put = lx_io_system.write(fd, data, n);
    if (put > 0 && files[fd].inode >= 0) {
        trace(WRITE, files[fd].inode, "", files[fd].at, data, (size_t)put);
        files[fd].at += put;
    }
    return put;
}
/* No true syncs: what they would do is made up afterwards. */
static int tracing_sync(int fd)
{
    if (files[fd].inode == -1)
        trace(SYNC_FOLDER, 0, files[fd].path, 0, NULL, 0);
    else if (files[fd].inode >= 0)
        trace(SYNC, files[fd].inode, "", 0, NULL, 0);
    return 0;
}
static int tracing_rename(const char *from, const char *to)
{
    int rc = lx_io_system.rename(from, to);
    if (rc == 0 && is_tracing && is_below(from)) {
        int inode = inode_of(from, false);
        trace(RENAME, 0, from, 0, NULL, 0);
        snprintf(events[n_events - 1].other, sizeof events->other, "%s", relative(to));
        forget(from);
        forget(to);
        snprintf(names[n_names].path, sizeof names->path, "%s", relative(to));
        names[n_names++].inode = inode;
        if (n_names == MAX_NAMES)
            die("too many names");
    }
    return rc;
}
static int tracing_unlink(const char *path)
{
    int rc = lx_io_system.unlink(path);
    if (rc == 0 && is_tracing && is_below(path)) {
        trace(UNLINK, 0, path, 0, NULL, 0);
        forget(path);
    }
    return rc;
}
static int tracing_mkdir(const char *path, mode_t mode)
{
    int rc = lx_io_system.mkdir(path, mode);
    if (rc == 0 && is_below(path))
        trace(MKDIR, 0, path, 0, NULL, 0);
    return rc;
}

/* ---- SQLite's files --------------------------------------------------------------- */

/* A shim_file's number is its inode. Its mark: a new journal, whose first sync is the
 * folder's as well, as unix does it. */
#define SHIM(f) ((shim_file *)(f))
#define REAL(f) shim_real(f)->pMethods

static int tracing_page_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    if (SHIM(f)->number >= 0)
        trace(WRITE, SHIM(f)->number, "", at, data, (size_t)n);
    return REAL(f)->xWrite(shim_real(f), data, n, at);
}
static int tracing_page_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    if (SHIM(f)->number >= 0)
        trace(CUT, SHIM(f)->number, "", size, NULL, 0);
    return REAL(f)->xTruncate(shim_real(f), size);
}
static int tracing_page_sync(sqlite3_file *f, int flags)
{
    char folder[160];
    (void)flags;
    if (SHIM(f)->number < 0)
        return SQLITE_OK;
    trace(SYNC, SHIM(f)->number, "", 0, NULL, 0);
    if (SHIM(f)->mark) {
        folder_of(folder, SHIM(f)->path);
        trace(SYNC_FOLDER, 0, folder, 0, NULL, 0);
        SHIM(f)->mark = false;
    }
    return SQLITE_OK;
}

static void tracing_opened(shim_file *f, int flags, bool was_there)
{
    const int journals =
        SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;

    f->number = -1;
    if (!is_tracing || !is_below(f->path))
        return;
    f->number = inode_of(f->path, !was_there);
    f->mark = !was_there && (flags & journals);
    if (!was_there)
        trace(CREATE, f->number, f->path, 0, NULL, 0);
}

static void tracing_deleted(const char *name, bool syncs)
{
    char folder[160];

    if (!is_tracing || !is_below(name))
        return;
    trace(UNLINK, 0, name, 0, NULL, 0);
    forget(name);
    folder_of(folder, name);
    if (syncs)
        trace(SYNC_FOLDER, 0, folder, 0, NULL, 0);
}

/* ---- in the hands of a test -------------------------------------------------------- */

static void forget_all(void)
{
    for (size_t i = 0; i < n_events; i++)
        free(events[i].bytes);
    n_events = n_names = 0;
    n_inodes = 0;
    for (size_t i = 0; i < MAX_FILES; i++)
        files[i].inode = -2;
}

void power_trace_begin(const char *folder)
{
    static const shim_changes changes = {.methods = {.xWrite = tracing_page_write,
                                                     .xTruncate = tracing_page_truncate,
                                                     .xSync = tracing_page_sync},
                                         .opened = tracing_opened,
                                         .deleted = tracing_deleted,
                                         .never_syncs = true};
    static lx_io io;

    forget_all();
    snprintf(traced, sizeof traced, "%s/", folder);
    io = lx_io_system;
    io.open = tracing_open;
    io.write = tracing_write;
    io.sync = tracing_sync;
    io.rename = tracing_rename;
    io.unlink = tracing_unlink;
    io.mkdir = tracing_mkdir;
    lx_io_set(&io);
    shim_install(&changes);
    is_tracing = true;
}

void power_trace_pause(bool is_paused)
{
    is_tracing = !is_paused;
}

void power_mark(int moment)
{
    trace(MARK, moment, "", 0, NULL, 0);
}

void power_trace_end(void)
{
    is_tracing = false;
    lx_io_set(NULL);
    shim_remove();
}

size_t power_events(void)
{
    return n_events;
}

bool power_is_dull(size_t at)
{
    return at > 0 && at < n_events && events[at - 1].kind == MKDIR &&
           events[at].kind == MKDIR;
}

/* ---- disks after the cut ---------------------------------------------------------- */

double power_draw(uint64_t *seed)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) / 0x1p53;
}

static uint64_t luck_seed;

static double draw(void)
{
    return power_draw(&luck_seed);
}

typedef struct disk_file {
    unsigned char *bytes;
    size_t n;
} disk_file;

typedef struct entry {
    char path[160];
    int inode; /* -1: a folder */
} entry;

static void apply(disk_file *f, const event *e, bool is_durable, double chance)
{
    if (!is_durable && draw() >= chance)
        return;
    if (e->kind == CUT) {
        f->bytes = realloc(f->bytes, (size_t)e->at + 1);
        if ((size_t)e->at > f->n)
            memset(f->bytes + f->n, 0, (size_t)e->at - f->n);
        f->n = (size_t)e->at;
        return;
    }
    bool is_torn = !is_durable && draw() < 0.3;
    size_t end = (size_t)e->at + e->n;
    if (end > f->n) {
        f->bytes = realloc(f->bytes, end + 1);
        memset(f->bytes + f->n, 0, end - f->n);
        f->n = end;
    }
    for (size_t i = 0; i < e->n; i += 512) {
        size_t n = e->n - i < 512 ? e->n - i : 512;
        double luck = is_torn ? draw() : 0;
        if (luck < 0.5)
            memcpy(f->bytes + e->at + i, e->bytes + i, n);
        else if (luck < 0.6)
            memset(f->bytes + e->at + i, 0x5a, n); /* a sector of rubbish */
    }
}

static int find(const entry *list, size_t n, const char *path)
{
    for (size_t i = n; i-- > 0;)
        if (strcmp(list[i].path, path) == 0)
            return (int)i;
    return -1;
}

static void apply_name(entry *list, size_t *n, const event *e)
{
    int at = find(list, *n, e->path);
    if (e->kind == CREATE || e->kind == MKDIR) {
        at = at < 0 ? (int)(*n)++ : at;
        snprintf(list[at].path, sizeof list->path, "%s", e->path);
        list[at].inode = e->kind == MKDIR ? -1 : e->inode;
    } else if (at >= 0 && e->kind == UNLINK) {
        list[at].path[0] = '\0';
    } else if (at >= 0) {
        int over = find(list, *n, e->other);
        if (over >= 0)
            list[over].path[0] = '\0';
        snprintf(list[at].path, sizeof list->path, "%s", e->other);
    }
}

static bool is_name(kind k)
{
    return k == CREATE || k == RENAME || k == UNLINK || k == MKDIR;
}

/* When each inode and each folder was last synced before the cut. */
typedef struct syncs {
    int64_t of_inode[MAX_NAMES];
    struct {
        char path[160];
        int64_t at, cut; /* names up to `cut` are there, durable or by luck */
    } folders[1024];
    size_t n_folders;
    int64_t any;
} syncs;

static size_t folder_slot(syncs *s, const char *path)
{
    for (size_t i = 0; i < s->n_folders; i++)
        if (strcmp(s->folders[i].path, path) == 0)
            return i;
    if (s->n_folders == 1024)
        die("too many folders");
    snprintf(s->folders[s->n_folders].path, 160, "%s", path);
    s->folders[s->n_folders].at = s->folders[s->n_folders].cut = -1;
    return s->n_folders++;
}

static void find_syncs(syncs *s, const power_cut *cut)
{
    s->n_folders = 0;
    s->any = -1;
    memset(s->of_inode, 0xff, sizeof s->of_inode);
    for (size_t i = 0; i < cut->at; i++) {
        bool is_sync = events[i].kind == SYNC || events[i].kind == SYNC_FOLDER;
        if (is_sync && cut->lies > 0 && draw() < cut->lies)
            continue;
        if (events[i].kind == SYNC)
            s->of_inode[events[i].inode] = s->any = (int64_t)i;
        else if (events[i].kind == SYNC_FOLDER)
            s->folders[folder_slot(s, events[i].path)].at = s->any = (int64_t)i;
    }
}

/* Files are removed, and folders that this image lacks; false when something unknown is in the way. */
static bool clear_folder(const char *folder, const char *under, const entry *list,
                         size_t n)
{
    char path[600], name[400];
    DIR *dir;
    bool is_cleared = true;

    snprintf(path, sizeof path, "%s%s", folder, under);
    if (!(dir = opendir(path)))
        return false;
    for (const struct dirent *e; (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(name, sizeof name, "%s/%s", under, e->d_name);
        if (e->d_type != DT_DIR) {
            is_cleared &= unlinkat(dirfd(dir), e->d_name, 0) == 0;
            continue;
        }
        is_cleared &= clear_folder(folder, name, list, n);
        if (find(list, n, name) < 0)
            is_cleared &= unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR) == 0;
    }
    closedir(dir);
    return is_cleared;
}

static void write_image(const char *folder, const entry *list, size_t n,
                        const disk_file *disk)
{
    char path[600];
    for (size_t i = 0; i < n; i++) {
        int fd;
        if (!list[i].path[0])
            continue;
        snprintf(path, sizeof path, "%.400s%.160s", folder, list[i].path);
        if (list[i].inode < 0) {
            mkdir(path, 0777);
            continue;
        }
        if ((fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666)) < 0)
            continue; /* its folder was lost */
        const disk_file *f = &disk[list[i].inode];
        if (f->n && write(fd, f->bytes, f->n) != (ssize_t)f->n)
            die(path);
        close(fd);
    }
}

/* Whether the new name of event i is there: when it is durable, or by luck. */
static bool has_name(syncs *s, size_t i, bool is_strict, double chance)
{
    char folder[160];
    size_t slot;
    bool is_there;

    folder_of(folder, events[i].path);
    slot = folder_slot(s, folder);
    is_there = (int64_t)i < (is_strict ? s->folders[slot].at : s->any);
    /* Of those that are not durable, the first ones may be there: a folder's log is in order. */
    if (!is_there && s->folders[slot].cut != -2)
        is_there = draw() < chance;
    if (!is_there)
        s->folders[slot].cut = -2;
    return is_there;
}

int power_make_image(const char *folder, const power_cut *cut)
{
    static const double chances[] = {0, 0.5, 0.9, 1, 0.2};
    static syncs s;
    static entry list[MAX_NAMES];
    disk_file *disk = calloc((size_t)n_inodes + 1, sizeof *disk);
    double chance;
    size_t n = 0;
    int moment = 0;

    luck_seed = cut->seed;
    chance = chances[(int)(draw() * 5)];
    find_syncs(&s, cut);
    for (size_t i = 0; i < cut->at; i++) {
        const event *e = &events[i];
        if (e->kind == WRITE || e->kind == CUT)
            apply(&disk[e->inode], e, (int64_t)i < s.of_inode[e->inode], chance);
        else if (e->kind == MARK)
            moment = e->inode;
        else if (is_name(e->kind) && has_name(&s, i, cut->is_strict, chance))
            apply_name(list, &n, e);
    }
    if (!clear_folder(folder, "", list, n)) {
        char command[200];
        snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", folder, folder);
        if (system(command) != 0)
            die(command);
    }
    write_image(folder, list, n, disk);
    for (int i = 0; i < n_inodes; i++)
        free(disk[i].bytes);
    free(disk);
    return moment;
}
