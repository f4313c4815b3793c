#include "store/privacy.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/scrub.h"

typedef struct known_name {
    char *text;
    size_t n;
    lx_private kind;
} known_name;

struct lx_privacy {
    bool is_off, failed, rests; /* rests: nothing is counted */
    char *home;                 /* $HOME when it is none of the usual places; else NULL */
    known_name *names;
    size_t n_names, capacity;
    size_t counts[LX_PRIVATE_COUNT];
};

static const char *const written_as[] = {"~",   "user", "host", "name@example.com",
                                         "***", "***"};

/* ---- names ------------------------------------------------------------------------- */

/* Names of accounts and machines that tell nobody apart. */
static bool is_common(const char *name, size_t n)
{
    static const char *const names[] = {
        "root",    "user",     "users",     "admin",     "administrator", "ubuntu",
        "debian",  "fedora",   "home",      "public",    "default",       "shared",
        "guest",   "test",     "docker",    "jovyan",    "runner",        "nobody",
        "vagrant", "host",     "localhost", "desktop",   "computer",      "train",
        "lora",    "models",   "data",      "workspace", "ec2-user",      "colab",
        "kaggle",  "all users"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && strncasecmp(names[i], name, n) == 0)
            return true;
    return n < 3;
}

/* strchr takes a zero byte for one of any set: in files it ends nothing. */
static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* ---- letters as JSON may write them ------------------------------------------------- */

enum { CODE = 6 }; /* \uXXXX */

