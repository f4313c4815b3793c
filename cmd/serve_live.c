/* What is new, for lx serve: event streams of one run and of the whole store. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/serve.h"
#include "src/base/alloc.h"
#include "src/query/when.h"
#include "src/report/figure.h"
#include "src/serve/console.h"

enum {
    MOST_SERIES = 512,
    MOST_POINTS = 20000,  /* of a curve in one event */
    MOST_PRINTED = 100000 /* bytes of the console in one event; the rest is passed over */
};
static const double LOOK_ANYWAY = 2; /* seconds: a run that was killed commits nothing */

/* A page that shows a run, and what it has seen. */
typedef struct live {
    lx_serve_view *view;
    lx_arena *arena; /* of one look */
    int64_t seq;
    int64_t version; /* of the store, when it was looked at last */
    double looked;
    size_t printed;                       /* bytes of the console */
    size_t points[MOST_SERIES], n_series; /* by key */
    lx_serve_console console;
    bool takes_any; /* it knows no curves yet, and takes those that there are */
    bool has_more;  /* than went into one event */
    bool is_over;
} live;

static double monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- what was seen ----------------------------------------------------------------- */

/* A page of a run without curves has no figure for the first one ("0:-"); who has seen
 * nothing at all takes every curve ("0:"). */
static void put_seen(lx_str *out, size_t printed, const size_t *points, size_t n,
                     bool takes_any)
{
    lx_str_printf(out, n || takes_any ? "%zu:" : "%zu:-", printed);
    for (size_t i = 0; i < n; i++)
        lx_str_printf(out, "%s%zu", i ? "," : "", points[i]);
}

const char *lx_serve_seen(size_t printed, const lx_report_run *run, lx_arena *arena)
{
    size_t n = run->n_curves < MOST_SERIES ? run->n_curves : MOST_SERIES;
    size_t *points = lx_arena_calloc(arena, n + 1, sizeof *points);
    lx_str text = LX_STR_INIT;
    const char *kept = NULL;

    for (size_t i = 0; points && i < n; i++)
        points[i] = run->curves[i].n;
    if (points)
        put_seen(&text, printed, points, n, false);
    if (points && !text.failed)
        kept = lx_arena_strdup(arena, lx_str_text(&text));
    lx_str_release(&text);
    return kept;
}

static bool take_number(size_t *out, const char **text)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    *out = (size_t)strtoull(*text, &end, 10);
    *text = end;
    return *out < (size_t)1 << 48;
}

static int parse_seen(live *l, const char *text, lx_error *err)
{
    bool is_sound = take_number(&l->printed, &text) && *text++ == ':';

    l->takes_any = is_sound && !*text;
    if (is_sound && strcmp(text, "-") == 0)
        return LX_OK;
    while (is_sound && *text && l->n_series < MOST_SERIES) {
        is_sound = take_number(&l->points[l->n_series++], &text) &&
                   (!*text || (*text == ',' && text[1]));
        text += *text == ',';
    }
    return is_sound && !*text ? LX_OK
                              : lx_fail(err, LX_EUSAGE, "seen: as in 8192:120,120,40");
}

/* ---- events ------------------------------------------------------------------------ */

static void send_event(lx_str *out, live *l, const char *name, const lx_str *data)
{
    lx_str seen = LX_STR_INIT;
    put_seen(&seen, l->printed, l->points, l->n_series, l->takes_any);
    lx_serve_event(out, name, lx_str_text(&seen), data ? lx_str_text(data) : "{}");
    out->failed |= seen.failed || (data && data->failed);
    lx_str_release(&seen);
}

static void put_number(lx_str *out, double x)
{
    if (isfinite(x))
        lx_str_printf(out, "%.7g", x);
    else
        lx_str_puts(out, "null");
}

