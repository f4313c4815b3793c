/* What is recorded and said of a training's flags: JSON, the command line, notes, TOML, docs. */
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd/debug.h"
#include "cmd/train_flag.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/lora/file.h"

/* The value as JSON; NULL without memory. */
static cJSON *value_json(const lx_flag *flag, const lx_flag_value *v)
{
    cJSON *list;

    if (flag->type == LX_TYPE_FLAG)
        return cJSON_CreateBool(v->is_on);
    if (v->is_null)
        return cJSON_CreateNull();
    switch (flag->type) {
    case LX_TYPE_INT:
    case LX_TYPE_SIZE:
        return cJSON_CreateNumber((double)v->whole);
    case LX_TYPE_SHARE:
        if (v->number < 0) /* LX_ALL_STEPS */
            return cJSON_CreateString("100%");
        return cJSON_CreateNumber(v->number);
    case LX_TYPE_NUMBER:
        return cJSON_CreateNumber(v->number);
    case LX_TYPE_NUMBERS:
        return cJSON_CreateDoubleArray(v->numbers, (int)v->words.count);
    case LX_TYPE_TEXTS:
    case LX_TYPE_REPEAT:
        list = cJSON_CreateArray();
        for (size_t i = 0; list && i < v->words.count; i++)
            cJSON_AddItemToArray(list, cJSON_CreateString(v->words.items[i]));
        return list;
    default:
        return cJSON_CreateString(v->text);
    }
}

/* As the user wrote it: text, or a list of texts, or true. */
static cJSON *words_json(const lx_flag *flag, const lx_flag_words *given)
{
    const lx_words *words = &given->words;
    cJSON *list;

    if (flag->type == LX_TYPE_FLAG)
        return cJSON_CreateBool(given->is_on);
    if (flag->type != LX_TYPE_TEXTS && flag->type != LX_TYPE_NUMBERS &&
        flag->type != LX_TYPE_REPEAT)
        return cJSON_CreateString(words->count ? words->items[words->count - 1] : "");
    list = cJSON_CreateArray();
    for (size_t i = 0; list && i < words->count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(words->items[i]));
    return list;
}

