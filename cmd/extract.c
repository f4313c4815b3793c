/* lx extract - the difference of two checkpoints as a LoRA */
#include <math.h>
#include <string.h>
#include <time.h>

#include "cmd/bounds.h"
#include "cmd/derived.h"
#include "cmd/progress.h"
#include "src/base/file.h"
#include "src/base/python.h"
#include "src/lora/extract.h"
#include "src/report/table.h"

/* Raised when the same inputs and settings give other bytes. */
enum { ARITHMETIC_VERSION = 1 };

typedef struct extract_args {
    lx_words files;
    const char *output, *save_to, *base, *tuned, *model_org, *model_tuned,
        *save_precision, *error, *name;
    double clamp_quantile, min_diff;
    int64_t rank, conv_rank, dim, conv_dim, seed;
    bool has_rank, has_conv_rank, has_dim, has_conv_dim, has_clamp;
    bool unet_only, v2, sdxl, no_metadata, no_record, json;
} extract_args;

/* LX_INT and LX_NUMBER with a member that is set when the option is given. */
#define GIVEN(kind, member, given, name, value, help)               \
    {                                                               \
        kind, 0, name, value, help, offsetof(extract_args, member), \
            offsetof(extract_args, given)                           \
    }

static const lx_option options[] = {
    LX_TEXT(extract_args, output, 'o', "output", "OUT", "the file to write"),
    LX_TEXT(extract_args, base, 0, "base", "FILE", "the model that was trained from"),
    LX_TEXT(extract_args, tuned, 0, "tuned", "FILE", "the model that it became"),
    GIVEN(LX_OPTION_INT, rank, has_rank, "rank", "N",
          "the rank of every module; with --error: the largest"),
    GIVEN(LX_OPTION_INT, conv_rank, has_conv_rank, "conv_rank", "N",
          "of 3x3 convolutions; without it residual blocks and samplers are left out"),
    LX_TEXT(extract_args, error, 0, "error", "E",
            "each module's smallest rank whose relative error is at most E: 1% or 0.01"),
    LX_FLAG(extract_args, unet_only, 0, "unet_only", "leave the text encoders out"),
    LX_NUMBER(extract_args, min_diff, 0, "min_diff", "X",
              "leave the text encoders out when no element differs by more than X (0)"),
    GIVEN(LX_OPTION_NUMBER, clamp_quantile, has_clamp, "clamp_quantile", "Q",
          "clamp the factors at that quantile of theirs, as "
          "extract_lora_from_models.py does at 0.99; it costs accuracy (1: not)"),
    LX_INT(extract_args, seed, 0, "seed", "N", "of the sketch's random numbers (0)"),
    LX_TEXT(extract_args, save_precision, 0, "save_precision", "float|fp16|bf16",
            "of the output (float)"),
    LX_TEXT(extract_args, model_org, 0, "model_org", "FILE", "as --base"),
    LX_TEXT(extract_args, model_tuned, 0, "model_tuned", "FILE", "as --tuned"),
    LX_TEXT(extract_args, save_to, 0, "save_to", "OUT", "as --output"),
    GIVEN(LX_OPTION_INT, dim, has_dim, "dim", "N", "as --rank"),
    GIVEN(LX_OPTION_INT, conv_dim, has_conv_dim, "conv_dim", "N", "as --conv_rank"),
    LX_FLAG(extract_args, v2, 0, "v2", "the models are SD 2.x, or it is an error"),
    LX_FLAG(extract_args, sdxl, 0, "sdxl", "the models are SDXL, or it is an error"),
    LX_FLAG(extract_args, no_metadata, 0, "no_metadata",
            "write only the minimum metadata"),
    LX_TEXT(extract_args, name, 0, "name", "NAME", "of the run in the store"),
    LX_FLAG(extract_args, no_record, 0, "no_record", "do not record the result as a run"),
    LX_FLAG(extract_args, json, 'j', "json",
            "print the result as JSON, module by module"),
    LX_ARGS(extract_args, files, "BASE TUNED",
            "the two models: files or diffusers folders"),
    LX_OPTION_END,
};

