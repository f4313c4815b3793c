/* lx import - take in what other tools recorded, and the history in LoRA files */
#include "cmd/bounds.h"
#include "cmd/import.h"
#include "cmd/import_bundle.h"
#include "cmd/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "src/import/console_log.h"
#include "src/import/mlflow.h"
#include "src/import/tensorboard.h"
#include "src/import/tfevents.h"
#include "src/import/wandb.h"
#include "store/mlflow_db.h"

enum { MOST_DEPTH = 32 };

struct import_args {
    bool dry_run, json, keep_private, copy;
    lx_words tags, paths;
};

static const lx_option options[] = {
    LX_FLAG(struct import_args, dry_run, 'n', "dry-run",
            "say what would be imported, write nothing"),
    LX_FLAG(struct import_args, json, 'j', "json", "print one JSON object"),
    LX_REPEAT(struct import_args, tags, 0, "tag", "TAG",
              "tag every run that is imported"),
    LX_FLAG(struct import_args, copy, 0, "copy",
            "copy the LoRA files into the store; else they are known by hash and path"),
    LX_FLAG(struct import_args, keep_private, 0, "keep-private",
            "keep host, user and path names that other trackers wrote down"),
    LX_ARGS(struct import_args, paths, "PATH",
            "bundles, folders of LoRA files, TensorBoard, mlruns or mlflow.db, W&B, "
            "console logs"),
    LX_OPTION_END,
};

/* ---- the importers ----------------------------------------------------------------- */

static bool has_ending(const char *path, const char *ending)
{
    return strcasecmp(lx_path_ext(path), ending) == 0;
}

/* The .wandb file of a run's folder; NULL when there is none. In the arena. */
static const char *wandb_in(lx_arena *arena, const char *folder)
{
    lx_dir dir = {0};
    const char *found = NULL;

    if (lx_dir_list(&dir, folder, NULL) == LX_OK)
        for (size_t i = 0; i < dir.count && !found; i++)
            if (has_ending(dir.names[i], ".wandb"))
                found = lx_arena_printf(arena, "%s/%s", folder, dir.names[i]);
    lx_dir_free(&dir);
    return found;
}

static bool takes_wandb_folder(const char *path, const unsigned char *head, size_t n,
                               bool is_named)
{
    lx_arena *arena = head ? NULL : lx_arena_new();
    bool takes = arena && wandb_in(arena, path);

    (void)n;
    (void)is_named;
    lx_arena_free(arena);
    return takes;
}

static int read_wandb_folder(lx_import *job, const char *path, bool is_named,
                             lx_error *err)
{
    (void)is_named;
    const char *file = wandb_in(job->cli->arena, path);
    return file ? lx_import_wandb(job->history, file, err) : LX_OK;
}

static bool takes_wandb(const char *path, const unsigned char *head, size_t n,
                        bool is_named)
{
    (void)path;
    (void)is_named;
    return head && lx_wandb_is_content(head, n);
}

static int read_wandb(lx_import *job, const char *path, bool is_named, lx_error *err)
{
    (void)is_named;
    return lx_import_wandb(job->history, path, err);
}

static bool takes_mlruns(const char *path, const unsigned char *head, size_t n,
                         bool is_named)
{
    (void)n;
    (void)is_named;
    return !head && lx_mlflow_is_folder(path);
}

static int read_mlruns(lx_import *job, const char *path, bool is_named, lx_error *err)
{
    (void)is_named;
    return lx_import_mlflow(job->history, path, err);
}

static bool takes_mlflow_db(const char *path, const unsigned char *head, size_t n,
                            bool is_named)
{
    (void)is_named;
    return head && n >= 16 && memcmp(head, "SQLite format 3", 16) == 0 &&
           lx_mlflow_db_is(path);
}

static bool takes_events_folder(const char *path, const unsigned char *head, size_t n,
                                bool is_named)
{
    (void)n;
    (void)is_named;
    return !head && lx_tensorboard_is_folder(path);
}

static bool takes_events(const char *path, const unsigned char *head, size_t n,
                         bool is_named)
{
    return head && lx_tfevents_is_name(lx_path_base(path)) &&
           (!is_named || lx_tfevents_is_content(head, n));
}

/* One that was met in a folder was read with the folder. */
static int read_event_file(lx_import *job, const char *path, bool is_named, lx_error *err)
{
    return is_named ? lx_import_tensorboard(job->history, path, err) : LX_OK;
}

