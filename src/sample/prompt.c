#include "src/sample/prompt.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/text/prompt.h"

/* ---- <lora:...> -------------------------------------------------------------------- */

static int read_strength(double *out, const char *text, const char *tag, lx_error *err)
{
    char *end;

    *out = strtod(text, &end);
    if (end == text || *end || !isfinite(*out))
        return lx_fail(err, LX_EFORMAT,
                       "<%.100s>: \"%.40s\" is no strength; write <lora:NAME:0.8>", tag,
                       text);
    return LX_OK;
}

static bool looks_like_number(const char *text)
{
    return *text && strspn(text, "+-.0123456789eE") == strlen(text);
}

static int read_named(lx_lora_tag *out, char *item, char *equals, const char *tag,
                      lx_error *err)
{
    *equals = '\0';
    if (strcmp(item, "te") == 0)
        return read_strength(&out->text_encoder, equals + 1, tag, err);
    if (strcmp(item, "unet") == 0)
        return read_strength(&out->unet, equals + 1, tag, err);
    if (strcmp(item, "lbw") != 0)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "<%.100s>: there are te=, unet= and lbw=, no %.40s=", tag, item);
    out->blocks = equals + 1;
    return LX_OK;
}

/* body: "NAME:0.8:lbw=..." without the brackets and the "lora:". */
static int read_tag(lx_lora_tag *out, const char *tag, char *body, lx_error *err)
{
    int n_positional = 0, rc;
    bool has_unet = false;
    char *item = body, *next;

    *out = (lx_lora_tag){.name = body, .text_encoder = 1, .unet = 1};
    if ((next = strchr(item, ':')))
        *next++ = '\0';
    if (!*body)
        return lx_fail(err, LX_EFORMAT, "<%.100s>: the name of the LoRA is missing", tag);
    for (item = next; item; item = next) {
        char *equals;
        if ((next = strchr(item, ':')))
            *next++ = '\0';
        equals = strchr(item, '=');
        if (equals) {
            has_unet |= strncmp(item, "unet=", 5) == 0;
            if ((rc = read_named(out, item, equals, tag, err)) < 0)
                return rc;
        } else if (n_positional > 0 && !looks_like_number(item)) {
            out->blocks = item; /* the older spelling of lbw= */
        } else {
            double *to = n_positional == 0 ? &out->text_encoder : &out->unet;
            if (n_positional > 1)
                return lx_fail(
                    err, LX_EUNSUPPORTED,
                    "<%.100s>: a third number (a rank to cut to) is not supported; "
                    "`lx resize` makes such a file",
                    tag);
            has_unet |= n_positional == 1;
            if ((rc = read_strength(to, item, tag, err)) < 0)
                return rc;
            n_positional++;
        }
    }
    if (!has_unet && n_positional > 0)
        out->unet = out->text_encoder;
    return LX_OK;
}

/* The kind of tag at s, "<lora:": its length, 0 if it is text. */
static size_t tag_begin(const char *s)
{
    static const char *const kinds[] = {"<lora:", "<lyco:", "<hypernet:"};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (lx_starts_with(s, kinds[i]))
            return strlen(kinds[i]);
    return 0;
}

int lx_prompt_take_tags(const char **text, lx_lora_tag **tags, size_t *n_tags,
                        lx_arena *arena, const char *prompt, lx_error *err)
{
    size_t n = strlen(prompt), most = 0;
    char *out = lx_arena_alloc(arena, n + 1);
    const char *s = prompt, *close;
    size_t used = 0;
    int rc;

    *n_tags = 0;
    for (const char *c = prompt; *c; c++)
        most += *c == '<';
    if (!out || !(*tags = lx_arena_calloc(arena, most + 1, sizeof **tags)))
        return lx_oom(err);
    while (*s) {
        size_t begin = *s == '<' ? tag_begin(s) : 0;
        char *tag;
        if (!begin || !(close = strchr(s, '>'))) {
            out[used++] = *s++;
            continue;
        }
        if (s[1] == 'h')
            return lx_fail(err, LX_EUNSUPPORTED,
                           "hypernetworks (<hypernet:...>) are not supported");
        tag = lx_arena_strndup(arena, s + 1, (size_t)(close - s - 1));
        char *body = lx_arena_strndup(arena, s + begin, (size_t)(close - s) - begin);
        if (!tag || !body)
            return lx_oom(err);
        if ((rc = read_tag(&(*tags)[(*n_tags)++], tag, body, err)) < 0)
            return rc;
        s = close + 1;
    }
    out[used] = '\0';
    *text = out;
    return LX_OK;
}

