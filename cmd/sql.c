/* lx sql - ask the store in SQL */
#include <string.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "src/base/json.h"
#include "src/report/table.h"
#include "store/query.h"

struct sql_args {
    bool json, csv;
    lx_words words;
};

static const lx_option options[] = {
    LX_FLAG(struct sql_args, json, 'j', "json", "print a JSON list of objects"),
    LX_FLAG(struct sql_args, csv, 0, "csv", "print CSV"),
    LX_ARGS(struct sql_args, words, "SQL",
            "one statement that reads; further words fill ?1, ?2 ..."),
    LX_OPTION_END,
};

enum { MOST_CELLS = 10 * 1000 * 1000 };

/* All that came, as texts for a table or as JSON. */
typedef struct answer {
    lx_cli *cli;
    bool is_json;
    cJSON *list;
    lx_table_column *columns;
    const char **cells;
    size_t n_columns, n_rows, capacity;
} answer;

static const char *hex(lx_arena *arena, const lx_sql_value *v)
{
    char *text = lx_arena_alloc(arena, 2 * v->n + 1);

    for (size_t i = 0; text && i < v->n; i++) {
        static const char digits[] = "0123456789abcdef";
        text[2 * i] = digits[(unsigned char)v->bytes[i] >> 4];
        text[2 * i + 1] = digits[(unsigned char)v->bytes[i] & 15];
    }
    if (text)
        text[2 * v->n] = '\0';
    return text;
}

static const char *text_of(lx_arena *arena, const lx_sql_value *v)
{
    char number[32];

    switch (v->type) {
    case LX_SQL_INTEGER:
        return lx_arena_printf(arena, "%lld", (long long)v->integer);
    case LX_SQL_REAL:
        lx_format_double(number, v->real);
        return lx_arena_strdup(arena, number);
    case LX_SQL_TEXT:
        return lx_arena_strndup(arena, v->bytes, v->n);
    case LX_SQL_BLOB:
        return hex(arena, v);
    default:
        return NULL;
    }
}

static cJSON *json_of(lx_arena *arena, const lx_sql_value *v)
{
    const char *text;

    switch (v->type) {
    case LX_SQL_INTEGER: /* beyond 2^53 a double would not hold it */
        if (v->integer > (1LL << 53) || v->integer < -(1LL << 53))
            break;
        return cJSON_CreateNumber((double)v->integer);
    case LX_SQL_REAL:
        return cJSON_CreateNumber(v->real);
    case LX_SQL_NULL:
        return cJSON_CreateNull();
    default:
        break;
    }
    text = text_of(arena, v);
    return text ? cJSON_CreateString(text) : NULL;
}

static bool is_taken(const answer *a, size_t n, const char *title)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(a->columns[i].title, title) == 0)
            return true;
    return false;
}

/* An object has a key once: the second "name" is "name_2", or the next that is free. */
static const char *key_of(const answer *a, size_t n, const char *name)
{
    const char *title = lx_arena_strdup(a->cli->arena, name);

    for (int number = 2; title && is_taken(a, n, title); number++)
        title = lx_arena_printf(a->cli->arena, "%s_%d", name, number);
    return title;
}

static int take_columns(answer *a, int n, const char *const *names, lx_error *err)
{
    a->n_columns = (size_t)n;
    if (!(a->columns = lx_arena_calloc(a->cli->arena, (size_t)n + 1, sizeof *a->columns)))
        return lx_oom(err);
    for (int i = 0; i < n; i++) {
        const char *title = a->is_json ? key_of(a, (size_t)i, names[i])
                                       : lx_arena_strdup(a->cli->arena, names[i]);
        if (!title)
            return lx_oom(err);
        a->columns[i] = (lx_table_column){title, true, true};
    }
    return LX_OK;
}

static int grow(answer *a, lx_error *err)
{
    size_t used = a->n_rows * a->n_columns, needed = used + a->n_columns;
    const char **more;

    if (needed <= a->capacity)
        return LX_OK;
    if (needed > MOST_CELLS)
        return lx_fail(err, LX_ELIMIT, "more than %d values; add a limit", MOST_CELLS);
    a->capacity = 2 * needed + 64;
    if (!(more = lx_arena_calloc(a->cli->arena, a->capacity, sizeof *more)))
        return lx_oom(err);
    if (used)
        memcpy(more, a->cells, used * sizeof *more);
    a->cells = more;
    return LX_OK;
}

