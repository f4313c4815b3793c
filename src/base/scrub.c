#include "src/base/scrub.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "src/base/secret_name.h"
#include "src/base/secret_token.h"

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

/* ---- where a word begins ----------------------------------------------------------------- */

/* Behind \n and such of a string's text, %20 of a URL's, or a colour of a terminal, letters begin a word. */
static bool is_behind_escape(const char *text, const char *at)
{
    const char *p = at;

    if (p - text >= 2 && p[-2] == '\\' && strchr("abefnrtv0", p[-1]))
        return true;
    if (p - text >= 3 && p[-3] == '%' && isxdigit((unsigned char)p[-2]) &&
        isxdigit((unsigned char)p[-1]))
        return true;
    if (p - text >= 6 && p[-6] == '\\' && p[-5] == 'u' && isxdigit((unsigned char)p[-1]))
        return true;
    if (p == text || !isalpha((unsigned char)*--p))
        return false;
    while (p > text && (isdigit((unsigned char)p[-1]) || p[-1] == ';'))
        p--;
    return p - text >= 2 && p[-1] == '[' &&
           strchr("\x1b"
                  "bB3e",
                  p[-2]);
}

typedef enum beginning {
    IN_WORD,
    BEHIND_DASH, /* - or _ within a word */
    AT_START
} beginning;

/* Before the word may stand what marks a line of a difference. */
static beginning beginning_of(const char *text, const char *at)
{
    if (!is_word(*at))
        return IN_WORD;
    if (at == text || !is_word(at[-1]) || is_behind_escape(text, at))
        return AT_START;
    if (at[-1] == '-' && *at != '-' && (at - 1 == text || at[-2] == '\n'))
        return AT_START;
    return at[-1] == '-' || at[-1] == '_' ? BEHIND_DASH : IN_WORD;
}

/* Over any of these characters, and over the colours of a terminal. */
static const char *skip(const char *p, const char *end, const char *what)
{
    while (p < end && *p)
        if (strchr(what, *p)) {
            p++;
        } else if (end - p > 2 && p[0] == '\x1b' && p[1] == '[') {
            for (p += 2; p < end && (isdigit((unsigned char)*p) || *p == ';'); p++)
                ;
            p += p < end;
        } else {
            break;
        }
    return p;
}

/* ---- values ---------------------------------------------------------------------------- */

/* A text of this name or of the options' kind, and what it says. */
typedef struct named {
    const char *text, *name, *end;
    size_t n_name;
    lx_name_kind kind;
} named;

typedef struct span {
    const char *at;
    size_t n;
    bool is_quoted;
} span;

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

/* Of a bare value: a number is the count of a tag that is called so, a bracket a part of JSON. */
static bool is_secret_value(lx_name_kind kind, const span *v)
{
    if (is_empty(v->at, v->n) || (!v->is_quoted && strchr("{[(", *v->at)))
        return false;
    if (!v->is_quoted && lx_looks_numeric(v->at, v->n) && v->n < 10)
        return false;
    return kind == LX_NAME_STRONG || lx_looks_drawn(v->at, v->n);
}

/* A quote behind n backslashes, in a text whose opening quote stood behind `depth` of them, which is how often it was
 * quoted itself: does it close it? */
static bool is_closing(size_t n, size_t depth)
{
    for (; depth; depth /= 2, n /= 2)
        if (n % 2 == 0)
            return true; /* a quote from further outside */
    return n % 2 == 0;
}

/* From behind an opening quote that stood behind `depth` backslashes to the one that closes it, or the line's end. YAML
 * and SQL double a ' within. */
static size_t quoted_length(const char *p, const char *end, char quote, size_t depth)
{
    const char *at = p;
    size_t n = 0; /* backslashes before it */

    for (; at < end && *at != '\n'; at++) {
        if (*at == quote && is_closing(n, depth)) {
            if (quote != '\'' || depth || at + 1 == end || at[1] != '\'')
                return (size_t)(at - p) - (n < depth ? n : depth);
            at++;
        }
        n = *at == '\\' ? n + 1 : 0;
    }
    return (size_t)(at - p);
}

/* To the end of the word; brackets and commas belong to it unless something ends there, & unless it is of an address, <
 * unless it begins a tag. */
