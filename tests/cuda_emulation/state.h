/*
 * cuda_emulation/state - what the files of the emulation share
 *
 * block.cpp runs a grid, collective.cpp what lanes do together, runtime.cpp the host's side,
 * check.cpp (or check_none.cpp) sees the accesses.
 */
#ifndef LX_CUDA_EMULATION_STATE_H
#define LX_CUDA_EMULATION_STATE_H

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/emulation.h"

namespace lx_emu
{

/* Lanes that wait for each other. */
struct group {
    unsigned mask, arrived;
    meeting end;
    site at;
};

struct warp {
    thread *lanes;
    unsigned ready, exist, returned;
    uint32_t syncs; /* __syncwarp passed by all lanes: what orders memory inside a warp */
    int n_groups;
    group groups[32];
};

extern lx_emu_options options;
extern lx_emu_counts counts;
extern uint32_t barriers; /* passed in the running block */
uint64_t draw();          /* the next random number of LX_EMU_RANDOM */
const char *kernel_name();
/* With its template arguments, "attend<lx_f16, 40>", where the program exports its symbols. */
const char *full_name(const job &work);
void tell(const char *kind, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For the table that launches=1 asks for. */
void note_launch(const char *name, unsigned threads, size_t shared_bytes);

void run_grid(const job &work, dim3 grid, dim3 threads, size_t shared_bytes);
const thread *thread_of(unsigned number); /* of the running block */
bool is_own(const void *p); /* one of the emulation's variables that kernels read */

/* The dynamic shared memory and the emulation's own state, for the checker. */
enum { STACK_BYTES = 64 << 10, MOST_THREADS = 1024, SHARED_BYTES = 232 << 10 };

/* A block of device memory. */
struct region {
    char *begin;
    size_t bytes;
};
bool is_device(const void *p);
bool find_region(region *out, const void *p); /* the last that begins at or before p */

/* ---- the checker's side ---- */
void check_block(bool is_first, const void *arguments, size_t bytes);
void check_block_end();
void check_grid_end(const job &work);
void check_shared(unsigned char *begin, size_t bytes);
void check_allocated(void *p, size_t bytes);
void check_freed(void *p, size_t bytes);
/* By `current`, or by the host. `from` is in the kernel's code; NULL: where the thread waits. */
void check_access(const void *p, size_t bytes, bool is_write, const void *from);
void check_async_begun(const void *dst, size_t bytes, const void *from);
void check_defined(const void *p, size_t bytes, bool is_defined);

} // namespace lx_emu

#endif
