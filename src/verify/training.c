#include "src/verify/training.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"

/* The metadata, and the first dataset of ss_datasets (NULL = none). */
typedef struct source {
    const lx_tensor_file *file;
    const cJSON *dataset;
    lx_arena *arena;
} source;

/* "ss_NAME"; NULL when absent or Python's None. */
static const char *text_of(const source *s, const char *name)
{
    char key[64] = "ss_";
    const char *value;

    strncat(key, name, sizeof key - 4);
    value = lx_tensor_file_metadata(s->file, key);
    return value && *value && strcmp(value, "None") != 0 && strcmp(value, "null") != 0
               ? value
               : NULL;
}

static double number_of(const source *s, const char *name, double otherwise)
{
    const char *text = text_of(s, name);
    char *end;
    double x;

    if (!text)
        return s->dataset ? lx_json_number(s->dataset, name, otherwise) : otherwise;
    x = strtod(text, &end);
    return *end || !isfinite(x) ? otherwise : x;
}

static int whole_of(const source *s, const char *name, int otherwise, int least, int most)
{
    double x = number_of(s, name, otherwise);

    return x >= least && x <= most && x == floor(x) ? (int)x : otherwise;
}

static bool flag_of(const source *s, const char *name, bool otherwise)
{
    const char *text = text_of(s, name);

    if (!text)
        return s->dataset ? lx_json_bool(s->dataset, name, otherwise) : otherwise;
    return strcmp(text, "True") == 0 || strcmp(text, "true") == 0;
}

/* "(512, 768)", "512,768" or 512: width first. */
static void read_resolution(lx_dataset_config *data, const source *s)
{
    const char *text = text_of(s, "resolution");
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(s->dataset, "resolution");
    double size[2] = {0, 0};
    char *end = NULL;

    if (text) {
        text += strspn(text, "([ ");
        size[0] = size[1] = strtod(text, &end);
        if (*end == ',')
            size[1] = strtod(end + 1, NULL);
    } else if (cJSON_IsNumber(item)) {
        size[0] = size[1] = item->valuedouble;
    } else if (cJSON_GetArraySize(item) == 2) {
        for (int i = 0; i < 2; i++)
            size[i] = cJSON_GetArrayItem(item, i)->valuedouble;
    }
    if (!(size[0] >= 8 && size[0] <= 8192 && size[1] >= 8 && size[1] <= 8192))
        return;
    data->width = (int)size[0];
    data->height = (int)size[1];
}

static void read_dataset(lx_training_facts *f, const source *s)
{
    lx_dataset_config *d = &f->data;

    read_resolution(d, s);
    d->enable_bucket = flag_of(s, "enable_bucket", false);
    d->bucket_no_upscale = flag_of(s, "bucket_no_upscale", false);
    d->min_bucket_reso = whole_of(s, "min_bucket_reso", d->min_bucket_reso, 8, 8192);
    d->max_bucket_reso = whole_of(s, "max_bucket_reso", d->max_bucket_reso, 8, 8192);
    f->shuffles_captions = flag_of(s, "shuffle_caption", false);
    f->flips = flag_of(s, "flip_aug", false);
}

static void read_loss(lx_training_facts *f, const source *s)
{
    const char *prediction =
        lx_tensor_file_metadata(s->file, "modelspec.prediction_type");
    const char *version = text_of(s, "base_model_version");

    f->v_parameterization =
        (prediction && prediction[0] == 'v') || (version && lx_ends_with(version, "_v"));
    f->zero_terminal_snr = flag_of(s, "zero_terminal_snr", false);
    f->min_snr_gamma = number_of(s, "min_snr_gamma", 0);
    f->debiased_estimation_loss = flag_of(s, "debiased_estimation", false);
    f->masks = flag_of(s, "masked_loss", false);
}

static int copy_text(const char **out, const source *s, const char *name, lx_error *err)
{
    const char *text = text_of(s, name);

    *out = text ? lx_arena_strdup(s->arena, text) : NULL;
    return text && !*out ? lx_oom(err) : LX_OK;
}

static int read_all(lx_training_facts *f, const source *s, lx_error *err)
{
    const char *extension = lx_tensor_file_metadata(s->file, "lx.caption_extension");
    int rc;

    read_dataset(f, s);
    read_loss(f, s);
    f->clip_skip = whole_of(s, "clip_skip", 0, 0, 64);
    f->max_token_length = whole_of(s, "max_token_length", 75, 75, 225);
    if (f->max_token_length % 75 != 0)
        f->max_token_length = 75;
    f->steps = number_of(s, "steps", 0);
    f->epoch = number_of(s, "epoch", 0);
    f->n_epochs = number_of(s, "num_epochs", 0);
    f->learning_rate = number_of(s, "learning_rate", 0);
    f->text_encoder_lr = number_of(s, "text_encoder_lr", NAN);
    if (extension && *extension &&
        !(f->caption_extension = lx_arena_strdup(s->arena, extension)))
        return lx_oom(err);
    if ((rc = copy_text(&f->base_name, s, "sd_model_name", err)) < 0 ||
        (rc = copy_text(&f->base_hash, s, "sd_model_hash", err)) < 0)
        return rc;
    return copy_text(&f->base_sha256, s, "new_sd_model_hash", err);
}

int lx_training_facts_of(lx_training_facts *f, const lx_tensor_file *file,
                         lx_arena *arena, lx_error *err)
{
    const char *datasets = lx_tensor_file_metadata(file, "ss_datasets");
    source s = {.file = file, .arena = arena};
    cJSON *list = NULL;
    int rc;

    *f = (lx_training_facts){0};
    lx_dataset_config_defaults(&f->data);
    f->data.width = f->data.height = 0;
    /* lx says where it turned images; sd-scripts never does */
    f->data.ignore_exif = !lx_tensor_file_metadata(file, "lx.exif");
    f->data.shuffle_caption = false;
    f->data.batch_size = 1;
    for (size_t i = 0; i < lx_tensor_file_metadata_count(file) && !f->is_known; i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(file, i, &key, &value);
        f->is_known = lx_starts_with(key, "ss_");
    }
    if (datasets && lx_json_parse(&list, datasets, strlen(datasets), NULL) == LX_OK)
        s.dataset = cJSON_IsArray(list) ? cJSON_GetArrayItem(list, 0) : NULL;
    rc = read_all(f, &s, err);
    cJSON_Delete(list);
    return rc;
}
