/*
 * import/console_log - a saved console as runs, one for each training in it
 *
 * Without a clock in it, a log tells no date: the file's own time is taken for the end,
 * and the elapsed time on the last bar counted back from it.
 */
#ifndef LX_IMPORT_CONSOLE_LOG_H
#define LX_IMPORT_CONSOLE_LOG_H

#include "src/import/history.h"

/* Adds no run when there is no training in it. */
int lx_import_console_log(lx_history *history, const char *path, lx_error *err);

#endif
