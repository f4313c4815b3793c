/* Updates whose states stay on the GPU (kernels/update.h), by the kernels of train.cu. */
#include "kernels/update.h"

#include <string.h>

#include "kernels/cuda/train.h"
#include "src/base/alloc.h"

/* A tensor's states on both sides. */
typedef struct moments {
    lx_update_tensor host;
    lx_cuda_tensor device;
} moments;

struct lx_update {
    lx_device *dev;
    lx_update_rule rule;
    moments *all;
    size_t n_all;
    int n_groups;
    float max_norm;
    lx_cuda_betas betas;
    lx_cuda_trainables trainables; /* on the device, with all below */
    lx_cuda_rates *rates;
    lx_cuda_gradients *found;
    double *scratch;
    float *maps;
    double b1, b2;
    lx_update_scaling *scaling; /* the host's; NULL = none */
    float *loss_scale;
    int *steps; /* [2]: train.h */
};

enum { SCALE_INTERVAL = 2000 };

static int move(lx_update *u, void *host, void *device, size_t bytes, bool is_sent,
                lx_error *err)
{
    if (!host || !device)
        return LX_OK;
    return is_sent ? u->dev->upload(u->dev, device, host, bytes, err)
                   : u->dev->download(u->dev, host, device, bytes, err);
}

static int move_scaling(lx_update *u, bool is_sent, lx_error *err)
{
    float scale = 0;
    int steps[2] = {0}, rc;

    if (!u->scaling)
        return LX_OK;
    if (is_sent) {
        scale = (float)u->scaling->scale;
        steps[0] = (int)u->scaling->n_in_a_row;
        steps[1] = (int)u->scaling->n_left_out;
    }
    if ((rc = move(u, &scale, u->loss_scale, sizeof scale, is_sent, err)) < 0 ||
        (rc = move(u, steps, u->steps, sizeof steps, is_sent, err)) < 0)
        return rc;
    *u->scaling = (lx_update_scaling){scale, steps[0], steps[1]};
    return LX_OK;
}

/* ---- opening ------------------------------------------------------------------------ */

static int zeros(lx_update *u, void *out, size_t bytes, lx_error *err)
{
    void **memory = out;
    return u->dev->alloc(u->dev, memory, bytes, err);
}

/* `bytes` of the host's on the device. */
static int copied(lx_update *u, void *out, const void *from, size_t bytes, lx_error *err)
{
    void **memory = out;
    const int rc = zeros(u, out, bytes, err);

    return rc < 0 ? rc : u->dev->upload(u->dev, *memory, from, bytes, err);
}

static size_t n_blocks(const lx_update_tensor *t)
{
    return (t->n + LX_CUDA_CODES - 1) / LX_CUDA_CODES;
}

static int make_tensor(lx_update *u, moments *m, lx_error *err)
{
    const lx_update_tensor *t = &m->host;
    lx_cuda_tensor *d = &m->device;
    int rc = LX_OK;

    *d = (lx_cuda_tensor){.value = t->value,
                          .gradient = t->gradient,
                          .narrow = t->narrow,
                          .narrow_dtype = (int)t->narrow_dtype,
                          .group = t->group,
                          .n = (int64_t)t->n};
    if (!t->m_most) {
        rc = zeros(u, &d->m, t->n * sizeof(float), err);
        return rc < 0 || !t->v ? rc : zeros(u, &d->v, t->n * sizeof(float), err);
    }
    if ((rc = zeros(u, &d->m_codes, t->n, err)) < 0 ||
        (rc = zeros(u, &d->m_most, n_blocks(t) * sizeof(float), err)) < 0 || !t->v)
        return rc;
    rc = zeros(u, &d->v_codes, t->n, err);
    return rc < 0 ? rc : zeros(u, &d->v_most, n_blocks(t) * sizeof(float), err);
}

