/*
 * cmd/data - what the commands of `lx data` share: the folder they are given, and changes that can be
 * taken back
 */
#ifndef LX_CMD_DATA_H
#define LX_CMD_DATA_H

#include "cmd/cli.h"
#include "src/data/dataset.h"
#include "src/data/mend.h"
#include "store/store.h"

extern const lx_command lx_cmd_data_check, lx_cmd_data_tags, lx_cmd_data_sheet,
    lx_cmd_data_move, lx_cmd_data_undo;

/*
 * The images and captions of a folder, a train_data_dir or a folder of images; captions by the ending given,
 * or the one that they have (NULL). Nothing is decoded. LX_ENOTFOUND without images.
 */
int lx_data_open(lx_dataset **out, lx_cli *cli, const char *dir, const char *extension,
                 lx_error *err);

/* lx_message, but not with --quiet. */
void lx_data_say(lx_cli *cli, const char *fmt, ...) LX_PRINTF(2, 3);

/* Names met before. Zeros are an empty set; names are borrowed. */
typedef struct lx_data_names {
    const char **slots; /* open addressing; NULL is free */
    size_t n, n_slots;
} lx_data_names;

bool lx_data_names_has(const lx_data_names *names, const char *name);
/* 1: it is new, and remembered. 0: it was met. LX_ENOMEM. */
int lx_data_names_add(lx_data_names *names, const char *name, lx_error *err);
void lx_data_names_release(lx_data_names *names);

/* ---- changes ------------------------------------------------------------------------------
 *
 * Gathered first, then applied: all files are looked at again, what they were is put into the store, and
 * only then each is replaced as a whole. The run of it (kind "data") has a record of every file by hash, by
 * which `lx data undo` puts everything back. Paths must lie below the change's root, behind no
 * symbolic link, and be images, captions or latents by their endings.
 */
typedef struct lx_change lx_change;

/* root: a folder that is there; target: where moved files go, NULL = root as well. `what`: a name for the
 * record, "prepend", borrowed. */
int lx_change_new(lx_change **out, lx_cli *cli, const char *root, const char *target,
                  const char *what, lx_error *err);
void lx_change_free(lx_change *change);
size_t lx_change_count(const lx_change *change);

/* Bytes are copied. `path` as the caller has it. Each refuses what does not fit with LX_EEXISTS,
 * LX_ENOTFOUND, LX_EUNSUPPORTED, and is left out of the change then. No path is in a change twice: LX_EEXISTS, but
 * for an edit that is in it already. */
/* before NULL: whatever it holds now */
int lx_change_edit(lx_change *change, const char *path, const lx_str *before,
                   const void *bytes, size_t n, lx_error *err);
int lx_change_create(lx_change *change, const char *path, const void *bytes, size_t n,
                     lx_error *err);
int lx_change_remove(lx_change *change, const char *path, lx_error *err);
int lx_change_move(lx_change *change, const char *from, const char *to, lx_error *err);

/* *id (may be NULL): of the run, in the command's arena. LX_EMISMATCH: a file is not what it was. */
int lx_change_apply(lx_change *change, const char **id, lx_error *err);
/* The folder, and one line a file of what would be done, "edit   a.txt", to cli->out; the first `most`. */
void lx_change_show(const lx_change *change, size_t most);

/*
 * The change that takes back the run `id` (NULL: the newest that was not taken back, of this store). Files
 * that are as they were before already are left out. LX_EMISMATCH names a file that was changed since.
 */
int lx_change_inverse(lx_change **out, const char **id, lx_cli *cli, const char *wanted,
                      lx_error *err);

/* `lx data undo`. */
int lx_data_undo(lx_cli *cli, const char *id, bool is_written, lx_error *err);

#endif
