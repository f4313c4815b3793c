#include "src/report/sheet.h"

#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/report/html.h"
#include "src/report/page.h"

static const char *badge_of(lx_report_tone tone)
{
    return tone == LX_TONE_BAD    ? "badge bad"
           : tone == LX_TONE_WARN ? "badge warn"
           : tone == LX_TONE_GOOD ? "badge good"
                                  : "badge";
}

/* ---- above -------------------------------------------------------------------------------- */

static void put_tile(lx_html *h, size_t n, const char *text)
{
    lx_html_open(h, "div", NULL);
    lx_html_open(h, "b", NULL);
    lx_html_textf(h, "%zu", n);
    lx_html_close(h);
    lx_html_leaf(h, "span", text, NULL);
    lx_html_close(h);
}

static void put_tiles(lx_html *h, const lx_sheet *s)
{
    size_t n_captions = 0, n_bad = 0, n_warn = 0;

    for (size_t i = 0; i < s->n_images; i++)
        n_captions += s->images[i].caption != NULL;
    for (size_t i = 0; i < s->n_flags; i++) {
        n_bad += s->flags[i].tone == LX_TONE_BAD;
        n_warn += s->flags[i].tone == LX_TONE_WARN;
    }
    lx_html_open(h, "div", "class", "tiles", NULL);
    put_tile(h, s->n_images, s->n_images == 1 ? "image" : "images");
    put_tile(h, n_captions, "with a caption");
    put_tile(h, n_bad, n_bad == 1 ? "error" : "errors");
    put_tile(h, n_warn, n_warn == 1 ? "warning" : "warnings");
    lx_html_close(h);
}

/* What is of no single image. */
static void put_findings(lx_html *h, const lx_sheet *s)
{
    for (size_t i = 0; i < s->n_flags; i++) {
        const lx_sheet_flag *f = &s->flags[i];
        if (f->image != SIZE_MAX)
            continue;
        lx_html_open(h, "div", "class",
                     f->tone == LX_TONE_BAD    ? "finding bad"
                     : f->tone == LX_TONE_WARN ? "finding warn"
                                               : "finding",
                     NULL);
        lx_html_leaf(h, "span", f->code, "class", badge_of(f->tone), NULL);
        lx_html_text(h, " ");
        lx_html_text(h, f->text);
        if (f->remedy)
            lx_html_leaf(h, "div", f->remedy, "class", "note", NULL);
        lx_html_close(h);
    }
}

static void put_option(lx_html *h, const char *value, const char *text)
{
    lx_html_leaf(h, "option", text, "value", value, NULL);
}

static void put_bar(lx_html *h, const lx_sheet *s)
{
    char side[16];

    snprintf(side, sizeof side, "%d", s->side < 180 ? s->side : 180);
    lx_html_open(h, "div", "class", "bar", NULL);
    lx_html_open(h, "select", "aria-label", "which images are shown", NULL);
    put_option(h, "all", "all");
    put_option(h, "flagged", "with warnings");
    put_option(h, "unmarked", "without a mark");
    put_option(h, "keep", "keep");
    put_option(h, "drop", "drop");
    put_option(h, "move", "move");
    lx_html_close(h);
    lx_html_void(h, "input", "type", "search", "placeholder", "name or caption",
                 "aria-label", "search", NULL);
    lx_html_open(h, "label", "class", "size", NULL);
    lx_html_text(h, "size");
    lx_html_void(h, "input", "type", "range", "min", "90", "max", "480", "value", side,
                 NULL);
    lx_html_close(h);
    lx_html_leaf(h, "span", "", "class", "n", NULL);
    lx_html_leaf(h, "button", "save list", "type", "button", NULL);
    lx_html_leaf(h, "button", "copy list", "type", "button", NULL);
    lx_html_leaf(h, "button", "clear marks", "type", "button", NULL);
    lx_html_close(h);
}

static void put_key(lx_html *h, const char *key, const char *what)
{
    lx_html_leaf(h, "kbd", key, NULL);
    lx_html_textf(h, " %s  ", what);
}

static void put_keys(lx_html *h)
{
    lx_html_open(h, "p", "class", "keys", NULL);
    put_key(h, "\xE2\x86\x90 \xE2\x86\x92 \xE2\x86\x91 \xE2\x86\x93", "go");
    put_key(h, "k", "keep");
    put_key(h, "x", "drop");
    put_key(h, "m", "move");
    put_key(h, "u", "no mark");
    lx_html_close(h);
}

static void put_list(lx_html *h, const lx_sheet *s)
{
    lx_html_open(h, "details", "class", "list", NULL);
    lx_html_leaf(h, "summary", "the list, and what to do with it", NULL);
    lx_html_leaf(h, "textarea", "", "readonly", "", "aria-label", "the list", NULL);
    lx_html_leaf(h, "pre", s->command, NULL);
    lx_html_leaf(h, "p",
                 "Without --write it shows what would be moved. Captions and latents go "
                 "with their "
                 "images, nothing is overwritten, and lx data undo takes it back.",
                 "class", "note", NULL);
    lx_html_close(h);
}

/* ---- one image ---------------------------------------------------------------------------- */

