#include "src/export/mlflow_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/str.h"

enum { MOST_LIST = 256 << 20 };

static const lx_hash unwritten;

int lx_mlflow_list_add(lx_mlflow_list *list, const char *path, const lx_hash *hash, lx_arena *arena, lx_error *err)
{
    if (lx_arena_grow(arena, &list->items, &list->capacity, list->n + 1, sizeof *list->items) < 0)
        return lx_oom(err);
    list->items[list->n++] = (lx_mlflow_item){path, hash ? *hash : unwritten};
    return LX_OK;
}

/* ---- the file ---------------------------------------------------------------------- */

static bool is_inside(const char *path)
{
    static const char *const kinds[] = {"metrics/", "params/", "tags/", "artifacts/"};
    bool is_one = false;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        is_one |= lx_starts_with(path, kinds[i]);
    for (const char *p = path; is_one; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n <= 2 && strspn(p, ".") >= n))
            return false;
        if (!*(p += n))
            break;
    }
    return is_one;
}

static int add_line(lx_mlflow_list *out, const char *line, size_t n, lx_arena *arena, lx_error *err)
{
    char *copy = lx_arena_strndup(arena, line, n);
    lx_hash hash;

    if (!copy)
        return lx_oom(err);
    if (strlen(copy) < LX_HASH_HEX + 3 || copy[LX_HASH_HEX] != ' ' || copy[LX_HASH_HEX + 1] != ' ')
        return LX_OK;
    copy[LX_HASH_HEX] = '\0';
    return lx_hash_from_hex(&hash, copy) && is_inside(copy + LX_HASH_HEX + 2)
               ? lx_mlflow_list_add(out, copy + LX_HASH_HEX + 2, &hash, arena, err)
               : LX_OK;
}

static int list_path(lx_str *out, const char *folder, lx_error *err)
{
    lx_str_printf(out, "%s/lx.sha256", folder);
    return lx_str_check(out, err);
}

int lx_mlflow_list_read(lx_mlflow_list *out, const char *folder, lx_arena *arena, lx_error *err)
{
    lx_str path = LX_STR_INIT, text = LX_STR_INIT;
    int rc = list_path(&path, folder, err);

    *out = (lx_mlflow_list){0};
    if (rc == LX_OK && lx_file_exists(path.data)) {
        rc = lx_file_read(&text, path.data, MOST_LIST, err);
        for (const char *p = lx_str_text(&text), *end = p + text.len, *at; rc == LX_OK && p < end; p = at + 1) {
            if (!(at = memchr(p, '\n', (size_t)(end - p))))
                at = end;
            rc = add_line(out, p, (size_t)(at - p), arena, err);
        }
    }
    lx_str_release(&text);
    lx_str_release(&path);
    return rc;
}

int lx_mlflow_list_write(const lx_mlflow_list *list, const char *folder, lx_error *err)
{
    lx_str path = LX_STR_INIT, text = LX_STR_INIT;
    int rc = list_path(&path, folder, err);

    for (size_t i = 0; i < list->n; i++) {
        char hex[LX_HASH_HEX + 1];
        lx_hash_hex(hex, &list->items[i].hash);
        lx_str_printf(&text, "%s  %s\n", hex, list->items[i].path);
    }
    if (rc == LX_OK && (rc = lx_str_check(&text, err)) == LX_OK)
        rc = lx_file_write(path.data, lx_str_text(&text), text.len, err);
    lx_str_release(&text);
    lx_str_release(&path);
    return rc;
}

/* ---- taking back ------------------------------------------------------------------- */

/* Is the path, or a folder on the way to it from the run's (that one, too), a link? `from`: the length of the run's. */
static bool has_link(lx_str *path, size_t from)
{
    bool yes = lx_file_is_link(path->data);
    for (size_t i = from; i < path->len && !yes; i++)
        if (path->data[i] == '/') {
            path->data[i] = '\0';
            yes = lx_file_is_link(path->data);
            path->data[i] = '/';
        }
    return yes;
}

static int remove_file(const char *path, lx_error *err)
{
    return lx_io_get()->unlink(path) < 0 && errno != ENOENT ? lx_fail_errno(err, errno, "%s: cannot remove", path)
                                                            : LX_OK;
}

