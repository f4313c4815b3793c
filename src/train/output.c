#include "src/train/output.h"

#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/str.h"
#include "src/lora/hash.h"
#include "src/lora/lora.h"

int lx_output_epoch_period(const lx_output *o)
{
    const lx_train_config *c = o->config;
    if (c->save_n_epoch_ratio > 0) {
        int period = o->total_epochs / c->save_n_epoch_ratio;
        return period < 1 ? 1 : period;
    }
    return c->save_every_n_epochs > 0 ? c->save_every_n_epochs : 0;
}

static void put_dir(lx_str *path, const lx_train_config *c)
{
    lx_str_clear(path);
    if (c->output_dir)
        lx_str_printf(path, "%s/", c->output_dir);
}

static void epoch_path(lx_str *path, const lx_train_config *c, int epoch)
{
    put_dir(path, c);
    lx_str_printf(path, "%s-%06d.%s", c->output_name ? c->output_name : "epoch", epoch,
                  c->save_model_as);
}

static void step_path(lx_str *path, const lx_train_config *c, int64_t step)
{
    put_dir(path, c);
    lx_str_printf(path, "%s-step%08lld.%s", c->output_name ? c->output_name : "at",
                  (long long)step, c->save_model_as);
}

static void last_path(lx_str *path, const lx_train_config *c)
{
    put_dir(path, c);
    lx_str_printf(path, "%s.%s", c->output_name ? c->output_name : "last",
                  c->save_model_as);
}

static void state_path(lx_str *path, const lx_train_config *c, const char *otherwise,
                       const char *suffix)
{
    put_dir(path, c);
    lx_str_printf(path, "%s%s", c->output_name ? c->output_name : otherwise, suffix);
}

static int write_file(const char *path, const lx_output *o, lx_error *err)
{
    const lx_train_config *c = o->config;
    const bool has_integer_alpha = lx_train_has_integer_alpha(c);

    if (strcmp(c->save_model_as, "safetensors") != 0)
        return lx_lora_save_torch(path, o->lora, c->save_dtype, has_integer_alpha, err);
    return lx_lora_save(path, o->lora, c->save_dtype, has_integer_alpha,
                        o->metadata->entries, o->metadata->count, err);
}

static int save(lx_output *o, const lx_str *path, int epoch, int64_t step, bool is_last,
                lx_error *err)
{
    const lx_train_config *c = o->config;
    lx_checkpoint_report report = {
        .path = lx_str_text(path), .step = step, .epoch = epoch, .is_last = is_last};
    char hex[LX_HASH_HEX + 1];
    lx_hash hash;
    int rc;

    if ((rc = lx_str_check(path, err)) < 0)
        return rc;
    lx_metadata_of_save(o->metadata, c, epoch, step, lx_metadata_time());
    if (c->no_metadata)
        lx_metadata_reduce(o->metadata);
    if (o->metadata->failed)
        return lx_oom(err);
    if ((rc = write_file(report.path, o, err)) < 0 ||
        (rc = lx_file_hash(&hash, report.path, err)) < 0)
        return rc;
    lx_hash_hex(hex, &hash);
    report.sha256 = hex;
    if (o->observer->on_checkpoint)
        return o->observer->on_checkpoint(o->observer->context, &report, err);
    return LX_OK;
}

static void remove_old(const lx_str *path)
{
    if (!path->failed)
        lx_io_get()->unlink(lx_str_text(path)); /* gone already is fine */
}

int lx_output_epoch(lx_output *o, int epoch, int64_t step, lx_error *err)
{
    const lx_train_config *c = o->config;
    int period = lx_output_epoch_period(o), rc;
    lx_str path = LX_STR_INIT;

    if (!period || epoch % period != 0 || epoch >= o->total_epochs)
        return LX_OK;
    epoch_path(&path, c, epoch);
    rc = save(o, &path, epoch, step, false, err);
    if (rc == LX_OK && c->save_last_n_epochs > 0) {
        int old = epoch - period * c->save_last_n_epochs;
        if (old > 0) {
            epoch_path(&path, c, old);
            remove_old(&path);
        }
    }
    lx_str_release(&path);
    return rc;
}

int lx_output_step(lx_output *o, int finished_epochs, int64_t step, lx_error *err)
{
    const lx_train_config *c = o->config;
    lx_str path = LX_STR_INIT;
    int rc;

    if (c->save_every_n_steps <= 0 || step % c->save_every_n_steps != 0)
        return LX_OK;
    step_path(&path, c, step);
    rc = save(o, &path, finished_epochs, step, false, err);
    if (rc == LX_OK && c->save_last_n_steps > 0) {
        int64_t old = step - c->save_last_n_steps - 1;
        old -= old % c->save_every_n_steps;
        if (old > 0) {
            step_path(&path, c, old);
            remove_old(&path);
        }
    }
    lx_str_release(&path);
    return rc;
}

