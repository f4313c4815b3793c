#include "src/data/npz_latents.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/str.h"
#include "src/data/pixels.h"
#include "src/data/scan.h"
#include "src/format/npz.h"
#include "src/format/tensor_file.h"

/* A copied or unpacked folder keeps no exact order of its files. */
enum { SLACK_SECONDS = 60 };

static const char *const array_names[] = {"latents", "original_size", "crop_ltrb",
                                          "latents_flipped", "alpha_mask"};
enum { LATENTS, ORIGINAL_SIZE, CROP_LTRB, FLIPPED, ALPHA_MASK, N_ARRAYS };

/* The arrays of a file, as far as they are there. */
typedef struct arrays {
    const lx_tensor_view *of[N_ARRAYS];
} arrays;

/* ---- names ------------------------------------------------------------------------ */

static void put_stem(lx_str *out, const lx_image *image)
{
    lx_str_clear(out);
    lx_str_append(out, image->path,
                  strlen(image->path) - strlen(lx_path_ext(image->path)));
}

static void put_old_name(lx_str *out, const lx_image *image)
{
    put_stem(out, image);
    lx_str_puts(out, ".npz");
}

static void put_name(lx_str *out, const lx_image *image)
{
    put_stem(out, image);
    lx_str_printf(out, "_%04dx%04d_sd.npz", image->width, image->height);
}

/* ---- what fits -------------------------------------------------------------------- */

void lx_npz_crop(double ltrb[4], int bucket_w, int bucket_h, int image_w, int image_h)
{
    const double aspect = (double)image_w / image_h;
    const bool is_wider = (double)bucket_w / bucket_h > aspect;
    const double w = is_wider ? bucket_h * aspect : bucket_w,
                 h = is_wider ? bucket_h : bucket_w / aspect;

    ltrb[0] = floor((bucket_w - w) / 2);
    ltrb[1] = floor((bucket_h - h) / 2);
    ltrb[2] = ltrb[0] + w;
    ltrb[3] = ltrb[1] + h;
}

/* Those of the bucket's size by name, where there are such; else the plain ones. */
static arrays find_arrays(const lx_tensor_file *file, const lx_bucket *b)
{
    char suffix[32] = "", name[64];
    arrays a = {{0}};

    for (int is_plain = 0; is_plain < 2 && !a.of[LATENTS]; is_plain++) {
        if (!is_plain)
            snprintf(suffix, sizeof suffix, "_%dx%d", b->height / 8, b->width / 8);
        for (int i = 0; i < N_ARRAYS; i++) {
            snprintf(name, sizeof name, "%s%s", array_names[i], is_plain ? "" : suffix);
            a.of[i] = lx_tensor_file_find(file, name);
        }
    }
    return a;
}

static int wrong(lx_error *err, const char *text)
{
    return lx_fail(err, LX_EMISMATCH, "%s", text);
}

static bool is_finite(const lx_tensor_view *view)
{
    const unsigned char *at = view->data;
    const size_t each = (size_t)lx_dtype_bits(view->dtype) / 8;

    for (size_t i = 0; i < view->n_elements; i++, at += each) {
        float x;
        lx_to_f32(&x, at, view->dtype, 1);
        if (!isfinite(x))
            return false;
    }
    return true;
}

static bool is_real(const lx_tensor_view *view)
{
    return view->dtype == LX_F32 || view->dtype == LX_F16 || view->dtype == LX_F64;
}

static int check_latents(const lx_tensor_view *view, const lx_bucket *b, const char *name,
                         lx_error *err)
{
    if (!is_real(view) || view->n_dims != 3 || view->shape[0] != 4)
        return lx_fail(err, LX_EMISMATCH, "its %s are not those of Stable Diffusion 1",
                       name);
    if (view->shape[1] != b->height / 8 || view->shape[2] != b->width / 8)
        return lx_fail(err, LX_EMISMATCH,
                       "its %s are %lldx%lld, those of the bucket %dx%d are %dx%d", name,
                       (long long)view->shape[2], (long long)view->shape[1], b->width,
                       b->height, b->width / 8, b->height / 8);
    return is_finite(view)
               ? LX_OK
               : lx_fail(err, LX_EMISMATCH, "its %s are not all numbers", name);
}

