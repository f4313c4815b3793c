/*
 * sample/describe - what a picture says of itself, and the file it goes into
 *
 * The settings in the order and wording of web UIs (format/infotext), so that they and `lx sample --from` read them
 * back. "Noise Schedule: Zero Terminal SNR" is a web UI's own; "Prediction: v" is lx's, for a web UI knows its models.
 */
#ifndef LX_SAMPLE_DESCRIBE_H
#define LX_SAMPLE_DESCRIBE_H

#include "src/base/str.h"
#include "src/sample/sample.h"

typedef struct lx_sample_origin {
    const char *prompt; /* with its tags */
    uint64_t seed;
    const char *model, *model_hash, *vae; /* stems and 10 digits; NULL or "": not said */
    const char *lora_hashes;              /* "a: 0123456789ab, b: ..."; NULL = none */
    const char *embedding_hashes;         /* likewise */
    lx_precision precision;               /* told where it is not f32 */
    bool has_half_vae;
} lx_sample_origin;

/* Appended to out. */
int lx_sample_describe(lx_str *out, const lx_sample_settings *settings,
                       const lx_sample_origin *origin, lx_error *err);

/* A file name without folder and ending; "model.safetensors" -> "model". NULL: no memory.
 */
const char *lx_path_stem(lx_arena *arena, const char *path);

#endif
