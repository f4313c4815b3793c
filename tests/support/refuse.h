/*
 * support/refuse - a call of the system that fails
 *
 * For what no full disk and no limit brings about: no process can be started, no socket made. Whoever is refused something
 * stays so, and all that it starts: fork a child for it, which ends by _exit.
 */
#ifndef LX_TEST_REFUSE_H
#define LX_TEST_REFUSE_H

#include <sys/syscall.h>

#ifdef SYS_poll
enum { CALL_OF_POLL = SYS_poll };
#else
enum { CALL_OF_POLL = SYS_ppoll };
#endif

/* The call of this number (SYS_...) fails with this errno; 0: it does nothing and says 0. The test is skipped where the
 * kernel has no seccomp. */
void refuse_call(long number, int code);
/* That no process and no thread can be started. */
void refuse_processes(void);

/* Does `work` in a child, which must end well and say true. */
void in_child(int (*work)(void *context), void *context);

#endif
