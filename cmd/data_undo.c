/* lx data undo - takes a change of lx data back */
#include "cmd/data.h"

struct undo_args {
    bool write;
    lx_words runs;
};

static const lx_option options[] = {
    LX_FLAG(struct undo_args, write, 'w', "write",
            "do it; without, only what would be done is shown"),
    LX_ARGS(struct undo_args, runs, "RUN",
            "the change; the newest that was not taken back when left out"),
    LX_OPTION_END,
};

enum { MOST_SHOWN = 40 };

int lx_data_undo(lx_cli *cli, const char *wanted, bool is_written, lx_error *err)
{
    lx_change *change = NULL;
    const char *id, *done;
    int rc = lx_change_inverse(&change, &id, cli, wanted, err);

    if (rc < 0)
        return rc;
    if (lx_change_count(change) == 0)
        lx_data_say(cli, "nothing is left of the change %s: all files are as they were\n",
                    id);
    else if (!is_written) {
        lx_change_show(change, MOST_SHOWN);
        lx_data_say(cli, "this takes back %s; --write does it\n", id);
    } else if ((rc = lx_change_apply(change, &done, err)) == LX_OK) {
        lx_data_say(
            cli, "took back %s: %zu file%s; lx data undo %s --write does it again\n", id,
            lx_change_count(change), lx_change_count(change) == 1 ? "" : "s", done);
    }
    lx_change_free(change);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct undo_args *args = args_;

    if (args->runs.count > 1)
        return lx_fail(err, LX_EUSAGE, "one change at a time");
    return lx_data_undo(cli, args->runs.count ? args->runs.items[0] : NULL, args->write,
                        err);
}

const lx_command lx_cmd_data_undo = {
    .name = "data undo",
    .summary = "take back what lx data changed",
    .usage = "[RUN]",
    .help = "Puts files back as they were before a change of `lx data tags`, `move` or "
            "`check --fix\n"
            "--in-place`: the old bytes are in the store. A file that was changed since "
            "is named, and\n"
            "nothing is done. Without --write, what would be done is shown. To do a "
            "change again, undo\n"
            "the run that undid it.\n"
            "\n"
            "Examples:\n"
            "  lx data undo\n"
            "  lx data undo --write\n"
            "  lx data undo 3f2a9c --write\n",
    .options = options,
    .args_size = sizeof(struct undo_args),
    .run = run,
};
