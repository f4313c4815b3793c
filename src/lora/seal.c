#include "src/lora/seal.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/str.h"
#include "src/lora/lora.h"

enum { HURRY = 8 << 20 }; /* bytes after which the disk gets something to do */

typedef struct sealing {
    const lx_seal *seal;
    lx_sealed *out;
    lx_new_file *file;
    const lx_metadata_entry *given; /* of the first asking */
    size_t n_given;
    lx_metadata_entry *all; /* with the hashes */
    size_t n_all;
    lx_str header;
    const lx_tensor_view **sorted; /* as in the file */
    size_t written;
} sealing;

/* The entries as they are now, and the two hashes. */
static int take_metadata(sealing *s, lx_error *err)
{
    const lx_metadata_entry *entries;
    size_t n;
    int rc = s->seal->metadata(&entries, &n, s->seal->context, err);

    if (rc < 0)
        return rc;
    lx_free(s->all);
    if (!(s->all = lx_calloc(n + 2, sizeof *s->all)))
        return lx_oom(err);
    if (n)
        memcpy(s->all, entries, n * sizeof *entries);
    s->all[n] = (lx_metadata_entry){"sshs_model_hash", s->out->tensors};
    s->all[n + 1] = (lx_metadata_entry){"sshs_legacy_hash", s->out->legacy};
    s->given = entries;
    s->n_given = n;
    s->n_all = n + 2;
    return LX_OK;
}

/* ---- before the hash of the tensors is known ----------------------------------------------- */

static int put_bytes(void *context, const void *data, size_t n, lx_error *err)
{
    sealing *s = context;
    const char *from = data;
    int rc = LX_OK;

    while (n && rc == LX_OK) {
        const size_t room = HURRY - s->written % HURRY, some = n < room ? n : room;
        if ((rc = lx_new_file_write(s->file, from, some, err)) == LX_OK && some == room)
            rc = lx_new_file_hurry(s->file, err);
        s->written += some;
        from += some;
        n -= some;
    }
    return rc;
}

static int write_tensors(sealing *s, lx_error *err)
{
    const lx_seal *seal = s->seal;
    int rc = lx_safetensors_stream(put_bytes, s, NULL, seal->tensors, seal->n_tensors,
                                   s->all, s->n_all, err);

    return rc < 0 ? rc : lx_new_file_hurry(s->file, err);
}

/* With a copy, since the metadata that the writer reads hold the places of these very texts. */
static int hash_tensors(lx_sealed *found, const sealing *s, lx_error *err)
{
    const lx_lora_tensors tensors = {.views = (lx_tensor_view *)s->seal->tensors,
                                     .count = s->seal->n_tensors};

    return lx_lora_hashes(found->tensors, found->legacy, &tensors, s->given, s->n_given,
                          err);
}

static int first_work(sealing *s, lx_sealed *found, size_t i, lx_error *err)
{
    switch (i) {
    case 0: /* the longest */
        return hash_tensors(found, s, err);
    case 1:
        return write_tensors(s, err);
    default:
        return s->seal->chore(s->seal->context, i - 2, err);
    }
}

/* ---- after it ------------------------------------------------------------------------------- */

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

static int finish_file(sealing *s, lx_error *err)
{
    int rc = lx_new_file_write_over(s->file, 0, s->header.data, s->header.len, err);

    return rc < 0 ? rc : lx_new_file_commit(s->file, err);
}

/* The header with the hashes must take the room of the one without. */
static int make_header(sealing *s, lx_error *err)
{
    const lx_seal *seal = s->seal;
    size_t bytes = 0;
    int rc;

    if (!(s->sorted = lx_calloc(seal->n_tensors, sizeof *s->sorted)))
        return lx_oom(err);
    rc = lx_safetensors_header(&s->header, s->sorted, seal->tensors, seal->n_tensors,
                               s->all, s->n_all, err);

    for (size_t i = 0; i < seal->n_tensors; i++)
        bytes += seal->tensors[i].bytes;
    if (rc == LX_OK && s->header.len + bytes != s->written)
        return lx_fail(err, LX_EINTERNAL,
                       "the header has %zu bytes and not the %zu left for it",
                       s->header.len, s->written - bytes);
    return rc;
}

/* ---- both ----------------------------------------------------------------------------------- */

/* The error of the first piece in their order, whichever thread came first. */
static void keep_error(size_t *first, int *rc, lx_error *err, size_t i, int failed,
                       const lx_error *own)
{
#pragma omp critical(lx_seal_error)
    if (failed < 0 && i < *first) {
        *first = i;
        *rc = failed;
        if (err)
            *err = *own;
    }
}

static int run_first(sealing *s, lx_sealed *found, lx_error *err)
{
    size_t first = SIZE_MAX;
    int rc = LX_OK;

#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < s->seal->n_chores + 2; i++) {
        lx_error own = {0};
        keep_error(&first, &rc, err, i, first_work(s, found, i, &own), &own);
    }
    return rc;
}

static int run_last(sealing *s, lx_error *err)
{
    int rc = LX_OK;

#pragma omp parallel for schedule(static, 1)
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            rc = finish_file(s, err);
        else if (s->seal->wants_hash)
            hash_file(s);
    }
    return rc;
}

int lx_lora_seal(lx_sealed *out, const lx_seal *seal, lx_error *err)
{
    sealing s = {.seal = seal, .out = out, .header = LX_STR_INIT};
    lx_sealed found = {.tensors = ""};
    int rc;

    *out = (lx_sealed){.tensors = ""};
    memset(out->tensors, '0', LX_HASH_HEX);
    memset(out->legacy, '0', 8);
    if ((rc = take_metadata(&s, err)) < 0 ||
        (rc = lx_new_file_open(&s.file, seal->path, err)) < 0 ||
        (rc = run_first(&s, &found, err)) < 0)
        goto done;
    *out = found;
    if ((rc = take_metadata(&s, err)) < 0 || (rc = make_header(&s, err)) < 0)
        goto done;
    rc = run_last(&s, err);
done:
    lx_new_file_close(s.file);
    lx_str_release(&s.header);
    lx_free(s.sorted);
    lx_free(s.all);
    return rc;
}
