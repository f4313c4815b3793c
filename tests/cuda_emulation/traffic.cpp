#include "tests/cuda_emulation/traffic.h"

#include "tests/cuda_emulation/state.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace lx_emu
{

/* What the lanes of a warp did at once. */
struct instruction {
    std::vector<const char *> lanes;
    size_t bytes; /* of a lane */
    traffic_kind kind;
};

struct totals {
    uint64_t least, asked, moved;   /* bytes of device memory */
    uint64_t turns, must, accesses; /* of shared memory */
};

/* Bytes of a sector, a bit each. */
typedef std::unordered_map<uintptr_t, uint32_t> sectors;

static std::unordered_map<uint64_t, std::vector<instruction>> by_place; /* of a warp */
static std::unordered_map<uint64_t, size_t> times; /* a thread came there */
static totals grid;
static sectors grid_reads, grid_writes;

/* A table for all, told at the end. */
struct table {
    std::map<std::string, totals> kernels;

    ~table()
    {
        for (const auto &k : kernels) {
            const totals &t = k.second;
            fprintf(stderr, "traffic|%s|%llu|%llu|%llu|%llu|%llu|%llu\n", k.first.c_str(),
                    (unsigned long long)t.least, (unsigned long long)t.asked,
                    (unsigned long long)t.moved, (unsigned long long)t.accesses,
                    (unsigned long long)t.must, (unsigned long long)t.turns);
        }
    }
};

static table &all()
{
    static table t;
    return t;
}

/* The last few packs of a thread, newest first. */
struct pack {
    const char *p;
    size_t bytes;
    bool is_counted;
};
static pack packs[MOST_THREADS][4];

void traffic_pack(const void *p, size_t bytes)
{
    pack *mine = packs[current->number];

    std::copy_backward(mine, mine + 3, mine + 4);
    mine[0] = {(const char *)p, bytes, false};
}

/* The pack that the access is part of; NULL = none. */
static pack *pack_of(unsigned thread, const char *p, size_t bytes)
{
    for (pack &k : packs[thread])
        if (p >= k.p && p + bytes <= k.p + k.bytes)
            return &k;
    return nullptr;
}

void traffic_add(uint32_t place, unsigned thread, const char *p, size_t bytes,
                 traffic_kind kind)
{
    pack *whole = pack_of(thread, p, bytes);

    if (whole && whole->is_counted)
        return;
    if (whole) {
        whole->is_counted = true;
        p = whole->p;
        bytes = whole->bytes;
    }
    const size_t time = times[(uint64_t)place << 16 | thread]++;
    std::vector<instruction> &list = by_place[(uint64_t)place << 16 | thread / 32];

    if (list.size() <= time)
        list.resize(time + 1);
    list[time].lanes.push_back(p);
    list[time].bytes = bytes;
    list[time].kind = kind;
}

static uint64_t count_bytes(const sectors &all_of_them)
{
    uint64_t n = 0;

    for (const auto &s : all_of_them)
        n += (uint64_t)__builtin_popcount(s.second);
    return n;
}

static void add_device(const instruction &i)
{
    sectors &whole = i.kind.is_write ? grid_writes : grid_reads;
    static sectors touched;

    touched.clear();
    for (const char *p : i.lanes)
        for (size_t b = 0; b < i.bytes; b++)
            touched[(uintptr_t)(p + b) / 32] |= 1u << (uintptr_t)(p + b) % 32;
    for (const auto &s : touched)
        whole[s.first] |= s.second;
    grid.asked += count_bytes(touched); /* what several lanes read is asked for once */
    grid.moved += touched.size() * 32;
}

/* As many lanes at a time as 128 bytes hold. */
static void add_shared(const instruction &i)
{
    const size_t together = std::max<size_t>(1, std::min<size_t>(32, 128 / i.bytes));

    grid.accesses++;
    for (size_t first = 0; first < i.lanes.size(); first += together) {
        std::vector<uintptr_t> banks[32];
        size_t most = 0;
        for (size_t k = first; k < std::min(first + together, i.lanes.size()); k++)
            for (size_t b = 0; b < i.bytes; b += 4) {
                const uintptr_t word = (uintptr_t)(i.lanes[k] + b) / 4;
                std::vector<uintptr_t> &bank = banks[word % 32];
                if (std::find(bank.begin(), bank.end(), word) == bank.end())
                    bank.push_back(word);
            }
        for (const auto &words : banks)
            most = std::max(most, words.size());
        grid.turns += most;
        grid.must++;
    }
}

void traffic_end_block()
{
    for (const auto &place : by_place)
        for (const instruction &i : place.second)
            (i.kind.is_shared ? add_shared : add_device)(i);
    by_place.clear();
    times.clear();
    memset(packs, 0, sizeof packs);
}

void traffic_end_grid(const char *kernel)
{
    totals &t = all().kernels[kernel];

    t.least += count_bytes(grid_reads) + count_bytes(grid_writes);
    t.asked += grid.asked;
    t.moved += grid.moved;
    t.accesses += grid.accesses;
    t.must += grid.must;
    t.turns += grid.turns;
    grid = {};
    grid_reads.clear();
    grid_writes.clear();
}

} // namespace lx_emu
