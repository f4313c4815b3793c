#include "cmd/run_record.h"

#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/gpu.h"
#include "cmd/later.h"
#include "cmd/run_follow.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "src/format/tensor_file.h"
#include "src/import/console.h"
#include "src/import/lora_files.h"
#include "src/model/checkpoint.h"
#include "store/query.h"
#include "src/base/scrub.h"
#include "src/serve/console.h"

enum { TAIL = 4096 };
static const double look_seconds = 1, gpu_seconds = 5;
static const double WATCHING_PATIENCE =
    0.5; /* seconds: the command may be waiting for us to read */
static const double patience =
    180; /* for the first loss of an event file: writers flush every 120 s */

typedef struct point {
    int64_t step;
    double value;
} point;

/* A LoRA file as it was told: folders may be watched that are one, by two names. */
typedef struct seen_lora {
    char *path; /* of the folder it is in, links resolved, and its own name */
    struct stat st;
} seen_lora;

struct lx_run_record {
    lx_cli *cli;
    lx_store *store;
    lx_run *run;
    const lx_observed *observed;
    const lx_run_options *options;
    lx_console console;
    char tail[TAIL]; /* the last of what was printed, for the message of a failure */
    size_t tail_n;
    lx_follow_files **files;
    size_t n_files, files_capacity;
    seen_lora *seen; /* those that were told */
    size_t n_seen, seen_capacity;
    lx_follow_events *events;
    lx_gpus *gpus;
    double looked_at, sampled_at; /* monotonic */
    double peak[LX_GPUS];         /* bytes */
    /* The bar's losses while it is open whose curve loss/average is. */
    point *held;
    size_t n_held, held_capacity;
    double held_since;
    bool waits_for_events, has_event_loss;
    size_t n_loras;
    int64_t told_total; /* steps */
    lx_later later;
    lx_run_result result;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int fact(lx_run_record *r, const char *key, const char *value, lx_error *err)
{
    return lx_later_fact(&r->later, key, value, err);
}

/* Points and text are kept while the store is busy or the disk is full; if they still wait at the end, that says so. */
static int unless_passing(const lx_run_record *r, int rc, const lx_error *why,
                          lx_error *err)
{
    return lx_later_passes(r->store, rc) ? LX_OK : lx_fail_as(err, rc, why);
}

static int log_point(lx_run_record *r, const char *key, int64_t step, double value,
                     lx_error *err)
{
    lx_error why = {0};

    return unless_passing(r, lx_run_log(r->run, key, step, value, &why), &why, err);
}

/* ---- curves ------------------------------------------------------------------------ */

/* No event file has told of the loss: the bar's is the only one. */
static int release_held(lx_run_record *r, lx_error *err)
{
    int rc = LX_OK;

    r->waits_for_events = false;
    for (size_t i = 0; i < r->n_held && rc == LX_OK; i++)
        rc = log_point(r, "loss/average", r->held[i].step, r->held[i].value, err);
    r->n_held = 0;
    return rc;
}

static int log_bar_loss(lx_run_record *r, int64_t step, double value, lx_error *err)
{
    if (r->has_event_loss)
        return log_point(r, "loss/bar", step, value, err);
    if (!r->waits_for_events)
        return log_point(r, "loss/average", step, value, err);
    if (lx_grow(&r->held, &r->held_capacity, r->n_held + 1, sizeof *r->held) < 0)
        return lx_oom(err);
    if (r->n_held == 0)
        r->held_since = now();
    r->held[r->n_held++] = (point){step, value};
    return log_point(r, "loss/bar", step, value, err);
}

static int facts_of_training(lx_run_record *r, const lx_console_state *s, lx_error *err)
{
    const struct {
        const char *key;
        int64_t value;
    } rows[] = {{"num_train_images", s->num_train_images},
                {"num_reg_images", s->num_reg_images},
                {"num_batches_per_epoch", s->num_batches_per_epoch},
                {"num_epochs", s->num_epochs},
                {"total_steps", s->total_steps}};
    int rc = LX_OK;

    for (size_t i = 0; i < sizeof rows / sizeof *rows && rc == LX_OK; i++) {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)rows[i].value);
        if (rows[i].value >= 0)
            rc = fact(r, rows[i].key, text, err);
    }
    return rc;
}

