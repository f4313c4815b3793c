/* A LoRA as a file in the kohya dialect. */
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/sha256.h"
#include "src/base/str.h"
#include "src/format/torch_write.h"
#include "src/lora/lora.h"

/* Bytes of n values of a whole-byte dtype. */
static size_t bytes_of(lx_dtype dtype, size_t n)
{
    return n * (size_t)lx_dtype_bits(dtype) / 8;
}

static void describe(lx_tensor_view *view, const lx_lora_module *module, int factor,
                     lx_dtype dtype, void *data)
{
    *view = (lx_tensor_view){
        .name = module->factors[factor].name, .dtype = dtype, .n_elements = 1};
    view->n_dims = lx_lora_file_shape(view->shape, module, factor);
    for (int i = 0; i < view->n_dims; i++)
        view->n_elements *= (size_t)view->shape[i];
    view->data = data;
    view->bytes = bytes_of(dtype, view->n_elements);
}

static int describe_alpha(lx_tensor_view *view, lx_lora_tensors *tensors,
                          const lx_lora_module *module, lx_dtype dtype, lx_error *err)
{
    const int64_t whole = dtype == LX_I64 ? (int64_t)module->alpha : 0;
    void *data = lx_arena_alloc(tensors->arena, sizeof(whole));
    int rc = 0;

    *view = (lx_tensor_view){
        .name = lx_arena_printf(tensors->arena, "%s.alpha", module->name),
        .dtype = dtype,
        .n_elements = 1,
        .data = data,
        .bytes = bytes_of(dtype, 1),
    };
    if (!data || !view->name)
        return lx_oom(err);
    if (dtype == LX_I64)
        memcpy(data, &whole, sizeof(whole));
    else
        rc = lx_from_f32(data, dtype, &module->alpha, 1);
    return rc < 0 ? lx_fail(err, rc, "a LoRA cannot be saved as %s", lx_dtype_name(dtype))
                  : 0;
}

/* F32 where the host can read it is the LoRA's own memory; else one factor at a time comes from the
 * device and is narrowed. */
static bool borrows(const lx_lora *lora, lx_dtype dtype)
{
    return lora->dev->uses_host_memory && dtype == LX_F32;
}

static int fetch(char *to, float *scratch, const lx_lora *lora, size_t first, size_t n,
                 lx_dtype dtype, lx_error *err)
{
    int rc;

    if ((rc = lora->dev->download(lora->dev, scratch, lora->values + first,
                                  n * sizeof(float), err)) < 0 ||
        (rc = lora->dev->sync(lora->dev, err)) < 0)
        return rc;
    rc = lx_from_f32(to, dtype, scratch, n);
    return rc < 0 ? lx_fail(err, rc, "a LoRA cannot be saved as %s", lx_dtype_name(dtype))
                  : LX_OK;
}

static size_t values_of(const lx_param *param)
{
    size_t n = 1;

    for (int i = 0; i < param->n_dims; i++)
        n *= (size_t)param->shape[i];
    return n;
}

static size_t largest_factor(const lx_lora *lora)
{
    size_t most = 0;

    for (size_t i = 0; i < lora->n_params; i++) {
        const size_t n = values_of(lora->params[i]);
        most = n > most ? n : most;
    }
    return most;
}

static int describe_all(lx_lora_tensors *tensors, float *scratch, const lx_lora *lora,
                        lx_dtype dtype, lx_dtype alpha_dtype, lx_error *err)
{
    char *at = tensors->data;
    size_t n = 0;
    int rc;

    for (size_t i = 0; i < lora->count; i++) {
        const lx_lora_module *m = &lora->modules[i];

        for (int k = 0; k < m->n_factors; k++) {
            lx_tensor_view *view = &tensors->views[tensors->count++];

            describe(view, m, k, dtype, at ? at : (void *)(lora->values + n));
            if (at &&
                (rc = fetch(at, scratch, lora, n, view->n_elements, dtype, err)) < 0)
                return rc;
            n += view->n_elements;
            at = at ? at + view->bytes : NULL;
        }
        if ((rc = describe_alpha(&tensors->views[tensors->count++], tensors, m,
                                 m->is_alpha_whole ? alpha_dtype : dtype, err)) < 0)
            return rc;
    }
    return 0;
}

int lx_lora_tensors_new(lx_lora_tensors **out, const lx_lora *lora, lx_dtype dtype,
                        bool has_integer_alpha, lx_error *err)
{
    lx_lora_tensors *tensors = lx_calloc(1, sizeof(*tensors));
    const bool is_copied = !borrows(lora, dtype);
    float *scratch = lx_alloc(is_copied ? largest_factor(lora) * sizeof(float) : 1);
    int rc;

    *out = NULL;
    if (!tensors || !scratch || !(tensors->arena = lx_arena_new()) ||
        !(tensors->views =
              lx_calloc(lora->n_params + lora->count + 1, sizeof(*tensors->views))) ||
        (is_copied && !(tensors->data = lx_alloc(bytes_of(dtype, lora->n_values) + 1)))) {
        rc = lx_oom(err);
        goto done;
    }
    if ((rc = describe_all(tensors, scratch, lora, dtype,
                           has_integer_alpha ? LX_I64 : dtype, err)) < 0)
        goto done;
    *out = tensors;
    tensors = NULL;
done:
    lx_lora_tensors_free(tensors);
    lx_free(scratch);
    return rc;
}

