"""The demo base's UNet: Stable Diffusion 1.x's, narrow. Modules are named as the original latent diffusion code names
them, so that its state is the checkpoint's."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

CHANNELS, CONTEXT, HEADS, GROUPS = (64, 96, 96, 64), 48, 8, 32

# Blocks of the first level, where a block costs most, that add nothing and are not computed: their last layers are zero, as
# at the start of any training, so that a later one can wake them. Self-attention there is idle throughout: it would be half
# of the time, and the levels below see the whole picture anyway.
IDLE_RESNETS = {"input_blocks.2", "output_blocks.10"}
IDLE_TRANSFORMERS = {"input_blocks.1", "output_blocks.9", "output_blocks.11"}


@torch.no_grad()
def steady(bias, norm):
    """Start a norm of few channels a group as the identity: with offsets inside each group that are larger than what
    varies, it neither cancels the time embedding (two channels a group!) nor the mean of the picture."""
    size = len(bias) // GROUPS
    offsets = torch.linspace(-2, 2, size).repeat(GROUPS)
    bias += offsets
    norm.weight.fill_(offsets.square().mean().sqrt())
    norm.bias.copy_(-offsets)


class ResBlock(nn.Module):
    def __init__(self, i, o, time, idle=False):
        super().__init__()
        self.idle = idle
        self.in_layers = nn.Sequential(nn.GroupNorm(GROUPS, i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.Identity(), nn.Linear(time, o))        # SiLU is applied once, for all
        self.out_layers = nn.Sequential(nn.GroupNorm(GROUPS, o), nn.SiLU(), nn.Identity(), nn.Conv2d(o, o, 3, padding=1))
        nn.init.zeros_(self.out_layers[3].weight), nn.init.zeros_(self.out_layers[3].bias)
        steady(self.in_layers[2].bias, self.out_layers[0])
        self.skip_connection = nn.Conv2d(i, o, 1) if i != o else nn.Identity()
        if idle:
            for m in (self.in_layers, self.emb_layers, self.out_layers): m.requires_grad_(False)

    def forward(self, x, time, context):
        if self.idle:
            return self.skip_connection(x)
        h = self.in_layers(x) + self.emb_layers(time)[..., None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Attention(nn.Module):
    def __init__(self, n, context):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(k, n, bias=False) for k in (n, context, context))
        self.to_out = nn.Sequential(nn.Linear(n, n))

    def forward(self, x, context):
        split = lambda t: t.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        q, k, v = split(self.to_q(x)).contiguous(), split(self.to_k(context)).contiguous(), split(self.to_v(context)).contiguous()
        # By hand: PyTorch's fused attention is several times slower backwards on a processor at these head sizes.
        h = ((q * q.shape[-1] ** -.5) @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.to_out(h.transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.proj = nn.Linear(n, 8 * n)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, -1)
        return x * F.gelu(gate)


class Block(nn.Module):
    """`idle`: without self-attention."""

    def __init__(self, n, idle):
        super().__init__()
        self.idle = idle
        self.attn1, self.attn2 = Attention(n, n), Attention(n, CONTEXT)
        if idle:
            self.attn1.requires_grad_(False)
            nn.init.zeros_(self.attn1.to_out[0].weight), nn.init.zeros_(self.attn1.to_out[0].bias)
        self.ff = nn.Module()
        self.ff.net = nn.Sequential(GEGLU(n), nn.Identity(), nn.Linear(4 * n, n))
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(n), nn.LayerNorm(n), nn.LayerNorm(n)
        self.norm1.requires_grad_(not idle)

    def forward(self, x, context):
        if not self.idle:
            h = self.norm1(x)
            x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff.net(self.norm3(x))


class SpatialTransformer(nn.Module):
    """`idle`: adds nothing. `first`: of the first level."""

    def __init__(self, n, first=False, idle=False):
        super().__init__()
        self.idle = idle
        self.norm = nn.GroupNorm(GROUPS, n, eps=1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(n, n, 1), nn.Conv2d(n, n, 1)
        self.transformer_blocks = nn.ModuleList([Block(n, first)])
        self.proj_out.weight.data.mul_(0.0 if idle else 0.3)
        self.proj_out.bias.data.zero_()
        if idle: self.requires_grad_(False)

    def forward(self, x, time, context):
        if self.idle:
            return x
        h, w = x.shape[2:]
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        y = self.transformer_blocks[0](y, context).transpose(1, 2).unflatten(2, (h, w))
        return x + self.proj_out(y.contiguous())


class Conv(nn.Conv2d):
    def forward(self, x, time, context):
        return super().forward(x)


class Down(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.op = nn.Conv2d(n, n, 3, stride=2, padding=1)

    def forward(self, x, time, context):
        return self.op(x)


class Up(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv = nn.Conv2d(n, n, 3, padding=1)

    def forward(self, x, time, context):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def time_features(t, n):
    f = torch.exp(-math.log(10000) * torch.arange(n // 2) / (n // 2))
    a = t[:, None].float() * f
    return torch.cat([a.cos(), a.sin()], -1)


class UNet(nn.Module):
    """Noisy latents [B, 4, h, w], timesteps [B], context [B, 77, 48] -> noise [B, 4, h, w]"""

    def __init__(self):
        super().__init__()
        c, time = CHANNELS, 4 * CHANNELS[0]
        self.time_embed = nn.Sequential(nn.Linear(c[0], time), nn.SiLU(), nn.Linear(time, time))
        self.input_blocks = nn.ModuleList([nn.ModuleList([Conv(4, c[0], 3, padding=1)])])
        n, skips = c[0], [c[0]]
        for level in range(4):
            for _ in range(2):
                name = f"input_blocks.{len(self.input_blocks)}"
                m = [ResBlock(n, c[level], time, name in IDLE_RESNETS)]
                n = c[level]
                if level < 3: m.append(SpatialTransformer(n, level == 0, name in IDLE_TRANSFORMERS))
                self.input_blocks.append(nn.ModuleList(m)); skips.append(n)
            if level < 3:
                self.input_blocks.append(nn.ModuleList([Down(n)])); skips.append(n)
        self.middle_block = nn.ModuleList([ResBlock(n, n, time), SpatialTransformer(n), ResBlock(n, n, time)])
        self.output_blocks = nn.ModuleList()
        for level in (3, 2, 1, 0):
            for i in range(3):
                name = f"output_blocks.{len(self.output_blocks)}"
                m = [ResBlock(n + skips.pop(), c[level], time, name in IDLE_RESNETS)]
                n = c[level]
                if level < 3: m.append(SpatialTransformer(n, level == 0, name in IDLE_TRANSFORMERS))
                if level > 0 and i == 2: m.append(Up(n))
                self.output_blocks.append(nn.ModuleList(m))
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, n), nn.SiLU(), nn.Conv2d(n, 4, 3, padding=1))
        steady(self.output_blocks[-1][0].skip_connection.bias, self.out[0])

    def forward(self, x, t, context):
        time = F.silu(self.time_embed(time_features(t, CHANNELS[0])))
        skips = []
        for block in self.input_blocks:
            for m in block: x = m(x, time, context)
            skips.append(x)
        for m in self.middle_block: x = m(x, time, context)
        for block in self.output_blocks:
            x = torch.cat([x, skips.pop()], 1)
            for m in block: x = m(x, time, context)
        return self.out(x)


def export(unet):
    return {"model.diffusion_model." + k: v.detach().clone() for k, v in unet.state_dict().items()}


# ---- the noise of Stable Diffusion
BETAS = torch.linspace(0.00085 ** .5, 0.012 ** .5, 1000, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - BETAS, 0).float()


@torch.no_grad()
def ddim(model, noise, cond, uncond, steps=25, guidance=4.0):
    """model(x, t, context); deterministic DDIM over evenly spaced timesteps, leading as in SD (steps offset 1)."""
    x = noise
    ts = [1 + i * (1000 // steps) for i in range(steps)][::-1]
    both = torch.cat([uncond, cond])
    for i, t in enumerate(ts):
        tt = torch.full((2 * len(x),), t)
        e0, e1 = model(torch.cat([x, x]), tt, both).float().chunk(2)
        e = e0 + guidance * (e1 - e0)
        a = ALPHAS[t]
        b = ALPHAS[ts[i + 1]] if i + 1 < len(ts) else ALPHAS[0]
        x0 = (x - (1 - a).sqrt() * e) / a.sqrt()
        x = b.sqrt() * x0 + (1 - b).sqrt() * e
    return x
