#include "cmd/later.h"

#include <string.h>
#include <time.h>

#include "src/base/alloc.h"

static const double PAUSE = 5, PATIENCE = 180; /* seconds */

struct lx_later_item {
    lx_later_item *next;
    lx_artifact artifact; /* role NULL: it is a fact */
    char *role, *name, *path, *key, *value;
    void *data;
    lx_hash hash, tensor_hash;
};

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

bool lx_later_passes(lx_store *store, int rc)
{
    return rc == LX_EBUSY || (rc == LX_EIO && lx_store_is_usable(store));
}

/* ---- what waits -------------------------------------------------------------------- */

static void free_item(lx_later_item *item)
{
    if (!item)
        return;
    lx_free(item->role);
    lx_free(item->name);
    lx_free(item->path);
    lx_free(item->key);
    lx_free(item->value);
    lx_free(item->data);
    lx_free(item);
}

static bool copy_text(char **out, const char *text)
{
    *out = text ? lx_strdup(text) : NULL;
    return !text || *out;
}

static bool copy_data(lx_later_item *item, const lx_artifact *a)
{
    if (!a->data)
        return true;
    if (!(item->data = lx_alloc(a->n + 1)))
        return false;
    memcpy(item->data, a->data, a->n);
    item->artifact.data = item->data;
    return true;
}

static void append(lx_later *l, lx_later_item *item)
{
    if (!l->first)
        l->last = &l->first;
    *l->last = item;
    l->last = &item->next;
}

static int keep_artifact(lx_later *l, const lx_artifact *a, lx_error *err)
{
    lx_later_item *item = lx_calloc(1, sizeof *item);

    if (!item)
        return lx_oom(err);
    item->artifact = *a;
    if (!copy_text(&item->role, a->role) || !copy_text(&item->name, a->name) ||
        !copy_text(&item->path, a->path) || !copy_data(item, a)) {
        free_item(item);
        return lx_oom(err);
    }
    item->artifact.role = item->role;
    item->artifact.name = item->name;
    item->artifact.path = item->path;
    if (a->hash) {
        item->hash = *a->hash;
        item->artifact.hash = &item->hash;
    }
    if (a->tensor_hash) {
        item->tensor_hash = *a->tensor_hash;
        item->artifact.tensor_hash = &item->tensor_hash;
    }
    if (!(a->at > 0))
        item->artifact.at = seconds(CLOCK_REALTIME);
    append(l, item);
    return LX_OK;
}

static int keep_fact(lx_later *l, const char *key, const char *value, lx_error *err)
{
    lx_later_item *item = lx_calloc(1, sizeof *item);

    if (!item || !copy_text(&item->key, key) || !copy_text(&item->value, value)) {
        free_item(item);
        return lx_oom(err);
    }
    append(l, item);
    return LX_OK;
}

/* ---- trying ------------------------------------------------------------------------ */

static int put(lx_later *l, const lx_artifact *a, lx_error *err)
{
    return l->attach ? l->attach(l->context, a, err)
                     : lx_run_attach(NULL, l->store, l->run, a, err);
}

static int put_item(lx_later *l, const lx_later_item *item, lx_error *err)
{
    return item->role ? put(l, &item->artifact, err)
                      : lx_run_fact(l->store, l->run, item->key, item->value, err);
}

/* In order, up to the first that must wait on. */
static int try_all(lx_later *l, lx_error *err)
{
    lx_error problem = {0};
    int rc = LX_OK;

    while (l->first && rc == LX_OK) {
        lx_later_item *item = l->first;
        if (lx_later_passes(l->store, rc = put_item(l, item, &problem))) {
            l->why = problem;
            l->tried_at = seconds(CLOCK_MONOTONIC);
            return LX_OK;
        }
        l->first = item->next;
        free_item(item);
    }
    return lx_fail_as(err, rc, &problem);
}

int lx_later_try(lx_later *l, lx_error *err)
{
    return l->first && seconds(CLOCK_MONOTONIC) - l->tried_at >= PAUSE ? try_all(l, err)
                                                                       : LX_OK;
}

/* Each once, whatever became of those before it: a file that cannot be read is no reason to lose the next. Those that must
 * wait on stay. The first error counts. */
static int try_each(lx_later *l, lx_error *err)
{
    lx_error first = {0};
    int rc = LX_OK;

    for (lx_later_item **at = &l->first; *at;) {
        lx_later_item *item = *at;
        lx_error problem = {0};
        int other = put_item(l, item, &problem);

        if (other < 0 && rc == LX_OK)
            rc = lx_fail_as(&first, other, &problem);
        if (lx_later_passes(l->store, other)) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        free_item(item);
    }
    return lx_fail_as(err, rc, &first);
}

int lx_later_finish(lx_later *l, lx_error *err)
{
    const struct timespec pause = {0, 100 * 1000 * 1000};
    const double until = seconds(CLOCK_MONOTONIC) + PATIENCE;
    lx_error problem = {0};
    int rc = LX_OK;

    while (l->first) {
        lx_error another = {0};
        int other = try_all(l, &another);
        if (other < 0 && rc == LX_OK)
            rc = lx_fail_as(&problem, other, &another);
        if (!l->first || other < 0)
            continue;
        /* Others end their writing; whether a disk is emptied nobody knows. */
        if (l->why.code != LX_EBUSY || seconds(CLOCK_MONOTONIC) >= until)
            break;
        nanosleep(&pause, NULL);
    }
    if (l->first) {
        lx_error another = l->why;
        int other = another.code == LX_EBUSY ? LX_EBUSY : try_each(l, &another);
        if (rc == LX_OK)
            rc = lx_fail_as(&problem, other, &another);
    }
    return lx_fail_as(err, rc, &problem);
}

int lx_later_attach(lx_later *l, const lx_artifact *a, lx_error *err)
{
    lx_error problem = {0};
    int rc = l->first ? LX_EBUSY : put(l, a, &problem);

    if (!lx_later_passes(l->store, rc))
        return lx_fail_as(err, rc, &problem);
    if (!l->first) {
        l->why = problem;
        l->tried_at = seconds(CLOCK_MONOTONIC);
    }
    return keep_artifact(l, a, err);
}

int lx_later_fact(lx_later *l, const char *key, const char *value, lx_error *err)
{
    lx_error problem = {0};
    int rc = l->first ? LX_EBUSY : lx_run_fact(l->store, l->run, key, value, &problem);

    if (!lx_later_passes(l->store, rc))
        return lx_fail_as(err, rc, &problem);
    if (!l->first) {
        l->why = problem;
        l->tried_at = seconds(CLOCK_MONOTONIC);
    }
    return keep_fact(l, key, value, err);
}

void lx_later_release(lx_later *l)
{
    while (l->first) {
        lx_later_item *item = l->first;
        l->first = item->next;
        free_item(item);
    }
}