static size_t bare_length(const char *p, const char *end, bool is_query)
{
    const char *at = p;

    for (; at < end && (unsigned char)*at > 0x20 && !strchr("\"'\\`", *at); at++) {
        if ((*at == '&' && is_query) || (*at == '<' && at + 1 < end && at[1] == '/'))
            break;
        if (strchr(",;)]}", *at) && (at + 1 == end || (unsigned char)at[1] <= 0x20 ||
                                     strchr(",;)]}\"'\\", at[1])))
            break;
    }
    return (size_t)(at - p);
}

/* Behind the quote at p, backslashes before it and letters of a language's strings (b"", f"", L""): true, and where the
 * text in it begins and ends. */
static bool take_quoted(span *out, const char *p, const char *end)
{
    const char *at = p;
    size_t depth;

    while (at < end && at - p < 2 && strchr("bBrRuUfFL", *at))
        at++;
    for (depth = 0; at < end && *at == '\\'; at++)
        depth++;
    if (at == end || (*at != '"' && *at != '\''))
        return false;
    if (end - at > 3 && at[1] == *at && at[2] == *at) /* """ */
        at += 2;
    out->at = at + 1;
    out->n = quoted_length(at + 1, end, *at, depth);
    out->is_quoted = true;
    return true;
}

/* ["X", "Y"], ("X"): from the first text in it to the last, what separates them included. */
static bool take_list(span *out, const char *p, const char *end)
{
    static const char between[] = " \t\r\n,";
    span item;
    const char *at = skip(p + 1, end, between);

    if (!strchr("[({", *p) || !take_quoted(&item, at, end))
        return false;
    *out = item;
    do {
        out->n = (size_t)(item.at + item.n - out->at);
        at = skip(item.at + item.n, end, "\\\"'");
        if (*p == '{' && at < end && *at == ':') /* a table */
            return false;
        at = skip(at, end, between);
    } while (take_quoted(&item, at, end));
    return true;
}

/* SecretStr("X"), os.environ.get("NAME", "X"): a text among the arguments; of a call that looks something up the second. */
static bool take_argument(span *out, const char *p, const char *end)
{
    const char *at = p;
    bool is_lookup = false;

    while (at < end && (isalnum((unsigned char)*at) || *at == '_' || *at == '.')) {
        is_lookup |= starts(at, end, "env") || starts(at, end, "get");
        at++;
    }
    if (at == p || at == end || (*at != '(' && *at != '[') ||
        !take_quoted(out, at + 1, end))
        return false;
    if (is_lookup) {
        at = skip(out->at + out->n, end, "\\\"' \t");
        out->n = 0;
        if (at < end && *at == ',')
            take_quoted(out, skip(at + 1, end, " \t"), end);
    }
    return true;
}

/* The value that begins at p. */
static bool take_value(span *out, const named *x, const char *p)
{
    const bool is_query = x->name > x->text && strchr("?&;", x->name[-1]);

    if (p == x->end)
        return false;
    if (take_quoted(out, p, x->end) || take_argument(out, p, x->end) ||
        (x->kind == LX_NAME_STRONG && take_list(out, p, x->end)))
        return true;
    *out = (span){p, bare_length(p, x->end, is_query), false};
    return true;
}

/* NAME: str = "X": behind the type; NULL: there is nothing behind it. */
static const char *skip_type(const char *p, const char *end)
{
    static const char *const types[] = {"str",    "optional",  "bytes",
                                        "string", "secretstr", "union",
                                        "text",   "any",       "&str"};
    const char *at = NULL;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const size_t n = strlen(types[i]);
        if (starts(p, end, types[i]) && (p + n == end || !is_word(p[n])))
            at = p + n;
    }
    if (!at)
        return p;
    if (at < end && *at == '[')
        while (at < end && *at != '\n' && *at++ != ']')
            ;
    at = skip(at, end, " ?");
    at = starts(at, end, "| None") ? skip(at + 6, end, " ") : at;
    if (at == end || strchr(",);\n\r", *at))
        return NULL;
    return *at == '=' ? skip(at + 1, end, " \t") : p;
}

/* ---- values on lines of their own --------------------------------------------------------- */

static size_t indent_of(const char *line, const char *end)
{
    size_t n = 0;

    while (line + n < end && line[n] == ' ')
        n++;
    return n;
}

/* The length of a line's end at p, which in a string of JSON is \n, in one within another \\n; 0: there is none. */
static size_t break_length(const char *p, const char *end)
{
    size_t n = 0;

    while (p + n < end && p[n] == '\\' && n < 8)
        n++;
    return p + n < end && (p[n] == '\n' || (n && p[n] == 'n')) ? n + 1 : 0;
}