static int put_picture(lx_html *h, const lx_sheet_image *image, lx_error *err)
{
    lx_str uri = LX_STR_INIT;
    char width[16], height[16];
    int rc;

    lx_html_open(h, "div", "class", "frame", NULL);
    if (!image->bytes) {
        lx_html_leaf(h, "div", image->problem ? image->problem : "no picture", "class",
                     "missing", NULL);
        lx_html_close(h);
        return LX_OK;
    }
    lx_data_uri(&uri, "image/jpeg", image->bytes, image->n_bytes);
    snprintf(width, sizeof width, "%d", image->width);
    snprintf(height, sizeof height, "%d", image->height);
    if ((rc = lx_str_check(&uri, err)) == LX_OK)
        lx_html_void(h, "img", "src", lx_str_text(&uri), "alt", image->shown, "width",
                     width, "height", height, "loading", "lazy", NULL);
    lx_str_release(&uri);
    lx_html_close(h);
    return rc;
}

/* flags: indices into s->flags, n of them. */
static void put_flags(lx_html *h, const lx_sheet *s, const size_t *flags, size_t n)
{
    if (!n)
        return;
    lx_html_open(h, "div", "class", "flags", NULL);
    for (size_t i = 0; i < n; i++) {
        const lx_sheet_flag *f = &s->flags[flags[i]];
        lx_html_open(h, "details", NULL);
        lx_html_open(h, "summary", NULL);
        lx_html_leaf(h, "span", f->code, "class", badge_of(f->tone), NULL);
        lx_html_close(h);
        lx_html_open(h, "p", NULL);
        lx_html_text(h, f->text);
        if (f->remedy)
            lx_html_textf(h, " \xE2\x86\x92 %s", f->remedy);
        lx_html_close(h);
        lx_html_close(h);
    }
    lx_html_close(h);
}

static void put_marks(lx_html *h)
{
    static const char *const marks[] = {"keep", "drop", "move"};

    lx_html_open(h, "div", "class", "marks", NULL);
    for (size_t i = 0; i < 3; i++)
        lx_html_leaf(h, "button", marks[i], "type", "button", "data-set", marks[i],
                     "tabindex", "-1", NULL);
    lx_html_close(h);
}

static int put_image(lx_html *h, const lx_sheet *s, size_t i, const size_t *flags,
                     size_t n_flags, lx_error *err)
{
    const lx_sheet_image *image = &s->images[i];
    int rc;

    lx_html_open(h, "figure", "tabindex", "0", "data-name", image->name, NULL);
    rc = put_picture(h, image, err);
    lx_html_open(h, "figcaption", NULL);
    if (image->caption)
        lx_html_leaf(h, "div", image->caption, "class", "clip", NULL);
    else
        lx_html_leaf(h, "div",
                     image->words && *image->words ? image->words : "no caption", "class",
                     "none", NULL);
    lx_html_open(h, "div", "class", "name", NULL);
    lx_html_textf(h, "%s%s", image->shown, image->is_reg ? " (regularisation)" : "");
    lx_html_close(h);
    if (image->facts)
        lx_html_leaf(h, "div", image->facts, "class", "name", NULL);
    lx_html_close(h);
    put_flags(h, s, flags, n_flags);
    put_marks(h);
    lx_html_close(h);
    return rc;
}

/* For each image the flags it has: first[i] .. first[i + 1] of order. */
static int group_flags(size_t **first, size_t **order, const lx_sheet *s, lx_error *err)
{
    size_t *at;

    *first = lx_calloc(s->n_images + 2, sizeof **first);
    *order = lx_calloc(s->n_flags + 1, sizeof **order);
    if (!*first || !*order)
        return lx_oom(err);
    for (size_t i = 0; i < s->n_flags; i++)
        if (s->flags[i].image < s->n_images)
            (*first)[s->flags[i].image + 2]++;
    for (size_t i = 2; i < s->n_images + 2; i++)
        (*first)[i] += (*first)[i - 1];
    at = *first +
         1; /* moves each beginning to its end, which is the next one's beginning */
    for (size_t i = 0; i < s->n_flags; i++)
        if (s->flags[i].image < s->n_images)
            (*order)[at[s->flags[i].image]++] = i;
    return LX_OK;
}

static int put_images(lx_html *h, const lx_sheet *s, lx_error *err)
{
    size_t *first, *order;
    int rc = group_flags(&first, &order, s, err);

    lx_html_open(h, "div", "class", "contact", "data-id", s->id, NULL);
    for (size_t i = 0; i < s->n_images && rc == LX_OK; i++)
        rc = put_image(h, s, i, order + first[i], first[i + 1] - first[i], err);
    lx_html_close(h);
    lx_free(first);
    lx_free(order);
    return rc;
}

int lx_sheet_html(lx_str *out, const lx_sheet *s, lx_error *err)
{
    lx_html h;
    int rc;

    lx_html_init(&h, out);
    lx_page_begin_sheet(&h, s->title);
    lx_html_leaf(&h, "h1", s->title, NULL);
    if (s->lead)
        lx_html_leaf(&h, "p", s->lead, "class", "lead", NULL);
    put_tiles(&h, s);
    put_findings(&h, s);
    put_keys(&h);
    put_bar(&h, s);
    put_list(&h, s);
    if ((rc = put_images(&h, s, err)) < 0)
        return rc;
    lx_page_end_sheet(&h, s->made);
    return lx_html_finish(&h, err);
}
