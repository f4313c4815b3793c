#include "src/lora/spectrum.h"

#include <stdbool.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/svd.h"

int lx_spectrum(double *sigma, double *right, const float *up, const float *down,
                size_t out, size_t rank, size_t in, lx_error *err)
{
    double *wide_up, *wide_down;
    size_t n_up, n_down, total;
    lx_svd svd;
    int rc;

    if (!lx_mul_size(&n_up, out, rank) || !lx_mul_size(&n_down, rank, in) ||
        !lx_add_size(&total, n_up, n_down) ||
        !(wide_up = lx_calloc(total, sizeof *wide_up)))
        return lx_oom(err);
    wide_down = wide_up + n_up;
    for (size_t i = 0; i < n_up; i++)
        wide_up[i] = (double)up[i];
    for (size_t i = 0; i < n_down; i++)
        wide_down[i] = (double)down[i];
    rc = lx_svd_product(&svd, wide_up, wide_down, out, rank, in, err);
    lx_free(wide_up);
    if (rc < 0)
        return rc;
    memset(sigma, 0, rank * sizeof *sigma);
    memcpy(sigma, svd.sigma, svd.rank * sizeof *sigma);
    if (right) {
        memset(right, 0, n_down * sizeof *right);
        memcpy(right, svd.right, svd.rank * in * sizeof *right);
    }
    lx_svd_release(&svd);
    return LX_OK;
}