static int put_text(const char **out, lx_flags *f, const cJSON *object, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc = lx_json_canonical(&text, object, err);

    if (rc == 0 && !(*out = lx_arena_strdup(f->arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    return rc;
}

/* sd-scripts' own rule; the empty text is its default. */
static const char *observed_optimizer(const lx_flags *f)
{
    const lx_flag_value *type = &f->values[LX_AT_optimizer_type];

    if (!type->is_null && type->text && *type->text)
        return type->text;
    return f->values[LX_AT_use_8bit_adam].is_on        ? "AdamW8bit"
           : f->values[LX_AT_use_lion_optimizer].is_on ? "Lion"
                                                       : "AdamW";
}

/* The flag counts, although there is a file of --network_weights. */
static bool is_by_flag(const lx_flags *f, int i)
{
    return f->values[i].given && !f->config->dim_from_weights;
}

/* Where the configuration knows better than the table: what falls back, wins or was drawn. */
static cJSON *resolved_json(const lx_flags *f, int i)
{
    const lx_train_config *c = f->config;

    if (f->is_observed &&
        (i == LX_AT_network_module || (i == LX_AT_seed && !c->seed_given)))
        return value_json(&lx_flag_table[i], &f->values[i]);
    switch (i) {
    case LX_AT_network_module:
        return cJSON_CreateString(c->network.is_lycoris ? "lycoris.kohya"
                                                        : "networks.lora");
    case LX_AT_network_dim:
        return cJSON_CreateNumber(f->start && !is_by_flag(f, i) ? (double)f->start->rank : c->network.rank);
    case LX_AT_network_alpha:
        return f->start && !is_by_flag(f, i) ? cJSON_CreateNumber(f->start->alpha)
                                             : value_json(&lx_flag_table[i], &f->values[i]);
    case LX_AT_unet_lr:
        return cJSON_CreateNumber(c->unet_lr);
    case LX_AT_text_encoder_lr:
        return cJSON_CreateNumber(c->text_encoder_lr);
    case LX_AT_seed:
        return cJSON_CreateNumber((double)c->seed);
    case LX_AT_optimizer_type:
        return cJSON_CreateString(f->is_observed ? observed_optimizer(f)
                                                 : lx_optimizer_name(c->optimizer.type));
    case LX_AT_caption_extension:
        return cJSON_CreateString(c->data.caption_extension);
    case LX_AT_cache_latents:
        return cJSON_CreateBool(c->data.cache_latents);
    case LX_AT_max_token_length:
        return cJSON_CreateNumber(c->max_token_length);
    default:
        return value_json(&lx_flag_table[i], &f->values[i]);
    }
}

static void put_flag(lx_str *out, const lx_flags *f, int i)
{
    const lx_flag *flag = &lx_flag_table[i];
    const lx_flag_value *v = &f->values[i];

    if (flag->type == LX_TYPE_FLAG) {
        lx_str_printf(out, " --%s%s", flag->name, v->is_on ? "" : "=false");
    } else if (flag->type == LX_TYPE_TEXTS || flag->type == LX_TYPE_NUMBERS) {
        lx_str_printf(out, " --%s", flag->name);
        for (size_t k = 0; k < v->words.count; k++) {
            lx_str_putc(out, ' ');
            lx_escape_shell(out, v->words.items[k]);
        }
    } else if (flag->type == LX_TYPE_REPEAT) {
        for (size_t k = 0; k < v->words.count; k++) {
            lx_str_printf(out, " --%s=", flag->name);
            lx_escape_shell(out, v->words.items[k]);
        }
    } else {
        lx_str_printf(out, " --%s=", flag->name);
        lx_escape_shell(out, v->text);
    }
}

/* The paths in it are mapped already, so the maps themselves are left out. */
static int put_command_line(lx_flags *f, lx_error *err)
{
    lx_str line = LX_STR_INIT;
    int rc;

    lx_str_puts(&line, "lx train");
    for (int i = 0; i < LX_FLAG_COUNT; i++)
        if (f->values[i].given && !lx_flag_is_secret(i) && i != LX_AT_path_map &&
            i != LX_AT_config_file && i != LX_AT_output_config)
            put_flag(&line, f, i);
    if ((rc = lx_str_check(&line, err)) == 0 &&
        !(f->facts->command_line = lx_arena_strdup(f->arena, lx_str_text(&line))))
        rc = lx_oom(err);
    lx_str_release(&line);
    return rc;
}

static bool has_parts(const lx_flags *f)
{
    const lx_dataset_config *data = &f->config->data;
    return data->n_subsets && data->subsets[data->n_subsets - 1].part > 0;
}

/* As text: among flags every value is a plain one. */
static int add_datasets(cJSON *resolved, const lx_flags *f, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    cJSON *list;
    int rc = lx_flags_tell_dataset(&list, f, err);

    if (rc == 0 && (rc = lx_json_canonical(&text, list, err)) == 0 &&
        !cJSON_AddStringToObject(resolved, "datasets", lx_str_text(&text)))
        rc = lx_oom(err);
    lx_str_release(&text);
    cJSON_Delete(list);
    return rc;
}

/* Takes the item in any case. */
static bool put_item(cJSON *object, const char *key, cJSON *item)
{
    if (cJSON_AddItemToObject(object, key, item))
        return true;
    cJSON_Delete(item);
    return false;
}

/* The LoRA that a training begins with has a rank and an alpha of its own. What is wrong with the file the training
 * says. */
static int open_start(lx_lora_file **file, lx_flags *f, lx_error *err)
{
    const char *path = f->config->network_weights;
    int rc = path ? lx_lora_file_open(file, path, err) : LX_OK;

    if (rc < 0)
        return rc == LX_ENOMEM ? rc : LX_OK;
    for (size_t i = 0; *file && i < (*file)->n_modules && !f->start; i++)
        if ((*file)->modules[i].rank > 0 && !(*file)->modules[i].problem)
            f->start = &(*file)->modules[i];
    return LX_OK;
}

int lx_flags_tell(lx_flags *f, lx_error *err)
{
    cJSON *given = cJSON_CreateObject(), *resolved = cJSON_CreateObject();
    lx_lora_file *start = NULL;
    int rc = given && resolved ? open_start(&start, f, err) : lx_oom(err);

    for (int i = 0; i < LX_FLAG_COUNT && rc == 0; i++) {
        const lx_flag *flag = &lx_flag_table[i];
        if (lx_flag_is_secret(i) ||
            (f->is_observed && flag->action == LX_ACTION_OWN && !f->given[i].given))
            continue;
        if (f->given[i].given &&
            !put_item(given, flag->name, words_json(flag, &f->given[i])))
            rc = lx_oom(err);
        if (!put_item(resolved, flag->name, resolved_json(f, i)))
            rc = lx_oom(err);
    }
    if (rc == 0 && (f->n_splits > 0 || has_parts(f)))
        rc = add_datasets(resolved, f, err);
    for (const cJSON *other = f->others ? f->others->child : NULL; other && rc == 0;
         other = other->next)
        if (!put_item(given, other->string, cJSON_Duplicate(other, true)) ||
            !put_item(resolved, other->string, cJSON_Duplicate(other, true)))
            rc = lx_oom(err);
    if (rc == 0 && (rc = put_text(&f->facts->given, f, given, err)) == 0 &&
        (rc = put_text(&f->facts->resolved, f, resolved, err)) == 0)
        rc = put_command_line(f, err);
    f->start = NULL;
    lx_lora_file_close(start);
    cJSON_Delete(given);
    cJSON_Delete(resolved);
    return rc;
}

/* ---- notes ---------------------------------------------------------------------------------- */

int lx_flags_note(lx_flags *f, const char *fmt, ...)
{
    lx_words *notes = &f->facts->notes;
    const bool is_full = (notes->count & (notes->count - 1)) == 0; /* none, or a power of two */
    char text[1024], *copy;
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    copy = lx_arena_strdup(f->arena, text);
    if (!copy)
        return LX_ENOMEM;
    if (is_full) {
        const char **items =
            lx_arena_calloc(f->arena, notes->count ? 2 * notes->count : 1, sizeof *items);
        if (!items)
            return LX_ENOMEM;
        if (notes->count)
            memcpy(items, notes->items, notes->count * sizeof *items);
        notes->items = items;
    }
    notes->items[notes->count++] = copy;
    return LX_OK;
}

static int note_idle(lx_flags *f)
{
    lx_str names = LX_STR_INIT;
    int rc = LX_OK;

    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        lx_flag_action action = lx_flag_table[i].action;
        if (f->values[i].given &&
            (action == LX_ACTION_IDLE || action == LX_ACTION_MARK) &&
            (f->values[i].is_on || lx_flag_table[i].type != LX_TYPE_FLAG))
            lx_str_printf(&names, "%s--%s", names.len ? ", " : "", lx_flag_table[i].name);
    }
    if (names.len)
        rc = lx_flags_note(f, "without effect here: %s (docs/flags.md says why)",
                           lx_str_text(&names));
    lx_str_release(&names);
    return rc;
}

static int note_paths(lx_flags *f)
{
    int rc = LX_OK;

    for (int i = 0; i < LX_FLAG_COUNT && rc == 0; i++) {
        const lx_words *words = &f->given[i].words;
        if (lx_flag_table[i].type == LX_TYPE_PATH && words->count && f->values[i].text &&
            strcmp(words->items[words->count - 1], f->values[i].text) != 0)
            rc = lx_flags_note(f, "--%s is read as %s", lx_flag_table[i].name,
                               f->values[i].text);
    }
    return rc;
}

int lx_flags_notes(lx_flags *f, lx_error *err)
{
    const lx_train_config *c = f->config;
    const lx_lora_spec *net = &c->network;
    int rc = LX_OK;

    if (note_idle(f) < 0 || note_paths(f) < 0)
        return lx_oom(err);
    if (strcmp(c->mixed_precision, "fp16") == 0 && !lx_train_is_on_gpu(c))
        rc = lx_flags_note(
            f, "--mixed_precision fp16: computed in f32, which is more exact; "
               "bf16 is computed as such on the CPU, and faster");
    if (rc == 0 && c->encode_ahead == LX_AHEAD_TRUE && c->data.cache_latents)
        rc = lx_flags_note(f, "--encode_ahead true: all latents are cached before the "
                              "first step, nothing is left to encode beside it");
    else if (rc == 0 && c->encode_ahead == LX_AHEAD_TRUE && lx_train_is_on_gpu(c))
        rc = lx_flags_note(f, "--encode_ahead true: a GPU does one thing after the "
                              "other, so the VAE encodes between the steps");
    if (rc == 0 && f->values[LX_AT_text_encoder_lr].words.count > 1)
        rc = lx_flags_note(
            f, "--text_encoder_lr: Stable Diffusion 1.x has one text encoder, the "
               "first rate counts");
    if (rc == 0 && !f->given[LX_AT_learning_rate].given &&
        !(c->unet_lr_given && c->text_encoder_lr_given))
        rc = lx_flags_note(
            f,
            "--learning_rate is left at %g, sd-scripts' default for whole models; "
            "a LoRA usually takes 1e-4",
            c->learning_rate);
    if (rc == 0 && !c->network_alpha_given && net->rank > 1 && !c->network_weights)
        rc = lx_flags_note(
            f,
            "--network_alpha is left at 1: the LoRA is scaled by alpha / rank = "
            "1/%d",
            net->rank);
    return rc < 0 ? lx_oom(err) : LX_OK;
}

/* ---- --output_config ------------------------------------------------------------------------ */

static bool is_default(const lx_flags *f, int i)
{
    const lx_flag *flag = &lx_flag_table[i];
    lx_flag_words none = {0};
    lx_flag_value v;

    if (!f->values[i].given)
        return true;
    if (flag->type == LX_TYPE_FLAG)
        return !f->values[i].is_on;
    if (!flag->otherwise || lx_flag_read(&v, flag, &none, f->arena, NULL) < 0)
        return false;
    if (flag->type == LX_TYPE_INT || flag->type == LX_TYPE_SIZE)
        return v.whole == f->values[i].whole;
    if (flag->type == LX_TYPE_NUMBER || flag->type == LX_TYPE_SHARE)
        return v.number == f->values[i].number;
    return strcmp(v.text, f->values[i].text) == 0;
}

/* A TOML basic string takes JSON's escapes. */
static void put_toml_text(lx_str *out, const char *text)
{
    lx_escape_json(out, text, strlen(text));
}

static void put_toml_number(lx_str *out, double x)
{
    char text[32];

    lx_format_double(text, x);
    lx_str_puts(out, text);
    if (!strpbrk(text, ".e"))
        lx_str_puts(out, ".0");
}

static void put_toml_value(lx_str *out, const lx_flag *flag, const lx_flag_value *v)
{
    switch (flag->type) {
    case LX_TYPE_FLAG:
        lx_str_puts(out, v->is_on ? "true" : "false");
        break;
    case LX_TYPE_INT:
        lx_str_printf(out, "%lld", (long long)v->whole);
        break;
    case LX_TYPE_NUMBER:
        put_toml_number(out, v->number);
        break;
    case LX_TYPE_SHARE:
        if (v->number < 0) /* LX_ALL_STEPS */
            put_toml_text(out, "100%");
        else if (v->number >= 1 || v->number == 0)
            lx_str_printf(out, "%lld", (long long)v->number);
        else
            put_toml_number(out, v->number);
        break;
    case LX_TYPE_TEXTS:
    case LX_TYPE_NUMBERS:
    case LX_TYPE_REPEAT:
        lx_str_putc(out, '[');
        for (size_t i = 0; i < v->words.count; i++) {
            lx_str_puts(out, i ? ", " : "");
            if (flag->type == LX_TYPE_NUMBERS)
                put_toml_number(out, v->numbers[i]);
            else
                put_toml_text(out, v->words.items[i]);
        }
        lx_str_putc(out, ']');
        break;
    default:
        put_toml_text(out, v->text);
    }
}

int lx_flags_output_config(lx_flags *f, const char *path, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc;

    if (lx_file_exists(path))
        return lx_fail(err, LX_EEXISTS, "%s is there already; name another --config_file",
                       path);
    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        if (is_default(f, i) || lx_flag_is_secret(i) || i == LX_AT_config_file ||
            i == LX_AT_output_config || i == LX_AT_path_map)
            continue;
        lx_str_printf(&text, "%s = ", lx_flag_table[i].name);
        put_toml_value(&text, &lx_flag_table[i], &f->values[i]);
        lx_str_putc(&text, '\n');
    }
    if ((rc = lx_str_check(&text, err)) == 0)
        rc = lx_file_write(path, lx_str_text(&text), text.len, err);
    lx_str_release(&text);
    return rc;
}

/* ---- docs/flags.md -------------------------------------------------------------------------- */

static const char *action_text(const lx_flag *flag)
{
    switch (flag->action) {
    case LX_ACTION_IDLE:
        return "no effect";
    case LX_ACTION_MARK:
        return "no effect, in the metadata";
    case LX_ACTION_DENY:
        return "refused";
    case LX_ACTION_OWN:
        return "lx's own";
    default:
        return "used";
    }
}

static const char *type_text(lx_flag_type type)
{
    static const char *const names[] = {"flag",        "int",          "number", "text",
                                        "path",        "int or share", "size",   "list",
                                        "number list", "repeated"};
    return names[type];
}

/* `|` would end a cell. */
static void put_cell(lx_str *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            lx_str_putc(out, '\\');
        lx_str_putc(out, *text);
    }
}

