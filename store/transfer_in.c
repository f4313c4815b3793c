/* Runs arriving in a store. Records come from strangers: all of one is checked before any
 * is used. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/internal.h"
#include "store/privacy.h"
#include "store/transfer.h"

enum {
    MOST_CURVES = 4096,
    MOST_REMARKS = 100000,
    MOST_ARTIFACTS = 100000,
    MOST_DEPTH = 4,       /* dataset -> folder -> caption, with room */
    GROUP_BYTES = 8 << 20 /* of small objects in one transaction */
};

static const char *const text_keys[] = {"spec",        "command_line", "flags_given",
                                        "flags",       "dataset",      "base_model",
                                        "environment", "git",          "diff"};
enum { N_TEXTS = sizeof text_keys / sizeof *text_keys, FLAGS_GIVEN = 2, FLAGS = 3 };

/* ---- checking ---------------------------------------------------------------------- */

static const cJSON *member(const cJSON *o, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(o, key);
}

bool lx_transfer_is_word(const char *text)
{
    size_t n = text ? strlen(text) : 0;
    return n && n <= 32 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

static bool is_run_id(const char *text)
{
    return text && strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16;
}

/* Absent, or a text of at most `most` bytes. */
static bool is_short(const cJSON *item, size_t most)
{
    return !item || (cJSON_IsString(item) && strlen(item->valuestring) <= most);
}

static bool is_hash(const cJSON *item)
{
    lx_hash hash;
    return cJSON_IsString(item) && lx_hash_from_hex(&hash, item->valuestring);
}

/* The hash at a key of a record that was checked; false: there is none. */
static bool hash_at(lx_hash *out, const cJSON *o, const char *key)
{
    const char *hex = lx_json_text(o, key);
    bool is_one;

    if (!hex)
        return false;
    is_one = lx_hash_from_hex(out, hex);
    lx_assert(is_one);
    return true;
}

/* The first item of a list of a record that was checked. */
static const cJSON *first(const cJSON *o, const char *key)
{
    return member(o, key)->child;
}

static bool is_whole(const cJSON *item, double least, double most)
{
    return cJSON_IsNumber(item) && item->valuedouble >= least &&
           item->valuedouble <= most && item->valuedouble == floor(item->valuedouble);
}

bool lx_transfer_is_time(double seconds)
{
    return seconds >= 0 && seconds <= 1e11;
}

static bool is_time(const cJSON *item)
{
    return cJSON_IsNumber(item) && lx_transfer_is_time(item->valuedouble);
}

static bool is_sound_end(const cJSON *end)
{
    const char *status = lx_json_text(end, "status");
    return !end ||
           (is_time(member(end, "ended")) &&
            is_short(member(end, "message"), LX_TRANSFER_NOTE) && status &&
            (strcmp(status, "finished") == 0 || strcmp(status, "interrupted") == 0 ||
             strcmp(status, "failed") == 0));
}

static bool is_sound_remark(const cJSON *r)
{
    const cJSON *value = cJSON_GetArrayItem(r, 3);
    const char *kind = cJSON_GetStringValue(cJSON_GetArrayItem(r, 1));
    return cJSON_IsArray(r) && cJSON_GetArraySize(r) == 4 &&
           is_time(cJSON_GetArrayItem(r, 0)) && lx_transfer_is_word(kind) &&
           strcmp(kind, "pin") != 0 && strcmp(kind, "trash") != 0 &&
           cJSON_IsString(cJSON_GetArrayItem(r, 2)) &&
           is_short(cJSON_GetArrayItem(r, 2), LX_TRANSFER_NAME) &&
           (cJSON_IsNull(value) || is_short(value, LX_TRANSFER_NOTE));
}

static bool is_sound_artifact(const cJSON *a)
{
    return cJSON_IsObject(a) && lx_transfer_is_word(lx_json_text(a, "role")) &&
           is_short(member(a, "name"), LX_TRANSFER_NAME) &&
           is_short(member(a, "path"), LX_TRANSFER_NAME) &&
           is_hash(member(a, "sha256")) &&
           (!member(a, "tensors") || is_hash(member(a, "tensors"))) &&
           is_whole(member(a, "size"), 0, 0x1p53) &&
           is_whole(member(a, "step"), -1, 0x1p53) && is_time(member(a, "at")) &&
           cJSON_IsBool(member(a, "is_kept"));
}

static bool is_sound_curve(const cJSON *c)
{
    const char *key = lx_json_text(c, "key");
    return cJSON_IsObject(c) && key && *key && strlen(key) <= LX_TRANSFER_CURVE &&
           is_hash(member(c, "points")) && is_whole(member(c, "n"), 0, 1e10);
}

static bool are_sound(const cJSON *list, int most, bool (*is_sound)(const cJSON *item))
{
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > most)
        return false;
    for (const cJSON *item = list->child; item; item = item->next)
        if (!is_sound(item))
            return false;
    return true;
}

