/* lx plan - what a training would do, before anything is loaded */
#include <stdio.h>
#include <string.h>

#include "cmd/plan.h"
#include "cmd/train_flag.h"
#include "src/data/npz_latents.h"
#include "src/base/str.h"
#include "src/query/when.h"

static const lx_option options[] = {
    LX_TEXT(lx_plan_args, fit_memory, 0, "fit_memory", "SIZE",
            "say what to change so that it fits in SIZE, as in 12G"),
    LX_TEXT(lx_plan_args, fit_time, 0, "fit_time", "TIME",
            "say what to change so that it is done in TIME, as in 1h or 90m"),
    LX_FLAG(lx_plan_args, no_timing, 0, "no_timing",
            "do not time kernels: nothing is said about time then"),
    LX_FLAG(lx_plan_args, json, 'j', "json", "print one JSON object"),
    LX_OPTION_END,
};

/* Seconds of timing kernels: for the plan itself, and for each change that is tried. */
static const double budget_plan = 1.2, budget_change = 0.3;

const char *lx_plan_kind_word(lx_finding_kind kind)
{
    static const char *const words[] = {[LX_FINDING_NOTE] = "note",
                                        [LX_FINDING_WARNING] = "warning",
                                        [LX_FINDING_STOP] = "stop"};

    return words[kind];
}

/* ---- the words --------------------------------------------------------------------------- */

/* "--name VALUE" or "--name=VALUE" at argv[*i]. */
static int take_value(const char **out, lx_cli *cli, int *i, const char *name,
                      bool *is_taken, lx_error *err)
{
    const char *word = cli->argv[*i];
    const size_t n = strlen(name);

    *is_taken = strncmp(word, name, n) == 0 && (word[n] == '=' || !word[n]);
    if (!*is_taken)
        return LX_OK;
    if (!word[n] && *i + 1 >= cli->argc)
        return lx_fail(err, LX_EUSAGE, "%s needs a value", name);
    *out = word[n] ? word + n + 1 : cli->argv[++*i];
    return LX_OK;
}

static bool take_switch(bool *out, const char *word, const char *name)
{
    if (strcmp(word, name) != 0)
        return false;
    *out = true;
    return true;
}

/* Four words are ours, everything else is the training's. */
static int take_own_words(lx_plan_args *args, lx_cli *cli, lx_error *err)
{
    int n = 0, rc;

    for (int i = 0; i < cli->argc; i++) {
        const char *word = cli->argv[i];
        bool is_taken;
        if (take_switch(&args->json, word, "--json") ||
            take_switch(&args->json, word, "-j") ||
            take_switch(&args->no_timing, word, "--no_timing"))
            continue;
        if ((rc = take_value(&args->fit_memory, cli, &i, "--fit_memory", &is_taken,
                             err)) < 0)
            return rc;
        if (!is_taken &&
            (rc = take_value(&args->fit_time, cli, &i, "--fit_time", &is_taken, err)) < 0)
            return rc;
        if (!is_taken)
            cli->argv[n++] = cli->argv[i];
    }
    cli->argc = n;
    return LX_OK;
}

static int read_limits(lx_plan_args *args, lx_error *err)
{
    int64_t bytes = 0;
    int rc = LX_OK;

    if (args->fit_memory && (rc = lx_flag_read_size(&bytes, args->fit_memory, err)) < 0) {
        lx_within(err, "--fit_memory");
        return rc;
    }
    args->most_bytes = (double)bytes;
    if (args->fit_memory && bytes < 1)
        return lx_fail(err, LX_EUSAGE, "--fit_memory %s: nothing fits in that",
                       args->fit_memory);
    if (args->fit_time && (!lx_duration_parse(&args->most_seconds, args->fit_time) ||
                           !(args->most_seconds > 0)))
        return lx_fail(err, LX_EUSAGE, "--fit_time %s: write it as 1h, 90m or 1h30m",
                       args->fit_time);
    if (args->fit_time && args->no_timing)
        return lx_fail(err, LX_EUSAGE,
                       "--fit_time needs the timing that --no_timing leaves out");
    return LX_OK;
}

/* ---- planning ---------------------------------------------------------------------------- */

static size_t count_stops(const lx_dataset *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n_findings; i++)
        n += d->findings[i].kind == LX_FINDING_STOP;
    return n;
}

static int count(lx_planned *p, lx_error *err)
{
    const lx_train_config *c = &p->config;
    int rc;

    if (p->dataset->n_images == 0) /* a finding says why */
        return LX_OK;
    if ((rc = lx_dataset_plan(p->dataset, &p->refusal)) == LX_OK)
        rc = lx_npz_latents_find(p->dataset, &p->refusal);
    if (rc == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0)
        return LX_OK;
    p->is_counted = true;
    p->steps = lx_dataset_steps(p->dataset, c->max_train_steps, c->max_train_epochs,
                                c->gradient_accumulation_steps);
    return LX_OK;
}

/* With a model, what it takes: the graphs are built and placed, and some of their kernels timed. */
static int estimate(lx_planned *p, double budget, lx_error *err)
{
    const lx_train_identity identity = {0};
    const lx_observer observer = {0};
    lx_train *train = NULL;
    int rc;

    if (!p->is_counted || !p->config.pretrained_model_name_or_path)
        return LX_OK;
    rc = lx_train_open(&train, &p->config, p->dataset, &identity, &observer, &p->refusal);
    if (rc == LX_OK &&
        (rc = lx_train_estimate(&p->memory, train, &p->refusal)) == LX_OK &&
        (rc = lx_forecast_of(&p->forecast, train, p->dataset, budget, &p->refusal)) ==
            LX_OK) {
        p->is_estimated = true;
        p->n_modules = lx_train_lora(train)->count;
        p->n_values = lx_train_lora(train)->n_values;
    }
    lx_train_close(train);
    return rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
}

