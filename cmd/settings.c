#include "cmd/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/train_flag.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/format/toml.h"
#include "store/store.h"

enum { MOST_BYTES = 1 << 20, MOST_SETTINGS = 512 };

const lx_settings_key lx_settings_keys[] = {
    {"store", "folder of the store, where neither --store nor LX_STORE nor a .lx/ says "
              "it (user only)"},
    {"remote", "git repository of lx push and lx pull when none is named"},
    {"train.FLAG", "flag of lx train, plan and sweep, as train.threads; not with --like, "
                   "resume, reproduce"},
    {"run.strict",
     "true: lx run does not start trainings whose captions would not be read"},
    {"privacy.words",
     "names that are taken out of reports, exports and what is pushed, commas between"},
    {"sandbox",
     "false: commands that read others' files are not confined to them (user only)"},
    {NULL, NULL},
};

/* ---- keys --------------------------------------------------------------------------------- */

typedef enum key_kind { KEY_TEXT, KEY_BOOL, KEY_WORDS, KEY_FLAG } key_kind;

/* They belong to one run, or read the settings of another. */
static bool may_be_set(int flag)
{
    static const int never[] = {
        LX_AT_config_file, LX_AT_output_config, LX_AT_like, LX_AT_resume,
        LX_AT_name,        LX_AT_output_name,   LX_AT_fact, LX_AT_stop_after_steps};

    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (never[i] == flag)
            return false;
    return !lx_flag_is_secret(flag);
}

static int find_key(key_kind *kind, int *flag, const char *key, lx_error *err)
{
    *flag = -1;
    if (strcmp(key, "store") == 0 || strcmp(key, "remote") == 0)
        *kind = KEY_TEXT;
    else if (strcmp(key, "run.strict") == 0 || strcmp(key, "sandbox") == 0)
        *kind = KEY_BOOL;
    else if (strcmp(key, "privacy.words") == 0)
        *kind = KEY_WORDS;
    else if (lx_starts_with(key, "train.")) {
        *kind = KEY_FLAG;
        for (int i = 0; i < LX_FLAG_COUNT; i++)
            if (strcmp(lx_flag_table[i].name, key + 6) == 0)
                *flag = i;
        if (*flag < 0)
            return lx_fail(err, LX_ECONFIG,
                           "lx train has no flag --%s (whole names, with _)", key + 6);
        if (!may_be_set(*flag))
            return lx_fail(err, LX_ECONFIG,
                           "%s belongs to one run and cannot be set for all", key);
    } else {
        return lx_fail(err, LX_ECONFIG,
                       "there is no setting %s (lx config keys lists them)", key);
    }
    return LX_OK;
}

int lx_settings_check_key(const char *key, lx_error *err)
{
    return find_key(&(key_kind){KEY_TEXT}, &(int){0}, key, err);
}

static int value_text(const char **out, const cJSON *value, lx_arena *arena,
                      lx_error *err)
{
    lx_str text = LX_STR_INIT;
    const cJSON *item;
    char number[32];
    size_t n = 0;

    if (cJSON_IsArray(value)) {
        cJSON_ArrayForEach(item, value)
        {
            lx_format_double(number, item->valuedouble);
            lx_str_printf(&text, "%s%s", n++ ? "," : "",
                          cJSON_IsString(item) ? item->valuestring : number);
        }
    } else if (cJSON_IsString(value)) {
        lx_str_puts(&text, value->valuestring);
    } else if (cJSON_IsBool(value)) {
        lx_str_puts(&text, cJSON_IsTrue(value) ? "true" : "false");
    } else {
        lx_format_double(number, value->valuedouble);
        lx_str_puts(&text, number);
    }
    *out = text.failed ? NULL : lx_arena_strdup(arena, lx_str_text(&text));
    lx_str_release(&text);
    return *out ? LX_OK : lx_oom(err);
}

