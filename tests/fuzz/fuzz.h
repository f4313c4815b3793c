/*
 * fuzz - one entry point a parser
 *
 * With clang and -DLX_FUZZ=ON each file here becomes fuzz_<name>, to be run as
 *
 *     build/fuzz/tests/fuzz_ckpt -max_total_time=600 tests/fuzz/corpus/ckpt tests/badfiles
 *
 * Without it each becomes a test that replays files and folders (replay.c): tests/badfiles,
 * tests/golden, and tests/fuzz/corpus/<name> where inputs that once broke something are kept, each
 * also cut short and with bytes changed.
 */
#ifndef LX_TESTS_FUZZ_H
#define LX_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes as a file that lx opens by name, made once and overwritten. */
const char *fuzz_file(const uint8_t *data, size_t size, const char *ending);

/* Reads every element of what opened, so that a stray view is a crash and not luck. */
void fuzz_tensor_file(const char *path);

#endif
