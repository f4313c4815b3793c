/*
 * Adafactor: the second moment of a matrix [.., R, C] is kept as its rows' and columns' means.
 *
 *     b   = 1 - n^decay_rate
 *     u   = g^2 + eps1
 *     row = b row + (1 - b) mean over C of u,   col = b col + (1 - b) mean over R of u
 *     d   = g / sqrt(row / mean(row)) / sqrt(col),   d /= max(1, rms(d) / clip_threshold)
 *     a   = the rate, times max(eps2, rms(w)) under scale_parameter; under relative_step the
 *           rate is min(1e-2, or 1e-6 n under warmup_init, 1 / sqrt(n))
 *     w  -= a decay w + a d          (with beta1: the moving average of a d)
 *
 * Vectors keep the whole second moment. A convolution's factor [R, C, kh, kw] is factored in
 * its windows, kh by kw, as transformers does.
 * Source: Shazeer & Stern 2018, arXiv:1804.04235; transformers.optimization.Adafactor.
 */
#include <math.h>

#include "src/train/optimizer/rule.h"

enum { ROW, COLUMN, WHOLE, AVERAGE };

/* A tensor seen as `blocks` matrices of rows x columns. */
typedef struct matrices {
    size_t blocks, rows, columns;
} matrices;

static matrices matrices_of(const lx_trainable *t)
{
    matrices m = {1, 1, t->n};

    if (t->n_dims < 2)
        return m;
    m.rows = (size_t)t->shape[t->n_dims - 2];
    m.columns = (size_t)t->shape[t->n_dims - 1];
    m.blocks = t->n / (m.rows * m.columns);
    return m;
}

static int open_adafactor(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    const matrices m = matrices_of(t);
    int rc;

    if (o->config.beta1 >= 0 &&
        (rc = lx_optimizer__add(o, i, AVERAGE, "exp_avg", LX_F32, t->n)) < 0)
        return rc;
    if (t->n_dims < 2)
        return lx_optimizer__add(o, i, WHOLE, "exp_avg_sq", LX_F32, t->n);
    rc = lx_optimizer__add(o, i, ROW, "exp_avg_sq_row", LX_F32, m.blocks * m.rows);
    return rc < 0 ? rc
                  : lx_optimizer__add(o, i, COLUMN, "exp_avg_sq_col", LX_F32,
                                      m.blocks * m.columns);
}

static double rms(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum / (double)n);
}

/* Row and column means of one matrix of squared gradients go into the moving averages. */
static void average_block(float *row, float *column, const float *g, const matrices *m,
                          double b, double eps)
{
    for (size_t r = 0; r < m->rows; r++) {
        double sum = 0;
        for (size_t c = 0; c < m->columns; c++)
            sum += (double)g[r * m->columns + c] * g[r * m->columns + c] + eps;
        row[r] = (float)(b * row[r] + (1 - b) * (sum / (double)m->columns));
    }
    for (size_t c = 0; c < m->columns; c++) {
        double sum = 0;
        for (size_t r = 0; r < m->rows; r++)
            sum += (double)g[r * m->columns + c] * g[r * m->columns + c] + eps;
        column[c] = (float)(b * column[c] + (1 - b) * (sum / (double)m->rows));
    }
}

/* The gradient becomes the direction. */
static void divide_block(float *g, const float *row, const float *column,
                         const matrices *m)
{
    double mean = 0;

    for (size_t r = 0; r < m->rows; r++)
        mean += row[r];
    mean /= (double)m->rows;
    for (size_t r = 0; r < m->rows; r++) {
        const double by = 1 / sqrt(row[r] / mean);
        for (size_t c = 0; c < m->columns; c++)
            g[r * m->columns + c] *= (float)(by / sqrt(column[c]));
    }
}

static void find_direction(lx_optimizer *o, const lx_trainable *t, size_t i, double b)
{
    const matrices m = matrices_of(t);
    const double eps = o->config.eps;

    if (t->n_dims < 2) {
        float *whole = lx_optimizer__floats(o, i, WHOLE);
        for (size_t j = 0; j < t->n; j++) {
            const double u = (double)t->gradient[j] * t->gradient[j] + eps;
            whole[j] = (float)(b * whole[j] + (1 - b) * u);
            t->gradient[j] /= sqrtf(whole[j]);
        }
        return;
    }
    for (size_t k = 0; k < m.blocks; k++) {
        float *row = lx_optimizer__floats(o, i, ROW) + k * m.rows;
        float *column = lx_optimizer__floats(o, i, COLUMN) + k * m.columns;
        float *g = t->gradient + k * m.rows * m.columns;
        average_block(row, column, g, &m, b, eps);
        divide_block(g, row, column, &m);
    }
}

double lx_adafactor_relative_step(const lx_optimizer_config *c, int64_t n)
{
    return fmin(c->warmup_init ? 1e-6 * (double)n : 1e-2, 1 / sqrt((double)n));
}

static double rate_of(const lx_optimizer *o, const lx_trainable *t, int64_t n,
                      double factor)
{
    const lx_optimizer_config *c = &o->config;
    double rate = t->lr * factor;

    if (c->relative_step)
        rate = lx_adafactor_relative_step(c, n);
    return c->scale_parameter ? rate * fmax(c->eps2, rms(t->value, t->n)) : rate;
}

static void update(lx_optimizer *o, const lx_trainable *t, size_t i, double factor)
{
    const lx_optimizer_config *c = &o->config;
    const double b = 1 - pow((double)o->updates[i], c->decay_rate);
    const double lr = rate_of(o, t, o->updates[i], factor);
    float *m = c->beta1 >= 0 ? lx_optimizer__floats(o, i, AVERAGE) : NULL;
    const float keep = (float)(1 - c->weight_decay * lr);
    float by;

    find_direction(o, t, i, b);
    by = (float)(lr / fmax(1, rms(t->gradient, t->n) / c->clip_threshold));
    for (size_t j = 0; j < t->n; j++) {
        float d = t->gradient[j] * by;
        if (m)
            d = m[j] = (float)c->beta1 * m[j] + (float)(1 - c->beta1) * d;
        t->value[j] = t->value[j] * keep - d;
    }
}

static void step_adafactor(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    for (size_t i = 0; i < o->count; i++)
        if (tensors[i].has_gradient && tensors[i].n > 0)
            update(o, &tensors[i], i, factor);
}

const lx_optimizer_rule lx_rule_adafactor = {.open = open_adafactor,
                                             .step = step_adafactor};
