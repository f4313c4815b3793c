#include "tests/support/faults.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "tests/support/sqlite_shim.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    defined(LX_FINDS_LEAKS)
#define HAS_OWN_MALLOC 0
#else
#define HAS_OWN_MALLOC 1
#endif

/* Without inlining the way from a caller to malloc has more frames. */
#ifdef __OPTIMIZE__
enum { OWN_FRAMES = 10 };
#else
enum { OWN_FRAMES = 14 };
#endif
enum { MAX_PLACES = 1 << 20, FRAMES = 14, DEEP_FRAMES = 48 };

static struct shared {
    _Atomic long n;
    unsigned long places[MAX_PLACES], own_places[MAX_PLACES];
} * shared;

static _Atomic int armed; /* a fault_kind */
static long fail_at;
static bool fail_forever, tells_place;

/* Of the linker: from where to where the program is. */
extern char __executable_start, etext;

static bool is_own(uintptr_t address)
{
    return address >= (uintptr_t)&__executable_start && address < (uintptr_t)&etext;
}

static unsigned long add_frame(unsigned long hash, uintptr_t frame)
{
    return (hash ^ frame) * 1099511628211u;
}

/* The first frames are these functions themselves, in every place alike. */
static void remember_place(long n)
{
    void *frames[DEEP_FRAMES];
    int count = backtrace(frames, DEEP_FRAMES), n_own = 0;
    unsigned long hash = 14695981039346656037u, own = hash;

    for (int i = 0; i < count; i++) {
        uintptr_t frame = (uintptr_t)frames[i];
        if (i < FRAMES)
            hash = add_frame(hash, frame);
        if (is_own(frame) && n_own++ < OWN_FRAMES)
            own = add_frame(own, frame);
    }
    shared->places[n - 1] = hash ? hash : 1;
    shared->own_places[n - 1] = own ? own : 1;
}

static void tell_place(void)
{
    void *frames[DEEP_FRAMES];

    backtrace_symbols_fd(frames, backtrace(frames, DEEP_FRAMES), 2);
}

/* Counts one and says whether it is to fail. */
static bool fails(fault_kind kind)
{
    long n;

    if (atomic_load_explicit(&armed, memory_order_relaxed) != (int)kind)
        return false;
    n = atomic_fetch_add(&shared->n, 1) + 1;
    if (!fail_at && n <= MAX_PLACES)
        remember_place(n);
    if (n == fail_at && tells_place)
        tell_place();
    return fail_at && (n == fail_at || (fail_forever && n > fail_at));
}

/* ---- memory ------------------------------------------------------------------------ */

#if HAS_OWN_MALLOC

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static struct {
    uintptr_t from, to;
    bool is_helper; /* it asks for others: libc, zlib */
} callers[16];
static size_t n_callers;

static int add_caller(struct dl_phdr_info *info, size_t size, void *unused)
{
    static const char *const names[] = {"libsqlite3.", "libcjson.", "libzstd.", "libz.",
                                        "libjpeg.",    "libyaml",   "libc.so"};
    const char *slash = strrchr(info->dlpi_name, '/');
    bool counts = !info->dlpi_name[0]; /* the program */

    (void)size;
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof *names && slash; i++)
        counts |= strncmp(slash + 1, names[i], strlen(names[i])) == 0;
    for (int i = 0; counts && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X) || n_callers == 16)
            continue;
        callers[n_callers].is_helper = slash && (strncmp(slash, "/libc.so", 8) == 0 ||
                                                 strncmp(slash, "/libz.", 6) == 0);
        callers[n_callers].from = info->dlpi_addr + h->p_vaddr;
        callers[n_callers++].to = info->dlpi_addr + h->p_vaddr + h->p_memsz;
    }
    return 0;
}

static int caller_of(const void *address)
{
    for (size_t i = 0; i < n_callers; i++)
        if ((uintptr_t)address >= callers[i].from && (uintptr_t)address < callers[i].to)
            return (int)i;
    return -1;
}

/* Does a helper, in `caller`, ask for one of those that count? How many frames stand before it is the compiler's business. */
static bool is_on_behalf(const void *caller)
{
    void *frames[24];
    int n = backtrace(frames, 24), i = 0, at = -1;

    while (i < n && frames[i] != caller)
        i++;
    while (i < n && (at = caller_of(frames[i])) >= 0 && callers[at].is_helper)
        i++;
    return i < n && at >= 0;
}

