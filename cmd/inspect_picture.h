/* cmd/inspect_picture - the settings in a picture, for `lx inspect picture.png` */
#ifndef LX_CMD_INSPECT_PICTURE_H
#define LX_CMD_INSPECT_PICTURE_H

#include "cmd/cli.h"

/* By the name's ending: .png, .jpg, .jpeg, .webp. */
bool lx_is_picture_name(const char *path);
int lx_inspect_picture(lx_cli *cli, const char *path, bool as_json, lx_error *err);

#endif
