#include "src/import/tensorboard.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/import/tfevents.h"
#include "src/import/yaml.h"

typedef struct reader {
    lx_history *history;
    lx_history_run *run;
    bool takes_parameters_only;
    bool has_start, has_parameters;
    lx_sha256 origin;
    size_t n_lost; /* of the file that is read, and the first of them */
    uint64_t lost_at;
    const char *lost_why;
} reader;

static void note_time(lx_history_run *run, double time)
{
    if (time <= 0)
        return;
    if (run->started == 0 || time < run->started)
        run->started = time;
    if (time > run->ended)
        run->ended = time;
}

static int on_event(void *context, const lx_tfevent *e, lx_error *err)
{
    reader *r = context;
    lx_history *h = r->history;

    if (e->kind == LX_TFEVENT_LOST) {
        if (r->n_lost++ == 0) {
            r->lost_at = e->at;
            r->lost_why = e->text; /* a literal */
        }
        return LX_OK;
    }
    if (e->kind == LX_TFEVENT_PARAMETER) {
        r->has_parameters = true;
        if (e->text)
            lx_history_flag(h, r->run, e->tag, lx_history_text(h, e->text, e->n));
        else
            lx_history_flag_item(h, r->run, e->tag,
                                 e->is_bool           ? cJSON_CreateBool(e->value != 0)
                                 : isfinite(e->value) ? cJSON_CreateNumber(e->value)
                                                      : cJSON_CreateNull());
        return LX_OK;
    }
    if (r->takes_parameters_only)
        return LX_OK;
    switch (e->kind) {
    case LX_TFEVENT_SCALAR:
        note_time(r->run, e->time);
        return lx_history_point(h, r->run, e->tag, e->step, e->value, err);
    case LX_TFEVENT_TEXT:
        lx_history_note(h, r->run,
                        lx_history_printf(h, "%s (step %lld): %.*s", e->tag,
                                          (long long)e->step,
                                          e->n < 1500 ? (int)e->n : 1500, e->text));
        return LX_OK;
    case LX_TFEVENT_RESTART:
        return lx_history_rewind(r->run, e->step, err);
    default:
        return LX_OK;
    }
}

/* The file itself stays where it is; by its hash `lx run`'s own record of it is found again. */
static void name_file(reader *r, const char *path, size_t size)
{
    lx_history_file *file =
        lx_history_add_file(r->history, r->run, "events", lx_path_base(path));

    if (!file)
        return;
    file->path = lx_history_text(r->history, path, strlen(path));
    file->is_named = true;
    file->size = (int64_t)size;
}

static int read_file(reader *r, const char *path, lx_error *err)
{
    lx_mapping map;
    lx_error damage = {0};
    size_t used;
    bool is_cut;
    int rc = lx_file_map(&map, path, err);

    if (rc < 0)
        return rc;
    if (!r->takes_parameters_only)
        name_file(r, path, map.size);
    r->n_lost = 0;
    rc = lx_tfevents_read(&used, NULL, map.data, map.size, 0, on_event, r, &damage);
    /* The first record holds the microsecond the file was begun: it names the run,
     * however much was written since. */
    if (!r->has_start && !r->takes_parameters_only && used) {
        lx_sha256_update(&r->origin, map.data, used < 40 ? used : 40);
        r->has_start = true;
    }
    is_cut = used < map.size;
    lx_file_unmap(&map);
    if (r->n_lost && !r->takes_parameters_only) /* else told where the folder is read */
        lx_history_problem(r->history, "%s: %zu value%s left out, the first in the record at byte %llu: %s",
                           path, r->n_lost, r->n_lost == 1 ? "" : "s",
                           (unsigned long long)r->lost_at, r->lost_why);
    if (rc == LX_EFORMAT) {
        lx_history_problem(r->history, "%s: %s; what is before it was read", path,
                           damage.text);
        return LX_OK;
    }
    if (rc < 0) {
        lx_within(&damage, "%s", path);
        lx_fail_as(err, rc, &damage);
    } else if (is_cut && !r->takes_parameters_only) {
        lx_history_problem(r->history,
                           "%s: cut short at byte %zu; what is before it was read", path,
                           used);
    }
    return rc;
}