static bool refuses(const void *caller)
{
    int at;

    if (atomic_load_explicit(&armed, memory_order_relaxed) != FAULT_MEMORY)
        return false;
    at = caller_of(caller);
    return at >= 0 && (!callers[at].is_helper || is_on_behalf(caller)) &&
           fails(FAULT_MEMORY);
}

#define REFUSES() refuses(__builtin_return_address(0))

static void *nothing(void)
{
    errno = ENOMEM;
    return NULL;
}

/* These stand before libc's, for the program and for every library. */
void *malloc(size_t n)
{
    return REFUSES() ? nothing() : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    return REFUSES() ? nothing() : __libc_calloc(n, size);
}
void *realloc(void *old, size_t n)
{
    return REFUSES() ? nothing() : __libc_realloc(old, n);
}
void *memalign(size_t alignment, size_t n)
{
    return REFUSES() ? nothing() : __libc_memalign(alignment, n);
}
void *aligned_alloc(size_t alignment, size_t n)
{
    return REFUSES() ? nothing() : __libc_memalign(alignment, n);
}
int posix_memalign(void **out, size_t alignment, size_t n)
{
    void *memory = REFUSES() ? NULL : __libc_memalign(alignment, n);

    if (!memory)
        return ENOMEM;
    *out = memory;
    return 0;
}

static void find_callers(void)
{
    dl_iterate_phdr(add_caller, NULL);
}

#else

static void find_callers(void)
{
}

/* What libraries keep until the end of the process is theirs. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libpcre2\nleak:libgit2\nleak:libcrypto\nleak:libvips\nleak:libglib\n";
}
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}

#endif

/* ---- the io table ------------------------------------------------------------------ */

static bool io_fails(bool needs_room)
{
    if (fails(FAULT_IO)) {
        errno = EIO;
        return true;
    }
    if (needs_room && fails(FAULT_SPACE)) {
        errno = ENOSPC;
        return true;
    }
    return false;
}

static int bad_open(const char *path, int flags, mode_t mode)
{
    return io_fails(flags & O_CREAT) ? -1 : lx_io_system.open(path, flags, mode);
}
static ssize_t bad_read(int fd, void *data, size_t n)
{
    if (io_fails(false))
        return -1;
    return lx_io_system.read(fd, data, n > 1 && fails(FAULT_SHORT) ? n / 2 : n);
}
static ssize_t bad_pread(int fd, void *data, size_t n, off_t at)
{
    if (io_fails(false))
        return -1;
    return lx_io_system.pread(fd, data, n > 1 && fails(FAULT_SHORT) ? n / 2 : n, at);
}
static ssize_t bad_write(int fd, const void *data, size_t n)
{
    int code;

    if (!io_fails(true))
        return lx_io_system.write(fd, data, n > 1 && fails(FAULT_SHORT) ? n / 2 : n);
    code = errno;
    if (n > 1 && lx_io_system.write(fd, data, n / 2) < 0)
        return -1;
    errno = code;
    return -1;
}
static ssize_t bad_pwrite(int fd, const void *data, size_t n, off_t at)
{
    int code;

    if (!io_fails(true))
        return lx_io_system.pwrite(fd, data, n > 1 && fails(FAULT_SHORT) ? n / 2 : n, at);
    code = errno;
    if (n > 1 && lx_io_system.pwrite(fd, data, n / 2, at) < 0)
        return -1;
    errno = code;
    return -1;
}
static int bad_close(int fd)
{
    int rc = lx_io_system.close(fd); /* it is closed in any case, as Linux does it */
    return io_fails(false) ? -1 : rc;
}
static int bad_sync(int fd)
{
    return io_fails(true) ? -1 : lx_io_system.sync(fd);
}
static int bad_begin_sync(int fd)
{
    return io_fails(false) ? -1 : lx_io_system.begin_sync(fd);
}
static int bad_truncate(int fd, off_t size)
{
    return io_fails(true) ? -1 : lx_io_system.truncate(fd, size);
}
static int bad_rename(const char *from, const char *to)
{
    return io_fails(true) ? -1 : lx_io_system.rename(from, to);
}
static int bad_link(const char *from, const char *to)
{
    return io_fails(true) ? -1 : lx_io_system.link(from, to);
}
static int bad_unlink(const char *path)
{
    return io_fails(false) ? -1 : lx_io_system.unlink(path);
}
static int bad_mkdir(const char *path, mode_t mode)
{
    return io_fails(true) ? -1 : lx_io_system.mkdir(path, mode);
}
static int bad_stat(const char *path, struct stat *out)
{
    return io_fails(false) ? -1 : lx_io_system.stat(path, out);
}
static int bad_fstat(int fd, struct stat *out)
{
    return io_fails(false) ? -1 : lx_io_system.fstat(fd, out);
}
static int bad_lock(int fd, int exclusive, int wait)
{
    return io_fails(false) ? -1 : lx_io_system.lock(fd, exclusive, wait);
}

