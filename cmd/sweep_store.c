/* lx sweep: its record in the store, and what became of its trials. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/run_folder.h"
#include "cmd/sweep.h"
#include "src/base/json.h"
#include "src/base/scrub.h"

static const char plan_name[] = "sweep.json";

int lx_sweep_open_store(lx_sweep *s, lx_sweep_access access, lx_error *err)
{
    const char *wanted = s->store_path ? s->store_path : s->cli->store_path;
    char path[PATH_MAX];
    int rc;

    if (s->store)
        return LX_OK;
    rc = access == LX_SWEEP_CHANGES
             ? lx_store_open_existing(&s->store, wanted, err)
             : lx_store_open(&s->store, wanted, access == LX_SWEEP_READS, err);
    if (rc < 0 || s->store_path)
        return rc;
    if (!realpath(lx_store_path(s->store), path)) /* the folder may change */
        return lx_fail_errno(err, errno, "%s", lx_store_path(s->store));
    s->store_path = lx_arena_strdup(s->cli->arena, path);
    return s->store_path ? LX_OK : lx_oom(err);
}

void lx_sweep_close_store(lx_sweep *s)
{
    lx_store_close(s->store);
    s->store = NULL;
}

/* ---- the plan as JSON -------------------------------------------------------------------- */

static void add_texts(cJSON *object, const char *key, const char *const *items, size_t n)
{
    cJSON *list = cJSON_AddArrayToObject(object, key);

    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(items[i]));
}

static cJSON *plan_json(const lx_sweep *s)
{
    cJSON *root = cJSON_CreateObject(), *values, *rungs;

    cJSON_AddNumberToObject(root, "version", 1);
    add_texts(root, "command", s->command.items, s->command.count);
    cJSON_AddBoolToObject(root, "is_sd_scripts", s->is_sd_scripts);
    add_texts(root, "flags", s->flags, s->n_flags);
    values = cJSON_AddArrayToObject(root, "values");
    for (size_t i = 0; i < s->configs.count; i++) {
        cJSON *row = cJSON_CreateArray();
        cJSON_AddItemToArray(values, row);
        for (size_t a = 0; a < s->n_flags; a++)
            cJSON_AddItemToArray(
                row, cJSON_CreateString(s->configs.values[i * s->n_flags + a]));
    }
    add_texts(root, "seeds", s->seeds, s->n_seeds);
    if (s->metric)
        cJSON_AddStringToObject(root, "metric", s->metric);
    cJSON_AddNumberToObject(root, "eta", s->eta);
    rungs = cJSON_AddArrayToObject(root, "rungs");
    for (size_t i = 0; i < s->n_rungs; i++) {
        cJSON *rung = cJSON_CreateObject();
        cJSON_AddItemToArray(rungs, rung);
        cJSON_AddNumberToObject(rung, "configurations", (double)s->rungs[i].n);
        cJSON_AddNumberToObject(rung, "steps", (double)s->rungs[i].steps);
    }
    return root;
}

static int fail_plan(lx_error *err)
{
    return lx_fail(err, LX_EFORMAT, "%s of the sweep is not what lx writes", plan_name);
}

static int read_texts(const char ***out, size_t *n, const cJSON *object, const char *key,
                      lx_arena *arena, lx_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, key), *item;

    *n = 0;
    if (!cJSON_IsArray(list))
        return fail_plan(err);
    if (!(*out =
              lx_arena_calloc(arena, (size_t)cJSON_GetArraySize(list) + 1, sizeof **out)))
        return lx_oom(err);
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return fail_plan(err);
        if (!((*out)[(*n)++] = lx_arena_strdup(arena, item->valuestring)))
            return lx_oom(err);
    }
    return LX_OK;
}

static int read_values(lx_sweep *s, const cJSON *rows, lx_error *err)
{
    const cJSON *row, *item;
    size_t n = 0;

    s->configs = (lx_sweep_configs){.n_axes = s->n_flags,
                                    .count = (size_t)cJSON_GetArraySize(rows)};
    if (!cJSON_IsArray(rows) || !s->configs.count || s->configs.count > LX_SWEEP_CONFIGS)
        return fail_plan(err);
    s->configs.values = lx_arena_calloc(s->cli->arena, s->configs.count * s->n_flags + 1,
                                        sizeof *s->configs.values);
    if (!s->configs.values)
        return lx_oom(err);
    cJSON_ArrayForEach(row, rows)
    {
        if (!cJSON_IsArray(row) || (size_t)cJSON_GetArraySize(row) != s->n_flags)
            return fail_plan(err);
        cJSON_ArrayForEach(item, row)
        {
            if (!cJSON_IsString(item))
                return fail_plan(err);
            if (!(s->configs.values[n++] =
                      lx_arena_strdup(s->cli->arena, item->valuestring)))
                return lx_oom(err);
        }
    }
    return LX_OK;
}

