#include "src/base/secret_token.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static size_t token_length(const char *p, const char *end, const char *more)
{
    const char *at = p;

    while (at < end && *at && (is_token(*at) || strchr(more, *at)))
        at++;
    return (size_t)(at - p);
}

static bool starts(const char *p, const char *end, const char *word)
{
    const size_t n = strlen(word);

    return (size_t)(end - p) >= n && strncasecmp(p, word, n) == 0;
}

bool lx_looks_numeric(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)p[i]) && !strchr(".-+e", p[i]))
            return false;
    return true;
}

bool lx_looks_drawn(const char *p, size_t n)
{
    bool has_digit = false, has_letter = false;

    if (lx_looks_numeric(p, n))
        return n >= 16 && !memchr(p, '.', n);
    for (size_t i = 0; i < n; i++) {
        has_digit |= isdigit((unsigned char)p[i]) != 0;
        has_letter |= isalpha((unsigned char)p[i]) != 0;
        if (isspace((unsigned char)p[i]) || p[i] == '/') /* words, a path */
            return false;
    }
    return n >= 16 || (n >= 8 && has_digit && has_letter);
}

/* ---- tokens ----------------------------------------------------------------------------- */

static bool is_upper_word(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isupper((unsigned char)p[i]) && !isdigit((unsigned char)p[i]))
            return false;
    return true;
}

/* Are there 16 letters and digits in a row? Names of files and functions are words with separators. */
static bool is_solid(const char *p, size_t n)
{
    size_t row = 0;

    for (size_t i = 0; i < n && row < 16; i++)
        row = isalnum((unsigned char)p[i]) ? row + 1 : 0;
    return row >= 16;
}

typedef struct shape {
    const char *prefix;
    size_t least; /* length that is no accident, the prefix included */
    bool
        is_solid; /* what follows has no separators, and the prefix is one of honest words as well */
} shape;

/* Prefixes of services' tokens. */
static const shape shapes[] = {{"hf_", 20, true},         {"api_org_", 24, true},
                               {"ghp_", 30, false},       {"gho_", 30, false},
                               {"ghu_", 30, false},       {"ghs_", 30, false},
                               {"ghr_", 30, false},       {"github_pat_", 30, false},
                               {"glpat-", 20, false},     {"gldt-", 20, false},
                               {"glrt-", 20, false},      {"glcbt-", 20, false},
                               {"glft-", 20, false},      {"gloas-", 20, false},
                               {"glptt-", 20, false},     {"sk-", 30, false},
                               {"sk_live_", 20, false},   {"sk_test_", 20, false},
                               {"rk_live_", 20, false},   {"rk_test_", 20, false},
                               {"whsec_", 24, false},     {"xoxb-", 20, false},
                               {"xoxp-", 20, false},      {"xoxa-", 20, false},
                               {"xoxr-", 20, false},      {"xoxs-", 20, false},
                               {"xoxc-", 20, false},      {"xoxd-", 20, false},
                               {"xoxe-", 20, false},      {"xapp-", 20, false},
                               {"AIza", 35, false},       {"GOCSPX-", 20, false},
                               {"npm_", 30, true},        {"dckr_pat_", 20, false},
                               {"dckr_oat_", 20, false},  {"pypi-", 30, false},
                               {"r8_", 30, true},         {"gsk_", 30, true},
                               {"nvapi-", 30, false},     {"tvly-", 20, false},
                               {"xai-", 30, false},       {"pplx-", 30, false},
                               {"rpa_", 30, true},        {"dop_v1_", 30, false},
                               {"doo_v1_", 30, false},    {"dor_v1_", 30, false},
                               {"shpat_", 30, false},     {"shpss_", 30, false},
                               {"shpca_", 30, false},     {"shppa_", 30, false},
                               {"lin_api_", 30, false},   {"figd_", 30, false},
                               {"wandb_v1_", 20, false},  {"AGE-SECRET-KEY-", 30, false},
                               {"key-", 36, true},        {"EAACEdEose0cBA", 20, false},
                               {"dapi", 36, true},        {"glsa_", 30, false},
                               {"glc_", 30, true},        {"sntrys_", 30, false},
                               {"sntryu_", 30, false},    {"sbp_", 30, true},
                               {"ntn_", 30, true},        {"HRKU-", 30, false},
                               {"tskey-", 20, false},     {"lsv2_pt_", 30, false},
                               {"lsv2_sk_", 30, false},   {"tgp_v1_", 30, false},
                               {"csk-", 30, true},        {"PMAK-", 30, false},
                               {"NRAK-", 20, false},      {"pscale_tkn_", 30, false},
                               {"pscale_pw_", 30, false}, {"secret_", 40, true},
                               {"fal_sk_", 20, false},    {"pat-na1-", 30, false},
                               {"ATATT3", 40, false},     {"ATBB", 30, true}};

