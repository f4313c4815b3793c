#include "src/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/text/fix.h"
#include "src/text/unicode.h"

enum {
    N_BYTES = 256,
    MAX_TEXT = 256, /* bytes of a token, more than the longest has */
    N_MERGES = 48894,
    N_TOKENS = 2 * N_BYTES + N_MERGES + 2,
    N_SLOTS = 1 << 17, /* of the pair table: under half full */
    TEXT_MAX = 1 << 20 /* bytes of one caption; a book of a thousand pages is less */
};

#include "src/text/merges.inc"

struct slot {
    uint16_t left, right, result; /* result 0: empty (token 0 comes of no merge) */
};

struct lx_tokenizer {
    uint16_t of_byte[N_BYTES];
    struct slot slots[N_SLOTS];
    uint32_t text_at[N_TOKENS]; /* in texts */
    char *texts;
};

/* Bytes in the vocabulary's order: those that print first, then the others. */
static void order_bytes(unsigned char order[N_BYTES])
{
    int n = 0;

    for (int pass = 0; pass < 2; pass++)
        for (int b = 0; b < N_BYTES; b++) {
            bool prints = (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
            if (prints == (pass == 0))
                order[n++] = (unsigned char)b;
        }
}

static size_t slot_of(uint32_t left, uint32_t right)
{
    return ((left << 16 | right) * 2654435761u) >> 15;
}

static uint16_t merged(const lx_tokenizer *t, uint16_t left, uint16_t right)
{
    size_t i = slot_of(left, right);

    while (t->slots[i].result && (t->slots[i].left != left || t->slots[i].right != right))
        i = (i + 1) % N_SLOTS;
    return t->slots[i].result;
}

static void fill_slots(lx_tokenizer *t)
{
    for (int m = 0; m < N_MERGES; m++) {
        size_t i = slot_of(merges[m][0], merges[m][1]);
        while (t->slots[i].result)
            i = (i + 1) % N_SLOTS;
        t->slots[i] =
            (struct slot){merges[m][0], merges[m][1], (uint16_t)(2 * N_BYTES + m)};
    }
}

/* The text of every token, written as the vocabulary does: a byte that does not print is the
 * letter U+0100 + its place among those. A merged token is the text of its two parts. */
static int write_texts(lx_tokenizer *t, const unsigned char order[N_BYTES], lx_error *err)
{
    lx_str all = LX_STR_INIT;
    int rc;

    for (int id = 0; id < N_TOKENS && !all.failed; id++) {
        t->text_at[id] = (uint32_t)all.len;
        if (id >= N_TOKENS - 2) {
            lx_str_puts(&all, id == LX_TOKEN_BOS ? "<|startoftext|>" : "<|endoftext|>");
        } else if (id >= 2 * N_BYTES) {
            char text[2 * MAX_TEXT]; /* a copy: the buffer may move */
            size_t n = 0;
            for (int part = 0; part < 2; part++) {
                const uint32_t *at = &t->text_at[merges[id - 2 * N_BYTES][part]];
                size_t length = at[1] - at[0] - 1;
                lx_assert(length < MAX_TEXT);
                memcpy(text + n, all.data + at[0], length);
                n += length;
            }
            lx_str_append(&all, text, n);
        } else {
            int i = id % N_BYTES;
            lx_str_put_utf8(&all, i < 188 ? order[i] : 0x100u + (uint32_t)(i - 188));
            if (id >= N_BYTES)
                lx_str_puts(&all, "</w>");
        }
        lx_str_putc(&all, '\0');
    }
    if ((rc = lx_str_check(&all, err)) < 0)
        lx_str_release(&all);
    else
        t->texts = all.data;
    return rc;
}

int lx_tokenizer_new(lx_tokenizer **out, lx_error *err)
{
    unsigned char order[N_BYTES];
    lx_tokenizer *t = lx_calloc(1, sizeof(*t));
    int rc;

    *out = NULL;
    if (!t)
        return lx_oom(err);
    order_bytes(order);
    for (int i = 0; i < N_BYTES; i++)
        t->of_byte[order[i]] = (uint16_t)i;
    fill_slots(t);
    if ((rc = write_texts(t, order, err)) < 0)
        lx_tokenizer_free(t);
    else
        *out = t;
    return rc;
}

void lx_tokenizer_free(lx_tokenizer *t)
{
    if (t)
        lx_free(t->texts);
    lx_free(t);
}

const char *lx_token_text(const lx_tokenizer *t, int32_t id)
{
    return id < 0 || id >= N_TOKENS ? NULL : t->texts + t->text_at[id];
}

/* Ids being collected. */
struct ids {
    int32_t *at;
    size_t n, capacity;
};

static int put_id(struct ids *ids, int32_t id, lx_error *err)
{
    if (lx_grow(&ids->at, &ids->capacity, ids->n + 1, sizeof(int32_t)) < 0)
        return lx_oom(err);
    ids->at[ids->n++] = id;
    return 0;
}

/*
 * Merging: pieces in a linked list, candidate pairs in a heap by (rank, position). A rank is the
 * id of what a pair becomes, since ids follow the order of merges, and a pair that holds a token
 * ranks behind that token's own merge: so taking pairs one by one gives what the rule says (all
 * places of the best pair, left to right, again and again), and a long word stays n log n.
 */
struct piece {
    uint16_t id; /* UINT16_MAX: swallowed by the one before */
    uint32_t before, after;
};
struct pair {
    uint16_t rank, left, right;
    uint32_t at;
};
struct word {
    struct piece *pieces;
    size_t n_pieces, piece_capacity;
    struct pair *heap;
    size_t n_heap, heap_capacity;
};

static void word_release(struct word *w)
{
    lx_free(w->pieces);
    lx_free(w->heap);
}

static bool is_sooner(const struct pair *a, const struct pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static int push_pair(struct word *w, const lx_tokenizer *t, uint32_t at, lx_error *err)
{
    const struct piece *p = &w->pieces[at];
    struct pair pair;
    size_t i;

    if (p->after == UINT32_MAX)
        return 0;
    pair = (struct pair){merged(t, p->id, w->pieces[p->after].id), p->id,
                         w->pieces[p->after].id, at};
    if (!pair.rank)
        return 0;
    if (lx_grow(&w->heap, &w->heap_capacity, w->n_heap + 1, sizeof(pair)) < 0)
        return lx_oom(err);
    for (i = w->n_heap++; i > 0 && is_sooner(&pair, &w->heap[(i - 1) / 2]);
         i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = pair;
    return 0;
}

static struct pair pop_pair(struct word *w)
{
    struct pair top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < w->n_heap) {
        if (child + 1 < w->n_heap && is_sooner(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!is_sooner(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

static int merge_word(struct ids *ids, struct word *w, const lx_tokenizer *t,
                      const unsigned char *bytes, size_t n, lx_error *err)
{
    int rc = 0;

    if (lx_grow(&w->pieces, &w->piece_capacity, n, sizeof(*w->pieces)) < 0)
        return lx_oom(err);
    w->n_heap = 0;
    for (size_t i = 0; i < n; i++)
        w->pieces[i] =
            (struct piece){(uint16_t)(t->of_byte[bytes[i]] + (i == n - 1 ? N_BYTES : 0)),
                           i == 0 ? UINT32_MAX : (uint32_t)i - 1,
                           i == n - 1 ? UINT32_MAX : (uint32_t)i + 1};
    for (size_t i = 0; i + 1 < n && rc == 0; i++)
        rc = push_pair(w, t, (uint32_t)i, err);
    while (rc == 0 && w->n_heap > 0) {
        struct pair pair = pop_pair(w);
        struct piece *p = &w->pieces[pair.at], *q;
        if (p->id != pair.left || p->after == UINT32_MAX ||
            (q = &w->pieces[p->after])->id != pair.right)
            continue; /* one of the two has been merged meanwhile */
        p->id = pair.rank;
        p->after = q->after;
        q->id = UINT16_MAX;
        if (p->after != UINT32_MAX)
            w->pieces[p->after].before = pair.at;
        if ((rc = push_pair(w, t, pair.at, err)) == 0 && p->before != UINT32_MAX)
            rc = push_pair(w, t, p->before, err);
    }
    for (uint32_t i = 0; rc == 0 && i != UINT32_MAX; i = w->pieces[i].after)
        rc = put_id(ids, w->pieces[i].id, err);
    return rc;
}

/* What the peer's pattern tells apart. U+0345 folds to a letter, and a pattern that ignores case
 * takes it for neither letter nor anything else: it is skipped. */
enum kind { SPACE, LETTER, NUMBER, OTHER };

static enum kind kind_of(uint32_t c)
{
    if (lx_is_space(c) || c == 0x345)
        return SPACE;
    if (lx_is_letter(c))
        return LETTER;
    return lx_is_number(c) ? NUMBER : OTHER;
}

/* Whether `word` stands here; the text is lower case already, but a long s counts as an s. */
static bool stands(const uint32_t *text, size_t n, const char *word)
{
    size_t i;

    for (i = 0; word[i]; i++)
        if (i >= n ||
            (text[i] != (unsigned char)word[i] && !(word[i] == 's' && text[i] == 0x17F)))
            return false;
    return true;
}

/* The length of the next word of text[0..n), n > 0, which begins with no space. */
static size_t word_length(const uint32_t *text, size_t n)
{
    static const char *const whole[] = {
        "<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    enum kind kind = kind_of(text[0]);
    size_t k = 1;

    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        if (stands(text, n, whole[i]))
            return strlen(whole[i]);
    while (kind != NUMBER && k < n && kind_of(text[k]) == kind)
        k++;
    return k;
}

static int put_word(struct ids *ids, struct word *w, const lx_tokenizer *t,
                    const uint32_t *text, size_t n, lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    int rc;

    for (size_t i = 0; i < n; i++)
        lx_str_put_utf8(&bytes, text[i]);
    if ((rc = lx_str_check(&bytes, err)) == 0) {
        if (strcmp(bytes.data, "<|startoftext|>") == 0)
            rc = put_id(ids, LX_TOKEN_BOS, err);
        else if (strcmp(bytes.data, "<|endoftext|>") == 0)
            rc = put_id(ids, LX_TOKEN_EOS, err);
        else
            rc = merge_word(ids, w, t, (const unsigned char *)bytes.data, bytes.len, err);
    }
    lx_str_release(&bytes);
    return rc;
}

/* A stretch without special tokens: repaired, lower-cased, cut into words. */
static int put_text(struct ids *ids, const lx_tokenizer *t, const uint32_t *text,
                    size_t n, lx_error *err)
{
    lx_points fixed = LX_POINTS_INIT, clean = LX_POINTS_INIT;
    struct word w = {0};
    size_t i = 0, first = 0, last;
    int rc;

    if ((rc = lx_fix_text(&fixed, text, n, err)) < 0)
        goto done;
    /* Outer spaces go before lower-casing, which looks for the ends of words; inner runs need not
     * be joined, since no word begins with a space. */
    for (last = fixed.n; last > 0 && lx_is_space(fixed.at[last - 1]); last--)
        ;
    while (first < last && lx_is_space(fixed.at[first]))
        first++;
    if (first == last)
        goto done;
    lx_points_lower(&clean, fixed.at + first, last - first);
    if ((rc = lx_points_check(&clean, err)) < 0)
        goto done;
    while (i < clean.n && rc == 0) {
        size_t length = 1;
        if (kind_of(clean.at[i]) != SPACE) {
            length = word_length(clean.at + i, clean.n - i);
            rc = put_word(ids, &w, t, clean.at + i, length, err);
        }
        i += length;
    }
done:
    word_release(&w);
    lx_points_release(&fixed);
    lx_points_release(&clean);
    return rc;
}

/* 0, or the id of a special token spelled exactly here. Those are cut out before any repair. */
static int32_t special_at(const uint32_t *text, size_t n, size_t *length)
{
    static const char *const names[] = {"<|startoftext|>", "<|endoftext|>"};

    for (int i = 0; i < 2; i++) {
        size_t k = 0;
        while (names[i][k] && k < n && text[k] == (unsigned char)names[i][k])
            k++;
        if (!names[i][k]) {
            *length = k;
            return LX_TOKEN_BOS + i;
        }
    }
    return 0;
}

int lx_tokenize(int32_t **out, size_t *n, const lx_tokenizer *t, const char *text,
                size_t bytes, lx_error *err)
{
    lx_points points = LX_POINTS_INIT;
    struct ids ids = {0};
    size_t from = 0, i = 0, length;
    int32_t special;
    int rc;

    *out = NULL;
    *n = 0;
    if (bytes > TEXT_MAX)
        return lx_fail(err, LX_ELIMIT, "the caption has %zu bytes, the limit is %d",
                       bytes, (int)TEXT_MAX);
    if ((rc = lx_points_from_utf8(&points, text, bytes, err)) < 0)
        goto done;
    while (i < points.n) {
        special = special_at(points.at + i, points.n - i, &length);
        if (!special) {
            i++;
            continue;
        }
        if ((rc = put_text(&ids, t, points.at + from, i - from, err)) < 0 ||
            (rc = put_id(&ids, special, err)) < 0)
            goto done;
        from = i += length;
    }
    if (from < points.n && /* the empty text has no points */
        (rc = put_text(&ids, t, points.at + from, points.n - from, err)) < 0)
        goto done;
    if (!ids.at && !(ids.at = lx_alloc(0))) {
        rc = lx_oom(err);
        goto done;
    }
    *out = ids.at;
    *n = ids.n;
    ids.at = NULL;
done:
    lx_points_release(&points);
    lx_free(ids.at);
    return rc;
}

int lx_tokenize_chunks(int64_t *out, size_t *n_cut, const lx_tokenizer *t,
                       const char *text, size_t bytes, int max_length, lx_error *err)
{
    int32_t *ids;
    size_t n;
    int rc;

    if (max_length != 75 && max_length != 150 && max_length != 225)
        return lx_fail(err, LX_EUSAGE,
                       "max_token_length is %d; 75, 150 and 225 are possible",
                       max_length);
    if ((rc = lx_tokenize(&ids, &n, t, text, bytes, err)) < 0)
        return rc;
    for (int i = 0; i < max_length; i++) {
        int64_t *row = out + i / (LX_CHUNK - 2) * LX_CHUNK;
        row[0] = LX_TOKEN_BOS;
        row[1 + i % (LX_CHUNK - 2)] = (size_t)i < n ? ids[i] : LX_TOKEN_EOS;
        row[LX_CHUNK - 1] = LX_TOKEN_EOS;
    }
    if (n_cut)
        *n_cut = n > (size_t)max_length ? n - (size_t)max_length : 0;
    lx_free(ids);
    return 0;
}
