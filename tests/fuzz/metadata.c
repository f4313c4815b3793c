/*
 * What trainers write into the header of a LoRA: lines of "key value", or JSON alone, which then stands under
 * every key that is read as JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "src/base/str.h"
#include "src/format/safetensors.h"
#include "tests/fuzz/fuzz.h"

static const char *const json_keys[] = {
    "lora_adapter_metadata", "modelspec.tags",  "ss_bucket_info",   "ss_datasets",
    "ss_dataset_dirs",       "ss_network_args", "ss_tag_frequency", "training_info"};
enum { N_JSON = sizeof json_keys / sizeof *json_keys, MOST = 64 };

static int append(void *context, const void *data, size_t n, lx_error *err)
{
    lx_str_append(context, data, n);
    return lx_str_check(context, err);
}

static size_t split_lines(lx_metadata_entry *entries, char *text)
{
    size_t n = 0;

    for (char *line = strtok(text, "\n"); line && n < MOST; line = strtok(NULL, "\n")) {
        char *space = strchr(line, ' ');
        if (!space)
            continue;
        *space = 0;
        entries[n++] = (lx_metadata_entry){line, space + 1};
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char zeros[8];
    const lx_tensor_view tensors[] = {
        {.name = "lora_unet_a.lora_down.weight",
         .dtype = LX_F16,
         .n_dims = 2,
         .shape = {1, 2},
         .n_elements = 2,
         .data = zeros,
         .bytes = 4},
        {.name = "lora_unet_a.lora_up.weight",
         .dtype = LX_F16,
         .n_dims = 2,
         .shape = {2, 1},
         .n_elements = 2,
         .data = zeros,
         .bytes = 4},
    };
    lx_metadata_entry entries[MOST] = {{"ss_seed", "1"}};
    lx_str file = LX_STR_INIT;
    char *text = malloc(size + 1);
    size_t n;

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    if (size && (*data == '{' || *data == '['))
        for (n = 0; n < N_JSON; n++)
            entries[n] = (lx_metadata_entry){json_keys[n], text};
    else
        n = split_lines(entries, text);
    if (lx_safetensors_stream(append, &file, NULL, tensors, 2, entries, n, NULL) == LX_OK)
        fuzz_lora_file(fuzz_file((const uint8_t *)file.data, file.len, ".safetensors"));
    lx_str_release(&file);
    free(text);
    return 0;
}
