/*
 * cmd/sample - the parts of `lx sample`
 *
 * What is asked for (flags, a prompt file, another picture's settings, grids) becomes a
 * list of pictures first, in sample_plan.c and sample_grid.c, so that every mistake is
 * told before a model is opened; then sample_work.c makes them, in the list's order,
 * several of one kind at a time, and sample_sheet.c puts a grid together.
 */
#ifndef LX_CMD_SAMPLE_H
#define LX_CMD_SAMPLE_H

#include "cmd/cli.h"
#include "src/image/canvas.h"
#include "src/sample/lora_stack.h"
#include "src/sample/sample.h"
#include "store/store.h"

typedef struct lx_sample_args {
    const char *base, *device, *vae, *lora_dir, *embeddings, *prompt, *negative,
        *prompt_file, *from, *sampler, *noise, *emphasis, *out, *name, *mixed_precision;
    lx_words loras, grids;
    int64_t width, height, steps, seed, clip_skip, ensd, images, batch, threads, preview,
        text_encoder_heads;
    double cfg;
    bool has_images, has_batch;
    bool has_width, has_height, has_steps, has_seed, has_clip_skip, has_ensd, has_cfg;
    bool is_compat, v_parameterization, zero_terminal_snr, no_record, json;
    bool has_v_parameterization, has_zero_terminal_snr;
    bool fp16, bf16, half_vae, no_half_vae;
} lx_sample_args;

/* One picture to make. */
typedef struct lx_picture {
    lx_sample_settings settings; /* prompt without its tags */
    const char *prompt;          /* as written, with them */
    uint64_t seed;
    lx_lora_use *loras;
    size_t n_loras;
    bool has_other_loras; /* than the tags of the prompt say */
    int column, row;      /* in the grid */
    const char *path;     /* where it went */
    const char *sha256;
} lx_picture;

typedef struct lx_sample_plan {
    lx_picture *pictures;
    size_t n, capacity;
    lx_embeddings embeddings;     /* that the prompts name */
    const char **columns, **rows; /* labels; NULL without a grid */
    int n_columns, n_rows;
    const char *model_from; /* "Model" of --from, for a warning; or NULL */
    const char *model_hash_from;
    lx_precision precision; /* of all pictures */
    bool has_half_vae;
} lx_sample_plan;

/* Fills in what args leaves open. */
int lx_sample_plan_make(lx_sample_plan *out, lx_sample_args *args, lx_cli *cli,
                        lx_error *err);

/* The pictures of `base` (one) over all axes, into the plan. */
int lx_sample_grid_spread(lx_sample_plan *plan, const lx_picture *base,
                          const lx_sample_args *args, lx_cli *cli, lx_error *err);
/* Prompt -> settings.prompt and loras, after the prompt or the extra LoRAs changed. */
int lx_picture_read_prompt(lx_picture *picture, const lx_sample_args *args, lx_cli *cli,
                           const lx_lora_use *extra, size_t n_extra, lx_error *err);

/* The settings of picture `i` as web UIs write them. model and vae: stems of files. */
int lx_sample_infotext(lx_str *out, const lx_sample_plan *plan, size_t i,
                       const char *model, const char *model_hash, const char *vae,
                       lx_arena *arena, lx_error *err);

/* A run of kind "sample", with all that determines the pictures in its spec. */
int lx_sample_record(lx_run **out, lx_store *store, const lx_sample_plan *plan,
                     const lx_sample_args *args, const char *base_sha256,
                     const char *model, const char *model_hash, lx_cli *cli,
                     lx_error *err);

/* Opens the model, makes and writes every picture, records them. */
int lx_sample_work(lx_sample_plan *plan, const lx_sample_args *args, lx_cli *cli,
                   lx_error *err);

/* The sheet of a grid: cells are put as they come, then written as PNG and HTML. */
typedef struct lx_sheet {
    lx_canvas canvas;
    int cell_width, cell_height, left, top, scale;
} lx_sheet;
int lx_sheet_init(lx_sheet *sheet, const lx_sample_plan *plan, lx_error *err);
void lx_sheet_release(lx_sheet *sheet);
void lx_sheet_put(lx_sheet *sheet, const lx_picture *picture, const unsigned char *rgb);
int lx_sheet_write_png(const lx_sheet *sheet, const char *path, const char *text,
                       lx_error *err);
int lx_sheet_write_html(const lx_sample_plan *plan, const char *path, lx_error *err);

#endif
