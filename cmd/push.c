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

/* Each once. */
typedef struct name_set {
    const char **items;
    size_t n, capacity;
} name_set;

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
    size_t n_beside;    /* versions that hold what ours lacks, and stay */
    const char **unfit; /* why runs cannot leave */
    size_t n_unfit;
    name_set left, curves; /* files that were not scrubbed, curves that keep their names */
} pushing;

/* ---- which runs -------------------------------------------------------------------- */

static bool is_listed(const pushing *p, int64_t seq)
{
    for (size_t i = 0; i < p->n_runs; i++)
        if (p->runs[i].seq == seq)
            return true;
    return false;
}

/* Each once, also one that is named by its name and by its id: what is there of it is dropped once. */
static int find_named(pushing *p, lx_error *err)
{
    lx_arena *arena = p->sync->cli->arena;
    size_t n = p->args->words.count - 1;
    int rc = LX_OK;
    if (!(p->runs = lx_arena_calloc(arena, n, sizeof *p->runs)))
        return lx_oom(err);
    p->n_runs = 0;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        lx_run_row *run = &p->runs[p->n_runs];
        if ((rc = lx_run_find(run, p->sync->cli, p->sync->store,
                              p->args->words.items[i + 1], err)) == LX_OK &&
            !is_listed(p, run->seq))
            p->n_runs++;
    }
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

/* The versions of all runs that are not settled, at once: each fetch is a connection. */
static int fetch_theirs(pushing *p, lx_error *err)
{
    lx_sync *s = p->sync;
    lx_remote_version *wanted =
        lx_arena_calloc(s->cli->arena, p->n_there, sizeof *wanted);
    size_t n = 0;

    if (!wanted)
        return lx_oom(err);
    for (size_t i = 0; i < p->n_runs; i++) {
        const lx_remote_version *only = NULL;
        const char *mark;
        int rc;
        if (!versions_of(p, p->runs[i].id, &only))
            continue;
        if ((rc = lx_transfer_mark(&mark, s->store, &p->runs[i], !p->args->keeps_private,
                                   s->cli->arena, err)) < 0)
            return rc;
        if (is_settled(p, &p->runs[i], mark))
            continue;
        for (size_t k = 0; k < p->n_there && n < p->n_there; k++)
            if (strcmp(p->there[k].run, p->runs[i].id) == 0)
                wanted[n++] = p->there[k];
    }
    return lx_remote_fetch(s->remote, wanted, n, err);
}

/* ---- one run ----------------------------------------------------------------------- */

/* A version of the run that is there. */
typedef struct other {
    const lx_remote_version *version;
    cJSON *record;
    bool is_merged;  /* in this round */
    bool is_covered; /* ours has all that it says */
    bool covers;     /* it has all that ours says */
} other;

/* One run on its way. */
typedef struct parcel {
    pushing *p;
    const char *mark;
    other *others;
    size_t n_others;
    lx_arena *arena; /* of this run: its curves need not outlive it */
    lx_transfer *one;
} parcel;

static const cJSON *ours(const parcel *x)
{
    return lx_transfer_records(x->one)->child;
}

static int merge(parcel *x, other *o, lx_error *err)
{
    o->is_merged = true;
    cJSON_Delete(o->record);
    return lx_sync_take(&o->record, x->p->sync, o->version, err);
}

/* Those that came from elsewhere since are merged first. */
static int read_others(parcel *x, const char *run, lx_error *err)
{
    pushing *p = x->p;
    lx_error why = {0};
    const lx_remote_version *only = NULL;
    size_t n = versions_of(p, run, &only);
    int rc = LX_OK;

    if (n && !(x->others = lx_arena_calloc(x->arena, n, sizeof *x->others)))
        return lx_oom(err);
    for (size_t i = 0; i < p->n_there && x->n_others < n && rc == LX_OK; i++) {
        other *o = &x->others[x->n_others];
        if (strcmp(p->there[i].run, run) != 0)
            continue;
        o->version = &p->there[i];
        x->n_others++;
        rc = lx_synced_has(p->sync->synced, o->version)
                 ? lx_remote_record(&o->record, p->sync->remote, o->version, &why)
                 : merge(x, o, &why);
        if (rc < 0 && (rc = lx_sync_pass_bad(p->sync, o->version, rc, &why, err)) == LX_OK) {
            *o = (other){0}; /* nothing is known of it: it stays */
            x->n_others--;
            n--;
        }
    }
    return rc;
}

/* The run as it is here now. */
static int describe(parcel *x, int64_t seq, lx_error *err)
{
    pushing *p = x->p;
    lx_store *store = p->sync->store;
    lx_run_row now;
    int rc;

    lx_transfer_free(x->one);
    x->one = NULL;
    if ((rc = lx_query_run(&now, store, seq, p->sync->cli->arena, err)) < 0 ||
        (rc = lx_transfer_mark(&x->mark, store, &now, !p->args->keeps_private,
                               p->sync->cli->arena, err)) < 0 ||
        (rc = lx_transfer_new(&x->one, store, p->privacy, x->arena, err)) < 0)
        return rc;
    return lx_transfer_add(x->one, &now, err);
}

