/*
 * base/dtype - element types of tensors, with safetensors' names
 */
#ifndef LX_BASE_DTYPE_H
#define LX_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

/* In safetensors' alignment order, largest first: the writer sorts by it. */
typedef enum lx_dtype {
    LX_U64, LX_I64, LX_F64, LX_C64, LX_U32, LX_I32, LX_F32, LX_BF16, LX_F16, LX_U16, LX_I16,
    LX_F8_E5M2FNUZ, LX_F8_E4M3FNUZ, LX_F8_E8M0, LX_F8_E4M3, LX_F8_E5M2, LX_I8, LX_U8,
    LX_F6_E3M2, LX_F6_E2M3, LX_F4, LX_BOOL,
    LX_DTYPE_COUNT
} lx_dtype;

enum { LX_MAX_DIMS = 8 };        /* of what lx computes with */
enum { LX_MAX_FILE_DIMS = 64 }; /* of what lx reads: as many as torch has */

const char *lx_dtype_name(lx_dtype dtype); /* "F32" */
int lx_dtype_bits(lx_dtype dtype);
int lx_dtype_from_name(const char *name, size_t n); /* an lx_dtype or -1 */

/* Round to nearest even; NaN stays NaN. */
uint16_t lx_f16_from_f32(float x);
float lx_f32_from_f16(uint16_t h);
uint16_t lx_bf16_from_f32(float x);
float lx_f32_from_bf16(uint16_t h);

/*
 * n elements of any real dtype at `src` (any alignment) to f32 or f64. Whole-byte dtypes only;
 * LX_EUNSUPPORTED (-6) for C64 and the sub-byte ones.
 */
int lx_to_f32(float *dst, const void *src, lx_dtype dtype, size_t n);
int lx_to_f64(double *dst, const void *src, lx_dtype dtype, size_t n);
/* f32 to F32, F16, BF16, F64, F8_E4M3 or F8_E5M2, rounded to nearest even (saturating for F8). */
int lx_from_f32(void *dst, lx_dtype dtype, const float *src, size_t n);

#endif
