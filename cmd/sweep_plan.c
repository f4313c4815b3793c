/* lx sweep: from flags and a command to the command line of every trial. */
#include <math.h>
#include <string.h>

#include "cmd/observe.h"
#include "cmd/run_field.h"
#include "cmd/sweep.h"
#include "cmd/train_flag.h"
#include "cmd/train_state.h"
#include "src/base/alloc.h"
#include "src/base/scrub.h"

/* ---- words ------------------------------------------------------------------------------- */

/* A list that grows in an arena. Failure is remembered: one look at the end. */
typedef struct words {
    const char **items;
    size_t count, capacity;
    lx_arena *arena;
    bool failed;
} words;

static void add(words *w, const char *word)
{
    if (lx_arena_grow(w->arena, &w->items, &w->capacity, w->count + 2, /* a NULL behind */
                      sizeof *w->items) < 0) {
        w->failed = true;
        return;
    }
    w->failed |= !word;
    w->items[w->count++] = word;
}

static const lx_flag *find_flag(const char *name)
{
    for (int i = 0; i < LX_FLAG_COUNT; i++)
        if (strcmp(lx_flag_table[i].name, name) == 0)
            return &lx_flag_table[i];
    return NULL;
}

/* A flag of lx train with one of its values. A list takes its words apart at spaces. */
static void add_flag(words *w, const char *name, const char *value)
{
    const lx_flag *flag = find_flag(name);

    if (!flag || (flag->type != LX_TYPE_TEXTS && flag->type != LX_TYPE_NUMBERS)) {
        add(w, lx_arena_printf(w->arena, "--%s=%s", name, value));
        return;
    }
    add(w, lx_arena_printf(w->arena, "--%s", name));
    while (*(value += strspn(value, " "))) {
        size_t n = strcspn(value, " ");
        add(w, lx_arena_strndup(w->arena, value, n));
        value += n;
    }
}

/* ---- another trainer's command ----------------------------------------------------------- */

/* Where the command begins among the words of `run ... -- COMMAND`; count when there is none. */
static size_t command_start(const lx_words *command)
{
    size_t i = 1;

    while (i < command->count && strcmp(command->items[i], "--") != 0)
        i++;
    return i < command->count ? i + 1 : i;
}

/* {name} in a word becomes the value; NULL when it is not there. */
static const char *fill_in(const char *word, const char *name, const char *value,
                           lx_arena *arena)
{
    const char *hole = lx_arena_printf(arena, "{%s}", name), *at;
    lx_str out = LX_STR_INIT;
    const char *filled = NULL;

    if (!hole || !strstr(word, hole))
        return NULL;
    while ((at = strstr(word, hole))) {
        lx_str_append(&out, word, (size_t)(at - word));
        lx_str_puts(&out, value);
        word = at + strlen(hole);
    }
    lx_str_puts(&out, word);
    if (!out.failed)
        filled = lx_arena_strdup(arena, lx_str_text(&out));
    lx_str_release(&out);
    return filled;
}

/* Behind the trainer's script: what stands in front of it is its launcher's. */
static size_t behind_script(const words *w, size_t from)
{
    for (size_t i = from; i < w->count; i++)
        if (strlen(w->items[i]) > 3 && strcmp(w->items[i] + strlen(w->items[i]) - 3, ".py") == 0)
            return i + 1;
    return from;
}

/* Without the trainer's flag, wherever it stands, and the words behind it that are its value, at most `n_words`. */
static void remove_flag(words *w, size_t from, const char *name, size_t n_words)
{
    const size_t start = behind_script(w, from);
    size_t n = start;

    for (size_t i = start; i < w->count;) {
        const char *word = w->items[i];
        const size_t length = strcspn(word, "=");
        if (length < 3 || strncmp(word, "--", 2) != 0 ||
            !lx_option_name_is(name, word + 2, length - 2)) {
            w->items[n++] = w->items[i++];
            continue;
        }
        i++;
        for (size_t k = 0; k < n_words && !word[length] && i < w->count &&
                           !lx_is_option_word(w->items[i]);
             k++)
            i++;
    }
    w->count = n;
}

