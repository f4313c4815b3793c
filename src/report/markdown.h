/*
 * report/markdown - texts from anywhere in Markdown as GitHub reads it
 */
#ifndef LX_REPORT_MARKDOWN_H
#define LX_REPORT_MARKDOWN_H

#include "src/base/str.h"

/*
 * One line of text in which nothing acts: no markup, no HTML, no link made of a bare
 * address. What begins a list or a heading is escaped too, since a text may stand at the
 * start of a line.
 */
void lx_markdown_text(lx_str *out, const char *text);

/* The same between backticks, as many as it takes: a word to be copied. */
void lx_markdown_code(lx_str *out, const char *text);

#endif
