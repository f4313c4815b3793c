#include "src/lora/seal.h"

#include <pthread.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/str.h"
#include "src/lora/lora.h"

enum {
    HASHED_AT_ONCE = 1 << 20, /* bytes: what comes in meanwhile waits for no longer */
    WRITTEN_AT_ONCE = 2 << 20,
    AHEAD = 4 << 20, /* of tensors that are made, so that the hash never waits */
    HURRY = 8 << 20  /* bytes after which the disk gets something to do */
};

/* The caller's entries and the two hashes, which are zeros at first. */
typedef struct entries {
    const lx_metadata_entry *given;
    lx_metadata_entry *all;
    size_t n_given;
    char tensors[LX_HASH_HEX + 1], legacy[9];
} entries;

/* Bytes behind each other in memory as in the file. */
typedef struct run {
    const char *data;
    size_t begin, end; /* in the file, behind the header */
} run;

/* How far the tensors' bytes are hashed or written, by one thread at a time. */
typedef struct lane {
    size_t at, run; /* of the thread that has it; run: that in which `at` is */
    size_t given;   /* out, under the mutex: where it is when nobody has it */
    bool is_busy;
} lane;

typedef enum job {
    NOTHING,
    HASH,
    MAKE,
    WRITE,
    HASH_LEGACY,
    HASH_TEXT,
    MAKE_HEADER,
    FINISH,
    HASH_FILE,
    ALL_DONE
} job;

/* A job with its part of the bytes: what one thread does until it asks again. */
typedef struct order {
    job job;
    size_t n;       /* bytes, or which piece */
    bool with_text; /* HASH: both */
} order;

typedef struct sealing {
    const lx_seal *seal;
    lx_sealed *out;
    lx_new_file *file;
    entries first, last; /* before the hashes are known, and after */
    lx_str header;
    const lx_tensor_view **sorted; /* as in the file */
    run *runs;
    size_t n_runs, total; /* bytes of all tensors */
    size_t room,
        hurried; /* bytes: of the header in the file; written since the disk was told */

    /* Under the mutex: what was given out, and what came back. */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool *made; /* by piece */
    size_t n_begun, n_made,
        ready; /* pieces given out; done without a gap; bytes that are there */
    lane hashing, writing, text; /* text.run: which text, when nobody has it */
    bool legacy_begun, has_legacy, header_begun, has_header, finish_begun, is_finished,
        file_hash_begun, has_file_hash;
    int rc;
    size_t failed; /* the job, and of pieces the first, whose error it is */
    lx_error err;

    /* Of whoever has the lane. */
    lx_sha256 of_tensors, of_text;
} sealing;

static int ask(entries *e, const lx_seal *seal, lx_error *err)
{
    int rc = seal->metadata(&e->given, &e->n_given, seal->context, err);

    if (rc < 0)
        return rc;
    if (!(e->all = lx_calloc(e->n_given + 2, sizeof *e->all)))
        return lx_oom(err);
    if (e->n_given)
        memcpy(e->all, e->given, e->n_given * sizeof *e->all);
    e->all[e->n_given] = (lx_metadata_entry){"sshs_model_hash", e->tensors};
    e->all[e->n_given + 1] = (lx_metadata_entry){"sshs_legacy_hash", e->legacy};
    return LX_OK;
}

/* ---- the jobs ------------------------------------------------------------------------------- */

/* The next bytes of a lane that are together, at most n; the lane goes on behind them. */
static const char *take(size_t *taken, lane *l, const sealing *s, size_t n)
{
    while (s->runs[l->run].end == l->at)
        l->run++;
    const run *r = &s->runs[l->run];
    const char *data = r->data + (l->at - r->begin);

    *taken = r->end - l->at < n ? r->end - l->at : n;
    l->at += *taken;
    return data;
}

/* The text under way, to its end or as far as n; the next one begins a hash of its own. */
static void hash_text(sealing *s, size_t n)
{
    const lx_seal_text *t = &s->seal->texts[s->text.run];

    lx_sha256_update(&s->of_text, (const char *)t->data + s->text.at, n);
    s->text.at += n;
}

