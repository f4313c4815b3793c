/*
 * report/curve - curves made fit to be drawn: how smooth, how many points
 */
#ifndef LX_REPORT_CURVE_H
#define LX_REPORT_CURVE_H

#include <stddef.h>

/* The weight for lx_smooth (stats/smooth.h) whose mean looks about n / 25 points back:
 * eye-friendly for a whole training. */
double lx_curve_weight(size_t n);

/*
 * At most `most` points (4 or more) of the same look: the curve is cut into stretches of
 * equally many points, of each the first, the least, the greatest and the last stay. *n
 * is how many. Writes to out_x and out_y, which have room for `most`, and may be x and y.
 */
void lx_curve_thin(double *out_x, double *out_y, size_t *n_out, const double *x,
                   const double *y, size_t n, size_t most);

#endif
