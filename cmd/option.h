/*
 * cmd/option - option tables: parsing, --help, completion, man pages from one description
 *
 * Words as argparse takes them: --name value, --name=value, -n value, any unambiguous prefix of a
 * long name, `--` ends options, `-` and `_` in names are the same. A flag that is told whether it
 * was given may be said with =true or =false, which takes it back (argparse has no such thing). An unknown name is an error with
 * the nearest one. Values are checked while parsing and the message names the flag and the value.
 */
#ifndef LX_CMD_OPTION_H
#define LX_CMD_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/str.h"

typedef enum lx_option_kind {
    LX_OPTION_FLAG,   /* bool */
    LX_OPTION_INT,    /* int64_t */
    LX_OPTION_NUMBER, /* double */
    LX_OPTION_TEXT,   /* const char * */
    LX_OPTION_DASHED, /* const char *, the next word even when it begins with '-' */
    LX_OPTION_LIST,   /* lx_words: the words up to the next option (argparse nargs="*") */
    LX_OPTION_REPEAT, /* lx_words: one value each time it is given */
    LX_OPTION_ARGS    /* lx_words: the positional words */
} lx_option_kind;

typedef struct lx_words {
    const char **items;
    size_t count;
} lx_words;

typedef struct lx_option {
    lx_option_kind kind;
    char letter;         /* 0 = none */
    const char *name;    /* "json" for --json; for LX_OPTION_ARGS the word shown in usage */
    const char *value;   /* how help shows the value: "FILE", "N" */
    const char *help;
    size_t offset;       /* in the command's struct */
    int given_offset;    /* of a bool that is set when the option is given; -1 = none */
} lx_option;

#define LX_FLAG(type, member, letter, name, help)                                        \
    {LX_OPTION_FLAG, letter, name, NULL, help, offsetof(type, member), -1}
#define LX_INT(type, member, letter, name, value, help)                                  \
    {LX_OPTION_INT, letter, name, value, help, offsetof(type, member), -1}
#define LX_NUMBER(type, member, letter, name, value, help)                               \
    {LX_OPTION_NUMBER, letter, name, value, help, offsetof(type, member), -1}
#define LX_TEXT(type, member, letter, name, value, help)                                 \
    {LX_OPTION_TEXT, letter, name, value, help, offsetof(type, member), -1}
#define LX_DASHED(type, member, letter, name, value, help)                               \
    {LX_OPTION_DASHED, letter, name, value, help, offsetof(type, member), -1}
#define LX_LIST(type, member, letter, name, value, help)                                 \
    {LX_OPTION_LIST, letter, name, value, help, offsetof(type, member), -1}
#define LX_REPEAT(type, member, letter, name, value, help)                               \
    {LX_OPTION_REPEAT, letter, name, value, help, offsetof(type, member), -1}
#define LX_ARGS(type, member, name, help)                                                \
    {LX_OPTION_ARGS, 0, name, NULL, help, offsetof(type, member), -1}
#define LX_OPTION_END {LX_OPTION_FLAG, 0, NULL, NULL, NULL, 0, -1}

/* Fills `args` (zeroed by the caller, defaults already in it). LX_EUSAGE with the remedy. */
int lx_options_parse(void *args, const lx_option *options, int argc, char **argv,
                     lx_arena *arena, lx_error *err);

/*
 * The same for several tables that fill different structs: a command's own and the global ones. On
 * a clash of names the first set wins. `rest` not NULL: stop at the first word that is no option
 * and tell its index there (options in front of a command's name).
 */
typedef struct lx_option_set {
    const lx_option *options;
    void *args;
} lx_option_set;
int lx_option_sets_parse(const lx_option_set *sets, size_t n_sets, int argc, char **argv,
                         int *rest, lx_arena *arena, lx_error *err);

/* Equal but for - and _. */
bool lx_option_name_is(const char *a, const char *b, size_t n);
/* A word argparse takes for an option: begins with '-', is longer than that and no number. */
bool lx_is_option_word(const char *word);

/* One paragraph per option, for --help. */
void lx_options_help(lx_str *out, const lx_option *options, int columns);

/* Strict numbers: the whole text, no overflow, finite. */
int lx_parse_int(int64_t *out, const char *text, lx_error *err);
int lx_parse_number(double *out, const char *text, lx_error *err);

#endif