/* One word, and no key of a table. */
static bool is_one_word(const char *p, const char *end)
{
    return end > p && end[-1] != ':' && !memchr(p, ' ', (size_t)(end - p));
}

/* A line of a block, without its end; of a difference without its mark. */
typedef struct block_line {
    const char *content, *end;
    size_t indent;
    bool is_item; /* of a list: behind its dash */
} block_line;

static block_line read_line(const char *line, const char *end, char mark)
{
    block_line l;

    line += line < end && mark && *line == mark;
    l.indent = indent_of(line, end);
    l.content = l.end = line + l.indent;
    while (l.end < end && *l.end != '"' && !break_length(l.end, end))
        l.end++;
    l.is_item = l.end - l.content > 1 && l.content[0] == '-' && l.content[1] == ' ';
    l.content += l.is_item ? 2 : 0;
    return l;
}

/* YAML: the value is what stands deeper on the next lines: a text behind | or >, a list, a word. `p` is behind the colon. */
static bool take_block(span *out, const named *x, const char *p)
{
    const bool is_text = p < x->end && (*p == '|' || *p == '>');
    const char *at = is_text ? skip(p, x->end, "|>+-123456789 \t\r") : p, *from = x->name;
    size_t indent, n;
    char mark = 0;

    while (from > x->text && from[-1] == ' ')
        from--;
    indent = (size_t)(x->name - from);
    if (from > x->text && strchr("+-", from[-1]) &&
        (from - 1 == x->text || from[-2] == '\n'))
        mark = from[-1];
    *out = (span){.is_quoted = is_text};
    for (; (n = break_length(at, x->end)); at = out->at + out->n) {
        const block_line l = read_line(at + n, x->end, mark);
        if (l.indent < indent + !l.is_item || (out->at && !is_text && !l.is_item) ||
            (!is_text && !is_one_word(l.content, l.end)))
            break;
        if (!out->at)
            out->at = l.content;
        out->n = (size_t)(l.end - out->at);
    }
    return out->at && out->n;
}

/* ---- what names say ------------------------------------------------------------------------ */

/* Is this the word before? As `commit` before its hash; an option's counts without its dashes. */
static bool is_behind(const char *text, const char *at, const char *const *words)
{
    const char *end = at, *from;

    while (end > text && strchr(" \t:=\"'@", end[-1]))
        end--;
    for (from = end; from > text && is_word(from[-1]);)
        from--;
    for (size_t i = 0; words[i]; i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(end - from) >= n && strncasecmp(end - n, words[i], n) == 0 &&
            ((size_t)(end - from) == n || !isalnum((unsigned char)end[-(long)n - 1])))
            return true;
    }
    return false;
}

/* Behind = or :, or an operator with them; NULL: there is none at p. */
static const char *skip_assignment(const char *p, const char *end)
{
    if (end - p > 1 && strchr("!+?|", *p) && p[1] == '=')
        p++;
    if (p == end || (*p != '=' && *p != ':') ||
        (end - p > 2 && p[1] == '/' && p[2] == '/'))
        return NULL;
    return skip(p + 1, end, "=> \t");
}

/* ("NAME", "X"); {"name": "NAME", "value": "X"}; <add key="NAME" value="X"/> */
static bool take_second(span *out, const named *x, const char *p)
{
    const char *at = skip(p, x->end, "\\\"', \t\n");

    if (at > p && starts(at, x->end, "value")) {
        at = skip_assignment(skip(at + 5, x->end, "\\\"' \t"), x->end);
        return at && take_value(out, x, at);
    }
    at = skip(p, x->end, "\\\"'");
    if (at == p || at == x->end || *at != ',' || x->name - x->text < 2 ||
        !strchr("\"'", x->name[-1]) || x->name[-2] != '(')
        return false;
    return take_quoted(out, skip(at + 1, x->end, " \t"), x->end);
}

/* The value of a name: behind = or :, quotes and spaces around it; of an option also behind a space or, in a list of
 * words, behind quotes and a comma; of an element of XML behind >. */
