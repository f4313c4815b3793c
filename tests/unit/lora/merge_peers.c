/* Merges beside sd-scripts' own: merge_lora.py's bytes, svd_merge_lora.py's ranks and errors, and what it merged into a
 * checkpoint. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/str.h"
#include "src/lora/merge.h"
#include "src/lora/merge_into.h"
#include "tests/support/expect.h"
#include "tests/support/golden.h"
#include "tests/support/made_lora.h"

/* ---- the command lines of its cases ------------------------------------------------------ */

static const char *word_after(const cJSON *argv, const char *flag)
{
    const cJSON *word;

    cJSON_ArrayForEach(word, argv)
    {
        if (strcmp(word->valuestring, flag) == 0)
            return word->next ? word->next->valuestring : "";
    }
    return NULL;
}

/* The words between `flag` and the next one. */
static int words_after(const char **out, const cJSON *argv, const char *flag)
{
    const cJSON *word;
    bool is_in = false;
    int n = 0;

    cJSON_ArrayForEach(word, argv)
    {
        if (is_in && lx_starts_with(word->valuestring, "--"))
            break;
        if (is_in)
            out[n++] = word->valuestring;
        is_in |= strcmp(word->valuestring, flag) == 0;
    }
    return n;
}

static lx_dtype dtype_of(const char *word, lx_dtype otherwise)
{
    return !word                       ? otherwise
           : strcmp(word, "fp16") == 0 ? LX_F16
           : strcmp(word, "bf16") == 0 ? LX_BF16
                                       : LX_F32;
}

/* ---- merge_lora.py ------------------------------------------------------------------------ */

/* One case of the peer's: every tensor's bytes are its. */
static int compare_case(const cJSON *c)
{
    const cJSON *argv = cJSON_GetObjectItem(c, "argv");
    const char *paths[8], *ratios[8],
        *output = cJSON_GetObjectItem(c, "output")->valuestring;
    const int n = words_after(paths, argv, "--models");
    lx_merge_like like = {.merge_dtype =
                              dtype_of(word_after(argv, "--precision"), LX_F32),
                          .is_concat = word_after(argv, "--concat") != NULL,
                          .is_shuffled = word_after(argv, "--shuffle") != NULL,
                          .seed = 1234};
    lx_merge_options o = {
        .dtype = dtype_of(word_after(argv, "--save_precision"), like.merge_dtype)};
    lx_lora_file *files[8];
    lx_tensor_file *wanted;
    lx_merge_result r;
    lx_merge *merge;
    lx_error err;
    char path[256];

    words_after(ratios, argv, "--ratios");
    snprintf(path, sizeof path, "lora/merge/%s", output);
    if (!lx_golden(path))
        return 0;
    wanted = lx_golden_open(path);
    lx_assert_ok(lx_merge_new(&merge, &err), &err);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "lora/files/%s", paths[i]);
        lx_assert_ok(lx_lora_file_open(&files[i], lx_golden_need(path), &err), &err);
        const lx_merge_source s = {files[i], paths[i], atof(ratios[i]), atof(ratios[i]),
                                   NULL};
        lx_assert_ok(lx_merge_add(merge, &s, &err), &err);
    }
    lx_assert_ok(lx_merge_finish_like(&r, merge, &o, &like, &err), &err);
    assert_int_equal(r.n_tensors, lx_tensor_file_count(wanted));
    for (size_t i = 0; i < r.n_tensors; i++) {
        const lx_tensor_view *t = lx_golden_find(wanted, "%s", r.tensors[i].name);
        if (t->dtype != r.tensors[i].dtype || t->bytes != r.tensors[i].bytes ||
            memcmp(t->data, r.tensors[i].data, t->bytes) != 0)
            fail_msg("%s: %s differs", output, t->name);
    }
    lx_merge_free(merge);
    for (int i = 0; i < n; i++)
        lx_lora_file_close(files[i]);
    lx_tensor_file_close(wanted);
    return 1;
}

