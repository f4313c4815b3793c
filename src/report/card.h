/*
 * report/card - a LoRA as a model site wants it described: the card
 *
 * Plain structs in, Markdown or HTML out. Texts are borrowed, may come from anywhere and
 * are escaped where they are written; NULL, "" and empty lists are left out.
 *
 *     Markdown   with the header of facts that Hugging Face reads; pictures by their name
 *                in samples/
 *     HTML       one page that fetches nothing, pictures inside it
 */
#ifndef LX_REPORT_CARD_H
#define LX_REPORT_CARD_H

#include "src/report/report.h"

typedef struct lx_card {
    const char *title, *author, *license, *description;
    const char *file;       /* the LoRA's name beside the card */
    const char *base;       /* "SD 1.x" */
    const char *base_model; /* the file it was trained on, or NULL */
    const char *kind;       /* "LoRA, rank 8, alpha 4, F16, 9.6 MB" */
    lx_report_texts triggers;
    const char *why; /* what makes them trigger words, one sentence */
    const lx_report_tag *tags;
    size_t n_tags;
    lx_report_pairs settings, data, hashes;
    const lx_report_finding *findings;
    size_t n_findings;
    const lx_report_picture *samples; /* name: of the file in samples/ */
    size_t n_samples;
    lx_report_texts scrubbed; /* what was taken out */
    const char *made;
} lx_card;

/* How much of a file's name goes without the ending of a LoRA's file, as web UIs name it: any other dot is the name's
 * (hifumi-v1.5.safetensors). */
size_t lx_card_stem(const char *file);

int lx_card_markdown(lx_str *out, const lx_card *card, lx_error *err);
int lx_card_html(lx_str *out, const lx_card *card, lx_error *err);

#endif
