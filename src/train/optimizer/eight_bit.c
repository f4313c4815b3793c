/*
 * AdamW, Lion and SGD with states of 8 bits: each block of 256 numbers is kept as codes
 * of a map of 256 values in -1..1 (0..1 for what is never negative) times the block's
 * largest magnitude. Tensors of fewer than 4096 elements keep f32 states.
 *
 * The map is "dynamic": a power of ten and, the larger it is, the more steps between 0.1
 * and 1. SGDNesterov8bit is plain momentum, as bitsandbytes has it: its kernels know no
 * Nesterov.
 *
 * Source: Dettmers et al. 2021, arXiv:2110.02861; bitsandbytes 0.50 (create_dynamic_map
 * and the blockwise updates). Goldens: train/bnb8bit.safetensors.
 */
#include "src/train/optimizer/eight_bit.h"

#include <math.h>
#include <stdlib.h>

#include "src/train/optimizer/rule.h"

enum { MIN_ELEMENTS = 4096 };
enum { FIRST, SECOND, FIRST_MAX, SECOND_MAX };

/* ---- the code --------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Value i of n from 0.1 to 1 in even steps, counted from the nearer end and rounded once, as
 * torch.linspace does. */
static float even_step(int i, int n)
{
    const double step = (1.0f - 0.1f) / (float)(n - 1);
    return (float)(i < n / 2 ? 0.1f + step * i : 1.0 - step * (n - 1 - i));
}

void lx_eight_bit_map(float map[256], bool is_signed)
{
    static const double power_of_ten[7] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
    int n = 0;

    for (int e = 0; e < 7; e++) {
        const int items = (is_signed ? 1 << e : 1 << (e + 1)) + 1;
        for (int i = 0; i + 1 < items; i++) {
            const float mean = (even_step(i, items) + even_step(i + 1, items)) / 2;
            map[n] = (float)power_of_ten[e] * mean;
            n++;
            if (is_signed) {
                map[n] = -map[n - 1];
                n++;
            }
        }
    }
    map[n++] = 0;
    map[n++] = 1;
    qsort(map, (size_t)n, sizeof *map, by_value);
}

/* The code whose value is nearest: how many midpoints lie below x. So do bitsandbytes' CUDA kernels;
 * its CPU library looks x up in 65536 even steps, which next to a midpoint gives the neighbour. */
static uint8_t nearest(const float map[256], float x)
{
    int low = 0, high = 255;

    while (low < high) {
        const int middle = (low + high) / 2;
        if ((map[middle] + map[middle + 1]) / 2 < x)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint8_t)low;
}

void lx_eight_bit_pack(uint8_t *codes, float *largest, const float *x, size_t n,
                       const float map[256])
{
    float most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    *largest = most;
    for (size_t i = 0; i < n; i++)
        codes[i] = nearest(map, x[i] * (1.0f / fmaxf(most, 1e-38f)));
}

void lx_eight_bit_unpack(float *x, const uint8_t *codes, float largest, size_t n,
                         const float map[256])
{
    for (size_t i = 0; i < n; i++)
        x[i] = map[codes[i]] * largest;
}

/* ---- updates of a run of numbers -------------------------------------------------- */

typedef struct run {
    float *w, *m, *v;
    const float *g;
    size_t n;
    int64_t updates;
    double lr;
    const lx_optimizer_config *config;
} run;

static void adamw(const run *r)
{
    const lx_optimizer_config *c = r->config;
    const float b1 = (float)c->betas[0], one_less_b1 = (float)(1 - c->betas[0]);
    const float b2 = (float)c->betas[1], one_less_b2 = (float)(1 - c->betas[1]);
    const float root = (float)sqrt(1 - pow(c->betas[1], (double)r->updates));
    const float by = (float)(r->lr / (1 - pow(c->betas[0], (double)r->updates)));
    const float keep = (float)(1 - r->lr * c->weight_decay), eps = (float)c->eps;

    for (size_t i = 0; i < r->n; i++) {
        const float g = r->g[i];
        r->m[i] = r->m[i] * b1 + one_less_b1 * g;
        r->v[i] = r->v[i] * b2 + one_less_b2 * g * g;
        r->w[i] = r->w[i] * keep - by * (r->m[i] / (sqrtf(r->v[i]) / root + eps));
    }
}

