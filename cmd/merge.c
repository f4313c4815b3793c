/* lx merge - LoRAs into one, or into a checkpoint */
#include "cmd/merge.h"

#include <string.h>
#include <strings.h>

#include "cmd/bounds.h"
#include "cmd/derived.h"
#include "src/base/file.h"
#include "src/base/str.h"
#include "src/lora/lora.h"
#include "src/lora/merge_into.h"

/* An option of which "not given" is something else than 0. */
#define GIVEN(kind, member, name, value, help)                      \
    {                                                               \
        kind, 0, name, value, help, offsetof(lx_merge_args, member), \
            (int)offsetof(lx_merge_args, has_##member)              \
    }

static const lx_option options[] = {
    LX_TEXT(lx_merge_args, output, 'o', "output", "OUT", "the file to write"),
    LX_TEXT(lx_merge_args, rank, 0, "rank", "exact|N",
            "exact: merge different ranks without loss, at the sum of their ranks; N: "
            "the best "
            "approximation of that rank"),
    LX_TEXT(
        lx_merge_args, error, 0, "error", "E",
        "the smallest rank of each module whose relative error is at most E: 1% or 0.01"),
    GIVEN(LX_OPTION_INT, conv_rank, "conv_rank", "N",
          "with --rank N: of 3x3 convolutions"),
    LX_TEXT(lx_merge_args, method, 0, "method", "NAME",
            "linear (the sum), magnitude_prune, ties, dare, dare_ties or knots"),
    GIVEN(LX_OPTION_NUMBER, density, "density", "D",
          "of the methods: the share of elements kept (0.5)"),
    GIVEN(LX_OPTION_INT, seed, "seed", "N",
          "of dare's and --shuffle's random numbers (0)"),
    LX_TEXT(
        lx_merge_args, into, 0, "into", "BASE",
        "write the model BASE, a file or a diffusers folder, with the LoRAs added to its "
        "weights"),
    LX_FLAG(lx_merge_args, allow_missing, 0, "allow_missing",
            "with --into: leave out modules for which BASE has no layer"),
    LX_TEXT(lx_merge_args, save_precision, 0, "save_precision", "float|fp16|bf16",
            "of the output; the widest of the inputs, or the base's own, when left out"),
    LX_LIST(lx_merge_args, models, 0, "models", "FILE...",
            "the files, in sd-scripts' spelling"),
    LX_LIST(lx_merge_args, ratios, 0, "ratios", "R...", "one strength per file (1)"),
    LX_LIST(lx_merge_args, lbws, 0, "lbws", "LIST...",
            "block weights, one list or preset per file"),
    LX_TEXT(lx_merge_args, like, 0, "like", "sd-scripts",
            "the very numbers of sd-scripts' merge_lora.py, which are not the sum"),
    LX_TEXT(lx_merge_args, precision, 0, "precision", "float|fp16|bf16",
            "as --save_precision, when that is left out; with --like also what merge_lora.py computes in (else lx "
            "adds in f64 and rounds once)"),
    LX_FLAG(lx_merge_args, concat, 0, "concat", "with --like: merge_lora.py's --concat"),
    LX_FLAG(lx_merge_args, shuffle, 0, "shuffle",
            "with --like: merge_lora.py's --shuffle"),
    LX_TEXT(lx_merge_args, save_to, 0, "save_to", "OUT", "as --output"),
    LX_TEXT(lx_merge_args, into, 0, "sd_model", "BASE", "as --into"),
    GIVEN(LX_OPTION_INT, new_rank, "new_rank", "N", "as --rank N"),
    GIVEN(LX_OPTION_INT, conv_rank, "new_conv_rank", "N", "as --conv_rank"),
    LX_FLAG(lx_merge_args, no_metadata, 0, "no_metadata",
            "write only the minimum metadata"),
    LX_TEXT(lx_merge_args, name, 0, "name", "NAME", "of the run in the store"),
    LX_FLAG(lx_merge_args, no_record, 0, "no_record", "do not record the merge as a run"),
    LX_FLAG(lx_merge_args, json, 'j', "json", "print the result as JSON"),
    LX_ARGS(lx_merge_args, files, "FILE[:STRENGTH]", "LoRA files"),
    LX_OPTION_END,
};

/* ---- reading the command line ------------------------------------------------------------ */

static int find_output(lx_merge_job *j, lx_error *err)
{
    const char **inputs = lx_arena_calloc(j->cli->arena, j->n + 1, sizeof *inputs);

    if (!inputs)
        return lx_oom(err);
    j->output = j->args->output ? j->args->output : j->args->save_to;
    j->into = j->args->into;
    for (size_t i = 0; i < j->n; i++)
        inputs[i] = j->inputs[i].path;
    inputs[j->n] = j->into;
    if (j->into && lx_file_is_dir(j->into))
        return lx_merge_check_folder(j, err);
    return lx_check_output(j->output, inputs, j->n + 1, err);
}

static int read_rank(lx_merge_job *j, lx_error *err)
{
    const lx_merge_args *a = j->args;
    lx_merge_options *o = &j->options;
    int64_t rank = a->new_rank;
    lx_error ignored;

    if ((a->rank != NULL) + (a->error != NULL) + a->has_new_rank > 1)
        return lx_fail(err, LX_EUSAGE,
                       "--rank, --new_rank and --error: give one of them");
    if (a->error) {
        o->rank_rule = LX_RANK_ERROR;
        return lx_parse_share(&o->error, a->error, "error", j->cli->arena, err);
    }
    if (a->rank && strcmp(a->rank, "exact") == 0) {
        o->rank_rule = LX_RANK_EXACT;
    } else if (a->rank || a->has_new_rank) {
        o->rank_rule = LX_RANK_FIXED;
        if ((a->rank && lx_parse_int(&rank, a->rank, &ignored) < 0) || rank < 1 ||
            rank > 1 << 20)
            return a->rank ? lx_fail(err, LX_EUSAGE,
                                     "--rank %s: must be exact or a whole number from 1 on",
                                     a->rank)
                           : lx_fail(err, LX_EUSAGE,
                                     "--new_rank %lld: must be a whole number from 1 on",
                                     (long long)rank);
    }
    if (a->has_conv_rank &&
        (a->conv_rank < 1 || a->conv_rank > 1 << 20 || o->rank_rule != LX_RANK_FIXED))
        return lx_fail(err, LX_EUSAGE,
                       "--conv_rank: goes with --rank N, and is 1 or more");
    o->rank = (size_t)rank;
    o->conv_rank = (size_t)a->conv_rank;
    return LX_OK;
}

static int read_method(lx_merge_job *j, lx_error *err)
{
    const lx_merge_args *a = j->args;
    lx_merge_options *o = &j->options;
    int i = 0;

    while (a->method && i < LX_MERGE_METHODS &&
           strcasecmp(a->method, lx_merge_method_names[i]) != 0)
        i++;
    if (i == LX_MERGE_METHODS)
        return lx_fail(err, LX_EUSAGE,
                       "--method %s: must be linear, magnitude_prune, ties, dare, "
                       "dare_ties or knots",
                       a->method);
    o->method = (lx_merge_method)i;
    o->seed = (uint64_t)a->seed;
    o->density = a->has_density ? a->density : 0.5;
    if (!(o->density > 0) || o->density > 1)
        return lx_fail(err, LX_EUSAGE, "--density %g: must be more than 0 and at most 1",
                       a->density);
    if (a->has_density && !o->method)
        return lx_fail(err, LX_EUSAGE,
                       "--density goes with a --method other than linear");
    if (j->into && (o->method || o->rank_rule))
        return lx_fail(
            err, LX_EUSAGE,
            "--into adds the exact sum: merge into a LoRA with %s first, then that into "
            "the base",
            o->method ? "--method" : "--rank or --error");
    return LX_OK;
}

static int read_like(lx_merge_job *j, lx_error *err)
{
    const lx_merge_args *a = j->args;
    lx_dtype precision = LX_F32;
    int rc;

    if (a->precision &&
        (rc = lx_parse_precision(&precision, a->precision, "precision", err)) < 0)
        return rc;
    j->is_like = a->like != NULL;
    if (!j->is_like && (a->concat || a->shuffle))
        return lx_fail(err, LX_EUSAGE,
                       "--%s: lx lays factors side by side anyway; with --like "
                       "sd-scripts it does as "
                       "merge_lora.py",
                       a->concat ? "concat" : "shuffle");
    if (!j->is_like)
        return LX_OK;
    if (strcmp(a->like, "sd-scripts") != 0)
        return lx_fail(err, LX_EUSAGE, "--like %s: must be sd-scripts", a->like);
    if (j->options.method || j->options.rank_rule || j->into)
        return lx_fail(err, LX_EUSAGE,
                       "--like sd-scripts: without --rank, --error, --method, --into");
    if (precision == LX_BF16)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "--precision bf16: merge_lora.py cannot merge LoRAs in it; --save_precision "
            "bf16 is another thing and works");
    for (size_t i = 0; i < j->n; i++)
        if (j->inputs[i].lbw || j->inputs[i].text_strength != j->inputs[i].strength)
            return lx_fail(err, LX_EUSAGE,
                           "--like sd-scripts: merge_lora.py has no block weights and "
                           "one ratio a file");
    j->like = (lx_merge_like){.merge_dtype = precision,
                              .is_concat = a->concat,
                              .is_shuffled = a->shuffle,
                              .seed = (uint64_t)a->seed};
    return LX_OK;
}

