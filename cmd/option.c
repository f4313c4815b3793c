#include "cmd/option.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The state of one parse: words from argv, read left to right. */
typedef struct parser {
    const lx_option_set *sets;
    size_t n_sets;
    int argc, at;
    char **argv;
    lx_arena *arena;
} parser;

/* An option and the struct it fills. */
typedef struct match {
    const lx_option *option;
    char *args;
} match;

int lx_parse_int(int64_t *out, const char *text, lx_error *err)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (!*text || isspace((unsigned char)*text) || *end)
        return lx_fail(err, LX_EUSAGE, "'%s' is not a whole number", text);
    if (errno == ERANGE)
        return lx_fail(err, LX_EUSAGE, "'%s' is too large", text);
    *out = value;
    return LX_OK;
}

int lx_parse_number(double *out, const char *text, lx_error *err)
{
    char *end;
    double value;

    errno = 0;
    value = strtod(text, &end);
    if (!*text || isspace((unsigned char)*text) || *end || strpbrk(text, "xXpP"))
        return lx_fail(err, LX_EUSAGE, "'%s' is not a number", text);
    if (!isfinite(value))
        return lx_fail(err, LX_EUSAGE, "'%s' is not a finite number", text);
    *out = value;
    return LX_OK;
}

bool lx_option_name_is(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char x = a[i] == '-' ? '_' : a[i], y = b[i] == '-' ? '_' : b[i];
        if (x != y || !x)
            return false;
    }
    return a[n] == '\0';
}

bool lx_is_option_word(const char *word)
{
    double number;

    return word[0] == '-' && word[1] && lx_parse_number(&number, word, NULL) < 0;
}

static bool has_letter(const parser *p, char letter)
{
    for (size_t s = 0; s < p->n_sets; s++)
        for (const lx_option *o = p->sets[s].options; o->name; o++)
            if (o->kind != LX_OPTION_ARGS && o->letter == letter)
                return true;
    return false;
}

/* As argparse: where a command has -1, -1 is that and not a number. */
static bool is_option_word(const parser *p, const char *word)
{
    return lx_is_option_word(word) ||
           (word[0] == '-' && isdigit((unsigned char)word[1]) && has_letter(p, word[1]));
}

static bool has_prefix(const char *name, const char *prefix, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char x = name[i] == '-' ? '_' : name[i], y = prefix[i] == '-' ? '_' : prefix[i];
        if (x != y)
            return false;
    }
    return true;
}

static bool is_named(const lx_option *o)
{
    return o->kind != LX_OPTION_ARGS;
}

static int fail_ambiguous(const parser *p, const char *name, size_t n, lx_error *err)
{
    char list[256];
    size_t used = 0;

    for (size_t s = 0; s < p->n_sets; s++)
        for (const lx_option *o = p->sets[s].options; o->name; o++)
            if (is_named(o) && has_prefix(o->name, name, n) && used < sizeof list)
                used += (size_t)snprintf(list + used, sizeof list - used, "%s--%s",
                                         used ? ", " : "", o->name);
    return lx_fail(err, LX_EUSAGE, "--%.*s could be %s; write more of it", (int)n, name, list);
}

static int fail_unknown(const parser *p, const char *name, size_t n, lx_error *err)
{
    const char *nearest = NULL;
    char wanted[80];
    int least = 6, distance; /* long names: five slips still tell which was meant */

    snprintf(wanted, sizeof wanted, "%.*s", (int)n, name);
    for (size_t s = 0; s < p->n_sets; s++)
        for (const lx_option *o = p->sets[s].options; o->name; o++) {
            if (!is_named(o))
                continue;
            distance = lx_name_distance(o->name, wanted);
            if (distance < least && distance * 2 <= (int)strlen(wanted)) {
                least = distance;
                nearest = o->name;
            }
        }
    if (nearest)
        return lx_fail(err, LX_EUSAGE, "there is no option --%.*s; did you mean --%s?", (int)n,
                       name, nearest);
    return lx_fail(err, LX_EUSAGE, "there is no option --%.*s; --help lists all", (int)n, name);
}

