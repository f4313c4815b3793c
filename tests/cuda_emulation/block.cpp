/*
 * Runs a grid: blocks one after another, a block's threads as fibers.
 *
 * A thread runs until it must wait. One that ends goes on as the next thread that has not begun, on
 * the same stack, so that a kernel without barriers never switches.
 */
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include "tests/cuda_emulation/state.h"

namespace lx_emu
{

lx_emu_options options = {0, 1, 0, 0, (uint64_t)64 << 30, 99 << 10, 86, 0, 0};
lx_emu_counts counts;
thread *current;
void (*note_pack)(const void *p, size_t bytes);
uint32_t barriers;

static unsigned n_faults;
static const char *name = "?";

/* The block that runs. */
static struct {
    thread threads[MOST_THREADS];
    warp warps[MOST_THREADS / 32];
    block shape;
    const job *work;
    void *host_stack;
    unsigned n_threads, n_warps, alive, waiting, votes, last_votes, turn;
    unsigned char *shared; /* ends at a page that faults */
} now;
static std::vector<void *> spare_stacks;

uint64_t draw()
{
    static uint64_t state;
    if (!state)
        state = options.seed * 0x9E3779B97F4A7C15u | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

const char *kernel_name()
{
    return name;
}

const thread *thread_of(unsigned number)
{
    return &now.threads[number];
}

/* ---- faults -------------------------------------------------------------------------- */

static void put_place(char *text, size_t n)
{
    if (!current) {
        snprintf(text, n, "host");
        return;
    }
    const uint3 b = current->home->index, t = current->index;
    snprintf(text, n, "kernel %s block (%u,%u,%u) thread (%u,%u,%u)", name, b.x, b.y, b.z,
             t.x, t.y, t.z);
}

static void tell_list(const char *kind, const char *format, va_list list)
{
    char place[256], what[1024];

    put_place(place, sizeof place);
    vsnprintf(what, sizeof what, format, list);
    fprintf(stderr, "cuda emulation: %s: %s: %s\n", kind, place, what);
    n_faults++;
}

void tell(const char *kind, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    tell_list(kind, format, list);
    va_end(list);
}

void fail(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    tell_list("fatal", format, list);
    va_end(list);
    exit(LX_EMU_FATAL_STATUS);
}

void fail_alignment(const void *p, size_t bytes)
{
    fail("misaligned: %zu bytes at once at %p", bytes, p);
}

/* ---- fibers -------------------------------------------------------------------------- */

#if defined(__x86_64__)

/* Saves the registers a call keeps, and continues where `to` was saved. */
extern "C" void lx_emu_switch(void **from, void *to);
asm(".text\n.globl lx_emu_switch\n.type lx_emu_switch,@function\nlx_emu_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
    ".size lx_emu_switch,.-lx_emu_switch\n");

static void *fresh_fiber(void *stack, void (*begin)())
{
    void **top = (void **)((char *)stack + STACK_BYTES);

    *--top = nullptr; /* begin finds the stack as after a call */
    *--top = (void *)begin;
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    return top;
}

#else

static void lx_emu_switch(void **from, void *to)
{
    ucontext_t *here = new ucontext_t;

    *from = here;
    swapcontext(here, (ucontext_t *)to);
    delete here; /* whoever came back here is done with it */
}

static void *fresh_fiber(void *stack, void (*begin)())
{
    ucontext_t *fiber = new ucontext_t;

    getcontext(fiber);
    fiber->uc_stack = {stack, 0, STACK_BYTES};
    fiber->uc_link = nullptr;
    makecontext(fiber, begin, 0);
    return fiber;
}

#endif

static void *take_stack()
{
    if (!spare_stacks.empty()) {
        void *stack = spare_stacks.back();
        spare_stacks.pop_back();
        return stack;
    }
    char *memory = (char *)mmap(nullptr, STACK_BYTES + 4096, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fail("no memory for a fiber's stack");
    mprotect(memory, 4096, PROT_NONE);
    return memory + 4096;
}

/* A lane of `ready`, in the order asked for. */
static int choose_lane(unsigned ready)
{
    if (options.order == LX_EMU_FORWARD)
        return __builtin_ctz(ready);
    if (options.order == LX_EMU_REVERSE)
        return 31 - __builtin_clz(ready);
    int lane = (int)(draw() & 31);
    while (!(ready >> lane & 1))
        lane = (lane + 1) & 31;
    return lane;
}

/* The next thread to run; NULL when all wait. */
static thread *choose()
{
    const unsigned n = now.n_warps;
    unsigned w = options.order == LX_EMU_RANDOM ? (unsigned)(draw() % n) : now.turn;

    for (unsigned i = 0; i < n; i++) {
        if (now.warps[w].ready) {
            now.turn = w;
            return now.warps[w].lanes + choose_lane(now.warps[w].ready);
        }
        w = options.order == LX_EMU_REVERSE ? (w + n - 1) % n : (w + 1) % n;
    }
    return nullptr;
}

static void run_thread();

static void begin_fiber(thread *t)
{
    t->stack = take_stack();
    t->stack_pointer = fresh_fiber(t->stack, run_thread);
}

[[noreturn]] static void all_wait()
{
    const thread *shown = nullptr;

    for (unsigned i = 0; i < now.n_threads; i++) {
        const thread *t = &now.threads[i];
        if (t->is_done ||
            (shown && shown->at.line == t->at.line && shown->at.file == t->at.file))
            continue;
        fprintf(stderr, "  thread %u and those after it wait at %s:%d\n", i, t->at.file,
                t->at.line);
        shown = t;
    }
    fail("deadlock in %s: %u threads left, %u of them at a barrier of the block", name,
         now.alive, now.waiting);
}

/* The running thread waits; another runs until this one is chosen again. */
static void give_way()
{
    thread *self = current, *next = choose();

    if (!next)
        all_wait();
    if (next == self)
        return;
    if (!next->stack)
        begin_fiber(next);
    counts.switches++;
    current = next;
    lx_emu_switch(&self->stack_pointer, next->stack_pointer);
}

/* A thread has returned: nobody may still expect it. */
static void leave(thread *t)
{
    warp *w = t->its_warp;
    const unsigned bit = 1u << t->lane;

    if (t->copies) {
        tell("cp.async", "the thread ends with %u copies that it did not wait for",
             t->copies);
        copy_commit();
        copy_wait(0);
    }
    for (int i = 0; i < w->n_groups; i++)
        if (w->groups[i].mask & bit)
            fail("the thread returned, but lanes 0x%x wait for it at %s:%d",
                 w->groups[i].arrived, w->groups[i].at.file, w->groups[i].at.line);
    if (now.waiting)
        fail("the thread returned while %u threads of its block wait at a barrier",
             now.waiting);
    t->is_done = true;
    w->ready &= ~bit;
    w->returned |= bit;
    now.alive--;
}

/* A fiber: the thread it was begun for, then others that have not begun. */
static void run_thread()
{
    for (;;) {
        thread *self = current;
        void *unused, *stack;

        now.work->call(now.work->closure);
        leave(self);
        stack = self->stack;
        thread *next = now.alive ? choose() : nullptr;
        if (now.alive && !next)
            all_wait();
        if (next && !next->stack) {
            next->stack = stack;
            current = next;
            continue;
        }
        spare_stacks.push_back(stack);
        counts.switches++;
        current = next;
        lx_emu_switch(&unused, next ? next->stack_pointer : now.host_stack);
    }
}

/* ---- meetings ------------------------------------------------------------------------ */

static bool is_same(site a, site b)
{
    return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file));
}

static void release_block(site at)
{
    if (now.alive < now.n_threads)
        fail("__syncthreads at %s:%d with %u threads of the block already returned",
             at.file, at.line, now.n_threads - now.alive);
    for (unsigned i = 0; i < now.n_threads; i++)
        if (!is_same(now.threads[i].at, at))
            fail("barriers diverge: this thread is at %s:%d, thread %u at %s:%d", at.file,
                 at.line, i, now.threads[i].at.file, now.threads[i].at.line);
    now.waiting = 0;
    now.last_votes = now.votes;
    now.votes = 0;
    for (unsigned i = 0; i < now.n_warps; i++)
        now.warps[i].ready = now.warps[i].exist & ~now.warps[i].returned;
    barriers++;
}

int wait_for_block(int vote, site at)
{
    thread *self = current;
    warp *w = self->its_warp;

    counts.collectives++;
    for (int i = 0; i < w->n_groups; i++)
        if (w->groups[i].mask >> self->lane & 1)
            fail("__syncthreads at %s:%d while lanes 0x%x of the warp wait at %s:%d",
                 at.file, at.line, w->groups[i].arrived, w->groups[i].at.file,
                 w->groups[i].at.line);
    self->at = at;
    now.votes += vote != 0;
    if (++now.waiting < now.alive) {
        w->ready &= ~(1u << self->lane);
        give_way();
    } else {
        release_block(at);
    }
    return (int)now.last_votes;
}

/* The group that waits for these lanes here, or NULL; a group that overlaps otherwise is a fault. */
static group *find_group(warp *w, meeting end, unsigned mask, site at)
{
    group *found = nullptr;

    for (int i = 0; i < w->n_groups; i++) {
        group *g = &w->groups[i];
        if (!(g->mask & mask))
            continue;
        if (g->mask != mask || g->end != end || !is_same(g->at, at))
            fail("the warp diverges: lane %d at %s:%d with mask 0x%x, lanes 0x%x wait at "
                 "%s:%d with "
                 "mask 0x%x",
                 current->lane, at.file, at.line, mask, g->arrived, g->at.file,
                 g->at.line, g->mask);
        found = g;
    }
    return found;
}

void meet(meeting end, unsigned mask, site at)
{
    thread *self = current;
    warp *w = self->its_warp;
    const unsigned bit = 1u << self->lane;

    counts.collectives++;
    self->at = at;
    if (!(mask & bit))
        fail("%s:%d: lane %d is not in the mask 0x%x that it passes", at.file, at.line,
             self->lane, mask);
    if (mask & ~w->exist)
        fail("%s:%d: the mask 0x%x names lanes that the block does not have (0x%x)",
             at.file, at.line, mask, w->exist);
    if (mask & w->returned)
        fail("%s:%d: the mask 0x%x names lanes that have returned (0x%x)", at.file,
             at.line, mask, w->returned);
    group *g = find_group(w, end, mask, at);
    if (!g) {
        g = &w->groups[w->n_groups++];
        *g = {mask, 0, end, at};
    }
    g->arrived |= bit;
    if (g->arrived != mask) {
        w->ready &= ~bit;
        give_way();
        return;
    }
    *g = w->groups[--w->n_groups];
    w->ready |= mask;
    end(w, mask);
    if (end == end_sync && mask == w->exist)
        w->syncs++;
}

/* ---- blocks -------------------------------------------------------------------------- */

static void set_shared(size_t bytes)
{
    const size_t whole = (bytes + 127) / 128 * 128;

    if (!now.shared) {
        now.shared =
            (unsigned char *)mmap(nullptr, SHARED_BYTES + 4096, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(now.shared + SHARED_BYTES, 4096, PROT_NONE);
    }
    now.shape.shared = now.shared + SHARED_BYTES - whole;
    now.shape.shared_bytes = bytes;
    memset(now.shape.shared, 0xff, whole); /* NaN */
    check_shared(now.shape.shared, bytes);
}

static void set_threads(dim3 b)
{
    const unsigned n = b.x * b.y * b.z;

    memset((void *)now.threads, 0, n * sizeof *now.threads);
    now.n_threads = now.alive = n;
    now.n_warps = (n + 31) / 32;
    now.waiting = now.votes = 0;
    now.turn = options.order == LX_EMU_REVERSE ? now.n_warps - 1 : 0;
    for (unsigned i = 0; i < now.n_warps; i++) {
        warp *w = &now.warps[i];
        w->lanes = &now.threads[i * 32];
        w->n_groups = 0;
        w->syncs = 0;
        w->returned = 0;
        w->exist = w->ready = n - i * 32 >= 32 ? ~0u : (1u << (n - i * 32)) - 1;
    }
    for (unsigned i = 0; i < n; i++) {
        thread *t = &now.threads[i];
        t->index = {i % b.x, i / b.x % b.y, i / b.x / b.y};
        t->home = &now.shape;
        t->its_warp = &now.warps[i / 32];
        t->number = (uint16_t)i;
        t->lane = i & 31;
        t->at = {"its beginning", 0};
    }
}

static void run_block(const job &work, uint3 index, dim3 grid, dim3 threads,
                      size_t shared_bytes, bool is_first)
{
    now.work = &work;
    now.shape.index = index;
    now.shape.threads = threads;
    now.shape.grid = grid;
    set_threads(threads);
    barriers = 0;
    check_block(is_first, work.closure, work.closure_bytes);
    set_shared(shared_bytes);
    thread *first = choose();
    begin_fiber(first);
    current = first;
    lx_emu_switch(&now.host_stack, first->stack_pointer);
    check_block_end();
}

/* Blocks in random order: i -> (a i + b) mod n with a prime that does not divide n. */
static uint64_t block_at(uint64_t i, uint64_t n, uint64_t offset)
{
    const uint64_t prime = n % 1000003 ? 1000003 : 999983;

    if (options.order == LX_EMU_FORWARD)
        return i;
    if (options.order == LX_EMU_REVERSE)
        return n - 1 - i;
    return (i * prime + offset) % n;
}

void run_grid(const job &work, dim3 grid, dim3 threads, size_t shared_bytes)
{
    const uint64_t n = (uint64_t)grid.x * grid.y * grid.z, offset = draw() % n;

    counts.launches++;
    counts.threads += n * threads.x * threads.y * threads.z;
    if (options.launches)
        note_launch(full_name(work), threads.x * threads.y * threads.z, shared_bytes);
    if (options.dry)
        return;
    name = work.name;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t j = block_at(i, n, offset);
        const uint3 index = {(unsigned)(j % grid.x), (unsigned)(j / grid.x % grid.y),
                             (unsigned)(j / grid.x / grid.y)};
        run_block(work, index, grid, threads, shared_bytes, i == 0);
    }
    check_grid_end(work);
    name = "?";
}

/* What of the image the checker must not report: the emulation's own variables. */
bool is_own(const void *p)
{
    const char *c = (const char *)p;
    return (c >= (const char *)&now && c < (const char *)(&now + 1)) ||
           p == (const void *)&current || p == (const void *)&note_pack;
}

} // namespace lx_emu

unsigned lx_emu_faults(void)
{
    return lx_emu::n_faults;
}

lx_emu_options *lx_emu_options_get(void)
{
    return &lx_emu::options;
}

const lx_emu_counts *lx_emu_counts_get(void)
{
    return &lx_emu::counts;
}
