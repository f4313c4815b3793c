#include "cmd/inspect_one.h"

#include <string.h>

#include "cmd/inspect_picture.h"
#include "src/lora/trainer.h"

int lx_inspected_open(lx_inspected *x, lx_cli *cli, const lx_inspect_options *options,
                      const char *path, const char *shown, lx_error *err)
{
    int rc;

    memset(x, 0, sizeof *x);
    x->path = shown;
    if ((rc = lx_lora_file_open(&x->file, path, err)) < 0)
        goto done;
    /* of a whole model no value is read: it is large, and says nothing here */
    if ((rc = lx_lora_summarise(&x->summary, x->file, x->file->n_modules > 0, cli->arena,
                                err)) < 0)
        goto done;
    x->trainer = lx_lora_trainer(x->file->file, x->file->family);
    x->model = x->file->n_modules || x->file->n_embeddings || x->file->is_state
                   ? NULL
                   : lx_model_kind(x->file->file);
    if (!(x->what = lx_lora_what(x->file, x->model, cli->arena))) {
        rc = lx_oom(err);
        goto done;
    }
    if (x->model)
        lx_model_parts(x->parts, x->file->file);
    if (options->weights && x->file->n_modules &&
        (rc = lx_lora_weigh(&x->weights, x->file, cli->arena, err)) < 0)
        goto done;
    if (options->hashes)
        rc = lx_model_hashes_of(&x->hashes, path, err);
done:
    if (rc < 0)
        lx_within(err, "%s", shown);
    return rc;
}

void lx_inspected_close(lx_inspected *x)
{
    lx_lora_file_close(x->file);
    x->file = NULL;
}

int lx_inspect_show(lx_cli *cli, const lx_inspect_options *options, lx_inspected *x,
                    lx_error *err)
{
    if (options->json)
        return lx_inspect__json(cli, options, x, err);
    lx_inspect__text(cli, options, x);
    return options->tree && x->file->n_modules ? lx_inspect__tree(cli, x, err) : LX_OK;
}

int lx_inspect_one(lx_cli *cli, const lx_inspect_options *options, const char *path,
                   lx_error *err)
{
    lx_inspected x;
    int rc;

    if (lx_is_picture_name(path))
        return lx_inspect_picture(cli, path, options->json, err);
    if ((rc = lx_inspected_open(&x, cli, options, path, path, err)) == LX_OK)
        rc = lx_inspect_show(cli, options, &x, err);
    lx_inspected_close(&x);
    return rc;
}
