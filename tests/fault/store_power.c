/*
 * The power fails. One recording is traced: what was written, synced, renamed, made, and
 * what was acknowledged when. Then disks are made up as they may look when the power
 * failed at some moment: unsynced writes are there, torn or lost, in any choice; new
 * names too. Every such store must open, be sound and hold what had been acknowledged.
 *
 * Two models of folders: strict (a new, changed or removed name is durable when its
 * folder was synced) and ordered (any sync makes all earlier names durable).
 * LX_TEST_IMAGES: how many disks (default 600).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "store/dataset.h"
#include "store/query.h"
#include "tests/support/sqlite_shim.h"

/* ---- the trace ------------------------------------------------------------------------
 */

typedef enum kind {
    CREATE, /* path -> inode */
    WRITE,  /* inode, at, bytes */
    CUT,    /* inode, at: the new size */
    SYNC,   /* inode */
    RENAME, /* path -> other */
    UNLINK, /* path */
    MKDIR,  /* path */
    SYNC_FOLDER,
    ACKNOWLEDGE /* inode: how many steps of the work are done */
} kind;

typedef struct event {
    kind kind;
    int inode;
    char path[128], other[128]; /* relative to the root */
    int64_t at;
    size_t n;
    unsigned char *bytes;
} event;

static event events[65536];
static size_t n_events;
static int n_inodes;
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
static char root[64], real_root[80];
static bool is_tracing;

static const char *relative(const char *path)
{
    size_t n = strlen(real_root);
    return strncmp(path, real_root, n) == 0 ? path + n : path;
}

static event *add(kind k, int inode, const char *path)
{
    event *e = &events[n_events];
    assert_true(n_events + 1 < sizeof events / sizeof *events);
    n_events++;
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

static void folder_of(char out[128], const char *path)
{
    char *slash;
    snprintf(out, 128, "%s", relative(path));
    slash = strrchr(out, '/');
    *(slash ? slash : out) = '\0';
}

/* Files that are there already have an inode by their path. */
static struct {
    char path[128];
    int inode;
} names[1024];
static size_t n_names;

static int inode_of(const char *path, bool is_new)
{
    const char *name = relative(path);
    for (size_t i = 0; i < n_names && !is_new; i++)
        if (strcmp(names[i].path, name) == 0)
            return names[i].inode;
    assert_true(n_names < 1024);
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
    int inode; /* -1: a folder */
    int64_t at;
    char path[128];
} files[1024];

static int tracing_open(const char *path, int flags, mode_t mode)
{
    struct stat st;
    bool was_there = stat(path, &st) == 0;
    int fd = lx_io_system.open(path, flags, mode);
    if (fd < 0 || fd >= 1024)
        return fd;
    snprintf(files[fd].path, sizeof files[fd].path, "%s", path);
    files[fd].at = 0;
    if (flags & O_DIRECTORY) {
        files[fd].inode = -1;
    } else {
        files[fd].inode = inode_of(path, !was_there);
        if (!was_there)
            trace(CREATE, files[fd].inode, path, 0, NULL, 0);
    }
    return fd;
}
static ssize_t tracing_write(int fd, const void *data, size_t n)
{
    ssize_t put = lx_io_system.write(fd, data, n);
    if (put > 0) {
        trace(WRITE, files[fd].inode, "", files[fd].at, data, (size_t)put);
        files[fd].at += put;
    }
    return put;
}
/* No true syncs: what they would do is made up afterwards. */
static int tracing_sync(int fd)
{
    if (files[fd].inode < 0)
        trace(SYNC_FOLDER, 0, files[fd].path, 0, NULL, 0);
    else
        trace(SYNC, files[fd].inode, "", 0, NULL, 0);
    return 0;
}
static int tracing_rename(const char *from, const char *to)
{
    int rc = lx_io_system.rename(from, to);
    if (rc == 0 && is_tracing) {
        int inode = inode_of(from, false);
        trace(RENAME, 0, from, 0, NULL, 0);
        snprintf(events[n_events - 1].other, 128, "%s", relative(to));
        forget(from);
        forget(to);
        snprintf(names[n_names].path, sizeof names->path, "%s", relative(to));
        names[n_names++].inode = inode;
    }
    return rc;
}
static int tracing_unlink(const char *path)
{
    int rc = lx_io_system.unlink(path);
    if (rc == 0) {
        trace(UNLINK, 0, path, 0, NULL, 0);
        forget(path);
    }
    return rc;
}
static int tracing_mkdir(const char *path, mode_t mode)
{
    int rc = lx_io_system.mkdir(path, mode);
    if (rc == 0)
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
    trace(WRITE, SHIM(f)->number, "", at, data, (size_t)n);
    return REAL(f)->xWrite(shim_real(f), data, n, at);
}
static int tracing_page_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    trace(CUT, SHIM(f)->number, "", size, NULL, 0);
    return REAL(f)->xTruncate(shim_real(f), size);
}
static int tracing_page_sync(sqlite3_file *f, int flags)
{
    char folder[128];
    (void)flags;
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

    f->number = inode_of(f->path, !was_there);
    f->mark = !was_there && (flags & journals);
    if (!was_there)
        trace(CREATE, f->number, f->path, 0, NULL, 0);
}

