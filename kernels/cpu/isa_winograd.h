/* The transforms of F(2x2, 3x3) convolutions; for isa_body.h (kernels/cpu/winograd.h has the formula's source). */

/* B^T d B: rows, then columns. */
static void isa_winograd_input(float *v, int64_t step, const float *const d[16],
                               int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf t[16];
        for (int q = 0; q < 4; q++) {
            vf d0 = load_some(d[q] + i, n - i), d1 = load_some(d[4 + q] + i, n - i);
            vf d2 = load_some(d[8 + q] + i, n - i), d3 = load_some(d[12 + q] + i, n - i);
            t[q] = d0 - d2;
            t[4 + q] = d1 + d2;
            t[8 + q] = d2 - d1;
            t[12 + q] = d1 - d3;
        }
        for (int r = 0; r < 16; r += 4) {
            store_some(v + r * step + i, t[r] - t[r + 2], n - i);
            store_some(v + (r + 1) * step + i, t[r + 1] + t[r + 2], n - i);
            store_some(v + (r + 2) * step + i, t[r + 2] - t[r + 1], n - i);
            store_some(v + (r + 3) * step + i, t[r + 1] - t[r + 3], n - i);
        }
    }
}

/* G g G^T */
static void isa_winograd_weights(float *u, int64_t step, const float *const g[9],
                                 int64_t n)
{
    const vf half = all(0.5f);
    for (int64_t i = 0; i < n; i += VL) {
        vf t[12];
        for (int q = 0; q < 3; q++) {
            vf g0 = load_some(g[q] + i, n - i), g1 = load_some(g[3 + q] + i, n - i);
            vf g2 = load_some(g[6 + q] + i, n - i), ends = g0 + g2;
            t[q] = g0;
            t[3 + q] = (ends + g1) * half;
            t[6 + q] = (ends - g1) * half;
            t[9 + q] = g2;
        }
        for (int r = 0; r < 4; r++) {
            vf g0 = t[3 * r], g1 = t[3 * r + 1], g2 = t[3 * r + 2], ends = g0 + g2;
            float *to = u + 4 * r * step + i;
            store_some(to, g0, n - i);
            store_some(to + step, (ends + g1) * half, n - i);
            store_some(to + 2 * step, (ends - g1) * half, n - i);
            store_some(to + 3 * step, g2, n - i);
        }
    }
}

/* A^T m A */
static void isa_winograd_output(float *const y[4], const float *const add[4],
                                const float *bias, const float *m, int64_t step,
                                int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const vf b = bias ? load_some(bias + i, n - i) : (vf){0};
        vf t[8], out[4];
        for (int q = 0; q < 4; q++) {
            vf m0 = load_some(m + q * step + i, n - i),
               m1 = load_some(m + (4 + q) * step + i, n - i);
            vf m2 = load_some(m + (8 + q) * step + i, n - i);
            vf m3 = load_some(m + (12 + q) * step + i, n - i);
            t[q] = m0 + m1 + m2;
            t[4 + q] = m1 - m2 - m3;
        }
        out[0] = t[0] + t[1] + t[2];
        out[1] = t[1] - t[2] - t[3];
        out[2] = t[4] + t[5] + t[6];
        out[3] = t[5] - t[6] - t[7];
        for (int j = 0; j < 4; j++) {
            if (!y[j])
                continue;
            out[j] = out[j] + b;
            store_some(y[j] + i, add[j] ? out[j] + load_some(add[j] + i, n - i) : out[j],
                       n - i);
        }
    }
}