/* ---- SQLite's files ---------------------------------------------------------------- */

#define REAL(f) shim_real(f)->pMethods

static int bad_page_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    return fails(FAULT_IO) ? SQLITE_IOERR_READ
                           : REAL(f)->xRead(shim_real(f), data, n, at);
}
static int bad_page_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    int code = fails(FAULT_IO)      ? SQLITE_IOERR_WRITE
               : fails(FAULT_SPACE) ? SQLITE_FULL
                                    : SQLITE_OK;
    if (code == SQLITE_OK)
        return REAL(f)->xWrite(shim_real(f), data, n, at);
    REAL(f)->xWrite(shim_real(f), data, n / 2, at);
    return code;
}
static int bad_page_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fails(FAULT_IO) ? SQLITE_IOERR_TRUNCATE
                           : REAL(f)->xTruncate(shim_real(f), size);
}
static int bad_page_sync(sqlite3_file *f, int flags)
{
    return fails(FAULT_IO) ? SQLITE_IOERR_FSYNC : REAL(f)->xSync(shim_real(f), flags);
}
static int bad_shm_map(sqlite3_file *f, int page, int size, int extend,
                       void volatile **out)
{
    return fails(FAULT_IO) ? SQLITE_IOERR_SHMMAP
                           : REAL(f)->xShmMap(shim_real(f), page, size, extend, out);
}
static int may_open(void)
{
    return fails(FAULT_IO) ? SQLITE_CANTOPEN : SQLITE_OK;
}
static int may_delete(void)
{
    return fails(FAULT_IO) ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

/* ---- in the hands of a test -------------------------------------------------------- */

bool faults_find_leaks(void)
{
    return !HAS_OWN_MALLOC;
}

/* What a process forks is to serve it, not to fail: cmocka would catch its crash and go on with the test. */
static void spare_child(void)
{
    if (atomic_load(&armed) != FAULT_GIT) /* git's state is read by a child */
        atomic_store(&armed, FAULT_NONE);
}

void faults_prepare(void)
{
    static const shim_changes changes = {.methods = {.xRead = bad_page_read,
                                                     .xWrite = bad_page_write,
                                                     .xTruncate = bad_page_truncate,
                                                     .xSync = bad_page_sync,
                                                     .xShmMap = bad_shm_map},
                                         .may_open = may_open,
                                         .may_delete = may_delete};
    static lx_io io;

    io = lx_io_system;
    io.open = bad_open;
    io.close = bad_close;
    io.read = bad_read;
    io.pread = bad_pread;
    io.write = bad_write;
    io.pwrite = bad_pwrite;
    io.sync = bad_sync;
    io.begin_sync = bad_begin_sync;
    io.truncate = bad_truncate;
    io.rename = bad_rename;
    io.link = bad_link;
    io.unlink = bad_unlink;
    io.mkdir = bad_mkdir;
    io.stat = bad_stat;
    io.fstat = bad_fstat;
    io.lock = bad_lock;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        abort();
    backtrace(&(void *){0}, 1); /* loads what it needs */
    find_callers();
    pthread_atfork(NULL, NULL, spare_child);
    lx_io_set(&io);
    shim_install(&changes);
}

void faults_arm(fault_kind kind, long n, bool forever)
{
    atomic_store(&shared->n, 0);
    fail_at = n;
    fail_forever = forever;
    tells_place = getenv("LX_FAULT_PLACE") != NULL;
    if (kind == FAULT_MEMORY && !HAS_OWN_MALLOC)
        lx_alloc_fail_at((size_t)n, forever);
    atomic_store(&armed, kind);
}

void faults_disarm(void)
{
    if (atomic_exchange(&armed, FAULT_NONE) != FAULT_MEMORY || HAS_OWN_MALLOC)
        return;
    atomic_store(&shared->n, (long)lx_alloc_count());
    lx_alloc_fail_at(0, false);
}

bool faults_fail_now(fault_kind kind)
{
    return fails(kind);
}

unsigned long faults_place(long n)
{
    return n > 0 && n <= faults_count() && n <= MAX_PLACES ? shared->places[n - 1] : 0;
}

unsigned long faults_own_place(long n)
{
    return n > 0 && n <= faults_count() && n <= MAX_PLACES ? shared->own_places[n - 1]
                                                           : 0;
}

long faults_count(void)
{
    return atomic_load(&shared->n);
}
