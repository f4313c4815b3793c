/* lx compare --json: all of it as one object. */
#include <math.h>
#include <string.h>

#include "cmd/compare.h"
#include "src/base/json.h"

static void add_number(cJSON *o, const char *key, double x)
{
    cJSON_AddItemToObject(o, key,
                          isfinite(x) ? cJSON_CreateNumber(x) : cJSON_CreateNull());
}

static void add_runs(cJSON *root, const lx_comparison *c)
{
    cJSON *list = cJSON_AddArrayToObject(root, "runs");

    for (size_t i = 0; i < c->n; i++) {
        const lx_compared *r = &c->runs[i];
        cJSON *o = cJSON_CreateObject(), *epochs;
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "id", r->row.id);
        cJSON_AddStringToObject(o, "name", r->row.name);
        cJSON_AddStringToObject(o, "status", r->row.status);
        cJSON_AddNumberToObject(o, "started", r->row.started);
        cJSON_AddStringToObject(o, "spec", r->row.spec);
        cJSON_AddStringToObject(o, "curve", r->curve);
        for (size_t k = 0; k < c->n_results; k++)
            add_number(o, c->results[k].name, c->results[k].values[i]);
        if (r->best_epoch)
            cJSON_AddNumberToObject(o, "best_epoch", (double)r->best_epoch);
        epochs = cJSON_AddArrayToObject(o, "epoch_means");
        for (size_t e = 0; e < r->n_epochs; e++)
            cJSON_AddItemToArray(epochs, isfinite(r->epoch_means[e])
                                             ? cJSON_CreateNumber(r->epoch_means[e])
                                             : cJSON_CreateNull());
    }
}

/* {"network_dim": ["4", "8"], ...}: by run, null where a run does not say. */
static void add_facts(cJSON *root, const lx_comparison *c, const char *name,
                      const lx_compare_facts *facts)
{
    cJSON *o = cJSON_AddObjectToObject(root, name);

    for (size_t k = 0; k < facts->count; k++) {
        const lx_compare_fact *f = &facts->items[k];
        cJSON *list = cJSON_AddArrayToObject(o, f->name);
        for (size_t i = 0; i < c->n; i++)
            cJSON_AddItemToArray(list, !f->texts[i] ? cJSON_CreateNull()
                                       : isfinite(f->numbers[i])
                                           ? cJSON_CreateNumber(f->numbers[i])
                                           : cJSON_CreateString(f->texts[i]));
    }
}

static void add_words(cJSON *o, const char *key, const char *const *words, size_t n)
{
    cJSON *list = cJSON_AddArrayToObject(o, key);
    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(words[i]));
}

static void add_image(cJSON *o, const char *key, const lx_data_image *image)
{
    cJSON *i;
    if (!image)
        return;
    i = cJSON_AddObjectToObject(o, key);
    cJSON_AddStringToObject(i, "folder", image->folder);
    cJSON_AddStringToObject(i, "name", image->name);
    cJSON_AddStringToObject(i, "sha256", image->hash);
}

static int add_change(cJSON *list, lx_comparison *c, const lx_data_change *change,
                      lx_error *err)
{
    static const char *const kinds[] = {"added", "removed", "moved",
                                        "bytes", "latents", "caption"};
    cJSON *o = cJSON_CreateObject();
    const char *a, *b;
    lx_tag_changes t;
    int rc;

    cJSON_AddItemToArray(list, o);
    cJSON_AddStringToObject(o, "kind", kinds[change->kind]);
    add_image(o, "a", change->a);
    add_image(o, "b", change->b);
    if (change->kind != LX_DATA_CAPTION)
        return LX_OK;
    if ((rc = lx_compare_caption(&a, c, change->a->caption, err)) < 0 ||
        (rc = lx_compare_caption(&b, c, change->b->caption, err)) < 0 ||
        (rc = lx_compare_tags(&t, a, b, c->arena, err)) < 0)
        return rc;
    add_words(o, "tags_added", t.added, t.n_added);
    add_words(o, "tags_removed", t.removed, t.n_removed);
    cJSON_AddBoolToObject(o, "is_reordered", t.is_reordered);
    return LX_OK;
}

