#include "src/serve/frame.h"

#include <ctype.h>
#include <string.h>

#include "src/serve/asset.h"

static void put_style(lx_html *h, lx_serve_asset asset, const char *relation)
{
    lx_str address = LX_STR_INIT;
    lx_serve_asset_address(&address, asset);
    lx_html_void(h, "link", "rel", relation, "href", lx_str_text(&address), NULL);
    h->out->failed |= address.failed;
    lx_str_release(&address);
}

static void put_script(lx_html *h, lx_serve_asset asset)
{
    lx_str address = LX_STR_INIT;
    lx_serve_asset_address(&address, asset);
    lx_html_leaf(h, "script", "", "src", lx_str_text(&address), "defer", "", NULL);
    h->out->failed |= address.failed;
    lx_str_release(&address);
}

static void put_head(lx_html *h, const lx_serve_frame *f)
{
    lx_html_open(h, "head", NULL);
    lx_html_void(h, "meta", "charset", "utf-8", NULL);
    lx_html_void(h, "meta", "name", "viewport", "content",
                 "width=device-width, initial-scale=1", NULL);
    lx_html_leaf(h, "title", f->title, NULL);
    put_style(h, LX_SERVE_CSS, "stylesheet");
    put_style(h, LX_SERVE_ICON, "icon");
    if (f->scripts & LX_FRAME_CURVES) {
        put_script(h, LX_SERVE_DYGRAPHS_JS);
        put_script(h, LX_SERVE_CURVES_JS);
    }
    if (f->scripts & LX_FRAME_PARALLEL)
        put_script(h, LX_SERVE_PARALLEL_JS);
    if (f->scripts & LX_FRAME_RUNS)
        put_script(h, LX_SERVE_RUNS_JS);
    if (f->scripts & LX_FRAME_LIVE)
        put_script(h, LX_SERVE_LIVE_JS);
    lx_html_close(h);
}

void lx_serve_frame_begin(lx_html *h, const lx_serve_frame *f)
{
    lx_html_markup(h, "<!DOCTYPE html>\n");
    lx_html_open(h, "html", "lang", "en", NULL);
    put_head(h, f);
    lx_html_open(h, "body", NULL);
    lx_html_open(h, "header", "class", "top", NULL);
    lx_html_leaf(h, "a", "lx", "class", "brand", "href", "/", NULL);
    lx_html_leaf(h, "a", "Runs", "href", "/", NULL);
    if (f->where)
        lx_html_leaf(h, "span", f->where, "class", "where", "title", f->where, NULL);
    lx_html_close(h);
    lx_html_open(h, "main", "class", f->is_wide ? "wide" : NULL, NULL);
}

void lx_serve_frame_end(lx_html *h)
{
    lx_html_close_all(h, 0);
}

int lx_serve_frame_problem(lx_str *out, int status, const char *text, lx_error *err)
{
    const lx_serve_frame frame = {.title = "lx: a problem"};
    lx_html h;

    lx_html_init(&h, out);
    lx_serve_frame_begin(&h, &frame);
    lx_html_leaf(&h, "h1", status == 404 ? "Not here" : "That did not work", NULL);
    lx_html_leaf(&h, "p", text, "class", "finding bad", NULL);
    lx_html_open(&h, "p", NULL);
    lx_html_leaf(&h, "a", "All runs", "href", "/", NULL);
    lx_html_close(&h);
    lx_serve_frame_end(&h);
    return lx_html_finish(&h, err);
}

void lx_serve_escape(lx_str *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (isalnum(*p) || strchr("-_.~", *p))
            lx_str_putc(out, (char)*p);
        else
            lx_str_printf(out, "%%%02X", *p);
}