/* As argparse: a whole name wins, else the only name it begins. */
static int find_long(match *out, const parser *p, const char *name, size_t n, lx_error *err)
{
    const lx_option *found = NULL;
    void *args = NULL;
    size_t n_found = 0;

    for (size_t s = 0; s < p->n_sets; s++)
        for (const lx_option *o = p->sets[s].options; o->name; o++) {
            if (!is_named(o))
                continue;
            if (lx_option_name_is(o->name, name, n)) {
                *out = (match){o, p->sets[s].args};
                return LX_OK;
            }
            if (n && has_prefix(o->name, name, n) && (!found || strcmp(found->name, o->name))) {
                found = o;
                args = p->sets[s].args;
                n_found++;
            }
        }
    if (n_found > 1)
        return fail_ambiguous(p, name, n, err);
    if (!found)
        return fail_unknown(p, name, n, err);
    *out = (match){found, args};
    return LX_OK;
}

static int find_letter(match *out, const parser *p, char letter, lx_error *err)
{
    for (size_t s = 0; s < p->n_sets; s++)
        for (const lx_option *o = p->sets[s].options; o->name; o++)
            if (is_named(o) && o->letter == letter) {
                *out = (match){o, p->sets[s].args};
                return LX_OK;
            }
    return lx_fail(err, LX_EUSAGE, "there is no option -%c; --help lists all", letter);
}

static int add_word(const parser *p, lx_words *words, const char *word, lx_error *err)
{
    const char **items;

    /* Powers of two, so that many words cost no more than twice their number. */
    if ((words->count & (words->count - 1)) == 0) {
        size_t capacity = words->count ? words->count * 2 : 1;
        if (!(items = lx_arena_calloc(p->arena, capacity, sizeof *items)))
            return lx_oom(err);
        if (words->count)
            memcpy(items, words->items, words->count * sizeof *items);
        words->items = items;
    }
    words->items[words->count++] = word;
    return LX_OK;
}

static int take_list(const parser *p, lx_words *words, const char *first, int *at,
                     lx_error *err)
{
    int rc = LX_OK;

    *words = (lx_words){NULL, 0}; /* given twice: the last one counts, as in argparse */
    if (first)
        return add_word(p, words, first, err);
    while (rc == 0 && *at < p->argc && !is_option_word(p, p->argv[*at]))
        rc = add_word(p, words, p->argv[(*at)++], err);
    return rc;
}

static int store_value(const parser *p, match m, const char *value, lx_error *err)
{
    char *place = m.args + m.option->offset;
    int rc = LX_OK;

    switch (m.option->kind) {
    case LX_OPTION_INT:
        rc = lx_parse_int((int64_t *)(void *)place, value, err);
        break;
    case LX_OPTION_NUMBER:
        rc = lx_parse_number((double *)(void *)place, value, err);
        break;
    case LX_OPTION_REPEAT:
    case LX_OPTION_ARGS:
        rc = add_word(p, (lx_words *)(void *)place, value, err);
        break;
    default:
        *(const char **)(void *)place = value;
    }
    if (rc < 0 && m.option->kind != LX_OPTION_ARGS)
        lx_within(err, "--%s", m.option->name);
    return rc;
}

/* --flip_aug=false takes back what a file or an earlier run says; =true is the flag itself. */
static int take_switch(match m, const char *value, lx_error *err)
{
    static const char *const words[2][5] = {{"false", "no", "off", "0", NULL},
                                            {"true", "yes", "on", "1", NULL}};

    for (int is_on = 0; is_on < 2; is_on++)
        for (const char *const *word = words[is_on]; *word; word++)
            if (strcasecmp(*word, value) == 0) {
                *(bool *)(void *)(m.args + m.option->offset) = is_on;
                return LX_OK;
            }
    return lx_fail(err, LX_EUSAGE, "--%s takes no value but =true or =false, and '%s' was given",
                   m.option->name, value);
}

/* `inline_value` is what stood behind '=' (or behind a letter), or NULL. */
static int take_option(parser *p, match m, const char *inline_value, lx_error *err)
{
    if (m.option->given_offset >= 0)
        *(bool *)(void *)(m.args + m.option->given_offset) = true;
    if (m.option->kind == LX_OPTION_FLAG) {
        if (inline_value && m.option->given_offset >= 0)
            return take_switch(m, inline_value, err);
        if (inline_value)
            return lx_fail(err, LX_EUSAGE, "--%s takes no value, but '%s' was given",
                           m.option->name, inline_value);
        *(bool *)(void *)(m.args + m.option->offset) = true;
        return LX_OK;
    }
    if (m.option->kind == LX_OPTION_LIST)
        return take_list(p, (lx_words *)(void *)(m.args + m.option->offset), inline_value,
                         &p->at, err);
    if (!inline_value) {
        if (p->at == p->argc || (m.option->kind != LX_OPTION_DASHED &&
                                 is_option_word(p, p->argv[p->at])))
            return lx_fail(err, LX_EUSAGE, "--%s needs a value%s%s", m.option->name,
                           m.option->value ? ": " : "", m.option->value ? m.option->value : "");
        inline_value = p->argv[p->at++];
    }
    return store_value(p, m, inline_value, err);
}

