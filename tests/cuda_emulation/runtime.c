/* The emulated runtime: streams, events, graphs, limits. What is wrong there must show here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/train.h"
#include "tests/cuda_emulation/control.h"
#include "tests/support/kernel_case.h"

enum { N = 1000 };

#define OK(call) assert_int_equal(call, cudaSuccess)

/* Two streams of their own, x on the device, and a factor there. */
typedef struct world {
    lx_device *dev;
    cudaStream_t work, side;
    float *x, *factor, *host; /* host: pinned */
} world;

static void set_stream(world *w, cudaStream_t stream)
{
    ((lx_cuda_queue *)w->dev->context)->stream = stream;
}

static void begin(world *w, int order, bool is_lazy)
{
    lx_error err = {0};
    const float two = 2;

    assert_int_equal(lx_case_device_used->open(&w->dev, order + 1, &err), 0);
    lx_emu_options_get()->lazy = is_lazy;
    w->work = ((lx_cuda_queue *)w->dev->context)->stream;
    OK(cudaStreamCreateWithFlags(&w->side, cudaStreamNonBlocking));
    OK(cudaMalloc((void **)&w->x, N * sizeof(float)));
    OK(cudaMalloc((void **)&w->factor, sizeof(float)));
    OK(cudaMallocHost((void **)&w->host, N * sizeof(float)));
    OK(cudaMemcpy(w->factor, &two, sizeof two, cudaMemcpyHostToDevice));
    for (int i = 0; i < N; i++)
        w->host[i] = (float)i;
}

static void end(world *w)
{
    set_stream(w, w->work);
    OK(cudaFree(w->x));
    OK(cudaFree(w->factor));
    OK(cudaFreeHost(w->host));
    OK(cudaStreamDestroy(w->side));
    lx_emu_options_get()->lazy = 0;
    lx_device_close(w->dev);
}

