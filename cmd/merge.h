/*
 * cmd/merge - what the files of `lx merge` share: the files given, the result, and what is written about it
 */
#ifndef LX_CMD_MERGE_H
#define LX_CMD_MERGE_H

#include "cmd/cli.h"
#include "cmd/derived.h"
#include "src/base/sha256.h"
#include "src/lora/merge.h"
#include "src/lora/merge_into.h"
#include "src/lora/model_files.h"
#include "store/store.h"

typedef struct lx_merge_args {
    lx_words files, models, ratios, lbws;
    const char *output, *save_to, *save_precision, *precision, *rank, *error, *method,
        *into, *like, *name;
    double density;
    int64_t seed, new_rank, conv_rank;
    bool has_density, has_new_rank, has_conv_rank, has_seed;
    bool no_metadata, no_record, allow_missing, concat, shuffle, json;
} lx_merge_args;

/* A file and how much of it. */
typedef struct lx_merge_input {
    const char *path;
    double strength, text_strength;
    bool has_strength, has_text; /* given behind the file */
    const char *lbw;             /* as given, or NULL */
    lx_block_weights blocks;
    lx_lora_file *file;
    lx_hash hash;
} lx_merge_input;

typedef struct lx_merge_job {
    lx_cli *cli;
    const lx_merge_args *args;
    lx_merge_input *inputs;
    size_t n;
    const char *output, *into;  /* into: the base checkpoint, or NULL */
    lx_model_files model;       /* of `into` */
    lx_derived_output *outputs; /* what was written into, and their hashes */
    size_t n_outputs;
    size_t
        n_left_out; /* of a folder: variants of the weights that are not written again */
    const char *first_left_out;
    lx_hash into_hash;
    lx_merge *merge;
    lx_merge_result result; /* without `into` */
    lx_sealed sealed;       /* likewise: the output's hashes */
    lx_derived_run run;
    lx_merge_options options;
    lx_merge_like like;
    bool is_like, has_dtype; /* has_dtype: --save_precision was given */
} lx_merge_job;

/* FILE[:STRENGTH][:te=STRENGTH][:lbw=LIST], or --models with --ratios and --lbws. */
int lx_merge_read_inputs(lx_merge_job *job, lx_error *err);

/* The words of the method and what goes with it: "ties, density 0.5, seed 0"; "linear" is "". */
const char *lx_merge_describe(const lx_merge_job *job);

/* Metadata of a LoRA or of a checkpoint (base: its file); entries live in the arena. The hashes are not among
 * them. */
int lx_merge_metadata(lx_metadata_entry **out, size_t *n, const lx_merge_job *job,
                      const lx_merge_result *result, const lx_tensor_file *base,
                      lx_error *err);

/* --into a folder: is the output a folder that is new or empty? */
int lx_merge_check_folder(const lx_merge_job *job, lx_error *err);
/* The model with the LoRAs in it: a file, or all files of a folder. */
int lx_merge_write_model(lx_merge_job *job, lx_merge *merge, lx_merge_into_result *result,
                         lx_error *err);

/* The run, as lx_derived_begin and lx_derived_end. */
int lx_merge_record_begin(lx_merge_job *job, lx_error *err);
int lx_merge_record_end(lx_merge_job *job, int rc, lx_error *err);

#endif
