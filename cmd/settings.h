/*
 * cmd/settings - what is set once and for all: the store, a remote, flags that every training has
 *
 * Two files of TOML, read at the start of every command:
 *
 *     $XDG_CONFIG_HOME/lx/config, else ~/.config/lx/config     the user's
 *     .lx/config above the working folder                      the project's; it wins
 *
 * A command line, its --config_file, and the environment win over both. Keys (docs/guide/config.md):
 *
 *     store            folder of the store; only the user's file may say it
 *     remote           what lx push and lx pull mean when none is named
 *     train.FLAG       a flag of lx train, plan and sweep; not where a run's flags are taken
 *     run.strict       true: lx run --strict
 *     privacy.words    more names to take out of what leaves the machine
 *     sandbox          false: cmd/bounds confines nothing; only the user's file may say it
 *
 * A key that is not among them is an error, with its line. A project's file of another user is not
 * read. What is set can add to what is taken out of texts, never take away from it.
 */
#ifndef LX_CMD_SETTINGS_H
#define LX_CMD_SETTINGS_H

#include "cmd/option.h"
#include "src/base/json.h"
#include "store/privacy.h"

typedef struct lx_setting {
    const char *key;   /* "train.threads" */
    const char *text;  /* its value, as lx config get prints it */
    const char *file;  /* where it stands */
    const char *place; /* "FILE:LINE" */
    bool is_project;
    cJSON *value; /* borrowed from the tree */
} lx_setting;

typedef struct lx_settings {
    lx_setting *items; /* those that hold, in the order of keys */
    size_t count;
    const char *user_file;    /* where it is or would be; NULL = there is no home */
    const char *project_file; /* NULL = no .lx/ above */
    bool is_foreign;          /* the project's is another user's, and was not read */
    cJSON *trees[2];
} lx_settings;

/* Both files. LX_ECONFIG with the line; what is not there sets nothing. Release it in any case. */
int lx_settings_read(lx_settings *out, lx_arena *arena, lx_error *err);
void lx_settings_release(lx_settings *settings);
/* NULL = not set. settings may be NULL. */
const lx_setting *lx_settings_find(const lx_settings *settings, const char *key);
const char *lx_settings_text(const lx_settings *settings, const char *key);
/* The setting store as a path, ~/ being the home folder. NULL = not set, or without memory. */
const char *lx_settings_store(const lx_settings *settings, lx_arena *arena);
bool lx_settings_is_on(const lx_settings *settings, const char *key);
/* privacy.words into what is to be taken out. */
void lx_settings_learn(const lx_settings *settings, lx_privacy *privacy);

/* One line of each kind of key, for lx config keys; NULL ends it. */
typedef struct lx_settings_key {
    const char *key, *help;
} lx_settings_key;
extern const lx_settings_key lx_settings_keys[];

/*
 * The text of a file with one setting changed: `literal` is a TOML value, NULL takes the setting out.
 * All other lines stay. LX_EUSAGE where the old value is not on a line of its own; LX_ENOTFOUND
 * when there is nothing to take out.
 */
int lx_settings_edit(lx_str *out, const char *text, const char *key, const char *literal,
                     lx_error *err);
/* LX_ECONFIG: there is no such setting. */
int lx_settings_check_key(const char *key, lx_error *err);
/* The value as TOML, by the kind of the key. LX_EUSAGE: no such key, or a value that it cannot have. */
int lx_settings_literal(lx_str *out, const char *key, const char *value, lx_error *err);
/* Is this text a file that lx_settings_read takes? `file` is for messages. */
int lx_settings_check(const char *text, size_t n, const char *file, bool is_project,
                      lx_error *err);

#endif
