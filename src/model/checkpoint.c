#include "src/model/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/model/checkpoint_internal.h"
#include "src/model/folder.h"
#include "src/model/keys.h"

enum { JSON_LIMIT = 64 << 20 };

const char *lx_part_name(lx_part part)
{
    static const char *const names[LX_PART_COUNT] = {"UNet", "text encoder", "VAE"};

    return (unsigned)part < LX_PART_COUNT ? names[part] : "?";
}

/* ---- the table of a part ------------------------------------------------------------------ */

static size_t slot_of(const lx_checkpoint_table *table, const char *name)
{
    size_t mask = table->n_slots - 1;
    size_t slot = (size_t)lx_hash_name(name) & mask;

    while (table->slots[slot] && strcmp(table->entries[table->slots[slot] - 1].name, name) != 0)
        slot = (slot + 1) & mask;
    return slot;
}

lx_checkpoint_entry *lx_checkpoint__entry(const lx_checkpoint *ckpt, lx_part part,
                                          const char *name)
{
    const lx_checkpoint_table *table = &ckpt->parts[part];
    uint32_t found;

    if (table->count == 0)
        return NULL;
    found = table->slots[slot_of(table, name)];
    return found ? &table->entries[found - 1] : NULL;
}

static int grow_index(lx_checkpoint_table *table, lx_error *err)
{
    size_t n_slots = table->n_slots ? table->n_slots * 2 : 256;
    uint32_t *slots = lx_calloc(n_slots, sizeof(*slots));

    if (!slots)
        return lx_oom(err);
    lx_free(table->slots);
    table->slots = slots;
    table->n_slots = n_slots;
    for (size_t i = 0; i < table->count; i++)
        slots[slot_of(table, table->entries[i].name)] = (uint32_t)(i + 1);
    return 0;
}

static int add_weight(lx_checkpoint *ckpt, lx_part part, const char *name,
                      const lx_tensor_view *view, lx_error *err)
{
    lx_checkpoint_table *table = &ckpt->parts[part];
    lx_checkpoint_entry *entry = lx_checkpoint__entry(ckpt, part, name);
    int rc;

    if (entry)
        return lx_fail(err, LX_EFORMAT, "\"%s\" and \"%s\" are both the %s's %s",
                       entry->view->name, view->name, lx_part_name(part), name);
    if ((table->count + 1) * 2 > table->n_slots && (rc = grow_index(table, err)) < 0)
        return rc;
    if (lx_grow(&table->entries, &table->capacity, table->count + 1, sizeof(*entry)) < 0)
        return lx_oom(err);
    entry = &table->entries[table->count];
    *entry = (lx_checkpoint_entry){.name = lx_arena_strdup(ckpt->arena, name), .view = view};
    if (!entry->name)
        return lx_oom(err);
    table->slots[slot_of(table, name)] = (uint32_t)++table->count;
    return 0;
}

const lx_tensor_view *lx_checkpoint_find(const lx_checkpoint *ckpt, lx_part part,
                                         const char *name)
{
    lx_checkpoint_entry *entry = lx_checkpoint__entry(ckpt, part, name);

    return entry ? entry->view : NULL;
}

static lx_checkpoint_entry *weight_of(const lx_checkpoint *ckpt, lx_part part,
                                      const char *layer)
{
    char name[256];
    const int n = snprintf(name, sizeof name, "%s.weight", layer);

    return n > 0 && (size_t)n < sizeof name ? lx_checkpoint__entry(ckpt, part, name)
                                            : NULL;
}

const lx_tensor_view *lx_checkpoint_find_weight(const lx_checkpoint *ckpt, lx_part part,
                                                const char *layer)
{
    const lx_checkpoint_entry *entry = weight_of(ckpt, part, layer);

    return entry ? entry->view : NULL;
}

int lx_checkpoint_change(lx_checkpoint *ckpt, lx_part part, const char *layer,
                         const float *values, lx_error *err)
{
    lx_checkpoint_entry *entry = weight_of(ckpt, part, layer);
    lx_tensor_view *view;
    float *copy;

    if (!entry)
        return lx_fail(err, LX_EFORMAT, "the %s has no weight %s", lx_part_name(part),
                       layer);
    lx_assert(!entry->copies);
    view = lx_arena_alloc(ckpt->arena, sizeof *view);
    copy = lx_arena_alloc(ckpt->arena, entry->view->n_elements * sizeof *copy);
    if (!view || !copy)
        return lx_oom(err);
    memcpy(copy, values, entry->view->n_elements * sizeof *copy);
    *view = *entry->view;
    view->dtype = LX_F32;
    view->bytes = view->n_elements * sizeof *copy;
    view->data = copy;
    entry->view = view;
    return LX_OK;
}

