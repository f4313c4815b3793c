/*
 * text/fix - repairs captions as ftfy does before the peer's tokenizer sees them
 *
 * The default steps of ftfy 6.1.1's fix_text, per line and until nothing changes: HTML entities
 * (unless a '<' says that it is HTML), mojibake decoded again, C1 controls as windows-1252, Latin
 * ligatures apart, full and half widths to the usual ones, curly quotes straight, line breaks to
 * \n, terminal escapes and control characters out, normalisation form C. Our own code; the steps,
 * their order and the mojibake heuristic are ftfy's (Robyn Speer, MIT), so that a caption becomes
 * the tokens that training with the peer would have given it.
 */
#ifndef LX_TEXT_FIX_H
#define LX_TEXT_FIX_H

#include "src/text/unicode.h"

/* Appends to out. */
int lx_fix_text(lx_points *out, const uint32_t *in, size_t n, lx_error *err);

/* Whether some of the text looks like mojibake. */
bool lx__is_mojibake(const uint32_t *text, size_t n);
/* The encoding part alone; replaces *text. `depth` guards the recursion, start with 0. */
int lx__fix_encoding(lx_points *text, int depth, lx_error *err);
/* C1 controls read as windows-1252, in place. */
void lx__fix_c1(lx_points *text);

#endif
