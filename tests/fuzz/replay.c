/* Runs an entry point over files and folders, and over damaged copies of the small ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "tests/fuzz/fuzz.h"

enum { LARGEST = 1 << 22, DAMAGED = 1 << 14, ROUNDS = 150 };

static size_t n_inputs;

/* A copy of exactly n bytes, so that a sanitizer sees a read past the end. */
static void run(const char *bytes, size_t n)
{
    uint8_t *copy = lx_alloc(n);
    if (!copy)
        abort();
    if (n)
        memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    lx_free(copy);
    n_inputs++;
}

static void run_damaged(const char *name, lx_str *text)
{
    lx_rng rng = lx_rng_stream(lx_hash_name(name), LX_RNG_TEST, 0, 0);

    for (int i = 0; i < ROUNDS && text->len; i++) {
        size_t at = lx_rng_below(&rng, text->len);
        char old = text->data[at];
        text->data[at] = (char)(i % 3 ? lx_rng_u32(&rng) : (uint32_t)old ^ 1u << (i % 8));
        run(text->data, text->len);
        text->data[at] = old;
        run(text->data, lx_rng_below(&rng, text->len));
    }
}

static void replay(const char *path)
{
    char inner[4096];
    lx_dir dir;
    lx_str text;

    if (lx_file_is_dir(path)) {
        if (lx_dir_list(&dir, path, NULL) < 0)
            return;
        for (size_t i = 0; i < dir.count; i++) {
            snprintf(inner, sizeof inner, "%s/%s", path, dir.names[i]);
            replay(inner);
        }
        lx_dir_free(&dir);
        return;
    }
    if (lx_file_read(&text, path, LARGEST, NULL) < 0)
        return;
    run(text.data, text.len);
    if (text.len <= DAMAGED)
        run_damaged(lx_path_base(path), &text);
    lx_str_release(&text);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%zu inputs\n", n_inputs);
    return n_inputs ? 0 : 1;
}
