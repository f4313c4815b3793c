/* Changes of files that can be taken back: gathered, recorded, applied, undone. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd/data.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "src/data/caption_file.h"
#include "src/data/marks.h"
#include "store/query.h"
#include "src/base/scrub.h"

typedef enum change_kind {
    CHANGE_EDIT,
    CHANGE_CREATE,
    CHANGE_REMOVE,
    CHANGE_MOVE,
    N_CHANGES
} change_kind;
static const char *const kind_names[] = {"edit", "create", "remove", "move"};

typedef struct change_item {
    change_kind kind;
    const char *path, *to; /* relative to root, to target */
    const char *absolute, *absolute_to;
    lx_hash before, after; /* of what is there and what will be; a move has one */
    lx_str bytes;          /* of edit and create */
} change_item;

struct lx_change {
    lx_cli *cli;
    const char *root,
        *target; /* absolute, links resolved; target: of moves, else the same */
    const char *what;
    const char *undoes; /* a run's id, or NULL */
    change_item *items;
    size_t count, capacity;
    lx_data_names taken; /* whole paths of the items, before and after */
};

enum { CHANGE_VERSION = 1, RECORD_BYTES = 64 << 20, FILE_BYTES = 1 << 30 };

/* ---- gathering ---------------------------------------------------------------------------- */

static int real_folder(const char **out, lx_arena *arena, const char *path, lx_error *err)
{
    char *real = realpath(path, NULL);
    const int saved = errno;

    *out = real ? lx_arena_strdup(arena, real) : NULL;
    if (real && !*out) {
        free(real);
        return lx_oom(err);
    }
    free(real);
    if (!*out)
        return lx_fail_errno(err, saved, "%s", path);
    return lx_file_is_dir(*out) ? LX_OK
                                : lx_fail(err, LX_EUSAGE, "%s is no folder", path);
}

int lx_change_new(lx_change **out, lx_cli *cli, const char *root, const char *target,
                  const char *what, lx_error *err)
{
    lx_change *c = lx_calloc(1, sizeof *c);
    int rc;

    *out = NULL;
    if (!c)
        return lx_oom(err);
    c->cli = cli;
    c->what = what;
    if ((rc = real_folder(&c->root, cli->arena, root, err)) == LX_OK)
        rc = real_folder(&c->target, cli->arena, target ? target : root, err);
    if (rc < 0)
        lx_change_free(c);
    else
        *out = c;
    return rc;
}

void lx_change_free(lx_change *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        lx_str_release(&c->items[i].bytes);
    lx_data_names_release(&c->taken);
    lx_free(c->items);
    lx_free(c);
}

size_t lx_change_count(const lx_change *c)
{
    return c->count;
}

/* What a dataset is made of, and nothing else: a record from elsewhere must not write a start-up file. */
static bool is_of_a_dataset(const char *path)
{
    static const char *const endings[] = {".png", ".jpg",     ".jpeg", ".webp", ".bmp",
                                          ".txt", ".caption", ".cap",  ".tags", ".npz"};
    const char *ending = lx_path_ext(path);

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(endings[i], ending) == 0)
            return true;
    return false;
}

/* The path below root, and whole. The folder it lies in is there. */
static int place(const char **relative, const char **absolute, const lx_change *c,
                 const char *root, const char *path, lx_error *err)
{
    lx_arena *arena = c->cli->arena;
    const char *name = lx_path_base(path), *folder;
    const size_t n = strlen(root);
    char *parent = name == path ? lx_arena_strdup(arena, ".")
                                : lx_arena_strndup(arena, path, (size_t)(name - path));
    int rc;

    if (!parent)
        return lx_oom(err);
    if (!is_of_a_dataset(name))
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "%s: is no image, caption (.txt .caption .cap .tags) or latents (.npz)",
            path);
    if ((rc = real_folder(&folder, arena, parent, err)) < 0)
        return rc;
    if (strncmp(folder, root, n) != 0 || (folder[n] && folder[n] != '/' && n > 1))
        return lx_fail(err, LX_EUNSUPPORTED, "%s: lies outside of %s", path, root);
    *absolute = lx_arena_printf(arena, "%s/%s", folder, name);
    if (!*absolute)
        return lx_oom(err);
    if (lx_file_is_link(*absolute))
        return lx_fail(err, LX_EUNSUPPORTED, "%s: is a symbolic link", path);
    *relative = *absolute + n + (n > 1);
    return LX_OK;
}

