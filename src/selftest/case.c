#include "src/selftest/case.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/arg.h"
#include "kernels/peak.h"
#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/graph/graph.h"

enum { GUARD = 256, GUARD_BYTE = 0xa5 };

/* An operand as it was made, its bytes without the guards. */
typedef struct operand {
    lx_arg arg;
    void *bytes;
    size_t size;
} operand;

struct lx_case {
    lx_op_id op;
    lx_attrs attrs;
    int n_in, n_out, in_place;
    operand in[LX_CALL_MAX_IN], out[LX_CALL_MAX_OUT];
    void *result[LX_CALL_MAX_OUT]; /* of the last run */
    bool is_broken;                /* building ran out of memory or of places */
};

/* ---- building --------------------------------------------------------------------- */

lx_case *lx_case_new(lx_op_id op)
{
    lx_case *c = lx_calloc(1, sizeof *c);

    if (c) {
        c->op = op;
        c->in_place = -1;
    }
    return c;
}

lx_attrs *lx_case_attrs(lx_case *c)
{
    return &c->attrs;
}

void lx_case_in_place(lx_case *c, int i)
{
    c->in_place = i;
}

/* Dimensions up to -1. */
static lx_arg read_shape(va_list dims)
{
    lx_arg arg = {.n_dims = 0};

    for (int64_t n; (n = va_arg(dims, int)) >= 0 && arg.n_dims < LX_MAX_DIMS;)
        arg.shape[arg.n_dims++] = n;
    return arg;
}

static void make(lx_case *c, operand *o, lx_dtype dtype, int n_dims, const int64_t *shape)
{
    o->arg.dtype = dtype;
    o->arg.n_dims = n_dims;
    memcpy(o->arg.shape, shape, (size_t)n_dims * sizeof *shape);
    o->size = (size_t)lx_arg_count(&o->arg) * (size_t)lx_dtype_bits(dtype) / 8;
    if (!(o->bytes = lx_calloc(1, o->size + 1)))
        c->is_broken = true;
}

static void draw(lx_case *c, operand *o, int stream, double mean, double std)
{
    const lx_rng rng = lx_rng_stream(7, LX_RNG_TEST, (uint64_t)c->op, (uint64_t)stream);
    const size_t n = (size_t)lx_arg_count(&o->arg);
    float *x = lx_alloc((n + 4) * sizeof *x);

    if (!x || !o->bytes) {
        c->is_broken = true;
        lx_free(x);
        return;
    }
    lx_rng_normal(x, n, 0, &rng);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(mean + std * x[i]);
    c->is_broken |= lx_from_f32(o->bytes, o->arg.dtype, x, n) < 0;
    lx_free(x);
}

/* The first of too many is written over, and the case is broken. */
static operand *next_in(lx_case *c)
{
    c->is_broken |= c->n_in == LX_CALL_MAX_IN;
    return &c->in[c->n_in < LX_CALL_MAX_IN ? c->n_in++ : 0];
}

static operand *next_out(lx_case *c)
{
    c->is_broken |= c->n_out == LX_CALL_MAX_OUT;
    return &c->out[c->n_out < LX_CALL_MAX_OUT ? c->n_out++ : 0];
}

void lx_case_in_shape(lx_case *c, lx_dtype dtype, double mean, double std, int n_dims,
                      const int64_t *shape)
{
    operand *o = next_in(c);

    make(c, o, dtype, n_dims, shape);
    o->arg.is_frozen = dtype == LX_F16;
    draw(c, o, c->n_in, mean, std);
}

void lx_case_in(lx_case *c, double mean, double std, ...)
{
    va_list dims;
    lx_arg arg;

    va_start(dims, std);
    arg = read_shape(dims);
    va_end(dims);
    lx_case_in_shape(c, LX_F32, mean, std, arg.n_dims, arg.shape);
}

