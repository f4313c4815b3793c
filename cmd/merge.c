/* lx merge - add LoRAs up into one */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/cli.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/sha256.h"
#include "src/base/str.h"
#include "src/lora/lora.h"
#include "src/lora/merge.h"

struct merge_args {
    lx_words files, models, ratios;
    const char *output, *save_to, *save_precision, *precision, *rank;
    bool no_metadata, json;
};

static const lx_option options[] = {
    LX_TEXT(struct merge_args, output, 'o', "output", "OUT", "the file to write"),
    LX_TEXT(struct merge_args, rank, 0, "rank", "exact",
            "exact: merge LoRAs of different ranks without loss, at the sum of their ranks"),
    LX_LIST(struct merge_args, models, 0, "models", "FILE...",
            "the files, in sd-scripts' spelling"),
    LX_LIST(struct merge_args, ratios, 0, "ratios", "R...", "one strength per file (1)"),
    LX_TEXT(struct merge_args, save_to, 0, "save_to", "OUT", "as --output"),
    LX_TEXT(struct merge_args, save_precision, 0, "save_precision", "float|fp16|bf16",
            "of the output; the widest of the inputs when left out"),
    LX_TEXT(struct merge_args, precision, 0, "precision", "float|fp16|bf16",
            "accepted; lx always adds in f64 and rounds once"),
    LX_FLAG(struct merge_args, no_metadata, 0, "no_metadata", "write only the minimum metadata"),
    LX_FLAG(struct merge_args, json, 'j', "json", "print the result as JSON"),
    LX_ARGS(struct merge_args, files, "FILE[:STRENGTH]", "LoRA files"),
    LX_OPTION_END,
};

typedef struct source {
    const char *path;
    double strength;
    lx_lora_file *file;
} source;

typedef struct job {
    source *sources;
    size_t n;
    const char *output;
    lx_dtype dtype;
} job;

/* ---- reading the command line ------------------------------------------------------------ */

/* "a.safetensors:0.7", unless a file of that whole name exists. */
static int split_strength(source *s, const char *word, lx_arena *arena, lx_error *err)
{
    const char *colon = strrchr(word, ':');
    lx_error ignored;

    s->strength = 1;
    s->path = word;
    if (!colon || lx_file_exists(word) ||
        lx_parse_number(&s->strength, colon + 1, &ignored) < 0)
        return LX_OK;
    s->path = lx_arena_strndup(arena, word, (size_t)(colon - word));
    return s->path ? LX_OK : lx_oom(err);
}

static int list_sources(job *j, const struct merge_args *args, lx_arena *arena, lx_error *err)
{
    const lx_words *words = args->models.count ? &args->models : &args->files;
    int rc;

    if (args->models.count && args->files.count)
        return lx_fail(err, LX_EUSAGE, "files are given twice: in --models and beside it");
    if (args->ratios.count && args->ratios.count != words->count)
        return lx_fail(err, LX_EUSAGE, "%zu files but %zu --ratios: give one for each",
                       words->count, args->ratios.count);
    if (words->count < 1)
        return lx_fail(err, LX_EUSAGE, "nothing to merge: lx merge A:0.7 B:0.4 -o OUT");
    if (!(j->sources = lx_arena_calloc(arena, words->count, sizeof *j->sources)))
        return lx_oom(err);
    for (size_t i = 0; i < words->count; i++) {
        source *s = &j->sources[j->n++];
        if ((rc = split_strength(s, words->items[i], arena, err)) < 0)
            return rc;
        if (args->ratios.count && (rc = lx_parse_number(&s->strength, args->ratios.items[i],
                                                        err)) < 0) {
            lx_within(err, "--ratios");
            return rc;
        }
    }
    return LX_OK;
}

static int find_output(job *j, const struct merge_args *args, lx_error *err)
{
    struct stat out, in;

    j->output = args->output ? args->output : args->save_to;
    if (!j->output)
        return lx_fail(err, LX_EUSAGE, "no output: add -o OUT.safetensors");
    if (!lx_ends_with(j->output, ".safetensors"))
        return lx_fail(err, LX_EUSAGE, "--output %s: lx writes .safetensors", j->output);
    for (size_t i = 0; i < j->n; i++)
        if (stat(j->output, &out) == 0 && stat(j->sources[i].path, &in) == 0 &&
            out.st_dev == in.st_dev && out.st_ino == in.st_ino)
            return lx_fail(err, LX_EEXISTS, "%s is one of the inputs: choose another output",
                           j->output);
    return LX_OK;
}

static int parse_precision(lx_dtype *out, const char *text, const char *flag, lx_error *err)
{
    if (strcmp(text, "float") == 0)
        *out = LX_F32;
    else if (strcmp(text, "fp16") == 0)
        *out = LX_F16;
    else if (strcmp(text, "bf16") == 0)
        *out = LX_BF16;
    else
        return lx_fail(err, LX_EUSAGE, "--%s %s: must be float, fp16 or bf16", flag, text);
    return LX_OK;
}

