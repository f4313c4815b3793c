/* A run being recorded: begin, artifacts, end. Its points are in curve.c. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/internal.h"
#include "store/transfer.h"
#include "src/base/scrub.h"

/* ---- memory ----------------------------------------------------------------------- */

static int new_run(lx_run **out, lx_store *store, lx_error *err)
{
    lx_run *run = lx_calloc(1, sizeof *run);
    pthread_condattr_t monotonic;

    if (!run)
        return lx_oom(err);
    run->store = store;
    if (pthread_condattr_init(&monotonic) == 0) {
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        run->has_mutex = pthread_mutex_init(&run->mutex, NULL) == 0 &&
                         pthread_cond_init(&run->wake, &monotonic) == 0;
        pthread_condattr_destroy(&monotonic);
    }
    if (!run->has_mutex) {
        lx_free(run);
        return lx_oom(err);
    }
    *out = run;
    return LX_OK;
}

static void free_points(store__points *p)
{
    lx_free(p->steps);
    lx_free(p->values);
}

void lx_run_abandon(lx_run *run)
{
    if (!run)
        return;
    store__stop_flusher(run);
    for (store__series *s = run->series, *next; s; s = next) {
        next = s->next;
        free_points(&s->in);
        free_points(&s->out);
        lx_free(s->key);
        lx_free(s);
    }
    lx_str_release(&run->text_in);
    lx_str_release(&run->text_out);
    pthread_cond_destroy(&run->wake);
    pthread_mutex_destroy(&run->mutex);
    lx_free(run);
}

/* ---- what can leave again ----------------------------------------------------------- */

static int check_word(const char *what, const char *word, lx_error *err)
{
    if (lx_transfer_is_word(word))
        return LX_OK;
    return lx_fail(err, LX_EUSAGE,
                   "%s \"%.40s\": it is 1 to 32 lower-case letters, digits, _ and -",
                   what, word ? word : "");
}

static int check_length(const char *what, const char *text, size_t most, lx_error *err)
{
    return !text || strlen(text) <= most
               ? LX_OK
               : lx_fail(err, LX_EUSAGE, "%s \"%.40s...\" has more than %zu bytes", what,
                         text, most);
}

static int check_start(const lx_run_start *start, lx_error *err)
{
    int rc;

    if ((rc = check_word("the kind", start->kind, err)) < 0 ||
        (rc = check_length("the name", start->name, LX_TRANSFER_NAME, err)) < 0)
        return rc;
    return check_length("the origin", start->origin, LX_TRANSFER_NAME, err);
}

static int check_artifact(const lx_artifact *a, lx_error *err)
{
    int rc;

    if ((rc = check_word("the role", a->role, err)) < 0 ||
        (rc = check_length("the file's name", a->name, LX_TRANSFER_NAME, err)) < 0)
        return rc;
    return check_length("the file's path", a->path, LX_TRANSFER_NAME, err);
}

/* ---- begin ------------------------------------------------------------------------ */

