#include "cmd/inspect_stored.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "cmd/report_collect.h"
#include "src/base/file.h"
#include "store/query.h"

/* ---- finding ------------------------------------------------------------- */

typedef struct rows {
    lx_artifact_row items[2];
    size_t count; /* beyond two they are only counted */
    lx_arena *arena;
} rows;

static int take_row(void *context, int n_columns, const char *const *columns,
                    const lx_sql_value *values, lx_error *err)
{
    rows *r = context;
    lx_artifact_row *row;

    if (!values)
        return LX_OK;
    if (r->count++ >= 2)
        return LX_OK;
    row = &r->items[r->count - 1];
    row->object = lx_arena_strndup(r->arena, values[0].bytes, values[0].n);
    row->name = lx_arena_strndup(r->arena, values[1].bytes, values[1].n);
    row->path = "";
    row->is_kept = true;
    return row->object && row->name ? LX_OK : lx_oom(err);
}

static bool is_hash(const char *word)
{
    size_t n = strspn(word, "0123456789abcdefABCDEF");
    return n >= 6 && n <= LX_HASH_HEX && !word[n];
}

static int find_object(lx_artifact_row *out, lx_cli *cli, lx_store *store,
                       const char *word, lx_error *err)
{
    lx_sql_value arg = {.type = LX_SQL_TEXT, .bytes = word, .n = strlen(word)};
    rows r = {.arena = cli->arena};
    int rc = lx_store_sql(
        store,
        "select sha256, name from artifacts where sha256 like ?1 || '%' group by "
        "sha256",
        &arg, 1, take_row, &r, err);

    if (rc < 0)
        return rc;
    if (!r.count)
        return lx_fail(err, LX_ENOTFOUND,
                       "%s: no file, no run and no artifact of the store", word);
    if (r.count > 1)
        return lx_fail(err, LX_EUSAGE, "%s: %zu artifacts begin so; give more digits",
                       word, r.count);
    *out = r.items[0];
    return LX_OK;
}

/* The last LoRA of the run, or the artifact of that name. */
static int find_artifact(lx_artifact_row *out, lx_cli *cli, lx_store *store,
                         const lx_run_row *run, const char *name, lx_error *err)
{
    const lx_artifact_row *found = NULL;
    lx_artifact_row *all;
    size_t n, n_loras = 0;
    int rc = lx_query_artifacts(&all, &n, store, run, cli->arena, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const bool is_lora = strcmp(all[i].role, "lora") == 0;
        n_loras += is_lora;
        if (name ? strcmp(all[i].name, name) == 0 : is_lora)
            found = &all[i];
    }
    if (!found)
        return name ? lx_fail(err, LX_ENOTFOUND,
                              "run %.10s has no file \"%s\" (lx show lists them)",
                              run->id, name)
                    : lx_fail(err, LX_ENOTFOUND, "run %.10s has no LoRA", run->id);
    if (!name && n_loras > 1 && !cli->is_quiet)
        lx_message(
            cli, "run %.10s has %zu LoRAs, this is the last: %.10s:NAME names another\n",
            run->id, n_loras, run->id);
    *out = *found;
    return LX_OK;
}

static int find(lx_artifact_row *out, lx_cli *cli, lx_store *store, const char *word,
                lx_error *err)
{
    const char *colon = strchr(word, ':');
    const char *name = colon ? colon + 1 : NULL;
    const char *run_name =
        colon ? lx_arena_strndup(cli->arena, word, (size_t)(colon - word)) : word;
    lx_run_row run;
    int rc;

    if (!run_name)
        return lx_oom(err);
    rc = lx_query_find(&run, store, run_name, cli->arena, err);
    if (rc == LX_OK)
        return find_artifact(out, cli, store, &run, name, err);
    if (rc != LX_ENOTFOUND)
        return rc;
    return is_hash(word)
               ? find_object(out, cli, store, word, err)
               : lx_fail(err, LX_ENOTFOUND,
                         "%s: no such file, and no run of the store is called so", word);
}

/* ---- showing ------------------------------------------------------------- */

static int show(lx_cli *cli, const lx_inspect_options *options, const char *path,
                const char *shown, lx_error *err)
{
    lx_inspected x;
    int rc;

    if ((rc = lx_inspected_open(&x, cli, options, path, shown, err)) == LX_OK)
        rc = lx_inspect_show(cli, options, &x, err);
    lx_inspected_close(&x);
    return rc;
}

