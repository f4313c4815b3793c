/*
 * store/repair - what is damaged in a store, taken again from a bundle or a git repository
 *
 * Two layers, from the bottom:
 *
 * lx_store_salvage, when pages of the database cannot be read: a new database is made of
 * all rows that still can, and takes the place of the old one.
 *
 * lx_store_repair: objects that are damaged or missing, by their hash; points of curves
 * whose chunks are; after a salvage also rows and whole runs that went with the pages.
 * Nothing that is sound changes, and nothing is believed: bytes are verified by hash, and
 * where points of a curve are here and there they must agree.
 *
 * Before anything is replaced it is kept in `damaged` under the store's folder:
 * object-HEX, chunk-RUN-FIRST-N, store-DATE.db and its -wal. What cannot be repaired is
 * told, one line each. A run is scrubbed when it leaves a store, and a text that changed by
 * it has another hash there: such a text cannot come back, and is among them.
 *
 * A salvage in which rows were lost leaves a file `damaged/rows-are-missing`: until a repair
 * came to its end, lx_store_check tells so, and lx_store_repair also looks for rows and runs
 * that are missing without a trace.
 *
 * Order of use: lx_store_check; when it says is_database_damaged, close, lx_store_salvage,
 * open, lx_store_rebuild; lx_store_repair; lx_store_rebuild; lx_store_check.
 */
#ifndef LX_STORE_REPAIR_H
#define LX_STORE_REPAIR_H

#include "store/transfer.h"

/* Where things are taken from: a list of records (store/transfer.h). */
typedef struct lx_repair_source {
    const char *name; /* for people */
    size_t n;
    /* Record i, borrowed until the next call; `fetch` is of this one. */
    int (*record)(const cJSON **out, void *context, size_t i, lx_error *err);
    lx_transfer_fetch fetch;
    void *context;
} lx_repair_source;

typedef struct lx_repair_report {
    size_t n_objects, n_curves, n_runs; /* repaired; brought back whole */
    size_t n_left;                      /* told as not to be repaired */
} lx_repair_report;

typedef struct lx_salvage_report {
    size_t n_rows; /* that were read */
    size_t n_lost; /* that are known to have been lost; there may be more */
    bool has_lost; /* anything */
} lx_salvage_report;

/*
 * LX_EFORMAT when the file of the database has 0 bytes. It was emptied, or its making was cut off: whoever opens it
 * gets a new database, and who repairs would find nothing wrong with that.
 */
int lx_store_check_emptied(const char *path, lx_error *err);

/* Everything done, and everything that cannot be, as one line to `tell`. */
typedef void (*lx_repair_tell)(void *context, const char *line);

/*
 * path as for lx_store_open; nobody has the store open. Killed at any moment it leaves the
 * old database or the new one. LX_EBUSY: someone has it open.
 */
int lx_store_salvage(lx_salvage_report *out, const char *path, lx_repair_tell tell,
                     void *context, lx_error *err);

/* After a salvage in which rows were lost runs of the source that are not here are brought
 * back, too. */
int lx_store_repair(lx_repair_report *out, lx_store *store,
                    const lx_repair_source *source, lx_repair_tell tell, void *context,
                    lx_error *err);

#endif
