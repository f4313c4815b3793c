/* lx train - train a LoRA and record the run */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cmd/cli.h"
#include "cmd/later.h"
#include "cmd/progress.h"
#include "cmd/record.h"
#include "cmd/train_flags.h"
#include "cmd/train_log.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "src/base/python.h"
#include "src/base/scrub.h"
#include "src/data/npz_latents.h"
#include "src/lora/hash.h"
#include "src/train/metadata.h"
#include "src/train/session.h"

/* One `lx train` under way; the observer's context. */
typedef struct job {
    lx_cli *cli;
    lx_train_config config;
    lx_train_flags flags;
    lx_dataset *dataset;
    lx_store *store;
    lx_run *run;
    lx_train *train;
    lx_train_log log;
    lx_progress_view progress;
    lx_later later;
    bool has_told_store; /* that it takes nothing for now */
    int64_t step;        /* the last that was done */
} job;

/* A training does not end because another lx writes or the disk is full for a while: points are kept by the run, files
 * by `later`. */
static int unless_passing(job *j, int rc, const lx_error *why, lx_error *err)
{
    if (!lx_later_passes(j->store, rc))
        return lx_fail_as(err, rc, why);
    if (!j->has_told_store) {
        lx_progress_close(&j->progress);
        lx_message(j->cli, "warning: %s: what is recorded waits until it can be written\n",
                   lx_safe(j->cli, why->text));
    }
    j->has_told_store = true;
    return LX_OK;
}

static int log_point(job *j, const char *key, int64_t step, double value, lx_error *err)
{
    lx_error why = {0};

    return unless_passing(j, lx_run_log(j->run, key, step, value, &why), &why, err);
}

static const double TRAINING_PATIENCE = 0.5; /* seconds: a training does not stand still for the store */

/* Event files are a copy of what is in the store: where they fail, the training goes on without. */
static void tell_log(job *j, int rc, const lx_error *why)
{
    if (rc >= 0)
        return;
    lx_progress_close(&j->progress);
    lx_message(j->cli, "warning: %s: no more event files of this run\n",
               lx_safe(j->cli, why->text));
    lx_train_log_close(&j->log);
}

/* ---- the observer ------------------------------------------------------------------------ */

static int on_phase(void *context, const char *phase, int64_t done, int64_t total, lx_error *err)
{
    job *j = context;
    (void)err;
    lx_progress_phase(&j->progress, phase, done, total);
    return LX_OK;
}

static int on_step(void *context, const lx_step_report *r, lx_error *err)
{
    job *j = context;
    const struct {
        const char *key;
        double value;
        bool is_there;
    } points[] = {
        {"loss", r->loss, true},
        {"loss/average", r->average_loss, true},
        {"lr/unet", r->lr_unet, j->config.network.has_unet},
        {"lr/textencoder", r->lr_text_encoder, j->config.network.has_text_encoder},
        {"grad_norm", r->grad_norm, true},
        {"max_norm/keys_scaled", (double)r->keys_scaled, r->has_norms},
        {"max_norm/average_key_norm", r->average_key_norm, r->has_norms},
        {"max_norm/max_key_norm", r->max_key_norm, r->has_norms},
        {"seconds", r->seconds, true},
        {"images", (double)r->images_seen, true},
        {"epoch", r->epoch, true},
    };
    lx_error why = {0};

    lx_progress_step(&j->progress, r);
    j->step = r->step;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        int rc = points[i].is_there
                     ? log_point(j, points[i].key, r->step, points[i].value, err)
                     : LX_OK;
        if (rc < 0)
            return rc;
    }
    tell_log(j, lx_train_log_step(&j->log, r, &why), &why);
    return lx_later_try(&j->later, err);
}

static int on_epoch(void *context, int epoch, double average_loss, lx_error *err)
{
    job *j = context;
    lx_error why = {0};

    (void)err;
    tell_log(j, lx_train_log_epoch(&j->log, epoch, average_loss, &why), &why);
    return LX_OK;
}

