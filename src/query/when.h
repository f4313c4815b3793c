/*
 * query/when - moments and spans of time as people write them
 *
 *     2026-11-01   2026-11-01T14:30   2026-11-01 14:30:05   2026-11   2026
 *     now   today   yesterday
 *     90s   5m   1h30m   2.5h   3d   2w   -3d
 *
 * A date is a span of time, as long as its last part says (a day, a minute): what lies in
 * it is equal to it. Dates are local time, with a Z behind the clock UTC.
 */
#ifndef LX_QUERY_WHEN_H
#define LX_QUERY_WHEN_H

#include <stdbool.h>

/* [*from, *to) in seconds since 1970. `now` says what "today" is. A lone year is no date
 * unless `takes_year`, for it is a number too. */
bool lx_when_parse(double *from, double *to, const char *text, double now,
                   bool takes_year);

/* Seconds, with the sign. A number without a unit is no duration. */
bool lx_duration_parse(double *seconds, const char *text);

/* "2026-11-25 18:30" in local time; "?" when there is no such date. */
void lx_when_format(char out[32], double seconds);
/* "2026-11-25T18:30:00Z"; "?" when there is no such date. */
void lx_when_format_iso(char out[32], double seconds);
/* "45.2s", "3m12s", "2h05m", "3d4h"; "-" for NaN. */
void lx_duration_format(char out[32], double seconds);

#endif
