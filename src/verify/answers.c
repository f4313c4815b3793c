#include "src/verify/answers.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST_FLAGS = 8 };

typedef struct work {
    lx_verify_result *r;
    lx_arena *arena;
    const char **flags;
    lx_error *err;
} work;

static int say(work *w, lx_question q, const char *word, const char *fmt, ...)
    LX_PRINTF(4, 5);

static int say(work *w, lx_question q, const char *word, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    w->r->answers[q] = (lx_answer){word, lx_arena_strdup(w->arena, text)};
    return w->r->answers[q].text ? LX_OK : lx_oom(w->err);
}

static void flag(work *w, const char *name)
{
    if (w->r->n_flags < MOST_FLAGS)
        w->flags[w->r->n_flags++] = name;
}

/* "3.1% [2.2, 4.0]" */
/* Of nothing there is no share. */
static const char *share(char out[32], double x)
{
    if (isfinite(x))
        snprintf(out, 32, "%.0f%%", 100 * x);
    else
        snprintf(out, 32, "an unknown share");
    return out;
}

static double value_of(const work *w, const char *id)
{
    const lx_evidence *row = lx_ledger_find(&w->r->ledger, id);

    return row ? row->estimate.value : NAN;
}

static int answer_learned(work *w)
{
    const lx_label_facts *f = &w->r->facts;
    const lx_evidence *d1 = lx_ledger_find(&w->r->ledger, "D1");
    const char *word = f->gain_p <= 0.05 && f->gain.low >= f->delta ? "YES"
                       : f->gain_p <= 0.05                          ? "A LITTLE"
                       : f->gain.high < 0                           ? "WORSE"
                       : f->gain.high < f->delta                    ? "NO"
                                                                    : "NOT DECIDED";
    char gain[64];

    return say(w, LX_Q_LEARNED, word, "gain %s, p = %.2g (sign flips over %zu images)%s",
               lx_estimate_percent(gain, f->gain), d1->p, f->n_images,
               d1->noise_share > 0.2 ? "; more draws (--draws) would sharpen it" : "");
}

static int answer_caption(work *w)
{
    const lx_label_facts *f = &w->r->facts;
    const lx_evidence *own = lx_ledger_find(&w->r->ledger, "D4b");
    char adds[64], kept[32], binding[64] = "", words[64] = "";

    if (own && !isnan(own->estimate.value))
        snprintf(binding, sizeof binding, "; own over another's caption %.2f%%, p = %.2g",
                 100 * own->estimate.value, own->p);
    if (!isnan(f->class_p))
        snprintf(words, sizeof words, "; %.2f%% to the folder's words, p = %.2g",
                 100 * f->class_gain.value, f->class_p);
    return say(w, LX_Q_USES_CAPTION,
               lx_label_uses_caption(f)         ? "YES"
               : lx_label_is_free_of_caption(f) ? "NO"
                                                : "NOT DECIDED",
               "the caption adds %s to the empty prompt's gain, of which %s stays "
               "without%s%s",
               lx_estimate_percent(adds, f->caption_gain), share(kept, f->share_without),
               words, binding);
}

/* Another tag that has most of the gain alone. */
static const lx_verify_tag *carrier(const work *w)
{
    const lx_verify_tag *best = NULL;

    for (size_t i = 0; i < w->r->n_tags; i++) {
        const lx_verify_tag *t = &w->r->tags[i];
        if (isnan(t->alone) ||
            (w->r->identifier && strcmp(t->text, w->r->identifier) == 0))
            continue;
        if (!best || t->alone > best->alone)
            best = t;
    }
    return best;
}

static int answer_identifier(work *w, size_t n_constant)
{
    const lx_evidence *row = lx_ledger_find(&w->r->ledger, "D5");
    const lx_verify_tag *other = carrier(w);
    const double alone = value_of(w, "D5s"), gain = w->r->facts.even_gain;
    const char *word;
    char effect[64], more[400] = "", of_it[32], of_none[32];

    if (!row)
        return say(w, LX_Q_IDENTIFIER, "not tested",
                   "no tag is in every caption and none is named by the folder; give "
                   "--identifier "
                   "WORD");
    word = row->adjusted <= 0.05 && row->estimate.low > 0 ? "EFFECTIVE"
           : row->estimate.high < 0.1 * fabs(gain)        ? "NO EFFECT"
                                                          : "NOT DECIDED";
    if (other && !isnan(alone) && other->alone > alone + 0.1) {
        snprintf(more, sizeof more, "; \"%.200s\" alone has %.0f%% of the gain",
                 other->text, 100 * other->alone);
        if (strcmp(word, "NO EFFECT") == 0)
            word = "CARRIED BY ANOTHER TAG";
    }
    return say(w, LX_Q_IDENTIFIER, word,
               "replacing \"%.200s\" costs %s; alone it has %s of the gain, the empty "
               "prompt %s%s%s",
               row->subject, lx_estimate_percent(effect, row->estimate),
               share(of_it, alone), share(of_none, w->r->facts.share_without), more,
               n_constant > 1
                   ? "; in the data it is never without the other constant tags"
                   : "");
}