void lx_case_in_f16(lx_case *c, double std, ...)
{
    va_list dims;
    lx_arg arg;

    va_start(dims, std);
    arg = read_shape(dims);
    va_end(dims);
    lx_case_in_shape(c, LX_F16, 0, std, arg.n_dims, arg.shape);
}

void lx_case_in_i64(lx_case *c, int64_t n, const int64_t *values)
{
    operand *o = next_in(c);

    make(c, o, LX_I64, 1, &n);
    if (o->bytes)
        memcpy(o->bytes, values, o->size);
}

void lx_case_in_data(lx_case *c, const float *values, ...)
{
    operand *o = next_in(c);
    va_list dims;
    lx_arg arg;

    va_start(dims, values);
    arg = read_shape(dims);
    va_end(dims);
    make(c, o, LX_F32, arg.n_dims, arg.shape);
    if (o->bytes)
        memcpy(o->bytes, values, o->size);
}

void lx_case_absent_in(lx_case *c)
{
    next_in(c)->arg.n_dims = -1;
}

void lx_case_out_shape(lx_case *c, bool is_sum, int n_dims, const int64_t *shape)
{
    operand *o = next_out(c);

    make(c, o, LX_F32, n_dims, shape);
    if (is_sum)
        draw(c, o, 100 + c->n_out, 0, 1);
    else if (o->bytes)
        memset(o->bytes, 0xff, o->size); /* NaN: what is not written shows */
}

void lx_case_out(lx_case *c, ...)
{
    va_list dims;
    lx_arg arg;

    va_start(dims, c);
    arg = read_shape(dims);
    va_end(dims);
    lx_case_out_shape(c, false, arg.n_dims, arg.shape);
}

void lx_case_out_sum(lx_case *c, ...)
{
    va_list dims;
    lx_arg arg;

    va_start(dims, c);
    arg = read_shape(dims);
    va_end(dims);
    lx_case_out_shape(c, true, arg.n_dims, arg.shape);
}

void lx_case_absent_out(lx_case *c)
{
    next_out(c)->arg.n_dims = -1;
}

void lx_case_free(lx_case *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n_in; i++)
        lx_free(c->in[i].bytes);
    for (int i = 0; i < c->n_out; i++) {
        lx_free(c->out[i].bytes);
        lx_free(c->result[i]);
    }
    lx_free(c);
}

/* ---- half precision --------------------------------------------------------------- */

/* Statistics, sums that are added to, and what is no activation stay F32 in half precision. */
static bool stays_f32(lx_op_id op, bool is_out, int i)
{
    switch (op) {
    case LX_OP_group_norm:
    case LX_OP_layer_norm:
    case LX_OP_attention:
        return is_out && i == 1;
    case LX_OP_group_norm_dx:
    case LX_OP_attention_bwd:
        return !is_out && i == 4;
    case LX_OP_layer_norm_dx:
        return !is_out && i == 3;
    case LX_OP_norm_dwb:
        return is_out || i == 2;
    case LX_OP_bias_db:
    case LX_OP_linear_dw:
    case LX_OP_conv2d_dw:
        return is_out;
    case LX_OP_mul_add:
        return !is_out && i != 1 && i != 3;
    case LX_OP_loss:
        return is_out ? i == 0 : i >= 3;
    case LX_OP_timestep_embedding:
        return !is_out;
    case LX_OP_hadamard:
    case LX_OP_hadamard_dab:
        return true;
    default:
        return false;
    }
}

/* `from` with its F32 activations rounded to `dtype`, and kept in it or, wide, in F32. */
static void round_operand(lx_case *c, operand *to, const operand *from, lx_dtype dtype,
                          bool is_wide)
{
    const size_t n = from->size / sizeof(float);
    uint16_t *narrow = lx_alloc(from->size + 1);

    *to = *from;
    to->bytes = lx_alloc(from->size + 1);
    if (!narrow || !to->bytes || lx_from_f32(narrow, dtype, from->bytes, n) < 0) {
        c->is_broken = true;
    } else if (is_wide) {
        c->is_broken |= lx_to_f32(to->bytes, narrow, dtype, n) < 0;
    } else {
        to->arg.dtype = dtype;
        to->size = n * sizeof *narrow;
        memcpy(to->bytes, narrow, to->size);
    }
    lx_free(narrow);
}

