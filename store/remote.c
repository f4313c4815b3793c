#include "store/remote.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "store/credentials.h"
#include "store/internal.h"
#include "src/base/scrub.h"

static const char PREFIX[] = "refs/lx/runs/";
enum { MOST_RECORD = 256 << 20, BATCH = 50 };
static const uint64_t MOST_OBJECT = 1ULL << 33;  /* as a member of a bundle */
static const uint64_t MOST_FETCHED = 1ULL << 36; /* bytes of one batch, as a bundle */

struct lx_remote {
    char *scratch; /* the bare repository's folder */
    char *shown;   /* the address without a user */
    git_repository *repo;
    git_remote *remote;
    lx_remote_version *versions;
    size_t n_versions, capacity;
    git_tree *objects; /* of the version that was asked for last */
    git_blob *blob;    /* of the object that was */
    store__credentials credentials;
    char rejection[256]; /* of a ref that the other side did not take */
};

/* ---- errors, addresses ------------------------------------------------------------- */

/* Of memory libgit2 has a kind of error, and none where it was zlib that got none. */
static bool was_memory(void)
{
    const git_error *last = store__git2.error_last();

    return last && (last->klass == GIT_ERROR_NOMEMORY ||
                    (last->klass == GIT_ERROR_ZLIB && strstr(last->message, "to init")));
}

/* libgit2's own words may repeat the address with its password. */
static int fail_git(const lx_remote *r, int code, const char *doing, lx_error *err)
{
    const git_error *last = store__git2.error_last();
    lx_str clean = LX_STR_INIT;

    if (store__git2_is_of_another(code))
        return lx_fail(err, LX_EPERM,
                       "%s: %s: it belongs to another user (git config --global --add "
                       "safe.directory FOLDER takes it all the same)",
                       r->shown, doing);
    if (was_memory())
        return lx_oom(err);
    int rc = code == GIT_ENOTFOUND                                ? LX_ENOTFOUND
             : code == GIT_EAUTH || code == GIT_ECERTIFICATE      ? LX_EPERM
             : code == GIT_ENONFASTFORWARD || code == GIT_ELOCKED ? LX_EBUSY
                                                                  : LX_EIO;
    if (last && last->message)
        lx_scrub_text(&clean, last->message, strlen(last->message));
    lx_fail(err, rc, "%s: %s: %s%s", r->shown, doing,
            clean.len ? lx_str_text(&clean) : "git failed",
            code == GIT_ECERTIFICATE && last && last->klass == GIT_ERROR_SSH
                ? "; connect once with ssh, which shows the key and asks whether it is "
                  "known (~/.ssh/known_hosts)"
                : "");
    lx_str_release(&clean);
    return rc;
}

/* A remote's name in the repository around the working folder stands for its address. LX_EPERM: that repository is
 * another user's, and there is nothing else of this name. */
static int address_of(char **out, const char *url, lx_error *err)
{
    git_repository *repo = NULL;
    git_remote *remote = NULL;
    int code = 0, rc = LX_OK;

    *out = NULL;
    if (!strpbrk(url, "/:\\") &&
        (code = store__git2.repository_open_ext(&repo, ".", 0, NULL)) == 0 &&
        store__git2.remote_lookup(&remote, repo, url) == 0 &&
        store__git2.remote_url(remote))
        url = store__git2.remote_url(remote);
    if (store__git2_is_of_another(code) && !lx_file_exists(url))
        rc = lx_fail(err, LX_EPERM,
                     "%s: the repository around this folder belongs to another user (git "
                     "config --global --add safe.directory FOLDER)",
                     url);
    else if (!(*out = lx_strdup(url)))
        rc = lx_oom(err);
    store__git2.remote_free(remote);
    store__git2.repository_free(repo);
    return rc;
}

static int on_credentials(git_credential **out, const char *url, const char *user,
                          unsigned allowed, void *context)
{
    return store__credentials_get(out, url, user, allowed,
                                  &((lx_remote *)context)->credentials);
}

static int on_rejected(const char *ref, const char *status, void *context)
{
    lx_remote *r = context;
    (void)ref;
    if (status)
        snprintf(r->rejection, sizeof r->rejection, "%s", status);
    return 0;
}

/* ---- life -------------------------------------------------------------------------- */