/* n numbers as f64, whatever their type; false when they are not that. */
static bool take_numbers(double *out, const lx_tensor_view *view, size_t n)
{
    return view && view->n_elements == n &&
           lx_to_f64(out, view->data, view->dtype, n) == LX_OK;
}

static int check_sizes(const arrays *a, const lx_bucket *b, const lx_image *image,
                       lx_error *err)
{
    double size[2], found[4], wanted[4];

    if (!take_numbers(size, a->of[ORIGINAL_SIZE], 2))
        return wrong(err, "it does not say of which size its image was");
    if (size[0] != image->width || size[1] != image->height)
        return lx_fail(err, LX_EMISMATCH, "its image was %.0fx%.0f and is %dx%d", size[0],
                       size[1], image->width, image->height);
    if (!take_numbers(found, a->of[CROP_LTRB], 4))
        return wrong(err, "it does not say how its image was cropped");
    lx_npz_crop(wanted, b->width, b->height, image->width, image->height);
    for (int i = 0; i < 4; i++)
        if (!(fabs(found[i] - wanted[i]) < 1))
            return wrong(err, "its image was cropped otherwise");
    return LX_OK;
}

static int check_mask(const lx_tensor_view *view, const lx_bucket *b, lx_error *err)
{
    if (!view)
        return wrong(err, "it has no alpha_mask, which --alpha_mask needs");
    if (!is_real(view) || view->n_dims != 2 || view->shape[0] != b->height ||
        view->shape[1] != b->width || !is_finite(view))
        return wrong(err, "its alpha_mask is not one of the bucket");
    return LX_OK;
}

/* LX_EMISMATCH with the reason, as it follows the file's name. */
static int check_arrays(const arrays *a, const lx_dataset *d, const lx_image *image,
                        lx_error *err)
{
    const lx_dataset_config *c = lx_dataset_settings(d, image);
    const lx_bucket *b = &d->buckets[image->bucket];
    int rc;

    if (!a->of[LATENTS])
        return wrong(err, "it has no latents");
    if ((rc = check_latents(a->of[LATENTS], b, "latents", err)) < 0 ||
        (rc = check_sizes(a, b, image, err)) < 0)
        return rc;
    if (c->flip_aug && !a->of[FLIPPED])
        return wrong(err, "it has no latents_flipped, which --flip_aug needs");
    if (c->flip_aug &&
        (rc = check_latents(a->of[FLIPPED], b, "latents_flipped", err)) < 0)
        return rc;
    return c->alpha_mask ? check_mask(a->of[ALPHA_MASK], b, err) : LX_OK;
}

/* Of the image, whatever the file has. */
static int check_image(const lx_dataset *d, const lx_image *image, lx_error *err)
{
    if (image->orientation > 1)
        return wrong(err,
                     "its image is turned as EXIF says, which sd-scripts does not do");
    if (image->mask)
        return wrong(err, "its image has a mask file and is read for that anyway");
    if (image->has_alpha && !lx_dataset_settings(d, image)->alpha_mask)
        return wrong(err,
                     "its image is transparent, and sd-scripts lays it on no background");
    return LX_OK;
}

static int check_age(const struct stat *file, const char *image, lx_error *err)
{
    struct stat of;

    if (lx_io_get()->stat(image, &of) < 0)
        return lx_fail_errno(err, errno, "%s", image);
    return file->st_mtime + SLACK_SECONDS < of.st_mtime
               ? wrong(err, "it is older than its image")
               : LX_OK;
}

/* ---- looking for them ------------------------------------------------------------- */

/* What there is to say in the end. */
typedef struct search {
    lx_dataset *dataset;
    size_t n_used, n_unused;
    const char *used;   /* an example, in the dataset's arena */
    const char *unused; /* an example, and why not */
    lx_str path;
} search;

