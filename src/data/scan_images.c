/* One folder: its images, their captions, and what is odd about them. */
#include <string.h>
#include <strings.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/visited.h"
#include "src/data/caption_file.h"
#include "src/data/metadata_file.h"
#include "src/data/scan.h"
#include "src/image/decode.h"
#include "src/image/header.h"

const char *const lx_scan__caption_endings[LX_N_CAPTION_ENDINGS] = {
    ".txt", ".caption", ".cap", ".tags", ".TXT"};

typedef struct folder_scan {
    lx_scan *scan;
    const lx_folder *folder;
    lx_tally unread[LX_N_CAPTION_ENDINGS];
    size_t n_read, n_absent, n_maskless;
} folder_scan;

static void note(lx_tally *tally, const char *path)
{
    if (!tally->n++)
        tally->example = path;
}

/* ---- captions ---------------------------------------------------------------------------- */

static char *with_ending(lx_arena *arena, const char *path, size_t stem,
                         const char *ending)
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

static int read_caption(lx_caption_text *text, lx_image *image, folder_scan *f,
                        size_t stem, lx_error *err)
{
    const lx_dataset_config *c = f->folder->config;
    lx_arena *arena = f->scan->dataset->arena;
    const size_t stems[2] = {stem, short_stem(image->path, stem)};
    int rc = LX_ENOTFOUND;

    for (int i = 0; i < 2 && rc == LX_ENOTFOUND && stems[i]; i++) {
        char *name = with_ending(arena, image->path, stems[i], c->caption_extension);
        if (!name)
            return lx_oom(err);
        rc = lx_caption_read(text, name, c->enable_wildcard, err);
        image->caption_path = rc == LX_ENOTFOUND ? NULL : name;
    }
    image->has_caption_file = rc == LX_OK;
    return rc == LX_ENOTFOUND ? LX_OK : rc;
}

static bool is_file(const char *path)
{
    return lx_file_exists(path) && !lx_file_is_dir(path);
}

/* A caption file that the flags do not read: the trap. */
static int look_for_unread(folder_scan *f, const char *path, size_t stem, lx_error *err)
{
    lx_arena *arena = f->scan->dataset->arena;
    lx_scan_tallies *seen = &f->scan->seen;
    const size_t stems[2] = {stem, short_stem(path, stem)};

    for (int k = 0; k < 2 && stems[k]; k++)
        for (int i = 0; i < LX_N_CAPTION_ENDINGS; i++) {
            char *name = with_ending(arena, path, stems[k], lx_scan__caption_endings[i]);
            if (!name)
                return lx_oom(err);
            if (is_file(name)) {
                note(&f->unread[i], name);
                return LX_OK;
            }
        }
    for (int i = 0; i < LX_N_CAPTION_ENDINGS; i++) {
        char *name = with_ending(arena, path, strlen(path), lx_scan__caption_endings[i]);
        if (!name)
            return lx_oom(err);
        if (is_file(name)) {
            note(&seen->doubled, name);
            break;
        }
    }
    note(!*f->folder->class_tokens ? &seen->wordless
         : f->folder->is_reg       ? &seen->missing_reg
                                   : &seen->missing,
         path);
    return LX_OK;
}

static void note_oddities(lx_scan_tallies *seen, const lx_caption_text *text,
                          const char *path)
{
    if (text->is_empty)
        note(&seen->empty, path);
    if (text->has_bom)
        note(&seen->bom, path);
    if (text->has_cr)
        note(&seen->cr, path);
    if (text->unread_lines)
        note(&seen->lines, path);
    if (text->is_odd)
        note(&seen->odd, path);
}

/* No UTF-8, or too large to be one: the user must decide. */
static int report_bad_caption(folder_scan *f, const char *path, const lx_error *why,
                              lx_error *err)
{
    note(&f->scan->seen.bad_caption, path);
    if (f->scan->seen.bad_caption.n > LX_SCAN_TOLD)
        return LX_OK;
    return lx_scan__find(f->scan, LX_FINDING_STOP, "bad-caption", err, "%s", why->text);
}