static bool are_sound_texts(const cJSON *texts)
{
    if (!cJSON_IsObject(texts))
        return false;
    for (int i = 0; i < N_TEXTS; i++)
        if (member(texts, text_keys[i]) && !is_hash(member(texts, text_keys[i])))
            return false;
    return true;
}

static bool is_sound_seed(const cJSON *seed)
{
    const char *text = cJSON_GetStringValue(seed);
    return !seed || (text && strlen(text) <= 20 && strspn(text, "0123456789") == strlen(text));
}

int lx_transfer_check(const char **id, const cJSON *r, lx_error *err)
{
    const char *problem = NULL;

    *id = lx_json_text(r, "id");
    if (!cJSON_IsObject(r) || !is_run_id(*id))
        return lx_fail(err, LX_EFORMAT, "a run without an id of 16 hex digits");
    if (!lx_transfer_is_word(lx_json_text(r, "kind")))
        problem = "its kind";
    else if (!is_short(member(r, "name"), LX_TRANSFER_NAME) ||
             !is_short(member(r, "origin"), LX_TRANSFER_NAME))
        problem = "its name or origin (4096 bytes at most)";
    else if (member(r, "parent") && !is_run_id(lx_json_text(r, "parent")))
        problem = "its parent";
    else if (!is_time(member(r, "started")) || !is_sound_seed(member(r, "seed")))
        problem = "its start or seed";
    else if (!is_sound_end(member(r, "end")))
        problem = "its end (a message of 16 MiB at most)";
    else if (!are_sound_texts(member(r, "texts")))
        problem = "its texts";
    else if (!are_sound(member(r, "remarks"), MOST_REMARKS, is_sound_remark))
        problem = "its remarks (100000 at most, keys of 4096 bytes, texts of 16 MiB)";
    else if (!are_sound(member(r, "artifacts"), MOST_ARTIFACTS, is_sound_artifact))
        problem = "its artifacts (100000 at most, names of 4096 bytes)";
    else if (!are_sound(member(r, "curves"), MOST_CURVES, is_sound_curve))
        problem = "its curves (4096 at most, names of 256 bytes)";
    else if (member(r, "console") && !is_hash(member(r, "console")))
        problem = "its console";
    return problem ? lx_fail(err, LX_EFORMAT, "run %s: %s cannot be", *id, problem)
                   : LX_OK;
}

/* ---- objects ----------------------------------------------------------------------- */

/* An object whose text was looked through for the names of others. */
typedef struct followed {
    lx_hash hash;
    int depth; /* 1 and more: at how many removes from the record; 0: an empty place */
} followed;

/* One record being brought in. */
typedef struct arrival {
    lx_store *store;
    const cJSON *record;
    lx_transfer_fetch fetch;
    void *context;
    int64_t seq;
    bool is_extended;
    store__batch batch; /* objects on their way */
    store__batch here;  /* those that were here; gc may run until the rows are written */
    size_t batch_bytes;
    followed *followed; /* by hash; a power of two of places, half of them empty */
    size_t n_followed, n_places;
} arrival;

