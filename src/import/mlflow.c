#include "src/import/mlflow.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/str.h"
#include "src/import/yaml.h"

enum { MOST_TEXT = 1 << 20, MOST_METRIC = 256 << 20, MOST_DEPTH = 16 };

/* ---- shared with the SQLite store -------------------------------------------------- */

const char *lx_mlflow_status(const char *text)
{
    static const char *const failed[] = {"4", "FAILED"};
    static const char *const finished[] = {"3", "FINISHED"};

    for (int i = 0; i < 2; i++) {
        if (strcmp(text, finished[i]) == 0)
            return "finished";
        if (strcmp(text, failed[i]) == 0)
            return "failed";
    }
    return "interrupted"; /* killed, or running when it was copied */
}

static bool is_private(const char *key)
{
    static const char *const keys[] = {"mlflow.user",
                                       "mlflow.source.name",
                                       "mlflow.source.git.repoURL",
                                       "mlflow.source.git.diff",
                                       "mlflow.project.env",
                                       "mlflow.databricks."};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (lx_starts_with(key, keys[i]))
            return true;
    return false;
}

void lx_mlflow_tag(lx_history *h, lx_history_run *run, const char *key, const char *value)
{
    if (strcmp(key, "mlflow.runName") == 0) {
        if (!run->name || !*run->name)
            run->name = value;
    } else if (strcmp(key, "mlflow.note.content") == 0) {
        lx_history_note(h, run, value);
    } else if (strcmp(key, "mlflow.source.git.commit") == 0) {
        lx_history_fact(h, run, "git.commit", value);
    } else if (strncmp(key, "mlflow.", 7) == 0) {
        if (!is_private(key) || h->keeps_private)
            lx_history_fact(h, run, key, value);
    } else {
        lx_history_tag(h, run, key, value);
    }
}

/* ---- the file store ---------------------------------------------------------------- */

typedef struct meta {
    lx_history *history;
    const char *folder;
    const char *id, *name, *status, *stage, *user;
    size_t n_pairs;
    double start, end; /* ms */
} meta;

/* Milliseconds since 1970, as far as the year 5138; 0, with a problem, when it is none. */
static double read_time(const meta *m, const char *key, const char *value)
{
    char *end;
    double x = strtod(value, &end);

    if (end != value && !*end && x >= 0 && x < 1e14)
        return x;
    lx_history_problem(m->history, "%s: %s \"%.40s\" is no time in milliseconds: left out",
                       m->folder, key, value);
    return 0;
}

static int read_meta_pair(void *context, const char *key, const char *value,
                          bool is_plain, lx_error *err)
{
    meta *m = context;
    const struct {
        const char *key;
        const char **text;
    } texts[] = {{"run_id", &m->id},     {"run_uuid", &m->id},
                 {"run_name", &m->name}, {"name", &m->name},
                 {"status", &m->status}, {"lifecycle_stage", &m->stage},
                 {"user_id", &m->user},  {"experiment_id", NULL}};
    double *number = strcmp(key, "start_time") == 0 ? &m->start
                     : strcmp(key, "end_time") == 0 ? &m->end
                                                    : NULL;

    (void)err;
    m->n_pairs++;
    if (is_plain && (strcmp(value, "null") == 0 || (number && !*value)))
        return LX_OK;
    if (number)
        *number = read_time(m, key, value);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].text && strcmp(key, texts[i].key) == 0)
            *texts[i].text = lx_history_text(m->history, value, strlen(value));
    return LX_OK;
}

/* meta.yaml of a folder; false when there is none, or with a problem when it is damaged.
 */
static bool read_meta(meta *out, lx_history *h, const char *folder)
{
    lx_str path = LX_STR_INIT;
    lx_error damage = {0};
    int rc = LX_ENOTFOUND;

    *out = (meta){
        .history = h, .folder = folder, .status = "", .stage = "", .user = ""};
    lx_str_printf(&path, "%s/meta.yaml", folder);
    if (!path.failed && lx_file_exists(lx_str_text(&path)) &&
        !lx_history_is_link(h, lx_str_text(&path)) &&
        (rc = lx_yaml_read(lx_str_text(&path), read_meta_pair, out, &damage)) < 0)
        lx_history_problem(h, "%s", damage.text);
    if (rc == LX_OK && !out->n_pairs)
        lx_history_problem(h, "%s: nothing of MLflow's in it", lx_str_text(&path));
    h->failed |= rc == LX_ENOMEM || path.failed;
    lx_str_release(&path);
    return rc == LX_OK;
}