static int add_caption(lx_image *image, folder_scan *f, lx_error *err)
{
    lx_arena *arena = f->scan->dataset->arena;
    size_t stem = strlen(image->path) - strlen(lx_path_ext(image->path));
    lx_caption_text text = {.text = LX_STR_INIT};
    const char *caption = f->folder->class_tokens;
    lx_error why = {0};
    int rc = read_caption(&text, image, f, stem, &why);

    if (rc == LX_ENOMEM || rc == LX_EIO) {
        lx_str_release(&text.text);
        return lx_fail_as(err, rc, &why);
    }
    if (rc < 0) {
        rc = report_bad_caption(f, image->path, &why, err);
    } else if (image->has_caption_file) {
        caption = lx_str_text(&text.text);
        f->n_read++;
        note_oddities(&f->scan->seen, &text, image->path);
    } else {
        rc = look_for_unread(f, image->path, stem, err);
    }
    image->caption = lx_arena_strdup(arena, caption);
    lx_str_release(&text.text);
    return rc == LX_OK && !image->caption ? lx_oom(err) : rc;
}

/* ---- images ------------------------------------------------------------------------------ */

/*
 * A sound header does not promise sound pixels. They are tried now where a broken image could not
 * stop the run before its first step, or shall be left out.
 */
static int check_pixels(folder_scan *f, const char *path, lx_error *err)
{
    const lx_dataset_config *c = &f->scan->dataset->config;
    const lx_decode_options options = LX_DECODE_DEFAULT;
    lx_pixels pixels = {0};
    int rc;

    if (!c->skip_bad_images && !c->check_pixels && c->cache_latents)
        return LX_OK;
    if (!f->scan->decoder && (rc = lx_decoder_new(&f->scan->decoder, err)) < 0)
        return rc;
    rc = lx_decode(&pixels, NULL, f->scan->decoder, path, &options, err);
    lx_pixels_release(&pixels);
    return rc;
}

static int report_bad_image(folder_scan *f, const char *path, const lx_error *why,
                            lx_error *err)
{
    const bool skips = f->scan->dataset->config.skip_bad_images;

    note(&f->scan->seen.bad_image, path);
    if (f->scan->seen.bad_image.n > LX_SCAN_TOLD)
        return LX_OK;
    f->scan->about = path;
    return lx_scan__find(
        f->scan, skips ? LX_FINDING_WARNING : LX_FINDING_STOP, "bad-image", err,
        skips ? "\"%s\" is left out: %s"
              : "\"%s\" cannot be read: %s. Mend or remove it, or go on without "
                "it by --skip-bad-images",
        path, why->text);
}

/* A place in the name is one of the picture as stored, so that of a turned one is not known. */
static void find_face(lx_image *image, folder_scan *f)
{
    if (f->folder->config->face_crop_aug_range[1] == 0)
        return;
    if (image->orientation == 1)
        image->face = lx_face_of(image->path, image->width, image->height);
    if (!image->face.x)
        note(&f->scan->seen.faceless, image->path);
}

/* 1: the image is left out. */
static int read_header(lx_image *image, folder_scan *f, lx_error *err)
{
    lx_scan_tallies *seen = &f->scan->seen;
    lx_image_header header;
    lx_error why = {0};
    int rc = lx_image_header_read(&header, image->path, &why);

    if (rc == LX_OK)
        rc = check_pixels(f, image->path, &why);
    if (rc == LX_ENOMEM)
        return lx_oom(err);
    if (rc ==
        LX_EIO) /* the disk's fault and not the image's: nothing goes on without it */
        return lx_fail(err, rc, "%s: %s", image->path, why.text);
    if (rc < 0) {
        rc = report_bad_image(f, image->path, &why, err);
        return rc < 0 ? rc : 1;
    }
    image->orientation = f->folder->config->ignore_exif ? 1 : header.orientation;
    image->width = image->orientation < 5 ? header.width : header.height;
    image->height = image->orientation < 5 ? header.height : header.width;
    image->has_alpha = header.has_alpha;
    image->is_palette = header.is_palette;
    if (header.has_alpha)
        note(&seen->alpha, image->path);
    else if (header.is_palette)
        note(&seen->palette, image->path);
    if (image->orientation > 1)
        note(&seen->rotated, image->path);
    find_face(image, f);
    return LX_OK;
}

