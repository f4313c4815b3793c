/* lx watch - runs as they go, in the terminal */
#include <malloc.h>
#include <math.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "cmd/progress.h"
#include "cmd/run_find.h"
#include "src/report/curve.h"
#include "src/report/plot.h"
#include "src/report/table.h"
#include "src/stats/smooth.h"
#include "store/query.h"

struct watch_args {
    double interval;
    bool has_interval, once;
    lx_words runs;
};

static const lx_option options[] = {
    {LX_OPTION_NUMBER, 'n', "interval", "SECONDS",
     "look this often (1; 10 when not on a terminal)",
     offsetof(struct watch_args, interval),
     (int)offsetof(struct watch_args, has_interval)},
    LX_FLAG(struct watch_args, once, '1', "once", "show how it stands and end"),
    LX_ARGS(struct watch_args, runs, "RUN",
            "id, name or LoRA file; all that are running if left out"),
    LX_OPTION_END,
};

enum { MOST_RUNS = 64, CONSOLE_LINES = 5, SAMPLES = 3, MOST_STRETCHES = 2048 };

/* A curve as it is drawn: means of stretches of equally many points, so that it takes no more room the longer it
 * gets. When there are too many stretches, two become one. */
typedef struct drawn {
    const char *key; /* "loss"; NULL: nothing was read */
    size_t n_points; /* that were read */
    size_t each;     /* points of a whole stretch */
    size_t n;        /* stretches; the last one may not be whole */
    struct {
        double step, sum; /* the last one's; of those that are finite */
        uint32_t n, n_finite;
    } * stretches; /* MOST_STRETCHES of them, in the command's arena */
} drawn;

/* What was told of a run already: where there is no terminal, only news are printed. On one, what of it stands there. */
typedef struct told {
    int64_t run, step;
    size_t console, n_samples; /* bytes and pictures */
    bool has_ended;
    drawn loss;
} told;

typedef struct view {
    lx_cli *cli;     /* its arena lives for one look */
    lx_arena *arena; /* lives as long as the command */
    lx_store *store;
    const struct watch_args *args;
    int64_t named[MOST_RUNS]; /* seq of those that were asked for */
    size_t n_named;
    told told[MOST_RUNS];
    size_t n_told;
    bool redraws; /* on a terminal */
    int n_lines;  /* of the frame that stands there */
} view;

/* One run as it stands. */
typedef struct look {
    lx_run_row row;
    int64_t total;            /* steps; 0 = not known */
    double epoch, pace, loss; /* pace: seconds a step; NaN = not known */
    const drawn *curve;       /* loss; NULL where none is drawn */
    lx_artifact_row *samples;
    size_t n_samples;
    lx_str
        console; /* from the byte that was told on; of its end some lines more on a terminal */
} look;

/* ---- looking ------------------------------------------------------------------------------ */

