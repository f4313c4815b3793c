/* lx export - runs for another store, and for other programs */
#include "cmd/export.h"
#include "cmd/run_find.h"
#include "cmd/settings.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"

struct export_args {
    const char *output, *format;
    bool all, keeps_private;
    lx_words runs;
};

static const lx_option options[] = {
    LX_TEXT(struct export_args, output, 'o', "output", "PATH",
            "the bundle, or the folder or file of another format; csv and json without it, or with "
            "-, go to standard output"),
    LX_TEXT(struct export_args, format, 0, "format", "FORMAT", "bundle (the default)"),
    LX_FLAG(struct export_args, all, 'a', "all", "every run but those in the trash"),
    LX_FLAG(struct export_args, keeps_private, 0, "no-scrub",
            "keep home folders, user and host names, addresses and tokens"),
    LX_ARGS(struct export_args, runs, "RUN", "id, the beginning of one, or a name"),
    LX_OPTION_END,
};

typedef struct form {
    const char *name;
    const char *endings[3]; /* of -o that choose it */
    int (*write)(lx_export_job *job, lx_error *err);
    bool is_text; /* it may go to standard output */
} form;

static const form forms[] = {
    {"bundle", {".lxb"}, lx_export_bundle, false},
    {"tensorboard", {NULL}, lx_export_tensorboard, false},
    {"mlflow", {NULL}, lx_export_mlflow, false},
    {"csv", {".csv"}, lx_export_table, true},
    {"json", {".json"}, lx_export_json, true},
};

static int choose_form(const form **out, const struct export_args *args, lx_error *err)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        bool is_it = args->format && strcmp(args->format, forms[i].name) == 0;
        for (int k = 0; !args->format && args->output && k < 3 && forms[i].endings[k];
             k++)
            is_it |= strcmp(lx_path_ext(args->output), forms[i].endings[k]) == 0;
        if (is_it) {
            *out = &forms[i];
            return LX_OK;
        }
    }
    if (args->format) {
        lx_str names = LX_STR_INIT;
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
            lx_str_printf(&names, "%s%s", i ? ", " : "", forms[i].name);
        lx_fail(err, LX_EUSAGE, "no format \"%s\": %s", args->format,
                lx_str_text(&names));
        lx_str_release(&names);
        return LX_EUSAGE;
    }
    *out = &forms[0];
    return LX_OK;
}

int lx_export_tell_scrubbed(lx_export_job *job, lx_error *err)
{
    const char *const *told;
    size_t n;
    int rc = lx_privacy_told(&told, &n, job->privacy, job->cli->arena, err);
    for (size_t i = 0; rc == LX_OK && i < n && !job->cli->is_quiet; i++)
        lx_message(job->cli, "taken out: %s\n", told[i]);
    return rc;
}

/* Oldest first, so that another store has them in the order of this one. */
static int by_seq(const void *a, const void *b)
{
    int64_t x = ((const lx_run_row *)a)->seq, y = ((const lx_run_row *)b)->seq;
    return x < y ? -1 : x > y;
}

/* Each run once, whatever names it was called by. */
static void put_in_order(lx_run_row *rows, size_t *n)
{
    size_t kept = 0;
    if (*n)
        qsort(rows, *n, sizeof *rows, by_seq);
    for (size_t i = 0; i < *n; i++)
        if (!kept || rows[kept - 1].seq != rows[i].seq)
            rows[kept++] = rows[i];
    *n = kept;
}

static int find_runs(lx_export_job *job, const struct export_args *args, lx_error *err)
{
    lx_run_list list = {0};
    lx_run_row *rows;
    int rc = LX_OK;

    if (args->all) {
        rc = lx_query_runs(&list, job->store, NULL, job->cli->arena, err);
        if (rc == LX_OK)
            put_in_order(list.rows, &list.count);
        job->runs = list.rows;
        job->n_runs = list.count;
        return rc;
    }
    if (!(rows = lx_arena_calloc(job->cli->arena, args->runs.count, sizeof *rows)))
        return lx_oom(err);
    for (size_t i = 0; i < args->runs.count && rc == LX_OK; i++)
        rc = lx_run_find(&rows[i], job->cli, job->store, args->runs.items[i], err);
    job->runs = rows;
    job->n_runs = args->runs.count;
    if (rc == LX_OK)
        put_in_order(rows, &job->n_runs);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct export_args *args = args_;
    lx_export_job job = {.cli = cli, .output = args->output};
    const form *how = NULL;
    int rc;

    if (!args->runs.count == !args->all)
        return lx_fail(err, LX_EUSAGE,
                       args->all ? "--all is every run; leave the names away"
                                 : "which runs? name them, or --all");
    if ((rc = choose_form(&how, args, err)) < 0)
        return rc;
    if (args->output && strcmp(args->output, "-") == 0) {
        if (!how->is_text)
            return lx_fail(err, LX_EUSAGE,
                           "-o -: %s is no text for standard output; name a %s, or say --format csv or json",
                           how == &forms[0] ? "a bundle" : how->name,
                           how == &forms[0] ? "file, as in -o runs.lxb" : "folder");
        job.output = NULL;
    }
    if ((rc = lx_privacy_new(&job.privacy, args->keeps_private, err)) == LX_OK)
        lx_settings_learn(cli->settings, job.privacy);
    if (rc == LX_OK &&
        (rc = lx_store_open(&job.store, cli->store_path, true, err)) == LX_OK &&
        (rc = find_runs(&job, args, err)) == LX_OK)
        rc = how->write(&job, err);
    lx_store_close(job.store);
    lx_privacy_free(job.privacy);
    return rc;
}

const lx_command lx_cmd_export = {
    .name = "export",
    .summary = "write runs for another store or another program",
    .usage = "RUN... -o PATH",
    .help = "A bundle (.lxb) is one file with all that is recorded of its runs: "
            "settings, data with\n"
            "captions, curves, files, remarks. lx import takes it in elsewhere; every "
            "byte of it is\n"
            "checked by hash on the way, and a run that is there already is not stored "
            "twice.\n"
            "\n"
            "Home folders, user and host names, e-mail addresses and tokens are taken "
            "out unless\n"
            "--no-scrub is given. A text that changes gets another hash, and so does all "
            "that names\n"
            "it; a run keeps its id.\n"
            "\n"
            "Other forms, for other programs:\n"
            "  tensorboard  a folder with an event file a run: curves, settings "
            "(HParams), notes,\n"
            "               samples; its numbers are of 32 bits\n"
            "  mlflow       a folder mlruns: metrics, parameters, tags, artifacts\n"
            "  csv          one line a point: run, name, key, step, value\n"
            "  json         all that is recorded but the bytes of files\n"
            "\n"
            "Examples:\n"
            "  lx export hifumi -o hifumi.lxb\n"
            "  lx export --all -o everything.lxb\n"
            "  lx export --all --format tensorboard -o tb && tensorboard --logdir tb\n"
            "  lx export hifumi --format mlflow -o mlruns\n"
            "  lx export hifumi --format csv | head\n",
    .options = options,
    .args_size = sizeof(struct export_args),
    .run = run,
};