static void remove_tree(const char *path)
{
    lx_dir dir = {0};
    lx_str inner = LX_STR_INIT;
    if (lx_dir_list(&dir, path, NULL) == LX_OK)
        for (size_t i = 0; i < dir.count; i++) {
            lx_str_clear(&inner);
            lx_str_printf(&inner, "%s/%s", path, dir.names[i]);
            if (inner.failed)
                break;
            if (unlink(inner.data) < 0)
                remove_tree(inner.data);
        }
    lx_dir_free(&dir);
    lx_str_release(&inner);
    rmdir(path);
}

/* "sync-PID.git" of a process that is gone. */
static bool is_left_behind(const char *name)
{
    char *end;
    long pid;

    if (!lx_starts_with(name, "sync-"))
        return false;
    errno = 0;
    pid = strtol(name + strlen("sync-"), &end, 10);
    return !errno && pid > 0 && pid <= INT_MAX && strcmp(end, ".git") == 0 &&
           kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* Those of pushes and pulls that were killed: each may be as large as what it sent. */
static void remove_left_behind(const char *scratch)
{
    lx_dir dir = {0};

    if (lx_dir_list(&dir, scratch, NULL) == LX_OK)
        for (size_t i = 0; i < dir.count; i++) {
            lx_str path = LX_STR_INIT;
            lx_str_printf(&path, "%s/%s", scratch, dir.names[i]);
            if (is_left_behind(dir.names[i]) && !path.failed)
                remove_tree(path.data);
            lx_str_release(&path);
        }
    lx_dir_free(&dir);
}

void lx_remote_close(lx_remote *r)
{
    if (!r)
        return;
    store__credentials_release(&r->credentials);
    store__git2.blob_free(r->blob);
    store__git2.tree_free(r->objects);
    store__git2.remote_free(r->remote);
    store__git2.repository_free(r->repo);
    if (r->scratch)
        remove_tree(r->scratch);
    lx_free(r->scratch);
    lx_free(r->shown);
    lx_free(r->versions);
    lx_free(r);
    store__git2.libgit2_shutdown();
}

static char *shown_address(const char *url)
{
    lx_str clean = LX_STR_INIT;
    lx_scrub_text(&clean, url, strlen(url));
    return lx_str_detach(&clean);
}

int lx_remote_open(lx_remote **out, const char *url, const char *scratch, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    char *address = NULL;
    lx_remote *r;
    int code, rc;

    *out = NULL;
    if ((rc = store__git2_load(err)) < 0)
        return rc;
    if (!(r = lx_calloc(1, sizeof *r)))
        return lx_oom(err);
    if (store__git2.libgit2_init() < 0) { /* nothing of it may be called then */
        lx_free(r);
        return lx_oom(err);
    }
    store__git2.libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECTS, (size_t)10000000);
    store__credentials_certificates();
    lx_str_printf(&path, "%s/sync-%lld.git", scratch, (long long)getpid());
    rc = address_of(&address, url, err);
    r->shown = shown_address(address ? address : url);
    r->scratch = lx_str_detach(&path);
    if (rc == LX_OK && (!r->shown || !r->scratch))
        rc = lx_oom(err);
    else if (rc == LX_OK && (rc = lx_make_dirs(scratch, err)) == LX_OK) {
        remove_left_behind(scratch);
        remove_tree(r->scratch); /* of one that was killed and had our number */
        if ((code = store__git2.repository_init(&r->repo, r->scratch, 1)) < 0 ||
            (code = store__git2.remote_create_anonymous(&r->remote, r->repo, address)) <
                0)
            rc = fail_git(r, code, "preparing", err);
    }
    lx_free(address);
    if (rc < 0)
        lx_remote_close(r);
    else
        *out = r;
    return rc;
}

const char *lx_remote_scratch(const lx_remote *r)
{
    return r->scratch;
}

const char *lx_remote_url(const lx_remote *r)
{
    return r->shown;
}

/* ---- what is there ----------------------------------------------------------------- */

static bool is_hex(const char *text, size_t n)
{
    return strspn(text, "0123456789abcdef") >= n;
}

/* "refs/lx/runs/ID/COMMIT" */
static bool read_ref(lx_remote_version *out, const char *name)
{
    const char *id = name + strlen(PREFIX);
    if (!lx_starts_with(name, PREFIX) || strlen(id) != 16 + 1 + 40 || id[16] != '/' ||
        !is_hex(id, 16) || !is_hex(id + 17, 40))
        return false;
    memcpy(out->run, id, 16);
    out->run[16] = '\0';
    memcpy(out->commit, id + 17, 41);
    return true;
}