/* What each image gave, so that two runs can be compared image by image (cmd/compare_validation.c). */
static int keep_validation(job *j, const lx_validation_report *r, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    char name[40], hex[LX_HASH_HEX + 1], loss[40];
    int rc;

    snprintf(name, sizeof name, "validation-%08lld.json", (long long)r->step);
    lx_str_printf(&text, "{\"images\":[");
    for (size_t i = 0; i < r->n_held_out + r->n_trained; i++) {
        lx_hash_hex(hex, r->images[i].hash);
        lx_python_float(loss, r->images[i].loss);
        lx_str_printf(&text, "%s{\"is_held_out\":%s,\"loss\":%s,\"sha256\":\"%s\"}", i ? "," : "",
                      r->images[i].is_held_out ? "true" : "false",
                      isfinite(r->images[i].loss) ? loss : "null", hex);
    }
    lx_str_printf(&text, "],\"step\":%lld,\"version\":1}\n", (long long)r->step);
    if ((rc = lx_str_check(&text, err)) == LX_OK) {
        const lx_artifact artifact = {.role = "validation",
                                      .name = name,
                                      .step = r->step,
                                      .data = text.data,
                                      .n = text.len};
        rc = lx_later_attach(&j->later, &artifact, err);
    }
    lx_str_release(&text);
    return rc;
}

static int on_validation(void *context, const lx_validation_report *r, lx_error *err)
{
    job *j = context;
    const struct {
        const char *key, *words;
        double value;
        size_t n;
    } curves[] = {{"loss/validation", "held out", r->held_out, r->n_held_out},
                  {"loss/validation/train", "trained", r->trained, r->n_trained}};
    lx_error why = {0};
    int rc = LX_OK;

    lx_progress_close(&j->progress);
    lx_print(j->cli, "validation at step %lld:", (long long)r->step);
    for (int i = 0; i < 2 && rc == LX_OK; i++) {
        if (!curves[i].n)
            continue;
        lx_print(j->cli, "%s loss %.5f on %zu image%s %s", i && r->n_held_out ? "," : "",
                 curves[i].value, curves[i].n, curves[i].n == 1 ? "" : "s",
                 curves[i].words);
        rc = log_point(j, curves[i].key, r->step, curves[i].value, err);
    }
    lx_print(j->cli, "\n");
    if (rc == LX_OK)
        rc = keep_validation(j, r, err);
    tell_log(j, lx_train_log_validation(&j->log, r, &why), &why);
    return rc;
}

static int on_checkpoint(void *context, const lx_checkpoint_report *r, lx_error *err)
{
    job *j = context;
    lx_artifact artifact = {.role = "lora",
                            .name = lx_path_base(r->path),
                            .step = r->step,
                            .path = r->path};
    lx_hash tensors;
    bool has_tensors; /* a .ckpt has not */
    int rc;

    lx_progress_close(&j->progress);
    lx_print(j->cli, "saved %s (step %lld, sha256 %.16s)\n", lx_safe(j->cli, r->path),
             (long long)r->step, r->sha256);
    if ((rc = lx_lora_tensor_hash_if(&has_tensors, &tensors, r->path, err)) < 0)
        return rc;
    artifact.tensor_hash = has_tensors ? &tensors : NULL;
    return lx_later_attach(&j->later, &artifact, err);
}

static int on_sample(void *context, const lx_sample_report *r, lx_error *err)
{
    job *j = context;
    const lx_artifact artifact = {
        .role = "sample", .name = lx_path_base(r->path), .step = r->step, .path = r->path};

    lx_progress_close(&j->progress);
    lx_print(j->cli, "sample %s\n", lx_safe(j->cli, r->path));
    return lx_later_attach(&j->later, &artifact, err);
}

static void on_note(void *context, const char *text)
{
    job *j = context;
    lx_progress_close(&j->progress);
    lx_message(j->cli, "note: %s\n", lx_safe(j->cli, text));
}

/* The training is sound; what the system refused shows in the exit status. */
static void on_problem(void *context, const lx_error *problem)
{
    job *j = context;

    on_note(context, problem->text);
    if (problem->code == LX_EIO)
        j->cli->exit_status = lx_exit_status(LX_EIO);
}