static int find_total(look *l, const view *v, lx_error *err)
{
    lx_remark_row *facts;
    lx_flag_row *flags;
    double steps = 0;
    bool has_epochs = false;
    size_t n;
    int rc =
        lx_query_remarks(&facts, &n, v->store, l->row.seq, "fact", v->cli->arena, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        if (strcmp(facts[i].key, "steps.total") == 0)
            (void)lx_parse_int(&l->total, facts[i].value, NULL);
    if (rc < 0 || l->total > 0 ||
        (rc = lx_query_flags(&flags, &n, v->store, l->row.seq, NULL, v->cli->arena,
                             err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        has_epochs |=
            strcmp(flags[i].key, "max_train_epochs") == 0 && flags[i].number > 0;
        if (strcmp(flags[i].key, "max_train_steps") == 0)
            steps = flags[i].number;
    }
    if (!has_epochs && steps >= 1 && steps < 1e15)
        l->total = (int64_t)steps;
    return LX_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The mean of the last steps where their seconds are recorded, else over all since the start. */
static int find_pace(look *l, const view *v, lx_error *err)
{
    lx_series_row *rows;
    lx_curve seconds;
    size_t n, n_recent = 0;
    double sum = 0;
    int rc;

    l->epoch = l->pace = (double)NAN;
    if ((rc = lx_query_series(&rows, &n, v->store, l->row.seq, "epoch", v->cli->arena,
                              err)) < 0)
        return rc;
    if (n)
        l->epoch = rows[0].last_value;
    if ((rc = lx_query_series(&rows, &n, v->store, l->row.seq, "seconds", v->cli->arena,
                              err)) < 0)
        return rc;
    if (n && (rc = lx_query_curve(&seconds, v->store, l->row.seq, "seconds",
                                  rows[0].n > 20 ? (size_t)(rows[0].n - 20) : 0,
                                  v->cli->arena, err)) < 0)
        return rc;
    for (size_t i = 0; n && i < seconds.n; i++)
        if (seconds.values[i] > 0) {
            sum += seconds.values[i];
            n_recent++;
        }
    if (n_recent)
        l->pace = sum / (double)n_recent;
    else if (l->row.last_step > 0)
        l->pace = lx_run_seconds(&l->row, now()) / (double)l->row.last_step;
    return LX_OK;
}

static int find_samples(look *l, const view *v, lx_error *err)
{
    lx_artifact_row *all;
    size_t n;
    int rc = lx_query_artifacts(&all, &n, v->store, &l->row, v->cli->arena, err);

    if (rc < 0)
        return rc;
    l->samples = all;
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].role, "sample") == 0)
            l->samples[l->n_samples++] = all[i]; /* never ahead of i */
    return LX_OK;
}

static void halve(drawn *d)
{
    for (size_t i = 0; i < d->n / 2; i++) {
        d->stretches[i] = d->stretches[2 * i + 1];
        d->stretches[i].sum += d->stretches[2 * i].sum;
        d->stretches[i].n += d->stretches[2 * i].n;
        d->stretches[i].n_finite += d->stretches[2 * i].n_finite;
    }
    d->n /= 2;
    d->each *= 2;
}

static void draw_on(drawn *d, const lx_curve *c)
{
    for (size_t i = 0; i < c->n; i++) {
        if (!d->n || d->stretches[d->n - 1].n == d->each) {
            if (d->n == MOST_STRETCHES)
                halve(d);
            memset(&d->stretches[d->n++], 0, sizeof *d->stretches);
        }
        d->stretches[d->n - 1].step = (double)c->steps[i];
        d->stretches[d->n - 1].n++;
        if (isfinite(c->values[i])) {
            d->stretches[d->n - 1].sum += c->values[i];
            d->stretches[d->n - 1].n_finite++;
        }
    }
    d->n_points += c->n;
}

/* The points of the loss that are new, or of its mean where no other is recorded. */
static int find_loss(drawn *d, const look *l, const view *v, lx_error *err)
{
    static const char *const keys[] = {"loss", "loss/average"};
    lx_curve c;
    int rc = LX_OK;

    if (!d->stretches &&
        !(d->stretches = lx_arena_calloc(v->arena, MOST_STRETCHES, sizeof *d->stretches)))
        return lx_oom(err);
    for (size_t i = 0; i < 2 && rc == LX_OK; i++) {
        if (d->key && d->key != keys[i])
            continue;
        rc = lx_query_curve(&c, v->store, l->row.seq, keys[i], d->n_points, v->cli->arena,
                            err);
        if (rc == LX_OK && c.n) {
            if (!d->key)
                d->each = 1;
            d->key = keys[i];
            draw_on(d, &c);
        }
    }
    return rc;
}

static int look_at(look *l, const view *v, told *t, lx_error *err)
{
    int rc;

    if ((rc = find_total(l, v, err)) < 0 || (rc = find_pace(l, v, err)) < 0 ||
        (rc = find_samples(l, v, err)) < 0)
        return rc;
    l->loss = l->row.loss;
    if (v->redraws && t && (rc = find_loss(&t->loss, l, v, err)) == LX_OK)
        l->curve = &t->loss;
    return rc < 0 ? rc
                  : lx_query_console(&l->console, v->store, l->row.seq,
                                     t ? t->console : 0, err);
}

/* ---- words -------------------------------------------------------------------------------- */

static void put_state(lx_str *out, const look *l)
{
    char left[32];

    if (l->row.last_step >= 0)
        lx_str_printf(out, "  step %lld", (long long)l->row.last_step);
    if (l->row.last_step >= 0 && l->total > 0)
        lx_str_printf(out, "/%lld", (long long)l->total);
    if (isfinite(l->epoch))
        lx_str_printf(out, "  epoch %.0f", l->epoch);
    if (!isnan(l->loss))
        lx_str_printf(out, "  loss %.4f", l->loss);
    if (isfinite(l->pace))
        lx_str_printf(out, "  %.2f s/step", l->pace);
    if (strcmp(l->row.status, "running") != 0)
        lx_str_printf(out, "  %s", l->row.status);
    else if (isfinite(l->pace) && l->total > l->row.last_step) {
        lx_duration_text(left, l->pace * (double)(l->total - l->row.last_step));
        lx_str_printf(out, "  %s left", left);
    }
}

/* The whole lines at the end of what was printed, a progress bar's last word among them. *used: bytes
 * that are told with them. */
static const char *last_lines(size_t *used, const lx_str *console, size_t most)
{
    const char *text = lx_str_text(console), *start;
    size_t n = console->len;

    while (n && text[n - 1] != '\n' && text[n - 1] != '\r')
        n--;
    *used = n;
    start = text + n;
    for (size_t lines = 0; start > text; start--) {
        const bool is_end = start[-1] == '\n' || start[-1] == '\r';
        if (is_end && start < text + n && start[0] != '\n' && start[0] != '\r' &&
            ++lines > most - 1)
            break;
    }
    return start;
}

/* Each line inert and by itself: f(context, line). */
static void each_line(view *v, const char *text, size_t n,
                      void (*f)(view *v, const char *line))
{
    for (const char *end = text + n; text < end;) {
        size_t length = 0;
        const char *line;
        while (text + length < end && text[length] != '\n' && text[length] != '\r')
            length++;
        line = length ? lx_arena_strndup(v->cli->arena, text, length) : NULL;
        if (line)
            f(v, lx_safe(v->cli, line));
        text += length + 1;
    }
}

/* ---- a frame on a terminal ---------------------------------------------------------------- */

static int terminal_rows(const lx_cli *cli)
{
    struct winsize size;

    return ioctl(fileno(cli->out), TIOCGWINSZ, &size) == 0 && size.ws_row > 4
               ? size.ws_row
               : 24;
}

/* One line of the frame, cut to the width; its rest is wiped. Colours of a plot are no columns. */
static void put_line(view *v, const char *line)
{
    const char *end = line;
    int width = 0;

    if (v->n_lines >= terminal_rows(v->cli) - 1)
        return;
    while (*end && width < v->cli->columns - 1) {
        char one[8] = {0};
        const char *next = end;
        if (*end == '\x1b') { /* ours: what came from elsewhere is escaped */
            end += strcspn(end, "m");
            end += *end == 'm';
            continue;
        }
        lx_utf8_next(&next, end + strlen(end));
        memcpy(one, end,
               (size_t)(next - end) < sizeof one ? (size_t)(next - end) : sizeof one - 1);
        width += lx_text_width(one);
        if (width <= v->cli->columns - 1)
            end = next;
    }
    lx_print(v->cli, "%.*s%s\x1b[K\n", (int)(end - line), line,
             v->cli->has_color ? "\x1b[0m" : "");
    v->n_lines++;
}

static void put_console_line(view *v, const char *line)
{
    const char *text = lx_arena_printf(v->cli->arena, "  | %s", line);
    put_line(v, text ? text : "?");
}

static int put_plot(view *v, const look *l, int height, lx_error *err)
{
    const drawn *c = l->curve;
    double *x = lx_arena_calloc(v->cli->arena, c->n + 1, sizeof *x),
           *y = lx_arena_calloc(v->cli->arena, c->n + 1, sizeof *y);
    const lx_plot_line line = {NULL, x, y, c->n};
    const lx_plot plot = {.lines = &line,
                          .n_lines = 1,
                          .x_label = "step",
                          .width = v->cli->columns - 1,
                          .height = height,
                          .has_color = v->cli->has_color,
                          .is_utf8 = lx_cli_is_utf8()};
    lx_str out = LX_STR_INIT;
    int rc;

    if (!x || !y)
        return lx_oom(err);
    for (size_t i = 0; i < c->n; i++) {
        x[i] = c->stretches[i].step;
        y[i] = c->stretches[i].n_finite ? c->stretches[i].sum / c->stretches[i].n_finite
                                        : (double)NAN;
    }
    lx_smooth(y, y, c->n, lx_curve_weight(c->n));
    if ((rc = lx_plot_text(&out, &plot, err)) == LX_OK)
        for (char *at = out.data, *end; at && *at; at = end + 1) {
            if (!(end = strchr(at, '\n')))
                break;
            *end = '\0';
            put_line(v, at);
        }
    lx_str_release(&out);
    return rc;
}

static int draw_run(view *v, look *l, told *t, size_t n_runs, lx_error *err)
{
    lx_str line = LX_STR_INIT;
    const char *lines;
    size_t used;
    int rc = LX_OK;

    lx_str_printf(&line, "%s%.10s  %s%s", v->cli->has_color ? "\x1b[1m" : "", l->row.id,
                  lx_safe(v->cli, l->row.name), v->cli->has_color ? "\x1b[0m" : "");
    put_state(&line, l);
    put_line(v, lx_str_text(&line));
    lx_str_release(&line);
    if (*l->row.message)
        put_console_line(v, lx_safe(v->cli, l->row.message));
    if (l->curve && l->curve->n > 1 && n_runs <= 3)
        rc = put_plot(v, l, n_runs == 1 ? 12 : 7, err);
    lines = last_lines(&used, &l->console, n_runs == 1 ? CONSOLE_LINES : 2);
    if (n_runs <= 8)
        each_line(v, lines, used - (size_t)(lines - lx_str_text(&l->console)),
                  put_console_line);
    if (t) /* what stands above these lines is never shown again */
        t->console += (size_t)(last_lines(&used, &l->console, CONSOLE_LINES) -
                               lx_str_text(&l->console));
    for (size_t i = l->n_samples > SAMPLES ? l->n_samples - SAMPLES : 0;
         i < l->n_samples && n_runs <= 8; i++) {
        const char *text = lx_arena_printf(
            v->cli->arena, "  sample, step %lld: %s", (long long)l->samples[i].step,
            lx_safe(v->cli,
                    *l->samples[i].path ? l->samples[i].path : l->samples[i].name));
        put_line(v, text ? text : "?");
    }
    return rc;
}

static told *told_of(view *v, int64_t run)
{
    for (size_t i = 0; i < v->n_told; i++)
        if (v->told[i].run == run)
            return &v->told[i];
    if (v->n_told == MOST_RUNS)
        return NULL;
    v->told[v->n_told] = (told){.run = run, .step = -1};
    return &v->told[v->n_told++];
}

static int draw(view *v, look *looks, size_t n, lx_error *err)
{
    int rc = LX_OK;

    if (v->n_lines) /* over the frame that stands there */
        lx_print(v->cli, "\x1b[%dA\r", v->n_lines);
    v->n_lines = 0;
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = draw_run(v, &looks[i], told_of(v, looks[i].row.seq), n, err);
    lx_print(v->cli, "\x1b[J");
    fflush(v->cli->out);
    return rc;
}

/* ---- news as plain lines ------------------------------------------------------------------ */

static void print_console_line(view *v, const char *line)
{
    lx_print(v->cli, "  | %s\n", line);
}

static void tell_news(view *v, look *l, told *t)
{
    const bool has_ended = strcmp(l->row.status, "running") != 0;
    const char *lines;
    size_t used;

    lines = last_lines(&used, &l->console, CONSOLE_LINES);
    each_line(v, lines, used - (size_t)(lines - lx_str_text(&l->console)),
              print_console_line);
    t->console += used;
    for (; t->n_samples < l->n_samples; t->n_samples++)
        lx_print(v->cli, "%.10s  sample, step %lld: %s\n", l->row.id,
                 (long long)l->samples[t->n_samples].step,
                 lx_safe(v->cli, l->samples[t->n_samples].name));
    if (l->row.last_step != t->step || has_ended) {
        lx_str line = LX_STR_INIT;
        put_state(&line, l);
        lx_print(v->cli, "%.10s  %s%s\n", l->row.id, lx_safe(v->cli, l->row.name),
                 lx_str_text(&line));
        lx_str_release(&line);
        if (has_ended && *l->row.message)
            lx_print(v->cli, "  | %s\n", lx_safe(v->cli, l->row.message));
    }
    t->step = l->row.last_step;
    t->has_ended = has_ended;
    fflush(v->cli->out);
}

/* ---- one look after the other -------------------------------------------------------------- */

/* The runs that were asked for, or all that run; those that we saw running stay to their end. */
static int find_runs(lx_run_row *out, size_t *n, view *v, lx_error *err)
{
    const lx_run_filter running = {.status = "running"};
    lx_run_list list = {0};
    int rc = LX_OK;

    *n = 0;
    if (!v->n_named &&
        (rc = lx_query_runs(&list, v->store, &running, v->cli->arena, err)) < 0)
        return rc;
    for (size_t i = list.count; i-- > 0;) /* the oldest first: lines keep their place */
        if (strcmp(list.rows[i].kind, "sweep") != 0)
            (void)told_of(v, list.rows[i].seq);
    for (size_t i = 0; i < v->n_named; i++)
        (void)told_of(v, v->named[i]);
    for (size_t i = 0; i < v->n_told && rc == LX_OK; i++)
        if (!v->told[i].has_ended || v->redraws)
            rc = lx_query_run(&out[(*n)++], v->store, v->told[i].run, v->cli->arena, err);
    return rc;
}

/* *n_running: how many have not ended. */
static int look_once(size_t *n_running, view *v, lx_error *err)
{
    lx_run_row rows[MOST_RUNS];
    look looks[MOST_RUNS];
    size_t n, n_looked = 0;
    int rc = find_runs(rows, &n, v, err);

    *n_running = 0;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        told *t = told_of(v, rows[i].seq);
        looks[i] = (look){.row = rows[i], .console = LX_STR_INIT};
        n_looked++;
        *n_running += strcmp(rows[i].status, "running") == 0;
        if ((rc = look_at(&looks[i], v, t, err)) == LX_OK && !v->redraws && t)
            tell_news(v, &looks[i], t);
    }
    if (rc == LX_OK && v->redraws)
        rc = draw(v, looks, n, err);
    for (size_t i = 0; i < n_looked; i++)
        lx_str_release(&looks[i].console);
    return rc;
}

