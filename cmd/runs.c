/* lx runs - find recorded runs */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "cmd/run_field.h"
#include "cmd/run_table.h"
#include "src/base/json.h"
#include "src/query/when.h"
#include "src/report/table.h"

struct runs_args {
    bool json, csv, all, has_trash, names, has_limit;
    int64_t limit;
    const char *status, *kind, *name, *group, *sort, *columns;
    lx_words query;
};

static const lx_option options[] = {
    {LX_OPTION_INT, 'n', "limit", "N", "at most N runs (20)",
     offsetof(struct runs_args, limit), (int)offsetof(struct runs_args, has_limit)},
    LX_FLAG(struct runs_args, all, 'a', "all", "all of them"),
    LX_DASHED(struct runs_args, sort, 's', "sort", "FIELDS",
              "by these fields, commas between; -FIELD falls (newest first)"),
    LX_TEXT(struct runs_args, columns, 'c', "columns", "FIELDS",
            "show these fields; +FIELDS adds to the usual ones"),
    LX_TEXT(struct runs_args, status, 0, "status", "STATUS",
            "running, finished, interrupted or failed"),
    LX_TEXT(struct runs_args, kind, 0, "kind", "KIND",
            "train, sweep, sample, merge, resize, extract, convert, data, run, log or import"),
    LX_TEXT(struct runs_args, name, 0, "name", "NAME", "of exactly this name"),
    LX_TEXT(struct runs_args, group, 0, "group", "GROUP", "of this group"),
    LX_FLAG(struct runs_args, has_trash, 0, "trash", "also those in the trash"),
    LX_FLAG(struct runs_args, names, 0, "fields", "list the fields and end"),
    LX_FLAG(struct runs_args, json, 'j', "json", "print a JSON list"),
    LX_FLAG(struct runs_args, csv, 0, "csv", "print CSV"),
    LX_ARGS(struct runs_args, query, "QUERY",
            "which runs, as in 'loss < 0.06 and dim = 4'"),
    LX_OPTION_END,
};

/* What is printed: columns of the table by number. */
typedef struct view {
    lx_run_table *table;
    int *columns;
    size_t n_columns, capacity;
    bool is_asked;   /* by --columns */
    size_t n_hidden; /* settings that differ and found no room */
} view;

/* Several words are one query, so that simple ones need no quotes. */
static const char *joined(lx_cli *cli, const lx_words *words)
{
    const char *text = words->count ? words->items[0] : "";

    for (size_t i = 1; text && i < words->count; i++)
        text = lx_arena_printf(cli->arena, "%s %s", text, words->items[i]);
    return text;
}

/* ---- columns ------------------------------------------------------------- */

static int show_field(view *v, lx_cli *cli, const char *field, lx_error *err)
{
    int column, rc = lx_run_table_add(&column, v->table, field, err);

    for (size_t i = 0; i < v->n_columns && rc == LX_OK; i++)
        if (v->columns[i] == column)
            return LX_OK;
    if (rc < 0)
        return rc;
    if (lx_arena_grow(cli->arena, &v->columns, &v->capacity, v->n_columns + 1,
                      sizeof *v->columns) < 0)
        return lx_oom(err);
    v->columns[v->n_columns++] = column;
    return LX_OK;
}

static int show_fields(view *v, lx_cli *cli, const char *list, lx_error *err)
{
    int rc = LX_OK;

    while (*list && rc == LX_OK) {
        size_t n = strcspn(list, ",");
        const char *field = lx_arena_strndup(cli->arena, list, n);
        if (!field)
            return lx_oom(err);
        if (n && (rc = show_field(v, cli, field, err)) < 0)
            lx_within(err, "--columns");
        list += n + (list[n] == ',');
    }
    return rc;
}

