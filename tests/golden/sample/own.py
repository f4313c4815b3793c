#!/usr/bin/env python3
"""own.py OUT.safetensors - numbers of torch, k-diffusion and diffusers for tests/unit/sample

Made with torch 2.15.0 (CPU), k-diffusion 0.1.1.post1, torchsde 0.2.6, diffusers 0.32.1, scipy.
No model: the denoiser is D(x, sigma)_i = (x_i + sin(3 x_i) + c_i) / (1 + sigma), c_i = cos(i).
"""
import sys
import types

import numpy as np
import torch

from diffusers import DDIMScheduler, UniPCMultistepScheduler

package = types.ModuleType("k_diffusion")  # without its __init__, which wants training packages
import os

for entry in sys.path:
    folder = os.path.join(entry, "k_diffusion")
    if os.path.isdir(folder):
        package.__path__ = [folder]
        break
sys.modules["k_diffusion"] = package
sys.modules["k_diffusion.utils"] = types.ModuleType("k_diffusion.utils")
sys.modules["k_diffusion.utils"].append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
package.utils = sys.modules["k_diffusion.utils"]
from k_diffusion import sampling
from safetensors.torch import save_file

torch.set_num_threads(1)
out = {}

# torch.randn
for seed in (0, 42, 3966759607):
    for n in (16, 64, 468):
        g = torch.Generator("cpu").manual_seed(seed)
        out[f"randn.{seed}.{n}"] = torch.randn(n, generator=g)
        out[f"randn.{seed}.{n}.next"] = torch.randn(n, generator=g)[:16].clone()

# NumPy's SeedSequence
for i, (entropy, key) in enumerate(((42, ()), (42, (0, 0)), (3966759607, (5, 3)), (7, (2**40 + 1, 41)))):
    s = np.random.SeedSequence(entropy=entropy, spawn_key=key, pool_size=24).generate_state(4)
    out[f"seeds.{i}"] = torch.tensor(s.astype(np.int64))

# the Brownian path
x = torch.zeros(1, 4, 2, 8)
for seed in (42, 3966759607):
    sampler = sampling.BrownianTreeNoiseSampler(x, torch.tensor(0.029167519882321358),
                                                torch.tensor(14.614643096923828), seed=[seed])
    pairs = [(14.614643096923828, 9.102933883666992), (9.102933883666992, 7.0), (9.102933883666992, 5.478399276733398),
             (0.0819110274, 0.029167521744966507), (0.5, 0.125)]
    for i, (a, b) in enumerate(pairs):
        out[f"brownian.{seed}.{i}"] = sampler(torch.tensor(a), torch.tensor(b)).flatten()
out["brownian.pairs"] = torch.tensor(pairs).flatten()

# samplers on the toy
betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
abar = torch.cumprod(1 - betas, 0)
table = ((1 - abar) / abar) ** 0.5
N = 64
c = torch.cos(torch.arange(N, dtype=torch.float32))
start = torch.randn(N, generator=torch.Generator().manual_seed(1)).reshape(1, 4, 2, 8)
out["toy.start"] = start.flatten()


def toy(x, sigma):
    sigma = torch.as_tensor(sigma).flatten()[0]
    f = x.flatten()
    return ((f + torch.sin(3 * f) + c) / (1 + sigma)).reshape(x.shape)


def normal(n):
    t = torch.linspace(999, 0, n)
    low, high, w = t.floor().long(), t.ceil().long(), t.frac()
    logs = table.log()
    return torch.cat([((1 - w) * logs[low] + w * logs[high]).exp(), torch.zeros(1)])


for n in (6, 20):
    for schedule, sigmas in (("normal", normal(n)),
                             ("karras", sampling.get_sigmas_karras(n, table[0].item(), table[-1].item()))):
        out[f"toy.sigmas.{schedule}.{n}"] = sigmas
        for name in ("lms", "euler", "heun", "dpm_2", "dpmpp_2m"):
            f = getattr(sampling, "sample_" + name)
            out[f"toy.{name}.{schedule}.{n}"] = f(toy, start * sigmas[0], sigmas, disable=True).flatten()
        for name in ("dpmpp_sde", "dpmpp_2m_sde"):
            f = getattr(sampling, "sample_" + name)
            tree = sampling.BrownianTreeNoiseSampler(start, sigmas[sigmas > 0].min(), sigmas.max(), seed=[42])
            # torch's log is a last bit off here and there, and the path is asked at exp(-(-log sigma))
            asked = []

            def noise(a, b):
                asked.extend((float(a), float(b)))
                return tree(a, b)

            out[f"toy.{name}.{schedule}.{n}"] = f(toy, start * sigmas[0], sigmas, disable=True,
                                                  noise_sampler=noise).flatten()
            out[f"toy.{name}.{schedule}.{n}.asked"] = torch.tensor(asked)
    unipc = UniPCMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    unipc.set_timesteps(n)
    x = start.clone()
    for i, t in enumerate(unipc.timesteps):
        sigma = unipc.sigmas[i]
        alpha = 1 / (1 + sigma**2) ** 0.5
        eps = (x / alpha - toy(x / alpha, sigma)) / sigma
        x = unipc.step(eps, t, x).prev_sample
    out[f"toy.unipc.{n}"] = x.flatten()
    out[f"toy.sigmas.unipc.{n}"] = unipc.sigmas.clone()

# sd-scripts' DDIM, which clips the predicted x_0
for n in (10, 20):
    ddim = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=True)
    ddim.set_timesteps(n)
    x = start.clone()
    for t in ddim.timesteps:
        sigma = table[t]
        alpha = 1 / (1 + sigma**2) ** 0.5
        x = ddim.step((x / alpha - toy(x / alpha, sigma)) / sigma, t, x).prev_sample
    out[f"toy.ddim_peer.{n}"] = x.flatten()

save_file({k: v.contiguous() for k, v in out.items()}, sys.argv[1])
print(len(out), "tensors")
