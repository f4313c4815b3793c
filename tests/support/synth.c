#include "tests/support/synth.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"

#ifndef LX_FIXTURE_DIR
#define LX_FIXTURE_DIR "/tmp"
#endif

static void give_up(const char *name, const char *why)
{
    fprintf(stderr, "cannot make the %s checkpoint: %s\n", name, why);
    exit(1);
}

const char *lx_synth_checkpoint(const char *name)
{
    static char paths[8][512];
    static const char *names[8];
    int at = 0;
    const lx_synth_profile *profile = lx_synth_profile_find(name);
    char *path;
    lx_error err = {0};
    lx_hash hash;
    char hex[LX_HASH_HEX + 1];

    if (!profile)
        give_up(name, "no such profile");
    while (names[at] && names[at] != profile->name)
        at++;
    names[at] = profile->name;
    path = paths[at];
    snprintf(path, sizeof(paths[0]), "%s/%s.safetensors", LX_FIXTURE_DIR, name);
    if (lx_file_exists(path))
        return path;
    /* Whole or not at all: the file appears by a rename. */
    if (lx_make_dirs(LX_FIXTURE_DIR, &err) < 0 ||
        lx_synth_write(path, profile, &err) < 0 || lx_file_hash(&hash, path, &err) < 0)
        give_up(name, err.text);
    lx_hash_hex(hex, &hash);
    if (profile->sha256 && strcmp(profile->sha256, hex) != 0) {
        unlink(path);
        give_up(name, "its bytes are not those of the goldens");
    }
    return path;
}
