/* lx data check --fix - what can be put right without a choice, beside the originals or over them */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/data_check.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/caption_file.h"

/* Of the output: a copy of `from`, or what it is mended. */
typedef struct output_file {
    const char *from, *folder;
    bool is_image, is_wrong;
} output_file;

typedef struct output_files {
    output_file *items;
    size_t count, n_images;
} output_files;

typedef struct fixing {
    lx_cli *cli;
    const lx_data_check *check;
    const lx_fix_options *options;
    lx_decoder *decoder;
    lx_change *change;  /* in place */
    lx_data_names done; /* what was visited, for a set may have a folder more than once */
    lx_data_names targets; /* names in the output */
    size_t n_captions, n_images, n_left;
} fixing;

/* What is wrong with the image's pixels, and with its caption's bytes. */
typedef struct faults {
    bool image, caption;
} faults;

static bool has_code(const lx_check_finding *f, const char *const *codes)
{
    for (; *codes; codes++)
        if (strcmp(f->code, *codes) == 0)
            return true;
    return false;
}

/* By image; released by lx_free. */
static faults *find_faults(const lx_data_check *c)
{
    static const char *const of_images[] = {"rotated", "cmyk", NULL},
                             *const of_captions[] = {"encoding", "bom", "line-ends",
                                                     NULL};
    faults *out = lx_calloc(c->dataset->n_images + 1, sizeof *out);

    for (size_t i = 0; out && i < c->n_findings; i++) {
        const lx_check_finding *f = &c->findings[i];
        if (f->image == SIZE_MAX)
            continue;
        out[f->image].image |= has_code(f, of_images);
        out[f->image].caption |= has_code(f, of_captions);
    }
    return out;
}

/* A file that stays as it is because it cannot be mended: said, and no error. */
static int leave(fixing *x, const char *path, int rc, const lx_error *why, lx_error *err)
{
    if (rc != LX_EFORMAT && rc != LX_EUNSUPPORTED && rc != LX_ELIMIT && rc != LX_EEXISTS)
        return lx_fail_as(err, rc, why);
    x->n_left++;
    lx_data_say(x->cli, "left as it is: %s: %s\n", lx_safe(x->cli, path),
                lx_safe(x->cli, why->text));
    return LX_OK;
}

/* "a.png" of "a.jpg" */
static char *as_png(lx_arena *arena, const char *path)
{
    const size_t stem = strlen(path) - strlen(lx_path_ext(path));
    return lx_arena_printf(arena, "%.*s.png", (int)stem, path);
}

/* Its own name in the real folder that it lies in: one, whichever way leads to the folder. */
static int place_of(const char **out, fixing *x, const char *path, lx_error *err)
{
    lx_arena *arena = x->cli->arena;
    const char *name = lx_path_base(path);
    const char *folder = name == path
                             ? "."
                             : lx_arena_strndup(arena, path, (size_t)(name - path));
    char *real = folder ? realpath(folder, NULL) : NULL;

    if (!folder)
        return lx_oom(err);
    if (!real)
        return lx_fail_errno(err, errno, "%s", folder);
    *out = lx_arena_printf(arena, "%s/%s", real, name);
    free(real);
    return *out ? LX_OK : lx_oom(err);
}

static int mend_caption(lx_str *before, lx_str *after, fixing *x, const char *path,
                        lx_error *err)
{
    const char *was;
    int rc = lx_file_read(before, path, LX_CAPTION_BYTES, err);

    if (rc == LX_OK) {
        /* --encoding says what those are that are not UTF-8 */
        const bool is_sound =
            lx_utf8_check(lx_str_text(before), before->len) == before->len &&
            !(before->len && memchr(before->data, 0, before->len));
        rc = lx_mend_caption(after, &was, lx_str_text(before), before->len,
                             is_sound ? NULL : x->options->encoding, err);
    }
    return rc;
}

/* ---- over the originals ------------------------------------------------------------------- */

static int caption_in_place(fixing *x, const char *path, lx_error *err)
{
    lx_str before = LX_STR_INIT, after = LX_STR_INIT;
    lx_error why = {0};
    int rc = mend_caption(&before, &after, x, path, &why);

    if (rc < 0) {
        rc = leave(x, path, rc, &why, err);
    } else {
        rc =
            lx_change_edit(x->change, path, &before, lx_str_text(&after), after.len, err);
        x->n_captions++;
    }
    lx_str_release(&before);
    lx_str_release(&after);
    return rc;
}

