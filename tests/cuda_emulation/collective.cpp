/*
 * What the lanes of a warp do together: shuffles, votes, matrix products, and copies in the
 * background.
 *
 * Fragments of mma.m16n8k16, with g = lane / 4 and t = lane % 4, two 16-bit values a register, the
 * low half first:
 *   A   (g, 2t..) (g+8, 2t..) (g, 2t+8..) (g+8, 2t+8..)      16 x 16, rows by k
 *   B   (k = 2t.., n = g) (k = 2t+8.., n = g)                16 x 8
 *   C   (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1)              16 x 8, f32
 * Source: PTX ISA 9.0, sections on mma and ldmatrix.
 */
#include <vector>

#include "tests/cuda_emulation/state.h"

extern "C" {
#include "src/base/dtype.h"
}

namespace lx_emu
{

/* Calls f(lane number, lane) for each of `lanes`. */
template <class F> static void for_lanes(warp *w, unsigned lanes, F f)
{
    for (; lanes; lanes &= lanes - 1) {
        const unsigned i = (unsigned)__builtin_ctz(lanes);
        f(i, w->lanes[i]);
    }
}

void end_sync(warp *, unsigned)
{
}

void end_shuffle(warp *w, unsigned lanes)
{
    for_lanes(w, lanes, [&](unsigned i, thread &t) {
        const unsigned from = (unsigned)t.argument & 31;
        if (!(lanes >> from & 1))
            fail("shuffle at %s:%d: lane %u reads lane %u, which is not in the mask 0x%x",
                 t.at.file, t.at.line, i, from, lanes);
        *(uint64_t *)t.out = *(const uint64_t *)w->lanes[from].in;
    });
}

void end_ballot(warp *w, unsigned lanes)
{
    unsigned votes = 0;

    for_lanes(w, lanes,
              [&](unsigned i, thread &t) { votes |= (unsigned)t.argument << i; });
    for_lanes(w, lanes, [&](unsigned, thread &t) { *(unsigned *)t.out = votes; });
}

/* The widths of one product. */
template <float (*TO_F32)(uint16_t)> static void multiply_tiles(warp *w)
{
    float a[16][16], b[16][8];

    for (unsigned lane = 0; lane < 32; lane++) {
        const uint32_t *r = (const uint32_t *)w->lanes[lane].in;
        const unsigned g = lane >> 2, t = lane & 3;
        for (unsigned h = 0; h < 2; h++) {
            for (unsigned i = 0; i < 4; i++)
                a[g + (i & 1) * 8][t * 2 + (i >> 1) * 8 + h] =
                    TO_F32((uint16_t)(r[i] >> 16 * h));
            for (unsigned i = 0; i < 2; i++)
                b[t * 2 + i * 8 + h][g] = TO_F32((uint16_t)(r[4 + i] >> 16 * h));
        }
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        float *d = (float *)w->lanes[lane].out;
        const unsigned g = lane >> 2, t = lane & 3;
        for (unsigned i = 0; i < 4; i++) {
            const float *row = a[g + (i >> 1) * 8];
            float sum =
                0; /* products are exact in f32; the hardware's order is its own */
            for (unsigned k = 0; k < 16; k++)
                sum += row[k] * b[k][t * 2 + (i & 1)];
            d[i] += sum;
        }
    }
}

void end_mma_f16(warp *w, unsigned)
{
    multiply_tiles<lx_f32_from_f16>(w);
}

void end_mma_bf16(warp *w, unsigned)
{
    multiply_tiles<lx_f32_from_bf16>(w);
}

/* ldmatrix.m8n8.x4: lane i gives a row of matrix i / 8. */
void end_load_matrix(warp *w, unsigned)
{
    uint16_t m[4][8][8];
    thread *self = current;

    for (unsigned lane = 0; lane < 32; lane++) {
        thread *t = &w->lanes[lane];
        if ((uintptr_t)t->in & 15)
            fail("ldmatrix at %s:%d: lane %u's address is not a multiple of 16",
                 t->at.file, t->at.line, lane);
        current = t;
        check_access(t->in, 16, false, nullptr);
        memcpy(m[lane >> 3][lane & 7], t->in, 16);
    }
    current = self;
    for (unsigned lane = 0; lane < 32; lane++) {
        const thread *t = &w->lanes[lane];
        const unsigned g = lane >> 2, c = (lane & 3) * 2;
        for (unsigned i = 0; i < 4; i++) {
            const uint16_t low = t->argument ? m[i][c][g] : m[i][g][c];
            const uint16_t high = t->argument ? m[i][c + 1][g] : m[i][g][c + 1];
            ((uint32_t *)t->out)[i] = low | (uint32_t)high << 16;
        }
    }
}

/* ---- copies in the background -------------------------------------------------------- */

/* A copy that has been asked for, or the end of a group of them. */
struct copy {
    void *dst;
    const void *src;
    int bytes, from_source;
    bool is_end;
};

static std::vector<copy> queues[MOST_THREADS];

/* The bytes move when the thread waits, so that without waiting the old ones are read; to the
 * checker they may change from now on. */
void copy_async(void *dst, const void *src, int bytes, int from_source)
{
    if (((uintptr_t)dst | (from_source ? (uintptr_t)src : 0)) & (unsigned)(bytes - 1))
        fail("cp.async: an address is not a multiple of %d", bytes);
    if (from_source)
        check_access(src, (size_t)from_source, false, __builtin_return_address(0));
    check_async_begun(dst, (size_t)bytes, __builtin_return_address(0));
    queues[current->number].push_back({dst, src, bytes, from_source, false});
    current->copies++;
}

void copy_commit()
{
    queues[current->number].push_back({nullptr, nullptr, 0, 0, true});
}

void copy_wait(int groups_left)
{
    std::vector<copy> &queue = queues[current->number];
    const void *from = __builtin_return_address(0);
    int groups = 0;
    size_t i = 0;

    for (const copy &c : queue)
        groups += c.is_end;
    for (; i < queue.size() && groups > groups_left; i++) {
        const copy &c = queue[i];
        if (c.is_end) {
            groups--;
            continue;
        }
        check_access(c.dst, (size_t)c.bytes, true, from);
        memcpy(c.dst, c.src, (size_t)c.from_source);
        memset((char *)c.dst + c.from_source, 0, (size_t)(c.bytes - c.from_source));
        current->copies--;
    }
    queue.erase(queue.begin(), queue.begin() + (long)i);
}

} // namespace lx_emu
