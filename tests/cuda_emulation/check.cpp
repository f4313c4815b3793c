/*
 * The access checker: races, reads of bytes never written, addresses outside memory, host pointers.
 *
 * Kernels are compiled with -fsanitize=thread but linked with the hooks below in place of its
 * library, so every load and store of the unchanged source comes here with its address and its place
 * in the code. Four bytes of memory have a cell: who wrote them last, two who read them last, and
 * which of the bytes have been written.
 *
 * What orders two accesses: __syncthreads inside a block, __syncwarp inside a warp, the end of a
 * kernel between kernels. Shuffles and votes order nothing. Two blocks of one launch are never
 * ordered; atomics may meet atomics.
 *
 * Source of the hooks' names: GCC's tsan instrumentation (gcc/tsan.cc). The idea of checking a
 * kernel's accesses on a processor: Oclgrind (Price and McIntosh-Smith 2015).
 */
#include <cstdio>
#include <cstdlib>
#include <link.h>
#include <set>
#include <string>
#include <sys/mman.h>
#include <tuple>
#include <unistd.h>

#include "tests/cuda_emulation/state.h"
#include "tests/cuda_emulation/traffic.h"

extern "C" char __executable_start, __data_start, _end;

namespace lx_emu
{

/* One access to a cell. */
struct access {
    uint32_t block; /* counted over all launches; 0 = none */
    uint32_t barriers, syncs, place;
    uint16_t thread;
    uint8_t bytes; /* which of the four */
    bool is_atomic;
};

struct cell {
    access write, read, other_read; /* other_read: of another warp or block than read */
    uint32_t block;                 /* shared memory: whose bytes `written` speaks of */
    uint8_t written;
    bool is_allocated; /* all four bytes */
};

/* Device memory that can be checked: the first 16 GiB that are given out. */
static const size_t MOST_HEAP = (size_t)16 << 30;
static cell *heap_cells, *shared_cells, *static_cells;
static const char *heap, *heap_end, *shared, *shared_end, *statics, *statics_end;
static const char *arguments, *arguments_end;
static uint32_t block_now, first_of_grid;

static cell *new_cells(size_t bytes)
{
    void *p = mmap(nullptr, bytes / 4 * sizeof(cell), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        fail("no addresses for the checker's cells");
    return (cell *)p;
}

/* __shared__ variables are thread_local: the program's TLS segment. */
static int find_statics(struct dl_phdr_info *info, size_t, void *)
{
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_data) {
            statics = (const char *)((uintptr_t)info->dlpi_tls_data & ~(uintptr_t)3);
            statics_end = (const char *)info->dlpi_tls_data + info->dlpi_phdr[i].p_memsz;
        }
    return 1; /* the program itself comes first */
}

static void begin()
{
    if (shared_cells)
        return;
    dl_iterate_phdr(find_statics, nullptr);
    static_cells = new_cells((size_t)(statics_end - statics) + 8);
    shared_cells = new_cells(SHARED_BYTES);
}

/* ---- telling ------------------------------------------------------------------------- */

/* "file:line < file:line ...", innermost first, without the dialect's own lines. */
static std::string source_of(uint32_t place)
{
    char command[600], program[400], line[300];
    if (!place)
        return current->at.file + (":" + std::to_string(current->at.line));
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    std::string text;

    program[n > 0 ? n : 0] = 0;
    snprintf(command, sizeof command, "addr2line -s -i -e '%s' 0x%x 2>/dev/null", program,
             place - 1);
    FILE *pipe = popen(command, "r");
    while (pipe && fgets(line, sizeof line, pipe)) {
        line[strcspn(line, " \n")] = 0;
        if (strstr(line, "emulation.h") || strstr(line, "dialect.cuh") ||
            strstr(line, "ptx_body.h") || text.size() > 150)
            continue;
        text += (text.empty() ? "" : " < ") + std::string(line);
    }
    if (pipe)
        pclose(pipe);
    return text.empty() ? "an unknown place" : text;
}

static std::string memory_of(const char *p)
{
    char text[200];
    region r;

    if (is_device(p) && find_region(&r, p))
        snprintf(text, sizeof text, "device memory of %zu bytes, offset %ld", r.bytes,
                 (long)(p - r.begin));
    else if (is_device(p))
        snprintf(text, sizeof text, "device address %p", (const void *)p);
    else if (p >= shared && p < shared_end + 4096)
        snprintf(text, sizeof text, "dynamic shared memory, offset %ld of %ld",
                 (long)(p - shared), (long)(shared_end - shared));
    else if (p >= statics && p < statics_end)
        snprintf(text, sizeof text, "static shared memory");
    else
        snprintf(text, sizeof text, "host address %p", (const void *)p);
    return text;
}

/* Each pair of places once. */
static void tell_access(const char *kind, const char *what, const char *p, uint32_t place,
                        const access *other)
{
    static std::set<std::tuple<std::string, uint32_t, uint32_t>> told;

    if (!told.insert({kind, place, other ? other->place : 0}).second)
        return;
    if (other)
        tell(kind, "%s at %s, %s; thread %u of %s block was at %s", what,
             source_of(place).c_str(), memory_of(p).c_str(), other->thread,
             other->block == block_now ? "this" : "another",
             source_of(other->place).c_str());
    else
        tell(kind, "%s at %s, %s", what, source_of(place).c_str(), memory_of(p).c_str());
}

/* ---- one access ---------------------------------------------------------------------- */

/* Did it happen before what the running thread does now, whatever the order? */
static bool is_before(const access &a, bool is_heap)
{
    if (a.block != block_now)
        return !is_heap || a.block < first_of_grid;
    if (a.thread == current->number || a.barriers != barriers)
        return true;
    return a.thread / 32 == current->number / 32 && a.syncs < current->its_warp->syncs;
}

enum access_kind {
    READ,
    WRITE,
    ATOMIC,
    PROMISE /* a copy in the background will write */
};

static void check_cell(cell *c, const char *p, uint8_t bytes, access_kind kind,
                       bool is_heap, uint32_t place)
{
    const access now = {block_now,     barriers,        current->its_warp->syncs,
                        place,         current->number, bytes,
                        kind == ATOMIC};

    if (!is_heap && c->block != block_now) {
        c->written = 0;
        c->block = block_now;
    }
    if ((kind == READ || kind == ATOMIC) && (c->written & bytes) != bytes)
        tell_access("uninitialised", kind == READ ? "a read" : "an atomic", p, place,
                    nullptr);
    if (c->write.bytes & bytes && !(kind == ATOMIC && c->write.is_atomic) &&
        !is_before(c->write, is_heap))
        tell_access("race",
                    kind == READ ? "a read after a write" : "a write after a write", p,
                    place, &c->write);
    if (kind == READ) {
        if (c->read.block != block_now || c->read.thread / 32 != current->number / 32)
            c->other_read = c->read;
        c->read = now;
        return;
    }
    if (c->read.bytes & bytes && !is_before(c->read, is_heap))
        tell_access("race", "a write after a read", p, place, &c->read);
    else if (c->other_read.bytes & bytes && !is_before(c->other_read, is_heap))
        tell_access("race", "a write after a read", p, place, &c->other_read);
    c->write = now;
    c->written = (uint8_t)(kind == PROMISE ? c->written & ~bytes : c->written | bytes);
}

/* Memory that is neither the device's nor shared: locals, parameters and constants are fine. */
static bool is_private(const char *p, bool is_write)
{
    const char *stack = (const char *)current->stack;

    if ((p >= stack && p < stack + STACK_BYTES) || is_own(p))
        return true;
    if (p >= arguments && p < arguments_end)
        return !is_write;
    return !is_write && p >= &__executable_start && p < &__data_start;
}

/* The cells that speak of p, and the address the first of them is for; NULL where there are none. */
static cell *find_cells(const char **first, const char *p, size_t bytes, bool *is_out)
{
    region r;

    *is_out = false;
    if (is_device(p)) {
        *first = heap;
        if (p < heap || p + bytes > heap_end) {
            *is_out = true;
            return nullptr;
        }
        const cell *begin = &heap_cells[(p - heap) / 4],
                   *end = &heap_cells[(p + bytes - 1 - heap) / 4];
        if (!begin->is_allocated || !end->is_allocated)
            *is_out = !find_region(&r, p) || p + bytes > r.begin + r.bytes;
        return heap_cells;
    }
    if (p >= shared && p < shared_end + 128) {
        *first = shared;
        *is_out = p + bytes > shared_end;
        return shared_cells;
    }
    *first = statics;
    return p >= statics && p < statics_end ? static_cells : nullptr;
}

static void check(const char *p, size_t bytes, access_kind kind, uint32_t place)
{
    const char *what = kind == READ ? "a read" : "a write", *first;
    bool is_out;
    cell *cells = find_cells(&first, p, bytes, &is_out);

    if (is_out) {
        tell_access("out of bounds", what, p, place, nullptr);
        return;
    }
    if (!cells) {
        if (!is_private(p, kind != READ))
            tell_access("host memory", what, p, place, nullptr);
        return;
    }
    if (options.count && kind != PROMISE) /* the bytes of a promise come here once more */
        traffic_add(place, current->number, p, bytes,
                    {cells != heap_cells, kind != READ});
    for (const char *end = p + bytes; p < end;) {
        const size_t at = (size_t)(p - first), skip = at & 3;
        const size_t n = std::min((size_t)(end - p), 4 - skip);
        check_cell(&cells[at / 4], p, (uint8_t)(((1u << n) - 1) << skip), kind,
                   is_device(p), place);
        p += n;
    }
}

static uint32_t place_of(const void *address)
{
    return (uint32_t)((const char *)address - &__executable_start);
}

#define PLACE place_of(__builtin_return_address(0))

/* ---- what the other files tell ------------------------------------------------------- */

void check_block(bool is_first, const void *closure, size_t bytes)
{
    begin();
    note_pack = options.count ? traffic_pack : nullptr;
    block_now++;
    if (is_first)
        first_of_grid = block_now;
    arguments = (const char *)closure;
    arguments_end = arguments + bytes;
}

void check_block_end()
{
    if (options.count)
        traffic_end_block();
}

void check_grid_end(const job &work)
{
    if (options.count)
        traffic_end_grid(full_name(work));
}

void check_shared(unsigned char *p, size_t bytes)
{
    shared = (const char *)p;
    shared_end = shared + bytes;
}

void check_allocated(void *p, size_t bytes)
{
    begin();
    if (!heap) {
        heap = (const char *)((uintptr_t)p & ~(uintptr_t)4095);
        heap_cells = new_cells(MOST_HEAP);
    }
    heap_end = (const char *)p + bytes;
    if (heap_end > heap + MOST_HEAP)
        fail("more device memory than the checker can watch");
    for (size_t i = 0; i < bytes / 4; i++)
        heap_cells[((const char *)p - heap) / 4 + (ptrdiff_t)i].is_allocated = true;
}

void check_freed(void *p, size_t bytes)
{
    memset((void *)&heap_cells[((const char *)p - heap) / 4], 0,
           (bytes + 3) / 4 * sizeof(cell));
}

void check_access(const void *p, size_t bytes, bool is_write, const void *from)
{
    if (current)
        check((const char *)p, bytes, is_write ? WRITE : READ, from ? place_of(from) : 0);
    else if (is_write)
        check_defined(p, bytes,
                      true); /* copies and fills come before what is launched later */
}

void check_async_begun(const void *dst, size_t bytes, const void *from)
{
    check((const char *)dst, bytes, PROMISE, place_of(from));
}

void check_defined(const void *p, size_t bytes, bool is_defined)
{
    const char *c = (const char *)p;

    if (!is_device(p) || options.dry)
        return;
    for (size_t i = 0; i < bytes; i++) {
        cell *of = &heap_cells[(c + i - heap) / 4];
        const unsigned bit = 1u << ((c + i - heap) & 3);
        of->written = (uint8_t)(is_defined ? of->written | bit : of->written & ~bit);
    }
}

void touch_atomic(const void *p, size_t bytes)
{
    if (current)
        check((const char *)p, bytes, ATOMIC, PLACE);
}

/* An access whose address the compiler took to be a multiple of its size. */
static void check_aligned(void *p, size_t bytes, access_kind kind, uint32_t place)
{
    if (!current)
        return;
    if ((uintptr_t)p & (bytes - 1) && !is_private((const char *)p, kind != READ))
        tell_access("misaligned", kind == READ ? "a read" : "a write", (const char *)p,
                    place, nullptr);
    check((const char *)p, bytes, kind, place);
}

static void check_any(void *p, size_t bytes, access_kind kind, uint32_t place)
{
    if (current)
        check((const char *)p, bytes, kind, place);
}

} // namespace lx_emu

