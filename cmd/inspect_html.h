/*
 * cmd/inspect_html - many files as one page to share
 */
#ifndef LX_CMD_INSPECT_HTML_H
#define LX_CMD_INSPECT_HTML_H

#include "cmd/inspect_table.h"

/* The fields that the page shows, to be asked for before the table is read. */
extern const char lx_inspect_html_fields[];

/*
 * Writes the rows of the table to `path`: counts first, then a table with the caption verdict of each file
 * and its proof. Fetches nothing; home folders, names and addresses are taken out. LX_EEXISTS when the
 * path is there already.
 */
int lx_inspect_html(lx_cli *cli, const lx_inspect_table *table, const int *columns,
                    size_t n_columns, const char *path, lx_error *err);

#endif
