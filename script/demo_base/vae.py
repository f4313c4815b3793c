"""The demo base's autoencoder, in the shape of Stable Diffusion 1.x (KL, factor 8, 64 channels at all levels).

Only what earns its time is trained. The rest of SD's layers is there in the exported file and does nothing: a resnet
whose second convolution is zero passes its input on, and so does the attention of the middle block.

At full resolution the decoder computes with 32 channels; the other 32 of the file are constants. GroupNorm has 32
groups, so each group is one value and one constant, and the norm becomes nearly a fixed scale and shift: it neither
loses the mean colour (as 32 groups of one channel would) nor lets far pixels change near ones. PairNorm is that norm
without computing the constants.

Latents are made zero-mean and unit-variance per channel by running statistics; export bakes them and SD's 0.18215 into
quant_conv and post_quant_conv.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

WIDTH, HALF, GROUPS, LATENT, SCALE = 64, 32, 32, 4, 0.18215
EPS = 1e-6
ENCODER_BLOCKS = (0, 1, 2, 2)    # resnets trained at each level, of SD's two
DECODER_BLOCKS = (1, 2, 3, 3)    # of SD's three
LOGVAR = -8.0                    # of the exported posterior: next to no noise


class PairNorm(nn.Module):
    """GroupNorm over pairs of (channel, constant), then SiLU."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.bias = nn.Parameter(torch.ones(n))
        self.constant = nn.Parameter(torch.full((n,), 2.0))

    def forward(self, x):
        n = x.shape[2] * x.shape[3]
        k = self.constant
        mean = (x.mean((2, 3), dtype=torch.float32) + k) / 2
        square = (torch.linalg.vector_norm(x, dim=(2, 3), dtype=torch.float32) ** 2 / n + k * k) / 2
        scale = self.weight * torch.rsqrt(square - mean * mean + EPS)
        shift = self.bias - mean * scale
        return F.silu(torch.addcmul(shift[..., None, None].to(x.dtype), x, scale[..., None, None].to(x.dtype)))


class Norm(nn.GroupNorm):
    """GroupNorm, then SiLU."""

    def __init__(self, n):
        super().__init__(GROUPS, n, eps=EPS)

    def forward(self, x):
        return F.silu(super().forward(x))


