/* tests/support/expect - what must succeed, or the test fails with what it said */
#ifndef LX_TEST_EXPECT_H
#define LX_TEST_EXPECT_H

#include <stddef.h>

#include "src/base/error.h"

/* The result of a call that must succeed. */
void lx_assert_ok(int rc, const lx_error *err);
/* A new folder, NAME-XXXXXX; in memory where the machine has such a place, since fsync is free there. */
void lx_make_folder(char *out, size_t n, const char *name);
/* A command of the shell, put together as printf does (511 bytes at most), that must end with 0. */
void lx_assert_shell(const char *fmt, ...) LX_PRINTF(1, 2);

#endif
