/* lx resize - a LoRA at another rank */
#include <math.h>
#include <string.h>

#include "cmd/bounds.h"
#include "cmd/derived.h"
#include "src/base/file.h"
#include "src/base/python.h"
#include "src/lora/resize.h"
#include "src/report/table.h"

/* Raised when the same inputs and settings give other bytes. */
enum { ARITHMETIC_VERSION = 1 };

typedef struct resize_args {
    lx_words files;
    const char *output, *save_to, *model, *save_precision, *error, *dynamic_method, *name;
    double sv_ratio, sv_cumulative, sv_fro, dynamic_param;
    int64_t rank, conv_rank, new_rank, new_conv_rank;
    bool has_rank, has_conv_rank, has_new_rank, has_new_conv_rank, has_ratio,
        has_cumulative, has_fro, has_param;
    bool no_record, json;
} resize_args;

/* LX_INT and LX_NUMBER with a member that is set when the option is given. */
#define GIVEN(kind, member, given, name, value, help)              \
    {                                                              \
        kind, 0, name, value, help, offsetof(resize_args, member), \
            offsetof(resize_args, given)                           \
    }

static const lx_option options[] = {
    LX_TEXT(resize_args, output, 'o', "output", "OUT", "the file to write"),
    GIVEN(LX_OPTION_INT, rank, has_rank, "rank", "N",
          "the rank of every module; of the rules below: the largest they may give"),
    GIVEN(LX_OPTION_INT, conv_rank, has_conv_rank, "conv_rank", "N",
          "the same for 3x3 convolutions"),
    LX_TEXT(resize_args, error, 0, "error", "E",
            "each module's smallest rank whose relative error is at most E: 1% or 0.01"),
    GIVEN(LX_OPTION_NUMBER, sv_ratio, has_ratio, "sv_ratio", "X",
          "keep singular values above the largest / X"),
    GIVEN(LX_OPTION_NUMBER, sv_cumulative, has_cumulative, "sv_cumulative", "X",
          "keep that share of the singular values' sum, 0 to 1"),
    GIVEN(LX_OPTION_NUMBER, sv_fro, has_fro, "sv_fro", "X",
          "keep that share of the Frobenius norm, 0 to 1"),
    LX_TEXT(resize_args, save_precision, 0, "save_precision", "float|fp16|bf16",
            "of the output; the file's own when left out"),
    LX_TEXT(resize_args, model, 0, "model", "FILE", "the file, in sd-scripts' spelling"),
    LX_TEXT(resize_args, save_to, 0, "save_to", "OUT", "as --output"),
    GIVEN(LX_OPTION_INT, new_rank, has_new_rank, "new_rank", "N", "as --rank"),
    GIVEN(LX_OPTION_INT, new_conv_rank, has_new_conv_rank, "new_conv_rank", "N",
          "as resize_lora.py: the rank of every convolution, 1x1 too"),
    LX_TEXT(resize_args, dynamic_method, 0, "dynamic_method", "NAME",
            "sv_ratio, sv_cumulative or sv_fro, with --dynamic_param X"),
    GIVEN(LX_OPTION_NUMBER, dynamic_param, has_param, "dynamic_param", "X",
          "of --dynamic_method"),
    LX_TEXT(resize_args, name, 0, "name", "NAME", "of the run in the store"),
    LX_FLAG(resize_args, no_record, 0, "no_record", "do not record the result as a run"),
    LX_FLAG(resize_args, json, 'j', "json", "print the result as JSON, module by module"),
    LX_ARGS(resize_args, files, "FILE", "a LoRA of any family"),
    LX_OPTION_END,
};

typedef struct resize_job {
    lx_cli *cli;
    const resize_args *args;
    const char *input, *output;
    lx_lora_file *file;
    lx_resize_options options;
    lx_resize_result result;
    lx_hash input_hash;
    lx_sealed written;
    lx_derived_run run;
} resize_job;

/* ---- reading the command line ------------------------------------------------------------ */