/* What gathered in the batch, in a transaction of its own: nothing refers to it yet. */
static int add_batch(arrival *a, lx_error *err)
{
    int rc = a->batch_bytes ? store__begin(a->store, err) : LX_OK;
    if (a->batch_bytes && rc == LX_OK)
        rc = store__end(a->store, store__batch_add(&a->batch, err), err);
    store__batch_release(&a->batch);
    a->batch = store__batch_of(a->store);
    a->batch_bytes = 0;
    return rc;
}

/* Its place, or the empty one where it belongs. */
static followed *place_of(followed *places, size_t n_places, const lx_hash *hash)
{
    size_t at;

    memcpy(&at, hash->bytes, sizeof at);
    for (at &= n_places - 1; places[at].depth; at = (at + 1) & (n_places - 1))
        if (lx_hash_equal(&places[at].hash, hash))
            break;
    return &places[at];
}

static bool was_followed(const arrival *a, const lx_hash *hash, int depth)
{
    const followed *f = a->n_places ? place_of(a->followed, a->n_places, hash) : NULL;
    return f && f->depth && f->depth <= depth + 1;
}

/* Without it a few texts that name one another a thousand times each would be read a thousand million times. From
 * farther away less was followed, so nearer it is once more. */
static int note_followed(arrival *a, const lx_hash *hash, int depth, lx_error *err)
{
    followed *f;

    if (a->n_places <= 2 * a->n_followed) {
        size_t n = a->n_places ? 2 * a->n_places : 64;
        followed *more = lx_calloc(n, sizeof *more);
        if (!more)
            return lx_oom(err);
        for (size_t i = 0; i < a->n_places; i++)
            if (a->followed[i].depth)
                *place_of(more, n, &a->followed[i].hash) = a->followed[i];
        lx_free(a->followed);
        a->followed = more;
        a->n_places = n;
    }
    f = place_of(a->followed, a->n_places, hash);
    a->n_followed += !f->depth;
    *f = (followed){*hash, depth + 1};
    return LX_OK;
}

static int bring(arrival *a, const lx_hash *hash, bool follows, int depth, lx_error *err);

/* Objects that a dataset or a git state names come too, as far as they travelled. */
static int bring_named(arrival *a, const char *text, size_t n, int depth, lx_error *err)
{
    size_t at = 0;
    lx_hash hash;
    int rc = LX_OK;
    while (rc == LX_OK && store__next_hash(&hash, &at, text, n)) {
        lx_error absent = {0};
        rc = bring(a, &hash, true, depth + 1, &absent);
        if (rc == LX_ENOTFOUND) /* an image: named, never kept */
            rc = LX_OK;
        else
            lx_fail_as(err, rc, &absent);
    }
    return rc;
}

static int bring(arrival *a, const lx_hash *hash, bool follows, int depth, lx_error *err)
{
    const void *data;
    char *copy = NULL;
    lx_hash stored;
    bool is_here;
    size_t n;
    int rc = lx_object_exists(&is_here, a->store, hash, err);

    if (rc < 0 || (follows && was_followed(a, hash, depth)) ||
        (is_here && (rc = store__batch_known(&a->here, hash, err)) < 0) ||
        (is_here && !follows))
        return rc;
    if ((rc = a->fetch(a->context, &data, &n, hash, err)) < 0)
        return rc == LX_ENOTFOUND && is_here ? LX_OK : rc;
    if (!is_here) {
        if ((rc = store__batch_put(&stored, &a->batch, data, n, err)) < 0)
            return rc;
        if (!lx_hash_equal(
                &stored, hash)) /* it was verified: a file that is written to meanwhile */
            return lx_fail(err, LX_EFORMAT, "an object changes while it is read");
        a->batch_bytes += n + 1;
        if (a->batch_bytes > GROUP_BYTES && (rc = add_batch(a, err)) < 0)
            return rc;
    }
    if (follows && (rc = note_followed(a, hash, depth, err)) < 0)
        return rc;
    if (follows && depth < MOST_DEPTH) { /* 90,000 captions are a text of 20 MB */
        /* The next fetch takes the bytes away. */
        if (!(copy = lx_strndup(data, n)))
            return lx_oom(err);
        rc = bring_named(a, copy, n, depth, err);
        lx_free(copy);
    }
    return rc;
}

