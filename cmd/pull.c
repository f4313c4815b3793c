/* lx pull - take runs from a git repository */
#include <stdlib.h>
#include <string.h>

#include "cmd/run_table.h"
#include "cmd/settings.h"
#include "cmd/sync.h"

struct pull_args {
    const char *where;
    bool dry_run;
    lx_words words;
};

static const lx_option options[] = {
    LX_TEXT(struct pull_args, where, 0, "where", "QUERY",
            "the runs that a query finds, as in lx runs 'loss < 0.06 and dim = 4'; the "
            "others "
            "are looked at and not kept"),
    LX_FLAG(struct pull_args, dry_run, 'n', "dry-run",
            "say what is there and new, take nothing"),
    LX_ARGS(struct pull_args, words, "REMOTE",
            "address or name of a git repository, else the setting remote; then ids, or "
            "beginnings of ids (all)"),
    LX_OPTION_END,
};

static bool is_wanted(const struct pull_args *args, const char *run)
{
    for (size_t i = 1; i < args->words.count; i++)
        if (lx_starts_with(run, args->words.items[i]))
            return true;
    return args->words.count <= 1;
}

/* All versions into a store of their own, to be asked. */
static int look_at(lx_store *seen, lx_sync *s, const lx_remote_version *all, size_t n,
                   lx_error *err)
{
    int rc = n ? lx_remote_fetch(s->remote, all, n, err) : LX_OK;

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        cJSON *record = NULL;
        lx_error why = {0};
        lx_arrival how;
        int64_t seq;
        if (lx_signals_pending())
            return lx_fail(err, LX_EINTERRUPTED, "interrupted; nothing was taken");
        if ((rc = lx_remote_record(&record, s->remote, &all[i], &why)) == LX_OK)
            rc = lx_transfer_apply(&how, &seq, seen, record, lx_remote_object, s->remote,
                                   &why);
        if (rc < 0)
            rc = lx_sync_pass_bad(s, &all[i], rc, &why, err);
        cJSON_Delete(record);
    }
    return rc;
}

static bool is_found(lx_run_table *found, const char *run)
{
    for (size_t i = 0; i < lx_run_table_count(found); i++)
        if (strcmp(lx_run_table_row(found, i)->id, run) == 0)
            return true;
    return false;
}

/* Leaves those whose runs the query finds. */
static int keep_found(lx_remote_version *versions, size_t *n, lx_sync *s,
                      const char *query, lx_error *err)
{
    const char *path =
        lx_arena_printf(s->cli->arena, "%s/seen", lx_remote_scratch(s->remote));
    lx_run_table *table = NULL;
    lx_store *seen = NULL;
    size_t kept = 0;
    int rc;

    if (!path)
        return lx_oom(err);
    if ((rc = lx_store_open(&seen, path, false, err)) == LX_OK &&
        (rc = look_at(seen, s, versions, *n, err)) == LX_OK &&
        (rc = lx_run_table_open(&table, seen, NULL, s->cli->arena, err)) == LX_OK &&
        (rc = lx_run_table_select(table, query, NULL, 0, err)) == LX_OK) {
        for (size_t i = 0; i < *n; i++)
            if (is_found(table, versions[i].run))
                versions[kept++] = versions[i];
        *n = kept;
    }
    lx_store_close(seen);
    return rc;
}

/* Every word must be of a run that is there, as it must for push. */
static int check_words(const struct pull_args *args, const lx_sync *s,
                       const lx_remote_version *all, size_t n, lx_error *err)
{
    for (size_t w = 1; w < args->words.count; w++) {
        size_t i = 0;
        while (i < n && !lx_starts_with(all[i].run, args->words.items[w]))
            i++;
        if (i == n)
            return lx_fail(err, LX_ENOTFOUND,
                           "%s: no run's id there begins with \"%s\"",
                           lx_remote_url(s->remote), args->words.items[w]);
    }
    return LX_OK;
}

