#include "src/sample/pipeline.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"

static const int to_last[4] = {0, 2, 3, 1}, to_first[4] = {0, 3, 1, 2};
static const float latent_scale = 0.18215f;

enum { N_UNETS = 2 };

/* A planned graph and the shape it is for. */
typedef struct planned {
    lx_graph *graph;
    lx_plan *plan;
    int64_t batch, h, w, n_tokens;
    int clip_skip;
} planned;

struct lx_pipeline {
    lx_builder builder;
    lx_layer_hook hook;
    void *hook_context;
    lx_precision precision;
    bool has_half_vae;
    planned text, unets[N_UNETS], decoder;
    int next_unet; /* the one to replace */
};

int lx_pipeline_new(lx_pipeline **out, lx_device *dev, lx_checkpoint *checkpoint,
                    const lx_sd_config *config, lx_error *err)
{
    lx_pipeline *p;

    *out = NULL;
    if (config->text_width != config->context_size)
        return lx_fail(err, LX_EMISMATCH,
                       "the text encoder gives %d values a token, the UNet wants %d",
                       config->text_width, config->context_size);
    if (!(*out = p = lx_calloc(1, sizeof *p)))
        return lx_oom(err);
    p->builder = (lx_builder){
        .checkpoint = checkpoint, .dev = dev, .config = config, .dtype = LX_F32};
    return LX_OK;
}

static void drop(planned *p)
{
    lx_plan_free(p->plan);
    lx_graph_free(p->graph);
    *p = (planned){0};
}

void lx_pipeline_free(lx_pipeline *p)
{
    if (!p)
        return;
    drop(&p->text);
    for (int i = 0; i < N_UNETS; i++)
        drop(&p->unets[i]);
    drop(&p->decoder);
    lx_free(p);
}

void lx_pipeline_set_hook(lx_pipeline *p, lx_layer_hook hook, void *context)
{
    drop(&p->text);
    for (int i = 0; i < N_UNETS; i++)
        drop(&p->unets[i]);
    p->hook = hook;
    p->hook_context = context;
}

void lx_pipeline_set_precision(lx_pipeline *p, lx_precision precision, bool has_half_vae)
{
    p->precision = precision;
    p->has_half_vae = has_half_vae;
}

/* The builder for one part; each graph begins with a fresh one. */
static int begin(lx_builder *b, planned *to, const lx_pipeline *p, lx_part part,
                 lx_error *err)
{
    drop(to);
    if (!(to->graph = lx_graph_new()))
        return lx_oom(err);
    *b = p->builder;
    b->graph = to->graph;
    b->part = part;
    if (part != LX_VAE) {
        b->hook = p->hook;
        b->hook_context = p->hook_context;
    }
    if (part != LX_VAE || p->has_half_vae) {
        b->narrow = lx_precision_narrow(p->precision, b->dev);
        b->arithmetic = lx_precision_arithmetic(p->precision);
    }
    return LX_OK;
}

/* For the host, whatever the activations' type. */
static void give(lx_graph *g, const char *name, lx_tensor *t)
{
    lx_graph_output(g, name, lx_op_cast(g, t, LX_F32));
}

static int finish(planned *to, const lx_pipeline *p, lx_plan *arena_of, lx_error *err)
{
    const lx_plan_options options = {.arena_of = arena_of};
    int rc = lx_graph_check(to->graph, err);

    if (rc == LX_OK)
        rc = lx_plan_new(&to->plan, to->graph, p->builder.dev, &options, err);
    if (rc < 0)
        drop(to);
    return rc;
}

/* ---- text -------------------------------------------------------------------------- */

int lx_emphasis_find(lx_emphasis *out, const char *name, lx_error *err)
{
    static const char *const names[] = {"a1111", "peer", "none"};

    for (size_t i = 0; i < 3; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (lx_emphasis)i;
            return LX_OK;
        }
    return lx_fail(err, LX_EUSAGE,
                   "there is no emphasis \"%s\"; there are a1111, peer and none", name);
}

static int plan_text(lx_pipeline *p, int clip_skip, lx_error *err)
{
    const int64_t shape[3] = {1, 1, LX_CHUNK};
    lx_builder b;
    lx_tensor *ids;
    int rc;

    if (p->text.plan && p->text.clip_skip == clip_skip)
        return LX_OK;
    if ((rc = begin(&b, &p->text, p, LX_TEXT_ENCODER, err)) < 0)
        return rc;
    ids = lx_graph_input(b.graph, "ids", LX_I64, 3, shape);
    give(b.graph, "context", lx_clip_text_build(&b, ids, clip_skip, NULL));
    p->text.clip_skip = clip_skip;
    return finish(&p->text, p, NULL, err);
}

