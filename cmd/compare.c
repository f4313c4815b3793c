/* lx compare - what two or more runs do not have in common */
#include <string.h>
#include <strings.h>

#include "cmd/compare.h"
#include "src/base/file.h"

struct compare_args {
    bool json, all, code, check, paired, keeps_private;
    double smoothing, window;
    bool has_smoothing, has_window;
    int64_t seed;
    const char *output, *svg, *axis;
    lx_words runs;
};

static const lx_option options[] = {
    LX_FLAG(struct compare_args, json, 'j', "json", "print one JSON object"),
    LX_FLAG(struct compare_args, all, 'a', "all", "every image and file, however many"),
    LX_FLAG(struct compare_args, code, 0, "code",
            "the lines of uncommitted changes that differ, not only their files"),
    LX_FLAG(struct compare_args, check, 0, "check",
            "exit with 1 when runs of one spec have different results"),
    LX_FLAG(struct compare_args, paired, 0, "paired",
            "the runs drew the same at every step, though lx cannot know it"),
    LX_TEXT(struct compare_args, output, 'o', "output", "FILE.html",
            "write all of it as one page to share"),
    LX_FLAG(struct compare_args, keeps_private, 0, "no-scrub",
            "-o: keep home folders, user and host names, addresses and tokens"),
    LX_TEXT(struct compare_args, svg, 0, "svg", "FILE",
            "write the loss curves as a chart"),
    LX_TEXT(struct compare_args, axis, 0, "axis", "AXIS",
            "of the curves: steps, images (seen) or epochs (steps)"),
    {LX_OPTION_NUMBER, 0, "smooth", "X",
     "weight of the past in the curves drawn, below 1 (0.9)",
     offsetof(struct compare_args, smoothing),
     (int)offsetof(struct compare_args, has_smoothing)},
    {LX_OPTION_NUMBER, 0, "window", "X",
     "share of the common steps, from their end, whose losses are compared (0.25)",
     offsetof(struct compare_args, window),
     (int)offsetof(struct compare_args, has_window)},
    LX_INT(struct compare_args, seed, 0, "seed", "N", "of the bootstrap (0)"),
    LX_ARGS(struct compare_args, runs, "RUN",
            "runs, or LoRA files they wrote; all are compared with the first"),
    LX_OPTION_END,
};

static int check(const struct compare_args *args, const lx_comparison *c, lx_error *err)
{
    if (args->runs.count < 2 || args->runs.count > LX_COMPARE_RUNS)
        return lx_fail(err, LX_EUSAGE, "2 to %d runs can be compared, and %zu %s given",
                       LX_COMPARE_RUNS, args->runs.count, args->runs.count == 1 ? "is" : "are");
    if (strcmp(c->axis, "steps") != 0 && strcmp(c->axis, "images") != 0 &&
        strcmp(c->axis, "epochs") != 0)
        return lx_fail(err, LX_EUSAGE, "--axis %s: steps, images or epochs", c->axis);
    if (!(c->smoothing >= 0 && c->smoothing < 1))
        return lx_fail(err, LX_EUSAGE, "--smooth %g: from 0 to below 1", c->smoothing);
    if (args->output && strcasecmp(lx_path_ext(args->output), ".html") != 0 &&
        strcasecmp(lx_path_ext(args->output), ".htm") != 0)
        return lx_fail(
            err, LX_EUSAGE,
            "-o %s: a page is written, FILE.html; --svg writes a chart, --json "
            "prints JSON",
            args->output);
    if (!(c->share > 0 && c->share <= 1))
        return lx_fail(err, LX_EUSAGE, "--window %g: above 0, up to 1", c->share);
    return LX_OK;
}

static int write_page(lx_comparison *c, const struct compare_args *args, lx_error *err)
{
    int rc = lx_compare_html(c, args->output, args->keeps_private, err);

    if (rc == LX_OK && !c->cli->is_quiet)
        lx_message(c->cli, "wrote %s\n", lx_safe(c->cli, args->output));
    return rc;
}

static int tell(lx_comparison *c, const struct compare_args *args, lx_error *err)
{
    int rc = args->output && !args->json ? LX_OK
             : args->json                ? lx_compare_json(c, err)
                                         : lx_compare_show(c, args->all, err);

    if (rc == LX_OK && args->output)
        rc = write_page(c, args, err);

    if (rc == LX_OK && args->svg && (rc = lx_compare_svg(c, args->svg, err)) == LX_OK &&
        !c->cli->is_quiet)
        lx_message(c->cli, "wrote %s\n", lx_safe(c->cli, args->svg));
    if (rc == LX_OK && args->check && c->findings.count)
        return lx_fail(err, LX_ECHECK, "the same spec gave different results");
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct compare_args *args = args_;
    lx_comparison *c = lx_arena_calloc(cli->arena, 1, sizeof *c);
    int rc;

    if (!c)
        return lx_oom(err);
    c->cli = cli;
    c->smoothing = args->has_smoothing ? args->smoothing : 0.9;
    c->share = args->has_window ? args->window : 0.25;
    c->seed = (uint64_t)args->seed;
    c->is_paired = args->paired;
    c->shows_code = args->code;
    c->axis = args->axis ? args->axis : "steps";
    if ((rc = check(args, c, err)) < 0 ||
        (rc = lx_store_open(&c->store, cli->store_path, true, err)) < 0)
        return rc;
    if ((rc = lx_compare_read(c, &args->runs, err)) == LX_OK)
        rc = tell(c, args, err);
    lx_store_close(c->store);
    return rc;
}

const lx_command lx_cmd_compare = {
    .name = "compare",
    .summary = "what two or more runs do not have in common",
    .usage = "RUN RUN...",
    .help = "Shows only what differs: flags, images and captions (by tag), base model, "
            "code and\n"
            "environment, and draws the loss curves over each other. The difference of "
            "two losses is\n"
            "given with its 95 % interval: step by step where both runs drew the same "
            "noise, images and\n"
            "timesteps (same seed, data and batches), else each curve by itself (block "
            "bootstrap). Of\n"
            "three or more runs the flags are ranked against the results. Runs of one "
            "spec with\n"
            "different results are a finding. -o writes a page with curves to zoom into "
            "and, of three\n"
            "and more runs, their settings against their results as parallel "
            "coordinates.\n"
            "\n"
            "Examples:\n"
            "  lx compare 4fa3 77bb\n"
            "  lx compare hifumi-v3 hifumi-v4 --svg loss.svg\n"
            "  lx compare hifumi-v3 hifumi-v4 hifumi-v5 -o hifumi.html\n"
            "  lx compare $(lx runs 'group = sweep' --columns id --csv | tail -n +2) "
            "--json\n",
    .options = options,
    .args_size = sizeof(struct compare_args),
    .run = run,
};
