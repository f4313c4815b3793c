/* lx log - record points, files and the end of a run from any program */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "src/format/point_line.h"
#include "src/lora/hash.h"
#include "store/query.h"

struct log_args {
    const char *new_name, *kind, *end, *message, *role;
    int64_t step, seed;
    bool is_new, has_step, has_seed;
    lx_words flags, files, words;
};

static const lx_option options[] = {
    {LX_OPTION_TEXT, 0, "new", "NAME", "begin a run of this name and print its id",
     offsetof(struct log_args, new_name), (int)offsetof(struct log_args, is_new)},
    LX_TEXT(struct log_args, kind, 0, "kind", "KIND", "of the new run (log)"),
    LX_REPEAT(struct log_args, flags, 0, "flag", "K=V",
              "a setting of the new run; may be repeated"),
    {LX_OPTION_INT, 0, "seed", "N", "of the new run", offsetof(struct log_args, seed),
     (int)offsetof(struct log_args, has_seed)},
    {LX_OPTION_INT, 0, "step", "N", "of the points; one more than the last when left out",
     offsetof(struct log_args, step), (int)offsetof(struct log_args, has_step)},
    LX_REPEAT(struct log_args, files, 0, "file", "FILE",
              "keep a file with the run; may be repeated"),
    LX_TEXT(struct log_args, role, 0, "role", "ROLE",
            "of the files: lora, sample, log, state or config (file)"),
    LX_TEXT(struct log_args, end, 0, "end", "STATUS",
            "end the run: finished, interrupted or failed"),
    LX_TEXT(struct log_args, message, 0, "message", "TEXT", "why it ended so"),
    LX_ARGS(struct log_args, words, "RUN",
            "the run, then KEY=VALUE pairs, or - to read lines of them"),
    LX_OPTION_END,
};

typedef struct job {
    lx_cli *cli;
    const struct log_args *args;
    lx_store *store;
    lx_run *run;
    int64_t next_step;
    bool reads_input;
    lx_point_line line; /* of the command line */
    size_t n_bad;       /* lines that were not understood */
} job;

/* ---- the new run --------------------------------------------------------- */

/* A number stays one, so that dim = 4 finds it. */
static cJSON *flag_value(const char *key, const char *text)
{
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return cJSON_CreateBool(*text == 't');
    return lx_json_word(key, text);
}

static int flags_json(lx_str *out, const lx_words *flags, lx_error *err)
{
    cJSON *root = cJSON_CreateObject();
    int rc = root ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < flags->count && rc == LX_OK; i++) {
        const char *word = flags->items[i], *equals = strchr(word, '=');
        char *key;
        if (!equals || equals == word) {
            rc = lx_fail(err, LX_EUSAGE, "--flag %s: as in --flag dim=4", word);
            break;
        }
        if (!(key = lx_strndup(word, (size_t)(equals - word)))) {
            rc = lx_oom(err);
            break;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(root, key);
        cJSON_AddItemToObject(root, key, flag_value(key, equals + 1));
        lx_free(key);
    }
    if (rc == LX_OK)
        rc = lx_json_canonical(out, root, err);
    cJSON_Delete(root);
    return rc;
}

static int begin(job *j, lx_error *err)
{
    const struct log_args *args = j->args;
    lx_str flags = LX_STR_INIT;
    char folder[4096];
    lx_run_start start = {.kind = args->kind ? args->kind : "log",
                          .name = args->new_name,
                          .work_dir = getcwd(folder, sizeof folder),
                          .seed = (uint64_t)args->seed,
                          .has_seed = args->has_seed};
    int rc = args->flags.count ? flags_json(&flags, &args->flags, err) : LX_OK;

    if (rc == LX_OK) {
        if (args->flags.count)
            start.flags = start.flags_given = lx_str_text(&flags);
        /* The program that calls is the one that runs: lx is gone in a moment. */
        start.pid = j->reads_input ? 0 : getppid();
        rc = lx_run_begin(&j->run, j->store, &start, err);
    }
    if (rc == LX_OK) {
        lx_print(j->cli, "%s\n", lx_run_id(j->run));
        fflush(j->cli->out);
    }
    lx_str_release(&flags);
    j->next_step = 1;
    return rc;
}

static int find(job *j, lx_error *err)
{
    lx_run_row row;
    int rc = lx_query_find(&row, j->store, j->args->words.items[0], j->cli->arena, err);

    if (rc < 0)
        return rc;
    j->next_step = row.last_step + 1 > 1 ? row.last_step + 1 : 1;
    return lx_run_open(&j->run, j->store, row.seq, err);
}

/* ---- points -------------------------------------------------------------- */

