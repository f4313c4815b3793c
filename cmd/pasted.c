#include "cmd/pasted.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "src/base/alloc.h"

static int add(lx_words *words, const char *word, lx_arena *arena, lx_error *err)
{
    if ((words->count & (words->count - 1)) == 0) {
        const char **items =
            lx_arena_calloc(arena, words->count ? words->count * 2 : 1, sizeof *items);
        if (!items)
            return lx_oom(err);
        if (words->count)
            memcpy(items, words->items, words->count * sizeof *items);
        words->items = items;
    }
    words->items[words->count++] = word;
    return LX_OK;
}

/* The last part of a path of either kind. */
static const char *base_name(const char *path)
{
    const char *base = path;

    for (const char *p = path; *p; p++)
        if (*p == '/' || *p == '\\')
            base = p + 1;
    return base;
}

static bool is_launcher(const char *word)
{
    const char *base = base_name(word);
    size_t n = strcspn(base, "0123456789.");

    return (n == 6 && strncasecmp(base, "python", n) == 0) ||
           (n == 2 && strncasecmp(base, "py", n) == 0 && base[n] != '.') ||
           strcasecmp(base, "py.exe") == 0 || strcasecmp(base, "accelerate") == 0 ||
           strcasecmp(base, "accelerate.exe") == 0;
}

static bool is_script(const char *word)
{
    size_t n = strlen(word);

    return word[0] != '-' && n > 3 && strcasecmp(word + n - 3, ".py") == 0;
}

/* ---- one quoted word into words ------------------------------------------------------------- */

/* C:\ anywhere: then a backslash is part of a name, as in cmd, and escapes nothing. */
static bool has_windows_path(const char *line)
{
    for (const char *p = line; *p; p++)
        if (isalpha((unsigned char)p[0]) && p[1] == ':' && p[2] == '\\' &&
            (p == line || !isalnum((unsigned char)p[-1])))
            return true;
    return false;
}

/* The length of a line end with the character that continues the line, or 0. */
static size_t continuation(const char *p)
{
    size_t n = 1;

    if (*p != '\\' && *p != '^' && *p != '`')
        return 0;
    while (p[n] == ' ' || p[n] == '\t' || p[n] == '\r')
        n++;
    return p[n] == '\n' ? n + 1 : 0;
}

/* One word from *at into `word`; *at moves behind it. An apostrophe opens a quote only where a
 * value begins: elsewhere it is one, as in john's. */
static int read_word(lx_str *word, const char **at, bool is_windows, lx_error *err)
{
    const char *p = *at;
    char quote = 0;

    for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
        bool may_open = word->len == 0 || word->data[word->len - 1] == '=';
        if (quote && *p == quote)
            quote = 0;
        else if (!quote && (*p == '"' || (*p == '\'' && may_open)))
            quote = *p;
        else if (!quote && continuation(p))
            break;
        else if (*p == '\\' && !is_windows && quote != '\'' && p[1] &&
                 strchr(quote ? "\"\\$`" : " \"'\\$&()", p[1]))
            lx_str_putc(word, *++p);
        else
            lx_str_putc(word, *p);
    }
    *at = p;
    if (quote)
        return lx_fail(err, LX_EUSAGE, "the pasted line has an opening %c without its end", quote);
    return lx_str_check(word, err);
}

/* The length of "NAME=" at the beginning of what a shell takes for the setting of a variable, or 0. */
static size_t variable_name(const char *word)
{
    size_t n = 0;

    while (isalnum((unsigned char)word[n]) || word[n] == '_')
        n++;
    return n && word[n] == '=' && !isdigit((unsigned char)word[0]) ? n + 1 : 0;
}

/* What stands in front of a command in a shell and is no part of it. */
static bool is_front(const char *word)
{
    return variable_name(word) || strcmp(word, "$") == 0 || strcmp(word, "env") == 0;
}

/* A variable's name alone: the value may be a secret. */
static int drop_front(lx_words *dropped, const char *word, lx_arena *arena, lx_error *err)
{
    const size_t n = variable_name(word);
    const char *name = n ? lx_arena_printf(arena, "%.*s...", (int)n, word) : NULL;

    return !n ? LX_OK : name ? add(dropped, name, arena, err) : lx_oom(err);
}

static int split_line(lx_words *out, lx_words *dropped, const char *line, lx_arena *arena,
                      lx_error *err)
{
    bool is_windows = has_windows_path(line), is_begun = false;
    lx_str word = LX_STR_INIT;
    int rc = LX_OK;

    while (rc == 0) {
        const char *copy;
        for (;;) {
            size_t n = continuation(line);
            if (!n && !isspace((unsigned char)*line))
                break;
            line += n ? n : 1;
        }
        if (!*line)
            break;
        lx_str_clear(&word);
        if ((rc = read_word(&word, &line, is_windows, err)) < 0)
            break;
        if (!is_begun && is_front(lx_str_text(&word))) {
            rc = drop_front(dropped, lx_str_text(&word), arena, err);
            continue;
        }
        is_begun = true;
        copy = lx_arena_strdup(arena, lx_str_text(&word));
        rc = copy ? add(out, copy, arena, err) : lx_oom(err);
    }
    lx_str_release(&word);
    return rc;
}