/* LX_OK: the file at s->path fits, and *hash is its. LX_ENOTFOUND, LX_ENOMEM, or why it does not. */
static int try_file(lx_hash *hash, search *s, const lx_image *image, lx_error *err)
{
    lx_tensor_file *file = NULL;
    struct stat of;
    arrays a;
    int rc = lx_str_check(&s->path, err);

    if (rc < 0)
        return rc;
    if (lx_io_get()->stat(s->path.data, &of) < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG
                   ? LX_ENOTFOUND
                   : lx_fail_errno(err, errno, "%s", s->path.data);
    if ((rc = check_image(s->dataset, image, err)) < 0 ||
        (rc = check_age(&of, image->path, err)) < 0 ||
        (rc = lx_tensor_file_open(&file, s->path.data, err)) < 0)
        return rc;
    a = find_arrays(file, &s->dataset->buckets[image->bucket]);
    if ((rc = check_arrays(&a, s->dataset, image, err)) == LX_OK)
        *hash = lx_tensor_file_hash(file);
    lx_tensor_file_close(file);
    return rc;
}

static int note_unused(search *s, const lx_error *why, lx_error *err)
{
    if (s->n_unused++ == 0 &&
        !(s->unused = lx_arena_printf(s->dataset->arena, "\"%s\": %.600s", s->path.data,
                                      why->text)))
        return lx_oom(err);
    return LX_OK;
}

/* The older name first, as sd-scripts looks for them. */
static int search_image(search *s, lx_image *image, lx_error *err)
{
    for (int i = 0; i < 2; i++) {
        lx_error why = {0};
        int rc;
        (i == 0 ? put_old_name : put_name)(&s->path, image);
        rc = try_file(&image->npz_hash, s, image, &why);
        if (rc == LX_ENOTFOUND)
            continue;
        if (rc == LX_ENOMEM)
            return lx_oom(err);
        if (rc == LX_OK) {
            if (!(image->npz = lx_arena_strdup(s->dataset->arena, s->path.data)))
                return lx_oom(err);
            if (s->n_used++ == 0)
                s->used = image->npz;
            return LX_OK;
        }
        if ((rc = note_unused(s, &why, err)) < 0)
            return rc;
    }
    return LX_OK;
}

static int report(const search *s, lx_error *err)
{
    int rc = LX_OK;

    if (s->n_used)
        rc = lx_dataset__find(
            s->dataset, LX_FINDING_NOTE, "npz-latents", err,
            "latents of %zu image%s are taken from sd-scripts' file%s beside "
            "%s, for example \"%s\" (--latents_npz off encodes the images)",
            s->n_used, s->n_used == 1 ? "" : "s", s->n_used == 1 ? "" : "s",
            s->n_used == 1 ? "it" : "them", s->used);
    if (rc == LX_OK && s->n_unused)
        rc = lx_dataset__find(
            s->dataset, LX_FINDING_WARNING, "npz-latents", err,
            "%zu .npz file%s of latents %s not used and the image%s encoded, for "
            "example %s",
            s->n_unused, s->n_unused == 1 ? "" : "s", s->n_unused == 1 ? "is" : "are",
            s->n_unused == 1 ? "" : "s", s->unused);
    return rc;
}

int lx_npz_latents_find(lx_dataset *d, lx_error *err)
{
    search s = {.dataset = d, .path = LX_STR_INIT};
    int rc = LX_OK;

    if (!d->config.cache_latents || d->config.npz_latents != LX_NPZ_READ)
        return LX_OK;
    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++)
        if (d->images[i].repeats > 0)
            rc = search_image(&s, &d->images[i], err);
    if (rc == LX_OK)
        rc = report(&s, err);
    lx_str_release(&s.path);
    return rc;
}

/* ---- reading ---------------------------------------------------------------------- */

