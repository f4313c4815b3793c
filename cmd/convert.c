/* lx convert - a LoRA in another program's spelling or in another precision */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/bounds.h"
#include "cmd/derived.h"
#include "src/base/file.h"
#include "src/base/python.h"
#include "src/lora/convert.h"

/* Raised when the same inputs and settings give other bytes. */
enum { ARITHMETIC_VERSION = 1, MOST_INPUTS = 8 };

typedef struct convert_args {
    lx_words files, drop;
    const char *output, *to, *precision, *base, *name;
    bool no_record, json;
} convert_args;

static const lx_option options[] = {
    LX_TEXT(convert_args, output, 'o', "output", "OUT",
            "the file to write; for PEFT the folder"),
    LX_TEXT(convert_args, to, 0, "to", "NAME",
            "whose spelling: kohya, diffusers, diffusers-old, peft or comfyui; the "
            "file's own "
            "when left out"),
    LX_TEXT(convert_args, precision, 0, "precision", "NAME",
            "f32, f16, bf16, f8_e4m3 or f8_e5m2; each tensor's own when left out"),
    LX_REPEAT(
        convert_args, drop, 0, "drop", "PATTERN",
        "leave out the keys that the pattern matches, like '*.diff_b'; again for more"),
    LX_TEXT(convert_args, base, 0, "base", "NAME",
            "where a file of few layers does not tell its model: flux, sd3, "
            "hunyuan-video or qwen-image"),
    LX_TEXT(convert_args, name, 0, "name", "NAME", "of the run in the store"),
    LX_FLAG(convert_args, no_record, 0, "no_record",
            "do not record the conversion as a run"),
    LX_FLAG(convert_args, json, 'j', "json", "print the result as JSON, key by key"),
    LX_ARGS(convert_args, files, "LORA",
            "a LoRA file of any spelling, pickles too, or PEFT's folder"),
    LX_OPTION_END,
};

typedef struct convert_input {
    const char *path;
    lx_lora_part part;
    lx_lora_file *file;
    lx_hash hash;
} convert_input;

typedef struct convert_output {
    const char *path, *folder; /* folder: PEFT's, else NULL */
    lx_sealed written;
} convert_output;

typedef struct convert_job {
    lx_cli *cli;
    const convert_args *args;
    const char *source, *output;
    convert_input inputs[MOST_INPUTS];
    size_t n_inputs;
    lx_convert_options options;
    lx_convert_result result;
    convert_output outputs[LX_CONVERT_PARTS];
    lx_derived_run run;
} convert_job;

/* ---- reading the command line ------------------------------------------------------------ */

static bool writes_folder(const convert_job *j)
{
    return !j->options.keeps_names && j->options.to == LX_SPELL_PEFT;
}

static int find_spelling(convert_job *j, lx_error *err)
{
    lx_convert_options *o = &j->options;
    int i = 0;

    o->keeps_names = !j->args->to;
    while (j->args->to && i < LX_SPELLINGS &&
           strcmp(j->args->to, lx_spelling_names[i]) != 0)
        i++;
    if (i == LX_SPELLINGS)
        return lx_fail(
            err, LX_EUSAGE,
            "--to %s: must be kohya, diffusers, diffusers-old, peft or comfyui",
            j->args->to);
    o->to = (lx_spelling)i;
    return LX_OK;
}

static int find_precision(convert_job *j, lx_error *err)
{
    static const struct {
        const char *name;
        lx_dtype dtype;
    } names[] = {{"f32", LX_F32},         {"f16", LX_F16},         {"bf16", LX_BF16},
                 {"f8_e4m3", LX_F8_E4M3}, {"f8_e5m2", LX_F8_E5M2}, {"float", LX_F32},
                 {"fp16", LX_F16}};

    if (!j->args->precision)
        return LX_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(j->args->precision, names[i].name) == 0) {
            j->options.has_dtype = true;
            j->options.dtype = names[i].dtype;
            return LX_OK;
        }
    return lx_fail(err, LX_EUSAGE,
                   "--precision %s: must be f32, f16, bf16, f8_e4m3 or f8_e5m2",
                   j->args->precision);
}

