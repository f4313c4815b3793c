/* The table of runs for lx serve: what is asked for, and tables that were read lately. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/compare.h"
#include "cmd/run_field.h"
#include "cmd/run_table.h"
#include "cmd/serve.h"
#include "src/base/alloc.h"
#include "src/serve/runs_page.h"

enum {
    PAGE = 100,      /* rows */
    MOST_VARIED = 6, /* settings that differ, shown unasked */
    MOST_COLUMNS = 24,
    MOST_CELL = 300, /* bytes */
    TABLES = 4
};
static const double FRESH = 2; /* seconds: a killed run writes nothing when it ends */

/* A table as it was read. Texts of its cells come into its arena: it is not kept long. */
typedef struct table {
    lx_arena *arena;
    const char *key; /* what was asked */
    int64_t version; /* of the store */
    double read_at;
    lx_run_table *runs;
    int columns[MOST_COLUMNS];
    size_t n_columns, all;
} table;

struct lx_serve_tables {
    pthread_mutex_t mutex; /* over all of it, also while one is read */
    table items[TABLES];
};

/* What is asked for; texts are never NULL. */
typedef struct question {
    const char *query, *sort, *columns;
    size_t first;
} question;

int lx_serve_tables_new(lx_serve_tables **out, lx_error *err)
{
    if (!(*out = lx_calloc(1, sizeof **out)))
        return lx_oom(err);
    pthread_mutex_init(&(*out)->mutex, NULL);
    return LX_OK;
}

void lx_serve_tables_free(lx_serve_tables *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < TABLES; i++)
        lx_arena_free(t->items[i].arena);
    pthread_mutex_destroy(&t->mutex);
    lx_free(t);
}

static double monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- columns ----------------------------------------------------------------------- */

static int show_field(table *t, const char *field, lx_error *err)
{
    int column, rc = lx_run_table_add(&column, t->runs, field, err);

    for (size_t i = 0; i < t->n_columns && rc == LX_OK; i++)
        if (t->columns[i] == column)
            return LX_OK;
    if (rc == LX_OK && t->n_columns == MOST_COLUMNS)
        return lx_fail(err, LX_EUSAGE, "at most %d columns", MOST_COLUMNS);
    if (rc == LX_OK)
        t->columns[t->n_columns++] = column;
    return rc;
}

static int show_fields(table *t, const char *list, lx_error *err)
{
    int rc = LX_OK;

    while (*list && rc == LX_OK) {
        size_t n = strcspn(list, ",");
        const char *field = lx_arena_strndup(t->arena, list, n);
        if (!field)
            return lx_oom(err);
        while (*field == ' ')
            field++;
        if (*field && (rc = show_field(t, field, err)) < 0)
            lx_within(err, "columns");
        list += n + (list[n] == ',');
    }
    return rc;
}

/* As lx runs shows them: status, what differs, and what else there is. */
static int show_usual(table *t, lx_error *err)
{
    static const char *const optional[] = {"group", "tags"};
    lx_words varied;
    bool is_there;
    int rc;

    if ((rc = show_fields(t, "started,status", err)) < 0 ||
        (lx_run_table_has_kinds(t->runs) && (rc = show_field(t, "kind", err)) < 0) ||
        (rc = show_fields(t, "steps,loss", err)) < 0 ||
        (rc = lx_run_table_varied(&varied, t->runs, err)) < 0)
        return rc;
    for (size_t i = 0; i < varied.count && i < MOST_VARIED && rc == LX_OK; i++)
        rc = show_field(t, lx_run_flag_short(varied.items[i]), err);
    for (size_t i = 0; i < 2 && rc == LX_OK; i++)
        if ((rc = lx_run_table_has_any(&is_there, t->runs, optional[i], err)) == LX_OK &&
            is_there)
            rc = show_field(t, optional[i], err);
    return rc;
}

/* ---- tables ------------------------------------------------------------------------ */

static int read_table(table *t, lx_serve_view *view, const question *q, lx_error *err)
{
    int rc = lx_run_table_open(&t->runs, view->store, NULL, t->arena, err);

    if (rc < 0)
        return rc;
    t->all = lx_run_table_count(t->runs);
    if ((rc = lx_run_table_select(t->runs, q->query, q->sort, 0, err)) < 0 ||
        (rc = *q->columns ? show_fields(t, q->columns, err) : show_usual(t, err)) < 0)
        return rc;
    return lx_run_table_load(t->runs, err);
}

static void forget(table *t)
{
    lx_arena_free(t->arena);
    *t = (table){0};
}

/* One that was read just now, else it is read. Under the mutex. */
static int find_table(table **out, lx_serve_view *view, const question *q, lx_error *err)
{
    table *items = view->tables->items, *oldest = &items[0];
    lx_str key = LX_STR_INIT;
    int64_t version;
    int rc = lx_query_version(&version, view->store, err);

    lx_str_printf(&key, "%s\n%s\n%s", q->query, q->sort, q->columns);
    if (rc == LX_OK && key.failed)
        rc = lx_oom(err);
    for (size_t i = 0; i < TABLES && rc == LX_OK; i++) {
        table *t = &items[i];
        if (t->arena && (t->version != version || monotonic() - t->read_at > FRESH))
            forget(t);
        oldest = t->read_at < oldest->read_at ? t : oldest;
        if (t->arena && strcmp(t->key, lx_str_text(&key)) == 0) {
            *out = t;
            goto done;
        }
    }
    if (rc < 0)
        goto done;
    forget(oldest);
    if (!(oldest->arena = lx_arena_new()) ||
        !(oldest->key = lx_arena_strdup(oldest->arena, lx_str_text(&key))))
        rc = lx_oom(err);
    else if ((rc = read_table(oldest, view, q, err)) == LX_OK)
        *out = oldest;
    if (rc < 0)
        forget(oldest);
    oldest->version = version;
    oldest->read_at = oldest->arena ? monotonic() : 0;
done:
    lx_str_release(&key);
    return rc;
}