/* A JPEG or WebP becomes a PNG of its name: written again as what it was, it would lose. */
static int put_in_place(fixing *x, const char *path, const lx_str *png, lx_error *err)
{
    const char *name = as_png(x->cli->arena, path);
    int rc;

    if (!name)
        return lx_oom(err);
    if (strcmp(name, path) == 0)
        return lx_change_edit(x->change, path, NULL, png->data, png->len, err);
    if ((rc = lx_change_create(x->change, name, png->data, png->len, err)) < 0)
        return rc;
    return lx_change_remove(x->change, path, err);
}

static int image_in_place(fixing *x, const char *path, lx_error *err)
{
    lx_str png = LX_STR_INIT;
    lx_error why = {0};
    int rc;

    if ((rc = lx_mend_image(&png, x->decoder, path, &why)) < 0) {
        rc = leave(x, path, rc, &why, err);
    } else if ((rc = put_in_place(x, path, &png, &why)) == LX_OK) {
        x->n_images++;
    } else if (rc == LX_EEXISTS) { /* "a.png" of another */
        rc = leave(x, path, rc, &why, err);
    } else {
        lx_fail_as(err, rc, &why);
    }
    lx_str_release(&png);
    return rc;
}

/* 1: to be visited; 0: it was. */
static int is_first(fixing *x, const char *path, lx_error *err)
{
    const char *place;
    int rc = place_of(&place, x, path, err);

    return rc < 0 ? rc : lx_data_names_add(&x->done, place, err);
}

static int fix_one(fixing *x, const lx_image *image, faults wrong, lx_error *err)
{
    int rc;

    if (wrong.caption && image->caption_path) {
        if ((rc = is_first(x, image->caption_path, err)) < 0 ||
            (rc && (rc = caption_in_place(x, image->caption_path, err)) < 0))
            return rc;
    }
    if (!wrong.image)
        return LX_OK;
    rc = is_first(x, image->path, err);
    return rc > 0 ? image_in_place(x, image->path, err) : rc;
}

/* The deepest folder that all files of the set lie in. */
static int root_of(const char **out, const lx_dataset *d, lx_arena *arena, lx_error *err)
{
    char *root = NULL;
    size_t n = 0, k;

    for (size_t i = 0; i < d->n_images; i++) {
        const char *path = d->images[i].path;
        char *real = realpath(path, NULL);
        if (!real)
            return lx_fail_errno(err, errno, "%s", path);
        if (!root) {
            root = lx_arena_strdup(arena, real);
            n = root ? (size_t)(lx_path_base(root) - root) : 0;
        }
        for (k = 0; root && k < n && real[k] == root[k]; k++)
            ;
        free(real);
        if (!root)
            return lx_oom(err);
        while (k && root[k - 1] != '/')
            k--;
        n = k;
    }
    *out = n > 1 ? lx_arena_strndup(arena, root, n - 1) : "/";
    return *out ? LX_OK : lx_oom(err);
}

static int fix_in_place(fixing *x, const faults *wrong, lx_error *err)
{
    const lx_dataset *d = x->check->dataset;
    const char *id, *root;
    int rc;

    if ((rc = root_of(&root, d, x->cli->arena, err)) < 0 ||
        (rc = lx_change_new(&x->change, x->cli, root, NULL, "fix", err)) < 0)
        return rc;
    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++)
        rc = fix_one(x, &d->images[i], wrong[i], err);
    if (rc == LX_OK && lx_change_count(x->change) == 0) {
        lx_data_say(x->cli, "nothing to mend\n");
        return LX_OK;
    }
    if (rc == LX_OK && (rc = lx_change_apply(x->change, &id, err)) == LX_OK)
        lx_data_say(x->cli,
                    "mended %zu caption%s and %zu image%s; lx data undo %s --write takes "
                    "it back\n",
                    x->n_captions, x->n_captions == 1 ? "" : "s", x->n_images,
                    x->n_images == 1 ? "" : "s", id);
    return rc;
}

/* ---- beside them -------------------------------------------------------------------------- */

