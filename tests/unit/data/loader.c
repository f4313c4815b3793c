#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/data/loader.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

/*
 * A stand-in for the VAE: the mean of each cell is that of its 8x8 pixels, in three channels, the
 * fourth is where the cell lies, so a mirror shows. The variance is 1e-8 or, asked, 1.
 */
typedef struct fake_vae {
    float logvar;
    int n_calls;
    int broken_call, nan_call; /* from 1; 0 = none */
    pthread_t caller;          /* of the last call */
} fake_vae;

static int fake_encode(void *context, const float *x, int width, int height, float *mean,
                       float *logvar, lx_error *err)
{
    fake_vae *vae = context;
    int w = width / 8, h = height / 8;

    vae->caller = pthread_self();
    if (++vae->n_calls == vae->broken_call)
        return lx_fail(err, LX_EIO, "the encoder broke");
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < w * h; i++) {
            double sum = 0;
            for (int k = 0; k < 64 && c < 3; k++)
                sum += x[(c * height + i / w * 8 + k / 8) * width + i % w * 8 + k % 8];
            mean[c * w * h + i] = c < 3 ? (float)(sum / 64) : (float)(i % w) / (float)w;
            logvar[c * w * h + i] = vae->logvar;
        }
    if (vae->n_calls == vae->nan_call)
        mean[w * h] = NAN;
    return LX_OK;
}

static lx_dataset_config config_of(void)
{
    lx_dataset_config c;
    const char *path = lx_golden_need("data/dataset/parse/hobby_txt.json");
    char folder[1024];

    snprintf(folder, sizeof folder, "%.*s", (int)(strstr(path, "/parse/") - path), path);
    assert_int_equal(chdir(folder), 0);
    lx_dataset_config_defaults(&c);
    c.train_data_dir = "tree/simple/train";
    c.reg_data_dir = "tree/regs/few";
    c.caption_extension = ".txt";
    c.width = c.height = 128;
    c.min_bucket_reso = 64;
    c.max_bucket_reso = 256;
    c.enable_bucket = c.cache_latents = true;
    c.batch_size = 3;
    return c;
}

static lx_dataset *dataset_of(const lx_dataset_config *c)
{
    lx_dataset *d = NULL;
    lx_error err = {0};

    if (lx_dataset_scan(&d, c, &err) < 0 || lx_dataset_check(d, &err) < 0 ||
        lx_dataset_plan(d, &err) < 0 || lx_dataset_hash(d, &err) < 0)
        fail_msg("%s", err.text);
    return d;
}

static lx_loader *loader_of(const lx_dataset *d, uint64_t seed, fake_vae *vae)
{
    lx_loader *l = NULL;
    lx_error err = {0};

    if (lx_loader_new(&l, d, seed, 0.5, 100, fake_encode, vae, &err) < 0 ||
        (d->config.cache_latents && lx_loader_cache_latents(l, NULL, NULL, &err) < 0))
        fail_msg("%s", err.text);
    return l;
}

static const lx_batch *batch_of(lx_loader *l, int epoch, int64_t batch)
{
    const lx_batch *b = NULL;
    lx_error err = {0};

    if (lx_loader_batch(&b, l, epoch, batch, epoch * 100 + batch, &err) < 0)
        fail_msg("%s", err.text);
    return b;
}

static size_t cells_of(const lx_batch *b)
{
    return (size_t)b->size * 4 * (size_t)(b->width / 8) * (size_t)(b->height / 8);
}

