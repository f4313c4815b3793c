#include "src/sample/sampler.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "src/base/alloc.h"

/* One run: the state that the methods share. */
typedef struct run {
    const lx_sampler *sampler;
    const lx_sigma_table *table;
    const lx_denoiser *denoiser;
    const float *sigmas;
    int n_steps; /* sigmas[n_steps] is where it ends */
    float *x;
    size_t n;
    float *memory, *spare[6]; /* tensors of n */
} run;

/* ---- arithmetic on whole tensors --------------------------------------------------- */

/* out = a x + b y; out may be x or y. */
static void blend(float *out, double a, const float *x, double b, const float *y,
                  size_t n)
{
    const float fa = (float)a, fb = (float)b;

    for (size_t i = 0; i < n; i++)
        out[i] = fa * x[i] + fb * y[i];
}

/* d = (x - denoised) / sigma */
static void slope(float *d, const float *x, const float *denoised, double sigma, size_t n)
{
    const float s = (float)sigma;

    for (size_t i = 0; i < n; i++)
        d[i] = (x[i] - denoised[i]) / s;
}

/* x += factor y */
static void add(float *x, double factor, const float *y, size_t n)
{
    blend(x, 1, x, factor, y, n);
}

/* Rounded as f32, since k-diffusion's path of Brownian motion is asked at these very
 * numbers. */
static float lambda_of(float sigma)
{
    return -(float)log((double)sigma);
}

static float sigma_of(float lambda)
{
    return (float)exp(-(double)lambda);
}

static int denoise(run *r, float *out, const float *x, double sigma, int step,
                   lx_error *err)
{
    int rc = r->denoiser->denoise(r->denoiser->context, out, x, sigma, step, err);

    if (rc == LX_OK && r->sampler->clips)
        for (size_t i = 0; i < r->n; i++)
            out[i] = out[i] < -1 ? -1.0f : out[i] > 1 ? 1.0f : out[i];
    return rc;
}

/* The first question of a step, told to whoever watches. */
static int denoise_step(run *r, float *out, int step, lx_error *err)
{
    int rc = denoise(r, out, r->x, (double)r->sigmas[step], step, err);

    if (rc < 0 || !r->denoiser->on_step)
        return rc;
    return r->denoiser->on_step(r->denoiser->context, step, r->n_steps, r->x, out, err);
}

/* x += strength times noise for the way from one level to another. */
static int add_noise(run *r, double strength, double from, double to, float *spare,
                     lx_error *err)
{
    int rc = r->denoiser->noise(r->denoiser->context, spare, from, to, err);

    if (rc == LX_OK)
        add(r->x, strength, spare, r->n);
    return rc;
}

static double ancestral(double *down, double from, double to)
{
    double up = sqrt(to * to * (from * from - to * to) / (from * from));

    up = up < to ? up : to;
    *down = sqrt(to * to - up * up);
    return up;
}

/* ---- one evaluation a step --------------------------------------------------------- */

static int step_euler(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[0], *d = r->spare[1];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    slope(d, r->x, denoised, from, r->n);
    add(r->x, to - from, d, r->n);
    return LX_OK;
}

static int step_euler_a(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[0], *d = r->spare[1];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    double down, up = ancestral(&down, from, to);
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    slope(d, r->x, denoised, from, r->n);
    add(r->x, down - from, d, r->n);
    return to > 0 ? add_noise(r, up, from, to, d, err) : LX_OK;
}

/*
 * x' = x_0 + sigma' eps. Where x_0 is clipped, eps stays the model's own and is not what
 * clipping leaves of x; without clipping this is Euler's step.
 */
static int step_ddim(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[0], *d = r->spare[1];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    int rc;

    if (!r->sampler->clips)
        return step_euler(r, i, err);
    rc = r->denoiser->denoise(r->denoiser->context, denoised, r->x, from, i, err);
    if (rc < 0)
        return rc;
    slope(d, r->x, denoised, from, r->n);
    for (size_t k = 0; k < r->n; k++)
        denoised[k] = denoised[k] < -1 ? -1.0f : denoised[k] > 1 ? 1.0f : denoised[k];
    if (r->denoiser->on_step &&
        (rc = r->denoiser->on_step(r->denoiser->context, i, r->n_steps, r->x, denoised,
                                   err)) < 0)
        return rc;
    blend(r->x, 1, denoised, to, d, r->n);
    return LX_OK;
}

