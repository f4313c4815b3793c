/* lx completion - a script that lets the shell complete commands, options and files */
#include <string.h>

#include "cmd/completion.h"

struct completion_args {
    lx_words shells;
};

static const lx_option options[] = {
    LX_ARGS(struct completion_args, shells, "SHELL", "bash, zsh or fish"), LX_OPTION_END};

static void put_words(lx_str *out, const lx_option *o)
{
    for (; o && o->name; o++)
        if (o->kind != LX_OPTION_ARGS)
            lx_str_printf(out, " --%s", o->name);
}

/* Behind "data" the names of what is below it, and the options of all of them. */
static void put_subcommands(lx_str *out, const lx_command *command)
{
    const lx_command *const *sub = command->subcommands;

    lx_str_puts(out, "\n        words+='");
    for (size_t i = 0; sub[i]; i++)
        put_words(out, sub[i]->options);
    lx_str_printf(out,
                  "'\n        [[ ${COMP_WORDS[COMP_CWORD-1]} == %s && $word != -* ]] &&\n"
                  "            { COMPREPLY=($(compgen -W '",
                  command->name);
    for (size_t i = 0; sub[i]; i++)
        lx_str_printf(out, "%s%s", i ? " " : "", strrchr(sub[i]->name, ' ') + 1);
    lx_str_puts(out, "' -- \"$word\")); return; }");
}

/* After the command its options are offered for a word that begins with '-', else files. */
static void put_bash(lx_str *out)
{
    lx_str_puts(out, "# source <(lx completion bash)\n"
                     "_lx() {\n"
                     "    local word=${COMP_WORDS[COMP_CWORD]} command='' i words=''\n"
                     "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                     "        case ${COMP_WORDS[i]} in\n"
                     "        --store) ((i++)) ;;\n"
                     "        -*) ;;\n"
                     "        *) command=${COMP_WORDS[i]}; break ;;\n"
                     "        esac\n"
                     "    done\n"
                     "    case $command in\n"
                     "    '') words='--version");
    put_words(out, lx_global_options);
    for (size_t i = 0; lx_commands[i]; i++)
        if (!lx_commands[i]->is_hidden)
            lx_str_printf(out, " %s", lx_commands[i]->name);
    lx_str_puts(out, "' ;;\n");
    for (size_t i = 0; lx_commands[i]; i++) {
        if (lx_commands[i]->is_hidden)
            continue;
        lx_str_printf(out, "    %s) words='", lx_commands[i]->name);
        if (strcmp(lx_commands[i]->name, "help") == 0)
            for (size_t k = 0; lx_commands[k]; k++)
                lx_str_printf(out, "%s%s", k ? " " : "",
                              lx_commands[k]->is_hidden ? "" : lx_commands[k]->name);
        put_words(out, lx_commands[i]->options);
        put_words(out, lx_global_options);
        lx_str_puts(out, "'");
        if (lx_commands[i]->subcommands)
            put_subcommands(out, lx_commands[i]);
        lx_str_puts(out, " ;;\n");
    }
    lx_str_puts(out, "    esac\n"
                     "    COMPREPLY=()\n"
                     "    if [[ $word == -* || -z $command || $command == help ]]; then\n"
                     "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                     "    fi\n"
                     "}\n"
                     "complete -o default -F _lx lx\n");
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    static const struct shell {
        const char *name;
        void (*put)(lx_str *out);
    } shells[] = {
        {"bash", put_bash}, {"zsh", lx_completion_zsh}, {"fish", lx_completion_fish}};
    const struct completion_args *a = args;
    void (*put)(lx_str * out) = NULL;
    lx_str text = LX_STR_INIT;
    int rc;

    for (size_t i = 0; a->shells.count == 1 && !put && i < sizeof shells / sizeof *shells;
         i++)
        if (strcmp(a->shells.items[0], shells[i].name) == 0)
            put = shells[i].put;
    if (!put)
        return lx_fail(err, LX_EUSAGE, "name the shell: lx completion bash, zsh or fish");
    put(&text);
    if ((rc = lx_str_check(&text, err)) == 0)
        lx_print(cli, "%s", lx_str_text(&text));
    lx_str_release(&text);
    return rc;
}

const lx_command lx_cmd_completion = {
    .name = "completion",
    .summary = "print a completion script for the shell",
    .usage = "bash|zsh|fish",
    .help = "Prints a script that completes commands, options and file names:\n\n"
            "    source <(lx completion bash)        in ~/.bashrc\n"
            "    source <(lx completion zsh)         in ~/.zshrc, behind compinit\n"
            "    lx completion fish | source         in ~/.config/fish/config.fish\n\n"
            "The Debian package brings all three.",
    .options = options,
    .args_size = sizeof(struct completion_args),
    .has_no_settings = true,
    .run = run,
};
