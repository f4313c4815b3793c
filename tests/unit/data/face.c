/* Crops around faces: by sd-scripts' own crop_target, its draws replaced by those given; and the pixels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/data/face.h"
#include "src/data/loader.h"
#include "src/format/png.h"
#include "tests/support/model.h"

static void test_data_face__crops_are_the_peers(void **state)
{
    static const struct {
        int image_w, image_h, picture_w, picture_h;
        lx_face face;
        double range[2];
        bool is_random;
        lx_face_draws draws;
        lx_face_crop crop;
    } cases[] = {
        {1207,
         1374,
         448,
         640,
         {1086, 59, 480, 259},
         {1, 1},
         false,
         {0.1132, {0.4691, 0.2466}, {0.5438, 0.5739}},
         {1127, 1282, 679, 0}},
        {119,
         168,
         64,
         64,
         {36, 46, 59, 53},
         {2, 4},
         false,
         {0.0719, {0.6179, 0.4448}, {0.1322, 0.9723}},
         {64, 90, 0, 0}},
        {117,
         119,
         64,
         64,
         {22, 111, 14, 22},
         {1.5, 3},
         false,
         {0.5392, {0.6778, 0.2048}, {0.941, 0.6906}},
         {115, 117, 0, 53}},
        {172,
         69,
         96,
         64,
         {93, 53, 25, 33},
         {2, 4},
         true,
         {0.3319, {0.8174, 0.5861}, {0.596, 0.7077}},
         {162, 65, 66, 1}},
        {143,
         154,
         64,
         64,
         {79, 123, 44, 27},
         {0.5, 8},
         true,
         {0.1761, {0.2562, 0.939}, {0.9492, 0.3576}},
         {78, 84, 14, 20}},
        {100,
         171,
         96,
         64,
         {47, 96, 41, 5},
         {0.5, 8},
         true,
         {0.1809, {0.9552, 0.1965}, {0.7557, 0.9297}},
         {97, 165, 1, 75}},
        {184,
         154,
         96,
         64,
         {135, 64, 63, 17},
         {3, 3},
         false,
         {0.7972, {0.8597, 0.0366}, {0.9458, 0.0912}},
         {96, 80, 0, 1}},
        {973,
         1890,
         448,
         640,
         {372, 1880, 79, 352},
         {1.5, 3},
         false,
         {0.5451, {0.3125, 0.3168}, {0.1775, 0.0782}},
         {654, 1270, 14, 630}},
        {1145,
         1502,
         512,
         512,
         {331, 1474, 53, 86},
         {3, 3},
         false,
         {0.4059, {0.2373, 0.594}, {0.8263, 0.4557}},
         {1145, 1502, 75, 990}},
        {133,
         78,
         96,
         64,
         {9, 63, 25, 17},
         {2, 4},
         false,
         {0.564, {0.1328, 0.8965}, {0.4138, 0.1688}},
         {123, 72, 0, 8}},
        {600,
         760,
         448,
         640,
         {431, 301, 76, 236},
         {3, 3},
         false,
         {0.976, {0.4535, 0.4882}, {0.7295, 0.479}},
         {505, 640, 57, 0}},
        {929,
         1466,
         448,
         640,
         {924, 300, 61, 390},
         {3, 3},
         false,
         {0.627, {0.4993, 0.3385}, {0.0891, 0.2723}},
         {448, 707, 0, 0}},
        {512,
         1368,
         448,
         640,
         {356, 1203, 173, 39},
         {1.5, 3},
         true,
         {0.7045, {0.2809, 0.4857}, {0.7697, 0.6909}},
         {493, 1317, 45, 568}},
        {796,
         1005,
         448,
         640,
         {595, 872, 9, 246},
         {3, 3},
         false,
         {0.3259, {0.2737, 0.2888}, {0.5003, 0.6736}},
         {507, 640, 59, 0}},
        {804,
         1200,
         448,
         640,
         {660, 707, 381, 422},
         {1.5, 3},
         false,
         {0.1725, {0.867, 0.4498}, {0.3643, 0.3343}},
         {469, 700, 21, 60}},
        {852,
         918,
         512,
         512,
         {371, 874, 248, 148},
         {1, 1},
         false,
         {0.7304, {0.1718, 0.7804}, {0.5808, 0.6656}},
         {852, 918, 115, 406}},
        {173,
         133,
         96,
         64,
         {8, 50, 24, 41},
         {0.5, 8},
         false,
         {0.1807, {0.759, 0.1805}, {0.7185, 0.9865}},
         {110, 85, 0, 1}},
        {851,
         622,
         512,
         512,
         {137, 113, 166, 96},
         {0.5, 8},
         true,
         {0.0357, {0.4653, 0.3803}, {0.6118, 0.5902}},
         {706, 516, 0, 0}},
        {1277,
         513,
         512,
         512,
         {718, 415, 289, 223},
         {0.5, 8},
         false,
         {0.6889, {0.5472, 0.9644}, {0.5499, 0.3014}},
         {1276, 513, 463, 1}},
        {1006,
         1689,
         448,
         640,
         {348, 1189, 154, 364},
         {2, 4},
         true,
         {0.813, {0.6423, 0.3694}, {0.1421, 0.5959}},
         {587, 986, 0, 346}},
        {146,
         98,
         96,
         64,
         {24, 44, 4, 28},
         {1, 1},
         true,
         {0.9165, {0.5394, 0.3254}, {0.8765, 0.5643}},
         {146, 98, 30, 4}},
        {206,
         121,
         96,
         64,
         {127, 37, 65, 49},
         {0.5, 8},
         true,
         {0.855, {0.159, 0.594}, {0.741, 0.3008}},
         {192, 113, 75, 0}},
        {873,
         680,
         448,
         640,
         {327, 314, 255, 150},
         {2, 4},
         true,
         {0.1219, {0.6217, 0.4435}, {0.2931, 0.7817}},
         {822, 640, 122, 0}},
        {99,
         186,
         96,
         64,
         {69, 143, 21, 35},
         {0.5, 8},
         false,
         {0.2457, {0.2677, 0.1548}, {0.9888, 0.2932}},
         {97, 182, 1, 108}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lx_face_crop c = lx_face_place(
            &cases[i].face, cases[i].image_w, cases[i].image_h, cases[i].picture_w,
            cases[i].picture_h, cases[i].range, cases[i].is_random, &cases[i].draws);
        const lx_face_crop *want = &cases[i].crop;
        if (c.width != want->width || c.height != want->height || c.left != want->left ||
            c.top != want->top)
            fail_msg("case %zu: %dx%d at %d, %d; wanted %dx%d at %d, %d", i, c.width,
                     c.height, c.left, c.top, want->width, want->height, want->left,
                     want->top);
    }
}

/* Whatever is drawn, the picture lies within the scaled image. */
static void test_data_face__the_picture_lies_within_the_image(void **state)
{
    static const double ends[] = {0, 0.5, 0.999999999};

    for (int n = 0; n < 4000; n++) {
        const int w = 1 + n * 37 % 700, h = 1 + n * 53 % 900;
        const lx_face face = {1 + n % w, n % h, n % 5, 1 + n % 333};
        const double range[2] = {0.25 + n % 3, 0.25 + n % 3 + n % 2};
        const lx_face_draws draws = {ends[n % 3],
                                     {ends[n / 3 % 3], ends[n / 9 % 3]},
                                     {ends[n / 27 % 3], ends[n / 81 % 3]}};
        const lx_face_crop c = lx_face_place(&face, w, h, 64, 128, range, n % 2, &draws);
        assert_true(c.left >= 0 && c.top >= 0 && c.left + 64 <= c.width &&
                    c.top + 128 <= c.height);
    }
}