static void put_ref(lx_str *out, const lx_remote_version *v)
{
    lx_str_printf(out, "%s%s/%s", PREFIX, v->run, v->commit);
}

/* A path that leads nowhere, of which libgit2 says "unsupported URL protocol". */
static bool is_missing(const char *address)
{
    struct stat st;
    return !strpbrk(address, ":\\") && lx_io_get()->stat(address, &st) < 0 &&
           errno == ENOENT;
}

int lx_remote_list(const lx_remote_version **out, size_t *n, lx_remote *r, lx_error *err)
{
    git_remote_callbacks callbacks;
    const git_remote_head **heads;
    size_t n_heads;
    int code;

    store__git2.remote_init_callbacks(&callbacks, GIT_REMOTE_CALLBACKS_VERSION);
    callbacks.credentials = on_credentials;
    callbacks.payload = r;
    store__credentials_begin(&r->credentials);
    r->n_versions = 0;
    if (is_missing(store__git2.remote_url(r->remote)))
        return lx_fail(
            err, LX_ENOTFOUND,
            "%s: there is no such folder (git init --bare makes a repository of it)",
            r->shown);
    if ((code = store__git2.remote_connect(r->remote, GIT_DIRECTION_FETCH, &callbacks,
                                           NULL, NULL)) < 0 ||
        (code = store__git2.remote_ls(&heads, &n_heads, r->remote)) < 0)
        return fail_git(r, code, "listing its runs", err);
    for (size_t i = 0; i < n_heads; i++) {
        lx_remote_version v;
        char hex[41];
        store__git2.oid_tostr(hex, sizeof hex, &heads[i]->oid);
        if (!read_ref(&v, heads[i]->name) || strcmp(v.commit, hex) != 0)
            continue;
        if (lx_grow(&r->versions, &r->capacity, r->n_versions + 1, sizeof v) < 0)
            return lx_oom(err);
        r->versions[r->n_versions++] = v;
    }
    store__git2.remote_disconnect(r->remote);
    store__credentials_worked(&r->credentials);
    *out = r->versions;
    *n = r->n_versions;
    return LX_OK;
}

/* ---- refspecs ---------------------------------------------------------------------- */

typedef struct specs {
    git_strarray array;
    size_t capacity;
} specs;

static int add_spec(specs *s, const char *before, const lx_remote_version *v,
                    bool has_source, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    lx_str_puts(&text, before);
    if (has_source)
        put_ref(&text, v);
    lx_str_putc(&text, ':');
    put_ref(&text, v);
    if (lx_grow(&s->array.strings, &s->capacity, s->array.count + 1,
                sizeof *s->array.strings) < 0 ||
        !(s->array.strings[s->array.count] = lx_str_detach(&text))) {
        lx_str_release(&text);
        return lx_oom(err);
    }
    s->array.count++;
    return LX_OK;
}

static void release_specs(specs *s)
{
    for (size_t i = 0; i < s->array.count; i++)
        lx_free(s->array.strings[i]);
    lx_free(s->array.strings);
}

/* ---- arriving ---------------------------------------------------------------------- */

/* What a server sends it may send without end: the disk is ours. */
static int on_progress(const git_indexer_progress *so_far, void *context)
{
    (void)context;
    if (so_far->received_bytes <= MOST_FETCHED)
        return 0;
    store__git2.error_set_str(GIT_ERROR_NET, "it sends more than 64 GiB at once");
    return -1;
}

static int fetch_batch(lx_remote *r, const lx_remote_version *versions, size_t n,
                       lx_error *err)
{
    git_fetch_options options;
    specs s = {0};
    int code, rc = LX_OK;

    store__git2.fetch_options_init(&options, GIT_FETCH_OPTIONS_VERSION);
    options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
    options.update_fetchhead = 0;
    options.callbacks.credentials = on_credentials;
    options.callbacks.transfer_progress = on_progress;
    options.callbacks.payload = r;
    store__credentials_begin(&r->credentials);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = add_spec(&s, "+", &versions[i], true, err);
    if (rc == LX_OK &&
        (code = store__git2.remote_fetch(r->remote, &s.array, &options, NULL)) < 0)
        rc = fail_git(r, code, "fetching", err);
    release_specs(&s);
    return rc;
}