static int read_parameters(reader *r, const char *folder, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    lx_dir dir = {0};
    int rc = lx_dir_list(&dir, folder, err);

    r->takes_parameters_only = true;
    for (size_t i = 0; rc == LX_OK && i < dir.count; i++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/%s", folder, dir.names[i]);
        if ((rc = lx_str_check(&path, err)) < 0)
            break;
        const bool is_events = lx_tfevents_is_name(dir.names[i]);
        if ((!is_events && strcmp(dir.names[i], "hparams.yml") != 0) ||
            lx_history_is_link(r->history, lx_str_text(&path)))
            continue;
        if (is_events)
            rc = read_file(r, lx_str_text(&path), err);
        else
            rc = lx_import_yaml_flags(r->history, r->run, lx_str_text(&path), err);
    }
    lx_dir_free(&dir);
    lx_str_release(&path);
    return rc;
}

/* Of the folder, also when one file of it was named. sd-scripts nests
 * <stamp>/network_train: the stamp is what people know it by. */
static const char *name_of(lx_history *h, const char *folder)
{
    size_t n = strlen(folder), start;

    while (n > 1 && folder[n - 1] == '/')
        n--;
    for (start = n; start > 0 && folder[start - 1] != '/'; start--)
        ;
    if (start > 1 && n - start == strlen("network_train") &&
        memcmp(folder + start, "network_train", n - start) == 0) {
        n = start - 1;
        for (start = n; start > 0 && folder[start - 1] != '/'; start--)
            ;
    }
    return lx_history_text(h, folder + start, n - start);
}

static int read_folder(reader *r, const char *folder, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    lx_dir dir = {0};
    int rc = lx_dir_list(&dir, folder, err);

    for (size_t i = 0; rc == LX_OK && i < dir.count; i++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/%s", folder, dir.names[i]);
        if ((rc = lx_str_check(&path, err)) == LX_OK &&
            lx_tfevents_is_name(dir.names[i]) && !lx_file_is_dir(lx_str_text(&path)) &&
            !lx_history_is_link(r->history, lx_str_text(&path)))
            rc = read_file(r, lx_str_text(&path), err);
    }
    for (size_t i = 0; rc == LX_OK && i < dir.count; i++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/%s", folder, dir.names[i]);
        if ((rc = lx_str_check(&path, err)) == LX_OK &&
            lx_file_is_dir(lx_str_text(&path)) &&
            !lx_history_is_link(r->history, lx_str_text(&path)))
            rc = read_parameters(r, lx_str_text(&path), err);
    }
    lx_dir_free(&dir);
    lx_str_release(&path);
    return rc;
}

/* torch's add_hparams: a folder inside the training's with its parameters and one point a
 * result. */
static bool belongs_to_parent(const reader *r, const char *folder)
{
    size_t n = strlen(folder);
    lx_str parent = LX_STR_INIT;
    bool is_inner;

    if (!r->has_parameters)
        return false;
    for (size_t i = 0; i < r->run->n_curves; i++)
        if (r->run->curves[i].n > 1)
            return false;
    while (n > 1 && folder[n - 1] == '/')
        n--;
    while (n > 0 && folder[n - 1] != '/')
        n--;
    lx_str_append(&parent, folder, n);
    is_inner = n > 1 && !parent.failed && lx_tensorboard_is_folder(lx_str_text(&parent));
    lx_str_release(&parent);
    return is_inner;
}

int lx_import_tensorboard(lx_history *h, const char *folder, lx_error *err)
{
    reader r = {.history = h};
    char hex[LX_HASH_HEX + 1];
    lx_hash hash;
    int rc;

    if (!(r.run = lx_history_add(h, "TensorBoard", folder)))
        return lx_oom(err);
    lx_sha256_init(&r.origin);
    rc = lx_file_is_dir(folder) ? read_folder(&r, folder, err)
                                : read_file(&r, folder, err);
    if (rc < 0 || lx_history_points(r.run) == 0 || belongs_to_parent(&r, folder)) {
        lx_history_drop(h);
        return rc;
    }
    hash = lx_sha256_final(&r.origin);
    lx_hash_hex(hex, &hash);
    r.run->origin = lx_history_printf(h, "tensorboard:%.32s", hex);
    r.run->name = name_of(h, folder);
    return lx_history_check(h, err);
}

bool lx_tensorboard_is_folder(const char *folder)
{
    lx_dir dir = {0};
    bool is_one = false;

    if (lx_dir_list(&dir, folder, NULL) == LX_OK)
        for (size_t i = 0; i < dir.count && !is_one; i++)
            is_one = lx_tfevents_is_name(dir.names[i]);
    lx_dir_free(&dir);
    return is_one;
}
