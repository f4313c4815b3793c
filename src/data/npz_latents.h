/*
 * data/npz_latents - sd-scripts' cached latents beside the images, read and written
 *
 * STEM_WWWWxHHHH_sd.npz (the image's size as stored, four digits at least; since v0.10), or STEM.npz where
 * that exists (before), with the arrays
 *
 *     latents          [4, h, w]  one draw from the VAE's posterior, not times 0.18215
 *     original_size    [2]        width, height of the image as stored
 *     crop_ltrb        [4]        where the image lies in its bucket; lx_npz_crop
 *     latents_flipped  [4, h, w]  the draw of the mirrored image
 *     alpha_mask       [H, W]     0..1, for --alpha_mask
 *
 * each also with "_HxW" (cells) behind its name, as the caches for other models have them.
 *
 * Such a file says neither of which bytes nor of which VAE it is, and sd-scripts takes one whose latents
 * have another size. Here it is used only if sizes, bucket and shapes are those of this training, all
 * values are finite, and it is not older than its image; not for images whose pixels are others here than
 * there (turned by EXIF, transparent, with a mask file). The first that is used is compared with what this
 * VAE makes of its image (data/loader). A used file's hash is part of the dataset's (lx_image.npz_hash):
 * it determines the result.
 *
 * Source: sd-scripts v0.10.1 library/strategy_base.py, strategy_sd.py, train_util.py (get_crop_ltrb).
 */
#ifndef LX_DATA_NPZ_LATENTS_H
#define LX_DATA_NPZ_LATENTS_H

#include "src/data/dataset.h"
#include "src/image/decode.h"

/* After lx_dataset_plan: fills npz and npz_hash of the images whose file fits, if the settings ask for
 * that (LX_NPZ_READ), with a finding about those that are used and one about those that are not. */
int lx_npz_latents_find(lx_dataset *dataset, lx_error *err);

/*
 * Of an image with a file: latents [4, h, w] as they are stored, and mask [h, w] (NULL: not wanted), the
 * means of the alpha mask, 1 without alpha_mask. LX_ECHECK when the file is no longer what was found.
 */
int lx_npz_latents_read(float *latents, float *mask, const lx_dataset *dataset,
                        const lx_image *image, bool is_mirror, lx_error *err);

/*
 * Writes the file of an image (LX_NPZ_WRITE: unless there is one; LX_NPZ_REPLACE: over one, whose other
 * arrays stay). mirrored may be NULL. *is_written: false for one that was there, and for an image that
 * sd-scripts would not read so (turned by EXIF; the same image in another bucket of another dataset).
 */
int lx_npz_latents_write(bool *is_written, const float *latents, const float *mirrored,
                         lx_decoder *decoder, const lx_dataset *dataset,
                         const lx_image *image, lx_error *err);

/* left, top, right, bottom of an image that is scaled to fit into its bucket. */
void lx_npz_crop(double ltrb[4], int bucket_w, int bucket_h, int image_w, int image_h);

#endif
