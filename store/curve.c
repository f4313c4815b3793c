/*
 * Points and console text on their way into the store.
 *
 * A log call appends to memory. What waits is written by a flush: a thread of the run
 * does one 0.7 s after the first point that waits came, so that it is durable within a
 * second; masses are flushed by the caller. In the store, single points are rows of the
 * tail; a full tail is packed into a chunk, and masses become chunks at once, encoded
 * before the lock is taken.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "store/chunk.h"
#include "store/internal.h"
#include "src/base/scrub.h"

enum {
    MOST_WAITING = 1 << 18, /* points, then the caller writes them himself */
    MOST_LINE = 64 << 10,   /* of the console, then it is cut */
    MOST_TEXT = 64 << 20
};
static const double FLUSH_AFTER = 0.7, END_PATIENCE = 180; /* seconds */

/* ---- memory ----------------------------------------------------------------------- */

static int reserve(store__points *p, size_t more)
{
    if (lx_grow(&p->steps, &p->steps_capacity, p->n + more, sizeof *p->steps) < 0 ||
        lx_grow(&p->values, &p->values_capacity, p->n + more, sizeof *p->values) < 0)
        return LX_ENOMEM;
    return LX_OK;
}

static int append(store__points *p, const int64_t *steps, const double *values, size_t n)
{
    if (reserve(p, n) < 0)
        return LX_ENOMEM;
    memcpy(p->steps + p->n, steps, n * sizeof *steps);
    memcpy(p->values + p->n, values, n * sizeof *values);
    p->n += n;
    return LX_OK;
}

static store__series *find_series(lx_run *run, const char *key)
{
    store__series *s;
    for (s = run->series; s; s = s->next)
        if (strcmp(s->key, key) == 0)
            return s;
    if (!(s = lx_calloc(1, sizeof *s)) || !(s->key = lx_strdup(key))) {
        lx_free(s);
        return NULL;
    }
    s->next = run->series;
    run->series = s;
    return s;
}

/* ---- packing: in a transaction ---------------------------------------------------- */

static int insert_chunk(lx_store *s, int64_t series, int64_t first, size_t n,
                        const lx_str *data, lx_error *err)
{
    return store__do(
        s, err, "INSERT INTO chunk(series, first, n, data) VALUES(?1, ?2, ?3, ?4)",
        "iiib", series, first, (int64_t)n, (const void *)data->data, data->len);
}

static int read_tail(store__points *p, int64_t *first, lx_store *s, int64_t series,
                     lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, s, err,
                     "SELECT at, step, value FROM tail_point WHERE series=?1 ORDER BY at",
                     "i", series);
    while (store__row(&rc, s, stmt, err)) {
        int64_t step = sqlite3_column_int64(stmt, 1);
        double value = store__real(stmt, 2);
        if (!p->n)
            *first = sqlite3_column_int64(stmt, 0);
        if (append(p, &step, &value, 1) < 0)
            rc = lx_oom(err);
    }
    store__finish(s, stmt);
    return rc;
}

static void release_points(store__points *p)
{
    lx_free(p->steps);
    lx_free(p->values);
    *p = (store__points){0};
}

int store__pack_series(lx_store *s, int64_t series, lx_error *err)
{
    store__points p = {0};
    lx_str data = LX_STR_INIT;
    int64_t first = 0;
    int rc = read_tail(&p, &first, s, series, err);

    for (size_t at = 0, n; rc == LX_OK && at < p.n; at += n) {
        n = p.n - at < LX_CHUNK_POINTS ? p.n - at : LX_CHUNK_POINTS;
        lx_str_clear(&data);
        if ((rc = store__chunk_encode(&data, p.steps + at, p.values + at, n, err)) ==
            LX_OK)
            rc = insert_chunk(s, series, first + (int64_t)at, n, &data, err);
    }
    if (rc == LX_OK)
        rc = store__do(s, err, "DELETE FROM tail_point WHERE series=?1", "i", series);
    lx_str_release(&data);
    release_points(&p);
    return rc;
}