/* All that an epoch gives, as one hash. */
static uint64_t digest(lx_loader *l, const lx_dataset *d, int epoch)
{
    lx_sha256 h;
    lx_hash hash;
    uint64_t x;

    lx_sha256_init(&h);
    for (size_t i = 0; i < d->n_batches; i++) {
        const lx_batch *b = batch_of(l, epoch, (int64_t)i);
        lx_sha256_update(&h, b->images, (size_t)b->size * sizeof *b->images);
        lx_sha256_update(&h, b->is_flipped, (size_t)b->size);
        lx_sha256_update(&h, b->latents, cells_of(b) * sizeof(float));
        for (int k = 0; k < b->size; k++)
            lx_sha256_update(&h, b->captions[k], strlen(b->captions[k]) + 1);
    }
    hash = lx_sha256_final(&h);
    memcpy(&x, hash.bytes, sizeof x);
    return x;
}

static void test_data_loader__each_image_comes_as_often_as_its_repeats(void **state)
{
    lx_dataset_config c = config_of();
    lx_dataset *d = dataset_of(&c);
    fake_vae vae = {.logvar = -20};
    lx_loader *l = loader_of(d, 1, &vae);

    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[64] = {0};
        size_t n_samples = 0;
        for (size_t i = 0; i < d->n_batches; i++) {
            const lx_batch *b = batch_of(l, epoch, (int64_t)i);
            assert_in_range(b->size, 1, 3);
            for (int k = 0; k < b->size; k++) {
                const lx_image *image = &d->images[b->images[k]];
                seen[b->images[k]]++;
                assert_int_equal(d->buckets[image->bucket].width, b->width);
                assert_int_equal(d->buckets[image->bucket].height, b->height);
                assert_true(b->loss_weights[k] == (image->is_reg ? 0.5f : 1.0f));
                assert_string_equal(b->captions[k], image->caption);
                n_samples++;
            }
        }
        assert_int_equal(n_samples, d->n_train_samples + d->n_reg_samples);
        for (size_t i = 0; i < d->n_images; i++)
            assert_int_equal(seen[i], d->images[i].repeats);
    }
    lx_loader_free(l);
    lx_dataset_free(d);
}

static void test_data_loader__order_is_of_seed_and_epoch_alone(void **state)
{
    lx_dataset_config c = config_of();
    lx_dataset *d;
    lx_loader *a, *b, *other;
    fake_vae vae = {.logvar = 0};
    uint64_t second;

    c.shuffle_caption = c.flip_aug = true;
    c.caption_tag_dropout_rate = 0.2;
    d = dataset_of(&c);
    a = loader_of(d, 7, &vae);
    b = loader_of(d, 7, &vae);
    other = loader_of(d, 8, &vae);
    second = digest(a, d, 2); /* epochs 0 and 1 were never asked for */
    assert_true(digest(b, d, 0) != digest(b, d, 1));
    assert_true(digest(b, d, 2) == second);
    assert_true(digest(a, d, 2) == second);
    assert_true(digest(other, d, 2) != second);
    /* A batch alone is what it is in its turn: a resumed run goes on with the same samples. */
    for (size_t i = d->n_batches; i-- > 0;) {
        const lx_batch *x = batch_of(a, 1, (int64_t)i);
        const lx_batch *y = batch_of(b, 1, (int64_t)i);
        assert_memory_equal(x->latents, y->latents, cells_of(x) * sizeof(float));
        assert_string_equal(x->captions[0], y->captions[0]);
    }
    lx_loader_free(a);
    lx_loader_free(b);
    lx_loader_free(other);
    lx_dataset_free(d);
}

