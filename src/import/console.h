/*
 * import/console - what a trainer's console output tells of a training
 *
 * Takes bytes as they come (a pipe, a terminal, a file), in pieces of any size, and calls
 * back for what it understands: the header of a training, epochs, files saved, the end,
 * and the progress bars of tqdm:
 *
 *     steps:  25%|█▊    | 3920/15680 [33:27<1:40:22,  1.95it/s, avr_loss=0.0667]
 *
 * Bars end in a carriage return, a line end, or other text that follows at once. A step
 * is drawn more than once, first with the loss of the step before; the last drawing
 * counts, so a point is told when the next step is drawn, or by lx_console_settle. Between
 * the two sd-scripts saves and samples.
 *
 * What sd-scripts calls `loss` (before 0.7) or `avr_loss` on its bar "steps" is a moving
 * average: both become "loss/average". On another trainer's bar `loss` is the loss.
 * Validation bars give their last value, at the step the training is at.
 *
 * Hostile input is expected: terminal escapes are dropped, lines are cut at
 * LX_CONSOLE_LINE bytes, and each byte costs a bounded time. UTF-16 is recognised by its
 * byte order mark; any encoding that has ASCII in it is read for its ASCII. Source of the
 * wordings: sd-scripts train_network.py, v0.2-v0.10; tqdm's format_meter. Goldens:
 * lora/logs.
 */
#ifndef LX_IMPORT_CONSOLE_H
#define LX_IMPORT_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/str.h"

enum {
    LX_CONSOLE_LINE = 16 * 1024, /* bytes of a line that are looked at */
    LX_CONSOLE_PAIRS = 8,        /* name=value pairs of a bar */
    LX_CONSOLE_NAME = 64
};

/* The training that the output is about; -1 for numbers that were not seen. */
typedef struct lx_console_state {
    int64_t num_train_images, num_reg_images, num_batches_per_epoch, num_epochs,
        batch_size, total_batch_size, gradient_accumulation_steps, total_steps;
    int64_t network_dim;
    double network_alpha;    /* NaN */
    int64_t epoch;           /* the last one begun, from 1 */
    int64_t step;            /* the last one drawn; 0 before the first */
    double elapsed;          /* seconds, of the last bar; 0 */
    double seconds_per_step; /* as last printed; NaN */
    double loss;             /* the last drawn; NaN */
    int64_t n_bars;          /* drawings of the training's bar */
    bool has_training;       /* a header or a bar was seen */
    bool is_finished;        /* "model saved." */
} lx_console_state;

typedef enum lx_console_kind {
    LX_CONSOLE_TRAINING, /* a training begins; the state was reset */
    LX_CONSOLE_POINT,    /* a value of a curve */
    LX_CONSOLE_EPOCH,    /* state->epoch has begun */
    LX_CONSOLE_SAVED,    /* "saving checkpoint: path" */
    LX_CONSOLE_LAST, /* "save trained model to path", or its newer wording with the final
                        name */
    LX_CONSOLE_FINISHED, /* "model saved." */
    LX_CONSOLE_OVER /* nothing more will be told of this training: the next one begins, or
                       the output has ended; the state is complete */
} lx_console_kind;

typedef struct lx_console_event {
    lx_console_kind kind;
    const lx_console_state *state;
    const char *key;  /* POINT: "loss/average" ... */
    int64_t step;     /* POINT */
    double value;     /* POINT */
    const char *path; /* SAVED, LAST; as printed, perhaps a Windows path */
} lx_console_event;

/* What a callback returns negative ends the reading with it. */
typedef int (*lx_console_sink)(void *context, const lx_console_event *event,
                               lx_error *err);

/* One drawing of a bar: what its name=value pairs say of a step. */
typedef struct lx_console_drawing {
    bool is_open; /* not yet told */
    int64_t step;
    size_t n;
    struct {
        char key[LX_CONSOLE_NAME];
        double value;
    } pairs[LX_CONSOLE_PAIRS];
} lx_console_drawing;

typedef struct lx_console {
    lx_console_sink sink;
    void *context;
    lx_console_state state;
    int64_t next_dim; /* of a network made before its training begins */
    double next_alpha;
    char line[LX_CONSOLE_LINE + 1];
    size_t n;
    size_t open;           /* after the last '[' of the line; 0 = none */
    int escape;            /* inside a terminal escape */
    int encoding;          /* 0 not known yet, then which */
    unsigned char half[4]; /* of an unfinished UTF-16 unit, or of a byte order mark */
    size_t n_half;
    uint32_t high; /* surrogate */
    lx_console_drawing pending, before; /* before: the last one of the step before */
} lx_console;

/* Holds no memory of its own: nothing is to be released. */
void lx_console_init(lx_console *console, lx_console_sink sink, void *context);
int lx_console_feed(lx_console *console, const void *bytes, size_t n, lx_error *err);
/* Nothing came for a while: the drawing that stands is the last of its step, but where it
 * says what the step before said. */
int lx_console_settle(lx_console *console, lx_error *err);
/* The end of the output: an unfinished line is a line. */
int lx_console_finish(lx_console *console, lx_error *err);

#endif
