/* lx sweep: the table of results, what they go with, and the best. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/run_field.h"
#include "cmd/sweep.h"
#include "src/base/json.h"
#include "src/report/table.h"
#include "src/stats/paired.h"

/* What is to be told, in the order in which it is shown. */
typedef struct results {
    lx_sweep *sweep;
    const char *metric; /* NULL: no run has a curve */
    double *shown; /* of each trial; its score too if it is done: others are not ranked */
    size_t *trials;  /* by score */
    size_t *configs; /* by score */
    double *config_scores;
    struct rank {
        const char *flag;
        lx_correlation rank;
    } * ranks; /* by how far from 0 */
    size_t n_ranks;
    size_t n_failed, n_missing;
} results;

static size_t each_of(const lx_sweep *s)
{
    return s->n_seeds ? s->n_seeds : 1;
}

static const char *value_of(const lx_sweep *s, size_t config, size_t flag)
{
    return s->configs.values[config * s->n_flags + flag];
}

/* ---- gathering --------------------------------------------------------------------------- */

/* Of halving only those of the last rung were trained to the end: others are not to be ranked with
 * them. Each is judged at the end of the last rung that it reached, and deeper rungs come first. */
static size_t rung_of(const lx_sweep *s, const lx_sweep_trial *t)
{
    size_t rung = 0;

    while (rung + 1 < s->n_rungs && lx_sweep_is_done(s, t, rung) &&
           t->run.last_step > s->rungs[rung].steps)
        rung++;
    return rung;
}

static int judge(results *r, lx_error *err)
{
    lx_sweep *s = r->sweep;
    size_t *which = lx_arena_calloc(s->cli->arena, s->n_trials + 1, sizeof *which);
    int rc = which ? LX_OK : lx_oom(err);

    if (rc < 0 || !s->n_rungs)
        return rc < 0 ? rc
                      : lx_sweep_judge(&r->metric, s, NULL, 0, (double)INFINITY, err);
    for (size_t rung = 0; rung < s->n_rungs && rc == LX_OK; rung++) {
        size_t n = 0;
        for (size_t i = 0; i < s->n_trials; i++)
            if (rung_of(s, &s->trials[i]) == rung)
                which[n++] = i;
        if (n)
            rc = lx_sweep_judge(&r->metric, s, which, n, (double)s->rungs[rung].steps,
                                err);
    }
    return rc;
}

/* Deeper rungs before the others, by score within one. Numbers of `rungs` are small. */
static int order(size_t **out, const lx_sweep *s, const double *scores,
                 const size_t *rungs, size_t n, lx_error *err)
{
    lx_arena *arena = s->cli->arena;
    size_t *sorted = lx_arena_calloc(arena, n + 1, sizeof *sorted), count = 0;

    if (!sorted || !(*out = lx_arena_calloc(arena, n + 1, sizeof **out)))
        return lx_oom(err);
    lx_sweep_order(sorted, scores, n);
    for (size_t rung = s->n_rungs ? s->n_rungs : 1; rung-- > 0;)
        for (size_t i = 0; i < n; i++)
            if (rungs[sorted[i]] == rung)
                (*out)[count++] = sorted[i];
    return LX_OK;
}

static int sort_results(results *r, lx_error *err)
{
    lx_sweep *s = r->sweep;
    lx_arena *arena = s->cli->arena;
    double *scores = lx_arena_calloc(arena, s->n_trials + 1, sizeof *scores);
    size_t *rungs = lx_arena_calloc(arena, s->n_trials + 1, sizeof *rungs),
           *least = lx_arena_calloc(arena, s->configs.count + 1, sizeof *least);
    int rc;

    r->config_scores = lx_arena_calloc(arena, s->configs.count + 1, sizeof *scores);
    r->shown = lx_arena_calloc(arena, s->n_trials + 1, sizeof *scores);
    if (!scores || !rungs || !least || !r->config_scores || !r->shown)
        return lx_oom(err);
    for (size_t i = 0; i < s->n_trials; i++) {
        r->shown[i] = s->trials[i].score;
        if (!lx_sweep_is_done(s, &s->trials[i], rung_of(s, &s->trials[i])))
            s->trials[i].score = (double)NAN;
    }
    for (size_t i = 0; i < s->configs.count; i++) {
        least[i] = s->n_rungs;
        r->config_scores[i] = lx_sweep_config_score(s, i);
    }
    for (size_t i = 0; i < s->n_trials; i++) {
        const lx_sweep_trial *t = &s->trials[i];
        scores[i] = t->score;
        rungs[i] = rung_of(s, t);
        least[t->config] = rungs[i] < least[t->config] ? rungs[i] : least[t->config];
        r->n_failed += t->run.id && strcmp(t->run.status, "failed") == 0;
        r->n_missing += !t->run.id;
    }
    if ((rc = order(&r->trials, s, scores, rungs, s->n_trials, err)) < 0)
        return rc;
    return order(&r->configs, s, r->config_scores, least, s->configs.count, err);
}

