/* What is on a device of frozen weights, shared between its calls and plans. */
#include "kernels/kernel.h"

#include "src/base/alloc.h"

/* One copy. */
typedef struct pack {
    const void *weight; /* its source, or without one its address */
    uint64_t layout;
    void *packed;
    size_t bytes;
    size_t n_users; /* 0: kept until lx_pack_trim */
    bool has_source;
} pack;

struct lx_pack_cache {
    pack *items;
    size_t count, capacity;
};

static const void *identity(const lx_arg *weight)
{
    return weight->source ? (const void *)weight->source : weight->data;
}

static pack *find(lx_device *dev, const lx_arg *weight, uint64_t layout)
{
    for (size_t i = 0; dev->packs && i < dev->packs->count; i++)
        if (dev->packs->items[i].weight == identity(weight) &&
            dev->packs->items[i].layout == layout)
            return &dev->packs->items[i];
    return NULL;
}

static void drop(lx_device *dev, pack *p)
{
    dev->free(dev, p->packed);
    *p = dev->packs->items[--dev->packs->count];
}

int lx_pack_get(lx_device *dev, const lx_arg *weight, uint64_t layout, size_t bytes,
                void **packed, bool *is_new, lx_error *err)
{
    pack *p = find(dev, weight, layout);
    struct lx_pack_cache *cache;
    int rc;

    *is_new = !p;
    if (p) {
        lx_assert(p->bytes == bytes);
        p->n_users++;
        *packed = p->packed;
        return LX_OK;
    }
    if (!dev->packs && !(dev->packs = lx_calloc(1, sizeof *dev->packs)))
        return lx_oom(err);
    cache = dev->packs;
    if (lx_grow(&cache->items, &cache->capacity, cache->count + 1, sizeof *cache->items) <
        0)
        return lx_oom(err);
    if ((rc = dev->alloc_unset(dev, packed, bytes, err)) < 0) {
        lx_within(err, "a weight");
        return rc;
    }
    cache->items[cache->count++] = (pack){.weight = identity(weight),
                                          .layout = layout,
                                          .packed = *packed,
                                          .bytes = bytes,
                                          .n_users = 1,
                                          .has_source = weight->source != NULL};
    return LX_OK;
}

void lx_pack_put(lx_device *dev, const lx_arg *weight, uint64_t layout)
{
    pack *p = find(dev, weight, layout);

    if (p && --p->n_users == 0 && !p->has_source)
        drop(dev, p);
}

void lx_pack_spoil(lx_device *dev, const lx_arg *weight, uint64_t layout)
{
    pack *p = find(dev, weight, layout);

    if (p)
        drop(dev, p);
}

void lx_pack_trim(lx_device *dev)
{
    for (size_t i = dev->packs ? dev->packs->count : 0; i-- > 0;)
        if (!dev->packs->items[i].n_users)
            drop(dev, &dev->packs->items[i]);
}

void lx_pack_close(lx_device *dev)
{
    if (!dev->packs)
        return;
    for (size_t i = 0; i < dev->packs->count; i++)
        dev->free(dev, dev->packs->items[i].packed);
    lx_free(dev->packs->items);
    lx_free(dev->packs);
    dev->packs = NULL;
}