/* Versions that were not merged before. */
static int choose(lx_remote_version **out, size_t *n, lx_sync *s,
                  const struct pull_args *args, lx_error *err)
{
    const lx_remote_version *all;
    size_t n_all;
    int rc = lx_remote_list(&all, &n_all, s->remote, err);

    *n = 0;
    if (rc < 0 || (rc = check_words(args, s, all, n_all, err)) < 0)
        return rc;
    if (!(*out = lx_arena_calloc(s->cli->arena, n_all, sizeof **out)))
        return lx_oom(err);
    for (size_t i = 0; i < n_all; i++)
        if (is_wanted(args, all[i].run) && !lx_sync_knows(s, &all[i]))
            (*out)[(*n)++] = all[i];
    return args->where && *n ? keep_found(*out, n, s, args->where, err) : LX_OK;
}

static int pull(lx_sync *s, const struct pull_args *args, size_t *n_found, lx_error *err)
{
    lx_remote_version *wanted = NULL;
    int rc = LX_OK;

    for (int try = 0;; try++) {
        size_t n;
        if ((rc = choose(&wanted, &n, s, args, err)) == LX_OK) {
            *n_found = n;
            if (!args->dry_run)
                rc = lx_sync_merge(s, wanted, n, err);
        }
        if (rc == LX_OK || !lx_sync_again(rc, try))
            return rc;
    }
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct pull_args *args = args_;
    lx_error later = {0};
    lx_sync s = {0};
    size_t n = 0;
    int rc, saved;

    const char *remote = args->words.count ? args->words.items[0]
                                           : lx_settings_text(cli->settings, "remote");

    if (!remote)
        return lx_fail(
            err, LX_EUSAGE,
            "from where? lx pull REMOTE, any git repository (lx config set remote REMOTE "
            "for all times)");
    if (args->where && args->words.count > 1)
        return lx_fail(err, LX_EUSAGE, "runs by id or by --where, not both");
    lx_signals_install();
    rc = args->dry_run ? lx_sync_look(&s, cli, remote, err) : lx_sync_open(&s, cli, remote, err);
    if (rc == LX_OK) {
        rc = pull(&s, args, &n, err);
        saved = s.synced ? lx_synced_save(s.synced, &later) : LX_OK; /* also of a pull that was cut */
        if (rc == LX_OK)
            rc = lx_fail_as(err, saved, &later);
    }
    if (rc == LX_OK && args->dry_run)
        lx_print(cli, "%zu version%s of runs to take from %s\n", n, n == 1 ? "" : "s",
                 lx_safe(cli, lx_remote_url(s.remote)));
    else if (rc == LX_OK)
        lx_print(cli, "%zu new run%s, %zu with something new, from %s\n", s.n_new,
                 s.n_new == 1 ? "" : "s", s.n_extended,
                 lx_safe(cli, lx_remote_url(s.remote)));
    if (rc == LX_OK && s.n_bad)
        rc = lx_fail(err, LX_EFORMAT, "%s: %zu version%s of runs cannot be read and %s left out",
                     lx_remote_url(s.remote), s.n_bad, s.n_bad == 1 ? "" : "s",
                     s.n_bad == 1 ? "was" : "were");
    lx_sync_close(&s);
    return rc;
}

const lx_command lx_cmd_pull = {
    .name = "pull",
    .summary = "take runs from a git repository",
    .usage = "REMOTE [ID...] [--where QUERY]",
    .help = "Takes what lx push has left in any git repository: runs that are not here, "
            "and what runs\n"
            "that are here lack (an end, notes, files, points). Nothing that is here "
            "changes. What\n"
            "cannot be read there is told and left out, and the exit status is 65.\n"
            "\n"
            "Examples:\n"
            "  lx pull /srv/runs.git\n"
            "  lx pull git@example.org:team/runs.git 3f2a\n"
            "  lx pull origin --where 'loss < 0.06 and dim = 4'\n",
    .options = options,
    .args_size = sizeof(struct pull_args),
    .run = run,
};
