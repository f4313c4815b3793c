/* A merge as a run: what went in, what came out, and which runs the inputs are from. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/merge.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "store/query.h"
#include "store/scrub.h"

/* Raised when the same inputs and settings give other bytes. */
enum { ARITHMETIC_VERSION = 1 };

/* The run that wrote a file of these bytes; "" when none is known. */
static const char *run_of(const lx_merge_job *j, lx_store *store, const lx_hash *hash)
{
    lx_artifact_row *rows;
    lx_run_row row;
    size_t n;

    if (lx_query_artifacts_of(&rows, &n, store, hash, NULL, j->cli->arena, NULL) < 0)
        return "";
    for (size_t i = 0; i < n; i++)
        if (lx_query_run(&row, store, rows[i].run, j->cli->arena, NULL) == LX_OK)
            return row.id;
    return "";
}

static cJSON *sources_json(const lx_merge_job *j, lx_store *store)
{
    cJSON *list = cJSON_CreateArray();

    for (size_t i = 0; i < j->n; i++) {
        const lx_merge_input *in = &j->inputs[i];
        const char *run = store ? run_of(j, store, &in->hash) : "";
        char hex[LX_HASH_HEX + 1];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        lx_hash_hex(hex, &in->hash);
        if (store)
            cJSON_AddStringToObject(o, "file", lx_path_base(in->path));
        if (*run)
            cJSON_AddStringToObject(o, "run", run);
        cJSON_AddStringToObject(o, "sha256", hex);
        cJSON_AddNumberToObject(o, "strength", in->strength);
        cJSON_AddNumberToObject(o, "text_strength", in->text_strength);
        if (in->lbw)
            cJSON_AddStringToObject(o, "lbw", in->lbw);
    }
    return list;
}

