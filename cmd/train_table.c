#include <string.h>

#include "cmd/train_flag.h"

/* A member must have the type that its row says. */
#define CHECK_FLAG(p) _Generic((p), bool *: 1)
#define CHECK_INT(p) _Generic((p), int *: 1)
#define CHECK_NUMBER(p) _Generic((p), double *: 1)
#define CHECK_SHARE(p) _Generic((p), double *: 1)
#define CHECK_TEXT(p) _Generic((p), const char **: 1)
#define CHECK_PATH(p) _Generic((p), const char **: 1)
#define MEMBER(type, member)                                                             \
    (offsetof(lx_train_config, member) * CHECK_##type(&((lx_train_config *)0)->member))

const lx_flag lx_flag_table[LX_FLAG_COUNT] = {
#define ROW(name, type, otherwise, choices, action, member, help, set)                   \
    {#name, LX_TYPE_##type, otherwise, choices, action, member, help, set},
#define USE(name, type, otherwise, choices, member, help)                                \
    ROW(name, type, otherwise, choices, LX_ACTION_USE, MEMBER(type, member), help, NULL)
#define SET(name, type, otherwise, choices, help)                                        \
    ROW(name, type, otherwise, choices, LX_ACTION_SET, 0, help, lx_set_##name)
#define MARK(name, type, otherwise, choices, member, help)                               \
    ROW(name, type, otherwise, choices, LX_ACTION_MARK, MEMBER(type, member), help, NULL)
#define IDLE(name, type, otherwise, choices, help)                                       \
    ROW(name, type, otherwise, choices, LX_ACTION_IDLE, 0, help, NULL)
#define DENY(name, type, otherwise, choices, help)                                       \
    ROW(name, type, otherwise, choices, LX_ACTION_DENY, 0, help, NULL)
#define OWN(name, type, otherwise, choices, help)                                        \
    ROW(name, type, otherwise, choices, LX_ACTION_OWN, 0, help, lx_set_##name)
#include "cmd/train_flags.def"
#undef USE
#undef SET
#undef MARK
#undef IDLE
#undef DENY
#undef OWN
};

/* The same rows for cmd/option: it gathers words, train_value.c reads them. */
#define KIND_FLAG LX_OPTION_FLAG
#define KIND_INT LX_OPTION_REPEAT /* the last one counts */
#define KIND_NUMBER LX_OPTION_REPEAT
#define KIND_TEXT LX_OPTION_REPEAT
#define KIND_PATH LX_OPTION_REPEAT
#define KIND_SHARE LX_OPTION_REPEAT
#define KIND_SIZE LX_OPTION_REPEAT
#define KIND_TEXTS LX_OPTION_LIST
#define KIND_NUMBERS LX_OPTION_LIST
#define KIND_REPEAT LX_OPTION_REPEAT
#define SHOW_FLAG NULL
#define SHOW_INT "N"
#define SHOW_NUMBER "X"
#define SHOW_TEXT "TEXT"
#define SHOW_PATH "PATH"
#define SHOW_SHARE "N"
#define SHOW_SIZE "SIZE"
#define SHOW_TEXTS "TEXT"
#define SHOW_NUMBERS "X"
#define SHOW_REPEAT "A=B"
#define PLACE_FLAG is_on
#define PLACE_INT words
#define PLACE_NUMBER words
#define PLACE_TEXT words
#define PLACE_PATH words
#define PLACE_SHARE words
#define PLACE_SIZE words
#define PLACE_TEXTS words
#define PLACE_NUMBERS words
#define PLACE_REPEAT words
#define OPTION(name, type, front, help)                                                  \
    {KIND_##type,                                                                        \
     0,                                                                                  \
     #name,                                                                              \
     SHOW_##type,                                                                        \
     front help,                                                                         \
     offsetof(lx_flags, given[LX_AT_##name].PLACE_##type),                               \
     (int)offsetof(lx_flags, given[LX_AT_##name].given)},

const lx_option lx_train_options[] = {
#define USE(name, type, otherwise, choices, member, help) OPTION(name, type, "", help)
#define SET(name, type, otherwise, choices, help) OPTION(name, type, "", help)
#define MARK(name, type, otherwise, choices, member, help)                               \
    OPTION(name, type, "no effect: ", help)
#define IDLE(name, type, otherwise, choices, help) OPTION(name, type, "no effect: ", help)
#define DENY(name, type, otherwise, choices, help) OPTION(name, type, "refused: ", help)
#define OWN(name, type, otherwise, choices, help) OPTION(name, type, "", help)
#include "cmd/train_flags.def"
#undef USE
#undef SET
#undef MARK
#undef IDLE
#undef DENY
#undef OWN
    LX_OPTION_END};

bool lx_flag_is_secret(int index)
{
    return index == LX_AT_wandb_api_key || index == LX_AT_huggingface_token;
}

const char *lx_flag_where(const lx_flags *flags, int index)
{
    const lx_flag_words *given = &flags->given[index];
    const char *text = given->place ? lx_arena_printf(flags->arena, "%s: %s", given->place,
                                                      lx_flag_table[index].name)
                                    : lx_arena_printf(flags->arena, "--%s",
                                                      lx_flag_table[index].name);

    return text ? text : lx_flag_table[index].name;
}