/* The letter \uXXXX that stands at p; 0: none does. */
static uint32_t code_at(const char *p, const char *end)
{
    uint32_t code = 0;

    if (end - p < CODE || p[0] != '\\' || p[1] != 'u')
        return 0;
    for (int i = 2; i < CODE; i++) {
        char c = p[i];
        if (!isxdigit((unsigned char)c))
            return 0;
        code = code << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return code;
}

static bool is_behind_code(const char *text, const char *at)
{
    return at - text >= CODE && code_at(at - CODE, at);
}

/* Behind \n and such a word may begin. As in base/scrub, however many backslashes: JSON stands in JSON. */
static bool is_behind_escape(const char *text, const char *at)
{
    return (at - text >= 2 && at[-2] == '\\' && is_one_of(at[-1], "nrtbf")) || is_behind_code(text, at);
}

/* Does an escape begin with the backslash before `at`? */
static bool is_in_escape(const char *text, const char *at, const char *end)
{
    return at > text && at[-1] == '\\' && (is_one_of(*at, "nrtbf") || code_at(at - 1, end));
}

static void put_code(lx_str *out, uint32_t code)
{
    if (code < 0x10000) {
        lx_str_printf(out, "\\u%04x", (unsigned)code);
    } else {
        put_code(out, 0xD800 + ((code - 0x10000) >> 10));
        put_code(out, 0xDC00 + ((code - 0x10000) & 0x3FF));
    }
}

/* The name in the other spelling: with letters of others than English as JSON may write them, or those as they are.
 * Nothing when it has none. */
static void respell(lx_str *out, const char *name, size_t n)
{
    const char *at = name, *end = name + n;
    bool is_other = false;

    while (at < end) {
        uint32_t code = code_at(at, end), low;
        if (code) {
            at += CODE;
            if (code >> 10 == 0x36 && (low = code_at(at, end)) >> 10 == 0x37) {
                code = 0x10000 + ((code & 0x3FF) << 10 | (low & 0x3FF));
                at += CODE;
            }
            lx_str_put_utf8(out, code);
            is_other = true;
        } else if ((code = lx_utf8_next(&at, end)) < 0x80) {
            lx_str_putc(out, (char)code);
        } else if (code != 0xFFFFFFFF) {
            put_code(out, code);
            is_other = true;
        }
    }
    if (!is_other)
        lx_str_clear(out);
}

/* ---- learning ---------------------------------------------------------------------- */

static void learn_spelling(lx_privacy *p, lx_private kind, const char *name, size_t n)
{
    if (is_common(name, n) || n > 128)
        return;
    for (size_t i = 0; i < p->n_names; i++)
        if (p->names[i].n == n && strncasecmp(p->names[i].text, name, n) == 0)
            return;
    if (lx_grow(&p->names, &p->capacity, p->n_names + 1, sizeof *p->names) < 0 ||
        !(p->names[p->n_names].text = lx_strndup(name, n))) {
        p->failed = true;
        return;
    }
    p->names[p->n_names].n = n;
    p->names[p->n_names++].kind = kind;
}

static void learn(lx_privacy *p, lx_private kind, const char *name, size_t n)
{
    lx_str other = LX_STR_INIT;

    learn_spelling(p, kind, name, n);
    respell(&other, name, n);
    p->failed |= other.failed;
    if (other.len)
        learn_spelling(p, kind, other.data, other.len);
    lx_str_release(&other);
}

void lx_privacy_learn_name(lx_privacy *p, lx_private kind, const char *name)
{
    if (name && !p->is_off)
        learn(p, kind, name, strlen(name));
}

/* Is a name that ends before `at` a whole one there? */
static bool ends_word(const known_name *name, const char *at, const char *end)
{
    return at == end || (!is_word(*at) && !(is_behind_code(name->text, name->text + name->n) && code_at(at, end)));
}

/* The name known to stand at `at`, where a word begins, as a whole one; NULL if none does. The longest wins. */
static const known_name *name_at(const lx_privacy *p, const char *text, const char *at, const char *end)
{
    const known_name *best = NULL;

    for (size_t i = 0; i < p->n_names; i++) {
        const known_name *name = &p->names[i];
        if (name->n <= (size_t)(end - at) && strncasecmp(name->text, at, name->n) == 0 &&
            ends_word(name, at + name->n, end) && !(*at == '\\' && is_behind_code(text, at)) &&
            (!best || name->n > best->n))
            best = name;
    }
    return best;
}

/* ---- home folders ------------------------------------------------------------------ */

/* One or more of / and \ (JSON doubles the backslash). */
static size_t slashes(const char *p, const char *end)
{
    const char *at = p;
    while (at < end && (*at == '/' || *at == '\\'))
        at++;
    return (size_t)(at - p);
}

/* Those of them that separate: behind them the folder's name may begin with a letter that JSON writes with a backslash,
 * or with two in JSON in JSON, which writes four between folders of Windows. */
static size_t separators(const char *p, const char *end)
{
    size_t n = slashes(p, end), n_last = 0;

    while (n_last < n && p[n - n_last - 1] == '\\')
        n_last++;
    if (!n_last || code_at(p + n - 1, end) < 0x80)
        return n;
    if (n_last < n)
        return n - n_last;
    return n % 3 ? n : n / 3 * 2;
}

static bool ends_name(char c)
{
    return (unsigned char)c < 0x20 || strchr("/\\\"'<>|:;,*?()[]{}`$&", c);
}

/* The length of a letter of a name as JSON may write it, behind fewer backslashes than separate the path's folders. */
static size_t code_length(const char *p, const char *end, size_t n_separators)
{
    const char *at = p;

    while (at < end && *at == '\\')
        at++;
    return at > p && (size_t)(at - p) < n_separators && code_at(at - 1, end) >= 0x80
               ? (size_t)(at - p) + CODE - 1
               : 0;
}

/* A slash or a quote; backslashes if they separate folders, or are a quote's. */
static bool closes_name(const char *p, const char *end, size_t n_separators)
{
    const char *at = p;

    while (at < end && *at == '\\')
        at++;
    return (size_t)(at - p) >= n_separators || (at < end && is_one_of(*at, "/\"'"));
}

/*
 * The length of a folder's name. Names of Windows and macOS may hold spaces: they belong
 * to the name when it is closed by a slash or a quote a few words later; else the first
 * space ends it.
 */
static size_t name_length(const char *p, const char *end, size_t n_separators)
{
    const char *at = p, *space = NULL;
    int n_spaces = 0;
    while (at < end && n_spaces < 3) {
        size_t code = code_length(at, end, n_separators);
        if (!code && ends_name(*at))
            break;
        if (*at == ' ') {
            space = space ? space : at;
            n_spaces++;
        }
        at += code ? code : 1;
    }
    if (space && (n_spaces == 3 || !closes_name(at, end, n_separators)))
        at = space;
    return (size_t)(at - p);
}

static bool starts(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && strncasecmp(p, word, n) == 0;
}

/*
 * A home folder that begins at p: its length, and where in it the user's name is (n_name
 * 0: it has none, as /root).
 */
static size_t home_length(const lx_privacy *privacy, const char *p, const char *end,
                          const char **name, size_t *n_name)
{
    static const char *const parents[] = {"home", "users", "documents and settings"};
    const char *at = p;
    size_t n, most = 2; /* 4 where JSON stands in JSON, which is sure behind the letter of a drive only */

    *n_name = 0;
    if (privacy->home && starts(p, end, privacy->home)) {
        n = strlen(privacy->home);
        return p + n == end || !is_word(p[n]) ? n : 0;
    }
    if (starts(p, end, "/root") &&
        (p + 5 == end || (!is_word(p[5]) && !is_one_of(p[5], "._-"))))
        return 5;
    if (end - at > 2 && isalpha((unsigned char)*at) && at[1] == ':') {
        at += 2;
        most = 4;
    }
    if (!(n = slashes(at, end)) || n > (*at == '/' ? 1 : most))
        return 0;
    at += n;
    for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
        const char *after = at + strlen(parents[i]);
        if (!starts(at, end, parents[i]) || !(n = separators(after, end)) || n > most)
            continue;
        *name = after + n;
        /* Between / any backslashes are an escape's: two of them where JSON stands in JSON. */
        *n_name = name_length(*name, end, after[n - 1] == '/' ? 3 : n);
        return *n_name ? (size_t)(*name + *n_name - p) : 0;
    }
    return 0;
}

