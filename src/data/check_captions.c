/* The caption files one by one: their bytes, their length, and images that have none. */
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/caption_file.h"
#include "src/data/check_internal.h"
#include "src/text/prompt.h"

/* ---- bytes -------------------------------------------------------------------------------- */

static void tell_encoding(lx_checking *k, int64_t i, const char *path,
                          const lx_str *bytes, const lx_error *why)
{
    const char *guess = lx_caption_guess_encoding(lx_str_text(bytes), bytes->len);

    lx_check__find(k, LX_SEVERITY_ERROR, "encoding", i, path, "save it as UTF-8",
                   "%s. It stops lx and sd-scripts", why->text);
    if (strcmp(guess, "binary") != 0 && strcmp(guess, "GBK or Big5") != 0)
        lx_check__fixable(k);
}

static void tell_bytes(lx_checking *k, int64_t i, const char *path,
                       const lx_caption_text *t)
{
    if (t->is_empty)
        lx_check__find(
            k, LX_SEVERITY_WARNING, "empty-caption", i, path,
            "write a caption, or delete the file to train on the folder's words",
            "the file is empty: lx trains the image without words, sd-scripts stops");
    else if (t->text.len == 0)
        lx_check__find(
            k, LX_SEVERITY_WARNING, "empty-caption", i, path,
            "write a caption, or delete the file to train on the folder's words",
            "its first line is blank: the image is trained without words");
    if (t->has_bom) {
        lx_check__find(
            k, LX_SEVERITY_WARNING, "bom", i, path, "take it off",
            "it begins with a byte order mark: sd-scripts makes that a part of the "
            "first tag, which is then another tag; lx leaves it out");
        lx_check__fixable(k);
    }
    if (t->has_cr) {
        lx_check__find(k, LX_SEVERITY_NOTE, "line-ends", i, path,
                       "end lines as Unix does",
                       "its lines end as on Windows: both trainers read over that");
        lx_check__fixable(k);
    }
    if (t->unread_lines)
        lx_check__find(
            k, LX_SEVERITY_WARNING, "lines", i, path,
            "put everything into the first line, or add --enable_wildcard, which "
            "draws one line each time",
            "it has %zu more line%s with text, and only the first is read",
            t->unread_lines, t->unread_lines == 1 ? "" : "s");
    if (t->is_odd)
        lx_check__find(
            k, LX_SEVERITY_WARNING, "odd-caption", i, path, "write it anew",
            "it holds control or invisible characters, markup or a formula, which are "
            "trained like any other text");
}

/* ---- length ------------------------------------------------------------------------------- */

/* How many tokens; brackets weigh and are none with --weighted_captions. */
static int count_tokens(size_t *out, const lx_checking *k, const lx_dataset_config *c,
                        const char *text, size_t bytes, lx_error *err)
{
    lx_prompt prompt;
    int32_t *ids;
    size_t n;
    int rc = LX_OK;

    *out = 0;
    if (!c->weighted_captions ||
        lx_prompt_parse(&prompt, k->out->arena, text, bytes, NULL) < 0) {
        if ((rc = lx_tokenize(&ids, out, k->tokenizer, text, bytes, err)) == LX_OK)
            lx_free(ids);
        return rc;
    }
    for (size_t i = 0; i < prompt.n_parts && rc == LX_OK; i++) {
        rc = lx_tokenize(&ids, &n, k->tokenizer, prompt.parts[i].text,
                         prompt.parts[i].bytes, err);
        if (rc == LX_OK)
            lx_free(ids);
        *out += rc == LX_OK ? n : 0;
    }
    return rc;
}

/* The longest beginning, ended by a space or a comma, that fits: what follows is cut, but for the first
 * *n_left tokens of its first word. */
static int find_cut(size_t *at, size_t *n_left, const lx_checking *k,
                    const lx_dataset_config *c, const char *text, size_t bytes,
                    size_t most, lx_error *err)
{
    size_t *ends = lx_calloc(bytes + 1, sizeof *ends), n_ends = 1, low = 0, high, n;
    int rc = LX_OK;

    if (!ends)
        return lx_oom(err);
    for (size_t i = 0; i < bytes; i++)
        if (text[i] == ' ' || text[i] == ',')
            ends[n_ends++] = i + 1;
    for (high = n_ends - 1; low < high && rc == LX_OK;) {
        const size_t middle = (low + high + 1) / 2;
        rc = count_tokens(&n, k, c, text, ends[middle], err);
        if (n <= most)
            low = middle;
        else
            high = middle - 1;
    }
    *at = ends[low];
    lx_free(ends);
    if (rc == LX_OK && (rc = count_tokens(&n, k, c, text, *at, err)) == LX_OK)
        *n_left = n < most ? most - n : 0;
    return rc;
}

