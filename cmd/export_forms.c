/* Runs for TensorBoard, MLflow, tables and JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cmd/export.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/export/mlflow.h"
#include "src/export/tensorboard.h"
#include "store/transfer.h"

/* ---- runs of the store as plain structs -------------------------------------------- */

typedef struct gathered {
    lx_run_texts texts; /* scrubbed */
    lx_remark_row *remarks;
    size_t n_remarks;
    lx_artifact_row *artifacts;
    size_t n_artifacts;
    lx_export_run run;
} gathered;

static const char *scrub(lx_export_job *job, const char *text)
{
    return lx_privacy_text(job->privacy, text, job->cli->arena);
}

static void learn(lx_export_job *job, const char *text)
{
    if (text)
        lx_privacy_learn(job->privacy, text, strlen(text));
}

static const char **text_at(lx_run_texts *t, int i)
{
    const char **const all[] = {&t->command_line, &t->flags_given, &t->flags,
                                &t->spec,         &t->dataset,     &t->base_model,
                                &t->environment,  &t->git,         &t->diff};
    return all[i];
}
enum { N_TEXTS = 9 };

static const char *value_text(lx_export_job *job, const cJSON *value)
{
    lx_str text = LX_STR_INIT;
    const char *kept;
    if (cJSON_IsString(value))
        return lx_arena_strdup(job->cli->arena, value->valuestring);
    lx_json_canonical(&text, value, NULL);
    kept = lx_arena_strdup(job->cli->arena, lx_str_text(&text));
    lx_str_release(&text);
    return kept;
}

/* NaN for what is no number; a bool is 0 or 1. */
static double number_of(const cJSON *value)
{
    return cJSON_IsNumber(value) ? value->valuedouble
           : cJSON_IsBool(value) ? (double)cJSON_IsTrue(value)
                                 : (double)NAN;
}

static int take_flags(lx_export_job *job, gathered *g, lx_error *err)
{
    const char *text = g->texts.flags ? g->texts.flags : g->texts.flags_given;
    lx_export_flag *flags;
    const char **unset;
    cJSON *root = NULL;
    const cJSON *item;
    size_t n = 0, n_unset = 0;
    int rc = LX_OK;

    if (!text || lx_json_parse(&root, text, strlen(text), NULL) < 0)
        return LX_OK; /* damaged ones are not worth losing the curves */
    flags = lx_arena_calloc(job->cli->arena, (size_t)cJSON_GetArraySize(root), sizeof *flags);
    unset = lx_arena_calloc(job->cli->arena, (size_t)cJSON_GetArraySize(root), sizeof *unset);
    if (!flags || !unset)
        rc = lx_oom(err);
    cJSON_ArrayForEach(item, root)
    {
        if (rc < 0 || !item->string)
            continue;
        if (cJSON_IsNull(item)) {
            if (!(unset[n_unset++] = lx_arena_strdup(job->cli->arena, item->string)))
                rc = lx_oom(err);
            continue;
        }
        flags[n] = (lx_export_flag){.key = lx_arena_strdup(job->cli->arena, item->string),
                                    .text = value_text(job, item),
                                    .number = number_of(item),
                                    .is_bool = cJSON_IsBool(item)};
        if (!flags[n].key || !flags[n].text)
            rc = lx_oom(err);
        n++;
    }
    g->run.flags = flags;
    g->run.n_flags = n;
    g->run.unset = unset;
    g->run.n_unset = n_unset;
    cJSON_Delete(root);
    return rc;
}

static int take_remarks(lx_export_job *job, gathered *g, lx_error *err)
{
    lx_export_pair *tags = lx_arena_calloc(job->cli->arena, g->n_remarks, sizeof *tags);
    const char **notes = lx_arena_calloc(job->cli->arena, g->n_remarks, sizeof *notes);

    if (!tags || !notes)
        return lx_oom(err);
    for (size_t i = 0; i < g->n_remarks; i++) {
        const lx_remark_row *r = &g->remarks[i];
        if (strcmp(r->kind, "note") == 0)
            notes[g->run.n_notes++] = scrub(job, r->value);
        else if (strcmp(r->kind, "tag") == 0)
            tags[g->run.n_tags++] =
                (lx_export_pair){scrub(job, r->key), scrub(job, r->value)};
    }
    g->run.tags = tags;
    g->run.notes = notes;
    return LX_OK;
}