static void test_merge__like_sd_scripts(void **state)
{
    cJSON *cases = lx_golden_json("lora/merge/cases.json");
    const cJSON *c;
    int n = 0;

    (void)state;
    cJSON_ArrayForEach(c, cases)
    {
        if (cJSON_GetObjectItem(c, "exit")->valueint == 0)
            n += compare_case(c);
    }
    assert_int_equal(n, 22);
    cJSON_Delete(cases);
}

static int merge_like(lx_merge **merge, lx_merge_result *r, const lx_made_lora *files, int n, bool is_shuffled,
                      lx_error *err)
{
    const lx_merge_like like = {.merge_dtype = LX_F32, .is_shuffled = is_shuffled, .seed = 7};
    const lx_merge_options o = {.dtype = LX_F32};

    *err = (lx_error){0};
    lx_assert_ok(lx_merge_new(merge, err), err);
    for (int i = 0; i < n; i++) {
        const lx_merge_source s = {files[i].file, files[i].path, 1, 1, NULL};
        lx_assert_ok(lx_merge_add(*merge, &s, err), err);
    }
    return lx_merge_finish_like(r, *merge, &o, &like, err);
}

/* By merge_lora.py's own: an alpha of 0 is 0, and there are quotients without a square root. */
static void test_merge__like_sd_scripts_with_odd_alphas(void **state)
{
    static const struct {
        double first, second;
        int code;
    } rows[] = {{2, 0, LX_OK}, {0, 2, LX_EMISMATCH}, {0, 0, LX_EMISMATCH}, {2, -2, LX_EMISMATCH}, {-2, -8, LX_OK}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lx_made_lora files[2];
        lx_merge_result r;
        lx_merge *merge;
        lx_error err;

        lx_make_lora(&files[0], 1, 4, rows[i].first, LX_F32);
        lx_make_lora(&files[1], 2, 4, rows[i].second, LX_F32);
        assert_int_equal(merge_like(&merge, &r, files, 2, false, &err), rows[i].code);
        if (rows[i].code == LX_OK) { /* down = down_1 + sqrt(alpha / alpha_1) down_2 */
            const char *name = lx_made_modules[3].name;
            const lx_tensor_view *down = lx_find_part(r.tensors, r.n_tensors, name, ".lora_down.weight");
            const float *x = lx_lora_file_find(files[0].file, name)->tensors[LX_ROLE_DOWN]->data;
            const float *y = lx_lora_file_find(files[1].file, name)->tensors[LX_ROLE_DOWN]->data;
            for (size_t k = 0; k < down->n_elements; k++)
                assert_true(((const float *)down->data)[k] == x[k] + y[k] * (rows[i].second == 0 ? 0.0F : 2.0F));
        }
        lx_merge_free(merge);
        lx_drop_lora(&files[0]);
        lx_drop_lora(&files[1]);
    }
}

enum { RANK = 8 };

/* Which rows of the file's down the rows of the merged one were. */
static void find_order(int order[RANK], const lx_merge_result *r, const lx_made_lora *f, const char *module)
{
    const lx_tensor_view *down = lx_find_part(r->tensors, r->n_tensors, module, ".lora_down.weight");
    const lx_tensor_view *was = lx_lora_file_find(f->file, module)->tensors[LX_ROLE_DOWN];
    const size_t row = down->bytes / RANK;

    for (int i = 0; i < RANK; i++) {
        order[i] = 0;
        while (memcmp((const char *)down->data + (size_t)i * row, (const char *)was->data + (size_t)order[i] * row,
                      row) != 0)
            assert_in_range(++order[i], 0, RANK - 1);
    }
}

