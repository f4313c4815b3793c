/* A command of another trainer, run again: its words, its code, its output elsewhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/observe.h"
#include "cmd/reproduce.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/compare/code.h"
#include "store/git.h"

extern const lx_command lx_cmd_run;

/* ---- the words --------------------------------------------------------------------- */

/* One word as a POSIX shell reads it; *at moves behind it. False: none is left. */
static bool read_word(lx_str *word, const char **at)
{
    const char *p = *at + strspn(*at, " ");
    bool is_quoted = false;

    lx_str_clear(word);
    if (!*p)
        return false;
    for (; *p && (is_quoted || *p != ' '); p++) {
        if (*p == '\'')
            is_quoted = !is_quoted;
        else if (*p == '\\' && !is_quoted && p[1])
            lx_str_putc(word, *++p);
        else
            lx_str_putc(word, *p);
    }
    *at = p;
    return true;
}

/* The recorded line is ours (src/base/scrub.h): single quotes and backslashes. */
static int split(lx_words *out, const char *line, lx_arena *arena, lx_error *err)
{
    lx_str word = LX_STR_INIT;
    int rc = LX_OK;

    *out =
        (lx_words){lx_arena_calloc(arena, strlen(line) / 2 + 4, sizeof *out->items), 0};
    if (!out->items)
        return lx_oom(err);
    while (rc == LX_OK && read_word(&word, &line))
        if (!(out->items[out->count++] =
                  word.failed ? NULL : lx_arena_strdup(arena, lx_str_text(&word))))
            rc = lx_oom(err);
    lx_str_release(&word);
    return rc;
}

static int check_secrets(const lx_reproduction *r, lx_error *err)
{
    for (size_t i = 0; i < r->command.count; i++)
        if (strstr(r->command.items[i], "***"))
            return lx_fail(
                err, LX_EUSAGE,
                "the command had a secret, which is not recorded (\"%s\"): run it "
                "again by hand, with lx run --",
                i && strcmp(r->command.items[i], "***") == 0 ? r->command.items[i - 1]
                                                             : r->command.items[i]);
    return LX_OK;
}

int lx_reproduce_read_command(lx_reproduction *r, lx_error *err)
{
    lx_observed seen;
    int rc;

    if (!r->texts.command_line || !*r->texts.command_line)
        return lx_fail(err, LX_EUSAGE, "run %.10s has no command", r->run.id);
    if ((rc = split(&r->command, r->texts.command_line, r->cli->arena, err)) < 0 ||
        (rc = check_secrets(r, err)) < 0 ||
        (rc = lx_observe(&seen, r->cli, (int)r->command.count, (char **)r->command.items,
                         err)) < 0)
        return rc;
    r->config = seen.config;
    r->config.pretrained_model_name_or_path = seen.base_model;
    r->has_data = seen.has_data;
    r->code_folder = seen.folder;
    return LX_OK;
}

/* ---- the code ---------------------------------------------------------------------- */

static const char *commit_of(const cJSON *git)
{
    const char *commit = git ? lx_json_text(git, "commit") : NULL;
    return commit ? commit : "";
}

static int tell_files(lx_reproduction *r, const lx_code_change *changes, size_t n,
                      lx_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *how = changes[i].side == 'a'   ? "was changed or new then, and is not now"
                          : changes[i].side == 'b' ? "is changed or new"
                                                   : "is changed otherwise";
        const char *text =
            lx_arena_printf(r->cli->arena, "code: %s %s", changes[i].file, how);
        if (!text)
            return lx_oom(err);
        lx_reproduce_tell_change(r, text);
    }
    return LX_OK;
}

/* Uncommitted changes and new sources, file by file. */
static int compare_changes(lx_reproduction *r, const cJSON *then, const cJSON *now,
                           const char *diff, lx_error *err)
{
    const char *commit = commit_of(then);
    lx_str a = LX_STR_INIT, b = LX_STR_INIT;
    lx_code_change *changes;
    size_t n;
    int rc;

    lx_compare_code_text(&a, then, r->texts.diff);
    lx_compare_code_text(&b, now, diff);
    if ((rc = lx_str_check(&a, err)) == LX_OK && (rc = lx_str_check(&b, err)) == LX_OK &&
        (rc = lx_compare_diffs(&changes, &n, lx_str_text(&a), lx_str_text(&b),
                               r->cli->arena, err)) == LX_OK)
        rc = n ? tell_files(r, changes, n, err)
               : lx_reproduce_tell_same(
                     r,
                     lx_arena_printf(r->cli->arena, "code at commit %.12s%s", commit,
                                     r->texts.diff && *r->texts.diff
                                         ? ", with the same uncommitted changes"
                                         : ""),
                     err);
    lx_str_release(&a);
    lx_str_release(&b);
    return rc;
}

