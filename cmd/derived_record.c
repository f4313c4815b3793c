/* A file made out of others as a run: what went in, what came out, and which runs the inputs are from. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/derived.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/query.h"
#include "src/base/scrub.h"
#include "store/store.h"

/* The run that wrote a file of these bytes; "" when none is known. */
static int run_of(const char **id, lx_arena *arena, lx_store *store, const char *hex, lx_error *err)
{
    lx_artifact_row *rows;
    lx_run_row row;
    lx_hash hash;
    size_t n = 0;
    int rc = LX_OK;

    *id = "";
    if (hex && lx_hash_from_hex(&hash, hex))
        rc = lx_query_artifacts_of(&rows, &n, store, &hash, NULL, arena, err);
    for (size_t i = 0; i < n && rc == LX_OK && !**id; i++) {
        rc = lx_query_run(&row, store, rows[i].run, arena, err);
        *id = rc == LX_OK ? row.id : "";
        rc = rc == LX_ENOTFOUND ? LX_OK : rc;
    }
    return rc;
}

/* The sources with the names of their files and the runs that they are from. */
static int sources_text(const char **out, const lx_derived *d, lx_store *store, lx_error *err)
{
    cJSON *list = cJSON_Duplicate(d->sources, true), *source;
    size_t i = 0;
    int rc = LX_OK;

    cJSON_ArrayForEach(source, list)
    {
        const char *run;
        if ((rc = run_of(&run, d->cli->arena, store, lx_json_text(source, "sha256"), err)) < 0)
            break;
        cJSON_AddStringToObject(source, "file", lx_path_base(d->paths[i++]));
        if (*run)
            cJSON_AddStringToObject(source, "run", run);
    }
    *out = lx_json_in_arena(list, d->cli->arena);
    cJSON_Delete(list);
    return rc < 0 ? rc : *out ? LX_OK : lx_oom(err);
}

/* Everything that determines the bytes; the flags are the same without the hashes. */
static int make_spec(lx_run_start *start, const lx_derived *d, lx_error *err)
{
    cJSON *root = cJSON_Duplicate(d->settings, true);
    char hex[LX_HASH_HEX + 1];

    start->flags = start->flags_given = lx_json_in_arena(root, d->cli->arena);
    cJSON_AddItemToObject(root, "sources", cJSON_Duplicate(d->sources, true));
    cJSON_AddNumberToObject(root, "arithmetic", d->arithmetic);
    if (d->base) {
        lx_hash_hex(hex, d->base_hash);
        cJSON_AddStringToObject(root, "base_model", hex);
    }
    start->spec = lx_json_in_arena(root, d->cli->arena);
    cJSON_Delete(root);
    return start->flags && start->spec ? LX_OK : lx_oom(err);
}

static int make_base(lx_run_start *start, const lx_derived *d, lx_error *err)
{
    char hex[LX_HASH_HEX + 1];
    cJSON *root;

    if (!d->base)
        return LX_OK;
    root = cJSON_CreateObject();
    lx_hash_hex(hex, d->base_hash);
    cJSON_AddStringToObject(root, "path", d->base);
    cJSON_AddStringToObject(root, "sha256", hex);
    start->base_model = lx_json_in_arena(root, d->cli->arena);
    cJSON_Delete(root);
    return start->base_model ? LX_OK : lx_oom(err);
}

static int begin(lx_run **out, lx_store *store, const lx_derived *d, lx_error *err)
{
    lx_cli *cli = d->cli;
    const char **words =
        lx_arena_calloc(cli->arena, (size_t)cli->argc + 3, sizeof *words);
    lx_run_start start = {
        .name = d->name, .kind = d->kind, .seed = d->seed, .has_seed = true};
    lx_str line = LX_STR_INIT;
    char folder[4096];
    int rc;

    if (!words)
        return lx_oom(err);
    words[0] = "lx";
    words[1] = d->kind;
    memcpy(words + 2, cli->argv, (size_t)cli->argc * sizeof *words);
    lx_scrub_command(&line, cli->argc + 2, words);
    if ((rc = lx_str_check(&line, err)) < 0 || (rc = make_spec(&start, d, err)) < 0 ||
        (rc = make_base(&start, d, err)) < 0)
        goto done;
    start.command_line = lx_str_text(&line);
    start.work_dir = getcwd(folder, sizeof folder);
    rc = lx_run_begin(out, store, &start, err);
done:
    lx_str_release(&line);
    return rc;
}

