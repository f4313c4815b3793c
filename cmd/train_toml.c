/* --config_file: a TOML file whose keys are flags; its tables only sort them. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cmd/train_flag.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/json_places.h"

enum { MOST_BYTES = 1 << 20 };

int lx_config_read(lx_config_tree *out, const char *path, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc;

    *out = (lx_config_tree){.path = path};
    if ((rc = lx_file_read(&text, path, MOST_BYTES, err)) == 0) {
        if (!lx_ends_with(path, ".json"))
            rc = lx_toml_parse(&out->root, &out->places, lx_str_text(&text), text.len,
                               err);
        else if ((rc = lx_json_parse(&out->root, lx_str_text(&text), text.len, err)) == 0)
            rc = lx_json_places(&out->places, out->root, lx_str_text(&text), text.len,
                                err);
        if (rc < 0)
            lx_within(err, "%s", path);
        else if (!cJSON_IsObject(out->root))
            rc = lx_fail(err, LX_EFORMAT, "%s: no table of settings", path);
    }
    lx_str_release(&text);
    if (rc < 0)
        lx_config_release(out);
    return rc;
}

void lx_config_release(lx_config_tree *tree)
{
    cJSON_Delete(tree->root);
    lx_toml_places_release(&tree->places);
    tree->root = NULL;
}

const char *lx_config_place(const lx_config_tree *tree, const cJSON *value,
                            lx_arena *arena)
{
    const lx_toml_place *place = lx_toml_find_place(&tree->places, value);
    const char *text = place ? lx_arena_printf(arena, "%s:%d", tree->path, place->line)
                             : lx_arena_strdup(arena, tree->path);

    return text ? text : tree->path;
}

/* ---- a value as words ----------------------------------------------------------------------- */

static int number_text(const char **out, double x, lx_arena *arena, lx_error *err)
{
    char text[32];

    if (x == floor(x) && fabs(x) < 0x1p53)
        snprintf(text, sizeof text, "%lld", (long long)x);
    else
        lx_format_double(text, x);
    *out = lx_arena_strdup(arena, text);
    return *out ? LX_OK : lx_oom(err);
}

static int fail_type(const lx_flag *flag, lx_error *err)
{
    static const char *const wanted[] = {"true or false",
                                         "a whole number",
                                         "a number",
                                         "a text between quotes",
                                         "a text between quotes",
                                         "a number, or a text as in \"10%\"",
                                         "a text as in \"8G\"",
                                         "a list of texts",
                                         "a number or a list of numbers",
                                         "a list of texts"};

    return lx_fail(err, LX_EFORMAT, "%s is wanted here", wanted[flag->type]);
}

static int scalar_text(const char **out, const lx_flag *flag, const cJSON *value,
                       lx_arena *arena, lx_error *err)
{
    bool wants_number = flag->type == LX_TYPE_INT || flag->type == LX_TYPE_NUMBER ||
                        flag->type == LX_TYPE_NUMBERS || flag->type == LX_TYPE_SHARE ||
                        flag->type == LX_TYPE_SIZE;
    bool wants_text =
        !wants_number || flag->type == LX_TYPE_SHARE || flag->type == LX_TYPE_SIZE;

    if (wants_text && cJSON_IsString(value)) {
        *out = lx_arena_strdup(arena, value->valuestring);
        return *out ? LX_OK : lx_oom(err);
    }
    if (wants_number && cJSON_IsNumber(value))
        return number_text(out, value->valuedouble, arena, err);
    return fail_type(flag, err);
}

/* Two numbers in a list read as "512,768": a resolution, which may be one number, and a range. */
static int pair_text(const char **out, const lx_flag *flag, const cJSON *value,
                     lx_arena *arena, lx_error *err)
{
    const bool is_size = flag == &lx_flag_table[LX_AT_resolution];
    const cJSON *x = value, *y = value;
    const char *a, *b;
    int rc;

    if (cJSON_IsArray(value)) {
        x = cJSON_GetArraySize(value) == 2 ? cJSON_GetArrayItem(value, 0) : NULL;
        y = cJSON_GetArrayItem(value, 1);
    }
    if (!cJSON_IsNumber(x) || !cJSON_IsNumber(y) || (!is_size && !cJSON_IsArray(value)))
        return lx_fail(err, LX_EFORMAT, "%s is wanted here",
                       is_size ? "a size or [width, height]" : "[low, high]");
    if ((rc = number_text(&a, x->valuedouble, arena, err)) < 0 ||
        (rc = number_text(&b, y->valuedouble, arena, err)) < 0)
        return rc;
    *out = lx_arena_printf(arena, "%s,%s", a, b);
    return *out ? LX_OK : lx_oom(err);
}

