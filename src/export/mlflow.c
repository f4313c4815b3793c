#include "src/export/mlflow.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/arena.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/python.h"
#include "src/base/sha256.h"
#include "src/export/mlflow_keys.h"
#include "src/export/mlflow_list.h"

enum { MOST_PARAM = 6000, MOST_TAG = 8000 };

typedef enum entry_kind { METRIC, PARAM, TAG, ARTIFACT, N_KINDS } entry_kind;

static const struct {
    const char *folder, *current; /* the latter as in src/export/mlflow_keys.h */
} kinds[N_KINDS] = {{"metrics", "current"}, {"params", "value"}, {"tags", "value"}, {"artifacts", "file"}};

/* One file of a run's folder. */
typedef struct entry {
    const lx_export_curve *curve; /* of a metric, else NULL */
    const void *data;
    size_t n;
} entry;

/* All files of a kind; those of keys[i] and entries[i] are one. */
typedef struct entries {
    entry *items;
    lx_mlflow_key *keys;
    size_t n, capacity, keys_capacity;
} entries;

/* One run's folder being written. */
typedef struct writer {
    const lx_export_run *run;
    lx_str root, folder; /* mlruns, absolute; the run's in it */
    char experiment[19], id[33];
    entries all[N_KINDS];
    lx_str notes;
    lx_arena *arena;
} writer;

/* ---- ids --------------------------------------------------------------------------- */

static lx_hash hash_of(const char *what, const char *name)
{
    lx_str text = LX_STR_INIT;
    lx_hash hash;
    lx_str_printf(&text, "lx %s %s", what, name);
    hash = lx_sha256_of(lx_str_text(&text), text.len);
    lx_str_release(&text);
    return hash;
}

static const char *experiment_name(const lx_export_run *run)
{
    return run->group && *run->group ? run->group : "lx";
}

/* 18 decimal digits that do not begin with 0, as MLflow draws them; 32 hex digits. */
static void make_ids(writer *w)
{
    lx_hash e = hash_of("experiment", experiment_name(w->run)),
            r = hash_of("run", w->run->id);
    char hex[LX_HASH_HEX + 1];
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x = x << 8 | e.bytes[i];
    snprintf(w->experiment, sizeof w->experiment, "%llu",
             (unsigned long long)(100000000000000000u + x % 900000000000000000u));
    lx_hash_hex(hex, &r);
    memcpy(w->id, hex, 32);
    w->id[32] = '\0';
}

/* ---- texts ------------------------------------------------------------------------- */

/* A single-quoted YAML text of one line; YAML takes no control characters, C1 included.
 */
static void put_yaml(lx_str *out, const char *key, const char *text)
{
    lx_str safe = LX_STR_INIT;
    lx_escape_terminal(&safe, text, strlen(text), true);
    lx_str_printf(out, "%s: '", key);
    for (const char *p = lx_str_text(&safe); *p; p++) {
        if (*p == '\'')
            lx_str_putc(out, '\'');
        lx_str_putc(out, *p);
    }
    lx_str_puts(out, "'\n");
    out->failed |= safe.failed;
    lx_str_release(&safe);
}

static long long milliseconds(double seconds)
{
    return (long long)llround(seconds * 1000);
}

/* ---- meta.yaml --------------------------------------------------------------------- */

static int write_meta(const char *folder, const char *text, size_t n, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;
    lx_str_printf(&path, "%s/meta.yaml", folder);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (rc = lx_make_dirs(folder, err)) == LX_OK && lx_alloc_has_failed())
        rc = lx_oom(err); /* of what was gathered some may be missing */
    if (rc == LX_OK)
        rc = lx_file_write(lx_str_text(&path), text, n, err);
    lx_str_release(&path);
    return rc;
}

static int write_experiment(writer *w, lx_error *err)
{
    lx_str text = LX_STR_INIT, folder = LX_STR_INIT, uri = LX_STR_INIT;
    int rc;

    lx_str_printf(&folder, "%s/%s", lx_str_text(&w->root), w->experiment);
    lx_str_printf(&uri, "file://%s", lx_str_text(&folder));
    put_yaml(&text, "artifact_location", lx_str_text(&uri));
    lx_str_printf(&text, "creation_time: %lld\n", milliseconds(w->run->started));
    put_yaml(&text, "experiment_id", w->experiment);
    lx_str_printf(&text, "last_update_time: %lld\nlifecycle_stage: active\n",
                  milliseconds(w->run->started));
    put_yaml(&text, "name", experiment_name(w->run));
    if ((rc = lx_str_check(&text, err)) == LX_OK &&
        (rc = lx_str_check(&folder, err)) == LX_OK)
        rc = write_meta(folder.data, text.data, text.len, err);
    lx_str_release(&text);
    lx_str_release(&folder);
    lx_str_release(&uri);
    return rc;
}