int lx_planned_read(lx_planned *p, lx_cli *cli, int argc, char **argv, bool checks_pixels,
                    double budget, lx_error *err)
{
    lx_dataset_config *data = &p->config.data;
    int rc;

    *p = (lx_planned){.cli = cli};
    rc = lx_train_flags_parse(&p->config, &p->flags, cli, argc, argv, err);
    if (rc < 0 || p->flags.is_done)
        return rc;
    if (!data->train_data_dir && data->n_subsets == 0)
        return lx_fail(err, LX_EUSAGE, "a plan needs --train_data_dir FOLDER");
    if (data->width < 1)
        return lx_fail(err, LX_EUSAGE, "a plan needs --resolution 512,512");
    data->check_pixels = checks_pixels;
    if ((rc = lx_dataset_scan(&p->dataset, data, err)) < 0)
        return rc;
    if ((rc = count(p, err)) < 0)
        return rc;
    return estimate(p, budget, err);
}

double lx_plan_peak(const lx_footprint *m)
{
    return (double)(m->device ? m->device : m->peak);
}

void lx_planned_release(lx_planned *p)
{
    lx_dataset_free(p->dataset);
    p->dataset = NULL;
}

/* ---- the command ------------------------------------------------------------------------- */

static int find_fits(lx_plan_fit fits[2], size_t *n, const lx_planned *p,
                     const lx_plan_args *args, lx_error *err)
{
    const double budget = args->no_timing ? 0 : budget_change;
    int rc = LX_OK;

    *n = 0;
    if ((args->fit_memory || args->fit_time) && !p->config.pretrained_model_name_or_path)
        return lx_fail(err, LX_EUSAGE, "--%s needs --pretrained_model_name_or_path",
                       args->fit_memory ? "fit_memory" : "fit_time");
    if (!p->is_estimated)
        return LX_OK;
    if (args->fit_memory)
        rc = lx_plan_fit_memory(&fits[(*n)++], p, args->most_bytes, budget, err);
    if (args->fit_time && !p->forecast.is_timed)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "--fit_time: how long it takes is only known of the CPU");
    if (args->fit_time && rc == LX_OK)
        rc = lx_plan_fit_time(&fits[(*n)++], p, args->most_seconds, budget, err);
    return rc;
}

static int judge(const lx_planned *p, const lx_plan_fit *fits, size_t n_fits,
                 lx_error *err)
{
    size_t n_stops = count_stops(p->dataset);

    if (n_stops > 0)
        return lx_fail(err, LX_ECHECK, "%zu finding%s would stop the training", n_stops,
                       n_stops == 1 ? "" : "s");
    if (p->refusal.code < 0)
        return lx_fail_as(err, p->refusal.code, &p->refusal);
    for (size_t i = 0; i < n_fits; i++)
        if (!fits[i].fits)
            return lx_fail(err, LX_ECHECK,
                           "as it is, it does not fit in the %s asked for",
                           fits[i].is_memory ? "memory" : "time");
    return LX_OK;
}

static int run(lx_cli *cli, void *unused, lx_error *err)
{
    lx_plan_args args = {0};
    lx_planned p = {.cli = cli};
    lx_plan_fit fits[2];
    size_t n_fits = 0;
    int rc;

    (void)unused;
    if ((rc = take_own_words(&args, cli, err)) < 0 || (rc = read_limits(&args, err)) < 0)
        return rc;
    if ((rc = lx_planned_read(&p, cli, cli->argc, cli->argv, true,
                              args.no_timing ? 0 : budget_plan, err)) < 0 ||
        p.flags.is_done || (rc = find_fits(fits, &n_fits, &p, &args, err)) < 0)
        goto done;
    if (args.json)
        rc = lx_plan_show_json(&p, fits, n_fits, err);
    else
        lx_plan_show_words(&p, fits, n_fits);
    if (rc == LX_OK)
        rc = judge(&p, fits, n_fits, err);
done:
    lx_planned_release(&p);
    return rc;
}

const lx_command lx_cmd_plan = {
    .name = "plan",
    .summary = "say what a training would do, before anything is loaded",
    .usage = "FLAGS OF lx train ...",
    .help =
        "Takes the flags of `lx train` (also from a --config_file or a pasted line), "
        "reads the\n"
        "folders, and prints what is wrong with them and how many steps come out, term "
        "by term:\n"
        "images x repeats, regularisation images, batches of each bucket, epochs, steps. "
        "Every\n"
        "image is decoded once. With --pretrained_model_name_or_path also the memory at "
        "its peak,\n"
        "the size of the file, and the time: kernels of its shapes are timed for about a "
        "second,\n"
        "so it is an estimate, for this machine as busy as it is now.\n"
        "\n"
        "--fit_memory and --fit_time say what to change so that it fits, each change "
        "planned like\n"
        "the training itself: first those that leave the LoRA as it is, then smaller "
        "batches,\n"
        "fewer pixels, a smaller rank, fewer steps.\n"
        "\n"
        "Nothing is trained or recorded. Exit status 1 when something found would stop "
        "the\n"
        "training, or when it does not fit.\n"
        "\n"
        "Examples:\n"
        "  lx plan --train_data_dir img --resolution 512 --enable_bucket \\\n"
        "          --caption_extension .txt --max_train_epochs 10\n"
        "  lx plan --config_file run.toml --fit_memory 12G --fit_time 1h\n"
        "  lx plan --config_file run.toml --json\n",
    .options = options,
    .parses_itself = true,
    .computes = true,
    .run = run,
};
