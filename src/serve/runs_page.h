/*
 * serve/runs_page - the table of runs, as a page and as the JSON that its script asks for
 *
 * The page is whole without scripts: the filter and the choice are forms, columns and
 * pages are links. runs.js then does the same without loading anew.
 *
 * JSON: {"all", "found", "first", "columns": [{"title", "field", "number"}],
 *        "rows": [{"id", "name", "cells": [text or null, one a column]}]}
 */
#ifndef LX_SERVE_RUNS_PAGE_H
#define LX_SERVE_RUNS_PAGE_H

#include <stdbool.h>

#include "src/base/error.h"
#include "src/base/str.h"

typedef struct lx_serve_column {
    const char *title; /* as it is shown and asked for */
    bool is_number;
} lx_serve_column;

typedef struct lx_serve_row {
    const char *id, *name;    /* name "" = none */
    const char *const *cells; /* one a column; NULL = no value */
} lx_serve_row;

/* Texts are borrowed and may be a stranger's. */
typedef struct lx_serve_runs {
    const char *query, *sort, *chosen; /* as asked: ?q=, ?sort=, ?columns=; never NULL */
    const char
        *problem; /* what is wrong with them; then there are no rows. NULL = fine */
    const lx_serve_column *columns; /* beside the run itself */
    size_t n_columns;
    const lx_serve_row *rows; /* one page of them */
    size_t n_rows;
    size_t first;      /* the place of the first among those found */
    size_t found, all; /* runs that the query matches; runs of the store */
    size_t size;       /* rows of a page */
    size_t most_compared;
    const char *where; /* the store */
} lx_serve_runs;

int lx_serve_runs_page(lx_str *out, const lx_serve_runs *runs, lx_error *err);
int lx_serve_runs_json(lx_str *out, const lx_serve_runs *runs, lx_error *err);

/* "good", "warn" or "bad": the class of a badge with this status. */
const char *lx_serve_tone(const char *status);

#endif
