/* Two hashes at once are what they are one after the other, at every length and place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/sha256.h"

enum { N = 1 << 20 };

static void check(const unsigned char *bytes, size_t at_a, size_t n_a, size_t at_b,
                  size_t n_b)
{
    const void *const data[2] = {bytes + at_a, bytes + at_b};
    const size_t n[2] = {n_a, n_b};
    lx_hash both[2], one;

    lx_sha256_of_two(both, data, n);
    for (int i = 0; i < 2; i++) {
        one = lx_sha256_of(data[i], n[i]);
        assert_true(lx_hash_equal(&both[i], &one));
    }
}

static void test_base_sha256__two_are_what_each_is_alone(void **state)
{
    unsigned char *bytes = malloc(N);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < N; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 11);
    for (size_t a = 0; a < 200; a++)
        for (size_t b = 0; b < 200; b += 1 + a % 7)
            check(bytes, a % 17, a, b % 13, b);
    check(bytes, 0, N, 0, N);
    check(bytes, 3, N - 3, 1, 70);
    check(bytes, 0, 0, 5, N - 77);
    free(bytes);
}

/* In pieces of any length, so that both stand anywhere in a block when they go on together. */
static void test_base_sha256__two_go_on_from_any_place(void **state)
{
    static const size_t steps[] = {1, 63, 64, 65, 130, 4096, 7};
    unsigned char bytes[20000];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 11);
    for (size_t skip = 0; skip < 130; skip += 1 + skip % 3) {
        lx_sha256 a, b;
        size_t at = 0;
        lx_sha256_init(&a);
        lx_sha256_init(&b);
        lx_sha256_update(&b, bytes, skip);
        for (size_t i = 0; at < 10000; at += steps[i++ % 7])
            lx_sha256_update_two(&a, bytes + at, &b, bytes + skip + at, steps[i % 7]);
        const lx_hash of_a = lx_sha256_final(&a), of_b = lx_sha256_final(&b);
        const lx_hash whole_a = lx_sha256_of(bytes, at),
                      whole_b = lx_sha256_of(bytes, skip + at);
        assert_true(lx_hash_equal(&of_a, &whole_a) && lx_hash_equal(&of_b, &whole_b));
    }
}

static void test_base_sha256__known_answers(void **state)
{
    /* FIPS 180-4's examples: "abc", and the empty text. */
    const void *const data[2] = {"abc", ""};
    const size_t n[2] = {3, 0};
    char hex[LX_HASH_HEX + 1];
    lx_hash both[2];

    (void)state;
    lx_sha256_of_two(both, data, n);
    lx_hash_hex(hex, &both[0]);
    assert_string_equal(
        hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    lx_hash_hex(hex, &both[1]);
    assert_string_equal(
        hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_sha256__two_are_what_each_is_alone),
        cmocka_unit_test(test_base_sha256__two_go_on_from_any_place),
        cmocka_unit_test(test_base_sha256__known_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