/* ---- e-mail, secrets --------------------------------------------------------------- */

static bool is_local(char c)
{
    return isalnum((unsigned char)c) || is_one_of(c, "._%+-");
}

static size_t email_length(const char *p, const char *end)
{
    const char *at = p, *host, *dot = NULL;

    while (at < end && is_local(*at))
        at++;
    if (at == p || at == end || *at != '@' || (at - p == 3 && strncmp(p, "git", 3) == 0))
        return 0;
    for (host = ++at; at < end && (isalnum((unsigned char)*at) || is_one_of(*at, ".-"));
         at++)
        if (*at == '.' && at > host && at + 1 < end && isalpha((unsigned char)at[1]))
            dot = at;
    while (is_one_of(at[-1], ".-")) /* no further than to the @ */
        at--;
    if (!dot || at - dot < 3 || starts(host, end, "example.com"))
        return 0;
    return (size_t)(at - p);
}

/* ---- scanning ---------------------------------------------------------------------- */

/* What of one kind stands at `at`: its length, 0 for none. *keep: bytes of it that stay
 * in front. */
static size_t find_at(lx_privacy *p, const char *text, const char *at, const char *end,
                      lx_private *kind, size_t *keep)
{
    bool is_behind = is_behind_escape(text, at);
    bool starts_word = at == text || !is_word(at[-1]) || is_behind;
    const char *name;
    const known_name *known;
    size_t n, n_name;

    *keep = 0;
    if (end - at > 3 && memcmp(at, "://", 3) == 0) {
        /* file:///home/name: the third slash is the path's */
        n = lx_url_user_length(at + 3, end);
        *kind = LX_PRIVATE_URL;
        *keep = 3;
        return n && !(n == 3 && !strncmp(at + 3, "git", 3)) && strncmp(at + 3, "***", n)
                   ? n + 3
                   : 0;
    }
    *kind = LX_PRIVATE_HOME;
    if ((*at == '/' || *at == '\\' || (starts_word && isalpha((unsigned char)*at))) &&
        (n = home_length(p, at, end, &name, &n_name))) {
        /* In the middle of a path only the name goes: /data/home/alice. */
        if (!starts_word && n_name) {
            *kind = LX_PRIVATE_USER;
            *keep = (size_t)(name - at);
            return is_common(name, n_name) ? 0 : n;
        }
        return starts_word ? n : 0;
    }
    if (!starts_word)
        return 0;
    *kind = LX_PRIVATE_EMAIL;
    if ((at == text || !is_local(at[-1]) || is_behind) && !is_in_escape(text, at, end) &&
        (n = email_length(at, end)))
        return n;
    *kind = LX_PRIVATE_TOKEN;
    if ((n = lx_secret_at(keep, text, at, end)))
        return *keep + n;
    *keep = 0;
    if ((known = name_at(p, text, at, end))) {
        *kind = known->kind;
        return known->n;
    }
    return 0;
}

