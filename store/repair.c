/* Objects, curves and runs, taken again from where they were sent before. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "store/chunk.h"
#include "store/internal.h"
#include "store/repair.h"

enum { MOST_POINTS = 1 << 28 }; /* of one curve: a damaged row may say anything */

/* An object that is asked for. */
typedef struct wanted {
    lx_hash hash;
    char what[360]; /* "run 3f2a...: its diff", or "" */
    bool is_missing, is_mended;
} wanted;

typedef struct repair {
    lx_repair_report *report;
    lx_store *store;
    const lx_repair_source *source;
    lx_repair_tell tell;
    void *context;
    wanted *wanted;
    size_t n_wanted, capacity;
} repair;

static void say(repair *r, const char *fmt, ...) LX_PRINTF(2, 3);

static void say(repair *r, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    r->tell(r->context, line);
}

/* ---- objects ----------------------------------------------------------------------- */

static int want(repair *r, const lx_hash *hash, bool is_missing, const char *run,
                const char *what, lx_error *err)
{
    wanted *w;

    for (size_t i = 0; i < r->n_wanted; i++)
        if (lx_hash_equal(&r->wanted[i].hash, hash))
            return LX_OK;
    if (lx_grow(&r->wanted, &r->capacity, r->n_wanted + 1, sizeof *r->wanted) < 0)
        return lx_oom(err);
    w = &r->wanted[r->n_wanted++];
    *w = (wanted){.hash = *hash, .is_missing = is_missing};
    if (run)
        snprintf(w->what, sizeof w->what, " (run %.16s: %.300s)", run, what);
    return LX_OK;
}

static int want_damaged(repair *r, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_str bytes = LX_STR_INIT;
    int rc = store__query(&stmt, r->store, err, "SELECT hash FROM object", "");

    while (store__row(&rc, r->store, stmt, err)) {
        lx_error why = {0};
        lx_hash hash;
        if (!store__hash(&hash, stmt, 0))
            continue; /* of no use to anyone; fsck names it */
        rc = lx_object_get(&bytes, r->store, &hash, &why);
        if (store__is_damage(rc))
            rc = want(r, &hash, false, NULL, NULL, err);
        else
            lx_fail_as(err, rc, &why);
    }
    store__finish(r->store, stmt);
    lx_str_release(&bytes);
    return rc;
}

static int want_missing(void *context, const lx_hash *hash, const char *run,
                        const char *what, lx_error *err)
{
    return want(context, hash, true, run, what, err);
}

/* Who needs a damaged one, for what is told of it. */
static int name_wanted(repair *r, wanted *w, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc;

    if (*w->what)
        return LX_OK;
    rc = store__query(
        &stmt, r->store, err,
        "SELECT id, CASE ?1 WHEN spec THEN 'spec' WHEN command_line THEN 'command_line'"
        " WHEN flags_given THEN 'flags_given' WHEN flags THEN 'flags'"
        " WHEN dataset THEN 'dataset' WHEN base_model THEN 'base_model'"
        " WHEN environment THEN 'environment' WHEN git THEN 'git' ELSE 'diff' END"
        " FROM run WHERE ?1 IN (spec, command_line, flags_given, flags, dataset,"
        " base_model, environment, git, diff)"
        " UNION ALL SELECT id, artifact.name FROM artifact JOIN run ON"
        " run.seq=artifact.run"
        " WHERE object=?1 LIMIT 1",
        "h", &w->hash);
    if (store__row(&rc, r->store, stmt, err))
        snprintf(w->what, sizeof w->what, " (run %.16s: its %.300s)",
                 sqlite3_column_text(stmt, 0), sqlite3_column_text(stmt, 1));
    store__finish(r->store, stmt);
    return rc;
}

/* From the record that was asked for last. */
static int mend_from(repair *r, wanted *w, lx_error *err)
{
    char hex[LX_HASH_HEX + 1];
    const void *data;
    lx_error why = {0};
    lx_hash got;
    size_t n;
    int rc = r->source->fetch(r->source->context, &data, &n, &w->hash, &why);

    if (store__is_damage(rc))
        return LX_OK;
    if (rc < 0)
        return lx_fail_as(err, rc, &why);
    got = lx_sha256_of(data, n);
    if (!lx_hash_equal(&got, &w->hash))
        return LX_OK;
    if ((rc = store__object_mend(r->store, &w->hash, data, n, err)) < 0 ||
        (rc = name_wanted(r, w, err)) < 0)
        return rc;
    lx_hash_hex(hex, &w->hash);
    say(r, "repaired: object %s%s", hex, w->what);
    w->is_mended = true;
    r->report->n_objects++;
    return LX_OK;
}

