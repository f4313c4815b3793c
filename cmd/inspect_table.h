/*
 * cmd/inspect_table - many model files as rows
 *
 * Headers only, read by several threads; the order is that of the paths whatever their
 * number. Fields are our own names (lx_inspect_fields) or keys of the metadata (ss_seed,
 * modelspec.title). Only what a query, a sorting or a column asks for is kept of a file.
 *
 * Order of use: lx_inspect_table_new; _ask for what is to be shown; _read once; _select;
 * then rows and cells.
 */
#ifndef LX_CMD_INSPECT_TABLE_H
#define LX_CMD_INSPECT_TABLE_H

#include "cmd/cli.h"
#include "src/query/filter.h"

typedef struct lx_inspect_table lx_inspect_table;

typedef struct lx_inspect_field {
    const char *name, *help;
    int id; /* private */
    lx_field_type type;
    const char *key; /* of the metadata, or NULL */
} lx_inspect_field;
extern const lx_inspect_field lx_inspect_fields[]; /* ends with a NULL name */

int lx_inspect_table_new(lx_inspect_table **out, const char *const *paths, size_t n,
                         lx_error *err);
void lx_inspect_table_free(lx_inspect_table *table);

/* A list of fields with commas between; "-x" is taken where is_sort. *columns [*n] in the
 * arena of the table. LX_EUSAGE with the nearest name. */
int lx_inspect_table_ask(int **columns, size_t *n, lx_inspect_table *table,
                         const char *fields, lx_error *err);
/* Before _read: the query and the sorting, either may be NULL. */
int lx_inspect_table_choose(lx_inspect_table *table, const char *query, const char *sort,
                            lx_error *err);

/* Reads all files. A file that cannot be read has a row too. LX_ENOMEM only. */
int lx_inspect_table_read(lx_inspect_table *table, lx_error *err);

size_t lx_inspect_table_count(const lx_inspect_table *table); /* that the query leaves */
const char *lx_inspect_table_path(const lx_inspect_table *table, size_t row);
/* Why the file cannot be read, or NULL. */
const char *lx_inspect_table_problem(const lx_inspect_table *table, size_t row);
int lx_inspect_table_code(const lx_inspect_table *table, size_t row); /* LX_OK, LX_E... */
const lx_cell *lx_inspect_table_cell(const lx_inspect_table *table, size_t row,
                                     int column);
const char *lx_inspect_table_title(const lx_inspect_table *table, int column);
bool lx_inspect_table_is_number(const lx_inspect_table *table, int column);
lx_field_type lx_inspect_table_type(const lx_inspect_table *table, int column);
/* As people read it, or exactly; NULL when there is no value. In `arena`, or the table's. */
const char *lx_inspect_table_text(const lx_inspect_table *table, size_t row, int column,
                                  bool is_exact, lx_arena *arena);

/* Files of each caption verdict, of those that are LoRAs; files that cannot be read. */
typedef struct lx_inspect_census {
    size_t n_files, n_loras, n_read, n_unread, n_partly, n_silent, n_broken;
} lx_inspect_census;
void lx_inspect_table_census(lx_inspect_census *out, const lx_inspect_table *table);

#endif
