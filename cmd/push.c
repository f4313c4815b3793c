/* lx push - leave runs in a git repository */
#include <stdlib.h>
#include <string.h>

#include "cmd/run_find.h"
#include "cmd/run_table.h"
#include "cmd/settings.h"
#include "cmd/sync.h"
#include "src/base/alloc.h"

struct push_args {
    const char *where;
    bool keeps_private, dry_run;
    lx_words words;
};

static const lx_option options[] = {
    LX_TEXT(struct push_args, where, 0, "where", "QUERY",
            "the runs that a query finds, as in lx runs 'loss < 0.06 and dim = 4'"),
    LX_FLAG(struct push_args, keeps_private, 0, "no-scrub",
            "keep home folders, user and host names, addresses and tokens"),
    LX_FLAG(struct push_args, dry_run, 'n', "dry-run",
            "say what would leave, send nothing"),
    LX_ARGS(struct push_args, words, "REMOTE",
            "address or name of a git repository, else the setting remote; then runs by "
            "id or name (all)"),
    LX_OPTION_END,
};

/* One push; its lists live in the command's arena. */
typedef struct pushing {
    lx_sync *sync;
    const struct push_args *args;
    lx_privacy *privacy;
    lx_run_row *runs;
    size_t n_runs;
    const lx_remote_version *there;
    size_t n_there;
    lx_remote_version *add, *drop;
    size_t n_add, n_drop;
    const char **marks; /* of what is in add */
    size_t n_known;
} pushing;

/* ---- which runs -------------------------------------------------------------------- */

static int find_named(pushing *p, lx_error *err)
{
    lx_arena *arena = p->sync->cli->arena;
    size_t n = p->args->words.count - 1;
    int rc = LX_OK;
    if (!(p->runs = lx_arena_calloc(arena, n, sizeof *p->runs)))
        return lx_oom(err);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = lx_run_find(&p->runs[i], p->sync->cli, p->sync->store,
                         p->args->words.items[i + 1], err);
    p->n_runs = n;
    return rc;
}

static int find_runs(pushing *p, lx_error *err)
{
    lx_arena *arena = p->sync->cli->arena;
    const lx_run_filter all = {0};
    lx_run_table *table = NULL;
    int rc;

    if (p->args->words.count > 1)
        return p->args->where
                   ? lx_fail(err, LX_EUSAGE, "runs by name or by --where, not both")
                   : find_named(p, err);
    if ((rc = lx_run_table_open(&table, p->sync->store, &all, arena, err)) < 0 ||
        (rc = lx_run_table_select(table, p->args->where, NULL, 0, err)) < 0)
        return rc;
    p->n_runs = lx_run_table_count(table);
    if (!(p->runs = lx_arena_calloc(arena, p->n_runs, sizeof *p->runs)))
        return lx_oom(err);
    for (size_t i = 0; i < p->n_runs; i++)
        p->runs[i] = *lx_run_table_row(table, i);
    return LX_OK;
}

/* ---- what is there ----------------------------------------------------------------- */

static size_t versions_of(const pushing *p, const char *run,
                          const lx_remote_version **only)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_there; i++)
        if (strcmp(p->there[i].run, run) == 0) {
            *only = &p->there[i];
            n++;
        }
    return n;
}

/* Nothing of the run has changed since it was pushed, and that version stands alone
 * there. */
static bool is_settled(pushing *p, const lx_run_row *run, const char *mark)
{
    const char *commit = lx_synced_pushed(p->sync->synced, run->id, mark);
    const lx_remote_version *only = NULL;
    return commit && versions_of(p, run->id, &only) == 1 &&
           strcmp(only->commit, commit) == 0;
}

/* Versions of a run that came from elsewhere are merged first, so that ours replaces them
 * all. *theirs: the record of a single one, yours; else NULL. */
