#include "src/report/html.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"

void lx_html_init(lx_html *h, lx_str *out)
{
    *h = (lx_html){.out = out};
}

int lx_html_finish(lx_html *h, lx_error *err)
{
    lx_assert(h->depth == 0);
    return lx_str_check(h->out, err);
}

static void put_start(lx_html *h, const char *tag, va_list attributes)
{
    const char *name;

    lx_str_putc(h->out, '<');
    lx_str_puts(h->out, tag);
    while ((name = va_arg(attributes, const char *))) {
        const char *value = va_arg(attributes, const char *);
        if (!value)
            continue;
        lx_str_putc(h->out, ' ');
        lx_str_puts(h->out, name);
        lx_str_puts(h->out, "=\"");
        lx_escape_html(h->out, value, strlen(value));
        lx_str_putc(h->out, '"');
    }
    lx_str_putc(h->out, '>');
}

static void put_end(lx_html *h, const char *tag)
{
    lx_str_puts(h->out, "</");
    lx_str_puts(h->out, tag);
    lx_str_puts(h->out, ">\n");
}

void lx_html_open(lx_html *h, const char *tag, ...)
{
    va_list attributes;
    lx_assert(h->depth < LX_HTML_DEPTH);
    h->open[h->depth++] = tag;
    va_start(attributes, tag);
    put_start(h, tag, attributes);
    va_end(attributes);
}

void lx_html_close(lx_html *h)
{
    lx_assert(h->depth > 0);
    put_end(h, h->open[--h->depth]);
}

void lx_html_close_all(lx_html *h, int depth)
{
    while (h->depth > depth)
        lx_html_close(h);
}

void lx_html_leaf(lx_html *h, const char *tag, const char *text, ...)
{
    va_list attributes;
    va_start(attributes, text);
    put_start(h, tag, attributes);
    va_end(attributes);
    lx_html_text(h, text);
    put_end(h, tag);
}

void lx_html_void(lx_html *h, const char *tag, ...)
{
    va_list attributes;
    va_start(attributes, tag);
    put_start(h, tag, attributes);
    va_end(attributes);
    lx_str_putc(h->out, '\n');
}

void lx_html_text(lx_html *h, const char *text)
{
    lx_escape_html(h->out, text, strlen(text));
}

void lx_html_textf(lx_html *h, const char *fmt, ...)
{
    va_list args;
    char small[512], *text = small;
    int n;

    va_start(args, fmt);
    n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n >= (int)sizeof small) {
        text = lx_alloc((size_t)n + 1);
        va_start(args, fmt);
        if (text)
            vsnprintf(text, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    if (text && n >= 0)
        lx_html_text(h, text);
    else
        h->out->failed = true;
    if (text != small)
        lx_free(text);
}

void lx_html_markup(lx_html *h, const char *markup)
{
    lx_str_puts(h->out, markup);
}

void lx_html_data(lx_html *h, const char *id, const char *json)
{
    const char *at;

    lx_html_open(h, "script", "type", "application/json", "id", id, NULL);
    for (; (at = strchr(json, '<')); json = at + 1) {
        lx_str_append(h->out, json, (size_t)(at - json));
        lx_str_puts(h->out, "\\u003c");
    }
    lx_str_puts(h->out, json);
    lx_html_close(h);
}

void lx_data_uri(lx_str *out, const char *type, const void *bytes, size_t n)
{
    const unsigned char *from = bytes;
    unsigned char block[4 * 1024 + 1];

    lx_str_printf(out, "data:%s;base64,", type);
    while (n) {
        size_t take =
            n < 3072 ? n : 3072; /* a multiple of 3: only the last block is padded */
        int got = EVP_EncodeBlock(block, from, (int)take);
        lx_str_append(out, (const char *)block, (size_t)got);
        from += take;
        n -= take;
    }
}