static void end_texts(sealing *s)
{
    const lx_seal *seal = s->seal;

    while (s->text.run < seal->n_texts && s->text.at == seal->texts[s->text.run].n) {
        *seal->texts[s->text.run].hash = lx_sha256_final(&s->of_text);
        lx_sha256_init(&s->of_text);
        s->text.run++;
        s->text.at = 0;
    }
}

static size_t left_of_text(const sealing *s)
{
    return s->text.run < s->seal->n_texts ? s->seal->texts[s->text.run].n - s->text.at
                                          : 0;
}

static void hash_tensors(sealing *s, size_t n, bool with_text)
{
    while (n) {
        size_t some =
            with_text && left_of_text(s) && left_of_text(s) < n ? left_of_text(s) : n;
        const char *data = take(&some, &s->hashing, s, some);
        if (with_text && left_of_text(s)) {
            const lx_seal_text *t = &s->seal->texts[s->text.run];
            lx_sha256_update_two(&s->of_tensors, data, &s->of_text,
                                 (const char *)t->data + s->text.at, some);
            s->text.at += some;
            end_texts(s);
        } else {
            lx_sha256_update(&s->of_tensors, data, some);
        }
        n -= some;
    }
}

static int write_tensors(sealing *s, size_t n, lx_error *err)
{
    int rc = LX_OK;

    while (n && rc == LX_OK) {
        size_t some;
        const char *data = take(&some, &s->writing, s, n);
        rc = lx_new_file_write(s->file, data, some, err);
        s->hurried += some;
        n -= some;
    }
    if (rc == LX_OK && (s->hurried >= HURRY || s->writing.at == s->total)) {
        s->hurried = 0;
        rc = lx_new_file_hurry(s->file, err);
    }
    return rc;
}

static int hash_legacy(sealing *s, lx_error *err)
{
    return lx_lora_legacy_hash(s->last.legacy, s->seal->tensors, s->seal->n_tensors,
                               s->first.given, s->first.n_given, err);
}

static int make_header(sealing *s, lx_error *err)
{
    const lx_seal *seal = s->seal;
    const lx_hash hash = lx_sha256_final(&s->of_tensors);
    int rc;

    lx_hash_hex(s->last.tensors, &hash);
    lx_str_clear(&s->header);
    if ((rc = ask(&s->last, seal, err)) < 0 ||
        (rc = lx_safetensors_header(&s->header, s->sorted, seal->tensors, seal->n_tensors,
                                    s->last.all, s->last.n_given + 2, err)) < 0)
        return rc;
    return s->header.len == s->room
               ? LX_OK
               : lx_fail(err, LX_EINTERNAL,
                         "%s: the header has %zu bytes and not the %zu left for it",
                         seal->path, s->header.len, s->room);
}

static int finish(sealing *s, lx_error *err)
{
    const lx_seal *seal = s->seal;
    lx_error own = {0};
    int rc, beside;

    if ((rc = lx_new_file_write_over(s->file, 0, s->header.data, s->header.len, err)) <
            0 ||
        (rc = lx_new_file_hurry(s->file, err)) < 0)
        return rc;
    beside = seal->beside ? seal->beside(seal->context, &own) : LX_OK;
    if ((rc = lx_new_file_commit(s->file, err)) == LX_OK && beside < 0)
        lx_fail_as(err, beside, &own);
    return rc < 0 ? rc : beside;
}

/* Cannot fail: by the time it could, the file may be in its place. */
static void hash_file(sealing *s)
{
    lx_sha256 hash;

    lx_sha256_init(&hash);
    lx_sha256_update(&hash, s->header.data, s->header.len);
    for (size_t i = 0; i < s->n_runs; i++)
        lx_sha256_update(&hash, s->runs[i].data, s->runs[i].end - s->runs[i].begin);
    s->out->file = lx_sha256_final(&hash);
}

static int carry_out(sealing *s, const order *o, lx_error *err)
{
    switch (o->job) {
    case HASH:
        hash_tensors(s, o->n, o->with_text);
        return LX_OK;
    case HASH_TEXT:
        hash_text(s, o->n);
        end_texts(s);
        return LX_OK;
    case MAKE:
        return s->seal->make(s->seal->context, o->n, err);
    case WRITE:
        return write_tensors(s, o->n, err);
    case HASH_LEGACY:
        return hash_legacy(s, err);
    case MAKE_HEADER:
        return make_header(s, err);
    case FINISH:
        return finish(s, err);
    case HASH_FILE:
        hash_file(s);
        return LX_OK;
    default:
        return LX_OK;
    }
}