static int new_id(char id[17], lx_error *err)
{
    unsigned char bytes[8];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return lx_fail_errno(err, errno, "drawing a run id");
    for (int i = 0; i < 8; i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    return LX_OK;
}

/* A start whose texts are scrubbed; what a dataset consists of is its identity, and stays. */
typedef struct clean_start {
    lx_run_start start;
    lx_str texts[7];
} clean_start;

static int make_clean(clean_start *c, const lx_run_start *start, lx_error *err)
{
    const char **fields[] = {
        &c->start.name, &c->start.command_line, &c->start.flags_given, &c->start.flags,
        &c->start.spec, &c->start.base_model,   &c->start.environment};
    int rc = LX_OK;

    *c = (clean_start){.start = *start};
    for (size_t i = 0; i < sizeof fields / sizeof *fields && rc == LX_OK; i++) {
        if (!*fields[i])
            continue;
        lx_scrub_text(&c->texts[i], *fields[i], strlen(*fields[i]));
        rc = lx_str_check(&c->texts[i], err);
        *fields[i] = lx_str_text(&c->texts[i]);
    }
    return rc;
}

static void release_clean(clean_start *c)
{
    for (size_t i = 0; i < sizeof c->texts / sizeof *c->texts; i++)
        lx_str_release(&c->texts[i]);
}

/* The texts of a run that become objects, in the order of the columns. */
enum {
    SPEC,
    COMMAND_LINE,
    FLAGS_GIVEN,
    FLAGS,
    DATASET,
    BASE_MODEL,
    ENVIRONMENT,
    GIT,
    DIFF,
    N_TEXTS
};

typedef struct texts {
    lx_hash hashes[N_TEXTS];
    const lx_hash *present[N_TEXTS]; /* NULL = none */
} texts;

/* Made before the lock is taken. */
static int stage_texts(texts *t, store__batch *batch, const lx_run_start *start,
                       lx_error *err)
{
    char *environment = NULL, *git = NULL, *diff = NULL;
    int rc = LX_OK;

    *t = (texts){0};
    if (!start->environment && !start->is_historic &&
        !(environment = store__environment()))
        return lx_oom(err);
    if (start->work_dir)
        rc = store__git_state(&git, &diff, batch, start->work_dir, err);
    const char *const given[N_TEXTS] = {start->spec,
                                        start->command_line,
                                        start->flags_given,
                                        start->flags,
                                        start->dataset,
                                        start->base_model,
                                        start->environment ? start->environment
                                                           : environment,
                                        git,
                                        diff};
    for (int i = 0; i < N_TEXTS && rc == LX_OK; i++) {
        if (!given[i])
            continue;
        rc = store__batch_put(&t->hashes[i], batch, given[i], strlen(given[i]), err);
        t->present[i] = &t->hashes[i];
    }
    lx_free(environment);
    lx_free(git);
    lx_free(diff);
    return rc;
}

static int check_origin(lx_store *s, const char *origin, lx_error *err)
{
    int64_t seq = 0;
    int rc = origin ? store__number(&seq, 0, s, err,
                                    "SELECT seq FROM run WHERE origin=?1", "t", origin)
                    : LX_OK;
    if (rc == LX_OK && seq)
        return lx_fail(err, LX_EEXISTS, "%s: is here already", origin);
    return rc;
}

/* Goes on while the machine sleeps, and nobody sets it. */
static double unset_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Of an import it may be any number. */
static bool has_time(double seconds)
{
    return seconds > 0 && lx_transfer_is_time(seconds);
}

static int insert_run(lx_run *run, const lx_run_start *start, const texts *t,
                      lx_error *err)
{
    lx_store *s = run->store;
    store__process process = {0};
    char seed[24];
    double now = store__now();
    int rc;

    if (!start->is_historic)
        process = store__process_of(start->pid);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)start->seed);
    rc = store__do(
        s, err,
        "INSERT INTO run(id, kind, name, origin, parent, started, recorded, seed, spec,"
        " command_line, flags_given, flags, dataset, base_model, environment, git,"
        " diff, boot_id, pid, pid_start) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
        " ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
        "tttttddthhhhhhhhhtii", run->id, start->kind, start->name, start->origin,
        start->parent, has_time(start->started) ? start->started : now, now,
        start->has_seed ? seed : NULL, t->present[SPEC], t->present[COMMAND_LINE],
        t->present[FLAGS_GIVEN], t->present[FLAGS], t->present[DATASET],
        t->present[BASE_MODEL], t->present[ENVIRONMENT], t->present[GIT],
        t->present[DIFF], start->is_historic ? NULL : process.boot_id, process.pid,
        process.start);
    if (rc == LX_OK)
        run->seq = sqlite3_last_insert_rowid(s->db);
    if (rc == LX_OK && !has_time(start->started) && !start->is_historic) {
        run->started = now;
        run->started_clock = unset_clock();
    }
    return rc;
}

