#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/query/filter.h"
#include "src/query/when.h"

enum { LOSS, DIM, DATASET, TAG, STARTED, TOOK, ID, MIN_LOSS, OPTIMIZER, CACHE, FLIP, WORD, N };

static lx_arena *arena;
static double now;

static int bind(int *column, lx_field_type *type, void *context, const char *name,
                const char *part, lx_error *err)
{
    static const struct {
        const char *name;
        lx_field_type type;
    } fields[N] = {{"loss", LX_FIELD_NUMBER},  {"dim", LX_FIELD_ANY},
                   {"dataset", LX_FIELD_TEXT}, {"tag", LX_FIELD_TEXT},
                   {"started", LX_FIELD_TIME}, {"duration", LX_FIELD_DURATION},
                   {"id", LX_FIELD_ID},        {"loss", LX_FIELD_NUMBER},
                   {"optimizer", LX_FIELD_ANY}, {"cache", LX_FIELD_SWITCH},
                   {"flip", LX_FIELD_SWITCH},   {"word", LX_FIELD_SWITCH}};

    (void)context;
    for (int i = 0; i < N; i++)
        if (strcmp(fields[i].name, name) == 0 && (i == MIN_LOSS) == (part != NULL)) {
            *column = i;
            *type = fields[i].type;
            return LX_OK;
        }
    return lx_fail(err, LX_EUSAGE, "no field \"%s\"", name);
}

static const lx_filter_host *host(void)
{
    static lx_filter_host h = {.bind = bind};
    h.now = now;
    return &h;
}

static const lx_cell *row(void)
{
    static const char *const tags[] = {"good", "second try"};
    static lx_cell cells[N];

    cells[LOSS] = lx_cell_number(0.05);
    cells[DIM] = lx_cell_text("4");
    cells[DATASET] = lx_cell_text("img/10_Hifumi Ötzi");
    cells[TAG] = (lx_cell){.kind = LX_CELL_WORDS, .n_words = 2, .words = tags};
    cells[STARTED] = lx_cell_number(now - 2 * 86400);
    cells[TOOK] = lx_cell_number(330);
    cells[ID] = lx_cell_text("4fa3b2c1d0e9f887");
    cells[MIN_LOSS] = lx_cell_number(0.04);
    cells[OPTIMIZER] = lx_cell_text(NULL);
    cells[CACHE] = lx_cell_text("1"); /* as the store has true */
    cells[FLIP] = lx_cell_text("0");
    cells[WORD] = lx_cell_text("true"); /* as a script may have written it */
    return cells;
}

