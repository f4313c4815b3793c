/*
 * The host's side: CUDA's runtime on the processor.
 *
 * Memory comes from one reserved range of addresses and is never given out twice, so that a stale
 * pointer stays wrong; every block ends near a page that faults. Work is queued by stream. Eager
 * streams run it at once, lazy ones when the host waits for something, and then in any order that
 * events allow. A graph keeps its nodes with what they depend on and is replayed in any order that
 * agrees with that.
 */
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <deque>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <vector>

#include "tests/cuda_emulation/ptx.h"
#include "tests/cuda_emulation/state.h"

namespace lx_emu
{

enum class task_kind { kernel, copy, fill, record, wait, host };

/* One thing a stream does. */
struct task {
    task_kind kind;
    job work = {};
    std::shared_ptr<void> owner; /* of the closure */
    dim3 grid, threads;
    size_t shared_bytes = 0;
    void *dst = nullptr;
    const void *src = nullptr;
    size_t bytes = 0;
    int value = 0;
    cudaEvent_t event = nullptr;
    uint64_t ticket = 0;
    cudaHostFn_t call = nullptr;
    std::shared_ptr<std::vector<char>>
        staged;                /* pageable memory as it was when the copy was asked */
    std::vector<size_t> after; /* in a graph: the nodes it depends on */
};

} // namespace lx_emu

using namespace lx_emu;

struct CUgraph_st {
    std::vector<task> nodes;
    CUstream_st *origin;
    bool is_broken = false; /* something was called that a capture does not allow */
};

struct CUgraphExec_st {
    std::vector<task> nodes;
};

struct CUstream_st {
    bool is_blocking = true; /* waits for the legacy stream and it for this one */
    std::deque<task> queue;
    CUgraph_st *graph = nullptr; /* while capturing */
    std::vector<size_t> last;    /* nodes that the next one comes after */
};

struct CUevent_st {
    uint64_t asked = 0, reached = 0;
    double seconds = 0;
    CUgraph_st *graph = nullptr; /* recorded inside a capture */
    std::vector<size_t> last;
};