static void copy_operand(lx_case *c, operand *to, const operand *from)
{
    *to = *from;
    if (!from->bytes)
        return;
    if ((to->bytes = lx_alloc(from->size + 1)))
        memcpy(to->bytes, from->bytes, from->size);
    else
        c->is_broken = true;
}

lx_case *lx_case_round(const lx_case *c, lx_dtype dtype, bool is_wide)
{
    lx_case *r = lx_alloc(sizeof *r);

    if (!r)
        return NULL;
    *r = *c;
    memset(r->result, 0, sizeof r->result);
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const bool is_out = i >= c->n_in;
        const int at = is_out ? i - c->n_in : i;
        const operand *from = is_out ? &c->out[at] : &c->in[at];
        operand *to = is_out ? &r->out[at] : &r->in[at];
        if (from->arg.n_dims < 0 || from->arg.dtype != LX_F32 ||
            stays_f32(c->op, is_out, at))
            copy_operand(r, to, from);
        else
            round_operand(r, to, from, dtype, is_wide);
    }
    return r;
}

double lx_case_f16_limit(lx_op_id op)
{
    return op == LX_OP_attention || op == LX_OP_attention_bwd ? 1e-3 : 5e-4;
}

/* ---- operands on the device ------------------------------------------------------- */

static bool has_guards(const lx_case_on *on)
{
    return on->has_guards || on->dev->uses_host_memory;
}

/* A copy of `bytes` (NULL: of 0xff, so that reading it shows) in the device's memory, with guards
 * around it or else an allocation of that size. */
static int give(const lx_case_on *on, void **out, const void *bytes, size_t size,
                lx_error *err)
{
    lx_device *dev = on->dev;
    const size_t guard = has_guards(on) ? GUARD : 0;
    char *whole = lx_alloc(size + 2 * guard + 1);
    void *memory = NULL;
    int rc;

    if (!whole)
        return lx_oom(err);
    memset(whole, GUARD_BYTE, size + 2 * guard);
    if (bytes)
        memcpy(whole + guard, bytes, size);
    else
        memset(whole + guard, 0xff, size);
    if ((rc = dev->alloc_unset(dev, &memory, size + 2 * guard, err)) == LX_OK &&
        (rc = dev->upload(dev, memory, whole, size + 2 * guard, err)) < 0)
        dev->free(dev, memory);
    if (rc == LX_OK)
        *out = (char *)memory + guard;
    lx_free(whole);
    return rc;
}

/* What the device's memory holds now (lx_free); the memory is gone. LX_ECHECK: a guard was touched. */
static int take(const lx_case_on *on, void **out, void *memory, size_t size,
                const char *what, lx_error *err)
{
    lx_device *dev = on->dev;
    const size_t guard = has_guards(on) ? GUARD : 0;
    unsigned char *whole = lx_alloc(size + 2 * guard + 1);
    void *begin = (char *)memory - guard;
    int rc =
        whole ? dev->download(dev, whole, begin, size + 2 * guard, err) : lx_oom(err);

    dev->free(dev, begin);
    for (size_t i = 0; i < guard && rc == LX_OK; i++)
        if (whole[i] != GUARD_BYTE || whole[guard + size + i] != GUARD_BYTE)
            rc = lx_fail(err, LX_ECHECK, "%s: bytes outside of it were written", what);
    if (rc == LX_OK) {
        memmove(whole, whole + guard, size);
        *out = whole;
    } else {
        lx_free(whole);
    }
    return rc;
}

/* A call with its operands on the device. */
typedef struct placed {
    const lx_case *c;
    const lx_case_on *on;
    lx_call call;
    const lx_kernel *kernel;
    bool is_prepared;
} placed;

