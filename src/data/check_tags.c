/* All captions together: tags that are one to people and two to the text encoder, tags that nothing tells
 * apart, and the identifiers. */
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/unicode.h"
#include "src/data/check_internal.h"
#include "src/data/tags.h"

enum { FEWEST_TOGETHER = 3, MOST_NAMED = 12 };

/* A tag of one caption. */
typedef struct use {
    const char *fold,
        *lower; /* what is the same to people; what is the same to the text encoder */
    lx_tag tag; /* as it is spelled; borrowed from the caption */
    size_t image;
} use;

typedef struct uses {
    use *items;
    size_t count, capacity;
} uses;

/* A tag with the images that have it: items[first, first + n) of the uses. */
typedef struct word {
    const char *fold, *lower;
    size_t first, n;
    uint64_t images; /* hash of the list */
    bool has_capitals; /* somewhere it is not spelled as `lower` */
} word;

static int add_uses(uses *all, lx_checking *k, size_t i, lx_error *err)
{
    const lx_image *image = &k->dataset->images[i];
    const lx_dataset_config *c = lx_dataset_settings(k->dataset, image);
    lx_arena *arena = k->out->arena;
    const char *text = image->tags && *image->tags ? image->tags : image->caption;
    lx_tags tags = {0};
    int rc = lx_tags_split(&tags, text, strcspn(text, "\n"), c->caption_separator, err);

    for (size_t t = 0; t < tags.count && rc == LX_OK; t++) {
        lx_str lower = LX_STR_INIT;
        use *u;
        lx_str_put_lower(&lower, tags.items[t].text, tags.items[t].n);
        if (lx_grow(&all->items, &all->capacity, all->count + 1, sizeof *u) < 0) {
            rc = lx_oom(err);
        } else {
            u = &all->items[all->count++];
            *u = (use){lx_tag_fold(&tags.items[t], arena),
                       lx_arena_strndup(arena, lx_str_text(&lower), lower.len),
                       tags.items[t], i};
            rc = u->fold && u->lower && !lower.failed ? LX_OK : lx_oom(err);
        }
        lx_str_release(&lower);
    }
    lx_tags_release(&tags);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    const use *x = a, *y = b;
    int order = strcmp(x->fold, y->fold);

    if (order == 0)
        order = strcmp(x->lower, y->lower);
    return order ? order : (x->image > y->image) - (x->image < y->image);
}

static const char *file_of(const lx_checking *k, size_t image)
{
    const lx_image *i = &k->dataset->images[image];
    return i->caption_path ? i->caption_path : i->path;
}

/* Equal tags of one image stand beside each other: one is told and taken out. */
static void drop_doubles(uses *all, lx_checking *k)
{
    size_t n = 0;

    for (size_t i = 0; i < all->count; i++) {
        const use *u = &all->items[i];
        if (n && by_text(&all->items[n - 1], u) == 0)
            lx_check__find(
                k, LX_SEVERITY_NOTE, "double-tag", (int64_t)u->image,
                file_of(k, u->image),
                lx_tag_equal(&all->items[n - 1].tag, &u->tag, false)
                    ? "lx data tags DIR dedupe --write"
                    : "lx data tags DIR dedupe --ignore-case --write",
                "it has \"%s\" more than once: it weighs more then, and takes room",
                u->lower);
        else
            all->items[n++] = *u;
    }
    all->count = n;
}

static bool has_capitals(const use *u)
{
    return strlen(u->lower) != u->tag.n || memcmp(u->lower, u->tag.text, u->tag.n) != 0;
}

static size_t count_words(word *words, const uses *all)
{
    size_t n = 0;

    for (size_t i = 0; i < all->count; i++) {
        const use *u = &all->items[i];
        if (!n || strcmp(words[n - 1].lower, u->lower) != 0)
            words[n++] = (word){u->fold, u->lower, i, 0, 0xcbf29ce484222325u, false};
        words[n - 1].n++;
        words[n - 1].has_capitals |= has_capitals(u);
        for (size_t byte = 0; byte < sizeof u->image; byte++) /* FNV-1a */
            words[n - 1].images =
                (words[n - 1].images ^ (u->image >> (8 * byte) & 255)) * 0x100000001b3u;
    }
    return n;
}

