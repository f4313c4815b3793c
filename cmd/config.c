/* lx config - what is set, where it is set, and setting it */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "cmd/settings.h"
#include "src/base/file.h"
#include "src/base/scrub.h"
#include "src/report/table.h"
#include "store/store.h"

struct config_args {
    bool json, project;
    lx_words words;
};

static const lx_option options[] = {
    LX_FLAG(
        struct config_args, project, 'p', "project",
        "set and unset: in .lx/config above the working folder, not in the user's file"),
    LX_FLAG(struct config_args, json, 'j', "json", "list and get: print JSON"),
    LX_ARGS(struct config_args, words,
            "list | get KEY | set KEY VALUE | unset KEY | keys",
            "what to do; list when left out"),
    LX_OPTION_END,
};

/* ---- list --------------------------------------------------------------------------------- */

typedef struct row {
    const char *key, *value, *from;
} row;

typedef struct rows {
    row *items;
    size_t count;
} rows;

/* The remote's address, or any other text, may hold a password, and lists are shown to others. */
static int hide_secrets(rows *r, lx_cli *cli, lx_error *err)
{
    for (size_t i = 0; i < r->count; i++) {
        const char *value = r->items[i].value;
        lx_str clean = LX_STR_INIT;

        lx_scrub_text(&clean, value, strlen(value));
        value = clean.failed ? NULL : lx_arena_strdup(cli->arena, lx_str_text(&clean));
        lx_str_release(&clean);
        if (!value)
            return lx_oom(err);
        r->items[i].value = value;
    }
    return LX_OK;
}

static void add_row(rows *r, const char *key, const char *value, const char *from)
{
    r->items[r->count++] = (row){key, value, from};
}

static int add_store(rows *r, lx_cli *cli, const lx_settings *s, lx_error *err)
{
    const char *variable = getenv("LX_STORE"), *from, *text;
    const lx_setting *setting = lx_settings_find(s, "store");
    lx_str path = LX_STR_INIT;
    int rc = LX_OK;

    if (cli->store_path)
        from = "--store";
    else if (variable && *variable)
        from = "LX_STORE";
    else if (s->project_file)
        from = ".lx/ above the working folder";
    else
        from = setting ? setting->place : "default";
    if (!cli->store_path && setting && from == setting->place)
        text = lx_settings_store(s, cli->arena);
    else if ((rc = lx_store_find(&path, cli->store_path, err)) == LX_OK)
        text = lx_arena_strdup(cli->arena, lx_str_text(&path));
    else
        text = NULL;
    lx_str_release(&path);
    if (rc == LX_OK && !text)
        rc = lx_oom(err);
    if (rc == LX_OK)
        add_row(r, "store", text, from);
    return rc;
}

/* Variables that change what lx does; others (HOME, TMPDIR) are the system's. */
static const char *const variables[] = {"NO_COLOR", "LX_CPU_ISA", "LX_NVML"};
enum { N_VARIABLES = sizeof variables / sizeof *variables };

static int gather(rows *r, lx_cli *cli, const lx_settings *s, lx_error *err)
{
    int rc;

    if (!(r->items =
              lx_arena_calloc(cli->arena, s->count + N_VARIABLES + 1, sizeof *r->items)))
        return lx_oom(err);
    if ((rc = add_store(r, cli, s, err)) < 0)
        return rc;
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->items[i].key, "store") != 0)
            add_row(r, s->items[i].key, s->items[i].text, s->items[i].place);
    for (size_t i = 0; i < N_VARIABLES; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value)
            add_row(r, variables[i], value, "environment");
    }
    return LX_OK;
}

