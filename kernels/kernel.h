/*
 * kernels/kernel - what a device can do
 *
 * A kernel is one op on one device. The planner fills an lx_call with final addresses (the arena is
 * placed before), calls `prepare` once and `run` every step. Planning may fail; running may not: no
 * allocation, no error, except at lx_device_sync that ends the step.
 *
 * Layout: activations are channels-last, [B, h, w, C] and [B, T, C], contiguous. Weights keep the
 * file's order (conv [Co, Ci, kh, kw], linear [N, K]); a kernel that wants another packs it in
 * prepare, through lx_pack_get, so that plans of several shapes share one packed copy.
 *
 * Optional operands are marked ? in ops.def. Outputs may be absent too, when nobody reads them: stats
 * of a norm, lse of attention, dpred of loss, each of dq, dk, dv and of norm_dwb's dw, db.
 *
 * In place: the planner may give the first output the very address of an input of the same size that
 * dies with the call, for these operands (src/graph/alias.c) and no others:
 *   add of linear, linear_dx, conv2d, group_norm_dx, layer_norm_dx      (y == add: accumulate into y)
 *   any of silu, gelu, quick_gelu, softmax, scale and their _dx; x, y of mul_add; x of dropout
 *   a of add, and b when it is not broadcast
 *   x of group_norm and layer_norm; dy or x of group_norm_dx and layer_norm_dx
 *     (statistics are taken over whole groups or rows before any element of them is written)
 * Otherwise inputs, outputs and scratch never overlap.
 *
 * Adding an op: a line in ops.def (a missing kernel is then a link error), kernels/<op>.h with its
 * formula, kernels/cpu/<op>.c, src/graph/op/<op>.c, tests/kernels/<op>.c.
 */
#ifndef LX_KERNELS_KERNEL_H
#define LX_KERNELS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/error.h"

typedef enum lx_op_id {
#define LX_OP(name, inputs, outputs) LX_OP_##name,
#include "kernels/ops.def"
#undef LX_OP
    LX_OP_COUNT
} lx_op_id;

enum { LX_CALL_MAX_IN = 6, LX_CALL_MAX_OUT = 3 };

/*
 * Values of a frozen weight that a device with memory of its own holds only in the types and orders in which
 * something there reads them. Its address stands for the weight among the copies.
 */
typedef struct lx_weight_source lx_weight_source;
struct lx_weight_source {
    /* n elements from the first-th on, in the weight's own type and order, to dst in the device's memory. */
    int (*read)(const lx_weight_source *source, void *dst, size_t first, size_t n, lx_error *err);
};

/* An operand. Absent optional operands have n_dims = -1 and data = NULL. */
typedef struct lx_arg {
    void *data; /* NULL too where only packed copies of a weight with a source are read */
    lx_dtype dtype;
    int n_dims;
    int64_t shape[LX_MAX_DIMS];
    bool is_frozen; /* constant for the life of the plan: may be packed once */
    const lx_weight_source *source; /* of a frozen weight; NULL: it is at `data`, if anywhere */
    int id; /* operands of one plan that are the same memory have the same; 0 = not told */
    int n_readers; /* for lx_joining.count: operands that read it, one more if the host does */
    /* The same values in another type, kept equal by whoever changes them; NULL = there are none. */
    const void *narrow;
    lx_dtype narrow_dtype;
} lx_arg;

typedef enum lx_loss_type { LX_LOSS_L2, LX_LOSS_L1, LX_LOSS_HUBER, LX_LOSS_SMOOTH_L1 } lx_loss_type;

/*
 * What products are computed in. BF16: both operands of each product are rounded to bf16 (nearest
 * even), products and sums are f32. Operands and results stay f32 in memory. A device may compute in
 * f32 where bf16 is asked for (lx_device.computes_bf16), never the other way round.
 */
typedef enum lx_compute { LX_COMPUTE_F32, LX_COMPUTE_BF16 } lx_compute;

/* How a product is computed: of linear, conv2d, attention and their gradients, but for those of
 * weights (_dw), which are f32. */
typedef struct lx_arithmetic {
    lx_compute compute;
    bool no_winograd; /* 3x3 convolutions as plain sums (kernels/cpu/winograd.h) */
} lx_arithmetic;