static int read_rungs(lx_sweep *s, const cJSON *root, lx_error *err)
{
    const double eta = lx_json_number(root, "eta", 0);
    const cJSON *rung;

    s->eta = eta >= 2 && eta <= 100 ? (int)eta : 0;
    cJSON_ArrayForEach(rung, cJSON_GetObjectItemCaseSensitive(root, "rungs"))
    {
        const double n = lx_json_number(rung, "configurations", 0),
                     steps = lx_json_number(rung, "steps", 0);
        if (s->n_rungs == LX_SWEEP_RUNGS || !(n >= 1 && n <= (double)s->configs.count) ||
            !(steps >= 1 && steps < 0x1p53))
            return fail_plan(err);
        s->rungs[s->n_rungs++] = (lx_sweep_rung){(size_t)n, (int64_t)steps};
    }
    return (s->eta != 0) == (s->n_rungs != 0) ? LX_OK : fail_plan(err);
}

static int read_plan(lx_sweep *s, const cJSON *root, lx_error *err)
{
    lx_arena *arena = s->cli->arena;
    const char *metric = lx_json_text(root, "metric");
    int rc;

    if (lx_json_number(root, "version", 0) != 1)
        return lx_fail(err, LX_ECONFIG, "it is of a newer lx");
    if ((rc = read_texts(&s->command.items, &s->command.count, root, "command", arena,
                         err)) < 0 ||
        (rc = read_texts(&s->flags, &s->n_flags, root, "flags", arena, err)) < 0 ||
        (rc = read_texts(&s->seeds, &s->n_seeds, root, "seeds", arena, err)) < 0 ||
        (rc = read_values(s, cJSON_GetObjectItemCaseSensitive(root, "values"), err)) <
            0 ||
        (rc = read_rungs(s, root, err)) < 0)
        return rc;
    if (!s->command.count)
        return fail_plan(err);
    if (metric && !(s->metric = lx_arena_strdup(arena, metric)))
        return lx_oom(err);
    s->is_train = strcmp(s->command.items[0], "train") == 0;
    s->is_sd_scripts = lx_json_bool(root, "is_sd_scripts", false);
    return lx_sweep_make_trials(s, err);
}

/* ---- beginning --------------------------------------------------------------------------- */

static int find_named(lx_run_list *out, lx_sweep *s, const char *name, lx_error *err)
{
    const lx_run_filter filter = {.kind = "sweep", .name = name, .limit = 1};

    return lx_query_runs(out, s->store, &filter, s->cli->arena, err);
}

static int write_record(lx_run *run, lx_sweep *s, const char *folder, lx_error *err)
{
    cJSON *plan = plan_json(s);
    lx_str text = LX_STR_INIT;
    int rc = lx_json_pretty(&text, plan, err);

    s->seq = lx_run_seq(run);
    s->id = lx_arena_strdup(s->cli->arena, lx_run_id(run));
    if (rc == LX_OK && !s->id)
        rc = lx_oom(err);
    if (rc == LX_OK)
        rc = lx_run_artifact(run, "config", plan_name, text.data, text.len, -1, err);
    if (rc == LX_OK && (rc = lx_run_group(s->store, s->seq, s->name, err)) == LX_OK &&
        folder)
        rc = lx_run_fact(s->store, s->seq, "cwd", folder, err);
    lx_str_release(&text);
    cJSON_Delete(plan);
    return rc;
}

/* As it was asked for. It has no flags of its own: they are its runs'. */
static int put_command(lx_str *out, const lx_sweep *s, lx_error *err)
{
    lx_str_printf(out, "lx sweep --name %s%s -- ", s->name, s->asked);
    lx_scrub_command(out, (int)s->command.count, s->command.items);
    return lx_str_check(out, err);
}

int lx_sweep_begin(lx_sweep *s, lx_error *err)
{
    lx_run_start start = {.kind = "sweep", .name = s->name};
    lx_str command = LX_STR_INIT;
    char folder[PATH_MAX];
    lx_run *run = NULL;
    lx_run_list there;
    int rc;

    if ((rc = find_named(&there, s, s->name, err)) < 0)
        goto done;
    if (there.count) {
        rc = lx_fail(err, LX_EEXISTS,
                     "there is a sweep of that name: lx sweep --resume %s goes on with "
                     "it; else give "
                     "another --name",
                     s->name);
        goto done;
    }
    if ((rc = put_command(&command, s, err)) < 0)
        goto done;
    start.command_line = lx_str_text(&command);
    start.work_dir = getcwd(folder, sizeof folder);
    if ((rc = lx_run_begin(&run, s->store, &start, err)) == LX_OK)
        rc = write_record(run, s, start.work_dir, err);
    lx_run_abandon(
        run); /* it runs as long as this process does, and its end is written later */
done:
    lx_str_release(&command);
    return rc;
}

/* ---- finding again ----------------------------------------------------------------------- */

