/*
 * make_checkpoint PROFILE FILE - a random checkpoint for benchmarks and command line tests
 *
 * PROFILE: tiny, nano (the goldens' base models) or sd15 (the real sizes, 2 GB in F16).
 */
#include <stdio.h>

#include "src/selftest/synth.h"

int main(int argc, char **argv)
{
    const lx_synth_profile *profile = argc == 3 ? lx_synth_profile_find(argv[1]) : NULL;
    lx_error err = {0};

    if (!profile) {
        fprintf(stderr, "usage: make_checkpoint tiny|nano|sd15 FILE\n");
        return 2;
    }
    if (lx_synth_write(argv[2], profile, &err) < 0) {
        fprintf(stderr, "make_checkpoint: %s\n", err.text);
        return lx_exit_status(err.code);
    }
    return 0;
}
