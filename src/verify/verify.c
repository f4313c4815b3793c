#include "src/verify/session.h"

#include <string.h>
#include <time.h>

#include "src/base/alloc.h"

enum { MOST_OTHERS = 20 };

/* ---- the base model ------------------------------------------------------------ */

/*
 * The error of the noise is large where there is little noise, whatever the prompt, and small where
 * the prompt decides. That of the velocity, which is it divided by abar, is of one size throughout.
 */
static void even_timesteps(lx_verify *v)
{
    for (int t = 0; t < LX_TIMESTEPS; t++) {
        const double abar =
            v->noise.alphas_cumprod[t] > 1e-4 ? v->noise.alphas_cumprod[t] : 1e-4;
        const double to_velocity = v->training.v_parameterization ? 1 : 1 / abar;

        v->even[t] = v->weight[t] > 0 ? (float)(to_velocity / v->weight[t]) : 0;
    }
}

static void weigh_timesteps(lx_verify *v)
{
    lx_train_config config;

    lx_train_config_defaults(&config);
    config.min_snr_gamma = v->training.min_snr_gamma > 0 ? v->training.min_snr_gamma : 0;
    config.debiased_estimation_loss = v->training.debiased_estimation_loss;
    config.v_parameterization = v->training.v_parameterization;
    lx_noise_schedule_init(&v->noise, v->training.zero_terminal_snr);
    lx_loss_weights(v->weight, &v->noise, &config);
    even_timesteps(v);
}

static int open_base(lx_verify *v, lx_error *err)
{
    const lx_verify_options *o = v->options;
    int rc;

    if ((rc = lx_device_open(&v->dev, o->device, o->threads, err)) < 0 ||
        (rc = lx_precision_check(o->precision, v->dev, err)) < 0 ||
        (rc = lx_checkpoint_open(&v->checkpoint, o->base, o->vae, err)) < 0)
        return rc;
    if ((rc = lx_checkpoint_config(&v->sd, v->checkpoint, o->text_encoder_heads, err)) <
        0) {
        lx_within(err, "%s", o->base);
        return rc;
    }
    if (v->sd.vocab_size <= LX_TOKEN_EOS)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s: a vocabulary of %d entries; CLIP's has 49408", o->base,
                       v->sd.vocab_size);
    v->base.path = o->base;
    v->base.context_size = v->sd.context_size;
    weigh_timesteps(v);
    return lx_checkpoint_hashes(v->base.old_hash, v->base.sha256, o->base, err);
}

void lx_verify__close(lx_patient *p)
{
    lx_probe_free(p->probe);
    lx_dose_free(p->dose);
    lx_lora_free(p->lora);
    *p = (lx_patient){0};
}

int lx_verify__open(lx_patient *p, lx_verify *v, const char *path, lx_error *err)
{
    const lx_training_facts *t = &v->training;
    lx_probe_model model = {.dev = v->dev,
                            .checkpoint = v->checkpoint,
                            .sd = &v->sd,
                            .clip_skip = t->clip_skip,
                            .n_chunks = t->max_token_length / 75,
                            .v_parameterization = t->v_parameterization,
                            .zero_terminal_snr = t->zero_terminal_snr,
                            .weight = v->weight,
                            .precision = v->options->precision};
    const lx_dtype narrow = lx_precision_narrow(model.precision, v->dev);
    int rc;

    *p = (lx_patient){0};
    if ((rc = lx_lora_open_any(&p->lora, v->dev, v->checkpoint, &v->sd, path, true,
                               err)) < 0)
        return rc;
    model.lora = p->lora;
    if ((narrow != LX_F32 && (rc = lx_lora_narrow(p->lora, narrow, err)) < 0) ||
        (rc = lx_dose_new(&p->dose, p->lora, err)) < 0)
        lx_within(err, "%s", path);
    else
        rc = lx_probe_new(&p->probe, &model, err);
    return rc;
}