int lx_remote_fetch(lx_remote *r, const lx_remote_version *versions, size_t n,
                    lx_error *err)
{
    int rc = LX_OK;
    for (size_t i = 0; i < n && rc == LX_OK; i += BATCH)
        rc = fetch_batch(r, versions + i, n - i < BATCH ? n - i : BATCH, err);
    return rc;
}

/* A fetch says nothing of refs that are not there any more. */
static bool has_arrived(lx_remote *r, const lx_remote_version *v)
{
    git_odb *odb = NULL;
    git_object_t type;
    git_oid oid;
    size_t size;
    int code = store__git2.oid_fromstr(&oid, v->commit);

    if (code == 0 && (code = store__git2.repository_odb(&odb, r->repo)) == 0)
        code = store__git2.odb_read_header(&size, &type, odb, &oid);
    store__git2.odb_free(odb);
    return code != GIT_ENOTFOUND;
}

static int open_version(git_tree **tree, lx_remote *r, const lx_remote_version *v)
{
    git_commit *commit = NULL;
    git_oid oid;
    int code;
    if ((code = store__git2.oid_fromstr(&oid, v->commit)) == 0 &&
        (code = store__git2.commit_lookup(&commit, r->repo, &oid)) == 0)
        code = store__git2.commit_tree(tree, commit);
    store__git2.commit_free(commit);
    return code;
}

/* The blob at a name of a tree; its size is checked before its bytes are asked for. */
static int open_blob(git_blob **blob, lx_remote *r, const git_tree *tree,
                     const char *name, uint64_t most)
{
    const git_tree_entry *entry = store__git2.tree_entry_byname(tree, name);
    git_odb *odb = NULL;
    git_object_t type;
    size_t size;
    int code;

    if (!entry || store__git2.tree_entry_type(entry) != GIT_OBJECT_BLOB)
        return GIT_ENOTFOUND;
    if ((code = store__git2.repository_odb(&odb, r->repo)) == 0 &&
        (code = store__git2.odb_read_header(&size, &type, odb,
                                            store__git2.tree_entry_id(entry))) == 0)
        code = size > most ? GIT_EINVALID
                           : store__git2.blob_lookup(blob, r->repo,
                                                     store__git2.tree_entry_id(entry));
    store__git2.odb_free(odb);
    return code;
}

static int parse_record(cJSON **record, git_blob *blob, const lx_remote_version *v,
                        lx_error *err)
{
    const char *id;
    int rc = lx_json_parse(record, store__git2.blob_rawcontent(blob),
                           (size_t)store__git2.blob_rawsize(blob), err);
    if (rc < 0)
        return rc;
    if ((rc = lx_transfer_check(&id, *record, err)) == LX_OK && strcmp(id, v->run) != 0)
        rc = lx_fail(err, LX_EFORMAT, "the record is of run %s", id);
    if (rc < 0) {
        cJSON_Delete(*record);
        *record = NULL;
    }
    return rc;
}

int lx_remote_record(cJSON **record, lx_remote *r, const lx_remote_version *v,
                     lx_error *err)
{
    git_tree *tree = NULL;
    git_blob *blob = NULL;
    const git_tree_entry *entry;
    int code, rc;

    *record = NULL;
    store__git2.tree_free(r->objects);
    r->objects = NULL;
    if (!has_arrived(r, v)) {
        rc = lx_fail(err, LX_ENOTFOUND, "%s: version %.10s of run %s is gone from it",
                     r->shown, v->commit, v->run);
        goto done;
    }
    if ((code = open_version(&tree, r, v)) < 0 ||
        (code = open_blob(&blob, r, tree, "record.json", MOST_RECORD)) < 0) {
        rc =
            code == GIT_EINVALID
                ? lx_fail(err, LX_ELIMIT,
                          "%s: version %.10s of run %s has a record of more than 256 MiB",
                          r->shown, v->commit, v->run)
            : was_memory()
                ? lx_oom(err)
                : lx_fail(err, LX_EFORMAT, "%s: version %.10s of run %s is no run of lx",
                          r->shown, v->commit, v->run);
        goto done;
    }
    if ((entry = store__git2.tree_entry_byname(tree, "objects")) &&
        store__git2.tree_entry_type(entry) == GIT_OBJECT_TREE &&
        store__git2.tree_lookup(&r->objects, r->repo, store__git2.tree_entry_id(entry)) <
            0) {
        rc = was_memory() ? lx_oom(err)
                          : lx_fail(err, LX_EFORMAT,
                                    "%s: the objects of run %s in version %.10s cannot "
                                    "be read",
                                    r->shown, v->run, v->commit);
        goto done;
    }
    if ((rc = parse_record(record, blob, v, err)) < 0)
        lx_within(err, "%s: run %s", r->shown, v->run);
done:
    store__git2.blob_free(blob);
    store__git2.tree_free(tree);
    return rc;
}

