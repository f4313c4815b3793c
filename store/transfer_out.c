/* Runs leaving a store. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/internal.h"
#include "store/transfer.h"

enum { MOST_DEPTH = 6 }; /* dataset -> folder -> caption, with room */

/* What became of an object on its way out. */
typedef struct passage {
    lx_hash from, to;
} passage;

struct lx_transfer {
    lx_store *store;
    lx_privacy *privacy;
    lx_arena *arena;
    cJSON *records;
    lx_transfer_object *objects;
    size_t n_objects, object_capacity;
    bool is_sorted;
    passage *passages; /* sorted by `from` */
    size_t n_passages, passage_capacity;
    const char **left;
    size_t n_left, left_capacity;
    const char **curves; /* that keep their names */
    size_t n_curves, curve_capacity;
    bool has_new_spec;
    bool lacks_memory; /* for a text of a record */
    bool is_unfit;     /* the last that was added */
};

int lx_transfer_new(lx_transfer **out, lx_store *store, lx_privacy *privacy,
                    lx_arena *arena, lx_error *err)
{
    lx_transfer *t = lx_calloc(1, sizeof *t);
    *out = NULL;
    if (!t || !(t->records = cJSON_CreateArray())) {
        lx_free(t);
        return lx_oom(err);
    }
    t->store = store;
    t->privacy = privacy;
    t->arena = arena;
    *out = t;
    return LX_OK;
}

void lx_transfer_free(lx_transfer *t)
{
    if (!t)
        return;
    cJSON_Delete(t->records);
    lx_free(t->objects);
    lx_free(t->passages);
    lx_free(t->left);
    lx_free(t->curves);
    lx_free(t);
}

/* ---- objects ----------------------------------------------------------------------- */

