/* lx run - run a command and record it: any trainer, sd-scripts included */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/child.h"
#include "cmd/cli.h"
#include "cmd/observe.h"
#include "cmd/record.h"
#include "cmd/run_record.h"
#include "cmd/settings.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/dataset.h"
#include "src/lora/verdict.h"

struct run_args {
    const char *name, *group, *note;
    lx_words tags, facts, watch;
    bool strict, has_strict, copy;
    lx_globals globals;
};

static const lx_option options[] = {
    LX_TEXT(struct run_args, name, 0, "name", "NAME",
            "of the run; else --output_name, or the script"),
    LX_REPEAT(struct run_args, tags, 0, "tag", "TAG",
              "a tag of the run; may be given again"),
    LX_TEXT(struct run_args, group, 0, "group", "NAME", "the group the run belongs to"),
    LX_REPEAT(struct run_args, facts, 0, "fact", "A=B",
              "a fact that the run is to have, for programs (lx show --json)"),
    LX_TEXT(struct run_args, note, 0, "note", "TEXT", "a note on the run"),
    {LX_OPTION_FLAG, 0, "strict", NULL,
     "do not start a training whose captions would not be read, or whose data are broken",
     offsetof(struct run_args, strict), (int)offsetof(struct run_args, has_strict)},
    LX_REPEAT(struct run_args, watch, 0, "watch", "DIR",
              "record safetensors files that appear there, beside --output_dir"),
    LX_FLAG(struct run_args, copy, 0, "copy",
            "copy the LoRA files into the store; else they are known by hash and path"),
    LX_OPTION_END,
};

typedef struct job {
    lx_cli *cli;
    const struct run_args *args;
    int argc;
    char **argv; /* the command; ends with NULL */
    lx_observed observed;
    lx_dataset *dataset; /* NULL: none was found */
    lx_store *store;
} job;

/* ---- the data ---------------------------------------------------------------------- */

/* The remedy as the trainer has it: lx's own flag means nothing to it. */
static void show_finding(const job *j, const lx_finding *f)
{
    const char *end = strstr(f->text, ", or --allow-untagged");
    const char *text =
        end ? lx_arena_strndup(j->cli->arena, f->text, (size_t)(end - f->text)) : f->text;

    if (f->kind == LX_FINDING_NOTE && !j->cli->is_verbose)
        return;
    lx_message(j->cli, "lx run: %s: %s\n",
               f->kind == LX_FINDING_NOTE ? "note" : "warning",
               lx_safe(j->cli, text ? text : f->text));
}

/* Findings before the command starts. A folder that cannot be read is the trainer's to
 * complain of. */
static int look_at_data(job *j, lx_error *err)
{
    lx_error problem = {0};
    size_t n_stops = 0;
    int rc;

    if (!j->observed.has_data)
        return LX_OK;
    rc = lx_dataset_scan(&j->dataset, &j->observed.config.data, &problem);
    if (rc == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0) {
        lx_message(j->cli, "lx run: warning: %s\n", lx_safe(j->cli, problem.text));
        n_stops = 1;
    }
    for (size_t i = 0; j->dataset && i < j->dataset->n_findings; i++) {
        show_finding(j, &j->dataset->findings[i]);
        n_stops += j->dataset->findings[i].kind == LX_FINDING_STOP;
    }
    if (n_stops && j->args->strict)
        return j->args->has_strict
                   ? lx_fail(err, LX_ECHECK, "not started, as --strict says")
                   : lx_fail(err, LX_ECHECK,
                             "not started, as run.strict says in %s "
                             "(--strict=false starts it)",
                             lx_settings_find(j->cli->settings, "run.strict")->place);
    if (j->dataset && (rc = lx_dataset_hash(j->dataset, &problem)) < 0) {
        if (rc == LX_ENOMEM)
            return lx_oom(err);
        lx_message(j->cli, "lx run: warning: the images are not recorded: %s\n",
                   lx_safe(j->cli, problem.text));
        lx_dataset_free(j->dataset);
        j->dataset = NULL;
    }
    return LX_OK;
}

