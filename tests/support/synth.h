/*
 * support/synth - the files of synthetic checkpoints (src/selftest/synth.h), made once and kept
 */
#ifndef LX_TESTS_SYNTH_H
#define LX_TESTS_SYNTH_H

#include "src/selftest/synth.h"

/*
 * The path of a profile's file in the build folder, made at first use (and kept for the next test;
 * several processes may ask at once). Fails the test that asks when it cannot be made.
 */
const char *lx_synth_checkpoint(const char *name);

#endif
