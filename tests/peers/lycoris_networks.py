"""LoHa, LoKr and LoRA of `lx train --network_module lycoris.kohya` in LyCORIS' own network."""

import os

import torch
from safetensors.torch import load_file

import dropout
import peers
from lycoris import kohya
from lycoris.functional import factorization
from lycoris.modules import locon, loha, lokr

ALGOS = {
    "lora": ["algo=lora"],
    "locon without convolutions": ["algo=locon", "conv_dim=0"],
    "loha": ["algo=loha", "conv_dim=2", "conv_alpha=1"],
    "loha rs_lora attn-mlp": ["algo=loha", "preset=attn-mlp", "rs_lora=True"],
    "lokr": ["algo=lokr"],
    "lokr factor 4": ["algo=lokr", "factor=4", "preset=unet-transformer-only"],
    "lokr decompose_both": ["algo=lokr", "decompose_both=True", "conv_dim=1"],
    "lokr full_matrix attn-only": ["algo=lokr", "full_matrix=True", "preset=attn-only"],
    "lokr unbalanced full-lin": ["algo=lokr", "unbalanced_factorization=True", "preset=full-lin"],
    "loha unet-convblock-only": ["algo=loha", "preset=unet-convblock-only", "conv_dim=3"],
    "loha unet-only": ["algo=loha", "preset=unet-only"],
}


def network_of(base, args, dim=4, alpha=2.0):
    text_encoder, _, unet = peers.sd_scripts_models(base, 4)
    network = kohya.create_network(1.0, dim, alpha, None, text_encoder, unet,
                                   **dict(pair.split("=") for pair in args))
    network.apply_to(text_encoder, unet, True, True)
    return text_encoder, unet, network


def in_file(network):
    return {key: value for key, value in network.state_dict().items()}


def check_begin(name, base, args):
    """Keys, shapes, alphas and the law of the first values: zeros where the peer's are, else the spread."""
    file = peers.train_tiny("begin", "--network_module", "lycoris.kohya", "--network_args", *args,
                            "--learning_rate", "1e-30", "--max_train_steps", "1")
    _, _, network = network_of(base, args)
    wanted, got = in_file(network), load_file(file)
    same = {k: v.shape for k, v in wanted.items()} == {k: v.shape for k, v in got.items()}
    peers.check(f"{name}: keys and shapes", same, f"{len(got)} tensors of {len(wanted)}")
    if not same:
        return file
    alphas = [k for k in wanted if k.endswith(".alpha") and wanted[k] != got[k]]
    peers.check(f"{name}: alphas", not alphas, ", ".join(alphas[:3]))
    zeros = [k for k in wanted if (wanted[k].abs().max() < 1e-20) != (got[k].abs().max() < 1e-20)]
    peers.check(f"{name}: what begins as zeros", not zeros, ", ".join(zeros[:3]))
    worst, at = 0, ""
    sums = {}
    for key, value in wanted.items():
        if not key.endswith(".alpha") and value.numel() > 1:
            kind = (key.split(".", 1)[1], tuple(value.shape))
            for i, x in enumerate((value, got[key])):
                sums.setdefault(kind, [[], []])[i].append(x.flatten())
    for kind, (a, b) in sums.items():
        a, b = torch.cat(a).double(), torch.cat(b).double()
        if a.numel() < 200 or a.abs().max() < 1e-20:
            continue
        off = abs(float(b.std() / a.std()) - 1) * (a.numel() / 8) ** 0.5  # about 2 deviations
        worst, at = max((worst, at), (off, str(kind)))
    peers.check(f"{name}: spread of the others", worst < 2.5, f"{worst:.2f} {at}")
    return file


def moved(name, args, *more):
    """A file whose every factor has moved: 8 steps at a large rate."""
    return peers.train_tiny(name, "--network_module", "lycoris.kohya", "--network_args", *args,
                            *more)


def peer_step(base, args, file, inputs):
    text_encoder, unet, network = network_of(base, args)
    network.load_state_dict(load_file(file), strict=True)
    network.requires_grad_(True)
    network.train()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = torch.cumprod(1 - betas, 0)[inputs["in.timesteps"]].reshape(-1, 1, 1, 1)
    noisy = alphas.sqrt() * inputs["in.latents"] * 0.18215 + (1 - alphas).sqrt() * inputs["in.noise"]
    with torch.enable_grad():
        context = text_encoder(inputs["in.input_ids"][:, 0])[0]
        pred = unet(noisy, inputs["in.timesteps"], context).sample
        loss = torch.nn.functional.mse_loss(pred, inputs["in.noise"])
    loss.backward()
    return float(loss), {key: p.grad for key, p in network.named_parameters() if p.grad is not None}


