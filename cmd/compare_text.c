/* lx compare: what is printed, and the chart. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/compare.h"
#include "cmd/run_field.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/query/when.h"
#include "src/report/plot.h"
#include "src/report/svg.h"
#include "src/report/table.h"

enum { MOST_SHOWN = 12, MOST_EPOCH_ROWS = 24 };

static void heading(lx_cli *cli, const char *text)
{
    lx_print(cli, "\n%s%s%s\n", cli->has_color ? "\x1b[1m" : "", text,
             cli->has_color ? "\x1b[0m" : "");
}

int lx_compare_table(lx_cli *cli, const lx_table *table, lx_error *err)
{
    lx_str out = LX_STR_INIT;
    int rc =
        lx_table_text(&out, table, isatty(fileno(cli->out)) ? cli->columns : 0, 2, err);

    if (rc == LX_OK)
        lx_print(cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

static const char *const letters[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
                                      "j", "k", "l", "m", "n", "o", "p", "q", "r",
                                      "s", "t", "u", "v", "w", "x", "y", "z"};

static const char *number_text(lx_arena *arena, double x)
{
    return isnan(x) ? NULL : lx_arena_printf(arena, "%.4g", x);
}

/* ---- runs ---------------------------------------------------------------- */

static int show_runs(lx_comparison *c, lx_error *err)
{
    static const lx_table_column columns[] = {
        {"", false, false},        {"run", false, false},    {"name", false, true},
        {"started", false, false}, {"status", false, false}, {"steps", true, false},
        {"loss", true, false}};
    enum { N = sizeof columns / sizeof *columns };
    lx_arena *arena = c->arena;
    const char **cells = lx_arena_calloc(arena, c->n * N, sizeof *cells);
    const lx_table table = {columns, N, c->n, cells};

    if (!cells)
        return lx_oom(err);
    for (size_t i = 0; i < c->n; i++) {
        const lx_run_row *r = &c->runs[i].row;
        const char **row = cells + i * N;
        char started[32];
        lx_when_format(started, r->started);
        row[0] = letters[i];
        row[1] = lx_arena_printf(arena, "%.10s", r->id);
        row[2] = r->name;
        row[3] = lx_arena_strdup(arena, started);
        row[4] = r->status;
        row[5] = r->last_step < 0
                     ? NULL
                     : lx_arena_printf(arena, "%lld", (long long)r->last_step);
        row[6] = number_text(arena, r->loss);
    }
    return lx_compare_table(c->cli, &table, err);
}

/* ---- facts --------------------------------------------------------------- */

static int show_facts(lx_comparison *c, const char *title, const lx_compare_facts *facts,
                      lx_error *err)
{
    size_t width = c->n + 1;
    lx_table_column *columns = lx_arena_calloc(c->arena, width, sizeof *columns);
    const char **cells =
        lx_arena_calloc(c->arena, width * facts->count + 1, sizeof *cells);
    const lx_table table = {columns, width, facts->count, cells};

    if (!facts->count)
        return LX_OK;
    if (!columns || !cells)
        return lx_oom(err);
    columns[0].title = "";
    for (size_t i = 0; i < c->n; i++)
        columns[i + 1] = (lx_table_column){.title = letters[i], .may_shrink = true};
    for (size_t k = 0; k < facts->count; k++) {
        cells[k * width] = facts->items[k].name;
        for (size_t i = 0; i < c->n; i++)
            cells[k * width + i + 1] = facts->items[k].texts[i];
    }
    heading(c->cli, title);
    return lx_compare_table(c->cli, &table, err);
}

/* ---- data ---------------------------------------------------------------- */

typedef struct tag_count {
    const char *tag;
    size_t n;
    char sign;
} tag_count;

typedef struct tag_counts {
    tag_count *items;
    size_t count, capacity;
} tag_counts;

static int count_tags(tag_counts *t, const char *const *tags, size_t n, char sign,
                      lx_arena *arena, lx_error *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < t->count &&
               (t->items[k].sign != sign || strcmp(t->items[k].tag, tags[i]) != 0))
            k++;
        if (lx_arena_grow(arena, &t->items, &t->capacity, k + 1, sizeof *t->items) < 0)
            return lx_oom(err);
        if (k == t->count)
            t->items[t->count++] = (tag_count){tags[i], 0, sign};
        t->items[k].n++;
    }
    return LX_OK;
}