int lx_checkpoint_append(lx_checkpoint *ckpt, lx_part part, const char *layer, const float *rows,
                         size_t n, lx_error *err)
{
    lx_checkpoint_entry *entry = weight_of(ckpt, part, layer);
    lx_tensor_view *view;
    float *copy;
    size_t total;
    int rc;

    if (!entry || entry->view->n_dims != 2)
        return lx_fail(err, LX_EFORMAT, "the %s has no table %s", lx_part_name(part), layer);
    lx_assert(!entry->copies);
    total = entry->view->n_elements + n * (size_t)entry->view->shape[1];
    view = lx_arena_alloc(ckpt->arena, sizeof *view);
    copy = lx_arena_alloc(ckpt->arena, total * sizeof *copy);
    if (!view || !copy)
        return lx_oom(err);
    if ((rc = lx_to_f32(copy, entry->view->data, entry->view->dtype, entry->view->n_elements)) < 0)
        return lx_fail(err, rc, "weights of type %s cannot be read as numbers",
                       lx_dtype_name(entry->view->dtype));
    memcpy(copy + entry->view->n_elements, rows, (total - entry->view->n_elements) * sizeof *copy);
    *view = *entry->view;
    view->dtype = LX_F32;
    view->shape[0] += (int64_t)n;
    view->n_elements = total;
    view->bytes = total * sizeof *copy;
    view->data = copy;
    entry->view = view;
    return LX_OK;
}

size_t lx_checkpoint_count(const lx_checkpoint *ckpt, lx_part part)
{
    return ckpt->parts[part].count;
}

const lx_tensor_view *lx_checkpoint_at(const lx_checkpoint *ckpt, lx_part part, size_t i,
                                       const char **name)
{
    const lx_checkpoint_entry *entry = &ckpt->parts[part].entries[i];

    if (name)
        *name = entry->name;
    return entry->view;
}

const char *lx_checkpoint_metadata(const lx_checkpoint *ckpt, const char *key)
{
    for (size_t i = 0; i < ckpt->n_files; i++) {
        const char *value = lx_tensor_file_metadata(ckpt->files[i], key);

        if (value)
            return value;
    }
    return NULL;
}

/* ---- files -------------------------------------------------------------------------------- */

static int open_file(lx_tensor_file **out, lx_checkpoint *ckpt, const char *path, lx_error *err)
{
    int rc;

    if (lx_grow(&ckpt->files, &ckpt->files_capacity, ckpt->n_files + 1, sizeof(*out)) < 0)
        return lx_oom(err);
    if ((rc = lx_tensor_file_open(out, path, err)) < 0)
        return rc;
    ckpt->files[ckpt->n_files++] = *out;
    return 0;
}

/* A whole model: what belongs to `skipped` (LX_PART_COUNT = nothing) is left out. */
static int add_model_file(lx_checkpoint *ckpt, const char *path, lx_part skipped, lx_error *err)
{
    lx_tensor_file *file;
    lx_str name = LX_STR_INIT;
    size_t n;
    int rc;

    if ((rc = open_file(&file, ckpt, path, err)) < 0)
        goto done;
    n = lx_tensor_file_count(file);
    for (size_t i = 0; i < n; i++) {
        const lx_tensor_view *view = lx_tensor_file_at(file, i);
        const char *foreign = lx_key_foreign_model(view->name);
        lx_part part;

        if (foreign) {
            rc = lx_fail(err, LX_EUNSUPPORTED,
                         "this is a %s model (key \"%s\"); lx trains Stable Diffusion 1.x",
                         foreign, view->name);
            goto done;
        }
        if (!lx_key_of_model(&part, &name, view->name) || part == skipped)
            continue;
        if ((rc = lx_str_check(&name, err)) < 0 ||
            (rc = add_weight(ckpt, part, lx_str_text(&name), view, err)) < 0)
            goto done;
    }
    if (ckpt->parts[LX_UNET].count == 0)
        rc = lx_fail(err, LX_EFORMAT,
                     "not a Stable Diffusion 1.x model: none of its %zu tensors is named "
                     "model.diffusion_model.*%s",
                     n, n > 0 && lx_starts_with(lx_tensor_file_at(file, 0)->name, "lora_")
                            ? " (this is a LoRA file)" : "");
done:
    if (rc < 0)
        lx_within(err, "%s", path);
    lx_str_release(&name);
    return rc;
}

static bool has_prefix(const lx_tensor_file *file, const char *prefix)
{
    for (size_t i = 0; i < lx_tensor_file_count(file); i++)
        if (lx_starts_with(lx_tensor_file_at(file, i)->name, prefix))
            return true;
    return false;
}