static int should_stop(void *context)
{
    const job *j = context;
    const int64_t last = j->flags.stop_after_steps;
    return lx_signals_pending() || (last && j->step >= last);
}

/* ---- before the first step --------------------------------------------------------------- */

static void show_findings(lx_cli *cli, const lx_dataset *d)
{
    static const char *const words[] = {[LX_FINDING_NOTE] = "note",
                                        [LX_FINDING_WARNING] = "warning",
                                        [LX_FINDING_STOP] = "stop"};
    for (size_t i = 0; i < d->n_findings; i++)
        if (!cli->is_quiet || d->findings[i].kind != LX_FINDING_NOTE)
            lx_message(cli, "%s: %s\n", words[d->findings[i].kind],
                       lx_safe(cli, d->findings[i].text));
}

/* Everything that can be wrong with the data is said before a model is opened. */
static int read_data(job *j, lx_error *err)
{
    int rc;
    if ((rc = lx_dataset_scan(&j->dataset, &j->config.data, err)) < 0)
        return rc;
    if ((rc = lx_dataset_check(j->dataset, err)) < 0)
        return rc;
    if ((rc = lx_dataset_plan(j->dataset, err)) == LX_OK)
        rc = lx_npz_latents_find(j->dataset, err);
    show_findings(j->cli, j->dataset);
    if (rc < 0)
        return rc;
    return lx_dataset_hash(j->dataset, err);
}

static int read_command_line(job *j, lx_error *err)
{
    lx_cli *cli = j->cli;
    int rc = lx_train_flags_parse(&j->config, &j->flags, cli, cli->argc, cli->argv, err);
    if (rc < 0 || j->flags.is_done)
        return rc;
    if ((rc = lx_train_flags_require(&j->config, err)) < 0)
        return rc;
    for (size_t i = 0; i < j->flags.notes.count && !cli->is_quiet; i++)
        lx_message(cli, "note: %s\n", lx_safe(cli, j->flags.notes.items[i]));
    return LX_OK;
}

static int identify(lx_train_identity *identity, const job *j, lx_error *err)
{
    char *started = lx_arena_alloc(j->cli->arena, 40);
    uint32_t session = 0;

    if (!started)
        return lx_oom(err);
    while (session < 1000000000) /* of ten digits: lx plan knows the size of the file */
        if (getrandom(&session, sizeof session, 0) != sizeof session)
            return lx_fail_errno(err, errno, "drawing a session id");
    lx_python_float(started, lx_metadata_time());
    *identity = (lx_train_identity){.run_id = lx_run_id(j->run),
                                    .spec_hash = lx_run_spec_hash(j->run),
                                    .started_at = started,
                                    .session_id = session};
    return LX_OK;
}

/* For those who watch: how far it is to go. */
static int tell_total(job *j, lx_error *err)
{
    char total[24];

    snprintf(total, sizeof total, "%lld", (long long)lx_train_steps(j->train).total_steps);
    return lx_run_fact(j->store, lx_run_seq(j->run), "steps.total", total, err);
}

static void show_plan(job *j)
{
    lx_step_count count = lx_train_steps(j->train);
    lx_plan_memory memory = lx_train_memory(j->train);
    const size_t n_samples = j->dataset->n_train_samples + j->dataset->n_reg_samples;

    if (j->cli->is_quiet)
        return;
    lx_message(j->cli,
               "run %.10s: %zu sample%s an epoch in %lld batch%s, %lld epoch%s, %lld step%s; "
               "%.2f GB for activations and gradients\n",
               lx_run_id(j->run), n_samples, lx_plural(n_samples), (long long)count.batches_per_epoch,
               count.batches_per_epoch == 1 ? "" : "es", (long long)count.epochs, lx_plural((size_t)count.epochs),
               (long long)count.total_steps, lx_plural((size_t)count.total_steps),
               (double)memory.arena_bytes / 1e9);
}

/* ---- the whole --------------------------------------------------------------------------- */

