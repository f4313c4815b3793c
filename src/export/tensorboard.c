#include "src/export/tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/image/header.h"
#include "src/import/protobuf.h"
#include "src/import/tfevents.h"

/* ---- protocol buffers, writing ----------------------------------------------------- */

static void put_le(lx_str *out, uint64_t x, int n)
{
    for (int i = 0; i < n; i++)
        lx_str_putc(out, (char)(x >> (8 * i)));
}

static void put_varint(lx_str *out, uint64_t x)
{
    for (; x >= 0x80; x >>= 7)
        lx_str_putc(out, (char)(x | 0x80));
    lx_str_putc(out, (char)x);
}

static void put_tag(lx_str *out, int field, int wire)
{
    put_varint(out, (uint64_t)field << 3 | (uint64_t)wire);
}

static void put_number(lx_str *out, int field, uint64_t x)
{
    put_tag(out, field, LX_WIRE_VARINT);
    put_varint(out, x);
}

static void put_double(lx_str *out, int field, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    put_tag(out, field, LX_WIRE_64);
    put_le(out, bits, 8);
}

static void put_float(lx_str *out, int field, double x)
{
    float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, 4);
    put_tag(out, field, LX_WIRE_32);
    put_le(out, bits, 4);
}

static void put_bytes(lx_str *out, int field, const void *data, size_t n)
{
    put_tag(out, field, LX_WIRE_BYTES);
    put_varint(out, n);
    lx_str_append(out, data, n);
}

static void put_text(lx_str *out, int field, const char *text)
{
    put_bytes(out, field, text, strlen(text));
}

/* A message inside another; released. */
static void put_message(lx_str *out, int field, lx_str *inner)
{
    put_bytes(out, field, lx_str_text(inner), inner->len);
    out->failed |= inner->failed;
    lx_str_release(inner);
}

/* ---- records ----------------------------------------------------------------------- */

static void put_record(lx_str *out, lx_str *event)
{
    lx_str length = LX_STR_INIT;
    put_le(&length, event->len, 8);
    lx_str_append(out, lx_str_text(&length), length.len);
    put_le(out, lx_crc32c_masked(lx_str_text(&length), length.len), 4);
    lx_str_append(out, lx_str_text(event), event->len);
    put_le(out, lx_crc32c_masked(lx_str_text(event), event->len), 4);
    out->failed |= event->failed || length.failed;
    lx_str_release(&length);
    lx_str_release(event);
}

/* Event{wall_time, step, summary{value}}; value is released. */
static void put_summary(lx_str *out, double time, int64_t step, lx_str *value)
{
    lx_str event = LX_STR_INIT, summary = LX_STR_INIT;
    put_double(&event, 1, time);
    if (step)
        put_number(&event, 2, (uint64_t)step);
    put_message(&summary, 1, value);
    put_message(&event, 5, &summary);
    put_record(out, &event);
}

static void put_version(lx_str *out, double time)
{
    lx_str event = LX_STR_INIT;
    put_double(&event, 1, time);
    put_text(&event, 3, "brain.Event:2");
    put_record(out, &event);
}

static void put_scalar(lx_str *out, double time, int64_t step, const char *tag, double x)
{
    lx_str value = LX_STR_INIT;
    put_text(&value, 1, tag);
    put_float(&value, 2, x);
    put_summary(out, time, step, &value);
}

/* SummaryMetadata{plugin_data{name, content}, data_class}; content may be NULL and is
 * released. */
static void put_metadata(lx_str *value, const char *plugin, lx_str *content,
                         int data_class)
{
    lx_str metadata = LX_STR_INIT, data = LX_STR_INIT;
    put_text(&data, 1, plugin);
    if (content)
        put_message(&data, 2, content);
    put_message(&metadata, 1, &data);
    if (data_class)
        put_number(&metadata, 4, (uint64_t)data_class);
    put_message(value, 9, &metadata);
}

