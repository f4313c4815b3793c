/*
 * sample/pipeline - the three models as calls on host memory
 *
 * Text encoder, UNet and VAE decoder as graphs of fixed shape, planned when a shape is
 * first asked for and kept: one chunk of text, up to two UNets (prompts of different
 * length), one decoder. The weights are the checkpoint's own, in place. Latents are [B,
 * 4, h, w], as in files.
 *
 * Order of use: lx_pipeline_new, then the calls, lx_pipeline_free. Another hook (other
 * LoRAs) drops the plans of text encoder and UNet.
 */
#ifndef LX_SAMPLE_PIPELINE_H
#define LX_SAMPLE_PIPELINE_H

#include "src/model/precision.h"
#include "src/sample/prompt.h"

typedef struct lx_pipeline lx_pipeline;

/* Borrows all. */
int lx_pipeline_new(lx_pipeline **out, lx_device *dev, lx_checkpoint *checkpoint,
                    const lx_sd_config *config, lx_error *err);
void lx_pipeline_free(lx_pipeline *pipeline);

/*
 * Text encoder and UNet from now on in `precision`, and the VAE, in f32 otherwise, when has_half_vae; what goes in and out
 * stays f32. Before the first call; the device has it (lx_precision_check).
 */
void lx_pipeline_set_precision(lx_pipeline *pipeline, lx_precision precision,
                               bool has_half_vae);

/* hook NULL: the plain model. */
void lx_pipeline_set_hook(lx_pipeline *pipeline, lx_layer_hook hook, void *context);

/*
 * How weights of tokens are multiplied onto the text encoder's output:
 *   WEB_UI  each chunk keeps its own mean    (the web UI's "Original")
 *   PEER    the whole prompt keeps its mean  (sd-scripts' sample images)
 *   PLAIN   nothing is restored              (the web UI's "No norm"; sd-scripts'
 * --weighted_captions)
 */
typedef enum lx_emphasis {
    LX_EMPHASIS_WEB_UI,
    LX_EMPHASIS_PEER,
    LX_EMPHASIS_PLAIN
} lx_emphasis;
int lx_emphasis_find(lx_emphasis *out, const char *name,
                     lx_error *err); /* "a1111", "peer", "none" */

/*
 * The context of a prompt, [chunks * 77, D], yours (lx_free). clip_skip 1 is the last
 * layer. n_chunks: at least so many, filled with empty ones; 0 = as many as the prompt
 * has.
 */
int lx_pipeline_encode(float **out, int *n_tokens, lx_pipeline *pipeline,
                       const lx_prompt_chunks *chunks, int n_chunks, int clip_skip,
                       lx_emphasis emphasis, lx_error *err);

int lx_pipeline_context_size(const lx_pipeline *pipeline); /* D */

/* out[B, 4, h, w] = the UNet at x and timestep t (one for all), context [B, n_tokens, D].
 */
int lx_pipeline_unet(float *out, lx_pipeline *pipeline, const float *x, double t,
                     const float *context, int batch, int64_t h, int64_t w, int n_tokens,
                     lx_error *err);

/* x[3, 8h, 8w], about -1..1, of one picture; latents [4, h, w] as samplers give them
 * (0.18215). */
int lx_pipeline_decode(float *x, lx_pipeline *pipeline, const float *latents, int64_t h,
                       int64_t w, lx_error *err);
/* rgb[H][W][3] = round(255 clamp(x / 2 + 1/2)). LX_ECHECK when x is not finite. */
int lx_pixels_from_decoded(unsigned char *rgb, const float *x, int64_t height,
                           int64_t width, lx_error *err);

#endif