/* For lx watch, as soon as it is known. The bar of a trainer that is not known may be an epoch's. */
static int tell_total(lx_run_record *r, const lx_console_state *s, lx_error *err)
{
    char text[24];
    int rc;

    if (s->total_steps <= 0 || s->total_steps == r->told_total ||
        (!r->observed->is_sd_scripts && s->num_train_images < 0))
        return LX_OK;
    snprintf(text, sizeof text, "%lld", (long long)s->total_steps);
    if ((rc = fact(r, "steps.total", text, err)) == LX_OK)
        r->told_total = s->total_steps;
    return rc;
}

static int on_console(void *context, const lx_console_event *e, lx_error *err)
{
    lx_run_record *r = context;
    int rc = tell_total(r, e->state, err);

    if (rc < 0)
        return rc;
    switch (e->kind) {
    case LX_CONSOLE_POINT:
        r->result.step = e->step > r->result.step ? e->step : r->result.step;
        if (strcmp(e->key, "loss/average") == 0 || strcmp(e->key, "loss") == 0)
            r->result.loss = e->value;
        return strcmp(e->key, "loss/average") == 0
                   ? log_bar_loss(r, e->step, e->value, err)
                   : log_point(r, e->key, e->step, e->value, err);
    case LX_CONSOLE_EPOCH:
        return log_point(r, "epoch", e->state->step, (double)e->state->epoch, err);
    case LX_CONSOLE_OVER:
        return facts_of_training(r, e->state, err);
    default:
        return LX_OK;
    }
}

static int on_event(void *context, const lx_tfevent *e, lx_error *err)
{
    lx_run_record *r = context;

    if (e->kind != LX_TFEVENT_SCALAR)
        return LX_OK;
    if (strcmp(e->tag, "loss/average") == 0) {
        r->waits_for_events = false;
        r->has_event_loss = true;
    }
    return log_point(r, e->tag, e->step, e->value, err);
}

/* ---- files ------------------------------------------------------------------------- */

/* The step of a LoRA: by its own word, else the one the training is at. */
static int64_t step_of_lora(const lx_run_record *r, const char *path)
{
    lx_tensor_file *file = NULL;
    const char *steps = NULL;
    int64_t step = r->console.state.has_training ? r->console.state.step : -1;

    if (lx_tensor_file_open(&file, path, NULL) == LX_OK)
        steps = lx_tensor_file_metadata(file, "ss_steps");
    if (steps && *steps >= '0' && *steps <= '9')
        step = strtoll(steps, NULL, 10);
    lx_tensor_file_close(file);
    return step;
}

/* What the trainer wrote into its file says more than the command line: whether captions
 * were read. */
static int describe_lora(lx_run_record *r, const char *path, lx_error *err)
{
    lx_history *h = NULL;
    lx_history_run *run;
    int rc = lx_history_new(&h, err);

    if (rc == LX_OK && (run = lx_history_add(h, "", path)) &&
        (rc = lx_lora_files_describe(h, run, path, err)) == LX_OK) {
        for (size_t i = 0; i < run->n_facts && rc == LX_OK; i++)
            rc = fact(r, run->facts[i].key, run->facts[i].value, err);
    }
    lx_history_free(h);
    return rc;
}

/* One transaction: what is said of the file is there with it. */
static int attach_lora(lx_run_record *r, const lx_artifact *artifact, lx_error *err)
{
    int64_t run = lx_run_seq(r->run);
    int rc = lx_store_group_begin(r->store, err);

    if (rc < 0)
        return rc;
    rc = lx_run_attach(NULL, r->store, run, artifact, err);
    if (rc == LX_OK && r->n_loras == 0 && artifact->tensor_hash &&
        lx_file_exists(artifact->path))
        rc = describe_lora(r, artifact->path, err);
    rc = lx_store_group_end(r->store, rc, err);
    r->n_loras += rc == LX_OK;
    return rc;
}