/* Settings that differ, as long as the terminal has room beside the rest. */
static int show_varied(view *v, lx_cli *cli, int room, lx_error *err)
{
    lx_words varied;
    int rc = lx_run_table_varied(&varied, v->table, err);

    for (size_t i = 0; i < varied.count && rc == LX_OK; i++) {
        const char *name = lx_run_flag_short(varied.items[i]);
        int column, width = (int)strlen(name);
        if ((rc = lx_run_table_add(&column, v->table, name, err)) < 0 ||
            (rc = lx_run_table_load(v->table, err)) < 0)
            return rc;
        for (size_t r = 0; r < lx_run_table_count(v->table) && r < 200; r++) {
            const char *text = lx_run_table_text(v->table, r, column, true);
            int w = text ? lx_text_width(text) : 1;
            width = w > width ? w : width;
        }
        width = width > 24 ? 24 : width;
        if ((room -= width + 2) < 0) {
            v->n_hidden = varied.count - i;
            break;
        }
        rc = show_field(v, cli, name, err);
    }
    return rc;
}

static int show_usual(view *v, lx_cli *cli, lx_error *err)
{
    static const char *const optional[] = {"group", "tags"};
    bool is_there, is_terminal = isatty(fileno(cli->out));
    int rc, room = is_terminal ? cli->columns - 72 : 100;

    if ((rc = show_fields(v, cli, "id,started", err)) < 0 ||
        (lx_run_table_has_kinds(v->table) &&
         (rc = show_field(v, cli, "kind", err)) < 0) ||
        (rc = show_fields(v, cli, "status,steps,loss", err)) < 0 ||
        (rc = show_varied(v, cli, room < 0 ? 8 : room, err)) < 0)
        return rc;
    for (size_t i = 0; i < 2; i++) {
        if ((rc = lx_run_table_has_any(&is_there, v->table, optional[i], err)) < 0 ||
            (is_there && (rc = show_field(v, cli, optional[i], err)) < 0))
            return rc;
    }
    return show_field(v, cli, "name", err);
}

static int choose_columns(view *v, lx_cli *cli, const struct runs_args *args,
                          lx_error *err)
{
    const char *list = args->columns;
    int rc = LX_OK;

    v->is_asked = list != NULL;
    if (!list || *list == '+')
        rc = show_usual(v, cli, err);
    if (rc == LX_OK && list && (rc = show_fields(v, cli, list + (*list == '+'), err)) < 0)
        return rc;
    if (rc == LX_OK && !v->n_columns)
        return lx_fail(err, LX_EUSAGE, "--columns '%s' names no field (lx runs --fields lists them)", list);
    return rc < 0 ? rc : lx_run_table_load(v->table, err);
}

/* ---- printing ------------------------------------------------------------ */

static const char *csv_text(const view *v, lx_cli *cli, size_t row, int column)
{
    const lx_cell *cell = lx_run_table_cell(v->table, row, column);

    if (lx_run_table_column(v->table, column)->type == LX_FIELD_TIME &&
        cell->kind == LX_CELL_NUMBER) {
        char text[32];
        lx_when_format_iso(text, cell->number);
        return lx_arena_strdup(cli->arena, text);
    }
    return lx_run_table_text(v->table, row, column, false);
}

/* Columns of the terminal that a text takes at most, unasked for and asked for; --csv and --json have
 * the whole of it. */
enum { WIDEST = 40, WIDEST_ASKED = 160 };

/* Ids, dates, numbers and the few words of a status are of no use when cut. */
static bool may_shrink(const lx_run_column *column)
{
    return (column->type == LX_FIELD_TEXT || column->type == LX_FIELD_ANY ||
            column->type == LX_FIELD_SWITCH) &&
           strcmp(column->title, "status") != 0 && strcmp(column->title, "kind") != 0;
}

