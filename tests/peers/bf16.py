"""`--mixed_precision bf16`: how far rounding moves loss and gradients, here and under torch's autocast.

The step of tests/unit/train/step.c, ten draws of noise and timesteps on it, and one large enough for Winograd's convolutions.
"""

import os

import torch
from safetensors.torch import load_file

import dropout
import peers

NONE = {"neuron_dropout": 0.0, "rank_dropout": 0.0, "module_dropout": 0.0}


def distance(a, b):
    keys = sorted(key for key in a if a[key] is not None)
    return peers.relative(*(torch.cat([g[key].float().flatten() for key in keys]) for g in (a, b)))


def beside(name, base, lora, inputs):
    """Compares one step; how far the gradients of both are from those in f32."""
    exact, gradients = dropout.peer_step(base, lora, inputs, NONE)
    their_loss, their_gradients = dropout.peer_step(base, lora, inputs, NONE, torch.bfloat16)
    our_loss, our_gradients = dropout.lx_step(base, lora, inputs, NONE, "--mixed_precision", "bf16")
    gradients = {key: gradients[key] for key in our_gradients}
    there, here = distance(gradients, their_gradients), distance(gradients, our_gradients)
    peers.check(f"{name}: loss", abs(our_loss - exact) <= abs(their_loss - exact) + 1e-3 * exact,
                f"{our_loss:.6f}, the peer's {their_loss:.6f}, in f32 {exact:.6f}")
    peers.check(f"{name}: gradients are nearer to f32 than the peer's", here <= there,
                f"{100 * here:.2f} % away, the peer's {100 * there:.2f} %")
    return here, there


base = peers.tiny_base()
goldens = os.path.join(peers.SOURCE, "tests/golden/train")
step = {key: value for key, value in load_file(os.path.join(goldens, "step_A_plain.safetensors")).items()
        if key.startswith("in.")}
lora = os.path.join(goldens, "lora_init_a.safetensors")
beside("the step of the tests", base, lora, step)
torch.manual_seed(1)
draws = []
for i in range(10):
    drawn = dict(step)
    drawn["in.noise"] = torch.randn_like(step["in.noise"])
    drawn["in.timesteps"] = torch.randint_like(step["in.timesteps"], 1000)
    draws.append(beside(f"draw {i}", base, lora, drawn))
print("ten draws: {:.2f} % away on average, the peer's {:.2f} %".format(*(10 * sum(d[k] for d in draws) for k in (0, 1))))

given = peers.inputs(40)
given["x"] = given["x"].new_zeros(given["x"].shape[0], 4, 64, 64)
beside("64 x 64 latents", base, peers.train_tiny("plain"), dropout.step_inputs(given))
peers.finish()
