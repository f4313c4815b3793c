/*
 * data/dataset - what will be trained on, before any pixel is read
 *
 * Folders in sd-scripts' convention: train_data_dir/N_class tokens/IMAGE with IMAGE.caption beside
 * it; reg_data_dir likewise. Rules and their sources: docs/guide/dataset.md; peer: sd-scripts
 * library/train_util.py, config_util.py. Goldens: data/.
 *
 * A --dataset_config names its folders one by one instead (subsets), each with its own settings; what
 * shares a size, a batch size and buckets is a part ([[datasets]]), and no batch mixes parts. A subset
 * may be a metadata file instead of caption files (data/metadata_file).
 *
 * With validation_split the last images of each folder, in the order of Python's shuffle by
 * validation_seed, are held out: as many as the peer leaves out of training, and no image is both.
 *
 * Order of use: lx_dataset_scan (names, captions, sizes from headers; findings collected, among
 * them the caption trap), lx_dataset_check (stops with the fix), lx_dataset_plan (reg balancing,
 * buckets, batches), then data/loader.h.
 */
#ifndef LX_DATA_DATASET_H
#define LX_DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/sha256.h"
#include "src/data/face.h"
#include "src/image/resize.h"

/* One folder of images of a --dataset_config; nothing is read from the folder's name. */
typedef struct lx_subset_config {
    const char *image_dir;     /* NULL only where metadata_file names images by whole paths */
    const char *metadata_file; /* captions and tags of images, instead of caption files; NULL = none */
    const char *class_tokens;  /* caption of images without one; NULL = none */
    int repeats;
    bool is_reg;
    int part;                               /* which of [[datasets]], from 0, none left out */
    const struct lx_dataset_config *config; /* its settings; NULL = those of the whole */
} lx_subset_config;

/* What is done with sd-scripts' latents beside the images (data/npz_latents). */
typedef enum lx_npz_use {
    LX_NPZ_OFF,
    LX_NPZ_READ,   /* those that fit stand for what the VAE would make */
    LX_NPZ_WRITE,  /* where there are none; none are read */
    LX_NPZ_REPLACE /* over those that are there too */
} lx_npz_use;

typedef struct lx_dataset_config {
    const char *train_data_dir, *reg_data_dir;
    const char *in_json;           /* as flags name it; it stands among the subsets */
    int dataset_repeats;           /* of subsets that say nothing else */
    const lx_subset_config *subsets; /* n_subsets > 0: instead of the two folders above */
    size_t n_subsets;
    bool has_dataset_config;       /* the subsets are those of a --dataset_config */
    const char *caption_extension; /* ".caption" */
    bool caption_extension_given;
    int width, height;             /* resolution */
    int batch_size;
    bool enable_bucket, bucket_no_upscale;
    int min_bucket_reso, max_bucket_reso, bucket_reso_steps;
    bool shuffle_caption, flip_aug, color_aug, random_crop;
    double face_crop_aug_range[2];     /* data/face; 0, 0 = none */
    bool alpha_mask;                   /* the loss counts by the image's alpha */
    bool masked_loss;                  /* ... or by the red channel of its mask */
    const char *conditioning_data_dir; /* of which folder, by the image's name */
    bool has_masks;                    /* some subset has either: batches bring masks */
    bool ignore_exif;                  /* pixels as stored, whatever EXIF says of them */
    const char *resize_interpolation;  /* its name; NULL = LX_RESIZE_AUTO */
    lx_interpolation resize;           /* of images and masks */
    int keep_tokens;
    const char *caption_separator, *keep_tokens_separator, *secondary_separator;
    const char *caption_prefix, *caption_suffix;
    double caption_dropout_rate, caption_tag_dropout_rate;
    int caption_dropout_every_n_epochs;
    int token_warmup_min;
    double token_warmup_step;
    bool enable_wildcard, weighted_captions;
    bool cache_latents;
    const char *
        latent_cache_dir; /* what the VAE made is kept there (latent_cache); NULL = not */
    lx_npz_use npz_latents;
    double validation_split; /* share of each folder's images that is held out */
    int64_t
        validation_seed; /* of the choice, when it is given; else the training's seed */
    bool validation_seed_given;
    uint64_t seed;                 /* the training's, for that */
    bool allow_untagged;           /* --allow-untagged: go on although captions are not read */
    bool skip_bad_images;          /* --skip-bad-images */
    bool check_pixels;             /* decode every image while scanning; else only with
                                      skip_bad_images, or when latents are not cached */
    const char *background;        /* colour under transparency, "white" */
    /* Names of metadata files are those of another machine, perhaps; NULL = as they stand. The result is the name itself or
     * lives in the arena; NULL = out of memory or none. */
    const char *(*map_path)(const void *maps, const char *name, lx_arena *arena);
    const void *maps;
} lx_dataset_config;

void lx_dataset_config_defaults(lx_dataset_config *config);
/*
 * Takes `dir` for what it is: a folder of images (which lie in it, and no N_name folder does) becomes the
 * one subset, with repeats and class tokens of its own name; anything else train_data_dir. LX_ENOTFOUND.
 */
