/*
 * cmd/run_follow - files that a training writes while it runs
 *
 * Folders are looked at once a second. What was there at the start is left alone; a file
 * counts when it is complete: two looks found it with one size and time, and one of
 * safetensors has as many bytes as its header says. Event files are read as they grow.
 */
#ifndef LX_CMD_RUN_FOLLOW_H
#define LX_CMD_RUN_FOLLOW_H

#include "src/import/tfevents.h"
#include "src/base/str.h"

/* ---- whole files ------------------------------------------------------------------- */

typedef struct lx_follow_files lx_follow_files;

/* Once for each complete file, also when one is written again. */
typedef int (*lx_follow_file)(void *context, const char *path, lx_error *err);

/* Names that begin with prefix ("" = all) and end in one of endings (".safetensors" ...,
 * ends with NULL). All is borrowed. The folder need not be there yet; one that is and cannot be read is LX_EIO. */
int lx_follow_files_open(lx_follow_files **out, const char *folder, const char *prefix,
                         const char *const *endings, lx_follow_file on_file,
                         void *context, lx_error *err);
void lx_follow_files_close(lx_follow_files *files); /* NULL is fine */
/* is_last: the writer is gone; what is there is complete or broken, and a folder that cannot be read LX_EIO. Before, the
 * next look may read it. */
int lx_follow_files_look(lx_follow_files *files, bool is_last, lx_error *err);

/* ---- event files ------------------------------------------------------------------- */

typedef struct lx_follow_events lx_follow_events;

int lx_follow_events_open(lx_follow_events **out, const char *folder,
                          lx_tfevents_sink sink, void *context, lx_error *err);
void lx_follow_events_close(lx_follow_events *events); /* NULL is fine */
/* The process whose files these are, with those of its group and of what it started, in
 * whatever group or session; before it is told, any is. */
void lx_follow_events_of(lx_follow_events *events, int child);
/* is_last: as for whole files. */
int lx_follow_events_look(lx_follow_events *events, bool is_last, lx_error *err);
/* Once for each file that something was read of. */
int lx_follow_events_each(lx_follow_events *events, lx_follow_file on_file, void *context,
                          lx_error *err);

#endif
