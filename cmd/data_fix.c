/* lx data check --fix - what can be put right without a choice, beside the originals or over them */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/data_check.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/caption_file.h"

typedef struct fixing {
    lx_cli *cli;
    const lx_data_check *check;
    const lx_fix_options *options;
    lx_decoder *decoder;
    lx_change *change; /* in place */
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
    if (rc != LX_EFORMAT && rc != LX_EUNSUPPORTED && rc != LX_ELIMIT)
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
static int image_in_place(fixing *x, const char *path, lx_error *err)
{
    lx_str png = LX_STR_INIT;
    lx_error why = {0};
    char *name = as_png(x->cli->arena, path);
    int rc;

    if (!name)
        return lx_oom(err);
    if ((rc = lx_mend_image(&png, x->decoder, path, &why)) < 0) {
        rc = leave(x, path, rc, &why, err);
    } else {
        x->n_images++;
        if (strcmp(name, path) == 0)
            rc = lx_change_edit(x->change, path, NULL, png.data, png.len, err);
        else if ((rc = lx_change_create(x->change, name, png.data, png.len, err)) ==
                 LX_OK)
            rc = lx_change_remove(x->change, path, err);
    }
    lx_str_release(&png);
    return rc;
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
    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++) {
        if (wrong[i].caption && d->images[i].caption_path)
            rc = caption_in_place(x, d->images[i].caption_path, err);
        if (rc == LX_OK && wrong[i].image)
            rc = image_in_place(x, d->images[i].path, err);
    }
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

    if (lx_file_exists(to))
        return lx_fail(err, LX_EEXISTS, "%s: two files of the set would become this one",
                       to);
    if ((rc = lx_file_map(&map, from, err)) < 0)
        return rc;
    rc = lx_file_write(to, map.data, map.size, err);
    lx_file_unmap(&map);
    return rc;
}

static int put_caption(fixing *x, const char *folder, const char *path, bool is_wrong,
                       lx_error *err)
{
    const char *to = lx_arena_printf(x->cli->arena, "%s/%s", folder, lx_path_base(path));
    lx_str before = LX_STR_INIT, after = LX_STR_INIT;
    lx_error why = {0};
    int rc = LX_OK;

    if (!to)
        return lx_oom(err);
    if (lx_file_exists(to)) /* that of two images */
        return LX_OK;
    if (is_wrong && (rc = mend_caption(&before, &after, x, path, &why)) < 0) {
        rc = leave(x, path, rc, &why, err);
        is_wrong = false;
    }
    if (rc == LX_OK && is_wrong) {
        x->n_captions++;
        rc = lx_file_write(to, lx_str_text(&after), after.len, err);
    } else if (rc == LX_OK) {
        rc = copy_into(to, path, err);
    }
    lx_str_release(&before);
    lx_str_release(&after);
    return rc;
}

static int put_image(fixing *x, const char *folder, const char *path, bool is_wrong,
                     lx_error *err)
{
    lx_arena *arena = x->cli->arena;
    const char *to = lx_arena_printf(arena, "%s/%s", folder, lx_path_base(path));
    const char *png_to = to ? as_png(arena, to) : NULL;
    lx_str png = LX_STR_INIT;
    lx_error why = {0};
    int rc = LX_OK;

    if (!png_to)
        return lx_oom(err);
    if (is_wrong && (rc = lx_mend_image(&png, x->decoder, path, &why)) < 0) {
        rc = leave(x, path, rc, &why, err);
        is_wrong = false;
    }
    if (rc == LX_OK && is_wrong) {
        x->n_images++;
        rc = lx_file_exists(png_to)
                 ? lx_fail(err, LX_EEXISTS,
                           "%s: two files of the set would become this one", png_to)
                 : lx_file_write(png_to, png.data, png.len, err);
    } else if (rc == LX_OK) {
        rc = copy_into(to, path, err);
    }
    lx_str_release(&png);
    return rc;
}

/* OUTPUT/10_iwl 1girl; with regularisation images OUTPUT/train/... and OUTPUT/reg/... */
static const char *folder_for(fixing *x, const lx_folder *f, bool has_reg)
{
    const char *name = f->is_metadata ? "images" : f->name;

    return lx_arena_printf(x->cli->arena, "%s/%s%s", x->options->output,
                           !has_reg    ? ""
                           : f->is_reg ? "reg/"
                                       : "train/",
                           strcmp(name, ".") == 0 ? "images" : name);
}

static int fix_beside(fixing *x, const faults *wrong, lx_error *err)
{
    const lx_dataset *d = x->check->dataset;
    bool has_reg = false;
    int rc;

    if ((rc = check_output(x->options->output, err)) < 0)
        return rc;
    for (size_t i = 0; i < d->n_folders; i++)
        has_reg |= d->folders[i].is_reg;
    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++) {
        const lx_image *image = &d->images[i];
        const char *folder = folder_for(x, &d->folders[image->folder], has_reg);
        if (!folder)
            return lx_oom(err);
        if ((rc = lx_make_dirs(folder, err)) == LX_OK &&
            (rc = put_image(x, folder, image->path, wrong[i].image, err)) == LX_OK &&
            image->caption_path)
            rc = put_caption(x, folder, image->caption_path, wrong[i].caption, err);
    }
    if (rc == LX_OK)
        lx_data_say(x->cli,
                    "%s: the whole set, %zu images, of them %zu mended, and %zu captions "
                    "mended\n",
                    lx_safe(x->cli, x->options->output), d->n_images, x->n_images,
                    x->n_captions);
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
    lx_free(wrong);
    return rc;
}