static int bring_member(arrival *a, const cJSON *o, const char *key, bool follows,
                        lx_error *err)
{
    lx_hash hash;
    int rc;
    if (!hash_at(&hash, o, key))
        return LX_OK;
    if ((rc = bring(a, &hash, follows, 0, err)) == LX_ENOTFOUND)
        return lx_fail(err, LX_EFORMAT, "its %s (object %s) did not travel with it", key,
                       lx_json_text(o, key));
    return rc;
}

static int bring_objects(arrival *a, lx_error *err)
{
    const cJSON *texts = member(a->record, "texts");
    int rc = LX_OK;
    for (int i = 0; i < N_TEXTS && rc == LX_OK; i++)
        rc = bring_member(a, texts, text_keys[i],
                          strcmp(text_keys[i], "dataset") == 0 ||
                              strcmp(text_keys[i], "git") == 0,
                          err);
    for (const cJSON *f = first(a->record, "artifacts"); f && rc == LX_OK; f = f->next)
        if (cJSON_IsTrue(member(f, "is_kept")))
            rc = bring_member(a, f, "sha256", false, err);
    return rc == LX_OK ? add_batch(a, err) : rc;
}

/* ---- rows -------------------------------------------------------------------------- */

static int find_known(arrival *a, lx_error *err)
{
    return store__number(
        &a->seq, 0, a->store, err,
        "SELECT seq FROM run WHERE id=?1 OR (?2 IS NOT NULL AND origin=?2)"
        " ORDER BY id<>?1 LIMIT 1",
        "tt", lx_json_text(a->record, "id"), lx_json_text(a->record, "origin"));
}

static int text_of(lx_str *out, const lx_hash *hash, lx_store *store, lx_error *err)
{
    return hash ? lx_object_get(out, store, hash, err) : LX_OK;
}

static int insert_run(arrival *a, lx_error *err)
{
    const cJSON *r = a->record, *texts = member(r, "texts");
    lx_hash hashes[N_TEXTS];
    const lx_hash *t[N_TEXTS] = {NULL};
    lx_str flags = LX_STR_INIT;
    int rc;

    for (int i = 0; i < N_TEXTS; i++)
        t[i] = hash_at(&hashes[i], texts, text_keys[i]) ? &hashes[i] : NULL;
    rc = store__do(
        a->store, err,
        "INSERT INTO run(id, kind, name, origin, parent, started, recorded, seed, spec,"
        " command_line, flags_given, flags, dataset, base_model, environment, git, diff)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,"
        " ?17)",
        "tttttddthhhhhhhhh", lx_json_text(r, "id"), lx_json_text(r, "kind"),
        lx_json_text(r, "name"), lx_json_text(r, "origin"), lx_json_text(r, "parent"),
        lx_json_number(r, "started", 0), store__now(), lx_json_text(r, "seed"), t[0],
        t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8]);
    if (rc < 0)
        return rc;
    a->seq = sqlite3_last_insert_rowid(a->store->db);
    if ((rc = text_of(&flags, t[FLAGS] ? t[FLAGS] : t[FLAGS_GIVEN], a->store, err)) ==
        LX_OK)
        rc = store__derive_run(a->store, a->seq, lx_json_text(r, "name"),
                               flags.len ? lx_str_text(&flags) : NULL, err);
    lx_str_release(&flags);
    return rc;
}

/* ---- remarks ----------------------------------------------------------------------- */

static int note_remark(lx_store *s, const char *kind, const char *key, double at, bool is_met, lx_error *err)
{
    return store__do(s, err, "INSERT INTO said VALUES(?1, ?2, ?3, ?4, ?5)", "ttdii", kind, key, at,
                     (int64_t)lx_privacy_seems_scrubbed(key), (int64_t)is_met);
}