namespace lx_emu
{

static const size_t RANGE = (size_t)1 << 40, PAGE = 4096;
static char *range, *next_free;
static std::map<char *, size_t> blocks; /* begin -> bytes */
static std::map<char *, size_t> pinned;
static std::map<const void *, size_t>
    dynamic_limits; /* of kernels that asked for more than 48 KiB */
static std::vector<CUstream_st *> streams;
static CUstream_st legacy;
static cudaError_t last_error;

/* ---- settings ------------------------------------------------------------------------ */

static void set_option(const std::string &name, uint64_t value)
{
    const struct {
        const char *name;
        uint64_t *value;
    } all[] = {{"order", &options.order},   {"seed", &options.seed},
               {"lazy", &options.lazy},     {"dry", &options.dry},
               {"memory", &options.memory}, {"optin", &options.optin},
               {"sm", &options.sm},         {"launches", &options.launches},
               {"count", &options.count}};

    for (const auto &o : all)
        if (name == o.name) {
            *o.value = value;
            return;
        }
    fail("LX_CUDA_EMULATION: there is no option %s", name.c_str());
}

static void begin()
{
    const char *text = getenv("LX_CUDA_EMULATION");

    if (range)
        return;
    range = (char *)mmap(nullptr, RANGE, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        fail("cannot reserve addresses for device memory");
    next_free = range;
    streams.push_back(&legacy);
    for (std::string rest = text ? text : ""; !rest.empty();) {
        const std::string one = rest.substr(0, rest.find(','));
        rest = one.size() < rest.size() ? rest.substr(one.size() + 1) : "";
        const size_t equals = one.find('=');
        if (equals == std::string::npos)
            fail("LX_CUDA_EMULATION: %s has no value", one.c_str());
        set_option(one.substr(0, equals), strtoull(one.c_str() + equals + 1, nullptr, 0));
    }
}

/* Before main, and after the variables above: options are read whichever call comes first. */
static const struct early {
    early()
    {
        begin();
    }
} begun;

static cudaError_t done(cudaError_t error)
{
    if (error)
        last_error = error;
    return error;
}

static double seconds()
{
    const auto t = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(t).count();
}

/* ---- memory -------------------------------------------------------------------------- */

bool is_device(const void *p)
{
    return range && (const char *)p >= range && (const char *)p < range + RANGE;
}

bool find_region(region *out, const void *p)
{
    auto i = blocks.upper_bound((char *)p);

    if (i == blocks.begin())
        return false;
    --i;
    *out = {i->first, i->second};
    return true;
}

static bool is_pinned(const void *p)
{
    auto i = pinned.upper_bound((char *)p);
    return i != pinned.begin() && (--i, (char *)p < i->first + i->second);
}

static void check_range(const void *p, size_t bytes, const char *what)
{
    region r;

    if (bytes && is_device(p) &&
        (!find_region(&r, p) || (char *)p + bytes > r.begin + r.bytes))
        tell("out of bounds", "%s of %zu bytes at %p leaves its allocation", what, bytes,
             p);
}

/* ---- running ------------------------------------------------------------------------- */

static void run_copy(const task &t)
{
    const void *src = t.staged ? t.staged->data() : t.src;

    check_range(t.dst, t.bytes, "a copy to the device");
    check_range(t.src, t.bytes, "a copy from the device");
    if (options.dry && (is_device(t.dst) || is_device(t.src))) {
        if (!is_device(t.dst)) /* the same every time, and a number */
            memset(t.dst, 0, t.bytes);
        return;
    }
    if (is_device(t.src))
        check_access(t.src, t.bytes, false, nullptr);
    memmove(t.dst, src, t.bytes);
    if (is_device(t.dst))
        check_access(t.dst, t.bytes, true, nullptr);
}

static void run(const task &t)
{
    switch (t.kind) {
    case task_kind::kernel:
        run_grid(t.work, t.grid, t.threads, t.shared_bytes);
        break;
    case task_kind::copy:
        run_copy(t);
        break;
    case task_kind::fill:
        check_range(t.dst, t.bytes, "memset");
        if (options.dry)
            break;
        memset(t.dst, t.value, t.bytes);
        check_access(t.dst, t.bytes, true, nullptr);
        break;
    case task_kind::record:
        t.event->reached = t.ticket;
        t.event->seconds = seconds();
        break;
    case task_kind::host:
        t.call(t.dst);
        break;
    case task_kind::wait:
        break;
    }
}

static bool step(CUstream_st *s);

/* Runs the stream that records the event, as far as needed. */
static void run_until(cudaEvent_t event, uint64_t ticket)
{
    while (event->reached < ticket) {
        bool has_run = false;
        for (CUstream_st *s : streams) {
            for (const task &t : s->queue)
                if (t.kind == task_kind::record && t.event == event) {
                    has_run = step(s);
                    break;
                }
            if (has_run)
                break;
        }
        if (!has_run)
            fail("waiting for an event that no stream will record");
    }
}

static bool step(CUstream_st *s)
{
    if (s->queue.empty())
        return false;
    task t = std::move(s->queue.front());
    s->queue.pop_front();
    if (t.kind == task_kind::wait)
        run_until(t.event, t.ticket);
    run(t);
    return true;
}

static void run_stream(CUstream_st *s)
{
    while (step(s))
        continue;
}

/* Every stream, or those that wait for the legacy one, taking turns in the order asked for. */
static void run_all(bool only_blocking)
{
    for (bool has_run = true; has_run;) {
        const size_t n = streams.size();
        const size_t first = options.order == LX_EMU_RANDOM    ? draw() % n
                             : options.order == LX_EMU_REVERSE ? n - 1
                                                               : 0;
        has_run = false;
        for (size_t i = 0; i < n && !has_run; i++) {
            CUstream_st *s = streams[(first + i) % n];
            has_run = (s->is_blocking || !only_blocking) && step(s);
        }
    }
}

static CUstream_st *stream_of(cudaStream_t s)
{
    begin();
    return s ? s : &legacy;
}

static bool is_capturing()
{
    for (const CUstream_st *s : streams)
        if (s->graph)
            return true;
    return false;
}

/* What must not be called while a stream captures. */
static bool refuse_capture()
{
    begin();
    if (!is_capturing())
        return false;
    for (CUstream_st *s : streams)
        if (s->graph)
            s->graph->is_broken = true;
    done(cudaErrorStreamCaptureUnsupported);
    return true;
}

static cudaError_t put(cudaStream_t stream, task &&t)
{
    CUstream_st *s = stream_of(stream);

    if (s->graph) {
        t.after = s->last;
        s->last.assign(1, s->graph->nodes.size());
        s->graph->nodes.push_back(std::move(t));
        return cudaSuccess;
    }
    if (s == &legacy)
        run_all(true);
    else if (s->is_blocking)
        run_stream(&legacy);
    s->queue.push_back(std::move(t));
    if (!options.lazy)
        run_stream(s);
    return cudaSuccess;
}

/* ---- launches ------------------------------------------------------------------------ */

/* "attend<lx_f16, 40>" of "void attend<lx_f16, 40>(lx_f16*, ...)". */
static std::string short_name(const char *mangled)
{
    char *whole = abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr);
    std::string text = whole ? whole : mangled;

    free(whole);
    if (text.compare(0, 5, "void ") == 0)
        text = text.substr(5);
    return text.substr(0, text.find('('));
}

const char *full_name(const job &work)
{
    static std::map<const void *, std::string> names;
    std::string &known = names[work.function];
    Dl_info symbol;

    if (known.empty())
        known = dladdr(work.function, &symbol) && symbol.dli_sname
                    ? short_name(symbol.dli_sname)
                    : work.name;
    return known.c_str();
}

/* What was launched, told at the end: name, times, threads of a block, dynamic shared memory. */
struct launch_table {
    struct row {
        uint64_t times = 0;
        unsigned threads = 0; /* the most, as is shared_bytes */
        size_t shared_bytes = 0;
    };
    std::map<std::string, row> rows;

