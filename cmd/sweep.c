/* lx sweep - the same training with other flags, many times */
#include "cmd/sweep.h"

#include <string.h>

struct sweep_args {
    const char *name, *metric, *resume, *results;
    int64_t n_seeds, n_random, random_seed, eta, min_steps, rung, slot;
    bool has_seeds, has_random, has_random_seed, has_eta, has_min_steps, has_rung, has_slot;
    bool halving, fail_fast, dry_run, json, slurm, slurm_only_write;
    lx_words directives;
};

static const lx_option options[] = {
    LX_TEXT(struct sweep_args, name, 0, "name", "NAME",
            "of the sweep and its group; runs and LoRAs are NAME-001 ... (sweep)"),
    {LX_OPTION_INT, 0, "seeds", "N",
     "each configuration with N seeds, from the command's --seed on, or from 1",
     offsetof(struct sweep_args, n_seeds), (int)offsetof(struct sweep_args, has_seeds)},
    {LX_OPTION_INT, 0, "random", "N",
     "N configurations drawn, not all combinations; flags may be ranges, as "
     "1e-5..1e-3:log",
     offsetof(struct sweep_args, n_random), (int)offsetof(struct sweep_args, has_random)},
    {LX_OPTION_INT, 0, "random-seed", "N", "of what --random draws (0)",
     offsetof(struct sweep_args, random_seed),
     (int)offsetof(struct sweep_args, has_random_seed)},
    LX_FLAG(struct sweep_args, halving, 0, "halving",
            "successive halving: train all a little, go on with the best"),
    {LX_OPTION_INT, 0, "eta", "N",
     "of halving: one in N goes on, and trains N times as long (3)",
     offsetof(struct sweep_args, eta), (int)offsetof(struct sweep_args, has_eta)},
    {LX_OPTION_INT, 0, "min-steps", "N",
     "of halving: the first rung has at least N steps (1)",
     offsetof(struct sweep_args, min_steps),
     (int)offsetof(struct sweep_args, has_min_steps)},
    LX_TEXT(struct sweep_args, metric, 0, "metric", "CURVE",
            "judge by the last value of this curve, of loss by the mean over its last quarter "
            "(validation loss, else loss)"),
    LX_FLAG(struct sweep_args, fail_fast, 0, "fail-fast",
            "stop at the first run that fails; else the others go on"),
    LX_FLAG(struct sweep_args, dry_run, 'n', "dry-run",
            "print every planned command with its steps, train nothing"),
    LX_TEXT(struct sweep_args, resume, 0, "resume", "NAME",
            "go on with what is missing of a sweep; what is finished stays"),
    LX_TEXT(struct sweep_args, results, 0, "results", "NAME",
            "the table of a sweep as it is now, train nothing"),
    LX_FLAG(struct sweep_args, json, 'j', "json", "the results as one JSON object"),
    LX_FLAG(struct sweep_args, slurm, 0, "slurm",
            "write NAME.slurm and submit it: an array of jobs, one a run"),
    LX_FLAG(struct sweep_args, slurm_only_write, 0, "slurm-only-write",
            "write NAME.slurm and print how to submit it"),
    LX_REPEAT(struct sweep_args, directives, 0, "slurm-option", "OPTION",
              "of sbatch, as --slurm-option=--partition=gpu; may be given again"),
    {LX_OPTION_INT, 0, "rung", "N", "with --slot: of this rung of halving, from 0",
     offsetof(struct sweep_args, rung), (int)offsetof(struct sweep_args, has_rung)},
    {LX_OPTION_INT, 0, "slot", "N",
     "with --resume: only run number N of the rung, from 0 (a job of an array)",
     offsetof(struct sweep_args, slot), (int)offsetof(struct sweep_args, has_slot)},
    /* For --help only: sort_words takes them out. */
    LX_ARGS(
        struct sweep_args, directives, "--FLAG VALUES",
        "a flag of the training with its values, as --dim 4,32; then -- and the command"),
    LX_OPTION_END,
};

/* ---- words: our own, the flags to be swept, the command ------------------------------------ */

