#include "tests/support/kernel_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"
#include "src/base/rng.h"

enum { GUARD = 64, MOST = LX_CALL_MAX_IN + LX_CALL_MAX_OUT };

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
};

static void *need(void *memory)
{
    assert_non_null(memory);
    return memory;
}

lx_case *lx_case_new(lx_op_id op)
{
    lx_case *c = need(calloc(1, sizeof *c));

    c->op = op;
    c->in_place = -1;
    return c;
}

lx_attrs *lx_case_attrs(lx_case *c)
{
    return &c->attrs;
}

static void set_shape(lx_arg *arg, va_list dims)
{
    for (int64_t n; (n = va_arg(dims, int)) >= 0;)
        arg->shape[arg->n_dims++] = n;
}

static void make(operand *o, lx_dtype dtype)
{
    o->arg.dtype = dtype;
    o->size = (size_t)lx_arg_count(&o->arg) * (size_t)lx_dtype_bits(dtype) / 8;
    o->bytes = need(calloc(1, o->size + 1));
}

static void draw(operand *o, const lx_case *c, int stream, double mean, double std)
{
    const lx_rng rng = lx_rng_stream(7, LX_RNG_TEST, (uint64_t)c->op, (uint64_t)stream);
    const size_t n = (size_t)lx_arg_count(&o->arg);
    float *x = need(malloc((n + 4) * sizeof *x));

    lx_rng_normal(x, n, 0, &rng);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(mean + std * x[i]);
    assert_int_equal(lx_from_f32(o->bytes, o->arg.dtype, x, n), 0);
    free(x);
}

static operand *next_in(lx_case *c)
{
    assert_true(c->n_in < LX_CALL_MAX_IN);
    return &c->in[c->n_in++];
}

void lx_case_in(lx_case *c, double mean, double std, ...)
{
    operand *o = next_in(c);
    va_list dims;

    va_start(dims, std);
    set_shape(&o->arg, dims);
    va_end(dims);
    make(o, LX_F32);
    draw(o, c, c->n_in, mean, std);
}

void lx_case_in_f16(lx_case *c, double std, ...)
{
    operand *o = next_in(c);
    va_list dims;

    va_start(dims, std);
    set_shape(&o->arg, dims);
    va_end(dims);
    make(o, LX_F16);
    o->arg.is_frozen = true;
    draw(o, c, c->n_in, 0, std);
}

void lx_case_in_i64(lx_case *c, int64_t n, const int64_t *values)
{
    operand *o = next_in(c);

    o->arg.n_dims = 1;
    o->arg.shape[0] = n;
    make(o, LX_I64);
    memcpy(o->bytes, values, o->size);
}

void lx_case_in_data(lx_case *c, const float *values, ...)
{
    operand *o = next_in(c);
    va_list dims;

    va_start(dims, values);
    set_shape(&o->arg, dims);
    va_end(dims);
    make(o, LX_F32);
    memcpy(o->bytes, values, o->size);
}

void lx_case_absent_in(lx_case *c)
{
    next_in(c)->arg.n_dims = -1;
}

static operand *next_out(lx_case *c)
{
    assert_true(c->n_out < LX_CALL_MAX_OUT);
    return &c->out[c->n_out++];
}

void lx_case_out(lx_case *c, ...)
{
    operand *o = next_out(c);
    va_list dims;

    va_start(dims, c);
    set_shape(&o->arg, dims);
    va_end(dims);
    make(o, LX_F32);
    memset(o->bytes, 0xff, o->size); /* NaN: what is not written shows */
}

void lx_case_out_sum(lx_case *c, ...)
{
    operand *o = next_out(c);
    va_list dims;

    va_start(dims, c);
    set_shape(&o->arg, dims);
    va_end(dims);
    make(o, LX_F32);
    draw(o, c, 100 + c->n_out, 0, 1);
}

void lx_case_absent_out(lx_case *c)
{
    next_out(c)->arg.n_dims = -1;
}

void lx_case_in_place(lx_case *c, int i)
{
    c->in_place = i;
}

/* ---- running ------------------------------------------------------------------------------ */