static int read_events(lx_import *job, const char *path, bool is_named, lx_error *err)
{
    (void)is_named;
    return lx_import_tensorboard(job->history, path, err);
}

/* Checkpoints of other endings hold no metadata. */
static bool takes_lora(const char *path, const unsigned char *head, size_t n,
                       bool is_named)
{
    (void)n;
    (void)is_named;
    return head && has_ending(path, ".safetensors");
}

static int read_lora(lx_import *job, const char *path, bool is_named, lx_error *err)
{
    (void)is_named;
    return lx_lora_files_add(job->loras, path, err);
}

static bool takes_log(const char *path, const unsigned char *head, size_t n,
                      bool is_named)
{
    (void)n;
    return head && (is_named || has_ending(path, ".log"));
}

static int read_log(lx_import *job, const char *path, bool is_named, lx_error *err)
{
    (void)is_named;
    return lx_import_console_log(job->history, path, err);
}

/* ---- MLflow's database into the history -------------------------------------------- */

typedef struct mlflow_reader {
    lx_history *history;
    lx_history_run *run;
    const char *path;
} mlflow_reader;

static const char *copy(lx_history *h, const char *text)
{
    return lx_history_text(h, text, strlen(text));
}

static int on_run(void *context, const lx_mlflow_run *from, lx_error *err)
{
    mlflow_reader *r = context;
    lx_history *h = r->history;

    if (!(r->run = lx_history_add(h, "MLflow", r->path)))
        return lx_oom(err);
    r->run->origin = lx_history_printf(h, "mlflow:%s", from->id);
    r->run->name = copy(h, from->name);
    r->run->group = copy(h, from->experiment);
    r->run->status = lx_mlflow_status(from->status);
    r->run->started = from->started;
    r->run->ended = from->ended;
    if (h->keeps_private && *from->user)
        lx_history_fact(h, r->run, "mlflow.user", copy(h, from->user));
    return LX_OK;
}

static int on_param(void *context, const char *key, const char *value, lx_error *err)
{
    mlflow_reader *r = context;
    (void)err;
    lx_history_flag(r->history, r->run, copy(r->history, key), copy(r->history, value));
    return LX_OK;
}

static int on_tag(void *context, const char *key, const char *value, lx_error *err)
{
    mlflow_reader *r = context;
    (void)err;
    lx_mlflow_tag(r->history, r->run, copy(r->history, key), copy(r->history, value));
    return LX_OK;
}

static int on_point(void *context, const char *key, int64_t step, double value,
                    lx_error *err)
{
    mlflow_reader *r = context;
    return lx_history_point(r->history, r->run, key, step, value, err);
}

static int read_mlflow_db(lx_import *job, const char *path, bool is_named, lx_error *err)
{
    (void)is_named;
    mlflow_reader r = {.history = job->history, .path = path};
    const lx_mlflow_sink sink = {&r, on_run, on_param, on_tag, on_point};
    return lx_mlflow_db_read(path, &sink, err);
}

/* ---- the table --------------------------------------------------------------------- */

/* The first that takes a path reads it: what is sure by content stands before what is a
 * guess. */
static const lx_importer importers[] = {
    {"bundle", lx_import_takes_bundle, lx_import_read_bundle, false},
    {"W&B run folder", takes_wandb_folder, read_wandb_folder, false},
    {"W&B offline log", takes_wandb, read_wandb, false},
    {"MLflow file store", takes_mlruns, read_mlruns, false},
    {"MLflow database", takes_mlflow_db, read_mlflow_db, false},
    {"TensorBoard folder", takes_events_folder, read_events, true},
    {"TensorBoard event file", takes_events, read_event_file, false},
    {"LoRA file", takes_lora, read_lora, false},
    {"console log", takes_log, read_log, false},
};

/* ---- the walk ---------------------------------------------------------------------- */

/* The rest is imported all the same; what the system refuses shows in the exit status. */
static void note_problem(lx_import *job, const lx_error *damage)
{
    lx_history_problem(job->history, "%s", damage->text);
    if (damage->code == LX_EIO)
        job->cli->exit_status = lx_exit_status(LX_EIO);
}

/* What cannot be read here is told by whoever reads the whole of it; nobody may take a file without a beginning. */
static size_t read_head(lx_import *job, unsigned char head[LX_IMPORT_HEAD],
                        const char *path)
{
    const lx_io *io = lx_io_get();
    int fd = io->open(path, O_RDONLY | O_NONBLOCK, 0); /* never hang on a FIFO */
    ssize_t n = fd >= 0 ? io->read(fd, head, LX_IMPORT_HEAD) : -1;
    lx_error damage;

    if (n < 0 && errno == EIO) {
        lx_fail_errno(&damage, errno, "%s: cannot read", path);
        note_problem(job, &damage);
    }
    if (fd >= 0)
        io->close(fd);
    return n > 0 ? (size_t)n : 0;
}