static int find_network(convert_job *j, lx_error *err)
{
    static const struct {
        const char *name;
        lx_fused network;
    } names[] = {{"flux", LX_FUSED_FLUX},
                 {"sd3", LX_FUSED_SD3},
                 {"hunyuan-video", LX_FUSED_HUNYUAN_VIDEO},
                 {"qwen-image", LX_FUSED_NONE}};

    if (!j->args->base)
        return LX_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(j->args->base, names[i].name) == 0) {
            j->options.has_network = true;
            j->options.network = names[i].network;
            return LX_OK;
        }
    return lx_fail(err, LX_EUSAGE,
                   "--base %s: must be flux, sd3, hunyuan-video or qwen-image",
                   j->args->base);
}

static int add_input(convert_job *j, const char *path, lx_lora_part part, lx_error *err)
{
    if (!path)
        return lx_oom(err);
    lx_assert(j->n_inputs < MOST_INPUTS);
    j->inputs[j->n_inputs++] = (convert_input){.path = path, .part = part};
    return LX_OK;
}

/* The LoRA in a folder, by the names that PEFT and diffusers save it under; 0: none. */
static int look_in(convert_job *j, const char *folder, lx_lora_part part, lx_error *err)
{
    static const char *const names[] = {"adapter_model.safetensors", "adapter_model.bin",
                                        "pytorch_lora_weights.safetensors",
                                        "pytorch_lora_weights.bin"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = lx_arena_printf(j->cli->arena, "%s/%s", folder, names[i]);
        if (!path)
            return lx_oom(err);
        if (lx_file_exists(path)) {
            const int rc = add_input(j, path, part, err);
            return rc < 0 ? rc : 1;
        }
    }
    return 0;
}

static int find_inputs(convert_job *j, lx_error *err)
{
    static const struct {
        const char *folder;
        lx_lora_part part;
    } parts[] = {{"unet", LX_LORA_UNET},
                 {"transformer", LX_LORA_UNET},
                 {"text_encoder", LX_LORA_TEXT_ENCODER},
                 {"text_encoder_2", LX_LORA_TEXT_ENCODER_2},
                 {"text_encoder_3", LX_LORA_TEXT_ENCODER_3}};
    int rc;

    if (!lx_file_is_dir(j->source))
        return add_input(j, j->source, LX_LORA_PART_COUNT, err);
    if ((rc = look_in(j, j->source, LX_LORA_PART_COUNT, err)) != 0)
        return rc < 0 ? rc : LX_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *folder =
            lx_arena_printf(j->cli->arena, "%s/%s", j->source, parts[i].folder);
        if (!folder)
            return lx_oom(err);
        if ((rc = look_in(j, folder, parts[i].part, err)) < 0)
            return rc;
    }
    return j->n_inputs
               ? LX_OK
               : lx_fail(err, LX_ENOTFOUND,
                         "%s: a folder without adapter_model or pytorch_lora_weights",
                         j->source);
}

/* Does the file, or what it links to, lie in the folder? */
static bool is_in(const char *folder, const char *file, lx_arena *arena)
{
    char real[PATH_MAX];
    const char *const paths[] = {file, realpath(file, real)};

    for (int i = 0; i < 2; i++) {
        const char *base = paths[i] ? lx_path_base(paths[i]) : NULL, *beside;
        if (!base)
            continue;
        beside = base == paths[i]
                     ? "."
                     : lx_arena_strndup(arena, paths[i], (size_t)(base - paths[i]));
        if (beside && lx_is_same_file(folder, beside))
            return true;
    }
    return false;
}

/* adapter_config.json speaks for the files beside it, and an input's own would be replaced. */
static int check_folder(const convert_job *j, const char *folder, lx_error *err)
{
    bool holds = lx_file_is_dir(j->source) && lx_is_same_file(folder, j->source);

    for (size_t i = 0; i < j->n_inputs && !holds; i++)
        holds = is_in(folder, j->inputs[i].path, j->cli->arena);
    return holds ? lx_fail(err, LX_EEXISTS,
                           "%s: the LoRA to convert lies in it, and an adapter_config.json "
                           "there would be read with it: choose another folder",
                           folder)
                 : LX_OK;
}