static void tracing_deleted(const char *name, bool syncs)
{
    char folder[128];

    trace(UNLINK, 0, name, 0, NULL, 0);
    forget(name);
    folder_of(folder, name);
    if (syncs)
        trace(SYNC_FOLDER, 0, folder, 0, NULL, 0);
}

/* ---- the work --------------------------------------------------------------------- */

static int n_done; /* acknowledged steps */

static void acknowledge(void)
{
    trace(ACKNOWLEDGE, ++n_done, "", 0, NULL, 0);
}

static void must(int rc, const lx_error *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

static unsigned char large[70 * 1024];

/* Steps, by number: 1 begun; 2, 3, 4 ten points each; 5 artifact; 6 note; 7 ended; then
 * again for the next run. check_steps knows them by heart. */
static void record_run(lx_store *store, int which)
{
    lx_store_image image = {.name = "1.png", .caption = which ? "a dog" : "a cat"};
    lx_store_folder data = {"10_x", "x", 10, false, &image, 1};
    lx_run_start start = {
        .name = which ? "second" : "first", .kind = "train", .flags = "{\"x\":1}"};
    char *dataset;
    lx_run *run;
    lx_error err;

    must(lx_store_dataset_put(&dataset, store, &data, 1, &err), &err);
    start.dataset = dataset;
    must(lx_run_begin(&run, store, &start, &err), &err);
    lx_free(dataset);
    acknowledge();
    for (int part = 0; part < 3; part++) {
        for (int i = 0; i < 10; i++)
            must(lx_run_log(run, "loss", part * 10 + i, i, &err), &err);
        must(lx_run_flush(run, &err), &err);
        acknowledge();
    }
    large[0] = (unsigned char)which;
    must(lx_run_artifact(run, "lora", "l", large, sizeof large, 1, &err), &err);
    acknowledge();
    must(lx_run_note(store, lx_run_seq(run), "noted", &err), &err);
    acknowledge();
    must(lx_run_end(run, "finished", NULL, &err), &err);
    acknowledge();
}

static void do_work(void)
{
    char folder[128];
    lx_store *store;
    lx_error err;
    snprintf(folder, sizeof folder, "%s/deep/store", real_root);
    must(lx_store_open(&store, folder, false, &err), &err);
    record_run(store, 0);
    lx_store_close(store); /* a checkpoint */
    must(lx_store_open(&store, folder, false, &err), &err);
    record_run(store, 1);
    lx_store_close(store);
}

/* ---- disks after the cut ---------------------------------------------------------- */

static uint64_t seed;

static double draw(void)
{
    uint64_t z = seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) / 0x1p53;
}

