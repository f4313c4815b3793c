/* One folder: its images, their captions, and what is odd about them. */
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/data/caption_file.h"
#include "src/data/scan.h"
#include "src/image/decode.h"
#include "src/image/header.h"

/* What people name caption files. */
static const char *const text_endings[] = {".txt", ".caption", ".cap", ".tags"};
enum { N_ENDINGS = sizeof text_endings / sizeof *text_endings };

typedef struct folder_scan {
    lx_scan *scan;
    const lx_folder *folder;
    lx_decoder *decoder; /* with skip_bad_images, whose check reads the pixels too */
    lx_tally unread[N_ENDINGS], missing, empty, bom, lines, alpha, palette, rotated, bad, tiny;
} folder_scan;

static void note(lx_tally *tally, const char *path)
{
    if (!tally->n++)
        tally->example = path;
}

/* ---- captions ---------------------------------------------------------------------------- */

static char *with_ending(lx_arena *arena, const char *path, size_t stem, const char *ending)
{
    return lx_arena_printf(arena, "%.*s%s", (int)stem, path, ending);
}

/* The name without its last four parts cut by '_': what face-cropping tools append. 0: no such. */
static size_t short_stem(const char *path, size_t stem)
{
    size_t at = stem, name = stem;
    while (name && path[name - 1] != '/')
        name--;
    for (int parts = 0; parts < 4; parts++) {
        while (at > name && path[at - 1] != '_')
            at--;
        if (at == name)
            return 0;
        at--;
    }
    return at > name ? at : 0;
}

static bool is_empty_file(const char *path)
{
    struct stat info;
    return lx_io_get()->stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == 0;
}

static int read_caption(lx_caption_text *text, bool *is_there, folder_scan *f, const char *path,
                        size_t stem, lx_error *err)
{
    const lx_dataset_config *c = &f->scan->dataset->config;
    lx_arena *arena = f->scan->dataset->arena;
    const size_t stems[2] = {stem, short_stem(path, stem)};
    int rc = LX_ENOTFOUND;

    *is_there = false;
    for (int i = 0; i < 2 && rc == LX_ENOTFOUND && stems[i]; i++) {
        char *name = with_ending(arena, path, stems[i], c->caption_extension);
        if (!name)
            return lx_oom(err);
        if (is_empty_file(name)) { /* the peer stops; an image without words is a choice */
            note(&f->empty, name);
            rc = LX_OK;
        } else {
            rc = lx_caption_read(text, name, c->enable_wildcard, err);
        }
    }
    if (rc == LX_ENOTFOUND)
        return LX_OK;
    *is_there = rc == LX_OK;
    return rc;
}

/* A caption file that the flags do not read: the trap. */
static int look_for_unread(folder_scan *f, const char *path, size_t stem, lx_error *err)
{
    for (int i = 0; i < N_ENDINGS; i++) {
        char *name = with_ending(f->scan->dataset->arena, path, stem, text_endings[i]);
        if (!name)
            return lx_oom(err);
        if (lx_file_exists(name) && !lx_file_is_dir(name)) {
            note(&f->unread[i], name);
            return LX_OK;
        }
    }
    note(&f->missing, path);
    return LX_OK;
}

static int add_caption(lx_image *image, folder_scan *f, lx_error *err)
{
    lx_arena *arena = f->scan->dataset->arena;
    size_t stem = strlen(image->path) - strlen(lx_path_ext(image->path));
    lx_caption_text text = {.text = LX_STR_INIT};
    const char *caption = f->folder->class_tokens;
    lx_error why;
    int rc = read_caption(&text, &image->has_caption_file, f, image->path, stem, &why);

    if (rc == LX_ENOMEM || rc == LX_EIO) {
        lx_str_release(&text.text);
        if (err)
            *err = why;
        return rc;
    }
    if (rc < 0) /* empty, or no UTF-8: the user must decide */
        rc = lx_scan__find(f->scan, LX_FINDING_STOP, "bad-caption", err, "%s", why.text);
    else if (image->has_caption_file) {
        caption = lx_str_text(&text.text);
        if (text.has_bom)
            note(&f->bom, image->path);
        if (text.unread_lines)
            note(&f->lines, image->path);
    } else {
        rc = look_for_unread(f, image->path, stem, err);
    }
    image->caption = lx_arena_strdup(arena, caption);
    lx_str_release(&text.text);
    return rc == LX_OK && !image->caption ? lx_oom(err) : rc;
}

