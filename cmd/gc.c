/* lx gc - remove what nothing reaches */
#include "cmd/cli.h"
#include "store/gc.h"

struct gc_args {
    bool prunes, has_keep_days;
    int64_t keep_days;
};

static const lx_option options[] = {
    LX_FLAG(struct gc_args, prunes, 0, "prune", "really remove it"),
    {LX_OPTION_INT, 0, "keep-days", "N", "runs stay in the trash for N days (14)",
     offsetof(struct gc_args, keep_days), (int)offsetof(struct gc_args, has_keep_days)},
    LX_OPTION_END,
};

static void tell(void *context, const char *line)
{
    lx_cli *cli = context;
    lx_print(cli, "%s\n", lx_safe(cli, line));
}

static void show(lx_cli *cli, const lx_gc_report *r, bool prunes)
{
    if (!r->n_runs && !r->n_objects && !r->n_files && !r->n_packed) {
        lx_print(cli, "nothing to remove\n");
        return;
    }
    lx_print(
        cli, "%s %zu run%s, %zu object%s and %zu stray file%s: %.1f MB; %s %zu curve%s\n",
        prunes ? "removed" : "would remove", r->n_runs, lx_plural(r->n_runs), r->n_objects,
        lx_plural(r->n_objects), r->n_files, lx_plural(r->n_files), (double)r->n_bytes / 1e6,
        prunes ? "packed" : "would pack", r->n_packed, lx_plural(r->n_packed));
    if (!prunes)
        lx_print(cli, "nothing was changed; lx gc --prune does it\n");
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct gc_args *args = args_;
    const lx_gc_options gc = {.prunes = args->prunes,
                              .keep_days = args->has_keep_days
                                               ? (double)args->keep_days
                                               : LX_GC_KEEP_DAYS};
    lx_store *store = NULL;
    lx_gc_report report;
    int rc;

    if (args->keep_days < 0)
        return lx_fail(err, LX_EUSAGE, "--keep-days wants a number from 0");
    if ((rc = lx_store_open_existing(&store, cli->store_path, err)) < 0)
        return rc;
    if ((rc = lx_store_gc(&report, store, &gc, tell, cli, err)) == LX_OK)
        show(cli, &report, args->prunes);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_gc = {
    .name = "gc",
    .summary = "remove what no run, tag or pin reaches",
    .usage = "",
    .help =
        "Shows what would go; --prune removes it: runs that were put into the trash\n"
        "(lx tag-run --trash) 14 days ago and hold neither pin nor tag, objects that no run\n"
        "names, files of interrupted writes. What is younger than two days stays in any\n"
        "case. Curves of interrupted runs are packed.\n"
        "\n"
        "Examples:\n"
        "  lx gc\n"
        "  lx gc --prune\n",
    .options = options,
    .args_size = sizeof(struct gc_args),
    .run = run,
};