int lx_remote_object(void *remote, const void **data, size_t *n, const lx_hash *hash,
                     lx_error *err)
{
    lx_remote *r = remote;
    char hex[LX_HASH_HEX + 1];
    lx_hash found;
    int code;

    lx_hash_hex(hex, hash);
    store__git2.blob_free(r->blob);
    r->blob = NULL;
    code =
        r->objects ? open_blob(&r->blob, r, r->objects, hex, MOST_OBJECT) : GIT_ENOTFOUND;
    if (code == GIT_EINVALID)
        return lx_fail(err, LX_ELIMIT, "%s: object %s has more than 8 GiB", r->shown,
                       hex);
    if (code == GIT_ENOTFOUND)
        return lx_fail(err, LX_ENOTFOUND, "%s: object %s is not in this version",
                       r->shown, hex);
    if (code < 0)
        return was_memory() ? lx_oom(err)
                            : lx_fail(err, LX_EFORMAT, "%s: object %s cannot be read",
                                      r->shown, hex);
    *data = store__git2.blob_rawcontent(r->blob);
    *n = (size_t)store__git2.blob_rawsize(r->blob);
    found = lx_sha256_of(*data, *n);
    if (!lx_hash_equal(&found, hash))
        return lx_fail(err, LX_EFORMAT, "%s: object %s hashes to another name", r->shown,
                       hex);
    return LX_OK;
}

/* ---- leaving ----------------------------------------------------------------------- */

static int add_object(git_treebuilder *tree, lx_remote *r, lx_transfer *t,
                      const lx_transfer_object *o, lx_error *err)
{
    lx_str room = LX_STR_INIT;
    char hex[LX_HASH_HEX + 1];
    const void *data;
    git_oid oid;
    size_t n;
    int code, rc = lx_transfer_bytes(&data, &n, &room, t, o, err);

    lx_hash_hex(hex, &o->hash);
    if (rc == LX_OK &&
        ((code = store__git2.blob_create_from_buffer(&oid, r->repo, data, n)) < 0 ||
         (code = store__git2.treebuilder_insert(NULL, tree, hex, &oid,
                                                GIT_FILEMODE_BLOB)) < 0))
        rc = fail_git(r, code, "staging an object", err);
    lx_str_release(&room);
    return rc;
}

/* The tree of a version. */
static int build_tree(git_oid *out, lx_remote *r, lx_transfer *one, const lx_str *record,
                      lx_error *err)
{
    git_treebuilder *root = NULL, *objects = NULL;
    size_t n;
    const lx_transfer_object *all = lx_transfer_objects(one, &n);
    git_oid oid;
    int code, rc = LX_OK;

    if ((code = store__git2.treebuilder_new(&root, r->repo, NULL)) < 0 ||
        (code = store__git2.treebuilder_new(&objects, r->repo, NULL)) < 0)
        rc = fail_git(r, code, "staging", err);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = add_object(objects, r, one, &all[i], err);
    if (rc == LX_OK &&
        ((code = store__git2.blob_create_from_buffer(&oid, r->repo, record->data,
                                                     record->len)) < 0 ||
         (code = store__git2.treebuilder_insert(NULL, root, "record.json", &oid,
                                                GIT_FILEMODE_BLOB)) < 0 ||
         (code = store__git2.treebuilder_write(&oid, objects)) < 0 ||
         (n && (code = store__git2.treebuilder_insert(NULL, root, "objects", &oid,
                                                      GIT_FILEMODE_TREE)) < 0) ||
         (code = store__git2.treebuilder_write(out, root)) < 0))
        rc = fail_git(r, code, "staging", err);
    store__git2.treebuilder_free(objects);
    store__git2.treebuilder_free(root);
    return rc;
}

