/* sd-scripts' latents beside the images: which are used, how they come back (by sd-scripts itself: tests/peers). */
#include <math.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/loader.h"
#include "src/data/npz_latents.h"
#include "src/format/npz.h"
#include "src/format/png.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

static char folder[] = "/tmp/lx-npz-latents-XXXXXX";

/* Pictures of 160x128 in a bucket of 64x64. */
enum { W = 160, H = 128, SIDE = 64, CELLS = SIDE / 8 * SIDE / 8 };

static int make_folder(void **state)
{
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void put_picture(const char *path, int shade)
{
    uint8_t *pixels = lx_calloc((size_t)W * H, 4);
    lx_str png = LX_STR_INIT;
    lx_error err = {0};

    for (int i = 0; i < W * H; i++) {
        pixels[3 * i] = (uint8_t)(i % W + shade);
        pixels[3 * i + 1] = (uint8_t)(i / W);
        pixels[3 * i + 2] = (uint8_t)(shade * 3);
    }
    lx_assert_ok(lx_png_encode(&png, pixels, W, H, NULL, 0, &err), &err);
    lx_assert_ok(lx_file_write(path, png.data, png.len, &err), &err);
    lx_str_release(&png);
    lx_free(pixels);
}

/* A fresh img/2_x with two pictures. */
static lx_dataset_config fresh(lx_npz_use use)
{
    lx_dataset_config c;

    if (system("rm -rf img && mkdir -p img/2_x") != 0)
        fail();
    put_picture("img/2_x/a.png", 10);
    put_picture("img/2_x/b.png", 40);
    lx_dataset_config_defaults(&c);
    c.train_data_dir = "img";
    c.width = c.height = SIDE;
    c.cache_latents = true;
    c.batch_size = 1;
    c.npz_latents = use;
    return c;
}

static lx_dataset *dataset_of(const lx_dataset_config *c)
{
    lx_dataset *d = NULL;
    lx_error err = {0};

    if (lx_dataset_scan(&d, c, &err) < 0 || lx_dataset_check(d, &err) < 0 ||
        lx_dataset_plan(d, &err) < 0 || lx_npz_latents_find(d, &err) < 0 ||
        lx_dataset_hash(d, &err) < 0)
        fail_msg("%s", err.text);
    return d;
}

static const lx_finding *finding_of(const lx_dataset *d, lx_finding_kind kind)
{
    for (size_t i = 0; i < d->n_findings; i++)
        if (d->findings[i].kind == kind &&
            strcmp(d->findings[i].code, "npz-latents") == 0)
            return &d->findings[i];
    return NULL;
}

/* The mean of 8x8 pixels; a posterior 0.05 wide. */
static int fake_encode(void *context, const float *x, int width, int height, float *mean,
                       float *logvar, lx_error *err)
{
    int w = width / 8;

    ++*(int *)context;
    for (int i = 0; i < 4 * CELLS; i++) {
        double sum = 0;
        const int c = i / CELLS % 3, cell = i % CELLS;
        for (int k = 0; k < 64; k++)
            sum += (double)
                x[(c * height + cell / w * 8 + k / 8) * width + cell % w * 8 + k % 8];
        mean[i] = (float)(sum / 64);
        logvar[i] = -6;
    }
    return LX_OK;
}

/* All latents of an epoch, by image and mirror; how often the VAE was asked. */
typedef struct epoch {
    float latents[2][2][4 * CELLS], masks[2][2][CELLS];
    int n_encoded;
} epoch;

static int run_epochs(epoch *out, const lx_dataset *d, uint64_t seed, lx_error *err)
{
    lx_loader *l = NULL;
    const lx_batch *batch;
    int rc;

    memset(out, 0, sizeof *out);
    lx_assert_ok(lx_loader_new(&l, d, seed, 1, 10, fake_encode, &out->n_encoded, err),
                 err);
    rc = lx_loader_cache_latents(l, NULL, NULL, err);
    for (int i = 0; i < 40 && rc == LX_OK; i++) {
        const int at = i % (int)d->n_batches;
        rc = lx_loader_batch(&batch, l, i / (int)d->n_batches, at, i, err);
        if (rc < 0)
            break;
        memcpy(out->latents[batch->images[0]][*batch->is_flipped], batch->latents,
               sizeof out->latents[0][0]);
        if (batch->masks)
            memcpy(out->masks[batch->images[0]][*batch->is_flipped], batch->masks,
                   sizeof out->masks[0][0]);
    }
    lx_loader_free(l);
    return rc;
}

static void test_npz_latents__what_is_written_is_read_to_the_bit(void **state)
{
    lx_dataset_config c = fresh(LX_NPZ_WRITE);
    static epoch wrote, read, other;
    lx_error err = {0};
    lx_dataset *d;

    c.flip_aug = true;
    d = dataset_of(&c);
    lx_assert_ok(run_epochs(&wrote, d, 7, &err), &err);
    assert_int_equal(wrote.n_encoded, 4);
    assert_true(lx_file_exists("img/2_x/a_0160x0128_sd.npz"));
    assert_null(d->images[0].npz);
    lx_dataset_free(d);
    c.npz_latents = LX_NPZ_READ;
    d = dataset_of(&c);
    assert_non_null(finding_of(d, LX_FINDING_NOTE));
    assert_null(finding_of(d, LX_FINDING_WARNING));
    assert_non_null(d->images[0].npz);
    lx_assert_ok(run_epochs(&read, d, 8, &err), &err); /* whatever the seed */
    assert_int_equal(read.n_encoded, 1);               /* the one that is compared */
    assert_memory_equal(read.latents, wrote.latents, sizeof read.latents);
    lx_dataset_free(d);
    c.npz_latents = LX_NPZ_OFF;
    d = dataset_of(&c);
    assert_null(d->images[0].npz);
    lx_assert_ok(run_epochs(&other, d, 8, &err), &err);
    assert_memory_not_equal(other.latents, wrote.latents, sizeof read.latents);
    lx_dataset_free(d);
}

/* What a file has; put_file writes it. */
typedef struct content {
    const char *suffix;
    int64_t size[2];
    double crop[4];
    int channels, side;
    float value;
    bool has_mirror, has_mask;
} content;

static const content right = {"", {W, H}, {0, 0, 0, 0}, 4, SIDE / 8, 0.5f, true, true};

static void put_file(const char *path, content of)
{
    static float values[16 * 64 * 64], mask[SIDE * SIDE];
    char names[5][40];
    const char *const bases[5] = {"latents", "latents_flipped", "original_size",
                                  "crop_ltrb", "alpha_mask"};
    lx_tensor_view v[5];
    lx_error err = {0};
    size_t n = 0;

    lx_npz_crop(of.crop, SIDE, SIDE, W, H);
    for (int i = 0; i < 16 * 64 * 64; i++)
        values[i] = of.value;
    for (int i = 0; i < SIDE * SIDE; i++)
        mask[i] = i % SIDE < SIDE / 4 ? 0 : 1;
    for (int i = 0; i < 5; i++) {
        if ((i == 1 && !of.has_mirror) || (i == 4 && !of.has_mask))
            continue;
        snprintf(names[i], sizeof names[i], "%s%s", bases[i], of.suffix);
        v[n] = (lx_tensor_view){.name = names[i],
                                .dtype = LX_F32,
                                .n_dims = 3,
                                .shape = {of.channels, of.side, of.side},
                                .data = values};
        if (i == 2)
            v[n] = (lx_tensor_view){.name = names[i],
                                    .dtype = LX_I64,
                                    .n_dims = 1,
                                    .shape = {2},
                                    .data = of.size};
        if (i == 3)
            v[n] = (lx_tensor_view){.name = names[i],
                                    .dtype = LX_F64,
                                    .n_dims = 1,
                                    .shape = {4},
                                    .data = of.crop};
        if (i == 4)
            v[n] = (lx_tensor_view){.name = names[i],
                                    .dtype = LX_F32,
                                    .n_dims = 2,
                                    .shape = {SIDE, SIDE},
                                    .data = mask};
        v[n].n_elements = 1;
        for (int k = 0; k < v[n].n_dims; k++)
            v[n].n_elements *= (size_t)v[n].shape[k];
        v[n].bytes = v[n].n_elements * (size_t)lx_dtype_bits(v[n].dtype) / 8;
        n++;
    }
    lx_assert_ok(lx_npz_write(path, v, n, &err), &err);
}

static const char new_name[] = "img/2_x/a_0160x0128_sd.npz", old_name[] = "img/2_x/a.npz";

static void expect(const lx_dataset_config *c, const char *used, const char *unused)
{
    lx_dataset *d = dataset_of(c);
    const lx_finding *f = finding_of(d, LX_FINDING_WARNING);

    if (used ? !d->images[0].npz || strcmp(d->images[0].npz, used) != 0
             : d->images[0].npz != NULL)
        fail_msg("used %s, not %s: %s", d->images[0].npz ? d->images[0].npz : "none",
                 used ? used : "none", f ? f->text : "");
    if (unused ? !f || !strstr(f->text, unused) : f != NULL)
        fail_msg("wanted \"%s\", got \"%s\"", unused ? unused : "nothing",
                 f ? f->text : "");
    lx_dataset_free(d);
}

static void test_npz_latents__only_what_fits_is_used(void **state)
{
    lx_dataset_config c = fresh(LX_NPZ_READ), masked;
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    content of;

    c.flip_aug = true;
    masked = c;
    masked.alpha_mask = true;
#define WITH(member, value) \
    of = right;             \
    of.member = value;      \
    put_file(new_name, of)
    put_file(new_name, right);
    expect(&c, new_name, NULL);
    expect(&masked, new_name, NULL);
    WITH(has_mask, false);
    expect(&c, new_name, NULL);
    expect(&masked, NULL, "no alpha_mask");
    WITH(has_mirror, false);
    expect(&c, NULL, "no latents_flipped");
    WITH(side, 16);
    expect(&c, NULL, "its latents are 16x16, those of the bucket 64x64 are 8x8");
    WITH(channels, 16);
    expect(&c, NULL, "not those of Stable Diffusion 1");
    WITH(value, (float)NAN);
    expect(&c, NULL, "not all numbers");
    WITH(size[0], 161);
    expect(&c, NULL, "its image was 161x128 and is 160x128");
    WITH(suffix, "_8x8");
    expect(&c, new_name, NULL);
    WITH(suffix, "_16x16");
    expect(&c, NULL, "no latents");
    put_file(new_name, right);
    assert_int_equal(utimensat(AT_FDCWD, new_name, old, 0), 0);
    expect(&c, NULL, "older than its image");
    put_file(new_name, right);
    of = right;
    of.size[1] = 1;
    put_file(old_name, of); /* looked at first, and the other then */
    expect(&c, new_name, "its image was 160x1");
    put_file(old_name, right);
    expect(&c, old_name, NULL);
    assert_int_equal(truncate(old_name, 300), 0);
    expect(&c, new_name, "a.npz");
}

static void test_npz_latents__masks_are_means_and_mirrored(void **state)
{
    lx_dataset_config c = fresh(LX_NPZ_WRITE);
    static float latents[4 * CELLS];
    static epoch wrote, read;
    float mask[CELLS];
    lx_error err = {0};
    lx_dataset *d;

    c.flip_aug = c.alpha_mask = c.has_masks = true;
    d = dataset_of(&c);
    lx_assert_ok(run_epochs(&wrote, d, 7, &err), &err);
    lx_dataset_free(d);
    c.npz_latents = LX_NPZ_READ;
    d = dataset_of(&c);
    lx_assert_ok(run_epochs(&read, d, 7, &err), &err);
    assert_memory_equal(read.masks, wrote.masks, sizeof read.masks);
    lx_dataset_free(d);
    put_file(new_name, right);
    d = dataset_of(&c);
    for (int is_mirror = 0; is_mirror < 2; is_mirror++) {
        lx_assert_ok(
            lx_npz_latents_read(latents, mask, d, &d->images[0], is_mirror, &err), &err);
        for (int i = 0; i < CELLS; i++)
            assert_float_equal(mask[i], (is_mirror ? 7 - i % 8 : i % 8) < 2 ? 0 : 1, 0);
    }
    lx_dataset_free(d);
}

static void test_npz_latents__other_latents_and_other_bytes_stop(void **state)
{
    lx_dataset_config c = fresh(LX_NPZ_READ);
    static epoch none;
    lx_error err = {0};
    lx_dataset *d;
    content of = right;

    put_file(new_name, right); /* what no VAE makes of this picture */
    d = dataset_of(&c);
    assert_int_equal(run_epochs(&none, d, 7, &err), LX_ECHECK);
    assert_non_null(strstr(err.text, "a_0160x0128_sd.npz"));
    assert_non_null(strstr(err.text, "not what this VAE makes of"));
    of.value = 0.25f;
    put_file(new_name, of);
    assert_int_equal(run_epochs(&none, d, 7, &err), LX_ECHECK);
    assert_non_null(strstr(err.text, "other bytes than when the run began"));
    assert_int_equal(unlink(new_name), 0);
    assert_int_equal(run_epochs(&none, d, 7, &err), LX_ECHECK);
    lx_dataset_free(d);
}

static void test_npz_latents__nothing_is_overwritten_unless_told(void **state)
{
    lx_dataset_config c = fresh(LX_NPZ_WRITE);
    content of = right;
    lx_tensor_file *file;
    static epoch wrote;
    lx_hash before, after;
    lx_error err = {0};
    lx_dataset *d;

    of.suffix = "_16x16";
    put_file(new_name, of);
    lx_assert_ok(lx_file_hash(&before, new_name, &err), &err);
    d = dataset_of(&c);
    lx_assert_ok(run_epochs(&wrote, d, 7, &err), &err);
    lx_assert_ok(lx_file_hash(&after, new_name, &err), &err);
    assert_true(lx_hash_equal(&before, &after));
    assert_true(lx_file_exists("img/2_x/b_0160x0128_sd.npz"));
    lx_dataset_free(d);
    c.npz_latents = LX_NPZ_REPLACE;
    d = dataset_of(&c);
    lx_assert_ok(run_epochs(&wrote, d, 7, &err), &err);
    lx_assert_ok(lx_tensor_file_open(&file, new_name, &err), &err);
    assert_non_null(
        lx_tensor_file_find(file, "latents_16x16")); /* what was there stays */
    assert_non_null(lx_tensor_file_find(file, "latents"));
    lx_tensor_file_close(file);
    put_file(old_name, right); /* sd-scripts would look at this one */
    assert_int_equal(truncate(old_name, 200), 0);
    lx_assert_ok(run_epochs(&wrote, d, 7, &err), &err);
    lx_dataset_free(d);
    c.npz_latents = LX_NPZ_READ;
    expect(&c, old_name, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npz_latents__what_is_written_is_read_to_the_bit),
        cmocka_unit_test(test_npz_latents__only_what_fits_is_used),
        cmocka_unit_test(test_npz_latents__masks_are_means_and_mirrored),
        cmocka_unit_test(test_npz_latents__other_latents_and_other_bytes_stop),
        cmocka_unit_test(test_npz_latents__nothing_is_overwritten_unless_told),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