/* ---- a page of one ----------------------------------------------------------------- */

/* For one line: controls made visible, cut where a tooltip would be a page. */
static int line_of(const char **out, const char *text, lx_arena *arena, lx_error *err)
{
    size_t n = text ? strlen(text) : 0, most = n;
    lx_str line = LX_STR_INIT;
    int rc;

    *out = NULL;
    if (!text)
        return LX_OK;
    if (n > MOST_CELL)
        for (most = MOST_CELL; most && ((unsigned char)text[most] & 0xC0) == 0x80;)
            most--;
    lx_escape_terminal(&line, text, most, true);
    if (most < n)
        lx_str_puts(&line, " ...");
    if ((rc = lx_str_check(&line, err)) == LX_OK &&
        !(*out = lx_arena_strdup(arena, lx_str_text(&line))))
        rc = lx_oom(err);
    lx_str_release(&line);
    return rc;
}

static int take_row(lx_serve_row *out, const table *t, size_t at, lx_arena *arena,
                    lx_error *err)
{
    const char **cells = lx_arena_calloc(arena, t->n_columns + 1, sizeof *cells);
    const lx_run_row *row = lx_run_table_row(t->runs, at);
    int rc = cells ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < t->n_columns && rc == LX_OK; i++)
        rc = line_of(&cells[i], lx_run_table_text(t->runs, at, t->columns[i], true),
                     arena, err);
    if (rc < 0 || (rc = lx_run_table_check(t->runs, err)) < 0)
        return rc;
    out->cells = cells;
    out->id = lx_arena_strdup(arena, row->id);
    return out->id ? line_of(&out->name, row->name, arena, err) : lx_oom(err);
}

static int take_page(lx_serve_runs *out, const table *t, size_t first, lx_arena *arena,
                     lx_error *err)
{
    size_t found = lx_run_table_count(t->runs);
    lx_serve_column *columns = lx_arena_calloc(arena, t->n_columns + 1, sizeof *columns);
    lx_serve_row *rows = lx_arena_calloc(arena, PAGE, sizeof *rows);
    int rc = columns && rows ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < t->n_columns && rc == LX_OK; i++) {
        const lx_run_column *c = lx_run_table_column(t->runs, t->columns[i]);
        columns[i].is_number = c->is_number;
        rc = line_of(&columns[i].title, c->title, arena, err);
    }
    out->all = t->all;
    out->found = found;
    /* A page that is no longer there is the last one. */
    out->first = first < found ? first : found ? (found - 1) / PAGE * PAGE : 0;
    for (size_t i = out->first; i < found && out->n_rows < PAGE && rc == LX_OK; i++)
        rc = take_row(&rows[out->n_rows++], t, i, arena, err);
    out->columns = columns;
    out->n_columns = t->n_columns;
    out->rows = rows;
    return rc;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static int ask(lx_serve_runs *out, lx_serve_view *view, const lx_serve_request *request,
               lx_arena *arena, lx_error *err)
{
    const question q = {.query = or_empty(lx_serve_value(request, "q")),
                        .sort = or_empty(lx_serve_value(request, "sort")),
                        .columns = or_empty(lx_serve_value(request, "columns")),
                        .first =
                            (size_t)lx_serve_number(request, "first", 0, 1000000000, 0)};
    table *t = NULL;
    int rc;

    *out = (lx_serve_runs){.query = q.query,
                           .sort = q.sort,
                           .chosen = q.columns,
                           .size = PAGE,
                           .most_compared = LX_COMPARE_RUNS,
                           .where = view->where};
    pthread_mutex_lock(&view->tables->mutex);
    if ((rc = find_table(&t, view, &q, err)) == LX_OK)
        rc = take_page(out, t, q.first, arena, err);
    pthread_mutex_unlock(&view->tables->mutex);
    return rc;
}

int lx_serve_runs_as_page(lx_serve_reply *reply, lx_serve_view *view,
                          const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    lx_serve_runs runs;
    lx_error problem = {0};
    int rc = ask(&runs, view, request, arena, &problem);

    if (rc == LX_EUSAGE || rc == LX_ELIMIT) { /* to be mended where it was typed */
        reply->status = 400;
        rc = line_of(&runs.problem, problem.text, arena, &problem);
    }
    if (rc < 0)
        return lx_fail_as(err, rc, &problem);
    return lx_serve_runs_page(&reply->body, &runs, err);
}

int lx_serve_runs_as_json(lx_serve_reply *reply, lx_serve_view *view,
                          const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    lx_serve_runs runs;
    int rc = ask(&runs, view, request, arena, err);

    reply->type = "application/json";
    return rc < 0 ? rc : lx_serve_runs_json(&reply->body, &runs, err);
}
