/* A merge as a run: what went in, what came out, and which runs the inputs are from. */
#include <string.h>

#include "cmd/derived.h"
#include "cmd/merge.h"
#include "src/base/json.h"

/* Raised when the same inputs and settings give other bytes. */
enum { ARITHMETIC_VERSION = 1 };

static cJSON *sources_json(const lx_merge_job *j)
{
    cJSON *list = cJSON_CreateArray();

    for (size_t i = 0; i < j->n; i++) {
        const lx_merge_input *in = &j->inputs[i];
        cJSON *o = lx_derived_source(list, &in->hash);
        cJSON_AddNumberToObject(o, "strength", in->strength);
        cJSON_AddNumberToObject(o, "text_strength", in->text_strength);
        if (in->lbw)
            cJSON_AddStringToObject(o, "lbw", in->lbw);
    }
    return list;
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

static cJSON *settings_json(const lx_merge_job *j)
{
    cJSON *root = cJSON_CreateObject();

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
    return root;
}

int lx_merge_record_begin(lx_merge_job *j, lx_error *err)
{
    const lx_merge_result *r = &j->result;
    char number[32];
    const char *const facts[1][2] = {{"merge.error", number}};
    const char **paths = lx_arena_calloc(j->cli->arena, j->n, sizeof *paths);
    cJSON *settings = settings_json(j), *sources = sources_json(j);
    lx_derived d = {.cli = j->cli,
                    .kind = "merge",
                    .name = j->args->name,
                    .arithmetic = ARITHMETIC_VERSION,
                    .seed = j->options.seed,
                    .settings = settings,
                    .sources = sources,
                    .paths = paths,
                    .base = j->into,
                    .base_hash = &j->into_hash,
                    .facts = facts,
                    .n_facts = r->error > 0};
    int rc = paths ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < j->n && rc == LX_OK; i++)
        paths[i] = j->inputs[i].path;
    lx_format_double(number, r->error);
    if (rc == LX_OK)
        rc = lx_derived_begin(&j->run, &d, err);
    cJSON_Delete(sources);
    cJSON_Delete(settings);
    return rc;
}

int lx_merge_record_end(lx_merge_job *j, int rc, lx_error *err)
{
    return j->into ? lx_derived_end(&j->run, j->outputs, j->n_outputs, rc, err)
                   : lx_derived_end_lora(&j->run, j->output, &j->sealed, rc, err);
}
