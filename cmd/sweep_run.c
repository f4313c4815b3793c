/* lx sweep: what is missing is trained, each trial by a process of its own. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/sweep.h"

/* ---- a process --------------------------------------------------------------------------- */

/*
 * In the child. A group of its own: Ctrl-C reaches it once, through us. Should we be killed, it is
 * asked to stop, and leaves a state. Its results are no results of ours.
 */
static void become_trial(char **argv, pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(130);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execv("/proc/self/exe", argv);
    _exit(127);
}

/* Until it has ended; a signal that reached us is passed on, once. */
static int wait_for(int *status, pid_t child, lx_error *err)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    bool is_told = false;
    pid_t ended;

    while ((ended = waitpid(child, status, WNOHANG)) == 0 ||
           (ended < 0 && errno == EINTR)) {
        if (lx_signals_pending() && !is_told) {
            kill(child, SIGTERM);
            is_told = true;
        }
        nanosleep(&pause, NULL); /* a signal ends it at once */
    }
    return ended < 0 ? lx_fail_errno(err, errno, "waiting for a trial") : LX_OK;
}

/* Exit status as a shell tells it. */
static int run_lx(int *exit_status, const lx_sweep *s, char *const *words, lx_error *err)
{
    const pid_t parent = getpid();
    char **argv;
    int argc = 0, n = 0, status, rc;
    pid_t child;

    while (words[argc])
        argc++;
    if (!(argv = lx_arena_calloc(s->cli->arena, (size_t)argc + 6, sizeof *argv)))
        return lx_oom(err);
    argv[n++] = "lx";
    argv[n++] = "--store";
    argv[n++] = (char *)s->store_path;
    if (s->cli->is_quiet)
        argv[n++] = "--quiet";
    for (int i = 0; i < argc; i++)
        argv[n++] = words[i];
    fflush(s->cli->out);
    fflush(s->cli->err);
    if ((child = fork()) < 0)
        return lx_fail_errno(err, errno, "starting a trial");
    if (child == 0)
        become_trial(argv, parent);
    if ((rc = wait_for(&status, child, err)) < 0)
        return rc;
    *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return LX_OK;
}

/* ---- a trial ----------------------------------------------------------------------------- */

static bool is_running(const lx_sweep_trial *t)
{
    return t->run.id && strcmp(t->run.status, "running") == 0;
}

static void announce(const lx_sweep *s, const lx_sweep_trial *t, size_t rung,
                     const char *state)
{
    if (s->cli->is_quiet)
        return;
    lx_message(s->cli, "[%zu/%zu] %s: %s", t->number, s->n_trials, t->name,
               lx_safe(s->cli, lx_sweep_label(s, t)));
    if (s->n_rungs > 1 && rung + 1 < s->n_rungs)
        lx_message(s->cli, ", to step %lld", (long long)s->rungs[rung].steps);
    if (state)
        lx_message(s->cli, ", going on from step %lld", (long long)t->run.last_step);
    lx_message(s->cli, "\n");
}

/* From its state where it has one. Afterwards the store is open again and the trial is up to date. */
static int run_trial(lx_sweep *s, lx_sweep_trial *t, size_t rung, lx_error *err)
{
    const int64_t stop = s->n_rungs && rung + 1 < s->n_rungs ? s->rungs[rung].steps : 0;
    const char *state;
    char **words;
    int exit_status = 0, rc;

    if ((rc = lx_sweep_state(&state, s, t, err)) < 0 ||
        (rc = lx_sweep_words(&words, s, t, true, stop, state, err)) < 0)
        return rc;
    announce(s, t, rung, state);
    lx_sweep_close_store(s); /* a store does not survive fork */
    rc = run_lx(&exit_status, s, words, err);
    if (rc < 0 || (rc = lx_sweep_open_store(s, LX_SWEEP_CHANGES, err)) < 0 ||
        (rc = lx_sweep_refresh(s, err)) < 0)
        return rc;
    if (lx_signals_pending())
        return lx_fail(err, LX_EINTERRUPTED, "stopped; lx sweep --resume %s goes on",
                       s->name);
    if (!exit_status && lx_sweep_is_done(s, t, rung))
        return LX_OK;
    lx_message(s->cli, "lx sweep: %s %s (exit status %d)\n", t->name,
               exit_status ? "failed" : "is not recorded as finished", exit_status);
    return s->is_failing_fast ? lx_fail(err, LX_ECHECK,
                                        "%s failed, and --fail-fast stops there; "
                                        "lx sweep --resume %s goes on",
                                        t->name, s->name)
                              : LX_OK;
}

static int run_if_missing(lx_sweep *s, lx_sweep_trial *t, size_t rung, lx_error *err)
{
    if (lx_sweep_is_done(s, t, rung))
        return LX_OK;
    if (is_running(t)) {
        lx_message(s->cli,
                   "lx sweep: %s is being trained by another process (run %.10s)\n",
                   t->name, t->run.id);
        return LX_OK;
    }
    return run_trial(s, t, rung, err);
}