/* The length of the token of one of those shapes; 0: it is none. */
static size_t known_length(const char *at, const char *end, bool is_inside)
{
    static const char *const amazon[] = {"AKIA", "ASIA", "AGPA", "AROA", "AIDA"};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const char *prefix = shapes[i].prefix;
        size_t n, n_prefix;
        if (*at != *prefix || (size_t)(end - at) < shapes[i].least ||
            strncmp(at, prefix, n_prefix = strlen(prefix)) != 0)
            continue;
        n = token_length(at, end, "");
        if (n >= shapes[i].least && ((!shapes[i].is_solid && !is_inside) ||
                                     is_solid(at + n_prefix, n - n_prefix)))
            return n;
    }
    for (size_t i = 0; *at == 'A' && end - at >= 20 && i < sizeof amazon / sizeof *amazon;
         i++)
        if (strncmp(at, amazon[i], 4) == 0 && is_upper_word(at, 20) &&
            (at + 20 == end || !is_token(at[20])))
            return 20;
    return 0;
}

/* Digits, a colon, 35 characters. */
static size_t telegram_length(const char *at, const char *end)
{
    size_t digits = 0;

    while (at + digits < end && isdigit((unsigned char)at[digits]))
        digits++;
    if (digits < 8 || digits > 10 || at + digits == end || at[digits] != ':' ||
        token_length(at + digits + 1, end, "") != 35)
        return 0;
    return digits + 1 + 35;
}

/* A bot of Discord: its number in base64, six characters of time, 27 or more that sign them. */
static size_t discord_length(const char *at, const char *end)
{
    size_t id, time, rest;

    if (!strchr("MNO", *at))
        return 0;
    id = token_length(at, end, "");
    if (id < 23 || id > 28 || end - at < (long)id + 35 || at[id] != '.')
        return 0;
    time = token_length(at + id + 1, end, "");
    if (time != 6 || at[id + 7] != '.')
        return 0;
    rest = token_length(at + id + 8, end, "");
    return rest >= 27 ? id + 8 + rest : 0;
}

/* Those with dots or a colon in them. */
static size_t dotted_length(const char *at, const char *end)
{
    static const struct {
        const char *prefix;
        size_t least;
    } known[] = {{"SG.", 40},      {"ya29.", 30},  {"hvs.", 24},  {"hvb.", 24},
                 {"atlasv1.", 30}, {"dp.pt.", 30}, {"dp.st.", 30}};
    const char *dot;
    size_t n, other;

    if (!strchr("Syhade", *at))
        return (other = telegram_length(at, end)) ? other : discord_length(at, end);
    n = token_length(at, end, ".");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (n >= known[i].least &&
            strncmp(at, known[i].prefix, strlen(known[i].prefix)) == 0)
            return n;
    /* A JWT: three parts of base64, the first of which begins with {" */
    if (n >= 40 && strncmp(at, "eyJ", 3) == 0 && (dot = memchr(at, '.', n)) &&
        memchr(dot + 1, '.', n - (size_t)(dot + 1 - at)))
        return n;
    return (other = telegram_length(at, end)) ? other : discord_length(at, end);
}

size_t lx_token_length(const char *at, const char *end, bool is_inside)
{
    const size_t n = is_inside ? 0 : dotted_length(at, end);

    return n ? n : known_length(at, end, is_inside);
}

/* ---- private keys ------------------------------------------------------------------------ */

/* PuTTY's: the lines between two of its own. */
static size_t putty_length(size_t *keep, const char *at, const char *end)
{
    const char *line, *stop;

    if (!starts(at, end, "Private-Lines: ") || end - at < 16 ||
        !isdigit((unsigned char)at[15]) || !(line = memchr(at, '\n', (size_t)(end - at))))
        return 0;
    *keep = (size_t)(++line - at);
    for (stop = line; stop < end && !starts(stop, end, "\nPrivate-MAC"); stop++)
        ;
    return (size_t)(stop - line);
}

size_t lx_private_key_length(size_t *keep, const char *at, const char *end)
{
    const char *line = end - at > 64 ? at + 64 : end, *p;
    size_t n;

    if (*at == 'P' && (n = putty_length(keep, at, end)))
        return n > 8 ? n : 0;
    if (!starts(at, end, "-----BEGIN ") && !starts(at, end, "---- BEGIN "))
        return 0;
    for (p = at; p < line && !starts(p, line, "PRIVATE KEY"); p++)
        ;
    if (p == line)
        return 0;
    for (n = (size_t)(p - at) + 11; at + n < end && strchr("- ", at[n]) && at[n]; n++)
        ;
    *keep = n;
    for (p = at + n;
         p < end && !starts(p, end, "-----END") && !starts(p, end, "---- END"); p++)
        ;
    n = (size_t)(p - at) - *keep;
    return n > 8 ? n : 0; /* a few: "***" is there already */
}
