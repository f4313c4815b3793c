/*
 * cmd/inspect_one - all about one file, as text or JSON
 */
#ifndef LX_CMD_INSPECT_ONE_H
#define LX_CMD_INSPECT_ONE_H

#include "cmd/cli.h"
#include "src/base/json.h"
#include "src/lora/hash.h"
#include "src/lora/summary.h"
#include "src/lora/weights.h"
#include "src/model/kind.h"

typedef struct lx_inspect_options {
    bool json, metadata, tree, weights, hashes;
    int64_t n_tags; /* 0: a line of the most frequent */
} lx_inspect_options;

/* What is known of a file. */
typedef struct lx_inspected {
    const char *path; /* as it is shown */
    lx_lora_file *file;
    lx_lora_summary summary;
    const char *what, *trainer;
    const char *model;                   /* of a whole checkpoint; NULL */
    lx_model_part parts[LX_PIECE_COUNT]; /* of a checkpoint */
    lx_lora_weights weights;             /* modules NULL: not asked for */
    lx_model_hashes hashes;              /* sha256 "": not asked for */
} lx_inspected;

/* Opens `path`, which is shown as `shown` (a file of the store has another name). Texts in
 * cli->arena; lx_inspected_close in any case. The error names `shown`. */
int lx_inspected_open(lx_inspected *out, lx_cli *cli, const lx_inspect_options *options,
                      const char *path, const char *shown, lx_error *err);
void lx_inspected_close(lx_inspected *inspected);

/* Prints it. The error names the path. */
int lx_inspect_one(lx_cli *cli, const lx_inspect_options *options, const char *path,
                   lx_error *err);
int lx_inspect_show(lx_cli *cli, const lx_inspect_options *options,
                    lx_inspected *inspected, lx_error *err);

/* ---- parts of it (inspect_text.c, inspect_weights.c, inspect_json.c) --------------- */

void lx_inspect__text(lx_cli *cli, const lx_inspect_options *options, lx_inspected *x);
void lx_inspect__line(lx_cli *cli, const char *name, const char *text);
void lx_inspect__weights(lx_cli *cli, const lx_inspected *x);
int lx_inspect__tree(lx_cli *cli, const lx_inspected *x, lx_error *err);
int lx_inspect__json(lx_cli *cli, const lx_inspect_options *options,
                     const lx_inspected *x, lx_error *err);
void lx_inspect__json_weights(cJSON *root, const lx_inspected *x);
void lx_inspect__json_tree(cJSON *root, const lx_inspected *x);
const char *lx_inspect__size(lx_arena *arena, double bytes); /* "9.6 MB" */

#endif
