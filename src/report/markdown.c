#include "src/report/markdown.h"

#include <ctype.h>
#include <string.h>

/* "3. " and "3) " begin a list: where the dot of such a beginning stands, else NULL. */
static const char *list_mark(const char *text)
{
    const char *p = text;

    while (isdigit((unsigned char)*p))
        p++;
    return p > text && (*p == '.' || *p == ')') && (p[1] == ' ' || !p[1]) ? p : NULL;
}

void lx_markdown_text(lx_str *out, const char *text)
{
    lx_str safe = LX_STR_INIT;
    const char *p, *mark;

    lx_escape_html(&safe, text, strlen(text));
    mark = list_mark(lx_str_text(&safe));
    for (p = lx_str_text(&safe); *p; p++) {
        if (*p == '\n' || *p == '\t') {
            lx_str_putc(out, ' ');
            continue;
        }
        if (*p == '&') { /* an entity of HTML's: whole, or it would be none */
            const size_t n = strcspn(p, ";");
            lx_str_append(out, p, n + (p[n] == ';'));
            p += n - (p[n] != ';');
            continue;
        }
        if (strchr("\\`*_{}[]()#+!|~", *p) || p == mark ||
            (p == safe.data && (*p == '-' || *p == '=') && p[1] && strchr(" -=", p[1])) ||
            (*p == ':' && p[1] == '/' && p[2] == '/'))
            lx_str_putc(out, '\\');
        lx_str_putc(out, *p);
    }
    out->failed |= safe.failed;
    lx_str_release(&safe);
}

void lx_markdown_code(lx_str *out, const char *text)
{
    size_t longest = 0, run = 0;

    for (const char *p = text; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    for (size_t i = 0; i <= longest; i++)
        lx_str_putc(out, '`');
    if (longest)
        lx_str_putc(out, ' ');
    lx_escape_terminal(out, text, strlen(text), true);
    if (longest)
        lx_str_putc(out, ' ');
    for (size_t i = 0; i <= longest; i++)
        lx_str_putc(out, '`');
}