/* ---- writing: in a transaction ---------------------------------------------------- */

/* A chunk made ahead of the transaction. */
typedef struct block {
    struct block *next;
    const store__series *series;
    size_t n;
    lx_str data;
} block;

static void free_blocks(block *b)
{
    for (block *next; b; b = next) {
        next = b->next;
        lx_str_release(&b->data);
        lx_free(b);
    }
}

/* Full chunks of what is in `out`, and the rest too when the run ends. In order, behind
 * *last. */
static int encode_ahead(block ***last, const store__series *s, bool is_ending,
                        lx_error *err)
{
    int rc = LX_OK;
    for (size_t at = 0, n; rc == LX_OK && at < s->out.n; at += n) {
        block *b;
        n = s->out.n - at < LX_CHUNK_POINTS ? s->out.n - at : LX_CHUNK_POINTS;
        if (n < LX_CHUNK_POINTS && !is_ending)
            break;
        if (!(b = lx_calloc(1, sizeof *b)))
            return lx_oom(err);
        b->series = s;
        b->n = n;
        **last = b;
        *last = &b->next;
        rc = store__chunk_encode(&b->data, s->out.steps + at, s->out.values + at, n, err);
    }
    return rc;
}

static int series_id(int64_t *id, lx_run *run, const char *key, lx_error *err)
{
    lx_store *s = run->store;
    lx_str clean = LX_STR_INIT;
    int rc;

    lx_scrub_text(&clean, key, strlen(key));
    if ((rc = lx_str_check(&clean, err)) == LX_OK)
        rc = store__number(id, 0, s, err, "SELECT id FROM series WHERE run=?1 AND key=?2",
                           "it", run->seq, lx_str_text(&clean));
    if (rc == LX_OK && !*id &&
        (rc = store__do(s, err, "INSERT INTO series(run, key) VALUES(?1, ?2)", "it",
                        run->seq, lx_str_text(&clean))) == LX_OK)
        *id = sqlite3_last_insert_rowid(s->db);
    lx_str_release(&clean);
    return rc;
}

/* Where the next point goes, and how many before it are in the tail. */
static int find_end(int64_t *end, int64_t *in_tail, lx_store *s, int64_t series,
                    lx_error *err)
{
    int64_t packed;
    int rc = store__number(
        &packed, 0, s, err,
        "SELECT first+n FROM chunk WHERE series=?1 ORDER BY first DESC LIMIT 1", "i",
        series);
    if (rc == LX_OK)
        rc = store__number(end, packed, s, err,
                           "SELECT max(at)+1 FROM tail_point WHERE series=?1", "i",
                           series);
    if (rc == LX_OK)
        *in_tail = *end - packed;
    return rc;
}

static int write_tail(lx_store *s, int64_t series, int64_t end, const store__points *p,
                      size_t from, lx_error *err)
{
    int rc = LX_OK;
    for (size_t i = from; i < p->n && rc == LX_OK; i++)
        rc = store__do(s, err, "INSERT INTO tail_point VALUES(?1, ?2, ?3, ?4)", "iiid",
                       series, end + (int64_t)(i - from), p->steps[i], p->values[i]);
    return rc;
}

static int write_series(lx_run *run, const store__series *series, const block *b,
                        lx_error *err)
{
    lx_store *s = run->store;
    store__glance glance;
    int64_t id, end, in_tail;
    size_t done = 0;
    int rc;

    if ((rc = series_id(&id, run, series->key, err)) < 0 ||
        (rc = find_end(&end, &in_tail, s, id, err)) < 0)
        return rc;
    for (; b && rc == LX_OK; b = b->next) {
        if (b->series != series)
            continue;
        if (in_tail && (rc = store__pack_series(s, id, err)) < 0)
            break;
        rc = insert_chunk(s, id, end, b->n, &b->data, err);
        end += (int64_t)b->n;
        done += b->n;
        in_tail = 0;
    }
    if (rc == LX_OK && (rc = write_tail(s, id, end, &series->out, done, err)) == LX_OK &&
        in_tail + (int64_t)(series->out.n - done) >= LX_CHUNK_POINTS)
        rc = store__pack_series(s, id, err);
    glance = store__glance_of(series->out.steps, series->out.values, series->out.n);
    return rc < 0 ? rc : store__derive_points(s, run->seq, id, series->key, &glance, err);
}