static void test_data_loader__flipped_latents_are_of_the_mirror_image(void **state)
{
    lx_dataset_config c = config_of();
    lx_dataset *d;
    lx_loader *l;
    fake_vae vae = {.logvar = -30};
    int n_flipped = 0, n_straight = 0, n_used = 0;

    c.flip_aug = true;
    d = dataset_of(&c);
    l = loader_of(d, 3, &vae);
    for (size_t i = 0; i < d->n_images; i++)
        n_used += d->images[i].repeats > 0;
    assert_int_equal(vae.n_calls, 2 * n_used);
    for (int epoch = 0; epoch < 4; epoch++)
        for (size_t i = 0; i < d->n_batches; i++) {
            const lx_batch *b = batch_of(l, epoch, (int64_t)i);
            for (int k = 0; k < b->size; k++)
                *(b->is_flipped[k] ? &n_flipped : &n_straight) += 1;
        }
    assert_int_equal(vae.n_calls, 2 * n_used);
    assert_true(abs(n_flipped - n_straight) < 4 * (int)sqrt(n_flipped + n_straight));
    /* The same image, straight and mirrored: cell (y, x) is cell (y, w - 1 - x). */
    for (size_t i = 0; i < d->n_images; i++) {
        float *found[2] = {NULL, NULL};
        int w = d->buckets[d->images[i].bucket].width / 8;
        int h = d->buckets[d->images[i].bucket].height / 8;
        size_t n = 4 * (size_t)w * (size_t)h;
        for (int epoch = 0; epoch < 8; epoch++)
            for (size_t s = 0; s < d->n_batches; s++) {
                const lx_batch *b = batch_of(l, epoch, (int64_t)s);
                for (int k = 0; k < b->size; k++)
                    if (b->images[k] == (int)i && found[b->is_flipped[k]] == NULL) {
                        found[b->is_flipped[k]] = lx_alloc(n * sizeof(float));
                        memcpy(found[b->is_flipped[k]], b->latents + (size_t)k * n,
                               n * sizeof(float));
                    }
            }
        if (found[0] != NULL && found[1] != NULL)
            for (int p = 0; p < 3 * w * h; p++)
                assert_true(fabsf(found[0][p] - found[1][p / w * w + (w - 1 - p % w)]) <
                            1e-4f);
        lx_free(found[0]);
        lx_free(found[1]);
    }
    lx_loader_free(l);
    lx_dataset_free(d);
}

static void test_data_loader__posterior_is_drawn_once_and_scaled(void **state)
{
    lx_dataset_config c = config_of();
    lx_dataset *d = dataset_of(&c);
    fake_vae sharp = {.logvar = -30}, wide = {.logvar = 0};
    lx_loader *a = loader_of(d, 5, &sharp), *b = loader_of(d, 5, &wide);
    double sum = 0, squares = 0;
    size_t n = 0;

    for (size_t i = 0; i < d->n_batches; i++) {
        const lx_batch *x = batch_of(a, 0, (int64_t)i), *y = batch_of(b, 0, (int64_t)i);
        for (size_t k = 0; k < cells_of(x); k++) {
            double noise = ((double)y->latents[k] - x->latents[k]) / 0.18215;
            sum += noise;
            squares += noise * noise;
            n++;
        }
    }
    assert_true(fabs(sum / (double)n) < 0.1);
    assert_true(fabs(squares / (double)n - 1) < 0.1);
    lx_loader_free(a);
    lx_loader_free(b);
    lx_dataset_free(d);
}

static void test_data_loader__without_a_cache_every_visit_is_drawn_anew(void **state)
{
    lx_dataset_config c = config_of();
    lx_dataset *d;
    lx_loader *a, *b;
    fake_vae vae = {.logvar = 0};

    c.cache_latents = false;
    c.random_crop = c.color_aug = c.flip_aug = true;
    d = dataset_of(&c);
    a = loader_of(d, 9, &vae);
    b = loader_of(d, 9, &vae);
    assert_int_equal(vae.n_calls, 0);
    assert_true(digest(a, d, 1) == digest(b, d, 1));
    assert_int_equal(vae.n_calls, 2 * (int)(d->n_train_samples + d->n_reg_samples));
    lx_loader_free(a);
    lx_loader_free(b);
    lx_dataset_free(d);
}

