/* lx fsck - is everything that was recorded still sound? */
#include "cmd/cli.h"
#include "store/query.h"

struct fsck_args {
    bool rebuilds;
};

static const lx_option options[] = {
    LX_FLAG(struct fsck_args, rebuilds, 0, "rebuild",
            "make what is derived from the record again, then check"),
    LX_OPTION_END,
};

static void tell(void *context, const char *line)
{
    lx_cli *cli = context;
    lx_print(cli, "%s\n", lx_safe(cli, line));
}

static int check(lx_cli *cli, lx_store *store, lx_error *err)
{
    lx_check_report report;
    int rc = lx_store_check(&report, store, tell, cli, err);

    if (rc < 0)
        return rc;
    if (report.n_problems)
        return lx_fail(err, LX_ECHECK, "%zu problem%s in %s", report.n_problems,
                       report.n_problems == 1 ? "" : "s", lx_store_path(store));
    lx_print(cli, "%s is sound: %zu runs, %zu points, %zu objects, %zu bytes re-hashed\n",
             lx_safe(cli, lx_store_path(store)), report.n_runs, report.n_points,
             report.n_objects, report.n_bytes);
    return LX_OK;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct fsck_args *args = args_;
    lx_store *store = NULL;
    int rc;

    if ((rc = lx_store_open(&store, cli->store_path, !args->rebuilds, err)) < 0)
        return rc;
    if (args->rebuilds)
        rc = lx_store_rebuild(store, err);
    if (rc == LX_OK)
        rc = check(cli, store, err);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_fsck = {
    .name = "fsck",
    .summary = "check the store: every object, reference and curve",
    .usage = "",
    .help = "Checks the database, re-hashes every object, decodes every curve and "
            "compares what\n"
            "is derived with the record. Exit status 1 when something is damaged. "
            "Nothing is\n"
            "changed, but by --rebuild, which makes summaries of runs and curves, flags "
            "as rows\n"
            "and the views of `lx sql` again from the record.\n"
            "\n"
            "Examples:\n"
            "  lx fsck\n"
            "  lx fsck --rebuild\n",
    .options = options,
    .args_size = sizeof(struct fsck_args),
    .run = run,
};
