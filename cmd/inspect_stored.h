/*
 * cmd/inspect_stored - LoRA files of the store: of a run, or an object by its hash
 */
#ifndef LX_CMD_INSPECT_STORED_H
#define LX_CMD_INSPECT_STORED_H

#include "cmd/inspect_one.h"

/*
 * `word`: a run (its last LoRA), RUN:NAME (a file of it by its name), or the first six or more digits of
 * an artifact's SHA-256. LX_ENOTFOUND; the error is about the word as a file when there is no store.
 */
int lx_inspect_stored(lx_cli *cli, const lx_inspect_options *options, const char *word,
                      lx_error *err);

/* Where the file is that this word means, if it lies outside the store; NULL else. In the arena. */
const char *lx_inspect_stored_path(lx_cli *cli, const char *word);

/* What the store knows of the LoRAs that a picture names by their hashes ("style: 1a2b3c4d5e6f"); one
 * line each. Nothing without a store. */
void lx_inspect_picture_loras(lx_cli *cli, const char *hashes);

#endif