/* At once, or when the store is free again (cmd/later.h). */
static int attach(void *context, const lx_artifact *artifact, lx_error *err)
{
    lx_run_record *r = context;
    lx_error why = {0};
    int rc = strcmp(artifact->role, "lora") == 0
                 ? attach_lora(r, artifact, &why)
                 : lx_run_attach(NULL, r->store, lx_run_seq(r->run), artifact, &why);

    if (rc == LX_ENOTFOUND && !artifact->hash)
        return LX_OK; /* removed meanwhile */
    return lx_fail_as(err, rc, &why);
}

/* *path: lx_free. */
static int look_at_lora(seen_lora *out, const char *path, lx_error *err)
{
    const char *name = lx_path_base(path);
    lx_str folder = LX_STR_INIT, whole = LX_STR_INIT;
    char real[PATH_MAX];
    int rc;

    lx_str_append(&folder, path, (size_t)(name - path));
    if ((rc = lx_str_check(&folder, err)) == LX_OK) {
        lx_str_printf(&whole, "%s/%s",
                      realpath(lx_str_text(&folder), real) ? real : lx_str_text(&folder),
                      name);
        if (!(out->path = lx_str_detach(&whole)))
            rc = lx_oom(err);
    }
    if (lx_io_get()->stat(path, &out->st) < 0)
        memset(&out->st, 0, sizeof out->st);
    lx_str_release(&folder);
    lx_str_release(&whole);
    return rc;
}

static bool is_seen(const lx_run_record *r, const seen_lora *l)
{
    for (size_t i = 0; i < r->n_seen; i++) {
        const struct stat *a = &r->seen[i].st, *b = &l->st;
        if (strcmp(r->seen[i].path, l->path) == 0 && a->st_dev == b->st_dev &&
            a->st_ino == b->st_ino && a->st_size == b->st_size &&
            a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
            a->st_mtim.tv_nsec == b->st_mtim.tv_nsec)
            return true;
    }
    return false;
}

static int tell_lora(lx_run_record *r, const char *path, lx_error *err)
{
    lx_hash hash, tensors;
    bool has_tensors;
    char real[PATH_MAX];
    lx_artifact artifact = {.role = "lora",
                            .name = lx_path_base(path),
                            .step = step_of_lora(r, path),
                            .path = realpath(path, real) ? real : path};
    int rc = lx_lora_files_hash(&hash, &tensors, &has_tensors, &artifact.size, path, err);

    if (rc == LX_ENOTFOUND)
        return LX_OK; /* an old epoch, removed in this very moment */
    if (rc < 0)
        return rc;
    artifact.hash = r->options->copies_loras ? NULL : &hash;
    artifact.tensor_hash = has_tensors ? &tensors : NULL;
    return lx_later_attach(&r->later, &artifact, err);
}

static int on_lora(void *context, const char *path, lx_error *err)
{
    lx_run_record *r = context;
    seen_lora l = {0};
    int rc = look_at_lora(&l, path, err);

    if (rc == LX_OK && !is_seen(r, &l) && (rc = tell_lora(r, path, err)) == LX_OK) {
        if (lx_grow(&r->seen, &r->seen_capacity, r->n_seen + 1, sizeof *r->seen) == 0) {
            r->seen[r->n_seen++] = l;
            return LX_OK;
        }
        rc = lx_oom(err);
    }
    lx_free(l.path);
    return rc;
}

static int on_sample(void *context, const char *path, lx_error *err)
{
    lx_run_record *r = context;
    const lx_artifact artifact = {
        .role = "sample",
        .name = lx_path_base(path),
        .step = r->console.state.has_training ? r->console.state.step : -1,
        .path = path};
    return lx_later_attach(&r->later, &artifact, err);
}

