#include "cmd/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const double terminal_pause = 0.1, pipe_pause = 30;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void lx_duration_text(char out[32], double seconds)
{
    long long s = seconds > 0 ? (long long)(seconds + 0.5) : 0;
    if (s < 60)
        snprintf(out, 32, "%lld s", s);
    else if (s < 3600)
        snprintf(out, 32, "%lld min %02lld s", s / 60, s % 60);
    else
        snprintf(out, 32, "%lld h %02lld min", s / 3600, s / 60 % 60);
}

void lx_progress_init(lx_progress_view *v, lx_cli *cli)
{
    *v = (lx_progress_view){.cli = cli};
}

static bool is_due(lx_progress_view *v, bool is_last)
{
    double t = now();
    if (v->cli->is_quiet)
        return false;
    if (!is_last && v->shown_at && t - v->shown_at < (v->cli->is_terminal ? terminal_pause
                                                                          : pipe_pause))
        return false;
    v->shown_at = t;
    return true;
}

/* The text has no characters wider than a column and no escapes. */
static void put_line(lx_progress_view *v, const char *text)
{
    if (!v->cli->is_terminal) {
        lx_message(v->cli, "%s\n", text);
        return;
    }
    if (lx_signals_resized())
        v->cli->columns = lx_cli_columns(v->cli);
    lx_message(v->cli, "\r%.*s\033[K", v->cli->columns - 1, text);
    fflush(v->cli->err);
    v->is_open = true;
}

void lx_progress_close(lx_progress_view *v)
{
    if (v->is_open)
        lx_message(v->cli, "\n");
    v->is_open = false;
}

void lx_progress_phase(lx_progress_view *v, const char *phase, int64_t done, int64_t total)
{
    char text[160];
    if (!is_due(v, done == total))
        return;
    snprintf(text, sizeof text, "%s %lld/%lld", phase, (long long)done, (long long)total);
    put_line(v, text);
    if (done == total)
        lx_progress_close(v);
}

/* Seconds per step since the first one ended, which also planned and packed. */
static double pace(lx_progress_view *v, const lx_step_report *r)
{
    if (!v->started) {
        v->started = now();
        v->first_step = r->step;
        return r->seconds;
    }
    return (now() - v->started) / (double)(r->step - v->first_step);
}

void lx_progress_step(lx_progress_view *v, const lx_step_report *r)
{
    double per_step = pace(v, r);
    char text[256], left[32];

    if (!is_due(v, r->step == r->total_steps))
        return;
    lx_duration_text(left, per_step * (double)(r->total_steps - r->step));
    snprintf(text, sizeof text,
             "step %lld/%lld  epoch %d/%d  loss %.4f  average %.4f  lr %.3g  %.2f s/step  %s left",
             (long long)r->step, (long long)r->total_steps, r->epoch, r->total_epochs, r->loss,
             r->average_loss, r->lr_unet ? r->lr_unet : r->lr_text_encoder, per_step, left);
    put_line(v, text);
}
