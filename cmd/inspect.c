/* lx inspect - show what a LoRA file contains */
#include <string.h>

#include "cmd/bounds.h"
#include "cmd/cli.h"
#include "cmd/inspect_files.h"
#include "cmd/inspect_list.h"
#include "cmd/inspect_one.h"
#include "cmd/inspect_picture.h"
#include "cmd/inspect_similar.h"
#include "cmd/inspect_stored.h"
#include "src/base/file.h"

struct inspect_args {
    bool json, csv, metadata, each, fields, tree, weights, hashes, similar;
    int64_t n_tags;
    const char *where, *sort, *columns, *html;
    lx_words files;
};

static const lx_option options[] = {
    LX_TEXT(struct inspect_args, where, 'w', "where", "QUERY",
            "only the files that it fits, as in 'rank > 32 and captions != read'"),
    LX_DASHED(struct inspect_args, sort, 's', "sort", "FIELDS",
              "rows by these fields, commas between; -FIELD falls (by path)"),
    LX_TEXT(struct inspect_args, columns, 'c', "columns", "FIELDS",
            "show these fields; +FIELDS adds to the usual ones"),
    LX_FLAG(struct inspect_args, fields, 0, "fields", "list the fields and end"),
    LX_FLAG(struct inspect_args, each, 0, "each", "all about each file and no rows"),
    LX_FLAG(struct inspect_args, tree, 0, "tree",
            "every module: kind, rank, alpha, sizes"),
    LX_FLAG(struct inspect_args, weights, 0, "weights",
            "norms, ranks and origin of the updates; with --tree of every module"),
    LX_FLAG(struct inspect_args, hashes, 0, "hashes",
            "SHA-256, AutoV1, AutoV2 and AutoV3"),
    LX_INT(struct inspect_args, n_tags, 0, "tags", "N",
           "the N most frequent tags of every folder, one a line"),
    LX_FLAG(struct inspect_args, metadata, 0, "metadata",
            "print every metadata key as it stands"),
    LX_FLAG(struct inspect_args, similar, 0, "similar",
            "which files are duplicates, of one training, or akin by their weights"),
    LX_FLAG(struct inspect_args, json, 'j', "json",
            "print JSON: of one file all, of many a list of rows"),
    LX_FLAG(struct inspect_args, csv, 0, "csv", "print CSV, one row a file"),
    LX_TEXT(struct inspect_args, html, 0, "html", "FILE",
            "write the rows as a page to share"),
    LX_ARGS(struct inspect_args, files, "FILE",
            "files, folders, patterns, pictures; runs and artifacts of the store"),
    LX_OPTION_END,
};

/* One after the other, all about each. */
static int inspect_each(lx_cli *cli, const struct inspect_args *args,
                        const lx_file_list *files, lx_error *err)
{
    const lx_inspect_options one = {.json = args->json,
                                    .metadata = args->metadata,
                                    .tree = args->tree,
                                    .weights = args->weights,
                                    .hashes = args->hashes,
                                    .n_tags = args->n_tags};
    int rc = LX_OK;

    for (size_t i = 0; i < files->count; i++) {
        lx_error problem;
        const char *path = files->paths[i];
        int got = lx_file_exists(path) ? lx_inspect_one(cli, &one, path, &problem)
                                       : lx_inspect_stored(cli, &one, path, &problem);
        if (got == LX_OK)
            continue;
        if (rc < 0) /* the first error is main's to tell; the others here */
            lx_message(cli, "lx inspect: %s\n", lx_safe(cli, problem.text));
        else
            lx_fail_as(err, got, &problem);
        rc = rc < 0 ? rc : got;
    }
    return rc;
}

static bool has_picture(const lx_file_list *files)
{
    for (size_t i = 0; i < files->count; i++)
        if (lx_is_picture_name(files->paths[i]))
            return true;
    return false;
}

