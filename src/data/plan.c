/* From images to buckets, batches and steps: the peer's arithmetic. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/mt19937.h"
#include "src/data/bucket.h"
#include "src/data/dataset.h"
#include "src/data/scan.h"
#include "src/image/header.h"

/* ---- regularisation images --------------------------------------------------------------- */

static int part_of(const lx_dataset *d, const lx_image *image)
{
    return d->folders[image->folder].part;
}

/*
 * In folder order each is registered with its own repeats until their sum reaches the training
 * samples; then they take one more each in turn. One that is never reached is not used.
 * Source: sd-scripts library/train_util.py (DreamBoothDataset).
 */
static void balance_reg(lx_dataset *d, int part)
{
    size_t wanted = 0, got = 0, n_reg = 0;

    for (size_t i = 0; i < d->n_images; i++) {
        if (part_of(d, &d->images[i]) != part)
            continue;
        n_reg += d->images[i].is_reg;
        wanted += d->images[i].is_reg ? 0 : (size_t)d->images[i].repeats;
    }
    if (!n_reg)
        return;
    for (size_t i = 0; i < d->n_images; i++) {
        lx_image *image = &d->images[i];
        if (!image->is_reg || part_of(d, image) != part)
            continue;
        if (got >= wanted)
            image->repeats = 0;
        got += (size_t)image->repeats;
    }
    while (got < wanted)
        for (size_t i = 0; i < d->n_images && got < wanted; i++)
            if (d->images[i].is_reg && part_of(d, &d->images[i]) == part) {
                d->images[i].repeats++;
                got++;
            }
}

/* ---- validation --------------------------------------------------------------------------- */

/*
 * Of n images the first ceil(n (1 - split)) of the shuffled order are trained. Source: sd-scripts
 * library/train_util.py (split_train_val), where without validation_seed the two halves are shuffled
 * apart and may share images; here the training's seed stands for it.
 */
static int hold_out(lx_dataset *d, size_t folder, lx_error *err)
{
    lx_folder *f = &d->folders[folder];
    const lx_dataset_config *c = f->config;
    size_t *order, n = 0, n_trained;

    if (!(c->validation_split > 0) || f->is_reg || !f->n_images)
        return LX_OK;
    if (!(order = lx_calloc(f->n_images, sizeof *order)))
        return lx_oom(err);
    for (size_t i = 0; i < d->n_images; i++)
        if ((size_t)d->images[i].folder == folder)
            order[n++] = i;
    lx_python_shuffle(order, n,
                      c->validation_seed_given ? c->validation_seed : (int64_t)c->seed);
    n_trained = (size_t)ceil((double)n * (1 - c->validation_split));
    for (size_t i = n_trained; i < n; i++) {
        d->images[order[i]].is_held_out = true;
        d->images[order[i]].repeats = 0;
        f->n_captions -= d->images[order[i]].has_caption_file;
    }
    f->n_held_out = n - n_trained;
    f->n_images = n_trained;
    d->n_held_out += f->n_held_out;
    lx_free(order);
    return LX_OK;
}

static int hold_out_all(lx_dataset *d, lx_error *err)
{
    size_t n_trained = 0;
    int rc = LX_OK;

    for (size_t i = 0; i < d->n_folders && rc == LX_OK; i++) {
        rc = hold_out(d, i, err);
        n_trained += d->folders[i].is_reg ? 0 : d->folders[i].n_images;
    }
    if (rc == LX_OK && d->n_held_out && !n_trained)
        rc = lx_fail(err, LX_EUSAGE, "--validation_split leaves no image to train on");
    return rc;
}

/* ---- buckets ----------------------------------------------------------------------------- */

/*
 * The order of additions shows in the last digits that the metadata print: eight sums side by side
 * up to 128 values, halves beyond. Source: NumPy's documentation of sum (pairwise summation).
 */