/* The bytes between two guards, 64-byte aligned. */
static char *guarded(size_t size)
{
    char *block = need(aligned_alloc(64, (size + 2 * GUARD + 63) / 64 * 64));

    memset(block, 0xa5, size + 2 * GUARD);
    return block + GUARD;
}

static void release_guarded(const char *what, char *bytes, size_t size)
{
    for (size_t i = 0; i < GUARD; i++)
        if ((unsigned char)bytes[(int64_t)i - GUARD] != 0xa5 ||
            (unsigned char)bytes[size + i] != 0xa5)
            fail_msg("%s: written outside its memory", what);
    free(bytes - GUARD);
}

/* A copy of `bytes` (NULL: of 0xff, so that reading it shows) in the device's memory. Where that is
 * the host's it has guards; elsewhere it is an allocation of that size. */
static void *give(lx_device *dev, const void *bytes, size_t size)
{
    lx_error err = {0};
    void *poison = NULL, *memory = NULL;

    if (!bytes)
        bytes = poison = memset(need(malloc(size + 1)), 0xff, size);
    if (dev->uses_host_memory) {
        memory = memcpy(guarded(size), bytes, size);
    } else {
        assert_int_equal(dev->alloc(dev, &memory, size, &err), 0);
        assert_int_equal(dev->upload(dev, memory, bytes, size, &err), 0);
    }
    free(poison);
    return memory;
}

/* What the device's memory holds now, to be freed; the memory is gone. */
static void *take(lx_device *dev, lx_op_id op, void *memory, size_t size)
{
    lx_error err = {0};
    void *bytes = need(malloc(size + 1));

    if (dev->uses_host_memory) {
        memcpy(bytes, memory, size);
        release_guarded(lx_op_name(op), memory, size);
    } else {
        assert_int_equal(dev->download(dev, bytes, memory, size, &err), 0);
        dev->free(dev, memory);
    }
    return bytes;
}

static void place(lx_device *dev, lx_arg *arg, const operand *o, const void *bytes)
{
    *arg = o->arg;
    if (arg->n_dims >= 0)
        arg->data = give(dev, bytes, o->size);
}

static void fill_call(lx_device *dev, lx_call *call, const lx_case *c, bool is_plain)
{
    *call = (lx_call){.op = c->op,
                      .n_in = c->n_in,
                      .n_out = c->n_out,
                      .attrs = c->attrs,
                      .label = "case"};
    const int shared = is_plain ? -1 : c->in_place;

    for (int i = 0; i < c->n_out; i++)
        place(dev, &call->out[i], &c->out[i],
              i == 0 && shared >= 0 ? c->in[shared].bytes : c->out[i].bytes);
    for (int i = 0; i < c->n_in; i++)
        if (i == shared) {
            call->in[i] = c->in[i].arg;
            call->in[i].data = call->out[0].data;
        } else {
            place(dev, &call->in[i], &c->in[i], c->in[i].bytes);
        }
}

static void drop_call(lx_device *dev, lx_call *call, lx_case *c, bool is_plain)
{
    for (int i = 0; i < c->n_in; i++)
        if (call->in[i].data && (is_plain || i != c->in_place)) {
            void *bytes = take(dev, c->op, call->in[i].data, c->in[i].size);
            assert_memory_equal(bytes, c->in[i].bytes, c->in[i].size);
            free(bytes);
        }
    for (int i = 0; i < c->n_out; i++) {
        if (!call->out[i].data)
            continue;
        free(c->result[i]);
        c->result[i] = take(dev, c->op, call->out[i].data, c->out[i].size);
    }
}

static int open_cpu(lx_device **out, int variant, lx_error *err)
{
    return lx_device_open_cpu(out, variant ? variant : 1, err);
}

const lx_case_device *lx_case_device_used = &(const lx_case_device){.open = open_cpu};

static int open_isa(lx_device **out, int variant, lx_error *err)
{
    static const char *const names[] = {"base", "avx2"};
    int rc;

    if (variant < 3)
        setenv("LX_CPU_ISA", names[variant - 1], 1);
    rc = lx_device_open_cpu(out, 1, err);
    unsetenv("LX_CPU_ISA");
    return rc;
}

const lx_case_device lx_case_isas = {.open = open_isa};