static int check_output(const char *output, lx_error *err)
{
    lx_dir dir;
    int rc;

    if (!lx_file_exists(output))
        return LX_OK;
    if ((rc = lx_dir_list(&dir, output, err)) < 0)
        return rc;
    if (dir.count)
        rc =
            lx_fail(err, LX_EEXISTS, "%s: is not empty; --output makes a folder", output);
    lx_dir_free(&dir);
    return rc;
}

static int copy_into(const char *to, const char *from, lx_error *err)
{
    lx_mapping map;
    int rc;

    if ((rc = lx_file_map(&map, from, err)) < 0)
        return rc;
    rc = lx_file_write(to, map.data, map.size, err);
    lx_file_unmap(&map);
    return rc;
}

static int put_caption(fixing *x, const output_file *file, const char *to, lx_error *err)
{
    lx_str before = LX_STR_INIT, after = LX_STR_INIT;
    lx_error why = {0};
    int rc = file->is_wrong ? mend_caption(&before, &after, x, file->from, &why) : LX_OK;

    if (!file->is_wrong) {
        rc = copy_into(to, file->from, err);
    } else if (rc == LX_OK) {
        x->n_captions++;
        rc = lx_file_write(to, lx_str_text(&after), after.len, err);
    } else if ((rc = leave(x, file->from, rc, &why, err)) == LX_OK) {
        rc = copy_into(to, file->from, err);
    }
    lx_str_release(&before);
    lx_str_release(&after);
    return rc;
}

/* 1: "a.png" is this one's. */
static int take_png(fixing *x, const char *to, const char *png_to, lx_error *why)
{
    int rc = strcmp(to, png_to) == 0 ? 1 : lx_data_names_add(&x->targets, png_to, why);

    return rc ? rc : lx_fail(why, LX_EEXISTS, "%s: is another's name already", png_to);
}

static int put_image(fixing *x, const output_file *file, const char *to, lx_error *err)
{
    const char *png_to = as_png(x->cli->arena, to);
    lx_str png = LX_STR_INIT;
    lx_error why = {0};
    int rc;

    if (!png_to)
        return lx_oom(err);
    if (!file->is_wrong) {
        rc = copy_into(to, file->from, err);
    } else if ((rc = lx_mend_image(&png, x->decoder, file->from, &why)) == LX_OK &&
               (rc = take_png(x, to, png_to, &why)) > 0) {
        x->n_images++;
        rc = lx_file_write(png_to, png.data, png.len, err);
    } else if ((rc = leave(x, file->from, rc, &why, err)) == LX_OK) {
        rc = copy_into(to, file->from, err);
    }
    lx_str_release(&png);
    return rc;
}

/* "10_iwl 1girl"; what has no name of its own is "images". */
static const char *name_of(const lx_folder *f)
{
    const bool is_none = f->is_metadata || !*f->name || strcmp(f->name, ".") == 0 ||
                         strcmp(f->name, "..") == 0;
    return is_none ? "images" : f->name;
}

static bool are_one(const lx_folder *a, const lx_folder *b)
{
    char *x = realpath(a->path, NULL), *y = realpath(b->path, NULL);
    const bool is_one = a->is_metadata == b->is_metadata &&
                        (a->is_metadata || (x && y && strcmp(x, y) == 0));

    free(x);
    free(y);
    return is_one;
}

/*
 * By folder: OUTPUT/10_iwl 1girl; with regularisation images OUTPUT/train/... and OUTPUT/reg/... Another folder
 * of the same name is "name (2)", and one that is there twice has one place. Images of metadata files share theirs.
 */
static int name_folders(const char ***out, fixing *x, lx_error *err)
{
    const lx_dataset *d = x->check->dataset;
    lx_arena *arena = x->cli->arena;
    const char **to = lx_arena_calloc(arena, d->n_folders + 1, sizeof *to);
    lx_data_names taken = {0};
    bool has_reg = false;
    int rc = LX_OK;

    if (!to)
        return lx_oom(err);
    for (size_t i = 0; i < d->n_folders; i++)
        has_reg |= d->folders[i].is_reg;
    for (size_t i = 0; i < d->n_folders && rc >= 0; i++) {
        const lx_folder *f = &d->folders[i];
        const char *kind = !has_reg ? "" : f->is_reg ? "reg/" : "train/";
        for (size_t k = 0; k < i && !to[i]; k++)
            if (d->folders[k].is_reg == f->is_reg &&
                strcmp(name_of(&d->folders[k]), name_of(f)) == 0 &&
                are_one(&d->folders[k], f))
                to[i] = to[k];
        for (int n = 1; !to[i] && rc >= 0; n++) {
            const char *name =
                n == 1 ? lx_arena_printf(arena, "%s/%s%s", x->options->output, kind,
                                         name_of(f))
                       : lx_arena_printf(arena, "%s/%s%s (%d)", x->options->output, kind,
                                         name_of(f), n);
            rc = name ? lx_data_names_add(&taken, name, err) : lx_oom(err);
            if (rc > 0)
                to[i] = name;
        }
    }
    lx_data_names_release(&taken);
    *out = to;
    return rc < 0 ? rc : LX_OK;
}

