#include "cmd/inspect_html.h"

#include <string.h>

#include "cmd/settings.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/report/page.h"
#include "store/privacy.h"

const char lx_inspect_html_fields[] =
    "file,what,base,rank,alpha,size,captions,proof,steps,images,top,problem";

typedef struct sheet {
    lx_html h;
    lx_cli *cli;
    lx_privacy *privacy;
    const lx_inspect_table *table;
    const int *columns; /* of lx_inspect_html_fields */
    size_t n_columns;
} sheet;

static const char *text_of(sheet *s, size_t row, const char *title)
{
    for (size_t c = 0; c < s->n_columns; c++)
        if (strcmp(lx_inspect_table_title(s->table, s->columns[c]), title) == 0)
            return lx_privacy_text(
                s->privacy,
                lx_inspect_table_text(s->table, row, s->columns[c], false, s->cli->arena),
                s->cli->arena);
    return NULL;
}

static void put_tile(sheet *s, size_t n, const char *text)
{
    if (!n)
        return;
    lx_html_open(&s->h, "div", NULL);
    lx_html_open(&s->h, "b", NULL);
    lx_html_textf(&s->h, "%zu", n);
    lx_html_close(&s->h);
    lx_html_leaf(&s->h, "span", text, NULL);
    lx_html_close(&s->h);
}

static void put_tiles(sheet *s)
{
    lx_inspect_census c;

    lx_inspect_table_census(&c, s->table);
    lx_html_open(&s->h, "div", "class", "tiles", NULL);
    put_tile(s, c.n_files, "files");
    put_tile(s, c.n_loras, "LoRAs");
    put_tile(s, c.n_read, "captions read");
    put_tile(s, c.n_unread, "captions not read");
    put_tile(s, c.n_partly, "captions read in part");
    put_tile(s, c.n_silent, "captions cannot be told");
    put_tile(s, c.n_broken, "cannot be read");
    lx_html_close(&s->h);
}

static void put_cell(sheet *s, const char *text, bool is_number)
{
    lx_html_leaf(&s->h, "td", text ? text : "", "class", is_number ? "num" : NULL, NULL);
}

/* The verdict, and its proof behind a fold. */
static void put_captions(sheet *s, size_t row)
{
    const char *captions = text_of(s, row, "captions"), *proof = text_of(s, row, "proof");
    const char *tone = !captions                             ? "badge"
                       : strcmp(captions, "read") == 0       ? "badge good"
                       : lx_starts_with(captions, "cannot")  ? "badge"
                       : lx_starts_with(captions, "read in") ? "badge warn"
                                                             : "badge bad";

    lx_html_open(&s->h, "td", NULL);
    if (captions)
        lx_html_leaf(&s->h, "span", captions, "class", tone, NULL);
    if (captions && proof && !lx_starts_with(captions, "cannot")) {
        lx_html_open(&s->h, "details", NULL);
        lx_html_leaf(&s->h, "summary", "proof", NULL);
        lx_html_leaf(&s->h, "div", proof, "class", "note", NULL);
        lx_html_close(&s->h);
    }
    lx_html_close(&s->h);
}

static void put_file(sheet *s, size_t row)
{
    const char *top = text_of(s, row, "top"), *problem = text_of(s, row, "problem");
    const char *file = text_of(s, row, "file");

    lx_html_open(&s->h, "td", NULL);
    lx_html_leaf(&s->h, "div", file ? file : "?", NULL);
    if (top)
        lx_html_leaf(&s->h, "div", top, "class", "note clip", NULL);
    if (problem)
        lx_html_leaf(&s->h, "div", problem, "class", "finding bad", NULL);
    lx_html_close(&s->h);
}

static void put_row(sheet *s, size_t row)
{
    static const char *const numbers[] = {"rank", "alpha", "size", "steps", "images"};
    const char *what = text_of(s, row, "what"), *base = text_of(s, row, "base");

    lx_html_open(&s->h, "tr", NULL);
    put_file(s, row);
    put_captions(s, row);
    put_cell(
        s, what && base ? lx_arena_printf(s->cli->arena, "%s for %s", what, base) : what,
        false);
    for (size_t i = 0; i < 5; i++)
        put_cell(s, text_of(s, row, numbers[i]), true);
    lx_html_close(&s->h);
}

static void put_table(sheet *s)
{
    static const char *const heads[] = {"file",  "captions", "kind",  "rank",
                                        "alpha", "size",     "steps", "images"};

    lx_html_open(&s->h, "div", "class", "table", NULL);
    lx_html_open(&s->h, "table", NULL);
    lx_html_open(&s->h, "thead", NULL);
    lx_html_open(&s->h, "tr", NULL);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        lx_html_leaf(&s->h, "th", heads[i], "scope", "col", "class",
                     i >= 3 ? "num" : NULL, NULL);
    lx_html_close(&s->h);
    lx_html_close(&s->h);
    lx_html_open(&s->h, "tbody", NULL);
    for (size_t i = 0; i < lx_inspect_table_count(s->table); i++)
        put_row(s, i);
    for (int i = 0; i < 3; i++)
        lx_html_close(&s->h);
}

/* Names are known by the home folders they were seen in, so all is learned first. */
static void learn(sheet *s)
{
    for (size_t r = 0; r < lx_inspect_table_count(s->table); r++)
        for (size_t c = 0; c < s->n_columns; c++) {
            const char *text =
                lx_inspect_table_text(s->table, r, s->columns[c], true, s->cli->arena);
            if (text)
                lx_privacy_learn(s->privacy, text, strlen(text));
        }
}

int lx_inspect_html(lx_cli *cli, const lx_inspect_table *table, const int *columns,
                    size_t n_columns, const char *path, lx_error *err)
{
    sheet s = {.cli = cli, .table = table, .columns = columns, .n_columns = n_columns};
    lx_str out = LX_STR_INIT;
    int rc;

    if (lx_file_exists(path))
        return lx_fail(err, LX_EEXISTS, "%s: is there already", path);
    if ((rc = lx_privacy_new(&s.privacy, false, err)) < 0)
        return rc;
    lx_settings_learn(cli->settings, s.privacy);
    learn(&s);
    lx_html_init(&s.h, &out);
    lx_page_begin(&s.h, "LoRA files", false);
    lx_html_leaf(&s.h, "h1", "LoRA files", NULL);
    lx_html_leaf(
        &s.h, "p",
        "What each file is by its names and shapes, and whether the training read its "
        "captions, by what the trainer counted into its metadata.",
        "class", "lead", NULL);
    put_tiles(&s);
    put_table(&s);
    lx_page_end(&s.h, "Made by lx " LX_VERSION ".", false);
    rc = lx_alloc_has_failed() ? lx_oom(err) : lx_html_finish(&s.h, err);
    if (rc == LX_OK && (rc = lx_file_write(path, out.data, out.len, err)) == LX_OK)
        lx_message(cli, "wrote %s, %.1f kB\n", lx_safe(cli, path), (double)out.len / 1e3);
    lx_str_release(&out);
    lx_privacy_free(s.privacy);
    return rc;
}
