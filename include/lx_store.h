/*
 * lx_store - record a run in the store of lx from any C program
 *
 *     lxs_start start = {.name = "sweep 7", .kind = "train", .flags = "{\"lr\":0.0001}"};
 *     lxs_run *run;
 *     lxs_error err;
 *
 *     if (lxs_begin(&run, NULL, &start, &err) < 0)
 *         return fail(err.text);
 *     for (step = 1; step <= n; step++)
 *         lxs_log(run, "loss", step, loss, NULL);
 *     lxs_artifact(run, "lora", "out/last.safetensors", n, NULL);
 *     lxs_end(run, "finished", NULL, NULL);
 *
 * Build with `cc $(pkg-config --cflags --libs lx_store)`. What is recorded is found by lx runs, lx show,
 * lx compare and lx report like every other run.
 *
 * All functions return 0 or a negative code and fill err (may be NULL) with a sentence. A run belongs
 * to one thread at a time; several runs and several processes may use one store at once. Structs may
 * grow at their end only: initialise them as above.
 */
#ifndef LX_STORE_PUBLIC_H
#define LX_STORE_PUBLIC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LXS_VERSION 1

typedef struct lxs_run lxs_run;

typedef struct lxs_error {
    int code;        /* as returned; 0 = none */
    char text[1000]; /* what, where, and what to do */
} lxs_error;

typedef struct lxs_start {
    const char *name;         /* for people; NULL = none */
    const char *kind;         /* "train", "run" ...: 1 to 32 of a-z, 0-9, _, -; NULL = "run" */
    const char *command_line; /* secrets are scrubbed; NULL = not recorded */
    const char *flags;        /* a JSON object: settings by name, which lx runs can ask for; or NULL */
    const char *work_dir;     /* whose git commit and changes are recorded; NULL = neither */
} lxs_start;

/*
 * store: its folder; NULL = as lx finds it (LX_STORE, a .lx/ above the working folder, the user's
 * own). It is created when it is not there. Durable when it returns.
 */
int lxs_begin(lxs_run **run, const char *store, const lxs_start *start, lxs_error *err);

/* 16 hex digits, by which every lx command finds it; borrowed. */
const char *lxs_id(const lxs_run *run);

/* A point of a curve: "loss", "lr/unet", of 256 bytes at most. Under a microsecond; durable within a second by itself. */
int lxs_log(lxs_run *run, const char *key, int64_t step, double value, lxs_error *err);
/* n points of one curve at once. */
int lxs_log_many(lxs_run *run, const char *key, const int64_t *steps, const double *values,
                 uint64_t n, lxs_error *err);
/* Text as printed, kept as the run's console. */
int lxs_console(lxs_run *run, const char *bytes, uint64_t n, lxs_error *err);

/* A file is copied into the store under its hash. role: "lora", "sample", "log", or another word like a kind. Files of role
 * "log", "console" and "config" are texts, kept without their secrets: what is none is an error. step -1: of none. */
int lxs_artifact(lxs_run *run, const char *role, const char *path, int64_t step, lxs_error *err);

/*
 * status: "finished", "interrupted" or "failed" with a message (or NULL); another one is an error. Frees the
 * run in any case. After an error, and when a crash left it without an end, it is shown as interrupted, with
 * all its points.
 */
int lxs_end(lxs_run *run, const char *status, const char *message, lxs_error *err);

#ifdef __cplusplus
}
#endif

#endif