/* Attributes, one member per family of ops; each op's header says which it reads. */
typedef union lx_attrs {
    struct {
        int stride, pad_top, pad_left, pad_bottom, pad_right;
        lx_arithmetic arithmetic;
        bool sets; /* conv2d_dw: dw = instead of += */
    } conv;
    struct {
        float scale;
        lx_arithmetic arithmetic;
        bool sets; /* linear_dw: dw = instead of += */
    } linear; /* linear, linear_dx, linear_dw, scale, hadamard, hadamard_dab */
    struct {
        int n_heads;
        bool is_causal;
        float scale; /* of q k^T, 1/sqrt(head dim) */
        lx_arithmetic arithmetic;
    } attention;
    struct {
        int n_groups; /* group_norm only; 0 = layer_norm (norm_dwb) */
        float eps;
        bool has_silu; /* group_norm: y = silu(norm(x)) */
    } norm;
    struct {
        int dim;
        int64_t begin, end;
    } slice;
    struct {
        int64_t h, w;
    } size;
    struct {
        int dims[LX_MAX_DIMS]; /* output dimension i is input dimension dims[i] */
    } permute;
    struct {
        float neuron, rank, module; /* probabilities; 0 = off */
        uint64_t stream;            /* hash of the module's name */
    } dropout;
    struct {
        lx_loss_type type;
        const float *huber_c; /* [1000] per timestep, borrowed; NULL for L1, L2 */
        const float *weight;  /* [1000] per timestep (SNR weights), borrowed; NULL = 1 */
    } loss;
} lx_attrs;

typedef struct lx_device lx_device;

typedef struct lx_call {
    lx_op_id op;
    int n_in, n_out;
    lx_arg in[LX_CALL_MAX_IN];
    lx_arg out[LX_CALL_MAX_OUT];
    lx_attrs attrs;
    const char *label; /* model path, for errors and profiles; borrowed */
    void *state;       /* made by prepare, freed by release */
    void *scratch;     /* set by the planner: scratch_bytes, shared between calls */
    size_t scratch_bytes;
    /* Set by prepare when sizing: the packed copy of a frozen weight that this call will get from
     * lx_pack_get, so that a plan is known to the byte before any memory is taken. 0 = none. A call that
     * gets one reads operand 1 nowhere else. */
    size_t packed_bytes;
    uint64_t packed_layout; /* its layout tag: calls of one weight and layout share the copy */
    size_t n_joined;        /* calls behind this one that are done with it (lx_joining) */
} lx_call;

typedef struct lx_kernel {
    /* Once per plan; optional. First called with data pointers still NULL to learn scratch_bytes
     * and packed_bytes (is_sizing true: must only set those), then with final addresses. */
    int (*prepare)(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err);
    void (*run)(lx_device *dev, const lx_call *call);
    void (*release)(lx_device *dev, lx_call *call); /* optional */
} lx_kernel;

/*
 * Several calls done as one, by a device for which starting one is dear. The planner keeps all operands of such
 * calls alive and apart for as long as any of them runs, but for an `add` that one of them has written: y may be
 * that memory, and what it was in between need never be there.
 */
typedef struct lx_joining {
    /* How many of n consecutive calls, the first of them counted, it does as one; at least 1. Shapes, types and
     * ids are looked at, no data. */
    size_t (*count)(const lx_call *calls, size_t n);
    /* With final addresses, in place of the calls' own. State is the first one's. */
    int (*prepare)(lx_device *dev, lx_call *calls, size_t n, lx_error *err);
    void (*run)(lx_device *dev, const lx_call *calls, size_t n);
    void (*release)(lx_device *dev, lx_call *calls, size_t n);
    /* Does what begins with this op get scratch: the first call's, as much as the one of them that wants the most?
     * NULL: none does. */
    bool (*has_scratch)(lx_op_id first);
} lx_joining;