static int read_args(convert_job *j, lx_error *err)
{
    const convert_args *a = j->args;
    const char *inputs[MOST_INPUTS];
    int rc;

    if (a->files.count != 1)
        return lx_fail(err, LX_EUSAGE,
                       a->files.count
                           ? "one file at a time: lx convert LORA --to NAME -o OUT"
                           : "nothing to convert: lx convert LORA --to NAME -o OUT");
    j->source = a->files.items[0];
    j->output = a->output;
    j->options.drops = a->drop.items;
    j->options.n_drops = a->drop.count;
    if ((rc = find_spelling(j, err)) < 0 || (rc = find_precision(j, err)) < 0 ||
        (rc = find_network(j, err)) < 0)
        return rc;
    if (!a->to && !a->precision && !a->drop.count)
        return lx_fail(
            err, LX_EUSAGE,
            "nothing to do: add --to NAME, --precision NAME or --drop PATTERN");
    if (writes_folder(j) && j->output &&
        (lx_ends_with(j->output, ".safetensors") || lx_ends_with(j->output, ".bin")))
        return lx_fail(err, LX_EUSAGE, "--output %s: --to peft writes a folder",
                       j->output);
    if ((rc = find_inputs(j, err)) < 0)
        return rc;
    if (writes_folder(j) && j->output)
        return check_folder(j, j->output, err);
    for (size_t i = 0; i < j->n_inputs; i++)
        inputs[i] = j->inputs[i].path;
    return lx_check_output(j->output, inputs, j->n_inputs, err);
}

/* ---- what the file says of itself --------------------------------------------------------- */

static const char *spelling_of(const convert_job *j)
{
    return j->options.keeps_names ? "as it was" : lx_spelling_names[j->options.to];
}

static cJSON *settings_json(const convert_job *j)
{
    cJSON *root = cJSON_CreateObject(), *drops;

    cJSON_AddStringToObject(root, "to", spelling_of(j));
    if (j->options.has_dtype)
        cJSON_AddStringToObject(root, "precision", lx_dtype_name(j->options.dtype));
    if (j->args->base)
        cJSON_AddStringToObject(root, "base", j->args->base);
    if (j->options.n_drops)
        drops = cJSON_AddArrayToObject(root, "drop");
    for (size_t i = 0; i < j->options.n_drops; i++)
        cJSON_AddItemToArray(drops, cJSON_CreateString(j->options.drops[i]));
    return root;
}

/* The file, what it was, and all keys that were dropped. */
static const char *lineage(const convert_job *j, const convert_input *in)
{
    cJSON *root = settings_json(j);
    char hex[LX_HASH_HEX + 1];
    const char *text;

    lx_hash_hex(hex, &in->hash);
    cJSON_AddStringToObject(root, "file", lx_path_base(in->path));
    cJSON_AddStringToObject(root, "sha256", hex);
    cJSON_AddStringToObject(root, "from", in->file->family);
    if (j->result.n_dropped) {
        cJSON *dropped = cJSON_AddArrayToObject(root, "dropped");
        for (size_t i = 0; i < j->result.n_dropped; i++)
            cJSON_AddItemToArray(dropped, cJSON_CreateString(j->result.dropped[i]));
    }
    text = lx_json_in_arena(root, j->cli->arena);
    cJSON_Delete(root);
    return text;
}

static void put_missing(lx_metadata_table *t, const char *key, const char *value)
{
    if (!lx_metadata_find(t, key))
        lx_metadata_put(t, key, value);
}

/* sd-scripts and AUTOMATIC1111 tell the base model by these, and take any other metadata for SD 1.x. */
static void put_kohya(lx_metadata_table *t, const convert_job *j)
{
    const lx_convert_result *r = &j->result;
    const bool is_sd1 = strcmp(r->base, "SD 1.x") == 0;
    const lx_fused network = r->model.fused;
    char alpha[40];

    lx_python_float(alpha, r->alpha);
    put_missing(t, "ss_v2", r->model.is_sd2 ? "True" : "False");
    put_missing(t, "ss_base_model_version",
                r->model.is_sdxl           ? "sdxl_base_v1-0"
                : r->model.is_sd2          ? "sd_v2"
                : is_sd1                   ? "sd_v1"
                : network == LX_FUSED_FLUX ? "flux1"
                                           : NULL);
    put_missing(t, "ss_network_module",
                r->n_lora != r->n_modules  ? "lycoris.kohya"
                : network == LX_FUSED_FLUX ? "networks.lora_flux"
                : network == LX_FUSED_SD3  ? "networks.lora_sd3"
                                           : "networks.lora");
    put_missing(t, "ss_network_dim",
                r->rank ? lx_arena_printf(t->arena, "%lld", (long long)r->rank)
                        : "Dynamic");
    put_missing(t, "ss_network_alpha",
                r->alpha != 0 ? lx_arena_strdup(t->arena, alpha) : "Dynamic");
}

