#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/train/config.h"

static lx_train_config config_of(lx_encode_ahead wanted, int threads)
{
    lx_train_config c;

    lx_train_config_defaults(&c);
    c.encode_ahead = wanted;
    c.threads = threads;
    return c;
}

static void
test_train_config__auto_encodes_ahead_where_half_of_the_cores_rest(void **state)
{
    static const struct {
        int threads, cores;
        bool is_ahead;
    } rows[] = {{0, 1, false}, {0, 2, false}, {0, 64, false}, {1, 1, false},
                {1, 2, true},  {2, 2, false}, {2, 3, false},  {2, 4, true},
                {8, 64, true}, {3, 2, false}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lx_train_config by_itself = config_of(LX_AHEAD_AUTO, rows[i].threads),
                              never = config_of(LX_AHEAD_FALSE, rows[i].threads),
                              always = config_of(LX_AHEAD_TRUE, rows[i].threads);
        assert_int_equal(lx_train_encodes_ahead(&by_itself, rows[i].cores),
                         rows[i].is_ahead);
        assert_false(lx_train_encodes_ahead(&never, rows[i].cores));
        assert_true(lx_train_encodes_ahead(&always, rows[i].cores));
    }
}

static void test_train_config__nothing_is_encoded_ahead_where_it_cannot_be(void **state)
{
    lx_train_config c = config_of(LX_AHEAD_TRUE, 1);

    c.data.cache_latents = true;
    assert_false(lx_train_encodes_ahead(&c, 8));
    c = config_of(LX_AHEAD_TRUE, 1);
    c.device = "cuda:1";
    assert_false(lx_train_encodes_ahead(&c, 8));
    c.device = "auto";
    assert_true(lx_train_encodes_ahead(&c, 8));
    c = config_of(LX_AHEAD_AUTO, 1);
    c.max_data_loader_n_workers = 0;
    assert_false(lx_train_encodes_ahead(&c, 8));
    assert_int_equal(lx_train_config_check(&c, NULL), LX_OK);
    c.encode_ahead = LX_AHEAD_TRUE;
    assert_int_equal(lx_train_config_check(&c, NULL), LX_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_train_config__auto_encodes_ahead_where_half_of_the_cores_rest),
        cmocka_unit_test(test_train_config__nothing_is_encoded_ahead_where_it_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
