"""A LoRA of `lx train` in sd-scripts' own loader: keys, shapes and what it does to the models."""

import os
import subprocess

import torch
from safetensors import safe_open
from safetensors.torch import load_file

import peers
from networks import lora as networks_lora


def network_of(file, text_encoder, unet):
    network, state = networks_lora.create_network_from_weights(1.0, file, None, text_encoder, unet)
    network.apply_to(text_encoder, unet)
    network.load_state_dict(state, strict=True)
    return network.eval()


def outputs(text_encoder, unet, given):
    return {
        "text": text_encoder(given["input_ids"][:, 0])[0],
        "unet": unet(given["x"], given["t"], given["context"]).sample,
    }


def check_outputs(name, base, file):
    text_encoder, _, unet = peers.sd_scripts_models(base, 4)
    given = peers.inputs(text_encoder.config.hidden_size)
    before = outputs(text_encoder, unet, given)
    network_of(file, text_encoder, unet)
    wanted = outputs(text_encoder, unet, given)
    got = peers.lx_outputs(base, file, given, "--text_encoder_heads", "4")
    for what, limit in (("text", peers.TEXT_LIMIT), ("unet", peers.UNET_LIMIT)):
        distance = peers.relative(got[what], wanted[what])
        moved = peers.relative(wanted[what], before[what])
        peers.check(f"{name}: {what} output with the LoRA", distance <= limit and moved > 1e-3,
                    f"distance {distance:.1e}, the LoRA moves it by {moved:.1e}")


def check_merged(name, base, file):
    """Merged into the weights as sd-scripts does it for inference."""
    text_encoder, _, unet = peers.sd_scripts_models(base, 4)
    given = peers.inputs(text_encoder.config.hidden_size)
    network, state = networks_lora.create_network_from_weights(
        1.0, file, None, text_encoder, unet, for_inference=True)
    network.merge_to(text_encoder, unet, state, torch.float32, "cpu")
    wanted = outputs(text_encoder, unet, given)
    got = peers.lx_outputs(base, file, given, "--text_encoder_heads", "4")
    for what, limit in (("text", peers.TEXT_LIMIT), ("unet", peers.UNET_LIMIT)):
        distance = peers.relative(got[what], wanted[what])
        peers.check(f"{name}: {what} output with the LoRA merged", distance <= limit,
                    f"distance {distance:.1e}")


def full_size_lora(*flags):
    """One step at the real widths on small pictures; the 2 GB base is kept for the next time."""
    base = os.path.join(os.path.dirname(peers.MAKE_CHECKPOINT), "fixtures", "sd15.safetensors")
    if not os.path.exists(base):
        os.makedirs(os.path.dirname(base), exist_ok=True)
        subprocess.run([peers.MAKE_CHECKPOINT, "sd15", base], check=True)
    return peers.train("full", base, "--resolution", "64", "--max_bucket_reso", "64",
                       "--max_train_steps", "1", "--learning_rate", "1e-4", *flags)


def check_full_size():
    """Nothing is computed: models of the real widths whose tensors have shapes and no memory."""
    from library import model_util, original_unet
    from transformers import CLIPTextConfig, CLIPTextModel

    file = full_size_lora("--network_dim", "4", "--network_alpha", "1", "--save_precision", "fp16")
    with torch.device("meta"):
        text_encoder = CLIPTextModel(CLIPTextConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12))
        unet = original_unet.UNet2DConditionModel(
            **model_util.create_unet_diffusers_config(False))
        fresh = networks_lora.create_network(1.0, 4, 1, None, text_encoder, unet)
        fresh.apply_to(text_encoder, unet)
    wanted = {key: value.shape for key, value in fresh.state_dict().items()}
    state = load_file(file)
    got = {key: value.shape for key, value in state.items()}
    peers.check("full size: keys and shapes of a network that sd-scripts makes", got == wanted,
                f"{len(got)} tensors")
    fresh.load_state_dict(state, strict=True)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    peers.check("full size: ss_network_dim and ss_network_alpha",
                (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("4", "1.0"))


# First, for sd-scripts' class list of modules grows with every network of convolutions.
check_full_size()
plain = peers.train_tiny("plain")
check_outputs("rank 4", peers.tiny_base(), plain)
check_merged("rank 4", peers.tiny_base(), plain)
half = peers.train_tiny("half", "--save_precision", "fp16")
check_outputs("rank 4 in fp16", peers.tiny_base(), half)
conv = peers.train_tiny("conv", "--network_args", "conv_dim=2", "conv_alpha=1")
check_outputs("rank 4 and convolutions of rank 2", peers.tiny_base(), conv)
for extension in ("ckpt", "pt"):
    file = peers.train_tiny("pickled", extension=extension)
    check_outputs(f"rank 4 as .{extension}", peers.tiny_base(), file)
peers.finish()