/* What is here already, by what it is known again by: the tables have no index for that, and a run of a stranger may
 * have a hundred thousand of them. `is_met`: it is one of the record's. */
static int list_remarks(arrival *a, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__exec(
        a->store,
        "CREATE TEMP TABLE IF NOT EXISTS said(kind, key, at, is_scrubbed, is_met);"
        "CREATE INDEX IF NOT EXISTS temp.said_all ON said(kind, key, at, is_met);"
        "CREATE INDEX IF NOT EXISTS temp.said_at ON said(kind, at, is_met, is_scrubbed);"
        "DELETE FROM said",
        err);

    if (rc < 0)
        return rc;
    rc = store__query(&stmt, a->store, err, "SELECT kind, key, at FROM remark WHERE run=?1", "i",
                      a->seq);
    while (store__row(&rc, a->store, stmt, err)) {
        const char *kind = (const char *)sqlite3_column_text(stmt, 0),
                   *key = (const char *)sqlite3_column_text(stmt, 1);
        rc = kind && key ? note_remark(a->store, kind, key, sqlite3_column_double(stmt, 2), false, err)
                         : lx_oom(err);
    }
    store__finish(a->store, stmt);
    return rc;
}

/* A remark of the record. */
typedef struct remark {
    const char *kind, *key, *value;
    double at;
    bool is_here;
} remark;

static remark read_remark(const cJSON *r)
{
    return (remark){.at = cJSON_GetArrayItem(r, 0)->valuedouble,
                    .kind = cJSON_GetArrayItem(r, 1)->valuestring,
                    .key = cJSON_GetArrayItem(r, 2)->valuestring,
                    .value = cJSON_GetStringValue(cJSON_GetArrayItem(r, 3))};
}

static int find_remark(arrival *a, remark *x, const char *sql, lx_error *err)
{
    int64_t row;
    int rc = store__number(&row, 0, a->store, err, sql, "ttd", x->kind, x->key, x->at);

    if (rc < 0 || !row)
        return rc;
    x->is_here = true;
    return store__do(a->store, err, "UPDATE said SET is_met=1 WHERE rowid=?1", "i", row);
}

/* By its time and key: the value may have been scrubbed on its way here. */
static int find_by_key(arrival *a, remark *x, lx_error *err)
{
    return find_remark(a, x,
                       "SELECT rowid FROM said WHERE kind=?1 AND key=?2 AND at=?3"
                       " ORDER BY is_met LIMIT 1",
                       err);
}

/* The key may have been, too, here or there: of what nothing else of the record is, each once. */
static int find_by_moment(arrival *a, remark *x, lx_error *err)
{
    return find_remark(a, x,
                       lx_privacy_seems_scrubbed(x->key)
                           ? "SELECT rowid FROM said WHERE kind=?1 AND at=?3 AND is_met=0 LIMIT 1"
                           : "SELECT rowid FROM said WHERE kind=?1 AND at=?3 AND is_met=0"
                             " AND is_scrubbed=1 LIMIT 1",
                       err);
}

/*
 * The newest remark of a kind holds, and newest is the last row: after remarks of two
 * stores came together their rows are put into the order of their times, so that both
 * stores hold the same.
 */
static int sort_remarks(arrival *a, lx_error *err)
{
    static const char *const kinds[] = {"name", "group", "pin", "trash"};
    lx_store *s = a->store;
    int rc;

    if ((rc = store__exec(
             s,
             "CREATE TEMP TABLE IF NOT EXISTS sorted(run, at, kind, key, value);"
             "DELETE FROM sorted",
             err)) < 0 ||
        (rc = store__do(s, err,
                        "INSERT INTO sorted SELECT run, at, kind, key, value FROM remark"
                        " WHERE run=?1 ORDER BY at, kind, key, value",
                        "i", a->seq)) < 0 ||
        (rc = store__do(s, err, "DELETE FROM remark WHERE run=?1", "i", a->seq)) < 0 ||
        (rc = store__do(
             s, err,
             "INSERT INTO remark(run, at, kind, key, value)"
             " SELECT run, at, kind, key, value FROM sorted WHERE run=?1 ORDER BY rowid",
             "i", a->seq)) < 0)
        return rc;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == LX_OK; i++)
        rc = store__derive_remark(s, a->seq, kinds[i], err);
    return rc;
}