/* The file stays where it is; the store knows it by its hashes. (Inputs are a fact and no artifacts: the run of
 * a file is the one that wrote it.) */
static int attach(lx_store *store, const lx_run *run, const lx_derived_output *o,
                  lx_error *err)
{
    lx_hash tensors;
    lx_artifact artifact = {.role = o->role,
                            .name = lx_path_base(o->path),
                            .step = -1,
                            .path = o->path,
                            .hash = o->hash};
    struct stat info;

    if (*o->tensor_hash && lx_hash_from_hex(&tensors, o->tensor_hash))
        artifact.tensor_hash = &tensors;
    if (lx_io_get()->stat(o->path, &info) == 0)
        artifact.size = (int64_t)info.st_size;
    return lx_run_attach(NULL, store, lx_run_seq(run), &artifact, err);
}

static int put_facts(lx_store *store, const lx_run *run, const lx_derived *d,
                     lx_error *err)
{
    const char *sources, *key = lx_arena_printf(d->cli->arena, "%s.sources", d->kind);
    int rc;

    if (!key)
        return lx_oom(err);
    if ((rc = sources_text(&sources, d, store, err)) < 0)
        return rc;
    rc = lx_run_fact(store, lx_run_seq(run), key, sources, err);
    for (size_t i = 0; i < d->n_facts && rc == LX_OK; i++)
        rc = lx_run_fact(store, lx_run_seq(run), d->facts[i][0], d->facts[i][1], err);
    return rc;
}

int lx_derived_begin(lx_derived_run *out, const lx_derived *d, lx_error *err)
{
    int rc;

    *out = (lx_derived_run){0};
    if ((rc = lx_store_open(&out->store, d->cli->store_path, false, err)) == LX_OK &&
        (rc = begin(&out->run, out->store, d, err)) == LX_OK)
        rc = put_facts(out->store, out->run, d, err);
    return rc;
}

/* What came out and that the run is over, in one transaction: all of it or nothing, and one wait for the disk. */
static int finish(lx_derived_run *r, const lx_derived_output *outputs, size_t n_outputs,
                  lx_error *err)
{
    int rc = lx_store_group_begin(r->store, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n_outputs && rc == LX_OK; i++)
        rc = attach(r->store, r->run, &outputs[i], err);
    if (rc == LX_OK) {
        rc = lx_run_end(r->run, "finished", NULL, err);
        r->run = NULL; /* closed in any case */
    }
    return lx_store_group_end(r->store, rc, err);
}

int lx_derived_end(lx_derived_run *r, const lx_derived_output *outputs, size_t n_outputs,
                   int rc, lx_error *err)
{
    if (r->run && rc == LX_OK)
        rc = finish(r, outputs, n_outputs, err);
    if (r->run) /* what went wrong before counts, not what may go wrong here */
        (void)lx_run_end(r->run, "failed", err ? err->text : NULL, NULL);
    lx_store_close(r->store);
    *r = (lx_derived_run){0};
    return rc;
}

cJSON *lx_derived_source(cJSON *sources, const lx_hash *hash)
{
    cJSON *source = cJSON_CreateObject();
    char hex[LX_HASH_HEX + 1];

    lx_hash_hex(hex, hash);
    cJSON_AddStringToObject(source, "sha256", hex);
    cJSON_AddItemToArray(sources, source);
    return source;
}

int lx_derived_end_lora(lx_derived_run *run, const char *path, const lx_sealed *written,
                        int rc, lx_error *err)
{
    const lx_derived_output output = {"lora", path, &written->file, written->tensors};

    return lx_derived_end(run, &output, 1, rc, err);
}