static int write_text(lx_run *run, lx_error *err)
{
    int64_t at;
    int rc;
    if (!run->text_out.len)
        return LX_OK;
    rc = store__number(
        &at, 0, run->store, err,
        "SELECT at+length(data) FROM tail_text WHERE run=?1 ORDER BY at DESC LIMIT 1",
        "i", run->seq);
    return rc < 0 ? rc
                  : store__do(run->store, err, "INSERT INTO tail_text VALUES(?1, ?2, ?3)",
                              "iib", run->seq, at, (const void *)run->text_out.data,
                              run->text_out.len);
}

/* ---- the end: everything packed --------------------------------------------------- */

static int pack_all(lx_store *s, int64_t run, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          "SELECT id FROM series WHERE run=?1 AND EXISTS"
                          " (SELECT 1 FROM tail_point WHERE series=id)",
                          "i", run);
    while (store__row(&rc, s, stmt, err))
        rc = store__pack_series(s, sqlite3_column_int64(stmt, 0), err);
    store__finish(s, stmt);
    return rc;
}

/* The console as one object, before the lock. size 0 = there is none. */
static int stage_text(lx_hash *hash, int64_t *size, store__batch *batch, lx_run *run,
                      lx_error *err)
{
    lx_str all = LX_STR_INIT;
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, run->store, err,
                          "SELECT data FROM tail_text WHERE run=?1 ORDER BY at", "i",
                          run->seq);
    while (store__row(&rc, run->store, stmt, err))
        lx_str_append(&all, sqlite3_column_blob(stmt, 0),
                      (size_t)sqlite3_column_bytes(stmt, 0));
    store__finish(run->store, stmt);
    lx_str_append(&all, lx_str_text(&run->text_out), run->text_out.len);
    *size = (int64_t)all.len;
    if (rc == LX_OK && (rc = lx_str_check(&all, err)) == LX_OK && all.len)
        rc = store__batch_put(hash, batch, all.data, all.len, err);
    lx_str_release(&all);
    return rc;
}

static int write_ending(lx_run *run, const store__ending *ending, store__batch *batch,
                        const lx_hash *text, int64_t text_size, lx_error *err)
{
    const lx_artifact console = {.role = "console", .name = "console.txt", .step = -1};
    lx_store *s = run->store;
    int rc = pack_all(s, run->seq, err);

    if (rc == LX_OK && text_size && (rc = store__batch_add(batch, err)) == LX_OK &&
        (rc = store__add_artifact(s, run->seq, &console, text, text_size, true, err)) ==
            LX_OK)
        rc = store__do(s, err, "DELETE FROM tail_text WHERE run=?1", "i", run->seq);
    if (rc == LX_OK)
        rc = store__do(
            s, err, "INSERT INTO run_end VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            "idtt", run->seq, ending->ended, ending->status, ending->message);
    run->was_ended = rc == LX_OK && !sqlite3_changes(s->db);
    return rc;
}

/* By someone else meanwhile: the first end holds, and what was logged is kept all the same. */
static int tell_ended(lx_run *run, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, run->store, err,
                          "SELECT status FROM run_end WHERE run=?1", "i", run->seq);
    const char *status = store__row(&rc, run->store, stmt, err)
                             ? (const char *)sqlite3_column_text(stmt, 0)
                             : NULL;

    if (rc == LX_OK)
        rc = lx_fail(
            err, LX_EUSAGE,
            "run %s was ended by someone else meanwhile (%s); what was logged here is "
            "kept",
            run->id, status ? status : "");
    store__finish(run->store, stmt);
    return rc;
}

