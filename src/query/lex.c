#include <stdbool.h>
#include <string.h>

#include "src/query/filter_internal.h"

/* What a bare word is made of: names of flags and curves, numbers, dates, and every byte
 * of other scripts. A minus inside belongs to the word, so dates and network-dim are one.
 */
static bool is_word_byte(char c)
{
    return (unsigned char)c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || (c != '\0' && strchr("_-./:+@#%*?\\", c) != NULL);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Continuation bytes of UTF-8 are no characters of their own. */
static void advance(lexer *l)
{
    if (((unsigned char)*l->at++ & 0xC0) != 0x80)
        l->column++;
}

static int take_text(token *out, lexer *l, token_kind kind, const char *from, size_t n,
                     lx_error *err)
{
    out->kind = kind;
    out->text = lx_arena_strndup(l->arena, from, n);
    return out->text ? LX_OK : lx_oom(err);
}

static int take_word(token *out, lexer *l, lx_error *err)
{
    const char *from = l->at;
    while (l->at < l->end && is_word_byte(*l->at))
        advance(l);
    return take_text(out, l, TOKEN_WORD, from, (size_t)(l->at - from), err);
}

/* A quote inside is written twice, as in SQL. */
static int take_quoted(token *out, lexer *l, lx_error *err)
{
    char quote = *l->at;
    char *text = lx_arena_alloc(l->arena, (size_t)(l->end - l->at) + 1);
    size_t n = 0;

    if (!text)
        return lx_oom(err);
    for (advance(l); l->at < l->end; advance(l)) {
        if (*l->at == quote) {
            advance(l);
            if (l->at == l->end || *l->at != quote) {
                text[n] = '\0';
                out->kind = TOKEN_QUOTED;
                out->text = text;
                return LX_OK;
            }
        }
        text[n++] = *l->at;
    }
    return lx_fail(err, LX_EUSAGE,
                   "column %zu: the text that begins here has no closing %c", out->column,
                   quote);
}

static const struct {
    const char *text;
    token_kind kind;
    filter_op op;
} signs[] = {
    /* longer ones first */
    {"==", TOKEN_OP, OP_EQ}, {"!=", TOKEN_OP, OP_NE}, {"<>", TOKEN_OP, OP_NE},
    {"<=", TOKEN_OP, OP_LE}, {">=", TOKEN_OP, OP_GE}, {"!~", TOKEN_OP, OP_HAS_NOT},
    {"&&", TOKEN_AND, 0},    {"||", TOKEN_OR, 0},     {"=", TOKEN_OP, OP_EQ},
    {"<", TOKEN_OP, OP_LT},  {">", TOKEN_OP, OP_GT},  {"~", TOKEN_OP, OP_HAS},
    {"(", TOKEN_OPEN, 0},    {")", TOKEN_CLOSE, 0},   {",", TOKEN_COMMA, 0},
    {"!", TOKEN_NOT, 0},
};

int query__next(token *out, lexer *l, lx_error *err)
{
    while (l->at < l->end && is_space(*l->at))
        advance(l);
    *out = (token){.kind = TOKEN_END, .column = l->column};
    if (l->at == l->end)
        return LX_OK;
    if (*l->at == '\'' || *l->at == '"')
        return take_quoted(out, l, err);
    if (is_word_byte(*l->at))
        return take_word(out, l, err);
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        size_t n = strlen(signs[i].text);
        if ((size_t)(l->end - l->at) >= n && memcmp(l->at, signs[i].text, n) == 0) {
            out->kind = signs[i].kind;
            out->op = signs[i].op;
            l->at += n;
            l->column += n;
            return LX_OK;
        }
    }
    return lx_fail(err, LX_EUSAGE,
                   "column %zu: '%c' means nothing here; put texts in quotes", l->column,
                   *l->at >= ' ' && *l->at < 127 ? *l->at : '?');
}