/* What will become of the captions, until a LoRA file says what became of them. */
static int tell_captions(const job *j, int64_t run, lx_error *err)
{
    const lx_dataset *d = j->dataset;
    size_t n = 0, n_read = 0;
    lx_caption_verdict verdict;

    for (size_t i = 0; d && i < d->n_folders; i++) {
        n += d->folders[i].is_reg ? 0 : d->folders[i].n_images;
        n_read += d->folders[i].is_reg ? 0 : d->folders[i].n_captions;
    }
    if (n == 0)
        return LX_OK;
    verdict = n_read == 0  ? LX_CAPTIONS_FOLDER_WORDS
              : n_read < n ? LX_CAPTIONS_PARTLY
                           : LX_CAPTIONS_READ;
    return lx_run_fact(j->store, run, "captions.verdict",
                       lx_caption_verdict_name(verdict), err);
}

/* ---- the run ----------------------------------------------------------------------- */

static int remark(const job *j, int64_t run, lx_error *err)
{
    const struct run_args *a = j->args;
    char folder[PATH_MAX];
    int rc = tell_captions(j, run, err);

    if (rc == LX_OK && j->observed.is_sd_scripts)
        rc = lx_run_fact(j->store, run, "trainer", "sd-scripts", err);
    if (rc == LX_OK && getcwd(folder, sizeof folder)) /* its paths are from there */
        rc = lx_run_fact(j->store, run, "cwd", folder, err);
    for (size_t i = 0; i < a->tags.count && rc == LX_OK; i++)
        rc = lx_run_tag(j->store, run, a->tags.items[i], "", err);
    if (rc == LX_OK)
        rc = lx_record_remarks(j->store, run, a->group, &a->facts, err);
    if (rc == LX_OK && a->strict && !a->has_strict)
        rc = lx_run_fact(j->store, run, "settings",
                         "{\"run.strict\":{\"value\":\"true\"}}", err);
    return rc == LX_OK && a->note ? lx_run_note(j->store, run, a->note, err) : rc;
}

static void show_end(const job *j, const char *id, const lx_run_result *r)
{
    if (j->cli->is_quiet)
        return;
    lx_message(j->cli, "%slx run: %.10s %s", r->is_at_line_start ? "" : "\n", id,
               r->status);
    if (r->step >= 0)
        lx_message(j->cli, ", step %lld", (long long)r->step);
    if (!isnan(r->loss))
        lx_message(j->cli, ", loss %.4g", r->loss);
    if (r->n_loras)
        lx_message(j->cli, ", %zu LoRA file%s", r->n_loras, r->n_loras == 1 ? "" : "s");
    lx_message(j->cli, "\n");
}

/* The command's own end is ours, whatever became of the record: that is told and no more.
 */
static int watch(job *j, lx_run_record *record, lx_error *err)
{
    const lx_child_view view = lx_run_record_view(record);
    char id[17];
    lx_child_end end = {0};
    lx_run_result result;
    lx_error problem = {0};
    int rc, watched;

    snprintf(id, sizeof id, "%s", lx_run_record_id(record));
    watched = lx_child_run(&end, j->argv, &view, &problem);
    if (!end.was_started)
        end.exit_status = 126;
    rc = lx_run_record_end(&result, record, &end, watched < 0 ? NULL : &problem);
    j->cli->exit_status = end.exit_status;
    j->cli->survives_oom = end.was_started;
    if (!end.was_started)
        return lx_fail_as(err, watched, &problem);
    if (watched < 0 || rc < 0)
        lx_message(j->cli, "lx run: the record is not complete: %s\n",
                   lx_safe(j->cli, problem.text));
    show_end(j, id, &result);
    return LX_OK;
}

static int record_and_run(job *j, lx_error *err)
{
    const lx_run_options options_of_record = {
        .name = j->args->name, .folders = &j->args->watch, .copies_loras = j->args->copy};
    lx_run_record *record = NULL;
    char *tree = NULL;
    int rc;

    if (j->dataset && (rc = lx_record_dataset(&tree, j->store, j->dataset, err)) < 0)
        return rc;
    rc = lx_run_record_begin(&record, j->cli, j->store, &j->observed, tree, j->argc,
                             j->argv, &options_of_record, err);
    lx_free(tree);
    if (rc < 0)
        return rc;
    if ((rc = remark(j, lx_run_record_seq(record), err)) < 0) {
        lx_run_result ignored;
        const lx_child_end none = {.exit_status = 1};
        lx_run_record_end(&ignored, record, &none, NULL);
        return rc;
    }
    if (!j->cli->is_quiet)
        lx_message(j->cli, "lx run: recording as %.10s\n", lx_run_record_id(record));
    fflush(j->cli->err);
    return watch(j, record, err);
}

