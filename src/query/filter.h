/*
 * query/filter - which runs are asked for: a text as a tree, and the tree on rows
 *
 *     loss < 0.06 and dim = 4 and not dataset ~ hifumi
 *     (tag in (good, "very good") or min(loss/average) <= 0.05) and started > -3d
 *
 *     or    = and { "or" and }                 also "||"
 *     and   = not { "and" not }                also "&&"
 *     not   = "not" not | "(" or ")" | test    also "!"
 *     test  = field op value | field ["not"] "in" "(" value { "," value } ")" | field
 *     field = name | ("min" | "last") "(" name ")"
 *     op    = "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~"
 *     value = number | duration | date | 'text' | "text" | word     (query/when)
 *
 * ~ is "contains", whatever the case. != is true of what is not equal, so also of a run
 * without the value; every other comparison with a missing value is false. `none` is the
 * missing value. A field alone is true when it has a value that is neither false nor 0
 * nor empty. Of several words (tags) one must fit. Words of the language may be written
 * in any case.
 *
 * The text goes nowhere but into this tree: names are bound by the caller, values are
 * compared here.
 */
#ifndef LX_QUERY_FILTER_H
#define LX_QUERY_FILTER_H

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/query/cell.h"

enum { LX_FILTER_BYTES = 64 * 1024, LX_FILTER_DEPTH = 64 };

typedef enum lx_field_type {
    LX_FIELD_ANY,    /* flags: numbers where both sides read as numbers, else text */
    LX_FIELD_SWITCH, /* the same, and the words true and false are 1 and 0 as well */
    LX_FIELD_TEXT,
    LX_FIELD_ID, /* = means "begins with" */
    LX_FIELD_NUMBER,
    LX_FIELD_TIME,    /* seconds since 1970; compared with dates and "-3d" */
    LX_FIELD_DURATION /* seconds; compared with "5m" and numbers */
} lx_field_type;

/* Gives the column of a field and its type; part is "min", "last" or NULL. LX_EUSAGE says
 * what is wrong with the name (the column of the text is put in front). */
typedef int (*lx_filter_bind)(int *column, lx_field_type *type, void *context,
                              const char *name, const char *part, lx_error *err);

typedef struct lx_filter_host {
    lx_filter_bind bind;
    void *context;
    double now; /* seconds since 1970: what -3d and today are counted from */
} lx_filter_host;

typedef struct lx_filter lx_filter;

/* In the arena. An empty text matches everything. LX_EUSAGE: "column 14: ...", counted in
 * characters from 1; LX_ELIMIT. */
int lx_filter_parse(lx_filter **out, const char *text, size_t n,
                    const lx_filter_host *host, lx_arena *arena, lx_error *err);

/* `row` holds the cells by column. */
bool lx_filter_matches(const lx_filter *filter, const lx_cell *row);

/* One field as in a query ("min(loss)", "network_dim"), for --columns and --sort: its
 * name and its part, in the arena. LX_EUSAGE. */
int lx_field_parse(const char **name, const char **part, const char *text,
                   lx_arena *arena, lx_error *err);

#endif
