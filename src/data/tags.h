/*
 * data/tags - a caption as a list of tags
 *
 * Tags are cut at the separator and stripped as Python's str.strip does; empty ones are left out. Text
 * is borrowed from the caption.
 */
#ifndef LX_DATA_TAGS_H
#define LX_DATA_TAGS_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/str.h"

typedef struct lx_tag {
    const char *text;
    size_t n;
} lx_tag;

typedef struct lx_tags {
    lx_tag *items;
    size_t count, capacity;
} lx_tags;

/* Appends the tags of text; separator NULL is ",". LX_ENOMEM. Released by lx_tags_release. */
int lx_tags_split(lx_tags *out, const char *text, size_t n, const char *separator,
                  lx_error *err);
void lx_tags_release(lx_tags *tags);

bool lx_tag_equal(const lx_tag *a, const lx_tag *b, bool ignores_case);
/* What is the same to people: lower case, `_` and runs of white space one space, no backslashes. In the
 * arena; NULL without memory. */
char *lx_tag_fold(const lx_tag *tag, lx_arena *arena);

/* ---- edits of one line. Each returns whether something changed. --------------------------------- */

typedef enum lx_tag_edit_kind {
    LX_TAG_PREPEND, /* to the front; one that stands elsewhere moves */
    LX_TAG_APPEND,  /* to the end, where it is not there yet */
    LX_TAG_REMOVE,
    LX_TAG_REPLACE, /* items[0] by items[1]; not twice */
    LX_TAG_DEDUPE,  /* the first of equal ones stays */
    LX_TAG_SORT     /* bytewise, behind the first n_kept */
} lx_tag_edit_kind;

typedef struct lx_tag_edit {
    lx_tag_edit_kind kind;
    lx_tags tags; /* what to add, remove or replace */
    size_t n_kept;
    bool ignores_case;     /* in comparing */
    const char *separator; /* NULL is "," */
} lx_tag_edit;

/*
 * The caption file `bytes` after the edit, appended to out. Every line with text is edited; lines that do
 * not change, their ends and a byte order mark stay as they are; those that do are joined by ", " (another
 * separator and a space). *n_changed: lines. LX_ENOMEM.
 */
int lx_tags_edit(lx_str *out, size_t *n_changed, const lx_tag_edit *edit,
                 const char *bytes, size_t n, lx_error *err);

#endif
