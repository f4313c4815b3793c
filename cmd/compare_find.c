/* lx compare: where the runs differ. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/compare.h"
#include "cmd/run_field.h"
#include "cmd/run_find.h"
#include "cmd/train_flag.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/query/cell.h"
#include "src/stats/smooth.h"

/* ---- facts that differ --------------------------------------------------- */

/* NULL when there is none. */
static const char *value_text(lx_comparison *c, const cJSON *value)
{
    char number[32], *json = NULL;
    const char *text;

    if (!value || cJSON_IsNull(value))
        return NULL;
    if (cJSON_IsNumber(value))
        lx_format_double(number, value->valuedouble);
    else if (!cJSON_IsString(value))
        json = cJSON_PrintUnformatted(value);
    text = lx_arena_strdup(c->arena, cJSON_IsNumber(value)   ? number
                                     : cJSON_IsString(value) ? value->valuestring
                                     : json                  ? json
                                                             : "?");
    c->is_out_of_memory |=
        !text || (!json && !cJSON_IsNumber(value) && !cJSON_IsString(value));
    cJSON_free(json);
    return text;
}

bool lx_compare_same(const lx_compare_fact *fact, size_t i, size_t k)
{
    const char *a = fact->texts[i], *b = fact->texts[k];
    double x, y;

    if (!a || !b || strcmp(a, b) == 0)
        return a == b || (a && b);
    if (fact->is_text)
        return false;
    x = lx_text_number(a);
    y = lx_text_number(b);
    return !isnan(x) && x == y; /* 1e-4 and 0.0001 */
}

static int add_fact(lx_compare_facts *out, const lx_compare_fact *fact, size_t n,
                    lx_arena *arena, lx_error *err)
{
    bool differs = false, is_known = false;

    for (size_t i = 0; i < n; i++) {
        differs = differs || !lx_compare_same(fact, 0, i);
        is_known = is_known || fact->texts[i];
    }
    out->is_known = out->is_known || is_known;
    if (!differs)
        return LX_OK;
    if (lx_arena_grow(arena, &out->items, &out->capacity, out->count + 1,
                      sizeof *out->items) < 0)
        return lx_oom(err);
    out->items[out->count] = *fact;
    for (size_t i = 0; i < n; i++)
        out->items[out->count].numbers[i] =
            fact->texts[i] ? lx_text_number(fact->texts[i]) : (double)NAN;
    out->count++;
    return LX_OK;
}

/* "a.b" in nested objects. */
static const cJSON *at_path(const cJSON *object, const char *path)
{
    char key[128];

    while (*path && object) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof key)
            return NULL;
        memcpy(key, path, n);
        key[n] = '\0';
        object = cJSON_GetObjectItemCaseSensitive(object, key);
        path += n + (path[n] == '.');
    }
    return object;
}

static int add_path(lx_compare_facts *out, lx_comparison *c, cJSON *const *objects,
                    const char *name, const char *path, size_t most, lx_error *err)
{
    lx_compare_fact fact = {.name = name, .is_text = true};

    for (size_t i = 0; i < c->n; i++) {
        fact.texts[i] = value_text(c, at_path(objects[i], path));
        if (fact.texts[i] && most && strlen(fact.texts[i]) > most)
            fact.texts[i] = lx_arena_strndup(c->arena, fact.texts[i], most);
    }
    return add_fact(out, &fact, c->n, c->arena, err);
}

/* ---- flags --------------------------------------------------------------- */

static int by_weight(const void *a, const void *b)
{
    const lx_compare_fact *x = a, *y = b;
    int wx = lx_run_flag_weight(x->name), wy = lx_run_flag_weight(y->name);
    return wx != wy ? (wx > wy) - (wx < wy) : strcmp(x->name, y->name);
}

/* A recorded command has only the flags it was given: the rest had their defaults. */
static const char *flag_text(lx_comparison *c, size_t run, const cJSON *flags,
                             const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(flags, name);

    if (!item && flags && strcmp(c->runs[run].row.kind, "run") == 0)
        for (size_t i = 0; i < LX_FLAG_COUNT; i++)
            if (strcmp(lx_flag_table[i].name, name) == 0)
                return lx_flag_table[i].type == LX_TYPE_FLAG ? "false"
                                                             : lx_flag_table[i].otherwise;
    return value_text(c, item);
}

