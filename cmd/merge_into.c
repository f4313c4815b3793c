/* A model with LoRAs in it: one checkpoint, or a diffusers folder with all that is in it. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/merge.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/str.h"

int lx_merge_check_folder(const lx_merge_job *j, lx_error *err)
{
    lx_dir dir;
    size_t n;
    int rc;

    if (!j->output)
        return lx_fail(err, LX_EUSAGE, "no output: add -o FOLDER");
    if (lx_ends_with(j->output, ".safetensors"))
        return lx_fail(err, LX_EUSAGE, "--output %s: --into a folder writes a folder",
                       j->output);
    if (lx_file_exists(j->output) && !lx_file_is_dir(j->output))
        return lx_fail(err, LX_EEXISTS, "%s is a file: choose another output", j->output);
    if (!lx_file_is_dir(j->output))
        return LX_OK;
    if ((rc = lx_dir_list(&dir, j->output, err)) < 0)
        return rc;
    n = dir.count;
    lx_dir_free(&dir);
    return n ? lx_fail(err, LX_EEXISTS, "%s is not empty: choose another output",
                       j->output)
             : LX_OK;
}

/* ---- what else is in the folder --------------------------------------------------------------- */

/* A folder that is copied: where it is in the model ("" or "unet"), and how deep. */
typedef struct copying {
    lx_merge_job *job;
    const char *path; /* "" at the top */
    int depth;
    bool is_trial; /* nothing is made yet: can all be copied? */
} copying;

static bool is_weights(const char *name)
{
    return lx_ends_with(name, ".safetensors") || lx_ends_with(name, ".bin") ||
           lx_ends_with(name, ".msgpack") || strstr(name, ".index.");
}

/* The index of the shards that are written anew; those of other variants are not copied. */
static bool is_own_index(const lx_merge_job *j, const char *folder, const char *name)
{
    for (size_t i = 0; i < j->model.n; i++) {
        const lx_model_file *f = &j->model.items[i];
        if (f->index && strcmp(f->folder, folder) == 0 && strcmp(f->index, name) == 0)
            return true;
    }
    return false;
}

typedef enum fate { COPY, WRITTEN, LEFT_OUT, LAST } fate;

static fate fate_of(const copying *c, const char *name)
{
    const lx_merge_job *j = c->job;
    bool is_network = false;

    if (!*c->path && strcmp(name, "model_index.json") == 0)
        return LAST;
    for (size_t i = 0; i < j->model.n; i++) {
        const lx_model_file *f = &j->model.items[i];
        if (strcmp(f->folder, c->path) != 0)
            continue;
        if (strcmp(f->prefix, "vae.") == 0)
            return COPY;
        is_network = true;
        if (strcmp(f->name, name) == 0)
            return WRITTEN;
    }
    return is_network && is_weights(name) && !is_own_index(j, c->path, name) ? LEFT_OUT
                                                                             : COPY;
}

static int copy_folder(const copying *c, lx_error *err);

/* A file, and none of the system's: a link of a stranger's model may name the environment of this process. */
static int check_entry(const char *from, lx_error *err)
{
    static const char *const systems[] = {"/proc/", "/sys/", "/dev/"};
    char real[PATH_MAX];
    size_t size;
    int fd, rc = lx_file_open_regular(&fd, &size, from, err);

    if (rc == LX_OK) {
        lx_io_get()->close(fd);
        for (size_t i = 0; i < 3 && rc == LX_OK && realpath(from, real); i++)
            if (lx_starts_with(real, systems[i]))
                rc = lx_fail(err, LX_EFORMAT, "leads to %s, which is no part of a model",
                             real);
    }
    if (rc < 0)
        lx_within(err, "%s", from);
    return rc;
}

static int copy_entry(const copying *c, const char *name, lx_error *err)
{
    lx_merge_job *j = c->job;
    lx_arena *arena = j->cli->arena;
    const char *inner =
        lx_arena_printf(arena, "%s%s%s", c->path, *c->path ? "/" : "", name);
    const char *from = inner ? lx_arena_printf(arena, "%s/%s", j->into, inner) : NULL;
    const char *to = inner ? lx_arena_printf(arena, "%s/%s", j->output, inner) : NULL;
    const copying deeper = {j, inner, c->depth + 1, c->is_trial};

    if (!from || !to)
        return lx_oom(err);
    if (lx_file_is_dir(from))
        return copy_folder(&deeper, err);
    switch (fate_of(c, name)) {
    case COPY:
        return c->is_trial ? check_entry(from, err) : lx_file_copy(to, from, err);
    case LEFT_OUT:
        if (!c->is_trial && !j->n_left_out++)
            j->first_left_out = inner;
        return LX_OK;
    default:
        return LX_OK;
    }
}

