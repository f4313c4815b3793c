/* cmd/data_check - what lx data check and lx data sheet share: flags to a check, and its files mended */
#ifndef LX_CMD_DATA_CHECK_H
#define LX_CMD_DATA_CHECK_H

#include "cmd/data.h"
#include "src/data/check.h"

/* Words of a command that are not its own. */
typedef struct lx_data_words {
    int argc;
    char **argv;
} lx_data_words;

/*
 * Of cli's words those that belong to `options` and to every command into args and cli (by
 * lx_option_sets_parse), all others into *rest.
 */
int lx_data_take_words(lx_data_words *rest, void *args, const lx_option *options,
                       lx_cli *cli, lx_error *err);

/*
 * The check of what the words say: DIR first (or none, where --train_data_dir or --dataset_config is among
 * them), then flags of lx train. Without --resolution buckets of 512 are looked at. extra: of options, those
 * that are not flags of a training. *dir (may be NULL): DIR, or NULL.
 */
int lx_data_check_words(lx_data_check **out, const char **dir, lx_check_options *extra,
                        lx_cli *cli, const lx_data_words *words, lx_error *err);

typedef struct lx_fix_options {
    const char *output;   /* the whole set, mended, into this folder; or */
    bool is_in_place;     /* ... over the originals */
    const char *encoding; /* of captions that are not UTF-8; NULL = what they look like */
} lx_fix_options;

/* Mends what the check found and can be mended; tells what it did. */
int lx_data_fix(lx_cli *cli, const lx_data_check *check, const lx_fix_options *options,
                lx_error *err);

#endif