/* In the command's own words: in its {holes}, else over the value that stands there, else behind. sd-scripts' parser
 * takes the last of several, and a list in words of its own. */
static void put_value(words *w, size_t from, const char *name, const char *value,
                      bool is_sd_scripts)
{
    bool is_filled = false;

    for (size_t i = from; i < w->count; i++) {
        const char *filled = fill_in(w->items[i], name, value, w->arena);
        if (filled) {
            w->items[i] = filled;
            is_filled = true;
        }
    }
    if (is_filled)
        return;
    if (is_sd_scripts) {
        const lx_flag *flag = find_flag(name);
        const bool is_list =
            flag && (flag->type == LX_TYPE_TEXTS || flag->type == LX_TYPE_NUMBERS);
        remove_flag(w, from, name, is_list ? w->count : 1);
        add_flag(w, name, value);
        return;
    }
    for (size_t i = from; i < w->count; i++) {
        const char *word = w->items[i];
        const size_t n = strcspn(word, "=");
        if (n < 3 || strncmp(word, "--", 2) != 0 ||
            !lx_option_name_is(name, word + 2, n - 2))
            continue;
        if (word[n])
            w->items[i] = lx_arena_printf(w->arena, "%.*s=%s", (int)n, word, value);
        else if (i + 1 < w->count && !lx_is_option_word(w->items[i + 1]))
            w->items[i + 1] = value;
        else
            continue;
        w->failed |= !w->items[i];
        return;
    }
    add(w, lx_arena_printf(w->arena, "--%s", name));
    add(w, value);
}

/* A switch of sd-scripts' is there or not. */
static void put_switch(words *w, size_t from, const char *name, const char *value)
{
    const bool is_on = strcasecmp(value, "true") == 0 || strcasecmp(value, "on") == 0 ||
                       strcasecmp(value, "yes") == 0 || strcmp(value, "1") == 0;

    remove_flag(w, from, name, 0);
    if (is_on)
        add(w, lx_arena_printf(w->arena, "--%s", name));
}

static void add_run_command(words *w, const lx_sweep *s, const lx_sweep_trial *t)
{
    const size_t start = command_start(&s->command), from = w->count;

    for (size_t i = start; i < s->command.count; i++) {
        const char *word = s->command.items[i], *filled;
        if ((filled = fill_in(word, "name", t->name, w->arena)))
            word = filled;
        add(w, word);
    }
    for (size_t a = 0; a < s->n_flags; a++) {
        const char *value = s->configs.values[t->config * s->n_flags + a];
        const lx_flag *flag = s->is_sd_scripts ? find_flag(s->flags[a]) : NULL;
        if (flag && flag->type == LX_TYPE_FLAG)
            put_switch(w, from, s->flags[a], value);
        else
            put_value(w, from, s->flags[a], value, s->is_sd_scripts);
    }
    if (t->seed)
        put_value(w, from, "seed", t->seed, s->is_sd_scripts);
    if (s->is_sd_scripts)
        put_value(w, from, "output_name", t->name, true);
}

/* ---- the words of a trial ---------------------------------------------------------------- */

/* What the store is to know of the run. */
static void add_identity(words *w, const lx_sweep *s, const lx_sweep_trial *t,
                         bool with_facts)
{
    add(w, "--group");
    add(w, s->name);
    add(w, "--name");
    add(w, t->name);
    if (!with_facts)
        return;
    add(w, lx_arena_printf(w->arena, "--fact=sweep=%s", s->id));
    add(w, lx_arena_printf(w->arena, "--fact=sweep.trial=%zu", t->number));
}

/* Ours come last, where they win. */
static void add_train_command(words *w, const lx_sweep *s, const lx_sweep_trial *t,
                              bool with_facts, int64_t stop, const char *state)
{
    for (size_t i = 0; i < s->command.count; i++)
        add(w, s->command.items[i]);
    for (size_t a = 0; a < s->n_flags; a++)
        add_flag(w, s->flags[a], s->configs.values[t->config * s->n_flags + a]);
    if (t->seed)
        add_flag(w, "seed", t->seed);
    add_flag(w, "output_name", t->name);
    add_identity(w, s, t, with_facts);
    if (stop)
        add(w, lx_arena_printf(w->arena, "--stop_after_steps=%lld", (long long)stop));
    if (state)
        add_flag(w, "resume", state);
}

