#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/rng.h"
#include "src/serve/request.h"

static lx_arena *arena;
static lx_serve_request r;

static int parse(const char *target)
{
    lx_error err = {0};
    int rc = lx_serve_request_parse(&r, target, strlen(target), arena, &err);
    assert_true(rc == LX_OK || (err.code == rc && err.text[0]));
    return rc;
}

static void test_serve_request__a_target_is_parts_and_pairs(void **state)
{
    (void)state;
    assert_int_equal(parse("/"), LX_OK);
    assert_int_equal(r.n_parts + r.n_pairs, 0);
    assert_int_equal(parse("/run/4fa3/samples/?step=100&prompt=a%20b+c&x&=&step=2"),
                     LX_OK);
    assert_int_equal(r.n_parts, 3);
    assert_string_equal(r.parts[2], "samples");
    assert_int_equal(r.n_pairs, 5);
    assert_string_equal(lx_serve_value(&r, "prompt"), "a b c");
    assert_string_equal(lx_serve_value(&r, "x"), "");
    assert_null(lx_serve_value(&r, "y"));
    assert_int_equal(lx_serve_number(&r, "step", 0, 1000, -1), 100);
    assert_int_equal(lx_serve_number(&r, "step", 0, 99, -1), -1);
    assert_int_equal(lx_serve_number(&r, "prompt", 0, 99, 7), 7);
}

static void
test_serve_request__an_escape_is_undone_once_and_makes_no_separator(void **state)
{
    (void)state;
    assert_int_equal(parse("/run/a%2Fb?q=a%26b%3Dc%2520"), LX_OK);
    assert_int_equal(r.n_parts, 2);
    assert_string_equal(r.parts[1], "a/b");
    assert_int_equal(r.n_pairs, 1);
    assert_string_equal(r.pairs[0].value, "a&b=c%20");
    assert_int_equal(parse("/a+b?q=%C3%A9%0A"), LX_OK);
    assert_string_equal(r.parts[0], "a+b");
    assert_string_equal(r.pairs[0].value, "\xC3\xA9\n");
}

static void test_serve_request__what_is_not_sound_is_refused(void **state)
{
    static const char *const bad[] = {"",           "*",
                                      "run",        "http://evil/",
                                      "//",         "/run//x",
                                      "/..",        "/run/../x",
                                      "/run/.",     "/%2e%2e/x",
                                      "/run/%2E",   "/a%00b",
                                      "/a%0ab",     "/a\nb",
                                      "/a\x7f",     "/%",
                                      "/%4",        "/%zz",
                                      "/a%+1",      "/\xff",
                                      "/%ff",       "/%c0%ae%c0%ae",
                                      "/%ed%a0%80", "/?q=%",
                                      "/?q=%00",    "/?q=\x1b[2J",
                                      "/?%g0=1",    "/?q=%fe"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i]) != LX_EUSAGE)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void test_serve_request__too_much_is_refused(void **state)
{
    char target[LX_SERVE_TARGET + 2];

    (void)state;
    memset(target, 'a', sizeof target);
    target[0] = '/';
    target[LX_SERVE_TARGET] = '\0';
    assert_int_equal(parse(target), LX_OK);
    target[LX_SERVE_TARGET] = 'a';
    target[LX_SERVE_TARGET + 1] = '\0';
    assert_int_equal(parse(target), LX_ELIMIT);
    assert_int_equal(parse("/a/a/a/a/a/a/a/a"), LX_OK);
    assert_int_equal(parse("/a/a/a/a/a/a/a/a/a"), LX_ELIMIT);
    strcpy(target, "/?");
    for (int i = 0; i < LX_SERVE_PAIRS; i++)
        strcat(target, "a&");
    assert_int_equal(parse(target), LX_OK);
    strcat(target, "a&");
    assert_int_equal(parse(target), LX_ELIMIT);
}

