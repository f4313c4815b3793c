/* What the scan has to say: one finding for each kind of thing, however many files it is about. */
#include "src/data/scan.h"

#include <stdarg.h>
#include <stdio.h>

/* "1 caption file is", "39 caption files are" */
static const char *is_or_are(size_t n)
{
    return n == 1 ? "is" : "are";
}

/* ---- captions ---------------------------------------------------------------------------- */

/* The ending that most of the unread files have comes first: its remedy helps most. */
static int most_frequent(const lx_tally *tallies)
{
    int best = 0;

    for (int i = 1; i < LX_N_CAPTION_ENDINGS; i++)
        if (tallies[i].n > tallies[best].n)
            best = i;
    return best;
}

static int report_trap(lx_scan *scan, lx_error *err)
{
    const int i = most_frequent(scan->seen.trap);
    const lx_tally *t = &scan->seen.trap[i];
    const char *ending = lx_scan__caption_endings[i];

    if (t->n == 0)
        return LX_OK;
    scan->about = t->example;
    if (scan->dataset->config.allow_untagged)
        return lx_scan__find(scan, LX_FINDING_WARNING, "caption-trap", err,
                             "%zu caption file%s (%s) %s not read, as --allow-untagged allows, for "
                             "example \"%s\": the images are trained on the words of the "
                             "folder's name",
                             t->n, lx_plural(t->n), ending, is_or_are(t->n), t->example);
    return lx_scan__find(scan, LX_FINDING_STOP, "caption-trap", err,
                         "%zu caption file%s (%s) beside the images would not be read, for "
                         "example \"%s\": add --caption_extension %s, or --allow-untagged to "
                         "train on the folder name only",
                         t->n, lx_plural(t->n), ending, t->example, ending);
}

static int report_unread(lx_scan *scan, lx_error *err)
{
    const char *read = scan->dataset->config.caption_extension;
    const lx_tally *doubled = &scan->seen.doubled;
    int rc = LX_OK;

    for (int i = 0; i < LX_N_CAPTION_ENDINGS && rc == LX_OK; i++) {
        const lx_tally *t = &scan->seen.stray[i];
        scan->about = t->example;
        if (t->n > 0)
            rc = lx_scan__find(scan, LX_FINDING_WARNING, "caption-unread", err,
                               "%zu caption file%s (%s) %s not read, for example \"%s\": the "
                               "others end in %s, rename %s",
                               t->n, lx_plural(t->n), lx_scan__caption_endings[i], is_or_are(t->n),
                               t->example, read, t->n == 1 ? "it" : "them");
    }
    scan->about = doubled->example;
    if (rc == LX_OK && doubled->n > 0)
        rc = lx_scan__find(scan, LX_FINDING_WARNING, "caption-unread", err,
                           "%zu caption file%s %s not read, for example \"%s\": rename %s so that "
                           "%s takes the place of the image's own ending",
                           doubled->n, lx_plural(doubled->n), is_or_are(doubled->n),
                           doubled->example, doubled->n == 1 ? "it" : "them", read);
    return rc;
}

static int report_missing(lx_scan *scan, lx_error *err)
{
    const lx_scan_tallies *s = &scan->seen;
    int rc = LX_OK;

    scan->about = s->missing.example;
    if (s->missing.n > 0)
        rc = lx_scan__find(scan, s->n_read > 0 ? LX_FINDING_WARNING : LX_FINDING_NOTE,
                           "no-caption", err,
                           "%zu image%s %s no caption file and %s trained on the words of the "
                           "folder's name, for example \"%s\"",
                           s->missing.n, lx_plural(s->missing.n), s->missing.n == 1 ? "has" : "have",
                           is_or_are(s->missing.n), s->missing.example);
    scan->about = s->wordless.example;
    if (rc == LX_OK && s->wordless.n > 0)
        rc = lx_scan__find(scan, LX_FINDING_WARNING, "no-caption", err,
                           "%zu image%s %s no caption file, %s folder no class tokens, and %s "
                           "trained without words, for example \"%s\"",
                           s->wordless.n, lx_plural(s->wordless.n),
                           s->wordless.n == 1 ? "has" : "have",
                           s->wordless.n == 1 ? "its" : "their", is_or_are(s->wordless.n),
                           s->wordless.example);
    scan->about = s->missing_reg.example;
    if (rc == LX_OK && s->missing_reg.n > 0)
        rc = lx_scan__find(scan, LX_FINDING_NOTE, "no-caption", err,
                           "%zu regularisation image%s %s trained on the words of the folder's "
                           "name",
                           s->missing_reg.n, lx_plural(s->missing_reg.n),
                           is_or_are(s->missing_reg.n));
    return rc;
}

