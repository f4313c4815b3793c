/*
 * cmd/path_map - paths of another machine, read as paths of this one
 *
 * A map is "A=B": a path that begins with A (whole components; case does not count when A is a
 * Windows path, and \ is /) is read as B and the rest. The longest A wins.
 */
#ifndef LX_CMD_PATH_MAP_H
#define LX_CMD_PATH_MAP_H

#include "cmd/option.h"

/* "H:\img", "\\server\share" */
bool lx_path_is_windows(const char *path);

/*
 * *out is `path` itself when nothing applies. A relative path with backslashes gets slashes unless
 * a file of that very name is there. LX_EUSAGE: a map that is none, or a Windows path that no map
 * covers, with the option to add.
 */
int lx_path_map(const char **out, const char *path, const lx_words *maps, lx_arena *arena,
                lx_error *err);

#endif
