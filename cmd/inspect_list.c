#include "cmd/inspect_list.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cmd/inspect_html.h"
#include "src/base/json.h"
#include "src/report/table.h"

static const char usual[] = "file,what,base,rank,alpha,dtype,size,captions,rule";
static const char all[] =
    "file,what,base,family,trainer,rank,alpha,modules,unet,te,dtype,size,"
    "captions,rule,strength,proof,images,tags,steps,epoch,lr,optimizer,"
    "model,date,title,session,problem";

typedef struct list {
    lx_inspect_table *table;
    int *columns;
    size_t n_columns;
} list;

void lx_inspect_list_fields(lx_cli *cli)
{
    for (const lx_inspect_field *f = lx_inspect_fields; f->name; f++)
        lx_print(cli, "  %-10s %s\n", f->name, f->help);
    lx_print(
        cli,
        "and every key of the metadata by its name: ss_network_args, modelspec.date\n");
}

static int choose(list *l, lx_cli *cli, const lx_list_options *o, lx_error *err)
{
    const char *fields = o->html             ? lx_inspect_html_fields
                         : o->json || o->csv ? all
                                             : usual;
    int rc;

    if (o->columns)
        fields = *o->columns == '+'
                     ? lx_arena_printf(cli->arena, "%s,%s", fields, o->columns + 1)
                     : o->columns;
    if (!fields)
        return lx_oom(err);
    if ((rc = lx_inspect_table_ask(&l->columns, &l->n_columns, l->table, fields, err)) <
        0) {
        lx_within(err, "--columns");
        return rc;
    }
    if (!l->n_columns)
        return lx_fail(err, LX_EUSAGE, "--columns '%s' names no field (lx inspect --help lists them)", fields);
    for (size_t i = 0; i < l->n_columns; i++)
        if (l->columns[i] < 0)
            l->columns[i] = ~l->columns[i];
    return lx_inspect_table_choose(l->table, o->where, o->sort, err);
}

/* ---- text and CSV -------------------------------------------------------- */

static bool may_shrink(const list *l, int column)
{
    const char *title = lx_inspect_table_title(l->table, column);
    return strcmp(title, "rule") != 0 && strcmp(title, "dtype") != 0 &&
           !lx_inspect_table_is_number(l->table, column) &&
           lx_inspect_table_type(l->table, column) != LX_FIELD_TIME;
}

static int show_table(const list *l, lx_cli *cli, bool is_csv, lx_error *err)
{
    const size_t n_rows = lx_inspect_table_count(l->table);
    lx_table_column *columns = lx_arena_calloc(cli->arena, l->n_columns, sizeof *columns);
    const char **cells =
        lx_arena_calloc(cli->arena, l->n_columns * n_rows, sizeof *cells);
    lx_table table = {columns, l->n_columns, n_rows, cells};
    lx_str out = LX_STR_INIT;
    int rc;

    if (!columns || !cells)
        return lx_oom(err);
    for (size_t c = 0; c < l->n_columns; c++) {
        columns[c] =
            (lx_table_column){lx_inspect_table_title(l->table, l->columns[c]),
                              lx_inspect_table_is_number(l->table, l->columns[c]),
                              may_shrink(l, l->columns[c])};
        for (size_t r = 0; r < n_rows; r++)
            cells[r * l->n_columns + c] =
                lx_inspect_table_text(l->table, r, l->columns[c], is_csv, cli->arena);
    }
    rc = is_csv ? lx_table_csv(&out, &table, err)
                : lx_table_text(&out, &table, isatty(fileno(cli->out)) ? cli->columns : 0,
                                0, err);
    if (rc == LX_OK)
        lx_print(cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

static void show_census(const list *l, lx_cli *cli)
{
    lx_inspect_census c;

    lx_inspect_table_census(&c, l->table);
    const struct {
        size_t n;
        const char *text;
    } parts[] = {{c.n_read, "captions read in"},
                 {c.n_unread, "not read in"},
                 {c.n_partly, "read in part in"},
                 {c.n_silent, "cannot be told of"}};
    lx_print(cli, "%zu file%s: %zu LoRA%s", c.n_files, c.n_files == 1 ? "" : "s",
             c.n_loras, c.n_loras == 1 ? "" : "s");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].n)
            lx_print(cli, ", %s %zu", parts[i].text, parts[i].n);
    if (c.n_broken)
        lx_print(cli, "; %zu cannot be read", c.n_broken);
    lx_print(cli, "\n");
}

