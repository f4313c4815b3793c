#include "cmd/run_find.h"

#include <string.h>

#include "src/base/file.h"
#include "src/lora/hash.h"

static void tell_file(lx_cli *cli, const char *path, const lx_artifact_row *file,
                      const lx_run_row *run, bool is_exact)
{
    lx_message(cli, "%s is %s of ", lx_safe(cli, path), lx_safe(cli, file->name));
    if (file->step >= 0)
        lx_message(cli, "step %lld of ", (long long)file->step);
    lx_message(cli, "run %.10s%s\n", run->id, is_exact ? "" : ", with other metadata");
}

/* Newest first: the run that wrote the file, by its bytes, else by its tensors, which
 * stay when the metadata are stripped. */
static int find_file(lx_run_row *out, lx_cli *cli, lx_store *store, const char *path,
                     lx_error *err)
{
    lx_artifact_row *rows;
    lx_hash bytes, tensors;
    bool has_tensors, is_exact;
    const lx_artifact_row *found = NULL;
    char hex[LX_HASH_HEX + 1];
    size_t n;
    int rc;

    if ((rc = lx_lora_tensor_hash_if(&has_tensors, &tensors, path, err)) < 0 ||
        (rc = lx_file_hash(&bytes, path, err)) < 0 ||
        (rc = lx_query_artifacts_of(&rows, &n, store, &bytes,
                                    has_tensors ? &tensors : NULL, cli->arena, err)) < 0)
        return rc;
    lx_hash_hex(hex, has_tensors ? &tensors : &bytes);
    if (!n)
        return lx_fail(
            err, LX_ENOTFOUND,
            "%s: no run of this store wrote it (its %s have the SHA-256 %.16s...); "
            "lx inspect tells what it says of itself",
            path, has_tensors ? "tensors" : "bytes", hex);
    lx_hash_hex(hex, &bytes);
    for (size_t i = 0; i < n && !found; i++)
        found = strcmp(rows[i].object, hex) == 0 ? &rows[i] : NULL;
    is_exact = found != NULL;
    found = is_exact ? found : &rows[0];
    if ((rc = lx_query_run(out, store, found->run, cli->arena, err)) == LX_OK)
        tell_file(cli, path, found, out, is_exact);
    return rc;
}

int lx_run_find(lx_run_row *out, lx_cli *cli, lx_store *store, const char *name,
                lx_error *err)
{
    bool is_path = strchr(name, '/') || lx_ends_with(name, ".safetensors") ||
                   lx_ends_with(name, ".ckpt") || lx_ends_with(name, ".pt");
    int rc;

    rc = lx_query_find(out, store, name, cli->arena, err);
    if (rc != LX_ENOTFOUND || (!is_path && !lx_file_exists(name)))
        return rc;
    return find_file(out, cli, store, name, err);
}
