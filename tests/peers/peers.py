"""What the checks of this folder share: models in the peers' own classes, and lx's numbers beside.

A checkpoint of any width is loaded by sd-scripts' and diffusers' own code; only the size constants
that sd-scripts hard-codes for SD 1.x are set to what the checkpoint's tensors say. The number of
CLIP heads is not in the tensors and must be given.
"""

import logging
import os
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

LX = os.environ["LX"]
MAKE_CHECKPOINT = os.environ["MAKE_CHECKPOINT"]
SOURCE = os.environ["SOURCE"]
WORK = os.environ["WORK"]

# Of the goldens: f32 against f32, as a relative L2 distance.
TEXT_LIMIT = 1e-5
UNET_LIMIT = 2e-5

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
torch.set_grad_enabled(False)
logging.disable(logging.INFO)  # sd-scripts says much

n_failed = 0


def check(name, holds, detail=""):
    """Says the outcome of one claim; finish() turns the count into the exit status."""
    global n_failed
    n_failed += not holds
    print(f"{'ok' if holds else 'FAILED'}: {name}{': ' if detail else ''}{detail}", flush=True)


def finish():
    sys.exit(1 if n_failed else 0)


def run_lx(*words):
    done = subprocess.run([LX, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"lx {' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def relative(got, wanted):
    got, wanted = got.double(), wanted.double()
    return float((got - wanted).norm() / wanted.norm())


# ---- what is trained and loaded ----------------------------------------------------------------


def tiny_base():
    """The goldens' narrow base model: 4 CLIP heads."""
    path = os.path.join(WORK, "tiny.safetensors")
    if not os.path.exists(path):
        subprocess.run([MAKE_CHECKPOINT, "tiny", path], check=True)
    return path


def train(name, base, *flags, extension="safetensors"):
    """A LoRA of `lx train` on the goldens' pictures; the file's path."""
    run_lx("train", "--pretrained_model_name_or_path", base,
           "--train_data_dir", os.path.join(SOURCE, "tests/golden/e2e/data/train"),
           "--caption_extension", ".txt", "--network_module", "networks.lora",
           "--enable_bucket", "--min_bucket_reso", "64", "--cache_latents", "--seed", "42",
           "--output_dir", WORK, "--output_name", name, "--save_model_as", extension,
           "--quiet", *flags)
    return os.path.join(WORK, f"{name}.{extension}")


def train_tiny(name, *flags, extension="safetensors"):
    """At a rate that moves the outputs by whole per cents, so that a LoRA left out would show."""
    return train(name, tiny_base(), "--text_encoder_heads", "4", "--resolution", "128",
                 "--max_bucket_reso", "256", "--network_dim", "4", "--network_alpha", "2",
                 "--learning_rate", "1e-2", "--max_train_steps", "8", *flags,
                 extension=extension)


def inputs(context_width, batch=2):
    """Token ids of a caption cut and padded as CLIP does, and a noisy latent that is not square."""
    rng = np.random.default_rng(7)
    ids = np.full((batch, 1, 77), 49407, dtype=np.int64)
    for i in range(batch):
        n = 5 + 20 * i
        ids[i, 0, 0] = 49406
        ids[i, 0, 1 : 1 + n] = rng.integers(0, 49406, n)
    text = rng.standard_normal((batch, 77, context_width), dtype=np.float32)
    x = rng.standard_normal((batch, 4, 8, 16), dtype=np.float32)
    return {
        "input_ids": torch.from_numpy(ids),
        "x": torch.from_numpy(x),
        "t": torch.tensor([17, 802][:batch]),
        "context": torch.from_numpy(text),
    }


def lx_outputs(base, lora, given, *flags):
    """Hidden states and noise prediction as lx computes them."""
    at = os.path.join(WORK, "inputs.safetensors")
    save_file(given, at)
    outputs = {}
    for what, key in (("text", "context"), ("unet", "out")):
        to = os.path.join(WORK, f"{what}.safetensors")
        words = ["debug", "eval", what, "--base", base, "--inputs", at, "--outputs", to, *flags]
        run_lx(*words, *(["--lora", lora] if lora else []))
        outputs[what] = load_file(to)[key]
    return outputs


# ---- models in the peers' classes --------------------------------------------------------------


def sizes(state):
    """Widths of a checkpoint in the original layout."""
    unet = "model.diffusion_model."
    text = "cond_stage_model.transformer.text_model."
    vae = "first_stage_model.encoder.down."
    first = state[unet + "input_blocks.0.0.weight"].shape[0]
    return {
        "channels": [state[f"{unet}input_blocks.{n}.0.out_layers.3.weight"].shape[0]
                     for n in (1, 4, 7, 10)],
        "first": first,
        "context": state[unet + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "vae": [state[f"{vae}{n}.block.0.conv2.weight"].shape[0] for n in range(4)],
        "width": state[text + "final_layer_norm.weight"].shape[0],
        "inner": state[text + "encoder.layers.0.mlp.fc1.weight"].shape[0],
        "layers": sum(key.endswith("mlp.fc1.weight") for key in state if key.startswith(text)),
    }


def text_config(s, heads):
    return {"hidden_size": s["width"], "intermediate_size": s["inner"],
            "num_hidden_layers": s["layers"], "num_attention_heads": heads,
            "projection_dim": s["width"]}


def narrow_sd_scripts(path, heads):
    """Sets sd-scripts' size constants to what the checkpoint's tensors say."""
    from library import model_util, original_unet
    from transformers import CLIPTextConfig

    s = sizes(load_file(path))
    original_unet.BLOCK_OUT_CHANNELS = tuple(s["channels"])
    original_unet.TIMESTEP_INPUT_DIM = s["first"]
    original_unet.TIME_EMBED_DIM = 4 * s["first"]
    model_util.UNET_PARAMS_MODEL_CHANNELS = s["first"]
    model_util.UNET_PARAMS_CHANNEL_MULT = [c // s["first"] for c in s["channels"]]
    model_util.UNET_PARAMS_CONTEXT_DIM = s["context"]
    model_util.VAE_PARAMS_CH = s["vae"][0]
    model_util.VAE_PARAMS_CH_MULT = [c // s["vae"][0] for c in s["vae"]]
    narrow = text_config(s, heads)
    model_util.CLIPTextConfig = lambda **words: CLIPTextConfig(**{**words, **narrow})


def sd_scripts_models(path, heads):
    """Text encoder, VAE and UNet by sd-scripts' loader of single files, in f32."""
    from library import model_util

    narrow_sd_scripts(path, heads)
    text_encoder, vae, unet = model_util.load_models_from_stable_diffusion_checkpoint(False, path)
    return text_encoder.float().eval(), vae.float().eval(), unet.float().eval()


def diffusers_pipeline(path, heads):
    """A StableDiffusionPipeline of diffusers' and transformers' classes, in f32."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import (
        convert_ldm_clip_checkpoint, convert_ldm_unet_checkpoint)
    from transformers import CLIPTextConfig, CLIPTextModel

    state = {key: value.float() if value.is_floating_point() else value
             for key, value in load_file(path).items()}
    s = sizes(state)
    attention = [True, True, True, False]
    unet = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=s["context"], attention_head_dim=8,
        block_out_channels=s["channels"],
        down_block_types=["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        up_block_types=["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in attention[::-1]])
    unet.load_state_dict(convert_ldm_unet_checkpoint(state, dict(unet.config)))
    config = CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, hidden_act="quick_gelu",
                            layer_norm_eps=1e-5, **text_config(s, heads))
    text_encoder = CLIPTextModel(config)
    found = text_encoder.load_state_dict(convert_ldm_clip_checkpoint(dict(state)), strict=False)
    assert not found.missing_keys, found.missing_keys
    return StableDiffusionPipeline(
        vae=AutoencoderKL(), text_encoder=text_encoder.eval(), tokenizer=None, unet=unet.eval(),
        scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False)
