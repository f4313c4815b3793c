/*
 * cmd/inspect_files - the files that words of the command line mean
 *
 * A file as it is; of a folder all model files in it and below, in the order of their
 * names; of a pattern that no file is named by (quoted, so that the shell left it) what
 * it fits. Links to folders are followed, but no folder is walked twice for one word. Model files end in .safetensors,
 * .sft, .ckpt, .pt, .pth or .bin.
 */
#ifndef LX_CMD_INSPECT_FILES_H
#define LX_CMD_INSPECT_FILES_H

#include "cmd/cli.h"

typedef struct lx_file_list {
    const char **paths; /* in the arena */
    size_t count, capacity;
    size_t n_folders;  /* words that were folders or patterns */
    size_t n_pictures; /* pictures met in folders, which are left out */
    bool has_patterns;
    bool has_links; /* in the folders: what they lead to is elsewhere */
} lx_file_list;

/* LX_ENOTFOUND: a pattern without a file. Folders that cannot be read are told on stderr. */
int lx_inspect_files(lx_file_list *out, lx_cli *cli, const lx_words *words,
                     lx_error *err);

#endif