static int make_metadata(lx_metadata_table *t, const convert_job *j, size_t part,
                         lx_error *err)
{
    const bool is_kohya = !j->options.keeps_names && j->options.to == LX_SPELL_KOHYA;
    const bool is_pytorch =
        !j->options.keeps_names && !is_kohya && j->options.to != LX_SPELL_COMFYUI;

    *t = (lx_metadata_table){.arena = j->cli->arena};
    for (size_t i = j->n_inputs; i > 0; i--) /* the first has the last word */
        lx_metadata_take(t, j->inputs[i - 1].file->file);
    if (!j->options
             .keeps_names) { /* the alphas that they told are in the tensors now, or not there */
        lx_metadata_drop(t, "lora_adapter_metadata");
        lx_metadata_drop(t, LX_CONVERT_SCALES);
        lx_metadata_drop(t, LX_CONVERT_ALPHAS);
        lx_metadata_put(t, LX_CONVERT_SCALES, j->result.parts[part].scales);
        lx_metadata_put(t, LX_CONVERT_ALPHAS, j->result.alphas);
    }
    if (is_kohya)
        put_kohya(t, j);
    if (is_pytorch)
        lx_metadata_put(t, "format", "pt");
    lx_metadata_put(t, "lx.convert", lineage(j, &j->inputs[0]));
    lx_metadata_put(t, "lx.version", LX_VERSION);
    return lx_metadata_check(t, err);
}

/* ---- telling ------------------------------------------------------------------------------ */

static const char *dtype_text(const convert_job *j)
{
    const lx_convert_part *p = &j->result.parts[0];
    lx_dtype first = LX_F32;
    bool has_first = false;

    for (size_t i = 0; i < p->n_keys; i++) {
        if (!p->keys[i].to.n_dims)
            continue; /* alphas */
        if (has_first && p->keys[i].to.dtype != first)
            return "several precisions";
        first = p->keys[i].to.dtype;
        has_first = true;
    }
    return lx_dtype_name(first);
}

static void print_changes(const convert_job *j)
{
    const lx_convert_result *r = &j->result;

    if (r->n_repaired)
        lx_print(j->cli, "  %zu name%s that a conversion had damaged %s repaired\n",
                 r->n_repaired, lx_plural(r->n_repaired), r->n_repaired == 1 ? "is" : "are");
    if (r->n_split)
        lx_print(j->cli, "  %zu fused layer%s taken apart\n", r->n_split,
                 r->n_split == 1 ? " is" : "s are");
    if (r->n_fused)
        lx_print(j->cli, "  %zu fused layer%s put together\n", r->n_fused,
                 r->n_fused == 1 ? " is" : "s are");
    if (r->n_swapped)
        lx_print(j->cli, "  shift and scale change places in %zu layer%s\n", r->n_swapped,
                 lx_plural(r->n_swapped));
    if (r->n_t5 && !j->options.keeps_names && j->options.to == LX_SPELL_DIFFUSERS)
        lx_print(j->cli,
                 "  %zu module%s the text encoder T5's, whose LoRA diffusers does "
                 "not load\n",
                 r->n_t5, r->n_t5 == 1 ? " is" : "s are");
    if (r->has_uneven_ranks && !j->options.keeps_names && j->options.to == LX_SPELL_DIFFUSERS)
        lx_print(j->cli,
                 "  its ranks differ, and pipe.load_lora_weights scales all of a network by one: lx resize with\n"
                 "  --rank of the largest (and --conv_rank) gives it one rank, and changes nothing else\n");
    if (r->n_zero_alphas)
        lx_print(j->cli, "  %zu alpha%s alpha = rank and %s so now\n",
                 r->n_zero_alphas, r->n_zero_alphas == 1 ? " of 0 means" : "s of 0 mean",
                 r->n_zero_alphas == 1 ? "says" : "say");
    if (r->n_folded)
        lx_print(j->cli, "  alpha / rank of %zu module%s is multiplied into up%s\n",
                 r->n_folded, lx_plural(r->n_folded), r->n_inexact ? "" : ", exactly");
    if (r->n_widened)
        lx_print(
            j->cli,
            "  %zu of them %s F32 now, as half precision would round: --precision has "
            "them rounded\n",
            r->n_widened, r->n_widened == 1 ? "is" : "are");
    if (r->n_inexact)
        lx_print(j->cli, "  %zu of them %s rounded by it\n", r->n_inexact,
                 r->n_inexact == 1 ? "was" : "were");
    if (r->n_restored)
        lx_print(j->cli, "  alpha / rank of %zu module%s is out of up again, exactly\n",
                 r->n_restored, lx_plural(r->n_restored));
    if (r->rounding > 0)
        lx_print(j->cli, "  rounding to %s: %.3g %% of the values' norm\n",
                 lx_dtype_name(j->options.dtype), 100 * r->rounding);
    if (r->n_vanished)
        lx_print(j->cli, "  %zu value%s too small for %s and %s 0 now\n", r->n_vanished,
                 r->n_vanished == 1 ? " is" : "s are", lx_dtype_name(j->options.dtype),
                 r->n_vanished == 1 ? "is" : "are");
    for (size_t i = 0; i < r->n_dropped; i++)
        lx_print(j->cli, "  dropped: %s\n", lx_safe(j->cli, r->dropped[i]));
}

