/*
 * compare/code - which files two recorded diffs do not have in common
 *
 * A diff is git's patch of a work tree against its commit; the part of a file is what
 * lies between two lines that begin with "diff --git".
 */
#ifndef LX_COMPARE_CODE_H
#define LX_COMPARE_CODE_H

#include <stddef.h>

#include <cjson/cJSON.h>

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/str.h"

typedef struct lx_code_change {
    const char *file;
    char side;         /* 'a': changed only in a, 'b': only in b, '*': changed in both,
                          differently */
    const char *a, *b; /* the part of the file in each; NULL where it has none */
} lx_code_change;

/* A diff with the untracked sources of a recorded git state behind it, as files of one
 * line each. git and diff may be NULL. */
void lx_compare_code_text(lx_str *out, const cJSON *git, const char *diff);

/* By file. a and b may be NULL or empty. LX_ENOMEM. */
int lx_compare_diffs(lx_code_change **out, size_t *count, const char *a, const char *b,
                     lx_arena *arena, lx_error *err);

#endif