static void wait_for(double seconds)
{
    const struct timespec pause = {(time_t)seconds,
                                   (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&pause, NULL); /* a signal ends it */
}

static int watch(view *v, lx_error *err)
{
    const double interval = v->args->has_interval ? v->args->interval
                            : v->redraws          ? 1
                                                  : 10;
    lx_arena *arena = lx_arena_new();
    lx_cli *outer = v->cli, inner = *v->cli;
    size_t n_running;
    int rc = arena ? LX_OK : lx_oom(err);

    inner.arena = arena;
    v->cli = &inner;
    while (rc == LX_OK) {
        inner.columns = lx_cli_columns(&inner);
        rc = look_once(&n_running, v, err);
        if (rc < 0 || v->args->once || !n_running)
            break;
        lx_arena_reset(arena);
        lx_store_rest(v->store);
        malloc_trim(0);
        wait_for(interval);
        if (lx_signals_pending()) {
            rc = lx_fail(err, LX_EINTERRUPTED, "%s", "");
            break;
        }
    }
    if (rc == LX_OK && !v->n_told && !inner.is_quiet)
        lx_message(&inner, "nothing is running (lx runs lists what was)\n");
    v->cli = outer;
    lx_arena_free(arena);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct watch_args *args = args_;
    view *v = lx_arena_calloc(cli->arena, 1, sizeof *v);
    lx_run_row row;
    int rc;

    if (!v)
        return lx_oom(err);
    v->cli = cli;
    v->arena = cli->arena;
    v->args = args;
    v->redraws = isatty(fileno(cli->out)) && cli->is_terminal;
    if (args->has_interval && !(args->interval >= 0.05 && args->interval <= 3600))
        return lx_fail(err, LX_EUSAGE, "--interval %g: from 0.05 to 3600 seconds",
                       args->interval);
    if (args->runs.count > MOST_RUNS)
        return lx_fail(err, LX_EUSAGE, "%d runs at most", MOST_RUNS);
    if ((rc = lx_store_open(&v->store, cli->store_path, true, err)) < 0)
        return rc;
    for (size_t i = 0; i < args->runs.count && rc == LX_OK; i++)
        if ((rc = lx_run_find(&row, cli, v->store, args->runs.items[i], err)) == LX_OK)
            v->named[v->n_named++] = row.seq;
    lx_signals_install();
    if (rc == LX_OK)
        rc = watch(v, err);
    lx_store_close(v->store);
    return rc;
}

const lx_command lx_cmd_watch = {
    .name = "watch",
    .summary = "runs as they go: curve, step, loss, time left, console",
    .usage = "[RUN...]",
    .help = "Shows the runs, or all that are running, until they have ended: step and "
            "epoch, loss and its\n"
            "curve, the time that is left, the last lines of the console and the samples "
            "that were drawn.\n"
            "On a terminal the picture is drawn over; else what is new is printed as "
            "lines. Whoever records\n"
            "is not disturbed: the store is only read.\n"
            "\n"
            "Examples:\n"
            "  lx watch\n"
            "  lx watch hifumi --interval 0.5\n"
            "  lx watch --once\n",
    .options = options,
    .args_size = sizeof(struct watch_args),
    .run = run,
};
