#include "src/verify/prompt.h"

#include <ctype.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/base/unicode.h"

enum { VOCABULARY = 49408, FIRST_MERGE = 512, RANK_WINDOW = 1500 };

/* ---- captions ------------------------------------------------------------------ */

static int tokenize(lx_ids *out, const lx_prompts *p, const char *text, size_t n,
                    lx_error *err)
{
    int32_t *ids;
    size_t count;
    int rc = lx_tokenize(&ids, &count, p->tokenizer, text, n, err);

    if (rc < 0)
        return rc;
    out->at = lx_arena_alloc(p->arena, count * sizeof *ids);
    out->n = count;
    if (out->at)
        memcpy(out->at, ids, count * sizeof *ids);
    lx_free(ids);
    return out->at ? LX_OK : lx_oom(err);
}

int lx_prompt_ids(lx_ids *out, const lx_prompts *p, const char *text, lx_error *err)
{
    return tokenize(out, p, text, strlen(text), err);
}

static bool same_ids(lx_ids a, lx_ids b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.at, b.at, a.n * sizeof *a.at) == 0);
}

/* The index of the tag, added when it is new. */
static int add_tag(int *out, lx_prompts *p, const char *text, size_t n, lx_ids ids,
                   lx_error *err)
{
    for (size_t i = 0; i < p->n_tags; i++)
        if (same_ids(p->tags[i].ids, ids)) {
            *out = (int)i;
            return LX_OK;
        }
    if (lx_arena_grow(p->arena, &p->tags, &p->capacity, p->n_tags + 1, sizeof *p->tags) <
        0)
        return lx_oom(err);
    p->tags[p->n_tags] =
        (lx_prompt_tag){.text = lx_arena_strndup(p->arena, text, n), .ids = ids};
    if (!p->tags[p->n_tags].text)
        return lx_oom(err);
    *out = (int)p->n_tags++;
    return LX_OK;
}

/*
 * A tag's ids behind the `before` ids of what precedes it. Punctuation that touches its
 * comma merges with it ("(a)," ends in the token "),"), so only the common beginning is
 * the tag's own.
 */
static size_t common(lx_ids caption, size_t before, lx_ids tag)
{
    size_t n = 0;

    while (n < tag.n && before + n < caption.n && caption.at[before + n] == tag.at[n])
        n++;
    return n;
}

static int add_span(lx_prompts *p, lx_prompt_caption *c, const char *part, size_t n,
                    lx_error *err)
{
    lx_span *span = &c->spans[c->n_spans];
    lx_ids ids, before;
    int rc;

    if ((rc = tokenize(&ids, p, part, n, err)) < 0 ||
        (rc = tokenize(&before, p, c->text, (size_t)(part - c->text), err)) < 0 ||
        (rc = add_tag(&span->tag, p, part, n, ids, err)) < 0)
        return rc;
    span->first = before.n;
    span->n = common(c->ids, before.n, ids);
    if (span->first + span->n > (size_t)p->max_length)
        p->tags[span->tag].n_cut++;
    else
        p->tags[span->tag].n_captions++;
    c->n_spans++;
    return LX_OK;
}

static bool has_tag(const lx_prompt_caption *c, const lx_prompts *p, const char *part,
                    size_t n)
{
    for (size_t i = 0; i < c->n_spans; i++) {
        const char *text = p->tags[c->spans[i].tag].text;
        if (strlen(text) == n && strncasecmp(text, part, n) == 0)
            return true;
    }
    return false;
}

static int read_caption(lx_prompts *p, lx_prompt_caption *c, lx_error *err)
{
    size_t n_parts = 1;
    int rc = lx_prompt_ids(&c->ids, p, c->text, err);

    for (const char *at = c->text; *at; at++)
        n_parts += *at == ',';
    if (rc < 0)
        return rc;
    if (!(c->spans = lx_arena_calloc(p->arena, n_parts, sizeof *c->spans)))
        return lx_oom(err);
    for (size_t i = 0; i < c->ids.n; i++)
        p->is_used[c->ids.at[i]] = true;
    for (const char *at = c->text; at;) {
        const char *comma = strchr(at, ','), *part = at;
        size_t n = comma ? (size_t)(comma - at) : strlen(at);

        at = comma ? comma + 1 : NULL;
        lx_unicode_strip(&part, &n);
        if (n && !has_tag(c, p, part, n) && (rc = add_span(p, c, part, n, err)) < 0)
            return rc;
    }
    return LX_OK;
}

int lx_prompts_new(lx_prompts **out, const lx_tokenizer *tokenizer, lx_arena *arena,
                   const char *const *captions, size_t n, int max_length, lx_error *err)
{
    lx_prompts *p = lx_arena_calloc(arena, 1, sizeof *p);

    *out = NULL;
    if (!p)
        return lx_oom(err);
    *p = (lx_prompts){.tokenizer = tokenizer,
                      .arena = arena,
                      .max_length = max_length,
                      .n_captions = n};
    p->captions = lx_arena_calloc(arena, n, sizeof *p->captions);
    p->is_used = lx_arena_calloc(arena, VOCABULARY, sizeof *p->is_used);
    if (!p->captions || !p->is_used)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        int rc;
        p->captions[i].text = captions[i];
        if ((rc = read_caption(p, &p->captions[i], err)) < 0)
            return rc;
    }
    *out = p;
    return LX_OK;
}

