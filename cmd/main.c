/* lx - finds the command; owns the exit status and the final error line */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cli.h"
#include "cmd/settings.h"
#include "cmd/waiting.h"
#include "src/base/alloc.h"
#include "src/image/decode.h"
#include "store/git.h"

struct front_args {
    bool wants_version;
};

static const lx_option front_options[] = {
    LX_FLAG(struct front_args, wants_version, 0, "version", "the version of lx"),
    LX_OPTION_END};

static int print_help(lx_cli *cli, const lx_command *command, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc;

    if (command)
        lx_help_command(&text, command, cli->arena, cli->columns);
    else
        lx_help_overview(&text);
    if ((rc = lx_str_check(&text, err)) == 0)
        lx_print(cli, "%s", lx_str_text(&text));
    lx_str_release(&text);
    return rc;
}

/* --help anywhere among the words of a command that parses them itself, but not behind `--`. */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run_command(lx_cli *cli, const lx_command *command, lx_error *err)
{
    lx_globals globals = {0};
    void *args = NULL;
    int rc;

    if (!command->options || command->parses_itself) {
        if (asks_for_help(cli->argc, cli->argv))
            return print_help(cli, command, err);
        return command->run(cli, NULL, err);
    }
    args = lx_arena_calloc(cli->arena, 1, command->args_size ? command->args_size : 1);
    if (!args)
        return lx_oom(err);
    lx_option_set sets[] = {{command->options, args}, {lx_global_options, &globals}};
    rc = lx_option_sets_parse(sets, 2, cli->argc, cli->argv, NULL, cli->arena, err);
    if (globals.wants_help)
        return print_help(cli, command, err);
    if (rc < 0)
        return rc;
    lx_cli_apply_globals(cli, &globals);
    return command->run(cli, args, err);
}

/* The settings, and the store that they name where nothing nearer does. */
static int use_settings(lx_cli *cli, lx_settings *settings, lx_error *err)
{
    const char *variable = getenv("LX_STORE");
    int rc = lx_settings_read(settings, cli->arena, err);

    if (rc < 0)
        return rc;
    cli->settings = settings;
    if (!cli->store_path && !(variable && *variable) && !settings->project_file)
        cli->store_path = lx_settings_store(settings, cli->arena);
    return LX_OK;
}

static int run_with_settings(lx_cli *cli, const lx_command *command, lx_error *err)
{
    lx_settings settings = {0};
    int rc = command->has_no_settings ? LX_OK : use_settings(cli, &settings, err);

    if (rc == LX_OK)
        rc = run_command(cli, command, err);
    cli->settings = NULL;
    lx_settings_release(&settings);
    return rc;
}

/* Of a command that has others below it, the one that the next word names. */
static int choose_subcommand(const lx_command **command, lx_cli *cli, lx_error *err)
{
    int rc;

    if (!(*command)->subcommands || (cli->argc > 0 && asks_for_help(1, cli->argv)))
        return LX_OK;
    if (cli->argc == 0)
        return lx_fail(err, LX_EUSAGE, "say what: `lx %s --help` lists what there is",
                       (*command)->name);
    if ((rc = lx_subcommand_find(command, *command, cli->argv[0], err)) < 0)
        return rc;
    cli->name = (*command)->name;
    cli->argc--;
    cli->argv++;
    return LX_OK;
}

static int run(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    lx_globals globals = {0};
    struct front_args front = {0};
    lx_option_set sets[] = {{front_options, &front}, {lx_global_options, &globals}};
    const lx_command *command;
    int rest, rc;

    if ((rc = lx_option_sets_parse(sets, 2, argc, argv, &rest, cli->arena, err)) < 0)
        return rc;
    lx_cli_apply_globals(cli, &globals);
    if (front.wants_version) {
        lx_print(cli, "lx %s\n", LX_VERSION);
        return LX_OK;
    }
    if (globals.wants_help)
        return print_help(cli, NULL, err);
    if (rest == argc) {
        cli->out = cli->err; /* no result was asked for */
        print_help(cli, NULL, err);
        return lx_fail(err, LX_EUSAGE, "%s", "");
    }
    if ((rc = lx_command_find(&command, argv[rest], err)) < 0)
        return rc;
    if (command->computes)
        lx_wait_briefly(argv - 1); /* the name of the program stands before the words */
    cli->name = command->name;
    cli->argc = argc - rest - 1;
    cli->argv = argv + rest + 1;
    if ((rc = choose_subcommand(&command, cli, err)) < 0)
        return rc;
    return run_with_settings(cli, command, err);
}

/* What was printed may still sit in a buffer: a full disk shows itself only here. */
static int flush_output(lx_cli *cli, FILE *out, int rc, lx_error *err)
{
    if (fflush(out) != 0 && !cli->write_error)
        cli->write_error = errno;
    if (ferror(out) && !cli->write_error)
        cli->write_error = EIO;
    if (!cli->write_error || cli->write_error == EPIPE || rc < 0)
        return rc;
    cli->exit_status = 0; /* what the command found did not reach anyone */
    return lx_fail(err, LX_EIO, "standard output: %s", strerror(cli->write_error));
}

/*
 * Where memory ran out, text may be missing from what was printed or written, and what looked like a damaged
 * file may be none: the command says so, whatever it came to. Those who go on without (lx serve answers one
 * request with an error) have said so already.
 */
static int own_up(lx_cli *cli, int rc, lx_error *err)
{
    if (!lx_alloc_has_failed() || cli->survives_oom || rc == LX_ENOMEM)
        return rc;
    cli->exit_status = 0;
    return lx_fail(err, LX_ENOMEM, "%s",
                   rc < 0
                       ? "out of memory"
                       : "out of memory: what was printed or written may lack something");
}

static void print_error(lx_cli *cli, const lx_error *err)
{
    lx_str text = LX_STR_INIT;

    lx_escape_terminal(&text, err->text, strlen(err->text), true);
    fprintf(stderr, "lx%s%s: %s\n", cli->name ? " " : "", cli->name ? cli->name : "",
            text.failed ? "out of memory" : lx_str_text(&text));
    lx_str_release(&text);
}

int main(int argc, char **argv)
{
    lx_arena *arena;
    lx_error err = {0};
    lx_cli cli;
    int rc;

    signal(SIGCHLD, SIG_DFL); /* ignored, as some that start us leave it, no child's end would be told */
    if (lx_decode_is_worker(&rc, argc, argv)) /* a child of ours that decodes images */
        return rc;
    if (lx_git_is_worker(&rc, argc,
                         argv)) /* one that reads the state of a git repository */
        return rc;
    arena = lx_arena_new();
    lx_signals_ignore_writing();
    lx_cli_init(&cli, arena, stdout, stderr);
    rc = arena ? run(&cli, argc - 1, argv + 1, &err) : lx_oom(&err);
    rc = flush_output(&cli, stdout, own_up(&cli, rc, &err), &err);
    if (rc < 0 && err.text[0])
        print_error(&cli, &err);
    lx_arena_free(arena);
    if (rc == 0 && cli.write_error == EPIPE)
        lx_signals_die_of_pipe();
    return cli.exit_status ? cli.exit_status : lx_exit_status(rc);
}