static int compare_hashes(const lx_hash *a, const lx_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static int by_hash(const void *a, const void *b)
{
    return compare_hashes(&((const lx_transfer_object *)a)->hash,
                          &((const lx_transfer_object *)b)->hash);
}

/* data NULL: of the store, where it is called `from`. */
static int add_object(lx_transfer *t, const lx_hash *hash, const lx_hash *from,
                      int64_t size, const void *data, lx_error *err)
{
    if (lx_grow(&t->objects, &t->object_capacity, t->n_objects + 1, sizeof *t->objects) <
        0)
        return lx_oom(err);
    t->objects[t->n_objects++] =
        (lx_transfer_object){.hash = *hash, .size = size, .data = data, .from = *from};
    t->is_sorted = false;
    return LX_OK;
}

static int add_bytes(lx_transfer *t, lx_hash *hash, const void *data, size_t n,
                     lx_error *err)
{
    char *kept = lx_arena_alloc(t->arena, n + 1);
    if (!kept)
        return lx_oom(err);
    memcpy(kept, data, n);
    *hash = lx_sha256_of(kept, n);
    return add_object(t, hash, hash, (int64_t)n, kept, err);
}

const lx_transfer_object *lx_transfer_objects(lx_transfer *t, size_t *n)
{
    size_t at = 0;
    if (!t->is_sorted && t->n_objects) {
        qsort(t->objects, t->n_objects, sizeof *t->objects, by_hash);
        for (size_t i = 0; i < t->n_objects; i++)
            if (!at || by_hash(&t->objects[at - 1], &t->objects[i]) != 0)
                t->objects[at++] = t->objects[i];
        t->n_objects = at;
        t->is_sorted = true;
    }
    *n = t->n_objects;
    return t->objects;
}

/* ---- passages ---------------------------------------------------------------------- */

/* The first that is not before `from`. */
static size_t passage_at(const lx_transfer *t, const lx_hash *from)
{
    size_t low = 0, high = t->n_passages;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_hashes(&t->passages[middle].from, from) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const lx_hash *passed(const lx_transfer *t, const lx_hash *from)
{
    size_t at = passage_at(t, from);
    return at < t->n_passages && lx_hash_equal(&t->passages[at].from, from)
               ? &t->passages[at].to
               : NULL;
}

static int remember(lx_transfer *t, const lx_hash *from, const lx_hash *to, lx_error *err)
{
    size_t at = passage_at(t, from);
    if (lx_grow(&t->passages, &t->passage_capacity, t->n_passages + 1,
                sizeof *t->passages) < 0)
        return lx_oom(err);
    memmove(t->passages + at + 1, t->passages + at,
            (t->n_passages - at) * sizeof *t->passages);
    t->passages[at] = (passage){*from, *to};
    t->n_passages++;
    return LX_OK;
}

/* ---- objects that texts name ------------------------------------------------------- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool store__next_hash(lx_hash *out, size_t *at, const char *text, size_t n)
{
    size_t run = 0;
    for (size_t i = *at; i <= n; i++) {
        char hex[LX_HASH_HEX + 1];
        if (i < n && is_hex(text[i])) {
            run++;
            continue;
        }
        if (run == LX_HASH_HEX) {
            memcpy(hex, text + i - LX_HASH_HEX, LX_HASH_HEX);
            hex[LX_HASH_HEX] = '\0';
            *at = i;
            return lx_hash_from_hex(out, hex);
        }
        run = 0;
    }
    return false;
}

/* ---- one object on its way --------------------------------------------------------- */

typedef enum object_kind {
    A_FILE, /* a text if its bytes look like one */
    A_TEXT, /* whatever its encoding: a console is what a program printed */
    A_LIST  /* a text, and what it names by hash travels with it */
} object_kind;

static int pass(lx_transfer *t, lx_hash *to, const lx_hash *from, const char *name,
                object_kind kind, int depth, lx_error *err);

/* Objects that a text names travel with it, first. */
static int pass_named(lx_transfer *t, const lx_str *text, int depth, lx_error *err)
{
    lx_hash named, to;
    size_t at = 0;
    int rc = LX_OK;
    while (rc == LX_OK && depth < MOST_DEPTH &&
           store__next_hash(&named, &at, lx_str_text(text), text->len)) {
        bool is_here;
        if ((rc = lx_object_exists(&is_here, t->store, &named, err)) == LX_OK && is_here)
            rc = pass(t, &to, &named, NULL, A_LIST, depth + 1, err);
    }
    return rc;
}

/* Hashes of what has another one now are written anew. */
static void rename_hashes(lx_transfer *t, lx_str *text)
{
    lx_hash named;
    size_t at = 0;
    while (store__next_hash(&named, &at, lx_str_text(text), text->len)) {
        const lx_hash *to = passed(t, &named);
        char hex[LX_HASH_HEX + 1];
        if (!to)
            continue;
        lx_hash_hex(hex, to);
        memcpy(text->data + at - LX_HASH_HEX, hex, LX_HASH_HEX);
    }
}

/* Nothing becomes of a text only for want of memory, which lx_transfer_add tells. */
static const char *scrubbed(lx_transfer *t, const char *text)
{
    const char *clean = lx_privacy_text(t->privacy, text, t->arena);
    t->lacks_memory |= *text && !*clean;
    return clean;
}

/* Private words in what cannot be rewritten are told, not changed. */
static int tell_left(lx_transfer *t, const char *name, lx_error *err)
{
    if (!name)
        return LX_OK;
    if (lx_grow(&t->left, &t->left_capacity, t->n_left + 1, sizeof *t->left) < 0)
        return lx_oom(err);
    t->left[t->n_left++] = scrubbed(t, name);
    return LX_OK;
}

static bool is_text_of(object_kind kind, const lx_str *bytes)
{
    return lx_privacy_is_text(lx_str_text(bytes), bytes->len) ||
           (kind != A_FILE && (!memchr(bytes->data, '\0', bytes->len) ||
                               lx_utf8_check(bytes->data, bytes->len) == bytes->len));
}

/* A text: of any encoding in which ASCII is ASCII. */
static lx_scrubbing scrub(lx_str *out, lx_privacy *p, bool is_text, const lx_str *bytes)
{
    if (!is_text)
        return lx_privacy_scrub_file(out, p, lx_str_text(bytes), bytes->len);
    return !lx_privacy_is_off(p) && lx_privacy_scrub(out, p, lx_str_text(bytes), bytes->len)
               ? LX_SCRUB_CHANGED
               : LX_SCRUB_CLEAN;
}

static object_kind kind_of(const char *role)
{
    return store__is_text_role(role) ? A_TEXT : A_FILE;
}

lx_scrubbing lx_transfer_scrub(lx_str *out, lx_privacy *p, const char *role,
                               const lx_str *bytes)
{
    return scrub(out, p, is_text_of(kind_of(role), bytes), bytes);
}

/* from -> to; what changes is kept in the arena, what does not is taken from the store
 * when written. */
static int pass(lx_transfer *t, lx_hash *to, const lx_hash *from, const char *name,
                object_kind kind, int depth, lx_error *err)
{
    lx_str bytes = LX_STR_INIT, clean = LX_STR_INIT;
    const lx_hash *known = passed(t, from);
    const lx_str *kept;
    lx_scrubbing how;
    bool is_text;
    int rc;

    if (known) {
        *to = *known;
        return LX_OK;
    }
    if ((rc = lx_object_get(&bytes, t->store, from, err)) < 0)
        goto done;
    *to = *from;
    is_text = is_text_of(kind, &bytes);
    if (is_text && kind == A_LIST && (rc = pass_named(t, &bytes, depth, err)) < 0)
        goto done;
    if (is_text)
        rename_hashes(t, &bytes);
    how = scrub(&clean, t->privacy, is_text, &bytes);
    kept = how == LX_SCRUB_CHANGED ? &clean : &bytes;
    if ((how == LX_SCRUB_LEFT && (rc = tell_left(t, name, err)) < 0) ||
        (rc = lx_str_check(&clean, err)) < 0)
        goto done;
    if (is_text || how == LX_SCRUB_CHANGED)
        *to = lx_sha256_of(lx_str_text(kept), kept->len);
    /* A file that is rewritten may be large: it is rewritten again when it is written. */
    if (is_text && !lx_hash_equal(to, from))
        rc = add_bytes(t, to, lx_str_text(kept), kept->len, err);
    else
        rc = add_object(t, to, from, (int64_t)kept->len, NULL, err);
    if (rc == LX_OK)
        rc = remember(t, from, to, err);
done:
    lx_str_release(&bytes);
    lx_str_release(&clean);
    return rc;
}

/* ---- a record ---------------------------------------------------------------------- */

static void add_text(lx_transfer *t, cJSON *o, const char *key, const char *text)
{
    if (*text)
        cJSON_AddStringToObject(o, key, scrubbed(t, text));
}

static void add_hash(cJSON *o, const char *key, const lx_hash *hash)
{
    char hex[LX_HASH_HEX + 1];
    lx_hash_hex(hex, hash);
    cJSON_AddStringToObject(o, key, hex);
}

/* The run's texts. The dataset goes before the spec, which names it by hash. */
static int add_texts(lx_transfer *t, cJSON *record, const lx_run_row *run, lx_error *err)
{
    static const char sql[] =
        "SELECT dataset, git, spec, command_line, flags_given, flags,"
        " base_model, environment, diff FROM run WHERE seq=?1";
    static const char *const keys[] = {"dataset",      "git",         "spec",
                                       "command_line", "flags_given", "flags",
                                       "base_model",   "environment", "diff"};
    enum { N = sizeof keys / sizeof *keys, N_FOLLOWED = 2, SPEC = 2 };
    cJSON *texts = cJSON_AddObjectToObject(record, "texts");
    lx_hash hashes[N], to;
    bool is_there[N] = {false};
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, t->store, err, sql, "i", run->seq);

    if (store__row(&rc, t->store, stmt, err))
        for (int i = 0; i < N; i++)
            is_there[i] = store__hash(&hashes[i], stmt, i);
    store__finish(t->store, stmt);
    for (int i = 0; i < N && rc == LX_OK; i++) {
        if (!is_there[i])
            continue;
        if ((rc = pass(t, &to, &hashes[i], keys[i], i < N_FOLLOWED ? A_LIST : A_TEXT, 0,
                       err)) < 0)
            break;
        add_hash(texts, keys[i], &to);
        t->has_new_spec |= i == SPEC && !lx_hash_equal(&to, &hashes[i]);
    }
    return rc;
}

static int add_remarks(lx_transfer *t, cJSON *record, const lx_run_row *run,
                       lx_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(record, "remarks");
    sqlite3_stmt *stmt;
    int rc;

    if (!list)
        return lx_oom(err);
    rc = store__query(&stmt, t->store, err,
                      "SELECT at, kind, key, value FROM remark WHERE run=?1"
                      " AND kind NOT IN ('pin', 'trash') ORDER BY at, seq",
                      "i", run->seq);
    while (store__row(&rc, t->store, stmt, err)) {
        cJSON *item = cJSON_CreateArray();
        cJSON_AddItemToArray(list, item);
        cJSON_AddItemToArray(item, cJSON_CreateNumber(sqlite3_column_double(stmt, 0)));
        for (int i = 1; i < 4; i++) {
            const char *text = (const char *)sqlite3_column_text(stmt, i);
            if (text && i > 1) /* the kind is a word of lx's, whoever is called so, too */
                text = scrubbed(t, text);
            cJSON_AddItemToArray(item, text ? cJSON_CreateString(text) : cJSON_CreateNull());
        }
    }
    store__finish(t->store, stmt);
    return rc;
}

static int add_artifacts(lx_transfer *t, cJSON *record, const lx_run_row *run,
                         lx_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(record, "artifacts");
    lx_artifact_row *rows;
    size_t n;
    int rc =
        list ? lx_query_artifacts(&rows, &n, t->store, run, t->arena, err) : lx_oom(err);

    for (size_t i = 0; rc == LX_OK && i < n; i++) {
        cJSON *o = cJSON_CreateObject();
        lx_hash hash, to;
        cJSON_AddItemToArray(list, o);
        if (!lx_hash_from_hex(&hash, rows[i].object))
            return lx_fail(err, LX_EFORMAT, "run %s: an artifact has no hash", run->id);
        to = hash;
        if (rows[i].is_kept &&
            (rc = pass(t, &to, &hash, rows[i].name, kind_of(rows[i].role), 0, err)) < 0)
            return rc;
        cJSON_AddStringToObject(o, "role", rows[i].role); /* a word of lx's */
        add_text(t, o, "name", rows[i].name);
        add_text(t, o, "path", rows[i].path);
        add_hash(o, "sha256", &to);
        if (*rows[i].tensor_hash)
            cJSON_AddStringToObject(o, "tensors", rows[i].tensor_hash);
        cJSON_AddNumberToObject(o, "size", (double)rows[i].size);
        cJSON_AddNumberToObject(o, "step", (double)rows[i].step);
        cJSON_AddNumberToObject(o, "at", rows[i].at);
        cJSON_AddBoolToObject(o, "is_kept", rows[i].is_kept);
    }
    return rc;
}

static void put_le(lx_str *out, uint64_t x)
{
    char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(x >> (8 * i));
    lx_str_append(out, bytes, 8);
}

/* A curve is known by its name, which stays as it is: where something private is in it, that is told, once. */
static int tell_curve(lx_transfer *t, const char *key, lx_error *err)
{
    const char *clean;

    lx_privacy_set_counting(t->privacy, false); /* it is not taken out */
    clean = scrubbed(t, key);
    lx_privacy_set_counting(t->privacy, true);
    if (t->lacks_memory || strcmp(clean, key) == 0)
        return LX_OK;
    for (size_t i = 0; i < t->n_curves; i++)
        if (strcmp(t->curves[i], clean) == 0)
            return LX_OK;
    if (lx_grow(&t->curves, &t->curve_capacity, t->n_curves + 1, sizeof *t->curves) < 0)
        return lx_oom(err);
    t->curves[t->n_curves++] = clean;
    return LX_OK;
}

static int add_curves(lx_transfer *t, cJSON *record, const lx_run_row *run, lx_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(record, "curves");
    lx_curve *curves;
    size_t n;
    int rc =
        list ? lx_query_curves(&curves, &n, t->store, run, t->arena, err) : lx_oom(err);

    for (size_t i = 0; rc == LX_OK && i < n; i++) {
        cJSON *o = cJSON_CreateObject();
        lx_str bytes = LX_STR_INIT;
        lx_hash hash;
        cJSON_AddItemToArray(list, o);
        for (size_t k = 0; k < curves[i].n; k++)
            put_le(&bytes, (uint64_t)curves[i].steps[k]);
        for (size_t k = 0; k < curves[i].n; k++) {
            uint64_t bits;
            memcpy(&bits, &curves[i].values[k], 8);
            put_le(&bytes, bits);
        }
        if ((rc = lx_str_check(&bytes, err)) == LX_OK &&
            (rc = add_bytes(t, &hash, lx_str_text(&bytes), bytes.len, err)) == LX_OK)
            rc = tell_curve(t, curves[i].key, err);
        lx_str_release(&bytes);
        cJSON_AddStringToObject(o, "key", curves[i].key);
        cJSON_AddNumberToObject(o, "n", (double)curves[i].n);
        if (rc == LX_OK)
            add_hash(o, "points", &hash);
    }
    return rc;
}

/* What a run that never ended had printed. */
static int add_console(lx_transfer *t, cJSON *record, const lx_run_row *run,
                       lx_error *err)
{
    lx_str text = LX_STR_INIT, clean = LX_STR_INIT;
    lx_hash hash;
    int rc = LX_OK;

    if (run->ended > 0)
        return LX_OK;
    rc = lx_query_console(&text, t->store, run->seq, 0, err);
    if (rc == LX_OK && text.len) {
        lx_privacy_scrub(&clean, t->privacy, lx_str_text(&text), text.len);
        if ((rc = lx_str_check(&clean, err)) == LX_OK &&
            (rc = add_bytes(t, &hash, lx_str_text(&clean), clean.len, err)) == LX_OK)
            add_hash(record, "console", &hash);
    }
    lx_str_release(&text);
    lx_str_release(&clean);
    return rc;
}

static void add_end(lx_transfer *t, cJSON *record, const lx_run_row *run)
{
    cJSON *end;
    if (!(run->ended > 0))
        return;
    end = cJSON_AddObjectToObject(record, "end");
    cJSON_AddNumberToObject(end, "ended", run->ended);
    cJSON_AddStringToObject(end, "status", run->status);
    add_text(t, end, "message", run->message);
}

/* The name at the start; a newer one is a remark. */
static int first_name(const char **out, lx_transfer *t, const lx_run_row *run,
                      lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, t->store, err, "SELECT name FROM run WHERE seq=?1", "i",
                          run->seq);
    *out = NULL;
    if (store__row(&rc, t->store, stmt, err)) {
        if (!(*out = store__text(t->arena, stmt, 0)))
            rc = lx_oom(err);
    } else if (rc == LX_OK) {
        rc = lx_fail(err, LX_ENOTFOUND, "it is no longer in the store");
    }
    store__finish(t->store, stmt);
    return rc;
}

