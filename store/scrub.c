#include "store/scrub.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool lx_is_secret_name(const char *name)
{
    /* network_weights' keep_tokens and max_token_length speak of other tokens. */
    static const char *const words[] = {"api_key", "apikey",  "api-key",       "password", "passwd",
                                        "secret",  "hf_token", "huggingface_token", "access_token",
                                        "auth_token", "private_key", "credential"};
    size_t n = strlen(name);
    char lower[128];

    if (n >= sizeof lower)
        return false;
    for (size_t i = 0; i <= n; i++)
        lower[i] = (char)tolower((unsigned char)name[i]);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(lower, words[i]))
            return true;
    return lx_ends_with(lower, "token") || lx_ends_with(lower, "_key") ||
           lx_ends_with(lower, "-key");
}

static size_t word_length(const char *p, const char *end)
{
    const char *at = p;
    while (at < end && (isalnum((unsigned char)*at) || *at == '_' || *at == '-'))
        at++;
    return (size_t)(at - p);
}

/* Prefixes of services' tokens, with the least length that is no accident. */
bool lx_is_secret_word(const char *p, size_t n)
{
    static const struct {
        const char *prefix;
        size_t least;
    } known[] = {{"hf_", 20},  {"ghp_", 30},    {"gho_", 30},  {"github_pat_", 30}, {"glpat-", 20},
                 {"sk-", 30},  {"xoxb-", 20},   {"xoxp-", 20}, {"AKIA", 20},        {"AIza", 35},
                 {"npm_", 30}, {"dckr_pat_", 20}, {"pypi-", 30}, {"r8_", 30}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (n >= known[i].least && strncmp(p, known[i].prefix, strlen(known[i].prefix)) == 0)
            return true;
    return false;
}

/* The user part of scheme://user:password@host starting at p; 0 if there is none. */
size_t lx_url_user_length(const char *p, const char *end)
{
    const char *at = p;
    while (at < end && !isspace((unsigned char)*at) && *at != '/' && *at != '"' && *at != '\'') {
        if (*at == '@')
            return (size_t)(at - p);
        at++;
    }
    return 0;
}

void lx_scrub_text(lx_str *out, const char *text, size_t n)
{
    const char *p = text, *end = text + n;
    bool at_word = true;

    while (p < end) {
        size_t length;
        if (end - p > 3 && memcmp(p, "://", 3) == 0 && (length = lx_url_user_length(p + 3, end))) {
            lx_str_puts(out, "://***");
            p += 3 + length;
        } else if (at_word && (length = word_length(p, end)) && lx_is_secret_word(p, length)) {
            lx_str_puts(out, "***");
            p += length;
        } else {
            lx_str_putc(out, *p++);
        }
        at_word = p > text && !isalnum((unsigned char)p[-1]) && p[-1] != '_' && p[-1] != '-';
    }
}

static void put_quoted(lx_str *out, const char *word)
{
    lx_str clean = LX_STR_INIT;
    lx_scrub_text(&clean, word, strlen(word));
    word = lx_str_text(&clean);
    /* A star is one of ours, or a shell's. */
    if (*word && (!strchr(word, '*') || strstr(word, "***")) &&
        strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                     "_-+=./,:@%*") == strlen(word)) {
        lx_str_puts(out, word);
    } else {
        lx_escape_shell(out, word);
    }
    lx_str_release(&clean);
}

void lx_scrub_command(lx_str *out, int argc, const char *const *argv)
{
    bool hides_next = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');
        bool is_option = word[0] == '-' && word[1];
        char name[128];

        if (i)
            lx_str_putc(out, ' ');
        if (hides_next && !is_option) {
            lx_str_puts(out, "***");
            hides_next = false;
            continue;
        }
        hides_next = false;
        if (is_option && strlen(word) < sizeof name) {
            size_t n = equals ? (size_t)(equals - word) : strlen(word);
            memcpy(name, word, n);
            name[n] = '\0';
            if (lx_is_secret_name(name)) {
                lx_str_puts(out, name);
                if (equals)
                    lx_str_puts(out, "=***");
                hides_next = !equals;
                continue;
            }
        }
        put_quoted(out, word);
    }
}
