/* The sheet of a grid. */
#include <string.h>

#include "cmd/sample.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/png.h"
#include "src/report/page.h"

enum { GAP = 4 };

static int tallest(const char *const *labels, int n, int width, int scale)
{
    int most = 1;

    for (int i = 0; i < n; i++) {
        int lines = lx_canvas_lines(width, scale, labels[i]);
        most = lines > most ? lines : most;
    }
    return (most < 4 ? most : 4) * LX_FONT_HEIGHT * scale + 2 * GAP;
}

int lx_sheet_init(lx_sheet *sheet, const lx_sample_plan *plan, lx_error *err)
{
    bool has_rows = plan->n_rows > 1 || *plan->rows[0];

    *sheet = (lx_sheet){0};
    for (size_t i = 0; i < plan->n; i++) {
        const lx_sample_settings *s = &plan->pictures[i].settings;
        sheet->cell_width = s->width > sheet->cell_width ? s->width : sheet->cell_width;
        sheet->cell_height =
            s->height > sheet->cell_height ? s->height : sheet->cell_height;
    }
    sheet->scale = sheet->cell_width >= 256 ? 2 : 1;
    sheet->top = tallest(plan->columns, plan->n_columns, sheet->cell_width, sheet->scale);
    sheet->left = has_rows ? LX_FONT_WIDTH * sheet->scale * 14 + 2 * GAP : GAP;
    int rc = lx_canvas_init(
        &sheet->canvas,
        sheet->left + (int64_t)plan->n_columns * (sheet->cell_width + GAP),
        sheet->top + (int64_t)plan->n_rows * (sheet->cell_height + GAP), err);
    if (rc < 0)
        return rc;
    for (int c = 0; c < plan->n_columns; c++)
        lx_canvas_text(&sheet->canvas, sheet->left + c * (sheet->cell_width + GAP), 0,
                       sheet->cell_width, sheet->top, sheet->scale, plan->columns[c]);
    for (int r = 0; has_rows && r < plan->n_rows; r++)
        lx_canvas_text(&sheet->canvas, GAP, sheet->top + r * (sheet->cell_height + GAP),
                       sheet->left - 2 * GAP, sheet->cell_height, sheet->scale,
                       plan->rows[r]);
    return LX_OK;
}

void lx_sheet_release(lx_sheet *sheet)
{
    lx_canvas_release(&sheet->canvas);
}

void lx_sheet_put(lx_sheet *sheet, const lx_picture *p, const unsigned char *rgb)
{
    lx_canvas_put(&sheet->canvas, sheet->left + p->column * (sheet->cell_width + GAP),
                  sheet->top + p->row * (sheet->cell_height + GAP), rgb,
                  p->settings.width, p->settings.height);
}

int lx_sheet_write_png(const lx_sheet *sheet, const char *path, const char *text,
                       lx_error *err)
{
    lx_str png = LX_STR_INIT;
    int rc = lx_png_encode(&png, sheet->canvas.rgb, sheet->canvas.width,
                           sheet->canvas.height, "parameters", text, err);

    if (rc == LX_OK)
        rc = lx_file_write(path, png.data, png.len, err);
    lx_str_release(&png);
    return rc;
}

/* ---- HTML -------------------------------------------------------------------------- */

static int put_cell(lx_html *h, const lx_picture *p, lx_error *err)
{
    enum { MOST = 1 << 28 };
    lx_str bytes = LX_STR_INIT, uri = LX_STR_INIT;
    int rc = p->path ? lx_file_read(&bytes, p->path, MOST, err) : LX_OK;

    if (rc == LX_OK && p->path) {
        lx_data_uri(&uri, "image/png", lx_str_text(&bytes), bytes.len);
        if ((rc = lx_str_check(&uri, err)) == LX_OK) {
            lx_html_open(h, "td", NULL);
            lx_html_void(h, "img", "src", lx_str_text(&uri), "alt", p->settings.prompt,
                         NULL);
            lx_html_open(h, "div", NULL);
            lx_html_textf(h, "seed %llu", (unsigned long long)p->seed);
            lx_html_close(h);
            lx_html_close(h);
        }
    } else if (rc == LX_OK) {
        lx_html_leaf(h, "td", "", NULL);
    }
    lx_str_release(&bytes);
    lx_str_release(&uri);
    return rc;
}

static int put_table(lx_html *h, const lx_sample_plan *plan, lx_error *err)
{
    int rc = LX_OK;

    lx_html_open(h, "table", NULL);
    lx_html_open(h, "tr", NULL);
    lx_html_leaf(h, "th", "", NULL);
    for (int c = 0; c < plan->n_columns; c++)
        lx_html_leaf(h, "th", plan->columns[c], NULL);
    lx_html_close(h);
    for (int r = 0; r < plan->n_rows && rc == LX_OK; r++) {
        lx_html_open(h, "tr", NULL);
        lx_html_leaf(h, "th", plan->rows[r], NULL);
        for (int c = 0; c < plan->n_columns && rc == LX_OK; c++)
            rc = put_cell(h, &plan->pictures[r * plan->n_columns + c], err);
        lx_html_close(h);
    }
    lx_html_close(h);
    return rc;
}

int lx_sheet_write_html(const lx_sample_plan *plan, const char *path, lx_error *err)
{
    const lx_sample_settings *s = &plan->pictures[0].settings;
    char sampler[LX_SAMPLER_NAME], steps[32], cfg[32];
    lx_str out = LX_STR_INIT;
    lx_html h;
    int rc;

    snprintf(steps, sizeof steps, "%d", s->steps);
    snprintf(cfg, sizeof cfg, "%g", s->cfg);
    const char *const facts[][2] = {
        {"prompt", plan->pictures[0].prompt},
        {"negative prompt", *s->negative ? s->negative : NULL},
        {"sampler", lx_sampler_text(sampler, &s->sampler)},
        {"steps", steps},
        {"CFG scale", cfg},
    };
    lx_html_init(&h, &out);
    lx_page_begin(&h, "Grid of samples", false);
    lx_html_leaf(&h, "h1", "Grid of samples", NULL);
    lx_page_facts(&h, facts, sizeof facts / sizeof *facts);
    rc = put_table(&h, plan, err);
    lx_page_end(&h, "lx " LX_VERSION, false);
    if (rc == LX_OK)
        rc = lx_html_finish(&h, err);
    if (rc == LX_OK && lx_alloc_has_failed())
        rc = lx_oom(err);
    if (rc == LX_OK)
        rc = lx_file_write(path, lx_str_text(&out), out.len, err);
    lx_str_release(&out);
    return rc;
}
