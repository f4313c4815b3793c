#include "src/train/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/arena.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/str.h"
#include "src/format/safetensors.h"

enum { VERSION = 1, N_NUMBERS = 6 };

static const char file_name[] = "state.safetensors";

/* ---- the state as tensors: the same list is written and read back ----------------- */

typedef struct part {
    lx_tensor_view view; /* data: the training's own memory */
    void *memory;        /* the same, to be written into */
} part;

typedef struct parts {
    lx_arena *arena;
    part *items;
    size_t count, capacity;
    int64_t numbers[N_NUMBERS];
} parts;

static int add(parts *p, const char *name, lx_dtype dtype, size_t n, void *memory,
               lx_error *err)
{
    part *item;

    if (!name || lx_grow(&p->items, &p->capacity, p->count + 1, sizeof *p->items) < 0)
        return lx_oom(err);
    item = &p->items[p->count++];
    *item = (part){.view = {.name = name,
                            .dtype = dtype,
                            .n_dims = 1,
                            .shape = {(int64_t)n},
                            .n_elements = n,
                            .data = memory,
                            .bytes = n * (size_t)lx_dtype_bits(dtype) / 8},
                   .memory = memory};
    return LX_OK;
}

static size_t size_of(const lx_param *param)
{
    size_t n = 1;
    for (int i = 0; i < param->n_dims; i++)
        n *= (size_t)param->shape[i];
    return n;
}