static int take_curves(lx_export_job *job, gathered *g, const lx_run_row *row,
                       lx_error *err)
{
    lx_export_curve *curves;
    lx_curve *read;
    size_t n;
    int rc = lx_query_curves(&read, &n, job->store, row, job->cli->arena, err);

    if (rc < 0)
        return rc;
    if (!(curves = lx_arena_calloc(job->cli->arena, n, sizeof *curves)))
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        curves[i] =
            (lx_export_curve){read[i].key, read[i].steps, read[i].values, read[i].n};
    g->run.curves = curves;
    g->run.n_curves = n;
    return LX_OK;
}

static const char *commit_of(lx_export_job *job, const char *git)
{
    cJSON *root = NULL;
    const char *commit = NULL;
    if (git && lx_json_parse(&root, git, strlen(git), NULL) == LX_OK &&
        lx_json_text(root, "commit"))
        commit = lx_arena_strdup(job->cli->arena, lx_json_text(root, "commit"));
    cJSON_Delete(root);
    return commit;
}

static int read_run(lx_export_job *job, gathered *g, const lx_run_row *row, lx_error *err)
{
    lx_arena *arena = job->cli->arena;
    int rc;

    if ((rc = lx_query_texts(&g->texts, job->store, row, arena, err)) < 0 ||
        (rc = lx_query_remarks(&g->remarks, &g->n_remarks, job->store, row->seq, NULL,
                               arena, err)) < 0 ||
        (rc = lx_query_artifacts(&g->artifacts, &g->n_artifacts, job->store, row, arena,
                                 err)) < 0)
        return rc;
    for (int i = 0; i < N_TEXTS; i++)
        learn(job, *text_at(&g->texts, i));
    learn(job, row->name);
    learn(job, row->message);
    for (size_t i = 0; i < g->n_remarks; i++)
        learn(job, g->remarks[i].value);
    return LX_OK;
}

static int take_run(lx_export_job *job, gathered *g, const lx_run_row *row, lx_error *err)
{
    int rc;
    for (int i = 0; i < N_TEXTS; i++)
        *text_at(&g->texts, i) = scrub(job, *text_at(&g->texts, i));
    g->run = (lx_export_run){.id = row->id,
                             .name = scrub(job, row->name),
                             .kind = row->kind,
                             .status = row->status,
                             .message = scrub(job, row->message),
                             .group = scrub(job, row->group),
                             .command_line = g->texts.command_line,
                             .commit = commit_of(job, g->texts.git),
                             .started = row->started,
                             .ended = row->ended};
    if ((rc = take_flags(job, g, err)) < 0 || (rc = take_remarks(job, g, err)) < 0)
        return rc;
    return take_curves(job, g, row, err);
}

/* All runs, in the arena: names are learned from all before one is scrubbed. */
static int gather(gathered **out, lx_export_job *job, lx_error *err)
{
    gathered *all = lx_arena_calloc(job->cli->arena, job->n_runs, sizeof *all);
    int rc = all ? LX_OK : lx_oom(err);
    for (size_t i = 0; i < job->n_runs && rc == LX_OK; i++)
        rc = read_run(job, &all[i], &job->runs[i], err);
    for (size_t i = 0; i < job->n_runs && rc == LX_OK; i++)
        rc = take_run(job, &all[i], &job->runs[i], err);
    *out = all;
    return rc;
}

/* ---- files ------------------------------------------------------------------------- */

/* The kept files of a run, scrubbed; role NULL: all. Freed with drop_files. */
static void drop_files(lx_export_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lx_free(files[i].data);
    lx_free(files);
}

static int read_file(lx_export_job *job, lx_export_file *out, const lx_artifact_row *a,
                     lx_error *err)
{
    lx_str bytes = LX_STR_INIT, clean = LX_STR_INIT;
    lx_hash hash;
    int rc = lx_hash_from_hex(&hash, a->object)
                 ? lx_object_get(&bytes, job->store, &hash, err)
                 : lx_fail(err, LX_EFORMAT, "%s: an artifact without a hash", a->name);

    *out =
        (lx_export_file){.role = a->role, .name = scrub(job, a->name), .step = a->step};
    if (rc == LX_OK) {
        lx_scrubbing how = lx_transfer_scrub(&clean, job->privacy, a->role, &bytes);
        lx_str *kept = how == LX_SCRUB_CHANGED ? &clean : &bytes;
        if (how == LX_SCRUB_LEFT && !job->cli->is_quiet)
            lx_message(
                job->cli,
                "note: %s is no text and was left as it is, though something private "
                "seems to be in it\n",
                lx_safe(job->cli, out->name));
        out->n = kept->len;
        if (!(out->data = lx_str_detach(kept)))
            rc = lx_oom(err);
    }
    lx_str_release(&bytes);
    lx_str_release(&clean);
    return rc;
}

