/* lx fsck - is everything that was recorded still sound? */
#include "cmd/cli.h"
#include "store/query.h"

struct fsck_args {
    int unused;
};

static const lx_option options[] = {LX_OPTION_END};

static void tell(void *context, const char *line)
{
    lx_cli *cli = context;
    lx_print(cli, "%s\n", lx_safe(cli, line));
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    lx_check_report report;
    lx_store *store = NULL;
    int rc;

    (void)args;
    if ((rc = lx_store_open(&store, cli->store_path, true, err)) < 0)
        return rc;
    rc = lx_store_check(&report, store, tell, cli, err);
    if (rc == LX_OK && report.n_problems)
        rc = lx_fail(err, LX_ECHECK, "%zu problems in %s", report.n_problems,
                     lx_store_path(store));
    if (rc == LX_OK)
        lx_print(cli, "%s is sound: %zu runs, %zu objects, %zu bytes re-hashed\n",
                 lx_safe(cli, lx_store_path(store)), report.n_runs, report.n_objects,
                 report.n_bytes);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_fsck = {
    .name = "fsck",
    .summary = "check the store: every object, reference and curve",
    .usage = "",
    .help = "Checks the database, re-hashes every object and decodes every curve. Exit status 1\n"
            "when something is damaged; nothing is changed.\n",
    .options = options,
    .args_size = sizeof(struct fsck_args),
    .run = run,
};
