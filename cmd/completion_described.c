/* The completion scripts of shells that show what a word means: zsh, fish. */
#include <string.h>

#include "cmd/completion.h"

/* `text` up to its first line's end between single quotes: '\'' in zsh, \' in fish. */
static void put_quoted(lx_str *out, const char *text, const char *quote, bool is_zsh)
{
    for (; *text && *text != '\n'; text++) {
        if (*text == '\'')
            lx_str_puts(out, quote);
        else if (is_zsh &&
                 (*text == '[' || *text == ']')) /* they bound a meaning in zsh */
            lx_str_putc(out, *text == '[' ? '(' : ')');
        else if (*text == ':' && is_zsh)
            lx_str_putc(out, ';');
        else if (*text == '\\')
            lx_str_puts(out, "\\\\");
        else
            lx_str_putc(out, *text);
    }
}

static bool takes_value(const lx_option *o)
{
    return o->kind != LX_OPTION_FLAG && o->kind != LX_OPTION_ARGS;
}

/* ---- zsh ---- */

static void zsh_options(lx_str *out, const lx_option *o)
{
    for (; o && o->name; o++) {
        const char *means = o->help ? o->help : "";

        if (o->kind == LX_OPTION_ARGS)
            continue;
        for (int is_letter = o->letter ? 1 : 0; is_letter >= 0; is_letter--) {
            lx_str_puts(out, " \\\n        '");
            if (o->kind == LX_OPTION_REPEAT || o->kind == LX_OPTION_LIST)
                lx_str_putc(out, '*');
            if (is_letter)
                lx_str_printf(out, "-%c[", o->letter);
            else
                lx_str_printf(out, "--%s%s[", o->name, takes_value(o) ? "=" : "");
            put_quoted(out, means, "'\\''", true);
            lx_str_putc(out, ']');
            if (takes_value(o)) {
                lx_str_putc(out, ':');
                put_quoted(out, o->value ? o->value : "value", "'\\''", true);
                lx_str_puts(out, ":_files");
            }
            lx_str_putc(out, '\'');
        }
    }
}

static void zsh_names(lx_str *out, const lx_command *const *commands)
{
    for (size_t i = 0; commands[i]; i++) {
        const char *space = strrchr(commands[i]->name, ' ');

        if (commands[i]->is_hidden)
            continue;
        lx_str_printf(out, " \\\n        '%s:", space ? space + 1 : commands[i]->name);
        put_quoted(out, commands[i]->summary, "'\\''", true);
        lx_str_putc(out, '\'');
    }
}

/* One function a command: _lx_train, _lx_data_check. */
static void zsh_command(lx_str *out, const lx_command *command)
{
    const lx_command *const *sub = command->subcommands;

    for (size_t i = 0; sub && sub[i]; i++)
        zsh_command(out, sub[i]);
    lx_str_puts(out, "_lx_");
    for (const char *c = command->name; *c; c++)
        lx_str_putc(out, *c == ' ' || *c == '-' ? '_' : *c);
    lx_str_puts(out, "() {\n");
    if (sub) {
        lx_str_puts(out, "    (( CURRENT == 2 )) && {\n    local -a names; names=(");
        zsh_names(out, sub);
        lx_str_puts(
            out,
            ")\n    _describe command names; return; }\n    local name=${words[2]//-/_}\n"
            "    shift words; (( CURRENT-- ))\n");
        lx_str_printf(out, "    (( $+functions[_lx_%s_$name] )) && _lx_%s_$name\n",
                      command->name, command->name);
    } else {
        lx_str_puts(out, "    _arguments -s -S");
        zsh_options(out, command->options);
        zsh_options(out, lx_global_options);
        if (strcmp(command->name, "help") == 0)
            lx_str_puts(out, " '*: :_lx_commands'\n");
        else
            lx_str_puts(out, " '*:file:_files'\n");
    }
    lx_str_puts(out, "}\n");
}

