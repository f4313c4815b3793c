/*
 * store/remote - runs in any git repository, without a branch of its own
 *
 * A version of a run is a commit that never changes, and its ref is named after it:
 *
 *     refs/lx/runs/<run id>/<commit>      tree: record.json, objects/<SHA-256> ...
 *
 * (record and objects: store/transfer.h). The commit has no parent, a fixed author and
 * the run's own start as its time, so equal versions are equal commits wherever they are
 * made, and git stores equal objects once. Since no ref is ever moved, two that push at
 * once cannot overwrite one another: they leave two versions, and whoever comes next
 * merges them (records add up in any order) and replaces both by one. A push or a fetch
 * that is cut has done what it has done; the next one goes on from there.
 *
 * Everything is staged in a bare repository of its own under the store's tmp folder,
 * which is removed at the end. Objects that arrive are checked by git's hash and by their
 * own before they go further. libgit2 runs no hook, helper or filter of anybody.
 *
 * Order of use, leaving: open, list, stage per run, push, close; arriving: open, list,
 * fetch, record per version with lx_remote_object as its lx_transfer_fetch, close.
 */
#ifndef LX_STORE_REMOTE_H
#define LX_STORE_REMOTE_H

#include "store/transfer.h"

typedef struct lx_remote lx_remote;

typedef struct lx_remote_version {
    char run[17]; /* id */
    char commit[41];
} lx_remote_version;

/* url: what git takes; the name of a remote of the repository around the working folder
 * works too. LX_ENOTFOUND, LX_EPERM (who we are to it: store/credentials.h), LX_EIO. */
int lx_remote_open(lx_remote **out, const char *url, const char *scratch, lx_error *err);
void lx_remote_close(lx_remote *remote); /* NULL is fine */
/* As git sees it, without a user or password. In the remote's memory. */
const char *lx_remote_url(const lx_remote *remote);
/* A folder beside the store that goes when the remote is closed. */
const char *lx_remote_scratch(const lx_remote *remote);

/* What is there now, by run. Borrowed until the next call. Refs of other shapes are
 * passed over. */
int lx_remote_list(const lx_remote_version **out, size_t *n, lx_remote *remote,
                   lx_error *err);

int lx_remote_fetch(lx_remote *remote, const lx_remote_version *versions, size_t n,
                    lx_error *err);
/* *record is yours (cJSON_Delete) and sound (lx_transfer_check); its id is the version's.
 * Objects are those of this version until the next call. LX_ENOTFOUND: it was not fetched, since another push
 * replaced it after it was listed: list again. LX_EFORMAT, LX_ELIMIT: it is no run of lx. */
int lx_remote_record(cJSON **record, lx_remote *remote, const lx_remote_version *version,
                     lx_error *err);
/* An lx_transfer_fetch; context is the remote. */
int lx_remote_object(void *remote, const void **data, size_t *n, const lx_hash *hash,
                     lx_error *err);

/* The one run of a transfer as a commit in the scratch repository. LX_ELIMIT: larger than
 * what is taken from there. */
int lx_remote_stage(lx_remote_version *out, lx_remote *remote, lx_transfer *one,
                    lx_error *err);
/* Sends versions, then drops those that they replace; what went into a repository of this
 * machine is durable before. LX_EBUSY: the other side took none of it now (another push
 * was quicker): list again, merge, try again. */
int lx_remote_push(lx_remote *remote, const lx_remote_version *add, size_t n_add,
                   const lx_remote_version *drop, size_t n_drop, lx_error *err);

/* ---- what is known to be there already: a cache beside the store, of no other use -- */

/* Versions that were merged from a remote, and what a run was like when it was last
 * pushed. Of runs that are not in the store (any more) nothing is known. */
typedef struct lx_synced lx_synced;
int lx_synced_open(lx_synced **out, lx_store *store, const char *url, lx_error *err);
bool lx_synced_has(const lx_synced *synced, const lx_remote_version *version);
/* Did this store make it, rather than meet it there? */
bool lx_synced_is_own(const lx_synced *synced, const lx_remote_version *version);
/* The version a run had when it last was as it is now (`mark`); NULL = it has changed
 * since. */
const char *lx_synced_pushed(const lx_synced *synced, const char *run, const char *mark);
int lx_synced_add(lx_synced *synced, const lx_remote_version *version, const char *mark,
                  lx_error *err);
/* into: the run's id here, another one where both stores imported the same. */
int lx_synced_add_merged(lx_synced *synced, const lx_remote_version *version,
                         const char *into, lx_error *err);
int lx_synced_save(lx_synced *synced, lx_error *err);
void lx_synced_close(lx_synced *synced);

/* Changes whenever something of the run does that a transfer takes. In the arena. */
int lx_transfer_mark(const char **out, lx_store *store, const lx_run_row *run,
                     bool is_scrubbed, lx_arena *arena, lx_error *err);

#endif