static bool find_value(span *out, const named *x)
{
    static const char *const definers[] = {"define", "setx", "setenv", "ENV", NULL};
    static const char *const set[] = {"set", NULL}; /* aws configure set NAME X */
    const char *p = x->name + x->n_name, *at = skip(p, x->end, "\\\"' \t])"), *behind;

    if ((behind = skip_assignment(at, x->end))) {
        if (x->kind == LX_NAME_STRONG && *at == ':' &&
            take_block(out, x, skip(at + 1, x->end, " \t")))
            return true;
        if (*at == ':')
            behind = skip_type(behind, x->end);
        return behind && take_value(out, x, behind);
    }
    if (at < x->end && *at == '>' && x->name > x->text && x->name[-1] == '<')
        return take_value(out, x, at + 1);
    if (take_second(out, x, p))
        return true;
    if (at > p && (*p == ' ' || *p == '\t') &&
        (is_behind(x->text, x->name, definers) ||
         (memchr(x->name, '_', x->n_name) && is_behind(x->text, x->name, set))))
        return take_value(out, x, at);
    if (*x->name != '-' || p == x->end || is_word(*p))
        return false;
    at = skip(p, x->end, ", \t\\\"'");
    if (at == x->end || at == p || *at == '-')
        return false;
    while (strchr("\\\"'", at[-1])) /* back before its quotes */
        at--;
    return take_value(out, x, at);
}

/* "access key: X", as of two words. */
static size_t add_word(const char *name, size_t n, const char *end)
{
    static const char *const words[] = {"key", "token", "secret", "password"};

    for (size_t i = 0; i < sizeof words / sizeof *words && *name != '-'; i++) {
        const size_t more = 1 + strlen(words[i]);
        if (name + n < end && name[n] == ' ' && starts(name + n + 1, end, words[i]) &&
            name + n + more < end && strchr(":=", name[n + more]))
            return n + more;
    }
    return n;
}

static const char *const services[] = {
    "wandb", "weights & biases", "weights and biases", "api key", "\"username\"", NULL};

static bool lines_say(const char *text, const char *at, const char *end, int n_before,
                      const char *const *words)
{
    enum { MOST_LINE = 400 };
    const char *from = at, *to = at;

    while (from > text && (from[-1] != '\n' || n_before-- > 0) && at - from < MOST_LINE)
        from--;
    while (to < end && *to != '\n' && to - at < MOST_LINE)
        to++;
    for (; from < to; from++)
        for (size_t i = 0; words[i]; i++)
            if (starts(from, to, words[i]))
                return true;
    return false;
}

/* A name that says nothing elsewhere: of an address's parts, or key below a service. */
static lx_name_kind kind_in_place(const named *x)
{
    static const char *const parts[] = {"sig", "key", "pass", "pwd", "jwt", "auth"};
    const bool is_part = x->name > x->text && strchr("?&", x->name[-1]);

    for (size_t i = 0; is_part && i < sizeof parts / sizeof *parts; i++)
        if (x->n_name == strlen(parts[i]) && starts(x->name, x->end, parts[i]))
            return i == 1 ? LX_NAME_WEAK : LX_NAME_STRONG;
    if (x->n_name == 3 && starts(x->name, x->end, "key") &&
        lines_say(x->text, x->name, x->end, 1, services))
        return LX_NAME_WEAK;
    return LX_NAME_HONEST;
}

/* Of NAME:PASSWORD the password; numbers are those of a user and a group. */
static bool take_password(span *v)
{
    const char *colon = memchr(v->at, ':', v->n);

    if (!colon || (lx_looks_numeric(v->at, (size_t)(colon - v->at)) &&
                   lx_looks_numeric(colon + 1, v->n - (size_t)(colon + 1 - v->at))))
        return false;
    v->n -= (size_t)(colon + 1 - v->at);
    v->at = colon + 1;
    return true;
}

/* NAME = VALUE, "NAME": "VALUE", --NAME VALUE and such. */
static size_t named_value(size_t *keep, const char *text, const char *at, const char *end)
{
    named x = {.text = text, .name = at, .end = end, .n_name = word_length(at, end, "")};
    span v;

    x.n_name = add_word(at, x.n_name, end);
    x.kind =
        *at == '-' ? lx_name_kind_of_option(at, x.n_name) : lx_name_kind_of(at, x.n_name);
    if (x.kind == LX_NAME_HONEST)
        x.kind = kind_in_place(&x);
    if (x.kind == LX_NAME_HONEST || !find_value(&v, &x))
        return 0;
    if (*at == '-' && lx_name_is_user(at, x.n_name) && !take_password(&v))
        return 0;
    *keep = (size_t)(v.at - at);
    return is_secret_value(x.kind, &v) ? v.n : 0;
}

/* ---- headers ------------------------------------------------------------------------------- */

