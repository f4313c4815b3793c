#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/dtype.h"
#include "src/base/error.h"
#include "src/base/rng.h"

static void test_base_dtype__names_and_sizes_are_safetensors(void **state)
{
    assert_string_equal(lx_dtype_name(LX_BF16), "BF16");
    assert_int_equal(lx_dtype_from_name("F8_E4M3", 7), LX_F8_E4M3);
    assert_int_equal(lx_dtype_from_name("F16x", 3), LX_F16);
    assert_int_equal(lx_dtype_from_name("f16", 3), -1);
    assert_int_equal(lx_dtype_bits(LX_BOOL), 8);
    assert_int_equal(lx_dtype_bits(LX_F4), 4);
    for (int i = 0; i < LX_DTYPE_COUNT; i++)
        assert_int_equal(lx_dtype_from_name(lx_dtype_name(i), strlen(lx_dtype_name(i))), i);
}

/* The value of a binary16 code by the definition. */
static double half_by_definition(unsigned h)
{
    int field = h >> 10 & 31, fraction = h & 1023;
    double sign = h & 0x8000 ? -1 : 1;
    if (field == 31)
        return fraction ? NAN : sign * INFINITY;
    return sign * (field ? ldexp(1024 + fraction, field - 25) : ldexp(fraction, -24));
}

static void test_base_dtype__every_half_widens_exactly_and_comes_back(void **state)
{
    for (unsigned h = 0; h < 65536; h++) {
        float x = lx_f32_from_f16((uint16_t)h), y;
        double want = half_by_definition(h);
        uint16_t code = (uint16_t)h;
        if (isnan(want)) {
            assert_true(isnan(x));
            assert_true(isnan(lx_f32_from_f16(lx_f16_from_f32(x))));
            continue;
        }
        assert_true((double)x == want && !signbit(x) == !signbit(want));
        assert_int_equal(lx_f16_from_f32(x), h);
        assert_int_equal(lx_to_f32(&y, &code, LX_F16, 1), 0);
        assert_memory_equal(&x, &y, sizeof x);
    }
}

/* Between two neighbours the nearer is chosen, and the even code in the middle. */
static void test_base_dtype__half_rounds_to_nearest_even(void **state)
{
    for (unsigned h = 0; h < 0x7BFF; h++) {
        float low = lx_f32_from_f16((uint16_t)h), high = lx_f32_from_f16((uint16_t)(h + 1));
        float middle = (low + high) / 2; /* exact: one bit more */
        unsigned even = h & 1 ? h + 1 : h;
        assert_int_equal(lx_f16_from_f32(middle), even);
        assert_int_equal(lx_f16_from_f32(-middle), even | 0x8000);
        assert_int_equal(lx_f16_from_f32(nextafterf(middle, 0)), h);
        assert_int_equal(lx_f16_from_f32(nextafterf(middle, 1e30f)), h + 1);
    }
    assert_int_equal(lx_f16_from_f32(65519.996f), 0x7BFF);
    assert_int_equal(lx_f16_from_f32(65520.0f), 0x7C00);
    assert_int_equal(lx_f16_from_f32(1e30f), 0x7C00);
    assert_int_equal(lx_f16_from_f32(-INFINITY), 0xFC00);
    assert_int_equal(lx_f16_from_f32(0x1p-25f), 0);
    assert_int_equal(lx_f16_from_f32(nextafterf(0x1p-25f, 1)), 1);
    assert_int_equal(lx_f16_from_f32(0x1p-149f), 0);
}

