/* lx sweep: which configuration is better, and which go on. */
#include <math.h>
#include <string.h>

#include "cmd/sweep.h"
#include "src/compare/loss.h"

/* ---- by which curve ---------------------------------------------------------------------- */

/* In this order; is_noisy: of single steps, so that a mean tells more than the last one. */
static const struct {
    const char *key;
    bool is_noisy;
} curves[] = {
    {"loss/validation", false},
    {"loss/validation/epoch_average", false},
    {"loss/validation/step_average", false},
    {"loss", true},
    {"loss/current", true},
    {"loss/average", false},
};

bool lx_sweep_is_mean(const char *key)
{
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (strcmp(curves[i].key, key) == 0)
            return curves[i].is_noisy;
    return false;
}

static bool has_curve(const lx_series_row *rows, size_t n, int64_t run, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].run == run && strcmp(rows[i].key, key) == 0)
            return true;
    return false;
}

/* Which of a trial's runs tells how it stood at a step. One that goes on copies the curves of the run before it one
 * after the other, and may be at it: until it has finished, the run before stands for what it reached itself. */
static const lx_run_row *run_at(const lx_sweep_trial *t, double step)
{
    return t->before.id && strcmp(t->run.status, "finished") != 0 &&
                   (double)t->before.last_step >= step
               ? &t->before
               : &t->run;
}

/* Do all of the trials that have any points have this curve? */
static int is_everywhere(bool *out, lx_sweep *s, const size_t *which, size_t n,
                         const char *key, double until, lx_error *err)
{
    lx_series_row *rows;
    size_t n_rows, n_with = 0, n_all = 0;
    int rc = lx_query_series(&rows, &n_rows, s->store, 0, key, s->cli->arena, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        const lx_run_row *run = run_at(&s->trials[which ? which[i] : i], until);
        if (!run->id || run->n_points < 1)
            continue;
        n_all++;
        n_with += has_curve(rows, n_rows, run->seq, key);
    }
    *out = n_with && n_with == n_all;
    return rc;
}

/* ---- the score --------------------------------------------------------------------------- */

/* Mean of the last quarter, or the last value, of what was recorded up to `until`; what was measured
 * before the first step is no result. *has_any: there is such a point. A loss that became NaN has no
 * score, whatever it was before. */
static int score_of(double *score, bool *has_any, const lx_curve *c, const char *key,
                    double until, lx_arena *arena, lx_error *err)
{
    lx_loss_curve ordered;
    size_t end = 0;
    int rc;

    *score = (double)NAN;
    for (size_t i = 0; i < c->n; i++)
        if (c->steps[i] > 0 && (double)c->steps[i] <= until)
            end = i + 1;
    *has_any = end > 0;
    if (!end || !isfinite(c->values[end - 1]))
        return LX_OK;
    *score = c->values[end - 1];
    if (!lx_sweep_is_mean(key))
        return LX_OK;
    if ((rc = lx_loss_order(&ordered, c->steps, c->values, end, arena, err)) == LX_OK)
        *score = lx_loss_tail(&ordered, until, 0.25);
    return rc;
}

/* Scores by one curve; *n_without: of those that have any points, how many it does not judge. */
static int judge_by(size_t *n_without, lx_sweep *s, const size_t *which, size_t n,
                    const char *key, double until, lx_error *err)
{
    int rc = LX_OK;

    *n_without = 0;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        lx_sweep_trial *t = &s->trials[which ? which[i] : i];
        const lx_run_row *run = run_at(t, until);
        bool has_any = false;
        lx_curve curve;
        t->score = (double)NAN;
        if (!run->id)
            continue;
        if ((rc = lx_query_curve(&curve, s->store, run->seq, key, 0, s->cli->arena,
                                 err)) == LX_OK)
            rc = score_of(&t->score, &has_any, &curve, key, until, s->cli->arena, err);
        *n_without += !has_any && run->n_points > 0;
    }
    return rc;
}

int lx_sweep_judge(const char **metric, lx_sweep *s, const size_t *which, size_t n,
                   double until, lx_error *err)
{
    size_t n_without;
    bool is_there;
    int rc;

    n = which ? n : s->n_trials;
    *metric = s->metric;
    if (s->metric)
        return judge_by(&n_without, s, which, n, s->metric, until, err);
    for (size_t i = 0; i < sizeof curves / sizeof *curves;
         i++) { /* the first that judges all */
        if ((rc = is_everywhere(&is_there, s, which, n, curves[i].key, until, err)) < 0)
            return rc;
        if (!is_there)
            continue;
        *metric = curves[i].key;
        if ((rc = judge_by(&n_without, s, which, n, *metric, until, err)) < 0 ||
            !n_without)
            return rc;
    }
    return LX_OK;
}

