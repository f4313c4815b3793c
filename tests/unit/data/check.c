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
#include "src/data/check.h"
#include "tests/support/golden.h"

/* A set of its own in a folder that goes away; the working folder is in it. */
static char folder[64];

static int set_up(void **state)
{
    strcpy(folder, "/tmp/lx-check-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 &&
                   lx_make_dirs("img/10_iwl 1girl", NULL) == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    char command[100];

    snprintf(command, sizeof command, "cd / && rm -rf '%s'", folder);
    return chdir("/") == 0 ? system(command) : -1;
}

static void put_image(const char *name, const char *picture)
{
    char path[300];
    lx_str bytes;

    snprintf(path, sizeof path, "data/images/in/%s", picture);
    assert_int_equal(lx_file_read(&bytes, lx_golden_need(path), 1 << 20, NULL), 0);
    snprintf(path, sizeof path, "img/10_iwl 1girl/%s", name);
    assert_int_equal(lx_file_write(path, bytes.data, bytes.len, NULL), 0);
    lx_str_release(&bytes);
}

static void put_text(const char *name, const char *text)
{
    char path[300];

    snprintf(path, sizeof path, "img/10_iwl 1girl/%s", name);
    assert_int_equal(lx_file_write(path, text, strlen(text), NULL), 0);
}

static lx_data_check *check(const char *dir, const char *extension, int near)
{
    lx_arena *arena = lx_arena_new();
    lx_dataset_config config;
    const lx_check_options options = {
        .data = &config, .max_token_length = 75, .near = near};
    lx_data_check *out;
    lx_error err = {0};

    lx_dataset_config_defaults(&config);
    config.width = config.height = 64;
    config.caption_extension = extension;
    if (lx_dataset_config_dir(&config, dir, arena, &err) < 0 ||
        lx_data_check_run(&out, &options, &err) < 0)
        fail_msg("%s", err.text);
    lx_arena_free(arena);
    return out;
}

static const lx_check_finding *find(const lx_data_check *c, const char *code)
{
    for (size_t i = 0; i < c->n_findings; i++)
        if (strcmp(c->findings[i].code, code) == 0)
            return &c->findings[i];
    return NULL;
}

static void test_data_check__the_trap_does_not_hide_the_rest(void **state)
{
    lx_data_check *c;
    const lx_check_finding *f;

    put_image("a.png", "rgb.png");
    put_text("a.txt", "\xEF\xBB\xBFiwl, 1girl");
    c = check("img", ".caption", 6);
    f = find(c, "caption-trap");
    assert_non_null(f);
    assert_int_equal(f->severity, LX_SEVERITY_ERROR);
    assert_string_equal(f->file, "img/10_iwl 1girl/a.txt");
    assert_non_null(strstr(f->remedy, ".txt"));
    assert_string_equal(c->caption_extension, ".txt");
    assert_non_null(f = find(c, "bom"));
    assert_true(f->is_fixable);
    assert_int_equal(f->image, 0);
    assert_int_equal(c->counts[LX_SEVERITY_ERROR], 1);
    lx_data_check_free(c);
    c = check("img", ".txt", 6);
    assert_null(find(c, "caption-trap"));
    assert_int_equal(c->counts[LX_SEVERITY_ERROR], 0);
    for (size_t i = 1; i < c->n_findings; i++)
        assert_true(c->findings[i - 1].severity <= c->findings[i].severity);
    lx_data_check_free(c);
}

static void test_data_check__a_folder_of_images_is_taken_as_such(void **state)
{
    lx_data_check *c;

    put_image("a.png", "rgb.png");
    put_text("a.txt", "iwl");
    c = check("img/10_iwl 1girl", ".txt", 6);
    assert_int_equal(c->dataset->n_images, 1);
    assert_int_equal(c->dataset->images[0].repeats, 10);
    assert_string_equal(c->dataset->folders[0].class_tokens, "iwl 1girl");
    assert_null(find(c, "wrong-level"));
    lx_data_check_free(c);
    assert_int_equal(rename("img/10_iwl 1girl", "plain"), 0);
    c = check("plain", ".txt", 6);
    assert_int_equal(c->dataset->images[0].repeats, 1);
    assert_non_null(find(c, "wrong-level"));
    lx_data_check_free(c);
}

static void test_data_check__near_is_a_distance(void **state)
{
    lx_data_check *c;
    int distance;

    put_image("a.png", "rgb.png");
    put_image("b.png", "wide.png");
    put_image("c.png", "rgb.png");
    c = check("img", ".txt", 64);
    distance = lx_phash_distance(c->images[0].looks.bits, c->images[1].looks.bits);
    assert_in_range(distance, 1, 63);
    assert_string_equal(find(c, "near-duplicate")->file, "img/10_iwl 1girl/b.png");
    /* What is the same file is told as that, and not as near. */
    assert_string_equal(find(c, "duplicate")->file, "img/10_iwl 1girl/c.png");
    lx_data_check_free(c);
    c = check("img", ".txt", distance - 1);
    assert_null(find(c, "near-duplicate"));
    lx_data_check_free(c);
    c = check("img", ".txt", distance);
    assert_non_null(find(c, "near-duplicate"));
    lx_data_check_free(c);
}

static void test_data_check__tags_that_are_never_apart(void **state)
{
    static const char *const captions[] = {"iwl, a, b, x_y", "iwl, a, b, c", "iwl, b, a",
                                           "iwl, c, x y"};
    const lx_check_finding *f;
    lx_data_check *c;

    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.png", i);
        put_image(name, i % 2 ? "tiny.png" : "wide.png");
        snprintf(name, sizeof name, "%d.txt", i);
        put_text(name, captions[i]);
    }
    c = check("img", ".txt", -1);
    assert_non_null(f = find(c, "together"));
    assert_non_null(strstr(f->text, "\"a\", \"b\" stand on the same 3 images"));
    assert_non_null(f = find(c, "variants"));
    assert_non_null(strstr(f->text, "\"x_y\""));
    assert_non_null(strstr(f->text, "\"x y\""));
    lx_data_check_free(c);
}

/* 64 x 16 of 400 x 60 is a sixth of the height's share: the pixels are those of the file. */
static void test_data_check__crop_counts_pixels_of_the_file(void **state)
{
    lx_data_check *c;

    put_image("a.png", "wide.png");
    c = check("img", ".txt", -1);
    assert_true(c->is_planned);
    assert_int_equal(c->dataset->images[0].resized_w, 427);
    assert_int_equal(c->images[0].cropped, (int64_t)(400 * 60 * (1 - 64.0 / 427) + 0.5));
    assert_non_null(find(c, "crop"));
    lx_data_check_free(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_data_check__the_trap_does_not_hide_the_rest),
        TEST(test_data_check__a_folder_of_images_is_taken_as_such),
        TEST(test_data_check__near_is_a_distance),
        TEST(test_data_check__tags_that_are_never_apart),
        TEST(test_data_check__crop_counts_pixels_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
