/* What a merged file says of itself. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/derived.h"
#include "cmd/merge.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/lora/base.h"
#include "src/lora/counts.h"
#include "src/lora/verdict.h"
#include "src/model/kind.h"

static const char *said(const lx_merge_job *j, size_t i, const char *key)
{
    return lx_tensor_file_metadata(j->inputs[i].file->file, key);
}

static const char *first_said(const lx_merge_job *j, const char *key)
{
    const char *value = NULL;

    for (size_t i = 0; i < j->n && !value; i++)
        value = said(j, i, key);
    return value;
}

/* What was merged: file names without their folders, strengths, hashes of the data. */
static const char *lineage(const lx_merge_job *j)
{
    cJSON *list = cJSON_CreateArray();
    const char *out;

    for (size_t i = 0; i < j->n; i++) {
        const lx_merge_input *in = &j->inputs[i];
        char hex[LX_HASH_HEX + 1];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        lx_hash_hex(hex, &in->hash);
        cJSON_AddStringToObject(o, "file", lx_path_base(in->path));
        cJSON_AddStringToObject(o, "sha256", hex);
        cJSON_AddNumberToObject(o, "strength", in->strength);
        if (in->text_strength != in->strength)
            cJSON_AddNumberToObject(o, "text_strength", in->text_strength);
        if (in->lbw)
            cJSON_AddStringToObject(o, "lbw", in->lbw);
    }
    out = lx_json_in_arena(list, j->cli->arena);
    cJSON_Delete(list);
    return out;
}

/* ---- tags -------------------------------------------------------------------------------- */

/* A tag of a folder in one of the files. Of each folder there is one without a name, lest a folder without tags be lost;
 * but where one of the files was trained from metadata files, whose {} means nothing: without ss_datasets nobody could
 * tell it from empty captions. */
typedef struct tag {
    const char *folder, *name;
    size_t n;
    double count;
} tag;

static size_t add_tags(tag *tags, const lx_counts *counts, bool keeps_empty)
{
    size_t n = 0;

    for (size_t g = 0; g < counts->n_groups; g++) {
        const lx_count_group *group = &counts->groups[g];
        if (keeps_empty || group->n_items)
            tags[n++] = (tag){.folder = group->name};
        for (size_t i = 0; i < group->n_items; i++) {
            const lx_counted *c = &group->items[i];
            if (fabs(c->count) < 1e300) /* so that a sum is a number, too */
                tags[n++] = (tag){group->name, c->name, c->n, c->count};
        }
    }
    return n;
}