typedef struct extract_job {
    lx_cli *cli;
    const extract_args *args;
    const char *base, *tuned, *output;
    lx_extract_options options;
    lx_extract_result result;
    lx_hash base_hash, tuned_hash;
    lx_sealed written;
    lx_derived_run run;
    lx_progress_view progress;
    time_t started;
} extract_job;

/* ---- reading the command line ------------------------------------------------------------ */

static int find_files(extract_job *j, lx_error *err)
{
    const extract_args *a = j->args;
    const char *const base = a->base ? a->base : a->model_org, *const tuned =
                                                                   a->tuned
                                                                       ? a->tuned
                                                                       : a->model_tuned;
    const size_t given = (base != NULL) + (tuned != NULL);
    const char *inputs[2];
    int rc;

    if ((rc = lx_check_one_of(a->base, a->model_org, "base", "model_org", err)) < 0 ||
        (rc = lx_check_one_of(a->tuned, a->model_tuned, "tuned", "model_tuned", err)) < 0 ||
        (rc = lx_check_one_of(a->output, a->save_to, "output", "save_to", err)) < 0)
        return rc;
    if (a->files.count + given != 2 || (given == 1 && a->files.count))
        return lx_fail(err, LX_EUSAGE,
                       "two models are needed: lx extract BASE TUNED --rank N -o OUT");
    j->base = given ? base : a->files.items[0];
    j->tuned = given ? tuned : a->files.items[1];
    j->output = a->output ? a->output : a->save_to;
    inputs[0] = j->base;
    inputs[1] = j->tuned;
    return lx_check_output(j->output, inputs, 2, err);
}

static int read_args(extract_job *j, lx_error *err)
{
    const extract_args *a = j->args;
    lx_extract_options *o = &j->options;
    int rc;

    *o = (lx_extract_options){.clamp_quantile = a->has_clamp ? a->clamp_quantile : 1,
                              .min_diff = a->min_diff,
                              .skips_text = a->unet_only,
                              .seed = (uint64_t)a->seed,
                              .dtype = LX_F32};
    if ((rc = find_files(j, err)) < 0 ||
        (rc = lx_take_rank(&o->rank, a->rank, a->has_rank, a->dim, a->has_dim, "rank",
                           "dim", err)) < 0 ||
        (rc = lx_take_rank(&o->conv_rank, a->conv_rank, a->has_conv_rank, a->conv_dim,
                           a->has_conv_dim, "conv_rank", "conv_dim", err)) < 0)
        return rc;
    if (!o->rank && !a->error)
        return lx_fail(err, LX_EUSAGE, "no rank: add --rank N or --error 1%%");
    if (!(o->clamp_quantile > 0) || o->clamp_quantile > 1)
        return lx_fail(err, LX_EUSAGE,
                       "--clamp_quantile %g: must be more than 0 and at most 1",
                       o->clamp_quantile);
    if (!(o->min_diff >= 0))
        return lx_fail(err, LX_EUSAGE, "--min_diff %g: must be 0 or more", o->min_diff);
    if (a->v2 && a->sdxl)
        return lx_fail(err, LX_EUSAGE, "--v2 and --sdxl: give one of them");
    if (a->error &&
        (rc = lx_parse_share(&o->error, a->error, "error", j->cli->arena, err)) < 0)
        return rc;
    return a->save_precision
               ? lx_parse_precision(&o->dtype, a->save_precision, "save_precision", err)
               : LX_OK;
}

/* ---- what the file says of itself --------------------------------------------------------- */

