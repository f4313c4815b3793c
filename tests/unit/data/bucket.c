#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/data/bucket.h"
#include "tests/support/golden.h"

static cJSON *load_sets(void)
{
    const char *path = lx_golden_need("data/buckets/bucket_sets.json");
    lx_str text = LX_STR_INIT;
    lx_error err = {0};
    cJSON *tree = NULL;

    assert_int_equal(lx_file_read(&text, path, 64u << 20, &err), 0);
    assert_int_equal(lx_json_parse(&tree, text.data, text.len, &err), 0);
    lx_str_release(&text);
    return tree;
}

static int item(const cJSON *array, int i)
{
    return cJSON_GetArrayItem(array, i)->valueint;
}

static int init_set(lx_bucket_set *out, const cJSON *set, lx_error *err)
{
    const cJSON *resolution = cJSON_GetObjectItem(set, "resolution");

    return lx_bucket_set_init(out, (lx_size){item(resolution, 0), item(resolution, 1)},
                              (int)lx_json_number(set, "min_bucket_reso", 0),
                              (int)lx_json_number(set, "max_bucket_reso", 0),
                              (int)lx_json_number(set, "bucket_reso_steps", 0),
                              lx_json_bool(set, "bucket_no_upscale", false), err);
}

static void test_data_bucket__lists_are_the_peers(void **state)
{
    cJSON *tree = load_sets();
    const cJSON *set;

    cJSON_ArrayForEach(set, cJSON_GetObjectItem(tree, "sets")) {
        const cJSON *adjusted = cJSON_GetObjectItem(set, "adjusted");
        const cJSON *sizes = cJSON_GetObjectItem(set, "buckets");
        int id = (int)lx_json_number(set, "id", -1);
        lx_bucket_set mine;
        lx_error err = {0};
        int rc = init_set(&mine, set, &err);

        if (adjusted == NULL) { /* the peer's assertion is our message */
            assert_int_equal(rc, LX_EUSAGE);
            assert_non_null(strstr(err.text, "_bucket_reso"));
            continue;
        }
        if (rc < 0)
            fail_msg("set %d: %s", id, err.text);
        assert_int_equal(mine.min, item(adjusted, 0));
        assert_int_equal(mine.max, item(adjusted, 1));
        if (sizes != NULL) {
            if ((int)mine.n_sizes != cJSON_GetArraySize(sizes))
                fail_msg("set %d: %zu sizes, not %d", id, mine.n_sizes,
                         cJSON_GetArraySize(sizes));
            for (size_t i = 0; i < mine.n_sizes; i++) {
                const cJSON *size = cJSON_GetArrayItem(sizes, (int)i);
                if (mine.sizes[i].width != item(size, 0) || mine.sizes[i].height != item(size, 1))
                    fail_msg("set %d, size %zu", id, i);
            }
        }
        lx_bucket_set_release(&mine);
    }
    cJSON_Delete(tree);
}

/* The peer's columns; the ltrb ones belong to another model. */
typedef struct choice_row {
    int set, w, h;
    int bucket_w, bucket_h, resized_w, resized_h, x0, y0, x1, y1;
    double ar_error;
    char error[128];
} choice_row;

static void read_row(choice_row *row, char *line)
{
    char *fields[17] = {0}, *rest = line;

    memset(row, 0, sizeof *row);
    line[strcspn(line, "\n")] = '\0';
    for (int i = 0; i < 17; i++)
        fields[i] = rest != NULL ? strsep(&rest, "\t") : "";
    row->set = atoi(fields[0]);
    row->w = atoi(fields[1]);
    row->h = atoi(fields[2]);
    row->bucket_w = atoi(fields[3]);
    row->bucket_h = atoi(fields[4]);
    row->resized_w = atoi(fields[5]);
    row->resized_h = atoi(fields[6]);
    row->x0 = atoi(fields[7]);
    row->y0 = atoi(fields[8]);
    row->x1 = atoi(fields[9]);
    row->y1 = atoi(fields[10]);
    row->ar_error = atof(fields[11]);
    snprintf(row->error, sizeof row->error, "%s", fields[16]);
}

