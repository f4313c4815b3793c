/* Which calls are one launch, and its tables: see join.h. */
#include "kernels/cuda/join.h"
#include "kernels/cuda/ends.h"
#include "kernels/cuda/norms.h"

#include <string.h>

#include "src/base/alloc.h"

enum { MOST_ITEMS = 64, MOST_GRADIENTS = 1024 };

/* A product with a frozen weight, its LoRA's two if it has one: calls in the order of the graph. */
typedef struct item {
    int base, p, q; /* p and q -1: none */
    size_t n;       /* calls */
} item;

static bool is_half(const lx_arg *arg)
{
    return arg->dtype == LX_F16 || arg->dtype == LX_BF16;
}

static bool is_there(const lx_arg *arg)
{
    return lx_arg_present(arg);
}

/* Sixteen bytes of a row at a time. */
static bool has_whole_rows(const lx_arg *w)
{
    return w->shape[0] % 8 == 0 && w->n_dims > 1 && w->shape[1] % 8 == 0;
}

static bool is_plain(const lx_call *call, int add)
{
    return is_half(&call->in[0]) && call->in[0].dtype == call->out[0].dtype &&
           call->in[1].is_frozen && has_whole_rows(&call->in[1]) &&
           call->attrs.linear.scale == 1 &&
           (!is_there(&call->in[add]) || call->in[add].dtype == call->in[0].dtype);
}

/* A factor that the device holds in the type of activations. */
static bool is_factor(const lx_call *call)
{
    const lx_arg *w = &call->in[1];

    return is_half(&call->in[0]) && w->narrow && w->narrow_dtype == call->in[0].dtype;
}

/* ---- items -------------------------------------------------------------------------- */

/* calls[0..2]: base, down, up. */
static bool is_adapted(const lx_call *c)
{
    return c[1].op == LX_OP_linear && c[2].op == LX_OP_linear && is_factor(&c[1]) &&
           is_factor(&c[2]) && c[1].in[0].id == c[0].in[0].id &&
           c[2].in[0].id == c[1].out[0].id && c[2].in[3].id == c[0].out[0].id &&
           c[0].out[0].n_readers == 1 && !is_there(&c[1].in[2]) &&
           !is_there(&c[1].in[3]) && !is_there(&c[2].in[2]) &&
           c[1].in[1].shape[0] <= LX_CUDA_MOST_RANK;
}

/* calls[0..2]: dh of the up, dx of the down, dx of the base. */
static bool is_adapted_dx(const lx_call *c)
{
    return c[1].op == LX_OP_linear_dx && c[2].op == LX_OP_linear_dx && is_factor(&c[0]) &&
           is_factor(&c[1]) && is_plain(&c[2], 2) && c[2].in[0].id == c[0].in[0].id &&
           c[1].in[0].id == c[0].out[0].id && c[2].in[2].id == c[1].out[0].id &&
           c[1].out[0].n_readers == 1 && !is_there(&c[0].in[2]) &&
           c[1].in[1].shape[0] <= LX_CUDA_MOST_RANK && c[0].in[1].shape[0] % 8 == 0 &&
           c[1].in[1].shape[1] % 8 == 0;
}

/* A factor's dx alone: what the layer reads needs no gradient, but the other factor's needs this. */
static bool is_factor_dx(const lx_call *c)
{
    return c->op == LX_OP_linear_dx && is_factor(c) && has_whole_rows(&c->in[1]) &&
           c->in[0].dtype == c->out[0].dtype && !is_there(&c->in[2]);
}

/* The item that begins with the first of n calls. */
static bool take_item(item *out, const lx_call *calls, size_t n)
{
    if (calls[0].op == LX_OP_linear && is_plain(&calls[0], 3)) {
        *out = (item){0, -1, -1, 1};
        if (n >= 3 && is_adapted(calls))
            *out = (item){0, 1, 2, 3};
        return true;
    }
    if (calls[0].op == LX_OP_linear_dx && n >= 3 && is_adapted_dx(calls)) {
        *out = (item){2, 0, 1, 3};
        return true;
    }
    if (calls[0].op == LX_OP_linear_dx &&
        (is_plain(&calls[0], 2) || is_factor_dx(&calls[0]))) {
        *out = (item){0, -1, -1, 1};
        return true;
    }
    return false;
}