int lx_transfer_add(lx_transfer *t, const lx_run_row *run, lx_error *err)
{
    cJSON *record = cJSON_CreateObject();
    const char *name = NULL, *id;
    int rc = record ? first_name(&name, t, run, err) : lx_oom(err);

    t->is_unfit = false;
    if (rc < 0)
        goto done;
    cJSON_AddStringToObject(record, "id", run->id);
    cJSON_AddStringToObject(record, "kind", run->kind);
    add_text(t, record, "name", name);
    add_text(t, record, "origin", run->origin);
    add_text(t, record, "parent", run->parent);
    add_text(t, record, "seed", run->seed);
    cJSON_AddNumberToObject(record, "started", run->started);
    add_end(t, record, run);
    if ((rc = add_texts(t, record, run, err)) < 0 ||
        (rc = add_remarks(t, record, run, err)) < 0 ||
        (rc = add_artifacts(t, record, run, err)) < 0 ||
        (rc = add_curves(t, record, run, err)) < 0 ||
        (rc = add_console(t, record, run, err)) < 0)
        goto done;
    /* What could not be added without memory is missing in it. */
    if ((rc = t->lacks_memory ? lx_oom(err) : lx_json_check(err)) < 0)
        goto done;
    if ((rc = lx_transfer_check(&id, record, err)) < 0) {
        t->is_unfit = true;
        cJSON_Delete(record);
        return rc; /* which names the run */
    }
    cJSON_AddItemToArray(t->records, record);
    record = NULL;
done:
    cJSON_Delete(record);
    if (rc < 0)
        lx_within(err, "run %s", run->id);
    return rc;
}