static int take_long(parser *p, const char *word, lx_error *err)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    match m;
    int rc;

    if ((rc = find_long(&m, p, name, n, err)) < 0)
        return rc;
    return take_option(p, m, equals ? equals + 1 : NULL, err);
}

/* -q, -qv, -o FILE, -oFILE, -o=FILE */
static int take_letters(parser *p, const char *word, lx_error *err)
{
    match m;
    int rc;

    for (const char *letter = word + 1; *letter; letter++) {
        if ((rc = find_letter(&m, p, *letter, err)) < 0)
            return rc;
        if (m.option->kind != LX_OPTION_FLAG) {
            const char *value = letter + 1;
            if (*value == '=')
                value++;
            return take_option(p, m, letter[1] ? value : NULL, err);
        }
        if ((rc = take_option(p, m, NULL, err)) < 0)
            return rc;
    }
    return LX_OK;
}

static int take_positional(const parser *p, const char *word, lx_error *err)
{
    for (size_t s = 0; s < p->n_sets; s++)
        for (const lx_option *o = p->sets[s].options; o->name; o++)
            if (o->kind == LX_OPTION_ARGS)
                return store_value(p, (match){o, p->sets[s].args}, word, err);
    return lx_fail(err, LX_EUSAGE, "unexpected word '%s'", word);
}

int lx_option_sets_parse(const lx_option_set *sets, size_t n_sets, int argc, char **argv,
                         int *rest, lx_arena *arena, lx_error *err)
{
    parser p = {sets, n_sets, argc, 0, argv, arena};
    bool only_words = false;
    int rc = LX_OK;

    while (rc == 0 && p.at < argc) {
        const char *word = argv[p.at];
        bool is_option = !only_words && is_option_word(&p, word);
        if (rest && !is_option)
            break;
        p.at++;
        if (is_option && strcmp(word, "--") == 0)
            only_words = true;
        else if (is_option && word[1] == '-')
            rc = take_long(&p, word, err);
        else if (is_option)
            rc = take_letters(&p, word, err);
        else
            rc = take_positional(&p, word, err);
    }
    if (rest)
        *rest = p.at;
    return rc;
}

int lx_options_parse(void *args, const lx_option *options, int argc, char **argv,
                     lx_arena *arena, lx_error *err)
{
    lx_option_set set = {options, args};

    return lx_option_sets_parse(&set, 1, argc, argv, NULL, arena, err);
}

/* Words of `text` from column `from` on, wrapped before `columns`. */
static void put_wrapped(lx_str *out, const char *text, int from, int columns)
{
    int at = from;

    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > from && at + 1 + n > columns) {
            lx_str_printf(out, "\n%*s", from, "");
            at = from;
        } else if (at > from) {
            lx_str_putc(out, ' ');
            at++;
        }
        lx_str_append(out, text, (size_t)n);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    lx_str_putc(out, '\n');
}

void lx_options_help(lx_str *out, const lx_option *options, int columns)
{
    enum { INDENT = 28 };
    char left[96];

    if (columns > 100)
        columns = 100;
    if (columns < INDENT + 20)
        columns = INDENT + 20;
    for (const lx_option *o = options; o->name; o++) {
        const char *value = o->value ? o->value : "VALUE";
        bool has_value = o->kind != LX_OPTION_FLAG && o->kind != LX_OPTION_ARGS;
        int n;
        if (o->kind == LX_OPTION_ARGS)
            n = snprintf(left, sizeof left, "  %s", o->name);
        else
            n = snprintf(left, sizeof left, "  %c%c%s--%s%s%s%s", o->letter ? '-' : ' ',
                         o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
                         has_value ? " " : "", has_value ? value : "",
                         o->kind == LX_OPTION_LIST && !lx_ends_with(value, "...") ? "..." : "");
        lx_str_puts(out, left);
        if (n > INDENT - 2)
            lx_str_printf(out, "\n%*s", INDENT, "");
        else
            lx_str_printf(out, "%*s", INDENT - n, "");
        put_wrapped(out, o->help ? o->help : "", INDENT, columns);
    }
}