static int look_at_folder(lx_import *job, const char *path, int depth, lx_error *err);

/* What goes wrong with one file of a folder is a problem among others; with a named one,
 * or without memory, it is the end. */
static int read_by(lx_import *job, const lx_importer *importer, const char *path,
                   bool is_named, lx_error *err)
{
    size_t before = job->history->count;
    lx_error damage = {0};
    int rc = importer->read(job, path, is_named, &damage);

    if (rc >= 0)
        return LX_OK;
    while (job->history->count > before)
        lx_history_drop(job->history);
    if (is_named || rc == LX_ENOMEM || rc == LX_EINTERRUPTED)
        return lx_fail_as(err, rc, &damage);
    note_problem(job, &damage);
    return LX_OK;
}

static int look_at(lx_import *job, const char *path, bool is_named, int depth,
                   lx_error *err)
{
    unsigned char head[LX_IMPORT_HEAD];
    bool is_folder = lx_file_is_dir(path);
    size_t n = is_folder ? 0 : read_head(job, head, path);
    int rc = LX_OK;

    if (lx_signals_pending())
        return lx_fail(err, LX_EINTERRUPTED, "interrupted; nothing was written");
    job->n_files += !is_folder;
    for (size_t i = 0; i < sizeof importers / sizeof *importers; i++) {
        const lx_importer *importer = &importers[i];
        if (!importer->takes(path, is_folder ? NULL : head, n, is_named))
            continue;
        rc = read_by(job, importer, path, is_named, err);
        if (rc < 0 || !is_folder || !importer->goes_on)
            return rc;
        break;
    }
    return is_folder ? look_at_folder(job, path, depth, err) : rc;
}

/* Links to folders are not followed: they may lead round in a circle. */
static bool is_worth_a_look(const char *path, const char *name)
{
    struct stat st;

    if (name[0] == '.' || strcmp(name, "__pycache__") == 0 || lstat(path, &st) < 0)
        return false;
    if (S_ISLNK(st.st_mode))
        return stat(path, &st) == 0 && S_ISREG(st.st_mode);
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

static int look_at_folder(lx_import *job, const char *path, int depth, lx_error *err)
{
    lx_error damage = {0};
    lx_dir dir = {0};
    int rc = LX_OK;

    if (depth == MOST_DEPTH) {
        lx_history_problem(job->history, "%s: more than %d folders deep; not looked at",
                           path, MOST_DEPTH);
        return LX_OK;
    }
    if ((rc = lx_dir_list(&dir, path, &damage)) < 0) {
        note_problem(job, &damage);
        return rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
    }
    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        lx_str inner = LX_STR_INIT;
        lx_str_printf(&inner, "%s%s%s", path, lx_ends_with(path, "/") ? "" : "/",
                      dir.names[i]);
        if ((rc = lx_str_check(&inner, err)) == LX_OK &&
            is_worth_a_look(lx_str_text(&inner), dir.names[i]))
            rc = look_at(job, lx_str_text(&inner), false, depth + 1, err);
        lx_str_release(&inner);
    }
    lx_dir_free(&dir);
    return rc;
}

/* ---- what became of it ------------------------------------------------------------- */

static void show_run(lx_cli *cli, const cJSON *run)
{
    const char *id = lx_json_text(run, "id"), *name = lx_json_text(run, "name");
    double started = lx_json_number(run, "started", 0);
    char when[32] = "?", steps[32] = "-";
    time_t t = (time_t)started;
    struct tm local;

    if (started > 0 && localtime_r(&t, &local))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M", &local);
    if (cJSON_GetObjectItemCaseSensitive(run, "steps"))
        snprintf(steps, sizeof steps, "%.0f", lx_json_number(run, "steps", 0));
    lx_print(cli, "%-9s %-10.10s %-16s %-11s %8s  %-11s  %s\n",
             lx_json_text(run, "state"), id ? id : "-", when, lx_json_text(run, "status"),
             steps, lx_json_text(run, "source"), lx_safe(cli, name ? name : ""));
}

static size_t count_state(const cJSON *runs, const char *state)
{
    const cJSON *run;
    size_t n = 0;

    cJSON_ArrayForEach(run, runs) n += strcmp(lx_json_text(run, "state"), state) == 0;
    return n;
}

