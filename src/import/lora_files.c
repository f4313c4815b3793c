#include "src/import/lora_files.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/format/tensor_file.h"
#include "src/lora/verdict.h"

/* What of a file decides where it belongs. */
typedef struct item {
    const char *path, *origin, *output_name;
    int64_t epoch, steps, num_epochs, max_steps; /* -1 = unknown */
    double started, finished;
    int64_t size;
    double modified;
    bool is_resized; /* its rank is no longer the training's */
} item;

struct lx_lora_files {
    lx_history *history;
    item *items;
    size_t count, capacity, n_without;
};

int lx_lora_files_new(lx_lora_files **out, lx_history *history, lx_error *err)
{
    if (!(*out = lx_calloc(1, sizeof **out)))
        return lx_oom(err);
    (*out)->history = history;
    return LX_OK;
}

void lx_lora_files_free(lx_lora_files *files)
{
    if (files)
        lx_free(files->items);
    lx_free(files);
}

size_t lx_lora_files_with(const lx_lora_files *files)
{
    return files->count;
}

size_t lx_lora_files_without(const lx_lora_files *files)
{
    return files->n_without;
}

/* ---- one file ---------------------------------------------------------------------- */

/* A text of the metadata; NULL when it is absent, empty or None. */
static const char *text_of(const lx_tensor_file *file, const char *key)
{
    const char *text = lx_tensor_file_metadata(file, key);
    return text && *text && strcmp(text, "None") != 0 ? text : NULL;
}

static double number_of(const lx_tensor_file *file, const char *key)
{
    const char *text = text_of(file, key);
    char *end;
    double x;

    if (!text || !strchr("-.0123456789", text[0]))
        return NAN;
    x = strtod(text, &end);
    return *end || !isfinite(x) ? NAN : x;
}

static int64_t whole_of(const lx_tensor_file *file, const char *key)
{
    double x = number_of(file, key);
    return x >= 0 && x < 0x1p53 ? (int64_t)x : -1;
}

static double time_of(const lx_tensor_file *file, const char *key)
{
    double x = number_of(file, key);
    return x > 0 && x < 1e11 ? x : 0;
}

static bool is_training(const lx_tensor_file *file)
{
    return text_of(file, "ss_session_id") || text_of(file, "ss_training_started_at") ||
           (text_of(file, "ss_learning_rate") && text_of(file, "ss_num_train_images"));
}

/* Without a session: the tensors' own hash as the trainer wrote it, else that of all
 * metadata. */
static const char *origin_of_one(lx_history *h, const lx_tensor_file *file)
{
    const char *hash = text_of(file, "sshs_model_hash"), *key, *value;
    char hex[LX_HASH_HEX + 1];
    lx_sha256 sum;
    lx_hash all;

    if (hash && lx_hash_from_hex(&all, hash))
        return lx_history_printf(h, "lora:%s", hash);
    lx_sha256_init(&sum);
    for (size_t i = 0; i < lx_tensor_file_metadata_count(file); i++) {
        lx_tensor_file_metadata_at(file, i, &key, &value);
        lx_sha256_update(&sum, key, strlen(key) + 1);
        lx_sha256_update(&sum, value, strlen(value) + 1);
    }
    all = lx_sha256_final(&sum);
    lx_hash_hex(hex, &all);
    return lx_history_printf(h, "lora-metadata:%s", hex);
}

static const char *origin_of(lx_history *h, const lx_tensor_file *file)
{
    const char *session = text_of(file, "ss_session_id");
    const char *started = text_of(file, "ss_training_started_at");

    if (!session && !started)
        return origin_of_one(h, file);
    return lx_history_printf(h, "sd-scripts:%.64s@%.64s", session ? session : "",
                             started ? started : "");
}

static void read_item(item *out, lx_history *h, const char *path,
                      const lx_tensor_file *file)
{
    const char *dim = text_of(file, "ss_network_dim"),
               *name = text_of(file, "ss_output_name");
    struct stat st = {0};

    *out = (item){.path = lx_history_text(h, path, strlen(path)),
                  .origin = origin_of(h, file),
                  .output_name = name ? lx_history_text(h, name, strlen(name)) : NULL,
                  .epoch = whole_of(file, "ss_epoch"),
                  .steps = whole_of(file, "ss_steps"),
                  .num_epochs = whole_of(file, "ss_num_epochs"),
                  .max_steps = whole_of(file, "ss_max_train_steps"),
                  .started = time_of(file, "ss_training_started_at"),
                  .finished = time_of(file, "ss_training_finished_at"),
                  .is_resized = dim && strcmp(dim, "Dynamic") == 0};
    if (lx_io_get()->stat(path, &st) == 0) {
        out->size = st.st_size;
        out->modified = (double)st.st_mtim.tv_sec;
    }
    /* Before v0.6.3 the steps were not written: batches times epochs are. */
    if (out->steps < 0 && out->epoch >= 0) {
        int64_t batches = whole_of(file, "ss_num_batches_per_epoch");
        if (batches > 0 && out->epoch < INT64_C(1) << 20 && batches < INT64_C(1) << 32)
            out->steps = out->epoch * batches;
    }
}

