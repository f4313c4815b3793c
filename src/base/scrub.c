#include "src/base/scrub.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static bool starts(const char *p, const char *end, const char *word)
{
    const size_t n = strlen(word);

    return (size_t)(end - p) >= n && strncasecmp(p, word, n) == 0;
}

static size_t word_length(const char *p, const char *end, const char *more)
{
    const char *at = p;

    while (at < end && *at && (is_word(*at) || strchr(more, *at)))
        at++;
    return (size_t)(at - p);
}

/* ---- names ---------------------------------------------------------------------------- */

typedef enum name_kind {
    NAME_HONEST,
    NAME_WEAK,  /* a token or key of some sort: its value must look like a secret */
    NAME_STRONG /* its value is one */
} name_kind;

static bool contains_any(const char *name, const char *const *words)
{
    for (; *words; words++)
        if (strstr(name, *words))
            return true;
    return false;
}

static bool ends_any(const char *name, const char *const *words)
{
    for (; *words; words++)
        if (lx_ends_with(name, *words))
            return true;
    return false;
}

/* Trainers speak of the tokens of a text encoder, and of keys of tables. */
static bool is_honest(const char *name)
{
    static const char *const words[] = {
        "tokeniz",      "keep_token",   "max_token",    "min_token",
        "num_token",    "token_warmup", "token_length", "token_weight",
        "token_string", "token_id",     "token_count",  "token_merg",
        "keyframe",     "keyword",      "keyboard",     NULL};
    static const char *const endings[] = {"placeholder_token",
                                          "initializer_token",
                                          "init_token",
                                          "pad_token",
                                          "eos_token",
                                          "bos_token",
                                          "unk_token",
                                          "sep_token",
                                          "mask_token",
                                          "cls_token",
                                          "class_token",
                                          "instance_token",
                                          "concept_token",
                                          "trigger_token",
                                          "image_key",
                                          "caption_key",
                                          "text_key",
                                          "data_key",
                                          "json_key",
                                          "metadata_key",
                                          "sort_key",
                                          "column_key",
                                          "cache_key",
                                          "public_key",
                                          NULL};

    return contains_any(name, words) || ends_any(name, endings);
}

static name_kind kind_of_name(const char *p, size_t n)
{
    static const char *const strong[] = {
        "api_key",        "apikey",        "access_key", "accesskey",
        "account_key",    "accountkey",    "secret",     "private_key",
        "privatekey",     "auth_key",      "authkey",    "signing_key",
        "encryption_key", "license_key",   "password",   "passwd",
        "passphrase",     "credential",    "hf_token",   "huggingface_token",
        "access_token",   "accesstoken",   "auth_token", "authtoken",
        "webhook",        "api_token",     "apitoken",   "bot_token",
        "refresh_token",  "session_token", "id_token",   "github_token",
        "gitlab_token",   "sas_token",     NULL};
    static const char *const endings[] = {
        "_key", "token", "tokens", "_pw", "_pwd", "signature", "connection_string", NULL};
    char name[96];

    while (n && (*p == '-' || *p == '_')) {
        p++;
        n--;
    }
    if (!n || n >= sizeof name)
        return NAME_HONEST;
    for (size_t i = 0; i < n; i++)
        name[i] = p[i] == '-' ? '_' : (char)tolower((unsigned char)p[i]);
    name[n] = '\0';
    if (contains_any(name, strong))
        return NAME_STRONG;
    if (is_honest(name))
        return NAME_HONEST;
    return ends_any(name, endings) || strstr(name, "_token_") || strstr(name, "_key_")
               ? NAME_WEAK
               : NAME_HONEST;
}

bool lx_is_secret_name(const char *name)
{
    return kind_of_name(name, strlen(name)) != NAME_HONEST;
}

/* ---- values ---------------------------------------------------------------------------- */

static bool is_number(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)p[i]) && !strchr(".-+e", p[i]))
            return false;
    return true;
}

