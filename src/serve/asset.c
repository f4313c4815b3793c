#include "src/serve/asset.h"

#include <string.h>

#include "serve_assets.h"
#include "src/base/sha256.h"
#include "src/report/page.h"
#include "src/report/svg.h"

static const struct {
    const char *name, *type;
} assets[] = {
    [LX_SERVE_CSS] = {"lx.css", "text/css; charset=utf-8"},
    [LX_SERVE_ICON] = {"icon.svg", "image/svg+xml"},
    [LX_SERVE_DYGRAPHS_JS] = {"dygraphs.js", "text/javascript; charset=utf-8"},
    [LX_SERVE_CURVES_JS] = {"curves.js", "text/javascript; charset=utf-8"},
    [LX_SERVE_PARALLEL_JS] = {"parallel.js", "text/javascript; charset=utf-8"},
    [LX_SERVE_RUNS_JS] = {"runs.js", "text/javascript; charset=utf-8"},
    [LX_SERVE_LIVE_JS] = {"live.js", "text/javascript; charset=utf-8"},
};

lx_serve_asset lx_serve_asset_find(const char *name)
{
    lx_serve_asset asset = 0;
    while (asset < LX_SERVE_ASSETS && strcmp(assets[asset].name, name) != 0)
        asset++;
    return asset;
}

const char *lx_serve_asset_type(lx_serve_asset asset)
{
    return assets[asset].type;
}

void lx_serve_asset_put(lx_str *out, lx_serve_asset asset)
{
    switch (asset) {
    case LX_SERVE_CSS:
        lx_str_puts(out, lx_page_asset(LX_PAGE_CSS));
        lx_str_puts(out, lx_svg_css);
        lx_str_puts(out, "\n");
        lx_str_puts(out, (const char *)asset_serve_css);
        break;
    case LX_SERVE_ICON:
        lx_str_puts(out, (const char *)asset_icon_svg);
        break;
    case LX_SERVE_DYGRAPHS_JS:
        lx_str_puts(out, "/*\n");
        lx_str_puts(out, lx_page_asset(LX_PAGE_DYGRAPHS_LICENSE));
        lx_str_puts(out, "*/\n");
        lx_str_puts(out, lx_page_asset(LX_PAGE_DYGRAPHS_JS));
        break;
    case LX_SERVE_CURVES_JS:
        lx_str_puts(out, lx_page_asset(LX_PAGE_CURVES_JS));
        break;
    case LX_SERVE_PARALLEL_JS:
        lx_str_puts(out, lx_page_asset(LX_PAGE_PARALLEL_JS));
        break;
    case LX_SERVE_RUNS_JS:
        lx_str_puts(out, (const char *)asset_runs_js);
        break;
    case LX_SERVE_LIVE_JS:
        lx_str_puts(out, (const char *)asset_live_js);
        break;
    case LX_SERVE_ASSETS:
        break;
    }
}

void lx_serve_asset_address(lx_str *out, lx_serve_asset asset)
{
    lx_str content = LX_STR_INIT;
    char hex[LX_HASH_HEX + 1];
    lx_hash hash;

    lx_serve_asset_put(&content, asset);
    hash = lx_sha256_of(lx_str_text(&content), content.len);
    lx_hash_hex(hex, &hash);
    lx_str_printf(out, "/assets/%s?v=%.12s", assets[asset].name, hex);
    out->failed |= content.failed;
    lx_str_release(&content);
}
