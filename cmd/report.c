/* lx report - one or more runs as one file to share */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cmd/cli.h"
#include "cmd/progress.h"
#include "cmd/report_collect.h"
#include "cmd/run_find.h"
#include "cmd/settings.h"
#include "src/base/alloc.h"
#include "src/base/file.h"

struct report_args {
    const char *output, *format, *title;
    int64_t n_images, n_tags;
    bool has_n_images, has_n_tags;
    bool keeps_private, is_inline, has_no_images;
    lx_words runs;
};

static const lx_option options[] = {
    LX_TEXT(struct report_args, output, 'o', "output", "FILE",
            "where to (-, standard output); its ending chooses the format"),
    LX_TEXT(struct report_args, format, 0, "format", "FORMAT", "html, md or json"),
    LX_TEXT(struct report_args, title, 0, "title", "TEXT",
            "the heading (the names of the runs)"),
    {LX_OPTION_INT, 0, "images", "N",
     "at most N training images a run on the contact sheet (48); 0: none",
     offsetof(struct report_args, n_images),
     (int)offsetof(struct report_args, has_n_images)},
    LX_FLAG(struct report_args, has_no_images, 0, "no-images",
            "no pictures at all, no samples"),
    {LX_OPTION_INT, 0, "tags", "N", "the N most frequent tags (60); 0: none",
     offsetof(struct report_args, n_tags), (int)offsetof(struct report_args, has_n_tags)},
    LX_FLAG(struct report_args, is_inline, 0, "inline",
            "md: pictures inside the text instead of in a folder beside it"),
    LX_FLAG(struct report_args, keeps_private, 0, "no-scrub",
            "keep home folders, user and host names, addresses and tokens"),
    LX_ARGS(struct report_args, runs, "RUN", "id, the beginning of one, or a name"),
    LX_OPTION_END,
};

static bool is_standard_output(const struct report_args *args)
{
    return !args->output || strcmp(args->output, "-") == 0;
}

typedef enum format { HTML, MARKDOWN, JSON } format;

static int choose_format(format *out, const struct report_args *args, lx_error *err)
{
    const char *name = args->format;
    if (!name && args->output && *lx_path_ext(args->output))
        name = lx_path_ext(args->output) + 1;
    if (!name)
        return lx_fail(err, LX_EUSAGE,
                       "which format? give -o report.html, report.md or report.json, "
                       "or --format");
    if (!strcasecmp(name, "html") || !strcasecmp(name, "htm"))
        *out = HTML;
    else if (!strcasecmp(name, "md") || !strcasecmp(name, "markdown"))
        *out = MARKDOWN;
    else if (!strcasecmp(name, "json"))
        *out = JSON;
    else if (!strcasecmp(name, "pdf"))
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "lx writes no PDF: write report.html and print it from a browser, it is laid "
            "out for paper too");
    else
        return lx_fail(err, LX_EUSAGE, "no report as \"%s\": html, md or json", name);
    return LX_OK;
}

/* ---- writing ----------------------------------------------------------------------- */

/* Files beside a Markdown report. */
typedef struct folder {
    char *path;       /* as it is opened */
    const char *name; /* as the report links to it */
    size_t n_files;
} folder;

static int save(void *context, const char *name, const void *bytes, size_t n,
                lx_error *err)
{
    folder *f = context;
    lx_str path = LX_STR_INIT;
    int rc = f->n_files ? LX_OK : lx_make_dirs(f->path, err);

    lx_str_printf(&path, "%s/%s", f->path, name);
    if (rc == LX_OK && (rc = lx_str_check(&path, err)) == LX_OK)
        rc = lx_alloc_has_failed() ? lx_oom(err)
                                   : lx_file_write(lx_str_text(&path), bytes, n, err);
    lx_str_release(&path);
    f->n_files++;
    return rc;
}