static int put_line(job *j, const lx_point_line *line, lx_error *err)
{
    int64_t step = line->has_step      ? line->step
                   : j->args->has_step ? j->args->step
                                       : j->next_step;
    int rc = LX_OK;

    for (size_t i = 0; i < line->n && rc == LX_OK; i++)
        rc = lx_run_log(j->run, line->points[i].key, step, line->points[i].value, err);
    if (line->n && step >= j->next_step)
        j->next_step = step + 1;
    return rc;
}

/* The pairs of the command line. */
static int read_words(job *j, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = j->args->is_new ? 0 : 1; i < j->args->words.count && rc == LX_OK;
         i++) {
        const char *word = j->args->words.items[i];
        rc = lx_point_pair_parse(&j->line, word, strlen(word), j->cli->arena, err);
    }
    if (rc == LX_EFORMAT && err)
        err->code = LX_EUSAGE;
    return rc == LX_EFORMAT ? LX_EUSAGE : rc;
}

/* A line that is not understood must not end a recording of hours: it is told and passed
 * over. */
static int put_input(job *j, const char *text, size_t n, size_t number, lx_arena *arena,
                     lx_error *err)
{
    lx_point_line line;
    lx_error bad = {0};
    int rc = lx_point_line_parse(&line, text, n, arena, &bad);

    if (rc == LX_EFORMAT || rc == LX_ELIMIT) {
        if (j->n_bad++ < 5)
            lx_message(j->cli, "line %zu: %s\n", number, lx_safe(j->cli, bad.text));
        return LX_OK;
    }
    if (rc < 0)
        return lx_fail_as(err, rc, &bad);
    rc = put_line(j, &line, err);
    lx_arena_reset(arena);
    return rc;
}

/* Without its end. Of a line that is too long only so much is kept that it is seen to be. False: there is no more. */
static bool next_line(lx_str *line)
{
    int c;

    lx_str_clear(line);
    while ((c = getc_unlocked(stdin)) != EOF && c != '\n')
        if (line->len <= LX_POINT_LINE_BYTES)
            lx_str_putc(line, (char)c);
    return c != EOF || line->len;
}

static int read_input(job *j, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_str line = LX_STR_INIT;
    size_t number = 0;
    int rc = arena ? LX_OK : lx_oom(err);

    lx_signals_install();
    while (rc == LX_OK && !lx_signals_pending() && next_line(&line) &&
           !(feof(stdin) && lx_signals_pending()) && /* half of one, its writer was interrupted, too */
           (rc = lx_str_check(&line, err)) == LX_OK)
        rc = put_input(j, lx_str_text(&line), line.len, ++number, arena, err);
    if (rc == LX_OK && lx_signals_pending())
        rc = lx_fail(err, LX_EINTERRUPTED, "interrupted at line %zu", number);
    lx_str_release(&line);
    lx_arena_free(arena);
    return rc;
}

/* ---- files and the end --------------------------------------------------- */

static lx_artifact artifact_of(const struct log_args *args, const char *path)
{
    return (lx_artifact){.role = args->role ? args->role : "file",
                         .name = lx_path_base(path),
                         .step = args->has_step ? args->step : -1,
                         .path = path};
}

static int put_file(job *j, const char *path, lx_error *err)
{
    lx_artifact artifact = artifact_of(j->args, path);
    lx_hash tensors;
    bool has_tensors = false;
    int rc;

    if (strcmp(artifact.role, "lora") == 0 &&
        (rc = lx_lora_tensor_hash_if(&has_tensors, &tensors, path, err)) < 0)
        return rc;
    artifact.tensor_hash = has_tensors ? &tensors : NULL;
    return lx_run_attach(NULL, j->store, lx_run_seq(j->run), &artifact, err);
}

static int check_files(const struct log_args *args, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < args->files.count && rc == LX_OK; i++) {
        const char *path = args->files.items[i];
        const lx_artifact artifact = artifact_of(args, path);
        size_t size;
        int fd;

        if ((rc = lx_file_open_regular(&fd, &size, path, err)) < 0) {
            lx_within(err, "%s", path);
        } else {
            lx_io_get()->close(fd);
            rc = lx_run_check_artifact(&artifact, err);
        }
    }
    return rc;
}

static int put_all(job *j, lx_error *err)
{
    int rc = j->reads_input ? read_input(j, err) : put_line(j, &j->line, err);

    for (size_t i = 0; i < j->args->files.count && rc == LX_OK; i++)
        rc = put_file(j, j->args->files.items[i], err);
    return rc;
}

/* A run that this call began and read to its end is over; any other stays open until
 * --end. */