static int find_rule(lx_resize_options *o, const resize_args *a, lx_arena *arena,
                     lx_error *err)
{
    const bool given[LX_RESIZE_RULES] = {false, a->error != NULL, a->has_ratio,
                                         a->has_cumulative, a->has_fro};
    const double xs[LX_RESIZE_RULES] = {0, 0, a->sv_ratio, a->sv_cumulative, a->sv_fro};
    int n = a->dynamic_method != NULL;

    for (int i = 1; i < LX_RESIZE_RULES; i++) {
        const bool is_named = a->dynamic_method && i != LX_RESIZE_ERROR &&
                              strcmp(a->dynamic_method, lx_resize_rule_names[i]) == 0;
        n += given[i];
        if (given[i] || is_named) {
            o->rule = (lx_resize_rule)i;
            o->x = is_named ? a->dynamic_param : xs[i];
        }
    }
    if (n > 1)
        return lx_fail(err, LX_EUSAGE,
                       "--error, --sv_ratio, --sv_cumulative, --sv_fro and "
                       "--dynamic_method: give one of them");
    if (a->dynamic_method && !o->rule)
        return lx_fail(err, LX_EUSAGE,
                       "--dynamic_method %s: must be sv_ratio, sv_cumulative or sv_fro",
                       a->dynamic_method);
    if ((a->dynamic_method != NULL) != a->has_param)
        return lx_fail(err, LX_EUSAGE,
                       "--dynamic_method and --dynamic_param go together");
    if (o->rule == LX_RESIZE_ERROR)
        return lx_parse_share(&o->x, a->error, "error", arena, err);
    if (o->rule == LX_RESIZE_RATIO ? !(o->x > 1) : o->rule && (!(o->x > 0) || o->x > 1))
        return lx_fail(
            err, LX_EUSAGE, "--%s %g: must be %s", lx_resize_rule_names[o->rule], o->x,
            o->rule == LX_RESIZE_RATIO ? "more than 1" : "more than 0 and at most 1");
    return LX_OK;
}

static int find_files(resize_job *j, lx_error *err)
{
    const resize_args *a = j->args;

    j->output = a->output ? a->output : a->save_to;
    if (a->files.count + (a->model != NULL) != 1)
        return lx_fail(err, LX_EUSAGE,
                       a->files.count || a->model
                           ? "one file at a time: lx resize FILE --rank N -o OUT"
                           : "nothing to resize: lx resize FILE --rank N -o OUT");
    j->input = a->model ? a->model : a->files.items[0];
    return lx_check_output(j->output, &j->input, 1, err);
}

/* All of one half type: that; else f32. */
static lx_dtype own_dtype(const lx_lora_file *f)
{
    lx_dtype first = LX_F32;
    bool has_first = false;

    for (size_t i = 0; i < f->n_modules; i++)
        for (int r = 0; r < LX_ROLE_COUNT; r++) {
            const lx_tensor_view *t = f->modules[i].tensors[r];
            if (!t || r == LX_ROLE_ALPHA || r == LX_ROLE_SCALE)
                continue;
            if ((has_first && t->dtype != first) ||
                (t->dtype != LX_F16 && t->dtype != LX_BF16))
                return LX_F32;
            first = t->dtype;
            has_first = true;
        }
    return first;
}

static int read_args(resize_job *j, lx_error *err)
{
    const resize_args *a = j->args;
    lx_resize_options *o = &j->options;
    int rc;

    o->counts_1x1 = a->has_new_conv_rank;
    if ((rc = find_files(j, err)) < 0 ||
        (rc = lx_take_rank(&o->rank, a->rank, a->has_rank, a->new_rank, a->has_new_rank,
                           "rank", "new_rank", err)) < 0 ||
        (rc =
             lx_take_rank(&o->conv_rank, a->conv_rank, a->has_conv_rank, a->new_conv_rank,
                          a->has_new_conv_rank, "conv_rank", "new_conv_rank", err)) < 0 ||
        (rc = find_rule(o, a, j->cli->arena, err)) < 0)
        return rc;
    if (!o->rule && !o->rank)
        return lx_fail(err, LX_EUSAGE,
                       "no rank: add --rank N, --error 1%% or one of --sv_ratio, "
                       "--sv_cumulative and --sv_fro");
    return a->save_precision
               ? lx_parse_precision(&o->dtype, a->save_precision, "save_precision", err)
               : LX_OK;
}

