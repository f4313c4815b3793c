/* Rows through an activation and through its slope; for isa_body.h. */

#define MAP(name, expression)                             \
    static void name(float *y, const float *x, int64_t n) \
    {                                                     \
        int64_t i = 0;                                    \
        for (; i + VL <= n; i += VL) {                    \
            vf v = load(x + i);                           \
            store(y + i, expression);                     \
        }                                                 \
        if (i < n) {                                      \
            vf v = load_some(x + i, n - i);               \
            store_some(y + i, expression, n - i);         \
        }                                                 \
    }
#define MAP_SLOPE(name, slope)                                                    \
    static void name(float *dx, const float *dy, const float *x, int64_t n)       \
    {                                                                             \
        int64_t i = 0;                                                            \
        for (; i + VL <= n; i += VL)                                              \
            store(dx + i, load(dy + i) * slope(load(x + i)));                     \
        if (i < n)                                                                \
            store_some(dx + i,                                                    \
                       load_some(dy + i, n - i) * slope(load_some(x + i, n - i)), \
                       n - i);                                                    \
    }

MAP(isa_silu, silu_of(v))
MAP(isa_gelu, gelu_of(v))
MAP(isa_quick_gelu, quick_gelu_of(v))
MAP_SLOPE(isa_silu_dx, silu_slope)
MAP_SLOPE(isa_gelu_dx, gelu_slope)
MAP_SLOPE(isa_quick_gelu_dx, quick_gelu_slope)

static void isa_geglu(float *y, const float *a, const float *g, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(a + i) * gelu_of(load(g + i)));
    if (i < n)
        store_some(y + i, load_some(a + i, n - i) * gelu_of(load_some(g + i, n - i)),
                   n - i);
}

INLINE void geglu_slopes(vf *da, vf *dg, vf dy, vf a, vf g)
{
    vf cdf = normal_cdf(g), density = all(0.39894228f) * vexp(all(-0.5f) * g * g);
    *da = dy * (g * cdf);
    *dg = dy * a * FMA(g, density, cdf);
}

static void isa_geglu_dx(float *da, float *dg, const float *dy, const float *a,
                         const float *g, int64_t n)
{
    int64_t i = 0;
    vf va, vg;
    for (; i + VL <= n; i += VL) {
        geglu_slopes(&va, &vg, load(dy + i), load(a + i), load(g + i));
        store(da + i, va);
        store(dg + i, vg);
    }
    if (i < n) {
        geglu_slopes(&va, &vg, load_some(dy + i, n - i), load_some(a + i, n - i),
                     load_some(g + i, n - i));
        store_some(da + i, va, n - i);
        store_some(dg + i, vg, n - i);
    }
}