/* One whose key is not here. */
static int take_remark(arrival *a, remark *x, lx_error *err)
{
    int rc = find_by_key(a, x, err); /* the record may have it twice */

    if (rc < 0 || x->is_here)
        return rc;
    if ((rc = find_by_moment(a, x, err)) < 0 ||
        (rc = note_remark(a->store, x->kind, x->key, x->at, true, err)) < 0 || x->is_here)
        return rc;
    a->is_extended = true;
    return store__do(
        a->store, err,
        "INSERT INTO remark(run, at, kind, key, value) VALUES(?1, ?2, ?3, ?4, ?5)",
        "idttt", a->seq, x->at, x->kind, x->key, x->value);
}

static int take_remarks(arrival *a, lx_error *err)
{
    const cJSON *list = member(a->record, "remarks");
    remark *all = lx_calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *all);
    size_t n = 0, n_new = 0;
    int rc = all ? list_remarks(a, err) : lx_oom(err);

    for (const cJSON *r = list->child; r && rc == LX_OK; r = r->next) {
        all[n] = read_remark(r);
        rc = find_by_key(a, &all[n++], err);
    }
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        if (!all[i].is_here) {
            rc = take_remark(a, &all[i], err);
            n_new += !all[i].is_here;
        }
    lx_free(all);
    return rc == LX_OK && n_new ? sort_remarks(a, err) : rc;
}

/* ---- artifacts --------------------------------------------------------------------- */

/* What is here already; `is_met`: it is one of the record's. */
static int list_artifacts(arrival *a, lx_error *err)
{
    int rc = store__exec(
        a->store,
        "CREATE TEMP TABLE IF NOT EXISTS kept(role, step, at, name, object, size,"
        " tensors, is_met);"
        "CREATE INDEX IF NOT EXISTS temp.kept_at"
        " ON kept(role, step, at, size, tensors, is_met);"
        "CREATE INDEX IF NOT EXISTS temp.kept_name"
        " ON kept(role, step, name, object, is_met, at);"
        "DELETE FROM kept",
        err);
    return rc < 0 ? rc
                  : store__do(a->store, err,
                              "INSERT INTO kept SELECT role, coalesce(step, -1), at,"
                              " name, object, size, tensor_hash, 0 FROM artifact"
                              " WHERE run=?1",
                              "i", a->seq);
}

/* An artifact of the record. */
typedef struct item {
    lx_artifact artifact;
    lx_hash hash, tensors;
    bool is_kept, is_met; /* met: it is here */
} item;

static void read_item(item *out, const cJSON *o)
{
    const char *name = lx_json_text(o, "name");

    out->artifact = (lx_artifact){.role = lx_json_text(o, "role"),
                                  .name = name ? name : "",
                                  .path = lx_json_text(o, "path"),
                                  .step = lx_json_integer(o, "step", -1),
                                  .size = lx_json_integer(o, "size", 0),
                                  .at = lx_json_number(o, "at", 0)};
    hash_at(&out->hash, o, "sha256");
    if (hash_at(&out->tensors, o, "tensors"))
        out->artifact.tensor_hash = &out->tensors;
    out->is_kept = cJSON_IsTrue(member(o, "is_kept"));
}

/* Each is one of those that are here, once: two files of the same moment are two. */
static int find_item(arrival *a, item *x, const char *sql, const char *types,
                     lx_error *err)
{
    const lx_artifact *f = &x->artifact;
    int64_t row;
    int rc = store__number(&row, 0, a->store, err, sql, types, f->role, f->step, f->at,
                           f->name, &x->hash, f->size, f->tensor_hash);

    if (rc < 0 || !row)
        return rc;
    x->is_met = true;
    return store__do(a->store, err, "UPDATE kept SET is_met=1 WHERE rowid=?1", "i", row);
}