static int begin(change_item *out, lx_change *c, change_kind kind, const char *path,
                 lx_error *err)
{
    *out = (change_item){.kind = kind};
    return place(&out->path, &out->absolute, c, c->root, path, err);
}

static int twice(const char *path, lx_error *err)
{
    return lx_fail(err, LX_EEXISTS, "%s: two files would become this one", path);
}

static int take_bytes(change_item *item, const void *bytes, size_t n, lx_error *err)
{
    lx_str_append(&item->bytes, bytes, n);
    item->after = lx_sha256_of(bytes, n);
    return lx_str_check(&item->bytes, err);
}

/* An edit of a file that is edited already: of one that two folders lead to. */
static bool is_edited_so(const lx_change *c, const change_item *item)
{
    for (size_t i = 0; i < c->count; i++) {
        const change_item *other = &c->items[i];
        if (other->kind == CHANGE_EDIT && strcmp(other->absolute, item->absolute) == 0)
            return lx_hash_equal(&other->before, &item->before) &&
                   lx_hash_equal(&other->after, &item->after);
    }
    return false;
}

/* The item, whole, into the change; its bytes are the change's then. */
static int add(lx_change *c, change_item *item, const char *path, lx_error *err)
{
    int rc;

    if (lx_data_names_has(&c->taken, item->absolute)) {
        const bool is_done = item->kind == CHANGE_EDIT && is_edited_so(c, item);
        lx_str_release(&item->bytes);
        return is_done ? LX_OK : twice(path, err);
    }
    if (lx_grow(&c->items, &c->capacity, c->count + 1, sizeof *c->items) < 0)
        rc = lx_oom(err);
    else if ((rc = lx_data_names_add(&c->taken, item->absolute, err)) > 0 &&
             item->kind == CHANGE_MOVE)
        rc = lx_data_names_add(&c->taken, item->absolute_to, err);
    if (rc < 0) {
        lx_str_release(&item->bytes);
        return rc;
    }
    c->items[c->count++] = *item;
    return LX_OK;
}

int lx_change_edit(lx_change *c, const char *path, const lx_str *before,
                   const void *bytes, size_t n, lx_error *err)
{
    change_item item;
    int rc = begin(&item, c, CHANGE_EDIT, path, err);

    if (rc < 0)
        return rc;
    if (before)
        item.before = lx_sha256_of(lx_str_text(before), before->len);
    else if ((rc = lx_file_hash(&item.before, item.absolute, err)) < 0)
        return rc;
    if ((rc = take_bytes(&item, bytes, n, err)) == LX_OK)
        return add(c, &item, path, err);
    lx_str_release(&item.bytes);
    return rc;
}

int lx_change_create(lx_change *c, const char *path, const void *bytes, size_t n,
                     lx_error *err)
{
    change_item item;
    int rc = begin(&item, c, CHANGE_CREATE, path, err);

    if (rc < 0)
        return rc;
    if (lx_file_exists(item.absolute))
        return lx_fail(err, LX_EEXISTS, "%s: is there already", path);
    if ((rc = take_bytes(&item, bytes, n, err)) == LX_OK)
        return add(c, &item, path, err);
    lx_str_release(&item.bytes);
    return rc;
}

int lx_change_remove(lx_change *c, const char *path, lx_error *err)
{
    change_item item;
    int rc = begin(&item, c, CHANGE_REMOVE, path, err);

    if (rc < 0 || (rc = lx_file_hash(&item.before, item.absolute, err)) < 0)
        return rc;
    return add(c, &item, path, err);
}

int lx_change_move(lx_change *c, const char *from, const char *to, lx_error *err)
{
    change_item item;
    int rc = begin(&item, c, CHANGE_MOVE, from, err);

    if (rc < 0 || (rc = place(&item.to, &item.absolute_to, c, c->target, to, err)) < 0)
        return rc;
    if (lx_file_exists(item.absolute_to))
        return lx_fail(err, LX_EEXISTS, "%s: is there already", to);
    if (lx_data_names_has(&c->taken, item.absolute_to))
        return twice(to, err);
    if ((rc = lx_file_hash(&item.before, item.absolute, err)) < 0)
        return rc;
    item.after = item.before;
    return add(c, &item, from, err);
}

