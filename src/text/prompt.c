#include "src/text/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/text/unicode.h"

struct part {
    size_t from, n; /* in the text */
    double weight;
};
struct positions {
    size_t *at, n, capacity;
};
struct parser {
    struct part *parts;
    size_t n_parts, capacity;
    struct positions round, square;
};

static int add_part(struct parser *p, size_t from, size_t n, lx_error *err)
{
    if (lx_grow(&p->parts, &p->capacity, p->n_parts + 1, sizeof(*p->parts)) < 0)
        return lx_oom(err);
    p->parts[p->n_parts++] = (struct part){from, n, 1.0};
    return 0;
}

static int open_bracket(struct positions *open, size_t at, lx_error *err)
{
    /* Each one open costs a pass over what is inside; 1.1^1000 is no weight either. */
    if (open->n == LX_PROMPT_NESTING)
        return lx_fail(err, LX_ELIMIT, "more than %d brackets are open at once",
                       LX_PROMPT_NESTING);
    if (lx_grow(&open->at, &open->capacity, open->n + 1, sizeof(*open->at)) < 0)
        return lx_oom(err);
    open->at[open->n++] = at;
    return 0;
}

static void multiply_from(struct parser *p, size_t from, double factor)
{
    for (size_t i = from; i < p->n_parts; i++)
        p->parts[i].weight *= factor;
}

/* ":1.3)" at text: its length and number. 0 if it is something else. Digits of any script count,
 * as they do in the peer. */
static size_t explicit_weight(char number[64], const char *text, size_t n)
{
    const char *p = text + 1, *end = text + n;
    size_t used = 0, digits = 0;

    if (p < end && (*p == '+' || *p == '-'))
        number[used++] = *p++;
    while (p < end) {
        uint32_t c = lx_utf8_next(&p, end);
        if (c == ')' && digits > 0) {
            number[used] = '\0';
            return (size_t)(p - text);
        }
        if (c != '.' && (c == UINT32_MAX || !lx_is_decimal(c)))
            return 0;
        if (used < 62)
            number[used++] = c == '.' ? '.' : (char)('0' + lx_decimal_value(c));
        digits++;
    }
    return 0;
}

/* Takes one piece of text at `at`; *length is how long it was. */
static int take(struct parser *p, size_t *length, const char *text, size_t n, size_t at,
                lx_error *err)
{
    const char *s = text + at;
    char number[64], *end;
    double weight;

    *length = 1;
    switch (*s) {
    case '\\':
        if (at + 1 < n && strchr("()[]\\", s[1]) && s[1])
            *length = 2;
        return add_part(p, at + 1, *length - 1, err);
    case '(':
        return open_bracket(&p->round, p->n_parts, err);
    case '[':
        return open_bracket(&p->square, p->n_parts, err);
    case ':':
        if ((*length = explicit_weight(number, s, n - at)) == 0) {
            *length = 1;
            return add_part(p, at, 1, err);
        }
        if (p->round.n == 0)
            return add_part(p, at, *length, err);
        weight = strtod(number, &end);
        if (*end || end == number || !isfinite(weight))
            return lx_fail(err, LX_EFORMAT, "\"%s\" at byte %zu is no weight; write (text:1.2)",
                           number, at);
        multiply_from(p, p->round.at[--p->round.n], weight);
        return 0;
    case ')':
        if (p->round.n == 0)
            return add_part(p, at, 1, err);
        multiply_from(p, p->round.at[--p->round.n], 1.1);
        return 0;
    case ']':
        if (p->square.n == 0)
            return add_part(p, at, 1, err);
        multiply_from(p, p->square.at[--p->square.n], 1 / 1.1);
        return 0;
    default:
        while (at + *length < n && !(s[*length] && strchr("\\()[]:", s[*length])))
            (*length)++;
        return add_part(p, at, *length, err);
    }
}

