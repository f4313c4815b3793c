/* --like RUN: a training that starts from the flags of an earlier run. */
#include <string.h>

#include "cmd/run_find.h"
#include "cmd/path_map.h"
#include "cmd/train_flag.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/query.h"

/* A value as it was recorded, as the words that the command line would have. */
static int read_words(lx_flag_words *out, const cJSON *value, lx_arena *arena,
                      lx_error *err)
{
    bool is_list = cJSON_IsArray(value);
    size_t n = is_list ? (size_t)cJSON_GetArraySize(value) : 1, i = 0;
    const char **items = lx_arena_calloc(arena, n + 1, sizeof *items);

    *out = (lx_flag_words){.given = true, .is_on = cJSON_IsTrue(value)};
    if (!items)
        return lx_oom(err);
    for (const cJSON *item = is_list ? value->child : value; item && i < n;
         item = item->next) {
        char number[32];
        lx_format_double(number, item->valuedouble);
        items[i] =
            lx_arena_strdup(arena, cJSON_IsString(item) ? item->valuestring : number);
        if (!items[i++])
            return lx_oom(err);
    }
    out->words = (lx_words){items, cJSON_IsBool(value) ? 0 : n};
    return LX_OK;
}

static int find_flag(const char *name)
{
    for (int i = 0; i < LX_FLAG_COUNT; i++)
        if (strcmp(lx_flag_table[i].name, name) == 0)
            return i;
    return -1;
}

/* Files whose flags are recorded already, and what names that run and not the next one, unless that goes on from it. */
static bool is_left_behind(const lx_flags *f, int index)
{
    if (index == LX_AT_name)
        return !f->given[LX_AT_resume].given;
    return index == LX_AT_config_file || index == LX_AT_output_config ||
           index == LX_AT_like || index == LX_AT_group || index == LX_AT_fact ||
           index == LX_AT_resume || index == LX_AT_stop_after_steps;
}

static void put_flag(lx_str *out, int index, const lx_flag_words *given)
{
    lx_str_printf(out, "%s--%s", out->len ? " " : "", lx_flag_table[index].name);
    if (lx_flag_table[index].type == LX_TYPE_FLAG && !given->is_on)
        lx_str_puts(out, "=false");
    for (size_t i = 0; i < given->words.count; i++)
        lx_str_printf(out, " %s", given->words.items[i]);
}

static bool is_same(const lx_flag_words *a, const lx_flag_words *b)
{
    if (a->is_on != b->is_on || a->words.count != b->words.count)
        return false;
    for (size_t i = 0; i < a->words.count; i++)
        if (strcmp(a->words.items[i], b->words.items[i]) != 0)
            return false;
    return true;
}

typedef struct taken {
    lx_str from_run, changed, unknown; /* for the notes */
} taken;

static int take_flag(lx_flags *f, taken *t, const cJSON *item, const char *place,
                     lx_error *err)
{
    int index = find_flag(item->string), rc;
    lx_flag_words words;

    if (cJSON_IsNull(item) || (index >= 0 && is_left_behind(f, index)))
        return LX_OK;
    if (index < 0) {
        lx_str_printf(&t->unknown, "%s--%s", t->unknown.len ? " " : "", item->string);
        return LX_OK;
    }
    if ((rc = read_words(&words, item, f->arena, err)) < 0)
        return rc;
    if (f->given[index].given) {
        if (!is_same(&f->given[index], &words)) {
            put_flag(&t->changed, index, &f->given[index]);
            lx_str_puts(&t->changed, " (was");
            for (size_t i = 0; i < words.words.count; i++)
                lx_str_printf(&t->changed, " %s", words.words.items[i]);
            lx_str_puts(&t->changed, words.words.count ? ")"
                                     : words.is_on     ? " on)"
                                                       : " off)");
        }
        return LX_OK;
    }
    put_flag(&t->from_run, index, &words);
    words.place = place;
    f->given[index] = words;
    return LX_OK;
}