static int check_value(key_kind kind, int flag, const cJSON *value, lx_arena *arena,
                       lx_error *err)
{
    lx_flag_words words;
    lx_flag_value read;
    const cJSON *item;
    int rc;

    switch (kind) {
    case KEY_TEXT:
        return cJSON_IsString(value) && *value->valuestring
                   ? LX_OK
                   : lx_fail(err, LX_ECONFIG, "a text is wanted");
    case KEY_BOOL:
        return cJSON_IsBool(value) ? LX_OK
                                   : lx_fail(err, LX_ECONFIG, "true or false is wanted");
    case KEY_WORDS:
        if (!cJSON_IsArray(value))
            return lx_fail(err, LX_ECONFIG, "a list of texts is wanted");
        cJSON_ArrayForEach(
            item,
            value) if (!cJSON_IsString(item) ||
                       strlen(item->valuestring) <
                           3) return lx_fail(err, LX_ECONFIG,
                                             "texts of three letters or more are wanted");
        return LX_OK;
    default:
        if ((rc = lx_config_words(&words, &lx_flag_table[flag], value, arena, err)) < 0)
            return rc;
        return lx_flag_read(&read, &lx_flag_table[flag], &words, arena, err);
    }
}

/* ---- a file ------------------------------------------------------------------------------- */

typedef struct reading {
    lx_settings *out;
    lx_arena *arena;
    const lx_toml_places *places;
    const char *file;
    bool is_project;
} reading;

/* The project's takes the place of the user's. */
static int add(reading *r, const lx_setting *setting, lx_error *err)
{
    lx_settings *s = r->out;
    size_t i = 0;

    while (i < s->count && strcmp(s->items[i].key, setting->key) != 0)
        i++;
    if (i == MOST_SETTINGS)
        return lx_fail(err, LX_ELIMIT, "more than %d settings", MOST_SETTINGS);
    s->items[i] = *setting;
    s->count += i == s->count;
    return LX_OK;
}

static int take_value(reading *r, const char *key, cJSON *value, lx_error *err)
{
    const lx_toml_place *place = lx_toml_find_place(r->places, value);
    lx_setting setting = {
        .key = key, .file = r->file, .is_project = r->is_project, .value = value};
    key_kind kind;
    int flag, rc;

    setting.place = lx_arena_printf(r->arena, "%s:%d", r->file, place ? place->line : 0);
    if (!setting.place)
        return lx_oom(err);
    if ((rc = find_key(&kind, &flag, key, err)) == LX_OK &&
        (rc = check_value(kind, flag, value, r->arena, err)) < 0)
        lx_within(err, "%s", key);
    if (rc == LX_OK && strcmp(key, "store") == 0 && *value->valuestring != '/' &&
        !lx_starts_with(value->valuestring, "~/"))
        rc = lx_fail(err, LX_ECONFIG, "store: a whole path is wanted, from / or ~/ on");
    if (rc == LX_OK && r->is_project && strcmp(key, "store") == 0)
        rc = lx_fail(err, LX_ECONFIG,
                     "store is the user's to say: a project's store is its .lx/");
    if (rc == LX_OK && r->is_project && strcmp(key, "sandbox") == 0)
        rc = lx_fail(err, LX_ECONFIG, "sandbox is the user's to say");
    if (rc == LX_OK && (rc = value_text(&setting.text, value, r->arena, err)) == LX_OK)
        rc = add(r, &setting, err);
    if (rc == LX_EUSAGE || rc == LX_EFORMAT || rc == LX_ELIMIT) {
        rc = LX_ECONFIG; /* the file is wrong, not the command */
        if (err)
            err->code = rc;
    }
    if (rc < 0)
        lx_within(err, "%s", setting.place);
    return rc;
}

static int take_table(reading *r, const char *prefix, cJSON *table, lx_error *err)
{
    int rc = LX_OK;

    for (cJSON *item = table->child; item && rc == LX_OK; item = item->next) {
        const char *key = *prefix
                              ? lx_arena_printf(r->arena, "%s.%s", prefix, item->string)
                              : lx_arena_strdup(r->arena, item->string);
        if (!key)
            rc = lx_oom(err);
        else
            rc = cJSON_IsObject(item) ? take_table(r, key, item, err)
                                      : take_value(r, key, item, err);
    }
    return rc;
}

