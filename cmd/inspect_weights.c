#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/inspect_one.h"
#include "src/lora/base.h"
#include "src/lora/group.h"
#include "src/report/table.h"

/* ---- the file ---------------------------------------------------------------------------- */

static void line(lx_cli *cli, const char *name, const char *text)
{
    lx_inspect__line(cli, name, text ? lx_safe(cli, text) : "?");
}

/* Blocks by their part of the squared norm, the largest first. */
typedef struct block_share {
    char name[LX_GROUP_BYTES];
    double square;
    size_t n;
} block_share;

static int larger(const void *a, const void *b)
{
    const block_share *x = a, *y = b;
    if (x->square != y->square)
        return x->square < y->square ? 1 : -1;
    return strcmp(x->name, y->name);
}

static size_t collect_blocks(block_share *blocks, const lx_inspected *x)
{
    size_t n = 0, k;

    for (size_t i = 0; i < x->file->n_modules; i++) {
        const lx_module_weights *m = &x->weights.modules[i];
        char name[LX_GROUP_BYTES];
        const char *rest;
        if (!m->has_spectrum)
            continue;
        lx_lora_group(name, &rest, &x->file->modules[i]);
        if (!*name)
            snprintf(name, sizeof name, "%s",
                     lx_lora_part_label(x->file->modules[i].part, x->summary.base));
        for (k = 0; k < n && strcmp(blocks[k].name, name) != 0; k++)
            ;
        if (k == n)
            blocks[n++] = (block_share){.square = 0};
        memcpy(blocks[k].name, name, sizeof name);
        blocks[k].square += m->frobenius * m->frobenius;
        blocks[k].n++;
    }
    qsort(blocks, n, sizeof *blocks, larger);
    return n;
}

static void show_blocks(lx_cli *cli, const lx_inspected *x)
{
    enum { MOST = 6 };
    block_share *blocks = lx_arena_calloc(cli->arena, x->file->n_modules, sizeof *blocks);
    const double all = x->weights.frobenius * x->weights.frobenius;
    size_t n;

    if (!blocks || !(all > 0))
        return;
    n = collect_blocks(blocks, x);
    for (size_t i = 0; i < n && i < MOST; i++)
        line(cli, i ? "" : "most in",
             lx_arena_printf(cli->arena, "%4.1f %%  %s (%zu module%s)",
                             100 * blocks[i].square / all, blocks[i].name, blocks[i].n,
                             lx_plural(blocks[i].n)));
    if (n > MOST)
        line(cli, "",
             lx_arena_printf(cli->arena, "... and %zu more block%s (--tree)", n - MOST, lx_plural(n - MOST)));
}

void lx_inspect__weights(lx_cli *cli, const lx_inspected *x)
{
    const lx_lora_weights *w = &x->weights;
    lx_arena *arena = cli->arena;

    if (!w->n_spectra) {
        line(cli, "weights",
             "no module is a sum of rank-one updates with finite values: "
             "none is weighed");
        return;
    }
    line(cli, "update",
         lx_arena_printf(arena,
                         "norm %.4g over %zu module%s (UNet or transformer %.4g, text "
                         "encoders %.4g); alone "
                         "it decides nothing",
                         w->frobenius, w->n_spectra, lx_plural(w->n_spectra),
                         sqrt(fmax(0, w->frobenius * w->frobenius -
                                          w->frobenius_text * w->frobenius_text)),
                         w->frobenius_text));
    line(cli, "",
         lx_arena_printf(
             arena, "mean stable rank %.2f, mean effective rank %.2f, largest value %.3g",
             w->stable_rank, w->effective_rank, w->largest));
    if (w->scale_min == w->scale_max)
        line(cli, "scale", lx_arena_printf(arena, "alpha / rank = %.4g", w->scale_min));
    else
        line(cli, "scale",
             lx_arena_printf(arena, "alpha / rank = %.4g..%.4g", w->scale_min,
                             w->scale_max));
    if (w->frobenius_unet > 0)
        line(cli, "text path",
             lx_arena_printf(arena,
                             "%.1f %% of the UNet's update is in what reads the text "
                             "(attn2 to_k, to_v)",
                             100 * lx_text_path_share(w)));
    line(cli, "started from",
         lx_arena_printf(arena, "the spread of `down` fits %s",
                         lx_init_law_name(w->init)));
    if (w->n_dead)
        line(cli, "dead", lx_arena_printf(arena, "%zu module%s nothing", w->n_dead,
                                          w->n_dead == 1 ? " adds" : "s add"));
    if (w->share_subnormal > 0.01)
        line(cli, "precision",
             lx_arena_printf(
                 arena,
                 "%.1f %% of the F16 values are too small for their full precision",
                 100 * w->share_subnormal));
    show_blocks(cli, x);
}

