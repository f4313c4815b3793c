#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/image/phash.h"
#include "src/image/resize.h"
#include "tests/support/golden.h"

static lx_decoder *decoder;

static lx_phash hash_of(const char *name)
{
    const lx_decode_options drop = {LX_ALPHA_DROP, {0}};
    lx_pixels pixels;
    lx_phash out;
    lx_error err;
    char path[200];

    snprintf(path, sizeof path, "data/images/in/%s", name);
    if (lx_decode(&pixels, NULL, decoder, lx_golden_need(path), &drop, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    assert_int_equal(lx_phash_of(&out, &pixels, &err), 0);
    lx_pixels_release(&pixels);
    return out;
}

/* imagehash 4.3.2 with Pillow 13: str(imagehash.phash(Image.open(name).convert("RGB"))). Lossless files, of
 * which every decoder makes the same pixels; of photo444.jpg up to a few bits. */
static void test_image_phash__as_imagehash(void **state)
{
    static const struct {
        const char *name;
        uint64_t bits;
        int most;
    } rows[] = {
        {"rgb.png", 0xe3639c9c2273336c, 0},  {"lossless.webp", 0x92d3c32cbc53436d, 0},
        {"wide.png", 0x976c6c93e492e0ec, 0}, {"tiny.png", 0x9b334ccc9c4ccdb2, 0},
        {"rgb.bmp", 0x8d3c3cc3c3bc2cc3, 0},  {"odd_1px.png", 0xea9292eee28de292, 0},
        {"grey.png", 0xd686bff940063719, 0}, {"photo444.jpg", 0xcb739c1c4dc170bc, 2},
    };

    assert_int_equal(lx_decoder_new(&decoder, NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lx_phash got = hash_of(rows[i].name);
        if (lx_phash_distance(got.bits, rows[i].bits) > rows[i].most)
            fail_msg("%s: %016llx, wanted %016llx", rows[i].name,
                     (unsigned long long)got.bits, (unsigned long long)rows[i].bits);
        assert_false(got.is_flat);
    }
    lx_decoder_free(decoder);
}

static lx_pixels make(int width, int height, int channels)
{
    lx_pixels p = {lx_alloc((size_t)(width * height * channels)), width, height,
                   channels};

    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                p.data[(y * width + x) * channels + c] =
                    (uint8_t)(c == 3 ? 255
                                     : (x * x / 37 + y * 5 + c * 20 + x * y / 50) & 255);
    return p;
}

static void test_image_phash__scaling_and_light_change_little(void **state)
{
    lx_pixels a = make(300, 200, 3), b = {0};
    lx_phash one, other;

    assert_int_equal(lx_phash_of(&one, &a, NULL), 0);
    assert_int_equal(lx_resize(&b, &a, 150, 100, LX_RESIZE_AREA, NULL), 0);
    for (int i = 0; i < 150 * 100 * 3; i++)
        b.data[i] = (uint8_t)(b.data[i] * 9 / 10);
    assert_int_equal(lx_phash_of(&other, &b, NULL), 0);
    assert_in_range(lx_phash_distance(one.bits, other.bits), 0, 6);
    lx_flip_horizontal(&b);
    assert_int_equal(lx_phash_of(&other, &b, NULL), 0);
    assert_in_range(lx_phash_distance(one.bits, other.bits), 10, 64);
    lx_pixels_release(&a);
    lx_pixels_release(&b);
}

static void test_image_phash__one_colour_is_flat(void **state)
{
    lx_pixels a = make(40, 50, 4);
    lx_phash one;

    assert_int_equal(lx_phash_of(&one, &a, NULL), 0);
    assert_false(one.is_flat);
    for (int i = 0; i < 40 * 50; i++)
        a.data[4 * i + 3] = 0; /* nothing of it shows on white */
    assert_int_equal(lx_phash_of(&one, &a, NULL), 0);
    assert_true(one.is_flat);
    memset(a.data, 77, 40 * 50 * 4);
    assert_int_equal(lx_phash_of(&one, &a, NULL), 0);
    assert_true(one.is_flat);
    lx_pixels_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_phash__as_imagehash),
        cmocka_unit_test(test_image_phash__scaling_and_light_change_little),
        cmocka_unit_test(test_image_phash__one_colour_is_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
