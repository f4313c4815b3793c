/* lx fsck: is everything that was promised still there? */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/internal.h"
#include "store/query.h"

typedef struct check {
    lx_check_report *report;
    lx_store *store;
    void (*tell)(void *context, const char *line);
    void *context;
} check;

static void problem(check *c, const char *fmt, ...) LX_PRINTF(2, 3);

static void problem(check *c, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    c->report->n_problems++;
    c->tell(c->context, line);
}

/* A damaged page ends the loop it is met in and is a finding; only what keeps fsck itself
 * from working is an error. */
static int finding(check *c, int rc, const lx_error *why, lx_error *err)
{
    if (store__is_damage(rc)) {
        problem(c, "%s", why->text);
        return LX_OK;
    }
    return lx_fail_as(err, rc, why);
}

static int check_database(check *c, lx_error *err)
{
    static const char *const checks[] = {
        "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check<>'ok'",
        "SELECT 'dangling reference in '||\"table\" FROM pragma_foreign_key_check"};
    lx_error why = {0};
    int rc = LX_OK;
    for (size_t i = 0; i < sizeof checks / sizeof *checks && rc == LX_OK; i++) {
        sqlite3_stmt *stmt;
        rc = store__query(&stmt, c->store, &why, checks[i], "");
        while (store__row(&rc, c->store, stmt, &why)) {
            c->report->is_database_damaged = true;
            problem(c, "database: %s", sqlite3_column_text(stmt, 0));
        }
        store__finish(c->store, stmt);
        c->report->is_database_damaged |= rc == LX_EFORMAT;
        rc = finding(c, rc, &why, err);
    }
    return rc;
}

/* A file that cannot be read (a bad sector) does not keep the others from being read; but what it holds nobody knows,
 * so that this is an error in the end. */
static int check_objects(check *c, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_str bytes = LX_STR_INIT;
    lx_error why = {0}, unreadable = {0};
    int rc = store__query(&stmt, c->store, &why, "SELECT hash, size FROM object", "");

    while (store__row(&rc, c->store, stmt, &why)) {
        lx_hash hash;
        if (!store__hash(&hash, stmt, 0)) {
            problem(c, "object: a name of %d bytes", sqlite3_column_bytes(stmt, 0));
            continue;
        }
        c->report->n_objects++;
        c->report->n_bytes += (size_t)sqlite3_column_int64(stmt, 1);
        rc = lx_object_get(&bytes, c->store, &hash, &why);
        if (rc == LX_EIO) {
            problem(c, "%s", why.text);
            unreadable = unreadable.code ? unreadable : why;
            rc = LX_OK;
        }
        rc = finding(c, rc, &why, err);
    }
    store__finish(c->store, stmt);
    lx_str_release(&bytes);
    rc = finding(c, rc, &why, err);
    return rc < 0 ? rc : lx_fail_as(err, unreadable.code, &unreadable);
}

/* ---- what is named and not there --------------------------------------------------- */

/* Columns of runs and kept files of artifacts. */
static int missing_by_rows(lx_store *s, store__missing_object found, void *context,
                           lx_error *err)
{
    static const char *const columns[] = {"spec",        "command_line", "flags_given",
                                          "flags",       "dataset",      "base_model",
                                          "environment", "git",          "diff"};
    enum { N = sizeof columns / sizeof *columns };
    char sql[256];
    int rc = LX_OK;

    for (size_t i = 0; i <= N && rc == LX_OK; i++) {
        sqlite3_stmt *stmt;
        lx_hash hash;
        if (i < N)
            snprintf(sql, sizeof sql,
                     "SELECT id, '%s', %s FROM run WHERE %s IS NOT NULL AND %s NOT IN"
                     " (SELECT hash FROM object)",
                     columns[i], columns[i], columns[i], columns[i]);
        else
            snprintf(sql, sizeof sql,
                     "SELECT id, artifact.name, object FROM artifact JOIN run ON"
                     " run.seq=artifact.run WHERE is_kept AND object NOT IN"
                     " (SELECT hash FROM object)");
        rc = store__query(&stmt, s, err, sql, "");
        while (store__row(&rc, s, stmt, err)) {
            char what[300];
            snprintf(what, sizeof what, "its %.280s", sqlite3_column_text(stmt, 1));
            rc = store__hash(&hash, stmt, 2)
                     ? found(context, &hash, (const char *)sqlite3_column_text(stmt, 0),
                             what, err)
                     : lx_fail(err, LX_EFORMAT, "run %s: %s has a name that is no hash",
                               sqlite3_column_text(stmt, 0), what);
        }
        store__finish(s, stmt);
    }
    return rc;
}