static int begin_recorded(lx_run *run, const lx_run_start *start, store__batch *batch,
                          const texts *t, lx_error *err)
{
    lx_store *s = run->store;
    int rc = store__begin(s, err);
    if (rc < 0)
        return rc;
    if ((rc = check_origin(s, start->origin, err)) == LX_OK &&
        (rc = store__batch_add(batch, err)) == LX_OK &&
        (rc = insert_run(run, start, t, err)) == LX_OK)
        rc = store__derive_run(s, run->seq, start->name,
                               start->flags ? start->flags : start->flags_given, err);
    return store__end(s, rc, err);
}

int lx_run_begin(lx_run **out, lx_store *store, const lx_run_start *given, lx_error *err)
{
    store__batch batch = store__batch_of(store);
    clean_start clean;
    const lx_run_start *start = &clean.start;
    lx_run *run = NULL;
    texts t;
    int rc;

    *out = NULL;
    if ((rc = check_start(given, err)) < 0)
        return rc;
    if ((rc = make_clean(&clean, given, err)) < 0 ||
        (rc = check_origin(store, start->origin, err)) < 0 ||
        (rc = new_run(&run, store, err)) < 0 || (rc = new_id(run->id, err)) < 0 ||
        (rc = stage_texts(&t, &batch, start, err)) < 0 ||
        (rc = begin_recorded(run, start, &batch, &t, err)) < 0) {
        lx_run_abandon(run);
        run = NULL;
    } else if (t.present[SPEC]) {
        lx_hash_hex(run->spec_hash, t.present[SPEC]);
    }
    store__batch_release(&batch);
    release_clean(&clean);
    *out = run;
    return rc;
}

int lx_run_open(lx_run **out, lx_store *store, int64_t seq, lx_error *err)
{
    lx_run *run = NULL;
    sqlite3_stmt *stmt;
    lx_hash spec;
    int rc;

    *out = NULL;
    if ((rc = new_run(&run, store, err)) < 0)
        return rc;
    run->seq = seq;
    rc = store__query(
        &stmt, store, err,
        "SELECT id, spec, status FROM run LEFT JOIN run_end ON run=seq WHERE seq=?1", "i",
        seq);
    if (store__row(&rc, store, stmt, err)) {
        const char *id = (const char *)sqlite3_column_text(stmt, 0);
        snprintf(run->id, sizeof run->id, "%s", id ? id : "");
        if (sqlite3_column_type(stmt, 2) != SQLITE_NULL)
            rc = lx_fail(err, LX_EUSAGE, "run %s has ended (%s)", run->id,
                         (const char *)sqlite3_column_text(stmt, 2));
        if (store__hash(&spec, stmt, 1))
            lx_hash_hex(run->spec_hash, &spec);
    } else if (rc == LX_OK) {
        rc = lx_fail(err, LX_ENOTFOUND, "%s: no such run", store->path);
    }
    store__finish(store, stmt);
    if (rc < 0)
        lx_run_abandon(run);
    else
        *out = run;
    return rc;
}

int64_t lx_run_seq(const lx_run *run)
{
    return run->seq;
}

const char *lx_run_id(const lx_run *run)
{
    return run->id;
}

const char *lx_run_spec_hash(const lx_run *run)
{
    return run->spec_hash;
}

/* ---- artifacts -------------------------------------------------------------------- */

