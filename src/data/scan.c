/* Folders: which there are, what their names say, and what a wrong path looks like. */
#include "src/data/scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/unicode.h"
#include "src/image/decode.h"

int lx_scan__find(lx_scan *scan, lx_finding_kind kind, const char *code, lx_error *err,
                  const char *fmt, ...)
{
    lx_dataset *d = scan->dataset;
    lx_finding *f;
    char text[1400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (lx_grow(&scan->findings, &scan->finding_capacity, d->n_findings + 1, sizeof *f) <
        0)
        return lx_oom(err);
    f = &scan->findings[d->n_findings];
    *f = (lx_finding){kind, code, lx_arena_strdup(d->arena, text), scan->about};
    scan->about = NULL;
    if (!f->text)
        return lx_oom(err);
    d->n_findings++;
    return LX_OK;
}

int lx_dataset__find(lx_dataset *d, lx_finding_kind kind, const char *code, lx_error *err,
                     const char *fmt, ...)
{
    lx_finding *f;
    char text[1400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (lx_arena_grow(d->arena, &d->findings, &d->finding_capacity, d->n_findings + 1,
                      sizeof *f) < 0)
        return lx_oom(err);
    f = &d->findings[d->n_findings];
    *f = (lx_finding){kind, code, lx_arena_strdup(d->arena, text), NULL};
    if (!f->text)
        return lx_oom(err);
    d->n_findings++;
    return LX_OK;
}

bool lx_scan__folder_name(int64_t *repeats, const char **class_tokens, const char *name)
{
    const char *underscore = strchr(name, '_');
    size_t n = underscore ? (size_t)(underscore - name) : strlen(name);
    if (!lx_unicode_int(repeats, name, n))
        return false;
    *class_tokens = underscore ? underscore + 1 : "";
    return true;
}

bool lx_scan__is_image_name(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp", ".bmp",
                                          ".PNG", ".JPG", ".JPEG", ".WEBP", ".BMP"};
    const char *ending = lx_path_ext(name);
    if (name[0] == '.')
        return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcmp(ending, endings[i]) == 0)
            return true;
    return false;
}

static char *join(lx_arena *arena, const char *folder, const char *name)
{
    return lx_arena_printf(arena, lx_ends_with(folder, "/") ? "%s%s" : "%s/%s", folder,
                           name);
}

/* A date in front of a folder's name is no number of repeats. */
enum { MOST_REPEATS = 1000000 };

static int add_folder(lx_scan *scan, const char *path, const char *name, int64_t repeats,
                      const char *class_tokens, bool is_reg, lx_error *err)
{
    lx_dataset *d = scan->dataset;
    lx_folder *f;

    if (lx_grow(&scan->folders, &scan->folder_capacity, d->n_folders + 1, sizeof *f) < 0)
        return lx_oom(err);
    f = &scan->folders[d->n_folders++];
    *f = (lx_folder){.path = path, /* in the arena already */
                     .name = lx_arena_strdup(d->arena, name),
                     .class_tokens = lx_arena_strdup(d->arena, class_tokens),
                     .repeats = repeats > MOST_REPEATS ? 1 : (int)repeats,
                     .is_reg = is_reg,
                     .config = &d->config};
    if (!f->name || !f->class_tokens)
        return lx_oom(err);
    scan->about = repeats > MOST_REPEATS ? path : NULL;
    if (repeats > MOST_REPEATS)
        return lx_scan__find(
            scan, LX_FINDING_STOP, "too-many-repeats", err,
            "\"%s\" asks for %lld repeats of each image: the number in front of "
            "the name says how often each is shown in an epoch, at most %d",
            path, (long long)repeats, MOST_REPEATS);
    if (lx_utf8_check(name, strlen(name)) == strlen(name))
        return LX_OK;
    scan->about = path;
    return lx_scan__find(scan, LX_FINDING_STOP, "folder-name", err,
                         "\"%s\": its name is not UTF-8, and stands for captions and in the "
                         "LoRA's metadata: rename it",
                         path);
}

typedef struct level {
    size_t n_valid, n_images_here, n_ignored;
    lx_below deep; /* below folders that are ignored */
    const char *first_image, *first_ignored;
} level;