/* The picture of an image's name in conditioning_data_dir, which says where its loss counts. */
static int find_mask(folder_scan *f, lx_image *image, lx_error *err)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp", ".bmp",
                                          ".PNG", ".JPG", ".JPEG", ".WEBP", ".BMP"};
    const lx_dataset_config *c = f->folder->config;
    const char *name = lx_path_base(image->path);
    const int stem = (int)(strlen(name) - strlen(lx_path_ext(name)));
    lx_arena *arena = f->scan->dataset->arena;

    if (!c->masked_loss || !c->conditioning_data_dir)
        return LX_OK;
    for (size_t i = 0; i < sizeof endings / sizeof *endings && !image->mask; i++) {
        const char *path = lx_arena_printf(arena, "%s/%.*s%s", c->conditioning_data_dir,
                                           stem, name, endings[i]);
        if (!path)
            return lx_oom(err);
        if (is_file(path))
            image->mask = path;
    }
    if (image->mask || f->n_maskless++ >= LX_SCAN_TOLD)
        return LX_OK;
    f->scan->about = image->path;
    return lx_scan__find(
        f->scan, LX_FINDING_STOP, "no-mask", err,
        "\"%s\" has no mask: --masked_loss needs %s/%.*s.png (white where the "
        "loss counts)",
        image->path, c->conditioning_data_dir, stem, name);
}

/* What is beyond those told one by one, of the folder or the metadata file. */
static int report_rest(folder_scan *f, lx_error *err)
{
    const char *path = f->folder->path;
    int rc = LX_OK;

    if (f->n_absent > LX_SCAN_TOLD) {
        f->scan->about = path;
        rc = lx_scan__find(f->scan, LX_FINDING_STOP, "bad-metadata", err,
                           "%s names %zu more which are no files", path,
                           f->n_absent - LX_SCAN_TOLD);
    }
    if (rc == LX_OK && f->n_maskless > LX_SCAN_TOLD) {
        f->scan->about = path;
        rc = lx_scan__find(f->scan, LX_FINDING_STOP, "no-mask", err,
                           "%zu more images of \"%s\" have no mask",
                           f->n_maskless - LX_SCAN_TOLD, path);
    }
    return rc;
}

static int keep_image(folder_scan *f, lx_image *image, lx_error *err)
{
    lx_scan *scan = f->scan;
    struct stat info;
    int rc = find_mask(f, image, err);

    if (rc < 0)
        return rc;
    if (lx_io_get()->stat(image->path, &info) == 0)
        image->file_bytes = info.st_size;
    if (lx_grow(&scan->images, &scan->image_capacity, scan->dataset->n_images + 1,
                sizeof *image) < 0)
        return lx_oom(err);
    scan->images[scan->dataset->n_images++] = *image;
    return LX_OK;
}

static int add_image(folder_scan *f, size_t folder, const char *name, lx_error *err)
{
    lx_image image = {
        .folder = (int)folder,
        .repeats = f->folder->repeats,
        .is_reg = f->folder->is_reg,
        .path = lx_arena_printf(f->scan->dataset->arena, "%s/%s", f->folder->path, name)};
    int rc;

    if (!image.path)
        return lx_oom(err);
    if ((rc = read_header(&image, f, err)) != LX_OK)
        return rc < 0 ? rc : LX_OK;
    if ((rc = add_caption(&image, f, err)) < 0)
        return rc;
    return keep_image(f, &image, err);
}

/* ---- a metadata file --------------------------------------------------------------------- */

/* The file that a name of the metadata stands for; NULL when there is none. */
static const char *find_image(folder_scan *f, const char *key, lx_error *err)
{
    static const char *const endings[] = {"",     ".png", ".jpg",  ".jpeg", ".webp", ".bmp",
                                          ".PNG", ".JPG", ".JPEG", ".WEBP", ".BMP"};
    const lx_dataset_config *c = &f->scan->dataset->config;
    lx_arena *arena = f->scan->dataset->arena;
    const char *mapped = c->map_path ? c->map_path(c->maps, key, arena) : NULL;

    key = mapped ? mapped : key;
    const char *dir = key[0] == '/' || !f->folder->image_dir ? "" : f->folder->image_dir;
    const char *between = !*dir || lx_ends_with(dir, "/") ? "" : "/";

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const char *path =
            lx_arena_printf(arena, "%s%s%s%s", dir, between, key, endings[i]);
        if (!path) {
            lx_oom(err);
            return NULL;
        }
        if (is_file(path))
            return path;
    }
    return NULL;
}

static int report_absent(folder_scan *f, const char *key, lx_error *err)
{
    const bool has_dir = f->folder->image_dir || key[0] == '/';

    if (f->n_absent++ >= LX_SCAN_TOLD)
        return LX_OK;
    f->scan->about = f->folder->path;
    return lx_scan__find(
        f->scan, LX_FINDING_STOP, "bad-metadata", err,
        has_dir ? "%s names \"%s\", which is no file%s%s: correct the name, or "
                  "the folder that names begin in (--train_data_dir, image_dir)"
                : "%s names \"%s\" without a folder: give the one that names "
                  "begin in by --train_data_dir or image_dir%s%s",
        f->folder->path, key, f->folder->image_dir ? " in " : "",
        f->folder->image_dir ? f->folder->image_dir : "");
}