void lx_change_show(const lx_change *c, size_t most)
{
    lx_print(c->cli, "in %s\n", lx_safe(c->cli, c->root));
    for (size_t i = 0; i < c->count && i < most; i++) {
        const change_item *item = &c->items[i];
        lx_print(c->cli, "%-6s %s", kind_names[item->kind], lx_safe(c->cli, item->path));
        if (item->kind == CHANGE_MOVE)
            lx_print(c->cli, " -> %s", lx_safe(c->cli, item->absolute_to));
        lx_print(c->cli, "\n");
    }
    if (c->count > most)
        lx_print(c->cli, "... and %zu more\n", c->count - most);
}

/* ---- the record --------------------------------------------------------------------------- */

static void add_name(cJSON *object, const char *key, const char *name)
{
    lx_str text = LX_STR_INIT;

    lx_name_escape(&text, name);
    cJSON_AddStringToObject(object, key, lx_str_text(&text));
    lx_str_release(&text);
}

static void add_hash(cJSON *object, const char *key, const lx_hash *hash)
{
    char hex[LX_HASH_HEX + 1];

    lx_hash_hex(hex, hash);
    cJSON_AddStringToObject(object, key, hex);
}

static int make_record(lx_str *out, const lx_change *c, lx_error *err)
{
    cJSON *root = cJSON_CreateObject(), *items;
    int rc;

    cJSON_AddNumberToObject(root, "lx_change", CHANGE_VERSION);
    cJSON_AddStringToObject(root, "what", c->what);
    add_name(root, "root", c->root);
    add_name(root, "target", c->target);
    items = cJSON_AddArrayToObject(root, "items");
    for (size_t i = 0; i < c->count; i++) {
        const change_item *item = &c->items[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(items, o);
        cJSON_AddStringToObject(o, "do", kind_names[item->kind]);
        add_name(o, "path", item->path);
        if (item->kind == CHANGE_MOVE)
            add_name(o, "to", item->to);
        if (item->kind != CHANGE_CREATE)
            add_hash(o, "before", &item->before);
        if (item->kind != CHANGE_REMOVE)
            add_hash(o, "after", &item->after);
    }
    rc = lx_json_canonical(out, root, err);
    cJSON_Delete(root);
    return rc;
}

/* What will be gone, by its hash; what is put back later must be what it was now. */
static int keep_before(lx_store *store, const lx_change *c, lx_error *err)
{
    int rc = lx_store_group_begin(store, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < c->count && rc == LX_OK; i++) {
        const change_item *item = &c->items[i];
        lx_hash hash;
        if (item->kind != CHANGE_EDIT && item->kind != CHANGE_REMOVE)
            continue;
        rc = lx_object_put_file(&hash, store, item->absolute, err);
        if (rc == LX_OK && !lx_hash_equal(&hash, &item->before))
            rc = lx_fail(err, LX_EMISMATCH, "%s: changed meanwhile; nothing was written",
                         item->absolute);
    }
    return lx_store_group_end(store, rc, err);
}

static int begin_run(lx_run **out, lx_store *store, const lx_change *c, lx_error *err)
{
    lx_cli *cli = c->cli;
    const char **words =
        lx_arena_calloc(cli->arena, (size_t)cli->argc + 3, sizeof *words);
    lx_run_start start = {
        .name = c->what, .kind = "data", .flags = "{}", .flags_given = "{}"};
    lx_str line = LX_STR_INIT, record = LX_STR_INIT;
    int rc;

    if (!words)
        return lx_oom(err);
    words[0] = "lx";
    words[1] = "data";
    words[2] = strrchr(cli->name, ' ') ? strrchr(cli->name, ' ') + 1 : cli->name;
    for (int i = 0; i < cli->argc; i++)
        words[3 + i] = cli->argv[i];
    lx_scrub_command(&line, cli->argc + 3, words);
    if ((rc = lx_str_check(&line, err)) == LX_OK &&
        (rc = make_record(&record, c, err)) == LX_OK) {
        start.command_line = lx_str_text(&line);
        if ((rc = lx_run_begin(out, store, &start, err)) == LX_OK &&
            (rc = lx_run_artifact(*out, "change", "change.json", record.data, record.len,
                                  -1, err)) == LX_OK)
            rc = lx_run_flush(*out, err);
    }
    lx_str_release(&line);
    lx_str_release(&record);
    return rc;
}

/* ---- applying ----------------------------------------------------------------------------- */

static int check_item(const change_item *item, lx_error *err)
{
    lx_hash now;
    int rc;

    if (item->kind == CHANGE_CREATE)
        return lx_file_exists(item->absolute)
                   ? lx_fail(err, LX_EEXISTS, "%s: is there already", item->absolute)
                   : LX_OK;
    if ((rc = lx_file_hash(&now, item->absolute, err)) < 0)
        return rc;
    if (!lx_hash_equal(&now, &item->before))
        return lx_fail(err, LX_EMISMATCH, "%s: changed meanwhile; nothing was written",
                       item->absolute);
    if (item->kind == CHANGE_MOVE && lx_file_exists(item->absolute_to))
        return lx_fail(err, LX_EEXISTS, "%s: is there already", item->absolute_to);
    return LX_OK;
}

/* A link and not a rename, which would replace what came there meanwhile. */
static int move_file(const char *from, const char *to, lx_error *err)
{
    const lx_io *io = lx_io_get();
    int rc = LX_OK;

    if (io->link(from, to) < 0) {
        if (errno == EEXIST)
            return lx_fail(err, LX_EEXISTS, "%s: is there already", to);
        if ((rc = lx_file_copy(to, from, err)) <
            0) /* another disk, or one without links */
            return rc;
    }
    return io->unlink(from) < 0 ? lx_fail_errno(err, errno, "%s: cannot be removed", from)
                                : LX_OK;
}

static int apply_item(const change_item *item, lx_error *err)
{
    switch (item->kind) {
    case CHANGE_EDIT:
    case CHANGE_CREATE:
        return lx_file_write(item->absolute, lx_str_text(&item->bytes), item->bytes.len,
                             err);
    case CHANGE_REMOVE:
        return lx_io_get()->unlink(item->absolute) < 0
                   ? lx_fail_errno(err, errno, "%s: cannot be removed", item->absolute)
                   : LX_OK;
    default:
        return move_file(item->absolute, item->absolute_to, err);
    }
}

static int apply_all(const lx_change *c, const char *id, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < c->count && rc == LX_OK; i++)
        if ((rc = apply_item(&c->items[i], err)) < 0)
            lx_within(err,
                      "%zu of %zu files are done, and `lx data undo %s --write` takes "
                      "them back",
                      i, c->count, id);
    return rc;
}