static int write_markdown(lx_cli *cli, lx_str *out, const lx_report *report,
                          const struct report_args *args, size_t *n_files, lx_error *err)
{
    folder beside = {0};
    int rc;

    if (args->is_inline || is_standard_output(args))
        return lx_report_markdown(out, report, NULL, NULL, NULL, err);
    beside.path = lx_arena_printf(
        cli->arena, "%.*s.files",
        (int)(strlen(args->output) - strlen(lx_path_ext(args->output))), args->output);
    if (!beside.path)
        return lx_oom(err);
    beside.name = lx_path_base(beside.path);
    rc = lx_report_markdown(out, report, beside.name, save, &beside, err);
    *n_files = beside.n_files;
    return rc;
}

static int write_report(lx_cli *cli, const lx_report *report,
                        const struct report_args *args, format how, lx_error *err)
{
    lx_str out = LX_STR_INIT;
    size_t n_files = 0;
    int rc = how == HTML       ? lx_report_html(&out, report, err)
             : how == MARKDOWN ? write_markdown(cli, &out, report, args, &n_files, err)
                               : lx_report_json(&out, report, err);

    if (rc == LX_OK && lx_alloc_has_failed())
        rc = lx_oom(err); /* some of it may be missing */
    if (rc == LX_OK && is_standard_output(args))
        lx_print_bytes(cli, lx_str_text(&out), out.len);
    else if (rc == LX_OK &&
             (rc = lx_file_write(args->output, out.data, out.len, err)) == LX_OK &&
             !cli->is_quiet) {
        lx_message(cli, "wrote %s, %.1f kB", lx_safe(cli, args->output),
                   (double)out.len / 1e3);
        if (n_files)
            lx_message(cli, ", and %zu file%s beside it", n_files, lx_plural(n_files));
        lx_message(cli, "\n");
    }
    lx_str_release(&out);
    return rc;
}

static lx_report_options options_of(const struct report_args *args, format how)
{
    return (lx_report_options){.n_images = args->has_no_images  ? 0
                                           : args->has_n_images ? (size_t)args->n_images
                                                                : 48,
                               .n_tags = args->has_n_tags ? (size_t)args->n_tags : 60,
                               .n_samples = args->has_no_images ? 0 : 200,
                               .most_text = how == JSON ? 0 : 4000};
}

/* Tried before everything is read, and no folder is made for a name that may be mistyped. */
static int check_folder(lx_cli *cli, const struct report_args *args, lx_error *err)
{
    const char *path = args->output, *where;
    size_t n;

    if (is_standard_output(args) || (n = (size_t)(lx_path_base(path) - path)) == 0)
        return LX_OK;
    if (!(where = lx_arena_strndup(cli->arena, path, n > 1 ? n - 1 : n)))
        return lx_oom(err);
    return lx_file_is_dir(where)
               ? LX_OK
               : lx_fail(err, LX_ENOTFOUND, "-o %s: there is no folder %s; make it first", path, where);
}

/* ---- the command ------------------------------------------------------------------- */

static void tell(void *context, const char *what, size_t done, size_t total)
{
    lx_progress_phase(context, what, (int64_t)done, (int64_t)total);
}

static const char *title_of(lx_cli *cli, const lx_report *report, const char *wanted)
{
    lx_str title = LX_STR_INIT;
    const char *kept = wanted;
    for (size_t i = 0; i < report->n_runs && !wanted; i++) {
        const lx_report_run *r = &report->runs[i];
        lx_str_printf(&title, "%s%s", i ? ", " : "",
                      r->name && *r->name ? r->name : r->id);
    }
    if (!wanted)
        kept = lx_arena_strdup(cli->arena, lx_str_text(&title));
    lx_str_release(&title);
    return kept;
}

static const char *made_by(lx_cli *cli)
{
    char day[32] = "";
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local))
        strftime(day, sizeof day, "%Y-%m-%d", &local);
    return lx_arena_printf(cli->arena, "Made by lx %s on %s.", LX_VERSION, day);
}