static int adding_call(const item *one, bool is_reversed)
{
    return is_reversed && one->q >= 0 ? one->q : one->base;
}

static const lx_arg *added(const lx_call *calls, const item *one, bool is_reversed)
{
    return &calls[adding_call(one, is_reversed)].in[is_reversed ? 2 : 3];
}

static const lx_arg *result(const lx_call *calls, const item *one, bool is_reversed)
{
    return &calls[is_reversed || one->q < 0 ? one->base : one->q].out[0];
}

static bool reads(const lx_call *call, int id, int except)
{
    for (int k = 0; k < call->n_in; k++)
        if (k != except && call->in[k].id == id && is_there(&call->in[k]))
            return true;
    return false;
}

/* Does an item need what one of the calls before it makes? As the sum so far of the last one it may. */
static bool depends(const lx_call *calls, size_t n_before, const lx_call *at,
                    const item *one, bool is_reversed, int sum_so_far)
{
    for (size_t i = 0; i < n_before; i++)
        for (int o = 0; o < calls[i].n_out; o++) {
            const int id = is_there(&calls[i].out[o]) ? calls[i].out[o].id : 0;
            for (size_t k = 0; k < one->n && id; k++) {
                const bool is_sum = is_reversed && id == sum_so_far &&
                                    (int)k == adding_call(one, is_reversed);
                if (reads(&at[k], id, is_sum ? 2 : -1))
                    return true;
            }
        }
    return false;
}

/* What an item makes, if a term may still be added to it before it is rounded; else 0. */
static int open_sum(const lx_call *calls, const item *one, bool is_reversed)
{
    const lx_arg *sum = result(calls, one, is_reversed);

    return sum->n_readers == 1 && calls[one->base].attrs.linear.scale == 1 ? sum->id : 0;
}

static size_t count_products(const lx_call *calls, size_t n)
{
    const bool is_reversed = calls[0].op == LX_OP_linear_dx;
    item one;
    size_t taken = 0, n_items = 0;
    int sum_so_far = 0;
    bool has_lora = false;

    while (taken < n && n_items < MOST_ITEMS && calls[taken].op == calls[0].op &&
           take_item(&one, calls + taken, n - taken)) {
        const lx_call *at = calls + taken;
        if (at[one.base].in[0].dtype != calls[0].in[0].dtype ||
            depends(calls, taken, at, &one, is_reversed, sum_so_far))
            break;
        sum_so_far = open_sum(at, &one, is_reversed);
        has_lora = has_lora || one.p >= 0;
        taken += one.n;
        n_items++;
    }
    return has_lora || n_items > 1 ? taken : 1;
}

/* ---- what stands around products ------------------------------------------------------ */

/* How many items n calls are. */
static size_t count_items(const lx_call *calls, size_t n)
{
    item one;
    size_t n_items = 0;

    for (size_t i = 0; i < n && take_item(&one, calls + i, n - i); i += one.n)
        n_items++;
    return n_items;
}

/* The sum of two gradients. */
static bool is_join(const lx_call *call)
{
    return call->op == LX_OP_add && call->in[0].dtype == call->in[1].dtype &&
           lx_arg_count(&call->in[0]) == lx_arg_count(&call->in[1]);
}

/* What products may have before them as a part of their x. */
static bool is_before(const lx_call *call)
{
    return call->op == LX_OP_layer_norm || call->op == LX_OP_layer_norm_dx ||
           is_join(call);
}

/* How many of n calls multiply what the call before them makes, and go with it; of a gradient one product. */
static size_t count_led(const lx_call *before, const lx_call *products, size_t n)
{
    const lx_arg *x = &before->out[0];
    size_t led = 0;
    item one;

    if (!is_half(&before->in[0]) || before->in[0].dtype != x->dtype ||
        (before->op != LX_OP_layer_norm && count_items(products, n) > 1))
        return 0;
    while (led < n && take_item(&one, products + led, n - led) &&
           products[led + (size_t)one.base].in[0].id == x->id)
        led += one.n;
    return led;
}

