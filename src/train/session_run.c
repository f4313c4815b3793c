/* Steps and epochs, and what is due after them: files, states, pictures, validation. */
#include "src/train/session_internal.h"

/* What is saved is what is to be used, where that is not what is trained. */
static int show_averages(lx_train *t, bool on, lx_error *err)
{
    size_t n;
    const lx_trainable *tensors = lx_step_trainables(t->step, &n);

    return lx_optimizer_show_averages(t->optimizer, tensors, on)
               ? lx_lora_send(t->lora, err)
               : LX_OK;
}

static bool wants_stop(const lx_train *t)
{
    return t->observer->should_stop && t->observer->should_stop(t->observer->context);
}

static bool is_time_to_autosave(const lx_train *t)
{
    const double minutes = t->config->autosave_minutes;

    return minutes != 0 && lx_train__seconds() - t->autosaved >= minutes * 60;
}

static int autosave(lx_train *t, lx_error *err)
{
    int rc = lx_output_autosave(&t->output, err);

    t->kept_step = rc == LX_OK ? t->at.step : t->kept_step;
    return rc;
}

/* After a step something could not be saved or shown, and the training ends: with a state, if there is room
 * for one, and it is said where the newest one is. Returns rc. */
static int keep(lx_train *t, int rc, lx_error *err)
{
    lx_str state = LX_STR_INIT;
    lx_error why;

    if (rc == LX_OK)
        return rc;
    if (t->kept_step < t->at.step && show_averages(t, false, NULL) == LX_OK)
        autosave(t, NULL);
    if (err && t->kept_step &&
        lx_output_autosave_path(&state, t->config, NULL) == LX_OK) {
        why = *err;
        lx_fail(err, rc,
                "%s; what was trained up to step %lld is kept: once that is mended, lx "
                "resume goes on from %s",
                why.text, (long long)t->kept_step, lx_str_text(&state));
    }
    lx_str_release(&state);
    return rc;
}

/* Does anybody look at the values after this step? */
static bool is_anything_due(const lx_train *t)
{
    const lx_train_config *c = t->config;
    const int64_t step = t->at.step;

    return (c->save_every_n_steps > 0 && step % c->save_every_n_steps == 0) ||
           (t->validation && lx_validation_after_step(c, step)) ||
           lx_samples_is_due(c, false, 0, step) || is_time_to_autosave(t);
}

/* Of the LoRA that would be saved now. epoch: from 1. */
static int validate(lx_train *t, int epoch, bool is_epoch, lx_error *err)
{
    lx_validation_report report = {.step = t->at.step,
                                   .epoch = epoch,
                                   .is_epoch = is_epoch,
                                   .average_loss = t->average_loss};
    int rc;

    if ((rc = show_averages(t, true, err)) == LX_OK &&
        (rc = lx_validation_run(&report, t->validation, err)) == LX_OK)
        rc = show_averages(t, false, err);
    if (rc == LX_OK && t->observer->on_validation)
        rc = t->observer->on_validation(t->observer->context, &report, err);
    return rc;
}

/* The pictures that are due. They end with the VAE unloaded where they were drawn; the encoder may work there as well. */
static int draw_samples(lx_train *t, bool is_first, int epoch, lx_error *err)
{
    const int64_t step = is_first ? 0 : t->at.step;

    if (t->latents && !t->encoder_dev &&
        lx_samples_is_due(t->config, is_first, epoch, step))
        lx_latents_rest(t->latents);
    return lx_samples_draw(&t->samples, is_first, epoch, step, err);
}

/* The files and states that are due after a step. */
static int save_step(lx_train *t, lx_error *err)
{
    int rc = show_averages(t, true, err);

    if (rc == LX_OK && (rc = draw_samples(t, false, 0, err)) == LX_OK)
        rc = lx_output_step(&t->output, (int)t->at.epoch, t->at.step, err);
    if (rc == LX_OK && (rc = show_averages(t, false, err)) == LX_OK)
        rc = lx_output_step_state(&t->output, t->at.step, err);
    if (rc == LX_OK && is_time_to_autosave(t)) {
        t->autosaved = lx_train__seconds();
        rc = autosave(t, err);
    }
    return keep(t, rc, err);
}

/* The micro-steps of one update, and the update. Where the device does both, this only queues them, and
 * the numbers told are those of the step before. */
static int one_step(lx_train *t, lx_error *err)
{
    lx_train_progress *at = &t->at;
    const double started = lx_train__seconds();
    lx_train__pending_step *now = &t->steps[at->step % 2],
                           *before = &t->steps[(at->step + 1) % 2];
    int rc;

    now->n_micro = 0;
    now->report = (lx_step_report){.step = at->step + 1,
                                   .total_steps = t->count.total_steps,
                                   .epoch = (int)at->epoch + 1,
                                   .total_epochs = (int)t->count.epochs};
    while (now->n_micro < t->config->gradient_accumulation_steps &&
           at->batch < at->batches)
        if ((rc = lx_train__micro_step(t, now, now->n_micro, err)) < 0)
            return rc;
    if ((rc = lx_train__update(t, now, err)) < 0)
        return rc;
    at->step++;
    now->is_queued = t->updater != NULL;
    now->report.images_seen = at->images_seen;
    if (before->is_queued && (rc = lx_train__settle(t, before, err)) < 0)
        return rc;
    now->report.seconds = lx_train__seconds() - started;
    if (now->is_queued && !is_anything_due(t))
        return LX_OK;
    if ((rc = now->is_queued ? lx_train__catch_up(t, err)
                             : lx_train__settle(t, now, err)) < 0)
        return rc;
    if (t->validation && lx_validation_after_step(t->config, at->step) &&
        (rc = validate(t, (int)at->epoch + 1, false, err)) < 0)
        return rc;
    return save_step(t, err);
}