static cJSON *settings_json(const extract_job *j)
{
    const lx_extract_options *o = &j->options;
    cJSON *root = cJSON_CreateObject();

    if (o->rank)
        cJSON_AddNumberToObject(root, "rank", (double)o->rank);
    if (o->conv_rank)
        cJSON_AddNumberToObject(root, "conv_rank", (double)o->conv_rank);
    if (o->error > 0)
        cJSON_AddNumberToObject(root, "error", o->error);
    if (o->clamp_quantile < 1)
        cJSON_AddNumberToObject(root, "clamp_quantile", o->clamp_quantile);
    if (o->min_diff > 0)
        cJSON_AddNumberToObject(root, "min_diff", o->min_diff);
    if (o->skips_text)
        cJSON_AddTrueToObject(root, "unet_only");
    cJSON_AddNumberToObject(root, "seed", (double)o->seed);
    cJSON_AddStringToObject(root, "save_precision", lx_dtype_name(o->dtype));
    return root;
}

static void add_file(cJSON *root, const char *name, const char *path, const lx_hash *hash)
{
    cJSON *file = cJSON_AddObjectToObject(root, name);
    char hex[LX_HASH_HEX + 1];

    lx_hash_hex(hex, hash);
    cJSON_AddStringToObject(file, "file", lx_path_base(path));
    cJSON_AddStringToObject(file, "sha256", hex);
}

static const char *lineage(const extract_job *j)
{
    cJSON *root = settings_json(j);
    const char *text;

    add_file(root, "base", j->base, &j->base_hash);
    add_file(root, "tuned", j->tuned, &j->tuned_hash);
    cJSON_AddNumberToObject(root, "lost", j->result.error);
    text = lx_json_in_arena(root, j->cli->arena);
    cJSON_Delete(root);
    return text;
}

static bool is_sd1(const lx_extract_result *r)
{
    const char *name = r->n_modules ? r->modules[r->n_modules - 1].name : "";

    return !r->model.is_sd2 && !r->model.is_sdxl && !r->model.numbers_encoders &&
           (strstr(name, "_down_blocks_") || strstr(name, "_mid_block_") ||
            strstr(name, "_up_blocks_") || lx_starts_with(name, "lora_te_"));
}

static void put_network(lx_metadata_table *t, const extract_job *j)
{
    const lx_extract_options *o = &j->options;
    const lx_spell_model *m = &j->result.model;
    char rank[40], conv[40];

    lx_python_float(rank, (double)o->rank);
    lx_python_float(conv, (double)o->conv_rank);
    lx_metadata_put(t, "ss_v2", m->is_sd2 ? "True" : "False");
    lx_metadata_put(t, "ss_base_model_version",
                    m->is_sdxl           ? "sdxl_base_v1-0"
                    : m->is_sd2          ? "sd_v2"
                    : is_sd1(&j->result) ? "sd_v1"
                                         : NULL);
    lx_metadata_put(t, "ss_network_module", "networks.lora");
    lx_metadata_put(t, "ss_network_dim",
                    o->error > 0 ? "Dynamic" : lx_arena_printf(t->arena, "%zu", o->rank));
    lx_metadata_put(t, "ss_network_alpha",
                    o->error > 0 ? "Dynamic" : lx_arena_strdup(t->arena, rank));
    lx_metadata_put(
        t, "ss_network_args",
        o->conv_rank && o->error == 0
            ? lx_arena_printf(t->arena, "{\"conv_dim\": \"%zu\", \"conv_alpha\": \"%s\"}",
                              o->conv_rank, conv)
            : "{}");
}

static void put_modelspec(lx_metadata_table *t, const extract_job *j)
{
    const lx_spell_model *m = &j->result.model;

    lx_metadata_put(t, "modelspec.sai_model_spec", "1.0.1");
    lx_metadata_put(t, "modelspec.architecture",
                    m->is_sdxl           ? "stable-diffusion-xl-v1-base/lora"
                    : m->is_sd2          ? "stable-diffusion-v2-512/lora"
                    : is_sd1(&j->result) ? "stable-diffusion-v1/lora"
                                         : NULL);
    if (is_sd1(&j->result) || m->is_sdxl) {
        lx_metadata_put(t, "modelspec.prediction_type", "epsilon");
        lx_metadata_put(t, "modelspec.resolution", m->is_sdxl ? "1024x1024" : "512x512");
    }
    lx_metadata_put(t, "modelspec.implementation", "diffusers");
    lx_metadata_put(t, "modelspec.title", lx_path_title(j->output, t->arena));
    lx_metadata_put(t, "modelspec.date", lx_now_text(t->arena));
}