static lx_cuda_activation activation_of(lx_op_id op)
{
    switch (op) {
    case LX_OP_quick_gelu:
        return LX_CUDA_QUICK_GELU;
    case LX_OP_geglu:
        return LX_CUDA_GEGLU;
    case LX_OP_quick_gelu_dx:
        return LX_CUDA_QUICK_GELU_DX;
    case LX_OP_geglu_dx:
        return LX_CUDA_GEGLU_DX;
    default:
        return LX_CUDA_NO_ACTIVATION;
    }
}

/* Is `call` the activation of the one product before it? A gradient that others read too is left alone. */
static bool follows(const lx_call *call, const lx_call *products, size_t n)
{
    const lx_cuda_activation what = activation_of(call->op);
    const bool is_reversed = products[0].op == LX_OP_linear_dx;
    item one;

    if (!what || is_reversed != (what >= LX_CUDA_QUICK_GELU_DX) ||
        count_items(products, n) != 1 || !take_item(&one, products, n))
        return false;
    const lx_arg *y = result(products, &one, is_reversed);
    return call->in[0].id == y->id && call->out[0].dtype == y->dtype &&
           lx_arg_width(&call->out[0]) % 8 == 0 &&
           (!is_reversed || (y->n_readers == 1 && call->in[1].dtype == y->dtype &&
                             call->in[1].id != products[one.base].in[0].id));
}

static int rank_of(const lx_call *at, const item *one)
{
    return one->p < 0 ? 0 : (int)lx_arg_width(&at[one->p].out[0]);
}

/* Is `call` an attention with the queries that the one product behind a norm makes? */
static bool attends(const lx_call *call, const lx_call *products, size_t n)
{
    const lx_arg *q = &call->in[0];
    item one;

    if (call->op != LX_OP_attention || count_items(products, n) != 1 ||
        !take_item(&one, products, n) || is_there(added(products, &one, false)))
        return false;
    const lx_arg *y = result(products, &one, false);
    return q->id == y->id && call->in[1].id != y->id && call->in[2].id != y->id &&
           q->dtype == y->dtype && call->out[0].dtype == y->dtype &&
           lx_cuda_attends(call, rank_of(products, &one));
}

static size_t count_around(const lx_call *calls, size_t n)
{
    const size_t before = is_before(&calls[0]);
    const lx_op_id op = calls[0].op == LX_OP_layer_norm_dx || calls[0].op == LX_OP_add
                            ? LX_OP_linear_dx
                            : LX_OP_linear;
    size_t taken;

    if (before && (n < 2 || calls[1].op != op))
        return 1;
    taken = count_products(calls + before, n - before);
    if (taken == 1 && !(before && is_factor_dx(&calls[1])))
        return 1;
    if (before && !(taken = count_led(&calls[0], calls + 1, taken)))
        return 1;
    if (before + taken < n && (follows(&calls[before + taken], calls + before, taken) ||
                               (op == LX_OP_linear && before &&
                                attends(&calls[before + taken], calls + before, taken))))
        taken++;
    return before + taken;
}

/* A gradient of which one side has rows of whole 16 bytes. */
static bool is_thin(const lx_call *call)
{
    return call->op == LX_OP_linear_dw && !call->attrs.linear.sets &&
           is_half(&call->in[0]) && call->in[0].dtype == call->in[1].dtype &&
           (lx_arg_width(&call->in[0]) % 8 == 0 || lx_arg_width(&call->in[1]) % 8 == 0);
}

static size_t count_gradients(const lx_call *calls, size_t n)
{
    size_t taken = 0;

    for (; taken < n && taken < MOST_GRADIENTS && is_thin(&calls[taken]) &&
           calls[taken].in[0].dtype == calls[0].in[0].dtype;
         taken++)
        for (size_t i = 0; i < taken; i++)
            if (calls[i].out[0].id == calls[taken].out[0].id)
                return taken;
    return taken ? taken : 1;
}

static size_t count(const lx_call *calls, size_t n)
{
    if (lx_cuda_begins_end(calls, n))
        return lx_cuda_count_end(calls, n);
    if (calls[0].op == LX_OP_linear || calls[0].op == LX_OP_linear_dx ||
        is_before(&calls[0]))
        return count_around(calls, n);
    if (lx_cuda_begins_norm(calls[0].op))
        return lx_cuda_count_norm(calls, n);
    return calls[0].op == LX_OP_linear_dw ? count_gradients(calls, n) : 1;
}