static void show(lx_import *job, const cJSON *runs)
{
    lx_cli *cli = job->cli;
    size_t n_new = count_state(runs, "new"), n_more = count_state(runs, "extended");
    size_t n_without = lx_lora_files_without(job->loras);
    const cJSON *run;

    if (cJSON_GetArraySize(runs))
        lx_print(cli, "%-9s %-10s %-16s %-11s %8s  %-11s  %s\n", "", "run", "started",
                 "status", "steps", "from", "name");
    cJSON_ArrayForEach(run, runs) show_run(cli, run);
    lx_print(cli, "%zu run%s %s, %zu known already", n_new, n_new == 1 ? "" : "s",
             job->is_dry_run ? "would be imported" : "imported",
             (size_t)cJSON_GetArraySize(runs) - n_new);
    if (n_more)
        lx_print(cli, " (%zu of them %s new files)", n_more,
                 job->is_dry_run ? "has" : "got");
    lx_print(cli, "; %zu file%s looked at\n", job->n_files, job->n_files == 1 ? "" : "s");
    if (n_without)
        lx_print(cli, "%zu safetensors file%s no training\n", n_without,
                 n_without == 1 ? " tells of" : "s tell of");
}

static int show_json(lx_import *job, cJSON *runs, lx_error *err)
{
    const lx_history *h = job->history;
    cJSON *root = cJSON_CreateObject(),
          *problems = cJSON_AddArrayToObject(root, "problems");
    lx_str text = LX_STR_INIT;
    int rc;

    cJSON_AddItemReferenceToObject(root, "runs", runs);
    cJSON_AddNumberToObject(root, "files", (double)job->n_files);
    cJSON_AddNumberToObject(root, "files_without_training",
                            (double)lx_lora_files_without(job->loras));
    for (size_t i = 0; i < h->n_problems; i++)
        cJSON_AddItemToArray(problems, cJSON_CreateString(h->problems[i]));
    if ((rc = lx_json_pretty(&text, root, err)) == LX_OK)
        lx_print(job->cli, "%s\n", lx_str_text(&text));
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

/* ---- the whole --------------------------------------------------------------------- */

/* How much there was to import so far; files that tell of no training are no damage. */
static size_t count_found(const lx_import *job)
{
    return job->history->count + (size_t)cJSON_GetArraySize(job->own) +
           lx_lora_files_with(job->loras) + lx_lora_files_without(job->loras);
}

/* The only one that is named is the command's own error; of several the others are imported all the same. */
static int fail_named(lx_import *job, int rc, const lx_error *damage, bool is_only, lx_error *err)
{
    if (is_only || rc == LX_ENOMEM || rc == LX_EINTERRUPTED)
        return lx_fail_as(err, rc, damage);
    lx_history_problem(job->history, "%s", damage->text);
    if (!job->cli->exit_status)
        job->cli->exit_status = lx_exit_status(rc);
    return LX_OK;
}

/* A path that gave nothing but problems makes the command fail, once the others are imported. */
static int look_at_named(lx_import *job, const char *path, bool is_only, lx_error *err)
{
    const size_t found = count_found(job), problems = job->history->n_problems;
    lx_error damage = {0};
    int rc = access(path, F_OK) == 0 ? look_at(job, path, true, 0, &damage)
                                     : lx_fail_errno(&damage, errno, "%s", path);

    if (rc < 0)
        return fail_named(job, rc, &damage, is_only, err);
    if (!job->cli->exit_status && count_found(job) == found &&
        job->history->n_problems > problems)
        job->cli->exit_status = lx_exit_status(LX_EFORMAT);
    return LX_OK;
}

static int look_at_all(lx_import *job, const lx_words *paths, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < paths->count && rc == LX_OK; i++)
        rc = look_at_named(job, paths->items[i], paths->count == 1, err);
    return rc < 0 ? rc : lx_lora_files_finish(job->loras, err);
}

/* A dry run goes without a store when there is none yet. */
static int open_store(lx_import *job, lx_error *err)
{
    int rc = lx_store_open(&job->store, job->cli->store_path, job->is_dry_run, err);
    return rc == LX_ENOTFOUND && job->is_dry_run ? LX_OK : rc;
}

