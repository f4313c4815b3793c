#include "cmd/debug.h"

#include <string.h>

typedef struct debug_entry {
    const char *name, *summary;
    int (*run)(lx_cli *cli, int argc, char **argv, lx_error *err);
} debug_entry;

static const debug_entry entries[] = {
#define LX_DEBUG(name, function, summary) {name, summary, function},
#include "cmd/debug.def"
#undef LX_DEBUG
    {NULL, NULL, NULL}};

static int run(lx_cli *cli, void *args, lx_error *err)
{
    if (cli->argc < 1) {
        for (const debug_entry *e = entries; e->name; e++)
            lx_print(cli, "%-16s %s\n", e->name, e->summary);
        return LX_OK;
    }
    for (const debug_entry *e = entries; e->name; e++) {
        if (strcmp(e->name, cli->argv[0]) != 0)
            continue;
        cli->name = lx_arena_printf(cli->arena, "debug %s", e->name);
        if (!cli->name)
            return lx_oom(err);
        return e->run(cli, cli->argc - 1, cli->argv + 1, err);
    }
    return lx_fail(err, LX_EUSAGE, "no debug command '%s'; `lx debug` lists them", cli->argv[0]);
}

const lx_command lx_cmd_debug = {
    .name = "debug",
    .summary = "internals, for tests",
    .usage = "[NAME] ...",
    .help = "Commands that the tests of lx use. Their contract is in docs/testing.md.",
    .computes = true,
    .has_no_settings = true,
    .run = run,
    .is_hidden = true,
};