/* ---- flushing --------------------------------------------------------------------- */

/* Moves what waits from the log calls' side to ours. After an error there both hold a
 * part. */
static int take_points(store__series *s, lx_error *err)
{
    store__points empty = s->out;
    if (!s->in.n)
        return LX_OK;
    if (!s->out.n) {
        s->out = s->in;
        s->in = empty;
        return LX_OK;
    }
    if (append(&s->out, s->in.steps, s->in.values, s->in.n) < 0)
        return lx_oom(err);
    s->in.n = 0;
    return LX_OK;
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* How much of n bytes ends with one of these. */
static size_t up_to(const char *bytes, size_t n, bool (*ends)(char))
{
    while (n && !ends(bytes[n - 1]))
        n--;
    return n;
}

/* Do the parts before and behind `at` show what the whole shows? */
static int is_harmless_cut(bool *out, const char *line, size_t at, size_t n,
                           lx_error *err)
{
    lx_str whole = LX_STR_INIT, parts = LX_STR_INIT;
    int rc;

    lx_scrub_text(&whole, line, n);
    lx_scrub_text(&parts, line, at);
    lx_scrub_text(&parts, line + at, n - at);
    if ((rc = lx_str_check(&whole, err)) == LX_OK &&
        (rc = lx_str_check(&parts, err)) == LX_OK)
        *out = whole.len == parts.len &&
               memcmp(lx_str_text(&whole), lx_str_text(&parts), whole.len) == 0;
    lx_str_release(&whole);
    lx_str_release(&parts);
    return rc;
}

/* Of a line that has no end yet and is too long to wait for: up to a blank where no secret is cut in two, nor parted
 * from its name. One without such a place waits for its end after all. */
static int cut_line(size_t *out, const char *line, size_t n, lx_error *err)
{
    enum { TRIES = 8 };
    bool is_harmless = false;
    size_t at = n;
    int rc = LX_OK;

    for (int i = 0; i < TRIES && !is_harmless && rc == LX_OK; i++) {
        if (!(at = up_to(line, at, is_blank)))
            break;
        rc = is_harmless_cut(&is_harmless, line, at, n, err);
        if (!is_harmless)
            at--;
    }
    *out = is_harmless ? at : 0;
    return rc;
}

/* Whole lines, so that a secret is not cut in two before it is seen. */
static int take_text(lx_run *run, bool is_ending, lx_error *err)
{
    const char *text = run->text_in.data;
    size_t n = run->text_in.len;
    int rc = LX_OK;

    if (!is_ending)
        n = up_to(text, n, is_line_end);
    if (!n && run->text_in.len >= MOST_LINE)
        rc = cut_line(&n, text, run->text_in.len, err);
    if (rc < 0 || !n)
        return rc;
    lx_scrub_text(&run->text_out, run->text_in.data, n);
    if (run->text_out.failed) {
        lx_str_release(&run->text_out); /* the console is a comfort, the points are not */
        return lx_oom(err);
    }
    memmove(run->text_in.data, run->text_in.data + n, run->text_in.len - n);
    run->text_in.len -= n;
    return LX_OK;
}

static int take(store__series **list, lx_run *run, bool is_ending, lx_error *err)
{
    int rc = LX_OK;
    pthread_mutex_lock(&run->mutex);
    *list = run->series;
    for (store__series *s = *list; s && rc == LX_OK; s = s->next)
        rc = take_points(s, err);
    if (rc == LX_OK) {
        run->n_waiting = 0;
        rc = take_text(run, is_ending, err);
    }
    run->waits_since = store__monotonic();
    pthread_mutex_unlock(&run->mutex);
    return rc;
}

static int write_all(lx_run *run, const store__series *list, const block *blocks,
                     const store__ending *ending, lx_error *err)
{
    store__batch batch = store__batch_of(run->store);
    lx_hash text;
    int64_t text_size = 0;
    int rc = ending ? stage_text(&text, &text_size, &batch, run, err) : LX_OK;

    if (rc == LX_OK && (rc = store__begin(run->store, err)) == LX_OK) {
        for (const store__series *s = list; s && rc == LX_OK; s = s->next)
            if (s->out.n)
                rc = write_series(run, s, blocks, err);
        if (rc == LX_OK)
            rc = ending ? write_ending(run, ending, &batch, &text, text_size, err)
                        : write_text(run, err);
        rc = store__end(run->store, rc, err);
    }
    store__batch_release(&batch);
    return rc;
}

static int flush_once(lx_run *run, const store__ending *ending, lx_error *err)
{
    store__series *list;
    block *blocks = NULL, **last = &blocks;
    bool has_any = ending != NULL;
    int rc;

    pthread_mutex_lock(&run->store->mutex);
    rc = take(&list, run, ending != NULL, err);
    for (store__series *s = list; s && rc == LX_OK; s = s->next) {
        has_any |= s->out.n > 0;
        rc = encode_ahead(&last, s, ending != NULL, err);
    }
    if (rc == LX_OK && (has_any || run->text_out.len))
        rc = write_all(run, list, blocks, ending, err);
    for (store__series *s = list; s && rc == LX_OK; s = s->next)
        s->out.n = 0;
    if (rc == LX_OK)
        lx_str_clear(&run->text_out);
    pthread_mutex_lock(&run->mutex);
    run->has_backlog = rc < 0;
    pthread_mutex_unlock(&run->mutex);
    if (rc == LX_OK && ending && run->was_ended)
        rc = tell_ended(run, err);
    pthread_mutex_unlock(&run->store->mutex);
    free_blocks(blocks);
    return rc;
}

/* What is not written at the end is lost: another lx that writes for long is waited for. */
int store__flush(lx_run *run, const store__ending *ending, lx_error *err)
{
    const double until = store__monotonic() + END_PATIENCE;
    const struct timespec pause = {0, 20 * 1000 * 1000};
    int rc;

    while ((rc = flush_once(run, ending, err)) == LX_EBUSY && ending &&
           store__monotonic() < until)
        nanosleep(&pause, NULL);
    return rc;
}

int lx_run_flush(lx_run *run, lx_error *err)
{
    return store__flush(run, NULL, err);
}

/* ---- the thread ------------------------------------------------------------------- */

/* Never waits for the handle for good: its owner may be waiting for us to end. */
static int flush_when_free(bool *is_poisoned, lx_run *run, lx_error *err)
{
    int rc;
    if (pthread_mutex_trylock(&run->store->mutex) != 0)
        return LX_EBUSY;
    rc = store__flush(run, NULL, err);
    *is_poisoned = run->store->is_poisoned;
    pthread_mutex_unlock(&run->store->mutex);
    return rc;
}

static void wait_until(lx_run *run, double when)
{
    struct timespec t = {(time_t)when, (long)(fmod(when, 1) * 1e9)};
    pthread_cond_timedwait(&run->wake, &run->mutex, &t);
}

static bool has_waiting(const lx_run *run)
{
    return run->n_waiting || run->text_in.len || run->has_backlog;
}

static void *flusher(void *context)
{
    lx_run *run = context;
    bool is_poisoned = false;

    pthread_mutex_lock(&run->mutex);
    while (!run->is_ending && !is_poisoned) {
        double due = run->waits_since + FLUSH_AFTER;
        lx_error err = {0};
        int rc;
        if (!has_waiting(run)) {
            pthread_cond_wait(&run->wake, &run->mutex);
            continue;
        }
        if (store__monotonic() < due) {
            wait_until(run, due);
            continue;
        }
        pthread_mutex_unlock(&run->mutex);
        rc = flush_when_free(&is_poisoned, run, &err);
        pthread_mutex_lock(&run->mutex);
        if (rc == LX_EBUSY) {
            wait_until(run, store__monotonic() + 0.002);
        } else if (rc < 0) { /* told by the next call; tried again in a while */
            run->failure = err;
            run->waits_since = store__monotonic();
        }
    }
    pthread_mutex_unlock(&run->mutex);
    return NULL;
}

/* With all signals blocked: they are the main thread's to answer. */
static int start_flusher(lx_run *run, lx_error *err)
{
    sigset_t all, before;
    int failed;
    if (run->has_flusher)
        return LX_OK;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&run->flusher, NULL, flusher, run);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    run->has_flusher = !failed;
    return failed ? lx_fail_errno(err, failed, "starting the thread that writes curves")
                  : LX_OK;
}

