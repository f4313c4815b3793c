/* --optimizer_type, --optimizer_args and the two old names: decided together, since an
 * option's meaning hangs on whose it is. */
#include <string.h>
#include <strings.h>

#include "cmd/train_flag.h"

#define SETTER(name) int lx_set_##name(lx_flags *f, const lx_flag_value *v, lx_error *err)

SETTER(optimizer_type)
{
    lx_optimizer_type type = LX_OPTIMIZER_ADAMW;
    int rc = *v->text ? lx_optimizer_type_from_name(&type, v->text, err) : LX_OK;

    if (rc == LX_OK)
        lx_optimizer_defaults(&f->config->optimizer, type);
    return rc;
}

static int set_by_old_name(lx_flags *f, lx_optimizer_type type, lx_error *err)
{
    if (*f->values[LX_AT_optimizer_type].text)
        return lx_fail(err, LX_EUSAGE, "it excludes --optimizer_type: give one of them");
    lx_optimizer_defaults(&f->config->optimizer, type);
    return LX_OK;
}

SETTER(use_8bit_adam)
{
    return v->is_on ? set_by_old_name(f, LX_OPTIMIZER_ADAMW_8BIT, err) : LX_OK;
}

SETTER(use_lion_optimizer)
{
    if (v->is_on && f->values[LX_AT_use_8bit_adam].is_on)
        return lx_fail(err, LX_EUSAGE, "it excludes --use_8bit_adam: give one of them");
    return v->is_on ? set_by_old_name(f, LX_OPTIMIZER_LION, err) : LX_OK;
}

SETTER(optimizer_args)
{
    (void)f; /* when it is known whose they are: lx_flags_resolve_optimizer */
    (void)v;
    (void)err;
    return LX_OK;
}

/* What the peer adds to the options by itself, and so to the metadata. */
static void put_added(lx_str *all, const lx_optimizer_config *o, bool has_momentum,
                      bool has_relative_step)
{
    const char *comma = all->len ? "," : "";

    if ((o->type == LX_OPTIMIZER_SGD_NESTEROV ||
         o->type == LX_OPTIMIZER_SGD_NESTEROV_8BIT) &&
        !has_momentum)
        lx_str_printf(all, "%smomentum=0.9", comma);
    if (o->type == LX_OPTIMIZER_ADAFACTOR && !has_relative_step)
        lx_str_printf(all, "%srelative_step=True", comma);
}

/* Adafactor with relative_step: the peer refuses a warm-up, and goes on without the others. */
static int tell_own_rate(lx_flags *f, lx_error *err)
{
    static const int without_effect[] = {LX_AT_lr_scheduler, LX_AT_learning_rate,
                                         LX_AT_unet_lr, LX_AT_text_encoder_lr};
    lx_str names = LX_STR_INIT;
    int rc = LX_OK;

    if (f->config->lr_warmup_steps != 0)
        return lx_fail(err, LX_EUSAGE,
                       "--lr_warmup_steps has no effect on Adafactor, which finds its rate "
                       "itself: leave it out, or give --optimizer_args relative_step=False");
    for (size_t i = 0; i < sizeof without_effect / sizeof *without_effect; i++) {
        const int at = without_effect[i];
        if (f->values[at].given &&
            !(at == LX_AT_lr_scheduler &&
              lx_starts_with(f->values[at].text, "adafactor")))
            lx_str_printf(&names, "%s--%s", names.len ? ", " : "", lx_flag_table[at].name);
    }
    if (names.len && (rc = lx_str_check(&names, err)) == LX_OK &&
        lx_flags_note(f,
                      "Adafactor finds its rate itself: %s without effect; --optimizer_args "
                      "relative_step=False takes rates",
                      lx_str_text(&names)) < 0)
        rc = lx_oom(err);
    lx_str_release(&names);
    return rc;
}

/* What has no effect, or an unlikely one, is said. */
static int tell_rate(lx_flags *f)
{
    const lx_train_config *c = f->config;
    const double rate = c->network.has_text_encoder && c->text_encoder_lr != 0
                            ? c->text_encoder_lr
                            : c->unet_lr;

    if (lx_optimizer_has_own_schedule(&c->optimizer) &&
        (c->lr_scheduler != LX_LR_CONSTANT || c->lr_warmup_steps != 0))
        return lx_flags_note(
            f,
            "%s follows no schedule: --lr_scheduler and --lr_warmup_steps have no "
            "effect; its own warm-up is --optimizer_args warmup_steps=N",
            lx_optimizer_name(c->optimizer.type));
    if (!lx_optimizer_is_adaptive(c->optimizer.type) || rate > 0.1)
        return LX_OK;
    return lx_flags_note(
        f,
        "%s finds the rate by itself and multiplies it by --learning_rate: %g is "
        "far below the usual 1.0",
        lx_optimizer_name(c->optimizer.type), rate);
}

int lx_flags_resolve_optimizer(lx_flags *f, lx_error *err)
{
    const lx_words *words = &f->values[LX_AT_optimizer_args].words;
    lx_optimizer_config *o = &f->config->optimizer;
    bool has_momentum = false, has_relative_step = false;
    lx_str all = LX_STR_INIT;
    const char *key, *value;
    int rc = LX_OK;

    for (size_t i = 0; i < words->count && rc == LX_OK; i++) {
        if ((rc = lx_flags_split_pair(&key, &value, f->arena, words->items[i], err)) <
                0 ||
            (rc = lx_optimizer_set(o, key, value, err)) < 0) {
            lx_within(err, "--optimizer_args %s", words->items[i]);
            break;
        }
        has_momentum |= strcmp(key, "momentum") == 0;
        has_relative_step |= strcmp(key, "relative_step") == 0;
        lx_str_printf(&all, "%s%s=", i ? "," : "", key);
        lx_optimizer_put_literal(&all, value);
    }
    if (rc == LX_OK) {
        if (o->type == LX_OPTIMIZER_ADAFACTOR && o->warmup_init)
            o->relative_step = true; /* as the peer corrects it */
        put_added(&all, o, has_momentum, has_relative_step);
        rc = lx_str_check(&all, err);
    }
    if (rc == LX_OK && all.len > 0 &&
        !(f->config->optimizer_args = lx_arena_strdup(f->arena, lx_str_text(&all))))
        rc = lx_oom(err);
    lx_str_release(&all);
    if (rc == LX_OK && lx_starts_with(f->values[LX_AT_lr_scheduler].text, "adafactor") &&
        !lx_optimizer_has_own_rate(o))
        rc = lx_fail(err, LX_EUSAGE,
                     "--lr_scheduler adafactor belongs to --optimizer_type Adafactor "
                     "with relative_step");
    if (rc == LX_OK && lx_optimizer_has_own_rate(o))
        rc = tell_own_rate(f, err);
    o->initial_lr = f->config->learning_rate;
    return rc == LX_OK && tell_rate(f) < 0 ? lx_oom(err) : rc;
}