class Resnet(nn.Module):
    def __init__(self, n, norm=Norm):
        super().__init__()
        self.norm1, self.conv1 = norm(n), nn.Conv2d(n, n, 3, padding=1)
        self.norm2, self.conv2 = norm(n), nn.Conv2d(n, n, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(self.norm2(self.conv1(self.norm1(x))))


@torch.no_grad()
def pass_on(conv, taps):
    """Start a resampling convolution as the identity (the mean over `taps`, rows and columns alike), a little disturbed:
    drawn as PyTorch does, each would multiply smooth inputs by four, and the resnets would drown in what passes by them."""
    o, i = conv.weight.shape[:2]
    conv.weight.mul_(0.2)
    conv.bias.zero_()
    same = torch.zeros(o, i)
    same[torch.arange(i) % o, torch.arange(i)] = (o / i) ** .5
    for y in taps:
        for x in taps:
            conv.weight[:, :, y, x] += same / len(taps) ** 2
    return conv


def resnets(n, width=WIDTH, norm=Norm):
    return nn.ModuleList(Resnet(width, norm) for _ in range(n))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_in = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.down = nn.ModuleList()
        for level, n in enumerate(ENCODER_BLOCKS):
            m = nn.Module()
            m.block = resnets(n)
            if level < 3:
                m.downsample = pass_on(nn.Conv2d(WIDTH, WIDTH, 3, stride=2), (0, 1))
            self.down.append(m)
        self.mid = resnets(2)
        self.norm_out, self.conv_out = Norm(WIDTH), nn.Conv2d(WIDTH, LATENT, 3, padding=1)
        # A large offset between the two channels of a group makes the last norm nearly a fixed scale and shift, so that
        # flat areas keep their colour whatever else is in the picture.
        with torch.no_grad():
            self.conv_in.weight.mul_(2)
            k = 6.0
            self.mid[1].conv2.bias[1::2] += k
            self.norm_out.weight.fill_(k / 2)
            self.norm_out.bias[0::2], self.norm_out.bias[1::2] = k / 2, -k / 2

    def forward(self, x):
        x = self.conv_in(x)
        for level, m in enumerate(self.down):
            for block in m.block:
                x = block(x)
            if level < 3:
                x = m.downsample(F.pad(x, (0, 1, 0, 1)))
        for block in self.mid:
            x = block(x)
        return self.conv_out(self.norm_out(x))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_in = nn.Conv2d(LATENT, WIDTH, 3, padding=1)
        self.mid = resnets(2)
        self.up = nn.ModuleList()
        for level, n in enumerate(DECODER_BLOCKS):
            m = nn.Module()
            m.block = resnets(n, HALF, PairNorm) if level == 0 else resnets(n)
            if level > 0:
                m.upsample = pass_on(nn.Conv2d(WIDTH, HALF if level == 1 else WIDTH, 3, padding=1), (1,))
            self.up.append(m)
        self.norm_out, self.conv_out = PairNorm(HALF), nn.Conv2d(HALF, 3, 3, padding=1)

    def forward(self, z):
        x = self.conv_in(z)
        for block in self.mid:
            x = block(x)
        for level in (3, 2, 1, 0):
            m = self.up[level]
            for block in m.block:
                x = block(x)
            if level > 0:
                x = m.upsample(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv_out(self.norm_out(x))


class VAE(nn.Module):
    """Pictures [B, 3, H, W] in -1..1 <-> latents [B, 4, H/8, W/8] of unit variance."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.register_buffer("mean", torch.zeros(LATENT))
        self.register_buffer("std", torch.ones(LATENT))
        self.register_buffer("whole_mean", torch.zeros(LATENT))      # of `normalize`d latents, over whole pictures
        self.register_buffer("whole_std", torch.ones(LATENT))

    def normalize(self, z, mean, std):
        return (z - mean[:, None, None]) / std[:, None, None]

    def encode(self, x):
        z = self.normalize(self.encoder(x).float(), self.mean, self.std)
        return self.normalize(z, self.whole_mean, self.whole_std)

    def decode(self, z):
        return self.decoder(z * self.whole_std[:, None, None] + self.whole_mean[:, None, None])


# ---- export: names and shapes of the original latent diffusion code

def _conv(out, name, conv):
    out[name + ".weight"], out[name + ".bias"] = conv.weight, conv.bias


def _spread(t, dim):
    """Real channels to the even places of `dim`, zeros between."""
    out = torch.zeros([2 * n if i == dim else n for i, n in enumerate(t.shape)])
    out[(slice(None),) * dim + (slice(0, None, 2),)] = t
    return out


def _paired_conv(out, name, conv, constant, inputs):
    """A convolution whose outputs get constants between them; `inputs`: its inputs have them too."""
    w = _spread(conv.weight, 0)
    out[name + ".weight"] = _spread(w, 1) if inputs else w
    b = _spread(conv.bias, 0)
    b[1::2] = constant
    out[name + ".bias"] = b


def _norm(out, name, norm):
    if isinstance(norm, PairNorm):
        out[name + ".weight"], out[name + ".bias"] = _spread(norm.weight, 0), _spread(norm.bias, 0)
    else:
        out[name + ".weight"], out[name + ".bias"] = norm.weight, norm.bias


def _resnet(out, name, block):
    _norm(out, name + ".norm1", block.norm1)
    _norm(out, name + ".norm2", block.norm2)
    _conv(out, name + ".conv1", block.conv1)
    _conv(out, name + ".conv2", block.conv2)


def _idle_resnet(out, name, n=WIDTH):
    for i in "12":
        out[f"{name}.norm{i}.weight"], out[f"{name}.norm{i}.bias"] = torch.ones(n), torch.zeros(n)
        out[f"{name}.conv{i}.weight"], out[f"{name}.conv{i}.bias"] = torch.zeros(n, n, 3, 3), torch.zeros(n)


def _mid(out, name, blocks, n=WIDTH):
    _resnet(out, name + ".block_1", blocks[0])
    _resnet(out, name + ".block_2", blocks[1])
    out[name + ".attn_1.norm.weight"], out[name + ".attn_1.norm.bias"] = torch.ones(n), torch.zeros(n)
    for k in ("q", "k", "v", "proj_out"):
        out[f"{name}.attn_1.{k}.weight"], out[f"{name}.attn_1.{k}.bias"] = torch.zeros(n, n, 1, 1), torch.zeros(n)


@torch.no_grad()
def export(vae):
    """The f32 tensors of `first_stage_model` by LDM's names."""
    o = {}
    e, d = vae.encoder, vae.decoder
    _conv(o, "encoder.conv_in", e.conv_in)
    for level in range(4):
        for i in range(2):
            name = f"encoder.down.{level}.block.{i}"
            _resnet(o, name, e.down[level].block[i]) if i < ENCODER_BLOCKS[level] else _idle_resnet(o, name)
        if level < 3:
            _conv(o, f"encoder.down.{level}.downsample.conv", e.down[level].downsample)
    _mid(o, "encoder.mid", e.mid)
    _norm(o, "encoder.norm_out", e.norm_out)
    w = e.conv_out.weight
    o["encoder.conv_out.weight"] = torch.cat([w, torch.zeros_like(w)])
    o["encoder.conv_out.bias"] = torch.cat([e.conv_out.bias, torch.zeros(LATENT)])
    q = torch.zeros(2 * LATENT, 2 * LATENT, 1, 1)
    std, mean = vae.std * vae.whole_std, vae.mean + vae.std * vae.whole_mean
    for i in range(LATENT):
        q[i, i] = 1 / (std[i] * SCALE)
    o["quant_conv.weight"] = q
    o["quant_conv.bias"] = torch.cat([-mean / (std * SCALE), torch.full((LATENT,), LOGVAR)])
    o["post_quant_conv.weight"] = torch.diag(vae.whole_std)[..., None, None] * SCALE
    o["post_quant_conv.bias"] = vae.whole_mean
    _conv(o, "decoder.conv_in", d.conv_in)
    _mid(o, "decoder.mid", d.mid)
    for level in (1, 2, 3):
        for i in range(3):
            name = f"decoder.up.{level}.block.{i}"
            _resnet(o, name, d.up[level].block[i]) if i < DECODER_BLOCKS[level] else _idle_resnet(o, name)
        if level > 1:
            _conv(o, f"decoder.up.{level}.upsample.conv", d.up[level].upsample)
    blocks = d.up[0].block
    constants = [b.norm1.constant for b in blocks] + [d.norm_out.constant]
    _paired_conv(o, "decoder.up.1.upsample.conv", d.up[1].upsample, constants[0], False)
    for i in range(3):
        name = f"decoder.up.0.block.{i}"
        if i >= len(blocks):
            _idle_resnet(o, name)
            continue
        _norm(o, name + ".norm1", blocks[i].norm1)
        _norm(o, name + ".norm2", blocks[i].norm2)
        _paired_conv(o, name + ".conv1", blocks[i].conv1, blocks[i].norm2.constant, True)
        _paired_conv(o, name + ".conv2", blocks[i].conv2, constants[i + 1] - constants[i], True)
    _norm(o, "decoder.norm_out", d.norm_out)
    o["decoder.conv_out.weight"], o["decoder.conv_out.bias"] = _spread(d.conv_out.weight, 1), d.conv_out.bias
    return {"first_stage_model." + k: v.detach().clone() for k, v in o.items()}
