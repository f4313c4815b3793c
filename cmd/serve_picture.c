/*
 * Pictures of a run for lx serve: training images and samples as JPEGs.
 *
 * Whatever a file calls itself, a browser gets pixels that were decoded by a process of
 * their own and written anew. That is slow enough to be done by a few threads at a time,
 * which keep their decoders (a decoder's process ends with the thread that began it, and
 * a connection's thread ends soon), and what they made is kept for a while.
 */
#include <pthread.h>
#include <string.h>

#include "cmd/serve.h"
#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/dataset.h"

enum {
    THREADS = 2,
    KEPT = 1024, /* pictures */
    KEPT_BYTES = 64 << 20,
    IMAGE_SIDE = 320,
    SAMPLE_SIDE = 512,
    FULL_SIDE = 4096
};

/* One picture that is wanted, on the stack of the thread that waits for it. */
typedef struct job {
    struct job *next;
    const lx_run_row *run;
    const char *sha256;
    bool is_sample;
    int side;
    bool is_done;
    int rc;
    lx_str jpeg; /* empty: `missing` says why; both the waiter's */
    char missing[64];
    lx_error err;
} job;

typedef struct print {
    lx_hash hash;
    int side;
    char *bytes;
    size_t n;
    unsigned long used; /* the larger, the later */
} print;

struct lx_serve_darkroom {
    lx_serve_view *view;
    pthread_mutex_t mutex;
    pthread_cond_t wanted, done;
    pthread_t threads[THREADS];
    size_t n_threads;
    bool is_closing;
    job *first, **last;
    print kept[KEPT];
    size_t n_kept, kept_bytes;
    unsigned long clock;
};

/* ---- what was made lately; under the mutex ----------------------------------------- */

static print *find_print(lx_serve_darkroom *d, const lx_hash *hash, int side)
{
    for (size_t i = 0; i < d->n_kept; i++)
        if (d->kept[i].side == side && lx_hash_equal(&d->kept[i].hash, hash))
            return &d->kept[i];
    return NULL;
}

static void drop_oldest(lx_serve_darkroom *d)
{
    size_t oldest = 0;
    for (size_t i = 1; i < d->n_kept; i++)
        if (d->kept[i].used < d->kept[oldest].used)
            oldest = i;
    d->kept_bytes -= d->kept[oldest].n;
    lx_free(d->kept[oldest].bytes);
    d->kept[oldest] = d->kept[--d->n_kept];
}

/* Keeping is a favour: without memory it is not done. */
static void keep_print(lx_serve_darkroom *d, const lx_hash *hash, int side,
                       const lx_str *jpeg)
{
    char *bytes;

    if (jpeg->len > KEPT_BYTES / 8 || find_print(d, hash, side) ||
        !(bytes = lx_alloc(jpeg->len)))
        return;
    memcpy(bytes, jpeg->data, jpeg->len);
    while (d->n_kept && (d->n_kept == KEPT || d->kept_bytes + jpeg->len > KEPT_BYTES))
        drop_oldest(d);
    d->kept[d->n_kept++] = (print){*hash, side, bytes, jpeg->len, ++d->clock};
    d->kept_bytes += jpeg->len;
}

/* ---- making one -------------------------------------------------------------------- */

static int make_sample(lx_report_picture *out, lx_collector *c, const job *j,
                       lx_error *err)
{
    lx_artifact_row *rows;
    lx_str bytes = LX_STR_INIT;
    lx_hash hash;
    size_t n, at = 0;
    int rc = lx_query_artifacts(&rows, &n, c->store, j->run, c->arena, err);

    while (rc == LX_OK && at < n &&
           (strcmp(rows[at].role, "sample") || strcmp(rows[at].object, j->sha256)))
        at++;
    if (rc < 0)
        return rc;
    if (at == n)
        return lx_fail(err, LX_ENOTFOUND, "this run has no such sample");
    rc = lx_hash_from_hex(&hash, j->sha256) ? lx_object_get(&bytes, c->store, &hash, err)
                                            : LX_ENOTFOUND;
    if (rc < 0 && rc != LX_ENOMEM) {
        out->missing = "not in the store";
        rc = LX_OK;
    } else if (rc == LX_OK) {
        rc = lx_report_picture_of(out, c, NULL, bytes.data, bytes.len, j->side, err);
    }
    lx_str_release(&bytes);
    return rc;
}

