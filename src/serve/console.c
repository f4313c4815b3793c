#include "src/serve/console.h"

#include <string.h>

/* The line under way goes; one whose beginning is elsewhere is told to go. */
static void overwrite(lx_str *out)
{
    size_t at = out->len;

    while (at && out->data[at - 1] != '\n')
        at--;
    out->len = at; /* not lx_str_clear: a failure stays remembered */
    if (out->data)
        out->data[at] = '\0';
    if (!at)
        lx_str_putc(out, '\r');
}

/* Is this byte part of an escape? ESC [ ... letter, ESC ] ... BEL or ST, ESC ( and such and one. */
static bool is_escape(lx_serve_console *c, unsigned char byte)
{
    bool ends_line = byte == '\n' || byte == '\r';

    switch (c->state) {
    case LX_PLAIN:
        c->state = byte == 0x1b ? LX_ESCAPE : LX_PLAIN;
        return byte == 0x1b;
    case LX_ESCAPE:
        c->state = byte == '['                   ? LX_CSI
                   : byte == ']'                 ? LX_OSC
                   : byte >= 0x20 && byte < 0x30 ? LX_ESCAPE /* of a set of characters */
                                                 : LX_PLAIN;
        return !ends_line;
    case LX_CSI:
        if (ends_line || (byte >= 0x40 && byte <= 0x7e))
            c->state = LX_PLAIN;
        return !ends_line; /* a broken one ends with its line */
    case LX_OSC:
        if (ends_line || byte == 0x07)
            c->state = LX_PLAIN;
        else if (byte == 0x1b)
            c->state = LX_OSC_END;
        return !ends_line;
    default:
        c->state = LX_PLAIN;
        return !ends_line;
    }
}

void lx_serve_console_take(lx_str *out, lx_serve_console *c, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char byte = bytes[i];
        if (is_escape(c, (unsigned char)byte))
            continue;
        if (byte == '\r') {
            c->has_returned = true;
            continue;
        }
        if (c->has_returned && byte != '\n')
            overwrite(out);
        c->has_returned = false;
        lx_str_putc(out, byte);
    }
}

size_t lx_serve_console_tail(const char *bytes, size_t n, size_t most)
{
    const char *end;

    if (n <= most)
        return 0;
    end = memchr(bytes + n - most, '\n', most);
    return end ? (size_t)(end + 1 - bytes) : n - most;
}

size_t lx_serve_console_whole(const char *bytes, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)bytes[n - back];
        size_t wanted = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        if ((c & 0xC0) == 0x80)
            continue;
        return wanted > back ? n - back : n;
    }
    return n;
}
