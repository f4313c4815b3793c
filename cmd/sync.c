#include "cmd/sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"

static int open_remote(lx_sync *s, const char *url, lx_error *err)
{
    lx_str scratch = LX_STR_INIT;
    int rc;

    lx_str_printf(&scratch, "%s/tmp", lx_store_path(s->store));
    if ((rc = lx_str_check(&scratch, err)) == LX_OK &&
        (rc = lx_remote_open(&s->remote, url, lx_str_text(&scratch), err)) == LX_OK)
        rc = lx_synced_open(&s->synced, s->store, lx_remote_url(s->remote), err);
    lx_str_release(&scratch);
    return rc;
}

int lx_sync_open(lx_sync *s, lx_cli *cli, const char *url, lx_error *err)
{
    int rc;

    *s = (lx_sync){.cli = cli};
    rc = lx_store_open(&s->store, cli->store_path, false, err);
    return rc < 0 ? rc : open_remote(s, url, err);
}

/* What is looked at needs a place all the same; it has one of its own, which goes again. */
static int look_without_store(lx_sync *s, const char *url, lx_error *err)
{
    const char *temporary = getenv("TMPDIR");
    lx_str path = LX_STR_INIT;
    int rc;

    lx_str_printf(&path, "%s/lx-look-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if ((rc = lx_str_check(&path, err)) < 0 || !mkdtemp(path.data)) {
        rc = rc < 0 ? rc : lx_fail_errno(err, errno, "%s", path.data);
        lx_str_release(&path);
        return rc;
    }
    s->scratch = lx_str_detach(&path);
    return s->scratch ? lx_remote_open(&s->remote, url, s->scratch, err) : lx_oom(err);
}

int lx_sync_look(lx_sync *s, lx_cli *cli, const char *url, lx_error *err)
{
    int rc;

    *s = (lx_sync){.cli = cli};
    rc = lx_store_open_existing(&s->store, cli->store_path, err);
    if (rc == LX_ENOTFOUND)
        return look_without_store(s, url, err);
    return rc < 0 ? rc : open_remote(s, url, err);
}

bool lx_sync_knows(const lx_sync *s, const lx_remote_version *version)
{
    return s->synced && lx_synced_has(s->synced, version);
}

void lx_sync_close(lx_sync *s)
{
    lx_synced_close(s->synced);
    lx_remote_close(s->remote);
    lx_store_close(s->store);
    if (s->scratch)
        rmdir(s->scratch); /* the remote has cleaned up below it */
    lx_free(s->scratch);
    lx_free(s->bad);
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

bool lx_sync_is_bad(const lx_sync *s, const lx_remote_version *v)
{
    for (size_t i = 0; i < s->n_bad; i++)
        if (strcmp(s->bad[i].commit, v->commit) == 0 && strcmp(s->bad[i].run, v->run) == 0)
            return true;
    return false;
}

int lx_sync_pass_bad(lx_sync *s, const lx_remote_version *v, int rc, const lx_error *why,
                     lx_error *err)
{
    enum { MOST_TOLD = 20 }; /* a stranger's repository may have thousands */

    /* One that is gone (LX_ENOTFOUND) was replaced: the list is read again. */
    if (rc != LX_EFORMAT && rc != LX_ELIMIT && rc != LX_EMISMATCH && rc != LX_EUNSUPPORTED)
        return lx_fail_as(err, rc, why);
    if (lx_sync_is_bad(s, v))
        return LX_OK;
    if (lx_grow(&s->bad, &s->bad_capacity, s->n_bad + 1, sizeof *s->bad) < 0)
        return lx_oom(err);
    s->bad[s->n_bad++] = *v;
    if (s->n_bad <= MOST_TOLD)
        lx_message(s->cli, "left out: refs/lx/runs/%s/%s: %s\n", v->run, v->commit,
                   lx_safe(s->cli, why->text));
    else if (s->n_bad == MOST_TOLD + 1)
        lx_message(s->cli, "left out: more of them\n");
    return LX_OK;
}

int lx_sync_merge(lx_sync *s, const lx_remote_version *versions, size_t n, lx_error *err)
{
    int rc = n ? lx_remote_fetch(s->remote, versions, n, err) : LX_OK;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        lx_error why = {0};
        if (lx_signals_pending())
            return lx_fail(err, LX_EINTERRUPTED, "interrupted; whole runs were taken");
        if (lx_sync_is_bad(s, &versions[i]))
            continue;
        if ((rc = lx_sync_take(NULL, s, &versions[i], &why)) < 0)
            rc = lx_sync_pass_bad(s, &versions[i], rc, &why, err);
    }
    return rc;
}