/* One flag against the score, over trials whose value is a number; as lx compare ranks flags. */
static int add_rank(results *r, size_t flag, double *x, double *y, lx_error *err)
{
    const lx_sweep *s = r->sweep;
    lx_correlation rank;
    size_t n = 0;
    int rc;

    for (size_t i = 0; i < s->n_trials; i++) {
        const lx_sweep_trial *t = &s->trials[i];
        if (!isfinite(t->score) ||
            lx_parse_number(&x[n], value_of(s, t->config, flag), NULL) < 0)
            continue;
        y[n++] = t->score;
    }
    if (n < 3)
        return LX_OK;
    if ((rc = lx_spearman(&rank, x, y, n, err)) == LX_OK && !isnan(rank.rho)) {
        r->ranks[r->n_ranks].flag = s->flags[flag];
        r->ranks[r->n_ranks++].rank = rank;
    }
    return rc;
}

static int by_rho(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    const double p = fabs(x->rank.rho), q = fabs(y->rank.rho);
    return (p < q) - (p > q);
}

static int gather(results *r, lx_error *err)
{
    lx_sweep *s = r->sweep;
    double *x = lx_arena_calloc(s->cli->arena, s->n_trials + 1, sizeof *x),
           *y = lx_arena_calloc(s->cli->arena, s->n_trials + 1, sizeof *y);
    int rc;

    if (!x || !y ||
        !(r->ranks = lx_arena_calloc(s->cli->arena, s->n_flags + 1, sizeof *r->ranks)))
        return lx_oom(err);
    if ((rc = lx_sweep_refresh(s, err)) < 0 || (rc = judge(r, err)) < 0 ||
        (rc = sort_results(r, err)) < 0)
        return rc;
    /* Scores of different rungs say nothing together. */
    for (size_t a = 0; a < s->n_flags && s->n_rungs < 2 && rc == LX_OK; a++)
        rc = add_rank(r, a, x, y, err);
    if (r->n_ranks)
        qsort(r->ranks, r->n_ranks, sizeof *r->ranks, by_rho);
    return rc;
}

/* ---- text -------------------------------------------------------------------------------- */