/* Calls `use` with every record of the source that can be read. */
static int each_record(repair *r,
                       int (*use)(repair *r, const cJSON *record, lx_error *err),
                       lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < r->source->n && rc == LX_OK; i++) {
        const cJSON *record;
        const char *id;
        lx_error why = {0};
        rc = r->source->record(&record, r->source->context, i, &why);
        if (rc == LX_OK)
            rc = lx_transfer_check(&id, record, &why);
        if (rc == LX_OK) {
            rc = use(r, record, err);
        } else if (store__is_damage(rc)) {
            say(r, "%s", why.text);
            rc = LX_OK;
        } else {
            lx_fail_as(err, rc, &why);
        }
    }
    return rc;
}

static int mend_wanted(repair *r, const cJSON *record, lx_error *err)
{
    int rc = LX_OK;

    (void)record;
    for (size_t k = 0; k < r->n_wanted && rc == LX_OK; k++)
        if (!r->wanted[k].is_mended)
            rc = mend_from(r, &r->wanted[k], err);
    return rc;
}

static size_t count_mended(const repair *r)
{
    size_t n = 0;
    for (size_t k = 0; k < r->n_wanted; k++)
        n += r->wanted[k].is_mended;
    return n;
}

/* A dataset that is whole again names folders, and these captions: as long as anything was
 * mended there may be more to ask for. */
static int mend_objects(repair *r, lx_error *err)
{
    size_t before;
    int rc = want_damaged(r, err);

    do {
        before = count_mended(r);
        if (rc < 0 || (rc = store__each_missing(r->store, want_missing, r, err)) < 0 ||
            count_mended(r) == r->n_wanted)
            return rc;
        rc = each_record(r, mend_wanted, err);
    } while (rc == LX_OK && count_mended(r) > before);
    for (size_t k = 0; k < r->n_wanted && rc == LX_OK; k++) {
        char hex[LX_HASH_HEX + 1];
        if (r->wanted[k].is_mended)
            continue;
        rc = name_wanted(r, &r->wanted[k], err);
        lx_hash_hex(hex, &r->wanted[k].hash);
        say(r, "not repaired: object %s%s is %s, and %s does not hold it", hex,
            r->wanted[k].what, r->wanted[k].is_missing ? "missing" : "damaged",
            r->source->name);
        r->report->n_left++;
    }
    return rc;
}

/* ---- curves ------------------------------------------------------------------------ */

/* Points of a curve from both sides. */
typedef struct mending {
    int64_t run, series; /* rows; series 0: there is none yet */
    char id[17];
    const char *key;
    int64_t *steps; /* of `n` points */
    double *values;
    bool *is_here;
    size_t n, n_missing;
} mending;

static void release_mending(mending *m)
{
    lx_free(m->steps);
    lx_free(m->values);
    lx_free(m->is_here);
}

static int make_room(mending *m, size_t n, lx_error *err)
{
    if (n > MOST_POINTS)
        return lx_fail(err, LX_ELIMIT, "a curve of %zu points", n);
    m->n = n;
    m->steps = lx_calloc(n + 1, sizeof *m->steps);
    m->values = lx_calloc(n + 1, sizeof *m->values);
    m->is_here = lx_calloc(n + 1, sizeof *m->is_here);
    return m->steps && m->values && m->is_here ? LX_OK : lx_oom(err);
}

/* As many points as anything here speaks of, sound or not; never less than 0. */
static int count_points(int64_t *n, repair *r, int64_t series, lx_error *err)
{
    static const char *const counts[] = {
        "SELECT max(first+n) FROM chunk WHERE series=?1",
        "SELECT max(at)+1 FROM tail_point WHERE series=?1",
        "SELECT n FROM series_now WHERE series=?1"};
    int rc = LX_OK;

    *n = 0;
    for (size_t i = 0; i < sizeof counts / sizeof *counts && rc == LX_OK; i++) {
        int64_t count;
        rc = store__number(&count, 0, r->store, err, counts[i], "i", series);
        *n = count > *n ? count : *n;
    }
    return rc;
}

