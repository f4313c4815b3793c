#include "cmd/inspect_similar.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/progress.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "src/base/visited.h"
#include "src/lora/hash.h"
#include "src/lora/kinship.h"
#include "src/lora/sketch.h"

/* The sketch errs by about 0.016; what is beyond it is measured. */
static const double looks_akin = 0.04, is_akin = 0.05;

typedef struct item {
    const char *path, *session;
    lx_hash bytes, tensors;
    bool has_tensors;
    lx_sketch *sketch; /* NULL: no plain LoRA in it */
    size_t group;      /* the first file it belongs to */
    const char *why;   /* to the one it was joined to, a sentence */
    size_t with;       /* that one */
    double cosine;     /* NAN = not measured */
} item;

typedef struct similar {
    lx_cli *cli;
    item *items;
    size_t n;
} similar;

/* ---- reading ------------------------------------------------------------- */

static int read_item(item *it, lx_cli *cli, const char *path, lx_error *err)
{
    lx_lora_file *file = NULL;
    const char *session;
    int rc;

    it->path = path;
    it->cosine = (double)NAN;
    if ((rc = lx_file_hash(&it->bytes, path, err)) < 0)
        return rc;
    if ((rc = lx_lora_tensor_hash_if(&it->has_tensors, &it->tensors, path, err)) < 0)
        return rc;
    if ((rc = lx_lora_file_open(&file, path, err)) < 0)
        goto done;
    session = lx_tensor_file_metadata(file->file, "ss_session_id");
    if (session && *session && !(it->session = lx_arena_strdup(cli->arena, session)))
        rc = lx_oom(err);
    if (rc == LX_OK && !(it->sketch = lx_arena_alloc(cli->arena, sizeof *it->sketch)))
        rc = lx_oom(err);
    if (rc == LX_OK && (rc = lx_lora_sketch(it->sketch, file, err)) == LX_OK &&
        !it->sketch->n_modules)
        it->sketch = NULL;
done:
    lx_lora_file_close(file);
    return rc;
}

/* A file that is named and lies in a folder that is named, too, is no copy of itself. */
static int is_first(bool *out, lx_visited *seen, const char *path, lx_error *err)
{
    struct stat st;
    int rc;

    *out = true;
    if (lx_io_get()->stat(path, &st) < 0)
        return errno == EIO ? lx_fail_errno(err, EIO, "%s", path) : LX_OK; /* else reading it says why */
    rc = lx_visited_add(seen, &st, err);
    *out = rc > 0;
    return rc < 0 ? rc : LX_OK;
}

static int read_all(similar *s, const lx_file_list *files, lx_error *err)
{
    lx_progress_view progress;
    lx_visited seen = {0};
    int rc = LX_OK;

    lx_progress_init(&progress, s->cli);
    for (size_t i = 0; i < files->count && rc == LX_OK; i++) {
        lx_error problem;
        item *it = &s->items[s->n];
        bool is_new = true;
        if (s->cli->is_terminal)
            lx_progress_phase(&progress, "reading files", (int64_t)i,
                              (int64_t)files->count);
        if ((rc = is_first(&is_new, &seen, files->paths[i], err)) < 0 || !is_new)
            continue;
        memset(it, 0, sizeof *it);
        rc = read_item(it, s->cli, files->paths[i], &problem);
        if (rc == LX_OK) {
            it->group = s->n++;
        } else if (rc != LX_ENOMEM) {
            if (rc == LX_EIO)
                s->cli->exit_status = lx_exit_status(rc);
            lx_message(s->cli, "lx inspect: %s: left out: %s\n",
                       lx_safe(s->cli, files->paths[i]), lx_safe(s->cli, problem.text));
            rc = LX_OK;
        } else {
            rc = lx_oom(err);
        }
    }
    lx_progress_close(&progress);
    lx_visited_release(&seen);
    return rc;
}

/* ---- joining ------------------------------------------------------------- */

static void join(similar *s, size_t a, size_t b, const char *why, double cosine)
{
    const size_t from = s->items[b].group, to = s->items[a].group;

    if (!s->items[b].why) {
        s->items[b].why = why;
        s->items[b].with = a;
        s->items[b].cosine = cosine;
    }
    for (size_t i = 0; i < s->n && from != to; i++)
        if (s->items[i].group == from)
            s->items[i].group = to;
}

/* Both files are read again: few pairs come so far. */
static int measure(lx_kinship *out, const item *a, const item *b, lx_error *err)
{
    lx_lora_file *x = NULL, *y = NULL;
    int rc;

    if ((rc = lx_lora_file_open(&x, a->path, err)) == LX_OK &&
        (rc = lx_lora_file_open(&y, b->path, err)) == LX_OK)
        rc = lx_lora_kinship(out, x, y, err);
    lx_lora_file_close(x);
    lx_lora_file_close(y);
    return rc;
}

static const char *akin_text(similar *s, const item *a, const item *b, double cosine)
{
    const bool one = a->session && b->session && strcmp(a->session, b->session) == 0;

    if (one)
        return lx_arena_printf(s->cli->arena, "the same training, cosine %.3f", cosine);
    if (cosine >= 0.999)
        return lx_arena_printf(s->cli->arena,
                               "the same update in other bytes, cosine %.4f", cosine);
    return lx_arena_printf(s->cli->arena, "related, cosine %.3f", cosine);
}

static bool is_same_bytes(const item *a, const item *b)
{
    return lx_hash_equal(&a->bytes, &b->bytes);
}