int lx_dataset_config_dir(lx_dataset_config *config, const char *dir, lx_arena *arena,
                          lx_error *err);

typedef struct lx_image {
    const char *path;      /* as found: dir/name */
    const char *caption;   /* after prefix/suffix rules of reading; never NULL */
    const char *caption_path; /* the file of its caption, even one that cannot be read; NULL = none */
    const char *mask;      /* the file of its mask; NULL = none */
    lx_face face;          /* to crop around, with face_crop_aug_range */
    int orientation;       /* EXIF, as it is applied; 1 = as stored */
    const char *tags;      /* of a metadata file, for the count of tags; NULL = the caption's */
    bool has_caption_file;
    int folder;            /* index in lx_dataset.folders */
    int width, height;     /* as trained: turned where orientation says so */
    int repeats;           /* after reg balancing */
    bool is_reg;
    bool is_held_out; /* by validation_split: never trained, repeats 0 */
    bool has_alpha, is_palette;
    int bucket;            /* index in lx_dataset.buckets, after plan */
    int resized_w, resized_h;
    lx_hash hash;          /* of the file's bytes, filled by lx_dataset_hash */
    lx_hash caption_hash;  /* of the caption text as trained */
    const char *npz;       /* the file its latents are taken from (npz_latents); NULL = none */
    lx_hash npz_hash;      /* of that file's bytes */
    int64_t file_bytes;
} lx_image;

typedef struct lx_folder {
    const char *path, *name; /* "10_iwl 1girl"; of a metadata subset the file */
    const char *image_dir;   /* of a metadata subset; NULL = none given, or no such subset */
    const char *class_tokens;
    int repeats;
    bool is_reg, is_metadata;
    int part;                        /* index in lx_dataset.parts */
    const lx_dataset_config *config; /* of its captions and pictures */
    size_t n_images, n_captions; /* images, and images whose caption file was read */
    size_t n_held_out;           /* after plan; the two above are without them then */
} lx_folder;

/* Images of one size and batch size, with buckets of their own. */
typedef struct lx_data_part {
    const lx_dataset_config *config;      /* of sizes, batches and buckets */
    int min_bucket_reso, max_bucket_reso; /* as they are used, after plan */
    size_t first_bucket, n_buckets;       /* in lx_dataset.buckets */
    size_t n_train_samples, n_reg_samples, n_batches;
    double mean_ar_error;
} lx_data_part;

typedef struct lx_bucket {
    int part;
    int width, height;
    size_t n_images, n_samples; /* distinct, and with repeats */
    double mean_ar_error;
} lx_bucket;

/* A finding of the scan: what the user must or may know. */
typedef enum lx_finding_kind {
    LX_FINDING_NOTE, LX_FINDING_WARNING, LX_FINDING_STOP
} lx_finding_kind;
typedef struct lx_finding {
    lx_finding_kind kind;
    const char *code; /* "caption-trap", "wrong-level", "alpha", "palette", "bad-image", ... */
    const char *text; /* what, where, how to fix */
    const char *path; /* the file or folder it is about, or an example; NULL = none */
} lx_finding;

typedef struct lx_dataset {
    lx_arena *arena;
    lx_dataset_config config;
    lx_folder *folders;
    size_t n_folders;
    lx_image *images;
    size_t n_images;
    lx_data_part *parts; /* one, but for --dataset_config */
    size_t n_parts;
    lx_bucket *buckets; /* part by part */
    size_t n_buckets;
    lx_finding *findings;
    size_t n_findings, finding_capacity;
    size_t n_train_samples, n_reg_samples;  /* with repeats, after balancing */
    size_t n_held_out;                      /* images */
    size_t n_batches;                       /* per epoch */
    double mean_ar_error;                   /* of the first part */
} lx_dataset;

/* Of an image: the folder's settings; of a bucket: images a batch. */
const lx_dataset_config *lx_dataset_settings(const lx_dataset *dataset, const lx_image *image);
size_t lx_dataset_batch_size(const lx_dataset *dataset, const lx_bucket *bucket);
size_t lx_dataset_largest_batch(const lx_dataset *dataset); /* of all parts */

int lx_dataset_scan(lx_dataset **out, const lx_dataset_config *config, lx_error *err);
void lx_dataset_free(lx_dataset *dataset);

/* LX_ECHECK, or LX_EFORMAT for a file that is broken, with the first STOP finding's text (caption
 * trap unless allow_untagged, no images, a corrupt image unless skip_bad_images ...). */
int lx_dataset_check(const lx_dataset *dataset, lx_error *err);
int lx_dataset_plan(lx_dataset *dataset, lx_error *err);
int lx_dataset_hash(lx_dataset *dataset, lx_error *err);

/* Steps: the peer's arithmetic (sd-scripts.md 2.5). */
typedef struct lx_step_count {
    int64_t batches_per_epoch, steps_per_epoch, epochs, total_steps;
} lx_step_count;
lx_step_count lx_dataset_steps(const lx_dataset *dataset, int max_train_steps,
                               int max_train_epochs, int gradient_accumulation_steps);

#endif
