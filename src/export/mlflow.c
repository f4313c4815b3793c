#include "src/export/mlflow.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/arena.h"
#include "src/base/file.h"
#include "src/base/python.h"
#include "src/base/sha256.h"

enum { MOST_PARAM = 6000, MOST_TAG = 8000, MOST_KEY = 250 };

/* A file that was written, and the name that it was made of. */
typedef struct written {
    const char *path, *name;
} written;

/* One run's folder being written. */
typedef struct writer {
    const lx_export_run *run;
    lx_str root; /* mlruns, absolute */
    char experiment[19], id[33];
    lx_str path; /* reused */
    lx_arena *arena;
    written *files;
    size_t n_files, capacity;
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

/* ---- names and texts --------------------------------------------------------------- */

/* What MLflow takes for a key: letters, digits, _ - . space / :, as a path that stays
 * inside. */
static void put_key(lx_str *out, const char *key)
{
    size_t n = strlen(key), part = out->len;
    for (size_t i = 0; i <= n && i <= MOST_KEY; i++) {
        bool ends = i == n || i == MOST_KEY || key[i] == '/';
        if (!ends) {
            lx_str_putc(out, isalnum((unsigned char)key[i]) || strchr("_-. :", key[i])
                                 ? key[i]
                                 : '_');
            continue;
        }
        if (out->failed)
            return;
        /* "", "." and ".." lead elsewhere. */
        if (out->len == part || strspn(out->data + part, ".") == out->len - part)
            lx_str_putc(out, '_');
        if (i < n && i < MOST_KEY)
            lx_str_putc(out, '/');
        part = out->len;
    }
}

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

/* ---- files ------------------------------------------------------------------------- */

static bool is_of_another(const writer *w, const char *name)
{
    for (size_t i = 0; i < w->n_files; i++)
        if (strcmp(w->files[i].path, lx_str_text(&w->path)) == 0)
            return strcmp(w->files[i].name, name) != 0;
    return false;
}

/* Two names may become one key, as all of as many signs that are not ASCII: the second one
 * is "key-2". A file's name keeps its ending. `from`: where the key begins. */
static int make_unique(writer *w, size_t from, const char *name, bool is_file,
                       lx_error *err)
{
    char ending[16] = "";
    const char *ext = lx_path_ext(lx_str_text(&w->path));
    size_t most = from + MOST_KEY - 32, stem = w->path.len;

    if (is_file && strlen(ext) < sizeof ending) {
        snprintf(ending, sizeof ending, "%s", ext);
        stem -= strlen(ext);
    }
    stem = stem < most ? stem : most;
    for (int i = 2; !w->path.failed && is_of_another(w, name); i++) {
        w->path.len = stem;
        lx_str_printf(&w->path, "-%d%s", i, ending);
    }
    if (lx_arena_grow(w->arena, &w->files, &w->capacity, w->n_files + 1,
                      sizeof *w->files) < 0)
        return lx_oom(err);
    w->files[w->n_files++] = (written){lx_arena_strdup(w->arena, lx_str_text(&w->path)),
                                       lx_arena_strdup(w->arena, name)};
    if (!w->files[w->n_files - 1].path || !w->files[w->n_files - 1].name)
        return lx_oom(err);
    return lx_str_check(&w->path, err);
}

/* mlruns/<experiment>[/<run>]/<kind>/<key>, its folders made. name: what the key is of. */
static int write_at(writer *w, const char *kind, const char *key, const char *name,
                    const void *data, size_t n, lx_error *err)
{
    size_t from;
    char *slash;
    int rc;

    lx_str_clear(&w->path);
    lx_str_printf(&w->path, "%s/%s/%s/%s/", lx_str_text(&w->root), w->experiment, w->id,
                  kind);
    from = w->path.len;
    put_key(&w->path, key);
    if ((rc = lx_str_check(&w->path, err)) < 0 ||
        (rc = make_unique(w, from, name, key != name, err)) < 0)
        return rc;
    slash = strrchr(w->path.data, '/');
    *slash = '\0';
    rc = lx_make_dirs(w->path.data, err);
    *slash = '/';
    return rc < 0 ? rc : lx_file_write(w->path.data, data, n, err);
}

static int write_text(writer *w, const char *kind, const char *key, const char *text,
                      size_t most, lx_error *err)
{
    size_t n = strlen(text);
    if (n > most)
        for (n = most; n && ((unsigned char)text[n] & 0xC0) == 0x80; n--) {
        }
    return write_at(w, kind, key, key, text, n, err);
}

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
    lx_str text = LX_STR_INIT, folder = LX_STR_INIT, uri = LX_STR_INIT;
    int rc;

    lx_str_printf(&folder, "%s/%s/%s", lx_str_text(&w->root), w->experiment, w->id);
    lx_str_printf(&uri, "file://%s/artifacts", lx_str_text(&folder));
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
    if ((rc = lx_str_check(&text, err)) == LX_OK &&
        (rc = lx_str_check(&folder, err)) == LX_OK)
        rc = write_meta(folder.data, text.data, text.len, err);
    lx_str_release(&text);
    lx_str_release(&folder);
    lx_str_release(&uri);
    return rc;
}

