#include "src/lora/trainer.h"

#include <string.h>

#include "src/base/str.h"

static const char *get(const lx_tensor_file *file, const char *key)
{
    return lx_tensor_file_metadata(file, key);
}

static const char *by_network_module(const char *module)
{
    static const char *const musubi[] = {
        "networks.lora_wan",        "networks.lora_framepack",
        "networks.lora_qwen_image", "networks.lora_flux_kontext",
        "networks.lora_zimage",     "networks.lora_hunyuan",
        "networks.lora_kandinsky"};

    if (lx_starts_with(module, "lycoris"))
        return "sd-scripts with LyCORIS";
    for (size_t i = 0; i < sizeof musubi / sizeof *musubi; i++)
        if (lx_starts_with(module, musubi[i]))
            return "musubi-tuner";
    return "sd-scripts";
}

static const char *by_metadata(const lx_tensor_file *file)
{
    const char *text;

    if (get(file, "lx.version"))
        return "lx";
    if ((text = get(file, "software")))
        return strstr(text, "ai-toolkit") ? "ai-toolkit" : "";
    if (get(file, "ot_branch") || get(file, "ot_revision") || get(file, "ot_config"))
        return "OneTrainer";
    if (get(file, "trained_words") || get(file, "lycoris_config"))
        return "SimpleTuner";
    if (get(file, "sshs_ratio") || get(file, "sshs_blocks"))
        return "supermerger";
    if ((text = get(file, "ss_network_module")))
        return by_network_module(text);
    if (get(file, "ss_sd_scripts_commit_hash") || get(file, "ss_session_id"))
        return "sd-scripts";
    if (get(file, "lora_adapter_metadata"))
        return "diffusers";
    return NULL;
}

const char *lx_lora_trainer(const lx_tensor_file *file, const char *family)
{
    const char *name = by_metadata(file);

    if (name)
        return name;
    if (lx_starts_with(family, "cloneofsimo"))
        return "cloneofsimo/lora";
    if (lx_starts_with(family, "diffusers"))
        return "diffusers";
    if (lx_starts_with(family, "PEFT"))
        return "PEFT";
    if (lx_starts_with(family, "XLabs"))
        return "XLabs";
    return "";
}