/* Neighbours of one weight joined, their texts copied into the arena. */
static int join(lx_prompt *out, lx_arena *arena, const struct parser *p, const char *text,
                lx_error *err)
{
    out->parts = lx_arena_calloc(arena, p->n_parts + 1, sizeof(*out->parts));
    out->n_parts = 0;
    if (!out->parts)
        return lx_oom(err);
    for (size_t i = 0; i < p->n_parts;) {
        size_t n = 0, k;
        char *copy;
        for (k = i; k < p->n_parts && p->parts[k].weight == p->parts[i].weight; k++)
            n += p->parts[k].n;
        if (!(copy = lx_arena_alloc(arena, n + 1)))
            return lx_oom(err);
        out->parts[out->n_parts++] = (lx_prompt_part){copy, n, p->parts[i].weight};
        for (; i < k; i++) {
            memcpy(copy, text + p->parts[i].from, p->parts[i].n);
            copy += p->parts[i].n;
        }
        *copy = '\0';
    }
    if (out->n_parts == 0)
        out->parts[out->n_parts++] = (lx_prompt_part){"", 0, 1.0};
    return 0;
}

int lx_prompt_parse(lx_prompt *out, lx_arena *arena, const char *text, size_t bytes,
                    lx_error *err)
{
    struct parser p = {0};
    size_t at = 0, length;
    int rc = 0;

    while (at < bytes && rc == 0) {
        rc = take(&p, &length, text, bytes, at, err);
        at += length;
    }
    if (rc < 0)
        goto done;
    for (size_t i = 0; i < p.round.n; i++)
        multiply_from(&p, p.round.at[i], 1.1);
    for (size_t i = 0; i < p.square.n; i++)
        multiply_from(&p, p.square.at[i], 1 / 1.1);
    rc = join(out, arena, &p, text, err);
done:
    lx_free(p.parts);
    lx_free(p.round.at);
    lx_free(p.square.at);
    return rc;
}

static void put(int64_t *out, float *weights, int i, int64_t id, double weight)
{
    int at = i / (LX_CHUNK - 2) * LX_CHUNK + 1 + i % (LX_CHUNK - 2);
    out[at] = id;
    weights[at] = (float)weight;
}

int lx_tokenize_weighted(int64_t *out, float *weights, size_t *n_cut, const lx_tokenizer *t,
                         const char *text, size_t bytes, int max_length, lx_error *err)
{
    lx_arena *arena = NULL;
    lx_prompt prompt;
    size_t total = 0;
    int rc;

    if (max_length != 75 && max_length != 150 && max_length != 225)
        return lx_fail(err, LX_EUSAGE, "max_token_length is %d; 75, 150 and 225 are possible",
                       max_length);
    if (!(arena = lx_arena_new()))
        return lx_oom(err);
    for (int i = 0; i < max_length; i++)
        put(out, weights, i, LX_TOKEN_EOS, 1.0);
    for (int chunk = 0; chunk < max_length / (LX_CHUNK - 2); chunk++) {
        out[chunk * LX_CHUNK] = LX_TOKEN_BOS;
        out[chunk * LX_CHUNK + LX_CHUNK - 1] = LX_TOKEN_EOS;
        weights[chunk * LX_CHUNK] = weights[chunk * LX_CHUNK + LX_CHUNK - 1] = 1;
    }
    if ((rc = lx_prompt_parse(&prompt, arena, text, bytes, err)) < 0)
        goto done;
    for (size_t p = 0; p < prompt.n_parts; p++) {
        const lx_prompt_part *part = &prompt.parts[p];
        int32_t *ids;
        size_t n;
        if ((rc = lx_tokenize(&ids, &n, t, part->text, part->bytes, err)) < 0)
            goto done;
        for (size_t i = 0; i < n; i++, total++)
            if (total < (size_t)max_length)
                put(out, weights, (int)total, ids[i], part->weight);
        lx_free(ids);
    }
    if (n_cut)
        *n_cut = total > (size_t)max_length ? total - (size_t)max_length : 0;
done:
    lx_arena_free(arena);
    return rc;
}