/* The folder of images as the run's flags name it. In the arena. */
static int data_folder(const char **out, lx_collector *c, int64_t run,
                       const lx_run_texts *texts, bool is_reg, lx_error *err)
{
    cJSON *flags = NULL;
    int rc = LX_OK;

    *out = NULL;
    if (texts->flags)
        rc = lx_json_parse(&flags, texts->flags, strlen(texts->flags), err);
    if (rc < 0)
        return rc == LX_ENOMEM ? rc : LX_OK; /* damaged: not known */
    rc = lx_report_data_dir(
        out, c, run, lx_json_text(flags, is_reg ? "reg_data_dir" : "train_data_dir"),
        err);
    cJSON_Delete(flags);
    return rc;
}

static int make_image(lx_report_picture *out, lx_collector *c, const job *j,
                      lx_error *err)
{
    lx_dataset_rows data = {0};
    lx_run_texts texts;
    const char *folder;
    int rc;

    if ((rc = lx_query_texts(&texts, c->store, j->run, c->arena, err)) < 0 ||
        (texts.dataset &&
         (rc = lx_store_dataset_get(&data, c->store, texts.dataset, c->arena, err)) < 0))
        return rc;
    for (size_t f = 0; f < data.n_folders; f++)
        for (size_t i = 0; i < data.folders[f].n_images; i++) {
            const lx_dataset_image_row *image = &data.folders[f].images[i];
            if (strcmp(image->hash, j->sha256) != 0)
                continue;
            rc =
                data_folder(&folder, c, j->run->seq, &texts, data.folders[f].is_reg, err);
            return rc < 0 ? rc
                          : lx_report_image(out, c, folder, data.folders[f].name,
                                            image->name, j->sha256, j->side, err);
        }
    return lx_fail(err, LX_ENOTFOUND, "this run was not trained on such an image");
}

static void work(lx_serve_darkroom *d, job *j, lx_decoder *decoder)
{
    lx_collector c = {.store = d->view->store, .decoder = decoder};
    lx_report_picture made = {0};

    if (!(c.arena = lx_arena_new())) {
        j->rc = lx_oom(&j->err);
        return;
    }
    j->rc = j->is_sample ? make_sample(&made, &c, j, &j->err)
                         : make_image(&made, &c, j, &j->err);
    if (j->rc == LX_OK && made.bytes)
        lx_str_append(&j->jpeg, made.bytes, made.n_bytes);
    else if (j->rc == LX_OK)
        strncpy(j->missing, made.missing ? made.missing : "cannot be shown",
                sizeof j->missing - 1);
    if (j->rc == LX_OK)
        j->rc = lx_str_check(&j->jpeg, &j->err);
    lx_arena_free(c.arena);
}

static void *develop(void *context)
{
    lx_serve_darkroom *d = context;
    lx_decoder *decoder = NULL;
    lx_hash hash;
    job *j;

    lx_decoder_new(&decoder, NULL);
    pthread_mutex_lock(&d->mutex);
    for (;;) {
        while (!d->first && !d->is_closing)
            pthread_cond_wait(&d->wanted, &d->mutex);
        if (!(j = d->first)) /* what waits is done first */
            break;
        if (!(d->first = j->next))
            d->last = &d->first;
        pthread_mutex_unlock(&d->mutex);
        if (decoder)
            work(d, j, decoder);
        else
            j->rc = lx_oom(&j->err);
        pthread_mutex_lock(&d->mutex);
        if (j->rc == LX_OK && j->jpeg.len && lx_hash_from_hex(&hash, j->sha256))
            keep_print(d, &hash, j->side, &j->jpeg);
        j->is_done = true;
        pthread_cond_broadcast(&d->done);
    }
    pthread_mutex_unlock(&d->mutex);
    lx_decoder_free(decoder);
    return NULL;
}