static int finish(job *j, int rc, lx_error *err)
{
    const char *status = j->args->end                           ? j->args->end
                         : !(j->args->is_new && j->reads_input) ? NULL
                         : rc == LX_OK                          ? "finished"
                         : rc == LX_EINTERRUPTED                ? "interrupted"
                                                                : "failed";
    const char *message = j->args->message ? j->args->message
                          : rc < 0 && err  ? err->text
                                           : NULL;
    lx_error own = {0};
    int ended;

    if (status && (rc == LX_OK || j->args->is_new)) {
        ended = lx_run_end(j->run, status, message, &own);
    } else {
        ended = lx_run_flush(j->run, &own);
        lx_run_abandon(j->run);
    }
    return rc < 0 ? rc : lx_fail_as(err, ended, &own);
}

static int check(const struct log_args *args, bool reads_input, lx_error *err)
{
    static const char *const ends[] = {"finished", "interrupted", "failed"};
    bool is_known = !args->end;

    for (size_t i = 0; i < 3 && args->end; i++)
        is_known = is_known || strcmp(args->end, ends[i]) == 0;
    if (!is_known)
        return lx_fail(err, LX_EUSAGE, "--end %s: finished, interrupted or failed",
                       args->end);
    if (!args->is_new && !args->words.count)
        return lx_fail(err, LX_EUSAGE, "a run is wanted, or --new NAME");
    if (!args->is_new && (args->flags.count || args->has_seed || args->kind))
        return lx_fail(err, LX_EUSAGE,
                       "--kind, --flag and --seed are of a new run (--new NAME)");
    if (args->role && !args->files.count)
        return lx_fail(err, LX_EUSAGE, "--role %s is of files; name them with --file FILE", args->role);
    if (args->message && !args->end && !(args->is_new && reads_input))
        return lx_fail(err, LX_EUSAGE,
                       "--message says why the run ended; add --end finished, interrupted or failed (a remark: "
                       "lx note)");
    if (args->step < 0 || args->seed < 0)
        return lx_fail(err, LX_EUSAGE, "steps and seeds are whole numbers from 0 on");
    return LX_OK;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct log_args *args = args_;
    const lx_words *words = &args->words;
    job j = {.cli = cli, .args = args};
    lx_error local = {0};
    int rc;

    err = err ? err : &local;
    j.reads_input = words->count > 0 && strcmp(words->items[words->count - 1], "-") == 0;
    if ((rc = check(args, j.reads_input, err)) < 0)
        return rc;
    if (j.reads_input && !args->is_new && words->count == 1)
        return lx_fail(err, LX_EUSAGE, "of which run? lx log RUN -, or lx log --new NAME -");
    if (j.reads_input && words->count != (args->is_new ? 1 : 2))
        return lx_fail(err, LX_EUSAGE,
                       "- reads the points from standard input; no others go with it");
    /* All that can be wrong is found before there is a run, and its id is printed. */
    if ((!j.reads_input && (rc = read_words(&j, err)) < 0) ||
        (rc = check_files(args, err)) < 0)
        return rc;
    if ((rc = args->is_new ? lx_store_open(&j.store, cli->store_path, false, err)
                           : lx_store_open_existing(&j.store, cli->store_path, err)) < 0)
        return rc;
    if ((rc = args->is_new ? begin(&j, err) : find(&j, err)) == LX_OK)
        rc = finish(&j, put_all(&j, err), err);
    lx_store_close(j.store);
    if (rc == LX_OK && j.n_bad)
        return lx_fail(err, LX_EFORMAT, "%zu line%s not understood and left out", j.n_bad,
                       j.n_bad == 1 ? " was" : "s were");
    return rc;
}

const lx_command lx_cmd_log = {
    .name = "log",
    .summary = "record a run of any program: points, files, its end",
    .usage = "RUN KEY=VALUE...|- | --new NAME [-]",
    .help = "Points are numbers by name and step. On standard input a line holds the "
            "points of one\n"
            "step, as `step=12 loss=0.08` or as {\"step\": 12, \"loss\": 0.08}; what was "
            "read is durable\n"
            "within a second. A run that --new began counts as running as long as the "
            "calling program\n"
            "lives, and with - it ends with the input.\n"
            "\n"
            "Examples:\n"
            "  run=$(lx log --new my-training --flag dim=8 --flag lr=1e-4)\n"
            "  lx log $run --step 1 loss=0.12 lr=1e-4\n"
            "  lx log $run --file out.safetensors --role lora --end finished\n"
            "  my-trainer | lx log --new my-training -\n",
    .options = options,
    .args_size = sizeof(struct log_args),
    .run = run,
};