static double pairwise_sum(const double *x, size_t n)
{
    double sums[8], sum = 0;
    size_t i, half;

    if (n < 8) {
        for (i = 0; i < n; i++)
            sum += x[i];
        return sum;
    }
    if (n > 128) {
        half = n / 2 - n / 2 % 8;
        return pairwise_sum(x, half) + pairwise_sum(x + half, n - half);
    }
    for (i = 0; i < 8; i++)
        sums[i] = x[i];
    for (; i < n - n % 8; i++)
        sums[i % 8] += x[i];
    sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
          ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; i < n; i++)
        sum += x[i];
    return sum;
}

/* Trained, or held out to be looked at. */
static bool is_seen(const lx_image *image)
{
    return image->repeats > 0 || image->is_held_out;
}

/* One whose resized picture the loader can make. */
static int choose(lx_bucket_choice *out, const lx_bucket_set *set, lx_size image, lx_error *err)
{
    int rc = lx_bucket_choose(out, set, image, err);

    if (rc == LX_OK && (out->resized.width > LX_IMAGE_MAX_SIDE || out->resized.height > LX_IMAGE_MAX_SIDE))
        rc = lx_fail(err, LX_EUNSUPPORTED,
                     "%dx%d pixels are too long and thin: covering %dx%d takes %dx%d, and a side is at most %d; crop "
                     "the image",
                     image.width, image.height, out->bucket.width, out->bucket.height, out->resized.width,
                     out->resized.height, (int)LX_IMAGE_MAX_SIDE);
    return rc;
}

static int choose_buckets(lx_size *sizes, lx_dataset *d, int part,
                          const lx_bucket_set *set, lx_error *err)
{
    double *errors = lx_calloc(d->n_images + 1, sizeof *errors);
    size_t n_used = 0;
    int rc = LX_OK;

    if (!errors)
        return lx_oom(err);
    for (size_t i = 0; i < d->n_images; i++) {
        lx_image *image = &d->images[i];
        lx_bucket_choice choice;

        if (!is_seen(image) || part_of(d, image) != part)
            continue;
        rc = choose(&choice, set, (lx_size){image->width, image->height}, err);
        if (rc < 0) {
            lx_within(err, "%s", image->path);
            break;
        }
        sizes[i] = choice.bucket;
        image->resized_w = choice.resized.width;
        image->resized_h = choice.resized.height;
        if (!image->is_held_out)
            errors[n_used++] = fabs(choice.ar_error);
    }
    d->parts[part].mean_ar_error =
        n_used ? pairwise_sum(errors, n_used) / (double)n_used : 0;
    lx_free(errors);
    return rc;
}

static int by_size(const void *a, const void *b)
{
    const lx_bucket *x = a, *y = b;
    return x->width != y->width ? x->width - y->width : x->height - y->height;
}

static lx_bucket *find_bucket(lx_dataset *d, const lx_data_part *part, lx_size size)
{
    lx_bucket *buckets = d->buckets + part->first_bucket;

    for (size_t i = 0; i < part->n_buckets; i++)
        if (buckets[i].width == size.width && buckets[i].height == size.height)
            return &buckets[i];
    return NULL;
}

static void fill_buckets(lx_dataset *d, int index, const lx_size *sizes)
{
    lx_data_part *part = &d->parts[index];
    lx_bucket *buckets = d->buckets + d->n_buckets;

    part->first_bucket = d->n_buckets;
    for (size_t i = 0; i < d->n_images; i++)
        if (is_seen(&d->images[i]) && part_of(d, &d->images[i]) == index &&
            !find_bucket(d, part, sizes[i]))
            buckets[part->n_buckets++] = (lx_bucket){
                .part = index, .width = sizes[i].width, .height = sizes[i].height};
    qsort(buckets, part->n_buckets, sizeof *buckets, by_size);
    d->n_buckets += part->n_buckets;
    for (size_t i = 0; i < d->n_images; i++) {
        lx_image *image = &d->images[i];
        lx_bucket *bucket;
        if (!is_seen(image) || part_of(d, image) != index)
            continue;
        bucket = find_bucket(d, part, sizes[i]);
        image->bucket = (int)(bucket - d->buckets);
        if (image->is_held_out)
            continue;
        bucket->n_images++;
        bucket->n_samples += (size_t)image->repeats;
    }
}