static int take_files(lx_export_file **out, size_t *n, lx_export_job *job,
                      const gathered *g, const char *role, lx_error *err)
{
    lx_export_file *files = lx_calloc(g->n_artifacts, sizeof *files);
    int rc = files ? LX_OK : lx_oom(err);

    *n = 0;
    for (size_t i = 0; i < g->n_artifacts && rc == LX_OK; i++) {
        const lx_artifact_row *a = &g->artifacts[i];
        if (!a->is_kept || (role && strcmp(a->role, role) != 0))
            continue;
        rc = read_file(job, &files[(*n)++], a, err);
    }
    if (rc < 0) {
        drop_files(files, *n);
        files = NULL;
    }
    *out = files;
    return rc;
}

/* ---- TensorBoard ------------------------------------------------------------------- */

/* Each run's folder: its name as one, with the id where two runs share that. In the arena.
 */
static int name_folders(const char ***out, lx_export_job *job, const gathered *all,
                        lx_error *err)
{
    lx_arena *arena = job->cli->arena;
    const char **plain = lx_arena_calloc(arena, job->n_runs, sizeof *plain),
               **folders = lx_arena_calloc(arena, job->n_runs, sizeof *folders);
    lx_str name = LX_STR_INIT;

    for (size_t i = 0; plain && folders && i < job->n_runs; i++) {
        const lx_export_run *run = &all[i].run;
        lx_str_clear(&name);
        lx_export_name(&name, *run->name ? run->name : run->id);
        folders[i] = plain[i] = lx_arena_strdup(arena, lx_str_text(&name));
        if (name.failed || !plain[i])
            plain = NULL;
    }
    lx_str_release(&name);
    for (size_t i = 0; plain && folders && i < job->n_runs; i++)
        for (size_t k = 0; k < job->n_runs && folders[i] == plain[i]; k++)
            if (k != i && strcmp(plain[k], plain[i]) == 0 &&
                !(folders[i] =
                      lx_arena_printf(arena, "%s-%.10s", plain[i], all[i].run.id)))
                return lx_oom(err);
    *out = folders;
    return plain && folders ? LX_OK : lx_oom(err);
}

static int write_events(lx_export_job *job, const gathered *all, size_t at,
                        const char *folder, const lx_tensorboard_param *params,
                        size_t n_params, lx_error *err)
{
    lx_export_file *images = NULL;
    lx_str bytes = LX_STR_INIT, path = LX_STR_INIT;
    size_t n_images;
    char name[64];
    int rc;

    if ((rc = take_files(&images, &n_images, job, &all[at], "sample", err)) < 0)
        return rc;
    lx_str_printf(&path, "%s/%s", job->output, folder);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (rc = lx_make_dirs(lx_str_text(&path), err)) == LX_OK &&
        (rc = lx_tensorboard_file(&bytes, &all[at].run, params, n_params, images,
                                  n_images, err)) == LX_OK) {
        lx_tensorboard_name(name, &all[at].run);
        lx_str_printf(&path, "/%s", name);
        if ((rc = lx_str_check(&path, err)) == LX_OK && lx_alloc_has_failed())
            rc = lx_oom(err); /* some of it may be missing */
        if (rc == LX_OK)
            rc = lx_file_write(lx_str_text(&path), bytes.data, bytes.len, err);
    }
    drop_files(images, n_images);
    lx_str_release(&bytes);
    lx_str_release(&path);
    return rc;
}

static int tell_done(lx_export_job *job, const char *what, lx_error *err)
{
    if (!job->cli->is_quiet)
        lx_message(job->cli, "wrote %zu run%s to %s%s\n", job->n_runs,
                   job->n_runs == 1 ? "" : "s", lx_safe(job->cli, job->output), what);
    return lx_export_tell_scrubbed(job, err);
}

