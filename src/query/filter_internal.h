/* query/filter_internal - tokens and nodes, shared by lex.c, parse.c and match.c */
#ifndef LX_QUERY_FILTER_INTERNAL_H
#define LX_QUERY_FILTER_INTERNAL_H

#include "src/query/filter.h"

typedef enum token_kind {
    TOKEN_END,
    TOKEN_WORD, /* bare: a name, a word of the language, a value */
    TOKEN_QUOTED,
    TOKEN_OP, /* op */
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_AND, /* && || ! as signs; the words are TOKEN_WORD */
    TOKEN_OR,
    TOKEN_NOT
} token_kind;

typedef enum filter_op {
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_HAS,
    OP_HAS_NOT
} filter_op;

typedef struct token {
    token_kind kind;
    filter_op op;
    const char *text; /* of words and quoted texts, in the arena */
    size_t column;    /* in characters, from 1 */
} token;

typedef struct lexer {
    const char *text, *end, *at;
    size_t column;
    lx_arena *arena;
} lexer;

/* LX_EUSAGE with its column. */
int query__next(token *out, lexer *l, lx_error *err);

typedef struct literal {
    const char *text, *lower; /* lower: for ~ */
    bool is_none, is_truth; /* is_truth: true or false of a switch; number is 1 or 0 */
    double number;   /* NaN = none; seconds of a duration */
    double from, to; /* of a moment */
} literal;

typedef enum node_kind {
    NODE_AND,
    NODE_OR,
    NODE_NOT,
    NODE_TEST,
    NODE_IN,
    NODE_THERE
} node_kind;

typedef struct node {
    node_kind kind;
    struct node *child, *next; /* AND, OR: a list of children; NOT: one */
    int column;
    lx_field_type type;
    filter_op op;
    literal *values; /* TEST: one, IN: all */
    size_t n_values;
} node;

struct lx_filter {
    const node *root; /* NULL: everything */
};

#endif
