#include "src/sample/lora_stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/str.h"
#include "src/base/visited.h"
#include "src/lora/block_weights.h"

struct lx_lora_stack {
    lx_lora **loras;
    size_t n;
};

/* ---- files ------------------------------------------------------------------------- */

static const char *const endings[] = {"", ".safetensors", ".pt", ".ckpt", ".bin"};

static bool is_file(const char *path)
{
    return lx_file_exists(path) && !lx_file_is_dir(path);
}

static const char *with_ending(lx_arena *arena, const char *dir, const char *name)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const char *path =
            lx_arena_printf(arena, "%s%s%s%s", dir, *dir ? "/" : "", name, endings[i]);
        if (path && is_file(path))
            return path;
    }
    return NULL;
}

/* 1: a folder that the search was not in, for a link may lead back. */
static int is_new_folder(lx_visited *visited, const char *path, lx_error *err)
{
    struct stat st;

    return lx_io_get()->stat(path, &st) == 0 && S_ISDIR(st.st_mode)
               ? lx_visited_add(visited, &st, err)
               : 0;
}

/* *found stays NULL where nothing is. */
static int search_dir(const char **found, lx_arena *arena, const char *dir,
                      const char *name, int depth, lx_visited *visited, lx_error *err)
{
    enum { MAX_DEPTH = 64 };
    lx_dir list = {0};
    int rc = is_new_folder(visited, dir, err);

    if (rc <= 0)
        return rc;
    *found = with_ending(arena, dir, name);
    if (*found || depth == MAX_DEPTH)
        return LX_OK;
    if ((rc = lx_dir_list(&list, dir, err)) < 0)
        return rc == LX_EIO ? rc : LX_OK;
    for (size_t i = 0; i < list.count && rc == LX_OK && !*found; i++) {
        const char *path = lx_arena_printf(arena, "%s/%s", dir, list.names[i]);
        rc = path ? search_dir(found, arena, path, name, depth + 1, visited, err)
                  : lx_oom(err);
    }
    lx_dir_free(&list);
    return rc;
}

int lx_lora_locate(const char **path, lx_arena *arena, const char *name, const char *dir,
                   lx_error *err)
{
    lx_visited visited = {0};
    int rc = LX_OK;

    *path = NULL;
    if (strlen(name) > 1024)
        return lx_fail(err, LX_EFORMAT, "a LoRA's name of %zu bytes", strlen(name));
    if (dir && !strchr(name, '/'))
        rc = search_dir(path, arena, dir, name, 0, &visited, err);
    lx_visited_release(&visited);
    if (rc < 0)
        return rc;
    if (!*path)
        *path = with_ending(arena, "", name);
    if (!*path && dir)
        *path = with_ending(arena, dir, name);
    if (*path)
        return LX_OK;
    return lx_fail(err, LX_ENOTFOUND,
                   "there is no LoRA \"%s\" in the current folder%s%s%s", name,
                   dir ? " or " : "", dir ? dir : "",
                   dir ? "" : "; --lora_dir says where else to look");
}

int lx_lora_short_hash(char out[13], const char *path, lx_error *err)
{
    lx_tensor_file *file;
    const char *known;
    char hex[LX_HASH_HEX + 1];
    lx_mapping map;
    int rc = lx_tensor_file_open(&file, path, err);

    if (rc < 0)
        return rc;
    known = lx_tensor_file_metadata(file, "sshs_model_hash");
    if (known && strlen(known) == 64 && strspn(known, "0123456789abcdef") == 64) {
        snprintf(out, 13, "%.12s", known);
        lx_tensor_file_close(file);
        return LX_OK;
    }
    lx_tensor_file_close(file);
    if ((rc = lx_file_map(&map, path, err)) < 0)
        return rc;
    uint64_t header = 0;
    for (int i = 7; i >= 0 && map.size >= 8; i--)
        header = header << 8 | map.data[i];
    /* Of a .safetensors file the tensors alone; of anything else all of it. */
    bool is_safe =
        lx_ends_with(path, ".safetensors") && header <= map.size - 8 && map.size >= 8;
    size_t from = is_safe ? (size_t)header + 8 : 0;
    lx_hash hash = lx_sha256_of(map.data + from, map.size - from);
    lx_hash_hex(hex, &hash);
    snprintf(out, 13, "%.12s", hex);
    lx_file_unmap(&map);
    return LX_OK;
}

/* ---- weights by block -------------------------------------------------------------- */

int lx_lora_block_weight(double *out, const char *blocks, lx_part part, const char *layer,
                         lx_error *err)
{
    lx_block_weights list;
    int rc = lx_block_weights_parse(&list, blocks, err);

    *out = 1;
    if (rc == LX_OK && list.n == LX_BLOCK_WEIGHTS)
        return lx_fail(err, LX_EUSAGE, "%d block weights are for Flux, this is Stable Diffusion: 17 or 26",
                       list.n);
    if (rc == LX_OK)
        *out = lx_block_weights_of(
            &list, part == LX_UNET ? LX_LORA_UNET : LX_LORA_TEXT_ENCODER, layer);
    return rc;
}

/* ---- the stack --------------------------------------------------------------------- */

/* The strengths go into alpha, to which a module's update is proportional. */
static int apply_strengths(lx_lora *lora, const lx_lora_use *use, lx_error *err)
{
    for (size_t i = 0; i < lora->count; i++) {
        lx_lora_module *m = &lora->modules[i];
        double strength = m->part == LX_UNET ? use->unet : use->text_encoder, block = 1;
        int rc;
        if (use->blocks &&
            (rc = lx_lora_block_weight(&block, use->blocks, m->part, m->layer, err)) < 0)
            return rc;
        m->alpha = (float)((double)m->alpha * strength * block);
    }
    return LX_OK;
}

int lx_lora_stack_open(lx_lora_stack **out, lx_device *dev, lx_checkpoint *checkpoint,
                       const lx_sd_config *config, const lx_lora_use *uses, size_t n,
                       lx_error *err)
{
    lx_lora_stack *stack = lx_calloc(1, sizeof *stack);
    int rc = LX_OK;

    *out = NULL;
    if (!stack || !(stack->loras = lx_calloc(n + 1, sizeof *stack->loras))) {
        lx_free(stack);
        return lx_oom(err);
    }
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if (uses[i].text_encoder == 0 && uses[i].unet == 0)
            continue;
        rc = lx_lora_open_any(&stack->loras[stack->n], dev, checkpoint, config,
                              uses[i].path, false, err);
        if (rc == LX_OK &&
            (rc = apply_strengths(stack->loras[stack->n++], &uses[i], err)) < 0)
            lx_within(err, "<lora:%s>", uses[i].name);
    }
    if (rc < 0)
        lx_lora_stack_close(stack);
    else
        *out = stack;
    return rc;
}

void lx_lora_stack_close(lx_lora_stack *stack)
{
    if (!stack)
        return;
    for (size_t i = 0; i < stack->n; i++)
        lx_lora_free(stack->loras[i]);
    lx_free(stack->loras);
    lx_free(stack);
}

int lx_lora_stack_narrow(lx_lora_stack *stack, lx_dtype dtype, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < stack->n && rc == LX_OK && dtype != LX_F32; i++)
        rc = lx_lora_narrow(stack->loras[i], dtype, err);
    return rc;
}

lx_tensor *lx_lora_stack_inject(void *context, lx_builder *b, const lx_layer *layer,
                                lx_tensor *x, lx_tensor *y)
{
    lx_lora_stack *stack = context;

    for (size_t i = 0; i < stack->n; i++)
        y = lx_lora_inject(stack->loras[i], b, layer, x, y);
    return y;
}