/* ---- words ------------------------------------------------------------------------- */

static int read_words(struct run_args *args, job *j, lx_error *err)
{
    lx_cli *cli = j->cli;
    lx_option_set sets[] = {{options, args}, {lx_global_options, &args->globals}};
    int rest,
        rc = lx_option_sets_parse(sets, 2, cli->argc, cli->argv, &rest, cli->arena, err);

    if (rc < 0)
        return rc;
    lx_cli_apply_globals(cli, &args->globals);
    if (!args->has_strict)
        args->strict = lx_settings_is_on(cli->settings, "run.strict");
    for (size_t i = 0; i < args->facts.count; i++)
        if (!lx_record_is_fact(args->facts.items[i]))
            return lx_fail(err, LX_EUSAGE, "--fact: '%s' is no fact; write KEY=VALUE",
                           args->facts.items[i]);
    if ((rc = lx_record_check_tags(&args->tags, err)) < 0)
        return rc;
    if (rest < cli->argc && strcmp(cli->argv[rest], "--") == 0)
        rest++;
    if (rest == cli->argc)
        return lx_fail(err, LX_EUSAGE,
                       "name the command to run, as in: lx run -- accelerate launch "
                       "train_network.py ...");
    j->argc = cli->argc - rest;
    if (!(j->argv = lx_arena_calloc(cli->arena, (size_t)j->argc + 1, sizeof *j->argv)))
        return lx_oom(err);
    memcpy(j->argv, cli->argv + rest, (size_t)j->argc * sizeof *j->argv);
    return LX_OK;
}

/* As a shell says it: 127 not found, 126 not to be executed. */
static int find_command(job *j, lx_error *err)
{
    char path[4096];
    int rc = lx_child_find(path, sizeof path, j->argv[0], err);

    if (rc < 0)
        j->cli->exit_status = rc == LX_ENOTFOUND ? 127 : 126;
    return rc;
}

static int run(lx_cli *cli, void *unused, lx_error *err)
{
    struct run_args args = {0};
    job j = {.cli = cli, .args = &args};
    int rc;

    (void)unused;
    if ((rc = read_words(&args, &j, err)) < 0 || (rc = find_command(&j, err)) < 0 ||
        (rc = lx_child_prepare(err)) < 0 ||
        (rc = lx_observe(&j.observed, cli, j.argc, j.argv, err)) < 0)
        return rc;
    for (size_t i = 0; i < j.observed.notes.count && !cli->is_quiet; i++)
        lx_message(cli, "lx run: note: %s\n", lx_safe(cli, j.observed.notes.items[i]));
    if ((rc = look_at_data(&j, err)) == LX_OK &&
        (rc = lx_store_open(&j.store, cli->store_path, false, err)) == LX_OK)
        rc = record_and_run(&j, err);
    lx_store_close(j.store);
    lx_dataset_free(j.dataset);
    return rc;
}

const lx_command lx_cmd_run = {
    .name = "run",
    .summary = "run a command and record it: any trainer, sd-scripts included",
    .usage = "[--] COMMAND ARGS...",
    .help = "The command runs as it would alone: on your terminal, with your signals, "
            "and lx exits with\n"
            "its status. Meanwhile its command line and flags, the images and captions, "
            "the code's git\n"
            "state, the console, the loss curve (from the progress bar, and from event "
            "files in\n"
            "--logging_dir), the LoRA files it makes and the GPUs' load are recorded.\n"
            "\n"
            "Captions that sd-scripts would not read are told before the command starts; "
            "with\n"
            "--strict it is not started then. Examples:\n"
            "  lx run -- accelerate launch --num_cpu_threads_per_process 1 "
            "train_network.py ...\n"
            "  lx run --name hifumi-4 --tag test -- python train_network.py "
            "--config_file run.toml\n",
    .options = options,
    .parses_itself = true,
    .run = run,
};