typedef struct disk_file {
    unsigned char *bytes;
    size_t n;
} disk_file;

typedef struct entry {
    char path[128];
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
    int64_t of_inode[1024];
    struct {
        char path[128];
        int64_t at, cut; /* names up to `cut` are there, durable or by luck */
    } folders[600];
    size_t n_folders;
    int64_t any;
} syncs;

static size_t folder_slot(syncs *s, const char *path)
{
    for (size_t i = 0; i < s->n_folders; i++)
        if (strcmp(s->folders[i].path, path) == 0)
            return i;
    assert_true(s->n_folders < 600);
    snprintf(s->folders[s->n_folders].path, 128, "%s", path);
    s->folders[s->n_folders].at = s->folders[s->n_folders].cut = -1;
    return s->n_folders++;
}

static void find_syncs(syncs *s, size_t cut)
{
    s->n_folders = 0;
    s->any = -1;
    memset(s->of_inode, 0xff, sizeof s->of_inode);
    for (size_t i = 0; i < cut; i++)
        if (events[i].kind == SYNC)
            s->of_inode[events[i].inode] = s->any = (int64_t)i;
        else if (events[i].kind == SYNC_FOLDER)
            s->folders[folder_slot(s, events[i].path)].at = s->any = (int64_t)i;
}

static void write_image(const entry *list, size_t n, const disk_file *disk)
{
    char path[512];
    for (size_t i = 0; i < n; i++) {
        int fd;
        if (!list[i].path[0])
            continue;
        snprintf(path, sizeof path, "%s/image%.128s", root, list[i].path);
        if (list[i].inode < 0) {
            mkdir(path, 0777);
            continue;
        }
        if ((fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666)) < 0)
            continue; /* its folder was lost */
        const disk_file *f = &disk[list[i].inode];
        if (f->n && write(fd, f->bytes, f->n) != (ssize_t)f->n)
            fail_msg("%s", path);
        close(fd);
    }
}

static void make_image(size_t cut, bool is_strict)
{
    static const double chances[] = {0, 0.5, 0.9, 1, 0.2};
    static syncs s;
    static entry list[2048];
    disk_file *disk = calloc((size_t)n_inodes + 1, sizeof *disk);
    double chance = chances[(int)(draw() * 5)];
    char folder[128], command[160];
    size_t n = 0;

    snprintf(command, sizeof command, "rm -rf '%s/image' && mkdir '%s/image'", root,
             root);
    assert_int_equal(system(command), 0);
    find_syncs(&s, cut);
    for (size_t i = 0; i < cut; i++) {
        const event *e = &events[i];
        if (e->kind == WRITE || e->kind == CUT) {
            apply(&disk[e->inode], e, (int64_t)i < s.of_inode[e->inode], chance);
        } else if (is_name(e->kind)) {
            folder_of(folder, e->path);
            size_t slot = folder_slot(&s, folder);
            int64_t synced = is_strict ? s.folders[slot].at : s.any;
            bool is_there = (int64_t)i < synced;
            /* Of those that are not, the first ones may be: a folder's log is in order.
             */
            if (!is_there && s.folders[slot].cut != -2)
                is_there = draw() < chance;
            if (!is_there)
                s.folders[slot].cut = -2;
            else
                apply_name(list, &n, e);
        }
    }
    write_image(list, n, disk);
    for (int i = 0; i < n_inodes; i++)
        free(disk[i].bytes);
    free(disk);
}

/* ---- what must hold --------------------------------------------------------------- */

typedef struct place {
    size_t cut;
    bool is_strict;
    uint64_t seed;
} place;

#define FAIL(p, ...)                                                                    \
    do {                                                                                \
        fprintf(stderr, "cut at event %zu of %zu, %s, seed %llu\n", (p)->cut, n_events, \
                (p)->is_strict ? "strict" : "ordered", (unsigned long long)(p)->seed);  \
        fail_msg(__VA_ARGS__);                                                          \
    } while (0)

