/* lx sweep --slurm: the same trials as an array of jobs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/sweep.h"
#include "src/base/file.h"

/* ---- the script -------------------------------------------------------------------------- */

/* sbatch reads its directives by rules of its own, so nothing that needs quoting gets there. */
static int check_directive(const char *text, lx_error *err)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        "_-./:=,+@%[]*";
    static const char *const ours[] = {"--array", "--job-name", "--output",
                                       "--dependency", "--parsable"};

    if (strncmp(text, "--", 2) != 0 || text[strspn(text, plain)])
        return lx_fail(
            err, LX_EUSAGE,
            "--slurm-option %s: an option of sbatch is wanted, as --partition=gpu or "
            "--time=2:00:00",
            text);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strncmp(text, ours[i], strlen(ours[i])) == 0)
            return lx_fail(err, LX_EUSAGE, "--slurm-option %s: the sweep sets it itself",
                           text);
    return LX_OK;
}

static int own_path(char out[PATH_MAX], lx_error *err)
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);

    if (n < 0)
        return lx_fail_errno(err, errno, "/proc/self/exe");
    out[n] = '\0';
    return LX_OK;
}

static void put_command(lx_str *out, const char *lx, const lx_sweep *s)
{
    lx_str_puts(out, "exec ");
    lx_escape_shell(out, lx);
    lx_str_puts(out, " --store ");
    lx_escape_shell(out, s->store_path);
    lx_str_puts(out, " sweep --resume ");
    lx_escape_shell(out, s->id);
    lx_str_puts(out, " --rung \"${1:-0}\" --slot \"$SLURM_ARRAY_TASK_ID\"\n");
}

static int write_script(const char *path, const lx_sweep *s, const lx_words *directives,
                        lx_error *err)
{
    char lx[PATH_MAX], folder[PATH_MAX];
    lx_str text = LX_STR_INIT;
    int rc = own_path(lx, err);

    if (rc == LX_OK && !getcwd(folder, sizeof folder))
        rc = lx_fail_errno(err, errno, "the working folder");
    if (rc < 0)
        return rc;
    lx_str_printf(&text,
                  "#!/bin/sh\n"
                  "#SBATCH --job-name=%s\n"
                  "#SBATCH --output=%s-%%A_%%a.log\n",
                  s->name, s->name);
    for (size_t i = 0; i < directives->count; i++)
        lx_str_printf(&text, "#SBATCH %s\n", directives->items[i]);
    lx_str_printf(
        &text,
        "# One run of the sweep %s. The argument is the rung (0 without halving); the\n"
        "# number in the array says which run of it. The store must be on a disk that\n"
        "# the node shares in more than name: not on NFS or GPFS.\n"
        "cd ",
        s->name);
    lx_escape_shell(&text, folder);
    lx_str_puts(&text, " || exit\n");
    put_command(&text, lx, s);
    if ((rc = lx_str_check(&text, err)) == LX_OK)
        rc = lx_file_write(path, lx_str_text(&text), text.len, err);
    lx_str_release(&text);
    return rc;
}

/* ---- sbatch ------------------------------------------------------------------------------ */

/* What it prints, which with --parsable is "JOB" or "JOB;CLUSTER". No shell is between. */
static int call_sbatch(lx_str *out, char *const *argv, lx_error *err)
{
    int ends[2], status;
    char bytes[256];
    ssize_t n;
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return lx_fail_errno(err, errno, "a pipe");
    if ((child = fork()) == 0) {
        signal(SIGPIPE, SIG_DFL);
        signal(SIGXFSZ, SIG_DFL);
        dup2(ends[1], STDOUT_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(ends[1]);
    while (child > 0 &&
           ((n = read(ends[0], bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0 && out->len < sizeof bytes)
            lx_str_append(out, bytes, (size_t)n);
    close(ends[0]);
    if (child < 0)
        return lx_fail_errno(err, errno, "starting sbatch");
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return lx_fail_errno(err, errno, "waiting for sbatch");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return lx_fail(err, LX_ENOTFOUND,
                       "there is no sbatch here; --slurm-only-write writes the script to "
                       "be submitted "
                       "elsewhere");
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return lx_fail(err, LX_EIO, "sbatch refused the script (its words are above)");
    return lx_str_check(out, err);
}

static int read_job(const char **job, lx_sweep *s, const lx_str *out, lx_error *err)
{
    const char *text = lx_str_text(out);
    const size_t n = strspn(text, "0123456789");

    if (!n || n > 20)
        return lx_fail(err, LX_EIO, "sbatch did not say which job it is: %.100s", text);
    *job = lx_arena_strndup(s->cli->arena, text, n);
    return *job ? LX_OK : lx_oom(err);
}

/* One array: as many jobs as the rung has runs; after the rung before. */
static int make_argv(char **argv, lx_sweep *s, const char *path, size_t rung,
                     const char *after, lx_error *err)
{
    lx_arena *arena = s->cli->arena;
    const size_t each = s->n_seeds ? s->n_seeds : 1,
                 n = (s->n_rungs ? s->rungs[rung].n : s->configs.count) * each;
    int argc = 0;

    argv[argc++] = "sbatch";
    argv[argc++] = "--parsable";
    argv[argc++] = lx_arena_printf(arena, "--array=0-%zu", n - 1);
    if (after)
        argv[argc++] = lx_arena_printf(arena, "--dependency=afterany:%s", after);
    argv[argc++] = (char *)path;
    argv[argc++] = lx_arena_printf(arena, "%zu", rung);
    for (int i = 0; i < argc; i++)
        if (!argv[i])
            return lx_oom(err);
    return LX_OK;
}

static void print_argv(lx_cli *cli, char *const *argv)
{
    lx_str line = LX_STR_INIT;

    for (int i = 0; argv[i]; i++) {
        lx_str_puts(&line, i ? " " : "");
        lx_escape_shell(&line, argv[i]);
    }
    lx_print(cli, "%s\n", lx_str_text(&line));
    lx_str_release(&line);
}

int lx_sweep_slurm_check(const lx_words *directives, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < directives->count && rc == LX_OK; i++)
        rc = check_directive(directives->items[i], err);
    return rc;
}

int lx_sweep_slurm(lx_sweep *s, const lx_words *directives, bool only_write,
                   lx_error *err)
{
    const size_t n_rungs = s->n_rungs ? s->n_rungs : 1;
    const char *path = lx_arena_printf(s->cli->arena, "%s.slurm", s->name), *job = NULL;
    int rc = path ? LX_OK : lx_oom(err);

    if (rc < 0 || (rc = write_script(path, s, directives, err)) < 0)
        return rc;
    lx_sweep_close_store(s);
    for (size_t rung = 0; rung < n_rungs && rc == LX_OK; rung++) {
        char *argv[8] = {NULL};
        lx_str out = LX_STR_INIT;
        if ((rc = make_argv(argv, s, path, rung,
                            only_write && rung ? "JOB_OF_THE_LINE_ABOVE" : job, err)) < 0)
            break;
        if (only_write)
            print_argv(s->cli, argv);
        else if ((rc = call_sbatch(&out, argv, err)) == LX_OK &&
                 (rc = read_job(&job, s, &out, err)) == LX_OK)
            lx_print(s->cli, "submitted job %s\n", job);
        lx_str_release(&out);
    }
    if (!s->cli->is_quiet)
        lx_message(s->cli, "wrote %s; lx sweep --results %s shows what came of it\n",
                   path, s->name);
    return rc;
}
