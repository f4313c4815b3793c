/* What the buckets make of the images, and what regularisation images come to. */
#include "src/data/check_internal.h"

/* Less is lost to rounding: buckets differ by 64 pixels. */
static const double much_cropped = 0.1;

/* Of the image's own pixels those outside the bucket's part of it. */
static int64_t cropped_of(const lx_image *image, const lx_bucket *b)
{
    const double seen = (double)b->width * b->height /
                        ((double)image->resized_w * (double)image->resized_h);
    const double all = (double)image->width * image->height;

    return (int64_t)(all * (1 - seen) + 0.5);
}

static void tell_crop(lx_checking *k, size_t i, const lx_bucket *b)
{
    const lx_image *image = &k->dataset->images[i];
    const lx_dataset_config *c = lx_dataset_settings(k->dataset, image);
    const double all = (double)image->width * image->height,
                 lost = (double)k->out->images[i].cropped;
    const bool is_wide =
        (int64_t)image->resized_w * b->height > (int64_t)image->resized_h * b->width;

    if (lost <= much_cropped * all)
        return;
    lx_check__find(
        k, LX_SEVERITY_WARNING, "crop", (int64_t)i, image->path,
        c->enable_bucket ? "crop it yourself to what matters, or allow longer buckets "
                           "(--max_bucket_reso)"
                         : "--enable_bucket keeps its shape",
        "%.0f of its %.0f pixels (%.0f %%) are cut off, %s: %d x %d becomes %d x %d, of "
        "which %d x %d is trained",
        lost, all, 100 * lost / all, is_wide ? "left and right" : "above and below",
        image->width, image->height, image->resized_w, image->resized_h, b->width,
        b->height);
}

static void tell_size(lx_checking *k, size_t i)
{
    const lx_image *image = &k->dataset->images[i];
    const double factor = (double)image->resized_w / image->width;

    if (factor <= 1)
        return;
    lx_check__find(
        k, factor > 2 ? LX_SEVERITY_WARNING : LX_SEVERITY_NOTE, "tiny", (int64_t)i,
        image->path,
        factor > 2 ? "find a larger one, leave it out, or train at a lower resolution "
                     "with --bucket_no_upscale"
                   : "nothing, or --bucket_no_upscale",
        "it is enlarged %.3g times, from %d x %d to %d x %d: that it is soft is learned "
        "with it",
        factor, image->width, image->height, image->resized_w, image->resized_h);
}

/* Regularisation images of one part: what they are multiplied to, and those that are never shown. */
static void tell_reg(lx_checking *k, size_t index)
{
    const lx_dataset *d = k->dataset;
    const lx_data_part *part = &d->parts[index];
    size_t n_reg = 0, n_unused = 0, first_unused = 0;
    int least = 0, most = 0;

    for (size_t i = 0; i < d->n_images; i++) {
        const lx_image *image = &d->images[i];
        if (!image->is_reg || (size_t)d->folders[image->folder].part != index)
            continue;
        if (image->repeats == 0) {
            first_unused = n_unused++ ? first_unused : i;
            continue;
        }
        least = n_reg == 0 || image->repeats < least ? image->repeats : least;
        most = image->repeats > most ? image->repeats : most;
        n_reg++;
    }
    if (!n_reg)
        return;
    lx_check__find(k, LX_SEVERITY_NOTE, "reg", LX_CHECK_OF_ALL, NULL,
                   "as many regularisation images as training samples show each once",
                   "%zu training samples and %zu of regularisation an epoch: %zu image%s "
                   "shown %d to "
                   "%d times each, so an epoch is twice as long as without them",
                   part->n_train_samples, part->n_reg_samples, n_reg,
                   n_reg == 1 ? "" : "s", least, most);
    if (n_unused)
        lx_check__find(
            k, LX_SEVERITY_NOTE, "reg-unused", (int64_t)first_unused,
            d->images[first_unused].path,
            "nothing, or raise the repeats of the training folders",
            "%zu regularisation image%s never shown: there are more than training "
            "samples",
            n_unused, n_unused == 1 ? " is" : "s are");
}

int lx_check__plan(lx_checking *k, lx_error *err)
{
    lx_data_check *c = k->out;
    lx_dataset *d = c->dataset;
    const size_t n_findings = d->n_findings;
    lx_error why = {0};
    int rc;

    if (d->n_images == 0)
        return LX_OK;
    if ((rc = lx_dataset_plan(d, &why)) == LX_EUNSUPPORTED) {
        lx_check__find(k, LX_SEVERITY_ERROR, "no-bucket-fits", LX_CHECK_OF_ALL, NULL,
                       "crop, enlarge or remove it", "%s", why.text);
        return LX_OK;
    }
    if (rc < 0)
        return lx_fail_as(err, rc, &why);
    c->is_planned = true;
    for (size_t i = 0; i < d->n_images; i++) {
        const lx_image *image = &d->images[i];
        if (image->repeats == 0 && !image->is_held_out)
            continue;
        c->images[i].cropped = cropped_of(image, &d->buckets[image->bucket]);
        tell_crop(k, i, &d->buckets[image->bucket]);
        tell_size(k, i);
    }
    for (size_t i = 0; i < d->n_parts; i++)
        tell_reg(k, i);
    for (size_t i = n_findings; i < d->n_findings; i++)
        lx_check__scanned(k, &d->findings[i]);
    return LX_OK;
}
