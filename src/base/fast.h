/*
 * base/fast - one loop, compiled once per instruction set and chosen when the program starts
 *
 * For loops outside kernels/ that run over whole weights. The clones give the same bits, because
 * nothing is reordered and products are not fused (-ffp-contract=off): sums that shall become vector
 * code are written with their lanes. Sanitizers cannot run before the choice is made, so there the
 * plain loop is all there is.
 */
#ifndef LX_BASE_FAST_H
#define LX_BASE_FAST_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LX_FAST                                                                  \
    __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4"), \
                   optimize("O3")))
#else
#define LX_FAST
#endif

#endif
