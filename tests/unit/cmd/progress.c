#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/progress.h"

static char *text;
static size_t n_text;

/* A view whose lines land in `text`. */
static lx_progress_view view_on(lx_cli *cli, bool is_terminal)
{
    lx_progress_view view;

    *cli = (lx_cli){.err = open_memstream(&text, &n_text), .is_terminal = is_terminal,
                    .columns = 30};
    cli->out = cli->err;
    lx_progress_init(&view, cli);
    return view;
}

static lx_step_report report(int64_t step)
{
    return (lx_step_report){.step = step, .total_steps = 10, .epoch = 1, .total_epochs = 2,
                            .loss = 0.125, .average_loss = 0.25, .lr_unet = 1e-4, .seconds = 2};
}

static void finish(lx_cli *cli)
{
    fclose(cli->err);
}

static void test_progress__piped_lines_come_first_and_last(void **state)
{
    lx_cli cli;
    lx_progress_view view = view_on(&cli, false);

    for (int64_t step = 1; step <= 10; step++) {
        lx_step_report r = report(step);
        lx_progress_step(&view, &r);
    }
    lx_progress_close(&view);
    finish(&cli);
    assert_non_null(strstr(text, "step 1/10  epoch 1/2  loss 0.1250  average 0.2500"));
    assert_non_null(strstr(text, "step 10/10"));
    assert_null(strstr(text, "step 5/10"));
    assert_null(strchr(text, '\r'));
    assert_int_equal(text[strlen(text) - 1], '\n');
    free(text);
}

static void test_progress__a_terminal_line_never_wraps_and_ends_in_a_newline(void **state)
{
    lx_cli cli;
    lx_progress_view view = view_on(&cli, true);
    lx_step_report r = report(1);
    size_t width;

    lx_progress_step(&view, &r);
    fflush(cli.err);
    assert_int_equal(text[0], '\r');
    width = strcspn(text + 1, "\033");
    assert_in_range(width, 1, 29);
    lx_progress_close(&view);
    lx_progress_close(&view); /* a second time is nothing */
    finish(&cli);
    assert_int_equal(text[strlen(text) - 1], '\n');
    assert_int_not_equal(text[strlen(text) - 2], '\n');
    free(text);
}

static void test_progress__quiet_is_silent(void **state)
{
    lx_cli cli;
    lx_progress_view view = view_on(&cli, false);
    lx_step_report r = report(10);

    cli.is_quiet = true;
    lx_progress_phase(&view, "caching latents", 3, 3);
    lx_progress_step(&view, &r);
    lx_progress_close(&view);
    finish(&cli);
    assert_int_equal(n_text, 0);
    free(text);
}

static void test_progress__durations_read_as_people_say_them(void **state)
{
    char out[32];

    lx_duration_text(out, 41.6);
    assert_string_equal(out, "42 s");
    lx_duration_text(out, 125);
    assert_string_equal(out, "2 min 05 s");
    lx_duration_text(out, 3 * 3600 + 300);
    assert_string_equal(out, "3 h 05 min");
    lx_duration_text(out, -1);
    assert_string_equal(out, "0 s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress__piped_lines_come_first_and_last),
        cmocka_unit_test(test_progress__a_terminal_line_never_wraps_and_ends_in_a_newline),
        cmocka_unit_test(test_progress__quiet_is_silent),
        cmocka_unit_test(test_progress__durations_read_as_people_say_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
