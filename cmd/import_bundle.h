/* cmd/import_bundle - the row of bundles in the table of cmd/import.c */
#ifndef LX_CMD_IMPORT_BUNDLE_H
#define LX_CMD_IMPORT_BUNDLE_H

#include "cmd/import.h"

bool lx_import_takes_bundle(const char *path, const unsigned char *head, size_t n,
                            bool is_named);
int lx_import_read_bundle(lx_import *job, const char *path, bool is_named, lx_error *err);

#endif
