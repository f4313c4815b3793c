#include "src/sample/embedding.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/sha256.h"
#include "src/base/visited.h"

static const char prefix[] = "embedding:";
static const char not_in_names[] = " \t\r\n,:()[]|<>\\";

/* ---- words --------------------------------------------------------------------- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Bytes that the word takes at text[at, n), 0 if it does not stand there. */
static size_t match(const char *name, const char *text, size_t at, size_t n)
{
    const size_t bytes = strlen(name);
    size_t from = at;

    if (at > 0 && is_word(text[at - 1]))
        return 0;
    if (n - at > sizeof prefix - 1 && strncmp(text + at, prefix, sizeof prefix - 1) == 0)
        from += sizeof prefix - 1;
    if (bytes > n - from || strncasecmp(text + from, name, bytes) != 0 ||
        (from + bytes < n && is_word(text[from + bytes])))
        return 0;
    return from + bytes - at;
}

const lx_embedding *lx_embeddings_next(size_t *start, size_t *bytes,
                                       const lx_embeddings *words, const char *text,
                                       size_t n)
{
    const lx_embedding *found = NULL;

    for (size_t at = 0; words && words->count && at < n && !found; at++) {
        *bytes = 0;
        for (size_t i = 0; i < words->count; i++) {
            size_t taken = match(words->items[i].name, text, at, n);
            if (taken > *bytes) {
                *bytes = taken;
                *start = at;
                found = &words->items[i];
            }
        }
    }
    return found;
}

static bool is_in(const char *name, const char *text)
{
    const size_t n = strlen(text);

    for (size_t at = 0; at < n; at++)
        if (match(name, text, at, n))
            return true;
    return false;
}

bool lx_embedding_is_in(const lx_embedding *word, const char *text)
{
    return is_in(word->name, text);
}

static bool is_known(const lx_embeddings *words, const char *name)
{
    for (size_t i = 0; i < words->count; i++)
        if (strcasecmp(words->items[i].name, name) == 0)
            return true;
    return false;
}

static int add(lx_embeddings *words, lx_arena *arena, const char *name, const char *path,
               lx_error *err)
{
    lx_embedding *e = &words->items[words->count];

    if (is_known(words, name))
        return LX_OK;
    if (words->count == LX_EMBEDDINGS)
        return lx_fail(err, LX_ELIMIT, "the prompts have more than %d embeddings",
                       LX_EMBEDDINGS);
    *e = (lx_embedding){.name = lx_arena_strdup(arena, name),
                        .path = lx_arena_strdup(arena, path)};
    if (!e->name || !e->path)
        return lx_oom(err);
    words->count++;
    return LX_OK;
}

/* ---- files --------------------------------------------------------------------- */

static bool is_embedding_file(const char *path)
{
    const char *ext = lx_path_ext(path);

    return strcasecmp(ext, ".safetensors") == 0 || strcasecmp(ext, ".pt") == 0 ||
           strcasecmp(ext, ".bin") == 0;
}

/* The files of the folder, and of those in it, that the text names. A link may lead back to where the search was. */
static int scan(lx_embeddings *words, lx_arena *arena, const char *text, const char *dir,
                int depth, lx_visited *visited, lx_error *err)
{
    enum { MAX_DEPTH = 64 };
    lx_dir list = {0};
    struct stat st;
    int rc = lx_io_get()->stat(dir, &st) == 0 ? lx_visited_add(visited, &st, err) : 1;

    if (rc <= 0)
        return rc;
    rc = lx_dir_list(&list, dir, err);
    for (size_t i = 0; i < list.count && rc == LX_OK; i++) {
        const char *path = lx_arena_printf(arena, "%s/%s", dir, list.names[i]);
        const size_t stem = strlen(list.names[i]) - strlen(lx_path_ext(list.names[i]));
        const char *name = lx_arena_strndup(arena, list.names[i], stem);

        if (!path || !name)
            rc = lx_oom(err);
        else if (lx_file_is_dir(path))
            rc = depth < MAX_DEPTH
                     ? scan(words, arena, text, path, depth + 1, visited, err)
                     : LX_OK;
        else if (stem && is_embedding_file(path) && is_in(name, text))
            rc = add(words, arena, name, path, err);
    }
    lx_dir_free(&list);
    return rc;
}

static int scan_from(lx_embeddings *words, lx_arena *arena, const char *text,
                     const char *dir, lx_error *err)
{
    lx_visited visited = {0};
    int rc = scan(words, arena, text, dir, 0, &visited, err);

    lx_visited_release(&visited);
    return rc;
}

/* embedding:NAME in the current folder. */
static int add_local(lx_embeddings *words, lx_arena *arena, const char *name,
                     const char *dir, lx_error *err)
{
    static const char *const endings[] = {".safetensors", ".pt", ".bin"};

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const char *path = lx_arena_printf(arena, "%s%s", name, endings[i]);
        if (!path)
            return lx_oom(err);
        if (lx_file_exists(path) && !lx_file_is_dir(path))
            return add(words, arena, name, path, err);
    }
    return lx_fail(err, LX_ENOTFOUND,
                   "there is no embedding \"%s\" in the current folder%s%s%s", name,
                   dir ? " or " : "", dir ? dir : "",
                   dir ? "" : "; --embeddings says where else to look");
}

