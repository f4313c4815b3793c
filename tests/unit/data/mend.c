#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/data/mend.h"
#include "tests/support/golden.h"

static int mend(lx_str *out, const char *bytes, size_t n, const char *encoding,
                lx_error *err)
{
    return lx_mend_caption(out, NULL, bytes, n, encoding, err);
}

static void mended(const char *bytes, size_t n, const char *encoding, const char *wanted)
{
    lx_str out = LX_STR_INIT;
    lx_error err;

    if (mend(&out, bytes, n, encoding, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(lx_str_text(&out), wanted);
    lx_str_release(&out);
}

static void test_data_mend__captions_become_utf8(void **state)
{
    mended("\xEF\xBB\xBF"
           "a\r\nb\rc\n",
           10, NULL, "a\nb\nc\n");
    mended("", 0, NULL, "");
    mended("\x8F\xAD\x8F\x97, red hair", 14, NULL, "\xE5\xB0\x91\xE5\xA5\xB3, red hair");
    mended("\xFF\xFE"
           "a\0\r\0\n\0",
           8, NULL, "a\n");
    mended("caf\xE9", 4, NULL, "caf\xC3\xA9");
    mended("\xC9\xD9\xC5\xAE", 4, "GBK", "\xE5\xB0\x91\xE5\xA5\xB3");
}

/* Of Vietnamese a vowel may get its tone by the next byte: iconv keeps the last one back. */
static void test_data_mend__the_last_letter_is_kept(void **state)
{
    mended("c\xF4 g\xE1i", 7, "CP1258", "c\xC3\xB4 g\xC3\xA1i");
    mended("c\xF4", 2, "CP1258", "c\xC3\xB4");
    mended("a\xEC", 2, "CP1258", "\xC3\xA1");
    mended("", 0, "CP1258", "");
}

static void test_data_mend__no_guess_and_no_half_text(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_error err;

    assert_int_equal(mend(&out, "\xC9\xD9\xC5\xAE", 4, "UTF-8", &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "offset 0"));
    assert_int_equal(mend(&out, "a\0b", 3, NULL, &err), LX_EUNSUPPORTED);
    assert_int_equal(mend(&out, "a", 1, "no such thing", &err), LX_EUNSUPPORTED);
    assert_int_equal(mend(&out, "ab\x81", 3, "CP932", &err), LX_EFORMAT);
    lx_str_release(&out);
}

/* The PNG has the pixels that are trained, upright. */
static void test_data_mend__images_keep_their_pixels(void **state)
{
    const lx_decode_options keep = {.alpha = LX_ALPHA_DROP};
    const char *path = lx_golden_need("data/images/in/cmyk.jpg");
    lx_pixels before, after;
    lx_image_header header;
    lx_decoder *decoder;
    lx_str png = LX_STR_INIT;
    lx_error err;

    assert_int_equal(lx_decoder_new(&decoder, &err), 0);
    assert_int_equal(lx_decode(&before, NULL, decoder, path, &keep, &err), 0);
    assert_int_equal(lx_mend_image(&png, decoder, path, &err), 0);
    assert_int_equal(lx_file_write("mended.png", png.data, png.len, &err), 0);
    assert_int_equal(lx_decode(&after, &header, decoder, "mended.png", &keep, &err), 0);
    assert_false(header.is_cmyk);
    assert_int_equal(before.width * before.height, after.width * after.height);
    assert_memory_equal(before.data, after.data,
                        (size_t)before.width * (size_t)before.height * 3);
    lx_pixels_release(&after);
    lx_pixels_release(&before);

    assert_int_equal(lx_mend_image(&png, decoder,
                                   lx_golden_need("data/images/in/exif_rot6.jpg"), &err),
                     0);
    assert_int_equal(lx_image_header_parse(&header, png.data, png.len, png.len, &err), 0);
    assert_int_equal(header.width, 120);
    assert_int_equal(header.height, 180);
    assert_int_equal(header.orientation, 1);
    assert_int_equal(
        lx_mend_image(&png, decoder, lx_golden_need("data/images/in/rgba.png"), &err),
        LX_EUNSUPPORTED);
    lx_str_release(&png);
    lx_decoder_free(decoder);
    remove("mended.png");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_mend__captions_become_utf8),
        cmocka_unit_test(test_data_mend__the_last_letter_is_kept),
        cmocka_unit_test(test_data_mend__no_guess_and_no_half_text),
        cmocka_unit_test(test_data_mend__images_keep_their_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
