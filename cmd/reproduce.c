/* lx reproduce - run a training again and see whether the same comes out */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/record.h"
#include "cmd/reproduce.h"
#include "cmd/run_find.h"
#include "cmd/run_folder.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/compare/data.h"
#include "src/data/npz_latents.h"
#include "src/format/tensor_file.h"
#include "src/model/checkpoint.h"
#include "store/dataset.h"
#include "store/query.h"

extern const lx_command lx_cmd_train;

static const lx_option options[] = {
    LX_TEXT(struct reproduce_args, output_dir, 'o', "output_dir", "DIR",
            "where the new files go; reproduce-RUN when left out"),
    LX_FLAG(struct reproduce_args, check, 0, "check",
            "look at the inputs only, train nothing"),
    LX_FLAG(struct reproduce_args, anyway, 0, "anyway",
            "train although inputs have changed"),
    LX_FLAG(struct reproduce_args, json, 'j', "json", "print one JSON object"),
    LX_ARGS(struct reproduce_args, words, "RUN", "the run"),
    LX_OPTION_END,
};

typedef lx_reproduction job;

/* ---- the inputs ------------------------------------------------------------------- */

void lx_reproduce_tell(job *j, const char *state, const char *what)
{
    if (j->json) {
        cJSON *input = cJSON_CreateObject();
        const bool is_sound = lx_utf8_check(what, strlen(what)) == strlen(what);
        cJSON_AddItemToArray(j->inputs, input);
        cJSON_AddStringToObject(input, "state", state);
        cJSON_AddStringToObject(input, "what", is_sound ? what : lx_safe(j->cli, what));
    } else {
        lx_print(j->cli, "%-11s %s\n", state, lx_safe(j->cli, what));
    }
}

void lx_reproduce_tell_change(job *j, const char *what)
{
    j->n_changed++;
    lx_reproduce_tell(j, "changed", what);
}

int lx_reproduce_tell_same(job *j, const char *what, lx_error *err)
{
    if (!what)
        return lx_oom(err);
    lx_reproduce_tell(j, "the same", what);
    return LX_OK;
}

static int check_model(job *j, const cJSON *recorded, const char *path, const char *name,
                       lx_error *err)
{
    char old[9], sha256[65];
    const char *wanted = recorded ? lx_json_text(recorded, "sha256") : NULL;
    lx_error reading = {0};
    int rc;

    if (!path || !wanted)
        return LX_OK;
    rc = lx_checkpoint_hashes(old, sha256, path, &reading);
    if (rc == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0 || strcmp(sha256, wanted) != 0) {
        const char *text =
            rc < 0 ? lx_arena_printf(j->cli->arena, "%s: %s", name, reading.text)
                   : lx_arena_printf(j->cli->arena,
                                     "%s %s: sha256 %.16s, recorded was %.16s", name,
                                     path, sha256, wanted);
        if (!text)
            return lx_oom(err);
        lx_reproduce_tell_change(j, text);
        return LX_OK;
    }
    return lx_reproduce_tell_same(
        j, lx_arena_printf(j->cli->arena, "%s %s (sha256 %.16s)", name, path, sha256),
        err);
}

static int list_images(lx_data_image **out, size_t *n, job *j, const char *tree,
                       lx_error *err)
{
    lx_dataset_rows rows;
    int rc = lx_store_dataset_get(&rows, j->store, tree, j->cli->arena, err);

    if (rc < 0)
        return rc;
    *n = 0;
    if (!(*out = lx_arena_calloc(j->cli->arena, rows.n_images + 1, sizeof **out)))
        return lx_oom(err);
    for (size_t f = 0; f < rows.n_folders; f++)
        for (size_t i = 0; i < rows.folders[f].n_images; i++)
            (*out)[(*n)++] = (lx_data_image){.folder = rows.folders[f].name,
                                             .name = rows.folders[f].images[i].name,
                                             .hash = rows.folders[f].images[i].hash,
                                             .caption = rows.folders[f].images[i].caption,
                                             .latents = rows.folders[f].images[i].latents,
                                             .is_reg = rows.folders[f].is_reg};
    return LX_OK;
}

