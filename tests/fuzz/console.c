#include <stdlib.h>
#include <string.h>

#include "src/import/console.h"
#include "tests/fuzz/fuzz.h"

static int check(void *context, const lx_console_event *e, lx_error *err)
{
    (void)context;
    (void)err;
    if (e->kind == LX_CONSOLE_POINT &&
        (e->step < 0 || !e->key[0] || strlen(e->key) >= LX_CONSOLE_NAME))
        abort();
    return LX_OK;
}

/* At once, and byte by byte: the pieces must not matter. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lx_console whole, pieces;
    lx_error err;

    lx_console_init(&whole, check, NULL);
    lx_console_init(&pieces, check, NULL);
    if (lx_console_feed(&whole, data, size, &err) < 0)
        abort();
    for (size_t i = 0; i < size; i++)
        if (lx_console_feed(&pieces, data + i, 1, &err) < 0)
            abort();
    if (lx_console_finish(&whole, &err) < 0 || lx_console_finish(&pieces, &err) < 0)
        abort();
    if (whole.state.step != pieces.state.step ||
        whole.state.n_bars != pieces.state.n_bars ||
        whole.state.is_finished != pieces.state.is_finished)
        abort();
    return 0;
}