static int collect(lx_report *report, lx_cli *cli, lx_collector *c, const lx_words *names,
                   lx_error *err)
{
    lx_run_row row;
    lx_collected *found = lx_arena_calloc(c->arena, names->count, sizeof *found);
    lx_report_run *runs = lx_arena_calloc(c->arena, names->count, sizeof *runs);
    int rc = found && runs ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < names->count && rc == LX_OK; i++)
        if ((rc = lx_run_find(&row, cli, c->store, names->items[i], err)) == LX_OK &&
            (rc = lx_report_find(&found[i], c, row.id, err)) == LX_OK)
            lx_report_learn(c, &found[i]);
    for (size_t i = 0; i < names->count && rc == LX_OK; i++)
        rc = lx_report_collect(&runs[i], c, &found[i], err);
    report->runs = runs;
    report->n_runs = names->count;
    if (rc == LX_OK && names->count > 1)
        rc = lx_report_compare(report, c, err);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct report_args *args = args_;
    lx_collector c = {.arena = cli->arena, .tell = cli->is_terminal ? tell : NULL};
    lx_progress_view progress;
    lx_report report = {0};
    format how = HTML;
    int rc;

    if (!args->runs.count)
        return lx_fail(err, LX_EUSAGE, "which run? lx runs lists them");
    if (args->n_images < 0 || args->n_tags < 0)
        return lx_fail(err, LX_EUSAGE, "--images and --tags are numbers from 0 on");
    if ((rc = choose_format(&how, args, err)) < 0)
        return rc;
    if ((rc = check_folder(cli, args, err)) < 0)
        return rc;
    if (args->is_inline && how != MARKDOWN)
        return lx_fail(err, LX_EUSAGE, "--inline belongs to Markdown (-o report.md): %s",
                       how == HTML ? "pictures stand inside HTML anyway" : "JSON has no pictures");
    lx_progress_init(&progress, cli);
    c.context = &progress;
    c.options = options_of(args, how);
    if ((rc = lx_privacy_new(&c.privacy, args->keeps_private, err)) == LX_OK)
        lx_settings_learn(cli->settings, c.privacy);
    if (rc < 0 || (rc = lx_decoder_new(&c.decoder, err)) < 0 ||
        (rc = lx_store_open(&c.store, cli->store_path, true, err)) < 0 ||
        (rc = collect(&report, cli, &c, &args->runs, err)) < 0)
        goto done;
    report.title = title_of(cli, &report, args->title);
    report.made = made_by(cli);
    report.is_scrubbed = !args->keeps_private;
    if (!report.title || !report.made)
        rc = lx_oom(err);
    else if ((rc = lx_privacy_told(&report.scrubbed.items, &report.scrubbed.count,
                                   c.privacy, cli->arena, err)) == LX_OK) {
        lx_progress_close(&progress);
        rc = write_report(cli, &report, args, how, err);
    }
done:
    lx_progress_close(&progress);
    lx_store_close(c.store);
    lx_privacy_free(c.privacy);
    lx_decoder_free(c.decoder);
    return rc;
}

const lx_command lx_cmd_report = {
    .name = "report",
    .summary = "write a run as one file to share",
    .usage = "RUN... -o report.html",
    .help = "One file that needs nothing else and fetches nothing: what was trained and "
            "what came of\n"
            "it in plain words, curves, samples, the LoRA and the verdict on its "
            "captions, folders\n"
            "with their tags and a contact sheet, all settings, and how to repeat it. "
            "Several runs\n"
            "are laid side by side first, three and more also as lines across their "
            "settings and\n"
            "losses (point at one, drag along an axis to filter). HTML reads well on a "
            "phone, in the\n"
            "dark and on paper.\n"
            "\n"
            "Home folders, user and host names, e-mail addresses and tokens are taken "
            "out, and the\n"
            "report says what was; --no-scrub keeps them. Training images are shown as "
            "long as their\n"
            "files are the ones that were trained on.\n"
            "\n"
            "Examples:\n"
            "  lx report hifumi -o hifumi.html\n"
            "  lx report 3f2a 77c1 --title \"rank 4 or 32\" -o ranks.md\n"
            "  lx report hifumi --format json | jq .runs[0].loss\n",
    .options = options,
    .args_size = sizeof(struct report_args),
    .run = run,
};
