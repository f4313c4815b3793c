/*
 * report/sheet - the images of a dataset to be looked through: one page, keys to mark with, a list that
 * comes out
 *
 * Plain structs in. Texts are borrowed, may come from anywhere and are escaped where they are written.
 * Pictures stand in the page. The list is that of data/marks: `name` is written into it as it is given
 * here.
 */
#ifndef LX_REPORT_SHEET_H
#define LX_REPORT_SHEET_H

#include "src/report/report.h"

/* Something found out about an image or the whole: a word, and the sentence behind it. */
typedef struct lx_sheet_flag {
    lx_report_tone tone;
    const char *code, *text, *remedy; /* remedy may be NULL */
    size_t image;                     /* its index; SIZE_MAX: of all of them */
} lx_sheet_flag;

typedef struct lx_sheet_image {
    const char *name;    /* as the list has it */
    const char *shown;   /* for people */
    const char *caption; /* NULL: it has none of its own */
    const char *words;   /* what it is trained on then */
    const void *bytes;   /* JPEG; NULL: `problem` says why there is none */
    size_t n_bytes;
    int width, height; /* of the JPEG */
    const char *problem;
    const char *facts; /* "512 x 768, 24 tokens, 448 x 640" */
    bool is_reg;
} lx_sheet_image;

typedef struct lx_sheet {
    const char *title, *lead;
    const char *id;      /* under which the browser keeps the marks: letters and digits */
    const char *command; /* what is to be done with the list */
    const lx_sheet_image *images;
    size_t n_images;
    const lx_sheet_flag *flags; /* most severe first */
    size_t n_flags;
    int side; /* pixels of a picture */
    const char *made;
} lx_sheet;

int lx_sheet_html(lx_str *out, const lx_sheet *sheet, lx_error *err);

#endif