/* ---- what the file says of itself --------------------------------------------------------- */

static const char *number(lx_arena *arena, double x)
{
    char text[40];

    lx_python_float(text, x);
    return lx_arena_strdup(arena, text);
}

/* Of the modules that have the rank that was asked for, else of the last, as resize_lora.py. */
static double alpha_of(const resize_job *j)
{
    const lx_merge_result *r = &j->result.merge;
    double alpha = 0;
    bool has_exact = false;

    for (size_t i = 0; i < r->n_modules; i++) {
        const bool is_exact = (size_t)r->modules[i].rank == j->options.rank;
        if (r->modules[i].rank && (is_exact || !has_exact))
            alpha = j->result.rows[i].alpha;
        has_exact |= is_exact;
    }
    return alpha;
}

static const char *comment_of(const resize_job *j, const char *old)
{
    const lx_resize_options *o = &j->options;
    lx_arena *arena = j->cli->arena;
    const char *conv = "";
    char x[40];

    if (o->rule) {
        lx_python_float(x, o->x);
        return lx_arena_printf(arena, "Dynamic resize with %s: %s from %zu; %s",
                               lx_resize_rule_names[o->rule], x, j->result.old_rank, old);
    }
    if (o->conv_rank && o->conv_rank != o->rank &&
        !(conv = lx_arena_printf(arena, " (conv: %zu)", o->conv_rank)))
        return NULL;
    return lx_arena_printf(arena, "dimension is resized from %zu to %zu%s; %s",
                           j->result.old_rank, o->rank, conv, old);
}

static cJSON *settings_json(const resize_job *j)
{
    const lx_resize_options *o = &j->options;
    cJSON *root = cJSON_CreateObject();

    if (o->rule)
        cJSON_AddNumberToObject(root, lx_resize_rule_names[o->rule], o->x);
    if (o->rank)
        cJSON_AddNumberToObject(root, "rank", (double)o->rank);
    if (o->conv_rank)
        cJSON_AddNumberToObject(root, o->counts_1x1 ? "new_conv_rank" : "conv_rank",
                                (double)o->conv_rank);
    cJSON_AddStringToObject(root, "save_precision", lx_dtype_name(o->dtype));
    return root;
}

/* Where the file is from and how it was resized, as one JSON text. */
static const char *lineage(const resize_job *j)
{
    cJSON *root = settings_json(j);
    char hex[LX_HASH_HEX + 1];
    const char *text;

    lx_hash_hex(hex, &j->input_hash);
    cJSON_AddStringToObject(root, "file", lx_path_base(j->input));
    cJSON_AddStringToObject(root, "sha256", hex);
    cJSON_AddNumberToObject(root, "lost", j->result.merge.error);
    text = lx_json_in_arena(root, j->cli->arena);
    cJSON_Delete(root);
    return text;
}

static int make_metadata(lx_metadata_table *t, const resize_job *j, lx_error *err)
{
    const bool is_dynamic = j->options.rule != LX_RESIZE_FIXED;
    const char *old, *comment, *sources = lineage(j);

    lx_metadata_take(t, j->file->file);
    old = lx_metadata_find(t, "ss_training_comment");
    if (!sources || !(comment = comment_of(j, old ? old : "")))
        return lx_oom(err);
    lx_metadata_put(t, "ss_training_comment", comment);
    lx_metadata_put(t, "ss_network_dim",
                    is_dynamic ? "Dynamic"
                               : lx_arena_printf(t->arena, "%zu", j->options.rank));
    lx_metadata_put(t, "ss_network_alpha",
                    is_dynamic ? "Dynamic" : number(t->arena, alpha_of(j)));
    if (j->result.n_converted) { /* the arguments speak of another algorithm */
        lx_metadata_put(t, "ss_network_module",
                        j->result.merge.is_plain ? "networks.lora" : "lycoris.kohya");
        lx_metadata_drop(t, "ss_network_args");
    }
    lx_metadata_drop(t, "lora_adapter_metadata"); /* ranks and alphas that were */
    lx_metadata_put(t, "lx.resize", sources);
    lx_metadata_put(t, "lx.version", LX_VERSION);
    return lx_metadata_check(t, err);
}

