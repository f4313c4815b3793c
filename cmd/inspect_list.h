/*
 * cmd/inspect_list - many files, one row each, as text, CSV or JSON
 */
#ifndef LX_CMD_INSPECT_LIST_H
#define LX_CMD_INSPECT_LIST_H

#include "cmd/cli.h"
#include "cmd/inspect_files.h"

typedef struct lx_list_options {
    const char *where, *sort, *columns, *html; /* or NULL */
    bool json, csv;
} lx_list_options;

/* Prints it. Files that cannot be read have a row and a line on stderr; the first one's code is
 * returned, without a text that is to be told again (err->text is for main). */
int lx_inspect_list(lx_cli *cli, const lx_list_options *options,
                    const lx_file_list *files, lx_error *err);
void lx_inspect_list_fields(lx_cli *cli);

#endif