/* ---- tables ------------------------------------------------------------------------- */

typedef struct joined {
    void *table;
    lx_cuda_weight *weights; /* by product; layout 0: none was packed */
    lx_call *products;
    size_t n_products;
    lx_cuda_sums sums;
    const lx_call *attention; /* NULL: none */
    const lx_cuda_thin *thin;
    int n_thin, n_blocks, thin_width;
    lx_dtype dtype;
} joined;

/* Bytes of the table go to the device; *out is where they are. */
static int send(lx_device *dev, joined *j, const void *bytes, size_t n, lx_error *err)
{
    const int rc = dev->alloc_unset(dev, &j->table, n, err);

    return rc < 0 ? rc : dev->upload(dev, j->table, bytes, n, err);
}

static int place_weight(lx_device *dev, joined *j, lx_call *call, size_t i, lx_error *err)
{
    j->weights[i] = lx_cuda_weight_of(call, call->in[0].dtype);
    return lx_cuda_weight_place(dev, &j->weights[i], call, err);
}

static void fill_term(lx_cuda_term *t, const lx_call *at, const item *one, const void *w)
{
    *t = (lx_cuda_term){.x = at[one->base].in[0].data,
                        .w = w,
                        .K = (int)lx_arg_width(&at[one->base].in[0])};
    if (one->p < 0)
        return;
    t->p = at[one->p].in[1].narrow;
    t->q = at[one->q].in[1].narrow;
    t->h = at[one->p].out[0].data;
    t->R = rank_of(at, one);
    t->first_scale = at[one->p].attrs.linear.scale;
    t->second_scale = at[one->q].attrs.linear.scale;
}

static void fill_sum(lx_cuda_sum *s, const lx_call *at, const item *one, bool is_reversed,
                     int first_term)
{
    const lx_arg *add = added(at, one, is_reversed), *y = result(at, one, is_reversed);
    const lx_arg *bias = &at[one->base].in[2];

    *s = (lx_cuda_sum){.y = y->data,
                       .add = is_there(add) ? add->data : NULL,
                       .scale = at[one->base].attrs.linear.scale,
                       .M = (int)lx_arg_rows(y),
                       .N = (int)lx_arg_width(y),
                       .first_term = first_term,
                       .n_terms = 1};
    if (!is_reversed && is_there(bias)) {
        s->bias = bias->data;
        s->bias_dtype = (int)bias->dtype;
    }
}

/* Terms and sums of all items; the number of sums. */
static int fill_products(lx_device *dev, joined *j, lx_cuda_sum *sums,
                         lx_cuda_term *terms, lx_call *calls, size_t n, lx_error *err)
{
    const bool is_reversed = calls[0].op == LX_OP_linear_dx;
    int n_sums = 0, n_terms = 0, before = 0, rc;
    item one;

    for (size_t i = 0; i < n; i += one.n) {
        const lx_call *at = calls + i;
        if (!take_item(&one, at, n - i))
            return lx_fail(err, LX_EINTERNAL, "joined calls do not fit together");
        const size_t base = i + (size_t)one.base;
        if ((rc = place_weight(dev, j, &calls[base], base, err)) < 0)
            return rc;
        fill_term(&terms[n_terms], at, &one, j->weights[base].data);
        if (j->sums.most_rank < terms[n_terms].R)
            j->sums.most_rank = terms[n_terms].R;
        if (is_reversed && before && added(at, &one, true)->id == before) {
            sums[n_sums - 1].n_terms++;
            sums[n_sums - 1].y = result(at, &one, true)->data;
        } else {
            fill_sum(&sums[n_sums++], at, &one, is_reversed, n_terms);
        }
        before = open_sum(at, &one, is_reversed);
        n_terms++;
    }
    j->sums.is_reversed = is_reversed;
    j->sums.n_sums = n_sums;
    return n_terms;
}

