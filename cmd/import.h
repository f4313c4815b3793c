/*
 * cmd/import - what every importer gets, and how one is added
 *
 * An importer is a row of the table in cmd/import.c: it looks at a path (and the first
 * bytes of a file) and either takes it or not; the first that takes it reads it. Those of
 * foreign formats add to the history, which is written into the store at the end in
 * groups, each run whole or not at all. One that brings runs in lx's own form (a bundle)
 * writes to the store itself.
 */
#ifndef LX_CMD_IMPORT_H
#define LX_CMD_IMPORT_H

#include "cmd/cli.h"
#include "src/import/history.h"
#include "src/import/lora_files.h"
#include "store/store.h"

typedef struct lx_import {
    lx_cli *cli;
    lx_store *store; /* NULL: a dry run without a store */
    bool is_dry_run; /* nothing may be written */
    lx_history *history;
    lx_lora_files *loras;
    size_t n_files; /* looked at */
    cJSON *own; /* array: what importers wrote themselves, as import --json shows runs */
} lx_import;

enum { LX_IMPORT_HEAD = 64 };

typedef struct lx_importer {
    const char *what; /* "TensorBoard folder" */
    /* head: the first n bytes of a file; NULL for a folder. is_named: it stands on the
     * command line, and was not met in a folder. */
    bool (*takes)(const char *path, const unsigned char *head, size_t n, bool is_named);
    int (*read)(lx_import *job, const char *path, bool is_named, lx_error *err);
    bool goes_on; /* of a folder: what is in it is looked at too */
} lx_importer;

/* Writes the history into the store (cmd/import_write.c). *out: array of what became of
 * each run. */
int lx_import_write(cJSON **out, lx_import *job, bool copies_loras, const lx_words *tags,
                    lx_error *err);

#endif