/* What was merged once may have been lost here (an old copy of the store, a salvage): what ours lacks of it is taken
 * again, as far as it can be. */
static int compare(parcel *x, int64_t seq, lx_error *err)
{
    bool has_merged = true;
    int rc = LX_OK;

    while (rc == LX_OK && has_merged && (rc = describe(x, seq, err)) == LX_OK) {
        has_merged = false;
        for (size_t i = 0; i < x->n_others && rc == LX_OK; i++) {
            other *o = &x->others[i];
            if ((rc = lx_transfer_covers(&o->is_covered, ours(x), o->record, err)) < 0 ||
                (rc = lx_transfer_covers(&o->covers, o->record, ours(x), err)) < 0 ||
                o->is_covered || o->is_merged)
                continue;
            rc = merge(x, o, err);
            has_merged = true;
        }
    }
    return rc;
}

/* Of versions that say the same the one with the least name stays, whoever asks: so two that push at once never drop
 * both. */
static bool is_before(const other *a, const other *b)
{
    return strcmp(a->version->commit, b->version->commit) < 0;
}

/* A version that stands for ours: `own` (ours was sent before), or one of another store that has all of ours. Of our
 * own former ones none does: what is taken out may be another now. NULL: ours must go. */
static int find_keeper(const other **out, parcel *x, const char *own, lx_error *err)
{
    const lx_synced *synced = x->p->sync->synced;
    const other *best = NULL;
    int rc = LX_OK;

    for (size_t i = 0; i < x->n_others && rc == LX_OK; i++) {
        const other *o = &x->others[i];
        bool is_more = true, is_less = false;
        if (!o->covers || (strcmp(o->version->commit, own) != 0 &&
                           lx_synced_is_own(synced, o->version)))
            continue;
        if (best &&
            ((rc = lx_transfer_covers(&is_more, o->record, best->record, err)) < 0 ||
             (rc = lx_transfer_covers(&is_less, best->record, o->record, err)) < 0))
            break;
        if (is_more && (!is_less || is_before(o, best)))
            best = o;
    }
    *out = best;
    return rc;
}

/* Nothing goes there that is not in what stays: `keeper`, or ours (NULL). */
static int drop_others(parcel *x, const other *keeper, const char *own, lx_error *err)
{
    pushing *p = x->p;
    int rc = LX_OK;

    for (size_t i = 0; i < x->n_others && rc == LX_OK; i++) {
        const other *o = &x->others[i];
        bool is_in = o->is_covered, is_equal = false;
        if (o == keeper)
            continue;
        if (keeper &&
            ((rc = lx_transfer_covers(&is_in, keeper->record, o->record, err)) < 0 ||
             (rc = lx_transfer_covers(&is_equal, o->record, keeper->record, err)) < 0))
            break;
        if (is_in && is_equal && !is_before(keeper, o))
            is_in = strcmp(keeper->version->commit, own) == 0 &&
                    lx_synced_is_own(p->sync->synced, o->version);
        else
            p->n_beside += !is_in;
        if (is_in)
            p->drop[p->n_drop++] = *o->version;
    }
    return rc;
}

static bool is_elsewhere(const parcel *x)
{
    for (size_t i = 0; i < x->n_others; i++)
        if (x->others[i].covers &&
            !lx_synced_is_own(x->p->sync->synced, x->others[i].version))
            return true;
    return false;
}

static int note_names(name_set *set, const char *const *names, size_t n, lx_arena *arena, lx_error *err)
{
    for (size_t i = 0, k; i < n; i++) {
        for (k = 0; k < set->n && strcmp(set->items[k], names[i]) != 0; k++)
            ;
        if (k < set->n)
            continue;
        if (lx_grow(&set->items, &set->capacity, set->n + 1, sizeof *set->items) < 0 ||
            !(set->items[set->n] = lx_arena_strdup(arena, names[i])))
            return lx_oom(err);
        set->n++;
    }
    return LX_OK;
}

/* Of a run that goes. */
static int note_all_left(const parcel *x, lx_error *err)
{
    pushing *p = x->p;
    size_t n_left, n_curves;
    const char *const *left = lx_transfer_left(x->one, &n_left);
    const char *const *curves = lx_transfer_curves(x->one, &n_curves);
    int rc = note_names(&p->left, left, n_left, p->sync->cli->arena, err);

    return rc < 0 ? rc : note_names(&p->curves, curves, n_curves, p->sync->cli->arena, err);
}