static void fail_line(void *context, const char *line)
{
    FAIL((const place *)context, "fsck: %s", line);
}

static void check_steps(const place *p, lx_store *store, int done)
{
    lx_arena *arena = lx_arena_new();
    for (int which = 0; which < 2 && done > 7 * which; which++) {
        int steps = done - 7 * which;
        lx_run_row row;
        lx_curve loss;
        lx_artifact_row *artifacts;
        lx_remark_row *notes;
        lx_str bytes = LX_STR_INIT;
        lx_hash hash;
        size_t n;
        int parts = steps >= 4 ? 3 : steps - 1;
        if (lx_query_find(&row, store, which ? "second" : "first", arena, NULL) < 0)
            FAIL(p, "run %d is lost", which);
        if (lx_query_curve(&loss, store, row.seq, "loss", 0, arena, NULL) < 0 ||
            (int)loss.n < 10 * parts)
            FAIL(p, "points are lost: %zu of %d", loss.n, 10 * parts);
        if (steps >= 5 &&
            (lx_query_artifacts(&artifacts, &n, store, &row, arena, NULL) < 0 || n != 1 ||
             !lx_hash_from_hex(&hash, artifacts[0].object) ||
             lx_object_get(&bytes, store, &hash, NULL) < 0))
            FAIL(p, "the artifact is lost");
        if (steps >= 6 &&
            (lx_query_remarks(&notes, &n, store, row.seq, "note", arena, NULL) < 0 ||
             n != 1))
            FAIL(p, "the note is lost");
        if (steps >= 7 && strcmp(row.status, "finished") != 0)
            FAIL(p, "the end is lost");
        lx_str_release(&bytes);
    }
    lx_arena_free(arena);
}

static void check_image(place *p, int done)
{
    char folder[128];
    lx_check_report report;
    lx_store *store;
    lx_error err;
    snprintf(folder, sizeof folder, "%s/image/deep/store", root);
    if (lx_store_open(&store, folder, false, &err) < 0)
        FAIL(p, "cannot be opened: %s", err.text);
    if (lx_store_check(&report, store, fail_line, p, &err) < 0)
        FAIL(p, "fsck: %s", err.text);
    check_steps(p, store, done);
    lx_store_close(store);
}

static int done_before(size_t cut)
{
    int done = 0;
    for (size_t i = 0; i < cut; i++)
        if (events[i].kind == ACKNOWLEDGE)
            done = events[i].inode;
    return done;
}

static void test_fault_store_power__nothing_acknowledged_is_lost(void **state)
{
    const char *asked = getenv("LX_TEST_IMAGES");
    long n_images = asked ? atol(asked) : 600;
    (void)state;
    seed = (uint64_t)getpid();
    for (long i = 0; i < n_images; i++) {
        place p = {.is_strict = i % 2, .seed = seed};
        p.cut = (size_t)(draw() * (double)(n_events + 1));
        make_image(p.cut, p.is_strict);
        check_image(&p, done_before(p.cut));
    }
    printf("%ld disks, %zu events\n", n_images, n_events);
}

static int set_up(void **state)
{
    const shim_changes changes = {.methods = {.xWrite = tracing_page_write,
                                              .xTruncate = tracing_page_truncate,
                                              .xSync = tracing_page_sync},
                                  .opened = tracing_opened,
                                  .deleted = tracing_deleted,
                                  .never_syncs = true};
    static lx_io io;
    uint32_t x = 1;
    (void)state;
    snprintf(root, sizeof root, "%s/lx-power-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(root))
        return -1;
    snprintf(real_root, sizeof real_root, "%s/r", root);
    if (mkdir(real_root, 0777) < 0)
        return -1;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
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
    do_work();
    is_tracing = false;
    lx_io_set(NULL);
    shim_remove();
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    for (size_t i = 0; i < n_events; i++)
        free(events[i].bytes);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_store_power__nothing_acknowledged_is_lost)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
