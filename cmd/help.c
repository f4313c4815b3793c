/* lx help - what the commands do */
#include <string.h>

#include "cmd/cli.h"

struct help_args {
    lx_words names;
};

static const lx_option options[] = {
    LX_ARGS(struct help_args, names, "COMMAND", "the command to explain; none: list them all"),
    LX_OPTION_END};

const char *lx_command_synopsis(const lx_command *command, lx_arena *arena)
{
    bool has_options = command->options && command->options[0].name &&
                       command->options[0].kind != LX_OPTION_ARGS;
    bool has_usage = command->usage && *command->usage;
    const char *text = lx_arena_printf(arena, "lx %s%s%s%s", command->name,
                                       has_options ? " [options]" : "",
                                       has_usage ? " " : "", has_usage ? command->usage : "");

    return text ? text : "?";
}

void lx_help_command(lx_str *out, const lx_command *command, lx_arena *arena, int columns)
{
    lx_str_printf(out, "usage: %s\n\n%s\n", lx_command_synopsis(command, arena),
                  command->help ? command->help : command->summary);
    if (command->subcommands) {
        lx_str_puts(out, "\ncommands:\n");
        for (size_t i = 0; command->subcommands[i]; i++)
            lx_str_printf(out, "  %-12s %s\n", command->subcommands[i]->name,
                          command->subcommands[i]->summary);
    }
    if (command->options && command->options[0].name) {
        lx_str_puts(out, "\noptions:\n");
        lx_options_help(out, command->options, columns);
    }
    lx_str_puts(out, "\noptions of every command:\n");
    lx_options_help(out, lx_global_options, columns);
}

void lx_help_overview(lx_str *out)
{
    lx_str_puts(out, "lx " LX_VERSION " - train, record, check and merge LoRAs for "
                     "Stable Diffusion\n\nusage: lx COMMAND [options] ...\n\ncommands:\n");
    for (size_t i = 0; lx_commands[i]; i++)
        if (!lx_commands[i]->is_hidden)
            lx_str_printf(out, "  %-12s %s\n", lx_commands[i]->name, lx_commands[i]->summary);
    lx_str_puts(out, "\n`lx COMMAND --help` explains one; `lx --version` tells the version.\n");
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    const struct help_args *a = args;
    const lx_command *command;
    lx_str text = LX_STR_INIT;
    int rc;

    if (a->names.count > 2) {
        rc = lx_fail(err, LX_EUSAGE, "one command at a time");
        goto done;
    }
    if (a->names.count == 0) {
        lx_help_overview(&text);
    } else {
        if ((rc = lx_command_find(&command, a->names.items[0], err)) < 0)
            goto done;
        if (a->names.count == 2) {
            rc = command->subcommands
                     ? lx_subcommand_find(&command, command, a->names.items[1], err)
                     : lx_fail(err, LX_EUSAGE, "one command at a time");
            if (rc < 0)
                goto done;
        }
        lx_help_command(&text, command, cli->arena, cli->columns);
    }
    if ((rc = lx_str_check(&text, err)) < 0)
        goto done;
    lx_print(cli, "%s", lx_str_text(&text));
done:
    lx_str_release(&text);
    return rc;
}

const lx_command lx_cmd_help = {
    .name = "help",
    .summary = "explain a command",
    .usage = "[COMMAND]",
    .help = "Lists the commands, or explains one: `lx help merge` is `lx merge --help`.",
    .options = options,
    .args_size = sizeof(struct help_args),
    .has_no_settings = true,
    .run = run,
};
