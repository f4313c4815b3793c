#include "src/export/mlflow_keys.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/base/str.h"

enum { MOST_KEY = 250, ROOM_FOR_NUMBER = 32 };

/* ---- a set of texts ---------------------------------------------------------------- */

typedef struct set {
    const char **slots;
    size_t n, size; /* size: a power of two, or 0 */
} set;

static const char **slot_of(const set *s, const char *text, size_t n)
{
    size_t at;
    for (at = lx_hash_bytes(text, n) & (s->size - 1); s->slots[at]; at = (at + 1) & (s->size - 1))
        if (strncmp(s->slots[at], text, n) == 0 && !s->slots[at][n])
            break;
    return &s->slots[at];
}

static bool has(const set *s, const char *text, size_t n)
{
    return s->size && *slot_of(s, text, n);
}

static int add(set *s, const char *text, size_t n, lx_arena *arena, lx_error *err)
{
    const char **slot;
    if (2 * (s->n + 1) > s->size) {
        set larger = {.size = s->size ? 2 * s->size : 64};
        if (!(larger.slots = lx_arena_calloc(arena, larger.size, sizeof *larger.slots)))
            return lx_oom(err);
        for (size_t i = 0; i < s->size; i++)
            if (s->slots[i])
                *slot_of(&larger, s->slots[i], strlen(s->slots[i])) = s->slots[i];
        larger.n = s->n;
        *s = larger;
    }
    slot = slot_of(s, text, n);
    if (*slot)
        return LX_OK;
    s->n++;
    return (*slot = lx_arena_strndup(arena, text, n)) ? LX_OK : lx_oom(err);
}

static int add_folders_of(set *s, const char *key, lx_arena *arena, lx_error *err)
{
    int rc = LX_OK;
    for (const char *p = key; rc == LX_OK && (p = strchr(p, '/')); p++)
        rc = add(s, key, (size_t)(p - key), arena, err);
    return rc;
}

/* ---- one key ----------------------------------------------------------------------- */

static char safe_sign(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("_-. :/", c)) ? c : '_';
}

static void put_key(lx_str *out, const char *name)
{
    for (const char *p = name;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && *p == '.') || strncmp(p, "..", 2) == 0)
            lx_str_putc(out, '_');
        for (; n; n--)
            lx_str_putc(out, safe_sign(*p++));
        if (!*p || out->len > MOST_KEY)
            break;
        lx_str_putc(out, '/');
    }
    if (out->failed)
        return;
    if (out->len > MOST_KEY)
        out->data[out->len = MOST_KEY] = '\0';
    while (out->data[out->len - 1] == '/')
        out->data[--out->len] = '\0';
    if (out->len > 1 && out->data[out->len - 1] == '.' && out->data[out->len - 2] == '/')
        out->data[out->len - 1] = '_'; /* it was cut there */
}

/* ---- all of them ------------------------------------------------------------------- */

typedef struct keeper {
    const char *current, *folder;
    set files, folders; /* of the keys that were given out */
    set wanted;         /* folders of the keys as they would be alone */
    lx_str path;        /* reused */
    lx_arena *arena;
} keeper;

/* Is there a folder, or (is_file) anything else, in the place of the key's first n bytes? */
static bool is_on_disk(keeper *k, const char *key, size_t n, bool is_file)
{
    bool is_dir;
    if (!k->folder)
        return false;
    lx_str_clear(&k->path);
    lx_str_printf(&k->path, "%s/%.*s", k->folder, (int)n, key);
    is_dir = lx_file_is_dir(lx_str_text(&k->path));
    return is_file ? !is_dir && lx_file_exists(lx_str_text(&k->path)) : is_dir;
}

static bool is_taken(keeper *k, const lx_str *key)
{
    return has(&k->files, key->data, key->len) || has(&k->folders, key->data, key->len) ||
           is_on_disk(k, key->data, key->len, false);
}

/* What is a file cannot be a folder: "lx.id/x" beside "lx.id" is "lx.id_x". */
static void leave_files(keeper *k, lx_str *key)
{
    for (size_t i = 0; i < key->len; i++)
        if (key->data[i] == '/' && (has(&k->files, key->data, i) || is_on_disk(k, key->data, i, true)))
            key->data[i] = '_';
}

static void number(keeper *k, lx_str *key, bool is_file)
{
    char ending[16] = "";
    const char *ext = lx_path_ext(key->data);
    size_t stem = key->len;

    if (is_file && strlen(ext) < sizeof ending) {
        snprintf(ending, sizeof ending, "%s", ext);
        stem -= strlen(ext);
    }
    if (stem > MOST_KEY - ROOM_FOR_NUMBER)
        stem = MOST_KEY - ROOM_FOR_NUMBER;
    for (int i = 2; !key->failed && is_taken(k, key); i++) {
        key->len = stem;
        lx_str_printf(key, "-%d%s", i, ending);
    }
}

static int give(keeper *k, lx_mlflow_key *one, lx_error *err)
{
    lx_str key = LX_STR_INIT;
    size_t n = strlen(one->key);
    int rc;

    lx_str_puts(&key, one->key);
    if (!one->is_fixed && n + 1 + strlen(k->current) <= MOST_KEY &&
        (has(&k->wanted, one->key, n) || is_on_disk(k, one->key, n, false)))
        lx_str_printf(&key, "/%s", k->current);
    if ((rc = lx_str_check(&key, err)) == LX_OK) {
        leave_files(k, &key);
        number(k, &key, one->is_file);
        rc = lx_str_check(&key, err);
    }
    if (rc == LX_OK && (rc = lx_str_check(&k->path, err)) == LX_OK &&
        (rc = add(&k->files, key.data, key.len, k->arena, err)) == LX_OK &&
        (rc = add_folders_of(&k->folders, key.data, k->arena, err)) == LX_OK &&
        !(one->key = lx_arena_strndup(k->arena, key.data, key.len)))
        rc = lx_oom(err);
    lx_str_release(&key);
    return rc;
}

static int make_plain(lx_mlflow_key *one, lx_arena *arena, lx_error *err)
{
    lx_str key = LX_STR_INIT;
    int rc;
    put_key(&key, one->name);
    if ((rc = lx_str_check(&key, err)) == LX_OK && !(one->key = lx_arena_strndup(arena, key.data, key.len)))
        rc = lx_oom(err);
    lx_str_release(&key);
    return rc;
}

/* Fixed ones first, then those that keep their names, then those that are folders. */
static int turn_of(const keeper *k, const lx_mlflow_key *one)
{
    return one->is_fixed ? 0 : has(&k->wanted, one->key, strlen(one->key)) ? 2 : 1;
}

int lx_mlflow_keys(lx_mlflow_key *keys, size_t n, const char *current, const char *folder, lx_arena *arena,
                   lx_error *err)
{
    keeper k = {.current = current, .folder = folder, .arena = arena};
    unsigned char *turns = lx_arena_calloc(arena, n + 1, 1);
    int rc = turns ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        if ((rc = make_plain(&keys[i], arena, err)) == LX_OK)
            rc = add_folders_of(&k.wanted, keys[i].key, arena, err);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        turns[i] = (unsigned char)turn_of(&k, &keys[i]);
    for (int turn = 0; turn < 3; turn++)
        for (size_t i = 0; i < n && rc == LX_OK; i++)
            if (turns[i] == turn)
                rc = give(&k, &keys[i], err);
    lx_str_release(&k.path);
    return rc;
}
