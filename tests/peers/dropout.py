"""The dropouts of `lx train` against networks.lora's own, which is given lx's draws: loss and gradients."""

import os

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import peers
from networks import lora as networks_lora

SEED, DROPOUT = 42, 9  # LX_RNG_DROPOUT of src/base/rng.h
NEURON, RANK, MODULE = 0, 1, 2  # of kernels/dropout.h


def philox(counter, key):
    """Salmon et al. 2011: Philox 4x32-10 of many counters [n, 4]."""
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    low = np.uint64(0xFFFFFFFF)
    k0, k1 = key
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low,
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=1)


def draws(name, kind, n):
    """The first n numbers in [0, 1) of a module's stream in micro-step 0."""
    stream = 0xCBF29CE484222325
    for byte in name.encode():
        stream = (stream ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    stream = (stream + kind) & 0xFFFFFFFFFFFFFFFF
    folded = (stream ^ (stream >> 32) * 0x9E3779B1) & 0xFFFFFFFF
    counter = np.zeros((-(-n // 4), 4), dtype=np.uint64)
    counter[:, 0] = np.arange(len(counter))
    counter[:, 1], counter[:, 3] = DROPOUT, folded
    return torch.from_numpy(philox(counter, (SEED, 0)).reshape(-1)[:n] / 2.0**32)


class Draws:
    """Stands where networks.lora asks torch for random numbers; knows the module that asks."""

    def __init__(self):
        self.name, self.forward = None, networks_lora.LoRAModule.forward
        self.rand, self.functional = torch.rand, torch.nn.functional.dropout

    def __enter__(self):
        def forward(module, x):
            self.name = module.lora_name
            return self.forward(module, x)

        def rand(size, **_):
            if size == 1:
                return draws(self.name, MODULE, 1)
            return draws(self.name, RANK, size[0] * size[1]).reshape(size)

        def dropout(x, p):
            keep = draws(self.name, NEURON, x.numel()) >= np.float32(p)
            if x.dim() == 4:  # lx keeps channels last
                b, c, h, w = x.shape
                keep = keep.reshape(b, h, w, c).permute(0, 3, 1, 2)
            return x * keep.reshape(x.shape) / (1 - p)

        networks_lora.LoRAModule.forward = forward
        torch.rand, torch.nn.functional.dropout = rand, dropout
        return self

    def __exit__(self, *_):
        networks_lora.LoRAModule.forward = self.forward
        torch.rand, torch.nn.functional.dropout = self.rand, self.functional


def step_inputs(given):
    rng = np.random.default_rng(11)
    shape = tuple(given["x"].shape)
    return {
        "in.latents": torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)),
        "in.noise": torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)),
        "in.timesteps": given["t"],
        "in.input_ids": given["input_ids"],
        "in.loss_weights": torch.ones(shape[0]),
    }


def peer_step(base, file, inputs, shares, autocast=None):
    """Loss and gradients of the plain step, from sd-scripts' network in training mode."""
    text_encoder, _, unet = peers.sd_scripts_models(base, 4)
    args = {key: str(value) for key, value in shares.items() if key != "neuron_dropout" and value}
    state = load_file(file)
    alpha = next(float(value) for key, value in state.items() if key.endswith(".alpha"))
    network = networks_lora.create_network(
        1.0, 4, alpha, None, text_encoder, unet, neuron_dropout=shares["neuron_dropout"] or None, **args)
    network.apply_to(text_encoder, unet)
    network.load_state_dict(state, strict=True)
    network.train()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = torch.cumprod(1 - betas, 0)[inputs["in.timesteps"]].reshape(-1, 1, 1, 1)
    latents = inputs["in.latents"] * 0.18215
    noisy = alphas.sqrt() * latents + (1 - alphas).sqrt() * inputs["in.noise"]
    if autocast:
        text_encoder.to(autocast), unet.to(autocast)
    with torch.enable_grad(), torch.autocast("cpu", autocast or torch.bfloat16, autocast is not None):
        context = text_encoder(inputs["in.input_ids"][:, 0])[0]
        pred = unet(noisy, inputs["in.timesteps"], context).sample
        loss = torch.nn.functional.mse_loss(pred.float(), inputs["in.noise"])
    loss.backward()
    return float(loss), {name: p.grad for name, p in network.named_parameters()}


def lx_step(base, file, inputs, shares, *more):
    at, to = (os.path.join(peers.WORK, name) for name in ("in.safetensors", "out.safetensors"))
    save_file(inputs, at)
    flags = ["--network_dropout", shares["neuron_dropout"], "--network_args",
             f"rank_dropout={shares['rank_dropout']}", f"module_dropout={shares['module_dropout']}"]
    peers.run_lx("debug", "eval", "step", "--base", base, "--lora", file, "--inputs", at,
                 "--outputs", to, "--text_encoder_heads", "4", "--seed", SEED, *flags, *more)
    out = load_file(to)
    return float(out["out.loss"]), {k[5:]: v for k, v in out.items() if k.startswith("grad.")}


def check_dropout(name, file, **given):
    shares = {"neuron_dropout": 0.0, "rank_dropout": 0.0, "module_dropout": 0.0, **given}
    base = peers.tiny_base()
    inputs = step_inputs(peers.inputs(40))
    with Draws():
        wanted, gradients = peer_step(base, file, inputs, shares)
    got, ours = lx_step(base, file, inputs, shares)
    peers.check(f"{name}: loss", abs(got - wanted) <= 2e-6, f"{got:.8f}, the peer's {wanted:.8f}")
    theirs = {key: g for key, g in gradients.items() if g is not None}
    peers.check(f"{name}: which modules have a gradient", sorted(ours) == sorted(theirs),
                f"{len(ours)} of {len(gradients)} tensors")
    both = sorted(set(ours) & set(theirs))
    distance = peers.relative(torch.cat([ours[k].flatten() for k in both]),
                              torch.cat([theirs[k].flatten() for k in both]))
    peers.check(f"{name}: gradients", distance <= 5e-5, f"distance {distance:.1e}")


if __name__ == "__main__":
    lora = peers.train_tiny("plain")
    check_dropout("network_dropout 0.3", lora, neuron_dropout=0.3)
    check_dropout("rank_dropout 0.25", lora, rank_dropout=0.25)
    check_dropout("module_dropout 0.4", lora, module_dropout=0.4)
    check_dropout("all three", lora, neuron_dropout=0.2, rank_dropout=0.25, module_dropout=0.3)
    peers.finish()