static void cut(joined *j, lx_cuda_sum *sums)
{
    lx_cuda_sums *s = &j->sums;

    s->tile = lx_cuda_tile_of(sums, s->n_sums);
    for (int i = 0; i < s->n_sums; i++) {
        /* Half of a tile is of one half of y, half of the other. */
        const int of = sums[i].activation == LX_CUDA_GEGLU ? 2 : 1,
                  columns = s->tile.columns / of;
        sums[i].first_block = s->n_blocks;
        sums[i].n_columns = (sums[i].N / of + columns - 1) / columns;
        s->n_blocks +=
            sums[i].n_columns * ((sums[i].M + s->tile.rows - 1) / s->tile.rows);
    }
}

/* What the call before the products and the one behind them make. */
static void fill_around(joined *j, lx_cuda_sum *sum, const lx_call *calls, size_t n)
{
    const lx_call *norm = &calls[0], *after = &calls[n - 1];
    const bool is_reversed = norm->op == LX_OP_layer_norm_dx;

    sum->activation = activation_of(after->op);
    if (sum->activation) {
        sum->z = after->out[0].data;
        sum->of = sum->activation >= LX_CUDA_QUICK_GELU_DX ? after->in[1].data : NULL;
        if (sum->of || sum->y == sum->z)
            sum->y = NULL;
    }
    if (!is_before(norm))
        return;
    j->sums.has_norm = true;
    if (norm->op == LX_OP_add) {
        j->sums.norm = (lx_cuda_norm){
            .from = norm->in[1].data, .dy = norm->in[0].data, .to = norm->out[0].data};
        return;
    }
    j->sums.norm = (lx_cuda_norm){
        .from = norm->in[is_reversed ? 1 : 0].data,
        .dy = is_reversed ? norm->in[0].data : NULL,
        .plus = is_reversed && is_there(&norm->in[4]) ? norm->in[4].data : NULL,
        .to = norm->out[0].data,
        .stats = is_reversed ? norm->in[3].data : norm->out[1].data,
        .w = norm->in[is_reversed ? 2 : 1].data,
        .b = is_reversed ? NULL : norm->in[2].data,
        .w_dtype = (int)norm->in[is_reversed ? 2 : 1].dtype,
        .b_dtype = (int)norm->in[2].dtype,
        .eps = norm->attrs.norm.eps,
    };
}

static int make_products(lx_device *dev, joined *j, lx_call *all, size_t n_all,
                         lx_error *err)
{
    lx_call *calls = j->products;
    const size_t n = j->n_products;
    const size_t of_sums = n * sizeof(lx_cuda_sum);
    char *table = lx_calloc(n, sizeof(lx_cuda_sum) + sizeof(lx_cuda_term));
    lx_cuda_sum *sums = (lx_cuda_sum *)(void *)table;
    lx_cuda_term *terms = (lx_cuda_term *)(void *)(table + of_sums);
    int rc;

    if (!table)
        return lx_oom(err);
    if ((rc = fill_products(dev, j, sums, terms, calls, n, err)) >= 0) {
        const size_t bytes = of_sums + (size_t)rc * sizeof *terms;
        fill_around(j, sums, all, n_all);
        cut(j, sums);
        rc = send(dev, j, table, bytes, err);
        j->sums.sums = j->table;
        j->sums.terms = (const lx_cuda_term *)(const void *)((char *)j->table + of_sums);
        j->sums.dtype = calls[0].in[0].dtype;
    }
    lx_free(table);
    return rc;
}

/* The narrower side is the thin one, unless only it has rows of whole 16 bytes. */
static lx_cuda_thin thin_of(const lx_call *call)
{
    const int N = (int)lx_arg_width(&call->in[0]), K = (int)lx_arg_width(&call->in[1]);
    const bool is_x_wide = K % 8 == 0 && (K >= N || N % 8 != 0);
    const lx_arg *wide = &call->in[is_x_wide ? 1 : 0],
                 *thin = &call->in[is_x_wide ? 0 : 1];

    return (lx_cuda_thin){.wide = wide->data,
                          .thin = thin->data,
                          .out = call->out[0].data,
                          .rows = (int)lx_arg_rows(wide),
                          .W = is_x_wide ? K : N,
                          .R = is_x_wide ? N : K,
                          .wide_step = is_x_wide ? 1 : K,
                          .thin_step = is_x_wide ? K : 1,
                          .scale = call->attrs.linear.scale};
}

