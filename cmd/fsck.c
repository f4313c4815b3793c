/* lx fsck - is everything that was recorded still sound? */
#include <string.h>

#include "cmd/cli.h"
#include "src/base/file.h"
#include "store/bundle.h"
#include "store/query.h"
#include "store/remote.h"
#include "store/repair.h"

struct fsck_args {
    bool rebuilds;
    const char *source;
};

static const lx_option options[] = {
    LX_FLAG(struct fsck_args, rebuilds, 0, "rebuild",
            "make what is derived from the record again, then check"),
    LX_TEXT(struct fsck_args, source, 0, "repair-from", "REMOTE|BUNDLE",
            "take what is damaged or missing again from a git repository or a bundle"),
    LX_OPTION_END,
};

static void tell(void *context, const char *line)
{
    lx_cli *cli = context;
    lx_print(cli, "%s\n", lx_safe(cli, line));
}

static int conclude(lx_cli *cli, lx_store *store, const lx_check_report *report,
                    lx_error *err)
{
    if (report->n_problems)
        return lx_fail(err, LX_ECHECK, "%zu problem%s in %s", report->n_problems,
                       report->n_problems == 1 ? "" : "s", lx_store_path(store));
    lx_print(cli, "%s is sound: %zu run%s, %zu point%s, %zu object%s, %zu bytes re-hashed\n",
             lx_safe(cli, lx_store_path(store)), report->n_runs, lx_plural(report->n_runs), report->n_points,
             lx_plural(report->n_points), report->n_objects, lx_plural(report->n_objects), report->n_bytes);
    return LX_OK;
}

/* ---- where things are taken from --------------------------------------------------- */

typedef struct source {
    lx_bundle *bundle;
    lx_remote *remote;
    const lx_remote_version *versions;
    cJSON *record;       /* of the version that was asked for last */
    lx_repair_source as; /* what lx_store_repair sees of it */
} source;

static int bundle_record(const cJSON **out, void *context, size_t i, lx_error *err)
{
    source *s = context;
    *out = cJSON_GetArrayItem(lx_bundle_runs(s->bundle), (int)i);
    return *out ? LX_OK : lx_fail(err, LX_ENOTFOUND, "no record %zu", i);
}

static int bundle_fetch(void *context, const void **data, size_t *n, const lx_hash *hash,
                        lx_error *err)
{
    return lx_bundle_fetch(((source *)context)->bundle, data, n, hash, err);
}

static int remote_record(const cJSON **out, void *context, size_t i, lx_error *err)
{
    source *s = context;
    int rc;

    cJSON_Delete(s->record);
    rc = lx_remote_record(&s->record, s->remote, &s->versions[i], err);
    *out = s->record;
    return rc;
}

static int remote_fetch(void *context, const void **data, size_t *n, const lx_hash *hash,
                        lx_error *err)
{
    return lx_remote_object(((source *)context)->remote, data, n, hash, err);
}

static void close_source(source *s)
{
    cJSON_Delete(s->record);
    lx_bundle_close(s->bundle);
    lx_remote_close(s->remote);
}

static int open_remote(source *s, const char *url, const char *scratch, lx_error *err)
{
    int rc;

    if ((rc = lx_remote_open(&s->remote, url, scratch, err)) < 0 ||
        (rc = lx_remote_list(&s->versions, &s->as.n, s->remote, err)) < 0)
        return rc;
    s->as.name = lx_remote_url(s->remote);
    s->as.record = remote_record;
    s->as.fetch = remote_fetch;
    return lx_remote_fetch(s->remote, s->versions, s->as.n, err);
}

static int open_source(source *s, const char *name, lx_store *store, lx_cli *cli,
                       lx_error *err)
{
    const char *scratch = lx_arena_printf(cli->arena, "%s/tmp", lx_store_path(store));
    int rc;

    s->as.context = s;
    if (!scratch)
        return lx_oom(err);
    if (!lx_file_exists(name) || lx_file_is_dir(name))
        return open_remote(s, name, scratch, err);
    if ((rc = lx_make_dirs(scratch, err)) < 0 ||
        (rc = lx_bundle_open(&s->bundle, name, scratch, err)) < 0)
        return rc;
    s->as.name = name;
    s->as.n = (size_t)cJSON_GetArraySize(lx_bundle_runs(s->bundle));
    s->as.record = bundle_record;
    s->as.fetch = bundle_fetch;
    return LX_OK;
}

/* ---- repairing --------------------------------------------------------------------- */

static void tell_nothing(void *context, const char *line)
{
    (void)context;
    (void)line;
}

/* That it is to be looked at with lx fsck is known to who does. */
static void drop_advice(lx_error *why)
{
    char *advice = strstr(why->text, "; run lx fsck");

    if (advice)
        *advice = '\0';
}

/* Opens the store and checks it. *store is NULL when its database cannot be read, and *found says so. */
static int look(lx_store **store, lx_check_report *found, lx_cli *cli,
                void (*say)(void *context, const char *line), lx_error *err)
{
    lx_error why = {0};
    int rc = lx_store_check_emptied(cli->store_path, &why);

    if (rc == LX_OK)
        rc = lx_store_open(store, cli->store_path, false, &why);
    if (rc == LX_OK) {
        if ((rc = lx_store_check(found, *store, say, cli, err)) < 0 ||
            !found->is_database_damaged)
            return rc;
        lx_store_close(*store);
        *store = NULL;
    } else if (rc == LX_EFORMAT) {
        *found = (lx_check_report){.n_problems = 1, .is_database_damaged = true};
        drop_advice(&why);
        say(cli, why.text);
    } else {
        return lx_fail_as(err, rc, &why);
    }
    return LX_OK;
}

