/* --grid AXIS=VALUES -> one picture for every combination. */
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/sample.h"
#include "src/base/alloc.h"
#include "src/base/file.h"

enum { MOST_AXES = 8, MOST_VALUES = 500, MOST_CELLS = 5000 };

typedef enum axis_kind {
    AXIS_LORA,
    AXIS_STRENGTH,
    AXIS_SEED,
    AXIS_STEPS,
    AXIS_CFG,
    AXIS_CLIP_SKIP,
    AXIS_SAMPLER,
    AXIS_PROMPT,
    AXIS_COUNT
} axis_kind;

static const char *const axis_names[AXIS_COUNT] = {
    "lora", "strength", "seed", "steps", "cfg", "clip_skip", "sampler", "prompt"};

typedef struct axis {
    axis_kind kind;
    const char **values;
    size_t n;
    const char *replaced; /* AXIS_PROMPT: what the values stand in for */
} axis;

/* ---- reading ----------------------------------------------------------------------- */

static int add_value(axis *a, const char *value, lx_error *err)
{
    if (a->n == MOST_VALUES)
        return lx_fail(err, LX_ELIMIT, "more than %d values", MOST_VALUES);
    a->values[a->n++] = value;
    return LX_OK;
}

static int by_version(const void *a, const void *b)
{
    return strverscmp(*(const char *const *)a, *(const char *const *)b);
}

/* Files of a pattern in the order people number them; "none" is the base model alone. */
static int add_files(axis *a, const char *pattern, lx_cli *cli, lx_error *err)
{
    glob_t found = {0};
    size_t first = a->n;
    int rc = LX_OK;

    if (strcmp(pattern, "none") == 0 || !strpbrk(pattern, "*?["))
        return add_value(a, pattern, err);
    if (glob(pattern, 0, NULL, &found) == GLOB_NOSPACE)
        rc = lx_oom(err);
    else if (found.gl_pathc == 0)
        rc = lx_fail(err, LX_ENOTFOUND, "no file is called %s", pattern);
    for (size_t i = 0; rc == LX_OK && i < found.gl_pathc; i++) {
        const char *path = lx_arena_strdup(cli->arena, found.gl_pathv[i]);
        rc = path ? add_value(a, path, err) : lx_oom(err);
    }
    globfree(&found);
    if (rc == LX_OK)
        qsort(a->values + first, a->n - first, sizeof *a->values, by_version);
    return rc;
}

