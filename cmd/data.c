/* lx data - datasets before they are trained on */
#include "cmd/data.h"

#include <stdarg.h>
#include <stdio.h>

#include "src/data/check.h"

int lx_data_open(lx_dataset **out, lx_cli *cli, const char *dir, const char *extension,
                 lx_error *err)
{
    lx_dataset_config config;
    int rc;

    *out = NULL;
    lx_dataset_config_defaults(&config);
    config.cache_latents = true; /* no pixel is read */
    if (extension) {
        config.caption_extension = extension;
        config.caption_extension_given = true;
    }
    if ((rc = lx_dataset_config_dir(&config, dir, cli->arena, err)) < 0)
        return rc;
    rc = extension ? lx_dataset_scan(out, &config, err)
                   : lx_dataset_scan_any(out, NULL, &config, cli->arena, err);
    if (rc == LX_OK && (*out)->n_images == 0) {
        rc = lx_fail(err, LX_ENOTFOUND, "no images in \"%s\": %s", dir,
                     (*out)->n_findings ? (*out)->findings[0].text : "there are none");
        lx_dataset_free(*out);
        *out = NULL;
    }
    return rc;
}

void lx_data_say(lx_cli *cli, const char *fmt, ...)
{
    char text[1400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!cli->is_quiet)
        lx_message(cli, "%s", text);
}

static const lx_command *const subcommands[] = {&lx_cmd_data_check, &lx_cmd_data_tags,
                                                &lx_cmd_data_sheet, &lx_cmd_data_move,
                                                &lx_cmd_data_undo,  NULL};

/* main finds what is below. */
static int run(lx_cli *cli, void *args, lx_error *err)
{
    return lx_fail(err, LX_EUSAGE, "say what: `lx data --help` lists what there is");
}

const lx_command lx_cmd_data = {
    .name = "data",
    .summary = "check, tag and look through the images before they are trained on",
    .usage = "check | tags | sheet | move | undo ...",
    .help = "What is wrong with a dataset, image by image, and the tools to put it "
            "right. Nothing is\n"
            "changed unless it is asked for, and what was changed can be taken back (`lx "
            "data undo`):\n"
            "the old bytes are kept in the store.\n"
            "\n"
            "Examples:\n"
            "  lx data check img --resolution 512 --enable_bucket\n"
            "  lx data tags img prepend iwl --write\n"
            "  lx data sheet img -o sheet.html\n"
            "  lx data move marks.txt --from img --to culled --write\n"
            "  lx data undo --write\n",
    .subcommands = subcommands,
    .run = run,
};