static int report_texts(lx_scan *scan, lx_error *err)
{
    const lx_scan_tallies *s = &scan->seen;
    const struct {
        const lx_tally *tally;
        lx_finding_kind kind;
        const char *code, *what, *with, *then;
    } rows[] = {
        {&s->empty, LX_FINDING_WARNING, "empty-caption", "empty caption file", "",
         "trained without words (delete it to use the words of the folder's name)"},
        {&s->bom, LX_FINDING_NOTE, "bom", "caption", " with a byte order mark",
         "the mark is left out (sd-scripts makes it part of the first tag)"},
        {&s->cr, LX_FINDING_NOTE, "line-ends", "caption", " with Windows line ends",
         "they end a line like any other"},
        {&s->lines, LX_FINDING_WARNING, "lines", "caption", " of more than one line",
         "only the first is read (--enable_wildcard draws one of them each time)"},
        {&s->odd, LX_FINDING_WARNING, "odd-caption", "caption",
         " with control or invisible characters, markup or a formula", "trained as it is"},
    };
    int rc = LX_OK;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && rc == LX_OK; i++) {
        scan->about = rows[i].tally->example;
        if (rows[i].tally->n > 0)
            rc = lx_scan__find(scan, rows[i].kind, rows[i].code, err,
                               "%zu %s%s%s, for example that of \"%s\": %s", rows[i].tally->n,
                               rows[i].what, lx_plural(rows[i].tally->n), rows[i].with,
                               rows[i].tally->example, rows[i].then);
    }
    return rc;
}

/* ---- images ------------------------------------------------------------------------------ */

static int report_images(lx_scan *scan, lx_error *err)
{
    const lx_scan_tallies *s = &scan->seen;
    const char *background = scan->dataset->config.background;
    int rc = LX_OK;

    if (s->alpha.n > 0)
        rc = lx_scan__find(scan, LX_FINDING_WARNING, "alpha", err,
                           "%zu image%s can be transparent, for example \"%s\": what is, is laid on "
                           "%s (--background COLOUR changes that)",
                           s->alpha.n, lx_plural(s->alpha.n), s->alpha.example,
                           background != NULL ? background : "white");
    if (rc == LX_OK && s->palette.n > 0)
        rc = lx_scan__find(scan, LX_FINDING_NOTE, "palette", err,
                           "%zu image%s %s a palette of at most 256 colours, for example \"%s\"",
                           s->palette.n, lx_plural(s->palette.n), s->palette.n == 1 ? "has" : "have",
                           s->palette.example);
    if (rc == LX_OK && s->rotated.n > 0)
        rc = lx_scan__find(
            scan, LX_FINDING_NOTE, "rotated", err,
            "%zu image%s %s turned as %s EXIF orientation says, for example \"%s\" "
            "(sd-scripts trains it as stored, and so does --ignore_exif)",
            s->rotated.n, lx_plural(s->rotated.n), is_or_are(s->rotated.n),
            s->rotated.n == 1 ? "its" : "their", s->rotated.example);
    scan->about = s->faceless.example;
    if (rc == LX_OK && s->faceless.n > 0)
        rc = lx_scan__find(scan, LX_FINDING_WARNING, "no-face", err,
                           "%zu image%s not cropped around a face, for example \"%s\": for "
                           "--face_crop_aug_range names end in _CX_CY_W_H, the face's centre and size "
                           "in pixels",
                           s->faceless.n, s->faceless.n == 1 ? " is" : "s are",
                           s->faceless.example);
    return rc;
}

static int report_left_out(lx_scan *scan, lx_error *err)
{
    const lx_scan_tallies *s = &scan->seen;
    int rc = LX_OK;

    scan->about = s->other_kind.example;
    if (s->other_kind.n > 0)
        rc = lx_scan__find(scan, LX_FINDING_WARNING, "other-kind", err,
                           "%zu file%s left out, for example \"%s\": images are .png .jpg .jpeg "
                           ".webp .bmp, all in lower or all in upper case",
                           s->other_kind.n, s->other_kind.n == 1 ? " is" : "s are",
                           s->other_kind.example);
    scan->about = s->table.example;
    if (rc == LX_OK && s->table.n > 0 && s->missing.n + s->missing_reg.n + s->wordless.n > 0)
        rc = lx_scan__find(scan, LX_FINDING_WARNING, "caption-table", err,
                           "\"%s\" is not read: it looks like the captions of a Hugging Face dataset, "
                           "and a training takes each image's from a text file of its name beside it",
                           s->table.example);
    scan->about = s->nested.first;
    if (rc == LX_OK && s->nested.n_images > 0)
        rc = lx_scan__find(scan, LX_FINDING_WARNING, "nested-folder", err,
                           "%zu image%s in %zu folder%s inside image folders %s never seen, "
                           "for example in \"%s\": a training looks into the folder with the "
                           "number and no deeper",
                           s->nested.n_images, lx_plural(s->nested.n_images),
                           s->nested.n_folders, lx_plural(s->nested.n_folders),
                           is_or_are(s->nested.n_images), s->nested.first);
    return rc;
}

/* What is beyond those told one by one. */
static int report_more(lx_scan *scan, const char *code, const lx_tally *t, const char *what,
                       lx_error *err)
{
    if (t->n <= LX_SCAN_TOLD)
        return LX_OK;
    return lx_scan__find(scan, LX_FINDING_WARNING, code, err, "%zu more %s cannot be read",
                         t->n - LX_SCAN_TOLD, what);
}

int lx_scan__report(lx_scan *scan, lx_error *err)
{
    int rc;

    if ((rc = report_more(scan, "bad-image", &scan->seen.bad_image, "images", err)) < 0 ||
        (rc = report_more(scan, "bad-caption", &scan->seen.bad_caption, "captions", err)) < 0 ||
        (rc = report_trap(scan, err)) < 0 || (rc = report_unread(scan, err)) < 0 ||
        (rc = report_missing(scan, err)) < 0 || (rc = report_texts(scan, err)) < 0 ||
        (rc = report_images(scan, err)) < 0)
        return rc;
    return report_left_out(scan, err);
}
