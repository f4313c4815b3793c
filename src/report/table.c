#include "src/report/table.h"

#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <string.h>
#include <wchar.h>

#include "src/base/alloc.h"

enum { GAP = 2, LEAST = 8 };

/* ---- widths -------------------------------------------------------------- */

static locale_t utf8;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* wcwidth knows only ASCII in the locale of a program that never asked for another one.
 */
static void make_locale(void)
{
    utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static int width_of(uint32_t c)
{
    int width = c < 0x300 ? 1 : wcwidth((wchar_t)c);
    return width < 0 ? 1 : width;
}

/* Letters of ASCII alone, each of which takes one column and is shown as it is: nearly all cells. *end: where it ends,
 * or at what is no such letter. */
static bool is_plain(const char **end, const char *text)
{
    while (*text >= 0x20 && *text < 0x7F)
        text++;
    *end = text;
    return !*text;
}

/* Bytes of `text` that fit `width` columns; *used is how many they take. */
static size_t fitting(int *used, const char *text, int width)
{
    const char *p = text, *end;
    locale_t before;
    size_t n = 0;

    if (is_plain(&end, text)) {
        *used = end - text < width ? (int)(end - text) : width > 0 ? width : 0;
        return (size_t)*used;
    }
    end += strlen(end);
    pthread_once(&once, make_locale);
    before = utf8 ? uselocale(utf8) : (locale_t)0;
    *used = 0;
    while (p < end) {
        int w = width_of(lx_utf8_next(&p, end));
        if (*used + w > width)
            break;
        *used += w;
        n = (size_t)(p - text);
    }
    if (before)
        uselocale(before);
    return n;
}

int lx_text_width(const char *text)
{
    int used;
    fitting(&used, text, 1 << 30);
    return used;
}

/* ---- aligned text -------------------------------------------------------- */

typedef struct layout {
    const lx_table *table;
    const char **cells; /* as they are shown: the table's own, or one of these */
    char **escaped;
    int *widths;
} layout;

static int escape_cells(layout *l, lx_error *err)
{
    const lx_table *t = l->table;
    lx_str s = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < t->n_rows * t->n_columns && rc == LX_OK; i++) {
        const char *text = t->cells[i] ? t->cells[i] : "-", *end;
        if (is_plain(&end, text)) {
            l->cells[i] = text;
            continue;
        }
        lx_str_clear(&s);
        lx_escape_terminal(&s, text, strlen(text), true);
        if (s.failed || !(l->escaped[i] = lx_strdup(lx_str_text(&s))))
            rc = lx_oom(err);
        l->cells[i] = l->escaped[i];
    }
    lx_str_release(&s);
    return rc;
}

static int total_width(const layout *l, int indent)
{
    int sum = indent - GAP;
    for (size_t c = 0; c < l->table->n_columns; c++)
        sum += l->widths[c] + GAP;
    return sum;
}

static void measure(layout *l, int width, int indent, int most)
{
    const lx_table *t = l->table;

    for (size_t c = 0; c < t->n_columns; c++) {
        l->widths[c] = lx_text_width(t->columns[c].title);
        for (size_t r = 0; r < t->n_rows; r++) {
            int w = lx_text_width(l->cells[r * t->n_columns + c]);
            l->widths[c] = w > l->widths[c] ? w : l->widths[c];
        }
        if (t->columns[c].may_shrink && l->widths[c] > most)
            l->widths[c] = most;
    }
    while (width > 0 && total_width(l, indent) > width) {
        size_t widest = t->n_columns;
        for (size_t c = 0; c < t->n_columns; c++)
            if (t->columns[c].may_shrink && l->widths[c] > LEAST &&
                (widest == t->n_columns || l->widths[c] > l->widths[widest]))
                widest = c;
        if (widest == t->n_columns)
            break;
        l->widths[widest]--;
    }
}

static void put_spaces(lx_str *out, int n)
{
    static const char spaces[] =
        "                                                                ";
    const int most = (int)sizeof spaces - 1;

    for (; n > 0; n -= most)
        lx_str_append(out, spaces, (size_t)(n < most ? n : most));
}

static void put_cell(lx_str *out, const char *text, int width, bool is_number,
                     bool is_last)
{
    int used;
    size_t n = fitting(&used, text, width);

    if (text[n]) {
        n = fitting(&used, text, width - 3);
        lx_str_append(out, text, n);
        lx_str_puts(out, "...");
        used += 3;
    } else if (is_number) {
        put_spaces(out, width - used);
        lx_str_append(out, text, n);
        return;
    } else {
        lx_str_append(out, text, n);
    }
    if (!is_last)
        put_spaces(out, width - used);
}

static void put_row(lx_str *out, const layout *l, int indent, size_t row, bool is_head)
{
    const lx_table *t = l->table;

    put_spaces(out, indent);
    for (size_t c = 0; c < t->n_columns; c++) {
        const char *text =
            is_head ? t->columns[c].title : l->cells[row * t->n_columns + c];
        if (c)
            put_spaces(out, GAP);
        put_cell(out, text, l->widths[c], t->columns[c].is_number, c + 1 == t->n_columns);
    }
    lx_str_putc(out, '\n');
}

int lx_table_text(lx_str *out, const lx_table *table, int width, int indent,
                  lx_error *err)
{
    return lx_table_text_clipped(out, table, width, indent, INT_MAX, err);
}

int lx_table_text_clipped(lx_str *out, const lx_table *table, int width, int indent,
                          int most, lx_error *err)
{
    size_t n = table->n_rows * table->n_columns;
    layout l = {.table = table,
                .cells = lx_calloc(n + 1, sizeof *l.cells),
                .escaped = lx_calloc(n + 1, sizeof *l.escaped),
                .widths = lx_calloc(table->n_columns + 1, sizeof *l.widths)};
    int rc = l.cells && l.escaped && l.widths ? escape_cells(&l, err) : lx_oom(err);

    if (rc == LX_OK) {
        measure(&l, width, indent, most);
        put_row(out, &l, indent, 0, true);
        for (size_t r = 0; r < table->n_rows; r++)
            put_row(out, &l, indent, r, false);
        rc = lx_str_check(out, err);
    }
    for (size_t i = 0; l.escaped && i < n; i++)
        lx_free(l.escaped[i]);
    lx_free(l.escaped);
    lx_free(l.cells);
    lx_free(l.widths);
    return rc;
}

/* ---- CSV ----------------------------------------------------------------- */

/* A column of numbers may hold what a file says, which need not be one. */
static bool is_number(const char *text)
{
    const char *digits = text + (*text == '-');

    return digits[strspn(digits, "0123456789.eE+-")] == '\0' ||
           strcmp(text, "-Infinity") == 0;
}

int lx_table_csv(lx_str *out, const lx_table *t, lx_error *err)
{
    for (size_t c = 0; c < t->n_columns; c++) {
        lx_str_puts(out, c ? "," : "");
        lx_escape_csv(out, t->columns[c].title, strlen(t->columns[c].title));
    }
    lx_str_putc(out, '\n');
    for (size_t r = 0; r < t->n_rows; r++) {
        for (size_t c = 0; c < t->n_columns; c++) {
            const char *text = t->cells[r * t->n_columns + c];
            lx_str_puts(out, c ? "," : "");
            if (text && t->columns[c].is_number && is_number(text))
                lx_str_puts(out, text); /* a negative number is no formula */
            else if (text)
                lx_escape_csv(out, text, strlen(text));
        }
        lx_str_putc(out, '\n');
    }
    return lx_str_check(out, err);
}