static int tell(lx_flags *f, const taken *t, const lx_run_row *run, bool has_seed,
                lx_error *err)
{
    int rc = LX_OK;

    if (t->from_run.len)
        rc = lx_flags_note(f, "from run %.10s: %s", run->id, lx_str_text(&t->from_run));
    if (rc == LX_OK && t->changed.len)
        rc = lx_flags_note(f, "from here: %s", lx_str_text(&t->changed));
    if (rc == LX_OK && t->unknown.len)
        rc = lx_flags_note(f, "run %.10s also had flags that lx train has not: %s",
                           run->id, lx_str_text(&t->unknown));
    if (rc == LX_OK && *run->seed && !has_seed)
        rc = lx_flags_note(f, "that run drew its seed: --seed %s draws the same noise",
                           run->seed);
    return rc < 0 ? lx_oom(err) : LX_OK;
}

static const char *word(const lx_flags *f, int index)
{
    const lx_words *words = &f->given[index].words;
    return words->count ? words->items[words->count - 1] : NULL;
}

/* With every name inherited the next LoRA would take the place of the last one. */
static int check_overwriting(lx_flags *f, const char *place, lx_error *err)
{
    const char *folder = word(f, LX_AT_output_dir), *name = word(f, LX_AT_output_name),
               *ending = word(f, LX_AT_save_model_as), *path;
    int rc;

    if (f->given[LX_AT_resume].given) /* that is what is wanted then */
        return LX_OK;
    if (!folder || f->given[LX_AT_output_dir].place != place ||
        (name && f->given[LX_AT_output_name].place != place))
        return LX_OK;
    if ((rc = lx_path_map(&folder, folder, &f->given[LX_AT_path_map].words, f->arena,
                          err)) < 0) {
        lx_within(err, "--output_dir");
        return rc;
    }
    path = lx_arena_printf(f->arena, "%s/%s.%s", folder, name ? name : "last",
                           ending ? ending : "safetensors");
    if (!path)
        return lx_oom(err);
    return lx_file_exists(path)
               ? lx_fail(err, LX_EUSAGE,
                         "--like takes over the output too, and %s is there: give "
                         "--output_name or --output_dir",
                         path)
               : LX_OK;
}

static int take_all(lx_flags *f, taken *t, const char *flags, const lx_run_row *run,
                    lx_error *err)
{
    const char *place = lx_arena_printf(f->arena, "run %.10s", run->id);
    cJSON *root = NULL;
    bool has_seed;
    int rc = place ? lx_json_parse(&root, flags, strlen(flags), err) : lx_oom(err);

    if (rc < 0)
        return rc;
    for (const cJSON *item = root->child; item && rc == LX_OK; item = item->next)
        rc = take_flag(f, t, item, place, err);
    cJSON_Delete(root);
    has_seed = f->given[LX_AT_seed].given;
    if (rc == LX_OK)
        rc = tell(f, t, run, has_seed, err);
    return rc < 0 ? rc : check_overwriting(f, place, err);
}

int lx_flags_read_like(lx_flags *f, lx_error *err)
{
    const char *name = word(f, LX_AT_like);
    taken t = {LX_STR_INIT, LX_STR_INIT, LX_STR_INIT};
    lx_store *store = NULL;
    lx_run_texts texts;
    lx_run_row run;
    int rc;

    if (!name)
        return LX_OK;
    f->given[LX_AT_like] =
        (lx_flag_words){0}; /* what it stands for is recorded, not itself */
    if ((rc = lx_store_open(&store, f->cli->store_path, true, err)) < 0 ||
        (rc = lx_run_find(&run, f->cli, store, name, err)) < 0 ||
        (rc = lx_query_texts(&texts, store, &run, f->arena, err)) < 0)
        goto done;
    if (!texts.flags_given && !texts.flags)
        rc = lx_fail(err, LX_EUSAGE, "run %.10s has no flags", run.id);
    else
        rc = take_all(f, &t, texts.flags_given ? texts.flags_given : texts.flags, &run,
                      err);
done:
    if (rc < 0)
        lx_within(err, "--like %s", name);
    lx_store_close(store);
    lx_str_release(&t.from_run);
    lx_str_release(&t.changed);
    lx_str_release(&t.unknown);
    return rc;
}