void store__stop_flusher(lx_run *run)
{
    if (!run->has_flusher)
        return;
    pthread_mutex_lock(&run->mutex);
    run->is_ending = true;
    pthread_cond_signal(&run->wake);
    pthread_mutex_unlock(&run->mutex);
    pthread_join(run->flusher, NULL);
    run->has_flusher = false;
}

/* ---- logging ---------------------------------------------------------------------- */

/* run->mutex is held; something was added. Tells what the flusher met, once. */
static int end_call(lx_run *run, bool was_waiting, lx_error *err)
{
    int rc = run->failure.code;
    lx_fail_as(err, rc, &run->failure);
    run->failure.code = 0;
    if (!was_waiting) {
        run->waits_since = store__monotonic();
        pthread_cond_signal(&run->wake);
    }
    return rc < 0 ? rc : start_flusher(run, err);
}

int lx_run_log_many(lx_run *run, const char *key, const int64_t *steps,
                    const double *values, size_t n, lx_error *err)
{
    bool is_much = false;
    int rc = LX_OK;

    for (size_t at = 0, part; at < n && rc == LX_OK; at += part) {
        store__series *s;
        part = n - at < MOST_WAITING ? n - at : MOST_WAITING;
        pthread_mutex_lock(&run->mutex);
        if (!(s = find_series(run, key)) ||
            append(&s->in, steps + at, values + at, part) < 0) {
            rc = lx_oom(err);
        } else {
            bool was_waiting = has_waiting(run);
            run->n_waiting += part;
            is_much = run->n_waiting >= MOST_WAITING;
            rc = end_call(run, was_waiting, err);
        }
        pthread_mutex_unlock(&run->mutex);
        if (rc == LX_OK && is_much)
            rc = store__flush(run, NULL, err);
    }
    return rc;
}

int lx_run_log(lx_run *run, const char *key, int64_t step, double value, lx_error *err)
{
    return lx_run_log_many(run, key, &step, &value, 1, err);
}

int lx_run_console(lx_run *run, const void *bytes, size_t n, lx_error *err)
{
    static const char cut[] = "\n[lx keeps no more than 64 MiB of a console]\n";
    int rc = LX_OK;

    pthread_mutex_lock(&run->mutex);
    if (n && run->text_total < MOST_TEXT) {
        bool was_waiting = has_waiting(run), is_last = n > MOST_TEXT - run->text_total;
        size_t before = run->text_in.len;
        if (is_last) {
            size_t room = MOST_TEXT - run->text_total,
                   words = up_to(bytes, room, is_blank);
            n = words ? words : room; /* no half of a secret at the end */
        }
        lx_str_append(&run->text_in, bytes, n);
        if (is_last)
            lx_str_puts(&run->text_in, cut);
        if (run->text_in.failed) {
            run->text_in.failed = false;
            run->text_in.len = before;
            rc = lx_oom(err);
        } else {
            run->text_total += n;
            rc = end_call(run, was_waiting, err);
        }
    }
    pthread_mutex_unlock(&run->mutex);
    return rc;
}
