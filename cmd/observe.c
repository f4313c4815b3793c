#include "cmd/observe.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/scrub.h"

/* ---- the script -------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *base = path;

    for (const char *p = path; *p; p++)
        if (*p == '/' || *p == '\\')
            base = p + 1;
    return base;
}

/* The first word that names a Python file; launchers' options come before it. argc when
 * there is none. */
static int find_script(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        size_t n = strlen(argv[i]);
        if (argv[i][0] != '-' && n > 3 && strcasecmp(argv[i] + n - 3, ".py") == 0)
            return i;
    }
    return argc;
}

static bool is_trainer_of_sd_scripts(const char *script)
{
    const char *base = base_name(script);
    static const char *const others[] = {"train_db.py", "fine_tune.py", "sdxl_train.py",
                                         "train_textual_inversion.py"};

    if (lx_ends_with(base, "train_network.py"))
        return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(base, others[i]) == 0)
            return true;
    return false;
}

/* ---- flags of no table ------------------------------------------------------------- */

/* A word as JSON: a number, Python's constants, else text. */
static cJSON *word_json(const char *key, const char *word)
{
    if (strcmp(word, "True") == 0 || strcmp(word, "true") == 0)
        return cJSON_CreateBool(true);
    if (strcmp(word, "False") == 0 || strcmp(word, "false") == 0)
        return cJSON_CreateBool(false);
    if (strcmp(word, "None") == 0)
        return cJSON_CreateNull();
    return lx_json_word(key, lx_utf8_check(word, strlen(word)) == strlen(word) ? word : "?");
}

/* The value of an option: its words as a list, one alone as it is, none as true. NULL: no memory. */
static cJSON *words_value(const char *key, const char *const *words, size_t n)
{
    cJSON *list;

    if (n < 2)
        return n ? word_json(key, words[0]) : cJSON_CreateBool(true);
    if ((list = cJSON_CreateArray()))
        for (size_t i = 0; i < n; i++)
            if (!cJSON_AddItemToArray(list, word_json(key, words[i]))) {
                cJSON_Delete(list);
                return NULL;
            }
    return list;
}

/* Is a secret among the values of this option, behind its = or the words of these indices? */
static bool hides_any(const lx_words *words, size_t first, size_t end, const char *option)
{
    const size_t n = strcspn(option, "=");

    if (option[n] && lx_hides_option(option, n, option + n + 1))
        return true;
    for (size_t i = first; i < end; i++)
        if (lx_hides_option(option, n, words->items[i]))
            return true;
    return false;
}

/* "--name=value", "--name value value", "--flag": the words from *at up to the next option, and *at
 * moves behind them. Given twice, the last counts, as in argparse. */
static int add_option(cJSON *flags, lx_arena *arena, const lx_words *words, size_t *at,
                      lx_error *err)
{
    const char *word = words->items[(*at)++], *name = word + strspn(word, "-");
    size_t n = strcspn(name, "="), first = *at;
    const char *inner = name + n + 1; /* after the '=' */
    char *key = lx_arena_strndup(arena, name, n);
    cJSON *value;

    if (!key)
        return lx_oom(err);
    for (char *p = key; *p; p++)
        *p = *p == '-' ? '_' : *p;
    while (*at < words->count && !lx_is_option_word(words->items[*at]))
        ++*at;
    if (hides_any(words, first, *at, word) || lx_utf8_check(key, n) != n)
        return LX_OK;
    value = name[n] == '=' ? words_value(key, &inner, 1)
                           : words_value(key, words->items + first, *at - first);
    cJSON_DeleteItemFromObjectCaseSensitive(flags, key);
    if (value && cJSON_AddItemToObject(flags, key, value))
        return LX_OK;
    cJSON_Delete(value);
    return lx_oom(err);
}

static int add_options(cJSON *flags, lx_arena *arena, const lx_words *words,
                       lx_error *err)
{
    int rc = LX_OK;

    for (size_t at = 0; at < words->count && rc == LX_OK;)
        if (lx_is_option_word(words->items[at]) && words->items[at][1] == '-')
            rc = add_option(flags, arena, words, &at, err);
        else
            at++;
    return rc;
}