int lx_sweep_words(char ***argv, const lx_sweep *s, const lx_sweep_trial *t,
                   bool with_facts, int64_t stop, const char *state, lx_error *err)
{
    words w = {.arena = s->cli->arena};
    size_t start;

    if (s->is_train) {
        add_train_command(&w, s, t, with_facts, stop, state);
    } else {
        start = command_start(&s->command);
        for (size_t i = 0; i + 1 < start; i++)
            add(&w, s->command.items[i]);
        add_identity(&w, s, t, with_facts);
        add(&w, "--");
        add_run_command(&w, s, t);
    }
    if (w.failed)
        return lx_oom(err);
    w.items[w.count] = NULL;
    *argv = (char **)w.items;
    return LX_OK;
}

const char *lx_sweep_label(const lx_sweep *s, const lx_sweep_trial *t)
{
    lx_str text = LX_STR_INIT;
    const char *copy;

    for (size_t a = 0; a < s->n_flags; a++)
        lx_str_printf(&text, "%s%s %s", a ? ", " : "", lx_run_flag_short(s->flags[a]),
                      s->configs.values[t->config * s->n_flags + a]);
    if (t->seed)
        lx_str_printf(&text, "%sseed %s", text.len ? ", " : "", t->seed);
    copy = text.failed ? NULL : lx_arena_strdup(s->cli->arena, lx_str_text(&text));
    lx_str_release(&text);
    return copy ? copy : "?";
}

/* ---- what a trial would do --------------------------------------------------------------- */

/* The trial's flags as lx train reads them; everything in `arena`. */
static int parse_trial(lx_train_config *config, const lx_sweep *s,
                       const lx_sweep_trial *t, lx_arena *arena, lx_error *err)
{
    lx_cli inner = *s->cli;
    lx_sweep scratch = *s;
    lx_train_flags facts;
    char **argv;
    int argc = 0, rc;

    inner.arena = arena;
    scratch.cli = &inner;
    if ((rc = lx_sweep_words(&argv, &scratch, t, false, 0, NULL, err)) < 0)
        return rc;
    while (argv[argc])
        argc++;
    inner.argc = argc - 1;
    inner.argv = argv + 1;
    if ((rc = lx_train_flags_parse(config, &facts, &inner, inner.argc, inner.argv, err)) <
        0)
        return rc;
    if (facts.is_done)
        return lx_fail(err, LX_EUSAGE, "--output_config trains nothing");
    if (inner.store_path != s->cli->store_path)
        return lx_fail(err, LX_EUSAGE,
                       "--store is the sweep's: write it in front of the --");
    if (facts.stop_after_steps)
        return lx_fail(err, LX_EUSAGE, "--stop_after_steps is the sweep's own");
    return lx_train_flags_require(config, err);
}

/* The same of another trainer; has_data false where its images are not known. */
static int observe_trial(lx_observed *out, const lx_sweep *s, const lx_sweep_trial *t,
                         lx_arena *arena, lx_error *err)
{
    lx_cli inner = *s->cli;
    lx_sweep scratch = *s;
    char **argv;
    int argc = 0, start = 0, rc;

    inner.arena = arena;
    scratch.cli = &inner;
    if ((rc = lx_sweep_words(&argv, &scratch, t, false, 0, NULL, err)) < 0)
        return rc;
    while (argv[argc])
        argc++;
    while (start < argc && strcmp(argv[start], "--") != 0)
        start++;
    return lx_observe(out, &inner, argc - start - 1, argv + start + 1, err);
}

static int count_steps(int64_t *steps, const lx_train_config *config, bool is_checked,
                       lx_error *err)
{
    lx_dataset *d = NULL;
    int rc = lx_dataset_scan(&d, &config->data, err);

    if (rc == LX_OK && is_checked)
        rc = lx_dataset_check(d, err);
    if (rc == LX_OK && (rc = lx_dataset_plan(d, err)) == LX_OK)
        *steps = lx_dataset_steps(d, config->max_train_steps, config->max_train_epochs,
                                  config->gradient_accumulation_steps)
                     .total_steps;
    lx_dataset_free(d);
    return rc;
}