/* ---- the modules ------------------------------------------------------------------------- */

enum { N_PLAIN = 6, N_WEIGHED = 10 };

static const lx_table_column columns[N_WEIGHED] = {
    {"module", false, true},   {"kind", false, false},   {"rank", true, false},
    {"alpha", true, false},    {"out", true, false},     {"in", true, false},
    {"norm", true, false},     {"largest", true, false}, {"stable", true, false},
    {"effective", true, false}};

/* 0 is "not known" */
static const char *number(lx_arena *arena, double value)
{
    return value != 0 ? lx_arena_printf(arena, "%.4g", value) : NULL;
}

static void fill_row(const char **cells, const lx_inspected *x, size_t i,
                     const char *rest, bool is_weighed, lx_arena *arena)
{
    const lx_lora_entry *e = &x->file->modules[i];

    cells[0] = lx_arena_printf(arena, "    %s%s", rest, e->problem ? " (damaged)" : "");
    cells[1] = e->has_dora
                   ? lx_arena_printf(arena, "%s, DoRA", lx_lora_kind_name(e->kind))
                   : lx_lora_kind_name(e->kind);
    cells[2] = number(arena, (double)e->rank);
    cells[3] = e->has_alpha ? lx_arena_printf(arena, "%.4g", e->alpha) : NULL;
    cells[4] = number(arena, (double)lx_lora_out_features(e));
    cells[5] = number(arena, (double)lx_lora_in_features(e));
    if (is_weighed && x->weights.modules[i].has_spectrum) {
        const lx_module_weights *m = &x->weights.modules[i];
        cells[6] = lx_arena_printf(arena, "%.4g", m->frobenius);
        cells[7] = lx_arena_printf(arena, "%.4g", m->spectral);
        cells[8] = lx_arena_printf(arena, "%.2f", m->stable_rank);
        cells[9] = lx_arena_printf(arena, "%.2f", m->effective_rank);
    }
}

/* The blocks as they come in the file, parts first; a module alone has no heading. */
static size_t fill(const char **cells, const lx_inspected *x, size_t n_columns,
                   lx_arena *arena)
{
    size_t n = 0;

    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        char last[LX_GROUP_BYTES] = "";
        if (!x->summary.parts[p].n_modules)
            continue;
        cells[n++ * n_columns] = lx_lora_part_label((lx_lora_part)p, x->summary.base);
        for (size_t i = 0; i < x->file->n_modules; i++) {
            char block[LX_GROUP_BYTES];
            const char *rest;
            if (x->file->modules[i].part != (lx_lora_part)p)
                continue;
            lx_lora_group(block, &rest, &x->file->modules[i]);
            if (*block && strcmp(block, last) != 0)
                cells[n++ * n_columns] = lx_arena_printf(arena, "  %s", block);
            memcpy(last, block, sizeof last);
            fill_row(&cells[n++ * n_columns], x, i, rest, n_columns == N_WEIGHED, arena);
        }
    }
    return n;
}

int lx_inspect__tree(lx_cli *cli, const lx_inspected *x, lx_error *err)
{
    const size_t n_columns = x->weights.modules ? N_WEIGHED : N_PLAIN;
    const size_t most = 2 * x->file->n_modules + LX_LORA_PART_COUNT;
    const char **cells = lx_arena_calloc(cli->arena, most * n_columns, sizeof *cells);
    lx_table table = {columns, n_columns, 0, cells};
    lx_str out = LX_STR_INIT;
    int rc;

    if (!cells)
        return lx_oom(err);
    table.n_rows = fill(cells, x, n_columns, cli->arena);
    for (size_t i = 0; i < table.n_rows; i++) {
        const bool is_heading = !cells[i * n_columns + 1];
        for (size_t c = 1; c < n_columns && is_heading; c++)
            cells[i * n_columns + c] = "";
    }
    if ((rc = lx_table_text(&out, &table, 0, 2, err)) == LX_OK)
        lx_print(cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}