static void print_result(const convert_job *j)
{
    const lx_convert_result *r = &j->result;
    size_t n = 0, n_modules = 0;

    for (size_t i = 0; i < j->n_inputs; i++)
        n_modules += j->inputs[i].file->n_modules;
    for (size_t p = 0; p < r->n_parts; p++)
        n += r->parts[p].n_keys;
    for (size_t p = 0; p < r->n_parts && j->cli->is_verbose; p++)
        for (size_t i = 0; i < r->parts[p].n_keys; i++) {
            const lx_convert_key *k = &r->parts[p].keys[i];
            lx_print(j->cli, "  %s <- %s\n", lx_safe(j->cli, k->to.name),
                     k->from ? lx_safe(j->cli, k->from) : "(made: alpha)");
        }
    lx_print(j->cli, "  %s: %s, %zu module%s\n", lx_safe(j->cli, j->source),
             j->inputs[0].file->family, n_modules, lx_plural(n_modules));
    lx_print(j->cli, "= %s: %s, %s, %zu key%s", lx_safe(j->cli, j->output), spelling_of(j),
             dtype_text(j), n, lx_plural(n));
    if (r->n_parts > 1)
        lx_print(j->cli, " in %zu folders", r->n_parts);
    lx_print(j->cli, "\n");
    print_changes(j);
}

static void put_keys(lx_str *out, const lx_convert_part *p)
{
    for (size_t i = 0; i < p->n_keys; i++) {
        const lx_convert_key *k = &p->keys[i];
        lx_str_puts(out, i ? ",{\"to\":" : "{\"to\":");
        lx_escape_json(out, k->to.name, strlen(k->to.name));
        lx_str_puts(out, ",\"from\":");
        if (k->from)
            lx_escape_json(out, k->from, strlen(k->from));
        else
            lx_str_puts(out, "null");
        lx_str_printf(out, ",\"dtype\":\"%s\"}", lx_dtype_name(k->to.dtype));
    }
}