int lx_sweep_steps(int64_t *steps, const lx_sweep *s, const lx_sweep_trial *t,
                   lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_train_config config;
    lx_observed observed;
    int rc = arena ? LX_OK : lx_oom(err);

    *steps = 0;
    if (rc == LX_OK && s->is_train &&
        (rc = parse_trial(&config, s, t, arena, err)) == LX_OK)
        rc = count_steps(steps, &config, true, err);
    if (rc == LX_OK && s->is_sd_scripts &&
        (rc = observe_trial(&observed, s, t, arena, err)) == LX_OK && observed.has_data &&
        count_steps(steps, &observed.config, false, NULL) == LX_ENOMEM)
        rc = lx_oom(err);
    lx_arena_free(arena);
    return rc;
}

int lx_sweep_state(const char **state, const lx_sweep *s, const lx_sweep_trial *t,
                   lx_error *err)
{
    lx_arena *arena;
    lx_train_config config;
    int rc;

    *state = NULL;
    if (!s->is_train || !t->run.id)
        return LX_OK;
    if (!(arena = lx_arena_new()))
        return lx_oom(err);
    if ((rc = parse_trial(&config, s, t, arena, err)) == LX_OK) {
        rc = lx_train_state_find(state, config.output_dir, t->name, t->run.id,
                                 t->run.spec, s->cli->arena, err);
        if (rc == LX_ENOTFOUND)
            rc = LX_OK; /* the folder was removed: from the start, then */
    }
    lx_arena_free(arena);
    return rc;
}

/* ---- making the plan --------------------------------------------------------------------- */

static int check_name(const char *name, lx_error *err)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    const size_t n = strlen(name);

    if (n < 1 || n > 64 || strspn(name, plain) != n || *name == '-' || *name == '.')
        return lx_fail(err, LX_EUSAGE,
                       "--name %s: it names files and jobs too: letters, digits, _ - and "
                       "., at most 64",
                       name);
    return LX_OK;
}

/* The command must come back from JSON as it was, and must not carry a secret there. */
static int check_command(const lx_words *command, lx_error *err)
{
    lx_str plain = LX_STR_INIT, clean = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < command->count && rc == LX_OK; i++) {
        const char *word = command->items[i];
        if (lx_utf8_check(word, strlen(word)) != strlen(word))
            rc =
                lx_fail(err, LX_EUSAGE, "'%s' is not UTF-8 and cannot be recorded", word);
        lx_str_puts(&plain, i ? " " : "");
        lx_escape_shell(&plain, word);
    }
    lx_scrub_command(&clean, (int)command->count, command->items);
    if (rc == LX_OK && (plain.failed || clean.failed))
        rc = lx_oom(err);
    else if (rc == LX_OK && strcmp(lx_str_text(&plain), lx_str_text(&clean)) != 0)
        rc = lx_fail(err, LX_EUSAGE,
                     "the command has a secret in it, and a sweep keeps its command: "
                     "give the secret by "
                     "the environment (recorded would be: %.600s)",
                     lx_str_text(&clean));
    lx_str_release(&plain);
    lx_str_release(&clean);
    return rc;
}

static int read_command(lx_sweep *s, const lx_sweep_request *r, lx_error *err)
{
    const char *first = r->command.count ? r->command.items[0] : "";
    lx_observed observed;
    size_t start;
    int rc;

    s->command = r->command;
    s->is_train = strcmp(first, "train") == 0;
    if (!s->is_train && strcmp(first, "run") != 0)
        return lx_fail(
            err, LX_EUSAGE,
            "behind -- stands what is to be swept: train FLAGS, or run -- COMMAND");
    if ((rc = check_command(&s->command, err)) < 0 || s->is_train)
        return rc;
    if ((start = command_start(&s->command)) >= s->command.count)
        return lx_fail(err, LX_EUSAGE,
                       "write run -- COMMAND: the -- tells its words from lx's");
    if ((rc = lx_observe(&observed, s->cli, (int)(s->command.count - start),
                         (char **)s->command.items + start, err)) < 0)
        return rc;
    s->is_sd_scripts = observed.is_sd_scripts;
    return LX_OK;
}

