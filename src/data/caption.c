#include "src/data/caption.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/unicode.h"

/* A run of bytes in a text that outlives it. */
typedef struct span {
    const char *start;
    size_t length;
} span;

typedef struct span_list {
    span *items;
    size_t count, capacity;
} span_list;

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static span span_of(const char *text)
{
    return (span){text, strlen(text)};
}

/* Where `what` first occurs, or NULL. */
static const char *find(span in, const char *what)
{
    return memmem(in.start, in.length, what, strlen(what));
}

static void put_replaced(lx_str *out, span text, const char *old, const char *new_text)
{
    size_t old_length = strlen(old);
    const char *end = text.start + text.length, *at;

    while ((at = find(text, old)) != NULL) {
        lx_str_append(out, text.start, (size_t)(at - text.start));
        lx_str_puts(out, new_text);
        text = (span){at + old_length, (size_t)(end - at) - old_length};
    }
    lx_str_append(out, text.start, text.length);
}

/* Splits at the separator and strips each part. `keep_empty` as the peer's two ways differ. */
static int split(span_list *out, span text, const char *separator, bool keep_empty, lx_error *err)
{
    const char *end = text.start + text.length;
    size_t step = strlen(separator);
    bool is_last = false;

    while (!is_last) {
        const char *at = find(text, separator);
        span part = {text.start, at != NULL ? (size_t)(at - text.start) : text.length};
        is_last = at == NULL;
        if (!is_last)
            text = (span){at + step, (size_t)(end - at) - step};
        lx_unicode_strip(&part.start, &part.length);
        if (part.length == 0 && !keep_empty)
            continue;
        if (lx_grow(&out->items, &out->capacity, out->count + 1, sizeof out->items[0]) < 0)
            return lx_oom(err);
        out->items[out->count++] = part;
    }
    return LX_OK;
}

/* One alternative of "a|b|c". */
static span choose(span text, char separator, lx_rng *rng)
{
    const char *p = text.start, *end = text.start + text.length;
    size_t n = 1;
    uint64_t chosen;

    for (size_t i = 0; i < text.length; i++)
        n += text.start[i] == separator;
    if (n == 1)
        return text;
    for (chosen = lx_rng_below(rng, n); chosen > 0; chosen--)
        p = (const char *)memchr(p, separator, (size_t)(end - p)) + 1;
    text.start = p;
    p = memchr(p, separator, (size_t)(end - p));
    text.length = (size_t)((p != NULL ? p : end) - text.start);
    return text;
}

/* {{ and }} become these two bytes, which no UTF-8 text holds, and plain braces at the end. */
enum { ESCAPED_OPEN = (char)0xFE, ESCAPED_CLOSE = (char)0xFF };

/* The line after escaping: doubled braces, from the left, as one byte each. */
static void put_escaped(lx_str *out, span line)
{
    for (size_t i = 0; i < line.length; i++) {
        char c = line.start[i];
        bool is_doubled = i + 1 < line.length && line.start[i + 1] == c;
        if (is_doubled && (c == '{' || c == '}')) {
            lx_str_putc(out, c == '{' ? ESCAPED_OPEN : ESCAPED_CLOSE);
            i++;
        } else {
            lx_str_putc(out, c);
        }
    }
}

static void put_unescaped(lx_str *out, span text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.start[i];
        lx_str_putc(out, c == (char)ESCAPED_OPEN ? '{' : c == (char)ESCAPED_CLOSE ? '}' : c);
    }
}

/* {a|b}: an open brace, one or more bytes that are no closing brace, a closing brace. */
static void put_wildcards(lx_str *out, span text, lx_rng *rng)
{
    const char *p = text.start, *end = text.start + text.length;

    while (p < end) {
        const char *close = *p == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
        if (close != NULL && close > p + 1) {
            put_unescaped(out, choose((span){p + 1, (size_t)(close - p) - 1}, '|', rng));
            p = close + 1;
        } else {
            put_unescaped(out, (span){p, 1});
            p++;
        }
    }
}

static int put_one_line(lx_str *out, span text, bool enable_wildcard, lx_rng *rng, lx_error *err)
{
    lx_str escaped = LX_STR_INIT;
    int rc = LX_OK;

    if (!enable_wildcard) {
        const char *end = find(text, "\n");
        lx_str_append(out, text.start, end != NULL ? (size_t)(end - text.start) : text.length);
        return LX_OK;
    }
    put_escaped(&escaped, choose(text, '\n', rng));
    if ((rc = lx_str_check(&escaped, err)) == LX_OK)
        put_wildcards(out, (span){lx_str_text(&escaped), escaped.len}, rng);
    lx_str_release(&escaped);
    return rc;
}

typedef struct caption_parts {
    span_list head, flexible, tail; /* head and tail stay where they are */
} caption_parts;

static int split_by_keep_separator(caption_parts *out, span text, const char *keep,
                                   const char *separator, lx_error *err)
{
    const char *end = text.start + text.length, *at = find(text, keep);
    span head = {text.start, (size_t)(at - text.start)};
    span middle = {at + strlen(keep), (size_t)(end - at) - strlen(keep)};
    int rc;

    if ((at = find(middle, keep)) != NULL) {
        span tail = {at + strlen(keep), (size_t)(end - at) - strlen(keep)};
        middle.length = (size_t)(at - middle.start);
        if ((rc = split(&out->tail, tail, separator, false, err)) < 0)
            return rc;
    }
    if ((rc = split(&out->head, head, separator, false, err)) < 0)
        return rc;
    return split(&out->flexible, middle, separator, false, err);
}

