"""Does lx compute what PyTorch computes? check_lx.py BASE.pt VAE.pt BASE.safetensors

Text encoder, UNet, encoder and decoder on the same inputs, PyTorch with the weights rounded to f16 as in the file.
Prints the largest difference beside the largest value; exit code 1 where it is over 2e-3 of it.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

import draw
from export import load
from tokens import LX, tokenize
from vae import SCALE


def lx_eval(what, base, **inputs):
    with tempfile.TemporaryDirectory() as d:
        i, o = os.path.join(d, "in.safetensors"), os.path.join(d, "out.safetensors")
        save_file({k: np.ascontiguousarray(v) for k, v in inputs.items()}, i)
        subprocess.run([LX, "debug", "eval", what, "--base", base, "--inputs", i, "--outputs", o], check=True)
        return load_file(o)


def main(base_pt, vae_pt, base):
    unet, text, vae = load(base_pt, vae_pt)
    import text as text_module, unet as unet_module, vae as vae_module
    for m in (unet, text):
        for p in list(m.parameters()) + list(m.buffers()):
            if p.is_floating_point(): p.data = p.data.half().float()
    # the autoencoder's constants are folded at export: compare the unrounded one, with a wider bound
    worst = 0
    def compare(name, got, want, bound):
        nonlocal worst
        want = want.numpy()
        d, top = np.abs(got - want).max(), np.abs(want).max()
        print(f"{name:12} {d:.2e} of {top:.2f}")
        worst = max(worst, d / top / bound)
    ids = tokenize(["1girl, pink hair, blue eyes, iwl", "1boy, hat"])
    torch.manual_seed(5)
    with torch.no_grad():
        context = text(torch.from_numpy(ids))
        compare("text", lx_eval("text", base, input_ids=ids[:, None])["context"].reshape(context.shape), context, 2e-3)
        x, t = torch.randn(2, 4, 16, 16), torch.tensor([37, 811])
        compare("unet", lx_eval("unet", base, x=x.numpy(), t=t.numpy(), context=context.numpy())["out"], unet(x, t, context), 2e-3)
        im = np.stack([draw.example(i)[0] for i in (1, 2)])
        im = torch.from_numpy(im).permute(0, 3, 1, 2).float() / 127.5 - 1
        z = vae.encode(im)
        compare("vae-encode", lx_eval("vae-encode", base, x=im.numpy())["mean"] * SCALE, z, 1e-2)
        compare("vae-decode", lx_eval("vae-decode", base, z=(z / SCALE).numpy())["x"], vae.decode(z), 1e-2)
    return worst > 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
