#include "cmd/train_log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int lx_train_log_open(lx_train_log *log, const lx_train_config *c,
                      const lx_export_flag *flags, size_t n_flags, lx_error *err)
{
    const time_t seconds = time(NULL);
    lx_str folder = LX_STR_INIT;
    char stamp[32] = "";
    struct tm local;
    int rc;

    *log = (lx_train_log){.config = c};
    if (!c->logging_dir)
        return LX_OK;
    if (localtime_r(&seconds, &local))
        strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S", &local);
    lx_str_printf(&folder, "%s/%s%s/%s", c->logging_dir,
                  c->log_prefix ? c->log_prefix : "", stamp,
                  c->log_tracker_name ? c->log_tracker_name : "network_train");
    if ((rc = lx_str_check(&folder, err)) == LX_OK &&
        (rc = lx_tensorboard_log_open(&log->events, lx_str_text(&folder), now(), err)) ==
            LX_OK &&
        c->log_config)
        rc = lx_tensorboard_log_settings(log->events, now(), flags, n_flags, err);
    if (rc < 0)
        lx_within(err, "--logging_dir");
    lx_str_release(&folder);
    return rc;
}

static int put(lx_train_log *log, const char *tag, int64_t step, double value,
               lx_error *err)
{
    return lx_tensorboard_log_scalar(log->events, now(), tag, step, value, err);
}

static int put_rate(lx_train_log *log, const char *part, int64_t step, double scheduled,
                    double taken, lx_error *err)
{
    const bool is_adaptive = lx_optimizer_is_adaptive(log->config->optimizer.type);
    char tag[64];
    int rc;

    snprintf(tag, sizeof tag, "lr/%s", part);
    if ((rc = put(log, tag, step, is_adaptive ? scheduled : taken, err)) < 0 ||
        !is_adaptive)
        return rc;
    snprintf(tag, sizeof tag, "lr/d*lr/%s", part);
    return put(log, tag, step, taken, err);
}

int lx_train_log_step(lx_train_log *log, const lx_step_report *r, lx_error *err)
{
    const lx_lora_spec *network = &log->config->network;
    int rc;

    if (!log->events)
        return LX_OK;
    if ((rc = put(log, "loss/current", r->step, r->loss, err)) < 0 ||
        (rc = put(log, "loss/average", r->step, r->average_loss, err)) < 0)
        return rc;
    if (r->has_norms &&
        ((rc = put(log, "max_norm/keys_scaled", r->step, (double)r->keys_scaled, err)) <
             0 ||
         (rc = put(log, "max_norm/max_key_norm", r->step, r->max_key_norm, err)) < 0 ||
         (rc = put(log, "norm/avg_key_norm", r->step, r->average_key_norm, err)) < 0))
        return rc;
    if (network->has_text_encoder &&
        (rc = put_rate(log, "textencoder", r->step, r->scheduled_text_encoder,
                       r->lr_text_encoder, err)) < 0)
        return rc;
    if (network->has_unet &&
        (rc = put_rate(log, "unet", r->step, r->scheduled_unet, r->lr_unet, err)) < 0)
        return rc;
    return lx_tensorboard_log_flush(log->events, err);
}

int lx_train_log_validation(lx_train_log *log, const lx_validation_report *r,
                            lx_error *err)
{
    const int64_t at = r->is_epoch ? r->epoch : r->step;
    const char *const average =
        r->is_epoch ? "loss/validation/epoch_average" : "loss/validation/step_average";
    const char *const divergence = r->is_epoch ? "loss/validation/epoch_divergence"
                                               : "loss/validation/step_divergence";
    int rc;

    if (!log->events || !r->n_held_out)
        return LX_OK;
    if ((rc = put(log, average, at, r->held_out, err)) == LX_OK &&
        isfinite(r->average_loss))
        rc = put(log, divergence, at, r->held_out - r->average_loss, err);
    return rc < 0 ? rc : lx_tensorboard_log_flush(log->events, err);
}

int lx_train_log_epoch(lx_train_log *log, int epoch, double average_loss, lx_error *err)
{
    int rc;

    if (!log->events || !isfinite(average_loss))
        return LX_OK;
    rc = put(log, "loss/epoch_average", epoch, average_loss, err);
    return rc < 0 ? rc : lx_tensorboard_log_flush(log->events, err);
}

const char *lx_train_log_path(const lx_train_log *log)
{
    return log->events ? lx_tensorboard_log_path(log->events) : NULL;
}

void lx_train_log_close(lx_train_log *log)
{
    lx_tensorboard_log_close(log->events);
    log->events = NULL;
}
