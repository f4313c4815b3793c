#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/golden.h"

static bool has_note(const lx_tensor_file *file, const char *part)
{
    for (size_t i = 0; i < lx_tensor_file_note_count(file); i++)
        if (strstr(lx_tensor_file_note(file, i), part))
            return true;
    return false;
}

static void expect_equal(const lx_tensor_view *a, const lx_tensor_view *b)
{
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->n_dims, b->n_dims);
    assert_memory_equal(a->shape, b->shape, sizeof a->shape);
    assert_int_equal(a->bytes, b->bytes);
    if (a->bytes)
        assert_memory_equal(a->data, b->data, a->bytes);
}

/* Views of one storage, a transposed one, a Parameter, empty, scalar, seven dtypes. */
static void test_format_torch__odd_tensors_equal_their_safetensors(void **state)
{
    lx_tensor_file *pickled = lx_golden_open("model/odd_tensors.ckpt");
    lx_tensor_file *plain = lx_golden_open("model/odd_tensors.safetensors");

    assert_string_equal(lx_tensor_file_format(pickled), "torch zip");
    assert_string_equal(lx_tensor_file_format(plain), "safetensors");
    assert_true(has_note(pickled, "state_dict"));
    assert_int_equal(lx_tensor_file_count(pickled), lx_tensor_file_count(plain));
    for (size_t i = 0; i < lx_tensor_file_count(plain); i++) {
        const lx_tensor_view *want = lx_tensor_file_at(plain, i);
        expect_equal(lx_golden_find(pickled, "%s", want->name), want);
    }
    lx_tensor_file_close(pickled);
    lx_tensor_file_close(plain);
}

static void test_format_torch__the_form_before_zip_is_read(void **state)
{
    lx_tensor_file *file = lx_golden_open("model/legacy_nonzip.ckpt");
    const lx_tensor_view *scalar = lx_golden_find(file, "scalar");

    assert_string_equal(lx_tensor_file_format(file), "torch legacy");
    assert_int_equal(scalar->n_dims, 0);
    assert_int_equal(scalar->n_elements, 1);
    assert_int_equal(lx_golden_find(file, "f32")->dtype, LX_F32);
    lx_tensor_file_close(file);
}

static void test_format_torch__a_whole_checkpoint_is_read(void **state)
{
    lx_tensor_file *file = lx_golden_open("model/nano.ckpt");

    assert_true(lx_tensor_file_count(file) >= 959);
    assert_non_null(lx_golden_find(file, "model.diffusion_model.time_embed.0.weight"));
    assert_true(has_note(file, "state_dict"));
    lx_tensor_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_torch__odd_tensors_equal_their_safetensors),
        cmocka_unit_test(test_format_torch__the_form_before_zip_is_read),
        cmocka_unit_test(test_format_torch__a_whole_checkpoint_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
