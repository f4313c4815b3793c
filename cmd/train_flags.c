#include "cmd/train_flags.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "cmd/pasted.h"
#include "cmd/path_map.h"
#include "cmd/train_flag.h"
#include "src/base/file.h"

/* A flag that cannot be followed, given with a value that asks for nothing: GUIs write them all. */
static bool asks_for_nothing(const lx_flag *flag, const lx_flag_value *v)
{
    switch (flag->type) {
    case LX_TYPE_FLAG:
        return !v->is_on;
    case LX_TYPE_INT:
        return v->is_null || v->whole <= 0 || (flag->otherwise && !strcmp(v->text, flag->otherwise));
    case LX_TYPE_NUMBER:
        return v->is_null || v->number == 0;
    case LX_TYPE_TEXTS:
    case LX_TYPE_NUMBERS:
        return v->words.count == 0;
    default:
        return v->is_null || !*v->text || (flag->otherwise && !strcmp(v->text, flag->otherwise));
    }
}

static int put_member(lx_train_config *config, const lx_flag *flag, const lx_flag_value *v,
                      lx_error *err)
{
    void *place = (char *)config + flag->member;

    switch (flag->type) {
    case LX_TYPE_FLAG:
        *(bool *)place = v->is_on;
        break;
    case LX_TYPE_INT:
        if (v->whole < 0 || v->whole > INT_MAX)
            return lx_fail(err, LX_EUSAGE, "'%s' is %s", v->text,
                           v->whole < 0 ? "negative" : "too large");
        *(int *)place = (int)v->whole;
        break;
    case LX_TYPE_NUMBER:
    case LX_TYPE_SHARE:
        *(double *)place = v->number;
        break;
    default:
        *(const char **)place = v->text;
    }
    return LX_OK;
}

static int apply(lx_flags *f, const lx_flag *flag, const lx_flag_value *v, lx_error *err)
{
    switch (flag->action) {
    case LX_ACTION_USE:
    case LX_ACTION_MARK: /* the configuration's own defaults stand where nothing is given */
        return v->given && !v->is_null ? put_member(f->config, flag, v, err) : LX_OK;
    case LX_ACTION_SET:
    case LX_ACTION_OWN:
        return flag->set(f, v, err);
    case LX_ACTION_DENY:
        if (v->given && !f->is_observed && !asks_for_nothing(flag, v))
            return lx_fail(err, LX_EUNSUPPORTED, "%s", flag->help);
        return LX_OK;
    default:
        return LX_OK;
    }
}

static int map_path(lx_flags *f, const lx_flag *flag, lx_flag_value *v, lx_error *err)
{
    if (flag->type != LX_TYPE_PATH || v->is_null || flag->action == LX_ACTION_IDLE ||
        flag->action == LX_ACTION_DENY)
        return LX_OK;
    return lx_path_map(&v->text, v->text, &f->given[LX_AT_path_map].words, f->arena, err);
}

static int take_value(lx_flags *f, int index, lx_error *err)
{
    const lx_flag *flag = &lx_flag_table[index];
    lx_flag_value *v = &f->values[index];
    int rc = lx_flag_read(v, flag, &f->given[index], f->arena, err);

    if (rc == 0 && (rc = map_path(f, flag, v, err)) < 0)
        return rc;
    if (rc == 0)
        rc = apply(f, flag, v, err);
    if (rc != LX_EUSAGE || !f->given[index].place)
        return rc;
    if (err)
        err->code = LX_EFORMAT; /* the file is wrong, not the command */
    return LX_EFORMAT;
}

int lx_flags_take_words(lx_flags *f, int index, const lx_flag_words *words, lx_error *err)
{
    const lx_flag *flag = &lx_flag_table[index];
    lx_flag_value v;
    int rc = lx_flag_read(&v, flag, words, f->arena, err);

    if (rc == 0 && (rc = map_path(f, flag, &v, err)) == 0)
        rc = apply(f, flag, &v, err);
    if (rc == LX_EUSAGE && err)
        err->code = LX_EFORMAT;
    return rc == LX_EUSAGE ? LX_EFORMAT : rc;
}

/* In the order of the table: a later row may win over an earlier one. */
static int take_values(lx_flags *f, lx_error *err)
{
    int rc = LX_OK;

    for (int i = 0; i < LX_FLAG_COUNT && rc == 0; i++)
        if ((rc = take_value(f, i, err)) < 0)
            lx_within(err, "%s", lx_flag_where(f, i));
    return rc;
}

