/*
 * lora/counts - {"group": {"name": number, ...}, ...}, as trainers write what they counted
 *
 * The shape of ss_tag_frequency, ss_dataset_dirs and ss_reg_dataset_dirs. These texts are
 * most of what the metadata of a LoRA hold, thousands of names in a file, so they are
 * read in one pass and names without escapes stay where they are.
 *
 * Anything in place of a group is one without names; a value that is not a number counts
 * as 0. Names may repeat; order is the text's.
 */
#ifndef LX_LORA_COUNTS_H
#define LX_LORA_COUNTS_H

#include <stdbool.h>

#include "src/base/arena.h"

typedef struct lx_counted {
    const char *name; /* n bytes; not ended by a NUL */
    size_t n;
    double count;
} lx_counted;

typedef struct lx_count_group {
    const char *name; /* ended by a NUL */
    const lx_counted *items;
    size_t n_items;
} lx_count_group;

typedef struct lx_counts {
    lx_count_group *groups;
    size_t n_groups;
} lx_counts;

/*
 * In the arena, borrowing text. text NULL, or a JSON value that is no object: no groups.
 * LX_EFORMAT: no sound JSON, with the byte.
 */
int lx_counts_parse(lx_counts *out, const char *text, lx_arena *arena, lx_error *err);

/* The group of that name, or NULL; a member of a group, or `otherwise`. */
const lx_count_group *lx_counts_find(const lx_counts *counts, const char *name);
double lx_counted_get(const lx_count_group *group, const char *name, double otherwise);

#endif
