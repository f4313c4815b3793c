/* base/sandbox_calls - the calls that pass, for src/base/sandbox.c */
#ifndef LX_BASE_SANDBOX_CALLS_H
#define LX_BASE_SANDBOX_CALLS_H

#include "src/base/sandbox.h"

/* Installs the filter in every thread. 0, or an errno. */
int lx_sandbox__filter_calls(const lx_sandbox *sandbox);

#endif
