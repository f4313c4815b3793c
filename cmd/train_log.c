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

/* The group of a module's downs or ups, unless it is there. */
static void add_group(lx_train_log *log, const lx_lora_module *m, bool is_up)
{
    const lx_lora_spec *spec = &log->config->network;
    const bool has_plus = (m->part == LX_UNET ? spec->unet_plus : spec->text_plus) != 0;
    lx_train_log_group *g = &log->groups[log->n_groups];
    char block[16] = "";

    if (m->part == LX_UNET && spec->has_block_lr)
        snprintf(block, sizeof block, "_block%d", lx_lora_block(m->layer));
    snprintf(g->name, sizeof g->name, "%s%s%s", m->part == LX_UNET ? "unet" : "textencoder", block,
             is_up && has_plus ? " plus" : "");
    g->part = m->part;
    g->factor = lx_lora_rate_factor(spec, m->part, m->layer, is_up);
    for (size_t i = 0; i < log->n_groups; i++)
        if (strcmp(log->groups[i].name, g->name) == 0)
            return;
    if (g->factor != 0 && log->n_groups + 1 < sizeof log->groups / sizeof *log->groups)
        log->n_groups++;
}

int lx_train_log_open(lx_train_log *log, const lx_train_config *c, const lx_lora *lora,
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
    for (size_t i = 0; i < lora->count; i++) {
        add_group(log, &lora->modules[i], false);
        add_group(log, &lora->modules[i], true);
    }
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

static int put_rate(lx_train_log *log, const lx_train_log_group *g, const lx_step_report *r, lx_error *err)
{
    const bool is_adaptive = lx_optimizer_is_adaptive(log->config->optimizer.type), is_unet = g->part == LX_UNET;
    const double taken = g->factor * (is_unet ? r->lr_unet : r->lr_text_encoder);
    const double scheduled = g->factor * (is_unet ? r->scheduled_unet : r->scheduled_text_encoder);
    char tag[64];
    int rc;

    snprintf(tag, sizeof tag, "lr/%s", g->name);
    if ((rc = put(log, tag, r->step, is_adaptive ? scheduled : taken, err)) < 0 || !is_adaptive)
        return rc;
    snprintf(tag, sizeof tag, "lr/d*lr/%s", g->name);
    return put(log, tag, r->step, taken, err);
}

int lx_train_log_step(lx_train_log *log, const lx_step_report *r, lx_error *err)
{
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
    for (size_t i = 0; i < log->n_groups; i++)
        if ((rc = put_rate(log, &log->groups[i], r, err)) < 0)
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
