#include "src/import/console_log.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/import/console.h"

typedef struct reader {
    lx_history *history;
    lx_history_run *run; /* of the training being read; NULL before the first */
    const char *path;
    char hash[LX_HASH_HEX + 1];
    size_t n_trainings;
    lx_console console;
} reader;

static void add_number(reader *r, const char *flag, double x)
{
    if (x >= 0)
        lx_history_flag_item(r->history, r->run, flag, cJSON_CreateNumber(x));
}

static void add_fact(reader *r, const char *key, int64_t x)
{
    if (x >= 0)
        lx_history_fact(r->history, r->run, key,
                        lx_history_printf(r->history, "%lld", (long long)x));
}

/* What the state says when a training is over. */
static void conclude(reader *r, const lx_console_state *s)
{
    add_number(r, "max_train_steps", (double)s->total_steps);
    add_number(r, "train_batch_size", (double)s->batch_size);
    add_number(r, "gradient_accumulation_steps", (double)s->gradient_accumulation_steps);
    add_number(r, "network_dim", (double)s->network_dim);
    add_number(r, "network_alpha", s->network_alpha);
    add_fact(r, "num_train_images", s->num_train_images);
    add_fact(r, "num_reg_images", s->num_reg_images);
    add_fact(r, "num_batches_per_epoch", s->num_batches_per_epoch);
    add_fact(r, "num_epochs", s->num_epochs);
    add_fact(r, "total_batch_size", s->total_batch_size);
    r->run->status = s->is_finished ? "finished" : "interrupted";
    if (!s->is_finished)
        r->run->message =
            lx_history_printf(r->history, "its console ends at step %lld of %lld",
                              (long long)s->step, (long long)s->total_steps);
    r->run->started = -s->elapsed; /* before its end, which console_read knows */
}

/* "H:\Models\last.safetensors" and "/out/last.safetensors" end alike. */
static const char *base_of(const char *path)
{
    const char *base = path;

    for (; *path; path++)
        if (*path == '/' || *path == '\\')
            base = path + 1;
    return base;
}

/* What sd-scripts saves as; any other dot is the name's: hifumi-v1.5. */
static size_t stem_of(const char *base)
{
    static const char *const endings[] = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"};
    const char *ext = lx_path_ext(base);

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcmp(ext, endings[i]) == 0)
            return strlen(base) - strlen(ext);
    return strlen(base);
}

static int begin(reader *r, lx_error *err)
{
    lx_history *h = r->history;

    if (!(r->run = lx_history_add(h, "console log", r->path)))
        return lx_oom(err);
    r->run->origin = lx_history_printf(h, "console:%s#%zu", r->hash, ++r->n_trainings);
    return LX_OK;
}

static int on_event(void *context, const lx_console_event *e, lx_error *err)
{
    reader *r = context;
    lx_history *h = r->history;

    /* The state of a training ends when the next one begins: its numbers were taken as
     * they came. */
    if (e->kind == LX_CONSOLE_TRAINING)
        return begin(r, err);
    if (!r->run)
        return LX_OK;
    switch (e->kind) {
    case LX_CONSOLE_OVER:
        conclude(r, e->state);
        return LX_OK;
    case LX_CONSOLE_POINT:
        return lx_history_point(h, r->run, e->key, e->step, e->value, err);
    case LX_CONSOLE_EPOCH:
        return lx_history_point(h, r->run, "epoch", e->state->step,
                                (double)e->state->epoch, err);
    case LX_CONSOLE_SAVED:
    case LX_CONSOLE_LAST:
        lx_history_note(h, r->run,
                        lx_history_printf(h, "saved %s at step %lld", base_of(e->path),
                                          (long long)e->state->step));
        if (e->kind == LX_CONSOLE_LAST && !lx_starts_with(base_of(e->path), "last."))
            r->run->name = lx_history_printf(h, "%.*s", (int)stem_of(base_of(e->path)),
                                             base_of(e->path));
        return LX_OK;
    default:
        return LX_OK;
    }
}

static int read_bytes(reader *r, const lx_mapping *map, lx_error *err)
{
    int rc;

    lx_console_init(&r->console, on_event, r);
    rc = lx_console_feed(&r->console, map->data, map->size, err);
    return rc < 0 ? rc : lx_console_finish(&r->console, err);
}

/* Runs follow each other in the file; the last one ended when it was last written. */
static int set_times(reader *r, size_t first, lx_error *err)
{
    lx_history *h = r->history;
    struct stat st = {0};
    double at;

    if (lx_io_get()->stat(r->path, &st) < 0)
        return lx_fail_errno(err, errno, "%s", r->path);
    at = (double)st.st_mtim.tv_sec;
    for (size_t i = h->count; i-- > first;) {
        h->runs[i]->ended = at;
        at += h->runs[i]->started;
        h->runs[i]->started = at;
    }
    return LX_OK;
}

int lx_import_console_log(lx_history *h, const char *path, lx_error *err)
{
    reader *r = lx_calloc(1, sizeof *r);
    size_t first = h->count;
    lx_history_file *file;
    lx_mapping map;
    lx_hash hash;
    int rc;

    if (!r)
        return lx_oom(err);
    r->history = h;
    r->path = path;
    if ((rc = lx_file_map(&map, path, err)) < 0)
        goto done;
    hash = lx_sha256_of(map.data, map.size);
    lx_hash_hex(r->hash, &hash);
    if ((rc = read_bytes(r, &map, err)) < 0)
        lx_within(err, "%s", path);
    lx_file_unmap(&map);
    if (rc == LX_OK)
        rc = set_times(r, first, err);
    for (size_t i = first; i < h->count && rc == LX_OK; i++) {
        if ((file = lx_history_add_file(h, h->runs[i], "console", lx_path_base(path))))
            file->path = h->runs[i]->from;
        if (!h->runs[i]
                 ->name) /* nothing was saved: the file's name, without its ending */
            h->runs[i]->name = lx_history_printf(
                h, "%.*s", (int)(strlen(lx_path_base(path)) - strlen(lx_path_ext(path))),
                lx_path_base(path));
    }
done:
    lx_free(r);
    return rc < 0 ? rc : lx_history_check(h, err);
}
