/* A run being recorded: begin, points, artifacts, end. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/chunk.h"
#include "store/internal.h"
#include "store/scrub.h"

/* The open chunk of one curve, whole in memory: a flush replaces its row. */
typedef struct series {
    struct series *next;
    char *key;
    int64_t id;    /* row; 0 = not yet */
    int64_t chunk; /* row; 0 = not yet */
    size_t n, n_durable;
    int64_t steps[LX_CHUNK_POINTS];
    double values[LX_CHUNK_POINTS];
} series;

struct lx_run {
    lx_store *store;
    int64_t seq;
    char id[17];
    char spec_hash[LX_HASH_HEX + 1];
    series *first;
    double flushed_at; /* monotonic */
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- begin ------------------------------------------------------------------------------- */

static int new_id(char id[17], lx_error *err)
{
    unsigned char bytes[8];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return lx_fail_errno(err, errno, "drawing a run id");
    for (int i = 0; i < 8; i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    return LX_OK;
}

static int bind_object(lx_store *s, sqlite3_stmt *stmt, int at, const char *text, lx_hash *kept,
                       lx_error *err)
{
    int rc;
    if (!text)
        return LX_OK;
    if ((rc = store__put(kept, s, text, strlen(text), err)) < 0)
        return rc;
    sqlite3_bind_blob(stmt, at, kept->bytes, 32, SQLITE_TRANSIENT);
    return LX_OK;
}

static int insert_run(lx_run *run, const lx_run_start *start, lx_error *err)
{
    lx_store *s = run->store;
    store__process process = store__this_process();
    char *environment = store__environment(), *git = NULL, *diff = NULL, seed[24];
    lx_hash hash, spec;
    sqlite3_stmt *stmt = NULL;
    int rc;

    if (!environment)
        return lx_oom(err);
    if (start->work_dir && (rc = store__git_state(&git, &diff, s, start->work_dir, err)) < 0)
        goto done;
    rc = store__prepare(&stmt, s,
                        "INSERT INTO run(id, kind, name, started, seed, spec, command_line,"
                        " flags_given, flags, dataset, base_model, environment, git, diff,"
                        " boot_id, pid, pid_start)"
                        " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
                        err);
    if (rc < 0)
        goto done;
    sqlite3_bind_text(stmt, 1, run->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, start->kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, start->name, -1, SQLITE_STATIC);
    sqlite3_bind_double(stmt, 4, now(CLOCK_REALTIME));
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)start->seed);
    if (start->has_seed)
        sqlite3_bind_text(stmt, 5, seed, -1, SQLITE_STATIC);
    if ((rc = bind_object(s, stmt, 6, start->spec, &spec, err)) < 0 ||
        (rc = bind_object(s, stmt, 7, start->command_line, &hash, err)) < 0 ||
        (rc = bind_object(s, stmt, 8, start->flags_given, &hash, err)) < 0 ||
        (rc = bind_object(s, stmt, 9, start->flags, &hash, err)) < 0 ||
        (rc = bind_object(s, stmt, 10, start->dataset, &hash, err)) < 0 ||
        (rc = bind_object(s, stmt, 11, start->base_model, &hash, err)) < 0 ||
        (rc = bind_object(s, stmt, 12, environment, &hash, err)) < 0 ||
        (rc = bind_object(s, stmt, 13, git, &hash, err)) < 0 ||
        (rc = bind_object(s, stmt, 14, diff, &hash, err)) < 0)
        goto done;
    if (start->spec)
        lx_hash_hex(run->spec_hash, &spec);
    sqlite3_bind_text(stmt, 15, process.boot_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 16, process.pid);
    sqlite3_bind_int64(stmt, 17, process.start);
    rc = store__run(s, stmt, "beginning a run", err);
    stmt = NULL;
    run->seq = sqlite3_last_insert_rowid(s->db);
done:
    sqlite3_finalize(stmt);
    lx_free(environment);
    lx_free(git);
    lx_free(diff);
    return rc;
}