/* "1700000000000 0.125 3"; old versions wrote no step. Steps are from 0 on, below 2^63. */
static bool read_point(double *value, int64_t *step, const char *line, const char *end)
{
    char text[160], *at, *next;
    size_t n = (size_t)(end - line);

    if (n == 0 || n >= sizeof text)
        return false;
    memcpy(text, line, n);
    text[n] = '\0';
    strtod(text, &at);
    if (at == text || *at != ' ')
        return false;
    *value = strtod(at + 1, &next);
    if (next == at + 1)
        return false;
    *step = 0;
    if (!*next)
        return true;
    errno = 0;
    *step = strtoll(next + 1, &at, 10);
    return *next == ' ' && at > next + 1 && !*at && errno == 0 && *step >= 0;
}

/* What a leaf of metrics/, params/ or tags/ means: its key is its path below that folder.
 */
typedef int (*leaf_reader)(lx_history *h, lx_history_run *run, const char *key,
                           const lx_str *text, lx_error *err);

static int read_metric(lx_history *h, lx_history_run *run, const char *key,
                       const lx_str *text, lx_error *err)
{
    const char *p = lx_str_text(text), *end = p + text->len, *line_end;
    size_t n_bad = 0;
    double value;
    int64_t step;
    int rc = LX_OK;

    for (; p < end && rc == LX_OK; p = line_end + 1) {
        if (!(line_end = memchr(p, '\n', (size_t)(end - p))))
            line_end = end;
        if (read_point(&value, &step, p, line_end))
            rc = lx_history_point(h, run, key, step, value, err);
        else
            n_bad += line_end > p;
    }
    if (n_bad)
        lx_history_problem(h, "%s: metric %s: %zu line%s not of MLflow's shape",
                           run->from, key, n_bad, n_bad == 1 ? " is" : "s are");
    return rc;
}

static int read_param(lx_history *h, lx_history_run *run, const char *key,
                      const lx_str *text, lx_error *err)
{
    (void)err;
    lx_history_flag(h, run, key, lx_history_text(h, lx_str_text(text), text->len));
    return LX_OK;
}

static int read_tag(lx_history *h, lx_history_run *run, const char *key,
                    const lx_str *text, lx_error *err)
{
    (void)err;
    lx_mlflow_tag(h, run, lx_history_text(h, key, strlen(key)),
                  lx_history_text(h, lx_str_text(text), text->len));
    return LX_OK;
}

static int read_leaves(lx_history *h, lx_history_run *run, const char *folder,
                       const char *prefix, size_t limit, leaf_reader reader, int depth,
                       lx_error *err);

static int read_leaf(lx_history *h, lx_history_run *run, const char *path,
                     const char *key, size_t limit, leaf_reader reader, int depth,
                     lx_error *err)
{
    lx_str text = LX_STR_INIT;
    lx_error damage = {0};
    int rc;

    if (lx_history_is_link(h, path))
        return LX_OK;
    if (lx_file_is_dir(path))
        return read_leaves(h, run, path, key, limit, reader, depth + 1, err);
    if ((rc = lx_file_read(&text, path, limit, &damage)) == LX_OK)
        rc = reader(h, run, key, &text, err);
    else if (rc != LX_ENOMEM) {
        lx_history_problem(h, "%s", damage.text);
        rc = LX_OK;
    } else {
        lx_oom(err);
    }
    lx_str_release(&text);
    return rc;
}

static int read_leaves(lx_history *h, lx_history_run *run, const char *folder,
                       const char *prefix, size_t limit, leaf_reader reader, int depth,
                       lx_error *err)
{
    lx_dir dir = {0};
    lx_error damage = {0};
    int rc;

    if (depth > MOST_DEPTH || !lx_file_is_dir(folder))
        return LX_OK; /* a run without params has no such folder */
    if ((rc = lx_dir_list(&dir, folder, &damage)) == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0) {
        lx_history_problem(h, "%s", damage.text);
        return LX_OK;
    }
    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        lx_str path = LX_STR_INIT, key = LX_STR_INIT;
        lx_str_printf(&path, "%s/%s", folder, dir.names[i]);
        lx_str_printf(&key, "%s%s%s", prefix, *prefix ? "/" : "", dir.names[i]);
        if ((rc = lx_str_check(&path, err)) == LX_OK &&
            (rc = lx_str_check(&key, err)) == LX_OK)
            rc = read_leaf(h, run, lx_str_text(&path), lx_str_text(&key), limit, reader,
                           depth, err);
        lx_str_release(&path);
        lx_str_release(&key);
    }
    lx_dir_free(&dir);
    return rc;
}

