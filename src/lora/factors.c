#include "src/lora/factors.h"

#include "src/base/alloc.h"

bool lx_lora_is_plain(const lx_lora_entry *e)
{
    return !e->problem && e->kind == LX_KIND_LORA && e->rank > 0;
}

int lx_lora_factors_read(lx_lora_factors *f, const lx_lora_entry *e, lx_error *err)
{
    const lx_tensor_view *up = e->tensors[LX_ROLE_UP], *down = e->tensors[LX_ROLE_DOWN];
    size_t total;

    f->rank = (size_t)e->rank;
    f->out = up->n_elements / f->rank;
    f->in = down->n_elements / f->rank;
    if (!lx_add_size(&total, up->n_elements, down->n_elements) ||
        lx_grow(&f->memory, &f->capacity, total, sizeof(float)) < 0)
        return lx_oom(err);
    f->up = f->memory;
    f->down = f->memory + up->n_elements;
    if (lx_to_f32(f->up, up->data, up->dtype, up->n_elements) < 0 ||
        lx_to_f32(f->down, down->data, down->dtype, down->n_elements) < 0)
        return 1;
    return LX_OK;
}

void lx_lora_factors_release(lx_lora_factors *f)
{
    lx_free(f->memory);
    *f = (lx_lora_factors){0};
}