int lx_prompt_tag_find(const lx_prompts *p, const char *text)
{
    lx_ids ids;

    if (lx_prompt_ids(&ids, p, text, NULL) < 0)
        return -1;
    for (size_t i = 0; i < p->n_tags; i++)
        if (same_ids(p->tags[i].ids, ids))
            return (int)i;
    return -1;
}

const lx_span *lx_prompt_span(const lx_prompts *p, size_t caption, int tag)
{
    const lx_prompt_caption *c = &p->captions[caption];

    for (size_t i = 0; i < c->n_spans; i++)
        if (c->spans[i].tag == tag)
            return c->spans[i].n &&
                           c->spans[i].first + c->spans[i].n <= (size_t)p->max_length
                       ? &c->spans[i]
                       : NULL;
    return NULL;
}

/* ---- controls ------------------------------------------------------------------ */

static bool ends_word(const lx_prompts *p, int32_t id)
{
    return lx_ends_with(lx_token_text(p->tokenizer, id), "</w>");
}

/* Letters only, and nothing that a caption says. */
static bool may_stand_in(const lx_prompts *p, int32_t id, bool is_end)
{
    const char *text = lx_token_text(p->tokenizer, id);
    size_t n = strlen(text);

    if (p->is_used[id] || ends_word(p, id) != is_end)
        return false;
    n -= is_end ? 4 : 0;
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)text[i]))
            return false;
    return n > 1;
}

static int32_t stand_in(const lx_prompts *p, int32_t id, lx_rng *rng)
{
    const bool is_end = ends_word(p, id);
    int32_t low = id - RANK_WINDOW, high = id + RANK_WINDOW;

    low = low < FIRST_MERGE ? FIRST_MERGE : low;
    high = high > LX_TOKEN_BOS ? LX_TOKEN_BOS : high;
    if (low + 2 * RANK_WINDOW > high) /* single characters and the very ends */
        low = high - 2 * RANK_WINDOW < FIRST_MERGE ? FIRST_MERGE : high - 2 * RANK_WINDOW;
    for (int tries = 0; tries < 10000; tries++) {
        int32_t other = low + (int32_t)lx_rng_below(rng, (uint64_t)(high - low));
        if (other != id && may_stand_in(p, other, is_end))
            return other;
    }
    return id; /* a vocabulary that the captions use up: the control is no change */
}

int lx_prompt_control(lx_ids *out, const lx_prompts *p, lx_ids like, lx_rng rng,
                      lx_error *err)
{
    if (!(out->at = lx_arena_alloc(p->arena, like.n * sizeof *out->at)))
        return lx_oom(err);
    out->n = like.n;
    for (size_t i = 0; i < like.n; i++)
        out->at[i] = stand_in(p, like.at[i], &rng);
    return LX_OK;
}

int lx_prompt_swap(lx_ids *out, const lx_prompts *p, size_t caption, const lx_span *span,
                   lx_ids with, lx_error *err)
{
    const lx_ids *ids = &p->captions[caption].ids;

    if (!(out->at = lx_arena_alloc(p->arena, ids->n * sizeof *out->at)))
        return lx_oom(err);
    out->n = ids->n;
    memcpy(out->at, ids->at, ids->n * sizeof *out->at);
    for (size_t i = 0; i < span->n && i < with.n; i++)
        out->at[span->first + i] = with.at[i];
    return LX_OK;
}

/* ---- out ----------------------------------------------------------------------- */

void lx_prompt_chunks(int64_t *out, const lx_prompts *p, lx_ids ids)
{
    const int inner = LX_CHUNK - 2;

    for (int i = 0; i < p->max_length; i++) {
        int64_t *row = out + i / inner * LX_CHUNK;
        row[0] = LX_TOKEN_BOS;
        row[1 + i % inner] = (size_t)i < ids.n ? ids.at[i] : LX_TOKEN_EOS;
        row[LX_CHUNK - 1] = LX_TOKEN_EOS;
    }
}

const char *lx_prompt_pieces(const lx_prompts *p, lx_ids ids)
{
    lx_str out = LX_STR_INIT;
    const char *copy;

    for (size_t i = 0; i < ids.n; i++) {
        const char *text = lx_token_text(p->tokenizer, ids.at[i]);
        size_t n = strlen(text);
        lx_str_puts(&out, i ? "|" : "");
        lx_str_append(&out, text, lx_ends_with(text, "</w>") ? n - 4 : n);
    }
    copy = out.failed ? NULL : lx_arena_strdup(p->arena, lx_str_text(&out));
    lx_str_release(&out);
    return copy ? copy : "?";
}