/* Named by its hash at the end, so that lx import knows it for this run's. */
static int on_event_file(void *context, const char *path, lx_error *err)
{
    lx_run_record *r = context;
    char real[PATH_MAX];
    struct stat st;
    lx_error problem;
    lx_hash hash;
    int rc;
    lx_artifact artifact = {.role = "events",
                            .name = lx_path_base(path),
                            .step = -1,
                            .path = realpath(path, real) ? real : path,
                            .hash = &hash};

    if (lx_io_get()->stat(path, &st) < 0)
        return LX_OK; /* removed meanwhile; its points are kept */
    if ((rc = lx_file_hash(&hash, path, &problem)) < 0)
        return rc == LX_ENOTFOUND ? LX_OK : lx_fail_as(err, rc, &problem);
    artifact.size = st.st_size;
    return lx_later_attach(&r->later, &artifact, err);
}

static int follow(lx_run_record *r, const char *folder, const char *prefix,
                  const char *const *endings, lx_follow_file on_file, lx_error *err)
{
    int rc;

    if (!folder)
        return LX_OK;
    if (!prefix || lx_grow(&r->files, &r->files_capacity, r->n_files + 1, sizeof *r->files) < 0)
        return lx_oom(err);
    rc = lx_follow_files_open(&r->files[r->n_files], folder, prefix, endings, on_file, r,
                              err);
    r->n_files += rc == LX_OK;
    return rc;
}

static int follow_all(lx_run_record *r, lx_error *err)
{
    static const char *const loras[] = {".safetensors", ".ckpt", ".pt", NULL};
    static const char *const safetensors[] = {".safetensors", NULL};
    static const char *const images[] = {".png", ".jpg", ".webp", NULL};
    const lx_observed *o = r->observed;
    const char *prefix = o->is_sd_scripts && o->output_name ? o->output_name : "";
    const char *samples = NULL;
    int rc = LX_OK;

    if (o->output_dir &&
        !(samples = lx_arena_printf(r->cli->arena, "%s/sample", o->output_dir)))
        return lx_oom(err);
    if ((rc = follow(r, o->output_dir, prefix, o->is_sd_scripts ? loras : safetensors,
                     on_lora, err)) < 0 ||
        (rc = follow(r, samples, prefix, images, on_sample, err)) < 0)
        return rc;
    for (size_t i = 0; i < r->options->folders->count && rc == LX_OK; i++)
        rc = follow(r, r->options->folders->items[i], "", safetensors, on_lora, err);
    if (rc == LX_OK && o->logging_dir)
        rc = lx_follow_events_open(&r->events, o->logging_dir, on_event, r, err);
    r->waits_for_events = o->logging_dir != NULL;
    return rc;
}

static int look(lx_run_record *r, bool is_last, lx_error *err)
{
    int rc = lx_follow_events_look(r->events, is_last, err);

    for (size_t i = 0; i < r->n_files && rc == LX_OK; i++)
        rc = lx_follow_files_look(r->files[i], is_last, err);
    if (rc == LX_OK && r->waits_for_events && r->n_held &&
        (is_last || now() - r->held_since > patience))
        rc = release_held(r, err);
    return rc;
}

/* ---- GPUs -------------------------------------------------------------------------- */

static int log_gpu(lx_run_record *r, int index, const char *what, double value,
                   lx_error *err)
{
    char key[48];
    int64_t step = r->console.state.has_training ? r->console.state.step : 0;

    if (isnan(value))
        return LX_OK;
    snprintf(key, sizeof key, "gpu%d/%s", index, what);
    return log_point(r, key, step, value, err);
}

static int sample_gpus(lx_run_record *r, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < lx_gpus_count(r->gpus) && rc == LX_OK; i++) {
        lx_gpu_sample s;
        lx_gpus_sample(&s, r->gpus, i);
        if (s.memory_used > r->peak[i])
            r->peak[i] = s.memory_used;
        if ((rc = log_gpu(r, s.index, "memory", s.memory_used, err)) < 0 ||
            (rc = log_gpu(r, s.index, "utilisation", s.utilisation, err)) < 0 ||
            (rc = log_gpu(r, s.index, "power", s.power, err)) < 0)
            break;
        rc = log_gpu(r, s.index, "temperature", s.temperature, err);
    }
    return rc;
}