/* Once, and refused where it would take another's name. */
static int add_output(output_files *files, fixing *x, const output_file *file,
                      lx_error *err)
{
    lx_arena *arena = x->cli->arena;
    const char *to =
        lx_arena_printf(arena, "%s/%s", file->folder, lx_path_base(file->from));
    const char *place, *pair;
    int rc = place_of(&place, x, file->from, err);

    if (rc < 0)
        return rc;
    pair = to ? lx_arena_printf(arena, "%s\n%s", place, to) : NULL;
    if (!pair)
        return lx_oom(err);
    if ((rc = lx_data_names_add(&x->done, pair, err)) <= 0)
        return rc;
    if ((rc = lx_data_names_add(&x->targets, to, err)) < 0)
        return rc;
    if (rc == 0)
        return lx_fail(err, LX_EEXISTS,
                       "%s: two files of the set would become this one; nothing is "
                       "written",
                       to);
    files->items[files->count++] = *file;
    files->n_images += file->is_image;
    return LX_OK;
}

static int list_output(output_files *files, fixing *x, const faults *wrong,
                       lx_error *err)
{
    const lx_dataset *d = x->check->dataset;
    const char **folders = NULL;
    int rc = name_folders(&folders, x, err);

    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++) {
        const lx_image *image = &d->images[i];
        output_file picture = {image->path, folders[image->folder], true, wrong[i].image};
        output_file caption = {image->caption_path, picture.folder, false,
                               wrong[i].caption};
        rc = add_output(files, x, &picture, err);
        if (rc == LX_OK && caption.from)
            rc = add_output(files, x, &caption, err);
    }
    return rc;
}

static int put_all(fixing *x, const output_files *files, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < files->count && rc == LX_OK; i++) {
        const output_file *file = &files->items[i];
        const char *to = lx_arena_printf(x->cli->arena, "%s/%s", file->folder,
                                         lx_path_base(file->from));
        if (!to)
            return lx_oom(err);
        if ((rc = lx_make_dirs(file->folder, err)) == LX_OK)
            rc = file->is_image ? put_image(x, file, to, err)
                                : put_caption(x, file, to, err);
    }
    return rc;
}

static int fix_beside(fixing *x, const faults *wrong, lx_error *err)
{
    output_files files = {0};
    int rc;

    if ((rc = check_output(x->options->output, err)) < 0)
        return rc;
    files.items = lx_calloc(2 * x->check->dataset->n_images + 1, sizeof *files.items);
    if (!files.items)
        return lx_oom(err);
    if ((rc = list_output(&files, x, wrong, err)) == LX_OK &&
        (rc = put_all(x, &files, err)) == LX_OK)
        lx_data_say(x->cli,
                    "%s: the whole set, %zu image%s; %zu of the images and %zu of the captions are mended\n",
                    lx_safe(x->cli, x->options->output), files.n_images, lx_plural(files.n_images),
                    x->n_images, x->n_captions);
    lx_free(files.items);
    return rc;
}

int lx_data_fix(lx_cli *cli, const lx_data_check *check, const lx_fix_options *options,
                lx_error *err)
{
    fixing x = {.cli = cli, .check = check, .options = options};
    faults *wrong = find_faults(check);
    int rc = wrong ? lx_decoder_new(&x.decoder, err) : lx_oom(err);

    if (rc == LX_OK)
        rc = options->is_in_place ? fix_in_place(&x, wrong, err)
                                  : fix_beside(&x, wrong, err);
    lx_decoder_free(x.decoder);
    lx_change_free(x.change);
    lx_data_names_release(&x.done);
    lx_data_names_release(&x.targets);
    lx_free(wrong);
    return rc;
}
