#include "tests/support/golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

const char *lx_golden(const char *sub_path)
{
    static char paths[8][1024];
    static unsigned turn;
    const char *folders[2] = {getenv("LX_GOLDENS"), LX_GOLDEN_DIR};

    for (int i = 0; i < 2; i++) {
        char *path = paths[turn % 8];

        if (!folders[i] || !folders[i][0])
            continue;
        snprintf(path, sizeof(paths[0]), "%s/%s", folders[i], sub_path);
        if (access(path, R_OK) == 0) {
            turn++;
            return path;
        }
    }
    return NULL;
}

const char *lx_golden_need(const char *sub_path)
{
    const char *path = lx_golden(sub_path);

    if (!path) {
        print_message("golden %s: not here, set LX_GOLDENS\n", sub_path);
        skip();
    }
    return path;
}

double lx_relative_error(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - b[i];

        difference += d * d;
        size += (double)b[i] * b[i];
    }
    if (!isfinite(difference) || !isfinite(size))
        return INFINITY;
    if (size == 0)
        return difference == 0 ? 0 : INFINITY;
    return sqrt(difference / size);
}

void lx_assert_close(const char *what, const float *a, const float *b, size_t n, double limit)
{
    double error = lx_relative_error(a, b, n);
    size_t worst = 0;

    if (error <= limit)
        return;
    for (size_t i = 1; i < n; i++)
        if (fabs((double)a[i] - b[i]) > fabs((double)a[worst] - b[worst]))
            worst = i;
    fail_msg("%s: relative error %.3g above %.3g; worst at %zu of %zu: %.9g, expected %.9g", what,
             error, limit, worst, n, (double)a[worst], (double)b[worst]);
}
