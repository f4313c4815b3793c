#include <string.h>

#include "cmd/cli.h"

const lx_command *const lx_commands[] = {
#define LX_COMMAND(name) &lx_cmd_##name,
#include "cmd/commands.def"
#undef LX_COMMAND
    NULL};

/* "check" of "data check". */
static const char *own_word(const lx_command *command)
{
    const char *space = strrchr(command->name, ' ');
    return space ? space + 1 : command->name;
}

/* The one of that name, or NULL and the nearest (NULL: none is near). */
static const lx_command *find(const lx_command **nearest, const lx_command *const *commands,
                              const char *name)
{
    int least = 4; /* further away is no misspelling */

    *nearest = NULL;
    for (size_t i = 0; commands[i]; i++) {
        int distance = lx_name_distance(own_word(commands[i]), name);
        if (strcmp(own_word(commands[i]), name) == 0)
            return commands[i];
        if (!commands[i]->is_hidden && distance < least && distance < (int)strlen(name)) {
            least = distance;
            *nearest = commands[i];
        }
    }
    return NULL;
}

int lx_command_find(const lx_command **out, const char *name, lx_error *err)
{
    const lx_command *nearest;

    if ((*out = find(&nearest, lx_commands, name)))
        return LX_OK;
    if (nearest)
        return lx_fail(err, LX_EUSAGE,
                       "there is no command '%s'; did you mean '%s'? (`lx help` lists all)", name,
                       nearest->name);
    return lx_fail(err, LX_EUSAGE, "there is no command '%s'; `lx help` lists all", name);
}

int lx_subcommand_find(const lx_command **out, const lx_command *command, const char *name,
                       lx_error *err)
{
    const lx_command *nearest;

    if ((*out = find(&nearest, command->subcommands, name)))
        return LX_OK;
    if (nearest)
        return lx_fail(err, LX_EUSAGE, "there is no `lx %s %s`; did you mean `lx %s`?",
                       command->name, name, nearest->name);
    return lx_fail(err, LX_EUSAGE, "there is no `lx %s %s`; `lx %s --help` lists what there is",
                   command->name, name, command->name);
}