void lx_lora_tensors_free(lx_lora_tensors *tensors)
{
    if (!tensors)
        return;
    lx_free(tensors->views);
    lx_free(tensors->data);
    lx_arena_free(tensors->arena);
    lx_free(tensors);
}

/* ---- hashes ----------------------------------------------------------------------- */

/* Bytes of the file that the peer's old hash is of: the rule of the first web UIs. */
enum { LEGACY_BEGIN = 0x100000, LEGACY_END = 0x110000 };

typedef struct hashing {
    lx_sha256 data, legacy;
    size_t header_bytes, offset;
} hashing;

/* The part of [offset, offset + n) in [begin, end) goes to the hash. */
static void hash_range(lx_sha256 *hash, const char *bytes, size_t offset, size_t n,
                       size_t begin, size_t end)
{
    size_t from = offset > begin ? offset : begin;
    size_t to = offset + n < end ? offset + n : end;

    if (from < to)
        lx_sha256_update(hash, bytes + (from - offset), to - from);
}

static int hash_legacy(void *context, const void *data, size_t n, lx_error *err)
{
    hashing *h = context;

    (void)err;
    hash_range(&h->legacy, data, h->offset, n, LEGACY_BEGIN, LEGACY_END);
    h->offset += n;
    return 0;
}

static int hash_both(void *context, const void *data, size_t n, lx_error *err)
{
    hashing *h = context;

    hash_range(&h->data, data, h->offset, n, h->header_bytes, SIZE_MAX);
    return hash_legacy(h, data, n, err);
}

/* The file as the hashes see it: with the entries of the training alone. */
static int hash_file(hashing *h, lx_write_bytes write, const lx_tensor_view *tensors,
                     size_t n_tensors, const lx_metadata_entry *metadata,
                     size_t n_metadata, lx_error *err)
{
    lx_metadata_entry *training = lx_alloc((n_metadata + 1) * sizeof(*training));
    size_t n = 0;
    int rc;

    if (!training)
        return lx_oom(err);
    for (size_t i = 0; i < n_metadata; i++)
        if (lx_starts_with(metadata[i].key, "ss_"))
            training[n++] = metadata[i];
    *h = (hashing){.offset = 0};
    lx_sha256_init(&h->data);
    lx_sha256_init(&h->legacy);
    rc = lx_safetensors_stream(write, h, &h->header_bytes, tensors, n_tensors, training,
                               n, err);
    lx_free(training);
    return rc;
}

static void put_legacy(char out[9], hashing *h)
{
    char hex[LX_HASH_HEX + 1];
    const lx_hash hash = lx_sha256_final(&h->legacy);

    lx_hash_hex(hex, &hash);
    memcpy(out, hex, 8);
    out[8] = 0;
}

int lx_lora_hashes(char model_hash[65], char legacy_hash[9],
                   const lx_lora_tensors *tensors, const lx_metadata_entry *metadata,
                   size_t n_metadata, lx_error *err)
{
    hashing h;
    lx_hash hash;
    int rc = hash_file(&h, hash_both, tensors->views, tensors->count, metadata,
                       n_metadata, err);

    if (rc < 0)
        return rc;
    hash = lx_sha256_final(&h.data);
    lx_hash_hex(model_hash, &hash);
    put_legacy(legacy_hash, &h);
    return 0;
}

int lx_lora_legacy_hash(char legacy_hash[9], const lx_tensor_view *tensors,
                        size_t n_tensors, const lx_metadata_entry *metadata,
                        size_t n_metadata, lx_error *err)
{
    hashing h;
    int rc = hash_file(&h, hash_legacy, tensors, n_tensors, metadata, n_metadata, err);

    if (rc == 0)
        put_legacy(legacy_hash, &h);
    return rc;
}

/* ---- file ------------------------------------------------------------------------- */

int lx_lora_save(const char *path, const lx_lora *lora, lx_dtype dtype,
                 bool has_integer_alpha, const lx_metadata_entry *metadata,
                 size_t n_metadata, lx_error *err)
{
    lx_lora_tensors *tensors = NULL;
    lx_metadata_entry *all = lx_alloc((n_metadata + 2) * sizeof(*all));
    char model_hash[65], legacy_hash[9];
    int rc;

    if (!all)
        return lx_oom(err);
    if ((rc = lx_lora_tensors_new(&tensors, lora, dtype, has_integer_alpha, err)) < 0)
        goto done;
    if (n_metadata > 0) {
        memcpy(all, metadata, n_metadata * sizeof(*all));
        if ((rc = lx_lora_hashes(model_hash, legacy_hash, tensors, metadata, n_metadata,
                                 err)) < 0)
            goto done;
        all[n_metadata++] = (lx_metadata_entry){"sshs_model_hash", model_hash};
        all[n_metadata++] = (lx_metadata_entry){"sshs_legacy_hash", legacy_hash};
    }
    rc = lx_safetensors_write(path, tensors->views, tensors->count, all, n_metadata, err);
done:
    lx_lora_tensors_free(tensors);
    lx_free(all);
    return rc;
}

int lx_lora_save_torch(const char *path, const lx_lora *lora, lx_dtype dtype,
                       bool has_integer_alpha, lx_error *err)
{
    lx_lora_tensors *tensors;
    int rc = lx_lora_tensors_new(&tensors, lora, dtype, has_integer_alpha, err);

    if (rc < 0)
        return rc;
    rc = lx_torch_write(path, tensors->views, tensors->count, err);
    lx_lora_tensors_free(tensors);
    return rc;
}