static void put_curve(lx_str *out, const lx_curve *c)
{
    lx_str_puts(out, out->len > 1 ? "," : "");
    lx_escape_json(out, c->key, strlen(c->key));
    lx_str_puts(out, ":{\"x\":[");
    for (size_t i = 0; i < c->n; i++)
        lx_str_printf(out, i ? ",%" PRId64 : "%" PRId64, c->steps[i]);
    lx_str_puts(out, "],\"y\":[");
    for (size_t i = 0; i < c->n; i++) {
        lx_str_puts(out, i ? "," : "");
        put_number(out, c->values[i]);
    }
    lx_str_puts(out, "]}");
}

/* The curves that a page of the run shows, as lx_serve_seen counts them. */
static int list_series(lx_series_row **out, size_t *count, live *l, lx_error *err)
{
    lx_series_row *rows;
    size_t all, n = 0;
    int rc = lx_query_series(&rows, &all, l->view->store, l->seq, NULL, l->arena, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < all && n < MOST_SERIES; i++)
        if (lx_report_shows(rows[i].key))
            rows[n++] = rows[i];
    *out = rows;
    *count = n;
    return LX_OK;
}

/* New points by key. *is_other: another curve has begun, so the page has no figure for
 * it. */
static int tell_points(lx_str *out, bool *is_other, live *l, lx_error *err)
{
    lx_store *store = l->view->store;
    lx_str data = LX_STR_INIT;
    lx_series_row *rows;
    size_t n;
    int rc = list_series(&rows, &n, l, err);

    if (rc < 0)
        return rc;
    if (l->takes_any && n) {
        l->n_series = n;
        l->takes_any = false;
    }
    l->has_more = false;
    *is_other = n != l->n_series;
    lx_str_puts(&data, "{");
    for (size_t i = 0; i < n && !*is_other && rc == LX_OK; i++) {
        lx_curve c;
        if (rows[i].n <= (int64_t)l->points[i])
            continue;
        if ((rc = lx_query_curve(&c, store, l->seq, rows[i].key, l->points[i], l->arena,
                                 err)) < 0)
            break;
        l->has_more |= c.n > MOST_POINTS;
        c.n = c.n < MOST_POINTS ? c.n : MOST_POINTS;
        l->points[i] += c.n;
        put_curve(&data, &c);
    }
    if (rc == LX_OK && data.len > 1) {
        lx_str_puts(&data, "}");
        send_event(out, l, "points", &data);
    }
    lx_str_release(&data);
    return rc;
}

static int tell_console(lx_str *out, live *l, lx_error *err)
{
    lx_str bytes = LX_STR_INIT, lines = LX_STR_INIT, safe = LX_STR_INIT,
           data = LX_STR_INIT;
    int rc = lx_query_console(&bytes, l->view->store, l->seq, l->printed, err);
    size_t n = lx_serve_console_whole(lx_str_text(&bytes), bytes.len), from;
    const char *text;
    bool begins_over;

    if (rc == LX_OK && n) {
        from = lx_serve_console_tail(lx_str_text(&bytes), n, MOST_PRINTED);
        lx_serve_console_take(&lines, &l->console, lx_str_text(&bytes) + from, n - from);
        l->printed += n;
        text = lx_str_text(&lines);
        begins_over = *text == '\r';
        lx_str_puts(&safe, begins_over ? "\r" : "");
        lx_escape_terminal(&safe, text + begins_over, lines.len - begins_over, false);
        lx_escape_json(&data, lx_str_text(&safe), safe.len);
        if (safe.len)
            send_event(out, l, "console", &data);
        out->failed |= lines.failed || safe.failed;
    }
    lx_str_release(&bytes);
    lx_str_release(&lines);
    lx_str_release(&safe);
    lx_str_release(&data);
    return rc;
}