static int make_metadata(lx_metadata_table *t, const extract_job *j, lx_error *err)
{
    const char *sources = lineage(j);

    if (!sources)
        return lx_oom(err);
    put_network(t, j);
    if (!j->args->no_metadata)
        put_modelspec(t, j);
    lx_metadata_put(t, "lx.extract", sources);
    lx_metadata_put(t, "lx.version", LX_VERSION);
    return lx_metadata_check(t, err);
}

/* ---- telling ------------------------------------------------------------------------------ */

static int print_table(const extract_job *j, lx_error *err)
{
    enum { N = 5 };
    static const lx_table_column columns[N] = {{"layer", true, false},
                                               {"rank", true, false},
                                               {"norm", true, false},
                                               {"error", true, false},
                                               {"module", false, false}};
    const lx_extract_result *r = &j->result;
    lx_arena *arena = j->cli->arena;
    const char **cells = lx_arena_calloc(arena, r->n_modules + 1, N * sizeof *cells);
    const lx_table table = {columns, N, r->n_modules, cells};
    lx_str out = LX_STR_INIT;
    int rc;

    if (!cells)
        return lx_oom(err);
    for (size_t i = 0; i < r->n_modules; i++) {
        const lx_extract_module *m = &r->modules[i];
        cells[i * N] = lx_arena_printf(arena, "%zux%zu", m->out, m->in);
        cells[i * N + 1] = lx_arena_printf(arena, "%zu", m->rank);
        cells[i * N + 2] = lx_arena_printf(arena, "%.4g", m->norm);
        cells[i * N + 3] = lx_percent_text(j->cli->arena, m->error);
        cells[i * N + 4] = m->name;
    }
    if ((rc = lx_table_text(&out, &table, 0, 2, err)) == LX_OK)
        lx_print(j->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

static void print_json(const extract_job *j)
{
    const lx_extract_result *r = &j->result;
    lx_str out = LX_STR_INIT;

    lx_str_puts(&out, "{\"output\":");
    lx_escape_json(&out, j->output, strlen(j->output));
    lx_str_printf(&out,
                  ",\"modules\":%zu,\"same\":%zu,\"left_out\":%zu,\"text_left_out\":%s,"
                  "\"dtype\":\"%s\"",
                  r->n_modules, r->n_same, r->n_left_out,
                  r->text_is_left_out ? "true" : "false",
                  lx_dtype_name(j->options.dtype));
    lx_json_put_double(&out, "error", r->error);
    lx_json_put_double(&out, "left_out_share", r->left_out);
    lx_str_puts(&out, ",\"per_module\":[");
    for (size_t i = 0; i < r->n_modules; i++) {
        const lx_extract_module *m = &r->modules[i];
        lx_str_puts(&out, i ? ",{\"name\":" : "{\"name\":");
        lx_escape_json(&out, m->name, strlen(m->name));
        lx_str_printf(&out, ",\"rank\":%zu", m->rank);
        lx_json_put_double(&out, "norm", m->norm);
        lx_json_put_double(&out, "error", m->error);
        lx_str_putc(&out, '}');
    }
    lx_str_puts(&out, "]}\n");
    lx_print(j->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
}

static void print_left_out(const extract_job *j)
{
    const lx_extract_result *r = &j->result;

    if (r->n_same)
        lx_print(j->cli, "  %zu layer%s\n", r->n_same,
                 r->n_same == 1 ? " does not differ and is no module" : "s do not differ and are no modules");
    if (r->text_is_left_out)
        lx_print(j->cli, "  the text encoder is left out%s\n",
                 j->options.skips_text ? ""
                                       : ": no element differs by more than --min_diff");
    if (r->n_left_out)
        lx_print(
            j->cli,
            "  %zu tensor%s not in it, the first is %s; their part of "
            "all that differs is %s\n",
            r->n_left_out, r->n_left_out == 1 ? " differs that is" : "s differ that are",
            lx_safe(j->cli, r->first_left_out),
            lx_percent_text(j->cli->arena, r->left_out));
    if (r->n_conv_left_out)
        lx_print(j->cli,
                 "  %zu of them %s in residual blocks and samplers: --conv_rank N "
                 "takes them\n",
                 r->n_conv_left_out, r->n_conv_left_out == 1 ? "is" : "are");
    if (r->n_alone)
        lx_print(j->cli, "  %zu tensor%s in one of the models only, the first is %s\n",
                 r->n_alone, r->n_alone == 1 ? " is" : "s are", lx_safe(j->cli, r->first_alone));
}

static int print_result(const extract_job *j, lx_error *err)
{
    const lx_extract_result *r = &j->result;
    size_t least = SIZE_MAX, most = 0;
    int rc;

    if (j->cli->is_verbose && (rc = print_table(j, err)) < 0)
        return rc;
    for (size_t i = 0; i < r->n_modules; i++) {
        least = r->modules[i].rank < least ? r->modules[i].rank : least;
        most = r->modules[i].rank > most ? r->modules[i].rank : most;
    }
    lx_print(j->cli, "  %s\n- %s\n", lx_safe(j->cli, j->tuned), lx_safe(j->cli, j->base));
    lx_print(j->cli, "= %s: %zu module%s, ", lx_safe(j->cli, j->output), r->n_modules,
             lx_plural(r->n_modules));
    if (least == most)
        lx_print(j->cli, "rank %zu", most);
    else
        lx_print(j->cli, "ranks %zu to %zu", least, most);
    lx_print(j->cli, ", %s, error %s\n", lx_dtype_name(j->options.dtype),
             lx_percent_text(j->cli->arena, r->error));
    print_left_out(j);
    return LX_OK;
}

/* ---- the work ----------------------------------------------------------------------------- */

/* While the file is written. */
static int begin_record(void *context, lx_error *err)
{
    extract_job *j = context;
    cJSON *settings = settings_json(j), *sources = cJSON_CreateArray();
    char number[32];
    const char *const facts[1][2] = {{"extract.error", number}};
    lx_derived d = {.cli = j->cli,
                    .kind = "extract",
                    .name = j->args->name,
                    .arithmetic = ARITHMETIC_VERSION,
                    .seed = j->options.seed,
                    .settings = settings,
                    .sources = sources,
                    .paths = &j->tuned,
                    .base = j->base,
                    .base_hash = &j->base_hash,
                    .facts = facts,
                    .n_facts = 1};
    int rc;

    lx_derived_source(sources, &j->tuned_hash);
    lx_format_double(number, j->result.error);
    rc = lx_derived_begin(&j->run, &d, err);
    cJSON_Delete(sources);
    cJSON_Delete(settings);
    return rc;
}

static int show_progress(void *context, size_t done, size_t all)
{
    extract_job *j = context;

    if (time(NULL) - j->started >
        2) /* small models are done before that is of interest */
        lx_progress_phase(&j->progress, "layer", (int64_t)done, (int64_t)all);
    return lx_signals_pending();
}

static int check_kind(const extract_job *j, lx_error *err)
{
    if (j->args->v2 && !j->result.model.is_sd2)
        return lx_fail(err, LX_EMISMATCH, "--v2: %s is not SD 2.x by its shapes",
                       j->tuned);
    if (j->args->sdxl && !j->result.model.is_sdxl)
        return lx_fail(err, LX_EMISMATCH, "--sdxl: %s is not SDXL by its layers",
                       j->tuned);
    return LX_OK;
}

/* Both models side by side, as they are long. */
static int hash_models(extract_job *j, const lx_model_files *base,
                       const lx_model_files *tuned, lx_error *err)
{
    int rc = LX_OK;

#pragma omp parallel for schedule(static, 1)
    for (int i = 0; i < 2; i++) {
        lx_error own;
        const int failed = lx_model_files_hash(i ? &j->tuned_hash : &j->base_hash,
                                               i ? tuned : base, &own);
#pragma omp critical(lx_extract_error)
        if (rc == LX_OK)
            rc = lx_fail_as(err, failed, &own);
    }
    return rc;
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    extract_job j = {.cli = cli, .args = args, .started = time(NULL)};
    lx_metadata_table metadata = {.arena = cli->arena};
    lx_model_files base = {0}, tuned = {0};
    lx_extract *extract = NULL;
    int rc;

    if ((rc = read_args(&j, err)) < 0 ||
        (rc = lx_bounds_of_derived(cli, (const char *[]){j.base, j.tuned}, 2, j.output,
                                   !j.args->no_record, err)) < 0)
        return rc;
    lx_progress_init(&j.progress, cli);
    if ((rc = lx_model_files_open(&base, j.base, err)) < 0 ||
        (rc = lx_model_files_open(&tuned, j.tuned, err)) < 0 ||
        (rc = lx_extract_new(&extract, err)) < 0)
        goto done;
    lx_signals_install();
    rc = lx_extract_run(&j.result, extract, &base, &tuned, &j.options, show_progress, &j,
                        err);
    lx_progress_close(&j.progress);
    if (rc < 0 || (rc = check_kind(&j, err)) < 0 ||
        (rc = hash_models(&j, &base, &tuned, err)) < 0 ||
        (rc = make_metadata(&metadata, &j, err)) < 0)
        goto done;
    rc = lx_write_lora(&j.written, j.output, j.result.tensors, j.result.n_tensors,
                       &metadata, j.args->no_record ? NULL : begin_record, &j, err);
    rc = lx_derived_end_lora(&j.run, j.output, &j.written, rc, err);
    if (rc == LX_OK && j.args->json)
        print_json(&j);
    else if (rc == LX_OK)
        rc = print_result(&j, err);
done:
    lx_extract_free(extract);
    lx_model_files_close(&tuned);
    lx_model_files_close(&base);
    return rc;
}

const lx_command lx_cmd_extract = {
    .name = "extract",
    .summary = "make a LoRA of the difference of two models",
    .usage = "BASE TUNED --rank N -o OUT",
    .help = "The difference of every layer that a LoRA adapts is cut to its largest "
            "singular\n"
            "values, by rank or by the error that is allowed. The error that is printed, "
            "with\n"
            "--verbose for every module, is that of the very factors that are written, "
            "rounding\n"
            "included. Layers that do not differ are no modules; what differs and has no "
            "place in\n"
            "a LoRA (norms, biases, embeddings, the VAE) is counted.\n"
            "\n"
            "Taken are the attention blocks and the text encoder, as in training; with\n"
            "--conv_rank also residual blocks and samplers. sd-scripts' names of the "
            "flags are\n"
            "understood; unlike extract_lora_from_models.py nothing is clamped and no "
            "text encoder\n"
            "is left out unless --clamp_quantile 0.99 and --min_diff 0.01 say so.\n"
            "\n"
            "Examples:\n"
            "  lx extract sd15.safetensors mine.safetensors --rank 32 -o "
            "mine-lora.safetensors\n"
            "  lx extract --base sd15.ckpt --tuned mine.ckpt --error 5% --rank 128 "
            "--conv_rank 64 \\\n"
            "             -o mine-lora.safetensors --save_precision fp16\n",
    .options = options,
    .args_size = sizeof(extract_args),
    .run = run,
    .computes = true,
};
