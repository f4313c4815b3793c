/*
 * serve/request - what a browser asks for, taken apart and judged
 *
 * Nothing here touches a socket, a file or the store: bytes in, a request or a refusal
 * out. A target is taken apart before anything in it is decoded, and each piece is
 * decoded once, so that no escape can make a separator:
 *
 *     /run/4fa3b2c1d0e5f697/samples?step=100&prompt=a%20b
 *     target = path [ "?" query ]      path = "/" [ part { "/" part } [ "/" ] ]
 *     query  = pair { "&" pair }       pair = name [ "=" value ]     (+ is a space)
 *
 * Parts that are empty, "." or "..", escapes that are not two hex digits, control
 * characters (written or escaped) and what is no UTF-8 are refused, not repaired. Sources:
 * RFC 3986 (2.1, 3.3), RFC 9110 (7.2), WHATWG URL (application/x-www-form-urlencoded),
 * W3C Fetch Metadata.
 */
#ifndef LX_SERVE_REQUEST_H
#define LX_SERVE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"

enum {
    LX_SERVE_TARGET = 4096, /* bytes of a target */
    LX_SERVE_PARTS = 8,     /* of a path */
    LX_SERVE_PAIRS = 64     /* of a query */
};

typedef struct lx_serve_pair {
    const char *name, *value; /* decoded; value "" when it has none */
} lx_serve_pair;

typedef struct lx_serve_request {
    const char *parts[LX_SERVE_PARTS]; /* decoded; "/" has none */
    size_t n_parts;
    lx_serve_pair pairs[LX_SERVE_PAIRS]; /* in their order; a name may come again */
    size_t n_pairs;
    const char *last_event; /* id of the last event that was seen; NULL = none */
} lx_serve_request;

/*
 * The target of a request line; texts are in the arena.
 *
 *   LX_EUSAGE  not of the form above (absolute and "*" targets are not)
 *   LX_ELIMIT  longer, or of more parts or pairs, than the limits above
 */
int lx_serve_request_parse(lx_serve_request *out, const char *target, size_t n,
                           lx_arena *arena, lx_error *err);

/* The first value of a name; NULL when it is not there. */
const char *lx_serve_value(const lx_serve_request *r, const char *name);
/* A whole number; `otherwise` when it is absent, no number, or not from low to high. */
int64_t lx_serve_number(const lx_serve_request *r, const char *name, int64_t low,
                        int64_t high, int64_t otherwise);

/* ---- who asks ---------------------------------------------------------------------- */

/* Under which names this server may be called. */
typedef struct lx_serve_names {
    int port;
    const char *const
        *names; /* "localhost", "box.lan", or with a port "localhost:9000" */
    size_t n_names;
    bool takes_addresses; /* any literal IP address with our port: no name can be bound to
                             one, so it is no rebinding */
} lx_serve_names;

/*
 * Is this the value of a Host header that is meant for us? A page of a stranger whose
 * name was made to point here (DNS rebinding) sends its own name: that is the only thing
 * that tells it from the user. NULL is no.
 */
bool lx_serve_host_is_ours(const lx_serve_names *ours, const char *host);
/* The same of an Origin header; NULL (none was sent) is fine, "null" is not. */
bool lx_serve_origin_is_ours(const lx_serve_names *ours, const char *origin);
/* Of Sec-Fetch-Site: asked for by our own pages or by hand. NULL is fine: not all
 * browsers send it. Another port of this machine is "same-site", and is not ours. */
bool lx_serve_site_is_ours(const char *site);

#endif
