/*
 * The weights on devices. A device that computes in the host's memory has them when the parameter is made, as the mapped
 * file or as a copy; one with memory of its own reads them when it needs them (lx_weight_source).
 */
#include <stddef.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/model/checkpoint_internal.h"

enum { CHUNK = 1 << 18 }; /* elements converted at a time: 1 MiB of f32 stays in the cache */

static int no_numbers(const lx_tensor_view *view, int code, lx_error *err)
{
    return lx_fail(err, code, "weights of type %s cannot be read as numbers",
                   lx_dtype_name(view->dtype));
}

/* `count` elements from `data`. Converts piece by piece, so that a weight is never held twice on the host. */
static int upload_f32(lx_device *dev, float *dst, const lx_tensor_view *view, const char *data,
                      size_t count, lx_error *err)
{
    size_t item = (size_t)lx_dtype_bits(view->dtype) / 8;
    float *chunk = lx_alloc_aligned((count < CHUNK ? count : CHUNK) * sizeof(float));
    int rc = 0;

    if (!chunk)
        return lx_oom(err);
    for (size_t done = 0; done < count && rc == 0; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;

        if ((rc = lx_to_f32(chunk, data + done * item, view->dtype, n)) < 0)
            no_numbers(view, rc, err);
        else
            rc = dev->upload(dev, dst + done, chunk, n * sizeof(float), err);
    }
    lx_free_aligned(chunk);
    return rc;
}

/* An lx_weight_source's. */
static int read_weight(const lx_weight_source *source, void *dst, size_t first, size_t n,
                       lx_error *err)
{
    const lx_checkpoint_copy *copy =
        (const void *)((const char *)source - offsetof(lx_checkpoint_copy, source));
    const size_t item = (size_t)lx_dtype_bits(copy->view->dtype) / 8;
    const char *data = (const char *)copy->view->data + first * item;

    return copy->param.dtype == copy->view->dtype
               ? copy->dev->upload(copy->dev, dst, data, n * item, err)
               : upload_f32(copy->dev, dst, copy->view, data, n, err);
}

static bool can_borrow(const lx_device *dev, const lx_tensor_view *view, lx_dtype dtype)
{
    size_t item = (size_t)lx_dtype_bits(dtype) / 8;

    return dev->uses_host_memory && view->dtype == dtype && (uintptr_t)view->data % item == 0;
}

static int fill_copy(lx_checkpoint_copy *copy, lx_error *err)
{
    const lx_tensor_view *view = copy->view;
    lx_device *dev = copy->dev;
    size_t item = (size_t)lx_dtype_bits(copy->param.dtype) / 8, bytes;
    float nothing;
    int rc;

    if (!lx_mul_size(&bytes, view->n_elements, item))
        return lx_fail(err, LX_ELIMIT, "%zu elements are too many", view->n_elements);
    if (!dev->uses_host_memory) {
        if (copy->param.dtype != view->dtype &&
            (rc = lx_to_f32(&nothing, view->data, view->dtype, 0)) < 0)
            return no_numbers(view, rc, err);
        copy->source.read = read_weight;
        copy->param.source = &copy->source;
        return 0;
    }
    if (can_borrow(dev, view, copy->param.dtype)) {
        copy->is_borrowed = true;
        copy->param.value = (void *)(uintptr_t)view->data; /* frozen: nobody writes to it */
        return 0;
    }
    if ((rc = dev->alloc(dev, &copy->param.value, bytes, err)) < 0)
        return rc;
    if ((rc = read_weight(&copy->source, copy->param.value, 0, view->n_elements, err)) < 0)
        dev->free(dev, copy->param.value);
    return rc;
}

static int make_copy(lx_checkpoint_copy **out, lx_checkpoint_entry *entry, lx_device *dev,
                     lx_dtype dtype, lx_error *err)
{
    const lx_tensor_view *view = entry->view;
    lx_checkpoint_copy *copy = lx_calloc(1, sizeof(*copy));
    int rc;

    if (!copy)
        return lx_oom(err);
    copy->dev = dev;
    copy->view = view;
    copy->param = (lx_param){.name = entry->name, .dtype = dtype, .n_dims = view->n_dims};
    memcpy(copy->param.shape, view->shape, sizeof(view->shape));
    if ((rc = fill_copy(copy, err)) < 0) {
        lx_within(err, "%s", view->name);
        lx_free(copy);
        return rc;
    }
    copy->next = entry->copies;
    entry->copies = copy;
    *out = copy;
    return 0;
}

int lx_checkpoint_param(lx_param **out, lx_checkpoint *ckpt, lx_device *dev, lx_part part,
                        const char *name, lx_dtype dtype, lx_error *err)
{
    lx_checkpoint_entry *entry = lx_checkpoint__entry(ckpt, part, name);
    lx_checkpoint_copy *copy;
    int rc;

    if (!entry)
        return lx_fail(err, LX_EFORMAT, "the %s has no weight %s", lx_part_name(part), name);
    if (dtype != LX_F32 && (dtype != LX_F16 || entry->view->dtype != dtype))
        return lx_fail(err, LX_EUNSUPPORTED, "%s is %s in the file and cannot be held as %s",
                       name, lx_dtype_name(entry->view->dtype), lx_dtype_name(dtype));
    copy = entry->copies;
    while (copy && (copy->dev != dev || copy->param.dtype != dtype))
        copy = copy->next;
    if (!copy && (rc = make_copy(&copy, entry, dev, dtype, err)) < 0)
        return rc;
    *out = &copy->param;
    return 0;
}

bool lx_checkpoint_held(lx_checkpoint_weight *out, const lx_checkpoint *ckpt,
                        lx_part part, size_t *at)
{
    const lx_checkpoint_table *table = &ckpt->parts[part];

    for (; *at < table->count; (*at)++) {
        const lx_checkpoint_entry *entry = &table->entries[*at];
        const lx_checkpoint_copy *copy = entry->copies;
        if (!copy)
            continue;
        *out = (lx_checkpoint_weight){
            .bytes =
                entry->view->n_elements * (size_t)lx_dtype_bits(copy->param.dtype) / 8,
            .is_mapped = copy->is_borrowed,
            .is_embedding = strstr(entry->name, "token_embedding") != NULL,
        };
        (*at)++;
        return true;
    }
    return false;
}

/* dev NULL: on every device. */
void lx_checkpoint_unload(lx_checkpoint *ckpt, lx_device *dev, lx_part part)
{
    lx_checkpoint_table *table = &ckpt->parts[part];

    for (size_t i = 0; i < table->count; i++) {
        lx_checkpoint_copy **at = &table->entries[i].copies;

        while (*at) {
            lx_checkpoint_copy *copy = *at;

            if (dev && copy->dev != dev) {
                at = &copy->next;
                continue;
            }
            *at = copy->next;
            if (copy->param.source) {
                lx_assert(!copy->param.n_holders);
                lx_pack_trim(copy->dev);
                lx_free(copy);
                continue;
            }
            for (size_t k = 0; copy->is_borrowed && k < ckpt->n_files; k++)
                lx_tensor_file_let_go(ckpt->files[k], table->entries[i].view);
            if (!copy->is_borrowed)
                copy->dev->free(copy->dev, copy->param.value);
            lx_free(copy);
        }
    }
    if (dev)
        lx_pack_trim(dev);
}