static int mark_undone(lx_store *store, const lx_change *c, const lx_run *run,
                       lx_error *err)
{
    lx_run_row row;
    int rc;

    if (!c->undoes)
        return LX_OK;
    if ((rc = lx_query_find(&row, store, c->undoes, c->cli->arena, err)) < 0 ||
        (rc = lx_run_fact(store, row.seq, "data.undone", lx_run_id(run), err)) < 0)
        return rc;
    return lx_run_fact(store, lx_run_seq(run), "data.undoes", row.id, err);
}

int lx_change_apply(lx_change *c, const char **id, lx_error *err)
{
    lx_store *store = NULL;
    lx_run *run = NULL;
    const char *name = NULL;
    int rc = LX_OK;

    for (size_t i = 0; i < c->count && rc == LX_OK; i++)
        rc = check_item(&c->items[i], err);
    if (rc < 0 || (rc = lx_store_open(&store, c->cli->store_path, false, err)) < 0)
        return rc;
    if ((rc = keep_before(store, c, err)) < 0 ||
        (rc = begin_run(&run, store, c, err)) < 0)
        goto done;
    if (!(name = lx_arena_strdup(c->cli->arena, lx_run_id(run))))
        rc = lx_oom(err);
    else if ((rc = apply_all(c, name, err)) == LX_OK)
        rc = mark_undone(store, c, run, err);
    if (rc == LX_OK)
        rc = lx_run_end(run, "finished", NULL, err);
    else
        lx_run_end(run, "failed", err ? err->text : NULL, NULL);
    run = NULL;
done:
    if (run)
        lx_run_abandon(run);
    lx_store_close(store);
    if (id)
        *id = name;
    return rc;
}

/* ---- taking back -------------------------------------------------------------------------- */

/* The newest change that was neither taken back nor takes one back. */
static int find_newest(lx_run_row *out, lx_store *store, lx_arena *arena, lx_error *err)
{
    const lx_run_filter filter = {.kind = "data"};
    lx_remark_row *facts;
    lx_run_list runs;
    size_t n;
    int rc;

    if ((rc = lx_query_runs(&runs, store, &filter, arena, err)) < 0)
        return rc;
    for (size_t i = 0; i < runs.count; i++) {
        bool is_done = false;
        rc = lx_query_remarks(&facts, &n, store, runs.rows[i].seq, "fact", arena, err);
        if (rc < 0)
            return rc;
        for (size_t k = 0; k < n; k++)
            is_done |= lx_starts_with(facts[k].key, "data.undo");
        if (is_done)
            continue;
        *out = runs.rows[i];
        return LX_OK;
    }
    return lx_fail(err, LX_ENOTFOUND, "no change of lx data is left to be taken back");
}

