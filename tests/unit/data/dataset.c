#include "src/data/dataset.h"

#include <pthread.h>
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

#include "src/base/file.h"
#include "src/data/facts.h"
#include "tests/support/golden.h"
#include "tests/support/train.h"

static const cJSON *get(const cJSON *tree, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(tree, key);
}

static int number(const cJSON *tree, const char *key)
{
    const cJSON *item = get(tree, key);
    return cJSON_IsNumber(item) ? item->valueint : 0;
}

/* ---- steps: pictures without files ---------------------------------------------------------- */

static void add_images(lx_dataset *d, const cJSON *folders, const cJSON *shapes,
                       bool is_reg)
{
    const cJSON *folder, *group;

    cJSON_ArrayForEach(folder, folders)
    {
        int repeats = atoi(cJSON_GetArrayItem(folder, 0)->valuestring);

        cJSON_ArrayForEach(group, cJSON_GetArrayItem(folder, 1))
        {
            const cJSON *size = get(shapes, cJSON_GetArrayItem(group, 0)->valuestring);

            for (int i = 0; i < cJSON_GetArrayItem(group, 1)->valueint; i++)
                d->images[d->n_images++] =
                    (lx_image){.path = "picture",
                               .caption = "",
                               .repeats = repeats,
                               .is_reg = is_reg,
                               .width = cJSON_GetArrayItem(size, 0)->valueint,
                               .height = cJSON_GetArrayItem(size, 1)->valueint};
        }
    }
}

static void check_row(const cJSON *row, const cJSON *shapes)
{
    enum { MOST = 20000 };
    const char *name = get(row, "case")->valuestring;
    const int steps = number(row, "arg_max_train_steps");
    lx_dataset d = {.arena = lx_arena_new(), .images = calloc(MOST, sizeof(lx_image))};
    lx_folder folder = {.config = &d.config};
    lx_data_part part = {.config = &d.config};
    const cJSON *bucket;
    lx_step_count count;
    lx_error err = {0};

    assert_true(d.arena && d.images);
    d.folders = &folder;
    d.parts = &part;
    d.n_folders = d.n_parts = 1;
    lx_dataset_config_defaults(&d.config);
    d.config.width = d.config.height = 512;
    d.config.enable_bucket = true;
    d.config.batch_size = number(row, "train_batch_size");
    add_images(&d, get(row, "train"), shapes, false);
    add_images(&d, get(row, "reg"), shapes, true);
    lx_assert_ok(lx_dataset_plan(&d, &err), &err);
    count =
        lx_dataset_steps(&d, steps ? steps : 1600, number(row, "arg_max_train_epochs"),
                         number(row, "gradient_accumulation_steps"));
    if (count.batches_per_epoch != number(row, "batches_per_epoch") ||
        count.epochs != number(row, "num_epochs") ||
        count.total_steps != number(row, "max_train_steps") ||
        (int)d.n_train_samples != number(row, "samples_of_train_per_epoch") ||
        (int)d.n_reg_samples != number(row, "samples_of_reg_per_epoch"))
        fail_msg("%s: %d batches, %d epochs, %d steps; %zu samples and %zu of reg", name,
                 (int)count.batches_per_epoch, (int)count.epochs, (int)count.total_steps,
                 d.n_train_samples, d.n_reg_samples);
    assert_int_equal(d.n_buckets, cJSON_GetArraySize(get(row, "buckets")));
    cJSON_ArrayForEach(bucket, get(row, "buckets"))
    {
        bool is_found = false;
        for (size_t i = 0; i < d.n_buckets; i++)
            is_found |= d.buckets[i].width ==
                            cJSON_GetArrayItem(get(bucket, "reso"), 0)->valueint &&
                        d.buckets[i].height ==
                            cJSON_GetArrayItem(get(bucket, "reso"), 1)->valueint &&
                        (int)d.buckets[i].n_samples == number(bucket, "count");
        if (!is_found)
            fail_msg("%s: no bucket of %d samples", name, number(bucket, "count"));
    }
    free(d.images);
    lx_arena_free(d.arena);
}

static void test_data_dataset__batches_epochs_and_steps(void **state)
{
    cJSON *all = lx_golden_json("data/steps/steps.json");
    const cJSON *row;
    int n = 0;

    cJSON_ArrayForEach(row, get(all, "rows"))
    {
        check_row(row, get(all, "shapes"));
        n++;
    }
    cJSON_Delete(all);
    assert_int_equal(n, 37);
}