int lx_lora_files_add(lx_lora_files *files, const char *path, lx_error *err)
{
    lx_tensor_file *file = NULL;
    lx_error damage = {0};
    int rc = lx_tensor_file_open(&file, path, &damage);

    if (rc == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0) {
        lx_history_problem(files->history, "%s: %s", path, damage.text);
        return LX_OK;
    }
    if (!is_training(file))
        files->n_without++;
    else if (lx_grow(&files->items, &files->capacity, files->count + 1, sizeof(item)) < 0)
        rc = lx_oom(err);
    else
        read_item(&files->items[files->count++], files->history, path, file);
    lx_tensor_file_close(file);
    return rc;
}

/* ---- settings ---------------------------------------------------------------------- */

/* What is no flag, or not under its flag's name. flag NULL: a fact; fact NULL: neither.
 */
static const struct renamed {
    const char *key, *flag, *fact;
} renamed[] = {
    {"ss_session_id", NULL, "session_id"},
    {"ss_training_started_at", NULL, NULL},
    {"ss_training_finished_at", NULL, NULL},
    {"ss_steps", NULL, NULL},
    {"ss_epoch", NULL, NULL},
    {"ss_num_train_images", NULL, "num_train_images"},
    {"ss_num_validation_images", NULL, "num_validation_images"},
    {"ss_num_reg_images", NULL, "num_reg_images"},
    {"ss_num_batches_per_epoch", NULL, "num_batches_per_epoch"},
    {"ss_num_epochs", NULL, "num_epochs"},
    {"ss_total_batch_size", NULL, "total_batch_size"},
    {"ss_batch_size_per_device", "train_batch_size", NULL},
    {"ss_sd_model_name", "pretrained_model_name_or_path", NULL},
    {"ss_sd_model_hash", NULL, NULL},
    {"ss_new_sd_model_hash", NULL, NULL},
    {"ss_vae_name", "vae", NULL},
    {"ss_vae_hash", NULL, NULL},
    {"ss_new_vae_hash", NULL, "vae.sha256"},
    {"ss_sd_scripts_commit_hash", NULL, "sd_scripts.commit"},
    {"ss_base_model_version", NULL, "base_model_version"},
    {"ss_dataset_dirs", NULL, "dataset.dirs"},
    {"ss_reg_dataset_dirs", NULL, "dataset.reg_dirs"},
    {"ss_datasets", NULL, "dataset.datasets"},
    {"ss_tag_frequency", NULL, "dataset.tag_frequency"},
    {"ss_bucket_info", NULL, "dataset.buckets"},
    {"ss_debiased_estimation", "debiased_estimation_loss", NULL},
    {"ss_optimizer", NULL, NULL},    /* read_optimizer */
    {"ss_resolution", NULL, NULL},   /* read_resolution */
    {"ss_network_args", NULL, NULL}, /* read_network_args */
};

static const struct renamed *find_renamed(const char *key)
{
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++)
        if (strcmp(renamed[i].key, key) == 0)
            return &renamed[i];
    return NULL;
}

static void add_list(lx_history *h, lx_history_run *run, const char *flag,
                     const char *text, size_t n)
{
    cJSON *list = cJSON_CreateArray();
    const char *end = text + n, *p = text;

    while (list && p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t m = (size_t)((comma ? comma : end) - p);
        cJSON_AddItemToArray(list, cJSON_CreateString(lx_history_text(h, p, m)));
        p += m + (comma != NULL);
    }
    lx_history_flag_item(h, run, flag, list);
}

/* "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=0.9)" */
static void read_optimizer(lx_history *h, lx_history_run *run, const char *text)
{
    size_t n = strcspn(text, "("), start = n;

    while (start > 0 && text[start - 1] != '.')
        start--;
    lx_history_flag_item(h, run, "optimizer_type",
                         cJSON_CreateString(lx_history_text(h, text + start, n - start)));
    if (text[n] == '(')
        add_list(h, run, "optimizer_args", text + n + 1, strcspn(text + n + 1, ")"));
}

