/*
 * cmd/run_field - the names by which facts of a run are asked for
 */
#ifndef LX_CMD_RUN_FIELD_H
#define LX_CMD_RUN_FIELD_H

#include "src/query/filter.h"
#include "store/query.h"

typedef enum lx_run_field {
    LX_RUN_ID,
    LX_RUN_NAME,
    LX_RUN_STATUS,
    LX_RUN_KIND,
    LX_RUN_GROUP,
    LX_RUN_STARTED,
    LX_RUN_ENDED,
    LX_RUN_DURATION,
    LX_RUN_STEPS,
    LX_RUN_POINTS,
    LX_RUN_LOSS,
    LX_RUN_MIN_LOSS, /* of loss/average, else of loss */
    LX_RUN_SEED,
    LX_RUN_TAG,
    LX_RUN_NOTE,
    LX_RUN_DATASET, /* folders and the path they were in */
    LX_RUN_BASE,    /* path, name and hashes of the base model */
    LX_RUN_SPEC,
    LX_RUN_MESSAGE,
    LX_RUN_PARENT,
    LX_RUN_ORIGIN,
    LX_RUN_PINNED,
    LX_RUN_FIELDS,
    LX_RUN_FLAG = LX_RUN_FIELDS, /* any flag */
    LX_RUN_LAST,                 /* of a curve */
    LX_RUN_MIN
} lx_run_field;

typedef struct lx_run_field_name {
    const char *name; /* NULL ends the list */
    lx_run_field field;
    lx_field_type type;
    const char *help;
} lx_run_field_name;
extern const lx_run_field_name lx_run_field_names[];

/* "network_dim" of "dim"; the flag itself when it has no short name; NULL when no
 * training has such a flag. - and _ are the same. */
const char *lx_run_flag_name(const char *name);
/* How a query compares it: a flag of no training may be a switch. */
lx_field_type lx_run_flag_type(const char *flag);
/* "dim" of "network_dim", else the flag itself. */
const char *lx_run_flag_short(const char *flag);

/* Smaller is more telling: what people compare first. INT_MAX: names and places, never
 * shown unasked. */
int lx_run_flag_weight(const char *flag);

/* For "did you mean": the nearest of all names, or NULL. */
const char *lx_run_field_nearest(const char *name);

#endif