static void lion(const run *r)
{
    const lx_optimizer_config *c = r->config;
    const float b1 = (float)c->betas[0], one_less_b1 = (float)(1 - c->betas[0]);
    const float b2 = (float)c->betas[1], one_less_b2 = (float)(1 - c->betas[1]);
    const float keep = (float)(1 - r->lr * c->weight_decay), rate = (float)r->lr;

    for (size_t i = 0; i < r->n; i++) {
        const float d = r->m[i] * b1 + one_less_b1 * r->g[i];
        r->w[i] = r->w[i] * keep - rate * ((float)(d > 0) - (float)(d < 0));
        r->m[i] = r->m[i] * b2 + one_less_b2 * r->g[i];
    }
}

static void momentum(const run *r)
{
    const float keep = (float)r->config->momentum, rate = (float)r->lr;
    const float decay = (float)r->config->weight_decay;

    for (size_t i = 0; i < r->n; i++) {
        const float g = r->g[i] + decay * r->w[i];
        r->m[i] = r->updates == 1 ? g : r->m[i] * keep + g;
        r->w[i] -= rate * r->m[i];
    }
}

/* ---- states ----------------------------------------------------------------------- */

static bool is_small(const lx_trainable *t)
{
    return t->n < MIN_ELEMENTS;
}

static int open_moment(lx_optimizer *o, const lx_trainable *t, size_t i, int k)
{
    const size_t blocks = (t->n + LX_EIGHT_BIT_BLOCK - 1) / LX_EIGHT_BIT_BLOCK;
    const char *name = k == FIRST ? "state1" : "state2";
    int rc = lx_optimizer__add(o, i, k, name, is_small(t) ? LX_F32 : LX_U8, t->n);

    if (rc < 0 || is_small(t))
        return rc;
    return lx_optimizer__add(o, i, k == FIRST ? FIRST_MAX : SECOND_MAX,
                             k == FIRST ? "absmax1" : "absmax2", LX_F32, blocks);
}

static int open_one(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    return open_moment(o, t, i, FIRST);
}

static int open_two(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc = open_moment(o, t, i, FIRST);
    return rc < 0 ? rc : open_moment(o, t, i, SECOND);
}

/* A state that no update has written is zero whatever its codes say: the largest
 * magnitude is 0. */
static void update_blocks(lx_optimizer *o, size_t i, run r, size_t n,
                          void (*rule)(const run *), const float maps[2][256])
{
    uint8_t *first = o->states[i][FIRST], *second = o->states[i][SECOND];
    float *first_max = o->states[i][FIRST_MAX], *second_max = o->states[i][SECOND_MAX];
    float m[LX_EIGHT_BIT_BLOCK], v[LX_EIGHT_BIT_BLOCK];

    for (size_t at = 0, block = 0; at < n; at += LX_EIGHT_BIT_BLOCK, block++) {
        run part = r;
        part.w += at;
        part.g += at;
        part.n = n - at < LX_EIGHT_BIT_BLOCK ? n - at : LX_EIGHT_BIT_BLOCK;
        part.m = m;
        part.v = v;
        lx_eight_bit_unpack(m, first + at, first_max[block], part.n, maps[0]);
        if (second)
            lx_eight_bit_unpack(v, second + at, second_max[block], part.n, maps[1]);
        rule(&part);
        lx_eight_bit_pack(first + at, &first_max[block], m, part.n, maps[0]);
        if (second)
            lx_eight_bit_pack(second + at, &second_max[block], v, part.n, maps[1]);
    }
}

static void step_all(lx_optimizer *o, const lx_trainable *tensors, double factor,
                     void (*rule)(const run *))
{
    float maps[2][256];

    lx_eight_bit_map(maps[0], true);
    lx_eight_bit_map(maps[1], false);
    for (size_t i = 0; i < o->count; i++) {
        const lx_trainable *t = &tensors[i];
        run r = {.w = t->value,
                 .g = t->gradient,
                 .n = t->n,
                 .updates = o->updates[i],
                 .lr = t->lr * factor,
                 .config = &o->config};
        if (!t->has_gradient)
            continue;
        if (is_small(t)) {
            r.m = o->states[i][FIRST];
            r.v = o->states[i][SECOND];
            rule(&r);
        } else {
            update_blocks(o, i, r, t->n, rule, maps);
        }
    }
}

static void step_adamw(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    step_all(o, tensors, factor, adamw);
}

static void step_lion(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    step_all(o, tensors, factor, lion);
}

static void step_sgd(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    step_all(o, tensors, factor, momentum);
}

const lx_optimizer_rule lx_rule_adamw_8bit = {.open = open_two, .step = step_adamw};
const lx_optimizer_rule lx_rule_lion_8bit = {.open = open_one, .step = step_lion};
const lx_optimizer_rule lx_rule_sgd_8bit = {.open = open_one, .step = step_sgd};