static int show_table(const view *v, lx_cli *cli, bool is_csv, lx_error *err)
{
    size_t n_rows = lx_run_table_count(v->table);
    lx_table_column *columns =
        lx_arena_calloc(cli->arena, v->n_columns + 1, sizeof *columns);
    const char **cells =
        lx_arena_calloc(cli->arena, v->n_columns * n_rows + 1, sizeof *cells);
    lx_table table = {
        .columns = columns, .cells = cells, .n_columns = v->n_columns, .n_rows = n_rows};
    lx_str out = LX_STR_INIT;
    int rc;

    if (!columns || !cells)
        return lx_oom(err);
    for (size_t c = 0; c < v->n_columns; c++) {
        const lx_run_column *column = lx_run_table_column(v->table, v->columns[c]);
        columns[c] =
            (lx_table_column){column->title, column->is_number, may_shrink(column)};
        for (size_t r = 0; r < n_rows; r++)
            cells[r * v->n_columns + c] =
                is_csv ? csv_text(v, cli, r, v->columns[c])
                       : lx_run_table_text(v->table, r, v->columns[c], true);
    }
    rc = is_csv ? lx_table_csv(&out, &table, err)
                : lx_table_text_clipped(&out, &table,
                                        isatty(fileno(cli->out)) ? cli->columns : 0, 0,
                                        v->is_asked ? WIDEST_ASKED : WIDEST, err);
    if (rc == LX_OK)
        lx_print(cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    if (v->n_hidden && !is_csv && !cli->is_quiet)
        lx_message(
            cli,
            "%zu more setting%s: --columns +FIELD,... shows %s, lx compare all\n",
            v->n_hidden, v->n_hidden == 1 ? " differs" : "s differ", v->n_hidden == 1 ? "it" : "them");
    return rc;
}

static cJSON *cell_json(const lx_cell *cell)
{
    cJSON *list;

    switch (cell->kind) {
    case LX_CELL_NUMBER:
        return cJSON_CreateNumber(cell->number);
    case LX_CELL_TEXT:
        return isnan(cell->number) ? cJSON_CreateString(cell->text)
                                   : cJSON_CreateNumber(cell->number);
    case LX_CELL_WORDS:
        list = cJSON_CreateArray();
        for (unsigned i = 0; i < cell->n_words; i++)
            cJSON_AddItemToArray(list, cJSON_CreateString(cell->words[i]));
        return list;
    default:
        return cJSON_CreateNull();
    }
}

/* Facts that are texts though they may look like numbers. */
static bool is_text(const lx_run_column *column)
{
    return column->type == LX_FIELD_TEXT || column->type == LX_FIELD_ID ||
           strcmp(column->title, "seed") == 0;
}

static void add_row(cJSON *o, const view *v, size_t row)
{
    for (size_t c = 0; c < v->n_columns; c++) {
        const lx_run_column *column = lx_run_table_column(v->table, v->columns[c]);
        const lx_cell *cell = lx_run_table_cell(v->table, row, v->columns[c]);
        if (cell->kind == LX_CELL_TEXT && is_text(column))
            cJSON_AddStringToObject(o, column->title, cell->text);
        else
            cJSON_AddItemToObject(o, column->title, cell_json(cell));
    }
}

static int show_json(const view *v, lx_cli *cli, lx_error *err)
{
    cJSON *root = cJSON_CreateArray();
    lx_str out = LX_STR_INIT;
    int rc;

    for (size_t i = 0; i < lx_run_table_count(v->table); i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(root, o);
        add_row(o, v, i);
    }
    if ((rc = lx_json_pretty(&out, root, err)) == LX_OK)
        lx_print(cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}

static void list_fields(lx_cli *cli)
{
    for (const lx_run_field_name *f = lx_run_field_names; f->name; f++)
        lx_print(cli, "  %-10s %s\n", f->name, f->help);
    lx_print(
        cli,
        "and every flag of lx train (dim, alpha, lr, te_lr, epochs, batch, optimizer,\n"
        "scheduler, warmup ... are short for the usual ones), and every curve: its last\n"
        "value by its name or last(CURVE), its least by min(CURVE)\n");
}

static const char json_columns[] = "id,kind,name,status,started,ended,duration,steps,"
                                   "loss,min_loss,seed,spec,group,tags,notes";

static int show(view *v, lx_cli *cli, const struct runs_args *args, lx_error *err)
{
    struct runs_args wanted = *args;
    int rc;

    if (args->json && !args->columns)
        wanted.columns = json_columns;
    if ((rc = choose_columns(v, cli, &wanted, err)) < 0)
        return rc;
    if (args->json)
        return show_json(v, cli, err);
    if (!lx_run_table_count(v->table) && !args->csv) {
        lx_message(cli, args->query.count ? "no such runs\n" : "no runs\n");
        return LX_OK;
    }
    return show_table(v, cli, args->csv, err);
}

static int check(const struct runs_args *args, lx_error *err)
{
    static const char *const known[] = {"running", "finished", "interrupted", "failed"};
    bool is_known = !args->status;

    for (size_t i = 0; i < 4 && args->status; i++)
        is_known = is_known || strcmp(args->status, known[i]) == 0;
    if (!is_known)
        return lx_fail(err, LX_EUSAGE,
                       "--status %s: running, finished, interrupted or failed",
                       args->status);
    if (args->has_limit && args->limit < 1)
        return lx_fail(err, LX_EUSAGE,
                       "-n %lld: a number of runs from 1 on is wanted (--all lists all)",
                       (long long)args->limit);
    if (args->json && args->csv)
        return lx_fail(err, LX_EUSAGE, "--json or --csv, not both");
    return LX_OK;
}

/* Any word may be a kind (lx log --kind); one that is neither lx's own nor of any run is a slip. */
static int check_kind(lx_store *store, const char *kind, lx_arena *arena, lx_error *err)
{
    static const char *const own[] = {"train",   "sweep", "sample", "merge", "resize", "extract",
                                      "convert", "data",  "run",    "log",   "import"};
    lx_str list = LX_STR_INIT;
    const char **kinds;
    size_t n;
    int rc;

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(kind, own[i]) == 0)
            return LX_OK;
    if ((rc = lx_query_kinds(&kinds, &n, store, arena, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(kind, kinds[i]) == 0)
            return LX_OK;
        lx_str_printf(&list, "%s%s", i ? ", " : "", kinds[i]);
    }
    rc = !n ? LX_OK
            : lx_fail(err, LX_EUSAGE, "--kind %s: no run is of that kind; those here are of: %s", kind,
                      lx_str_text(&list));
    lx_str_release(&list);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct runs_args *args = args_;
    lx_run_filter filter = {.status = args->status,
                            .kind = args->kind,
                            .name = args->name,
                            .group = args->group,
                            .has_trashed = args->has_trash};
    int64_t limit = args->all ? 0 : args->has_limit ? args->limit : 20;
    const char *query = joined(cli, &args->query);
    lx_store *store = NULL;
    view v = {0};
    int rc;

    if (args->names) {
        list_fields(cli);
        return LX_OK;
    }
    if (!query)
        return lx_oom(err);
    if ((rc = check(args, err)) < 0)
        return rc;
    if (!*query && !args->sort) /* the newest need no look at the others */
        filter.limit = limit;
    if ((rc = lx_store_open(&store, cli->store_path, true, err)) < 0)
        return rc;
    if (args->kind)
        rc = check_kind(store, args->kind, cli->arena, err);
    if (rc == LX_OK && (rc = lx_run_table_open(&v.table, store, &filter, cli->arena, err)) == LX_OK &&
        (rc = lx_run_table_select(v.table, query, args->sort, limit, err)) == LX_OK)
        rc = show(&v, cli, args, err);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_runs = {
    .name = "runs",
    .summary = "list the recorded runs, newest first, or those that a query asks for",
    .usage = "[QUERY]",
    .help = "Without --columns a run is shown by its status, steps and loss and by what "
            "differs among\n"
            "the listed ones. A query compares fields (lx runs --fields): = != < <= > >= "
            "~ (contains),\n"
            "in (a, b), and, or, not, parentheses. Dates are 2026-11-01, today or -3d, "
            "durations 90s,\n"
            "5m, 2h30m. A run without a value matches only != and = none. Texts with "
            "spaces go in\n"
            "quotes. `lx show RUN` tells all about one run; the first digits of its id "
            "are enough.\n"
            "\n"
            "Examples:\n"
            "  lx runs\n"
            "  lx runs 'loss < 0.06 and dim = 4 and dataset ~ hifumi' --sort -started\n"
            "  lx runs 'status != finished and started > -7d' --columns "
            "id,name,status,message\n"
            "  lx runs 'tag = good' --sort min_loss -n 5 --csv\n",
    .options = options,
    .args_size = sizeof(struct runs_args),
    .run = run,
};