static double mean_of(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum / (double)n;
}

/* x[T][D], of which the first n tokens have weights and the others 1; its mean as it was. */
static void weigh(float *x, const float *weights, size_t n, size_t T, size_t D,
                  bool restores)
{
    const double before = mean_of(x, T * D);
    double after;

    for (size_t t = 0; t < n; t++)
        for (size_t d = 0; d < D; d++)
            x[t * D + d] *= weights[t];
    after = mean_of(x, T * D);
    if (!restores || after == 0)
        return;
    for (size_t i = 0; i < T * D; i++)
        x[i] *= (float)(before / after);
}

static int encode_chunk(float *out, lx_pipeline *p, const int64_t *ids, lx_error *err)
{
    const size_t bytes =
        (size_t)LX_CHUNK * (size_t)p->builder.config->text_width * sizeof(float);
    int rc;

    if ((rc = lx_plan_set(p->text.plan, "ids", ids, LX_CHUNK * sizeof(int64_t), err)) <
            0 ||
        (rc = lx_plan_run(p->text.plan, err)) < 0)
        return rc;
    return lx_plan_get(p->text.plan, "context", out, bytes, err);
}

int lx_pipeline_encode(float **out, int *n_tokens, lx_pipeline *p,
                       const lx_prompt_chunks *chunks, int n_chunks, int clip_skip,
                       lx_emphasis emphasis, lx_error *err)
{
    const int n = n_chunks > chunks->n ? n_chunks : chunks->n;
    const size_t D = (size_t)p->builder.config->text_width, T = (size_t)n * LX_CHUNK;
    int64_t empty[LX_CHUNK];
    float *context = NULL;
    int rc;

    for (int i = 0; i < LX_CHUNK; i++)
        empty[i] = i ? LX_TOKEN_EOS : LX_TOKEN_BOS;
    if ((rc = plan_text(p, clip_skip, err)) < 0)
        return rc;
    if (!(context = lx_alloc(T * D * sizeof *context)))
        return lx_oom(err);
    for (int i = 0; i < n && rc == LX_OK; i++)
        rc =
            encode_chunk(context + (size_t)i * LX_CHUNK * D, p,
                         i < chunks->n ? chunks->ids + (size_t)i * LX_CHUNK : empty, err);
    if (rc < 0) {
        lx_free(context);
        return rc;
    }
    /* Weights of 1 change nothing, but for the rounding of a mean over itself. */
    if (chunks->has_weights && emphasis == LX_EMPHASIS_WEB_UI)
        for (int i = 0; i < chunks->n; i++)
            weigh(context + (size_t)i * LX_CHUNK * D,
                  chunks->weights + (size_t)i * LX_CHUNK, LX_CHUNK, LX_CHUNK, D, true);
    else if (chunks->has_weights)
        weigh(context, chunks->weights, (size_t)chunks->n * LX_CHUNK, T, D,
              emphasis == LX_EMPHASIS_PEER);
    *out = context;
    *n_tokens = (int)T;
    return LX_OK;
}

int lx_pipeline_context_size(const lx_pipeline *p)
{
    return p->builder.config->context_size;
}

/* ---- UNet -------------------------------------------------------------------------- */

static int plan_unet(planned **out, lx_pipeline *p, int64_t batch, int64_t h, int64_t w,
                     int64_t n_tokens, lx_error *err)
{
    const int64_t latent[4] = {batch, 4, h, w}, one[1] = {batch};
    const int64_t context[3] = {batch, n_tokens, p->builder.config->context_size};
    planned *unet;
    lx_builder b;
    lx_tensor *x, *t, *c;
    int rc;

    for (int i = 0; i < N_UNETS; i++) {
        unet = &p->unets[i];
        if (unet->plan && unet->batch == batch && unet->h == h && unet->w == w &&
            unet->n_tokens == n_tokens) {
            *out = unet;
            return LX_OK;
        }
    }
    unet = &p->unets[p->next_unet];
    p->next_unet = (p->next_unet + 1) % N_UNETS;
    if ((rc = begin(&b, unet, p, LX_UNET, err)) < 0)
        return rc;
    x = lx_graph_input(b.graph, "x", LX_F32, 4, latent);
    t = lx_graph_input(b.graph, "t", LX_F32, 1, one);
    c = lx_graph_input(b.graph, "context", LX_F32, 3, context);
    x = lx_unet_build(&b, lx_op_permute(b.graph, x, to_last), t, c);
    give(b.graph, "out", lx_op_permute(b.graph, x, to_first));
    unet->batch = batch;
    unet->h = h;
    unet->w = w;
    unet->n_tokens = n_tokens;
    *out = unet;
    return finish(unet, p, p->unets[p->next_unet].plan, err);
}