/* A caption without commas is one tag: of a very long one its beginning tells enough. */
static void put_tag(lx_str *out, char sign, const char *tag)
{
    enum { LONGEST = 160 };
    size_t n = strlen(tag);

    if (n > LONGEST)
        for (n = LONGEST;
             n && ((unsigned char)tag[n] & 0xC0) == 0x80;) /* not within a character */
            n--;
    lx_str_printf(out, "%s%c%.*s%s", out->len ? ", " : "", sign, (int)n, tag,
                  tag[n] ? "..." : "");
}

static void put_tags(lx_str *out, char sign, const char *const *tags, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_tag(out, sign, tags[i]);
}

/* "+blush, -smile" of one image; its tags are counted. */
static int caption_change(const char **out, tag_counts *counts, lx_comparison *c,
                          const lx_data_change *change, lx_error *err)
{
    lx_arena *arena = c->arena;
    const char *a, *b;
    lx_str text = LX_STR_INIT;
    lx_tag_changes t;
    int rc;

    if ((rc = lx_compare_caption(&a, c, change->a->caption, err)) < 0 ||
        (rc = lx_compare_caption(&b, c, change->b->caption, err)) < 0 ||
        (rc = lx_compare_tags(&t, a, b, arena, err)) < 0 ||
        (rc = count_tags(counts, t.removed, t.n_removed, '-', arena, err)) < 0 ||
        (rc = count_tags(counts, t.added, t.n_added, '+', arena, err)) < 0)
        return rc;
    put_tags(&text, '+', t.added, t.n_added);
    put_tags(&text, '-', t.removed, t.n_removed);
    if (t.is_reordered)
        lx_str_puts(&text, "the same tags, in another order or spacing");
    *out = lx_arena_strdup(arena, lx_str_text(&text));
    lx_str_release(&text);
    return *out ? LX_OK : lx_oom(err);
}

int lx_compare_caption_change(const char **out, lx_comparison *c,
                              const lx_data_change *change, lx_error *err)
{
    tag_counts unused = {0};
    return caption_change(out, &unused, c, change, err);
}

static const char *image_name(lx_comparison *c, const lx_data_image *image)
{
    const char *text = lx_arena_printf(c->arena, "%s/%s", image->folder, image->name);
    return text ? lx_safe(c->cli, text) : "?";
}

static int show_change(lx_comparison *c, const lx_data_change *change, tag_counts *counts,
                       bool is_shown, lx_error *err)
{
    lx_cli *cli = c->cli;
    const char *caption = NULL;
    int rc = LX_OK;

    if (change->kind == LX_DATA_CAPTION)
        rc = caption_change(&caption, counts, c, change, err);
    if (rc < 0 || !is_shown)
        return rc;
    switch (change->kind) {
    case LX_DATA_ADDED:
        lx_print(cli, "  + %s\n", image_name(c, change->b));
        break;
    case LX_DATA_REMOVED:
        lx_print(cli, "  - %s\n", image_name(c, change->a));
        break;
    case LX_DATA_MOVED:
        lx_print(cli, "  > %s is %s\n", image_name(c, change->a),
                 image_name(c, change->b));
        break;
    case LX_DATA_BYTES:
        lx_print(cli, "  * %s: another image\n", image_name(c, change->b));
        break;
    case LX_DATA_LATENTS:
        lx_print(cli, "  * %s: latents from elsewhere\n", image_name(c, change->b));
        break;
    case LX_DATA_CAPTION:
        lx_print(cli, "  ~ %s: %s\n", image_name(c, change->b), lx_safe(cli, caption));
    }
    return LX_OK;
}

static int by_count(const void *a, const void *b)
{
    const tag_count *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : strcmp(x->tag, y->tag);
}

static void show_counts(lx_cli *cli, const tag_counts *counts, bool shows_all)
{
    lx_str text = LX_STR_INIT;
    size_t n = counts->count > MOST_SHOWN && !shows_all ? MOST_SHOWN : counts->count;

    if (counts->count)
        qsort(counts->items, counts->count, sizeof *counts->items, by_count);
    for (size_t i = 0; i < n; i++) {
        put_tag(&text, counts->items[i].sign, counts->items[i].tag);
        lx_str_printf(&text, " %zu", counts->items[i].n);
    }
    if (counts->count)
        lx_print(cli, "  tags: %s%s\n", lx_safe(cli, lx_str_text(&text)),
                 n < counts->count ? ", ..." : "");
    lx_str_release(&text);
}