/* ---- telling ------------------------------------------------------------------------------ */

enum { N_COLUMNS = 7 };

static const char *whole(const resize_job *j, int64_t n)
{
    return lx_arena_printf(j->cli->arena, "%lld", (long long)n);
}

static void fill_row(const char **cells, const resize_job *j, size_t i)
{
    const lx_merge_module *m = &j->result.merge.modules[i];
    const lx_resize_row *row = &j->result.rows[i];

    cells[6] = m->name;
    if (!m->rank)
        return; /* a norm or a bias */
    cells[0] = m->exact_rank ? whole(j, m->exact_rank) : "full";
    cells[1] = whole(j, m->rank);
    cells[2] = lx_arena_printf(j->cli->arena, "%.6g", row->alpha);
    cells[3] = lx_percent_text(j->cli->arena, row->sum_kept);
    cells[4] = lx_percent_text(j->cli->arena, row->fro_kept);
    cells[5] = lx_percent_text(j->cli->arena, m->error);
}

static int print_table(const resize_job *j, lx_error *err)
{
    static const lx_table_column columns[N_COLUMNS] = {
        {"rank", true, false},     {"new", true, false},  {"alpha", true, false},
        {"sum kept", true, false}, {"kept", true, false}, {"error", true, false},
        {"module", false, false}};
    const size_t n = j->result.merge.n_modules;
    const char **cells = lx_arena_calloc(j->cli->arena, n + 1, N_COLUMNS * sizeof *cells);
    const lx_table table = {columns, N_COLUMNS, n, cells};
    lx_str out = LX_STR_INIT;
    int rc;

    if (!cells)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        fill_row(cells + i * N_COLUMNS, j, i);
    if ((rc = lx_table_text(&out, &table, 0, 2, err)) == LX_OK)
        lx_print(j->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

static void print_json(const resize_job *j)
{
    const lx_merge_result *r = &j->result.merge;
    lx_str out = LX_STR_INIT;

    lx_str_puts(&out, "{\"output\":");
    lx_escape_json(&out, j->output, strlen(j->output));
    lx_str_printf(&out, ",\"modules\":%zu,\"rank\":%lld,\"dtype\":\"%s\"", r->n_modules,
                  (long long)r->rank, lx_dtype_name(j->options.dtype));
    lx_json_put_double(&out, "error", r->error);
    lx_str_printf(&out,
                  ",\"converted\":%zu,\"kept_whole\":%zu,\"padded\":%zu,"
                  "\"bounded_by_size\":%zu,\"per_module\":[",
                  j->result.n_converted, j->result.n_kept, j->result.n_padded,
                  j->result.n_bounded);
    for (size_t i = 0; i < r->n_modules; i++) {
        const lx_merge_module *m = &r->modules[i];
        const lx_resize_row *row = &j->result.rows[i];
        lx_str_puts(&out, i ? ",{\"name\":" : "{\"name\":");
        lx_escape_json(&out, m->name, strlen(m->name));
        lx_str_printf(&out, ",\"old_rank\":%lld,\"rank\":%lld", (long long)m->exact_rank,
                      (long long)m->rank);
        if (m->rank) {
            lx_json_put_double(&out, "alpha", row->alpha);
            lx_json_put_double(&out, "sum_kept", row->sum_kept);
            lx_json_put_double(&out, "fro_kept", row->fro_kept);
            lx_json_put_double(&out, "max_ratio", row->ratio);
            lx_json_put_double(&out, "norm", m->norm);
            lx_json_put_double(&out, "error", m->error);
        }
        lx_str_putc(&out, '}');
    }
    lx_str_puts(&out, "]}\n");
    lx_print(j->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
}

/* "rank 4", or "ranks 2 to 16 (mean 6.3)". */
static const char *rank_text(const resize_job *j)
{
    const lx_merge_result *r = &j->result.merge;
    long long least = 0, most = 0;
    double sum = 0;
    size_t n = 0;
    const char *text;

    for (size_t i = 0; i < r->n_modules; i++) {
        const long long rank = r->modules[i].rank;
        if (!rank)
            continue;
        least = !n || rank < least ? rank : least;
        most = rank > most ? rank : most;
        sum += (double)rank;
        n++;
    }
    text = least == most
               ? lx_arena_printf(j->cli->arena, "rank %lld", least)
               : lx_arena_printf(j->cli->arena, "ranks %lld to %lld (mean %.3g)", least,
                                 most, sum / (double)n);
    return text ? text : "?";
}

static int print_result(const resize_job *j, lx_error *err)
{
    const lx_resize_result *r = &j->result;
    double kept = 0;
    size_t n = 0;
    int rc = LX_OK;

    if (j->cli->is_verbose && (rc = print_table(j, err)) < 0)
        return rc;
    for (size_t i = 0; i < r->merge.n_modules; i++)
        if (r->merge.modules[i].rank) {
            kept += r->rows[i].fro_kept;
            n++;
        }
    lx_print(j->cli, "  %s: %zu module%s, rank %s\n", lx_safe(j->cli, j->input),
             r->merge.n_modules, lx_plural(r->merge.n_modules),
             r->old_rank ? lx_arena_printf(j->cli->arena, "%zu", r->old_rank) : "full");
    lx_print(j->cli, "= %s: %s, %s, error %s, mean norm kept %s\n",
             lx_safe(j->cli, j->output), rank_text(j), lx_dtype_name(j->options.dtype),
             lx_percent_text(j->cli->arena, r->merge.error),
             lx_percent_text(j->cli->arena, n ? kept / (double)n : 1));
    if (r->n_converted)
        lx_print(j->cli, "  %zu module%s of another kind %s LoRA now\n", r->n_converted,
                 lx_plural(r->n_converted), r->n_converted == 1 ? "is" : "are");
    if (r->n_kept)
        lx_print(j->cli, "  %zu norm%s no rank and %s as before\n", r->n_kept,
                 r->n_kept == 1 ? " or bias has" : "s and biases have", r->n_kept == 1 ? "is" : "are");
    if (j->file->n_embeddings)
        lx_print(j->cli, "  %zu embedding%s carried along\n", j->file->n_embeddings,
                 j->file->n_embeddings == 1 ? " is" : "s are");
    if (r->n_padded)
        lx_print(j->cli,
                 "  %zu module%s had a smaller rank: filled up with zeros, no change\n",
                 r->n_padded, lx_plural(r->n_padded));
    if (r->n_bounded)
        lx_print(j->cli,
                 "  %zu module%s\n", r->n_bounded,
                 r->n_bounded == 1 ? " is smaller than that rank and has all of its own"
                                   : "s are smaller than that rank and have all of theirs");
    return rc;
}

/* ---- the work ----------------------------------------------------------------------------- */

/* While the file is written. */
static int begin_record(void *context, lx_error *err)
{
    resize_job *j = context;
    cJSON *settings = settings_json(j), *sources = cJSON_CreateArray();
    char number_text[32];
    const char *const facts[1][2] = {{"resize.error", number_text}};
    lx_derived d = {.cli = j->cli,
                    .kind = "resize",
                    .name = j->args->name,
                    .arithmetic = ARITHMETIC_VERSION,
                    .settings = settings,
                    .sources = sources,
                    .paths = &j->input,
                    .facts = facts,
                    .n_facts = 1};
    int rc;

    lx_derived_source(sources, &j->input_hash);
    lx_format_double(number_text, j->result.merge.error);
    rc = lx_derived_begin(&j->run, &d, err);
    cJSON_Delete(sources);
    cJSON_Delete(settings);
    return rc;
}

static int resize_file(resize_job *j, lx_merge *merge, lx_error *err)
{
    const lx_merge_source source = {j->file, NULL, 1, 1, NULL}; /* named below */
    int rc;

    if (!j->args->save_precision)
        j->options.dtype = own_dtype(j->file);
    if ((rc = lx_merge_add(merge, &source, err)) < 0 ||
        (rc = lx_lora_resize(&j->result, merge, &j->options, err)) < 0) {
        lx_within(err, "%s", j->input);
        return rc;
    }
    return LX_OK;
}

/* The modules at their new ranks, and the embeddings that the file carries beside them. */
static int write_file(resize_job *j, lx_metadata_table *metadata, lx_error *err)
{
    const lx_merge_result *r = &j->result.merge;
    const size_t n = r->n_tensors + j->file->n_embeddings;
    lx_tensor_view *views = lx_arena_calloc(j->cli->arena, n + 1, sizeof *views);

    if (!views)
        return lx_oom(err);
    memcpy(views, r->tensors, r->n_tensors * sizeof *views);
    for (size_t i = 0; i < j->file->n_embeddings; i++)
        views[r->n_tensors + i] = *j->file->embeddings[i];
    return lx_write_lora(&j->written, j->output, views, n, metadata,
                         j->args->no_record ? NULL : begin_record, j, err);
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    resize_job j = {.cli = cli, .args = args};
    lx_metadata_table metadata = {.arena = cli->arena};
    lx_merge *merge = NULL;
    int rc;

    if ((rc = read_args(&j, err)) < 0 ||
        (rc = lx_bounds_of_derived(cli, &j.input, 1, j.output, !j.args->no_record, err)) <
            0)
        return rc;
    if ((rc = lx_lora_file_open(&j.file, j.input, err)) < 0) {
        lx_within(err, "%s", j.input);
        return rc;
    }
    lx_tell_config_problem(cli, "resize", j.file, j.input);
    if ((rc = lx_merge_new(&merge, err)) < 0 || (rc = resize_file(&j, merge, err)) < 0 ||
        (rc = lx_file_hash(&j.input_hash, j.input, err)) < 0 ||
        (rc = make_metadata(&metadata, &j, err)) < 0)
        goto done;
    rc = write_file(&j, &metadata, err);
    rc = lx_derived_end_lora(&j.run, j.output, &j.written, rc, err);
    if (rc == LX_OK && j.args->json)
        print_json(&j);
    else if (rc == LX_OK)
        rc = print_result(&j, err);
done:
    lx_merge_free(merge);
    lx_lora_file_close(j.file);
    return rc;
}

const lx_command lx_cmd_resize = {
    .name = "resize",
    .summary = "give a LoRA another rank",
    .usage = "FILE --rank N -o OUT",
    .help =
        "Every module becomes the best approximation of the rank that is asked for, by "
        "the\n"
        "singular values of its own change; the scale alpha / rank stays. What that "
        "loses is\n"
        "printed, with --verbose in a table of all modules: ranks, alpha, the share of "
        "the\n"
        "singular values' sum and of the Frobenius norm that is kept, and the relative "
        "error.\n"
        "\n"
        "Instead of one rank for all, --error 1% chooses each module's smallest that is "
        "good\n"
        "enough; --sv_ratio, --sv_cumulative and --sv_fro are those of sd-scripts'\n"
        "resize_lora.py and give its ranks. --rank is then the largest that is allowed\n"
        "(resize_lora.py allows 4 when it is not told).\n"
        "\n"
        "LoHa, LoKr, LoCon with a core and full differences become LoRA. Names stay as "
        "the\n"
        "file spells them, metadata are kept.\n"
        "\n"
        "Examples:\n"
        "  lx resize style.safetensors --rank 16 -o style-16.safetensors\n"
        "  lx resize style.safetensors --error 1% -o style-small.safetensors --verbose\n"
        "  lx resize locon.safetensors --rank 16 --conv_rank 4 -o small.safetensors\n"
        "  lx resize --model style.safetensors --save_to small.safetensors --new_rank 32 "
        "\\\n"
        "            --dynamic_method sv_fro --dynamic_param 0.97 --save_precision "
        "fp16\n",
    .options = options,
    .args_size = sizeof(resize_args),
    .run = run,
};