int lx_pipeline_unet(float *out, lx_pipeline *p, const float *x, double t,
                     const float *context, int batch, int64_t h, int64_t w, int n_tokens,
                     lx_error *err)
{
    enum { MOST = 256 };
    const size_t cells = (size_t)batch * 4 * (size_t)(h * w);
    const size_t values =
        (size_t)batch * (size_t)n_tokens * (size_t)p->builder.config->context_size;
    float times[MOST];
    planned *unet;
    int rc;

    if (batch < 1 || batch > MOST)
        return lx_fail(err, LX_EUSAGE, "a batch of %d; 1 to %d are possible", batch / 2,
                       MOST / 2);
    for (int i = 0; i < batch; i++)
        times[i] = (float)t;
    if ((rc = plan_unet(&unet, p, batch, h, w, n_tokens, err)) < 0 ||
        (rc = lx_plan_set(unet->plan, "x", x, cells * sizeof(float), err)) < 0 ||
        (rc = lx_plan_set(unet->plan, "t", times, (size_t)batch * sizeof(float), err)) <
            0 ||
        (rc = lx_plan_set(unet->plan, "context", context, values * sizeof(float), err)) <
            0 ||
        (rc = lx_plan_run(unet->plan, err)) < 0)
        return rc;
    return lx_plan_get(unet->plan, "out", out, cells * sizeof(float), err);
}

/* ---- VAE --------------------------------------------------------------------------- */

static int plan_decoder(lx_pipeline *p, int64_t h, int64_t w, lx_error *err)
{
    const int64_t shape[4] = {1, 4, h, w};
    lx_builder b;
    lx_tensor *z;
    int rc;

    if (p->decoder.plan && p->decoder.h == h && p->decoder.w == w)
        return LX_OK;
    if ((rc = begin(&b, &p->decoder, p, LX_VAE, err)) < 0)
        return rc;
    z = lx_graph_input(b.graph, "z", LX_F32, 4, shape);
    z = lx_vae_decode_build(&b, lx_op_permute(b.graph, z, to_last));
    give(b.graph, "x", lx_op_permute(b.graph, z, to_first));
    p->decoder.h = h;
    p->decoder.w = w;
    return finish(&p->decoder, p, NULL, err);
}

int lx_pipeline_decode(float *x, lx_pipeline *p, const float *latents, int64_t h,
                       int64_t w, lx_error *err)
{
    const size_t n = 4 * (size_t)(h * w), n_pixels = 3 * 64 * (size_t)(h * w);
    float *z;
    int rc;

    if ((rc = plan_decoder(p, h, w, err)) < 0)
        return rc;
    if (!(z = lx_alloc(n * sizeof *z)))
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        z[i] = latents[i] / latent_scale;
    if ((rc = lx_plan_set(p->decoder.plan, "z", z, n * sizeof *z, err)) == LX_OK &&
        (rc = lx_plan_run(p->decoder.plan, err)) == LX_OK)
        rc = lx_plan_get(p->decoder.plan, "x", x, n_pixels * sizeof *x, err);
    lx_free(z);
    return rc;
}

int lx_pixels_from_decoded(unsigned char *rgb, const float *x, int64_t height,
                           int64_t width, lx_error *err)
{
    const int64_t n = height * width;

    for (int64_t c = 0; c < 3; c++)
        for (int64_t i = 0; i < n; i++) {
            float v = x[c * n + i] / 2 + 0.5f;
            if (!isfinite(v))
                return lx_fail(
                    err, LX_ECHECK,
                    "the picture came out as not-a-number: the model or a LoRA "
                    "overflows; lower the strength or the CFG scale");
            v = v < 0 ? 0 : v > 1 ? 1 : v;
            rgb[i * 3 + c] = (unsigned char)nearbyintf(v * 255);
        }
    return LX_OK;
}