static int show_pair_data(lx_comparison *c, size_t k, bool shows_all, lx_error *err)
{
    static const char *const words[] = {
        [LX_DATA_ADDED] = "added",
        [LX_DATA_REMOVED] = "removed",
        [LX_DATA_MOVED] = "moved",
        [LX_DATA_BYTES] = "with other bytes",
        [LX_DATA_LATENTS] = "with latents from elsewhere",
        [LX_DATA_CAPTION] = "with another caption",
    };
    enum { N_KINDS = sizeof words / sizeof *words };
    const lx_data_changes *d = &c->pairs[k].data;
    size_t n_kind[N_KINDS] = {0}, n_shown[N_KINDS] = {0}, n_hidden = 0;
    tag_counts counts = {0};
    lx_str line = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < d->count; i++)
        n_kind[d->items[i].kind]++;
    lx_str_printf(&line, "%zu image%s, %s %zu: %zu the same", c->runs[0].data.n_images,
                  lx_plural(c->runs[0].data.n_images), letters[k], c->runs[k].data.n_images, d->n_same);
    for (size_t i = 0; i < N_KINDS; i++)
        if (n_kind[i])
            lx_str_printf(&line, ", %zu %s", n_kind[i], words[i]);
    lx_print(c->cli, "  a %s\n", lx_str_text(&line));
    lx_str_release(&line);
    for (size_t i = 0; i < d->count && rc == LX_OK; i++) {
        bool is_shown = shows_all || n_shown[d->items[i].kind]++ < MOST_SHOWN;
        n_hidden += !is_shown;
        rc = show_change(c, &d->items[i], &counts, is_shown, err);
    }
    if (n_hidden)
        lx_print(c->cli, "  ... and %zu more (--all)\n", n_hidden);
    show_counts(c->cli, &counts, shows_all);
    return rc;
}

static bool has_data_changes(const lx_comparison *c)
{
    for (size_t k = 1; k < c->n; k++)
        if (c->pairs[k].has_data && c->pairs[k].data.count)
            return true;
    return false;
}

static int show_data(lx_comparison *c, bool shows_all, lx_error *err)
{
    int rc = LX_OK;

    if (!has_data_changes(c))
        return show_facts(c, "data", &c->folders, err);
    if (c->folders.count)
        rc = show_facts(c, "data", &c->folders, err);
    else
        heading(c->cli, "data");
    for (size_t k = 1; k < c->n && rc == LX_OK; k++)
        if (c->pairs[k].has_data && c->pairs[k].data.count)
            rc = show_pair_data(c, k, shows_all, err);
    return rc;
}

/* ---- code ---------------------------------------------------------------- */

/* A patch from its first hunk on; an untracked file has one line. */
static void show_patch(lx_cli *cli, const char *name, const char *patch)
{
    lx_print(cli, "    in %s:\n", name);
    for (const char *line = patch, *next; *line; line = next) {
        size_t n = strcspn(line, "\n");
        const char *text = lx_arena_strndup(cli->arena, line, n);
        next = line + n + (line[n] == '\n');
        if (line != patch && n && text && !lx_starts_with(text, "index ") &&
            !lx_starts_with(text, "--- ") && !lx_starts_with(text, "+++ "))
            lx_print(cli, "      %s\n", lx_safe(cli, text));
    }
}

static void show_file(lx_comparison *c, size_t k, const lx_code_change *change)
{
    lx_print(c->cli, "  %s: uncommitted changes %s%s\n", lx_safe(c->cli, change->file),
             change->side == '*'   ? "that are not those of a, in "
             : change->side == 'a' ? "in a, not in "
                                   : "only in ",
             letters[k]);
    if (c->shows_code && change->a)
        show_patch(c->cli, "a", change->a);
    if (c->shows_code && change->b)
        show_patch(c->cli, letters[k], change->b);
}