/* The bounds as they are used, and a word where they are not what was asked. */
static int tell_bounds(lx_dataset *d, lx_data_part *part, const lx_bucket_set *set,
                       lx_error *err)
{
    const lx_dataset_config *c = part->config;
    int rc = LX_OK;

    if (set->is_min_adjusted || set->is_max_adjusted)
        rc = lx_dataset__find(
            d, LX_FINDING_NOTE, "bucket-bounds", err,
            "buckets go from %d to %d, not from %d to %d: the bounds must be "
            "multiples of %d",
            set->min, set->max, c->min_bucket_reso, c->max_bucket_reso, set->steps);
    if (rc == LX_OK && c->bucket_no_upscale)
        rc = lx_dataset__find(d, LX_FINDING_NOTE, "bucket-bounds", err,
                              "--bucket_no_upscale makes the buckets from the images: "
                              "--min_bucket_reso and --max_bucket_reso have no effect");
    part->min_bucket_reso = set->min;
    part->max_bucket_reso = set->max;
    return rc;
}

static int make_set(lx_bucket_set *set, lx_dataset *d, lx_data_part *part, lx_error *err)
{
    const lx_dataset_config *c = part->config;
    const lx_size resolution = {c->width, c->height};
    int rc;

    *set = (lx_bucket_set){0};
    if (!c->enable_bucket)
        return lx_bucket_set_init_single(set, resolution, err);
    if (c->bucket_reso_steps % 64 != 0)
        return lx_fail(err, LX_EUSAGE,
                       "--bucket_reso_steps %d: must be a multiple of 64 for SD 1.x",
                       c->bucket_reso_steps);
    rc = lx_bucket_set_init(set, resolution, c->min_bucket_reso, c->max_bucket_reso,
                            c->bucket_reso_steps, c->bucket_no_upscale, err);
    return rc < 0 ? rc : tell_bounds(d, part, set, err);
}

/* Images that grow more than twice, and those that the peer would not take without buckets. */
static int tell_sizes(lx_dataset *d, int part, lx_error *err)
{
    const lx_dataset_config *c = d->parts[part].config;
    const lx_image *tiny = NULL, *other = NULL;
    size_t n_tiny = 0, n_other = 0;
    int rc = LX_OK;

    for (size_t i = 0; i < d->n_images; i++) {
        const lx_image *image = &d->images[i];
        if (!is_seen(image) || part_of(d, image) != part)
            continue;
        if (image->resized_w > 2 * image->width && n_tiny++ == 0)
            tiny = image;
        if ((image->width != c->width || image->height != c->height) && n_other++ == 0)
            other = image;
    }
    if (n_tiny > 0)
        rc = lx_dataset__find(
            d, LX_FINDING_WARNING, "tiny", err,
            "%zu image%s enlarged more than twice and will look soft, for "
            "example \"%s\" from %dx%d to %dx%d",
            n_tiny, n_tiny == 1 ? " is" : "s are", tiny->path, tiny->width, tiny->height,
            tiny->resized_w, tiny->resized_h);
    if (rc == LX_OK && n_other > 0 && !c->enable_bucket)
        rc = lx_dataset__find(
            d, LX_FINDING_WARNING, "no-bucket", err,
            "%zu image%s not %dx%d and cropped to it %s, for example \"%s\" of %dx%d: "
            "--enable_bucket keeps their shape",
            n_other, n_other == 1 ? " is" : "s are", c->width, c->height,
            c->random_crop ? "at random, unscaled where large enough" : "in the middle",
            other->path, other->width, other->height);
    return rc;
}

