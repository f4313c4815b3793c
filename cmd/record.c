#include "cmd/record.h"

#include <string.h>
#include <unistd.h>

#include "cmd/train_spec.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/model/checkpoint.h"
#include "src/train/state.h"
#include "store/dataset.h"
#include "store/query.h"

/* ---- the dataset's tree ------------------------------------------------------------------ */

int lx_record_dataset(char **root, lx_store *store, const lx_dataset *d, lx_error *err)
{
    lx_store_folder *folders = lx_calloc(d->n_folders, sizeof *folders);
    lx_store_image *images = lx_calloc(d->n_images, sizeof *images);
    size_t at = 0;
    int rc;

    if (!folders || !images) {
        rc = lx_oom(err);
        goto done;
    }
    for (size_t f = 0; f < d->n_folders; f++) {
        const lx_folder *from = &d->folders[f];
        folders[f] = (lx_store_folder){.name = from->name,
                                       .class_tokens = from->class_tokens,
                                       .repeats = from->repeats,
                                       .is_reg = from->is_reg,
                                       .images = images + at};
        for (size_t i = 0; i < d->n_images; i++) {
            const lx_image *image = &d->images[i];
            if ((size_t)image->folder != f)
                continue;
            images[at++] =
                (lx_store_image){.name = lx_path_base(image->path),
                                 .hash = image->hash,
                                 .bytes = image->file_bytes,
                                 .width = image->width,
                                 .height = image->height,
                                 .caption = image->caption,
                                 .latents = image->npz ? &image->npz_hash : NULL};
            folders[f].n_images++;
        }
    }
    rc = lx_store_dataset_put(root, store, folders, d->n_folders, err);
done:
    lx_free(folders);
    lx_free(images);
    return rc;
}

/* ---- base model and spec ----------------------------------------------------------------- */

static int describe_base(cJSON **out, const char *path, lx_error *err)
{
    char old_hash[9], sha256[65];
    int rc = lx_checkpoint_hashes(old_hash, sha256, path, err);
    if (rc < 0)
        return rc;
    *out = cJSON_CreateObject();
    cJSON_AddStringToObject(*out, "path", path);
    cJSON_AddStringToObject(*out, "sha256", sha256);
    cJSON_AddStringToObject(*out, "model_hash", old_hash);
    return *out ? LX_OK : lx_oom(err);
}

/* Why the state's run is not gone on with. */
static int tell_difference(lx_str *note, lx_store *store, const char *id,
                           const char *spec, lx_arena *arena, lx_error *err)
{
    lx_run_texts texts;
    lx_run_row row;
    char *differs;
    int rc = *id ? lx_query_find(&row, store, id, arena, err) : LX_ENOTFOUND;

    if (rc == LX_ENOTFOUND)
        return LX_OK; /* a state from another store */
    if (rc < 0 || (rc = lx_query_texts(&texts, store, &row, arena, err)) < 0 ||
        !texts.spec)
        return rc;
    if ((rc = lx_train_spec_difference(&differs, texts.spec, spec, err)) < 0 || !differs)
        return rc;
    lx_str_printf(note,
                  "the state is of run %.10s, from which this training differs in %s: it "
                  "begins with that state and is a run of its own",
                  row.id, differs);
    lx_free(differs);
    return lx_str_check(note, err);
}

/*
 * A state of this very spec changes nothing of the result: the run goes on from its run. Any other is
 * a start of its own and becomes part of the spec.
 */
static int make_resumed_spec(char **spec, const char **parent, lx_str *note,
                             lx_train_spec *of, lx_store *store, const char *resume,
                             lx_arena *arena, lx_error *err)
{
    lx_state_facts facts;
    char hex[LX_HASH_HEX + 1];
    lx_hash hash;
    lx_str file = LX_STR_INIT;
    int rc;

    if ((rc = lx_train_spec_make(spec, of, err)) < 0 || !resume)
        return rc;
    if ((rc = lx_state_read(&facts, resume, arena, err)) < 0) {
        lx_within(err, "--resume");
        return rc;
    }
    hash = lx_sha256_of(*spec, strlen(*spec));
    lx_hash_hex(hex, &hash);
    if (strcmp(hex, facts.spec_hash) == 0) {
        *parent = *facts.run_id ? facts.run_id : NULL;
        return LX_OK;
    }
    if ((rc = tell_difference(note, store, facts.run_id, *spec, arena, err)) < 0)
        return rc;
    lx_free(*spec);
    *spec = NULL;
    if ((rc = lx_state_find(&file, resume, err)) == LX_OK &&
        (rc = lx_file_hash(&hash, lx_str_text(&file), err)) == LX_OK) {
        lx_hash_hex(hex, &hash);
        of->resumed = hex;
        rc = lx_train_spec_make(spec, of, err);
        of->resumed = NULL;
    }
    lx_str_release(&file);
    return rc;
}

