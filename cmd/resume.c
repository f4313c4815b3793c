/* lx resume - go on with an interrupted training */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/cli.h"
#include "cmd/run_find.h"
#include "cmd/run_folder.h"
#include "cmd/train_state.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/query.h"

extern const lx_command lx_cmd_train;

struct resume_args {
    lx_words words;
    const char *from;
};

static const lx_option options[] = {
    LX_TEXT(struct resume_args, from, 0, "from", "STATE",
            "this state (a folder NAME-...-state or its file) and not the newest"),
    LX_ARGS(struct resume_args, words, "RUN",
            "the run, then flags that lx train is to have too"),
    LX_OPTION_END,
};

/* ---- which state ------------------------------------------------------------------ */

/* Where the run wrote its files. */
static int find_state(const char **out, lx_cli *cli, const char *flags,
                      const lx_run_row *run, lx_error *err)
{
    cJSON *root = NULL;
    const char *folder;
    int rc = flags ? lx_json_parse(&root, flags, strlen(flags), err)
                   : lx_fail(err, LX_EUSAGE, "no flags of it are recorded");

    if (rc < 0)
        return rc;
    folder = lx_json_text(root, "output_dir");
    rc = lx_train_state_find(out, folder, lx_json_text(root, "output_name"), run->id,
                             run->spec, cli->arena, err);
    if (rc == LX_OK && !*out)
        rc = lx_fail(err, LX_ENOTFOUND,
                     "no state of run %.10s is in %s: it was not interrupted by Ctrl-C, "
                     "ended before "
                     "the first --autosave_minutes, or its state was removed (lx train "
                     "--like %.10s "
                     "starts anew)",
                     run->id, folder && *folder ? folder : ".", run->id);
    cJSON_Delete(root);
    return rc;
}

/* ---- the run ---------------------------------------------------------------------- */

/* One that was killed a moment ago runs until all its memory is given back: it is waited for. */
static int find_run(lx_run_row *out, lx_cli *cli, lx_store *store, const char *word, lx_error *err)
{
    enum { TRIES = 40 };
    const struct timespec pause = {0, 50 * 1000 * 1000};
    int rc = lx_run_find(out, cli, store, word, err);

    for (int i = 0; rc == LX_OK && i < TRIES && strcmp(out->status, "running") == 0; i++) {
        const char *id = lx_arena_strdup(cli->arena, out->id);
        nanosleep(&pause, NULL);
        rc = id ? lx_run_find(out, cli, store, id, err) : lx_oom(err);
    }
    return rc;
}

static int check_status(const lx_run_row *run, lx_error *err)
{
    if (strcmp(run->kind, "train") != 0)
        return lx_fail(err, LX_EUSAGE, "run %.10s is a %s, not a training of lx", run->id,
                       run->kind);
    if (strcmp(run->status, "running") == 0)
        return lx_fail(err, LX_EUSAGE, "run %.10s is still running", run->id);
    if (strcmp(run->status, "finished") == 0)
        return lx_fail(
            err, LX_EUSAGE,
            "run %.10s is finished: nothing is left to train (lx train --like %.10s "
            "starts one like it)",
            run->id, run->id);
    return LX_OK;
}

/* `lx train --like RUN --resume STATE --seed SEED` and what was added. */
static int train(lx_cli *cli, const lx_run_row *run, const char *state,
                 const char *store_path, const struct resume_args *args, lx_error *err)
{
    const size_t more = args->words.count - 1;
    char **argv = lx_arena_calloc(cli->arena, 7 + more, sizeof *argv);
    lx_cli inner = *cli;
    int argc = 0;

    if (!argv)
        return lx_oom(err);
    argv[argc++] = "--like";
    argv[argc++] = (char *)run->id;
    argv[argc++] = "--resume";
    argv[argc++] = (char *)state;
    if (*run->seed) {
        argv[argc++] = "--seed";
        argv[argc++] = (char *)run->seed;
    }
    for (size_t i = 0; i < more; i++)
        argv[argc++] = (char *)args->words.items[i + 1];
    inner.store_path = store_path;
    inner.argc = argc;
    inner.argv = argv;
    return lx_cmd_train.run(&inner, NULL, err);
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct resume_args *args = args_;
    const char *state = args->from;
    const bool is_here = state && lx_file_exists(state); /* else from the run's folder */
    lx_store *store = NULL;
    char store_path[PATH_MAX];
    lx_run_texts texts;
    lx_run_row row;
    int rc;

    if (!args->words.count)
        return lx_fail(err, LX_EUSAGE, "a run is wanted (lx runs lists them)");
    if ((rc = lx_store_open(&store, cli->store_path, true, err)) < 0)
        return rc;
    if (!realpath(lx_store_path(store), store_path)) { /* the folder is about to change */
        rc = lx_fail_errno(err, errno, "%s", lx_store_path(store));
        goto done;
    }
    if ((rc = find_run(&row, cli, store, args->words.items[0], err)) < 0 ||
        (rc = check_status(&row, err)) < 0 ||
        (rc = lx_run_enter_folder(cli, is_here ? &state : NULL, store, &row, err)) < 0 ||
        (rc = lx_query_texts(&texts, store, &row, cli->arena, err)) < 0)
        goto done;
    if (!state && (rc = find_state(&state, cli, texts.flags, &row, err)) < 0)
        goto done;
    lx_store_close(store);
    store = NULL;
    if (!cli->is_quiet)
        lx_message(cli, "going on from %s\n", lx_safe(cli, state));
    return train(cli, &row, state, store_path, args, err);
done:
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_resume = {
    .name = "resume",
    .summary = "go on with an interrupted training",
    .usage = "RUN [-- flags of lx train ...]",
    .help =
        "Takes up a training that was stopped by Ctrl-C, a closed terminal, a crash or a "
        "power cut,\n"
        "from the newest state that it left, and ends with the very bytes it would have "
        "ended with.\n"
        "Ctrl-C and a closed terminal leave a state; so does every --autosave_minutes "
        "(10) and\n"
        "every save under --save_state.\n"
        "\n"
        "Examples:\n"
        "  lx resume hifumi\n"
        "  lx resume 81b1e9e598 -- --threads 8\n"
        "  lx resume hifumi --from out/hifumi-000004-state\n",
    .options = options,
    .args_size = sizeof(struct resume_args),
    .computes = true,
    .run = run,
};
