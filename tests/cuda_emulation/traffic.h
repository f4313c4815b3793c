/*
 * cuda_emulation/traffic - what a kernel's loads and stores would cost a GPU's memory
 *
 * Counted by the checker's hooks when LX_CUDA_EMULATION says count=1; a table goes to stderr when the
 * program ends, a row per kernel:
 *
 *   least      bytes of device memory that its launches read and wrote, each byte once a launch
 *   asked      the same, each byte once for every warp's load or store that wants it
 *   moved      32 bytes for every sector that such a load or store touches
 *   turns      of shared memory: how often a load or store takes its turn, over how often it must
 *
 * asked / moved is how well lanes stand together (coalescing); moved / least how often memory is read
 * again, from the caches if it is still there. The n-th time a lane of a warp comes to a place in the
 * code belongs together with the n-th time of the other lanes: one instruction. Shared memory serves
 * 128 bytes at a time, and a turn one word of each of its 32 banks.
 */
#ifndef LX_CUDA_EMULATION_TRAFFIC_H
#define LX_CUDA_EMULATION_TRAFFIC_H

#include <cstddef>
#include <cstdint>

namespace lx_emu
{

struct traffic_kind {
    bool is_shared, is_write;
};

/* `current` moves these bytes at once next, in however many accesses the compiler made of it. */
void traffic_pack(const void *p, size_t bytes);
/* One lane's access; `thread` in the running block. */
void traffic_add(uint32_t place, unsigned thread, const char *p, size_t bytes,
                 traffic_kind kind);
void traffic_end_block();
void traffic_end_grid(const char *kernel);

} // namespace lx_emu

#endif