/* ---- JSON ---------------------------------------------------------------- */

static cJSON *cell_json(const list *l, size_t row, int column, lx_cli *cli)
{
    const lx_cell *cell = lx_inspect_table_cell(l->table, row, column);
    const lx_field_type type = lx_inspect_table_type(l->table, column);

    if (cell->kind == LX_CELL_NONE)
        return cJSON_CreateNull();
    if (cell->kind == LX_CELL_NUMBER && type != LX_FIELD_TIME)
        return cJSON_CreateNumber(cell->number);
    if (cell->kind == LX_CELL_TEXT && type != LX_FIELD_TEXT && type != LX_FIELD_ID &&
        !isnan(cell->number))
        return cJSON_CreateNumber(cell->number);
    return cJSON_CreateString(
        lx_inspect_table_text(l->table, row, column, true, cli->arena));
}

/* Row by row, so that no tree of all of them is held. */
static int show_json(const list *l, lx_cli *cli, lx_error *err)
{
    const size_t n = lx_inspect_table_count(l->table);
    int rc = LX_OK;

    lx_print(cli, "[");
    for (size_t r = 0; r < n && rc == LX_OK; r++) {
        cJSON *o = cJSON_CreateObject();
        lx_str text = LX_STR_INIT;
        for (size_t c = 0; c < l->n_columns; c++)
            cJSON_AddItemToObject(o, lx_inspect_table_title(l->table, l->columns[c]),
                                  cell_json(l, r, l->columns[c], cli));
        if ((rc = lx_json_pretty(&text, o, err)) == LX_OK)
            lx_print(cli, "%s\n%s", r ? "," : "", lx_str_text(&text));
        lx_str_release(&text);
        cJSON_Delete(o);
    }
    lx_print(cli, "%s]\n", n ? "\n" : "");
    return rc;
}

/* ---- the whole ----------------------------------------------------------- */

/* The first is main's to tell, as it ends; the others here. */
static int tell_broken(const list *l, lx_cli *cli, lx_error *err)
{
    enum { MOST = 20 };
    size_t n = 0;
    int rc = LX_OK;

    for (size_t i = 0; i < lx_inspect_table_count(l->table); i++) {
        const char *problem = lx_inspect_table_problem(l->table, i);
        if (!problem)
            continue;
        if (!n++) {
            rc = lx_fail(err, lx_inspect_table_code(l->table, i), "%s: %s",
                         lx_inspect_table_path(l->table, i), problem);
        } else if (n <= MOST) {
            const char *line = lx_arena_printf(
                cli->arena, "%s: %s", lx_inspect_table_path(l->table, i), problem);
            lx_message(cli, "lx inspect: %s\n", lx_safe(cli, line ? line : "?"));
        }
    }
    if (n > MOST)
        lx_message(cli,
                   "lx inspect: ... and %zu more that cannot be read (--where 'what = "
                   "broken')\n",
                   n - MOST);
    return rc;
}

int lx_inspect_list(lx_cli *cli, const lx_list_options *o, const lx_file_list *files,
                    lx_error *err)
{
    list l = {0};
    int rc = lx_inspect_table_new(&l.table, files->paths, files->count, err);

    if (rc == LX_OK && (rc = choose(&l, cli, o, err)) == LX_OK)
        rc = lx_inspect_table_read(l.table, err);
    if (rc == LX_OK && o->html)
        rc = lx_inspect_html(cli, l.table, l.columns, l.n_columns, o->html, err);
    else if (rc == LX_OK && o->json)
        rc = show_json(&l, cli, err);
    else if (rc == LX_OK && (o->csv || lx_inspect_table_count(l.table)))
        rc = show_table(&l, cli, o->csv, err);
    if (rc == LX_OK && !o->json && !o->csv && !cli->is_quiet)
        show_census(&l, cli);
    if (rc == LX_OK)
        rc = tell_broken(&l, cli, err);
    lx_inspect_table_free(l.table);
    return rc;
}