typedef struct sorted_words {
    char **own; /* for the parser of options */
    int n_own;
    lx_sweep_request *request;
} sorted_words;

/* An option of the two tables by its name; NULL = a flag to be swept. */
static const lx_option *find_own(const char *name, size_t n)
{
    const lx_option *tables[] = {options, lx_global_options};

    for (size_t t = 0; t < 2; t++)
        for (const lx_option *o = tables[t]; o->name; o++)
            if (o->kind != LX_OPTION_ARGS && lx_option_name_is(o->name, name, n))
                return o;
    return NULL;
}

static int take_flag(lx_sweep_request *r, lx_arena *arena, const char *word,
                     const char *next, bool *took_next, lx_error *err)
{
    const char *name = word + 2, *equals = strchr(name, '=');

    *took_next = !equals;
    if (!equals && !next)
        return lx_fail(err, LX_EUSAGE, "%s needs its values, as in %s 4,32", word, word);
    if (equals && !(name = lx_arena_strndup(arena, name, (size_t)(equals - name))))
        return lx_oom(err);
    r->flags.items[r->flags.count++] = name;
    r->values.items[r->values.count++] = equals ? equals + 1 : next;
    return LX_OK;
}

/* One word in front of the --, perhaps with the next one. */
static int take_word(sorted_words *w, lx_cli *cli, int *at, int end, lx_error *err)
{
    char *word = cli->argv[*at], *next = *at + 1 < end ? cli->argv[*at + 1] : NULL;
    const lx_option *own;
    bool took_next = false;
    int rc = LX_OK;

    if (strncmp(word, "--", 2) != 0) {
        if (*word != '-')
            return lx_fail(
                err, LX_EUSAGE,
                "'%s' belongs to no flag; the command to be swept stands behind --",
                word);
        w->own[w->n_own++] = word;
    } else if ((own = find_own(word + 2, strcspn(word + 2, "=")))) {
        w->own[w->n_own++] = word;
        took_next = own->kind != LX_OPTION_FLAG && !strchr(word, '=') && next;
        if (took_next)
            w->own[w->n_own++] = next;
    } else {
        rc = take_flag(w->request, cli->arena, word, next, &took_next, err);
    }
    *at += 1 + took_next;
    return rc;
}

static int sort_words(struct sweep_args *args, lx_sweep_request *request, lx_cli *cli,
                      lx_error *err)
{
    const size_t n = (size_t)cli->argc + 1;
    sorted_words w = {.own = lx_arena_calloc(cli->arena, n, sizeof *w.own),
                      .request = request};
    lx_globals globals = {0};
    const lx_option_set sets[] = {{options, args}, {lx_global_options, &globals}};
    int end = 0, rc = LX_OK;

    request->flags.items = lx_arena_calloc(cli->arena, n, sizeof(char *));
    request->values.items = lx_arena_calloc(cli->arena, n, sizeof(char *));
    if (!w.own || !request->flags.items || !request->values.items)
        return lx_oom(err);
    while (end < cli->argc && strcmp(cli->argv[end], "--") != 0)
        end++;
    for (int at = 0; at < end && rc == LX_OK;)
        rc = take_word(&w, cli, &at, end, err);
    if (rc == LX_OK)
        rc = lx_option_sets_parse(sets, 2, w.n_own, w.own, NULL, cli->arena, err);
    if (rc < 0)
        return rc;
    lx_cli_apply_globals(cli, &globals);
    if (end < cli->argc)
        request->command =
            (lx_words){(const char **)cli->argv + end + 1, (size_t)(cli->argc - end - 1)};
    return LX_OK;
}