int lx_run_begin(lx_run **out, lx_store *store, const lx_run_start *start, lx_error *err)
{
    lx_run *run = lx_calloc(1, sizeof *run);
    int rc;

    if (!run)
        return lx_oom(err);
    run->store = store;
    run->flushed_at = now(CLOCK_MONOTONIC);
    if ((rc = new_id(run->id, err)) < 0 || (rc = store__begin(store, err)) < 0) {
        lx_free(run);
        return rc;
    }
    if ((rc = insert_run(run, start, err)) < 0) {
        store__rollback(store);
        lx_free(run);
        return rc;
    }
    if ((rc = store__commit(store, err)) < 0) {
        lx_free(run);
        return rc;
    }
    *out = run;
    return LX_OK;
}

const char *lx_run_id(const lx_run *run)
{
    return run->id;
}

const char *lx_run_spec_hash(const lx_run *run)
{
    return run->spec_hash;
}

/* ---- curves ------------------------------------------------------------------------------ */

static series *find_series(lx_run *run, const char *key)
{
    series **at = &run->first, *s;
    for (; (s = *at); at = &s->next)
        if (strcmp(s->key, key) == 0)
            return s;
    if (!(s = lx_calloc(1, sizeof *s)) || !(s->key = lx_strdup(key))) {
        lx_free(s);
        return NULL;
    }
    *at = s;
    return s;
}

static int insert_series(lx_run *run, series *s, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__prepare(&stmt, run->store, "INSERT INTO series(run, key) VALUES(?1, ?2)", err);
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, run->seq);
    sqlite3_bind_text(stmt, 2, s->key, -1, SQLITE_STATIC);
    if ((rc = store__run(run->store, stmt, "adding a curve", err)) == LX_OK)
        s->id = sqlite3_last_insert_rowid(run->store->db);
    return rc;
}

static int write_chunk(lx_run *run, series *s, lx_error *err)
{
    lx_str data = LX_STR_INIT;
    sqlite3_stmt *stmt;
    int rc;

    if ((rc = store__chunk_encode(&data, s->steps, s->values, s->n, err)) == LX_OK &&
        (rc = store__prepare(&stmt, run->store,
                             s->chunk ? "UPDATE chunk SET n=?2, last_step=?3, last_value=?4,"
                                        " data=?5 WHERE id=?1"
                                      : "INSERT INTO chunk(series, n, last_step, last_value, data)"
                                        " VALUES(?1, ?2, ?3, ?4, ?5)",
                             err)) == LX_OK) {
        sqlite3_bind_int64(stmt, 1, s->chunk ? s->chunk : s->id);
        sqlite3_bind_int64(stmt, 2, (sqlite3_int64)s->n);
        sqlite3_bind_int64(stmt, 3, s->steps[s->n - 1]);
        sqlite3_bind_double(stmt, 4, s->values[s->n - 1]);
        sqlite3_bind_blob64(stmt, 5, data.data, data.len, SQLITE_STATIC);
        if ((rc = store__run(run->store, stmt, "writing a curve", err)) == LX_OK && !s->chunk)
            s->chunk = sqlite3_last_insert_rowid(run->store->db);
    }
    lx_str_release(&data);
    return rc;
}

static int write_series(lx_run *run, lx_error *err)
{
    int rc = LX_OK;
    for (series *s = run->first; s && rc == LX_OK; s = s->next)
        if (s->n > s->n_durable && (s->id || (rc = insert_series(run, s, err)) == LX_OK))
            rc = write_chunk(run, s, err);
    return rc;
}

/* What a rolled back transaction had numbered does not exist. */
typedef struct undo {
    series *s;
    int64_t id, chunk;
} undo;