/* ---- budget -------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Forwards that fit the time, by timing a few at the size of the images. */
static int budget_of_time(int64_t *out, lx_verify *v, const char *lora, lx_error *err)
{
    enum { N = 4 };
    const int64_t h = v->training.data.height / 8, w = v->training.data.width / 8;
    const size_t n = N * 4 * (size_t)(h * w);
    int64_t timesteps[N] = {100, 300, 500, 700}, ids[3 * LX_CHUNK] = {0};
    float *noise = lx_calloc(n, sizeof *noise), *context = NULL;
    lx_probe_case what = {
        .n_draws = N, .h = h, .w = w, .noise = noise, .timesteps = timesteps};
    lx_patient p = {0};
    double started, once;
    int rc = noise ? lx_verify__open(&p, v, lora, err) : lx_oom(err);

    if (rc == LX_OK &&
        !(context = lx_alloc(lx_probe_context_size(p.probe) * sizeof *context)))
        rc = lx_oom(err);
    what.context = context;
    if (rc < 0 || (rc = lx_probe_context(context, p.probe, ids, err)) < 0 ||
        (rc = lx_probe_run(NULL, NULL, p.probe, &what, err)) < 0) /* plans and warms up */
        goto done;
    started = now();
    if ((rc = lx_probe_run(NULL, NULL, p.probe, &what, err)) < 0)
        goto done;
    once = (now() - started) / N;
    *out = (int64_t)(0.9 * v->options->seconds / (once > 0 ? once : 1e-9));
    *out = *out < 1 ? 1 : *out;
done:
    lx_verify__close(&p);
    lx_free(noise);
    lx_free(context);
    return rc;
}

/* ---- images -------------------------------------------------------------------- */

/* Who names an ending wants those captions, and not the folder's words in their place. */
static int check_ending(lx_verify *v, lx_error *err)
{
    const char *ending = v->options->caption_extension, *folder = lx_verify__data(v);
    const size_t n_found = v->captions.n_files;
    lx_dataset *d = NULL;
    size_t n = 0;
    int rc = lx_verify_scan(&d, folder, &v->training.data, false, err);

    for (size_t i = 0; rc == LX_OK && i < d->n_folders; i++)
        n += d->folders[i].n_captions;
    lx_dataset_free(d);
    if (rc < 0 || n)
        return rc;
    if (n_found)
        return lx_fail(err, LX_ENOTFOUND,
                       "--caption_extension %s: no image of %s has such a file; %zu caption "
                       "file%s in %s: leave the flag out, or give that ending",
                       ending, folder, n_found, n_found == 1 ? " ends" : "s end",
                       v->captions.most);
    return lx_fail(err, LX_ENOTFOUND,
                   "--caption_extension %s: no image of %s has such a file, nor any other "
                   "caption: leave the flag out to measure on the words of the folder's name",
                   ending, folder);
}

/* How the pictures are to be read: as trained, unless the user says otherwise. */
static int settle_data(lx_verify *v, const lx_tensor_file *lora, lx_error *err)
{
    const lx_verify_options *o = v->options;
    lx_dataset_config *d = &v->training.data;
    const char *given = o->caption_extension;
    int rc;

    if (o->width) {
        d->width = o->width;
        d->height = o->height;
    }
    if (!d->width)
        return lx_fail(err, LX_EUSAGE,
                       "the LoRA does not say at which resolution it was trained; "
                       "give --resolution 512");
    if (!given && v->training.caption_extension && !o->ignores_metadata)
        given = v->training.caption_extension;
    if ((rc = lx_captions_read_of(&v->captions, lora, lx_verify__data(v), d, given,
                                  v->arena, err)) < 0)
        return rc;
    if (given && !o->caption_extension && v->captions.ending && !*v->captions.ending) {
        /* trained on no captions: those that the user wrote are the ones to ask about */
        rc = lx_captions_read_of(&v->captions, lora, lx_verify__data(v), d, NULL,
                                 v->arena, err);
    }
    d->caption_extension = v->captions.to_use;
    d->caption_extension_given = true;
    if (rc == LX_OK && o->caption_extension)
        rc = check_ending(v, err);
    return rc;
}

static size_t count_pictures(const char *folder, const lx_dataset_config *config,
                             lx_error *err, int *rc)
{
    lx_dataset *d = NULL;
    size_t n = 0;

    if (*rc == LX_OK && folder &&
        (*rc = lx_verify_scan(&d, folder, config, false, err)) == LX_OK)
        n = d->n_images;
    lx_dataset_free(d);
    return n;
}

static int make_plan(lx_verify *v, const char *lora, lx_error *err)
{
    const lx_verify_options *o = v->options;
    lx_verify_request *request = &v->request;
    int rc = LX_OK;

    *request = (lx_verify_request){.has_class = v->subjects.has_class,
                                    .budget = o->budget,
                                    .images = o->images,
                                    .draws = o->draws,
                                    .tags = o->tags};

    request->n_found = count_pictures(lx_verify__data(v), &v->training.data, err, &rc);
    for (int role = LX_IMAGES_HELD_OUT; role < LX_IMAGE_ROLE_COUNT; role++) {
        size_t n = count_pictures(o->folders[role], &v->training.data, err, &rc);
        request->n_others += n < MOST_OTHERS ? n : MOST_OTHERS;
    }
    if (rc == LX_OK && request->n_found == 0)
        rc = lx_fail(err, LX_ENOTFOUND, "%s: no pictures in it", lx_verify__data(v));
    if (rc == LX_OK && o->seconds > 0)
        rc = budget_of_time(&request->budget, v, lora, err);
    if (rc == LX_OK && (rc = lx_verify_plan_make(&v->plan, request, err)) < 0 &&
        o->seconds > 0)
        lx_within(err, "--time %g s", o->seconds);
    return rc;
}