static int tell_images(job *j, const char *now, lx_error *err)
{
    static const char *const words[] = {[LX_DATA_ADDED] = "was not there",
                                        [LX_DATA_REMOVED] = "is gone",
                                        [LX_DATA_MOVED] = "was moved",
                                        [LX_DATA_BYTES] = "has other bytes",
                                        [LX_DATA_LATENTS] = "has latents from elsewhere",
                                        [LX_DATA_CAPTION] = "has another caption"};
    lx_data_changes changes;
    lx_data_image *a, *b;
    size_t n_a, n_b;
    int rc;

    if ((rc = list_images(&a, &n_a, j, j->texts.dataset, err)) < 0 ||
        (rc = list_images(&b, &n_b, j, now, err)) < 0 ||
        (rc = lx_compare_data(&changes, a, n_a, b, n_b, j->cli->arena, err)) < 0)
        return rc;
    for (size_t i = 0; i < changes.count; i++) {
        const lx_data_change *c = &changes.items[i];
        const lx_data_image *image = c->b ? c->b : c->a;
        const char *text = lx_arena_printf(j->cli->arena, "%s/%s %s", image->folder,
                                           image->name, words[c->kind]);
        if (!text)
            return lx_oom(err);
        lx_reproduce_tell_change(j, text);
    }
    if (!changes.count)
        lx_reproduce_tell_change(j, "the data: repeats, folder words or sizes");
    return LX_OK;
}

/* As the run had them made: what a training of lx needs beyond that is checked by it. */
static int scan_data(lx_dataset **out, job *j, lx_error *err)
{
    int rc = lx_dataset_scan(out, &j->config.data, err);

    if (rc == LX_OK && !j->is_command && (rc = lx_dataset_check(*out, err)) == LX_OK &&
        (rc = lx_dataset_plan(*out, err)) == LX_OK)
        rc = lx_npz_latents_find(*out, err);
    return rc == LX_OK ? lx_dataset_hash(*out, err) : rc;
}

static int check_data(job *j, lx_error *err)
{
    lx_dataset *d = NULL;
    char *tree = NULL;
    lx_error problem = {0};
    const char *text;
    int rc = scan_data(&d, j, &problem);

    if (rc == LX_ENOMEM) {
        rc = lx_oom(err);
        goto done;
    }
    if (rc < 0) { /* a folder that is gone, say */
        rc = (text = lx_arena_strdup(j->cli->arena, problem.text)) ? LX_OK : lx_oom(err);
        if (text)
            lx_reproduce_tell_change(j, text);
        if (rc == LX_OK && !j->is_command)
            rc = lx_reproduce_check_files(j, NULL, err);
        goto done;
    }
    if ((rc = lx_record_dataset(&tree, j->store, d, err)) < 0)
        goto done;
    if (!j->texts.dataset || strcmp(tree, j->texts.dataset) != 0)
        rc = j->texts.dataset ? tell_images(j, tree, err) : LX_OK;
    else
        rc = lx_reproduce_tell_same(
            j,
            lx_arena_printf(j->cli->arena, "%zu image%s with captions", d->n_images,
                            d->n_images == 1 ? "" : "s"),
            err);
    if (rc == LX_OK && !j->is_command)
        rc = lx_reproduce_check_files(j, d, err);
done:
    lx_free(tree);
    lx_dataset_free(d);
    return rc;
}

/* The commit of the folder it was started in, if it was in a repository: to be named, not
 * required. */
static int tell_code(job *j, lx_error *err)
{
    cJSON *git = NULL, *environment = NULL, *versions;
    const char *commit, *lx, *text;
    int rc = LX_OK;

    if (j->texts.git &&
        lx_json_parse(&git, j->texts.git, strlen(j->texts.git), NULL) == LX_OK &&
        (commit = lx_json_text(git, "commit"))) {
        text = lx_arena_printf(
            j->cli->arena, "the folder was at commit %.12s%s", commit,
            j->texts.diff && *j->texts.diff ? " with changes (lx show --diff)" : "");
        rc = text ? LX_OK : lx_oom(err);
        if (text)
            lx_reproduce_tell(j, "code", text);
    }
    if (rc == LX_OK && j->texts.environment &&
        lx_json_parse(&environment, j->texts.environment, strlen(j->texts.environment),
                      NULL) == LX_OK) {
        versions = cJSON_GetObjectItemCaseSensitive(environment, "versions");
        if (versions && (lx = lx_json_text(versions, "lx")) &&
            strcmp(lx, LX_VERSION) != 0) {
            text = lx_arena_printf(j->cli->arena, "recorded by lx %s, this is %s", lx,
                                   LX_VERSION);
            rc = text ? LX_OK : lx_oom(err);
            if (text)
                lx_reproduce_tell(j, "code", text);
        }
    }
    cJSON_Delete(git);
    cJSON_Delete(environment);
    return rc;
}

