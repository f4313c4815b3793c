/*
 * Two SHA-256 at once. A round has to wait for the one before it: sha256rnds2 takes four cycles, but one can begin every
 * other. The rounds of another text fit in between, and both take hardly longer than one (Zen 4: 3.4 GB/s and 1.8).
 *
 * Source: FIPS 180-4, sections 4.2.2 (constants) and 6.2.2; the layout of the state in registers (A, B, E, F and C, D, G,
 * H) is that of the instructions, Intel SDM volume 2.
 */
#include <string.h>

#include "src/base/sha256.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <stdint.h>

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2};

typedef struct lane {
    __m128i abef, cdgh,
        w[4]; /* w: the sixteen words of the schedule that are still needed */
} lane;

#define LX_SHA __attribute__((target("sha,sse4.1"), always_inline)) static inline

LX_SHA void take_state(lane *l, const SHA256_CTX *c)
{
    const __m128i low = _mm_loadu_si128((const __m128i *)(const void *)c->h);
    const __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(c->h + 4));
    const __m128i cdab = _mm_shuffle_epi32(low, 0xB1),
                  efgh = _mm_shuffle_epi32(high, 0x1B);

    l->abef = _mm_alignr_epi8(cdab, efgh, 8);
    l->cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
}

LX_SHA void put_state(SHA256_CTX *c, const lane *l)
{
    const __m128i feba = _mm_shuffle_epi32(l->abef, 0x1B),
                  dchg = _mm_shuffle_epi32(l->cdgh, 0xB1);

    _mm_storeu_si128((__m128i *)(void *)c->h, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(void *)(c->h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Four words of the schedule, from the block (i < 4) or from the sixteen before them, and their four rounds. */
LX_SHA void four_rounds(lane *l, const unsigned char *block, int i)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i *w = l->w, sum;

    if (i < 4)
        w[i] = _mm_shuffle_epi8(
            _mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i)), big_endian);
    else
        w[i & 3] = _mm_sha256msg2_epu32(
            _mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]),
                          _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4)),
            w[(i + 3) & 3]);
    sum = _mm_add_epi32(
        w[i & 3], _mm_loadu_si128((const __m128i *)(const void *)(constants + 4 * i)));
    l->cdgh = _mm_sha256rnds2_epu32(l->cdgh, l->abef, sum);
    l->abef = _mm_sha256rnds2_epu32(l->abef, l->cdgh, _mm_shuffle_epi32(sum, 0x0E));
}

__attribute__((target("sha,sse4.1"))) static void add_blocks(SHA256_CTX *c, SHA256_CTX *d,
                                                             const unsigned char *p,
                                                             const unsigned char *q,
                                                             size_t n)
{
    lane x, y;

    take_state(&x, c);
    take_state(&y, d);
    for (; n; n--, p += 64, q += 64) {
        const lane old_x = x, old_y = y;
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            four_rounds(&x, p, i);
            four_rounds(&y, q, i);
        }
        x.abef = _mm_add_epi32(x.abef, old_x.abef);
        x.cdgh = _mm_add_epi32(x.cdgh, old_x.cdgh);
        y.abef = _mm_add_epi32(y.abef, old_y.abef);
        y.cdgh = _mm_add_epi32(y.cdgh, old_y.cdgh);
    }
    put_state(c, &x);
    put_state(d, &y);
}

/* cpuid leaf 7: not among what __builtin_cpu_supports knows in every compiler. */
static bool has_sha(void)
{
    unsigned a, b = 0, c, d;

    return __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           (b >> 29 & 1);
}

/* Asked once: under a hypervisor cpuid leaves the machine. */
bool lx_sha256_has_pairs(void)
{
    static atomic_int known; /* 0: not yet */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);

    if (!answer) {
        answer = has_sha() ? 1 : -1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer > 0;
}

/* Whole blocks of both, behind whole blocks. OpenSSL counts bits. */
static void add_pair(lx_sha256 *a, const unsigned char *p, lx_sha256 *b,
                     const unsigned char *q, size_t blocks)
{
    lx_sha256 *const both[] = {a, b};

    add_blocks(&a->ctx, &b->ctx, p, q, blocks);
    for (int i = 0; i < 2; i++) {
        SHA256_CTX *c = &both[i]->ctx;
        const uint64_t bits = ((uint64_t)c->Nh << 32 | c->Nl) + (uint64_t)blocks * 512;
        c->Nl = (SHA_LONG)bits;
        c->Nh = (SHA_LONG)(bits >> 32);
    }
}
#else
bool lx_sha256_has_pairs(void)
{
    return false;
}

static void add_pair(lx_sha256 *a, const unsigned char *p, lx_sha256 *b,
                     const unsigned char *q, size_t blocks)
{
    lx_sha256_update(a, p, 64 * blocks);
    lx_sha256_update(b, q, 64 * blocks);
}
#endif

/* Bytes up to the next whole block. */
static size_t to_block(const lx_sha256 *h)
{
    return (64 - h->ctx.num) % 64;
}

void lx_sha256_update_two(lx_sha256 *a, const void *data_a, lx_sha256 *b,
                          const void *data_b, size_t n)
{
    const unsigned char *p = data_a, *q = data_b;
    const size_t first_a = to_block(a), first_b = to_block(b);
    const size_t first = first_a > first_b ? first_a : first_b;
    size_t blocks = n > first && lx_sha256_has_pairs() ? (n - first) / 64 : 0;

    if (blocks) {
        lx_sha256_update(a, p, first_a);
        lx_sha256_update(b, q, first_b);
        add_pair(a, p + first_a, b, q + first_b, blocks);
        p += first_a + 64 * blocks;
        q += first_b + 64 * blocks;
    }
    lx_sha256_update(a, p, n - (size_t)(p - (const unsigned char *)data_a));
    lx_sha256_update(b, q, n - (size_t)(q - (const unsigned char *)data_b));
}

void lx_sha256_of_two(lx_hash out[2], const void *const data[2], const size_t n[2])
{
    const size_t least = n[0] < n[1] ? n[0] : n[1];
    lx_sha256 both[2];

    lx_sha256_init(&both[0]);
    lx_sha256_init(&both[1]);
    lx_sha256_update_two(&both[0], data[0], &both[1], data[1], least);
    for (int i = 0; i < 2; i++) {
        lx_sha256_update(&both[i], (const char *)data[i] + least, n[i] - least);
        out[i] = lx_sha256_final(&both[i]);
    }
}