static int read_text(lx_settings *out, const char *text, size_t n, const char *file,
                     bool is_project, lx_arena *arena, lx_error *err)
{
    lx_toml_places places = {0};
    reading r = {out, arena, &places, file, is_project};
    cJSON **tree = &out->trees[is_project];
    int rc = lx_toml_parse(tree, &places, text, n, err);

    if (rc < 0) {
        if (rc != LX_ENOMEM) {
            rc = LX_ECONFIG;
            if (err)
                err->code = rc;
        }
        lx_within(err, "%s", file);
    } else {
        rc = take_table(&r, "", *tree, err);
    }
    lx_toml_places_release(&places);
    return rc;
}

static int read_file(lx_settings *out, const char *file, bool is_project, lx_arena *arena,
                     lx_error *err)
{
    lx_str text = LX_STR_INIT;
    struct stat st;
    int rc;

    if (!file || lx_io_get()->stat(file, &st) < 0)
        return LX_OK;
    if (is_project && st.st_uid != geteuid() && st.st_uid != 0) {
        out->is_foreign = true;
        return LX_OK;
    }
    if ((rc = lx_file_read(&text, file, MOST_BYTES, err)) == LX_OK)
        rc = read_text(out, lx_str_text(&text), text.len, file, is_project, arena, err);
    lx_str_release(&text);
    return rc;
}

/* ---- both --------------------------------------------------------------------------------- */

static int find_files(lx_settings *out, lx_arena *arena, lx_error *err)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    lx_str above = LX_STR_INIT;
    int rc = LX_OK;

    if (config && *config)
        out->user_file = lx_arena_printf(arena, "%s/lx/config", config);
    else if (home && *home)
        out->user_file = lx_arena_printf(arena, "%s/.config/lx/config", home);
    if (lx_store_above(&above) &&
        !(out->project_file = lx_arena_printf(arena, "%s/config", lx_str_text(&above))))
        rc = lx_oom(err);
    if (((config && *config) || (home && *home)) && !out->user_file)
        rc = lx_oom(err);
    lx_str_release(&above);
    return rc;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const lx_setting *)a)->key, ((const lx_setting *)b)->key);
}

int lx_settings_read(lx_settings *out, lx_arena *arena, lx_error *err)
{
    int rc;

    *out = (lx_settings){0};
    if (!(out->items = lx_arena_calloc(arena, MOST_SETTINGS, sizeof *out->items)))
        return lx_oom(err);
    if ((rc = find_files(out, arena, err)) < 0 ||
        (rc = read_file(out, out->user_file, false, arena, err)) < 0 ||
        (rc = read_file(out, out->project_file, true, arena, err)) < 0)
        return rc;
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, by_key);
    return LX_OK;
}

void lx_settings_release(lx_settings *s)
{
    cJSON_Delete(s->trees[0]);
    cJSON_Delete(s->trees[1]);
    s->trees[0] = s->trees[1] = NULL;
    s->count = 0;
}

const lx_setting *lx_settings_find(const lx_settings *s, const char *key)
{
    for (size_t i = 0; s && i < s->count; i++)
        if (strcmp(s->items[i].key, key) == 0)
            return &s->items[i];
    return NULL;
}

const char *lx_settings_text(const lx_settings *s, const char *key)
{
    const lx_setting *setting = lx_settings_find(s, key);
    return setting ? setting->text : NULL;
}

const char *lx_settings_store(const lx_settings *s, lx_arena *arena)
{
    const char *text = lx_settings_text(s, "store"), *home = getenv("HOME");

    if (!text || !lx_starts_with(text, "~/"))
        return text;
    return lx_arena_printf(arena, "%s/%s", home ? home : "", text + 2);
}

bool lx_settings_is_on(const lx_settings *s, const char *key)
{
    const lx_setting *setting = lx_settings_find(s, key);
    return setting && cJSON_IsTrue(setting->value);
}