static int find_record(lx_run_row *out, lx_sweep *s, const char *name, lx_error *err)
{
    lx_run_list list;
    int rc = find_named(&list, s, name, err);

    if (rc < 0)
        return rc;
    if (list.count) {
        *out = list.rows[0];
        return LX_OK;
    }
    if ((rc = lx_query_find(out, s->store, name, s->cli->arena, err)) < 0)
        return rc;
    return strcmp(out->kind, "sweep") == 0
               ? LX_OK
               : lx_fail(err, LX_EUSAGE,
                         "run %.10s is a %s, not a sweep (lx runs --kind sweep)", out->id,
                         out->kind);
}

static int load_plan(lx_sweep *s, const lx_run_row *row, lx_error *err)
{
    lx_artifact_row *files;
    lx_str text = LX_STR_INIT;
    cJSON *root = NULL;
    lx_hash hash;
    size_t n, i = 0;
    int rc = lx_query_artifacts(&files, &n, s->store, row, s->cli->arena, err);

    if (rc < 0)
        return rc;
    while (i < n && (strcmp(files[i].name, plan_name) != 0 || !files[i].is_kept))
        i++;
    if (i == n || !lx_hash_from_hex(&hash, files[i].object))
        return lx_fail(err, LX_ENOTFOUND, "its plan (%s) is not kept", plan_name);
    if ((rc = lx_object_get(&text, s->store, &hash, err)) == LX_OK &&
        (rc = lx_json_parse(&root, lx_str_text(&text), text.len, err)) == LX_OK)
        rc = read_plan(s, root, err);
    cJSON_Delete(root);
    lx_str_release(&text);
    return rc;
}

int lx_sweep_find(lx_sweep *s, const char *name, lx_error *err)
{
    lx_run_row row;
    int rc = find_record(&row, s, name, err);

    if (rc < 0)
        return rc;
    s->seq = row.seq;
    s->id = row.id;
    s->name = row.name;
    if ((rc = load_plan(s, &row, err)) < 0) {
        lx_within(err, "sweep %s", name);
        return rc;
    }
    return lx_run_enter_folder(s->cli, NULL, s->store, &row, err);
}

/* ---- trials ------------------------------------------------------------------------------ */

/* seq of run -> number of trial, from the facts of all runs. */
typedef struct place {
    int64_t run;
    size_t row; /* of the list of runs */
    bool is_ours;
    size_t trial; /* 0 = not said */
} place;

static int by_run(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return (x->run > y->run) - (x->run < y->run);
}

static int by_row(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return (x->row > y->row) - (x->row < y->row);
}

/* Among places by run. */
static void take_fact(place *places, size_t n, const lx_sweep *s,
                      const lx_remark_row *fact)
{
    size_t low = 0, high = n;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (places[middle].run < fact->run)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n || places[low].run != fact->run)
        return;
    if (strcmp(fact->key, "sweep") == 0)
        places[low].is_ours = strcmp(fact->value, s->id) == 0;
    else if (strcmp(fact->key, "sweep.trial") == 0)
        places[low].trial = (size_t)strtoull(fact->value, NULL, 10);
}

/* The newest comes first. */
static void take_run(lx_sweep_trial *t, const lx_run_row *run)
{
    if (!t->run.id)
        t->run = *run;
    else if (strcmp(run->status, "running") != 0 &&
             (!t->before.id || run->last_step > t->before.last_step))
        t->before = *run;
}

int lx_sweep_refresh(lx_sweep *s, lx_error *err)
{
    const lx_run_filter all = {0};
    lx_remark_row *facts;
    lx_run_list runs;
    place *places;
    size_t n_facts;
    int rc;

    if ((rc = lx_query_runs(&runs, s->store, &all, s->cli->arena, err)) < 0 ||
        (rc = lx_query_remarks(&facts, &n_facts, s->store, 0, "fact", s->cli->arena,
                               err)) < 0)
        return rc;
    if (!(places = lx_arena_calloc(s->cli->arena, runs.count + 1, sizeof *places)))
        return lx_oom(err);
    for (size_t i = 0; i < runs.count; i++)
        places[i] = (place){.run = runs.rows[i].seq, .row = i};
    qsort(places, runs.count, sizeof *places, by_run);
    for (size_t i = 0; i < n_facts; i++)
        take_fact(places, runs.count, s, &facts[i]);
    qsort(places, runs.count, sizeof *places, by_row);
    for (size_t i = 0; i < s->n_trials; i++)
        s->trials[i].run = s->trials[i].before = (lx_run_row){0};
    for (size_t i = 0; i < runs.count; i++) {
        const size_t trial = places[i].trial;
        if (places[i].is_ours && trial >= 1 && trial <= s->n_trials)
            take_run(&s->trials[trial - 1], &runs.rows[i]);
    }
    return LX_OK;
}

int lx_sweep_end(lx_sweep *s, lx_error *err)
{
    lx_run *run;
    int rc = lx_run_open(&run, s->store, s->seq, err);

    if (rc == LX_EUSAGE) /* it has ended */
        return LX_OK;
    return rc < 0 ? rc : lx_run_end(run, "finished", NULL, err);
}
