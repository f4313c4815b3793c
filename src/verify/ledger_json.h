/*
 * verify/ledger_json - a verdict with all its evidence as JSON
 *
 * The same numbers as the words and the page; keys: docs/verify.md. No clock in it: the
 * same files and options give the same bytes.
 */
#ifndef LX_VERIFY_LEDGER_JSON_H
#define LX_VERIFY_LEDGER_JSON_H

#include <cjson/cJSON.h>

#include "src/verify/sweep.h"

/* sweep NULL: one file. Yours, cJSON_Delete; NULL without memory. */
cJSON *lx_verify_json(const lx_verify *v, const lx_verify_options *options,
                      const lx_verify_result *const *results, size_t n,
                      const lx_sweep *sweep);

#endif