/* Epochs one after the other, a jump back and forth, and a third epoch from its middle, as a resume takes it. */
static uint64_t walk(lx_loader *l, const lx_dataset *d)
{
    uint64_t sum = digest(l, d, 0) * 31 + digest(l, d, 1);

    batch_of(l, 4, (int64_t)d->n_batches - 1);
    sum = sum * 31 + digest(l, d, 1);
    for (int64_t i = (int64_t)d->n_batches / 2; i < (int64_t)d->n_batches; i++)
        sum = sum * 31 + (uint64_t)(1e6 * (1 + (double)batch_of(l, 2, i)->latents[3]));
    return sum * 31 + digest(l, d, 3);
}

static void test_data_loader__reading_ahead_changes_nothing(void **state)
{
    lx_error err = {0};

    for (int is_cached = 0; is_cached < 2; is_cached++) {
        lx_dataset_config c = config_of();
        fake_vae vae = {.logvar = 0};
        lx_dataset *d;
        lx_loader *l[2];
        uint64_t sums[2];

        c.cache_latents = false; /* loader_of would cache at once */
        c.random_crop = c.color_aug = !is_cached;
        c.flip_aug = true;
        d = dataset_of(&c);
        for (int i = 0; i < 2; i++) {
            l[i] = loader_of(d, 9, &vae);
            if (i)
                lx_assert_ok(lx_loader_read_ahead(l[i], &err), &err);
            if (is_cached)
                lx_assert_ok(lx_loader_cache_latents(l[i], NULL, NULL, &err), &err);
            sums[i] = walk(l[i], d);
        }
        assert_true(sums[0] == sums[1]);
        for (int i = 0; i < 2; i++)
            lx_loader_free(l[i]);
        lx_dataset_free(d);
    }
}

static void test_data_loader__encoding_ahead_changes_nothing(void **state)
{
    lx_dataset_config c = config_of();
    lx_error err = {0};
    lx_dataset *d;
    uint64_t sums[2];

    c.cache_latents = false;
    c.random_crop = c.color_aug = c.flip_aug = true;
    d = dataset_of(&c);
    for (int i = 0; i < 2; i++) {
        fake_vae vae = {.logvar = 0};
        lx_loader *l = loader_of(d, 9, &vae);
        if (i)
            lx_assert_ok(lx_loader_encode_ahead(l, 5 * d->n_batches, &err), &err);
        sums[i] = walk(l, d);
        lx_loader_free(l);
        assert_int_equal(!pthread_equal(vae.caller, pthread_self()), i);
    }
    assert_true(sums[0] == sums[1]);
    lx_dataset_free(d);
}

/* Every image of the training is encoded once, and none for the batches behind its end. */
static void test_data_loader__nothing_is_encoded_behind_the_end(void **state)
{
    lx_dataset_config c = config_of();
    fake_vae vae = {.logvar = 0};
    lx_error err = {0};
    lx_dataset *d;
    lx_loader *l;
    int n = 0;

    c.cache_latents = false;
    c.random_crop = true;
    d = dataset_of(&c);
    assert_true(d->n_batches > 2);
    l = loader_of(d, 9, &vae);
    lx_assert_ok(lx_loader_encode_ahead(l, d->n_batches + 1, &err), &err);
    for (size_t i = 0; i <= d->n_batches; i++)
        n += batch_of(l, (int)(i / d->n_batches), (int64_t)(i % d->n_batches))->size;
    lx_loader_free(l);
    assert_int_equal(vae.n_calls, n);
    lx_dataset_free(d);
}

/* What goes wrong while encoding is told with the batch of the image, and the batches behind it are good. */
static void
test_data_loader__an_error_of_encoding_ahead_comes_with_its_batch(void **state)
{
    lx_dataset_config c = config_of();
    fake_vae vae = {.logvar = 0, .broken_call = 2, .nan_call = 4};
    const lx_batch *b;
    lx_dataset *d;
    lx_loader *l;
    int n_good = 0;

    c.cache_latents = false;
    c.batch_size = 1;
    d = dataset_of(&c);
    assert_true(d->n_batches > 5);
    l = loader_of(d, 3, &vae);
    lx_assert_ok(lx_loader_encode_ahead(l, 6, NULL), NULL);
    for (int64_t i = 0; i < 6; i++) {
        lx_error err = {0};
        if (lx_loader_batch(&b, l, 0, i, 0, &err) == LX_OK) {
            n_good++;
            continue;
        }
        assert_true(i == 1 || i == 3);
        assert_int_equal(err.code, i == 1 ? LX_EIO : LX_ECHECK);
        assert_non_null(strstr(err.text, i == 1 ? "the encoder broke" : "not numbers"));
    }
    assert_int_equal(n_good, 4);
    lx_loader_free(l);
    lx_dataset_free(d);
}