/* A flag's whole name. Of a trainer we do not know it is what was written. */
static int resolve_flag(const char **out, const lx_sweep *s, const char *name,
                        lx_error *err)
{
    static const char *const ours[] = {
        "output_name", "output_config", "name",     "group",
        "fact",        "resume",        "path_map", "stop_after_steps"};
    const char *nearest;

    *out = name;
    if (!s->is_train && !s->is_sd_scripts)
        return LX_OK;
    if (!(*out = lx_run_flag_name(name))) {
        nearest = lx_run_field_nearest(name);
        nearest = nearest ? lx_run_flag_name(nearest) : NULL;
        return lx_fail(err, LX_EUSAGE, "lx train has no flag --%s%s%s%s", name,
                       nearest ? "; did you mean --" : "", nearest ? nearest : "",
                       nearest ? "?" : "");
    }
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcmp(*out, ours[i]) == 0)
            return lx_fail(err, LX_EUSAGE,
                           "--%s cannot be swept: the sweep sets it itself", *out);
    return LX_OK;
}

/* --seed 1,2,3 is the list of seeds. */
static int take_seeds(lx_sweep *s, const lx_sweep_axis *axis, lx_error *err)
{
    if (!axis->n_values)
        return lx_fail(err, LX_EUSAGE,
                       "--seed: list them, or say how many with --seeds N");
    s->seeds = (const char **)axis->values;
    s->n_seeds = axis->n_values;
    return LX_OK;
}

static int read_axes(lx_sweep_axis **axes, lx_sweep *s, const lx_sweep_request *r,
                     lx_error *err)
{
    lx_arena *arena = s->cli->arena;
    int rc;

    *axes = lx_arena_calloc(arena, r->flags.count + 1, sizeof **axes);
    s->flags = lx_arena_calloc(arena, r->flags.count + 1, sizeof *s->flags);
    if (!*axes || !s->flags)
        return lx_oom(err);
    for (size_t i = 0; i < r->flags.count; i++) {
        lx_sweep_axis *axis = &(*axes)[s->n_flags];
        const char *flag;
        if ((rc = resolve_flag(&flag, s, r->flags.items[i], err)) < 0 ||
            (rc = lx_sweep_axis_parse(axis, flag, r->values.items[i], arena, err)) < 0)
            return rc;
        for (size_t k = 0; k < s->n_flags; k++)
            if (lx_option_name_is(s->flags[k], flag, strlen(flag)))
                return lx_fail(err, LX_EUSAGE, "--%s is given twice", flag);
        for (size_t k = 0; k < axis->n_values; k++)
            if (lx_utf8_check(axis->values[k], strlen(axis->values[k])) !=
                strlen(axis->values[k]))
                return lx_fail(err, LX_EUSAGE, "--%s: '%s' is not UTF-8", flag,
                               axis->values[k]);
        if (strcmp(flag, "seed") != 0)
            s->flags[s->n_flags++] = flag;
        else if ((rc = take_seeds(s, axis, err)) < 0)
            return rc;
    }
    return LX_OK;
}

static int make_configs(lx_sweep *s, const lx_sweep_request *r, const lx_sweep_axis *axes,
                        lx_error *err)
{
    int rc;

    if (!r->n_random)
        return lx_sweep_grid(&s->configs, axes, s->n_flags, s->cli->arena, err);
    rc = lx_sweep_random(&s->configs, axes, s->n_flags, (size_t)r->n_random,
                         (uint64_t)r->random_seed, s->cli->arena, err);
    if (rc == LX_OK && s->configs.count < (size_t)r->n_random && !s->cli->is_quiet)
        lx_message(
            s->cli, "note: %zu different configuration%s, not %lld: there are no more\n",
            s->configs.count, s->configs.count == 1 ? "" : "s", (long long)r->n_random);
    return rc;
}