/* The processor's own conversion, where it is taken, against the loops: at every place among eight. */
static void test_base_dtype__many_halves_are_the_same_as_one_by_one(void **state)
{
    enum { N = 65536 };
    uint16_t *codes = malloc(N * sizeof *codes), *back = malloc(N * sizeof *back);
    float *values = malloc(N * sizeof *values);

    assert_true(codes && back && values);
    for (unsigned h = 0; h < N; h++)
        codes[h] = (uint16_t)(h * 40503u); /* odd: every code once, NaNs among the others */
    for (unsigned from = 0; from < 9; from++) {
        assert_int_equal(lx_to_f32(values, codes + from, LX_F16, N - 9), 0);
        for (unsigned i = 0; i < N - 9; i++) {
            float one = lx_f32_from_f16(codes[from + i]);
            assert_memory_equal(&one, &values[i], sizeof one);
        }
    }
    for (unsigned turn = 0; turn < 64; turn++) {
        for (uint32_t i = 0; i < N; i++) {
            uint32_t bits = (i * 2654435761u + turn * 0x3D0CB35u) ^ i;
            memcpy(&values[i], &bits, sizeof bits);
        }
        assert_int_equal(lx_from_f32(back, LX_F16, values, N - turn), 0);
        for (unsigned i = 0; i < N - turn; i++)
            assert_int_equal(back[i], lx_f16_from_f32(values[i]));
    }
    free(values);
    free(back);
    free(codes);
}

static void test_base_dtype__bfloat_rounds_to_nearest_even(void **state)
{
    for (unsigned h = 0; h < 0x7F7F; h++) {
        float low = lx_f32_from_bf16((uint16_t)h), high = lx_f32_from_bf16((uint16_t)(h + 1));
        float middle = low + (high - low) / 2;
        assert_int_equal(lx_bf16_from_f32(low), h);
        assert_int_equal(lx_bf16_from_f32(middle), h & 1 ? h + 1 : h);
        assert_int_equal(lx_bf16_from_f32(nextafterf(middle, INFINITY)), h + 1);
    }
    assert_true(isnan(lx_f32_from_bf16(lx_bf16_from_f32(NAN))));
    assert_int_equal(lx_bf16_from_f32(INFINITY), 0x7F80);
    assert_int_equal(lx_bf16_from_f32(3.4e38f), 0x7F80);
}

static float one(lx_dtype dtype, unsigned char code)
{
    float x;
    assert_int_equal(lx_to_f32(&x, &code, dtype, 1), 0);
    return x;
}

/* Values from the tables of OCP OFP8 1.0 and arXiv:2206.02915. */
static void test_base_dtype__eight_bit_floats_have_their_landmarks(void **state)
{
    assert_true(one(LX_F8_E4M3, 0x7E) == 448.0f && one(LX_F8_E4M3, 0x01) == 0x1p-9f);
    assert_true(one(LX_F8_E4M3, 0x08) == 0x1p-6f && isnan(one(LX_F8_E4M3, 0xFF)));
    assert_true(one(LX_F8_E5M2, 0x7B) == 57344.0f && one(LX_F8_E5M2, 0x01) == 0x1p-16f);
    assert_true(isinf(one(LX_F8_E5M2, 0xFC)) && isnan(one(LX_F8_E5M2, 0x7D)));
    assert_true(one(LX_F8_E4M3FNUZ, 0x7F) == 240.0f && isnan(one(LX_F8_E4M3FNUZ, 0x80)));
    assert_true(one(LX_F8_E5M2FNUZ, 0x7F) == 57344.0f && isnan(one(LX_F8_E5M2FNUZ, 0x80)));
    assert_true(one(LX_F8_E8M0, 0) == 0x1p-127f && one(LX_F8_E8M0, 254) == 0x1p127f);
    assert_true(isnan(one(LX_F8_E8M0, 255)));
}

static void check_f8(lx_dtype dtype, unsigned most)
{
    for (unsigned code = 0; code < most; code++) {
        float low = one(dtype, (unsigned char)code), high = one(dtype, (unsigned char)(code + 1));
        float x[5] = {low, (low + high) / 2, nextafterf((low + high) / 2, 0),
                      nextafterf((low + high) / 2, 1e30f), -high};
        unsigned char got[5];
        assert_int_equal(lx_from_f32(got, dtype, x, 5), 0);
        assert_int_equal(got[0], code);
        assert_int_equal(got[1], code & 1 ? code + 1 : code);
        assert_int_equal(got[2], code);
        assert_int_equal(got[3], code + 1);
        assert_int_equal(got[4], (code + 1) | 0x80);
    }
    float x[4] = {1e30f, -INFINITY, NAN, 3.4e38f};
    unsigned char got[4];
    assert_int_equal(lx_from_f32(got, dtype, x, 4), 0);
    assert_int_equal(got[0], most);
    assert_int_equal(got[1], most | 0x80);
    assert_true(isnan(one(dtype, got[2])));
    assert_int_equal(got[3], most);
}