/* merge_lora.py writes what it computes in, F32 when it is not told. */
static int read_dtype(lx_merge_job *j, lx_error *err)
{
    const lx_merge_args *a = j->args;

    j->options.dtype = j->like.merge_dtype;
    j->has_dtype = a->save_precision || a->precision || j->is_like;
    if (a->save_precision)
        return lx_parse_precision(&j->options.dtype, a->save_precision, "save_precision", err);
    return a->precision ? lx_parse_precision(&j->options.dtype, a->precision, "precision", err) : LX_OK;
}

/* Nothing is drawn for a sum whose factors stand side by side: who gives a seed expects something else. Decompositions
 * (a method, --rank N, --error) begin from drawn numbers. */
static int check_seed(const lx_merge_job *j, lx_error *err)
{
    const lx_merge_options *o = &j->options;

    if (!j->args->has_seed || j->like.is_shuffled || o->method || o->rank_rule == LX_RANK_FIXED ||
        o->rank_rule == LX_RANK_ERROR)
        return LX_OK;
    return lx_fail(err, LX_EUSAGE, "--seed: nothing is drawn at random here; it goes with --method dare or "
                                   "dare_ties and with --like sd-scripts --shuffle");
}

static int read_args(lx_merge_job *j, lx_error *err)
{
    int rc;

    if (j->args->output && j->args->save_to &&
        strcmp(j->args->output, j->args->save_to) != 0)
        return lx_fail(err, LX_EUSAGE,
                       "--output %s and --save_to %s: they are the same option, give one",
                       j->args->output, j->args->save_to);
    if (j->args->has_seed && j->args->seed < 0)
        return lx_fail(err, LX_EUSAGE, "--seed %lld: must be a whole number from 0 on", (long long)j->args->seed);
    if (j->args->allow_missing && !j->args->into)
        return lx_fail(err, LX_EUSAGE,
                       "--allow_missing belongs to --into BASE: without a base no module "
                       "lacks its layer");
    if ((rc = lx_merge_read_inputs(j, err)) < 0 || (rc = find_output(j, err)) < 0 ||
        (rc = read_rank(j, err)) < 0 || (rc = read_method(j, err)) < 0 ||
        (rc = read_like(j, err)) < 0 || (rc = check_seed(j, err)) < 0)
        return rc;
    return read_dtype(j, err);
}