static int add_named(folder_scan *f, size_t folder, const lx_metadata_image *named,
                     lx_error *err)
{
    const lx_dataset_config *c = f->folder->config;
    lx_arena *arena = f->scan->dataset->arena;
    lx_error why = {0};
    lx_image image = {.folder = (int)folder,
                      .repeats = f->folder->repeats,
                      .path = find_image(f, named->key, &why)};
    int rc;

    if (!image.path)
        return why.code == LX_ENOMEM ? lx_oom(err) : report_absent(f, named->key, err);
    if ((rc = read_header(&image, f, err)) != LX_OK)
        return rc < 0 ? rc : LX_OK;
    image.caption =
        lx_metadata_caption(named, c->caption_separator, c->enable_wildcard, arena);
    image.tags = lx_metadata_tags(named, c->caption_separator, c->enable_wildcard, arena);
    if (!image.caption || !image.tags)
        return lx_oom(err);
    image.has_caption_file = *image.caption != '\0';
    f->n_read += image.has_caption_file;
    if (!image.has_caption_file)
        note(&f->scan->seen.empty, image.path);
    return keep_image(f, &image, err);
}

int lx_scan__metadata(lx_scan *scan, size_t folder, lx_error *err)
{
    folder_scan f = {.scan = scan, .folder = &scan->folders[folder]};
    const size_t first = scan->dataset->n_images;
    lx_metadata_file file;
    lx_error why = {0};
    int rc = lx_metadata_file_read(&file, f.folder->path, scan->dataset->arena, &why);

    scan->about = rc < 0 ? f.folder->path : NULL;
    if (rc == LX_EFORMAT || rc == LX_ENOTFOUND || rc == LX_ELIMIT)
        return lx_scan__find(scan, LX_FINDING_STOP, "bad-metadata", err, "%s", why.text);
    lx_fail_as(err, rc, &why);
    for (size_t i = 0; i < file.count && rc == LX_OK; i++)
        rc = add_named(&f, folder, &file.images[i], err);
    if (rc == LX_OK)
        rc = report_rest(&f, err);
    scan->seen.n_read += f.n_read;
    scan->folders[folder].n_captions = f.n_read;
    scan->folders[folder].n_images = scan->dataset->n_images - first;
    return rc;
}

/* ---- the folder -------------------------------------------------------------------------- */

/* What looks like an image to a person and not to the peer, and so not to lx. */
static bool is_other_kind(const char *name)
{
    static const char *const endings[] = {".png",  ".jpg",  ".jpeg", ".webp",
                                          ".bmp",  ".gif",  ".tif",  ".tiff",
                                          ".jfif", ".avif", ".jxl",  ".heic"};
    const char *ending = lx_path_ext(name);

    if (name[0] == '.')
        return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(ending, endings[i]) == 0)
            return true;
    return false;
}

/* Whether it may be a folder: captions and the like are not asked for. */
static bool may_be_folder(const char *name)
{
    if (name[0] == '.' || lx_scan__is_image_name(name) || lx_ends_with(name, ".npz"))
        return false;
    for (size_t i = 0; i < LX_N_CAPTION_ENDINGS; i++)
        if (lx_ends_with(name, lx_scan__caption_endings[i]))
            return false;
    return true;
}

typedef struct looking {
    lx_below *out;
    lx_arena *arena;
    lx_visited visited;
} looking;

static int look(looking *l, const char *folder, int depth, lx_error *err);

/* 1: a folder to look into, which nobody was in. */
static int is_new_folder(looking *l, const char *path, lx_error *err)
{
    struct stat st;

    return lx_io_get()->stat(path, &st) == 0 && S_ISDIR(st.st_mode)
               ? lx_visited_add(&l->visited, &st, err)
               : 0;
}

static int look_into(looking *l, const char *folder, const char *name, int depth,
                     lx_error *err)
{
    const char *path = lx_arena_printf(l->arena, "%s/%s", folder, name);
    int rc = path ? is_new_folder(l, path, err) : lx_oom(err);

    return rc > 0 ? look(l, path, depth + 1, err) : rc;
}