/* Nobody's name is in it, and the time is the run's: equal versions are equal commits. */
static int commit_tree(git_oid *out, lx_remote *r, const git_oid *tree_id,
                       const cJSON *record)
{
    git_signature *lx = NULL;
    git_tree *tree = NULL;
    git_time_t time = (git_time_t)lx_json_number(record, "started", 0);
    char message[64];
    int code;

    snprintf(message, sizeof message, "run %s\n", lx_json_text(record, "id"));
    if ((code = store__git2.signature_new(&lx, "lx", "lx@localhost", time, 0)) == 0 &&
        (code = store__git2.tree_lookup(&tree, r->repo, tree_id)) == 0)
        code = store__git2.commit_create(out, r->repo, NULL, lx, lx, NULL, message, tree,
                                         0, NULL);
    store__git2.tree_free(tree);
    store__git2.signature_free(lx);
    return code;
}

/* Nothing goes there that lx_remote_record or lx_remote_object would not take. */
static int check_sizes(lx_transfer *one, const cJSON *record, const lx_str *text, lx_error *err)
{
    const char *id = lx_json_text(record, "id");
    char hex[LX_HASH_HEX + 1];
    size_t n;
    const lx_transfer_object *all = lx_transfer_objects(one, &n);

    if (text->len > MOST_RECORD)
        return lx_fail(err, LX_ELIMIT,
                       "run %s: what is said of it (notes, artifacts) has more than 256 MiB, and cannot "
                       "be pushed",
                       id);
    for (size_t i = 0; i < n; i++) {
        if ((uint64_t)all[i].size <= MOST_OBJECT)
            continue;
        lx_hash_hex(hex, &all[i].hash);
        return lx_fail(err, LX_ELIMIT,
                       "run %s: its object %s has more than 8 GiB, and cannot be pushed", id, hex);
    }
    return LX_OK;
}

int lx_remote_stage(lx_remote_version *out, lx_remote *r, lx_transfer *one, lx_error *err)
{
    const cJSON *record = cJSON_GetArrayItem(lx_transfer_records(one), 0);
    git_reference *ref = NULL;
    lx_str text = LX_STR_INIT, name = LX_STR_INIT;
    git_oid tree, commit;
    int code, rc;

    if ((rc = lx_json_canonical(&text, record, err)) < 0 ||
        (rc = check_sizes(one, record, &text, err)) < 0 ||
        (rc = build_tree(&tree, r, one, &text, err)) < 0)
        goto done;
    snprintf(out->run, sizeof out->run, "%s", lx_json_text(record, "id"));
    if ((code = commit_tree(&commit, r, &tree, record)) < 0) {
        rc = fail_git(r, code, "staging", err);
        goto done;
    }
    store__git2.oid_tostr(out->commit, sizeof out->commit, &commit);
    put_ref(&name, out);
    if ((rc = lx_str_check(&name, err)) == LX_OK &&
        (code = store__git2.reference_create(&ref, r->repo, name.data, &commit, 1,
                                             "lx")) < 0)
        rc = fail_git(r, code, "staging", err);
done:
    store__git2.reference_free(ref);
    lx_str_release(&text);
    lx_str_release(&name);
    return rc;
}

/* The repository, where it is a folder of this machine; else NULL. */
static git_repository *open_local(lx_remote *r)
{
    const char *url = store__git2.remote_url(r->remote);
    git_repository *repo = NULL;

    url += lx_starts_with(url, "file://") ? strlen("file://") : 0;
    return lx_file_is_dir(url) && store__git2.repository_open(&repo, url) == 0 ? repo
                                                                               : NULL;
}

/* libgit2 syncs what it writes into a repository of this machine only when it is told to. What is staged need not
 * outlive us, and may be thousands of files. */
static int push_synced(lx_remote *r, const specs *s, const git_push_options *options)
{
    int code;

    store__git2.libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
    code = store__git2.remote_push(r->remote, &s->array, options);
    store__git2.libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 0);
    return code;
}