static int place(placed *p, lx_arg *arg, const operand *o, const void *bytes,
                 lx_error *err)
{
    *arg = o->arg;
    return arg->n_dims < 0 ? LX_OK : give(p->on, &arg->data, bytes, o->size, err);
}

static int place_operands(placed *p, lx_error *err)
{
    const lx_case *c = p->c;
    const int shared = p->on->is_in_place ? c->in_place : -1;
    int rc = LX_OK;

    for (int i = 0; i < c->n_out && rc == LX_OK; i++, p->call.n_out++)
        rc = place(p, &p->call.out[i], &c->out[i],
                   i == 0 && shared >= 0 ? c->in[shared].bytes : c->out[i].bytes, err);
    for (int i = 0; i < c->n_in && rc == LX_OK; i++, p->call.n_in++)
        if (i == shared) {
            p->call.in[i] = c->in[i].arg;
            p->call.in[i].data = p->call.out[0].data;
        } else {
            rc = place(p, &p->call.in[i], &c->in[i], c->in[i].bytes, err);
        }
    return rc;
}

/* First without addresses, as the planner does it. */
static int prepare(placed *p, lx_error *err)
{
    lx_call sizing = p->call;
    int rc;

    for (int i = 0; i < LX_CALL_MAX_IN; i++)
        sizing.in[i].data = NULL;
    for (int i = 0; i < LX_CALL_MAX_OUT; i++)
        sizing.out[i].data = NULL;
    if ((rc = p->kernel->prepare(p->on->dev, &sizing, true, err)) < 0)
        return rc;
    p->call.scratch_bytes = sizing.scratch_bytes;
    if ((rc = give(p->on, &p->call.scratch, NULL, p->call.scratch_bytes, err)) < 0 ||
        (rc = p->kernel->prepare(p->on->dev, &p->call, false, err)) < 0)
        return rc;
    p->is_prepared = true;
    return LX_OK;
}

static int set_up(placed *p, const lx_case *c, const lx_case_on *on, lx_error *err)
{
    int rc;

    *p = (placed){.c = c,
                  .on = on,
                  .call = {.op = c->op, .attrs = c->attrs, .label = "case"},
                  .kernel = &on->kernels[c->op]};
    if (c->is_broken)
        return lx_fail(err, LX_ENOMEM, "out of memory for the operands of %s",
                       lx_op_name(c->op));
    if ((rc = place_operands(p, err)) < 0)
        return rc;
    return p->kernel->prepare ? prepare(p, err) : LX_OK;
}

/* Keeps the first error, and goes on. */
static void keep(int *rc, int got)
{
    if (*rc == LX_OK)
        *rc = got;
}

static int take_input(const placed *p, int i, lx_error *err)
{
    const operand *o = &p->c->in[i];
    void *bytes = NULL;
    int rc = take(p->on, &bytes, p->call.in[i].data, o->size, "an input", err);

    if (rc == LX_OK && memcmp(bytes, o->bytes, o->size) != 0)
        rc = lx_fail(err, LX_ECHECK, "input %d was changed", i);
    lx_free(bytes);
    return rc;
}

/* Gives everything back; `result`, where not NULL, gets the outputs. After a failure the rest of the
 * errors is not told. */
static int take_down(placed *p, void *result[LX_CALL_MAX_OUT], int rc, lx_error *err)
{
    const int shared = p->on->is_in_place ? p->c->in_place : -1;
    void *bytes = NULL;

    if (p->is_prepared && p->kernel->release)
        p->kernel->release(p->on->dev, &p->call);
    if (p->call.scratch)
        keep(&rc, take(p->on, &bytes, p->call.scratch, p->call.scratch_bytes,
                       "the scratch", rc < 0 ? NULL : err));
    lx_free(bytes);
    for (int i = 0; i < p->call.n_in; i++)
        if (p->call.in[i].data && i != shared)
            keep(&rc, take_input(p, i, rc < 0 ? NULL : err));
    for (int i = 0; i < LX_CALL_MAX_OUT; i++) {
        bytes = NULL;
        if (p->call.out[i].data)
            keep(&rc, take(p->on, &bytes, p->call.out[i].data, p->c->out[i].size,
                           "an output", rc < 0 ? NULL : err));
        if (result && bytes) {
            lx_free(result[i]);
            result[i] = bytes;
        } else {
            lx_free(bytes);
        }
    }
    return rc;
}