bool lx_transfer_is_unfit(const lx_transfer *t)
{
    return t->is_unfit;
}

int lx_transfer_learn(lx_transfer *t, const lx_run_row *run, lx_error *err)
{
    lx_run_texts texts;
    int rc = lx_query_texts(&texts, t->store, run, t->arena, err);
    const char *const all[] = {run->name,          run->message,      run->origin,
                               texts.command_line, texts.flags_given, texts.flags,
                               texts.base_model,   texts.environment, texts.git,
                               texts.diff};
    for (size_t i = 0; rc == LX_OK && i < sizeof all / sizeof *all; i++)
        if (all[i])
            lx_privacy_learn(t->privacy, all[i], strlen(all[i]));
    return rc;
}

const cJSON *lx_transfer_records(const lx_transfer *t)
{
    return t->records;
}

const char *const *lx_transfer_left(const lx_transfer *t, size_t *n)
{
    *n = t->n_left;
    return t->left;
}

const char *const *lx_transfer_curves(const lx_transfer *t, size_t *n)
{
    *n = t->n_curves;
    return t->curves;
}

bool lx_transfer_has_new_spec(const lx_transfer *t)
{
    return t->has_new_spec;
}

int lx_transfer_bytes(const void **data, size_t *n, lx_str *room, lx_transfer *t,
                      const lx_transfer_object *o, lx_error *err)
{
    lx_str clean = LX_STR_INIT;
    lx_hash found;
    int rc;

    *data = o->data;
    *n = (size_t)o->size;
    if (o->data)
        return LX_OK;
    if ((rc = lx_object_get(room, t->store, &o->from, err)) < 0)
        return rc;
    if (!lx_hash_equal(&o->from, &o->hash)) {
        lx_privacy_set_counting(t->privacy, false);
        lx_privacy_scrub_file(&clean, t->privacy, lx_str_text(room), room->len);
        lx_privacy_set_counting(t->privacy, true);
        lx_str_release(room);
        *room = clean;
        if ((rc = lx_str_check(room, err)) < 0)
            return rc;
        found = lx_sha256_of(lx_str_text(room), room->len);
        if (!lx_hash_equal(&found, &o->hash)) /* a name was learned in between */
            return lx_fail(err, LX_EINTERNAL,
                           "a file was not scrubbed twice the same way");
    }
    *data = lx_str_text(room);
    *n = room->len;
    return LX_OK;
}