/* ---- words in capitals ------------------------------------------------------------- */

static bool is_word_byte(unsigned char c)
{
    return isalnum(c) || c == '_' || c >= 0x80;
}

/* The next `word` that stands alone in [from, end), or NULL. */
static const char *find_word(const char *text, const char *from, const char *end,
                             const char *word)
{
    const size_t n = strlen(word);

    for (const char *s = from; s + n <= end; s++) {
        if (!(s = memchr(s, word[0], (size_t)(end - s))) || s + n > end)
            return NULL;
        if (memcmp(s, word, n) == 0 &&
            (s == text || !is_word_byte((unsigned char)s[-1])) &&
            (s + n == end || !is_word_byte((unsigned char)s[n])))
            return s;
    }
    return NULL;
}

int lx_prompt_check(const char *text, lx_error *err)
{
    if (find_word(text, text, text + strlen(text), "AND"))
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "AND in the prompt (several prompts in one picture) is not supported; a "
            "plain \"and\" is a word");
    return LX_OK;
}

/* ---- [a:b:0.5], [a|b] -------------------------------------------------------------- */

enum { MAX_NESTING = 64 };

typedef struct scheduler {
    const char *text;
    const size_t *match; /* of '[': where its ']' is, or the text's length */
    int step, n_steps;   /* step: from 1 */
    lx_str out;
} scheduler;

static size_t *match_brackets(const char *text, size_t n)
{
    size_t *match = lx_alloc((n + 1) * sizeof *match),
           *open = lx_alloc((n + 1) * sizeof *open);
    size_t n_open = 0;

    for (size_t i = 0; match && open && i < n; i++) {
        match[i] = n;
        if (text[i] == '\\' && i + 1 < n)
            match[++i] = n;
        else if (text[i] == '[')
            open[n_open++] = i;
        else if (text[i] == ']' && n_open > 0)
            match[open[--n_open]] = i;
    }
    if (!open) {
        lx_free(match);
        match = NULL;
    }
    lx_free(open);
    return match;
}

/* What is inside one pair of square brackets, at its own level. */
typedef struct inside {
    size_t bars, bar; /* how many, and where the one is that begins `turn` */
    size_t bar_end;   /* where the turn ends */
    size_t n_colons, last, before_last;
} inside;

static inside look_inside(const scheduler *s, size_t from, size_t to, size_t turn)
{
    inside in = {.bar = from, .bar_end = to};
    int round = 0;

    for (size_t i = from; i < to; i++) {
        char c = s->text[i];
        if (c == '\\')
            i++;
        else if (c == '[' && s->match[i] < to)
            i = s->match[i];
        else if (c == '(')
            round++;
        else if (c == ')')
            round -= round > 0;
        else if (c == ':' && round == 0) {
            in.n_colons++;
            in.before_last = in.last;
            in.last = i;
        } else if (c == '|' && round == 0) {
            if (in.bars == turn)
                in.bar_end = i;
            if (++in.bars == turn)
                in.bar = i + 1;
        }
    }
    return in;
}

/* The number of ":0.5]" as a step; false if it is none. */
static bool read_when(double *when, const scheduler *s, size_t from, size_t to)
{
    char number[32];
    size_t n;

    while (from < to && s->text[from] == ' ')
        from++;
    while (to > from && s->text[to - 1] == ' ')
        to--;
    n = to - from;
    if (n == 0 || n >= sizeof number || strspn(s->text + from, "0123456789.") < n)
        return false;
    memcpy(number, s->text + from, n);
    number[n] = '\0';
    char *end;
    *when = strtod(number, &end);
    if (*end)
        return false;
    if (strchr(number, '.'))
        *when *= s->n_steps;
    *when = floor(*when < s->n_steps ? *when : s->n_steps);
    return true;
}

static void expand(scheduler *s, size_t from, size_t to, int depth);