/* TensorProto of `n` elements a side of one dimension. */
static void put_shape(lx_str *tensor, int dtype, uint64_t n)
{
    lx_str shape = LX_STR_INIT, dimension = LX_STR_INIT;
    put_number(tensor, 1, (uint64_t)dtype);
    put_number(&dimension, 1, n);
    put_message(&shape, 2, &dimension);
    put_message(tensor, 2, &shape);
}

static void put_note(lx_str *out, double time, int64_t step, const char *tag,
                     const char *text)
{
    lx_str value = LX_STR_INIT, tensor = LX_STR_INIT;
    put_text(&value, 1, tag);
    put_shape(&tensor, 7, 1);
    put_text(&tensor, 8, text);
    put_message(&value, 8, &tensor);
    put_metadata(&value, "text", NULL, 2);
    put_summary(out, time, step, &value);
}

static void put_image(lx_str *out, double time, int64_t step, const lx_export_file *file)
{
    lx_str value = LX_STR_INIT, image = LX_STR_INIT, tag = LX_STR_INIT;
    lx_image_header header;

    if (lx_image_header_parse(&header, file->data, file->n, file->n, NULL) < 0 ||
        (header.kind != LX_IMAGE_PNG && header.kind != LX_IMAGE_JPEG))
        return;
    lx_str_printf(&tag, "%s/%s", file->role, file->name);
    put_text(&value, 1, lx_str_text(&tag));
    put_number(&image, 1, (uint64_t)header.height);
    put_number(&image, 2, (uint64_t)header.width);
    put_number(&image, 3, header.is_grey ? 1 : header.has_alpha ? 4 : 3);
    put_bytes(&image, 4, file->data, file->n);
    put_message(&value, 4, &image);
    put_summary(out, time, step, &value);
    lx_str_release(&tag);
}

/* ---- settings ---------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    return strcmp(((const lx_tensorboard_param *)a)->key,
                  ((const lx_tensorboard_param *)b)->key);
}

int lx_tensorboard_params(lx_tensorboard_param **out, size_t *n,
                          const lx_export_run *runs, size_t n_runs, lx_error *err)
{
    lx_tensorboard_param *params = NULL;
    size_t capacity = 0, all = 0;

    *n = 0;
    for (size_t i = 0; i < n_runs; i++)
        for (size_t k = 0; k < runs[i].n_flags; k++) {
            const lx_export_flag *f = &runs[i].flags[k];
            if (lx_grow(&params, &capacity, all + 1, sizeof *params) < 0) {
                lx_free(params);
                return lx_oom(err);
            }
            params[all].key = f->key;
            params[all++].type = f->is_bool            ? LX_PARAM_BOOL
                                 : isfinite(f->number) ? LX_PARAM_NUMBER
                                                       : LX_PARAM_TEXT;
        }
    if (all)
        qsort(params, all, sizeof *params, by_key);
    for (size_t i = 0; i < all; i++)
        if (*n && strcmp(params[*n - 1].key, params[i].key) == 0) {
            if (params[*n - 1].type != params[i].type)
                params[*n - 1].type = LX_PARAM_TEXT;
        } else {
            params[(*n)++] = params[i];
        }
    *out = params;
    return LX_OK;
}

/* HParamsPluginData{version 0, FIELD: message} with a null tensor. */
static void put_hparams(lx_str *out, double time, const char *tag, int field,
                        lx_str *message)
{
    lx_str value = LX_STR_INIT, data = LX_STR_INIT, tensor = LX_STR_INIT;
    put_text(&value, 1, tag);
    put_shape(&tensor, 1, 0);
    put_message(&value, 8, &tensor);
    put_message(&data, field, message);
    put_metadata(&value, "hparams", &data, 0);
    put_summary(out, time, 0, &value);
}