static int read_kind(lx_history *h, lx_history_run *run, const char *folder,
                     const char *kind, size_t limit, leaf_reader reader, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;

    lx_str_printf(&path, "%s/%s", folder, kind);
    if ((rc = lx_str_check(&path, err)) == LX_OK && !lx_history_is_link(h, lx_str_text(&path)))
        rc = read_leaves(h, run, lx_str_text(&path), "", limit, reader, 0, err);
    lx_str_release(&path);
    return rc;
}

static int read_run(lx_history *h, const char *folder, const char *experiment,
                    lx_error *err)
{
    lx_history_run *run;
    meta m;
    int rc;

    if (!read_meta(&m, h, folder) || !m.id || strcmp(m.stage, "deleted") == 0)
        return LX_OK;
    if (!(run = lx_history_add(h, "MLflow", folder)))
        return lx_oom(err);
    run->origin = lx_history_printf(h, "mlflow:%s", m.id);
    run->name = m.name;
    run->group = experiment;
    run->status = lx_mlflow_status(m.status);
    run->started = m.start / 1000;
    run->ended = m.end / 1000;
    if (h->keeps_private && *m.user)
        lx_history_fact(h, run, "mlflow.user", m.user);
    if ((rc = read_kind(h, run, folder, "metrics", MOST_METRIC, read_metric, err)) < 0 ||
        (rc = read_kind(h, run, folder, "params", MOST_TEXT, read_param, err)) < 0 ||
        (rc = read_kind(h, run, folder, "tags", MOST_TEXT, read_tag, err)) < 0) {
        lx_within(err, "%s", folder);
        lx_history_drop(h);
    }
    return rc;
}

static int read_experiment(lx_history *h, const char *folder, lx_error *err)
{
    lx_dir dir = {0};
    meta m;
    int rc = LX_OK;

    if (!read_meta(&m, h, folder) || strcmp(m.stage, "deleted") == 0)
        return LX_OK;
    if ((rc = lx_dir_list(&dir, folder, err)) < 0)
        return rc;
    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        lx_str path = LX_STR_INIT;
        lx_str_printf(&path, "%s/%s", folder, dir.names[i]);
        if ((rc = lx_str_check(&path, err)) == LX_OK &&
            lx_file_is_dir(lx_str_text(&path)) && !lx_history_is_link(h, lx_str_text(&path)))
            rc = read_run(h, lx_str_text(&path), m.name ? m.name : "", err);
        lx_str_release(&path);
    }
    lx_dir_free(&dir);
    return rc;
}

int lx_import_mlflow(lx_history *h, const char *folder, lx_error *err)
{
    lx_dir dir = {0};
    int rc = lx_dir_list(&dir, folder, err);

    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        lx_str path = LX_STR_INIT;
        lx_str_printf(&path, "%s/%s", folder, dir.names[i]);
        if ((rc = lx_str_check(&path, err)) == LX_OK && dir.names[i][0] != '.' &&
            lx_file_is_dir(lx_str_text(&path)) && !lx_history_is_link(h, lx_str_text(&path)))
            rc = read_experiment(h, lx_str_text(&path), err);
        lx_str_release(&path);
    }
    lx_dir_free(&dir);
    return rc < 0 ? rc : lx_history_check(h, err);
}

bool lx_mlflow_is_folder(const char *folder)
{
    lx_str path = LX_STR_INIT;
    lx_dir dir = {0};
    bool is_one = false;

    if (lx_dir_list(&dir, folder, NULL) < 0)
        return false;
    for (size_t i = 0; i < dir.count && !is_one; i++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/%s/meta.yaml", folder, dir.names[i]);
        is_one =
            !path.failed && dir.names[i][0] != '.' && lx_file_exists(lx_str_text(&path));
    }
    lx_str_release(&path);
    lx_dir_free(&dir);
    return is_one;
}