static int print_table(lx_cli *cli, const lx_table *table, lx_error *err)
{
    lx_str out = LX_STR_INIT;
    int rc =
        lx_table_text(&out, table, isatty(fileno(cli->out)) ? cli->columns : 0, 0, err);

    if (rc == LX_OK)
        lx_print(cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

static const char *score_text(lx_arena *arena, double score)
{
    return isfinite(score) ? lx_arena_printf(arena, "%.5g", score) : NULL;
}

static bool is_numeric(const lx_sweep *s, size_t flag)
{
    double ignored;

    for (size_t i = 0; i < s->configs.count; i++)
        if (lx_parse_number(&ignored, value_of(s, i, flag), NULL) < 0)
            return false;
    return true;
}

static void put_flag_columns(lx_table_column *columns, const lx_sweep *s)
{
    for (size_t a = 0; a < s->n_flags; a++)
        columns[a] = (lx_table_column){.title = lx_run_flag_short(s->flags[a]),
                                       .is_number = is_numeric(s, a),
                                       .may_shrink = true};
}

static int show_trials(const results *r, lx_error *err)
{
    const lx_sweep *s = r->sweep;
    lx_arena *arena = s->cli->arena;
    const size_t n_columns = 4 + s->n_flags + (s->n_seeds > 0) + 1;
    lx_table_column *columns = lx_arena_calloc(arena, n_columns, sizeof *columns);
    const char **cells =
        lx_arena_calloc(arena, n_columns * s->n_trials + 1, sizeof *cells);
    const lx_table table = {columns, n_columns, s->n_trials, cells};

    if (!columns || !cells)
        return lx_oom(err);
    columns[0] = (lx_table_column){.title = "trial"};
    columns[1] = (lx_table_column){.title = "run"};
    columns[2] = (lx_table_column){.title = "status"};
    columns[3] = (lx_table_column){.title = "steps", .is_number = true};
    put_flag_columns(columns + 4, s);
    if (s->n_seeds)
        columns[4 + s->n_flags] = (lx_table_column){.title = "seed", .is_number = true};
    columns[n_columns - 1] =
        (lx_table_column){.title = r->metric ? r->metric : "loss", .is_number = true};
    for (size_t i = 0; i < s->n_trials; i++) {
        const lx_sweep_trial *t = &s->trials[r->trials[i]];
        const char **row = cells + i * n_columns;
        row[0] = lx_arena_printf(arena, "%zu", t->number);
        row[1] = t->run.id ? lx_arena_printf(arena, "%.10s", t->run.id) : NULL;
        row[2] = t->run.id ? t->run.status : "missing";
        row[3] = t->run.id && t->run.last_step >= 0
                     ? lx_arena_printf(arena, "%lld", (long long)t->run.last_step)
                     : NULL;
        for (size_t a = 0; a < s->n_flags; a++)
            row[4 + a] = value_of(s, t->config, a);
        if (s->n_seeds)
            row[4 + s->n_flags] = t->seed;
        row[n_columns - 1] = score_text(arena, r->shown[r->trials[i]]);
    }
    return print_table(s->cli, &table, err);
}

/* Mean and standard deviation over the seeds. */
static int show_configs(const results *r, lx_error *err)
{
    const lx_sweep *s = r->sweep;
    lx_arena *arena = s->cli->arena;
    const size_t n_columns = s->n_flags + 2, each = each_of(s);
    lx_table_column *columns = lx_arena_calloc(arena, n_columns, sizeof *columns);
    const char **cells =
        lx_arena_calloc(arena, n_columns * s->configs.count + 1, sizeof *cells);
    double *scores = lx_arena_calloc(arena, each, sizeof *scores);
    const lx_table table = {columns, n_columns, s->configs.count, cells};

    if (!columns || !cells || !scores)
        return lx_oom(err);
    put_flag_columns(columns, s);
    columns[s->n_flags] = (lx_table_column){.title = "mean", .is_number = true};
    columns[s->n_flags + 1] = (lx_table_column){.title = "sd", .is_number = true};
    for (size_t i = 0; i < s->configs.count; i++) {
        const size_t config = r->configs[i];
        const char **row = cells + i * n_columns;
        for (size_t a = 0; a < s->n_flags; a++)
            row[a] = value_of(s, config, a);
        for (size_t k = 0; k < each; k++)
            scores[k] = s->trials[config * each + k].score;
        row[s->n_flags] = score_text(arena, r->config_scores[config]);
        if (isfinite(r->config_scores[config]))
            row[s->n_flags + 1] = lx_arena_printf(arena, "%.2g", lx_stdev(scores, each));
    }
    lx_print(s->cli, "\nof %zu seeds each\n", each);
    return print_table(s->cli, &table, err);
}

static void show_ranks(const results *r)
{
    lx_cli *cli = r->sweep->cli;

    if (r->n_ranks)
        lx_print(cli, "\nrank correlation with %s (95 %% interval)\n", r->metric);
    for (size_t i = 0; i < r->n_ranks; i++) {
        const lx_correlation *c = &r->ranks[i].rank;
        lx_print(cli, "  %s  %+.2f", lx_safe(cli, lx_run_flag_short(r->ranks[i].flag)),
                 c->rho);
        if (!isnan(c->low))
            lx_print(cli, " (%+.2f to %+.2f)", c->low, c->high);
        lx_print(cli, ", %zu runs\n", c->n);
    }
}

/* The run that is named: of the best configuration, the best. */
static const lx_sweep_trial *best_trial(const results *r)
{
    const lx_sweep *s = r->sweep;
    const size_t config = r->configs[0], each = each_of(s);
    const lx_sweep_trial *best = &s->trials[config * each];

    if (!isfinite(r->config_scores[config]))
        return NULL;
    for (size_t k = 1; k < each; k++)
        if (s->trials[config * each + k].score < best->score)
            best = &s->trials[config * each + k];
    return best;
}

/* What the numbers are: lx runs shows the last value of a curve, which is another one. */
static void show_measure(const results *r)
{
    const char *metric = r->metric ? lx_safe(r->sweep->cli, r->metric) : "loss",
               *rungs = r->sweep->n_rungs > 1 ? " at the end of the last rung that each reached"
                                              : "";

    if (r->metric && lx_sweep_is_mean(r->metric))
        lx_print(r->sweep->cli, "\n%s is the mean over the last quarter of the steps%s%s\n",
                 metric, *rungs ? "," : "", rungs);
    else if (*rungs)
        lx_print(r->sweep->cli, "\n%s is that%s\n", metric, rungs);
}

static void show_best(const results *r)
{
    const lx_sweep *s = r->sweep;
    const lx_sweep_trial *best = best_trial(r);

    show_measure(r);
    if (!best)
        return;
    lx_print(s->cli, "\nbest: %s (run %.10s), %s: %s %.5g\n", best->name, best->run.id,
             lx_safe(s->cli, lx_sweep_label(s, best)), r->metric, best->score);
    if (each_of(s) > 1)
        lx_print(s->cli, "      its configuration has a mean of %.5g over %zu seeds\n",
                 r->config_scores[best->config], each_of(s));
}

static int show_text(const results *r, lx_error *err)
{
    const lx_sweep *s = r->sweep;
    int rc;

    if ((rc = show_trials(r, err)) < 0 ||
        (each_of(s) > 1 && (rc = show_configs(r, err)) < 0))
        return rc;
    show_ranks(r);
    show_best(r);
    return LX_OK;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void add_number(cJSON *object, const char *key, double x)
{
    if (isfinite(x))
        cJSON_AddNumberToObject(object, key, x);
    else
        cJSON_AddNullToObject(object, key);
}

static cJSON *values_json(const lx_sweep *s, size_t config)
{
    cJSON *o = cJSON_CreateObject();

    for (size_t a = 0; a < s->n_flags; a++)
        cJSON_AddStringToObject(o, s->flags[a], value_of(s, config, a));
    return o;
}

static cJSON *trial_json(const results *r, const lx_sweep_trial *t)
{
    const lx_sweep *s = r->sweep;
    cJSON *o = cJSON_CreateObject();

    cJSON_AddNumberToObject(o, "trial", (double)t->number);
    cJSON_AddStringToObject(o, "name", t->name);
    cJSON_AddStringToObject(o, "run", t->run.id ? t->run.id : "");
    cJSON_AddStringToObject(o, "status", t->run.id ? t->run.status : "missing");
    add_number(o, "steps",
               t->run.id && t->run.last_step >= 0 ? (double)t->run.last_step
                                                  : (double)NAN);
    cJSON_AddItemToObject(o, "flags", values_json(s, t->config));
    if (t->seed)
        cJSON_AddStringToObject(o, "seed", t->seed);
    add_number(o, "score", r->shown[t - s->trials]);
    return o;
}

static void add_ranks(cJSON *root, const results *r)
{
    cJSON *list = cJSON_AddArrayToObject(root, "ranks");

    for (size_t i = 0; i < r->n_ranks; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "flag", r->ranks[i].flag);
        add_number(o, "rho", r->ranks[i].rank.rho);
        add_number(o, "low", r->ranks[i].rank.low);
        add_number(o, "high", r->ranks[i].rank.high);
        cJSON_AddNumberToObject(o, "n", (double)r->ranks[i].rank.n);
    }
}

static int show_json(const results *r, lx_error *err)
{
    const lx_sweep *s = r->sweep;
    const lx_sweep_trial *best = best_trial(r);
    cJSON *root = cJSON_CreateObject(), *list;
    lx_str out = LX_STR_INIT;
    int rc;

    cJSON_AddStringToObject(root, "name", s->name);
    cJSON_AddStringToObject(root, "id", s->id);
    cJSON_AddStringToObject(root, "metric", r->metric ? r->metric : "");
    list = cJSON_AddArrayToObject(root, "trials");
    for (size_t i = 0; i < s->n_trials; i++)
        cJSON_AddItemToArray(list, trial_json(r, &s->trials[r->trials[i]]));
    list = cJSON_AddArrayToObject(root, "configurations");
    for (size_t i = 0; i < s->configs.count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddItemToObject(o, "flags", values_json(s, r->configs[i]));
        add_number(o, "mean", r->config_scores[r->configs[i]]);
    }
    add_ranks(root, r);
    if (best)
        cJSON_AddItemToObject(root, "best", trial_json(r, best));
    if ((rc = lx_json_pretty(&out, root, err)) == LX_OK)
        lx_print(s->cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}

int lx_sweep_show(lx_sweep *s, bool as_json, lx_error *err)
{
    results r = {.sweep = s};
    int rc = gather(&r, err);

    if (rc == LX_OK)
        rc = as_json ? show_json(&r, err) : show_text(&r, err);
    if (rc == LX_OK && r.n_failed)
        rc = lx_fail(err, LX_ECHECK,
                     "%zu of %zu runs failed (lx runs 'group = %s and status = "
                     "failed' --columns id,name,message); lx sweep --resume %s tries "
                     "them again",
                     r.n_failed, s->n_trials, s->name, s->name);
    return rc == LX_OK ? lx_sweep_check_metric(s, err) : rc;
}