/* ---- who does what -------------------------------------------------------------------------- */

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

/* What a lane may go on with: bytes that are made and that it has not got. */
static size_t left(const lane *l, size_t ready)
{
    return l->is_busy ? 0 : ready - l->given;
}

static bool is_through(const lane *l, const sealing *s)
{
    return !l->is_busy && l->given == s->total;
}

/* Bytes of a text that nobody is at. */
static size_t left_of_texts(const sealing *s)
{
    return s->text.is_busy ? 0 : left_of_text(s);
}

static bool has_all_hashes(const sealing *s)
{
    return s->has_legacy && is_through(&s->hashing, s) && !s->text.is_busy &&
           s->text.run == s->seal->n_texts;
}

/* The longest chain first: hashes, of the tensors and then of the file. Where two hashes take the time of one, a text
 * goes with the tensors as long as there are any. */
static order choose(const sealing *s)
{
    const lx_seal *seal = s->seal;
    const size_t hashable = left(&s->hashing, s->ready),
                 writable = left(&s->writing, s->ready);
    const bool has_pieces = s->n_begun < seal->n_pieces,
               has_pairs = lx_sha256_has_pairs();

    if (s->rc < 0 || (s->is_finished && s->has_file_hash))
        return (order){.job = ALL_DONE};
    if (hashable)
        return (order){HASH, at_most(hashable, HASHED_AT_ONCE),
                       has_pairs && left_of_texts(s)};
    if (has_all_hashes(s) && !s->header_begun)
        return (order){.job = MAKE_HEADER};
    if (s->has_header && !s->file_hash_begun && seal->wants_hash)
        return (order){.job = HASH_FILE};
    if (has_pieces && s->ready - s->hashing.given < AHEAD)
        return (order){MAKE, s->n_begun, false};
    if (writable)
        return (order){WRITE, at_most(writable, WRITTEN_AT_ONCE), false};
    if (has_pieces)
        return (order){MAKE, s->n_begun, false};
    if (s->ready == s->total && !s->legacy_begun)
        return (order){.job = HASH_LEGACY};
    if (s->has_header && is_through(&s->writing, s) && !s->finish_begun)
        return (order){.job = FINISH};
    if (left_of_texts(s) && (s->hashing.given == s->total || !has_pairs))
        return (order){HASH_TEXT, at_most(left_of_text(s), HASHED_AT_ONCE), false};
    return (order){.job = NOTHING};
}

static void begin(sealing *s, const order *o)
{
    s->hashing.is_busy |= o->job == HASH;
    s->hashing.given += o->job == HASH ? o->n : 0;
    s->text.is_busy |= o->job == HASH_TEXT || o->with_text;
    s->writing.is_busy |= o->job == WRITE;
    s->writing.given += o->job == WRITE ? o->n : 0;
    s->n_begun += o->job == MAKE;
    s->legacy_begun |= o->job == HASH_LEGACY;
    s->header_begun |= o->job == MAKE_HEADER;
    s->finish_begun |= o->job == FINISH;
    s->file_hash_begun |= o->job == HASH_FILE;
}

/* Of several errors that of the first job in the order of their names, and of pieces the first: these are begun in
 * their order, so that it is the same whichever thread is faster. */
static void keep_error(sealing *s, const order *o, int rc, const lx_error *err)
{
    const size_t failed = o->job == MAKE ? o->n : SIZE_MAX - ALL_DONE + o->job;

    if (rc < 0 && (s->rc == LX_OK || failed < s->failed)) {
        s->failed = failed;
        s->rc = rc;
        s->err = *err;
    }
}