static int put_json(const char **out, lx_arena *arena, const cJSON *object, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc = lx_json_canonical(&text, object, err);

    if (rc == LX_OK && !(*out = lx_arena_strdup(arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    return rc;
}

/* ---- flags of sd-scripts ----------------------------------------------------------- */

static int push(lx_words *words, lx_arena *arena, const char *word, size_t most,
                lx_error *err)
{
    if (!words->items &&
        !(words->items = lx_arena_calloc(arena, most + 1, sizeof *words->items)))
        return lx_oom(err);
    words->items[words->count++] = word;
    return LX_OK;
}

/* Those of the table apart from the others (of newer versions, of SDXL ...). */
static int split(lx_words *known, lx_words *others, lx_arena *arena,
                 const lx_words *words, lx_error *err)
{
    lx_words *into = others;
    int rc = LX_OK;

    for (size_t i = 0; i < words->count && rc == LX_OK; i++) {
        const char *word = words->items[i];
        if (lx_is_option_word(word))
            into =
                word[1] == '-' && lx_train_flag_is_known(word + 2, strcspn(word + 2, "="))
                    ? known
                    : others;
        rc = push(into, arena, word, words->count, err);
    }
    return rc;
}

/* The text adds a member that `base` lacks. */
static int merge(const char **base, lx_arena *arena, const cJSON *more, lx_error *err)
{
    cJSON *root = NULL;
    const cJSON *item;
    int rc;

    if (!more->child)
        return LX_OK;
    if ((rc = lx_json_parse(&root, *base, strlen(*base), err)) < 0)
        return rc;
    for (item = more->child; item && rc == LX_OK; item = item->next)
        if (!cJSON_GetObjectItemCaseSensitive(root, item->string) &&
            !cJSON_AddItemToObject(root, item->string, cJSON_Duplicate(item, true)))
            rc = lx_oom(err);
    if (rc == LX_OK)
        rc = put_json(base, arena, root, err);
    cJSON_Delete(root);
    return rc;
}

static void take_places(lx_observed *out)
{
    const lx_train_config *c = &out->config;

    out->has_data = c->data.train_data_dir || c->data.n_subsets > 0;
    out->output_dir = c->output_dir;
    out->output_name = c->output_name;
    out->base_model = c->pretrained_model_name_or_path;
    out->seed = c->seed;
    out->has_seed = c->seed_given;
}

static const char *text_member(lx_arena *arena, const cJSON *flags, const char *name)
{
    const char *text = lx_json_text(flags, name);
    return text && *text ? lx_arena_strdup(arena, text) : NULL;
}

static int observe_sd_scripts(lx_observed *out, lx_cli *cli, const lx_words *words,
                              lx_error *err)
{
    lx_words known = {NULL, 0}, others = {NULL, 0};
    cJSON *more = cJSON_CreateObject(), *resolved = NULL;
    lx_train_flags facts;
    int rc = more ? LX_OK : lx_oom(err);

    if (rc < 0 || (rc = split(&known, &others, cli->arena, words, err)) < 0 ||
        (rc = add_options(more, cli->arena, &others, err)) < 0 ||
        (rc = lx_train_flags_observe(&out->config, &facts, cli, &known, err)) < 0)
        goto done;
    out->given = facts.given;
    out->flags = facts.resolved;
    out->notes = facts.notes;
    take_places(out);
    if ((rc = merge(&out->given, cli->arena, more, err)) < 0 ||
        (rc = merge(&out->flags, cli->arena, more, err)) < 0 ||
        (rc = lx_json_parse(&resolved, out->flags, strlen(out->flags), err)) < 0)
        goto done;
    out->logging_dir = text_member(cli->arena, resolved, "logging_dir");
done:
    cJSON_Delete(more);
    cJSON_Delete(resolved);
    return rc;
}

/* Any command: what it calls output_dir and logging_dir is looked at. */
static int observe_any(lx_observed *out, lx_cli *cli, const lx_words *words,
                       lx_error *err)
{
    cJSON *flags = cJSON_CreateObject();
    int rc = flags ? add_options(flags, cli->arena, words, err) : lx_oom(err);

    if (rc == LX_OK && (rc = put_json(&out->flags, cli->arena, flags, err)) == LX_OK) {
        const cJSON *seed = cJSON_GetObjectItemCaseSensitive(flags, "seed");
        out->given = out->flags;
        out->output_dir = text_member(cli->arena, flags, "output_dir");
        out->output_name = text_member(cli->arena, flags, "output_name");
        out->logging_dir = text_member(cli->arena, flags, "logging_dir");
        out->base_model = text_member(cli->arena, flags, "pretrained_model_name_or_path");
        out->has_seed =
            cJSON_IsNumber(seed) && seed->valuedouble >= 0 && seed->valuedouble < 0x1p53;
        out->seed = out->has_seed ? (uint64_t)seed->valuedouble : 0;
    }
    cJSON_Delete(flags);
    return rc;
}

int lx_observe(lx_observed *out, lx_cli *cli, int argc, char **argv, lx_error *err)
{
    int script = find_script(argc, argv), first = script < argc ? script + 1 : 1;
    const lx_words words = {(const char **)argv + first, (size_t)(argc - first)};
    lx_error problem = {0};
    int rc;

    memset(out, 0, sizeof *out);
    out->folder = ".";
    if (script < argc) {
        const char *base = base_name(argv[script]);
        out->script = argv[script];
        out->is_sd_scripts = is_trainer_of_sd_scripts(argv[script]);
        if (base != argv[script] &&
            !(out->folder = lx_arena_strndup(cli->arena, argv[script],
                                             (size_t)(base - argv[script]))))
            return lx_oom(err);
    }
    if (!out->is_sd_scripts)
        return observe_any(out, cli, &words, err);
    rc = observe_sd_scripts(out, cli, &words, &problem);
    if (rc == LX_OK || rc == LX_ENOMEM)
        return rc == LX_OK ? rc : lx_oom(err);
    /* A value is missing, or something like it: the trainer will say so too. */
    out->has_data = false;
    if (!(out->notes.items = lx_arena_calloc(cli->arena, 1, sizeof *out->notes.items)) ||
        !(out->notes.items[0] = lx_arena_strdup(cli->arena, problem.text)))
        return lx_oom(err);
    out->notes.count = 1;
    return observe_any(out, cli, &words, err);
}

/* ---- packages ---------------------------------------------------------------------- */

/* The folder above bin/: of an environment its root. A link into another place (python3 of an
 * environment) counts where it stands. */
static bool find_prefix(char prefix[PATH_MAX], const char *command)
{
    char *slash;

    snprintf(prefix, PATH_MAX, "%s", command);
    for (int i = 0; i < 2; i++) {
        if (!(slash = strrchr(prefix, '/')))
            return false;
        *slash = '\0';
    }
    return *prefix != '\0';
}

/* "torch-2.1.0.dist-info" */
static void put_package(lx_str *out, const char *name)
{
    static const char ending[] = ".dist-info";
    size_t n = strlen(name);
    const char *dash;

    if (n <= strlen(ending) || !lx_ends_with(name, ending) || lx_utf8_check(name, n) != n)
        return;
    n -= strlen(ending);
    if (!(dash = memchr(name, '-', n)))
        return;
    lx_str_append(out, name, (size_t)(dash - name));
    lx_str_puts(out, "==");
    lx_str_append(out, dash + 1, n - (size_t)(dash + 1 - name));
    lx_str_putc(out, '\n');
}

static void put_packages_of(lx_str *out, const char *lib, const char *python)
{
    lx_str folder = LX_STR_INIT;
    lx_dir dir = {0};

    lx_str_printf(&folder, "%s/%s/site-packages", lib, python);
    if (!folder.failed && lx_file_is_dir(lx_str_text(&folder)) &&
        lx_dir_list(&dir, lx_str_text(&folder), NULL) == LX_OK) {
        lx_str_printf(out, "%s==%s\n", "python", python + strlen("python"));
        for (size_t i = 0; i < dir.count; i++)
            put_package(out, dir.names[i]);
    }
    lx_dir_free(&dir);
    lx_str_release(&folder);
}

int lx_observe_packages(lx_str *out, const char *command, lx_error *err)
{
    char prefix[PATH_MAX];
    lx_str lib = LX_STR_INIT;
    lx_dir dir = {0};

    if (strlen(command) >= sizeof prefix || !find_prefix(prefix, command))
        return LX_OK;
    lx_str_printf(&lib, "%s/lib", prefix);
    if (!lib.failed && lx_file_is_dir(lx_str_text(&lib)) &&
        lx_dir_list(&dir, lx_str_text(&lib), NULL) == LX_OK)
        for (size_t i = 0; i < dir.count; i++)
            if (lx_starts_with(dir.names[i], "python3."))
                put_packages_of(out, lx_str_text(&lib), dir.names[i]);
    lx_dir_free(&dir);
    lx_str_release(&lib);
    return lx_str_check(out, err);
}
