/* lx runs - list what was recorded */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/cli.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "store/query.h"

struct runs_args {
    bool json, all;
    int64_t limit;
    const char *status, *kind, *name;
};

static const lx_option options[] = {
    LX_INT(struct runs_args, limit, 'n', "limit", "N", "at most N runs (20)"),
    LX_FLAG(struct runs_args, all, 'a', "all", "all of them"),
    LX_TEXT(struct runs_args, status, 0, "status", "STATUS",
            "running, finished, interrupted or failed"),
    LX_TEXT(struct runs_args, kind, 0, "kind", "KIND", "train, run, merge or import"),
    LX_TEXT(struct runs_args, name, 0, "name", "NAME", "of exactly this name"),
    LX_FLAG(struct runs_args, json, 'j', "json", "print a JSON list"),
    LX_OPTION_END,
};

static void put_time(char out[32], double seconds)
{
    time_t t = (time_t)seconds;
    struct tm local;
    if (!localtime_r(&t, &local) || !strftime(out, 32, "%Y-%m-%d %H:%M", &local))
        snprintf(out, 32, "?");
}

static void put_loss(char out[32], double loss)
{
    if (isnan(loss))
        snprintf(out, 32, "-");
    else
        snprintf(out, 32, "%.4g", loss);
}

static void show_table(lx_cli *cli, const lx_run_list *list)
{
    lx_print(cli, "%-10s %-16s %-11s %8s %9s  %s\n", "run", "started", "status", "steps", "loss",
             "name");
    for (size_t i = 0; i < list->count; i++) {
        const lx_run_row *r = &list->rows[i];
        char started[32], loss[32], steps[32];
        put_time(started, r->started);
        put_loss(loss, r->loss);
        snprintf(steps, sizeof steps, "%lld", (long long)r->last_step);
        lx_print(cli, "%-10.10s %-16s %-11s %8s %9s  %s\n", r->id, started, r->status,
                 r->last_step < 0 ? "-" : steps, loss, lx_safe(cli, r->name));
    }
}

static int show_json(lx_cli *cli, const lx_run_list *list, lx_error *err)
{
    cJSON *root = cJSON_CreateArray();
    lx_str out = LX_STR_INIT;
    int rc;
    for (size_t i = 0; i < list->count; i++) {
        const lx_run_row *r = &list->rows[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(root, o);
        cJSON_AddStringToObject(o, "id", r->id);
        cJSON_AddStringToObject(o, "kind", r->kind);
        cJSON_AddStringToObject(o, "name", r->name);
        cJSON_AddStringToObject(o, "status", r->status);
        cJSON_AddNumberToObject(o, "started", r->started);
        if (r->ended > 0)
            cJSON_AddNumberToObject(o, "ended", r->ended);
        if (r->last_step >= 0)
            cJSON_AddNumberToObject(o, "steps", (double)r->last_step);
        if (!isnan(r->loss))
            cJSON_AddNumberToObject(o, "loss", r->loss);
        cJSON_AddStringToObject(o, "spec", r->spec);
        cJSON_AddStringToObject(o, "seed", r->seed);
    }
    if ((rc = lx_json_pretty(&out, root, err)) == LX_OK)
        lx_print(cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct runs_args *args = args_;
    const lx_run_filter filter = {.status = args->status,
                                  .kind = args->kind,
                                  .name = args->name,
                                  .limit = args->all     ? 0
                                           : args->limit ? args->limit
                                                         : 20};
    lx_store *store = NULL;
    lx_run_list list;
    int rc;

    if ((rc = lx_store_open(&store, cli->store_path, true, err)) < 0)
        return rc;
    if ((rc = lx_query_runs(&list, store, &filter, cli->arena, err)) == LX_OK) {
        if (args->json)
            rc = show_json(cli, &list, err);
        else if (list.count)
            show_table(cli, &list);
        else
            lx_message(cli, "no runs\n");
    }
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_runs = {
    .name = "runs",
    .summary = "list the recorded runs, newest first",
    .usage = "",
    .help = "`lx show RUN` tells all about one; the first digits of its id are enough.\n"
            "\n"
            "Examples:\n"
            "  lx runs\n"
            "  lx runs --status interrupted --json\n",
    .options = options,
    .args_size = sizeof(struct runs_args),
    .run = run,
};