int lx_output_last(lx_output *o, int epoch, int64_t step, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;

    last_path(&path, o->config);
    rc = save(o, &path, epoch, step, true, err);
    lx_str_release(&path);
    return rc;
}

/* Of a file that cannot be read it is false: it is written anew, or that says why. */
static int holds_lora(bool *out, const char *path, const lx_output *o, lx_error *err)
{
    char expected[LX_HASH_HEX + 1], legacy[9], found[LX_HASH_HEX + 1];
    lx_lora_tensors *tensors;
    lx_hash hash;
    int rc = lx_lora_tensors_new(&tensors, o->lora, o->config->save_dtype,
                                 lx_train_has_integer_alpha(o->config), err);

    if (rc < 0)
        return rc;
    rc = lx_lora_hashes(expected, legacy, tensors, NULL, 0, err);
    lx_lora_tensors_free(tensors);
    if (rc < 0)
        return rc;
    if ((*out = lx_lora_tensor_hash(&hash, path, NULL) == LX_OK)) {
        lx_hash_hex(found, &hash);
        *out = strcmp(expected, found) == 0;
    }
    return LX_OK;
}

int lx_output_has_last(bool *out, const lx_output *o, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;

    last_path(&path, o->config);
    if ((rc = lx_str_check(&path, err)) == LX_OK) {
        *out = lx_file_exists(lx_str_text(&path));
        if (*out && strcmp(o->config->save_model_as, "safetensors") == 0)
            rc = holds_lora(out, lx_str_text(&path), o, err);
    }
    lx_str_release(&path);
    return rc;
}

/* ---- states ----------------------------------------------------------------------- */

static int save_state(lx_output *o, const lx_str *folder, lx_error *err)
{
    int rc = lx_str_check(folder, err);
    return rc < 0 ? rc : lx_state_save(lx_str_text(folder), &o->state, err);
}

static void remove_state(const lx_str *folder)
{
    if (!folder->failed)
        lx_state_remove(lx_str_text(folder));
}

static void epoch_state(lx_str *path, const lx_train_config *c, int epoch)
{
    char suffix[32];
    snprintf(suffix, sizeof suffix, "-%06d-state", epoch);
    state_path(path, c, "epoch", suffix);
}

static void step_state(lx_str *path, const lx_train_config *c, int64_t step)
{
    char suffix[48];
    snprintf(suffix, sizeof suffix, "-step%08lld-state", (long long)step);
    state_path(path, c, "at", suffix);
}

int lx_output_epoch_state(lx_output *o, int epoch, lx_error *err)
{
    const lx_train_config *c = o->config;
    const int period = lx_output_epoch_period(o);
    const int keep =
        c->save_last_n_epochs_state ? c->save_last_n_epochs_state : c->save_last_n_epochs;
    lx_str path = LX_STR_INIT;
    int rc;

    if (!c->save_state || !period || epoch % period != 0 || epoch >= o->total_epochs)
        return LX_OK;
    epoch_state(&path, c, epoch);
    rc = save_state(o, &path, err);
    if (rc == LX_OK && keep > 0 && epoch - period * keep > 0) {
        epoch_state(&path, c, epoch - period * keep);
        remove_state(&path);
    }
    lx_str_release(&path);
    return rc;
}

int lx_output_step_state(lx_output *o, int64_t step, lx_error *err)
{
    const lx_train_config *c = o->config;
    const int keep =
        c->save_last_n_steps_state ? c->save_last_n_steps_state : c->save_last_n_steps;
    lx_str path = LX_STR_INIT;
    int rc;

    if (!c->save_state || c->save_every_n_steps <= 0 || step % c->save_every_n_steps != 0)
        return LX_OK;
    step_state(&path, c, step);
    rc = save_state(o, &path, err);
    if (rc == LX_OK && keep > 0) {
        int64_t old = step - keep - 1;
        old -= old % c->save_every_n_steps;
        if (old > 0) {
            step_state(&path, c, old);
            remove_state(&path);
        }
    }
    lx_str_release(&path);
    return rc;
}

int lx_output_last_state(lx_output *o, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;

    if (!o->config->save_state && !o->config->save_state_on_train_end)
        return LX_OK;
    state_path(&path, o->config, "last", "-state");
    rc = save_state(o, &path, err);
    lx_str_release(&path);
    return rc;
}

int lx_output_autosave_path(lx_str *path, const lx_train_config *c, lx_error *err)
{
    state_path(path, c, "last", "-autosave");
    return lx_str_check(path, err);
}

int lx_output_autosave(lx_output *o, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc = lx_output_autosave_path(&path, o->config, err);

    if (rc == LX_OK)
        rc = save_state(o, &path, err);
    lx_str_release(&path);
    return rc;
}

void lx_output_end_autosave(lx_output *o)
{
    lx_str path = LX_STR_INIT;

    state_path(&path, o->config, "last", "-autosave");
    remove_state(&path);
    lx_str_release(&path);
}