/* ---- all of them ------------------------------------------------------------------------- */

static int run_config(lx_sweep *s, size_t config, size_t rung, lx_error *err)
{
    const size_t each = s->n_seeds ? s->n_seeds : 1;
    int rc = LX_OK;

    for (size_t k = 0; k < each && rc == LX_OK; k++)
        rc = run_if_missing(s, &s->trials[config * each + k], rung, err);
    return rc;
}

static int run_rung(lx_sweep *s, size_t rung, lx_error *err)
{
    size_t *configs, n;
    int rc = lx_sweep_rung_configs(&configs, &n, s, rung, err);

    if (rc == LX_OK && s->n_rungs > 1 && !s->cli->is_quiet)
        lx_message(s->cli, "rung %zu of %zu: %zu configuration%s, to step %lld\n",
                   rung + 1, s->n_rungs, n, n == 1 ? "" : "s",
                   (long long)s->rungs[rung].steps);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = run_config(s, configs[i], rung, err);
    return rc;
}

/* Is nothing left to do? Then the record gets its end. */
static int end_if_complete(lx_sweep *s, lx_error *err)
{
    const size_t n_rungs = s->n_rungs ? s->n_rungs : 1,
                 each = s->n_seeds ? s->n_seeds : 1;

    for (size_t rung = 0; rung < n_rungs; rung++) {
        size_t *configs, n;
        int rc = lx_sweep_rung_configs(&configs, &n, s, rung, err);
        if (rc < 0)
            return rc;
        if (n < (s->n_rungs ? s->rungs[rung].n : s->configs.count))
            return LX_OK;
        for (size_t i = 0; i < n * each; i++)
            if (!lx_sweep_is_done(s, &s->trials[configs[i / each] * each + i % each],
                                  rung))
                return LX_OK;
    }
    return lx_sweep_end(s, err);
}

int lx_sweep_run(lx_sweep *s, lx_error *err)
{
    const size_t n_rungs = s->n_rungs ? s->n_rungs : 1;
    int rc = lx_sweep_refresh(s, err);

    for (size_t rung = 0; rung < n_rungs && rc == LX_OK; rung++)
        rc = run_rung(s, rung, err);
    return rc < 0 ? rc : end_if_complete(s, err);
}

int lx_sweep_run_slot(lx_sweep *s, size_t rung, size_t slot, lx_error *err)
{
    const size_t each = s->n_seeds ? s->n_seeds : 1;
    size_t *configs, n;
    int rc;

    if (rung >= (s->n_rungs ? s->n_rungs : 1))
        return lx_fail(err, LX_EUSAGE, "--rung %zu: there are %zu, from 0", rung,
                       s->n_rungs ? s->n_rungs : 1);
    if ((rc = lx_sweep_refresh(s, err)) < 0 ||
        (rc = lx_sweep_rung_configs(&configs, &n, s, rung, err)) < 0)
        return rc;
    if (slot >= n * each) /* fewer than planned came so far */
        return slot < (s->n_rungs ? s->rungs[rung].n : 0) * each
                   ? LX_OK
                   : lx_fail(err, LX_EUSAGE, "--slot %zu: there are %zu, from 0", slot,
                             n * each);
    if ((rc = run_if_missing(s, &s->trials[configs[slot / each] * each + slot % each],
                             rung, err)) < 0)
        return rc;
    return end_if_complete(s, err);
}

/* ---- nothing is run ---------------------------------------------------------------------- */

static int show_command(lx_sweep *s, const lx_sweep_trial *t, lx_error *err)
{
    lx_str line = LX_STR_INIT;
    int64_t steps;
    char **words;
    int rc;

    if ((rc = lx_sweep_steps(&steps, s, t, err)) < 0 ||
        (rc = lx_sweep_words(&words, s, t, false, 0, NULL, err)) < 0)
        return rc;
    lx_str_puts(&line, "lx");
    for (int i = 0; words[i]; i++) {
        lx_str_putc(&line, ' ');
        lx_escape_shell(&line, words[i]);
    }
    if ((rc = lx_str_check(&line, err)) == LX_OK) {
        lx_print(s->cli, "# %s", t->name);
        if (steps)
            lx_print(s->cli, ": %lld step%s", (long long)steps, lx_plural((size_t)steps));
        if (t->run.id)
            lx_print(s->cli, ", %s (run %.10s)", t->run.status, t->run.id);
        lx_print(s->cli, "\n%s\n", lx_safe(s->cli, lx_str_text(&line)));
    }
    lx_str_release(&line);
    return rc;
}

int lx_sweep_dry_run(lx_sweep *s, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < s->n_trials && rc == LX_OK; i++)
        rc = show_command(s, &s->trials[i], err);
    for (size_t i = 0; i < s->n_rungs && rc == LX_OK; i++)
        lx_print(s->cli, "# rung %zu: %s%zu configuration%s, to step %lld\n", i + 1,
                 i ? "the best " : "", s->rungs[i].n, s->rungs[i].n == 1 ? "" : "s",
                 (long long)s->rungs[i].steps);
    return rc;
}
