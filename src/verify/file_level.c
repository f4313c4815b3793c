#include "src/verify/file_level.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "src/base/str.h"

typedef struct work {
    lx_verify_result *r;
    const lx_file_input *in;
    lx_error *err;
} work;

static int answer(work *w, lx_question q, const char *word, const char *text)
{
    w->r->answers[q] = (lx_answer){word, text};
    return text ? LX_OK : lx_oom(w->err);
}

#define ADD(w, id, q, standing, rc, ...)                                           \
    (lx_ledger_add(&(w)->r->ledger, id, q, standing, &(rc), (w)->err, __VA_ARGS__) \
         ? LX_OK                                                                   \
         : (rc))

/* ---- A: captions --------------------------------------------------------------- */

static lx_standing standing_of(const char *strength)
{
    return strcmp(strength, "proves") == 0     ? LX_PROVES
           : strcmp(strength, "suggests") == 0 ? LX_SUGGESTS
                                               : LX_SILENT;
}

static int add_captions(work *w)
{
    const lx_verdict *v = &w->in->summary->verdict;
    const lx_standing standing = standing_of(v->strength);
    const bool is_unread = v->captions == LX_CAPTIONS_FOLDER_WORDS ||
                           v->captions == LX_CAPTIONS_EMPTY ||
                           v->captions == LX_CAPTIONS_DROPPED;
    const char *word = v->captions == LX_CAPTIONS_READ     ? "YES"
                       : v->captions == LX_CAPTIONS_PARTLY ? "IN PART"
                       : is_unread                         ? "NO"
                                                           : "cannot be told";
    lx_evidence *row;
    int rc;

    if (!(row = lx_ledger_add(&w->r->ledger, v->rule, "Q1", standing, &rc, w->err, "%s",
                              v->text)))
        return rc;
    w->r->facts.captions_proven_unread = is_unread && standing == LX_PROVES;
    w->r->facts.captions_proven_read =
        v->captions == LX_CAPTIONS_READ && standing == LX_PROVES;
    return answer(w, LX_Q_CAPTIONS, word, row->text);
}

/* A10: tags that every training image of every folder has, and that nothing else lacks.
 */
static int add_constants(work *w, size_t *n_constant)
{
    const char *dirs_text = lx_tensor_file_metadata(w->in->file->file, "ss_dataset_dirs");
    const lx_tag_list *tags = &w->in->summary->tags;
    cJSON *dirs = NULL;
    lx_str names = LX_STR_INIT;
    int rc = LX_OK;

    *n_constant = 0;
    if (!dirs_text || lx_lora_has_reg(w->in->file->file) ||
        lx_json_parse(&dirs, dirs_text, strlen(dirs_text), NULL) < 0 ||
        cJSON_GetArraySize(dirs) != 1)
        goto done;
    for (size_t i = 0; i < tags->count; i++) {
        const cJSON *dir = cJSON_GetObjectItemCaseSensitive(dirs, tags->tags[i].folder);
        if (!dir || (double)tags->tags[i].count != lx_json_number(dir, "img_count", -1))
            continue;
        lx_str_printf(&names, "%s\"%s\"", *n_constant ? ", " : "", tags->tags[i].tag);
        ++*n_constant;
    }
    if (*n_constant > 1)
        rc = ADD(w, "A10", "Q5", LX_PROVES, rc,
                 "every training image has %s, and no other image lacks them: the data "
                 "cannot tell "
                 "which of these words carries what they share",
                 lx_str_text(&names));
done:
    lx_str_release(&names);
    cJSON_Delete(dirs);
    return rc;
}

