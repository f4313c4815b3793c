#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/expect.h"

void lx_assert_ok(int rc, const lx_error *err)
{
    if (rc < 0)
        fail_msg("error %d: %s", rc, err->text);
}

void lx_make_folder(char *out, size_t n, const char *name)
{
    snprintf(out, n, "%s/%s-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
             name);
    if (!mkdtemp(out))
        fail_msg("%s cannot be made", out);
}

void lx_assert_shell(const char *fmt, ...)
{
    char command[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}
