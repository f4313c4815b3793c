/*
 * The history into the store, in groups: what is slow (hashing files) is done before a
 * group is opened, so that others can write; then as many runs as a second allows become
 * one transaction. A run is in the store whole or not at all.
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "cmd/import.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/query.h"
#include "store/transfer.h"

enum { MOST_IN_GROUP = 200 };
static const double most_seconds = 0.7; /* that a group may hold the store's lock */
static const int64_t most_bytes =
    1 << 30; /* to hash before the next group: what an interrupt loses */

typedef enum state {
    STATE_NEW,
    STATE_KNOWN,
    STATE_EXTENDED /* known, but with new files */
} state;

static const char *const state_names[] = {"new", "known", "extended"};

/* What is to become of one run. */
typedef struct plan {
    lx_history_run *run;
    state state;
    lx_run_row row;   /* of a known one */
    const char *id;   /* or NULL */
    lx_artifact_row *rows; /* what it has */
    size_t n_rows;
    bool *is_missing; /* of its files: to be attached */
} plan;

/* A file to be hashed, and what came of it. */
typedef struct hash_job {
    plan *plan;
    size_t file;
    int rc;
    lx_error err;
} hash_job;

typedef struct writer {
    lx_import *job;
    lx_arena *arena;
    const lx_words *tags;
    bool copies_loras;
    plan *plans;
    hash_job *hashes;
    size_t n_hashes, hash_capacity;
    const lx_history_file *last; /* that was copied in, and became: */
    lx_hash last_hash;
} writer;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- what is missing --------------------------------------------------------------- */

static bool has_artifact(const plan *p, const lx_history_file *file, bool has_hash)
{
    char hex[LX_HASH_HEX + 1] = "";

    if (has_hash)
        lx_hash_hex(hex, &file->hash);
    for (size_t i = 0; i < p->n_rows; i++) {
        const lx_artifact_row *row = &p->rows[i];
        if (strcmp(row->role, file->role) == 0 &&
            (strcmp(row->object, hex) == 0 ||
             (file->path && strcmp(row->path, file->path) == 0 && row->size == file->size &&
              strcmp(row->name, file->name) == 0)))
            return true;
    }
    return false;
}

static int want_hash(writer *w, plan *p, size_t file, lx_error *err)
{
    if (lx_grow(&w->hashes, &w->hash_capacity, w->n_hashes + 1, sizeof *w->hashes) < 0)
        return lx_oom(err);
    w->hashes[w->n_hashes++] = (hash_job){.plan = p, .file = file};
    return LX_OK;
}

/* What is known of the run, and which files it lacks. A path and a size that it has need no hash:
 * the second import of a large folder is quick. */
static int make_plan(plan *p, int64_t *to_hash, writer *w, lx_history_run *run, lx_error *err)
{
    int rc = LX_ENOTFOUND;

    *p = (plan){.run = run, .state = STATE_NEW};
    if (!(p->is_missing = lx_arena_calloc(w->arena, run->n_files + 1, sizeof(bool))))
        return lx_oom(err);
    if (w->job->store)
        rc = lx_query_origin(&p->row, w->job->store, run->origin, w->arena, err);
    if (rc == LX_OK) {
        p->state = STATE_KNOWN;
        p->id = p->row.id;
        rc = lx_query_artifacts(&p->rows, &p->n_rows, w->job->store, &p->row, w->arena, err);
    }
    if (rc < 0 && rc != LX_ENOTFOUND)
        return rc;
    rc = LX_OK;
    for (size_t i = 0; i < run->n_files && rc == LX_OK; i++) {
        /* To a run that is known only LoRAs come later; a log that grew is not read again. */
        if (has_artifact(p, &run->files[i], false) ||
            (p->state == STATE_KNOWN && strcmp(run->files[i].role, "lora") != 0))
            continue;
        p->is_missing[i] = true;
        if (run->files[i].is_named && w->job->store) { /* none: a dry run, and nothing is known */
            rc = want_hash(w, p, i, err);
            *to_hash += run->files[i].size;
        }
    }
    return rc;
}

/* Files side by side: a disk reads faster than one core hashes. */
static void hash_all(writer *w)
{
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < w->n_hashes; i++) {
        hash_job *j = &w->hashes[i];
        lx_history_file *file = &j->plan->run->files[j->file];
        j->rc = lx_lora_files_hash(&file->hash, &file->tensor_hash, &file->has_tensor_hash,
                                   &file->size, file->path, &j->err);
    }
}

