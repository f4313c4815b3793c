/* lx reproduce - files beside model and images that a training of lx reads, by the hashes in its spec */
#include <string.h>

#include "cmd/reproduce.h"
#include "cmd/train_spec.h"
#include "src/base/file.h"
#include "src/base/json.h"

/* path NULL: there is no such file now. */
static int check_file(lx_reproduction *r, const char *wanted, const char *path,
                      const char *name, lx_error *err)
{
    char hex[LX_HASH_HEX + 1];
    const char *text;
    lx_error reading = {0};
    lx_hash hash;
    int rc;

    if (!wanted || !path)
        return LX_OK;
    if ((rc = lx_file_hash(&hash, path, &reading)) == LX_ENOMEM)
        return lx_oom(err);
    if (rc == LX_OK)
        lx_hash_hex(hex, &hash);
    if (rc == LX_OK && strcmp(hex, wanted) == 0)
        return lx_reproduce_tell_same(
            r, lx_arena_printf(r->cli->arena, "%s %s (sha256 %.16s)", name, path, hex),
            err);
    text = rc < 0
               ? lx_arena_printf(r->cli->arena, "%s: %s", name, reading.text)
               : lx_arena_printf(r->cli->arena, "%s %s: sha256 %.16s, recorded was %.16s",
                                 name, path, hex, wanted);
    if (!text)
        return lx_oom(err);
    lx_reproduce_tell_change(r, text);
    return LX_OK;
}

static int check_masks(lx_reproduction *r, const char *wanted, const lx_dataset *d,
                       lx_error *err)
{
    char hex[LX_HASH_HEX + 1] = "";
    bool has_any;
    lx_hash hash;
    int rc = lx_train_spec_masks(&has_any, &hash, d, err);

    if (rc < 0)
        return rc;
    if (has_any)
        lx_hash_hex(hex, &hash);
    if (strcmp(hex, wanted) == 0)
        return lx_reproduce_tell_same(r, "masks", err);
    lx_reproduce_tell_change(r, "the masks are others");
    return LX_OK;
}

static int check_order(lx_reproduction *r, const char *wanted, const lx_dataset *d,
                       lx_error *err)
{
    char hex[LX_HASH_HEX + 1] = "";
    lx_hash hash;

    if (lx_train_spec_order(&hash, d))
        lx_hash_hex(hex, &hash);
    if (strcmp(hex, wanted) == 0)
        return lx_reproduce_tell_same(r, "order of the images", err);
    lx_reproduce_tell_change(r, "the order of folders or images is another");
    return LX_OK;
}

/* Training begins with the first step here. */
static int tell_state(lx_reproduction *r, const char *hash, lx_error *err)
{
    const char *text = lx_arena_printf(r->cli->arena,
                                       "it went on from a state of a training with other settings (sha256 %.16s), and "
                                       "would begin with the first step now",
                                       hash);

    if (!text)
        return lx_oom(err);
    lx_reproduce_tell_change(r, text);
    return LX_OK;
}

int lx_reproduce_check_files(lx_reproduction *r, const lx_dataset *d, lx_error *err)
{
    const lx_train_config *c = &r->config;
    cJSON *spec = NULL, *merged;
    const char *masks, *order, *state;
    int rc;

    if (!r->texts.spec)
        return LX_OK;
    if ((rc = lx_json_parse(&spec, r->texts.spec, strlen(r->texts.spec), err)) < 0)
        return rc;
    merged = cJSON_GetObjectItemCaseSensitive(spec, "base_weights");
    for (size_t i = 0; i < c->n_base_weights && rc == LX_OK; i++)
        rc = check_file(r, cJSON_GetStringValue(cJSON_GetArrayItem(merged, (int)i)),
                        c->base_weights[i], "base_weights", err);
    if (rc == LX_OK)
        rc = check_file(r, lx_json_text(spec, "network_weights"), c->network_weights,
                        "network_weights", err);
    if (rc == LX_OK && (state = lx_json_text(spec, "resumed")))
        rc = tell_state(r, state, err);
    if (rc == LX_OK && d && (masks = lx_json_text(spec, "masks")))
        rc = check_masks(r, masks, d, err);
    if (rc == LX_OK && d && (order = lx_json_text(spec, "order")))
        rc = check_order(r, order, d, err);
    cJSON_Delete(spec);
    return rc;
}