static void add_interval(cJSON *o, const char *key, const lx_interval *i)
{
    cJSON *x = cJSON_AddObjectToObject(o, key);
    add_number(x, "mean", i->mean);
    add_number(x, "low", i->low);
    add_number(x, "high", i->high);
    add_number(x, "standard_error", i->se);
    cJSON_AddNumberToObject(x, "block", (double)i->block);
    cJSON_AddNumberToObject(x, "n", (double)i->n);
}

static void add_difference(cJSON *o, const char *key, const lx_loss_difference *d)
{
    cJSON *x;
    if (!d->n)
        return;
    x = cJSON_AddObjectToObject(o, key);
    cJSON_AddBoolToObject(x, "is_paired", d->is_paired);
    cJSON_AddNumberToObject(x, "first", d->first);
    cJSON_AddNumberToObject(x, "last", d->last);
    add_number(x, "a", d->a);
    add_number(x, "b", d->b);
    add_interval(x, "difference", &d->difference);
    if (d->is_paired && d->is_estimated)
        add_number(x, "correlation", d->correlation);
}

static int add_pairs(cJSON *root, lx_comparison *c, lx_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(root, "pairs");
    int rc = LX_OK;

    for (size_t k = 1; k < c->n && rc == LX_OK; k++) {
        const lx_compare_pair *p = &c->pairs[k];
        cJSON *o = cJSON_CreateObject(), *data, *changes, *code;
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "a", c->runs[0].row.id);
        cJSON_AddStringToObject(o, "b", c->runs[k].row.id);
        if (p->has_data) {
            data = cJSON_AddObjectToObject(o, "data");
            cJSON_AddNumberToObject(data, "images_same", (double)p->data.n_same);
            changes = cJSON_AddArrayToObject(data, "changes");
            for (size_t i = 0; i < p->data.count && rc == LX_OK; i++)
                rc = add_change(changes, c, &p->data.items[i], err);
        }
        code = cJSON_AddArrayToObject(o, "code");
        for (size_t i = 0; i < p->n_code; i++) {
            const char side[2] = {p->code[i].side, '\0'};
            cJSON *file = cJSON_CreateObject();
            cJSON_AddItemToArray(code, file);
            cJSON_AddStringToObject(file, "file", p->code[i].file);
            cJSON_AddStringToObject(file, "changed_in", *side == '*' ? "both" : side);
        }
        if (p->n_validated) {
            cJSON *v = cJSON_AddObjectToObject(o, "validation");
            add_number(v, "difference", p->validation.value);
            add_number(v, "low", p->validation.low);
            add_number(v, "high", p->validation.high);
            cJSON_AddNumberToObject(v, "images", (double)p->n_validated);
        }
        add_difference(o, "loss", &p->loss);
        add_difference(o, "loss_by_images", &p->by_images);
    }
    return rc;
}

static void add_ranks(cJSON *root, const lx_comparison *c)
{
    cJSON *list = cJSON_AddArrayToObject(root, "rank_correlations");

    for (size_t i = 0; i < c->n_ranks; i++) {
        const lx_compare_rank *r = &c->ranks[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "flag", r->flag);
        cJSON_AddStringToObject(o, "result", r->result);
        add_number(o, "rho", r->rank.rho);
        add_number(o, "low", r->rank.low);
        add_number(o, "high", r->rank.high);
        cJSON_AddNumberToObject(o, "n", (double)r->rank.n);
    }
}

int lx_compare_tree(cJSON **out, lx_comparison *c, lx_error *err)
{
    cJSON *root = cJSON_CreateObject();
    int rc;

    *out = root;
    add_words(root, "findings", c->findings.items, c->findings.count);
    add_runs(root, c);
    add_facts(root, c, "flags", &c->flags);
    add_facts(root, c, "names_and_places", &c->places);
    add_facts(root, c, "folders", &c->folders);
    add_facts(root, c, "base_model", &c->base);
    add_facts(root, c, "code", &c->code);
    add_facts(root, c, "environment", &c->environment);
    if ((rc = add_pairs(root, c, err)) == LX_OK)
        add_ranks(root, c);
    return rc;
}

int lx_compare_json(lx_comparison *c, lx_error *err)
{
    cJSON *root;
    lx_str out = LX_STR_INIT;
    int rc = lx_compare_tree(&root, c, err);

    if (rc == LX_OK && (rc = lx_json_pretty(&out, root, err)) == LX_OK)
        lx_print(c->cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}