/* What stands for no value at all, or is ours already. */
static bool is_empty(const char *p, size_t n)
{
    static const char *const words[] = {"true", "false", "null", "none",
                                        "***",  "yes",   "no"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (n == strlen(words[i]) && strncasecmp(p, words[i], n) == 0)
            return true;
    return n == 0;
}

static bool looks_drawn(const char *p, size_t n)
{
    bool has_digit = false, has_letter = false;

    if (is_number(p, n))
        return n >= 16 && !memchr(p, '.', n);
    for (size_t i = 0; i < n; i++) {
        has_digit |= isdigit((unsigned char)p[i]) != 0;
        has_letter |= isalpha((unsigned char)p[i]) != 0;
        if (isspace((unsigned char)p[i]) || p[i] == '/') /* words, a path */
            return false;
    }
    return n >= 16 || (n >= 8 && has_digit && has_letter);
}

/* Of a bare value: a number is the count of a tag that is called so, a bracket a part of JSON. */
static bool is_secret_value(name_kind kind, const char *p, size_t n, bool is_quoted)
{
    if (is_empty(p, n) || (!is_quoted && strchr("{[(", *p)))
        return false;
    if (!is_quoted && is_number(p, n) && n < 10)
        return false;
    return kind == NAME_STRONG || looks_drawn(p, n);
}

/* Up to the quote that closes it; one that stands escaped in another text is closed by an escaped one. */
static size_t quoted_length(const char *p, const char *end, char quote, bool is_nested)
{
    const char *at = p;

    while (at < end && *at != '\n') {
        if (*at == '\\' && is_nested && at + 1 < end && at[1] == quote)
            break;
        if (*at == quote && !is_nested)
            break;
        at += *at == '\\' && !is_nested && at + 1 < end ? 2 : 1;
    }
    return (size_t)((at < end ? at : end) - p);
}

/* To the end of the word; brackets and commas belong to it unless something ends there. */
static size_t bare_length(const char *p, const char *end)
{
    const char *at = p;

    for (; at < end && (unsigned char)*at > 0x20 && !strchr("\"'\\<&`", *at); at++)
        if (strchr(",;)]}", *at) && (at + 1 == end || (unsigned char)at[1] <= 0x20 ||
                                     strchr(",;)]}\"'\\", at[1])))
            break;
    return (size_t)(at - p);
}

static const char *skip(const char *p, const char *end, const char *what)
{
    while (p < end && *p && strchr(what, *p))
        p++;
    return p;
}

/* Where the value of a name begins: behind = or :, quotes and spaces around it; of an option also behind a space or,
 * in a list of words, behind quotes and a comma; of an element of XML behind >. NULL: it has none. */
static const char *find_value(const char *text, const char *name, const char *p,
                              const char *end)
{
    const char *at = skip(p, end, "\\\"' \t");

    if (at < end && (*at == '=' || *at == ':') &&
        !(end - at > 2 && at[1] == '/' && at[2] == '/')) {
        at = skip(at + 1, end, " \t>");
        return skip(at, end, "\\\"'");
    }
    if (at < end && *at == '>' && name > text && name[-1] == '<')
        return at + 1;
    if (*name != '-' || p == end || is_word(*p))
        return NULL;
    at = skip(p, end, "\\\"', \t");
    return at < end && at > p && *at != '-' ? at : NULL;
}

/* NAME = VALUE, "NAME": "VALUE", --NAME VALUE and such. */
static size_t named_value(size_t *keep, const char *text, const char *at, const char *end)
{
    const size_t n_name = word_length(at, end, "");
    const name_kind kind = kind_of_name(at, n_name);
    const char *value;
    bool is_quoted, is_nested;
    size_t n;

    if (kind == NAME_HONEST || !(value = find_value(text, at, at + n_name, end)))
        return 0;
    is_quoted = value > at && (value[-1] == '"' || value[-1] == '\'');
    is_nested = is_quoted && value - at > 1 && value[-2] == '\\';
    n = is_quoted ? quoted_length(value, end, value[-1], is_nested)
                  : bare_length(value, end);
    *keep = (size_t)(value - at);
    return is_secret_value(kind, value, n, is_quoted) ? n : 0;
}

/* Authorization: Bearer X; Cookie: X. To the end of the line or of the quotes that hold it. */
static size_t header_value(size_t *keep, const char *text, const char *at,
                           const char *end)
{
    static const char *const names[] = {"authorization", "proxy-authorization", "cookie",
                                        "set-cookie"};
    static const char *const schemes[] = {"bearer ", "basic ", "token ", "digest ",
                                          "apikey "};
    const size_t n = word_length(at, end, "");
    const char *value, *stop;
    bool is_one = false;

    (void)text;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        is_one |= n == strlen(names[i]) && strncasecmp(at, names[i], n) == 0;
    value = skip(at + n, end, "\\\"' ");
    if (!is_one || value == end || (*value != ':' && *value != '='))
        return 0;
    value = skip(value + 1, end, "\\\"' \t");
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (starts(value, end, schemes[i]))
            value += strlen(schemes[i]);
    for (stop = value; stop < end && !strchr("\"'\\\r\n", *stop); stop++)
        ;
    *keep = (size_t)(value - at);
    return is_empty(value, (size_t)(stop - value)) ? 0 : (size_t)(stop - value);
}

static size_t bearer_value(size_t *keep, const char *at, const char *end)
{
    size_t n;

    if (!starts(at, end, "bearer "))
        return 0;
    n = word_length(at + 7, end, "._~+/=");
    *keep = 7;
    return n >= 16 ? n : 0;
}

/* ---- looks ------------------------------------------------------------------------------ */

static bool is_upper_word(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isupper((unsigned char)p[i]) && !isdigit((unsigned char)p[i]))
            return false;
    return true;
}

