"""`--mixed_precision bf16`: how far rounding moves loss and gradients, here and under torch's autocast."""

import torch

import dropout
import peers

NONE = {"neuron_dropout": 0.0, "rank_dropout": 0.0, "module_dropout": 0.0}


def distance(a, b):
    keys = sorted(key for key in a if a[key] is not None)
    return peers.relative(*(torch.cat([g[key].float().flatten() for key in keys]) for g in (a, b)))


base, lora = peers.tiny_base(), peers.train_tiny("plain")
given = peers.inputs(40)
given["x"] = given["x"].new_zeros(given["x"].shape[0], 4, 64, 64)  # large enough for Winograd's convolutions
inputs = dropout.step_inputs(given)
exact, gradients = dropout.peer_step(base, lora, inputs, NONE)
their_loss, their_gradients = dropout.peer_step(base, lora, inputs, NONE, torch.bfloat16)
our_loss, our_gradients = dropout.lx_step(base, lora, inputs, NONE, "--mixed_precision", "bf16")
gradients = {key: gradients[key] for key in our_gradients}
there = distance(gradients, their_gradients)
here = distance(gradients, our_gradients)
peers.check("bf16: loss", abs(our_loss - exact) <= abs(their_loss - exact) + 1e-3 * exact,
            f"{our_loss:.6f}, the peer's {their_loss:.6f}, in f32 {exact:.6f}")
peers.check("bf16: gradients are nearer to f32 than the peer's", here <= there,
            f"{100 * here:.2f} % away, the peer's {100 * there:.2f} %")
peers.finish()