/* And the plan is cut to those that are there. */
static int read_images(lx_verify *v, lx_error *err)
{
    lx_latents *encoder;
    size_t n = 0;
    int rc = lx_latents_new(&encoder, v->dev, v->checkpoint, &v->sd, err);

    if (rc < 0)
        return rc;
    v->images.arena = v->arena;
    for (int role = 0; role < LX_IMAGE_ROLE_COUNT && rc == LX_OK; role++)
        if (v->options->folders[role])
            rc = lx_verify_images_add(&v->images, (lx_image_role)role,
                                      v->options->folders[role], &v->training.data,
                                      role == LX_IMAGES_TRAINING ? v->plan.n_images
                                                                 : MOST_OTHERS,
                                      v->options->seed, encoder, err);
    lx_latents_free(encoder);
    for (size_t i = 0; i < v->images.count; i++)
        n += v->images.items[i].role == LX_IMAGES_TRAINING;
    if (rc == LX_OK)
        lx_verify_plan_limit(&v->plan, &v->request, n);
    return rc;
}

static int read_prompts(lx_verify *v, lx_error *err)
{
    const char **captions =
        lx_arena_calloc(v->arena, v->images.count + 1, sizeof *captions);

    if (!captions)
        return lx_oom(err);
    for (size_t i = 0; i < v->images.count; i++) {
        if (v->options->class_words)
            v->images.items[i].class_words = v->options->class_words;
        captions[i] = v->images.items[i].caption;
    }
    return lx_prompts_new(&v->prompts, v->tokenizer, v->arena, captions, v->images.count,
                          v->training.max_token_length, err);
}

/* ---- subjects ------------------------------------------------------------------ */

static size_t count_training(const lx_verify *v, int tag)
{
    size_t n = 0;

    for (size_t i = 0; i < v->images.count; i++)
        n += v->images.items[i].role == LX_IMAGES_TRAINING &&
             (tag < 0 || lx_prompt_span(v->prompts, i, tag) != NULL);
    return n;
}

/* --identifier; else the first of the folder's words that is a tag; else the first
 * constant tag. */
static int find_identifier(const lx_verify *v)
{
    const char *words = v->images.count ? v->images.items[0].class_words : "";
    char first[128];
    size_t n = strcspn(words, " ,");
    int tag = -1;

    if (v->options->identifier)
        return lx_prompt_tag_find(v->prompts, v->options->identifier);
    if (n > 0 && n < sizeof first) {
        memcpy(first, words, n);
        first[n] = 0;
        tag = lx_prompt_tag_find(v->prompts, first);
    }
    for (size_t i = 0; i < v->prompts->n_tags && tag < 0; i++)
        if (count_training(v, (int)i) == count_training(v, -1))
            tag = (int)i;
    return tag >= 0 && count_training(v, tag) > 0 ? tag : -1;
}

static bool is_listed(const int *list, size_t n, int tag)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == tag)
            return true;
    return false;
}

/* The tag not yet listed that most images have, at least `least` and at most `most` of
 * them. */
static int most_frequent(const lx_verify *v, const int *list, size_t n_list, size_t least,
                         size_t most)
{
    size_t best = 0;
    int found = -1;

    for (size_t i = 0; i < v->prompts->n_tags; i++) {
        size_t n = count_training(v, (int)i);
        if (n >= least && n <= most && n > best && !is_listed(list, n_list, (int)i)) {
            best = n;
            found = (int)i;
        }
    }
    return found;
}

/* Constant tags alone, as many as the plan buys; then, to be swapped, constant ones and those
 * that some images lack; then others for the list. */