static int tell_length(lx_checking *k, size_t i, const char *path, const char *text,
                       size_t bytes, size_t n, lx_error *err)
{
    const size_t most = (size_t)k->options->max_token_length;
    const lx_dataset_config *c = lx_dataset_settings(k->dataset, &k->dataset->images[i]);
    lx_arena *arena = k->out->arena;
    const char *remedy;
    size_t at = 0, n_left = 0;
    lx_str partly = LX_STR_INIT;
    int rc;

    if (n <= most)
        return LX_OK;
    if ((rc = find_cut(&at, &n_left, k, c, text, bytes, most, err)) < 0)
        return rc;
    remedy =
        n <= 225
            ? lx_arena_printf(arena, "shorten it, or train with --max_token_length %d",
                              n <= 150 ? 150 : 225)
            : "shorten it: 225 tokens are the most that --max_token_length gives";
    if (!remedy)
        return lx_oom(err);
    if (n_left)
        lx_str_printf(&partly, ", of whose first word %zu token%s stay%s", n_left,
                      n_left == 1 ? "" : "s", n_left == 1 ? "s" : "");
    lx_check__find(
        k, LX_SEVERITY_WARNING, "cut", (int64_t)i, path, remedy,
        "its %zu tokens are more than %zu; cut off is \"%.*s\"%s%s", n, most,
        (int)(bytes - at < 600 ? bytes - at : 600), text + at, lx_str_text(&partly),
        c->shuffle_caption ? " (with --shuffle_caption, other tags each time)" : "");
    k->failed |= partly.failed;
    lx_str_release(&partly);
    return LX_OK;
}

/* Prefix, caption, suffix as they are trained; of several lines the longest. */
static int check_length(lx_checking *k, size_t i, const char *path, lx_error *err)
{
    const lx_image *image = &k->dataset->images[i];
    const lx_dataset_config *c = lx_dataset_settings(k->dataset, image);
    const char *line = image->caption, *longest = NULL;
    size_t n, longest_bytes = 0;
    int rc = LX_OK;

    if (lx_utf8_check(line, strlen(line)) <
        strlen(line)) /* a folder's name: told there */
        return LX_OK;
    while (rc == LX_OK && line) {
        const char *end = strchr(line, '\n');
        const char *text = lx_arena_printf(
            k->out->arena, "%s%s%.*s%s%s", c->caption_prefix ? c->caption_prefix : "",
            c->caption_prefix ? " " : "", (int)(end ? end - line : (int)strlen(line)),
            line, c->caption_suffix ? " " : "",
            c->caption_suffix ? c->caption_suffix : "");
        if (!text)
            return lx_oom(err);
        rc = count_tokens(&n, k, c, text, strlen(text), err);
        if (rc == LX_OK && (!longest || n > k->out->images[i].n_tokens)) {
            k->out->images[i].n_tokens = n;
            longest = text;
            longest_bytes = strlen(text);
        }
        line = end ? end + 1 : NULL;
    }
    return rc < 0 ? rc
                  : tell_length(k, i, path, longest, longest_bytes,
                                k->out->images[i].n_tokens, err);
}

/* ---- each --------------------------------------------------------------------------------- */

/* The bytes, whatever the scan made of them. */
static int check_file(lx_checking *k, size_t i, lx_error *err)
{
    const lx_image *image = &k->dataset->images[i];
    const lx_dataset_config *c = lx_dataset_settings(k->dataset, image);
    lx_caption_text text = {.text = LX_STR_INIT};
    lx_str bytes = LX_STR_INIT;
    lx_error why = {0};
    int rc = lx_file_read(&bytes, image->caption_path, LX_CAPTION_BYTES, &why);

    if (rc == LX_ELIMIT || rc == LX_EFORMAT || rc == LX_EPERM || rc == LX_ENOTFOUND) {
        lx_check__find(k, LX_SEVERITY_ERROR, "bad-caption", (int64_t)i,
                       image->caption_path, "correct or remove it",
                       "it cannot be read as a caption: %s", why.text);
        rc = LX_OK;
    } else if (rc == LX_OK) {
        rc = lx_caption_decode(&text, lx_str_text(&bytes), bytes.len, c->enable_wildcard,
                               &why);
        if (rc == LX_EFORMAT)
            tell_encoding(k, (int64_t)i, image->caption_path, &bytes, &why);
        else if (rc == LX_OK)
            tell_bytes(k, (int64_t)i, image->caption_path, &text);
        rc = rc == LX_EFORMAT ? LX_OK : rc;
    }
    lx_fail_as(err, rc, &why);
    lx_str_release(&text.text);
    lx_str_release(&bytes);
    return rc;
}