static int make_gradients(lx_device *dev, joined *j, const lx_call *calls, size_t n,
                          lx_error *err)
{
    lx_cuda_thin *all = lx_calloc(n, sizeof *all);
    int most = 0, rc;

    if (!all)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        all[i] = thin_of(&calls[i]);
        most = most < all[i].R ? all[i].R : most;
    }
    j->thin_width = most <= 16 ? 16 : most <= 32 ? 32 : 64;
    for (size_t i = 0; i < n; i++) {
        all[i].first_block = j->n_blocks;
        all[i].n_columns = (all[i].W + LX_CUDA_THIN_COLUMNS - 1) / LX_CUDA_THIN_COLUMNS;
        j->n_blocks +=
            all[i].n_columns * ((all[i].R + j->thin_width - 1) / j->thin_width);
    }
    j->n_thin = (int)n;
    j->dtype = calls[0].in[0].dtype;
    rc = send(dev, j, all, n * sizeof *all, err);
    j->thin = j->table;
    lx_free(all);
    return rc;
}

/* ---- the device's ------------------------------------------------------------------- */

static void release(lx_device *dev, lx_call *calls, size_t n)
{
    joined *j = calls[0].state;

    if (lx_cuda_begins_end(calls, n) || lx_cuda_begins_norm(calls[0].op)) {
        (lx_cuda_begins_norm(calls[0].op) ? lx_cuda_release_norm
                                          : lx_cuda_release_end)(dev, calls, n);
        return;
    }
    if (!j)
        return;
    for (size_t i = 0; i < j->n_products; i++)
        lx_cuda_weight_release(dev, &j->weights[i], &j->products[i]);
    if (j->table)
        dev->free(dev, j->table);
    lx_free(j->weights);
    lx_free(j);
    calls[0].state = NULL;
}

static int prepare(lx_device *dev, lx_call *calls, size_t n, lx_error *err)
{
    joined *j;
    int rc;

    if (lx_cuda_begins_end(calls, n))
        return lx_cuda_prepare_end(dev, calls, n, err);
    if (lx_cuda_begins_norm(calls[0].op))
        return lx_cuda_prepare_norm(dev, calls, n, err);
    j = lx_calloc(1, sizeof *j);
    if (!j || !(j->weights = lx_calloc(n, sizeof *j->weights))) {
        lx_free(j);
        return lx_oom(err);
    }
    calls[0].state = j;
    j->products = calls + is_before(&calls[0]);
    if (calls[n - 1].op == LX_OP_attention)
        j->attention = &calls[n - 1];
    j->n_products = n - is_before(&calls[0]) - (j->attention != NULL) -
                    (activation_of(calls[n - 1].op) != LX_CUDA_NO_ACTIVATION);
    rc = calls[0].op == LX_OP_linear_dw ? make_gradients(dev, j, calls, n, err)
                                        : make_products(dev, j, calls, n, err);
    if (rc < 0)
        release(dev, calls, n);
    return rc < 0 ? rc : LX_OK;
}

static void run(lx_device *dev, const lx_call *calls, size_t n)
{
    const joined *j = calls[0].state;

    if (lx_cuda_begins_end(calls, n))
        lx_cuda_run_end(dev, calls, n);
    else if (lx_cuda_begins_norm(calls[0].op))
        lx_cuda_run_norm(dev, calls, n);
    else if (j->n_thin)
        lx_cuda_thin_gradients(dev, j->thin, j->n_thin, j->n_blocks, j->thin_width,
                               j->dtype);
    else if (j->attention)
        lx_cuda_attend_queries(dev, &j->sums, j->attention);
    else
        lx_cuda_add_products(dev, &j->sums);
}

static bool has_scratch(lx_op_id first)
{
    return lx_cuda_begins_norm(first) || first == LX_OP_cast; /* the loss */
}

const lx_joining lx_cuda_joining = {
    .count = count,
    .prepare = prepare,
    .run = run,
    .release = release,
    .has_scratch = has_scratch,
};