/* RUNNING 1, FINISHED 3, FAILED 4, KILLED 5. */
static int status_of(const lx_export_run *run)
{
    return strcmp(run->status, "finished") == 0  ? 3
           : strcmp(run->status, "failed") == 0  ? 4
           : strcmp(run->status, "running") == 0 ? 1
                                                 : 5;
}

static int write_run_meta(writer *w, lx_error *err)
{
    const lx_export_run *run = w->run;
    lx_str text = LX_STR_INIT, uri = LX_STR_INIT;
    int rc;

    lx_str_printf(&uri, "file://%s/artifacts", lx_str_text(&w->folder));
    put_yaml(&text, "artifact_uri", lx_str_text(&uri));
    if (run->ended > 0)
        lx_str_printf(&text, "end_time: %lld\n", milliseconds(run->ended));
    else
        lx_str_puts(&text, "end_time: null\n");
    lx_str_puts(&text, "entry_point_name: ''\n");
    put_yaml(&text, "experiment_id", w->experiment);
    lx_str_puts(&text, "lifecycle_stage: active\n");
    put_yaml(&text, "run_id", w->id);
    put_yaml(&text, "run_name", *run->name ? run->name : run->id);
    put_yaml(&text, "run_uuid", w->id);
    lx_str_puts(&text, "source_name: ''\nsource_type: 4\nsource_version: ''\n");
    lx_str_printf(&text, "start_time: %lld\nstatus: %d\ntags: []\nuser_id: user\n",
                  milliseconds(run->started), status_of(run));
    if ((rc = lx_str_check(&text, err)) == LX_OK)
        rc = write_meta(lx_str_text(&w->folder), text.data, text.len, err);
    lx_str_release(&text);
    lx_str_release(&uri);
    return rc;
}

/* ---- what there is to write -------------------------------------------------------- */

static int put(writer *w, entry_kind kind, lx_mlflow_key key, entry e, lx_error *err)
{
    entries *all = &w->all[kind];
    if (lx_arena_grow(w->arena, &all->items, &all->capacity, all->n + 1, sizeof *all->items) < 0 ||
        lx_arena_grow(w->arena, &all->keys, &all->keys_capacity, all->n + 1, sizeof *all->keys) < 0)
        return lx_oom(err);
    all->keys[all->n] = key;
    all->items[all->n++] = e;
    return LX_OK;
}

static int put_text(writer *w, entry_kind kind, lx_mlflow_key key, const char *text, lx_error *err)
{
    size_t n = strlen(text), most = kind == PARAM ? MOST_PARAM : MOST_TAG;
    if (n > most)
        for (n = most; n && ((unsigned char)text[n] & 0xC0) == 0x80; n--) {
        }
    return put(w, kind, key, (entry){.data = text, .n = n}, err);
}

/* As Python's str(), which MLflow writes of what it is given, and lx import reads. */
static const char *python_text(const lx_export_flag *flag)
{
    return !flag->is_bool ? flag->text : flag->number != 0 ? "True" : "False";
}

static int put_params(writer *w, lx_error *err)
{
    const lx_export_run *run = w->run;
    int rc = LX_OK;

    for (size_t i = 0; i < run->n_flags && rc == LX_OK; i++)
        rc = put_text(w, PARAM, (lx_mlflow_key){.name = run->flags[i].key}, python_text(&run->flags[i]), err);
    for (size_t i = 0; i < run->n_unset && rc == LX_OK; i++)
        rc = put_text(w, PARAM, (lx_mlflow_key){.name = run->unset[i]}, "None", err);
    return rc;
}

static int put_tags(writer *w, lx_error *err)
{
    const lx_export_run *run = w->run;
    int rc = LX_OK;

    for (size_t i = 0; i < run->n_notes; i++)
        lx_str_printf(&w->notes, "%s%s", i ? "\n\n" : "", run->notes[i]);
    const lx_export_pair fixed[] = {{"mlflow.runName", *run->name ? run->name : run->id},
                                    {"mlflow.source.type", "LOCAL"},
                                    {"mlflow.source.git.commit", run->commit},
                                    {"mlflow.note.content", lx_str_text(&w->notes)},
                                    {"lx.id", run->id},
                                    {"lx.kind", run->kind},
                                    {"lx.message", run->message},
                                    {"lx.command_line", run->command_line}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed && rc == LX_OK; i++)
        if (fixed[i].value && *fixed[i].value)
            rc = put_text(w, TAG, (lx_mlflow_key){.name = fixed[i].key, .is_fixed = true}, fixed[i].value, err);
    for (size_t i = 0; i < run->n_tags && rc == LX_OK; i++)
        rc = put_text(w, TAG, (lx_mlflow_key){.name = run->tags[i].key}, run->tags[i].value, err);
    return rc < 0 ? rc : lx_str_check(&w->notes, err);
}