int lx_test_device_open(lx_device **out, lx_error *err)
{
    return lx_case_device_used->open == open_cpu ? lx_device_open_cpu(out, 0, err)
                                                 : lx_case_device_used->open(out, 1, err);
}

lx_compute lx_case_compute(bool is_bf16)
{
    lx_device *dev = NULL;
    lx_error err = {0};
    bool has_bf16;

    if (!is_bf16)
        return LX_COMPUTE_F32;
    assert_int_equal(lx_test_device_open(&dev, &err), 0);
    has_bf16 = dev->computes_bf16;
    lx_device_close(dev);
    return has_bf16 ? LX_COMPUTE_BF16 : LX_COMPUTE_F32;
}

/* variant 0: the plain kernel. */
static void run(lx_case *c, int variant)
{
    lx_device *dev;
    lx_call call;
    lx_error err = {0};

    assert_int_equal(
        (variant ? lx_case_device_used->open : open_cpu)(&dev, variant, &err), 0);
    const lx_kernel *kernel =
        variant ? &dev->kernels[c->op] : &lx_cpu_plain_kernels[c->op];
    fill_call(dev, &call, c, !variant);
    if (kernel->prepare) {
        lx_call sizing = call;
        for (int i = 0; i < MOST; i++)
            (i < LX_CALL_MAX_IN ? &sizing.in[i] : &sizing.out[i - LX_CALL_MAX_IN])->data =
                NULL;
        assert_int_equal(kernel->prepare(dev, &sizing, true, &err), 0);
        call.scratch_bytes = sizing.scratch_bytes;
        call.scratch = give(dev, NULL, call.scratch_bytes);
        assert_int_equal(kernel->prepare(dev, &call, false, &err), 0);
    }
    kernel->run(dev, &call);
    if (kernel->release)
        kernel->release(dev, &call);
    if (dev->sync(dev, &err) < 0)
        fail_msg("%s", err.text);
    if (call.scratch)
        free(take(dev, c->op, call.scratch, call.scratch_bytes));
    drop_call(dev, &call, c, !variant);
    assert_int_equal(dev->bytes_now, 0);
    lx_device_close(dev);
}

static void describe(char *text, size_t n, const lx_case *c)
{
    size_t at = (size_t)snprintf(text, n, "%s", lx_op_name(c->op));

    for (int i = 0; i < c->n_in; i++)
        for (int d = -1; d < c->in[i].arg.n_dims && at < n; d++)
            at += (size_t)(d < 0 ? snprintf(text + at, n - at, " |")
                                 : snprintf(text + at, n - at, " %d",
                                            (int)c->in[i].arg.shape[d]));
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

static void compare(const lx_case *c, int i, const float *plain, const char *what,
                    double limit)
{
    const size_t n = (size_t)lx_arg_count(&c->out[i].arg);
    float *got = need(malloc(n * sizeof *got + 1));
    size_t worst = 0;

    assert_int_equal(lx_to_f32(got, c->result[i], c->out[i].arg.dtype, n), 0);
    const double error = relative_error(got, plain, n);
    if (error <= limit) {
        free(got);
        return;
    }
    for (size_t j = 0; j < n; j++)
        if (!(fabs((double)got[j] - plain[j]) <= fabs((double)got[worst] - plain[worst])))
            worst = j;
    fail_msg("%s: output %d is off by %.3g (limit %.3g), worst at %zu: %.9g, plain %.9g",
             what, i, error, limit, worst, (double)got[worst], (double)plain[worst]);
}

/* Elements of all operands: how much work the case is. */
static int64_t count_all(const lx_case *c)
{
    int64_t n = 0;

    for (int i = 0; i < c->n_in; i++)
        n += lx_arg_count(&c->in[i].arg);
    for (int i = 0; i < c->n_out; i++)
        n += lx_arg_count(&c->out[i].arg);
    return n;
}

/* Every step-th variant against the plain results, and variants against each other. */
static void check_variants(lx_case *c, void *plain[LX_CALL_MAX_OUT], int step,
                           const char *what, double limit)
{
    void *one[LX_CALL_MAX_OUT] = {0};

    for (int variant = 1; variant <= 3; variant += step) {
        run(c, variant);
        for (int i = 0; i < c->n_out; i++) {
            if (!c->result[i])
                continue;
            compare(c, i, plain[i], what, limit);
            if (variant > 1 && memcmp(one[i], c->result[i], c->out[i].size) != 0)
                fail_msg("%s: output %d differs between variants 1 and %d", what, i,
                         variant);
            if (variant == 1) {
                one[i] = c->result[i];
                c->result[i] = NULL;
            }
        }
    }
    for (int i = 0; i < c->n_out; i++)
        free(one[i]);
}

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
        return is_out ? i == 0 : i == 3;
    case LX_OP_timestep_embedding:
        return !is_out;
    default:
        return false;
    }
}