int lx_debug_flags_doc(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc;

    lx_str_puts(
        &text,
        "# Flags of `lx train`\n\n"
        "Names, meanings and defaults are those of `train_network.py` of sd-scripts "
        "v0.10.1. A flag that is *refused*\nis an error that says what to use instead, "
        "unless its value asks for nothing (0, empty, or the default).\nThis page is "
        "made from the table in `cmd/train_flags.def` by `lx debug flags-doc`; a test "
        "compares them.\n\n"
        "| flag | type | default | here | |\n|---|---|---|---|---|\n");
    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        const lx_flag *flag = &lx_flag_table[i];
        lx_str_printf(&text, "| `%s` | %s | %s%s%s | %s | ", flag->name,
                      type_text(flag->type), flag->otherwise ? "`" : "",
                      flag->otherwise ? flag->otherwise : "", flag->otherwise ? "`" : "",
                      action_text(flag));
        put_cell(&text, flag->help);
        if (flag->choices) {
            lx_str_puts(&text, " (`");
            for (const char *p = flag->choices; *p; p++)
                if (*p == '|')
                    lx_str_puts(&text, "`, `");
                else
                    lx_str_putc(&text, *p);
            lx_str_puts(&text, "`)");
        }
        lx_str_puts(&text, " |\n");
    }
    if ((rc = lx_str_check(&text, err)) == 0)
        lx_print(cli, "%s", lx_str_text(&text));
    lx_str_release(&text);
    return rc;
}

/* {given, resolved, command_line, notes}: for tests of the three ways in. */
int lx_debug_flags(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    lx_train_config config;
    lx_train_flags facts;
    lx_str text = LX_STR_INIT;
    int rc = lx_train_flags_parse(&config, &facts, cli, argc, argv, err);

    if (rc < 0)
        return rc;
    lx_str_printf(&text,
                  "{\"given\":%s,\n\"resolved\":%s,\n\"command_line\":", facts.given,
                  facts.resolved);
    lx_escape_json(&text, facts.command_line, strlen(facts.command_line));
    lx_str_puts(&text, ",\n\"notes\":[");
    for (size_t i = 0; i < facts.notes.count; i++) {
        lx_str_puts(&text, i ? ",\n" : "\n");
        lx_escape_json(&text, facts.notes.items[i], strlen(facts.notes.items[i]));
    }
    lx_str_puts(&text, "]}\n");
    if ((rc = lx_str_check(&text, err)) == 0)
        lx_print(cli, "%s", lx_str_text(&text));
    lx_str_release(&text);
    return rc;
}