/* What is due after an epoch, the last of which may have been cut short. */
static int finish_epoch(lx_train *t, int epoch, lx_error *err)
{
    int rc;

    if (t->validation && lx_validation_after_epoch(t->config, t->dataset, epoch) &&
        (rc = validate(t, epoch, true, err)) < 0)
        return rc;
    if (t->observer->on_epoch && (rc = t->observer->on_epoch(t->observer->context, epoch,
                                                             t->average_loss, err)) < 0)
        return rc;
    if ((rc = show_averages(t, true, err)) == LX_OK &&
        (rc = lx_output_epoch(&t->output, epoch, t->at.step, err)) == LX_OK &&
        (rc = draw_samples(t, false, epoch, err)) == LX_OK)
        rc = show_averages(t, false, err);
    return rc < 0 ? rc : lx_output_epoch_state(&t->output, epoch, err);
}

/* A state says where the next step begins: in an epoch that was cut short, in its middle, so that more steps can follow;
 * after an epoch whose files could not be saved, at its end, so that they are made when it goes on. */
static int end_epoch(lx_train *t, lx_error *err)
{
    lx_train_progress *at = &t->at;
    const int64_t epoch = at->epoch, batch = at->batch;
    int rc = lx_train__catch_up(t, err);

    if (rc < 0)
        return rc;
    t->is_cut_short = batch < at->batches;
    if (!t->is_cut_short) {
        at->epoch++;
        at->batch = 0;
    }
    if ((rc = finish_epoch(t, (int)epoch + 1, err)) < 0) {
        at->epoch = epoch;
        at->batch = batch;
    }
    return keep(t, rc, err);
}

/* To the end of the epoch or of all steps; a wish to stop is looked at between steps. */
static int one_epoch(lx_train *t, bool *is_stopped, lx_error *err)
{
    int rc;

    while (t->at.batch < t->at.batches && t->at.step < t->count.total_steps) {
        *is_stopped = wants_stop(t);
        if (*is_stopped)
            return LX_OK;
        if ((rc = one_step(t, err)) < 0)
            return rc;
    }
    return end_epoch(t, err);
}

/* Of a state of the last step the file may still be to write. */
static int check_what_is_left(lx_train *t, lx_error *err)
{
    bool is_done = t->at.step > t->count.total_steps;
    int rc;

    if (t->at.step == t->count.total_steps &&
        ((rc = show_averages(t, true, err)) < 0 ||
         (rc = lx_output_has_last(&is_done, &t->output, err)) < 0 ||
         (rc = show_averages(t, false, err)) < 0))
        return rc;
    return is_done ? lx_fail(err, LX_EUSAGE,
                             "--resume: the state is at step %lld of %lld: nothing is "
                             "left to train",
                             (long long)t->at.step, (long long)t->count.total_steps)
                   : LX_OK;
}

static int start(lx_train *t, lx_error *err)
{
    int rc;

    lx_step_zero_gradients(t->step);
    t->autosaved = lx_train__seconds();
    if (!t->config->resume) {
        if (t->validation && (rc = validate(t, 1, false, err)) < 0)
            return rc;
        return draw_samples(t, true, 0, err);
    }
    if ((rc = lx_state_load(&t->output.state, t->config->resume, err)) < 0) {
        lx_within(err, "--resume");
        return rc;
    }
    rc = t->updater ? lx_updater_send(t->updater, err) : lx_lora_send(t->lora, err);
    if (rc < 0)
        return rc;
    if (t->at.n_recent)
        t->average_loss = t->at.recent_sum / (double)t->at.n_recent;
    return check_what_is_left(t, err);
}

/* The LoRA, which is smaller than the state that was saved before it (state_rc) and is tried where that failed. */
static int save_last(lx_train *t, int state_rc, lx_error *err)
{
    lx_error why = {0};
    int rc = show_averages(t, true, &why);

    if (rc == LX_OK && t->at.step > 0)
        rc = lx_output_last(&t->output, (int)t->at.epoch + t->is_cut_short, t->at.step,
                            &why);
    if (state_rc == LX_OK)
        return keep(t, lx_fail_as(err, rc, &why), err);
    if (rc == LX_OK && t->at.step > 0)
        lx_within(err, "the LoRA is saved, but not its state");
    return keep(t, state_rc, err);
}

/* What an interrupted training leaves: the LoRA as it is, and the state to go on from. */
static int stop(lx_train *t, lx_error *err)
{
    lx_str state = LX_STR_INIT;
    int rc = lx_train__catch_up(t, err);

    if (rc < 0)
        return rc;
    if (t->at.step > 0 && (rc = save_last(t, autosave(t, err), err)) < 0)
        return rc;
    lx_output_autosave_path(&state, t->config, NULL);
    lx_fail(err, LX_EINTERRUPTED, "stopped after step %lld of %lld%s%s",
            (long long)t->at.step, (long long)t->count.total_steps,
            t->at.step ? "; what was trained is saved, and lx resume goes on from " : "",
            t->at.step ? lx_str_text(&state) : "");
    lx_str_release(&state);
    return LX_EINTERRUPTED;
}

int lx_train_run(lx_train *t, lx_error *err)
{
    bool is_stopped = false;
    int rc = start(t, err);

    while (rc == LX_OK && !is_stopped && !t->is_cut_short &&
           t->at.epoch < t->count.epochs)
        rc = one_epoch(t, &is_stopped, err);
    if (rc < 0)
        return rc;
    if (is_stopped)
        return stop(t, err);
    /* nothing is trained after this */
    if ((rc = save_last(t, lx_output_last_state(&t->output, err), err)) < 0)
        return rc;
    lx_output_end_autosave(&t->output);
    return LX_OK;
}
