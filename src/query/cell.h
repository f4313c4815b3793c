/*
 * query/cell - one value of one run, as filters, sorting and tables see it
 */
#ifndef LX_QUERY_CELL_H
#define LX_QUERY_CELL_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/str.h"

typedef enum lx_cell_kind {
    LX_CELL_NONE,   /* the run has no such value */
    LX_CELL_NUMBER, /* number; text may be NULL */
    LX_CELL_TEXT,   /* text, and number where the text reads as one, else NaN */
    LX_CELL_WORDS   /* words: tags, notes */
} lx_cell_kind;

typedef struct lx_cell {
    lx_cell_kind kind;
    unsigned n_words;
    double number;
    union {
        const char *text;
        const char *const *words;
    };
} lx_cell;

/* text NULL gives a cell without value. */
lx_cell lx_cell_text(const char *text);
lx_cell lx_cell_number(double number); /* NaN gives a cell without value */

/* The whole of the text as a finite decimal number; NaN when it is none. */
double lx_text_number(const char *text);

/* <0, 0, >0: numbers first, by size; then texts, bytewise; then cells without a value. */
int lx_cell_compare(const lx_cell *a, const lx_cell *b);
bool lx_cell_equal(const lx_cell *a, const lx_cell *b);

/* As people read it (numbers with 4 digits at most where `is_short`); nothing for no
 * value. */
void lx_cell_put(lx_str *out, const lx_cell *cell, bool is_short);

#endif
