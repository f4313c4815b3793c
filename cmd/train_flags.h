/*
 * cmd/train_flags - the flags of a training, in any of three ways
 *
 *     lx train --pretrained_model_name_or_path base.safetensors --train_data_dir img ...
 *     lx train --config_file run.toml
 *     lx train accelerate launch --num_cpu_threads_per_process 1 train_network.py --pretrained...
 *
 * Names, meanings and defaults are those of sd-scripts' train_network.py, from one table
 * (train_flags.def). A flag that lx does not have is an error with the nearest name; one it cannot
 * follow is an error that says what to use instead; one without effect is named in a note.
 * On the command line rules are argparse's; a config file gives what the command line does not.
 */
#ifndef LX_CMD_TRAIN_FLAGS_H
#define LX_CMD_TRAIN_FLAGS_H

#include "cmd/cli.h"
#include "src/train/config.h"

/* What there is to tell and to record beside the configuration. All in the command's arena. */
typedef struct lx_train_flags {
    const char *given;        /* JSON object: flags as the user wrote them */
    const char *resolved;     /* JSON object: every flag with the value it has, null for none */
    const char *command_line; /* "lx train ...", quoted for a shell, paths mapped */
    const char *name;         /* --name or NULL */
    const char *group;        /* --group or NULL */
    lx_words facts;           /* --fact: KEY=VALUE each */
    int64_t stop_after_steps; /* 0 = not asked for */
    const char *device;       /* "auto" or "cpu" */
    const char *settings;     /* JSON of the settings that were taken, or NULL: none */
    lx_words notes;           /* lines to show before the training */
    bool is_done;             /* --output_config wrote its file: nothing is to be trained */
} lx_train_flags;

/*
 * Fills config (defaults first) and facts from the words after `lx train`. --store, --quiet and
 * --verbose go to cli. A seed that is not given is drawn (config->seed_given stays false). Keys
 * and tokens for services are neither kept nor shown. lx_train_config_check is included.
 *
 *   LX_EUSAGE        unknown flag, value of a wrong type, Windows path without --path-map
 *   LX_EUNSUPPORTED  a flag or a value that this version cannot follow
 *   LX_EFORMAT       the config file
 */
int lx_train_flags_parse(lx_train_config *config, lx_train_flags *facts, lx_cli *cli, int argc,
                         char **argv, lx_error *err);

/*
 * The same of a trainer that somebody else runs (`lx run`): the words behind its script, each a flag of
 * the table or its value. What lx could not follow is no error, and what is wrong is the trainer's to
 * refuse: errors in single flags and in the files they name become notes. facts->resolved has what is
 * known, with sd-scripts' defaults; a seed is not drawn. config->data tells the images.
 *
 *   LX_EUSAGE   words that are no flags of the table; nothing was filled
 */
int lx_train_flags_observe(lx_train_config *config, lx_train_flags *facts, lx_cli *cli,
                           const lx_words *words, lx_error *err);
/* Does it name a file, a folder or a secret: what is not told to other programs? */
bool lx_train_flag_is_path(const char *name);
/* Is it a flag of the table, by its whole name or an unambiguous beginning? n: of the name. */
bool lx_train_flag_is_known(const char *name, size_t n);

/* What no training can do without: model, data, resolution, output folder (LX_EUSAGE). */
int lx_train_flags_require(const lx_train_config *config, lx_error *err);

/* For `lx train --help` and completion. */
extern const lx_option lx_train_options[];

#endif
