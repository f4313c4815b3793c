/*
 * cmd/train_flag - one flag of a training: its row in the table, its words, its value
 *
 * Internal to cmd/train_*.c. The way of a flag: words (command line or config file) -> lx_flag_words
 * -> typed and checked, lx_flag_value -> the configuration, by the action of its row.
 */
#ifndef LX_CMD_TRAIN_FLAG_H
#define LX_CMD_TRAIN_FLAG_H

#include "cmd/train_flags.h"
#include "src/format/toml.h"

typedef enum lx_flag_type {
    LX_TYPE_FLAG, /* no value */
    LX_TYPE_INT,
    LX_TYPE_NUMBER,
    LX_TYPE_TEXT,
    LX_TYPE_PATH,    /* text that --path-map applies to */
    LX_TYPE_SHARE,   /* a whole number, a share below 1, or "10%" */
    LX_TYPE_SIZE,    /* bytes: 8G, 500M */
    LX_TYPE_TEXTS,   /* nargs="*" */
    LX_TYPE_NUMBERS, /* nargs="*" */
    LX_TYPE_REPEAT   /* one value each time */
} lx_flag_type;

typedef enum lx_flag_action {
    LX_ACTION_USE,
    LX_ACTION_SET,
    LX_ACTION_MARK,
    LX_ACTION_IDLE,
    LX_ACTION_DENY,
    LX_ACTION_OWN
} lx_flag_action;

/* Indices of the table. */
enum {
#define USE(name, type, otherwise, choices, member, help) LX_AT_##name,
#define SET(name, type, otherwise, choices, help) LX_AT_##name,
#define MARK(name, type, otherwise, choices, member, help) LX_AT_##name,
#define IDLE(name, type, otherwise, choices, help) LX_AT_##name,
#define DENY(name, type, otherwise, choices, help) LX_AT_##name,
#define OWN(name, type, otherwise, choices, help) LX_AT_##name,
#include "cmd/train_flags.def"
#undef USE
#undef SET
#undef MARK
#undef IDLE
#undef DENY
#undef OWN
    LX_FLAG_COUNT
};

typedef struct lx_flag_words {
    bool given, is_on; /* is_on: of LX_TYPE_FLAG */
    lx_words words;
    const char *place; /* "run.toml:12", or NULL: the command line */
} lx_flag_words;

typedef struct lx_flag_value {
    bool given;   /* else the row's default */
    bool is_null; /* neither given nor with a default */
    bool is_on;
    int64_t whole;         /* INT, SIZE */
    double number;         /* NUMBER, SHARE */
    const char *text;      /* TEXT, PATH (mapped) */
    lx_words words;        /* TEXTS, REPEAT, NUMBERS */
    const double *numbers; /* of words.count, NUMBERS */
} lx_flag_value;

/* A setting in which the subsets of a --dataset_config differ. */
typedef struct lx_flag_split {
    size_t subset;
    int flag;
    lx_flag_words words;
} lx_flag_split;

typedef struct lx_flags {
    lx_train_config *config;
    lx_train_flags *facts;
    lx_cli *cli;
    lx_arena *arena;
    lx_flag_words given[LX_FLAG_COUNT];
    lx_flag_value values[LX_FLAG_COUNT];
    lx_globals globals;
    lx_subset_config *subsets; /* config->data.subsets, to be completed */
    lx_flag_split *splits;
    size_t n_splits;
    const char *output_config; /* the file to write, or NULL */
    const lx_lora_entry *start;  /* the first module of --network_weights, where nothing else says rank and alpha */
    bool
        is_observed; /* another trainer follows them: what we cannot follow is no error */
    cJSON *others;   /* is_observed: keys of a config file that are not in the table */
} lx_flags;

typedef struct lx_flag {
    const char *name;
    lx_flag_type type;
    const char *otherwise; /* the default's text, or NULL */
    const char *choices;   /* "a|b", or NULL */
    lx_flag_action action;
    size_t member;    /* offset in lx_train_config: USE and MARK */
    const char *help; /* or why, or what instead */
    int (*set)(lx_flags *flags, const lx_flag_value *value, lx_error *err);
} lx_flag;

extern const lx_flag lx_flag_table[LX_FLAG_COUNT];

/* Secrets are read over and dropped. */
bool lx_flag_is_secret(int index);
/* "--name", or "run.toml:12: name": whoever reads the error looks there. */
const char *lx_flag_where(const lx_flags *flags, int index);