static void choose_subjects(lx_verify *v)
{
    const size_t n = count_training(v, -1);
    lx_trial_subjects *s = &v->subjects;
    size_t n_constant = 0;
    int tag;

    s->identifier = find_identifier(v);
    if (s->identifier >= 0)
        v->alone[n_constant++] = v->candidates[v->n_candidates++] = s->identifier;
    while (n_constant < LX_VERIFY_ALONE &&
           (tag = most_frequent(v, v->candidates, v->n_candidates, n, n)) >= 0)
        v->alone[n_constant++] = v->candidates[v->n_candidates++] = tag;
    v->request.n_alone = n_constant;
    lx_verify_plan_tags(&v->plan, &v->request);
    s->n_alone = n_constant < v->plan.n_alone ? n_constant : v->plan.n_alone;
    for (size_t i = 0; i < n_constant && s->n_tags < v->plan.n_tags; i++)
        if (v->alone[i] != s->identifier)
            v->tags[s->n_tags++] = v->alone[i];
    while (s->n_tags < v->plan.n_tags && v->n_candidates < LX_VERIFY_LISTED && n > 5 &&
           (tag = most_frequent(v, v->candidates, v->n_candidates,
                                v->options->tags == SIZE_MAX ? 5 : 1, n - 5)) >= 0)
        v->tags[s->n_tags++] = v->candidates[v->n_candidates++] = tag;
    while (v->n_candidates < LX_VERIFY_LISTED &&
           (tag = most_frequent(v, v->candidates, v->n_candidates, 1, n)) >= 0)
        v->candidates[v->n_candidates++] = tag;
    s->alone = v->alone;
    s->tags = v->tags;
}

/* ---- opening ------------------------------------------------------------------- */

static int open_data(lx_verify *v, const lx_lora_file *file, const char *lora,
                     lx_error *err)
{
    lx_verdict verdict;
    int rc;

    if ((rc = settle_data(v, file->file, err)) < 0 ||
        (rc = lx_lora_verdict(&verdict, file->file, v->arena, err)) < 0)
        return rc;
    v->subjects.has_class = v->options->tries_class || v->options->class_words ||
                            verdict.captions == LX_CAPTIONS_FOLDER_WORDS ||
                            verdict.captions == LX_CAPTIONS_UNKNOWN ||
                            v->options->ignores_metadata;
    if ((rc = make_plan(v, lora, err)) < 0 || (rc = read_images(v, err)) < 0 ||
        (rc = read_prompts(v, err)) < 0)
        return rc;
    choose_subjects(v);
    if (v->options->identifier && v->subjects.identifier < 0)
        return lx_fail(err, LX_EUSAGE, "--identifier %s: no caption of %s has this tag",
                       v->options->identifier, lx_verify__data(v));
    if ((rc = lx_trial_new(&v->trial, v->arena, &v->images, v->prompts, &v->plan,
                           &v->subjects, v->even, v->options->seed, err)) < 0)
        return rc;
    v->trial->progress = v->options->progress;
    v->trial->progress_context = v->options->progress_context;
    return LX_OK;
}

/* The first LoRA tells how the pictures are to be read. */
static int read_first(lx_verify *v, const char *lora, lx_error *err)
{
    lx_lora_file *file = NULL;
    int rc;

    if ((rc = lx_lora_file_open(&file, lora, err)) < 0 ||
        (rc = lx_training_facts_of(&v->training, file->file, v->arena, err)) < 0) {
        lx_within(err, "%s", lora);
        goto done;
    }
    if (v->options->base && (rc = open_base(v, err)) == LX_OK && lx_verify__data(v))
        rc = open_data(v, file, lora, err);
done:
    lx_lora_file_close(file);
    return rc;
}

int lx_verify_open(lx_verify **out, const lx_verify_options *options, const char *lora,
                   lx_error *err)
{
    lx_verify *v = lx_calloc(1, sizeof *v);
    int rc;

    *out = NULL;
    if (!v || !(v->arena = lx_arena_new())) {
        lx_free(v);
        return lx_oom(err);
    }
    v->options = options;
    v->subjects.identifier = -1;
    if ((rc = lx_tokenizer_new(&v->tokenizer, err)) < 0 ||
        (rc = read_first(v, lora, err)) < 0) {
        lx_verify_close(v);
        return rc;
    }
    *out = v;
    return LX_OK;
}

void lx_verify_close(lx_verify *v)
{
    if (!v)
        return;
    lx_trial_free(v->trial);
    lx_free(v->images.items);
    lx_tokenizer_free(v->tokenizer);
    lx_checkpoint_close(v->checkpoint);
    lx_device_close(v->dev);
    lx_arena_free(v->arena);
    lx_free(v);
}

const lx_verify_images *lx_verify_images_of(const lx_verify *v)
{
    return v->trial ? &v->images : NULL;
}

const lx_verify_plan *lx_verify_plan_of(const lx_verify *v)
{
    return &v->plan;
}

int64_t lx_verify_base_cost(const lx_verify *v)
{
    return v->base_cost;
}

const lx_training_facts *lx_verify_facts(const lx_verify *v)
{
    return &v->training;
}