/* It syncs a ref and its folder, and not the folders above, which may be new. */
static int sync_folders(lx_remote *r, lx_error *err)
{
    static const char *const folders[] = {"refs/lx/runs", "refs/lx", "refs"};
    git_repository *repo = open_local(r);
    lx_str path = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; repo && i < sizeof folders / sizeof *folders && rc == LX_OK; i++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s%s", store__git2.repository_commondir(repo), folders[i]);
        if ((rc = lx_str_check(&path, err)) == LX_OK && lx_file_is_dir(path.data))
            rc = store__sync_folder(path.data, err);
    }
    lx_str_release(&path);
    store__git2.repository_free(repo);
    return rc;
}

/* libgit2 pushes into a repository of this machine only when it has no work tree; git itself does. */
static int fail_push(lx_remote *r, int code, lx_error *err)
{
    git_repository *repo = open_local(r);
    const bool has_work_tree = repo && store__git2.repository_workdir(repo);

    store__git2.repository_free(repo);
    if (!has_work_tree)
        return fail_git(r, code, "pushing", err);
    return lx_fail(err, LX_EUNSUPPORTED,
                   "%s: it has a work tree, and of the repositories on this machine lx pushes into bare ones only: "
                   "make one for the runs (git init --bare runs.git), or push to where this one is pushed to",
                   r->shown);
}

static int push_specs(lx_remote *r, const specs *s, lx_error *err)
{
    git_push_options options;
    int code;

    store__git2.push_options_init(&options, GIT_PUSH_OPTIONS_VERSION);
    options.callbacks.credentials = on_credentials;
    options.callbacks.push_update_reference = on_rejected;
    options.callbacks.payload = r;
    options.pb_parallelism = 1;
    store__credentials_begin(&r->credentials);
    r->rejection[0] = '\0';
    if ((code = push_synced(r, s, &options)) < 0)
        return fail_push(r, code, err);
    if (*r->rejection)
        return lx_fail(err, LX_EBUSY, "%s: it did not take a run: %s", r->shown,
                       r->rejection);
    return LX_OK;
}

/*
 * A push into a folder of this machine that was killed may leave the lock of a ref behind,
 * and git would refuse to make that ref for ever. What a ref of ours says is in its name,
 * so whoever should still be writing it writes the same: a lock that is a second old goes.
 */
static void drop_stale_locks(lx_remote *r, const lx_remote_version *v, size_t n)
{
    enum { MOST_TRIES = 50 }; /* 2.5 s, where a new lock is two seconds old in 2 s */
    const struct timespec pause = {0, 50000000};
    git_repository *repo = open_local(r);
    lx_str path = LX_STR_INIT;

    for (size_t i = 0; repo && i < n; i++) {
        struct stat st;
        lx_str_clear(&path);
        lx_str_puts(&path, store__git2.repository_commondir(repo));
        put_ref(&path, &v[i]);
        lx_str_puts(&path, ".lock");
        for (int tries = 0; !path.failed && tries < MOST_TRIES; tries++) {
            if (lx_io_get()->stat(path.data, &st) != 0)
                break;
            if (difftime(time(NULL), st.st_mtime) >= 2) { /* whole seconds are compared */
                lx_io_get()->unlink(path.data);
                break;
            }
            nanosleep(&pause, NULL);
        }
    }
    store__git2.repository_free(repo);
    lx_str_release(&path);
}

/* A batch at a time: what was sent before a cut is there. */
static int push_batches(lx_remote *r, const lx_remote_version *v, size_t n, bool drops,
                        lx_error *err)
{
    int rc = LX_OK;
    for (size_t i = 0; i < n && rc == LX_OK; i += BATCH) {
        specs s = {0};
        for (size_t k = i; k < n && k < i + BATCH && rc == LX_OK; k++)
            rc = add_spec(&s, "", &v[k], !drops, err);
        if (rc == LX_OK && (rc = push_specs(r, &s, err)) == LX_EBUSY)
            drop_stale_locks(r, v + i, n - i < BATCH ? n - i : BATCH);
        release_specs(&s);
    }
    return rc;
}

int lx_remote_push(lx_remote *r, const lx_remote_version *add, size_t n_add,
                   const lx_remote_version *drop, size_t n_drop, lx_error *err)
{
    lx_error ignored = {0};
    int rc = push_batches(r, add, n_add, false, err);
    if (rc < 0 || (n_add && (rc = sync_folders(r, err)) < 0))
        return rc;
    /* Another push may have dropped them first: then they are gone as they should be. */
    for (size_t i = 0; i < n_drop; i++)
        push_batches(r, &drop[i], 1, true, &ignored);
    return LX_OK;
}