static void end(sealing *s, const order *o, int rc, const lx_error *err)
{
    const lx_seal *seal = s->seal;

    keep_error(s, o, rc, err);
    if (o->job == HASH)
        s->hashing.is_busy = false;
    if (o->job == HASH_TEXT || o->with_text)
        s->text.is_busy = false;
    if (o->job == WRITE)
        s->writing.is_busy = false;
    if (o->job == MAKE)
        s->made[o->n] = true;
    while (s->n_made < seal->n_pieces && s->made[s->n_made])
        s->ready = seal->ends[s->n_made++];
    s->has_legacy |= o->job == HASH_LEGACY;
    s->has_header |= o->job == MAKE_HEADER;
    s->is_finished |= o->job == FINISH;
    s->has_file_hash |= o->job == HASH_FILE;
}

/* What each thread does; one alone does everything by turns. */
static void work(sealing *s)
{
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        const order o = choose(s);
        lx_error err = {0};
        int rc;
        if (o.job == ALL_DONE)
            break;
        if (o.job == NOTHING) {
            pthread_cond_wait(&s->changed, &s->mutex);
            continue;
        }
        begin(s, &o);
        pthread_mutex_unlock(&s->mutex);
        rc = carry_out(s, &o, &err);
        pthread_mutex_lock(&s->mutex);
        end(s, &o, rc, &err);
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->mutex);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int find_runs(sealing *s, lx_error *err)
{
    const size_t n = s->seal->n_tensors;

    if (!(s->runs = lx_calloc(n, sizeof *s->runs)))
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        const lx_tensor_view *t = s->sorted[i];
        run *last = s->n_runs ? &s->runs[s->n_runs - 1] : NULL;
        if (!t->bytes)
            continue;
        if (last && last->data + (last->end - last->begin) == t->data)
            last->end += t->bytes;
        else
            s->runs[s->n_runs++] = (run){t->data, s->total, s->total + t->bytes};
        s->total += t->bytes;
    }
    return LX_OK;
}

/* Everything before the bytes: the file with the room for its header. */
static int prepare(sealing *s, lx_error *err)
{
    const lx_seal *seal = s->seal;
    int rc;

    memset(s->first.tensors, '0', LX_HASH_HEX);
    memset(s->first.legacy, '0', sizeof s->first.legacy - 1);
    lx_sha256_init(&s->of_tensors);
    lx_sha256_init(&s->of_text);
    end_texts(s); /* those without a byte */
    if (!(s->sorted = lx_calloc(seal->n_tensors, sizeof *s->sorted)) ||
        !(s->made = lx_calloc(seal->n_pieces, sizeof *s->made)))
        return lx_oom(err);
    if ((rc = ask(&s->first, seal, err)) < 0 ||
        (rc = lx_new_file_open(&s->file, seal->path, err)) < 0 ||
        (rc = lx_safetensors_header(&s->header, s->sorted, seal->tensors, seal->n_tensors,
                                    s->first.all, s->first.n_given + 2, err)) < 0 ||
        (rc = find_runs(s, err)) < 0)
        return rc;
    lx_assert(!seal->n_pieces || seal->ends[seal->n_pieces - 1] == s->total);
    s->room = s->header.len;
    s->ready = seal->n_pieces ? 0 : s->total;
    s->has_file_hash = !seal->wants_hash;
    return lx_new_file_write(s->file, s->header.data, s->header.len, err);
}

int lx_lora_seal(lx_sealed *out, const lx_seal *seal, lx_error *err)
{
    sealing s = {.seal = seal,
                 .out = out,
                 .header = LX_STR_INIT,
                 .mutex = PTHREAD_MUTEX_INITIALIZER,
                 .changed = PTHREAD_COND_INITIALIZER};
    int rc;

    *out = (lx_sealed){.tensors = ""};
    if ((rc = prepare(&s, err)) < 0)
        goto done;
#pragma omp parallel
    work(&s);
    memcpy(out->tensors, s.last.tensors, sizeof out->tensors);
    memcpy(out->legacy, s.last.legacy, sizeof out->legacy);
    rc = lx_fail_as(err, s.rc, &s.err);
done:
    lx_new_file_close(s.file);
    lx_str_release(&s.header);
    lx_free(s.sorted);
    lx_free(s.runs);
    lx_free(s.made);
    lx_free(s.first.all);
    lx_free(s.last.all);
    pthread_cond_destroy(&s.changed);
    pthread_mutex_destroy(&s.mutex);
    return rc;
}
