/*
 * report/table - rows of texts as aligned columns or as CSV
 *
 * Cells are hostile until printed: control characters are escaped, widths are those of a
 * terminal (wide and combining characters counted), CSV is quoted and its formulas are
 * defused.
 */
#ifndef LX_REPORT_TABLE_H
#define LX_REPORT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/base/str.h"

typedef struct lx_table_column {
    const char *title;
    bool is_number;  /* to the right */
    bool may_shrink; /* cut with "..." when the table is wider than the terminal */
} lx_table_column;

typedef struct lx_table {
    const lx_table_column *columns;
    size_t n_columns, n_rows;
    const char *const *cells; /* row by row; NULL prints "-" in text and nothing in CSV */
} lx_table;

/* width 0: as wide as it is. `indent` spaces before each row. LX_ENOMEM. */
int lx_table_text(lx_str *out, const lx_table *table, int width, int indent,
                  lx_error *err);
/* The same with no column that may shrink wider than `most`, however wide the terminal: what was
 * written by somebody else may be a megabyte. */
int lx_table_text_clipped(lx_str *out, const lx_table *table, int width, int indent, int most,
                          lx_error *err);
int lx_table_csv(lx_str *out, const lx_table *table, lx_error *err);

/* Columns of a terminal that a text takes. */
int lx_text_width(const char *text);

#endif
