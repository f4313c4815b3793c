/*
 * cmd/later - what could not be recorded just now, and is tried again
 *
 * Another lx may hold the store for longer than one waits for it, or the disk may be full for a while. Neither is a
 * reason to end what is being recorded: files, texts and facts that meet it are kept, and put in the order they came
 * when it is over. (Points and console text do so by themselves: store/curve.c.)
 */
#ifndef LX_CMD_LATER_H
#define LX_CMD_LATER_H

#include "store/store.h"

typedef struct lx_later_item lx_later_item;

typedef struct lx_later {
    lx_store *store;
    int64_t run;
    /* Puts an artifact; NULL: lx_run_attach. */
    int (*attach)(void *context, const lx_artifact *artifact, lx_error *err);
    void *context;

    lx_later_item *first, **last; /* what waits */
    double tried_at;              /* monotonic */
    lx_error why;                 /* it waits */
} lx_later;

/* Is this an error that passes by itself: the store is busy, or there is no room? Not one after which the handle writes
 * nothing any more. */
bool lx_later_passes(lx_store *store, int rc);

/* At once, or else later. What they return is an error that does not pass. */
int lx_later_attach(lx_later *later, const lx_artifact *artifact, lx_error *err);
int lx_later_fact(lx_later *later, const char *key, const char *value, lx_error *err);

/* What waits once more, when the last try is some seconds ago. */
int lx_later_try(lx_later *later, lx_error *err);
/* The same, for minutes if it must be: until nothing waits, or the reason why it does. */
int lx_later_finish(lx_later *later, lx_error *err);
void lx_later_release(lx_later *later);

#endif
