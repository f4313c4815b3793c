/*
 * base/python - texts as Python's str() and repr() write them, which the peer's metadata are made of
 */
#ifndef LX_BASE_PYTHON_H
#define LX_BASE_PYTHON_H

/* repr() of a float: "0.001", "5e-05", "1.0". */
void lx_python_float(char out[40], double x);

#endif
