/* One LoRA judged in an open session: evidence of every level, answers, the label. */
#include <math.h>

#include "src/base/file.h"
#include "src/verify/answers.h"
#include "src/verify/extras.h"
#include "src/verify/findings.h"
#include "src/verify/session.h"
#include "src/verify/text_path.h"

enum { N_NULL = 200 };

/* Which of the folder's captions the trainer of this file read (A6). */
static int add_captions_read(lx_verify_result *r, const lx_verify *v,
                             const lx_tensor_file *lora, lx_arena *scratch, lx_error *err)
{
    lx_captions_read c;
    int rc = lx_captions_read_of(&c, lora, lx_verify__data(v), &v->training.data, NULL,
                                 scratch, err);

    if (rc < 0)
        return rc;
    /* A0 is of the folders it was trained on: of another one's captions it proves nothing. */
    if (!(c.ending && *c.ending))
        r->facts.captions_proven_read = false;
    if (c.ending && *c.ending)
        lx_ledger_add(
            &r->ledger, "A6", "Q1", LX_PROVES, &rc, err,
            "the %s files of the folder have exactly the tag counts in the LoRA: they "
            "were read, and this is the training set",
            c.ending);
    else if (c.ending)
        lx_ledger_add(
            &r->ledger, "A6", "Q1", LX_PROVES, &rc, err,
            "the tag counts in the LoRA are those of the folder without any caption "
            "file%s%s%s",
            c.n_files ? "; the " : "", c.n_files ? c.to_use : "",
            c.n_files ? " files were not read" : "");
    else if (!isnan(c.likeness))
        lx_ledger_add(&r->ledger, "A6", "Q1", LX_SUGGESTS, &rc, err,
                      "no caption files of the folder have the tag counts in the LoRA: "
                      "edited since, "
                      "or another folder (%.0f%% of the tags are shared)",
                      100 * c.likeness);
    return rc;
}

/* What the evaluation cannot show, or does not repeat. */
static int add_data_rows(lx_verify_result *r, const lx_verify *v, lx_error *err)
{
    const lx_training_facts *t = &v->training;
    size_t n_cut = 0;
    int rc = LX_OK;

    for (size_t i = 0; i < v->prompts->n_tags; i++)
        n_cut += v->prompts->tags[i].n_cut > 0;
    if (n_cut)
        lx_ledger_add(
            &r->ledger, "A8", "Q4", LX_PROVES, &rc, err,
            "%zu tags lie beyond the limit of %d tokens in some caption: there the model "
            "never saw them%s",
            n_cut, t->max_token_length,
            t->shuffles_captions ? " (captions are shuffled: others in turn)" : "");
    if (rc == LX_OK && (t->flips || t->masks))
        lx_ledger_add(&r->ledger, "N1", "Q3", LX_SILENT, &rc, err,
                      "the training %s; the evaluation does not",
                      t->masks ? "masked the loss" : "mirrored images");
    return rc;
}

static int judge_file(lx_verify_result *r, size_t *n_constant, lx_verify *v,
                      const char *path, lx_arena *scratch, lx_error *err)
{
    const char *identifier = v->options->identifier;
    lx_lora_file *file = NULL;
    lx_lora_summary summary;
    lx_lora_weights weights;
    lx_training_facts training;
    lx_hash hash;
    int rc;

    if (!identifier && v->subjects.identifier >= 0)
        identifier = v->prompts->tags[v->subjects.identifier].text;
    if ((rc = lx_lora_file_open(&file, path, err)) < 0 ||
        (rc = lx_lora_summarise(&summary, file, true, v->arena, err)) < 0 ||
        (rc = lx_lora_weigh(&weights, file, scratch, err)) < 0 ||
        (rc = lx_training_facts_of(&training, file->file, scratch, err)) < 0)
        goto done;
    if (summary.n_modules == 0) {
        rc = lx_lora_file_fail_empty(file, err);
        goto done;
    }
    const lx_file_input in = {.file = file,
                              .summary = &summary,
                              .weights = &weights,
                              .training = &training,
                              .base = v->checkpoint ? &v->base : NULL,
                              .tokenizer = v->tokenizer,
                              .identifier = identifier,
                              .ignores_metadata = v->options->ignores_metadata,
                              .arena = v->arena};
    rc = lx_file_evidence(r, n_constant, &in, err);
    if (rc == LX_OK && v->trial && !v->options->ignores_metadata)
        rc = add_captions_read(r, v, file->file, scratch, err);
    if (rc == LX_OK && summary.n_not_finite)
        rc = lx_fail(err, LX_EFORMAT, "%zu value%s, first in %s", summary.n_not_finite,
                     summary.n_not_finite == 1 ? " is no number" : "s are not numbers",
                     summary.first_not_finite);
done:
    lx_lora_file_close(file);
    if (rc < 0)
        lx_within(err, "%s", path);
    else if ((rc = lx_file_hash(&hash, path, err)) == LX_OK)
        lx_hash_hex(r->sha256, &hash);
    return rc;
}