/* The settings as TensorBoard's HParams page takes them: no paths, no secrets. */
static int list_settings(lx_export_flag **out, size_t *n, job *j, lx_error *err)
{
    cJSON *root = NULL;
    int rc = lx_json_parse(&root, j->flags.resolved, strlen(j->flags.resolved), err);

    *n = 0;
    *out = rc == LX_OK
               ? lx_arena_calloc(j->cli->arena, (size_t)cJSON_GetArraySize(root) + 1,
                                 sizeof **out)
               : NULL;
    if (rc == LX_OK && !*out)
        rc = lx_oom(err);
    for (const cJSON *item = rc == LX_OK ? root->child : NULL; item && rc == LX_OK;
         item = item->next) {
        lx_export_flag *f = &(*out)[*n];
        const char *text = cJSON_IsString(item) ? item->valuestring : "";
        lx_str clean = LX_STR_INIT; /* a comment or a name may hold a token */

        if (cJSON_IsNull(item) || cJSON_IsArray(item) ||
            lx_train_flag_is_path(item->string))
            continue;
        lx_scrub_text(&clean, text, strlen(text));
        *f = (lx_export_flag){
            .key = lx_arena_strdup(j->cli->arena, item->string),
            .text = clean.failed ? NULL
                                 : lx_arena_strdup(j->cli->arena, lx_str_text(&clean)),
            .number = cJSON_IsNumber(item) ? item->valuedouble
                      : cJSON_IsBool(item) ? cJSON_IsTrue(item)
                                           : (double)NAN,
            .is_bool = cJSON_IsBool(item)};
        lx_str_release(&clean);
        if (!f->key || !f->text)
            rc = lx_oom(err);
        (*n)++;
    }
    cJSON_Delete(root);
    return rc;
}

static int open_log(job *j, lx_error *err)
{
    lx_export_flag *settings = NULL;
    size_t n = 0;
    int rc = j->config.log_config ? list_settings(&settings, &n, j, err) : LX_OK;

    return rc < 0 ? rc
                  : lx_train_log_open(&j->log, &j->config, lx_train_lora(j->train), settings, n, err);
}

/* Its hash is recorded, so that lx import knows the file for this run's. */
static int keep_log(job *j, lx_error *err)
{
    const char *path = lx_train_log_path(&j->log);
    char real[PATH_MAX];
    struct stat st;
    lx_error problem;
    lx_hash hash;
    lx_artifact artifact = {.role = "events", .step = -1, .hash = &hash};
    int rc;

    if (!path || lx_io_get()->stat(path, &st) < 0)
        return LX_OK; /* removed meanwhile: its points are in the store */
    if ((rc = lx_file_hash(&hash, path, &problem)) < 0)
        return rc == LX_ENOTFOUND ? LX_OK : lx_fail_as(err, rc, &problem);
    artifact.name = lx_path_base(path);
    artifact.path = realpath(path, real) ? real : path;
    artifact.size = st.st_size;
    return lx_later_attach(&j->later, &artifact, err);
}

static int train_recorded(job *j, lx_error *err)
{
    const lx_observer observer = {.context = j,
                                  .on_phase = on_phase,
                                  .on_step = on_step,
                                  .on_checkpoint = on_checkpoint,
                                  .on_sample = on_sample,
                                  .on_epoch = on_epoch,
                                  .on_validation = on_validation,
                                  .on_note = on_note,
                                  .on_problem = on_problem,
                                  .should_stop = should_stop};
    lx_train_identity identity;
    lx_error keeping = {0};
    int rc;

    if ((rc = identify(&identity, j, err)) < 0 ||
        (rc = lx_train_open(&j->train, &j->config, j->dataset, &identity, &observer, err)) < 0 ||
        (rc = lx_train_prepare(j->train, err)) < 0 || (rc = tell_total(j, err)) < 0)
        return rc;
    show_plan(j);
    if ((rc = open_log(j, err)) < 0)
        return rc;
    j->later = (lx_later){.store = j->store, .run = lx_run_seq(j->run)};
    lx_store_patience(j->store, TRAINING_PATIENCE);
    rc = lx_train_run(j->train, err);
    lx_store_patience(j->store, LX_STORE_PATIENCE);
    lx_progress_close(&j->progress);
    if (rc == LX_OK)
        return keep_log(j, err);
    keep_log(j, &keeping); /* what there is of it; the training's own error counts */
    return rc;
}