/* Modules with an alpha are shuffled before those without, each kind in the order of their names. */
static void test_merge__like_sd_scripts_shuffles_as_alphas_are_met(void **state)
{
    static const double alphas[2][LX_N_MADE] = {{4, 4, 4, 4}, {4, 4, 4, LX_NO_ALPHA}};
    static const int met[2][LX_N_MADE] = {{3, 0, 1, 2}, {0, 1, 2, 3}};
    int orders[2][LX_N_MADE][RANK];

    (void)state;
    for (int i = 0; i < 2; i++) {
        lx_made_lora file;
        lx_merge_result r;
        lx_merge *merge;
        lx_error err;

        lx_make_lora_of(&file, 1, RANK, alphas[i], LX_F32);
        lx_assert_ok(merge_like(&merge, &r, &file, 1, true, &err), &err);
        for (int k = 0; k < LX_N_MADE; k++)
            find_order(orders[i][k], &r, &file, lx_made_modules[met[i][k]].name);
        lx_merge_free(merge);
        lx_drop_lora(&file);
    }
    assert_memory_equal(orders[0], orders[1], sizeof orders[0]);
    assert_memory_not_equal(orders[0][0], orders[0][1], sizeof orders[0][0]);
}

/* ---- svd_merge_lora.py -------------------------------------------------------------------- */

/* The peer's ranks, and the best error there is: never above its. */
static void test_merge__best_of_a_rank(void **state)
{
    cJSON *cases = lx_golden_json("lora/svd_merge/cases.json");
    const cJSON *c, *m;
    int n = 0;

    (void)state;
    cJSON_ArrayForEach(c, cases)
    {
        const cJSON *argv = cJSON_GetObjectItem(c, "argv");
        const cJSON *known = cJSON_GetObjectItem(c, "modules");
        lx_merge_options o = {.rank_rule = LX_RANK_FIXED, .dtype = LX_F32};
        const char *paths[8], *ratios[8];
        lx_lora_file *files[8];
        lx_merge_result r;
        lx_merge *merge;
        lx_error err;
        char path[256];
        if (!known || word_after(argv, "--lbws"))
            continue;
        const int count = words_after(paths, argv, "--models");
        words_after(ratios, argv, "--ratios");
        o.rank = (size_t)atoi(word_after(argv, "--new_rank"));
        o.conv_rank = word_after(argv, "--new_conv_rank")
                          ? (size_t)atoi(word_after(argv, "--new_conv_rank"))
                          : 0;
        lx_assert_ok(lx_merge_new(&merge, &err), &err);
        for (int i = 0; i < count; i++) {
            snprintf(path, sizeof path, "lora/files/%s", paths[i]);
            lx_assert_ok(lx_lora_file_open(&files[i], lx_golden_need(path), &err), &err);
            const lx_merge_source s = {files[i], paths[i], atof(ratios[i]),
                                       atof(ratios[i]), NULL};
            lx_assert_ok(lx_merge_add(merge, &s, &err), &err);
        }
        lx_assert_ok(lx_merge_finish(&r, merge, &o, &err), &err);
        cJSON_ArrayForEach(m, known)
        {
            const char *name = cJSON_GetObjectItem(m, "module")->valuestring;
            const double best = cJSON_GetObjectItem(m, "best_rank_k_error")->valuedouble /
                                cJSON_GetObjectItem(m, "sum_delta_fro")->valuedouble;
            size_t i = 0;
            while (i < r.n_modules && strcmp(r.modules[i].name, name) != 0)
                i++;
            assert_true(i < r.n_modules);
            assert_int_equal(r.modules[i].rank, cJSON_GetObjectItem(m, "rank")->valueint);
            assert_true(fabs(r.modules[i].error - best) < 1e-6);
            n++;
        }
        lx_merge_free(merge);
        for (int i = 0; i < count; i++)
            lx_lora_file_close(files[i]);
    }
    assert_int_equal(n, 310);
    cJSON_Delete(cases);
}

/* ---- into a checkpoint -------------------------------------------------------------------- */