/* Is the flag's value a text, whatever it looks like? */
static bool is_text_flag(const char *name)
{
    for (size_t i = 0; i < LX_FLAG_COUNT; i++)
        if (strcmp(lx_flag_table[i].name, name) == 0)
            return lx_flag_table[i].type == LX_TYPE_TEXT ||
                   lx_flag_table[i].type == LX_TYPE_PATH;
    return false;
}

static int add_flag(lx_comparison *c, cJSON *const *flags, const char *name,
                    lx_error *err)
{
    lx_compare_fact fact = {.name = lx_arena_strdup(c->arena, name),
                            .is_text = is_text_flag(name)};
    bool is_place = lx_run_flag_weight(name) == INT_MAX;

    if (!fact.name)
        return lx_oom(err);
    for (size_t i = 0; i < c->n; i++)
        fact.texts[i] = flag_text(c, i, flags[i], name);
    return add_fact(is_place ? &c->places : &c->flags, &fact, c->n, c->arena, err);
}

static int compare_flags(lx_comparison *c, lx_error *err)
{
    cJSON *flags[LX_COMPARE_RUNS] = {0};
    int rc = LX_OK;

    for (size_t i = 0; i < c->n; i++)
        flags[i] =
            lx_compare_parse(c, c->runs[i].texts.flags ? c->runs[i].texts.flags
                                                       : c->runs[i].texts.flags_given);
    for (size_t i = 0; i < c->n && rc == LX_OK; i++) {
        const cJSON *item;
        cJSON_ArrayForEach(item, flags[i])
        {
            bool was_seen = false;
            for (size_t k = 0; k < i; k++)
                was_seen =
                    was_seen || cJSON_GetObjectItemCaseSensitive(flags[k], item->string);
            if (!was_seen && (rc = add_flag(c, flags, item->string, err)) < 0)
                break;
        }
    }
    if (c->flags.count)
        qsort(c->flags.items, c->flags.count, sizeof *c->flags.items, by_weight);
    if (c->places.count)
        qsort(c->places.items, c->places.count, sizeof *c->places.items, by_weight);
    for (size_t i = 0; i < c->n; i++)
        cJSON_Delete(flags[i]);
    return rc;
}

/* ---- base, code, environment --------------------------------------------- */

static int compare_objects(lx_compare_facts *out, lx_comparison *c, size_t text_offset,
                           const char *const (*paths)[2], size_t n_paths, size_t most,
                           lx_error *err)
{
    cJSON *objects[LX_COMPARE_RUNS] = {0};
    int rc = LX_OK;

    for (size_t i = 0; i < c->n; i++)
        objects[i] = lx_compare_parse(
            c, *(const char *const *)(const void *)((const char *)&c->runs[i].texts +
                                                    text_offset));
    for (size_t k = 0; k < n_paths && rc == LX_OK; k++)
        rc = add_path(out, c, objects, paths[k][0], paths[k][1], most, err);
    for (size_t i = 0; i < c->n; i++)
        cJSON_Delete(objects[i]);
    return rc;
}

static int compare_surroundings(lx_comparison *c, lx_error *err)
{
    static const char *const base[][2] = {
        {"sha256", "sha256"}, {"path", "path"}, {"vae", "vae.sha256"}};
    static const char *const code[][2] = {
        {"commit", "commit"}, {"branch", "branch"}, {"changed files", "changed"}};
    static const char *const environment[][2] = {{"lx", "versions.lx"},
                                                 {"cpu", "cpu"},
                                                 {"cores", "cores"},
                                                 {"memory", "memory"},
                                                 {"system", "system"},
                                                 {"kernel", "kernel"},
                                                 {"machine", "machine"},
                                                 {"gpu", "gpu"},
                                                 {"python", "versions.python"},
                                                 {"torch", "versions.torch"},
                                                 {"variables", "variables"}};
    int rc;

    if ((rc = compare_objects(&c->base, c, offsetof(lx_run_texts, base_model), base, 3, 0,
                              err)) < 0 ||
        (rc = compare_objects(&c->code, c, offsetof(lx_run_texts, git), code, 3, 60,
                              err)) < 0)
        return rc;
    return compare_objects(&c->environment, c, offsetof(lx_run_texts, environment),
                           environment, sizeof environment / sizeof *environment, 60,
                           err);
}