/* ---- the work ---------------------------------------------------------------------------- */

/* The type that a module's tensors of numbers have, F32 where they differ: lx convert may have widened the up alone. */
static lx_dtype dtype_of(const lx_lora_entry *e)
{
    const lx_tensor_view *first = NULL;

    for (int r = 0; r < LX_ROLE_COUNT; r++) {
        const lx_tensor_view *t = e->tensors[r];
        if (!t || r == LX_ROLE_ALPHA || r == LX_ROLE_SCALE || r == LX_ROLE_IA3_ON_INPUT)
            continue;
        if (first && t->dtype != first->dtype)
            return LX_F32;
        first = t;
    }
    return first ? first->dtype : LX_F32;
}

/* All of one half type: that; else f32. As sd-scripts: what it merges in. */
static lx_dtype widest(const lx_merge_job *j)
{
    lx_dtype first = LX_F32;

    if (j->is_like)
        return j->like.merge_dtype;
    for (size_t i = 0; i < j->n; i++) {
        const lx_lora_file *f = j->inputs[i].file;
        for (size_t k = 0; k < f->n_modules; k++) {
            const lx_dtype d = dtype_of(&f->modules[k]);
            if (i == 0 && k == 0)
                first = d;
            if (d != first || (d != LX_F16 && d != LX_BF16))
                return LX_F32;
        }
    }
    return first;
}

