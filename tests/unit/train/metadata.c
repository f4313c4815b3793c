/* The list of a LoRA's metadata: replaced by key, scrubbed, and what could not be made is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "src/base/arena.h"
#include "src/train/metadata.h"

static void test_train_metadata__keys_are_replaced_and_values_scrubbed(void **state)
{
    lx_arena *arena = lx_arena_new();
    lx_metadata m;

    (void)state;
    lx_metadata_init(&m, arena);
    lx_metadata_set(&m, "ss_seed", "1");
    lx_metadata_set(&m, "ss_output_name", "iwl");
    lx_metadata_set(&m, "ss_seed", "2");
    lx_metadata_set(&m, "ss_training_comment", "hf_abcdefghijklmnopqrstuvwxyz012345");
    assert_int_equal(m.count, 3);
    assert_string_equal(lx_metadata_get(&m, "ss_seed"), "2");
    assert_string_equal(lx_metadata_get(&m, "ss_output_name"), "iwl");
    assert_null(strstr(lx_metadata_get(&m, "ss_training_comment"), "abcdefghij"));
    assert_null(lx_metadata_get(&m, "ss_none"));
    assert_false(m.failed);
    lx_metadata_release(&m);
    lx_arena_free(arena);
}

/* A text that there was no memory for. */
static void test_train_metadata__a_value_that_could_not_be_made(void **state)
{
    lx_arena *arena = lx_arena_new();
    lx_metadata m;

    (void)state;
    lx_metadata_init(&m, arena);
    lx_metadata_set(&m, "ss_seed", "1");
    lx_metadata_set(&m, "ss_seed", NULL);
    assert_true(m.failed);
    assert_string_equal(lx_metadata_get(&m, "ss_seed"), "1");
    lx_metadata_release(&m);
    lx_arena_free(arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_metadata__keys_are_replaced_and_values_scrubbed),
        cmocka_unit_test(test_train_metadata__a_value_that_could_not_be_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