/* The integral over [t_i, t_i+1] of the j-th Lagrange polynomial of `order` points:
 * degree at most 3, so two Gauss points are exact. */
static double lms_coefficient(const float *t, int order, int i, int j)
{
    const double a = (double)t[i], b = (double)t[i + 1], middle = (a + b) / 2;
    const double half = (b - a) / 2, node = 1 / sqrt(3.0);
    double sum = 0;

    for (int side = -1; side <= 1; side += 2) {
        double at = middle + side * half * node, product = 1;
        for (int k = 0; k < order; k++)
            if (k != j)
                product *=
                    (at - (double)t[i - k]) / ((double)t[i - j] - (double)t[i - k]);
        sum += product * half;
    }
    return sum;
}

static int step_lms(run *r, int i, lx_error *err)
{
    enum { ORDER = 4 };
    float *denoised = r->spare[0];
    const int order = i + 1 < ORDER ? i + 1 : ORDER;
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    slope(r->spare[1 + i % ORDER], r->x, denoised, (double)r->sigmas[i], r->n);
    for (int j = 0; j < order; j++)
        add(r->x, lms_coefficient(r->sigmas, order, i, j), r->spare[1 + (i - j) % ORDER],
            r->n);
    return LX_OK;
}

static int step_dpmpp_2m(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[i % 2], *old = r->spare[(i + 1) % 2], *mix = r->spare[2];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    double lambda = -log(from), h = -log(to) - lambda;
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    if (i == 0 || to == 0) {
        blend(r->x, to / from, r->x, -expm1(-h), denoised, r->n);
        return LX_OK;
    }
    double half_ratio = h / (2 * (lambda + log((double)r->sigmas[i - 1])));
    blend(mix, 1 + half_ratio, denoised, -half_ratio, old, r->n);
    blend(r->x, to / from, r->x, -expm1(-h), mix, r->n);
    return LX_OK;
}

static int step_dpmpp_2m_sde(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[i % 2], *old = r->spare[(i + 1) % 2], *noise = r->spare[2];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    double h = log(from) - log(to);
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    if (to == 0) {
        memcpy(r->x, denoised, r->n * sizeof(float));
        return LX_OK;
    }
    blend(r->x, to / from * exp(-h), r->x, -expm1(-2 * h), denoised, r->n);
    if (i > 0) {
        double ratio = (log((double)r->sigmas[i - 1]) - log(from)) / h;
        double factor = 0.5 * -expm1(-2 * h) / ratio;
        add(r->x, factor, denoised, r->n);
        add(r->x, -factor, old, r->n);
    }
    return add_noise(r, to * sqrt(-expm1(-2 * h)), from, to, noise, err);
}

/* ---- two evaluations a step -------------------------------------------------------- */

static int step_heun(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[0], *d = r->spare[1], *x2 = r->spare[2], *d2 = r->spare[3];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    slope(d, r->x, denoised, from, r->n);
    if (to > 0) {
        blend(x2, 1, r->x, to - from, d, r->n);
        if ((rc = denoise(r, denoised, x2, to, i, err)) < 0)
            return rc;
        slope(d2, x2, denoised, to, r->n);
        blend(d, 0.5, d, 0.5, d2, r->n);
    }
    add(r->x, to - from, d, r->n);
    return LX_OK;
}

