#include "src/serve/runs_page.h"

#include <stdio.h>
#include <string.h>

#include "src/serve/frame.h"

const char *lx_serve_tone(const char *status)
{
    return strcmp(status, "finished") == 0 ? "good"
           : strcmp(status, "failed") == 0 ? "bad"
                                           : "warn";
}

/* ---- addresses --------------------------------------------------------------------- */

static void put_value(lx_str *out, const char *name, const char *value)
{
    if (!*value)
        return;
    lx_str_printf(out, "%c%s=", strchr(lx_str_text(out), '?') ? '&' : '?', name);
    lx_serve_escape(out, value);
}

/* The same question with another order and another first row. */
static void put_link(lx_html *h, const lx_serve_runs *r, const char *sort, size_t first,
                     const char *text)
{
    lx_str address = LX_STR_INIT;
    char number[24] = "";

    if (first)
        snprintf(number, sizeof number, "%zu", first);
    lx_str_puts(&address, "/");
    put_value(&address, "q", r->query);
    put_value(&address, "columns", r->chosen);
    put_value(&address, "sort", sort);
    put_value(&address, "first", number);
    snprintf(number, sizeof number, "%zu", first);
    lx_html_leaf(h, "a", text, "href", lx_str_text(&address), "data-sort",
                 strcmp(sort, r->sort) ? sort : NULL, "data-first",
                 strcmp(sort, r->sort) ? NULL : number, NULL);
    h->out->failed |= address.failed;
    lx_str_release(&address);
}

/* ---- what is asked ----------------------------------------------------------------- */

static void put_example(lx_html *h, const char *query)
{
    lx_str address = LX_STR_INIT;
    lx_str_puts(&address, "/");
    put_value(&address, "q", query);
    lx_html_open(h, "a", "href", lx_str_text(&address), "data-ask", query, NULL);
    lx_html_leaf(h, "code", query, NULL);
    lx_html_close(h);
    lx_html_text(h, " ");
    h->out->failed |= address.failed;
    lx_str_release(&address);
}

static void put_help(lx_html *h, const lx_serve_runs *r)
{
    static const char *const examples[] = {"status = running", "loss < 0.08 and dim = 4",
                                           "started > -7d", "dataset ~ hifumi",
                                           "tag = good and min(loss) < 0.06"};

    lx_html_open(h, "details", "class", "hint", *r->chosen ? "open" : NULL,
                 *r->chosen ? "" : NULL, NULL);
    lx_html_leaf(h, "summary", "how to ask, and other columns", NULL);
    lx_html_leaf(
        h, "p",
        "Fields of a run, flags of a training by their long or short name, and "
        "curves, compared by = != < <= > >= ~ (contains) and in (a, b), joined by "
        "and, or, not and parentheses; lx runs --fields lists the fields. A click "
        "on a heading sorts.",
        NULL);
    lx_html_open(h, "p", NULL);
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        put_example(h, examples[i]);
    lx_html_close(h);
    lx_html_open(h, "p", "class", "ask", NULL);
    lx_html_void(h, "input", "class", "narrow", "type", "text", "name", "columns", "form",
                 "ask", "value", r->chosen, "placeholder", "columns: status,loss,lr",
                 "aria-label", "columns, with commas between", "autocomplete", "off",
                 "spellcheck", "false", NULL);
    lx_html_close(h);
    lx_html_close(h);
}

static void put_ask(lx_html *h, const lx_serve_runs *r)
{
    lx_html_open(h, "form", "id", "ask", "class", "ask", "action", "/", "method", "get",
                 "role", "search", NULL);
    lx_html_void(h, "input", "type", "search", "name", "q", "value", r->query,
                 "placeholder", "loss < 0.08 and dim = 4", "aria-label", "which runs",
                 "autocomplete", "off", "autocapitalize", "off", "spellcheck", "false",
                 NULL);
    lx_html_leaf(h, "button", "Filter", "type", "submit", NULL);
    lx_html_close(h);
    put_help(h, r);
}

/* ---- what was found ---------------------------------------------------------------- */