/* Prefixes of services' tokens, with the least length that is no accident. */
static bool is_known_token(const char *p, size_t n)
{
    static const struct {
        const char *prefix;
        size_t least;
    } known[] = {{"hf_", 20},
                 {"api_org_", 24},
                 {"ghp_", 30},
                 {"gho_", 30},
                 {"ghu_", 30},
                 {"ghs_", 30},
                 {"ghr_", 30},
                 {"github_pat_", 30},
                 {"glpat-", 20},
                 {"gldt-", 20},
                 {"glrt-", 20},
                 {"glcbt-", 20},
                 {"sk-", 30},
                 {"sk_live_", 20},
                 {"sk_test_", 20},
                 {"rk_live_", 20},
                 {"whsec_", 24},
                 {"xoxb-", 20},
                 {"xoxp-", 20},
                 {"xoxa-", 20},
                 {"xoxr-", 20},
                 {"xoxs-", 20},
                 {"xapp-", 20},
                 {"AIza", 35},
                 {"npm_", 30},
                 {"dckr_pat_", 20},
                 {"pypi-", 30},
                 {"r8_", 30},
                 {"gsk_", 30},
                 {"nvapi-", 30},
                 {"tvly-", 20},
                 {"xai-", 30},
                 {"pplx-", 30},
                 {"rpa_", 30},
                 {"dop_v1_", 30},
                 {"doo_v1_", 30},
                 {"shpat_", 30},
                 {"lin_api_", 30},
                 {"figd_", 30},
                 {"wandb_v1_", 20},
                 {"AGE-SECRET-KEY-", 30},
                 {"key-", 36},
                 {"EAACEdEose0cBA", 20}};
    static const char *const amazon[] = {"AKIA", "ASIA", "AGPA", "AROA", "AIDA"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (n >= known[i].least &&
            strncmp(p, known[i].prefix, strlen(known[i].prefix)) == 0)
            return true;
    for (size_t i = 0; i < sizeof amazon / sizeof *amazon; i++)
        if (n == 20 && strncmp(p, amazon[i], 4) == 0 && is_upper_word(p, n))
            return true;
    return false;
}

/* Those with dots or a colon in them. */
static size_t dotted_token(const char *at, const char *end)
{
    static const struct {
        const char *prefix;
        size_t least;
    } known[] = {{"SG.", 40}, {"ya29.", 30}, {"hvs.", 24}, {"atlasv1.", 30}};
    size_t n = word_length(at, end, "."), digits = 0;
    const char *dot;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (n >= known[i].least &&
            strncmp(at, known[i].prefix, strlen(known[i].prefix)) == 0)
            return n;
    /* A JWT: three parts of base64, the first of which begins with {" */
    if (n >= 40 && strncmp(at, "eyJ", 3) == 0 && (dot = memchr(at, '.', n)) &&
        memchr(dot + 1, '.', n - (size_t)(dot + 1 - at)))
        return n;
    /* A bot of Telegram: digits, a colon, 35 characters */
    while (at + digits < end && isdigit((unsigned char)at[digits]))
        digits++;
    if (digits >= 8 && digits <= 10 && at + digits < end && at[digits] == ':') {
        n = word_length(at + digits + 1, end, "");
        return n == 35 ? digits + 1 + n : 0;
    }
    return 0;
}

static size_t known_token(const char *at, const char *end)
{
    size_t n = dotted_token(at, end);

    if (n)
        return n;
    n = word_length(at, end, "");
    return is_known_token(at, n) ? n : 0;
}

/* ---- context ----------------------------------------------------------------------------- */

static bool line_says(const char *text, const char *at, const char *end,
                      const char *const *words)
{
    enum { MOST_LINE = 400 };
    const char *from = at, *to = at;

    while (from > text && from[-1] != '\n' && at - from < MOST_LINE)
        from--;
    while (to < end && *to != '\n' && to - at < MOST_LINE)
        to++;
    for (; from < to; from++)
        for (size_t i = 0; words[i]; i++)
            if (starts(from, to, words[i]))
                return true;
    return false;
}

/* The word before, as `commit` before its hash. */
static bool is_behind(const char *text, const char *at, const char *const *words)
{
    const char *end = at, *from;

    while (end > text && strchr(" \t:=\"'@", end[-1]))
        end--;
    for (from = end; from > text && is_word(from[-1]);)
        from--;
    for (size_t i = 0; words[i]; i++)
        if ((size_t)(end - from) == strlen(words[i]) &&
            strncasecmp(from, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

/* W&B's keys have no mark of their own. */
static size_t key_in_context(const char *text, const char *at, const char *end)
{
    static const char *const services[] = {"wandb", "weights & biases",
                                           "weights and biases", "api key", NULL};
    static const char *const others[] = {"commit",   "sha",  "sha1",     "rev",
                                         "revision", "ref",  "hash",     "git",
                                         "oid",      "head", "checkout", NULL};
    size_t n = 0;

    while (at + n < end && isxdigit((unsigned char)at[n]))
        n++;
    if ((n != 40 && n != 32) || (at + n < end && is_word(at[n])) || is_number(at, n))
        return 0;
    return line_says(text, at, end, services) && !is_behind(text, at, others) ? n : 0;
}

/* machine HOST login NAME password X */
static size_t netrc_password(size_t *keep, const char *text, const char *at,
                             const char *end)
{
    static const char *const words[] = {"login ", NULL};
    size_t n;

    if (!starts(at, end, "password ") || !line_says(text, at, at, words))
        return 0;
    *keep = 9;
    n = bare_length(at + 9, end);
    return is_empty(at + 9, n) ? 0 : n;
}

/* Whoever knows the rest of the path may write there. */
static size_t webhook_path(size_t *keep, const char *at, const char *end)
{
    static const char *const starts_of[] = {
        "hooks.slack.com/services/",    "discord.com/api/webhooks/",
        "discordapp.com/api/webhooks/", "api.telegram.org/bot",
        "outlook.office.com/webhook/",  "maker.ifttt.com/trigger/"};

    for (size_t i = 0; i < sizeof starts_of / sizeof *starts_of; i++)
        if (starts(at, end, starts_of[i])) {
            size_t n;
            *keep = strlen(starts_of[i]);
            n = word_length(at + *keep, end, "/.:@");
            return n == 3 && strncmp(at + *keep, "***", 3) == 0 ? 0 : n;
        }
    return 0;
}

/* From the first line of a private key to its last, or to the end of the text. */
static size_t private_key(size_t *keep, const char *at, const char *end)
{
    const char *line = end - at > 64 ? at + 64 : end, *p;
    size_t n;

    if (!starts(at, end, "-----BEGIN "))
        return 0;
    for (p = at; p < line && !starts(p, line, "PRIVATE KEY"); p++)
        ;
    if (p == line)
        return 0;
    for (n = (size_t)(p - at) + 11; at + n < end && at[n] == '-'; n++)
        ;
    *keep = n;
    for (p = at + n; p < end && !starts(p, end, "-----END"); p++)
        ;
    n = (size_t)(p - at) - *keep;
    return n > 8 ? n : 0; /* a few: "***" is there already */
}

size_t lx_secret_at(size_t *keep, const char *text, const char *at, const char *end)
{
    size_t n;

    *keep = 0;
    if (*at == '-' && (n = private_key(keep, at, end)))
        return n;
    *keep = 0;
    if (!is_word(*at) || (at > text && is_word(at[-1])))
        return 0;
    if ((n = known_token(at, end)))
        return n;
    if ((n = header_value(keep, text, at, end)) || (n = bearer_value(keep, at, end)) ||
        (n = netrc_password(keep, text, at, end)) ||
        (n = named_value(keep, text, at, end)) || (n = webhook_path(keep, at, end)))
        return n;
    *keep = 0;
    return key_in_context(text, at, end);
}

/* The user part of scheme://user:password@host starting at p; 0 if there is none. A password may hold an @. */
size_t lx_url_user_length(const char *p, const char *end)
{
    size_t n = 0;

    for (const char *at = p;
         at < end && !isspace((unsigned char)*at) && !strchr("/?#\"'<>\\", *at); at++)
        if (*at == '@')
            n = (size_t)(at - p);
    return n;
}

/* ---- texts and command lines ---------------------------------------------------------------- */

void lx_scrub_text(lx_str *out, const char *text, size_t n)
{
    const char *from = text, *at = text, *end = text + n;

    while (at < end) {
        size_t keep, length;
        if (end - at > 3 && memcmp(at, "://", 3) == 0 &&
            (length = lx_url_user_length(at + 3, end)))
            keep = 3;
        else if (!(length = lx_secret_at(&keep, text, at, end))) {
            at++;
            continue;
        }
        lx_str_append(out, from, (size_t)(at - from) + keep);
        lx_str_puts(out, "***");
        at += keep + length;
        from = at;
    }
    lx_str_append(out, from, (size_t)(end - from));
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
    out->failed |= clean.failed;
    lx_str_release(&clean);
}

/* Of an option what it says is taken, however it looks; numbers may stay behind names that tokens of texts have too. */
static bool hides(name_kind kind, const char *value)
{
    const size_t n = strlen(value);

    if (kind == NAME_HONEST || is_empty(value, n))
        return false;
    return kind == NAME_STRONG || !is_number(value, n) || n >= 10;
}

bool lx_hides_value(const char *name, const char *value)
{
    const name_kind kind = kind_of_name(name, strlen(name));

    if (kind == NAME_HONEST)
        return false;
    return kind == NAME_STRONG ? hides(kind, value)
                               : is_secret_value(kind, value, strlen(value), true);
}

/* curl -u NAME:PASSWORD, and words that are called just key, auth or token. */
static name_kind kind_of_option(const char *name, size_t n)
{
    static const char *const strong[] = {"u",    "user",       "proxy-user",
                                         "auth", "basic-auth", "key"};

    while (n && *name == '-') {
        name++;
        n--;
    }
    for (size_t i = 0; i < sizeof strong / sizeof *strong; i++)
        if (n == strlen(strong[i]) && strncasecmp(name, strong[i], n) == 0)
            return i == 5 ? NAME_WEAK : NAME_STRONG;
    return kind_of_name(name, n);
}

/* Of NAME:PASSWORD the name may be seen; without a colon it is no secret. */
static const char *behind_user(const char *option, size_t n, const char *value)
{
    const bool is_user = (n == 2 && strncmp(option, "-u", 2) == 0) ||
                         lx_ends_with(option, "user") ||
                         strncmp(option, "--user=", 7) == 0;
    const char *colon = strchr(value, ':');

    if (!is_user)
        return value;
    return colon ? colon + 1 : value + strlen(value);
}

static void put_hidden(lx_str *out, const char *word, const char *value)
{
    lx_str_printf(out, "%.*s***", (int)(value - word), word);
}

void lx_scrub_command(lx_str *out, int argc, const char *const *argv)
{
    const char *option = NULL; /* the word before, if it is an option without a value */

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '='), *value;
        const bool is_option = word[0] == '-' && word[1];
        const size_t n = is_option && equals ? (size_t)(equals - word) : strlen(word);

        if (i)
            lx_str_putc(out, ' ');
        if (option && !is_option) {
            value = behind_user(option, strlen(option), word);
            if (hides(kind_of_option(option, strlen(option)), value))
                put_hidden(out, word, value);
            else
                put_quoted(out, word);
        } else if (is_option && equals &&
                   hides(kind_of_option(word, n),
                         value = behind_user(word, n, equals + 1))) {
            put_hidden(out, word, value);
        } else {
            put_quoted(out, word);
        }
        option = is_option && !equals ? word : NULL;
    }
}
