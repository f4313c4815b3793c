#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/rng.h"

/* The vectors of Random123 1.09, kat_vectors, "philox4x32 10". */
static void test_base_rng__philox_gives_the_published_words(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}},
        {{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF},
         {0xFFFFFFFF, 0xFFFFFFFF},
         {0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}},
        {{0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344},
         {0xA4093822, 0x299F31D0},
         {0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        lx_philox4x32(out, cases[i].counter, cases[i].key);
        assert_memory_equal(out, cases[i].want, sizeof out);
    }
}

static void test_base_rng__a_stream_depends_on_all_of_its_names(void **state)
{
    lx_rng streams[] = {
        lx_rng_stream(1, LX_RNG_TEST, 2, 3),
        lx_rng_stream(2, LX_RNG_TEST, 2, 3),
        lx_rng_stream(1, LX_RNG_NOISE, 2, 3),
        lx_rng_stream(1, LX_RNG_TEST, 3, 3),
        lx_rng_stream(1, LX_RNG_TEST, 2, 4),
        lx_rng_stream(1, LX_RNG_TEST, 2 | 1ULL << 40, 3),
        lx_rng_stream(1ULL << 32 | 1, LX_RNG_TEST, 2, 3),
    };
    uint32_t first[7];
    for (int i = 0; i < 7; i++) {
        lx_rng again = streams[i];
        first[i] = lx_rng_u32(&streams[i]);
        assert_int_equal(lx_rng_u32(&again), first[i]);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(first[i], first[k]);
    }
}

/* Whatever was taken before, and over the counter's end. */
static void test_base_rng__words_are_those_taken_singly(void **state)
{
    uint32_t words[200];

    for (int before = 0; before < 6; before++)
        for (size_t n = 0; n <= 200; n++) {
            lx_rng one = lx_rng_stream(9, LX_RNG_TEST, 3, (uint64_t)before), many;
            one.counter[0] = before == 5 ? UINT32_MAX - 2 : 0;
            for (int i = 0; i < before; i++)
                lx_rng_u32(&one);
            many = one;
            lx_rng_words(words, n, &many);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(words[i], lx_rng_u32(&one));
            assert_int_equal(lx_rng_u32(&many), lx_rng_u32(&one));
        }
}

static void test_base_rng__below_and_uniform_stay_in_range(void **state)
{
    lx_rng rng = lx_rng_stream(5, LX_RNG_TEST, 0, 0);
    int counts[7] = {0};
    double sum = 0;
    for (int i = 0; i < 70000; i++) {
        double u = lx_rng_uniform(&rng);
        uint64_t k = lx_rng_below(&rng, 7);
        assert_true(k < 7 && u >= 0 && u < 1);
        counts[k]++;
        sum += u;
    }
    for (int i = 0; i < 7; i++)
        assert_true(abs(counts[i] - 10000) < 500); /* five standard deviations */
    assert_true(fabs(sum / 70000 - 0.5) < 0.006);
    assert_int_equal(lx_rng_below(&rng, 1), 0);
}

static void test_base_rng__normals_can_be_made_from_any_block_on(void **state)
{
    enum { N = 40000 };
    static float all[N], part[103];
    lx_rng stream = lx_rng_stream(9, LX_RNG_TEST, 1, 1);
    double sum = 0, squares = 0;

    lx_rng_normal(all, N, 0, &stream);
    lx_rng_normal(part, 103, 1000, &stream);
    assert_memory_equal(part, all + 1000, sizeof part);
    for (int i = 0; i < N; i++) {
        assert_true(isfinite(all[i]));
        sum += all[i];
        squares += (double)all[i] * all[i];
    }
    assert_true(fabs(sum / N) < 0.025 && fabs(squares / N - 1) < 0.036);
}

static void test_base_rng__names_hash_by_fnv1a(void **state)
{
    assert_true(lx_hash_name("") == 0xCBF29CE484222325u);
    assert_true(lx_hash_name("a") == 0xAF63DC4C8601EC8Cu);
    assert_true(lx_hash_name("foobar") == 0x85944171F73967E8u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_rng__philox_gives_the_published_words),
        cmocka_unit_test(test_base_rng__a_stream_depends_on_all_of_its_names),
        cmocka_unit_test(test_base_rng__words_are_those_taken_singly),
        cmocka_unit_test(test_base_rng__below_and_uniform_stay_in_range),
        cmocka_unit_test(test_base_rng__normals_can_be_made_from_any_block_on),
        cmocka_unit_test(test_base_rng__names_hash_by_fnv1a),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
