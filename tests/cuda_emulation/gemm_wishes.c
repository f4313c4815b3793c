/*
 * What cuBLASLt is told before it chooses how to do a product (kernels/cuda/nvidia/gemm.c): a table of our own stands
 * in the library's place and writes the wishes down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/nvidia/nvidia.h"

enum { MOST_WISHES = 32 };

static uint64_t wishes[MOST_WISHES]; /* by attribute */
static bool is_said[MOST_WISHES];

static cublasStatus_t create_desc(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                  cudaDataType_t scale)
{
    assert_int_equal(compute, CUBLAS_COMPUTE_32F);
    assert_int_equal(scale, CUDA_R_32F);
    *out = NULL;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t create_layout(cublasLtMatrixLayout_t *out, cudaDataType type,
                                    uint64_t rows, uint64_t cols, int64_t ld)
{
    (void)type, (void)rows, (void)cols, (void)ld;
    *out = NULL;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set_desc(cublasLtMatmulDesc_t desc,
                               cublasLtMatmulDescAttributes_t attr, const void *value,
                               size_t bytes)
{
    (void)desc, (void)attr, (void)value, (void)bytes;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t create_wish(cublasLtMatmulPreference_t *out)
{
    *out = NULL;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set_wish(cublasLtMatmulPreference_t wish,
                               cublasLtMatmulPreferenceAttributes_t attr,
                               const void *value, size_t bytes)
{
    uint32_t narrow;

    (void)wish;
    assert_true((int)attr < MOST_WISHES);
    is_said[attr] = true;
    if (bytes == sizeof narrow) {
        memcpy(&narrow, value, bytes);
        wishes[attr] = narrow;
    } else {
        assert_int_equal(bytes, sizeof wishes[attr]);
        memcpy(&wishes[attr], value, bytes);
    }
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t advise(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                             cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                             cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                             cublasLtMatmulPreference_t wish, int most,
                             cublasLtMatmulHeuristicResult_t out[], int *count)
{
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d, (void)wish, (void)most;
    out[0].workspaceSize = 4096;
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static const char *status_text(cublasStatus_t status)
{
    (void)status;
    return "?";
}

static void plan(const lx_gemm_spec *spec)
{
    lx_nvidia lib = {.blaslt = {.cublasLtMatmulDescCreate = create_desc,
                                .cublasLtMatmulDescSetAttribute = set_desc,
                                .cublasLtMatrixLayoutCreate = create_layout,
                                .cublasLtMatmulPreferenceCreate = create_wish,
                                .cublasLtMatmulPreferenceSetAttribute = set_wish,
                                .cublasLtMatmulAlgoGetHeuristic = advise,
                                .cublasLtGetStatusString = status_text}};
    lx_cuda_plan plan = {.gemm = *spec};
    lx_error err = {0};

    memset(wishes, 0, sizeof wishes);
    memset(is_said, 0, sizeof is_said);
    assert_int_equal(lx_nvidia_gemm_plan(&lib, &plan, &err), 0);
    assert_int_equal(plan.workspace, 4096);
    lx_nvidia_gemm_free(&lib, &plan);
}

static void test_gemm_wishes__partial_sums_are_f32(void **state)
{
    const lx_dtype dtypes[] = {LX_F32, LX_F16, LX_BF16};

    (void)state;
    for (int t = 0; t < 3; t++) {
        plan(&(lx_gemm_spec){
            .m = 77, .n = 32, .k = 4096, .in = dtypes[t], .out = dtypes[t]});
        assert_true(is_said[CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK]);
        assert_int_equal(wishes[CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK],
                         CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
        assert_int_equal(wishes[CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES],
                         LX_CUDA_GEMM_WORKSPACE);
    }
}

/* cuBLASLt's A is our B. */
static void test_gemm_wishes__addresses_are_as_loose_as_said(void **state)
{
    lx_gemm_spec spec = {.m = 8, .n = 8, .k = 8, .in = LX_F32, .out = LX_F32};

    (void)state;
    plan(&spec);
    assert_int_equal(wishes[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], 16);
    assert_int_equal(wishes[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES], 16);
    spec.is_b_loose = true;
    plan(&spec);
    assert_int_equal(wishes[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], 4);
    assert_int_equal(wishes[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES], 16);
    spec.is_d_loose = true;
    plan(&spec);
    assert_int_equal(wishes[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES], 4);
    assert_int_equal(wishes[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm_wishes__partial_sums_are_f32),
        cmocka_unit_test(test_gemm_wishes__addresses_are_as_loose_as_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
