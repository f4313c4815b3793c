#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/image/resize.h"
#include "tests/unit/image/npy.h"

static void check_interpolation(const cJSON *row)
{
    const cJSON *how = cJSON_GetObjectItem(row, "interpolation");
    const cJSON *target = cJSON_GetObjectItem(row, "target");
    const char *array = cJSON_GetObjectItem(row, "array")->valuestring;
    char name[256];
    lx_interpolation interpolation = LX_RESIZE_AUTO;
    lx_pixels in, out, want = read_npy(array);
    lx_error err;

    snprintf(name, sizeof(name), "%s.rgb.npy", cJSON_GetObjectItem(row, "file")->valuestring);
    in = read_npy(name);
    if (cJSON_IsString(how))
        assert_int_equal(lx_interpolation_from_name(&interpolation, how->valuestring, &err), 0);
    assert_int_equal(lx_resize(&out, &in, cJSON_GetArrayItem(target, 0)->valueint,
                               cJSON_GetArrayItem(target, 1)->valueint, interpolation, &err),
                     0);
    compare_pixels(array, &out, &want, 1, 0);
    lx_pixels_release(&in);
    lx_pixels_release(&out);
    lx_pixels_release(&want);
}

static void test_image_resize__interpolations_are_those_of_the_peer(void **state)
{
    cJSON *golden = lx_golden_json("data/images/images.json");
    const cJSON *row;

    cJSON_ArrayForEach(row, cJSON_GetObjectItem(golden, "interpolation")) check_interpolation(row);
    cJSON_Delete(golden);
}

static bool has_npy(const char *name)
{
    char path[4096];

    snprintf(path, sizeof path, "data/images/out/%s", name);
    return lx_golden(path) != NULL;
}

/* From the peer's own loaded pixels, so that decoders do not come into it. */
static void check_bucket(const cJSON *image, const char *key)
{
    const cJSON *bucket = cJSON_GetObjectItem(image, key), *array, *to, *size;
    lx_pixels in, resized, want;
    lx_error err;

    if (!bucket || !(array = cJSON_GetObjectItem(bucket, "array")))
        return;
    to = cJSON_GetObjectItem(bucket, "resized");
    size = cJSON_GetObjectItem(bucket, "bucket");
    if (cJSON_GetArrayItem(size, 0)->valueint == 0 || cJSON_GetArrayItem(size, 1)->valueint == 0)
        return; /* the peer makes an empty picture; lx refuses such a bucket */
    if (!has_npy(array->valuestring) ||
        !has_npy(cJSON_GetObjectItem(image, "load_image")->valuestring))
        return; /* not in the slim copy */
    in = read_npy(cJSON_GetObjectItem(image, "load_image")->valuestring);
    want = read_npy(array->valuestring);
    assert_int_equal(lx_resize(&resized, &in, cJSON_GetArrayItem(to, 0)->valueint,
                               cJSON_GetArrayItem(to, 1)->valueint, LX_RESIZE_AUTO, &err),
                     0);
    assert_int_equal(lx_crop_center(&resized, cJSON_GetArrayItem(size, 0)->valueint,
                                    cJSON_GetArrayItem(size, 1)->valueint, &err),
                     0);
    compare_pixels(array->valuestring, &resized, &want, 1, 0);
    lx_pixels_release(&in);
    lx_pixels_release(&resized);
    lx_pixels_release(&want);
}

static void test_image_resize__buckets_are_those_of_the_peer(void **state)
{
    cJSON *golden = lx_golden_json("data/images/images.json");
    const cJSON *image;

    cJSON_ArrayForEach(image, cJSON_GetObjectItem(golden, "images"))
    {
        check_bucket(image, "bucket128");
        check_bucket(image, "noupscale");
    }
    cJSON_Delete(golden);
}

static void test_image_resize__colours_move_as_in_the_peer(void **state)
{
    cJSON *golden = lx_golden_json("data/images/images.json");
    const cJSON *aug = cJSON_GetObjectItem(golden, "color_aug"), *row;
    lx_error err;

    cJSON_ArrayForEach(row, cJSON_GetObjectItem(aug, "fixed"))
    {
        lx_pixels pixels = read_npy("rgb.png.bucket128.npy");
        const char *array = cJSON_GetObjectItem(row, "array")->valuestring;
        lx_pixels want = read_npy(array);
        if (cJSON_GetObjectItem(row, "shift"))
            assert_int_equal(
                lx_shift_hue(&pixels, cJSON_GetObjectItem(row, "shift")->valuedouble, &err), 0);
        else
            lx_apply_gamma(&pixels, cJSON_GetObjectItem(row, "gamma")->valuedouble);
        compare_pixels(array, &pixels, &want, 1, 0);
        lx_pixels_release(&pixels);
        lx_pixels_release(&want);
    }
    cJSON_Delete(golden);
}