/* ---- parts ------------------------------------------------------------------------------- */

const lx_dataset_config *lx_dataset_settings(const lx_dataset *d, const lx_image *image)
{
    return d->folders[image->folder].config;
}

size_t lx_dataset_batch_size(const lx_dataset *d, const lx_bucket *bucket)
{
    return (size_t)d->parts[bucket->part].config->batch_size;
}

size_t lx_dataset_largest_batch(const lx_dataset *d)
{
    size_t most = 1;

    for (size_t i = 0; i < d->n_parts; i++)
        if ((size_t)d->parts[i].config->batch_size > most)
            most = (size_t)d->parts[i].config->batch_size;
    return most;
}

static void count_samples(lx_dataset *d, int index)
{
    lx_data_part *part = &d->parts[index];
    const size_t batch = (size_t)part->config->batch_size;

    for (size_t i = 0; i < d->n_images; i++)
        if (part_of(d, &d->images[i]) == index)
            *(d->images[i].is_reg ? &part->n_reg_samples : &part->n_train_samples) +=
                (size_t)d->images[i].repeats;
    for (size_t i = part->first_bucket; i < part->first_bucket + part->n_buckets; i++)
        part->n_batches += (d->buckets[i].n_samples + batch - 1) / batch;
    d->n_train_samples += part->n_train_samples;
    d->n_reg_samples += part->n_reg_samples;
    d->n_batches += part->n_batches;
}

static int plan_part(lx_dataset *d, int index, lx_size *sizes, lx_error *err)
{
    lx_bucket_set set;
    int rc;

    balance_reg(d, index);
    if ((rc = make_set(&set, d, &d->parts[index], err)) == LX_OK &&
        (rc = choose_buckets(sizes, d, index, &set, err)) == LX_OK) {
        fill_buckets(d, index, sizes);
        count_samples(d, index);
        rc = tell_sizes(d, index, err);
    }
    lx_bucket_set_release(&set);
    return rc;
}

int lx_dataset_plan(lx_dataset *d, lx_error *err)
{
    lx_size *sizes = lx_calloc(d->n_images + 1, sizeof *sizes);
    int rc = LX_OK;

    lx_assert(d->n_buckets == 0); /* planned once */
    d->buckets = lx_arena_calloc(d->arena, d->n_images + 1, sizeof *d->buckets);
    if (!sizes || !d->buckets)
        rc = lx_oom(err);
    else
        rc = hold_out_all(d, err);
    for (size_t i = 0; i < d->n_parts && rc == LX_OK; i++)
        rc = plan_part(d, (int)i, sizes, err);
    lx_free(sizes);
    d->mean_ar_error = d->parts[0].mean_ar_error;
    return rc;
}

int lx_dataset_hash(lx_dataset *d, lx_error *err)
{
    int rc;
    for (size_t i = 0; i < d->n_images; i++) {
        lx_image *image = &d->images[i];
        if ((rc = lx_file_hash(&image->hash, image->path, err)) < 0)
            return rc;
        image->caption_hash = lx_sha256_of(image->caption, strlen(image->caption));
    }
    return LX_OK;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

lx_step_count lx_dataset_steps(const lx_dataset *d, int max_train_steps,
                               int max_train_epochs, int gradient_accumulation_steps)
{
    lx_step_count c = {.batches_per_epoch = (int64_t)d->n_batches};
    c.steps_per_epoch = ceil_div(c.batches_per_epoch, gradient_accumulation_steps);
    if (max_train_epochs > 0) {
        c.epochs = max_train_epochs;
        c.total_steps = c.epochs * c.steps_per_epoch;
    } else {
        c.total_steps = max_train_steps;
        c.epochs = c.steps_per_epoch ? ceil_div(c.total_steps, c.steps_per_epoch) : 0;
    }
    return c;
}
