#include "src/query/when.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double moment(struct tm t, bool is_utc)
{
    t.tm_isdst = -1;
    return (double)(is_utc ? timegm(&t) : mktime(&t));
}

/* Exactly n digits; advances. */
static bool digits(int *out, const char **p, int n)
{
    *out = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (!isdigit((unsigned char)**p))
            return false;
        *out = *out * 10 + (**p - '0');
    }
    return true;
}

static bool in(int x, int least, int most)
{
    return x >= least && x <= most;
}

/* The part that was given last, plus one: mktime carries it over. */
static void next(struct tm *t, int parts)
{
    int *const fields[] = {&t->tm_year, &t->tm_mon, &t->tm_mday,
                           NULL,        &t->tm_min, &t->tm_sec};
    (*fields[parts - 1])++;
}

static bool parse_clock(struct tm *t, int *parts, const char **p)
{
    if (!digits(&t->tm_hour, p, 2) || *(*p)++ != ':' || !digits(&t->tm_min, p, 2) ||
        !in(t->tm_hour, 0, 23) || !in(t->tm_min, 0, 59))
        return false;
    *parts = 5;
    if (**p != ':')
        return true;
    (*p)++;
    *parts = 6;
    return digits(&t->tm_sec, p, 2) && in(t->tm_sec, 0, 60);
}

/* month: 0 is January. */
static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leaps = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month] + (month == 1 && leaps);
}

static bool parse_date(struct tm *t, int *parts, bool *is_utc, const char *p)
{
    int year;

    *t = (struct tm){.tm_mday = 1};
    *is_utc = false;
    *parts = 1;
    if (!digits(&year, &p, 4))
        return false;
    t->tm_year = year - 1900;
    if (*p != '-')
        return !*p;
    p++;
    *parts = 2;
    if (!digits(&t->tm_mon, &p, 2) || !in(t->tm_mon, 1, 12))
        return false;
    t->tm_mon--;
    if (*p != '-')
        return !*p;
    p++;
    *parts = 3;
    if (!digits(&t->tm_mday, &p, 2) || !in(t->tm_mday, 1, days_of(year, t->tm_mon)))
        return false;
    if ((*p == 'T' || *p == ' ') && (p++, !parse_clock(t, parts, &p)))
        return false;
    if (*p == 'Z' && *parts > 3) {
        *is_utc = true;
        p++;
    }
    return !*p;
}

static bool parse_name(double *from, double *to, const char *text, double now)
{
    time_t seconds = (time_t)now;
    struct tm day;

    if (strcmp(text, "now") == 0) {
        *from = *to = now;
        return true;
    }
    if ((strcmp(text, "today") != 0 && strcmp(text, "yesterday") != 0) ||
        !localtime_r(&seconds, &day))
        return false;
    day.tm_hour = day.tm_min = day.tm_sec = 0;
    if (text[0] == 'y')
        day.tm_mday--;
    *from = moment(day, false);
    day.tm_mday++;
    *to = moment(day, false);
    return true;
}

bool lx_when_parse(double *from, double *to, const char *text, double now,
                   bool takes_year)
{
    struct tm t;
    int parts;
    bool is_utc;

    if (parse_name(from, to, text, now))
        return true;
    if (!parse_date(&t, &parts, &is_utc, text) || (parts == 1 && !takes_year))
        return false;
    *from = moment(t, is_utc);
    next(&t, parts);
    *to = moment(t, is_utc);
    return true;
}

bool lx_duration_parse(double *seconds, const char *text)
{
    static const char units[] = "smhdw";
    static const double length[] = {1, 60, 3600, 86400, 604800};
    double sign = *text == '-' ? -1 : 1, sum = 0;
    const char *p = text + (*text == '-' || *text == '+');

    if (!*p)
        return false;
    while (*p) {
        char *end;
        const char *unit;
        double x;
        if (!isdigit((unsigned char)*p) || (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')))
            return false;
        x = strtod(p, &end);
        unit = *end ? strchr(units, *end) : NULL;
        if (!unit || !isfinite(x))
            return false;
        sum += x * length[unit - units];
        p = end + 1;
    }
    *seconds = sign * sum;
    return isfinite(*seconds);
}

void lx_when_format(char out[32], double seconds)
{
    time_t t = (time_t)seconds;
    struct tm local;

    if (!(fabs(seconds) < 1e12) || !localtime_r(&t, &local) ||
        !strftime(out, 32, "%Y-%m-%d %H:%M", &local))
        snprintf(out, 32, "?");
}

void lx_when_format_iso(char out[32], double seconds)
{
    time_t t = (time_t)seconds;
    struct tm utc;

    if (!(fabs(seconds) < 1e12) || !gmtime_r(&t, &utc) ||
        !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc))
        snprintf(out, 32, "?");
}

void lx_duration_format(char out[32], double seconds)
{
    long s;

    if (!(fabs(seconds) < 1e15)) {
        snprintf(out, 32, "-");
        return;
    }
    if (fabs(seconds) < 60) {
        snprintf(out, 32, "%.1fs", seconds);
        return;
    }
    s = lround(fabs(seconds));
    if (s < 3600)
        snprintf(out, 32, "%s%ldm%02lds", seconds < 0 ? "-" : "", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, 32, "%s%ldh%02ldm", seconds < 0 ? "-" : "", s / 3600, s / 60 % 60);
    else
        snprintf(out, 32, "%s%ldd%ldh", seconds < 0 ? "-" : "", s / 86400, s / 3600 % 24);
}