static int compare_states(lx_reproduction *r, const cJSON *then, const cJSON *now,
                          const char *diff, lx_error *err)
{
    const char *was = commit_of(then), *is = commit_of(now), *text;
    const char *folder = strcmp(r->code_folder, ".") == 0 ? "the folder" : r->code_folder;

    if (strcmp(was, is) == 0)
        return compare_changes(r, then, now, diff, err);
    text = *is ? lx_arena_printf(r->cli->arena,
                                 "code: %s is at commit %.12s, the run was at %.12s%s",
                                 folder, is, was,
                                 r->texts.diff && *r->texts.diff ? " with changes" : "")
               : lx_arena_printf(
                     r->cli->arena,
                     "code: %s is in no git repository, the run was at commit %.12s",
                     folder, was);
    if (!text)
        return lx_oom(err);
    lx_reproduce_tell_change(r, text);
    return LX_OK;
}

int lx_reproduce_check_code(lx_reproduction *r, lx_error *err)
{
    cJSON *then = NULL, *now = NULL;
    char *json = NULL, *diff = NULL;
    int rc;

    if (!r->texts.git)
        return LX_OK;
    if ((rc = lx_json_parse(&then, r->texts.git, strlen(r->texts.git), err)) < 0 ||
        (rc = lx_git_state(&json, &diff, r->store, r->code_folder, err)) < 0 ||
        (json && (rc = lx_json_parse(&now, json, strlen(json), err)) < 0))
        goto done;
    if (*commit_of(then))
        rc = compare_states(r, then, now, diff, err);
done:
    cJSON_Delete(then);
    cJSON_Delete(now);
    lx_free(json);
    lx_free(diff);
    return rc;
}

/* ---- again ------------------------------------------------------------------------- */

/* The words with another --output_dir: in its place, or behind sd-scripts' own flags, which
 * win over its files. */
static int redirect(lx_words *out, const lx_reproduction *r, lx_error *err)
{
    static const char flag[] = "--output_dir";
    const size_t n = sizeof flag - 1;
    lx_arena *arena = r->cli->arena;
    bool is_set = false;

    *out =
        (lx_words){lx_arena_calloc(arena, r->command.count + 3, sizeof *out->items), 0};
    if (!out->items)
        return lx_oom(err);
    for (size_t i = 0; i < r->command.count; i++) {
        const char *word = r->command.items[i];
        if (strncmp(word, flag, n) == 0 && word[n] == '=') {
            is_set = true;
            if (!(word = lx_arena_printf(arena, "%s=%s", flag, r->output_dir)))
                return lx_oom(err);
        }
        out->items[out->count++] = word;
        if (strcmp(word, flag) == 0 && i + 1 < r->command.count) {
            is_set = true;
            out->items[out->count++] = r->output_dir;
            i++;
        }
    }
    if (!is_set && r->config.output_dir) {
        out->items[out->count++] = flag;
        out->items[out->count++] = r->output_dir;
    } else if (!is_set) {
        lx_message(r->cli,
                   "lx reproduce: note: the command names no --output_dir: what it "
                   "writes goes where it went\n");
    }
    return LX_OK;
}

static int words_of_run(lx_words *out, const lx_reproduction *r, lx_error *err)
{
    lx_arena *arena = r->cli->arena;
    const char *own[] = {lx_arena_printf(arena, "--fact=reproduces=%s", r->run.id),
                         lx_arena_printf(arena, "--name=%s", r->run.name), "--"};
    const size_t n = sizeof own / sizeof *own;
    lx_words command = {NULL, 0};
    int rc = own[0] && own[1] ? redirect(&command, r, err) : lx_oom(err);

    if (rc < 0)
        return rc;
    *out = (lx_words){lx_arena_calloc(arena, command.count + n, sizeof *out->items), 0};
    if (!out->items)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        out->items[out->count++] = own[i];
    for (size_t i = 0; i < command.count; i++)
        out->items[out->count++] = command.items[i];
    return LX_OK;
}

int lx_reproduce_run_command(lx_reproduction *r, lx_error *err)
{
    lx_cli inner = *r->cli;
    lx_words words;
    int rc, out = -1;

    if ((rc = words_of_run(&words, r, err)) < 0)
        return rc;
    fflush(r->cli->out);
    if (r->json) { /* what the command prints is not our answer */
        if ((out = dup(STDOUT_FILENO)) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
            return lx_fail_errno(err, errno, "standard output");
    }
    lx_store_close(r->store);
    r->store = NULL;
    inner.argc = (int)words.count;
    inner.argv = (char **)words.items;
    inner.exit_status = 0;
    rc = lx_cmd_run.run(&inner, NULL, err);
    if (out >= 0) {
        dup2(out, STDOUT_FILENO);
        close(out);
    }
    if (rc == LX_OK && inner.exit_status)
        rc = lx_fail(err, LX_ECHECK, "the command ended with %d this time",
                     inner.exit_status);
    return rc < 0 ? rc : lx_store_open(&r->store, r->store_path, false, err);
}
