/*
 * Products by cuBLASLt. It is column-major: D^T [n, m] = op(B)^T op(A)^T, so its left operand is our B
 * and its right one our A, both as they lie in memory. Source: cuBLAS Library 13.0, cublasLtMatmul.
 */
#include "kernels/cuda/nvidia/nvidia.h"

#include <string.h>

static cudaDataType_t type_of(lx_dtype dtype)
{
    return dtype == LX_F32 ? CUDA_R_32F : dtype == LX_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

static int check(const lx_nvidia *lib, cublasStatus_t status, const char *what,
                 lx_error *err)
{
    if (!status)
        return LX_OK;
    return lx_fail(err, LX_EINTERNAL, "cuBLASLt: %s: %s", what,
                   lib->blaslt.cublasLtGetStatusString(status));
}

/* The operation: transpositions and the bias; its address is set in run. */
static int describe(lx_nvidia *lib, lx_cuda_plan *plan, lx_error *err)
{
    const lx_blaslt_api *api = &lib->blaslt;
    const lx_gemm_spec *s = &plan->gemm;
    const cublasOperation_t turned = CUBLAS_OP_T;
    const cublasLtEpilogue_t bias = CUBLASLT_EPILOGUE_BIAS;
    int rc = check(
        lib,
        api->cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "a product", err);

    if (rc >= 0 && s->is_b_transposed)
        rc =
            check(lib,
                  api->cublasLtMatmulDescSetAttribute(
                      plan->product, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned),
                  "transposition", err);
    if (rc >= 0 && s->is_a_transposed)
        rc =
            check(lib,
                  api->cublasLtMatmulDescSetAttribute(
                      plan->product, CUBLASLT_MATMUL_DESC_TRANSB, &turned, sizeof turned),
                  "transposition", err);
    if (rc >= 0 && s->has_bias)
        rc = check(lib,
                   api->cublasLtMatmulDescSetAttribute(
                       plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &bias, sizeof bias),
                   "bias", err);
    return rc;
}

static int lay_out(lx_nvidia *lib, lx_cuda_plan *plan, lx_error *err)
{
    const lx_blaslt_api *api = &lib->blaslt;
    const lx_gemm_spec *s = &plan->gemm;
    const cudaDataType_t in = type_of(s->in);
    const uint64_t m = (uint64_t)s->m, n = (uint64_t)s->n, k = (uint64_t)s->k;
    cublasStatus_t status =
        s->is_b_transposed ? api->cublasLtMatrixLayoutCreate(&plan->left, in, k, n, s->k)
                           : api->cublasLtMatrixLayoutCreate(&plan->left, in, n, k, s->n);

    if (!status)
        status = s->is_a_transposed
                     ? api->cublasLtMatrixLayoutCreate(&plan->right, in, m, k, s->m)
                     : api->cublasLtMatrixLayoutCreate(&plan->right, in, k, m, s->k);
    if (!status)
        status =
            api->cublasLtMatrixLayoutCreate(&plan->result, type_of(s->out), n, m, s->n);
    return check(lib, status, "a matrix", err);
}

/* Partial sums, where a product is cut along k, stay f32 and are added in a fixed order: the other schemes keep them in the
 * result's type, which rounds each of them and in 16 bits may overflow. */
static cublasStatus_t wish_for(const lx_blaslt_api *api, cublasLtMatmulPreference_t wish,
                               const lx_gemm_spec *s)
{
    const uint64_t most = LX_CUDA_GEMM_WORKSPACE;
    const uint32_t left = s->is_b_loose ? 4 : 16, result = s->is_d_loose ? 4 : 16;
    const struct {
        cublasLtMatmulPreferenceAttributes_t what;
        uint32_t value;
    } all[] = {
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, left},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 16},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, result},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, result},
    };
    cublasStatus_t status = api->cublasLtMatmulPreferenceSetAttribute(
        wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);

    for (size_t i = 0; !status && i < sizeof all / sizeof *all; i++)
        status = api->cublasLtMatmulPreferenceSetAttribute(
            wish, all[i].what, &all[i].value, sizeof all[i].value);
    return status;
}

/* The first of the library's advice. */
static int choose(lx_nvidia *lib, lx_cuda_plan *plan, lx_error *err)
{
    const lx_blaslt_api *api = &lib->blaslt;
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t advice;
    cublasStatus_t status = api->cublasLtMatmulPreferenceCreate(&wish);
    int count = 0;

    memset(&advice, 0, sizeof advice);
    if (!status)
        status = wish_for(api, wish, &plan->gemm);
    if (!status)
        status = api->cublasLtMatmulAlgoGetHeuristic(
            lib->blaslt_handle, plan->product, plan->left, plan->right, plan->result,
            plan->result, wish, 1, &advice, &count);
    if (!status && !count)
        status = CUBLAS_STATUS_NOT_SUPPORTED;
    if (wish)
        api->cublasLtMatmulPreferenceDestroy(wish);
    plan->algorithm = advice.algo;
    plan->workspace = advice.workspaceSize;
    return check(lib, status, "choosing how", err);
}

int lx_nvidia_gemm_plan(lx_nvidia *lib, lx_cuda_plan *plan, lx_error *err)
{
    const lx_gemm_spec *s = &plan->gemm;
    int rc;

    if ((rc = describe(lib, plan, err)) < 0 || (rc = lay_out(lib, plan, err)) < 0 ||
        (rc = choose(lib, plan, err)) < 0)
        lx_within(err, "[%lld, %lld] x [%lld, %lld]", (long long)s->m, (long long)s->k,
                  (long long)s->k, (long long)s->n);
    return rc;
}

void lx_nvidia_gemm_free(lx_nvidia *lib, lx_cuda_plan *plan)
{
    if (plan->product)
        lib->blaslt.cublasLtMatmulDescDestroy(plan->product);
    if (plan->left)
        lib->blaslt.cublasLtMatrixLayoutDestroy(plan->left);
    if (plan->right)
        lib->blaslt.cublasLtMatrixLayoutDestroy(plan->right);
    if (plan->result)
        lib->blaslt.cublasLtMatrixLayoutDestroy(plan->result);
}

void lx_nvidia_gemm_run(lx_cuda_library *base, lx_cuda_plan *plan, lx_cuda_queue *queue,
                        void *d, const void *a, const void *b, const void *add,
                        const void *bias, float scale, void *workspace)
{
    lx_nvidia *lib = (lx_nvidia *)base;
    const float beta = add ? 1 : 0;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

    if (bias)
        status = lib->blaslt.cublasLtMatmulDescSetAttribute(
            plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    if (!status)
        status = lib->blaslt.cublasLtMatmul(
            lib->blaslt_handle, plan->product, &scale, b, plan->left, a, plan->right,
            &beta, add ? add : d, plan->result, d, plan->result, &plan->algorithm,
            workspace, plan->workspace, queue->stream);
    if (status && !queue->error) {
        queue->error = cudaErrorUnknown;
        queue->where = lib->blaslt.cublasLtGetStatusString(status);
    }
}
