/*
 * data/marks - the list that a contact sheet exports: what was said of which image
 *
 *     # lx marks 1
 *     drop<TAB>10_iwl 1girl/a.png
 *     keep<TAB>10_iwl 1girl/b.png
 *     move<TAB>...
 *
 * Names are relative to the folder that the sheet was made of, with `/`. Bytes that a text file does not
 * hold or show (controls, bidi controls, what is not UTF-8) are \xNN, a backslash is \\. Lines that begin with # are remarks.
 */
#ifndef LX_DATA_MARKS_H
#define LX_DATA_MARKS_H

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/str.h"

typedef struct lx_mark {
    const char *mark; /* "keep", "drop", "move" */
    const char *path;
    size_t line;
} lx_mark;

typedef struct lx_marks {
    lx_mark *items;
    size_t count;
} lx_marks;

/* LX_EFORMAT with the line: no such mark, no tab, a name that leaves the folder or is written wrong, the
 * same image twice with different marks (with the same, once). Texts in the arena. */
int lx_marks_parse(lx_marks *out, const char *text, size_t n, lx_arena *arena,
                   lx_error *err);

/* A name as the list writes it, appended. */
void lx_name_escape(lx_str *out, const char *name);
/* Back; in the arena. LX_EFORMAT: a backslash that is no escape, a NUL. */
int lx_name_unescape(char **out, const char *text, size_t n, lx_arena *arena,
                     lx_error *err);
/* Stays below the folder it is relative to: not absolute, no "", "." or ".." between slashes. */
bool lx_name_is_inside(const char *name);

#endif
