/*
 * lora/convert_internal - what convert.c (files, drops, casts) and convert_module.c (names, suffixes, alphas) share
 */
#ifndef LX_LORA_CONVERT_INTERNAL_H
#define LX_LORA_CONVERT_INTERNAL_H

#include <cjson/cJSON.h>

#include "src/lora/convert.h"

typedef struct lx_convert_source {
    lx_lora_file *file;
    lx_lora_part part;
    cJSON *scales; /* LX_CONVERT_SCALES of its metadata, or NULL */
    int alphas;    /* LX_CONVERT_ALPHAS: an lx_dtype, or -1 */
} lx_convert_source;

struct lx_convert_fusion; /* convert_flux.c */

/* What PEFT's config and LX_CONVERT_SCALES are made of. */
typedef struct lx_convert_fact {
    const char *module; /* as the result names it */
    const char *path;   /* in the network */
    int part;
    int64_t rank;
    double alpha, scale; /* scale: what went into up, else 1 */
    bool has_dora, has_bias;
} lx_convert_fact;

struct lx_convert {
    lx_arena *arena;
    lx_convert_source *sources;
    size_t n_sources, sources_capacity;
    lx_convert_key *keys[LX_CONVERT_PARTS];
    size_t n_keys[LX_CONVERT_PARTS], keys_capacity[LX_CONVERT_PARTS];
    lx_convert_fact *facts; /* of LoRA modules */
    size_t n_facts, facts_capacity;
    struct lx_convert_fusion
        *fusions; /* parts that become one module, when all are there */
    size_t n_fusions, fusions_capacity;
    void **buffers;
    size_t n_buffers, buffers_capacity;
};

/* F64, F32, F16, BF16 and the 8-bit floats that are written. */
bool lx_convert__is_number(lx_dtype dtype);
/* Memory that lives as long as the conversion; NULL and LX_ENOMEM without it. */
void *lx_convert__own(lx_convert *convert, size_t bytes, lx_error *err);
/* One key; the view's name is replaced. */
int lx_convert__put(lx_convert *convert, int part, const char *from, const char *module,
                    const char *suffix, const lx_tensor_view *view, lx_error *err);

/* All keys of one module. */
int lx_convert__module(lx_convert_result *out, lx_convert *convert,
                       const lx_convert_source *source, const lx_lora_entry *e,
                       const lx_convert_options *options, lx_error *err);

/* The module at that place of the network: its name and keys. */
int lx_convert__place(lx_convert_result *out, lx_convert *convert,
                      const lx_convert_source *source, const lx_lora_entry *e,
                      const lx_convert_options *options, const lx_module_place *place,
                      lx_error *err);

/* Flux.1, SD 3 and HunyuanVideo have other layers in diffusers: the place is renamed, or the module is dealt with (*is_done): taken apart,
 * or kept until lx_convert__fuse_all puts its layer together. */
int lx_convert__flux(bool *is_done, lx_convert_result *out, lx_convert *convert,
                     const lx_convert_source *source, const lx_lora_entry *e,
                     const lx_convert_options *options, lx_module_place *place,
                     lx_error *err);
int lx_convert__fuse_all(lx_convert_result *out, lx_convert *convert,
                         const lx_convert_options *options, lx_error *err);

/* After all modules: adapter_config.json of a part; LX_CONVERT_SCALES, or NULL when no scale went into up. */
int lx_convert__config(const char **out, lx_convert *convert, int part, lx_error *err);
int lx_convert__scales(const char **out, lx_convert *convert, lx_error *err);

#endif
