/*
 * serve/console - what a command printed, as plain lines
 *
 * A terminal's escapes are dropped, and what a carriage return would overwrite is not
 * kept, so that a thousand drawings of a progress bar are one line. Bytes come in pieces;
 * where a piece goes on in a line whose beginning was already given away and overwrites
 * it, it begins with "\r". Other control characters and what is no UTF-8 stay: whoever
 * writes the text escapes them (base/str).
 */
#ifndef LX_SERVE_CONSOLE_H
#define LX_SERVE_CONSOLE_H

#include <stdbool.h>

#include "src/base/str.h"

typedef struct lx_serve_console { /* zeroed: at the beginning */
    enum { LX_PLAIN, LX_ESCAPE, LX_CSI, LX_OSC, LX_OSC_END } state;
    bool has_returned; /* the next character overwrites the line */
} lx_serve_console;

void lx_serve_console_take(lx_str *out, lx_serve_console *c, const char *bytes, size_t n);

/* The last `most` bytes of whole lines of n bytes: where they begin. */
size_t lx_serve_console_tail(const char *bytes, size_t n, size_t most);

/* n without a character that is not whole yet at its end. */
size_t lx_serve_console_whole(const char *bytes, size_t n);

#endif