bool lx_privacy_scrub(lx_str *out, lx_privacy *p, const char *text, size_t n)
{
    const char *from = text, *at = text, *end = text + n;
    bool is_changed = false;

    out->failed |= p->failed;
    while (at < end && !p->is_off) {
        lx_private kind;
        size_t keep, length = find_at(p, text, at, end, &kind, &keep);
        if (!length) {
            at++;
            continue;
        }
        lx_str_append(out, from, (size_t)(at - from) + keep);
        lx_str_puts(out, written_as[kind]);
        p->counts[kind] += !p->rests;
        is_changed = true;
        at += length;
        from = at;
    }
    lx_str_append(out, from, (size_t)(end - from));
    return is_changed;
}

/* The value of a JSON member by one of our names for a machine or a person. */
static void learn_member(lx_privacy *p, const char *at, const char *end)
{
    static const struct {
        const char *key;
        lx_private kind;
    } keys[] = {{"\"host\":\"", LX_PRIVATE_HOST},
                {"\"hostname\":\"", LX_PRIVATE_HOST},
                {"\"user\":\"", LX_PRIVATE_USER},
                {"\"username\":\"", LX_PRIVATE_USER},
                {"\"user_id\":\"", LX_PRIVATE_USER}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = at + strlen(keys[i].key), *stop;
        if (!starts(at, end, keys[i].key) ||
            !(stop = memchr(value, '"', (size_t)(end - value))))
            continue;
        learn(p, keys[i].kind, value, (size_t)(stop - value));
    }
}

void lx_privacy_learn(lx_privacy *p, const char *text, size_t n)
{
    const char *end = text + n;
    for (const char *at = text; at < end && !p->is_off; at++) {
        const char *name;
        size_t n_name;
        if (*at == '"')
            learn_member(p, at, end);
        else if ((*at == '/' || *at == '\\') && home_length(p, at, end, &name, &n_name) &&
                 n_name)
            learn(p, LX_PRIVATE_USER, name, n_name);
    }
}

/* ---- life -------------------------------------------------------------------------- */

/*
 * From the file, where the user stands in it: glibc's name service, which may know users of
 * other places, ends the process when memory runs out (2.36: an assertion in
 * nss_database_reload).
 */
static const struct passwd *find_user(lx_privacy *p)
{
    const struct passwd *who = NULL;
    FILE *file;

    errno = 0;
    file = fopen("/etc/passwd", "re");
    while (file && (who = fgetpwent(file)) && who->pw_uid != getuid())
        ;
    p->failed |= !who && errno == ENOMEM;
    if (file)
        fclose(file);
    return who ? who : getpwuid(getuid());
}

static void learn_this_machine(lx_privacy *p)
{
    const struct passwd *who = find_user(p);
    const char *home = getenv("HOME"), *name;
    char host[256] = "";
    size_t n, n_usual, n_home = home ? strlen(home) : 0;

    lx_privacy_learn_name(p, LX_PRIVATE_USER, getenv("USER"));
    lx_privacy_learn_name(p, LX_PRIVATE_USER, getenv("LOGNAME"));
    if (who) {
        lx_privacy_learn_name(p, LX_PRIVATE_USER, who->pw_name);
        if (who->pw_gecos)
            learn(p, LX_PRIVATE_USER, who->pw_gecos, strcspn(who->pw_gecos, ","));
    }
    if (gethostname(host, sizeof host - 1) == 0) {
        lx_privacy_learn_name(p, LX_PRIVATE_HOST, host);
        learn(p, LX_PRIVATE_HOST, host, strcspn(host, "."));
    }
    while (n_home && home[n_home - 1] == '/') /* paths in it are written without */
        n_home--;
    n_usual = n_home > 1 ? home_length(p, home, home + n_home, &name, &n) : 0;
    if (n_home > 1 && !n_usual)
        p->failed |= !(p->home = lx_strndup(home, n_home));
    else if (n_usual && n)
        learn(p, LX_PRIVATE_USER, name, n);
}

int lx_privacy_new(lx_privacy **out, bool is_off, lx_error *err)
{
    lx_privacy *p = lx_calloc(1, sizeof *p);
    *out = p;
    if (!p)
        return lx_oom(err);
    p->is_off = is_off;
    if (!is_off)
        learn_this_machine(p);
    if (p->failed) {
        lx_privacy_free(p);
        *out = NULL;
        return lx_oom(err);
    }
    return LX_OK;
}

