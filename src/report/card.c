#include "src/report/card.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/file.h"
#include "src/report/markdown.h"
#include "src/report/page.h"

static bool is_there(const char *text)
{
    return text && *text;
}

size_t lx_card_stem(const char *file)
{
    static const char *const endings[] = {".safetensors", ".sft", ".ckpt", ".pt",
                                          ".pth",         ".bin", ".pkl"};
    const char *ext = lx_path_ext(file);

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(ext, endings[i]) == 0)
            return strlen(file) - strlen(ext);
    return strlen(file);
}

static bool has_pairs(lx_report_pairs pairs)
{
    for (size_t i = 0; i < pairs.count; i++)
        if (is_there(pairs.items[i].value))
            return true;
    return false;
}

/* ---- Markdown ------------------------------------------------------------ */

/* JSON's texts are YAML's, too. */
static void put_yaml(lx_str *out, const char *key, const char *value)
{
    if (!is_there(value))
        return;
    lx_str_printf(out, "%s: ", key);
    lx_escape_json(out, value, strlen(value));
    lx_str_putc(out, '\n');
}

static void put_front(lx_str *out, const lx_card *c)
{
    lx_str_puts(out, "---\n");
    put_yaml(out, "license", c->license);
    put_yaml(out, "base_model", c->base_model);
    if (c->triggers.count)
        put_yaml(out, "instance_prompt", c->triggers.items[0]);
    lx_str_puts(out, "library_name: diffusers\npipeline_tag: text-to-image\n"
                     "tags:\n- lora\n- text-to-image\n");
    if (c->base && strncmp(c->base, "SD", 2) == 0)
        lx_str_puts(out, "- stable-diffusion\n");
    lx_str_puts(out, "---\n\n");
}

static void put_heading(lx_str *out, const char *text)
{
    lx_str_printf(out, "\n## %s\n\n", text);
}

static void put_pairs(lx_str *out, const char *title, lx_report_pairs pairs)
{
    if (!has_pairs(pairs))
        return;
    put_heading(out, title);
    lx_str_puts(out, "| | |\n|---|---|\n");
    for (size_t i = 0; i < pairs.count; i++) {
        if (!is_there(pairs.items[i].value))
            continue;
        lx_str_puts(out, "| ");
        lx_markdown_text(out, pairs.items[i].key);
        lx_str_puts(out, " | ");
        lx_markdown_text(out, pairs.items[i].value);
        lx_str_puts(out, " |\n");
    }
}

static void put_use(lx_str *out, const lx_card *c)
{
    put_heading(out, "Use");
    if (c->triggers.count) {
        lx_str_puts(out, "Trigger words: ");
        for (size_t i = 0; i < c->triggers.count; i++) {
            lx_str_puts(out, i ? ", " : "");
            lx_markdown_code(out, c->triggers.items[i]);
        }
        lx_str_puts(out, ".\n");
        if (is_there(c->why)) {
            lx_markdown_text(out, c->why);
            lx_str_putc(out, '\n');
        }
    } else {
        lx_str_puts(out, "No trigger words are known.\n");
    }
    lx_str_puts(out, "\nIn web UIs: ");
    lx_str dots = LX_STR_INIT;
    lx_str_printf(&dots, "<lora:%.*s:1>", (int)lx_card_stem(c->file), c->file);
    lx_markdown_code(out, lx_str_text(&dots));
    lx_str_release(&dots);
    lx_str_puts(out, ".\n");
}

static void put_samples(lx_str *out, const lx_card *c)
{
    if (!c->n_samples)
        return;
    put_heading(out, "Samples");
    for (size_t i = 0; i < c->n_samples; i++) {
        const lx_report_picture *p = &c->samples[i];
        lx_str_printf(out, "![sample %zu](<samples/%s>)\n\n", i + 1, p->name);
        if (is_there(p->text)) {
            lx_markdown_text(out, p->text);
            lx_str_puts(out, "\n\n");
        }
    }
}

static void put_tags(lx_str *out, const lx_card *c)
{
    if (!c->n_tags)
        return;
    put_heading(out, "Most frequent tags");
    for (size_t i = 0; i < c->n_tags; i++) {
        lx_str_puts(out, i ? ", " : "");
        lx_markdown_text(out, c->tags[i].tag);
        lx_str_printf(out, " %lld", (long long)c->tags[i].count);
    }
    lx_str_putc(out, '\n');
}

int lx_card_markdown(lx_str *out, const lx_card *c, lx_error *err)
{
    put_front(out, c);
    lx_str_puts(out, "# ");
    lx_markdown_text(out, c->title);
    lx_str_puts(out, "\n\n");
    if (is_there(c->description)) {
        lx_markdown_text(out, c->description);
        lx_str_puts(out, "\n\n");
    }
    lx_markdown_text(out, c->kind);
    lx_str_puts(out, ", for ");
    lx_markdown_text(out, c->base);
    if (is_there(c->author)) {
        lx_str_puts(out, ", by ");
        lx_markdown_text(out, c->author);
    }
    lx_str_puts(out, ".\n");
    put_use(out, c);
    put_samples(out, c);
    put_tags(out, c);
    if (c->n_findings)
        put_heading(out, "Checked");
    for (size_t i = 0; i < c->n_findings; i++) {
        lx_str_puts(out, "- ");
        lx_markdown_text(out, c->findings[i].text);
        lx_str_putc(out, '\n');
    }
    put_pairs(out, "Training", c->settings);
    put_pairs(out, "Data", c->data);
    put_pairs(out, "Hashes", c->hashes);
    lx_str_puts(out, "\n");
    lx_markdown_text(out, c->made);
    lx_str_puts(out, "\n");
    return lx_str_check(out, err);
}