static int scan_entry(lx_scan *scan, level *seen, const char *root, const char *name,
                      bool is_reg, lx_error *err)
{
    lx_arena *arena = scan->dataset->arena;
    const char *path = join(arena, root, name), *class_tokens;
    int64_t repeats;

    if (!path)
        return lx_oom(err);
    if (!lx_file_is_dir(path)) {
        if (lx_scan__is_image_name(name) && !seen->n_images_here++)
            seen->first_image = path;
        return LX_OK;
    }
    if (!lx_scan__folder_name(&repeats, &class_tokens, name)) {
        if (name[0] == '.')
            return LX_OK;
        if (!seen->n_ignored++)
            seen->first_ignored = path;
        return lx_scan__look_below(&seen->deep, arena, path, err);
    }
    scan->about = repeats < 1 ? path : NULL;
    if (repeats < 1)
        return lx_scan__find(scan, LX_FINDING_WARNING, "no-repeats", err,
                             "\"%s\" is left out: its name asks for %lld repeats", path,
                             (long long)repeats);
    seen->n_valid++;
    return add_folder(scan, path, name, repeats, class_tokens, is_reg, err);
}

static bool holds_image_folders(lx_arena *arena, const char *path)
{
    lx_dir dir = {0};
    bool found = false;

    if (!lx_file_is_dir(path) || lx_dir_list(&dir, path, NULL) < 0)
        return false;
    for (size_t i = 0; i < dir.count && !found; i++) {
        const char *class_tokens, *below = join(arena, path, dir.names[i]);
        int64_t repeats;
        found = below && lx_scan__folder_name(&repeats, &class_tokens, dir.names[i]) &&
                lx_file_is_dir(below);
    }
    lx_dir_free(&dir);
    return found;
}

/*
 * A folder below `root` that holds N_name folders: the user stopped one level too high. Where
 * several do, the name tells those of regularisation images.
 */