static int split_by_count(caption_parts *out, span text, int keep_tokens, const char *separator,
                          lx_error *err)
{
    size_t n_kept;
    int rc;

    lx_unicode_strip(&text.start, &text.length);
    if ((rc = split(&out->flexible, text, separator, true, err)) < 0 || keep_tokens <= 0)
        return rc;
    n_kept = (size_t)keep_tokens < out->flexible.count ? (size_t)keep_tokens
                                                       : out->flexible.count;
    if (lx_grow(&out->head.items, &out->head.capacity, n_kept, sizeof(span)) < 0)
        return lx_oom(err);
    memcpy(out->head.items, out->flexible.items, n_kept * sizeof(span));
    out->head.count = n_kept;
    out->flexible.count -= n_kept;
    memmove(out->flexible.items, out->flexible.items + n_kept, out->flexible.count * sizeof(span));
    return LX_OK;
}

static void warm_up(span_list *flexible, const lx_dataset_config *config,
                    const lx_caption_moment *moment)
{
    double until = config->token_warmup_step, n;

    if (until < 1)
        until = floor(until * (double)moment->max_train_steps);
    if (until <= 0 || (double)moment->step >= until)
        return;
    n = floor((double)moment->step *
              (((double)flexible->count - config->token_warmup_min) / until)) +
        config->token_warmup_min;
    if (n < 0)
        n = 0;
    if (n < (double)flexible->count)
        flexible->count = (size_t)n;
}

static void shuffle(span_list *list, lx_rng *rng)
{
    for (size_t i = list->count; i > 1; i--) {
        size_t j = (size_t)lx_rng_below(rng, i);
        span kept = list->items[i - 1];
        list->items[i - 1] = list->items[j];
        list->items[j] = kept;
    }
}

static void drop_parts(span_list *list, double rate, lx_rng *rng)
{
    size_t n = 0;

    for (size_t i = 0; i < list->count; i++)
        if (lx_rng_uniform(rng) >= rate)
            list->items[n++] = list->items[i];
    list->count = n;
}

static void put_joined(lx_str *out, const span_list *list, bool *is_first)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!*is_first)
            lx_str_puts(out, ", ");
        *is_first = false;
        lx_str_append(out, list->items[i].start, list->items[i].length);
    }
}

/* Keep, warm up, shuffle, drop, join. */
static int put_rearranged(lx_str *out, span text, const lx_dataset_config *config,
                          const lx_caption_moment *moment, lx_rng *rng, lx_error *err)
{
    const char *separator = is_given(config->caption_separator) ? config->caption_separator : ",";
    const char *keep = config->keep_tokens_separator;
    caption_parts parts = {{0}, {0}, {0}};
    bool is_first = true;
    int rc;

    if (is_given(keep) && find(text, keep) != NULL)
        rc = split_by_keep_separator(&parts, text, keep, separator, err);
    else
        rc = split_by_count(&parts, text, config->keep_tokens, separator, err);
    if (rc < 0)
        goto done;
    warm_up(&parts.flexible, config, moment);
    if (config->shuffle_caption)
        shuffle(&parts.flexible, rng);
    if (config->caption_tag_dropout_rate > 0)
        drop_parts(&parts.flexible, config->caption_tag_dropout_rate, rng);
    put_joined(out, &parts.head, &is_first);
    put_joined(out, &parts.flexible, &is_first);
    put_joined(out, &parts.tail, &is_first);
done:
    lx_free(parts.head.items);
    lx_free(parts.flexible.items);
    lx_free(parts.tail.items);
    return rc;
}

static bool is_dropped(const lx_dataset_config *config, int epoch, lx_rng *rng)
{
    int every = config->caption_dropout_every_n_epochs;

    if (config->caption_dropout_rate > 0 && lx_rng_uniform(rng) < config->caption_dropout_rate)
        return true;
    return every > 0 && epoch % every == 0;
}

int lx_caption_process(lx_str *out, const char *caption, const lx_dataset_config *config,
                       const lx_caption_moment *moment, lx_rng *rng, lx_error *err)
{
    lx_str whole = LX_STR_INIT, line = LX_STR_INIT, arranged = LX_STR_INIT;
    const char *separator = is_given(config->caption_separator) ? config->caption_separator : ",";
    const lx_str *result = &line;
    int rc = LX_OK;

    lx_str_clear(out);
    if (is_given(config->caption_prefix)) {
        lx_str_puts(&whole, config->caption_prefix);
        lx_str_putc(&whole, ' ');
    }
    lx_str_puts(&whole, caption);
    if (is_given(config->caption_suffix)) {
        lx_str_putc(&whole, ' ');
        lx_str_puts(&whole, config->caption_suffix);
    }
    if ((rc = lx_str_check(&whole, err)) < 0 || is_dropped(config, moment->epoch, rng))
        goto done;

    rc = put_one_line(&line, span_of(lx_str_text(&whole)), config->enable_wildcard, rng, err);
    if (rc < 0 || (rc = lx_str_check(&line, err)) < 0)
        goto done;
    if (config->shuffle_caption || config->token_warmup_step > 0 ||
        config->caption_tag_dropout_rate > 0) {
        rc = put_rearranged(&arranged, span_of(lx_str_text(&line)), config, moment, rng, err);
        if (rc < 0 || (rc = lx_str_check(&arranged, err)) < 0)
            goto done;
        result = &arranged;
    }
    if (is_given(config->secondary_separator))
        put_replaced(out, span_of(lx_str_text(result)), config->secondary_separator, separator);
    else
        lx_str_append(out, lx_str_text(result), result->len);
    rc = lx_str_check(out, err);
done:
    lx_str_release(&whole);
    lx_str_release(&line);
    lx_str_release(&arranged);
    return rc;
}