static int by_folder_and_name(const void *a, const void *b)
{
    const tag *x = a, *y = b;
    const size_t n = x->n < y->n ? x->n : y->n;
    int order = strcmp(x->folder, y->folder);

    if (!order && n)
        order = memcmp(x->name, y->name, n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* {folder: {tag: count}} in canonical JSON; counts of one folder and tag add up. */
static void put_tags(lx_str *out, const tag *tags, size_t n)
{
    char number[32];

    for (size_t i = 0; i < n;) {
        const char *folder = tags[i].folder;
        bool is_first = true;
        lx_str_puts(out, i ? "}," : "{");
        lx_escape_json(out, folder, strlen(folder));
        lx_str_puts(out, ":{");
        while (i < n && strcmp(tags[i].folder, folder) == 0) {
            const tag *t = &tags[i];
            double sum = 0;
            for (; i < n && by_folder_and_name(t, &tags[i]) == 0; i++)
                sum += tags[i].count;
            if (!t->name)
                continue;
            lx_str_puts(out, is_first ? "" : ",");
            lx_escape_json(out, t->name, t->n);
            /* JSON has no infinity, and a file may say anything. */
            lx_format_double(number, fmin(fmax(sum, -DBL_MAX), DBL_MAX));
            lx_str_printf(out, ":%s", number);
            is_first = false;
        }
    }
    lx_str_puts(out, "}}");
}

/* The union of the files' tag frequencies; NULL when none has any. Metadata that are no JSON say nothing. */
static const char *tag_frequency(const lx_merge_job *j)
{
    lx_arena *arena = j->cli->arena;
    lx_counts *counts = lx_arena_calloc(arena, j->n, sizeof *counts);
    lx_str text = LX_STR_INIT;
    const char *out = NULL;
    size_t n = 0, room = 0;
    bool keeps_empty = true;
    tag *tags;

    for (size_t i = 0; counts && i < j->n; i++) {
        (void)lx_counts_parse(&counts[i], said(j, i, "ss_tag_frequency"), arena, NULL);
        for (size_t g = 0; g < counts[i].n_groups; g++)
            room += 1 + counts[i].groups[g].n_items;
        keeps_empty &= !lx_lora_is_fine_tuning(j->inputs[i].file->file);
    }
    if (!room || !(tags = lx_arena_calloc(arena, room, sizeof *tags)))
        return NULL;
    for (size_t i = 0; i < j->n; i++)
        n += add_tags(tags + n, &counts[i], keeps_empty);
    if (!n)
        return NULL;
    qsort(tags, n, sizeof *tags, by_folder_and_name);
    put_tags(&text, tags, n);
    out = text.failed ? NULL : lx_arena_strdup(arena, lx_str_text(&text));
    lx_str_release(&text);
    return out;
}

/* ---- tables ------------------------------------------------------------------------------ */

static const char *merged_from(const lx_merge_job *j)
{
    lx_arena *arena = j->cli->arena;
    lx_str out = LX_STR_INIT;
    const char *text = j->into ? lx_path_title(j->into, arena) : NULL;

    if (text)
        lx_str_printf(&out, "%s, ", text);
    for (size_t i = 0; i < j->n; i++) {
        const char *title = said(j, i, "modelspec.title");
        if (!title)
            title = lx_path_title(j->inputs[i].path, arena);
        lx_str_printf(&out, "%s%s", i ? ", " : "", title ? title : "?");
    }
    text = lx_arena_strdup(arena, lx_str_text(&out));
    lx_str_release(&out);
    return text;
}

static const char *number_text(lx_arena *arena, double x)
{
    return x == 0 ? "Dynamic" : lx_arena_printf(arena, "%.9g", x);
}

const char *lx_merge_describe(const lx_merge_job *j)
{
    const lx_merge_options *o = &j->options;
    lx_arena *arena = j->cli->arena;
    const char *text = o->method ? lx_merge_method_names[o->method] : "";

    if (j->is_like)
        return j->like.is_concat ? "as sd-scripts --concat" : "as sd-scripts";
    if (o->method && o->density < 1)
        text = lx_arena_printf(arena, "%s, density %g", text, o->density);
    if (o->method == LX_MERGE_DARE || o->method == LX_MERGE_DARE_TIES)
        text = lx_arena_printf(arena, "%s, seed %llu", text ? text : "",
                               (unsigned long long)o->seed);
    return text ? text : "";
}

/* What sd-scripts and modelspec call the models that shapes tell. */
typedef struct model_name {
    const char *base, *architecture, *version, *v2;
} model_name;

static const model_name *name_of(const char *base)
{
    static const model_name names[] = {
        {"SD 1.x", "stable-diffusion-v1", "sd_v1", "False"},
        {"SD 2.x", "stable-diffusion-v2-512", "sd_v2", "True"},
        {"SDXL", "stable-diffusion-xl-v1-base", "sdxl_base_v1-0", "False"},
    };
    static const model_name other = {.v2 = "False"};

    for (size_t i = 0; base && i < sizeof names / sizeof *names; i++)
        if (strcmp(base, names[i].base) == 0)
            return &names[i];
    return &other;
}

static const model_name *name_of_inputs(const lx_merge_job *j)
{
    const model_name *name = name_of(NULL);

    for (size_t i = 0; i < j->n && !name->base; i++)
        name = name_of(lx_lora_base(j->inputs[i].file, j->cli->arena));
    return name;
}

static void put_lora(lx_metadata_table *t, const lx_merge_job *j,
                     const lx_merge_result *r)
{
    lx_arena *arena = j->cli->arena;
    const model_name *name = name_of_inputs(j);
    const char *v2 = first_said(j, "ss_v2"),
               *version = first_said(j, "ss_base_model_version");

    lx_metadata_put(t, "ss_v2", v2 ? v2 : name->v2);
    lx_metadata_put(t, "ss_base_model_version", version ? version : name->version);
    lx_metadata_put(t, "ss_network_module",
                    r->is_plain ? "networks.lora" : "lycoris.kohya");
    lx_metadata_put(t, "ss_network_dim", number_text(arena, (double)r->rank));
    lx_metadata_put(t, "ss_network_alpha", number_text(arena, r->alpha));
    if (!j->args->no_metadata)
        lx_metadata_put(t, "ss_tag_frequency", tag_frequency(j));
}

/* Of a checkpoint what it says itself, else what its tensors tell, else what the LoRAs in it say or tell; of a LoRA the
 * latter two. NULL: nobody knows. */
static const char *architecture_of(const lx_merge_job *j, const lx_tensor_file *base)
{
    lx_arena *arena = j->cli->arena;
    const char *said = base ? lx_tensor_file_metadata(base, "modelspec.architecture")
                            : first_said(j, "modelspec.architecture");
    const char *name = base ? name_of(lx_model_kind(base))->architecture : NULL;

    if (said)
        return said;
    if (!name && base && (said = first_said(j, "modelspec.architecture")))
        return lx_arena_strndup(arena, said, strcspn(said, "/"));
    if (!name)
        name = name_of_inputs(j)->architecture;
    return base || !name ? name : lx_arena_printf(arena, "%s/lora", name);
}

static void put_modelspec(lx_metadata_table *t, const lx_merge_job *j,
                          const lx_tensor_file *base)
{
    static const char *const kept[] = {"modelspec.resolution",
                                       "modelspec.prediction_type"};

    lx_metadata_put(t, "modelspec.sai_model_spec", "1.0.1");
    lx_metadata_put(t, "modelspec.architecture", architecture_of(j, base));
    lx_metadata_put(t, "modelspec.implementation",
                    j->into ? "https://github.com/Stability-AI/generative-models"
                            : "diffusers");
    lx_metadata_put(t, "modelspec.title", lx_path_title(j->output, j->cli->arena));
    lx_metadata_put(t, "modelspec.date", lx_now_text(j->cli->arena));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!lx_metadata_find(t, kept[i])) /* a base model's own stays */
            lx_metadata_put(t, kept[i], first_said(j, kept[i]));
    lx_metadata_put(t, "modelspec.merged_from", merged_from(j));
}

int lx_merge_metadata(lx_metadata_entry **out, size_t *n, const lx_merge_job *j,
                      const lx_merge_result *r, const lx_tensor_file *base, lx_error *err)
{
    lx_metadata_table t = {.arena = j->cli->arena};
    const char *sources = lineage(j), *method = lx_merge_describe(j);

    if (!sources)
        return lx_oom(err);
    if (base && !j->args->no_metadata)
        lx_metadata_take(&t, base);
    if (!base)
        put_lora(&t, j, r);
    lx_metadata_put(&t, "lx.merge", sources);
    lx_metadata_put(&t, "lx.merge.method", *method ? method : NULL);
    lx_metadata_put(&t, "lx.version", LX_VERSION);
    if (j->model.is_folder) /* transformers asks for it */
        lx_metadata_put(&t, "format", "pt");
    else if (!j->args->no_metadata)
        put_modelspec(&t, j, base);
    *out = t.entries;
    *n = t.n;
    return lx_metadata_check(&t, err);
}