static void put_found(lx_html *h, const lx_serve_runs *r)
{
    lx_html_open(h, "p", "id", "found", "class", "found", "role", "status", NULL);
    if (r->problem) {
        lx_html_leaf(h, "span", r->problem, "class", "bad", NULL);
    } else {
        lx_html_open(h, "span", NULL);
        if (r->found == r->all)
            lx_html_textf(h, "%zu run%s", r->all, r->all == 1 ? "" : "s");
        else
            lx_html_textf(h, "%zu of %zu runs", r->found, r->all);
        lx_html_close(h);
    }
    if (r->found > r->size) {
        lx_html_open(h, "span", "class", "pages", NULL);
        if (r->first)
            put_link(h, r, r->sort, r->first > r->size ? r->first - r->size : 0,
                     "\xE2\x86\x90 earlier");
        lx_html_open(h, "span", NULL);
        lx_html_textf(h, "%zu\xE2\x80\x93%zu", r->first + 1, r->first + r->n_rows);
        lx_html_close(h);
        if (r->first + r->n_rows < r->found)
            put_link(h, r, r->sort, r->first + r->size, "more \xE2\x86\x92");
        lx_html_close(h);
    }
    lx_html_close(h);
}

/* First click: least first; second: greatest; third: newest first again. */
static void put_heading(lx_html *h, const lx_serve_runs *r, const char *title,
                        const char *field, bool is_number)
{
    bool falls = r->sort[0] == '-' && strcmp(r->sort + 1, field) == 0;
    bool rises = strcmp(r->sort, field) == 0;
    lx_str text = LX_STR_INIT, sort = LX_STR_INIT;

    lx_str_printf(&text, "%s%s", title,
                  falls   ? " \xE2\x86\x93"
                  : rises ? " \xE2\x86\x91"
                          : "");
    lx_str_printf(&sort, "%s%s", rises ? "-" : "", falls ? "" : field);
    lx_html_open(h, "th", "scope", "col", "class", is_number ? "num" : NULL, "aria-sort",
                 falls   ? "descending"
                 : rises ? "ascending"
                         : NULL,
                 NULL);
    put_link(h, r, lx_str_text(&sort), 0, lx_str_text(&text));
    lx_html_close(h);
    h->out->failed |= text.failed || sort.failed;
    lx_str_release(&text);
    lx_str_release(&sort);
}

static void put_cell(lx_html *h, const lx_serve_column *column, const char *text)
{
    char classes[16];

    lx_html_open(h, "td", "class", column->is_number ? "num" : NULL, "title",
                 text && strlen(text) > 24 ? text : NULL, NULL);
    if (text && strcmp(column->title, "status") == 0) {
        snprintf(classes, sizeof classes, "badge %s", lx_serve_tone(text));
        lx_html_leaf(h, "span", text, "class", classes, NULL);
    } else if (text) {
        lx_html_text(h, text);
    }
    lx_html_close(h);
}

static void put_row(lx_html *h, const lx_serve_runs *r, const lx_serve_row *row)
{
    char address[64], id[16];

    snprintf(address, sizeof address, "/run/%.32s", row->id);
    snprintf(id, sizeof id, *row->name ? "%.8s" : "%.10s", row->id);
    lx_html_open(h, "tr", "data-run", row->id, NULL);
    lx_html_open(h, "td", "class", "pick", NULL);
    lx_html_void(h, "input", "type", "checkbox", "name", "run", "value", row->id,
                 "aria-label", "compare this run", NULL);
    lx_html_close(h);
    lx_html_open(h, "td", "class", "name", NULL);
    lx_html_leaf(h, "a", *row->name ? row->name : id, "href", address, "title",
                 *row->name ? row->name : NULL, NULL);
    if (*row->name)
        lx_html_leaf(h, "code", id, NULL);
    lx_html_close(h);
    for (size_t i = 0; i < r->n_columns; i++)
        put_cell(h, &r->columns[i], row->cells[i]);
    lx_html_close(h);
}