/* ---- one to people ------------------------------------------------------------------------ */

static void tell_variants(lx_checking *k, const word *words, size_t n, const uses *all)
{
    const word *most = words, *least = words;
    const char *remedy;

    for (size_t i = 1; i < n; i++) {
        if (words[i].n > most->n)
            most = &words[i];
        if (words[i].n <= least->n)
            least = &words[i];
    }
    remedy =
        lx_arena_printf(k->out->arena, "lx data tags DIR replace \"%s\" \"%s\"%s --write",
                        least->lower, most->lower,
                        least->has_capitals ? " --ignore-case" : "");
    k->failed |= !remedy;
    lx_check__find(
        k, LX_SEVERITY_WARNING, "variants", (int64_t)all->items[least->first].image,
        file_of(k, all->items[least->first].image), remedy,
        "\"%s\" (%zu image%s) and \"%s\" (%zu) are one tag to people and different "
        "tokens to the text encoder: neither learns from the other's images",
        least->lower, least->n, least->n == 1 ? "" : "s", most->lower, most->n);
}

static void check_variants(lx_checking *k, const word *words, size_t n, const uses *all)
{
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && strcmp(words[i].fold, words[end].fold) == 0; end++)
            ;
        if (end - i > 1)
            tell_variants(k, words + i, end - i, all);
    }
}

/* ---- never apart -------------------------------------------------------------------------- */

static int by_images(const void *a, const void *b)
{
    const word *x = a, *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    if (x->images != y->images)
        return x->images < y->images ? -1 : 1;
    return strcmp(x->lower, y->lower);
}

static bool have_same_images(const word *a, const word *b, const uses *all)
{
    if (a->n != b->n || a->images != b->images)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (all->items[a->first + i].image != all->items[b->first + i].image)
            return false;
    return true;
}

static void tell_together(lx_checking *k, const word *words, size_t n, size_t n_images,
                          const uses *all)
{
    lx_str names = LX_STR_INIT;

    for (size_t i = 0; i < n && i < MOST_NAMED; i++)
        lx_str_printf(&names, "%s\"%s\"", i ? ", " : "", words[i].lower);
    if (n > MOST_NAMED)
        lx_str_printf(&names, " and %zu more", n - MOST_NAMED);
    if (words->n == n_images)
        lx_check__find(
            k, LX_SEVERITY_NOTE, "together", LX_CHECK_OF_ALL,
            file_of(k, all->items[words->first].image),
            "leave all but the identifier out of the captions if they belong to it, or "
            "add images without them",
            "all %zu images have %s: nothing tells these apart, and each learns a share "
            "of what all images have in common",
            n_images, lx_str_text(&names));
    else
        lx_check__find(
            k, LX_SEVERITY_NOTE, "together", (int64_t)all->items[words->first].image,
            file_of(k, all->items[words->first].image),
            "keep one of them, or add images that have one without the other",
            "%s stand on the same %zu images and never apart: nothing tells which of "
            "them means what",
            lx_str_text(&names), words->n);
    k->failed |= names.failed;
    lx_str_release(&names);
}

static void check_together(lx_checking *k, word *words, size_t n, size_t n_images,
                           const uses *all)
{
    if (n)
        qsort(words, n, sizeof *words, by_images);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && have_same_images(&words[i], &words[end], all); end++)
            ;
        if (end - i > 1 && words[i].n >= FEWEST_TOGETHER)
            tell_together(k, words + i, end - i, n_images, all);
    }
}

/* ---- a folder in several datasets --------------------------------------------------------- */

static int by_path(const void *a, const void *b)
{
    const lx_image *x = *(const lx_image *const *)a, *y = *(const lx_image *const *)b;
    int order = strcmp(x->path, y->path);

    return order ? order : (x > y) - (x < y);
}