/* Means over 8 x 8 pixels, mirrored like the latents. */
static void shrink_mask(float *mask, const lx_tensor_view *view, bool is_mirror)
{
    const int w = (int)view->shape[1] / 8, h = (int)view->shape[0] / 8;
    const size_t each = (size_t)lx_dtype_bits(view->dtype) / 8;

    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            double sum = 0;
            for (int k = 0; k < 64; k++) {
                const size_t at = (size_t)(8 * y + k / 8) * (size_t)view->shape[1] +
                                  (size_t)(8 * x + k % 8);
                float alpha;
                lx_to_f32(&alpha, (const unsigned char *)view->data + at * each,
                          view->dtype, 1);
                sum += (double)alpha;
            }
            mask[y * w + (is_mirror ? w - 1 - x : x)] = (float)(sum / 64);
        }
}

static int fill(float *latents, float *mask, const arrays *a, const lx_dataset *d,
                const lx_image *image, bool is_mirror, lx_error *err)
{
    const lx_bucket *b = &d->buckets[image->bucket];
    const size_t cells = (size_t)(b->width / 8) * (size_t)(b->height / 8);
    const lx_tensor_view *view = a->of[is_mirror ? FLIPPED : LATENTS];
    int rc = check_arrays(a, d, image, err);

    if (rc == LX_OK && lx_to_f32(latents, view->data, view->dtype, 4 * cells) < 0)
        rc = wrong(err, "its latents are of a type that is not read");
    if (rc < 0 || !mask)
        return rc;
    if (lx_dataset_settings(d, image)->alpha_mask)
        shrink_mask(mask, a->of[ALPHA_MASK], is_mirror);
    else
        for (size_t i = 0; i < cells; i++)
            mask[i] = 1;
    return LX_OK;
}

int lx_npz_latents_read(float *latents, float *mask, const lx_dataset *d,
                        const lx_image *image, bool is_mirror, lx_error *err)
{
    lx_tensor_file *file = NULL;
    lx_error why = {0};
    lx_hash hash;
    int rc = lx_tensor_file_open(&file, image->npz, &why);

    if (rc == LX_OK) {
        arrays a = find_arrays(file, &d->buckets[image->bucket]);
        hash = lx_tensor_file_hash(file);
        rc = lx_hash_equal(&hash, &image->npz_hash)
                 ? fill(latents, mask, &a, d, image, is_mirror, &why)
                 : wrong(&why, "it has other bytes than when the run began");
    }
    lx_tensor_file_close(file);
    if (rc == LX_ENOMEM)
        return lx_oom(err);
    return rc < 0 ? lx_fail(err, LX_ECHECK, "%s: %.1000s", image->npz, why.text) : LX_OK;
}

/* ---- writing ---------------------------------------------------------------------- */

/* What goes into a file, and the memory of what is made for it. */
typedef struct parcel {
    lx_tensor_view *views;
    size_t n, capacity;
    double crop[4];
    int64_t size[2];
    float *mask;
    lx_tensor_file *old; /* whose other arrays stay */
} parcel;

static int put_array(parcel *p, const char *name, lx_dtype dtype, int n_dims,
                     const int64_t *shape, const void *data, lx_error *err)
{
    lx_tensor_view *v;

    if (lx_grow(&p->views, &p->capacity, p->n + 1, sizeof *p->views) < 0)
        return lx_oom(err);
    v = &p->views[p->n++];
    *v = (lx_tensor_view){.name = name, .dtype = dtype, .n_dims = n_dims, .data = data};
    v->n_elements = 1;
    for (int i = 0; i < n_dims; i++) {
        v->shape[i] = shape[i];
        v->n_elements *= (size_t)shape[i];
    }
    v->bytes = v->n_elements * (size_t)lx_dtype_bits(dtype) / 8;
    return LX_OK;
}

static int put_mask(parcel *p, lx_decoder *decoder, const lx_dataset *d,
                    const lx_image *image, lx_error *err)
{
    const lx_bucket *b = &d->buckets[image->bucket];
    const int64_t shape[2] = {b->height, b->width};
    const size_t n = (size_t)b->height * (size_t)b->width;
    int rc;

    if (!lx_dataset_settings(d, image)->alpha_mask)
        return LX_OK;
    if (!(p->mask = lx_calloc(n, sizeof *p->mask)))
        return lx_oom(err);
    rc = lx_image_alpha(p->mask, decoder, d, image, err);
    return rc < 0 ? rc
                  : put_array(p, array_names[ALPHA_MASK], LX_F32, 2, shape, p->mask, err);
}