/* Opens the store; one whose database cannot be read is salvaged first. A read that fails in passing is no
 * damage, so it is looked at twice before a database is replaced. */
static int open_damaged(lx_store **store, lx_check_report *found, lx_cli *cli,
                        lx_error *err)
{
    lx_salvage_report salvaged;
    int rc = look(store, found, cli, tell, err);

    if (rc < 0 || *store)
        return rc;
    if ((rc = look(store, found, cli, tell_nothing, err)) < 0)
        return rc;
    if (*store) {
        lx_print(cli,
                 "what could not be read a moment ago can be read now, and stays as it "
                 "is: the disk may be failing\n");
        cli->exit_status = lx_exit_status(LX_EIO);
        return LX_OK;
    }
    if ((rc = lx_store_salvage(&salvaged, cli->store_path, tell, cli, err)) < 0 ||
        (rc = lx_store_open(store, cli->store_path, false, err)) < 0)
        return rc;
    lx_print(cli, "a new database was made of the %zu row%s that can be read\n",
             salvaged.n_rows, lx_plural(salvaged.n_rows));
    return lx_store_rebuild(*store, err);
}

static int repair(lx_cli *cli, const char *from, lx_error *err)
{
    lx_check_report report;
    lx_repair_report done;
    lx_store *store = NULL;
    source s = {0};
    int rc = open_damaged(&store, &report, cli, err);

    if (rc < 0 || !report.n_problems) {
        if (rc == LX_OK && (rc = conclude(cli, store, &report, err)) == LX_OK && !cli->is_quiet)
            lx_message(cli, "note: nothing is damaged, so %s was not looked at\n", lx_safe(cli, from));
        goto done;
    }
    if ((rc = open_source(&s, from, store, cli, err)) < 0 ||
        (rc = lx_store_repair(&done, store, &s.as, tell, cli, err)) < 0 ||
        (rc = lx_store_rebuild(store, err)) < 0)
        goto done;
    lx_print(cli, "%zu object%s, %zu curve%s and %zu run%s repaired from %s\n",
             done.n_objects, done.n_objects == 1 ? "" : "s", done.n_curves,
             done.n_curves == 1 ? "" : "s", done.n_runs, done.n_runs == 1 ? "" : "s",
             lx_safe(cli, s.as.name));
    if ((rc = lx_store_check(&report, store, tell, cli, err)) == LX_OK)
        rc = conclude(cli, store, &report, err);
done:
    close_source(&s);
    lx_store_close(store);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct fsck_args *args = args_;
    lx_check_report report;
    lx_error why = {0};
    lx_store *store = NULL;
    int rc;

    if (args->source)
        return repair(cli, args->source, err);
    /* So is one whose making was killed: no damage, then. */
    if ((rc = lx_store_check_emptied(cli->store_path, &why)) == LX_EFORMAT)
        return lx_fail(err, LX_ENOTFOUND,
                       "no runs yet: %s; if there were runs, lx fsck --repair-from REMOTE or BUNDLE brings them back",
                       why.text);
    if (rc == LX_OK)
        rc = args->rebuilds ? lx_store_open_existing(&store, cli->store_path, &why)
                            : lx_store_open(&store, cli->store_path, true, &why);
    if (rc == LX_EFORMAT) {
        drop_advice(&why);
        return lx_fail(err, rc,
                       "%s; lx fsck --repair-from REMOTE or BUNDLE takes the runs again from where they were sent",
                       why.text);
    }
    if (rc < 0)
        return lx_fail_as(err, rc, &why);
    if (args->rebuilds)
        rc = lx_store_rebuild(store, err);
    if (rc == LX_OK && (rc = lx_store_check(&report, store, tell, cli, err)) == LX_OK)
        rc = conclude(cli, store, &report, err);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_fsck = {
    .name = "fsck",
    .summary = "check the store: every object, reference and curve",
    .usage = "",
    .help =
        "Checks the database, re-hashes every object, decodes every curve and "
        "compares what\n"
        "is derived with the record. Exit status 1 when something is damaged. "
        "Nothing is\n"
        "changed, but by --rebuild, which makes summaries of runs and curves, flags "
        "as rows\n"
        "and the views of `lx sql` again from the record, and by --repair-from.\n"
        "\n"
        "--repair-from takes what is damaged or missing again from where it was sent "
        "before: a\n"
        "git repository (lx push) or a bundle (lx export). Objects come back by their "
        "hash, points\n"
        "of curves only where the points that are left agree, and a database with "
        "unreadable\n"
        "pages is made anew of the rows that can be read. What is replaced is kept in "
        "`damaged`\n"
        "in the store's folder. Each repair is told, and so is each damage that is "
        "left; texts\n"
        "that were scrubbed when they were sent are among these (lx push --no-scrub "
        "keeps them\n"
        "as they are).\n"
        "\n"
        "Examples:\n"
        "  lx fsck\n"
        "  lx fsck --rebuild\n"
        "  lx fsck --repair-from git@example.org:team/runs.git\n",
    .options = options,
    .args_size = sizeof(struct fsck_args),
    .run = run,
};