/* All of one half type: that; else f32. */
static lx_dtype widest(const job *j)
{
    lx_dtype first = LX_F32;
    for (size_t i = 0; i < j->n; i++) {
        const lx_lora_file *f = j->sources[i].file;
        for (size_t k = 0; k < f->n_modules; k++) {
            const lx_tensor_view *up = f->modules[k].tensors[LX_ROLE_UP];
            lx_dtype d = up ? up->dtype : LX_F32;
            if (i == 0 && k == 0)
                first = d;
            if (d != first || (d != LX_F16 && d != LX_BF16))
                return LX_F32;
        }
    }
    return first;
}

/* ---- metadata ---------------------------------------------------------------------------- */

typedef struct table {
    lx_metadata_entry entries[24];
    size_t n;
} table;

static void put(table *t, const char *key, const char *value)
{
    lx_assert(t->n < sizeof t->entries / sizeof *t->entries);
    if (value)
        t->entries[t->n++] = (lx_metadata_entry){key, value};
}

static const char *first_said(const job *j, const char *key)
{
    for (size_t i = 0; i < j->n; i++) {
        const char *value = lx_tensor_file_metadata(j->sources[i].file->file, key);
        if (value)
            return value;
    }
    return NULL;
}

/* What was merged: file names without their folders, strengths, hashes of the data. */
static int lineage(const char **out, const job *j, lx_arena *arena, lx_error *err)
{
    cJSON *list = cJSON_CreateArray();
    lx_str text = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < j->n && rc == LX_OK; i++) {
        char hex[LX_HASH_HEX + 1];
        lx_hash hash;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        if ((rc = lx_file_hash(&hash, j->sources[i].path, err)) < 0)
            break;
        lx_hash_hex(hex, &hash);
        cJSON_AddStringToObject(o, "file", lx_path_base(j->sources[i].path));
        cJSON_AddStringToObject(o, "sha256", hex);
        cJSON_AddNumberToObject(o, "strength", j->sources[i].strength);
    }
    if (rc == LX_OK && (rc = lx_json_canonical(&text, list, err)) == LX_OK &&
        !(*out = lx_arena_strdup(arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    cJSON_Delete(list);
    return rc;
}

static const char *title_of(const char *path, lx_arena *arena)
{
    const char *base = lx_path_base(path);
    return lx_arena_strndup(arena, base, strlen(base) - strlen(lx_path_ext(base)));
}

static const char *merged_from(const job *j, lx_arena *arena)
{
    lx_str out = LX_STR_INIT;
    const char *text;
    for (size_t i = 0; i < j->n; i++) {
        const char *title = lx_tensor_file_metadata(j->sources[i].file->file, "modelspec.title");
        if (!title)
            title = title_of(j->sources[i].path, arena);
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

static int make_metadata(table *t, const job *j, const lx_merge_result *r, bool is_minimal,
                         lx_arena *arena, lx_error *err)
{
    const char *base = first_said(j, "ss_base_model_version"), *sources = NULL;
    const time_t now = time(NULL);
    struct tm local;
    char *date = lx_arena_alloc(arena, 32);
    int rc;

    if (!date)
        return lx_oom(err);
    if ((rc = lineage(&sources, j, arena, err)) < 0)
        return rc;
    put(t, "ss_v2", first_said(j, "ss_v2") ? first_said(j, "ss_v2") : "False");
    put(t, "ss_base_model_version", base);
    put(t, "ss_network_module", "networks.lora");
    put(t, "ss_network_dim", number_text(arena, (double)r->rank));
    put(t, "ss_network_alpha", number_text(arena, r->alpha));
    put(t, "lx.merge", sources);
    put(t, "lx.version", LX_VERSION);
    if (is_minimal)
        return LX_OK;
    strftime(date, 32, "%Y-%m-%dT%H:%M:%S", localtime_r(&now, &local));
    put(t, "modelspec.sai_model_spec", "1.0.1");
    put(t, "modelspec.architecture",
        first_said(j, "modelspec.architecture") ? first_said(j, "modelspec.architecture")
                                                : "stable-diffusion-v1/lora");
    put(t, "modelspec.implementation", "diffusers");
    put(t, "modelspec.title", title_of(j->output, arena));
    put(t, "modelspec.resolution", first_said(j, "modelspec.resolution"));
    put(t, "modelspec.date", date);
    put(t, "modelspec.prediction_type", first_said(j, "modelspec.prediction_type"));
    put(t, "modelspec.merged_from", merged_from(j, arena));
    return LX_OK;
}

/* ---- the work ---------------------------------------------------------------------------- */

static int open_sources(job *j, lx_merge *merge, lx_error *err)
{
    int rc;
    for (size_t i = 0; i < j->n; i++) {
        source *s = &j->sources[i];
        if ((rc = lx_lora_file_open(&s->file, s->path, err)) < 0) {
            lx_within(err, "%s", s->path);
            return rc;
        }
        rc = lx_merge_add(merge, s->file, s->path, s->strength, err);
        if (rc < 0) {
            if (rc != LX_EMISMATCH) /* that one names both files itself */
                lx_within(err, "%s", s->path);
            return rc;
        }
    }
    return LX_OK;
}

static int write_result(const job *j, const lx_merge_result *r, bool is_minimal,
                        lx_arena *arena, lx_error *err)
{
    const lx_lora_tensors tensors = {.views = r->tensors, .count = r->n_tensors};
    char model_hash[65], legacy_hash[9];
    table t = {.n = 0};
    int rc;

    if ((rc = make_metadata(&t, j, r, is_minimal, arena, err)) < 0 ||
        (rc = lx_lora_hashes(model_hash, legacy_hash, &tensors, t.entries, t.n, err)) < 0)
        return rc;
    put(&t, "sshs_model_hash", model_hash);
    put(&t, "sshs_legacy_hash", legacy_hash);
    if ((rc = lx_safetensors_write(j->output, r->tensors, r->n_tensors, t.entries, t.n, err)) < 0)
        lx_within(err, "%s", j->output);
    return rc;
}

static void report(lx_cli *cli, const job *j, const lx_merge_result *r, bool as_json)
{
    const char *rank = number_text(cli->arena, (double)r->rank);
    if (as_json) {
        lx_str out = LX_STR_INIT;
        lx_str_puts(&out, "{\"output\":");
        lx_escape_json(&out, j->output, strlen(j->output));
        lx_str_printf(&out, ",\"modules\":%zu,\"rank\":%lld,\"dtype\":\"%s\"}\n", r->n_modules,
                      (long long)r->rank, lx_dtype_name(j->dtype));
        lx_print(cli, "%s", lx_str_text(&out));
        lx_str_release(&out);
        return;
    }
    for (size_t i = 0; i < j->n; i++)
        lx_print(cli, "%s %s x %g\n", i ? "+" : " ", lx_safe(cli, j->sources[i].path),
                 j->sources[i].strength);
    lx_print(cli, "= %s: %zu modules, rank %s, %s, the exact sum of the deltas\n",
             lx_safe(cli, j->output), r->n_modules, rank ? rank : "?", lx_dtype_name(j->dtype));
}

static int read_args(job *j, const struct merge_args *args, lx_cli *cli, lx_error *err)
{
    lx_dtype ignored;
    int rc;

    if (args->rank && strcmp(args->rank, "exact") != 0)
        return lx_fail(err, LX_EUSAGE, "--rank %s: must be exact", args->rank);
    if (args->precision &&
        (rc = parse_precision(&ignored, args->precision, "precision", err)) < 0)
        return rc;
    if ((rc = list_sources(j, args, cli->arena, err)) < 0)
        return rc;
    return find_output(j, args, err);
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct merge_args *args = args_;
    lx_merge *merge = NULL;
    lx_merge_result result;
    job j = {0};
    int rc;

    if ((rc = read_args(&j, args, cli, err)) < 0 ||
        (rc = lx_merge_new(&merge, args->rank != NULL, err)) < 0 ||
        (rc = open_sources(&j, merge, err)) < 0)
        goto done;
    j.dtype = widest(&j);
    if (args->save_precision &&
        (rc = parse_precision(&j.dtype, args->save_precision, "save_precision", err)) < 0)
        goto done;
    if ((rc = lx_merge_finish(&result, merge, j.dtype, err)) < 0 ||
        (rc = write_result(&j, &result, args->no_metadata, cli->arena, err)) < 0)
        goto done;
    report(cli, &j, &result, args->json);
done:
    lx_merge_free(merge);
    for (size_t i = 0; i < j.n; i++)
        lx_lora_file_close(j.sources[i].file);
    return rc;
}

const lx_command lx_cmd_merge = {
    .name = "merge",
    .summary = "add LoRAs up into one, exactly",
    .usage = "FILE[:STRENGTH]... -o OUT",
    .help = "The output is the exact sum of strength x delta over the files: what loading all of\n"
            "them at those strengths does. Its rank is the sum of the ranks. Files of different\n"
            "ranks are refused unless --rank exact is given.\n"
            "\n"
            "sd-scripts' merge_lora.py squares the ratios and mixes the files' factors; the same\n"
            "numbers give another result there (docs/guide/merge.md).\n"
            "\n"
            "Examples:\n"
            "  lx merge face.safetensors:0.7 style.safetensors:0.4 -o both.safetensors\n"
            "  lx merge --models a.safetensors b.safetensors --ratios 0.7 0.4 \\\n"
            "           --save_to both.safetensors --save_precision fp16\n",
    .options = options,
    .args_size = sizeof(struct merge_args),
    .run = run,
};