/* ---- images ------------------------------------------------------------------------------ */

static int check_pixels(folder_scan *f, const char *path, lx_error *err)
{
    const lx_decode_options options = LX_DECODE_DEFAULT;
    lx_pixels pixels = {0};
    int rc;
    if (!f->scan->dataset->config.skip_bad_images)
        return LX_OK; /* a broken one stops the run when its turn comes */
    if (!f->decoder && (rc = lx_decoder_new(&f->decoder, err)) < 0)
        return rc;
    rc = lx_decode(&pixels, NULL, f->decoder, path, &options, err);
    lx_pixels_release(&pixels);
    return rc;
}

/* 1: the image is left out. */
static int read_header(lx_image *image, folder_scan *f, lx_error *err)
{
    const bool skips = f->scan->dataset->config.skip_bad_images;
    lx_image_header header;
    lx_error why;
    int rc = lx_image_header_read(&header, image->path, &why);

    if (rc == LX_OK)
        rc = check_pixels(f, image->path, &why);
    if (rc == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0) {
        note(&f->bad, image->path);
        rc = lx_scan__find(f->scan, skips ? LX_FINDING_WARNING : LX_FINDING_STOP, "bad-image", err,
                           skips ? "\"%s\" is left out: %s"
                                 : "\"%s\" cannot be read: %s. Mend or remove it, or go on "
                                   "without it by --skip-bad-images",
                           image->path, why.text);
        return rc < 0 ? rc : 1;
    }
    image->width = header.width;
    image->height = header.height;
    image->has_alpha = header.has_alpha;
    image->is_palette = header.is_palette;
    if (header.has_alpha)
        note(&f->alpha, image->path);
    else if (header.is_palette)
        note(&f->palette, image->path);
    if (header.orientation != 1)
        note(&f->rotated, image->path);
    return LX_OK;
}

static int add_image(folder_scan *f, size_t folder, const char *name, lx_error *err)
{
    lx_scan *scan = f->scan;
    lx_dataset *d = scan->dataset;
    lx_image image = {.folder = (int)folder,
                      .repeats = f->folder->repeats,
                      .is_reg = f->folder->is_reg,
                      .path = lx_arena_printf(d->arena, "%s/%s", f->folder->path, name)};
    struct stat info;
    int rc;

    if (!image.path)
        return lx_oom(err);
    if ((rc = read_header(&image, f, err)) != LX_OK)
        return rc < 0 ? rc : LX_OK;
    if ((rc = add_caption(&image, f, err)) < 0)
        return rc;
    if (lx_io_get()->stat(image.path, &info) == 0)
        image.file_bytes = info.st_size;
    if (lx_grow(&scan->images, &scan->image_capacity, d->n_images + 1, sizeof image) < 0)
        return lx_oom(err);
    scan->images[d->n_images++] = image;
    return LX_OK;
}

/* ---- what to say ------------------------------------------------------------------------- */

