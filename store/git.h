/*
 * store/git - the state of the code a run was started in, read by a child
 *
 * libgit2 may crash when memory runs out and may take long in a large work tree, so it
 * runs in a process of its own: this same binary started with the hidden command `__git
 * FOLDER` (a fork where main is not lx's, as in a test program). A child that dies or
 * takes more than 20 s is told in the record ("problem") and is no error of the run.
 * Where no folder above looks like a repository none is started.
 */
#ifndef LX_STORE_GIT_H
#define LX_STORE_GIT_H

#include <stdbool.h>

#include "store/store.h"

/* What main calls first: true when argv asks for the child, whose exit status is then
 * *status. */
bool lx_git_is_worker(int *status, int argc, char **argv);

/*
 * Starts the child for a folder already now, for the next lx_run_begin or lx_git_state there: for a command that will
 * confine itself (cmd/bounds) and could not start it later. It reads while the command works. Without it, or
 * for another folder, the child is started when it is asked.
 */
void lx_git_prepare(const char *folder);

/* The state of a folder as it is now, as a run begun here would record it: *json (NULL: in
 * no repository; lx_free) and *diff ("": clean; lx_free). */
int lx_git_state(char **json, char **diff, lx_store *store, const char *folder,
                 lx_error *err);

#endif
