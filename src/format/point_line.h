/*
 * format/point_line - points of curves, one line at a time, from a program in any
 * language
 *
 *     step=12 loss=0.0813 lr/unet=1e-4
 *     {"step": 12, "loss": 0.0813, "lr/unet": 1e-4}
 *
 * Pairs are apart by spaces, tabs or commas. `step` is a whole number and may stand
 * anywhere; a line without one has has_step false. nan, inf, infinity and -inf are values; in
 * JSON bare or as texts, and null for nan. Empty lines and lines that begin with # hold no points.
 */
#ifndef LX_FORMAT_POINT_LINE_H
#define LX_FORMAT_POINT_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"

enum { LX_POINT_KEY_BYTES = 200, LX_POINT_LINE_BYTES = 1 << 20 };

typedef struct lx_point {
    const char *key;
    double value;
} lx_point;

typedef struct lx_point_line {
    bool has_step;
    int64_t step; /* 0 or more */
    lx_point *points;
    size_t n, capacity;
} lx_point_line;

/* In the arena. LX_EFORMAT names the pair; LX_ELIMIT beyond the sizes above. */
int lx_point_line_parse(lx_point_line *out, const char *text, size_t n, lx_arena *arena,
                        lx_error *err);

/* One pair of it, "loss=0.0813"; adds to out. */
int lx_point_pair_parse(lx_point_line *out, const char *text, size_t n, lx_arena *arena,
                        lx_error *err);

#endif