/* A value that cannot be read is unknown; one that lx could not follow is known all the same. */
static int observe_values(lx_flags *f, lx_error *err)
{
    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        lx_flag_value ignored;
        int rc = take_value(f, i, err);
        if (rc == LX_ENOMEM)
            return rc;
        if (rc < 0 && lx_flag_read(&ignored, &lx_flag_table[i], &f->given[i], f->arena, NULL) < 0)
            f->values[i].is_null = true;
    }
    return LX_OK;
}

/* Told by its own name, and not by that of the first path that is mapped. */
static int check_maps(const lx_flags *f, lx_error *err)
{
    const lx_words *maps = &f->given[LX_AT_path_map].words;
    const char *ignored;
    int rc = maps->count ? lx_path_map(&ignored, "", maps, f->arena, err) : LX_OK;

    if (rc < 0)
        lx_within(err, "%s", lx_flag_where(f, LX_AT_path_map));
    return rc;
}

/* A file with more flags is found before its flags are read. *out is NULL when none is named. */
static int find_file(const char **out, lx_flags *f, int index, lx_error *err)
{
    const lx_words *words = &f->given[index].words;
    int rc;

    *out = NULL;
    if (words->count == 0)
        return LX_OK;
    rc = lx_path_map(out, words->items[words->count - 1], &f->given[LX_AT_path_map].words,
                     f->arena, err);
    if (rc < 0)
        lx_within(err, "%s", lx_flag_where(f, index));
    return rc;
}

/*
 * ".toml" is appended, as the peer does, which then knows no other file. Where there is none of that name, the one
 * that was named may be there: the GUI of kohya_ss saves its settings as JSON, and passes sd-scripts a TOML.
 */
static int complete_config_name(const char **path, const lx_flags *f, lx_error *err)
{
    const char *named = *path;

    if (!(*path = lx_arena_printf(f->arena, "%s.toml", named)))
        return lx_oom(err);
    if (lx_file_exists(*path) || !lx_file_exists(named) || f->given[LX_AT_output_config].is_on)
        return LX_OK;
    if (strcasecmp(lx_path_ext(named), ".json") != 0)
        return lx_fail(err, LX_EUSAGE,
                       "--config_file %s: takes a TOML file whose name ends in .toml, as sd-scripts does; rename this "
                       "one to %s if it is one",
                       named, *path);
    return lx_fail(err, LX_EUSAGE,
                   "--config_file %s: takes TOML, and this is JSON, as the GUI of kohya_ss saves its settings. When "
                   "the GUI starts a training, it writes the same as config_lora-DATE.toml into the output folder: "
                   "give that file",
                   named);
}

/* The command line first, then what it leaves open from --config_file; --dataset_config wins. */
static int read_files(lx_flags *f, lx_error *err)
{
    const bool is_like = f->given[LX_AT_like].given;
    const char *config, *dataset;
    int rc;

    if ((rc = check_maps(f, err)) < 0 ||
        (rc = find_file(&config, f, LX_AT_config_file, err)) < 0)
        return rc;
    if (config && !lx_ends_with(config, ".toml") && (rc = complete_config_name(&config, f, err)) < 0)
        return rc;
    if (f->given[LX_AT_output_config].is_on) {
        if (!config)
            return lx_fail(err, LX_EUSAGE, "--output_config writes to the file that --config_file "
                                           "names; add it");
        f->output_config = config;
        config = NULL;
    }
    if (config && (rc = lx_flags_read_toml(f, config, err)) < 0)
        return rc;
    if ((rc = lx_flags_read_like(f, err)) < 0)
        return rc;
    /* A run's flags are taken as they were: with others it would not be that run again. */
    if (!is_like && !f->is_observed && (rc = lx_flags_read_settings(f, err)) < 0)
        return rc;
    if ((rc = find_file(&dataset, f, LX_AT_dataset_config, err)) == 0 && dataset)
        rc = lx_flags_read_dataset(f, dataset, err);
    return rc;
}

static int read_words(lx_flags *f, int argc, char **argv, lx_error *err)
{
    lx_option_set sets[] = {{lx_train_options, f}, {lx_global_options, &f->globals}};
    lx_words words, dropped;
    lx_str line = LX_STR_INIT;
    int rc;

    if ((rc = lx_pasted_flags(&words, &dropped, argc, argv, f->arena, err)) < 0)
        return rc;
    if (dropped.count > 0) {
        for (size_t i = 0; i < dropped.count; i++)
            lx_str_printf(&line, " %s", dropped.items[i]);
        rc = lx_flags_note(f, "options of the launcher have no effect here:%s", lx_str_text(&line));
        lx_str_release(&line);
        if (rc < 0)
            return lx_oom(err);
    }
    rc = lx_option_sets_parse(sets, 2, (int)words.count, (char **)words.items, NULL, f->arena, err);
    if (rc == 0)
        lx_cli_apply_globals(f->cli, &f->globals);
    return rc;
}