int lx_export_tensorboard(lx_export_job *job, lx_error *err)
{
    lx_tensorboard_param *params = NULL;
    const char **folders = NULL;
    lx_export_run *runs;
    gathered *all;
    size_t n_params = 0;
    int rc;

    if (!job->output)
        return lx_fail(err, LX_EUSAGE,
                       "where to? -o FOLDER, the --logdir of tensorboard");
    if ((rc = gather(&all, job, err)) < 0 ||
        (rc = name_folders(&folders, job, all, err)) < 0)
        return rc;
    if (!(runs = lx_arena_calloc(job->cli->arena, job->n_runs, sizeof *runs)))
        return lx_oom(err);
    for (size_t i = 0; i < job->n_runs; i++)
        runs[i] = all[i].run;
    rc = lx_tensorboard_params(&params, &n_params, runs, job->n_runs, err);
    for (size_t i = 0; i < job->n_runs && rc == LX_OK; i++)
        rc = write_events(job, all, i, folders[i], params, n_params, err);
    lx_free(params);
    return rc == LX_OK ? tell_done(job, ": tensorboard --logdir shows them", err) : rc;
}

/* ---- MLflow ------------------------------------------------------------------------ */

int lx_export_mlflow(lx_export_job *job, lx_error *err)
{
    gathered *all;
    int rc;

    if (!job->output)
        return lx_fail(err, LX_EUSAGE, "where to? -o mlruns");
    rc = gather(&all, job, err);
    for (size_t i = 0; i < job->n_runs && rc == LX_OK; i++) {
        lx_export_file *files = NULL;
        size_t n = 0;
        if ((rc = take_files(&files, &n, job, &all[i], NULL, err)) < 0)
            break;
        rc = lx_mlflow_write(job->output, &all[i].run, files, n, err);
        drop_files(files, n);
    }
    return rc == LX_OK
               ? tell_done(job, ": mlflow migrate-filestore takes them into a database",
                           err)
               : rc;
}

/* ---- CSV, JSON --------------------------------------------------------------------- */

static int put_out(lx_export_job *job, const lx_str *text, lx_error *err)
{
    int rc;
    if (!job->output) {
        lx_print_bytes(job->cli, lx_str_text(text), text->len);
        return LX_OK;
    }
    rc = lx_alloc_has_failed()
             ? lx_oom(err)
             : lx_file_write(job->output, lx_str_text(text), text->len, err);
    return rc == LX_OK ? tell_done(job, "", err) : rc;
}

int lx_export_table(lx_export_job *job, lx_error *err)
{
    lx_str out = LX_STR_INIT;
    gathered *all;
    int rc = gather(&all, job, err);

    if (rc == LX_OK)
        rc = lx_export_csv(&out, NULL, 0, err); /* the heading */
    for (size_t i = 0; i < job->n_runs && rc == LX_OK; i++) {
        lx_str rows = LX_STR_INIT;
        if ((rc = lx_export_csv(&rows, &all[i].run, 1, err)) == LX_OK) {
            const char *first = strchr(rows.data, '\n') + 1;
            lx_str_append(&out, first, rows.len - (size_t)(first - rows.data));
        }
        lx_str_release(&rows);
    }
    if (rc == LX_OK && (rc = lx_str_check(&out, err)) == LX_OK)
        rc = put_out(job, &out, err);
    lx_str_release(&out);
    return rc;
}

static void put_member(lx_str *out, const char *key, const char *text)
{
    lx_str_printf(out, ",\"%s\":", key);
    lx_escape_json(out, text, strlen(text));
}

/* What is JSON already goes in as it is; damaged as a text. */
static void put_document(lx_str *out, const char *key, const char *text)
{
    cJSON *root = NULL;
    if (!text)
        return;
    if (lx_json_parse(&root, text, strlen(text), NULL) < 0) {
        put_member(out, key, text);
        return;
    }
    lx_str_printf(out, ",\"%s\":", key);
    if (lx_json_canonical(out, root, NULL) < 0)
        out->failed = true;
    cJSON_Delete(root);
}

static void put_time(lx_str *out, const char *key, double x)
{
    char text[32];
    lx_format_double(text, x);
    lx_str_printf(out, ",\"%s\":%s", key, text);
}