struct lx_device {
    const char *name;          /* "cpu" */
    char description[192];     /* "AVX-512, 2 threads", "NVIDIA GeForce RTX 3060, 12.5 GB, ..." */
    const lx_kernel *kernels;  /* [LX_OP_COUNT] */
    int (*alloc)(lx_device *dev, void **out, size_t bytes, lx_error *err); /* 64-byte aligned, zeroed */
    /* The same, its bytes unset: for what is written whole. */
    int (*alloc_unset)(lx_device *dev, void **out, size_t bytes, lx_error *err);
    void (*free)(lx_device *dev, void *memory);
    int (*upload)(lx_device *dev, void *dst, const void *src, size_t bytes, lx_error *err);
    int (*download)(lx_device *dev, void *dst, const void *src, size_t bytes, lx_error *err);
    int (*sync)(lx_device *dev, lx_error *err);
    void (*close)(lx_device *dev);
    /*
     * Optional, for devices that queue: what `run` does between begin and end is not done but kept,
     * and done by every replay with one call. end without begin is an error.
     */
    int (*record_begin)(lx_device *dev, lx_error *err);
    int (*record_end)(lx_device *dev, void **recording, lx_error *err);
    int (*replay)(lx_device *dev, void *recording, lx_error *err);
    void (*record_free)(lx_device *dev, void *recording);
    /*
     * Optional, for devices that queue: copies in the order of what is queued, for which nobody
     * waits. The bytes of src are taken before the call returns; what comes back is had by its
     * ticket, once, which waits for that copy and for nothing queued behind it.
     */
    int (*upload_queued)(lx_device *dev, void *dst, const void *src, size_t bytes, lx_error *err);
    int (*download_queued)(lx_device *dev, uint64_t *ticket, const void *src, size_t bytes,
                           lx_error *err);
    int (*take)(lx_device *dev, uint64_t ticket, void *dst, size_t bytes, lx_error *err);
    const lx_joining *joining;        /* NULL: calls are done one by one */
    const struct lx_updates *updates; /* kernels/update.h; NULL: the host's optimizers */
    void *context;
    struct lx_pack_cache *packs; /* kernels/pack.c */
    bool computes_bf16;          /* LX_COMPUTE_BF16 is more than a wish */
    bool has_f16, has_bf16; /* activations may be of that type in memory */
    bool uses_host_memory; /* its addresses are the host's: a mapped file can be an operand */
    size_t bytes_now, bytes_peak; /* what alloc and packing hold */
};

/* Cores that this process may use: fewer than the machine has under taskset or Slurm. */
int lx_cpu_cores(void);
/* threads 0: all of these. */
int lx_device_open_cpu(lx_device **out, int threads, lx_error *err);
/*
 * GPU `index` as CUDA counts them. LX_EUNSUPPORTED, with the reason in one sentence, when lx was built
 * without CUDA, or there is no such GPU, no driver or one too old, or no cuBLASLt or cuDNN.
 */
int lx_device_open_cuda(lx_device **out, int index, lx_error *err);
/*
 * "cpu" (or "auto", which is the CPU: the CUDA backend has not been measured on GPUs yet), "cuda" or
 * "cuda:N". threads: of the CPU. LX_EUSAGE for anything else.
 */
int lx_device_open(lx_device **out, const char *where, int threads, lx_error *err);
void lx_device_close(lx_device *dev); /* NULL is fine */

const char *lx_op_name(lx_op_id op);

/* One plain kernel per op, for a CPU device: written after the contract and nothing else, in one thread,
 * with sums in f64. What every other kernel is compared with. */
extern const lx_kernel lx_cpu_plain_kernels[LX_OP_COUNT];

/*
 * What is on a device of frozen weights, shared between its calls and plans: copies, looked up by the weight
 * (its source, or its data's address) and a layout tag, and counted.
 * get: *is_new: `bytes` were allocated, which the caller fills, or spoils when it cannot.
 * put: a copy that nobody uses any more is freed; of a weight with a source it stays until the next trim, so that the
 * next plan of the same model finds it.
 */
enum { LX_PACK_AS_IS = 1 }; /* the layout of a weight in its own type and order */
int lx_pack_get(lx_device *dev, const lx_arg *weight, uint64_t layout, size_t bytes,
                void **packed, bool *is_new, lx_error *err);
void lx_pack_put(lx_device *dev, const lx_arg *weight, uint64_t layout);
void lx_pack_spoil(lx_device *dev, const lx_arg *weight, uint64_t layout);
/* Frees what nobody uses: when a plan has taken its memory, and before sources go. */
void lx_pack_trim(lx_device *dev);
/* Frees every copy; part of closing a device. */
void lx_pack_close(lx_device *dev);

#endif
