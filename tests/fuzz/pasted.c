/* A pasted command line: as one word, and as the words that line breaks make of it. */
#include <stdlib.h>
#include <string.h>

#include "cmd/pasted.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 64 };

static void read_words(int argc, char **argv, lx_arena *arena)
{
    lx_words out = {0}, dropped = {0};
    lx_error err = {0};

    if (lx_pasted_flags(&out, &dropped, argc, argv, arena, &err) < 0) {
        if (err.code >= 0 || !err.text[0])
            abort();
        return;
    }
    for (size_t i = 0; i < out.count; i++)
        if (!out.items[i])
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lx_arena *arena = lx_arena_new();
    char *whole, *words[MOST], *rest;
    int n = 0;

    if (!arena || !(whole = lx_arena_strndup(arena, (const char *)data, size)) ||
        !(rest = lx_arena_strdup(arena, whole)))
        abort();
    read_words(1, &whole, arena);
    for (char *word = strtok(rest, "\n"); word && n < MOST; word = strtok(NULL, "\n"))
        words[n++] = word;
    read_words(n, words, arena);
    lx_arena_free(arena);
    return 0;
}