static const char *deeper_root(lx_arena *arena, const char *root, bool is_reg)
{
    lx_dir dir = {0};
    const char *found = NULL;

    if (lx_dir_list(&dir, root, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < dir.count; i++) {
        const char *path = join(arena, root, dir.names[i]);
        bool is_named_reg = strncasecmp(dir.names[i], "reg", 3) == 0;
        if (!path || !holds_image_folders(arena, path))
            continue;
        if (!found || is_named_reg == is_reg)
            found = path;
        if (is_named_reg == is_reg)
            break;
    }
    lx_dir_free(&dir);
    return found;
}

/* The part of a path before its last name; "." when there is none. */
static char *parent_of(lx_arena *arena, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n ? lx_arena_strndup(arena, path, n) : lx_arena_strdup(arena, ".");
}

static const char *last_name(lx_arena *arena, const char *path)
{
    size_t n = strlen(path), from;
    while (n > 1 && path[n - 1] == '/')
        n--;
    for (from = n; from && path[from - 1] != '/';)
        from--;
    return lx_arena_strndup(arena, path + from, n - from);
}

/* Itself when it cannot be resolved. */
static const char *absolute(lx_arena *arena, const char *path)
{
    char *resolved = realpath(path, NULL);
    const char *copy = resolved ? lx_arena_strdup(arena, resolved) : NULL;

    free(resolved);
    return copy ? copy : path;
}

static int explain_level(lx_scan *scan, const level *seen, const char *flag,
                         const char *root, bool is_reg, lx_error *err)
{
    lx_arena *arena = scan->dataset->arena;
    const char *name, *class_tokens, *deeper;
    int64_t repeats;

    if (strcmp(root, ".") == 0 || lx_ends_with(root, "/."))
        root = absolute(arena, root); /* only there it has a name */
    name = last_name(arena, root);

    scan->about = seen->n_images_here ? seen->first_image : root;
    if (seen->n_valid) {
        if (seen->n_images_here)
            return lx_scan__find(
                scan, LX_FINDING_WARNING, "wrong-level", err,
                "%zu image%s directly in \"%s\" and not trained, for example "
                "\"%s\": move into one of its folders",
                seen->n_images_here, seen->n_images_here == 1 ? " is" : "s are", root,
                seen->first_image);
        scan->about = NULL;
        return LX_OK;
    }
    if (name && seen->n_images_here &&
        lx_scan__folder_name(&repeats, &class_tokens, name))
        return lx_scan__find(
            scan, LX_FINDING_STOP, "wrong-level", err,
            "\"%s\" is an image folder itself; %s wants the folder above it: "
            "%s \"%s\"",
            root, flag, flag, parent_of(arena, root));
    if (seen->n_images_here)
        return lx_scan__find(
            scan, LX_FINDING_STOP, "wrong-level", err,
            "%zu image%s directly in \"%s\": move into a folder below it whose name "
            "says how often each is shown and what it is, such as "
            "\"%s/10_identifier class\"",
            seen->n_images_here, seen->n_images_here == 1 ? " is" : "s are", root, root);
    if ((deeper = deeper_root(arena, root, is_reg)))
        return lx_scan__find(scan, LX_FINDING_STOP, "wrong-level", err,
                             "the image folders lie one level deeper: %s \"%s\"", flag,
                             deeper);
    return lx_scan__find(
        scan, is_reg ? LX_FINDING_WARNING : LX_FINDING_STOP, "no-images", err,
        "\"%s\" has no folder named like \"10_identifier class\" with images "
        "in it%s%s%s%s",
        root, seen->first_ignored ? " (\"" : "",
        seen->first_ignored ? seen->first_ignored : "",
        seen->first_ignored ? "\" has no number in front)" : "",
        is_reg ? ": trained without regularisation images" : "");
}

static int scan_root(lx_scan *scan, const char *flag, const char *root, bool is_reg,
                     lx_error *err)
{
    size_t first = scan->dataset->n_folders;
    lx_dir dir = {0};
    level seen = {0};
    int rc;

    scan->about = lx_file_is_dir(root) ? NULL : root;
    if (scan->about)
        return is_reg ? lx_scan__find(
                            scan, LX_FINDING_STOP, "no-folder", err,
                            "%s \"%s\" is no folder: correct the path, or leave the "
                            "flag out to train without regularisation images",
                            flag, root)
                      : lx_scan__find(scan, LX_FINDING_STOP, "no-folder", err,
                                      "%s \"%s\" is no folder", flag, root);
    if ((rc = lx_dir_list(&dir, root, err)) < 0)
        return rc;
    for (size_t i = 0; i < dir.count && rc == LX_OK; i++)
        rc = scan_entry(scan, &seen, root, dir.names[i], is_reg, err);
    lx_dir_free(&dir);
    if (rc == LX_OK)
        rc = explain_level(scan, &seen, flag, root, is_reg, err);
    scan->about = seen.first_ignored;
    if (rc == LX_OK && seen.n_ignored && seen.n_valid)
        rc = lx_scan__find(
            scan, LX_FINDING_WARNING, "ignored-folder", err,
            "%zu folder%s left out for want of a number in front, for example "
            "\"%s\": \"10_%s\" would show each image ten times an epoch",
            seen.n_ignored, seen.n_ignored == 1 ? " is" : "s are", seen.first_ignored,
            lx_path_base(seen.first_ignored));
    scan->about = seen.deep.first;
    if (rc == LX_OK && seen.deep.n_images && seen.n_valid)
        rc = lx_scan__find(
            scan, LX_FINDING_WARNING, "deep-folder", err,
            "%zu image%s in %zu folder%s two levels or more below \"%s\" %s never seen, "
            "for "
            "example in \"%s\": a training looks into the N_NAME folders of \"%s\" alone",
            seen.deep.n_images, seen.deep.n_images == 1 ? "" : "s", seen.deep.n_folders,
            seen.deep.n_folders == 1 ? "" : "s", root,
            seen.deep.n_images == 1 ? "is" : "are", seen.deep.first, root);
    scan->about = NULL;
    for (size_t i = first; i < scan->dataset->n_folders && rc == LX_OK; i++)
        rc = lx_scan__images(scan, i, err);
    return rc;
}

/* ---- subsets of a --dataset_config ---------------------------------------------------------- */

static void take_settings(lx_scan *scan, size_t folder, const lx_subset_config *subset)
{
    scan->folders[folder].part = subset->part;
    if (subset->config)
        scan->folders[folder].config = subset->config;
}

static int scan_metadata(lx_scan *scan, const lx_subset_config *subset, lx_error *err)
{
    lx_dataset *d = scan->dataset;
    char *path = lx_arena_strdup(d->arena, subset->metadata_file);
    const char *dir =
        subset->image_dir ? lx_arena_strdup(d->arena, subset->image_dir) : NULL;
    size_t index = d->n_folders;
    int rc;

    if (!path || (subset->image_dir && !dir))
        return lx_oom(err);
    if ((rc = add_folder(scan, path, lx_path_base(path), subset->repeats, "", false,
                         err)) < 0)
        return rc;
    scan->folders[index].is_metadata = true;
    scan->folders[index].image_dir = dir;
    take_settings(scan, index, subset);
    return lx_scan__metadata(scan, index, err);
}

/* A --dataset_config names its folders one by one. */
static int scan_subset(lx_scan *scan, const lx_subset_config *subset, lx_error *err)
{
    lx_arena *arena = scan->dataset->arena;
    size_t index = scan->dataset->n_folders;
    const char *name;
    char *path;
    int rc;

    if (subset->repeats < 1) {
        scan->about = subset->metadata_file ? subset->metadata_file : subset->image_dir;
        return lx_scan__find(scan, LX_FINDING_WARNING, "no-repeats", err,
                             "\"%s\" is left out: its num_repeats is below 1", scan->about);
    }
    if (subset->metadata_file)
        return scan_metadata(scan, subset, err);
    path = lx_arena_strdup(arena, subset->image_dir);
    if (!path || !(name = last_name(arena, path)))
        return lx_oom(err);
    scan->about = lx_file_is_dir(path) ? NULL : path;
    if (scan->about)
        return lx_scan__find(scan, LX_FINDING_STOP, "no-folder", err,
                             "image_dir \"%s\" is no folder", path);
    if ((rc = add_folder(scan, path, name, subset->repeats,
                         subset->class_tokens ? subset->class_tokens : "", subset->is_reg,
                         err)) < 0)
        return rc;
    take_settings(scan, index, subset);
    return lx_scan__images(scan, index, err);
}

/* The parts with the settings of their first subset: what a part shares stands in all of them. */
static int make_parts(lx_dataset *d, lx_error *err)
{
    const lx_dataset_config *c = &d->config;

    d->n_parts = 1;
    for (size_t i = 0; i < c->n_subsets; i++)
        if ((size_t)c->subsets[i].part >= d->n_parts)
            d->n_parts = (size_t)c->subsets[i].part + 1;
    if (!(d->parts = lx_arena_calloc(d->arena, d->n_parts, sizeof *d->parts)))
        return lx_oom(err);
    d->parts[0].config = c;
    for (size_t i = c->n_subsets; i-- > 0;)
        d->parts[c->subsets[i].part].config =
            c->subsets[i].config ? c->subsets[i].config : c;
    for (size_t i = 0; i < d->n_parts; i++)
        lx_assert(d->parts[i].config);
    return LX_OK;
}

static int check_any(lx_scan *scan, lx_error *err)
{
    const lx_dataset *d = scan->dataset;
    for (size_t i = 0; i < d->n_images; i++)
        if (!scan->images[i].is_reg)
            return LX_OK;
    for (size_t i = 0; i < d->n_findings; i++)
        if (scan->findings[i].kind == LX_FINDING_STOP)
            return LX_OK; /* said already, and better */
    return lx_scan__find(scan, LX_FINDING_STOP, "no-images", err,
                         "no images to train on in \"%s\"",
                         d->config.n_subsets ? d->config.subsets[0].metadata_file
                                                   ? d->config.subsets[0].metadata_file
                                                   : d->config.subsets[0].image_dir
                                             : d->config.train_data_dir);
}

static void *settle(lx_arena *arena, const void *array, size_t n, size_t item)
{
    void *copy = lx_arena_calloc(arena, n, item);
    if (copy && n)
        memcpy(copy, array, n * item);
    return copy;
}

/* ".txt" for "txt"; the peer adds the dot too. */
static const char *with_dot(lx_arena *arena, const char *extension)
{
    return extension[0] == '.' ? extension : lx_arena_printf(arena, ".%s", extension);
}

static bool is_share(double x)
{
    return x >= 0 && x <= 1;
}

static int check_config(const lx_dataset_config *c, lx_error *err)
{
    const struct {
        bool holds;
        const char *text;
    } claims[] = {
        {c->train_data_dir || c->n_subsets,
         "--train_data_dir is missing: the folder above the "
         "folders with images"},
        {c->batch_size >= 1, "--train_batch_size must be at least 1"},
        {c->validation_split >= 0 && c->validation_split < 1,
         "--validation_split must be at least 0 and below 1"},
        {c->keep_tokens >= 0, "--keep_tokens must not be negative"},
        {c->token_warmup_min >= 0 && c->token_warmup_step >= 0,
         "--token_warmup_min and --token_warmup_step must not be negative"},
        {is_share(c->caption_dropout_rate), "--caption_dropout_rate must lie in 0..1"},
        {is_share(c->caption_tag_dropout_rate),
         "--caption_tag_dropout_rate must lie in 0..1"},
        {c->caption_dropout_every_n_epochs >= 0,
         "--caption_dropout_every_n_epochs must not be negative"},
        {!c->cache_latents || !(c->color_aug || c->random_crop),
         "--cache_latents keeps one picture of each image: leave it out, or --color_aug "
         "and "
         "--random_crop"},
        {!c->cache_latents || c->face_crop_aug_range[1] == 0,
         "--cache_latents keeps one picture of each image: leave it out, or "
         "--face_crop_aug_range (which sd-scripts ignores with it)"},
        {!c->enable_bucket || c->face_crop_aug_range[1] == 0,
         "--face_crop_aug_range crops every image to --resolution: leave it out, or "
         "--enable_bucket (with which sd-scripts ignores it)"},
        {!c->train_data_dir || !c->reg_data_dir || c->n_subsets ||
             strcmp(c->train_data_dir, c->reg_data_dir) != 0,
         "--train_data_dir and --reg_data_dir are one folder: images to learn and images "
         "to keep "
         "the class apart are different ones"},
    };

    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++)
        if (!claims[i].holds)
            return lx_fail(err, LX_EUSAGE, "%s", claims[i].text);
    return LX_OK;
}

