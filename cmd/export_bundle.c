/* Runs as a bundle, out and in. */
#include <string.h>

#include "cmd/export.h"
#include "cmd/import.h"
#include "cmd/import_bundle.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/bundle.h"

/* ---- out --------------------------------------------------------------------------- */

static void tell(lx_export_job *job, lx_transfer *t, size_t n_objects)
{
    size_t n_left, n_curves;
    const char *const *left = lx_transfer_left(t, &n_left), *const *curves = lx_transfer_curves(t, &n_curves);

    lx_message(job->cli, "wrote %s: %zu run%s, %zu object%s\n",
               lx_safe(job->cli, job->output), job->n_runs, job->n_runs == 1 ? "" : "s",
               n_objects, lx_plural(n_objects));
    for (size_t i = 0; i < n_left; i++)
        lx_message(job->cli,
                   "note: %s is no text and was left as it is, though something private "
                   "seems to be in it\n",
                   lx_safe(job->cli, left[i]));
    for (size_t i = 0; i < n_curves; i++)
        lx_message(job->cli,
                   "note: the curve %s kept its name, which it is known by, though something private "
                   "seems to be in it\n",
                   lx_safe(job->cli, curves[i]));
    if (lx_transfer_has_new_spec(t))
        lx_message(
            job->cli,
            "note: something private was part of a spec: without it the experiment "
            "has another hash than it has here (--no-scrub keeps it)\n");
}

int lx_export_bundle(lx_export_job *job, lx_error *err)
{
    lx_transfer *t = NULL;
    size_t n_objects;
    int rc;

    if (!job->output)
        return lx_fail(err, LX_EUSAGE, "where to? -o runs.lxb");
    if ((rc = lx_transfer_new(&t, job->store, job->privacy, job->cli->arena, err)) < 0)
        return rc;
    for (size_t i = 0; i < job->n_runs && rc == LX_OK; i++)
        rc = lx_transfer_learn(t, &job->runs[i], err);
    for (size_t i = 0; i < job->n_runs && rc == LX_OK; i++)
        rc = lx_transfer_add(t, &job->runs[i], err);
    if (rc == LX_OK && lx_alloc_has_failed())
        rc = lx_oom(err); /* some of it may be missing */
    if (rc == LX_OK)
        rc = lx_bundle_write(job->output, t, job->privacy, job->cli->arena, err);
    if (rc == LX_OK && !job->cli->is_quiet) {
        lx_transfer_objects(t, &n_objects);
        tell(job, t, n_objects);
    }
    lx_transfer_free(t);
    return rc == LX_OK ? lx_export_tell_scrubbed(job, err) : rc;
}

/* ---- in ---------------------------------------------------------------------------- */

bool lx_import_takes_bundle(const char *path, const unsigned char *head, size_t n,
                            bool is_named)
{
    return head && (is_named ? lx_bundle_is(head, n, path) : lx_ends_with(path, ".lxb"));
}

/* steps: -1 = not known */
static int add_own(lx_import *job, const cJSON *record, const char *state, int64_t steps,
                   lx_error *err)
{
    const cJSON *end = cJSON_GetObjectItemCaseSensitive(record, "end");
    const char *name = lx_json_text(record, "name"),
               *status = lx_json_text(end, "status");
    cJSON *o = cJSON_CreateObject();

    cJSON_AddStringToObject(o, "state", state);
    cJSON_AddStringToObject(o, "id", lx_json_text(record, "id"));
    cJSON_AddStringToObject(o, "name", name ? name : "");
    cJSON_AddNumberToObject(o, "started", lx_json_number(record, "started", 0));
    cJSON_AddStringToObject(o, "status", status ? status : "interrupted");
    if (steps >= 0)
        cJSON_AddNumberToObject(o, "steps", (double)steps);
    cJSON_AddStringToObject(o, "source", "bundle");
    return cJSON_AddItemToArray(job->own, o) ? LX_OK : lx_oom(err);
}

/* What a dry run says: known or new; whether something would be added to a known one is
 * not told. */
static int look_up(const char **state, int64_t *steps, lx_import *job, const char *id,
                   lx_error *err)
{
    lx_run_row row = {.last_step = -1};
    int rc = job->store ? lx_query_find(&row, job->store, id, job->cli->arena, err)
                        : LX_ENOTFOUND;
    *state = rc == LX_OK ? "known" : "new";
    *steps = rc == LX_OK ? row.last_step : -1;
    return rc == LX_ENOTFOUND ? LX_OK : rc;
}

static int read_run(lx_import *job, lx_bundle *bundle, const cJSON *record, lx_error *err)
{
    static const char *const states[] = {[LX_ARRIVED_NEW] = "new",
                                         [LX_ARRIVED_KNOWN] = "known",
                                         [LX_ARRIVED_EXTENDED] = "extended"};
    const char *state;
    lx_arrival how;
    lx_run_row row;
    int64_t seq, steps = -1;
    int rc;

    if (job->is_dry_run)
        rc = look_up(&state, &steps, job, lx_json_text(record, "id"), err);
    else if ((rc = lx_transfer_apply(&how, &seq, job->store, record, lx_bundle_fetch,
                                     bundle, err)) == LX_OK &&
             (rc = lx_query_run(&row, job->store, seq, job->cli->arena, err)) == LX_OK) {
        state = states[how];
        steps = row.last_step;
    }
    return rc == LX_OK ? add_own(job, record, state, steps, err) : rc;
}

int lx_import_read_bundle(lx_import *job, const char *path, bool is_named, lx_error *err)
{
    lx_bundle *bundle = NULL;
    const cJSON *record;
    const char *scratch =
        job->store && !job->is_dry_run
            ? lx_arena_printf(job->cli->arena, "%s/tmp", lx_store_path(job->store))
            : lx_temporary_folder();
    int rc;

    (void)is_named;
    if (!scratch)
        return lx_oom(err);
    if ((rc = lx_bundle_open(&bundle, path, scratch, err)) < 0)
        return rc;
    cJSON_ArrayForEach(record, lx_bundle_runs(bundle))
    {
        if (rc == LX_OK && lx_signals_pending())
            rc = lx_fail(err, LX_EINTERRUPTED, "interrupted; whole runs were imported");
        if (rc == LX_OK && (rc = read_run(job, bundle, record, err)) < 0 &&
            rc != LX_EINTERRUPTED)
            lx_within(err, "%s", path);
    }
    lx_bundle_close(bundle);
    return rc;
}