int lx_train_flags_parse(lx_train_config *config, lx_train_flags *facts, lx_cli *cli, int argc,
                         char **argv, lx_error *err)
{
    lx_flags *f = lx_arena_calloc(cli->arena, 1, sizeof *f);
    int rc;

    if (!f)
        return lx_oom(err);
    f->config = config;
    f->facts = facts;
    f->cli = cli;
    f->arena = cli->arena;
    *facts = (lx_train_flags){0};
    lx_train_config_defaults(config);
    if ((rc = read_words(f, argc, argv, err)) < 0 || (rc = read_files(f, err)) < 0 ||
        (rc = take_values(f, err)) < 0 || (rc = lx_flags_resolve(f, err)) < 0 ||
        (rc = lx_flags_tell(f, err)) < 0 || (rc = lx_flags_notes(f, err)) < 0)
        return rc;
    if (f->output_config) {
        facts->is_done = true;
        rc = lx_flags_output_config(f, f->output_config, err);
    }
    return rc;
}

/* A problem with a file is told and left to the trainer. */
static int note_problem(lx_flags *f, int rc, lx_error *problem, lx_error *err)
{
    if (rc == LX_OK)
        return LX_OK;
    if (rc == LX_ENOMEM || lx_flags_note(f, "%s", problem->text) < 0)
        return lx_oom(err);
    return LX_OK;
}

int lx_train_flags_observe(lx_train_config *config, lx_train_flags *facts, lx_cli *cli,
                           const lx_words *words, lx_error *err)
{
    lx_option_set set = {lx_train_options, NULL};
    lx_flags *f = lx_arena_calloc(cli->arena, 1, sizeof *f);
    lx_error problem = {0};
    int rc;

    if (!f)
        return lx_oom(err);
    set.args = f;
    f->config = config;
    f->facts = facts;
    f->cli = cli;
    f->arena = cli->arena;
    f->is_observed = true;
    *facts = (lx_train_flags){0};
    lx_train_config_defaults(config);
    if (!(f->others = cJSON_CreateObject()))
        return lx_oom(err);
    rc = lx_option_sets_parse(&set, 1, (int)words->count, (char **)words->items, NULL, f->arena, err);
    if (rc < 0 ||
        (rc = note_problem(f, read_files(f, &problem), &problem, err)) < 0 ||
        (rc = observe_values(f, &problem)) < 0)
        goto done;
    config->unet_lr = config->unet_lr_given ? config->unet_lr : config->learning_rate;
    config->text_encoder_lr =
        config->text_encoder_lr_given ? config->text_encoder_lr : config->learning_rate;
    rc = lx_flags_tell(f, err);
done:
    cJSON_Delete(f->others);
    return rc == LX_ENOMEM ? lx_oom(err) : rc;
}

bool lx_train_flag_is_path(const char *name)
{
    for (int i = 0; i < LX_FLAG_COUNT; i++)
        if (strcmp(lx_flag_table[i].name, name) == 0)
            return lx_flag_table[i].type == LX_TYPE_PATH || lx_flag_is_secret(i);
    return false;
}

bool lx_train_flag_is_known(const char *name, size_t n)
{
    int matches = 0;

    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        const char *known = lx_flag_table[i].name;
        size_t k = 0;
        while (k < n && known[k] && known[k] == (name[k] == '-' ? '_' : name[k]))
            k++;
        if (k == n && !known[n])
            return true;
        matches += k == n;
    }
    return matches == 1;
}

int lx_train_flags_require(const lx_train_config *c, lx_error *err)
{
    const char *missing = !c->pretrained_model_name_or_path ? "pretrained_model_name_or_path BASE"
                          : !c->data.train_data_dir && !c->data.n_subsets ? "train_data_dir FOLDER"
                          : c->data.width < 1               ? "resolution 512,512"
                          : !c->output_dir                  ? "output_dir FOLDER"
                                                            : NULL;

    return missing ? lx_fail(err, LX_EUSAGE, "a training needs --%s", missing) : LX_OK;
}
