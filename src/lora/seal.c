#include "src/lora/seal.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/str.h"
#include "src/lora/lora.h"

enum { HURRY = 8 << 20 }; /* bytes after which the disk gets something to do */

/* The caller's entries and the two hashes, which are zeros at first. */
typedef struct entries {
    const lx_metadata_entry *given;
    lx_metadata_entry *all;
    size_t n_given;
    char tensors[LX_HASH_HEX + 1], legacy[9];
} entries;

typedef struct sealing {
    const lx_seal *seal;
    lx_sealed *out;
    lx_new_file *file;
    entries first, last; /* before the hashes are known, and after */
    lx_str header;
    const lx_tensor_view **sorted; /* as in the file */
    size_t room, written;          /* bytes: of the header in the file, of all */
    size_t failed; /* of the pieces of work that failed, the first in their order */
    int rc;
    lx_error err;
} sealing;

/* Whose error counts when several fail: whichever thread came first. */
enum { HASH_TENSORS, WRITE_TENSORS, MAKE_HEADER, FINISH_FILE, FIRST_CHORE };

static void keep_error(sealing *s, size_t work, int rc, const lx_error *err)
{
#pragma omp critical(lx_seal_error)
    if (rc < 0 && (s->rc == LX_OK || work < s->failed)) {
        s->failed = work;
        s->rc = rc;
        s->err = *err;
    }
}

static bool is_failed(sealing *s)
{
    bool is;

#pragma omp critical(lx_seal_error)
    is = s->rc < 0;
    return is;
}

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

/* ---- before the hash of the tensors is known ----------------------------------------------- */

static int put_bytes(void *context, const void *data, size_t n, lx_error *err)
{
    sealing *s = context;
    const char *from = data;
    int rc = LX_OK;

    while (n && rc == LX_OK) {
        const size_t left = HURRY - s->written % HURRY, some = n < left ? n : left;
        if ((rc = lx_new_file_write(s->file, from, some, err)) == LX_OK && some == left)
            rc = lx_new_file_hurry(s->file, err);
        s->written += some;
        from += some;
        n -= some;
    }
    return rc;
}

static void write_tensors(sealing *s)
{
    const lx_seal *seal = s->seal;
    lx_error err = {0};
    int rc = lx_safetensors_stream(put_bytes, s, &s->room, seal->tensors, seal->n_tensors,
                                   s->first.all, s->first.n_given + 2, &err);

    if (rc == LX_OK)
        rc = lx_new_file_hurry(s->file, &err);
    keep_error(s, WRITE_TENSORS, rc, &err);
}

static void hash_tensors(sealing *s)
{
    const lx_lora_tensors tensors = {.views = (lx_tensor_view *)s->seal->tensors,
                                     .count = s->seal->n_tensors};
    lx_error err = {0};
    int rc = lx_lora_hashes(s->last.tensors, s->last.legacy, &tensors, s->first.given,
                            s->first.n_given, &err);

    keep_error(s, HASH_TENSORS, rc, &err);
}

static void do_chore(sealing *s, size_t i)
{
    lx_error err = {0};

    keep_error(s, FIRST_CHORE + i, s->seal->chore(s->seal->context, i, &err), &err);
}

/* ---- after it ------------------------------------------------------------------------------- */

static void make_header(sealing *s)
{
    const lx_seal *seal = s->seal;
    lx_error err = {0};
    int rc = ask(&s->last, seal, &err);

    if (rc == LX_OK && !(s->sorted = lx_calloc(seal->n_tensors, sizeof *s->sorted)))
        rc = lx_oom(&err);
    if (rc == LX_OK)
        rc = lx_safetensors_header(&s->header, s->sorted, seal->tensors, seal->n_tensors,
                                   s->last.all, s->last.n_given + 2, &err);
    keep_error(s, MAKE_HEADER, rc, &err);
}

/* Cannot fail: by the time it could, the file may be in its place. */
static void hash_file(sealing *s)
{
    lx_sha256 hash;

    lx_sha256_init(&hash);
    lx_sha256_update(&hash, s->header.data, s->header.len);
    for (size_t i = 0; i < s->seal->n_tensors; i++)
        lx_sha256_update(&hash, s->sorted[i]->data, s->sorted[i]->bytes);
    s->out->file = lx_sha256_final(&hash);
}

static int commit(sealing *s, lx_error *err)
{
    const lx_seal *seal = s->seal;
    lx_error own = {0};
    int rc, beside;

    if (s->header.len != s->room)
        return lx_fail(err, LX_EINTERNAL,
                       "%s: the header has %zu bytes and not the %zu left for it",
                       seal->path, s->header.len, s->room);
    if ((rc = lx_new_file_write_over(s->file, 0, s->header.data, s->header.len, err)) <
            0 ||
        (rc = lx_new_file_hurry(s->file, err)) < 0)
        return rc;
    beside = seal->beside ? seal->beside(seal->context, &own) : LX_OK;
    if ((rc = lx_new_file_commit(s->file, err)) == LX_OK && beside < 0)
        *err = own;
    return rc < 0 ? rc : beside;
}

static void finish_file(sealing *s)
{
    lx_error err = {0};

    if (!is_failed(s))
        keep_error(s, FINISH_FILE, commit(s, &err), &err);
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* What one thread does, from hash to hash, and what it leaves to the others. The disk may keep them waiting; the second
 * hash does not wait for it. */
static void work(sealing *s)
{
#pragma omp task depend(out : s->written)
    write_tensors(s);
#pragma omp taskgroup
    {
        for (size_t i = 0; i < s->seal->n_chores; i++) {
#pragma omp task
            do_chore(s, i);
        }
        hash_tensors(s);
    }
    if (!is_failed(s))
        make_header(s);
    if (is_failed(s))
        return;
#pragma omp task depend(inout : s->written)
    finish_file(s);
    if (s->seal->wants_hash)
        hash_file(s);
}

int lx_lora_seal(lx_sealed *out, const lx_seal *seal, lx_error *err)
{
    sealing s = {.seal = seal, .out = out, .header = LX_STR_INIT};
    int rc;

    *out = (lx_sealed){.tensors = ""};
    memset(s.first.tensors, '0', LX_HASH_HEX);
    memset(s.first.legacy, '0', sizeof s.first.legacy - 1);
    if ((rc = ask(&s.first, seal, err)) < 0 ||
        (rc = lx_new_file_open(&s.file, seal->path, err)) < 0)
        goto done;
#pragma omp parallel
#pragma omp single
    work(&s);
    memcpy(out->tensors, s.last.tensors, sizeof out->tensors);
    memcpy(out->legacy, s.last.legacy, sizeof out->legacy);
    if ((rc = s.rc) < 0 && err)
        *err = s.err;
done:
    lx_new_file_close(s.file);
    lx_str_release(&s.header);
    lx_free(s.sorted);
    lx_free(s.first.all);
    lx_free(s.last.all);
    return rc;
}