static void put_experiment(lx_str *out, const lx_export_run *run,
                           const lx_tensorboard_param *params, size_t n)
{
    lx_str experiment = LX_STR_INIT;
    put_double(&experiment, 3, run->started);
    for (size_t i = 0; i < n; i++) {
        lx_str info = LX_STR_INIT;
        put_text(&info, 1, params[i].key);
        put_number(&info, 4, (uint64_t)params[i].type);
        put_message(&experiment, 4, &info);
    }
    for (size_t i = 0; i < run->n_curves; i++) {
        lx_str info = LX_STR_INIT, name = LX_STR_INIT;
        put_text(&name, 2, run->curves[i].key);
        put_message(&info, 1, &name);
        put_message(&experiment, 5, &info);
    }
    put_hparams(out, run->started, "_hparams_/experiment", 2, &experiment);
}

/* google.protobuf.Value by the type that the setting has in all runs. */
static void put_value(lx_str *value, const lx_export_flag *flag, int type)
{
    if (!flag)
        put_number(value, 1, 0);
    else if (type == LX_PARAM_NUMBER)
        put_double(value, 2, flag->number);
    else if (type == LX_PARAM_BOOL)
        put_number(value, 4, flag->number != 0);
    else
        put_text(value, 3, flag->text);
}

static void put_session(lx_str *out, const lx_export_run *run,
                        const lx_tensorboard_param *params, size_t n)
{
    lx_str start = LX_STR_INIT, end = LX_STR_INIT;
    for (size_t i = 0; i < n; i++) {
        const lx_export_flag *flag = NULL;
        lx_str entry = LX_STR_INIT, value = LX_STR_INIT;
        for (size_t k = 0; k < run->n_flags && !flag; k++)
            flag = strcmp(run->flags[k].key, params[i].key) == 0 ? &run->flags[k] : NULL;
        put_text(&entry, 1, params[i].key);
        put_value(&value, flag, params[i].type);
        put_message(&entry, 2, &value);
        put_message(&start, 1, &entry);
    }
    put_double(&start, 5, run->started);
    put_hparams(out, run->started, "_hparams_/session_start_info", 3, &start);
    if (!(run->ended > 0))
        return;
    put_number(&end, 1, strcmp(run->status, "finished") == 0 ? 1 : 2);
    put_double(&end, 2, run->ended);
    put_hparams(out, run->ended, "_hparams_/session_end_info", 4, &end);
}

/* ---- points ------------------------------------------------------------------------ */

typedef struct point {
    int64_t step;
    uint32_t curve;
    size_t at;
} point;

/* By step, so that a reader meets the curves side by side; points of one curve keep their
 * order. */
