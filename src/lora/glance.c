#include "src/lora/glance.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/peft_config.h"
#include "src/lora/trainer.h"
#include "src/model/kind.h"

/* All that follows from names and shapes, kept with the layout. */
typedef struct shapes {
    lx_arena *arena;
    lx_glance glance;
    const lx_tensor_view *alphas[LX_LORA_PART_COUNT]; /* the first of each part */
    const char *names[LX_LORA_PART_COUNT];            /* of its first module */
} shapes;

static void free_shapes(void *data)
{
    shapes *s = data;

    if (!s)
        return;
    lx_arena_free(s->arena);
    lx_free(s);
}

static const char *find_problem(const lx_lora_file *f, lx_arena *arena)
{
    for (size_t i = 0; i < f->n_modules; i++)
        if (f->modules[i].problem)
            return lx_arena_printf(arena, "%s: %s", f->modules[i].name,
                                   f->modules[i].problem);
    return NULL;
}

static int look(shapes *s, const lx_lora_file *f, lx_error *err)
{
    lx_glance *g = &s->glance;
    int rc = lx_lora_summarise_shapes(&g->summary, f, s->arena, err);

    if (rc < 0)
        return rc;
    g->family = f->family;
    g->n_unknown = f->n_unknown;
    g->n_embeddings = f->n_embeddings;
    g->n_problems = f->n_problems;
    g->problem = find_problem(f, s->arena);
    g->model = f->n_modules || f->is_state ? NULL : lx_model_kind(f->file);
    g->what = lx_lora_what(f, g->model, s->arena);
    for (size_t i = 0; i < f->n_modules; i++) {
        const lx_lora_entry *e = &f->modules[i];
        if (!s->names[e->part] &&
            !(s->names[e->part] = lx_arena_strdup(s->arena, e->name)))
            return lx_oom(err);
        if (!s->alphas[e->part])
            s->alphas[e->part] = e->tensors[LX_ROLE_ALPHA];
    }
    return g->what && (g->problem || !g->n_problems) ? LX_OK : lx_oom(err);
}

static int make_shapes(shapes **out, lx_tensor_file *file, lx_error *err)
{
    shapes *s = lx_calloc(1, sizeof *s);
    lx_lora_file *f = NULL;
    int rc;

    if (!s || !(s->arena = lx_arena_new())) {
        lx_free(s);
        return lx_oom(err);
    }
    if ((rc = lx_lora_file_of(&f, file, err)) == LX_OK) {
        rc = look(s, f, err);
        f->file = NULL; /* stays the caller's */
    }
    lx_lora_file_close(f);
    if (rc < 0)
        free_shapes(s);
    else
        *out = s;
    return rc;
}

/* As lora/file reads them: 0 means the rank. */
static int read_alphas(lx_glance *g, const shapes *s, const lx_tensor_file *file,
                       lx_error *err)
{
    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        lx_part_summary *part = &g->summary.parts[p];
        double alpha;
        int rc;
        if (!s->alphas[p])
            continue;
        if ((rc = lx_tensor_file_number(&alpha, file, s->alphas[p], err)) < 0)
            return rc == LX_EFORMAT || rc == LX_EUNSUPPORTED ? LX_OK : rc;
        part->alpha_min = part->alpha_max = alpha == 0 ? (double)part->rank_min : alpha;
    }
    return LX_OK;
}

/* Alphas outside the tensors (lora/peft_config): of each part's first module. */
static int read_config(lx_glance *g, const shapes *s, const lx_tensor_file *file,
                       const char *path, lx_error *err)
{
    const char *problem;
    lx_peft_config *config;
    int rc = lx_peft_config_read(&config, &problem, file, path, g->family, err);

    for (int p = 0; p < LX_LORA_PART_COUNT && config; p++) {
        lx_part_summary *part = &g->summary.parts[p];
        double alpha;
        if (!s->names[p] || s->alphas[p] ||
            !lx_peft_config_alpha(&alpha, config, s->names[p], part->rank_max))
            continue;
        part->alpha_min = part->alpha_max = alpha;
        part->n_without_alpha = 0;
    }
    lx_peft_config_free(config);
    return rc;
}

static int own_texts(lx_glance *g, lx_arena *arena)
{
    if (!(g->summary.base = lx_arena_strdup(arena, g->summary.base)) ||
        !(g->what = lx_arena_strdup(arena, g->what)) ||
        (g->problem && !(g->problem = lx_arena_strdup(arena, g->problem))))
        return LX_ENOMEM;
    return LX_OK;
}

int lx_glance_of(lx_glance *out, lx_tensor_file *file, const char *path, lx_arena *arena,
                 lx_error *err)
{
    shapes *s = lx_tensor_file_attached(file);
    bool is_kept = s != NULL;
    int rc;

    if (!s) {
        if ((rc = make_shapes(&s, file, err)) < 0)
            return rc;
        is_kept = lx_tensor_file_attach(file, s, free_shapes);
    }
    *out = s->glance;
    out->file_bytes = lx_tensor_file_size(file);
    out->trainer = lx_lora_trainer(file, out->family);
    rc = own_texts(out, arena) < 0 ? lx_oom(err) : read_alphas(out, s, file, err);
    if (rc == LX_OK)
        rc = read_config(out, s, file, path, err);
    if (!is_kept)
        free_shapes(s);
    return rc < 0 ? rc : lx_lora_summarise_metadata(&out->summary, file, arena, err);
}