static int answer_memorised(work *w)
{
    const lx_evidence *held = lx_ledger_find(&w->r->ledger, "D7");
    const lx_evidence *lost = lx_ledger_find(&w->r->ledger, "D7m");
    char gain[64];

    if (!held)
        return say(w, LX_Q_MEMORISED, "not tested",
                   "give --held-out DIR: images of the same "
                   "source that were not trained on");
    if (!(w->r->facts.gain_p <= 0.05)) /* of which a share could be lacking */
        return say(
            w, LX_Q_MEMORISED, "NOT DECIDED",
            "held-out images gain %s; that the training images gain is not certain "
            "(p = %.2g)",
            lx_estimate_percent(gain, held->estimate), w->r->facts.gain_p);
    const bool is_memorised = held->estimate.high < 0.2 * w->r->facts.gain.value;
    if (is_memorised)
        flag(w, "MEMORISED");
    return say(w, LX_Q_MEMORISED,
               is_memorised      ? "MEMORISED"
               : lost->p <= 0.05 ? "IN PART"
                                 : "GENERALISES",
               "held-out images gain %s; %.0f%% of the training images' gain is lacking "
               "(p = %.2g)",
               lx_estimate_percent(gain, held->estimate), 100 * lost->estimate.value,
               lost->p);
}

static int answer_damage(work *w)
{
    const lx_evidence *row = lx_ledger_find(&w->r->ledger, "D8");
    const double local = value_of(w, "D8l"), start = value_of(w, "D8n");
    char gain[64];

    if (local > 0.5)
        flag(w, "LEAKS");
    if (!row && isnan(start))
        return say(w, LX_Q_DAMAGE, "not tested",
                   "give --class-images DIR to see what happens to other pictures");
    if (!row)
        return say(w, LX_Q_DAMAGE, start > 0.5 ? "ACTS EVERYWHERE" : "LITTLE",
                   "other prompts' first steps move %.2f times as far as the training "
                   "captions'; "
                   "give --class-images DIR for more",
                   start);
    return say(
        w, LX_Q_DAMAGE,
        row->p <= 0.05 && row->estimate.high < 0 ? "DAMAGED"
        : local > 0.5                            ? "ACTS EVERYWHERE"
                                                 : "LITTLE",
        "class images gain %s; their predictions move %.2f times as far as the training "
        "images'",
        lx_estimate_percent(gain, row->estimate), local);
}

static int answer_strength(work *w)
{
    const lx_evidence *row = lx_ledger_find(&w->r->ledger, "D3");
    char interval[64] = "";
    double best;

    if (!row)
        return say(w, LX_Q_STRENGTH, "none", "the predictions do not move");
    best = row->estimate.value;
    if (best >= 0.5 && best < 0.8)
        flag(w, "OVER-STRENGTH");
    if (isfinite(row->estimate.low) && isfinite(row->estimate.high))
        snprintf(interval, sizeof interval, " [%.2f, %.2f]", row->estimate.low,
                 row->estimate.high);
    return say(w, LX_Q_STRENGTH,
               best > 1.5   ? "UNDERTRAINED"
               : best < 0.5 ? "HARMFUL AT 1"
               : best < 0.8 ? "TOO STRONG AT 1"
                            : "GOOD AT 1",
               "best strength %.2f%s%s", best, interval,
               best > 1.5 ? ": train on, or use it stronger" : "");
}

static int answer_unmeasured(work *w)
{
    for (int q = LX_Q_LEARNED; q < LX_N_QUESTIONS; q++) {
        int rc = say(w, (lx_question)q, "not tested", "%s",
                     w->r->facts.is_untrained ? "an update of zero changes nothing"
                                              : "needs --base and --data");
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

int lx_verify_answers(lx_verify_result *r, size_t n_constant, lx_arena *arena,
                      lx_error *err)
{
    work w = {.r = r, .arena = arena, .err = err};
    int rc;

    if (!(w.flags = lx_arena_calloc(arena, MOST_FLAGS, sizeof *w.flags)))
        return lx_oom(err);
    r->flags = w.flags;
    if (n_constant > 1)
        flag(&w, "IDENTIFIER NOT SEPARABLE");
    if (!r->facts.is_measured)
        return answer_unmeasured(&w);
    if ((rc = answer_learned(&w)) < 0 || (rc = answer_caption(&w)) < 0 ||
        (rc = answer_identifier(&w, n_constant)) < 0 || (rc = answer_memorised(&w)) < 0 ||
        (rc = answer_damage(&w)) < 0)
        return rc;
    return answer_strength(&w);
}
