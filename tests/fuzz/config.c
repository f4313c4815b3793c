/*
 * Files of settings: of lx (`lx config`), and as --config_file or --dataset_config of a training, read whole by
 * the flags' own parser. JSON when it begins with a bracket, else TOML.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/settings.h"
#include "cmd/train_flags.h"
#include "tests/fuzz/fuzz.h"

static void read_as(const char *flag, const char *path, FILE *nothing)
{
    static lx_train_config config;
    lx_arena *arena = lx_arena_new();
    lx_train_flags flags = {0};
    lx_error err = {0};
    lx_cli cli = {0};
    char *words[4];

    if (!arena || !(words[0] = lx_arena_strdup(arena, flag)) ||
        !(words[1] = lx_arena_strdup(arena, path)))
        abort();
    lx_cli_init(&cli, arena, nothing, nothing);
    if (lx_train_flags_parse(&config, &flags, &cli, 2, words, &err) < 0 &&
        (err.code >= 0 || !err.text[0]))
        abort();
    lx_arena_free(arena);
}

static void edit(const char *text)
{
    lx_str out = LX_STR_INIT;
    lx_error err = {0};

    if (lx_settings_check(text, strlen(text), "config", true, &err) == LX_OK &&
        lx_settings_edit(&out, text, "train.threads", "3", &err) == LX_OK &&
        lx_settings_check(lx_str_text(&out), out.len, "config", true, &err) < 0)
        abort();
    lx_str_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nothing;
    const bool is_json = size && (*data == '{' || *data == '[');
    const char *path = fuzz_file(data, size, is_json ? ".json" : ".toml");
    char *text = malloc(size + 1);

    if (!text || (!nothing && !(nothing = fopen("/dev/null", "w"))))
        abort();
    setenv("LX_STORE", "/nonexistent", 1);
    memcpy(text, data, size);
    text[size] = 0;
    if (!is_json) /* its name would be taken for one without .toml */
        read_as("--config_file", path, nothing);
    read_as("--dataset_config", path, nothing);
    edit(text);
    free(text);
    return 0;
}