static void print_json(const convert_job *j)
{
    const lx_convert_result *r = &j->result;
    lx_str out = LX_STR_INIT;
    char rounding[32];

    lx_format_double(rounding, r->rounding);
    lx_str_puts(&out, "{\"output\":");
    lx_escape_json(&out, j->output, strlen(j->output));
    lx_str_printf(
        &out,
        ",\"from\":\"%s\",\"to\":\"%s\",\"modules\":%zu,\"repaired\":%zu,"
        "\"split\":%zu,\"fused\":%zu,\"swapped\":%zu,\"zero_alphas\":%zu,\"folded\":%zu,"
        "\"rounded_by_"
        "folding\":%zu,"
        "\"widened\":%zu,\"restored\":%zu,\"rounding\":%s,\"vanished\":%zu,\"dropped\":[",
        j->inputs[0].file->family, spelling_of(j), r->n_modules, r->n_repaired,
        r->n_split, r->n_fused, r->n_swapped, r->n_zero_alphas, r->n_folded, r->n_inexact,
        r->n_widened, r->n_restored, rounding, r->n_vanished);
    for (size_t i = 0; i < r->n_dropped; i++) {
        lx_str_puts(&out, i ? "," : "");
        lx_escape_json(&out, r->dropped[i], strlen(r->dropped[i]));
    }
    lx_str_puts(&out, "],\"files\":[");
    for (size_t p = 0; p < r->n_parts; p++) {
        lx_str_puts(&out, p ? ",{\"file\":" : "{\"file\":");
        lx_escape_json(&out, j->outputs[p].path, strlen(j->outputs[p].path));
        lx_str_puts(&out, ",\"keys\":[");
        put_keys(&out, &r->parts[p]);
        lx_str_puts(&out, "]}");
    }
    lx_str_puts(&out, "]}\n");
    lx_print(j->cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
}

/* ---- the work ----------------------------------------------------------------------------- */

/* While the first of the files is written. */
static int begin_record(void *context, lx_error *err)
{
    convert_job *j = context;
    cJSON *settings = settings_json(j), *sources = cJSON_CreateArray();
    const char *paths[MOST_INPUTS];
    lx_derived d = {.cli = j->cli,
                    .kind = "convert",
                    .name = j->args->name,
                    .arithmetic = ARITHMETIC_VERSION,
                    .settings = settings,
                    .sources = sources,
                    .paths = paths};
    int rc = LX_OK;

    for (size_t i = 0; i < j->n_inputs; i++) {
        lx_derived_source(sources, &j->inputs[i].hash);
        paths[i] = j->inputs[i].path;
    }
    if (!j->run.run)
        rc = lx_derived_begin(&j->run, &d, err);
    cJSON_Delete(sources);
    cJSON_Delete(settings);
    return rc;
}

static int end_record(convert_job *j, int rc, lx_error *err)
{
    lx_derived_output outputs[LX_CONVERT_PARTS];

    for (size_t p = 0; p < j->result.n_parts; p++)
        outputs[p] =
            (lx_derived_output){"lora", j->outputs[p].path, &j->outputs[p].written.file,
                                j->outputs[p].written.tensors};
    return lx_derived_end(&j->run, outputs, j->result.n_parts, rc, err);
}

static int open_inputs(convert_job *j, lx_convert *convert, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < j->n_inputs && rc == LX_OK; i++) {
        convert_input *in = &j->inputs[i];
        if ((rc = lx_lora_file_open(&in->file, in->path, err)) < 0 ||
            (rc = lx_convert_add(convert, in->file, in->part, err)) < 0)
            lx_within(err, "%s", in->path);
        else
            in->hash = lx_tensor_file_hash(in->file->file);
        if (rc == LX_OK)
            lx_tell_config_problem(j->cli, "convert", in->file, in->path);
    }
    return rc;
}

/* Where each part goes, and that no input is there: before any of them is written. */
static int name_outputs(convert_job *j, lx_error *err)
{
    int rc = LX_OK;

    for (size_t p = 0; p < j->result.n_parts && rc == LX_OK; p++) {
        convert_output *out = &j->outputs[p];
        out->path = j->output;
        if (!writes_folder(j))
            continue;
        out->folder = j->result.n_parts == 1
                          ? j->output
                          : lx_arena_printf(j->cli->arena, "%s/%s", j->output,
                                            j->result.parts[p].folder);
        out->path = out->folder ? lx_arena_printf(j->cli->arena, "%s/adapter_model.safetensors",
                                                  out->folder)
                                : NULL;
        rc = out->path ? check_folder(j, out->folder, err) : lx_oom(err);
        for (size_t i = 0; i < j->n_inputs && rc == LX_OK; i++) /* a hard link */
            rc = lx_check_output(out->path, &j->inputs[i].path, 1, err);
    }
    return rc;
}

/* PEFT's config, which takes its place when the tensors have theirs: those are never without their own. */
static int begin_config(lx_new_file **out, convert_job *j, size_t p, lx_error *err)
{
    const char *config = j->result.parts[p].config,
               *path = lx_arena_printf(j->cli->arena, "%s/adapter_config.json",
                                       j->outputs[p].folder);
    int rc;

    if (!path)
        return lx_oom(err);
    if ((rc = lx_make_dirs(j->outputs[p].folder, err)) < 0 ||
        (rc = lx_new_file_open(out, path, err)) < 0)
        return rc;
    return lx_new_file_write(*out, config, strlen(config), err);
}

