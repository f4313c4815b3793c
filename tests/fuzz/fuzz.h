/*
 * fuzz - one entry point a parser
 *
 * script/fuzz builds each file here with clang (-DLX_FUZZ=ON) as fuzz_<name> and runs it on its corpus.
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

/* The bytes as a file that lx opens by name, one for each ending, made once and overwritten. */
const char *fuzz_file(const uint8_t *data, size_t size, const char *ending);

/* Modules, summary and weights of what opens as a LoRA, and its merge with itself (lora_file.c). */
void fuzz_lora_file(const char *path);

/* Reads every element of what opened, so that a stray view is a crash and not luck. */
void fuzz_tensor_file(const char *path);

#endif