static void test_data_face__names(void **state)
{
    static const struct {
        const char *path;
        lx_face face;
    } cases[] = {{"img/a_100_50_30_40.png", {100, 50, 30, 40}},
                 {"a_b_c_7_0_0_1.jpeg", {7, 0, 0, 1}},
                 {"a_007_08_09_10.png", {7, 8, 9, 10}},
                 {"100_50_30_40.png", {0}}, /* a name comes first */
                 {"a_100_50_30.png", {0}},
                 {"a_100_50_30_4x.png", {0}},
                 {"a_100_50__40.png", {0}},
                 {"a_-100_50_30_40.png", {0}},
                 {"a_0_50_30_40.png", {0}},   /* sd-scripts takes no centre at 0 */
                 {"a_200_50_30_40.png", {0}}, /* outside */
                 {"a_100_150_30_40.png", {0}},
                 {"a_100_50_0_0.png", {0}},
                 {"a_100_50_30_99999999999999999999.png", {0}},
                 {"x.d/_1_2_3_4", {1, 2, 3, 4}},
                 {"", {0}}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lx_face f = lx_face_of(cases[i].path, 200, 150), *want = &cases[i].face;
        if (f.x != want->x || f.y != want->y || f.w != want->w || f.h != want->h)
            fail_msg("%s: %d %d %d %d", cases[i].path, f.x, f.y, f.w, f.h);
    }
}