/* `from` with its F32 activations rounded to `dtype`, and kept in it or, wide, in F32. */
static void round_operand(operand *to, const operand *from, lx_dtype dtype, bool is_wide)
{
    const size_t n = from->size / sizeof(float);
    uint16_t *narrow = need(malloc(from->size + 1));

    *to = *from;
    assert_int_equal(lx_from_f32(narrow, dtype, from->bytes, n), 0);
    to->bytes = need(malloc(from->size + 1));
    if (is_wide) {
        assert_int_equal(lx_to_f32(to->bytes, narrow, dtype, n), 0);
    } else {
        to->arg.dtype = dtype;
        to->size = n * sizeof *narrow;
        memcpy(to->bytes, narrow, to->size);
    }
    free(narrow);
}

static void copy_operand(operand *to, const operand *from)
{
    *to = *from;
    to->bytes = need(malloc(from->size + 1));
    if (from->bytes)
        memcpy(to->bytes, from->bytes, from->size);
}

static lx_case *round_case(const lx_case *c, lx_dtype dtype, bool is_wide)
{
    lx_case *r = need(malloc(sizeof *r));

    *r = *c;
    memset(r->result, 0, sizeof r->result);
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const bool is_out = i >= c->n_in;
        const int at = is_out ? i - c->n_in : i;
        const operand *from = is_out ? &c->out[at] : &c->in[at];
        operand *to = is_out ? &r->out[at] : &r->in[at];
        if (from->arg.n_dims < 0 || from->arg.dtype != LX_F32 ||
            stays_f32(c->op, is_out, at))
            copy_operand(to, from);
        else
            round_operand(to, from, dtype, is_wide);
    }
    return r;
}

static void check_half(const lx_case *c, lx_dtype dtype, const char *what, double limit)
{
    lx_case *wide = round_case(c, dtype, true), *narrow = round_case(c, dtype, false);
    char name[600];

    snprintf(name, sizeof name, "%s in %s", what, lx_dtype_name(dtype));
    run(wide, 0);
    check_variants(narrow, wide->result, 2, name, limit);
    lx_case_free(wide);
    lx_case_free(narrow);
}

void lx_case_check(lx_case *c, double limit)
{
    const lx_case_device *device = lx_case_device_used;
    void *plain[LX_CALL_MAX_OUT] = {0};
    char what[512];

    describe(what, sizeof what, c);
    if (device->skips && device->skips(c->op, count_all(c)))
        return;
    run(c, 0);
    memcpy(plain, c->result, sizeof plain);
    memset(c->result, 0, sizeof c->result);
    check_variants(c, plain, 1, what, limit);
    for (int i = 0; i < c->n_out; i++)
        free(plain[i]);
    if (device->f16_limit) {
        check_half(c, LX_F16, what, device->f16_limit(c->op));
        check_half(c, LX_BF16, what, 8 * device->f16_limit(c->op));
    }
}

void lx_case_run(lx_case *c)
{
    const lx_case_device *used = lx_case_device_used, cpu = {.open = open_cpu};

    if (used->skips && used->skips(c->op, 0))
        lx_case_device_used = &cpu;
    run(c, 1);
    lx_case_device_used = used;
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

void lx_case_free(lx_case *c)
{
    for (int i = 0; i < c->n_in; i++)
        free(c->in[i].bytes);
    for (int i = 0; i < c->n_out; i++) {
        free(c->out[i].bytes);
        free(c->result[i]);
    }
    free(c);
}