static int merge_theirs(pushing *p, const lx_run_row *run, cJSON **theirs, lx_error *err)
{
    const lx_remote_version *only;
    lx_remote_version *fresh;
    cJSON **records;
    size_t n = versions_of(p, run->id, &only);
    int rc;

    *theirs = NULL;
    if (!n) /* room for all that is there, for every run of ours, would be their product */
        return LX_OK;
    if (!(fresh = lx_arena_calloc(p->sync->cli->arena, n, sizeof *fresh)))
        return lx_oom(err);
    n = 0;
    for (size_t i = 0; i < p->n_there; i++)
        if (strcmp(p->there[i].run, run->id) == 0 &&
            !lx_synced_has(p->sync->synced, &p->there[i]))
            fresh[n++] = p->there[i];
    if (!n)
        return LX_OK;
    if (!(records = lx_calloc(n, sizeof *records)))
        return lx_oom(err);
    rc = lx_sync_merge(records, p->sync, fresh, n, err);
    if (rc == LX_OK && versions_of(p, run->id, &only) == 1) {
        *theirs = records[0];
        records[0] = NULL;
    }
    for (size_t i = 0; i < n; i++)
        cJSON_Delete(records[i]);
    lx_free(records);
    return rc;
}

/* ---- one run ----------------------------------------------------------------------- */

static int stage(pushing *p, const lx_run_row *run, const char *mark, const cJSON *theirs,
                 lx_error *err)
{
    lx_sync *s = p->sync;
    const lx_remote_version *only = NULL;
    lx_arena *arena = lx_arena_new(); /* of this run: its curves need not outlive it */
    lx_transfer *one = NULL;
    lx_remote_version v;
    bool is_covered = false;
    int rc = arena ? LX_OK : lx_oom(err);

    if (rc < 0 || (rc = lx_transfer_new(&one, s->store, p->privacy, arena, err)) < 0 ||
        (rc = lx_transfer_add(one, run, err)) < 0)
        goto done;
    if (theirs &&
        (rc = lx_transfer_covers(&is_covered, theirs, lx_transfer_records(one)->child,
                                 err)) < 0)
        goto done;
    if (is_covered) {
        versions_of(p, run->id, &only);
        p->n_known++;
        rc = lx_synced_add(s->synced, only, mark, err);
        goto done;
    }
    if ((rc = lx_remote_stage(&v, s->remote, one, err)) < 0)
        goto done;
    if (versions_of(p, run->id, &only) == 1 && strcmp(only->commit, v.commit) == 0) {
        p->n_known++;
        rc = lx_synced_add(s->synced, &v, mark, err);
        goto done;
    }
    p->marks[p->n_add] = mark;
    p->add[p->n_add++] = v;
    for (size_t i = 0; i < p->n_there; i++)
        if (strcmp(p->there[i].run, run->id) == 0 &&
            strcmp(p->there[i].commit, v.commit) != 0)
            p->drop[p->n_drop++] = p->there[i];
done:
    lx_transfer_free(one);
    lx_arena_free(arena);
    return rc;
}

static int prepare(pushing *p, const lx_run_row *run, lx_error *err)
{
    lx_sync *s = p->sync;
    lx_run_row now;
    const char *mark;
    cJSON *theirs = NULL;
    bool is_scrubbed = !p->args->keeps_private;
    int rc = lx_transfer_mark(&mark, s->store, run, is_scrubbed, s->cli->arena, err);

    if (rc == LX_OK && is_settled(p, run, mark)) {
        p->n_known++;
        return LX_OK;
    }
    if (rc == LX_OK && (rc = merge_theirs(p, run, &theirs, err)) == LX_OK &&
        (rc = lx_query_run(&now, s->store, run->seq, s->cli->arena, err)) == LX_OK &&
        (rc = lx_transfer_mark(&mark, s->store, &now, is_scrubbed, s->cli->arena, err)) ==
            LX_OK)
        rc = stage(p, &now, mark, theirs, err);
    cJSON_Delete(theirs);
    return rc;
}

/* ---- all --------------------------------------------------------------------------- */

static int learn_all(pushing *p, lx_error *err)
{
    int rc = LX_OK;
    for (size_t i = 0; i < p->n_runs && rc == LX_OK; i++) {
        lx_arena *arena = lx_arena_new();
        lx_transfer *t = NULL;
        if (!arena)
            return lx_oom(err);
        if ((rc = lx_transfer_new(&t, p->sync->store, p->privacy, arena, err)) == LX_OK)
            rc = lx_transfer_learn(t, &p->runs[i], err);
        lx_transfer_free(t);
        lx_arena_free(arena);
    }
    return rc;
}