int store__add_artifact(lx_store *s, int64_t run, const lx_artifact *a,
                        const lx_hash *hash, int64_t size, bool is_kept, lx_error *err)
{
    lx_str name = LX_STR_INIT, path = LX_STR_INIT;
    int rc;

    lx_scrub_text(&name, a->name, strlen(a->name));
    if (a->path)
        lx_scrub_text(&path, a->path, strlen(a->path));
    if ((rc = lx_str_check(&name, err)) == LX_OK &&
        (rc = lx_str_check(&path, err)) == LX_OK)
        rc = store__do(
            s, err,
            "INSERT INTO artifact(run, role, name, step, at, object, size, is_kept, path,"
            " tensor_hash)"
            " VALUES(?1, ?2, ?3, iif(?4<0, NULL, ?4), ?5, ?6, ?7, ?8, ?9, ?10)",
            "ittidhiith", run, a->role, lx_str_text(&name), a->step,
            a->at > 0 ? a->at : store__now(), hash, size, (int64_t)is_kept,
            a->path ? lx_str_text(&path) : NULL, a->tensor_hash);
    lx_str_release(&name);
    lx_str_release(&path);
    return rc;
}

enum { MOST_TEXT = 256 << 20 };

/* Of one of the roles that are texts; other files of the user's stay as they are. */
static int put_text(lx_hash *hash, int64_t *size, store__batch *batch, const lx_artifact *a,
                    const char *text, size_t n, lx_error *err)
{
    lx_str clean = LX_STR_INIT;
    int rc;

    if ((rc = store__clean_text(&clean, a->role, text, n, err)) < 0)
        lx_within(err, "%s", a->path ? a->path : a->name);
    else
        rc = store__batch_put(hash, batch, lx_str_text(&clean), clean.len, err);
    *size = (int64_t)clean.len;
    lx_str_release(&clean);
    return rc;
}

/* What is larger than a text would be is a file like others. */
static int put_text_file(lx_hash *hash, int64_t *size, store__batch *batch,
                         const lx_artifact *a, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc = lx_file_read(&text, a->path, MOST_TEXT, err);

    if (rc == LX_ELIMIT)
        rc = store__batch_put_file(hash, size, batch, a->path, err);
    else if (rc == LX_OK)
        rc = put_text(hash, size, batch, a, lx_str_text(&text), text.len, err);
    lx_str_release(&text);
    return rc;
}

int lx_run_check_artifact(const lx_artifact *a, lx_error *err)
{
    lx_str text = LX_STR_INIT, clean = LX_STR_INIT;
    int rc = check_artifact(a, err);

    if (rc == LX_OK && a->path && !a->data && !a->hash && store__is_text_role(a->role) &&
        (rc = lx_file_read(&text, a->path, MOST_TEXT, err)) == LX_OK &&
        (rc = store__clean_text(&clean, a->role, lx_str_text(&text), text.len, err)) < 0)
        lx_within(err, "%s", a->path);
    lx_str_release(&text);
    lx_str_release(&clean);
    return rc == LX_ELIMIT ? LX_OK : rc;
}

static int require_run(lx_store *s, int64_t run, lx_error *err)
{
    int64_t seq;
    int rc = store__number(&seq, 0, s, err, "SELECT seq FROM run WHERE seq=?1", "i", run);
    return rc < 0 || seq ? rc : lx_fail(err, LX_ENOTFOUND, "%s: no such run", s->path);
}

/* Of an object that is here already. */
static int stage_stored(int64_t *size, store__batch *batch, const lx_hash *hash,
                        lx_error *err)
{
    int rc = store__number(size, -1, batch->store, err,
                           "SELECT size FROM object WHERE hash=?1", "h", hash);

    if (rc == LX_OK && *size < 0)
        rc = lx_fail(err, LX_ENOTFOUND, "%s holds no such object", batch->store->path);
    return rc < 0 ? rc : store__batch_known(batch, hash, err);
}