/* ---- folders: the goldens' tree -------------------------------------------------------------- */

static const lx_image *find_image(const lx_dataset *d, const char *path)
{
    for (size_t i = 0; i < d->n_images; i++)
        if (strcmp(d->images[i].path, path) == 0)
            return &d->images[i];
    return NULL;
}

static void check_images(const char *name, const lx_dataset *d, const cJSON *images)
{
    const cJSON *wanted;
    size_t n_used = 0;

    for (size_t i = 0; i < d->n_images; i++)
        n_used += d->images[i].repeats > 0;
    if ((int)n_used != cJSON_GetArraySize(images))
        fail_msg("%s: %zu images, expected %d", name, n_used, cJSON_GetArraySize(images));
    cJSON_ArrayForEach(wanted, images)
    {
        const char *path = get(wanted, "path")->valuestring;
        const char *caption = get(wanted, "caption")->valuestring;
        const lx_image *image = find_image(d, path);

        if (!image)
            fail_msg("%s: no %s", name, path);
        /* The peer leaves a byte order mark in the first tag; lx does not, and says so. */
        if (strncmp(caption, "\xEF\xBB\xBF", 3) == 0)
            caption += 3;
        if (image->repeats != number(wanted, "repeats") ||
            strcmp(image->caption, caption) != 0 ||
            image->width != cJSON_GetArrayItem(get(wanted, "size"), 0)->valueint ||
            image->height != cJSON_GetArrayItem(get(wanted, "size"), 1)->valueint)
            fail_msg("%s: %s: %d repeats, %d x %d, \"%s\"", name, path, image->repeats,
                     image->width, image->height, image->caption);
        if (!cJSON_IsArray(get(wanted, "bucket")))
            continue;
        assert_int_equal(d->buckets[image->bucket].width,
                         cJSON_GetArrayItem(get(wanted, "bucket"), 0)->valueint);
        assert_int_equal(d->buckets[image->bucket].height,
                         cJSON_GetArrayItem(get(wanted, "bucket"), 1)->valueint);
    }
}

/* Texts of the metadata. One with the mark that lx strips from captions differs in that tag. */
static void check_text(const char *name, const cJSON *golden, const char *key,
                       const char *got)
{
    const cJSON *wanted = get(get(golden, "metadata"), key);

    if (!wanted || strstr(wanted->valuestring, "ufeff") ||
        strstr(wanted->valuestring, "\xEF\xBB\xBF"))
        return;
    if (strcmp(got, wanted->valuestring) != 0)
        fail_msg("%s: %s is %s, expected %s", name, key, got, wanted->valuestring);
}

static void check_facts(const char *name, const lx_dataset *d, const cJSON *golden)
{
    lx_dataset_facts facts;
    lx_error err = {0};

    lx_assert_ok(lx_dataset_facts_of(&facts, d, d->arena, &err), &err);
    if (facts.n_train_images != number(golden, "num_train_images") ||
        facts.n_reg_images != number(golden, "num_reg_images") ||
        (int)d->n_batches != number(golden, "batches_per_epoch"))
        fail_msg("%s: %d images, %d of reg, %zu batches", name, (int)facts.n_train_images,
                 (int)facts.n_reg_images, d->n_batches);
    check_text(name, golden, "ss_dataset_dirs", facts.dataset_dirs);
    check_text(name, golden, "ss_reg_dataset_dirs", facts.reg_dataset_dirs);
    check_text(name, golden, "ss_bucket_info", facts.bucket_info);
    check_text(name, golden, "ss_tag_frequency", facts.tag_frequency);
}

static void check_case(const char *name)
{
    char path[128];
    cJSON *golden;
    lx_test_flags flags = {
        .words = {"--allow-untagged"}, /* or the trap stops what the peer lets through */
        .count = 1,
    };
    lx_train_config config;
    lx_arena *arena = lx_arena_new();
    lx_dataset *d = NULL;
    lx_error err = {0};

    snprintf(path, sizeof path, "data/dataset/parse/%s.json", name);
    golden = lx_golden_json(path);
    assert_non_null(arena);
    lx_test_flags_add(&flags, get(golden, "argv"));
    lx_test_flags_parse(&config, arena, &flags);
    lx_assert_ok(lx_dataset_scan(&d, &config.data, &err), &err);
    lx_assert_ok(lx_dataset_check(d, &err), &err);
    lx_assert_ok(lx_dataset_plan(d, &err), &err);
    check_images(name, d, get(cJSON_GetArrayItem(get(golden, "datasets"), 0), "images"));
    check_facts(name, d, golden);
    lx_dataset_free(d);
    lx_arena_free(arena);
    cJSON_Delete(golden);
}