static int check_inputs(job *j, lx_error *err)
{
    cJSON *base = NULL;
    int rc = LX_OK;

    if (j->texts.base_model)
        rc = lx_json_parse(&base, j->texts.base_model, strlen(j->texts.base_model), err);
    if (rc == LX_OK)
        rc = check_model(j, base, j->config.pretrained_model_name_or_path, "base model",
                         err);
    if (rc == LX_OK)
        rc = check_model(j, cJSON_GetObjectItemCaseSensitive(base, "vae"), j->config.vae,
                         "VAE", err);
    if (rc == LX_OK && (!j->is_command || j->has_data))
        rc = check_data(j, err);
    cJSON_Delete(base);
    if (rc < 0)
        return rc;
    return j->is_command ? lx_reproduce_check_code(j, err) : tell_code(j, err);
}

/* ---- the outcome ------------------------------------------------------------------ */

static const lx_artifact_row *last_lora(const lx_artifact_row *rows, size_t n)
{
    const lx_artifact_row *last = NULL;

    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].role, "lora") == 0 && (!last || rows[i].step >= last->step))
            last = &rows[i];
    return last;
}

/* The losses of both: the same curve where they have one. */
static int read_losses(lx_curve *x, lx_curve *y, job *j, int64_t a, int64_t b,
                       lx_error *err)
{
    static const char *const keys[] = {"loss", "loss/current", "loss/average"};
    int rc = LX_OK;

    x->n = y->n = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && rc == LX_OK; i++) {
        if (x->n && y->n)
            break;
        if ((rc = lx_query_curve(x, j->store, a, keys[i], 0, j->cli->arena, err)) ==
            LX_OK)
            rc = lx_query_curve(y, j->store, b, keys[i], 0, j->cli->arena, err);
    }
    return rc;
}

/* The first step whose losses are not the same number; -1 = none that both have. */
static int64_t first_parting(const lx_curve *x, const lx_curve *y)
{
    for (size_t i = 0; i < x->n && i < y->n; i++)
        if (x->steps[i] != y->steps[i] || x->values[i] != y->values[i])
            return x->steps[i];
    return -1;
}

/* |a - b| / |a| over the tensors of two files, and the largest difference of one number.
 */
static int measure(double *relative, double *largest, const char *a, const char *b,
                   lx_error *err)
{
    lx_tensor_file *x = NULL, *y = NULL;
    double off = 0, size = 0;
    int rc;

    *largest = 0;
    if ((rc = lx_tensor_file_open(&x, a, err)) < 0 ||
        (rc = lx_tensor_file_open(&y, b, err)) < 0)
        goto done;
    for (size_t i = 0; i < lx_tensor_file_count(x) && rc == LX_OK; i++) {
        const lx_tensor_view *t = lx_tensor_file_at(x, i),
                             *u = lx_tensor_file_find(y, t->name);
        float *v = u && u->n_elements == t->n_elements
                       ? lx_calloc(2 * t->n_elements + 1, sizeof *v)
                       : NULL;
        if (!v || lx_to_f32(v, t->data, t->dtype, t->n_elements) < 0 ||
            lx_to_f32(v + t->n_elements, u->data, u->dtype, u->n_elements) < 0)
            rc = lx_fail(err, LX_EFORMAT, "%s cannot be compared", t->name);
        for (size_t k = 0; rc == LX_OK && k < t->n_elements; k++) {
            const double d = (double)v[k] - v[t->n_elements + k];
            off += d * d;
            size += (double)v[k] * v[k];
            *largest = fmax(*largest, fabs(d));
        }
        lx_free(v);
    }
    *relative = size > 0 ? sqrt(off / size) : off > 0 ? INFINITY : 0;
done:
    lx_tensor_file_close(x);
    lx_tensor_file_close(y);
    return rc;
}

