"""--save_model_as ckpt and pt in torch.load, which runs nothing (weights_only), mapped and not."""

import torch
from safetensors.torch import load_file

import peers


def check(name, *flags):
    wanted = load_file(peers.train_tiny(name, *flags))
    for extension in ("ckpt", "pt"):
        file = peers.train_tiny(name, *flags, extension=extension)
        for mapped in (False, True):
            got = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
            same = got.keys() == wanted.keys() and all(
                value.dtype == wanted[key].dtype and torch.equal(value, wanted[key])
                for key, value in got.items())
            peers.check(f"{name}.{extension}{', mapped' if mapped else ''}", same,
                        f"{len(got)} tensors as in the .safetensors")


check("f32")
check("f16", "--save_precision", "fp16")
check("bf16", "--save_precision", "bf16")
check("conv", "--network_args", "conv_dim=2", "conv_alpha=1")
peers.finish()