/* A training that ends in the middle does not wait for a batch, nor does one that never began. */
static void test_data_loader__encoding_ahead_ends_at_any_time(void **state)
{
    lx_dataset_config c = config_of();
    lx_error err = {0};
    lx_dataset *d;

    c.cache_latents = false;
    d = dataset_of(&c);
    for (int n = 0; n < 4; n++) {
        fake_vae vae = {.logvar = 0};
        lx_loader *l = loader_of(d, 9, &vae);
        lx_assert_ok(lx_loader_encode_ahead(l, UINT64_MAX, &err), &err);
        for (int i = 0; i < n; i++)
            batch_of(l, 0, i);
        lx_loader_free(l);
    }
    lx_dataset_free(d);
}

/* The error comes with the batch that the image is in, whatever was read before, and names it. */
static void test_data_loader__an_error_read_ahead_comes_with_its_batch(void **state)
{
    lx_dataset_config c = config_of();
    char folder[] = "/tmp/lx-loader-XXXXXX", command[256];
    fake_vae vae = {.logvar = 0};
    const lx_batch *b;
    lx_dataset *d;
    lx_loader *l;
    lx_error err = {0};
    int n_failed = 0, n_good = 0;

    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "cp -r tree/simple/train %s/img && chmod -R u+w %s",
             folder, folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(chdir(folder), 0);
    c.train_data_dir = "img";
    c.reg_data_dir = NULL;
    c.cache_latents = false;
    c.batch_size = 1;
    d = dataset_of(&c);
    assert_true(d->n_images > 2);
    assert_int_equal(truncate(d->images[1].path, 60), 0);
    l = loader_of(d, 3, &vae);
    lx_assert_ok(lx_loader_read_ahead(l, &err), &err);
    for (size_t i = 0; i < d->n_batches; i++) {
        if (lx_loader_batch(&b, l, 0, (int64_t)i, 0, &err) < 0) {
            n_failed++;
            assert_non_null(strstr(err.text, d->images[1].path));
        } else {
            n_good++;
            assert_int_not_equal(b->images[0], 1);
        }
    }
    assert_int_equal(n_failed, d->images[1].repeats);
    assert_true(n_good > 0);
    lx_loader_free(l);
    lx_dataset_free(d);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_loader__each_image_comes_as_often_as_its_repeats),
        cmocka_unit_test(test_data_loader__order_is_of_seed_and_epoch_alone),
        cmocka_unit_test(test_data_loader__flipped_latents_are_of_the_mirror_image),
        cmocka_unit_test(test_data_loader__posterior_is_drawn_once_and_scaled),
        cmocka_unit_test(test_data_loader__without_a_cache_every_visit_is_drawn_anew),
        cmocka_unit_test(test_data_loader__reading_ahead_changes_nothing),
        cmocka_unit_test(test_data_loader__encoding_ahead_changes_nothing),
        cmocka_unit_test(test_data_loader__nothing_is_encoded_behind_the_end),
        cmocka_unit_test(
            test_data_loader__an_error_of_encoding_ahead_comes_with_its_batch),
        cmocka_unit_test(test_data_loader__encoding_ahead_ends_at_any_time),
        cmocka_unit_test(test_data_loader__an_error_read_ahead_comes_with_its_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