static int put_artifact(writer *w, const lx_export_file *file, lx_error *err)
{
    lx_str name = LX_STR_INIT;
    lx_mlflow_key key = {.is_file = true};
    int rc;

    lx_export_name(&name, file->role);
    lx_str_putc(&name, '/');
    lx_export_name(&name, file->name);
    if ((rc = lx_str_check(&name, err)) == LX_OK)
        rc = (key.name = lx_arena_strdup(w->arena, name.data))
                 ? put(w, ARTIFACT, key, (entry){.data = file->data, .n = file->n}, err)
                 : lx_oom(err);
    lx_str_release(&name);
    return rc;
}

static int put_all(writer *w, const lx_export_file *files, size_t n_files, lx_error *err)
{
    const lx_export_run *run = w->run;
    int rc = LX_OK;

    for (size_t i = 0; i < run->n_curves && rc == LX_OK; i++)
        if (run->curves[i].n)
            rc = put(w, METRIC, (lx_mlflow_key){.name = run->curves[i].key}, (entry){.curve = &run->curves[i]}, err);
    if (rc < 0 || (rc = put_params(w, err)) < 0 || (rc = put_tags(w, err)) < 0)
        return rc;
    for (size_t i = 0; i < n_files && rc == LX_OK; i++)
        rc = put_artifact(w, &files[i], err);
    return rc;
}

/* Where each goes. on_disk: around what is there already. */
static int choose_places(lx_mlflow_list *out, writer *w, bool on_disk, lx_error *err)
{
    int rc = LX_OK;

    *out = (lx_mlflow_list){0};
    for (entry_kind kind = 0; kind < N_KINDS && rc == LX_OK; kind++) {
        entries *all = &w->all[kind];
        const char *folder = lx_arena_printf(w->arena, "%s/%s", lx_str_text(&w->folder), kinds[kind].folder);
        rc = folder ? lx_mlflow_keys(all->keys, all->n, kinds[kind].current, on_disk ? folder : NULL, w->arena, err)
                    : lx_oom(err);
        for (size_t i = 0; i < all->n && rc == LX_OK; i++) {
            const char *path = lx_arena_printf(w->arena, "%s/%s", kinds[kind].folder, all->keys[i].key);
            rc = path ? lx_mlflow_list_add(out, path, NULL, w->arena, err) : lx_oom(err);
        }
    }
    return rc;
}

/* ---- files ------------------------------------------------------------------------- */

static void put_points(lx_str *out, const writer *w, const lx_export_curve *c)
{
    for (size_t k = 0; k < c->n; k++) {
        char value[40];
        lx_python_float(value, c->values[k]);
        lx_str_printf(out, "%lld %s %lld\n", milliseconds(lx_export_time(w->run, k, c->n)), value,
                      (long long)c->steps[k]);
    }
}

static int write_file(writer *w, lx_mlflow_item *item, const void *data, size_t n, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    char *slash;
    int rc;

    lx_assert(item);
    lx_str_printf(&path, "%s/%s", lx_str_text(&w->folder), item->path);
    if ((rc = lx_str_check(&path, err)) == LX_OK) {
        slash = strrchr(path.data, '/');
        *slash = '\0';
        rc = lx_make_dirs(path.data, err);
        *slash = '/';
    }
    if (rc == LX_OK && (rc = lx_file_write(path.data, data, n, err)) == LX_OK)
        item->hash = lx_sha256_of(data, n);
    lx_str_release(&path);
    return rc;
}

/* Also those that stay empty: MLflow 3.17 finds no run that lacks one. */
static int make_folders(writer *w, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc = LX_OK;

    for (entry_kind kind = 0; kind < N_KINDS && rc == LX_OK; kind++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/%s", lx_str_text(&w->folder), kinds[kind].folder);
        if ((rc = lx_str_check(&path, err)) == LX_OK)
            rc = lx_make_dirs(path.data, err);
    }
    lx_str_release(&path);
    return rc;
}

/* list: as choose_places made it, so in the order of the entries. */
static int write_files(writer *w, lx_mlflow_list *list, lx_error *err)
{
    lx_mlflow_item *item = list->items;
    int rc = LX_OK;

    for (entry_kind kind = 0; kind < N_KINDS; kind++)
        for (size_t i = 0; i < w->all[kind].n && rc == LX_OK; i++, item++) {
            const entry *e = &w->all[kind].items[i];
            lx_str points = LX_STR_INIT;
            if (!e->curve) {
                rc = write_file(w, item, e->data, e->n, err);
                continue;
            }
            put_points(&points, w, e->curve);
            if ((rc = lx_str_check(&points, err)) == LX_OK)
                rc = write_file(w, item, points.data, points.len, err);
            lx_str_release(&points);
        }
    return rc;
}