/* The length of a word of a line, blanks between quotes included. */
static size_t word_length(const char *line)
{
    char quote = 0;
    size_t n;

    for (n = 0; line[n] && (quote || !isspace((unsigned char)line[n])); n++)
        if (quote ? line[n] == quote : line[n] == '"' || line[n] == '\'')
            quote = quote ? 0 : line[n];
    return n;
}

static bool is_quoted_line(const char *word)
{
    char first[64];
    size_t n;

    if (!strstr(word, ".py"))
        return false;
    for (;; word += n) {
        word += strspn(word, " \t\r\n");
        if (variable_name(word))
            n = word_length(word);
        else if (((n = strcspn(word, " \t\r\n")) != 1 || *word != '$') &&
                 (n != 3 || strncmp(word, "env", 3) != 0))
            break;
    }
    if (!word[n] || n >= sizeof first)
        return false;
    memcpy(first, word, n);
    first[n] = '\0';
    return is_launcher(first) || is_script(first);
}

/* ---- the launcher --------------------------------------------------------------------------- */

static int check_launcher(const lx_words *options, lx_error *err)
{
    for (size_t i = 0; i < options->count; i++) {
        const char *word = options->items[i];
        const char *value = strchr(word, '=') ? strchr(word, '=') + 1
                            : i + 1 < options->count ? options->items[i + 1] : "";
        if (strncmp(word, "--multi_gpu", 11) == 0 ||
            (strncmp(word, "--num_processes", 15) == 0 && strcmp(value, "1") != 0))
            return lx_fail(err, LX_EUNSUPPORTED,
                           "%s: one process trains here; leave it out and raise "
                           "--gradient_accumulation_steps for the same batch", word);
    }
    return LX_OK;
}

/* A continuation character that a shell handed over as a word of its own. */
static bool is_stray(const char *word)
{
    return strcmp(word, "^") == 0 || strcmp(word, "\\") == 0 || strcmp(word, "`") == 0;
}

/*
 * Where what stands in front of the command at `start` begins. The value of a flag of lx is not part
 * of it; variables of capital letters are, as a switch has no value.
 */
static size_t front_of(const lx_words *all, size_t start)
{
    size_t front = start;

    while (front > 0 && is_front(all->items[front - 1]))
        front--;
    if (front > 0 && front < start && all->items[front - 1][0] == '-')
        for (const char *p = all->items[front]; *p && *p != '='; p++)
            if (islower((unsigned char)*p))
                return front + 1;
    return front;
}

static int drop_launcher(lx_words *out, lx_words *dropped, const lx_words *all, size_t start,
                         size_t script, lx_arena *arena, lx_error *err)
{
    const size_t front = front_of(all, start);
    int rc = LX_OK;

    if (strcmp(base_name(all->items[script]), "train_network.py") != 0)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "lx trains what train_network.py trains (LoRA for Stable Diffusion 1.x), "
                       "not %s", base_name(all->items[script]));
    for (size_t i = 0; i < all->count && rc == 0; i++) {
        const char *word = all->items[i];
        if (i >= front && i < start) {
            rc = drop_front(dropped, word, arena, err);
            continue;
        }
        if (is_stray(word) || i == script || (i >= start && i < script && is_launcher(word)) ||
            (i > start && i < script && strcmp(word, "launch") == 0))
            continue;
        rc = add(i >= start && i < script ? dropped : out, word, arena, err);
    }
    return rc < 0 ? rc : check_launcher(dropped, err);
}

int lx_pasted_flags(lx_words *out, lx_words *dropped, int argc, char **argv, lx_arena *arena,
                    lx_error *err)
{
    lx_words all = {NULL, 0};
    size_t start, script;
    int rc = LX_OK;

    *out = *dropped = (lx_words){NULL, 0};
    for (int i = 0; i < argc && rc == 0; i++)
        rc = is_quoted_line(argv[i]) ? split_line(&all, dropped, argv[i], arena, err)
                                     : add(&all, argv[i], arena, err);
    if (rc < 0)
        return rc;
    for (start = 0; start < all.count && !is_launcher(all.items[start]); start++)
        ;
    for (script = start < all.count ? start : 0; script < all.count; script++)
        if (is_script(all.items[script]) &&
            (start < all.count || strcmp(base_name(all.items[script]), "train_network.py") == 0))
            break;
    if (script < all.count)
        return drop_launcher(out, dropped, &all, start < script ? start : script, script, arena,
                             err);
    if (start == 0 && all.count > 0)
        return lx_fail(err, LX_EUSAGE, "the pasted line names no train_network.py");
    *out = all;
    return LX_OK;
}