void lx_privacy_free(lx_privacy *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_names; i++)
        lx_free(p->names[i].text);
    lx_free(p->names);
    lx_free(p->home);
    lx_free(p);
}

bool lx_privacy_is_off(const lx_privacy *p)
{
    return p->is_off;
}

const char *lx_privacy_text(lx_privacy *p, const char *text, lx_arena *arena)
{
    lx_str clean = LX_STR_INIT;
    const char *kept = text;

    if (text && lx_privacy_scrub(&clean, p, text, strlen(text)))
        kept = clean.failed ? NULL : lx_arena_strdup(arena, lx_str_text(&clean));
    else if (p->failed) /* a name that was not learned is not found */
        kept = NULL;
    lx_str_release(&clean);
    return kept || !text ? kept : "";
}

bool lx_privacy_seems_scrubbed(const char *text)
{
    for (int kind = 0; kind < LX_PRIVATE_COUNT; kind++)
        if (strstr(text, written_as[kind]))
            return true;
    return false;
}

/* ---- files ------------------------------------------------------------------------- */

bool lx_privacy_is_text(const void *data, size_t n)
{
    return !n || (!memchr(data, '\0', n) && lx_utf8_check(data, n) == n);
}

/* Where the header of a safetensors file ends; 0: it is none. */
static size_t header_end(const unsigned char *b, size_t n)
{
    uint64_t size = 0;
    if (n < 10 || b[8] != '{')
        return 0;
    for (int i = 7; i >= 0; i--)
        size = size << 8 | b[i];
    return size <= n - 8 ? 8 + (size_t)size : 0;
}

static bool scrub_header(lx_str *out, lx_privacy *p, const char *bytes, size_t n,
                         size_t end)
{
    lx_str header = LX_STR_INIT;
    bool is_changed = lx_privacy_scrub(&header, p, bytes + 8, end - 8);

    if (is_changed) {
        while (header.len % 8 && !header.failed)
            lx_str_putc(&header, ' ');
        for (int i = 0; i < 8; i++)
            lx_str_putc(out, (char)((uint64_t)header.len >> (8 * i)));
        lx_str_append(out, lx_str_text(&header), header.len);
        lx_str_append(out, bytes + end, n - end);
    }
    out->failed |= header.failed;
    lx_str_release(&header);
    return is_changed;
}

lx_scrubbing lx_privacy_scrub_file(lx_str *out, lx_privacy *p, const void *data, size_t n)
{
    size_t end = header_end(data, n), at = out->len;
    bool rests = p->rests, is_private;

    if (p->is_off)
        return LX_SCRUB_CLEAN;
    if (end)
        return scrub_header(out, p, data, n, end) ? LX_SCRUB_CHANGED : LX_SCRUB_CLEAN;
    if (lx_privacy_is_text(data, n)) {
        if (lx_privacy_scrub(out, p, data, n))
            return LX_SCRUB_CHANGED;
        is_private = false;
    } else {
        p->rests = true; /* it is not taken out */
        is_private = lx_privacy_scrub(out, p, data, n);
        p->rests = rests;
    }
    out->len = at;
    if (out->data)
        out->data[at] = '\0';
    return is_private ? LX_SCRUB_LEFT : LX_SCRUB_CLEAN;
}

void lx_privacy_set_counting(lx_privacy *p, bool is_counting)
{
    p->rests = !is_counting;
}

size_t lx_privacy_count(const lx_privacy *p, lx_private kind)
{
    return p->counts[kind];
}

int lx_privacy_told(const char *const **out, size_t *n, const lx_privacy *p,
                    lx_arena *arena, lx_error *err)
{
    static const char *const kinds[] = {"home folders",         "user names",
                                        "host names",           "e-mail addresses",
                                        "tokens and passwords", "users in addresses"};
    const char **texts = lx_arena_calloc(arena, LX_PRIVATE_COUNT, sizeof *texts);

    *n = 0;
    *out = texts;
    for (int kind = 0; texts && kind < LX_PRIVATE_COUNT; kind++)
        if (p->counts[kind] &&
            !(texts[(*n)++] = lx_arena_printf(
                  arena, "%s: %zu time%s, written as %s", kinds[kind], p->counts[kind],
                  p->counts[kind] == 1 ? "" : "s", written_as[kind])))
            return lx_oom(err);
    return texts ? LX_OK : lx_oom(err);
}