/* ---- its life ---------------------------------------------------------------------- */

int lx_serve_darkroom_new(lx_serve_darkroom **out, lx_serve_view *view, lx_error *err)
{
    lx_serve_darkroom *d = lx_calloc(1, sizeof *d);

    if (!(*out = d))
        return lx_oom(err);
    d->view = view;
    d->last = &d->first;
    pthread_mutex_init(&d->mutex, NULL);
    pthread_cond_init(&d->wanted, NULL);
    pthread_cond_init(&d->done, NULL);
    while (d->n_threads < THREADS &&
           pthread_create(&d->threads[d->n_threads], NULL, develop, d) == 0)
        d->n_threads++;
    return d->n_threads ? LX_OK : lx_fail(err, LX_EIO, "no thread for pictures");
}

void lx_serve_darkroom_free(lx_serve_darkroom *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->mutex);
    d->is_closing = true;
    pthread_cond_broadcast(&d->wanted);
    pthread_mutex_unlock(&d->mutex);
    for (size_t i = 0; i < d->n_threads; i++)
        pthread_join(d->threads[i], NULL);
    while (d->n_kept)
        drop_oldest(d);
    pthread_cond_destroy(&d->wanted);
    pthread_cond_destroy(&d->done);
    pthread_mutex_destroy(&d->mutex);
    lx_free(d);
}

/* ---- asking for one ---------------------------------------------------------------- */

/* From what is kept, else by one of the threads. */
static void wait_for(lx_serve_darkroom *d, job *j, const lx_hash *hash)
{
    print *kept;

    pthread_mutex_lock(&d->mutex);
    if ((kept = find_print(d, hash, j->side))) {
        kept->used = ++d->clock;
        lx_str_append(&j->jpeg, kept->bytes, kept->n);
        j->rc = lx_str_check(&j->jpeg, &j->err);
    } else {
        *d->last = j;
        d->last = &j->next;
        pthread_cond_signal(&d->wanted);
        while (!j->is_done)
            pthread_cond_wait(&d->done, &d->mutex);
    }
    pthread_mutex_unlock(&d->mutex);
}

/* In place of a picture: a browser shows nothing of a failed one but a broken frame. */
static void put_missing(lx_str *out, const char *why)
{
    lx_str_puts(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"160\" "
                     "height=\"160\" viewBox=\"0 0 160 160\"><rect width=\"160\" "
                     "height=\"160\" fill=\"#888\" opacity=\".15\"/><text x=\"80\" "
                     "y=\"84\" text-anchor=\"middle\" font-family=\"sans-serif\" "
                     "font-size=\"12\" fill=\"#888\">");
    lx_escape_html(out, why, strlen(why));
    lx_str_puts(out, "</text></svg>\n");
}

int lx_serve_picture(lx_serve_reply *reply, lx_serve_view *view,
                     const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    bool is_full = lx_serve_value(request, "full") != NULL;
    char hex[LX_HASH_HEX + 1];
    lx_run_row row;
    lx_hash hash;
    job j = {.run = &row, .is_sample = strcmp(request->parts[2], "sample") == 0};
    int rc;

    if (!lx_hash_from_hex(&hash, request->parts[3]))
        return lx_fail(err, LX_ENOTFOUND, "a picture is named by its SHA-256");
    lx_hash_hex(hex, &hash);
    if ((rc = lx_serve_run_find(&row, view, request, 1, arena, err)) < 0)
        return rc;
    j.sha256 = hex;
    j.side = is_full ? FULL_SIDE : j.is_sample ? SAMPLE_SIDE : IMAGE_SIDE;
    wait_for(view->darkroom, &j, &hash);
    if (j.rc < 0) {
        lx_str_release(&j.jpeg);
        return lx_fail_as(err, j.rc, &j.err);
    }
    if (j.jpeg.len) {
        reply->type = "image/jpeg";
        reply->body = j.jpeg;
    } else {
        reply->type = "image/svg+xml";
        put_missing(&reply->body, j.missing);
    }
    return lx_str_check(&reply->body, err);
}