static void assert_matches(const char *text, bool wanted)
{
    lx_filter *filter;
    lx_error err = {0};

    if (lx_filter_parse(&filter, text, strlen(text), host(), arena, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    if (lx_filter_matches(filter, row()) != wanted)
        fail_msg("%s: wanted %s", text, wanted ? "true" : "false");
}

static void test_query_filter__compares(void **state)
{
    static const struct {
        const char *text;
        bool wanted;
    } cases[] = {
        {"", true},
        {"loss < 0.06 and dim = 4 and dataset ~ hifumi", true},
        {"loss<.06&&dim==4.0", true},
        {"loss < 5e-2", false},
        {"loss <= 5e-2", true},
        {"loss >= 0.05 AND NOT (loss > 0.05)", true},
        {"dim = 8 or dim = 4", true},
        {"dim = 8 or loss < 0.06 and dim = 16", false}, /* and binds tighter */
        {"(dim = 8 or loss < 0.06) and dim = 4", true},
        {"not dim = 8 and not dim = 16", true},
        {"!dim=8", true},
        {"dim in (2, 4, 8)", true},
        {"dim not in (2, 4, 8)", false},
        {"dim in ('4')", true},
        {"dim = four", false},
        {"cache = true and flip = false", true},
        {"cache = 'TRUE' and cache = 1 and cache", true},
        {"cache = false or flip = true", false},
        {"cache != true or flip != false", false},
        {"cache != false and flip != true", true},
        {"cache in (true, none)", true},
        {"word = true and word != false", true},
        {"dim = true", false},
        {"dim != four", true},
        {"dim > 3 and dim < 10", true}, /* as numbers: "4" > "10" as texts */
        {"dataset ~ 'ÖTZI'", true},
        {"dataset !~ nagisa", true},
        {"dataset ~ nagisa", false},
        {"dataset = hifumi", false},
        {"dataset = \"img/10_Hifumi Ötzi\"", true},
        {"tag = good", true},
        {"tag = 'second try'", true},
        {"tag ~ TRY", true},
        {"tag = second", false},
        {"tag != bad", true},
        {"tag != good", false},
        {"tag in (bad, good)", true},
        {"tag", true},
        {"id = 4fa3", true},
        {"id = 4fa4", false},
        {"id != 4fa4", true},
        {"min(loss) < 0.045", true},
        {"MIN ( loss ) = 0.04", true},
        {"duration > 5m", true},
        {"duration >= 330", true},
        {"duration = 5m30s", true},
        {"duration < 1h and duration > 1.5m", true},
        {"started > -3d", true},
        {"started > -36h", false},
        {"started < now", true},
        {"started < today", true},
        {"started > 2001", true},
        {"started >= 2001-01-31 and started < 2999-01-01T10:00:05Z", true},
        {"optimizer = none", true},
        {"optimizer != none", false},
        {"dim != none", true},
        {"optimizer = AdamW", false},
        {"optimizer != AdamW", true},
        {"optimizer < 3", false},
        {"optimizer", false},
        {"not optimizer", true},
        {"loss and dim", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_matches(cases[i].text, cases[i].wanted);
}

static void test_query_filter__says_where_it_stops(void **state)
{
    static const char *const cases[][2] = {
        {"loss", NULL},
        {"los < 3", "column 1: no field \"los\""},
        {"loss < 0.06 and los", "column 17: no field \"los\""},
        {"loss <", "column 7: a value is wanted here, and there is the end"},
        {"loss < low",
         "column 8: the field is a number, compared by = != < <= > >= with one, and "
         "there is low"},
        {"loss ~ 3",
         "column 8: the field is a number, compared by = != < <= > >= with one, and "
         "there is 3"},
        {"duration > soon",
         "column 12: the field is a duration (90s, 5m, 2h), compared by = != < "
         "<= > >= with one, and there is soon"},
        {"started > 3d",
         "column 11: a date is wanted here, as in 2026-11-01, today or -3d (three "
         "days ago), and there is 3d"},
        {"started > 2026-13-01",
         "column 11: a date is wanted here, as in 2026-11-01, today or -3d "
         "(three days ago), and there is 2026-13-01"},
        {"dim = 'ab", "column 7: the text that begins here has no closing '"},
        {"(dim = 4", "column 9: and, or, or ')' is wanted here, and there is the end"},
        {"dim = 4)", "column 8: and, or, or the end is wanted here, and there is ')'"},
        {"dim = 4 loss",
         "column 9: and, or, or the end is wanted here, and there is loss"},
        {"dim in 4", "column 8: '(' and values is wanted here, and there is 4"},
        {"dim in (4", "column 10: ',' or ')' is wanted here, and there is the end"},
        {"dim not = 4", "column 9: in is wanted here, and there is an operator"},
        {"and", "column 1: no field \"and\""},
        {"dim < none", "column 7: none goes with = and != only"},
        {"mean(loss) < 1", "column 1: only min(...) and last(...) of a curve are known"},
        {"'ö' = 3 ; drop", "column 1: no field \"\xc3\xb6\""},
        {"dim = ö ; drop", "column 9: ';' means nothing here; put texts in quotes"},
        {"dim = \x01", "column 7: '?' means nothing here; put texts in quotes"},
    };

    (void)state;
    for (size_t i = 1; i < sizeof cases / sizeof *cases; i++) {
        lx_filter *filter;
        lx_error err = {0};
        int rc = lx_filter_parse(&filter, cases[i][0], strlen(cases[i][0]), host(), arena,
                                 &err);
        if (rc != LX_EUSAGE || strcmp(err.text, cases[i][1]) != 0)
            fail_msg("%s: %d %s", cases[i][0], rc, err.text);
    }
}

static void test_query_filter__bounds_depth_and_length(void **state)
{
    lx_str text = LX_STR_INIT;
    lx_filter *filter;

    (void)state;
    for (int i = 0; i < LX_FILTER_DEPTH + 1; i++)
        lx_str_putc(&text, '(');
    assert_int_equal(lx_filter_parse(&filter, text.data, text.len, host(), arena, NULL),
                     LX_ELIMIT);
    lx_str_clear(&text);
    for (int i = 0; i < LX_FILTER_DEPTH + 1; i++)
        lx_str_puts(&text, "not ");
    assert_int_equal(lx_filter_parse(&filter, text.data, text.len, host(), arena, NULL),
                     LX_ELIMIT);
    lx_str_clear(&text);
    lx_str_puts(&text, "dim=1");
    while (text.len < 60000) /* long, but flat */
        lx_str_puts(&text, " or dim=1 and dim=2");
    assert_int_equal(lx_filter_parse(&filter, text.data, text.len, host(), arena, NULL),
                     0);
    assert_false(lx_filter_matches(filter, row()));
    while (text.len <= LX_FILTER_BYTES)
        lx_str_puts(&text, " or dim=1 and dim=2");
    assert_int_equal(lx_filter_parse(&filter, text.data, text.len, host(), arena, NULL),
                     LX_ELIMIT);
    lx_str_release(&text);
}

static void test_query_filter__lives_through_want_of_memory(void **state)
{
    static const char text[] = "(dim in (1, 2) or not dataset ~ x) and min(loss) < 3";

    (void)state;
    for (size_t n = 1;; n++) {
        lx_arena *own = lx_arena_new();
        lx_filter *filter;
        lx_error err = {0};
        int rc;
        lx_alloc_fail_at(n, true);
        rc = lx_filter_parse(&filter, text, strlen(text), host(), own, &err);
        lx_alloc_fail_at(0, false);
        lx_arena_free(own);
        if (rc == LX_OK)
            break;
        assert_int_equal(rc, LX_ENOMEM);
    }
}

static void test_query_when__dates_are_spans(void **state)
{
    double from, to;

    (void)state;
    assert_true(lx_when_parse(&from, &to, "2026-11-01T10:00Z", 0, false));
    assert_true(from == 1793527200 && to == from + 60);
    assert_true(lx_when_parse(&from, &to, "2026-11-01T10:00:07Z", 0, false));
    assert_true(from == 1793527207 && to == from + 1);
    assert_true(lx_when_parse(&from, &to, "2026-02", 0, false));
    assert_true(to - from == 28 * 86400.0);
    assert_false(lx_when_parse(&from, &to, "2026", 0, false));
    assert_true(lx_when_parse(&from, &to, "2026", 0, true));
    assert_true(to - from == 365 * 86400.0);
    assert_false(lx_when_parse(&from, &to, "2026-1-1", 0, true));
    assert_false(lx_when_parse(&from, &to, "2026-11-01T25:00", 0, true));
    assert_false(lx_when_parse(&from, &to, "2026-11-01T10:00ZZ", 0, true));
    assert_false(lx_when_parse(&from, &to, "", 0, true));
}

static void test_query_when__durations(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } shown[] = {{0.04, "0.0s"},  {45.25, "45.2s"}, {192, "3m12s"},
                 {7500, "2h05m"}, {273600, "3d4h"}, {-90, "-1m30s"}};
    double s;
    char text[32];

    (void)state;
    assert_true(lx_duration_parse(&s, "1h30m") && s == 5400);
    assert_true(lx_duration_parse(&s, "-2w") && s == -1209600);
    assert_true(lx_duration_parse(&s, "2.5s") && s == 2.5);
    assert_false(lx_duration_parse(&s, "90"));
    assert_false(lx_duration_parse(&s, "m"));
    assert_false(lx_duration_parse(&s, "-"));
    assert_false(lx_duration_parse(&s, "0x10s"));
    assert_false(lx_duration_parse(&s, "1e999s"));
    assert_false(lx_duration_parse(&s, "nans"));
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        lx_duration_format(text, shown[i].seconds);
        assert_string_equal(text, shown[i].text);
    }
}

static void test_query_cell__order_and_text(void **state)
{
    const lx_cell cells[] = {lx_cell_number(-1), lx_cell_text("2"), lx_cell_text("10"),
                             lx_cell_text("B"),  lx_cell_text("a"), lx_cell_text(NULL)};
    const struct {
        lx_cell cell;
        bool is_short;
        const char *text;
    } shown[] = {{lx_cell_number(0.0612345), true, "0.06123"},
                 {lx_cell_number(0.0612345), false, "0.0612345"},
                 {lx_cell_number(123456), true, "123456"},
                 {lx_cell_text("1e-04"), true, "1e-04"},
                 {lx_cell_number((double)NAN), true, ""}};
    lx_str s = LX_STR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        for (size_t k = 0; k < sizeof cells / sizeof *cells; k++) {
            int order = lx_cell_compare(&cells[i], &cells[k]);
            assert_true(i < k ? order < 0 : i > k ? order > 0 : order == 0);
        }
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        lx_str_clear(&s);
        lx_cell_put(&s, &shown[i].cell, shown[i].is_short);
        assert_string_equal(lx_str_text(&s), shown[i].text);
    }
    lx_str_release(&s);
    assert_true(isnan(lx_text_number("0x10")) && isnan(lx_text_number("inf")) &&
                isnan(lx_text_number("")) && isnan(lx_text_number(" 1")));
}

static int open_arena(void **state)
{
    (void)state;
    arena = lx_arena_new();
    now = (double)time(NULL);
    return arena ? 0 : -1;
}

static int close_arena(void **state)
{
    (void)state;
    lx_arena_free(arena);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_filter__compares),
        cmocka_unit_test(test_query_filter__says_where_it_stops),
        cmocka_unit_test(test_query_filter__bounds_depth_and_length),
        cmocka_unit_test(test_query_filter__lives_through_want_of_memory),
        cmocka_unit_test(test_query_when__dates_are_spans),
        cmocka_unit_test(test_query_when__durations),
        cmocka_unit_test(test_query_cell__order_and_text),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