/* Does this member name an object, which must be there then? */
static bool names_object(lx_hash *hash, const cJSON *item, const char *key)
{
    const char *hex = lx_json_text(item, key);
    return hex && lx_hash_from_hex(hash, hex);
}

/* Of each item of a list the object that `key` names; what: as told. */
static int missing_of_list(lx_store *s, const cJSON *list, const char *key, const char *what, const char *run,
                           store__missing_object found, void *context, lx_error *err)
{
    const cJSON *item;
    int rc = LX_OK;

    cJSON_ArrayForEach(item, list)
    {
        lx_hash hash;
        bool is_here;
        if (rc == LX_OK && names_object(&hash, item, key) &&
            (rc = lx_object_exists(&is_here, s, &hash, err)) == LX_OK && !is_here)
            rc = found(context, &hash, run, what, err);
    }
    return rc;
}

/* A text of the store as JSON; NULL when it is damaged, which is told elsewhere. */
static int parse_object(cJSON **out, lx_store *s, const lx_hash *hash, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    lx_error damaged = {0};
    int rc = lx_object_get(&text, s, hash, &damaged);

    *out = NULL;
    if (rc == LX_OK)
        rc = lx_json_parse(out, lx_str_text(&text), text.len, &damaged);
    lx_str_release(&text);
    return store__is_damage(rc) ? LX_OK : lx_fail_as(err, rc, &damaged);
}

/* store/dataset.h: root -> folders -> captions. */
static int missing_of_dataset(lx_store *s, const lx_hash *dataset, const char *run,
                              store__missing_object found, void *context, lx_error *err)
{
    cJSON *root = NULL, *folder = NULL;
    const cJSON *item;
    int rc = parse_object(&root, s, dataset, err);

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "folders"))
    {
        lx_hash hash;
        bool is_here;
        if (!names_object(&hash, item, "object"))
            continue;
        if (rc < 0 || (rc = lx_object_exists(&is_here, s, &hash, err)) < 0)
            break;
        if (!is_here) {
            rc = found(context, &hash, run, "a folder of its dataset", err);
        } else if ((rc = parse_object(&folder, s, &hash, err)) == LX_OK) {
            rc = missing_of_list(s, cJSON_GetObjectItemCaseSensitive(folder, "images"), "caption",
                                 "a caption of its dataset", run, found, context, err);
            cJSON_Delete(folder);
        }
    }
    cJSON_Delete(root);
    return rc;
}

/* store/git.c: the sources that were in no commit. */
static int missing_of_git(lx_store *s, const lx_hash *git, const char *run,
                          store__missing_object found, void *context, lx_error *err)
{
    cJSON *root = NULL;
    int rc = parse_object(&root, s, git, err);

    if (rc == LX_OK)
        rc = missing_of_list(s, cJSON_GetObjectItemCaseSensitive(root, "untracked"), "object",
                             "an untracked source", run, found, context, err);
    cJSON_Delete(root);
    return rc;
}

/* What is named in the texts of runs, each text once. */
static int missing_by_texts(lx_store *s, store__missing_object found, void *context, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          "SELECT dataset, min(id), 0 FROM run WHERE dataset IN"
                          " (SELECT hash FROM object) GROUP BY dataset"
                          " UNION ALL SELECT git, min(id), 1 FROM run WHERE git IN"
                          " (SELECT hash FROM object) GROUP BY git",
                          "");
    while (store__row(&rc, s, stmt, err)) {
        lx_hash hash;
        if (store__hash(&hash, stmt, 0))
            rc = (sqlite3_column_int(stmt, 2) ? missing_of_git : missing_of_dataset)(
                s, &hash, (const char *)sqlite3_column_text(stmt, 1), found, context, err);
    }
    store__finish(s, stmt);
    return rc;
}

int store__each_missing(lx_store *s, store__missing_object found, void *context,
                        lx_error *err)
{
    int rc = missing_by_rows(s, found, context, err);
    return rc < 0 ? rc : missing_by_texts(s, found, context, err);
}

static int tell_missing(void *context, const lx_hash *hash, const char *run,
                        const char *what, lx_error *err)
{
    char hex[LX_HASH_HEX + 1];
    (void)err;
    lx_hash_hex(hex, hash);
    problem(context, "run %s: %s (object %s) is not in the store", run, what, hex);
    return LX_OK;
}