/* The arrays of the file that is there, but for those that are new; none of one that cannot be read. */
static int keep_others(parcel *p, const char *path, lx_error *err)
{
    const size_t n_new = p->n;
    lx_error why = {0};
    int rc = lx_tensor_file_open(&p->old, path, &why);

    if (rc < 0)
        return rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
    for (size_t i = 0; rc == LX_OK && i < lx_tensor_file_count(p->old); i++) {
        const lx_tensor_view *view = lx_tensor_file_at(p->old, i);
        bool is_new = false;
        for (size_t k = 0; k < n_new; k++)
            is_new = is_new || strcmp(p->views[k].name, view->name) == 0;
        /* Those of the other mirror or mask belong to other latents. */
        for (int k = 0; k < N_ARRAYS; k++)
            is_new = is_new || strcmp(array_names[k], view->name) == 0;
        if (!is_new)
            rc = put_array(p, view->name, view->dtype, view->n_dims, view->shape,
                           view->data, err);
    }
    return rc;
}

static int pack(parcel *p, const float *latents, const float *mirrored,
                lx_decoder *decoder, const lx_dataset *d, const lx_image *image,
                lx_error *err)
{
    const lx_bucket *b = &d->buckets[image->bucket];
    const int64_t shape[3] = {4, b->height / 8, b->width / 8}, two = 2, four = 4;
    int rc;

    lx_npz_crop(p->crop, b->width, b->height, image->width, image->height);
    p->size[0] = image->width;
    p->size[1] = image->height;
    if ((rc = put_array(p, array_names[LATENTS], LX_F32, 3, shape, latents, err)) < 0 ||
        (rc = put_array(p, array_names[ORIGINAL_SIZE], LX_I64, 1, &two, p->size, err)) <
            0 ||
        (rc = put_array(p, array_names[CROP_LTRB], LX_F64, 1, &four, p->crop, err)) < 0 ||
        (mirrored &&
         (rc = put_array(p, array_names[FLIPPED], LX_F32, 3, shape, mirrored, err)) < 0))
        return rc;
    return put_mask(p, decoder, d, image, err);
}

/* Is there an earlier image of the same file whose latents have another size? One file holds one. */
static bool is_taken(const lx_dataset *d, const lx_image *image)
{
    for (const lx_image *other = d->images; d->n_parts > 1 && other < image; other++)
        if (other->repeats > 0 && strcmp(other->path, image->path) == 0)
            return true;
    return false;
}

int lx_npz_latents_write(bool *is_written, const float *latents, const float *mirrored,
                         lx_decoder *decoder, const lx_dataset *d, const lx_image *image,
                         lx_error *err)
{
    lx_str path = LX_STR_INIT;
    parcel p = {0};
    bool is_there;
    int rc = LX_OK;

    *is_written = false;
    if (image->orientation > 1 || is_taken(d, image))
        return LX_OK;
    put_old_name(&path, image);
    is_there = !path.failed && lx_file_exists(path.data);
    if (!is_there) {
        put_name(&path, image);
        is_there = !path.failed && lx_file_exists(path.data);
    }
    if ((rc = lx_str_check(&path, err)) < 0 ||
        (is_there && d->config.npz_latents != LX_NPZ_REPLACE))
        goto done;
    if ((rc = pack(&p, latents, mirrored, decoder, d, image, err)) == LX_OK && is_there)
        rc = keep_others(&p, path.data, err);
    if (rc == LX_OK && (rc = lx_npz_write(path.data, p.views, p.n, err)) == LX_OK)
        *is_written = true;
    if (rc < 0)
        lx_within(err, "--latents_npz: %s", lx_str_text(&path));
done:
    lx_tensor_file_close(p.old);
    lx_free(p.views);
    lx_free(p.mask);
    lx_str_release(&path);
    return rc;
}
