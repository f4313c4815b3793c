/*
 * verify/page - a verdict as one page of HTML
 *
 * Answers, plots (gain by timestep and by strength, tags, images, epochs) and the whole
 * ledger; every text from a file is escaped (report/html), nothing is fetched
 * (report/page).
 */
#ifndef LX_VERIFY_PAGE_H
#define LX_VERIFY_PAGE_H

#include "src/base/str.h"
#include "src/verify/sweep.h"

/* Appends the page. sweep NULL: one file. */
int lx_verify_page(lx_str *out, const lx_verify *v, const lx_verify_options *options,
                   const lx_verify_result *const *results, size_t n,
                   const lx_sweep *sweep, lx_error *err);

#endif