static void tell_outcome(job *j, const char *outcome, const char *text)
{
    if (j->json) {
        cJSON_AddStringToObject(j->json, "outcome", outcome);
        cJSON_AddStringToObject(j->json, "text", text ? text : "");
    } else {
        lx_print(j->cli, "%-11s %s\n", outcome, text ? lx_safe(j->cli, text) : "?");
    }
}

/* The recorded file: where it lay if it still lies there, else out of the store; NULL: it
 * is in neither. */
static int find_recorded(const char **path, job *j, const lx_artifact_row *old,
                         lx_error *err)
{
    lx_hash hash, now;
    lx_error problem;
    int rc;

    *path = NULL;
    if (!lx_hash_from_hex(&hash, old->object))
        return LX_OK;
    rc = *old->path ? lx_file_hash(&now, old->path, &problem) : LX_ENOTFOUND;
    if (rc == LX_OK && lx_hash_equal(&now, &hash)) {
        *path = old->path;
        return LX_OK;
    }
    if (!old->is_kept)
        return rc == LX_EIO ? lx_fail_as(err, rc, &problem) : LX_OK;
    if (!(*path =
              lx_arena_printf(j->cli->arena, "%s/recorded.safetensors", j->output_dir)))
        return lx_oom(err);
    return lx_object_get_file(j->store, &hash, *path, err);
}

static void tell_step(job *j, int64_t step)
{
    if (j->json && step >= 0)
        cJSON_AddNumberToObject(j->json, "losses_part_at_step", (double)step);
    else if (step >= 0)
        lx_print(j->cli, "            the losses part at step %lld\n", (long long)step);
}

/* Their tensors are not the same bytes: by how much, and from where on? */
static int tell_difference(job *j, const lx_artifact_row *old, const lx_artifact_row *now,
                           int64_t step, lx_error *err)
{
    enum { ROUNDING_PER_MILLE = 1 };
    const char *kept;
    double relative, largest;
    int rc;

    if ((rc = find_recorded(&kept, j, old, err)) < 0)
        return rc;
    if (!kept) {
        tell_outcome(
            j, "different",
            "the recorded LoRA is not kept, so that its numbers cannot be compared");
        tell_step(j, step);
        return LX_ECHECK;
    }
    if ((rc = measure(&relative, &largest, kept, now->path, err)) < 0)
        return rc;
    tell_outcome(j, relative * 1000 <= ROUNDING_PER_MILLE ? "rounding" : "different",
                 lx_arena_printf(j->cli->arena,
                                 "largest difference %.3g, %.2g of the whole%s", largest,
                                 relative, step < 0 ? "; the losses are equal" : ""));
    if (j->json) {
        cJSON_AddNumberToObject(j->json, "largest_difference", largest);
        cJSON_AddNumberToObject(j->json, "relative_difference", relative);
    }
    tell_step(j, step);
    return relative * 1000 <= ROUNDING_PER_MILLE ? LX_OK : LX_ECHECK;
}

/* A command that made no LoRA is judged by its losses. */
static int tell_losses(job *j, const lx_run_row *run, const lx_curve *x,
                       const lx_curve *y, int64_t step, lx_error *err)
{
    if (!x->n || !y->n)
        return lx_fail(err, LX_EUSAGE,
                       "run %.10s has no LoRA and no loss to compare with",
                       x->n ? run->id : j->run.id);
    if (step < 0 && x->n == y->n) {
        tell_outcome(
            j, "identical",
            lx_arena_printf(j->cli->arena,
                            "run %.10s has the same losses at all %zu steps (there is "
                            "no LoRA to compare)",
                            run->id, x->n));
        return LX_OK;
    }
    tell_outcome(j, "different",
                 lx_arena_printf(j->cli->arena,
                                 "run %.10s has %zu losses, recorded were %zu", run->id,
                                 y->n, x->n));
    tell_step(j, step);
    return LX_ECHECK;
}