int lx_run_attach(lx_hash *out, lx_store *s, int64_t run, const lx_artifact *given,
                  lx_error *err)
{
    store__batch batch = store__batch_of(s);
    const lx_artifact *a = given;
    lx_artifact timeless;
    bool is_kept = !a->hash || a->is_stored;
    lx_hash hash = {0};
    int64_t size = a->hash ? a->size : (int64_t)a->n;
    int rc;

    if ((rc = check_artifact(a, err)) < 0)
        return rc;
    if (!has_time(a->at)) {
        timeless = *given;
        timeless.at = 0;
        a = &timeless;
    }
    if (a->hash)
        hash = *a->hash;
    if (a->hash && a->is_stored)
        rc = stage_stored(&size, &batch, a->hash, err);
    else if (a->hash)
        ; /* only named */
    else if (a->data && store__is_text_role(a->role))
        rc = put_text(&hash, &size, &batch, a, a->data, a->n, err);
    else if (a->path && !a->data && store__is_text_role(a->role))
        rc = put_text_file(&hash, &size, &batch, a, err);
    else if (a->data)
        rc = store__batch_put(&hash, &batch, a->data, a->n, err);
    else if (a->path)
        rc = store__batch_put_file(&hash, &size, &batch, a->path, err);
    else
        rc = store__batch_put(&hash, &batch, "", 0, err);
    if (rc == LX_OK && (rc = store__begin(s, err)) == LX_OK) {
        if ((rc = require_run(s, run, err)) == LX_OK &&
            (rc = store__batch_add(&batch, err)) == LX_OK)
            rc = store__add_artifact(s, run, a, &hash, size, is_kept, err);
        rc = store__end(s, rc, err);
    }
    store__batch_release(&batch);
    if (out)
        *out = hash;
    return rc;
}

int lx_run_artifact(lx_run *run, const char *role, const char *name, const void *data,
                    size_t n, int64_t step, lx_error *err)
{
    const lx_artifact a = {
        .role = role, .name = name, .step = step, .data = data, .n = n};
    return lx_run_attach(NULL, run->store, run->seq, &a, err);
}

int lx_run_artifact_file(lx_run *run, const char *role, const char *name,
                         const char *path, int64_t step, lx_error *err)
{
    const lx_artifact a = {.role = role, .name = name, .step = step, .path = path};
    return lx_run_attach(NULL, run->store, run->seq, &a, err);
}

/* ---- end -------------------------------------------------------------------------- */

int lx_run_end_at(lx_run *run, const char *status, const char *message, double ended,
                  lx_error *err)
{
    lx_str clean = LX_STR_INIT;
    store__ending ending = {.status = status,
                            .ended = lx_transfer_is_time(ended) ? ended : store__now()};
    int rc = LX_OK;

    store__stop_flusher(run);
    if (message) {
        lx_scrub_text(&clean, message, strlen(message));
        rc = lx_str_check(&clean, err);
        ending.message = lx_str_text(&clean);
    }
    if (rc == LX_OK)
        rc = store__flush(run, &ending, err);
    lx_str_release(&clean);
    lx_run_abandon(run);
    return rc;
}

int lx_run_end(lx_run *run, const char *status, const char *message, lx_error *err)
{
    double ended = run->started > 0 ? run->started + (unset_clock() - run->started_clock)
                                    : store__now();

    return lx_run_end_at(run, status, message, ended, err);
}

/* ---- remarks ---------------------------------------------------------------------- */

/*
 * The moment is what names a remark when stores come together (transfer_in.c), since its text may be
 * scrubbed on the way: a drawn part of a millisecond keeps two people apart who speak at once. Later
 * ones of this handle stay later.
 */
static double own_moment(lx_store *s)
{
    uint32_t drawn;
    double at;

    sqlite3_randomness(sizeof drawn, &drawn);
    at = store__now() + drawn * (1e-3 / 4294967296.0);
    if (at <= s->last_remark)
        at = s->last_remark + 1e-6;
    s->last_remark = at;
    return at;
}

/* In a fact the key says what the value is. */
static bool is_secret_fact(const char *kind, const char *key, const char *value)
{
    return value && *value && (strcmp(kind, "fact") == 0 || strcmp(kind, "tag") == 0) &&
           lx_hides_value(key, value);
}