static int keep_text(const char **out, const cJSON *value, lx_arena *arena, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc = lx_json_canonical(&text, value, err);

    if (rc == LX_OK && !(*out = lx_arena_strdup(arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    return rc;
}

static const char *rank_text(const lx_merge_job *j)
{
    const lx_merge_options *o = &j->options;

    switch (o->rank_rule) {
    case LX_RANK_FIXED:
        return o->conv_rank ? lx_arena_printf(j->cli->arena, "%zu, convolutions %zu",
                                              o->rank, o->conv_rank)
                            : lx_arena_printf(j->cli->arena, "%zu", o->rank);
    case LX_RANK_ERROR:
        return lx_arena_printf(j->cli->arena, "error %g", o->error);
    default:
        return o->rank_rule == LX_RANK_EXACT ? "exact" : "equal";
    }
}

/* Everything that determines the bytes; the flags are the same without the hashes. */
static int make_spec(const char **spec, const char **flags, const lx_merge_job *j,
                     lx_error *err)
{
    cJSON *root = cJSON_CreateObject();
    char hex[LX_HASH_HEX + 1];
    int rc;

    cJSON_AddStringToObject(root, "method", lx_merge_method_names[j->options.method]);
    cJSON_AddStringToObject(root, "rank", rank_text(j));
    cJSON_AddStringToObject(root, "save_precision",
                            j->into && !j->has_dtype ? "the base's"
                                                     : lx_dtype_name(j->options.dtype));
    if (j->options.method)
        cJSON_AddNumberToObject(root, "density", j->options.density);
    if (j->is_like) {
        cJSON_AddStringToObject(root, "like", "sd-scripts");
        cJSON_AddStringToObject(root, "precision", lx_dtype_name(j->like.merge_dtype));
        cJSON_AddBoolToObject(root, "concat", j->like.is_concat);
        cJSON_AddBoolToObject(root, "shuffle", j->like.is_shuffled);
    }
    cJSON_AddNumberToObject(root, "seed", (double)j->options.seed);
    rc = keep_text(flags, root, j->cli->arena, err);
    cJSON_AddItemToObject(root, "sources", sources_json(j, NULL));
    cJSON_AddNumberToObject(root, "arithmetic", ARITHMETIC_VERSION);
    if (j->into) {
        lx_hash_hex(hex, &j->into_hash);
        cJSON_AddStringToObject(root, "base_model", hex);
    }
    if (rc == LX_OK)
        rc = keep_text(spec, root, j->cli->arena, err);
    cJSON_Delete(root);
    return rc;
}

static int make_base(const char **out, const lx_merge_job *j, lx_error *err)
{
    cJSON *root;
    char hex[LX_HASH_HEX + 1];
    int rc;

    if (!j->into)
        return LX_OK;
    root = cJSON_CreateObject();
    lx_hash_hex(hex, &j->into_hash);
    cJSON_AddStringToObject(root, "path", j->into);
    cJSON_AddStringToObject(root, "sha256", hex);
    rc = keep_text(out, root, j->cli->arena, err);
    cJSON_Delete(root);
    return rc;
}

static int begin(lx_run **out, lx_store *store, const lx_merge_job *j, lx_error *err)
{
    lx_cli *cli = j->cli;
    const char **words =
        lx_arena_calloc(cli->arena, (size_t)cli->argc + 3, sizeof *words);
    lx_run_start start = {.name = j->args->name,
                          .kind = "merge",
                          .seed = j->options.seed,
                          .has_seed = true};
    lx_str line = LX_STR_INIT;
    char folder[4096];
    int rc;

    if (!words)
        return lx_oom(err);
    words[0] = "lx";
    words[1] = "merge";
    memcpy(words + 2, cli->argv, (size_t)cli->argc * sizeof *words);
    lx_scrub_command(&line, cli->argc + 2, words);
    if ((rc = lx_str_check(&line, err)) < 0 ||
        (rc = make_spec(&start.spec, &start.flags, j, err)) < 0 ||
        (rc = make_base(&start.base_model, j, err)) < 0)
        goto done;
    start.command_line = lx_str_text(&line);
    start.flags_given = start.flags;
    start.work_dir = getcwd(folder, sizeof folder);
    rc = lx_run_begin(out, store, &start, err);
done:
    lx_str_release(&line);
    return rc;
}

/* The file stays where it is; the store knows it by its hashes. (Inputs are a fact and no artifacts: the run of
 * a file is the one that wrote it.) */
static int attach(lx_store *store, const lx_run *run, const char *role, const char *path,
                  const lx_hash *hash, const lx_hash *tensors, lx_error *err)
{
    lx_artifact artifact = {.role = role,
                            .name = lx_path_base(path),
                            .step = -1,
                            .path = path,
                            .hash = hash,
                            .tensor_hash = tensors};
    struct stat info;

    if (lx_io_get()->stat(path, &info) == 0)
        artifact.size = (int64_t)info.st_size;
    return lx_run_attach(NULL, store, lx_run_seq(run), &artifact, err);
}

static int attach_all(lx_store *store, const lx_run *run, const lx_merge_job *j,
                      lx_error *err)
{
    cJSON *sources = sources_json(j, store);
    const char *text = NULL;
    lx_hash tensors;
    int rc = keep_text(&text, sources, j->cli->arena, err);

    cJSON_Delete(sources);
    if (rc == LX_OK)
        rc = lx_run_fact(store, lx_run_seq(run), "merge.sources", text, err);
    if (rc < 0)
        return rc;
    return attach(store, run, j->into ? "checkpoint" : "lora", j->output, &j->output_hash,
                  *j->tensor_hash && lx_hash_from_hex(&tensors, j->tensor_hash) ? &tensors
                                                                                : NULL,
                  err);
}

int lx_merge_record(lx_merge_job *j, const lx_merge_result *r, lx_error *err)
{
    lx_store *store = NULL;
    lx_run *run = NULL;
    char number[32];
    int rc;

    if ((rc = lx_store_open(&store, j->cli->store_path, false, err)) < 0)
        return rc;
    if ((rc = begin(&run, store, j, err)) == LX_OK &&
        (rc = attach_all(store, run, j, err)) == LX_OK && r && r->error > 0) {
        lx_format_double(number, r->error);
        rc = lx_run_fact(store, lx_run_seq(run), "merge.error", number, err);
    }
    if (run && rc == LX_OK)
        rc = lx_run_end(run, "finished", NULL, err);
    else if (run)
        lx_run_abandon(run);
    lx_store_close(store);
    return rc;
}