static const char *status_of(int rc)
{
    return rc == LX_OK ? "finished" : rc == LX_EINTERRUPTED ? "interrupted" : "failed";
}

/* The run ends as the training did; a store that fails now must not hide the training's own error. */
static int end_run(job *j, int rc, lx_error *err)
{
    lx_error waiting = {0}, ending = {0};
    int waits = lx_later_finish(&j->later, &waiting), ended;

    ended = lx_run_end(j->run, status_of(rc), rc < 0 && err ? err->text : NULL, &ending);
    j->run = NULL;
    lx_later_release(&j->later);
    if (rc < 0 && waits < 0)
        lx_message(j->cli, "warning: not all files are recorded: %s\n",
                   lx_safe(j->cli, waiting.text));
    return rc < 0      ? rc
           : waits < 0 ? lx_fail_as(err, waits, &waiting)
                       : lx_fail_as(err, ended, &ending);
}

static int begin_record(job *j, lx_error *err)
{
    lx_str note = LX_STR_INIT;
    int rc = lx_record_begin(&j->run, &note, j->store, &j->config, &j->flags, j->dataset,
                             err);

    if (rc == LX_OK && note.len && !j->cli->is_quiet)
        lx_message(j->cli, "note: --resume: %s\n", lx_safe(j->cli, lx_str_text(&note)));
    lx_str_release(&note);
    return rc;
}

static int run(lx_cli *cli, void *args, lx_error *err)
{
    job j = {.cli = cli};
    lx_error local = {0};
    int rc;

    (void)args;
    err = err ? err : &local;
    lx_progress_init(&j.progress, cli);
    if ((rc = read_command_line(&j, err)) < 0 || j.flags.is_done)
        return rc;
    lx_signals_install();
    if ((rc = read_data(&j, err)) < 0 ||
        (rc = lx_store_open(&j.store, cli->store_path, false, err)) < 0 ||
        (rc = begin_record(&j, err)) < 0)
        goto done;
    rc = train_recorded(&j, err);
    lx_train_close(j.train);
    lx_train_log_close(&j.log);
    lx_progress_close(&j.progress);
    rc = end_run(&j, rc, err);
    if (rc == LX_EINTERRUPTED && !lx_signals_pending()) { /* it was asked for beforehand */
        if (!cli->is_quiet)
            lx_message(cli, "%s\n", lx_safe(cli, err->text));
        rc = LX_OK;
    }
done:
    lx_store_close(j.store);
    lx_dataset_free(j.dataset);
    return rc;
}

const lx_command lx_cmd_train = {
    .name = "train",
    .summary = "train a LoRA and record the run",
    .usage = "--pretrained_model_name_or_path MODEL --train_data_dir DIR ...",
    .help = "Takes the flags of sd-scripts' train_network.py by the same names, meanings and\n"
            "defaults (docs/flags.md), as flags, from --config_file, or as a pasted\n"
            "`accelerate launch ... train_network.py ...` line. Caption files that the flags do not\n"
            "read stop the run before anything is loaded. Ctrl-C saves what was trained, and so does a\n"
            "closed terminal (but under nohup, where the training goes on); a second Ctrl-C leaves\n"
            "at once. Every run is recorded: lx runs, lx show.\n"
            "\n"
            "Examples:\n"
            "  lx train --pretrained_model_name_or_path base.safetensors --train_data_dir img \\\n"
            "           --caption_extension .txt --resolution 512 --network_dim 4 \\\n"
            "           --learning_rate 1e-4 --max_train_epochs 10 --output_dir out\n"
            "  lx train --config_file run.toml --seed 7\n"
            "  lx train --like hifumi-v3 --network_dim 8 --output_name hifumi-v4\n",
    .options = lx_train_options,
    .parses_itself = true,
    .computes = true,
    .run = run,
};