static int is_ours(bool *out, job *j, const lx_run_row *run, lx_error *err)
{
    lx_remark_row *facts;
    size_t n;
    int rc = lx_query_remarks(&facts, &n, j->store, run->seq, "fact", j->cli->arena, err);

    *out = false;
    for (size_t i = 0; rc == LX_OK && i < n; i++)
        *out |= strcmp(facts[i].key, "reproduces") == 0 &&
                strcmp(facts[i].value, j->run.id) == 0;
    return rc;
}

/* The last to be recorded that says of itself that it reproduces the old one; others may train
 * meanwhile. */
static int find_new_run(lx_run_row *out, job *j, lx_error *err)
{
    const lx_run_filter filter = {.kind = j->run.kind};
    int64_t last = j->run.seq;
    lx_run_list list;
    int rc = lx_query_runs(&list, j->store, &filter, j->cli->arena, err);

    for (size_t i = 0; rc == LX_OK && i < list.count; i++) {
        bool is_found = false;
        if (list.rows[i].seq <= last)
            continue;
        if ((rc = is_ours(&is_found, j, &list.rows[i], err)) == LX_OK && is_found) {
            *out = list.rows[i];
            last = out->seq;
        }
    }
    if (rc == LX_OK && last == j->run.seq)
        rc = lx_fail(err, LX_ENOTFOUND, "the new run is not in the store");
    return rc;
}

static int compare(job *j, lx_error *err)
{
    lx_artifact_row *old_rows, *new_rows;
    const lx_artifact_row *old, *now;
    size_t n_old, n_new;
    lx_curve x, y;
    int64_t step;
    lx_run_row run;
    int rc;

    if ((rc = find_new_run(&run, j, err)) < 0 ||
        (rc = lx_query_artifacts(&old_rows, &n_old, j->store, &j->run, j->cli->arena,
                                 err)) < 0 ||
        (rc = lx_query_artifacts(&new_rows, &n_new, j->store, &run, j->cli->arena, err)) <
            0 ||
        (rc = read_losses(&x, &y, j, j->run.seq, run.seq, err)) < 0)
        return rc;
    if (j->json)
        cJSON_AddStringToObject(j->json, "new_run", run.id);
    step = first_parting(&x, &y);
    old = last_lora(old_rows, n_old);
    now = last_lora(new_rows, n_new);
    if (!old && !now)
        return tell_losses(j, &run, &x, &y, step, err);
    if (!old || !now)
        return lx_fail(err, LX_EUSAGE, "run %.10s has no LoRA to compare with",
                       old ? run.id : j->run.id);
    if (*old->tensor_hash && strcmp(old->tensor_hash, now->tensor_hash) == 0) {
        tell_outcome(
            j, "identical",
            lx_arena_printf(j->cli->arena,
                            "run %.10s made the same tensors, to the byte (sha256 %.16s)",
                            run.id, now->tensor_hash));
        return LX_OK;
    }
    return tell_difference(j, old, now, step, err);
}

/* ---- the whole -------------------------------------------------------------------- */

static void add_word(job *j, const char *word)
{
    j->words[j->n_words++] = (char *)word;
}

static int read_flags(job *j, lx_error *err)
{
    const char *fact = lx_arena_printf(j->cli->arena, "reproduces=%s", j->run.id);

    if (!fact)
        return lx_oom(err);
    add_word(j, "--like");
    add_word(j, j->run.id);
    add_word(j, "--output_dir");
    add_word(j, j->output_dir);
    add_word(j, "--fact");
    add_word(j, fact);
    if (*j->run.seed) {
        add_word(j, "--seed");
        add_word(j, j->run.seed);
    }
    return lx_train_flags_parse(&j->config, &j->flags, j->cli, j->n_words, j->words, err);
}