static void test_serve_request__only_our_names_are_hosts(void **state)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]", "Box.lan",
                                        "tunnel:9000"};
    const lx_serve_names ours = {8417, names, 5, false};
    static const char *const good[] = {"localhost:8417", "LOCALHOST:8417",
                                       "127.0.0.1:8417", "[::1]:8417",
                                       "box.lan:8417",   "tunnel:9000"};
    static const char *const bad[] = {"",
                                      "localhost",
                                      "localhost:80",
                                      "localhost:8418",
                                      "localhost:84170",
                                      "localhost:8417x",
                                      "localhost:",
                                      "localhost:+8417",
                                      "localhost:8417:8417",
                                      ":8417",
                                      "evil.example:8417",
                                      "localhost.evil.example:8417",
                                      "localhost.:8417",
                                      "127.0.0.1.evil:8417",
                                      "127.0.0.2:8417",
                                      "[::1]",
                                      "[::1:8417",
                                      "[::2]:8417",
                                      "::1:8417",
                                      "localhost,evil:8417",
                                      "user@localhost:8417",
                                      " localhost:8417",
                                      "localhost:8417 ",
                                      "tunnel:8417",
                                      "10.0.0.1:8417",
                                      "localhost:8417/",
                                      "localhost:99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!lx_serve_host_is_ours(&ours, good[i]))
            fail_msg("%s was refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (lx_serve_host_is_ours(&ours, bad[i]))
            fail_msg("\"%s\" was taken", bad[i]);
    assert_false(lx_serve_host_is_ours(&ours, NULL));
}

static void test_serve_request__an_address_cannot_be_rebound(void **state)
{
    static const char *const names[] = {"0.0.0.0"};
    const lx_serve_names ours = {8417, names, 1, true};

    (void)state;
    assert_true(lx_serve_host_is_ours(&ours, "192.168.1.20:8417"));
    assert_true(lx_serve_host_is_ours(&ours, "[fe80::1]:8417"));
    assert_false(lx_serve_host_is_ours(&ours, "192.168.1.20"));
    assert_false(lx_serve_host_is_ours(&ours, "192.168.1.20.evil.example:8417"));
    assert_false(lx_serve_host_is_ours(&ours, "192.168.1:8417"));
    assert_false(lx_serve_host_is_ours(&ours, "box.lan:8417"));
}

static void test_serve_request__port_80_need_not_be_written(void **state)
{
    static const char *const names[] = {"localhost"};
    const lx_serve_names ours = {80, names, 1, false};

    (void)state;
    assert_true(lx_serve_host_is_ours(&ours, "localhost"));
    assert_true(lx_serve_host_is_ours(&ours, "localhost:80"));
    assert_false(lx_serve_host_is_ours(&ours, "localhost:8417"));
}

static void test_serve_request__origins_and_sites_of_others_are_not_ours(void **state)
{
    static const char *const names[] = {"localhost"};
    const lx_serve_names ours = {8417, names, 1, false};

    (void)state;
    assert_true(lx_serve_origin_is_ours(&ours, NULL));
    assert_true(lx_serve_origin_is_ours(&ours, "http://localhost:8417"));
    assert_false(lx_serve_origin_is_ours(&ours, "https://localhost:8417"));
    assert_false(lx_serve_origin_is_ours(&ours, "http://localhost:3000"));
    assert_false(lx_serve_origin_is_ours(&ours, "http://evil.example:8417"));
    assert_false(lx_serve_origin_is_ours(&ours, "null"));
    assert_false(lx_serve_origin_is_ours(&ours, ""));
    assert_true(lx_serve_site_is_ours(NULL));
    assert_true(lx_serve_site_is_ours("none"));
    assert_true(lx_serve_site_is_ours("same-origin"));
    assert_false(lx_serve_site_is_ours("same-site"));
    assert_false(lx_serve_site_is_ours("cross-site"));
    assert_false(lx_serve_site_is_ours(""));
}

/* Whatever is taken holds no separator that was not written as one. */
static void test_serve_request__any_bytes_are_taken_or_refused(void **state)
{
    static const char alphabet[] = "/.%2eE0a&=?+\n\xc3\xa9 :";
    lx_rng rng = lx_rng_stream(7, LX_RNG_TEST, 0, 0);
    char target[24];

    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t n = lx_rng_below(&rng, sizeof target);
        for (size_t i = 0; i < n; i++)
            target[i] = alphabet[lx_rng_below(&rng, sizeof alphabet)];
        if (lx_serve_request_parse(&r, target, n, arena, NULL) == LX_OK)
            for (size_t i = 0; i < r.n_parts; i++)
                assert_true(*r.parts[i] && strcmp(r.parts[i], "..") != 0);
        if (round % 1000 == 0)
            lx_arena_reset(arena);
    }
}

static int set_up(void **state)
{
    (void)state;
    return (arena = lx_arena_new()) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    lx_arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serve_request__a_target_is_parts_and_pairs),
        cmocka_unit_test(
            test_serve_request__an_escape_is_undone_once_and_makes_no_separator),
        cmocka_unit_test(test_serve_request__what_is_not_sound_is_refused),
        cmocka_unit_test(test_serve_request__too_much_is_refused),
        cmocka_unit_test(test_serve_request__only_our_names_are_hosts),
        cmocka_unit_test(test_serve_request__an_address_cannot_be_rebound),
        cmocka_unit_test(test_serve_request__port_80_need_not_be_written),
        cmocka_unit_test(test_serve_request__origins_and_sites_of_others_are_not_ours),
        cmocka_unit_test(test_serve_request__any_bytes_are_taken_or_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
