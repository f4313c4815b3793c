"""The committed checkpoint back to what the scripts read: import_base.py BASE.safetensors BASE.pt VAE.pt"""
import sys

import torch
from safetensors.torch import load_file

import text
import unet
import vae
from captions import TAGS
from tokens import TagTokens

PARTS = dict(unet="model.diffusion_model.", text="cond_stage_model.transformer.text_model.", vae="first_stage_model.")


def part(tensors, name):
    p = PARTS[name]
    return {k.removeprefix(p): v.float() for k, v in tensors.items() if k.startswith(p)}


def read_text(tensors, used):
    t = text.TextEncoder(used)
    table = tensors.pop("embeddings.token_embedding.weight")
    t.fixed.copy_(table)
    t.token.data.copy_(table[torch.as_tensor(used)])
    t.position.data.copy_(tensors.pop("embeddings.position_embedding.weight"))
    t.load_state_dict({k.removeprefix("encoder."): v for k, v in tensors.items()}, strict=False)
    return t


def _norm(norm, tensors, name, constant=None):
    step = 1 if constant is None else 2
    norm.weight.copy_(tensors[name + ".weight"][::step])
    norm.bias.copy_(tensors[name + ".bias"][::step])
    if constant is not None:
        norm.constant.copy_(constant)


def _conv(conv, tensors, name):
    """Also of a convolution with constants among its channels."""
    w, b = tensors[name + ".weight"], tensors[name + ".bias"]
    o, i = w.shape[0] // conv.weight.shape[0], w.shape[1] // conv.weight.shape[1]
    conv.weight.copy_(w[::o, ::i])
    conv.bias.copy_(b[::o])
    return b[1::2]


def _resnet(block, tensors, name, constant=None):
    """-> the constants of the block's output"""
    _norm(block.norm1, tensors, name + ".norm1", constant)
    inner = _conv(block.conv1, tensors, name + ".conv1")
    _norm(block.norm2, tensors, name + ".norm2", None if constant is None else inner)
    added = _conv(block.conv2, tensors, name + ".conv2")
    return None if constant is None else constant + added


@torch.no_grad()
def read_vae(t):
    v = vae.VAE()
    for side, m in (("encoder", v.encoder), ("decoder", v.decoder)):
        _conv(m.conv_in, t, side + ".conv_in")
        for i in (0, 1):
            _resnet(m.mid[i], t, f"{side}.mid.block_{i + 1}")
    for level, m in enumerate(v.encoder.down):
        for i, block in enumerate(m.block):
            _resnet(block, t, f"encoder.down.{level}.block.{i}")
        if level < 3:
            _conv(m.downsample, t, f"encoder.down.{level}.downsample.conv")
    _norm(v.encoder.norm_out, t, "encoder.norm_out")
    w, b = t["encoder.conv_out.weight"], t["encoder.conv_out.bias"]
    v.encoder.conv_out.weight.copy_(w[:vae.LATENT]), v.encoder.conv_out.bias.copy_(b[:vae.LATENT])
    constant = None
    for level in (3, 2, 1, 0):
        m = v.decoder.up[level]
        for i, block in enumerate(m.block):
            constant = _resnet(block, t, f"decoder.up.{level}.block.{i}", constant if level == 0 else None)
        if level > 0:
            constant = _conv(m.upsample, t, f"decoder.up.{level}.upsample.conv")
    _norm(v.decoder.norm_out, t, "decoder.norm_out", constant)
    _conv(v.decoder.conv_out, t, "decoder.conv_out")
    # what quant_conv and post_quant_conv hold: latents as the decoder takes them, from those of unit variance
    scale = torch.diagonal(t["quant_conv.weight"][..., 0, 0])[:vae.LATENT]
    std, mean = 1 / (scale * vae.SCALE), -t["quant_conv.bias"][:vae.LATENT] / scale
    v.whole_std.copy_(torch.diagonal(t["post_quant_conv.weight"][..., 0, 0]) / vae.SCALE)
    v.whole_mean.copy_(t["post_quant_conv.bias"])
    v.std.copy_(std / v.whole_std)
    v.mean.copy_(mean - v.std * v.whole_mean)
    return v


if __name__ == "__main__":
    path, base, vae_path = sys.argv[1:]
    tensors, used = load_file(path), TagTokens(TAGS).used
    u = unet.UNet()
    u.load_state_dict(part(tensors, "unet"))
    torch.save(dict(unet=u.state_dict(), text=read_text(part(tensors, "text"), used).state_dict(), used=used, step=0), base)
    torch.save(read_vae(part(tensors, "vae")).state_dict(), vae_path)
