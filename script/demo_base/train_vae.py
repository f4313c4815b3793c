"""Train the autoencoder: train_vae.py SET.npz OUTDIR --minutes M [--resume] [--from VAE.pt]

Two processes of one thread each, gradients averaged after every step. The learning rate falls with the time used, so
that a run ends well whenever it must end. First on crops of 64x64, at last on whole pictures. OUTDIR gets vae.pt (the
averaged weights, replaced every few minutes), vae_state.pt (to resume), vae.log and vae_*.png (originals above, pictures
through the autoencoder below). --from trains the decoder of a finished autoencoder further and leaves its latents what they
are, so that a UNet trained on them stays good.
"""
import argparse
import math
import os
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from PIL import Image

from vae import VAE, LATENT

NOISE = 0.1           # put on the unit-variance latents, as the UNet's output will not be exact
CROP, BATCH, WHOLE_BATCH, WHOLE_FROM = 64, 4, 1, 0.93
LR, WARMUP, DECAY = 6e-4, 100, 0.998


def batch(r, images, whole):
    size = images.shape[1] if whole else CROP
    out = []
    for i in r.integers(len(images), size=WHOLE_BATCH if whole else BATCH):
        x = 0 if whole else int(r.integers(24, 41) if r.random() < .5 else r.integers(0, 65))
        y = 0 if whole else int(r.integers(20, 57) if r.random() < .5 else r.integers(0, 65))
        p = images[i, y:y + size, x:x + size]
        if r.random() < .5:
            p = p[:, ::-1]
        if r.random() < .2:      # other colours than the general set's: new characters will have them
            p = p[..., r.permutation(3)]
        out.append(p)
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1


def loss_of(y, x):
    d = y - x
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    return d.abs().mean() + d.square().mean() + 0.5 * edges


def latents(vae, x, step, update):
    """By the statistics of the batch, which the running ones follow; by those where a batch is too small or they are
    settled."""
    if not update:
        return vae.encode(x)
    z = vae.encoder(x).float()
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3)) + 1e-4
    speed = 0.02 if step > 50 else 0.3
    vae.mean.lerp_(mean.detach(), speed); vae.std.lerp_(std.detach(), speed)
    return vae.normalize(z, mean, std)


@torch.no_grad()
def show(vae, images, path):
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    y = vae.decode(vae.encode(x)).clamp(-1, 1)
    both = torch.stack([x, y]).add(1).mul(127.5).round().byte().permute(0, 3, 1, 4, 2)   # 2 H N W 3
    h, n, w = both.shape[1:4]
    Image.fromarray(both.reshape(2 * h, n * w, 3).numpy()).save(path)
    return (y - x).abs().mean().item()


def work(rank, a):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{os.path.abspath(a.out)}/rendezvous", rank=rank, world_size=2)
    images = np.load(a.set)["images"]
    held, images = images[:8], images[8:]
    torch.manual_seed(7)
    vae = VAE()
    if a.start:
        vae.load_state_dict(torch.load(a.start))
        vae.encoder.requires_grad_(False)
    trained = lambda v: list(v.decoder.parameters() if a.start else v.parameters())
    params = trained(vae)
    opt = torch.optim.Adam(params, a.lr, betas=(0.9, 0.95), eps=1e-7)
    ema = [p.detach().clone() for p in params]
    step, used = 0, 0.0
    state = os.path.join(a.out, "vae_state.pt")
    if a.resume:
        s = torch.load(state)
        vae.load_state_dict(s["vae"]); opt.load_state_dict(s["opt"]); ema = s["ema"]; step, used = s["step"], s["used"]
    r = np.random.default_rng([7, rank, step])
    log = open(os.path.join(a.out, "vae.log"), "a") if rank == 0 else None
    averaged = VAE()
    begin, saved, shown, total, n, last = time.time() - used, used, used, 0.0, 0, False
    while not last:
        clock = torch.tensor([time.time() - begin])
        dist.broadcast(clock, 0)
        used = clock.item()
        part = min(1.0, used / (60 * a.minutes))
        last = part >= 1
        whole = part > WHOLE_FROM
        opt.param_groups[0]["lr"] = a.lr * min(1, (step + 1) / WARMUP) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))
        x = batch(r, images, whole)
        with torch.autocast("cpu", torch.bfloat16):
            z = latents(vae, x, step, update=not whole and not a.start)
            y = vae.decode(z + NOISE * torch.randn_like(z))
        loss = loss_of(y.float(), x)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        flat = torch.cat([p.grad.flatten() for p in params] + [loss.detach()[None], vae.mean, vae.std])
        dist.all_reduce(flat)
        flat /= 2
        vae.mean.copy_(flat[-2 * LATENT:-LATENT]); vae.std.copy_(flat[-LATENT:])
        at = 0
        for p in params:
            p.grad = flat[at:at + p.numel()].view_as(p); at += p.numel()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        step += 1
        torch._foreach_lerp_(ema, [p.detach() for p in params], 1 - min(DECAY, step / (step + 20)))
        total += flat[at].item(); n += 1
        if rank == 0 and (used - shown > 30 or last or step == 20):
            print(f"step {step} seconds {used:.0f} loss {total / n:.4f} lr {opt.param_groups[0]['lr']:.2e}", file=log, flush=True)
            total, n, shown = 0.0, 0, used
        if rank == 0 and (used - saved > 150 or last):
            saved = used
            averaged.load_state_dict(vae.state_dict())
            for p, e in zip(trained(averaged), ema): p.data.copy_(e)
            l1 = show(averaged, held, os.path.join(a.out, f"vae_{int(used):05d}.png"))
            print(f"step {step} held-out L1 on -1..1: {l1:.4f}", file=log, flush=True)
            torch.save(averaged.state_dict(), os.path.join(a.out, "vae.pt"))
            torch.save(dict(vae=vae.state_dict(), opt=opt.state_dict(), ema=ema, step=step, used=used), state + ".tmp")
            os.replace(state + ".tmp", state)
    dist.destroy_process_group()


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("set"); p.add_argument("out")
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--from", dest="start")
    p.add_argument("--lr", type=float, default=LR)
    p.add_argument("--resume", action="store_true")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    if os.path.exists(os.path.join(a.out, "rendezvous")):
        os.remove(os.path.join(a.out, "rendezvous"))
    mp.spawn(work, (a,), 2)