/* DPM-Solver-2, with or without fresh noise. */
static int step_dpm2(run *r, int i, bool has_noise, lx_error *err)
{
    float *denoised = r->spare[0], *d = r->spare[1], *x2 = r->spare[2];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    double down = to, up = has_noise ? ancestral(&down, from, to) : 0, middle;
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    slope(d, r->x, denoised, from, r->n);
    if (down == 0) {
        add(r->x, down - from, d, r->n);
        return LX_OK;
    }
    middle = exp((log(from) + log(down)) / 2);
    blend(x2, 1, r->x, middle - from, d, r->n);
    if ((rc = denoise(r, denoised, x2, middle, i, err)) < 0)
        return rc;
    slope(d, x2, denoised, middle, r->n);
    add(r->x, down - from, d, r->n);
    return has_noise ? add_noise(r, up, from, to, x2, err) : LX_OK;
}

static int step_dpmpp_2s_a(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[0], *x2 = r->spare[1];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    double down, up = ancestral(&down, from, to), h, middle;
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    if (down == 0) {
        slope(x2, r->x, denoised, from, r->n);
        add(r->x, down - from, x2, r->n);
    } else {
        h = log(from) - log(down);
        middle = exp(log(from) - h / 2);
        blend(x2, middle / from, r->x, -expm1(-h / 2), denoised, r->n);
        if ((rc = denoise(r, denoised, x2, middle, i, err)) < 0)
            return rc;
        blend(r->x, down / from, r->x, -expm1(-h), denoised, r->n);
    }
    return to > 0 ? add_noise(r, up, from, to, x2, err) : LX_OK;
}

static int step_dpmpp_sde(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[0], *x2 = r->spare[1], *noise = r->spare[2], *keep;
    const float t = lambda_of(r->sigmas[i]);
    double to = (double)r->sigmas[i + 1], down, up;
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    if (to == 0) {
        slope(x2, r->x, denoised, (double)r->sigmas[i], r->n);
        add(r->x, to - (double)r->sigmas[i], x2, r->n);
        return LX_OK;
    }
    const float t_next = lambda_of(r->sigmas[i + 1]), s = t + (t_next - t) * 0.5f;
    const double from = (double)sigma_of(t), middle = (double)sigma_of(s);
    to = (double)sigma_of(t_next);
    /* To the middle; r->x is the place where noise is added, so it stands in for x2. */
    up = ancestral(&down, from, middle);
    blend(x2, down / from, r->x, 1 - down / from, denoised, r->n);
    keep = r->x;
    r->x = x2;
    rc = add_noise(r, up, from, middle, noise, err);
    r->x = keep;
    if (rc < 0 || (rc = denoise(r, noise, x2, middle, i, err)) < 0)
        return rc;
    /* From the start to the end by the middle's prediction (fac = 1). */
    up = ancestral(&down, from, to);
    blend(r->x, down / from, r->x, 1 - down / from, noise, r->n);
    return add_noise(r, up, from, to, x2, err);
}

/* DPM-Solver++(2S) as diffusers has it: odd steps look back at the one before. */
static int step_dpmpp_2s(run *r, int i, lx_error *err)
{
    float *denoised = r->spare[i % 2], *old = r->spare[(i + 1) % 2], *start = r->spare[2];
    const double to = (double)r->sigmas[i + 1], from = (double)r->sigmas[i];
    const bool is_second = i % 2 == 1 && i + 1 < r->n_steps;
    double before, h, ratio;
    int rc = denoise_step(r, denoised, i, err);

    if (rc < 0)
        return rc;
    if (!is_second) {
        memcpy(start, r->x, r->n * sizeof(float));
        blend(r->x, to / from, r->x, 1 - to / from, denoised, r->n);
        return LX_OK;
    }
    before = (double)r->sigmas[i - 1];
    h = log(before) - log(to);
    ratio = (log(before) - log(from)) / h;
    blend(r->x, to / before, start, -expm1(-h) * (1 - 0.5 / ratio), old, r->n);
    add(r->x, -expm1(-h) * 0.5 / ratio, denoised, r->n);
    return LX_OK;
}

/* ---- UniPC ------------------------------------------------------------------------- */

/* b_1 and b_2 of the B_2(h) solver; `minus_h` is -h. */
static void unipc_moments(double b[2], double minus_h)
{
    double big = expm1(minus_h), phi = big / minus_h - 1;

    b[0] = phi / big;
    b[1] = (phi / minus_h - 0.5) * 2 / big;
}