/* Images that the folder's words stand for. Where no image has a caption that is how it was meant. */
static void check_missing(lx_checking *k)
{
    const lx_dataset *d = k->dataset;
    size_t n_read = 0, n_missing = 0, n_reg = 0, first = 0;

    for (size_t i = 0; i < d->n_images; i++) {
        const bool has = d->images[i].caption_path || d->images[i].has_caption_file;
        n_read += has && !d->images[i].is_reg;
        n_reg += !has && d->images[i].is_reg;
        if (!has && !d->images[i].is_reg && n_missing++ == 0)
            first = i;
    }
    for (size_t i = 0; n_read && i < d->n_images; i++)
        if (!d->images[i].caption_path && !d->images[i].has_caption_file &&
            !d->images[i].is_reg)
            lx_check__find(k, LX_SEVERITY_WARNING, "no-caption", (int64_t)i,
                           d->images[i].path, "write its caption",
                           "it has no caption file: it is trained on \"%s\" alone",
                           d->images[i].caption);
    if (!n_read && n_missing)
        lx_check__find(
            k, LX_SEVERITY_NOTE, "no-caption", LX_CHECK_OF_ALL, d->images[first].path,
            "nothing for a single thing in one look; captions keep apart what varies",
            "no image has a caption file: all are trained on their folder's words");
    if (n_reg)
        lx_check__find(
            k, LX_SEVERITY_NOTE, "no-caption", LX_CHECK_OF_ALL, NULL, "nothing to do",
            "%zu regularisation image%s trained on the words of the folder, as is "
            "usual",
            n_reg, n_reg == 1 ? " is" : "s are");
}

/* Two images of one stem read one caption file. Images are sorted by name. */
static void check_shared(lx_checking *k)
{
    const lx_dataset *d = k->dataset;

    for (size_t i = 1; i < d->n_images; i++) {
        const char *a = d->images[i - 1].caption_path, *b = d->images[i].caption_path;
        if (d->images[i].folder == d->images[i - 1].folder && a && b && strcmp(a, b) == 0)
            lx_check__find(
                k, LX_SEVERITY_WARNING, "shared-caption", (int64_t)i, d->images[i].path,
                "rename one image and give it its own caption",
                "it has the caption file of \"%s\", whose name differs in its ending "
                "only",
                d->images[i - 1].path);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Caption files of the folder that no image reads: the image is gone, or is called otherwise. */
static int check_orphans(lx_checking *k, const lx_folder *f, const char **read,
                         size_t n_read, lx_error *err)
{
    lx_dir names = {0};
    int rc = lx_dir_list(&names, f->path, err);

    for (size_t i = 0; i < names.count && rc == LX_OK; i++) {
        const char *path;
        if (names.names[i][0] == '.' ||
            !lx_ends_with(names.names[i], k->out->caption_extension))
            continue;
        if (!(path = lx_arena_printf(k->out->arena, "%s/%s", f->path, names.names[i])))
            rc = lx_oom(err);
        else if (!lx_file_is_dir(path) &&
                 !bsearch(&path, read, n_read, sizeof *read, by_text))
            lx_check__find(
                k, LX_SEVERITY_WARNING, "orphan", LX_CHECK_OF_ALL, path,
                "give it the name of its image, or remove it",
                "it is the caption of no image that can be read: its words are not "
                "trained");
    }
    lx_dir_free(&names);
    return rc;
}

static int check_all_orphans(lx_checking *k, lx_error *err)
{
    const lx_dataset *d = k->dataset;
    const char **read = lx_calloc(d->n_images + 1, sizeof *read);
    size_t n = 0;
    int rc = LX_OK;

    if (!read)
        return lx_oom(err);
    for (size_t i = 0; i < d->n_images; i++)
        if (d->images[i].caption_path)
            read[n++] = d->images[i].caption_path;
    qsort(read, n, sizeof *read, by_text);
    for (size_t i = 0; i < d->n_folders && rc == LX_OK; i++)
        if (!d->folders[i].is_metadata)
            rc = check_orphans(k, &d->folders[i], read, n, err);
    lx_free(read);
    return rc;
}

int lx_check__captions(lx_checking *k, lx_error *err)
{
    const lx_dataset *d = k->dataset;
    int rc = LX_OK;

    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++) {
        const lx_image *image = &d->images[i];
        if (image->caption_path)
            rc = check_file(k, i, err);
        if (rc == LX_OK)
            rc = check_length(
                k, i, image->caption_path ? image->caption_path : image->path, err);
    }
    if (rc < 0)
        return rc;
    check_missing(k);
    check_shared(k);
    return check_all_orphans(k, err);
}
