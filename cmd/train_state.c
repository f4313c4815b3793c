#include "cmd/train_state.h"

#include <string.h>

#include "src/base/file.h"

typedef struct search {
    lx_arena *arena;
    const char *run_id, *spec;
    const char *found; /* NULL = none yet */
    int64_t step;
} search;

/* The state furthest on that is of the run, or of one with its spec. */
static int consider(search *s, const char *path, lx_error *err)
{
    lx_state_facts facts;
    int rc = lx_state_read(&facts, path, s->arena, NULL);

    if (rc < 0 || (strcmp(facts.run_id, s->run_id) != 0 &&
                   (!*s->spec || strcmp(facts.spec_hash, s->spec) != 0)))
        return rc == LX_ENOMEM ? lx_oom(err) : LX_OK; /* not ours, or unfit */
    if (!s->found || facts.step > s->step) {
        s->found = path;
        s->step = facts.step;
    }
    return LX_OK;
}

int lx_train_state_find(const char **out, const char *folder, const char *name,
                        const char *run_id, const char *spec, lx_arena *arena,
                        lx_error *err)
{
    search s = {.arena = arena, .run_id = run_id, .spec = spec};
    lx_dir dir = {0};
    int rc;

    folder = folder && *folder ? folder : ".";
    name = name ? name : "";
    rc = lx_dir_list(&dir, folder, err);
    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        const char *entry = dir.names[i], *path;

        if (!lx_starts_with(entry, name) ||
            !(lx_ends_with(entry, "-state") || lx_ends_with(entry, "-autosave")))
            continue;
        path = lx_arena_printf(arena, "%s/%s", folder, entry);
        rc = path ? consider(&s, path, err) : lx_oom(err);
    }
    lx_dir_free(&dir);
    *out = s.found;
    return rc;
}