static void tell_state(lx_str *out, live *l, const lx_run_row *row)
{
    lx_str data = LX_STR_INIT;
    struct timespec now;
    char took[32];

    clock_gettime(CLOCK_REALTIME, &now);
    lx_duration_format(took, fmax(0, (double)now.tv_sec - row->started));
    lx_str_puts(&data, "{\"status\":");
    lx_escape_json(&data, row->status, strlen(row->status));
    if (row->last_step >= 0)
        lx_str_printf(&data, ",\"step\":\"step %lld\"", (long long)row->last_step);
    if (isfinite(row->loss))
        lx_str_printf(&data, ",\"loss\":\"loss %.4g\"", row->loss);
    lx_str_printf(&data, ",\"took\":\"%s\"}", took);
    send_event(out, l, "state", &data);
    lx_str_release(&data);
}

/* ---- a run ------------------------------------------------------------------------- */

static int look(lx_str *out, live *l, lx_error *err)
{
    bool is_other = false;
    lx_run_row row;
    int rc;

    if ((rc = lx_query_run(&row, l->view->store, l->seq, l->arena, err)) < 0 ||
        (rc = tell_points(out, &is_other, l, err)) < 0 ||
        (rc = tell_console(out, l, err)) < 0)
        return rc;
    tell_state(out, l, &row);
    if (is_other || (!l->has_more && strcmp(row.status, "running") != 0)) {
        send_event(out, l, "reload", NULL);
        l->is_over = true;
    }
    return LX_OK;
}

static int next_of_run(lx_str *out, void *stream)
{
    live *l = stream;
    int64_t version;
    int rc;

    if (l->is_over)
        return LX_ENOTFOUND;
    if ((rc = lx_query_version(&version, l->view->store, NULL)) < 0)
        return rc;
    if (version == l->version && !l->has_more && monotonic() - l->looked < LOOK_ANYWAY)
        return LX_OK;
    l->version = version;
    l->looked = monotonic();
    rc = look(out, l, NULL);
    lx_arena_reset(l->arena);
    return rc == LX_EBUSY ? LX_OK : rc;
}

static void close_run(void *stream)
{
    live *l = stream;
    if (l)
        lx_arena_free(l->arena);
    lx_free(l);
}

int lx_serve_live(lx_serve_reply *reply, lx_serve_view *view,
                  const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    const char *seen =
        request->last_event ? request->last_event : lx_serve_value(request, "seen");
    live *l = lx_calloc(1, sizeof *l);
    lx_run_row row;
    int rc;

    if (!l)
        return lx_oom(err);
    l->view = view;
    l->version = -1;
    if (!(l->arena = lx_arena_new()))
        rc = lx_oom(err);
    else if ((rc = lx_serve_run_find(&row, view, request, 2, arena, err)) == LX_OK)
        rc = parse_seen(l, seen ? seen : "0:", err);
    if (rc < 0) {
        close_run(l);
        return rc;
    }
    l->seq = row.seq;
    reply->type = "text/event-stream";
    reply->next = next_of_run;
    reply->stream = l;
    reply->close = close_run;
    return LX_OK;
}

/* ---- the store --------------------------------------------------------------------- */

typedef struct changes {
    lx_serve_view *view;
    int64_t version;
} changes;

static int next_of_store(lx_str *out, void *stream)
{
    changes *c = stream;
    int64_t version;
    int rc = lx_query_version(&version, c->view->store, NULL);

    if (rc == LX_OK && version != c->version) {
        c->version = version;
        lx_serve_event(out, "changed", NULL, "{}");
    }
    return rc == LX_EBUSY ? LX_OK : rc;
}

int lx_serve_changes(lx_serve_reply *reply, lx_serve_view *view,
                     const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    changes *c = lx_calloc(1, sizeof *c);
    int rc;

    (void)request;
    (void)arena;
    if (!c)
        return lx_oom(err);
    c->view = view;
    if ((rc = lx_query_version(&c->version, view->store, err)) < 0) {
        lx_free(c);
        return rc;
    }
    reply->type = "text/event-stream";
    reply->next = next_of_store;
    reply->stream = c;
    reply->close = lx_free;
    return LX_OK;
}