/* Within one unit of the type's last place (of 1, for what is smaller), and nothing else is changed. */
static void check_into(const cJSON *c, const char *golden, lx_dtype dtype, double limit)
{
    const cJSON *argv = cJSON_GetObjectItem(c, "argv");
    const char *paths[8], *ratios[8];
    const int n = words_after(paths, argv, "--models");
    lx_lora_file *files[8];
    lx_tensor_file *base = lx_golden_open("lora/checkpoint/tiny_sd15_fp16.safetensors");
    lx_tensor_file *wanted = lx_golden_open(golden), *got;
    char path[256], output[] = "/tmp/lx-merge-XXXXXX";
    lx_merge_into into = {
        .base = base, .output = output, .has_dtype = true, .dtype = dtype};
    lx_merge_into_result r;
    size_t changed = 0;
    lx_merge *merge;
    lx_error err;

    close(mkstemp(output));
    words_after(ratios, argv, "--ratios");
    lx_assert_ok(lx_merge_new(&merge, &err), &err);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "lora/files/%s", strrchr(paths[i], '/') + 1);
        lx_assert_ok(lx_lora_file_open(&files[i], lx_golden_need(path), &err), &err);
        const lx_merge_source s = {files[i], paths[i], atof(ratios[i]), atof(ratios[i]),
                                   NULL};
        lx_assert_ok(lx_merge_add(merge, &s, &err), &err);
    }
    lx_assert_ok(lx_merge_write_into(&r, merge, &into, &err), &err);
    lx_assert_ok(lx_tensor_file_open(&got, output, &err), &err);
    for (size_t i = 0; i < lx_tensor_file_count(base); i++) {
        const lx_tensor_view *old = lx_tensor_file_at(base, i);
        const lx_tensor_view *t = lx_golden_find(got, "%s", old->name);
        const lx_tensor_view *peer = lx_tensor_file_find(wanted, old->name);
        double *a = lx_values_of(t), *b = lx_values_of(old), *p = peer ? lx_values_of(peer) : NULL;
        changed += memcmp(a, b, t->n_elements * sizeof *a) != 0;
        for (size_t k = 0; p && k < t->n_elements; k++)
            if (fabs(a[k] - p[k]) > limit * fmax(fabs(p[k]), 0x1p-3))
                fail_msg("%s: %s[%zu] is %.9g, the peer's %.9g", golden, t->name, k, a[k],
                         p[k]);
        free(a), free(b), free(p);
    }
    assert_int_equal(changed, cJSON_GetObjectItem(c, "changed")->valueint);
    assert_int_equal(r.n_changed, changed);
    unlink(output);
    lx_merge_free(merge);
    for (int i = 0; i < n; i++)
        lx_lora_file_close(files[i]);
    lx_tensor_file_close(got);
    lx_tensor_file_close(wanted);
    lx_tensor_file_close(base);
}

static void test_merge__into_a_checkpoint(void **state)
{
    static const char *const names[] = {"r4_08_fp16", "two_float", "locon_fp16",
                                        "mini_noalpha"};
    cJSON *cases = lx_golden_json("lora/checkpoint/merge_cases.json");
    const cJSON *c;
    int n = 0;

    (void)state;
    cJSON_ArrayForEach(c, cases)
    {
        const char *name = cJSON_GetObjectItem(c, "case")->valuestring;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const bool is_float = strcmp(name, "two_float") == 0;
            char path[128];
            if (strcmp(name, names[i]) != 0)
                continue;
            snprintf(path, sizeof path, "lora/checkpoint/merged_%s.safetensors", name);
            check_into(c, path, is_float ? LX_F32 : LX_F16, is_float ? 1e-6 : 0x1p-10);
            n++;
        }
    }
    assert_int_equal(n, 4);
    cJSON_Delete(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge__like_sd_scripts),
        cmocka_unit_test(test_merge__like_sd_scripts_with_odd_alphas),
        cmocka_unit_test(test_merge__like_sd_scripts_shuffles_as_alphas_are_met),
        cmocka_unit_test(test_merge__best_of_a_rank),
        cmocka_unit_test(test_merge__into_a_checkpoint),
    };

    return cmocka_run_group_tests_name("lora/merge_peers", tests, NULL, NULL);
}