static int look(looking *l, const char *folder, int depth, lx_error *err)
{
    enum { DEEPEST = 64 }; /* of honest folders; the stack is not for more */
    lx_below *out = l->out;
    lx_dir dir = {0};
    size_t n = 0;
    int rc = lx_dir_list(&dir, folder, err);

    if (rc < 0)
        return rc == LX_EIO ? rc : LX_OK;
    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        n += depth > 0 && lx_scan__is_image_name(dir.names[i]);
        if (depth < DEEPEST && may_be_folder(dir.names[i]))
            rc = look_into(l, folder, dir.names[i], depth, err);
    }
    lx_dir_free(&dir);
    if (n && (!out->n_folders++ || strcmp(folder, out->first) < 0))
        out->first = folder;
    out->n_images += n;
    return rc;
}

int lx_scan__look_below(lx_below *out, lx_arena *arena, const char *folder, lx_error *err)
{
    looking l = {.out = out, .arena = arena};
    int rc = is_new_folder(&l, folder, err);

    if (rc > 0)
        rc = look(&l, folder, 0, err);
    lx_visited_release(&l.visited);
    return rc;
}

/* Hugging Face's datasets have their captions in one file of the folder. */
static bool is_caption_table(const char *name)
{
    return strcmp(name, "metadata.jsonl") == 0 || strcmp(name, "metadata.csv") == 0 ||
           strcmp(name, "metadata.parquet") == 0;
}

/* An entry that is no image of the folder: worth a word if an image or a caption is lost by it. */
static int note_other(folder_scan *f, const char *name, lx_error *err)
{
    const bool is_table = is_caption_table(name);
    char *path;

    if (!is_table && !is_other_kind(name))
        return LX_OK;
    if (!(path =
              lx_arena_printf(f->scan->dataset->arena, "%s/%s", f->folder->path, name)))
        return lx_oom(err);
    if (!lx_file_is_dir(path))
        note(is_table ? &f->scan->seen.table : &f->scan->seen.other_kind, path);
    return LX_OK;
}

/*
 * Unread caption files are a trap where they outnumber those that are read: then the flag is wrong.
 * Where they are few, the files are, and another flag would only lose the others. Regularisation
 * images are commonly trained on their folder's words.
 */
static void judge_unread(folder_scan *f)
{
    lx_scan_tallies *seen = &f->scan->seen;
    size_t n_unread = 0;
    bool is_trap;

    for (int i = 0; i < LX_N_CAPTION_ENDINGS; i++)
        n_unread += f->unread[i].n;
    is_trap = n_unread > f->n_read && !f->folder->is_reg;
    for (int i = 0; i < LX_N_CAPTION_ENDINGS; i++) {
        lx_tally *t = is_trap ? &seen->trap[i] : &seen->stray[i];
        if (f->unread[i].n > 0 && t->n == 0)
            t->example = f->unread[i].example;
        t->n += f->unread[i].n;
    }
    seen->n_read += f->folder->is_reg ? 0 : f->n_read;
}

int lx_scan__images(lx_scan *scan, size_t folder, lx_error *err)
{
    folder_scan f = {.scan = scan, .folder = &scan->folders[folder]};
    size_t first = scan->dataset->n_images, n_bad = scan->seen.bad_image.n;
    lx_dir dir = {0};
    int rc = lx_dir_list(&dir, f.folder->path, err);

    for (size_t i = 0; i < dir.count && rc == LX_OK; i++)
        if (lx_scan__is_image_name(dir.names[i]))
            rc = add_image(&f, folder, dir.names[i], err);
        else
            rc = note_other(&f, dir.names[i], err);
    if (rc == LX_OK)
        rc = report_rest(&f, err);
    if (rc == LX_OK)
        rc = lx_scan__look_below(&scan->seen.nested, scan->dataset->arena, f.folder->path,
                                 err);
    lx_dir_free(&dir);
    if (rc < 0)
        return rc;
    judge_unread(&f);
    scan->folders[folder].n_captions = f.n_read;
    scan->folders[folder].n_images = scan->dataset->n_images - first;
    if (scan->folders[folder].n_images == 0 && scan->seen.bad_image.n == n_bad) {
        scan->about = f.folder->path;
        return lx_scan__find(scan, LX_FINDING_WARNING, "empty-folder", err,
                             "\"%s\" holds no images and is left out", f.folder->path);
    }
    return LX_OK;
}
