/* lx data - datasets before they are trained on */
#include "cmd/data.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
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

/* ---- names -------------------------------------------------------------------------------- */

/* Where it stands, or would. There is room. */
static const char **slot_of(const lx_data_names *names, const char *name)
{
    size_t at = lx_hash_name(name) % names->n_slots;

    while (names->slots[at] && strcmp(names->slots[at], name) != 0)
        at = (at + 1) % names->n_slots;
    return &names->slots[at];
}

static int make_room(lx_data_names *names, lx_error *err)
{
    lx_data_names wider = {.n = names->n,
                           .n_slots = names->n_slots ? 2 * names->n_slots : 64};

    if (!(wider.slots = lx_calloc(wider.n_slots, sizeof *wider.slots)))
        return lx_oom(err);
    for (size_t i = 0; i < names->n_slots; i++)
        if (names->slots[i])
            *slot_of(&wider, names->slots[i]) = names->slots[i];
    lx_data_names_release(names);
    *names = wider;
    return LX_OK;
}

bool lx_data_names_has(const lx_data_names *names, const char *name)
{
    return names->n_slots && *slot_of(names, name);
}

int lx_data_names_add(lx_data_names *names, const char *name, lx_error *err)
{
    const char **slot;
    int rc;

    if (2 * names->n >= names->n_slots && (rc = make_room(names, err)) < 0)
        return rc;
    if (*(slot = slot_of(names, name)))
        return 0;
    *slot = name;
    names->n++;
    return 1;
}

void lx_data_names_release(lx_data_names *names)
{
    lx_free(names->slots);
    *names = (lx_data_names){0};
}

/* ---- the command -------------------------------------------------------------------------- */

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