static int judge_text_path(lx_verify_result *r, lx_verify *v, lx_patient *p,
                           lx_arena *scratch, lx_error *err)
{
    const size_t most = 12;
    lx_text_path_input in = {.checkpoint = v->checkpoint,
                             .sd = &v->sd,
                             .lora = p->lora,
                             .probe = p->probe,
                             .dose = p->dose,
                             .prompts = v->prompts,
                             .tags = v->candidates,
                             .n_tags = v->n_candidates < most ? v->n_candidates : most,
                             .identifier = v->subjects.identifier >= 0 ? 0 : -1,
                             .n_null = N_NULL,
                             .seed = v->options->seed,
                             .arena = scratch};

    return lx_text_path(r, &in, err);
}

/* So that what is no number later is the LoRA's doing. */
static int check_base(const lx_verify *v, lx_error *err)
{
    for (size_t i = 0; i < v->trial->n_cells; i++)
        for (int k = 0; k < v->plan.n_draws; k++)
            if (!isfinite(v->trial->cells[i].base[k]))
                return lx_fail(err, LX_EFORMAT,
                               "%s: the losses of this base model are not numbers: it "
                               "cannot be measured",
                               v->options->base);
    return LX_OK;
}

static int judge_on_base(lx_verify_result *r, lx_verify *v, const char *path,
                         lx_arena *scratch, lx_error *err)
{
    const lx_verify_options *o = v->options;
    const int64_t before = v->trial->n_forwards;
    lx_patient p = {0};
    int rc = lx_verify__open(&p, v, path, err);

    if (rc == LX_OK && !v->has_base_half) {
        if ((rc = lx_dose_set(p.dose, 0, 0, err)) == LX_OK)
            rc = lx_trial_run_base(v->trial, p.probe, err);
        if (rc == LX_OK)
            rc = check_base(v, err);
        v->has_base_half = rc == LX_OK;
        v->base_cost = v->trial->n_forwards - before;
    }
    if (rc == LX_OK &&
        (rc = lx_dose_set(p.dose, o->strength, o->te_strength, err)) == LX_OK)
        rc = lx_trial_run_lora(v->trial, p.probe, err);
    if (rc == LX_OK) {
        const lx_findings_input in = {.trial = v->trial,
                                      .subjects = &v->subjects,
                                      .candidates = v->candidates,
                                      .n_candidates = v->n_candidates,
                                      .strength =
                                          lx_dose_unit(o->strength, o->te_strength),
                                      .seed = o->seed,
                                      .arena = v->arena};
        const lx_extras_input more = {.trial = v->trial,
                                      .probe = p.probe,
                                      .dose = p.dose,
                                      .strength = o->strength,
                                      .te_strength = o->te_strength,
                                      .seed = o->seed,
                                      .arena = scratch};
        if ((rc = lx_findings_of(r, &in, err)) == LX_OK &&
            (rc = lx_extras_of(r, &more, err)) == LX_OK)
            rc = judge_text_path(r, v, &p, scratch, err);
    }
    r->cost = v->trial->n_forwards - before;
    lx_verify__close(&p);
    return rc;
}

int lx_verify_judge(const lx_verify_result **out, lx_verify *v, const char *path,
                    lx_error *err)
{
    lx_verify_result *r = lx_arena_calloc(v->arena, 1, sizeof *r);
    lx_arena *scratch = lx_arena_new();
    size_t n_constant = 0;
    int rc;

    *out = NULL;
    if (!r || !scratch || !(r->path = lx_arena_strdup(v->arena, path))) {
        rc = lx_oom(err);
        goto done;
    }
    r->ledger = (lx_ledger){.arena = v->arena, .seed = v->options->seed};
    r->facts.delta = v->options->delta;
    r->facts.caption_p = 1;
    r->best_strength = r->cosine = r->step = NAN;
    r->facts.class_p = r->facts.binding_p = NAN;
    if ((rc = judge_file(r, &n_constant, v, path, scratch, err)) < 0)
        goto done;
    if (v->trial && !r->facts.is_other_architecture &&
        ((rc = add_data_rows(r, v, err)) < 0 ||
         (rc = judge_on_base(r, v, path, scratch, err)) < 0))
        goto done;
    if ((rc = lx_verify_answers(r, n_constant, v->arena, err)) < 0)
        goto done;
    r->verdict = lx_label_decide(&r->facts);
    lx_label_facts measured = r->facts;
    measured.captions_proven_unread = measured.captions_proven_read = false;
    r->by_measurement = lx_label_decide(&measured);
    *out = r;
done:
    lx_arena_free(scratch);
    return rc;
}
