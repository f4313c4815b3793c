#include "cmd/run_field.h"

#include <limits.h>
#include <string.h>

#include "cmd/train_flag.h"

const lx_run_field_name lx_run_field_names[] = {
    {"id", LX_RUN_ID, LX_FIELD_ID, "id of the run; = compares its beginning"},
    {"name", LX_RUN_NAME, LX_FIELD_TEXT, "the newest name"},
    {"status", LX_RUN_STATUS, LX_FIELD_TEXT, "running, finished, interrupted, failed"},
    {"kind", LX_RUN_KIND, LX_FIELD_TEXT,
     "train, sweep, sample, merge, resize, extract, convert, data, run, log, import"},
    {"group", LX_RUN_GROUP, LX_FIELD_TEXT, "as a sweep or lx tag-run set it"},
    {"started", LX_RUN_STARTED, LX_FIELD_TIME, "when"},
    {"ended", LX_RUN_ENDED, LX_FIELD_TIME, "when"},
    {"duration", LX_RUN_DURATION, LX_FIELD_DURATION, "up to now while it runs"},
    {"steps", LX_RUN_STEPS, LX_FIELD_NUMBER, "last step of any curve"},
    {"points", LX_RUN_POINTS, LX_FIELD_NUMBER, "of all curves"},
    {"loss", LX_RUN_LOSS, LX_FIELD_NUMBER, "last of loss/average, else of loss"},
    {"min_loss", LX_RUN_MIN_LOSS, LX_FIELD_NUMBER, "least of loss/average, else of loss"},
    {"seed", LX_RUN_SEED, LX_FIELD_ANY, "given or drawn"},
    {"tag", LX_RUN_TAG, LX_FIELD_TEXT, "any of its tags"},
    {"tags", LX_RUN_TAG, LX_FIELD_TEXT, "the same"},
    {"note", LX_RUN_NOTE, LX_FIELD_TEXT, "any of its notes"},
    {"notes", LX_RUN_NOTE, LX_FIELD_TEXT, "the same"},
    {"dataset", LX_RUN_DATASET, LX_FIELD_TEXT, "any folder of images, or their path"},
    {"base", LX_RUN_BASE, LX_FIELD_TEXT, "path or hash of the base model"},
    {"spec", LX_RUN_SPEC, LX_FIELD_ID, "hash of all that determines the result"},
    {"message", LX_RUN_MESSAGE, LX_FIELD_TEXT, "of a run that failed"},
    {"parent", LX_RUN_PARENT, LX_FIELD_ID, "the run it goes on from"},
    {"origin", LX_RUN_ORIGIN, LX_FIELD_TEXT, "of an imported run"},
    {"pinned", LX_RUN_PINNED, LX_FIELD_NUMBER, "1 or 0"},
    {NULL, LX_RUN_FIELDS, LX_FIELD_ANY, NULL},
};

static const struct {
    const char *name, *flag;
} short_names[] = {
    {"dim", "network_dim"},
    {"alpha", "network_alpha"},
    {"lr", "learning_rate"},
    {"te_lr", "text_encoder_lr"},
    {"epochs", "max_train_epochs"},
    {"max_steps", "max_train_steps"},
    {"batch", "train_batch_size"},
    {"optimizer", "optimizer_type"},
    {"scheduler", "lr_scheduler"},
    {"warmup", "lr_warmup_steps"},
    {"accumulation", "gradient_accumulation_steps"},
    {"snr_gamma", "min_snr_gamma"},
    {"rank", "network_dim"},
    {"caption_ext", "caption_extension"},
    {"module", "network_module"},
};

/* In the order of interest; what is not here comes after, by its name. */
static const char *const telling[] = {"network_dim",
                                      "network_alpha",
                                      "learning_rate",
                                      "unet_lr",
                                      "text_encoder_lr",
                                      "optimizer_type",
                                      "lr_scheduler",
                                      "lr_warmup_steps",
                                      "max_train_epochs",
                                      "max_train_steps",
                                      "train_batch_size",
                                      "gradient_accumulation_steps",
                                      "resolution",
                                      "train_data_dir",
                                      "caption_extension",
                                      "min_snr_gamma",
                                      "noise_offset",
                                      "network_module",
                                      "network_args",
                                      "optimizer_args",
                                      "clip_skip",
                                      "pretrained_model_name_or_path",
                                      "seed"};

/* They name a run or a place, or change nothing of the result. */
static const char *const places[] = {"output_name",
                                     "output_dir",
                                     "logging_dir",
                                     "log_prefix",
                                     "log_with",
                                     "log_tracker_name",
                                     "log_tracker_config",
                                     "wandb_run_name",
                                     "training_comment",
                                     "config_file",
                                     "dataset_config",
                                     "name",
                                     "threads",
                                     "encode_ahead",
                                     "max_memory",
                                     "device",
                                     "path_map",
                                     "tokenizer_cache_dir",
                                     "log_config",
                                     "sample_prompts",
                                     "console_log_file",
                                     "max_data_loader_n_workers",
                                     "save_every_n_epochs",
                                     "save_every_n_steps",
                                     "like",
                                     "group",
                                     "fact",
                                     "stop_after_steps"};

const char *lx_run_flag_name(const char *name)
{
    for (size_t i = 0; i < sizeof short_names / sizeof *short_names; i++)
        if (lx_option_name_is(short_names[i].name, name, strlen(name)))
            return short_names[i].flag;
    for (size_t i = 0; i < LX_FLAG_COUNT; i++)
        if (lx_option_name_is(lx_flag_table[i].name, name, strlen(name)))
            return lx_flag_table[i].name;
    return NULL;
}

lx_field_type lx_run_flag_type(const char *flag)
{
    for (size_t i = 0; i < LX_FLAG_COUNT; i++)
        if (strcmp(lx_flag_table[i].name, flag) == 0)
            return lx_flag_table[i].type == LX_TYPE_FLAG ? LX_FIELD_SWITCH : LX_FIELD_ANY;
    return LX_FIELD_SWITCH;
}

const char *lx_run_flag_short(const char *flag)
{
    for (size_t i = 0; i < sizeof short_names / sizeof *short_names; i++)
        if (strcmp(short_names[i].flag, flag) == 0)
            return short_names[i].name;
    return flag;
}

int lx_run_flag_weight(const char *flag)
{
    int n_telling = (int)(sizeof telling / sizeof *telling);

    for (int i = 0; i < n_telling; i++)
        if (strcmp(telling[i], flag) == 0)
            return i;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strcmp(places[i], flag) == 0)
            return INT_MAX;
    return strncmp(flag, "metadata_", 9) == 0 ? INT_MAX : n_telling;
}

static void consider(const char **nearest, int *least, const char *candidate,
                     const char *name)
{
    int distance = lx_name_distance(candidate, name);
    if (distance < *least && distance * 2 <= (int)strlen(name)) {
        *least = distance;
        *nearest = candidate;
    }
}

const char *lx_run_field_nearest(const char *name)
{
    const char *nearest = NULL;
    int least = 6;

    if (strlen(name) > 60)
        return NULL;
    for (const lx_run_field_name *f = lx_run_field_names; f->name; f++)
        consider(&nearest, &least, f->name, name);
    for (size_t i = 0; i < sizeof short_names / sizeof *short_names; i++)
        consider(&nearest, &least, short_names[i].name, name);
    for (size_t i = 0; i < LX_FLAG_COUNT; i++)
        consider(&nearest, &least, lx_flag_table[i].name, name);
    return nearest;
}
