/*
 * sample/prompt_file - lists of prompts in sd-scripts' formats
 *
 *     .txt   one prompt a line, # begins a remark; options after the prompt, each after
 *            " --": w h (size), d (seed), s (steps), l (CFG scale), n (negative prompt),
 *            ss (sampler)
 *     .toml  [prompt] with defaults, [[prompt.subset]] tables: prompt, negative_prompt,
 *            width, height, sample_steps, scale, seed, sample_sampler
 *     .json  a list of such objects, or of lines as in .txt
 *
 * Sizes are lowered to multiples of 8, 64 at least; steps are held in 1..1000, as there.
 * Options of other models (g, ctr, rcfg, fs) are told, not obeyed; ControlNet (cn) is
 * refused. Source: sd-scripts library/train_util.py (line_to_prompt_dict, load_prompts).
 */
#ifndef LX_SAMPLE_PROMPT_FILE_H
#define LX_SAMPLE_PROMPT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/arena.h"

typedef struct lx_prompt_line {
    const char *prompt, *negative, *sampler; /* negative and sampler NULL: not said */
    int width, height, steps;                /* 0: not said */
    double cfg;
    uint64_t seed;
    bool has_cfg, has_seed;
    const char *ignored; /* options of other models, "--g --fs"; NULL = none */
} lx_prompt_line;

typedef struct lx_prompt_list {
    lx_prompt_line *lines;
    size_t n, capacity;
} lx_prompt_list;

/* In the arena. LX_EFORMAT names the file and the line. */
int lx_prompt_file_read(lx_prompt_list *out, lx_arena *arena, const char *path,
                        lx_error *err);
/* One line of a .txt. */
int lx_prompt_line_parse(lx_prompt_line *out, lx_arena *arena, const char *line,
                         lx_error *err);
void lx_prompt_list_release(lx_prompt_list *list);

#endif