static int show_artifact(lx_cli *cli, const lx_inspect_options *options, lx_store *store,
                         const lx_artifact_row *a, lx_error *err)
{
    const char *shown =
        lx_arena_printf(cli->arena, "%s (object %.12s)", a->name, a->object);
    lx_str bytes = LX_STR_INIT;
    lx_hash hash;
    char path[64];
    int fd = -1, rc;

    if (!shown)
        return lx_oom(err);
    if (!lx_hash_from_hex(&hash, a->object))
        return lx_fail(err, LX_EFORMAT, "%s: no object", a->object);
    if (!a->is_kept)
        return *a->path ? show(cli, options, a->path, shown, err)
                        : lx_fail(err, LX_ENOTFOUND, "%s: its bytes are not in the store",
                                  a->name);
    if ((rc = lx_object_get(&bytes, store, &hash, err)) == LX_OK &&
        (rc = lx_memory_file(&fd, path, bytes.data, bytes.len, err)) == LX_OK)
        rc = show(cli, options, path, shown, err);
    if (fd >= 0)
        close(fd);
    lx_str_release(&bytes);
    return rc;
}

int lx_inspect_stored(lx_cli *cli, const lx_inspect_options *options, const char *word,
                      lx_error *err)
{
    lx_artifact_row artifact = {0};
    lx_store *store = NULL;
    lx_error problem;
    int rc;

    if ((rc = lx_store_open(&store, cli->store_path, true, &problem)) < 0)
        return rc == LX_ENOMEM || rc == LX_EIO
                   ? lx_fail_as(err, rc, &problem)
                   : lx_fail(err, LX_ENOTFOUND,
                             "%s: no such file (and no store to look in)", word);
    if ((rc = find(&artifact, cli, store, word, err)) == LX_OK)
        rc = show_artifact(cli, options, store, &artifact, err);
    lx_store_close(store);
    return rc;
}

const char *lx_inspect_stored_path(lx_cli *cli, const char *word)
{
    lx_cli quiet = *cli; /* which of several files it is will be told when it is shown */
    lx_artifact_row artifact = {0};
    const char *path = NULL;
    lx_store *store = NULL;
    lx_error problem;

    quiet.is_quiet = true;
    if (lx_store_open(&store, cli->store_path, true, NULL) < 0)
        return NULL;
    if (find(&artifact, &quiet, store, word, &problem) == LX_OK && !artifact.is_kept &&
        *artifact.path)
        path = artifact.path;
    lx_store_close(store);
    return path;
}

/* ---- of a picture -------------------------------------------------------- */

/* AutoV3 is the beginning of the tensors' hash, AutoV2 that of the file's. */
static int tell_row(void *context, int n_columns, const char *const *columns,
                    const lx_sql_value *values, lx_error *err)
{
    lx_cli *cli = context;
    char *line;

    if (!values)
        return LX_OK;
    line =
        lx_arena_printf(cli->arena, "%.*s of run %.*s", (int)values[0].n, values[0].bytes,
                        (int)(values[1].n > 10 ? 10 : values[1].n), values[1].bytes);
    lx_print(cli, "  %-16s %s\n", "LoRA found", lx_safe(cli, line ? line : "?"));
    return LX_OK;
}

void lx_inspect_picture_loras(lx_cli *cli, const char *hashes)
{
    lx_store *store = NULL;
    const char *p = hashes;

    if (lx_store_open(&store, cli->store_path, true, NULL) < 0)
        return;
    while (*p) {
        size_t n = strspn(p, "0123456789abcdefABCDEF");
        if (n >= 8 && (p == hashes || !isalnum((unsigned char)p[-1])) &&
            !isalnum((unsigned char)p[n])) {
            lx_sql_value arg = {.type = LX_SQL_TEXT, .bytes = p, .n = n};
            lx_store_sql(
                store,
                "select distinct name, run from artifacts where sha256 like ?1 || '%' or "
                "tensor_hash like ?1 || '%' limit 3",
                &arg, 1, tell_row, cli, NULL);
        }
        p += n ? n : 1;
    }
    lx_store_close(store);
}