/* Authorization: Bearer X; Cookie: X. To the end of the line or of the quotes that hold it. */
static size_t header_value(size_t *keep, const char *at, const char *end)
{
    static const char *const names[] = {"authorization", "proxy-authorization", "cookie",
                                        "set-cookie"};
    static const char *const schemes[] = {"bearer ", "basic ", "token ", "digest ",
                                          "apikey "};
    const size_t n = word_length(at, end, "");
    const char *value, *stop;
    bool is_one = false;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        is_one |= n == strlen(names[i]) && strncasecmp(at, names[i], n) == 0;
    if (!is_one)
        return 0;
    value = skip(at + n, end, "\\\"' ])");
    if (value == end ||
        (*value != ':' && *value != '=' && (*value != ',' || value == at + n)))
        return 0;
    value = skip(value + 1, end, " \t=");
    if (end - value > 1 && strchr("fb", *value) && strchr("\"'", value[1]))
        value++;
    value = skip(value, end, "\\\"' \t");
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

/* ---- context ----------------------------------------------------------------------------- */

/* W&B's keys have no mark of their own. */
static size_t key_in_context(const char *text, const char *at, const char *end)
{
    static const char *const others[] = {"commit",   "sha",    "sha1", "sha256",   "rev",
                                         "revision", "ref",    "hash", "git",      "oid",
                                         "md5",      "digest", "head", "checkout", NULL};
    size_t n = 0;

    while (at + n < end && isxdigit((unsigned char)at[n]))
        n++;
    if ((n != 40 && n != 32) || (at + n < end && is_word(at[n])) ||
        lx_looks_numeric(at, n))
        return 0;
    return lines_say(text, at, end, 0, services) && !is_behind(text, at, others) ? n : 0;
}

/* machine HOST login NAME password X, on one line or on three */
static size_t netrc_password(size_t *keep, const char *text, const char *at,
                             const char *end)
{
    static const char *const words[] = {"login ", NULL};
    size_t n;

    if (!starts(at, end, "password ") || !lines_say(text, at, at, 2, words))
        return 0;
    *keep = 9;
    n = bare_length(at + 9, end, false);
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

size_t lx_secret_at(size_t *keep, const char *text, const char *at, const char *end)
{
    const beginning how = beginning_of(text, at);
    size_t n;

    *keep = 0;
    if ((*at == '-' || *at == 'P') && (n = lx_private_key_length(keep, at, end)))
        return n;
    *keep = 0;
    if (how == IN_WORD)
        return 0;
    if ((n = lx_token_length(at, end, how == BEHIND_DASH)) || how == BEHIND_DASH)
        return n;
    if ((n = header_value(keep, at, end)) || (n = bearer_value(keep, at, end)) ||
        (n = netrc_password(keep, text, at, end)) ||
        (n = named_value(keep, text, at, end)) || (n = webhook_path(keep, at, end)))
        return n;
    *keep = 0;
    return key_in_context(text, at, end);
}

/* Does a quote end the address before it? Within a password letters follow it. */
static bool is_end_of_address(const char *at, const char *end)
{
    if (*at != '\'')
        return isspace((unsigned char)*at) || strchr("\"<>\\", *at);
    return at + 1 == end || isspace((unsigned char)at[1]) || strchr(",;:)]}'", at[1]);
}

/* Of what stands before a slash: is it no HOST:PORT? */
static bool is_user_and_password(const char *p, const char *stop)
{
    const char *colon = memchr(p, ':', (size_t)(stop - p));

    return colon && *p != '[' && colon + 1 < stop &&
           !lx_looks_numeric(colon + 1, (size_t)(stop - colon - 1));
}

/* The user part of scheme://user:password@host starting at p; 0 if there is none. A password may hold an @ and, written by
 * hand, what belongs to a path. */
size_t lx_url_user_length(const char *p, const char *end)
{
    enum { MOST_USER = 512 };
    const char *at = p;
    size_t n = 0;

    for (; at < end && !is_end_of_address(at, end) && !strchr("/?#", *at); at++)
        if (*at == '@')
            n = (size_t)(at - p);
    if (n || at == end || is_end_of_address(at, end) || !is_user_and_password(p, at))
        return n;
    for (; at < end && at - p < MOST_USER && !is_end_of_address(at, end); at++)
        if (*at == '@')
            return (size_t)(at - p);
    return 0;
}

/* ---- texts and command lines ---------------------------------------------------------------- */

/* "://", or as some write it in JSON: its length. */
static size_t address_mark(const char *at, const char *end)
{
    const char *p = at + 1;

    if (*at != ':')
        return 0;
    for (int i = 0; i < 2; i++) {
        while (p < end && *p == '\\' && p - at < 16)
            p++;
        if (p == end || *p++ != '/')
            return 0;
    }
    return (size_t)(p - at);
}

void lx_scrub_text(lx_str *out, const char *text, size_t n)
{
    const char *from = text, *at = text, *end = text + n;

    while (at < end) {
        size_t keep = address_mark(at, end), length = 0;
        if (keep)
            length = lx_url_user_length(at + keep, end);
        if (!length && !(length = lx_secret_at(&keep, text, at, end))) {
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
static bool hides(lx_name_kind kind, const char *value, size_t n)
{
    if (kind == LX_NAME_HONEST || is_empty(value, n))
        return false;
    return kind == LX_NAME_STRONG || !lx_looks_numeric(value, n) || n >= 10;
}

bool lx_is_secret_name(const char *name)
{
    return lx_name_kind_of(name, strlen(name)) != LX_NAME_HONEST;
}

bool lx_hides_value(const char *name, const char *value)
{
    const lx_name_kind kind = lx_name_kind_of(name, strlen(name));
    const span v = {value, strlen(value), true};

    return kind == LX_NAME_STRONG ? hides(kind, value, v.n)
                                  : kind == LX_NAME_WEAK && is_secret_value(kind, &v);
}

/* Where what is hidden of an option's value begins; NULL: nothing is. Of NAME:PASSWORD the name may be seen; without a
 * colon it is no secret. */
static const char *hidden_part(const char *option, size_t n, const char *text)
{
    const lx_name_kind kind = lx_name_kind_of_option(option, n);
    span v = {text, strlen(text), true};

    if (lx_name_is_user(option, n) && !take_password(&v))
        return NULL;
    return hides(kind, v.at, v.n) ? v.at : NULL;
}

bool lx_hides_option(const char *option, size_t n, const char *value)
{
    return hidden_part(option, n, value) != NULL;
}

/* Behind an option whose value is a secret, a word with one dash that looks drawn is no option. */
static bool is_dashed_value(const char *option, const char *word)
{
    return word[0] == '-' && word[1] != '-' && !strchr(word, '=') &&
           lx_name_kind_of_option(option, strlen(option)) != LX_NAME_HONEST &&
           lx_looks_drawn(word + 1, strlen(word + 1));
}

/* NAME=VALUE as a word of its own: the whole value. */
static const char *hidden_assignment(const char *word)
{
    const size_t n = strcspn(word, "=");
    span v = {word + n + 1, 0, true};
    lx_name_kind kind;

    if (word[n] != '=' || n != word_length(word, word + n, "."))
        return NULL;
    v.n = strlen(v.at);
    kind = lx_name_kind_of(word, n);
    return kind != LX_NAME_HONEST && is_secret_value(kind, &v) ? v.at : NULL;
}

/* What of a word is hidden, up to its end: NULL: nothing but what a text would hide. `option`: the word before it, if that
 * is one that waits for a value; `before`: the word before it. */
static const char *hidden_of_word(const char *word, const char *option,
                                  const char *before)
{
    const size_t n = strcspn(word, "=");
    span user = {word, strlen(word), true};

    if (option && (word[0] != '-' || is_dashed_value(option, word)))
        return hidden_part(option, strlen(option), word);
    if (word[0] != '-' || !word[1])
        return before && strcmp(before, "-c") == 0 ? NULL : hidden_assignment(word);
    if (word[n])
        return hidden_part(word, n, word + n + 1);
    /* curl -uNAME:PASSWORD */
    return word[1] == 'u' && !strchr(word, '/') && take_password(&user) &&
                   !lx_looks_numeric(user.at, user.n)
               ? user.at
               : NULL;
}

void lx_scrub_command(lx_str *out, int argc, const char *const *argv)
{
    const char *option = NULL;

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        const char *hidden = hidden_of_word(word, option, i ? argv[i - 1] : NULL);
        const bool is_value = option && (word[0] != '-' || !word[1] || hidden);

        if (i)
            lx_str_putc(out, ' ');
        if (hidden)
            lx_str_printf(out, "%.*s***", (int)(hidden - word), word);
        else
            put_quoted(out, word);
        if (!is_value)
            option = word[0] == '-' && word[1] && !strchr(word, '=') ? word : NULL;
        else if (!lx_ends_with(option, "s")) /* of keys, tokens there may be more */
            option = NULL;
    }
}