void lx_settings_learn(const lx_settings *s, lx_privacy *privacy)
{
    const lx_setting *words = lx_settings_find(s, "privacy.words");
    const cJSON *item;

    if (words)
        cJSON_ArrayForEach(item, words->value)
            lx_privacy_learn_name(privacy, LX_PRIVATE_USER, item->valuestring);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void put_list(lx_str *out, const char *value, char separator, bool is_number)
{
    size_t n = 0;

    lx_str_putc(out, '[');
    while (*value) {
        size_t length = 0;
        while (value[length] && value[length] != separator)
            length++;
        if (length) {
            lx_str_puts(out, n++ ? ", " : "");
            if (is_number)
                lx_str_append(out, value, length);
            else
                lx_escape_json(out, value, length);
        }
        value += length + (value[length] != '\0');
    }
    lx_str_putc(out, ']');
}

int lx_settings_literal(lx_str *out, const char *key, const char *value, lx_error *err)
{
    lx_flag_type type = LX_TYPE_TEXT;
    const bool is_on = strcmp(value, "true") == 0;
    static const int64_t MOST_WHOLE = (int64_t)1 << 53;
    int64_t whole;
    double number;
    key_kind kind;
    int flag;

    if (find_key(&kind, &flag, key, err) < 0) {
        if (err)
            err->code = LX_EUSAGE;
        return LX_EUSAGE;
    }
    if (flag >= 0)
        type = lx_flag_table[flag].type;
    if (lx_utf8_check(value, strlen(value)) != strlen(value))
        return lx_fail(err, LX_EUSAGE, "%s: the value is not UTF-8", key);
    if (kind == KEY_BOOL || type == LX_TYPE_FLAG) {
        if (!is_on && strcmp(value, "false") != 0)
            return lx_fail(err, LX_EUSAGE, "%s: '%s' is neither true nor false", key,
                           value);
        lx_str_puts(out, value);
    } else if (kind == KEY_WORDS) {
        put_list(out, value, ',', false);
    } else if (type == LX_TYPE_TEXTS || type == LX_TYPE_REPEAT ||
               type == LX_TYPE_NUMBERS) {
        put_list(out, value, ' ', type == LX_TYPE_NUMBERS);
    } else if (type == LX_TYPE_INT && lx_parse_int(&whole, value, NULL) == LX_OK) {
        if (whole > MOST_WHOLE || whole < -MOST_WHOLE)
            return lx_fail(err, LX_EUSAGE, "%s: %s is beyond 2^53, the largest number that a file of settings holds",
                           key, value);
        lx_str_printf(out, "%lld", (long long)whole);
    } else if ((type == LX_TYPE_INT || type == LX_TYPE_NUMBER) &&
               lx_parse_number(&number, value, NULL) == LX_OK) {
        char text[32];
        lx_format_double(text, number);
        lx_str_puts(out, text);
    } else {
        lx_escape_json(out, value, strlen(value));
    }
    return lx_str_check(out, err);
}

/* Where the key's value stands in a tree; NULL = nowhere. */
static const cJSON *find_value(const cJSON *tree, const char *key)
{
    const char *dot = strchr(key, '.');
    char table[128];

    if (!dot)
        return cJSON_GetObjectItemCaseSensitive(tree, key);
    if ((size_t)(dot - key) >= sizeof table)
        return NULL;
    memcpy(table, key, (size_t)(dot - key));
    table[dot - key] = '\0';
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(tree, table),
                                            dot + 1);
}

static size_t line_start(const char *text, int line)
{
    size_t at = 0;

    while (line > 1 && text[at])
        if (text[at++] == '\n')
            line--;
    return at;
}

/* A [table] of the file: its first line is returned, 0 = there is none. */
static int find_table(const char *text, const char *name, size_t n)
{
    int line = 1;

    for (const char *at = text; *at; line++) {
        const size_t length = strcspn(at, "\n");
        const char *word = at + strspn(at, " \t");
        if (*word == '[' && word[1] != '[' &&
            (!n || (strncmp(word + 1, name, n) == 0 && word[1 + n] == ']')))
            return line;
        at += length + (at[length] == '\n');
    }
    return 0;
}