/* "(512, 768)" is --resolution 512,768. */
static void read_resolution(lx_history *h, lx_history_run *run, const char *text)
{
    int w, hgt;

    if (sscanf(text, "(%9d, %9d)", &w, &hgt) == 2)
        lx_history_flag_item(h, run, "resolution",
                             cJSON_CreateString(lx_history_printf(h, "%d,%d", w, hgt)));
    else
        lx_history_flag(h, run, "resolution", lx_history_text(h, text, strlen(text)));
}

/* {"conv_dim": "4"} is --network_args conv_dim=4. */
static void read_network_args(lx_history *h, lx_history_run *run, const char *text)
{
    cJSON *root = NULL, *list = NULL;
    const cJSON *pair;

    if (lx_json_parse(&root, text, strlen(text), NULL) == LX_OK && cJSON_IsObject(root) &&
        (list = cJSON_CreateArray())) {
        cJSON_ArrayForEach(pair, root)
        {
            char number[32] = "";
            if (cJSON_IsNumber(pair))
                lx_format_double(number, pair->valuedouble);
            if (cJSON_IsString(pair) || cJSON_IsNumber(pair))
                cJSON_AddItemToArray(
                    list, cJSON_CreateString(lx_history_printf(
                              h, "%s=%s", pair->string,
                              cJSON_IsString(pair) ? pair->valuestring : number)));
        }
        lx_history_flag_item(h, run, "network_args", list);
    }
    cJSON_Delete(root);
}

static void read_pair(lx_history *h, lx_history_run *run, const char *key,
                      const char *value)
{
    const struct renamed *other = find_renamed(key);
    const char *text = lx_history_text(h, value, strlen(value));

    if (strcmp(key, "ss_optimizer") == 0)
        read_optimizer(h, run, text);
    else if (strcmp(key, "ss_resolution") == 0)
        read_resolution(h, run, text);
    else if (strcmp(key, "ss_network_args") == 0)
        read_network_args(h, run, text);
    else if (!other)
        lx_history_flag(h, run, lx_history_text(h, key + 3, strlen(key + 3)), text);
    else if (other->flag)
        lx_history_flag(h, run, other->flag, text);
    else if (other->fact && strcmp(text, "None") != 0 && strcmp(text, "(unknown)") != 0)
        lx_history_fact(h, run, other->fact, text);
}

static int describe_base(lx_history *h, lx_history_run *run, const lx_tensor_file *file,
                         lx_error *err)
{
    static const char *const keys[][2] = {{"ss_sd_model_name", "path"},
                                          {"ss_sd_model_hash", "model_hash"},
                                          {"ss_new_sd_model_hash", "sha256"}};
    cJSON *root = cJSON_CreateObject();
    lx_str text = LX_STR_INIT;
    int rc = root ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < 3 && rc == LX_OK; i++) {
        const char *value = text_of(file, keys[i][0]);
        if (value && !cJSON_AddStringToObject(root, keys[i][1],
                                              lx_history_text(h, value, strlen(value))))
            rc = lx_oom(err);
    }
    if (rc == LX_OK && root->child && (rc = lx_json_canonical(&text, root, err)) == LX_OK)
        run->base_model = lx_history_text(h, lx_str_text(&text), text.len);
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

static int describe_captions(lx_history *h, lx_history_run *run,
                             const lx_tensor_file *file, lx_error *err)
{
    lx_verdict verdict;
    int rc = lx_lora_verdict(&verdict, file, h->arena, err);

    if (rc < 0)
        return rc;
    lx_history_fact(h, run, "captions.verdict",
                    lx_caption_verdict_name(verdict.captions));
    lx_history_fact(h, run, "captions.rule", verdict.rule);
    lx_history_fact(h, run, "captions.text", verdict.text);
    return LX_OK;
}

int lx_lora_files_describe(lx_history *h, lx_history_run *run, const char *path,
                           lx_error *err)
{
    lx_tensor_file *file = NULL;
    const char *key, *value, *seed;
    int rc = lx_tensor_file_open(&file, path, err);

    if (rc < 0) {
        lx_within(err, "%s", path);
        return rc;
    }
    for (size_t i = 0; i < lx_tensor_file_metadata_count(file); i++) {
        lx_tensor_file_metadata_at(file, i, &key, &value);
        if (lx_starts_with(key, "ss_") && key[3])
            read_pair(h, run, key, value);
    }
    if ((seed = text_of(file, "ss_seed")) && seed[0] >= '0' && seed[0] <= '9') {
        errno = 0;
        run->seed = strtoull(seed, NULL, 10);
        run->has_seed = errno == 0;
    }
    if ((rc = describe_base(h, run, file, err)) == LX_OK)
        rc = describe_captions(h, run, file, err);
    lx_tensor_file_close(file);
    return rc < 0 ? rc : lx_history_check(h, err);
}

/* ---- runs -------------------------------------------------------------------------- */

