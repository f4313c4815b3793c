/* Records of runs as a stranger may write them: each member of a sound one is changed alone, and refused by
 * name. Which of two records says more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/transfer.h"
#include "tests/support/expect.h"

#define HASH "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""

static const char sound[] =
    "{\"id\":\"0123456789abcdef\",\"kind\":\"train\",\"name\":\"n\",\"origin\":\"lora:"
    "1\","
    "\"parent\":\"fedcba9876543210\",\"started\":1,\"seed\":\"7\","
    "\"texts\":{\"spec\":" HASH ",\"dataset\":" HASH "},"
    "\"end\":{\"ended\":2,\"status\":\"failed\",\"message\":\"m\"},"
    "\"remarks\":[[1,\"note\",\"\",\"a\"],[2,\"tag\",\"good\",null]],"
    "\"artifacts\":[{\"role\":\"lora\",\"name\":\"a\",\"path\":\"/a\",\"sha256\":" HASH
    ","
    "\"tensors\":" HASH ",\"size\":3,\"step\":-1,\"at\":1,\"is_kept\":true}],"
    "\"curves\":[{\"key\":\"loss\",\"n\":2,\"points\":" HASH "}],\"console\":" HASH "}";

static cJSON *parse(const char *text)
{
    cJSON *json = NULL;
    lx_error err = {0};
    if (lx_json_parse(&json, text, strlen(text), &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return json;
}

/* Puts `value` in the place of what `path` leads to, "artifacts.0.role"; NULL takes it away. */
static void set(cJSON *at, const char *path, const char *value)
{
    size_t n = strcspn(path, ".");
    char name[32];
    bool is_index = strspn(path, "0123456789") == n;

    assert_true(n < sizeof name);
    memcpy(name, path, n);
    name[n] = '\0';
    if (path[n]) {
        at =
            is_index ? cJSON_GetArrayItem(at, atoi(name)) : cJSON_GetObjectItem(at, name);
        assert_non_null(at);
        set(at, path + n + 1, value);
    } else if (is_index && value) {
        assert_true(cJSON_ReplaceItemInArray(at, atoi(name), parse(value)));
    } else if (is_index) {
        cJSON_DeleteItemFromArray(at, atoi(name));
    } else {
        cJSON_DeleteItemFromObject(at, name);
        if (value)
            cJSON_AddItemToObject(at, name, parse(value));
    }
}

/* A text of JSON with n letters. */
static const char *long_text(size_t n)
{
    static char *text;
    free(text);
    text = malloc(n + 3);
    memset(text, 'a', n + 2);
    text[0] = text[n + 1] = '"';
    text[n + 2] = '\0';
    return text;
}

static void check_record(const char *path, const char *value, const char *problem)
{
    cJSON *record = parse(sound);
    lx_error err = {0};
    const char *id;
    int rc;

    if (path)
        set(record, path, value);
    rc = lx_transfer_check(&id, record, &err);
    if (rc != (problem ? LX_EFORMAT : LX_OK))
        fail_msg("%s=%.40s: code %d: %s", path, value ? value : "(absent)", rc, err.text);
    if (problem && !strstr(err.text, problem))
        fail_msg("%s=%.40s: \"%s\" does not say \"%s\"", path, value ? value : "(absent)",
                 err.text, problem);
    cJSON_Delete(record);
}