    ~launch_table()
    {
        for (const auto &r : rows)
            fprintf(stderr, "launch|%s|%llu|%u|%zu\n", r.first.c_str(),
                    (unsigned long long)r.second.times, r.second.threads,
                    r.second.shared_bytes);
        if (!rows.empty())
            fprintf(stderr, "memory|%zu\n", counts.memory_peak);
    }
};

void note_launch(const char *name, unsigned threads, size_t shared_bytes)
{
    static launch_table all;
    launch_table::row &r = all.rows[name];

    r.times++;
    r.threads = std::max(r.threads, threads);
    r.shared_bytes = std::max(r.shared_bytes, shared_bytes);
}

/* A kernel whose body was translated from nvcc's PTX, with its parameters as the device gets them. */
struct ptx_call {
    ptx_body body;
    alignas(16) unsigned char parameters[4096];

    static void call(void *self)
    {
        ptx_call *c = (ptx_call *)self;
        c->body(c->parameters);
    }
};

static void use_ptx(task *t, size_t (*pack)(void *, unsigned char *), void *closure)
{
    Dl_info symbol;
    const ptx_kernel *kernel;

    if (!ptx_any() || !dladdr(t->work.function, &symbol) || !symbol.dli_sname ||
        !(kernel = ptx_find(symbol.dli_sname)))
        return;
    auto call = std::make_shared<ptx_call>();
    call->body = kernel->body;
    if (pack(closure, call->parameters) != kernel->bytes)
        fail("launch of %s: its parameters differ from those of the PTX",
             symbol.dli_sname);
    t->work = {t->work.name, t->work.function, ptx_call::call, call.get(), sizeof *call};
    t->owner = call;
    counts.ptx_launches++;
}

cudaError_t launch(const job &work, void (*drop)(void *),
                   size_t (*pack)(void *, unsigned char *), dim3 grid, dim3 threads,
                   size_t shared_bytes, cudaStream_t stream)
{
    task t{task_kind::kernel};
    const uint64_t n = (uint64_t)threads.x * threads.y * threads.z;
    const auto limit = dynamic_limits.find(work.function);

    begin();
    t.work = work;
    t.owner = std::shared_ptr<void>(work.closure, drop);
    t.grid = grid;
    t.threads = threads;
    t.shared_bytes = shared_bytes;
    if (!n || n > MOST_THREADS || threads.z > 64 || !grid.x || !grid.y || !grid.z ||
        grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
        return done(cudaErrorInvalidConfiguration);
    if (shared_bytes > (limit == dynamic_limits.end() ? (size_t)48 << 10 : limit->second))
        return done(cudaErrorInvalidValue);
    use_ptx(&t, pack, work.closure);
    return put(stream, std::move(t));
}

/* A graph's nodes in an order that agrees with what they depend on. */
static void replay(const std::vector<task> &nodes, cudaStream_t stream)
{
    std::vector<size_t> waits(nodes.size()), ready;
    std::vector<std::vector<size_t>> followers(nodes.size());

    for (size_t i = 0; i < nodes.size(); i++) {
        waits[i] = nodes[i].after.size();
        for (size_t before : nodes[i].after)
            followers[before].push_back(i);
        if (!waits[i])
            ready.push_back(i);
    }
    while (!ready.empty()) {
        const size_t at = options.order == LX_EMU_RANDOM    ? draw() % ready.size()
                          : options.order == LX_EMU_REVERSE ? ready.size() - 1
                                                            : 0;
        const size_t node = ready[at];
        ready.erase(ready.begin() + (long)at);
        put(stream, task(nodes[node]));
        for (size_t next : followers[node])
            if (!--waits[next])
                ready.push_back(next);
    }
}

} // namespace lx_emu

/* ---- CUDA's names -------------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    begin();
    return device ? done(cudaErrorInvalidDevice) : cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

/* An RTX 3060, but for what the options say. */
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = MOST_THREADS;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = 48 << 10;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)options.optin;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)options.optin + 1024;
        break;
    case cudaDevAttrWarpSize:
        *value = 32;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = 28;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = 1536;
        break;
    case cudaDevAttrClockRate:
        *value = 1777000;
        break;
    case cudaDevAttrMemoryClockRate:
        *value = 7501000;
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = 192;
        break;
    case cudaDevAttrL2CacheSize:
        *value = 3 << 20;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = (int)options.sm / 10;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = (int)options.sm % 10;
        break;
    case cudaDevAttrIntegrated:
        *value = 0;
        break;
    default:
        return done(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int)
{
    *out = {"an emulated GPU", options.memory, 28};
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *total = options.memory;
    *free_bytes = options.memory - counts.memory_now;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    const size_t whole = (bytes + PAGE - 1) / PAGE * PAGE;

    if (refuse_capture())
        return last_error;
    if (bytes > options.memory - counts.memory_now ||
        whole > (size_t)(range + RANGE - next_free) - PAGE)
        return done(cudaErrorMemoryAllocation);
    char *pages = next_free;
    next_free += whole + PAGE;
    if (whole && mprotect(pages, whole, PROT_READ | PROT_WRITE))
        return done(cudaErrorMemoryAllocation);
    char *p = pages + (whole - bytes) / 256 *
                          256; /* aligned, and as near the end as that allows */
    blocks[p] = bytes;
    counts.memory_now += bytes;
    counts.memory_peak = std::max(counts.memory_peak, counts.memory_now);
    check_allocated(p, bytes);
    *out = p;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
    if (!memory)
        return cudaSuccess;
    if (refuse_capture())
        return last_error;
    run_all(false);
    auto block = blocks.find((char *)memory);
    if (block == blocks.end()) {
        tell("free", "cudaFree(%p), where no allocation begins", memory);
        return done(cudaErrorInvalidValue);
    }
    const size_t bytes = block->second;
    char *pages = (char *)((uintptr_t)memory / PAGE * PAGE);
    counts.memory_now -= bytes;
    check_freed(memory, bytes);
    if (bytes)
        mmap(pages, (bytes + (size_t)((char *)memory - pages) + PAGE - 1) / PAGE * PAGE,
             PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    blocks.erase(block);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    *out = aligned_alloc(PAGE, (bytes + PAGE) / PAGE * PAGE);
    if (!*out)
        return done(cudaErrorMemoryAllocation);
    pinned[(char *)*out] = bytes;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    return cudaHostAlloc(out, bytes, 0);
}

cudaError_t cudaFreeHost(void *memory)
{
    run_all(false);
    pinned.erase((char *)memory);
    free(memory);
    return cudaSuccess;
}

static bool fits(void *dst, const void *src, cudaMemcpyKind kind)
{
    const bool to = is_device(dst), from = is_device(src);

    switch (kind) {
    case cudaMemcpyHostToHost:
        return !to && !from;
    case cudaMemcpyHostToDevice:
        return to && !from;
    case cudaMemcpyDeviceToHost:
        return !to && from;
    case cudaMemcpyDeviceToDevice:
        return to && from;
    case cudaMemcpyDefault:
        break;
    }
    return true;
}

/* With pageable memory the call returns when its bytes have been taken, or have come. */
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    task t{task_kind::copy};

    begin();
    if (bytes && !fits(dst, src, kind)) {
        tell("copy", "kind %d does not fit the addresses %p <- %p", (int)kind, dst, src);
        return done(cudaErrorInvalidMemcpyDirection);
    }
    t.dst = dst;
    t.src = src;
    t.bytes = bytes;
    const bool is_pageable_source = !is_device(src) && !is_pinned(src);
    const bool is_pageable_target = !is_device(dst) && !is_pinned(dst);
    if (stream_of(stream)->graph) {
        if (is_pageable_source || is_pageable_target)
            tell("copy", "a graph keeps the address of pageable memory (%p <- %p)", dst,
                 src);
        return put(stream, std::move(t));
    }
    if (is_pageable_source && options.lazy && !options.dry)
        t.staged = std::make_shared<std::vector<char>>((const char *)src,
                                                       (const char *)src + bytes);
    cudaError_t error = put(stream, std::move(t));
    if (is_pageable_target)
        run_stream(stream_of(stream));
    return error;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
    lx_emu_note("host waits: stream");
    if (refuse_capture())
        return last_error;
    cudaError_t error = cudaMemcpyAsync(dst, src, bytes, kind, nullptr);
    run_stream(&legacy);
    return error;
}

cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes, cudaStream_t stream)
{
    task t{task_kind::fill};

    t.dst = dst;
    t.value = value;
    t.bytes = bytes;
    return put(stream, std::move(t));
}

cudaError_t cudaMemset(void *dst, int value, size_t bytes)
{
    return refuse_capture() ? last_error : cudaMemsetAsync(dst, value, bytes, nullptr);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    begin();
    *out = new CUstream_st;
    (*out)->is_blocking = !(flags & cudaStreamNonBlocking);
    streams.push_back(*out);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    return cudaStreamCreateWithFlags(out, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    run_stream(stream);
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream)
            streams.erase(streams.begin() + (long)i--);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    lx_emu_note("host waits: stream");
    if (refuse_capture())
        return last_error;
    run_stream(stream_of(stream));
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return stream_of(stream)->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize(void)
{
    lx_emu_note("host waits: stream");
    if (refuse_capture())
        return last_error;
    run_all(false);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new CUevent_st;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    return cudaEventCreateWithFlags(out, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    run_all(false);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    task t{task_kind::record};
    CUstream_st *s = stream_of(stream);

    event->graph = s->graph;
    if (s->graph) { /* a point in the graph, not a node of it */
        event->last = s->last;
        return cudaSuccess;
    }
    t.event = event;
    t.ticket = ++event->asked;
    return put(stream, std::move(t));
}

/* Inside a capture the waiting stream joins it. */
static cudaError_t join_capture(CUstream_st *s, cudaEvent_t event)
{
    if (s->graph && s->graph != event->graph)
        return done(cudaErrorIllegalState);
    if (!s->graph) {
        s->graph = event->graph;
    }
    for (size_t node : event->last)
        s->last.push_back(node);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    task t{task_kind::wait};
    CUstream_st *s = stream_of(stream);

    if (event->graph)
        return join_capture(s, event);
    if (s->graph)
        return done(cudaErrorIllegalState);
    t.event = event;
    t.ticket = event->asked;
    return put(stream, std::move(t));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    lx_emu_note("host waits: event");
    if (refuse_capture())
        return last_error;
    run_until(event, event->asked);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return event->reached >= event->asked ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    if (cudaEventQuery(start) || cudaEventQuery(end))
        return cudaErrorNotReady;
    *milliseconds = (float)((end->seconds - start->seconds) * 1e3);
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *user)
{
    task t{task_kind::host};

    t.call = function;
    t.dst = user;
    return put(stream, std::move(t));
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
    if (!stream || stream->graph)
        return done(cudaErrorIllegalState);
    run_stream(stream);
    stream->graph = new CUgraph_st{{}, stream};
    stream->last.clear();
    return cudaSuccess;
}

/* Every node that nothing comes after must be one that the origin waits for. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    CUgraph_st *graph = stream ? stream->graph : nullptr;

    if (!graph || graph->origin != stream)
        return done(cudaErrorStreamCaptureUnmatched);
    std::vector<bool> has_follower(graph->nodes.size());
    for (const task &t : graph->nodes)
        for (size_t before : t.after)
            has_follower[before] = true;
    for (size_t last : stream->last)
        has_follower[last] = true;
    for (CUstream_st *s : streams)
        if (s->graph == graph)
            s->graph = nullptr, s->last.clear();
    *out = nullptr;
    cudaError_t error =
        graph->is_broken ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
    for (bool has : has_follower)
        if (!has)
            error = cudaErrorStreamCaptureUnjoined;
    if (error) {
        delete graph;
        return done(error);
    }
    *out = graph;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status)
{
    *status = stream_of(stream)->graph ? cudaStreamCaptureStatusActive
                                       : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    if (nodes)
        return done(cudaErrorInvalidValue); /* only the number is told */
    *count = graph->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph,
                                 unsigned long long)
{
    *out = new CUgraphExec_st{graph->nodes};
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    replay(exec->nodes, stream);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    run_all(false);
    delete exec;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute,
                                 int value)
{
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
        return cudaSuccess;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        (uint64_t)value > options.optin)
        return done(cudaErrorInvalidValue);
    dynamic_limits[function] = (size_t)value;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorInvalidValue:
        return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    case cudaErrorStreamCaptureUnsupported:
        return "cudaErrorStreamCaptureUnsupported";
    default:
        return "another error";
    }
}

const char *cudaGetErrorString(cudaError_t error)
{
    return cudaGetErrorName(error);
}

void lx_emu_mark(const void *memory, size_t bytes, bool is_defined)
{
    check_defined(memory, bytes, is_defined);
}

void lx_emu_note(const char *name)
{
    counts.notes++;
    if (options.launches)
        note_launch(name, 0, 0);
}