int lx_config_words(lx_flag_words *out, const lx_flag *flag, const cJSON *value,
                    lx_arena *arena, lx_error *err)
{
    bool is_list = flag->type == LX_TYPE_TEXTS || flag->type == LX_TYPE_NUMBERS ||
                   flag->type == LX_TYPE_REPEAT;
    size_t n = is_list && cJSON_IsArray(value) ? (size_t)cJSON_GetArraySize(value) : 1,
           i = 0;
    const cJSON *item = is_list && cJSON_IsArray(value) ? value->child : value;
    const char **items;
    int rc = LX_OK;

    *out = (lx_flag_words){.given = true};
    if (flag->type == LX_TYPE_FLAG) {
        out->is_on = cJSON_IsTrue(value);
        return cJSON_IsBool(value) ? LX_OK : fail_type(flag, err);
    }
    if (flag->type == LX_TYPE_TEXTS && !cJSON_IsArray(value))
        return fail_type(flag, err);
    if (!(items = lx_arena_calloc(arena, n + 1, sizeof *items)))
        return lx_oom(err);
    for (; i < n && rc == 0; i++, item = item->next)
        rc = (flag == &lx_flag_table[LX_AT_resolution] ||
              flag == &lx_flag_table[LX_AT_face_crop_aug_range]) &&
                     !cJSON_IsString(value)
                 ? pair_text(&items[i], flag, value, arena, err)
                 : scalar_text(&items[i], flag, item, arena, err);
    out->words = (lx_words){items, n};
    return rc;
}

/* ---- the file ------------------------------------------------------------------------------- */

static int find_flag(int *index, const char *key, lx_error *err)
{
    const char *nearest = NULL;
    int least = 6;

    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        int distance = lx_name_distance(lx_flag_table[i].name, key);
        if (lx_option_name_is(lx_flag_table[i].name, key, strlen(key))) {
            *index = i;
            return LX_OK;
        }
        if (distance * 2 > (int)strlen(key) && lx_starts_with(lx_flag_table[i].name, key))
            distance = 5; /* a shortened name */
        if (distance < least && (distance == 5 || distance * 2 <= (int)strlen(key))) {
            least = distance;
            nearest = lx_flag_table[i].name;
        }
    }
    return lx_fail(err, LX_EFORMAT, "unknown key%s%s%s", nearest ? "; did you mean " : "",
                   nearest ? nearest : "", nearest ? "?" : " (docs/flags.md lists all)");
}

/* Keys that kohya_ss writes into the file beside sd-scripts' own, and that train_network.py takes and never looks at
 * (bmaltais/kohya_ss kohya_gui/lora_gui.py, config_toml_data). */
static bool is_of_kohya_ss(const char *key)
{
    static const char *const keys[] = {"additional_parameters", "epoch", "noise_offset_type",
                                       "stop_text_encoder_training", "train_inpainting"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

/* Of a key that several tables have the last holds, as in the peer (read_config_from_file). */
static int take_key(lx_flags *f, bool *is_ours, const lx_config_tree *tree,
                    const cJSON *item, lx_error *err)
{
    lx_flag_words words;
    int index = 0, rc;

    if (is_of_kohya_ss(item->string) && !f->is_observed)
        return lx_flags_note(f, "%s: %s is a word of kohya_ss that neither sd-scripts nor lx goes by",
                             lx_config_place(tree, item, f->arena), item->string);
    if ((rc = find_flag(&index, item->string, err)) < 0 ||
        (rc = lx_config_words(&words, &lx_flag_table[index], item, f->arena, err)) < 0)
        goto done;
    if (index == LX_AT_config_file || index == LX_AT_output_config) {
        rc = lx_fail(err, LX_EFORMAT, "a config file names no other");
        goto done;
    }
    words.place = lx_config_place(tree, item, f->arena);
    if (!f->given[index].given || is_ours[index]) {
        f->given[index] = words;
        is_ours[index] = true;
    }
done:
    if (rc < 0 && f->is_observed) /* the trainer knows it, or will say so itself */
        return cJSON_AddItemToObject(f->others, item->string, cJSON_Duplicate(item, true))
                   ? LX_OK
                   : lx_oom(err);
    if (rc < 0)
        lx_within(err, "%s: %s", lx_config_place(tree, item, f->arena), item->string);
    return rc;
}

int lx_flags_read_toml(lx_flags *f, const char *path, lx_error *err)
{
    bool is_ours[LX_FLAG_COUNT] = {false};
    lx_config_tree tree;
    int rc = lx_config_read(&tree, path, err);

    if (rc < 0)
        return rc;
    for (const cJSON *item = tree.root->child; item && rc == 0; item = item->next) {
        if (cJSON_IsObject(item)) { /* a table: its name means nothing */
            for (const cJSON *key = item->child; key && rc == 0; key = key->next)
                rc = take_key(f, is_ours, &tree, key, err);
        } else if (strcmp(item->string, "datasets") == 0) {
            rc = lx_fail(err, LX_EFORMAT,
                         "%s: datasets belong into the file that --dataset_config "
                         "names",
                         lx_config_place(&tree, item, f->arena));
        } else {
            rc = take_key(f, is_ours, &tree, item, err);
        }
    }
    lx_config_release(&tree);
    return rc;
}