static int show_code(lx_comparison *c, bool shows_all, lx_error *err)
{
    bool has_changes = c->code.count > 0;
    int rc;

    for (size_t k = 1; k < c->n; k++)
        has_changes = has_changes || c->pairs[k].n_code;
    if (!has_changes)
        return LX_OK;
    if (!c->code.count)
        heading(c->cli, "code");
    if ((rc = show_facts(c, "code", &c->code, err)) < 0)
        return rc;
    for (size_t k = 1; k < c->n; k++) {
        const lx_compare_pair *p = &c->pairs[k];
        size_t n = p->n_code > MOST_SHOWN && !shows_all ? MOST_SHOWN : p->n_code;
        for (size_t i = 0; i < n; i++)
            show_file(c, k, &p->code[i]);
        if (n < p->n_code)
            lx_print(c->cli, "  ... and %zu more file%s (--all)\n", p->n_code - n,
                     lx_plural(p->n_code - n));
    }
    return LX_OK;
}

/* ---- loss ---------------------------------------------------------------- */

static const char *axis_label(const lx_comparison *c)
{
    return strcmp(c->axis, "steps") == 0    ? "step"
           : strcmp(c->axis, "images") == 0 ? "images seen"
                                            : "epoch";
}

static int plot(lx_comparison *c, lx_error *err)
{
    lx_plot_line lines[LX_COMPARE_RUNS];
    lx_plot p = {.lines = lines,
                 .x_label = axis_label(c),
                 .width = c->cli->columns,
                 .has_color = c->cli->has_color,
                 .is_utf8 = lx_cli_is_utf8()};
    lx_str out = LX_STR_INIT;
    int rc;

    for (size_t i = 0; i < c->n;
         i++) /* one without a loss too: letters are those of the runs */
        lines[p.n_lines++] =
            (lx_plot_line){c->runs[i].label, lx_compare_axis(c, &c->runs[i]),
                           c->runs[i].smooth, c->runs[i].loss.n};
    if ((rc = lx_plot_text(&out, &p, err)) == LX_OK)
        lx_print(c->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

static int show_epochs(lx_comparison *c, lx_error *err)
{
    size_t n_epochs = 0, width = c->n + 1, n_rows = 0, stride;
    lx_table_column *columns = lx_arena_calloc(c->arena, width, sizeof *columns);
    const char **cells;
    lx_table table;

    for (size_t i = 0; i < c->n; i++)
        n_epochs = c->runs[i].n_epochs > n_epochs ? c->runs[i].n_epochs : n_epochs;
    if (!n_epochs)
        return LX_OK;
    stride = (n_epochs + MOST_EPOCH_ROWS - 1) / MOST_EPOCH_ROWS;
    cells = lx_arena_calloc(c->arena, width * (n_epochs / stride + 2), sizeof *cells);
    if (!columns || !cells)
        return lx_oom(err);
    columns[0] = (lx_table_column){"epoch", true, false};
    for (size_t i = 0; i < c->n; i++)
        columns[i + 1] = (lx_table_column){letters[i], true, false};
    for (size_t e = stride; e <= n_epochs;
         e = e < n_epochs && e + stride > n_epochs ? n_epochs : e + stride) {
        const char **row = cells + n_rows++ * width;
        row[0] = lx_arena_printf(c->arena, "%zu", e);
        for (size_t i = 0; i < c->n; i++) {
            const lx_compared *r = &c->runs[i];
            double mean = e <= r->n_epochs ? r->epoch_means[e - 1] : (double)NAN;
            if (!isnan(mean))
                row[i + 1] = lx_arena_printf(c->arena, "%s%.4g",
                                             e == r->best_epoch ? "*" : "", mean);
        }
    }
    table = (lx_table){columns, width, n_rows, cells};
    lx_print(c->cli, "\n  mean loss of each epoch%s (* least: epoch",
             stride > 1 ? ", some left out" : "");
    for (size_t i = 0; i < c->n; i++)
        if (c->runs[i].best_epoch)
            lx_print(c->cli, " %s %zu", letters[i], c->runs[i].best_epoch);
    lx_print(c->cli, ")\n");
    return lx_compare_table(c->cli, &table, err);
}

static void show_difference(lx_comparison *c, size_t k, const lx_loss_difference *d,
                            const char *unit)
{
    lx_cli *cli = c->cli;
    const char *verdict = d->difference.high < 0  ? letters[k]
                          : d->difference.low > 0 ? "a"
                                                  : NULL;

    if (!d->n)
        return;
    lx_print(cli, "  %s %.6g to %.6g: a %.4g, %s %.4g; %s - a = %+.3g", unit, d->first,
             d->last, d->a, letters[k], d->b, letters[k], d->difference.mean);
    if (!d->is_estimated) {
        lx_print(cli, "\n    too few points to tell which is lower (fewer than %d)\n",
                 LX_LOSS_POINTS);
        return;
    }
    lx_print(cli, ", 95 %% %+.3g to %+.3g\n", d->difference.low, d->difference.high);
    if (d->difference.low == 0 && d->difference.high == 0)
        lx_print(cli, "    they are equal");
    else if (verdict)
        lx_print(cli, "    %s is lower", verdict);
    else
        lx_print(cli, "    which is lower cannot be told");
    if (d->is_paired)
        lx_print(
            cli,
            " (paired: the same draws at every step, correlation %.3f, blocks of %zu)\n",
            d->correlation, d->difference.block);
    else
        lx_print(cli, " (each drawn by itself, in blocks of %zu)\n", d->difference.block);
}

static int show_loss(lx_comparison *c, lx_error *err)
{
    bool has_loss = false;
    int rc;

    for (size_t i = 0; i < c->n; i++)
        has_loss = has_loss || c->runs[i].loss.n;
    if (!has_loss)
        return LX_OK;
    heading(c->cli, "loss");
    if ((rc = plot(c, err)) < 0)
        return rc;
    lx_print(
        c->cli,
        "  smoothed by %g; means and intervals below are of the losses as they are\n",
        c->smoothing);
    for (size_t k = 1; k < c->n; k++) {
        const char *a = c->runs[0].curve, *b = c->runs[k].curve;
        if (!*a || !*b || strcmp(a, b) != 0) {
            lx_print(c->cli, "  a has %s, %s has %s: not compared\n", *a ? a : "no loss",
                     letters[k], *b ? b : "no loss");
            continue;
        }
        show_difference(c, k, &c->pairs[k].loss, "steps");
        show_difference(c, k, &c->pairs[k].by_images, "images seen");
    }
    return show_epochs(c, err);
}

static int show_validation(lx_comparison *c, lx_error *err)
{
    if (!lx_compare_has_validation(c))
        return LX_OK;
    heading(c->cli,
            "validation (images held out, the same draws each time; lower is better)");
    return lx_compare_show_validation(c, letters, err);
}

/* ---- results of many ----------------------------------------------------- */

static int show_results(lx_comparison *c, lx_error *err)
{
    size_t n_flags = c->flags.count > 6 ? 6 : c->flags.count,
           width = 1 + n_flags + c->n_results;
    lx_table_column *columns = lx_arena_calloc(c->arena, width, sizeof *columns);
    const char **cells = lx_arena_calloc(c->arena, width * c->n, sizeof *cells);
    const lx_table table = {columns, width, c->n, cells};

    if (!columns || !cells)
        return lx_oom(err);
    columns[0].title = "";
    for (size_t f = 0; f < n_flags; f++)
        columns[f + 1] =
            (lx_table_column){lx_run_flag_short(c->flags.items[f].name), true, true};
    for (size_t k = 0; k < c->n_results; k++)
        columns[1 + n_flags + k] = (lx_table_column){c->results[k].name, true, false};
    for (size_t i = 0; i < c->n; i++) {
        const char **row = cells + i * width;
        row[0] = letters[i];
        for (size_t f = 0; f < n_flags; f++)
            row[f + 1] = c->flags.items[f].texts[i];
        for (size_t k = 0; k < c->n_results; k++) {
            char text[32];
            lx_duration_format(text, c->results[k].values[i]);
            row[1 + n_flags + k] = strcmp(c->results[k].name, "duration") == 0
                                       ? lx_arena_strdup(c->arena, text)
                                       : number_text(c->arena, c->results[k].values[i]);
        }
    }
    heading(c->cli, "results");
    return lx_compare_table(c->cli, &table, err);
}

static void show_ranks(lx_comparison *c)
{
    if (!c->n_ranks)
        return;
    heading(c->cli, "rank correlation (Spearman; 95 %)");
    for (size_t i = 0; i < c->n_ranks; i++) {
        const lx_compare_rank *r = &c->ranks[i];
        lx_print(c->cli, "  %-20s %-18s %+.2f",
                 lx_safe(c->cli, lx_run_flag_short(r->flag)), r->result, r->rank.rho);
        if (isnan(r->rank.low))
            lx_print(c->cli, "   %zu runs: %s\n", r->rank.n,
                     fabs(r->rank.rho) == 1 ? "all in order, which leaves no interval"
                                            : "too few for an interval");
        else
            lx_print(c->cli, "   %+.2f to %+.2f, %zu runs\n", r->rank.low, r->rank.high,
                     r->rank.n);
    }
}

/* ---- the whole ----------------------------------------------------------- */

static bool has_code_changes(const lx_comparison *c)
{
    for (size_t i = 1; i < c->n; i++)
        if (c->pairs[i].n_code)
            return true;
    return false;
}

static void show_same(const lx_comparison *c)
{
    const struct {
        const char *name;
        bool is_same;
    } groups[] = {
        {"flags", c->flags.is_known && !c->flags.count},
        {"data", c->folders.is_known && !c->folders.count && !has_data_changes(c)},
        {"base model", c->base.is_known && !c->base.count},
        {"code", c->code.is_known && !c->code.count && !has_code_changes(c)},
        {"environment", c->environment.is_known && !c->environment.count}};
    bool has_any = false;

    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (groups[i].is_same) {
            lx_print(c->cli, "%s%s", has_any ? ", " : "\nthe same: ", groups[i].name);
            has_any = true;
        }
    if (has_any)
        lx_print(c->cli, "\n");
}

int lx_compare_show(lx_comparison *c, bool shows_all, lx_error *err)
{
    int rc;

    if ((rc = show_runs(c, err)) < 0)
        return rc;
    for (size_t i = 0; i < c->findings.count; i++)
        lx_print(c->cli, "\nfinding: %s\n", c->findings.items[i]);
    for (size_t i = 0; i < c->notes.count; i++)
        lx_print(c->cli, "\n%s\n", c->notes.items[i]);
    if ((rc = show_facts(c, "flags", &c->flags, err)) < 0 ||
        (rc = show_facts(c, "names and places", &c->places, err)) < 0 ||
        (rc = show_data(c, shows_all, err)) < 0 ||
        (rc = show_facts(c, "base model", &c->base, err)) < 0 ||
        (rc = show_code(c, shows_all, err)) < 0 ||
        (rc = show_facts(c, "environment", &c->environment, err)) < 0 ||
        (rc = show_validation(c, err)) < 0 || (rc = show_loss(c, err)) < 0)
        return rc;
    if (c->n > 2 && (rc = show_results(c, err)) < 0)
        return rc;
    show_ranks(c);
    show_same(c);
    return LX_OK;
}

int lx_compare_svg(lx_comparison *c, const char *path, lx_error *err)
{
    lx_svg_line lines[2 * LX_COMPARE_RUNS];
    lx_svg_chart chart = {.title = "Loss",
                          .x_label = axis_label(c),
                          .y_label = "loss",
                          .lines = lines,
                          .is_standalone = true};
    lx_str out = LX_STR_INIT;
    int rc;

    for (size_t i = 0; i < c->n; i++) /* the pale ones below all others */
        lines[chart.n_lines++] = (lx_svg_line){.x = lx_compare_axis(c, &c->runs[i]),
                                               .y = c->runs[i].loss.values,
                                               .n = c->runs[i].loss.n,
                                               .color = (int)i,
                                               .is_faint = true};
    for (size_t i = 0; i < c->n; i++)
        lines[chart.n_lines++] = (lx_svg_line){.label = c->runs[i].label,
                                               .x = lx_compare_axis(c, &c->runs[i]),
                                               .y = c->runs[i].smooth,
                                               .n = c->runs[i].loss.n,
                                               .color = (int)i};
    if ((rc = lx_svg_curves(&out, &chart, err)) == LX_OK && lx_alloc_has_failed())
        rc = lx_oom(err);
    if (rc == LX_OK)
        rc = lx_file_write(path, out.data, out.len, err);
    lx_str_release(&out);
    return rc;
}
