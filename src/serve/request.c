#include "src/serve/request.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/str.h"

/* ---- targets ----------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7F;
}

/* One piece, decoded once. White space of any kind may stand in what a user types into a
 * query; elsewhere control characters have no business. */
static int decode(const char **out, const char *text, size_t n, bool is_query,
                  lx_arena *arena, lx_error *err)
{
    char *to = lx_arena_alloc(arena, n + 1);
    size_t length = 0;

    if (!to)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < n ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < n ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return lx_fail(err, LX_EUSAGE, "%% stands without two hex digits");
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        if (is_control(c) && !(is_query && (c == '\n' || c == '\r' || c == '\t')))
            return lx_fail(err, LX_EUSAGE, "a control character");
        to[length++] = (char)c;
    }
    to[length] = '\0';
    if (lx_utf8_check(to, length) != length)
        return lx_fail(err, LX_EUSAGE, "not UTF-8");
    *out = to;
    return LX_OK;
}

static int add_part(lx_serve_request *out, const char *text, size_t n, lx_arena *arena,
                    lx_error *err)
{
    const char *part;
    int rc;

    if (out->n_parts == LX_SERVE_PARTS)
        return lx_fail(err, LX_ELIMIT, "a path of more than %d parts", LX_SERVE_PARTS);
    if ((rc = decode(&part, text, n, false, arena, err)) < 0)
        return rc;
    if (!*part || strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
        return lx_fail(err, LX_EUSAGE, "a part of the path is empty, \".\" or \"..\"");
    out->parts[out->n_parts++] = part;
    return LX_OK;
}

static int parse_path(lx_serve_request *out, const char *text, size_t n, lx_arena *arena,
                      lx_error *err)
{
    size_t from = 1;
    int rc = LX_OK;

    if (!n || text[0] != '/')
        return lx_fail(err, LX_EUSAGE, "a path begins with /");
    while (from < n && rc == LX_OK) { /* one "/" at the end changes nothing */
        const char *slash = memchr(text + from, '/', n - from);
        size_t end = slash ? (size_t)(slash - text) : n;
        rc = add_part(out, text + from, end - from, arena, err);
        from = end + 1;
    }
    return rc;
}

static int parse_query(lx_serve_request *out, const char *text, size_t n, lx_arena *arena,
                       lx_error *err)
{
    int rc = LX_OK;

    for (size_t from = 0; from < n && rc == LX_OK;) {
        const char *ampersand = memchr(text + from, '&', n - from);
        size_t end = ampersand ? (size_t)(ampersand - text) : n;
        const char *equals = memchr(text + from, '=', end - from);
        size_t name_end = equals ? (size_t)(equals - text) : end;
        size_t value = equals ? name_end + 1 : end;
        lx_serve_pair *pair = &out->pairs[out->n_pairs];
        if (end > from) {
            if (out->n_pairs == LX_SERVE_PAIRS)
                return lx_fail(err, LX_ELIMIT, "more than %d values", LX_SERVE_PAIRS);
            if ((rc = decode(&pair->name, text + from, name_end - from, true, arena,
                             err)) == LX_OK)
                rc = decode(&pair->value, text + value, end - value, true, arena, err);
            out->n_pairs++;
        }
        from = end + 1;
    }
    return rc;
}

int lx_serve_request_parse(lx_serve_request *out, const char *target, size_t n,
                           lx_arena *arena, lx_error *err)
{
    const char *mark;
    size_t path;
    int rc;

    *out = (lx_serve_request){0};
    if (n > LX_SERVE_TARGET)
        return lx_fail(err, LX_ELIMIT, "an address of more than %d bytes",
                       LX_SERVE_TARGET);
    mark = memchr(target, '?', n);
    path = mark ? (size_t)(mark - target) : n;
    if ((rc = parse_path(out, target, path, arena, err)) == LX_OK && mark)
        rc = parse_query(out, mark + 1, n - path - 1, arena, err);
    return rc;
}

const char *lx_serve_value(const lx_serve_request *r, const char *name)
{
    for (size_t i = 0; i < r->n_pairs; i++)
        if (strcmp(r->pairs[i].name, name) == 0)
            return r->pairs[i].value;
    return NULL;
}

int64_t lx_serve_number(const lx_serve_request *r, const char *name, int64_t low,
                        int64_t high, int64_t otherwise)
{
    const char *text = lx_serve_value(r, name);
    int64_t n = 0;

    if (!text || !*text || strlen(text) > 15)
        return otherwise;
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text))
            return otherwise;
        n = n * 10 + (*text - '0');
    }
    return n < low || n > high ? otherwise : n;
}

/* ---- who asks ---------------------------------------------------------------------- */

/* "name:port", "[address]:port": where the name ends and what the port is (80 where none
 * is written: HTTP's own). false: neither. */
static bool split_host(const char *host, size_t *name, int *port)
{
    const char *end = *host == '[' ? strchr(host, ']') : strchrnul(host, ':');
    const char *p;

    if (!end)
        return false;
    if (*host == '[')
        end++;
    *name = (size_t)(end - host);
    *port = 80;
    if (!*end)
        return *name > 0;
    *port = 0;
    for (p = end + 1; isdigit((unsigned char)*p) && *port < 100000; p++)
        *port = *port * 10 + (*p - '0');
    return *end == ':' && !*p && p > end + 1 && *port > 0 && *port < 65536 && *name > 0;
}

static bool is_address(const char *host, size_t n)
{
    unsigned char bytes[16];
    char text[64];

    if (n >= 2 && host[0] == '[' && n - 2 < sizeof text) {
        snprintf(text, sizeof text, "%.*s", (int)n - 2, host + 1);
        return inet_pton(AF_INET6, text, bytes) == 1;
    }
    if (n >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s", (int)n, host);
    return inet_pton(AF_INET, text, bytes) == 1;
}

bool lx_serve_host_is_ours(const lx_serve_names *ours, const char *host)
{
    size_t name;
    int port;

    if (!host || !split_host(host, &name, &port))
        return false;
    for (size_t i = 0; i < ours->n_names; i++) {
        size_t wanted_name;
        int wanted_port;
        const char *wanted = ours->names[i];
        if (!split_host(wanted, &wanted_name, &wanted_port))
            continue;
        if (!wanted[wanted_name]) /* without a port of its own */
            wanted_port = ours->port;
        if (wanted_port == port && wanted_name == name &&
            strncasecmp(wanted, host, name) == 0)
            return true;
    }
    return ours->takes_addresses && port == ours->port && is_address(host, name);
}

bool lx_serve_origin_is_ours(const lx_serve_names *ours, const char *origin)
{
    if (!origin)
        return true;
    return strncasecmp(origin, "http://", 7) == 0 &&
           lx_serve_host_is_ours(ours, origin + 7);
}

bool lx_serve_site_is_ours(const char *site)
{
    return !site || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
}
