"""The checkpoint: export.py BASE.pt VAE.pt OUT.safetensors

f16, with the names of a Stable Diffusion 1.x file. `-` for BASE.pt writes the autoencoder alone, as a VAE file.
"""
import json
import struct
import sys

import torch

import text
import unet
import vae


def write_safetensors(path, tensors, metadata):
    """Names in order, so that equal weights are equal bytes."""
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        data = tensors[name].half().contiguous().numpy().tobytes()
        header[name] = dict(dtype="F16", shape=list(tensors[name].shape), data_offsets=[at, at + len(data)])
        blobs.append(data)
        at += len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + b"".join(blobs))


def load(base, vae_path):
    """-> unet, text encoder, vae with averaged weights"""
    s = torch.load(base)
    u, t, v = unet.UNet(), text.TextEncoder(s["used"]), vae.VAE()
    u.load_state_dict(s["unet"]); t.load_state_dict(s["text"]); v.load_state_dict(torch.load(vae_path))
    return u.eval(), t.eval(), v.eval()


if __name__ == "__main__":
    base, vae_path, out = sys.argv[1:]
    v = vae.VAE()
    v.load_state_dict(torch.load(vae_path))
    tensors, metadata = vae.export(v), {"format": "pt"}
    if base == "-":
        tensors = {k.removeprefix("first_stage_model."): w for k, w in tensors.items()}
    else:
        u, t, _ = load(base, vae_path)
        tensors |= unet.export(u) | text.export(t)
        metadata["lx.text_encoder_heads"] = str(text.HEADS)
        metadata["modelspec.title"] = "lx demo base"
        metadata["modelspec.description"] = "procedurally drawn cartoon people, 128x128; script/demo_base"
    write_safetensors(out, tensors, metadata)
