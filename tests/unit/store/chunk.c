/* Points as bytes: what went in comes out, and what is no chunk is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "store/chunk.h"

enum { N = 500 };

static int64_t steps[N], steps_back[N + 1];
static double values[N], values_back[N + 1];

static int round_trip(size_t n)
{
    lx_str packed = LX_STR_INIT, raw = LX_STR_INIT;
    lx_error err = {0};
    size_t got = 0, size;
    char *bytes;
    int order;

    assert_int_equal(store__chunk_encode(&packed, steps, values, n, &err), LX_OK);
    if (store__chunk_decode(steps_back, values_back, &got, n, packed.data, packed.len,
                            &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(got, n);
    assert_memory_equal(steps, steps_back, n * sizeof *steps);
    assert_memory_equal(values, values_back, n * sizeof *values);
    size = (size_t)ZSTD_getFrameContentSize(packed.data, packed.len);
    bytes = malloc(size);
    assert_int_equal(ZSTD_decompress(bytes, size, packed.data, packed.len), size);
    order = bytes[1];
    free(bytes);
    lx_str_release(&packed);
    lx_str_release(&raw);
    return order;
}

/* Each order of differences is the best one for something. */
static void test_store_chunk__points_come_back_to_the_bit(void **state)
{
    const double odd[] = {NAN, -NAN, INFINITY, -INFINITY, -0.0, 0.0, 5e-324, -1.7e308};
    uint64_t x = 1;

    (void)state;
    for (int i = 0; i < N; i++) { /* steps that leap over all of their range */
        steps[i] = (int64_t)((x = x * 6364136223846793005u + 1442695040888963407u));
        values[i] = i % 9 == 0 ? odd[i / 9 % 8] : (double)(float)((double)x * 0x1p-64);
    }
    assert_int_equal(round_trip(N), 0);
    for (int i = 0; i < N; i++) {
        steps[i] = i * 10;
        values[i] = i; /* even in the exponent's stretches */
    }
    assert_true(round_trip(N) > 0);
    for (int i = 0; i < N; i++) /* bits that bend */
        memcpy(&values[i],
               &(uint64_t){0x3ff0000000000000u + (uint64_t)i * (uint64_t)i * (uint64_t)i},
               8);
    assert_true(round_trip(N) >= 2);
    for (int i = 0; i < N; i++) /* a difference of -2^63, which is its own opposite */
        memcpy(&values[i], &(uint64_t){i % 2 ? 0x8000000000000000u : 0}, 8);
    round_trip(N);
    round_trip(1);
    round_trip(0);
}

static void refuse(const char *what, const void *raw, size_t n, int wanted)
{
    char packed[512];
    size_t got = ZSTD_compress(packed, sizeof packed, raw, n, 3), points = 0;
    lx_error err = {0};
    int rc;

    assert_false(ZSTD_isError(got));
    rc = store__chunk_decode(steps_back, values_back, &points, 3, packed, got, &err);
    if (rc != wanted)
        fail_msg("%s: code %d: %s", what, rc, err.text);
}

static void test_store_chunk__what_is_none_is_refused(void **state)
{
    static const unsigned char sound[] = {1, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0};
    unsigned char bytes[64];
    size_t points;
    lx_error err = {0};

    (void)state;
    refuse("a sound one", sound, sizeof sound, LX_OK);
    for (size_t n = 0; n < sizeof sound; n++)
        refuse("cut", sound, n, LX_EFORMAT);
    memcpy(bytes, sound, sizeof sound);
    bytes[sizeof sound] = 0;
    refuse("a byte more", bytes, sizeof sound + 1, LX_EFORMAT);
    bytes[0] = 2;
    refuse("a later version", bytes, sizeof sound, LX_EFORMAT);
    bytes[0] = 1;
    bytes[1] = 5;
    refuse("an unknown order", bytes, sizeof sound, LX_EFORMAT);
    bytes[1] = 0;
    bytes[2] = 4;
    refuse("more points than the row says", bytes, sizeof sound, LX_ELIMIT);
    memset(bytes + 2, 0xff, 20);
    refuse("a number without an end", bytes, 22, LX_EFORMAT);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(
        store__chunk_decode(steps_back, values_back, &points, 3, bytes, 20, &err),
        LX_EFORMAT); /* no frame of zstd */
}

static void test_store_chunk__a_damaged_frame_is_refused(void **state)
{
    lx_str packed = LX_STR_INIT;
    lx_error err = {0};
    size_t points = 0, n_refused = 0;

    (void)state;
    for (int i = 0; i < N; i++) {
        steps[i] = i;
        values[i] = sin(i);
    }
    assert_int_equal(store__chunk_encode(&packed, steps, values, N, &err), LX_OK);
    for (size_t n = 0; n < packed.len; n += 7)
        assert_int_equal(store__chunk_decode(steps_back, values_back, &points, N,
                                             packed.data, n, &err),
                         LX_EFORMAT);
    for (size_t i = 0; i < packed.len;
         i += 11) { /* told, or other points: never beyond */
        packed.data[i] ^= 0x40;
        n_refused += store__chunk_decode(steps_back, values_back, &points, N, packed.data,
                                         packed.len, &err) < 0;
        packed.data[i] ^= 0x40;
    }
    assert_true(n_refused > 0);
    assert_int_equal(store__chunk_decode(steps_back, values_back, &points, N - 490,
                                         packed.data, packed.len, &err),
                     LX_EFORMAT); /* larger than such a row can be */
    lx_str_release(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_chunk__points_come_back_to_the_bit),
        cmocka_unit_test(test_store_chunk__what_is_none_is_refused),
        cmocka_unit_test(test_store_chunk__a_damaged_frame_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
