"""`--mixed_precision bf16`: how far rounding moves loss and gradients, here and under torch's autocast.

The step of tests/unit/train/step.c, ten draws of noise and timesteps on it, and one large enough for Winograd's convolutions.
And how far 16 bits move what sd-scripts' models give when they are only asked, converted as gen_img.py converts them: the
limits of tests/unit/sample/model.c.
"""

import copy
import functools
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

goldens = load_file(os.path.join(peers.SOURCE, "tests/golden/sample/sample.safetensors"))
cond = goldens["cond"].reshape(1, 77, 40)
sigma = float(goldens["k.euler.normal.latents"].std()) / 0.18215
models = peers.sd_scripts_models(base, 4)


def text(encoder, _):
    hidden = encoder(goldens["ids_prompt"][0], output_hidden_states=True)[2][-2]
    return encoder.text_model.final_layer_norm(hidden)


def biases_later(model):
    """As torch does on a GPU: what a convolution gives is rounded before its bias is added."""
    def forward(conv, x):
        return torch.nn.functional.conv2d(x, conv.weight, None, conv.stride, conv.padding) + conv.bias.view(1, -1, 1, 1)

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.forward = functools.partial(forward, module)
    return model


def pictures(vae, latents):
    return vae.decode((sigma * latents).to(vae.dtype)).sample


def noise_at(t):
    return lambda unet, x: unet(x.to(unet.dtype), torch.tensor([t]), cond.to(unet.dtype)).sample


for dtype in (torch.bfloat16, torch.float16):
    for name, i, f in [("text encoder", 0, text), ("VAE", 1, pictures), ("VAE as on a GPU", 1, pictures), *((f"UNet at {t}", 2, noise_at(t)) for t in (900, 500, 100))]:
        narrow, off = copy.deepcopy(models[i]).to(dtype), []
        if name.endswith("as on a GPU"):
            narrow = biases_later(narrow)
        for _ in range(1 if i == 0 else 20):
            x = torch.randn(1, 4, 12, 8)
            off.append(peers.relative(f(narrow, x).float(), f(models[i], x)))
        print(f"{name} in {dtype}: {100 * sum(off) / len(off):.3f} % from f32 on average, {100 * max(off):.3f} % at most")
peers.finish()
