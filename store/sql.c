/* `lx sql`: one statement that reads, on a connection that can do nothing else. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "store/internal.h"
#include "store/query.h"

/* Reading and calling functions; no attaching, no pragma that sets, no change of any
 * kind. */
static int allow(void *context, int action, const char *a, const char *b,
                 const char *database, const char *by)
{
    (void)context;
    (void)database;
    (void)by;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return strcmp(b, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_PRAGMA:
        return strcmp(a, "table_info") == 0 || strcmp(a, "table_xinfo") == 0 ||
                       strcmp(a, "data_version") == 0
                   ? SQLITE_OK
                   : SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

/* In the store's view, name and loss are coalesce(): SQLite compares such a column with a
 * word as it is, and every number is less than any text. */
static const char typed_views[] =
    "PRAGMA query_only=0;"
    "CREATE TEMP VIEW runs AS"
    " SELECT seq, id, kind, CAST(name AS TEXT) AS name, grp, started, ended, status,"
    " message, seed, spec, origin, parent, is_pinned, is_trashed, n_points, last_step,"
    " CAST(loss AS REAL) AS loss FROM main.runs;"
    "PRAGMA query_only=1";

/* What is neither the machine's nor the store's fault is the statement's. */
static int fail_sql(lx_store *s, lx_error *err)
{
    switch (sqlite3_errcode(s->db) & 0xff) {
    case SQLITE_NOMEM:
    case SQLITE_BUSY:
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_INTERRUPT:
        return store__sql_error(s, "reading", err);
    default:
        return lx_fail(err, LX_EUSAGE, "%s", sqlite3_errmsg(s->db));
    }
}

lx_sql_value lx_sql_word(const char *word)
{
    lx_sql_value text = {.type = LX_SQL_TEXT, .bytes = word, .n = strlen(word)};
    lx_sql_value integer = {.type = LX_SQL_INTEGER}, real = {.type = LX_SQL_REAL};
    char printed[40], *end;

    if (!text.n || strspn(word, "-0123456789.e+") != text.n)
        return text;
    errno = 0;
    integer.integer = strtoll(word, &end, 10);
    sqlite3_snprintf(sizeof printed, printed, "%lld", (long long)integer.integer);
    if (!errno && strcmp(printed, word) == 0)
        return integer;
    real.real = strtod(word, &end);
    sqlite3_snprintf(sizeof printed, printed, "%!.15g", real.real);
    return !*end && isfinite(real.real) && strcmp(printed, word) == 0 ? real : text;
}

static int bind_values(lx_store *s, sqlite3_stmt *stmt, const lx_sql_value *args, int n,
                       lx_error *err)
{
    const int wanted = sqlite3_bind_parameter_count(stmt);
    int rc = SQLITE_OK;

    if (n && !wanted)
        return lx_fail(err, LX_EUSAGE, "the statement has no ?1 to be filled, and %d value%s given", n,
                       n == 1 ? " is" : "s are");
    if (n != wanted)
        return lx_fail(err, LX_EUSAGE, "the statement wants %d value%s (?1, ?2 ...), %d %s given", wanted,
                       wanted == 1 ? "" : "s", n, n == 1 ? "is" : "are");
    for (int i = 0; i < n && rc == SQLITE_OK; i++) {
        const lx_sql_value *v = &args[i];
        switch (v->type) {
        case LX_SQL_INTEGER:
            rc = sqlite3_bind_int64(stmt, i + 1, v->integer);
            break;
        case LX_SQL_REAL:
            rc = sqlite3_bind_double(stmt, i + 1, v->real);
            break;
        case LX_SQL_TEXT:
            rc = sqlite3_bind_text64(stmt, i + 1, v->bytes, v->n, SQLITE_STATIC,
                                     SQLITE_UTF8);
            break;
        case LX_SQL_BLOB:
            rc = sqlite3_bind_blob64(stmt, i + 1, v->bytes, v->n, SQLITE_STATIC);
            break;
        default:
            rc = sqlite3_bind_null(stmt, i + 1);
        }
    }
    return rc == SQLITE_OK ? LX_OK : fail_sql(s, err);
}

static int get_value(lx_sql_value *out, sqlite3_stmt *stmt, int column, lx_error *err)
{
    *out = (lx_sql_value){.type = LX_SQL_NULL};
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        out->type = LX_SQL_INTEGER;
        out->integer = sqlite3_column_int64(stmt, column);
        out->real = (double)out->integer;
        return LX_OK;
    case SQLITE_FLOAT:
        out->type = LX_SQL_REAL;
        out->real = sqlite3_column_double(stmt, column);
        return LX_OK;
    case SQLITE_TEXT:
        out->type = LX_SQL_TEXT;
        out->bytes = (const char *)sqlite3_column_text(stmt, column);
        break;
    case SQLITE_BLOB:
        out->type = LX_SQL_BLOB;
        out->bytes = sqlite3_column_blob(stmt, column);
        break;
    default:
        return LX_OK;
    }
    out->n = (size_t)sqlite3_column_bytes(stmt, column);
    if (!out->bytes) {
        if (out->type == LX_SQL_TEXT) /* there was no room for the NUL behind it */
            return lx_oom(err);
        out->bytes = ""; /* nothing; or no room for zeros, which the next step tells */
        out->n = 0;
    }
    return LX_OK;
}

static int give_rows(lx_store *s, sqlite3_stmt *stmt, lx_sql_row row, void *context,
                     lx_error *err)
{
    int n = sqlite3_column_count(stmt), rc = LX_OK, got;
    const char **names = lx_calloc((size_t)n, sizeof *names);
    lx_sql_value *values = lx_calloc((size_t)n, sizeof *values);

    if (!names || !values)
        rc = lx_oom(err);
    for (int i = 0; i < n && rc == LX_OK; i++)
        if (!(names[i] = sqlite3_column_name(stmt, i)))
            rc = lx_oom(err);
    if (rc == LX_OK)
        rc = row(context, n, names, NULL, err);
    while (rc == LX_OK && (got = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (got != SQLITE_ROW) {
            rc = fail_sql(s, err);
            break;
        }
        for (int i = 0; i < n && rc == LX_OK; i++)
            rc = get_value(&values[i], stmt, i, err);
        if (rc == LX_OK)
            rc = row(context, n, names, values, err);
    }
    lx_free(names);
    lx_free(values);
    return rc;
}

/* Nothing but white space, semicolons and remarks. One that is not closed goes to the end, as in SQLite. */
static bool is_blank(const char *text)
{
    for (;;) {
        text += strspn(text, " \t\r\n\f;");
        if (text[0] == '-' && text[1] == '-') {
            text += strcspn(text, "\n");
        } else if (text[0] == '/' && text[1] == '*') {
            const char *end = strstr(text + 2, "*/");
            text = end ? end + 2 : text + strlen(text);
        } else {
            return !*text;
        }
    }
}

static int run_sql(lx_store *s, const char *sql, const lx_sql_value *args, int n_args,
                   lx_sql_row row, void *context, lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    const char *rest = "";
    int rc;

    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, &rest) != SQLITE_OK)
        return fail_sql(s, err);
    if (!stmt)
        rc = lx_fail(err, LX_EUSAGE, "no statement");
    else if (!is_blank(rest))
        rc = lx_fail(err, LX_EUSAGE,
                     "one statement at a time; after the first comes: %.60s", rest);
    else if (!sqlite3_stmt_readonly(stmt))
        rc = lx_fail(err, LX_EUSAGE, "only statements that read: SELECT ...");
    else if ((rc = bind_values(s, stmt, args, n_args, err)) == LX_OK)
        rc = give_rows(s, stmt, row, context, err);
    sqlite3_finalize(stmt);
    return rc;
}

int lx_store_sql(lx_store *store, const char *sql, const lx_sql_value *args, int n_args,
                 lx_sql_row row, void *context, lx_error *err)
{
    lx_store *reader = NULL;
    int rc = lx_store_open(&reader, store->path, true, err);
    if (rc < 0)
        return rc;
    if ((rc = store__exec(reader, typed_views, err)) == LX_OK) {
        sqlite3_set_authorizer(reader->db, allow, NULL);
        rc = run_sql(reader, sql, args, n_args, row, context, err);
    }
    lx_store_close(reader);
    return rc;
}
