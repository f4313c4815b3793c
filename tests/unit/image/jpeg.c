#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/image/jpeg.h"

static lx_pixels gradient(int width, int height)
{
    lx_pixels p = {lx_alloc((size_t)width * (size_t)height * 3), width, height, 3};
    assert_non_null(p.data);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *at = p.data + 3 * (y * width + x);
            at[0] = (uint8_t)(255 * x / width);
            at[1] = (uint8_t)(255 * y / height);
            at[2] = 90;
        }
    return p;
}

static void test_image_jpeg__reads_back_nearly_the_same(void **state)
{
    const lx_decode_options options = LX_DECODE_DEFAULT;
    lx_pixels in = gradient(120, 77), back = {0};
    lx_str bytes = LX_STR_INIT;
    lx_decoder *decoder = NULL;
    char path[] = "/tmp/lx-jpeg-XXXXXX";
    int fd = mkstemp(path), worst = 0;

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(lx_jpeg_encode(&bytes, &in, 90, NULL), 0);
    assert_int_equal(lx_file_write(path, bytes.data, bytes.len, NULL), 0);
    assert_int_equal(lx_decoder_new(&decoder, NULL), 0);
    assert_int_equal(lx_decode(&back, NULL, decoder, path, &options, NULL), 0);
    assert_int_equal(back.width, 120);
    assert_int_equal(back.height, 77);
    for (int i = 0; i < 120 * 77 * 3; i++) {
        int off = abs(in.data[i] - back.data[i]);
        worst = off > worst ? off : worst;
    }
    assert_true(worst < 12);
    unlink(path);
    lx_decoder_free(decoder);
    lx_pixels_release(&in);
    lx_pixels_release(&back);
    lx_str_release(&bytes);
}

static void test_image_jpeg__thumbnails_keep_their_shape(void **state)
{
    static const int sizes[][4] = {
        {400, 200, 100, 50}, {30, 20, 30, 20}, {5000, 1, 100, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        lx_pixels in = gradient(sizes[i][0], sizes[i][1]), out = {0};
        assert_int_equal(lx_thumbnail(&out, &in, 100, NULL), 0);
        assert_int_equal(out.width, sizes[i][2]);
        assert_int_equal(out.height, sizes[i][3]);
        lx_pixels_release(&in);
        lx_pixels_release(&out);
    }
}

static void test_image_jpeg__four_channels_are_refused(void **state)
{
    lx_pixels in = gradient(4, 3);
    lx_str bytes = LX_STR_INIT;
    in.channels = 4;
    assert_int_equal(lx_jpeg_encode(&bytes, &in, 90, NULL), LX_EINTERNAL);
    lx_pixels_release(&in);
    lx_str_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_jpeg__reads_back_nearly_the_same),
        cmocka_unit_test(test_image_jpeg__thumbnails_keep_their_shape),
        cmocka_unit_test(test_image_jpeg__four_channels_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