static int code_text(const char **out, lx_comparison *c, const lx_compared *r,
                     lx_error *err)
{
    cJSON *git = lx_compare_parse(c, r->texts.git);
    lx_str text = LX_STR_INIT;
    int rc;

    lx_compare_code_text(&text, git, r->texts.diff);
    if ((rc = lx_str_check(&text, err)) == LX_OK &&
        !(*out = lx_arena_strdup(c->arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    cJSON_Delete(git);
    return rc;
}

static int compare_code(lx_compare_pair *p, lx_comparison *c, const lx_compared *a,
                        const lx_compared *b, lx_error *err)
{
    const char *x, *y;
    int rc;

    if ((rc = code_text(&x, c, a, err)) < 0 || (rc = code_text(&y, c, b, err)) < 0)
        return rc;
    return lx_compare_diffs(&p->code, &p->n_code, x, y, c->arena, err);
}

/* ---- data ---------------------------------------------------------------- */

static int list_images(lx_data_image **out, size_t *n, const lx_compared *r,
                       lx_arena *arena, lx_error *err)
{
    *n = 0;
    if (!(*out = lx_arena_calloc(arena, r->data.n_images + 1, sizeof **out)))
        return lx_oom(err);
    for (size_t f = 0; f < r->data.n_folders; f++) {
        const lx_dataset_folder_row *folder = &r->data.folders[f];
        for (size_t i = 0; i < folder->n_images; i++)
            (*out)[(*n)++] = (lx_data_image){.folder = folder->name,
                                             .name = folder->images[i].name,
                                             .hash = folder->images[i].hash,
                                             .caption = folder->images[i].caption,
                                             .latents = folder->images[i].latents,
                                             .is_reg = folder->is_reg};
    }
    return LX_OK;
}

static int compare_images(lx_compare_pair *p, const lx_compared *a, const lx_compared *b,
                          lx_arena *arena, lx_error *err)
{
    lx_data_image *x, *y;
    size_t n_x, n_y;
    int rc;

    p->has_data = a->has_data && b->has_data;
    if (!p->has_data)
        return LX_OK;
    p->is_same_data = strcmp(a->texts.dataset, b->texts.dataset) == 0;
    if ((rc = list_images(&x, &n_x, a, arena, err)) < 0 ||
        (rc = list_images(&y, &n_y, b, arena, err)) < 0)
        return rc;
    return lx_compare_data(&p->data, x, n_x, y, n_y, arena, err);
}

static const lx_dataset_folder_row *find_folder(const lx_compared *r, const char *name)
{
    for (size_t i = 0; i < r->data.n_folders; i++)
        if (strcmp(r->data.folders[i].name, name) == 0)
            return &r->data.folders[i];
    return NULL;
}

static int add_folder_fact(lx_comparison *c, const char *folder, lx_error *err)
{
    lx_compare_fact fact = {.name = folder, .is_text = true};

    for (size_t i = 0; i < c->n; i++) {
        const lx_dataset_folder_row *f = find_folder(&c->runs[i], folder);
        if (f && !(fact.texts[i] = lx_arena_printf(
                       c->arena, "%d repeat%s, %zu image%s%s%s%s", f->repeats, lx_plural((size_t)f->repeats),
                       f->n_images, lx_plural(f->n_images),
                       f->is_reg ? ", regularisation" : "", *f->class_tokens ? ", " : "",
                       f->class_tokens)))
            return lx_oom(err);
    }
    return add_fact(&c->folders, &fact, c->n, c->arena, err);
}

static int compare_folders(lx_comparison *c, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < c->n; i++)
        for (size_t f = 0; f < c->runs[i].data.n_folders && rc == LX_OK; f++) {
            const char *name = c->runs[i].data.folders[f].name;
            bool was_seen = false;
            for (size_t k = 0; k < i; k++)
                was_seen = was_seen || find_folder(&c->runs[k], name);
            if (!was_seen)
                rc = add_folder_fact(c, name, err);
        }
    return rc;
}

int lx_compare_caption(const char **out, lx_comparison *c, const char *hex, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    lx_hash hash;
    int rc;

    *out = NULL;
    if (!*hex)
        return LX_OK;
    if (!lx_hash_from_hex(&hash, hex))
        return lx_fail(err, LX_EFORMAT, "a caption names no object");
    if ((rc = lx_object_get(&text, c->store, &hash, err)) == LX_OK &&
        !(*out = lx_arena_strndup(c->arena, lx_str_text(&text), text.len)))
        rc = lx_oom(err);
    lx_str_release(&text);
    return rc;
}

/* ---- loss ---------------------------------------------------------------- */

/* The same images as often: other captions change no draw. */
static bool share_images(const lx_comparison *c, const lx_compare_pair *p,
                         const lx_compared *a, const lx_compared *b)
{
    for (size_t i = 0; i < c->folders.count; i++)
        if (!lx_compare_same(&c->folders.items[i], (size_t)(a - c->runs),
                             (size_t)(b - c->runs)))
            return false;
    for (size_t i = 0; i < p->data.count; i++)
        if (p->data.items[i].kind != LX_DATA_CAPTION)
            return false;
    return p->has_data;
}

/* lx draws noise, timesteps and the order of images from the seed by step and sample: two
 * trainings that agree in these drew the same, and their losses are of the same measure. */
static bool share_draws(const lx_comparison *c, const lx_compare_pair *p,
                        const lx_compared *a, const lx_compared *b)
{
    static const char *const flags[] = {
        /* which images come when, and as what; "datasets": what each of a --dataset_config has of its own */
        "train_batch_size", "gradient_accumulation_steps", "datasets", "validation_split", "validation_seed",
        "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale",
        "cache_latents", "flip_aug", "color_aug", "random_crop", "face_crop_aug_range",
        /* timesteps and noise */
        "seed", "min_timestep", "max_timestep", "noise_offset", "noise_offset_random_strength", "adaptive_noise_scale",
        "multires_noise_iterations", "multires_noise_discount", "ip_noise_gamma", "ip_noise_gamma_random_strength",
        "zero_terminal_snr",
        /* how the loss counts */
        "v_parameterization", "loss_type", "huber_schedule", "huber_c", "huber_scale", "min_snr_gamma",
        "debiased_estimation_loss", "scale_v_pred_loss_like_noise_pred", "v_pred_like_loss", "prior_loss_weight",
        "masked_loss", "alpha_mask"};

    if (strcmp(a->row.kind, "train") || strcmp(b->row.kind, "train") || !*a->row.seed ||
        strcmp(a->row.seed, b->row.seed) || !share_images(c, p, a, b))
        return false;
    for (size_t i = 0; i < c->flags.count; i++)
        for (size_t k = 0; k < sizeof flags / sizeof *flags; k++)
            if (strcmp(c->flags.items[i].name, flags[k]) == 0 &&
                !lx_compare_same(&c->flags.items[i], (size_t)(a - c->runs),
                                 (size_t)(b - c->runs)))
                return false;
    return true;
}

/* The same curve along the images seen. */
static lx_loss_curve by_images(const lx_compared *r)
{
    return (lx_loss_curve){r->images, r->loss.values, r->images ? r->loss.n : 0};
}

static bool is_same_axis(const lx_compared *a, const lx_compared *b)
{
    size_t n = a->loss.n < b->loss.n ? a->loss.n : b->loss.n;
    return !a->images || !b->images ||
           memcmp(a->images, b->images, n * sizeof *a->images) == 0;
}

static int compare_losses(lx_compare_pair *p, lx_comparison *c, const lx_compared *a,
                          const lx_compared *b, lx_loss_draws *draws, lx_error *err)
{
    lx_loss_curve x = by_images(a), y = by_images(b);
    int rc = lx_compare_loss(&p->loss, &a->loss, &b->loss, c->share,
                             c->is_paired || share_draws(c, p, a, b), c->seed, draws,
                             c->arena, err);

    if (rc < 0 || strcmp(a->curve, b->curve) != 0 || is_same_axis(a, b))
        return rc;
    rc = lx_compare_loss(&p->by_images, &x, &y, c->share, false, c->seed, draws, c->arena,
                         err);
    p->images_first = p->by_images.first;
    p->images_last = p->by_images.last;
    return rc;
}

/* ---- the same spec ------------------------------------------------------- */

/* The last LoRA: by its tensors where they are known, for metadata hold dates. */
static const char *output_of(const lx_compared *r)
{
    const char *output = "";
    int64_t step = INT64_MIN;

    for (size_t i = 0; i < r->n_artifacts; i++) {
        const lx_artifact_row *a = &r->artifacts[i];
        if (strcmp(a->role, "lora") == 0 && a->step >= step) {
            step = a->step;
            output = *a->tensor_hash ? a->tensor_hash : "";
        }
    }
    return output;
}

static int add_line(lx_words *list, lx_arena *arena, const char *text, lx_error *err)
{
    const char **items = lx_arena_calloc(arena, list->count + 1, sizeof *items);

    if (!items || !text)
        return lx_oom(err);
    if (list->count)
        memcpy(items, list->items, list->count * sizeof *items);
    items[list->count++] = text;
    list->items = items;
    return LX_OK;
}

static int judge_pair(lx_comparison *c, size_t i, size_t k, lx_error *err)
{
    const lx_compared *a = &c->runs[i], *b = &c->runs[k];
    const char *x = output_of(a), *y = output_of(b);
    bool are_whole =
        strcmp(a->row.status, "finished") == 0 && strcmp(b->row.status, "finished") == 0;
    size_t n;
    int64_t parting = lx_loss_parting(&n, &a->loss, &b->loss);

    if (parting >= 0)
        return add_line(
            &c->findings, c->arena,
            lx_arena_printf(
                c->arena,
                "%c and %c have the same spec, but their losses part at step %lld",
                (char)('a' + i), (char)('a' + k), (long long)parting),
            err);
    if (are_whole && *x && *y && strcmp(x, y) != 0)
        return add_line(
            &c->findings, c->arena,
            lx_arena_printf(c->arena,
                            "%c and %c have the same spec, but their LoRAs differ",
                            (char)('a' + i), (char)('a' + k)),
            err);
    return add_line(&c->notes, c->arena,
                    lx_arena_printf(c->arena, "%c and %c have the same spec%s%s",
                                    (char)('a' + i), (char)('a' + k),
                                    n ? ", the same losses" : "",
                                    are_whole && *x && *y ? " and the same LoRA" : ""),
                    err);
}

static int judge_specs(lx_comparison *c, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < c->n; i++)
        for (size_t k = i + 1; k < c->n && rc == LX_OK; k++)
            if (*c->runs[i].row.spec &&
                strcmp(c->runs[i].row.spec, c->runs[k].row.spec) == 0)
                rc = judge_pair(c, i, k, err);
    return rc;
}

/* ---- results and ranks --------------------------------------------------- */

static void add_result(lx_comparison *c, const char *name,
                       double (*of)(const lx_comparison *c, const lx_compared *r))
{
    lx_compare_result *result = &c->results[c->n_results++];

    result->name = name;
    for (size_t i = 0; i < c->n; i++)
        result->values[i] = of(c, &c->runs[i]);
}

static double validation_best(const lx_comparison *c, const lx_compared *r)
{
    (void)c;
    return lx_compare_validation_best(r);
}

static double validation_end(const lx_comparison *c, const lx_compared *r)
{
    (void)c;
    return lx_compare_validation_end(r);
}

static double loss_end(const lx_comparison *c, const lx_compared *r)
{
    return lx_loss_tail(&r->loss, (double)INFINITY, c->share);
}

static double loss_best(const lx_comparison *c, const lx_compared *r)
{
    (void)c;
    return r->best_epoch ? r->epoch_means[r->best_epoch - 1] : (double)NAN;
}

static double last_step(const lx_comparison *c, const lx_compared *r)
{
    (void)c;
    return r->row.last_step < 0 ? (double)NAN : (double)r->row.last_step;
}

static double duration(const lx_comparison *c, const lx_compared *r)
{
    (void)c;
    return r->row.ended > 0 ? lx_run_seconds(&r->row, 0) : (double)NAN;
}

/* The losses come first, the one that tells most before the other: ranks are of the first two. */
static void gather_results(lx_comparison *c)
{
    c->n_results = 0;
    if (lx_compare_has_validation(c)) {
        add_result(c, "validation (best)", validation_best);
        add_result(c, "validation (end)", validation_end);
    }
    add_result(c, "loss (end)", loss_end);
    add_result(c, "loss (best epoch)", loss_best);
    add_result(c, "steps", last_step);
    add_result(c, "duration", duration);
}

static int add_rank(lx_comparison *c, const lx_compare_fact *flag,
                    const lx_compare_result *result, lx_error *err)
{
    double x[LX_COMPARE_RUNS], y[LX_COMPARE_RUNS];
    lx_correlation rank;
    size_t n = 0;
    int rc;

    for (size_t i = 0; i < c->n; i++)
        if (!isnan(flag->numbers[i]) && !isnan(result->values[i])) {
            x[n] = flag->numbers[i];
            y[n++] = result->values[i];
        }
    /* A seed's size means nothing. */
    if (n < 3 || strcmp(flag->name, "seed") == 0 ||
        (rc = lx_spearman(&rank, x, y, n, err)) < 0)
        return n < 3 || strcmp(flag->name, "seed") == 0 ? LX_OK : rc;
    if (!isnan(rank.rho))
        c->ranks[c->n_ranks++] = (lx_compare_rank){flag->name, result->name, rank};
    return LX_OK;
}

static int by_rho(const void *a, const void *b)
{
    const lx_compare_rank *x = a, *y = b;
    double p = fabs(x->rank.rho), q = fabs(y->rank.rho);
    return (p < q) - (p > q);
}

static int rank_flags(lx_comparison *c, lx_error *err)
{
    int rc = LX_OK;

    if (!(c->ranks = lx_arena_calloc(c->arena, 2 * c->flags.count + 1, sizeof *c->ranks)))
        return lx_oom(err);
    for (size_t i = 0; i < c->flags.count && c->n > 2; i++)
        for (size_t k = 0; k < 2 && rc == LX_OK; k++)
            rc = add_rank(c, &c->flags.items[i], &c->results[k], err);
    if (c->n_ranks)
        qsort(c->ranks, c->n_ranks, sizeof *c->ranks, by_rho);
    return rc;
}

int lx_compare_runs(lx_comparison *c, lx_error *err)
{
    lx_loss_draws draws_of_a = {0};
    int rc = LX_OK;

    for (size_t i = 0; i < c->n && rc == LX_OK; i++)
        rc = lx_compare_run(&c->runs[i], c, err);
    if (rc < 0 || (rc = compare_flags(c, err)) < 0 ||
        (rc = compare_folders(c, err)) < 0 || (rc = compare_surroundings(c, err)) < 0)
        return rc;
    for (size_t i = 1; i < c->n; i++) {
        const lx_compared *a = &c->runs[0], *b = &c->runs[i];
        lx_compare_pair *p = &c->pairs[i];
        if ((rc = compare_images(p, a, b, c->arena, err)) < 0 ||
            (rc = compare_code(p, c, a, b, err)) < 0 ||
            (rc = compare_losses(p, c, a, b, &draws_of_a, err)) < 0)
            return rc;
    }
    gather_results(c);
    if ((rc = lx_compare_validation_pairs(c, err)) < 0)
        return rc;
    if ((rc = rank_flags(c, err)) < 0)
        return rc;
    if ((rc = judge_specs(c, err)) < 0)
        return rc;
    return c->is_out_of_memory ? lx_oom(err) : LX_OK;
}

int lx_compare_read(lx_comparison *c, const lx_words *runs, lx_error *err)
{
    int rc = LX_OK;

    c->arena = c->cli->arena;
    for (c->n = 0; c->n < runs->count && rc == LX_OK; c->n++)
        rc = lx_run_find(&c->runs[c->n].row, c->cli, c->store, runs->items[c->n], err);
    return rc < 0 ? rc : lx_compare_runs(c, err);
}