static int by_step(const void *a, const void *b)
{
    const point *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    if (x->curve != y->curve)
        return x->curve < y->curve ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int put_points(lx_str *out, const lx_export_run *run, lx_error *err)
{
    point *points = NULL;
    size_t n = 0, at = 0;

    for (size_t i = 0; i < run->n_curves; i++)
        n += run->curves[i].n;
    if (!(points = lx_calloc(n, sizeof *points)))
        return lx_oom(err);
    for (size_t i = 0; i < run->n_curves; i++)
        for (size_t k = 0; k < run->curves[i].n; k++)
            points[at++] = (point){run->curves[i].steps[k], (uint32_t)i, k};
    if (n)
        qsort(points, n, sizeof *points, by_step);
    for (size_t i = 0; i < n; i++) {
        const lx_export_curve *c = &run->curves[points[i].curve];
        put_scalar(out, lx_export_time(run, points[i].at, c->n), points[i].step, c->key,
                   c->values[points[i].at]);
    }
    lx_free(points);
    return LX_OK;
}

int lx_tensorboard_file(lx_str *out, const lx_export_run *run,
                        const lx_tensorboard_param *params, size_t n_params,
                        const lx_export_file *images, size_t n_images, lx_error *err)
{
    int rc;
    put_version(out, run->started);
    if (n_params) {
        put_experiment(out, run, params, n_params);
        put_session(out, run, params, n_params);
    }
    if (run->command_line)
        put_note(out, run->started, 0, "command line", run->command_line);
    for (size_t i = 0; i < run->n_notes; i++)
        put_note(out, run->started, (int64_t)i, "notes", run->notes[i]);
    if ((rc = put_points(out, run, err)) < 0)
        return rc;
    for (size_t i = 0; i < n_images; i++)
        put_image(out, lx_export_time(run, i, n_images),
                  images[i].step > 0 ? images[i].step : 0, &images[i]);
    return lx_str_check(out, err);
}

void lx_tensorboard_name(char out[64], const lx_export_run *run)
{
    snprintf(out, 64, "events.out.tfevents.%010lld.lx.0.0", (long long)run->started);
}

/* ---- while a run goes on ------------------------------------------------------------- */

struct lx_tensorboard_log {
    int fd;
    lx_str path, waiting;
};

/* Two runs may begin in one second: the last number of the name tells them apart. */
static int open_new(lx_tensorboard_log *log, const char *folder, double time,
                    lx_error *err)
{
    enum { MOST = 1000 };

    for (int i = 0; i < MOST; i++) {
        lx_str_clear(&log->path);
        lx_str_printf(&log->path, "%s/events.out.tfevents.%010lld.lx.0.%d", folder,
                      (long long)time, i);
        if (log->path.failed)
            return lx_oom(err);
        log->fd =
            lx_io_get()->open(lx_str_text(&log->path), O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (log->fd >= 0)
            return LX_OK;
        if (errno != EEXIST)
            break;
    }
    return lx_fail_errno(err, errno, "%s", lx_str_text(&log->path));
}

int lx_tensorboard_log_open(lx_tensorboard_log **out, const char *folder, double time,
                            lx_error *err)
{
    lx_tensorboard_log *log = lx_calloc(1, sizeof *log);
    int rc;

    *out = NULL;
    if (!log)
        return lx_oom(err);
    log->fd = -1;
    if ((rc = lx_make_dirs(folder, err)) < 0 ||
        (rc = open_new(log, folder, time, err)) < 0) {
        lx_tensorboard_log_close(log);
        return rc;
    }
    put_version(&log->waiting, time);
    *out = log;
    return LX_OK;
}

int lx_tensorboard_log_scalar(lx_tensorboard_log *log, double time, const char *tag,
                              int64_t step, double value, lx_error *err)
{
    put_scalar(&log->waiting, time, step, tag, value);
    return lx_str_check(&log->waiting, err);
}

int lx_tensorboard_log_settings(lx_tensorboard_log *log, double time,
                                const lx_export_flag *flags, size_t n, lx_error *err)
{
    const lx_export_run run = {
        .started = time, .status = "", .flags = flags, .n_flags = n};
    lx_tensorboard_param *params;
    size_t n_params;
    int rc = lx_tensorboard_params(&params, &n_params, &run, 1, err);

    if (rc < 0)
        return rc;
    put_experiment(&log->waiting, &run, params, n_params);
    put_session(&log->waiting, &run, params, n_params);
    lx_free(params);
    return lx_str_check(&log->waiting, err);
}

int lx_tensorboard_log_flush(lx_tensorboard_log *log, lx_error *err)
{
    const char *at = lx_str_text(&log->waiting), *end = at + log->waiting.len;

    if (log->fd < 0)
        return LX_OK;
    while (at < end) {
        ssize_t n = lx_io_get()->write(log->fd, at, (size_t)(end - at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            lx_fail_errno(err, n < 0 ? errno : EIO, "%s", lx_str_text(&log->path));
            lx_io_get()->close(log->fd);
            log->fd = -1;
            return LX_EIO;
        }
        at += n;
    }
    lx_str_clear(&log->waiting);
    return LX_OK;
}

const char *lx_tensorboard_log_path(const lx_tensorboard_log *log)
{
    return lx_str_text(&log->path);
}

void lx_tensorboard_log_close(lx_tensorboard_log *log)
{
    if (!log)
        return;
    if (log->fd >= 0) {
        lx_tensorboard_log_flush(log, NULL);
        if (log->fd >= 0)
            lx_io_get()->close(log->fd);
    }
    lx_str_release(&log->path);
    lx_str_release(&log->waiting);
    lx_free(log);
}
