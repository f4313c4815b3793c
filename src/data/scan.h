/* data/scan - what the files of src/data share while a dataset is being made */
#ifndef LX_DATA_SCAN_H
#define LX_DATA_SCAN_H

#include "src/base/str.h"
#include "src/data/dataset.h"

/* What people name caption files. */
enum { LX_N_CAPTION_ENDINGS = 5 };
extern const char *const lx_scan__caption_endings[LX_N_CAPTION_ENDINGS];

/* Of a kind of trouble with single files so many are told one by one; the rest is counted. */
enum { LX_SCAN_TOLD = 20 };

/* How often something was seen, and where first; for one finding about many files. */
typedef struct lx_tally {
    size_t n;
    const char *example; /* in the arena */
} lx_tally;

/* Images in the folders below one, at any depth: no training looks there. */
typedef struct lx_below {
    size_t n_folders, n_images; /* folders: those that hold any */
    const char *first;          /* of them, in the arena */
} lx_below;

/* What the images of all folders have in common to be said of them. */
typedef struct lx_scan_tallies {
    /* By ending, caption files that no flag reads: in folders where they are the rule (the trap),
     * and where they are the exception. */
    lx_tally trap[LX_N_CAPTION_ENDINGS], stray[LX_N_CAPTION_ENDINGS];
    lx_tally doubled; /* a.png.txt */
    lx_tally missing, missing_reg, wordless; /* wordless: no class tokens either */
    lx_tally empty, bom, cr, lines, odd, bad_caption;
    lx_tally alpha, palette, rotated, bad_image;
    lx_tally faceless;   /* to be cropped around a face that their names do not give */
    lx_tally other_kind; /* a.gif, a.Png */
    lx_tally table;      /* metadata.jsonl and the like, beside images */
    lx_below nested;     /* inside image folders */
    size_t n_read;
} lx_scan_tallies;

/* Grows with lx_grow; moved into the dataset's arena when complete. */
typedef struct lx_scan {
    lx_dataset *dataset;
    lx_folder *folders;
    lx_image *images;
    lx_finding *findings;
    size_t folder_capacity, image_capacity, finding_capacity;
    lx_scan_tallies seen;
    struct lx_decoder *decoder; /* where pixels are checked too; starting one takes long */
    const char *about; /* path of the next finding, in the arena; it is taken once */
} lx_scan;

/* Text is copied; scan->about becomes the finding's path. */
int lx_scan__find(lx_scan *scan, lx_finding_kind kind, const char *code, lx_error *err,
                  const char *fmt, ...) LX_PRINTF(5, 6);

/* Repeats and class tokens of "10_iwl 1girl": false when it has no number in front. */
bool lx_scan__folder_name(int64_t *repeats, const char **class_tokens, const char *name);
bool lx_scan__is_image_name(const char *name);

/* Reads one folder of images with their captions; what is odd is counted in scan->seen. */
int lx_scan__images(lx_scan *scan, size_t folder, lx_error *err);
/* Adds what is below the folder. Hidden names are passed over, and so are folders that cannot be read. */
int lx_scan__look_below(lx_below *out, lx_arena *arena, const char *folder,
                        lx_error *err);
/* The same from a metadata file. */
int lx_scan__metadata(lx_scan *scan, size_t folder, lx_error *err);
/* The findings about all that was counted. */
int lx_scan__report(lx_scan *scan, lx_error *err);

/* A finding of a dataset whose scan is over. */
int lx_dataset__find(lx_dataset *dataset, lx_finding_kind kind, const char *code,
                     lx_error *err, const char *fmt, ...) LX_PRINTF(5, 6);

#endif
