#include "tests/support/convert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/str.h"
#include "tests/support/model.h"

int lx_conversion_run(lx_conversion *d, const char *path, const lx_convert_options *o,
                      lx_error *err)
{
    int rc;

    *d = (lx_conversion){0};
    lx_assert_ok(lx_convert_new(&d->convert, err), err);
    if ((rc = lx_lora_file_open(&d->file, path, err)) < 0 ||
        (rc = lx_convert_add(d->convert, d->file, LX_LORA_PART_COUNT, err)) < 0)
        return rc;
    return lx_convert_run(&d->r, d->convert, o, err);
}

void lx_conversion_drop(lx_conversion *d)
{
    lx_convert_free(d->convert);
    lx_lora_file_close(d->file);
}

/* What lx convert writes, one part after the other; PEFT's need their config beside them. */
void lx_conversion_save(char paths[LX_CONVERT_PARTS][400], const lx_conversion *d,
                        char *folder)
{
    lx_error err;

    strcpy(folder, "/tmp/lx-convert-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (size_t p = 0; p < d->r.n_parts; p++) {
        const lx_convert_part *part = &d->r.parts[p];
        lx_tensor_view *views = calloc(part->n_keys, sizeof *views);
        lx_metadata_entry notes[2];
        size_t n_notes = 0;
        char name[300];
        snprintf(name, sizeof name, "%s/%zu", folder, p);
        lx_assert_ok(lx_make_dirs(name, &err), &err);
        snprintf(paths[p], 400, "%s/adapter_model.safetensors", name);
        for (size_t i = 0; i < part->n_keys; i++)
            views[i] = part->keys[i].to;
        if (part->scales)
            notes[n_notes++] = (lx_metadata_entry){LX_CONVERT_SCALES, part->scales};
        if (d->r.alphas)
            notes[n_notes++] = (lx_metadata_entry){LX_CONVERT_ALPHAS, d->r.alphas};
        lx_assert_ok(
            lx_safetensors_write(paths[p], views, part->n_keys, notes, n_notes, &err),
            &err);
        strcat(name, "/adapter_config.json");
        if (part->config)
            lx_assert_ok(lx_file_write(name, part->config, strlen(part->config), &err),
                         &err);
        free(views);
    }
}

void lx_conversion_clean(char paths[LX_CONVERT_PARTS][400], size_t n, const char *folder)
{
    char line[300];

    for (size_t p = 0; p < n; p++) {
        unlink(paths[p]);
        snprintf(line, sizeof line, "%s/%zu/adapter_config.json", folder, p);
        unlink(line);
        snprintf(line, sizeof line, "%s/%zu", folder, p);
        rmdir(line);
    }
    rmdir(folder);
}

const lx_tensor_view *lx_conversion_find(const lx_convert_result *r, const char *name)
{
    for (size_t p = 0; p < r->n_parts; p++)
        for (size_t i = 0; i < r->parts[p].n_keys; i++)
            if (strcmp(r->parts[p].keys[i].to.name, name) == 0)
                return &r->parts[p].keys[i].to;
    return NULL;
}

void lx_conversion_assert_same(const lx_convert_result *a, const lx_convert_result *b,
                               const char *what)
{
    size_t n = 0;

    for (size_t p = 0; p < b->n_parts; p++)
        n += b->parts[p].n_keys;
    assert_int_equal(a->parts[0].n_keys, n);
    for (size_t i = 0; i < n; i++) {
        const lx_tensor_view *x = &a->parts[0].keys[i].to,
                             *y = lx_conversion_find(b, x->name);
        if (!y || x->dtype != y->dtype || x->bytes != y->bytes ||
            x->n_dims != y->n_dims ||
            memcmp(x->shape, y->shape, (size_t)x->n_dims * sizeof *x->shape) != 0 ||
            memcmp(x->data, y->data, x->bytes) != 0)
            fail_msg("%s: %s is not what it was", what, x->name);
    }
}

static void write_small(const char *path, const lx_small_tensor *tensors, size_t n)
{
    lx_tensor_view views[8];
    char bytes[8][64];
    lx_error err;

    for (size_t i = 0; i < n; i++) {
        lx_tensor_view *v = &views[i];
        *v = (lx_tensor_view){.name = tensors[i].name,
                              .dtype = tensors[i].dtype,
                              .n_dims = tensors[i].n_dims,
                              .n_elements = 1,
                              .data = bytes[i]};
        for (int d = 0; d < v->n_dims; d++)
            v->n_elements *= (size_t)(v->shape[d] = tensors[i].shape[d]);
        v->bytes = v->n_elements * (size_t)lx_dtype_bits(v->dtype) / 8;
        lx_from_f32(bytes[i], v->dtype, tensors[i].values, v->n_elements);
    }
    lx_assert_ok(lx_safetensors_write(path, views, n, NULL, 0, &err), &err);
}

int lx_conversion_of(lx_conversion *d, const lx_small_tensor *tensors, size_t n,
                     const lx_convert_options *o, lx_error *err)
{
    char path[64];
    int rc;

    snprintf(path, sizeof path, "/tmp/lx-convert-%ld.safetensors", (long)getpid());
    write_small(path, tensors, n);
    rc = lx_conversion_run(d, path, o, err);
    unlink(path);
    return rc;
}