static bool is_same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : !a && !b;
}

/* The same file with the same caption, of which a prefix may be another's. */
static bool is_same_image(const lx_image *a, const lx_image *b)
{
    if (a->is_reg != b->is_reg || strcmp(a->path, b->path) != 0)
        return false;
    if (a->caption_path || b->caption_path)
        return is_same_text(a->caption_path, b->caption_path);
    return is_same_text(a->tags, b->tags) && is_same_text(a->caption, b->caption);
}

/* (*out)[i]: image i is an earlier one again. Released by lx_free. */
static int find_again(bool **out, const lx_dataset *d, lx_error *err)
{
    const lx_image **sorted = lx_calloc(d->n_images + 1, sizeof *sorted);

    *out = lx_calloc(d->n_images + 1, sizeof **out);
    if (!sorted || !*out) {
        lx_free(sorted);
        return lx_oom(err);
    }
    for (size_t i = 0; i < d->n_images; i++)
        sorted[i] = &d->images[i];
    if (d->n_images)
        qsort(sorted, d->n_images, sizeof *sorted, by_path);
    for (size_t i = 1; i < d->n_images; i++)
        for (size_t j = i; j-- > 0 && strcmp(sorted[j]->path, sorted[i]->path) == 0;)
            (*out)[sorted[i] - d->images] |= is_same_image(sorted[j], sorted[i]);
    lx_free(sorted);
    return LX_OK;
}

/* Folder `index` is an earlier one again, with the same captions. */
static bool is_folder_again(const lx_dataset *d, size_t index)
{
    const lx_folder *f = &d->folders[index];

    for (size_t i = 0; i < index; i++) {
        const lx_folder *other = &d->folders[i];
        if (other->is_reg == f->is_reg && strcmp(other->path, f->path) == 0 &&
            is_same_text(other->config->caption_extension, f->config->caption_extension) &&
            is_same_text(other->class_tokens, f->class_tokens))
            return true;
    }
    return false;
}

int lx_check__tags(lx_checking *k, lx_error *err)
{
    const lx_dataset *d = k->dataset;
    size_t n_images = 0, n;
    word *words = NULL;
    bool *is_again;
    uses all = {0};
    int rc = find_again(&is_again, d, err);

    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++)
        if (d->images[i].has_caption_file && !d->images[i].is_reg && !is_again[i]) {
            rc = add_uses(&all, k, i, err);
            n_images++;
        }
    if (rc == LX_OK && !(words = lx_calloc(all.count + 1, sizeof *words)))
        rc = lx_oom(err);
    if (rc == LX_OK && all.count) {
        qsort(all.items, all.count, sizeof *all.items, by_text);
        drop_doubles(&all, k);
        n = count_words(words, &all);
        check_variants(k, words, n, &all);
        check_together(k, words, n, n_images, &all);
    }
    lx_free(is_again);
    lx_free(words);
    lx_free(all.items);
    return rc;
}

/* ---- identifiers -------------------------------------------------------------------------- */

static bool is_word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           c == '_' || (unsigned char)c >= 0x80;
}

/* As a word of its own, whatever its case. */
static bool contains_word(const char *text, const char *wanted, lx_checking *k)
{
    lx_str a = LX_STR_INIT, b = LX_STR_INIT;
    bool found = false;

    lx_str_put_lower(&a, text, strlen(text));
    lx_str_put_lower(&b, wanted, strlen(wanted));
    k->failed |= a.failed || b.failed;
    for (const char *at = lx_str_text(&a);
         !k->failed && b.len && !found && (at = strstr(at, lx_str_text(&b))); at++)
        found =
            (at == lx_str_text(&a) || !is_word_byte(at[-1])) && !is_word_byte(at[b.len]);
    lx_str_release(&a);
    lx_str_release(&b);
    return found;
}

