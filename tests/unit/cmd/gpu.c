#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cmd/gpu.h"

static int use_the_fake(void **state)
{
    (void)state;
    setenv("LX_NVML", LX_FAKE_NVML, 1);
    unsetenv("CUDA_VISIBLE_DEVICES");
    return 0;
}

static void test_cmd_gpu__two_gpus(void **state)
{
    lx_gpus *gpus = lx_gpus_open();
    lx_gpu_sample a, b;

    (void)state;
    assert_non_null(gpus);
    assert_int_equal(lx_gpus_count(gpus), 2);
    assert_string_equal(lx_gpus_name(gpus, 0), "Fake RTX 3060");
    assert_string_equal(lx_gpus_driver(gpus), "555.42");
    assert_true(lx_gpus_memory(gpus, 1) == 16106127360.0);
    lx_gpus_sample(&a, gpus, 0);
    lx_gpus_sample(&b, gpus, 0);
    assert_true(b.memory_used == a.memory_used + 1000);
    assert_true(a.utilisation == 97 && a.power == 170.5 && a.temperature == 61);
    lx_gpus_sample(&b, gpus, 1);
    assert_int_equal(b.index, 1);
    assert_true(isnan(b.utilisation) && isnan(b.power) && b.temperature == 61);
    lx_gpus_close(gpus);
}

static void test_cmd_gpu__visible_devices(void **state)
{
    static const struct {
        const char *list;
        size_t count;
    } rows[] = {{"1", 1}, {"0,1", 2}, {"", 0}, {"-1", 0}, {"GPU-0a1b", 2}, {"7", 0}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        setenv("CUDA_VISIBLE_DEVICES", rows[i].list, 1);
        lx_gpus *gpus = lx_gpus_open();
        assert_int_equal(lx_gpus_count(gpus), rows[i].count);
        if (i == 0)
            assert_string_equal(lx_gpus_name(gpus, 0), "Fake Tesla T4");
        lx_gpus_close(gpus);
    }
}

static void test_cmd_gpu__none(void **state)
{
    (void)state;
    setenv("LX_FAKE_NVML_GPUS", "0", 1);
    assert_null(lx_gpus_open());
    unsetenv("LX_FAKE_NVML_GPUS");
    setenv("LX_FAKE_NVML_FAILS", "1", 1);
    assert_null(lx_gpus_open());
    unsetenv("LX_FAKE_NVML_FAILS");
    setenv("LX_NVML", "/no/such/library.so", 1);
    assert_null(lx_gpus_open());
    assert_int_equal(lx_gpus_count(NULL), 0);
    lx_gpus_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_cmd_gpu__two_gpus, use_the_fake),
        cmocka_unit_test_setup(test_cmd_gpu__visible_devices, use_the_fake),
        cmocka_unit_test_setup(test_cmd_gpu__none, use_the_fake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
