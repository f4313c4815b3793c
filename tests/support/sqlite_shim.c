#include "tests/support/sqlite_shim.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static sqlite3_vfs *real_vfs, shim_vfs;
static shim_changes change;
static sqlite3_io_methods methods;

sqlite3_file *shim_real(sqlite3_file *f)
{
    return ((shim_file *)f)->real;
}

/* ---- what passes through ----------------------------------------------------------- */

static int pass_close(sqlite3_file *f)
{
    sqlite3_file *real = shim_real(f);
    int rc = real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
    sqlite3_free(real);
    return rc;
}
static int pass_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    return shim_real(f)->pMethods->xRead(shim_real(f), data, n, at);
}
static int pass_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    return shim_real(f)->pMethods->xWrite(shim_real(f), data, n, at);
}
static int pass_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return shim_real(f)->pMethods->xTruncate(shim_real(f), size);
}
static int pass_sync(sqlite3_file *f, int flags)
{
    return shim_real(f)->pMethods->xSync(shim_real(f), flags);
}
static int pass_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return shim_real(f)->pMethods->xFileSize(shim_real(f), size);
}
static int pass_lock(sqlite3_file *f, int level)
{
    return shim_real(f)->pMethods->xLock(shim_real(f), level);
}
static int pass_unlock(sqlite3_file *f, int level)
{
    return shim_real(f)->pMethods->xUnlock(shim_real(f), level);
}
static int pass_reserved(sqlite3_file *f, int *out)
{
    return shim_real(f)->pMethods->xCheckReservedLock(shim_real(f), out);
}
static int pass_control(sqlite3_file *f, int op, void *arg)
{
    return shim_real(f)->pMethods->xFileControl(shim_real(f), op, arg);
}
static int pass_sector(sqlite3_file *f)
{
    return shim_real(f)->pMethods->xSectorSize(shim_real(f));
}
static int pass_traits(sqlite3_file *f)
{
    return shim_real(f)->pMethods->xDeviceCharacteristics(shim_real(f));
}
static int pass_shm_map(sqlite3_file *f, int page, int size, int extend,
                        void volatile **out)
{
    return shim_real(f)->pMethods->xShmMap(shim_real(f), page, size, extend, out);
}
static int pass_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return shim_real(f)->pMethods->xShmLock(shim_real(f), offset, n, flags);
}
static void pass_shm_barrier(sqlite3_file *f)
{
    shim_real(f)->pMethods->xShmBarrier(shim_real(f));
}
static int pass_shm_unmap(sqlite3_file *f, int deletes)
{
    return shim_real(f)->pMethods->xShmUnmap(shim_real(f), deletes);
}

/* ---- the file system --------------------------------------------------------------- */

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                     int *out)
{
    shim_file *file = (shim_file *)f;
    struct stat st;
    bool was_there = name && stat(name, &st) == 0;
    int rc;

    (void)vfs;
    f->pMethods = NULL;
    if (change.may_open && (rc = change.may_open()) != SQLITE_OK)
        return rc;
    if (!(file->real = sqlite3_malloc(real_vfs->szOsFile)))
        return SQLITE_NOMEM;
    memset(file->real, 0, (size_t)real_vfs->szOsFile);
    if ((rc = real_vfs->xOpen(real_vfs, name, file->real, flags, out)) != SQLITE_OK) {
        sqlite3_free(file->real);
        return rc;
    }
    f->pMethods = &methods;
    snprintf(file->path, sizeof file->path, "%s", name ? name : "");
    if (change.opened)
        change.opened(file, flags, was_there);
    return SQLITE_OK;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int syncs)
{
    int rc;

    (void)vfs;
    if (change.may_delete && (rc = change.may_delete()) != SQLITE_OK)
        return rc;
    rc = real_vfs->xDelete(real_vfs, name, syncs && !change.never_syncs);
    if (rc == SQLITE_OK && change.deleted)
        change.deleted(name, syncs);
    return rc;
}

#define TAKE(member, pass) \
    methods.member = change.methods.member ? change.methods.member : (pass)

void shim_install(const shim_changes *changes)
{
    change = *changes;
    methods.iVersion = 2; /* without xFetch, so that nothing goes by mmap */
    methods.xClose = pass_close;
    TAKE(xRead, pass_read);
    TAKE(xWrite, pass_write);
    TAKE(xTruncate, pass_truncate);
    TAKE(xSync, pass_sync);
    TAKE(xFileSize, pass_size);
    TAKE(xLock, pass_lock);
    TAKE(xUnlock, pass_unlock);
    TAKE(xCheckReservedLock, pass_reserved);
    TAKE(xFileControl, pass_control);
    TAKE(xSectorSize, pass_sector);
    TAKE(xDeviceCharacteristics, pass_traits);
    TAKE(xShmMap, pass_shm_map);
    TAKE(xShmLock, pass_shm_lock);
    TAKE(xShmBarrier, pass_shm_barrier);
    TAKE(xShmUnmap, pass_shm_unmap);
    real_vfs = sqlite3_vfs_find(NULL);
    shim_vfs = *real_vfs;
    shim_vfs.zName = "shim";
    shim_vfs.szOsFile = sizeof(shim_file);
    shim_vfs.xOpen = shim_open;
    shim_vfs.xDelete = shim_delete;
    sqlite3_vfs_register(&shim_vfs, 1);
}

void shim_remove(void)
{
    sqlite3_vfs_unregister(&shim_vfs);
    sqlite3_vfs_register(real_vfs, 1);
}