static void test_base_dtype__eight_bit_floats_round_and_saturate(void **state)
{
    check_f8(LX_F8_E4M3, 0x7E);
    check_f8(LX_F8_E5M2, 0x7B);
}

static void test_base_dtype__wide_integers_and_doubles_round_once(void **state)
{
    int64_t big[2] = {16777217, -9007199254740993};
    uint64_t top = UINT64_MAX;
    double d = 1.0 + 0x1p-24, wide;
    float x[2];

    assert_int_equal(lx_to_f32(x, big, LX_I64, 2), 0);
    assert_true(x[0] == 16777216.0f);
    assert_int_equal(lx_to_f64(&wide, &big[1], LX_I64, 1), 0);
    assert_true(wide == -9007199254740992.0);
    assert_int_equal(lx_to_f32(x, &top, LX_U64, 1), 0);
    assert_true(x[0] == 0x1p64f);
    assert_int_equal(lx_to_f32(x, &d, LX_F64, 1), 0);
    assert_true(x[0] == 1.0f);
}

static void test_base_dtype__any_address_and_any_length(void **state)
{
    static const lx_dtype back[] = {LX_F16, LX_BF16, LX_F32, LX_F64};
    lx_rng rng = lx_rng_stream(7, LX_RNG_TEST, 0, 0);
    float x[301], y[301];
    double z[301];
    unsigned char bytes[301 * 8 + 1];

    for (int i = 0; i < 301; i++) {
        uint16_t h = (uint16_t)(lx_rng_u32(&rng) & 0xBFFF); /* no infinities */
        x[i] = lx_f32_from_f16(h);
    }
    for (size_t k = 0; k < 4; k++)
        for (size_t n = 0; n <= 301; n += 43) {
            float want[301];
            assert_int_equal(lx_from_f32(bytes + 1, back[k], x, n), 0);
            assert_int_equal(lx_to_f32(y, bytes + 1, back[k], n), 0);
            assert_int_equal(lx_to_f64(z, bytes + 1, back[k], n), 0);
            for (size_t i = 0; i < n; i++) {
                want[i] = back[k] == LX_BF16 ? lx_f32_from_bf16(lx_bf16_from_f32(x[i])) : x[i];
                assert_true(y[i] == want[i] && z[i] == (double)want[i]);
            }
        }
}

static void test_base_dtype__what_has_no_real_bytes_is_refused(void **state)
{
    unsigned char b[8] = {0};
    float x;
    double d;
    assert_int_equal(lx_to_f32(&x, b, LX_C64, 1), LX_EUNSUPPORTED);
    assert_int_equal(lx_to_f64(&d, b, LX_F4, 1), LX_EUNSUPPORTED);
    assert_int_equal(lx_from_f32(b, LX_I32, &x, 1), LX_EUNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_dtype__names_and_sizes_are_safetensors),
        cmocka_unit_test(test_base_dtype__every_half_widens_exactly_and_comes_back),
        cmocka_unit_test(test_base_dtype__half_rounds_to_nearest_even),
        cmocka_unit_test(test_base_dtype__many_halves_are_the_same_as_one_by_one),
        cmocka_unit_test(test_base_dtype__bfloat_rounds_to_nearest_even),
        cmocka_unit_test(test_base_dtype__eight_bit_floats_have_their_landmarks),
        cmocka_unit_test(test_base_dtype__eight_bit_floats_round_and_saturate),
        cmocka_unit_test(test_base_dtype__wide_integers_and_doubles_round_once),
        cmocka_unit_test(test_base_dtype__any_address_and_any_length),
        cmocka_unit_test(test_base_dtype__what_has_no_real_bytes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