/* A file that vanished meanwhile is a problem, not the end. */
static int take_hashes(writer *w, lx_error *err)
{
    for (size_t i = 0; i < w->n_hashes; i++) {
        hash_job *j = &w->hashes[i];
        if (j->rc == LX_ENOMEM)
            return lx_oom(err);
        if (j->rc < 0)
            lx_history_problem(w->job->history, "%s", j->err.text);
        j->plan->is_missing[j->file] =
            j->rc == LX_OK && !has_artifact(j->plan, &j->plan->run->files[j->file], true);
    }
    w->n_hashes = 0;
    return LX_OK;
}

/* A LoRA that `lx train` or `lx run` recorded is no new history: its run is known. */
static int find_recorded(plan *p, writer *w, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < p->run->n_files && rc == LX_OK && !p->id; i++) {
        const lx_history_file *file = &p->run->files[i];
        lx_artifact_row *rows;
        size_t n;
        if (!file->is_named || !p->is_missing[i])
            continue;
        rc = lx_query_artifacts_of(&rows, &n, w->job->store, &file->hash, NULL, w->arena, err);
        if (rc == LX_OK && n)
            rc = lx_query_run(&p->row, w->job->store, rows[0].run, w->arena, err);
        if (rc == LX_OK && n) {
            p->state = STATE_KNOWN;
            p->id = p->row.id;
        }
    }
    return rc;
}

static int conclude_plan(plan *p, writer *w, lx_error *err)
{
    for (size_t i = 0; i < p->run->n_files && p->state == STATE_KNOWN; i++)
        if (p->is_missing[i] && p->run->files[i].is_named)
            p->state = STATE_EXTENDED;
    return p->state == STATE_NEW && w->job->store ? find_recorded(p, w, err) : LX_OK;
}

/* ---- writing ----------------------------------------------------------------------- */

/* Of one log with many trainings each has the whole: it is read, scrubbed and packed once. */
static bool is_last(const writer *w, const lx_history_file *file)
{
    const lx_history_file *last = w->last;

    return last && last->path && file->path && !file->data && !file->is_named &&
           strcmp(last->path, file->path) == 0 && strcmp(last->role, file->role) == 0;
}

static int attach(writer *w, int64_t seq, const lx_history_file *file, lx_error *err)
{
    const bool is_named = file->is_named && !w->copies_loras, is_stored = is_last(w, file);
    const lx_artifact artifact = {.role = file->role,
                                  .name = file->name,
                                  .step = file->step,
                                  .data = file->data,
                                  .n = file->n,
                                  .path = file->path,
                                  .hash = is_named    ? &file->hash
                                          : is_stored ? &w->last_hash
                                                      : NULL,
                                  .is_stored = is_stored,
                                  .size = file->size,
                                  .tensor_hash =
                                      file->has_tensor_hash ? &file->tensor_hash : NULL,
                                  .at = file->at};
    lx_hash hash;
    int rc = lx_run_attach(&hash, w->job->store, seq, &artifact, err);

    if (rc == LX_OK && !is_named && !file->data) {
        w->last = file;
        w->last_hash = hash;
    }
    return rc;
}

/* One file by two paths of the command: once is enough. */
static bool is_repeated(const plan *p, size_t file)
{
    const lx_history_file *files = p->run->files;

    for (size_t i = 0; i < file; i++)
        if (p->is_missing[i] && files[i].is_named && files[file].is_named &&
            lx_hash_equal(&files[i].hash, &files[file].hash) &&
            strcmp(files[i].name, files[file].name) == 0)
            return true;
    return false;
}

static int attach_missing(writer *w, int64_t seq, const plan *p, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < p->run->n_files && rc == LX_OK; i++) {
        lx_error damage = {0};
        if (!p->is_missing[i] || is_repeated(p, i))
            continue;
        rc = attach(w, seq, &p->run->files[i], &damage);
        if (rc == LX_ENOTFOUND || rc == LX_EPERM || rc == LX_EFORMAT) {
            lx_history_problem(w->job->history, "%s", damage.text);
            rc = LX_OK;
        } else {
            lx_fail_as(err, rc, &damage);
        }
    }
    return rc;
}