/* Also what patterns came to, and where the files are that the store only knows of. */
static int confine(lx_cli *cli, const struct inspect_args *args,
                   const lx_file_list *files, lx_error *err)
{
    lx_bounds b = {.cli = cli};
    int rc;

    for (size_t i = 0; i < args->files.count; i++) {
        const char *word = args->files.items[i];
        if (!files->has_links && lx_file_is_dir(word)) {
            lx_bounds_read_folder(&b, word);
            continue;
        }
        lx_bounds_read(&b, word);
        if (!strpbrk(word, "*?[") && !lx_file_exists(word))
            lx_bounds_read(&b, lx_inspect_stored_path(cli, word));
    }
    for (size_t i = 0; i < files->count && files->has_patterns; i++)
        lx_bounds_read(&b, files->paths[i]);
    if (args->html)
        lx_bounds_write(&b, args->html);
    if ((rc = lx_bounds_store(&b, false, err)) < 0)
        return rc;
    return lx_bounds_enter(&b, err);
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    struct inspect_args *args = args_;
    const lx_list_options list = {.where = args->where,
                                  .sort = args->sort,
                                  .columns = args->columns,
                                  .html = args->html,
                                  .json = args->json,
                                  .csv = args->csv};
    const bool asks_rows =
        args->where || args->sort || args->columns || args->csv || args->html;
    const bool asks_all = args->each || args->tree || args->weights || args->hashes ||
                          args->metadata || args->n_tags;
    lx_file_list files;
    int rc;

    if (args->fields) {
        lx_inspect_list_fields(cli);
        return LX_OK;
    }
    if (!args->files.count)
        return lx_fail(err, LX_EUSAGE, "no file given: lx inspect FILE...");
    if (args->json && args->csv)
        return lx_fail(err, LX_EUSAGE, "--json or --csv, not both");
    if (asks_all && asks_rows)
        return lx_fail(
            err, LX_EUSAGE,
            "--each, --tree, --weights, --hashes, --metadata and --tags tell all of each "
            "file; --where, --sort, --columns and --csv are for rows");
    if (args->html && !*args->html)
        return lx_fail(err, LX_EUSAGE, "--html '': name the file to write");
    if (args->html && (args->json || args->csv || args->columns))
        return lx_fail(
            err, LX_EUSAGE,
            "--html has its own columns: leave out --json, --csv and --columns");
    if (args->similar && (asks_all || asks_rows))
        return lx_fail(err, LX_EUSAGE,
                       "--similar prints groups: with FILE... and --json only");
    if (args->n_tags < 0)
        return lx_fail(err, LX_EUSAGE, "--tags %lld: a number of tags is wanted",
                       (long long)args->n_tags);
    if ((rc = lx_inspect_files(&files, cli, &args->files, err)) < 0)
        return rc;
    if (!files.count && files.n_folders)
        return lx_fail(err, LX_ENOTFOUND,
                       "%s: no model file in it (.safetensors, .ckpt, .pt, "
                       ".pth, .bin)%s",
                       args->files.items[0],
                       files.n_pictures ? "; lx plan looks at folders of training images"
                                        : "");
    if ((rc = confine(cli, args, &files, err)) < 0)
        return rc;
    if (args->similar)
        return lx_inspect_similar(cli, &files, args->json, err);
    if (!asks_rows &&
        (asks_all || has_picture(&files) || (files.count == 1 && !files.n_folders)))
        return inspect_each(cli, args, &files, err);
    return lx_inspect_list(cli, &list, &files, err);
}

const lx_command lx_cmd_inspect = {
    .name = "inspect",
    .summary = "show what LoRA files contain and whether their captions were used",
    .usage = "FILE...",
    .help =
        "Reads .safetensors, .ckpt, .pt and .bin files of any LoRA family; pickles are "
        "parsed,\n"
        "never run. Of one file all is told, of several and of a folder (with all below "
        "it) a\n"
        "row each. The column or line `captions` says whether the captions were read in\n"
        "training, and by which rule that is known. Of a picture (.png, .jpg, .webp) "
        "the\n"
        "settings that a web UI or lx sample left in it.\n"
        "\n"
        "Examples:\n"
        "  lx inspect style.safetensors\n"
        "  lx inspect ~/loras --sort -size --where 'captions ~ not'\n"
        "  lx inspect ~/loras --columns file,steps,lr,images,top --csv\n"
        "  lx inspect ~/loras --similar\n"
        "  lx inspect RUN --weights\n"
        "  lx inspect --each --json *.safetensors | jq .captions.verdict\n",
    .options = options,
    .args_size = sizeof(struct inspect_args),
    .run = run,
};