/* From what is surely the same to what is by its moment: name and bytes may have been scrubbed, the size that is
 * recorded and the tensors were not. */
static int find_items(arrival *a, item *items, size_t n, lx_error *err)
{
    static const struct {
        const char *sql, *types;
    } looks[] = {
        {"SELECT rowid FROM kept WHERE role=?1 AND step=?2 AND name=?4 AND object=?5"
         " AND is_met=0 AND at=?3 AND size=?6 AND tensors IS ?7 LIMIT 1",
         "tidthih"},
        {"SELECT rowid FROM kept WHERE role=?1 AND step=?2"
         " AND name=?4 AND object=?5 AND is_met=0 LIMIT 1",
         "tidth"},
        {"SELECT rowid FROM kept WHERE role=?1 AND step=?2 AND at=?3 AND size=?6"
         " AND tensors IS ?7 AND is_met=0 LIMIT 1",
         "tidthih"}};
    int rc = LX_OK;

    for (size_t look = 0; look < sizeof looks / sizeof *looks; look++)
        for (size_t i = 0; i < n && rc == LX_OK; i++)
            if (!items[i].is_met)
                rc = find_item(a, &items[i], looks[look].sql, looks[look].types, err);
    return rc;
}

static int take_artifacts(arrival *a, lx_error *err)
{
    const cJSON *list = member(a->record, "artifacts");
    item *items = lx_calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *items);
    size_t n = 0;
    int rc = items ? list_artifacts(a, err) : lx_oom(err);

    for (const cJSON *o = list->child; o && rc == LX_OK; o = o->next)
        read_item(&items[n++], o);
    if (rc == LX_OK)
        rc = find_items(a, items, n, err);
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if (items[i].is_met)
            continue;
        a->is_extended = true;
        rc = store__add_artifact(a->store, a->seq, &items[i].artifact, &items[i].hash,
                                 items[i].artifact.size, items[i].is_kept, err);
    }
    lx_free(items);
    return rc;
}

/* ---- curves, the end --------------------------------------------------------------- */

static uint64_t get_le(const unsigned char *p)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

/* The points that are not here yet, after those that are. */
static int take_points(arrival *a, lx_run *run, const cJSON *curve, lx_error *err)
{
    const char *key = lx_json_text(curve, "key");
    size_t n = (size_t)lx_json_integer(curve, "n", 0), bytes;
    const void *data;
    int64_t *steps, known;
    double *values;
    lx_hash hash;
    int rc;

    hash_at(&hash, curve, "points");
    if ((rc = store__number(&known, 0, a->store, err,
                            "SELECT w.n FROM series s JOIN series_now w ON w.series=s.id"
                            " WHERE s.run=?1 AND s.key=?2",
                            "it", a->seq, key)) < 0 ||
        (n && (size_t)known >= n))
        return rc;
    if ((rc = a->fetch(a->context, &data, &bytes, &hash, err)) < 0)
        return rc;
    if (bytes / 16 != n || bytes % 16)
        return lx_fail(err, LX_EFORMAT,
                       "the curve \"%.40s\" has %zu bytes for %zu points", key, bytes, n);
    if (!n)
        return LX_OK;
    steps = lx_calloc(n, sizeof *steps);
    values = lx_calloc(n, sizeof *values);
    for (size_t k = 0; k < n && steps && values; k++) {
        uint64_t bits = get_le((const unsigned char *)data + 8 * (n + k));
        steps[k] = (int64_t)get_le((const unsigned char *)data + 8 * k);
        memcpy(&values[k], &bits, 8);
    }
    rc = steps && values ? lx_run_log_many(run, key, steps + known, values + known,
                                           n - (size_t)known, err)
                         : lx_oom(err);
    a->is_extended = true;
    lx_free(steps);
    lx_free(values);
    return rc;
}