/* Names at the start, peaks at the end. */
static int tell_gpus(lx_run_record *r, bool is_end, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < lx_gpus_count(r->gpus) && rc == LX_OK; i++) {
        char key[48], value[128];
        snprintf(key, sizeof key, "gpu%zu.%s", i, is_end ? "memory_peak" : "name");
        if (is_end)
            snprintf(value, sizeof value, "%.0f", r->peak[i]);
        else
            snprintf(value, sizeof value, "%s, %.0f MiB, driver %s",
                     lx_gpus_name(r->gpus, i), lx_gpus_memory(r->gpus, i) / 1048576,
                     lx_gpus_driver(r->gpus));
        rc = fact(r, key, value, err);
    }
    return rc;
}

/* ---- the view ---------------------------------------------------------------------- */

static void on_start(void *context, int pid)
{
    lx_run_record *r = context;
    lx_store_patience(r->store, WATCHING_PATIENCE);
    lx_follow_events_of(r->events, pid);
}

static void keep_tail(lx_run_record *r, const char *bytes, size_t n)
{
    if (n >= TAIL) {
        memcpy(r->tail, bytes + n - TAIL, TAIL);
        r->tail_n = TAIL;
        return;
    }
    if (r->tail_n + n > TAIL) {
        size_t kept = TAIL - n;
        memmove(r->tail, r->tail + r->tail_n - kept, kept);
        r->tail_n = kept;
    }
    memcpy(r->tail + r->tail_n, bytes, n);
    r->tail_n += n;
}

static int on_output(void *context, const void *bytes, size_t n, lx_error *err)
{
    lx_run_record *r = context;
    lx_error why = {0}, misread = {0};
    int rc = lx_run_console(r->run, bytes, n, &why), read;

    rc = unless_passing(r, rc, &why, err);
    keep_tail(r, bytes, n);
    read = lx_console_feed(&r->console, bytes, n, &misread);
    return rc < 0 ? rc : lx_fail_as(err, read, &misread);
}

static int on_tick(void *context, bool is_quiet, lx_error *err)
{
    lx_run_record *r = context;
    double t = now();
    int rc = is_quiet ? lx_console_settle(&r->console, err) : LX_OK;

    if (rc == LX_OK)
        rc = lx_later_try(&r->later, err);
    if (rc == LX_OK && t - r->looked_at >= look_seconds) {
        rc = look(r, false, err);
        r->looked_at = t;
    }
    if (rc == LX_OK && r->gpus && t - r->sampled_at >= gpu_seconds) {
        rc = sample_gpus(r, err);
        r->sampled_at = t;
    }
    return rc;
}

lx_child_view lx_run_record_view(lx_run_record *r)
{
    return (lx_child_view){
        .context = r, .on_start = on_start, .on_output = on_output, .on_tick = on_tick};
}

/* ---- begin ------------------------------------------------------------------------- */

/* As lx train describes it, so that the two compare. Reading gigabytes is no time lost:
 * the trainer reads the same, then from the cache. NULL when it is no file (a name on a
 * hub). */
