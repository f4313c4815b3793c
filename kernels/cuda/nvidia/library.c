/* Loading the two libraries, and the plans that were made. */
#include "kernels/cuda/nvidia/nvidia.h"

#include <dlfcn.h>

#include "src/base/alloc.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define BLASLT_FILE "libcublasLt.so." STRING(CUBLAS_VER_MAJOR)
#define CUDNN_FILE "libcudnn.so." STRING(CUDNN_MAJOR)

/* names and slots of one table, in the same order */
typedef struct wanted {
    const char *name;
    void **slot;
} wanted;

static int load(void **file, const char *name, const char *what, const wanted *functions,
                size_t n, lx_error *err)
{
    if (!(*file = dlopen(name, RTLD_NOW | RTLD_LOCAL)))
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "%s cannot be loaded (%s): install it where the loader finds it, or add "
            "its folder to LD_LIBRARY_PATH",
            what, dlerror());
    for (size_t i = 0; i < n; i++)
        if (!(*functions[i].slot = dlsym(*file, functions[i].name)))
            return lx_fail(err, LX_EUNSUPPORTED,
                           "%s has no %s: another version is needed", name,
                           functions[i].name);
    return LX_OK;
}

static int load_blaslt(lx_nvidia *lib, lx_error *err)
{
    const wanted functions[] = {
#define LX_FUNCTION(name) {#name, (void **)&lib->blaslt.name},
#include "kernels/cuda/nvidia/blaslt.def"
#undef LX_FUNCTION
    };
    cublasStatus_t status;
    int rc = load(&lib->blaslt_file, BLASLT_FILE, "cuBLASLt", functions,
                  sizeof functions / sizeof *functions, err);

    if (rc < 0)
        return rc;
    if ((status = lib->blaslt.cublasLtCreate(&lib->blaslt_handle)))
        return lx_fail(err, LX_EUNSUPPORTED, "cuBLASLt: %s",
                       lib->blaslt.cublasLtGetStatusString(status));
    return LX_OK;
}

static int load_cudnn(lx_nvidia *lib, lx_error *err)
{
    const wanted functions[] = {
#define LX_FUNCTION(name) {#name, (void **)&lib->cudnn.name},
#include "kernels/cuda/nvidia/cudnn.def"
#undef LX_FUNCTION
    };
    cudnnStatus_t status;
    int rc = load(&lib->cudnn_file, CUDNN_FILE, "cuDNN", functions,
                  sizeof functions / sizeof *functions, err);

    if (rc < 0)
        return rc;
    if ((status = lib->cudnn.cudnnCreate(&lib->cudnn_handle)))
        return lx_fail(err, LX_EUNSUPPORTED, "cuDNN: %s",
                       lib->cudnn.cudnnGetErrorString(status));
    return LX_OK;
}

/* ---- plans ---------------------------------------------------------------------------- */

static bool is_same_gemm(const lx_gemm_spec *a, const lx_gemm_spec *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k &&
           a->is_a_transposed == b->is_a_transposed &&
           a->is_b_transposed == b->is_b_transposed && a->has_add == b->has_add &&
           a->has_bias == b->has_bias && a->in == b->in && a->out == b->out &&
           a->is_b_loose == b->is_b_loose && a->is_d_loose == b->is_d_loose;
}

static bool is_same_conv(const lx_conv_spec *a, const lx_conv_spec *b)
{
    return a->kind == b->kind && a->batch == b->batch && a->h == b->h && a->w == b->w &&
           a->channels_in == b->channels_in && a->h_out == b->h_out &&
           a->w_out == b->w_out && a->channels_out == b->channels_out && a->kh == b->kh &&
           a->kw == b->kw && a->stride == b->stride && a->pad_top == b->pad_top &&
           a->pad_left == b->pad_left && a->pad_bottom == b->pad_bottom &&
           a->pad_right == b->pad_right && a->in == b->in && a->out == b->out &&
           a->adds == b->adds;
}

static void free_plan(lx_nvidia *lib, lx_cuda_plan *plan)
{
    (plan->is_conv ? lx_nvidia_conv_free : lx_nvidia_gemm_free)(lib, plan);
    lx_free(plan);
}

/* The plan like `like`, made now if it is new. */
static int find_or_make(lx_nvidia *lib, lx_cuda_plan **out, size_t *workspace,
                        const lx_cuda_plan *like, lx_error *err)
{
    lx_cuda_plan *p = lib->plans;
    int rc;

    while (p && (p->is_conv != like->is_conv || !is_same_gemm(&p->gemm, &like->gemm) ||
                 !is_same_conv(&p->conv, &like->conv)))
        p = p->next;
    if (!p) {
        if (!(p = lx_alloc(sizeof *p)))
            return lx_oom(err);
        *p = *like;
        rc = (p->is_conv ? lx_nvidia_conv_plan : lx_nvidia_gemm_plan)(lib, p, err);
        if (rc < 0) {
            free_plan(lib, p);
            return rc;
        }
        p->next = lib->plans;
        lib->plans = p;
    }
    *out = p;
    *workspace = p->workspace;
    return LX_OK;
}

static int gemm(lx_cuda_library *base, lx_cuda_plan **out, size_t *workspace,
                const lx_gemm_spec *spec, lx_error *err)
{
    const lx_cuda_plan like = {.gemm = *spec};

    return find_or_make((lx_nvidia *)base, out, workspace, &like, err);
}

static int conv(lx_cuda_library *base, lx_cuda_plan **out, size_t *workspace,
                const lx_conv_spec *spec, lx_error *err)
{
    const lx_cuda_plan like = {.is_conv = true, .conv = *spec};

    return find_or_make((lx_nvidia *)base, out, workspace, &like, err);
}

static void close_library(lx_cuda_library *base)
{
    lx_nvidia *lib = (lx_nvidia *)base;

    for (lx_cuda_plan *p = lib->plans, *next; p; p = next) {
        next = p->next;
        free_plan(lib, p);
    }
    if (lib->cudnn_handle)
        lib->cudnn.cudnnDestroy(lib->cudnn_handle);
    if (lib->blaslt_handle)
        lib->blaslt.cublasLtDestroy(lib->blaslt_handle);
    if (lib->cudnn_file)
        dlclose(lib->cudnn_file);
    if (lib->blaslt_file)
        dlclose(lib->blaslt_file);
    lx_free(lib);
}

int lx_cuda_library_open(lx_cuda_library **out, lx_error *err)
{
    lx_nvidia *lib = lx_calloc(1, sizeof *lib);
    int rc;

    if (!lib)
        return lx_oom(err);
    lib->base = (lx_cuda_library){.name = "cuBLASLt and cuDNN",
                                  .gemm = gemm,
                                  .conv = conv,
                                  .gemm_run = lx_nvidia_gemm_run,
                                  .conv_run = lx_nvidia_conv_run,
                                  .close = close_library};
    if ((rc = load_blaslt(lib, err)) < 0 || (rc = load_cudnn(lib, err)) < 0) {
        close_library(&lib->base);
        return rc;
    }
    *out = &lib->base;
    return LX_OK;
}