/* A damaged chunk is kept aside and its points are missing. */
static int take_chunk(mending *m, repair *r, sqlite3_stmt *stmt, lx_error *err)
{
    int64_t first = sqlite3_column_int64(stmt, 0), count = sqlite3_column_int64(stmt, 1);
    const void *data = sqlite3_column_blob(stmt, 2);
    size_t bytes = (size_t)sqlite3_column_bytes(stmt, 2), n = 0;
    lx_error why = {0};
    char name[80];
    int rc;

    if (first < 0 || count < 0 || first > (int64_t)m->n || count > (int64_t)m->n - first)
        rc = LX_EFORMAT;
    else
        rc = store__chunk_decode(m->steps + first, m->values + first, &n, (size_t)count,
                                 data, bytes, &why);
    if (rc == LX_OK && n == (size_t)count) {
        memset(m->is_here + first, true, n);
        return LX_OK;
    }
    if (rc < 0 && !store__is_damage(rc))
        return lx_fail_as(err, rc, &why);
    snprintf(name, sizeof name, "chunk-%s-%lld-%lld", m->id, (long long)m->series,
             (long long)first);
    return store__keep_aside(r->store, name, data ? data : "", bytes, err);
}

/* What is sound here. */
static int take_ours(mending *m, repair *r, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, r->store, err,
                     "SELECT first, n, data FROM chunk WHERE series=?1", "i", m->series);

    while (store__row(&rc, r->store, stmt, err))
        rc = take_chunk(m, r, stmt, err);
    store__finish(r->store, stmt);
    if (rc < 0 ||
        (rc = store__query(&stmt, r->store, err,
                           "SELECT at, step, value FROM tail_point WHERE series=?1", "i",
                           m->series)) < 0)
        return rc;
    while (store__row(&rc, r->store, stmt, err)) {
        int64_t at = sqlite3_column_int64(stmt, 0);
        if (at < 0 || at >= (int64_t)m->n)
            continue;
        m->steps[at] = sqlite3_column_int64(stmt, 1);
        m->values[at] = store__real(stmt, 2);
        m->is_here[at] = true;
    }
    store__finish(r->store, stmt);
    for (size_t i = 0; i < m->n && rc == LX_OK; i++)
        m->n_missing += !m->is_here[i];
    return rc;
}

static uint64_t get_le(const unsigned char *p)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

/* What is missing, from n points as they travel; where both have a point they agree. */
static int take_theirs(mending *m, const unsigned char *data, size_t n, lx_error *err)
{
    for (size_t i = 0; i < n && i < m->n; i++) {
        uint64_t bits = get_le(data + 8 * (n + i));
        int64_t step = (int64_t)get_le(data + 8 * i);
        double value;
        memcpy(&value, &bits, 8);
        if (!m->is_here[i]) {
            m->steps[i] = step;
            m->values[i] = value;
            m->is_here[i] = true;
            m->n_missing--;
        } else if (step != m->steps[i] ||
                   (value != m->values[i] &&
                    (value == value || m->values[i] == m->values[i]))) {
            return lx_fail(err, LX_EMISMATCH, "point %zu is another one there", i + 1);
        }
    }
    return LX_OK;
}

static int write_chunks(repair *r, const mending *m, lx_error *err)
{
    lx_str data = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t at = 0; at < m->n && rc == LX_OK; at += LX_CHUNK_POINTS) {
        size_t n = m->n - at < LX_CHUNK_POINTS ? m->n - at : LX_CHUNK_POINTS;
        lx_str_clear(&data);
        if ((rc = store__chunk_encode(&data, m->steps + at, m->values + at, n, err)) ==
            LX_OK)
            rc = store__do(r->store, err, "INSERT INTO chunk VALUES(?1, ?2, ?3, ?4)",
                           "iiib", m->series, (int64_t)at, (int64_t)n,
                           (const void *)data.data, data.len);
    }
    lx_str_release(&data);
    return rc;
}

/* All points anew, in one transaction, unless some came since they were counted. */
static int write_curve(repair *r, mending *m, lx_error *err)
{
    int64_t n_now;
    int rc = store__begin(r->store, err);

    if (rc < 0)
        return rc;
    if ((rc = count_points(&n_now, r, m->series, err)) == LX_OK && n_now > (int64_t)m->n)
        rc =
            lx_fail(err, LX_EBUSY, "run %s, curve %s: is being recorded; try again later",
                    m->id, m->key);
    if (rc == LX_OK && !m->series &&
        (rc = store__do(r->store, err, "INSERT INTO series(run, key) VALUES(?1, ?2)",
                        "it", m->run, m->key)) == LX_OK)
        m->series = sqlite3_last_insert_rowid(r->store->db);
    if (rc == LX_OK &&
        (rc = store__do(r->store, err, "DELETE FROM chunk WHERE series=?1", "i",
                        m->series)) == LX_OK &&
        (rc = store__do(r->store, err, "DELETE FROM tail_point WHERE series=?1", "i",
                        m->series)) == LX_OK)
        rc = write_chunks(r, m, err);
    return store__end(r->store, rc, err);
}