int lx_embeddings_find(lx_embeddings *words, lx_arena *arena, const char *text,
                       const char *dir, lx_error *err)
{
    int rc;

    if (dir && (rc = scan_from(words, arena, text, dir, err)) < 0)
        return rc;
    for (const char *at = text; (at = strstr(at, prefix));) {
        const char *name;
        size_t n;

        at += sizeof prefix - 1;
        n = strcspn(at, not_in_names);
        if (!(name = lx_arena_strndup(arena, at, n)))
            return lx_oom(err);
        if (n == 0 || strchr(name, '/'))
            return lx_fail(err, LX_EFORMAT, "embedding:%s names no file: write embedding:NAME", name);
        if (!is_known(words, name) && (rc = add_local(words, arena, name, dir, err)) < 0)
            return rc;
    }
    return LX_OK;
}

/* ---- vectors ------------------------------------------------------------------- */

static bool fits(const lx_tensor_view *t, int width)
{
    return (t->n_dims == 1 || t->n_dims == 2) && t->shape[t->n_dims - 1] == width;
}

/* The one tensor that is as wide as the encoder. */
static int choose(const lx_tensor_view **out, const lx_tensor_file *file, int width,
                  lx_error *err)
{
    int64_t other = 0;

    *out = NULL;
    for (size_t i = 0; i < lx_tensor_file_count(file); i++) {
        const lx_tensor_view *t = lx_tensor_file_at(file, i);
        if (fits(t, width) && *out)
            return lx_fail(err, LX_EUNSUPPORTED,
                           "several tensors, %.80s and %.80s among them: no embedding of "
                           "one word",
                           (*out)->name, t->name);
        if (fits(t, width))
            *out = t;
        else if (t->n_dims == 1 || t->n_dims == 2)
            other = t->shape[t->n_dims - 1];
    }
    if (*out)
        return LX_OK;
    return other ? lx_fail(err, LX_EMISMATCH,
                           "vectors of %lld values; the text encoder's have %d: an "
                           "embedding for another model",
                           (long long)other, width)
                 : lx_fail(err, LX_EFORMAT, "no vectors in it");
}

static int read_vectors(lx_embedding *e, float **rows, size_t *n_rows, int width,
                        lx_error *err)
{
    lx_tensor_file *file = NULL;
    const lx_tensor_view *t;
    float *grown, *to;
    int rc;

    if ((rc = lx_tensor_file_open(&file, e->path, err)) < 0 ||
        (rc = choose(&t, file, width, err)) < 0)
        goto done;
    const size_t n = t->n_elements / (size_t)width;
    if (n < 1 || n > LX_EMBEDDING_VECTORS) {
        rc = lx_fail(err, LX_ELIMIT, "%zu vectors; 1 to %d fit into a chunk", n,
                     LX_EMBEDDING_VECTORS);
        goto done;
    }
    if (!(grown = lx_realloc(*rows, (*n_rows + n) * (size_t)width * sizeof **rows))) {
        rc = lx_oom(err);
        goto done;
    }
    *rows = grown;
    to = grown + *n_rows * (size_t)width;
    if ((rc = lx_to_f32(to, t->data, t->dtype, t->n_elements)) < 0) {
        lx_fail(err, rc, "vectors of type %s cannot be read as numbers",
                lx_dtype_name(t->dtype));
        goto done;
    }
    for (size_t i = 0; i < t->n_elements && rc == LX_OK; i++)
        if (!isfinite(to[i]))
            rc = lx_fail(err, LX_EFORMAT, "a vector has values that are no numbers");
    e->n = (int)n;
    *n_rows += n;
done:
    lx_tensor_file_close(file);
    return rc;
}

int lx_embeddings_load(lx_embeddings *words, lx_checkpoint *checkpoint,
                       const lx_sd_config *config, lx_error *err)
{
    static const char table[] = "text_model.embeddings.token_embedding";
    char hex[LX_HASH_HEX + 1];
    float *rows = NULL;
    size_t n_rows = 0;
    lx_hash hash;
    int rc = LX_OK;

    for (size_t i = 0; i < words->count && rc == LX_OK; i++) {
        lx_embedding *e = &words->items[i];
        e->first = config->vocab_size + (int32_t)n_rows;
        if ((rc = read_vectors(e, &rows, &n_rows, config->text_width, err)) < 0 ||
            (rc = lx_file_hash(&hash, e->path, err)) < 0) {
            lx_within(err, "%s", e->path);
            break;
        }
        lx_hash_hex(hex, &hash);
        memcpy(e->hash, hex, sizeof e->hash - 1);
    }
    if (rc == LX_OK && n_rows)
        rc = lx_checkpoint_append(checkpoint, LX_TEXT_ENCODER, table, rows, n_rows, err);
    lx_free(rows);
    return rc;
}
