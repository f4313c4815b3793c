/* lx sample - pictures from prompts, with any LoRAs */
#include <string.h>

#include "cmd/sample.h"
#include "src/base/alloc.h"

#define GIVEN(member) offsetof(lx_sample_args, member)

static const lx_option options[] = {
    LX_TEXT(lx_sample_args, base, 0, "base", "FILE",
            "the model: .safetensors, .ckpt or a diffusers folder"),
    LX_TEXT(lx_sample_args, base, 0, "ckpt", "FILE", "the same"),
    LX_TEXT(lx_sample_args, vae, 0, "vae", "FILE", "a VAE in place of the model's"),
    LX_TEXT(lx_sample_args, prompt, 'p', "prompt", "TEXT",
            "what to draw: (more:1.2) [less] BREAK [from:to:0.5] [a|b] <lora:NAME:0.8> "
            "embedding:NAME"),
    LX_TEXT(lx_sample_args, negative, 'n', "negative_prompt", "TEXT", "what not to draw"),
    LX_TEXT(lx_sample_args, prompt_file, 0, "prompt_file", "FILE",
            "prompts in sd-scripts' format: .txt with --n --w --h --d --l --s --ss, "
            ".toml, .json"),
    LX_TEXT(lx_sample_args, prompt_file, 0, "from_file", "FILE", "the same"),
    LX_TEXT(
        lx_sample_args, from, 0, "from", "PICTURE",
        "take the settings out of a picture of a web UI or of lx; flags on the line win"),
    LX_REPEAT(lx_sample_args, loras, 'l', "lora", "FILE[:S]",
              "put a LoRA on at strength S (1); may be repeated"),
    LX_TEXT(lx_sample_args, lora_dir, 0, "lora_dir", "DIR",
            "where <lora:NAME> is looked for, before the current folder"),
    LX_TEXT(lx_sample_args, embeddings, 0, "embeddings", "DIR",
            "where textual inversions are: words of a prompt that are named like a file "
            "there (or embedding:NAME) take its vectors"),
    {LX_OPTION_INT, 'W', "width", "N", "width in pixels, a multiple of 8 (512)",
     offsetof(lx_sample_args, width), GIVEN(has_width)},
    {LX_OPTION_INT, 'H', "height", "N", "height (512)", offsetof(lx_sample_args, height),
     GIVEN(has_height)},
    {LX_OPTION_INT, 's', "steps", "N", "steps (20)", offsetof(lx_sample_args, steps),
     GIVEN(has_steps)},
    {LX_OPTION_NUMBER, 0, "cfg", "X", "classifier-free guidance (7); 1 = none",
     offsetof(lx_sample_args, cfg), GIVEN(has_cfg)},
    {LX_OPTION_NUMBER, 0, "scale", "X", "the same", offsetof(lx_sample_args, cfg),
     GIVEN(has_cfg)},
    LX_TEXT(lx_sample_args, sampler, 0, "sampler", "NAME",
            "DDIM, Euler, Euler a, Heun, LMS, DPM2, DPM2 a, DPM++ 2S a, DPM++ 2M, DPM++ "
            "SDE, DPM++ "
            "2M SDE (with Karras or Exponential behind it), UniPC, PNDM (Euler a)"),
    {LX_OPTION_INT, 0, "seed", "N",
     "seed of the first picture (-1: drawn, and told in the file's name)",
     offsetof(lx_sample_args, seed), GIVEN(has_seed)},
    {LX_OPTION_INT, 0, "images", "N", "pictures a prompt, seeds counting up (1)",
     offsetof(lx_sample_args, images), GIVEN(has_images)},
    {LX_OPTION_INT, 0, "batch", "N", "how many of them at once (1)",
     offsetof(lx_sample_args, batch), GIVEN(has_batch)},
    {LX_OPTION_INT, 0, "clip_skip", "N", "1 = the text encoder's last layer (1)",
     offsetof(lx_sample_args, clip_skip), GIVEN(has_clip_skip)},
    LX_TEXT(lx_sample_args, noise, 0, "noise", "KIND",
            "a1111-cpu (web UIs with RNG: CPU, ComfyUI, diffusers), a1111-gpu (web UIs "
            "as they "
            "come), lx (a1111-cpu)"),
    {LX_OPTION_INT, 0, "ensd", "N", "web UIs' eta noise seed delta (0)",
     offsetof(lx_sample_args, ensd), GIVEN(has_ensd)},
    LX_TEXT(lx_sample_args, emphasis, 0, "emphasis", "KIND",
            "how (tag:1.3) is weighed: a1111 (each chunk keeps its mean), peer (the "
            "whole prompt "
            "does: sd-scripts), none (a1111)"),
    LX_FLAG(lx_sample_args, is_compat, 0, "sample_compat",
            "draw as sd-scripts' sample images: its samplers, schedules, clipping and "
            "prompts"),
    {LX_OPTION_FLAG, 0, "v_parameterization", NULL, "the model predicts velocity",
     offsetof(lx_sample_args, v_parameterization), GIVEN(has_v_parameterization)},
    {LX_OPTION_FLAG, 0, "zero_terminal_snr", NULL, "the model was trained with zero terminal SNR",
     offsetof(lx_sample_args, zero_terminal_snr), GIVEN(has_zero_terminal_snr)},
    LX_REPEAT(
        lx_sample_args, grids, 'g', "grid", "AXIS=VALUES",
        "one sheet over lora=GLOB..., strength=, seed=1-4, steps=, cfg=, clip_skip=, "
        "sampler=, prompt=OLD,NEW,NEW2 (OLD is replaced); the first is across, others "
        "down"),
    LX_TEXT(lx_sample_args, out, 'o', "out", "PATH",
            "folder of the pictures, or the .png file of a single one (samples)"),
    LX_TEXT(lx_sample_args, out, 0, "outdir", "DIR", "the same"),
    LX_INT(lx_sample_args, preview, 0, "preview", "N",
           "every N steps, write how the picture stands to PATH/preview.png"),
    LX_INT(lx_sample_args, text_encoder_heads, 0, "text_encoder_heads", "N",
           "attention heads of the text encoder, where the weights cannot tell"),
    LX_INT(lx_sample_args, threads, 0, "threads", "N", "processor threads (0 = all)"),
    LX_TEXT(lx_sample_args, device, 0, "device", "WHERE",
            "cpu, or cuda or cuda:N in a build with CUDA (cpu)"),
    LX_TEXT(
        lx_sample_args, mixed_precision, 0, "mixed_precision", "TYPE",
        "no, fp16, bf16: what text encoder and UNet compute in (no); on the CPU bf16 is "
        "of their products alone, and there is no fp16"),
    LX_FLAG(lx_sample_args, fp16, 0, "fp16", "the same as --mixed_precision fp16"),
    LX_FLAG(lx_sample_args, bf16, 0, "bf16", "the same as --mixed_precision bf16"),
    LX_FLAG(lx_sample_args, half_vae, 0, "half_vae",
            "the VAE in that type too; it is in f32 otherwise"),
    LX_FLAG(lx_sample_args, no_half_vae, 0, "no_half_vae",
            "the VAE in f32, also where a picture of --from has it in less"),
    LX_TEXT(lx_sample_args, name, 0, "name", "NAME", "name of the run"),
    LX_FLAG(lx_sample_args, no_record, 0, "no_record",
            "do not record the pictures as a run"),
    LX_FLAG(lx_sample_args, json, 'j', "json", "print one JSON object a picture"),
    LX_OPTION_END};

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    lx_sample_args *args = args_;
    lx_sample_plan plan = {0};
    int rc;

    if (!args->base)
        return lx_fail(err, LX_EUSAGE, "--base MODEL is missing");
    if ((rc = lx_sample_plan_make(&plan, args, cli, err)) == LX_OK) {
        lx_signals_install();
        rc = lx_sample_work(&plan, args, cli, err);
    }
    lx_free(plan.pictures);
    return rc;
}

const lx_command lx_cmd_sample = {
    .name = "sample",
    .summary = "pictures from prompts, with LoRAs and grids",
    .usage = "--base MODEL --prompt TEXT",
    .help = "Draws pictures with a base model and any LoRAs, written as PNG with the "
            "settings that\n"
            "web UIs read, and recorded as a run. The noise of a seed is torch's CPU "
            "generator's, so\n"
            "pictures can be compared with those of ComfyUI, diffusers and web UIs set "
            "to RNG: CPU.\n"
            "\n"
            "Examples:\n"
            "  lx sample --base model.safetensors -p '1girl, smile, <lora:lain:0.8>' "
            "--seed 42\n"
            "  lx sample --base model.safetensors --from picture.png --seed 43\n"
            "  lx sample --base model.safetensors -p 'lain, 1girl' \\\n"
            "            --grid 'lora=out/lain-0000*.safetensors' --grid "
            "strength=0.4,0.8,1.2\n",
    .options = options,
    .args_size = sizeof(lx_sample_args),
    .computes = true,
    .run = run,
};