/* The curves up to where the state was put aside, so that the run's are whole. */
static int copy_curves(lx_run *run, lx_store *store, const char *parent, int64_t last,
                       lx_arena *arena, lx_error *err)
{
    lx_curve *curves;
    lx_run_row row;
    size_t n;
    int rc = lx_query_find(&row, store, parent, arena, err);

    if (rc == LX_ENOTFOUND)
        return LX_OK; /* a state from another store */
    if (rc < 0 || (rc = lx_query_curves(&curves, &n, store, &row, arena, err)) < 0)
        return rc;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        size_t points = 0;
        while (points < curves[i].n && curves[i].steps[points] <= last)
            points++;
        rc = lx_run_log_many(run, curves[i].key, curves[i].steps, curves[i].values,
                             points, err);
    }
    return rc;
}

int lx_record_check_tags(const lx_words *tags, lx_error *err)
{
    for (size_t i = 0; i < tags->count; i++)
        if (!*tags->items[i])
            return lx_fail(err, LX_EUSAGE, "--tag '': an empty word is no tag");
    return LX_OK;
}

bool lx_record_is_fact(const char *text)
{
    const char *equals = strchr(text, '=');
    return equals && equals != text;
}

int lx_record_remarks(lx_store *store, int64_t run, const char *group,
                      const lx_words *facts, lx_error *err)
{
    int rc = group ? lx_run_group(store, run, group, err) : LX_OK;

    for (size_t i = 0; i < facts->count && rc == LX_OK; i++) {
        const char *fact = facts->items[i], *equals = strchr(fact, '=');
        char *key = lx_strndup(fact, (size_t)(equals - fact));
        rc = key ? lx_run_fact(store, run, key, equals + 1, err) : lx_oom(err);
        lx_free(key);
    }
    return rc;
}

/* The run that goes on has the place of the one it goes on from, in its group and its sweep. */
static int inherit_remarks(lx_run *run, lx_store *store, const char *parent,
                           lx_arena *arena, lx_error *err)
{
    lx_remark_row *facts;
    lx_run_row row;
    size_t n;
    int rc = lx_query_find(&row, store, parent, arena, err);

    if (rc == LX_ENOTFOUND)
        return LX_OK; /* a state from another store */
    if (rc < 0 ||
        (rc = lx_query_remarks(&facts, &n, store, row.seq, "fact", arena, err)) < 0)
        return rc;
    if (*row.group)
        rc = lx_run_group(store, lx_run_seq(run), row.group, err);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        if (lx_starts_with(facts[i].key, "sweep"))
            rc = lx_run_fact(store, lx_run_seq(run), facts[i].key, facts[i].value, err);
    return rc;
}

static int go_on(lx_run *run, lx_store *store, const lx_run_start *start,
                 const char *resume, lx_arena *arena, lx_error *err)
{
    lx_state_facts facts;
    int rc;

    if (start->work_dir &&
        (rc = lx_run_fact(store, lx_run_seq(run), "cwd", start->work_dir, err)) < 0)
        return rc;
    if (!start->parent)
        return LX_OK;
    if ((rc = inherit_remarks(run, store, start->parent, arena, err)) < 0)
        return rc;
    rc = lx_state_read(&facts, resume, arena, err);
    return rc < 0 ? rc : copy_curves(run, store, start->parent, facts.step, arena, err);
}