static int remark(writer *w, int64_t seq, const lx_history_run *run, lx_error *err)
{
    lx_store *store = w->job->store;
    int rc = LX_OK;

    if (run->group && *run->group)
        rc = lx_run_group(store, seq, run->group, err);
    for (size_t i = 0; i < run->n_tags && rc == LX_OK; i++)
        rc = lx_run_tag(store, seq, run->tags[i].key, run->tags[i].value, err);
    for (size_t i = 0; i < w->tags->count && rc == LX_OK; i++)
        rc = lx_run_tag(store, seq, w->tags->items[i], "", err);
    for (size_t i = 0; i < run->n_notes && rc == LX_OK; i++)
        rc = lx_run_note(store, seq, run->notes[i], err);
    for (size_t i = 0; i < run->n_facts && rc == LX_OK; i++)
        rc = lx_run_fact(store, seq, run->facts[i].key, run->facts[i].value, err);
    if (rc == LX_OK)
        rc = lx_run_fact(store, seq, "import.source", run->source, err);
    return rc == LX_OK ? lx_run_fact(store, seq, "import.path", run->from, err) : rc;
}

static int begin(lx_run **out, writer *w, const lx_history_run *run, lx_error *err)
{
    lx_str flags = LX_STR_INIT;
    int rc = lx_json_canonical(&flags, run->flags, err);

    if (rc == LX_OK) {
        const lx_run_start start = {.name = run->name,
                                    .kind = "import",
                                    .command_line = run->command_line,
                                    .flags = lx_str_text(&flags),
                                    .base_model = run->base_model,
                                    .seed = run->seed,
                                    .has_seed = run->has_seed,
                                    .origin = run->origin,
                                    .started = run->started > 0 ? run->started : run->ended,
                                    .is_historic = true,
                                    .environment = run->environment};
        rc = lx_run_begin(out, w->job->store, &start, err);
    }
    lx_str_release(&flags);
    return rc;
}

static int write_new(plan *p, writer *w, lx_error *err)
{
    const lx_history_run *run = p->run;
    lx_run *handle = NULL;
    int rc = begin(&handle, w, run, err);

    if (rc < 0)
        return rc;
    p->id = lx_arena_strdup(w->arena, lx_run_id(handle));
    for (size_t i = 0; i < run->n_curves && rc == LX_OK; i++)
        if (strlen(run->curves[i].key) > LX_TRANSFER_CURVE)
            lx_history_problem(w->job->history, "%s: the curve \"%.40s...\" is left out: "
                               "its name has more than %d bytes", run->from,
                               run->curves[i].key, LX_TRANSFER_CURVE);
        else
            rc = lx_run_log_many(handle, run->curves[i].key, run->curves[i].steps,
                                 run->curves[i].values, run->curves[i].n, err);
    if (rc < 0 || (rc = attach_missing(w, lx_run_seq(handle), p, err)) < 0 ||
        (rc = remark(w, lx_run_seq(handle), run, err)) < 0) {
        lx_run_abandon(handle);
        return rc;
    }
    return lx_run_end_at(handle, run->status, run->message,
                         run->ended > 0     ? run->ended
                         : run->started > 0 ? run->started
                                            : (double)NAN, /* unknown: that of the import */
                         err);
}

/* Two paths of one command may tell of one training: the second finds the first, written
 * in the same group. */
static int write_plan(plan *p, writer *w, lx_error *err)
{
    int rc;

    if (p->state == STATE_EXTENDED)
        return attach_missing(w, p->row.seq, p, err);
    if (p->state == STATE_KNOWN)
        return LX_OK;
    rc = lx_query_origin(&p->row, w->job->store, p->run->origin, w->arena, err);
    if (rc == LX_OK) {
        p->state = STATE_KNOWN;
        p->id = p->row.id;
        return LX_OK;
    }
    return rc == LX_ENOTFOUND ? write_new(p, w, err) : rc;
}

/* Plans [from, *to) that fit into one transaction. */
static int write_group(size_t *to, writer *w, size_t from, size_t end, lx_error *err)
{
    double started = now();
    int rc;

    *to = from;
    if (lx_signals_pending())
        return lx_fail(err, LX_EINTERRUPTED, "interrupted; import again to go on");
    w->last = NULL; /* what a group put is there when it ends well */
    rc = lx_store_group_begin(w->job->store, err);
    if (rc < 0)
        return rc;
    for (; *to < end && rc == LX_OK && (*to == from || now() - started < most_seconds);
         ++*to)
        rc = write_plan(&w->plans[*to], w, err);
    return lx_store_group_end(w->job->store, rc, err);
}