/* ---- metrics ----------------------------------------------------------------------- */

static bool has_curve(const lx_export_run *run, const char *key)
{
    for (size_t i = 0; i < run->n_curves; i++)
        if (strcmp(run->curves[i].key, key) == 0)
            return true;
    return false;
}

/* Is the key a folder of another one? */
static bool is_folder(const lx_export_run *run, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < run->n_curves; i++)
        if (strncmp(run->curves[i].key, key, n) == 0 && run->curves[i].key[n] == '/')
            return true;
    return false;
}

static int write_metric(writer *w, const lx_export_curve *c, lx_error *err)
{
    lx_str text = LX_STR_INIT, key = LX_STR_INIT;
    int rc;

    lx_str_puts(&key, c->key);
    if (is_folder(w->run, c->key)) {
        lx_str_puts(&key, "/current");
        while (!key.failed && has_curve(w->run, lx_str_text(&key)))
            lx_str_putc(&key, '_');
    }
    for (size_t k = 0; k < c->n; k++) {
        char value[40];
        lx_python_float(value, c->values[k]);
        lx_str_printf(&text, "%lld %s %lld\n",
                      milliseconds(lx_export_time(w->run, k, c->n)), value,
                      (long long)c->steps[k]);
    }
    if ((rc = lx_str_check(&text, err)) == LX_OK &&
        (rc = lx_str_check(&key, err)) == LX_OK && c->n)
        rc = write_at(w, "metrics", lx_str_text(&key), lx_str_text(&key),
                      lx_str_text(&text), text.len, err);
    lx_str_release(&text);
    lx_str_release(&key);
    return rc;
}

/* ---- tags -------------------------------------------------------------------------- */

static int write_tags(writer *w, lx_error *err)
{
    const lx_export_run *run = w->run;
    const lx_export_pair fixed[] = {{"mlflow.runName", *run->name ? run->name : run->id},
                                    {"mlflow.source.type", "LOCAL"},
                                    {"mlflow.source.git.commit", run->commit},
                                    {"lx.id", run->id},
                                    {"lx.kind", run->kind},
                                    {"lx.message", run->message},
                                    {"lx.command_line", run->command_line}};
    lx_str notes = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < sizeof fixed / sizeof *fixed && rc == LX_OK; i++)
        if (fixed[i].value && *fixed[i].value)
            rc = write_text(w, "tags", fixed[i].key, fixed[i].value, MOST_TAG, err);
    for (size_t i = 0; i < run->n_tags && rc == LX_OK; i++)
        rc = write_text(w, "tags", run->tags[i].key, run->tags[i].value, MOST_TAG, err);
    for (size_t i = 0; i < run->n_notes; i++)
        lx_str_printf(&notes, "%s%s", i ? "\n\n" : "", run->notes[i]);
    if (rc == LX_OK && notes.len && (rc = lx_str_check(&notes, err)) == LX_OK)
        rc = write_text(w, "tags", "mlflow.note.content", lx_str_text(&notes), MOST_TAG,
                        err);
    lx_str_release(&notes);
    return rc;
}

/* ---- the whole --------------------------------------------------------------------- */

static int write_artifact(writer *w, const lx_export_file *file, lx_error *err)
{
    lx_str key = LX_STR_INIT, name = LX_STR_INIT;
    int rc;
    lx_export_name(&key, file->role);
    lx_str_putc(&key, '/');
    lx_export_name(&key, file->name);
    lx_str_printf(&name, "%s/%s", file->role, file->name);
    if ((rc = lx_str_check(&key, err)) == LX_OK &&
        (rc = lx_str_check(&name, err)) == LX_OK)
        rc = write_at(w, "artifacts", lx_str_text(&key), lx_str_text(&name), file->data,
                      file->n, err);
    lx_str_release(&key);
    lx_str_release(&name);
    return rc;
}

static int write_run(writer *w, const lx_export_file *files, size_t n_files,
                     lx_error *err)
{
    const lx_export_run *run = w->run;
    int rc;

    make_ids(w);
    if ((rc = write_experiment(w, err)) < 0)
        return rc;
    for (size_t i = 0; i < run->n_curves && rc == LX_OK; i++)
        rc = write_metric(w, &run->curves[i], err);
    for (size_t i = 0; i < run->n_flags && rc == LX_OK; i++)
        rc = write_text(w, "params", run->flags[i].key, run->flags[i].text, MOST_PARAM,
                        err);
    for (size_t i = 0; i < n_files && rc == LX_OK; i++)
        rc = write_artifact(w, &files[i], err);
    if (rc == LX_OK)
        rc = write_tags(w, err);
    /* Last: without it the folder is no run yet. */
    return rc == LX_OK ? write_run_meta(w, err) : rc;
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
        lx_str_puts(&w.root, absolute);
        rc = write_run(&w, files, n_files, err);
    }
    free(absolute);
    lx_arena_free(w.arena);
    lx_str_release(&w.root);
    lx_str_release(&w.path);
    return rc;
}
