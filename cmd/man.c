/* Pages of docs/man from the tables of the commands: `lx debug man COMMAND`. */
#include <string.h>

#include "cmd/debug.h"
#include "cmd/train_flags.h"

static void put_options(lx_str *out, const lx_option *o)
{
    for (; o && o->name; o++) {
        bool has_value = o->kind != LX_OPTION_FLAG && o->kind != LX_OPTION_ARGS;
        const char *value = o->value ? o->value : "VALUE";
        lx_str_putc(out, '`');
        if (o->letter)
            lx_str_printf(out, "-%c`, `", o->letter);
        lx_str_printf(
            out, "%s%s%s%s%s`\n:   %s\n\n", o->kind == LX_OPTION_ARGS ? "" : "--",
            o->name, has_value ? " " : "", has_value ? value : "",
            o->kind == LX_OPTION_LIST && !lx_ends_with(value, "...") ? "..." : "",
            o->help ? o->help : "");
    }
}

/* "data-check" of "data check". */
static const char *dashed(const char *name, lx_arena *arena)
{
    char *copy = lx_arena_strdup(arena, name);

    for (char *c = copy; c && *c; c++)
        *c = *c == ' ' ? '-' : *c;
    return copy ? copy : "?";
}

static void put_commands(lx_str *out, const lx_command *const *commands, lx_arena *arena)
{
    lx_str_puts(out, "## COMMANDS\n\n");
    for (size_t i = 0; commands[i]; i++)
        lx_str_printf(out, "`lx %s`, lx-%s(1)\n:   %s\n\n", commands[i]->name,
                      dashed(commands[i]->name, arena), commands[i]->summary);
}

static void put_status(lx_str *out)
{
    lx_str_puts(
        out,
        "## EXIT STATUS\n\n"
        "0 done; 1 a check found something; 2 wrong use; 65 bad input; 66 not found; 69 "
        "the "
        "machine\ncannot hold a promise; 70 internal error or out of memory; 73 would "
        "overwrite; 74 a read or write\nfailed; 75 busy, try again; 77 no permission; 78 "
        "configuration or a newer store; 130 interrupted.\n\n"
        "## ENVIRONMENT\n\n"
        "`LX_STORE` the store of runs; `NO_COLOR` no colour; `COLUMNS` the width of help "
        "that is piped.\n");
}

static void put_page(lx_str *out, const lx_command *command, lx_arena *arena)
{
    const char *help = command->help ? command->help : command->summary;
    const char *name = dashed(command->name, arena);
    size_t n = strlen(help);

    while (n && help[n - 1] == '\n')
        n--;
    lx_str_printf(out, "# lx-%s(1)\n\n## NAME\n\nlx-%s - %s\n\n## SYNOPSIS\n\n`%s`\n\n",
                  name, name, command->summary, lx_command_synopsis(command, arena));
    lx_str_printf(out, "## DESCRIPTION\n\n```text\n%.*s\n```\n\n", (int)n, help);
    if (command->subcommands)
        put_commands(out, command->subcommands, arena);
    lx_str_puts(out, "## OPTIONS\n\n");
    if (command->options == lx_train_options)
        lx_str_puts(out, "Its own are in `docs/flags.md`. Those of every command:\n\n");
    else
        put_options(out, command->options);
    put_options(out, lx_global_options);
    put_status(out);
}

/* lx(1): where to begin. */
static void put_overview(lx_str *out, lx_arena *arena)
{
    lx_str_puts(out, "# lx(1)\n\n## NAME\n\nlx - train, record, check and merge LoRAs "
                     "for Stable Diffusion\n\n"
                     "## SYNOPSIS\n\n`lx COMMAND [options] ...`\n\n## DESCRIPTION\n\n"
                     "Trains LoRAs with the flags of sd-scripts, records every run in a "
                     "store of its own, checks\n"
                     "what a LoRA learned, and merges LoRAs. Each command has a page of "
                     "its own; `lx help COMMAND`\n"
                     "says the same in short.\n\n## COMMANDS\n\n");
    for (size_t i = 0; lx_commands[i]; i++)
        if (!lx_commands[i]->is_hidden)
            lx_str_printf(out, "`lx %s`, lx-%s(1)\n:   %s\n\n", lx_commands[i]->name,
                          dashed(lx_commands[i]->name, arena), lx_commands[i]->summary);
    lx_str_puts(out, "## OPTIONS\n\n`--version`\n:   show the version\n\n");
    put_options(out, lx_global_options);
    put_status(out);
}

/* The page of one command; of lx itself where none is named. */
int lx_debug_man(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    const lx_command *command = NULL;
    lx_str text = LX_STR_INIT;
    int rc;

    if (argc > 2)
        return lx_fail(err, LX_EUSAGE, "name one command");
    if (argc && (rc = lx_command_find(&command, argv[0], err)) < 0)
        return rc;
    if (argc == 2 && command->subcommands &&
        (rc = lx_subcommand_find(&command, command, argv[1], err)) < 0)
        return rc;
    if (command)
        put_page(&text, command, cli->arena);
    else
        put_overview(&text, cli->arena);
    if ((rc = lx_str_check(&text, err)) == 0)
        lx_print(cli, "%s", lx_str_text(&text));
    lx_str_release(&text);
    return rc;
}