static int check_words(const struct sweep_args *a, const lx_sweep_request *r,
                       lx_error *err)
{
    const bool is_old = a->resume || a->results;

    if (a->resume && a->results)
        return lx_fail(err, LX_EUSAGE, "--resume or --results, not both");
    if (is_old && (r->flags.count || r->command.count || a->name || a->has_random ||
                   a->has_random_seed || a->has_seeds || a->halving || a->has_eta ||
                   a->has_min_steps))
        return lx_fail(
            err, LX_EUSAGE,
            "--%s NAME has flags and command from its record; they cannot be given anew",
            a->resume ? "resume" : "results");
    if (!is_old && !r->command.count)
        return lx_fail(err, LX_EUSAGE,
                       "what is to be swept? lx sweep --dim 4,32 -- train FLAGS ... "
                       "(lx sweep --help)");
    if (a->has_slot && (!a->resume || a->slot < 0 || a->rung < 0))
        return lx_fail(err, LX_EUSAGE, "--slot belongs to --resume, and counts from 0");
    if (a->has_seeds && (a->n_seeds < 1 || a->n_seeds > 1000))
        return lx_fail(err, LX_EUSAGE, "--seeds %lld: from 1 to 1000",
                       (long long)a->n_seeds);
    if ((a->has_eta || a->has_min_steps) && !is_old && !a->halving)
        return lx_fail(err, LX_EUSAGE, "--%s belongs to --halving",
                       a->has_eta ? "eta" : "min-steps");
    if (a->results && (a->slurm || a->slurm_only_write))
        return lx_fail(err, LX_EUSAGE,
                       "--results only tells, and --%s submits: --resume %s --%s goes on "
                       "with what is missing",
                       a->slurm ? "slurm" : "slurm-only-write", a->results,
                       a->slurm ? "slurm" : "slurm-only-write");
    if (a->has_slot && (a->slurm || a->slurm_only_write))
        return lx_fail(err, LX_EUSAGE,
                       "--slot is a job of an array, and --%s makes the array: one of them",
                       a->slurm ? "slurm" : "slurm-only-write");
    if (a->has_rung && !a->has_slot)
        return lx_fail(err, LX_EUSAGE, "--rung belongs to --slot");
    if (a->has_random && a->n_random < 1)
        return lx_fail(err, LX_EUSAGE, "--random %lld: how many configurations?",
                       (long long)a->n_random);
    if (a->directives.count && !a->slurm && !a->slurm_only_write)
        return lx_fail(err, LX_EUSAGE,
                       "--slurm-option belongs to --slurm or --slurm-only-write");
    if (a->slurm && a->slurm_only_write)
        return lx_fail(err, LX_EUSAGE, "--slurm or --slurm-only-write, not both");
    return lx_sweep_slurm_check(&a->directives, err);
}

/* ---- the command --------------------------------------------------------------------------- */

/* The first free one of sweep, sweep-2, sweep-3 ... */
static int choose_name(lx_sweep *s, lx_error *err)
{
    const lx_run_filter filter = {.kind = "sweep"};
    lx_run_list list;
    int rc = lx_query_runs(&list, s->store, &filter, s->cli->arena, err);

    for (size_t n = 1; rc == LX_OK; n++) {
        size_t i = 0;
        if (n > 1 && !(s->name = lx_arena_printf(s->cli->arena, "sweep-%zu", n)))
            return lx_oom(err);
        while (i < list.count && strcmp(list.rows[i].name, s->name) != 0)
            i++;
        if (i == list.count)
            return lx_sweep_make_trials(s, err);
    }
    return rc;
}

static int start(lx_sweep *s, const struct sweep_args *a, const lx_sweep_request *r,
                 lx_error *err)
{
    int rc;

    if ((rc = lx_sweep_plan(s, r, err)) < 0)
        return rc;
    if (a->dry_run)
        return lx_sweep_dry_run(s, err);
    if ((rc = lx_sweep_open_store(s, LX_SWEEP_BEGINS, err)) < 0 ||
        (!a->name && (rc = choose_name(s, err)) < 0) || (rc = lx_sweep_begin(s, err)) < 0)
        return rc;
    if (!s->cli->is_quiet)
        lx_message(s->cli, "sweep %s: %zu training%s (run %.10s)\n", s->name, s->n_trials,
                   s->n_trials == 1 ? "" : "s", s->id);
    return LX_OK;
}