/* ---- HTML ---------------------------------------------------------------- */

static void show_pairs(lx_html *h, const char *title, lx_report_pairs pairs)
{
    if (!has_pairs(pairs))
        return;
    lx_html_leaf(h, "h2", title, NULL);
    lx_html_open(h, "div", "class", "table", NULL);
    lx_html_open(h, "table", "class", "stack", NULL);
    for (size_t i = 0; i < pairs.count; i++) {
        if (!is_there(pairs.items[i].value))
            continue;
        lx_html_open(h, "tr", NULL);
        lx_html_leaf(h, "th", pairs.items[i].key, "scope", "row", NULL);
        lx_html_leaf(h, "td", pairs.items[i].value, NULL);
        lx_html_close(h);
    }
    lx_html_close(h);
    lx_html_close(h);
}

static void show_use(lx_html *h, const lx_card *c)
{
    lx_html_leaf(h, "h2", "Use", NULL);
    lx_html_open(h, "p", NULL);
    if (c->triggers.count) {
        lx_html_text(h, "Trigger words: ");
        for (size_t i = 0; i < c->triggers.count; i++) {
            lx_html_text(h, i ? ", " : "");
            lx_html_leaf(h, "code", c->triggers.items[i], NULL);
        }
    } else {
        lx_html_text(h, "No trigger words are known.");
    }
    lx_html_close(h);
    if (is_there(c->why))
        lx_html_leaf(h, "p", c->why, "class", "note", NULL);
    lx_html_open(h, "p", NULL);
    lx_html_text(h, "In web UIs: ");
    lx_html_open(h, "code", NULL);
    lx_html_textf(h, "<lora:%.*s:1>", (int)lx_card_stem(c->file), c->file);
    lx_html_close(h);
    lx_html_close(h);
}

static void show_samples(lx_html *h, const lx_card *c)
{
    if (!c->n_samples)
        return;
    lx_html_leaf(h, "h2", "Samples", NULL);
    lx_html_open(h, "div", "class", "sheet large", NULL);
    for (size_t i = 0; i < c->n_samples; i++) {
        const lx_report_picture *p = &c->samples[i];
        lx_str uri = LX_STR_INIT;
        lx_data_uri(&uri, "image/jpeg", p->bytes, p->n_bytes);
        lx_html_open(h, "figure", NULL);
        lx_html_void(h, "img", "src", lx_str_text(&uri), "alt",
                     is_there(p->text) ? p->text : "sample", NULL);
        if (is_there(p->text)) {
            lx_html_open(h, "figcaption", NULL);
            lx_html_leaf(h, "div", p->text, "class", "clip", NULL);
            lx_html_close(h);
        }
        lx_html_close(h);
        h->out->failed |= uri.failed;
        lx_str_release(&uri);
    }
    lx_html_close(h);
}

static void show_tags(lx_html *h, const lx_card *c)
{
    if (!c->n_tags)
        return;
    lx_html_leaf(h, "h2", "Most frequent tags", NULL);
    lx_html_open(h, "div", "class", "cols", NULL);
    lx_html_open(h, "table", NULL);
    for (size_t i = 0; i < c->n_tags; i++) {
        lx_html_open(h, "tr", NULL);
        lx_html_leaf(h, "td", c->tags[i].tag, NULL);
        lx_html_open(h, "td", "class", "num", NULL);
        lx_html_textf(h, "%lld", (long long)c->tags[i].count);
        lx_html_close(h);
        lx_html_close(h);
    }
    lx_html_close(h);
    lx_html_close(h);
}

static void show_findings(lx_html *h, const lx_card *c)
{
    static const char *const tones[] = {"finding", "finding good", "finding warn",
                                        "finding bad"};

    if (c->n_findings)
        lx_html_leaf(h, "h2", "Checked", NULL);
    for (size_t i = 0; i < c->n_findings; i++)
        lx_html_leaf(h, "p", c->findings[i].text, "class", tones[c->findings[i].tone],
                     NULL);
}

int lx_card_html(lx_str *out, const lx_card *c, lx_error *err)
{
    lx_html h;

    lx_html_init(&h, out);
    lx_page_begin(&h, c->title, false);
    lx_html_leaf(&h, "h1", c->title, NULL);
    lx_html_open(&h, "p", "class", "meta", NULL);
    lx_html_textf(
        &h, "%s, for %s%s%s%s%s", c->kind, c->base, is_there(c->author) ? ", by " : "",
        is_there(c->author) ? c->author : "", is_there(c->license) ? ", licence: " : "",
        is_there(c->license) ? c->license : "");
    lx_html_close(&h);
    if (is_there(c->description))
        lx_html_leaf(&h, "p", c->description, "class", "lead", NULL);
    show_use(&h, c);
    show_samples(&h, c);
    show_tags(&h, c);
    show_findings(&h, c);
    show_pairs(&h, "Training", c->settings);
    show_pairs(&h, "Data", c->data);
    show_pairs(&h, "Hashes", c->hashes);
    lx_page_end(&h, c->made, false);
    return lx_html_finish(&h, err);
}