static bool agrees(const lx_bucket_choice *c, const choice_row *row)
{
    return c->bucket.width == row->bucket_w && c->bucket.height == row->bucket_h &&
           c->resized.width == row->resized_w && c->resized.height == row->resized_h &&
           c->crop_x == row->x0 && c->crop_y == row->y0 &&
           c->crop_x + c->bucket.width == row->x1 && c->crop_y + c->bucket.height == row->y1 &&
           fabs(c->ar_error - row->ar_error) <= 1e-12 * fmax(1, fabs(row->ar_error));
}

static void test_data_bucket__choices_are_the_peers(void **state)
{
    const char *path = lx_golden_need("data/buckets/bucket_choice.tsv");
    cJSON *tree = load_sets();
    FILE *file = fopen(path, "r");
    char line[1024];
    int n = 0, current = -1;
    lx_bucket_set set = {0};

    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    while (fgets(line, sizeof line, file) != NULL) {
        lx_bucket_choice choice;
        lx_error err = {0};
        choice_row row;
        int rc;

        read_row(&row, line);
        if (row.set != current) {
            const cJSON *sets = cJSON_GetObjectItem(tree, "sets");
            lx_bucket_set_release(&set);
            current = row.set;
            assert_int_equal(init_set(&set, cJSON_GetArrayItem(sets, current), &err), 0);
        }
        rc = lx_bucket_choose(&choice, &set, (lx_size){row.w, row.h}, &err);
        if (row.error[0] != '\0') /* where the peer crashes, lx says why it will not */
            assert_int_equal(rc, LX_EUNSUPPORTED);
        else if (rc < 0 || !agrees(&choice, &row))
            fail_msg("set %d, %dx%d: %d %s, bucket %dx%d, resized %dx%d, crop %d,%d", row.set,
                     row.w, row.h, rc, err.text, choice.bucket.width, choice.bucket.height,
                     choice.resized.width, choice.resized.height, choice.crop_x, choice.crop_y);
        n++;
    }
    assert_true(n > 500);
    fclose(file);
    lx_bucket_set_release(&set);
    cJSON_Delete(tree);
}

static void test_data_bucket__absurd_sizes_are_refused(void **state)
{
    static const int sides[] = {-5, 0, 1, 7, 64, 65536, 65537, 1 << 30, 2147483647};
    enum { N = sizeof sides / sizeof sides[0] };
    lx_bucket_set set;
    lx_error err;

    assert_int_equal(lx_bucket_set_init(&set, (lx_size){512, 512}, 256, 1024, 0, false, &err),
                     LX_EUSAGE);
    assert_int_equal(lx_bucket_set_init(&set, (lx_size){512, 512}, -64, 1024, 64, false, &err),
                     LX_EUSAGE);
    assert_int_equal(
        lx_bucket_set_init(&set, (lx_size){512, 512}, 256, 2147483647, 64, false, &err),
        LX_EUSAGE);
    assert_int_equal(lx_bucket_set_init_single(&set, (lx_size){500, 512}, &err), LX_EUSAGE);
    for (int no_upscale = 0; no_upscale < 2; no_upscale++) {
        assert_int_equal(
            lx_bucket_set_init(&set, (lx_size){512, 512}, 256, 1024, 64, no_upscale, &err), 0);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                lx_bucket_choice choice;
                int rc = lx_bucket_choose(&choice, &set, (lx_size){sides[i], sides[j]}, &err);
                assert_true(rc == 0 || rc == LX_EUNSUPPORTED);
            }
        lx_bucket_set_release(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_bucket__lists_are_the_peers),
        cmocka_unit_test(test_data_bucket__choices_are_the_peers),
        cmocka_unit_test(test_data_bucket__absurd_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
