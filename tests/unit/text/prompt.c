#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "src/text/prompt.h"
#include "tests/support/golden.h"

static void check_parts(const cJSON *want, const char *text)
{
    lx_arena *arena = lx_arena_new();
    lx_prompt prompt;
    lx_error err;

    assert_int_equal(lx_prompt_parse(&prompt, arena, text, strlen(text), &err), 0);
    assert_int_equal(prompt.n_parts, cJSON_GetArraySize(want));
    for (size_t i = 0; i < prompt.n_parts; i++) {
        const cJSON *part = cJSON_GetArrayItem(want, (int)i);
        assert_string_equal(prompt.parts[i].text, cJSON_GetArrayItem(part, 0)->valuestring);
        assert_true(fabs(prompt.parts[i].weight - cJSON_GetArrayItem(part, 1)->valuedouble) <
                    1e-12);
    }
    lx_arena_free(arena);
}

static void check_chunks(const cJSON *row, const char *ids_key, const char *weights_key,
                         const lx_tokenizer *t, int length)
{
    const char *text = cJSON_GetObjectItem(row, "text")->valuestring;
    const cJSON *ids = cJSON_GetObjectItem(row, ids_key);
    const cJSON *weights = cJSON_GetObjectItem(row, weights_key);
    int64_t got[3 * LX_CHUNK];
    float got_weights[3 * LX_CHUNK];
    lx_error err;

    assert_int_equal(cJSON_GetArraySize(ids), length / 75);
    assert_int_equal(
        lx_tokenize_weighted(got, got_weights, NULL, t, text, strlen(text), length, &err), 0);
    for (int c = 0; c < length / 75; c++)
        for (int i = 0; i < LX_CHUNK; i++) {
            const cJSON *id = cJSON_GetArrayItem(cJSON_GetArrayItem(ids, c), i);
            const cJSON *weight = cJSON_GetArrayItem(cJSON_GetArrayItem(weights, c), i);
            if (got[c * LX_CHUNK + i] != (int64_t)id->valuedouble)
                fail_msg("%s: chunk %d id %d is %lld, not %g", text, c, i,
                         (long long)got[c * LX_CHUNK + i], id->valuedouble);
            if (fabs(got_weights[c * LX_CHUNK + i] - weight->valuedouble) > 1e-6)
                fail_msg("%s: chunk %d weight %d is %g, not %g", text, c, i,
                         (double)got_weights[c * LX_CHUNK + i], weight->valuedouble);
        }
}

static void test_text_prompt__weights_are_those_of_the_peer(void **state)
{
    cJSON *golden = lx_golden_json("text/weighted.json");
    lx_tokenizer *t;
    const cJSON *row;
    lx_error err;

    assert_int_equal(lx_tokenizer_new(&t, &err), 0);
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(golden, "captions"))
    {
        check_parts(cJSON_GetObjectItem(row, "parsed"),
                    cJSON_GetObjectItem(row, "text")->valuestring);
        check_chunks(row, "ids75", "weights75", t, 75);
        check_chunks(row, "ids225", "weights225", t, 225);
    }
    lx_tokenizer_free(t);
    cJSON_Delete(golden);
}

static void test_text_prompt__brackets_nest_and_may_stay_open(void **state)
{
    static const struct {
        const char *text, *last;
        double weight;
    } cases[] = {
        {"(b", "b", 1.1},          {"((b))", "b", 1.1 * 1.1},  {"[b]", "b", 1 / 1.1},
        {"a (b:1.5)", "b", 1.5},   {"a (b:-.5)", "b", -0.5},   {"b)", "b)", 1},
        {"b:1.5)", "b:1.5)", 1},   {"\\(b\\)", "(b)", 1},      {"", "", 1},
        {"\\", "", 1},             {"a (b (c:2)", "c", 2 * 1.1}, {"(b:\xD9\xA2)", "b", 2},
    };
    lx_arena *arena = lx_arena_new();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lx_prompt p;
        lx_error err;
        assert_int_equal(
            lx_prompt_parse(&p, arena, cases[i].text, strlen(cases[i].text), &err), 0);
        assert_string_equal(p.parts[p.n_parts - 1].text, cases[i].last);
        assert_true(fabs(p.parts[p.n_parts - 1].weight - cases[i].weight) < 1e-12);
    }
    lx_arena_free(arena);
}

static void test_text_prompt__a_weight_that_is_no_number_is_refused(void **state)
{
    lx_arena *arena = lx_arena_new();
    lx_prompt p;
    lx_error err;

    assert_int_equal(lx_prompt_parse(&p, arena, "a (b:1.2.3)", 11, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "1.2.3"));
    lx_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_prompt__weights_are_those_of_the_peer),
        cmocka_unit_test(test_text_prompt__brackets_nest_and_may_stay_open),
        cmocka_unit_test(test_text_prompt__a_weight_that_is_no_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