static int prepare(job *j, lx_error *err)
{
    lx_arena *arena = j->cli->arena;
    int rc;

    if ((rc = lx_store_open_existing(&j->store, j->cli->store_path, err)) < 0)
        return rc;
    if (!realpath(lx_store_path(j->store), j->store_path))
        return lx_fail_errno(err, errno, "%s", lx_store_path(j->store));
    if ((rc = lx_run_find(&j->run, j->cli, j->store, j->args->words.items[0], err)) < 0)
        return rc;
    j->is_command = strcmp(j->run.kind, "run") == 0;
    if (!j->is_command && strcmp(j->run.kind, "train") != 0)
        return lx_fail(
            err, LX_EUSAGE,
            "run %.10s is of the kind %s: only what lx train and lx run recorded can "
            "be run again",
            j->run.id, j->run.kind);
    j->output_dir = j->args->output_dir;
    if (!j->output_dir &&
        !(j->output_dir = lx_arena_printf(arena, "reproduce-%.10s", j->run.id)))
        return lx_oom(err);
    if ((rc = lx_run_enter_folder(j->cli, j->args->output_dir ? &j->output_dir : NULL,
                                  j->store, &j->run, err)) < 0 ||
        (rc = lx_query_texts(&j->texts, j->store, &j->run, arena, err)) < 0)
        return rc;
    j->cli->store_path = j->store_path;
    return j->is_command ? lx_reproduce_read_command(j, err) : read_flags(j, err);
}

static int train(job *j, lx_error *err)
{
    lx_cli inner = *j->cli;

    lx_store_close(j->store);
    j->store = NULL;
    inner.argc = j->n_words;
    inner.argv = j->words;
    if (j->json)
        inner.out = inner.err; /* its words are not ours */
    int rc = lx_cmd_train.run(&inner, NULL, err);
    return rc < 0 ? rc : lx_store_open(&j->store, j->store_path, false, err);
}

static int check_and_train(job *j, lx_error *err)
{
    int rc;

    if ((rc = prepare(j, err)) < 0 || (rc = check_inputs(j, err)) < 0)
        return rc;
    if (j->n_changed && !j->args->anyway)
        return lx_fail(
            err, LX_ECHECK,
            "%zu input%s not what %s: the same cannot come out (--anyway trains "
            "all the same)",
            j->n_changed, j->n_changed == 1 ? " is" : "s are",
            j->n_changed == 1 ? "it was" : "they were");
    if (j->args->check)
        return LX_OK;
    rc = j->is_command ? lx_reproduce_run_command(j, err) : train(j, err);
    return rc == LX_OK ? compare(j, err) : rc;
}

/* All that was found, whatever it came to. */
static int show_json(job *j, int rc, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int shown;

    if (j->run.id)
        cJSON_AddStringToObject(j->json, "run", j->run.id);
    cJSON_AddNumberToObject(j->json, "n_changed", (double)j->n_changed);
    if ((rc == LX_OK || rc == LX_ECHECK) &&
        (shown = lx_json_pretty(&text, j->json, err)) < 0)
        rc = shown;
    else if (rc == LX_OK || rc == LX_ECHECK)
        lx_print(j->cli, "%s\n", lx_str_text(&text));
    lx_str_release(&text);
    return rc;
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    job j = {.cli = cli, .args = args};
    int rc;

    if (j.args->words.count != 1)
        return lx_fail(err, LX_EUSAGE, "one run is wanted (lx runs lists them)");
    if (j.args->json) {
        j.json = cJSON_CreateObject();
        j.inputs = cJSON_AddArrayToObject(j.json, "inputs");
    }
    rc = check_and_train(&j, err);
    if (j.json)
        rc = show_json(&j, rc, err);
    cJSON_Delete(j.json);
    lx_store_close(j.store);
    return rc;
}

const lx_command lx_cmd_reproduce = {
    .name = "reproduce",
    .summary = "run a training again and compare what comes out",
    .usage = "RUN [-o DIR] [--check]",
    .help = "Checks that the base model, the images and the captions are the ones that "
            "were recorded, and\n"
            "names those that are not; trains again by the run's flags and its seed; "
            "says whether the\n"
            "LoRA is identical, the same within rounding (another processor), or "
            "different, and from\n"
            "which step on the losses part. Exit 1 when inputs have changed or the "
            "result is different.\n"
            "\n"
            "A command that lx run recorded is run again as it was, in the folder it was "
            "started in and\n"
            "with another --output_dir; of its code the commit, uncommitted changes and "
            "new sources\n"
            "are compared first.\n"
            "\n"
            "Examples:\n"
            "  lx reproduce hifumi\n"
            "  lx reproduce 81b1e9e598 --check --json\n",
    .options = options,
    .args_size = sizeof(struct reproduce_args),
    .computes = true,
    .run = run,
};
