/*
 * cmd/child - a command run under our eyes, as if it ran alone
 *
 * Where our standard output or error is a terminal, the child gets a pseudo-terminal in
 * its place (and for its input, if ours is a terminal too); where one is not, a pipe;
 * input that is none stays ours. What the child prints is passed on unchanged, then shown
 * to the view.
 *
 * With a pseudo-terminal our own terminal is set raw while we are in the foreground: keys
 * reach the child, whose line discipline makes signals of Ctrl-C and Ctrl-\. Size and
 * settings go over at the start, the size whenever it changes, and at the end our
 * terminal gets the settings that the child left. Ctrl-Z stops the child and then us;
 * `fg` continues both.
 *
 * INT, TERM, HUP, QUIT, USR1, USR2, TSTP and CONT that reach us are passed on, once: a
 * child with no terminal of its own leads a group, so that what a shell sends to the
 * whole job reaches it only through us. The one exception is input from a terminal with
 * output to a pipe, where the child stays in our group and the kernel's own Ctrl-C is not
 * sent twice.
 *
 * The child inherits no descriptor of ours but the three. Signals are blocked in this
 * process from lx_child_prepare on, so that threads that are made later never take one.
 */
#ifndef LX_CMD_CHILD_H
#define LX_CMD_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"

typedef struct lx_child_view {
    void *context;
    /* Once, before the first of the others; `pid` leads the child's group. May be NULL.
     */
    void (*on_start)(void *context, int pid);
    /* Called after the bytes were passed on. After an error it is called again all the
     * same, like the next. */
    int (*on_output)(void *context, const void *bytes, size_t n, lx_error *err);
    /* About every 250 ms; is_quiet: nothing was printed since the last call. */
    int (*on_tick)(void *context, bool is_quiet, lx_error *err);
} lx_child_view;

typedef struct lx_child_end {
    bool was_started;
    int exit_status; /* as a shell tells it: 0..255, 128 + signal when it was killed */
    int signal;      /* that killed it, or 0 */
    int asked; /* the last of INT, TERM, HUP, QUIT that was passed on (or typed), or 0 */
} lx_child_end;

/* Where the command is, by PATH as execvp looks: LX_ENOTFOUND (a shell's 127) or LX_EPERM
 * (126). */
int lx_child_find(char *out, size_t capacity, const char *command, lx_error *err);

/* Before threads are made and databases opened. */
int lx_child_prepare(lx_error *err);

/*
 * Runs argv (ends with NULL) to its end. `end` is filled whenever the child was started,
 * whatever is returned: the first error of the view is told after the child has ended.
 */
int lx_child_run(lx_child_end *end, char *const *argv, const lx_child_view *view,
                 lx_error *err);

#endif