static int open_inputs(lx_merge_job *j, lx_merge *merge, lx_error *err)
{
    int rc;

    for (size_t i = 0; i < j->n; i++) {
        lx_merge_input *in = &j->inputs[i];
        if ((rc = lx_lora_file_open(&in->file, in->path, err)) < 0) {
            lx_within(err, "%s", in->path);
            return rc;
        }
        const lx_merge_source source = {in->file, in->path, in->strength,
                                        in->text_strength, in->lbw ? &in->blocks : NULL};
        rc = lx_merge_add(merge, &source, err);
        if (rc < 0) {
            if (rc != LX_EMISMATCH) /* that one names both files itself */
                lx_within(err, "%s", in->path);
            return rc;
        }
        lx_tell_config_problem(j->cli, "merge", in->file, in->path);
        if (in->file->n_embeddings && !j->cli->is_quiet)
            lx_message(j->cli,
                       "lx merge: %s: %zu embedding%s left out, the first is %s\n",
                       lx_safe(j->cli, in->path), in->file->n_embeddings,
                       in->file->n_embeddings == 1 ? " is" : "s are",
                       lx_safe(j->cli, in->file->embeddings[0]->name));
    }
    return LX_OK;
}

/* The first error of several threads. */
static void keep_error(int *rc, lx_error *err, int failed, const lx_error *own)
{
#pragma omp critical(lx_merge_error)
    if (*rc == LX_OK)
        *rc = lx_fail_as(err, failed, own);
}

/* SHA-256 of the very bytes that are merged, two inputs at a time. */
static int hash_inputs(void *context, size_t i, lx_error *err)
{
    lx_merge_job *j = context;
    lx_merge_input *a = &j->inputs[2 * i], *b = a + 1;
    lx_hash both[2];

    (void)err;
    if (2 * i + 1 == j->n) {
        a->hash = lx_tensor_file_hash(a->file->file);
        return LX_OK;
    }
    lx_tensor_file_hash_two(both, a->file->file, b->file->file);
    a->hash = both[0];
    b->hash = both[1];
    return LX_OK;
}

static size_t n_pairs(const lx_merge_job *j)
{
    return (j->n + 1) / 2;
}

static int lora_metadata(const lx_metadata_entry **entries, size_t *n, void *context,
                         lx_error *err)
{
    const lx_merge_job *j = context;
    lx_metadata_entry *found = NULL;
    int rc = lx_merge_metadata(&found, n, j, &j->result, NULL, err);

    *entries = found;
    return rc;
}

static int make_piece(void *context, size_t i, lx_error *err)
{
    const lx_merge_job *j = context;

    return lx_merge_make(j->merge, i, err);
}

static int begin_record(void *context, lx_error *err)
{
    return lx_merge_record_begin(context, err);
}

static int write_lora(lx_merge_job *j, lx_error *err)
{
    lx_seal_text *texts = lx_arena_calloc(j->cli->arena, j->n, sizeof *texts);
    const lx_seal seal = {.path = j->output,
                          .tensors = j->result.tensors,
                          .n_tensors = j->result.n_tensors,
                          .make = make_piece,
                          .ends = j->result.ends,
                          .n_pieces = j->result.n_pieces,
                          .texts = texts,
                          .n_texts = j->n,
                          .metadata = lora_metadata,
                          .beside = j->args->no_record ? NULL : begin_record,
                          .context = j,
                          .wants_hash = !j->args->no_record};

    if (!texts)
        return lx_oom(err);
    for (size_t i = 0; i < j->n; i++) {
        texts[i].data = lx_tensor_file_bytes(&texts[i].n, j->inputs[i].file->file);
        texts[i].hash = &j->inputs[i].hash;
    }
    return lx_lora_seal(&j->sealed, &seal, err);
}

/* The hashes that the checkpoint's metadata name, of the base and of the inputs, side by side. */
static int hash_all(lx_merge_job *j, lx_error *err)
{
    int rc = LX_OK;

#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < n_pairs(j) + 1; i++) {
        lx_error own;
        const int failed =
            i > 0 ? hash_inputs(j, i - 1, &own)
                  : lx_model_files_hash(&j->into_hash, &j->model, &own); /* the longest */
        keep_error(&rc, err, failed, &own);
    }
    return rc;
}

static int write_checkpoint(lx_merge_job *j, lx_merge *merge, lx_merge_into_result *r,
                            lx_error *err)
{
    int rc;

    if ((rc = hash_all(j, err)) == LX_OK &&
        (rc = lx_merge_write_model(j, merge, r, err)) == LX_OK && !j->args->no_record)
        rc = lx_merge_record_begin(j, err);
    return rc;
}