/* The points of a curve of the record that was asked for last; borrowed from the source. */
static int fetch_points(const unsigned char **out, size_t *n, repair *r,
                        const cJSON *curve, lx_error *err)
{
    const void *data;
    lx_hash hash;
    size_t bytes;
    int rc;

    *n = (size_t)lx_json_integer(curve, "n", 0);
    lx_hash_from_hex(&hash, lx_json_text(curve, "points"));
    if ((rc = r->source->fetch(r->source->context, &data, &bytes, &hash, err)) < 0)
        return rc;
    if (bytes / 16 != *n || bytes % 16)
        return lx_fail(err, LX_EFORMAT, "%zu bytes for %zu points", bytes, *n);
    *out = data;
    return LX_OK;
}

static int mend_curve(repair *r, mending *m, const cJSON *curve, bool may_grow,
                      lx_error *err)
{
    const unsigned char *data = NULL;
    lx_error why = {0};
    int64_t ours;
    size_t n = (size_t)lx_json_integer(curve, "n", 0), missing;
    int rc = count_points(&ours, r, m->series, err);

    if (rc < 0 ||
        (rc = make_room(m, may_grow && n > (size_t)ours ? n : (size_t)ours, err)) < 0 ||
        (rc = take_ours(m, r, err)) < 0 || !(missing = m->n_missing))
        return rc;
    if ((rc = fetch_points(&data, &n, r, curve, &why)) == LX_OK)
        rc = take_theirs(m, data, n, &why);
    if (store__is_damage(rc)) {
        say(r, "run %s, curve %s: %s cannot be used: %s", m->id, m->key, r->source->name,
            why.text);
        return LX_OK;
    }
    if (rc < 0)
        return lx_fail_as(err, rc, &why);
    if (m->n_missing)
        return LX_OK;
    if ((rc = write_curve(r, m, err)) < 0)
        return rc;
    say(r, "repaired: run %s, curve %s: %zu point%s", m->id, m->key, missing, lx_plural(missing));
    r->report->n_curves++;
    return LX_OK;
}

static int find_run(int64_t *seq, repair *r, const cJSON *record, lx_error *err)
{
    return store__number(seq, 0, r->store, err, "SELECT seq FROM run WHERE id=?1", "t",
                         lx_json_text(record, "id"));
}

/* may_grow: points that the source has and this store does not are wanted, too. */
static int mend_curves_of(repair *r, const cJSON *record, bool may_grow, lx_error *err)
{
    const cJSON *curve;
    int64_t seq;
    int rc = find_run(&seq, r, record, err);

    if (rc < 0 || !seq)
        return rc;
    cJSON_ArrayForEach(curve, cJSON_GetObjectItemCaseSensitive(record, "curves"))
    {
        mending m = {.run = seq, .key = lx_json_text(curve, "key")};
        lx_error why = {0};
        snprintf(m.id, sizeof m.id, "%s", lx_json_text(record, "id"));
        if ((rc = store__number(&m.series, 0, r->store, &why,
                                "SELECT id FROM series WHERE run=?1 AND key=?2", "it",
                                seq, m.key)) == LX_OK &&
            (m.series || may_grow))
            rc = mend_curve(r, &m, curve, may_grow, &why);
        release_mending(&m);
        if (store__is_damage(rc)) {
            say(r, "run %s, curve %s: %s", m.id, m.key, why.text);
        } else if (rc < 0) {
            return lx_fail_as(err, rc, &why);
        }
    }
    return LX_OK;
}

static int mend_curves(repair *r, const cJSON *record, lx_error *err)
{
    return mend_curves_of(r, record, false, err);
}