static int read_record(cJSON **out, lx_store *store, const lx_run_row *run,
                       lx_arena *arena, lx_error *err)
{
    lx_artifact_row *rows;
    lx_str text = LX_STR_INIT;
    lx_hash hash;
    size_t n;
    int rc;

    *out = NULL;
    if ((rc = lx_query_artifacts(&rows, &n, store, run, arena, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].role, "change") != 0 || !rows[i].is_kept ||
            rows[i].size > RECORD_BYTES || !lx_hash_from_hex(&hash, rows[i].object))
            continue;
        if ((rc = lx_object_get(&text, store, &hash, err)) == LX_OK)
            rc = lx_json_parse(out, lx_str_text(&text), text.len, err);
        lx_str_release(&text);
        return rc;
    }
    return lx_fail(err, LX_EUSAGE, "run %s is no change of lx data", run->id);
}

static int get_name(const char **out, const cJSON *object, const char *key,
                    lx_arena *arena, lx_error *err)
{
    const char *text = lx_json_text(object, key);
    char *name;
    int rc;

    if (!text)
        return lx_fail(err, LX_EFORMAT, "the record of the change has no \"%s\"", key);
    if ((rc = lx_name_unescape(&name, text, strlen(text), arena, err)) == LX_OK)
        *out = name;
    return rc;
}

/* A file of the record: its path below `root`. */
static int get_path(const char **out, const cJSON *object, const char *key,
                    const char *root, lx_arena *arena, lx_error *err)
{
    int rc = get_name(out, object, key, arena, err);

    if (rc < 0)
        return rc;
    if (!lx_name_is_inside(*out))
        return lx_fail(err, LX_EFORMAT,
                       "the record of the change leads out of its folder");
    *out = lx_arena_printf(arena, "%s/%s", root, *out);
    return *out ? LX_OK : lx_oom(err);
}

static bool get_hash(lx_hash *out, const cJSON *object, const char *key)
{
    const char *text = lx_json_text(object, key);
    return text && lx_hash_from_hex(out, text);
}

typedef enum file_state { FILE_ABSENT, FILE_BEFORE, FILE_AFTER, FILE_OTHER } file_state;

/* before, after: NULL where there was no file. */
static int state_of(file_state *out, const char *path, const lx_hash *before,
                    const lx_hash *after, lx_error *err)
{
    lx_hash now;
    int rc;

    *out = FILE_ABSENT;
    if (!lx_file_exists(path))
        return LX_OK;
    if ((rc = lx_file_hash(&now, path, err)) < 0)
        return rc;
    *out = after && lx_hash_equal(&now, after)     ? FILE_AFTER
           : before && lx_hash_equal(&now, before) ? FILE_BEFORE
                                                   : FILE_OTHER;
    return LX_OK;
}

static int refuse(const char *path, lx_error *err)
{
    return lx_fail(err, LX_EMISMATCH, "%s: was changed since; nothing is taken back",
                   path);
}

/* The bytes of before, out of the store. */
static int restore(lx_change *c, lx_store *store, const char *path, const lx_hash *before,
                   bool is_there, lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    int rc = lx_object_get(&bytes, store, before, err);

    if (rc == LX_OK)
        rc = is_there ? lx_change_edit(c, path, NULL, lx_str_text(&bytes), bytes.len, err)
                      : lx_change_create(c, path, lx_str_text(&bytes), bytes.len, err);
    lx_str_release(&bytes);
    return rc;
}

static int invert_move(lx_change *c, const cJSON *object, const lx_hash *hash,
                       lx_error *err)
{
    const char *from, *to;
    file_state at_from, at_to;
    int rc;

    if ((rc = get_path(&from, object, "path", c->target, c->cli->arena, err)) < 0 ||
        (rc = get_path(&to, object, "to", c->root, c->cli->arena, err)) < 0 ||
        (rc = state_of(&at_from, from, hash, NULL, err)) < 0 ||
        (rc = state_of(&at_to, to, hash, NULL, err)) < 0)
        return rc;
    if (at_to == FILE_ABSENT && at_from == FILE_BEFORE)
        return LX_OK; /* it was never moved, or is back already */
    if (at_to != FILE_BEFORE)
        return refuse(to, err);
    if (at_from == FILE_BEFORE) /* stopped between the two halves of a move */
        return lx_change_remove(c, to, err);
    return at_from == FILE_ABSENT ? lx_change_move(c, to, from, err) : refuse(from, err);
}