static int add_lora(parts *p, const lx_lora *lora, lx_error *err)
{
    for (size_t i = 0; i < lora->n_params; i++) {
        const lx_param *param = lora->params[i];
        const char *name = lx_arena_printf(p->arena, "lora.%s", param->name);
        int rc =
            add(p, name, LX_F32, size_of(param), lx_lora_host_value(lora, param), err);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

static int add_optimizer(parts *p, const lx_optimizer *optimizer, lx_error *err)
{
    size_t n;
    const lx_optimizer_state *states = lx_optimizer_states(optimizer, &n);

    for (size_t i = 0; i < n; i++) {
        const lx_optimizer_state *s = &states[i];
        const char *name =
            s->tensor == SIZE_MAX
                ? lx_arena_printf(p->arena, "optimizer.%s", s->name)
                : lx_arena_printf(p->arena, "optimizer.%zu.%s", s->tensor, s->name);
        int rc = add(p, name, s->dtype, s->n, s->data, err);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

static int gather(parts *p, const lx_train_state *s, lx_error *err)
{
    lx_train_progress *at = s->progress;
    int rc;

    *p = (parts){.arena = lx_arena_new(),
                 .numbers = {at->step, at->epoch, at->batch, at->images_seen,
                             at->micro_steps, at->n_recent}};
    if (!p->arena)
        return lx_oom(err);
    if ((rc = add_lora(p, s->lora, err)) < 0 ||
        (rc = add_optimizer(p, s->optimizer, err)) < 0 ||
        (rc = add(p, "progress", LX_I64, N_NUMBERS, p->numbers, err)) < 0 ||
        (rc = add(p, "recent", LX_F64, (size_t)at->batches, at->recent, err)) < 0)
        return rc;
    return add(p, "recent_sum", LX_F64, 1, &at->recent_sum, err);
}

static void release(parts *p)
{
    lx_free(p->items);
    lx_arena_free(p->arena);
}

/* ---- saving ----------------------------------------------------------------------- */

static int write_file(const char *path, const parts *p, const lx_train_state *s,
                      lx_error *err)
{
    lx_tensor_view *views = lx_calloc(p->count, sizeof *views);
    char step[24], version[8];
    const lx_metadata_entry all[] = {
        {"lx.state", version},
        {"lx.step", step},
        {"lx.optimizer", lx_optimizer_name(lx_optimizer_type_of(s->optimizer))},
        {"lx.run_id", s->run_id ? s->run_id : ""},
        {"lx.spec_hash", s->spec_hash ? s->spec_hash : ""},
    };
    int rc;

    if (!views)
        return lx_oom(err);
    snprintf(version, sizeof version, "%d", VERSION);
    snprintf(step, sizeof step, "%" PRId64, s->progress->step);
    for (size_t i = 0; i < p->count; i++)
        views[i] = p->items[i].view;
    rc = lx_safetensors_write(path, views, p->count, all, sizeof all / sizeof *all, err);
    lx_free(views);
    return rc;
}

int lx_state_save(const char *folder, const lx_train_state *state, lx_error *err)
{
    const char *path;
    parts p;
    int rc = gather(&p, state, err);

    if (rc == LX_OK && (rc = lx_make_dirs(folder, err)) == LX_OK) {
        path = lx_arena_printf(p.arena, "%s/%s", folder, file_name);
        rc = path ? write_file(path, &p, state, err) : lx_oom(err);
    }
    if (rc < 0)
        rmdir(folder); /* only when it is empty */
    release(&p);
    return rc;
}

void lx_state_remove(const char *folder)
{
    lx_str path = LX_STR_INIT;

    lx_str_printf(&path, "%s/%s", folder, file_name);
    if (!path.failed) {
        lx_io_get()->unlink(lx_str_text(&path));
        rmdir(folder); /* only when it is empty */
    }
    lx_str_release(&path);
}

/* ---- loading ---------------------------------------------------------------------- */

int lx_state_find(lx_str *file, const char *path, lx_error *err)
{
    lx_str peer = LX_STR_INIT;
    bool is_peer;

    lx_str_printf(file, "%s/%s", path, file_name);
    lx_str_printf(&peer, "%s/train_state.json", path);
    is_peer = lx_file_exists(lx_str_text(&peer));
    lx_str_release(&peer);
    if (lx_file_exists(lx_str_text(file)))
        return lx_str_check(file, err);
    if (is_peer)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "%s is a state of sd-scripts, whose optimizer lx cannot go on with: "
            "--network_weights %s/model.safetensors goes on from its LoRA",
            path, path);
    lx_str_clear(file);
    lx_str_puts(file, path);
    return lx_file_exists(path) && lx_ends_with(path, ".safetensors")
               ? lx_str_check(file, err)
               : lx_fail(err, LX_ENOTFOUND, "%s holds no %s", path, file_name);
}

static int open_file(lx_tensor_file **out, const char *path, lx_error *err)
{
    lx_str file = LX_STR_INIT;
    const char *version;
    int rc = lx_state_find(&file, path, err);

    if (rc < 0)
        goto done;
    if ((rc = lx_tensor_file_open(out, lx_str_text(&file), err)) == LX_OK) {
        version = lx_tensor_file_metadata(*out, "lx.state");
        if (!version || atoi(version) != VERSION)
            rc = lx_fail(err, LX_EFORMAT,
                         "it is no state that this lx knows (lx.state %.8s, not %d)",
                         version ? version : "missing", VERSION);
    }
    if (rc < 0)
        lx_within(err, "%s", lx_str_text(&file));
done:
    lx_str_release(&file);
    return rc;
}

static int check_part(const lx_tensor_file *file, const lx_tensor_view *wanted,
                      lx_error *err)
{
    const lx_tensor_view *found = lx_tensor_file_find(file, wanted->name);

    if (!found)
        return lx_fail(
            err, LX_EFORMAT,
            "it has no %s: it is of a training with other modules or another optimizer",
            wanted->name);
    if (found->dtype != wanted->dtype || found->bytes != wanted->bytes)
        return lx_fail(
            err, LX_EFORMAT,
            "%s has %zu elements of %s, this training %zu of %s: rank, optimizer or "
            "data are not the same",
            wanted->name, found->n_elements, lx_dtype_name(found->dtype),
            wanted->n_elements, lx_dtype_name(wanted->dtype));
    return LX_OK;
}

static int check_numbers(const int64_t *n, const lx_train_progress *at, lx_error *err)
{
    const bool is_sound = n[0] >= 0 && n[1] >= 0 && n[2] >= 0 && n[2] <= at->batches &&
                          n[3] >= 0 && n[4] >= 0 && n[5] >= 0 && n[5] <= at->batches;

    return is_sound ? LX_OK : lx_fail(err, LX_EFORMAT, "its progress makes no sense");
}

static int check_all(const lx_tensor_file *file, const parts *p, const lx_train_state *s,
                     lx_error *err)
{
    const char *name = lx_optimizer_name(lx_optimizer_type_of(s->optimizer));
    const char *found = lx_tensor_file_metadata(file, "lx.optimizer");
    int64_t numbers[N_NUMBERS];
    int rc;

    if (!found || strcmp(found, name) != 0)
        return lx_fail(err, LX_EFORMAT, "it was trained with %.40s, this is %s",
                       found ? found : "no named optimizer", name);
    for (size_t i = 0; i < p->count; i++)
        if ((rc = check_part(file, &p->items[i].view, err)) < 0)
            return rc;
    memcpy(numbers, lx_tensor_file_find(file, "progress")->data, sizeof numbers);
    return check_numbers(numbers, s->progress, err);
}

static void take_all(const lx_tensor_file *file, parts *p, lx_train_progress *at)
{
    for (size_t i = 0; i < p->count; i++)
        memcpy(p->items[i].memory, lx_tensor_file_find(file, p->items[i].view.name)->data,
               p->items[i].view.bytes);
    at->step = p->numbers[0];
    at->epoch = p->numbers[1];
    at->batch = p->numbers[2];
    at->images_seen = p->numbers[3];
    at->micro_steps = p->numbers[4];
    at->n_recent = p->numbers[5];
}

int lx_state_load(const lx_train_state *state, const char *path, lx_error *err)
{
    lx_tensor_file *file = NULL;
    parts p;
    int rc = gather(&p, state, err);

    if (rc == LX_OK && (rc = open_file(&file, path, err)) == LX_OK) {
        if ((rc = check_all(file, &p, state, err)) == LX_OK)
            take_all(file, &p, state->progress);
        else
            lx_within(err, "%s", path);
    }
    lx_tensor_file_close(file);
    release(&p);
    return rc;
}

int lx_state_read(lx_state_facts *out, const char *path, lx_arena *arena, lx_error *err)
{
    lx_tensor_file *file = NULL;
    const char *step, *texts[3];
    int rc = open_file(&file, path, err);

    if (rc == LX_OK) {
        step = lx_tensor_file_metadata(file, "lx.step");
        texts[0] = lx_tensor_file_metadata(file, "lx.run_id");
        texts[1] = lx_tensor_file_metadata(file, "lx.spec_hash");
        texts[2] = lx_tensor_file_metadata(file, "lx.optimizer");
        *out = (lx_state_facts){
            .step = step ? strtoll(step, NULL, 10) : 0,
            .run_id = lx_arena_strdup(arena, texts[0] ? texts[0] : ""),
            .spec_hash = lx_arena_strdup(arena, texts[1] ? texts[1] : ""),
            .optimizer = lx_arena_strdup(arena, texts[2] ? texts[2] : "")};
        if (!out->run_id || !out->spec_hash || !out->optimizer)
            rc = lx_oom(err);
    }
    lx_tensor_file_close(file);
    return rc;
}