/* Of the curves, those that still cannot be read. *n: how many there are. */
static int count_broken(size_t *n, repair *r, bool tells, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, r->store, err,
                          "SELECT s.id, r.id, s.key, w.n FROM series s LEFT JOIN"
                          " series_now w ON w.series=s.id JOIN run r ON"
                          " r.seq=s.run",
                          "");
    *n = 0;
    while (store__row(&rc, r->store, stmt, err)) {
        int64_t *steps;
        double *values;
        lx_error why = {0};
        size_t points;
        rc = store__read_series(&steps, &values, &points, r->store,
                                sqlite3_column_int64(stmt, 0), 0, &why);
        if (rc == LX_OK) {
            lx_free(steps);
            lx_free(values);
            if ((int64_t)points < sqlite3_column_int64(stmt, 3))
                rc =
                    lx_fail(&why, LX_EFORMAT, "%lld points are gone",
                            (long long)(sqlite3_column_int64(stmt, 3) - (int64_t)points));
        }
        if (store__is_damage(rc)) {
            rc = LX_OK;
            ++*n;
            if (tells)
                say(r,
                    "not repaired: run %s, curve %s: %s, and %s cannot give its points",
                    sqlite3_column_text(stmt, 1), sqlite3_column_text(stmt, 2), why.text,
                    r->source->name);
        } else {
            lx_fail_as(err, rc, &why);
        }
    }
    store__finish(r->store, stmt);
    return rc;
}

/* ---- after a salvage --------------------------------------------------------------- */

/* A run whose own row is there, but not how it ended: lx_transfer_apply takes the end of
 * another machine's runs only. */
static int bring_end(repair *r, int64_t seq, const cJSON *record, lx_error *err)
{
    const cJSON *end = cJSON_GetObjectItemCaseSensitive(record, "end");
    int64_t is_here;
    int rc = store__number(&is_here, 0, r->store, err,
                           "SELECT 1 FROM run_end WHERE run=?1", "i", seq);

    if (rc < 0 || is_here || !end || (rc = store__begin(r->store, err)) < 0)
        return rc;
    rc = store__do(r->store, err, "INSERT INTO run_end VALUES(?1, ?2, ?3, ?4)", "idtt",
                   seq, lx_json_number(end, "ended", 0), lx_json_text(end, "status"),
                   lx_json_text(end, "message"));
    say(r, "repaired: run %s: its end", lx_json_text(record, "id"));
    return store__end(r->store, rc, err);
}

static int bring_run(repair *r, const cJSON *record, lx_error *err)
{
    const char *id = lx_json_text(record, "id");
    lx_error why = {0};
    lx_arrival how;
    int64_t seq;
    int rc = lx_transfer_apply(&how, &seq, r->store, record, r->source->fetch,
                               r->source->context, &why);

    if (store__is_damage(rc)) {
        say(r, "not repaired: %s", why.text);
        r->report->n_left++;
        return LX_OK;
    }
    if (rc < 0)
        return lx_fail_as(err, rc, &why);
    if (how == LX_ARRIVED_NEW) {
        say(r, "repaired: run %s is back", id);
        r->report->n_runs++;
        return LX_OK;
    }
    if (how == LX_ARRIVED_EXTENDED)
        say(r, "repaired: run %s: remarks or files", id);
    if ((rc = bring_end(r, seq, record, err)) < 0)
        return rc;
    return mend_curves_of(r, record, true, err);
}

static int end_salvage(lx_store *store, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;

    store__lost_path(&path, store->path);
    if ((rc = lx_str_check(&path, err)) == LX_OK && lx_io_get()->unlink(path.data) != 0)
        rc = lx_fail_errno(err, errno, "%s", path.data);
    lx_str_release(&path);
    return rc;
}

int lx_store_repair(lx_repair_report *out, lx_store *store,
                    const lx_repair_source *source, lx_repair_tell tell, void *context,
                    lx_error *err)
{
    repair r = {.report = out,
                .store = store,
                .source = source,
                .tell = tell,
                .context = context};
    bool has_lost;
    size_t n_broken;
    int rc;

    *out = (lx_repair_report){0};
    if ((rc = store__has_lost(&has_lost, store->path, err)) < 0)
        return rc;
    if (has_lost)
        rc = each_record(&r, bring_run, err);
    if (rc == LX_OK && (rc = mend_objects(&r, err)) == LX_OK &&
        (rc = count_broken(&n_broken, &r, false, err)) == LX_OK && n_broken &&
        (rc = each_record(&r, mend_curves, err)) == LX_OK &&
        (rc = count_broken(&n_broken, &r, true, err)) == LX_OK)
        out->n_left += n_broken;
    if (rc == LX_OK && has_lost)
        rc = end_salvage(store, err);
    lx_free(r.wanted);
    return rc;
}
