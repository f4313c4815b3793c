/*
 * serve/asset - the files that every page of the web view asks for: style, scripts, icon
 *
 * They are inside the program. An address carries the hash of the content
 * ("/assets/lx.css?v=1a2b3c4d"), so that a browser may keep it and still gets a new one
 * from a new version.
 */
#ifndef LX_SERVE_ASSET_H
#define LX_SERVE_ASSET_H

#include "src/base/str.h"

typedef enum lx_serve_asset {
    LX_SERVE_CSS,
    LX_SERVE_ICON,
    LX_SERVE_DYGRAPHS_JS, /* with its licence; curves.js wants it before it */
    LX_SERVE_CURVES_JS,   /* makes figures of report/page interactive */
    LX_SERVE_PARALLEL_JS,
    LX_SERVE_RUNS_JS,
    LX_SERVE_LIVE_JS,
    LX_SERVE_ASSETS
} lx_serve_asset;

/* The one of this file name ("lx.css"), or LX_SERVE_ASSETS. */
lx_serve_asset lx_serve_asset_find(const char *name);
const char *lx_serve_asset_type(lx_serve_asset asset); /* for Content-Type */
void lx_serve_asset_put(lx_str *out, lx_serve_asset asset);
/* Its address, appended. LX_ENOMEM is remembered in out. */
void lx_serve_asset_address(lx_str *out, lx_serve_asset asset);

#endif