/* ---- a run that moved -------------------------------------------------------------- */

/* Is it one that lx wrote of this run? */
static bool is_of_run(const writer *w, const char *folder)
{
    lx_str path = LX_STR_INIT, id = LX_STR_INIT;
    bool yes;

    lx_str_printf(&path, "%s/tags/lx.id", folder);
    yes = !path.failed && !lx_file_is_link(folder) && lx_file_is_dir(folder) && lx_file_exists(path.data) &&
          lx_file_read(&id, path.data, MOST_TAG, NULL) == LX_OK && strcmp(lx_str_text(&id), w->run->id) == 0;
    lx_str_release(&path);
    lx_str_release(&id);
    return yes;
}

/* The group of a run is its experiment: when that changed, the run's folder moves there, with what others added. */
static int bring_here(writer *w, lx_error *err)
{
    lx_str experiment = LX_STR_INIT, from = LX_STR_INIT;
    lx_dir dir = {0};
    int rc = lx_file_exists(w->folder.data) ? LX_OK : lx_dir_list(&dir, w->root.data, err);

    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        lx_str_clear(&experiment);
        lx_str_clear(&from);
        lx_str_printf(&experiment, "%s/%s", w->root.data, dir.names[i]);
        lx_str_printf(&from, "%s/%s", lx_str_text(&experiment), w->id);
        if ((rc = lx_str_check(&experiment, err)) < 0 || (rc = lx_str_check(&from, err)) < 0)
            break;
        if (dir.names[i][0] == '.' || lx_file_is_link(experiment.data) || !is_of_run(w, from.data))
            continue;
        if (lx_io_get()->rename(from.data, w->folder.data) < 0)
            rc = lx_fail_errno(err, errno, "%s: cannot move the run to %s", from.data, w->folder.data);
        break;
    }
    if (rc == LX_OK && lx_alloc_has_failed())
        rc = lx_oom(err); /* one may have been passed over */
    lx_dir_free(&dir);
    lx_str_release(&experiment);
    lx_str_release(&from);
    return rc;
}

/* ---- the whole --------------------------------------------------------------------- */

/* What was decided by looking is right only where looking did not fail. */
static int check_seen(const char *folder, lx_error *err)
{
    return lx_file_was_refused() ? lx_fail(err, LX_EIO, "%s: what is there cannot be read", folder) : LX_OK;
}

/* At any moment the list on the disk has what lx wrote (mlflow_list.h, 1). */
static int write_run(writer *w, lx_error *err)
{
    const char *folder = lx_str_text(&w->folder);
    lx_mlflow_list was = {0}, is = {0};
    int rc;

    if ((rc = write_experiment(w, err)) < 0 || (rc = bring_here(w, err)) < 0 ||
        (rc = lx_mlflow_list_read(&was, folder, w->arena, err)) < 0 ||
        (rc = choose_places(&is, w, false, err)) < 0 ||
        (rc = lx_mlflow_list_clean(&was, &is, folder, err)) < 0 ||
        (rc = choose_places(&is, w, true, err)) < 0 || (rc = check_seen(folder, err)) < 0 ||
        (rc = make_folders(w, err)) < 0 ||
        (rc = lx_mlflow_list_write(&is, folder, err)) < 0 ||
        (rc = write_files(w, &is, err)) < 0 ||
        (rc = write_run_meta(w, err)) < 0) /* without it the folder is no run yet */
        return rc;
    return lx_mlflow_list_write(&is, folder, err);
}

int lx_mlflow_write(const char *folder, const lx_export_run *run,
                    const lx_export_file *files, size_t n_files, lx_error *err)
{
    writer w = {.run = run, .arena = lx_arena_new()};
    char *absolute = NULL;
    int rc = w.arena ? lx_make_dirs(folder, err) : lx_oom(err);

    if (rc == LX_OK && !(absolute = realpath(folder, NULL)))
        rc = lx_fail_errno(err, errno, "%s", folder);
    if (rc == LX_OK) {
        make_ids(&w);
        lx_str_puts(&w.root, absolute);
        lx_str_printf(&w.folder, "%s/%s/%s", absolute, w.experiment, w.id);
        if ((rc = lx_str_check(&w.root, err)) == LX_OK && (rc = lx_str_check(&w.folder, err)) == LX_OK &&
            (rc = put_all(&w, files, n_files, err)) == LX_OK)
            rc = write_run(&w, err);
    }
    free(absolute);
    lx_arena_free(w.arena);
    lx_str_release(&w.root);
    lx_str_release(&w.folder);
    lx_str_release(&w.notes);
    return rc;
}