static int take_console(arrival *a, lx_run *run, lx_error *err)
{
    lx_str here = LX_STR_INIT;
    const void *data;
    lx_hash hash;
    size_t n;
    int rc;

    if (!hash_at(&hash, a->record, "console"))
        return LX_OK;
    if ((rc = lx_query_console(&here, a->store, a->seq, 0, err)) == LX_OK &&
        (rc = a->fetch(a->context, &data, &n, &hash, err)) == LX_OK && n > here.len) {
        rc = lx_run_console(run, (const char *)data + here.len, n - here.len, err);
        a->is_extended = true;
    }
    lx_str_release(&here);
    return rc;
}

/* The whole of the console comes as an artifact, with the end. */
static bool brings_console(const cJSON *record)
{
    for (const cJSON *f = first(record, "artifacts"); f; f = f->next)
        if (strcmp(lx_json_text(f, "role"), "console") == 0 && cJSON_IsTrue(member(f, "is_kept")))
            return true;
    return false;
}

/* Points, console and the end: only of a run that has not ended here, nor is at work
 * here. What is here of a console that comes whole would become a second one. */
static int take_course(arrival *a, lx_error *err)
{
    const cJSON *end = member(a->record, "end");
    lx_run *run = NULL;
    int64_t is_closed;
    int rc =
        store__number(&is_closed, 0, a->store, err,
                      "SELECT 1 FROM run LEFT JOIN run_end ON run=seq"
                      " WHERE seq=?1 AND (status IS NOT NULL OR boot_id IS NOT NULL)",
                      "i", a->seq);

    if (rc < 0 || is_closed || (rc = lx_run_open(&run, a->store, a->seq, err)) < 0)
        return rc;
    for (const cJSON *c = first(a->record, "curves"); c && rc == LX_OK; c = c->next)
        rc = take_points(a, run, c, err);
    if (rc == LX_OK)
        rc = end && brings_console(a->record)
                 ? store__do(a->store, err, "DELETE FROM tail_text WHERE run=?1", "i", a->seq)
                 : take_console(a, run, err);
    if (rc == LX_OK && end) {
        a->is_extended = true;
        return lx_run_end_at(run, lx_json_text(end, "status"),
                             lx_json_text(end, "message"),
                             lx_json_number(end, "ended", 0), err);
    }
    if (rc == LX_OK)
        rc = lx_run_flush(run, err);
    lx_run_abandon(run);
    return rc;
}

/* ---- the whole --------------------------------------------------------------------- */

static int write_rows(lx_arrival *how, arrival *a, lx_error *err)
{
    int rc;
    *how = LX_ARRIVED_NEW;
    if ((rc = find_known(a, err)) < 0 || (rc = store__batch_add(&a->here, err)) < 0)
        return rc;
    if (a->seq)
        *how = LX_ARRIVED_KNOWN;
    else if ((rc = insert_run(a, err)) < 0)
        return rc;
    if ((rc = take_course(a, err)) < 0 || (rc = take_artifacts(a, err)) < 0 ||
        (rc = take_remarks(a, err)) < 0)
        return rc;
    if (*how == LX_ARRIVED_KNOWN && a->is_extended)
        *how = LX_ARRIVED_EXTENDED;
    return LX_OK;
}

int lx_transfer_apply(lx_arrival *how, int64_t *seq, lx_store *store, const cJSON *record,
                      lx_transfer_fetch fetch, void *context, lx_error *err)
{
    arrival a = {.store = store,
                 .record = record,
                 .fetch = fetch,
                 .context = context,
                 .batch = store__batch_of(store),
                 .here = store__batch_of(store)};
    const char *id;
    int rc;

    if ((rc = lx_transfer_check(&id, record, err)) < 0)
        return rc;
    if ((rc = bring_objects(&a, err)) == LX_OK &&
        (rc = lx_store_group_begin(store, err)) == LX_OK)
        rc = lx_store_group_end(store, write_rows(how, &a, err), err);
    store__batch_release(&a.batch);
    store__batch_release(&a.here);
    lx_free(a.followed);
    if (rc < 0)
        lx_within(err, "run %s", id);
    *seq = a.seq;
    return rc;
}