static void expect(world *w, float times)
{
    float got[N];

    OK(cudaDeviceSynchronize());
    OK(cudaMemcpy(got, w->x, sizeof got, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++)
        assert_true(got[i] == (float)i * times);
}

/* A copy on one stream, used on another once an event says so; lazily, in every order. */
static void test_streams__are_joined_by_events(void **state)
{
    for (int order = 0; order < LX_EMU_ORDERS; order++)
        for (int lazy = 0; lazy < 2; lazy++) {
            world w;
            cudaEvent_t copied;

            begin(&w, order, lazy);
            OK(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
            OK(cudaMemcpyAsync(w.x, w.host, N * sizeof(float), cudaMemcpyHostToDevice,
                               w.side));
            OK(cudaEventRecord(copied, w.side));
            OK(cudaStreamWaitEvent(w.work, copied, 0));
            lx_cuda_scale_by(w.dev, w.x, LX_F32, N, w.factor);
            assert_int_equal(cudaStreamQuery(w.work),
                             lazy ? cudaErrorNotReady : cudaSuccess);
            expect(&w, 2);
            OK(cudaEventDestroy(copied));
            end(&w);
        }
}

/* Without the event an eager device hides the fault; a lazy one scales what is not there yet. */
static void test_streams__lazy_ones_show_a_missing_event(void **state)
{
    float got[N];
    world w;

    begin(&w, LX_EMU_FORWARD, true);
    OK(cudaMemset(w.x, 0, N * sizeof(float)));
    OK(cudaMemcpyAsync(w.x, w.host, N * sizeof(float), cudaMemcpyHostToDevice, w.side));
    lx_cuda_scale_by(w.dev, w.x, LX_F32, N, w.factor);
    OK(cudaStreamSynchronize(w.work));
    OK(cudaStreamSynchronize(w.side));
    OK(cudaMemcpy(got, w.x, sizeof got, cudaMemcpyDeviceToHost));
    assert_true(got[1] == 1);
    end(&w);
}

/* A fork and a join inside a capture; replayed, the branches come in either order. */
static void test_graph__replays_what_was_captured(void **state)
{
    for (int order = 0; order < LX_EMU_ORDERS; order++) {
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        cudaEvent_t forked, joined;
        size_t n_nodes;
        float *y;
        world w;

        begin(&w, order, order & 1);
        OK(cudaMalloc((void **)&y, N * sizeof(float)));
        OK(cudaEventCreate(&forked));
        OK(cudaEventCreate(&joined));
        OK(cudaStreamBeginCapture(w.work, cudaStreamCaptureModeGlobal));
        OK(cudaMemcpyAsync(w.x, w.host, N * sizeof(float), cudaMemcpyHostToDevice,
                           w.work));
        OK(cudaEventRecord(forked, w.work));
        OK(cudaStreamWaitEvent(w.side, forked, 0));
        OK(cudaMemcpyAsync(y, w.x, N * sizeof(float), cudaMemcpyDeviceToDevice, w.side));
        OK(cudaEventRecord(joined, w.side));
        OK(cudaStreamWaitEvent(w.work, joined, 0));
        lx_cuda_scale_by(w.dev, w.x, LX_F32, N, w.factor);
        lx_cuda_scale_by(w.dev, w.x, LX_F32, N, w.factor);
        OK(cudaStreamEndCapture(w.work, &graph));
        OK(cudaGraphGetNodes(graph, NULL, &n_nodes));
        assert_int_equal(n_nodes, 4);
        OK(cudaGraphInstantiate(&exec, graph, 0));
        for (int i = 0; i < 3; i++)
            OK(cudaGraphLaunch(exec, w.work));
        expect(&w, 4);
        OK(cudaGraphExecDestroy(exec));
        OK(cudaGraphDestroy(graph));
        OK(cudaEventDestroy(forked));
        OK(cudaEventDestroy(joined));
        OK(cudaFree(y));
        end(&w);
    }
}

static void test_capture__allows_no_allocation(void **state)
{
    cudaGraph_t graph;
    void *memory;
    world w;

    begin(&w, LX_EMU_FORWARD, false);
    OK(cudaStreamBeginCapture(w.work, cudaStreamCaptureModeGlobal));
    assert_int_equal(cudaMalloc(&memory, 4), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(w.work, &graph),
                     cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
    end(&w);
}

static void test_capture__must_be_joined(void **state)
{
    cudaEvent_t forked;
    cudaGraph_t graph;
    world w;

    begin(&w, LX_EMU_FORWARD, false);
    OK(cudaEventCreate(&forked));
    OK(cudaStreamBeginCapture(w.work, cudaStreamCaptureModeGlobal));
    OK(cudaEventRecord(forked, w.work));
    OK(cudaStreamWaitEvent(w.side, forked, 0));
    OK(cudaMemsetAsync(w.x, 0, 4, w.side));
    assert_int_equal(cudaStreamEndCapture(w.work, &graph),
                     cudaErrorStreamCaptureUnjoined);
    cudaGetLastError();
    OK(cudaEventDestroy(forked));
    end(&w);
}

static void test_memory__has_an_end(void **state)
{
    lx_emu_options *options = lx_emu_options_get();
    const uint64_t before = options->memory;
    size_t left, total;
    void *a, *b;

    options->memory = 1 << 20;
    OK(cudaMemGetInfo(&left, &total));
    assert_int_equal(total, 1 << 20);
    OK(cudaMalloc(&a, 700 << 10));
    assert_int_equal(cudaMalloc(&b, 400 << 10), cudaErrorMemoryAllocation);
    OK(cudaFree(a));
    OK(cudaMalloc(&b, 400 << 10));
    assert_ptr_not_equal(a, b); /* an address is given out once */
    OK(cudaFree(b));
    cudaGetLastError();
    options->memory = before;
}

/* 12 GB are counted and no kernel runs: plans of real size. */
static void test_dry__counts_only(void **state)
{
    lx_emu_options *options = lx_emu_options_get();
    const uint64_t launches = lx_emu_counts_get()->launches;
    float *big;
    world w;

    if (lx_emu_is_checked())
        return; /* has no cells for so much */
    begin(&w, LX_EMU_FORWARD, false);
    options->dry = 1;
    OK(cudaMalloc((void **)&big, (size_t)11 << 30));
    OK(cudaMemsetAsync(big, 0, (size_t)11 << 30, w.work));
    lx_cuda_scale_by(w.dev, big, LX_F32, (int64_t)2 << 30, w.factor);
    OK(cudaStreamSynchronize(w.work));
    assert_int_equal(lx_emu_counts_get()->launches, launches + 1);
    assert_true(lx_emu_counts_get()->memory_peak >= (size_t)11 << 30);
    OK(cudaFree(big));
    options->dry = 0;
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams__are_joined_by_events),
        cmocka_unit_test(test_streams__lazy_ones_show_a_missing_event),
        cmocka_unit_test(test_graph__replays_what_was_captured),
        cmocka_unit_test(test_capture__allows_no_allocation),
        cmocka_unit_test(test_capture__must_be_joined),
        cmocka_unit_test(test_memory__has_an_end),
        cmocka_unit_test(test_dry__counts_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