/* ---- running ---------------------------------------------------------------------- */

int lx_case_run(lx_case *c, const lx_case_on *on, lx_error *err)
{
    const size_t before = on->dev->bytes_now;
    placed p;
    int rc = set_up(&p, c, on, err);

    if (rc == LX_OK) {
        p.kernel->run(on->dev, &p.call);
        rc = on->dev->sync(on->dev, err);
    }
    rc = take_down(&p, c->result, rc, err);
    if (rc == LX_OK && on->dev->bytes_now != before)
        rc = lx_fail(err, LX_ECHECK, "%zu bytes were not given back",
                     on->dev->bytes_now - before);
    if (rc < 0)
        lx_within(err, "%s", lx_op_name(c->op));
    return rc;
}

/* Seconds of n runs, queued one behind the other. */
static int time_queued(double *seconds, placed *p, void *recording, int n, lx_error *err)
{
    lx_device *dev = p->on->dev;
    const double start = lx_peak_clock(dev);
    int rc = LX_OK;

    if (recording)
        rc = dev->replay(dev, recording, err);
    else
        for (int i = 0; i < n; i++)
            p->kernel->run(dev, &p->call);
    if (rc == LX_OK)
        rc = dev->sync(dev, err);
    *seconds = lx_peak_clock(dev) - start;
    return rc;
}

static int record(void **recording, placed *p, int n, lx_error *err)
{
    lx_device *dev = p->on->dev;
    int rc;

    if (!dev->record_begin)
        return LX_OK;
    if ((rc = dev->record_begin(dev, err)) < 0)
        return rc;
    for (int i = 0; i < n; i++)
        p->kernel->run(dev, &p->call);
    return dev->record_end(dev, recording, err);
}

/* The best of some rounds of n runs each. */
static int time_rounds(double *seconds, placed *p, double budget, lx_error *err)
{
    enum { MOST = 100, ROUNDS = 4 };
    double first = 0, took = 0, total = 0;
    void *recording = NULL;
    int n, rc;

    if ((rc = time_queued(&first, p, NULL, 1, err)) < 0 || /* warms up */
        (rc = time_queued(&first, p, NULL, 1, err)) < 0)
        return rc;
    n = first * MOST < budget / ROUNDS ? MOST : (int)(budget / ROUNDS / first);
    *seconds = first;
    if (n < 1)
        return LX_OK;
    rc = record(&recording, p, n, err);
    for (int i = 0; i < ROUNDS && rc == LX_OK && total < budget; i++) {
        if ((rc = time_queued(&took, p, recording, n, err)) == LX_OK)
            *seconds = fmin(*seconds, took / n);
        total += took;
    }
    if (recording)
        p->on->dev->record_free(p->on->dev, recording);
    return rc;
}

int lx_case_time(double *seconds, const lx_case *c, const lx_case_on *on, double budget,
                 lx_error *err)
{
    placed p;
    int rc = set_up(&p, c, on, err);

    if (rc == LX_OK)
        rc = time_rounds(seconds, &p, budget, err);
    rc = take_down(&p, NULL, rc, err);
    if (rc < 0)
        lx_within(err, "%s", lx_op_name(c->op));
    return rc;
}

/* ---- results ---------------------------------------------------------------------- */

lx_case_results lx_case_take(lx_case *c)
{
    lx_case_results results;

    memcpy(results.out, c->result, sizeof results.out);
    memset(c->result, 0, sizeof c->result);
    return results;
}

void lx_case_results_free(lx_case_results *results)
{
    for (int i = 0; i < LX_CALL_MAX_OUT; i++)
        lx_free(results->out[i]);
    *results = (lx_case_results){{0}};
}