int lx_sweep_make_trials(lx_sweep *s, lx_error *err)
{
    const size_t each = s->n_seeds ? s->n_seeds : 1;

    s->n_trials = s->configs.count * each;
    if (s->n_trials > LX_SWEEP_CONFIGS)
        return lx_fail(err, LX_ELIMIT, "%zu trainings are more than %d", s->n_trials,
                       LX_SWEEP_CONFIGS);
    if (!(s->trials = lx_arena_calloc(s->cli->arena, s->n_trials + 1, sizeof *s->trials)))
        return lx_oom(err);
    for (size_t i = 0; i < s->n_trials; i++) {
        s->trials[i] = (lx_sweep_trial){
            .number = i + 1,
            .config = i / each,
            .seed = s->n_seeds ? s->seeds[i % each] : NULL,
            .score = (double)NAN,
            .name = lx_arena_printf(s->cli->arena, "%s-%03zu", s->name, i + 1)};
        if (!s->trials[i].name)
            return lx_oom(err);
    }
    return LX_OK;
}

/*
 * The seeds: N from the command's own on, or from 1. Without --seeds all have the same one: with equal
 * draws differences are far more certain, and an interrupted training finds its state again.
 */
static int choose_seeds(lx_sweep *s, const lx_sweep_request *r, lx_error *err)
{
    const lx_sweep_trial first = {.number = 1, .name = s->name};
    lx_arena *arena = lx_arena_new();
    lx_train_config config = {0};
    lx_observed observed = {0};
    size_t n = r->n_seeds ? (size_t)r->n_seeds : 1;
    uint64_t seed = 1;
    int rc = arena ? LX_OK : lx_oom(err);

    if (rc == LX_OK && s->is_train)
        rc = parse_trial(&config, s, &first, arena, err);
    else if (rc == LX_OK)
        rc = observe_trial(&observed, s, &first, arena, err);
    if (rc == LX_OK && (config.seed_given || observed.has_seed))
        seed = config.seed_given ? config.seed : observed.seed;
    lx_arena_free(arena);
    if (rc < 0 ||
        (!r->n_seeds && (config.seed_given || observed.has_seed || !s->is_train)))
        return rc; /* the command says it, or nobody does */
    if (!(s->seeds = lx_arena_calloc(s->cli->arena, n, sizeof *s->seeds)))
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        if (!(s->seeds[i] =
                  lx_arena_printf(s->cli->arena, "%llu", (unsigned long long)(seed + i))))
            return lx_oom(err);
    s->n_seeds = n;
    if (!r->n_seeds && !s->cli->is_quiet)
        lx_message(
            s->cli,
            "note: no --seed is given: all have --seed 1, and so the same draws\n");
    return LX_OK;
}

/* Every trial's flags are read before the first one trains. */
static int check_trials(lx_sweep *s, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < s->n_trials && s->is_train && rc == LX_OK; i++) {
        lx_arena *arena = lx_arena_new();
        lx_train_config config;
        rc = arena ? parse_trial(&config, s, &s->trials[i], arena, err) : lx_oom(err);
        lx_arena_free(arena);
        if (rc < 0)
            lx_within(err, "trial %zu (%s)", i + 1, lx_sweep_label(s, &s->trials[i]));
    }
    return rc;
}

/* Rungs by the fewest steps that any configuration has, so that all can be judged at equal ones. */
static int plan_halving(lx_sweep *s, const lx_sweep_request *r, lx_error *err)
{
    const size_t each = s->n_seeds ? s->n_seeds : 1;
    int64_t least = INT64_MAX;
    int rc;

    if (!r->is_halving) {
        int64_t ignored; /* but not what is wrong with the images */
        return lx_sweep_steps(&ignored, s, &s->trials[0], err);
    }
    for (size_t i = 0; i < s->n_trials; i += each) {
        int64_t steps;
        if ((rc = lx_sweep_steps(&steps, s, &s->trials[i], err)) < 0)
            return rc;
        least = steps < least ? steps : least;
    }
    s->eta = (int)r->eta;
    s->n_rungs =
        lx_sweep_halving(s->rungs, s->configs.count, s->eta, least, r->min_steps);
    return LX_OK;
}

