/*
 * verify/evidence - the ledger: every number a verdict stands on
 *
 * A row is one test or measurement: what was estimated, its 95 % interval, its p and what
 * it became in its family, how many images, what it cost in UNet forwards, the seed of
 * its draws. Ids are those of docs/verify.md (A: metadata, B: weights, C: text path, D:
 * paired denoising).
 */
#ifndef LX_VERIFY_EVIDENCE_H
#define LX_VERIFY_EVIDENCE_H

#include "src/base/arena.h"
#include "src/stats/paired.h"

typedef enum lx_standing {
    LX_PROVES, /* follows from the file or the data, without chance */
    LX_SUGGESTS,
    LX_SILENT, /* could not be told; never a fault */
    LX_MEASURED
} lx_standing;

typedef struct lx_evidence {
    const char *id;       /* "D1" */
    const char *question; /* "Q3" */
    const char *subject;  /* a tag, a set of images; NULL = the LoRA as a whole */
    const char *text;     /* one sentence, for people */
    lx_standing standing;
    const char *unit;     /* "relative", "loss", "ratio", "strength"; NULL = no number */
    lx_estimate estimate; /* NAN where there is none */
    double p, adjusted;   /* NAN = not tested */
    size_t n;             /* images (or what the unit is); 0 = none */
    double noise_share;   /* of the variance that more draws would remove; NAN */
    int64_t cost;         /* UNet forwards of its own; 0 = shared with other rows */
} lx_evidence;

typedef struct lx_ledger {
    lx_arena *arena; /* borrowed: of texts and rows */
    lx_evidence *rows;
    size_t count, capacity;
    uint64_t seed;
} lx_ledger;

/* A row without numbers; the text is formatted. NULL and *rc LX_ENOMEM without memory. */
lx_evidence *lx_ledger_add(lx_ledger *ledger, const char *id, const char *question,
                           lx_standing standing, int *rc, lx_error *err, const char *fmt,
                           ...) LX_PRINTF(7, 8);

const lx_evidence *lx_ledger_find(const lx_ledger *ledger, const char *id);
const char *lx_standing_name(lx_standing standing);

#endif