static int find_old(lx_sweep *s, const struct sweep_args *a, lx_error *err)
{
    const lx_sweep_access access =
        a->results || a->dry_run ? LX_SWEEP_READS : LX_SWEEP_CHANGES;
    int rc;

    if ((rc = lx_sweep_open_store(s, access, err)) < 0 ||
        (rc = lx_sweep_find(s, a->resume ? a->resume : a->results, err)) < 0)
        return rc;
    s->is_failing_fast = a->fail_fast;
    if (a->metric)
        s->metric = a->metric;
    if (a->results || !a->dry_run)
        return LX_OK;
    return (rc = lx_sweep_refresh(s, err)) < 0 ? rc : lx_sweep_dry_run(s, err);
}

static int work(lx_sweep *s, const struct sweep_args *a, lx_error *err)
{
    int rc = LX_OK;

    if (a->slurm || a->slurm_only_write)
        return lx_sweep_slurm(s, &a->directives, a->slurm_only_write, err);
    if (a->has_slot)
        return lx_sweep_run_slot(s, (size_t)a->rung, (size_t)a->slot, err);
    if (!a->results)
        rc = lx_sweep_run(s, err);
    return rc < 0 ? rc : lx_sweep_show(s, a->json, err);
}

static int run(lx_cli *cli, void *unused, lx_error *err)
{
    struct sweep_args args = {.eta = 3, .min_steps = 1};
    lx_sweep_request request = {0};
    lx_sweep sweep = {.cli = cli};
    int rc;

    (void)unused;
    if ((rc = sort_words(&args, &request, cli, err)) < 0 ||
        (rc = check_words(&args, &request, err)) < 0)
        return rc;
    request.name = args.name;
    request.metric = args.metric;
    request.n_seeds = args.n_seeds;
    request.n_random = args.n_random;
    request.random_seed = args.random_seed;
    request.has_random_seed = args.has_random_seed;
    request.eta = args.eta;
    request.min_steps = args.min_steps;
    request.is_halving = args.halving;
    request.is_failing_fast = args.fail_fast;
    lx_signals_install();
    rc = args.resume || args.results ? find_old(&sweep, &args, err)
                                     : start(&sweep, &args, &request, err);
    if (rc == LX_OK && !args.dry_run)
        rc = work(&sweep, &args, err);
    lx_sweep_close_store(&sweep);
    return rc;
}

const lx_command lx_cmd_sweep = {
    .name = "sweep",
    .summary = "train many times with other flags, and tell which were best",
    .usage = "--FLAG VALUES ... -- train FLAGS OF lx train ...",
    .help =
        "Every combination of the values (a grid), or --random N drawn ones, each with "
        "--seeds N; with\n"
        "--halving all are trained a little and the best go on from where they stopped, "
        "so that nothing\n"
        "is trained twice. Flags are those of lx train, short names (dim, lr ...) too; "
        "values are\n"
        "parted by commas, or by ; where they have commas themselves, and may be ranges "
        "with --random.\n"
        "The command may also be `run -- COMMAND`: of another trainer; {FLAG} in its "
        "words is filled\n"
        "in, else the flag is put behind.\n"
        "\n"
        "The plan is a run of kind sweep, its trainings are a group of that name. "
        "Ctrl-C, or a kill,\n"
        "leaves everything to be gone on with by --resume NAME: what is finished stays, "
        "what was\n"
        "stopped goes on from its state. A run that fails does not stop the others "
        "(--fail-fast).\n"
        "Exit status 1 when runs have failed.\n"
        "\n"
        "Examples:\n"
        "  lx sweep --dim 4,32 --learning_rate 1e-4,5e-5 --seeds 3 -- train "
        "--config_file run.toml\n"
        "  lx sweep --lr 1e-5..1e-3:log --dim 4..64 --random 27 --halving -- train ...\n"
        "  lx sweep --name rates --lr 1e-4,1e-3 --dry-run -- train ...\n"
        "  lx sweep --resume rates\n"
        "  lx sweep --slurm --slurm-option=--partition=gpu --lr 1e-4,1e-3 -- train ...\n",
    .options = options,
    .parses_itself = true,
    .run = run,
};