static int describe_base(char **out, const char *path, lx_error *err)
{
    char old_hash[9], sha256[LX_HASH_HEX + 1], real[PATH_MAX];
    lx_str text = LX_STR_INIT;
    struct stat st;
    cJSON *root;
    int rc;

    *out = NULL;
    if (!path || lx_io_get()->stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return LX_OK;
    if ((rc = lx_checkpoint_hashes(old_hash, sha256, path, err)) < 0)
        return rc == LX_ENOMEM ? rc : LX_OK; /* the trainer's to complain of */
    if (!(root = cJSON_CreateObject()))
        return lx_oom(err);
    cJSON_AddStringToObject(root, "path", realpath(path, real) ? real : path);
    cJSON_AddStringToObject(root, "sha256", sha256);
    cJSON_AddStringToObject(root, "model_hash", old_hash);
    rc = lx_json_canonical(&text, root, err);
    cJSON_Delete(root);
    if (rc == LX_OK && !(*out = lx_str_detach(&text)))
        rc = lx_oom(err);
    lx_str_release(&text);
    return rc;
}

static int attach_packages(lx_run_record *r, const char *command, lx_error *err)
{
    char path[PATH_MAX];
    lx_str list = LX_STR_INIT;
    int rc = LX_OK;

    if (lx_child_find(path, sizeof path, command, NULL) == LX_OK &&
        (rc = lx_observe_packages(&list, path, err)) == LX_OK && list.len)
        rc = lx_run_artifact(r->run, "environment", "packages.txt", list.data, list.len,
                             -1, err);
    lx_str_release(&list);
    return rc;
}

static const char *name_of(const lx_run_record *r, char **argv)
{
    const lx_observed *o = r->observed;
    const char *name = r->options->name ? r->options->name
                       : o->output_name ? o->output_name
                       : o->script      ? o->script
                                        : argv[0];
    return name == o->script || name == argv[0] ? lx_path_base(name) : name;
}

static int begin_run(lx_run_record *r, const char *dataset, int argc, char **argv,
                     lx_error *err)
{
    const lx_observed *o = r->observed;
    lx_str command = LX_STR_INIT;
    char *base = NULL;
    int rc;

    lx_scrub_command(&command, argc, (const char *const *)argv);
    if ((rc = lx_str_check(&command, err)) == LX_OK &&
        (rc = describe_base(&base, o->base_model, err)) == LX_OK) {
        const lx_run_start start = {.name = name_of(r, argv),
                                    .kind = "run",
                                    .command_line = lx_str_text(&command),
                                    .flags_given = o->given,
                                    .flags = o->flags,
                                    .dataset = dataset,
                                    .base_model = base,
                                    .work_dir = o->folder,
                                    .seed = o->seed,
                                    .has_seed = o->has_seed};
        rc = lx_run_begin(&r->run, r->store, &start, err);
    }
    lx_str_release(&command);
    lx_free(base);
    return rc;
}

static void free_record(lx_run_record *r)
{
    for (size_t i = 0; i < r->n_files; i++)
        lx_follow_files_close(r->files[i]);
    lx_free(r->files);
    for (size_t i = 0; i < r->n_seen; i++)
        lx_free(r->seen[i].path);
    lx_free(r->seen);
    lx_follow_events_close(r->events);
    lx_gpus_close(r->gpus);
    lx_later_release(&r->later);
    lx_free(r->held);
    lx_free(r);
}

int lx_run_record_begin(lx_run_record **out, lx_cli *cli, lx_store *store,
                        const lx_observed *observed, const char *dataset, int argc,
                        char **argv, const lx_run_options *options, lx_error *err)
{
    lx_run_record *r = lx_calloc(1, sizeof *r);
    int rc;

    *out = NULL;
    if (!r)
        return lx_oom(err);
    r->cli = cli;
    r->store = store;
    r->observed = observed;
    r->options = options;
    r->result = (lx_run_result){.step = -1, .loss = NAN};
    lx_console_init(&r->console, on_console, r);
    r->gpus = lx_gpus_open();
    if ((rc = follow_all(r, err)) < 0 ||
        (rc = begin_run(r, dataset, argc, argv, err)) < 0)
        goto done;
    r->later = (lx_later){
        .store = store, .run = lx_run_seq(r->run), .attach = attach, .context = r};
    if ((rc = attach_packages(r, argv[0], err)) == LX_OK)
        rc = tell_gpus(r, false, err);
done:
    if (rc < 0) {
        lx_run_abandon(r->run);
        free_record(r);
    } else {
        *out = r;
    }
    return rc;
}

const char *lx_run_record_id(const lx_run_record *r)
{
    return lx_run_id(r->run);
}

int64_t lx_run_record_seq(const lx_run_record *r)
{
    return lx_run_seq(r->run);
}

/* ---- end --------------------------------------------------------------------------- */

/* Without controls; what is no UTF-8 becomes a question mark. out has room for all. */
static size_t clean_line(char *out, const char *line, const char *end)
{
    size_t n = 0;

    while (line < end) {
        const char *at = line;
        if (lx_utf8_next(&line, end) == UINT32_MAX) {
            out[n++] = '?';
        } else if ((unsigned char)*at >= ' ' && *at != 0x7f) {
            memcpy(out + n, at, (size_t)(line - at));
            n += (size_t)(line - at);
        } else if (*at == '\t') {
            out[n++] = ' ';
        }
    }
    while (n && out[n - 1] == ' ')
        n--;
    return n;
}

/* The beginning of the last line that says something: of a Python traceback the error itself. */
static void last_line(char *out, size_t capacity, const lx_run_record *r)
{
    char line[TAIL + 1];
    lx_serve_console plain = {0};
    lx_str text = LX_STR_INIT, clean = LX_STR_INIT;
    size_t start = 0, end, n = 0;

    *out = '\0';
    if (r->tail_n == TAIL) /* cut off, perhaps within a character */
        while (start < TAIL && ((unsigned char)r->tail[start] & 0xc0) == 0x80)
            start++;
    lx_serve_console_take(&text, &plain, r->tail + start, r->tail_n - start);
    for (end = text.failed ? 0 : text.len; end > 0 && n == 0; end = start ? start - 1 : 0) {
        for (start = end; start > 0 && text.data[start - 1] != '\n';)
            start--;
        n = clean_line(line, text.data + start, text.data + end);
    }
    lx_str_release(&text);
    lx_scrub_text(&clean, line, n); /* before it is cut: half a secret is not known for one */
    n = clean.len < capacity ? clean.len : capacity - 1;
    while (n > 0 && n < clean.len && ((unsigned char)clean.data[n] & 0xc0) == 0x80)
        n--;
    snprintf(out, capacity, "%.*s", (int)n, lx_str_text(&clean));
    lx_str_release(&clean);
}

static void make_message(char *out, size_t capacity, const lx_run_record *r,
                         const lx_child_end *end)
{
    char line[300];

    if (end->signal) {
        snprintf(out, capacity, "killed by signal %d (%s)", end->signal,
                 strsignal(end->signal));
        return;
    }
    last_line(line, sizeof line, r);
    snprintf(out, capacity, "exit status %d%s%s", end->exit_status, *line ? ": " : "",
             line);
}

/* Asked to stop, it was interrupted whatever it made of that; a kill from elsewhere is a
 * failure. */
static const char *status_of(const lx_child_end *end)
{
    bool was_asked = end->asked || end->signal == SIGINT || end->signal == SIGTERM ||
                     end->signal == SIGHUP;
    return end->exit_status == 0 ? "finished" : was_asked ? "interrupted" : "failed";
}

/* All of it, whatever becomes of the parts; the first error. */
static int conclude(lx_run_record *r, const lx_child_end *end, lx_error *err)
{
    enum { PARTS = 6 };
    lx_error why[PARTS] = {{0}};
    char status[16];
    int rc[PARTS], i = 0;

    lx_store_patience(r->store, LX_STORE_PATIENCE);
    snprintf(status, sizeof status, "%d", end->exit_status);
    rc[0] = lx_console_finish(&r->console, &why[0]);
    rc[1] = look(r, true, &why[1]);
    rc[2] = lx_follow_events_each(r->events, on_event_file, r, &why[2]);
    rc[3] = tell_gpus(r, true, &why[3]);
    rc[4] = fact(r, "exit_status", status, &why[4]);
    rc[5] = lx_later_finish(&r->later, &why[5]);
    while (i < PARTS - 1 && rc[i] == LX_OK)
        i++;
    return lx_fail_as(err, rc[i], &why[i]);
}

int lx_run_record_end(lx_run_result *out, lx_run_record *r, const lx_child_end *end,
                      lx_error *err)
{
    char message[512] = "";
    lx_error last = {0};
    int rc = conclude(r, end, err), ended;

    r->result.status = status_of(end);
    r->result.n_loras = r->n_loras;
    r->result.is_at_line_start = r->tail_n == 0 || r->tail[r->tail_n - 1] == '\n';
    if (end->exit_status)
        make_message(message, sizeof message, r, end);
    ended = lx_run_end(r->run, r->result.status, *message ? message : NULL, &last);
    if (rc == LX_OK)
        rc = lx_fail_as(err, ended, &last);
    *out = r->result;
    free_record(r);
    return rc;
}