/* The files that are merged into the base model first, by their contents. */
static int describe_merged(cJSON **out, const lx_train_config *config, lx_error *err)
{
    *out = NULL;
    if (!config->n_base_weights)
        return LX_OK;
    *out = cJSON_CreateArray();
    for (size_t i = 0; i < config->n_base_weights; i++) {
        char hex[LX_HASH_HEX + 1];
        lx_hash hash;
        int rc = lx_file_hash(&hash, config->base_weights[i], err);
        if (rc < 0) {
            lx_within(err, "--base_weights");
            return rc;
        }
        lx_hash_hex(hex, &hash);
        cJSON_AddItemToArray(*out, cJSON_CreateString(hex));
    }
    return *out ? LX_OK : lx_oom(err);
}

/* The other files that a result depends on; the texts are in hex, [0] the LoRA it begins with, [1] the masks, [2] the order. */
static int hash_files(lx_train_spec *of, char hex[3][LX_HASH_HEX + 1],
                      const lx_train_config *config, const lx_dataset *dataset,
                      lx_error *err)
{
    bool has_masks;
    lx_hash hash;
    int rc = config->network_weights ? lx_file_hash(&hash, config->network_weights, err)
                                     : LX_OK;

    if (rc < 0) {
        lx_within(err, "--network_weights");
        return rc;
    }
    if (config->network_weights) {
        lx_hash_hex(hex[0], &hash);
        of->network_weights = hex[0];
    }
    if ((rc = lx_train_spec_masks(&has_masks, &hash, dataset, err)) == LX_OK &&
        has_masks) {
        lx_hash_hex(hex[1], &hash);
        of->masks = hex[1];
    }
    if (rc == LX_OK && lx_train_spec_order(&hash, dataset)) {
        lx_hash_hex(hex[2], &hash);
        of->order = hex[2];
    }
    return rc;
}

int lx_record_begin(lx_run **out, lx_str *note, lx_store *store,
                    const lx_train_config *config, const lx_train_flags *flags,
                    const lx_dataset *dataset, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    char *tree = NULL, *spec = NULL, folder[4096], hex[3][LX_HASH_HEX + 1];
    cJSON *base = NULL, *vae = NULL, *merged = NULL;
    lx_str base_text = LX_STR_INIT;
    lx_run_start start = {.kind = "train",
                          .name = flags->name ? flags->name : config->output_name,
                          .command_line = flags->command_line,
                          .flags_given = flags->given,
                          .flags = flags->resolved,
                          .seed = config->seed,
                          .has_seed = true};
    lx_train_spec of = {.flags = flags->resolved};
    int rc = arena ? LX_OK : lx_oom(err);

    if (rc < 0 || (rc = lx_record_dataset(&tree, store, dataset, err)) < 0 ||
        (rc = describe_base(&base, config->pretrained_model_name_or_path, err)) < 0 ||
        (config->vae && (rc = describe_base(&vae, config->vae, err)) < 0) ||
        (rc = describe_merged(&merged, config, err)) < 0 ||
        (rc = hash_files(&of, hex, config, dataset, err)) < 0)
        goto done;
    of.merged = merged;
    of.dataset = tree;
    of.base = base;
    of.vae = vae;
    if ((rc = make_resumed_spec(&spec, &start.parent, note, &of, store, config->resume,
                                arena, err)) < 0)
        goto done;
    if (vae) {
        cJSON_AddItemToObject(base, "vae", vae);
        vae = NULL;
    }
    if ((rc = lx_json_canonical(&base_text, base, err)) < 0)
        goto done;
    start.dataset = tree;
    start.base_model = lx_str_text(&base_text);
    start.spec = spec;
    start.work_dir = getcwd(folder, sizeof folder);
    if ((rc = lx_run_begin(out, store, &start, err)) == LX_OK &&
        (rc = go_on(*out, store, &start, config->resume, arena, err)) == LX_OK)
        rc = lx_record_remarks(store, lx_run_seq(*out), flags->group, &flags->facts, err);
    if (rc == LX_OK && flags->settings)
        rc = lx_run_fact(store, lx_run_seq(*out), "settings", flags->settings, err);
    if (rc < 0) {
        lx_run_abandon(*out);
        *out = NULL;
    }
done:
    lx_str_release(&base_text);
    cJSON_Delete(base);
    cJSON_Delete(vae);
    cJSON_Delete(merged);
    lx_free(tree);
    lx_free(spec);
    lx_arena_free(arena);
    return rc;
}