/* One part alone; for the VAE also a whole model's file, of which only the VAE is taken. */
static int add_part_file(lx_checkpoint *ckpt, lx_part part, const char *path, lx_error *err)
{
    lx_tensor_file *file;
    lx_str name = LX_STR_INIT;
    size_t before = ckpt->parts[part].count;
    bool is_model;
    int rc;

    if ((rc = open_file(&file, ckpt, path, err)) < 0)
        goto done;
    is_model = part == LX_VAE && has_prefix(file, "first_stage_model.");
    for (size_t i = 0; i < lx_tensor_file_count(file); i++) {
        const lx_tensor_view *view = lx_tensor_file_at(file, i);
        lx_part found = part;
        bool is_weight = is_model ? lx_key_of_model(&found, &name, view->name)
                                  : lx_key_of_part(&name, part, view->name);

        if (!is_weight || found != part)
            continue;
        if ((rc = lx_str_check(&name, err)) < 0 ||
            (rc = add_weight(ckpt, part, lx_str_text(&name), view, err)) < 0)
            goto done;
    }
    if (ckpt->parts[part].count == before)
        rc = lx_fail(err, LX_EFORMAT, "no weights of a %s among its %zu tensors",
                     lx_part_name(part), lx_tensor_file_count(file));
done:
    if (rc < 0)
        lx_within(err, "%s", path);
    lx_str_release(&name);
    return rc;
}

/* ---- diffusers folders -------------------------------------------------------------------- */

static char *join_path(lx_checkpoint *ckpt, const char *folder, const char *name)
{
    return lx_arena_printf(ckpt->arena, "%s/%s", folder, name);
}

static int add_part_folder(lx_checkpoint *ckpt, lx_part part, const char *folder, lx_error *err)
{
    lx_weight_files files;
    int rc = lx_weight_files_find(&files, ckpt->arena, folder, lx_part_name(part), err);

    for (size_t i = 0; i < files.n && rc == 0; i++) {
        const char *path = join_path(ckpt, folder, files.names[i]);
        rc = path ? add_part_file(ckpt, part, path, err) : lx_oom(err);
    }
    return rc;
}

/* The number of heads, which shapes cannot tell, stands beside the weights here. */
static int read_text_config(lx_checkpoint *ckpt, const char *path, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    cJSON *json = NULL;
    double heads;
    int rc;

    if (!lx_file_exists(path))
        return 0;
    if ((rc = lx_file_read(&text, path, JSON_LIMIT, err)) < 0 ||
        (rc = lx_json_parse(&json, text.data, text.len, err)) < 0) {
        lx_within(err, "%s", path);
        goto done;
    }
    heads = lx_json_number(json, "num_attention_heads", 0);
    if (heads >= 1 && heads <= 4096)
        ckpt->folder_text_heads = (int)heads;
done:
    cJSON_Delete(json);
    lx_str_release(&text);
    return rc;
}

static int add_model_folder(lx_checkpoint *ckpt, const char *path, lx_part skipped, lx_error *err)
{
    static const char *const folders[LX_PART_COUNT] = {"unet", "text_encoder", "vae"};
    char *config = join_path(ckpt, path, "text_encoder/config.json");
    int rc;

    for (lx_part part = 0; part < LX_PART_COUNT; part++) {
        char *folder = join_path(ckpt, path, folders[part]);

        if (!folder)
            return lx_oom(err);
        if (part == skipped)
            continue;
        if (!lx_file_is_dir(folder))
            return lx_fail(err, LX_ENOTFOUND, "%s: not a diffusers model: it has no %s/ in it",
                           path, folders[part]);
        if ((rc = add_part_folder(ckpt, part, folder, err)) < 0)
            return rc;
    }
    return config ? read_text_config(ckpt, config, err) : lx_oom(err);
}

static int add_vae(lx_checkpoint *ckpt, const char *path, lx_error *err)
{
    char *inner;

    if (!lx_file_is_dir(path))
        return add_part_file(ckpt, LX_VAE, path, err);
    if (!(inner = join_path(ckpt, path, "vae")))
        return lx_oom(err);
    return add_part_folder(ckpt, LX_VAE, lx_file_is_dir(inner) ? inner : path, err);
}

/* ---- open, close -------------------------------------------------------------------------- */

int lx_checkpoint_open(lx_checkpoint **out, const char *path, const char *vae_path,
                       lx_error *err)
{
    lx_part skipped = vae_path ? LX_VAE : LX_PART_COUNT;
    lx_checkpoint *ckpt = lx_calloc(1, sizeof(*ckpt));
    int rc;

    *out = NULL;
    if (!ckpt || !(ckpt->arena = lx_arena_new())) {
        rc = lx_oom(err);
        goto done;
    }
    rc = lx_file_is_dir(path) ? add_model_folder(ckpt, path, skipped, err)
                              : add_model_file(ckpt, path, skipped, err);
    if (rc < 0 || (vae_path && (rc = add_vae(ckpt, vae_path, err)) < 0))
        goto done;
    *out = ckpt;
    ckpt = NULL;
done:
    lx_checkpoint_close(ckpt);
    return rc;
}

void lx_checkpoint_close(lx_checkpoint *ckpt)
{
    if (!ckpt)
        return;
    for (lx_part part = 0; part < LX_PART_COUNT; part++) {
        lx_checkpoint_unload(ckpt, NULL, part);
        lx_free(ckpt->parts[part].entries);
        lx_free(ckpt->parts[part].slots);
    }
    for (size_t i = 0; i < ckpt->n_files; i++)
        lx_tensor_file_close(ckpt->files[i]);
    lx_free(ckpt->files);
    lx_arena_free(ckpt->arena);
    lx_free(ckpt);
}