static void test_image_resize__tensors_are_those_of_the_peer(void **state)
{
    lx_pixels pixels = read_npy("rgb.png.bucket128.npy");
    const size_t W = (size_t)pixels.width, H = (size_t)pixels.height;
    float *tensor = malloc(3 * H * W * sizeof(float));
    float *mirror = malloc(3 * H * W * sizeof(float));
    lx_str file = LX_STR_INIT;
    lx_error err;
    int dims[3];
    size_t at;

    assert_int_equal(
        lx_file_read(&file, lx_golden_need("data/images/out/tensor.rgb.png.bucket128.rows0to7.npy"),
                     1 << 24, &err),
        0);
    at = npy_shape(dims, &file);
    assert_int_equal(dims[0], 3);
    assert_int_equal(dims[2], W);
    lx_pixels_to_tensor(tensor, &pixels);
    for (size_t c = 0; c < 3; c++)
        assert_memory_equal(tensor + c * H * W,
                            file.data + at + c * (size_t)dims[1] * W * sizeof(float),
                            (size_t)dims[1] * W * sizeof(float));
    lx_pixels_to_tensor_flipped(mirror, &pixels);
    lx_flip_horizontal(&pixels);
    lx_pixels_to_tensor(tensor, &pixels);
    assert_memory_equal(tensor, mirror, 3 * H * W * sizeof(float));
    lx_str_release(&file);
    lx_pixels_release(&pixels);
    free(tensor);
    free(mirror);
}

static void test_image_resize__sizes_out_of_reason_are_refused(void **state)
{
    lx_pixels in = read_npy("tiny.png.rgb.npy"), out;
    lx_error err;

    assert_int_equal(lx_resize(&out, &in, 0, 5, LX_RESIZE_AUTO, &err), LX_ELIMIT);
    assert_int_equal(lx_resize(&out, &in, 5, 1 << 20, LX_RESIZE_AUTO, &err), LX_ELIMIT);
    assert_int_equal(lx_crop(&in, 5, 0, 5, 5, &err), LX_EINTERNAL);
    lx_pixels_release(&in);
}

/* Sums from Pillow 13 over pictures made by a formula: the order of its two passes depends on
 * the sizes, and alpha weighs the colours. */
static void test_image_resize__passes_go_in_the_order_of_the_peer(void **state)
{
    static const struct {
        int w, h, channels, to_w, to_h;
        uint32_t sum;
    } cases[] = {
        {20, 46, 3, 30, 40, 0x72f946b3}, {66, 56, 3, 64, 44, 0x9a6959b2},
        {45, 56, 3, 32, 39, 0x1caefb62}, {20, 46, 4, 30, 40, 0x09a83acd},
        {13, 7, 3, 13, 20, 0x4633ad3f},
    };

    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        size_t n = (size_t)cases[k].w * (size_t)cases[k].h * (size_t)cases[k].channels;
        lx_pixels in = {lx_alloc(n), cases[k].w, cases[k].h, cases[k].channels}, out;
        uint32_t sum = 0;
        lx_error err;
        for (size_t i = 0; i < n; i++)
            in.data[i] = (uint8_t)((uint32_t)i * 2654435761u >> 24);
        assert_int_equal(
            lx_resize(&out, &in, cases[k].to_w, cases[k].to_h, LX_RESIZE_LANCZOS, &err), 0);
        n = (size_t)out.width * (size_t)out.height * (size_t)out.channels;
        for (size_t i = 0; i < n; i++)
            sum = sum * 31 + out.data[i];
        assert_int_equal(sum, cases[k].sum);
        lx_pixels_release(&in);
        lx_pixels_release(&out);
    }
}

/* "123/456" as stored, by EXIF's orientation: what a viewer shows. */
static void test_image_turn__as_exif_says(void **state)
{
    static const char *const shown[] = {"",       "123456", "321654", "654321", "456123",
                                        "142536", "415263", "635241", "362514"};
    lx_error err = {0};

    for (int orientation = 1; orientation <= 8; orientation++) {
        lx_pixels p = {.width = 3, .height = 2, .channels = 3, .data = lx_alloc(18)};
        char seen[7] = "";

        assert_non_null(p.data);
        for (int i = 0; i < 18; i++)
            p.data[i] = (uint8_t)('1' + i / 3);
        assert_int_equal(lx_turn(&p, orientation, &err), LX_OK);
        assert_int_equal(p.width, orientation < 5 ? 3 : 2);
        for (int i = 0; i < 6; i++)
            seen[i] = (char)p.data[3 * i + 2];
        assert_string_equal(seen, shown[orientation]);
        lx_pixels_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_resize__interpolations_are_those_of_the_peer),
        cmocka_unit_test(test_image_resize__buckets_are_those_of_the_peer),
        cmocka_unit_test(test_image_resize__colours_move_as_in_the_peer),
        cmocka_unit_test(test_image_resize__tensors_are_those_of_the_peer),
        cmocka_unit_test(test_image_resize__passes_go_in_the_order_of_the_peer),
        cmocka_unit_test(test_image_turn__as_exif_says),
        cmocka_unit_test(test_image_resize__sizes_out_of_reason_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
