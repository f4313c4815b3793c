/* lx trash - put runs where lists do not show them and gc may take them */
#include "cmd/cli.h"
#include "store/query.h"

struct trash_args {
    bool restores;
    lx_words runs;
};

static const lx_option options[] = {
    LX_FLAG(struct trash_args, restores, 0, "restore", "take them out again"),
    LX_ARGS(struct trash_args, runs, "RUN", "id, the beginning of one, or a name"),
    LX_OPTION_END,
};

static int trash_one(lx_cli *cli, lx_store *store, const char *name, bool is_trashed,
                     lx_error *err)
{
    lx_run_row row;
    int rc;

    if ((rc = lx_query_find(&row, store, name, cli->arena, err)) < 0)
        return rc;
    if (is_trashed && row.is_pinned)
        return lx_fail(err, LX_EUSAGE, "run %s is pinned", row.id);
    if ((rc = lx_run_trash(store, row.seq, is_trashed, err)) == LX_OK)
        lx_print(cli, "%s %s %s\n", is_trashed ? "in the trash:" : "back:", row.id,
                 lx_safe(cli, row.name));
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct trash_args *args = args_;
    lx_store *store = NULL;
    int rc;

    if (!args->runs.count)
        return lx_fail(err, LX_EUSAGE, "which run? lx runs lists them");
    if ((rc = lx_store_open(&store, cli->store_path, false, err)) < 0)
        return rc;
    for (size_t i = 0; i < args->runs.count && rc == LX_OK; i++)
        rc = trash_one(cli, store, args->runs.items[i], !args->restores, err);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_trash = {
    .name = "trash",
    .summary = "put runs into the trash, or take them out",
    .usage = "RUN...",
    .help = "Runs in the trash are left out of lists; `lx gc --prune` removes them after "
            "14 days.\n"
            "Until then --restore takes them out again.\n"
            "\n"
            "Examples:\n"
            "  lx trash 3f2a\n"
            "  lx trash --restore 3f2a\n",
    .options = options,
    .args_size = sizeof(struct trash_args),
    .run = run,
};
