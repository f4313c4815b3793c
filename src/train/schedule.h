/*
 * train/schedule - the learning rate of each step
 *
 * The factor that multiplies every base rate at optimizer step k (0 is the first step):
 *
 *     k < w (warm-up)         k / max(1, w)      so the first step of a warm-up trains with rate 0
 *     constant                1; a warm-up is an error
 *     constant_with_warmup    1
 *     linear                  max(0, (N - k) / max(1, N - w))
 *     cosine                  (1 + cos(pi p)) / 2,  p = (k - w) / max(1, N - w)
 *     cosine_with_restarts    0 if p >= 1, else (1 + cos(pi ((cycles p) mod 1))) / 2
 *     polynomial              ((L - e) (1 - p')^power + e) / L,  e = 1e-7, L = learning_rate
 *     inverse_sqrt            1 / sqrt((k + T - w) / T),  T = timescale, else w, else 10000
 *     cosine_with_min_lr      f (1 - m) + m,  f = (1 + cos(pi cycles p)) / 2
 *     warmup_stable_decay     warm-up from m to 1, 1, then a cosine from 1 to m over d steps
 *     piecewise_constant      of the rules F:S in order of S the first F with k < S, behind all of them the last factor
 *
 * N is max_train_steps, cycles is half of lr_scheduler_num_cycles in the last two.
 * Source: transformers and diffusers schedulers as called by sd-scripts library/train_util.py
 * (get_scheduler_fix). Goldens: train/lr_schedules.json.
 */
#ifndef LX_TRAIN_SCHEDULE_H
#define LX_TRAIN_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"

typedef enum lx_lr_scheduler {
    LX_LR_CONSTANT,
    LX_LR_CONSTANT_WITH_WARMUP,
    LX_LR_LINEAR,
    LX_LR_COSINE,
    LX_LR_COSINE_WITH_RESTARTS,
    LX_LR_POLYNOMIAL,
    LX_LR_INVERSE_SQRT,
    LX_LR_COSINE_WITH_MIN_LR,
    LX_LR_WARMUP_STABLE_DECAY,
    LX_LR_PIECEWISE_CONSTANT,
    LX_LR_SCHEDULER_COUNT
} lx_lr_scheduler;

/* The peer's spelling of each, indexed by the enum. */
extern const char *const lx_lr_scheduler_names[LX_LR_SCHEDULER_COUNT];

typedef struct lx_schedule_rule {
    int64_t until; /* steps below it */
    double factor;
} lx_schedule_rule;

typedef struct lx_schedule_rules {
    bool are_given;
    const lx_schedule_rule *items; /* ascending */
    size_t n;
    double last; /* factor of the steps behind them */
} lx_schedule_rules;

/* The peer's step_rules, "1:20,0.1:60,0.01": of two rules for one step the later counts. */
int lx_schedule_rules_parse(lx_schedule_rules *out, lx_arena *arena, const char *text, lx_error *err);

typedef struct lx_schedule {
    lx_lr_scheduler kind;
    int64_t total, warmup, decay; /* steps */
    int cycles;
    double power;
    double learning_rate; /* polynomial's L */
    int64_t timescale;    /* 0 = not given */
    double min_lr_ratio;  /* < 0 = not given */
    lx_schedule_rules rules;
} lx_schedule;

/* What cannot be computed, by flag (LX_EUSAGE): warm-up with constant or piecewise_constant, no ratio for
 * cosine_with_min_lr, no rules for piecewise_constant, a polynomial below its end rate. */
int lx_schedule_check(const lx_schedule *schedule, lx_error *err);

double lx_schedule_factor(const lx_schedule *schedule, int64_t step);

/* "10%", 0.1 and 100 are all understood by the parser; a value below 1 is a share of all steps, and "100%", which 1 cannot
 * say, is LX_ALL_STEPS. */
#define LX_ALL_STEPS (-1.0)
int64_t lx_schedule_steps(double steps_or_share, int64_t total);

#endif