static int list_json(lx_cli *cli, const rows *r, lx_error *err)
{
    cJSON *root = cJSON_CreateArray();
    lx_str out = LX_STR_INIT;
    int rc;

    for (size_t i = 0; i < r->count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(root, o);
        cJSON_AddStringToObject(o, "key", r->items[i].key);
        cJSON_AddStringToObject(o, "value", lx_safe(cli, r->items[i].value));
        cJSON_AddStringToObject(o, "from", lx_safe(cli, r->items[i].from));
    }
    if ((rc = lx_json_pretty(&out, root, err)) == LX_OK)
        lx_print(cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}

static int list(lx_cli *cli, const lx_settings *s, bool as_json, lx_error *err)
{
    static const lx_table_column columns[] = {
        {"key", false, false}, {"value", false, true}, {"from", false, true}};
    const char **cells;
    lx_str out = LX_STR_INIT;
    rows r = {0};
    int rc = gather(&r, cli, s, err);

    if (s->is_foreign && !cli->is_quiet)
        lx_message(cli, "note: %s belongs to another user and is not read\n",
                   lx_safe(cli, s->project_file));
    if (rc < 0 || (rc = hide_secrets(&r, cli, err)) < 0 || as_json)
        return rc < 0 ? rc : list_json(cli, &r, err);
    if (!(cells = lx_arena_calloc(cli->arena, 3 * r.count, sizeof *cells)))
        return lx_oom(err);
    for (size_t i = 0; i < r.count; i++) {
        cells[3 * i] = r.items[i].key;
        cells[3 * i + 1] = r.items[i].value;
        cells[3 * i + 2] = r.items[i].from;
    }
    const lx_table table = {columns, 3, r.count, cells};
    if ((rc = lx_table_text(&out, &table, isatty(fileno(cli->out)) ? cli->columns : 0, 0,
                            err)) == LX_OK)
        lx_print(cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

/* ---- get, set, unset ----------------------------------------------------------------------- */

static int get(lx_cli *cli, const lx_settings *s, const char *key, bool as_json,
               lx_error *err)
{
    rows r = {0};
    lx_error unknown = {0};
    int rc = gather(&r, cli, s, err);

    for (size_t i = 0; i < r.count && rc == LX_OK; i++) {
        if (strcmp(r.items[i].key, key) != 0)
            continue;
        r.items[0] = r.items[i];
        r.count = 1;
        if (as_json)
            return list_json(cli, &r, err);
        lx_print(cli, "%s\n", lx_safe(cli, r.items[0].value));
        return LX_OK;
    }
    if (rc < 0)
        return rc;
    if (lx_settings_check_key(key, &unknown) < 0)
        return lx_fail(err, LX_ENOTFOUND, "%s", unknown.text);
    return lx_fail(err, LX_ENOTFOUND, "%s is not set", key);
}

/* The file to be changed, and what is in it. */
static int open_file(const char **file, lx_str *text, const lx_settings *s,
                     bool is_project, lx_error *err)
{
    int rc = LX_OK;

    *file = is_project ? s->project_file : s->user_file;
    if (!*file && is_project)
        return lx_fail(err, LX_ENOTFOUND,
                       "no .lx/ is above this folder; mkdir .lx makes it a project, "
                       "with a store of its own");
    if (!*file)
        return lx_fail(err, LX_ENOTFOUND, "neither XDG_CONFIG_HOME nor HOME is set");
    if (lx_file_exists(*file))
        rc = lx_file_read(text, *file, 1 << 20, err);
    return rc;
}

/* The user's file may be a link to where its owner keeps such files; a project's is written where it lies. */
static int write_file(const char *file, const lx_str *text, bool is_project, lx_error *err)
{
    char real[PATH_MAX];

    if (!is_project && lx_file_is_link(file) && realpath(file, real))
        file = real;
    return lx_file_write_private(file, lx_str_text(text), text->len, err);
}

/* Nothing is written that would not be read. literal NULL: taken out. */
static int change(lx_cli *cli, const lx_settings *s, const char *key, const char *literal,
                  bool is_project, lx_error *err)
{
    lx_str text = LX_STR_INIT, changed = LX_STR_INIT;
    const char *file, *folder;
    int rc;

    if ((rc = open_file(&file, &text, s, is_project, err)) < 0)
        goto done;
    if ((rc = lx_settings_edit(&changed, lx_str_text(&text), key, literal, err)) < 0) {
        lx_within(err, "%s", file);
        goto done;
    }
    if ((rc = lx_settings_check(lx_str_text(&changed), changed.len, file, is_project,
                                err)) < 0)
        goto done;
    if (!(folder =
              lx_arena_strndup(cli->arena, file, (size_t)(lx_path_base(file) - file))))
        rc = lx_oom(err);
    if (rc == LX_OK && (rc = lx_make_dirs(folder, err)) == LX_OK)
        rc = write_file(file, &changed, is_project, err);
done:
    lx_str_release(&text);
    lx_str_release(&changed);
    return rc;
}

static int set(lx_cli *cli, const lx_settings *s, const char *key, const char *value,
               bool is_project, lx_error *err)
{
    lx_str literal = LX_STR_INIT;
    int rc = lx_settings_literal(&literal, key, value, err);

    if (rc == LX_OK)
        rc = change(cli, s, key, lx_str_text(&literal), is_project, err);
    if (rc == LX_ECONFIG && err) /* the value is wrong, and it came from the command */
        err->code = rc = LX_EUSAGE;
    lx_str_release(&literal);
    return rc;
}

static void show_keys(lx_cli *cli)
{
    for (const lx_settings_key *k = lx_settings_keys; k->key; k++)
        lx_print(cli, "%-14s %s\n", k->key, k->help);
}

/* ---- the command --------------------------------------------------------------------------- */

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct config_args *args = args_;
    const char *const *words = args->words.items;
    const size_t n = args->words.count;
    const char *what = n ? words[0] : "list";
    lx_settings settings;
    int rc;

    if (strcmp(what, "keys") == 0 && n == 1) {
        show_keys(cli);
        return LX_OK;
    }
    rc = lx_settings_read(&settings, cli->arena, err);
    if (strcmp(what, "unset") == 0 && n == 2 && rc == LX_ECONFIG)
        rc = LX_OK; /* perhaps that is what is wrong */
    if (rc < 0)
        ;
    else if (strcmp(what, "list") == 0 && n <= 1)
        rc = list(cli, &settings, args->json, err);
    else if (strcmp(what, "get") == 0 && n == 2)
        rc = get(cli, &settings, words[1], args->json, err);
    else if (strcmp(what, "set") == 0 && n == 3)
        rc = set(cli, &settings, words[1], words[2], args->project, err);
    else if (strcmp(what, "unset") == 0 && n == 2)
        rc = change(cli, &settings, words[1], NULL, args->project, err);
    else
        rc = lx_fail(err, LX_EUSAGE,
                     "list, get KEY, set KEY VALUE, unset KEY or keys is wanted");
    lx_settings_release(&settings);
    return rc;
}

const lx_command lx_cmd_config = {
    .name = "config",
    .summary = "settings: what applies and from where, get, set, unset",
    .usage = "[list | get KEY | set KEY VALUE | unset KEY | keys]",
    .help = "Settings are in two files of TOML: the user's (~/.config/lx/config) and a "
            "project's, .lx/config\n"
            "above the working folder, which wins; a command line and the environment "
            "win over both.\n"
            "`list` shows what applies here and where it is from, `keys` what can be "
            "set. Flags of lx train\n"
            "(train.FLAG) hold for new runs only, are said when a training starts and "
            "are recorded with it.\n"
            "A file that is changed keeps its other lines as they are.\n"
            "\n"
            "Examples:\n"
            "  lx config\n"
            "  lx config set train.threads 6\n"
            "  lx config set remote git@example.com:me/runs.git --project\n"
            "  lx config set privacy.words 'Jane Doe,jdoe'\n"
            "  lx config unset train.threads\n",
    .options = options,
    .args_size = sizeof(struct config_args),
    .has_no_settings = true,
    .run = run,
};