static int copy_folder(const copying *c, lx_error *err)
{
    enum { DEEPEST = 8 };
    lx_merge_job *j = c->job;
    const char *from = lx_arena_printf(j->cli->arena, "%s/%s", j->into, c->path);
    const char *to = lx_arena_printf(j->cli->arena, "%s/%s", j->output, c->path);
    struct stat a, b;
    lx_dir dir;
    int rc;

    if (!from || !to)
        return lx_oom(err);
    if (c->depth > DEEPEST)
        return lx_fail(err, LX_ELIMIT, "%s: more than %d folders deep", from, DEEPEST);
    /* The output may lie in the model's own folder. */
    if (c->depth && stat(from, &a) == 0 && stat(j->output, &b) == 0 &&
        a.st_ino == b.st_ino && a.st_dev == b.st_dev)
        return LX_OK;
    if ((rc = lx_dir_list(&dir, from, err)) < 0)
        return rc;
    if (c->is_trial || (rc = lx_make_dirs(to, err)) == LX_OK)
        for (size_t i = 0; i < dir.count && rc == LX_OK; i++)
            rc = copy_entry(c, dir.names[i], err);
    lx_dir_free(&dir);
    return rc;
}

/* ---- the weights --------------------------------------------------------------------------------- */

/* Pickles come out as safetensors, under the name that is looked for then. */
static const char *output_name(const lx_model_file *f, lx_arena *arena, lx_error *err)
{
    const char *name;

    if (!lx_ends_with(f->name, ".bin"))
        return f->name;
    if (strstr(f->name, "-0")) {
        lx_fail(err, LX_EUNSUPPORTED, "%s: a pickle in shards, which lx cannot write",
                f->path);
        return NULL;
    }
    name =
        lx_starts_with(f->name, "pytorch_model") ? f->name + strlen("pytorch_") : f->name;
    name = lx_arena_printf(arena, "%.*s.safetensors", (int)(strlen(name) - 4), name);
    if (!name)
        lx_oom(err);
    return name;
}

static int plan_output(lx_merge_into *into, const lx_merge_job *j, const lx_model_file *f,
                       lx_error *err)
{
    const char *name = j->output;
    lx_metadata_entry *entries;
    int rc;

    if (j->model.is_folder && (name = output_name(f, j->cli->arena, err)))
        if (!(name =
                  lx_arena_printf(j->cli->arena, "%s/%s/%s", j->output, f->folder, name)))
            lx_oom(err);
    if (!name)
        return err->code;
    *into = (lx_merge_into){.base = f->file,
                            .prefix = f->prefix,
                            .output = name,
                            .has_dtype = j->has_dtype,
                            .dtype = j->options.dtype,
                            .allows_missing = j->args->allow_missing};
    rc = lx_merge_metadata(&entries, &into->n_metadata, j, NULL, f->file, err);
    into->metadata = entries;
    return rc;
}

static int keep_outputs(lx_merge_job *j, const lx_merge_into *files, size_t n,
                        lx_error *err)
{
    lx_hash *hashes = lx_arena_calloc(j->cli->arena, n, sizeof *hashes);
    int rc = LX_OK;

    j->outputs = lx_arena_calloc(j->cli->arena, n, sizeof *j->outputs);
    if (!hashes || !j->outputs)
        return lx_oom(err);
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        j->outputs[i] =
            (lx_derived_output){"checkpoint", files[i].output, &hashes[i], ""};
        rc = lx_file_hash(&hashes[i], files[i].output, err);
    }
    j->n_outputs = rc == LX_OK ? n : 0;
    return rc;
}

/* Without it nothing takes the folder for a model, so it comes when all else is there. */
static int write_index(const lx_merge_job *j, lx_error *err)
{
    const char *from = lx_arena_printf(j->cli->arena, "%s/model_index.json", j->into);
    const char *to = lx_arena_printf(j->cli->arena, "%s/model_index.json", j->output);

    if (!from || !to)
        return lx_oom(err);
    return lx_file_exists(from) ? lx_file_copy(to, from, err) : LX_OK;
}

int lx_merge_write_model(lx_merge_job *j, lx_merge *merge, lx_merge_into_result *r,
                         lx_error *err)
{
    lx_merge_into *files = lx_arena_calloc(j->cli->arena, j->model.n, sizeof *files);
    const copying trial = {j, "", 0, true}, all = {j, "", 0, false};
    size_t n = 0;
    lx_error own;
    int rc = files ? LX_OK : lx_oom(err);

    err = err ? err : &own;
    for (size_t i = 0; i < j->model.n && rc == LX_OK; i++)
        if (strcmp(j->model.items[i].prefix, "vae.") != 0)
            rc = plan_output(&files[n++], j, &j->model.items[i], err);
    if (rc == LX_OK && j->model.is_folder &&
        (rc = lx_merge_check_files(r, merge, files, n, err)) == LX_OK &&
        (rc = copy_folder(&trial, err)) == LX_OK)
        rc = copy_folder(&all, err);
    if (rc == LX_OK)
        rc = lx_merge_write_files(r, merge, files, n, err);
    if (rc == LX_OK && j->model.is_folder)
        rc = write_index(j, err);
    if (rc == LX_OK && !j->args->no_record)
        rc = keep_outputs(j, files, n, err);
    return rc;
}