/* x = what UniC makes of the step from i - 1 to i, now that the prediction at i is known.
 */
static void unipc_correct(run *r, int i, int order, const float *now, const float *last,
                          const float *before, const float *start)
{
    double from = (double)r->sigmas[i - 1], to = (double)r->sigmas[i];
    double h = log(from) - log(to), big = expm1(-h), at_now = 0.5, at_before = 0,
           ratio = 1;
    double b[2];

    if (order == 2) {
        unipc_moments(b, -h);
        ratio = (log(from) - log((double)r->sigmas[i - 2])) / h;
        at_before = (b[0] - b[1]) / (1 - ratio);
        at_now = b[0] - at_before;
    }
    blend(r->x, to / from, start, -big, last, r->n);
    add(r->x, -big * at_now, now, r->n);
    add(r->x, big * at_now, last, r->n);
    if (order == 2) {
        add(r->x, -big * at_before / ratio, before, r->n);
        add(r->x, big * at_before / ratio, last, r->n);
    }
}

static int step_unipc(run *r, int i, lx_error *err)
{
    enum { ORDER = 2 };
    float *now = r->spare[i % 3], *last = r->spare[(i + 2) % 3],
          *before = r->spare[(i + 1) % 3];
    float *start = r->spare[3];
    const double from = (double)r->sigmas[i], to = (double)r->sigmas[i + 1];
    const int order = i == 0 || i + 1 == r->n_steps ? 1 : ORDER;
    int rc = denoise_step(r, now, i, err);

    if (rc < 0)
        return rc;
    if (i > 0)
        unipc_correct(r, i, i == 1 ? 1 : ORDER, now, last, before, start);
    memcpy(start, r->x, r->n * sizeof(float));
    if (to == 0) {
        memcpy(r->x, now, r->n * sizeof(float));
        return LX_OK;
    }
    double h = log(from) - log(to), big = expm1(-h);
    blend(r->x, to / from, r->x, -big, now, r->n);
    if (order == 2) {
        double ratio = (log(from) - log((double)r->sigmas[i - 1])) / h;
        add(r->x, -big * 0.5 / ratio, last, r->n);
        add(r->x, big * 0.5 / ratio, now, r->n);
    }
    return LX_OK;
}

/* ---- PNDM -------------------------------------------------------------------------- */

/* The slope at x, level of timestep t. */
static int pndm_slope(run *r, float *d, const float *x, int t, int step, lx_error *err)
{
    const double sigma = (double)r->table->sigmas[t];
    float *denoised = r->spare[5];
    int rc = denoise(r, denoised, x, sigma, step, err);

    if (rc < 0)
        return rc;
    slope(d, x, denoised, sigma, r->n);
    if (r->denoiser->on_step && x == r->x)
        return r->denoiser->on_step(r->denoiser->context, step, r->n_steps, x, denoised,
                                    err);
    return LX_OK;
}

/* The first three steps: Runge-Kutta of order 4 over two half steps. */
static int step_pndm_prk(run *r, int i, float *d, lx_error *err)
{
    const int width = LX_SIGMAS / r->n_steps, t = (r->n_steps - 1 - i) * width;
    const int half = t - width / 2, end = t - width;
    const double from = (double)r->table->sigmas[t];
    const double to_half = (double)r->table->sigmas[half] - from;
    const double to_end = (double)r->table->sigmas[end] - from;
    float *x2 = r->spare[4], *sum = r->memory + 6 * r->n, *e = r->memory + 7 * r->n;
    int rc;

    if ((rc = pndm_slope(r, d, r->x, t, i, err)) < 0)
        return rc;
    blend(sum, 1.0 / 6, d, 0, d, r->n);
    blend(x2, 1, r->x, to_half, d, r->n);
    if ((rc = pndm_slope(r, e, x2, half, i, err)) < 0)
        return rc;
    add(sum, 1.0 / 3, e, r->n);
    blend(x2, 1, r->x, to_half, e, r->n);
    if ((rc = pndm_slope(r, e, x2, half, i, err)) < 0)
        return rc;
    add(sum, 1.0 / 3, e, r->n);
    blend(x2, 1, r->x, to_end, e, r->n);
    if ((rc = pndm_slope(r, e, x2, end, i, err)) < 0)
        return rc;
    add(sum, 1.0 / 6, e, r->n);
    add(r->x, to_end, sum, r->n);
    return LX_OK;
}