void lx_completion_zsh(lx_str *out)
{
    lx_str_puts(
        out,
        "#compdef lx\n# source <(lx completion zsh), or as _lx in a folder of $fpath\n");
    for (size_t i = 0; lx_commands[i]; i++)
        if (!lx_commands[i]->is_hidden)
            zsh_command(out, lx_commands[i]);
    lx_str_puts(out, "_lx_commands() {\n    local -a names; names=(");
    zsh_names(out, lx_commands);
    lx_str_puts(
        out,
        ")\n    _describe command names\n}\n"
        "_lx() {\n"
        "    local i=2\n"
        "    while (( i < CURRENT )) && [[ $words[i] == -* ]]; do\n"
        "        [[ $words[i] == --store ]] && (( i++ ))\n        (( i++ ))\n    done\n"
        "    if (( i >= CURRENT )); then\n"
        "        _arguments -S '--version[show the version]'");
    zsh_options(out, lx_global_options);
    lx_str_puts(out, " '*: :_lx_commands'\n        return\n    fi\n"
                     "    local name=${words[i]//-/_}\n"
                     "    shift $((i - 1)) words; (( CURRENT -= i - 1 ))\n"
                     "    (( $+functions[_lx_$name] )) && _lx_$name\n"
                     "}\n"
                     "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _lx \"$@\"; "
                     "else compdef _lx lx; fi\n");
}

/* ---- fish ---- */

/* `when` is a test in fish, true where these words are offered. */
static void fish_options(lx_str *out, const lx_option *o, const char *when)
{
    for (; o && o->name; o++) {
        if (o->kind == LX_OPTION_ARGS)
            continue;
        lx_str_printf(out, "complete -c lx%s%s%s -l %s", *when ? " -n '" : "", when,
                      *when ? "'" : "", o->name);
        if (o->letter)
            lx_str_printf(out, " -s %c", o->letter);
        if (takes_value(o))
            lx_str_puts(out, " -r");
        lx_str_puts(out, " -d '");
        put_quoted(out, o->help ? o->help : "", "\\'", false);
        lx_str_puts(out, "'\n");
    }
}

static void fish_name(lx_str *out, const lx_command *command, const char *when)
{
    const char *space = strrchr(command->name, ' ');

    lx_str_printf(out, "complete -c lx -f -n '%s' -a %s -d '", when,
                  space ? space + 1 : command->name);
    put_quoted(out, command->summary, "\\'", false);
    lx_str_puts(out, "'\n");
}

static void fish_command(lx_str *out, const lx_command *command)
{
    lx_str when = LX_STR_INIT;

    lx_str_printf(&when, "__fish_seen_subcommand_from %s", command->name);
    fish_options(out, command->options, lx_str_text(&when));
    for (size_t i = 0; command->subcommands && command->subcommands[i]; i++) {
        const lx_command *sub = command->subcommands[i];

        lx_str_clear(&when);
        lx_str_printf(&when, "__lx_awaits_part_of %s", command->name);
        fish_name(out, sub, lx_str_text(&when));
        lx_str_clear(&when);
        lx_str_printf(&when, "__lx_is_part %s", sub->name);
        fish_options(out, sub->options, lx_str_text(&when));
    }
    lx_str_release(&when);
}

void lx_completion_fish(lx_str *out)
{
    lx_str_puts(
        out,
        "# lx completion fish | source, or as lx.fish in ~/.config/fish/completions\n"
        "function __lx_awaits_part_of\n"
        "    set -l words (commandline -opc)\n"
        "    test (count $words) -eq 2; and test \"$words[2]\" = $argv[1]\nend\n"
        "function __lx_is_part\n"
        "    set -l words (commandline -opc)\n"
        "    test \"$words[2]\" = $argv[1]; and test \"$words[3]\" = $argv[2]\nend\n"
        "complete -c lx -n __fish_use_subcommand -l version -d 'show the version'\n");
    fish_options(out, lx_global_options, "");
    for (size_t i = 0; lx_commands[i]; i++) {
        if (lx_commands[i]->is_hidden)
            continue;
        fish_name(out, lx_commands[i], "__fish_use_subcommand");
        fish_name(out, lx_commands[i], "__fish_seen_subcommand_from help");
        fish_command(out, lx_commands[i]);
    }
}