/* "nik + ke</w>" */
static int tell_pieces(lx_checking *k, const char *identifier, const char *folder,
                       lx_error *err)
{
    lx_str pieces = LX_STR_INIT;
    int32_t *ids;
    size_t n;
    int rc;

    if (lx_utf8_check(identifier, strlen(identifier)) < strlen(identifier))
        return LX_OK; /* told by the scan */
    rc = lx_tokenize(&ids, &n, k->tokenizer, identifier, strlen(identifier), err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        lx_str_printf(&pieces, "%s%s", i ? " + " : "",
                      lx_token_text(k->tokenizer, ids[i]));
    if (n == 1)
        lx_check__find(
            k, LX_SEVERITY_NOTE, "identifier", LX_CHECK_OF_ALL, folder,
            "nothing if it should start from what it means; else take a word that the "
            "model does not know",
            "the identifier \"%s\" is one token of CLIP (%s): the model may have a "
            "meaning for it already",
            identifier, lx_str_text(&pieces));
    else
        lx_check__find(k, LX_SEVERITY_NOTE, "identifier", LX_CHECK_OF_ALL, folder,
                       "nothing to do", "the identifier \"%s\" is %zu tokens of CLIP: %s",
                       identifier, n, lx_str_text(&pieces));
    k->failed |= pieces.failed;
    lx_str_release(&pieces);
    lx_free(ids);
    return LX_OK;
}

/* Folder by folder: captions take the place of the folder's words, so what is not in them is not trained. */
static void tell_absent(lx_checking *k, const char *identifier, size_t folder)
{
    const lx_dataset *d = k->dataset;
    const lx_folder *f = &d->folders[folder];
    const char *remedy = lx_arena_printf(
        k->out->arena,
        "lx data tags DIR prepend \"%s\" --write, with --keep_tokens 1 if tags are "
        "shuffled",
        identifier);
    size_t n = 0, n_with = 0;

    k->failed |= !remedy;
    for (size_t i = 0; i < d->n_images; i++)
        if ((size_t)d->images[i].folder == folder && d->images[i].has_caption_file) {
            n++;
            n_with += contains_word(d->images[i].caption, identifier, k);
        }
    if (n && !n_with)
        lx_check__find(
            k, LX_SEVERITY_WARNING, "identifier", LX_CHECK_OF_ALL, f->path, remedy,
            "\"%s\" is in none of its %zu captions: where a caption is read the folder's "
            "name is not, so the identifier is not trained at all",
            identifier, n);
    for (size_t i = 0; i < d->n_images && n_with && n_with < n; i++)
        if ((size_t)d->images[i].folder == folder && d->images[i].has_caption_file &&
            !contains_word(d->images[i].caption, identifier, k))
            lx_check__find(
                k, LX_SEVERITY_WARNING, "identifier", (int64_t)i, file_of(k, i), remedy,
                "\"%s\" is not in it, though it is in %zu of the folder's %zu captions: "
                "this image teaches the identifier nothing",
                identifier, n_with, n);
}

/* The first word: "iwl" of "iwl 1girl". NULL: the folder has none. */
static const char *identifier_of(const lx_checking *k, const lx_folder *f)
{
    const char *given = k->options->identifier;
    const size_t n = strcspn(f->class_tokens, " ,");

    if (given)
        return *given ? given : NULL;
    return n ? lx_arena_strndup(k->out->arena, f->class_tokens, n) : NULL;
}

int lx_check__identifiers(lx_checking *k, lx_error *err)
{
    const lx_dataset *d = k->dataset;
    int rc = LX_OK;

    for (size_t i = 0; i < d->n_folders && rc == LX_OK; i++) {
        const lx_folder *f = &d->folders[i];
        const char *identifier = identifier_of(k, f);
        bool is_told = false;
        if (f->is_reg || f->n_images == 0 || !identifier || is_folder_again(d, i))
            continue;
        for (size_t j = 0; j < i && !is_told; j++) {
            const char *other = identifier_of(k, &d->folders[j]);
            is_told = !d->folders[j].is_reg && other && strcmp(other, identifier) == 0;
        }
        if (!is_told)
            rc = tell_pieces(k, identifier, f->path, err);
        tell_absent(k, identifier, i);
    }
    return rc;
}
