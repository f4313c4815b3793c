#include "src/verify/label.h"

#include <math.h>

static const double alpha = 0.05; /* of the family of tests, after Holm */

static lx_label_verdict say(lx_label label, bool is_certain, const char *why)
{
    return (lx_label_verdict){.label = label, .is_certain = is_certain, .why = why};
}

/* What the file proves by itself. */
static lx_label_verdict decide_unmeasured(const lx_label_facts *f)
{
    if (f->is_other_architecture)
        return say(LX_LABEL_HARMFUL, true,
                   "the LoRA is for another kind of model than this base");
    if (f->captions_proven_unread)
        return say(
            LX_LABEL_WITHOUT_CAPTION, true,
            "whatever it learned, it did not learn it from captions; whether it learned "
            "anything needs --base and --data");
    return say(LX_LABEL_UNDETERMINED, false,
               "the file alone cannot tell; give --base and --data to measure");
}

/* A use of less than this share of the gain is none to speak of: half of the least that a
 * LoRA trained on its captions showed when the rule was made (docs/verify.md). */
static const double least_use = 0.02;

static bool is_below(const lx_estimate *e, double bound)
{
    return isfinite(e->high) && e->high < bound;
}

bool lx_label_is_free_of_caption(const lx_label_facts *f)
{
    const double least = least_use * f->even_gain;

    if (!isnan(f->binding_p) && is_below(&f->binding, 0))
        return true;
    if (f->captions_proven_read)
        return is_below(&f->caption_gain, 0);
    return is_below(&f->caption_gain, least) ||
           (!isnan(f->class_p) && is_below(&f->class_gain, least));
}

/* A LoRA trained on the folder's words gains from a caption that holds them: then the
 * caption must add to those words. */
bool lx_label_uses_caption(const lx_label_facts *f)
{
    if (lx_label_is_free_of_caption(f))
        return false;
    if (f->captions_proven_read)
        return f->caption_p <= alpha || f->binding_p <= alpha;
    return f->caption_p <= alpha && (isnan(f->class_p) || f->class_p <= alpha);
}

static lx_label_verdict undecided(double mean, double sd, double bound, const char *why)
{
    lx_label_verdict v = say(LX_LABEL_UNDETERMINED, false, why);

    v.n_needed = lx_images_needed(mean, sd, bound);
    return v;
}

/* Images that tell the caption's use from none, or from the least that counts: whichever
 * it is farther from. */
static lx_label_verdict undecided_caption(const lx_label_facts *f)
{
    const double use = f->caption_gain.value, least = least_use * f->even_gain;

    return undecided(use > 0 ? use : 0, f->caption_sd, use > least / 2 ? 0 : least,
                     "the images are learned; whether by their captions is not decided");
}

static lx_label_verdict decide_gain(const lx_label_facts *f)
{
    if (f->captions_proven_unread)
        return say(
            LX_LABEL_WITHOUT_CAPTION, true,
            "the images are learned, and the captions are proven not to have been read");
    if (lx_label_uses_caption(f))
        return say(LX_LABEL_LEARNED, false,
                   "the images are learned, and the gain depends on the caption");
    if (lx_label_is_free_of_caption(f))
        return say(LX_LABEL_WITHOUT_CAPTION, false,
                   "the images are learned, and the gain does not depend on the caption");
    return undecided_caption(f);
}

lx_label_verdict lx_label_decide(const lx_label_facts *f)
{
    if (f->is_untrained)
        return say(LX_LABEL_NOT_LEARNED, true,
                   "every module is still at its start: it adds nothing");
    if (!f->is_measured)
        return decide_unmeasured(f);
    if (f->is_harness_broken)
        return say(LX_LABEL_UNDETERMINED, false,
                   "the control failed: a LoRA with its directions scrambled gains too, "
                   "so no gain "
                   "here may be believed");
    if (!(f->movement > 10 * f->noise_floor) || f->movement == 0)
        return say(LX_LABEL_NOT_LEARNED, false,
                   "the predictions do not move beyond the noise floor");
    if (f->gain.low > -f->delta && f->gain.high < f->delta)
        return say(LX_LABEL_NOT_LEARNED, false,
                   "the gain is within the smallest that counts");
    if (f->gain.high < 0)
        return say(LX_LABEL_HARMFUL, false,
                   "the images are denoised worse with it: harmful at this strength, or "
                   "trained on "
                   "another base");
    if (f->gain_p <= alpha)
        return f->gain.low >= f->delta
                   ? decide_gain(f)
                   : say(LX_LABEL_WEAK, false,
                         "the gain is real but may be too small to see");
    return undecided(
        f->gain.value, f->gain_sd, f->delta,
        "the images are too few, or too different, to tell the gain from chance");
}

const char *lx_label_name(lx_label label)
{
    static const char *const names[LX_LABEL_COUNT] = {
        [LX_LABEL_LEARNED] = "LEARNED",
        [LX_LABEL_WEAK] = "WEAK",
        [LX_LABEL_NOT_LEARNED] = "NOT LEARNED",
        [LX_LABEL_WITHOUT_CAPTION] = "LEARNED WITHOUT ITS CAPTION",
        [LX_LABEL_HARMFUL] = "HARMFUL OR WRONG BASE",
        [LX_LABEL_UNDETERMINED] = "UNDETERMINED",
    };
    return names[label];
}

const char *lx_label_key(lx_label label)
{
    static const char *const keys[LX_LABEL_COUNT] = {
        [LX_LABEL_LEARNED] = "learned",
        [LX_LABEL_WEAK] = "weak",
        [LX_LABEL_NOT_LEARNED] = "not_learned",
        [LX_LABEL_WITHOUT_CAPTION] = "learned_without_caption",
        [LX_LABEL_HARMFUL] = "harmful",
        [LX_LABEL_UNDETERMINED] = "undetermined",
    };
    return keys[label];
}

int lx_label_exit_status(lx_label label)
{
    static const int status[LX_LABEL_COUNT] = {
        [LX_LABEL_LEARNED] = 0,      [LX_LABEL_WEAK] = 10,
        [LX_LABEL_NOT_LEARNED] = 11, [LX_LABEL_WITHOUT_CAPTION] = 12,
        [LX_LABEL_HARMFUL] = 13,     [LX_LABEL_UNDETERMINED] = 14,
    };
    return status[label];
}