static int write_part(convert_job *j, size_t p, lx_error *err)
{
    const lx_convert_part *part = &j->result.parts[p];
    lx_tensor_view *views =
        lx_arena_calloc(j->cli->arena, part->n_keys + 1, sizeof *views);
    lx_metadata_table metadata;
    lx_new_file *config = NULL;
    int rc;

    if (!views)
        return lx_oom(err);
    for (size_t i = 0; i < part->n_keys; i++)
        views[i] = part->keys[i].to;
    if ((rc = make_metadata(&metadata, j, p, err)) == LX_OK && j->outputs[p].folder)
        rc = begin_config(&config, j, p, err);
    if (rc == LX_OK)
        rc = lx_write_lora(&j->outputs[p].written, j->outputs[p].path, views,
                           part->n_keys, &metadata,
                           j->args->no_record ? NULL : begin_record, j, err);
    if (rc == LX_OK && config)
        rc = lx_new_file_commit(config, err);
    lx_new_file_close(config);
    return rc;
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    convert_job j = {.cli = cli, .args = args};
    lx_convert *convert = NULL;
    int rc;

    if ((rc = read_args(&j, err)) < 0 ||
        (rc = lx_bounds_of_derived(cli, &j.source, 1, j.output, !j.args->no_record,
                                   err)) < 0 ||
        (rc = lx_convert_new(&convert, err)) < 0 ||
        (rc = open_inputs(&j, convert, err)) < 0)
        goto done;
    if ((rc = lx_convert_run(&j.result, convert, &j.options, err)) < 0) {
        if (rc != LX_EUSAGE)
            lx_within(err, "%s", j.source);
        goto done;
    }
    rc = name_outputs(&j, err);
    for (size_t p = 0; p < j.result.n_parts && rc == LX_OK; p++)
        rc = write_part(&j, p, err);
    rc = end_record(&j, rc, err);
    if (rc == LX_OK && j.args->json)
        print_json(&j);
    else if (rc == LX_OK)
        print_result(&j);
done:
    lx_convert_free(convert);
    for (size_t i = 0; i < j.n_inputs; i++)
        lx_lora_file_close(j.inputs[i].file);
    return rc;
}

const lx_command lx_cmd_convert = {
    .name = "convert",
    .summary = "spell a LoRA as another program does, or change its precision",
    .usage = "LORA --to NAME -o OUT",
    .help =
        "Every key of the file becomes one that the other program looks for, or the "
        "conversion\n"
        "fails and names the key: nothing is lost in silence. --drop leaves keys out on "
        "purpose\n"
        "and lists them. Values keep their bits unless --precision rounds them, and what "
        "that\n"
        "costs is told.\n"
        "\n"
        "Read are sd-scripts', LyCORIS', diffusers' (old and new), PEFT's, "
        "OneTrainer's,\n"
        "ai-toolkit's and cloneofsimo's names, those that a conversion damaged, and "
        "pickles\n"
        "(.pt, .bin), of which nothing is run. Written are:\n"
        "\n"
        "  kohya          sd-scripts, AUTOMATIC1111, and all that read their files\n"
        "  diffusers      pipe.load_lora_weights; alpha / rank goes into the factors\n"
        "  diffusers-old  its attention processors, before 0.17\n"
        "  peft           a folder with adapter_config.json; one for each network\n"
        "  comfyui        the names of the model itself, which ComfyUI matches as they "
        "are\n"
        "\n"
        "Without --to the keys stay as they are.\n"
        "\n"
        "Examples:\n"
        "  lx convert pytorch_lora_weights.bin --to kohya -o style.safetensors\n"
        "  lx convert style.safetensors --to peft -o style-peft\n"
        "  lx convert style.safetensors --precision bf16 -o style-bf16.safetensors\n"
        "  lx convert odd.safetensors --to comfyui --drop '*.ema_*' -o "
        "fine.safetensors\n",
    .options = options,
    .args_size = sizeof(convert_args),
    .run = run,
};
