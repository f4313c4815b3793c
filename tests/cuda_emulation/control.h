/*
 * cuda_emulation/control - how the emulated device behaves, and what it has seen
 *
 * The device is the processor: a kernel's blocks run one after another, the threads of a block as
 * fibers that change at barriers, so that every order the rules of CUDA allow can be had on purpose.
 * A kernel that is right gives the same bytes in all of them.
 *
 * LX_CUDA_EMULATION=name=value,... in the environment sets what a program begins with, under the
 * names of lx_emu_options' members.
 *
 * A fault is told on stderr with its place and counted (lx_emu_faults); one after which going on
 * makes no sense (a barrier that not all threads reach, an illegal mask) ends the program with
 * exit status 97. Accesses are only checked in programs linked with the checker (check.cpp).
 */
#ifndef LX_CUDA_EMULATION_CONTROL_H
#define LX_CUDA_EMULATION_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LX_EMU_FORWARD, LX_EMU_REVERSE, LX_EMU_RANDOM, LX_EMU_ORDERS };
enum { LX_EMU_FATAL_STATUS = 97 };

typedef struct lx_emu_options {
    uint64_t order; /* of lanes, warps, blocks, streams and the nodes of a graph */
    uint64_t seed;  /* of LX_EMU_RANDOM */
    uint64_t lazy;  /* 1: streams run only when the host waits for something */
    uint64_t dry; /* 1: kernels do not run, memory is only counted: plans of real size */
    uint64_t memory; /* bytes of device memory */
    uint64_t
        optin; /* bytes of shared memory a block may ask for: 99 KiB sm_86, 227 KiB sm_90 */
    uint64_t sm;    /* compute capability, 86 */
    uint64_t launches; /* 1: a table of all launches goes to stderr at the end */
    uint64_t count;    /* 1: the checker counts sectors and bank conflicts (traffic.h) */
} lx_emu_options;

/* May be changed whenever nothing is queued. */
lx_emu_options *lx_emu_options_get(void);

typedef struct lx_emu_counts {
    uint64_t launches, threads, collectives, switches;
    uint64_t ptx_launches; /* of them, bodies from nvcc's PTX */
    uint64_t notes;        /* lx_emu_note */
    size_t memory_now, memory_peak;
} lx_emu_counts;

const lx_emu_counts *lx_emu_counts_get(void);

unsigned lx_emu_faults(void); /* told so far */
bool lx_emu_is_checked(void); /* linked with the access checker */

/* Device memory whose bytes are to count as never written, or as defined: arenas reuse memory that
 * a kernel must not read before it has written it. Nothing happens without the checker. */
void lx_emu_mark(const void *memory, size_t bytes, bool is_defined);

/* For the table of launches: work that is no kernel of ours, as a library's. */
void lx_emu_note(const char *name);

#ifdef __cplusplus
}
#endif

#endif
