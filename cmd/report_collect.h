/*
 * cmd/report_collect - a run of the store as the plain structs of src/report
 *
 * Everything that goes into a report passes the privacy filter first: all texts of all
 * runs are learned (lx_report_learn), then each is scrubbed as it is taken.
 */
#ifndef LX_CMD_REPORT_COLLECT_H
#define LX_CMD_REPORT_COLLECT_H

#include "src/image/decode.h"
#include "src/report/report.h"
#include "store/privacy.h"
#include "store/query.h"

typedef struct lx_report_options {
    size_t n_images; /* of the contact sheet, at most; 0 = none */
    size_t n_tags;
    size_t n_samples; /* the last ones */
    size_t most_text; /* bytes of any one text that are shown; 0 = all */
    const char *link; /* pictures are named by their address below this one,
                         LINK/image/SHA256 and LINK/sample/SHA256, and not read; NULL =
                         they are read */
} lx_report_options;

typedef struct lx_collector {
    lx_store *store;
    lx_arena *arena; /* what the report borrows */
    lx_privacy *privacy;
    lx_decoder *decoder; /* of this thread's */
    lx_report_options options;
    /* Called before something slow, for progress; may be NULL. */
    void (*tell)(void *context, const char *what, size_t done, size_t total);
    void *context;
    bool is_out_of_memory; /* some text is missing for want of it: an error at the end */
} lx_collector;

/* A run and its texts as they are in the store. */
typedef struct lx_collected {
    lx_run_row row;
    lx_run_texts texts;
    lx_remark_row *remarks;
    size_t n_remarks;
} lx_collected;

/* Scrubbed, and cut to most_text. NULL stays NULL; "" without memory. */
const char *lx_report_text(lx_collector *c, const char *text);

int lx_report_find(lx_collected *out, lx_collector *c, const char *name, lx_error *err);
void lx_report_learn(lx_collector *c, const lx_collected *run);
int lx_report_collect(lx_report_run *out, lx_collector *c, const lx_collected *run,
                      lx_error *err);
/* Is the curve among those of a report? */
bool lx_report_shows(const char *curve);

/* Settings in which the runs differ, names and places left out. */
int lx_report_compare(lx_report *report, lx_collector *c, lx_error *err);

/* ---- the parts, one file each ------------------------------------------------------ */

/* A folder as the run's flags name it, from where the run was: in the arena, unscrubbed;
 * NULL = not known. */
int lx_report_data_dir(const char **out, lx_collector *c, int64_t run, const char *named,
                       lx_error *err);
/* Folders, tags, contact sheet: cmd/report_data.c. data_dir, reg_dir: as above. */
int lx_report_collect_data(lx_report_run *out, lx_collector *c, const char *dataset,
                           const char *data_dir, const char *reg_dir, lx_error *err);
/* An image of a dataset as a JPEG, as long as the file still is what was trained on;
 * `missing` says what is wrong. */
int lx_report_image(lx_report_picture *out, lx_collector *c, const char *data_dir,
                    const char *folder, const char *name, const char *sha256, int side,
                    lx_error *err);
/* Samples and LoRA files: cmd/report_files.c. */
int lx_report_collect_files(lx_report_run *out, lx_collector *c, const lx_run_row *run,
                            lx_error *err);
/* The last options.n_samples of them, oldest first. */
int lx_report_samples(lx_report_picture **out, size_t *n_out, lx_collector *c,
                      const lx_artifact_row *rows, size_t n, lx_error *err);

/* A picture of a file, or of bytes when path is NULL, at most `side` pixels wide or high,
 * as a JPEG in the arena. What is wrong with it is said in `missing`, not returned; only
 * LX_ENOMEM is. */
int lx_report_picture_of(lx_report_picture *out, lx_collector *c, const char *path,
                         const void *bytes, size_t n, int side, lx_error *err);

/* Bytes as a file that can be opened by name while *fd is open, without touching a disk.
 */
int lx_memory_file(int *fd, char path[64], const void *bytes, size_t n, lx_error *err);

#endif