static void put_table(lx_html *h, const lx_serve_runs *r)
{
    char size[24], first[24];

    snprintf(size, sizeof size, "%zu", r->size);
    snprintf(first, sizeof first, "%zu", r->first);
    lx_html_open(h, "div", "class", "table", NULL);
    lx_html_open(h, "table", "id", "runs", "class", "runs", NULL);
    lx_html_open(h, "thead", NULL);
    lx_html_open(h, "tr", NULL);
    lx_html_leaf(h, "th", "", "class", "pick", NULL);
    put_heading(h, r, "run", "name", false);
    for (size_t i = 0; i < r->n_columns; i++)
        put_heading(h, r, r->columns[i].title, r->columns[i].title,
                    r->columns[i].is_number);
    lx_html_close(h);
    lx_html_close(h);
    lx_html_open(h, "tbody", "data-size", size, "data-first", first, "data-sort", r->sort,
                 NULL);
    for (size_t i = 0; i < r->n_rows; i++)
        put_row(h, r, &r->rows[i]);
    lx_html_close(h);
    lx_html_close(h);
    lx_html_close(h);
}

/* Without scripts the bar is hidden and the button below it compares what is ticked. */
static void put_choice(lx_html *h, const lx_serve_runs *r)
{
    char most[24];

    snprintf(most, sizeof most, "%zu", r->most_compared);
    lx_html_open(h, "div", "id", "picked", "class", "picked-bar", "data-most", most,
                 "hidden", "", NULL);
    lx_html_leaf(h, "span", "", "class", "count", NULL);
    lx_html_leaf(h, "button", "Compare", "type", "submit", "class", "main", NULL);
    lx_html_leaf(h, "button", "Clear", "type", "button", "class", "clear", NULL);
    lx_html_close(h);
    lx_html_open(h, "noscript", NULL);
    lx_html_leaf(h, "button", "Compare", "type", "submit", NULL);
    lx_html_close(h);
}

int lx_serve_runs_page(lx_str *out, const lx_serve_runs *r, lx_error *err)
{
    const lx_serve_frame frame = {.title = "lx: runs",
                                  .where = r->where,
                                  .scripts = LX_FRAME_RUNS,
                                  .is_wide = true};
    lx_html h;

    lx_html_init(&h, out);
    lx_serve_frame_begin(&h, &frame);
    put_ask(&h, r);
    put_found(&h, r);
    lx_html_open(&h, "form", "id", "pick", "action", "/compare", "method", "get", NULL);
    put_table(&h, r);
    put_choice(&h, r);
    lx_html_close(&h);
    lx_serve_frame_end(&h);
    return lx_html_finish(&h, err);
}

/* ---- JSON -------------------------------------------------------------------------- */

static void put_text(lx_str *out, const char *text)
{
    if (text)
        lx_escape_json(out, text, strlen(text));
    else
        lx_str_puts(out, "null");
}

static void put_json_row(lx_str *out, const lx_serve_runs *r, const lx_serve_row *row)
{
    lx_str_puts(out, "{\"id\":");
    put_text(out, row->id);
    lx_str_puts(out, ",\"name\":");
    put_text(out, row->name);
    lx_str_puts(out, ",\"cells\":[");
    for (size_t i = 0; i < r->n_columns; i++) {
        if (i)
            lx_str_putc(out, ',');
        put_text(out, row->cells[i]);
    }
    lx_str_puts(out, "]}");
}

int lx_serve_runs_json(lx_str *out, const lx_serve_runs *r, lx_error *err)
{
    lx_str_printf(out, "{\"all\":%zu,\"found\":%zu,\"first\":%zu,\"columns\":[", r->all,
                  r->found, r->first);
    for (size_t i = 0; i < r->n_columns; i++) {
        lx_str_puts(out, i ? ",{\"title\":" : "{\"title\":");
        put_text(out, r->columns[i].title);
        lx_str_puts(out, ",\"field\":");
        put_text(out, r->columns[i].title);
        lx_str_printf(out, ",\"number\":%s}", r->columns[i].is_number ? "true" : "false");
    }
    lx_str_puts(out, "],\"rows\":[");
    for (size_t i = 0; i < r->n_rows; i++) {
        if (i)
            lx_str_putc(out, ',');
        put_json_row(out, r, &r->rows[i]);
    }
    lx_str_puts(out, "]}\n");
    return lx_str_check(out, err);
}
