/*
 * cmd/derived - files made out of other files: how they are written, what they say of themselves, the run
 *
 * Shared by merge, resize, extract and convert. Texts live in the command's arena.
 */
#ifndef LX_CMD_DERIVED_H
#define LX_CMD_DERIVED_H

#include "cmd/cli.h"
#include "src/base/json.h"
#include "src/base/sha256.h"
#include "src/base/str.h"
#include "src/format/safetensors.h"
#include "src/lora/file.h"
#include "src/lora/seal.h"

/* ---- the command line -------------------------------------------------------------------- */

/* sd-scripts' float, fp16, bf16. LX_EUSAGE names the flag. */
int lx_parse_precision(lx_dtype *out, const char *text, const char *flag, lx_error *err);
/* "1%" or "0.01": more than 0 and less than 1. */
int lx_parse_share(double *out, const char *text, const char *flag, lx_arena *arena,
                   lx_error *err);
/* A rank that may be said by either of two flags: `a` by --name, `b` by --other. *out is 0 when neither was.
 * LX_EUSAGE when both were, and below 1. */
int lx_take_rank(size_t *out, int64_t a, bool has_a, int64_t b, bool has_b,
                 const char *name, const char *other, lx_error *err);
/* By device and inode, behind links; false where one is not there. */
bool lx_is_same_file(const char *a, const char *b);
/* Two words for one thing: LX_EUSAGE, which names both, when both are given. */
int lx_check_one_of(const char *a, const char *b, const char *name, const char *other,
                    lx_error *err);
/* Is there an output, a .safetensors, and none of the files that are read (n paths, NULLs among them)? */
int lx_check_output(const char *output, const char *const *inputs, size_t n,
                    lx_error *err);

/* ---- telling ----------------------------------------------------------------------------- */

/* What the alphas of an input stand on, where that is damaged or only partly followed: a line to cli->err. */
void lx_tell_config_problem(lx_cli *cli, const char *command, const lx_lora_file *file,
                            const char *path);

/* 0.0125 -> "1.25 %"; "?" when it is no number. */
const char *lx_percent_text(lx_arena *arena, double share);
/* Appends ,"key":x; null when it is no number. */
void lx_json_put_double(lx_str *out, const char *key, double x);

/* ---- metadata ---------------------------------------------------------------------------- */

/* Entries by key; starts as {.arena = ...}. Memory that is lacking is remembered in `failed`. */
typedef struct lx_metadata_table {
    lx_metadata_entry *entries;
    size_t n, capacity;
    lx_arena *arena;
    bool failed;
} lx_metadata_table;

/* Replaces the entry of that key; a NULL value changes nothing. Neither text is copied. */
void lx_metadata_put(lx_metadata_table *table, const char *key, const char *value);
void lx_metadata_drop(lx_metadata_table *table, const char *key);
const char *lx_metadata_find(const lx_metadata_table *table, const char *key);
/* All of a file's, but for modelspec.hash_sha256, which was true of that file only. Copied. */
void lx_metadata_take(lx_metadata_table *table, const lx_tensor_file *file);
int lx_metadata_check(const lx_metadata_table *table, lx_error *err); /* LX_ENOMEM */

const char *lx_path_title(const char *path,
                          lx_arena *arena); /* the name without its extension */
const char *lx_now_text(lx_arena *arena);   /* 2026-01-31T23:59:59 */
/* Canonical JSON in the arena; NULL without memory. */
const char *lx_json_in_arena(const cJSON *value, lx_arena *arena);

/* ---- the file ---------------------------------------------------------------------------- */

/* A LoRA with its hashes (lora/seal). begin, which is lx_derived_begin, is called with the context while it is written;
 * NULL: nothing is recorded, and out->file is not made. */
typedef int (*lx_begin_record)(void *context, lx_error *err);
int lx_write_lora(lx_sealed *out, const char *path, const lx_tensor_view *tensors,
                  size_t n, lx_metadata_table *metadata, lx_begin_record begin,
                  void *context, lx_error *err);

/* ---- the run ----------------------------------------------------------------------------- */

typedef struct lx_derived_output {
    const char *role, *path; /* "lora" or "checkpoint" */
    const lx_hash *hash;
    const char *tensor_hash; /* hex, or "" */
} lx_derived_output;

typedef struct lx_derived {
    lx_cli *cli;
    const char *kind; /* of the run, and the command's name: "merge" */
    const char *name; /* of the run, or NULL */
    int arithmetic;   /* raised when the same inputs and settings give other bytes */
    uint64_t seed;
    const cJSON *settings; /* what determines the bytes beside the files */
    const cJSON *
        sources; /* a list, an object for each file: its "sha256" and what is said of it */
    const char *const *paths; /* of the files, in that order */
    const char *base;         /* a model that took part, or NULL */
    const lx_hash *base_hash;
    const char *const (*facts)[2]; /* keys and values */
    size_t n_facts;
} lx_derived;

/*
 * The run: what went in, from which runs, and what came out. In two halves, of which the first, that looks at the machine
 * and at the code around and does not ask for the outputs, may go on beside the writing. end is due in any case; with
 * rc < 0, whose story is err's, it ends a run that was begun as failed, and returns rc; without a run it does no more.
 */
typedef struct lx_derived_run {
    struct lx_store *store;
    struct lx_run *run;
} lx_derived_run;
int lx_derived_begin(lx_derived_run *out, const lx_derived *derived, lx_error *err);
/* A file among lx_derived.sources: its hash, and what the caller adds to it. Borrowed. */
cJSON *lx_derived_source(cJSON *sources, const lx_hash *hash);
/* The end of a run that came to one LoRA. */
int lx_derived_end_lora(lx_derived_run *run, const char *path, const lx_sealed *written,
                        int rc, lx_error *err);
int lx_derived_end(lx_derived_run *run, const lx_derived_output *outputs,
                   size_t n_outputs, int rc, lx_error *err);

#endif
