/*
 * A wall clock that is wrong, to be preloaded: LX_FAKE_CLOCK is a number of seconds that it is off by, or
 * "storm": every reading is off by another amount, ten years back and forth and 1970 among them. Other clocks
 * are right.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(long now)
{
    static const long storm[] = {0, -315360000, 315360000, -60, 3600};
    static atomic_uint n;
    const char *text = getenv("LX_FAKE_CLOCK");
    unsigned i;

    if (!text)
        return 0;
    if (strcmp(text, "storm") != 0)
        return atol(text);
    i = atomic_fetch_add(&n, 1) % 6;
    return i == 5 ? 100 - now : storm[i];
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, out);

    if (rc == 0 && clock == CLOCK_REALTIME)
        out->tv_sec += offset(out->tv_sec);
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