/* "1-4" as 1, 2, 3, 4. */
static int add_range(axis *a, const char *word, lx_cli *cli, lx_error *err)
{
    char *end;
    unsigned long long from = strtoull(word, &end, 10), to;

    if (end == word || *end != '-' || !end[1])
        return add_value(a, word, err);
    to = strtoull(end + 1, &end, 10);
    if (*end || to < from || to - from >= MOST_VALUES)
        return lx_fail(err, LX_EUSAGE, "\"%s\" is no range like 1-4", word);
    for (; from <= to; from++) {
        const char *text = lx_arena_printf(cli->arena, "%llu", from);
        int rc = text ? add_value(a, text, err) : lx_oom(err);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

static int read_values(axis *a, char *text, lx_cli *cli, lx_error *err)
{
    char *word, *next;
    int rc = LX_OK;

    for (word = text; word && rc == LX_OK; word = next) {
        if ((next = strchr(word, ',')))
            *next++ = '\0';
        if (a->kind != AXIS_PROMPT)
            while (*word == ' ')
                word++;
        if (a->kind == AXIS_LORA)
            rc = add_files(a, word, cli, err);
        else if (a->kind == AXIS_SEED)
            rc = add_range(a, word, cli, err);
        else
            rc = add_value(a, word, err);
    }
    return rc;
}

static int read_axis(axis *a, const char *word, lx_cli *cli, lx_error *err)
{
    const char *equals = strchr(word, '=');
    char *values;
    int rc;

    *a = (axis){.kind = AXIS_COUNT};
    for (int k = 0; equals && k < AXIS_COUNT; k++)
        if (strlen(axis_names[k]) == (size_t)(equals - word) &&
            strncmp(axis_names[k], word, (size_t)(equals - word)) == 0)
            a->kind = (axis_kind)k;
    if (a->kind == AXIS_COUNT)
        return lx_fail(err, LX_EUSAGE,
                       "there are the axes lora=, strength=, seed=, steps=, cfg=, "
                       "clip_skip=, sampler= and prompt=");
    if (!(values = lx_arena_strdup(cli->arena, equals + 1)) ||
        !(a->values = lx_arena_calloc(cli->arena, MOST_VALUES, sizeof *a->values)))
        return lx_oom(err);
    if ((rc = read_values(a, values, cli, err)) < 0)
        return rc;
    if (a->kind == AXIS_PROMPT) {
        if (a->n < 2 || !*a->values[0])
            return lx_fail(err, LX_EUSAGE,
                           "prompt=OLD,NEW,...: OLD is looked for in the prompt and "
                           "replaced by each");
        a->replaced = a->values[0];
    }
    return LX_OK;
}

/* ---- one value --------------------------------------------------------------------- */

static int whole_value(int64_t *out, const char *value, int64_t least, int64_t most,
                       lx_error *err)
{
    int rc = lx_parse_int(out, value, err);

    if (rc < 0)
        return rc;
    return *out >= least && *out <= most
               ? LX_OK
               : lx_fail(err, LX_EUSAGE, "%s: %lld to %lld are possible", value,
                         (long long)least, (long long)most);
}

static int replace(lx_picture *p, const axis *a, const char *value, lx_cli *cli,
                   lx_error *err)
{
    lx_str out = LX_STR_INIT;
    const char *s = p->prompt, *found;
    int rc;

    if (!strstr(s, a->replaced))
        return lx_fail(err, LX_EUSAGE, "\"%s\" is not in the prompt", a->replaced);
    for (; (found = strstr(s, a->replaced)); s = found + strlen(a->replaced)) {
        lx_str_append(&out, s, (size_t)(found - s));
        lx_str_puts(&out, value);
    }
    lx_str_puts(&out, s);
    if ((rc = lx_str_check(&out, err)) == LX_OK &&
        !(p->prompt = lx_arena_strdup(cli->arena, lx_str_text(&out))))
        rc = lx_oom(err);
    lx_str_release(&out);
    return rc;
}

/* What an axis changes beside the settings: the LoRA of a column and its strength. */
typedef struct extra {
    lx_lora_use lora;
    bool has_lora, has_strength;
    double strength;
} extra;

static int apply_value(lx_picture *p, extra *x, const axis *a, const char *value,
                       const lx_sample_args *args, lx_cli *cli, lx_error *err)
{
    int64_t whole;
    int rc = LX_OK;

    switch (a->kind) {
    case AXIS_LORA:
        x->has_lora = strcmp(value, "none") != 0;
        x->lora = (lx_lora_use){.name = value, .text_encoder = 1, .unet = 1};
        return x->has_lora
                   ? lx_lora_locate(&x->lora.path, cli->arena, value, args->lora_dir, err)
                   : LX_OK;
    case AXIS_STRENGTH:
        x->has_strength = true;
        return lx_parse_number(&x->strength, value, err);
    case AXIS_SEED:
        if ((rc = whole_value(&whole, value, 0, INT64_MAX, err)) == LX_OK)
            p->seed = (uint64_t)whole;
        return rc;
    case AXIS_STEPS:
        if ((rc = whole_value(&whole, value, 1, LX_MAX_STEPS - 1, err)) == LX_OK)
            p->settings.steps = (int)whole;
        return rc;
    case AXIS_CFG:
        return lx_parse_number(&p->settings.cfg, value, err);
    case AXIS_CLIP_SKIP:
        if ((rc = whole_value(&whole, value, 1, 64, err)) == LX_OK)
            p->settings.clip_skip = (int)whole;
        return rc;
    case AXIS_SAMPLER:
        return lx_sampler_find(&p->settings.sampler, value, p->settings.is_peer, err);
    case AXIS_PROMPT:
        return replace(p, a, value, cli, err);
    case AXIS_COUNT:
        break;
    }
    return rc;
}

static const char *label_of(const axis *a, const char *value, lx_cli *cli)
{
    char text[96];

    if (a->kind == AXIS_LORA) {
        const char *base = lx_path_base(value);
        size_t n = strlen(base) - strlen(lx_path_ext(base));
        return lx_arena_strndup(cli->arena, base, n ? n : strlen(base));
    }
    if (a->kind == AXIS_SAMPLER || a->kind == AXIS_PROMPT)
        return value;
    snprintf(text, sizeof text, "%s %.60s", axis_names[a->kind], value);
    return lx_arena_strdup(cli->arena, text);
}

/* ---- all of them ------------------------------------------------------------------- */

/* The labels of the rows: every combination of the axes after the first. */
static int label_rows(lx_sample_plan *plan, const axis *axes, size_t n_axes, lx_cli *cli,
                      lx_error *err)
{
    plan->rows = lx_arena_calloc(cli->arena, (size_t)plan->n_rows, sizeof *plan->rows);
    if (!plan->rows)
        return lx_oom(err);
    for (int row = 0; row < plan->n_rows; row++) {
        size_t rest = (size_t)row;
        const char *text = "";
        for (size_t k = n_axes; k-- > 1;) {
            const char *label = label_of(&axes[k], axes[k].values[rest % axes[k].n], cli);
            rest /= axes[k].n;
            text = lx_arena_printf(cli->arena, "%s%s%s", label ? label : "?",
                                   *text ? ", " : "", text);
            if (!text)
                return lx_oom(err);
        }
        plan->rows[row] = text;
    }
    return LX_OK;
}

static int make_cell(lx_picture *p, const axis *axes, size_t n_axes,
                     const lx_sample_args *args, lx_cli *cli, lx_error *err)
{
    extra x = {0};
    size_t rest = (size_t)p->row;
    int rc = apply_value(p, &x, &axes[0], axes[0].values[p->column], args, cli, err);

    for (size_t k = n_axes; k-- > 1 && rc == LX_OK;) {
        rc = apply_value(p, &x, &axes[k], axes[k].values[rest % axes[k].n], args, cli,
                         err);
        rest /= axes[k].n;
    }
    if (rc == LX_OK && x.has_strength && x.has_lora)
        x.lora.text_encoder = x.lora.unet = x.strength;
    if (rc < 0 ||
        (rc = lx_picture_read_prompt(p, args, cli, &x.lora, x.has_lora ? 1 : 0, err)) < 0)
        return rc;
    if (!x.has_strength || x.has_lora)
        return lx_sample_check(&p->settings, err);
    p->has_other_loras = true;
    for (size_t i = 0; i < p->n_loras; i++)
        p->loras[i].text_encoder = p->loras[i].unet = x.strength;
    return lx_sample_check(&p->settings, err);
}

static int check_strength(const axis *axes, size_t n_axes, const lx_picture *base,
                          const lx_sample_args *args, lx_error *err)
{
    bool has_strength = false,
         has_lora = args->loras.count > 0 || strstr(base->prompt, "<lora:");

    for (size_t i = 0; i < n_axes; i++) {
        has_strength |= axes[i].kind == AXIS_STRENGTH;
        has_lora |= axes[i].kind == AXIS_LORA;
        for (size_t k = 0; k < i; k++)
            if (axes[k].kind == axes[i].kind && axes[i].kind != AXIS_PROMPT)
                return lx_fail(err, LX_EUSAGE, "--grid %s= is given twice",
                               axis_names[axes[i].kind]);
    }
    return has_strength && !has_lora
               ? lx_fail(err, LX_EUSAGE,
                         "--grid strength= needs a LoRA: --grid lora=, --lora or "
                         "<lora:NAME:1> in the prompt")
               : LX_OK;
}

int lx_sample_grid_spread(lx_sample_plan *plan, const lx_picture *base,
                          const lx_sample_args *args, lx_cli *cli, lx_error *err)
{
    axis axes[MOST_AXES];
    size_t n_axes = args->grids.count, n_rows = 1;
    int rc;

    if (n_axes > MOST_AXES)
        return lx_fail(err, LX_EUSAGE, "more than %d axes", MOST_AXES);
    for (size_t i = 0; i < n_axes; i++) {
        if ((rc = read_axis(&axes[i], args->grids.items[i], cli, err)) < 0) {
            lx_within(err, "--grid %s", args->grids.items[i]);
            return rc;
        }
        n_rows *= i ? axes[i].n : 1;
        if (n_rows * axes[0].n > MOST_CELLS)
            return lx_fail(err, LX_ELIMIT, "the grid has more than %d pictures",
                           MOST_CELLS);
    }
    if ((rc = check_strength(axes, n_axes, base, args, err)) < 0)
        return rc;
    plan->n_columns = (int)axes[0].n;
    plan->n_rows = (int)n_rows;
    plan->pictures = lx_calloc(n_rows * axes[0].n + 1, sizeof *plan->pictures);
    plan->columns = lx_arena_calloc(cli->arena, axes[0].n, sizeof *plan->columns);
    if (!plan->pictures || !plan->columns)
        return lx_oom(err);
    for (int c = 0; c < plan->n_columns; c++)
        if (!(plan->columns[c] = label_of(&axes[0], axes[0].values[c], cli)))
            return lx_oom(err);
    if ((rc = label_rows(plan, axes, n_axes, cli, err)) < 0)
        return rc;
    for (int row = 0; row < plan->n_rows; row++)
        for (int c = 0; c < plan->n_columns; c++) {
            lx_picture *p = &plan->pictures[plan->n++];
            *p = *base;
            p->column = c;
            p->row = row;
            if ((rc = make_cell(p, axes, n_axes, args, cli, err)) < 0) {
                lx_within(err, "--grid, column %d, row %d", c + 1, row + 1);
                return rc;
            }
        }
    return LX_OK;
}