static int make_tables(lx_update *u, lx_error *err)
{
    lx_cuda_tensor *tensors = lx_calloc(u->n_all + 1, sizeof *tensors);
    lx_cuda_chunk *chunks = NULL;
    size_t n = 0, capacity = 0;
    int rc = tensors ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < u->n_all && rc == LX_OK; i++) {
        const size_t pieces = (u->all[i].host.n + LX_CUDA_CHUNK - 1) / LX_CUDA_CHUNK;
        tensors[i] = u->all[i].device;
        if (lx_grow(&chunks, &capacity, n + pieces + 1, sizeof *chunks) < 0)
            rc = lx_oom(err);
        for (size_t k = 0; k < pieces && rc == LX_OK; k++)
            chunks[n++] = (lx_cuda_chunk){(int32_t)i, (int32_t)k};
    }
    u->trainables.n_chunks = (int)n;
    if (rc == LX_OK &&
        (rc = copied(u, &u->trainables.tensors, tensors, u->n_all * sizeof *tensors,
                     err)) == LX_OK &&
        (rc = copied(u, &u->trainables.chunks, chunks, n * sizeof *chunks, err)) == LX_OK)
        rc = zeros(u, &u->scratch, (n + 1) * sizeof *u->scratch, err);
    lx_free(tensors);
    lx_free(chunks);
    return rc;
}

static void close_update(lx_update *u)
{
    lx_error unheard = {0};

    if (!u)
        return;
    u->dev->sync(u->dev, &unheard); /* after an error something may still be queued */
    for (size_t i = 0; i < u->n_all; i++) {
        const lx_cuda_tensor *d = &u->all[i].device;
        void *of[] = {d->m, d->v, d->m_codes, d->v_codes, d->m_most, d->v_most};
        for (size_t k = 0; k < sizeof of / sizeof *of; k++)
            u->dev->free(u->dev, of[k]);
    }
    void *all[] = {(void *)u->trainables.tensors,
                   (void *)u->trainables.chunks,
                   u->rates,
                   u->found,
                   u->scratch,
                   u->maps,
                   u->loss_scale,
                   u->steps};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        u->dev->free(u->dev, all[k]);
    lx_free(u->all);
    lx_free(u);
}

static int open_update(lx_device *dev, lx_update **out, const lx_update_spec *spec,
                       lx_error *err)
{
    lx_update *u = lx_calloc(1, sizeof *u);
    int rc = LX_OK;

    if (!u)
        return lx_oom(err);
    u->dev = dev;
    u->rule = spec->rule;
    u->scaling = spec->scaling;
    u->b1 = spec->betas[0];
    u->b2 = spec->betas[1];
    u->n_groups = spec->n_groups;
    u->max_norm = (float)spec->max_norm;
    u->betas = (lx_cuda_betas){(float)spec->betas[0], (float)(1 - spec->betas[0]),
                               (float)spec->betas[1], (float)(1 - spec->betas[1]),
                               (float)spec->eps};
    if (!(u->all = lx_calloc(spec->n_tensors + 1, sizeof *u->all))) {
        lx_free(u);
        return lx_oom(err);
    }
    for (size_t i = 0; i < spec->n_tensors && rc == LX_OK; i++) {
        u->all[i].host = spec->tensors[i];
        u->n_all++;
        rc = make_tensor(u, &u->all[i], err);
    }
    if (rc == LX_OK && (rc = make_tables(u, err)) == LX_OK &&
        (rc = zeros(u, &u->rates, (size_t)u->n_groups * sizeof *u->rates, err)) ==
            LX_OK &&
        (rc = zeros(u, &u->found, sizeof *u->found, err)) == LX_OK && spec->maps)
        rc = copied(u, &u->maps, spec->maps, 2 * sizeof *spec->maps, err);
    if (rc == LX_OK && u->scaling &&
        (rc = zeros(u, &u->loss_scale, sizeof *u->loss_scale, err)) == LX_OK &&
        (rc = zeros(u, &u->steps, 2 * sizeof *u->steps, err)) == LX_OK)
        rc = move_scaling(u, true, err);
    if (rc < 0) {
        lx_within(err, "the optimizer's states");
        close_update(u);
        return rc;
    }
    *out = u;
    return LX_OK;
}