/* ---- all of them ------------------------------------------------------------------- */

static int describe(cJSON *out, const plan *p, lx_error *err)
{
    const lx_history_run *run = p->run;
    cJSON *o = cJSON_CreateObject(), *files;
    int64_t last = lx_history_last_step(run);

    if (!o || !cJSON_AddItemToArray(out, o)) {
        cJSON_Delete(o);
        return lx_oom(err);
    }
    cJSON_AddStringToObject(o, "state", state_names[p->state]);
    if (p->id)
        cJSON_AddStringToObject(o, "id", p->id);
    cJSON_AddStringToObject(o, "origin", run->origin);
    cJSON_AddStringToObject(o, "source", run->source);
    cJSON_AddStringToObject(o, "path", run->from);
    cJSON_AddStringToObject(o, "name", run->name ? run->name : "");
    cJSON_AddStringToObject(o, "status", run->status);
    cJSON_AddNumberToObject(o, "started", run->started);
    if (run->ended > 0)
        cJSON_AddNumberToObject(o, "ended", run->ended);
    if (last >= 0)
        cJSON_AddNumberToObject(o, "steps", (double)last);
    cJSON_AddNumberToObject(o, "points", (double)lx_history_points(run));
    files = cJSON_AddArrayToObject(o, "files");
    for (size_t i = 0; i < run->n_files; i++)
        cJSON_AddItemToArray(files, cJSON_CreateString(run->files[i].name));
    return LX_OK;
}

static void show_progress(const writer *w, size_t done)
{
    lx_cli *cli = w->job->cli;

    if (cli->is_terminal && !cli->is_quiet)
        lx_message(cli, "\r%zu of %zu runs ", done, w->job->history->count);
}

/* Plans from `from` on: as many as a group may have, or a gigabyte to hash. */
static int plan_some(size_t *to, writer *w, size_t from, lx_error *err)
{
    const lx_history *h = w->job->history;
    int64_t to_hash = 0;
    int rc = LX_OK;

    if (lx_signals_pending())
        return lx_fail(err, LX_EINTERRUPTED,
                       "interrupted after %zu of %zu runs; import again to go on", from, h->count);
    for (*to = from;
         *to < h->count && *to - from < MOST_IN_GROUP && to_hash < most_bytes && rc == LX_OK; ++*to)
        rc = make_plan(&w->plans[*to], &to_hash, w, h->runs[*to], err);
    if (rc == LX_OK) {
        hash_all(w);
        rc = take_hashes(w, err);
    }
    for (size_t i = from; i < *to && rc == LX_OK; i++)
        rc = conclude_plan(&w->plans[i], w, err);
    return rc;
}

static int write_all(writer *w, lx_error *err)
{
    const size_t n = w->job->history->count;
    size_t planned = 0, written = 0;
    int rc = LX_OK;

    for (size_t at = 0; at < n && rc == LX_OK; at = planned) {
        rc = plan_some(&planned, w, at, err);
        for (size_t i = at; i < planned && rc == LX_OK && !w->job->is_dry_run;
             i = written) {
            rc = write_group(&written, w, i, planned, err);
            show_progress(w, written);
        }
    }
    if (w->job->cli->is_terminal && !w->job->cli->is_quiet && n)
        lx_message(w->job->cli, "\r%*s\r", 40, "");
    return rc;
}

int lx_import_write(cJSON **out, lx_import *job, bool copies_loras, const lx_words *tags,
                    lx_error *err)
{
    writer w = {
        .job = job, .arena = job->cli->arena, .tags = tags, .copies_loras = copies_loras};
    int rc;

    if (!(*out = cJSON_Duplicate(job->own, true)) ||
        !(w.plans = lx_arena_calloc(w.arena, job->history->count + 1, sizeof *w.plans)))
        return lx_oom(err);
    rc = write_all(&w, err);
    lx_free(w.hashes);
    for (size_t i = 0; i < job->history->count && rc == LX_OK; i++)
        rc = describe(*out, &w.plans[i], err);
    return rc;
}