/* One round: list, merge, stage, send. */
static int push_once(pushing *p, lx_error *err)
{
    lx_sync *s = p->sync;
    lx_arena *arena = s->cli->arena;
    int rc;

    p->n_add = p->n_drop = p->n_known = 0;
    if ((rc = lx_remote_list(&p->there, &p->n_there, s->remote, err)) < 0)
        return rc;
    p->add = lx_arena_calloc(arena, p->n_runs, sizeof *p->add);
    p->marks = lx_arena_calloc(arena, p->n_runs, sizeof *p->marks);
    p->drop = lx_arena_calloc(arena, p->n_there, sizeof *p->drop);
    if (!p->add || !p->marks || !p->drop)
        return lx_oom(err);
    for (size_t i = 0; i < p->n_runs && rc == LX_OK; i++) {
        if (lx_signals_pending())
            return lx_fail(err, LX_EINTERRUPTED, "interrupted; nothing was sent");
        rc = prepare(p, &p->runs[i], err);
    }
    if (rc < 0 || p->args->dry_run)
        return rc;
    rc = lx_remote_push(s->remote, p->add, p->n_add, p->drop, p->n_drop, err);
    for (size_t i = 0; i < p->n_add && rc == LX_OK; i++)
        rc = lx_synced_add(s->synced, &p->add[i], p->marks[i], err);
    return rc;
}

static int push(pushing *p, lx_error *err)
{
    int rc = find_runs(p, err);
    if (rc == LX_OK)
        rc = learn_all(p, err);
    for (int try = 0; rc == LX_OK; try++) {
        if ((rc = push_once(p, err)) == LX_OK || !lx_sync_again(rc, try))
            break;
        rc = LX_OK;
    }
    return rc;
}

static int tell(pushing *p, lx_error *err)
{
    lx_cli *cli = p->sync->cli;
    const char *const *told;
    size_t n;
    int rc = lx_privacy_told(&told, &n, p->privacy, cli->arena, err);

    lx_print(cli, "%zu run%s %s to %s, %zu there already\n", p->n_add,
             p->n_add == 1 ? "" : "s", p->args->dry_run ? "would go" : "went",
             lx_safe(cli, lx_remote_url(p->sync->remote)), p->n_known);
    for (size_t i = 0; rc == LX_OK && i < n && p->n_add && !cli->is_quiet; i++)
        lx_message(cli, "taken out: %s\n", told[i]);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    lx_sync s = {0};
    pushing p = {.sync = &s, .args = args_};
    lx_error later = {0};
    int rc, saved;

    const char *remote = p.args->words.count ? p.args->words.items[0]
                                             : lx_settings_text(cli->settings, "remote");

    if (!remote)
        return lx_fail(
            err, LX_EUSAGE,
            "where to? lx push REMOTE, any git repository (lx config set remote REMOTE "
            "for all times)");
    lx_signals_install();
    if ((rc = lx_privacy_new(&p.privacy, p.args->keeps_private, err)) == LX_OK)
        lx_settings_learn(cli->settings, p.privacy);
    if (rc == LX_OK && (rc = lx_sync_open(&s, cli, remote, err)) == LX_OK) {
        rc = push(&p, err);
        saved = lx_synced_save(s.synced, &later);
        if (rc == LX_OK)
            rc = lx_fail_as(err, saved, &later);
    }
    if (rc == LX_OK)
        rc = tell(&p, err);
    lx_sync_close(&s);
    lx_privacy_free(p.privacy);
    return rc;
}

const lx_command lx_cmd_push = {
    .name = "push",
    .summary = "leave runs in a git repository for others",
    .usage = "REMOTE [RUN...]",
    .help = "Leaves runs in any git repository, under refs/lx/ and beside its branches: "
            "an empty bare\n"
            "one, or that of the project. lx pull takes them from there. Several may "
            "push and pull at\n"
            "once: each run's versions are merged, and nothing is lost or overwritten. "
            "What is there\n"
            "already is not sent again; a push that was cut goes on from there.\n"
            "\n"
            "Home folders, user and host names, e-mail addresses and tokens are taken "
            "out unless\n"
            "--no-scrub is given.\n"
            "\n"
            "Examples:\n"
            "  git init --bare /srv/runs.git\n"
            "  lx push /srv/runs.git\n"
            "  lx push origin hifumi\n"
            "  lx push git@example.org:team/runs.git --where 'loss < 0.06'\n",
    .options = options,
    .args_size = sizeof(struct push_args),
    .run = run,
};