static void expand_brackets(scheduler *s, size_t from, size_t to, int depth)
{
    inside in = look_inside(s, from, to, 0);
    double when;

    if (in.bars > 0) {
        size_t turn = (size_t)(s->step - 1) % (in.bars + 1);
        in = look_inside(s, from, to, turn);
        expand(s, in.bar, in.bar_end, depth);
    } else if (in.n_colons > 0 && read_when(&when, s, in.last + 1, to)) {
        size_t split = in.n_colons > 1 ? in.before_last : from;
        size_t after = in.n_colons > 1 ? split + 1 : from;
        if (s->step > when)
            expand(s, after, in.last, depth);
        else if (in.n_colons > 1)
            expand(s, from, split, depth);
    } else {
        lx_str_putc(&s->out, '[');
        expand(s, from, to, depth);
        lx_str_putc(&s->out, ']');
    }
}

static void expand(scheduler *s, size_t from, size_t to, int depth)
{
    size_t plain = from;

    for (size_t i = from; i < to; i++) {
        if (s->text[i] == '\\') {
            i++;
        } else if (s->text[i] == '[' && s->match[i] < to && depth < MAX_NESTING) {
            lx_str_append(&s->out, s->text + plain, i - plain);
            expand_brackets(s, i + 1, s->match[i], depth + 1);
            i = s->match[i];
            plain = i + 1;
        }
    }
    lx_str_append(&s->out, s->text + plain, to - plain);
}

int lx_prompt_at_step(const char **out, lx_arena *arena, const char *text, int step,
                      int n_steps, lx_error *err)
{
    const size_t n = strlen(text);
    /* What ends before step 1 never holds, and the first of [a|b] holds in both: as in the web UI. */
    scheduler s = {.text = text,
                   .step = step > 1 ? step : 1,
                   .n_steps = n_steps,
                   .out = LX_STR_INIT};
    size_t *match;
    int rc;

    if (!strchr(text, '[')) {
        *out = text;
        return LX_OK;
    }
    if (!(match = match_brackets(text, n)))
        return lx_oom(err);
    s.match = match;
    expand(&s, 0, n, 0);
    if ((rc = lx_str_check(&s.out, err)) == LX_OK &&
        !(*out = lx_arena_strndup(arena, lx_str_text(&s.out), s.out.len)))
        rc = lx_oom(err);
    lx_str_release(&s.out);
    lx_free(match);
    return rc;
}

/* ---- chunks ------------------------------------------------------------------------ */

enum { FILL = LX_CHUNK - 2, COMMA = 267, BACKTRACK = 20, PEER_CHUNKS = 3 };

typedef struct filler {
    lx_prompt_chunks *out;
    const lx_tokenizer *tokenizer;
    const lx_embeddings *embeddings;
    bool is_peer;
    int32_t ids[FILL];
    float weights[FILL];
    int n, last_comma;
} filler;

/* Puts the chunk at hand away, filled up with ends. */
static int next_chunk(filler *f, lx_error *err)
{
    lx_prompt_chunks *out = f->out;
    int64_t *ids;
    float *weights;

    if (out->n == LX_PROMPT_CHUNKS)
        return lx_fail(err, LX_ELIMIT, "the prompt has more than %d chunks of 75 tokens",
                       LX_PROMPT_CHUNKS);
    ids = out->ids + (size_t)out->n * LX_CHUNK;
    weights = out->weights + (size_t)out->n * LX_CHUNK;
    ids[0] = LX_TOKEN_BOS;
    weights[0] = weights[LX_CHUNK - 1] = 1;
    ids[LX_CHUNK - 1] = LX_TOKEN_EOS;
    for (int i = 0; i < FILL; i++) {
        ids[1 + i] = i < f->n ? f->ids[i] : LX_TOKEN_EOS;
        weights[1 + i] = i < f->n ? f->weights[i] : 1;
        out->has_weights |= weights[1 + i] != 1;
    }
    out->n++;
    f->n = 0;
    f->last_comma = -1;
    return LX_OK;
}