/* Where what stands behind the value of a line begins: a comment with the blanks before it, the end of the line. */
static size_t value_end(const char *line, size_t n)
{
    char quote = 0;
    size_t i = 0;

    for (; i < n && (quote || line[i] != '#'); i++)
        if (quote == '"' && line[i] == '\\')
            i++;
        else if (quote ? line[i] == quote : line[i] == '"' || line[i] == '\'')
            quote = quote ? 0 : line[i];
    i = i < n ? i : n;
    while (i && strchr(" \t\r", line[i - 1]))
        i--;
    return i;
}

/* The line of the value again, with its comment, or without both. */
static void replace_line(lx_str *out, const char *text, int line, const char *literal)
{
    const size_t at = line_start(text, line), length = strcspn(text + at, "\n"),
                 name = strcspn(text + at, "="), end = value_end(text + at, length);

    lx_str_append(out, text, at);
    if (literal) {
        lx_str_append(out, text + at, name < length ? name : length);
        lx_str_printf(out, "= %s", literal);
        lx_str_append(out, text + at + end, length - end);
        lx_str_putc(out, '\n');
    }
    lx_str_puts(out, text + at + length + (text[at + length] == '\n'));
}

/* A new line: in the key's table if the file has it, else in front of the first table. */
static void insert_line(lx_str *out, const char *text, const char *key,
                        const char *literal)
{
    const char *dot = strchr(key, '.');
    int table = dot ? find_table(text, key, (size_t)(dot - key)) : 0,
        first = find_table(text, "", 0);
    size_t at = table   ? line_start(text, table + 1)
                : first ? line_start(text, first)
                        : strlen(text);

    lx_str_append(out, text, at);
    if (at && text[at - 1] != '\n')
        lx_str_putc(out, '\n');
    lx_str_printf(out, "%s = %s\n", table ? dot + 1 : key, literal);
    lx_str_puts(out, text + at);
}

/* Does the new text say what it is to say? An old value over several lines, say, does not go so. */
static bool is_as_wanted(const char *text, const char *key, const char *literal)
{
    cJSON *tree = NULL, *wanted = NULL;
    lx_str line = LX_STR_INIT;
    const cJSON *value;
    bool is_right = lx_toml_parse(&tree, NULL, text, strlen(text), NULL) == LX_OK;

    if (is_right && !literal) {
        is_right = find_value(tree, key) == NULL;
    } else if (is_right) {
        lx_str_printf(&line, "v = %s\n", literal);
        value = find_value(tree, key);
        is_right =
            lx_toml_parse(&wanted, NULL, lx_str_text(&line), line.len, NULL) == LX_OK &&
            value && cJSON_Compare(value, wanted->child, true);
    }
    cJSON_Delete(tree);
    cJSON_Delete(wanted);
    lx_str_release(&line);
    return is_right;
}

int lx_settings_edit(lx_str *out, const char *text, const char *key, const char *literal,
                     lx_error *err)
{
    lx_toml_places places = {0};
    const lx_toml_place *place;
    cJSON *tree = NULL;
    int rc = lx_toml_parse(&tree, &places, text, strlen(text), err);

    if (rc < 0)
        return rc;
    place = lx_toml_find_place(&places, find_value(tree, key));
    if (place)
        replace_line(out, text, place->line, literal);
    else if (literal)
        insert_line(out, text, key, literal);
    else
        rc = lx_fail(err, LX_ENOTFOUND, "%s is not set there", key);
    if (rc == LX_OK && (rc = lx_str_check(out, err)) == LX_OK &&
        !is_as_wanted(lx_str_text(out), key, literal))
        rc = lx_fail(err, LX_EUSAGE,
                     "%s is not on a line of its own; edit the file by hand", key);
    lx_toml_places_release(&places);
    cJSON_Delete(tree);
    return rc;
}

int lx_settings_check(const char *text, size_t n, const char *file, bool is_project,
                      lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_settings s = {0};
    int rc = arena && (s.items = lx_arena_calloc(arena, MOST_SETTINGS, sizeof *s.items))
                 ? read_text(&s, text, n, file, is_project, arena, err)
                 : lx_oom(err);

    lx_settings_release(&s);
    lx_arena_free(arena);
    return rc;
}