static bool is_same_tensors(const item *a, const item *b)
{
    return a->has_tensors && b->has_tensors && lx_hash_equal(&a->tensors, &b->tensors);
}

static void join_same(similar *s, size_t j, bool (*is_same)(const item *, const item *),
                      const char *why)
{
    for (size_t i = 0; i < j && !s->items[j].why; i++)
        if (is_same(&s->items[i], &s->items[j]))
            join(s, i, j, why, 1);
}

static int join_akin(similar *s, size_t i, size_t j, lx_error *err)
{
    const item *a = &s->items[i], *b = &s->items[j];
    const bool one = a->session && b->session && strcmp(a->session, b->session) == 0;
    const char *why;
    lx_kinship kinship;
    int rc;

    if (!one && (!a->sketch || !b->sketch ||
                 fabs(lx_sketch_cosine(a->sketch, b->sketch)) < looks_akin))
        return LX_OK;
    if (!a->sketch || !b->sketch) {
        join(s, i, j, "the same training", (double)NAN);
        return LX_OK;
    }
    if ((rc = measure(&kinship, a, b, err)) < 0)
        return rc;
    if (!one && !(fabs(kinship.cosine) >= is_akin))
        return LX_OK;
    why =
        isnan(kinship.cosine) ? "the same training" : akin_text(s, a, b, kinship.cosine);
    if (!why)
        return lx_oom(err);
    join(s, i, j, why, kinship.cosine);
    return LX_OK;
}

/* A file is joined to the earliest that it is a copy of; only without one to the earliest that
 * it is akin to, which may well come before that one. */
static int join_all(similar *s, lx_error *err)
{
    int rc = LX_OK;

    for (size_t j = 1; j < s->n && rc == LX_OK; j++) {
        join_same(s, j, is_same_bytes, "the same bytes");
        join_same(s, j, is_same_tensors, "the same tensors, other metadata");
        for (size_t i = 0; i < j && rc == LX_OK && !s->items[j].why; i++)
            rc = join_akin(s, i, j, err);
    }
    return rc;
}

/* ---- telling ------------------------------------------------------------- */

static size_t size_of(const similar *s, size_t group)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        n += s->items[i].group == group;
    return n;
}

static void show_text(const similar *s)
{
    lx_cli *cli = s->cli;
    size_t n_groups = 0, n_alone = 0;

    for (size_t g = 0; g < s->n; g++) {
        const size_t n = size_of(s, g);
        n_alone += n == 1;
        if (n < 2)
            continue;
        lx_print(cli, "%sgroup %zu: %zu files\n", n_groups ? "\n" : "", n_groups + 1, n);
        n_groups++;
        for (size_t i = 0; i < s->n; i++) {
            const item *it = &s->items[i];
            if (it->group != g)
                continue;
            lx_print(cli, "  %s\n", lx_safe(cli, it->path));
            if (it->why)
                lx_print(cli, "    %s with %s\n", lx_safe(cli, it->why),
                         lx_safe(cli, s->items[it->with].path));
        }
    }
    lx_print(cli, "%s%zu file%s: %zu group%s, %zu alone\n", n_groups ? "\n" : "", s->n,
             s->n == 1 ? "" : "s", n_groups, n_groups == 1 ? "" : "s", n_alone);
}

static void add_file(cJSON *files, const similar *s, const item *it)
{
    cJSON *o = cJSON_CreateObject();
    char hex[LX_HASH_HEX + 1];

    cJSON_AddItemToArray(files, o);
    cJSON_AddStringToObject(o, "file", it->path);
    lx_hash_hex(hex, &it->bytes);
    cJSON_AddStringToObject(o, "sha256", hex);
    if (it->has_tensors) {
        lx_hash_hex(hex, &it->tensors);
        cJSON_AddStringToObject(o, "tensors", hex);
    }
    if (it->session)
        cJSON_AddStringToObject(o, "session", it->session);
    if (!it->why)
        return;
    cJSON_AddStringToObject(o, "with", s->items[it->with].path);
    cJSON_AddStringToObject(o, "why", it->why);
    if (isfinite(it->cosine))
        cJSON_AddNumberToObject(o, "cosine", it->cosine);
}

static int show_json(const similar *s, lx_error *err)
{
    cJSON *root = cJSON_CreateArray();
    lx_str text = LX_STR_INIT;
    int rc;

    for (size_t g = 0; g < s->n; g++) {
        cJSON *files;
        if (size_of(s, g) < 2)
            continue;
        cJSON_AddItemToArray(root, files = cJSON_CreateArray());
        for (size_t i = 0; i < s->n; i++)
            if (s->items[i].group == g)
                add_file(files, s, &s->items[i]);
    }
    if ((rc = lx_json_pretty(&text, root, err)) == LX_OK)
        lx_print(s->cli, "%s\n", lx_str_text(&text));
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

int lx_inspect_similar(lx_cli *cli, const lx_file_list *files, bool as_json,
                       lx_error *err)
{
    similar s = {.cli = cli};
    int rc;

    if (!(s.items = lx_calloc(files->count, sizeof *s.items)))
        return lx_oom(err);
    if ((rc = read_all(&s, files, err)) == LX_OK && (rc = join_all(&s, err)) == LX_OK) {
        if (as_json)
            rc = show_json(&s, err);
        else
            show_text(&s);
    }
    lx_free(s.items);
    return rc;
}