/* ---- host and device ---------------------------------------------------------------- */

static int move_states(lx_update *u, bool is_sent, lx_error *err)
{
    int rc = move_scaling(u, is_sent, err);

    for (size_t i = 0; i < u->n_all && rc == LX_OK; i++) {
        const lx_update_tensor *t = &u->all[i].host;
        const lx_cuda_tensor *d = &u->all[i].device;
        const size_t floats = t->n * sizeof(float), most = n_blocks(t) * sizeof(float);

        if (!t->m_most) {
            if ((rc = move(u, t->m, d->m, floats, is_sent, err)) == LX_OK)
                rc = move(u, t->v, d->v, floats, is_sent, err);
        } else if ((rc = move(u, t->m, d->m_codes, t->n, is_sent, err)) == LX_OK &&
                   (rc = move(u, t->v, d->v_codes, t->n, is_sent, err)) == LX_OK &&
                   (rc = move(u, t->m_most, d->m_most, most, is_sent, err)) == LX_OK) {
            rc = move(u, t->v_most, d->v_most, most, is_sent, err);
        }
        if (rc == LX_OK && !is_sent)
            rc = move(u, t->host_value, d->value, floats, false, err);
    }
    return rc;
}

static int send_states(lx_update *u, lx_error *err)
{
    return move_states(u, true, err);
}

static int fetch(lx_update *u, lx_error *err)
{
    const int rc = u->dev->sync(u->dev, err);
    return rc < 0 ? rc : move_states(u, false, err);
}

/* ---- an update ---------------------------------------------------------------------- */

static int queue_update(lx_update *u, const lx_update_rates *rates, uint64_t *ticket,
                        lx_error *err)
{
    lx_device *dev = u->dev;
    int rc;

    _Static_assert(sizeof(lx_update_rates) == sizeof(lx_cuda_rates), "one layout");
    if ((rc = dev->upload_queued(dev, u->rates, rates,
                                 (size_t)u->n_groups * sizeof *rates, err)) < 0)
        return rc;
    if (u->scaling && u->rule == LX_UPDATE_ADAMW)
        lx_cuda_adamw_rates(dev, u->rates, u->n_groups, u->b1, u->b2, u->steps);
    lx_cuda_gradient_norm(dev, u->found, &u->trainables, u->loss_scale, u->max_norm,
                          u->scratch);
    (u->rule == LX_UPDATE_LION ? lx_cuda_lion : lx_cuda_adamw)(
        dev, &u->trainables, u->rates, u->betas, u->found, u->maps);
    if (u->scaling)
        lx_cuda_scale_update(dev, u->loss_scale, u->steps, u->found, SCALE_INTERVAL);
    return dev->download_queued(dev, ticket, u->found, sizeof *u->found, err);
}

static int result_of(lx_update *u, uint64_t ticket, lx_update_result *out, lx_error *err)
{
    lx_cuda_gradients found;
    const int rc = u->dev->take(u->dev, ticket, &found, sizeof found, err);

    if (rc < 0)
        return rc;
    *out = (lx_update_result){
        .norm = found.norm, .is_finite = found.is_finite != 0, .scale = found.scale};
    return LX_OK;
}

static void scale_loss(lx_update *u, float *weights, size_t n)
{
    if (u->scaling)
        lx_cuda_scale_by(u->dev, weights, LX_F32, (int64_t)n, u->loss_scale);
}

const lx_updates lx_cuda_updates = {.open = open_update,
                                    .close = close_update,
                                    .send = send_states,
                                    .fetch = fetch,
                                    .scale_loss = scale_loss,
                                    .queue = queue_update,
                                    .result = result_of};
