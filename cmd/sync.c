#include "cmd/sync.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"

int lx_sync_open(lx_sync *s, lx_cli *cli, const char *url, lx_error *err)
{
    lx_str scratch = LX_STR_INIT;
    int rc;

    *s = (lx_sync){.cli = cli};
    if ((rc = lx_store_open(&s->store, cli->store_path, false, err)) < 0)
        return rc;
    lx_str_printf(&scratch, "%s/tmp", lx_store_path(s->store));
    if ((rc = lx_str_check(&scratch, err)) == LX_OK &&
        (rc = lx_remote_open(&s->remote, url, lx_str_text(&scratch), err)) == LX_OK)
        rc = lx_synced_open(&s->synced, s->store, lx_remote_url(s->remote), err);
    lx_str_release(&scratch);
    return rc;
}

void lx_sync_close(lx_sync *s)
{
    lx_synced_close(s->synced);
    lx_remote_close(s->remote);
    lx_store_close(s->store);
}

bool lx_sync_again(int rc, int try)
{
    struct timespec wait = {0, 0};
    /* A version that another push replaced while we fetched it is gone: that is an error
     * of git's. */
    if ((rc != LX_EBUSY && rc != LX_EIO && rc != LX_ENOTFOUND) ||
        try + 1 >= LX_SYNC_TRIES || lx_signals_pending())
        return false;
    wait.tv_nsec =
        (long)(20 + (getpid() * 7919 + try * 104729) % 80) * 1000000L * (try + 1);
    wait.tv_sec = wait.tv_nsec / 1000000000L;
    wait.tv_nsec %= 1000000000L;
    nanosleep(&wait, NULL);
    return true;
}

int lx_sync_take(cJSON **kept, lx_sync *s, const lx_remote_version *version,
                 lx_error *err)
{
    cJSON *record = NULL;
    lx_run_row run;
    lx_arrival how;
    int64_t seq;
    int rc;

    if (kept)
        *kept = NULL;
    if ((rc = lx_remote_record(&record, s->remote, version, err)) == LX_OK &&
        (rc = lx_transfer_apply(&how, &seq, s->store, record, lx_remote_object, s->remote,
                                err)) == LX_OK) {
        s->n_new += how == LX_ARRIVED_NEW;
        s->n_extended += how == LX_ARRIVED_EXTENDED;
        s->n_known += how == LX_ARRIVED_KNOWN;
        if (!lx_synced_has(s->synced, version) &&
            (rc = lx_query_run(&run, s->store, seq, s->cli->arena, err)) == LX_OK)
            rc = lx_synced_add_merged(s->synced, version, run.id, err);
    }
    if (kept && rc == LX_OK)
        *kept = record;
    else
        cJSON_Delete(record);
    return rc;
}

int lx_sync_merge(lx_sync *s, const lx_remote_version *versions, size_t n, lx_error *err)
{
    int rc = n ? lx_remote_fetch(s->remote, versions, n, err) : LX_OK;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if (lx_signals_pending())
            return lx_fail(err, LX_EINTERRUPTED, "interrupted; whole runs were taken");
        rc = lx_sync_take(NULL, s, &versions[i], err);
    }
    return rc;
}