bool lx_emu_is_checked(void)
{
    return true;
}

/* ---- the hooks ----------------------------------------------------------------------- */

using namespace lx_emu;

#define HOOKS(n)                                      \
    extern "C" void __tsan_read##n(void *p)           \
    {                                                 \
        check_aligned(p, n, READ, PLACE);             \
    }                                                 \
    extern "C" void __tsan_write##n(void *p)          \
    {                                                 \
        check_aligned(p, n, WRITE, PLACE);            \
    }                                                 \
    extern "C" void __tsan_volatile_read##n(void *p)  \
    {                                                 \
        check_aligned(p, n, READ, PLACE);             \
    }                                                 \
    extern "C" void __tsan_volatile_write##n(void *p) \
    {                                                 \
        check_aligned(p, n, WRITE, PLACE);            \
    }

HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

#define UNALIGNED_HOOKS(n)                             \
    extern "C" void __tsan_unaligned_read##n(void *p)  \
    {                                                  \
        check_any(p, n, READ, PLACE);                  \
    }                                                  \
    extern "C" void __tsan_unaligned_write##n(void *p) \
    {                                                  \
        check_any(p, n, WRITE, PLACE);                 \
    }

UNALIGNED_HOOKS(2)
UNALIGNED_HOOKS(4)
UNALIGNED_HOOKS(8)
UNALIGNED_HOOKS(16)

extern "C" void __tsan_read_range(void *p, unsigned long bytes)
{
    check_any(p, bytes, READ, PLACE);
}

extern "C" void __tsan_write_range(void *p, unsigned long bytes)
{
    check_any(p, bytes, WRITE, PLACE);
}

extern "C" void __tsan_func_entry(void *)
{
}

extern "C" void __tsan_func_exit(void)
{
}

extern "C" void __tsan_init(void)
{
}

extern "C" void __tsan_vptr_update(void **, void *)
{
}

extern "C" void __tsan_vptr_read(void **)
{
}