static void test_data_dataset__what_the_peer_makes_of_folders(void **state)
{
    static const char *const cases[] = {
        "simple_noreg",
        "simple_reg_fewer",
        "simple_reg_fewer_batch2",
        "simple_reg_fewer_batch3",
        "simple_reg_more",
        "simple_reg_more_by_repeats",
        "simple_shuffle_keep",
        "simple_epochs_override",
        "under_score_in_path",
        "hobby_txt",
        "hobby_txt_448x640",
        "hobby_txt_768",
        "hobby_txt_batch2",
        "hobby_txt_batch3_accum2",
        "hobby_txt_noreg",
        "hobby_default_ext",
        "hobby_minmax_adjusted",
        "hobby_txt_single_number_resolution",
        "hobby_extention_typo_option",
        "exact_nobucket",
        "exact_noupscale",
        "simple_noupscale_small_pictures",
        "bad_sjis_default_ext",
        "hobby_txt_nobucket",
        "hobby_wildcard_multiline",
    };
    char here[1024];

    lx_golden_need("data/dataset/parse/simple_noreg.json");
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(lx_golden_need("data/dataset")),
                     0); /* the goldens' paths begin here */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("    %s\n", cases[i]);
        check_case(cases[i]);
    }
    assert_int_equal(chdir(here), 0);
}

/* The peer crashes on these, trains on nothing with exit status 0, or leaves reg images out without
 * a word (missing_reg_dir): lx refuses, and names the file or folder. (An empty caption file, on which
 * it crashes too, is an empty caption to lx, with a warning.) */
static void
test_data_dataset__refuses_where_the_peer_crashes_or_says_nothing(void **state)
{
    static const struct {
        const char *name, *named;
    } cases[] = {
        {"bad_image", "bad_image/1_x 1girl/"},
        {"bad_sjis", "bad_sjis/1_x 1girl/a.txt"},
        {"bad_utf16", "bad_utf16/1_x 1girl/a.txt"},
        {"hobby_txt_noupscale", "a05.webp"},
        {"missing_dir", "is no folder"},
        {"missing_reg_dir", "--reg_data_dir"},
        {"wrong_level", "is an image folder itself"},
        {"hobby_steps32_refused", "must be a multiple of 64"},
    };
    char here[1024], path[128];

    lx_golden_need("data/dataset/parse/bad_image.json");
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(lx_golden_need("data/dataset")), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_test_flags flags = {.words = {"--allow-untagged"}, .count = 1};
        lx_arena *arena = lx_arena_new();
        lx_dataset *d = NULL;
        lx_train_config config;
        lx_error err = {0};
        cJSON *golden;
        int rc;

        snprintf(path, sizeof path, "data/dataset/parse/%s.json", cases[i].name);
        golden = lx_golden_json(path);
        assert_non_null(arena);
        lx_test_flags_add(&flags, get(golden, "argv"));
        lx_test_flags_parse(&config, arena, &flags);
        if ((rc = lx_dataset_scan(&d, &config.data, &err)) == LX_OK &&
            (rc = lx_dataset_check(d, &err)) == LX_OK)
            rc = lx_dataset_plan(d, &err);
        if (rc == LX_OK || !strstr(err.text, cases[i].named))
            fail_msg("%s: %d \"%s\"", cases[i].name, rc, err.text);
        lx_dataset_free(d);
        lx_arena_free(arena);
        cJSON_Delete(golden);
    }
    assert_int_equal(chdir(here), 0);
}

/* The images that sd-scripts' validation split keeps out of training, of 8 and of 6 in order: Python's
 * random.seed(7), then 0; random.shuffle; the last ones. */
