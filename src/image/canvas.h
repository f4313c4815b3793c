/*
 * image/canvas - pictures side by side, with labels
 *
 * 8-bit RGB. Text is drawn with a 5x7 font of our own (the shapes of character displays,
 * ASCII 32 to 126; anything else is a box), since a font library would make labels depend
 * on the machine.
 */
#ifndef LX_IMAGE_CANVAS_H
#define LX_IMAGE_CANVAS_H

#include <stdint.h>

#include "src/base/error.h"

typedef struct lx_canvas {
    unsigned char *rgb; /* [height][width][3] */
    int width, height;
} lx_canvas;

/* White. LX_ELIMIT beyond 65536 a side or 1 GB. */
int lx_canvas_init(lx_canvas *canvas, int64_t width, int64_t height, lx_error *err);
void lx_canvas_release(lx_canvas *canvas);

/* Parts outside are left out. */
void lx_canvas_put(lx_canvas *canvas, int x, int y, const unsigned char *rgb, int width,
                   int height);

enum { LX_FONT_WIDTH = 6, LX_FONT_HEIGHT = 9 }; /* of a cell, at scale 1 */

/*
 * Black text, in a box of width x height with its middle in the middle: broken into lines
 * at blanks (or anywhere, where a word is too long), the last line ending in "..." when
 * it does not fit.
 */
void lx_canvas_text(lx_canvas *canvas, int x, int y, int width, int height, int scale,
                    const char *text);
/* How many lines lx_canvas_text would make of it. */
int lx_canvas_lines(int width, int scale, const char *text);

#endif
