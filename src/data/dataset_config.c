#include "src/data/dataset.h"

#include <string.h>

void lx_dataset_config_defaults(lx_dataset_config *c)
{
    memset(c, 0, sizeof *c);
    c->caption_extension = ".caption";
    c->batch_size = 1;
    c->dataset_repeats = 1;
    c->min_bucket_reso = 256;
    c->max_bucket_reso = 1024;
    c->bucket_reso_steps = 64;
    c->caption_separator = ",";
    c->keep_tokens_separator = "";
    c->token_warmup_min = 1;
    c->background = "white";
}