int lx_dataset_scan(lx_dataset **out, const lx_dataset_config *config, lx_error *err)
{
    lx_dataset *d = lx_calloc(1, sizeof *d);
    lx_scan scan = {.dataset = d};
    int rc = LX_OK;

    if (!d || !(d->arena = lx_arena_new())) {
        lx_free(d);
        return lx_oom(err);
    }
    d->config = *config;
    if (!(d->config.caption_extension = with_dot(d->arena, config->caption_extension)))
        rc = lx_oom(err);
    else if ((rc = make_parts(d, err)) == LX_OK)
        rc = check_config(config, err);
    for (size_t i = 0; i < config->n_subsets && rc == LX_OK; i++)
        if (config->subsets[i].config)
            rc = check_config(config->subsets[i].config, err);
    for (size_t i = 0; i < config->n_subsets && rc == LX_OK; i++)
        rc = scan_subset(&scan, &config->subsets[i], err);
    if (rc == LX_OK && !config->n_subsets)
        rc = scan_root(&scan, "--train_data_dir", config->train_data_dir, false, err);
    if (rc == LX_OK && !config->n_subsets && config->reg_data_dir && *config->reg_data_dir)
        rc = scan_root(&scan, "--reg_data_dir", config->reg_data_dir, true, err);
    if (rc == LX_OK && (rc = lx_scan__report(&scan, err)) == LX_OK)
        rc = check_any(&scan, err);
    if (rc == LX_OK) {
        d->folders = settle(d->arena, scan.folders, d->n_folders, sizeof *d->folders);
        d->images = settle(d->arena, scan.images, d->n_images, sizeof *d->images);
        d->findings = settle(d->arena, scan.findings, d->n_findings, sizeof *d->findings);
        d->finding_capacity = d->n_findings;
        if (!d->folders || !d->images || !d->findings)
            rc = lx_oom(err);
    }
    lx_decoder_free(scan.decoder);
    lx_free(scan.folders);
    lx_free(scan.images);
    lx_free(scan.findings);
    if (rc < 0)
        lx_dataset_free(d);
    else
        *out = d;
    return rc;
}

void lx_dataset_free(lx_dataset *d)
{
    if (!d)
        return;
    lx_arena_free(d->arena);
    lx_free(d);
}

static int code_of(const lx_finding *f)
{
    return strncmp(f->code, "bad-", 4) == 0    ? LX_EFORMAT
           : strcmp(f->code, "no-folder") == 0 ? LX_ENOTFOUND
                                               : LX_ECHECK;
}

int lx_dataset_check(const lx_dataset *d, lx_error *err)
{
    const lx_finding *first = NULL;
    size_t n = 0;

    for (size_t i = 0; i < d->n_findings; i++)
        if (d->findings[i].kind == LX_FINDING_STOP && n++ == 0)
            first = &d->findings[i];
    if (first == NULL)
        return LX_OK;
    if (n == 1)
        return lx_fail(err, code_of(first), "%s", first->text);
    return lx_fail(err, code_of(first),
                   "%s (and %zu more such finding%s: lx plan shows all)", first->text,
                   n - 1, n == 2 ? "" : "s");
}
