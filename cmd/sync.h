/* cmd/sync - what lx push and lx pull share */
#ifndef LX_CMD_SYNC_H
#define LX_CMD_SYNC_H

#include "cmd/cli.h"
#include "store/remote.h"

/* A store, a remote and what is known of it. */
typedef struct lx_sync {
    lx_cli *cli;
    lx_store *store; /* NULL: there is none yet, and nothing is to be made (lx_sync_look) */
    lx_remote *remote;
    lx_synced *synced; /* NULL with the store */
    char *scratch;     /* then: a folder of this one look, else NULL */
    size_t n_new, n_extended, n_known; /* versions that were merged into the store */
    lx_remote_version *bad;            /* those that cannot be read, and were told */
    size_t n_bad, bad_capacity;
} lx_sync;

enum { LX_SYNC_TRIES = 6 };

int lx_sync_open(lx_sync *sync, lx_cli *cli, const char *url, lx_error *err);
/* To look only: makes no store where there is none. */
int lx_sync_look(lx_sync *sync, lx_cli *cli, const char *url, lx_error *err);
void lx_sync_close(lx_sync *sync);
/* What is known of the remote already: a version that was merged, or none without a store. */
bool lx_sync_knows(const lx_sync *sync, const lx_remote_version *version);

/* Is it worth trying again: another push or pull was quicker? Waits a little when it is.
 */
bool lx_sync_again(int rc, int try);

/* Merges a version that was fetched into the store. *record (may be NULL): yours. */
int lx_sync_take(cJSON **record, lx_sync *sync, const lx_remote_version *version,
                 lx_error *err);
/* One version's damage is told by the name of its ref, once, and the others are taken: LX_OK. Any other error is
 * *err. */
int lx_sync_pass_bad(lx_sync *sync, const lx_remote_version *version, int rc,
                     const lx_error *why, lx_error *err);
bool lx_sync_is_bad(const lx_sync *sync, const lx_remote_version *version);
/* Fetches versions and merges them, each run whole, but for those that are bad. */
int lx_sync_merge(lx_sync *sync, const lx_remote_version *versions, size_t n,
                  lx_error *err);

#endif