int lx_run_flush(lx_run *run, lx_error *err)
{
    undo before[64];
    size_t n = 0;
    int rc;

    run->flushed_at = now(CLOCK_MONOTONIC);
    for (series *s = run->first; s && n < sizeof before / sizeof *before; s = s->next)
        before[n++] = (undo){s, s->id, s->chunk};
    if ((rc = store__begin(run->store, err)) < 0)
        return rc;
    if ((rc = write_series(run, err)) == LX_OK)
        rc = store__commit(run->store, err);
    else
        store__rollback(run->store);
    for (size_t i = 0; rc < 0 && i < n; i++) {
        before[i].s->id = before[i].id;
        before[i].s->chunk = before[i].chunk;
    }
    for (series *s = run->first; s && rc == LX_OK; s = s->next) {
        s->n_durable = s->n;
        if (s->n == LX_CHUNK_POINTS) /* closed for good */
            s->n = s->n_durable = 0, s->chunk = 0;
    }
    return rc;
}

int lx_run_log(lx_run *run, const char *key, int64_t step, double value, lx_error *err)
{
    series *s = find_series(run, key);
    if (!s)
        return lx_oom(err);
    s->steps[s->n] = step;
    s->values[s->n++] = value;
    if (s->n == LX_CHUNK_POINTS || now(CLOCK_MONOTONIC) - run->flushed_at >= 1.0)
        return lx_run_flush(run, err);
    return LX_OK;
}

/* ---- artifacts and the end --------------------------------------------------------------- */

static int insert_artifact(lx_run *run, const char *role, const char *name, const lx_hash *hash,
                           int64_t step, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__prepare(&stmt, run->store,
                            "INSERT INTO artifact(run, role, name, step, object)"
                            " VALUES(?1, ?2, ?3, ?4, ?5)",
                            err);
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, run->seq);
    sqlite3_bind_text(stmt, 2, role, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, step);
    sqlite3_bind_blob(stmt, 5, hash->bytes, 32, SQLITE_STATIC);
    return store__run(run->store, stmt, "adding an artifact", err);
}

int lx_run_artifact(lx_run *run, const char *role, const char *name, const void *data, size_t n,
                    int64_t step, lx_error *err)
{
    lx_hash hash;
    int rc = store__begin(run->store, err);
    if (rc < 0)
        return rc;
    if ((rc = store__put(&hash, run->store, data, n, err)) == LX_OK &&
        (rc = insert_artifact(run, role, name, &hash, step, err)) == LX_OK)
        return store__commit(run->store, err);
    store__rollback(run->store);
    return rc;
}

int lx_run_artifact_file(lx_run *run, const char *role, const char *name, const char *path,
                         int64_t step, lx_error *err)
{
    lx_mapping map;
    int rc = lx_file_map(&map, path, err);
    if (rc < 0)
        return rc;
    rc = lx_run_artifact(run, role, name, map.data, map.size, step, err);
    lx_file_unmap(&map);
    return rc;
}

void lx_run_abandon(lx_run *run)
{
    if (!run)
        return;
    for (series *s = run->first, *next; s; s = next) {
        next = s->next;
        lx_free(s->key);
        lx_free(s);
    }
    lx_free(run);
}

int lx_run_end(lx_run *run, const char *status, const char *message, lx_error *err)
{
    lx_store *store = run->store;
    lx_str clean = LX_STR_INIT;
    sqlite3_stmt *stmt;
    int rc = lx_run_flush(run, err);

    if (rc == LX_OK && (rc = store__begin(store, err)) == LX_OK) {
        rc = store__prepare(
            &stmt, store,
            "INSERT INTO run_end(run, ended, status, message) VALUES(?1, ?2, ?3, ?4)", err);
        if (rc == LX_OK) {
            if (message)
                lx_scrub_text(&clean, message, strlen(message));
            sqlite3_bind_int64(stmt, 1, run->seq);
            sqlite3_bind_double(stmt, 2, now(CLOCK_REALTIME));
            sqlite3_bind_text(stmt, 3, status, -1, SQLITE_STATIC);
            sqlite3_bind_text(stmt, 4, message ? lx_str_text(&clean) : NULL, -1, SQLITE_STATIC);
            rc = store__run(store, stmt, "ending a run", err);
        }
        if (rc == LX_OK)
            rc = store__commit(store, err);
        else
            store__rollback(store);
    }
    lx_str_release(&clean);
    lx_run_abandon(run);
    return rc;
}