static int check_references(check *c, lx_error *err)
{
    lx_error why = {0};
    return finding(c, store__each_missing(c->store, tell_missing, c, &why), &why, err);
}

/* ---- curves ------------------------------------------------------------------------ */

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* The curve's points, and what is derived from them. stmt: see check_curves. */
static int check_curve(check *c, sqlite3_stmt *stmt, lx_error *err)
{
    store__glance g;
    int64_t *steps;
    double *values;
    lx_error why = {0};
    size_t n;
    int rc = store__read_series(&steps, &values, &n, c->store,
                                sqlite3_column_int64(stmt, 0), 0, &why);

    if (rc < 0) {
        lx_within(&why, "run %s, curve %s", sqlite3_column_text(stmt, 1),
                  sqlite3_column_text(stmt, 2));
        return finding(c, rc, &why, err);
    }
    g = store__glance_of(steps, values, n);
    c->report->n_points += n;
    if (g.n < sqlite3_column_int64(stmt, 3))
        problem(c, "run %s, curve %s: %lld of its %lld points are gone",
                sqlite3_column_text(stmt, 1), sqlite3_column_text(stmt, 2),
                (long long)(sqlite3_column_int64(stmt, 3) - g.n),
                sqlite3_column_int64(stmt, 3));
    else if (n && (g.n != sqlite3_column_int64(stmt, 3) ||
                   g.last_step != sqlite3_column_int64(stmt, 4) ||
                   !same(g.last_value, store__real(stmt, 5)) ||
                   !same(g.min_value, store__real(stmt, 6)) ||
                   !same(g.max_value, store__real(stmt, 7))))
        problem(c,
                "run %s, curve %s: its summary is out of date; lx fsck --rebuild makes "
                "it again",
                sqlite3_column_text(stmt, 1), sqlite3_column_text(stmt, 2));
    lx_free(steps);
    lx_free(values);
    return LX_OK;
}

static int check_curves(check *c, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_error why = {0};
    int64_t n_runs = 0;
    int rc = store__query(
        &stmt, c->store, &why,
        "SELECT s.id, r.id, s.key, w.n, w.last_step, w.last_value, w.min_value,"
        " w.max_value FROM series s JOIN run r ON r.seq=s.run"
        " LEFT JOIN series_now w ON w.series=s.id",
        "");
    while (store__row(&rc, c->store, stmt, &why))
        rc = check_curve(c, stmt, &why);
    store__finish(c->store, stmt);
    if ((rc = finding(c, rc, &why, err)) == LX_OK)
        rc = finding(
            c, store__number(&n_runs, 0, c->store, &why, "SELECT count(*) FROM run", ""),
            &why, err);
    c->report->n_runs = (size_t)n_runs;
    return rc;
}

/* Runs without a row of their own at a glance; rows whose sums do not agree with the
 * curves. */
static int check_derived(check *c, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_error why = {0};
    int rc = store__query(&stmt, c->store, &why,
                          "SELECT r.id FROM run r LEFT JOIN run_now n ON n.run=r.seq"
                          " WHERE n.run IS NULL OR n.n_points IS NOT"
                          " coalesce((SELECT sum(w.n) FROM series s JOIN series_now w"
                          "  ON w.series=s.id WHERE s.run=r.seq), 0)",
                          "");
    while (store__row(&rc, c->store, stmt, &why))
        problem(c, "run %s: its summary is out of date; lx fsck --rebuild makes it again",
                sqlite3_column_text(stmt, 0));
    store__finish(c->store, stmt);
    return finding(c, rc, &why, err);
}

int lx_store_check(lx_check_report *out, lx_store *store,
                   void (*tell)(void *context, const char *line), void *context,
                   lx_error *err)
{
    check c = {out, store, tell, context};
    bool has_lost;
    int rc;

    *out = (lx_check_report){0};
    if ((rc = store__has_lost(&has_lost, store->path, err)) < 0)
        return rc;
    if (has_lost)
        problem(&c, "rows were lost with pages of the database: lx fsck --repair-from "
                    "REMOTE|BUNDLE looks for them");
    if ((rc = check_database(&c, err)) < 0 || (rc = check_objects(&c, err)) < 0 ||
        (rc = check_references(&c, err)) < 0 || (rc = check_curves(&c, err)) < 0)
        return rc;
    return check_derived(&c, err);
}
