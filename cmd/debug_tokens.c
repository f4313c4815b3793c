/* lx debug tokens - captions to 77-token chunks (docs/testing.md) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/debug.h"
#include "src/base/str.h"
#include "src/text/tokenizer.h"

struct tokens_args {
    int64_t max_token_length;
};

static const lx_option options[] = {
    LX_INT(struct tokens_args, max_token_length, 0, "max_token_length", "N", "75, 150 or 225"),
    LX_OPTION_END};

static void print_chunks(lx_cli *cli, const int64_t *ids, int n_chunks)
{
    lx_print(cli, "[");
    for (int c = 0; c < n_chunks; c++)
        for (int i = 0; i < LX_CHUNK; i++)
            lx_print(cli, "%s%lld%s", i ? ", " : c ? ", [" : "[",
                     (long long)ids[c * LX_CHUNK + i], i == LX_CHUNK - 1 ? "]" : "");
    lx_print(cli, "]\n");
}

/* Four hex digits at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = p[i] >= '0' && p[i] <= '9'                 ? p[i] - '0'
                    : (p[i] | 32) >= 'a' && (p[i] | 32) <= 'f' ? (p[i] | 32) - 'a' + 10
                                                               : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape after a backslash at *p, moving *p behind it. A lone surrogate becomes U+FFFD. */
static bool put_escape(lx_str *out, const char **p, const char *end)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *known = *p < end && **p ? strchr(names, **p) : NULL;
    int32_t c, low;

    if (known) {
        lx_str_putc(out, values[known - names]);
        (*p)++;
        return true;
    }
    if (*p >= end || **p != 'u' || (c = hex4(*p + 1, end)) < 0)
        return false;
    *p += 5;
    if (c >= 0xD800 && c < 0xDC00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' &&
        (low = hex4(*p + 2, end)) >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        *p += 6;
    }
    lx_str_put_utf8(out, c >= 0xD800 && c < 0xE000 ? 0xFFFDu : (uint32_t)c);
    return true;
}

/* A JSON string. Not base/json, which refuses NULs: captions of the goldens have them. */
static int read_string(lx_str *out, const char *line, size_t n, lx_error *err)
{
    const char *p = line, *end = line + n;

    while (p < end && strchr(" \t\r", *p))
        p++;
    while (end > p && strchr(" \t\r", end[-1]))
        end--;
    if (end - p < 2 || *p++ != '"' || *--end != '"')
        return lx_fail(err, LX_EFORMAT, "not a JSON string");
    while (p < end) {
        char c = *p++;
        if ((c == '\\' && !put_escape(out, &p, end)) || c == '"' || (unsigned char)c < 0x20)
            return lx_fail(err, LX_EFORMAT, "not a JSON string: column %zu",
                           (size_t)(p - line));
        if (c != '\\')
            lx_str_putc(out, c);
    }
    return lx_str_check(out, err);
}

static int print_line(lx_cli *cli, const lx_tokenizer *t, const char *line, size_t n, int length,
                      lx_error *err)
{
    int64_t ids[3 * LX_CHUNK];
    lx_str text = LX_STR_INIT;
    int rc;

    if ((rc = read_string(&text, line, n, err)) == 0 &&
        (rc = lx_tokenize_chunks(ids, NULL, t, lx_str_text(&text), text.len, length, err)) == 0)
        print_chunks(cli, ids, length / (LX_CHUNK - 2));
    lx_str_release(&text);
    return rc;
}

int lx_debug_tokens(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    struct tokens_args args = {75};
    lx_tokenizer *tokenizer = NULL;
    char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t n;
    int rc;

    if ((rc = lx_options_parse(&args, options, argc, argv, cli->arena, err)) < 0 ||
        (rc = lx_tokenizer_new(&tokenizer, err)) < 0)
        goto done;
    while ((n = getline(&line, &capacity, stdin)) > 0) {
        number++;
        if (line[n - 1] == '\n')
            n--;
        if ((rc = print_line(cli, tokenizer, line, (size_t)n, (int)args.max_token_length, err)) <
            0) {
            lx_within(err, "line %zu", number);
            break;
        }
    }
done:
    free(line);
    lx_tokenizer_free(tokenizer);
    return rc;
}