/* |a - b| / |b|; infinity with a NaN, unless b has it at the same place. */
static double relative_error(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) != isnan(b[i]))
            return INFINITY;
        if (isnan(b[i]))
            continue;
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return difference == 0 ? 0 : sqrt(difference / size);
}

static int tell_worst(int output, const float *got, const float *wanted, size_t n,
                      double error, double limit, lx_error *err)
{
    size_t worst = 0;

    for (size_t j = 0; j < n; j++)
        if (!(fabs((double)got[j] - wanted[j]) <=
              fabs((double)got[worst] - wanted[worst])))
            worst = j;
    return lx_fail(
        err, LX_ECHECK,
        "output %d is off by %.3g (limit %.3g), worst at %zu: %.9g, wanted %.9g", output,
        error, limit, worst, (double)got[worst], (double)wanted[worst]);
}

int lx_case_compare(double *error, const lx_case *c, const lx_case_results *wanted,
                    double limit, lx_error *err)
{
    int rc = LX_OK;

    *error = 0;
    for (int i = 0; i < c->n_out; i++) {
        const size_t n = (size_t)lx_arg_count(&c->out[i].arg);
        float *got;
        double off;
        if (!c->result[i] || !wanted->out[i])
            continue;
        if (!(got = lx_alloc(n * sizeof *got + 1)))
            return lx_oom(err);
        if (lx_to_f32(got, c->result[i], c->out[i].arg.dtype, n) < 0)
            keep(&rc, lx_fail(err, LX_EINTERNAL, "output %d has no type to compare", i));
        off = relative_error(got, wanted->out[i], n);
        if (!(off <= limit) && rc == LX_OK)
            rc = tell_worst(i, got, wanted->out[i], n, off, limit, err);
        *error = fmax(*error, off);
        lx_free(got);
    }
    return rc;
}

int lx_case_differs(const lx_case *c, const lx_case_results *results)
{
    for (int i = 0; i < c->n_out; i++)
        if (c->result[i] && results->out[i] &&
            memcmp(c->result[i], results->out[i], c->out[i].size) != 0)
            return i;
    return -1;
}

float *lx_case_output(lx_case *c, int i)
{
    return c->result[i];
}

float *lx_case_input(lx_case *c, int i)
{
    return c->in[i].bytes;
}

float *lx_case_start(lx_case *c, int i)
{
    return c->out[i].bytes;
}

/* ---- facts ------------------------------------------------------------------------ */

lx_op_id lx_case_op(const lx_case *c)
{
    return c->op;
}

int64_t lx_case_elements(const lx_case *c)
{
    int64_t n = 0;

    for (int i = 0; i < c->n_in; i++)
        n += lx_arg_count(&c->in[i].arg);
    for (int i = 0; i < c->n_out; i++)
        n += lx_arg_count(&c->out[i].arg);
    return n;
}

static lx_call call_of(const lx_case *c)
{
    lx_call call = {.op = c->op, .n_in = c->n_in, .n_out = c->n_out, .attrs = c->attrs};

    for (int i = 0; i < c->n_in; i++)
        call.in[i] = c->in[i].arg;
    for (int i = 0; i < c->n_out; i++)
        call.out[i] = c->out[i].arg;
    return call;
}

double lx_case_flops(const lx_case *c)
{
    const lx_call call = call_of(c);

    return lx_call_flops(&call);
}

double lx_case_bytes(const lx_case *c)
{
    const lx_call call = call_of(c);

    return lx_call_bytes(&call);
}

void lx_case_shapes(char *text, size_t n, const lx_case *c)
{
    size_t at = 0;

    *text = 0;
    for (int i = 0; i < c->n_in; i++)
        for (int d = 0; d < c->in[i].arg.n_dims && at < n; d++)
            at += (size_t)snprintf(text + at, n - at, "%s%lld",
                                   d   ? "x"
                                   : i ? " "
                                       : "",
                                   (long long)c->in[i].arg.shape[d]);
}