static int keep_asked(lx_sweep *s, const lx_sweep_request *r, lx_error *err)
{
    lx_str out = LX_STR_INIT;

    for (size_t i = 0; i < r->flags.count; i++) {
        lx_str_printf(&out, " --%s=", r->flags.items[i]);
        lx_escape_shell(&out, r->values.items[i]);
    }
    if (r->n_random)
        lx_str_printf(&out, " --random=%lld --random-seed=%lld", (long long)r->n_random,
                      (long long)r->random_seed);
    if (r->n_seeds)
        lx_str_printf(&out, " --seeds=%lld", (long long)r->n_seeds);
    if (r->is_halving)
        lx_str_printf(&out, " --halving --eta=%lld --min-steps=%lld", (long long)r->eta,
                      (long long)r->min_steps);
    if (r->metric) {
        lx_str_puts(&out, " --metric=");
        lx_escape_shell(&out, r->metric);
    }
    s->asked = out.failed ? NULL : lx_arena_strdup(s->cli->arena, lx_str_text(&out));
    lx_str_release(&out);
    return s->asked ? LX_OK : lx_oom(err);
}

static int check_request(const lx_sweep_request *r, lx_error *err)
{
    if (r->has_random_seed && !r->n_random)
        return lx_fail(err, LX_EUSAGE, "--random-seed belongs to --random N");
    if (r->eta < 2 || r->eta > 100)
        return lx_fail(err, LX_EUSAGE, "--eta %lld: from 2 to 100", (long long)r->eta);
    if (r->min_steps < 1)
        return lx_fail(err, LX_EUSAGE, "--min-steps %lld: at least 1",
                       (long long)r->min_steps);
    return LX_OK;
}

/* The curves that lx train records (on_step and on_validation in cmd/train.c). Of another program's any is possible. */
static int check_metric(const lx_sweep *s, lx_error *err)
{
    static const char *const keys[] = {
        "loss", "loss/average", "loss/validation", "loss/validation/train", "grad_norm",
        "lr/unet", "lr/textencoder", "max_norm/keys_scaled", "max_norm/average_key_norm",
        "max_norm/max_key_norm", "seconds", "images", "epoch"};

    if (!s->metric || !s->is_train)
        return LX_OK;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(s->metric, keys[i]) == 0)
            return LX_OK;
    return lx_fail(err, LX_EUSAGE,
                   "--metric %s: lx train records no such curve, but loss, loss/average, loss/validation (with "
                   "--validation_split), grad_norm ... (lx show RUN lists those of a run)",
                   s->metric);
}

int lx_sweep_plan(lx_sweep *s, const lx_sweep_request *r, lx_error *err)
{
    lx_sweep_axis *axes;
    int rc;

    s->name = r->name ? r->name : "sweep";
    s->metric = r->metric;
    s->is_failing_fast = r->is_failing_fast;
    if ((rc = check_request(r, err)) < 0 || (rc = keep_asked(s, r, err)) < 0 ||
        (rc = check_name(s->name, err)) < 0 || (rc = read_command(s, r, err)) < 0 ||
        (rc = check_metric(s, err)) < 0 ||
        (rc = read_axes(&axes, s, r, err)) < 0 ||
        (rc = make_configs(s, r, axes, err)) < 0)
        return rc;
    if (r->is_halving && !s->is_train)
        return lx_fail(err, LX_EUSAGE,
                       "--halving stops trainings and goes on with the best, which only "
                       "lx train can");
    if (s->n_seeds && r->n_seeds)
        return lx_fail(err, LX_EUSAGE, "--seed as a list or --seeds N, not both");
    if (!s->n_flags && s->n_seeds < 2 && r->n_seeds < 2)
        return lx_fail(err, LX_EUSAGE,
                       "nothing varies: give a flag with several values, or --seeds N");
    if (!s->n_seeds && (rc = choose_seeds(s, r, err)) < 0)
        return rc;
    if ((rc = lx_sweep_make_trials(s, err)) < 0 || (rc = check_trials(s, err)) < 0)
        return rc;
    return plan_halving(s, r, err);
}