static void put_curves(lx_str *out, const lx_export_run *r)
{
    lx_str_puts(out, ",\"curves\":{");
    for (size_t i = 0; i < r->n_curves; i++) {
        const lx_export_curve *c = &r->curves[i];
        if (i)
            lx_str_putc(out, ',');
        lx_escape_json(out, c->key, strlen(c->key));
        lx_str_puts(out, ":{\"steps\":[");
        for (size_t k = 0; k < c->n; k++)
            lx_str_printf(out, "%s%lld", k ? "," : "", (long long)c->steps[k]);
        lx_str_puts(out, "],\"values\":[");
        for (size_t k = 0; k < c->n; k++) {
            char text[32];
            lx_format_double(text, c->values[k]);
            lx_str_printf(out, "%s%s", k ? "," : "",
                          isfinite(c->values[k]) ? text : "null");
        }
        lx_str_puts(out, "]}");
    }
    lx_str_putc(out, '}');
}

static void put_remarks(lx_str *out, const lx_export_run *r)
{
    lx_str_puts(out, ",\"tags\":[");
    for (size_t i = 0; i < r->n_tags; i++) {
        lx_str_puts(out, i ? ",[" : "[");
        lx_escape_json(out, r->tags[i].key, strlen(r->tags[i].key));
        lx_str_putc(out, ',');
        lx_escape_json(out, r->tags[i].value, strlen(r->tags[i].value));
        lx_str_putc(out, ']');
    }
    lx_str_puts(out, "],\"notes\":[");
    for (size_t i = 0; i < r->n_notes; i++) {
        if (i)
            lx_str_putc(out, ',');
        lx_escape_json(out, r->notes[i], strlen(r->notes[i]));
    }
    lx_str_putc(out, ']');
}

static void put_artifacts(lx_export_job *job, lx_str *out, const gathered *g)
{
    lx_str_puts(out, ",\"artifacts\":[");
    for (size_t i = 0; i < g->n_artifacts; i++) {
        const lx_artifact_row *a = &g->artifacts[i];
        lx_str_printf(out, "%s{\"step\":%lld,\"size\":%lld,\"is_kept\":%s", i ? "," : "",
                      (long long)a->step, (long long)a->size,
                      a->is_kept ? "true" : "false");
        put_member(out, "role", a->role);
        put_member(out, "name", scrub(job, a->name));
        put_member(out, "sha256", a->object);
        lx_str_putc(out, '}');
    }
    lx_str_putc(out, ']');
}

static void put_run(lx_export_job *job, lx_str *out, const gathered *g)
{
    const lx_export_run *r = &g->run;
    lx_str_puts(out, "{\"id\":");
    lx_escape_json(out, r->id, strlen(r->id));
    put_member(out, "name", r->name);
    put_member(out, "kind", r->kind);
    put_member(out, "status", r->status);
    put_member(out, "message", r->message);
    put_member(out, "group", r->group);
    put_time(out, "started", r->started);
    if (r->ended > 0)
        put_time(out, "ended", r->ended);
    if (g->texts.command_line)
        put_member(out, "command_line", g->texts.command_line);
    put_document(out, "flags_given", g->texts.flags_given);
    put_document(out, "flags", g->texts.flags);
    put_document(out, "spec", g->texts.spec);
    put_document(out, "dataset", g->texts.dataset);
    put_document(out, "base_model", g->texts.base_model);
    put_document(out, "environment", g->texts.environment);
    put_document(out, "git", g->texts.git);
    if (g->texts.diff)
        put_member(out, "diff", g->texts.diff);
    put_remarks(out, r);
    put_artifacts(job, out, g);
    put_curves(out, r);
    lx_str_putc(out, '}');
}

int lx_export_json(lx_export_job *job, lx_error *err)
{
    lx_str out = LX_STR_INIT;
    gathered *all;
    int rc = gather(&all, job, err);

    lx_str_puts(&out, "{\"lx_export\":1,\"runs\":[");
    for (size_t i = 0; i < job->n_runs && rc == LX_OK; i++) {
        if (i)
            lx_str_puts(&out, ",\n");
        put_run(job, &out, &all[i]);
    }
    lx_str_puts(&out, "]}\n");
    if (rc == LX_OK && (rc = lx_str_check(&out, err)) == LX_OK)
        rc = put_out(job, &out, err);
    lx_str_release(&out);
    return rc;
}