static int take_row(void *context, int n, const char *const *names,
                    const lx_sql_value *values, lx_error *err)
{
    answer *a = context;
    cJSON *o = NULL;
    int rc;

    if (!values)
        return take_columns(a, n, names, err);
    if (a->is_json) {
        cJSON_AddItemToArray(a->list, o = cJSON_CreateObject());
        for (int i = 0; i < n; i++)
            cJSON_AddItemToObject(o, a->columns[i].title, json_of(a->cli->arena, &values[i]));
        return LX_OK;
    }
    if ((rc = grow(a, err)) < 0)
        return rc;
    for (int i = 0; i < n; i++) {
        a->cells[a->n_rows * a->n_columns + (size_t)i] =
            text_of(a->cli->arena, &values[i]);
        if (values[i].type == LX_SQL_TEXT || values[i].type == LX_SQL_BLOB)
            a->columns[i].is_number = false;
    }
    a->n_rows++;
    return LX_OK;
}

static int print_answer(const answer *a, bool is_csv, lx_error *err)
{
    const lx_table table = {a->columns, a->n_columns, a->n_rows, a->cells};
    lx_str out = LX_STR_INIT;
    lx_cli *cli = a->cli;
    int rc;

    if (a->is_json)
        rc = lx_json_pretty(&out, a->list, err);
    else if (is_csv)
        rc = lx_table_csv(&out, &table, err);
    else
        rc = lx_table_text(&out, &table, isatty(fileno(cli->out)) ? cli->columns : 0, 0,
                           err);
    if (rc == LX_OK)
        lx_print(cli, "%s%s", lx_str_text(&out), a->is_json ? "\n" : "");
    lx_str_release(&out);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct sql_args *args = args_;
    size_t n_args = args->words.count ? args->words.count - 1 : 0;
    lx_sql_value *values = lx_arena_calloc(cli->arena, n_args + 1, sizeof *values);
    answer a = {.cli = cli, .is_json = args->json};
    lx_store *store = NULL;
    int rc;

    if (!args->words.count || (args->json && args->csv))
        return lx_fail(err, LX_EUSAGE,
                       args->words.count
                           ? "--json or --csv, not both"
                           : "a statement is wanted, as in 'select id, loss from runs'");
    if (!values)
        return lx_oom(err);
    for (size_t i = 0; i < n_args; i++)
        values[i] = lx_sql_word(args->words.items[i + 1]);
    if ((rc = lx_store_open(&store, cli->store_path, true, err)) < 0)
        return rc;
    a.list = args->json ? cJSON_CreateArray() : NULL;
    rc =
        lx_store_sql(store, args->words.items[0], values, (int)n_args, take_row, &a, err);
    if (rc == LX_OK)
        rc = print_answer(&a, args->csv, err);
    cJSON_Delete(a.list);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_sql = {
    .name = "sql",
    .summary = "ask the store of runs in SQL",
    .usage = "SQL [VALUE...]",
    .help =
        "One statement that reads, on a connection that can neither write, attach nor "
        "load. The\n"
        "views are described in docs/sql.md: runs, flags, curves, tail, artifacts, tags, "
        "notes,\n"
        "facts, remarks. Words behind the statement fill ?1, ?2 ..., so that no text "
        "needs quoting:\n"
        "4, -1 and 0.06 as numbers, all else (007, 1e5, 1.10) as texts, which ?1 + 0 "
        "makes numbers.\n"
        "With --json the second of two columns called name is name_2.\n"
        "\n"
        "Examples:\n"
        "  lx sql 'select id, name, loss from runs order by loss limit 5'\n"
        "  lx sql 'select key, value from flags where run = ?1' 4fa3b2c1d0e9f887 --csv\n"
        "  lx sql \"select run from flags where key = 'learning_rate' and value < ?1 + "
        "0\" 1e-4\n",
    .options = options,
    .args_size = sizeof(struct sql_args),
    .run = run,
};
