#include "src/verify/evidence.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* In the arena: a ledger is small, and its old arrays go with the command. */
static int make_room(lx_ledger *l, lx_error *err)
{
    size_t capacity = l->capacity ? 2 * l->capacity : 64;
    lx_evidence *rows;

    if (l->count < l->capacity)
        return LX_OK;
    if (!(rows = lx_arena_calloc(l->arena, capacity, sizeof *rows)))
        return lx_oom(err);
    if (l->count)
        memcpy(rows, l->rows, l->count * sizeof *rows);
    l->rows = rows;
    l->capacity = capacity;
    return LX_OK;
}

lx_evidence *lx_ledger_add(lx_ledger *l, const char *id, const char *question,
                           lx_standing standing, int *rc, lx_error *err, const char *fmt,
                           ...)
{
    char text[1024];
    lx_evidence *row;
    va_list args;

    if ((*rc = make_room(l, err)) < 0)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    row = &l->rows[l->count];
    *row = (lx_evidence){.id = id,
                         .question = question,
                         .standing = standing,
                         .estimate = {NAN, NAN, NAN},
                         .p = NAN,
                         .adjusted = NAN,
                         .noise_share = NAN,
                         .text = lx_arena_strdup(l->arena, text)};
    if (!row->text) {
        *rc = lx_oom(err);
        return NULL;
    }
    l->count++;
    return row;
}

const lx_evidence *lx_ledger_find(const lx_ledger *l, const char *id)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->rows[i].id, id) == 0)
            return &l->rows[i];
    return NULL;
}

const char *lx_standing_name(lx_standing standing)
{
    static const char *const names[] = {[LX_PROVES] = "proves",
                                        [LX_SUGGESTS] = "suggests",
                                        [LX_SILENT] = "silent",
                                        [LX_MEASURED] = "measured"};
    return names[standing];
}