int lx_sweep_check_metric(lx_sweep *s, lx_error *err)
{
    lx_series_row *rows;
    size_t n_rows, n_all = 0;
    int rc;

    if (!s->metric)
        return LX_OK;
    if ((rc = lx_query_series(&rows, &n_rows, s->store, 0, s->metric, s->cli->arena, err)) < 0)
        return rc;
    for (size_t i = 0; i < s->n_trials; i++) {
        const lx_sweep_trial *t = &s->trials[i];
        const lx_run_row *run = run_at(t, (double)INFINITY);
        if (!run->id || run->n_points < 1)
            continue;
        n_all++;
        if (has_curve(rows, n_rows, run->seq, s->metric))
            return LX_OK;
    }
    return !n_all ? LX_OK
                  : lx_fail(err, LX_ENOTFOUND,
                            "--metric %s: no run of the sweep has such a curve (lx sweep --results %s --metric loss "
                            "judges by another)",
                            s->metric, s->name);
}

double lx_sweep_config_score(const lx_sweep *s, size_t config)
{
    const size_t each = s->n_seeds ? s->n_seeds : 1;
    double sum = 0;

    for (size_t i = 0; i < each; i++) {
        const double score = s->trials[config * each + i].score;
        if (!isfinite(score))
            return (double)INFINITY;
        sum += score;
    }
    return sum / (double)each;
}

/* ---- rungs ------------------------------------------------------------------------------- */

bool lx_sweep_is_done(const lx_sweep *s, const lx_sweep_trial *t, size_t rung)
{
    if (!t->run.id)
        return false;
    if (strcmp(t->run.status, "finished") == 0)
        return true;
    if (!s->n_rungs || rung + 1 >= s->n_rungs)
        return false;
    if (t->before.id && t->before.last_step >= s->rungs[rung].steps)
        return true;
    return strcmp(t->run.status, "running") == 0
               ? t->run.last_step > s->rungs[rung].steps
               : t->run.last_step >= s->rungs[rung].steps;
}

/* The configurations that go on from a rung, best first. Only what was done counts. */
static int select_best(size_t *configs, size_t *n, lx_sweep *s, size_t rung,
                       lx_error *err)
{
    const size_t each = s->n_seeds ? s->n_seeds : 1, n_before = *n;
    size_t *which = lx_arena_calloc(s->cli->arena, n_before * each + 1, sizeof *which),
           *order = lx_arena_calloc(s->cli->arena, n_before + 1, sizeof *order),
           *best = lx_arena_calloc(s->cli->arena, n_before + 1, sizeof *best);
    double *scores = lx_arena_calloc(s->cli->arena, n_before + 1, sizeof *scores);
    const char *metric;
    int rc;

    if (!which || !order || !best || !scores)
        return lx_oom(err);
    for (size_t i = 0; i < n_before; i++)
        for (size_t k = 0; k < each; k++)
            which[i * each + k] = configs[i] * each + k;
    if ((rc = lx_sweep_judge(&metric, s, which, n_before * each,
                             (double)s->rungs[rung].steps, err)) < 0)
        return rc;
    for (size_t i = 0; i < n_before * each; i++)
        if (!lx_sweep_is_done(s, &s->trials[which[i]], rung))
            s->trials[which[i]].score = (double)NAN;
    for (size_t i = 0; i < n_before; i++)
        scores[i] = lx_sweep_config_score(s, configs[i]);
    lx_sweep_order(order, scores, n_before);
    *n = s->rungs[rung + 1].n < n_before ? s->rungs[rung + 1].n : n_before;
    for (size_t i = 0; i < *n; i++)
        best[i] = configs[order[i]];
    while (*n > 0 && !isfinite(scores[order[*n - 1]]))
        --*n; /* what failed goes nowhere */
    memcpy(configs, best, *n * sizeof *best);
    return LX_OK;
}

int lx_sweep_rung_configs(size_t **out, size_t *n, lx_sweep *s, size_t rung,
                          lx_error *err)
{
    size_t *configs =
        lx_arena_calloc(s->cli->arena, s->configs.count + 1, sizeof *configs);
    int rc = LX_OK;

    if (!configs)
        return lx_oom(err);
    *n = s->configs.count;
    for (size_t i = 0; i < *n; i++)
        configs[i] = i;
    for (size_t i = 0; i < rung && rc == LX_OK; i++)
        rc = select_best(configs, n, s, i, err);
    *out = configs;
    return rc;
}