/* Remarks are put into the order of their moments when those of another store come (transfer_in.c): one that is made
 * after the clock was set back is later than what it takes back. From 9e10 on (the year 4821, of a stranger) nothing is
 * followed: what is later than 1e11 could not leave. */
static int moment_after(double *at, lx_store *s, int64_t run, const char *kind,
                        const char *key, lx_error *err)
{
    double last = NAN;
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          "SELECT max(at) FROM remark WHERE run=?1 AND kind=?2 AND key=?3"
                          " AND at<9e10",
                          "itt", run, kind, key);

    if (store__row(&rc, s, stmt, err))
        last = store__real(stmt, 0);
    store__finish(s, stmt);
    if (*at <= last)
        *at = fmax(last + 1e-6, nextafter(last, INFINITY));
    return rc;
}

static int write_remark(lx_store *s, int64_t run, const char *kind, const char *key,
                        const char *value, lx_error *err)
{
    double at = own_moment(s);
    int rc = store__begin(s, err);
    if (rc < 0)
        return rc;
    if ((rc = require_run(s, run, err)) == LX_OK &&
        (rc = moment_after(&at, s, run, kind, key, err)) == LX_OK &&
        (rc = store__do(s, err,
                        "INSERT INTO remark(run, at, kind, key, value)"
                        " VALUES(?1, ?2, ?3, ?4, ?5)",
                        "idttt", run, at, kind, key, value)) == LX_OK)
        rc = store__derive_remark(s, run, kind, err);
    return store__end(s, rc, err);
}

static int remark(lx_store *s, int64_t run, const char *kind, const char *key,
                  const char *value, lx_error *err)
{
    lx_str clean_key = LX_STR_INIT, clean = LX_STR_INIT;
    int rc;

    if ((rc = check_length("the key", key, LX_TRANSFER_NAME, err)) < 0 ||
        (rc = check_length("the text", value, LX_TRANSFER_NOTE, err)) < 0)
        return rc;
    lx_scrub_text(&clean_key, key, strlen(key));
    if (is_secret_fact(kind, key, value))
        lx_str_puts(&clean, "***");
    else if (value)
        lx_scrub_text(&clean, value, strlen(value));
    if ((rc = lx_str_check(&clean_key, err)) == LX_OK &&
        (rc = lx_str_check(&clean, err)) == LX_OK)
        rc = write_remark(s, run, kind, lx_str_text(&clean_key),
                          value ? lx_str_text(&clean) : NULL, err);
    lx_str_release(&clean_key);
    lx_str_release(&clean);
    return rc;
}

int lx_run_name(lx_store *s, int64_t run, const char *name, lx_error *err)
{
    return remark(s, run, "name", "", name, err);
}

int lx_run_group(lx_store *s, int64_t run, const char *group, lx_error *err)
{
    return remark(s, run, "group", "", group, err);
}

int lx_run_tag(lx_store *s, int64_t run, const char *tag, const char *value,
               lx_error *err)
{
    return remark(s, run, "tag", tag, value ? value : "", err);
}

int lx_run_untag(lx_store *s, int64_t run, const char *tag, lx_error *err)
{
    return remark(s, run, "tag", tag, NULL, err);
}

int lx_run_note(lx_store *s, int64_t run, const char *text, lx_error *err)
{
    return remark(s, run, "note", "", text, err);
}

int lx_run_fact(lx_store *s, int64_t run, const char *key, const char *value,
                lx_error *err)
{
    return remark(s, run, "fact", key, value, err);
}

int lx_run_pin(lx_store *s, int64_t run, bool is_pinned, lx_error *err)
{
    return remark(s, run, "pin", "", is_pinned ? "1" : NULL, err);
}

int lx_run_trash(lx_store *s, int64_t run, bool is_trashed, lx_error *err)
{
    return remark(s, run, "trash", "", is_trashed ? "1" : NULL, err);
}
