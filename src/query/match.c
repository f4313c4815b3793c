#include <math.h>
#include <string.h>

#include "src/base/unicode.h"
#include "src/query/filter_internal.h"

static bool has_value(const lx_cell *c)
{
    return c->kind != LX_CELL_NONE && (c->kind != LX_CELL_WORDS || c->n_words > 0);
}

static bool contains(const char *text, const char *lower)
{
    lx_str s = LX_STR_INIT;
    bool found;

    lx_str_put_lower(&s, text, strlen(text));
    found = strstr(lx_str_text(&s), lower) != NULL;
    lx_str_release(&s);
    return found;
}

/* Sign of the order of a text and a literal, as the type compares them; *is_comparable
 * false when one is a number and the other is not. */
static int order_of(bool *is_comparable, const lx_cell *c, const literal *v,
                    lx_field_type type)
{
    *is_comparable = true;
    if (type == LX_FIELD_TIME)
        return c->number < v->from                         ? -1
               : c->number < v->to || c->number == v->from ? 0
                                                           : 1;
    if (type == LX_FIELD_ID && c->kind == LX_CELL_TEXT)
        return strncmp(c->text, v->text, strlen(v->text));
    if (c->kind == LX_CELL_NUMBER || (type != LX_FIELD_TEXT && !isnan(c->number))) {
        *is_comparable = !isnan(v->number);
        return (c->number > v->number) - (c->number < v->number);
    }
    *is_comparable = type == LX_FIELD_TEXT || v->is_truth || isnan(v->number);
    return strcmp(c->text, v->text);
}

static bool is_true(const lx_cell *c, filter_op op, const literal *v, lx_field_type type)
{
    bool is_comparable;
    int order;

    if (op == OP_HAS) {
        lx_str number = LX_STR_INIT;
        bool found;
        if (c->kind == LX_CELL_TEXT)
            return contains(c->text, v->lower);
        lx_cell_put(&number, c, false);
        found = contains(lx_str_text(&number), v->lower);
        lx_str_release(&number);
        return found;
    }
    order = order_of(&is_comparable, c, v, type);
    if (!is_comparable)
        return false;
    return op == OP_EQ   ? order == 0
           : op == OP_LT ? order < 0
           : op == OP_LE ? order <= 0
           : op == OP_GT ? order > 0
                         : order >= 0;
}

/* One of several words is enough. */
static bool compare(const lx_cell *c, filter_op op, const literal *v, lx_field_type type)
{
    if (op == OP_NE || op == OP_HAS_NOT)
        return !compare(c, op == OP_NE ? OP_EQ : OP_HAS, v, type);
    if (v->is_none)
        return !has_value(c);
    if (!has_value(c))
        return false;
    if (c->kind != LX_CELL_WORDS)
        return is_true(c, op, v, type);
    for (unsigned i = 0; i < c->n_words; i++) {
        lx_cell word = lx_cell_text(c->words[i]);
        if (is_true(&word, op, v, LX_FIELD_TEXT))
            return true;
    }
    return false;
}

static bool is_set(const lx_cell *c)
{
    if (c->kind == LX_CELL_TEXT)
        return *c->text && strcmp(c->text, "false") != 0 && c->number != 0;
    return has_value(c) && (c->kind != LX_CELL_NUMBER || c->number != 0);
}

static bool matches(const node *n, const lx_cell *row)
{
    switch (n->kind) {
    case NODE_AND:
        for (const node *c = n->child; c; c = c->next)
            if (!matches(c, row))
                return false;
        return true;
    case NODE_OR:
        for (const node *c = n->child; c; c = c->next)
            if (matches(c, row))
                return true;
        return false;
    case NODE_NOT:
        return !matches(n->child, row);
    case NODE_TEST:
        return compare(&row[n->column], n->op, n->values, n->type);
    case NODE_IN:
        for (size_t i = 0; i < n->n_values; i++)
            if (compare(&row[n->column], OP_EQ, &n->values[i], n->type))
                return true;
        return false;
    default:
        return is_set(&row[n->column]);
    }
}

bool lx_filter_matches(const lx_filter *filter, const lx_cell *row)
{
    return !filter->root || matches(filter->root, row);
}
