/* What the settings (lx config) say of flags that nothing else says. */
#include <string.h>

#include "cmd/settings.h"
#include "cmd/train_flag.h"

static int find_flag(const char *name)
{
    for (int i = 0; i < LX_FLAG_COUNT; i++)
        if (strcmp(lx_flag_table[i].name, name) == 0)
            return i;
    return -1; /* the settings were checked: never */
}

static int take(lx_flags *f, const lx_setting *setting, lx_error *err)
{
    const int index = find_flag(setting->key + strlen("train."));
    lx_flag_words words;
    int rc;

    if (index < 0 || f->given[index].given)
        return LX_OK;
    if ((rc = lx_config_words(&words, &lx_flag_table[index], setting->value, f->arena,
                              err)) < 0)
        return rc;
    words.place = setting->place;
    f->given[index] = words;
    rc = lx_flags_note(f, "--%s is %s: set in %s", lx_flag_table[index].name,
                       setting->text, setting->place);
    return rc < 0 ? lx_oom(err) : LX_OK;
}

/* {"train.threads": {"value": "4", "from": "..."}}: of those that were taken. */
static int record(lx_flags *f, lx_error *err)
{
    const lx_settings *s = f->cli->settings;
    cJSON *root = cJSON_CreateObject();
    lx_str text = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < s->count; i++) {
        const lx_setting *setting = &s->items[i];
        const int index =
            lx_starts_with(setting->key, "train.") ? find_flag(setting->key + 6) : -1;
        if (index < 0 || f->given[index].place != setting->place)
            continue;
        cJSON *o = cJSON_AddObjectToObject(root, setting->key);
        cJSON_AddStringToObject(o, "value", setting->text);
        cJSON_AddStringToObject(o, "from", setting->place);
    }
    if (root && root->child && (rc = lx_json_canonical(&text, root, err)) == LX_OK &&
        !(f->facts->settings = lx_arena_strdup(f->arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

int lx_flags_read_settings(lx_flags *f, lx_error *err)
{
    const lx_settings *s = f->cli->settings;
    int rc = LX_OK;

    for (size_t i = 0; s && i < s->count && rc == LX_OK; i++)
        if (lx_starts_with(s->items[i].key, "train."))
            rc = take(f, &s->items[i], err);
    return rc == LX_OK && s ? record(f, err) : rc;
}
