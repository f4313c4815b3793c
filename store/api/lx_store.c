/* include/lx_store.h over store/store.h: names and structs that stay as they are. */
#include "include/lx_store.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/scrub.h"
#include "store/store.h"
#include "store/transfer.h"

#define LXS_PUBLIC __attribute__((visibility("default")))

struct lxs_run {
    lx_store *store;
    lx_run *run;
};

static int tell(int rc, const lx_error *from, lxs_error *err)
{
    size_t n;

    if (!err)
        return rc;
    n = rc < 0 ? strnlen(from->text, sizeof err->text - 1) : 0;
    err->code = rc;
    memcpy(err->text, from->text, n);
    err->text[n] = '\0';
    return rc;
}

/* A word that people will read and ask for: what every command line of lx asks of one. */
static int check_word(const char *what, const char *word, lx_error *err)
{
    if (!word || !*word)
        return lx_fail(err, LX_EUSAGE, "%s: none is given", what);
    if (lx_utf8_check(word, strlen(word)) != strlen(word))
        return lx_fail(err, LX_EUSAGE, "%s: not UTF-8", what);
    for (const char *p = word; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return lx_fail(err, LX_EUSAGE, "%s: has a control character", what);
    return LX_OK;
}

static int check_key(const char *key, lx_error *err)
{
    int rc = check_word("key", key, err);
    return rc == LX_OK && strlen(key) > LX_TRANSFER_CURVE
               ? lx_fail(err, LX_EUSAGE, "key: more than %d bytes", LX_TRANSFER_CURVE)
               : rc;
}

static int check_status(const char *status, lx_error *err)
{
    if (status && (!strcmp(status, "finished") || !strcmp(status, "interrupted") ||
                   !strcmp(status, "failed")))
        return LX_OK;
    return lx_fail(
        err, LX_EUSAGE,
        "status: finished, interrupted or failed is wanted; the run is left as "
        "interrupted");
}

static int check_flags(const char *flags, lx_error *err)
{
    cJSON *root = NULL;
    int rc = flags ? lx_json_parse(&root, flags, strlen(flags), err) : LX_OK;

    if (rc == LX_OK && root && !cJSON_IsObject(root))
        rc = lx_fail(err, LX_EUSAGE, "flags must be a JSON object");
    cJSON_Delete(root);
    return rc;
}

static int begin(lxs_run *r, const char *store, const lxs_start *start, lx_error *err)
{
    lx_str line = LX_STR_INIT;
    lx_run_start in = {.name = start->name,
                       .kind = start->kind ? start->kind : "run",
                       .flags_given = start->flags,
                       .flags = start->flags,
                       .work_dir = start->work_dir};
    int rc;

    if (!lx_transfer_is_word(in.kind))
        return lx_fail(err, LX_EUSAGE,
                       "kind: it is 1 to 32 lower-case letters, digits, _ and -");
    if ((rc = check_flags(start->flags, err)) < 0 ||
        (rc = lx_store_open(&r->store, store, false, err)) < 0)
        return rc;
    if (start->command_line) {
        lx_scrub_text(&line, start->command_line, strlen(start->command_line));
        in.command_line = lx_str_text(&line);
        rc = lx_str_check(&line, err);
    }
    if (rc == LX_OK)
        rc = lx_run_begin(&r->run, r->store, &in, err);
    lx_str_release(&line);
    return rc;
}

LXS_PUBLIC int lxs_begin(lxs_run **run, const char *store, const lxs_start *start,
                         lxs_error *err)
{
    lx_error inner = {0};
    lxs_run *r = lx_calloc(1, sizeof *r);
    int rc = r ? begin(r, store, start, &inner) : lx_oom(&inner);

    *run = NULL;
    if (rc == LX_OK) {
        *run = r;
    } else if (r) {
        lx_store_close(r->store);
        lx_free(r);
    }
    return tell(rc, &inner, err);
}

LXS_PUBLIC const char *lxs_id(const lxs_run *run)
{
    return lx_run_id(run->run);
}

LXS_PUBLIC int lxs_log(lxs_run *run, const char *key, int64_t step, double value,
                       lxs_error *err)
{
    lx_error inner = {0};
    int rc = check_key(key, &inner);
    if (rc == LX_OK)
        rc = lx_run_log(run->run, key, step, value, &inner);
    return tell(rc, &inner, err);
}

LXS_PUBLIC int lxs_log_many(lxs_run *run, const char *key, const int64_t *steps,
                            const double *values, uint64_t n, lxs_error *err)
{
    lx_error inner = {0};
    int rc = check_key(key, &inner);
    if (rc == LX_OK)
        rc = lx_run_log_many(run->run, key, steps, values, n, &inner);
    return tell(rc, &inner, err);
}

LXS_PUBLIC int lxs_console(lxs_run *run, const char *bytes, uint64_t n, lxs_error *err)
{
    lx_error inner = {0};
    return tell(lx_run_console(run->run, bytes, n, &inner), &inner, err);
}

LXS_PUBLIC int lxs_artifact(lxs_run *run, const char *role, const char *path,
                            int64_t step, lxs_error *err)
{
    lx_error inner = {0};
    int rc = check_word("role", role, &inner);
    if (rc == LX_OK && !path)
        rc = lx_fail(&inner, LX_EUSAGE, "path: none is given");
    if (rc == LX_OK)
        rc = lx_run_artifact_file(run->run, role, lx_path_base(path), path, step, &inner);
    return tell(rc, &inner, err);
}

LXS_PUBLIC int lxs_end(lxs_run *run, const char *status, const char *message,
                       lxs_error *err)
{
    lx_error inner = {0};
    int rc;

    if (!run)
        return tell(LX_OK, &inner, err);
    if ((rc = check_status(status, &inner)) == LX_OK) {
        rc = lx_run_end(run->run, status, message, &inner);
    } else {
        lx_run_flush(run->run, NULL);
        lx_run_abandon(run->run);
    }
    lx_store_close(run->store);
    lx_free(run);
    return tell(rc, &inner, err);
}