static void check_split(int n, double split, int64_t seed, const bool *held_out,
                        int n_held_out)
{
    lx_dataset d = {.arena = lx_arena_new(),
                    .images = calloc((size_t)n, sizeof(lx_image))};
    lx_folder folder = {.config = &d.config, .repeats = 2, .n_images = (size_t)n};
    lx_data_part part = {.config = &d.config};
    lx_error err = {0};

    assert_true(d.arena && d.images);
    d.folders = &folder;
    d.parts = &part;
    d.n_folders = d.n_parts = 1;
    lx_dataset_config_defaults(&d.config);
    d.config.width = d.config.height = 64;
    d.config.validation_split = split;
    d.config.validation_seed = seed;
    d.config.validation_seed_given = true;
    for (; d.n_images < (size_t)n; d.n_images++)
        d.images[d.n_images] = (lx_image){
            .path = "picture", .caption = "", .repeats = 2, .width = 64, .height = 64};
    lx_assert_ok(lx_dataset_plan(&d, &err), &err);
    for (int i = 0; i < n; i++) {
        assert_int_equal(d.images[i].is_held_out, held_out[i]);
        assert_int_equal(d.images[i].repeats, held_out[i] ? 0 : 2);
    }
    assert_int_equal(d.n_held_out, n_held_out);
    assert_int_equal(folder.n_images, n - n_held_out);
    assert_int_equal(d.n_train_samples, 2 * (n - n_held_out));
    assert_int_equal(d.buckets[0].n_samples, 2 * (n - n_held_out));
    free(d.images);
    lx_arena_free(d.arena);
}

static void test_data_dataset__holds_out_the_images_that_the_peer_would(void **state)
{
    /* [6, 7, 2, 4, 0, 3, 1, 5] and [4, 2, 1, 0, 5, 3] */
    static const bool quarter[8] = {[1] = true, [5] = true};
    static const bool half[6] = {[0] = true, [5] = true, [3] = true};
    static const bool third[8] = {[1] = true, [5] = true}; /* ceil(5.6) trained */
    static const bool none[6] = {false};

    check_split(8, 0.25, 7, quarter, 2);
    check_split(6, 0.5, 0, half, 3);
    check_split(8, 0.3, 7, third, 2);
    check_split(6, 0.1, 0, none, 0);
}

/* ---- the decoder ------------------------------------------------------------------------------ */

static int n_forks;

static void count_fork(void)
{
    n_forks++;
}

/* Starting one takes long, and a training may have a folder for each image. */
static void test_data_dataset__one_decoder_for_all_folders(void **state)
{
    enum { N_FOLDERS = 4, SIDE = 8, BYTES = 54 + SIDE * SIDE * 3 };
    char root[] = "/tmp/lx-dataset-XXXXXX", path[96];
    unsigned char bmp[BYTES] = {[0] = 'B',  [1] = 'M',  [2] = BYTES, [10] = 54,
                                [14] = 40,  [18] = SIDE, [22] = SIDE, [26] = 1, [28] = 24};
    lx_dataset *d = NULL;
    lx_dataset_config c;
    lx_error err = {0};

    assert_non_null(mkdtemp(root));
    for (int i = 0; i < N_FOLDERS; i++) {
        snprintf(path, sizeof path, "%s/1_a%d", root, i);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "%s/1_a%d/x.bmp", root, i);
        assert_int_equal(lx_file_write(path, (const char *)bmp, sizeof bmp, &err), 0);
    }
    lx_dataset_config_defaults(&c);
    c.train_data_dir = root;
    c.check_pixels = true;
    n_forks = 0;
    lx_assert_ok(lx_dataset_scan(&d, &c, &err), &err);
    assert_int_equal(d->n_images, N_FOLDERS);
    assert_int_equal(n_forks, 1);
    lx_dataset_free(d);
    for (int i = 0; i < N_FOLDERS; i++) {
        snprintf(path, sizeof path, "%s/1_a%d/x.bmp", root, i);
        unlink(path);
        *strrchr(path, '/') = '\0';
        rmdir(path);
    }
    rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_dataset__holds_out_the_images_that_the_peer_would),
        cmocka_unit_test(test_data_dataset__batches_epochs_and_steps),
        cmocka_unit_test(test_data_dataset__what_the_peer_makes_of_folders),
        cmocka_unit_test(
            test_data_dataset__refuses_where_the_peer_crashes_or_says_nothing),
        cmocka_unit_test(test_data_dataset__one_decoder_for_all_folders),
    };

    pthread_atfork(NULL, count_fork, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
