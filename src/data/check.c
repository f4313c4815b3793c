#include "src/data/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/check_internal.h"
#include "src/data/scan.h"

const char *const lx_severity_names[] = {"error", "warning", "note"};

/* ---- findings ----------------------------------------------------------------------------- */

void lx_check__find(lx_checking *k, lx_severity severity, const char *code, int64_t image,
                    const char *file, const char *remedy, const char *fmt, ...)
{
    lx_data_check *c = k->out;
    char text[1400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (lx_grow(&c->findings, &k->capacity, c->n_findings + 1, sizeof *c->findings) < 0) {
        k->failed = true;
        return;
    }
    c->findings[c->n_findings] =
        (lx_check_finding){.severity = severity,
                           .code = code,
                           .file = file,
                           .text = lx_arena_strdup(c->arena, text),
                           .remedy = remedy,
                           .image = image < 0 ? SIZE_MAX : (size_t)image};
    if (!c->findings[c->n_findings].text)
        k->failed = true;
    else
        c->n_findings++;
}

void lx_check__fixable(lx_checking *k)
{
    if (k->out->n_findings > 0)
        k->out->findings[k->out->n_findings - 1].is_fixable = true;
}

static int by_weight(const void *a, const void *b)
{
    const lx_check_finding *x = a, *y = b;
    int order;

    if (x->severity != y->severity)
        return x->severity < y->severity ? -1 : 1;
    if ((order = strcmp(x->code, y->code)) != 0)
        return order;
    if ((order = strcmp(x->file ? x->file : "", y->file ? y->file : "")) != 0)
        return order;
    return strcmp(x->text, y->text);
}

/* ---- what the scan says ------------------------------------------------------------------- */

/* Told here file by file, and with more to say. */
static bool is_told_here(const char *code)
{
    static const char *const codes[] = {
        "alpha", "palette",     "rotated", "empty-caption", "bom",        "line-ends",
        "lines", "odd-caption", "tiny",    "no-bucket",     "no-caption", "bad-caption"};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(codes[i], code) == 0)
            return true;
    return false;
}

/* The scan's sentences end in what to do; here it is apart, for those that read only that. */
static const char *remedy_of(const lx_finding *f, lx_arena *arena)
{
    static const char *const remedies[][2] = {
        {"bad-image", "mend or remove it, or train with --skip-bad-images"},
        {"bad-metadata", "correct the file"},
        {"bucket-bounds", "nothing to do"},
        {"caption-table", "write each image's text to a .txt of its name beside it"},
        {"caption-unread", "rename them as the others are"},
        {"deep-folder",
         "move it into the folder that is given to the training, with a number in front"},
        {"empty-folder", "remove it, or put its images in"},
        {"folder-name", "rename it"},
        {"ignored-folder", "rename it to N_NAME, N being how often each image is shown"},
        {"nested-folder", "move its images into the folder that has the number in front"},
        {"no-folder", "correct the path"},
        {"no-images", "give the folder above those with images"},
        {"no-mask", "add its mask"},
        {"no-repeats", "rename it to N_NAME with N of at least 1"},
        {"other-kind", "convert them to PNG, or correct the ending"},
        {"too-many-repeats", "rename it to N_NAME with a smaller N"},
        {"wrong-level", "move them, or give the folder that is named"},
    };

    if (strcmp(f->code, "caption-trap") == 0 && f->path)
        return lx_arena_printf(arena, "train with --caption_extension %s",
                               lx_path_ext(f->path));
    for (size_t i = 0; i < sizeof remedies / sizeof *remedies; i++)
        if (strcmp(remedies[i][0], f->code) == 0)
            return remedies[i][1];
    return NULL;
}

void lx_check__scanned(lx_checking *k, const lx_finding *f)
{
    static const lx_severity severities[] = {[LX_FINDING_STOP] = LX_SEVERITY_ERROR,
                                             [LX_FINDING_WARNING] = LX_SEVERITY_WARNING,
                                             [LX_FINDING_NOTE] = LX_SEVERITY_NOTE};

    if (!is_told_here(f->code))
        lx_check__find(k, severities[f->kind], f->code, LX_CHECK_OF_ALL, f->path,
                       remedy_of(f, k->out->arena), "%s", f->text);
}

/* One folder of images was given: what a training would want of it. */
static void check_folder(lx_checking *k)
{
    const lx_dataset_config *c = k->options->data;
    const char *name = k->dataset->n_folders ? k->dataset->folders[0].name : "";
    const char *class_tokens;
    int64_t repeats;

    if (c->train_data_dir || c->has_dataset_config || c->n_subsets != 1 || c->in_json)
        return;
    if (!lx_scan__folder_name(&repeats, &class_tokens, name))
        lx_check__find(
            k, LX_SEVERITY_NOTE, "wrong-level", LX_CHECK_OF_ALL, c->subsets[0].image_dir,
            "name it N_IDENTIFIER CLASS (\"10_iwl 1girl\") and give the folder above",
            "it is a folder of images, looked at as such: as --train_data_dir it would "
            "not "
            "do, for a training wants the folder above it, and a number in front of its "
            "name");
}

/* ---- the scan ----------------------------------------------------------------------------- */

