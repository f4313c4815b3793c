#include "src/query/cell.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"

double lx_text_number(const char *text)
{
    char *end;
    double x;

    /* strtod also takes hexadecimal, "inf" and leading space: an id like 0x1p3 is no
     * number. */
    if (!text[0] || text[strspn(text, "0123456789+-.eE")])
        return (double)NAN;
    x = strtod(text, &end);
    return *end || !isfinite(x) ? (double)NAN : x;
}

lx_cell lx_cell_text(const char *text)
{
    if (!text)
        return (lx_cell){.kind = LX_CELL_NONE};
    return (lx_cell){.kind = LX_CELL_TEXT, .number = lx_text_number(text), .text = text};
}

lx_cell lx_cell_number(double number)
{
    if (isnan(number))
        return (lx_cell){.kind = LX_CELL_NONE};
    return (lx_cell){.kind = LX_CELL_NUMBER, .number = number};
}

static int rank_of(const lx_cell *c)
{
    if (c->kind == LX_CELL_NONE || (c->kind == LX_CELL_WORDS && !c->n_words))
        return 2;
    return c->kind == LX_CELL_NUMBER || (c->kind == LX_CELL_TEXT && !isnan(c->number))
               ? 0
               : 1;
}

static const char *first_text(const lx_cell *c)
{
    const char *text = c->kind == LX_CELL_WORDS ? c->words[0] : c->text;
    return text ? text : "";
}

int lx_cell_compare(const lx_cell *a, const lx_cell *b)
{
    int x = rank_of(a), y = rank_of(b);

    if (x != y || x == 2)
        return x - y;
    if (x == 0)
        return (a->number > b->number) - (a->number < b->number);
    return strcmp(first_text(a), first_text(b));
}

bool lx_cell_equal(const lx_cell *a, const lx_cell *b)
{
    if (a->kind == LX_CELL_WORDS && b->kind == LX_CELL_WORDS) {
        if (a->n_words != b->n_words)
            return false;
        for (unsigned i = 0; i < a->n_words; i++)
            if (strcmp(a->words[i], b->words[i]) != 0)
                return false;
        return true;
    }
    return lx_cell_compare(a, b) == 0;
}

void lx_cell_put(lx_str *out, const lx_cell *cell, bool is_short)
{
    char number[32];

    switch (cell->kind) {
    case LX_CELL_NONE:
        return;
    case LX_CELL_NUMBER:
        if (is_short &&
            (fabs(cell->number) < 1e15 && cell->number != floor(cell->number))) {
            lx_str_printf(out, "%.4g", cell->number);
            return;
        }
        lx_format_double(number, cell->number);
        lx_str_puts(out, number);
        return;
    case LX_CELL_TEXT:
        lx_str_puts(out, cell->text);
        return;
    case LX_CELL_WORDS:
        for (unsigned i = 0; i < cell->n_words; i++)
            lx_str_printf(out, "%s%s", i ? ", " : "", cell->words[i]);
    }
}
