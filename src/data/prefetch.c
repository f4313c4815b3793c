#include "src/data/prefetch.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "src/base/alloc.h"

enum { MOST_OPEN = 16 };

typedef struct slot {
    lx_prefetch_request request;
    float *values, *mask; /* of the largest bucket; mask NULL without masks */
    int rc;
    lx_error err;
} slot;

/* Open requests are slots[head ...], n_asked of them, of which the first n_done are answered. */
struct lx_prefetch {
    const lx_dataset *dataset;
    /* The thread's: */
    lx_decoder *decoder;
    lx_encode_image encode; /* NULL: pixels are what is asked for */
    void *encode_context;
    float *pixels; /* on their way to the encoder; NULL without */
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    int depth, head, n_asked, n_done;
    bool is_busy, must_end;
    slot slots[MOST_OPEN];
};

int lx_prefetch_depth(size_t largest_batch)
{
    return largest_batch < 2           ? 2
           : largest_batch > MOST_OPEN ? MOST_OPEN
                                       : (int)largest_batch;
}

static size_t largest_picture(const lx_dataset *d)
{
    size_t most = 0;

    for (size_t i = 0; i < d->n_buckets; i++) {
        const size_t n = (size_t)d->buckets[i].width * (size_t)d->buckets[i].height;
        most = n > most ? n : most;
    }
    return most;
}

/* What is made of n pixels: their colours, or mean and logvar of 4 channels of cells of 64. */
static size_t values_of(size_t n, bool is_encoded)
{
    return is_encoded ? 2 * 4 * n / 64 : 3 * n;
}

size_t lx_prefetch_bytes(const lx_dataset *d, bool is_encoded)
{
    const size_t n = largest_picture(d),
                 one = values_of(n, is_encoded) + (d->config.has_masks ? n / 64 : 0),
                 depth = (size_t)lx_prefetch_depth(lx_dataset_largest_batch(d));

    return (depth * one + (is_encoded ? 3 * n : 0)) * sizeof(float);
}

/* ---- the thread ------------------------------------------------------------------- */

static void answer(lx_prefetch *p, slot *s)
{
    const lx_image *image = s->request.image;
    const lx_bucket *b = &p->dataset->buckets[image->bucket];
    const size_t half = 4 * (size_t)(b->width / 8) * (size_t)(b->height / 8);

    s->rc = lx_image_tensor(p->encode ? p->pixels : s->values, s->mask, p->decoder,
                            p->dataset, image, &s->request.augment, &s->err);
    if (s->rc == LX_OK && p->encode)
        s->rc = p->encode(p->encode_context, p->pixels, b->width, b->height, s->values,
                          s->values + half, &s->err);
}

static void *work(void *context)
{
    lx_prefetch *p = context;

    pthread_mutex_lock(&p->lock);
    while (!p->must_end) {
        if (p->n_done == p->n_asked) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        slot *s = &p->slots[(p->head + p->n_done) % p->depth];
        p->is_busy = true;
        pthread_mutex_unlock(&p->lock);
        answer(p, s);
        pthread_mutex_lock(&p->lock);
        p->is_busy = false;
        p->n_done++;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals are the main thread's to answer. */
static int start(lx_prefetch *p, lx_error *err)
{
    sigset_t all, before;
    int failed;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&p->thread, NULL, work, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? lx_fail_errno(err, failed, "starting the thread that reads images")
                  : LX_OK;
}

/* ---- life ------------------------------------------------------------------------- */

static void release(lx_prefetch *p)
{
    lx_decoder_free(p->decoder);
    lx_free(p->pixels);
    for (int i = 0; i < MOST_OPEN; i++) {
        lx_free(p->slots[i].values);
        lx_free(p->slots[i].mask);
    }
    lx_free(p);
}

static int make_room(lx_prefetch *p, lx_error *err)
{
    const size_t n = largest_picture(p->dataset);

    if (p->encode && !(p->pixels = lx_alloc(3 * n * sizeof(float))))
        return lx_oom(err);
    for (int i = 0; i < p->depth; i++) {
        slot *s = &p->slots[i];
        if (!(s->values = lx_alloc(values_of(n, p->encode != NULL) * sizeof(float))) ||
            (p->dataset->config.has_masks &&
             !(s->mask = lx_alloc(n / 64 * sizeof(float)))))
            return lx_oom(err);
    }
    return LX_OK;
}

int lx_prefetch_new(lx_prefetch **out, const lx_dataset *d, lx_encode_image encode,
                    void *encode_context, lx_error *err)
{
    lx_prefetch *p = lx_calloc(1, sizeof *p);
    int rc;

    if (!p)
        return lx_oom(err);
    p->dataset = d;
    p->encode = encode;
    p->encode_context = encode_context;
    p->depth = lx_prefetch_depth(lx_dataset_largest_batch(d));
    if ((rc = make_room(p, err)) < 0 || (rc = lx_decoder_new(&p->decoder, err)) < 0) {
        release(p);
        return rc;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    if ((rc = start(p, err)) < 0) {
        pthread_mutex_destroy(&p->lock);
        pthread_cond_destroy(&p->changed);
        release(p);
        return rc;
    }
    *out = p;
    return LX_OK;
}

void lx_prefetch_free(lx_prefetch *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->must_end = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    release(p);
}

/* ---- requests --------------------------------------------------------------------- */

bool lx_prefetch_ask(lx_prefetch *p, const lx_prefetch_request *request)
{
    bool is_room;

    pthread_mutex_lock(&p->lock);
    is_room = p->n_asked < p->depth;
    if (is_room) {
        p->slots[(p->head + p->n_asked++) % p->depth].request = *request;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return is_room;
}

/* Locked. One that is being answered cannot be stopped. */
static void drop_all(lx_prefetch *p)
{
    p->n_asked = p->n_done + p->is_busy;
    while (p->is_busy)
        pthread_cond_wait(&p->changed, &p->lock);
    p->head = p->n_asked = p->n_done = 0;
}

/* Locked. The oldest request, answered; its slot is nobody's until the next is asked. */
static const slot *take_oldest(lx_prefetch *p)
{
    const slot *s = &p->slots[p->head];

    while (!p->n_done)
        pthread_cond_wait(&p->changed, &p->lock);
    p->head = (p->head + 1) % p->depth;
    p->n_asked--;
    p->n_done--;
    return s;
}

int lx_prefetch_take(bool *found, lx_prefetch *p, const uint64_t name[2], float *values,
                     float *mask, lx_error *err)
{
    const slot *s = NULL;
    size_t n;

    pthread_mutex_lock(&p->lock);
    if (p->n_asked && memcmp(p->slots[p->head].request.name, name, 2 * sizeof *name) == 0)
        s = take_oldest(p);
    else
        drop_all(p);
    pthread_mutex_unlock(&p->lock);
    *found = s != NULL;
    if (!s)
        return LX_OK;
    if (s->rc < 0)
        return lx_fail_as(err, s->rc, &s->err);
    const lx_bucket *b = &p->dataset->buckets[s->request.image->bucket];
    n = (size_t)b->width * (size_t)b->height;
    memcpy(values, s->values, values_of(n, p->encode != NULL) * sizeof *values);
    if (mask)
        memcpy(mask, s->mask, n / 64 * sizeof *mask);
    return LX_OK;
}