/* ---- telling ----------------------------------------------------------------------------- */

static void print_json(const lx_merge_job *j, const lx_merge_result *r,
                       const lx_merge_into_result *c)
{
    lx_str out = LX_STR_INIT;

    lx_str_puts(&out, "{\"output\":");
    lx_escape_json(&out, j->output, strlen(j->output));
    if (j->into) {
        lx_str_printf(&out, ",\"tensors\":%zu,\"changed\":%zu,\"missing\":%zu}\n",
                      c->n_tensors, c->n_changed, c->n_missing);
    } else {
        lx_str_printf(
            &out, ",\"modules\":%zu,\"rank\":%lld,\"dtype\":\"%s\",\"error\":%.6g",
            r->n_modules, (long long)r->rank, lx_dtype_name(j->options.dtype), r->error);
        lx_str_puts(&out, j->cli->is_verbose ? ",\"per_module\":[" : "");
        for (size_t i = 0; i < r->n_modules && j->cli->is_verbose; i++) {
            const lx_merge_module *m = &r->modules[i];
            lx_str_puts(&out, i ? ",{\"name\":" : "{\"name\":");
            lx_escape_json(&out, m->name, strlen(m->name));
            lx_str_printf(
                &out, ",\"rank\":%lld,\"exact_rank\":%lld,\"norm\":%.6g,\"error\":%.6g}",
                (long long)m->rank, (long long)m->exact_rank, m->norm, m->error);
        }
        lx_str_puts(&out, j->cli->is_verbose ? "]}\n" : "}\n");
    }
    lx_print(j->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
}

static const char *share_text(const lx_merge_job *j, double share)
{
    const char *text = lx_arena_printf(j->cli->arena, "%.3g %%", 100 * share);

    return text ? text : "?";
}

static void print_modules(const lx_merge_job *j, const lx_merge_result *r)
{
    for (size_t i = 0; i < r->n_modules; i++) {
        const lx_merge_module *m = &r->modules[i];
        if (m->rank)
            lx_print(j->cli, "  %s: rank %lld of %lld, error %s\n",
                     lx_safe(j->cli, m->name), (long long)m->rank,
                     (long long)m->exact_rank, share_text(j, m->error));
        else
            lx_print(j->cli, "  %s: dense\n", lx_safe(j->cli, m->name));
    }
}

static void print_inputs(const lx_merge_job *j)
{
    if (j->into)
        lx_print(j->cli, "  %s\n", lx_safe(j->cli, j->into));
    for (size_t i = 0; i < j->n; i++) {
        const lx_merge_input *in = &j->inputs[i];
        lx_print(j->cli, "%s %s x %g", i || j->into ? "+" : " ",
                 lx_safe(j->cli, in->path), in->strength);
        if (in->text_strength != in->strength)
            lx_print(j->cli, ", text encoder x %g", in->text_strength);
        if (in->lbw)
            lx_print(j->cli, ", blocks %s", lx_safe(j->cli, in->lbw));
        lx_print(j->cli, "\n");
    }
}

static void print_result(const lx_merge_job *j, const lx_merge_result *r)
{
    const char *rank =
        r->rank ? lx_arena_printf(j->cli->arena, "rank %lld", (long long)r->rank)
                : "ranks that differ";
    const char *method = lx_merge_describe(j);

    if (j->cli->is_verbose)
        print_modules(j, r);
    lx_print(j->cli, "= %s: %zu module%s, %s, %s, ", lx_safe(j->cli, j->output),
             r->n_modules, lx_plural(r->n_modules), rank ? rank : "?", lx_dtype_name(j->options.dtype));
    if (*method)
        lx_print(j->cli, "%s", method);
    else if (r->error == 0)
        lx_print(j->cli, "the exact sum of the deltas");
    else
        lx_print(j->cli, "the sum of the deltas");
    if (r->error > 0)
        lx_print(j->cli, ", cut with an error of %s", share_text(j, r->error));
    lx_print(j->cli, "\n");
}

static void report(const lx_merge_job *j, const lx_merge_result *r,
                   const lx_merge_into_result *c)
{
    if (j->args->json) {
        print_json(j, r, c);
        return;
    }
    print_inputs(j);
    if (!j->into) {
        print_result(j, r);
        return;
    }
    lx_print(j->cli, "= %s: %zu of %zu tensors changed", lx_safe(j->cli, j->output),
             c->n_changed, c->n_tensors);
    if (j->n_left_out)
        lx_print(j->cli,
                 "; %zu other file%s of the same weights %s left out, the first is %s",
                 j->n_left_out, lx_plural(j->n_left_out), j->n_left_out == 1 ? "is" : "are",
                 lx_safe(j->cli, j->first_left_out));
    if (c->n_missing)
        lx_print(j->cli, "; %zu module%s no layer there, the first is %s",
                 c->n_missing, c->n_missing == 1 ? " has" : "s have", lx_safe(j->cli, c->first_missing));
    lx_print(j->cli, "\n");
}

static int confine(lx_merge_job *j, lx_error *err)
{
    const char **inputs = lx_arena_calloc(j->cli->arena, j->n + 1, sizeof *inputs);

    if (!inputs)
        return lx_oom(err);
    for (size_t i = 0; i < j->n; i++)
        inputs[i] = j->inputs[i].path;
    inputs[j->n] = j->into;
    return lx_bounds_of_derived(j->cli, inputs, j->n + 1, j->output, !j->args->no_record,
                                err);
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    lx_merge_job j = {.cli = cli, .args = args};
    lx_merge_into_result changed = {0};
    int rc;

    if ((rc = read_args(&j, err)) < 0 || (rc = confine(&j, err)) < 0 ||
        (rc = lx_merge_new(&j.merge, err)) < 0 ||
        (rc = open_inputs(&j, j.merge, err)) < 0)
        goto done;
    if (!j.has_dtype)
        j.options.dtype = widest(&j);
    if (j.into && (rc = lx_model_files_open(&j.model, j.into, err)) < 0)
        goto done;
    if (j.into)
        rc = write_checkpoint(&j, j.merge, &changed, err);
    else if ((rc =
                  j.is_like
                      ? lx_merge_finish_like(&j.result, j.merge, &j.options, &j.like, err)
                      : lx_merge_begin(&j.result, j.merge, &j.options, err)) == LX_OK)
        rc = write_lora(&j, err);
    rc = lx_merge_record_end(&j, rc, err);
    if (rc == LX_OK)
        report(&j, &j.result, &changed);
done:
    lx_merge_free(j.merge);
    lx_model_files_close(&j.model);
    for (size_t i = 0; i < j.n; i++)
        lx_lora_file_close(j.inputs[i].file);
    return rc;
}

const lx_command lx_cmd_merge = {
    .name = "merge",
    .summary = "add LoRAs up into one, or into a checkpoint",
    .usage = "FILE[:STRENGTH]... -o OUT",
    .help =
        "The output is the exact sum of strength x delta over the files: what loading "
        "all of\n"
        "them at those strengths does. Its rank is the sum of the ranks. Files of "
        "different\n"
        "ranks are refused unless --rank exact, --rank N or --error 1% says what to do; "
        "what\n"
        "cutting to a rank loses is printed, with --verbose for each module. LoRA, "
        "LoCon, LoHa,\n"
        "LoKr and full differences mix, and so do the spellings of their names. Behind "
        "a\n"
        "file may stand :te=STRENGTH for its text encoders and :lbw=LIST for its "
        "blocks.\n"
        "\n"
        "With --into BASE the sum is added to a checkpoint's weights, one tensor at a "
        "time,\n"
        "also that of DoRA, OFT, IA3 and GLoRA. A diffusers folder becomes a folder.\n"
        "\n"
        "sd-scripts' merge_lora.py squares the ratios and mixes the files' factors; the "
        "same\n"
        "numbers give another result there (docs/guide/merge.md), which --like "
        "sd-scripts\n"
        "reproduces.\n"
        "\n"
        "Examples:\n"
        "  lx merge face.safetensors:0.7 style.safetensors:0.4 -o both.safetensors\n"
        "  lx merge face.safetensors:1:lbw=OUTALL style.safetensors --rank 32 -o "
        "both.safetensors\n"
        "  lx merge a.safetensors b.safetensors --method ties --density 0.3 -o "
        "c.safetensors\n"
        "  lx merge face.safetensors:0.8 --into model.safetensors -o baked.safetensors\n"
        "  lx merge --models a.safetensors b.safetensors --ratios 0.7 0.4 \\\n"
        "           --save_to both.safetensors --save_precision fp16\n",
    .options = options,
    .args_size = sizeof(lx_merge_args),
    .run = run,
};