static const lx_finding *find_trap(const lx_dataset *d)
{
    for (size_t i = 0; i < d->n_findings; i++)
        if (strcmp(d->findings[i].code, "caption-trap") == 0 && d->findings[i].path)
            return &d->findings[i];
    return NULL;
}

/* The same data with another ending, in every subset. */
static int with_extension(lx_dataset_config *out, const char *extension, lx_arena *arena,
                          lx_error *err)
{
    lx_subset_config *subsets =
        lx_arena_calloc(arena, out->n_subsets + 1, sizeof *subsets);

    out->caption_extension = extension;
    if (!subsets)
        return lx_oom(err);
    for (size_t i = 0; i < out->n_subsets; i++) {
        lx_dataset_config *own;
        subsets[i] = out->subsets[i];
        if (!subsets[i].config)
            continue;
        if (!(own = lx_arena_alloc(arena, sizeof *own)))
            return lx_oom(err);
        *own = *subsets[i].config;
        own->caption_extension = extension;
        subsets[i].config = own;
    }
    out->subsets = subsets;
    return LX_OK;
}

int lx_dataset_scan_any(lx_dataset **out, lx_finding *trap,
                        const lx_dataset_config *config, lx_arena *arena, lx_error *err)
{
    lx_dataset_config other = *config;
    lx_dataset *d = NULL;
    const lx_finding *found;
    const char *extension;
    lx_finding kept = {0};
    int rc = lx_dataset_scan(&d, config, err);

    *out = NULL;
    if (rc < 0)
        return rc;
    if ((found = find_trap(d))) {
        kept = *found;
        kept.path = lx_arena_strdup(arena, found->path);
        kept.text = lx_arena_strdup(arena, found->text);
        extension = lx_arena_strdup(arena, lx_path_ext(found->path));
        lx_dataset_free(d);
        d = NULL;
        if (!kept.path || !kept.text || !extension)
            rc = lx_oom(err);
        else if ((rc = with_extension(&other, extension, arena, err)) == LX_OK)
            rc = lx_dataset_scan(&d, &other, err);
    }
    if (trap)
        *trap = kept;
    *out = d;
    return rc;
}

static int scan(lx_checking *k, lx_error *err)
{
    lx_data_check *c = k->out;
    lx_dataset_config config = *k->options->data;
    lx_finding trap;
    int rc;

    /* Pixels are looked at later, once and by several threads. */
    config.skip_bad_images = config.check_pixels = false;
    config.cache_latents = true;
    config.color_aug = config.random_crop = false;
    config.face_crop_aug_range[0] = config.face_crop_aug_range[1] = 0;
    if ((rc = lx_dataset_scan_any(&c->dataset, &trap, &config, c->arena, err)) < 0)
        return rc;
    k->dataset = c->dataset;
    c->caption_extension = c->dataset->config.caption_extension;
    if (trap.code)
        lx_check__scanned(k, &trap);
    for (size_t i = 0; i < c->dataset->n_findings; i++)
        lx_check__scanned(k, &c->dataset->findings[i]);
    check_folder(k);
    return LX_OK;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static int check(lx_checking *k, lx_error *err)
{
    lx_data_check *c = k->out;
    int rc;

    if ((rc = scan(k, err)) < 0)
        return rc;
    c->images = lx_calloc(k->dataset->n_images + 1, sizeof *c->images);
    if (!c->images)
        return lx_oom(err);
    if ((rc = lx_tokenizer_new(&k->tokenizer, err)) < 0 ||
        (rc = lx_check__look(k, err)) < 0)
        return rc;
    lx_check__images(k);
    if ((rc = lx_check__duplicates(k, err)) < 0 ||
        (rc = lx_check__captions(k, err)) < 0 || (rc = lx_check__tags(k, err)) < 0 ||
        (rc = lx_check__identifiers(k, err)) < 0 || (rc = lx_check__plan(k, err)) < 0)
        return rc;
    return k->failed ? lx_oom(err) : LX_OK;
}

int lx_data_check_run(lx_data_check **out, const lx_check_options *options, lx_error *err)
{
    lx_checking k = {.options = options};
    lx_data_check *c = lx_calloc(1, sizeof *c);
    int rc;

    *out = NULL;
    if (!c || !(c->arena = lx_arena_new())) {
        lx_free(c);
        return lx_oom(err);
    }
    k.out = c;
    rc = check(&k, err);
    lx_tokenizer_free(k.tokenizer);
    if (rc < 0) {
        lx_data_check_free(c);
        return rc;
    }
    if (c->n_findings)
        qsort(c->findings, c->n_findings, sizeof *c->findings, by_weight);
    for (size_t i = 0; i < c->n_findings; i++)
        c->counts[c->findings[i].severity]++;
    *out = c;
    return LX_OK;
}

void lx_data_check_free(lx_data_check *c)
{
    if (!c)
        return;
    for (size_t i = 0; c->images && i < c->dataset->n_images; i++)
        lx_str_release(&c->images[i].thumbnail);
    lx_free(c->images);
    lx_free(c->findings);
    lx_dataset_free(c->dataset);
    lx_arena_free(c->arena);
    lx_free(c);
}