static void test_store_transfer__every_member_is_checked(void **state)
{
    static const struct {
        const char *path, *value, *problem;
    } cases[] = {{"id", NULL, "16 hex digits"},
                 {"id", "\"0123456789ABCDEF\"", "16 hex digits"},
                 {"id", "\"0123\"", "16 hex digits"},
                 {"kind", NULL, "kind"},
                 {"kind", "\"\"", "kind"},
                 {"kind", "\"a b\"", "kind"},
                 {"kind", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "kind"},
                 {"name", "7", "name or origin"},
                 {"origin", "[]", "name or origin"},
                 {"parent", "\"../../etc/passwd\"", "parent"},
                 {"parent", "7", "parent"},
                 {"started", NULL, "start or seed"},
                 {"started", "-1", "start or seed"},
                 {"started", "1e12", "start or seed"},
                 {"started", "\"1\"", "start or seed"},
                 {"seed", "\"-1\"", "start or seed"},
                 {"seed", "\"123456789012345678901\"", "start or seed"},
                 {"end.ended", NULL, "end"},
                 {"end.message", "7", "end"},
                 {"end.status", NULL, "end"},
                 {"end.status", "\"running\"", "end"},
                 {"texts", NULL, "texts"},
                 {"texts", "[]", "texts"},
                 {"texts.spec", "\"0123\"", "texts"},
                 {"texts.diff", "7", "texts"},
                 {"remarks", NULL, "remarks"},
                 {"remarks", "{}", "remarks"},
                 {"remarks.0", "{}", "remarks"},
                 {"remarks.0.3", NULL, "remarks"},
                 {"remarks.0.0", "-1", "remarks"},
                 {"remarks.0.1", "\"A\"", "remarks"},
                 {"remarks.0.1", "7", "remarks"},
                 {"remarks.0.1", "\"pin\"", "remarks"},
                 {"remarks.0.1", "\"trash\"", "remarks"},
                 {"remarks.0.2", "null", "remarks"},
                 {"remarks.0.3", "7", "remarks"},
                 {"artifacts", NULL, "artifacts"},
                 {"artifacts.0", "[]", "artifacts"},
                 {"artifacts.0.role", "\"../x\"", "artifacts"},
                 {"artifacts.0.name", "7", "artifacts"},
                 {"artifacts.0.path", "7", "artifacts"},
                 {"artifacts.0.sha256", NULL, "artifacts"},
                 {"artifacts.0.tensors", "\"x\"", "artifacts"},
                 {"artifacts.0.size", "-1", "artifacts"},
                 {"artifacts.0.size", "1e17", "artifacts"},
                 {"artifacts.0.step", "-2", "artifacts"},
                 {"artifacts.0.at", "null", "artifacts"},
                 {"artifacts.0.is_kept", "1", "artifacts"},
                 {"curves", NULL, "curves"},
                 {"curves.0", "[]", "curves"},
                 {"curves.0.key", NULL, "curves"},
                 {"curves.0.key", "\"\"", "curves"},
                 {"curves.0.points", "\"00\"", "curves"},
                 {"curves.0.n", "1e300", "curves"},
                 {"curves.0.n", "-1", "curves"},
                 {"console", "\"00\"", "console"},
                 {"name", NULL, NULL}, /* what may be absent */
                 {"origin", NULL, NULL},
                 {"parent", NULL, NULL},
                 {"seed", NULL, NULL},
                 {"end", NULL, NULL},
                 {"end.message", NULL, NULL},
                 {"end.status", "\"interrupted\"", NULL},
                 {"end.status", "\"finished\"", NULL},
                 {"texts.spec", NULL, NULL},
                 {"artifacts.0.name", NULL, NULL},
                 {"artifacts.0.tensors", NULL, NULL},
                 {"console", NULL, NULL}};

    (void)state;
    check_record(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_record(cases[i].path, cases[i].value, cases[i].problem);
}

static void test_store_transfer__nothing_is_longer_than_it_may_be(void **state)
{
    (void)state;
    check_record("name", long_text(4096), NULL);
    check_record("name", long_text(4097), "name or origin");
    check_record("origin", long_text(4097), "name or origin");
    check_record("remarks.0.2", long_text(4097), "remarks");
    check_record("artifacts.0.path", long_text(4097), "artifacts");
    check_record("curves.0.key", long_text(256), NULL);
    check_record("curves.0.key", long_text(257), "curves");
    check_record("remarks.0.3", long_text((16 << 20) + 1), "remarks");
    check_record("end.message", long_text((16 << 20) + 1), "end");
    long_text(0);
}

static void test_store_transfer__a_list_has_its_limit(void **state)
{
    cJSON *record = parse(sound), *list = cJSON_GetObjectItem(record, "curves");
    lx_error err = {0};
    const char *id;

    (void)state;
    for (int i = 1; i < 4096; i++)
        cJSON_AddItemToArray(list, cJSON_Duplicate(list->child, true));
    assert_int_equal(lx_transfer_check(&id, record, &err), LX_OK);
    cJSON_AddItemToArray(list, cJSON_Duplicate(list->child, true));
    assert_int_equal(lx_transfer_check(&id, record, &err), LX_EFORMAT);
    cJSON_Delete(record);
}

/* ---- which says more --------------------------------------------------------------- */

static bool covers(const cJSON *theirs, const cJSON *ours)
{
    lx_error err = {0};
    bool out;
    lx_assert_ok(lx_transfer_covers(&out, theirs, ours, &err), &err);
    return out;
}

static void check_covers(const char *path, const char *value, bool ours_has_more,
                         bool theirs_has_more)
{
    cJSON *whole = parse(sound), *other = parse(sound);

    set(other, path, value);
    if (covers(whole, other) == ours_has_more || covers(other, whole) == theirs_has_more)
        fail_msg("%s=%s", path, value ? value : "(absent)");
    cJSON_Delete(whole);
    cJSON_Delete(other);
}

static void test_store_transfer__a_record_covers_what_it_holds(void **state)
{
    (void)state;
    check_covers("name", "\"scrubbed\"", false, false);
    check_covers("end", NULL, false, true);
    check_covers("remarks.1", NULL, false, true);
    check_covers("remarks.0.0", "5", true, true);
    check_covers("remarks.0.1", "\"fact\"", true, true);
    check_covers("remarks.0.3", "\"scrubbed\"", false, false);
    check_covers("artifacts.0", NULL, false, true);
    check_covers("artifacts.0.step", "9", true, true);
    check_covers("artifacts.0.role", "\"log\"", true, true);
    check_covers("artifacts.0.at", "9", false, false); /* the same file */
    check_covers("artifacts.0.name", "\"scrubbed\"", false, false);
    check_covers("curves.0.n", "3", true, false);
    check_covers("curves.0.key", "\"lr\"", true, true);
    check_covers("curves.0", NULL, false, true);
}

/* Copies of a file that were saved again have its moment, and may have its size and tensors. */
static void test_store_transfer__files_of_one_moment_are_as_many(void **state)
{
    cJSON *one = parse(sound), *two = parse(sound);
    cJSON *list = cJSON_GetObjectItem(two, "artifacts");

    (void)state;
    cJSON_AddItemToArray(list, cJSON_Duplicate(list->child, true));
    set(two, "artifacts.0.name", "\"b\"");
    assert_true(covers(two, one));
    assert_false(covers(one, two));
    set(two, "artifacts.1.at", "7"); /* each is known by other things */
    assert_true(covers(two, one));
    set(one, "artifacts.0.name", "\"scrubbed\"");
    assert_true(covers(two, one));
    set(one, "artifacts.0.size", "4");
    assert_false(covers(two, one));
    set(one, "artifacts.0.size", "3");
    set(one, "artifacts.0.tensors", NULL);
    assert_false(covers(two, one));
    cJSON_Delete(one);
    cJSON_Delete(two);
}

/* A stranger's record may have a curve twice: the longer one counts, in whatever order. */
static void test_store_transfer__the_longest_of_a_curve_counts(void **state)
{
    cJSON *two = parse(sound), *one = parse(sound);
    cJSON *list = cJSON_GetObjectItem(two, "curves");

    (void)state;
    cJSON_AddItemToArray(list, cJSON_Duplicate(list->child, true));
    for (int longer = 0; longer < 2; longer++) {
        set(two, "curves.0.n", longer ? "2" : "5");
        set(two, "curves.1.n", longer ? "5" : "2");
        set(one, "curves.0.n", "5");
        assert_true(covers(two, one));
        set(one, "curves.0.n", "6");
        assert_false(covers(two, one));
    }
    cJSON_Delete(two);
    cJSON_Delete(one);
}

static void test_store_transfer__no_memory_is_no_answer(void **state)
{
    cJSON *record = parse(sound);
    lx_error err = {0};
    bool out;

    (void)state;
    lx_alloc_fail_at(1, false);
    assert_int_equal(lx_transfer_covers(&out, record, record, &err), LX_ENOMEM);
    lx_alloc_fail_at(0, false);
    cJSON_Delete(record);
}

/* As many remarks and artifacts as a record may have, in the opposite order: by pairs it would take minutes. */
static void test_store_transfer__long_lists_are_compared_at_once(void **state)
{
    enum { N = 100000 };
    cJSON *records[2];
    struct timespec from, to;

    (void)state;
    for (int which = 0; which < 2; which++) {
        cJSON *r = records[which] = parse(sound);
        cJSON *remarks = cJSON_GetObjectItem(r, "remarks"),
              *artifacts = cJSON_GetObjectItem(r, "artifacts");
        for (int i = 1; i < N; i++) {
            int at = which ? i : N - i;
            cJSON *remark = cJSON_Duplicate(remarks->child, true),
                  *artifact = cJSON_Duplicate(artifacts->child, true);
            cJSON_SetNumberValue(remark->child, at);
            cJSON_SetNumberValue(cJSON_GetObjectItem(artifact, "step"), at);
            cJSON_AddItemToArray(remarks, remark);
            cJSON_AddItemToArray(artifacts, artifact);
        }
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    assert_true(covers(records[0], records[1]));
    cJSON_DeleteItemFromArray(cJSON_GetObjectItem(records[0], "artifacts"), N / 2);
    assert_false(covers(records[0], records[1]));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    assert_in_range(to.tv_sec - from.tv_sec, 0, 5);
    cJSON_Delete(records[0]);
    cJSON_Delete(records[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_transfer__every_member_is_checked),
        cmocka_unit_test(test_store_transfer__nothing_is_longer_than_it_may_be),
        cmocka_unit_test(test_store_transfer__a_list_has_its_limit),
        cmocka_unit_test(test_store_transfer__a_record_covers_what_it_holds),
        cmocka_unit_test(test_store_transfer__files_of_one_moment_are_as_many),
        cmocka_unit_test(test_store_transfer__the_longest_of_a_curve_counts),
        cmocka_unit_test(test_store_transfer__no_memory_is_no_answer),
        cmocka_unit_test(test_store_transfer__long_lists_are_compared_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