static int confine(lx_import *job, const lx_words *paths, lx_error *err)
{
    lx_bounds b = {.cli = job->cli};
    int rc;

    for (size_t i = 0; i < paths->count; i++)
        lx_bounds_read(&b, paths->items[i]);
    if ((rc = lx_bounds_store(&b, !job->is_dry_run, err)) < 0)
        return rc;
    if (job->is_dry_run) /* bundles are unpacked there */
        lx_bounds_temporary(&b);
    return lx_bounds_enter(&b, err);
}

/* Nothing was found: because nothing is there, or because it could not be looked at. */
static int fail_empty(const struct import_args *args, lx_error *err)
{
    const char *first = args->paths.items[0];

    if (lx_alloc_has_failed())
        return lx_oom(err);
    if (lx_file_was_refused())
        return lx_fail(err, LX_EIO, "%s: could not be read: Input/output error", first);
    return lx_fail(err, LX_EFORMAT,
                   "%s%s: nothing in it that lx could import (lx import --help "
                   "lists what it reads)",
                   first, args->paths.count > 1 ? " and the others" : "");
}

static int conclude(lx_import *job, const struct import_args *args, lx_error *err)
{
    cJSON *runs = NULL;
    int rc;

    if (job->history->count == 0 && job->history->n_problems == 0 &&
        cJSON_GetArraySize(job->own) == 0 && lx_lora_files_without(job->loras) == 0)
        return fail_empty(args, err);
    rc = lx_import_write(&runs, job, args->copy, &args->tags, err);
    if (rc == LX_OK && lx_alloc_has_failed())
        rc = lx_oom(err); /* what would be told of them may be missing */
    if (rc == LX_OK && lx_file_was_refused()) {
        if (!job->history->n_problems)
            lx_history_problem(
                job->history, "a file or a folder could not be read: Input/output error; "
                              "what it holds is missing");
        job->cli->exit_status = lx_exit_status(LX_EIO);
    }
    if (rc == LX_OK) {
        for (size_t i = 0; i < job->history->n_problems && !args->json; i++)
            lx_message(job->cli, "problem: %s\n",
                       lx_safe(job->cli, job->history->problems[i]));
        if (args->json)
            rc = show_json(job, runs, err);
        else
            show(job, runs);
    }
    cJSON_Delete(runs);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    struct import_args *args = args_;
    lx_import job = {.cli = cli, .is_dry_run = args->dry_run};
    int rc;

    if (args->paths.count == 0)
        return lx_fail(err, LX_EUSAGE,
                       "name what to import, for example the folder of your LoRA "
                       "files");
    if ((rc = lx_record_check_tags(&args->tags, err)) < 0)
        return rc;
    lx_signals_install();
    if (!(job.own = cJSON_CreateArray()))
        return lx_oom(err);
    if ((rc = lx_history_new(&job.history, err)) < 0)
        goto done;
    job.history->keeps_private = args->keep_private;
    if ((rc = lx_lora_files_new(&job.loras, job.history, err)) == LX_OK &&
        (rc = confine(&job, &args->paths, err)) == LX_OK &&
        (rc = open_store(&job, err)) == LX_OK &&
        (rc = look_at_all(&job, &args->paths, err)) == LX_OK)
        rc = conclude(&job, args, err);
done:
    lx_store_close(job.store);
    lx_lora_files_free(job.loras);
    lx_history_free(job.history);
    cJSON_Delete(job.own);
    return rc;
}

const lx_command lx_cmd_import = {
    .name = "import",
    .summary = "take in what other tools recorded, and the history in LoRA files",
    .usage = "PATH...",
    .help = "Recognises, by content:\n"
            "  bundles                 runs of another store, by lx export\n"
            "  folders of LoRA files   their metadata become runs: settings, data, tags, "
            "times; the\n"
            "                          epochs of one training are one run\n"
            "  TensorBoard folders     scalars, texts, hyperparameters\n"
            "  mlruns, mlflow.db       MLflow's stores, files or SQLite\n"
            "  offline W&B runs        wandb/offline-run-...\n"
            "  console logs            of sd-scripts and other trainers with tqdm bars, "
            "also UTF-16\n"
            "Folders are searched to the bottom. What is imported twice is stored once; "
            "files that came\n"
            "later are added to their run. Nothing that is read is changed. A path that gives "
            "nothing but\n"
            "problems makes the exit status 65, and one that is not there 66, once the others "
            "are imported.\n"
            "\n"
            "Examples:\n"
            "  lx import ~/stable-diffusion-webui/models/Lora\n"
            "  lx import --dry-run logs mlruns train.log\n",
    .options = options,
    .args_size = sizeof(struct import_args),
    .run = run,
};
