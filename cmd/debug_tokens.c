/* lx debug tokens - captions to 77-token chunks (docs/testing.md) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/debug.h"
#include "src/base/json.h"
#include "src/text/tokenizer.h"

struct tokens_args {
    int64_t max_token_length;
};

static const lx_option options[] = {
    LX_INT(struct tokens_args, max_token_length, 0, "max_token_length", "N", "75, 150 or 225"),
    LX_OPTION_END};

static void print_chunks(lx_cli *cli, const int64_t *ids, int n_chunks)
{
    lx_print(cli, "[");
    for (int c = 0; c < n_chunks; c++)
        for (int i = 0; i < LX_CHUNK; i++)
            lx_print(cli, "%s%lld%s", i ? ", " : c ? ", [" : "[",
                     (long long)ids[c * LX_CHUNK + i], i == LX_CHUNK - 1 ? "]" : "");
    lx_print(cli, "]\n");
}

static int print_line(lx_cli *cli, const lx_tokenizer *t, const char *line, size_t n, int length,
                      lx_error *err)
{
    int64_t ids[3 * LX_CHUNK];
    cJSON *json = NULL;
    int rc;

    if ((rc = lx_json_parse(&json, line, n, err)) < 0)
        return rc;
    if (!cJSON_IsString(json))
        rc = lx_fail(err, LX_EFORMAT, "not a JSON string");
    else
        rc = lx_tokenize_chunks(ids, NULL, t, json->valuestring, strlen(json->valuestring),
                                length, err);
    if (rc == 0)
        print_chunks(cli, ids, length / (LX_CHUNK - 2));
    cJSON_Delete(json);
    return rc;
}

int lx_debug_tokens(lx_cli *cli, int argc, char **argv, lx_error *err)
{
    struct tokens_args args = {75};
    lx_tokenizer *tokenizer = NULL;
    char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t n;
    int rc;

    if ((rc = lx_options_parse(&args, options, argc, argv, cli->arena, err)) < 0 ||
        (rc = lx_tokenizer_new(&tokenizer, err)) < 0)
        goto done;
    while ((n = getline(&line, &capacity, stdin)) > 0) {
        number++;
        if (line[n - 1] == '\n')
            n--;
        if ((rc = print_line(cli, tokenizer, line, (size_t)n, (int)args.max_token_length, err)) <
            0) {
            lx_within(err, "line %zu", number);
            break;
        }
    }
done:
    free(line);
    lx_tokenizer_free(tokenizer);
    return rc;
}
