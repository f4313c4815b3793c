/*
 * lora/verdict - were the captions used? what the metadata prove
 *
 * sd-scripts never records --caption_extension. But an image whose caption file was not read is
 * trained on the words of its folder's name ("10_nhh 1girl" -> "nhh 1girl"), and ss_tag_frequency
 * counts the captions after that fallback. So a folder whose only tags are its own words, each as
 * often as there are images, proves that no caption was read.
 *
 * Rules (docs/guide/captions.md): a verdict PROVES, SUGGESTS or stays SILENT; silence is never a
 * fault. Rule ids in `rule`: A1 folder words only, A2 some images lost their caption, A3 all captions
 * empty, A4 no tag frequencies, A5 no training metadata, A7 captions dropped always, A0 captions read.
 */
#ifndef LX_LORA_VERDICT_H
#define LX_LORA_VERDICT_H

#include "src/base/arena.h"
#include "src/format/tensor_file.h"

typedef enum lx_caption_verdict {
    LX_CAPTIONS_UNKNOWN,      /* cannot be told */
    LX_CAPTIONS_READ,
    LX_CAPTIONS_FOLDER_WORDS, /* proven: only the folder's words were trained */
    LX_CAPTIONS_PARTLY,       /* some images on the folder's words */
    LX_CAPTIONS_EMPTY,
    LX_CAPTIONS_DROPPED
} lx_caption_verdict;

typedef struct lx_verdict {
    lx_caption_verdict captions;
    const char *strength; /* "proves", "suggests", "silent" */
    const char *rule;     /* "A1" */
    const char *text;     /* one sentence for people; in the arena */
} lx_verdict;

/* One tag of one folder, as counted by the trainer. */
typedef struct lx_tag_count {
    const char *folder, *tag;
    int64_t count;
} lx_tag_count;

typedef struct lx_tag_list {
    lx_tag_count *tags; /* folder by folder, in the file's order */
    size_t count;
    const char *problem; /* the JSON is damaged: why; NULL = sound */
} lx_tag_list;

/* From ss_tag_frequency; an absent key gives an empty list. */
int lx_lora_tags(lx_tag_list *out, const lx_tensor_file *file, lx_arena *arena, lx_error *err);

int lx_lora_verdict(lx_verdict *out, const lx_tensor_file *file, lx_arena *arena,
                    lx_error *err);

/* A folder of ss_tag_frequency, as the verdict looks at it. */
typedef struct lx_verdict_folder {
    const char *name;
    const char *words; /* what an image without a caption is trained on, lower-cased; NULL = not known */
    bool is_reg;       /* regularisation images: they decide nothing */
    double n_images;   /* -1 = not known */
    size_t n_tags;     /* distinct ones */
    double n_words;    /* how often the words are a tag: the rarest of their comma parts */
} lx_verdict_folder;

/* In the file's order; what is damaged tells none. */
int lx_lora_verdict_folders(lx_verdict_folder **out, size_t *n, const lx_tensor_file *file, lx_arena *arena,
                            lx_error *err);

/* Were there regularisation images? With --dataset_config only ss_datasets says so. */
bool lx_lora_has_reg(const lx_tensor_file *file);

/* Trained from a metadata file (sd-scripts' fine-tuning data sets), for which {} in ss_tag_frequency means nothing. */
bool lx_lora_is_fine_tuning(const lx_tensor_file *file);

const char *lx_caption_verdict_name(lx_caption_verdict verdict);

#endif