static int report_captions(folder_scan *f, lx_error *err)
{
    const lx_dataset_config *c = &f->scan->dataset->config;
    int rc = LX_OK;

    for (int i = 0; i < N_ENDINGS && rc == LX_OK; i++) {
        const lx_tally *t = &f->unread[i];
        if (!t->n)
            continue;
        if (c->allow_untagged)
            rc = lx_scan__find(f->scan, LX_FINDING_WARNING, "caption-trap", err,
                               "%zu caption files (%s) are not read, as --allow-untagged allows; "
                               "their images are trained on \"%s\"",
                               t->n, text_endings[i], f->folder->class_tokens);
        else
            rc = lx_scan__find(f->scan, LX_FINDING_STOP, "caption-trap", err,
                               "%zu caption file%s (%s) beside the images would not be read, for "
                               "example \"%s\": add --caption_extension %s, or --allow-untagged "
                               "to train on the folder's name only (\"%s\")",
                               t->n, t->n == 1 ? "" : "s", text_endings[i], t->example,
                               text_endings[i], f->folder->class_tokens);
    }
    if (rc == LX_OK && f->missing.n && !f->folder->is_reg)
        rc = lx_scan__find(f->scan, f->folder->n_captions ? LX_FINDING_WARNING : LX_FINDING_NOTE,
                           "no-caption", err,
                           "%zu images have no caption file and are trained on \"%s\", for "
                           "example \"%s\"",
                           f->missing.n, f->folder->class_tokens, f->missing.example);
    if (rc == LX_OK && f->empty.n)
        rc = lx_scan__find(f->scan, LX_FINDING_WARNING, "empty-caption", err,
                           "%zu caption files are empty, for example \"%s\": their images are "
                           "trained without words",
                           f->empty.n, f->empty.example);
    if (rc == LX_OK && f->bom.n)
        rc = lx_scan__find(f->scan, LX_FINDING_NOTE, "bom", err,
                           "%zu captions begin with a byte order mark, which is left out, for "
                           "example that of \"%s\"",
                           f->bom.n, f->bom.example);
    if (rc == LX_OK && f->lines.n)
        rc = lx_scan__find(f->scan, LX_FINDING_WARNING, "lines", err,
                           "%zu captions have more than one line and only the first is read, for "
                           "example that of \"%s\"; --enable_wildcard draws one line each time",
                           f->lines.n, f->lines.example);
    return rc;
}

static int report_images(folder_scan *f, lx_error *err)
{
    const char *background = f->scan->dataset->config.background;
    int rc = LX_OK;

    if (f->alpha.n)
        rc = lx_scan__find(f->scan, LX_FINDING_WARNING, "alpha", err,
                           "%zu images are transparent, for example \"%s\": they are laid on %s "
                           "(--background COLOUR changes that)",
                           f->alpha.n, f->alpha.example, background ? background : "white");
    if (rc == LX_OK && f->palette.n)
        rc = lx_scan__find(f->scan, LX_FINDING_NOTE, "palette", err,
                           "%zu images have a palette (at most 256 colours), for example \"%s\"",
                           f->palette.n, f->palette.example);
    if (rc == LX_OK && f->rotated.n)
        rc = lx_scan__find(f->scan, LX_FINDING_WARNING, "rotated", err,
                           "%zu images are to be turned by their EXIF orientation, which is not "
                           "applied, for example \"%s\": turn them with an image editor first",
                           f->rotated.n, f->rotated.example);
    return rc;
}

int lx_scan__images(lx_scan *scan, size_t folder, lx_error *err)
{
    folder_scan f = {.scan = scan, .folder = &scan->folders[folder]};
    size_t first = scan->dataset->n_images;
    lx_dir dir = {0};
    int rc = lx_dir_list(&dir, f.folder->path, err);

    for (size_t i = 0; i < dir.count && rc == LX_OK; i++)
        if (lx_scan__is_image_name(dir.names[i]))
            rc = add_image(&f, folder, dir.names[i], err);
    lx_dir_free(&dir);
    lx_decoder_free(f.decoder);
    for (size_t i = first; i < scan->dataset->n_images; i++)
        scan->folders[folder].n_captions += scan->images[i].has_caption_file;
    scan->folders[folder].n_images = scan->dataset->n_images - first;
    if (rc == LX_OK && !scan->folders[folder].n_images && !f.bad.n)
        rc = lx_scan__find(scan, LX_FINDING_WARNING, "empty-folder", err,
                           "\"%s\" holds no images and is left out", f.folder->path);
    if (rc == LX_OK && (rc = report_captions(&f, err)) == LX_OK)
        rc = report_images(&f, err);
    return rc;
}
