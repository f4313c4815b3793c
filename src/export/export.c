#include "src/export/export.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

double lx_export_time(const lx_export_run *run, size_t k, size_t n)
{
    double took = run->ended > run->started ? run->ended - run->started : 0;
    return run->started + (n ? took * (double)(k + 1) / (double)n : 0);
}

void lx_export_name(lx_str *out, const char *name)
{
    size_t n = strlen(name), from = out->len;
    for (size_t i = 0; i < n && i < 120; i++)
        lx_str_putc(out, isalnum((unsigned char)name[i]) || strchr(" ._-", name[i])
                             ? name[i]
                             : '_');
    if (out->failed)
        return;
    if (out->len == from || strspn(out->data + from, ".") == out->len - from)
        lx_str_putc(out, '_');
    if (out->data[from] == '.' || out->data[from] == '-') /* no hidden file, no option */
        out->data[from] = '_';
}

/* nan, inf and -inf by these names in any locale. */
static void put_value(lx_str *out, double x)
{
    if (isnan(x))
        lx_str_puts(out, "nan");
    else if (isinf(x))
        lx_str_puts(out, x < 0 ? "-inf" : "inf");
    else
        lx_str_printf(out, "%.17g", x);
}

int lx_export_csv(lx_str *out, const lx_export_run *runs, size_t n, lx_error *err)
{
    lx_str_puts(out, "run,name,key,step,value\n");
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < runs[i].n_curves; c++) {
            const lx_export_curve *curve = &runs[i].curves[c];
            lx_str start = LX_STR_INIT;
            lx_str_printf(&start, "%s,", runs[i].id);
            lx_escape_csv(&start, runs[i].name, strlen(runs[i].name));
            lx_str_putc(&start, ',');
            lx_escape_csv(&start, curve->key, strlen(curve->key));
            for (size_t k = 0; k < curve->n; k++) {
                lx_str_append(out, lx_str_text(&start), start.len);
                lx_str_printf(out, ",%lld,", (long long)curve->steps[k]);
                put_value(out, curve->values[k]);
                lx_str_putc(out, '\n');
            }
            out->failed |= start.failed;
            lx_str_release(&start);
        }
    return lx_str_check(out, err);
}