static int add_token(filler *f, int32_t id, float weight, lx_error *err)
{
    int rc;

    if (f->is_peer) {
        if (f->n == FILL && f->out->n + 1 == PEER_CHUNKS) {
            f->out->n_cut++;
            return LX_OK;
        }
    } else if (id == COMMA) {
        f->last_comma = f->n;
    } else if (f->n == FILL && f->last_comma != -1 && FILL - f->last_comma <= BACKTRACK) {
        const int keep = f->last_comma + 1, move = FILL - keep;
        int32_t ids[BACKTRACK];
        float weights[BACKTRACK];
        memcpy(ids, f->ids + keep, (size_t)move * sizeof *ids);
        memcpy(weights, f->weights + keep, (size_t)move * sizeof *weights);
        f->n = keep;
        if ((rc = next_chunk(f, err)) < 0)
            return rc;
        memcpy(f->ids, ids, (size_t)move * sizeof *ids);
        memcpy(f->weights, weights, (size_t)move * sizeof *weights);
        f->n = move;
    }
    if (f->n == FILL && (rc = next_chunk(f, err)) < 0)
        return rc;
    f->ids[f->n] = id;
    f->weights[f->n++] = weight;
    return LX_OK;
}

static int add_words(filler *f, const char *text, size_t bytes, double weight,
                     lx_error *err)
{
    int32_t *ids;
    size_t n;
    int rc = lx_tokenize(&ids, &n, f->tokenizer, text, bytes, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = add_token(f, ids[i], (float)weight, err);
    lx_free(ids);
    return rc;
}

/* A word's vectors stay in one chunk, as in the web UI. */
static int add_embedding(filler *f, const lx_embedding *e, double weight, lx_error *err)
{
    int rc = f->n + e->n > FILL ? next_chunk(f, err) : LX_OK;

    for (int i = 0; i < e->n && rc == LX_OK; i++)
        rc = add_token(f, e->first + i, (float)weight, err);
    return rc;
}

static int add_text(filler *f, const char *text, size_t bytes, double weight,
                    lx_error *err)
{
    const lx_embedding *e;
    size_t start, taken;
    int rc;

    while ((e = lx_embeddings_next(&start, &taken, f->embeddings, text, bytes))) {
        if ((rc = add_words(f, text, start, weight, err)) < 0 ||
            (rc = add_embedding(f, e, weight, err)) < 0)
            return rc;
        text += start + taken;
        bytes -= start + taken;
    }
    return add_words(f, text, bytes, weight, err);
}

/* One part of one weight, which BREAKs may cut. */
static int add_part(filler *f, const lx_prompt_part *part, lx_error *err)
{
    const char *at = part->text, *end = part->text + part->bytes, *cut;
    int rc;

    if (!(fabs(part->weight) <= 1000))
        return lx_fail(err, LX_ELIMIT, "\"%.40s\" weighs %g; up to 1000 makes sense",
                       part->text, part->weight);
    while (!f->is_peer && (cut = find_word(part->text, at, end, "BREAK"))) {
        if ((rc = add_text(f, at, (size_t)(cut - at), part->weight, err)) < 0 ||
            (rc = next_chunk(f, err)) < 0)
            return rc;
        at = cut + strlen("BREAK");
    }
    return add_text(f, at, (size_t)(end - at), part->weight, err);
}

int lx_prompt_chunk(lx_prompt_chunks *out, lx_arena *arena, const lx_tokenizer *tokenizer,
                    const lx_embeddings *embeddings, const char *text, bool is_peer,
                    lx_error *err)
{
    const size_t values = (size_t)LX_PROMPT_CHUNKS * LX_CHUNK;
    filler f = {.out = out,
                .tokenizer = tokenizer,
                .embeddings = embeddings,
                .is_peer = is_peer,
                .last_comma = -1};
    lx_prompt prompt;
    int rc;

    *out = (lx_prompt_chunks){.ids = lx_arena_calloc(arena, values, sizeof(int64_t)),
                              .weights = lx_arena_calloc(arena, values, sizeof(float))};
    if (!out->ids || !out->weights)
        return lx_oom(err);
    if ((rc = lx_prompt_parse(&prompt, arena, text, strlen(text), err)) < 0)
        return rc;
    for (size_t i = 0; i < prompt.n_parts; i++)
        if ((rc = add_part(&f, &prompt.parts[i], err)) < 0)
            return rc;
    return f.n > 0 || out->n == 0 ? next_chunk(&f, err) : LX_OK;
}