def lx_step(base, args, file, inputs):
    at, to = (os.path.join(peers.WORK, name) for name in ("in.safetensors", "out.safetensors"))
    dropout.save_file(inputs, at)
    peers.run_lx("debug", "eval", "step", "--base", base, "--lora", file, "--inputs", at,
                 "--outputs", to, "--text_encoder_heads", "4", "--seed", dropout.SEED,
                 "--network_module", "lycoris.kohya", "--network_dim", "4", "--network_args", *args)
    out = load_file(to)
    return float(out["out.loss"]), {k[5:]: v for k, v in out.items() if k.startswith("grad.")}


def check_step(name, base, args, file):
    inputs = dropout.step_inputs(peers.inputs(40))
    wanted, theirs = peer_step(base, args, file, inputs)
    got, ours = lx_step(base, args, file, inputs)
    peers.check(f"{name}: loss", abs(got - wanted) <= 4e-6, f"{got:.8f}, the peer's {wanted:.8f}")
    ours = {key: g.reshape(theirs[key].shape) for key, g in ours.items() if key in theirs}
    peers.check(f"{name}: which factors have a gradient", sorted(ours) == sorted(theirs),
                f"{len(ours)} of {len(theirs)} tensors")
    both = sorted(set(ours) & set(theirs))
    whole = peers.relative(torch.cat([ours[k].flatten() for k in both]),
                           torch.cat([theirs[k].flatten() for k in both]))
    peers.check(f"{name}: gradients", whole <= 5e-5, f"distance {whole:.1e}")


class Draws(dropout.Draws):
    """lx's draws where LyCORIS asks for random numbers: rows of a change, whole modules."""

    CLASSES = (locon.LoConModule, loha.LohaModule, lokr.LokrModule)

    def __enter__(self):
        self.forwards = [c.forward for c in self.CLASSES]
        self.rand, self.cut = torch.rand, None

        def forward_of(original):
            def forward(module, x, *args, **words):
                self.name = module.lora_name
                return original(module, x, *args, **words)
            return forward

        def rand(n, **_):
            kind = dropout.MODULE if n == 1 else dropout.RANK
            return dropout.draws(self.name, kind, n)

        for c, f in zip(self.CLASSES, self.forwards):
            c.forward = forward_of(f)
        torch.rand = rand
        return self

    def __exit__(self, *_):
        for c, f in zip(self.CLASSES, self.forwards):
            c.forward = f
        torch.rand = self.rand


def check_cuts():
    """factorization() of every dimension up to 2600 with the factors that people use, by lx's files."""
    base = peers.tiny_base()
    for factor in (2, 3, 5, 8, 16):
        args = ["algo=lokr", f"factor={factor}", "full_matrix=True", "preset=attn-mlp"]
        file = peers.train_tiny("cut", "--network_module", "lycoris.kohya", "--network_args", *args,
                                "--max_train_steps", "1")
        state = load_file(file)
        wrong = []
        for key in state:
            if not key.endswith(".lokr_w1"):
                continue
            w1, w2 = state[key], state[key[:-1] + "2"]
            out, into = w1.shape[0] * w2.shape[0], w1.shape[1] * w2.shape[1]
            if (factorization(out, factor), factorization(into, factor)) != (
                    (w1.shape[0], w2.shape[0]), (w1.shape[1], w2.shape[1])):
                wrong.append(key)
        peers.check(f"factor {factor}: how dimensions are cut", not wrong, ", ".join(wrong[:2]))


if __name__ == "__main__":
    tiny = peers.tiny_base()
    for each, pairs in ALGOS.items():
        check_begin(each, tiny, pairs)
        check_step(each, tiny, pairs, moved("moved", pairs))
    for each, pairs in (("loha", ["algo=loha"]), ("lokr", ["algo=lokr"]), ("lora", ["algo=lora"])):
        pairs = [*pairs, "rank_dropout=0.25", "module_dropout=0.3"]
        file = moved("moved", pairs)
        with Draws():
            check_step(f"{each} with dropouts", tiny, pairs, file)
    check_cuts()
    peers.finish()