/* Folders above that are empty now, but not those of a kind ("tags"). */
static void remove_folders(lx_str *path, size_t from)
{
    char *kind_end = strchr(path->data + from + 1, '/'), *slash;
    while ((slash = strrchr(path->data, '/')) > kind_end) {
        *slash = '\0';
        if (rmdir(path->data) < 0)
            break;
    }
}

static int take_back(const lx_mlflow_item *item, const char *folder, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    lx_error ignored = {0};
    lx_hash hash;
    size_t from = strlen(folder);
    bool is_ours;
    int rc;

    lx_str_printf(&path, "%s/%s", folder, item->path);
    if ((rc = lx_str_check(&path, err)) == LX_OK && !has_link(&path, from) && lx_file_exists(path.data) &&
        !lx_file_is_dir(path.data)) {
        is_ours = lx_hash_equal(&item->hash, &unwritten);
        if (!is_ours && (rc = lx_file_hash(&hash, path.data, &ignored)) == LX_OK)
            is_ours = lx_hash_equal(&item->hash, &hash);
        rc = rc == LX_ENOMEM ? lx_oom(err) : LX_OK; /* what cannot be read stays */
        if (is_ours && (rc = remove_file(path.data, err)) == LX_OK)
            remove_folders(&path, from);
    }
    lx_str_release(&path);
    return rc;
}

/* A temporary file of src/base/file.c, which MLflow would take for a key. */
static bool is_temporary(const char *name)
{
    return lx_starts_with(name, ".lx-") && lx_ends_with(name, ".tmp");
}

static int clean_folder(lx_str *path, lx_error *err)
{
    lx_dir dir = {0};
    lx_error ignored = {0};
    size_t len = path->len;
    int rc = lx_dir_list(&dir, path->data, &ignored);

    rc = rc == LX_ENOMEM ? lx_oom(err) : LX_OK; /* there is none */
    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        if (!is_temporary(dir.names[i]))
            continue;
        lx_str_printf(path, "/%s", dir.names[i]);
        if ((rc = lx_str_check(path, err)) == LX_OK && !lx_file_is_dir(path->data))
            rc = remove_file(path->data, err);
        path->len = len;
        path->data[len] = '\0';
    }
    lx_dir_free(&dir);
    return rc;
}

static int clean_folders(const lx_mlflow_list *was, const char *folder, lx_error *err)
{
    lx_str path = LX_STR_INIT, last = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < was->n && rc == LX_OK; i++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/%.*s", folder, (int)(strrchr(was->items[i].path, '/') - was->items[i].path),
                      was->items[i].path);
        if ((rc = lx_str_check(&path, err)) < 0 || strcmp(path.data, lx_str_text(&last)) == 0)
            continue;
        if (!has_link(&path, strlen(folder)))
            rc = clean_folder(&path, err);
        lx_str_clear(&last);
        lx_str_puts(&last, path.data);
    }
    lx_str_release(&path);
    lx_str_release(&last);
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const lx_mlflow_item *)a)->path, ((const lx_mlflow_item *)b)->path);
}

static void sort(lx_mlflow_list *list)
{
    if (list->n)
        qsort(list->items, list->n, sizeof *list->items, by_path);
}

int lx_mlflow_list_clean(lx_mlflow_list *was, lx_mlflow_list *is, const char *folder, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    bool was_interrupted = false;
    int rc;

    sort(was);
    sort(is);
    lx_str_puts(&path, folder);
    if ((rc = lx_str_check(&path, err)) == LX_OK && !lx_file_is_link(path.data))
        rc = clean_folder(&path, err); /* the list itself may be what was being written */
    lx_str_release(&path);
    for (size_t i = 0; i < was->n; i++)
        was_interrupted |= lx_hash_equal(&was->items[i].hash, &unwritten);
    if (was_interrupted && rc == LX_OK)
        rc = clean_folders(was, folder, err);
    for (size_t i = 0, k = 0; i < was->n && rc == LX_OK; i++) {
        while (k < is->n && by_path(&is->items[k], &was->items[i]) < 0)
            k++;
        if (k == is->n || by_path(&is->items[k], &was->items[i]) > 0)
            rc = take_back(&was->items[i], folder, err);
    }
    return rc;
}