/* A11: how the identifier is cut into pieces. */
static int add_pieces(work *w)
{
    const char *identifier = w->in->identifier;
    lx_str text = LX_STR_INIT;
    int32_t *ids = NULL;
    size_t n = 0;
    int rc;

    if (!identifier)
        return LX_OK;
    if ((rc = lx_tokenize(&ids, &n, w->in->tokenizer, identifier, strlen(identifier),
                          w->err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        lx_str_printf(&text, "%s%s", i ? " + " : "",
                      lx_token_text(w->in->tokenizer, ids[i]));
    lx_free(ids);
    rc = ADD(w, "A11", "Q5", LX_SUGGESTS, rc,
             "the text encoder reads \"%s\" as %zu piece%s: %s", identifier, n,
             n == 1 ? "" : "s", lx_str_text(&text));
    lx_str_release(&text);
    return rc;
}

/* ---- A: the run ---------------------------------------------------------------- */

static int add_run(work *w)
{
    const lx_training_facts *t = w->in->training;
    int rc = LX_OK;

    if (w->in->summary->hash == LX_HASH_DIFFERS)
        rc = ADD(w, "A12", "Q2", LX_PROVES, rc,
                 "the data was changed after training: its hash is not the one the "
                 "trainer wrote "
                 "(a conversion does that too)");
    if (rc == LX_OK && t->n_epochs > 0 && t->epoch < t->n_epochs)
        rc = ADD(w, "A13", "Q8", LX_SUGGESTS, rc,
                 "saved at epoch %g of %g: the training went on, or stopped early",
                 t->epoch, t->n_epochs);
    if (rc == LX_OK && t->is_known && t->learning_rate == 0 && t->steps > 0)
        rc = ADD(w, "A13", "Q8", LX_SUGGESTS, rc,
                 "the learning rate was 0 in the metadata");
    if (rc == LX_OK && t->text_encoder_lr == 0 &&
        w->in->summary->parts[LX_LORA_TEXT_ENCODER].n_modules == 0)
        rc = ADD(w, "A9", "Q5", LX_SUGGESTS, rc,
                 "the text encoder was not trained: only the UNet's attention to the "
                 "text could "
                 "learn a new word");
    return rc;
}

/* A14: shapes decide, hashes hint. */
static int add_base(work *w)
{
    const lx_base_facts *base = w->in->base;
    const lx_training_facts *t = w->in->training;
    const char *needs = w->in->summary->base;
    int rc;

    if (!base || !base->context_size)
        return LX_OK;
    if ((strncmp(needs, "SD 2.x", 6) == 0 && base->context_size != 1024) ||
        (strncmp(needs, "SD 1.x", 6) == 0 && !strstr(needs, "layout") &&
         base->context_size != 768) ||
        (strncmp(needs, "SD 1.x", 6) != 0 && strncmp(needs, "SD 2.x", 6) != 0 &&
         strcmp(needs, "unknown") != 0)) {
        w->r->facts.is_other_architecture = true;
        return ADD(w, "A14", "Q7", LX_PROVES, rc,
                   "the LoRA is for %s; the base reads text of width %d", needs,
                   base->context_size);
    }
    if (t->base_sha256 && base->sha256[0] && strcmp(t->base_sha256, base->sha256) != 0)
        return ADD(w, "A14", "Q7", LX_SUGGESTS, rc,
                   "trained on another base file (%s) than this one: compare with care",
                   t->base_name ? t->base_name : "unnamed");
    return LX_OK;
}

/* ---- B: weights ---------------------------------------------------------------- */

static int add_values(work *w)
{
    const lx_lora_summary *s = w->in->summary;
    const lx_lora_weights *b = w->in->weights;
    int rc = LX_OK;

    if (s->n_not_finite)
        rc = ADD(w, "B1", "Q2", LX_PROVES, rc, "%zu value%s, first in %s", s->n_not_finite,
                 s->n_not_finite == 1 ? " is no number" : "s are not numbers", s->first_not_finite);
    else if (b->share_subnormal > 0.01)
        rc = ADD(w, "B1", "Q2", LX_SUGGESTS, rc,
                 "%.1f %% of the F16 values are too small for their full precision",
                 100 * b->share_subnormal);
    if (rc < 0)
        return rc;
    w->r->facts.is_untrained = s->n_modules > 0 && !w->in->file->n_problems && s->n_untrained == s->n_modules;
    if (s->n_untrained)
        rc = ADD(w, "B2", "Q2", LX_PROVES, rc,
                 "%zu of %zu modules are still where training starts: they add nothing",
                 s->n_untrained, s->n_modules);
    return rc;
}

static int put_number(work *w, const char *id, const char *question, const char *unit,
                      double value, size_t n, const char *text)
{
    lx_evidence *row;
    int rc;

    if (!(row = lx_ledger_add(&w->r->ledger, id, question, LX_MEASURED, &rc, w->err, "%s",
                              text)))
        return rc;
    row->unit = unit;
    row->estimate.value = value;
    row->n = n;
    return LX_OK;
}

static int add_weights(work *w)
{
    const lx_lora_weights *b = w->in->weights;
    const lx_training_facts *t = w->in->training;
    int rc;

    if (b->n_spectra == 0)
        return ADD(w, "B4", "Q2", LX_SILENT, rc,
                   "no module is a plain LoRA: its weights are not analysed");
    if ((rc = ADD(w, "B3", "Q2", LX_SUGGESTS, rc, "the spread of `down` fits %s",
                  lx_init_law_name(b->init))) < 0 ||
        (rc = put_number(w, "B4", "Q2", "rank", b->stable_rank, b->n_spectra,
                         "mean stable rank of the updates")) < 0 ||
        (rc = put_number(w, "B4e", "Q2", "rank", b->effective_rank, b->n_spectra,
                         "mean effective rank (entropy of the singular values)")) < 0 ||
        (rc = put_number(w, "B5", "Q5", "ratio", lx_text_path_share(b), b->n_spectra,
                         "share of the UNet's update in the layers that read the text")) <
            0 ||
        (rc = put_number(w, "B8", "Q2", "norm", b->frobenius, b->n_spectra,
                         "norm of all updates together; decides nothing by itself")) < 0)
        return rc;
    if (b->scale_min < 0.05 || b->scale_max > 4)
        rc = ADD(w, "B6", "Q8", LX_SUGGESTS, rc,
                 "alpha / rank is %.3g to %.3g: outside of what trainers use",
                 b->scale_min, b->scale_max);
    if (rc == LX_OK && t->learning_rate > 0 && t->steps > 0 &&
        b->largest > 2 * t->learning_rate * t->steps && b->largest > 1)
        rc = ADD(w, "B7", "Q2", LX_SUGGESTS, rc,
                 "values reach %.3g, more than %g steps at rate %g can move: the "
                 "metadata may be "
                 "another run's",
                 b->largest, t->steps, t->learning_rate);
    return rc;
}

static const lx_lora_entry *first_damaged(const lx_lora_file *f)
{
    for (size_t i = 0; i < f->n_modules; i++)
        if (f->modules[i].problem)
            return &f->modules[i];
    return NULL;
}

static int answer_moved(work *w)
{
    const lx_lora_summary *s = w->in->summary;
    const lx_lora_weights *b = w->in->weights;
    const lx_lora_entry *damaged = first_damaged(w->in->file);
    char *text;

    if (damaged) {
        text = lx_arena_printf(w->in->arena,
                               "%zu of %zu modules cannot be used, the first is %s: %s",
                               w->in->file->n_problems, s->n_modules, damaged->name,
                               damaged->problem);
        return answer(w, LX_Q_MOVED, "DAMAGED", text);
    }
    if (w->r->facts.is_untrained)
        return answer(w, LX_Q_MOVED, "NO", "every module is still where training starts");
    if (s->n_not_finite)
        return answer(w, LX_Q_MOVED, "DAMAGED",
                      "the file holds values that are not numbers");
    if (s->n_untrained) {
        text = lx_arena_printf(w->in->arena, "%zu of %zu modules never moved",
                               s->n_untrained, s->n_modules);
        return answer(w, LX_Q_MOVED, "IN PART", text);
    }
    if (!b->n_spectra)
        text = lx_arena_printf(w->in->arena,
                               "all %zu modules moved; by how much is not weighed",
                               s->n_modules);
    else if (b->n_spectra < s->n_modules)
        text = lx_arena_printf(w->in->arena,
                               "all %zu modules moved; norm of the update %.3g, without %zu "
                               "that are not weighed",
                               s->n_modules, b->frobenius, s->n_modules - b->n_spectra);
    else
        text = lx_arena_printf(w->in->arena,
                               "all %zu modules moved; norm of the update %.3g",
                               s->n_modules, b->frobenius);
    return answer(w, LX_Q_MOVED, "YES", text);
}

int lx_file_evidence(lx_verify_result *r, size_t *n_constant, const lx_file_input *in,
                     lx_error *err)
{
    work w = {.r = r, .in = in, .err = err};
    int rc = LX_OK;

    *n_constant = 0;
    if (in->ignores_metadata) {
        rc = answer(&w, LX_Q_CAPTIONS, "not asked",
                    "the metadata are left aside (--ignore-metadata)");
    } else {
        if ((rc = add_captions(&w)) < 0 || (rc = add_constants(&w, n_constant)) < 0 ||
            (rc = add_run(&w)) < 0)
            return rc;
    }
    if (rc < 0 || (rc = add_pieces(&w)) < 0 || (rc = add_base(&w)) < 0 ||
        (rc = add_values(&w)) < 0 || (rc = add_weights(&w)) < 0)
        return rc;
    return answer_moved(&w);
}
