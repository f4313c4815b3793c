#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cli.h"

static volatile sig_atomic_t pending;
static volatile sig_atomic_t resized;

/* A closed terminal may hang up twice, by the kernel and by the shell, and what ends a session may ask to stop after
 * that: nobody is impatient there, and what is being saved has its time. */
static void on_stop(int number)
{
    if (pending && pending != SIGHUP && number != SIGHUP)
        _exit(130); /* the store survives this: it survives kill -9 */
    if (!pending || pending == SIGHUP)
        pending = number;
}

static void on_resize(int number)
{
    (void)number;
    resized = 1;
}

void lx_signals_install(void)
{
    struct sigaction action, before;

    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    /* Reads and writes go on: whoever waits asks lx_signals_pending between them. */
    action.sa_flags = SA_RESTART;
    action.sa_handler = on_stop;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup */
        sigaction(SIGHUP, &action, NULL);
    action.sa_handler = on_resize;
    sigaction(SIGWINCH, &action, NULL);
}

int lx_signals_pending(void)
{
    return pending;
}

bool lx_signals_resized(void)
{
    bool was = resized != 0;
    resized = 0;
    return was;
}

void lx_signals_ignore_writing(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

void lx_signals_die_of_pipe(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}