static int invert_item(lx_change *c, lx_store *store, const cJSON *object, lx_error *err)
{
    const char *what = lx_json_text(object, "do"), *path;
    lx_hash before, after;
    const bool has_before = get_hash(&before, object, "before"),
               has_after = get_hash(&after, object, "after");
    file_state state;
    int kind = 0, rc;

    while (kind < N_CHANGES && (!what || strcmp(kind_names[kind], what) != 0))
        kind++;
    if (kind == N_CHANGES || has_before != (kind != CHANGE_CREATE) ||
        has_after != (kind != CHANGE_REMOVE))
        return lx_fail(err, LX_EFORMAT, "the record of the change is damaged");
    if (kind == CHANGE_MOVE)
        return invert_move(c, object, &before, err);
    if ((rc = get_path(&path, object, "path", c->root, c->cli->arena, err)) < 0 ||
        (rc = state_of(&state, path, has_before ? &before : NULL,
                       has_after ? &after : NULL, err)) < 0)
        return rc;
    if (state == FILE_BEFORE || (state == FILE_ABSENT && !has_before))
        return LX_OK;
    if (state == FILE_OTHER || (state == FILE_ABSENT && has_after))
        return refuse(path, err);
    return has_before ? restore(c, store, path, &before, state == FILE_AFTER, err)
                      : lx_change_remove(c, path, err);
}

/* Of records that have a path more than once (lx made such) the last item says what is there now. */
static int drop_repeated(cJSON *items, lx_error *err)
{
    lx_data_names met = {0};
    cJSON *item = items && items->child ? items->child->prev : NULL; /* the last */
    int rc = LX_OK;

    while (item && rc >= 0) {
        cJSON *before = item == items->child ? NULL : item->prev;
        const char *path = lx_json_text(item, "path");
        if (path && (rc = lx_data_names_add(&met, path, err)) == 0)
            cJSON_Delete(cJSON_DetachItemViaPointer(items, item));
        item = before;
    }
    lx_data_names_release(&met);
    return rc < 0 ? rc : LX_OK;
}

static int invert(lx_change **out, lx_cli *cli, lx_store *store, const lx_run_row *run,
                  lx_error *err)
{
    const cJSON *object;
    const char *root, *target;
    cJSON *record;
    int rc = read_record(&record, store, run, cli->arena, err);

    if (rc < 0)
        return rc;
    if (lx_json_number(record, "lx_change", 0) != CHANGE_VERSION)
        rc = lx_fail(err, LX_EUNSUPPORTED, "the change was made by a newer lx");
    /* What was moved lies in the target now, and goes back to the root. */
    if (rc == LX_OK && (rc = get_name(&root, record, "root", cli->arena, err)) == LX_OK &&
        (rc = get_name(&target, record, "target", cli->arena, err)) == LX_OK)
        rc = lx_change_new(out, cli, target, root, "undo", err);
    if (rc == LX_OK)
        rc = drop_repeated(cJSON_GetObjectItemCaseSensitive(record, "items"), err);
    cJSON_ArrayForEach(object, cJSON_GetObjectItemCaseSensitive(record, "items"))
    {
        if (rc == LX_OK)
            rc = invert_item(*out, store, object, err);
    }
    cJSON_Delete(record);
    return rc;
}

int lx_change_inverse(lx_change **out, const char **id, lx_cli *cli, const char *wanted,
                      lx_error *err)
{
    lx_store *store = NULL;
    lx_run_row run;
    int rc;

    *out = NULL;
    if ((rc = lx_store_open(&store, cli->store_path, true, err)) < 0)
        return rc;
    rc = wanted ? lx_query_find(&run, store, wanted, cli->arena, err)
                : find_newest(&run, store, cli->arena, err);
    if (rc == LX_OK && (rc = invert(out, cli, store, &run, err)) == LX_OK)
        (*out)->undoes = *id = run.id;
    lx_store_close(store);
    if (rc < 0) {
        lx_change_free(*out);
        *out = NULL;
    }
    return rc;
}
