#include <string.h>

#include "cmd/cli.h"

const lx_command *const lx_commands[] = {
#define LX_COMMAND(name) &lx_cmd_##name,
#include "cmd/commands.def"
#undef LX_COMMAND
    NULL};

int lx_command_find(const lx_command **out, const char *name, lx_error *err)
{
    const lx_command *nearest = NULL;
    int least = 4; /* further away is no misspelling */

    for (size_t i = 0; lx_commands[i]; i++) {
        int distance = lx_name_distance(lx_commands[i]->name, name);
        if (strcmp(lx_commands[i]->name, name) == 0) {
            *out = lx_commands[i];
            return LX_OK;
        }
        if (!lx_commands[i]->is_hidden && distance < least && distance < (int)strlen(name)) {
            least = distance;
            nearest = lx_commands[i];
        }
    }
    if (nearest)
        return lx_fail(err, LX_EUSAGE,
                       "there is no command '%s'; did you mean '%s'? (`lx help` lists all)", name,
                       nearest->name);
    return lx_fail(err, LX_EUSAGE, "there is no command '%s'; `lx help` lists all", name);
}
