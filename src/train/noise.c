#include "src/train/noise.h"

#include <math.h>

/* Products run in f64 and are rounded one by one, as torch.cumprod does it. */
static void multiply_up(lx_noise_schedule *s)
{
    double product = 1;
    for (int t = 0; t < LX_TIMESTEPS; t++) {
        product *= 1.0f - s->betas[t];
        s->alphas_cumprod[t] = (float)product;
    }
}

static void make_terminal_snr_zero(lx_noise_schedule *s)
{
    const float root0 = sqrtf(s->alphas_cumprod[0]);
    const float root_end = sqrtf(s->alphas_cumprod[LX_TIMESTEPS - 1]);
    const float stretch = root0 / (root0 - root_end);
    float before = 1.0f;

    for (int t = 0; t < LX_TIMESTEPS; t++) {
        float root = (sqrtf(s->alphas_cumprod[t]) - root_end) * stretch;
        float product = root * root;
        s->betas[t] = 1.0f - product / before;
        before = product;
    }
    multiply_up(s);
}

void lx_noise_schedule_init(lx_noise_schedule *s, bool zero_terminal_snr)
{
    const float first = (float)sqrt(0.00085), last = (float)sqrt(0.012);
    const double step = (last - first) / (float)(LX_TIMESTEPS - 1);

    for (int t = 0; t < LX_TIMESTEPS; t++) {
        /* torch.linspace counts from the nearer end, with one rounding */
        float root = (float)(t < LX_TIMESTEPS / 2 ? first + step * t
                                                  : last - step * (LX_TIMESTEPS - 1 - t));
        s->betas[t] = root * root;
    }
    multiply_up(s);
    for (int t = 0; t < LX_TIMESTEPS; t++) {
        float ratio = sqrtf(s->alphas_cumprod[t]) / sqrtf(1.0f - s->alphas_cumprod[t]);
        s->snr[t] = ratio * ratio;
    }
    if (zero_terminal_snr)
        make_terminal_snr_zero(s);
}

static float least(float a, float b)
{
    return a < b ? a : b;
}

void lx_loss_weights(float weight[LX_TIMESTEPS], const lx_noise_schedule *s,
                     const lx_train_config *config)
{
    const bool is_v = config->v_parameterization;
    for (int t = 0; t < LX_TIMESTEPS; t++) {
        float snr = s->snr[t], capped = least(snr, 1000.0f), w = 1.0f;
        if (config->min_snr_gamma > 0) {
            float clipped = least(snr, (float)config->min_snr_gamma);
            w *= is_v ? clipped / (snr + 1.0f) : clipped / snr;
        }
        if (config->scale_v_pred_loss_like_noise_pred)
            w *= capped / (capped + 1.0f);
        if (config->v_pred_like_loss > 0)
            w += w * ((capped + 1.0f) / capped) * (float)config->v_pred_like_loss;
        if (config->debiased_estimation_loss)
            w *= is_v ? 1.0f / (capped + 1.0f) : 1.0f / sqrtf(capped);
        weight[t] = w;
    }
}

void lx_huber_c(float c[LX_TIMESTEPS], const lx_noise_schedule *s,
                const lx_train_config *config)
{
    for (int t = 0; t < LX_TIMESTEPS; t++) {
        double alpha = s->alphas_cumprod[t], sigma;
        switch (config->huber_schedule) {
        case LX_HUBER_EXPONENTIAL:
            c[t] = (float)(exp(log(config->huber_c) / LX_TIMESTEPS * t) * config->huber_scale);
            break;
        case LX_HUBER_SNR: /* the peer leaves huber_scale out here */
            sigma = sqrt((1.0 - alpha) / alpha);
            c[t] = (float)((1.0 - config->huber_c) / ((1.0 + sigma) * (1.0 + sigma)) +
                           config->huber_c);
            break;
        default:
            c[t] = (float)(config->huber_c * config->huber_scale);
        }
    }
}

void lx_noise_offset(float *noise, const float *latents, const float *offset_randn, int batch,
                     int64_t cells, double strength, double adaptive_scale)
{
    for (int64_t plane = 0; plane < (int64_t)batch * 4; plane++) {
        float offset = (float)strength;
        if (adaptive_scale != 0) {
            double sum = 0;
            for (int64_t i = 0; i < cells; i++)
                sum += latents[plane * cells + i];
            offset += (float)(adaptive_scale * fabs(sum / (double)cells));
            if (offset < 0)
                offset = 0;
        }
        offset *= offset_randn[plane];
        for (int64_t i = 0; i < cells; i++)
            noise[plane * cells + i] += offset;
    }
}

/* torch's bilinear, align_corners = false: where the centre of output i lies in the input. */
static void tap(int64_t *low, int64_t *high, float *share, int64_t i, int64_t n, int64_t from)
{
    float at = ((float)i + 0.5f) * ((float)from / (float)n) - 0.5f;
    if (at < 0)
        at = 0;
    *low = (int64_t)at;
    *high = *low + (*low < from - 1 ? 1 : 0);
    *share = at - (float)*low;
}

void lx_noise_add_level(float *noise, const float *randn, int batch, int64_t h, int64_t w,
                        int64_t level_h, int64_t level_w, double factor)
{
    for (int64_t plane = 0; plane < (int64_t)batch * 4; plane++) {
        const float *from = randn + plane * level_h * level_w;
        float *to = noise + plane * h * w;
        for (int64_t y = 0; y < h; y++) {
            int64_t y0, y1, x0, x1;
            float fy, fx;
            tap(&y0, &y1, &fy, y, h, level_h);
            for (int64_t x = 0; x < w; x++) {
                float top, bottom;
                tap(&x0, &x1, &fx, x, w, level_w);
                top = from[y0 * level_w + x0] * (1 - fx) + from[y0 * level_w + x1] * fx;
                bottom = from[y1 * level_w + x0] * (1 - fx) + from[y1 * level_w + x1] * fx;
                to[y * w + x] += (float)factor * (top * (1 - fy) + bottom * fy);
            }
        }
    }
}

void lx_noise_normalise(float *noise, int64_t n)
{
    double mean = 0, square = 0;
    float by;
    if (n < 2)
        return;
    for (int64_t i = 0; i < n; i++)
        mean += noise[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (noise[i] - mean) * (noise[i] - mean);
    by = (float)sqrt(square / (double)(n - 1));
    for (int64_t i = 0; i < n; i++)
        noise[i] /= by;
}
