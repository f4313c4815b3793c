#include "src/lora/group.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "src/base/str.h"

/* Lists of blocks, and how many numbers name a block: down_blocks.1.attentions.0 has two. */
static const struct {
    const char *list;
    int numbers;
} lists[] = {{"down_blocks", 2},
             {"up_blocks", 2},
             {"mid_block", 1},
             {"input_blocks", 2},
             {"output_blocks", 2},
             {"middle_block", 1},
             {"single_transformer_blocks", 1},
             {"double_blocks", 1},
             {"single_blocks", 1},
             {"joint_blocks", 1},
             {"encoder.layers", 1},
             {"encoder_layers", 1},
             {"encoder.block", 1},
             {"encoder_block", 1},
             {"transformer_blocks", 1},
             {"layers", 1},
             {"blocks", 1}};

static bool is_separator(char c)
{
    return c == '.' || c == '_';
}

/* The list at its earliest place that begins a word; NULL. */
static const char *find_list(const char *name, const char *list)
{
    const char *at = name;

    while ((at = strstr(at, list))) {
        char next = at[strlen(list)];
        if ((at == name || is_separator(at[-1])) && (is_separator(next) || !next))
            return at;
        at++;
    }
    return NULL;
}

/* Behind the n-th number that stands between separators, or NULL. */
static const char *behind_numbers(const char *p, int n)
{
    while (*p && n) {
        if (is_separator(*p) && isdigit((unsigned char)p[1])) {
            const char *end = p + 1;
            while (isdigit((unsigned char)*end))
                end++;
            if (!*end || is_separator(*end)) {
                n--;
                p = end;
                continue;
            }
        }
        p++;
    }
    return n ? NULL : p;
}

/* "_" stands for a dot beside a number and behind the list's own name (n bytes). */
static void spell(char out[LX_GROUP_BYTES], const char *from, const char *to,
                  size_t n_list)
{
    size_t n = 0;

    for (const char *p = from; p < to && n + 1 < LX_GROUP_BYTES; p++) {
        bool is_dot = *p == '_' && (isdigit((unsigned char)p[1]) || p == from + n_list ||
                                    (p > from && isdigit((unsigned char)p[-1])));
        out[n++] = (char)(is_dot ? '.' : *p);
    }
    out[n] = '\0';
}

void lx_lora_group(char block[LX_GROUP_BYTES], const char **rest, const lx_lora_entry *e)
{
    *rest = e->name;
    block[0] = '\0';
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const char *at = find_list(e->name, lists[i].list), *end;
        if (!at)
            continue;
        end = behind_numbers(at, lists[i].numbers);
        if (!end)
            continue;
        spell(block, at, end, strlen(lists[i].list));
        if (lx_starts_with(block, "encoder_"))
            block[strlen("encoder")] = '.';
        *rest = *end ? end + 1 : end;
        return;
    }
}

const char *lx_lora_part_label(lx_lora_part part, const char *base)
{
    const bool has_unet = lx_starts_with(base, "SD 1") || lx_starts_with(base, "SD 2") ||
                          lx_starts_with(base, "SDXL") || strcmp(base, "unknown") == 0;

    if ((part == LX_LORA_UNET || part == LX_LORA_OTHER) && !has_unet)
        return "transformer";
    return lx_lora_part_name(part);
}
