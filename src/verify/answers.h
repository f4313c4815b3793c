/*
 * verify/answers - the eight questions in words, and the flags beside the label
 */
#ifndef LX_VERIFY_ANSWERS_H
#define LX_VERIFY_ANSWERS_H

#include "src/verify/verify.h"

/* From the ledger and the facts; Q1 and Q2 are already answered. n_constant: tags that
 * the data cannot tell apart (A10). Texts live in the arena. */
int lx_verify_answers(lx_verify_result *result, size_t n_constant, lx_arena *arena,
                      lx_error *err);

#endif