static int compare(const void *a_, const void *b_)
{
    const item *a = a_, *b = b_;
    int order = a->started < b->started ? -1 : a->started > b->started;

    if (order == 0)
        order = strcmp(a->origin, b->origin);
    if (order == 0)
        order = a->steps < b->steps ? -1 : a->steps > b->steps;
    return order ? order : strcmp(a->path, b->path);
}

/* The file that tells most: the furthest that still has the rank it was trained with. */
static const item *best_of(const item *items, size_t n)
{
    const item *best = &items[n - 1];

    for (size_t i = n; i-- > 0 && best->is_resized;)
        if (!items[i].is_resized)
            best = &items[i];
    return best;
}

static bool is_complete(const item *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((items[i].max_steps > 0 && items[i].steps >= items[i].max_steps) ||
            (items[i].num_epochs > 0 && items[i].epoch >= items[i].num_epochs))
            return true;
    return items[n - 1].max_steps < 0 &&
           items[n - 1].num_epochs < 0; /* nothing says otherwise */
}

static int add_files(lx_history *h, lx_history_run *run, const item *items, size_t n,
                     lx_error *err)
{
    int64_t last = -1;
    int rc = LX_OK;

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        const char *base = lx_path_base(items[i].path);
        lx_history_file *file = lx_history_add_file(h, run, "lora", base);
        if (!file)
            return lx_oom(err);
        file->path = items[i].path;
        file->is_named = true;
        file->size = items[i].size;
        file->step = items[i].steps;
        file->at = items[i].finished > 0 ? items[i].finished : items[i].modified;
        if (items[i].epoch >= 0 && items[i].steps > last) {
            last = items[i].steps;
            rc = lx_history_point(h, run, "epoch", last, (double)items[i].epoch, err);
        }
    }
    return rc;
}

static int add_run(lx_history *h, const item *items, size_t n, lx_error *err)
{
    const item *best = best_of(items, n);
    lx_history_run *run = lx_history_add(h, "LoRA files", best->path);
    lx_error damage = {0};
    int rc;

    if (!run)
        return lx_oom(err);
    run->origin = items[0].origin;
    run->name = best->output_name;
    run->started = items[0].started;
    run->status = is_complete(items, n) ? "finished" : "interrupted";
    for (size_t i = 0; i < n; i++)
        if (items[i].finished > run->ended)
            run->ended = items[i].finished;
    if (run->started == 0)
        run->started = best->modified;
    if ((rc = lx_lora_files_describe(h, run, best->path, &damage)) < 0 &&
        rc != LX_ENOMEM) {
        lx_history_problem(h, "%s", damage.text); /* it was sound a moment ago */
        rc = LX_OK;
    }
    return rc < 0 ? lx_oom(err) : add_files(h, run, items, n, err);
}

int lx_lora_files_finish(lx_lora_files *files, lx_error *err)
{
    size_t n;
    int rc = lx_history_check(files->history, err);

    if (files->count > 1)
        qsort(files->items, files->count, sizeof(item), compare);
    for (size_t i = 0; i < files->count && rc == LX_OK; i += n) {
        for (n = 1; i + n < files->count &&
                    strcmp(files->items[i].origin, files->items[i + n].origin) == 0;
             n++)
            ;
        rc = add_run(files->history, &files->items[i], n, err);
    }
    files->count = 0;
    return rc;
}

/* ---- hashes ------------------------------------------------------------------------ */

int lx_lora_files_hash(lx_hash *file, lx_hash *tensors, bool *has_tensors, int64_t *size,
                       const char *path, lx_error *err)
{
    enum { PIECE = 1 << 20 }; /* the second hash finds it in the cache */
    lx_sha256 all, data;
    lx_mapping map;
    size_t start = 0;
    int rc = lx_file_map(&map, path, err);

    if (rc < 0)
        return rc;
    if (map.size >= 8) {
        uint64_t header = 0;
        for (int i = 7; i >= 0; i--)
            header = header << 8 | map.data[i];
        start = header <= map.size - 8 && map.data[8] == '{' ? 8 + (size_t)header : 0;
    }
    lx_sha256_init(&all);
    lx_sha256_init(&data);
    for (size_t at = 0, n; at < map.size; at += n) {
        n = map.size - at < PIECE ? map.size - at : PIECE;
        lx_sha256_update(&all, map.data + at, n);
        if (start && at + n > start) {
            size_t skip = at < start ? start - at : 0;
            lx_sha256_update(&data, map.data + at + skip, n - skip);
        }
    }
    *file = lx_sha256_final(&all);
    *tensors = lx_sha256_final(&data);
    *has_tensors = start > 0;
    *size = (int64_t)map.size;
    lx_file_unmap(&map);
    return LX_OK;
}
