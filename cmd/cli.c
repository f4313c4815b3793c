#include "cmd/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const lx_option lx_global_options[] = {
    LX_TEXT(lx_globals, store, 0, "store", "DIR",
            "the store of runs; else LX_STORE, a .lx/ above the working folder, or the user's"),
    LX_FLAG(lx_globals, is_quiet, 'q', "quiet", "no progress and no notes: results, warnings, errors"),
    LX_FLAG(lx_globals, is_verbose, 'v', "verbose", "say more about what is done"),
    LX_FLAG(lx_globals, wants_help, 'h', "help", "show this help"),
    LX_OPTION_END};

void lx_cli_apply_globals(lx_cli *cli, const lx_globals *globals)
{
    if (globals->store)
        cli->store_path = globals->store;
    cli->is_quiet = cli->is_quiet || globals->is_quiet;
    cli->is_verbose = cli->is_verbose || globals->is_verbose;
}

int lx_cli_columns(const lx_cli *cli)
{
    struct winsize size;
    const char *text = getenv("COLUMNS");
    int64_t n;

    if (ioctl(fileno(cli->err), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    if (ioctl(fileno(cli->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    if (text && lx_parse_int(&n, text, NULL) == 0 && n >= 20 && n <= 1000)
        return (int)n;
    return 80;
}

bool lx_cli_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *locale = getenv(names[i]);
        if (locale && *locale)
            return strcasestr(locale, "utf-8") || strcasestr(locale, "utf8");
    }
    return false;
}

/* no-color.org: any non-empty value switches colour off. */
static bool wants_color(FILE *out)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fileno(out)) && !(no_color && *no_color) &&
           !(term && strcmp(term, "dumb") == 0);
}

void lx_cli_init(lx_cli *cli, lx_arena *arena, FILE *out, FILE *err)
{
    const char *term = getenv("TERM");

    *cli = (lx_cli){.arena = arena, .out = out, .err = err};
    cli->is_terminal = isatty(fileno(err)) && !(term && strcmp(term, "dumb") == 0);
    cli->has_color = wants_color(out);
    cli->columns = lx_cli_columns(cli);
}

void lx_print(lx_cli *cli, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vfprintf(cli->out, fmt, args);
    va_end(args);
    if (n < 0 && !cli->write_error)
        cli->write_error = errno ? errno : EIO;
}

void lx_print_bytes(lx_cli *cli, const char *bytes, size_t n)
{
    if (fwrite(bytes, 1, n, cli->out) < n && !cli->write_error)
        cli->write_error = errno ? errno : EIO;
}

void lx_message(lx_cli *cli, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vfprintf(cli->err, fmt, args);
    va_end(args);
}

const char *lx_safe(lx_cli *cli, const char *text)
{
    lx_str s = LX_STR_INIT;
    const char *copy = NULL;

    lx_escape_terminal(&s, text, strlen(text), true);
    if (!s.failed)
        copy = lx_arena_strdup(cli->arena, lx_str_text(&s));
    lx_str_release(&s);
    return copy ? copy : "?";
}