/* train_value.c: words -> value. The message has the value, not the flag. */
int lx_flag_read(lx_flag_value *out, const lx_flag *flag, const lx_flag_words *given,
                 lx_arena *arena, lx_error *err);

/* "8G", "500MiB" -> bytes; K, M, G and T are powers of 1024. */
int lx_flag_read_size(int64_t *out, const char *text, lx_error *err);

/* train_toml.c: the keys of a config file, where the command line leaves them open. */
int lx_flags_read_toml(lx_flags *flags, const char *path, lx_error *err);
/* The file as a tree. Both are released by lx_config_release. */
typedef struct lx_config_tree {
    cJSON *root;
    lx_toml_places places;
    const char *path;
} lx_config_tree;
int lx_config_read(lx_config_tree *out, const char *path, lx_error *err);
void lx_config_release(lx_config_tree *tree);
/* "run.toml:12" of a value. */
const char *lx_config_place(const lx_config_tree *tree, const cJSON *value,
                            lx_arena *arena);
/* A value of the tree as the words that the command line would have. Types are checked. */
int lx_config_words(lx_flag_words *out, const lx_flag *flag, const cJSON *value,
                    lx_arena *arena, lx_error *err);
/* train_like.c: what the command line and its config file leave open, from an earlier run. */
int lx_flags_read_like(lx_flags *flags, lx_error *err);
/* train_settings.c: what is left open then, from the settings (cmd/settings.h). */
int lx_flags_read_settings(lx_flags *flags, lx_error *err);
/* dataset_toml.c */
int lx_flags_read_dataset(lx_flags *flags, const char *path, lx_error *err);
/* When the flags are read: each subset's settings and repeats, and --in_json as a subset. */
int lx_flags_resolve_dataset(lx_flags *flags, lx_error *err);
/* What the subsets are and where they differ, as JSON. */
int lx_flags_tell_dataset(cJSON **out, const lx_flags *flags, lx_error *err);
/* One flag's words applied to flags->config, beside those that were given (train_flags.c). The message
 * has the value, not the flag. */
int lx_flags_take_words(lx_flags *flags, int index, const lx_flag_words *words,
                        lx_error *err);

/* train_set.c: one function per SET and OWN row. */
#define USE(name, type, otherwise, choices, member, help)
#define SET(name, type, otherwise, choices, help) \
    int lx_set_##name(lx_flags *flags, const lx_flag_value *value, lx_error *err);
#define MARK(name, type, otherwise, choices, member, help)
#define IDLE(name, type, otherwise, choices, help)
#define DENY(name, type, otherwise, choices, help)
#define OWN SET
#include "cmd/train_flags.def"
#undef USE
#undef SET
#undef MARK
#undef IDLE
#undef DENY
#undef OWN
/* What depends on several flags: rates that fall back, a seed, names that win. */
/* train_network.c: the pairs of --network_args, over --network_dim and --network_alpha. */
int lx_flags_resolve_network(lx_flags *f, lx_error *err);
/* LX_EUSAGE: the module has no such argument; `nearest` is asked for where it is near. */
int lx_flags_fail_argument(const char *module, const char *key, const char *nearest, lx_error *err);
/* train_lycoris.c: the same of lycoris.kohya; begin before the first pair. */
void lx_flags_begin_lycoris(lx_lora_spec *spec);
int lx_flags_take_lycoris(lx_lora_spec *spec, const char *key, const char *value,
                          lx_error *err);
bool lx_flags_is_of_lycoris(const char *key);
int lx_flags_check_lycoris(const lx_lora_spec *spec, lx_error *err);
/* train_optimizer.c: the optimizer of its four flags, its options over its own defaults. */
int lx_flags_resolve_optimizer(lx_flags *f, lx_error *err);
/* "key=value" taken apart; LX_EUSAGE without the sign. *value points into the pair. */
int lx_flags_split_pair(const char **key, const char **value, lx_arena *arena,
                        const char *pair, lx_error *err);
int lx_flags_resolve(lx_flags *flags, lx_error *err);

/* train_facts.c */
int lx_flags_tell(lx_flags *flags, lx_error *err); /* given, resolved, command line */
int lx_flags_note(lx_flags *flags, const char *fmt, ...) LX_PRINTF(2, 3);
int lx_flags_notes(lx_flags *flags, lx_error *err);
int lx_flags_output_config(lx_flags *flags, const char *path, lx_error *err);

#endif
