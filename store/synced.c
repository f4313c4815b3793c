/* What is known of a remote: a file of lines "RUN COMMIT MARK" beside the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/internal.h"
#include "store/remote.h"

typedef struct known {
    lx_remote_version version;
    char *mark; /* "" = merged from there; "=RUN" = merged into the run of another id */
} known;

struct lx_synced {
    lx_str path;
    known *items;
    size_t n, capacity;
    bool is_changed;
};

static int add(lx_synced *s, const lx_remote_version *v, const char *mark, lx_error *err)
{
    if (lx_grow(&s->items, &s->capacity, s->n + 1, sizeof *s->items) < 0 ||
        !(s->items[s->n].mark = lx_strdup(mark)))
        return lx_oom(err);
    s->items[s->n++].version = *v;
    return LX_OK;
}

/* Lines that are none are passed over: nothing but time is lost with them. */
static int read_lines(lx_synced *s, const char *text, lx_error *err)
{
    int rc = LX_OK;
    while (rc == LX_OK && *text) {
        size_t n = strcspn(text, "\n");
        lx_remote_version v;
        char line[256], mark[160] = "";
        if (n < sizeof line) {
            memcpy(line, text, n);
            line[n] = '\0';
            if (sscanf(line, "%16[0-9a-f] %40[0-9a-f] %159s", v.run, v.commit, mark) >=
                    2 &&
                strlen(v.run) == 16 && strlen(v.commit) == 40)
                rc = add(s, &v, mark, err);
        }
        text += n + (text[n] == '\n');
    }
    return rc;
}

static bool is_merged(const char *mark)
{
    return !*mark || *mark == '=';
}

/* What is said of runs that are not here any more does not hold: they may come again. */
static int forget_absent(lx_synced *s, lx_store *store, lx_error *err)
{
    size_t kept = 0;
    int rc = LX_OK;

    for (size_t i = 0; i < s->n; i++) {
        known *k = &s->items[i];
        int64_t is_here = 1;
        if (rc == LX_OK)
            rc = store__number(&is_here, 0, store, err, "SELECT 1 FROM run WHERE id=?1",
                               "t", *k->mark == '=' ? k->mark + 1 : k->version.run);
        if (is_here)
            s->items[kept++] = *k;
        else
            lx_free(k->mark);
    }
    s->n = kept;
    return rc;
}

int lx_synced_open(lx_synced **out, lx_store *store, const char *url, lx_error *err)
{
    lx_synced *s = lx_calloc(1, sizeof *s);
    lx_hash hash = lx_sha256_of(url, strlen(url));
    char hex[LX_HASH_HEX + 1];
    lx_str text = LX_STR_INIT;
    int rc = LX_OK;

    *out = NULL;
    if (!s)
        return lx_oom(err);
    lx_hash_hex(hex, &hash);
    lx_str_printf(&s->path, "%s/remotes/%.32s", lx_store_path(store), hex);
    if ((rc = lx_str_check(&s->path, err)) == LX_OK && lx_file_exists(s->path.data) &&
        lx_file_read(&text, s->path.data, 256 << 20, NULL) == LX_OK)
        rc = read_lines(s, lx_str_text(&text), err);
    if (rc == LX_OK)
        rc = forget_absent(s, store, err);
    lx_str_release(&text);
    if (rc < 0)
        lx_synced_close(s);
    else
        *out = s;
    return rc;
}

void lx_synced_close(lx_synced *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        lx_free(s->items[i].mark);
    lx_free(s->items);
    lx_str_release(&s->path);
    lx_free(s);
}

static bool is_of(const known *k, const lx_remote_version *v)
{
    return strcmp(k->version.commit, v->commit) == 0 &&
           strcmp(k->version.run, v->run) == 0;
}

bool lx_synced_has(const lx_synced *s, const lx_remote_version *v)
{
    for (size_t i = s->n; i-- > 0;)
        if (is_of(&s->items[i], v))
            return true;
    return false;
}

/* One that came from elsewhere was merged before it got a mark. */
bool lx_synced_is_own(const lx_synced *s, const lx_remote_version *v)
{
    bool is_own = false;
    for (size_t i = 0; i < s->n; i++)
        if (is_of(&s->items[i], v)) {
            if (is_merged(s->items[i].mark))
                return false;
            is_own = true;
        }
    return is_own;
}

const char *lx_synced_pushed(const lx_synced *s, const char *run, const char *mark)
{
    for (size_t i = s->n; i-- > 0;) /* the newest is the last */
        if (!is_merged(s->items[i].mark) && strcmp(s->items[i].version.run, run) == 0)
            return strcmp(s->items[i].mark, mark) == 0 ? s->items[i].version.commit
                                                       : NULL;
    return NULL;
}

int lx_synced_add(lx_synced *s, const lx_remote_version *v, const char *mark,
                  lx_error *err)
{
    s->is_changed = true;
    return add(s, v, mark, err);
}

int lx_synced_add_merged(lx_synced *s, const lx_remote_version *v, const char *into,
                         lx_error *err)
{
    char mark[32] = "";

    if (strcmp(into, v->run) != 0)
        snprintf(mark, sizeof mark, "=%.16s", into);
    return lx_synced_add(s, v, mark, err);
}

int lx_synced_save(lx_synced *s, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    char *slash;
    int rc = LX_OK;

    if (!s->is_changed)
        return LX_OK;
    for (size_t i = 0; i < s->n; i++)
        lx_str_printf(&text, "%s %s %s\n", s->items[i].version.run,
                      s->items[i].version.commit, s->items[i].mark);
    slash = strrchr(s->path.data, '/');
    *slash = '\0';
    rc = lx_make_dirs(s->path.data, err);
    *slash = '/';
    if (rc == LX_OK && (rc = lx_str_check(&text, err)) == LX_OK)
        rc = lx_file_write(s->path.data, lx_str_text(&text), text.len, err);
    lx_str_release(&text);
    s->is_changed = rc < 0;
    return rc;
}

/* "s2": what was scrubbed once by less than what is scrubbed now (texts that are not UTF-8) is looked at again. */
int lx_transfer_mark(const char **out, lx_store *store, const lx_run_row *run,
                     bool is_scrubbed, lx_arena *arena, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, store, err,
                          "SELECT (SELECT count(*) FROM remark WHERE run=?1),"
                          " (SELECT coalesce(max(seq), 0) FROM remark WHERE run=?1),"
                          " (SELECT coalesce(max(seq), 0) FROM artifact WHERE run=?1)",
                          "i", run->seq);

    if (store__row(&rc, store, stmt, err)) {
        *out = lx_arena_printf(arena, "%s,%lld,%lld,%lld,%lld,%.6f",
                               is_scrubbed ? "s2" : "k", (long long)run->n_points,
                               (long long)sqlite3_column_int64(stmt, 0),
                               (long long)sqlite3_column_int64(stmt, 1),
                               (long long)sqlite3_column_int64(stmt, 2), run->ended);
        rc = *out ? LX_OK : lx_oom(err);
    }
    store__finish(store, stmt);
    return rc;
}
