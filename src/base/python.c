#include "src/base/python.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest digits that read back equal; exponent form below 1e-4 and from 1e16 on. */
void lx_python_float(char out[40], double x)
{
    char digits[40], *e;
    int precision, exponent;

    if (!isfinite(x)) {
        snprintf(out, 40, "%s", isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
        return;
    }
    for (precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, x);
        if (strtod(digits, NULL) == x)
            break;
    }
    e = strchr(digits, 'e');
    exponent = atoi(e + 1);
    if (x != 0 && (exponent < -4 || exponent >= 16)) {
        *e = '\0';
        snprintf(out, 40, "%.20se%c%02d", digits, exponent < 0 ? '-' : '+',
                 exponent < 0 ? -exponent : exponent);
    } else {
        int decimals = precision - exponent;
        snprintf(out, 40, "%.*f", decimals < 1 ? 1 : decimals, x);
    }
}