static int step_pndm(run *r, int i, lx_error *err)
{
    const int width = LX_SIGMAS / r->n_steps, t = (r->n_steps - 1 - i) * width;
    const int end =
        t - width > 0 ? t - width : 0; /* the last level is that of timestep 0 */
    float *d = r->spare[i % 4];
    double length;
    int rc;

    if (r->n_steps < 4)
        return lx_fail(err, LX_EUSAGE, "PNDM needs at least 4 steps");
    if (i < 3)
        return step_pndm_prk(r, i, d, err);
    if ((rc = pndm_slope(r, d, r->x, t, i, err)) < 0)
        return rc;
    length = ((double)r->table->sigmas[end] - (double)r->table->sigmas[t]) / 24;
    add(r->x, 55 * length, d, r->n);
    add(r->x, -59 * length, r->spare[(i + 3) % 4], r->n);
    add(r->x, 37 * length, r->spare[(i + 2) % 4], r->n);
    add(r->x, -9 * length, r->spare[(i + 1) % 4], r->n);
    return LX_OK;
}

/* ---- the whole --------------------------------------------------------------------- */

static int take_step(run *r, int i, lx_error *err)
{
    switch (r->sampler->method) {
    case LX_METHOD_EULER:
        return step_euler(r, i, err);
    case LX_METHOD_EULER_A:
        return step_euler_a(r, i, err);
    case LX_METHOD_HEUN:
        return step_heun(r, i, err);
    case LX_METHOD_DPM2:
        return step_dpm2(r, i, false, err);
    case LX_METHOD_DPM2_A:
        return step_dpm2(r, i, true, err);
    case LX_METHOD_LMS:
        return step_lms(r, i, err);
    case LX_METHOD_DPMPP_2S_A:
        return step_dpmpp_2s_a(r, i, err);
    case LX_METHOD_DPMPP_2S:
        return step_dpmpp_2s(r, i, err);
    case LX_METHOD_DPMPP_2M:
        return step_dpmpp_2m(r, i, err);
    case LX_METHOD_DPMPP_SDE:
        return step_dpmpp_sde(r, i, err);
    case LX_METHOD_DPMPP_2M_SDE:
        return step_dpmpp_2m_sde(r, i, err);
    case LX_METHOD_DDIM:
        return step_ddim(r, i, err);
    case LX_METHOD_PNDM:
        return step_pndm(r, i, err);
    case LX_METHOD_UNIPC:
        return step_unipc(r, i, err);
    }
    return lx_fail(err, LX_EINTERNAL, "no such sampler");
}

int lx_sampler_run(const lx_sampler *sampler, const lx_sigma_table *table,
                   const float *sigmas, int n_sigmas, float *x, size_t n,
                   const lx_denoiser *denoiser, lx_error *err)
{
    enum { N_TENSORS = 8 };
    run r = {.sampler = sampler,
             .table = table,
             .denoiser = denoiser,
             .sigmas = sigmas,
             .n_steps = n_sigmas - 1,
             .x = x,
             .n = n};
    int rc = LX_OK;

    if (n > SIZE_MAX / N_TENSORS / sizeof(float) ||
        !(r.memory = lx_calloc(N_TENSORS * n, sizeof(float))))
        return lx_oom(err);
    for (size_t i = 0; i < sizeof r.spare / sizeof *r.spare; i++)
        r.spare[i] = r.memory + i * n;
    for (int i = 0; rc == LX_OK && i < r.n_steps; i++)
        rc = take_step(&r, i, err);
    lx_free(r.memory);
    return rc;
}
