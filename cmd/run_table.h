/*
 * cmd/run_table - runs as rows, their facts, flags and curves as columns
 *
 * A field is one of our own names (id, status, loss, dataset ...), a short name of a flag
 * (dim, lr
 * ...), any flag by its name in sd-scripts, or a curve (its last value; min(curve) its
 * least). Only the columns that are asked for are read, each by one query over all runs.
 *
 * Order of use: lx_run_table_open; lx_run_table_select with a query and a sorting;
 * lx_run_table_add for what is to be shown; lx_run_table_cell.
 */
#ifndef LX_CMD_RUN_TABLE_H
#define LX_CMD_RUN_TABLE_H

#include "cmd/cli.h"
#include "src/query/filter.h"
#include "store/query.h"

typedef struct lx_run_table lx_run_table;

typedef struct lx_run_column {
    const char *title; /* as it was asked for */
    lx_field_type type;
    bool is_number; /* every value of the selected runs is one */
} lx_run_column;

/* All runs that the filter leaves. In the arena; the store must outlive it. */
int lx_run_table_open(lx_run_table **out, lx_store *store, const lx_run_filter *filter,
                      lx_arena *arena, lx_error *err);

/* Keeps what the query (NULL: all) matches, sorted by the fields of `sort` (NULL: newest
 * first; "-x" falls, commas between), at most `limit` (0: all). */
int lx_run_table_select(lx_run_table *t, const char *query, const char *sort,
                        int64_t limit, lx_error *err);

size_t lx_run_table_count(const lx_run_table *t);
const lx_run_row *lx_run_table_row(const lx_run_table *t, size_t i);

/* Adds a column; *column is its number. LX_EUSAGE: no such field, with the nearest. */
int lx_run_table_add(int *column, lx_run_table *t, const char *field, lx_error *err);
/* Reads the columns that were added. To be called before cells are asked for. */
int lx_run_table_load(lx_run_table *t, lx_error *err);
const lx_run_column *lx_run_table_column(const lx_run_table *t, int column);
const lx_cell *lx_run_table_cell(const lx_run_table *t, size_t row, int column);
/* As people read it: dates, durations, four digits; NULL when there is no value. In the
 * arena. */
const char *lx_run_table_text(lx_run_table *t, size_t row, int column, bool is_short);
/* LX_ENOMEM when a text was "?" for want of memory. */
int lx_run_table_check(const lx_run_table *t, lx_error *err);

/* Has any selected run a value in this column? Is more than one kind among them? */
int lx_run_table_has_any(bool *out, lx_run_table *t, const char *field, lx_error *err);
bool lx_run_table_has_kinds(const lx_run_table *t);

/* Names of the flags whose values differ among the selected runs, the telling ones first;
 * those that only name a run or a place are left out, and those whose names no query
 * takes. */
int lx_run_table_varied(lx_words *out, lx_run_table *t, lx_error *err);

#endif