static int decide(parcel *x, lx_error *err)
{
    pushing *p = x->p;
    const other *keeper = NULL;
    lx_remote_version v = {"", ""};
    int rc = LX_OK;

    if (!is_elsewhere(x) && (rc = lx_remote_stage(&v, p->sync->remote, x->one, err)) < 0)
        return rc;
    if ((rc = find_keeper(&keeper, x, v.commit, err)) < 0 ||
        (rc = drop_others(x, keeper, v.commit, err)) < 0)
        return rc;
    if (keeper) {
        p->n_known++;
        return lx_synced_add(p->sync->synced, keeper->version, x->mark, err);
    }
    p->marks[p->n_add] = x->mark;
    p->add[p->n_add++] = v;
    return note_all_left(x, err);
}

/* A run that no store would take, as lx recorded it once or as it has grown, keeps only itself here; when it was asked
 * for by name that is an error. */
static int pass_unfit(const parcel *x, int rc, const lx_error *why, lx_error *err)
{
    pushing *p = x->p;
    const bool is_unfit =
        rc == LX_ELIMIT || (rc == LX_EFORMAT && x->one && lx_transfer_is_unfit(x->one));

    if (!is_unfit || p->args->words.count > 1)
        return lx_fail_as(err, rc, why);
    if (!(p->unfit[p->n_unfit] = lx_arena_strdup(p->sync->cli->arena, why->text)))
        return lx_oom(err);
    p->n_unfit++;
    return LX_OK;
}

static int prepare(pushing *p, const lx_run_row *run, lx_error *err)
{
    parcel x = {.p = p};
    lx_error why = {0};
    int rc = lx_transfer_mark(&x.mark, p->sync->store, run, !p->args->keeps_private,
                              p->sync->cli->arena, err);

    if (rc == LX_OK && is_settled(p, run, x.mark)) {
        p->n_known++;
        return LX_OK;
    }
    if (rc == LX_OK && !(x.arena = lx_arena_new()))
        rc = lx_oom(err);
    if (rc == LX_OK && (rc = read_others(&x, run->id, err)) == LX_OK) {
        if ((rc = compare(&x, run->seq, &why)) == LX_OK)
            rc = decide(&x, &why);
        if (rc < 0)
            rc = pass_unfit(&x, rc, &why, err);
    }
    for (size_t i = 0; i < x.n_others; i++)
        cJSON_Delete(x.others[i].record);
    lx_transfer_free(x.one);
    lx_arena_free(x.arena);
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

    p->n_add = p->n_drop = p->n_known = p->n_beside = p->n_unfit = p->left.n = p->curves.n = 0;
    if ((rc = lx_remote_list(&p->there, &p->n_there, s->remote, err)) < 0)
        return rc;
    p->add = lx_arena_calloc(arena, p->n_runs, sizeof *p->add);
    p->marks = lx_arena_calloc(arena, p->n_runs, sizeof *p->marks);
    p->drop = lx_arena_calloc(arena, p->n_there, sizeof *p->drop);
    p->unfit = lx_arena_calloc(arena, p->n_runs, sizeof *p->unfit);
    if (!p->add || !p->marks || !p->drop || !p->unfit)
        return lx_oom(err);
    rc = fetch_theirs(p, err);
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
    for (size_t i = 0; i < p->n_unfit; i++)
        lx_message(cli, "stays here: %s\n", lx_safe(cli, p->unfit[i]));
    if (p->n_beside)
        lx_message(cli, "%zu version%s there hold%s what is not here, and stay%s\n",
                   p->n_beside, p->n_beside == 1 ? "" : "s", p->n_beside == 1 ? "s" : "",
                   p->n_beside == 1 ? "s" : "");
    for (size_t i = 0; rc == LX_OK && i < n && p->n_add && !cli->is_quiet; i++)
        lx_message(cli, "taken out: %s\n", told[i]);
    for (size_t i = 0; i < p->left.n && !cli->is_quiet; i++)
        lx_message(cli,
                   "note: %s is no text and %s left as it is, though something private "
                   "seems to be in it\n",
                   lx_safe(cli, p->left.items[i]), p->args->dry_run ? "would be" : "was");
    for (size_t i = 0; i < p->curves.n && !cli->is_quiet; i++)
        lx_message(cli,
                   "note: the curve %s keeps its name, which it is known by, though something private "
                   "seems to be in it\n",
                   lx_safe(cli, p->curves.items[i]));
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
    lx_free(p.left.items);
    lx_free(p.curves.items);
    return rc;
}

const lx_command lx_cmd_push = {
    .name = "push",
    .summary = "leave runs in a git repository for others",
    .usage = "REMOTE [RUN...]",
    .help = "Leaves runs in any git repository, under refs/lx/ and beside its branches: "
            "an empty bare\n"
            "one, or that of the project (on this machine itself only bare ones). lx pull "
            "takes them from\n"
            "there. Several may push and pull at once: each run's versions are merged, and "
            "nothing is lost\n"
            "or overwritten; a version that holds what could not be taken from it stays. "
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