enum { W = 200, H = 150, SIDE = 64 };

/* Red is the column, green the row. */
static void put_picture(const char *path)
{
    static unsigned char pixels[3 * W * H];
    lx_str png = LX_STR_INIT;
    lx_error err = {0};

    for (int i = 0; i < W * H; i++) {
        pixels[3 * i] = (unsigned char)(i % W);
        pixels[3 * i + 1] = (unsigned char)(i / W);
    }
    lx_assert_ok(lx_png_encode(&png, pixels, W, H, NULL, 0, &err), &err);
    lx_assert_ok(lx_file_write(path, png.data, png.len, &err), &err);
    lx_str_release(&png);
}

/* Where the picture's first pixel is in the image, and one to the right of and below it. */
typedef struct corner {
    double x, y, right, below;
} corner;

static int keep_corner(void *context, const float *x, int width, int height, float *mean,
                       float *logvar, lx_error *err)
{
    const size_t n = (size_t)width * (size_t)height, cells = n / 16;

    *(corner *)context =
        (corner){((double)x[0] + 1) * 127.5, ((double)x[n] + 1) * 127.5,
                 ((double)x[1] + 1) * 127.5, ((double)x[n + (size_t)width] + 1) * 127.5};
    for (size_t i = 0; i < cells; i++)
        mean[i] = logvar[i] = 0;
    return LX_OK;
}

static corner first_batch(const lx_dataset_config *c, uint64_t seed, int epoch)
{
    lx_dataset *d = NULL;
    lx_loader *l = NULL;
    const lx_batch *batch;
    lx_error err = {0};
    corner found = {0};

    lx_assert_ok(lx_dataset_scan(&d, c, &err), &err);
    lx_assert_ok(lx_dataset_plan(d, &err), &err);
    lx_assert_ok(lx_dataset_hash(d, &err), &err);
    lx_assert_ok(lx_loader_new(&l, d, seed, 1, 10, keep_corner, &found, &err), &err);
    lx_assert_ok(lx_loader_batch(&batch, l, epoch, 0, epoch, &err), &err);
    lx_loader_free(l);
    lx_dataset_free(d);
    return found;
}

static void test_data_face__pixels_come_from_around_it(void **state)
{
    char folder[] = "/tmp/lx-face-XXXXXX", command[64];
    lx_dataset_config c;
    corner a, b;
    bool has_moved = false;
    lx_error err = {0};
    lx_dataset *d = NULL;

    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    lx_assert_ok(lx_make_dirs("img/1_x", &err), &err);
    put_picture("img/1_x/a_100_70_40_30.png");
    lx_dataset_config_defaults(&c);
    c.train_data_dir = "img";
    c.width = c.height = SIDE;
    c.batch_size = 1;
    c.face_crop_aug_range[0] = c.face_crop_aug_range[1] = 1.6; /* 40 of 64: as it is */
    a = first_batch(&c, 1, 0);
    assert_float_equal(a.x, 100 - SIDE / 2, 1e-3);
    assert_float_equal(a.y, 70 - SIDE / 2, 1e-3);
    assert_float_equal(a.right, a.x + 1, 1e-3);
    assert_float_equal(a.below, a.y + 1, 1e-3);
    c.random_crop = true;
    for (int epoch = 0; epoch < 8; epoch++) {
        a = first_batch(&c, 1, epoch);
        b = first_batch(&c, 1, epoch); /* the same draws */
        assert_memory_equal(&a, &b, sizeof a);
        has_moved = has_moved || fabs(a.x - 68) > 0.5;
        assert_true(a.x > -0.1 && a.x < W - SIDE + 0.1);
    }
    assert_true(has_moved);
    put_picture("img/1_x/b.png"); /* says of no face */
    lx_assert_ok(lx_dataset_scan(&d, &c, &err), &err);
    assert_true(d->n_findings > 0);
    assert_string_equal(d->findings[d->n_findings - 1].code, "no-face");
    lx_dataset_free(d);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_face__crops_are_the_peers),
        cmocka_unit_test(test_data_face__the_picture_lies_within_the_image),
        cmocka_unit_test(test_data_face__names),
        cmocka_unit_test(test_data_face__pixels_come_from_around_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
